"""joblib on interpreters: the backend `"interpool"` for `joblib.Parallel`.

    import interpool.joblib

    interpool.joblib.register()
    with joblib.parallel_config(backend="interpool"):
        results = joblib.Parallel()(joblib.delayed(work)(item) for item in items)

Needs joblib: `pip install 'interpool[joblib]'`.
"""

import contextlib
import operator
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

from interpool import _future as interpool_future
from interpool._cpu import available_cores
from interpool._executor import InterpreterPoolExecutor
from interpool._interrupts import Deferred
from interpool._joblib_batch import Batch

try:
    import joblib
except ModuleNotFoundError as error:
    if error.name != "joblib":
        raise
    raise ModuleNotFoundError(
        "interpool.joblib needs joblib: pip install 'interpool[joblib]'", name="joblib"
    ) from None

from joblib._parallel_backends import (  # joblib has no other place for them
    AutoBatchingMixin,
    FallbackToBackend,
    SequentialBackend,
)
from joblib.parallel import ParallelBackendBase, get_active_backend

__all__ = ["InterpoolBackend", "register"]

# Seconds after which workers go that have nothing to do: as long as joblib's own wait.
_IDLE: Final = 300
type _Sent = dict[Future[Any], tuple[Any, Callable[[Any], object] | None]]
"""What joblib has not been told of: the `Parallel` that it is of, whose lock covers it, and what
tells joblib."""
# What joblib tells every backend, and what this one has no use for.
_JOBLIBS_OWN: Final = frozenset(
    {"context", "max_nbytes", "mmap_mode", "prefer", "require", "temp_folder", "verbose"}
)


def register(*, make_default: bool = False) -> None:
    """Make the backend `"interpool"` known to joblib.

    Args:
        make_default: whether it is the one that `joblib.Parallel` takes where none is named.

    May be called again.

    .. versionadded:: 0.1
    """
    joblib.register_parallel_backend("interpool", InterpoolBackend, make_default=make_default)


class InterpoolBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # of untyped classes
    """What joblib asks for its workers, by way of an `InterpreterPoolExecutor`.

    Not called by users: `parallel_config(backend="interpool", ...)` and
    `Parallel(backend="interpool", ...)` make one, and hand it what they are given beside joblib's
    own options. Within one `parallel_config`, or one `with Parallel(...)`, the workers stay from
    one call to the next. Else they end with the call.

    Args:
        nesting_level: how deeply the `Parallel` is nested: joblib's.
        inner_max_num_threads: None: workers share one environment, as threads do.
        pool: an executor of the caller's own, which stays as it is. `n_jobs` is then the most calls
            that joblib has running there.
        **options: those of `InterpreterPoolExecutor`, such as `fallback`, `preload` or
            `initializer`. What is counted or limited by the task is so by the batch.

    .. versionadded:: 0.1
    """

    supports_retrieve_callback = True  # and so timeouts and generators
    supports_inner_max_num_threads = False
    uses_threads = False
    supports_sharedmem = False
    # Whoever chooses this backend wants its cores, as with joblib's for Dask.
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        *,
        pool: InterpreterPoolExecutor | None = None,
        **options: Any,
    ) -> None:
        if inner_max_num_threads is not None:
            raise ValueError(
                "the backend 'interpool' takes no inner_max_num_threads: its workers share the "
                "environment of one process"
            )
        super().__init__(nesting_level=nesting_level)
        if pool is not None and options:
            names = ", ".join(sorted(options))
            raise ValueError(f"{names}: of a pool of your own, say so when you make it")
        self._users_pool = pool
        self._options = options
        self._pool: InterpreterPoolExecutor | None = pool
        self._made_of: tuple[int, dict[str, Any]] | None = None  # workers, options
        self._is_kept = False
        self.parallel: Any = None
        self._sent: _Sent = {}

    # --- What joblib asks, in the order in which it does ------------------------------------------

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers that makes.

        Args:
            n_jobs: a number; -1 for all cores that this process may use, -2 for all but one, and so
                on; None for all.

        Raises:
            ValueError: for 0.
        """
        wanted = self.default_n_jobs if n_jobs is None else operator.index(n_jobs)
        if wanted == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if wanted > 0:
            return wanted
        pool = self._users_pool
        return max((available_cores() if pool is None else pool._max_workers) + 1 + wanted, 1)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **options: Any) -> int:
        """Make ready for a call, or for all calls of a `with Parallel(...)`.

        Args:
            n_jobs: as `effective_n_jobs` takes it.
            parallel: the `Parallel`.
            **options: joblib's, and the rest of those that the `Parallel` was given.

        Raises:
            FallbackToBackend: for one worker: it is this thread then, as in joblib's own backends.
        """
        workers = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        own = {name: value for name, value in options.items() if name not in _JOBLIBS_OWN}
        self.parallel = parallel
        # One that a `parallel_config` holds is asked again, until that ends. It lets go of it then,
        # and a pool that nobody holds ends by itself.
        self._is_kept = get_active_backend()[0] is self
        if self._users_pool is None:
            self._make_pool(workers, {"idle_timeout": _IDLE, **self._options, **own})
        elif own:
            names = ", ".join(sorted(own))
            raise ValueError(f"{names}: of a pool of your own, say so when you make it")
        return workers

    def _make_pool(self, workers: int, options: dict[str, Any]) -> None:
        if self._pool is not None and self._made_of == (workers, options):
            return
        if self._pool is not None:
            self._pool.shutdown(wait=False)  # what another call has sent is done
        self._pool = InterpreterPoolExecutor(workers, "joblib", **options)
        self._made_of = workers, options

    def submit(self, func: Any, callback: Callable[[Any], object] | None = None) -> Future[Any]:
        """Send a batch of calls, whatever comes of it: joblib would wait for one that is refused.

        Args:
            func: a `BatchedCalls`.
            callback: told when it has ended, with its future.
        """
        future: Future[Any]
        # Ctrl-C between the two would leave a task behind that nobody knows of, and nobody stops.
        with Deferred():
            try:
                batch, arguments = Batch.of(func.items, (self.nesting_level or 0) + 1)
                assert self._pool is not None  # noqa: S101 - `configure` has made one
                future = self._pool.submit(batch, *arguments)
            except Exception as error:
                future = Future()
                future.set_exception(error)
            self._sent[future] = getattr(callback, "parallel", None), callback
            future.add_done_callback(partial(_tell, self._sent))
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the results of a batch, or raise what a call in it has raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 - it is in any case
        """Stop what a `Parallel` has sent that has failed, or was interrupted, or is no more.

        Another one, whose results are still being taken, may have the same backend.

        What ends afterwards is not told to joblib, which would take it for a result of the next
        call: until that has a number of its own, nothing says that it is not. For the same reason
        batches go that it has made and not sent (seen with joblib 1.6.0, whatever the backend: a
        `Parallel` that is called again after an error returns some of them).
        """
        for parallel in {id(it): it for it in [self.parallel, *self._parallels()]}.values():
            if not getattr(parallel, "_aborting", False):
                continue
            with _lock_of(parallel):  # while it is held here, no more of it is sent, or told
                due = [future for future, (of, _) in [*self._sent.items()] if of is parallel]
                for future in due:
                    self._sent.pop(future, None)
                while not parallel._ready_batches.empty():
                    parallel._ready_batches.get_nowait()
            for future in due:
                if isinstance(future, interpool_future.Future):
                    future.interrupt()

    def _parallels(self) -> list[Any]:
        return [parallel for parallel, _ in [*self._sent.values()]]

    def terminate(self) -> None:
        """End a call, and its workers unless they are kept."""
        self.reset_batch_stats()
        self.parallel = None  # which refers to this
        if self._is_kept or self._pool is self._users_pool:
            return
        pool, self._pool, self._made_of = self._pool, None, None
        if pool is not None:
            pool.shutdown()


def _tell(sent: _Sent, future: Future[Any]) -> None:
    """Tell joblib that a batch has ended, unless its call has been given up.

    Of the backend it knows nothing: who holds an interrupted future would hold the pool.
    """
    parallel, callback = sent.get(future, (None, None))
    with _lock_of(parallel):
        if future not in sent:
            return
        try:
            if callback is not None:
                callback(future)
        finally:
            del sent[future]


def _lock_of(parallel: Any) -> AbstractContextManager[object]:
    """Return the lock of a `Parallel`, which the thread that holds it may take again."""
    lock: AbstractContextManager[object] = getattr(parallel, "_lock", contextlib.nullcontext())
    return lock
