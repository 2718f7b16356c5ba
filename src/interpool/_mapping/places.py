"""Where the batches of a run go: a pool of this process, or a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from interpool import InterpreterPoolExecutor, Statistics, TransferError
from interpool._mapping.writing import OutputError

if TYPE_CHECKING:
    from interpool._mapping.job import Job
    from interpool._options import Options

# Seconds that a batch is to take, in a pool: some fifty times what sending and answering it costs
# (0.2 ms).
_BATCH: Final = 0.01
# Seconds after which a worker hands back what it has not begun, for others to take up. Long beside
# what a batch is meant to take, so that it happens to batches that have turned slow.
_BUDGET: Final = 0.1


class Unreachable(Exception):  # noqa: N818 - it is no error of the program's
    """Why there is no such place."""


class WorkersLackError(BrokenExecutor):
    """A cluster's workers have not got what the function is made of."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(
            f"A worker of the cluster cannot make {target} out of what it has: {reason}. Workers "
            "must have the function's module, and what that imports: install it there as it is "
            "here, or start `dask worker` in the folder that it is in"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where batches go.

    Attributes:
        calls: has `submit`.
        workers: how many there are, or may be: of a cluster, more may come.
        batch: seconds that a batch is to take.
        budget: seconds after which a worker hands back what it has not begun.
        stop: interrupts what runs, and cancels what waits. Never waits.
        statistics: returns what the pool does now; None: nobody knows.
        is_elsewhere: whether what can be imported here need not be found there.
    """

    calls: Options
    workers: Callable[[], int]
    batch: float
    budget: float
    stop: Callable[[], None]
    statistics: Callable[[], Statistics] | None = None
    is_elsewhere: bool = False

    def check(self, error: Exception, target: str) -> None:
        """Refuse to go on if what one batch has met, all will.

        Raises:
            WorkersLackError: if the cluster's workers lack what the function is made of.
        """
        if self.is_elsewhere and isinstance(error, TransferError) and error.stage == "function":
            raise WorkersLackError(target, error.reason) from error


@contextmanager
def here(job: Job) -> Iterator[Place]:
    """A pool of this process. It is shut down in the end, and all it was given done by then.

    Raises:
        Unreachable: if what it does cannot be recorded.
        OutputError: if not all of that could be, in the end.
    """
    with ExitStack() as stack:
        pool = stack.enter_context(
            InterpreterPoolExecutor(job.workers, "interpool-map", preload=job.preload)
        )
        if job.trace is not None:
            stack.enter_context(_recorded(pool, job.trace, f"interpool map {job.target}"))
        yield Place(
            pool.options(**job.terms),
            lambda: pool._max_workers,
            batch=_BATCH,
            budget=_BUDGET,
            stop=pool.terminate_workers,
            statistics=pool.statistics,
        )


@contextmanager
def _recorded(pool: InterpreterPoolExecutor, path: str, command: str) -> Iterator[None]:
    """Record what workers do."""
    from interpool._trace import begin

    try:
        trace = begin(pool._engine, path, command)
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise Unreachable(message) from None
    try:
        yield
    finally:
        try:
            trace.close()
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise OutputError(message) from None


@contextmanager
def on_cluster(job: Job, say: Callable[[str], None]) -> Iterator[Place]:
    """A Dask cluster, from which this is disconnected in the end.

    Args:
        job: what was asked for.
        say: told what the user may want to know.

    Raises:
        Unreachable: if it cannot be used, or nothing that speaks with it is installed.
    """
    from interpool.cluster import ClusterError, ClusterExecutor

    try:
        executor = ClusterExecutor(job.cluster, security=_security(job.tls))
    except (ImportError, ClusterError) as error:
        raise Unreachable(str(error)) from None
    engine = executor._engine
    with executor:
        if not engine.staff.there:
            say(f"{job.cluster} has no Dask worker yet; waiting for one")
        yield Place(
            executor.options(**job.terms),
            lambda: engine.staff.most,
            batch=engine.timing.piece,
            budget=engine.timing.budget,
            stop=executor.terminate_workers,
            is_elsewhere=True,
        )


def _security(tls: dict[str, str]) -> Any:
    """Return what Dask takes the certificates from; None: what its own configuration says."""
    if not tls:
        return None
    from distributed import Security

    return Security(require_encryption=True, **tls)
