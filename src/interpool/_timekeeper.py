"""A clock that calls back: for tasks' limits, periods of grace, retries and idle workers.

One thread for each pool that needs it, asleep until the next thing is due. It guarantees:

* An action is called once, not before it is due, unless it was taken back first, and under no lock.
  What it raises is reported, and the clock goes on.
* What is set again or taken back costs nothing later: the memory is that of what is due.
* No setting is missed: whoever sets what is due before all else puts a token into the bell
  afterwards, and the clock looks at all there is between taking a token and its next sleep. So one
  that is set by a finalizer in the clock's own thread, which may come at any point there, is seen.
* If the system gives no thread, nothing is set, and whoever asked is told (`RuntimeError`). Once
  there is one (`start`), nothing that is set fails for that.

Thread-safety: every method may be called from any thread, with the owner's lock or without. There
is no other lock here, for a garbage collection in the clock's own thread may run a finalizer that
wants the owner's, while the thread that holds that one sets the clock.
"""

import contextlib
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

from interpool import _threads
from interpool._reports import report

# Entries of the heap that may be of no use any more, beside as many as there are useful ones.
_SLACK: Final = 64


class Timekeeper:
    """The clock of one pool."""

    def __init__(self, name: str, lock: threading.RLock) -> None:
        """Make one.

        Args:
            name: what the thread's name begins with.
            lock: the owner's.
        """
        self._name = f"{name}_timekeeper"
        self._lock = lock
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._numbers = itertools.count()
        self._due: dict[Hashable, tuple[int, Callable[[], None]]] = {}  # with the number in `_heap`
        self._heap: list[tuple[float, int, Hashable]] = []

    def start(self) -> None:
        """Have the thread there, so that what is set from now on needs none.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        with self._lock:
            if self._thread is not None or self._is_closed:
                return
            # Known first: a finalizer may set the clock meanwhile, and must not start another one.
            thread = self._thread = _threads.make(self._run, self._name)
            try:
                thread.start()
            except BaseException as error:
                self._thread = None
                if not isinstance(error, RuntimeError):
                    raise
                message = f"no thread for the pool's clock, which measures limits: {error}"
                raise RuntimeError(message) from error

    def set(self, key: Hashable, when: float, action: Callable[[], None]) -> None:
        """Have an action called at a time (`time.monotonic`), in place of an earlier one's.

        Args:
            key: by which it can be set again, or taken back.
            when: the time.
            action: what to call.

        Raises:
            RuntimeError: if the system gives no thread. Then nothing is set.
        """
        with self._lock:
            self.start()
            if self._is_closed:
                return
            number = next(self._numbers)
            self._due[key] = number, action
            heapq.heappush(self._heap, (when, number, key))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._heap = [it for it in self._heap if self._is_due(it[1], it[2])]
                heapq.heapify(self._heap)
            if self._heap[0][1] == number:
                self._ring()

    def drop(self, key: Hashable) -> None:
        """Take an action back, if it has not been called."""
        self._due.pop(key, None)  # one operation: no lock

    def close(self) -> None:
        """Call no more actions, and let the thread go: see `join`."""
        with self._lock:
            self._is_closed = True
            self._due.clear()
            self._heap.clear()
            self._ring()

    def join(self) -> None:
        """Wait for the thread to be gone, unless it is the calling one."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _is_due(self, number: int, key: Hashable) -> bool:
        entry = self._due.get(key)
        return entry is not None and entry[0] == number

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except BaseException as error:  # the pool's other tasks have limits, too
                report(logging.ERROR, "the timekeeper of a pool failed", error=error)
            del action

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next action that is due; None if there will be none."""
        while True:
            with self._lock:
                if self._is_closed:
                    return None
                found = self._look()
            if callable(found):
                return found
            # Nobody's lock is held in here. What is set meanwhile has put a token, or will.
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=None if found is None else min(found, threading.TIMEOUT_MAX))

    def _look(self) -> Callable[[], None] | float | None:
        """Take the action that is due; or return in how many seconds one will be, None if never."""
        now = time.monotonic()
        while self._heap:
            # Taken out first: a finalizer may set the clock at any point here.
            first = heapq.heappop(self._heap)
            when, number, key = first
            if not self._is_due(number, key):
                continue
            if when > now:
                heapq.heappush(self._heap, first)
                return max(self._heap[0][0] - now, 0)
            if (entry := self._due.pop(key, None)) is not None:
                return entry[1]
        return None

    def _ring(self) -> None:
        """Have the clock look. One token will do: whoever takes it looks afterwards."""
        if self._bell.empty():
            self._bell.put(None)
