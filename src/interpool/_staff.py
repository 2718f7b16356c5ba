"""The workers of a pool: who is there, who is about to be, and whether one more is wanted.

* There are never more than `most`, nor more than there are unfinished tasks, unless more were asked
  for (`wanted`).
* No more start at a time than there are cores: making interpreters is all computing, so that a
  start beside those would only delay them. The next one starts when one has begun, and has had
  `GRACE` to show that the tasks are too short to need more; if by then there is still a task that
  nobody has taken and none of those that start will be there for.

The engine's lock covers all of it.
"""

import time
from typing import TYPE_CHECKING, Final

from interpool import _cpu
from interpool._worker import Settings, Worker

if TYPE_CHECKING:
    from interpool._inside.loop import Ends
    from interpool._worker import Report


# Seconds: a tenth of what a start takes, and time for some hundred short tasks.
GRACE: Final = 0.001


class Staff:
    """The workers of one pool.

    Attributes:
        put_off: until when, as `time.monotonic` has it, one that has begun may show whether more
            are needed; None if none has.
        most: how many there may be.
        wanted: how many there are to be at least, whatever there is to do.
        hired: how many there have been.
        workers: those there are, by number.
        gone: those that are no more, to be joined: see `take_gone`.
    """

    def __init__(self, most: int, settings: Settings) -> None:
        self.most = most
        self.wanted = 0
        self.hired = 0
        self.put_off: float | None = None
        self.workers: dict[int, Worker] = {}
        self._settings = settings
        self._starting: set[int] = set()
        self._most_starting = _cpu.available_cores()
        self.gone: list[Worker] = []

    @property
    def is_starting(self) -> bool:
        """Whether a worker starts that has not begun its loop."""
        return bool(self._starting)

    @property
    def may_grow(self) -> bool:
        """Whether there may be more workers, and one more may start now."""
        return len(self.workers) < self.most and len(self._starting) < self._most_starting

    def is_new(self, number: int) -> bool:
        """Whether a worker has not begun its loop."""
        return number in self._starting

    def is_short(self, unfinished: int, untaken: int) -> bool:
        """Whether one more worker is to be started, if one may be.

        Args:
            unfinished: how many tasks there are that have no outcome.
            untaken: how many of them no worker has taken.
        """
        workers, starting = len(self.workers), len(self._starting)
        if workers < self.wanted:
            return True
        return self.put_off is None and workers < unfinished and starting < untaken

    def hire(self, ends: Ends, report: Report) -> Worker:
        """Add a worker, which the caller starts outside the lock."""
        number, self.hired = self.hired, self.hired + 1
        worker = self.workers[number] = Worker(number, self._settings, ends, report)
        self._starting.add(number)
        return worker

    def note_begun(self, number: int) -> None:
        """A worker is in its loop."""
        self._starting.discard(number)
        self.put_off = time.monotonic() + GRACE

    def note_failed(self, number: int) -> None:
        """A worker will never be in its loop."""
        self._starting.discard(number)

    def note_gone(self, number: int) -> None:
        """A worker's interpreter is gone, and its thread about to be."""
        self._starting.discard(number)
        self.gone.append(self.workers.pop(number))

    def take_gone(self) -> list[Worker]:
        """Give away the workers that are gone: to be joined, which is never done under the lock."""
        gone, self.gone = self.gone, []
        return gone

    def disown(self) -> None:
        """Forget all of them: in a forked child they do not exist."""
        self.workers.clear()
        self._starting.clear()
        self.gone.clear()
