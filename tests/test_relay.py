"""Worker processes and what interpreters share: the same queues, whoever is struck or killed."""

import contextlib
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import itertools
import os
import queue
import random
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interpool import (
    Future,
    InterpreterPoolExecutor,
    Options,
    ProcessDied,
    Queue,
    TaskInterrupted,
)
from interpool._inside import bells, descriptors, handles, rings
from support import PATIENCE, run_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over")


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


@pytest.fixture
def lane(pool: InterpreterPoolExecutor) -> Options:
    return pool.options(lane="process")


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """What is released when a worker process begins to wait: a thread of this process does it."""
    sleeping = threading.Semaphore(0)
    sleep = bells.Bell.sleep

    def note_and_sleep(self: bells.Bell, deadline: float | None) -> bool:
        if threading.get_ident() in bells.alarms:
            sleeping.release()
        return sleep(self, deadline)

    monkeypatch.setattr(bells.Bell, "sleep", note_and_sleep)
    return sleeping


def echo(source: Queue, sink: Queue) -> int:
    count = 0
    for item in source:
        sink.put(item)
        count += 1
    return count


def take(source: Queue) -> Any:
    return source.get()


def say_and_take(pids: Queue, source: Queue) -> Any:
    pids.put(os.getpid())
    return source.get()


def say_and_put(pids: Queue, sink: Queue, item: object) -> None:
    pids.put(os.getpid())
    sink.put(item)


# --- the same queue ------------------------------------------------------------------------------


def test_items_go_between_main_and_a_process_in_their_order(lane: Options) -> None:
    there, back = Queue(), Queue()
    echoing = lane.submit(echo, there, back)
    for number in range(200):
        there.put(number)
    assert [back.get(timeout=PATIENCE) for _ in range(200)] == [*range(200)]
    there.shutdown()
    assert echoing.result(PATIENCE) == 200


@pytest.mark.parametrize("other", ["interpreter", "process"])
def test_items_go_between_a_process_and_another_worker(
    pool: InterpreterPoolExecutor, lane: Options, other: str
) -> None:
    def produce(there: Queue, back: Queue) -> list[int]:
        found = []
        for number in range(100):
            there.put(number)
            found.append(back.get())
        there.shutdown()
        return found

    there, back = Queue(1), Queue(1)
    echoing = lane.submit(echo, there, back)
    producing = pool.options(lane=other).submit(produce, there, back)  # type: ignore[arg-type]
    assert producing.result(PATIENCE) == [*range(100)]
    assert echoing.result(PATIENCE) == 100


@pytest.mark.parametrize("size", [0, 1 << 20, 30 << 20])
def test_items_of_any_size_arrive_whole(lane: Options, size: int) -> None:
    there, back = Queue(), Queue()
    item = os.urandom(1024) * (size // 1024)
    echoing = lane.submit(echo, there, back)
    there.put_many([item, size, item])
    there.shutdown()
    assert [back.get(timeout=PATIENCE) for _ in range(3)] == [item, size, item]
    assert echoing.result(PATIENCE) == 3


def test_many_are_put_and_taken_at_once(lane: Options) -> None:
    def produce(sink: Queue) -> None:
        sink.put_many(range(1000))
        sink.put_many([bytes([it]) * (1 << 16) for it in range(8)])
        sink.shutdown()

    def consume(source: Queue) -> list[Any]:
        found: list[Any] = []
        while True:
            try:
                found += source.get_many(64)
            except Exception as error:
                if type(error).__name__ != "ShutDown":
                    raise
                return found

    between = Queue()
    producing, consuming = lane.submit(produce, between), lane.submit(consume, between)
    found = consuming.result(PATIENCE)
    producing.result(PATIENCE)
    assert found == [*range(1000), *(bytes([it]) * (1 << 16) for it in range(8))]


def test_what_is_no_plain_value_goes_by_queue_too(lane: Options) -> None:
    sink = Queue()
    lane.submit(lambda q, n: q.put(lambda it: it * n), sink, 7).result(PATIENCE)
    assert sink.get(timeout=PATIENCE)(6) == 42


def test_a_process_sees_what_the_queue_is(lane: Options) -> None:
    def look(it: Queue) -> Any:
        return it.qsize(), it.maxsize, it.empty(), it.full(), it.is_shutdown, repr(it), hash(it)

    it = Queue(2)
    it.put_many("ab")
    expected = 2, 2, False, True, False, repr(it), hash(it)
    assert lane.submit(look, it).result(PATIENCE) == expected


def test_a_time_limit_ends_the_wait_of_a_process(lane: Options) -> None:
    def try_both(empty: Queue, full: Queue) -> list[str]:
        found = []
        for wait in (
            lambda: empty.get(timeout=0.01),
            lambda: full.put(2, timeout=0.01),
            empty.get_nowait,
            lambda: full.put_nowait(2),
            lambda: empty.get(timeout=-1),
        ):
            try:
                wait()
            except Exception as error:
                found.append(type(error).__name__)
        return found

    empty, full = Queue(), Queue(1)
    full.put(1)
    expected = ["Empty", "Full", "Empty", "Full", "ValueError"]
    assert lane.submit(try_both, empty, full).result(PATIENCE) == expected


def test_a_process_waits_for_room(lane: Options, asleep: threading.Semaphore) -> None:
    full = Queue(1)
    full.put("first")
    putting = lane.submit(full.put, "second")
    assert asleep.acquire(timeout=PATIENCE)
    assert not putting.done()
    assert full.get() == "first"
    putting.result(PATIENCE)
    assert full.get_nowait() == "second"


@pytest.mark.parametrize("method", ["get", "put"])
def test_shutdown_wakes_a_process(lane: Options, asleep: threading.Semaphore, method: str) -> None:
    it = Queue(1)
    if method == "put":
        it.put(0)
    waiting = lane.submit(it.get) if method == "get" else lane.submit(it.put, 1)
    assert asleep.acquire(timeout=PATIENCE)
    it.shutdown()
    with pytest.raises(queue.ShutDown):
        waiting.result(PATIENCE)


def test_threads_of_a_task_wait_side_by_side(lane: Options) -> None:
    def consume(source: Queue, sink: Queue) -> None:
        threads = [threading.Thread(target=echo, args=(source, sink)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    source, sink = Queue(), Queue()
    consuming = lane.submit(consume, source, sink)
    source.put_many(range(100))
    source.shutdown()
    consuming.result(PATIENCE)
    assert sorted(sink.get_nowait() for _ in range(100)) == [*range(100)]


def test_a_signals_handler_may_use_a_queue_while_its_thread_waits_for_one(
    lane: Options, asleep: threading.Semaphore
) -> None:
    def wait(pids: Queue, source: Queue, sink: Queue) -> Any:
        signal.signal(signal.SIGUSR1, lambda *_: sink.put("handled"))
        return say_and_take(pids, source)

    pids, source, sink = Queue(), Queue(), Queue()
    waiting = lane.submit(wait, pids, source, sink)
    pid = pids.get(timeout=PATIENCE)
    assert asleep.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGUSR1)
    assert sink.get(timeout=PATIENCE) == "handled"
    source.put("taken")
    assert waiting.result(PATIENCE) == "taken"


def test_what_a_signals_handler_raises_ends_a_wait(
    lane: Options, asleep: threading.Semaphore
) -> None:
    def wait(pids: Queue, source: Queue) -> Any:
        def complain(*_: object) -> None:
            raise LookupError("enough")

        signal.signal(signal.SIGUSR1, complain)
        try:
            say_and_take(pids, source)
        except LookupError as error:
            return str(error), source.get()

    pids, source = Queue(), Queue()
    waiting = lane.submit(wait, pids, source)
    pid = pids.get(timeout=PATIENCE)
    assert asleep.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGUSR1)
    assert asleep.acquire(timeout=PATIENCE)
    source.put("taken")
    assert waiting.result(PATIENCE) == ("enough", "taken")


def test_what_is_not_meant_for_processes_cannot_be_called(lane: Options) -> None:
    def call(it: Queue) -> str:
        relay: Any = sys.modules["_interpool_relay"]
        core: Any = it._core
        try:
            relay._method("state", None)(core)
        except RuntimeError as error:
            return str(error)
        raise AssertionError

    assert "state is nothing that processes may call" in lane.submit(call, Queue()).result(PATIENCE)


def test_an_error_in_main_is_one_of_the_same_class_here(lane: Options) -> None:
    def call(it: Queue) -> list[str]:
        core: Any = it._core
        found = []
        for args in (([b""], "no number"), (0,)):
            try:
                core.put(*args)
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
        return found

    first, second = lane.submit(call, Queue()).result(PATIENCE)
    assert first.startswith("TypeError: unsupported operand")
    assert second.startswith("TypeError: Ring.put() missing")


def test_what_is_of_an_unknown_process_is_refused() -> None:
    state: Any = (1, 0, 0, 0, (0, 0), (0, 0), False)
    with pytest.raises(RuntimeError, match="the Queue belongs to another process"):
        handles.core_of(rings.Ring, state, "Queue")


def test_processes_have_memory_of_mains(lane: Options) -> None:
    def read(state: Any) -> bytes:
        from interpool._inside import relay

        fd = relay.memory_of(state)
        try:
            os.pwrite(fd, b"there", 8)
            return os.pread(fd, 5, 0)
        finally:
            os.close(fd)

    memory = descriptors.create_memory(100)
    try:
        os.pwrite(memory, b"main ", 0)
        state = os.getpid(), memory, descriptors.identity_of(memory)
        assert lane.submit(read, state).result(PATIENCE) == b"main "
        assert os.pread(memory, 5, 8) == b"there"
        gone = os.getpid(), memory, (0, 0)
        with pytest.raises(Exception, match=r"^$"):
            lane.submit(read, gone).result(PATIENCE)
    finally:
        os.close(memory)


def test_main_has_memory_for_as_long_as_a_process_wants_it(lane: Options) -> None:
    def make(states: Queue, word: Queue) -> None:
        from interpool._inside import relay

        fd, state = relay.make_memory(100)
        os.pwrite(fd, b"there", 0)
        states.put(state)
        states.put(relay.give_memory(state))
        word.get()
        os.close(fd)
        relay.drop_memory(state)

    states, word = Queue(), Queue()
    making = lane.submit(make, states, word)
    _, fd, identity = states.get(timeout=PATIENCE)
    _, given, same = states.get(timeout=PATIENCE)
    assert os.pread(fd, 5, 0) == os.pread(given, 5, 0) == b"there"
    assert identity == same == descriptors.identity_of(fd) == descriptors.identity_of(given)
    os.close(given)
    word.put(None)
    making.result(PATIENCE)
    # Something else that is asked, by which main knows that it was dropped.
    lane.submit(states.qsize).result(PATIENCE)


# --- queues that come from processes -------------------------------------------------------------


def test_a_queue_made_in_a_process_comes_back(pool: InterpreterPoolExecutor, lane: Options) -> None:
    def make() -> tuple[Queue, int]:
        made = Queue(3)
        made.put("from there")
        return made, os.getpid()

    made, pid = lane.submit(make).result(PATIENCE)
    assert pid != os.getpid()
    assert made.maxsize == 3
    assert pool.submit(take, made).result(PATIENCE) == "from there"
    made.put("from here")
    assert lane.submit(take, made).result(PATIENCE) == "from here"


def test_a_queue_made_in_a_process_goes_on_to_another_one(lane: Options) -> None:
    def make(sink: Queue) -> str:
        made = Queue()
        sink.put(made)
        return str(made.get())

    def fill(source: Queue) -> bool:
        made = source.get()
        made.put("filled")
        return True

    queues = Queue()
    making, filling = lane.submit(make, queues), lane.submit(fill, queues)
    assert making.result(PATIENCE) == "filled"
    assert filling.result(PATIENCE)


def test_a_queue_comes_back_as_itself(lane: Options) -> None:
    there = Queue()
    assert lane.submit(lambda q: [q, {q: q}], there).result(PATIENCE) == [there, {there: there}]


def test_a_queue_goes_through_a_queue(lane: Options) -> None:
    def answer(requests: Queue) -> int:
        count = 0
        for number, reply in requests:
            reply.put(number * number)
            count += 1
        return count

    requests = Queue()
    answering = lane.submit(answer, requests)
    for number in range(20):
        reply = Queue()
        requests.put((number, reply))
        assert reply.get(timeout=PATIENCE) == number * number
    requests.shutdown()
    assert answering.result(PATIENCE) == 20


def test_main_lets_go_of_what_a_process_has_let_go_of(lane: Options) -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    there = Queue()
    lane.submit(len, ()).result(PATIENCE)
    lane.submit(there.put, 1).result(PATIENCE)
    lane.submit(there.put, 1).result(PATIENCE)
    before = descriptors()
    list(lane.map(lambda _: Queue().put(1), range(100)))
    for _ in range(100):
        it = Queue()
        lane.submit(it.put, 1).result(PATIENCE)
        it = lane.submit(Queue).result(PATIENCE)
    del it
    # A connection for each of two processes.
    assert descriptors() - before < 20


def test_what_is_gone_is_said_to_be_gone(lane: Options) -> None:
    boxes = Queue()
    inner = Queue()
    boxes.put(inner)
    del inner
    assert lane.submit(lambda q: q.get().qsize(), boxes).result(PATIENCE) == 0


def test_a_process_of_a_workers_own_pool_takes_part(pool: InterpreterPoolExecutor) -> None:
    def work(source: Queue, sink: Queue) -> int:
        with InterpreterPoolExecutor(1) as inner:
            return inner.options(lane="process").submit(echo, source, sink).result()

    for lane in ("interpreter", "process"):
        source, sink = Queue(), Queue()
        working = pool.options(lane=lane).submit(work, source, sink)
        source.put_many(range(5))
        assert [sink.get(timeout=PATIENCE) for _ in range(5)] == [*range(5)]
        source.shutdown()
        assert working.result(PATIENCE) == 5


def test_a_forked_child_of_a_worker_process_has_no_part(lane: Options) -> None:
    def fork(it: Queue) -> str:
        out, into = os.pipe()
        it.qsize()
        if (child := os.fork()) == 0:
            try:
                it.qsize()
            except RuntimeError as error:
                os.write(into, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        it.qsize()
        return os.read(out, 1000).decode()

    assert "forked from" in lane.submit(fork, Queue()).result(PATIENCE)


# --- struck --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "put"])
def test_a_process_that_waits_is_interrupted(
    lane: Options, asleep: threading.Semaphore, method: str
) -> None:
    it = Queue(1)
    if method == "put":
        it.put("first")
    waiting = lane.submit(it.get) if method == "get" else lane.submit(it.put, "second")
    assert asleep.acquire(timeout=PATIENCE)
    assert waiting.interrupt()
    with pytest.raises(TaskInterrupted):
        waiting.result(PATIENCE)
    if method == "get":
        it.put("first")
    assert it.get_nowait() == "first"
    assert it.empty()
    assert lane.submit(it.qsize).result(PATIENCE) == 0


def test_a_task_goes_on_with_queues_when_it_was_interrupted(
    lane: Options, asleep: threading.Semaphore
) -> None:
    def wait(source: Queue, sink: Queue) -> None:
        try:
            source.get()
        except KeyboardInterrupt:
            sink.put("interrupted")
            sink.put(source.get())
            raise

    source, sink = Queue(), Queue()
    waiting = lane.submit(wait, source, sink)
    assert asleep.acquire(timeout=PATIENCE)
    waiting.interrupt()
    assert sink.get(timeout=PATIENCE) == "interrupted"
    source.put("more")
    assert sink.get(timeout=PATIENCE) == "more"
    with pytest.raises(TaskInterrupted):
        waiting.result(PATIENCE)


@pytest.mark.parametrize("place", ["asked", "done", "acknowledged"])
def test_an_interrupt_at_any_point_of_a_get_leaves_the_item(lane: Options, place: str) -> None:
    def strike_at(place: str, source: Queue) -> Any:
        line: Any = sys.modules["_interpool_lines"].Line
        name = {"asked": "_answer", "done": "_answer", "acknowledged": "_ask"}[place]
        original = getattr(line, name)

        def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
            if place == "asked":
                setattr(line, name, original)
                signal.raise_signal(signal.SIGINT)
            found = original(self, *args, **kwargs)
            if place != "asked":
                setattr(line, name, original)
                signal.raise_signal(signal.SIGINT)
            return found

        setattr(line, name, patched)
        return source.get()

    source = Queue()
    source.put_many(["first", "second"])
    with pytest.raises(TaskInterrupted):
        lane.submit(strike_at, place, source).result(PATIENCE)
    assert [source.get_nowait() for _ in range(2)] == ["first", "second"]


@pytest.mark.parametrize("outer", ["interpreter", "process"])
def test_a_process_of_a_workers_own_pool_is_interrupted(
    pool: InterpreterPoolExecutor, outer: str
) -> None:
    def work(source: Queue, words: Queue) -> str:
        def say_and_wait(words: Queue, source: Queue) -> Any:
            words.put("begun")
            return source.get()

        with InterpreterPoolExecutor(1) as inner:
            waiting = inner.options(lane="process").submit(say_and_wait, words, source)
            assert words.get() == "begun"
            waiting.interrupt()
            return type(waiting.exception()).__name__

    source, words = Queue(), Queue()
    working = pool.options(lane=outer).submit(work, source, words)  # type: ignore[arg-type]
    assert working.result(PATIENCE) == "TaskInterrupted"
    source.put("kept")
    assert source.get_nowait() == "kept"


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "put"])
def test_nothing_is_lost_by_a_process_that_is_killed_while_it_waits(
    lane: Options, asleep: threading.Semaphore, method: str
) -> None:
    pids, it = Queue(), Queue(1)
    if method == "put":
        it.put("first")
        waiting = lane.submit(say_and_put, pids, it, "second")
    else:
        waiting = lane.submit(say_and_take, pids, it)
    pid = pids.get(timeout=PATIENCE)
    assert asleep.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProcessDied):
        waiting.result(PATIENCE)
    if method == "get":
        it.put("first")
    assert lane.submit(take, it).result(PATIENCE) == "first"
    assert it.empty()


def test_a_process_that_kills_itself_while_a_thread_of_it_waits_loses_nothing(
    lane: Options, asleep: threading.Semaphore
) -> None:
    def wait_and_die(source: Queue, word: Queue) -> None:
        threading.Thread(target=source.get, daemon=True).start()
        word.get()
        os.kill(os.getpid(), signal.SIGKILL)

    source, word = Queue(), Queue()
    dying = lane.submit(wait_and_die, source, word)
    for _ in range(2):
        assert asleep.acquire(timeout=PATIENCE)
    word.put("die")
    with pytest.raises(ProcessDied):
        dying.result(PATIENCE)
    source.put("kept")
    assert lane.submit(take, source).result(PATIENCE) == "kept"


def test_a_forked_child_does_not_keep_what_a_killed_process_waits_for(
    lane: Options, asleep: threading.Semaphore, tmp_path: Path
) -> None:
    way_out = tmp_path / "way out"
    os.mkfifo(way_out)

    def fork_and_wait(way_out: str, pids: Queue, source: Queue) -> Any:
        source.qsize()
        if os.fork() == 0:
            with open(way_out, "rb") as pipe:  # noqa: PTH123 - as a task would
                pipe.read(1)
            os._exit(0)
        return say_and_take(pids, source)

    pids, source = Queue(), Queue()
    waiting = lane.submit(fork_and_wait, str(way_out), pids, source)
    pid = pids.get(timeout=PATIENCE)
    assert asleep.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ProcessDied):
        waiting.result(PATIENCE)
    source.put("kept")
    with way_out.open("wb") as pipe:
        pipe.write(b".")
    assert source.get_nowait() == "kept"


@pytest.mark.parametrize("large", [0, 1 << 20])
def test_an_item_that_was_not_acknowledged_is_back_at_the_front(lane: Options, large: int) -> None:
    def die_of_it(source: Queue) -> None:
        lines: Any = sys.modules["_interpool_lines"]
        lines.acknowledge = lambda _: os._exit(3)
        source.get_many(2)

    source = Queue()
    items = ["first" + "-" * large, "second", "third"]
    source.put_many(items)
    with pytest.raises(ProcessDied):
        lane.submit(die_of_it, source).result(PATIENCE)
    assert [source.get_nowait() for _ in range(3)] == items


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> queue.SimpleQueue[int]:
    """Whoever is told to hold nothing any more, as a lock would hear it."""
    found: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr(rings.Ring, "release_all", lambda _, who: found.put(who), raising=False)
    return found


def own_number() -> int:
    number: int = sys.modules["_interpool_asking"].who()
    return number


def test_what_a_thread_holds_is_released_when_it_ends(
    lane: Options, released: queue.SimpleQueue[int]
) -> None:
    def use_in_thread(it: Queue) -> list[int]:
        found = [own_number()]

        def use() -> None:
            it.put(1)
            found.append(own_number())

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert it.get() == 1
        return found

    main, other = lane.submit(use_in_thread, Queue()).result(PATIENCE)
    assert main != other
    assert released.get(timeout=PATIENCE) == other


def test_what_a_killed_process_holds_is_released(
    lane: Options, released: queue.SimpleQueue[int]
) -> None:
    def say_and_die(numbers: Queue) -> None:
        numbers.put(own_number())
        os.kill(os.getpid(), signal.SIGKILL)

    numbers = Queue()
    with pytest.raises(ProcessDied):
        lane.submit(say_and_die, numbers).result(PATIENCE)
    assert released.get_nowait() == numbers.get_nowait()


def test_a_wait_that_a_handler_ends_releases_nothing(
    lane: Options, asleep: threading.Semaphore, released: queue.SimpleQueue[int]
) -> None:
    def wait(pids: Queue, source: Queue, word: Queue) -> None:
        def complain(*_: object) -> None:
            raise LookupError

        signal.signal(signal.SIGUSR1, complain)
        with contextlib.suppress(LookupError):
            say_and_take(pids, source)
        pids.put("it goes on")
        word.get()

    pids, source, word = Queue(), Queue(), Queue()
    waiting = lane.submit(wait, pids, source, word)
    pid = pids.get(timeout=PATIENCE)
    assert asleep.acquire(timeout=PATIENCE)
    os.kill(pid, signal.SIGUSR1)
    assert pids.get(timeout=PATIENCE) == "it goes on"
    assert released.empty()
    word.put(None)
    waiting.result(PATIENCE)


def test_what_a_process_lets_go_of_it_does_not_hold(
    lane: Options, released: queue.SimpleQueue[int]
) -> None:
    def let_go(numbers: Queue) -> int:
        made = Queue()
        made.put(1)
        del made
        assert len(sys.modules["_interpool_relay"]._known) == 1
        return numbers.qsize() or own_number()

    assert lane.submit(let_go, Queue()).result(PATIENCE) == released.get(timeout=PATIENCE)


# --- ends ----------------------------------------------------------------------------------------


def test_workers_that_are_terminated_leave_nothing(asleep: threading.Semaphore) -> None:
    it = Queue()
    with InterpreterPoolExecutor(2) as pool:
        lane = pool.options(lane="process")
        waiting = [lane.submit(it.get) for _ in range(2)]
        for _ in range(2):
            assert asleep.acquire(timeout=PATIENCE)
        pool.terminate_workers()
        for future in waiting:
            assert future.exception(PATIENCE) is not None
    it.put("kept")
    assert it.get_nowait() == "kept"


def test_a_process_that_does_not_end_in_time_is_cancelled(lane: Options) -> None:
    from interpool import TaskTimeout

    it = Queue()
    with pytest.raises(TaskTimeout):
        lane.options(timeout=0.05).submit(it.get).result(PATIENCE)
    it.put("kept")
    assert it.get_nowait() == "kept"


def test_a_program_ends_while_a_process_waits() -> None:
    program = """if True:
        from interpool import InterpreterPoolExecutor, Queue
        it = Queue()
        pool = InterpreterPoolExecutor(1)
        lane = pool.options(lane="process")
        ready = Queue()
        waiting = lane.submit(lambda ready, it: (ready.put(1), it.get()), ready, it)
        ready.get()
        waiting.interrupt()
        del pool, lane
        print("out")
    """
    ended = run_program(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "out\n", "")


# --- all at once ---------------------------------------------------------------------------------


def tell(progress: Queue) -> None:
    """Say that something has happened, unless that has been said often enough."""
    with contextlib.suppress(queue.Full):
        progress.put_nowait(None)


def produce_for_ever(sink: Queue, progress: Queue, folder: str, number: int) -> None:
    progress.put((number, os.getpid()))
    with open(f"{folder}/put-{number}", "ab", buffering=0) as log:  # noqa: PTH123 - as a task would
        for count in itertools.count():
            item = number << 32 | count
            sink.put(item)
            log.write(b"%d\n" % item)
            tell(progress)


def consume_for_ever(source: Queue, progress: Queue, folder: str, number: int) -> None:
    progress.put((number, os.getpid()))
    item = None
    with open(f"{folder}/got-{number}", "ab", buffering=0) as log:  # noqa: PTH123 - as a task would
        try:
            while True:
                item = source.get()
                log.write(b"%d\n" % item)
                item = None
                tell(progress)
        except BaseException as error:
            if item is not None:  # it is here, and may be noted
                log.write(b"%d\n" % item)
            if type(error).__name__ != "ShutDown":
                raise


class Crowd:
    """Producers and consumers in interpreters and processes, that come to random ends."""

    def __init__(self, pool: InterpreterPoolExecutor, folder: Path, seed: int) -> None:
        self.pool = pool
        self.folder = folder
        self.random = random.Random(seed)
        self.between = Queue(4)
        self.progress = Queue(16)
        self.numbers = itertools.count(1)
        self.alive: dict[int, tuple[Future[None], Any, str]] = {}
        self.pids: dict[int, int] = {}
        self.killed = 0

    def start(self, task: Any, lane: str) -> None:
        number = next(self.numbers)
        view = self.pool.options(lane=lane)  # type: ignore[arg-type]
        future = view.submit(task, self.between, self.progress, str(self.folder), number)
        self.alive[number] = future, task, lane
        while number not in self.pids:
            self.hear()

    def hear(self) -> None:
        said = self.progress.get(timeout=PATIENCE)
        if said is not None:
            self.pids[said[0]] = said[1]

    def stop(self, number: int) -> None:
        future, _, lane = self.alive.pop(number)
        if lane == "process" and self.random.random() < 0.5:
            os.kill(self.pids[number], signal.SIGKILL)
            expected: type[Exception] = ProcessDied
            self.killed += 1
        else:
            future.interrupt()
            expected = TaskInterrupted
        with pytest.raises(expected):
            future.result(PATIENCE)

    def live(self, changes: int) -> None:
        """Put and take while somebody comes to an end, and another one in its place, so often."""
        for task in (produce_for_ever, consume_for_ever):
            for lane in ("interpreter", "process"):
                self.start(task, lane)
        self.start(consume_for_ever, "process")
        for _ in range(changes):
            for _ in range(self.random.randrange(60)):
                self.hear()
            number = self.random.choice([*self.alive])
            _, task, lane = self.alive[number]
            self.stop(number)
            self.start(task, lane)
        for number, (_, task, _) in [*self.alive.items()]:
            if task is produce_for_ever:
                self.stop(number)
        self.between.shutdown()
        for future, _, _ in self.alive.values():
            future.result(PATIENCE)

    def items(self, kind: str) -> list[set[int]]:
        files = self.folder.glob(f"{kind}-*")
        return [{*map(int, file.read_text().split())} for file in files]


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(3))
def test_every_item_arrives_once_whoever_is_struck_or_killed(tmp_path: Path, seed: int) -> None:
    with InterpreterPoolExecutor(3) as pool:
        crowd = Crowd(pool, tmp_path, seed)
        try:
            crowd.live(20)
        finally:
            pool.terminate_workers()
    put, got = crowd.items("put"), crowd.items("got")
    arrived = set().union(*got)
    assert len(arrived) == sum(map(len, got)), "an item has arrived twice"
    # One that a killed process has taken, and could not note any more.
    assert len(set().union(*put) - arrived) <= crowd.killed
    assert len(arrived) > 100, "nearly nothing was put"
