"""A clock that calls back: for tasks' limits, periods of grace, retries and idle workers.

One thread for each pool that needs it, asleep until the next thing is due. It guarantees:

* An action is called once, not before it is due, unless it was taken back first, and under no lock.
  What it raises is reported, and the clock goes on.
* What is set again or taken back costs nothing later: the memory is that of what is due.

Locks: the pool's own, and none beside it. A garbage collection may finalize what takes that lock
anywhere, in here too: with a second one, whoever sets something under the first would wait for it
for ever.

Thread-safety: every method may be called from any thread.
"""

import heapq
import itertools
import logging
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
            lock: the pool's.
        """
        self._name = f"{name}_timekeeper"
        self._changed = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._numbers = itertools.count()
        self._due: dict[Hashable, tuple[int, Callable[[], None]]] = {}  # with the number in `_heap`
        self._heap: list[tuple[float, int, Hashable]] = []

    def set(self, key: Hashable, when: float, action: Callable[[], None]) -> None:
        """Have an action called at a time (`time.monotonic`), in place of an earlier one's.

        Args:
            key: by which it can be set again, or taken back.
            when: the time.
            action: what to call.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        with self._changed:
            if self._is_closed:
                return
            number = next(self._numbers)
            self._due[key] = number, action
            heapq.heappush(self._heap, (when, number, key))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._heap = [it for it in self._heap if self._is_due(it[1], it[2])]
                heapq.heapify(self._heap)
            if self._thread is None:
                thread = _threads.make(self._run, self._name)
                thread.start()
                self._thread = thread
            elif self._heap[0][1] == number:
                self._changed.notify()

    def drop(self, key: Hashable) -> None:
        """Take an action back, if it has not been called."""
        self._due.pop(key, None)  # one operation: no lock

    def close(self) -> None:
        """Call no more actions, and let the thread go: see `join`."""
        with self._changed:
            self._is_closed = True
            self._due.clear()
            self._heap.clear()
            self._changed.notify()

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
        with self._changed:
            while not self._is_closed:
                now = time.monotonic()
                while self._heap:
                    # Taken out first: what a finalizer sets meanwhile may become the first.
                    when, number, key = first = heapq.heappop(self._heap)
                    if not self._is_due(number, key):
                        continue
                    if when > now:
                        heapq.heappush(self._heap, first)
                        break
                    if (entry := self._due.pop(key, None)) is not None:
                        return entry[1]
                left = self._heap[0][0] - now if self._heap else None
                self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
            return None
