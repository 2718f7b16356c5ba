"""What went wrong in a worker, and the exception that says so here."""

import pickle
from concurrent.interpreters import ExecutionFailed
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final, Self

from interpool._errors import BrokenInterpreterPool, RemoteError, TransferError

# What each stage says in an error; {} stands for the failure in one line.
_HEADLINES: Final = {
    "start": "A worker could not be started: {}",
    "preload": "A module of preload= could not be imported in a worker: {}",
    "initializer": "A worker's initializer failed, the pool is not usable anymore: {}",
    "collector": "The pool's collector failed, the pool is not usable anymore: {}",
    "worker": "The worker that ran the task broke down: {}",
    "sending": "The task was being sent, and whether it ran is not known: {}",
    "function": "The function cannot be rebuilt in a worker: {}",
    "argument": "The arguments cannot be rebuilt in a worker: {}",
    "result": "The task's result cannot be sent back: {}",
}
_TRANSFER_STAGES: Final = frozenset({"function", "argument", "result", "sending"})
_BREAKING_STAGES: Final = frozenset({"start", "preload", "initializer", "worker", "collector"})


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a worker in plain data, as `_remote.describe` took it down.

    Attributes:
        stage: what was being done: `"run"` for the task itself, or a stage of its transfer or of
            the worker's life.
        type_name: the qualified name of the exception's class.
        module: that class's module.
        message: what `str()` gave.
        text: the traceback, as it would be printed.
        pickled: the exception itself, where it survives being pickled.
    """

    stage: str
    type_name: str
    module: str
    message: str
    text: str
    pickled: bytes | None

    @classmethod
    def from_frame(cls, description: tuple[str, str, str, str, str, bytes | None]) -> Self:
        """Make one of what a frame brought."""
        return cls(*description)

    @property
    def line(self) -> str:
        """The exception in one line, as a traceback would end with it."""
        module = "" if self.module in {"builtins", "__main__"} else f"{self.module}."
        name = f"{module}{self.type_name}"
        return f"{name}: {self.message}" if self.message else name

    def headline(self) -> str:
        """What happened, in one sentence."""
        return _HEADLINES[self.stage].format(self.line)

    def cause(self) -> ExecutionFailed:
        """The cause to chain, as in `concurrent.futures`: it prints as the worker's traceback."""
        kind = SimpleNamespace(
            __name__=self.type_name, __qualname__=self.type_name, __module__=self.module
        )
        return ExecutionFailed(
            SimpleNamespace(type=kind, msg=self.message, formatted=self.line, errdisplay=self.text)
        )

    def as_exception(self) -> BaseException:
        """A new exception to end the task's future with: the task's own where it can be rebuilt."""
        error: BaseException
        if self.stage in _TRANSFER_STAGES:
            error = TransferError(self.headline())
        elif self.stage in _BREAKING_STAGES:
            error = BrokenInterpreterPool(self.headline())
        else:
            error = self._rebuilt()
        error.__cause__ = self.cause()
        return error

    def as_broken_pool(self) -> BrokenInterpreterPool:
        """A new exception for a caller that wants to use a pool broken by this."""
        error = BrokenInterpreterPool(self.headline())
        error.__cause__ = self.cause()
        return error

    def _rebuilt(self) -> BaseException:
        if self.pickled is not None:
            try:
                error = pickle.loads(self.pickled)
            except Exception:
                error = None
            if isinstance(error, BaseException):
                return error
        return RemoteError(f"{self.module}.{self.type_name}", self.message)


LOST: Final = Failure("worker", "RuntimeError", "builtins", "it ended without an answer", "", None)
