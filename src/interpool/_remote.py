"""The worker's half: the only code of this project that runs inside a worker's interpreter unasked.

The code object of this module is sent to a new interpreter and executed there under its own name,
so a worker never searches ``sys.path`` for it and never imports the package around it. In the main
interpreter it is an ordinary module, from which the other half takes its constants.

It guarantees:

* Every message taken from the task queue is answered with one frame, whatever the task does:
  returns, raises, exits, returns something that cannot be sent.
* A bare interpreter (31 modules) is enough; ``_pickle`` is imported when the first message that
  needs it comes, ``traceback`` when the first task fails. What is imported here is paid by every
  worker of every pool.
* The loop sleeps in one place, a read of the doorbell, and never while the queue holds a task.
  Before it sleeps it announces itself in the sleepers queue and looks at the task queue again;
  whoever puts a task looks at the sleepers afterwards. One of the two sees the other.

It assumes that the descriptors and queues it is given stay open until its last frame, ``LEFT``, has
been read.
"""

import _interpqueues
import _thread
import marshal
import os
import sys

TYPE_CHECKING = (
    False  # `typing` is for type checkers only: importing it would cost each worker 3 ms
)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FunctionType
    from typing import Any

# Pickles name the functions below. Loading a dotted name imports its root first, which would be the
# whole package (50 ms); so this module goes by a flat name too, on both sides.
sys.modules["_interpool_remote"] = sys.modules["interpool._remote"]
__name__ = "_interpool_remote"

# A message is a tuple: what marshal made of
# `(key, definition, kind, payload, apart, namespaces)`, then what is large and travels beside it,
# uncopied until it arrives: arguments, whose places `apart` names (an index or a keyword each), and
# the payload itself, if that is None. What a message asks for; PLAIN: the payload is the arguments,
# PICKLED: their pickle.
CALL_PLAIN, CALL_PICKLED, EACH_PLAIN, EACH_PICKLED = range(4)
# What the message about a function holds: a name to import, a code object, a pickle.
BY_REFERENCE, BY_CODE, BY_PICKLE = range(3)
# What a frame says of a task: its value, its failure, the outcomes of a chunk.
VALUE_PLAIN, VALUE_PICKLED, FAILED, EACH = range(4)
# What a frame says of a worker, its number standing where a task's would: it cannot start, its loop
# died, its loop ended, its interpreter is gone; and: tasks may be sent, the state has changed.
UNSTARTED, DIED, LEFT, GONE, HUNGRY, WAKE = range(4, 10)

# In the task queue: leave the loop. An int, which needs no release in the interpreter it came from.
STOP = 0
# How an item of an interpreter that is gone is treated in a queue: removed (`UNBOUND_REMOVE`).
REMOVE = 1
# The kernel writes this much to a pipe in one piece (POSIX PIPE_BUF is at least 512, Linux 4096).
ATOMIC_WRITE = 512 if sys.platform != "linux" else 4096
HEADER = 4  # bytes of a frame's length; of length 0, it is in the bulk queue whose id follows
QUEUE_ID = 8  # bytes of such an id
# Functions kept built, by key. A message carries its function's definition, so dropping one costs
# no more than building it again. The number is arbitrary.
FUNCTIONS_KEPT = 128

# From this size on (bytes or characters) what is large travels by itself: marshal copies it at
# 2 GB/s, which for this much takes some 15 us, more than one more item in the queue costs.
APART = 1 << 15
APART_TYPES = frozenset({bytes, str})

# Types that marshal carries exactly. Only these: it turns a bytearray, an array or a memoryview
# into bytes, and refuses subclasses, so the exact type is looked at and never isinstance.
PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes})


class QueueEmpty(Exception):  # noqa: N818 - the name that _interpqueues knows it by
    """No item is waiting."""


class QueueFull(Exception):  # noqa: N818 - the name that _interpqueues knows it by
    """The queue holds as many items as it may: never here, ours are unbounded."""


class _Queue:
    """Stands for `concurrent.interpreters.Queue` until the task imports that."""


def register_queue_errors() -> None:
    """Let an empty queue raise `QueueEmpty` instead of importing `concurrent.interpreters` (9 ms).

    A task that imports `concurrent.interpreters` registers that module's classes in their place, so
    `take` goes by the name that both share.
    """
    _interpqueues._register_heap_types(_Queue, QueueEmpty, QueueFull)  # type: ignore[attr-defined]


def create_queue() -> int:
    """Create an unbounded queue and return its id."""
    return _interpqueues.create(0, REMOVE, -1)  # type: ignore[arg-type]  # -1: the default


def destroy_queue(queue: int) -> None:
    """Destroy a queue; what is in it is let go of."""
    _interpqueues.destroy(queue)


def put(queue: int, item: object) -> None:
    """Put an item into a queue; it is removed should this interpreter go before it is taken."""
    _interpqueues.put(queue, item, REMOVE)  # type: ignore[call-arg]  # typeshed is at 3.13


def _get(queue: int) -> tuple[Any, ...] | None:
    """Take the next item of a queue, with the word on one whose interpreter is gone; or None."""
    if not _interpqueues.get_count(queue):
        return None
    try:
        return _interpqueues.get(queue)
    except Exception as error:
        if type(error).__name__ != "QueueEmpty":
            raise
        return None  # another interpreter was faster


def take(queue: int) -> Any:
    """Take the next item of a queue, or None where there is none (no item of ours is None)."""
    found = _get(queue)
    return None if found is None else found[0]


# What `types` calls FunctionType and CellType; its import costs a worker 1 ms.
_Function: Any = type(take)
_Cell: Any = type((lambda it: lambda: it)(0).__closure__[0])  # type: ignore[index]  # noqa: PLC3002


# An announcement outlives the worker that made it (`UNBOUND`): workers take back one another's, so
# what is left when one goes may stand for another that sleeps.
REPLACE = 3


def put_token(queue: int) -> None:
    """Put a token into a queue of tokens."""
    _interpqueues.put(queue, 0, REPLACE)  # type: ignore[call-arg]  # typeshed is at 3.13


def take_token(queue: int) -> bool:
    """Take a token from a queue of tokens, if there is one."""
    return _get(queue) is not None


def with_length(frame: bytes) -> bytes:
    """Put a frame's length before it, as `Transport.read` wants it."""
    return len(frame).to_bytes(HEADER, "little") + frame


def write(fd: int, data: bytes) -> None:
    """Write to the pipe in one piece, waiting for room where there is none."""
    while True:
        try:
            os.write(fd, data)
        except BlockingIOError:
            import select

            room = select.poll()
            room.register(fd, select.POLLOUT)
            room.poll()
        else:
            return


# --- Functions: built once, then found by key ----------------------------------------------------


def import_module(name: str, *submodules: str) -> Any:
    """Import a module by its dotted name, and more of its package, and return it."""
    for wanted in (name, *submodules):
        __import__(wanted)
    return sys.modules[name]


def find(module: str, qualname: str) -> Any:
    """Find the object of that qualified name in that module."""
    found = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


class Namespace:
    """The globals of functions whose module cannot be imported here."""

    def __init__(self, name: str) -> None:
        """Args: the module's name."""
        self.globals: dict[str, Any] = {"__name__": name, "__builtins__": __builtins__}
        self.sent: dict[str, bytes] = {}  # what main sent last, by name


# Those of modules, kept; and those of globals dicts of no module, of the parcel being received.
_kept: dict[int, Namespace] = {}
_own: dict[int, Namespace] = {}
# Raised whenever a kept namespace changes by what main sent. A kept function that was built before
# may find other globals than those that its definition came with, so it is built again.
_version = 0


def receive(namespaces: Iterable[tuple[int, str, dict[str, bytes]]]) -> None:
    """Take in the globals of a parcel, before its pickle is loaded.

    Only what main has changed: what it sends once more is left as tasks here have made it.
    """
    global _version  # noqa: PLW0603 - the state of this module
    _own.clear()
    changed = []
    for token, name, values in namespaces:
        spaces = _kept if token > 0 else _own
        space = spaces.get(token) or spaces.setdefault(token, Namespace(name))
        for key, data in values.items():
            if space.sent.get(key) != data:
                changed.append((space, key, data))
                _version += token > 0
    # Loaded when all namespaces are there: a function may be of another one than its name.
    for space, key, data in changed:
        space.globals[key] = unpickle(data)
        space.sent[key] = data


def make_function(code: bytes, token: int, name: str, cells: int) -> FunctionType:
    """Make an unfilled function of marshalled code, with `cells` empty cells as its closure."""
    closure = tuple(_Cell() for _ in range(cells)) if cells else None
    space = (_kept if token > 0 else _own)[token]
    function: FunctionType = _Function(marshal.loads(code), space.globals, name, None, closure)
    return function


def fill_function(
    function: FunctionType, state: tuple[dict[str, Any], list[tuple[bool, Any]]]
) -> None:
    """Give a function of `make_function` what may refer back to it."""
    attributes, cells = state
    for cell, (filled, contents) in zip(function.__closure__ or (), cells, strict=True):
        if filled:
            cell.cell_contents = contents
    for name, value in attributes.items():
        setattr(function, name, value)


def build(definition: bytes) -> Any:
    """Build the callable that a definition describes."""
    form, *parts = marshal.loads(definition)
    if form == BY_REFERENCE:
        return find(*parts)
    if form == BY_CODE:
        code, module, name, attributes = parts
        function = _Function(code, Namespace(module).globals, name)
        for attribute, value in attributes.items():
            setattr(function, attribute, value)
        return function
    data, namespaces = parts
    receive(namespaces)
    return unpickle(data)


_functions: dict[int, tuple[Any, int]] = {}  # with the version of the globals they were built in


def function_for(key: int, definition: bytes) -> Any:
    """Return the callable of a message: built now, or kept from before if `key` is not 0."""
    function, version = _functions.get(key, (None, 0))
    if function is None or version != _version:
        function = build(definition)
        if key:
            if len(_functions) >= FUNCTIONS_KEPT:
                del _functions[next(iter(_functions))]
            _functions[key] = function, _version
    return function


def unpickle(data: bytes) -> Any:
    """Load a pickle, importing `_pickle` when first needed (3.5 ms)."""
    import _pickle

    return _pickle.loads(data)


def pickle(value: object) -> bytes:
    """Dump a pickle, importing `_pickle` when first needed (3.5 ms)."""
    import _pickle

    return _pickle.dumps(value, 5)


type Message = tuple[Any, ...]  # see CALL_PLAIN
type Ends = tuple[tuple[int, int, int], tuple[int, int]]  # see `Transport.worker_ends`

# `(stage, type, module, message, traceback text, pickle)`, as `_failures.Failure` takes it up.
type Description = tuple[str, str, str, str, str, bytes | None]

# --- Outcomes ------------------------------------------------------------------------------------


def describe(error: BaseException, stage: str) -> Description:
    """Say in plain data what can be said of an exception.

    The pickle is there only if it loads again here as the same type: an exception whose `__init__`
    takes other arguments than its `args` pickles and then fails to load.
    """
    import _interpreters

    _drop_own_frames(error)
    kind = type(error)
    try:
        captured = _interpreters.capture_exception(error)
        message = captured.msg or str(error)  # it gives none for a MemoryError
        text = getattr(captured, "errdisplay", None) or captured.formatted
    except BaseException as hostile:  # its __str__ raised, or there was no memory for the text
        message = f"<its text cannot be made: {type(hostile).__name__}>"
        text = f"{kind.__qualname__}: {message}"
    pickled = None
    if stage == "run":
        try:
            data = pickle(error)
            if type(unpickle(data)) is kind:
                pickled = data
        except BaseException:  # noqa: S110 - the description stands in for what cannot be pickled
            pass
    return stage, kind.__qualname__, kind.__module__, message or "", text or "", pickled


def _drop_own_frames(error: BaseException) -> None:
    """Cut this module's frames off the outer end of a traceback: a user looks for his own."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals is globals():
        frames = frames.tb_next
    error.__traceback__ = frames


def encode_value(value: Any) -> tuple[int, Any]:
    """Return `(kind, payload)` of a task's value."""
    if type(value) in PLAIN_TYPES:
        return VALUE_PLAIN, value
    return VALUE_PICKLED, pickle(value)


def encode_values(values: list[Any]) -> tuple[int, Any]:
    """Return `(kind, payload)` of a chunk's values."""
    if PLAIN_TYPES.issuperset(map(type, values)):
        return VALUE_PLAIN, values
    return VALUE_PICKLED, pickle(values)


def call(
    function: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
) -> tuple[int, Any]:
    """Run one task; return `(kind, payload)` of its outcome, whatever it does."""
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        return FAILED, describe(error, "run")
    try:
        return encode_value(value)
    except BaseException as error:
        return FAILED, describe(error, "result")


def call_each(function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> tuple[int, Any]:
    """Run a chunk; return the outcome of every item. One that fails does not stop the others.

    The payload is `(kind, values, failures)`: `failures` maps an item's index to its description,
    and `values` holds None in its place.
    """
    values, failures = [], {}
    for index, args in enumerate(items):
        try:
            value = function(*args)
        except BaseException as error:
            failures[index] = describe(error, "run")
            value = None
        values.append(value)
    try:
        kind, payload = encode_values(values)
    except BaseException:
        # One of them cannot be sent; which one shows when each is tried alone.
        for index, value in enumerate(values):
            try:
                encode_value(value)
            except BaseException as error:
                failures[index] = describe(error, "result")
                values[index] = None
        try:
            kind, payload = encode_values(values)
        except BaseException as error:  # each goes alone, all together do not: too large, say
            return FAILED, describe(error, "result")
    return EACH, (kind, payload, failures)


def outcome_of(message: Message) -> tuple[int, Any]:
    """Do what a message asks; return `(kind, payload)` of the answer."""
    stage = "function"
    try:
        head, *large = message
        key, definition, kind, payload, apart, namespaces = marshal.loads(head)
        if payload is None:
            payload = large.pop()
        function = function_for(key, definition)
        stage = "argument"
        if kind in {CALL_PICKLED, EACH_PICKLED}:
            receive(namespaces)
            payload = unpickle(payload)
    except BaseException as error:
        return FAILED, describe(error, stage)
    if kind in {EACH_PLAIN, EACH_PICKLED}:
        return call_each(function, payload)
    args, kwargs = payload
    if large:
        args = list(args)
        for place, value in zip(apart, large, strict=True):
            (kwargs if isinstance(place, str) else args)[place] = value
        del large, value
    return call(function, args, kwargs)


# --- The loop ------------------------------------------------------------------------------------


class Loop:
    """One worker: takes messages from the shared queue and answers them until it takes `STOP`."""

    def __init__(
        self,
        number: int,
        bulk: int,
        queues: tuple[int, int, int],
        descriptors: tuple[int, int],
    ) -> None:
        """Args: the worker's number, its bulk queue, and `Transport.worker_ends`."""
        self.number = number
        self.bulk = bulk
        self.tasks, self.sleepers, self.starved = queues
        self.bell, self.results = descriptors
        self.current: int | None = None  # the task being run, for the frame DIED

    def send(self, subject: int, kind: int, payload: Any) -> None:
        """Send one frame: in the pipe if it goes there in one piece, else by the bulk queue."""
        if type(payload) in APART_TYPES and len(payload) >= APART:
            self.send_bulk((subject, kind, payload))
            return
        frame = marshal.dumps((subject, kind, payload))
        if len(frame) + HEADER <= ATOMIC_WRITE:
            write(self.results, with_length(frame))
        else:
            self.send_bulk(frame)

    def send_bulk(self, frame: Any) -> None:
        """Send one frame by this worker's bulk queue, and the notice of it by the pipe.

        A queue of its own: with a common one another worker's notice would bring this frame, and
        this worker's notice the other's, which may be gone, and its frames with it.
        """
        put(self.bulk, frame)
        write(self.results, bytes(HEADER) + self.bulk.to_bytes(QUEUE_ID, "little"))

    def next_message(self) -> Any:
        """Take the next item of the task queue, sleeping while there is none."""
        while True:
            item = self.take_task()
            if item is not None:
                return item
            put_token(self.sleepers)
            item = self.take_task()
            if item is not None:
                # Take the announcement back, or, if main has taken it, the ring that it sends for
                # it: every announcement ends in exactly one of the two.
                if not take_token(self.sleepers):
                    os.read(self.bell, 1)
                return item
            os.read(self.bell, 1)

    def take_task(self) -> Any:
        """Take an item of the task queue, or None; tell main if it was the last and more wait.

        Main asks for that after filling the queue, so whoever takes the last of those items sees
        the request, though every other worker be asleep.
        """
        item = take(self.tasks)
        if (
            item is not None
            and not _interpqueues.get_count(self.tasks)
            and take_token(self.starved)
        ):
            self.send(self.number, HUNGRY, None)
        return item

    def serve(self) -> None:
        """Answer messages until `STOP`."""
        while True:
            item = self.next_message()
            if item == STOP:
                return
            self.current, *message = item
            del item  # no task's data outlives the task here
            kind, payload = outcome_of(message)
            del message
            try:
                self.send(self.current, kind, payload)
            except (ValueError, MemoryError) as error:  # more than marshal or memory takes
                self.send(self.current, FAILED, describe(error, "result"))
            del payload
            self.current = None

    def run(self, preload: tuple[str, ...], initializer: Message | None) -> None:
        """The thread of a worker, from its first import to its last frame."""
        # Made now and written bare: whatever a task has done to this module, its end is heard of.
        last = with_length(marshal.dumps((self.number, LEFT, None)))
        try:
            failure = prepare(preload, initializer)
            if failure is None:
                self.serve()
            else:
                self.send(self.number, UNSTARTED, failure)
        except BaseException as error:
            self.send(self.number, DIED, (self.current, describe(error, "worker")))
        finally:
            write(self.results, last)


def prepare(preload: tuple[str, ...], initializer: Message | None) -> Description | None:
    """Import the preloaded modules and run the initializer; return what failed, if anything."""
    for name in preload:
        try:
            __import__(name)
        except BaseException as error:
            return describe(error, "preload")
    if initializer is not None:
        kind, payload = outcome_of(initializer)
        if kind == FAILED and payload[0] != "result":  # what an initializer returns is nobody's
            return ("initializer", *payload[1:])
    return None


_handle = _thread._ThreadHandle()


def start(
    number: int,
    bulk: int,
    ends: Ends,
    name: str,
    path: list[str],
    preload: tuple[str, ...],
    initializer: Message | None,
) -> None:
    """Start the loop in a thread of this interpreter, so that the interpreter can be entered."""
    register_queue_errors()
    sys.path[:] = path
    loop = Loop(number, bulk, *ends)

    def run() -> None:
        _thread.set_name(name)
        loop.run(preload, initializer)

    _thread.start_joinable_thread(run, handle=_handle, daemon=False)


def join() -> None:
    """Wait for the loop's thread to be gone. An interpreter may be ended only then."""
    _handle.join()
