"""The lanes: what it takes to start workers, to send something, to run a function side by side."""

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from interpool._errors import (
    IncompatibleExtensionError,
    ProcessDied,
    TaskTimeout,
    TransferError,
)
from interpool._executor import InterpreterPoolExecutor
from interpool._recommend import words
from interpool._recommend.baseline import delay_of
from interpool._recommend.data import Baseline, LaneFigures, Place, Refusal
from interpool._recommend.job import ENOUGH, MOST_CALLS, PASSES, Budget, Item, Job
from interpool._recommend.sizing import COMPUTES

# Tasks of nothing that are submitted one by one, for the sake of their time.
_SUBMITS: Final = 200
# Items that are sent at the most for the sake of their size, and which part of a pass over items
# that may take.
_MOST_SENT: Final = 1000
_SENDING: Final = 0.3
# What a second call of the first item may take of a step's time.
_AGAIN: Final = 0.25
# Seconds that a thread waits for the GIL before it asks for it.
_PATIENCE: Final = 0.1
# Bytes that the items of one pass may take together: arbitrary.
_MOST_BYTES: Final = 1 << 28
# What a first call takes longer than another one is noise, up to this part of it.
_NOISE: Final = 0.2


class _Takes(Protocol):
    """An executor, or a view of one."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]: ...

    def map(
        self, fn: Callable[..., Any], *iterables: Any, timeout: float | None = None
    ) -> Iterator[Any]: ...


def _errands() -> tuple[Callable[..., None], Callable[[Any], Any]]:
    """Tasks that go by value: to import this module would take a worker longer than the tasks."""

    def nothing(*_: Any) -> None: ...

    def back(value: Any) -> Any:
        return value

    return nothing, back


_nothing, _back = _errands()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of an item's arguments and its result; None: cannot be pickled."""

    there: int | None
    back: int | None


def count_for(
    each: float, workers: int, span: float, *, nbytes: int = 0, most: int = MOST_CALLS
) -> int:
    """Return how many items to run so that it takes a while, and each worker has as many.

    Args:
        each: seconds that an item takes.
        workers: how many of them there are.
        span: seconds that all of it is to take.
        nbytes: of an item, which are in memory at the same time as those of the others.
        most: no more than so many, but one for each worker.
    """
    count = min(int(span * workers / each), most) if each > 0 else most
    if nbytes:
        count = min(count, _MOST_BYTES // nbytes)
    return max(count - count % workers, workers)


def measure_threads(job: Job, serial: Baseline, workers: int, budget: Budget) -> LaneFigures:
    """Measure ThreadPoolExecutor."""
    figures = LaneFigures("thread", workers)
    if serial.is_memo:
        text = "it remembers results, so that the same items again would say nothing"
        return replace(figures, refusal=Refusal("memo", text))
    threads: list[int] = []

    def arrive() -> None:
        threads.append(threading.get_native_id())

    def call(*item: Any) -> None:  # whose result is not kept
        job.call(item)

    pool = ThreadPoolExecutor(workers, "interpool-recommend", arrive)
    is_stuck = False
    try:
        began = time.perf_counter()
        for future in [pool.submit(_nothing) for _ in range(workers)]:
            future.result()
        startup = time.perf_counter() - began
        submit = _submit_time(pool)
        count = count_for(serial.seconds, workers, budget.span)
        figures = replace(
            figures, startup=startup, submit=submit, first_call=0.0, transfer=0.0, count=count
        )
        if (refusal := _too_long(serial, count, workers, budget)) is not None:
            return replace(figures, refusal=refusal)
        with _patient_threads(is_wanted=serial.cpu >= COMPUTES):
            return _best_pass(
                figures, lambda: _passed(pool, call, job, count, budget.left), threads
            )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        is_stuck = isinstance(error, TimeoutError)
        return replace(figures, refusal=refusal_of(error, "threads", budget))
    finally:
        pool.shutdown(wait=not is_stuck, cancel_futures=True)


def _best_pass(
    figures: LaneFigures, run: Callable[[], float], threads: Sequence[int]
) -> LaneFigures:
    """Return the figures with those of the fastest pass, of which short ones are made again.

    Args:
        figures: what is known.
        run: makes a pass, and returns the seconds for an item.
        threads: native identifiers of the workers.
    """
    best, total = figures, 0.0
    for _ in range(PASSES):
        before = time.process_time_ns() + sum(map(delay_of, threads))
        seconds = run()
        ready = time.process_time_ns() + sum(map(delay_of, threads)) - before
        taken = seconds * figures.count
        if math.isnan(best.seconds) or seconds < best.seconds:
            best = replace(figures, seconds=seconds, parallel=ready / (taken * 1e9))
        total += taken
        if total > ENOUGH * PASSES:
            break
    return best


@contextlib.contextmanager
def _patient_threads(*, is_wanted: bool) -> Iterator[None]:
    """Let threads that wait for the GIL sleep for long.

    They wake up each time to ask for it, every 5 ms. On a crowded machine they wait for a core
    then, as if they were able to run beside the one that has the GIL. Two threads in pure Python
    were seen as 1.1 to 1.8 of them with 5 ms, as 1.1 with this; two in hashlib as 2.0 with both.
    """
    usual = sys.getswitchinterval()
    if is_wanted:
        sys.setswitchinterval(_PATIENCE)
    try:
        yield
    finally:
        if is_wanted:
            sys.setswitchinterval(usual)


class Lane:
    """One lane of a pool, measured in two steps."""

    def __init__(
        self,
        pool: InterpreterPoolExecutor,
        place: Literal["interpreter", "process"],
        job: Job,
        workers: int,
        budget: Budget,
    ) -> None:
        self._pool = pool
        self._place: Place = place
        self._job = job
        self._budget = budget
        self._words = "interpreters" if place == "interpreter" else "processes"
        self._view = pool.options(lane=place)
        self._first = 0.0
        self.figures = LaneFigures(place, workers)

    def begin(self, limit: float, expected: float = 0.0) -> None:
        """Start the workers, and run one item.

        Args:
            limit: seconds that the item may take.
            expected: seconds that it is known to take at least.

        Raises:
            TaskTimeout, ProcessDied: if the function is to be run no more.
        """
        try:
            began = time.perf_counter()
            for future in [self._view.submit(_nothing) for _ in range(self.figures.workers)]:
                future.result()
            self.figures = replace(self.figures, startup=time.perf_counter() - began)
            if expected > self._budget.left:
                raise TimeoutError  # noqa: TRY301 - what it takes is known, so it is not begun
            began = time.perf_counter()
            view = self._view.options(timeout=limit)
            view.submit(self._job.fn, *self._job.items[0]).result()
            self._first = time.perf_counter() - began
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too, is the task's
            if self._place == "process" and isinstance(error, (TaskTimeout, ProcessDied)):
                raise
            self._refuse(error)

    def run(self, serial: Baseline, result: Any, sizes: Sizes) -> LaneFigures:
        """Measure the rest: what sending takes, and items side by side."""
        if self.figures.refusal is not None:
            return self.figures
        try:
            self._measure(serial, result, sizes)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._refuse(error)
        return self.figures

    def _measure(self, serial: Baseline, result: Any, sizes: Sizes) -> None:
        view, job, workers = self._view, self._job, self.figures.workers
        self.figures = replace(
            self.figures, submit=_submit_time(view), transfer=self._transfer(result, sizes)
        )
        usual = serial.seconds
        if usual < self._budget.share * _AGAIN and not serial.is_memo:
            began = time.perf_counter()
            view.submit(job.fn, *job.items[0]).result(self._budget.left)
            usual = time.perf_counter() - began
        more = self._first - usual
        first_call = more if more > _NOISE * usual else 0.0
        self.figures = replace(self.figures, first_call=first_call)
        nbytes = (sizes.there or 0) + (sizes.back or 0)
        each = serial.seconds + self.figures.transfer
        most = MOST_CALLS if job.is_mappable else _SUBMITS
        if serial.is_memo:
            most = len(job.items)
        count = count_for(each, workers, self._budget.span, nbytes=nbytes, most=most)
        self.figures = replace(self.figures, count=count)
        if (refusal := _too_long(serial, count, workers, self._budget)) is not None:
            self.figures = replace(self.figures, refusal=refusal)
            return
        seconds = _passed(view, job.fn, job, count, self._budget.left)
        for _ in range(PASSES - 1):
            # Not every worker need have imported what the function takes before the first pass.
            if not serial.is_memo and seconds * count * PASSES < self._budget.share:
                seconds = min(seconds, _passed(view, job.fn, job, count, self._budget.left))
        self.figures = replace(self.figures, seconds=seconds)

    def _transfer(self, result: Any, sizes: Sizes) -> float:
        """Return what arguments there and a result back cost a worker, beyond a task of nothing.

        Many travel at a time, as they will: one after the other would find memory that is warm.
        """
        bare = self._carried(_nothing, ((None,),), 0)
        there = self._carried(_nothing, self._job.items, sizes.there or 0)
        both = self._carried(_back, ((result,),), 2 * (sizes.back or 0))
        return (max(there - bare, 0.0) + max(both - bare, 0.0) / 2) * self.figures.workers

    def _carried(self, fn: Callable[..., Any], items: tuple[Item, ...], nbytes: int) -> float:
        """Return the seconds for an item, of tasks that do nothing else."""
        errand = Job.of(fn, items)
        span = self._budget.span * _SENDING
        began = time.perf_counter()
        self._view.submit(fn, *items[0]).result(self._budget.left)
        each = time.perf_counter() - began
        count = count_for(each, self.figures.workers, span, nbytes=nbytes, most=_MOST_SENT)
        found = math.inf
        for _ in range(PASSES):
            found = min(found, _passed(self._view, fn, errand, count, self._budget.left))
            if found * count > span * PASSES:
                break
        return found

    def _refuse(self, error: BaseException) -> None:
        refusal = refusal_of(error, self._words, self._budget)
        self.figures = replace(self.figures, refusal=refusal)


def refusal_of(error: BaseException, place: str, budget: Budget) -> Refusal:
    """Say why there are no figures.

    Args:
        error: what came instead.
        place: the lane, in words.
        budget: what there was for it.
    """
    match error:
        case IncompatibleExtensionError():
            text = f"the extension module {error.extension} refuses to load in an interpreter"
            if error.chain:
                text += f" (reached by {' -> '.join(error.chain)})"
            return Refusal("extension", text, error.extension)
        case TransferError():
            # The whole message ends with the hint.
            text = str(error).removesuffix(f". {error.hint}") if error.hint else str(error)
            return Refusal("transfer", text, error.path, error.hint)
        case TaskTimeout():
            limit = words.seconds(error.limit)
            text = f"an item did not end in {place} within {limit}, though it did in this thread"
            return Refusal("failure", text)
        case TimeoutError():
            return Refusal("time", _no_time(budget))
        case _:
            kind = type(error).__qualname__
            said = str(error).partition("\n")[0]
            text = f"it raises {kind} in {place}, and not in this thread"
            return Refusal("failure", f"{text}: {said}" if said else text)


def _no_time(budget: Budget) -> str:
    return f"no time was left of the budget of {words.seconds(budget.total)} to run it there"


def _too_long(serial: Baseline, count: int, workers: int, budget: Budget) -> Refusal | None:
    expected = serial.seconds * -(-count // workers)
    return Refusal("time", _no_time(budget)) if expected > budget.left else None


def _submit_time(pool: _Takes) -> float:
    began = time.perf_counter()
    for future in [pool.submit(_nothing) for _ in range(_SUBMITS)]:
        future.result()
    return (time.perf_counter() - began) / _SUBMITS


def _passed(pool: _Takes, fn: Callable[..., Any], job: Job, count: int, timeout: float) -> float:
    """Return the seconds for an item, when so many keep all workers busy."""
    items = [*job.some(count)]
    began = time.perf_counter()
    if job.is_mappable:
        results = pool.map(fn, *zip(*items, strict=True), timeout=timeout)
        deque(results, maxlen=0)
    else:
        for future in [pool.submit(fn, *item) for item in items]:
            future.result(timeout)
    return (time.perf_counter() - began) / count
