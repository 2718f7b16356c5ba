"""Tasks on their way to the workers: those that wait here, and those that were sent.

* A task is in one place: the backlog, the task queue or a worker (`in_flight`), answered,
  withdrawn, or, to be tried again, between its answer and the backlog (`_delayed`); `Task._stage`
  says which.
* While a task waits and there is room, it is sent: whoever adds a task or makes room feeds the
  queue, and the workers say when it runs low while more wait.
* A lot stays in the backlog until all its items are sent. Not more of them are sent than keep the
  workers busy, so that the sizes of its pieces go by what was measured last.

The engine's lock covers all of it. A garbage collection may finalize an iterator or an executor at
any point here, which withdraws tasks or feeds in its turn; each step leaves a state that it may
meet.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from interpool._inside import channels
from interpool._inside.outcomes import describe
from interpool._lots import Lot, Piece
from interpool._statistics import Tally
from interpool._task import Stage, Task

if TYPE_CHECKING:
    from interpool._failures import Failure
    from interpool._future import Future
    from interpool._lanes.base import Lane
    from interpool._transport import Item, Transport
    from interpool._worker import Report


_VALUES: Final = frozenset({channels.VALUE_PLAIN, channels.VALUE_PICKLED})


class Dispatch:
    """The tasks of one pool that have no outcome.

    Attributes:
        in_flight: what was sent to interpreters and not answered, by number.
        elsewhere: the same of other lanes.
        lanes: those beside the interpreters, by name, once there are any.
        tally: what became of the others.
        heard: how many unended futures, and waiting threads, somebody listens to.
        transport: where tasks are sent, once it is open.
        instead: the lane that all go to, if no interpreter can be made ready for them.
    """

    def __init__(self, report: Report) -> None:
        """Args: where to report a task that could not be sent."""
        self.in_flight: dict[int, Task] = {}
        self.elsewhere: dict[int, Task] = {}
        self.lanes: dict[str, Lane] = {}
        self.tally = Tally()
        self.heard = 0
        self.transport: Transport | None = None
        self.instead: Lane | None = None
        self._unready: Failure | None = None  # why
        self._report = report
        self._backlog: deque[Task | Lot] = deque()
        self._withdrawn = 0  # tasks in the backlog that are only passed over
        self._delayed: set[Task] = set()
        self._lots: list[Lot] = []  # those in the backlog
        self._divisible = 0  # pieces in flight of which something may be handed back
        # Tasks in flight that may be tried again, and those answered of which that is not decided.
        self._undecided: set[Task] = set()

    @property
    def is_empty(self) -> bool:
        """Whether every task is answered."""
        return not self._backlog and not (self.in_flight or self.elsewhere or self._delayed)

    @property
    def is_all_sent(self) -> bool:
        """Whether nothing waits here, and nothing will come back to be sent again."""
        return not (self._backlog or self._divisible or self._delayed or self._undecided)

    @property
    def is_any_untaken(self) -> bool:
        """Whether a worker will be needed that has not taken its task yet."""
        if not self.is_all_sent:
            return True
        last = next(reversed(self.in_flight.values()), None)  # the last that was sent
        return last is not None and not self.is_taken(last)

    @property
    def is_urgent(self) -> bool:
        """Whether somebody listens, or workers may run dry before anybody comes by who feeds."""
        if self.heard:
            return True
        backlog = self._backlog
        return bool(backlog) and (len(backlog) > len(self._lots) or self._lots[0].is_urgent)

    def counts(self) -> tuple[int, int]:
        """Return how many tasks have no outcome, and how many of them no worker has taken.

        Not of those whose next run is not due.
        """
        waiting = self._unsent
        queued = 0 if self.transport is None else self.transport.waiting()
        return waiting + len(self.in_flight), waiting + queued

    def census(self) -> tuple[int, int]:
        """Return how many tasks no worker has taken, and how many one has; of maps, the items."""
        waiting, running = self._unsent, 0
        for task in self.in_flight.values():
            if self.is_taken(task):
                running += task._count
            else:
                waiting += task._count
        return waiting, running

    @property
    def _unsent(self) -> int:
        alone = len(self._backlog) - len(self._lots) - self._withdrawn
        return alone + sum(lot.unsent for lot in self._lots)

    def is_taken(self, task: Task) -> bool:
        """Whether a worker has taken a task that was sent."""
        if task._lane is not None:
            return task._lane.is_taken(task)
        return self.transport is not None and self.transport.is_taken(task._position)

    # --- on the way there ------------------------------------------------------------------------

    def add(self, future: Future[Any], transport: Transport) -> None:
        """Send a task if there is room and none waits before it, or let it wait."""
        if self.instead is not None:
            self._send_instead(self.instead, future)
            return
        if not self._backlog and transport.has_room():
            future._stage = Stage.SENT
            self._send(transport, future)
            transport.ring()
            return
        self._backlog.append(future)
        # Where others wait, workers have been asked to say when they want more; this is faster
        # while the caller keeps the GIL, and sends many at a time.
        if len(self._backlog) == 1 or transport.waiting() <= channels.LOW:
            self.feed()

    @property
    def delayed(self) -> int:
        """How many wait to be tried again."""
        return len(self._delayed)

    @property
    def is_special(self) -> bool:
        """Whether there are tasks for whose answers more is to be done than to end them."""
        return bool(self._undecided)

    def is_undecided(self, task: Task) -> bool:
        """Whether the run of a task has failed, and nobody has decided what becomes of it."""
        return task._stage is Stage.ANSWERED and task in self._undecided

    def decide(self, task: Task, *, is_tried_again: bool) -> None:
        """Keep a task whose run has failed, to be tried again; or not."""
        self._undecided.discard(task)
        if is_tried_again:
            task._stage = Stage.DELAYED
            self._delayed.add(task)
            self.tally.retried += 1
        else:
            self.tally.note(task, channels.FAILED, None)

    def resend(self, task: Task, number: int, item: Item) -> bool:
        """Send a delayed task again, under another number; return whether it still was to be.

        The number is another one because the worker that failed may yet answer for the old one.
        """
        if task not in self._delayed:
            return False
        self._delayed.discard(task)
        task._task, task._item = number, item
        if task._lane is not None:
            task._lane.add(task)
        else:
            task._stage = Stage.WAITING
            self._backlog.append(task)
            self.feed()
        return True

    def find(self, number: int) -> Task | None:
        """Return a task that was sent and not answered."""
        return self.in_flight.get(number) or self.elsewhere.get(number)

    def note_elsewhere(self, task: Task) -> None:
        """Take note of a task that was sent to another lane."""
        self.elsewhere[task._task] = task
        if task._message is not None:
            self._undecided.add(task)

    def divert(self, number: int, lane: Lane) -> None:
        """Send a task to a process that an interpreter has refused."""
        task = self.in_flight.pop(number)
        if isinstance(task, Piece):
            task.lot.lane = lane
        lane.add(task)

    def send_elsewhere(self, lane: Lane, failure: Failure) -> None:
        """Send to a lane what no worker has taken, and all that comes from now on.

        Args:
            lane: the lane.
            failure: what keeps interpreters from being made ready: the end of tasks that are to run
                in nothing else.
        """
        transport = self.transport
        assert transport is not None  # noqa: S101 - it is a worker that has failed
        self.instead, self._unready = lane, failure
        items, stops = transport.recall()
        for number, item in items:
            if (task := self.in_flight.pop(number, None)) is not None:
                self._undecided.discard(task)
                task._item = item
                self._send_instead(lane, task)
        for _ in range(stops):
            transport.put_stop()
        transport.ring()
        self.feed()

    def _send_instead(self, lane: Lane, task: Task) -> None:
        if task._terms.lane != "interpreter":
            lane.add(task)
            return
        task._stage = Stage.SENT
        self.note_elsewhere(task)
        self._report(task._task, channels.LOST, self._unready)

    def _feed_instead(self, lane: Lane) -> None:
        """Empty the backlog into a lane."""
        backlog = self._backlog
        while backlog:
            task = backlog.popleft()
            if isinstance(task, Task):
                if task._stage is Stage.WAITING:
                    self._send_instead(lane, task)
                else:
                    self._withdrawn -= 1
                continue
            self._unqueue_lot(task)
            if task.terms.lane == "interpreter" and self._unready is not None:
                task.end(self._unready.as_broken_pool)
            else:
                task.lane = task.lane or lane
                task.lane.add_lot(task)

    def add_lot(self, lot: Lot) -> None:
        """Take what was added to a lot."""
        if lot.unsent and not lot.is_in_backlog:
            self._queue_lot(lot, is_first=False)
        self.feed()

    def feed(self) -> None:
        """Send tasks from the backlog while there is room, and wake workers for them."""
        backlog, transport = self._backlog, self.transport
        if transport is None:
            return
        if self.instead is not None:
            self._feed_instead(self.instead)
            return
        waiting, sent = Stage.WAITING, Stage.SENT
        any_sent = False
        while backlog:
            task = backlog[0]
            if isinstance(task, Lot):
                any_sent = self._feed_lot(transport, task) or any_sent
                if task.is_in_backlog and backlog and backlog[0] is task:
                    break
                continue
            if task._stage is waiting and not self._has_room(transport):
                break
            is_waiting = task._stage is waiting
            if is_waiting:
                # Claimed. Nothing is called since the line before, so no finalizer can have come
                # in between and withdrawn it.
                task._stage = sent
                self._send(transport, task)
                any_sent = True
            if backlog and backlog[0] is task:  # a finalizer may have fed in between
                backlog.popleft()
                self._withdrawn -= not is_waiting
        if any_sent:
            transport.ring()

    def _feed_lot(self, transport: Transport, lot: Lot) -> bool:
        """Send of a lot what there is room for, and take it out of the backlog if that is all.

        Returns:
            Whether anything was sent.
        """
        if lot.lane is not None:
            self._unqueue_lot(lot)
            lot.lane.add_lot(lot)
            return False
        any_sent = False
        while (piece := self._next_piece(transport, lot)) is not None:
            piece._stage = Stage.SENT
            self._send(transport, piece)
            any_sent = True
        if not lot.unsent:
            self._unqueue_lot(lot)
        return any_sent

    def _has_room(self, transport: Transport) -> bool:
        """Whether one more task may be sent; if not, see to it that somebody says when."""
        if transport.has_room():
            return True
        # Ask first, look again afterwards: the worker that takes the last item either sees the
        # request, or has made the room that is seen here.
        transport.ask_for_more()
        return transport.has_room()

    def _next_piece(self, transport: Transport, lot: Lot) -> Piece | None:
        """Take a piece out of a lot, if there is room and not enough of it waits already."""
        if not lot.unsent or not self._has_room(transport):
            return None
        piece = lot.next_piece(transport.waiting())
        if piece is None and lot.unsent:
            # As in `_has_room`: somebody may have taken what was seen to be waiting.
            transport.ask_for_more()
            piece = lot.next_piece(transport.waiting())
        return self.note_piece(piece)

    def note_piece(self, piece: Piece | None) -> Piece | None:
        """Take note of a piece that is to be sent, if there is one, and return it."""
        if piece is not None and piece.is_divisible:
            self._divisible += 1
        return piece

    def _queue_lot(self, lot: Lot, *, is_first: bool) -> None:
        lot.is_in_backlog = True
        self._lots.insert(0 if is_first else len(self._lots), lot)
        (self._backlog.appendleft if is_first else self._backlog.append)(lot)

    def _unqueue_lot(self, lot: Lot) -> None:
        # A finalizer may feed in between, and meet the lot no more, or be faster.
        with contextlib.suppress(ValueError):
            self._backlog.remove(lot)
        with contextlib.suppress(ValueError):
            self._lots.remove(lot)
        lot.is_in_backlog = False

    def _send(self, transport: Transport, task: Task) -> None:
        """Put a task that is marked as sent into the queue."""
        try:
            self.in_flight[task._task] = task
            if task._message is not None:
                self._undecided.add(task)
            task._position = transport.put(task._item or b"")
        except BaseException as error:
            # Too deep a recursion, no memory: nobody knows whether it was put. It must not run
            # twice, nor leave a future waiting.
            self.in_flight[task._task] = task
            self._report(task._task, channels.FAILED, describe(error, "sending"))
            raise

    # --- and back --------------------------------------------------------------------------------

    def answer(self, number: int | None, kind: int, payload: Any) -> Task | None:
        """Take note of the outcome of a task that was sent; None if that has been done."""
        task = None
        if number is not None:
            task = self.in_flight.pop(number, None) or self.elsewhere.pop(number, None)
        if task is None:
            return None
        task._item = None
        self.leave(task, Stage.ANSWERED)
        # Else it may be tried again, and this is one of its runs.
        if task._message is None or (kind in _VALUES and task._stop is None):
            self.tally.note(task, kind, payload)
            self._undecided.discard(task)
            task._work = None
        if isinstance(task, Piece):
            lot = task.lot
            lot.account(task, kind, payload)
            if lot.unsent and not lot.is_in_backlog:
                self._queue_lot(lot, is_first=True)  # what was handed back
        return task

    def leave(self, task: Task, stage: Stage) -> None:
        """Move a task to one of the stages from which it will end."""
        task._stage = stage
        if stage is Stage.WITHDRAWN:
            self.tally.cancelled += task._count
            self._undecided.discard(task)
        if task._is_heard:
            task._is_heard = False
            self.heard -= 1
        if isinstance(task, Piece):
            if task.is_divisible:
                self._divisible -= 1
            if stage is Stage.WITHDRAWN:
                task.lot.withdraw(task)

    def withdraw(self, tasks: Iterable[Task]) -> list[Task]:
        """Take back those of some tasks that no worker has taken, and return them."""
        withdrawn: list[Task] = []
        waiting = Stage.WAITING
        queued = set()
        for task in tasks:
            if task._stage is waiting or task._stage is Stage.DELAYED:
                if task._stage is waiting:
                    self._withdrawn += 1
                self._delayed.discard(task)
                self.leave(task, Stage.WITHDRAWN)
                withdrawn.append(task)
            elif task._stage is Stage.SENT and task._lane is not None:
                if task._lane.withdraw(task):
                    self.leave(task, Stage.WITHDRAWN)
                    withdrawn.append(task)
            elif task._stage is Stage.SENT and not self.is_taken(task):
                queued.add(task)
        if queued:
            withdrawn += self._recall(queued)
        for task in withdrawn:
            task._item = None
        self.feed()  # there may be room now that no worker will speak of, having taken nothing
        for lane in self.lanes.values():
            lane.feed()  # it may be the rest of a map that was withdrawn: that is no longer due
        return withdrawn

    def withdraw_all(self, ending: Callable[[], BaseException]) -> list[Task]:
        """Withdraw every task that no worker has taken; `ending` is what becomes of maps' items."""
        withdrawn = self._recall(None)
        waiting = Stage.WAITING
        for task in (*self._backlog, *self._delayed):
            if isinstance(task, Task) and task._stage in {waiting, Stage.DELAYED}:
                self.leave(task, Stage.WITHDRAWN)
                withdrawn.append(task)
        lots = {*self._lots}
        for lane in self.lanes.values():
            tasks, others = lane.withdraw_all()
            lots.update(others)
            for task in tasks:
                self.leave(task, Stage.WITHDRAWN)
            withdrawn += tasks
        lots.update(task.lot for task in withdrawn if isinstance(task, Piece))
        self._backlog.clear()
        self._withdrawn = 0
        self._delayed.clear()
        self._lots.clear()
        for lot in lots:
            lot.is_in_backlog = False
            lot.end(ending)
        for task in withdrawn:
            task._item = None
        return withdrawn

    def drop_stops(self) -> None:
        """Take the stops out of the queue: those that they were for are gone."""
        self._recall(set(), keeps_stops=False)

    def _recall(self, wanted: set[Task] | None, *, keeps_stops: bool = True) -> list[Task]:
        """Take those tasks out of the queue, or all; leave the others in their order."""
        transport = self.transport
        if transport is None:
            return []
        found = []
        items, stops = transport.recall()
        for number, item in items:
            task = self.in_flight.pop(number, None)
            if task is None:
                continue  # its sending failed half-way, and its future has been ended
            self._undecided.discard(task)
            if wanted is None or task in wanted:
                self.leave(task, Stage.WITHDRAWN)
                found.append(task)
            else:
                task._item = item
                self._send(transport, task)
        for _ in range(stops if keeps_stops else 0):
            transport.put_stop()
        transport.ring()
        return found

    def disown(self) -> None:
        """Forget all of them: in a forked child nobody will answer."""
        self.transport = None
        self._backlog.clear()
        self._withdrawn = 0
        self._lots.clear()
        self._delayed.clear()
        self._undecided.clear()
        self.in_flight.clear()
        self.elsewhere.clear()
        self.instead = None
        for lane in self.lanes.values():
            lane.disown()
        self.lanes.clear()
