"""The rules: what follows from what was measured. Pure: the same figures, the same answer.

For each place, what the whole job would take: start-up, the first call's imports, and the items at
the pace that was measured, or that the baseline allows where nothing was. What is as fast as the
fastest, noise considered, goes before what is faster on paper and more of an affair: a loop before
threads, these before interpreters, and these before processes.
"""

import math
from typing import Final

from interpool._recommend import advice, words
from interpool._recommend.data import (
    LaneFigures,
    Measurements,
    Option,
    Place,
    Recommendation,
    Refusal,
)
from interpool._recommend.sizing import COMPUTES, workers_for

EXECUTORS: Final[dict[Place, str]] = {
    "serial": "a plain loop",
    "thread": "ThreadPoolExecutor",
    "interpreter": "InterpreterPoolExecutor",
    "process": 'InterpreterPoolExecutor, lane="process"',
}
# The less of an affair, the earlier: start-up, memory, copies.
_ORDER: Final[tuple[Place, ...]] = ("serial", "thread", "interpreter", "process")
# Two times within this factor are the same: what two runs of one program differ by on a busy
# machine. A gain must be greater, too.
NOISE: Final = 1.15
# Threads that are able to run, on average, from which on they do so side by side: one alone was
# seen as up to 1.13.
_SIDE_BY_SIDE: Final = 1.25
# Bytes a second that are copied, where nothing was measured: some 2 GB/s each time, and most are
# copied twice.
_COPYING: Final = 1e9
# Seconds of a first call that may be imports; below, they may be anything.
_WORTH_TELLING: Final = 0.005


def judge(measured: Measurements, items: int) -> Recommendation:
    """Say which way to run a job of so many items is best, and why.

    Args:
        measured: what was measured.
        items: how many items the job has.
    """
    serial = _serial(measured, items)
    others = [_option(it, measured, items) for it in measured.lanes]
    fastest = min((serial, *others), key=lambda it: it.seconds)
    doubt = measured.serial.crowded
    ranked = sorted(others, key=lambda it: _rank(it, fastest, doubt))
    first = ranked[0] if ranked else serial
    if _rank(serial, fastest, doubt) < _rank(first, fastest, doubt):
        options = (_unbeaten(serial, ranked, measured, items), *ranked)
    else:
        options = tuple(sorted((serial, *ranked), key=lambda it: _rank(it, fastest, doubt)))
    return Recommendation(items, options, advice.advice_for(measured, options, items), measured)


def _rank(option: Option, fastest: Option, doubt: float) -> tuple[bool, float, int]:
    tolerance = NOISE
    if (option.place, fastest.place) == ("interpreter", "process") and option.gain > NOISE:
        # Both compute alike: what they differ by on a crowded machine is who was crowded out.
        tolerance += doubt
    is_fast = option.seconds <= fastest.seconds * tolerance
    return (
        not option.is_possible,
        0.0 if is_fast else option.seconds,
        _ORDER.index(option.place),
    )


# --- One thread ----------------------------------------------------------------------------------


def _serial(measured: Measurements, items: int) -> Option:
    each = measured.serial.seconds
    total = each * items
    reason = (
        f"{words.count(items)} take {words.seconds(total)}, {words.seconds(each)} each: "
        "what the others are measured by"
    )
    return Option("serial", EXECUTORS["serial"], 1, total, 1.0, 1.0, None, (reason,))


def _unbeaten(serial: Option, others: list[Option], measured: Measurements, items: int) -> Option:
    """Say why nothing is better than a loop."""
    soonest = min(
        (it for it in others if it.break_even is not None and it.break_even > items),
        key=lambda it: it.break_even or 0,
        default=None,
    )
    total = words.seconds(serial.seconds)
    if soonest is not None and soonest.break_even is not None:
        reason = (
            f"{words.count(items)} take {total} there, less than workers take to start and to be "
            f"asked; {soonest.executor} gains from some {words.some(soonest.break_even)} items on"
        )
    elif not any(it.is_possible for it in others):
        reason = f"it can run nowhere else; {words.count(items)} take {total}"
    else:
        reason = (
            f"{words.count(items)} take {total} there, and no executor is faster by more than "
            f"{NOISE - 1:.0%}"
        )
        if measured.cores == 1:
            reason += " on one core"
    return Option("serial", serial.executor, 1, serial.seconds, 1.0, 1.0, None, (reason,))


# --- The lanes -----------------------------------------------------------------------------------


def _option(figures: LaneFigures, measured: Measurements, items: int) -> Option:
    place = figures.lane
    refusal = figures.refusal
    executor = EXECUTORS[place]
    workers = max(workers_for(place, measured.serial.cpu, measured.cores), 1)
    if refusal is not None and refusal.is_final:
        return Option(place, executor, workers, math.inf, 0.0, math.nan, None, (_refused(refusal),))
    pace = pace_of(figures, measured, workers)
    fixed = _known(figures.startup) * max(workers / figures.workers, 1.0) + _known(
        figures.first_call
    )
    serial = measured.serial.seconds
    least = serial + _known(figures.submit)  # what a single item takes, workers or not
    seconds = fixed + max(pace * items, least)
    return Option(
        place,
        executor,
        min(workers, items),
        seconds,
        serial * items / seconds if seconds else 0.0,
        serial / figures.seconds if figures.seconds > 0 else math.nan,
        break_even(serial, pace, fixed, least),
        _reasons(figures, measured, workers, pace),
    )


def _known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def pace_of(figures: LaneFigures, measured: Measurements, workers: int) -> float:
    """Return the seconds for an item with so many workers, as measured or as can be expected."""
    serial = measured.serial
    cores: float = measured.cores
    if figures.lane == "thread":
        # A crowded machine gives more to many threads than to one: that is no gain of theirs.
        parallel = _known(figures.parallel)
        cores = min(parallel, cores) if parallel >= _SIDE_BY_SIDE else 1.0
    floor = serial.seconds * serial.cpu / cores  # what is computed takes cores
    if math.isnan(figures.seconds):
        return max(floor, serial.seconds / workers) + _transfer(figures, measured) / workers
    if workers <= figures.workers:
        return max(figures.seconds, floor) if serial.cpu >= COMPUTES else figures.seconds
    return max(figures.seconds * figures.workers / workers, min(floor, figures.seconds))


def _transfer(figures: LaneFigures, measured: Measurements) -> float:
    if figures.lane == "thread":
        return 0.0
    if math.isnan(figures.transfer):
        return ((measured.bytes_there or 0) + (measured.bytes_back or 0)) / _COPYING
    return figures.transfer


def break_even(serial: float, pace: float, fixed: float, least: float) -> int | None:
    """Return from how many items on workers are faster than one thread; None: never.

    Args:
        serial: seconds for an item in one thread.
        pace: seconds for an item in workers, all of them busy.
        fixed: seconds until they are.
        least: seconds that the first item takes there.
    """
    if pace * NOISE >= serial:
        return None
    return max(
        math.floor(fixed / (serial - pace)) + 1,
        math.floor((fixed + least) / serial) + 1,
    )


# --- In words ------------------------------------------------------------------------------------


def _reasons(
    figures: LaneFigures, measured: Measurements, workers: int, pace: float
) -> tuple[str, ...]:
    told = [_pace(figures, measured, workers, pace)]
    serial = measured.serial
    if figures.lane == "thread":
        gained = serial.seconds / pace if pace > 0 else 1.0
        if serial.cpu < COMPUTES:
            told.append(
                f"it waits {words.share(1 - serial.cpu)} of its time, and threads wait side by side"
            )
        elif gained > NOISE and not math.isnan(figures.seconds):
            told.append("it computes where it lets go of the GIL")
        else:
            told.append("it computes, and one thread at a time does that")
        told.append("whether it is thread-safe is for you to know: threads share every object")
    else:
        start = words.seconds(_known(figures.startup))
        starts = f"{words.count(figures.workers, 'worker')} start in {start}"
        if figures.first_call >= _WORTH_TELLING:
            starts += f" and import for {words.seconds(figures.first_call)}"
        told.append(starts)
    if figures.lane == "process":
        told.append("a crash ends one task, and not the program")
    return tuple(told)


def _pace(figures: LaneFigures, measured: Measurements, workers: int, pace: float) -> str:
    serial = measured.serial.seconds
    gain = words.compared(serial / pace if pace > 0 else 1.0)
    if figures.refusal is not None:
        return f"estimated, {gain}: {figures.refusal.text}"
    told = f"{words.seconds(figures.seconds)} an item, measured with "
    told += words.count(figures.workers, "worker")
    return (
        f"{told}; {workers} are expected to be {gain}"
        if workers > figures.workers
        else (f"{told}: {gain}")
    )


def _refused(refusal: Refusal) -> str:
    if refusal.cause == "transfer" and refusal.culprit:
        return f"{refusal.culprit} cannot be sent"
    return refusal.text
