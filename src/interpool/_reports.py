"""What the package itself has to report, to the logger `concurrent.futures`.

The standard library's pools report there; whoever listens to them hears of ours. A handler of the
user's may raise anything, and so may a stream that is closed: what is reported is an error already,
and must not become another one in a thread on which futures wait. Call it under no lock: a handler
may submit a task, or wait for a thread that does.
"""

import logging
import sys
import traceback
import warnings
from dataclasses import dataclass
from typing import Final

_LOGGER: Final = logging.getLogger("concurrent.futures")


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be reported when no lock is held: logged, or warned of if it has a category."""

    text: str
    category: type[Warning] | None = None


def report(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Log a message, with an exception's traceback. Never raises.

    Where logging fails, it goes to the standard error with which the process began, if that can be
    written to.
    """
    try:
        _LOGGER.log(level, message, *args, exc_info=error, stacklevel=2)
    except BaseException as failure:  # of a handler, a filter, a stream
        _last_resort(message, args, error, failure)


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Give a warning. Never raises: no caller could do anything about it."""
    try:
        # Of no line: those of this thread are ours, and say nothing to anybody.
        warnings.warn_explicit(message, category, "<interpool>", 0, "interpool")
    except BaseException:  # warnings are errors here
        report(logging.WARNING, "%s", message)


def _last_resort(
    message: str, args: tuple[object, ...], error: BaseException | None, failure: BaseException
) -> None:
    try:
        if (stream := sys.__stderr__) is None:  # a program without a console
            return
        lines = [f"interpool: {message % args}\n"]
        if error is not None and error is not failure:
            lines += traceback.format_exception(error)
        lines.append("This could not be logged:\n")
        lines += traceback.format_exception(failure)
        stream.write("".join(lines))
        stream.flush()
    except BaseException:  # noqa: S110 - nobody is left to tell
        pass
