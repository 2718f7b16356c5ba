"""The process lane: the same futures, errors, limits; processes that die; what is left of them."""

import contextlib
import errno
import io
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from typing import Any

import psutil
import pytest

from interpool import (
    BrokenInterpreterPool,
    Future,
    InterpreterPoolExecutor,
    Options,
    ProcessDied,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    TransferError,
)
from interpool._inside import process
from interpool._lanes import processes
from interpool._lanes.processes import ProcessHost
from support import PATIENCE, Fifo, Gate, add, divide, exit_with, identity, run_program

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over")


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


@pytest.fixture
def lane(pool: InterpreterPoolExecutor) -> Options:
    return pool.options(lane="process")


def pid(_: object = None) -> int:
    return os.getpid()


def arrive(path: str) -> None:
    """Say that the task runs, by a named pipe: no descriptor of the test's is there."""
    with open(path, "wb") as pipe:  # noqa: PTH123 - as a task would
        pipe.write(b".")


def arrive_and_spin(path: str) -> None:
    arrive(path)
    while True:
        pass


def arrive_and_swallow(path: str) -> None:
    has_arrived = False
    while True:
        try:
            if not has_arrived:
                has_arrived = True
                arrive(path)
            while True:
                pass
        except BaseException:  # noqa: S110 - that is what it is for
            pass


def arrive_and_wait(path: str, way_out: str) -> int:
    arrive(path)
    with open(way_out, "rb") as pipe:  # noqa: PTH123
        pipe.read(1)
    return os.getpid()


@pytest.fixture
def fifo(tmp_path: Any) -> Fifo:
    return Fifo(str(tmp_path / "fifo"))


@pytest.fixture
def way_out(tmp_path: Any) -> Fifo:
    return Fifo(str(tmp_path / "out"))


# --- The same as in an interpreter ---------------------------------------------------------------


def test_it_runs_in_another_process(lane: Options) -> None:
    assert lane.submit(pid).result(PATIENCE) != os.getpid()


def test_no_process_starts_before_it_is_needed(pool: InterpreterPoolExecutor) -> None:
    before = psutil.Process().children()  # of multiprocessing, that other tests have used
    assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    assert pool.statistics().workers.processes == 0
    assert psutil.Process().children() == before


def test_functions_by_value_and_what_they_hold(lane: Options) -> None:
    table = {"a": [1, 2], "b": (3,)}

    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    def task(key: str) -> Any:
        return table[key], Local(len(key))

    found, made = lane.submit(task, "a").result(PATIENCE)
    assert found == [1, 2]
    assert isinstance(made, Local)
    assert made.n == 1


@pytest.mark.parametrize("size", [0, 10, 4_000, 5_000, 200_000, 3_000_000])
@pytest.mark.parametrize("make", [bytes, lambda n: "ä" * n, bytearray, lambda n: [b"x" * n, n]])
def test_large_and_small_come_and_go(lane: Options, make: Any, size: int) -> None:
    value = make(size)
    assert lane.submit(identity, value).result(PATIENCE) == value
    assert lane.submit(len, value).result(PATIENCE) == len(value)


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")])
def test_a_result_for_which_there_is_no_memory(lane: Options, error: Exception) -> None:
    def task() -> Any:
        import os

        create = os.memfd_create

        def fail(*_: object) -> int:
            os.memfd_create = create
            raise error

        os.memfd_create = fail  # type: ignore[assignment]
        return bytearray(1_000_000)

    with pytest.raises(TransferError, match=r"Cannot send the result of .*task"):
        lane.submit(task).result(PATIENCE)
    assert lane.submit(bytearray, 1_000_000).result(PATIENCE) == bytearray(1_000_000)


@contextlib.contextmanager
def descriptors_free(number: int) -> Iterator[None]:
    """Have this process get no more than so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_000, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(number):
            os.close(taken.pop())
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptor_for_a_large_result(fifo: Fifo, way_out: Fifo) -> None:
    def make(path: str, way_out: str) -> bytes:
        arrive_and_wait(path, way_out)
        return bytes(1_000_000)

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        first = lane.submit(pid).result(PATIENCE)
        future = lane.submit(make, fifo.path, way_out.path)
        fifo.wait()
        writing = os.open(way_out.path, os.O_WRONLY)
        with descriptors_free(0):
            os.write(writing, b".")
            error = future.exception(PATIENCE)
        os.close(writing)
        assert isinstance(error, TransferError)
        assert "Cannot send the result of" in str(error)
        assert "Too many open files" in str(error)
        assert "raise the limit (ulimit -n)" in str(error)
        assert isinstance(error.__cause__, OSError)
        assert error.__cause__.errno == errno.EMFILE
        assert lane.submit(bytes, 1_000_000).result(PATIENCE) == bytes(1_000_000)
        assert lane.submit(pid).result(PATIENCE) == first


def test_one_descriptor_is_enough_for_a_large_result(fifo: Fifo, way_out: Fifo) -> None:
    def make(path: str, way_out: str) -> bytes:
        arrive_and_wait(path, way_out)
        return bytes(1_000_000)

    with InterpreterPoolExecutor(1) as pool:
        future = pool.options(lane="process").submit(make, fifo.path, way_out.path)
        fifo.wait()
        writing = os.open(way_out.path, os.O_WRONLY)
        with descriptors_free(1):
            os.write(writing, b".")
            assert len(future.result(PATIENCE)) == 1_000_000
        os.close(writing)


def test_no_descriptor_for_large_arguments() -> None:
    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        first = lane.submit(pid).result(PATIENCE)
        with descriptors_free(0):
            error = lane.submit(len, bytes(1_000_000)).exception(PATIENCE)
        assert isinstance(error, TransferError)
        assert "Cannot send the arguments of len to a worker process" in str(error)
        assert "raise the limit (ulimit -n)" in str(error)
        assert lane.submit(len, bytes(1_000_000)).result(PATIENCE) == 1_000_000
        assert lane.submit(pid).result(PATIENCE) == first


def count_of_free() -> int:
    """How many descriptors this process can still get."""
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return len(taken)
    finally:
        for fd in taken:
            os.close(fd)


def test_a_process_that_cannot_be_started_leaves_nothing_open() -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(int).result(PATIENCE)
        lane = pool.options(lane="process")
        for number in itertools.count():
            with descriptors_free(number):
                error = lane.submit(pid).exception(PATIENCE)
                if error is None:
                    break
                assert isinstance(error, ProcessDied)
                assert "No worker process could be started" in str(error)
                assert "Too many open files" in str(error)
                assert count_of_free() == number
        assert number > 8  # two pairs of sockets, a pipe, memory, and what a process needs
        assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_a_process_that_has_no_descriptor_left_makes_room_for_another() -> None:
    def use_up() -> int:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        try:
            while True:
                os.dup(0)
        except OSError:
            return os.getpid()

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        first = lane.submit(use_up).result(PATIENCE)
        assert lane.submit(len, bytes(1_000_000)).result(PATIENCE) == 1_000_000
        assert lane.submit(pid).result(PATIENCE) != first


def test_its_errors_are_the_same(lane: Options) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        lane.submit(divide, 1, 0).result(PATIENCE)
    assert "in divide" in str(caught.value.__cause__)
    with pytest.raises(TransferError, match="the result of"):
        lane.submit(threading.Lock).result(PATIENCE)
    with pytest.raises(SystemExit):
        lane.submit(exit_with, 3).result(PATIENCE)
    assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_what_it_prints_comes_here(lane: Options, capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        print("a line")
        print("another", file=sys.stderr)

    lane.submit(talk).result(PATIENCE)
    assert tuple(capsys.readouterr()) == ("a line\n", "another\n")


def test_what_one_has_half_said_is_not_the_next_one_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def die_in_the_midst() -> None:
        channels: Any = sys.modules["_interpool_channels"]
        write = channels.write

        def write_once(fd: int, data: bytes) -> None:
            write(fd, data)
            channels.write = os._exit

        channels.write = write_once
        print("x" * 20_000)

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        with pytest.raises(ProcessDied):
            lane.submit(die_in_the_midst).result(PATIENCE)
        lane.submit(print, "hello").result(PATIENCE)
    assert capsys.readouterr().out == "hello\n"


def test_what_it_says_at_its_end_comes_here(capsys: pytest.CaptureFixture[str]) -> None:
    def say_later() -> None:
        import atexit
        import threading

        main = threading.main_thread()

        def say() -> None:
            main.join()
            print("a thread")

        threading.Thread(target=say).start()
        atexit.register(print, "at exit")

    with InterpreterPoolExecutor(1) as pool:
        pool.options(lane="process").submit(say_later).result(PATIENCE)
    assert capsys.readouterr().out == "a thread\nat exit\n"


def test_terminating_waits_for_no_thread_that_a_task_has_left(fifo: Fifo, way_out: Fifo) -> None:
    def leave_a_thread(path: str, way_out: str) -> None:
        import threading

        threading.Thread(target=arrive_and_wait, args=(path, way_out)).start()

    pool = InterpreterPoolExecutor(1)
    pool.options(lane="process").submit(leave_a_thread, fifo.path, way_out.path).result(PATIENCE)
    fifo.wait()
    begin = time.monotonic()
    pool.terminate_workers()
    pool.shutdown()
    assert time.monotonic() - begin < 4  # the patience with a pool that is shut down is 5 s


def test_shutting_down_waits_for_threads_that_a_task_has_left(
    fifo: Fifo,
    way_out: Fifo,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def leave_a_thread(path: str, way_out: str) -> None:
        import threading

        def wait_and_say() -> None:
            arrive_and_wait(path, way_out)
            print("done")

        threading.Thread(target=wait_and_say, name="straggler").start()
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    monkeypatch.setattr(processes, "_SILENCE", 0.1)
    monkeypatch.setattr(processes, "_PATIENCE", 0.0)
    pool = InterpreterPoolExecutor(1)
    pool.options(lane="process").submit(leave_a_thread, fifo.path, way_out.path).result(PATIENCE)
    fifo.wait()
    is_said = threading.Event()
    said: list[str] = []

    def hear(message: str) -> None:
        said.append(message)
        is_said.set()

    monkeypatch.setattr(pool._engine, "warn", hear)
    closing = threading.Thread(target=pool.shutdown)
    closing.start()
    assert is_said.wait(PATIENCE)
    assert closing.is_alive()
    way_out.open()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert "threads go on there that tasks have started: straggler." in said[0]
    assert capsys.readouterr().out == "done\n"


def test_a_thread_of_an_initializer_that_fails_holds_up_no_future(
    fifo: Fifo, way_out: Fifo
) -> None:
    def begin(path: str, way_out: str) -> None:
        import threading

        threading.Thread(target=arrive_and_wait, args=(path, way_out)).start()
        raise LookupError("not here")

    ends = fifo.path, way_out.path
    pool = InterpreterPoolExecutor(1, initializer=begin, initargs=ends)
    future = pool.options(lane="process").submit(add, 1, 2)
    fifo.wait()
    with pytest.raises(BrokenInterpreterPool, match="not here"):
        future.result(PATIENCE)
    way_out.open()
    pool.shutdown()


def test_what_it_prints_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            if not waiting:
                (host,) = engine.tasks.lanes["process"]._hosts
                assert isinstance(host, ProcessHost)
                while host._unsaid._value:  # until it waits, or has room for no more
                    time.sleep(0.001)
                assert engine._collector is not None
                waiting.append(len(engine._reports) + len(engine._collector.outcomes))
            return len(text)

    def print_much() -> None:
        for _ in range(2_000):
            print("x" * 3_000)

    monkeypatch.setattr(sys, "stdout", Slow())
    with InterpreterPoolExecutor(1) as pool:
        engine = pool._engine
        pool.options(lane="process").submit(print_much).result(PATIENCE)
    assert waiting[0] <= 256


def test_maps(lane: Options) -> None:
    assert list(lane.map(add, range(1_000), range(1_000))) == [*range(0, 2_000, 2)]
    assert sorted(lane.map_unordered(identity, range(100))) == [*range(100)]
    assert list(lane.map(identity, range(7), chunksize=3)) == [*range(7)]
    endless = iter(int, 1)
    results = lane.map(identity, endless, buffersize=5)
    assert [next(results) for _ in range(20)] == [0] * 20
    results.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_map_stops_at_what_fails(lane: Options) -> None:
    results = lane.map(divide, [1, 2, 3], [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_map_that_is_given_up_is_gone(fifo: Fifo, way_out: Fifo) -> None:
    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        results = lane.map(arrive_and_wait, [fifo.path] * 500, [way_out.path] * 500)
        fifo.wait()
        way_out.open()
        next(results)
        fifo.wait()
        results.close()  # type: ignore[attr-defined]  # it is a generator
        way_out.open()


def test_initializer_and_preload() -> None:
    def begin(value: int) -> None:
        import builtins

        builtins.begun = value  # type: ignore[attr-defined]

    def ask() -> tuple[int, bool]:
        import builtins

        return builtins.begun, "colorsys" in sys.modules  # type: ignore[attr-defined]

    with InterpreterPoolExecutor(1, initializer=begin, initargs=(7,), preload=["colorsys"]) as pool:
        assert pool.options(lane="process").submit(ask).result(PATIENCE) == (7, True)


def test_an_initializer_that_fails_there_breaks_the_pool() -> None:
    here = os.getpid()

    def begin() -> None:
        import os

        if os.getpid() != here:
            raise LookupError("not here")

    with InterpreterPoolExecutor(1, initializer=begin) as pool:
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        future = pool.options(lane="process").submit(add, 1, 2)
        with pytest.raises(BrokenInterpreterPool, match="not here"):
            future.result(PATIENCE)
        with pytest.raises(BrokenInterpreterPool, match="not here"):
            pool.submit(add, 1, 2)


def test_no_process_leaves_a_warning_at_its_end() -> None:
    done = run_program(
        "import warnings\n"
        "from interpool import InterpreterPoolExecutor\n"
        "warnings.simplefilter('default')\n"
        "with InterpreterPoolExecutor(1) as pool:\n"
        "    print(pool.options(lane='process').submit(lambda: 6 * 7).result())\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("42\n", "", 0)


def test_a_program_that_is_not_guarded_runs_once() -> None:
    done = run_program(
        "from interpool import InterpreterPoolExecutor\n"
        "print('here')\n"
        "pool = InterpreterPoolExecutor(1)\n"
        "print(pool.options(lane='process').submit(lambda: 6 * 7).result())\n"
    )
    assert (done.stdout, done.stderr, done.returncode) == ("here\n42\n", "", 0)


def test_it_starts_with_modules_of_python_whatever_lies_about(tmp_path: Any) -> None:
    (tmp_path / "socket.py").write_text("raise RuntimeError('not this one')")
    (tmp_path / "program").mkdir()
    program = tmp_path / "program" / "program.py"
    program.write_text("""
from interpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(1) as pool:
    print(pool.options(lane="process").submit(pow, 2, 3).result())
""")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_counts_and_lanes(pool: InterpreterPoolExecutor, lane: Options) -> None:
    pool.submit(add, 1, 2).result(PATIENCE)
    wait([lane.submit(add, n, n) for n in range(10)], PATIENCE)
    statistics = pool.statistics()
    assert dict(statistics.lanes) == {"interpreter": 1, "process": 10, "thread": 0}
    assert statistics.workers.processes in {1, 2}
    assert statistics.tasks.done == 11


# --- Stopped -------------------------------------------------------------------------------------


def test_interrupt(lane: Options, fifo: Fifo) -> None:
    future = lane.submit(arrive_and_spin, fifo.path)
    fifo.wait()
    assert future.running()
    assert future.interrupt()
    with pytest.raises(TaskInterrupted, match="arrive_and_spin was interrupted") as caught:
        future.result(PATIENCE)
    assert "in arrive_and_spin" in caught.value.stack
    assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_what_does_not_stop_is_killed(lane: Options, fifo: Fifo) -> None:
    future = lane.submit(arrive_and_swallow, fifo.path)
    fifo.wait()
    assert future.interrupt(grace=0.01)
    with pytest.raises(TaskInterrupted, match="its process was killed"):
        future.result(PATIENCE)
    assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_what_is_killed_while_its_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    is_starting, is_killed = threading.Event(), threading.Event()
    real = subprocess.Popen

    class Late(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            is_starting.set()
            assert is_killed.wait(PATIENCE)
            super().__init__(*args, **kwargs)

    kill = ProcessHost.kill

    def kill_and_tell(self: ProcessHost) -> None:
        kill(self)
        is_killed.set()

    monkeypatch.setattr(subprocess, "Popen", Late)
    monkeypatch.setattr(ProcessHost, "kill", kill_and_tell)
    with InterpreterPoolExecutor(1, initializer=block_interrupts) as pool:
        future = pool.options(lane="process").submit(spin)
        assert is_starting.wait(PATIENCE)
        future.interrupt(grace=0)
        with pytest.raises(TaskInterrupted, match="its process was killed"):
            future.result(PATIENCE)


def block_interrupts() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def spin() -> None:
    while True:
        pass


def test_a_strike_that_is_there_before_the_task_keeps_it_from_beginning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    flag = tmp_path / "flag"
    send, is_there = process.send_packed, threading.Event()
    futures: list[Future[Any]] = []

    def strike_and_send(*packed: Any) -> None:
        assert is_there.wait(PATIENCE)
        assert futures[0].interrupt(grace=PATIENCE)  # the process is idle when the signal comes
        monkeypatch.undo()
        send(*packed)

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        first = lane.submit(pid).result(PATIENCE)
        monkeypatch.setattr(process, "send_packed", strike_and_send)
        futures.append(lane.submit(os.mkdir, str(flag)))
        is_there.set()
        with pytest.raises(TaskInterrupted):
            futures[0].result(PATIENCE)
        assert not flag.exists()
        assert lane.submit(pid).result(PATIENCE) == first


def test_a_task_that_has_begun_is_not_given_to_another_process(tmp_path: Any) -> None:
    log = tmp_path / "log"

    def note_and_die() -> None:
        with log.open("a") as file:
            file.write("begun\n")
        os.kill(os.getpid(), signal.SIGKILL)

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        for _ in range(3):
            with pytest.raises(ProcessDied):
                lane.submit(note_and_die).result(PATIENCE)
    assert log.read_text() == "begun\n" * 3


def test_a_strike_does_not_wait_for_the_next_task(fifo: Fifo, way_out: Fifo) -> None:
    def block(path: str, way_out: str) -> None:
        block_interrupts()
        arrive_and_wait(path, way_out)

    def unblock() -> int:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return 1

    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        future = lane.submit(block, fifo.path, way_out.path)
        fifo.wait()
        future.interrupt(grace=PATIENCE)
        following = lane.submit(unblock)
        way_out.open()
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert following.result(PATIENCE) == 1


def test_a_task_can_be_struck_whatever_the_last_one_did(lane: Options, fifo: Fifo) -> None:
    def ignore(mask: bool) -> None:
        if mask:
            block_interrupts()
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    for mask in (False, True):
        lane.submit(ignore, mask).result(PATIENCE)
        future = lane.submit(arrive_and_spin, fifo.path)
        fifo.wait()
        future.interrupt(grace=PATIENCE)
        with pytest.raises(TaskInterrupted):
            future.result(PATIENCE / 2)


def test_timeout(lane: Options, fifo: Fifo) -> None:
    import time

    with pytest.raises(TaskTimeout, match="its timeout of 0"):
        lane.options(timeout=0.05).submit(time.sleep, PATIENCE).result(PATIENCE)
    assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_cancel(fifo: Fifo, way_out: Fifo) -> None:
    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        running = lane.submit(arrive_and_wait, fifo.path, way_out.path)
        fifo.wait()
        waiting = lane.submit(add, 1, 2)
        assert not running.cancel()
        assert waiting.cancel()
        way_out.open()
        running.result(PATIENCE)
        with pytest.raises(CancelledError):
            waiting.result(PATIENCE)
        assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_terminate(fifo: Fifo) -> None:
    pool = InterpreterPoolExecutor(1)
    lane = pool.options(lane="process")
    running = lane.submit(arrive_and_spin, fifo.path)
    waiting = [lane.submit(add, 1, 2) for _ in range(5)]
    fifo.wait()
    pool.terminate_workers()
    assert isinstance(running.exception(PATIENCE), TaskInterrupted)
    assert all(future.cancelled() for future in waiting)
    pool.shutdown()


def test_shutdown_without_waiting_finishes_what_was_given() -> None:
    pool = InterpreterPoolExecutor(1)
    futures = [pool.options(lane="process").submit(identity, n) for n in range(20)]
    pool.shutdown(wait=False)
    assert [future.result(PATIENCE) for future in futures] == [*range(20)]
    pool.shutdown()


# --- Died ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_fails_its_own_task(
    fifo: Fifo, way_out: Fifo, number: signal.Signals
) -> None:
    def kill_oneself() -> None:
        os.kill(os.getpid(), number)

    with InterpreterPoolExecutor(2) as pool:
        lane = pool.options(lane="process")
        other = lane.submit(arrive_and_wait, fifo.path, way_out.path)
        fifo.wait()
        with pytest.raises(ProcessDied, match=f"was killed by {number.name}") as caught:
            lane.submit(kill_oneself).result(PATIENCE)
        assert caught.value.signal == number
        assert caught.value.exitcode == -number
        assert str(caught.value.pid) in str(caught.value)
        way_out.open()
        assert other.result(PATIENCE) != caught.value.pid
        assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_a_process_that_exits_says_with_what(lane: Options) -> None:
    with pytest.raises(ProcessDied, match="exited with 7") as caught:
        lane.submit(os._exit, 7).result(PATIENCE)
    assert (caught.value.exitcode, caught.value.signal) == (7, None)


def test_it_may_be_tried_again(lane: Options, tmp_path: Any) -> None:
    mark = str(tmp_path / "mark")

    def die_once() -> str:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return "alive"
        os._exit(1)

    view = lane.options(retries=Retry(2, on=ProcessDied, delay=0))
    assert view.submit(die_once).result(PATIENCE) == "alive"


def test_an_idle_process_that_is_killed_costs_no_task() -> None:
    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        for _ in range(3):
            found = psutil.Process(lane.submit(pid).result(PATIENCE))
            found.kill()
            psutil.wait_procs([found], timeout=0)  # its parent reaps it when it looks
            assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_killed_under_load_no_future_is_lost() -> None:
    def work(n: int) -> int:
        return sum(range(n % 1_000)) * 0 + n

    others = set(psutil.Process().children())  # what other tests share
    with InterpreterPoolExecutor(2) as pool:
        lane = pool.options(lane="process")
        futures = [lane.submit(work, n) for n in range(3_000)]
        killed = 0
        for index in range(0, 2_500, 500):
            wait(futures[index : index + 1], PATIENCE)
            for child in set(psutil.Process().children()) - others:
                child.kill()
                killed += 1
        died = 0
        for n, future in enumerate(futures):
            if isinstance(future.exception(PATIENCE), ProcessDied):
                died += 1
            else:
                assert future.result() == n
        assert died <= killed


def test_a_child_of_a_dead_process_does_not_hide_its_end(lane: Options) -> None:
    def fork_and_die() -> None:
        import time

        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ProcessDied):
        lane.submit(fork_and_die).result(PATIENCE)


def test_a_child_does_not_hide_its_end_in_the_midst_of_a_result(
    lane: Options, way_out: Fifo
) -> None:
    def task(way_out: str) -> bytearray:
        parent = os.getpid()
        if os.fork() == 0:  # it has the socket, too
            with open(way_out, "rb") as pipe:  # noqa: PTH123
                pipe.read(1)
            os._exit(0)

        def die(*_: object) -> None:
            os.kill(parent, signal.SIGKILL)

        sys.modules["_interpool_process"].send_packed = die  # type: ignore[attr-defined]
        return bytearray(1_000_000)

    with pytest.raises(ProcessDied, match="SIGKILL"):
        lane.submit(task, way_out.path).result(PATIENCE)
    way_out.open()


@pytest.mark.parametrize("call", ["os.getpid).result()", "arrive_and_spin, path)"])
def test_no_process_is_left_by_a_main_process_that_is_killed(call: str, fifo: Fifo) -> None:
    source = f"""
import os, signal, sys
from interpool import InterpreterPoolExecutor
path = sys.argv[1]

def arrive_and_spin(path):
    with open(path, "wb") as pipe:
        pipe.write(b".")
    while True:
        pass

pool = InterpreterPoolExecutor(1)
print(pool.options(lane="process").submit(os.getpid).result(), flush=True)
pool.options(lane="process").submit({call}
if "spin" in {call!r}:
    open(path, "rb").read(1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run_program(source, fifo.path)
    assert done.returncode == -signal.SIGKILL
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(PATIENCE)


def test_a_forked_child_keeps_no_process(way_out: Fifo) -> None:
    """It has the sockets, too: of main that is killed, and of a pool that is shut down."""
    source = """
import os, signal, sys, time, warnings
from interpool import InterpreterPoolExecutor
warnings.simplefilter("ignore")
pool, other = InterpreterPoolExecutor(1), InterpreterPoolExecutor(1)
print(other.options(lane="process").submit(os.getpid).result())
print(pool.options(lane="process").submit(os.getpid).result(), flush=True)
if os.fork() == 0:
    os.close(1), os.close(2)
    open(sys.argv[1], "rb").read(1)
    os._exit(0)
begin = time.monotonic()
other.shutdown()
print(time.monotonic() - begin, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run_program(source, way_out.path)
    *pids, seconds = done.stdout.split()
    assert float(seconds) < 4  # it need not be killed, which would take 5 s
    for it in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int(it)).wait(PATIENCE)
    way_out.open()


def test_ctrl_c_ends_a_program_with_tasks_in_processes() -> None:
    source = """
import os, signal, threading, time
from interpool import InterpreterPoolExecutor

def spin():
    while True:
        pass

with InterpreterPoolExecutor(1) as pool:
    future = pool.options(lane="process").submit(spin)
    while not future.running():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
    future.result()
"""
    done = run_program(source)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_a_process_that_cannot_be_started_fails_its_task(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ProcessDied, match="No worker process could be started for add"):
        pool.options(lane="process").submit(add, 1, 2).result(PATIENCE)
    monkeypatch.undo()
    assert pool.options(lane="process").submit(add, 1, 2).result(PATIENCE) == 3


def test_where_there_are_means_for_one_process_it_does_all(
    monkeypatch: pytest.MonkeyPatch, fifo: Fifo, way_out: Fifo, caplog: pytest.LogCaptureFixture
) -> None:
    real = subprocess.Popen
    started: list[int] = []

    class First(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if started:
                raise OSError(24, "Too many open files")
            started.append(1)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", First)
    with InterpreterPoolExecutor(3) as pool:
        lane = pool.options(lane="process")
        first = lane.submit(arrive_and_wait, fifo.path, way_out.path)
        fifo.wait()
        others = [lane.submit(pid) for _ in range(5)]
        while pool.statistics().workers.processes + len(caplog.records) < 2:
            lane.submit(pid).cancel()
        way_out.open()
        assert {it.result(PATIENCE) for it in (first, *others)} == {first.result()}
        assert pool.statistics().workers.processes == 1
    assert "so there will be fewer: [Errno 24] Too many open files" in caplog.text


def test_a_map_for_which_there_is_no_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with InterpreterPoolExecutor(1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(ProcessHost, "start", fail)
            results = pool.options(lane="process").map(abs, range(500))
        assert pool.options(lane="process").submit(abs, -1).result(PATIENCE) == 1
    with pytest.raises(ProcessDied, match="can't start new thread"):  # not before it is shut down
        next(results)


def test_nothing_is_read_from_standard_input(lane: Options) -> None:
    assert lane.submit(_read_stdin).result(PATIENCE) == ""


def _read_stdin() -> str:
    import sys

    return sys.stdin.read()


def test_a_gate_of_the_other_lane_is_not_needed(gate: Gate) -> None:
    """Descriptors of this process are not there, and nothing of it is inherited."""

    def is_open(fd: int) -> bool:
        try:
            os.fstat(fd)
        except OSError:
            return False
        return True

    with InterpreterPoolExecutor(1) as pool:
        assert not pool.options(lane="process").submit(is_open, gate.exit).result(PATIENCE)
