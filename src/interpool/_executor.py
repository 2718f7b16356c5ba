"""`InterpreterPoolExecutor`: the handle that users hold of an engine."""

import itertools
import operator
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Literal

from interpool import _accounts, _environment
from interpool._codec import Call
from interpool._cpu import available_cores
from interpool._engine import Engine
from interpool._future import Future
from interpool._options import UNCHANGED, Options, Progress, Sizes, Unchanged, map_, submit
from interpool._statistics import Statistics
from interpool._terms import Lane, Retry, Terms, checked_retries, checked_timeout
from interpool._worker import Settings

if TYPE_CHECKING:
    from interpool._shared import Shared
    from interpool._trace import Trace

_AFTER_SHUTDOWN: Final = "cannot schedule new futures after shutdown"
_numbers = itertools.count()


class InterpreterPoolExecutor(ThreadPoolExecutor):
    """A pool of interpreters, each on its own core, behind the interface of `concurrent.futures`.

    It stands in for `concurrent.futures.InterpreterPoolExecutor`. It is a `ThreadPoolExecutor` only
    because asyncio takes no other as its default executor; it uses none of its state.

    Workers start when there are tasks for them, never more than there are unfinished tasks, unless
    `prewarm` asks for them. A pool that was given neither has no thread, interpreter or descriptor.

    Args:
        max_workers: the most interpreters at a time; by default the cores that this process may
            use (affinity and control group respected).
        thread_name_prefix: what the names of the pool's threads begin with.
        initializer: called once in every worker before its first task, sent like a task's function.
            If it raises, the pool is broken: every waiting future, and every later `submit`, raises
            `BrokenInterpreterPool` with the reason.
        initargs: the initializer's positional arguments.
        fallback: what becomes of a task that needs an extension module which refuses to load in an
            interpreter. `"process"`: it runs again from its start in a worker process, and those
            that are known to need that extension go there at once; a `FallbackWarning` says so
            once. If `initializer` or `preload` needs one, all tasks run in processes. `"error"`: it
            ends with `IncompatibleExtensionError`, or the pool is broken for that reason.
        timeout: seconds that a task may run, counted from when it begins; then it is stopped as
            `future.interrupt` does it, and its future raises `TaskTimeout`. None: for ever.
        retries: how often a task that raises is run again, from its start: a number, or a `Retry`
            that says for which exceptions and after what pause. A number stands for any `Exception`
            and growing pauses. See `Retry` for what is never tried again.
        max_tasks_per_worker: how many tasks a worker does before another one takes its place, in a
            fresh interpreter that is ready by then. Of a `map`, each item counts, and a piece of it
            that has been begun is finished. None: any number.
        preload: names of modules that every worker imports at its start. One that cannot be
            imported breaks the pool, as an initializer that fails does.
        shared: objects by their names, for the tasks, which find them as `interpool.shared[name]`.
            Sent once and not with each task: a worker loads one when a task first asks for it, and
            keeps it. Large buffers in them (`memoryview`, arrays of numpy where that loads) lie in
            memory that all workers see, and cannot be written to; all else is each worker's own.
            They are as they were when the pool was made.
        idle_timeout: seconds without a task after which a worker goes, if there are more than
            `min_workers`. None: workers stay until the pool is shut down.
        min_workers: how many workers stay, once they have been started.

    Raises:
        TypeError, ValueError: for an argument of the wrong type or value.
        TransferError: if the initializer or its arguments cannot be sent.
        NotImplementedError: for an option that is not available yet.

    Thread-safety: every method may be called from any thread.

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
    ) -> None:
        # super().__init__ would make the thread pool's state, which nothing here reads.
        if fallback not in {"process", "error"}:
            message = f"fallback must be 'process' or 'error', not {fallback!r}"
            raise ValueError(message)
        workers = available_cores() if max_workers is None else _checked_workers(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        call = None if initializer is None else Call.of(initializer)
        settings = Settings(
            name_prefix=thread_name_prefix or f"InterpreterPoolExecutor-{next(_numbers)}",
            environment=_environment.snapshot(),
            preload=_module_names(preload),
            initializer=None if call is None else call.message(tuple(initargs), {}),
            initializer_name="" if call is None else call.name,
            most_tasks=None
            if max_tasks_per_worker is None
            else _checked_workers(max_tasks_per_worker, "max_tasks_per_worker"),
            shared=_shared_with_workers(shared),
        )
        idling: tuple[float, int] | None = None
        if (idle := checked_timeout(idle_timeout, "idle_timeout")) is not None:
            idling = idle, min(_checked_least(min_workers), workers)
        self._terms = Terms.of(checked_timeout(timeout), checked_retries(retries))
        self._max_workers = workers  # read by dask, which asks every executor for it
        self._engine = Engine(workers, settings, idling, falls_back=fallback == "process")
        # An executor that nobody holds any more ends when it has done what it was given. The exit
        # of the interpreter is `_lifetime`'s.
        finalizer = weakref.finalize(self, self._engine.close, refusal=_AFTER_SHUTDOWN)
        finalizer.atexit = False

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a worker and return the future of its result.

        Function and arguments are copied now, as they are now; what changes afterwards is not seen.

        Args:
            fn: what to call: by reference where a worker can import it, by value otherwise, with
                the globals that it uses.
            *args: its positional arguments.
            **kwargs: its keyword arguments.

        Returns:
            A future. It raises `TransferError` if something could not be sent, in either direction;
            an exception of the task's own comes back as itself, its cause the traceback in the
            worker. Cancelling succeeds until a worker takes the task.

        Raises:
            TypeError: if `fn` is not callable.
            BrokenInterpreterPool: if a worker's initializer has failed.
            RuntimeError: after `shutdown`, or when the interpreter is exiting.
        """
        return submit(self._engine, self._terms, fn, args, kwargs)

    def options(
        self,
        *,
        timeout: float | Unchanged | None = UNCHANGED,
        retries: int | Retry | Unchanged = UNCHANGED,
        lane: Lane | Unchanged = UNCHANGED,
    ) -> Options:
        """Return a view of this pool whose `submit` and `map` have other terms.

        Args:
            timeout: seconds that a task may run, as the pool's own; None: for ever.
            retries: how often it is run again, as the pool's own.
            lane: where it runs: `"interpreter"`, `"process"`, or `"auto"`, which is an interpreter
                unless an extension refuses to load there; or `"thread"`: called in this
                interpreter, with the arguments as they are, for what waits.

        Returns:
            A view that holds the pool, and has its `submit`, `map`, `map_unordered` and `options`.

        Raises:
            TypeError, ValueError: for an option that makes no sense.

        Thread-safety: may be called from any thread, and so may the view's methods.

        .. versionadded:: 0.1
        """
        return Options(self, self._terms).options(timeout=timeout, retries=retries, lane=lane)

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: Progress = False,
    ) -> Iterator[T]:
        """Return an iterator of `fn(*args)` for the zipped iterables' items, in order.

        The function is described once, as it is at this call.

        Args:
            fn: what to call; it takes as many arguments as there are iterables.
            *iterables: where the arguments come from; the shortest ends it.
            timeout: seconds from this call until the last result; None waits for ever. What one
                task may take is the pool's `timeout`, or that of its `options`. With one of those,
                or with retries, each item travels by itself, whatever `chunksize` says.
            chunksize: items sent to a worker together. None sends as many together as take some
                two milliseconds by what was measured, and fewer towards the end, so that all
                workers finish together: a task that waits for another one of the same map may then
                wait behind it, so give such tasks a chunksize of 1.
            buffersize: the most items submitted and not yet yielded; None submits all at once.
            progress: whether to show how far it is, from the first result that is asked for: a bar
                on stderr with rate, remaining time and failures, by tqdm or else rich, if stderr is
                a terminal or a notebook's. A text stands before it in place of the function's
                name. A callable is called instead with the number of results taken and that of all,
                None if no iterable has a length: in the thread that takes them, ten times a second
                at the most, and at the end, however it ends.

        Returns:
            An iterator. It raises `TimeoutError` when the time is up, and an item's exception when
            that item is reached; either ends it. Once begun, closing or dropping it cancels what
            has not.

        Raises:
            TypeError, ValueError: for a size that makes no sense, or an `fn` that is not callable.
            ModuleNotFoundError: for a bar, without tqdm and rich.
            TransferError: if the function cannot be sent. An item that cannot be raises it from the
                iterator, in its turn.
            BrokenInterpreterPool, RuntimeError: as `submit` does.
        """
        sizes = Sizes(chunksize, buffersize, is_ordered=True)
        return map_(self, self._terms, fn, iterables, timeout, sizes, progress)

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: Progress = False,
    ) -> Iterator[T]:
        """Return an iterator of `fn(*args)` for the zipped iterables' items, as they come.

        What `map` says holds, but for the order: a result waits for no other one, except those that
        travel with it. An item that cannot be sent, or whose task raises, ends the iterator with
        that exception when it comes.

        .. versionadded:: 0.1
        """
        sizes = Sizes(chunksize, buffersize, is_ordered=False)
        return map_(self, self._terms, fn, iterables, timeout, sizes, progress)

    def prewarm(self, n: int | None = None) -> None:
        """Start workers now, rather than with the first tasks. Returns at once.

        Args:
            n: how many workers there are to be at least; None: `max_workers`. More than
                `max_workers` are not started.

        Raises:
            TypeError, ValueError: if `n` is no number, or below 1.
            BrokenInterpreterPool, RuntimeError: as `submit` does.

        Thread-safety: may be called from any thread, and again.

        .. versionadded:: 0.1
        """
        workers = self._max_workers if n is None else _checked_workers(n, "n")
        self._engine.prewarm(min(workers, self._max_workers))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; let the workers go when all are done. May be called again.

        Ctrl-C during the wait ends the pool at once, as `terminate_workers` does, and is raised.

        Args:
            wait: return only when every task is done and every worker, thread and descriptor is
                gone, but for workers that were abandoned. From a callback of one of the pool's
                futures, the thread of that callback is not waited for.
            cancel_futures: cancel every task that no worker has taken.

        Thread-safety: may be called from any thread, from a callback, and from several at once.
        """
        self._engine.close(refusal=_AFTER_SHUTDOWN, cancel=cancel_futures)
        if not wait:
            return
        try:
            self._engine.join()
        except KeyboardInterrupt:
            self._engine.terminate(_AFTER_SHUTDOWN, is_quiet=True)
            self._engine.join()
            raise

    def terminate_workers(self) -> None:
        """Shut down at once: cancel what waits, interrupt what runs, let the workers go.

        Futures whose task runs raise `TaskInterrupted`; a task that has not stopped 0.2 seconds
        later is left to its worker, which is abandoned (see `Future.interrupt`). Returns at once;
        `shutdown` waits for the end.

        Thread-safety: may be called from any thread, from a callback, and again.

        .. versionadded:: 0.1
        """
        self._engine.terminate(_AFTER_SHUTDOWN)

    def __exit__(self, kind: object, error: object, traceback: object) -> Literal[False]:
        """Shut down and wait; after Ctrl-C, at once, interrupting what runs."""
        if isinstance(error, KeyboardInterrupt):
            self._engine.terminate(_AFTER_SHUTDOWN, is_quiet=True)
        self.shutdown(wait=True)
        return False

    def trace(self, path: str | os.PathLike[str] | None = None) -> Trace:
        """Record what every worker does, as trace events that Perfetto (ui.perfetto.dev) shows.

        Each task's wait and run, what was sent, imports, starts of workers and idle stretches. It
        goes on until the trace is closed, by `with` or `close`, or until the pool ends. A task that
        runs when it begins is not in it.

        Args:
            path: a file to write to, whose events another program can read at any time; what it
                held is gone. None: they are kept in memory (`Trace.events`).

        Returns:
            The trace, which is a context manager.

        Raises:
            OSError: if the file cannot be written.
            RuntimeError: if this pool is being traced, or was shut down.
            BrokenInterpreterPool: as `submit` does.

        Thread-safety: may be called from any thread, and while tasks run.

        .. versionadded:: 0.1
        """
        from interpool._trace import begin

        return begin(self._engine, path)

    def statistics(self) -> Statistics:
        """Return what the pool has done and does now, in figures: a snapshot that stays as it is.

        It costs some 50 microseconds, and nothing of the workers' time.

        Thread-safety: may be called from any thread.

        .. versionadded:: 0.1
        """
        return _accounts.statistics(self._engine)

    def __repr__(self) -> str:
        """The essentials, for a prompt or a log."""
        return f"<{type(self).__name__} {_accounts.description(self._engine, self._engine.name)}>"


def _shared_with_workers(objects: Mapping[str, Any] | None) -> Shared | None:
    if objects is None:
        return None
    from interpool._shared import Shared

    return Shared(objects)


def _checked_workers(number: object, name: str = "max_workers") -> int:
    try:
        workers = operator.index(number)  # type: ignore[arg-type]  # that is what is asked
    except TypeError:
        message = f"{name} must be an integer or None, not {number!r}"
        raise TypeError(message) from None
    if workers <= 0:
        message = f"{name} must be greater than 0"
        raise ValueError(message)
    return workers


def _module_names(preload: Iterable[str]) -> tuple[str, ...]:
    names = tuple(preload)
    if isinstance(preload, str) or not all(isinstance(name, str) for name in names):
        message = f"preload must be a collection of module names, not {preload!r}"
        raise TypeError(message)
    return names


def _checked_least(number: object) -> int:
    return 0 if number == 0 else _checked_workers(number, "min_workers")
