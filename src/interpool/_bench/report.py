"""The figures of a run: samples, medians, ratios, and how they are written as JSON and read."""

import statistics
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from interpool._bench.cases import CASES, EXECUTORS, LOKY, OURS, TARGETS, Case, Plan
from interpool._bench.machine import Machine, machine_from_json
from interpool._bench.words import format_ratio

# Counts up when a reader of the JSON would have to change.
SCHEMA: Final = 2
# Ratios nearer to 1 than this are called a tie. About what medians of seven rounds differ by on a
# quiet machine when a run is repeated.
TIE: Final = 0.05


class ReportError(Exception):
    """What was written is no report that this version reads. The message says why."""


@dataclass(slots=True)
class Cell:
    """What was measured of one case with one executor.

    Attributes:
        samples: one a round, in the unit of the case.
        error: why there are no more of them, or None.
    """

    samples: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def median(self) -> float | None:
        """The median; None if a measurement failed or none was made."""
        if self.error is not None or not self.samples:
            return None
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """The median distance from the median, as a part of it: half of the samples are nearer."""
        if not self.samples or not (middle := statistics.median(self.samples)):
            return 0.0
        return statistics.median(abs(sample - middle) for sample in self.samples) / middle


def ratio(ours: float | None, peer: float | None) -> float | None:
    """Our figure by the peer's: below 1 ours is better. None if either is missing."""
    return None if ours is None or not peer else ours / peer


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at in one cell, and what came of it.

    Attributes:
        case: the name of the case.
        peer: the name of the peer.
        target: the ratio, at most.
        ratio: as it was measured; None if it was not.
    """

    case: str
    peer: str
    target: float
    ratio: float | None

    @property
    def is_met(self) -> bool:
        """Whether the ratio, with the digits that are shown, is not above the target."""
        if self.ratio is None:
            return False
        return float(format_ratio(self.ratio).replace(",", "")) <= self.target


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
        pairs = [(case.name, executor.name) for case in plan.cases for executor in plan.executors]
        imports: dict[str, list[float]] = {executor.name: [] for executor in plan.executors}
        return cls(plan, machine, {pair: Cell() for pair in pairs}, imports)

    def median(self, case: Case, executor: str) -> float | None:
        """One cell's median, in the unit of the case."""
        return self.cells[case.name, executor].median

    def ratios(self, case: Case) -> dict[str, float | None]:
        """Our median by each peer's."""
        ours = self.median(case, OURS)
        return {peer.name: ratio(ours, self.median(case, peer.name)) for peer in self.plan.peers}

    def aim(self, case: Case, peer: str) -> Aim | None:
        """What is aimed at in a case beside a peer; None if nothing is, or the plan does not ask.

        A quick run is held to nothing: the targets are for the full sizes.
        """
        target = TARGETS.get(case.name, {}).get(peer)
        if target is None or not self.plan.has_targets or self.plan.is_quick:
            return None
        return Aim(case.name, peer, target, self.ratios(case)[peer])

    def aims(self) -> list[Aim]:
        """All there are, in the order of the table."""
        pairs = [(case, peer.name) for case in self.plan.cases for peer in self.plan.peers]
        return [aim for pair in pairs if (aim := self.aim(*pair)) is not None]

    def failures(self) -> list[tuple[str, str, str]]:
        """Case, executor and reason of all that failed."""
        return [(*pair, cell.error) for pair, cell in self.cells.items() if cell.error is not None]

    def import_ms(self) -> dict[str, float]:
        """By executor: the median of importing its class, in milliseconds."""
        return {
            name: 1_000 * statistics.median(samples)
            for name, samples in self.import_seconds.items()
            if samples
        }

    def as_json(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {
            "schema": SCHEMA,
            "machine": asdict(self.machine) | {"load_after": self.load_after},
            "workers": self.plan.workers,
            "rounds": self.plan.rounds,
            "quick": self.plan.is_quick,
            "full": self.plan.has_targets,
            "elapsed_seconds": round(self.elapsed, 3),
            "import_ms": self.import_ms(),
            "cases": [self._case_as_json(case) for case in self.plan.cases],
        }

    def _case_as_json(self, case: Case) -> dict[str, Any]:
        cells = {e.name: self.cells[case.name, e.name] for e in self.plan.executors}
        return {
            "name": case.name,
            "title": case.title(self.plan.workers),
            "temperature": case.temperature,
            "workers": case.workers or self.plan.workers,
            "unit": case.unit,
            "sizes": case.sizes,
            "executors": {
                name: {"median": cell.median, "samples": cell.samples, "error": cell.error}
                for name, cell in cells.items()
            },
            "ratios": self.ratios(case),
            "targets": TARGETS.get(case.name, {}),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """The report that `as_json` wrote, to be shown again without measuring.

        Raises:
            ReportError: if another version wrote it.
        """
        if data.get("schema") != SCHEMA:
            message = f"its schema is {data.get('schema')}, not {SCHEMA}: measure anew"
            raise ReportError(message)
        known = {case.name: case for case in CASES}
        if strange := [row["name"] for row in data["cases"] if row["name"] not in known]:
            message = f"there is no such case: {', '.join(strange)}: measure anew"
            raise ReportError(message)
        plan = Plan(
            cases=tuple(
                replace(known[row["name"]], sizes=tuple(row["sizes"])) for row in data["cases"]
            ),
            workers=data["workers"],
            rounds=data["rounds"],
            is_quick=data["quick"],
            has_targets=data["full"],
            executors=tuple(
                executor
                for executor in (*EXECUTORS, LOKY)
                if any(executor.name in row["executors"] for row in data["cases"])
            ),
        )
        machine, load_after = machine_from_json(data["machine"])
        report = cls.empty(plan, machine)
        report.load_after = load_after
        report.elapsed = data["elapsed_seconds"]
        # Of the imports only medians are written.
        report.import_seconds |= {name: [ms / 1_000] for name, ms in data["import_ms"].items()}
        for row in data["cases"]:
            for name, cell in row["executors"].items():
                report.cells[row["name"], name] = Cell(cell["samples"], cell["error"])
        return report
