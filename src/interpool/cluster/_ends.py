"""What a task ends with that Dask has failed, and not the pool of a worker."""

from distributed.scheduler import KilledWorker

from interpool.cluster import _connect
from interpool.cluster._errors import ClusterError, WorkersDied


def unsent(error: BaseException, name: str) -> BaseException:
    """The error to end a task with that was not sent."""
    made = ClusterError(f"{name} could not be given to Dask: {error}")
    made.__cause__ = error
    return made


def error_of(error: BaseException, deaths: list[str], name: str) -> BaseException:
    """The error to end a task with whose run in Dask has failed, and not in the pool."""
    if isinstance(error, KilledWorker):
        workers = tuple(dict.fromkeys([*deaths, error.last_worker.address]))
        count = error.allowed_failures + 1
        made: BaseException = WorkersDied(
            f"{name} was given up: {count} Dask workers died while they had it "
            f"({', '.join(workers)}). It may crash its process, or take more memory than a worker "
            "has; a worker's log says more",
            function=name,
            workers=workers,
        )
    elif isinstance(error, ClusterError):
        return error
    elif isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "interpool":
        made = ClusterError(_connect.missing("A Dask worker that has come since"))
    else:
        made = ClusterError(f"Dask could not run {name}: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made
