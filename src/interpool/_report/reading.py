"""The file of a trace, read as it is parsed: of a million events, one at a time is held as JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from interpool._report.trace import Trace, TraceError, from_events

_BLOCK: Final = 1 << 20  # characters read at once: arbitrary, a few thousand events
_BLANKS: Final = " \t\r\n"


def read(path: Path) -> Trace:
    """Read a trace.

    A file that ends in the middle, as that of a run that was killed does, is read up to there.

    Raises:
        OSError: if the file cannot be read.
        TraceError: if it is no trace of interpool's; it says what is wrong, and where.
    """
    with path.open(encoding="utf-8-sig") as file:
        document = _Document(file, str(path))
        try:
            trace = from_events(str(path), document.events(), document.info)
        except UnicodeDecodeError as error:
            raise TraceError(f"{path} is no trace: it is not text in UTF-8") from error
    trace.is_cut = document.is_cut
    return trace


class _CutError(Exception):
    """The file ends where something should come."""


class _Document:
    """The object that a trace is, parsed from its beginning."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.info: dict[str, Any] = {}
        self.is_cut = False
        self._file = file
        self._name = name
        self._text = ""
        self._at = 0
        self._lines = 1  # that begin before what is kept of the text
        self._block = _BLOCK
        # What Python writes for `inf` and `nan` is no JSON: as a text, it is refused or shown.
        self._decode = json.JSONDecoder(parse_constant=str).raw_decode

    def events(self) -> Iterator[Any]:
        """Yield what is in `traceEvents`; what else there is, is in `info` by the end."""
        if not self._peek():
            raise TraceError(f"{self._name} is empty")
        if self._peek() != "{":
            raise self._no_trace("it does not begin with {")
        has_events = False
        try:
            for key in self._keys():
                if key == "traceEvents":
                    has_events = True
                    yield from self._array()
                elif key == "otherData":
                    found = self._value()
                    self.info.update(found if isinstance(found, dict) else {})
                else:
                    self._value()
        except _CutError:
            self.is_cut = True
        if not has_events:
            raise self._no_trace("it has no traceEvents")

    def _keys(self) -> Iterator[str]:
        self._take("{")
        while self._peek() != "}":
            key = self._value()
            if not isinstance(key, str):
                raise self._no_trace("a name in it is no text")
            self._take(":")
            yield key
            if self._peek() != "}":
                self._take(",")

    def _array(self) -> Iterator[Any]:
        self._take("[")
        while self._peek() != "]":
            yield self._value()
            if self._peek() != "]":
                self._take(",")
        self._take("]")

    def _value(self) -> Any:
        if not self._peek():
            raise _CutError
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                place = error.pos - self._at  # what has been passed is let go of
                if self._more():
                    continue  # it may go on in what is not read yet
                if self._ends_at(place) or error.msg.startswith("Unterminated string"):
                    raise _CutError from None
                raise self._no_trace(error.msg, place) from None
            except RecursionError:
                raise self._no_trace("it is nested too deeply") from None
            if end == len(self._text) and isinstance(value, int | float) and self._more():
                continue  # there may be more digits
            self._at = end
            self._block = _BLOCK
            return value

    def _ends_at(self, place: int) -> bool:
        """Whether the end of the file is what is wrong there, rather than what stands there."""
        text = self._text.rstrip(_BLANKS)
        return place >= len(text) or not text.endswith("}")

    def _take(self, mark: str) -> None:
        found = self._peek()
        if not found:
            raise _CutError
        if found != mark:
            raise self._no_trace(f"there is {found!r} where {mark!r} should be")
        self._at += 1

    def _peek(self) -> str:
        """Return the next character that is not blank; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on; more each time that what there was did not suffice, so that no value is slow."""
        block = self._file.read(self._block)
        self._block *= 2
        self._lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + block
        self._at = 0
        return bool(block)

    def _no_trace(self, why: str, at: int | None = None) -> TraceError:
        line = self._lines + self._text.count("\n", 0, self._at if at is None else at)
        return TraceError(f"{self._name} is no trace: {why} (line {line:,})")
