"""Where the events of a trace go: a file that is a whole JSON text after every write, or memory."""

import json
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from interpool import _threads
from interpool._trace.composing import Composer
from interpool._trace.records import Record

_END: Final = b"\n]}\n"
# Records made into text at a time: what they make is in memory until it is written.
_TOGETHER: Final = 2_000


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: list[str]) -> None:
        """Add events."""

    def read(self) -> dict[str, Any]:
        """Return all there is."""

    def close(self) -> None:
        """Add no more."""


class Memory:
    """Lines that are kept."""

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._lines: list[str] = []

    def write(self, lines: list[str]) -> None:
        """Add events."""
        self._lines += lines

    def read(self) -> dict[str, Any]:
        """Return all there is."""
        return {**self._head, "traceEvents": json.loads(f"[{','.join(self._lines)}]")}

    def close(self) -> None:
        """Add no more."""


class File:
    """A file of JSON, with its end behind whatever is in it."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: if it cannot be written.
        """
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._fd = os.open(path, flags, 0o666)
        self._position = 0
        self._is_begun, self._is_first = False, True

    def begin(self, head: dict[str, Any]) -> None:
        """Write what stands before the events, in place of whatever was in the file."""
        text = json.dumps(head)[:-1]
        os.ftruncate(self._fd, 0)
        self._write(f'{text}, "traceEvents": [\n'.encode())
        self._is_begun = True

    def write(self, lines: list[str]) -> None:
        """Add events."""
        if lines and self._is_begun:
            before = "" if self._is_first else ",\n"
            self._is_first = False
            self._write(f"{before}{',\n'.join(lines)}".encode())

    def _write(self, data: bytes) -> None:
        """Write over the end that is there, and another one."""
        view = memoryview(data + _END)
        os.lseek(self._fd, self._position, os.SEEK_SET)
        while view:
            view = view[os.write(self._fd, view) :]
        self._position += len(data)

    def read(self) -> dict[str, Any]:
        """Return all there is."""
        found: dict[str, Any] = json.loads(self.path.read_bytes())
        return found

    def close(self) -> None:
        """Add no more."""
        if self._fd != -1:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Writer:
    """Makes events of what was recorded, and adds them to a sink: in a thread of its own, or here.

    The thread is there from the first time that it is called; should the system give none, all is
    written at the end.

    Attributes:
        error: what has kept it from writing; it writes no more then.
    """

    def __init__(
        self, pending: deque[Record], composer: Composer, sink: Sink, name: str, most: int
    ) -> None:
        """Make one.

        Args:
            pending: what was recorded.
            composer: what makes events of it.
            sink: where they go.
            name: the thread's.
            most: how many records may wait; more, and the first are lost.
        """
        self.error: OSError | None = None
        self._pending = pending
        self._composer = composer
        self._sink = sink
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_incomplete = False

    def call(self) -> None:
        """Have the thread write what there is. One thread at a time may call this, or `close`."""
        if self._thread is None:
            thread = _threads.make(self._run, self._name)
            try:
                thread.start()
            except RuntimeError:
                return
            self._thread = thread
        if self._bell.empty():
            self._bell.put(True)  # noqa: FBT003 - to go on

    def close(self) -> None:
        """Write all there is, and let go of the thread and the sink."""
        try:
            if self._thread is not None:
                self._bell.put(False)  # noqa: FBT003 - the end
                self._thread.join()
                self._thread = None
            self.write()
        finally:
            with self._lock:
                self._sink.close()

    def disown(self) -> None:
        """Close what is open: in a forked child it is somebody else's."""
        self._sink.close()

    def read(self) -> dict[str, Any]:
        """Return all that was recorded by now."""
        self.write()
        with self._lock:
            return self._sink.read()

    def write(self) -> None:
        """Write what there is."""
        while self._pending:
            with self._lock:
                if len(self._pending) >= self._most:
                    self.is_incomplete = True
                batch: list[Record] = []
                try:
                    while len(batch) < _TOGETHER:
                        batch.append(self._pending.popleft())
                except IndexError:  # those were all
                    pass
                self._add(self._composer.compose(batch))

    def _add(self, lines: list[str]) -> None:
        if self.error is not None:
            return
        try:
            self._sink.write(lines)
        except OSError as error:
            self.error = error

    def _run(self) -> None:
        while self._bell.get():
            self.write()


def head_of(about: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What stands before the events."""
    return {"displayTimeUnit": "ms", "otherData": dict(about)}
