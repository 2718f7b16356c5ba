"""CPU-bound Python on every core of one process, behind the interface of `concurrent.futures`.

from interpool import InterpreterPoolExecutor

with InterpreterPoolExecutor() as pool:
    squares = list(pool.map(lambda n: n * n, range(10)))
"""

import typing as _typing

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

if _typing.TYPE_CHECKING:
    from interpool._doctor.examination import doctor
    from interpool._doctor.report import Diagnosis, Finding
    from interpool._recommend import Recommendation, recommend

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
    "Recommendation",
    "RemoteError",
    "Retry",
    "Statistics",
    "TaskInterrupted",
    "TaskTimeout",
    "TransferError",
    "__version__",
    "doctor",
    "explain",
    "recommend",
]

__version__ = "0.1.0"

# What programs seldom ask for is imported when they do, by the name of its module.
_LATER = {
    "Diagnosis": "_doctor.report",
    "Finding": "_doctor.report",
    "Recommendation": "_recommend",
    "doctor": "_doctor.examination",
    "recommend": "_recommend",
}


def __getattr__(name: str) -> _typing.Any:
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
