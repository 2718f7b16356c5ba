"""Ctrl-C, kept out of the few lines in which half a change would be a lost task.

Python runs signal handlers in the main thread, between any two instructions; the default one for
SIGINT raises KeyboardInterrupt there. Under the engine's lock that could be between taking a task
out of the backlog and putting it into the queue, and a future would never end. So those lines run
with a handler that only takes note, and the interrupt is raised again right behind them.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Deferred:
    """A context in which SIGINT waits; outside the main thread, where none comes, it does nothing.

    Enter it before the lock, so that the lock is free again when the interrupt is raised.
    """

    __slots__ = ("_came", "_previous")

    def __enter__(self) -> Self:
        self._came = False
        self._previous: Callable[[int, FrameType | None], Any] | None = None
        if threading.get_ident() == threading.main_thread().ident:
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # not if it is ignored, or handled by C code
                try:
                    self._previous = previous
                    signal.signal(signal.SIGINT, self._take_note)
                except ValueError:  # another interpreter than the main one: none comes there either
                    self._previous = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            if self._came:
                signal.raise_signal(signal.SIGINT)

    def _take_note(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
