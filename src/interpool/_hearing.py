"""What an engine does about what it hears: answers of tasks, and word of workers.

Called for each frame, under the engine's lock; what is to be done without it, because it may run a
user's code, is added to the outcomes.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from interpool import _exit
from interpool._errors import FallbackWarning
from interpool._failures import LOST, Failure
from interpool._future import Future
from interpool._inside import channels
from interpool._lots import Piece
from interpool._output import Output
from interpool._reports import Notice
from interpool._stops import Reason, Stop
from interpool._task import Outcome, Stage, Task

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.outcomes import Description

type Outcomes = deque[Outcome | Output | Notice]
"""Futures that are to end, what workers have printed, and what is to be reported, in order."""

_VALUES: Final = frozenset({channels.VALUE_PLAIN, channels.VALUE_PICKLED})
# What these ask for is done after every batch.
_NUDGES: Final = frozenset({channels.HUNGRY, channels.WAKE})


class Hearing:
    """The ear of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # By kind: each takes the worker's number and the payload.
        self._of_worker: dict[int, Callable[[int, Any, Outcomes], None]] = {
            channels.BEGUN: self._hear_begun,
            channels.UNSTARTED: self._hear_unstarted,
            channels.RETIRING: lambda worker, _, __: engine.staff.note_retiring(worker),
            channels.TAKEN: lambda worker, it, _: engine.stopper.note_taken(worker, *it),
            channels.HIT: lambda _, it, __: engine.stopper.note_hit(*it),
            channels.NAMED: lambda _, task, __: engine.stopper.note_named(task),
            channels.HELD_UP: lambda worker, _, __: engine.stopper.note_held_up(worker),
            channels.TOLD: lambda _, notice, said: said.append(notice),
            channels.SAID: lambda worker, it, said: said.append(
                it if isinstance(it, Output) else Output(worker, it)
            ),
            channels.FULL: self._hear_full,
            channels.DIED: self._hear_died,
            channels.LEFT: self._hear_left,
            channels.GONE: self._hear_gone,
            channels.NESTS: lambda _, __, ___: _exit.watch(),
            channels.HELD: self._hear_held,
            channels.TRACED: self._hear_traced,
        }

    def act_on(self, subject: int, kind: int, payload: Any, outcomes: Outcomes) -> None:
        """Act on a frame: the outcome of a task, or word of a worker."""
        if kind <= channels.LOST:
            self._answer(subject, kind, payload, outcomes)
        elif kind not in _NUDGES:
            self._of_worker[kind](subject, payload, outcomes)

    def lose_all(self, failure: Failure, outcomes: Outcomes) -> None:
        """Break the pool, and end every task with the failure."""
        self._break(failure, outcomes)
        tasks = self._engine.tasks
        for task in (*tasks.in_flight, *tasks.elsewhere):
            self._answer(task, channels.DIED, failure, outcomes)
        for lane in tasks.lanes.values():
            lane.kill_all()

    # --- tasks -----------------------------------------------------------------------------------

    def _answer(self, number: int | None, kind: int, payload: Any, outcomes: Outcomes) -> None:
        """Move a task that was sent to where its future is ended, unless that has been done."""
        engine = self._engine
        failure = _refusal_in(kind, payload)
        if failure is not None and number is not None and engine.fallback.takes(number):
            if engine.trace is not None and failure[4] is not None:
                name = engine.tasks.in_flight[number]._name
                engine.trace.note_diverted(number, name, failure[4][0])
            if warning := engine.fallback.divert(number, failure):
                outcomes.append(Notice(warning, FallbackWarning))
            return
        is_ours = kind == channels.STRUCK and payload is None  # a worker's says where it was
        engine.stopper.note_answered(number, is_ours=is_ours)
        task = engine.tasks.answer(number, kind, payload)
        if task is None:
            return
        if kind == channels.STRUCK or task._stop is not None:
            kind, payload = channels.STRUCK, _stop_of(task, kind, payload)
        if engine.trace is not None and kind not in _VALUES and kind != channels.EACH:
            engine.trace.note_answer(task, payload)
        may_be_tried_again = task._message is not None and kind not in _VALUES
        if isinstance(task, Piece) and not outcomes and not may_be_tried_again:
            task.lot.deliver(task, kind, payload)
        else:
            outcomes.append(Outcome(task, kind, payload))

    def _strand(self, outcomes: Outcomes) -> None:
        """End the tasks that were taken by workers that are all gone without an answer."""
        tasks = self._engine.tasks
        for number, task in list(tasks.in_flight.items()):
            if tasks.is_taken(task):
                self._answer(number, channels.DIED, self._engine.broken or LOST, outcomes)

    def _strand_one(self, number: int | None, failure: Failure, outcomes: Outcomes) -> None:
        """End the task that a worker had last, unless it is answered, or has gone elsewhere."""
        if number in self._engine.tasks.in_flight:
            self._answer(number, channels.DIED, failure, outcomes)

    # --- workers ---------------------------------------------------------------------------------

    def _hear_traced(self, number: int, payload: Any, _: Outcomes) -> None:
        if (trace := self._engine.trace) is not None:
            trace.note_work(number, payload)

    def _hear_begun(self, number: int, _: None, __: Outcomes) -> None:
        self._engine.staff.note_begun(number)
        self._engine.idling.note_begun()

    def _hear_unstarted(self, number: int, payload: Any, outcomes: Outcomes) -> None:
        """A worker did not start: go on with fewer if it lacked means, else the pool is broken."""
        staff = self._engine.staff
        is_successor = staff.note_failed(number)
        if self._engine.is_terminated:  # by us, perhaps
            return
        failure = Failure.from_frame(payload)
        if self._engine.fallback.takes_all(number, failure):
            if warning := self._engine.fallback.divert_all(failure):
                outcomes.append(Notice(warning, FallbackWarning))
            return
        others = len(staff.workers.keys() - {number})
        if failure.stage == "start" and others:
            outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
            if not is_successor:
                staff.most = others
        else:
            self._break(failure, outcomes)

    def _hear_full(self, _: int, fd: int, __: Outcomes) -> None:
        """A worker waits for its bulk queue to be read, which it was before this frame was."""
        if (transport := self._engine.transport) is not None:
            transport.make_room(fd)

    def _hear_died(self, number: int, payload: Any, outcomes: Outcomes) -> None:
        """A worker's loop broke down, perhaps with a task; the next would, if it never began."""
        task, description = payload
        failure = Failure.from_frame(description)
        if self._engine.trace is not None:
            details = {"error": failure.headline()}
            self._engine.trace.mark("worker died", (number, 0), details)
        self._strand_one(task, failure, outcomes)
        if self._engine.staff.is_new(number):
            self._break(failure, outcomes)

    def _hear_left(self, number: int, _: None, outcomes: Outcomes) -> None:
        """A worker's loop has ended: all that it had to say has been read."""
        engine = self._engine
        recycled = engine.staff.recycled
        if (worker := engine.staff.note_left(number)) is not None:
            if engine.trace is not None:
                engine.trace.note_handed_over(number)
                if engine.staff.recycled > recycled:
                    details = {"tasks": worker.board[channels.DONE]}
                    engine.trace.mark("worker recycled", (number, 0), details)
            if worker.board[channels.STOPPED] and engine.transport is not None:
                engine.transport.note_stopped()
                if number in engine.staff.abandoned:
                    engine.idling.look_again()
            worker.release()
            task = worker.board[channels.TASK]  # if it is not answered, it never will be
            self._strand_one(task, engine.broken or LOST, outcomes)

    def _hear_gone(self, number: int, _: None, outcomes: Outcomes) -> None:
        """A worker is no more: it says nothing, and answers no ring and no task."""
        engine = self._engine
        outcomes.append(Output(number, None))
        engine.staff.note_gone(number)
        if engine.trace is not None:
            engine.trace.note_handed_over(number)
        engine.stopper.note_gone(number)
        if engine.transport is not None:
            engine.transport.ring_again()
        if not engine.staff.workers:
            self._strand(outcomes)

    def _hear_held(self, number: int, _: None, outcomes: Outcomes) -> None:
        """A worker has left, and its interpreter ends no sooner than a thread in C lets it."""
        engine = self._engine
        worker = engine.staff.leaving.get(number)
        if worker is None:
            return  # given up by now
        message = (
            f"The interpreter of the worker {worker.name} does not end, because a task has made a "
            "pool there, of which a worker was abandoned"
        )
        if _exit.can_leave():
            engine.staff.abandon(worker)
            message += ", so it was abandoned"
        else:
            message += ": the program ends when that one's task returns"
        if not engine.is_quiet:
            outcomes.append(Notice(message, RuntimeWarning))

    def _break(self, failure: Failure, outcomes: Outcomes) -> None:
        """Take no more tasks, and end those that no worker has taken; the others go on."""
        engine = self._engine
        if engine.broken is not None:
            return
        outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
        engine.broken = failure
        engine.refusal = failure.headline()
        engine.staff.wanted = 0
        for task in engine.tasks.withdraw_all(failure.as_broken_pool):
            if isinstance(task, Future):
                task._stage = Stage.ANSWERED
                outcomes.append(Outcome(task, channels.UNSTARTED, failure))


def _refusal_in(kind: int, payload: Any) -> Description | None:
    """Return what says that an extension has refused an interpreter, if one has."""
    failures: Iterable[Description] = ()
    if kind == channels.FAILED:
        failures = (payload,)
    elif kind == channels.EACH:
        failures = payload[2].values()
    return next((it for it in failures if it[4]), None)


def _stop_of(task: Task, kind: int, payload: Any) -> Stop:
    """The end of a task that was to stop, or says that it was, by what its worker answered."""
    stop = task._stop or Stop(Reason.ITSELF)
    if kind == channels.STRUCK and payload and task._stop is not None:
        stop.places = payload
    elif kind == channels.FAILED:
        stop.failure = Failure.from_frame(payload)
    return stop
