"""Queues between interpreters: against `queue.Queue`, under strikes at each step, under load."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import functools
import gc
import itertools
import marshal
import os
import queue
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import interpreters
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from interpool import (
    Future,
    InterpreterPoolExecutor,
    Queue,
    TaskInterrupted,
    TransferError,
    _interrupts,
)
from interpool._inside import bells, queues, rings, sharing
from interpool._inside import gate as gates
from queue_tasks import Point, consume_until_struck, echo, produce_until_struck
from strikes import Caller, StrikeAt, run_with_strikes
from support import PATIENCE, Gate, run_program


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


def is_at_rest(it: Queue) -> bool:
    """Whether nobody waits, and nothing is set aside for anybody."""
    core = it._core
    with core:
        words = core.words
        return not (
            words[rings.GRANTED]
            or words[rings.RESERVED]
            or core.waiting(rings.GETTERS)
            or core.waiting(rings.PUTTERS)
        )


class Waiters:
    """Threads of this interpreter that wait: `join` waits until so many do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun = threading.Semaphore(0)
        sleep = sharing.Primitive._sleep

        def sleep_noted(core: Any, bell: Any, deadline: float | None) -> bool:
            self._begun.release()  # the bell is in the line, and the lock held
            return sleep(core, bell, deadline)

        monkeypatch.setattr(sharing.Primitive, "_sleep", sleep_noted)

    def join(self, count: int = 1) -> None:
        for _ in range(count):
            assert self._begun.acquire(timeout=PATIENCE)


@pytest.fixture
def waiters(monkeypatch: pytest.MonkeyPatch) -> Waiters:
    return Waiters(monkeypatch)


# --- What queue.Queue does, too ------------------------------------------------------------------

both = pytest.mark.parametrize("kind", [queue.Queue, Queue])


@both
def test_first_in_first_out(kind: Any) -> None:
    it = kind()
    for n in range(3):
        it.put(n)
    assert (it.qsize(), it.empty(), it.full()) == (3, False, False)
    assert [it.get() for _ in range(3)] == [0, 1, 2]
    assert (it.qsize(), it.empty(), it.full()) == (0, True, False)


@both
def test_a_full_one_and_an_empty_one(kind: Any) -> None:
    it = kind(1)
    assert it.maxsize == 1
    with pytest.raises(queue.Empty):
        it.get_nowait()
    with pytest.raises(queue.Empty):
        it.get(timeout=0.001)
    it.put(1)
    assert it.full()
    with pytest.raises(queue.Full):
        it.put_nowait(2)
    with pytest.raises(queue.Full):
        it.put(2, timeout=0.001)
    assert it.get(block=False) == 1


@both
def test_a_bad_timeout(kind: Any) -> None:
    it = kind(1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        it.get(timeout=-1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        it.put(1, timeout=-0.5)
    assert it.empty()


@both
def test_shut_down(kind: Any) -> None:
    it = kind()
    it.put(1)
    it.put(2)
    it.shutdown()
    with pytest.raises(queue.ShutDown):
        it.put(3)
    assert it.get() == 1
    it.shutdown(immediate=True)
    assert it.qsize() == 0
    with pytest.raises(queue.ShutDown):
        it.get()
    it.shutdown()


def test_shutting_down_wakes_all_who_wait(waiters: Waiters) -> None:
    empty, full = Queue(), Queue(1)
    full.put(0)
    callers = [Caller(empty.get) for _ in range(3)] + [Caller(full.put, n) for n in range(3)]
    waiters.join(6)
    empty.shutdown()
    full.shutdown()
    for caller in callers:
        with pytest.raises(queue.ShutDown):
            caller.result()
    assert list(full) == [0]
    assert is_at_rest(empty)
    assert is_at_rest(full)


def test_iterating_ends_with_the_queue() -> None:
    it = Queue()
    it.put_many("abc")
    it.shutdown()
    assert list(it) == ["a", "b", "c"]
    assert list(it) == []


def test_batches() -> None:
    it = Queue(5)
    it.put_many([])
    it.put_many(range(3))
    with pytest.raises(queue.Full) as caught:
        it.put_many(range(3, 9), timeout=0)
    assert caught.value.args == (2,)
    assert it.get_many(2) == [0, 1]
    assert it.get_many(10) == [2, 3, 4]
    with pytest.raises(queue.Empty):
        it.get_many(1, timeout=0)
    with pytest.raises(ValueError, match="at least 1"):
        it.get_many(0)
    it.shutdown()
    with pytest.raises(queue.ShutDown) as shut:
        it.put_many([1])
    assert shut.value.args == (0,)
    with pytest.raises(queue.ShutDown):
        it.get_many(1)


def test_a_batch_waits_for_room_as_it_comes(waiters: Waiters) -> None:
    it = Queue(2)
    putter = Caller(it.put_many, range(5))
    waiters.join()
    assert it.get() == 0
    waiters.join()
    assert it.get_many(10) == [1, 2]
    putter.result()
    assert it.get_many(10) == [3, 4]
    assert is_at_rest(it)


def test_what_cannot_be_an_argument_is_no_item_either() -> None:
    it = Queue()
    with pytest.raises(TransferError, match=r"the item\['lock'\] of a Queue"):
        it.put({"lock": threading.Lock()})
    with pytest.raises(TransferError, match="of a Queue"):
        it.put_many([1, sys._getframe()])
    assert it.empty()
    with pytest.raises(TypeError, match="maxsize is to be an integer, not str"):
        Queue("3")  # type: ignore[arg-type]


def test_an_item_that_does_not_load_is_named_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Queue()
    monkeypatch.setattr(queues, "encode", lambda obj: obj)
    it.put_many([marshal.dumps(1), b"\x80\x05cno_such_module\nname\n.", b"i\x02\0\0\0"])
    with pytest.raises(TransferError, match="no_such_module"):
        it.get_many(3)
    assert it.get_many(3) == [1, 2]


def test_it_catches_what_concurrent_interpreters_raises() -> None:
    it = Queue(1)
    with pytest.raises(interpreters.QueueEmpty):
        it.get_nowait()
    it.put(1)
    with pytest.raises(interpreters.QueueFull):
        it.put_nowait(1)


def test_its_words() -> None:
    it = Queue(3)
    assert repr(it) == "<interpool.Queue of 0 items, maxsize=3>"
    it.put(1)
    it.shutdown()
    assert repr(it) == "<interpool.Queue of 1 item, maxsize=3, shut down>"
    assert it.is_shutdown


class AgainstTheStandardLibrarys(RuleBasedStateMachine):
    """The same calls, the same outcomes; sizes that have the ring wrap, grow and shrink."""

    @initialize(maxsize=st.integers(0, 5))
    def make(self, maxsize: int) -> None:
        self.model: queue.Queue[Any] = queue.Queue(maxsize)
        self.ours = Queue(maxsize)

    def both(self, name: str, *args: Any, **kwargs: Any) -> Any:
        outcomes = []
        for it in (self.model, self.ours):
            try:
                outcomes.append(getattr(it, name)(*args, **kwargs))
            except (queue.Empty, queue.Full, queue.ShutDown) as error:
                bases = {queue.Empty, queue.Full, queue.ShutDown}
                outcomes.append(bases.intersection(type(error).__mro__))
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    @rule(
        item=st.none()
        | st.text()
        | st.lists(st.integers())
        | st.dictionaries(st.text(), st.binary())
        | st.sampled_from([100, 30_000, 70_000, 300_000]).map(bytes)
    )
    def put(self, item: Any) -> None:
        self.both("put", item, block=False)

    @rule()
    def get(self) -> None:
        self.both("get", block=False)

    @rule(n=st.integers(1, 40), size=st.integers(0, 3_000))
    def put_many(self, n: int, size: int) -> None:
        items = [bytes([k]) * size for k in range(n)]
        done = 0
        for item in items:
            try:
                self.model.put_nowait(item)
            except queue.Full, queue.ShutDown:
                break
            done += 1
        if done == n:
            self.ours.put_many(items, timeout=0)
        else:
            with pytest.raises((queue.Full, queue.ShutDown)) as caught:
                self.ours.put_many(items, timeout=0)
            assert caught.value.args == (done,)

    @precondition(lambda self: self.model.qsize())
    @rule(n=st.integers(1, 40))
    def get_many(self, n: int) -> None:
        expected = [self.model.get_nowait() for _ in range(min(n, self.model.qsize()))]
        assert self.ours.get_many(n) == expected

    @precondition(lambda self: self.model.qsize())
    @rule()
    def take_and_put_back(self) -> None:
        core = self.ours._core
        core.unget(core.get(1, 0))

    @rule()
    def look(self) -> None:
        self.both("qsize")
        self.both("empty")
        self.both("full")

    @rule(immediate=st.sampled_from([False, False, False, True]))
    def shut_down(self, immediate: bool) -> None:
        self.both("shutdown", immediate=immediate)

    def teardown(self) -> None:
        if hasattr(self, "ours"):
            while self.both("get", block=False) not in ({queue.Empty}, {queue.ShutDown}):
                pass
            assert self.ours._core.words[rings.CAPACITY] <= 2 * rings.SMALL
            assert is_at_rest(self.ours)


TestAgainstTheStandardLibrarys = AgainstTheStandardLibrarys.TestCase
TestAgainstTheStandardLibrarys.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)


# --- In line -------------------------------------------------------------------------------------


def test_who_waits_longest_is_served_first(waiters: Waiters) -> None:
    it = Queue()
    getters = []
    for _ in range(4):
        getters.append(Caller(it.get))
        waiters.join()
    it.put_many(range(4))
    assert [getter.result() for getter in getters] == [0, 1, 2, 3] or is_at_rest(it)
    assert sorted(getter.result() for getter in getters) == [0, 1, 2, 3]
    assert is_at_rest(it)


def test_nobody_takes_what_was_given_to_one_who_waits(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Queue()
    may_go = threading.Event()
    read = bells.Bell._poll_until

    def read_late(bell: Any, deadline: float | None, alarm: int | None) -> bool:
        is_rung = read(bell, deadline, alarm)
        assert may_go.wait(PATIENCE)
        return is_rung

    monkeypatch.setattr(bells.Bell, "_poll_until", read_late)
    getter = Caller(functools.partial(it.get, timeout=PATIENCE))
    waiters.join()
    it.put("given")
    with pytest.raises(queue.Empty):
        it.get_nowait()
    it.put("another")
    assert it.get_nowait() == "given"  # the first of the two that there are: one is enough for each
    may_go.set()
    assert getter.result() == "another"
    assert is_at_rest(it)


def test_a_place_goes_to_who_waits_for_it(waiters: Waiters) -> None:
    it = Queue(1)
    it.put(0)
    putters = []
    for n in range(1, 4):
        putters.append(Caller(it.put, n))
        waiters.join()
    assert [it.get() for _ in range(4)] == [0, 1, 2, 3]
    for putter in putters:
        putter.result()
    assert is_at_rest(it)


def test_more_wait_than_there_is_room_for(
    waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "LINE", 3)
    it = Queue()
    getters = [Caller(it.get) for _ in range(2)]
    waiters.join(2)
    with pytest.raises(RuntimeError, match="2 threads wait for this Queue"):
        it.get()
    it.put_many([1, 1])
    assert [getter.result() for getter in getters] == [1, 1]


def test_a_finalizer_cannot_use_it_in_the_midst_of_its_use() -> None:
    it = Queue()
    with it._core, pytest.raises(RuntimeError, match="this Queue is in use by this very thread"):
        it.put(1)
    it.put(1)
    assert it.get() == 1


# --- Struck at each step -------------------------------------------------------------------------


def descriptors() -> set[str]:
    gc.collect()
    return {link.name for link in Path("/proc/self/fd").iterdir()}


OURS = frozenset(
    {queues.__file__, rings.__file__, sharing.__file__, bells.__file__, gates.__file__}
)


def run_with_a_strike_at_each_step(attempt: Callable[[StrikeAt], bool]) -> int:
    return run_with_strikes(OURS, attempt)


def test_one_that_is_struck_as_it_is_made_leaves_no_descriptor() -> None:
    Queue()
    before = descriptors()

    def attempt(strike: StrikeAt) -> bool:
        has_come = strike.run(Queue)[1]
        assert descriptors() == before
        return has_come

    assert run_with_a_strike_at_each_step(attempt) > 10


def test_one_that_is_struck_as_it_is_received_leaves_no_descriptor() -> None:
    core = Queue()._core
    before = descriptors()

    def attempt(strike: StrikeAt) -> bool:
        state = core.state(is_kept=False)
        sharing._known.clear()  # as in another interpreter
        has_come = strike.run(lambda: type(core).of_state(state))[1]
        if descriptors() != before:  # it has not begun: whoever sent it has to take it back
            type(core).of_state(state)
        assert descriptors() == before
        return has_come

    assert run_with_a_strike_at_each_step(attempt) > 10


def test_a_get_that_is_struck_leaves_the_item_or_returns_it() -> None:
    def attempt(strike: StrikeAt) -> bool:
        it = Queue()
        it.put_many(["first", "second"])
        outcome, has_come = strike.run(it.get)
        rest = it.get_many(3)
        assert (outcome, rest) == ("first", ["second"]) or (
            type(outcome) is gates.Interrupted and rest == ["first", "second"]
        )
        assert is_at_rest(it)
        return has_come

    assert run_with_a_strike_at_each_step(attempt) > 20


def test_a_put_that_is_struck_puts_once_or_not_at_all() -> None:
    def attempt(strike: StrikeAt) -> bool:
        it = Queue(2)
        it.put("first")
        outcome, has_come = strike.run(lambda: it.put("second"))
        rest = it.get_many(3)
        assert rest == ["first", "second"] or (
            type(outcome) is gates.Interrupted and rest == ["first"]
        )
        assert is_at_rest(it)
        return has_come

    assert run_with_a_strike_at_each_step(attempt) > 20


def test_a_wait_that_is_struck_leaves_the_line() -> None:
    def attempt(strike: StrikeAt, *, puts: bool) -> bool:
        it = Queue(1)
        if puts:
            it.put(0)
        wait = functools.partial(it.put, 1) if puts else it.get
        outcome, has_come = strike.run(lambda: wait(timeout=1e-6))
        assert type(outcome) in {gates.Interrupted, interpreters.QueueEmpty, interpreters.QueueFull}
        assert is_at_rest(it)
        if not puts:
            it.put(0)
        assert it.get_nowait() == 0
        return has_come

    for puts in (True, False):
        assert run_with_a_strike_at_each_step(functools.partial(attempt, puts=puts)) > 20


class Alarm(Exception):  # noqa: N818 - as short as what it stands for
    """What a handler of the user's raises."""


def end_by_alarm(*_: object) -> None:
    raise Alarm


class SignalAt(StrikeAt):
    """The same by a signal whose handler raises, in the main thread."""

    def note(self, code: Any, *_: object) -> None:
        if code.co_filename not in self._ours or code.co_name == "forget":
            return
        self.left -= 1
        if self.left == -1:
            signal.raise_signal(signal.SIGTERM)

    def run(self, call: Callable[[], Any]) -> tuple[Any, bool]:
        monitoring = sys.monitoring
        events = monitoring.events
        tool = monitoring.DEBUGGER_ID
        previous = signal.signal(signal.SIGTERM, end_by_alarm)
        interrupted = signal.getsignal(signal.SIGINT)
        monitoring.use_tool_id(tool, "signals")
        outcome: Any = None
        try:
            for event in (events.PY_START, events.JUMP, events.C_RETURN):
                monitoring.register_callback(tool, event, self.note)
            try:
                monitoring.set_events(tool, events.PY_START | events.JUMP | events.CALL)
                outcome = call()
            except (Alarm, queue.Empty, queue.Full) as error:
                outcome = error
        finally:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
            assert signal.signal(signal.SIGTERM, previous) is end_by_alarm
            assert signal.getsignal(signal.SIGINT) is interrupted
        return outcome, self.left < 0


OURS_OF_MAIN = OURS | {_interrupts.__file__}


def test_a_handler_that_raises_leaves_nothing_locked_and_loses_no_item() -> None:
    def attempt(n: int) -> bool:
        it = Queue(2)
        outcome, _ = SignalAt(n, OURS_OF_MAIN).run(lambda: it.put("first"))
        if it.empty():
            assert type(outcome) is Alarm
            it.put("first")
        it.put("second")
        outcome, _ = SignalAt(n, OURS_OF_MAIN).run(lambda: it.put("third", timeout=1e-6))
        assert type(outcome) in {Alarm, queue.Full, interpreters.QueueFull}
        outcome, has_come = SignalAt(n, OURS_OF_MAIN).run(it.get)
        rest = it.get_many(3)
        assert (outcome, rest) == ("first", ["second"]) or (
            type(outcome) is Alarm and rest == ["first", "second"]
        )
        outcome, _ = SignalAt(n, OURS_OF_MAIN).run(lambda: it.get(timeout=1e-6))
        assert type(outcome) in {Alarm, queue.Empty, interpreters.QueueEmpty}
        assert is_at_rest(it)
        return has_come

    n = next(n for n in itertools.count() if not attempt(n))
    assert n > 20


def test_what_was_given_to_one_who_is_struck_goes_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleep = bells.Bell.sleep
    gift: list[Callable[[], None]] = []

    def sleep_when_given(bell: Any, deadline: float | None) -> bool:
        if gift:
            Caller(gift.pop()).result()
        return sleep(bell, deadline)

    monkeypatch.setattr(bells.Bell, "sleep", sleep_when_given)

    def attempt_to_get(strike: StrikeAt) -> bool:
        it = Queue()
        gift[:] = [lambda: it.put("given")]
        outcome, has_come = strike.run(lambda: it.get(timeout=PATIENCE))
        assert it.qsize() == (0 if outcome == "given" or gift else 1)
        assert is_at_rest(it)
        return has_come

    def attempt_to_put(strike: StrikeAt) -> bool:
        it = Queue(1)
        it.put(0)
        gift[:] = [it.get]
        outcome, has_come = strike.run(lambda: it.put(1, timeout=PATIENCE))
        is_there = it.qsize() == 1
        assert is_there or type(outcome) is gates.Interrupted
        assert is_at_rest(it)
        return has_come

    assert run_with_a_strike_at_each_step(attempt_to_get) > 20
    assert run_with_a_strike_at_each_step(attempt_to_put) > 20


# --- Between interpreters ------------------------------------------------------------------------


def test_two_workers_talk(pool: InterpreterPoolExecutor) -> None:
    def ask(requests: Queue, answers: Queue, n: int) -> list[Any]:
        found = []
        for k in range(n):
            requests.put((k, "x" * k))
            found.append(answers.get())
        requests.shutdown()
        return found

    requests, answers = Queue(), Queue()
    echoing = pool.submit(echo, requests, answers)
    assert pool.submit(ask, requests, answers, 200).result(PATIENCE) == [
        (k, "x" * k) for k in range(200)
    ]
    echoing.result(PATIENCE)
    assert answers.is_shutdown


def test_any_object_is_an_item(pool: InterpreterPoolExecutor) -> None:
    def answer(requests: Queue, answers: Queue) -> None:
        class Own:
            value = 3

        function = requests.get()
        answers.put(function(requests.get()))
        answers.put(requests.get())
        answers.put(Own())
        answers.put(lambda: answers.qsize())  # noqa: PLW0108 - a function

    requests, answers = Queue(), Queue()
    offset = 4
    task = pool.submit(answer, requests, answers)
    requests.put(lambda point: Point(point.x + offset))
    requests.put(Point(1))
    requests.put(answers)
    assert answers.get(timeout=PATIENCE).x == 5
    assert answers.get(timeout=PATIENCE) == answers
    assert answers.get(timeout=PATIENCE).value == 3
    assert answers.get(timeout=PATIENCE)() == 0
    task.result(PATIENCE)


def test_it_may_be_a_global_a_result_or_new_in_a_worker(pool: InterpreterPoolExecutor) -> None:
    it = Queue()

    def put(n: int) -> None:
        it.put(n)

    list(pool.map(put, range(10)))
    assert sorted(it.get_many(10)) == list(range(10))
    made = pool.submit(lambda: Queue(7)).result(PATIENCE)
    assert made.maxsize == 7

    def put_there(it: Queue) -> Queue:
        it.put("there")
        return it

    assert pool.submit(put_there, made).result(PATIENCE) == made
    assert made.get_nowait() == "there"


def test_it_lives_as_long_as_a_task_that_has_it(pool: InterpreterPoolExecutor, gate: Gate) -> None:
    def use(fd: int, it: Queue) -> Any:
        import os

        os.read(fd, 1)
        it.put("still there")
        return it.get()

    futures = [pool.submit(use, gate.exit, Queue()) for _ in range(4)]
    gc.collect()
    gate.open(4)
    assert [future.result(PATIENCE) for future in futures] == ["still there"] * 4


def test_one_that_is_gone_says_so() -> None:
    it = Queue()
    state = it._core.state(is_kept=True)
    del it
    with pytest.raises(ReferenceError, match="the Queue that was sent here is gone"):
        Queue._of_state(state)


def test_a_waiting_task_is_interrupted_at_once(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    def wait(fd: int, it: Queue, *, puts: bool) -> None:
        import os

        os.write(fd, b".")
        it.put(1) if puts else it.get()

    empty, full = Queue(), Queue(1)
    full.put(0)
    for it, puts in ((empty, False), (full, True)):
        future = pool.submit(wait, arrivals.entry, it, puts=puts)
        arrivals.wait()
        assert future.interrupt(grace=PATIENCE)
        with pytest.raises(TaskInterrupted):
            future.result(PATIENCE)
        assert is_at_rest(it)
    assert pool.statistics().workers.given_up == 0


CTRL_C = """
import _thread, os, signal, threading
from interpool import Queue
it = Queue({size})
it.put(0)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", it.qsize())
it.put(2, block=False) if {size} == 2 else None
print(it.get())
"""


@pytest.mark.parametrize(
    ("size", "call"), [(2, "it.get(); it.put(0); it.get(); it.get()"), (1, "it.put(1)")]
)
def test_ctrl_c_ends_a_wait_of_the_main_thread(size: int, call: str) -> None:
    ended = run_program(CTRL_C.format(size=size, call=call))
    assert ended.stdout.split()[0] == "interrupted", ended.stderr
    assert ended.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_not_use_it() -> None:
    it = Queue()
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            it.put(1)
        except RuntimeError as error:
            os.write(into, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(into)
    said = os.read(out, 1000)
    os.close(out)
    assert b"this Queue belongs to the process that this one was forked from" in said
    assert it.empty()


# --- Under load ----------------------------------------------------------------------------------


@pytest.mark.stress
def test_two_hundred_thousand_items_and_memory_as_before(pool: InterpreterPoolExecutor) -> None:
    def produce(it: Queue, n: int, size: int) -> None:
        for start in range(0, n, size):
            it.put_many(range(start, start + size))
        it.shutdown()

    for maxsize in (0, 10, 1_000):
        it = Queue(maxsize)
        task = pool.submit(produce, it, 200_000 if maxsize else 20_000, 500)
        expected = 0
        while True:
            try:
                found = it.get_many(700, timeout=PATIENCE)
            except queue.ShutDown:
                break
            assert found == list(range(expected, expected + len(found)))
            expected += len(found)
        task.result(PATIENCE)
        assert expected == (200_000 if maxsize else 20_000)
        assert it._core.words[rings.CAPACITY] <= 2 * rings.SMALL


@pytest.mark.stress
def test_every_item_arrives_once_whatever_is_interrupted() -> None:
    draw = random.Random(7)
    it, reports = Queue(20), Queue()
    firsts = iter(range(0, 1 << 60, 1 << 30))
    sent: dict[int, int] = {}
    found: list[int] = []

    def begin(pool: InterpreterPoolExecutor, *, puts: bool) -> Future[None]:
        if puts:
            return pool.submit(produce_until_struck, it, reports, next(firsts))
        return pool.submit(consume_until_struck, it, reports, draw.choice([1, 1, 3]))

    with InterpreterPoolExecutor(4) as pool:
        running = [(puts, begin(pool, puts=puts)) for puts in (True, True, False, False)]
        for _ in range(1_000):
            index = draw.randrange(4)
            puts, future = running[index]
            future.interrupt(grace=PATIENCE)
            with pytest.raises(TaskInterrupted):
                future.result(PATIENCE)
            running[index] = puts, begin(pool, puts=puts)
        for _, future in running:
            future.interrupt(grace=PATIENCE)
        for _, future in running:
            with pytest.raises(TaskInterrupted):
                future.result(PATIENCE)
        assert pool.statistics().workers.given_up == 0
    while not reports.empty():
        what, first, last = reports.get()
        if what == "sent":
            sent[first] = last
        else:
            found += first
    while not it.empty():
        found.append(it.get())
    assert is_at_rest(it)
    assert len(set(found)) == len(found)
    arrived = set(found)
    for first, last in sent.items():
        # Of what was being put when the task was struck, nobody can say whether it was.
        missing = set(range(first, last)) - arrived
        assert missing == set()
        assert all(n <= last for n in arrived if first <= n < first + (1 << 30))
