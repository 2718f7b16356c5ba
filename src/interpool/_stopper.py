"""Stopping tasks that run: on a user's word, when their time is up, or all of them at once.

What it guarantees:

* A task that is to stop ends with its `Stop`, whatever its worker answers, and no later than its
  grace is over: then its worker is given up, and another one may take the place.
* An interrupt reaches that task only (`_inside.gate`), wherever it is: the worker whose board says
  that it runs it is told, or, if none does, all are: it has been taken, and one of them is about to
  begin it. Those that did not run it forget it when it has ended.
* A task whose time of grace is over before any board names it has ended, but its worker is found:
  it is looked for until it has answered, or can be given up.
* Nobody waits for a worker here. What enters an interpreter is its host thread, on an order.

The engine's lock covers all of it; the timekeeper's actions take it themselves.
"""

import functools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from interpool import _exit
from interpool._inside import channels
from interpool._stops import SHORT_GRACE, Reason, Stop

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.gate import Place
    from interpool._task import Task
    from interpool._worker import Worker


class Stopper:
    """What stops tasks of one engine.

    Attributes:
        stopping: tasks that are to stop and have not answered, with the workers that were told.
        unfound: the same of tasks that have ended, though one of those workers has yet to answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.stopping: dict[int, tuple[Task, list[Worker]]] = {}
        self.unfound: dict[int, tuple[Task, list[Worker]]] = {}

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
            earlier.grace, earlier.due = stop.grace, due
        else:
            _exit.watch()
            task._stop = stop
            stop.due = due
            told: list[Worker] = []
            if task._lane is not None:
                task._lane.strike(number)
            elif (worker := worker or self._engine.staff.of_task(number)) is not None:
                told = [worker]
            else:
                told = [*self._engine.staff.workers.values()]
            self.stopping[number] = task, told
            for it in told:
                it.strike(number)
        give_up = functools.partial(self._give_up, number)
        self._engine.timekeeper.set((self, number), due, give_up)

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
        self._engine.timekeeper.set(self, time.monotonic() + grace, self._give_up_rest)

    def note_taken(self, number: int, task: int, began: int) -> None:
        """A worker has begun a task that may not run for ever. The lock is held."""
        found = self._engine.tasks.find(task)
        if found is None or found._terms.timeout is None:
            return
        due = began / 1e9 + found._terms.timeout
        expire = functools.partial(self._expire, number, task)
        # A worker runs one task at a time: what was due for its last one is of no use any more.
        self._engine.timekeeper.set((self, "worker", number), due, expire)

    def note_gone(self, number: int) -> None:
        """A worker is no more. The lock is held."""
        self._engine.timekeeper.drop((self, "worker", number))

    def note_hit(self, task: int, places: list[Place]) -> None:
        """A task was struck, and was there. The lock is held."""
        if (found := self.stopping.get(task)) is not None:
            stop = found[0]._stop
            if stop is not None and not stop.places:
                stop.places = places

    def note_answered(self, number: int | None, *, is_ours: bool = False) -> None:
        """A task has ended, by its worker's answer or by ours. The lock is held."""
        if number is None:
            return
        if (found := self.stopping.pop(number, None)) is not None:
            self._engine.timekeeper.drop((self, number))
        elif not is_ours:
            found = self.unfound.pop(number, None)
        if found is not None:
            task, told = found
            # One that was told alone, and struck it, has forgotten it.
            if len(told) > 1 or task._stop is None or not task._stop.places:
                for worker in told:
                    worker.forget(number)

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
        """A task has not stopped in time: end its future, and give up its worker."""
        engine = self._engine
        warning = None
        with engine.lock:
            task = engine.tasks.find(number)
            if task is None or task._stop is None:
                return
            if task._lane is not None:
                task._stop.is_killed = task._lane.name == "process"
                task._lane.kill(number)  # its host reports the end
                return
            worker = engine.staff.of_task(number)
            if worker is not None:
                warning = self._abandon(worker, task)
            else:
                self._look_for_later(number)
        engine.report(number, channels.STRUCK)
        if warning:
            engine.warn(warning)

    def _look_for_later(self, number: int) -> None:
        """A task is to end that a worker has taken, and no board names. The lock is held.

        It is condemned there, or will be struck when it has begun: nobody may forget it before.
        """
        if (found := self.stopping.pop(number, None)) is not None:
            self._keep_unfound(number, found)

    def _keep_unfound(self, number: int, found: tuple[Task, list[Worker]]) -> None:
        self.unfound[number] = found
        look = functools.partial(self._look_for, number)
        when = time.monotonic() + SHORT_GRACE
        self._engine.timekeeper.set((self, "unfound", number), when, look)

    def _look_for(self, number: int) -> None:
        """Give up the worker of a task that has ended, if it has begun that and does not stop."""
        engine = self._engine
        warning = None
        with engine.lock:
            if (found := self.unfound.pop(number, None)) is None:
                return  # it has answered
            task, told = found
            worker = engine.staff.of_task(number)
            if worker is not None:
                warning = self._abandon(worker, task)
                engine.report(0, channels.WAKE)
                for it in told:
                    it.forget(number)
            elif any(engine.staff.find(it.number) for it in told):
                self._keep_unfound(number, found)
        if warning:
            engine.warn(warning)

    def _give_up_rest(self) -> None:
        """The time is up of a pool that is to end at once."""
        engine = self._engine
        staff = engine.staff
        with engine.lock:
            warnings = [*self._abandon_rest()]
            if staff.workers or staff.leaving:
                self.give_up_rest(SHORT_GRACE / 4)  # on their way to that, perhaps
            ended = [*engine.tasks.in_flight]
            for lane in engine.tasks.lanes.values():
                lane.kill_all()
            for number, task in engine.tasks.in_flight.items():
                if task._stop is not None and not task._stop.abandoned:
                    self._look_for_later(number)
        for number in ended:
            engine.report(number, channels.STRUCK)
        engine.report(0, channels.WAKE)
        for warning in filter(None, warnings):
            engine.warn(warning)

    def _abandon_rest(self) -> Iterator[str]:
        """Give up the workers that still work. Yields what to warn of. The lock is held."""
        staff = self._engine.staff
        for worker in (*staff.workers.values(), *staff.standby.values()):
            number = worker.board[channels.TASK]
            task = self._engine.tasks.in_flight.get(number)
            if task is not None:
                yield self._abandon(worker, task)
                continue
            is_at_work = staff.is_new(worker.number) or number
            if is_at_work and staff.abandon(worker) and number == channels.PREPARING:
                yield (
                    f"The initializer of the worker {worker.name} did not stop, so the worker was "
                    "abandoned"
                )
        for worker in [*staff.leaving.values()]:
            if worker.board[channels.THREADS] and staff.abandon(worker):
                yield (
                    f"The interpreter of the worker {worker.name} does not end, because threads "
                    "go on there that a task has started, so it was abandoned"
                )

    def _abandon(self, worker: Worker, task: Task) -> str:
        """Give up the worker of a task; return what to warn of, "" if the task has just ended."""
        if not self._engine.staff.abandon(worker):
            return ""
        stop = task._stop or Stop(Reason.TERMINATE)
        task._stop = stop
        stop.abandoned = worker.name
        return (
            f"{task._name} did not stop within {stop.grace:g} s, so its worker {worker.name} was "
            "abandoned: it goes on until the task returns, and is replaced meanwhile. A call that "
            "stays in C code cannot be interrupted"
        )
