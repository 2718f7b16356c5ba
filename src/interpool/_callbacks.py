"""Users' callbacks, run where they may block.

The thread that reads results must not run them: a callback may wait for another future of the
pool, which only that thread can end. So it hands them over to threads of their own, as many as
there may be workers; the callbacks of one future run one after the other. That is just what they
would meet in the threads of a `ThreadPoolExecutor`.

It assumes that `add` and `hand_over` are called by the reading thread alone. A finalizer that a
garbage collection runs in that thread may call `add` at any point of either; nothing is lost.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from interpool import _threads
from interpool._reports import report

if TYPE_CHECKING:
    from concurrent.futures import Future

type Callback = Callable[[Future[Any]], object]
type Due = deque[tuple[Future[Any], Callback]]


class Callbacks:
    """The callbacks of one pool that are due."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._due: Due = deque()
        self._callers: ThreadPoolExecutor | None = None  # made when first needed
        self._calling: set[int] = set()  # identifiers of the threads that run callbacks now

    def add(self, future: Future[Any], callback: Callback) -> None:
        """Have `callback(future)` run when `hand_over` is next called."""
        self._due.append((future, callback))

    def hand_over(self) -> None:
        """Let the callbacks that are due run, in the order in which they were added."""
        while self._due:
            due, self._due = self._due, deque()
            if self._callers is None:
                self._callers = ThreadPoolExecutor(
                    self._threads, f"{self._name}_callbacks", _threads.tell_name
                )
            try:
                self._callers.submit(self._call, due)
            except RuntimeError:  # the system gives no thread, or there is one and it is queued
                self._call(due)

    def is_calling(self) -> bool:
        """Whether the calling thread is one that runs a callback of this pool now."""
        return threading.get_ident() in self._calling

    def shutdown(self, *, wait: bool) -> None:
        """Let the threads go when the callbacks that are due have returned."""
        if self._callers is not None:
            self._callers.shutdown(wait=wait)

    def _call(self, due: Due) -> None:
        identity = threading.get_ident()
        self._calling.add(identity)
        try:
            while True:
                try:
                    future, callback = due.popleft()  # each goes to one caller, whoever they are
                except IndexError:
                    return
                try:
                    callback(future)
                # As `concurrent.futures` treats it, and an exit too: other futures' are next.
                except BaseException as error:
                    message = "exception calling callback for %r"
                    report(logging.ERROR, message, future, error=error)
                del future, callback
        finally:
            self._calling.discard(identity)
