"""What there is of a pool at one moment: in a few words, or in full."""

from dataclasses import replace
from typing import TYPE_CHECKING

from interpool._interrupts import Deferred
from interpool._statistics import Statistics, Tasks, Times, lanes_of, process_memory

if TYPE_CHECKING:
    from interpool._engine import Engine


def description(engine: Engine, name: str) -> str:
    """Say in a few words what there is of an engine of that name."""
    with Deferred(), engine.lock:
        staff, (waiting, running) = engine.staff, engine.tasks.census()
        workers = f"{len(staff.workers)} of {staff.most} workers"
        abandoned = f", {len(staff.abandoned)} abandoned" if staff.abandoned else ""
        tasks = f"{running} tasks running, {waiting} waiting"
        state = "broken" if engine.broken else "shut down" if engine.refusal else "open"
        return f"{name}: {state}, {workers}{abandoned}, {tasks}"


def statistics(engine: Engine) -> Statistics:
    """Count and measure."""
    with Deferred(), engine.lock:
        tasks, staff = engine.tasks, engine.staff
        waiting, running = tasks.census()
        tally = tasks.tally
        alive = {"process": 0, "thread": 0}
        for lane in tasks.lanes.values():
            running += lane.running
            waiting += lane.waiting
            alive[lane.name] = lane.alive
        sent, received = engine.moved
        everybody = staff.everybody()
        boards = [worker.board for worker in everybody]
        starts = [int(it.ready_after * 1e9) for it in everybody if it.ready_after is not None]
        return Statistics(
            workers=replace(
                staff.statistics(), processes=alive["process"], threads=alive["thread"]
            ),
            tasks=Tasks(
                waiting=waiting,
                running=running,
                delayed=tasks.delayed,
                done=tally.done,
                failed=tally.failed,
                cancelled=tally.cancelled,
                interrupted=tally.interrupted,
                timed_out=tally.timed_out,
                retried=tally.retried,
                diverted=tally.diverted,
            ),
            lanes=lanes_of(tally),
            queue_times=staff.records.queue_times(boards),
            run_times=staff.records.run_times(boards),
            start_times=Times.of(staff.hired, [*staff.records.starts, *starts]),
            bytes_sent=sent,
            bytes_received=received,
            memory=process_memory(),
        )
