"""What a pool says of itself: counts, times, bytes, in words, and the names of its threads."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, Retry, TaskInterrupted, TaskTimeout
from interpool._statistics import Statistics, Tasks, Times
from interpool._threads import shortened
from support import PATIENCE, Gate, add, arrive_and_pass, divide, identity

NONE = Tasks(*[0] * len(dataclasses.fields(Tasks)))


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        yield made


def counts(pool: InterpreterPoolExecutor) -> dict[str, int]:
    """What is not 0."""
    found = dataclasses.asdict(pool.statistics().tasks)
    return {name: number for name, number in found.items() if number}


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def spin(entry: int) -> None:
    import os

    os.write(entry, b".")
    while True:
        pass


def odd(value: int) -> int:
    if value % 2:
        raise LookupError(value)
    return value


# --- tasks ---------------------------------------------------------------------------------------


def test_of_a_pool_that_was_never_used_there_is_nothing() -> None:
    found = InterpreterPoolExecutor(1).statistics()
    assert found.tasks == NONE
    assert set(dataclasses.asdict(found.workers).values()) == {0}
    assert (found.bytes_sent, found.bytes_received) == (0, 0)
    assert found.queue_times.count == found.run_times.count == found.start_times.count == 0
    assert math.isnan(found.queue_times.median)


def test_each_end_is_counted_once(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    assert isinstance(pool.submit(divide, 1, 0).exception(PATIENCE), ZeroDivisionError)
    assert pool.submit(identity, threading.Lock()).exception(PATIENCE)  # never sent
    assert pool.submit(threading.Lock).exception(PATIENCE)  # cannot come back
    assert counts(pool) == {"done": 1, "failed": 3}
    running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    waiting = [pool.submit(add, n, n) for n in range(4)]
    arrivals.wait()
    assert counts(pool) == {"done": 1, "failed": 3, "running": 1, "waiting": 4}
    assert waiting[1].cancel()
    assert waiting[2].interrupt()
    assert counts(pool) == {
        "done": 1,
        "failed": 3,
        "running": 1,
        "waiting": 2,
        "cancelled": 1,
        "interrupted": 1,
    }
    gate.open()
    assert running.result(PATIENCE) == 1
    assert waiting[3].result(PATIENCE) == 6
    assert counts(pool) == {"done": 4, "failed": 3, "cancelled": 1, "interrupted": 1}
    assert pool.statistics().lanes["interpreter"] >= 5


def test_tasks_that_are_stopped_are_counted_by_the_reason(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    future = pool.submit(spin, arrivals.entry)
    arrivals.wait()
    future.interrupt()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    late = pool.options(timeout=0.02).submit(spin, arrivals.entry)
    assert isinstance(late.exception(PATIENCE), TaskTimeout)
    assert counts(pool) == {"interrupted": 1, "timed_out": 1}


def test_runs_that_are_tried_again_are_no_failures(pool: InterpreterPoolExecutor) -> None:
    view = pool.options(retries=Retry(3, delay=0))
    assert view.submit(divide, 1, 0).exception(PATIENCE)
    assert view.submit(divide, 4, 2).result(PATIENCE) == 2
    assert counts(pool) == {"done": 1, "failed": 1, "retried": 3}
    assert pool.statistics().lanes == {"interpreter": 2, "process": 0, "thread": 0}


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_items_of_a_map_count_singly(pool: InterpreterPoolExecutor, chunksize: int | None) -> None:
    assert [*pool.map(identity, range(50), chunksize=chunksize)] == [*range(50)]
    assert counts(pool) == {"done": 50}
    results = pool.map_unordered(odd, range(21), chunksize=chunksize)
    until(lambda: sum(counts(pool).values()) == 71 and counts(pool).keys() == {"done", "failed"})
    assert counts(pool) == {"done": 61, "failed": 10}
    del results


def test_so_do_those_on_their_way(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    results = pool.map(identity, range(1_000), chunksize=10)
    assert counts(pool) == {"running": 1, "waiting": 1_000}
    assert "1 tasks running, 1000 waiting" in repr(pool)
    pool.shutdown(wait=False, cancel_futures=True)
    assert counts(pool) == {"running": 1, "cancelled": 1_000}
    with pytest.raises(CancelledError):
        next(results)
    gate.open()


def test_what_an_iterator_cancels_is_counted(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    results = pool.map(identity, range(5_000), chunksize=1)
    assert next(results) == 0
    pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    arrivals.wait()
    # What the worker has done before that may not be read yet: it counts as running.
    until(lambda: counts(pool).get("running") == 1)
    found = counts(pool)
    assert found.keys() == {"running", "done", "cancelled"}
    assert found["done"] + found["cancelled"] == 5_000
    gate.open()


def test_stops_of_a_closed_pool_are_no_tasks(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait(2)
        pool.shutdown(wait=False)
        assert counts(pool) == {"running": 2}
        gate.open(2)


def test_what_was_cancelled_in_a_long_backlog_waits_no_more(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    futures = [pool.submit(add, 1, n) for n in range(500)]
    assert all(future.cancel() for future in futures[200:400])
    assert counts(pool) == {"running": 1, "waiting": 300, "cancelled": 200}
    gate.open()
    assert futures[-1].result(PATIENCE) == 500
    assert counts(pool) == {"done": 301, "cancelled": 200}


# --- the rest ------------------------------------------------------------------------------------


def test_workers_are_counted(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(3, max_tasks_per_worker=1) as pool:
        future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        until(lambda: pool.statistics().workers.standby == 1)
        until(lambda: not pool._engine.staff.starting)
        workers = pool.statistics().workers
        assert (workers.idle, workers.busy, workers.starting, workers.standby) == (0, 1, 0, 1)
        assert (workers.started, workers.recycled, workers.given_up) == (2, 0, 0)
        gate.open()
        assert future.result(PATIENCE) == 1
        until(lambda: pool.statistics().workers.recycled == 1)


def test_times_are_measured_and_stay_when_their_worker_has_gone(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=4) as pool:
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        begin = time.monotonic()
        others = [pool.submit(add, n, 1) for n in range(9)]
        while time.monotonic() < begin + 0.05:
            threading.Event().wait(0.01)
        gate.open()
        for future in (first, *others):
            future.result(PATIENCE)
    found = pool.statistics()
    assert found.run_times.count == found.queue_times.count == 10
    assert found.run_times.longest >= 0.05 > found.run_times.median > 0
    assert found.queue_times.median >= 0.04
    assert found.start_times.count == found.workers.started >= 3
    assert 0 < found.start_times.median <= found.start_times.longest < PATIENCE


def test_percentiles() -> None:
    times = Times.of(1_000, [n * 1_000_000_000 for n in range(1, 101)])
    assert times == Times(1_000, 50.0, 90.0, 99.0, 100.0)
    assert Times.of(1, [2_000_000_000]) == Times(1, 2.0, 2.0, 2.0, 2.0)
    assert Times.of(3, iter([3_000_000_000, 1_000_000_000])).median == 1.0
    empty = Times.of(0, [])
    assert empty.count == 0
    assert all(math.isnan(it) for it in (empty.median, empty.p90, empty.p99, empty.longest))


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_bytes_are_counted_in_both_directions(pool: InterpreterPoolExecutor, size: int) -> None:
    pool.submit(identity, b"").result(PATIENCE)
    before = pool.statistics()
    assert len(pool.submit(identity, bytes(size)).result(PATIENCE)) == size
    after = pool.statistics()
    assert size <= after.bytes_sent - before.bytes_sent < size + 1_000
    assert size <= after.bytes_received - before.bytes_received < size + 1_000


def test_bytes_that_were_taken_back_are_not_counted_twice(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    before = pool.statistics().bytes_sent
    futures = [pool.submit(identity, bytes(1_000)) for _ in range(20)]
    sent = pool.statistics().bytes_sent - before
    assert all(future.cancel() for future in futures[5:])
    assert (pool.statistics().bytes_sent - before) * 4 == sent
    gate.open()


def test_figures_outlive_the_pool() -> None:
    with InterpreterPoolExecutor(2) as pool:
        assert [*pool.map(identity, range(100))] == [*range(100)]
    found = pool.statistics()
    assert (found.tasks.done, found.workers.idle, found.workers.busy) == (100, 0, 0)
    assert found.bytes_sent > 100 < found.bytes_received
    assert "shut down, 0 of 2 workers, 0 tasks running, 0 waiting" in repr(pool)


def test_a_snapshot_stays_as_it_is(pool: InterpreterPoolExecutor) -> None:
    found = pool.statistics()
    pool.submit(add, 1, 2).result(PATIENCE)
    assert found.tasks == NONE
    for part, name in (
        (found, "memory"),
        (found.tasks, "done"),
        (found.workers, "idle"),
        (found.run_times, "median"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, 1)
    lanes: Any = found.lanes
    with pytest.raises(TypeError):
        lanes["interpreter"] = 1


def test_memory_is_that_of_the_process_where_the_system_tells(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (pool.statistics().memory or 0) > 1 << 20

    def refuse(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    assert pool.statistics().memory is None


@pytest.mark.stress
def test_it_may_be_asked_by_several_threads_under_load() -> None:
    """And what there is of tasks adds up at every moment."""
    with InterpreterPoolExecutor(2, max_tasks_per_worker=50) as pool:
        is_over = threading.Event()
        found: list[Statistics] = []

        def ask() -> None:
            while not is_over.is_set():
                found.append(pool.statistics())
                repr(pool)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            futures = [pool.submit(add, n, 1) for n in range(200)]
            assert [*pool.map(identity, range(200))] == [*range(200)]
            assert [future.result(PATIENCE) for future in futures] == [*range(1, 201)]
        is_over.set()
        for thread in threads:
            thread.join()
        assert pool.statistics().tasks == dataclasses.replace(NONE, done=2_000)
        for it in found:
            assert it.tasks.waiting + it.tasks.running + it.tasks.done <= 2_000
            assert it.workers.idle + it.workers.busy <= 2


def test_repr_says_the_essentials(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(2, "orders")
    assert repr(pool) == (
        "<InterpreterPoolExecutor orders: open, 0 of 2 workers, 0 tasks running, 0 waiting>"
    )
    with pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        assert "orders: open, 1 of 2 workers, 1 tasks running, 0 waiting" in repr(pool)
        gate.open()
    assert "orders: shut down, 0 of 2 workers" in repr(pool)


# --- names of threads ----------------------------------------------------------------------------


def names() -> list[str]:
    """What the system calls the threads of this process."""
    found = []
    for file in Path("/proc/self/task").glob("*/comm"):
        try:
            found.append(file.read_text().rstrip("\n"))
        except OSError:  # the thread has ended since
            continue
    return found


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("p", {"p_0", "p_1", "p_0_host", "p_1_host", "p_collector", "p_timekeeper"}),
        (
            "a-rather-long-name",
            {
                *("a-rather-long_0", "a-rather-long_1", "a-rather_0_host", "a-rather_1_host"),
                *("a-rat_collector", "a-ra_timekeeper"),
            },
        ),
    ],
)
def test_the_system_can_tell_the_threads_apart(
    arrivals: Gate, gate: Gate, prefix: str, expected: set[str]
) -> None:
    with InterpreterPoolExecutor(2, prefix, timeout=PATIENCE) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(2)]
        arrivals.wait(2)
        until(lambda: expected <= {*names()})
        gate.open(2)
        assert [future.result(PATIENCE) for future in futures] == [0, 1]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("x_1", "x_1"),
        ("InterpreterPoolExecutor-0_12", "Interprete-0_12"),
        ("InterpreterPoolExecutor-0_3_host", "Interp-0_3_host"),
        ("InterpreterPoolExecutor-0_collector", "Int-0_collector"),
        ("InterpreterPoolExecutor-0_timekeeper", "In-0_timekeeper"),
        ("InterpreterPoolExecutor-0_callbacks_1", "I-0_callbacks_1"),
        ("InterpreterPoolExecutor-1234567_timekeeper", "-1234567_timeke"),
        ("a name without any of that", "a name without "),
        ("é" * 20 + "_1", "é" * 6 + "_1"),
    ],
)
def test_what_is_left_of_a_long_name(name: str, short: str) -> None:
    assert shortened(name) == short
    assert len(short.encode()) <= 15
