"""Tasks on their way to a cluster and in it: what is sent when, and what is taken back.

A task is in one place: the backlog, the cluster, or between two of its runs; `Task._stage` says
which. What is in the cluster is bounded, whatever is submitted: by `PLACES` tasks for each
interpreter, and by `WEIGHT` bytes once there are two for each, one that it runs and one that waits
for it. Of the pieces of a map, whose size is chosen, there are those two.

The engine's lock is held in every method. A finalizer may come in between, and feed or withdraw.
"""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Final

from interpool._errors import TransferError
from interpool._lots import Lot, Piece
from interpool._statistics import Tally
from interpool._task import Stage, Task
from interpool._transport import _bytes_of

if TYPE_CHECKING:
    from interpool.cluster._engine import ClusterEngine

# Tasks in the cluster for each interpreter. An answer takes some 15 ms, and the one that follows it
# as long: so many hide that for tasks of a few milliseconds, and are all that Dask's scheduler does
# of tiny ones meanwhile.
PLACES: Final = 16
# Of them, those that are there whatever they weigh: one that runs, and one that waits for it.
_BUSY: Final = 2
# Bytes of tasks in the cluster behind which there are no more than those. All travel by way of the
# scheduler, which keeps them. Arbitrary.
WEIGHT: Final = 1 << 26


@dataclass
class Staff:
    """The interpreters that there are in the cluster.

    Attributes:
        there: how many, as far as is known.
        most: as many, but 1 if there is none yet: what is sent then waits for the first.
    """

    there: int = 0

    @property
    def most(self) -> int:
        return max(1, self.there)


class Dispatch:
    """The tasks of one engine that have not ended.

    Attributes:
        tally: what has become of tasks, in figures: lots count there, too.
    """

    def __init__(self, engine: ClusterEngine) -> None:
        self._engine = engine
        self.tally = Tally()
        self._backlog: deque[Task | Lot] = deque()
        self._in_cluster: dict[int, Task] = {}
        self._weights: dict[int, int] = {}  # of those, in bytes
        self._weight = 0
        self._delayed: dict[int, Task] = {}  # to be tried again

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        if self._in_cluster or self._delayed:
            return False
        return not any(isinstance(it, Lot) or it._stage is Stage.WAITING for it in self._backlog)

    @property
    def sent(self) -> list[Task]:
        """What is in the cluster."""
        return list(self._in_cluster.values())

    def get(self, number: int) -> Task | None:
        """Return a task that is in the cluster."""
        return self._in_cluster.get(number)

    # --- on their way ----------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Take a task, behind all others."""
        task._stage = Stage.WAITING
        self._backlog.append(task)
        self.feed()

    def add_lot(self, lot: Lot, *, is_next: bool = False) -> None:
        """Take what there is of a lot: behind all others, or before them."""
        if lot.unsent and not lot.is_in_backlog:
            lot.is_in_backlog = True
            (self._backlog.appendleft if is_next else self._backlog.append)(lot)

    def feed(self) -> None:
        """Send tasks while there is room."""
        backlog, staff = self._backlog, self._engine.staff
        while backlog and self._has_room():
            first = backlog[0]
            if isinstance(first, Lot):
                piece = first.next_piece(max(0, len(self._in_cluster) - staff.most))
                if piece is not None:
                    self._send(piece)
                elif first.unsent:
                    break  # enough of it is there
                if not first.unsent:
                    first.is_in_backlog = False
                    if backlog and backlog[0] is first:
                        backlog.popleft()
                continue
            backlog.popleft()
            if first._stage is Stage.WAITING:
                self._send(first)

    def _has_room(self) -> bool:
        number, most = len(self._in_cluster), self._engine.staff.most
        return number < _BUSY * most or (number < PLACES * most and self._weight < WEIGHT)

    def _send(self, task: Task) -> None:
        task._stage = Stage.SENT
        self._in_cluster[task._task] = task
        weight = self._weights[task._task] = _bytes_of(task._item or b"")
        self._weight += weight
        if isinstance(task, Piece) and (refusal := refusal_of(task.keeps, task._name)):
            self._engine.hear_error(task._task, lambda _: refusal)
            return
        self._engine.link.send(task)

    # --- taken out -------------------------------------------------------------------------------

    def take_out(self, number: int) -> Task | None:
        """Take a task out of the cluster: whatever comes of it there is not heard any more."""
        self._weight -= self._weights.pop(number, 0)
        return self._in_cluster.pop(number, None)

    def take_back(self, task: Task) -> bool:
        """Withdraw a task that is not in the cluster; return whether it was not."""
        if task._stage not in {Stage.WAITING, Stage.DELAYED}:
            return False
        self._delayed.pop(task._task, None)
        self.leave(task)
        return True

    def leave(self, task: Task) -> None:
        """Take note that a task was withdrawn."""
        task._stage = Stage.WITHDRAWN
        task._item = None
        self.tally.cancelled += task._count

    def withdraw_all(self) -> list[Task]:
        """Withdraw all that is not in the cluster."""
        waiting = [*self._backlog, *self._delayed.values()]
        self._backlog.clear()
        withdrawn: list[Task] = []
        lots = {task.lot for task in self._in_cluster.values() if isinstance(task, Piece)}
        for it in waiting:
            if isinstance(it, Lot):
                lots.add(it)
            elif self.take_back(it):
                withdrawn.append(it)
        _end_lots(lots, concurrent.futures.CancelledError)
        return withdrawn

    def take_all(self, make: Callable[[], BaseException]) -> list[Task]:
        """Take everything, and return the tasks, which are to be ended; lots end here.

        Args:
            make: makes the error that what was not sent of a lot ends with.
        """
        left: list[Task] = [*self._in_cluster.values(), *self._delayed.values()]
        lots = {task.lot for task in left if isinstance(task, Piece)}
        for it in self._backlog:
            if isinstance(it, Lot):
                lots.add(it)
            elif it._stage is Stage.WAITING:
                left.append(it)
        for number in list(self._in_cluster):
            self.take_out(number)
        self.disown()
        _end_lots(lots, make)
        for task in left:
            task._stage = Stage.ANSWERED
            task._item = None
        return left

    def disown(self) -> None:
        """Forget all, in a forked child: it is the parent's."""
        self._in_cluster.clear()
        self._delayed.clear()
        self._backlog.clear()

    # --- between two runs ------------------------------------------------------------------------

    def delay(self, task: Task) -> None:
        """Keep a task, which was in the cluster, until its next run is due."""
        task._stop = None
        task._stage = Stage.DELAYED
        task._task = self._engine.new_number()  # whoever has failed may yet answer for the old one
        self._delayed[task._task] = task

    def resume(self, task: Task) -> None:
        """Run a task again, unless it was withdrawn meanwhile."""
        if self._delayed.pop(task._task, None) is not None:
            self.add(task)


def _end_lots(lots: Iterable[Lot], make: Callable[[], BaseException]) -> None:
    for lot in lots:
        lot.is_in_backlog = False
        lot.end(make)


def refusal_of(keeps: Iterable[object], name: str) -> TransferError | None:
    """Refuse what only this machine's interpreters can share, by what is kept for a message."""
    for it in keeps:
        if not isinstance(it, (type, ModuleType)):
            reason = (
                "it is a handle of memory of this machine (of a Queue, a SharedBuffer, a "
                "SharedArray), and a cluster's workers may be on another one"
            )
            return TransferError.of(
                "argument", f"an argument of {name}", "", "shared", reason, "Send what is in it"
            )
    return None
