"""Locks, events and barriers in worker processes: held, waited for, and given back by who ends."""

import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from interpool import (
    Barrier,
    BoundedSemaphore,
    Event,
    InterpreterPoolExecutor,
    Lock,
    Options,
    ProcessDied,
    Queue,
    RLock,
    Semaphore,
    SharedArray,
    TaskInterrupted,
)
from support import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over")


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


@pytest.fixture
def lane(pool: InterpreterPoolExecutor) -> Options:
    return pool.options(lane="process")


def add(lock: Lock, numbers: SharedArray, times: int) -> None:
    view = memoryview(numbers)
    for _ in range(times):
        with lock:
            view[0] += 1


def test_a_lock_excludes_interpreters_and_processes(
    pool: InterpreterPoolExecutor, lane: Options
) -> None:
    lock, numbers = Lock(), SharedArray(1, "int64")
    futures = [view.submit(add, lock, numbers, 200) for view in (pool, lane, pool, lane)]
    add(lock, numbers, 200)
    for future in futures:
        future.result(PATIENCE)
    assert numbers[0] == 1_000


def hold(lock: Lock, said: Queue, until: Event) -> None:
    lock.acquire()
    said.put(os.getpid())
    until.wait()


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_what_a_killed_process_held_is_given_back(lane: Options, kind: type[Lock]) -> None:
    lock, said, never = kind(), Queue(), Event()
    holding = lane.submit(hold, lock, said, never)
    process = said.get(timeout=PATIENCE)
    assert not lock.acquire(blocking=False)
    os.kill(process, signal.SIGKILL)
    assert lock.acquire(timeout=PATIENCE)
    assert isinstance(holding.exception(PATIENCE), ProcessDied)


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore])
def test_what_an_interrupted_task_held_is_given_back(lane: Options, kind: type[Lock]) -> None:
    lock, said, never = kind(), Queue(), Event()
    holding = lane.submit(hold, lock, said, never)
    process = said.get(timeout=PATIENCE)
    assert holding.interrupt(grace=PATIENCE)
    assert isinstance(holding.exception(PATIENCE), TaskInterrupted)
    assert lock.acquire(timeout=PATIENCE)
    lock.release()
    assert lane.submit(os.getpid).result(PATIENCE) == process


def test_an_rlock_is_its_threads(lane: Options) -> None:
    def use(lock: RLock) -> list[object]:
        found: list[object] = []
        with lock, lock:
            other = threading.Thread(target=lambda: found.append(lock.acquire(blocking=False)))
            other.start()
            other.join()
        try:
            lock.release()
        except RuntimeError as error:
            found.append(str(error))
        return found

    lock = RLock()
    assert lane.submit(use, lock).result(PATIENCE) == [False, "cannot release un-acquired lock"]
    assert lock.acquire(blocking=False)
    lock.release()


def test_a_lock_may_be_released_by_another_process(lane: Options) -> None:
    lock = Lock()
    lock.acquire()
    lane.submit(lock.release).result(PATIENCE)
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lane.submit(lock.release).result(PATIENCE)


def test_an_event_lets_a_process_go_on(lane: Options) -> None:
    def wait(event: Event, said: Queue) -> bool:
        said.put(event.is_set())
        return event.wait(60)

    event, said = Event(), Queue()
    waiting = lane.submit(wait, event, said)
    assert said.get(timeout=PATIENCE) is False
    event.set()
    assert waiting.result(PATIENCE)
    assert lane.submit(event.wait, 0).result(PATIENCE)


def test_a_barrier_between_main_an_interpreter_and_a_process(
    pool: InterpreterPoolExecutor, lane: Options
) -> None:
    acted = Queue()
    barrier = Barrier(3, lambda: acted.put("acted"))
    futures = [view.submit(barrier.wait) for view in (pool, lane)]
    places = {barrier.wait(PATIENCE), *(future.result(PATIENCE) for future in futures)}
    assert places == {0, 1, 2}
    assert acted.get_many(5) == ["acted"]


def test_a_process_that_dies_in_its_action_breaks_the_barrier(lane: Options) -> None:
    barrier = Barrier(1, lambda: os._exit(3))
    assert isinstance(lane.submit(barrier.wait).exception(PATIENCE), ProcessDied)
    assert barrier.broken


def test_a_waiting_process_is_interrupted_and_breaks_the_barrier(lane: Options) -> None:
    def arrive(barrier: Barrier, said: Queue) -> None:
        said.put("here")
        barrier.wait()

    barrier, said = Barrier(2), Queue()
    waiting = lane.submit(arrive, barrier, said)
    said.get(timeout=PATIENCE)
    assert waiting.interrupt(grace=PATIENCE)
    assert isinstance(waiting.exception(PATIENCE), TaskInterrupted)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(PATIENCE) if barrier.broken else barrier.wait(0)
