"""The measurement as a whole, within its budget.

The order is that of safety: what hangs or crashes is to do so in a process, which can be killed,
before it is tried here.
"""

import statistics
from typing import Any

from interpool import _explain
from interpool._cpu import available_cores
from interpool._errors import ProcessDied, TaskTimeout
from interpool._executor import InterpreterPoolExecutor
from interpool._recommend import baseline, lanes
from interpool._recommend.data import LaneFigures, Measurements
from interpool._recommend.job import Budget, Job
from interpool._recommend.sizing import COMPUTES, workers_for
from interpool._references import is_referable

# Items whose size is looked at: arbitrary.
_MEASURED = 20


def measure(job: Job, seconds: float, cores: int | None) -> Measurements:
    """Measure a job in every lane.

    Args:
        job: what to measure.
        seconds: what it may take.
        cores: how many workers compute at a time; None: as many as there are cores.

    Raises:
        TaskTimeout: if an item takes longer than half of that.
        ProcessDied: if it ends its process.
        Exception: what the function raises.
    """
    cores = available_cores() if cores is None else cores
    budget = Budget(seconds)
    pool = InterpreterPoolExecutor(cores)
    try:
        process = lanes.Lane(pool, "process", job, cores, budget)
        limit = seconds / 2
        try:
            process.begin(limit)
        except TaskTimeout as error:
            raise _hanging(job, limit, error) from None
        except ProcessDied as error:
            BaseException.add_note(error, "It was not run anywhere else.")
            raise
        serial, result = baseline.measure(job, budget)
        sizes = lanes.Sizes(
            _median_size([*job.some(min(len(job.items), _MEASURED))]), _median_size([result])
        )
        interpreter = lanes.Lane(pool, "interpreter", job, cores, budget)

        def in_threads() -> LaneFigures:
            workers = workers_for("thread", serial.cpu, cores)
            return lanes.measure_threads(job, serial, workers, budget)

        def in_workers() -> tuple[LaneFigures, LaneFigures]:
            interpreter.begin(max(limit, budget.left), serial.seconds)
            return interpreter.run(serial, result, sizes), process.run(serial, result, sizes)

        # What is likely to suit comes first: there may be no time for the others.
        if serial.cpu < COMPUTES:
            figures = in_threads(), *in_workers()
        else:
            first, second = in_workers()
            figures = in_threads(), first, second
    finally:
        pool.terminate_workers()
        pool.shutdown()
    return Measurements(
        function=job.name,
        module=job.fn.__module__ if is_referable(job.fn) else "",
        cores=cores,
        sample=len(job.items),
        bytes_there=sizes.there,
        bytes_back=sizes.back,
        serial=serial,
        lanes=figures,
        is_coroutine=job.is_coroutine,
    )


def _hanging(job: Job, limit: float, error: TaskTimeout) -> TaskTimeout:
    message = (
        f"{job.name} did not come to an end for the first item of its sample within {limit:g} s, "
        "half of the budget. Take smaller items, or a larger budget"
    )
    return TaskTimeout(message, function=job.name, limit=limit, stack=error.stack)


def _median_size(objects: list[Any]) -> int | None:
    """Return the median of their bytes on the way; None if one of them cannot be sent."""
    try:
        return int(statistics.median_low([_explain._size_of(it) for it in objects]))
    except Exception:  # of pickling: the lanes say why
        return None
