"""Records out of files and standard input, a block at a time, as many as there are by then.

A block is what one read has brought, so that records that come slowly are not held back; what is
read ahead is for whoever asks for blocks to bound. Reads go to descriptors, past Python's buffers:
a thread that waits in one of those would keep the process from ending.
"""

import codecs
import csv
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interpool._mapping.inside import Payload, cut, separator_of

# Bytes of a read. A pipe gives 64 KiB at the most; more than this no longer pays.
_SIZE: Final = 1 << 18
# Of paths and rows, which are larger than they look. Arbitrary.
_MOST_RECORDS: Final = 4096
STDIN: Final = "-"


class InputError(Exception):
    """An input that cannot be read: which one, and why."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some records in a row.

    Attributes:
        source: the file that they are from, `-` for standard input.
        first: which record of that file the first one is, from 0.
        payload: the records.
        count: how many there are.
        nbytes: how much had been read by then, of all files.
    """

    source: str
    first: int
    payload: Payload
    count: int
    nbytes: int

    def part(self, start: int, end: int) -> Block:
        """Return some of them, by their numbers within the block."""
        if start == 0 and end == self.count:
            return self
        payload = cut(self.payload, start, end)
        return Block(self.source, self.first + start, payload, end - start, self.nbytes)

    def pieces(self, size: Callable[[], int]) -> Iterator[Block]:
        """Cut it into pieces, each as large as is said when it is asked for."""
        start, size_now = 0, size()
        if size_now >= self.count:
            yield self
            return
        separator = b""
        parts: Payload = self.payload
        if isinstance(parts, bytes):  # taken apart once, and not for each piece
            separator = parts[-1:]
            separated = parts.split(separator)
        while True:
            end = min(start + size_now, self.count)
            if isinstance(self.payload, bytes):
                payload: Payload = separator.join(separated[start:end]) + separator
            else:
                payload = cut(self.payload, start, end)
            yield Block(self.source, self.first + start, payload, end - start, self.nbytes)
            start = end
            if start == self.count:
                return
            size_now = size()


@dataclass(frozen=True, slots=True)
class Reader:
    """How records are read.

    Attributes:
        kind: "lines", "json", "csv", "null" or "files".
        encoding: of the input.
        has_header: whether the first row of a CSV file names its columns.
    """

    kind: str
    encoding: str
    has_header: bool = True

    @property
    def sent_encoding(self) -> str:
        """The encoding of what is sent: where a newline is not one byte, it is another one."""
        return self.encoding if _is_like_ascii(self.encoding) else "utf-8"

    def blocks(self, sources: tuple[str, ...]) -> Iterator[Block]:
        """Read the files one after the other; with `files`, their names are the records.

        Raises:
            InputError: if one cannot be read, or not in this encoding.
        """
        if self.kind == "files" and STDIN not in sources:
            for start in range(0, len(sources), _MOST_RECORDS):
                paths = list(sources[start : start + _MOST_RECORDS])
                yield Block("", start, paths, len(paths), 0)
            return
        nbytes = 0
        for source in sources:
            first = 0
            try:
                with _opened(source) as descriptor:
                    for payload, count, read in self._payloads(descriptor):
                        yield Block(source, first, payload, count, nbytes + read)
                        first += count
                    nbytes += read if first else 0
            except (OSError, UnicodeError, csv.Error) as error:
                name = "Standard input" if source == STDIN else source
                reason = error.strerror if isinstance(error, OSError) else None
                message = f"{name} cannot be read: {reason or error}"
                raise InputError(message) from error

    def _payloads(self, descriptor: int) -> Iterator[tuple[Payload, int, int]]:
        if self.kind == "csv":
            yield from self._tables(descriptor)
            return
        separator = separator_of(self.kind)
        held: list[bytes] = []  # the beginning of a record that goes on
        nbytes = 0
        for data in self._reads(descriptor):
            nbytes += len(data)
            end = data.rfind(separator) + 1
            if not end:
                held.append(data)
                continue
            payload = b"".join([*held, data[:end]])
            held = [data[end:]] if end < len(data) else []
            yield self._payload(payload, separator), payload.count(separator), nbytes
        if last := b"".join(held):
            yield self._payload(last + separator, separator), 1, nbytes

    def _payload(self, records: bytes, separator: bytes) -> Payload:
        if self.kind != "files":
            return records
        return [os.fsdecode(path) for path in records.split(separator)[:-1]]

    def _reads(self, descriptor: int) -> Iterator[bytes]:
        if self.sent_encoding == self.encoding or self.kind == "files":
            while data := os.read(descriptor, _SIZE):
                yield data
            return
        for text in self._texts(descriptor):
            yield text.encode("utf-8", "surrogateescape")

    def _texts(self, descriptor: int) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)("surrogateescape")
        while data := os.read(descriptor, _SIZE):
            if text := decoder.decode(data):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text

    def _tables(self, descriptor: int) -> Iterator[tuple[Payload, int, int]]:
        lines = _Lines(self._texts(descriptor))
        reader = csv.reader(lines)
        header = None
        rows: list[list[str]] = []
        for row in reader:
            if not row:
                continue  # a blank line, as `csv.DictReader` has it
            if header is None and self.has_header:
                header = row
                header[0] = header[0].removeprefix("\ufeff")  # as spreadsheets write it
            else:
                rows.append(row)
            if rows and (lines.is_drained or len(rows) >= _MOST_RECORDS):
                yield (header, rows), len(rows), lines.nbytes
                rows = []
        if rows:
            yield (header, rows), len(rows), lines.nbytes


class _Lines:
    """Lines out of texts, which says when the next one has to be read for."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self._lines: list[str] = []
        self._index = 0
        self._held = ""
        self.nbytes = 0

    @property
    def is_drained(self) -> bool:
        return self._index == len(self._lines)

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.nbytes += len(text)
            *lines, self._held = (self._held + text).split("\n")
            self._lines = lines
            for self._index, line in enumerate(lines, 1):
                yield f"{line}\n"
        if self._held:
            self._lines = [self._held]
            self._index = 1
            yield self._held


@contextmanager
def _opened(source: str) -> Iterator[int]:
    if source == STDIN:
        yield 0
        return
    with Path(source).open("rb", buffering=0) as file:
        yield file.fileno()


def _is_like_ascii(encoding: str) -> bool:
    text = '\0\n\r," {}[]:09AZaz'
    try:
        return text.encode(encoding) == text.encode("ascii")
    except UnicodeEncodeError:
        return False


def total_size(sources: tuple[str, ...]) -> int | None:
    """How many bytes there are to be read; None if nobody knows."""
    try:
        paths = [Path(source) for source in sources]
        if not all(path.is_file() for path in paths):
            return None
        return sum(path.stat().st_size for path in paths)
    except OSError:
        return None
