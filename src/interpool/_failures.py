"""What went wrong in a worker, and the exception that says so here."""

from concurrent.interpreters import ExecutionFailed
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Self

from interpool import _hints
from interpool._errors import (
    BrokenInterpreterPool,
    IncompatibleExtensionError,
    RemoteError,
    TransferError,
)
from interpool._inside import outcomes, values

# What of a pool needs an extension that refuses, by the stage of a worker's start.
_NEEDY: Final = {"preload": "preload=", "initializer": "the initializer"}

# What each stage says in an error; {} stands for the function's name or the failure in one line.
_PLACES: Final = {
    "sending": "the task {}",
    "function": "the function {}",
    "argument": "the arguments of {}",
    "result": "the result of {}",
}
_TRANSFERS: Final = {
    "sending": "{place} was being sent, and whether it ran is not known: {line}",
    "function": "Cannot rebuild {place} in a worker: {line}",
    "argument": "Cannot rebuild {place} in a worker: {line}",
    "result": "Cannot send {place} back from a worker: {line}",
}
_HEADLINES: Final = {
    "start": "A worker could not be started: {}",
    "preload": "A module of preload= could not be imported in a worker: {}",
    "initializer": "A worker's initializer failed, the pool is not usable anymore: {}",
    "collector": "The pool's collector failed, the pool is not usable anymore: {}",
    "worker": "The worker that ran the task broke down: {}",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a worker in plain data, as `outcomes.describe` took it down.

    Attributes:
        stage: what was being done: `"run"` for the task itself, or a stage of its transfer or of
            the worker's life.
        packed: the exception.
        text: the traceback, as it would be printed.
        culprit: what is to blame, if that is known: for a result that cannot be sent, as
            `_anatomy` has it; for what did not load, as `_salvage` has it.
        refused: the extension that refuses interpreters, if that is why, and the modules by whose
            imports it was reached.
    """

    stage: str
    packed: outcomes.Packed
    text: str
    culprit: tuple[str, ...] | None
    refused: tuple[str, ...] | None = None

    @classmethod
    def from_frame(cls, description: outcomes.Description) -> Self:
        """Make one of what a frame brought."""
        return cls(*description)

    @classmethod
    def of_known(cls, extension: str) -> Self:
        """Make that of a worker that nobody tries to start, for what it is to preload is known."""
        text = f"module {extension} does not support loading in subinterpreters"
        packed = None, "ImportError", "builtins", text, (), None, None, False, None
        return cls("preload", packed, f"ImportError: {text}", None, (extension,))

    @property
    def line(self) -> str:
        """The exception in one line, as a traceback would end with it."""
        _, type_name, module, message, *_ = self.packed
        name = type_name if module in {"builtins", "__main__"} else f"{module}.{type_name}"
        return f"{name}: {message}" if message else name

    def headline(self) -> str:
        """What happened to a worker, in one sentence."""
        if self.refused is not None and self.stage in _NEEDY:  # what it raised says less
            return f"No worker can be started: {self.need()}"
        return _HEADLINES[self.stage].format(self.line)

    def need(self, initializer: str = "") -> str:
        """Say what of a pool needs an extension that refuses, and how that is reached.

        Args:
            initializer: the name of the pool's.
        """
        assert self.refused is not None  # noqa: S101 - asked for by those who know
        name = _NEEDY[self.stage]
        if initializer and self.stage == "initializer":
            name = f"{name} {initializer}"
        return _need_of(name, self.refused)

    def traceback(self) -> ExecutionFailed:
        """The end of a chain of causes, as in `concurrent.futures`: it prints as the traceback."""
        _, name, module, message, *_ = self.packed
        kind = SimpleNamespace(__name__=name, __qualname__=name, __module__=module)
        return ExecutionFailed(
            SimpleNamespace(type=kind, msg=message, formatted=self.line, errdisplay=self.text)
        )

    def as_exception(self, name: str) -> BaseException:
        """A new exception to end the task's future with: the task's own where it can be rebuilt.

        Args:
            name: the function's.
        """
        if self.stage in _HEADLINES:
            return self.as_broken_pool()
        original = self._original(name)
        if self.refused is not None:
            way_out = (
                'Let it run in a process: lane="process", or fallback="process", which finds out '
                "by itself"
            )
            return _incompatible(name, self.refused, original, way_out)
        return original if self.stage == "run" else self._refusal(name, original)

    def _original(self, name: str) -> BaseException:
        """The exception itself, where it can be rebuilt, with the worker's traceback."""
        try:
            original = _rebuilt(self.packed, name)
        except Exception:  # those that it refers to are too many, one by another
            original = _rebuilt((*self.packed[:5], None, None, False, None), name)
        _end_with(original, self.traceback())
        return original

    def _refusal(self, name: str, original: BaseException) -> TransferError:
        place = _PLACES[self.stage].format(name)
        _, hint = _hints.of_error(original)
        if self.culprit is not None and self.stage == "result":
            path, *rest = self.culprit
            error = TransferError.of(self.stage, f"{path} of {name}", *rest)
        elif self.culprit is not None:
            path, kind, what = self.culprit
            path = f"{place}{path}" if self.stage == "function" else f"{path} of {name}"
            error = TransferError.of_loading(self.stage, path, kind, what, self.line, hint)
        else:
            message = _TRANSFERS[self.stage].format(place=place, line=self.line)
            error = TransferError(
                f"{message}. {hint}" if hint else message,
                stage=self.stage,
                path=place,
                reason=self.line,
                hint=hint,
            )
        error.__cause__ = original
        return error

    def as_broken_pool(self) -> BrokenInterpreterPool:
        """A new exception for a caller that wants to use a pool broken by this."""
        error = BrokenInterpreterPool(self.headline())
        if self.refused is not None and self.stage in _NEEDY:
            name = _NEEDY[self.stage]
            way_out = 'Let the pool\'s tasks run in processes: fallback="process"'
            error.__cause__ = _incompatible(name, self.refused, self._original(name), way_out)
        else:
            error.__cause__ = self.traceback()
        return error


def _need_of(name: str, refused: tuple[str, ...]) -> str:
    extension, *chain = refused
    path = " -> ".join((*chain, extension))
    reached = f" (reached by {path})" if chain else ""
    return (
        f"{name} needs the extension module {extension}{reached}, which does not support loading "
        "in subinterpreters"
    )


def _incompatible(
    name: str, refused: tuple[str, ...], original: BaseException, way_out: str
) -> IncompatibleExtensionError:
    extension, *chain = refused
    message = f"{_need_of(name, refused)}. {way_out}"
    error = IncompatibleExtensionError(
        message, function=name, extension=extension, chain=tuple(chain)
    )
    error.__cause__ = original
    return error


def _rebuilt(packed: outcomes.Packed, of: str) -> BaseException:
    rebuilt = _Rebuilder(of).rebuild(packed)
    assert rebuilt is not None  # noqa: S101 - the outermost is a part of no other
    return rebuilt


class _Rebuilder:
    """Makes an exception of what was packed, with those that it refers to."""

    def __init__(self, of: str) -> None:
        """Args: the function's name."""
        self._of = of
        self._made: list[BaseException | None] = []  # by number

    def rebuild(self, packed: outcomes.Packed | int) -> BaseException | None:
        """Make an exception; None for one that is still being made of those that it holds."""
        if isinstance(packed, int):
            return self._made[packed]
        _, name, module, text, notes, cause, context, suppresses, members = packed
        number = len(self._made)
        self._made.append(None)  # numbered as they were packed: members, cause, context
        others = None
        if members is not None:
            others = [self.rebuild(member) for member in members if member is not None]
        loaded, refusal = self._load(packed, others)
        if isinstance(loaded, BaseException):
            rebuilt = loaded
        else:
            rebuilt = RemoteError(f"{module}.{name}", text)
            rebuilt.refusal = refusal
            for note in notes:
                rebuilt.add_note(note)
        if refusal is not None:
            BaseException.add_note(rebuilt, str(refusal))
        self._made[number] = rebuilt
        if cause is not None:
            _set(rebuilt, "__cause__", self.rebuild(cause))
        if context is not None:
            _set(rebuilt, "__context__", self.rebuild(context))
        _set(rebuilt, "__suppress_context__", suppresses)
        return rebuilt

    def _load(
        self, packed: outcomes.Packed, members: list[BaseException | None] | None
    ) -> tuple[Any, TransferError | None]:
        """Load an exception by itself; or say why it cannot be."""
        pickled, text = packed[0], packed[3]
        came_with, segments = values.NO_CONTEXT, [b"N."]
        error: Any = None
        refusal = None
        try:
            if pickled is not None and isinstance(pickled[0], bool):
                is_loading, culprit = pickled
                refusal = self._refusal(culprit, is_loading=is_loading)
            elif pickled is not None:
                came_with, *segments = pickled
                error = values.load(came_with, segments)
            if members is not None:
                cls, attributes = error or (BaseExceptionGroup, {})
                # Not its own `__new__`, which may take other arguments.
                error = BaseExceptionGroup.__new__(cls, text, list(filter(None, members)))
                vars(error).update(attributes)
        except BaseException as own:  # a class's own code, which may raise anything
            from interpool import _salvage

            culprit = _salvage.culprit_of(own, came_with, segments)
            return None, self._refusal(culprit, is_loading=True)
        return error, refusal

    def _refusal(self, culprit: tuple[str, ...], *, is_loading: bool) -> TransferError:
        path, *rest = culprit
        make = TransferError.of_loading if is_loading else TransferError.of
        return make("exception", f"the exception{path} of {self._of}", *rest)


# Not by the class's own way, which may refuse: a frozen dataclass may be an exception.
def _set(error: BaseException, name: str, value: Any) -> None:
    vars(BaseException)[name].__set__(error, value)


def _get(error: BaseException, name: str) -> Any:
    return vars(BaseException)[name].__get__(error)


def _end_with(error: BaseException, traceback: ExecutionFailed) -> None:
    """Put the worker's traceback at the end of an exception's causes, where it is printed first."""
    seen = {id(error)}
    while (cause := _get(error, "__cause__")) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause  # the last before they go round, if they do
    suppresses = _get(error, "__suppress_context__")
    _set(error, "__cause__", traceback)
    _set(error, "__suppress_context__", suppresses)


LOST: Final = Failure(
    "worker",
    (None, "RuntimeError", "builtins", "it ended without an answer", (), None, None, False, None),
    "",
    None,
)
