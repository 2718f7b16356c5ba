"""What a worker takes down while its pool is traced: in an interpreter, or in a process.

Executed when the first task comes that is to be traced, so a worker of a pool that is not has none
of it. It guarantees:

* Times are `time.monotonic_ns`, which all interpreters and processes of a machine have in common.
* Nothing of it runs where a strike may land but `Recorder.each`, which is an iterator like any of
  the user's, and the hook of imports: neither has anything to put back.
* No code of a user's is run for it: arguments are shown if they are of types that are Python's own.
* What was taken down is sent in frames that the pipe takes in one piece: some tasks together, or
  when the worker sleeps and has sent nothing for some time; the rest when it leaves, or the trace
  ends. Two threads may send, the loop's and that which ends it: one at a time, and in the order in
  which it was done.
* When it ends, imports are what they were.
"""

import _collections  # type: ignore[import-not-found]  # what `collections` wraps
import _frozen_importlib
import _thread
import marshal
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from interpool._inside import channels, outcomes
else:
    import _interpool_channels as channels
    import _interpool_outcomes as outcomes

sys.modules["_interpool_tracing"] = sys.modules["interpool._inside.tracing"]
__name__ = "_interpool_tracing"

# What a record is of: a task; a part of the worker's start; an import.
TASK, START, IMPORT = range(3)
# Nanoseconds from which on a call's arguments are shown, and an import is worth a record.
LONG = 1_000_000
# Items of a piece of a map up to which each is timed: of more, none takes long, or it would be cut
# short, and timing them would.
MOST_TIMED = 100
# Records that go together, as many as a frame holds of most kinds; and nanoseconds behind the last
# after which fewer go, before the worker sleeps.
TOGETHER = 24
STALE = 20_000_000

# Stages of failures before the function is called.
_LOADING = frozenset({"function", "argument"})

type Record = tuple[Any, ...]

clock = time.monotonic_ns


class Recorder:
    """What one worker takes down for one trace.

    Attributes:
        number: the trace's.
        woken: when the worker has last woken from having nothing to do.
        is_answering: whether an answer is being sent, or was, of which there is no record yet.
    """

    def __init__(self, number: int, worker: int, fd: int, board: Any, began: int) -> None:
        """Make one.

        Args:
            number: the trace's.
            worker: the worker's number.
            fd: of the pipe for frames.
            board: the worker's.
            began: which place of it says since when the task runs.
        """
        self.number = number
        self.woken = 0
        self.is_answering = False
        self._is_closed = False
        self._worker = worker
        self._fd = fd
        self._board = board
        self._began_at = began
        self._thread = _thread.get_ident()
        self._records: Any = _collections.deque()
        self._sending = _thread.allocate_lock()
        self._named: set[int] = set()  # keys of functions whose names have been told
        self._sent_at = self._last = clock()
        self._task = self._key = self._submitted = self._taken = self._nbytes = 0
        self._began = self._ended = self._since = self._slowest = 0
        self._name: tuple[str, str] | None = None
        self._arguments = self._slowest_arguments = ""
        self._batch: tuple[int, dict[str, Any]] | None = None
        self._pending: Any = None

    # --- The start of the worker -----------------------------------------------------------------

    def begin_worker(self, since: int, what: str) -> None:
        """What has started it began then, and is done."""
        self._last = since
        self.note_prepared(what)

    def note_prepared(self, what: str) -> None:
        """A part of its start is done, which began when the last one was."""
        now = clock()
        self._records.append((START, what, self._last, now))
        self._last = now

    # --- Tasks -----------------------------------------------------------------------------------

    def take(
        self, task: int, measured: int, key: int, head: Sequence[Any], large: Sequence[Any]
    ) -> None:
        """A task has been taken; its message is about to be loaded."""
        self._task, self._key, self._submitted = task, key, abs(measured)
        self._taken = self.woken or self._last
        self._nbytes = len(head)
        for part in large:
            self._nbytes += part.nbytes if type(part) is memoryview else len(part)
        self.woken = self._began = self._ended = self._slowest = 0
        self._name = self._batch = None
        self._arguments = self._slowest_arguments = ""

    def begin(self, now: int) -> Recorder:
        """The function is about to be called."""
        self._began = self._board[self._began_at] = now
        return self

    def each(
        self,
        function: Any,
        items: Any,
        load: Callable[[Any], tuple[Any, ...]] | None,
    ) -> tuple[Iterable[Any], Callable[[Any], tuple[Any, ...]] | None]:
        """Return the items of a piece, and what loads them, in a way that times each."""
        self._name = self._name_of(function)
        if len(items) > MOST_TIMED:
            return items, load
        self._since = clock()
        if load is None:
            return self._timed(items, is_shown=True), None

        def loaded(packed: Any) -> tuple[Any, ...]:
            self._pending = args = load(packed)
            return args

        return self._timed(items, is_shown=False), loaded

    def _timed(self, items: Iterable[Any], *, is_shown: bool) -> Iterator[Any]:
        for args in items:
            self._pending = args if is_shown else None
            yield args
            self._note_item()

    def _note_item(self) -> None:
        now = clock()
        took, self._since = now - self._since, now
        args, self._pending = self._pending, None
        if took > self._slowest:
            self._slowest = took
            self._slowest_arguments = shown(args, {}) if took >= LONG and args else ""

    def end_each(self) -> None:
        """The items of a piece are done, or those that were begun."""
        if self._since:
            if self._pending is not None:  # the last one, if there were to be more
                self._note_item()
            self._since = 0
        self._ended = clock()

    def end(
        self,
        function: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        value: Any,
        *,
        is_shown: bool,
    ) -> None:
        """The function has returned the value, or raised."""
        self._ended = now = clock()
        self._batch = told_by_batch(value)
        if self._batch is None and (is_shown or now - self._began >= LONG):
            self._arguments = shown(_records_of(function, args), kwargs)
        if self._key not in self._named:
            self._name = self._name_of(function)

    def answer(self, kind: int, payload: Any) -> None:
        """The outcome is ready, or has been sent."""
        self._board[self._began_at] = 0
        now = clock()
        items, nbytes, extra = _told_by(kind, payload)
        if self._batch is not None:
            items, told = self._batch
            extra |= told
        if self._arguments:
            extra["arguments"] = self._arguments
        if self._slowest:
            extra["slowest"] = self._slowest, self._slowest_arguments
        if self._name is not None:
            extra["name"] = self._name
            if self._key:
                self._named.add(self._key)
        self._pending = None
        self._last = now
        # If it has not begun as far as is known here, the trace has ended meanwhile, unless the
        # task could not be loaded.
        if self._began or extra.get("stage") in _LOADING:
            ended = self._ended or now
            self._records.append(
                (
                    *(TASK, self._task, self._key, self._submitted, self._taken, self._began),
                    *(ended, now, self._nbytes, nbytes, kind, items, extra or None),
                )
            )
        self.is_answering = False
        # Looked at afterwards: whoever closes this does it the other way round (`end`).
        if self._is_closed:
            self.tell_closed()
        elif len(self._records) >= TOGETHER:
            self.flush()

    def _name_of(self, function: Any) -> tuple[str, str] | None:
        return None if self._key in self._named else name_of(function)

    # --- Sending ---------------------------------------------------------------------------------

    def flush_stale(self) -> None:
        """Send what has been taken down, if the last was sent some time ago.

        Not whenever the worker has nothing to do, which in a stream of short tasks is all the time:
        each frame wakes a thread of the main interpreter.
        """
        if clock() - self._sent_at >= STALE:
            self.flush()

    def flush(self) -> None:
        """Send what has been taken down."""
        records = self._records
        self._sent_at = clock()
        # What one thread has taken out must be sent before what comes behind it, and before the
        # word that there is nothing more.
        with self._sending:
            while records:
                self._send([records.popleft() for _ in range(min(len(records), TOGETHER))])

    def _send(self, batch: list[Record]) -> None:
        frame = marshal.dumps((self._worker, channels.TRACED, (self.number, self.process, batch)))
        if len(frame) + channels.HEADER <= channels.ATOMIC_WRITE:
            channels.write(self._fd, channels.with_length(frame))
        elif len(batch) > 1:
            half = len(batch) // 2
            self._send(batch[:half])
            self._send(batch[half:])
        elif batch[0][-1] is not None and batch[0][0] == TASK:  # where pipes take less than Linux's
            self._send([(*batch[0][:-1], None)])

    process = 0  # of a worker process, its identifier

    # --- Imports ---------------------------------------------------------------------------------

    def watch(self) -> None:
        """Take down imports, too, from now on."""
        global _watching  # noqa: PLW0603 - one interpreter, one import
        with _lock:
            _watching = self
            if _bootstrap._find_and_load is not _find_and_load:
                _original[:] = [_bootstrap._find_and_load]
                _bootstrap._find_and_load = _find_and_load

    def end_trace(self) -> None:
        """Close, in another thread than the loop's, and say so as soon as all has been sent.

        If whoever waits for a task may have its answer by now, that is when it is in a record.
        """
        self._is_closed = True
        self.close()
        if not self.is_answering:
            self.tell_closed()

    def tell_closed(self) -> None:
        """Send what is left, and that there will be nothing more."""
        self.flush()
        frame = marshal.dumps((self._worker, channels.TRACED, (self.number, 0, None)))
        channels.write(self._fd, channels.with_length(frame))

    def close(self) -> None:
        """Take down nothing any more, and send the rest."""
        global _watching  # noqa: PLW0603 - as above
        with _lock:
            if _watching is self:
                _watching = None
                if _bootstrap._find_and_load is _find_and_load:
                    _bootstrap._find_and_load = _original[0]
        self.flush()

    def note_import(self, name: str, since: int) -> None:
        """A module has been imported, or could not be."""
        now = clock()
        if now - since >= LONG and _thread.get_ident() == self._thread:
            self._records.append((IMPORT, str(name)[:_LONGEST], since, now))


_watching: Recorder | None = None
_lock = _thread.allocate_lock()
_bootstrap: Any = _frozen_importlib
_original: list[Any] = []


def _find_and_load(name: Any, import_: Any) -> Any:
    """Stand in for that of `importlib`, which is called for what is not in `sys.modules`."""
    since = clock()
    try:
        return _original[0](name, import_)
    finally:
        if _watching is not None:
            _watching.note_import(name, since)


# Tracebacks leave out importlib's own frames, which they know by this.
_find_and_load.__code__ = _find_and_load.__code__.replace(
    co_filename=_bootstrap._find_and_load.__code__.co_filename
)


# --- In words ------------------------------------------------------------------------------------

_LONGEST = 200  # characters of a name, or of an error
_SHORT = 100  # characters of arguments
_FEW = 6  # elements of a container that are shown
_DEEP = 3  # containers in each other
_DIGITS = 300  # bits of an integer
# Modules whose types are shown as they show themselves: small, in no time.
_BRIEF = frozenset({"datetime", "decimal", "fractions", "pathlib", "uuid"})
_PAIRS: dict[Any, Any] = {
    dict: "{}",
    list: "[]",
    tuple: "()",
    set: "{}",
    frozenset: ("frozenset({", "})"),
}


def shortened(text: str, most: int) -> str:
    """A text of that many characters at the most."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """Arguments as in a call, shortened; of types that are not Python's own, the names only."""
    parts: list[str] = []
    try:
        for value in args:
            parts.append(_brief(value, _DEEP))
            if len(parts) > _FEW:
                break
        parts += [f"{name}={_brief(value, _DEEP)}" for name, value in [*kwargs.items()][:_FEW]]
    except Exception:  # another thread changes them
        parts.append("…")
    return shortened(", ".join(parts), _SHORT)


def _brief(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int:
        return repr(value) if value.bit_length() < _DIGITS else f"<int, {value.bit_length()} bits>"
    if kind in {str, bytes, bytearray}:
        text = repr(value[:_SHORT])
        return text if len(value) <= _SHORT else f"{text}…"
    if kind in {float, complex, bool, type(None), range}:
        return repr(value)
    if kind in _PAIRS:
        return _brief_container(kind, value, depth - 1)
    name, module = outcomes._names_of(kind)
    return shortened(repr(value), _SHORT) if module in _BRIEF else f"<{name}>"


def _brief_container(kind: type, value: Any, depth: int) -> str:
    first, last = _PAIRS[kind]
    if depth < 0:
        return f"{first}…{last}"
    some: Any = zip(range(_FEW), value.items() if kind is dict else value, strict=False)
    if kind is dict:
        found = [f"{_brief(key, depth)}: {_brief(it, depth)}" for _, (key, it) in some]
    else:
        found = [_brief(it, depth) for _, it in some]
    if len(value) > _FEW:
        found.append("…")
    only = "," if kind is tuple and len(value) == 1 else ""
    return f"{first}{', '.join(found)}{only}{last}"


def name_of(function: Any) -> tuple[str, str]:
    """The module and the qualified name of a callable, without a call of its own code."""
    kind = type(function)
    if kind is type(Recorder.flush.__get__(0)):
        function = function.__func__
        kind = type(function)
    name, module = outcomes._names_of(kind)
    if kind is type(name_of) or kind is type(len):
        name, module = function.__qualname__, function.__module__
    elif issubclass(kind, type):
        name, module = outcomes._names_of(function)
    elif name == "partial" and module == "functools":
        module, name = name_of(function.func)
        name = f"partial({name})"
    else:
        try:
            own = object.__getattribute__(function, "__dict__").get("__qualname__")
        except AttributeError:
            own = None
        module, name = ("", own) if type(own) is str else (module, f"{name} object")
    return (
        shortened(module if type(module) is str else "", _LONGEST),
        shortened(name, _LONGEST),
    )


def _told_by(kind: int, payload: Any) -> tuple[int, int, dict[str, Any]]:
    """How many items an outcome is of, its bytes where they are known, and what has failed."""
    if kind == channels.EACH:
        _, found, failures, items, _ = payload
        extra: dict[str, Any] = {}
        if failures:
            error = _error_in(next(iter(failures.values())))
            extra = {"failed": len(failures), "error": error}
        return items, _size_of(found), extra
    if kind == channels.FAILED:
        return 1, 0, {"error": _error_in(payload), "stage": payload[0]}
    return 1, 0 if kind == channels.STRUCK else _size_of(payload), {}


def _records_of(function: Any, args: Sequence[Any]) -> Sequence[Any]:
    """What a call is shown with: a batch of `interpool map`, with the first of its records."""
    inside = sys.modules.get("interpool._mapping.inside")
    if inside is None or type(function) is not inside.Work:
        return args
    records: Sequence[Any] = inside.records_of(args[0])
    return records


def told_by_batch(value: Any) -> tuple[int, dict[str, Any]] | None:
    """How many records a batch of `interpool map` was of, and what is told of them; else None."""
    inside = sys.modules.get("interpool._mapping.inside")
    if inside is None or type(value) is not inside.Outcome:
        return None
    items, failures, slowest = value.done + value.is_stopped, value.failures, value.slowest
    extra: dict[str, Any] = {}
    if failures:
        error = shortened(failures[0].error.partition("\n")[0], _LONGEST)
        extra = {
            "failed": len(failures),
            "error": error,
            "arguments": shown((failures[0].record,), {}),
        }
    if slowest is not None:
        took, record = int(slowest[0] * 1e9), slowest[1]
        arguments = shown((record,), {}) if took >= LONG else ""
        extra["slowest"] = took, arguments
        if items == 1 and arguments:
            extra["arguments"] = arguments
    return items, extra


def _error_in(description: outcomes.Description) -> str:
    packed = description[1]
    return shortened(f"{packed[1]}: {packed[3]}".partition("\n")[0], _LONGEST)


def _size_of(payload: Any) -> int:
    """Bytes of an outcome, where they are known without counting; else 0."""
    kind = type(payload)
    if kind is bytes or kind is str:
        return len(payload)
    if kind is tuple and payload and all(type(it) in _SIZED for it in payload[1:]):
        return sum(map(len, payload[1:]))
    return 0


_SIZED = frozenset({bytes, bytearray, memoryview})
