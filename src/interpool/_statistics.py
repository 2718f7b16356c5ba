"""What a pool has done and does now, in figures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interpool._inside import channels
from interpool._stops import Reason

if TYPE_CHECKING:
    from interpool._task import Task


@dataclass(slots=True)
class Tally:
    """Tasks that have an outcome, counted under the engine's lock. A map's items count singly.

    A run after which a task is tried again is no outcome, and counts as `retried` alone.
    """

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    interrupted: int = 0
    timed_out: int = 0
    retried: int = 0
    diverted: int = 0
    elsewhere: dict[str, int] = field(default_factory=dict)  # those that have ended, by lane

    def note(self, task: Task, kind: int, payload: Any) -> None:
        """Count an outcome, as its frame has it."""
        if task._lane is not None:
            name = task._lane.name
            self.elsewhere[name] = self.elsewhere.get(name, 0) + task._count
        if (stop := task._stop) is not None:
            if stop.reason is Reason.TIMEOUT:
                self.timed_out += task._count
            else:
                self.interrupted += task._count
        elif kind == channels.EACH:
            _, _, failures, number, _ = payload
            self.done += number - len(failures)
            self.failed += len(failures)
        elif kind in {channels.VALUE_PLAIN, channels.VALUE_PICKLED}:
            self.done += 1
        else:
            self.failed += task._count


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers of a pool.

    Attributes:
        idle: those that sleep.
        busy: those that run a task.
        starting: those that have not begun.
        standby: those that are, or will be, ready to take another one's place.
        abandoned: those that were given up and whose task still runs.
        started: how many there have been.
        recycled: how many have left because they had done as many tasks as they may.
        given_up: how many have been abandoned, whether or not their tasks have returned.
        processes: worker processes there are.
        threads: threads there are for tasks of the thread lane.
    """

    idle: int
    busy: int
    starting: int
    standby: int
    abandoned: int
    started: int
    recycled: int
    given_up: int
    processes: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of a pool; a map's items count singly.

    Attributes:
        waiting: those that no worker has taken.
        running: those that one has.
        delayed: those whose run has failed, and that wait to be tried again.
        done: those that have returned.
        failed: those that have raised, for the last time, or could not be sent, there or back.
        cancelled: those that were withdrawn before a worker took them: cancelled, of a map that
            nobody asked any more, or of a pool that is broken.
        interrupted: those that were interrupted.
        timed_out: those that ran for too long.
        retried: runs that were tried again.
        diverted: those that an extension has kept from running in an interpreter, and that run, or
            ran, in a process instead.
    """

    waiting: int
    running: int
    delayed: int
    done: int
    failed: int
    cancelled: int
    interrupted: int
    timed_out: int
    retried: int
    diverted: int


@dataclass(frozen=True, slots=True)
class Times:
    """Times that were measured last, in seconds; NaN if none was.

    Attributes:
        count: how many were measured in all.
        median: half of the last ones were as short.
        p90: nine in ten were.
        p99: ninety-nine in a hundred were.
        longest: all were.
    """

    count: int
    median: float
    p90: float
    p99: float
    longest: float

    @classmethod
    def of(cls, count: int, nanoseconds: Iterable[int]) -> Times:
        """Make them of the last ones, and how many there were."""
        times = sorted(nanoseconds)
        if not times:
            return cls(count, math.nan, math.nan, math.nan, math.nan)
        return cls(count, *(_at(times, share) / 1e9 for share in (0.5, 0.9, 0.99, 1.0)))


def _at(times: Sequence[int], share: float) -> int:
    return times[max(math.ceil(share * len(times)) - 1, 0)]


@dataclass(frozen=True, slots=True)
class Statistics:
    """A pool at one moment: see `InterpreterPoolExecutor.statistics`.

    Attributes:
        workers: its workers.
        tasks: its tasks.
        lanes: how many tasks have ended in each lane.
        queue_times: how long tasks waited from their submit until they began. Measured of the first
            thousand or so, then of every eighth; not of a map's items, but of what they travel in.
        run_times: how long the same tasks ran; of a map's items that travel together, the mean.
        start_times: how long workers took from their thread's start until their loop's.
        bytes_sent: to workers: functions, arguments, and what goes with them.
        bytes_received: from workers: results, what is printed and logged, and word of themselves.
        memory: bytes that the whole process has in memory, or None where the system does not tell.
            What an interpreter has by itself cannot be told: its larger objects are the C
            library's, which knows of no interpreters.

    .. versionadded:: 0.1
    """

    workers: Workers
    tasks: Tasks
    lanes: Mapping[str, int]
    queue_times: Times
    run_times: Times
    start_times: Times
    bytes_sent: int
    bytes_received: int
    memory: int | None


class Records:
    """What was measured of workers that are no more: as much of it as one of them holds."""

    def __init__(self) -> None:
        self.runs = self.waits = 0
        self._runs: list[int] = []
        self._waits: list[int] = []
        self.starts: list[int] = []
        self._most = channels.RING

    def add(self, board: memoryview[int], ready_after: float | None) -> None:
        """Take over what is on a board."""
        self.runs += board[channels.RUNS]
        self.waits += board[channels.WAITS]
        self._runs = [*self._runs, *_ring(board, channels.RUNS, channels.FIRST_RUN)][-self._most :]
        self._waits = [*self._waits, *_ring(board, channels.WAITS, channels.FIRST_WAIT)]
        del self._waits[: -self._most]
        if ready_after is not None:
            self.starts.append(int(ready_after * 1e9))
            del self.starts[: -self._most]

    def run_times(self, boards: Sequence[memoryview[int]]) -> Times:
        """Times of runs, with those of the workers there are."""
        return self._times(self.runs, self._runs, boards, channels.RUNS, channels.FIRST_RUN)

    def queue_times(self, boards: Sequence[memoryview[int]]) -> Times:
        """Times of waiting, with those of the workers there are."""
        return self._times(self.waits, self._waits, boards, channels.WAITS, channels.FIRST_WAIT)

    def _times(
        self,
        count: int,
        kept: list[int],
        boards: Sequence[memoryview[int]],
        counter: int,
        first: int,
    ) -> Times:
        count += sum(board[counter] for board in boards)
        return Times.of(count, [*kept, *(it for b in boards for it in _ring(b, counter, first))])


def _ring(board: memoryview[int], counter: int, first: int) -> list[int]:
    return board[first : first + min(board[counter], channels.RING)].tolist()


def process_memory() -> int | None:
    """Bytes of this process in memory, where the system tells."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - called in loops
            pages = int(file.read().split()[1])
    except OSError:
        return None
    import resource

    return pages * resource.getpagesize()


def lanes_of(tally: Tally) -> Mapping[str, int]:
    """How many tasks have ended in each lane."""
    ended = tally.done + tally.failed + tally.interrupted + tally.timed_out
    others = {"process": 0, "thread": 0, **tally.elsewhere}
    return MappingProxyType({"interpreter": ended - sum(others.values()), **others})
