"""What the engine moves: a task on its way to a worker and back, whoever waits for its outcome."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interpool._terms import PLAIN, Terms

if TYPE_CHECKING:
    from interpool._inside.outcomes import Message
    from interpool._lanes.base import Lane
    from interpool._stops import Stop
    from interpool._transport import Item


type Work = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""A function and its arguments, as they are."""


class Stage(enum.Enum):
    """Where a task is. It only moves down this list; the engine's lock covers the moves.

    But one whose answer is a failure, and which is to be tried again, starts from the top.
    """

    DELAYED = enum.auto()  # to be tried again, when its pause is over
    WAITING = enum.auto()  # in the backlog, its item still here
    SENT = enum.auto()  # in the task queue, or taken by a worker
    ANSWERED = enum.auto()  # its outcome is here and being set
    WITHDRAWN = enum.auto()  # cancelled before any worker took it


class Task:
    """One item of the task queue: a call with a future, or a piece of a `map`.

    Attributes:
        task: its number.
        item: what goes into the task queue, kept until it is answered: it may have to go
            elsewhere.
        name: the function's, for errors.
        terms: how long it may run, and how often.
        message: what it asks for, kept if it may be tried again, with the environment.
        failures: of its earlier runs, in words.
        stop: the order to stop it, once there is one; it ends with that, whatever comes.
    """

    # Of the class, for what each task has of its own is paid by each.
    _stage = Stage.WAITING
    _position = 0  # in the task queue, once sent
    _count = 1  # items, if it is a piece of a `map`
    _is_heard = False  # whether somebody listens to it, and it has not ended
    _task: int
    _item: Item | None
    _name: str
    _terms: Terms = PLAIN
    _message: Message | None = None
    _environment: bytes | None = None  # that goes with the message
    _failures: tuple[str, ...] = ()
    _stop: Stop | None = None
    _work: Work | None = None  # what a thread of this interpreter is to call
    _submitted = 0  # when that was, if it is traced
    _lane: Lane | None = None  # where it was sent, if not to the interpreters

    @property
    def is_wanted(self) -> bool:
        """Whether anybody may still ask for its outcome."""
        return True

    def end_unheard(self, result: Any) -> bool:
        """End with a plain result, under the engine's lock, if that is all there is to do."""
        raise NotImplementedError

    def settle_withdrawn(self) -> None:
        """Tell who waits that the engine has withdrawn it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that has been made here, to end a task with."""

    error: BaseException

    def as_exception(self, _name: str) -> BaseException:
        """The exception."""
        return self.error


@dataclass(frozen=True, slots=True)
class Outcome:
    """A task that is to end, and how: `kind` and `payload` of its frame, or an error of ours."""

    task: Task
    kind: int
    payload: Any
