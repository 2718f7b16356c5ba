"""What is measured, with which executors, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Executor:
    """One of the executors that are compared.

    Attributes:
        name: what `child`, the JSON file and the options call it.
        label: what people call it.
        short: the same, where a column is narrow.
    """

    name: str
    label: str
    short: str


type Temperature = Literal["cold", "warm"]
"""Cold: the pool's start and end are part of the time. Warm: all workers have run tasks before."""

type Sizes = tuple[int, ...]
"""How many tasks (0: as many as workers), and what each is given: iterations, bytes, a chunk. What
follows is for single functions of `child`."""

type Unit = Literal["ms", "MiB"]

# What the figures of `child`, seconds and MiB, are multiplied with.
FACTORS: Final[Mapping[Unit, float]] = {"ms": 1_000.0, "MiB": 1.0}

_COLD: Final = "cold"
_WARM: Final = "warm"


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: a row of the table. Less is better in all of them.

    Attributes:
        name: the function in `child` that measures it; also its name in options and the JSON file.
        temperature: what the pool has behind it when the clock starts.
        template: what it is, in a line; `{count}`, `{size}` and `{workers}` are filled in.
        sizes: of a full run.
        quick_sizes: with `--quick`.
        unit: of its figures.
        workers: `max_workers`, if the case asks for another number than the plan.
        is_extra: whether only `--full`, or its name, brings it.
        needs: a file without which it cannot be measured; the case is left out where it is missing.
    """

    name: str
    temperature: Temperature
    template: str
    sizes: Sizes
    quick_sizes: Sizes
    unit: Unit = "ms"
    workers: int | None = None
    is_extra: bool = False
    needs: str | None = None

    def title(self, workers: int) -> str:
        """The case in a line, with its sizes."""
        count, size = self.sizes[:2]
        return self.template.format(
            count=_number(count), size=_number(size), workers=self.workers or workers
        )


EXECUTORS: Final = (
    Executor("thread", "ThreadPoolExecutor", "Thread"),
    Executor("process", "ProcessPoolExecutor", "Process"),
    Executor("interpreter", "InterpreterPoolExecutor", "Interp."),
    Executor("interpool", "interpool", "interpool"),
)
OURS: Final = "interpool"
# Not the standard library's, so never asked for by `interpool bench`: `benchmarks/` add it where it
# is installed.
LOKY: Final = Executor("loky", "loky", "loky")

# `cpu`, `start` and `transfer` are the article's, sizes included. The quick sizes are such that all
# of it takes less than a minute on two cores, but for what `--full` adds.
CASES: Final = (
    Case("cpu", _COLD, "{count} loops of {size} iterations", (8, 5_000_000), (8, 500_000)),
    Case("start", _COLD, "{workers} workers, a no-op each", (0, 0), (0, 0)),
    Case("restart", _COLD, "the second such pool", (0, 0), (0, 0)),
    Case("transfer", _COLD, "map of {count} tiny tasks", (10_000, 0), (2_000, 0)),
    Case("plain", _WARM, "map of {count} tiny tasks", (10_000, 0), (2_000, 0)),
    Case("chunked", _WARM, "{count} in chunks of {size}", (10_000, 250), (5_000, 250)),
    Case("payload", _WARM, "{size} bytes as an argument", (40, 1_000_000), (20, 1_000_000)),
    Case("array", _WARM, "{size} bytes in an array.array", (40, 1_000_000), (20, 1_000_000)),
    Case("large", _WARM, "{size} bytes as an argument", (5, 50_000_000), (3, 10_000_000)),
    Case("echo", _WARM, "{size} bytes there and back", (5, 50_000_000), (3, 10_000_000)),
    Case("roundtrip", _WARM, "one submit, one result", (1_000, 0), (300, 0)),
    Case("reference", _WARM, "the same, an imported function", (1_000, 0), (300, 0)),
    Case("context", _WARM, "the same, one that uses globals", (1_000, 0), (300, 0)),
    Case("flood", _WARM, "{count} submits at once", (10_000, 0), (2_000, 0)),
    # 12,000 iterations take about 1 ms here. It is a number of them, not a time: tasks that watch
    # the clock would seem to run side by side on threads too.
    Case(
        "busy",
        _WARM,
        "{count} x {size} iterations, main busy",
        (1_000, 12_000),
        (100, 12_000),
        is_extra=True,
    ),
    Case(
        "tail",
        _WARM,
        "{workers} workers, {count} tasks, one of {size} ms",
        (10_000, 1_000),
        (2_000, 100),
        workers=2,
        is_extra=True,
    ),
    Case(
        "memory",
        _WARM,
        "held by a worker (PSS)",
        (0, 0),
        (0, 0),
        unit="MiB",
        is_extra=True,
        needs="/proc/self/smaps_rollup",
    ),
)

# What interpool aims at: its figure divided by the peer's, at most. Shown by `--full`, tested by
# nothing: a ratio belongs to a machine and a moment.
TARGETS: Final[Mapping[str, Mapping[str, float]]] = {
    "cpu": {"process": 1.00, "interpreter": 0.98},
    "start": {"process": 0.40, "interpreter": 0.40},
    "restart": {"process": 0.25, "interpreter": 0.15},
    "transfer": {"thread": 0.60, "process": 0.06, "interpreter": 0.05},
    "plain": {"thread": 0.10, "process": 0.01, "interpreter": 0.01},
    "chunked": {"thread": 0.12, "process": 0.70, "interpreter": 0.01},
    "roundtrip": {"thread": 1.20, "process": 0.35, "interpreter": 0.60},
    "flood": {"thread": 1.00, "process": 0.12, "interpreter": 0.10},
    "busy": {"process": 1.00, "interpreter": 1.00},
    "memory": {"process": 0.50, "interpreter": 0.70},
}

# Odd, so that the median is a sample. Full sizes: about five minutes on two cores, and nine with
# the rows of `--full`.
FULL_ROUNDS: Final = 7
QUICK_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run.

    Attributes:
        cases: what is measured, in the order of the table.
        workers: `max_workers` of every pool whose case does not say otherwise.
        rounds: how many samples each cell gets.
        is_quick: whether sizes and rounds are the smaller ones.
        has_targets: whether ratios are shown with what is aimed at.
        executors: what is compared, ours among them.
    """

    cases: tuple[Case, ...]
    workers: int
    rounds: int
    is_quick: bool
    has_targets: bool = False
    executors: tuple[Executor, ...] = EXECUTORS

    @property
    def measurements(self) -> int:
        """How many processes the plan takes, the warm-up's included."""
        return len(self.executors) * (1 + self.rounds * len(self.cases))

    @property
    def peers(self) -> tuple[Executor, ...]:
        """All executors but ours."""
        return tuple(executor for executor in self.executors if executor.name != OURS)


def plan(
    *,
    only: tuple[str, ...] = (),
    workers: int = 4,
    rounds: int | None = None,
    quick: bool = False,
    full: bool = False,
    scale: float = 1.0,
    executors: tuple[Executor, ...] = EXECUTORS,
) -> Plan:
    """Make a plan.

    Args:
        only: names of cases; empty: all, or all but the extra ones.
        workers: `max_workers` of every pool.
        rounds: samples a cell; None: 7, or 3 if quick.
        quick: smaller sizes and fewer rounds.
        full: the extra cases too, and what is aimed at.
        scale: what all counts and sizes are multiplied with, for tests; 1 leaves them.
        executors: what is compared.
    """
    chosen = [case for case in CASES if (case.name in only if only else full or not case.is_extra)]
    chosen = [case for case in chosen if case.needs is None or Path(case.needs).exists()]
    if quick:
        chosen = [replace(case, sizes=case.quick_sizes) for case in chosen]
    if scale != 1.0:
        chosen = [replace(case, sizes=_scaled(case.sizes, scale)) for case in chosen]
    if rounds is None:
        rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
    return Plan(tuple(chosen), workers, rounds, quick, full, executors)


def _scaled(sizes: Sizes, scale: float) -> Sizes:
    # At least ten: a tenth of a case's tasks warm its pool up, and that must be one.
    return tuple(number and max(10, int(number * scale)) for number in sizes)


def _number(value: int) -> str:
    """5000000 as 5M, 10000 as 10,000."""
    return f"{value // 1_000_000}M" if value and value % 1_000_000 == 0 else f"{value:,}"
