"""What is worked out of a trace: figures, and what follows from them; times in seconds."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from interpool._report.trace import KINDS, Trace, Track

# What nothing was recorded of: the worker's own loop, and what was too short to be told.
OTHER: Final = "other"
SHARES: Final = (*KINDS, OTHER)
# Outcomes after which a task has no result; and the one after which it has none from that run.
LOST: Final = ("failed", "timeout", "interrupted")
RETRIED: Final = "retried"
BAD: Final = (*LOST, RETRIED)


@dataclass(slots=True)
class Worker:
    """What one worker did with its time, in seconds."""

    track: Track
    seconds: dict[str, float]
    lifetime: float
    # Idle before its first task, between two, and after its last.
    idle_before: float = 0.0
    idle_between: float = 0.0
    idle_after: float = 0.0


@dataclass(slots=True)
class Function:
    """All runs of one function."""

    name: str
    runs: int = 0
    items: int = 0
    failed: int = 0  # items
    seconds: float = 0.0
    longest: float = 0.0
    median: float = 0.0  # of an item


class Slow(NamedTuple):
    """A task among the slowest; one item, where a piece of a map says which took longest."""

    seconds: float
    function: str
    arguments: str
    worker: str
    start: float  # seconds since the trace began
    outcome: str
    items: int  # 1, or of the whole piece where no item of it is known


class Failure(NamedTuple):
    """A run that has failed."""

    outcome: str
    error: str
    function: str
    arguments: str
    worker: str
    start: float
    seconds: float
    attempt: int


@dataclass(slots=True)
class Lane:
    """Runs in one lane, for one reason."""

    lane: str
    why: str
    runs: int = 0
    seconds: float = 0.0
    functions: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Import:
    """A module's import: by how many workers, in how many seconds all together."""

    module: str
    workers: int = 0
    seconds: float = 0.0
    is_at_start: bool = False  # whether workers do it before they take tasks


@dataclass(slots=True)
class Transfer:
    """What was moved, in one direction."""

    name: str
    calls: int = 0
    nbytes: int = 0
    seconds: float = 0.0


class Last(NamedTuple):
    """The run that ended last, and how long others had nothing left to do by then."""

    slow: Slow
    idle: float


@dataclass(slots=True)
class Figures:
    """A trace in figures; times in seconds."""

    trace: Trace
    wall: float
    workers: list[Worker]
    seconds: dict[str, float]  # of all workers
    functions: list[Function]
    slowest: list[Slow]
    failures: list[Failure]
    outcomes: Counter[str]  # runs, a piece of a map being one
    items: int
    lost: int  # items without a result
    repeated: float  # seconds of runs that were done again
    median: float  # of an item
    lanes: list[Lane]
    imports: list[Import]
    transfers: list[Transfer]
    caller_seconds: float  # encoding, in the thread that submits
    last: Last | None
    most_waiting: int
    idle_while_waiting: float  # seconds of workers, while more tasks waited than one a worker

    @property
    def worker_seconds(self) -> float:
        """All workers' lifetimes together."""
        return sum(it.lifetime for it in self.workers)

    def share(self, kind: str) -> float:
        """What share of the workers' time went there."""
        return self.seconds[kind] / self.worker_seconds if self.worker_seconds else 0.0

    @property
    def unit(self) -> str:
        """What the items are called."""
        return "task" if self.items == self.runs else "item"

    @property
    def runs(self) -> int:
        """How many runs there were."""
        return self.outcomes.total()


@dataclass(frozen=True, slots=True)
class Advice:
    """What stands out, and what to do about it.

    Attributes:
        rule: which rule says it.
        weight: what share of the workers' time is at stake: what is told first.
        title: what stands out, with figures.
        words: what it means, and what to do.
    """

    rule: str
    weight: float
    title: str
    words: str
