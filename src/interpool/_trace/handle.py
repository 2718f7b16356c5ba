"""`Trace`: the handle that users hold of a recording."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from interpool import __version__
from interpool._cpu import available_cores
from interpool._interrupts import Deferred
from interpool._trace.composing import Composer
from interpool._trace.recording import MOST, Recording, check
from interpool._trace.writing import File, Memory, Writer, head_of

if TYPE_CHECKING:
    from interpool._engine import Engine


class Trace:
    """What a pool does, recorded: see `InterpreterPoolExecutor.trace`.

    Recording ends with the `with` block, with `close`, or with the pool.

    Attributes:
        path: the file that it is written to; None: it is kept in memory.

    Thread-safety: every method may be called from any thread, and again.

    .. versionadded:: 0.1
    """

    def __init__(self, path: Path | None, recording: Recording, writer: Writer) -> None:
        self.path = path
        self._recording = recording
        self._writer = writer

    def close(self) -> None:
        """Record nothing any more; return when all that was recorded is written.

        What tasks do that run now is in it as far as it has gone, with the outcome `"running"`. A
        worker whose task stays in C code for 2 seconds may leave out what it did just before.

        Raises:
            OSError: if not all of it could be written, for the disk is full, say. What was written
                before is a whole file.
        """
        self._recording.close()
        if self._writer.error is not None:
            raise self._writer.error

    @property
    def data(self) -> dict[str, Any]:
        """What the file holds, or would: a dictionary in Chrome's trace event format.

        While it is recorded, what is there by now.
        """
        return self._writer.read()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in `data`, in no order: see `docs/trace.md` for what there is."""
        found: list[dict[str, Any]] = self.data["traceEvents"]
        return found

    def __enter__(self) -> Self:
        """The trace itself."""
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> Literal[False]:
        """Close it. What is raised in the block goes before what keeps it from being written."""
        self._recording.close()
        if error is None:
            self.close()
        return False

    def __repr__(self) -> str:
        """Where it goes."""
        return f"<Trace {str(self.path)!r}>" if self.path else "<Trace in memory>"


def begin(engine: Engine, path: str | os.PathLike[str] | None, command: str = "") -> Trace:
    """Begin a trace of an engine: `InterpreterPoolExecutor.trace` says the rest.

    Args:
        engine: whose trace it is.
        path: the file.
        command: what runs, in words, for whoever looks at it.
    """
    with Deferred(), engine.lock:
        check(engine)  # before there is a file
    found = None if path is None else Path(path)
    recording = Recording(engine)
    about = head_of(
        (
            ("interpool", __version__),
            ("python", platform.python_version()),
            ("workers", engine.staff.most),
            ("cores", available_cores()),
            ("began", datetime.now(UTC).astimezone().isoformat(timespec="milliseconds")),
            ("format", 1),
            *((("command", command),) if command else ()),
        )
    )
    sink = Memory(about) if found is None else File(found)
    composer = Composer(os.getpid(), recording.began)
    writer = Writer(recording.pending, composer, sink, f"{engine.name}_trace", MOST)
    recording.writer = writer
    try:
        recording.attach()
    except BaseException:
        sink.close()
        raise
    if isinstance(sink, File):
        try:
            sink.begin(about)
        except BaseException:  # it is no file of that kind, or the disk is full
            recording.close()
            raise
    return Trace(found, recording, writer)
