"""What a task is given beside its function and arguments: how long, how often."""

import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from interpool._errors import BrokenInterpreterPool, TaskInterrupted, TransferError

type Lane = Literal["auto", "interpreter", "process", "thread"]
"""Where a task runs: `"auto"` is an interpreter, or what is known to be needed instead."""
_LANES: Final = ("auto", "interpreter", "process", "thread")

# Whatever a user names, these are the same the next time, or not for a task to try again.
_NEVER: Final = (TransferError, TaskInterrupted, BrokenInterpreterPool)


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """How often a task that fails is run again, for what, and after how long.

    A task that runs again starts from its beginning, with its arguments as they were sent: what it
    did outside before it failed, it does again. A transfer that failed, an interrupt and a broken
    pool are never tried again; a `TaskTimeout` is, if it is among `on`.

    The pause before run number n + 1 is `delay * factor ** (n - 1)` seconds, `longest` at the most,
    less a random share of it of up to `jitter`, so that tasks that failed together do not come back
    together.

    Attributes:
        times: how often it is run again at the most.
        on: the exceptions (classes) for which it is.
        delay: seconds before the second run.
        factor: by how much the pause grows from one run to the next.
        longest: the longest pause, in seconds.
        jitter: the random share, between 0 and 1.

    Raises:
        TypeError, ValueError: for a value that makes no sense.

    .. versionadded:: 0.1
    """

    times: int
    on: type[BaseException] | tuple[type[BaseException], ...] = Exception
    delay: float = 0.1
    factor: float = 2.0
    longest: float = 60.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        times: object = self.times
        if not isinstance(times, int) or isinstance(times, bool):
            message = f"retries must be an integer or a Retry, not {self.times!r}"
            raise TypeError(message)
        if self.times < 0:
            message = f"retries must not be negative: {self.times}"
            raise ValueError(message)
        kinds: tuple[object, ...] = self.on if isinstance(self.on, tuple) else (self.on,)
        if not all(isinstance(it, type) and issubclass(it, BaseException) for it in kinds):
            message = f"on must be an exception class or a tuple of them, not {self.on!r}"
            raise TypeError(message)
        for name, least, most in (
            ("delay", 0, math.inf),
            ("factor", 1, math.inf),
            ("longest", 0, math.inf),
            ("jitter", 0, 1),
        ):
            if not least <= _number(getattr(self, name), name) <= most:
                message = f"{name} must be between {least} and {most}, not {getattr(self, name)!r}"
                raise ValueError(message)

    def pause(self, failed: int, draw: Callable[[], float] = random.random) -> float:
        """Return the seconds before the next run.

        Args:
            failed: how many runs have failed.
            draw: a random number from 0 to 1.
        """
        if not self.delay:
            return 0.0
        longest = min(self.longest, threading.TIMEOUT_MAX)
        try:
            pause = min(self.delay * self.factor ** (failed - 1), longest)
        except OverflowError:
            pause = longest
        return pause * (1 - self.jitter * draw())

    def wants(self, error: BaseException, failed: int) -> bool:
        """Whether a task whose run has failed with `error`, the last of so many, is run again."""
        if failed > self.times or isinstance(error, _NEVER):
            return False
        # As `except` has it; `isinstance` would ask the classes, which are the user's.
        kinds = self.on if isinstance(self.on, tuple) else (self.on,)
        return any(kind is base for base in type(error).__mro__ for kind in kinds)


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a task.

    Attributes:
        timeout: seconds that it may run; None: for ever.
        retry: how often it is tried again; None: never.
        lane: where it runs.
    """

    timeout: float | None = None
    retry: Retry | None = None
    lane: Lane = "auto"

    @property
    def is_single(self) -> bool:
        """Whether each item of a map has an end of its own, and so travels by itself."""
        return self.timeout is not None or self.retry is not None

    @classmethod
    def of(cls, timeout: float | None, retry: Retry | None, lane: Lane = "auto") -> Terms:
        """Make them: `PLAIN` itself if they are."""
        terms = cls(timeout, retry, lane)
        return PLAIN if terms == PLAIN else terms


PLAIN: Final = Terms()


def checked_timeout(timeout: Any, name: str = "timeout") -> float | None:
    """Return a time limit that makes sense.

    Raises:
        TypeError, ValueError: for one that does not.
    """
    if timeout is None:
        return None
    if not _number(timeout, name) > 0:
        message = f"{name} must be greater than 0 seconds, or None, not {timeout!r}"
        raise ValueError(message)
    return float(timeout) if timeout < math.inf else None


def checked_seconds(value: Any, name: str) -> float:
    """Return a number of seconds that makes sense, and may be 0.

    Raises:
        TypeError, ValueError: for one that does not.
    """
    if not _number(value, name) >= 0:
        message = f"{name} must not be negative, but is {value!r}"
        raise ValueError(message)
    return min(float(value), threading.TIMEOUT_MAX)


def checked_retries(retries: Any) -> Retry | None:
    """Return what `retries` stands for.

    Raises:
        TypeError, ValueError: for what makes no sense.
    """
    retry = retries if isinstance(retries, Retry) else Retry(retries)
    return retry if retry.times else None


def checked_lane(lane: Any) -> Lane:
    """Return a lane that there is.

    Raises:
        ValueError: for another one.
    """
    if lane not in _LANES:
        message = f"lane must be one of {', '.join(map(repr, _LANES))}, not {lane!r}"
        raise ValueError(message)
    found: Lane = lane
    return found


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"{name} must be a number, not {value!r}"
        raise TypeError(message)
    return value


def note_attempts(error: BaseException, earlier: Iterable[str]) -> None:
    """Say on an exception what came of the runs before the one that raised it."""
    with contextlib.suppress(Exception):  # its class refuses, or its notes are none
        for note in earlier:
            BaseException.add_note(error, note)
