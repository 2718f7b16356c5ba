"""How a worker process takes part in what interpreters share, and what both of its ends agree on.

What is shared is in the main process alone, and whatever a worker process wants done with it a
thread of the main process does (`interpool._lanes.relay`). It guarantees:

* **A process that is killed, at any instruction, leaves nothing half done.** It has not a bit of
  the state. What it has asked for is done as a whole, or not at all.
* **What is given is given back.** What a process takes (an item, a lock) is its own when it has
  acknowledged it, which it does at once. If it ends before, or does not want it any more, main
  undoes the taking. So an item is with one process, or in the queue.
* **A task that waits can be struck.** It is shielded (`gate`) while it asks, and the strike, which
  lands nowhere then, has what is asked for cancelled. When main has said that it is, the shield is
  lifted, and the task interrupted.
* **What a process has, main has.** For as long as a `Remote` lives, main holds what it stands for.
  That it has gone, which may be noticed anywhere, is noted, and the note goes with the next thing
  asked, or at the end of the task.

A connection is a socket of one thread, made when that first asks for anything; its other end goes
to main by the switchboard, a socket that each worker process is born with. On it, the process asks
and main answers, one thing at a time. Behind what it has asked, the process sends two things only:
an acknowledgement, if what was done can be undone; or, before that, a cancellation, which main
always answers, whatever it has answered before.

In an interpreter of a worker process, nothing can be asked.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without its enums
import _thread
import _weakref
import errno
import itertools
import os
import select
import signal
import socket
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any, Final

    from interpool._inside import bells, descriptors, gate, sharing, values, wire
else:
    import _interpool_gate as gate
    import _interpool_values as values

    bells = values.module_inside("bells")
    descriptors = values.module_inside("descriptors")
    sharing = values.module_inside("sharing")
    wire = values.module_inside("wire")

sys.modules["_interpool_relay"] = sys.modules["interpool._inside.relay"]
__name__ = "_interpool_relay"

_ACKNOWLEDGE: Final = wire.pack((wire.ACKNOWLEDGE,))[0]
_RAISED: Final = -1  # no answer: what a signal's handler raised, and had it cancelled by
_CANCEL: Final = wire.pack((wire.CANCEL,))[0]


# --- Threads of this process ---------------------------------------------------------------------


class _Thread:
    """What a thread has of its own.

    Attributes:
        who: by which what is shared knows it: a number that nobody else in any process has, nor any
            thread of main, whose numbers are addresses.
        free: its connections, of which it needs a second one only if it asks for something in the
            midst of asking, in a signal's handler.
        busy: those in use.
    """

    def __init__(self) -> None:
        self.who = 1 << 62 | os.getpid() << 20 | next(_numbers)
        self.free: list[_Line] = []
        self.busy: list[_Line] = []


_numbers = itertools.count(1)
_local = _thread._local()
_is_forked = False
# Keys of what this process has let go of, and main does not know yet.
_dropped: list[wire.Key] = []
# Of each `Remote`, a reference that notes when it has gone.
_references: dict[int, tuple[_weakref.ref[Remote], wire.Key]] = {}
# What stands for something shared, by its key.
_known: dict[wire.Key, _weakref.ref[Remote]] = {}


def _count_fork() -> None:
    global _local, _is_forked  # noqa: PLW0603 - the state of this module
    _is_forked = True
    _local = _thread._local()  # with the last ones, its copies of the connections are closed
    _known.clear()
    _references.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _this_thread() -> _Thread:
    found: _Thread | None = getattr(_local, "thread", None)
    if found is None:
        found = _local.thread = _Thread()
    return found


def who() -> int:
    """The number of the calling thread, and no other thread's of any process.

    When the thread ends, or its process, main releases what it holds by that number.
    """
    return _this_thread().who


def cancel() -> None:
    """Have what this thread waits for cancelled, for its task was struck: in a signal's handler."""
    for line in _this_thread().busy:
        line.cancel()


# --- Signals -------------------------------------------------------------------------------------

# Those that may have a handler in Python, which may raise.
_SIGNALS: Final = frozenset(
    number
    for number in map(int, _signal.valid_signals())
    if number not in {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
)


def _block_signals(which: frozenset[int]) -> frozenset[int]:
    """Have signals wait, in the main thread; return those of them that did not before.

    In the midst of asking, what a handler raises would tear the connection, and main would take
    that for the end of this thread, and release what it holds. (A thread that a task has started
    may get a signal in its place.)
    """
    if _thread.get_ident() != _MAIN or not hasattr(_signal, "pthread_sigmask"):
        return _NONE
    new = which - _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, new)
    except BaseException:  # of one that came before this
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, new)
        raise
    return frozenset(new)


def _unblock_signals(which: frozenset[int]) -> None:
    """Let signals come, first those that have waited."""
    if which:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, which)


_NONE: Final[frozenset[int]] = frozenset()


# --- Asking --------------------------------------------------------------------------------------


class _Alarm:
    """A pipe that wakes the main thread for a signal.

    A signal that comes between the last look for one and a wait in C would be handled after the
    wait, which it may be there to end.
    """

    def __init__(self) -> None:
        self.out, self._into = os.pipe()
        os.set_blocking(self.out, False)
        os.set_blocking(self._into, False)
        self._previous: list[int] = []

    def __enter__(self) -> None:
        self._previous.append(signal.set_wakeup_fd(self._into, warn_on_full_buffer=False))

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._previous.pop(), warn_on_full_buffer=False)

    def silence(self) -> None:
        """Take what came: it goes to who is usually woken, asyncio for one."""
        try:
            signals = os.read(self.out, 512)
            others = [fd for fd in self._previous if fd not in {-1, self._into}]
            if others:
                os.write(others[-1], signals)
        except BlockingIOError:  # a handler that waited itself has taken it, or nobody reads there
            pass


_alarm: _Alarm | None = None
_MAIN: Final = _thread._get_main_thread_ident()  # type: ignore[attr-defined]


class _Line:
    """A connection of a thread."""

    def __init__(self, number: int) -> None:
        """Open one for the thread of that number.

        Raises:
            OSError: if there are no descriptors for it, or nobody answers.
        """
        global _alarm  # noqa: PLW0603 - made when first needed
        ours, theirs = socket.socketpair()
        self._wire = wire.Wire(ours)
        with theirs:
            _call_main(theirs.fileno())
        self._wire.send(number)
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._is_main = _thread.get_ident() == _MAIN
        if self._is_main:
            _alarm = _alarm or _Alarm()
            self._poll.register(_alarm.out, select.POLLIN)
        self._may_cancel = self._is_struck = self._is_asked = self._has_cancelled = False
        self.blocked = _NONE  # signals, but while it waits

    def __del__(self) -> None:
        """Close it: its thread has ended."""
        if (found := vars(self).get("_wire")) is not None:
            found.close()

    def close(self) -> None:
        """Close it: main undoes what was not acknowledged."""
        self._wire.close()

    def cancel(self) -> None:
        """Have what it waits for cancelled, as soon as main has been asked for it."""
        if self._may_cancel:
            self._is_struck = True
            if self._is_asked:
                self._cancel()

    def _cancel(self) -> None:
        if not self._has_cancelled:
            self._has_cancelled = True
            self._wire.send_packed(_CANCEL, -1)

    def ask(self, data: bytes, fd: int, *, may_cancel: bool, is_undoable: bool) -> wire.Message:
        """Ask for something that was packed; return head and body of the answer.

        Args:
            data: as packed.
            fd: as packed.
            may_cancel: whether `cancel` is heard.
            is_undoable: whether main waits for an acknowledgement.
        """
        self._may_cancel = may_cancel
        self._is_struck = self._is_asked = self._has_cancelled = False
        if self._is_main and _alarm is not None:
            with _alarm:
                return self._ask(data, fd, is_undoable=is_undoable)
        return self._ask(data, fd, is_undoable=is_undoable)

    def _ask(self, data: bytes, fd: int, *, is_undoable: bool) -> wire.Message:
        if _dropped:
            self.drop()
        self._wire.send_packed(data, fd)
        # A strike either sees that it was asked for, or is seen.
        self._is_asked = True
        if self._is_struck:
            self._cancel()
        errors: list[BaseException] = []
        answer = self._answer(errors)
        # From here on it is too late for a strike, or it has come.
        self._is_asked = False
        kind = answer[0][0]
        if self._has_cancelled and kind != wire.CANCELLED:
            cancelled = self._answer(errors)
            if errors or (kind == wire.DONE and is_undoable):
                for given in answer[1][1:]:
                    os.close(given)
                answer = cancelled
        elif kind == wire.DONE and is_undoable:
            acknowledge(self._wire)
        return ((_RAISED,), [errors[0]]) if errors else answer

    def _answer(self, errors: list[BaseException]) -> wire.Message:
        """Wait for an answer. What comes in between is kept, and has the thing cancelled."""
        while True:
            try:
                found = self._wire.next()
                if found is not None:
                    return found
                try:
                    _unblock_signals(self.blocked)
                    self._wait()
                finally:
                    if self.blocked:
                        _signal.pthread_sigmask(_signal.SIG_BLOCK, self.blocked)
            except BaseException as error:
                errors.append(error)
                self._cancel()
            else:
                if not self._wire.fill():
                    raise _hung_up()

    def _wait(self) -> None:
        """Wait until there is something to receive."""
        if self._is_main and _alarm is not None:
            fd = self._wire.socket.fileno()
            while fd not in (ready := [it for it, _ in self._poll.poll()]):
                if ready:
                    _alarm.silence()
            return
        # On behalf of another process, whose main this one is.
        alarm = bells.alarms.get(_thread.get_ident())
        if alarm is not None and not self._has_cancelled:
            poll = select.poll()
            poll.register(self._wire.socket, select.POLLIN)
            poll.register(alarm, select.POLLIN)
            if self._wire.socket.fileno() not in [it for it, _ in poll.poll()]:
                raise bells.Cancelled

    def drop(self) -> None:
        """Tell main what this process has let go of."""
        keys = []
        while _dropped:
            keys.append(_dropped.pop())
        self._wire.send(wire.DROP, keys)


def _hung_up() -> OSError:
    text = "the main process has hung up: it has no descriptors, threads or memory left, or ends"
    return OSError(errno.ECONNRESET, text)


def acknowledge(line: wire.Wire) -> None:
    """Say that what was given has come."""
    line.send_packed(_ACKNOWLEDGE, -1)


def _call_main(fd: int) -> None:
    """Send main its end of a connection."""
    sock = socket.socket(fileno=_switchboard())
    try:
        socket.send_fds(sock, [b"."], [fd])
    finally:
        sock.detach()  # it is there as long as the process is


def _switchboard(name: str = "object") -> int:
    process = sys.modules.get("_interpool_process")
    found: int | None = getattr(process, "switchboard", None)
    if found is None:
        message = (
            f"the {name} belongs to another process, which this one knows nothing of: what is "
            "shared goes to the worker processes of a pool, and neither to others nor to "
            "interpreters in them"
        )
        raise RuntimeError(message)
    if _is_forked:
        message = f"the {name} belongs to the process that this one was forked from"
        raise RuntimeError(message)
    return found


def _ask(
    head: tuple[Any, ...],
    body: tuple[Any, ...],
    then: Callable[[list[Any]], Any] | None = None,
    undo: Callable[[Any], object] | None = None,
    *,
    is_undoable: bool = False,
) -> Any:
    """Have main do something; return what came of it.

    Args:
        head: what is asked for.
        body: the arguments.
        then: what is made of the answer's body, before anything can come in between.
        undo: undoes it.
        is_undoable: whether main does, too, until it is acknowledged.
    """
    _switchboard()
    thread = _this_thread()
    task = gate.shield()
    result = None
    try:
        blocked = _block_signals(_SIGNALS)
        try:
            found = _done_by(
                thread,
                head,
                body,
                blocked,
                may_cancel=task is not None,
                is_undoable=is_undoable,
            )
            if found is not None:
                result = found[0] if then is None else then(found)
        except BaseException:
            _unblock_signals(blocked)
            raise
    except BaseException:
        gate.lift(task)
        raise
    try:
        _unblock_signals(blocked)
        gate.lift(task)
    except BaseException:  # it came behind the acknowledgement, or had it cancelled
        if found is not None and undo is not None:
            undo(result)
        raise
    # Nothing is called from here to where the caller has the result in a variable: so nothing is
    # raised there by a signal either.
    return result


def _done_by(
    thread: _Thread,
    head: tuple[Any, ...],
    body: tuple[Any, ...],
    blocked: frozenset[int],
    *,
    may_cancel: bool,
    is_undoable: bool,
) -> list[Any] | None:
    """Have something done; return the body of the answer, None if it was cancelled."""
    data, fd = wire.pack(head, body)
    try:
        line = thread.free.pop() if thread.free else _Line(thread.who)
        line.blocked = blocked
        thread.busy.append(line)
        try:
            (kind, *rest), found = line.ask(
                data, fd, may_cancel=may_cancel, is_undoable=is_undoable
            )
        except BaseException:
            line.close()
            raise
        finally:
            thread.busy.remove(line)
    except BrokenPipeError:
        raise _hung_up() from None
    finally:
        if fd != -1:
            os.close(fd)
    thread.free.append(line)
    if kind == _RAISED:
        raise found[0]
    if kind == wire.FAILED:
        raise _error_of(*rest)
    return found if kind == wire.DONE else None


def _error_of(module: str, name: str, args: tuple[Any, ...] | None, text: str) -> BaseException:
    """Make the exception that main has described."""
    kind: Any = getattr(sys.modules.get(module), name, None)
    if args is not None and isinstance(kind, type) and issubclass(kind, Exception):
        return kind(*args)
    return RuntimeError(f"{name}: {text}")


def send_drops() -> None:
    """Tell main what this process has let go of: it may be long before it asks for something."""
    if _dropped:
        thread = _this_thread()
        try:
            if not thread.free:
                thread.free.append(_Line(thread.who))
            thread.free[-1].drop()
        except OSError:  # main has no descriptors, say: it lets go when this process has ended
            thread.free.clear()


def give_back(task: Hashable) -> None:
    """Have main release what this thread has acquired in a task that was struck."""
    found: list[Any] = [reference() for reference in [*_known.values()]]
    for remote in found:
        if hasattr(remote, "give_back"):
            try:
                remote.give_back(who(), task)
            except OSError as error:
                if error.errno != errno.ECONNRESET:
                    raise
                return  # main ends, or hangs up: it releases what this process holds itself


def _note_gone(reference: _weakref.ref[Remote]) -> None:
    """Have main let go of what a `Remote` stood for, some time."""
    _, key = _references.pop(id(reference))
    _dropped.append(key)
    if _known.get(key) is reference:  # not another one's that has come since
        _known.pop(key, None)


# --- What stands for what is shared --------------------------------------------------------------


class Remote:
    """What is shared, as a worker process has it: main's, which does what is asked for.

    It has the methods that its class lists in `REMOTE`, with arguments by their places.
    """

    __slots__ = ("__weakref__", "_key", "_state")

    def __init__(self, key: wire.Key, state: sharing.State) -> None:
        """Args: the key, and main's state of it, which is good as long as this lives."""
        self._key = key
        self._state = state
        # No finalizer: while that runs, what is found in `_known` could still be this one.
        reference = _weakref.ref(self, _note_gone)
        _known[key] = reference
        _references[id(reference)] = reference, key

    def state(self, *, is_kept: bool) -> sharing.State:
        """What another interpreter or process needs to have the same: main's state.

        Args:
            is_kept: whether this one lives until that has arrived. Otherwise main makes descriptors
                for it alone.
        """
        if is_kept:
            return self._state
        found: sharing.State = _ask(
            (wire.GIVE, self._key), (), undo=lambda it: _close(it[1:4]), is_undoable=True
        )
        return found

    @property
    def identity(self) -> descriptors.Identity:
        """By which the same is known everywhere."""
        return self._key[2]


def _close(fds: Sequence[int]) -> None:
    """Close descriptors in main that were made for somebody."""
    _ask((wire.CLOSE, [*{*fds}]), ())


# Of each class, what stands for it.
_classes: dict[type, type[Remote]] = {}


def _class_for(core: type[sharing.Primitive]) -> type[Remote]:
    found = _classes.get(core)
    if found is None:
        undo: Any = getattr(core, "UNDO", {})
        names: Any = core.REMOTE  # type: ignore[attr-defined]
        methods = {name: _method(name, undo.get(name)) for name in names}
        found = _classes[core] = type("Remote", (Remote,), {"__slots__": (), **methods})
    return found


def _method(name: str, undo: Callable[..., Any] | None) -> Callable[..., Any]:
    if undo is None:

        def method(self: Remote, *args: Any) -> Any:
            return _ask((wire.CALL, self._key, name), args)

    else:

        def method(self: Remote, *args: Any) -> Any:
            return _ask(
                (wire.CALL, self._key, name),
                args,
                None,
                lambda it: undo(self, args, it),
                is_undoable=True,
            )

    method.__name__ = name
    return method


def _place_of(core: type) -> tuple[str, str]:
    return core.__module__.removeprefix("_interpool_"), core.__name__


def _find(key: wire.Key) -> Remote | None:
    reference = _known.get(key)
    return None if reference is None else reference()


def of_state(core: type[sharing.Primitive], state: sharing.State, name: str) -> Remote:
    """Return what stands for what was sent.

    Raises:
        ReferenceError: if nobody has it any more.
        RuntimeError: if it is of a process that this one knows nothing of.
        OSError: if there are no more descriptors.
    """
    _switchboard(name)
    place = _place_of(core)
    *_, identity, _, is_given = state
    found = _find((*place, identity))
    if found is not None and not is_given:
        return found
    kind = _class_for(core)

    def then(body: list[Any]) -> Remote:
        key: wire.Key = (*place, identity)
        if found is not None:  # main has counted it again
            _dropped.append(key)
            return found
        return kind(key, body[0])

    made: Remote = _ask((wire.HOLD, place, state, name), (), then)
    return made


def make(core: type[sharing.Primitive], *args: Any) -> Remote:
    """Make something new to share, in the main process; return what stands for it here.

    Raises:
        OSError: if the system has no memory or no descriptors for it.
    """
    place, kind = _place_of(core), _class_for(core)

    def then(body: list[Any]) -> Remote:
        return kind((*place, body[0][4]), body[0])

    made: Remote = _ask((wire.MAKE, place), args, then)
    return made


# --- Memory --------------------------------------------------------------------------------------


def memory_of(state: wire.Memory) -> int:
    """Return a descriptor of memory that main has, or had when it sent that.

    Raises:
        Gone: if it has it no more.
        OSError: if there are no more descriptors.
    """
    found: int = _ask((wire.MEMORY, state), (), lambda body: body[1], os.close)
    return found


def make_memory(nbytes: int) -> tuple[int, wire.Memory]:
    """Make memory in main, filled with zeros.

    Returns:
        A descriptor of it; and the state by which others find it, until `drop_memory`.

    Raises:
        OSError: if the system has no memory or no descriptors for it.
    """

    def undo(made: tuple[int, wire.Memory]) -> None:
        os.close(made[0])
        drop_memory(made[1])

    made: tuple[int, wire.Memory] = _ask(
        (wire.MAKE_MEMORY, nbytes), (), lambda body: (body[1], body[0]), undo
    )
    return made


def give_memory(state: wire.Memory) -> wire.Memory:
    """Return a state of the same memory, whose descriptor in main is for who receives it to close.

    Raises:
        Gone: if main has it no more.
        OSError: if there are no more descriptors.
    """
    found: wire.Memory = _ask(
        (wire.GIVE_MEMORY, state), (), undo=lambda it: _close(it[1:2]), is_undoable=True
    )
    return found


def drop_memory(state: wire.Memory) -> None:
    """Have main let go of memory that was made for this process, some time. For finalizers."""
    _dropped.append(("", "", state[2]))
