"""Stopping tasks that run: on a user's word, when their time is up, or all of them at once.

What it guarantees:

* A task that is to stop ends with its `Stop`, whatever its worker answers, and no later than its
  grace is over: then its worker is given up, and another one may take the place. If the system
  gives no thread for the clock, there is no grace.
* An interrupt reaches that task only (`_inside.gate`), wherever it is: the worker whose board says
  that it runs it is told, or, if none does, all are: it has been taken, and one of them is about to
  begin it. Those that did not run it forget it when it has ended.
* A task whose time of grace is over before any board names it has ended, but its worker is found.
* A task is struck once. Should that be lost in a finalizer, whose exceptions nobody raises on, its
  grace decides: a second strike could hit the `finally` block of one that is about to stop.
* Nobody waits for a worker here. What enters an interpreter is its host thread, on an order.

No stop is lost, and nobody looks twice without having been told of something new:

* Where all are told, each is asked first to say which task it has taken (`channels.HEED`); its
  board is looked at again when the grace is over. A worker names a task on its board first, and
  looks afterwards whether it is to say so. So either it is found then, or the one that begins the
  task says so later (`NAMED`); and so does one that was struck there (`HIT`). From then on it has
  a grace of its own. It is asked until the task has answered, or is given up, or none of those that
  were told is left.
* When the time of a whole pool is up, all of its workers are given up but those that sleep and
  those that leave. One that only seemed to sleep, and has taken a task, is found as above: nothing
  else waits to be taken, but stops. One that leaves ends by itself, unless threads go on there that
  tasks have started: it says so when it has looked (`HELD_UP`), and has a grace from then on if
  that is behind the pool's own.

The engine's lock covers all of it; the timekeeper's actions take it themselves.
"""

import functools
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interpool import _exit
from interpool._inside import channels
from interpool._stops import SHORT_GRACE, Reason, Stop

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.gate import Place
    from interpool._task import Task
    from interpool._worker import Worker


@dataclass(slots=True)
class _Order:
    """What was ordered about a task.

    Attributes:
        task: the task, which may be on its next run by now.
        stop: why this run is to stop.
        told: the workers that were told.
        is_named: whether that is the one whose board named the task.
    """

    task: Task
    stop: Stop
    told: list[Worker]
    is_named: bool


class Stopper:
    """What stops tasks of one engine.

    Attributes:
        stopping: the orders of tasks that have not answered.
        unfound: those of tasks that have ended, though one of those workers has yet to answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.stopping: dict[int, _Order] = {}
        self.unfound: dict[int, _Order] = {}
        self._unnamed = 0  # orders of both that no board named
        self._is_over = False  # whether the time of all workers is up

    def stop(self, task: Task, stop: Stop, worker: Worker | None = None) -> None:
        """Stop a task that was taken. The lock is held.

        Args:
            task: the task.
            stop: why, and how long it has.
            worker: the one that runs it, if that is known.
        """
        number = task._task
        due = time.monotonic() + stop.grace
        if (earlier := task._stop) is not None:
            if stop.reason is Reason.INTERRUPT:
                earlier.reason = stop.reason  # which is never tried again, as a timeout may be
            if due >= earlier.due:
                return  # it is being stopped, and has no more time than this
        else:
            _exit.watch()
        # First, for what raises here has changed nothing. It is not called before the lock is free.
        is_timed = self._is_set((self, number), due, functools.partial(self._give_up, number))
        if earlier is not None:
            earlier.grace, earlier.due = stop.grace, due
            stop = earlier
        else:
            task._stop = stop
            stop.due = due
            if task._lane is not None:
                task._lane.strike(number)
            else:
                self._strike(task, stop, worker)
        if not is_timed:
            stop.is_untimed, stop.due = True, 0.0  # sooner than whatever comes
            self._end(number)

    def _strike(self, task: Task, stop: Stop, worker: Worker | None) -> None:
        number, staff = task._task, self._engine.staff
        worker = worker or staff.of_task(number)
        told = [*staff.workers.values(), *staff.abandoned.values()] if worker is None else [worker]
        self.stopping[number] = _Order(task, stop, told, is_named=worker is not None)
        self._unnamed += worker is None
        for it in told:
            if worker is None:
                it.board[channels.HEED] |= channels.SAY
            it.strike(number)

    def stop_all(self, grace: float) -> None:
        """Stop every task that was taken, and every initializer. The lock is held."""
        engine = self._engine
        for task in (*engine.tasks.in_flight.values(), *engine.tasks.elsewhere.values()):
            self.stop(task, Stop(Reason.TERMINATE, grace))
        staff = engine.staff
        for worker in (*staff.workers.values(), *staff.standby.values()):
            if staff.is_new(worker.number) or worker.board[channels.TASK] == channels.PREPARING:
                worker.strike(0)  # the number of an initializer
        self.give_up_rest(grace)

    def give_up_rest(self, grace: float) -> None:
        """Give up, so many seconds later, the workers that still work then. The lock is held."""
        if not self._is_set(self, time.monotonic() + grace, self._give_up_rest):
            self._end_rest()

    def note_taken(self, number: int, task: int, began: int) -> None:
        """A worker has begun a task that may not run for ever. The lock is held."""
        found = self._engine.tasks.find(task)
        if found is None or found._terms.timeout is None:
            return
        due = began / 1e9 + found._terms.timeout
        expire = functools.partial(self._expire, number, task)
        # A worker runs one task at a time: what was due for its last one is of no use any more. The
        # clock goes since before the task was sent (`Engine.make_ready`).
        self._engine.timekeeper.set((self, "worker", number), due, expire)

    def note_gone(self, number: int) -> None:
        """A worker is no more. The lock is held."""
        self._engine.timekeeper.drop((self, "worker", number))
        self._engine.timekeeper.drop((self, "leaving", number))
        find = self._engine.staff.find
        for task, order in [*self.unfound.items()]:
            if not any(find(it.number) for it in order.told):
                self._forget(task)

    def note_hit(self, task: int, places: list[Place]) -> None:
        """A task was struck, and was there. The lock is held."""
        if (order := self.stopping.get(task)) is None:
            self.note_named(task)
        elif not order.stop.places:
            order.stop.places = places

    def note_named(self, task: int) -> None:
        """The board of a worker names a task. The lock is held."""
        if task not in self.unfound:
            return  # its time is not over, or it has answered
        look = functools.partial(self._look_for, task)
        if not self._is_set((self, "unfound", task), time.monotonic() + SHORT_GRACE, look):
            self._look_for(task)

    def note_held_up(self, number: int) -> None:
        """A worker that leaves cannot end, because threads go on there. The lock is held."""
        if not self._is_over:
            return
        leave = functools.partial(self._leave_behind, number)
        if not self._is_set((self, "leaving", number), time.monotonic() + SHORT_GRACE, leave):
            self._leave_behind(number)

    def note_answered(self, number: int | None, *, is_ours: bool = False) -> None:
        """A task has ended, by its worker's answer or by ours. The lock is held."""
        if number is None:
            return
        if number in self.stopping:
            self._engine.timekeeper.drop((self, number))
            self._forget(number)
        elif not is_ours and number in self.unfound:
            self._forget(number)

    def _forget(self, number: int) -> None:
        """Nothing more is to be done about a task that was to stop."""
        order = self.stopping.pop(number, None) or self.unfound.pop(number)
        self._engine.timekeeper.drop((self, "unfound", number))
        # One that was told alone, and struck it, has forgotten it.
        if not (order.is_named and order.stop.places):
            for worker in order.told:
                worker.forget(number)
        self._unnamed -= not order.is_named
        if not order.is_named and not self._unnamed:
            for worker in self._engine.staff.everybody():
                worker.board[channels.HEED] &= ~channels.SAY

    def _is_set(self, key: Hashable, when: float, action: Callable[[], None]) -> bool:
        """Set the clock; return whether there is one. If not, the caller acts at once."""
        try:
            self._engine.timekeeper.set(key, when, action)
        except RuntimeError:  # which the task's error says, by `Stop.is_untimed`
            return False
        return True

    # --- called by the timekeeper ----------------------------------------------------------------

    def _expire(self, number: int, task: int) -> None:
        """A task has run for as long as it may."""
        engine = self._engine
        with engine.lock:
            found = engine.tasks.find(task)
            if found is None or found._stop is not None:
                return
            if found._lane is not None and number >= 0:
                return  # an interpreter refused it: its time begins anew, in a process
            limit = found._terms.timeout or 0.0
            self.stop(found, Stop(Reason.TIMEOUT, limit=limit), engine.staff.workers.get(number))

    def _give_up(self, number: int) -> None:
        with self._engine.lock:
            self._end(number)

    def _give_up_rest(self) -> None:
        with self._engine.lock:
            self._end_rest()

    def _look_for(self, number: int) -> None:
        """Give up the worker of a task that has ended, if that has begun it and does not stop."""
        engine = self._engine
        with engine.lock:
            if (order := self.unfound.get(number)) is None:
                return  # it has answered
            worker = engine.staff.of_task(number)
            if worker is not None and self._abandon(worker, order.task, order.stop):
                self._forget(number)
                engine.report(0, channels.WAKE)

    def _leave_behind(self, number: int) -> None:
        """Give up a worker in which threads go on."""
        engine = self._engine
        with engine.lock:
            if (worker := engine.staff.leaving.get(number)) is not None:
                self._abandon_leaving(worker)
                engine.report(0, channels.WAKE)

    # --- when the time is up. The lock is held ---------------------------------------------------

    def _end(self, number: int) -> None:
        """A task has not stopped in time: end its future, and give up its worker."""
        engine = self._engine
        task = engine.tasks.find(number)
        if task is None or task._stop is None:
            return
        if task._lane is not None:
            task._stop.is_killed = task._lane.name == "process"
            task._lane.kill(number)  # its host reports the end
            return
        worker = engine.staff.of_task(number)
        if worker is None:
            self._keep_unfound(number)
        engine.report(number, channels.STRUCK)
        if worker is not None:
            self._abandon(worker, task, task._stop)

    def _keep_unfound(self, number: int) -> None:
        """A task is to end that a worker has taken, and no board names.

        It is condemned there, or will be struck when it has begun: nobody may forget it before.
        """
        if (order := self.stopping.pop(number, None)) is not None:
            self.unfound[number] = order

    def _end_rest(self) -> None:
        """The time is up of a pool that is to end at once."""
        engine = self._engine
        staff, in_flight = engine.staff, engine.tasks.in_flight
        self._is_over = True
        for worker in (*staff.workers.values(), *staff.standby.values()):
            number = worker.board[channels.TASK]
            if (task := in_flight.get(number)) is not None:
                task._stop = task._stop or Stop(Reason.TERMINATE)
                self._abandon(worker, task, task._stop)
            elif staff.is_new(worker.number) or number:
                self._abandon_other(worker, number)
        for worker in [*staff.leaving.values()]:
            if worker.board[channels.THREADS]:
                self._abandon_leaving(worker)
        for lane in engine.tasks.lanes.values():
            lane.kill_all()
        for number, task in [*in_flight.items()]:
            if task._stop is not None and not task._stop.abandoned:
                self._keep_unfound(number)
            engine.report(number, channels.STRUCK)
        engine.report(0, channels.WAKE)

    def _abandon(self, worker: Worker, task: Task, stop: Stop) -> bool:
        """Give up the worker of a task; return whether that was so: it may just have ended."""
        if not self._engine.staff.abandon(worker):
            return False
        stop.abandoned = worker.name
        if (trace := self._engine.trace) is not None:
            trace.note_abandoned(worker, task, stop)
        self._engine.warn(
            f"{task._name} {stop.lateness}, so its worker {worker.name} was abandoned: it goes on "
            "until the task returns, and is replaced meanwhile. A call that stays in C code cannot "
            "be interrupted"
        )
        return True

    def _abandon_other(self, worker: Worker, number: int) -> None:
        """Give up a worker that does no task that anybody waits for."""
        if self._engine.staff.abandon(worker) and number == channels.PREPARING:
            self._engine.warn(
                f"The initializer of the worker {worker.name} did not stop, so the worker was "
                "abandoned"
            )

    def _abandon_leaving(self, worker: Worker) -> None:
        """Give up a worker that leaves, and cannot end."""
        if self._engine.staff.abandon(worker):
            self._engine.warn(
                f"The interpreter of the worker {worker.name} does not end, because threads go on "
                "there that a task has started, so it was abandoned"
            )
