"""`InterpreterPoolExecutor`: the handle that users hold of an engine."""

import itertools
import operator
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

from interpool import _environment, _map
from interpool._codec import Call
from interpool._cpu import available_cores
from interpool._engine import Engine
from interpool._errors import TransferError
from interpool._future import Future
from interpool._worker import Settings

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
        fallback: what becomes of a task whose extension module refuses to load in an interpreter.
            Only `"process"` is taken now, and the task still ends with that ImportError.
        timeout: not available yet; None.
        retries: not available yet; 0.
        max_tasks_per_worker: not available yet; None.
        preload: names of modules that every worker imports at its start. One that cannot be
            imported breaks the pool, as an initializer that fails does.
        shared: not available yet; None.

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
        retries: int = 0,
        max_tasks_per_worker: int | None = None,
        preload: Iterable[str] = (),
        shared: Mapping[str, Any] | None = None,
    ) -> None:
        # super().__init__ would make the thread pool's state, which nothing here reads.
        _refuse_later_options(
            fallback=fallback,
            timeout=timeout,
            retries=retries,
            max_tasks_per_worker=max_tasks_per_worker,
            shared=shared,
        )
        workers = available_cores() if max_workers is None else _checked_workers(max_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        settings = Settings(
            name_prefix=thread_name_prefix or f"InterpreterPoolExecutor-{next(_numbers)}",
            environment=_environment.snapshot(),
            preload=_module_names(preload),
            initializer=None
            if initializer is None
            else Call.of(initializer).message(tuple(initargs), {}),
        )
        self._max_workers = workers  # read by dask, which asks every executor for it
        self._engine = Engine(workers, settings)
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
        _check_callable(fn)
        self._engine.check_open()
        try:
            call = Call.of(fn)
            message = call.message(args, kwargs)
        except TransferError as error:
            return self._engine.refuse(error)
        return self._engine.submit(message, call.name)

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of `fn(*args)` for the zipped iterables' items, in order.

        The function is described once, as it is at this call.

        Args:
            fn: what to call; it takes as many arguments as there are iterables.
            *iterables: where the arguments come from; the shortest ends it.
            timeout: seconds from this call until the last result; None waits for ever.
            chunksize: items sent to a worker together. None sends as many together as take some
                two milliseconds by what was measured, and fewer towards the end, so that all
                workers finish together: a task that waits for another one of the same map may then
                wait behind it, so give such tasks a chunksize of 1.
            buffersize: the most items submitted and not yet yielded; None submits all at once.

        Returns:
            An iterator. It raises `TimeoutError` when the time is up, and an item's exception when
            that item is reached; either ends it. Once begun, closing or dropping it cancels what
            has not.

        Raises:
            TypeError, ValueError: for a size that makes no sense, or an `fn` that is not callable.
            TransferError: if the function cannot be sent. An item that cannot be raises it from the
                iterator, in its turn.
            BrokenInterpreterPool, RuntimeError: as `submit` does.
        """
        return self._map(
            fn, iterables, timeout, chunksize=chunksize, buffersize=buffersize, is_ordered=True
        )

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of `fn(*args)` for the zipped iterables' items, as they come.

        What `map` says holds, but for the order: a result waits for no other one, except those that
        travel with it. An item that cannot be sent, or whose task raises, ends the iterator with
        that exception when it comes.

        .. versionadded:: 0.1
        """
        return self._map(
            fn, iterables, timeout, chunksize=chunksize, buffersize=buffersize, is_ordered=False
        )

    def _map(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        *,
        chunksize: int | None,
        buffersize: int | None,
        is_ordered: bool,
    ) -> Iterator[Any]:
        _map.check_sizes(chunksize, buffersize)
        _check_callable(fn)
        self._engine.check_open()
        return _map.map_items(
            self._engine,
            weakref.ref(self),
            Call.of(fn),
            zip(*iterables, strict=False),
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            is_ordered=is_ordered,
        )

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

        Args:
            wait: return only when every task is done and every worker, thread and descriptor is
                gone. From a callback of one of the pool's futures, the thread of that callback is
                not waited for.
            cancel_futures: cancel every task that no worker has taken.
        """
        self._engine.close(refusal=_AFTER_SHUTDOWN, cancel=cancel_futures)
        if wait:
            self._engine.join()


def _check_callable(fn: object) -> None:
    if callable(fn):
        return
    if issubclass(type(fn), str):  # an object may lie about its `__class__`
        # The text is the standard library's, whose pool might take scripts one day.
        message = f"scripts not supported: pass a function, not the text {fn!r}"
        raise TypeError(message)
    message = f"{type(fn).__qualname__!r} object is not callable"
    raise TypeError(message)


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


def _refuse_later_options(
    *, fallback: str, timeout: object, retries: object, max_tasks_per_worker: object, shared: object
) -> None:
    """Refuse what is not built yet, rather than ignore it."""
    if fallback not in {"process", "error"}:
        message = f"fallback must be 'process' or 'error', not {fallback!r}"
        raise ValueError(message)
    later = {
        "fallback='error'": fallback == "error",
        "timeout": timeout is not None,
        "retries": retries != 0,
        "max_tasks_per_worker": max_tasks_per_worker is not None,
        "shared": shared is not None,
    }
    for option, wanted in later.items():
        if wanted:
            message = f"{option} is not available yet"
            raise NotImplementedError(message)
