"""The thread lane: nothing is copied, what waits is interrupted, the rest is as everywhere."""

import asyncio
import contextlib
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import gc
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from interpool import (
    InterpreterPoolExecutor,
    Options,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    _routing,
    _threads,
)
from interpool._inside import gate as gates
from interpool._lanes.threads import Threads
from support import PATIENCE, Gate, add, divide, identity, pass_through


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        yield made


@pytest.fixture
def lane(pool: InterpreterPoolExecutor) -> Options:
    return pool.options(lane="thread")


def test_nothing_is_copied_and_nothing_need_be_sent(lane: Options) -> None:
    lock = threading.Lock()
    assert lane.submit(identity, lock).result(PATIENCE) is lock
    assert lane.submit(os.getpid).result(PATIENCE) == os.getpid()


def test_no_interpreter_is_started(pool: InterpreterPoolExecutor, lane: Options) -> None:
    lane.submit(add, 1, 2).result(PATIENCE)
    statistics = pool.statistics()
    assert (statistics.workers.started, statistics.workers.threads) == (0, 1)
    assert dict(statistics.lanes) == {"interpreter": 0, "process": 0, "thread": 1}


def test_more_wait_at_once_than_there_are_workers(lane: Options) -> None:
    barrier = threading.Barrier(4)
    futures = [lane.submit(barrier.wait) for _ in range(4)]
    assert sorted(future.result(PATIENCE) for future in futures) == [0, 1, 2, 3]


def test_an_exception_is_the_task_s_own(lane: Options) -> None:
    error = lane.submit(divide, 1, 0).exception(PATIENCE)
    assert isinstance(error, ZeroDivisionError)
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_name == "divide"


def test_everybody_is_dismissed_whoever_takes_whose_leave(pool: InterpreterPoolExecutor) -> None:
    engine = pool._engine
    lane = Threads(engine, engine._settings)
    first, second, late = (lane.make_host(number) for number in range(3))
    lane._hosts |= {first, second}
    lane.dismiss()
    lane._hosts.add(late)  # for a task that was diverted when all had been dismissed
    assert lane.take(late) is None
    lane.dismiss()
    lane.note_gone(late)
    lane.dismiss()
    assert lane._tokens.qsize() == 2
    assert lane.take(first) is None
    assert lane.take(second) is None
    lane.dismiss()
    assert lane._tokens.empty()


class Held:
    """What can be referred to weakly."""


def test_nothing_is_kept_alive(lane: Options) -> None:
    seen: list[weakref.ref[Held]] = []

    def fail(held: Held) -> None:
        local = Held()
        seen.extend([weakref.ref(local), weakref.ref(held)])
        raise LookupError

    gc.disable()
    try:
        held = Held()
        seen.append(weakref.ref(held))
        future: Any = lane.submit(type, held)
        del held
        future.result(PATIENCE)
        assert seen[0]() is None  # though the future is there
        future = lane.submit(Held)
        seen.append(weakref.ref(future.result(PATIENCE)))
        future = lane.submit(fail, Held())
        with contextlib.suppress(LookupError):
            future.result(PATIENCE)
        del future
        lane.submit(type, 1).result(PATIENCE)  # the thread does something else
        assert [ref() for ref in seen] == [None] * 4
    finally:
        gc.enable()


def test_a_coroutine_is_run(lane: Options) -> None:
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    future: Any = lane.submit(double, 21)
    assert future.result(PATIENCE) == 42


def test_maps(lane: Options) -> None:
    assert list(lane.map(add, range(50), range(50))) == [*range(0, 100, 2)]
    assert sorted(lane.map_unordered(identity, range(50))) == [*range(50)]
    results = lane.map(identity, iter(int, 1), buffersize=3)
    assert [next(results) for _ in range(10)] == [0] * 10
    results.close()  # type: ignore[attr-defined]  # it is a generator
    with pytest.raises(ZeroDivisionError):
        list(lane.map(divide, [1, 2], [1, 0]))


def test_the_time_of_a_map_runs_out(lane: Options, gate: Gate) -> None:
    with pytest.raises(TimeoutError):
        next(lane.map(pass_through, [gate.exit], [1], timeout=0.01))
    with pytest.raises(TimeoutError):
        next(lane.map_unordered(pass_through, [gate.exit], [1], timeout=0.01))
    gate.open(2)


def test_a_busy_task_is_interrupted(pool: InterpreterPoolExecutor, lane: Options) -> None:
    begun = threading.Event()

    def spin() -> None:
        begun.set()
        while True:
            pass

    future = lane.submit(spin)
    assert begun.wait(PATIENCE)
    assert future.running()
    assert future.interrupt(grace=PATIENCE)
    with pytest.raises(TaskInterrupted, match="It was here") as caught:
        future.result(PATIENCE)
    assert "in spin" in caught.value.stack or "spin" in caught.value.stack
    assert pool.statistics().workers.given_up == 0
    assert lane.submit(add, 1, 2).result(PATIENCE) == 3


def test_a_limit(lane: Options) -> None:
    def spin() -> None:
        while True:
            pass

    with pytest.raises(TaskTimeout):
        lane.options(timeout=0.05).submit(spin).result(PATIENCE)


def test_a_strike_that_comes_too_late_waits_for_nobody(
    lane: Options, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is about to begin when the task ends, and another one of that number may come."""
    is_over, is_struck = threading.Event(), threading.Event()
    strike = gates.strike

    def strike_late(task: Any) -> Any:
        assert is_over.wait(PATIENCE)
        try:
            return strike(task)
        finally:
            is_struck.set()

    monkeypatch.setattr(gates, "strike", strike_late)
    future = lane.submit(pass_through, gate.exit, 1)
    while not future.running():
        time.sleep(0.001)
    future.interrupt(grace=PATIENCE)
    gate.open()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    is_over.set()
    assert is_struck.wait(PATIENCE)
    for thread in threading.enumerate():
        if thread.name == "interpool_strike":
            thread.join(PATIENCE)
    assert not gates._condemned


def test_a_strike_for_which_no_thread_can_be_had(
    lane: Options, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unstartable(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    make = _threads.make

    def make_no_strike(target: Any, name: str, role: str = "") -> threading.Thread:
        return Unstartable() if name == "interpool_strike" else make(target, name, role)

    future = lane.submit(pass_through, gate.exit, 1)
    while not future.running():
        time.sleep(0.001)
    monkeypatch.setattr(_threads, "make", make_no_strike)
    assert future.interrupt(grace=PATIENCE)
    gate.open()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)


def test_what_does_not_stop_is_left_to_its_thread(lane: Options, gate: Gate) -> None:
    begun = threading.Event()

    def wait_in_c() -> None:
        begun.set()
        os.read(gate.exit, 1)

    with warnings.catch_warnings(record=True):
        future = lane.submit(wait_in_c)
        assert begun.wait(PATIENCE)
        assert future.interrupt(grace=0)
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert lane.submit(add, 1, 2).result(PATIENCE) == 3
    gate.open()


def test_cancel_retry_and_terminate(gate: Gate) -> None:
    tries: list[int] = []

    def fail_twice() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise LookupError
        return len(tries)

    pool = InterpreterPoolExecutor(1)
    lane = pool.options(lane="thread", retries=Retry(3, delay=0))
    assert lane.submit(fail_twice).result(PATIENCE) == 3
    futures = [lane.submit(pass_through, gate.exit, n) for n in range(100)]
    assert futures[-1].cancel()
    gate.open(len(futures))
    assert futures[0].result(PATIENCE) == 0
    pool.terminate_workers()
    for future in futures:
        try:
            future.exception(PATIENCE)
        except CancelledError:
            continue
    pool.shutdown()


def test_without_a_gil_auto_means_threads(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_routing, "IS_FREE_THREADED", True)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False)
    lock = threading.Lock()
    assert pool.submit(identity, lock).result(PATIENCE) is lock
    assert list(pool.map(identity, [lock])) == [lock]
    assert pool.options(lane="interpreter").submit(add, 1, 2).result(PATIENCE) == 3


def test_without_a_gil_tasks_find_what_their_initializer_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin() -> None:
        import builtins

        builtins.begun = 7  # type: ignore[attr-defined]

    def ask(_: object = None) -> int:
        import builtins

        return builtins.begun  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(_routing, "IS_FREE_THREADED", True)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False)
    with InterpreterPoolExecutor(1, initializer=begin) as pool:
        assert pool.submit(ask).result(PATIENCE) == 7
        assert list(pool.map(ask, [1, 2])) == [7, 7]


def test_a_pool_that_is_shut_down_finishes_them() -> None:
    pool = InterpreterPoolExecutor(1)
    futures = [pool.options(lane="thread").submit(time.sleep, 0) for _ in range(50)]
    pool.shutdown(wait=False)
    pool.shutdown()
    assert all(future.done() for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.options(lane="thread").submit(add, 1, 2)
