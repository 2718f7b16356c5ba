"""What workers print and log, passed on to where it would have gone here.

Printed lines go to `sys.stdout` and `sys.stderr` as they are when the lines come, so that
redirection, pytest and notebooks are honoured; records to the handlers of their logger here.
The thread that reads results does this, in the order in which the frames were sent: what a task has
printed is there when its future ends. A stream or a handler that fails is reported once to the
logger of `concurrent.futures`, and hurts no task. One that waited for a future of the same pool
would wait for ever.
"""

import logging
import marshal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from interpool._inside import surroundings
from interpool._reports import report

_NAMES: Final = {
    surroundings.RECORD: "a log record",
    surroundings.STDOUT: "standard output",
    surroundings.STDERR: "standard error",
}


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a worker has said, or None: it says no more."""

    worker: int
    said: surroundings.Said | None
    passed_on: Callable[[], object] | None = None  # called then


class Console:
    """Puts the pieces of one pool's workers together and passes them on."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, bytearray]] = {}  # by worker and unit, not complete yet
        self._failed: set[int] = set()

    def pass_on(self, output: Output) -> None:
        """Take a piece. Called by one thread, and under no lock."""
        try:
            self._pass_on(output)
        finally:
            if output.passed_on is not None:
                output.passed_on()

    def _pass_on(self, output: Output) -> None:
        if output.said is None:
            self._pieces.pop(output.worker, None)
            return
        unit, kind, piece, is_last = output.said
        pieces = self._pieces.setdefault(output.worker, {})
        data = pieces.pop(unit, None) or bytearray()
        data += piece
        if not is_last:
            pieces[unit] = data
            return
        try:
            if kind == surroundings.RECORD:
                _handle(*marshal.loads(data))
            else:
                stream = sys.stdout if kind == surroundings.STDOUT else sys.stderr
                _write(stream, data)
        except BaseException as error:  # of the user's stream or handler, which may raise anything
            if kind not in self._failed:
                self._failed.add(kind)
                message = "%s of a worker cannot be passed on"
                report(logging.ERROR, message, _NAMES[kind], error=error)


def _write(stream: Any, data: bytearray) -> None:
    """Write text, or what is none to where a program here would write it."""
    if stream is None:  # a program without a console
        return
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        if (buffer := getattr(stream, "buffer", None)) is not None:
            _flush(stream)
            buffer.write(data)
            _flush(buffer)
            return
        text = data.decode("utf-8", "backslashreplace")
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        encoding = error.encoding
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if not text.endswith("\n"):
        _flush(stream)  # a worker's rest was flushed there, or its task has ended


def _flush(stream: Any) -> None:
    if (flush := getattr(stream, "flush", None)) is not None:  # `print` asks for no more than write
        flush()


def _handle(attributes: dict[str, Any], here: surroundings.Here) -> None:
    """Handle a record, but for what handlers of the worker have done: `here`, to the worker."""
    record = logging.makeLogRecord(attributes)
    name = logging.getLevelName(record.levelno)
    if name != f"Level {record.levelno}":  # else it has no name but the worker's
        record.levelname = name
    logger: logging.Logger | None = logging.getLogger(record.name)
    if logger is None or not logger.isEnabledFor(record.levelno):
        return
    if not here:
        logger.handle(record)
        return
    found = logger.filter(record)
    if not found:
        return
    record = found if isinstance(found, logging.LogRecord) else record
    while logger is not None:
        for handler in logger.handlers:
            mark = logger.name, surroundings.mark_of(handler)
            if record.levelno >= handler.level and mark not in here:
                handler.handle(record)
        logger = logger.parent if logger.propagate else None
