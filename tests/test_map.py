"""`map` and `map_unordered` beyond the contract: pieces, buffers, what is handed back and kept."""

import concurrent.futures
import dataclasses
import gc
import itertools
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interpool import InterpreterPoolExecutor, TransferError
from interpool._batching import BUDGET
from interpool._inside import channels, outcomes
from shapes import Holder, fail_at_seven
from support import PATIENCE, Gate, add, have_all_work, identity, pass_through


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        have_all_work(made, 2)
        yield made


both = pytest.mark.parametrize("name", ["map", "map_unordered"])


# --- Everything arrives ------------------------------------------------------------------------


@both
@pytest.mark.parametrize("buffersize", [None, 1, 7, 500])
@pytest.mark.parametrize("chunksize", [None, 1, 6, 5_000])
@pytest.mark.parametrize("count", [0, 1, 2, 999])
def test_all_results_of_all_sizes(
    pool: InterpreterPoolExecutor,
    name: str,
    count: int,
    chunksize: int | None,
    buffersize: int | None,
) -> None:
    items = range(count)
    results = getattr(pool, name)(
        add, items, items, chunksize=chunksize, buffersize=buffersize, timeout=PATIENCE
    )
    found = list(results)
    assert (found if name == "map" else sorted(found)) == [2 * n for n in items]


kinds = st.sampled_from(
    [
        0,
        -1,
        2**70,
        "text",
        b"bytes",
        b"x" * 40_000,
        (1, [2]),
        {"a": 1},
        Holder(3),
        None,
        1.5,
        "é" * 9,
    ]
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    items=st.lists(kinds, max_size=60),
    chunksize=st.sampled_from([None, 1, 7]),
    buffersize=st.sampled_from([None, 3, 40]),
)
def test_items_of_all_kinds_in_any_mixture(
    pool: InterpreterPoolExecutor,
    items: list[Any],
    chunksize: int | None,
    buffersize: int | None,
) -> None:
    assert list(pool.map(identity, items, chunksize=chunksize, buffersize=buffersize)) == items
    found = list(pool.map_unordered(identity, items, chunksize=chunksize, buffersize=buffersize))
    assert sorted(map(repr, found)) == sorted(map(repr, items))


def test_instances_of_a_class_that_workers_cannot_import(pool: InterpreterPoolExecutor) -> None:
    @dataclasses.dataclass
    class Local:
        n: int

        def double(self) -> int:
            return 2 * self.n

    assert list(pool.map(Local.double, map(Local, range(300)))) == list(range(0, 600, 2))
    assert [it.n for it in pool.map(identity, map(Local, range(300)))] == list(range(300))


class Counted:
    """Says how often it was pickled, and is as large as its payload."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.pickled = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.pickled += 1
        return len, ([0] * self.nbytes,)  # two bytes each: what arrives is the number


@pytest.mark.parametrize("nbytes", [10, channels.APART])
def test_an_item_is_pickled_once_whatever_its_size(
    pool: InterpreterPoolExecutor, nbytes: int
) -> None:
    items = [Counted(nbytes) for _ in range(5)]
    assert [*pool.map(identity, items)] == [nbytes] * 5
    assert [it.pickled for it in items] == [1] * 5


def test_unordered_results_wait_for_no_other(gate: Gate) -> None:
    def slow_if_first(n: int, fd: int = gate.exit) -> int:
        import os

        if n == 0:
            os.read(fd, 1)
        return n

    with InterpreterPoolExecutor(2) as pool:
        results = pool.map_unordered(slow_if_first, range(50), chunksize=1)
        found = [next(results) for _ in range(49)]
        assert sorted(found) == list(range(1, 50))
        gate.open()
        assert list(results) == [0]


# --- What fails --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [None, 1, 5])
@pytest.mark.parametrize("buffersize", [None, 6])
def test_an_exception_comes_in_its_turn_and_ends_the_map(
    pool: InterpreterPoolExecutor, chunksize: int | None, buffersize: int | None
) -> None:
    results = pool.map(fail_at_seven, range(40), chunksize=chunksize, buffersize=buffersize)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="seven"):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_an_item_that_cannot_be_sent_fails_alone_in_its_turn(
    pool: InterpreterPoolExecutor, chunksize: int | None
) -> None:
    items = [1, [2], threading.Lock(), 4]
    results = pool.map(identity, items, chunksize=chunksize)
    if chunksize != 4:
        assert [next(results), next(results)] == [1, [2]]
    with pytest.raises(TransferError, match="argument 1 of identity"):
        next(results)


def test_an_iterable_that_fails_fails_the_call(pool: InterpreterPoolExecutor) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        message = "of the iterable"
        raise LookupError(message)

    with pytest.raises(LookupError, match="of the iterable"):
        pool.map(identity, items())
    results = pool.map(identity, items(), buffersize=2)
    with pytest.raises(LookupError, match="of the iterable"):
        list(results)
    assert pool.submit(identity, "alive").result(PATIENCE) == "alive"


def test_a_shutdown_that_cancels_cancels_what_has_not_begun(gate: Gate, arrivals: Gate) -> None:
    def hold(n: int, entry: int = arrivals.entry, fd: int = gate.exit) -> int:
        import os

        os.write(entry, b".")
        os.read(fd, 1)
        return n

    pool = InterpreterPoolExecutor(1)
    results = pool.map(hold, range(600))
    arrivals.wait()
    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert next(results) == 0
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    pool.shutdown()


# --- Pieces ------------------------------------------------------------------------------------


def test_a_worker_hands_back_what_it_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**9, 10))
    monkeypatch.setattr(outcomes, "_now", lambda: next(clock))
    ran: list[int] = []
    _, payload = outcomes.call_each(0, ran.append, [(n,) for n in range(100)], budget=35)
    *_, done, nanoseconds = payload
    assert ran == list(range(done)) == [0, 1, 2, 3]
    assert nanoseconds == 50  # five looks at the clock
    assert outcomes.call_each(0, ran.append, [(1,)] * 5, budget=0)[1][3] == 5


def test_tasks_that_turn_slow_are_handed_back_and_run_once() -> None:
    # The first ones are so quick that many travel together; then each takes half of the budget.
    def task(n: int, pause: float = BUDGET / 2) -> int:
        import time

        if n >= 3_000:
            time.sleep(pause)
        return n

    with InterpreterPoolExecutor(2) as pool:
        assert list(pool.map(task, range(3_060))) == list(range(3_060))
        assert sorted(pool.map_unordered(task, range(2_950, 3_030))) == list(range(2_950, 3_030))


def test_slow_tasks_are_spread_over_the_workers(gate: Gate, arrivals: Gate) -> None:
    # However few there are: as many run at once as there are workers.
    def hold(n: int, entry: int = arrivals.entry, fd: int = gate.exit) -> int:
        import os

        os.write(entry, b".")
        os.read(fd, 1)
        return n

    with InterpreterPoolExecutor(3) as pool:
        results = pool.map(hold, range(3))
        arrivals.wait(3)
        gate.open(3)
        assert list(results) == [0, 1, 2]


# --- Buffers -----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("chunksize", [None, 1, 3, 50])
def test_a_buffer_bounds_what_is_taken_ahead(
    pool: InterpreterPoolExecutor, name: str, chunksize: int | None
) -> None:
    taken = itertools.count()
    results = getattr(pool, name)(identity, taken, chunksize=chunksize, buffersize=20)
    for yielded in range(1, 100):
        next(results)
        ahead = int(repr(taken)[6:-1]) - yielded
        assert ahead <= 20
    results.close()


def test_a_buffer_whose_iterable_waits_for_the_results(pool: InterpreterPoolExecutor) -> None:
    # Each item is made of the result before the last three: whoever took more would deadlock.
    found: list[int] = [0, 0, 0]

    def items() -> Iterator[int]:
        for n in range(200):
            yield found[n] + 1

    found.extend(pool.map(identity, items(), buffersize=2))
    assert len(found) == 203


def test_an_abandoned_map_cancels_what_has_not_begun(gate: Gate, arrivals: Gate) -> None:
    def hold(n: int, entry: int = arrivals.entry, fd: int = gate.exit) -> int:
        import os

        os.write(entry, bytes([n % 256]))
        os.read(fd, 1)
        return n

    with InterpreterPoolExecutor(1) as pool:
        # Each by itself: of a piece, a worker goes on to the next item when the first is done.
        results = pool.map(hold, range(1_000), chunksize=1)
        gate.open()
        assert next(results) == 0
        arrivals.wait(2)
        results.close()  # type: ignore[attr-defined]
        gate.open()
        assert pool.submit(identity, "next").result(PATIENCE) == "next"


# --- What is kept ------------------------------------------------------------------------------


def test_nothing_of_a_map_is_kept_when_it_is_done(pool: InterpreterPoolExecutor) -> None:
    results = pool.map(identity, [Holder(n) for n in range(50)])
    references = [weakref.ref(it) for it in results]
    del results
    gc.collect()
    assert [it() for it in references] == [None] * 50
    assert not pool._engine.tasks.in_flight
    assert pool._engine.tasks.is_empty


def test_a_result_is_let_go_when_the_next_is_asked_for(pool: InterpreterPoolExecutor) -> None:
    results = pool.map(identity, [Holder(n) for n in range(30)])
    for _ in range(30):
        reference = weakref.ref(next(results))
        assert reference() is None


@both
def test_the_time_is_up(pool: InterpreterPoolExecutor, name: str, gate: Gate) -> None:
    begin = time.monotonic()
    results = getattr(pool, name)(pass_through, [gate.exit] * 2, range(2), timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    assert time.monotonic() - begin < PATIENCE
    gate.open(2)


def test_maps_from_many_threads(pool: InterpreterPoolExecutor) -> None:
    found: dict[int, list[int]] = {}

    def run(n: int) -> None:
        found[n] = list(pool.map(add, range(n, n + 400), itertools.repeat(1)))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == {n: list(range(n + 1, n + 401)) for n in range(8)}
