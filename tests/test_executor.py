"""The executor's own surface: options, on-demand start, threads that wait, asyncio."""

import asyncio
import gc
import signal
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest

from interpool import BrokenInterpreterPool, InterpreterPoolExecutor, TransferError, _cpu
from support import PATIENCE, Gate, add, arrive_and_pass, identity, interpreter, pass_through


def test_it_is_a_thread_pool_executor_with_none_of_its_state() -> None:
    pool = InterpreterPoolExecutor(3)
    assert isinstance(pool, ThreadPoolExecutor)
    assert set(vars(pool)) == {"_engine", "_max_workers", "_terms"}


def test_max_workers_defaults_to_the_cores_that_may_be_used() -> None:
    assert InterpreterPoolExecutor()._max_workers == _cpu.available_cores()


def test_fallback_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="fallback must be 'process' or 'error', not 'thread'"):
        InterpreterPoolExecutor(fallback="thread")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["json", [1], [b"json"]])
def test_preload_is_a_collection_of_names(wrong: Any) -> None:
    with pytest.raises(TypeError, match="preload must be a collection of module names"):
        InterpreterPoolExecutor(preload=wrong)


def test_preloaded_modules_are_there_before_the_first_task() -> None:
    def loaded() -> bool:
        import sys

        return "json" in sys.modules

    with InterpreterPoolExecutor(1, preload=["json"]) as pool:
        assert pool.submit(loaded).result()
    with InterpreterPoolExecutor(1) as pool:
        assert not pool.submit(loaded).result()


def test_a_module_that_cannot_be_preloaded_breaks_the_pool_and_is_named() -> None:
    with InterpreterPoolExecutor(1, preload=["no_such_module"]) as pool:
        future = pool.submit(identity, 1)
        with pytest.raises(BrokenInterpreterPool, match=r"preload=.*No module named 'no_such_mod"):
            future.result()
        with pytest.raises(BrokenInterpreterPool, match="no_such_module"):
            pool.submit(identity, 1)


def test_initargs_that_cannot_be_sent_are_refused_at_once() -> None:
    with pytest.raises(TransferError, match="argument 1 of identity"):
        InterpreterPoolExecutor(initializer=identity, initargs=(threading.Lock(),))


def test_what_an_initializer_returns_is_nobodys() -> None:
    def initialize() -> Any:
        return (n for n in "cannot be sent")

    with InterpreterPoolExecutor(1, initializer=initialize) as pool:
        assert pool.submit(identity, 1).result() == 1


def test_nothing_is_started_before_the_first_task() -> None:
    threads = threading.active_count()
    with InterpreterPoolExecutor(4):
        assert threading.active_count() == threads


def test_workers_are_as_many_as_unfinished_tasks(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(8) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None) for _ in range(3)]
        arrivals.wait(3)
        assert len(pool._engine.staff.workers) == 3
        gate.open(3)
        for future in futures:
            future.result()
        assert pool.submit(identity, 1).result() == 1
        assert len(pool._engine.staff.workers) == 3


def test_threads_are_named_after_the_prefix() -> None:
    with InterpreterPoolExecutor(1, thread_name_prefix="render") as pool:
        pool.submit(identity, 1).result()
        names = {thread.name for thread in threading.enumerate()}
    assert {"render_0", "render_collector"} <= names


@pytest.mark.parametrize("wrong", [5, None, "print(1)"])
def test_what_is_not_callable_is_refused_at_the_call(wrong: Any) -> None:
    with InterpreterPoolExecutor(1) as pool:
        with pytest.raises(TypeError, match=r"not callable|scripts not supported"):
            pool.submit(wrong)
        with pytest.raises(TypeError, match=r"not callable|scripts not supported"):
            pool.map(wrong, [1])


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError)])
def test_a_chunksize_that_makes_no_sense_is_refused(wrong: Any, error: type[Exception]) -> None:
    with InterpreterPoolExecutor(1) as pool, pytest.raises(error, match="chunksize must be"):
        pool.map(identity, [1], chunksize=wrong)


def test_shutdown_from_a_callback_ends(gate: Gate) -> None:
    done = threading.Event()
    pool = InterpreterPoolExecutor(2)

    def close(_: object) -> None:
        pool.shutdown(wait=True)
        done.set()

    future = pool.submit(pass_through, gate.exit, 1)
    future.add_done_callback(close)
    gate.open()
    assert done.wait(60)
    pool.shutdown()


def test_callbacks_that_wait_for_other_futures_do_not_keep_them_from_ending(
    gate: Gate, arrivals: Gate
) -> None:
    with InterpreterPoolExecutor(2) as pool:
        last = pool.submit(pass_through, gate.exit, "last")
        waited: list[Any] = []

        def wait_for_last(_: object) -> None:
            waited.append(last.result(PATIENCE))

        for n in range(4):
            waiting = pool.submit(pass_through, arrivals.exit, n)
            waiting.add_done_callback(wait_for_last)
        arrivals.open(4)
        assert pool.submit(identity, "meanwhile").result(PATIENCE) == "meanwhile"
        gate.open()
    assert waited == ["last"] * 4  # leaving waits for callbacks too


def test_callbacks_of_one_future_run_in_their_order(gate: Gate) -> None:
    called: list[int] = []
    with InterpreterPoolExecutor(4) as pool:
        future = pool.submit(pass_through, gate.exit, None)
        for n in range(50):
            future.add_done_callback(lambda _, n=n: called.append(n))  # type: ignore[misc]
        gate.open()
    assert called == list(range(50))


def test_a_future_keeps_no_result_that_its_user_let_go() -> None:
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(set, [1])
        kept = weakref.ref(future.result())
        del future
        pool.submit(identity, 1).result()
        gc.collect()
        assert kept() is None


def test_a_callback_that_exits_keeps_no_other_future_waiting(gate: Gate, arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(1)
    running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    waiting = [pool.submit(identity, n) for n in range(4)]
    called = [threading.Event() for _ in range(4)]
    waiting[0].add_done_callback(lambda _: sys.exit("the callback's own affair"))
    for future, event in zip(waiting, called, strict=True):
        future.add_done_callback(lambda _, event=event: event.set())  # type: ignore[misc]
    with pytest.raises(SystemExit):
        pool.shutdown(wait=False, cancel_futures=True)
    assert all(event.wait(PATIENCE) for event in called[1:])
    assert all(future.cancelled() for future in waiting)
    gate.open()
    assert running.result(PATIENCE) == 1
    pool.shutdown()


def test_ctrl_c_in_the_callback_of_a_cancelled_future(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        waiting = pool.submit(identity, 2)
        came: list[BaseException] = []

        def block(_: object) -> None:
            try:
                signal.raise_signal(signal.SIGINT)
                came.append(AssertionError("Ctrl-C had no effect in here"))
            except KeyboardInterrupt as error:
                came.append(error)
                raise

        waiting.add_done_callback(block)
        with pytest.raises(KeyboardInterrupt):
            waiting.cancel()
        assert [type(error) for error in came] == [KeyboardInterrupt]
        assert list(as_completed([waiting], PATIENCE)) == [waiting]
        gate.open()
        assert running.result(PATIENCE) == 1


def test_callbacks_behind_one_that_exits_are_called(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(pass_through, gate.exit, 1)
        called = threading.Event()
        future.add_done_callback(lambda _: sys.exit("the callback's own affair"))
        future.add_done_callback(lambda _: called.set())
        gate.open()
        assert called.wait(PATIENCE)
    assert "the callback's own affair" in caplog.text


def test_a_future_with_callbacks_needs_no_collection_to_go() -> None:
    gc.disable()
    try:
        with InterpreterPoolExecutor(1) as pool:
            called = threading.Event()
            future = pool.submit(identity, 1)
            future.add_done_callback(lambda _: called.set())
            assert called.wait(PATIENCE)
            kept = weakref.ref(future)
            del future
            pool.submit(identity, 2).result()
        assert kept() is None
    finally:
        gc.enable()


def test_a_callback_runs_though_no_thread_can_be_had_for_it(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if "_callbacks" in thread.name:
            raise RuntimeError("can't start new thread")
        start(thread)

    called: list[object] = []
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(pass_through, gate.exit, 1)
        future.add_done_callback(called.append)
        monkeypatch.setattr(threading.Thread, "start", fail)
        gate.open()
    assert called == [future]


def test_asyncio_runs_functions_in_it() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        with InterpreterPoolExecutor(2) as pool:
            calls = [loop.run_in_executor(pool, add, 1, n) for n in range(20)]
            return list(await asyncio.gather(*calls))

    assert asyncio.run(main()) == [1 + n for n in range(20)]


def test_asyncio_takes_it_as_the_default_executor() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(InterpreterPoolExecutor(1))
        return await loop.run_in_executor(None, interpreter)

    assert asyncio.run(main()) != interpreter()


def test_cancelling_an_await_cancels_what_has_not_begun(gate: Gate, arrivals: Gate) -> None:
    async def main(pool: InterpreterPoolExecutor) -> bool:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(pool, arrive_and_pass, arrivals.entry, gate.exit, "ran")
        waiting = loop.run_in_executor(pool, identity, 1)
        await asyncio.to_thread(arrivals.wait)
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.open()
        assert await running == "ran"
        return waiting.cancelled()

    with InterpreterPoolExecutor(1) as pool:
        assert asyncio.run(main(pool))


def test_a_pool_in_a_worker(gate: Gate) -> None:
    def nested(n: int) -> Any:
        from interpool import InterpreterPoolExecutor

        with InterpreterPoolExecutor(2) as inner:
            return list(inner.map(abs, range(-n, 0)))

    def forgotten() -> Any:
        from interpool import InterpreterPoolExecutor

        return InterpreterPoolExecutor(1).submit(abs, -1).result()

    with InterpreterPoolExecutor(2) as pool:
        assert pool.submit(nested, 3).result() == [3, 2, 1]
        assert pool.submit(forgotten).result() == 1


# --- Starting workers ----------------------------------------------------------------------------


def test_prewarm_starts_workers_before_there_are_tasks(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(3) as pool:
        pool.prewarm(2)
        assert len(pool._engine.staff.workers) >= 1
        pool.prewarm()
        pool.prewarm(1)  # never fewer
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(3)]
        arrivals.wait(3)
        gate.open(3)
        assert [future.result() for future in futures] == [0, 1, 2]
        assert len(pool._engine.staff.workers) == 3
    assert pool._engine.staff.workers == {}


def test_prewarm_needs_no_task_and_starts_no_more_than_there_may_be() -> None:
    pool = InterpreterPoolExecutor(2)
    pool.prewarm(100)
    pool.shutdown()
    assert pool._engine.staff.hired <= 2


@pytest.mark.parametrize(
    ("wrong", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError)]
)
def test_prewarm_refuses_what_is_no_number_of_workers(wrong: Any, error: type[Exception]) -> None:
    with InterpreterPoolExecutor(1) as pool, pytest.raises(error, match=r"\bn must be"):
        pool.prewarm(wrong)


def test_prewarm_after_shutdown_is_refused() -> None:
    pool = InterpreterPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.prewarm()


def test_short_tasks_start_no_more_workers_than_make_sense(gate: Gate) -> None:
    # As many start at once as there are cores; the others only if tasks still wait then.
    cores = _cpu.available_cores()
    with InterpreterPoolExecutor(4 * cores) as pool:
        futures = [pool.submit(identity, n) for n in range(4 * cores)]
        assert len(pool._engine.staff.workers) == cores
        assert [future.result(PATIENCE) for future in futures] == list(range(4 * cores))
