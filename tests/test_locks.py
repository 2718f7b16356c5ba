"""Locks and what is like them: as those of `threading`, and between interpreters."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import gc
import mmap
import os
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import interpool
import locking
from interpool import (
    Barrier,
    BoundedSemaphore,
    Event,
    InterpreterPoolExecutor,
    Lock,
    Queue,
    RLock,
    Semaphore,
    TaskInterrupted,
)
from interpool._inside import bells, descriptors, handles, holding
from interpool._inside import gate as gates
from support import PATIENCE, Gate, add, run_program

TINY = 0.001  # seconds: of waits that are to be in vain


@pytest.fixture(params=[threading, interpool], ids=["threading", "interpool"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(4) as made:
        yield made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@pytest.fixture
def memory() -> Iterator[int]:
    made = descriptors.create_memory(mmap.PAGESIZE)
    yield made
    os.close(made)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch, arrivals: Gate) -> Gate:
    """Through which it is told whenever a thread in this interpreter is in a line, to sleep."""
    sleep = bells.Bell.sleep

    def telling(self: bells.Bell, deadline: float | None) -> bool:
        os.write(arrivals.entry, b".")
        return sleep(self, deadline)

    monkeypatch.setattr(bells.Bell, "sleep", telling)
    return arrivals


def wait_in(pool: Any, entry: int, call: Callable[..., Any], *args: Any) -> Future[Any]:
    """Have a worker wait for something; return when it is in the line."""
    return pool.submit(locking.tell_when_waiting, entry, call, *args)  # type: ignore[no-any-return]


def interrupted(future: Any) -> None:
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result(PATIENCE)


# --- As in threading: locks ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_one_thread_has_it_at_a_time(kind: Any, name: str, threads: ThreadPoolExecutor) -> None:
    lock = getattr(kind, name)()
    assert lock.acquire()
    assert not threads.submit(lock.acquire, blocking=False).result(PATIENCE)
    assert not threads.submit(lock.acquire, timeout=TINY).result(PATIENCE)
    assert not threads.submit(lock.acquire, timeout=0).result(PATIENCE)
    lock.release()
    assert threads.submit(lock.acquire, timeout=TINY).result(PATIENCE)


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_it_is_free_behind_a_block_however_that_ends(kind: Any, name: str) -> None:
    lock = getattr(kind, name)()
    with lock as got:
        assert got
    with pytest.raises(LookupError), lock:
        raise LookupError
    assert lock.acquire(blocking=False)


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_it_says_whether_it_is_locked(kind: Any, name: str) -> None:
    lock = getattr(kind, name)()
    assert not lock.locked()
    with lock:
        assert lock.locked()
        assert "locked" in repr(lock)
        assert "unlocked" not in repr(lock)
    assert not lock.locked()
    assert "unlocked" in repr(lock)


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_what_nobody_has_is_not_released(kind: Any, name: str) -> None:
    lock = getattr(kind, name)()
    with pytest.raises(RuntimeError):
        lock.release()
    with lock:
        pass
    with pytest.raises(RuntimeError):
        lock.release()


@pytest.mark.parametrize("name", ["Lock", "RLock"])
@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((True, -2), ValueError),
        ((False, 1), ValueError),
        ((False, 0), ValueError),
        ((True, float("nan")), ValueError),
        ((True, 1e300), OverflowError),
        ((True, threading.TIMEOUT_MAX * 2), OverflowError),
        ((True, None), TypeError),
        ((True, "1"), TypeError),
    ],
)
def test_a_bad_timeout_of_a_lock_is_refused(
    kind: Any, name: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    lock = getattr(kind, name)()
    with pytest.raises(error):
        lock.acquire(*args)
    assert lock.acquire(blocking=False, timeout=-1)


def test_another_thread_may_release_a_lock(kind: Any, threads: ThreadPoolExecutor) -> None:
    lock = kind.Lock()
    lock.acquire()
    threads.submit(lock.release).result(PATIENCE)
    assert lock.acquire(blocking=False)


def test_only_its_owner_releases_an_rlock(kind: Any, threads: ThreadPoolExecutor) -> None:
    lock = kind.RLock()
    lock.acquire()
    with pytest.raises(RuntimeError):
        threads.submit(lock.release).result(PATIENCE)
    assert lock.locked()


def test_an_rlock_is_free_when_released_as_often_as_acquired(
    kind: Any, threads: ThreadPoolExecutor
) -> None:
    lock = kind.RLock()
    for _ in range(3):
        lock.acquire()
    for _ in range(3):
        assert not threads.submit(lock.acquire, blocking=False).result(PATIENCE)
        lock.release()
    assert not lock.locked()
    with pytest.raises(RuntimeError):
        lock.release()


# --- As in threading: semaphores -----------------------------------------------------------------


def test_a_semaphore_has_as_many_units_as_it_is_told(kind: Any) -> None:
    units = kind.Semaphore(2)
    assert units.acquire()
    assert units.acquire()
    assert not units.acquire(blocking=False)
    assert not units.acquire(timeout=TINY)
    units.release(3)
    assert [units.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]


def test_a_bounded_semaphore_has_no_more_than_in_the_beginning(kind: Any) -> None:
    units = kind.BoundedSemaphore(2)
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        units.release()
    units.acquire()
    with pytest.raises(ValueError, match="Semaphore released too many times"):
        units.release(2)
    units.release()


@pytest.mark.parametrize("name", ["Semaphore", "BoundedSemaphore"])
def test_a_semaphore_refuses_what_makes_no_sense(kind: Any, name: str) -> None:
    with pytest.raises(ValueError, match="initial value must be >= 0"):
        getattr(kind, name)(-1)
    units = getattr(kind, name)(0)
    with pytest.raises(ValueError, match="n must be one or more"):
        units.release(0)
    with pytest.raises(ValueError, match="can't specify timeout"):
        units.acquire(blocking=False, timeout=1)
    assert not units.acquire(timeout=-1)


# --- As in threading: events ---------------------------------------------------------------------


def test_an_event_is_set_until_it_is_cleared(kind: Any, threads: ThreadPoolExecutor) -> None:
    event = kind.Event()
    assert not event.is_set()
    assert not event.wait(TINY)
    assert not event.wait(0)
    assert not event.wait(-1)
    waiters = [threads.submit(event.wait) for _ in range(3)]
    event.set()
    event.set()
    assert all(waiter.result(PATIENCE) for waiter in waiters)
    assert event.wait()
    assert event.is_set()
    event.clear()
    assert not event.is_set()


# --- As in threading: barriers -------------------------------------------------------------------


def test_a_barrier_opens_when_all_are_there(kind: Any, threads: ThreadPoolExecutor) -> None:
    acted: list[str] = []
    barrier = kind.Barrier(3, action=lambda: acted.append("acted"))
    assert barrier.parties == 3
    for number in range(20):
        waiters = [threads.submit(barrier.wait) for _ in range(3)]
        assert sorted(waiter.result(PATIENCE) for waiter in waiters) == [0, 1, 2]
        assert len(acted) == number + 1
    assert barrier.n_waiting == 0
    assert not barrier.broken


def test_one_party_waits_for_nobody(kind: Any) -> None:
    assert kind.Barrier(1).wait() == 0


def test_a_barrier_for_nobody_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="parties must be >= 1"):
        kind.Barrier(0)


@pytest.mark.parametrize("is_own", [True, False])
def test_a_wait_that_takes_too_long_breaks_the_barrier(kind: Any, is_own: bool) -> None:
    barrier = kind.Barrier(2, timeout=None if is_own else TINY)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(*[TINY][:is_own])
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


def test_an_action_that_raises_breaks_the_barrier(kind: Any, threads: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise LookupError

    barrier = kind.Barrier(2, fail)
    waiters = [threads.submit(barrier.wait) for _ in range(2)]
    errors = {type(waiter.exception(PATIENCE)) for waiter in waiters}
    assert errors == {LookupError, threading.BrokenBarrierError}
    assert barrier.broken


# --- Barriers, when somebody waits ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_those_who_wait_fail_when_a_barrier_is_broken(
    how: str, threads: ThreadPoolExecutor, waiting: Gate
) -> None:
    barrier = Barrier(3)
    waiters = [threads.submit(barrier.wait) for _ in range(2)]
    waiting.wait(2)
    assert barrier.n_waiting == 2
    assert repr(barrier) == "<interpool.Barrier, waiters=2/3>"
    getattr(barrier, how)()
    for waiter in waiters:
        with pytest.raises(threading.BrokenBarrierError):
            waiter.result(PATIENCE)
    assert barrier.broken == (how == "abort")
    assert barrier.n_waiting == 0
    barrier.reset()
    waiters = [threads.submit(barrier.wait) for _ in range(3)]
    assert sorted(waiter.result(PATIENCE) for waiter in waiters) == [0, 1, 2]


def test_who_comes_while_the_action_runs_is_of_the_next_round(
    threads: ThreadPoolExecutor, waiting: Gate, gate: Gate
) -> None:
    barrier = Barrier(2, gate.wait)
    first = [threads.submit(barrier.wait) for _ in range(2)]
    waiting.wait()  # one of them in the line, and the other one soon in the action
    second = [threads.submit(barrier.wait) for _ in range(2)]
    waiting.wait(2)
    assert not any(future.done() for future in [*first, *second])
    gate.open(2)
    assert sorted(future.result(PATIENCE) for future in [*first, *second]) == [0, 0, 1, 1]
    assert not barrier.broken


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_a_barrier_broken_during_its_action_fails_for_all(
    how: str, threads: ThreadPoolExecutor, waiting: Gate, gate: Gate
) -> None:
    acting = threading.Event()

    def act() -> None:
        acting.set()
        gate.wait()

    barrier = Barrier(2, act)
    waiters = [threads.submit(barrier.wait) for _ in range(2)]
    assert acting.wait(PATIENCE)
    getattr(barrier, how)()
    gate.open()
    for waiter in waiters:
        with pytest.raises(threading.BrokenBarrierError):
            waiter.result(PATIENCE)
    assert barrier.broken == (how == "abort")
    barrier.reset()
    gate.open()
    waiters = [threads.submit(barrier.wait) for _ in range(2)]
    assert sorted(waiter.result(PATIENCE) for waiter in waiters) == [0, 1]


def test_there_is_a_bound_of_parties() -> None:
    with pytest.raises(ValueError, match="parties must be <="):
        Barrier(1 << 20)


# --- Handles -------------------------------------------------------------------------------------

MAKERS: list[Callable[[], Any]] = [
    Lock,
    RLock,
    Semaphore,
    BoundedSemaphore,
    Event,
    lambda: Barrier(2),
    Queue,
]


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_the_same_everywhere(make: Callable[[], Any], pool: InterpreterPoolExecutor) -> None:
    one = make()
    there_and_back = pool.submit(lambda it: it, one).result(PATIENCE)
    assert there_and_back == one
    assert hash(there_and_back) == hash(one)
    assert make() != one
    assert one != 1
    assert pool.submit(lambda it: it == one, one).result(PATIENCE)


def test_all_are_the_same_in_a_process_too(pool: InterpreterPoolExecutor) -> None:
    ones = [make() for make in MAKERS]
    items: Queue = Queue()
    items.put(ones)

    def them_and_their_hashes(ones: list[Any], items: Queue) -> tuple[list[Any], list[int]]:
        again = items.get()
        assert ones == again
        assert not any(one is other for one, other in zip(ones, again, strict=True))
        assert len({*ones, *again}) == len(ones)
        return ones, [*map(hash, ones)]

    work = pool.options(lane="process").submit(them_and_their_hashes, ones, items)
    assert work.result(PATIENCE) == (ones, [*map(hash, ones)])


@pytest.mark.parametrize("make", MAKERS)
def test_others_of_the_same_hash_are_others(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles.Handle, "__hash__", lambda _: 1)
    one, another = make(), make()
    assert hash(one) == hash(another)
    assert one != another
    assert len({one, another}) == 2


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_not_pickled(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="goes to the workers of a pool"):
        pickle.dumps(make())


@pytest.mark.parametrize("make", MAKERS)
def test_a_worker_may_make_one(make: Callable[[], Any], pool: InterpreterPoolExecutor) -> None:
    one = pool.submit(make).result(PATIENCE)
    assert type(one).__module__ == "interpool"


def test_they_say_what_they_are() -> None:
    units = BoundedSemaphore(3)
    units.acquire()
    rlock = RLock()
    rlock.acquire()
    rlock.acquire()
    event = Event()
    event.set()
    broken = Barrier(2)
    broken.abort()
    assert [repr(it) for it in (Lock(), Semaphore(4), units, RLock(), Event(), event, broken)] == [
        "<interpool.Lock, unlocked>",
        "<interpool.Semaphore, value=4>",
        "<interpool.BoundedSemaphore, value=2/3>",
        "<interpool.RLock, unlocked>",
        "<interpool.Event, unset>",
        "<interpool.Event, set>",
        "<interpool.Barrier, broken>",
    ]
    assert repr(rlock) == f"<interpool.RLock, locked 2 deep by thread {threading.get_ident()}>"


# --- Between interpreters ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore])
def test_one_interpreter_has_it_at_a_time(
    make: Callable[[], Any], pool: InterpreterPoolExecutor, memory: int
) -> None:
    lock = make()
    futures = [pool.submit(locking.count, lock, memory, 200) for _ in range(4)]
    locking.count(lock, memory, 200)
    for future in futures:
        future.result(PATIENCE)
    with locking.numbers_in(memory) as numbers:
        assert numbers[0] == 1000


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_who_waits_longest_has_it_first(
    make: Callable[[], Any], pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock, order = make(), Queue()
    lock.acquire()
    futures = []
    for name in range(4):
        futures.append(wait_in(pool, arrivals.entry, locking.acquire_in_turn, lock, order, name))
        arrivals.wait()
    lock.release()
    assert not lock.acquire(blocking=False) or not lock.release()  # nobody comes in between
    assert [order.get(timeout=PATIENCE) for _ in range(4)] == [0, 1, 2, 3]
    for future in futures:
        future.result(PATIENCE)


def test_nobody_comes_before_who_was_promised_it(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    lock = Lock()
    lock.acquire()
    future = wait_in(pool, arrivals.entry, locking.hold, lock, arrivals.entry, gate.exit)
    arrivals.wait()
    lock.release()
    assert not lock.acquire(blocking=False)  # from its release on, whether or not that is awake
    arrivals.wait()
    gate.open()
    future.result(PATIENCE)


def test_a_worker_may_release_the_lock_of_main(pool: InterpreterPoolExecutor) -> None:
    lock = Lock()
    lock.acquire()
    pool.submit(locking.release, lock).result(PATIENCE)
    assert not lock.locked()


def test_only_the_owner_among_all_interpreters_releases_an_rlock(
    pool: InterpreterPoolExecutor,
) -> None:
    lock = RLock()
    with lock:
        with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
            pool.submit(locking.release, lock).result(PATIENCE)
        assert not pool.submit(lambda: lock.acquire(blocking=False)).result(PATIENCE)


def test_an_event_wakes_all(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    event = Event()
    futures = [wait_in(pool, arrivals.entry, event.wait) for _ in range(4)]
    arrivals.wait(4)
    event.set()
    assert all(future.result(PATIENCE) for future in futures)


def test_a_worker_sets_an_event_for_main(pool: InterpreterPoolExecutor) -> None:
    event = Event()
    pool.submit(event.set)
    assert event.wait(PATIENCE)


def test_a_barrier_brings_interpreters_together(pool: InterpreterPoolExecutor) -> None:
    acted = Queue()
    barrier = Barrier(4, lambda: acted.put("acted"))

    def rounds(number: int) -> list[int]:
        return [barrier.wait() for _ in range(number)]

    futures = [pool.submit(rounds, 10) for _ in range(4)]
    places = [future.result(PATIENCE) for future in futures]
    assert [sorted(these) for these in zip(*places, strict=True)] == [[0, 1, 2, 3]] * 10
    assert acted.qsize() == 10


def test_a_wait_between_interpreters_ends_in_time(pool: InterpreterPoolExecutor) -> None:
    lock, event = Lock(), Event()
    lock.acquire()
    assert not pool.submit(lambda: lock.acquire(timeout=0.001)).result(PATIENCE)
    assert not pool.submit(lambda: event.wait(0.001)).result(PATIENCE)
    with pytest.raises(threading.BrokenBarrierError):
        pool.submit(Barrier(2).wait, 0.001).result(PATIENCE)


# --- Interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_a_waiter_that_is_interrupted_is_passed_over(
    make: Callable[[], Any], pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock = make()
    lock.acquire()
    first = wait_in(pool, arrivals.entry, locking.acquire, lock)
    arrivals.wait()
    second = wait_in(pool, arrivals.entry, locking.acquire, lock)
    arrivals.wait()
    interrupted(first)
    lock.release()
    assert second.result(PATIENCE)


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
@pytest.mark.parametrize("has_heard", [True, False])
def test_what_was_promised_to_who_is_interrupted_goes_to_the_next(
    make: Callable[[], Any],
    has_heard: bool,
    pool: InterpreterPoolExecutor,
    arrivals: Gate,
    gate: Gate,
) -> None:
    """Struck when its bell has been rung, before it has read that or behind."""

    def be_struck_when_rung(lock: Any, entry: int, fd: int) -> None:
        import os
        import sys

        bell = sys.modules["_interpool_bells"].Bell
        sleep = bell.sleep

        def sleeping(self: Any, deadline: float | None) -> Any:
            os.write(entry, b".")
            os.read(fd, 1)  # it has been rung meanwhile
            if has_heard:
                sleep(self, deadline)
            os.write(entry, b".")
            while True:
                pass

        bell.sleep = sleeping
        try:
            lock.acquire()
        finally:
            bell.sleep = sleep

    lock = make()
    lock.acquire()
    first = pool.submit(be_struck_when_rung, lock, arrivals.entry, gate.exit)
    arrivals.wait()
    second = wait_in(pool, arrivals.entry, locking.acquire, lock)
    arrivals.wait()
    lock.release()
    gate.open()
    arrivals.wait()
    assert not second.done()
    interrupted(first)
    assert second.result(PATIENCE)


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
@pytest.mark.parametrize("lane", ["interpreter", "thread"])
def test_what_an_interrupted_task_holds_is_released(
    make: Callable[[], Any], lane: Any, pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock = make()
    lane_pool = pool.options(lane=lane)
    future = lane_pool.submit(locking.hold_and_spin, lock, arrivals.entry)
    arrivals.wait()
    assert not lock.acquire(blocking=False)
    next_one = wait_in(pool, arrivals.entry, locking.acquire, lock)
    arrivals.wait()
    interrupted(future)
    assert next_one.result(PATIENCE)


@pytest.mark.parametrize("lane", ["interpreter", "thread"])
def test_it_is_free_before_the_future_ends(
    lane: Any, pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock = Lock()
    future = pool.options(lane=lane).submit(locking.hold_and_spin, lock, arrivals.entry)
    arrivals.wait()
    interrupted(future)
    assert lock.acquire(blocking=False)


def test_what_a_task_holds_that_has_caught_its_interrupt_is_released_too(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock = Lock()
    future = pool.submit(locking.hold_catch_and_go_on, lock, arrivals.entry)
    arrivals.wait()
    future.interrupt()
    assert lock.acquire(timeout=PATIENCE)


def test_pieces_of_a_map_release_too(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    lock = Lock()
    entry = arrivals.entry
    with pytest.raises(TimeoutError):
        list(
            pool.options(timeout=0.05).map(
                lambda _: locking.hold_and_spin(lock, entry), [1], timeout=PATIENCE
            )
        )
    assert lock.acquire(timeout=PATIENCE)


def test_a_block_releases_before_the_task_ends(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    lock = Lock()
    future = pool.submit(locking.use, lock, arrivals.entry)
    arrivals.wait()
    interrupted(future)
    assert not lock.locked()


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
@pytest.mark.parametrize("is_exit", [True, False])
def test_a_strike_where_the_release_begins_does_not_prevent_it(
    make: Callable[[], Any],
    is_exit: bool,
    pool: InterpreterPoolExecutor,
    arrivals: Gate,
    gate: Gate,
) -> None:
    def catch() -> None:
        import os

        try:
            locking.acquire_and_be_struck_in_release(lock, entry, is_exit)
        except KeyboardInterrupt:
            os.write(entry, b".")
            os.read(fd, 1)

    lock, entry, fd = make(), arrivals.entry, gate.exit
    future = pool.submit(catch)
    arrivals.wait()
    stopping = threading.Thread(target=future.interrupt)
    stopping.start()
    arrivals.wait()
    assert lock.acquire(timeout=PATIENCE)  # while that task goes on, which has caught it
    lock.release()
    assert lock._core.counts()[0] == (0 if make is RLock else 1)
    gate.open()
    stopping.join(PATIENCE)


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_a_strike_that_came_while_it_was_acquired_leaves_it_free(
    make: Callable[[], Any], threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lands as the core's lock is let go of: nobody knows by then that it was acquired."""
    lock = make()
    plain = type(lock._core)._note

    def note(self: Any, who: int, task: Any) -> None:
        plain(self, who, task)
        gates._condemned.add(7)

    def be_struck() -> None:
        gates.open_gate(7)
        with pytest.raises(gates.Interrupted):
            lock.acquire()
        assert lock._core.counts()[0] == (0 if make is RLock else 1)
        gates.close_gate(7)

    monkeypatch.setattr(type(lock._core), "_note", note)
    threads.submit(be_struck).result(PATIENCE)


def test_an_interrupted_task_keeps_what_an_earlier_one_holds(
    arrivals: Gate,
) -> None:
    first, second = Lock(), Lock()
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(locking.acquire, first).result(PATIENCE)
        future = pool.submit(locking.hold_and_spin, second, arrivals.entry)
        arrivals.wait()
        interrupted(future)
        assert first.locked()
        assert not second.locked()


def test_an_rlock_stays_with_the_task_that_had_it_first(arrivals: Gate) -> None:
    lock = RLock()
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(locking.acquire, lock).result(PATIENCE)
        future = pool.submit(locking.hold_and_spin, lock, arrivals.entry)
        arrivals.wait()
        assert lock._core.counts()[0] == 2
        interrupted(future)
        assert lock._core.counts()[0] == 1
        pool.submit(locking.release, lock).result(PATIENCE)
        assert not lock.locked()


def test_a_waiter_that_is_interrupted_breaks_a_barrier(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    barrier = Barrier(3)
    futures = [wait_in(pool, arrivals.entry, barrier.wait) for _ in range(2)]
    arrivals.wait(2)
    interrupted(futures[0])
    with pytest.raises(threading.BrokenBarrierError):
        futures[1].result(PATIENCE)
    assert barrier.broken


def test_an_action_that_is_interrupted_breaks_a_barrier(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    def spin(entry: int = arrivals.entry) -> None:
        import os

        os.write(entry, b".")
        while True:
            pass

    barrier = Barrier(1, spin)
    future = pool.submit(barrier.wait)
    arrivals.wait()
    interrupted(future)
    assert barrier.broken


def test_a_wait_in_the_thread_lane_is_interrupted(
    pool: InterpreterPoolExecutor, waiting: Gate
) -> None:
    lock = Lock()
    lock.acquire()
    future = pool.options(lane="thread").submit(lock.acquire)
    waiting.wait()
    interrupted(future)
    lock.release()
    assert not lock.locked()


def test_a_wait_for_an_event_is_interrupted(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    event = Event()
    future = wait_in(pool, arrivals.entry, event.wait)
    arrivals.wait()
    interrupted(future)
    event.set()
    assert event._core.waiting(0) == 0


# --- Whose units they are ------------------------------------------------------------------------


def test_a_unit_that_another_one_has_released_is_not_given_back(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    units = Semaphore(2)
    units.acquire()  # main's, and older
    future = pool.submit(locking.hold_and_spin, units, arrivals.entry)
    arrivals.wait()
    units.release()  # main's own
    units.release()  # the task's
    interrupted(future)
    assert units._core.counts() == (2, 2)


def test_a_signal_that_was_taken_is_not_given_back(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    signals = Semaphore(0)
    signals.release()
    future = pool.submit(locking.hold_and_spin, signals, arrivals.entry)
    arrivals.wait()
    interrupted(future)
    assert signals._core.counts() == (0, 0)


def test_more_holders_than_fit_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_MOST_HOLDERS", 2)
    core = holding.Units(holding.SEMAPHORE, 3)
    for who in (1, 2, 3):
        assert core.acquire(0, who, 7)
    core.give_back(None, None)
    assert core.counts() == (2, 3)
    assert core.release(1, 3, 7)
    assert core.counts() == (3, 3)


def test_each_gives_back_its_own() -> None:
    core = holding.Units(holding.SEMAPHORE, 6)
    for who, task in [(1, 1), (1, 2), (2, 1), (2, 1)]:
        assert core.acquire(0, who, task)
    core.give_back(1, 2)
    assert core.counts()[0] == 3
    core.give_back(2, None)
    assert core.counts()[0] == 5
    assert core.release(1, 1, 9)  # of a task before
    core.give_back(None, None)
    assert core.counts()[0] == 6
    assert core not in holding._held


def test_what_is_promised_cannot_be_released(
    threads: ThreadPoolExecutor, waiting: Gate, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = bells.Bell.sleep

    def sleep_longer(self: bells.Bell, deadline: float | None) -> bool:
        try:
            return sleep(self, deadline)
        finally:
            gate.wait()

    monkeypatch.setattr(bells.Bell, "sleep", sleep_longer)
    lock = Lock()
    lock.acquire()
    waiter = threads.submit(lock.acquire)
    waiting.wait()
    lock.release()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    gate.open()
    assert waiter.result(PATIENCE)
    lock.release()


def test_nothing_is_kept_of_what_others_have_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_many", 0)
    monkeypatch.setattr(holding, "_FEW", 0)
    lock = Lock()
    assert lock._core.acquire(0, 1, 1)
    assert holding._held
    elsewhere = holding.Units.__new__(holding.Units)
    elsewhere._adopt(os.dup(lock._core._memory), lock._core._lock)  # as another interpreter has it
    assert elsewhere.release(1, 2, 2)
    assert lock._core in holding._held
    other = Lock()
    assert other._core.acquire(0, 1, holding.LASTING)
    assert not holding._held


# --- Ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_what_an_interpreter_holds_is_released_when_it_goes_away(make: Callable[[], Any]) -> None:
    lock = make()
    with InterpreterPoolExecutor(1, max_tasks_per_worker=2) as pool:
        assert pool.submit(locking.acquire, lock).result(PATIENCE)
        assert not lock.acquire(blocking=False)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        assert lock.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("make", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_what_a_pool_holds_is_released_when_it_is_shut_down(make: Callable[[], Any]) -> None:
    lock = make()
    with InterpreterPoolExecutor(2) as pool:
        assert pool.submit(locking.acquire, lock).result(PATIENCE)
    assert lock.acquire(blocking=False)


def test_a_thread_holds_a_lock_until_it_ends(arrivals: Gate, gate: Gate) -> None:
    lock = Lock()
    pool = InterpreterPoolExecutor(1)
    pool.submit(locking.leave_to_a_thread, lock, arrivals.entry, gate.exit).result(PATIENCE)
    arrivals.wait()
    pool.shutdown(wait=False)
    assert not lock.acquire(timeout=TINY)
    gate.open()
    assert lock.acquire(timeout=PATIENCE)
    pool.shutdown()


def test_another_task_may_release_what_one_has_left_locked(pool: InterpreterPoolExecutor) -> None:
    lock = Lock()
    assert pool.submit(locking.acquire, lock).result(PATIENCE)
    pool.submit(locking.release, lock).result(PATIENCE)
    assert lock.acquire(blocking=False)


def test_a_lock_goes_with_its_last_handle(pool: InterpreterPoolExecutor) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    lock = Lock()
    lock.acquire()
    del lock
    gc.collect()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_ctrl_c_ends_a_wait_of_the_main_thread() -> None:
    done = run_program(
        "import os, signal, threading\n"
        "from interpool import Lock, Event, Barrier, InterpreterPoolExecutor\n"
        "from interpool._inside import bells\n"
        "sleep = bells.Bell.sleep\n"
        "def struck(self, deadline):\n"
        "    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()\n"
        "    return sleep(self, deadline)\n"
        "pool = InterpreterPoolExecutor(1)\n"
        "lock, event, barrier = Lock(), Event(), Barrier(2)\n"
        "lock.acquire()\n"
        "bells.Bell.sleep = struck\n"
        "for wait in lock.acquire, event.wait, barrier.wait:\n"
        "    try:\n"
        "        wait()\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped')\n"
        "lock.release()\n"
        "print(lock.locked(), lock.acquire(timeout=1), barrier.broken)\n"
        "pool.shutdown()\n"
    )
    assert (done.stdout, done.stderr) == ("stopped\n" * 3 + "False True True\n", "")


def test_a_forked_process_is_refused() -> None:
    done = run_program(
        "import os\n"
        "from interpool import Lock\n"
        "lock = Lock()\n"
        "lock.acquire()\n"
        "if not (child := os.fork()):\n"
        "    try:\n"
        "        lock.release()\n"
        "    except RuntimeError as error:\n"
        "        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    assert done.stdout == "this Lock belongs to the process that this one was forked from\n"


# --- All at once ---------------------------------------------------------------------------------


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(3))
def test_interrupts_at_random_leave_nothing_locked(memory: int, seed: int) -> None:
    chance = random.Random(seed)
    lock, rlock, units, stop = Lock(), RLock(), BoundedSemaphore(2), Event()
    with InterpreterPoolExecutor(4) as pool:

        def start() -> Any:
            args = lock, rlock, units, memory, stop, chance.randrange(1 << 30)
            return pool.submit(locking.use_at_random, *args)

        running = [start() for _ in range(4)]
        for _ in range(150):
            at = chance.randrange(4)
            for _ in range(chance.randrange(30)):  # as long as that takes: main wants them, too
                with lock:
                    pass
            running[at].interrupt()
            with pytest.raises(TaskInterrupted):
                running[at].result(PATIENCE)
            running[at] = start()
        stop.set()
        for future in running:
            future.result(PATIENCE)
        # None of the workers has gone: whatever is free was released by a task or in its place.
        assert lock.acquire(timeout=PATIENCE)
        assert rlock.acquire(timeout=PATIENCE)
        assert units.acquire(timeout=PATIENCE)
        assert units.acquire(timeout=PATIENCE)
        assert units._core.counts() == (0, 2)
    with locking.numbers_in(memory) as numbers:
        assert numbers[locking.CROWDED] == 0
