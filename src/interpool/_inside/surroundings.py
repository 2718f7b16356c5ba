"""What a worker takes over from the main interpreter, and what it hands back beside its answers.

It takes over `sys.path`, `sys.argv`, the warning filters, the levels of loggers and its host
thread's name; of these, what main has changed since, before each task, and nothing that a task has
changed itself. Printed lines and log records go through the pipe, before the answer of the task
that they are of: through the pipe alone, whose room bounds what has not been read.

Nothing is imported here for that: `threading` and `logging` are met when a task imports them.
"""

import _codecs
import _io
import _thread
import _warnings
import builtins
import itertools
import marshal
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

    from interpool._inside import channels
else:
    import _interpool_channels as channels

sys.modules["_interpool_surroundings"] = sys.modules["interpool._inside.surroundings"]
__name__ = "_interpool_surroundings"

# What a piece of output is of.
RECORD, STDOUT, STDERR = range(3)

# Bytes of output in one frame: the rest of what is written in one piece is for marshal's numbers.
_PIECE = channels.ATOMIC_WRITE - 64
# Bytes without an end of line that wait for one. A longer line is passed on in parts, between which
# another's may come: what waits is in memory twice over. The number is arbitrary.
_LONGEST_LINE = 1 << 24

type Said = tuple[int, int, bytes, bool]
"""A unit's number, what it is, the piece of it, and whether that is the last."""
type Filter = tuple[
    str, str | tuple[str, int] | None, tuple[str, str], str | tuple[str, int] | None, int
]
"""A warning filter, patterns as text and flags, the category as module and qualified name."""
type Mark = tuple[str, str]
"""By which a handler is known in another interpreter: its class, and its file if it has one."""
type Here = tuple[tuple[str, Mark], ...]
"""The handlers of a worker that have handled a record, each with its logger's name."""
type Levels = tuple[int, dict[str, int], bool, dict[str, tuple[Mark, ...]]]
"""What `logging.disable` was told, each logger's level, whether warnings are logged, handlers."""
type Environment = tuple[list[str], list[str], list[Filter], Levels]
"""`sys.path`, `sys.argv`, the warning filters and the levels."""


# --- Said: lines and records ---------------------------------------------------------------------


class Voice:
    """What sends output to main, in pieces that the pipe takes whole.

    A unit's pieces go by its number, for others may come in between: of another thread, or of a
    finalizer that prints in this one.
    """

    def __init__(self, number: int, fd: int) -> None:
        """Args: the worker's number, and the results pipe."""
        self._number = number
        self._fd = fd
        self._units = itertools.count()

    def say(self, kind: int, data: bytes) -> None:
        """Send a unit of output: whole lines, or a record."""
        unit = next(self._units)
        for start in range(0, len(data), _PIECE):
            end = start + _PIECE
            said: Said = (unit, kind, data[start:end], end >= len(data))
            frame = marshal.dumps((self._number, channels.SAID, said))
            channels.write(self._fd, channels.with_length(frame))


class Lines(_io._BufferedIOBase):
    """The binary stream under `sys.stdout` and `sys.stderr`: sends whole lines.

    A rest without an end of line waits, each thread's for itself, until it is flushed. A finalizer
    that prints comes in between any two calls here, and finds and leaves everything whole.
    """

    def __init__(self, voice: Voice, kind: int) -> None:
        """Args: where to send, and as what."""
        self._voice = voice
        self._kind = kind
        self.rests: dict[int, bytearray] = {}  # by thread; of those that have ended, empty

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Take what is printed."""
        data = bytes(data)
        thread = _thread.get_ident()
        if thread not in self.rests:
            self.rests.setdefault(thread, bytearray())
        # Of the rest neither a copy is made nor is it searched: it may grow by a few bytes a call.
        end = data.rfind(b"\n") + 1
        if end:
            self._voice.say(self._kind, bytes(self._take(thread) + data[:end]))
        self.rests[thread] += data[end:]
        if len(self.rests[thread]) >= _LONGEST_LINE:
            self._send_rest(thread, is_last=False)
        return len(data)

    def _take(self, thread: int) -> bytearray:
        empty = bytearray()
        # Nothing is called between these two lines, so nothing is written either.
        rest = self.rests[thread]
        self.rests[thread] = empty
        return rest

    def _send_rest(self, thread: int, *, is_last: bool) -> None:
        """Send what waits for the end of its line; keep a character that is half written."""
        rest = self._take(thread)
        if not is_last and (half := _half_written(rest)):
            self.rests[thread][:0] = rest[-half:]
            del rest[-half:]
        if rest:
            self._voice.say(self._kind, bytes(rest))

    def close(self) -> None:
        """Flush, and stay open: the worker's next task prints too.

        A stream that a task has put around this one closes it when it is gone.
        """
        self.flush()

    def flush(self, *, is_last: bool = False) -> None:
        """Send this thread's rest, and those of threads that have ended.

        Args:
            is_last: whether this thread's task has ended.
        """
        # No global name until there is a rest: `threading` keeps `sys.stderr`, so the stream's
        # finalizer calls this when the interpreter has no names any more. What is raised then is
        # never freed, and with it stays the memory of the whole interpreter.
        for rest in self.rests.copy().values():
            if rest:
                break
        else:
            return
        this = _thread.get_ident()
        for thread in self.rests.keys() - (sys._current_frames().keys() - {this}):
            self._send_rest(thread, is_last=is_last or thread != this)


def _half_written(data: bytearray) -> int:
    """Return how many bytes at the end begin a character (of UTF-8) and do not complete it."""
    end = bytes(data[-3:])  # of four at most
    return len(end) - _codecs.utf_8_decode(end, "ignore", False)[1]  # noqa: FBT003 - as it wants it


# By the names under which tasks find them in `sys`: each with what it writes to.
_streams: dict[str, tuple[Any, Lines]] = {}


def _stream(voice: Voice, kind: int, name: str) -> Any:
    lines = Lines(voice, kind)
    buffer: Any = lines
    # What cannot be encoded must not fail a task: only main knows what its own stream makes of it.
    stream = _io.TextIOWrapper(
        buffer, "utf-8", errors="surrogatepass", newline="\n", write_through=True
    )
    lines.name = f"<{name}>"  # type: ignore[attr-defined]  # what TextIOWrapper gives as its own
    _streams[name] = stream, lines
    return stream


def _flush(stream: Any) -> None:
    try:  # noqa: SIM105 - importing contextlib would cost each worker more than that
        stream.flush()
    except BaseException:  # noqa: S110 - closed, say; the task is over, and nobody asks
        pass


def flush() -> None:
    """Send what the task that ends has printed without an end of line."""
    for name, (own, lines) in _streams.items():
        stream: Any = getattr(sys, name, None)
        if stream is not own or not own.write_through:  # a task has put another in its place
            _flush(stream)
        if lines.rests:
            lines.flush(is_last=True)


# --- Taken over ----------------------------------------------------------------------------------

_first = b""  # what the worker began with
_adopted = b""
_environment: Environment = ([], [], [], (0, {}, False, {}))
_voice: Voice | None = None


def begin(number: int, results: int, names: tuple[str, str], environment: bytes) -> None:
    """Set a worker up, in the thread that will run its tasks.

    Args:
        number: the worker's.
        results: the results pipe.
        names: the thread's, and what the system is told (`_threads`).
        environment: what main's is like.
    """
    global _first, _voice  # noqa: PLW0603 - the state of this module
    _first = environment
    _voice = Voice(number, results)
    # What a task that has redirected its output puts back may be the one or the other.
    sys.stdout = sys.__stdout__ = _stream(_voice, STDOUT, "stdout")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(_voice, STDERR, "stderr")  # type: ignore[misc]
    loop = _thread.get_ident()
    name, shortened = names

    def name_thread(threading: Any) -> None:
        if _thread.get_ident() == loop:
            threading.current_thread().name = name  # which tells the system, too
            _thread.set_name(shortened)

    def filter_warnings(_warnings: Any) -> None:
        _set_filters(_environment[2])

    _when_imported("threading", name_thread)
    # Importing it puts the filters of `-W`, `PYTHONWARNINGS` and `-X dev` before those there are.
    _when_imported("warnings", filter_warnings)
    _when_imported("logging", _forward_records)
    adopt(None)


def adopt(environment: bytes | None) -> None:
    """Take over what main has changed.

    Args:
        environment: marshalled; None for what the worker began with.
    """
    global _adopted, _environment
    wanted = _first if environment is None else environment
    if wanted == _adopted:
        return
    path, argv, filters, levels = _environment
    new: Environment = marshal.loads(wanted)
    if new[0] != path:
        sys.path[:] = new[0]
    if new[1] != argv:
        sys.argv[:] = new[1]
    if new[2] != filters:
        _set_filters(new[2])
    _adopted, _environment = wanted, new
    if new[3] != levels and "logging" in sys.modules:
        _set_levels(sys.modules["logging"], new[3])
    elif new[3][2]:
        import logging  # noqa: F401 - warnings are logged, and `_forward_records` sees to that


# --- Warnings ------------------------------------------------------------------------------------


class _Pattern:
    """A regular expression, compiled when a warning comes: importing `re` costs 7 ms."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags

    def match(self, text: str) -> Any:
        """Match, as `re.Pattern` does."""
        import re

        return re.compile(self.pattern, self.flags).match(text)


class _Named(type):
    """A category of warnings by its name: no worker imports a module for its warnings alone."""

    place: tuple[str, str]

    def __subclasscheck__(cls, subclass: type) -> bool:
        return any((it.__module__, it.__qualname__) == cls.place for it in subclass.__mro__)


def _category(module: str, qualname: str) -> Any:
    if module == "builtins":
        return getattr(builtins, qualname)
    return _Named(qualname, (Warning,), {"__module__": module, "place": (module, qualname)})


def _pattern(it: str | tuple[str, int] | None) -> Any:
    return _Pattern(*it) if isinstance(it, tuple) else it


def _set_filters(filters: Iterable[Filter]) -> None:
    target: Any = sys.modules.get("warnings", _warnings)
    made = [
        (action, _pattern(text), _category(*category), _pattern(module), line)
        for action, text, category, module, line in filters
    ]
    _warnings._acquire_lock()  # type: ignore[attr-defined]
    try:
        target.filters[:] = made
        _warnings._filters_mutated_lock_held()  # type: ignore[attr-defined]
    finally:
        _warnings._release_lock()  # type: ignore[attr-defined]


# --- Logging -------------------------------------------------------------------------------------

_PLAIN = frozenset({type(None), bool, int, float, str})


def mark_of(handler: Any) -> Mark:
    """Return by what a handler is known where a module has made one like it."""
    kind = type(handler)
    return f"{kind.__module__}.{kind.__qualname__}", f"{getattr(handler, 'baseFilename', '')}"


def _forward_records(logging: Any) -> None:
    """Send every record that nobody here keeps to the handlers of main."""

    class ToMain(logging.Handler):  # type: ignore[misc]
        def handle(self, record: Any, here: Here = ()) -> None:
            try:
                data = marshal.dumps((_plain_record(logging, record), here))
            except Exception:  # what the user gave cannot be formatted
                self.handleError(record)
            else:
                assert _voice is not None  # noqa: S101 - it was there before this handler
                _voice.say(RECORD, data)

    to_main = ToMain()

    def call_handlers(self: Any, record: Any) -> None:
        """Call handlers as `logging` does, but leave those that main has too to main.

        A module that adds a handler when it is imported does so in each interpreter.
        """
        here: list[tuple[str, Mark]] = []
        is_for_main, found = False, 0
        logger = self
        while logger:
            of_main = _environment[3][3].get(logger.name, ())
            for handler in logger.handlers:
                found += 1
                if handler is to_main or (mark := mark_of(handler)) in of_main:
                    is_for_main = True
                elif record.levelno >= handler.level:
                    handler.handle(record)
                    here.append((logger.name, mark))
            logger = logger.parent if logger.propagate else None
        if is_for_main or not found:
            to_main.handle(record, tuple(here))

    logging.Logger.callHandlers = call_handlers
    logging.root.addHandler(to_main)
    _set_levels(logging, _environment[3])


def _plain_record(logging: Any, record: Any) -> dict[str, Any]:
    """Return the attributes of a record, its message made, in plain data."""
    given = dict(vars(record), msg=record.getMessage(), args=None, exc_info=None)
    if record.exc_info and not record.exc_text:
        given["exc_text"] = logging.Formatter().formatException(record.exc_info)
    return {
        str(name): value if type(value) in _PLAIN else repr(value) for name, value in given.items()
    }


def _set_levels(logging: Any, levels: Levels) -> None:
    disabled, by_name, captures, _ = levels
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name not in by_name and hasattr(logger, "setLevel"):
            logger.setLevel(logging.NOTSET)
    for name, level in by_name.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(disabled)
    logging.captureWarnings(captures)


# --- Imports -------------------------------------------------------------------------------------

_awaited: dict[str, Callable[[Any], None]] = {}


def _when_imported(name: str, action: Callable[[Any], None]) -> None:
    """Call an action with a module: now, or when a task has imported it."""
    if not _awaited:
        sys.meta_path.insert(0, _Finder)
    _awaited[name] = action
    if name in sys.modules:
        # By way of an import, which waits until it is whole: the host's thread, too, imports, when
        # it is to strike a worker that begins. Awaited first, looked for afterwards: it may be
        # faster.
        _act_on(__import__(name))


def _act_on(module: ModuleType) -> None:
    action = _awaited.pop(module.__name__, None)
    if not _awaited and _Finder in sys.meta_path:
        sys.meta_path.remove(_Finder)
    if action is not None:
        action(module)


class _Finder:
    """Finds the awaited modules as the other finders do, and acts when they are loaded."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        """Find a module's spec; None for any that is not awaited."""
        if name not in _awaited:
            return None
        for finder in sys.meta_path:
            if finder is not cls and (spec := finder.find_spec(name, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Loads by another loader, and then acts."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: Any) -> Any:
        """Create the module, as the loader wants it."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module and act."""
        spec: Any = module.__spec__
        spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _act_on(module)
