"""Why a task is to stop, and the error that says so."""

import enum
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from interpool._errors import TaskInterrupted, TaskTimeout

if TYPE_CHECKING:
    from interpool._failures import Failure
    from interpool._inside.gate import Place

# Seconds that a task has to stop before its worker is given up. Long enough for `finally` blocks
# that close files and connections; a user who needs more says so.
GRACE: Final = 1.0
# The same when a whole pool is to stop at once: what Ctrl-C leaves of the half second in which a
# program is to end.
SHORT_GRACE: Final = 0.2


class Reason(enum.Enum):
    """Who wants a task to stop."""

    INTERRUPT = "was interrupted"
    TIMEOUT = "ran for longer than its timeout of {:g} s"
    TERMINATE = "was interrupted, because its pool was terminated"
    ITSELF = "raised interpool's own interrupt"


@dataclass(slots=True)
class Stop:
    """An order to stop a task, and what became of it.

    Attributes:
        reason: who wants it.
        limit: the task's timeout, in seconds.
        grace: seconds it has, before its worker is given up.
        due: when they are over, as `time.monotonic` has it.
        has_begun: whether a worker had taken it.
        places: where it was, the innermost frame first.
        abandoned: the name of the worker that was given up for it.
        is_killed: whether it ran in a process that was killed for it.
        is_untimed: whether it had no grace at all, for there was no clock to measure it.
        failure: what the task raised instead of stopping.
    """

    reason: Reason
    grace: float = GRACE
    due: float = 0.0
    limit: float = 0.0
    has_begun: bool = True
    places: list[Place] = field(default_factory=list)
    abandoned: str = ""
    is_killed: bool = False
    is_untimed: bool = False
    failure: Failure | None = None

    @property
    def lateness(self) -> str:
        """Why its worker is given up, in words."""
        if self.is_untimed:
            return "was given no time to stop, for the system has no thread to measure it"
        return f"did not stop within {self.grace:g} s"

    def as_exception(self, name: str) -> TaskInterrupted | TaskTimeout:
        """A new exception to end a task with; `name` is the function's."""
        message = f"{name} {self.reason.value.format(self.limit)}"
        if not self.has_begun:
            message += " before it began"
        stack = "".join(traceback.format_list([(*it, None) for it in reversed(self.places)]))
        if self.abandoned:
            why = "" if self.is_untimed else ", as a call that stays in C code does not"
            message += f". It {self.lateness}{why}, so its worker {self.abandoned} was abandoned"
        if self.is_killed:
            message += f". It {self.lateness}, so its process was killed"
        if stack:
            message += f". It was here:\n{stack.rstrip()}"
        error: TaskInterrupted | TaskTimeout
        if self.reason is Reason.TIMEOUT:
            error = TaskTimeout(
                message, function=name, limit=self.limit, stack=stack, abandoned=self.abandoned
            )
        else:
            error = TaskInterrupted(message, function=name, stack=stack, abandoned=self.abandoned)
        if self.failure is not None:
            error.__cause__ = self.failure.as_exception(name)
        return error
