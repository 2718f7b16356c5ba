"""Interleavings, forced; and the same at random, for a bounded time.

The invariant: a future ends once, with one outcome; `cancel()` is true exactly if its task never
runs.
"""

import concurrent.futures
import gc
import heapq
import os
import random
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from interpool import BrokenInterpreterPool, Future, InterpreterPoolExecutor
from interpool._dispatch import Dispatch
from interpool._inside import channels
from interpool._transport import Item, Transport
from support import PATIENCE, Gate, arrive_and_pass, identity, pass_through, run_program


@pytest.fixture
def busy(gate: Gate, arrivals: Gate) -> Iterator[InterpreterPoolExecutor]:
    """A pool whose only worker is at the gate, so that what is submitted waits in the queue."""
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
        arrivals.wait()
        yield pool
        gate.open()


# --- Cancelling --------------------------------------------------------------------------------


def test_cancel_while_the_worker_takes_the_task(
    busy: InterpreterPoolExecutor, gate: Gate, arrivals: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker comes between the look at the queue and the recall: the recall decides.
    recall = Transport.recall
    future = busy.submit(arrive_and_pass, arrivals.entry, gate.exit, "ran")

    def let_the_worker_have_it(transport: Transport) -> Any:
        gate.open()
        arrivals.wait()
        return recall(transport)

    monkeypatch.setattr(Transport, "recall", let_the_worker_have_it)
    assert not future.cancel()
    gate.open()
    assert future.result(PATIENCE) == "ran"
    monkeypatch.undo()
    busy.submit(pass_through, gate.exit, None)  # the fixture opens the gate once more


def test_cancel_leaves_the_others_in_their_order(busy: InterpreterPoolExecutor, gate: Gate) -> None:
    def note(fd: int, n: int) -> None:
        import os

        os.write(fd, bytes([n]))

    with Gate() as notes:
        futures = [busy.submit(note, notes.entry, n) for n in range(200)]
        cancelled = [n for n in range(200) if n % 3 == 0]
        assert all(futures[n].cancel() for n in cancelled)
        gate.open()
        concurrent.futures.wait(futures, timeout=PATIENCE)
        noted = list(os.read(notes.exit, 1_000))
    assert noted == [n for n in range(200) if n % 3]
    busy.submit(pass_through, gate.exit, None)


def test_cancel_from_two_threads_notifies_once(busy: InterpreterPoolExecutor) -> None:
    for _ in range(50):
        future = busy.submit(identity, 1)
        called: list[object] = []
        future.add_done_callback(called.append)
        answers: list[bool] = []
        both = threading.Barrier(2)

        def cancel(
            future: Future[int] = future,
            answers: list[bool] = answers,
            both: threading.Barrier = both,
        ) -> None:
            both.wait(PATIENCE)
            answers.append(future.cancel())

        threads = [threading.Thread(target=cancel) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [True, True]
        assert called == [future]
        assert concurrent.futures.wait([future], timeout=0).done == {future}


def test_a_garbage_collection_under_the_lock_may_cancel(
    gate: Gate, arrivals: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An abandoned iterator in a cycle is finalized by a collection inside the engine's own lock.
    class Holder:
        def __init__(self, results: Iterator[int]) -> None:
            self.results = results
            self.me = self

    def hold(n: int, entry: int = arrivals.entry, fd: int = gate.exit) -> int:
        import os

        os.write(entry, b".")
        os.read(fd, 1)
        return n

    with InterpreterPoolExecutor(1) as pool:
        results = pool.map(hold, range(20), chunksize=1)
        gate.open()
        assert next(results) == 0  # only an iterator that was started cancels what is left
        arrivals.wait(2)
        assert len(pool._engine.tasks.in_flight) == 19
        holder = Holder(results)
        kept = weakref.ref(holder)
        put = Transport.put

        def collect_first(transport: Transport, item: Item) -> int:
            gc.collect()
            return put(transport, item)

        del results, holder
        monkeypatch.setattr(Transport, "put", collect_first)
        after = pool.submit(identity, "after")
        assert kept() is None
        assert len(pool._engine.tasks.in_flight) == 2  # the one that runs, and the new one
        gate.open()
        assert after.result(PATIENCE) == "after"


def test_a_garbage_collection_in_the_timekeeper_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whoever sets something there holds the pool's lock, which a finalizer in there may want: so it
    # must be that lock that is held there.
    seen: list[bool] = []
    pop = heapq.heappop

    with InterpreterPoolExecutor(1) as pool:
        pool.submit(identity, 1).result(PATIENCE)
        engine = pool._engine
        is_called = threading.Event()

        def pop_and_collect(heap: list[Any]) -> Any:
            seen.append(engine.is_locked_here)
            return pop(heap)

        monkeypatch.setattr(heapq, "heappop", pop_and_collect)
        with engine.lock:
            engine.timekeeper.set("key", time.monotonic(), is_called.set)
        assert is_called.wait(PATIENCE)
        monkeypatch.undo()
    assert seen
    assert all(seen)


def test_a_garbage_collection_under_the_lock_may_close_the_pool(
    gate: Gate, arrivals: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The executor itself goes while its collector is inside the engine.
    pool = InterpreterPoolExecutor(1)
    engine = pool._engine
    future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "done")
    arrivals.wait()
    holder: list[Any] = [pool]
    holder.append(holder)
    del pool, holder
    feed = Dispatch.feed

    def collect_first(dispatch: Dispatch) -> None:
        gc.collect()
        feed(dispatch)

    monkeypatch.setattr(Dispatch, "feed", collect_first)
    gc.disable()
    gate.open()
    assert future.result(PATIENCE) == "done"
    gc.enable()
    engine.join()
    assert engine.transport is None


# --- Interrupts --------------------------------------------------------------------------------

INTERRUPTED = """
import concurrent.futures, random, signal, sys
from interpool import InterpreterPoolExecutor
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
chance = random.Random(int(sys.argv[2]))

def use(pool, futures):
    for _ in range(100):
        new = [pool.submit(abs, -1) for _ in range(20)]
        futures += new
        if sys.argv[1] == "cancel":
            for future in new:
                future.cancel()

for trial in range(60):
    pool = InterpreterPoolExecutor(2)
    futures = []
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.015))
        use(pool, futures)  # a call: CPython's exception table leaves out some jumps of a try block
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
    done, left = concurrent.futures.wait(futures, timeout=30)
    assert not left, (trial, left)
    assert pool.submit(abs, -2).result(30) == 2
    pool.shutdown()
print("whole")
"""


@pytest.mark.stress
@pytest.mark.parametrize("way", ["submit", "cancel"])
def test_ctrl_c_at_any_moment_leaves_the_pool_whole(way: str) -> None:
    done = run_program(INTERRUPTED, way, "1")
    assert (done.stdout, done.returncode) == ("whole\n", 0), done.stderr


def test_an_interrupt_waits_for_the_end_of_the_lines_it_must_not_tear() -> None:
    done = run_program("""
import signal
from interpool._interrupts import Deferred
reached = []
try:
    with Deferred():
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    reached.append("beyond")
except KeyboardInterrupt:
    print(reached, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
""")
    assert done.stdout == "['the end'] True\n"


# --- A collector that fails --------------------------------------------------------------------


def test_a_collector_that_fails_leaves_no_future_waiting(
    gate: Gate, arrivals: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Transport.read
    failures = [MemoryError("of the collector")]

    def fail_once(transport: Transport) -> Any:
        frames = read(transport)
        if (channels.VALUE_PLAIN, 1) in [frame[1:] for frame in frames] and failures:
            raise failures.pop()
        return frames

    with InterpreterPoolExecutor(1) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(300)]
        arrivals.wait()
        monkeypatch.setattr(Transport, "read", fail_once)
        gate.open()
        assert futures[0].result(PATIENCE) == 0
        arrivals.wait()
        gate.open()
        for future in futures[1:2] + futures[-1:]:
            with pytest.raises(BrokenInterpreterPool, match=r"collector failed.*of the collector"):
                future.result(PATIENCE)
        with pytest.raises(BrokenInterpreterPool):
            pool.submit(identity, 1)
        gate.open(300)


def test_a_result_set_by_the_user_harms_no_other(gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        futures = [pool.submit(pass_through, gate.exit, n) for n in range(6)]
        futures[1].set_result("mine")
        gate.open(6)
        assert [future.result(PATIENCE) for future in futures] == [0, "mine", 2, 3, 4, 5]


# --- At random ---------------------------------------------------------------------------------


def act(pool: InterpreterPoolExecutor, chance: random.Random, ended: list[Future[Any]]) -> None:
    """Submit, cancel, map, wait: whatever comes up."""
    futures: list[tuple[int, Future[int]]] = []
    for n in range(60):
        match chance.randrange(6):
            case 0 if futures:
                _, future = chance.choice(futures)
                if future.cancel():
                    assert future.cancelled()
            case 1 if futures:
                expected, future = chance.choice(futures)
                if not future.cancelled():
                    assert future.result(PATIENCE) == expected
            case 2:
                size = chance.choice([None, 1, 3, 50])
                results = pool.map(identity, range(20), chunksize=size, buffersize=size)
                if chance.random() < 0.5:
                    assert list(results) == list(range(20))
                else:
                    next(results)  # and let go of it
            case _:
                futures.append((n, pool.submit(identity, n)))
    for n, future in futures:
        assert future.cancelled() or future.result(PATIENCE) == n
        ended.append(future)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(6))
def test_many_threads_do_anything_at_any_time(seed: int) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for round_ in range(4):
            chance = random.Random(seed * 100 + round_)
            ended: list[Future[Any]] = []
            errors: list[BaseException] = []
            pool = InterpreterPoolExecutor(chance.choice([1, 2, 5]))

            def run(seed: int, pool: Any = pool, ended: Any = ended, errors: Any = errors) -> None:
                try:
                    act(pool, random.Random(seed), ended)
                except RuntimeError, concurrent.futures.CancelledError:
                    pass  # the pool was shut down meanwhile
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=run, args=(chance.random(),)) for _ in range(4)]
            for thread in threads:
                thread.start()
            if chance.random() < 0.5:
                pool.shutdown(wait=False, cancel_futures=chance.random() < 0.5)
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()
            pool.shutdown()
            assert errors == []
            assert all(future.done() for future in ended)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.stress
def test_sleepers_are_always_woken() -> None:
    # One at a time: each submit meets workers that are asleep, or are just going to sleep.
    with InterpreterPoolExecutor(3) as pool:
        for n in range(3_000):
            assert pool.submit(identity, n).result(PATIENCE) == n


@pytest.mark.stress
def test_pools_come_and_go() -> None:
    for n in range(40):
        with InterpreterPoolExecutor(2) as pool:
            assert pool.submit(identity, n).result(PATIENCE) == n
