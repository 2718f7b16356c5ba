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
from typing import Any, Final

_MAIN: Final = threading.main_thread().ident
_SIGINT: Final = int(_signal.SIGINT)
_get_ident = threading.get_ident


class Deferred:
    """A context in which SIGINT waits; outside the main thread, where none comes, it does nothing.

    Enter it before the lock, so that the lock is free again when the interrupt is raised.
    """

    __slots__ = ("_came", "_previous")

    def __enter__(self) -> None:
        self._came = False
        self._previous: Callable[[int, FrameType | None], Any] | None = None
        if _get_ident() == _MAIN:
            previous = _signal.getsignal(_SIGINT)
            if callable(previous):  # not if it is ignored, or handled by C code
                try:
                    self._previous = previous
                    _signal.signal(_SIGINT, self._take_note)
                except ValueError:  # another interpreter than the main one: none comes there either
                    self._previous = None

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            _signal.signal(_SIGINT, self._previous)
            if self._came:
                _signal.raise_signal(_SIGINT)

    def _take_note(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
