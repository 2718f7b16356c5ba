"""Measures a line of points: the same case for more and more workers, tasks, or whatever grows.

Every sample is made in a fresh process, by `interpool._bench`, with the executors in turn. Each has
a bound: a line ends before the point that would take longer, or that failed, and says why.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Final

from interpool._bench import progress, runner
from interpool._bench.cases import CASES, Case, Executor
from interpool._bench.machine import Machine, load_average, machine_from_json, this_machine

# Counts up when a reader of the JSON would have to change.
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """One point of a line, and how it is measured.

    Attributes:
        panel: which chart it is in.
        line: which line of that chart.
        x: where.
        case: what is measured.
        executor: with which.
        workers: how many it has.
    """

    panel: str
    line: str
    x: int
    case: Case
    executor: Executor
    workers: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a line has no point at `x`, nor beyond, and whether that is more than the bound."""

    x: int
    reason: str
    is_failure: bool


@dataclass(slots=True)
class Sweep:
    """The figures of one run.

    Attributes:
        machine: where.
        rounds: how many samples a point has.
        is_quick: whether sizes and rounds are the smaller ones.
        sizes: what stayed the same, for the words of charts and tables.
        samples: by panel, line and x, in the units of the cases.
        stops: by panel and line.
        elapsed: seconds that the run took.
        load_after: the load average at the end, or None where the system has none.
    """

    machine: Machine
    rounds: int
    is_quick: bool
    sizes: dict[str, int]
    samples: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    stops: dict[tuple[str, str], Stop] = field(default_factory=dict)
    elapsed: float = 0.0
    load_after: tuple[float, ...] | None = None

    def line(self, panel: str, line: str) -> dict[int, float]:
        """The medians of a line, by x."""
        return {
            x: statistics.median(samples)
            for (in_panel, of_line, x), samples in self.samples.items()
            if (in_panel, of_line) == (panel, line) and samples
        }

    def lines(self, panel: str) -> list[str]:
        """The lines of a panel, in their order."""
        return list(dict.fromkeys(line for there, line, _ in self.samples if there == panel))

    def xs(self, panel: str) -> list[int]:
        """All points of a panel."""
        return sorted({x for there, _, x in self.samples if there == panel})

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON takes them."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine) | {"load_after": self.load_after},
            "rounds": self.rounds,
            "quick": self.is_quick,
            "elapsed_seconds": round(self.elapsed, 3),
            "sizes": self.sizes,
            "points": [
                {"panel": panel, "line": line, "x": x, "samples": samples}
                for (panel, line, x), samples in self.samples.items()
            ],
            "stops": [
                {"panel": panel, "line": line} | asdict(stop)
                for (panel, line), stop in self.stops.items()
            ],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Sweep:
        """What `as_json` wrote.

        Raises:
            ValueError: if another version wrote it.
        """
        if data.get("schema") != SCHEMA:
            message = f"its schema is {data.get('schema')}, not {SCHEMA}: measure anew"
            raise ValueError(message)
        machine, load_after = machine_from_json(data["machine"])
        return cls(
            machine=machine,
            rounds=data["rounds"],
            is_quick=data["quick"],
            sizes=data["sizes"],
            samples={(p["panel"], p["line"], p["x"]): p["samples"] for p in data["points"]},
            stops={
                (s["panel"], s["line"]): Stop(s["x"], s["reason"], s["is_failure"])
                for s in data["stops"]
            },
            elapsed=data["elapsed_seconds"],
            load_after=load_after,
        )


def run(
    probes: Sequence[Probe],
    rounds: int,
    *,
    is_quick: bool,
    sizes: dict[str, int],
    bound: float,
    grows: bool = False,
) -> Sweep:
    """Measure all probes, round by round, those that differ in their line alone in turn.

    Args:
        probes: in the order of the charts; a line's in the order of x.
        rounds: how many samples each gets.
        is_quick: noted.
        sizes: noted.
        bound: seconds that one measurement may take, its process included.
        grows: whether time grows as x does, so that it can be told what would take too long.
    """
    begin = time.monotonic()
    sweep = Sweep(this_machine(), rounds, is_quick, sizes)
    for probe in probes:
        sweep.samples[probe.panel, probe.line, probe.x] = []
    steps = _steps(probes, rounds)
    with progress.shown(len(steps), tenths=True) as show:
        for number, (round_, probe) in enumerate(steps):
            where = f"round {round_}" if round_ else "warm-up"
            show(number, f"{where} · {probe.panel} · {probe.line} · {probe.x:,}")
            _measure(sweep, probe, bound, grows=grows, counts=round_ > 0)
    sweep.elapsed = time.monotonic() - begin
    sweep.load_after = load_average()
    return sweep


def _steps(probes: Sequence[Probe], rounds: int) -> list[tuple[int, Probe]]:
    """Round and probe of every measurement; in round 0 each executor starts once, uncounted."""
    start = next(case for case in CASES if case.name == "start")
    firsts = {probe.executor: probe for probe in reversed(probes)}
    steps = [
        (0, Probe("start", probe.line, 1, start, executor, 1))
        for executor, probe in reversed(firsts.items())
    ]
    for number in range(1, rounds + 1):
        for _, group in groupby(probes, lambda probe: (probe.panel, probe.x)):
            steps += [(number, probe) for probe in runner.in_turn(list(group), number)]
    return steps


def _measure(sweep: Sweep, probe: Probe, bound: float, *, grows: bool, counts: bool) -> None:
    line = probe.panel, probe.line
    if counts and grows and line not in sweep.stops:
        seconds = _expected(sweep, probe)
        if seconds > bound:
            reason = f"it would take {seconds:,.0f} s, more than the {bound:g} s allowed"
            sweep.stops[line] = Stop(probe.x, reason, is_failure=False)
    if counts and line in sweep.stops and probe.x >= sweep.stops[line].x:
        return
    try:
        result = runner.measure(probe.case, probe.executor, probe.workers, limit=bound)
    except runner.MeasurementError as error:
        if counts:
            is_failure = not (grows and isinstance(error, runner.StuckError))
            sweep.stops[line] = Stop(probe.x, str(error), is_failure)
            sweep.samples[*line, probe.x].clear()
        return
    if counts:
        sweep.samples[*line, probe.x].append(result["value"])


def _expected(sweep: Sweep, probe: Probe) -> float:
    """Seconds that a probe will take if it takes for each of its tasks what fewer took."""
    before = {x: ms for x, ms in sweep.line(probe.panel, probe.line).items() if x < probe.x}
    if not before:
        return 0.0
    x = max(before)
    return before[x] / 1_000 * probe.x / x
