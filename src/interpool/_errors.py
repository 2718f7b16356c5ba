"""The errors of this package. Every one pickles, and every message names the culprit."""

from concurrent.futures.interpreter import BrokenInterpreterPool
from concurrent.interpreters import NotShareableError

__all__ = ["BrokenInterpreterPool", "RemoteError", "TransferError"]


class TransferError(NotShareableError):
    """A function, an argument or a result cannot cross between interpreters.

    Raised from `future.result()`, with the original exception as its cause. It is a
    `concurrent.interpreters.NotShareableError`, and so a `TypeError`.

    .. versionadded:: 0.1
    """


class RemoteError(Exception):
    """A task raised an exception that cannot be rebuilt here; this one tells what it said.

    Raised from `future.result()`; its cause, a `concurrent.interpreters.ExecutionFailed`, shows the
    traceback in the worker.

    Attributes:
        type_name: the qualified name of the exception's class, with its module.
        text: what `str()` of the exception gave.

    .. versionadded:: 0.1
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text

    def __str__(self) -> str:
        """The exception as a traceback would end with it."""
        return f"{self.type_name}: {self.text}" if self.text else self.type_name
