"""What goes wrong with a cluster, and not with a task."""

from concurrent.futures import BrokenExecutor

from interpool._errors import ProcessDied


class ClusterError(BrokenExecutor, ConnectionError):
    """A cluster cannot be used: its scheduler is out of reach, or a worker does not fit.

    Raised by `ClusterExecutor(...)` if there is none to begin with, from `future.result()` and by
    maps if it went away, and by every later `submit`. It is a `ConnectionError`, too.

    .. versionadded:: 0.1
    """


class WorkersDied(ProcessDied):
    """Every Dask worker that began a task has ended: crashed, killed, or out of memory.

    Raised from `future.result()` of that task alone, when as many have ended as Dask's
    `distributed.scheduler.allowed-failures` allows, and one more.

    Attributes:
        function: the qualified name of the task's function.
        workers: the addresses of the workers, as far as they are known.

    .. versionadded:: 0.1
    """

    def __init__(self, message: str, *, function: str = "", workers: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.function = function
        self.workers = workers
