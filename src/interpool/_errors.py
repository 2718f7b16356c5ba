"""The errors of this package. Every one pickles, and every message names the culprit."""

from concurrent.futures import BrokenExecutor
from concurrent.futures.interpreter import BrokenInterpreterPool
from concurrent.interpreters import NotShareableError
from typing import Self

__all__ = [
    "BrokenInterpreterPool",
    "FallbackWarning",
    "IncompatibleExtensionError",
    "ProcessDied",
    "RemoteError",
    "TaskInterrupted",
    "TaskTimeout",
    "TransferError",
]


class TransferError(NotShareableError):
    """A function, an argument or a result cannot cross between interpreters.

    Raised from `future.result()`, with the original exception as its cause. It is a
    `concurrent.interpreters.NotShareableError`, and so a `TypeError`.

    Attributes:
        stage: what could not cross: `"function"`, `"argument"`, `"result"`, `"exception"` (see
            `RemoteError.refusal`); `"sending"` for a message that was torn on its way.
        path: where the culprit is, like `argument 2['sinks'][0].handle of train`.
        type_name: the qualified name of the culprit's class, with its module.
        reason: what is wrong with it.
        hint: a way out, if there is a usual one.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str = "",
        path: str = "",
        type_name: str = "",
        reason: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.hint = hint

    @classmethod
    def of(cls, stage: str, path: str, type_name: str, what: str, reason: str, hint: str) -> Self:
        """Make one that names a culprit, as `_anatomy` found it."""
        direction = "back from" if stage in {"result", "exception"} else "to"
        kind = _kind(type_name, what)
        message = f"Cannot send {path} {direction} a worker. It is {kind}: {reason}"
        if stage == "result" and hint:
            hint = "Return what the caller needs of it"
        if hint:
            message = f"{message}. {hint}"
        return cls(message, stage=stage, path=path, type_name=type_name, reason=reason, hint=hint)

    @classmethod
    def of_loading(
        cls, stage: str, path: str, type_name: str, what: str, reason: str, hint: str
    ) -> Self:
        """Make one that names what arrived and could not be rebuilt, as `_salvage` found it."""
        where = ", which came back" if stage in {"result", "exception"} else " in a worker"
        kind = f" It is {_kind(type_name, what)}:" if type_name or what else ""
        message = f"Cannot rebuild {path}{where}{'.' if kind else ':'}{kind} {reason}"
        if hint:
            message = f"{message}. {hint}"
        return cls(message, stage=stage, path=path, type_name=type_name, reason=reason, hint=hint)


def _kind(type_name: str, what: str) -> str:
    if not type_name:
        return what
    return f"{what} ({type_name})" if what else f"of type {type_name}"


class RemoteError(Exception):
    """A task raised an exception that cannot be rebuilt here; this one tells what it said.

    Raised from `future.result()`; its cause, a `concurrent.interpreters.ExecutionFailed`, shows the
    traceback in the worker.

    Attributes:
        type_name: the qualified name of the exception's class, with its module.
        text: what `str()` of the exception gave.
        refusal: why it did not come as itself: a `TransferError` that names the part of it that
            cannot be sent or rebuilt, or None if that is not known. It is among the notes, too.

    .. versionadded:: 0.1
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(type_name, text)
        self.type_name = type_name
        self.text = text
        self.refusal: TransferError | None = None

    def __str__(self) -> str:
        """The exception as a traceback would end with it."""
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class IncompatibleExtensionError(ImportError):
    """A task needs an extension module that refuses to load in an interpreter.

    Raised from `future.result()` where the task may not run in a process instead
    (`fallback="error"`, or `lane="interpreter"`). Its cause is what the import raised there.

    Attributes:
        function: the qualified name of the task's function.
        extension: the name of the extension module.
        chain: the modules by whose imports it was reached, the outermost first.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        extension: str = "",
        chain: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, name=extension or None)
        self.function = function
        self.extension = extension
        self.chain = chain


class FallbackWarning(RuntimeWarning):
    """Tasks of a function run in worker processes, for an extension refuses interpreters.

    Given once for each function and extension; `fallback="error"` makes it an error.

    .. versionadded:: 0.1
    """


class ProcessDied(BrokenExecutor):
    """The worker process that ran a task has ended: crashed, killed, or exited.

    Raised from `future.result()` of that task alone; the pool goes on with another process.

    Attributes:
        pid: the process's identifier; 0 if it could not be started.
        exitcode: its exit status; negative for a signal, as in `subprocess`.
        signal: the signal's number, or None.

    .. versionadded:: 0.1
    """

    def __init__(
        self, message: str, *, pid: int = 0, exitcode: int = 0, signal: int | None = None
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal


class _Stopped(Exception):  # noqa: N818 - a base of two
    """What both say of a task that was stopped from outside.

    Attributes:
        function: the qualified name of the task's function.
        stack: where the task was, as a traceback would show it, the innermost call last; empty if
            it had not begun, or if that is not known.
        abandoned: the name of the worker that was given up because the task did not stop, or "".
    """

    def __init__(
        self, message: str, *, function: str = "", stack: str = "", abandoned: str = ""
    ) -> None:
        super().__init__(message)
        self.function = function
        self.stack = stack
        self.abandoned = abandoned


class TaskInterrupted(_Stopped):
    """A task was stopped: by `future.interrupt()`, `terminate_workers()` or Ctrl-C.

    Raised from `future.result()`. The task itself meets a KeyboardInterrupt.

    Attributes:
        function: the qualified name of the task's function.
        stack: where the task was, as a traceback would show it, the innermost call last; empty if
            it had not begun, or if that is not known.
        abandoned: the name of the worker that was given up because the task did not stop, or "".

    .. versionadded:: 0.1
    """


class TaskTimeout(_Stopped, TimeoutError):  # noqa: N818 - after its base
    """A task ran for longer than its `timeout`, and was stopped.

    Raised from `future.result()`. The task itself meets a KeyboardInterrupt.

    Attributes:
        function: the qualified name of the task's function.
        limit: the timeout, in seconds.
        stack: where the task was, as a traceback would show it, the innermost call last.
        abandoned: the name of the worker that was given up because the task did not stop, or "".

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        limit: float = 0.0,
        stack: str = "",
        abandoned: str = "",
    ) -> None:
        super().__init__(message, function=function, stack=stack, abandoned=abandoned)
        self.limit = limit
