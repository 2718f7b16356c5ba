"""What a worker does with some records: reads each, calls the function, puts the result in bytes.

Both are done here rather than in the main interpreter, so that they use all cores; and what comes
back can always be sent, whatever the function returns. Imports little: each worker pays for it.
"""

import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_REFUSAL: Final = "does not support loading in subinterpreters"

type Payload = bytes | list[str] | tuple[list[str] | None, list[list[str]]]
"""Records: with a separator behind each, paths, or a header and rows."""

type Row = tuple[list[str] | None, list[str]]
"""A row of CSV: its columns, if the result had names for them, and its cells."""


class Failure(NamedTuple):
    """What became of a record whose result there is not.

    Attributes:
        offset: which record of the batch, from 0.
        record: what the function was given, or the record as it was read.
        error: the exception's type and text.
        traceback: as Python prints it.
    """

    offset: int
    record: Any
    error: str
    traceback: str


class Outcome(NamedTuple):
    """What became of a batch, or of its first part.

    Attributes:
        done: how many records have been dealt with, the failed ones included.
        output: results in order, in bytes, or as rows.
        failures: in order.
        seconds: what it took.
        rest: records that were not begun.
        is_stopped: whether a failure ended it; that record is not among `done`.
        slowest: the record that took longest, and how many seconds, if the run is traced.
    """

    done: int
    output: bytes | list[Row]
    failures: list[Failure]
    seconds: float
    rest: Payload | None
    is_stopped: bool
    slowest: tuple[float, Any] | None = None


class Work:
    """A function, with how records are read for it and how results are put.

    Attributes:
        fn: what is called, with one argument.
        __qualname__: what it is called, where something is said of it.
        kind: what records are: "lines", "json", "csv", "null" or "files".
        read: what of a file the function is given: "text", "bytes", or None for its path.
        encoding: of the records' bytes.
        result_encoding: of the results' text.
        form: of results: "text", "json" or "csv".
        stops: whether a failure ends a batch.
        raises: whether what the function raises is raised, for the pool to run it again.
        reroutes: whether an extension that refuses interpreters sends the batch to a process.
        budget: seconds after which what was not begun is handed back.
    """

    def __init__(
        self,
        fn: Callable[[Any], Any],
        *,
        name: str,
        kind: str,
        read: str | None,
        encoding: str,
        result_encoding: str,
        form: str,
        stops: bool,
        raises: bool,
        reroutes: bool,
        budget: float,
    ) -> None:
        self.fn = fn
        self.__qualname__ = name  # what the pool's errors and warnings call it
        self.kind = kind
        self.read = read
        self.encoding = encoding
        self.result_encoding = result_encoding
        self.form = form
        self.stops = stops
        self.raises = raises
        self.reroutes = reroutes
        self.budget = budget

    def __call__(self, payload: Payload) -> Outcome:  # noqa: C901 - every record goes through it
        """Deal with a batch, or with its first part if it takes too long."""
        began = now = time.perf_counter()
        records, parse = self._records(payload)
        put = self._putter()
        results: list[Any] = []
        failures: list[Failure] = []
        fn, add, limit = self.fn, results.append, began + self.budget
        done = 0
        # A worker has that module while it is traced: which record takes longest is wanted then.
        longest = 0.0 if "_interpool_tracing" in sys.modules else float("inf")
        slowest: tuple[float, Any] | None = None
        for record in records:
            value: Any = record
            is_calling = False
            try:
                if parse is not None:
                    value = parse(record)
                if value is not _NOTHING:
                    is_calling = True
                    result = fn(value)
                    is_calling = False
                    add(put(result))
            except KeyboardInterrupt:
                raise  # how a worker is told to stop
            except BaseException as error:  # a function may raise anything, or exit
                if is_calling and self._is_for_the_pool(error):
                    if done == 0:
                        raise
                    break  # the pool is to see it first thing in a batch, with nothing done before
                failures.append(_failure(done, value, error))
                if self.stops:
                    break
            done += 1
            then, now = now, time.perf_counter()
            if now - then > longest:
                longest = now - then
                slowest = longest, record
            if now > limit:
                break
        is_stopped = self.stops and bool(failures)
        rest = None if is_stopped or done == len(records) else cut(payload, done, len(records))
        output = results if self.form == "csv" else b"".join(results)
        return Outcome(done, output, failures, now - began, rest, is_stopped, slowest)

    def _is_for_the_pool(self, error: BaseException) -> bool:
        """Whether the pool is to see what the function raises, and to run the batch again."""
        return self.raises or (self.reroutes and _is_refusal(error))

    # --- Reading -------------------------------------------------------------------------------

    def _records(self, payload: Payload) -> tuple[list[Any], Callable[[Any], Any] | None]:
        """Return the records, and what makes an argument of each, if they are none yet."""
        if isinstance(payload, tuple):
            header, rows = payload
            return rows, None if header is None else _Named(header)
        if isinstance(payload, list):
            return payload, None if self.read is None else self._content
        separator = separator_of(self.kind)
        try:
            records: list[Any] = payload.decode(self.encoding, "surrogateescape").split(
                separator.decode()
            )
            parse: Callable[[Any], Any] = str
        except UnicodeDecodeError:  # of one of them: the others are well
            records = payload.split(separator)
            parse = self._decoded
        records.pop()  # behind the last separator
        if self.kind == "json":
            return records, lambda record: _from_json(parse(record))
        if self.kind == "lines" and b"\r" in payload:
            return records, lambda record: parse(record).removesuffix("\r")
        return records, None if parse is str else parse

    def _decoded(self, record: bytes) -> str:
        return record.decode(self.encoding, "surrogateescape")

    def _content(self, path: str) -> str | bytes:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would cost each worker 5 ms
            content = file.read()
        if self.read == "bytes":
            return content
        return content.decode(self.encoding, "surrogateescape")

    # --- Results -------------------------------------------------------------------------------

    def _putter(self) -> Callable[[Any], Any]:
        encoding = self.result_encoding
        if self.form == "csv":
            return _row
        if self.form == "json":
            return _json_putter()

        def put(result: object) -> bytes:
            if type(result) is bytes:
                return result + b"\n"
            if result is None:
                return b"\n"
            return f"{result!s}\n".encode(encoding, "surrogateescape")

        return put


_NOTHING: Final = object()


def separator_of(kind: str) -> bytes:
    """What stands behind each record."""
    return b"\0" if kind == "null" else b"\n"


def cut(payload: Payload, start: int, end: int, separator: bytes | None = None) -> Payload:
    """Return some of the records of a batch, by their numbers."""
    if isinstance(payload, tuple):
        return payload[0], payload[1][start:end]
    if isinstance(payload, list):
        return payload[start:end]
    if separator is None:
        separator = payload[-1:]  # every record has one behind it
    return separator.join(payload.split(separator)[start:end]) + separator


def records_of(payload: Payload) -> list[Any]:
    """Return the records of a batch as they can be told, without the function's encoding."""
    if isinstance(payload, tuple):
        header, rows = payload
        return [row if header is None else dict(zip(header, row, strict=False)) for row in rows]
    if isinstance(payload, list):
        return payload
    separator = payload[-1:]
    return [record.decode("utf-8", "surrogateescape") for record in payload.split(separator)[:-1]]


class _Named:
    """Makes dictionaries of rows."""

    def __init__(self, header: list[str]) -> None:
        self._header = header

    def __call__(self, row: list[str]) -> dict[str, str | None]:
        header = self._header
        if len(row) > len(header):
            message = f"the row has {len(row)} cells, and the header {len(header)}"
            raise ValueError(message)
        cells: list[str | None] = [*row, *[None] * (len(header) - len(row))]
        return dict(zip(header, cells, strict=True))


def _from_json(text: str) -> Any:
    import json

    # A blank line among JSON lines is nothing, as for most that read them.
    return _NOTHING if not text or text.isspace() else json.loads(text)


def _json_putter() -> Callable[[Any], bytes]:
    import json

    # NaN and infinities are no JSON, whatever Python makes of them.
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    encode_in_ascii = json.JSONEncoder(allow_nan=False).encode

    def put(result: object) -> bytes:
        text = encode(result)
        try:
            return f"{text}\n".encode()
        except UnicodeEncodeError:  # bytes that were no UTF-8 in the input: as escapes
            return f"{encode_in_ascii(result)}\n".encode()

    return put


def _row(result: object) -> Row:
    if isinstance(result, dict):
        return [str(key) for key in result], _cells(result.values())
    if isinstance(result, (list, tuple)):
        return None, _cells(result)
    return None, _cells((result,))


def _cells(values: Iterable[object]) -> list[str]:
    return ["" if value is None else str(value) for value in values]


def _failure(offset: int, record: object, error: BaseException) -> Failure:
    import traceback

    frames = error.__traceback__
    own = None if frames is None else frames.tb_next  # the first frame is of this module
    try:
        said = "".join(traceback.format_exception_only(error)).strip()
        lines = "".join(traceback.format_exception(type(error), error, own))
    except Exception:  # its __str__ raised, or worse
        said = lines = type(error).__qualname__
    return Failure(offset, _as_told(record), said, lines)


def _as_told(record: object) -> Any:
    """Return what a record is told as: what JSON has, or else in Python's words."""
    import json

    try:
        return json.loads(json.dumps(record))
    except Exception:
        return repr(record)


def _is_refusal(error: BaseException | None) -> bool:
    """Whether an extension that does not load in interpreters is the cause, wrapped or not."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ImportError) and _REFUSAL in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
