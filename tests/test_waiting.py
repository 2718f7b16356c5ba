"""Who reads results: the thread that waits for one, or the collector's; nobody waits in vain."""

import concurrent.futures
import select
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from interpool import Future, InterpreterPoolExecutor
from interpool._collector import Collector
from memory import resident_mib
from support import PATIENCE, Gate, arrive_and_pass, identity, pass_through, run_program


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have read while they waited for a result."""
    found: list[int] = []
    take = Collector._take

    def note(collector: Collector, own: Any) -> None:
        found.append(threading.get_ident())
        take(collector, own)

    monkeypatch.setattr(Collector, "_take", note)
    return found


def test_a_future_has_of_its_base_class_what_is_made_late() -> None:
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(identity, 1)
        base = vars(concurrent.futures.Future())
        assert set(base) <= {*vars(future), *vars(Future), "_condition", "_waiters"} | {
            "_done_callbacks"
        }
        assert {name: getattr(Future, name) for name in ("_state", "_result", "_exception")} == {
            name: base[name] for name in ("_state", "_result", "_exception")
        }
        assert future._condition is future._condition
        assert {*vars(future)} >= {"_condition", "_waiters", "_done_callbacks"}
        with pytest.raises(AttributeError, match="'Future' object has no attribute 'missing'"):
            _ = future.missing


def test_a_thread_reads_the_result_that_it_waits_for(readers: list[int]) -> None:
    with InterpreterPoolExecutor(1) as pool:
        for n in range(50):
            assert pool.submit(identity, n).result(PATIENCE) == n
    assert threading.get_ident() in readers


def test_threads_that_wait_side_by_side_all_get_theirs() -> None:
    with InterpreterPoolExecutor(2) as pool:
        errors: list[BaseException] = []

        def run(first: int) -> None:
            try:
                for n in range(first, first + 300):
                    assert pool.submit(identity, n).result(PATIENCE) == n
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(1_000 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert errors == []


@pytest.mark.parametrize("way", ["cancel", "set_result", "set_exception", "shutdown"])
def test_a_reading_thread_sees_that_its_future_ends_in_another_way(
    gate: Gate, arrivals: Gate, way: str, readers: list[int]
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        for _ in range(20):
            pool.submit(identity, 0).result(PATIENCE)  # the collector is at rest now
        running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
        arrivals.wait()
        waiting = pool.submit(identity, 1)
        ended: list[Any] = []

        def wait() -> None:
            try:
                ended.append(waiting.result(PATIENCE))
            except BaseException as error:
                ended.append(type(error))

        thread = threading.Thread(target=wait)
        thread.start()
        match way:
            case "cancel":
                assert waiting.cancel()
            case "set_result":
                waiting.set_result(2)
            case "set_exception":
                waiting.set_exception(KeyError())
            case _:
                pool.shutdown(wait=False, cancel_futures=True)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        cancelled = concurrent.futures.CancelledError
        assert ended == [{"set_result": 2, "set_exception": KeyError}.get(way, cancelled)]
        gate.open()
        assert running.result(PATIENCE) is None


def test_results_that_nobody_waits_for_are_read_all_the_same(gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(identity, 0).result(PATIENCE)
        future = pool.submit(pass_through, gate.exit, 1)
        gate.open()
        deadline = time.monotonic() + PATIENCE
        while not future.done():  # what a program may do instead of waiting
            assert time.monotonic() < deadline


def test_a_callback_is_called_though_nobody_waits(gate: Gate) -> None:
    called = threading.Event()
    with InterpreterPoolExecutor(1) as pool:
        for _ in range(20):
            pool.submit(identity, 0).result(PATIENCE)  # the collector is at rest now
        future = pool.submit(pass_through, gate.exit, 1)
        future.add_done_callback(lambda _: called.set())
        gate.open()
        assert called.wait(PATIENCE)


def test_a_timeout_is_kept_while_reading(gate: Gate) -> None:
    with InterpreterPoolExecutor(2) as pool:
        future = pool.submit(pass_through, gate.exit, 1)
        for timeout in (0, 0.001, 0.05):
            begin = time.monotonic()
            with pytest.raises(TimeoutError):
                future.result(timeout)
            with pytest.raises(TimeoutError):
                future.exception(timeout)
            assert time.monotonic() - begin >= 2 * timeout
        gate.open()
        assert future.result(PATIENCE) == 1
        assert future.exception() is None


def test_ctrl_c_ends_the_wait_and_leaves_the_pool_whole() -> None:
    done = run_program("""
import os, signal
from interpool import InterpreterPoolExecutor
def hold(fd):
    import os
    os.read(fd, 1)
    return "done"
out, into = os.pipe()
with InterpreterPoolExecutor(2) as pool:
    for _ in range(30):
        pool.submit(abs, -1).result()
    held = pool.submit(hold, out)
    for delay in (0.001, 0.01, 0.05):
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, delay)
        try:
            held.result()
        except KeyboardInterrupt:
            print("interrupted")
    print([pool.submit(abs, -n).result() for n in range(3)])
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        list(pool.map(hold, [out]))
    except KeyboardInterrupt:
        print("interrupted")
    os.write(into, b"..")
    print(held.result())
""")
    assert done.stdout.splitlines() == [*["interrupted"] * 3, "[0, 1, 2]", "interrupted", "done"]
    assert (done.stderr, done.returncode) == ("", 0)


def test_what_a_signal_raises_ends_the_wait_and_leaves_the_pool_whole() -> None:
    done = run_program("""
import os, signal
from interpool import InterpreterPoolExecutor
class Alarm(Exception): pass
def alarm(*_): raise Alarm
def hold(fd):
    import os
    os.read(fd, 1)
    return "done"
out, into = os.pipe()
with InterpreterPoolExecutor(1) as pool:
    for _ in range(30):
        pool.submit(abs, -1).result()
    held = pool.submit(hold, out)
    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        held.result()
    except Alarm:
        print("alarm")
    os.write(into, b".")
    print(held.result(), pool.submit(abs, -1).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("alarm\ndone 1\n", "", 0)


def test_output_of_a_task_is_passed_on_by_the_collector_alone(
    readers: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    # A stream may block, and the thread that reads in between would do so with signals deferred.
    with InterpreterPoolExecutor(1) as pool:
        for n in range(30):
            pool.submit(print, n).result(PATIENCE)
            assert capsys.readouterr().out == f"{n}\n"


# --- Memory ------------------------------------------------------------------------------------


@pytest.mark.stress
@pytest.mark.parametrize("way", ["submit", "map", "map_unordered"])
def test_memory_is_flat_with_the_work(way: str) -> None:
    def submits(pool: InterpreterPoolExecutor, count: int) -> int:
        total = 0
        window: list[Future[int]] = []
        for n in range(count):
            window.append(pool.submit(identity, n))
            if len(window) == 500:
                total += sum(future.result() for future in window)
                window.clear()
        return total + sum(future.result() for future in window)

    with InterpreterPoolExecutor(2) as pool:

        def work(count: int) -> int:
            if way == "submit":
                return submits(pool, count)
            results: Iterator[int] = getattr(pool, way)(identity, range(count), buffersize=1_000)
            return sum(results)

        work(5_000)
        before = resident_mib()
        count = 40_000 if way == "submit" else 300_000
        assert work(count) == count * (count - 1) // 2
        assert resident_mib() - before < 10


def test_a_system_without_poll_has_the_collector_read(
    monkeypatch: pytest.MonkeyPatch, readers: list[int], gate: Gate, arrivals: Gate
) -> None:
    monkeypatch.delattr(select, "poll")
    with InterpreterPoolExecutor(5) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(5)]
        arrivals.wait(5)
        gate.open(5)
        assert [future.result(PATIENCE) for future in futures] == list(range(5))
        assert list(pool.map(identity, range(500))) == list(range(500))
        assert readers == []


# --- Signals, timeouts, finalizers ---------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, -0.001, 0])
def test_no_time_is_no_wait(gate: Gate, timeout: float) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(identity, 1).result(PATIENCE)
        future = pool.submit(pass_through, gate.exit, 1)
        with pytest.raises(TimeoutError):
            future.result(timeout)
        gate.open()


def test_a_timeout_longer_than_any_is_one(gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(identity, 1).result(PATIENCE)
        future = pool.submit(pass_through, gate.exit, 1)
        for wrong in (float("inf"), float("nan")):
            with pytest.raises((OverflowError, TimeoutError)):  # as in `concurrent.futures`
                future.result(wrong)
        gate.open()
        assert future.result(3_000_000) == 1
        assert pool.submit(identity, 2).result(PATIENCE) == 2


def test_a_handler_may_wait_for_other_results_and_for_the_pool() -> None:
    done = run_program("""
import os, signal
from interpool import InterpreterPoolExecutor
def hold(fd):
    import os
    os.read(fd, 1)
    return "done"
out, into = os.pipe()
pool = InterpreterPoolExecutor(2)
for _ in range(30):
    pool.submit(abs, -1).result()
held = pool.submit(hold, out)
def handle(*_):
    print(pool.submit(abs, -2).result(), flush=True)
    os.write(into, b".")
    pool.shutdown()
    print(held.done())
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.05)
print(held.result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("2\nTrue\ndone\n", "", 0)


def test_a_finalizer_under_the_lock_may_cancel_what_somebody_waits_for(
    gate: Gate, arrivals: Gate
) -> None:
    # A thread in `concurrent.futures.wait` holds one future's condition and wants the lock for
    # another's; a finalizer under the lock cancels the first one.
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
        arrivals.wait()
        held, other = pool.submit(identity, 1), pool.submit(identity, 2)
        holds, may_go_on = threading.Event(), threading.Event()

        def wait() -> None:
            with held._condition:
                holds.set()
                may_go_on.wait(PATIENCE)
                assert isinstance(other._condition, threading.Condition)

        thread = threading.Thread(target=wait)
        thread.start()
        assert holds.wait(PATIENCE)
        with pool._engine.lock:
            may_go_on.set()
            assert held.cancel()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        with pytest.raises(concurrent.futures.CancelledError):
            held.result(PATIENCE)
        gate.open()


def test_others_results_are_not_loaded_by_a_thread_that_waits_for_its_own(
    gate: Gate, readers: list[int]
) -> None:
    # Loading one may run anything, for as long as it likes.
    with InterpreterPoolExecutor(1) as pool:
        loaded: list[int] = []

        class Loaded:
            def __init__(self) -> None:
                self.state = 1

            def __setstate__(self, state: object) -> None:
                loaded.append(threading.get_ident())

        for _ in range(20):
            pool.submit(identity, 0).result(PATIENCE)
        other, own = pool.submit(Loaded), pool.submit(identity, 1)
        assert own.result(PATIENCE) == 1
        other.result(PATIENCE)
        assert loaded
        assert threading.get_ident() not in loaded or other.done()


def test_what_is_closed_is_not_read(
    arrivals: Gate, monkeypatch: pytest.MonkeyPatch, readers: list[int]
) -> None:
    # The pool ends between the withdrawing of a task and the word of it to its future, for which
    # another thread may just begin to wait. The descriptor may be anybody's by then.
    def spin(entry: int) -> None:
        import os

        os.write(entry, b".")
        while True:
            pass

    pool = InterpreterPoolExecutor(1)
    running = pool.submit(spin, arrivals.entry)
    arrivals.wait()
    withdrawn = pool.submit(identity, 1)
    collector = pool._engine._collector
    assert collector is not None
    settle = Future.settle_withdrawn

    def settle_late(future: Future[Any]) -> None:
        collector._thread.join(PATIENCE)
        before = len(readers)
        collector.read_until(future.done, PATIENCE, future)
        assert len(readers) == before
        settle(future)

    monkeypatch.setattr(Future, "settle_withdrawn", settle_late)
    thread = threading.Thread(target=pool.terminate_workers)  # where no signals come, and one reads
    thread.start()
    thread.join(PATIENCE)
    assert withdrawn.cancelled()
    assert running.done()
    assert pool._engine.broken is None
