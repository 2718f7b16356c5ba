"""What has been written, kept in a file, so that a run that was ended can go on.

The first line says what the run is of: function, inputs, options. Each further line says which
records have been dealt with and how long the files were then. A line is appended when the results
are in the output, so after the end of the process, whatever ended it, the output is at least as
long as the journal says; what it is longer is cut off, and those records are done again.

When the machine goes down, what was written last may be lost in one file and not in the other. So
once in a while all is forced to the disk, and a mark says so; after a reboot only what is above the
last mark counts.
"""

import contextlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

with contextlib.suppress(ImportError):  # not on every system
    import fcntl

_VERSION: Final = 1
_MARK: Final = "on disk"
_BEGINNING: Final = b'{"interpool map"'


class JournalError(Exception):
    """A journal that cannot be gone on with, and why."""


@dataclass(slots=True)
class State:
    """How far a run has come.

    Attributes:
        done: first and last-but-one positions of records that have been dealt with, in order.
        nbytes: the length of the output.
        error_nbytes: that of the file of failures.
        failed: how many of the records have failed.
        columns: those of the output, if it is CSV and has any.
    """

    done: list[tuple[int, int]] = field(default_factory=list)
    nbytes: int = 0
    error_nbytes: int = 0
    failed: int = 0
    columns: list[str] | None = None

    @property
    def count(self) -> int:
        """How many records have been dealt with."""
        return sum(end - start for start, end in self.done)

    def left(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """Say which of some records in a row are still to do, counted from the first of them."""
        position, end = start, start + count
        index = max(bisect_right(self.done, (start, start)) - 1, 0)
        for first, last in self.done[index:]:
            if first >= end:
                break
            if last <= position:
                continue
            if first > position:
                yield position - start, first - start
            position = last
        if position < end:
            yield position - start, count

    def _add(self, start: int, count: int) -> None:
        if self.done and self.done[-1][1] == start:
            self.done[-1] = self.done[-1][0], start + count
        else:
            self.done.append((start, start + count))

    def _merged(self) -> State:
        merged: list[tuple[int, int]] = []
        for start, end in sorted(self.done):
            if merged and merged[-1][1] == start:
                merged[-1] = merged[-1][0], end
            else:
                merged.append((start, end))
        return State(merged, self.nbytes, self.error_nbytes, self.failed, self.columns)


class Journal:
    """A journal that is open, and locked against other runs.

    Attributes:
        state: how far the run had come when it was opened.
    """

    def __init__(self, path: Path, subject: dict[str, Any]) -> None:
        """Go on with the journal of that file, or begin one.

        Args:
            path: the file.
            subject: what the run is of, by name; what a journal says of it must be the same.

        Raises:
            JournalError: if it is of another run, is in use, or is no journal.
            OSError: if the file cannot be opened.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self.state = self._read(subject)
        except BaseException:
            os.close(self._descriptor)
            raise

    def note_columns(self, columns: list[str]) -> None:
        """Remember the columns of the output."""
        self._append({"columns": columns})

    def note(self, start: int, count: int, nbytes: int, error_nbytes: int, failed: int) -> None:
        """Remember that records have been dealt with, and what there is of everything then."""
        self._append([start, count, nbytes, error_nbytes, failed])

    def mark(self) -> None:
        """Remember that all that has been noted is on the disk."""
        self._append(_MARK)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _append(self, entry: object) -> None:
        _write(self._descriptor, json.dumps(entry).encode() + b"\n")

    def _lock(self) -> None:
        if "fcntl" not in globals():
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{self._path} is in use by another run"
            raise JournalError(message) from None

    def _read(self, subject: dict[str, Any]) -> State:
        boot, written_in = _boot(), None
        length = sure = 0  # bytes that are well, and those above the last mark
        for entry, end in self._entries():
            match entry:
                case {"interpool map": version, "boot": written_in} if version == _VERSION:
                    self._compare(entry, subject)
                    sure = end
                case _ if not length:
                    raise self._foreign()
                case {"boot": written_in}:
                    pass
                case str():
                    sure = end
            length = end
        if not length:
            self._check_beginning()
            self._cut(0)
            self._append({"interpool map": _VERSION, "boot": boot} | subject)
            return State()
        is_same_boot = boot is not None and written_in == boot
        self._cut(length if is_same_boot else sure)
        found = self._tally()
        if not is_same_boot:
            self._append({"boot": boot})
        return found

    def _check_beginning(self) -> None:
        """Refuse a file that may be anything, and not the beginning of a journal's first line."""
        with self._path.open("rb") as file:
            there = file.read(len(_BEGINNING))
        if not _BEGINNING.startswith(there):
            raise self._foreign()

    def _foreign(self) -> JournalError:
        return JournalError(f"{self._path} is no journal of this version of interpool map")

    def _tally(self) -> State:
        found = State()
        for entry, _ in self._entries():
            match entry:
                case [int(start), int(count), int(nbytes), int(errors), int(failed)]:
                    found._add(start, count)
                    found.nbytes, found.error_nbytes, found.failed = nbytes, errors, failed
                case {"columns": list(columns)}:
                    found.columns = columns
        return found._merged()

    def _entries(self) -> Iterator[tuple[Any, int]]:
        """Yield what was noted, each with where its line ends, as long as it is well.

        What is not is the last line, if the end of the run cut it short, or what the end of the
        machine has left behind.
        """
        end = 0
        with self._path.open("rb") as file:
            for line in file:
                entry = _entry(line) if line.endswith(b"\n") else None
                if entry is None and (end or not line.endswith(b"\n")):
                    return
                end += len(line)
                yield entry, end

    def _cut(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)
        os.lseek(self._descriptor, length, os.SEEK_SET)

    def _compare(self, head: dict[str, Any], subject: dict[str, Any]) -> None:
        told = json.loads(json.dumps(subject))
        for name, value in told.items():
            if head.get(name) != value:
                message = (
                    f"{self._path} is the journal of a run with another {name}"
                    f"{_difference(head.get(name), value)}. To begin anew, remove it"
                )
                raise JournalError(message)


def _difference(before: object, now: object) -> str:
    if isinstance(before, (str, bool)) and isinstance(now, (str, bool)):
        return f" ({before}, now {now})"
    if isinstance(before, list) and isinstance(now, list):
        changed = [entry for entry in now if entry not in before]
        gone = [entry for entry in before if entry not in now]
        if which := changed or gone:
            name = which[0][0]
            is_known = changed and gone and name in [entry[0] for entry in gone]
            verb = "has changed" if is_known else "is new" if changed else "is missing"
            return f" ({name} {verb})"
    return ""


def _entry(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _boot() -> str | None:
    """What tells one run of the machine from another; None where nothing does."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
