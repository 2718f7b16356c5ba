"""One thread: how long items take, and how much of that is computing.

It is a thread of its own, for which the caller waits: one that hangs can be left behind.
"""

import contextvars
import queue
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from interpool import _threads
from interpool._errors import TaskTimeout
from interpool._recommend.data import Baseline
from interpool._recommend.job import MOST_CALLS, PASSES, Budget, Job
from interpool._statistics import Times

# A function that takes less than this share of its time for the same items, and less than so many
# nanoseconds each, remembers them: memory that was allocated before makes less of a difference.
_REMEMBERED: Final = 0.05
_LOOKED_UP: Final = 20_000
_ASKED_AGAIN: Final = 5
# Nanoseconds from which on a share of them that others had the core is no matter of chance.
_TELLING: Final = 10_000_000
# Of a step's time, what the first item may take for others to be run.
_LONG: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Usage:
    """Nanoseconds so far: on the clock, of this thread, of the process, and waiting for a core."""

    clock: int
    thread: int
    process: int
    delay: int

    @classmethod
    def now(cls) -> _Usage:
        return cls(
            time.perf_counter_ns(),
            time.thread_time_ns(),
            time.process_time_ns(),
            delay_of(threading.get_native_id()),
        )

    def since(self, start: _Usage) -> _Usage:
        return _Usage(
            self.clock - start.clock,
            self.thread - start.thread,
            self.process - start.process,
            self.delay - start.delay,
        )


def delay_of(thread: int) -> int:
    """Nanoseconds for which a thread was ready, and had no core; 0 where nobody counts them.

    Args:
        thread: its native identifier.
    """
    try:
        with open(f"/proc/self/task/{thread}/schedstat", "rb") as file:  # noqa: PTH123 - no file
            return int(file.read().split()[1])
    except OSError, IndexError, ValueError:
        return 0


@dataclass(slots=True)
class _Run:
    """What the thread notes."""

    first: Any = None
    times: list[int] | None = None  # nanoseconds
    usage: _Usage | None = None
    is_memo: bool = False


def measure(job: Job, budget: Budget) -> tuple[Baseline, Any]:
    """Run items in one thread, for a share of the budget.

    Returns:
        What was measured, and the first item's result.

    Raises:
        TaskTimeout: if it does not come to an end within the budget.
        Exception: what the function raises, with a note that says for which item.
    """
    outcome: queue.SimpleQueue[_Run | BaseException] = queue.SimpleQueue()
    is_left = threading.Event()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.put(context.run(_run, job, budget, is_left))
        except BaseException as error:  # SystemExit, too: it is told to the caller
            outcome.put(error)

    thread = _threads.make(work, "interpool-recommend")
    thread.start()
    try:
        found = outcome.get(timeout=max(budget.left, budget.total / 2))
    except queue.Empty:
        message = (
            f"{job.name} did not come to an end within {budget.total:g} s, the budget: it runs on, "
            "in a thread that cannot be stopped. Take smaller items, or a larger budget"
        )
        raise TaskTimeout(message, function=job.name, limit=budget.total) from None
    finally:
        is_left.set()
    thread.join()
    if isinstance(found, BaseException):
        raise found
    return _judged(found), found.first


def _run(job: Job, budget: Budget, is_left: threading.Event) -> _Run:
    span = budget.share
    run = _Run()
    start = _Usage.now()
    run.first = _call(job, 0)
    run.usage = _Usage.now().since(start)
    run.times = [run.usage.clock]
    if run.usage.clock >= _LONG * span * 1e9:
        return run
    # Each item once, as far as there is time: the first call is not counted, for it may import.
    start = _Usage.now()
    times = _passed(job, len(job.items), span, is_left)
    run.usage = _Usage.now().since(start)
    run.is_memo = _remembers(job, times)
    if run.is_memo:
        run.times = times[1:] or run.times  # the first one was asked for before
        return run
    run.times = times
    if run.usage.clock < budget.span * 1e9 and len(times) == len(job.items):
        # Again and again, and the best pass counts, as it does in the lanes.
        run.times = []
        for _ in range(PASSES):
            start = _Usage.now()
            times = _passed(job, MOST_CALLS, budget.span, is_left)
            if not run.times or _mean(times) < _mean(run.times):
                run.usage = _Usage.now().since(start)
                run.times = times
    return run


def _mean(times: list[int]) -> float:
    return sum(times) / len(times)


def _passed(job: Job, most: int, span: float, is_left: threading.Event) -> list[int]:
    """Return the nanoseconds of items, until there are so many or the time is up."""
    times: list[int] = []
    now = time.perf_counter_ns()
    end = now + int(span * 1e9)
    for number, item in enumerate(job.some(most)):
        try:
            job.call(item)
        except BaseException as error:
            _note(error, job, number)
            raise
        before, now = now, time.perf_counter_ns()
        times.append(now - before)
        if now >= end or is_left.is_set():
            break
    return times


def _remembers(job: Job, times: list[int]) -> bool:
    if hasattr(job.fn, "cache_info"):
        return True
    again = times[1 : 1 + _ASKED_AGAIN]
    most = min(_REMEMBERED * sum(again), _LOOKED_UP * len(again))
    taken = 0
    for number in range(1, 1 + len(again)):
        before = time.perf_counter_ns()
        _call(job, number)
        taken += time.perf_counter_ns() - before
        if taken >= most:
            return False
    return bool(again)


def _call(job: Job, number: int) -> Any:
    try:
        return job.call(job.items[number])
    except BaseException as error:
        _note(error, job, number)
        raise


def _note(error: BaseException, job: Job, number: int) -> None:
    place = number % len(job.items) + 1
    BaseException.add_note(error, f"Raised by {job.name} for item {place} of the sample.")


def _judged(run: _Run) -> Baseline:
    assert run.times  # noqa: S101 - the first call at least
    assert run.usage is not None  # noqa: S101 - noted with it
    usage = run.usage
    clock = max(usage.clock, 1)
    return Baseline(
        times=Times.of(len(run.times), run.times),
        seconds=_mean(run.times) / 1e9,
        cpu=min(usage.thread / max(clock - usage.delay, 1), 1.0),
        own_cores=max(usage.process / clock, 0.0),
        crowded=min(max(usage.delay / clock, 0.0), 1.0) if clock >= _TELLING else 0.0,
        is_memo=run.is_memo,
    )
