"""`interpool.aio`, on asyncio, uvloop and trio: calls, streams, and whatever ends them early."""

import asyncio
import concurrent.futures
import contextlib
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import gc
import importlib
import importlib.util
import inspect
import os
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

import interpool
from aio_tasks import fail_or_spin, pass_if_first, pass_list, spin, spin_unless_first, swallow
from interpool import (
    InterpreterPoolExecutor,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    TransferError,
    _options,
)
from interpool import aio as aio_by_attribute
from interpool.aio import Pool, Results, _calls, _feeds, _loops
from support import PATIENCE, Gate, add, arrive_and_pass, divide, identity, run_program

type Run = Callable[[Callable[[], Awaitable[None]]], None]

BACKENDS: dict[str, tuple[str, dict[str, bool]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


with contextlib.suppress(ImportError):
    # The first loop leaves a pipe of libuv's open, which all loops share.
    importlib.import_module("uvloop").new_event_loop().close()


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on each event loop that is installed, within bounds."""
    pytest.importorskip(request.param)
    backend, options = BACKENDS[request.param]

    def run_it(main: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await main()

        anyio.run(bounded, backend=backend, backend_options=options)

    return run_it


async def hear(gate: Gate, arrivals: int = 1) -> None:
    """Wait for arrivals without keeping the loop."""
    for _ in range(arrivals):
        await anyio.wait_readable(gate.exit)
        os.read(gate.exit, 1)


# --- calls ----------------------------------------------------------------------------------------


def test_a_call_returns_what_its_task_returns(run: Run) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            assert await pool.run(pow, 7, exp=2, mod=10) == 9
            offset = 5
            assert await pool.run(lambda n: n + offset, 1) == 6

    run(main)


def test_a_call_raises_what_its_task_raises(run: Run) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            with pytest.raises(ZeroDivisionError) as caught:
                await pool.run(divide, 1, 0)
            assert "in divide" in str(caught.value.__cause__)
            with pytest.raises(TransferError, match="argument 1 of identity"):
                await pool.run(identity, threading.Lock())
            with pytest.raises(TypeError, match="not callable"):
                await pool.run(3)  # type: ignore[arg-type]

    run(main)


def test_a_thousand_calls_at_once_all_return(run: Run) -> None:
    async def main() -> None:
        found = []

        async def one(number: int) -> None:
            found.append(await pool.run(add, number, 1))

        async with Pool(2) as pool, anyio.create_task_group() as group:
            for number in range(1_000):
                group.start_soon(one, number)
        assert sorted(found) == [*range(1, 1_001)]

    run(main)


def test_what_arrives_together_wakes_the_loop_once_and_is_dealt_with_in_turns() -> None:
    async def main() -> None:
        loop = _loops.current()
        assert _loops.current() is loop
        arrived: list[int] = []
        woken = []
        soon = loop.soon
        loop.soon = lambda action: (woken.append(1), soon(action))  # type: ignore[method-assign,assignment,func-returns-value]
        most = _loops._TOGETHER
        for number in range(most + 1):
            loop.post(lambda number=number: arrived.append(number))  # type: ignore[misc]
        assert len(woken) == 1
        await asyncio.sleep(0)
        assert arrived == [*range(most)]
        await asyncio.sleep(0)
        assert arrived == [*range(most + 1)]

    asyncio.run(main())


def test_without_an_event_loop_there_is_none_to_wait_in() -> None:
    executor = InterpreterPoolExecutor(1)
    calling = Pool.of(executor).run(add, 1, 2)
    with pytest.raises(RuntimeError, match="no running event loop"):
        calling.send(None)
    executor.shutdown()
    assert executor.statistics().tasks.done == 0


# --- cancelling -----------------------------------------------------------------------------------


def test_cancelling_stops_a_busy_loop_and_its_worker_serves_the_next(
    run: Run, arrivals: Gate
) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.run, spin, arrivals.entry)
                await hear(arrivals)
                group.cancel_scope.cancel()
            tasks = pool.statistics().tasks
            assert (tasks.interrupted, tasks.running) == (1, 0)
            assert await pool.run(add, 1, 2) == 3
            assert pool.statistics().workers.started == 1

    run(main)


def test_a_call_that_waits_for_a_worker_never_begins(run: Run, arrivals: Gate, gate: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.run, arrive_and_pass, arrivals.entry, gate.exit, 1)
            await hear(arrivals)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await pool.run(spin, arrivals.entry)
            assert scope.cancelled_caught
            assert pool.statistics().tasks.interrupted == 1
            gate.open()

    run(main)


def test_what_does_not_stop_is_abandoned_when_its_grace_is_over(
    run: Run, arrivals: Gate, gate: Gate
) -> None:
    async def main() -> None:
        async with Pool(1, grace=0.01) as pool:
            async with anyio.create_task_group() as group:
                group.start_soon(pool.run, swallow, arrivals.entry, gate.exit)
                await hear(arrivals)
                group.cancel_scope.cancel()
            assert pool.statistics().workers.abandoned == 1
            assert await pool.run(add, 1, 2) == 3
            gate.open()

    with warnings.catch_warnings(record=True):
        run(main)


def test_a_second_cancel_does_not_end_the_wait_and_does_not_hang(
    arrivals: Gate, gate: Gate
) -> None:
    async def main() -> None:
        async with Pool(1, grace=PATIENCE) as pool:
            task = asyncio.create_task(pool.run(swallow, arrivals.entry, gate.exit))
            await hear(arrivals)
            task.cancel()
            await hear(arrivals)  # it has met the interrupt, and goes on
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            gate.open()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelling() == 2
            assert pool.statistics().workers.abandoned == 0

    asyncio.run(main())


def test_timeouts_of_asyncio_stop_the_task_however_they_are_nested(arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(PATIENCE), asyncio.timeout(0.05):
                    await pool.run(spin, arrivals.entry)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.run(spin, arrivals.entry), 0.05)
            assert pool.statistics().tasks.running == 0
            current = asyncio.current_task()
            assert current is not None
            assert current.cancelling() == 0

    asyncio.run(main())


def test_a_task_group_that_fails_stops_the_tasks_of_the_others(arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - it is the group's end
                async with asyncio.TaskGroup() as group:
                    group.create_task(pool.run(spin, arrivals.entry))
                    await hear(arrivals)
                    group.create_task(pool.run(divide, 1, 0))
            assert caught.group_contains(ZeroDivisionError)
            assert pool.statistics().tasks.running == 0

    asyncio.run(main())


def test_somebody_elses_interrupt_is_an_error_and_no_cancellation(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool, anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(TaskInterrupted):
                    await pool.run(spin, arrivals.entry)

            group.start_soon(call)
            await hear(arrivals)
            pool.terminate_workers()

    run(main)


def test_what_waits_when_the_pool_is_terminated_raises_the_error_of_futures(
    arrivals: Gate,
) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            first = asyncio.create_task(pool.run(spin, arrivals.entry))
            await hear(arrivals)
            second = asyncio.create_task(pool.run(add, 1, 2))
            await asyncio.sleep(0)
            pool.terminate_workers()
            with pytest.raises(concurrent.futures.CancelledError):
                await second
            with pytest.raises(TaskInterrupted):
                await first

    asyncio.run(main())


def test_a_coroutine_that_is_dropped_has_its_task_stopped(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            calling = pool.run(spin, arrivals.entry)
            calling.send(None)
            await hear(arrivals)
            calling.close()
        assert pool.statistics().tasks.interrupted == 1  # or it would not have ended

    run(main)


def test_a_loop_that_was_closed_is_none_of_the_pools_business(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1) as executor:
        loop = asyncio.new_event_loop()
        complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        pool = Pool.of(executor)
        task = loop.create_task(pool.run(arrive_and_pass, arrivals.entry, gate.exit, 1))
        loop.run_until_complete(hear(arrivals))
        loop.close()
        gate.open()
        executor.submit(abs, 1).result(PATIENCE)  # behind it: its result has come, to nobody
        assert executor.statistics().tasks.done == 2
        del task
        gc.collect()
        assert [it["message"] for it in complaints] == ["Task was destroyed but it is pending!"]


# --- where arguments are encoded ------------------------------------------------------------------


def where() -> str:
    return threading.current_thread().name


class Encoded:
    """Says where it was pickled, and waits there for an event if there is one."""

    threads: list[str] = []  # noqa: RUF012 - the test's
    begun: Gate | None = None
    going_on = threading.Event()

    def __reduce__(self) -> Any:
        self.threads.append(where())
        if self.begun is not None:
            self.begun.open()
            assert self.going_on.wait(PATIENCE)
        return int, ()


@pytest.fixture
def encoded() -> Iterator[type[Encoded]]:
    Encoded.threads.clear()
    yield Encoded
    Encoded.begun = None
    Encoded.going_on.clear()


def test_small_arguments_are_encoded_in_the_loop_and_large_ones_beside_it(
    run: Run, encoded: type[Encoded]
) -> None:
    async def main() -> None:
        async with Pool(1, "here") as pool:
            await pool.run(identity, encoded())
            await pool.run(len, [encoded(), *range(_calls._MANY)])
        assert encoded.threads[0] == where()
        assert set(encoded.threads[1:]) == {"here_encoder_0"}

    run(main)


@pytest.mark.parametrize("large", [bytearray(_calls._LARGE), [0] * _calls._MANY])
def test_buffers_that_are_copied_and_long_containers_are_large(large: Any) -> None:
    encoder = _calls.Encoder("x")
    assert encoder.is_long(len, (large,), {})
    assert encoder.is_long(len, (), {"it": large})
    assert not encoder.is_long(len, (bytes(_calls._LARGE), large[:1]), {})


def test_a_buffer_that_is_closed_is_refused_as_it_is_elsewhere(run: Run) -> None:
    async def main() -> None:
        view = memoryview(bytearray(_calls._LARGE))
        view.release()
        async with Pool(1) as pool:
            with pytest.raises(TransferError):
                await pool.run(len, view)

    run(main)


def test_a_function_whose_arguments_took_long_has_them_encoded_beside_until_they_do_not(
    monkeypatch: pytest.MonkeyPatch, encoded: type[Encoded]
) -> None:
    async def main() -> None:
        async with Pool(1, "here") as pool:
            monkeypatch.setattr(_calls, "LONG", -1.0)  # as if it took long
            await pool.run(identity, encoded())
            monkeypatch.setattr(_calls, "LONG", PATIENCE)
            await pool.run(identity, encoded())
            await pool.run(identity, encoded())
        names = [name == "here_encoder_0" for name in encoded.threads]
        assert (names[0], names[-1]) == (False, False)
        assert True in names

    asyncio.run(main())


def test_cancelling_while_arguments_are_encoded_waits_for_that_and_stops_the_task(
    run: Run, encoded: type[Encoded], arrivals: Gate
) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            with Gate() as gate:
                async with anyio.create_task_group() as group:
                    encoded.begun = arrivals
                    items = [encoded(), *range(_calls._MANY)]
                    group.start_soon(pool.run, pass_list, items, gate.exit)
                    await hear(arrivals)
                    group.cancel_scope.cancel()
                    encoded.going_on.set()
                tasks = pool.statistics().tasks
                assert (tasks.done, tasks.running, tasks.waiting) == (0, 0, 0)

    run(main)


# --- streams --------------------------------------------------------------------------------------


async def collect(results: Results[Any], found: list[Any]) -> None:
    async for it in results:
        found.append(it)  # noqa: PERF401 - what came before an error is wanted


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("sizes", [{}, {"chunksize": 7}, {"buffersize": 3}, {"buffersize": 50}])
def test_a_map_gives_results_in_order(run: Run, sizes: dict[str, int]) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            results = pool.map(add, range(300), range(1_000), **sizes)
            assert [it async for it in results] == [*range(0, 600, 2)]
            mixed = pool.map(add, numbers(200), range(300), **sizes)
            assert [it async for it in mixed] == [*range(0, 400, 2)]
            unordered = pool.map_unordered(add, numbers(200), numbers(300), **sizes)
            assert sorted([it async for it in unordered]) == [*range(0, 400, 2)]
            assert [it async for it in pool.map(add, [], [1])] == []

    run(main)


@pytest.mark.parametrize("sizes", [{}, {"buffersize": 3}])
def test_a_map_in_threads_is_the_same(run: Run, sizes: dict[str, int]) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            threads = pool.options(lane="thread")
            assert [it async for it in threads.map(add, range(99), range(99), **sizes)] == [
                *range(0, 198, 2)
            ]
            found = [it async for it in threads.map_unordered(identity, numbers(99), **sizes)]
            assert sorted(found) == [*range(99)]
            with pytest.raises(ZeroDivisionError):
                [it async for it in threads.map(divide, [1, 1, 1], [1, 0, 1], **sizes)]
            async for number in threads.map_unordered(identity, range(1_000_000)):
                if number > 100:
                    break

    run(main)


def counted(taken: list[int]) -> Iterator[int]:
    for number in range(1_000_000):
        taken.append(number)
        yield number


async def counted_async(taken: list[int]) -> AsyncIterator[int]:
    for number in counted(taken):
        yield number


@pytest.mark.parametrize("source", [counted, counted_async])
@pytest.mark.parametrize("buffersize", [1, 4, 32])
def test_items_are_taken_no_faster_than_results(run: Run, source: Any, buffersize: int) -> None:
    async def main() -> None:
        taken: list[int] = []
        async with Pool(2) as pool:
            results = pool.map(identity, source(taken), buffersize=buffersize)
            assert not taken
            for given in range(100):
                assert await anext(results) == given
                await anyio.lowlevel.checkpoint()
                assert len(taken) <= given + 1 + buffersize
            await results.aclose()
            left = len(taken)
            await anyio.lowlevel.checkpoint()
            assert len(taken) == left

    run(main)


@pytest.mark.parametrize("source", [counted, counted_async])
def test_without_a_buffersize_there_is_a_bound_too(run: Run, source: Any) -> None:
    async def main() -> None:
        taken: list[int] = []
        async with Pool(2) as pool:
            results = pool.map_unordered(identity, source(taken))
            for given in range(2_000):
                await anext(results)
                assert len(taken) <= given + 1 + 10_000
            await results.aclose()

    run(main)


def test_results_do_not_wait_for_the_next_item(run: Run) -> None:
    async def main() -> None:
        has_come = anyio.Event()

        async def source() -> AsyncIterator[int]:
            yield 1
            await has_come.wait()
            yield 2

        async with Pool(2) as pool:
            found = []
            async for it in pool.map(identity, source()):
                found.append(it)
                has_come.set()
            assert found == [1, 2]

    run(main)


def test_unordered_results_come_as_they_come(run: Run, gate: Gate) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            found = []
            async for it in pool.map_unordered(
                pass_if_first, range(3), [gate.exit] * 3, chunksize=1
            ):
                found.append(it)
                if len(found) == 2:
                    gate.open()
            assert sorted(found[:2]) == [1, 2]
            assert found[2] == 0

    run(main)


def test_break_stops_what_runs_and_the_rest_never_begins(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            ends = [arrivals.entry] * 100
            async for it in pool.map(spin_unless_first, range(100), ends, chunksize=1):
                assert it == 0
                await hear(arrivals)  # at least one of the others runs
                break
        assert pool.statistics().tasks.running == 0  # or the pool would not have ended

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_closing_returns_when_what_ran_has_stopped(
    run: Run, arrivals: Gate, is_async: bool
) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            ends = [arrivals.entry] * 100
            source: Any = numbers(100) if is_async else range(100)
            results = pool.map(spin_unless_first, source, ends, chunksize=1)
            async with contextlib.aclosing(results):
                assert await anext(results) == 0
                await hear(arrivals)
            tasks = pool.statistics().tasks
            assert (tasks.running, tasks.waiting) == (0, 0)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            assert await pool.run(add, 1, 2) == 3

    run(main)


def test_a_map_whose_wait_is_cancelled_is_stopped_first(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(2) as pool:

            async def consume() -> None:
                async for _ in pool.map(spin, [arrivals.entry] * 9, chunksize=1):
                    raise AssertionError

            async with anyio.create_task_group() as group:
                group.start_soon(consume)
                await hear(arrivals)
                group.cancel_scope.cancel()
            tasks = pool.statistics().tasks
            assert (tasks.running, tasks.waiting, tasks.done) == (0, 0, 0)

    run(main)


def test_an_items_error_comes_in_its_turn_and_stops_the_rest(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(2) as pool:
            found: list[float] = []
            with pytest.raises(ZeroDivisionError):
                await collect(pool.map(divide, [4, 4, 4], [1, 2, 0]), found)
            assert found == [4, 2]
            with pytest.raises(TransferError):
                [it async for it in pool.map(identity, [1, threading.Lock(), 3])]
            results = pool.map(fail_or_spin, range(9), [arrivals.entry] * 9, chunksize=1)
            with pytest.raises(ValueError, match="the first"):
                await anext(results)
            assert pool.statistics().tasks.running == 0

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_iterables_error_comes_behind_the_results_before_it(run: Run, is_async: bool) -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("no third")

    async def failing_async() -> AsyncIterator[int]:
        for it in failing():
            yield it

    async def main() -> None:
        async with Pool(2) as pool:
            found: list[int] = []
            source: Any = failing_async() if is_async else failing()
            with pytest.raises(LookupError, match="no third"):
                await collect(pool.map(identity, source), found)
            assert found == [1, 2]

    run(main)


def sources(items: list[Any]) -> list[Any]:
    async def asynchronous() -> AsyncIterator[Any]:
        for it in items:
            yield it

    return [items, asynchronous()]


def test_an_asynchronous_source_has_the_context_of_who_takes_the_results(run: Run) -> None:
    who: ContextVar[str] = ContextVar("who")

    async def source() -> AsyncIterator[str]:
        yield who.get()

    async def main() -> None:
        who.set("me")
        async with Pool(1) as pool:
            assert [it async for it in pool.map(identity, source())] == ["me"]

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_large_items_are_encoded_beside_the_loop_and_stay_in_order(
    run: Run, is_async: bool, encoded: type[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_feeds, "LONG", PATIENCE)  # nothing takes that long
    sizes = [0, _calls._MANY, _calls._MANY, 0, 0, _calls._MANY, 0]
    items = [[encoded(), *range(size)] for size in sizes]

    async def main() -> None:
        async with Pool(2, "here") as pool:
            results = pool.map(len, sources(items)[is_async], chunksize=1)
            assert [it async for it in results] == [1 + size for size in sizes]
        assert encoded.threads == ["here_encoder_0" if size else where() for size in sizes]

    run(main)


def test_items_of_a_kind_that_takes_long_are_encoded_beside_the_loop(
    run: Run, encoded: type[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_feeds, "LONG", -1.0)  # as if all did

    async def main() -> None:
        async with Pool(2, "here") as pool:
            assert [it async for it in pool.map(identity, [encoded() for _ in range(9)])] == [0] * 9
        assert encoded.threads == ["here_encoder_0"] * 9

    run(main)


def test_fewer_items_go_together_if_encoding_them_takes_long() -> None:
    with InterpreterPoolExecutor(1) as executor:
        view, sizes = executor.options(), _options.Sizes(None, None, is_ordered=True)
        list(executor.map(abs, range(1_000)))  # it is known that many are worth it
        feed = _feeds.feed_of(view, abs, sizes)
        assert isinstance(feed, _feeds._Lot)
        assert feed.batch > 2
        feed._pace = _calls.LONG / 2
        assert feed.batch == 2
        feed._pace = 2 * _calls.LONG
        assert feed.batch == 1
        assert feed.is_long([(1,)])


@pytest.mark.parametrize("is_async", [False, True])
def test_cancelling_while_an_item_is_encoded_waits_for_that(
    run: Run, is_async: bool, encoded: type[Encoded], arrivals: Gate
) -> None:
    async def main() -> None:
        found: list[Any] = []
        async with Pool(1) as pool:
            async with anyio.create_task_group() as group:
                encoded.begun = arrivals
                items = [[encoded(), *range(_calls._MANY)] for _ in range(2)]
                group.start_soon(collect, pool.map(len, sources(items)[is_async]), found)
                await hear(arrivals)
                group.cancel_scope.cancel()
                encoded.going_on.set()
            tasks = pool.statistics().tasks
            assert (tasks.done, tasks.running, tasks.waiting) == (0, 0, 0)
        assert (found, len(encoded.threads)) == ([], 1)

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_pool_that_ends_while_an_item_is_encoded_ends_the_map(
    run: Run, is_async: bool, encoded: type[Encoded], arrivals: Gate
) -> None:
    async def main() -> None:
        found: list[Any] = []
        async with Pool(1) as pool, anyio.create_task_group() as group:

            async def collect_until_it_fails() -> None:
                items = [[encoded(), *range(_calls._MANY)] for _ in range(2)]
                with pytest.raises(RuntimeError, match=r"shut ?down|terminated"):
                    await collect(pool.map(len, sources(items)[is_async]), found)

            encoded.begun = arrivals
            group.start_soon(collect_until_it_fails)
            await hear(arrivals)
            pool.terminate_workers()
            encoded.going_on.set()
        assert (found, len(encoded.threads)) == ([], 1)

    run(main)


def test_sizes_and_functions_that_make_no_sense_are_refused_at_once() -> None:
    pool = Pool(1)
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(abs, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize"):
        pool.map_unordered(abs, [1], buffersize=0)
    with pytest.raises(TypeError, match="not callable"):
        pool.map(3, [1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="grace"):
        pool.options(grace=-1)
    with pytest.raises(ValueError, match="grace"):
        Pool(grace=-1)


def test_only_one_task_may_wait_for_the_next_result(gate: Gate, arrivals: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            results = pool.map(arrive_and_pass, [arrivals.entry], [gate.exit], [1])
            first = asyncio.ensure_future(anext(results))
            await hear(arrivals)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(results)
            with pytest.raises(RuntimeError, match="another task"):
                await results.aclose()
            gate.open()
            assert await first == 1

    asyncio.run(main())


def test_a_map_that_was_never_begun_leaves_nothing() -> None:
    pool = Pool(1)
    results: Results[int] = pool.map(abs, [1])
    asyncio.run(results.aclose())
    del results
    assert pool.statistics().tasks.waiting == 0


def test_a_stream_lets_others_have_the_loop(run: Run) -> None:
    async def main() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await anyio.lowlevel.checkpoint()
                turns += 1

        async with Pool(2) as pool, anyio.create_task_group() as group:
            group.start_soon(count)
            assert len([it async for it in pool.map(identity, range(20_000))]) == 20_000
            group.cancel_scope.cancel()
        assert turns > 10

    run(main)


# --- the pool's end -------------------------------------------------------------------------------


def test_leaving_waits_for_what_others_run_and_keeps_no_loop(
    run: Run, arrivals: Gate, gate: Gate
) -> None:
    async def main() -> None:
        found = []
        pool = Pool(1)

        async def call() -> None:
            found.append(await pool.run(arrive_and_pass, arrivals.entry, gate.exit, 1))

        async def open_when_closed() -> None:
            while "shut down" not in repr(pool):
                await anyio.lowlevel.checkpoint()
            gate.open()

        async with anyio.create_task_group() as group, pool:
            group.start_soon(call)
            group.start_soon(open_when_closed)
            await hear(arrivals)
        assert found == [1]
        with pytest.raises(RuntimeError, match="after shutdown"):
            await pool.run(add, 1, 2)
        await pool.aclose()

    run(main)


def test_leaving_by_an_exception_stops_what_runs(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        async def call(pool: Pool) -> None:
            with pytest.raises(TaskInterrupted):
                await pool.run(spin, arrivals.entry)

        async with anyio.create_task_group() as group:
            with pytest.raises(KeyError):  # noqa: PT012 - it is the pool's end
                async with Pool(1) as pool:
                    group.start_soon(call, pool)
                    await hear(arrivals)
                    raise KeyError

    run(main)


def test_cancelling_the_wait_at_the_end_ends_the_pool_at_once(run: Run, arrivals: Gate) -> None:
    async def main() -> None:
        pool = Pool(1)
        future = pool.executor.submit(spin, arrivals.entry)
        await hear(arrivals)
        with anyio.move_on_after(0) as scope:
            await pool.aclose()
        assert scope.cancelled_caught
        assert isinstance(future.exception(0), TaskInterrupted)
        assert pool.statistics().workers.busy == 0

    run(main)


def test_a_pool_of_an_executor_leaves_it_as_it_is(run: Run) -> None:
    async def main() -> None:
        async with Pool.of(executor) as pool:
            assert pool.executor is executor
            assert await pool.run(add, 1, 2) == 3
        with pytest.raises(KeyError):
            async with Pool.of(executor, grace=2) as pool:
                raise KeyError
        assert executor.submit(add, 1, 2).result(PATIENCE) == 3

    with InterpreterPoolExecutor(1) as executor:
        run(main)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as other,
        pytest.raises(TypeError, match="InterpreterPoolExecutor"),
    ):
        Pool.of(other)  # type: ignore[arg-type]


def test_several_loops_in_several_threads_may_use_one_pool() -> None:
    async def main(pool: Pool) -> None:
        found = await asyncio.gather(*(pool.run(add, number, 1) for number in range(100)))
        assert found == [*range(1, 101)]
        assert [it async for it in pool.map(identity, range(100))] == [*range(100)]

    with (
        InterpreterPoolExecutor(2) as executor,
        concurrent.futures.ThreadPoolExecutor(4) as threads,
    ):
        pool = Pool.of(executor)
        for future in [threads.submit(asyncio.run, main(pool)) for _ in range(8)]:
            future.result(PATIENCE)


def test_a_pool_may_be_the_loops_own_executor() -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(pool.executor)
            assert await loop.run_in_executor(None, add, 1, 2) == 3
            with pytest.raises(
                TransferError, match=r"It is a context, as asyncio\.to_thread sends"
            ):
                await asyncio.to_thread(add, 1, 2)

    asyncio.run(main())


# --- options, and the package ---------------------------------------------------------------------


def test_views_have_terms_of_their_own(run: Run, arrivals: Gate, gate: Gate) -> None:
    async def main() -> None:
        async with Pool(1, timeout=PATIENCE, retries=1) as pool:
            pool.prewarm()
            with pytest.raises(TaskTimeout):
                await pool.options(timeout=0.05, retries=0).run(spin, arrivals.entry)
            view = pool.options(retries=Retry(2, delay=0), grace=2)
            with pytest.raises(ZeroDivisionError):
                await view.run(divide, 1, 0)
            assert pool.statistics().tasks.retried == 2
            assert view.options(lane="thread")._grace == 2
            assert await pool.options(lane="thread").run(where) != await pool.run(where)
            assert [it async for it in view.map(identity, range(5))] == [*range(5)]
            assert "timeout=60" in repr(view)

    run(main)


def test_a_pool_takes_what_the_executor_takes() -> None:
    ours = inspect.signature(Pool).parameters
    theirs = inspect.signature(InterpreterPoolExecutor).parameters
    assert {name: str(it) for name, it in ours.items() if name != "grace"} == {
        name: str(it) for name, it in theirs.items()
    }


def test_it_is_an_attribute_of_the_package_and_takes_neither_anyio_nor_trio() -> None:
    assert interpool.aio is aio_by_attribute
    done = run_program(
        "import asyncio, sys, interpool\n"
        "assert 'interpool.aio' not in sys.modules\n"
        "def spin():\n"
        "    while True: pass\n"
        "async def main():\n"
        "    async with interpool.aio.Pool(1) as pool:\n"
        "        print(await pool.run(pow, 2, 3))\n"
        "        try:\n"
        "            async with asyncio.timeout(0.01): await pool.run(spin)\n"
        "        except TimeoutError: print('in time')\n"
        "asyncio.run(main())\n"
        "print({'anyio', 'trio'} & set(sys.modules))"
    )
    assert (done.stdout, done.stderr) == ("8\nin time\nset()\n", "")


@pytest.mark.skipif(importlib.util.find_spec("trio") is None, reason="trio is not installed")
def test_trio_needs_no_anyio() -> None:
    done = run_program(
        "import sys, trio, interpool.aio\n"
        "async def main():\n"
        "    async with interpool.aio.Pool(1) as pool:\n"
        "        with trio.move_on_after(PATIENCE):\n"
        "            print([it async for it in pool.map(abs, range(-3, 0))])\n"
        "trio.run(main)\n"
        "print('anyio' in sys.modules)".replace("PATIENCE", str(PATIENCE))
    )
    assert (done.stdout, done.stderr) == ("[3, 2, 1]\nFalse\n", "")
