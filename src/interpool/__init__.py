"""CPU-bound Python on every core of one process, behind the interface of `concurrent.futures`.

from interpool import InterpreterPoolExecutor

with InterpreterPoolExecutor() as pool:
    squares = list(pool.map(lambda n: n * n, range(10)))
"""

TYPE_CHECKING = False  # importing `typing` would cost each worker that uses a name of here 3 ms
if TYPE_CHECKING:
    from typing import Any

    from interpool import aio
    from interpool._doctor.examination import doctor
    from interpool._doctor.report import Diagnosis, Finding
    from interpool._errors import (
        BrokenInterpreterPool,
        FallbackWarning,
        IncompatibleExtensionError,
        ProcessDied,
        RemoteError,
        TaskInterrupted,
        TaskTimeout,
        TransferError,
    )
    from interpool._executor import InterpreterPoolExecutor
    from interpool._explain import Explanation, explain
    from interpool._future import Future
    from interpool._inside.arrays import SharedArray
    from interpool._inside.buffers import SharedBuffer
    from interpool._inside.events import Barrier, Event
    from interpool._inside.locks import BoundedSemaphore, Lock, RLock, Semaphore
    from interpool._inside.queues import Queue
    from interpool._inside.shared import shared
    from interpool._options import Options
    from interpool._pmap import pmap
    from interpool._recommend import Recommendation, recommend
    from interpool._report import report
    from interpool._statistics import Statistics
    from interpool._terms import Retry
    from interpool._trace import Trace
del TYPE_CHECKING  # no name of this package's

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenInterpreterPool",
    "Diagnosis",
    "Event",
    "Explanation",
    "FallbackWarning",
    "Finding",
    "Future",
    "IncompatibleExtensionError",
    "InterpreterPoolExecutor",
    "Lock",
    "Options",
    "ProcessDied",
    "Queue",
    "RLock",
    "Recommendation",
    "RemoteError",
    "Retry",
    "Semaphore",
    "SharedArray",
    "SharedBuffer",
    "Statistics",
    "TaskInterrupted",
    "TaskTimeout",
    "Trace",
    "TransferError",
    "__version__",
    "aio",
    "doctor",
    "explain",
    "pmap",
    "recommend",
    "report",
    "shared",
]

__version__ = "0.1.0"

# Each is imported when it is first asked for, by the name of its module: a task that uses one of
# them does not pay for all, nor does a program.
_HOMES = {
    **dict.fromkeys(
        (
            "BrokenInterpreterPool",
            "FallbackWarning",
            "IncompatibleExtensionError",
            "ProcessDied",
            "RemoteError",
            "TaskInterrupted",
            "TaskTimeout",
            "TransferError",
        ),
        "_errors",
    ),
    **dict.fromkeys(("Barrier", "Event"), "_inside.events"),
    "Diagnosis": "_doctor.report",
    "Explanation": "_explain",
    "Finding": "_doctor.report",
    "Future": "_future",
    "InterpreterPoolExecutor": "_executor",
    **dict.fromkeys(("BoundedSemaphore", "Lock", "RLock", "Semaphore"), "_inside.locks"),
    "Options": "_options",
    "Queue": "_inside.queues",
    "Recommendation": "_recommend",
    "Retry": "_terms",
    "SharedArray": "_inside.arrays",
    "SharedBuffer": "_inside.buffers",
    "Statistics": "_statistics",
    "Trace": "_trace",
    "doctor": "_doctor.examination",
    "explain": "_explain",
    "pmap": "_pmap",
    "recommend": "_recommend",
    "report": "_report",
    "shared": "_inside.shared",
}
# Modules that are there by attribute, too; what they take is imported when it is used.
_MODULES = frozenset({"aio"})

# Modules that need what an extra brings. Not in `__all__`, nor listed until they are imported:
# whoever asks for all there is may not have it.
_INTEGRATIONS = frozenset({"cluster", "joblib"})


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES or name in _INTEGRATIONS:
        return import_module(f"{__name__}.{name}")  # which binds the name here
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
