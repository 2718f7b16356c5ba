"""A pool of interpreters for event loops: asyncio, uvloop, trio, and anyio on either.

async with interpool.aio.Pool() as pool:
    print(await pool.run(pow, 2, 10))
    async for square in pool.map(lambda n: n * n, range(10)):
        print(square)

The loop is never made to wait for a worker. A task of the loop that is cancelled, by whatever
means, has its worker's task interrupted, and goes on when that has stopped.
"""

import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from interpool import _options, _threads
from interpool._executor import InterpreterPoolExecutor
from interpool._options import UNCHANGED, Sizes, Unchanged
from interpool._statistics import Statistics
from interpool._stops import GRACE
from interpool._terms import Lane, Retry, checked_seconds
from interpool.aio import _loops
from interpool.aio._calls import Encoder, call
from interpool.aio._feeds import feed_of
from interpool.aio._streams import Results, Stream

if TYPE_CHECKING:
    from interpool._trace import Trace

__all__ = ["Options", "Pool", "Results"]

type Source = Iterable[Any] | AsyncIterable[Any]


class Options:
    """A view of a pool whose calls have their own terms: see `Pool.options`.

    .. versionadded:: 0.1
    """

    def __init__(self, options: _options.Options, grace: float, encoder: Encoder) -> None:
        self._options = options
        self._grace = checked_seconds(grace, "grace")
        self._encoder = encoder

    async def run[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args, **kwargs)` in a worker and return its result.

        If the waiting task is cancelled, by `cancel`, a timeout or its task group, what the worker
        does is interrupted as `Future.interrupt` does it, and the cancellation goes on when that
        has stopped, or was abandoned after its time of grace. Cancelling it again meanwhile changes
        nothing.

        Args:
            fn: what to call, as for `InterpreterPoolExecutor.submit`.
            *args: its positional arguments. They are encoded in the loop's thread, which for small
                ones takes some 10 microseconds; for large ones, and for functions whose arguments
                have taken long before, in a thread beside it.
            **kwargs: its keyword arguments.

        Returns:
            What the task returned.

        Raises:
            Exception: what the task raised; what `submit` and `result` raise besides.
            concurrent.futures.CancelledError: if the pool has ended first. (asyncio's is another.)

        Thread-safety: may be called in any thread with an event loop, in several at once.
        """
        found: T = await call(self._options, fn, args, kwargs, self._grace, self._encoder)
        return found

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Source,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Results[T]:
        """Return an asynchronous iterator of `fn(*args)` for the zipped items, in order.

        Items are taken when results are taken, a few pieces ahead of them for each worker.

        Args:
            fn: what to call; it takes as many arguments as there are iterables. It is described
                once, as it is at this call.
            *iterables: where the arguments come from, asynchronous or not; the shortest ends it.
                Those that are not asynchronous are asked in the loop's thread; asynchronous
                generators are closed at the end.
            chunksize: items sent to a worker together. None sends as many together as take some
                two milliseconds by what was measured, and fewer while they are few.
            buffersize: the most items that were taken and whose results were not. None goes by what
                an item takes: some for each worker, 10,000 at the most.

        Returns:
            An iterator. It raises an item's exception when that item is reached, an iterable's
            behind the results of the items before; either ends it. When it ends early, by an
            exception, by `break`, by `aclose` or because the task is cancelled, what runs is
            interrupted, and the rest is never begun.

        Raises:
            TypeError, ValueError: for a size that makes no sense, or an `fn` that is not callable.
            TransferError: if the function cannot be sent. An item that cannot be raises it from the
                iterator, in its turn.
            BrokenInterpreterPool, RuntimeError: if the pool takes no more tasks.
        """
        return self._map(fn, iterables, Sizes(chunksize, buffersize, is_ordered=True))

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Source,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Results[T]:
        """Return an asynchronous iterator of `fn(*args)` for the zipped items, as they come.

        What `map` says holds, but for the order: a result waits for no other one, except those that
        travel with it.
        """
        return self._map(fn, iterables, Sizes(chunksize, buffersize, is_ordered=False))

    def _map(
        self, fn: Callable[..., Any], iterables: tuple[Source, ...], sizes: Sizes
    ) -> Results[Any]:
        return Results(Stream(feed_of(self._options, fn, sizes), iterables, self._grace))

    def options(
        self,
        *,
        timeout: float | Unchanged | None = UNCHANGED,
        retries: int | Retry | Unchanged = UNCHANGED,
        lane: Lane | Unchanged = UNCHANGED,
        grace: float | Unchanged = UNCHANGED,
    ) -> Options:
        """Return a view whose `run` and `map` have other terms.

        Args:
            timeout: seconds that a task may run, as `InterpreterPoolExecutor.options` has it.
            retries: how often it is run again.
            lane: where it runs.
            grace: seconds that a task has to stop when whoever waits for it is cancelled.

        Raises:
            TypeError, ValueError: for an option that makes no sense.
        """
        view = self._options.options(timeout=timeout, retries=retries, lane=lane)
        seconds = self._grace if isinstance(grace, Unchanged) else grace
        return Options(view, seconds, self._encoder)

    def __repr__(self) -> str:
        """What differs from what is usual."""
        return f"<aio {self._options!r}>"


class Pool(Options):
    """A pool of interpreters whose results are awaited.

    `async with` waits at its end until all is done, and lets the loop do other things meanwhile.
    Left by an exception, or cancelled, it ends the pool at once, as `terminate_workers` does.

    Args:
        max_workers: as the other arguments but `grace`, that of `InterpreterPoolExecutor`.
        thread_name_prefix: likewise.
        initializer: likewise.
        initargs: likewise.
        fallback: likewise.
        timeout: likewise.
        retries: likewise.
        max_tasks_per_worker: likewise.
        preload: likewise.
        shared: likewise.
        idle_timeout: likewise.
        min_workers: likewise.
        grace: seconds that a task has to stop when whoever waits for it is cancelled, before its
            worker is abandoned.

    Raises:
        TypeError, ValueError, TransferError: as `InterpreterPoolExecutor` does.

    Thread-safety: one pool may be used in the event loops of several threads.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        fallback: Literal["process", "error"] = "process",
        timeout: float | None = None,
        retries: int | Retry = 0,
        max_tasks_per_worker: int | None = None,
        preload: Iterable[str] = (),
        shared: Mapping[str, Any] | None = None,
        idle_timeout: float | None = None,
        min_workers: int = 1,
        grace: float = GRACE,
    ) -> None:
        checked_seconds(grace, "grace")  # before there is anything
        executor = InterpreterPoolExecutor(
            max_workers,
            thread_name_prefix,
            initializer,
            initargs,
            fallback=fallback,
            timeout=timeout,
            retries=retries,
            max_tasks_per_worker=max_tasks_per_worker,
            preload=preload,
            shared=shared,
            idle_timeout=idle_timeout,
            min_workers=min_workers,
        )
        self._hold(executor, grace, is_own=True)

    def _hold(self, executor: InterpreterPoolExecutor, grace: float, *, is_own: bool) -> None:
        view = executor.options()
        super().__init__(view, grace, Encoder(executor._engine.name))
        self._executor = executor
        self._is_own = is_own

    @classmethod
    def of(cls, executor: InterpreterPoolExecutor, *, grace: float = GRACE) -> Self:
        """Return a pool that uses an executor, and leaves it as it is at its own end.

        Args:
            executor: whose workers they are. Who made it shuts it down.
            grace: as for a pool of its own.

        Raises:
            TypeError, ValueError: for an executor of another kind, or a grace that makes no sense.
        """
        it: object = executor
        if not isinstance(it, InterpreterPoolExecutor):
            message = f"executor must be an interpool.InterpreterPoolExecutor, not {executor!r}"
            raise TypeError(message)
        pool = cls.__new__(cls)
        pool._hold(executor, grace, is_own=False)
        return pool

    @property
    def executor(self) -> InterpreterPoolExecutor:
        """The executor beneath: for `loop.set_default_executor`, or for threads."""
        return self._executor

    def prewarm(self, n: int | None = None) -> None:
        """Start workers now: see `InterpreterPoolExecutor.prewarm`. Returns at once."""
        self._executor.prewarm(n)

    def statistics(self) -> Statistics:
        """Return what the pool has done and does now: `InterpreterPoolExecutor.statistics`."""
        return self._executor.statistics()

    def trace(self, path: str | os.PathLike[str] | None = None) -> Trace:
        """Record what every worker does: see `InterpreterPoolExecutor.trace`.

        The trace is closed by `with`, by `close`, or with the pool. Closing it waits for the file,
        which is some milliseconds, and at the most for two seconds for workers that are busy in C
        code: `await loop.run_in_executor(None, trace.close)` is for loops that mind.
        """
        return self._executor.trace(path)

    def terminate_workers(self) -> None:
        """End at once: see `InterpreterPoolExecutor.terminate_workers`. Returns at once."""
        self._executor.terminate_workers()

    async def aclose(self) -> None:
        """Take no more tasks, and return when all are done and the workers gone.

        If the waiting task is cancelled, the pool is ended at once, and the cancellation goes on
        when that is done. May be called again. A pool made by `of` leaves its executor as it is.
        """
        self._encoder.close()
        if not self._is_own:
            return
        executor = self._executor
        executor.shutdown(wait=False)
        waiter = _loops.current().waiter()

        def join() -> None:
            try:
                executor.shutdown(wait=True)
            finally:
                waiter.ring()

        # Not a thread of the loop's: those may be this very pool's.
        _threads.make(join, f"{executor._engine.name}_closing").start()
        try:
            await waiter.wait()
        except GeneratorExit:  # nobody can wait
            executor.terminate_workers()
            raise
        except BaseException:
            executor.terminate_workers()
            await waiter.wait_out()
            raise

    async def __aenter__(self) -> Self:
        """The pool itself."""
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        """Wait until all is done; after an exception, end at once."""
        if error is not None and self._is_own:
            self._executor.terminate_workers()
        await self.aclose()

    def __repr__(self) -> str:
        """The essentials, for a prompt or a log."""
        return f"<aio.Pool of {self._executor!r}>"
