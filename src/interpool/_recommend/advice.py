"""What to change, and what to know, in words with figures: one rule a function."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from interpool._recommend import words
from interpool._recommend.data import Advice, LaneFigures, Measurements, Option
from interpool._recommend.sizing import COMPUTES

_ISOLATED: Final = ("interpreter", "process")
# From which share of an item's time in a worker on its transfer is worth a word.
_TRANSFER: Final = 0.3
# Bytes there and back below which transfer is not what takes the time: arbitrary.
_LARGE: Final = 16_384
# A submit that takes this share of an item's time: grouping pays.
_ASKING: Final = 0.5
# Imports of so many seconds are worth a word.
_IMPORTS: Final = 0.05
# A function that keeps so many cores busy by itself has threads of its own.
_OWN_CORES: Final = 1.5
# A share of the time in which others had the core: figures are pessimistic.
_CROWDED: Final = 0.15
# One item in ten takes so many times as long as the median: items are uneven.
_UNEVEN: Final = 4.0


def advice_for(measured: Measurements, options: Sequence[Option], items: int) -> tuple[Advice, ...]:
    """Return all that is worth telling, the most important first.

    Args:
        measured: what was measured.
        options: what was made of it, the best first.
        items: how many items the job has.
    """
    rules = (
        _refused(measured),
        _extension(measured),
        _waiting(measured),
        _transfer(measured),
        _grouping(measured),
        _startup(measured, options, items),
        _imports(measured, options),
        _threads(options),
        _cores(measured),
        _memo(measured),
        _uneven(measured),
        _crowd(measured),
        _sample(measured),
    )
    return tuple(it for rule in rules for it in rule)


def isolated(measured: Measurements) -> LaneFigures | None:
    """Return the figures of the faster one of the lanes that copy, None if neither has any."""
    found = [it for it in measured.lanes if it.lane in _ISOLATED and not math.isnan(it.transfer)]
    return min(
        found,
        key=lambda it: (math.isnan(it.seconds), it.seconds if it.seconds > 0 else 0.0),
        default=None,
    )


def _refused(measured: Measurements) -> Iterator[Advice]:
    said = set()
    for figures in measured.lanes:
        refusal = figures.refusal
        if refusal is None or refusal.cause != "transfer" or refusal.culprit in said:
            continue
        said.add(refusal.culprit)
        hint = f". {refusal.hint}" if refusal.hint else ""
        yield Advice("refused", f"{refusal.text}{hint}. `interpool explain` shows all of it")


def _extension(measured: Measurements) -> Iterator[Advice]:
    for figures in measured.lanes:
        if figures.refusal is not None and figures.refusal.cause == "extension":
            yield Advice(
                "extension",
                f"{figures.refusal.culprit} refuses to load in an interpreter. "
                'InterpreterPoolExecutor runs such tasks in processes by itself (lane="auto"), '
                "or import it in another function, if this one needs little of it",
            )


def _waiting(measured: Measurements) -> Iterator[Advice]:
    cpu = measured.serial.cpu
    if cpu >= COMPUTES:
        return
    way = (
        "gather() in one event loop does with a single thread what workers do with many"
        if measured.is_coroutine
        else "threads do, and so does asyncio, if its libraries are asynchronous"
    )
    text = f"It waits {words.share(1 - cpu)} of its time, for which no core is needed: {way}"
    yield Advice("waiting", text)


def _transfer(measured: Measurements) -> Iterator[Advice]:
    figures = isolated(measured)
    if figures is None or not figures.transfer > 0:
        return
    serial = measured.serial.seconds
    share = figures.transfer / (figures.transfer + serial)
    there, back = measured.bytes_there or 0, measured.bytes_back or 0
    if share < _TRANSFER or there + back < _LARGE:
        return
    if there > 2 * back:
        change = "pass what it is made from (a path, an offset, a key) instead of the data"
    elif back > 2 * there:
        change = "return what the caller needs of it, or write it to a file and return the path"
    else:
        change = "pass and return paths or keys instead of the data"
    yield Advice(
        "transfer",
        f"{words.share(share)} of an item's time in a worker is transfer, "
        f"{words.seconds(figures.transfer)} beside {words.seconds(serial)} of work "
        f"({words.size(there)} there, {words.size(back)} back): {change}. Threads copy nothing",
    )


def _grouping(measured: Measurements) -> Iterator[Advice]:
    figures = isolated(measured)
    serial = measured.serial.seconds
    if figures is None or not figures.submit > serial * _ASKING:
        return
    text = f"Items take {words.seconds(serial)} each"
    asked = f"one by one, submit() costs {words.seconds(figures.submit)} an item"
    if 0 < figures.seconds < serial:
        text += (
            f": let map() group them, which makes it {words.seconds(figures.seconds)} an item; "
            f"{asked}, more than half of what it saves"
            if figures.submit < serial
            else f": let map() group them, which makes it {words.seconds(figures.seconds)} an "
            f"item; {asked}, more than it gains"
        )
    else:
        text += (
            f", too little to be worth asking a worker ({asked}): "
            "give a task many of them, such as a range or a slice"
        )
    yield Advice("grouping", text)


def _startup(measured: Measurements, options: Sequence[Option], items: int) -> Iterator[Advice]:
    figures = {it.lane: it for it in measured.lanes}
    if options[0].place == "thread":
        return
    for option in options:
        if option.place not in _ISOLATED or option.break_even is None:
            continue
        lane = figures[option.place]
        fixed = lane.startup + max(lane.first_call, 0.0)
        if math.isnan(fixed):
            continue
        pays = words.some(option.break_even)
        text = (
            f"Start-up of {option.executor}, {words.seconds(fixed)}, pays from some {pays} "
            f"item{'s' * (option.break_even != 1)} on"
        )
        if option.break_even > items:
            text += ": keep one pool for the whole program, or start it ahead with prewarm()"
        yield Advice("start-up", text)
        return  # of the better one: the other is in its reasons


def _imports(measured: Measurements, options: Sequence[Option]) -> Iterator[Advice]:
    if options[0].place == "thread":
        return
    figures = {it.lane: it for it in measured.lanes}
    best = next((figures[it.place] for it in options if it.place in _ISOLATED), None)
    if best is None or not best.first_call >= _IMPORTS:
        return
    ahead = f'preload=["{measured.module}"]' if measured.module else "preload=[...] names them,"
    yield Advice(
        "imports",
        f"A worker's first call takes {words.seconds(best.first_call)} longer than the next, "
        f"for imports mostly: {ahead} and prewarm() does them ahead",
    )


def _threads(options: Sequence[Option]) -> Iterator[Advice]:
    if options[0].place == "thread":
        yield Advice(
            "threads",
            "Threads share every object: nothing here can tell whether the function, and what it "
            "calls, is thread-safe. If it is not, take the next one of the list",
        )


def _cores(measured: Measurements) -> Iterator[Advice]:
    own = measured.serial.own_cores
    if own >= _OWN_CORES:
        yield Advice(
            "cores",
            f"It keeps {own:.1f} cores busy by itself: limit its own threads "
            "(OMP_NUM_THREADS=1, say) before you add workers, or leave it to them",
        )
    elif measured.cores == 1 and measured.serial.cpu >= COMPUTES:
        yield Advice("cores", "This process may use one core: workers have nothing to gain")


def _memo(measured: Measurements) -> Iterator[Advice]:
    if measured.serial.is_memo:
        yield Advice(
            "memo",
            "It gives the same items back from memory the second time. Threads share that memory; "
            "interpreters and processes have one each, which starts empty",
        )


def _uneven(measured: Measurements) -> Iterator[Advice]:
    times = measured.serial.times
    if (
        measured.serial.crowded < _CROWDED
        and times.median > 0
        and times.p90 >= _UNEVEN * times.median
    ):
        yield Advice(
            "sample",
            f"Items are uneven: half take {words.seconds(times.median)} at the most, one in ten "
            f"{words.seconds(times.p90)} or more. Leave chunksize alone: map() takes back from a "
            "worker what it has not begun",
        )


def _crowd(measured: Measurements) -> Iterator[Advice]:
    crowded = measured.serial.crowded
    if crowded >= _CROWDED:
        yield Advice(
            "crowd",
            f"Other programs had the core for {words.share(crowded)} of the time, which workers "
            "feel most: measure again when the machine has less to do",
        )


def _sample(measured: Measurements) -> Iterator[Advice]:
    late = [it for it in measured.lanes if it.refusal is not None and it.refusal.cause == "time"]
    if late:
        yield Advice(
            "sample",
            f"Not everything was measured within the budget, for an item takes "
            f"{words.seconds(measured.serial.seconds)}: smaller items, or a larger budget, "
            "would tell more",
        )
