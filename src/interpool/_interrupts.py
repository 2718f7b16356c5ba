"""Ctrl-C, kept out of the few lines in which half a change would be a lost task.

Python runs signal handlers in the main thread, between any two instructions; the default one for
SIGINT raises KeyboardInterrupt there. Under the engine's lock that could be between taking a task
out of the backlog and putting it into the queue, and a future would never end. So those lines run
with a handler that only takes note, and the interrupt is raised again right behind them.
"""

import _signal  # type: ignore[import-not-found]  # what `signal` wraps, without its enums (1 us)
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

_MAIN: Final = threading.main_thread().ident
_SIGINT: Final = int(_signal.SIGINT)
_get_ident = threading.get_ident


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
    """A context in which SIGINT waits; outside the main thread, where none comes, it does nothing.

    Enter it before the lock, so that the lock is free again when the interrupt is raised.
    """

    __slots__ = ("_came", "_is_open", "_previous")

    def __enter__(self) -> Self:
        self._previous: Callable[[int, FrameType | None], Any] | None = None
        if _get_ident() == _MAIN:
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

    def let_through[T](self, wait: Callable[..., T], *args: Any) -> T:
        """Call what blocks and may be left half-way: SIGINT does not wait meanwhile."""
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
        """Call what is a user's, and may take its time, whether or not SIGINT waits here."""
        handler = _signal.getsignal(_SIGINT) if _get_ident() == _MAIN else None
        deferred = getattr(handler, "__self__", None)
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
