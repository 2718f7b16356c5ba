"""CPU-bound Python on every core of one process, behind the interface of `concurrent.futures`.

from interpool import InterpreterPoolExecutor

with InterpreterPoolExecutor() as pool:
    squares = list(pool.map(lambda n: n * n, range(10)))
"""

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
from interpool._options import Options
from interpool._statistics import Statistics
from interpool._terms import Retry

__all__ = [
    "BrokenInterpreterPool",
    "Diagnosis",
    "Explanation",
    "FallbackWarning",
    "Finding",
    "Future",
    "IncompatibleExtensionError",
    "InterpreterPoolExecutor",
    "Options",
    "ProcessDied",
    "RemoteError",
    "Retry",
    "Statistics",
    "TaskInterrupted",
    "TaskTimeout",
    "TransferError",
    "__version__",
    "doctor",
    "explain",
]

__version__ = "0.1.0"
