"""Ctrl-C and strikes, kept out of the few lines in which half a change would be a lost task.

Python runs signal handlers in the main thread, between any two instructions; the default one for
SIGINT raises KeyboardInterrupt there. Under the engine's lock that could be between taking a task
out of the backlog and putting it into the queue, and a future would never end. So those lines run
with a handler that only takes note, and the interrupt is raised again right behind them.

A pool that a task has made in its worker is used by a thread that a strike may hit just like that
(`_inside.gate`). There the lines are shielded. Descriptors are what is worst to leave half-way: the
numbers are those of the whole process, and another interpreter's pool may have them next.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without its enums (1 us)
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

from interpool._inside import gate

_MAIN: Final = threading.main_thread().ident
_SIGINT: Final = int(_signal.SIGINT)
_get_ident = threading.get_ident
# By the thread: what shields its task.
_shields: Final[dict[int, Deferred]] = {}


# All that may have handlers in Python, but for those of real time, which nearly nobody uses.
_OTHERS: Final = tuple(
    number
    for number in map(int, _signal.valid_signals())
    if number != _SIGINT and number < getattr(_signal, "SIGRTMIN", 32)
)


def may_be_called_back() -> bool:
    """Whether a signal may run code of the user's in this thread, but for KeyboardInterrupt.

    Such a handler may raise, which `Deferred` does not put off, or wait for another future.
    """
    if _get_ident() != _MAIN:
        return False
    handler = _signal.getsignal(_SIGINT)
    if callable(handler) and handler is not _signal.default_int_handler:
        return True
    return any(map(callable, map(_signal.getsignal, _OTHERS)))


class Deferred:
    """A context in which SIGINT waits, and strikes do; where neither comes, it does nothing.

    SIGINT comes in the main thread only, and a strike in that of a task.

    Enter it before the lock, so that the lock is free again when the interrupt is raised.
    """

    __slots__ = ("_came", "_is_open", "_previous", "_task")

    def __enter__(self) -> Self:
        self._previous: Callable[[int, FrameType | None], Any] | None = None
        self._task: int | None = None
        if (thread := _get_ident()) != _MAIN:
            if (task := gate.shield()) is not None:
                self._task, _shields[thread] = task, self
        else:
            self._came = self._is_open = False
            previous = _signal.getsignal(_SIGINT)
            if callable(previous):  # not if it is ignored, or handled by C code
                try:
                    self._previous = previous
                    _signal.signal(_SIGINT, self._take_note)
                except ValueError:  # another interpreter than the main one: none comes there either
                    self._previous = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            _signal.signal(_SIGINT, self._previous)
            if self._came:
                # Not raised again: who listens by `set_wakeup_fd`, as asyncio does, has heard it.
                self._previous(_SIGINT, None)
        elif self._task is not None:
            self._lift()

    def _lift(self) -> None:
        """Let strikes land, one that has come among them."""
        del _shields[_get_ident()]
        task, self._task = self._task, None
        gate.lift(task)

    def let_through[T](self, wait: Callable[..., T], *args: Any) -> T:
        """Call what blocks and may be left half-way: SIGINT and strikes do not wait meanwhile."""
        if self._task is not None:
            self._lift()
            try:
                return wait(*args)
            finally:
                self._task = gate.shield()
                if self._task is not None:  # else it has been struck, which happens once
                    _shields[_get_ident()] = self
        try:
            self._is_open = True
            if self._previous is not None and self._came:
                self._came = False  # it came before this: the call would sleep on
                self._previous(_SIGINT, None)
            return wait(*args)
        finally:
            self._is_open = False

    @staticmethod
    def let_users_code_through(call: Callable[..., object], *args: Any) -> object:
        """Call what is a user's, and may take its time, whether or not an interrupt waits here."""
        if (thread := _get_ident()) == _MAIN:
            deferred = getattr(_signal.getsignal(_SIGINT), "__self__", None)
        else:
            deferred = _shields.get(thread)
        if isinstance(deferred, Deferred):
            return deferred.let_through(call, *args)
        return call(*args)

    def _take_note(self, signal: int, frame: FrameType | None) -> None:
        if self._is_open and self._previous is not None:
            self._previous(signal, frame)
        else:
            self._came = True


class DeferredAll(Deferred):
    """The same for every signal that has a handler in Python, as any of them may raise.

    SIGTERM may, that ends the program by `SystemExit`, or SIGALRM, that ends what takes too long.
    It is for what other interpreters wait for: they would wait for ever.
    """

    __slots__ = ("_noted", "_others")

    def __enter__(self) -> Self:
        # Signals that have come, and the handlers of those that wait here.
        self._noted: list[int] = []
        self._others: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._is_open = False
        try:
            if _get_ident() == _MAIN and any(map(callable, map(_signal.getsignal, _OTHERS))):
                self._defer_others()
            return super().__enter__()
        except BaseException:  # of one that does not wait yet
            self._restore()
            raise

    def __exit__(self, *_: object) -> None:
        if not self._others:
            return super().__exit__()
        try:
            super().__exit__()
        finally:
            self._restore()
            self._call_noted()

    def let_through[T](self, wait: Callable[..., T], *args: Any) -> T:
        """Call what blocks and may be left half-way: no signal waits meanwhile."""

        def wait_for_it() -> T:
            self._call_noted()
            return wait(*args)

        return super().let_through(wait_for_it)

    def _defer_others(self) -> None:
        for number, handler in zip(_OTHERS, map(_signal.getsignal, _OTHERS), strict=True):
            if callable(handler):
                self._others[number] = handler
                _signal.signal(number, self._note)

    def _restore(self) -> None:
        """Give each signal its handler. What one raises that has it again keeps none from it."""
        try:
            for number, handler in self._others.items():
                _signal.signal(number, handler)
        except BaseException:
            self._restore()
            raise

    def _call_noted(self) -> None:
        """Handle what came meanwhile."""
        try:
            while self._noted:
                number = self._noted.pop(0)
                self._others[number](number, None)
        except BaseException:
            self._call_noted()
            raise

    def _note(self, signal: int, frame: FrameType | None) -> None:
        if self._is_open:
            self._others[signal](signal, frame)
        elif signal not in self._noted:
            self._noted.append(signal)


class Latch:
    """An event whose waiting threads may be interrupted anywhere.

    `threading.Event` has a lock that all of them share: an interrupt on the way into it would leave
    it locked for ever, and whoever sets the event waiting for it. Here each has a lock of its own.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: deque[threading.Lock] = deque()

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Let all go on that wait, and will. One thread at a time may call this."""
        self._is_set = True
        while self._waiters:
            with contextlib.suppress(IndexError, RuntimeError):  # it has gone, or was woken
                self._waiters.popleft().release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for so many seconds or for ever; return whether it is."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        try:
            if not self._is_set:  # else whoever has set it may have looked before
                waiter.acquire(timeout=-1 if timeout is None else timeout)
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
        return self._is_set
