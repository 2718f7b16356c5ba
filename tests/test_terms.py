"""Terms of tasks: how often they are run again, for what, after how long, and what ends that."""

import concurrent.futures
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import gc
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from interpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    TransferError,
)
from interpool._future import Future
from interpool._terms import checked_retries, checked_timeout
from support import PATIENCE, Gate, add, arrive_and_pass, identity

# A pause that no test waits for.
LATER = Retry(1, delay=3_600, longest=3_600)


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


def fail_until(entry: int, fd: int, value: Any) -> Any:
    """Say that it runs; raise unless there is a byte to read."""
    import os
    import select

    os.write(entry, b".")
    if not select.select([fd], [], [], 0)[0]:
        raise LookupError("not yet")
    os.read(fd, 1)
    return value


def fail(entry: int, error: BaseException) -> None:
    import os

    os.write(entry, b".")
    raise error


def count_and_fail(entry: int, runs: list[int]) -> None:
    import os

    os.write(entry, b".")
    runs.append(1)
    raise LookupError(len(runs))


def sleep_in_python(entry: int) -> None:
    import os

    os.write(entry, b".")
    while True:
        pass


def runs_of(arrivals: Gate) -> int:
    """How many arrivals there have been that nobody has waited for; all tasks have ended."""
    import os
    import select

    runs = 0
    while select.select([arrivals.exit], [], [], 0)[0]:
        runs += len(os.read(arrivals.exit, 1_000))
    return runs


def wait_for_pause(pool: InterpreterPoolExecutor, tasks: int = 1) -> None:
    """Wait until so many tasks wait to be tried again: no event says so, for nobody else asks."""
    end = time.monotonic() + PATIENCE
    while pool.statistics().tasks.delayed < tasks:
        assert time.monotonic() < end
        threading.Event().wait(0.001)


# --- what a Retry says ---------------------------------------------------------------------------


def test_pauses_grow_up_to_the_longest() -> None:
    retry = Retry(9, delay=0.5, factor=3, longest=10, jitter=0)
    assert [retry.pause(failed) for failed in (1, 2, 3, 4, 1_000_000)] == [0.5, 1.5, 4.5, 10, 10]


def test_jitter_takes_a_share_off() -> None:
    retry = Retry(9, delay=1, jitter=0.5)
    assert retry.pause(1, draw=lambda: 0.0) == 1
    assert retry.pause(1, draw=lambda: 1.0) == 0.5
    assert retry.pause(2, draw=lambda: 0.5) == 1.5
    assert all(0.5 <= retry.pause(1) <= 1 for _ in range(100))
    assert len({retry.pause(1) for _ in range(100)}) > 1


@pytest.mark.parametrize("factor", [1, 2, 2.0, 1e300, math.inf, 10**400])
def test_no_delay_is_none_however_often_it_grows(factor: float) -> None:
    assert Retry(9, delay=0, factor=factor).pause(2_000) == 0


def test_a_pause_is_always_one_that_can_be_waited() -> None:
    endless = Retry(9, delay=math.inf, factor=math.inf, longest=math.inf, jitter=1)
    assert all(0 <= endless.pause(it) <= threading.TIMEOUT_MAX for it in (1, 2, 5_000))


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"times": -1}, ValueError, "retries must not be negative: -1"),
        ({"times": 1.0}, TypeError, "retries must be an integer or a Retry, not 1.0"),
        ({"times": True}, TypeError, "retries must be an integer"),
        ({"on": "ValueError"}, TypeError, "on must be an exception class or a tuple of them"),
        ({"on": int}, TypeError, "on must be an exception class"),
        ({"on": (ValueError, None)}, TypeError, "on must be an exception class"),
        ({"on": [ValueError]}, TypeError, "on must be an exception class or a tuple"),
        ({"delay": -1}, ValueError, "delay must be between 0 and inf, not -1"),
        ({"delay": math.nan}, ValueError, "delay must be between"),
        ({"delay": "1"}, TypeError, "delay must be a number, not '1'"),
        ({"delay": None}, TypeError, "delay must be a number"),
        ({"factor": 0.5}, ValueError, "factor must be between 1 and inf"),
        ({"longest": -1}, ValueError, "longest must be between"),
        ({"jitter": 1.1}, ValueError, "jitter must be between 0 and 1"),
        ({"jitter": True}, TypeError, "jitter must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: dict[str, Any], kind: type[Exception], match: str
) -> None:
    with pytest.raises(kind, match=match):
        Retry(**{"times": 1} | arguments)


@pytest.mark.parametrize("wrong", [-1, "3", 1.5, None, True])
def test_retries_are_checked_wherever_they_are_given(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="retries must"):
        InterpreterPoolExecutor(retries=wrong)
    with pytest.raises((TypeError, ValueError), match="retries must"):
        InterpreterPoolExecutor().options(retries=wrong)


def test_what_is_checked_is_what_is_meant() -> None:
    assert checked_retries(0) is None
    assert checked_retries(Retry(0)) is None
    assert checked_retries(2) == Retry(2)
    assert checked_timeout(math.inf) is None
    assert checked_timeout(1) == 1.0


@pytest.mark.parametrize(
    ("error", "on", "is_wanted"),
    [
        (LookupError(), Exception, True),
        (KeyError(), LookupError, True),
        (ValueError(), LookupError, False),
        (KeyError(), (ValueError, LookupError), True),
        (SystemExit(), Exception, False),
        (SystemExit(), SystemExit, True),
        (TaskTimeout("", function="f"), Exception, True),
        (TaskTimeout("", function="f"), TimeoutError, True),
        (TaskTimeout("", function="f"), LookupError, False),
        (TaskInterrupted("", function="f"), BaseException, False),
        (TransferError("no"), BaseException, False),
        (BrokenInterpreterPool("no"), BaseException, False),
    ],
)
def test_for_what_a_task_is_run_again(error: BaseException, on: Any, *, is_wanted: bool) -> None:
    retry = Retry(2, on=on)
    assert [retry.wants(error, failed) for failed in (1, 2, 3)] == [is_wanted, is_wanted, False]


def test_no_class_of_a_users_is_asked() -> None:
    class Hostile(type):
        def __instancecheck__(cls, _: object) -> bool:
            raise RuntimeError("asked")

        __subclasscheck__ = __eq__ = __instancecheck__
        __hash__ = type.__hash__

    class OddError(Exception, metaclass=Hostile):
        pass

    assert Retry(1, on=OddError).wants(OddError(), 1)
    assert not Retry(1, on=OddError).wants(ValueError(), 1)


# --- runs ----------------------------------------------------------------------------------------


def test_a_task_is_run_again_until_it_returns(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    view = pool.options(retries=Retry(50, delay=0.001))
    future = view.submit(fail_until, arrivals.entry, gate.exit, "done")
    arrivals.wait(3)
    assert not future.done()
    gate.open()
    assert future.result(PATIENCE) == "done"
    tasks = pool.statistics().tasks
    assert (tasks.done, tasks.failed) == (1, 0)
    assert tasks.retried >= 2


def test_it_starts_from_its_beginning(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    view = pool.options(retries=Retry(2, delay=0))
    runs: list[int] = []
    error = view.submit(count_and_fail, arrivals.entry, runs).exception(PATIENCE)
    # Each run has its own copy of the list, as it was sent.
    assert repr(error) == "LookupError(1)"
    assert runs_of(arrivals) == 3
    assert runs == []


def test_attempts_are_notes_on_the_last_error(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    view = pool.options(retries=Retry(2, delay=0.002, jitter=0))
    error = view.submit(fail, arrivals.entry, LookupError("gone")).exception(PATIENCE)
    assert error is not None
    assert error.__notes__ == [
        "Run 1 failed (LookupError: gone); the next was due 0.002 s later",
        "Run 2 failed (LookupError: gone); the next was due 0.004 s later",
    ]
    assert runs_of(arrivals) == 3


def test_notes_that_are_none_do_no_harm(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    class OddError(Exception):
        __notes__ = "no list"  # type: ignore[assignment]  # on purpose

    view = pool.options(retries=Retry(1, delay=0))
    assert type(view.submit(fail, arrivals.entry, OddError()).exception(PATIENCE)) is OddError
    assert runs_of(arrivals) == 2
    assert pool.submit(add, 1, 2).result(PATIENCE) == 3


def test_what_is_not_among_them_is_not_tried_again(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    view = pool.options(retries=Retry(5, on=(ValueError, OSError), delay=0))
    error = view.submit(fail, arrivals.entry, LookupError("no")).exception(PATIENCE)
    assert isinstance(error, LookupError)
    assert not hasattr(error, "__notes__")
    assert runs_of(arrivals) == 1


def test_a_transfer_error_is_never_tried_again(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    def result_that_stays(entry: int) -> Any:
        import os
        import threading

        os.write(entry, b".")
        return threading.Lock()

    view = pool.options(retries=Retry(5, on=BaseException, delay=0))
    future = view.submit(result_that_stays, arrivals.entry)
    assert isinstance(future.exception(PATIENCE), TransferError)
    assert runs_of(arrivals) == 1
    refused = view.submit(identity, threading.Lock())
    assert isinstance(refused.exception(0), TransferError)
    assert pool.statistics().tasks.retried == 0


def test_an_interrupt_is_never_tried_again(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    future = pool.options(retries=Retry(5, on=BaseException, delay=0)).submit(
        sleep_in_python, arrivals.entry
    )
    arrivals.wait()
    assert future.interrupt()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert runs_of(arrivals) == 0
    tasks = pool.statistics().tasks
    assert (tasks.interrupted, tasks.retried, tasks.failed) == (1, 0, 0)


def test_a_broken_pool_tries_nothing_again() -> None:
    def refuse() -> None:
        raise RuntimeError("no")

    retries = Retry(5, on=BaseException, delay=0)
    with InterpreterPoolExecutor(1, initializer=refuse, retries=retries) as pool:
        future = pool.submit(add, 1, 2)
        with pytest.raises(BrokenInterpreterPool):
            future.result(PATIENCE)
        assert pool.statistics().tasks.retried == 0


@pytest.mark.parametrize("on", [Exception, TimeoutError, (LookupError, TaskTimeout)])
def test_a_timeout_is_tried_again_if_it_is_among_them(arrivals: Gate, on: Any) -> None:
    with InterpreterPoolExecutor(1, timeout=0.05, retries=Retry(1, on=on, delay=0)) as pool:
        future = pool.submit(sleep_in_python, arrivals.entry)
        with pytest.raises(TaskTimeout) as caught:
            future.result(PATIENCE)
        (note,) = caught.value.__notes__
        assert note.startswith("Run 1 failed (")
        assert "TaskTimeout: sleep_in_python ran for longer than its timeout of 0.05 s" in note
        assert runs_of(arrivals) == 2
        tasks = pool.statistics().tasks
        assert (tasks.timed_out, tasks.retried, tasks.failed) == (1, 1, 0)


def test_a_timeout_is_final_if_it_is_not(arrivals: Gate) -> None:
    retries = Retry(3, on=LookupError, delay=0)
    with InterpreterPoolExecutor(1, timeout=0.05, retries=retries) as pool:
        future = pool.submit(sleep_in_python, arrivals.entry)
        assert isinstance(future.exception(PATIENCE), TaskTimeout)
        assert runs_of(arrivals) == 1


def test_terms_are_the_pools_unless_a_view_says_otherwise(arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1, retries=Retry(1, delay=0)) as pool:
        submit_of: list[tuple[Callable[..., Any], int]] = [
            (pool.submit, 2),
            (pool.options(timeout=PATIENCE).submit, 2),
            (pool.options(retries=0).submit, 1),
            (pool.options(retries=Retry(2, delay=0)).submit, 3),
            (pool.options(retries=0).options(retries=Retry(1, delay=0)).submit, 2),
        ]
        for submit, runs in submit_of:
            future = submit(fail, arrivals.entry, LookupError())
            assert isinstance(future.exception(PATIENCE), LookupError)
            assert runs_of(arrivals) == runs


# --- who waits meanwhile -------------------------------------------------------------------------


def test_the_main_thread_waits_for_the_last_run(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    gate.open()
    view = pool.options(retries=Retry(50, delay=0.001))
    futures = [view.submit(fail_until, arrivals.entry, gate.exit, n) for n in range(4)]

    def open_late() -> None:
        arrivals.wait(12)
        gate.open(3)

    opener = threading.Thread(target=open_late)
    opener.start()
    assert [future.result(PATIENCE) for future in futures] == [0, 1, 2, 3]
    opener.join()


def test_other_threads_wait_for_the_last_run(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    view = pool.options(retries=Retry(50, delay=0.001))
    found: list[Any] = []
    future = view.submit(fail_until, arrivals.entry, gate.exit, 1)
    threads = [
        threading.Thread(target=lambda: found.append(future.result(PATIENCE))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    arrivals.wait(3)
    gate.open()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [1, 1, 1]


def test_a_wait_may_end_during_the_pause(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    future = pool.options(retries=LATER).submit(fail, arrivals.entry, LookupError())
    wait_for_pause(pool)
    assert not future.running()
    assert not future.done()
    with pytest.raises(TimeoutError):
        future.result(0.01)
    done, pending = concurrent.futures.wait([future], timeout=0.01)
    assert (done, pending) == (set(), {future})
    assert future.cancel()


def test_callbacks_and_waiters_hear_of_the_end_alone(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    calls: list[Any] = []
    called = threading.Event()
    view = pool.options(retries=Retry(50, delay=0.001))
    future = view.submit(fail_until, arrivals.entry, gate.exit, "end")

    def call_back(ended: concurrent.futures.Future[Any]) -> None:
        calls.append(ended.result())
        called.set()

    future.add_done_callback(call_back)
    arrivals.wait(3)
    assert not calls
    gate.open()
    assert list(concurrent.futures.as_completed([future], PATIENCE)) == [future]
    assert called.wait(PATIENCE)
    assert calls == ["end"]


def test_a_callback_added_during_the_pause_is_called(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    called = threading.Event()
    future = pool.options(retries=Retry(1, delay=0.05, jitter=0)).submit(
        fail_until, arrivals.entry, gate.exit, 1
    )
    wait_for_pause(pool)
    future.add_done_callback(lambda _: called.set())
    gate.open()
    assert called.wait(PATIENCE)
    assert future.result(0) == 1


# --- the pause, and what ends it -----------------------------------------------------------------


@pytest.fixture
def delayed(arrivals: Gate) -> Iterator[tuple[InterpreterPoolExecutor, Future[None]]]:
    """A pool whose one task has failed, and waits for long to be tried again."""
    with InterpreterPoolExecutor(1, retries=LATER) as pool:
        future = pool.submit(fail, arrivals.entry, LookupError("first"))
        wait_for_pause(pool)
        assert runs_of(arrivals) == 1
        yield pool, future


type Delayed = tuple[InterpreterPoolExecutor, Future[None]]


def test_it_can_be_cancelled(delayed: Delayed) -> None:
    pool, future = delayed
    assert future.cancel()
    assert future.cancelled()
    assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    tasks = pool.statistics().tasks
    assert (tasks.delayed, tasks.cancelled, tasks.failed) == (0, 1, 0)


def test_it_can_be_interrupted_and_says_what_it_had_done(delayed: Delayed) -> None:
    pool, future = delayed
    assert future.interrupt()
    with pytest.raises(TaskInterrupted, match=r"^fail was interrupted\n") as caught:
        future.result(PATIENCE)
    assert caught.value.__notes__[0].startswith("Run 1 failed (LookupError: first)")
    assert not future.interrupt()
    tasks = pool.statistics().tasks
    assert (tasks.delayed, tasks.interrupted, tasks.failed) == (0, 1, 0)


def test_cancelling_what_is_left_lets_a_shutdown_return(delayed: Delayed) -> None:
    pool, future = delayed
    shutdown = threading.Thread(target=pool.shutdown)
    shutdown.start()
    while "shut down" not in repr(pool):  # the thread is on its way into the wait
        threading.Event().wait(0.001)
    assert future.cancel()
    shutdown.join(PATIENCE)
    assert not shutdown.is_alive()


def test_shutdown_waits_for_the_runs_to_come(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(1, retries=Retry(1, delay=0.02))
    future = pool.submit(fail_until, arrivals.entry, gate.exit, "again")
    arrivals.wait()
    wait_for_pause(pool)
    gate.open()
    pool.shutdown()
    assert future.result(0) == "again"


def test_shutdown_returns_when_the_last_run_has_failed(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(2, retries=Retry(1, delay=0))
    futures = [pool.submit(fail, arrivals.entry, LookupError()) for _ in range(5)]
    pool.shutdown()
    assert all(isinstance(future.exception(0), LookupError) for future in futures)
    assert runs_of(arrivals) == 10


def test_shutdown_can_cancel_it(delayed: Delayed) -> None:
    pool, future = delayed
    pool.shutdown(cancel_futures=True)
    assert future.cancelled()


def test_termination_cancels_it(delayed: Delayed) -> None:
    pool, future = delayed
    pool.terminate_workers()
    with pytest.raises(CancelledError):
        future.result(PATIENCE)
    pool.shutdown()


def test_a_task_terminated_is_not_tried_again(arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1, retries=Retry(5, on=BaseException, delay=0)) as pool:
        future = pool.submit(sleep_in_python, arrivals.entry)
        arrivals.wait()
        pool.terminate_workers()
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert runs_of(arrivals) == 0


def test_a_task_withdrawn_is_kept_by_nobody(delayed: Delayed) -> None:
    pool, _ = delayed
    future = pool.submit(fail, 1 << 30, LookupError())  # no such descriptor
    wait_for_pause(pool, 2)
    gone = weakref.ref(future)
    assert future.cancel()
    del future
    gc.collect()
    assert gone() is None
    delayed[1].cancel()


def test_another_worker_takes_it_up_if_the_first_has_gone(arrivals: Gate, gate: Gate) -> None:
    retries = Retry(1, delay=1, jitter=0)
    with InterpreterPoolExecutor(1, retries=retries, idle_timeout=0.01, min_workers=0) as pool:
        future = pool.submit(fail_until, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        gate.open()
        assert future.result(PATIENCE) == 1


# --- maps ----------------------------------------------------------------------------------------


def fail_at_first(fd: int, entry: int, value: int) -> int:
    """Fail as often as there are bytes."""
    import os
    import select

    os.write(entry, b".")
    if select.select([fd], [], [], 0)[0] and os.read(fd, 1):
        raise LookupError(value)
    return value


@pytest.mark.parametrize("chunksize", [None, 5])
@pytest.mark.parametrize("is_ordered", [True, False])
def test_each_item_of_a_map_is_tried_again_by_itself(
    arrivals: Gate, gate: Gate, chunksize: int | None, *, is_ordered: bool
) -> None:
    with InterpreterPoolExecutor(1, retries=Retry(10, delay=0)) as pool:
        gate.open(7)
        mapper = pool.map if is_ordered else pool.map_unordered
        fds, entries = [gate.exit] * 20, [arrivals.entry] * 20
        found = [*mapper(fail_at_first, fds, entries, range(20), chunksize=chunksize)]
        assert sorted(found) == [*range(20)]
        assert found == [*range(20)] or not is_ordered
        assert runs_of(arrivals) == 27
        tasks = pool.statistics().tasks
        assert (tasks.done, tasks.failed, tasks.retried) == (20, 0, 7)


def test_an_item_that_keeps_failing_raises_in_its_turn(arrivals: Gate) -> None:
    def odd(value: int) -> int:
        if value == 3:
            raise LookupError(value)
        return value

    with InterpreterPoolExecutor(2) as pool:
        results = pool.options(retries=Retry(2, delay=0)).map(odd, range(6))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LookupError) as caught:
            next(results)
        assert len(caught.value.__notes__) == 2


@pytest.mark.parametrize("how", ["close", "drop"])
def test_an_abandoned_iterator_leaves_nothing_to_try(arrivals: Gate, how: str) -> None:
    with InterpreterPoolExecutor(1, retries=LATER) as pool:
        entries: list[int] = [arrivals.entry] * 5
        errors = [LookupError(n) for n in range(5)]
        results: Any = pool.map_unordered(fail, entries, errors, timeout=0.2)
        with pytest.raises(TimeoutError):  # begun, so it cancels; all of them failed or are failing
            next(results)
        if how == "close":
            results.close()
        del results
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    tasks = pool.statistics().tasks
    assert tasks.delayed == tasks.waiting == tasks.running == 0


# --- forced order --------------------------------------------------------------------------------


def test_a_task_decided_upon_while_the_pool_is_closed_is_the_last(
    arrivals: Gate, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is read before `shutdown`, and what becomes of it decided afterwards."""
    pool = InterpreterPoolExecutor(1, retries=Retry(1, on=ValueError, delay=0))
    engine = pool._engine
    decide = engine.retrying.try_again
    answered, is_closed = threading.Event(), threading.Event()

    def late(task: Any, error: BaseException) -> BaseException | None:
        answered.set()
        assert is_closed.wait(PATIENCE)
        return decide(task, error)

    monkeypatch.setattr(engine.retrying, "try_again", late)
    future = pool.submit(fail, arrivals.entry, LookupError())
    future.add_done_callback(lambda _: None)  # so that it is read
    assert answered.wait(PATIENCE)
    pool.shutdown(wait=False)
    is_closed.set()
    pool.shutdown()
    assert isinstance(future.exception(0), LookupError)


def test_an_interrupt_between_a_run_and_the_next_is_the_end(
    arrivals: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the answer was read, and before anybody has decided to try again."""
    with InterpreterPoolExecutor(1, retries=Retry(1, delay=0)) as pool:
        engine = pool._engine
        decide = engine.retrying.try_again

        def late(task: Any, error: BaseException) -> BaseException | None:
            assert task.interrupt()
            return decide(task, error)

        monkeypatch.setattr(engine.retrying, "try_again", late)
        future = pool.submit(fail, arrivals.entry, LookupError("first"))
        error = future.exception(PATIENCE)
        assert isinstance(error, TaskInterrupted)
        assert isinstance(error.__cause__, LookupError)
        tasks = pool.statistics().tasks
        assert (tasks.interrupted, tasks.retried) == (1, 0)
    assert runs_of(arrivals) == 1


def test_arriving_and_passing_with_retries_is_as_without(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    future = pool.options(retries=3).submit(arrive_and_pass, arrivals.entry, gate.exit, 5)
    arrivals.wait()
    assert future.running()
    assert not future.cancel()
    gate.open()
    assert future.result(PATIENCE) == 5
