"""What was measured of a function, and what follows from it: data, and nothing else."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from interpool._statistics import Times

type Place = Literal["serial", "thread", "interpreter", "process"]
"""Where the items of a job may run: in the caller's thread, or in one of three kinds of worker."""

type Cause = Literal["extension", "transfer", "failure", "time", "memo"]
"""Why there is no figure: an extension refuses; something cannot be sent; it fails there alone; the
budget was used up; the function remembers results, so that a figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a lane was not measured.

    Attributes:
        cause: in one word. After `"time"` and `"memo"` the lane is estimated; after the others it
            is out.
        text: in words.
        culprit: the extension that refuses, or the path to what cannot be sent; else empty.
        hint: a way out, if there is a usual one.
    """

    cause: Cause
    text: str
    culprit: str = ""
    hint: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the function cannot run there."""
        return self.cause in {"extension", "transfer", "failure"}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A function, item after item, in one thread.

    Attributes:
        times: of items, in seconds; those of the first call are left out if there were others.
        seconds: the mean time of an item.
        cpu: the share of the time in which the thread computed, from 0 to 1. What it waited for a
            core is left out, where the system tells.
        own_cores: how many cores the process used meanwhile: more than 1 if the function has
            threads of its own.
        crowded: the share of the time in which the thread waited for a core.
        is_memo: whether it gives an item back from memory the second time.
    """

    times: Times
    seconds: float
    cpu: float
    own_cores: float = 1.0
    crowded: float = 0.0
    is_memo: bool = False


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """What was measured in one lane, in seconds; NaN where it was not.

    Attributes:
        lane: which one.
        workers: how many workers there were.
        startup: from no worker until each could have answered.
        first_call: what a worker's first call of the function takes beyond the others: imports.
        submit: a task of nothing, one of many that are submitted one by one.
        transfer: arguments there and the result back, of one item, beyond a task of nothing: what
            of a worker's time that costs when all are busy.
        seconds: one item, when `count` of them keep all workers busy.
        count: how many items ran.
        parallel: of threads, how many could run at a time, on average: those that wait for the GIL
            could not, those that wait for a core could.
        refusal: why there are no figures, or None.
    """

    lane: Place
    workers: int
    startup: float = math.nan
    first_call: float = math.nan
    submit: float = math.nan
    transfer: float = math.nan
    seconds: float = math.nan
    count: int = 0
    parallel: float = math.nan
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Measurements:
    """All that was measured: what is judged.

    Attributes:
        function: the function's qualified name.
        module: where a worker imports it from; empty if it is sent by value.
        cores: cores that this process may use.
        sample: how many different items there were.
        bytes_there: of one item's arguments, as they travel: the median; None if they do not.
        bytes_back: of one result, likewise.
        serial: one thread.
        lanes: the others.
        is_coroutine: whether it is a coroutine function.
    """

    function: str
    module: str
    cores: int
    sample: int
    bytes_there: int | None
    bytes_back: int | None
    serial: Baseline
    lanes: tuple[LaneFigures, ...]
    is_coroutine: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run the job.

    Attributes:
        place: where.
        executor: the class to use, and with which option, as one would write it.
        workers: how many workers.
        seconds: what the whole job is estimated to take, start-up included; infinite if it cannot
            run there.
        gain: how many times as fast as one thread that is.
        speedup: how many times as fast the workers were, once started, on the sample; NaN where
            that was not measured.
        break_even: from how many items on it is faster than one thread; None: never.
        reasons: why it stands where it stands.
    """

    place: Place
    executor: str
    workers: int
    seconds: float
    gain: float
    speedup: float
    break_even: int | None
    reasons: tuple[str, ...]

    @property
    def is_possible(self) -> bool:
        """Whether the job can run there."""
        return self.seconds < math.inf


@dataclass(frozen=True, slots=True)
class Advice:
    """What to change, or to know.

    Attributes:
        about: in one word: `"transfer"`, `"grouping"`, `"start-up"`, `"imports"`, `"waiting"`,
            `"extension"`, `"refused"`, `"threads"`, `"cores"`, `"memo"`, `"crowd"`, `"sample"`.
        text: in words, with figures.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Which executor suits a function, and why: see `interpool.recommend`.

    Attributes:
        items: the number of items of the job that is judged.
        options: all ways to run it, the best first.
        advice: what to change, the most important first.
        measurements: what it follows from.

    .. versionadded:: 0.1
    """

    items: int
    options: tuple[Option, ...]
    advice: tuple[Advice, ...]
    measurements: Measurements

    @property
    def best(self) -> Option:
        """The option to take."""
        return self.options[0]

    def option(self, place: Place) -> Option:
        """Return what is said of one place."""
        return next(it for it in self.options if it.place == place)

    def headline(self) -> str:
        """Return the answer in a line."""
        best = self.best
        if best.place == "serial":
            return f"Run {self.measurements.function} in one thread: {best.reasons[0]}"
        workers = f"{best.workers} worker{'s' * (best.workers != 1)}"
        return (
            f"Run {self.measurements.function} with {best.executor}, {workers}: "
            f"{best.gain:.1f} times as fast as one thread for {self.items:,} items"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain data, as JSON takes it: what was not measured is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {"headline": self.headline()} | plain

    def __str__(self) -> str:
        """The answer, the options and the advice, in lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.headline()
        for number, option in enumerate(self.options, 1):
            reasons = "; ".join(option.reasons)
            yield f"{number}. {option.executor}: {reasons}"
        for advice in self.advice:
            yield f"* {advice.text}"


def _plain(value: Any) -> Any:
    """Lists, dictionaries, and numbers that JSON has."""
    if isinstance(value, dict):
        return {name: _plain(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(it) for it in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
