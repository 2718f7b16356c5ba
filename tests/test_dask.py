"""dask on one machine: graphs whose tasks run in a pool's interpreters."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, TransferError
from shapes import Holder, fail_at_seven
from support import PATIENCE, add, divide, have_all_work, identity, interpreter

dask = pytest.importorskip("dask")
bags = pytest.importorskip("dask.bag")
delayed = dask.delayed


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        # All threads that there may be, for each test looks for those that it has left.
        have_all_work(made, 2)
        both = threading.Barrier(3)
        for _ in range(2):
            made.submit(identity, 1).add_done_callback(lambda _: both.wait(PATIENCE))
        both.wait(PATIENCE)
        yield made


@pytest.fixture(params=["scheduler", "config", "pool"], autouse=True)
def configured(request: pytest.FixtureRequest, pool: InterpreterPoolExecutor) -> Iterator[str]:
    """Have dask use the pool, in each of the ways in which it can be told to."""
    settings: dict[str, Any] = {"scheduler": pool}
    if request.param == "pool":
        settings = {"scheduler": "threads", "pool": pool}
    with dask.config.set(settings):
        yield request.param


def test_a_graph_of_delayed_calls() -> None:
    total = delayed(sum)([delayed(add)(n, delayed(add)(n, b=1)) for n in range(20)])
    assert total.compute() == sum(2 * n + 1 for n in range(20))


def test_tasks_run_in_interpreters(pool: InterpreterPoolExecutor) -> None:
    before = pool.statistics().lanes
    found = dask.compute(*[delayed(interpreter)(dask_key_name=f"k{n}") for n in range(6)])
    assert 0 not in found
    after = pool.statistics().lanes
    assert after["interpreter"] > before["interpreter"]
    assert after["process"] == before["process"]  # dask's own objects load there


def test_it_may_be_named_at_the_call(pool: InterpreterPoolExecutor, configured: str) -> None:
    with dask.config.set(scheduler="synchronous", pool=None):
        calls = [delayed(interpreter)(dask_key_name=f"c{n}") for n in range(4)]
        assert 0 not in dask.compute(*calls, scheduler=pool)
        assert calls[0].compute(scheduler="synchronous") == 0


def test_a_bag() -> None:
    bag = bags.from_sequence(range(1_000), npartitions=7)
    offset = 3
    assert bag.map(lambda n: n + offset).filter(lambda n: n % 2).sum().compute() == 251_000
    assert dict(bag.map(lambda n: n % 3).frequencies().compute()) == {0: 334, 1: 333, 2: 333}
    assert dict(bag.foldby(lambda n: n % 2, add, 0).compute()) == {0: 249_500, 1: 250_000}
    groups = bag.groupby(lambda n: n % 5, shuffle="tasks").map(lambda it: (it[0], len(it[1])))
    assert sorted(groups.compute()) == [(n, 200) for n in range(5)]
    assert bag.map(Holder).map(lambda it: it.first).take(3) == (0, 1, 2)


def test_a_class_of_the_script_goes_from_task_to_task() -> None:
    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    made = [delayed(Local)(n) for n in range(5)]
    found = delayed(lambda all_: [it.n for it in all_])(made).compute()
    assert found == [0, 1, 2, 3, 4]
    assert type(made[0].compute()) is Local


@pytest.mark.parametrize("chunksize", [1, 3])
def test_tasks_may_travel_together(chunksize: int) -> None:
    with dask.config.set(chunksize=chunksize):
        found = dask.compute(*[delayed(add)(n, 1) for n in range(20)])
    assert found == tuple(range(1, 21))


def test_an_exception_comes_as_itself(pool: InterpreterPoolExecutor) -> None:
    calls = [delayed(fail_at_seven)(n) for n in range(10)]
    with pytest.raises(ValueError, match=r"^seven$") as caught:
        dask.compute(*calls)
    assert "in fail_at_seven" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ZeroDivisionError):
        bags.from_sequence([1, 0], npartitions=2).map(lambda n: divide(1, n)).compute()
    assert pool.submit(abs, -1).result() == 1


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(TransferError, match="lock"):
        delayed(identity)(delayed(threading.Lock)()).compute()


def compute_inside() -> int:
    import dask

    offset = 10
    inner = [dask.delayed(lambda n: n + offset)(n) for n in range(3)]
    return sum(dask.compute(*inner, scheduler="synchronous"))


def test_a_graph_in_a_task_is_computed_there() -> None:
    assert dask.compute(*[delayed(compute_inside)() for _ in range(2)]) == (33, 33)


def test_callbacks_are_called_here() -> None:
    callbacks = pytest.importorskip("dask.callbacks")
    seen: list[str] = []
    with callbacks.Callback(posttask=lambda key, *_: seen.append(key)):
        delayed(identity)(5, dask_key_name="five").compute()
    assert seen == ["five"]
