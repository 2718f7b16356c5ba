"""Connections of a worker process with main, each a socket of one thread (`asking`).

The other end of one goes to main by the switchboard, a socket that each worker process is born
with. On it, the process asks and main answers, one thing at a time. Behind what it has asked, the
process sends two things only: an acknowledgement, if what was done can be undone; or, before that,
a cancellation, which main always answers, whatever it has answered before.

Whatever is raised while a thread waits for an answer, by a signal's handler say, has what it asked
for cancelled, and is kept until main has answered: a line is never left in the midst of a message.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without its enums
import _thread
import errno
import os
import select
import signal
import socket
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Final

    from interpool._inside import bells, wire
else:
    import _interpool_values as values

    bells = values.module_inside("bells")
    wire = values.module_inside("wire")

sys.modules["_interpool_lines"] = sys.modules["interpool._inside.lines"]
__name__ = "_interpool_lines"

_ACKNOWLEDGE: Final = wire.pack((wire.ACKNOWLEDGE,))[0]
_CANCEL: Final = wire.pack((wire.CANCEL,))[0]
RAISED: Final = -1  # no answer: what a signal's handler raised, and had it cancelled by
_MAIN: Final = _thread._get_main_thread_ident()  # type: ignore[attr-defined]

# Keys of what this process has let go of, and main does not know yet.
dropped: list[wire.Key] = []
_is_forked = False


def _count_fork() -> None:
    global _is_forked  # noqa: PLW0603 - the state of this module
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


# --- Signals -------------------------------------------------------------------------------------

# Those that may have a handler in Python, which may raise.
SIGNALS: Final = frozenset(
    number
    for number in map(int, _signal.valid_signals())
    if number not in {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
)


def block_signals(which: frozenset[int]) -> frozenset[int]:
    """Have signals wait, in the main thread; return those of them that did not before.

    In the midst of asking, what a handler raises would tear the connection, and main would take
    that for the end of this thread, and release what it holds. (A thread that a task has started
    may get a signal in its place.)
    """
    if _thread.get_ident() != _MAIN or not hasattr(_signal, "pthread_sigmask"):
        return NO_SIGNALS
    new = which - _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    try:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, new)
    except BaseException:  # of one that came before this
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, new)
        raise
    return frozenset(new)


def unblock_signals(which: frozenset[int]) -> None:
    """Let signals come, first those that have waited."""
    if which:
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, which)


NO_SIGNALS: Final[frozenset[int]] = frozenset()


# --- Lines ---------------------------------------------------------------------------------------


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


class Line:
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
        self.blocked = NO_SIGNALS  # signals, but while it waits

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
        if dropped:
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
        return ((RAISED,), [errors[0]]) if errors else answer

    def _answer(self, errors: list[BaseException]) -> wire.Message:
        """Wait for an answer. What comes in between is kept, and has the thing cancelled."""
        while True:
            try:
                found = self._wire.next()
                if found is not None:
                    return found
                try:
                    unblock_signals(self.blocked)
                    self._wait()
                finally:
                    if self.blocked:
                        _signal.pthread_sigmask(_signal.SIG_BLOCK, self.blocked)
            except BaseException as error:
                errors.append(error)
                self._cancel()
            else:
                if not self._wire.fill():
                    raise hung_up()

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
        while dropped:
            keys.append(dropped.pop())
        self._wire.send(wire.DROP, keys)


def hung_up() -> OSError:
    """The error for whoever asks when main has closed its end."""
    text = "the main process has hung up: it has no descriptors, threads or memory left, or ends"
    return OSError(errno.ECONNRESET, text)


def acknowledge(line: wire.Wire) -> None:
    """Say that what was given has come."""
    line.send_packed(_ACKNOWLEDGE, -1)


def _call_main(fd: int) -> None:
    """Send main its end of a connection."""
    sock = socket.socket(fileno=switchboard())
    try:
        socket.send_fds(sock, [b"."], [fd])
    finally:
        sock.detach()  # it is there as long as the process is


def switchboard(name: str = "object") -> int:
    """Return the descriptor by which main is called.

    Raises:
        RuntimeError: if this process has none; `name` is of what it wanted one for.
    """
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
