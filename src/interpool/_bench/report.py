"""The figures of a run: samples, medians, ratios, and how they are written as JSON."""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from interpool._bench.cases import EXECUTORS, OURS, PEERS, Case, Plan
from interpool._bench.machine import Machine

_MS: Final = 1_000.0
# Ratios nearer to 1 than this are called a tie. About what medians of seven rounds differ by on a
# quiet machine when a run is repeated.
TIE: Final = 0.05


@dataclass(slots=True)
class Cell:
    """What was measured of one case with one executor.

    Attributes:
        seconds: the samples, one a round.
        error: why there are no more of them, or None.
    """

    seconds: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def median_ms(self) -> float | None:
        """The median in milliseconds; None if a measurement failed or none was made."""
        if self.error is not None or not self.seconds:
            return None
        return statistics.median(self.seconds) * _MS

    @property
    def spread(self) -> float:
        """The median distance from the median, as a part of it: half of the samples are nearer."""
        if not self.seconds:
            return 0.0
        middle = statistics.median(self.seconds)
        return statistics.median(abs(seconds - middle) for seconds in self.seconds) / middle


def ratio(ours: float | None, peer: float | None) -> float | None:
    """Our time by the peer's: below 1 we are faster. None if either is missing."""
    return None if ours is None or not peer else ours / peer


@dataclass(slots=True)
class Report:
    """The figures of one run.

    Attributes:
        plan: what was to be measured.
        machine: where.
        cells: by the names of case and executor.
        import_seconds: by executor: what importing its class took, in every process. No case's
            time has it in it.
        load_after: the load average at the end, or None where the system has none.
        elapsed: seconds that the run took.
    """

    plan: Plan
    machine: Machine
    cells: dict[tuple[str, str], Cell]
    import_seconds: dict[str, list[float]]
    load_after: tuple[float, ...] | None = None
    elapsed: float = 0.0

    @classmethod
    def empty(cls, plan: Plan, machine: Machine) -> Report:
        """A report to be filled."""
        pairs = [(case.name, executor.name) for case in plan.cases for executor in EXECUTORS]
        imports: dict[str, list[float]] = {executor.name: [] for executor in EXECUTORS}
        return cls(plan, machine, {pair: Cell() for pair in pairs}, imports)

    def median_ms(self, case: Case, executor: str) -> float | None:
        """One cell's median in milliseconds."""
        return self.cells[case.name, executor].median_ms

    def ratios(self, case: Case) -> dict[str, float | None]:
        """Our median by each peer's."""
        ours = self.median_ms(case, OURS)
        return {peer: ratio(ours, self.median_ms(case, peer)) for peer in PEERS}

    def failures(self) -> list[tuple[str, str, str]]:
        """Case, executor and reason of all that failed."""
        return [(*pair, cell.error) for pair, cell in self.cells.items() if cell.error is not None]

    def import_ms(self) -> dict[str, float]:
        """By executor: the median of importing its class, in milliseconds."""
        return {
            name: statistics.median(samples) * _MS
            for name, samples in self.import_seconds.items()
            if samples
        }

    def as_json(self) -> dict[str, Any]:
        """The report as JSON takes it. `schema` counts up when a reader would have to change."""
        return {
            "schema": 1,
            "machine": asdict(self.machine) | {"load_after": self.load_after},
            "workers": self.plan.workers,
            "rounds": self.plan.rounds,
            "quick": self.plan.is_quick,
            "elapsed_seconds": round(self.elapsed, 3),
            "import_ms": self.import_ms(),
            "cases": [self._case_as_json(case) for case in self.plan.cases],
        }

    def _case_as_json(self, case: Case) -> dict[str, Any]:
        cells = {executor.name: self.cells[case.name, executor.name] for executor in EXECUTORS}
        return {
            "name": case.name,
            "title": case.title(self.plan.workers),
            "temperature": case.temperature,
            "count": case.sizes[0] or self.plan.workers,
            "size": case.sizes[1],
            "executors": {
                name: {
                    "median_ms": cell.median_ms,
                    "samples_ms": [seconds * _MS for seconds in cell.seconds],
                    "error": cell.error,
                }
                for name, cell in cells.items()
            },
            "ratios": self.ratios(case),
        }
