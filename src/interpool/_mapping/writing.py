"""Results and failures, written as they come: a file is valid after every batch.

Writes go to descriptors, past Python's buffers, so what a batch has written is the system's when
the next one is asked for: the end of the process, whatever ends it, loses none of it.
"""

import codecs
import csv
import io
import json
import os
import stat
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from interpool._mapping.inside import Failure, Outcome, Row
from interpool._mapping.journal import Journal, State, _write
from interpool._mapping.reading import STDIN, Block

# Seconds between two times that all is forced to the disk: what a power cut costs at most.
_SYNC: Final = 1.0


# Encodings that begin with a byte order mark, and what follows it is in. A file begins so, and not
# each result, which are encoded one by one.
_MARKED: Final = {
    "utf-8-sig": "utf-8",
    "utf-16": f"utf-16-{sys.byteorder[0]}e",
    "utf-32": f"utf-32-{sys.byteorder[0]}e",
}


def without_mark(encoding: str) -> str:
    """Return the encoding of what follows the byte order mark, if it begins with one."""
    return _MARKED.get(codecs.lookup(encoding).name, encoding)


class OutputError(Exception):
    """An output that cannot be written or gone on with, and why."""


class Appended:
    """A file that grows by whole batches.

    Attributes:
        nbytes: how long it is.
    """

    def __init__(self, path: Path | None, nbytes: int = 0) -> None:
        """Open a file and cut it off at that length; None: standard output.

        Raises:
            OutputError: if it is shorter.
            OSError: if it cannot be opened.
        """
        self.name = "standard output" if path is None else str(path)
        if path is None:
            self._descriptor = os.dup(1)
        else:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._is_file = path is not None and stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self.nbytes = nbytes
        if self._is_file:
            there = os.fstat(self._descriptor).st_size
            if there < nbytes:
                os.close(self._descriptor)
                message = f"{path} has {there} bytes, and the journal says {nbytes}: it was changed"
                raise OutputError(message)
            self.take_back()

    def write(self, data: bytes) -> None:
        """Append a batch, all of it.

        Raises:
            BrokenPipeError: if nobody reads it any more.
            OutputError: if it cannot be written.
        """
        if not data:
            return
        try:
            _write(self._descriptor, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            message = f"{self.name} cannot be written: {error.strerror}"
            raise OutputError(message) from error
        self.nbytes += len(data)

    def take_back(self) -> None:
        """Cut off what an exception has left of a batch, and go on behind the last whole one."""
        if self._is_file:
            os.ftruncate(self._descriptor, self.nbytes)
            os.lseek(self._descriptor, self.nbytes, os.SEEK_SET)

    def sync(self) -> None:
        """Have the disk hold all of it."""
        if self._is_file:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Output:
    """Where results and failures go, and the journal of it.

    Attributes:
        done: records that have been dealt with, in this run and in those before.
        failed: those of them that have failed.
        first_failure: the first one of this run, in a line.
    """

    def __init__(
        self,
        results: Appended,
        errors: Appended | None,
        journal: Journal | None,
        *,
        result_encoding: str,
        is_marked: bool = True,
    ) -> None:
        """Begin, or go on.

        Args:
            results: where results go.
            errors: where failures go.
            journal: where what has been written is noted.
            result_encoding: of results.
            is_marked: whether a byte order mark is written first, if the encoding has one.
        """
        state = State() if journal is None else journal.state
        self._results = results
        self._errors = errors
        self._journal = journal
        self._result_encoding = without_mark(result_encoding)
        self._mark = b""
        if is_marked and self._result_encoding != result_encoding and not results.nbytes:
            self._mark = "".encode(result_encoding)
        self._columns = state.columns
        self._next_sync = time.monotonic() + _SYNC
        self.done = state.count
        self.failed = state.failed
        self.first_failure = ""

    def write(self, block: Block, position: int, outcome: Outcome, *, is_told: bool) -> None:
        """Write what became of a batch, and then remember that.

        Args:
            block: the records.
            position: of the first of them, in the whole of the input.
            outcome: what became of the records that it speaks of.
            is_told: whether failures go into their file; one that ends the run does not.
        """
        failures = outcome.failures
        output = outcome.output
        if isinstance(output, list):
            output, failures = self._table(output, outcome)
        if failures:
            if not self.first_failure:
                self.first_failure = told(block, failures[0])
            if is_told:
                self.failed += len(failures)
                if self._errors is not None:
                    lines = [_line(block, position, failure) for failure in failures]
                    self._errors.write(b"".join(lines))
        if output and self._mark:
            output, self._mark = self._mark + output, b""
        self._results.write(output)
        self.done += outcome.done
        if self._journal is not None:
            written = 0 if self._errors is None else self._errors.nbytes
            self._journal.note(position, outcome.done, self._results.nbytes, written, self.failed)
            if time.monotonic() >= self._next_sync:
                self.sync()

    def sync(self) -> None:
        """Force all to the disk, and remember that."""
        assert self._journal is not None  # noqa: S101 - asked for where there is one
        self._results.sync()
        if self._errors is not None:
            self._errors.sync()
        self._journal.mark()
        self._next_sync = time.monotonic() + _SYNC

    def __enter__(self) -> Self:
        """Nothing more: the files are open."""
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Leave whole batches, whatever has happened."""
        self._results.take_back()
        if self._errors is not None:
            self._errors.take_back()
        if self._journal is not None:
            self.sync()

    def _table(self, rows: Sequence[Row], outcome: Outcome) -> tuple[bytes, list[Failure]]:
        """Write rows under the columns that the first one has."""
        text = io.StringIO()
        write = csv.writer(text, lineterminator="\n").writerow
        failures = list(outcome.failures)
        skipped = {failure.offset for failure in failures}
        offsets = (it for it in range(outcome.done + 1) if it not in skipped)
        for (columns, cells), offset in zip(rows, offsets, strict=False):
            if columns is None:
                write(cells)
                continue
            if self._columns is None:
                self._columns = columns
                if self._journal is not None:
                    self._journal.note_columns(columns)
                write(columns)
            if columns == self._columns:
                write(cells)
            elif others := [name for name in columns if name not in self._columns]:
                message = (
                    f"ValueError: the output has no column {others[0]!r}: the first row has none"
                )
                failures.append(
                    Failure(offset, dict(zip(columns, cells, strict=True)), message, "")
                )
            else:
                named = dict(zip(columns, cells, strict=True))
                write([named.get(name, "") for name in self._columns])
        failures.sort(key=lambda failure: failure.offset)
        return text.getvalue().encode(self._result_encoding, "surrogateescape"), failures


def told(block: Block, failure: Failure) -> str:
    """A failure in a line: where, and what."""
    number = block.first + failure.offset + 1
    place = f"record {number}" if block.source in {"", STDIN} else f"{block.source}, {number}"
    if block.source == "":
        place = str(failure.record)
    return f"{place}: {failure.error.partition('\n')[0]}"


def _line(block: Block, position: int, failure: Failure) -> bytes:
    entry: dict[str, Any] = {
        "position": position + failure.offset + 1,
        "file": block.source or failure.record,
        "record": block.first + failure.offset + 1,
        "input": failure.record,
        "error": failure.error,
        "traceback": failure.traceback,
    }
    return json.dumps(entry).encode() + b"\n"
