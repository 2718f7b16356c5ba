"""What is measured, with which executors, and how often."""

from dataclasses import dataclass, replace
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Executor:
    """One of the executors that are compared.

    Attributes:
        name: what `child`, the JSON file and the options call it.
        label: what people call it.
    """

    name: str
    label: str


type Temperature = Literal["cold", "warm"]
"""Cold: the pool's start and end are part of the time. Warm: all workers have run tasks before."""

type Sizes = tuple[int, int]
"""How many tasks (0: as many as workers), and what each is given: iterations, bytes, a chunk."""

_COLD: Final = "cold"
_WARM: Final = "warm"


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: a row of the table.

    Attributes:
        name: the function in `child` that measures it; also its name in options and the JSON file.
        temperature: what the pool has behind it when the clock starts.
        template: what it is, in a line; `{count}`, `{size}` and `{workers}` are filled in.
        sizes: of a full run.
        quick_sizes: with `--quick`.
    """

    name: str
    temperature: Temperature
    template: str
    sizes: Sizes
    quick_sizes: Sizes

    def title(self, workers: int) -> str:
        """The case in a line, with its sizes."""
        count, size = self.sizes
        return self.template.format(count=_number(count), size=_number(size), workers=workers)


EXECUTORS: Final = (
    Executor("thread", "ThreadPoolExecutor"),
    Executor("process", "ProcessPoolExecutor"),
    Executor("interpreter", "InterpreterPoolExecutor"),
    Executor("interpool", "interpool"),
)
OURS: Final = "interpool"
PEERS: Final = tuple(executor.name for executor in EXECUTORS if executor.name != OURS)

# `cpu`, `start` and `transfer` are the article's, sizes included. The quick sizes are such that all
# of it takes less than a minute on two cores.
CASES: Final = (
    Case("cpu", _COLD, "{count} loops of {size} iterations", (8, 5_000_000), (8, 500_000)),
    Case("start", _COLD, "{workers} workers, a no-op each", (0, 0), (0, 0)),
    Case("restart", _COLD, "the second such pool", (0, 0), (0, 0)),
    Case("transfer", _COLD, "map of {count} tiny tasks", (10_000, 0), (2_000, 0)),
    Case("chunked", _WARM, "{count} in chunks of {size}", (10_000, 250), (5_000, 250)),
    Case("payload", _WARM, "{size} bytes as an argument", (40, 1_000_000), (20, 1_000_000)),
    Case("array", _WARM, "{size} bytes in an array.array", (40, 1_000_000), (20, 1_000_000)),
    Case("large", _WARM, "{size} bytes as an argument", (5, 50_000_000), (3, 10_000_000)),
    Case("echo", _WARM, "{size} bytes there and back", (5, 50_000_000), (3, 10_000_000)),
    Case("roundtrip", _WARM, "one submit, one result", (1_000, 0), (300, 0)),
    Case("reference", _WARM, "the same, an imported function", (1_000, 0), (300, 0)),
    Case("context", _WARM, "the same, one that uses globals", (1_000, 0), (300, 0)),
    Case("flood", _WARM, "{count} submits at once", (10_000, 0), (2_000, 0)),
)

# Odd, so that the median is a sample. Full: four to five minutes on two cores.
FULL_ROUNDS: Final = 7
QUICK_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run.

    Attributes:
        cases: what is measured, in the order of the table.
        workers: `max_workers` of every pool.
        rounds: how many samples each cell gets.
        is_quick: whether sizes and rounds are the smaller ones.
    """

    cases: tuple[Case, ...]
    workers: int
    rounds: int
    is_quick: bool

    @property
    def measurements(self) -> int:
        """How many processes the plan takes, the warm-up's included."""
        return len(EXECUTORS) * (1 + self.rounds * len(self.cases))


def plan(
    *,
    only: tuple[str, ...] = (),
    workers: int = 4,
    rounds: int | None = None,
    quick: bool = False,
    scale: float = 1.0,
) -> Plan:
    """Make a plan.

    Args:
        only: names of cases; empty: all.
        workers: `max_workers` of every pool.
        rounds: samples a cell; None: 7, or 3 if quick.
        quick: smaller sizes and fewer rounds.
        scale: what all counts and sizes are multiplied with, for tests; 1 leaves them.
    """
    chosen = [case for case in CASES if not only or case.name in only]
    if quick:
        chosen = [replace(case, sizes=case.quick_sizes) for case in chosen]
    if scale != 1.0:
        chosen = [replace(case, sizes=_scaled(case.sizes, scale)) for case in chosen]
    if rounds is None:
        rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
    return Plan(tuple(chosen), workers, rounds, quick)


def _scaled(sizes: Sizes, scale: float) -> Sizes:
    # At least ten: a tenth of a case's tasks warm its pool up, and that must be one.
    count, size = (number and max(10, int(number * scale)) for number in sizes)
    return count, size


def _number(value: int) -> str:
    """5000000 as 5M, 10000 as 10,000."""
    return f"{value // 1_000_000}M" if value and value % 1_000_000 == 0 else f"{value:,}"
