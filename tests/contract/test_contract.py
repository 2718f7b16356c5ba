"""One contract, three executors: what a user of `concurrent.futures` relies on.

Where ours differs on purpose, the test says so in its body.
"""

import concurrent.futures
import concurrent.interpreters
import gc
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures import InterpreterPoolExecutor as StandardPool
from typing import Any

import pytest

import interpool
from support import (
    PATIENCE,
    Gate,
    add,
    arrive_and_pass,
    divide,
    exit_with,
    identity,
    interpreter,
    pass_through,
)

type Factory = Callable[..., Executor]

EXECUTORS = {
    "thread": ThreadPoolExecutor,
    "standard": StandardPool,
    "interpool": interpool.InterpreterPoolExecutor,
}
INTERPRETERS = ["standard", "interpool"]


@pytest.fixture(params=EXECUTORS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(kind: str) -> Factory:
    return EXECUTORS[kind]


@pytest.fixture
def pool(make: Factory) -> Iterator[Executor]:
    with make(max_workers=2) as made:
        yield made


# --- submit ------------------------------------------------------------------------------------


def test_submit_returns_the_result(pool: Executor) -> None:
    assert pool.submit(add, 2, 3).result() == 5


def test_submit_takes_keywords_of_any_name(pool: Executor) -> None:
    def task(**kwargs: Any) -> list[str]:
        return sorted(kwargs)

    assert pool.submit(task, self=1, fn=2, args=3).result() == ["args", "fn", "self"]


def test_many_submits(pool: Executor) -> None:
    futures = [pool.submit(identity, n) for n in range(500)]
    assert [future.result() for future in futures] == list(range(500))


def test_submit_from_many_threads(pool: Executor) -> None:
    totals: list[int] = []

    def submit(base: int) -> None:
        futures = [pool.submit(add, base, n) for n in range(50)]
        totals.append(sum(future.result() for future in futures))

    threads = [threading.Thread(target=submit, args=(base,)) for base in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(totals) == [50 * base + sum(range(50)) for base in range(8)]


def test_all_workers_run_at_once(pool: Executor, gate: Gate, arrivals: Gate) -> None:
    futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(2)]
    arrivals.wait(2)
    gate.open(2)
    assert [future.result() for future in futures] == [0, 1]


def test_no_more_tasks_run_than_there_are_workers(
    pool: Executor, gate: Gate, arrivals: Gate
) -> None:
    futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None) for _ in range(3)]
    arrivals.wait(2)
    assert [future.running() for future in futures].count(True) == 2
    gate.open(3)
    concurrent.futures.wait(futures)


@pytest.mark.parametrize("kind", INTERPRETERS, indirect=True)
def test_an_idle_worker_is_used_again(make: Factory) -> None:
    with make(max_workers=4) as pool:
        assert len({pool.submit(interpreter).result() for _ in range(5)}) == 1


# --- Futures -----------------------------------------------------------------------------------


def test_a_waiting_task_can_be_cancelled(make: Factory, gate: Gate, arrivals: Gate) -> None:
    with make(max_workers=1) as pool:
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "first")
        waiting = [pool.submit(identity, n) for n in range(5)]
        arrivals.wait()
        assert waiting[1].cancel()
        assert waiting[1].cancel()
        assert waiting[3].cancel()
        gate.open()
        assert first.result() == "first"
        assert [waiting[n].result() for n in (0, 2, 4)] == [0, 2, 4]
        assert waiting[1].cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            waiting[3].result()


def test_a_running_task_cannot_be_cancelled(pool: Executor, gate: Gate, arrivals: Gate) -> None:
    future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "ran")
    arrivals.wait()
    assert future.running()
    assert not future.cancel()
    assert not future.done()
    gate.open()
    assert future.result() == "ran"
    assert not future.running()
    assert not future.cancel()


def test_a_waiting_task_is_not_running(make: Factory, gate: Gate, arrivals: Gate) -> None:
    with make(max_workers=1) as pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
        waiting = pool.submit(identity, 1)
        arrivals.wait()
        assert not waiting.running()
        assert not waiting.done()
        gate.open()


def test_result_times_out(pool: Executor, gate: Gate) -> None:
    future = pool.submit(pass_through, gate.exit, "late")
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    gate.open()
    assert future.result() == "late"


def test_callbacks_run_once_with_the_future(pool: Executor, gate: Gate) -> None:
    called: list[Any] = []
    done = threading.Event()
    future = pool.submit(pass_through, gate.exit, 7)
    future.add_done_callback(called.append)
    future.add_done_callback(lambda _: done.set())
    gate.open()
    assert done.wait(PATIENCE)
    assert called == [future]
    future.add_done_callback(called.append)
    assert called == [future, future]


def test_a_cancelled_task_calls_back_and_ends_a_wait(
    make: Factory, gate: Gate, arrivals: Gate
) -> None:
    called: list[Any] = []
    with make(max_workers=1) as pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
        waiting = pool.submit(identity, 1)
        waiting.add_done_callback(called.append)
        arrivals.wait()
        waiting.cancel()
        assert called == [waiting]
        gate.open()
        done, _ = concurrent.futures.wait([waiting], timeout=PATIENCE)
        assert done == {waiting}


def test_a_callback_that_raises_is_logged_and_harms_nothing(
    pool: Executor, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail(_: object) -> None:
        raise ValueError("of the callback")

    future = pool.submit(pass_through, gate.exit, 1)
    future.add_done_callback(fail)
    future.add_done_callback(lambda _: done.set())
    gate.open()
    assert done.wait(PATIENCE)
    assert "of the callback" in caplog.text
    assert pool.submit(identity, 2).result() == 2


def test_a_callback_may_submit_and_wait(pool: Executor, gate: Gate) -> None:
    # In both other pools the callback occupies a worker's thread; in ours a thread of its own.
    results: list[Any] = []
    done = threading.Event()

    def chain(_: object) -> None:
        results.append(pool.submit(identity, "chained").result(PATIENCE))
        done.set()

    future = pool.submit(pass_through, gate.exit, None)
    future.add_done_callback(chain)
    gate.open()
    assert done.wait(PATIENCE)
    assert results == ["chained"]


def test_wait_and_as_completed(pool: Executor, gate: Gate) -> None:
    slow = pool.submit(pass_through, gate.exit, "slow")
    quick = pool.submit(identity, "quick")
    failing = pool.submit(divide, 1, 0)
    done, pending = concurrent.futures.wait(
        [slow, quick], return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert (done, pending) == ({quick}, {slow})
    done, pending = concurrent.futures.wait(
        [slow, failing], return_when=concurrent.futures.FIRST_EXCEPTION
    )
    assert (done, pending) == ({failing}, {slow})
    with pytest.raises(TimeoutError):
        list(concurrent.futures.as_completed([slow], timeout=0.01))
    completed = concurrent.futures.as_completed([slow, quick], timeout=PATIENCE)
    assert next(completed) is quick
    gate.open()
    assert next(completed) is slow


# --- Exceptions --------------------------------------------------------------------------------


def test_an_exception_comes_back_as_itself(pool: Executor) -> None:
    future = pool.submit(divide, 1, 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        future.result()
    assert isinstance(future.exception(), ZeroDivisionError)
    assert pool.submit(identity, 1).result() == 1


@pytest.mark.parametrize("kind", INTERPRETERS, indirect=True)
def test_its_cause_is_the_traceback_in_the_worker(pool: Executor) -> None:
    error = pool.submit(divide, 1, 0).exception()
    assert error is not None
    cause = error.__cause__
    assert isinstance(cause, concurrent.interpreters.ExecutionFailed)
    assert cause.excinfo.type.__name__ == "ZeroDivisionError"
    assert "in divide" in str(cause)
    assert "return a / b" in str(cause)


def test_an_exception_that_is_false_still_is_one(pool: Executor) -> None:
    def fail() -> None:
        class FalsyError(Exception):
            def __bool__(self) -> bool:
                return False

        raise FalsyError

    assert pool.submit(fail).exception() is not None


def test_an_exception_group_comes_back_whole(pool: Executor) -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError(1), KeyError(2)])

    error = pool.submit(fail).exception()
    assert isinstance(error, ExceptionGroup)
    assert [type(inner) for inner in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize(("code", "caught"), [(3, 3), (None, None), ("why", "why")])
def test_a_task_that_exits_ends_its_own_future_only(
    pool: Executor, code: object, caught: object
) -> None:
    future = pool.submit(exit_with, code)
    with pytest.raises(SystemExit) as raised:
        future.result()
    assert raised.value.code == caught
    assert pool.submit(identity, 1).result() == 1


def test_a_task_that_raises_keyboard_interrupt_ends_its_own_future_only(pool: Executor) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert isinstance(pool.submit(interrupt).exception(), KeyboardInterrupt)
    assert pool.submit(identity, 1).result() == 1


# --- map ---------------------------------------------------------------------------------------


def test_map_keeps_the_order(pool: Executor) -> None:
    assert list(pool.map(add, range(50), itertools.count(10))) == [10 + 2 * n for n in range(50)]


def test_map_of_nothing(pool: Executor) -> None:
    assert list(pool.map(add, [], [1])) == []


def test_map_ends_with_the_exception_of_its_item(pool: Executor) -> None:
    results = pool.map(divide, [4, 4, 4], [2, 0, 1])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_item_that_cannot_be_sent_fails_in_its_turn(kind: str, pool: Executor) -> None:
    if kind == "thread":
        pytest.skip("threads take anything")
    results = pool.map(identity, [1, threading.Lock(), 3])
    assert next(results) == 1
    with pytest.raises(concurrent.interpreters.NotShareableError):
        next(results)


def test_map_times_out(pool: Executor, gate: Gate) -> None:
    results = pool.map(pass_through, [gate.exit, gate.exit], ["a", "b"], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    gate.open(2)


def test_map_submits_eagerly_and_cancels_what_is_left(
    make: Factory, gate: Gate, arrivals: Gate
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for fd in (gate.exit,) * 5:
            taken.append(fd)
            yield fd

    with make(max_workers=1) as pool:
        # Each by itself: of several that travel together, ours goes on with the next.
        results = pool.map(arrive_and_pass, [arrivals.entry] * 5, items(), [None] * 5, chunksize=1)
        assert len(taken) == 5
        arrivals.wait()
        gate.open()
        assert next(results) is None
        arrivals.wait()
        results.close()  # type: ignore[attr-defined]  # a generator, as in concurrent.futures
        gate.open()
    # The second task was running when the iterator was closed; the other three never began.
    assert len(taken) == 5


@pytest.mark.parametrize("wrong", ["1", 1.5])
def test_map_refuses_a_buffer_of_the_wrong_type(pool: Executor, wrong: Any) -> None:
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        pool.map(identity, [1], buffersize=wrong)


@pytest.mark.parametrize("wrong", [0, -1])
def test_map_refuses_a_buffer_of_no_size(pool: Executor, wrong: int) -> None:
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        pool.map(identity, [1], buffersize=wrong)


def test_map_with_a_buffer_takes_no_more_items_than_it_holds(pool: Executor) -> None:
    taken = itertools.count()
    results = pool.map(identity, taken, buffersize=4)
    assert next(taken) == 4
    assert next(results) == 0
    assert next(taken) == 6  # 5 was taken for the one yielded
    assert next(results) == 1


def test_map_with_a_buffer_yields_all(pool: Executor) -> None:
    assert list(pool.map(identity, range(100), buffersize=7)) == list(range(100))
    assert list(pool.map(identity, range(3), buffersize=7)) == [0, 1, 2]


def test_map_keeps_no_result_that_was_given_away(pool: Executor) -> None:
    results: Iterator[set[int]] = pool.map(set, [[1]] * 3)
    kept = weakref.ref(next(results))
    gc.collect()
    assert kept() is None
    assert list(results) == [{1}, {1}]


# --- shutdown ----------------------------------------------------------------------------------


def test_nothing_is_taken_after_shutdown(make: Factory) -> None:
    pool = make(max_workers=1)
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(identity, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        list(pool.map(identity, [1]))


def test_leaving_with_waits_for_what_was_submitted(make: Factory, gate: Gate) -> None:
    with make(max_workers=1) as pool:
        futures = [pool.submit(pass_through, gate.exit, n) for n in range(5)]
        gate.open(5)
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == list(range(5))


def test_shutdown_without_waiting_lets_tasks_finish(make: Factory, gate: Gate) -> None:
    pool = make(max_workers=1)
    futures = [pool.submit(pass_through, gate.exit, n) for n in range(3)]
    pool.shutdown(wait=False)
    assert not futures[0].done()
    gate.open(3)
    assert [future.result(PATIENCE) for future in futures] == [0, 1, 2]
    pool.shutdown()


def test_shutdown_cancels_what_has_not_begun(make: Factory, gate: Gate, arrivals: Gate) -> None:
    pool = make(max_workers=1)
    running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "ran")
    waiting = [pool.submit(identity, n) for n in range(400)]
    arrivals.wait()
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    assert not running.cancelled()
    gate.open()
    pool.shutdown()
    assert running.result() == "ran"


def test_shutdown_of_a_pool_that_was_never_used(make: Factory) -> None:
    make(max_workers=3).shutdown()


def test_an_executor_that_nobody_holds_finishes_and_goes(make: Factory, gate: Gate) -> None:
    pool = make(max_workers=2)
    before = threading.active_count()
    futures = [pool.submit(pass_through, gate.exit, n) for n in range(4)]
    kept = weakref.ref(pool)
    del pool
    gc.collect()
    assert kept() is None
    gate.open(4)
    assert [future.result(PATIENCE) for future in futures] == [0, 1, 2, 3]
    assert threading.active_count() >= before  # that they go is what every test is held to


def test_an_iterator_does_not_keep_its_executor(make: Factory) -> None:
    pool = make(max_workers=1)
    results = pool.map(identity, range(10), buffersize=2)
    kept = weakref.ref(pool)
    del pool
    gc.collect()
    assert kept() is None
    assert list(results) == [0, 1]  # what was submitted, and no more


# --- Construction ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1])
def test_workers_are_at_least_one(make: Factory, number: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        make(max_workers=number)


def test_workers_are_a_number(make: Factory) -> None:
    with pytest.raises(TypeError):
        make(max_workers="4")


def test_an_initializer_runs_before_the_first_task(make: Factory) -> None:
    def initialize(value: str) -> None:
        import sys

        sys.initialized = value  # type: ignore[attr-defined]

    def read() -> Any:
        import sys

        return sys.initialized  # type: ignore[attr-defined]

    with make(max_workers=1, initializer=initialize, initargs=("yes",)) as pool:
        assert pool.submit(read).result() == "yes"


def test_an_initializer_is_callable(kind: str, make: Factory) -> None:
    if kind == "standard":
        pytest.skip("the standard library finds out in the worker, and only logs it")
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make(initializer=1)


def test_an_initializer_that_fails_breaks_the_pool(
    kind: str, make: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("of the initializer")

    broken = concurrent.futures.BrokenExecutor
    with caplog.at_level(logging.CRITICAL, "concurrent.futures"):
        pool = make(max_workers=2, initializer=fail)
        try:
            futures = [pool.submit(identity, n) for n in range(3)]
        except broken:  # the thread pool may be broken before the last submit
            futures = []
        for future in futures:
            with pytest.raises(broken):
                future.result(PATIENCE)
        with pytest.raises(broken) as raised:
            pool.submit(identity, 1)
        pool.shutdown()
    assert "of the initializer" in caplog.text
    if kind == "interpool":  # the others leave the reason to the log
        assert "ValueError: of the initializer" in str(raised.value)
