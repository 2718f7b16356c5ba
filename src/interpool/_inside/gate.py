"""Where a running task can be struck from outside, and nothing else can.

An interrupt is an exception that CPython raises in a thread when it next looks (PyThreadState_
SetAsyncExc, which works only from the same interpreter): soon, but nobody knows where. So it is set
only while the gate of that very task is open, and whoever closes the gate takes back what has not
landed yet. It guarantees:

* An interrupt meant for one task never lands in another one, nor in the worker between them. The
  gate is one entry of `armed`; whoever takes it out decides: the loop, that no strike comes any
  more; or a strike, which sets the exception before anybody else can run (see `strike`).
* A task is struck once. So whatever catches `Interrupted` outside the task needs no guard. A strike
  that CPython swallows, for it has landed in a finalizer, comes again (`catch_lost`).
* A strike that comes before the task has begun keeps it from beginning.
* A task that waits for something in Python's own terms is woken by it (`_wake`).
* What lets go of something that others wait for is done, wherever in it a strike lands
  (`completed`), and at its end a task that was struck lets go of the rest (`endings`).
* Where the task holds what others wait for (`shield`), no strike lands: it does as soon as the task
  has let go (`lift`).

The loop's thread opens and closes; strikes come from the worker's host thread, which enters this
interpreter for them.
"""

import _imp
import _thread
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

sys.modules["_interpool_gate"] = sys.modules["interpool._inside.gate"]
__name__ = "_interpool_gate"

# What a bell is rung with: an eventfd takes 8 bytes, a pipe any number (`bells.Bell`).
ONE = (1).to_bytes(8, sys.byteorder)

type Place = tuple[str, int, str]
"""File, line and function of a frame."""


class Interrupted(KeyboardInterrupt):
    """Raised in a task that is to stop.

    A KeyboardInterrupt, for that is what everybody's code knows how to be stopped by: neither
    `except Exception` nor asyncio's event loop keeps it to itself.
    """

    def __reduce__(self) -> Any:
        """Outside the worker it is nobody's class."""
        return KeyboardInterrupt, self.args


class Struck(Interrupted):
    """What CPython raises of a strike, wherever the task is.

    If that is in what lets go of a lock (`completed`), it is let go of here.
    """

    def __init__(self) -> None:
        """Made by the interpreter, in the frame that this is raised in."""
        super().__init__()
        frame: Any = sys._getframe(1)
        last = None
        while frame is not None and str(frame.f_globals.get("__name__")).startswith(_OWN):
            last = frame if frame.f_code in _completed else last
            frame = frame.f_back
        if last is not None:
            code, found = last.f_code, last.f_locals
            _completed[code](*map(found.get, code.co_varnames[: code.co_argcount]))


_OWN = "_interpool_"
# Functions by their code: see `completed`.
_completed: dict[Any, Callable[..., object]] = {}


def completed[F: Callable[..., object]](function: F) -> F:
    """Have a function done even if a strike lands in it.

    It is to let go of what others wait for, and nobody else would. Before its `shield` nothing is
    done yet, behind its `lift` no strike can land any more: there may be no call and no loop, for
    CPython looks for a strike at those, and where a function begins.
    """
    code: Any = function.__code__
    _completed[code] = function
    return function


# Of the one task whose gate is open, and which has not been struck: its number, and its thread.
armed: dict[int, int] = {}
# The task that a thread runs.
running: dict[int, Any] = {}
# Tasks that are not to begin, or not to go on from where they are shielded: a strike did not find
# them.
_condemned: set[int] = set()
# Of threads that wait for a bell (`bells.Bell`): the descriptor that wakes them. What is still
# there when the wait is over is some other wait's to find, for the bells of a task stay open.
bells: dict[int, int] = {}
# What is called with the thread and the task when a task ends that was struck: it may hold what
# others wait for.
endings: list[Callable[[int, int], None]] = []
# Where the task was that was struck last.
struck_at: list[Place] = []
# What `sys.unraisablehook` is until the task has ended that was struck, and what it was before.
_hooks: tuple[Any, Any] | None = None
# PyThreadState_SetAsyncExc, from the first strike on, and what stands for no exception there.
_set_exception: Callable[[int, Any], int] | None = None
_nothing: Any = None


def open_gate(task: int) -> None:
    """Let a task be struck from now on.

    Raises:
        Interrupted: if it was, before.
    """
    global struck_at  # noqa: PLW0603 - the state of this module
    thread = _thread.get_ident()
    running[thread] = task
    armed[task] = thread
    # Armed first, looked afterwards; a strike does it the other way round, so one sees the other.
    if _condemned and task in _condemned and armed.pop(task, None) is not None:
        _condemned.discard(task)
        struck_at = []  # nowhere yet, and not where the last one was
        raise Interrupted


def close_gate(task: int) -> bool:
    """Let a task be struck no more; return whether it was.

    Raises:
        Interrupted: if it lands in here.
    """
    is_struck = armed.pop(task, None) is None
    if is_struck:
        _take_back()
        end_struck(task)
    running.pop(_thread.get_ident(), None)
    if _condemned:
        _condemned.discard(task)
    return is_struck


def is_in_task() -> bool:
    """Whether this thread runs a task."""
    return _thread.get_ident() in running


def end_struck(task: int) -> None:
    """Let go of what a task holds that was struck, and is over."""
    release_imports()
    thread = _thread.get_ident()
    running.pop(thread, None)
    for end in endings:
        end(thread, task)


def shield() -> Any:
    """Let no strike land in this thread until `lift`; return what that wants to know.

    For a few instructions: what is held meanwhile is waited for by others, in other interpreters.

    Raises:
        Interrupted: if one lands in here, before.
    """
    if not running:
        return None
    task = running.get(_thread.get_ident())
    if task is None or armed.pop(task, None) is None:
        return None  # no task's thread; or one that was struck, once and for all
    return task


def lift(task: Any) -> None:
    """Let strikes land again.

    Raises:
        Interrupted: if there was one meanwhile.
    """
    global struck_at  # noqa: PLW0603 - the state of this module
    if task is None:
        return
    armed[task] = _thread.get_ident()
    # As in `open_gate`.
    if _condemned and task in _condemned and armed.pop(task, None) is not None:
        _condemned.discard(task)
        struck_at = _places_of(sys._getframe())
        raise Interrupted


def tidy() -> None:
    """Put in order what a strike has left behind in this interpreter, now that none lands."""
    release_imports()
    _forget_orphans()
    catch_none()


def _forget_orphans() -> None:
    """Have submodules imported anew whose package is, for a strike has landed in its import.

    The package is dropped, as after any exception, but its submodules would stay, and whoever
    imports it next would not find them as its attributes, where it looks for what they define.
    """
    modules = sys.modules
    names = [it for it in modules.copy() if type(it) is str]  # there may be anything in it
    for name in sorted(names):  # a package before what is in it
        parent = name.rpartition(".")[0]
        if parent and parent not in modules and _is_imported(name, modules.get(name)):
            modules.pop(name, None)


def _is_imported(name: str, module: Any) -> bool:
    """Whether CPython has imported a module by this name, and is not in the midst of it."""
    if not issubclass(type(module), type(sys)):
        return False
    # Not by the module's own way to be asked, which may be anybody's code.
    spec: Any = object.__getattribute__(module, "__dict__").get("__spec__")
    if type(spec) is not type(sys.__spec__) or spec.name != name:
        return False  # made by hand, or one of this package's, which have none
    return not getattr(spec, "_initializing", False)


def catch_lost(task: Any, again: Callable[[], Iterator[Any]]) -> None:
    """Have a task struck again if its strike lands in a finalizer, as soon as that is over.

    What is raised there, or in a callback of `weakref` (each import has some), goes no further than
    to `sys.unraisablehook`. So no other part of the task has met it, and no `finally` block of its.

    Args:
        task: the one that is to be struck now.
        again: makes an iterator that strikes this very thread, once, when its item is taken.
    """
    global _hooks  # noqa: PLW0603 - the state of this module
    before = sys.unraisablehook
    if _hooks is not None and before is _hooks[0]:  # its strike comes again
        before = _hooks[1]

    def hook(unraisable: Any) -> None:
        is_lost = issubclass(unraisable.exc_type, Interrupted)
        if not is_lost or running.get(_thread.get_ident()) != task:
            before(unraisable)
            return
        strike = again()
        # No bytecode from here to the end of this function looks for what was set.
        (_,) = strike

    _hooks = hook, before
    sys.unraisablehook = hook


def catch_none() -> None:
    """Have `sys.unraisablehook` be what it was, unless the task has put something else there."""
    global _hooks
    found, _hooks = _hooks, None
    if found is not None and sys.unraisablehook is found[0]:
        sys.unraisablehook = found[1]


def strike_here() -> Iterator[Any]:
    """For `catch_lost`, where strikes come from another thread."""
    assert _set_exception is not None  # noqa: S101 - there was one
    return map(_set_exception, (_thread.get_ident(),), (Struck,), strict=False)


def release_imports() -> None:
    """Let go of CPython's import lock, if a strike has left it locked by this thread.

    `import` takes it by a context manager in Python: where the exception lands between the taking
    and the `with` block, nobody ever releases it, and whoever enters this interpreter from outside,
    to strike again or to end it, waits for ever.
    """
    while _imp.lock_held():
        try:
            _imp.release_lock()
        except RuntimeError:  # another thread has it
            return


def _take_back() -> None:
    """Drop the exception that a strike has set, unless it has landed."""
    if _set_exception is not None:
        _set_exception(_thread.get_ident(), _nothing)


def strike(task: int) -> list[Place] | None:
    """Interrupt a task, or keep it from beginning; return where it was, None if nowhere here.

    Called in another thread of this interpreter than the task's.
    """
    # That thread may hold the GIL all the time: with the usual interval, each of the many times
    # that importing lets go of it would cost 5 ms.
    global struck_at  # noqa: PLW0603 - the state of this module
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        set_exception = _prepare()
        # Not the modules that wrap them, which are more to import.
        from _functools import partial  # type: ignore[import-not-found]
        from _operator import call

        _condemned.add(task)
        thread = armed.get(task)
        if thread is None:
            return None
        # Known to the loop before it can know that it was struck.
        frame = sys._current_frames().get(thread)
        places = struck_at = _places_of(frame)
        # All of this is one call from one function in C to the next: the entry is taken out, the
        # exception set, and looked where the thread waits, if it does, with no bytecode, and so no
        # other thread of this interpreter, in between.
        taken = filter(None, map(armed.pop, (task,), (None,), strict=False))
        hits = map(set_exception, taken, (Struck,), strict=False)
        steps: tuple[Any, ...] = partial(sum, hits), sys._current_frames
        hit, frames = map(call, steps)
        if not hit:
            return None  # it has ended meanwhile
        _condemned.discard(task)
        _wake(thread, frames.get(thread))
        return places
    finally:
        sys.setswitchinterval(interval)


def _wake(thread: int, frame: Any) -> None:
    """Wake a thread that waits in C as long as nothing comes, if it is known how.

    That is: where it waits for something shared; for a `threading.Condition`, and so for an event,
    a queue, a future; in an event loop of asyncio; or for results of a pool of its own.
    """
    bell = bells.get(thread)
    if bell is not None:
        os.write(bell, ONE)
        return
    if frame is not None and (_module_of(frame), frame.f_code.co_name) in _WAITS:
        # The lock is of this very wait: should the thread have woken by itself, it is nobody's, and
        # no other wait, in a `finally` block say, is ended in its place.
        waiter = frame.f_locals.get("waiter")
        if waiter is not None:
            try:
                waiter.release()
            except RuntimeError:  # it has been, or is not waited for yet
                return
    while frame is not None:
        if frame.f_code.co_name == "read_until" and _module_of(frame) == "interpool._collector":
            frame.f_locals["self"].wake_reader()
            return
        if frame.f_code.co_name == "run_forever":
            loop = frame.f_locals.get("self")
            if (call := getattr(loop, "call_soon_threadsafe", None)) is not None:
                try:
                    call(int)  # nothing; it is the waking that counts
                except RuntimeError:  # it is closed by now
                    return
                return
        frame = frame.f_back


_WAITS = frozenset(
    {("threading", "wait"), ("interpool._lots", "_wait"), ("interpool._interrupts", "wait")}
)


def _module_of(frame: Any) -> Any:
    return frame.f_globals.get("__name__")


def condemn(task: int) -> None:
    """Keep a task from beginning."""
    _condemned.add(task)


def note_place(frame: Any) -> None:
    """A task was struck, and was there."""
    global struck_at  # noqa: PLW0603 - the state of this module
    struck_at = _places_of(frame)


def forget(task: int) -> None:
    """A task that a strike did not find has ended elsewhere."""
    _condemned.discard(task)


def _prepare() -> Callable[[int, Any], int]:
    global _set_exception, _nothing  # noqa: PLW0603 - made when first needed
    if _set_exception is None:
        try:
            from _ctypes import dlsym
        except ImportError:  # Windows, where `ctypes` finds it in its own way
            function, _nothing = _found_by_ctypes()
        else:
            function, _nothing = _found_by(dlsym)
        _set_exception = function
    return _set_exception


def _found_by_ctypes() -> tuple[Callable[[int, Any], int], Any]:
    import ctypes

    function: Any = ctypes.pythonapi.PyThreadState_SetAsyncExc
    function.argtypes = ctypes.c_ulong, ctypes.py_object
    function.restype = ctypes.c_int
    return function, ctypes.py_object()


def _found_by(dlsym: Any) -> tuple[Callable[[int, Any], int], Any]:
    """Find the same with what `ctypes` wraps.

    Importing `ctypes` takes 4 ms, beside a busy thread 8, and 100 where the cores are busy, too.
    """
    import _ctypes

    found: Any = _ctypes
    simple, pointer = found._SimpleCData, found.CFuncPtr
    number, status, thing = (type(simple)(it, (simple,), {"_type_": it}) for it in "LiO")
    flags = found.FUNCFLAG_CDECL | found.FUNCFLAG_PYTHONAPI
    form = type(pointer)("Function", (pointer,), {"_flags_": flags, "_restype_": status})
    function = form(dlsym(found.dlopen(None, 0), "PyThreadState_SetAsyncExc"))
    function.argtypes = number, thing
    return function, thing()


def _places_of(frame: Any) -> list[Place]:
    """Where a thread is, the innermost frame first, without this package's."""
    places: list[Place] = []
    while frame is not None:
        if not str(_module_of(frame)).startswith(_OWN):
            code = frame.f_code
            places.append((code.co_filename, frame.f_lineno or 0, code.co_qualname))
        frame = frame.f_back
    return places
