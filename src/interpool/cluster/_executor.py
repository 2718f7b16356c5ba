"""`ClusterExecutor`: the handle that users hold of an engine of a cluster."""

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, Never, cast

from interpool import _map
from interpool._codec import Call
from interpool._errors import TransferError
from interpool._future import Future
from interpool._options import UNCHANGED, Sizes, Unchanged, _check_callable
from interpool._terms import Retry, Terms, checked_retries, checked_timeout

if TYPE_CHECKING:
    from distributed import Client, Security

    from interpool._engine import Engine
    from interpool.cluster._engine import ClusterEngine
    from interpool.cluster._link import Link

_AFTER_SHUTDOWN: Final = "cannot schedule new futures after shutdown"
_numbers = itertools.count()


class ClusterExecutor(Executor):
    """An executor whose workers are interpreters in the workers of a Dask cluster.

    In each Dask worker process one pool of interpreters uses all the cores that Dask was told it
    may (`nthreads`), so one Dask worker a machine is enough. Functions, arguments, results and
    exceptions travel as they do in `InterpreterPoolExecutor`: any callable, by value where a worker
    cannot import it; what a function is imported from must be installed on the workers.

    A worker that dies loses no task: Dask runs it again, from its start, in another one, and a
    RuntimeWarning says so. A task that every worker dies of ends with `WorkersDied`. If the
    scheduler goes away, everything ends with `ClusterError`.

    Args:
        cluster: the scheduler's address (`"tcp://host:8786"`), a `distributed.Client` that knows
            it, or None: a cluster of this machine's cores, which is closed with the executor.
        security: Dask's `distributed.Security` (TLS); by default the client's, or what Dask's
            configuration says.
        timeout: seconds that a task may run, as `InterpreterPoolExecutor` has it.
        retries: how often a task that raises is run again: a number or a `Retry`. It is sent again
            from here, so it may run on another worker. Runs that died with a worker do not count.

    Raises:
        ImportError: if `distributed` is not installed.
        ClusterError: if there is no such cluster, or its scheduler or a worker lacks interpool, or
            has another version of it, or of Python (3.x).
        TypeError, ValueError: for an argument of the wrong type or value.

    Thread-safety: every method may be called from any thread.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        cluster: str | Client | None = None,
        *,
        security: Security | None = None,
        timeout: float | None = None,
        retries: int | Retry = 0,
    ) -> None:
        self._terms = Terms.of(checked_timeout(timeout), checked_retries(retries))
        make_engine, make_link = _implementation()
        self._target = "a local cluster" if cluster is None else str(cluster)
        self._engine = make_engine(
            f"ClusterExecutor-{next(_numbers)}",
            lambda engine: make_link(engine, cluster, security),
        )
        finalizer = weakref.finalize(self, self._engine.close, refusal=_AFTER_SHUTDOWN)
        finalizer.atexit = False  # the exit of the interpreter is `_lifetime`'s

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in the cluster and return the future of its result.

        Function and arguments are copied now, as they are now.

        Args:
            fn: what to call.
            *args: its positional arguments.
            **kwargs: its keyword arguments.

        Returns:
            A future, with `interrupt()` as a pool's. It raises `TransferError` if something cannot
            be sent, in either direction; an exception of the task's own comes back as itself, its
            cause the traceback in the worker. Cancelling succeeds until a worker begins the task;
            of a task that waits at a worker it asks all workers, which takes some milliseconds.

        Raises:
            TypeError: if `fn` is not callable.
            ClusterError: if the cluster has gone.
            RuntimeError: after `shutdown`, or when the interpreter is exiting.
        """
        return _submit(self._engine, self._terms, fn, args, kwargs)

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of `fn(*args)` for the zipped iterables' items, in order.

        Args:
            fn: what to call; it takes as many arguments as there are iterables.
            *iterables: where the arguments come from; the shortest ends it.
            timeout: seconds from this call until the last result; None waits for ever.
            chunksize: items sent to a worker together. None sends as many together as take some 0.1
                seconds by what was measured, and fewer towards the end. With a time limit for each
                task, or retries, each item travels by itself.
            buffersize: the most items taken from the iterables and not yet yielded; None takes all
                at once, as `concurrent.futures` does. No more travel than keep all workers busy, in
                either case.

        Returns:
            An iterator, as `InterpreterPoolExecutor.map` returns one.

        Raises:
            TypeError, ValueError: for a size that makes no sense, or an `fn` that is not callable.
            TransferError: if the function cannot be sent.
            ClusterError, RuntimeError: as `submit` does.
        """
        sizes = Sizes(chunksize, buffersize, is_ordered=True)
        return _map_items(self, self._terms, fn, iterables, timeout, sizes)

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of results as they come; else as `map`.

        .. versionadded:: 0.1
        """
        sizes = Sizes(chunksize, buffersize, is_ordered=False)
        return _map_items(self, self._terms, fn, iterables, timeout, sizes)

    def options(
        self,
        *,
        timeout: float | Unchanged | None = UNCHANGED,
        retries: int | Retry | Unchanged = UNCHANGED,
    ) -> ClusterOptions:
        """Return a view of this executor whose `submit` and `map` have other terms.

        Args:
            timeout: seconds that a task may run; None: for ever.
            retries: how often it is run again.

        Returns:
            A view that holds the executor, with its `submit`, `map`, `map_unordered`, `options`.

        Raises:
            TypeError, ValueError: for an option that makes no sense.

        .. versionadded:: 0.1
        """
        return ClusterOptions(self, self._terms).options(timeout=timeout, retries=retries)

    def trace(self, path: object = None) -> Never:
        """Say that it cannot be had here, as `InterpreterPoolExecutor.trace` can.

        Raises:
            NotImplementedError: always.
        """
        message = (
            "a cluster cannot be traced: its machines have clocks of their own. Dask's dashboard "
            "shows what its workers do; on one machine, InterpreterPoolExecutor.trace does"
        )
        raise NotImplementedError(message)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; disconnect when all are done. May be called again.

        Ctrl-C during the wait stops what runs, and is raised.

        Args:
            wait: return only when every task is done, and connections, threads and a local cluster
                are gone.
            cancel_futures: cancel every task that has not been sent to the cluster.
        """
        self._engine.close(refusal=_AFTER_SHUTDOWN, cancel=cancel_futures)
        if not wait:
            return
        try:
            self._engine.join()
        except KeyboardInterrupt:
            self._engine.terminate(_AFTER_SHUTDOWN)
            self._engine.join()
            raise

    def __exit__(self, kind: object, error: object, traceback: object) -> Literal[False]:
        """Shut down and wait; after Ctrl-C, at once, interrupting what runs."""
        if isinstance(error, KeyboardInterrupt):
            self._engine.terminate(_AFTER_SHUTDOWN)
        self.shutdown(wait=True)
        return False

    def __repr__(self) -> str:
        """The essentials, for a prompt or a log."""
        engine = self._engine
        state = "open" if engine.refusal is None and engine.broken is None else "closed"
        return f"<{type(self).__name__} {state}: {self._target}, {engine.staff.most} interpreters>"


class ClusterOptions:
    """A view of a cluster executor whose calls have their own terms: see `ClusterExecutor.options`.

    Thread-safety: every method may be called from any thread.

    .. versionadded:: 0.1
    """

    def __init__(self, executor: ClusterExecutor, terms: Terms) -> None:
        self._executor = executor
        self._terms = terms

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)`, as the executor's `submit` does."""
        return _submit(self._executor._engine, self._terms, fn, args, kwargs)

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of results in order, as the executor's `map` does."""
        sizes = Sizes(chunksize, buffersize, is_ordered=True)
        return _map_items(self._executor, self._terms, fn, iterables, timeout, sizes)

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of results as they come, as the executor's `map_unordered` does."""
        sizes = Sizes(chunksize, buffersize, is_ordered=False)
        return _map_items(self._executor, self._terms, fn, iterables, timeout, sizes)

    def options(
        self,
        *,
        timeout: float | Unchanged | None = UNCHANGED,
        retries: int | Retry | Unchanged = UNCHANGED,
    ) -> ClusterOptions:
        """Return a view that differs from this one, as the executor's `options` does."""
        terms = self._terms
        if not isinstance(timeout, Unchanged):
            terms = replace(terms, timeout=checked_timeout(timeout))
        if not isinstance(retries, Unchanged):
            terms = replace(terms, retry=checked_retries(retries))
        return ClusterOptions(self._executor, Terms.of(terms.timeout, terms.retry))

    def __repr__(self) -> str:
        """What differs from what is usual."""
        return f"<options of {self._executor!r}: {self._terms}>"


def _implementation() -> tuple[type[ClusterEngine], type[Link]]:
    try:
        from interpool.cluster._engine import ClusterEngine
        from interpool.cluster._link import Link
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "interpool":
            raise
        message = (
            f"ClusterExecutor takes Dask's distributed, and {error.name} is not installed: "
            "pip install 'interpool[cluster]'"
        )
        raise ImportError(message, name=error.name) from error
    return ClusterEngine, Link


def _submit(
    engine: ClusterEngine,
    terms: Terms,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Future[Any]:
    _check_callable(fn)
    engine.check_open()
    try:
        call = Call.of(fn)
        message = call.message(args, kwargs)
    except TransferError as error:
        return engine.refuse(error)
    return engine.submit(message, call.name, terms)


def _map_items(
    executor: ClusterExecutor,
    terms: Terms,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    sizes: Sizes,
) -> Iterator[Any]:
    _map.check_sizes(sizes.chunksize, sizes.buffersize)
    _check_callable(fn)
    executor._engine.check_open()
    return _map.map_items(
        cast("Engine", executor._engine),
        weakref.ref(executor),
        Call.of(fn),
        zip(*iterables, strict=False),
        timeout=timeout,
        chunksize=sizes.chunksize,
        buffersize=sizes.buffersize,
        is_ordered=sizes.is_ordered,
        terms=terms,
    )
