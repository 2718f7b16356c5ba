"""The workers of a pool: who is there, who is about to be, and whether one more is wanted.

* There are never more than `most` that take tasks, nor more than there are unfinished tasks, unless
  more were asked for (`wanted`).
* One whose last task is near gets a successor, which starts and then stands by until the place is
  free.
* One that was given up is none of them any more, but is remembered until its interpreter is gone.
* No more start at a time than there are cores: making interpreters is all computing, so that a
  start beside those would only delay them. The next one starts when one has begun, and has had
  `GRACE` to show that the tasks are too short to need more; if by then there is still a task that
  nobody has taken and none of those that start will be there for.

The engine's lock covers all of it.
"""

import time
from typing import TYPE_CHECKING, Final

from interpool import _cpu
from interpool._inside import channels
from interpool._statistics import Records, Workers
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
        recycled: how many of them have left because they had done what they may.
        given_up: how many of them have been abandoned.
        workers: those that take tasks or will when they have begun, by number.
        standby: those that wait for a place, by number.
        leaving: those that take no task any more and end, by number.
        abandoned: those that were given up, by number.
        gone: those that are no more, to be joined: see `take_gone`.
        records: what was measured of those that have gone.
    """

    def __init__(self, most: int, settings: Settings) -> None:
        self.most = most
        self.wanted = 0
        self.hired = self.recycled = self.given_up = 0
        self.put_off: float | None = None
        self.workers: dict[int, Worker] = {}
        self.standby: dict[int, Worker] = {}
        self.leaving: dict[int, Worker] = {}
        self.abandoned: dict[int, Worker] = {}
        self.records = Records()
        self._settings = settings
        self._starting: set[int] = set()
        self._retiring: set[int] = set()  # those of `workers` that will leave by themselves
        self._most_starting = _cpu.available_cores()
        self.gone: list[Worker] = []

    @property
    def is_starting(self) -> bool:
        """Whether a worker starts that has not begun its loop."""
        return bool(self._starting)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there but those that were given up."""
        return not (self.workers or self.standby or self.leaving)

    @property
    def starting(self) -> int:
        """How many have not begun their loops."""
        return len(self._starting)

    @property
    def may_grow(self) -> bool:
        """Whether there may be more workers, and one more may start now."""
        return len(self.workers) < self.most and len(self._starting) < self._most_starting

    @property
    def lacks_successor(self) -> bool:
        """Whether one more worker is to start that will take another one's place."""
        return len(self.standby) < len(self._retiring) and (
            len(self._starting) < self._most_starting
        )

    def everybody(self) -> list[Worker]:
        """All that there are, in whatever state."""
        return [
            *self.workers.values(),
            *self.standby.values(),
            *self.leaving.values(),
            *self.abandoned.values(),
        ]

    def find(self, number: int) -> Worker | None:
        """Return a worker that is not gone."""
        for group in (self.workers, self.leaving, self.abandoned, self.standby):
            if (worker := group.get(number)) is not None:
                return worker
        return None

    def of_task(self, task: int) -> Worker | None:
        """Return the worker whose board says that it runs a task.

        It may have been given up for an earlier one, and have taken this one before it saw that.
        """
        for worker in (*self.workers.values(), *self.abandoned.values()):
            if worker.board[channels.TASK] == task:
                return worker
        return None

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

    def hire(self, ends: Ends, report: Report, *, is_successor: bool = False) -> Worker:
        """Add a worker, which the caller starts outside the lock."""
        number, self.hired = self.hired, self.hired + 1
        worker = Worker(number, self._settings, ends, report, is_admitted=not is_successor)
        (self.standby if is_successor else self.workers)[number] = worker
        self._starting.add(number)
        return worker

    def fill(self) -> bool:
        """Give the places of those that have left to those that stand by; return whether any."""
        any_admitted = False
        while len(self.standby) > len(self._retiring) and len(self.workers) < self.most:
            self.admit_one()
            any_admitted = True
        return any_admitted

    def admit_one(self) -> None:
        """Have one that stands by take tasks: the one that is nearest to being ready."""
        self._take_standby().admit()

    def _take_standby(self) -> Worker:
        number = min(self.standby, key=self._distance)
        worker = self.workers[number] = self.standby.pop(number)
        return worker

    def _distance(self, number: int) -> int:
        is_preparing = self.standby[number].board[channels.TASK] == channels.PREPARING
        return 2 if number in self._starting else int(is_preparing)

    def dismiss_standby(self) -> None:
        """Have those that stand by begin, and leave without a task."""
        while self.standby:
            self._dismiss_one()

    def _dismiss_one(self) -> None:
        worker = self._take_standby()
        worker.board[channels.LEAVE] = 1
        worker.admit()

    def idle_since(self) -> list[int]:
        """Since when those sleep that do, as `time.monotonic_ns` has it."""
        boards = [worker.board for worker in self.workers.values()]
        return [
            board[channels.SLEEPS_SINCE]
            for board in boards
            if not board[channels.TASK] and board[channels.SLEEPS_SINCE]
        ]

    def note_begun(self, number: int) -> None:
        """A worker is in its loop."""
        self._starting.discard(number)
        self.put_off = time.monotonic() + GRACE

    def note_failed(self, number: int) -> bool:
        """A worker will never take a task; return whether it was to take another one's place."""
        self._starting.discard(number)
        if (worker := self.standby.pop(number, None)) is None:
            return False
        self.leaving[number] = worker
        if self._retiring:  # no other one for that place until it is free
            self._retiring.pop()
        return True

    def note_retiring(self, number: int) -> None:
        """A worker will leave by itself, when it has done what it may."""
        if number in self.workers:
            self._retiring.add(number)

    def note_left(self, number: int) -> Worker | None:
        """A worker takes no task any more; return it."""
        if (worker := self.workers.pop(number, None)) is not None:
            self.leaving[number] = worker
            most = self._settings.most_tasks
            if most is not None and worker.board[channels.DONE] >= most:
                self.recycled += 1
            elif worker.board[channels.STOPPED] and number in self._retiring and self.standby:
                self._dismiss_one()  # who is not needed either
            self._retiring.discard(number)
        return self.find(number)

    def abandon(self, worker: Worker) -> bool:
        """Give up a worker: should it come back, it leaves.

        Not one that has come back by now, and sleeps: nobody would wake it any more.

        Returns:
            Whether it was given up, now or before.
        """
        if worker.number in self.abandoned:
            return True
        board = worker.board
        board[channels.LEAVE] = 1
        is_asleep = not board[channels.TASK] and board[channels.SLEEPS_SINCE]
        if is_asleep and worker.number not in self.leaving:
            board[channels.LEAVE] = 0
            return False
        for group in (self.workers, self.leaving):
            group.pop(worker.number, None)
        if self.standby.pop(worker.number, None) is not None:
            worker.admit()  # or it would wait for that for ever
        self.abandoned[worker.number] = worker
        self.given_up += 1
        self._starting.discard(worker.number)
        self._retiring.discard(worker.number)
        return True

    def note_gone(self, number: int) -> None:
        """A worker's interpreter is gone, and its thread about to be."""
        self._starting.discard(number)
        self._retiring.discard(number)
        for group in (self.workers, self.standby, self.leaving, self.abandoned):
            if (worker := group.pop(number, None)) is not None:
                self.records.add(worker.board, worker.ready_after)
                self.gone.append(worker)

    def take_gone(self) -> list[Worker]:
        """Give away the workers that are gone: to be joined, which is never done under the lock."""
        gone, self.gone = self.gone, []
        return gone

    def statistics(self) -> Workers:
        """Count them."""
        begun = [it for it in self.workers.values() if it.number not in self._starting]
        busy = sum(1 for it in begun if it.board[channels.TASK])
        return Workers(
            idle=len(begun) - busy,
            busy=busy,
            starting=len(self._starting - self.standby.keys()),
            standby=len(self.standby),
            abandoned=len(self.abandoned),
            started=self.hired,
            recycled=self.recycled,
            given_up=self.given_up,
        )

    def disown(self) -> None:
        """Forget all of them: in a forked child they do not exist."""
        for group in (self.workers, self.standby, self.leaving, self.abandoned):
            group.clear()
        self._starting.clear()
        self._retiring.clear()
        self.gone.clear()
