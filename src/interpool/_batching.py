"""How many items of a `map` travel together, from how long those before them took.

A piece costs some 50 us on its way, so it is to be worth more than that; and who takes a large one
last keeps all waiting. Hence: pieces worth `PIECE` seconds by what was measured last, each at the
most a part of what is left, so that they shrink towards the end and workers finish together.

What is measured may change: a worker that has spent `BUDGET` on a piece hands back what it has not
begun, and a piece grows `GROWTH`-fold at the most from one measurement to the next.
"""

from dataclasses import dataclass
from typing import Final

# Seconds a piece is to take: some forty times what sending and answering it costs (50 us).
PIECE: Final = 0.002
# Seconds after which a worker hands back the rest of a piece that takes longer than it should.
BUDGET: Final = 0.008
# Seconds of work for each worker that should wait in the task queue, so that none runs dry while
# the thread that would send more waits for the GIL (5 ms, the switch interval) or is not there yet.
AHEAD: Final = 0.016
# What is left is to last for so many pieces for each worker: the guided self-scheduling of
# Polychronopoulos and Kuck (1987), with a factor that leaves room for pieces of unequal length.
_ROUNDS: Final = 2
_PACES_KEPT: Final = 512  # arbitrary: each takes some 100 bytes
_GROWTH: Final = 8  # arbitrary: 1, 8, 64, 512 reach any size in no time, and from no bad guess


@dataclass(frozen=True, slots=True)
class Timing:
    """What pieces are to be worth, by what it costs to send one.

    Attributes:
        piece: seconds that one is to take.
        budget: seconds after which a worker hands back what it has not begun of one.
        ahead: seconds of work that should wait for each worker, at the least a piece for each.
        is_joined: whether items that were encoded apart may travel together: where the encoder
            takes fewer at a time than make up a piece.
    """

    piece: float = PIECE
    budget: float = BUDGET
    ahead: float = AHEAD
    is_joined: bool = False


NEAR: Final = Timing()  # in this process


class Batcher:
    """The sizes of one `map`'s pieces.

    Not thread-safe: the engine's lock covers it.
    """

    def __init__(self, workers: int, seconds: float | None = None, timing: Timing = NEAR) -> None:
        """Make one.

        Args:
            workers: the most there may be.
            seconds: what an item took in an earlier map, if any.
            timing: what a piece is to be worth.
        """
        self._workers = workers
        self._timing = timing
        self.seconds = seconds  # for an item, by what was measured last
        self._wanted = 1.0 if seconds is None else max(1.0, timing.piece / seconds)

    @property
    def wanted(self) -> int:
        """How many items a piece is to have where there are enough; at least one."""
        return int(self._wanted)

    def size(self, left: int, *, is_all: bool) -> int:
        """How many items to take next; at least one.

        Args:
            left: how many there are.
            is_all: whether there will be no more.
        """
        share = left // (_ROUNDS * self._workers) if is_all else left
        return max(1, min(int(self._wanted), share))

    def learn(self, items: int, seconds: float) -> None:
        """Take note of how long some items took, of one piece."""
        latest = max(seconds / items, 1e-9)
        # Slower counts at once, faster by half: a piece too large keeps everybody waiting.
        if self.seconds is None or latest > self.seconds:
            self.seconds = latest
        else:
            self.seconds = (self.seconds + latest) / 2
        self._wanted = max(1.0, min(self._timing.piece / self.seconds, self._wanted * _GROWTH))

    def is_enough(self, pieces: int, items: int) -> bool:
        """Whether so many pieces, with so many items, are enough to wait in the task queue."""
        if pieces < self._workers:
            return False
        return self.seconds is None or items * self.seconds >= self._timing.ahead * self._workers

    @property
    def is_learning(self) -> bool:
        """Whether nothing has been measured yet, or pieces still grow."""
        seconds = self.seconds
        return seconds is None or self._wanted < min(self._timing.piece / seconds, 1e6) / 2


class Paces:
    """What an item of each function took when it was last mapped, in seconds, by definition's key.

    A first guess for the next map: `BUDGET` bounds what a wrong one costs.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def get(self, key: int) -> float | None:
        """What is known of the function; None if nothing is."""
        return self._seconds.get(key) if key else None

    def note(self, key: int, seconds: float) -> None:
        """Remember what its items took."""
        if len(self._seconds) >= _PACES_KEPT and key not in self._seconds:
            del self._seconds[next(iter(self._seconds))]
        self._seconds[key] = seconds
