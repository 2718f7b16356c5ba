"""How many items of a `map` travel together, from how long those before them took.

A piece costs some 50 us on its way, so it is to be worth more than that; and who takes a large one
last keeps all waiting. Hence: pieces worth `PIECE` seconds by what was measured last, each at the
most a part of what is left, so that they shrink towards the end and workers finish together.

What is measured may change: a worker that has spent `BUDGET` on a piece hands back what it has not
begun, and a piece grows `GROWTH`-fold at the most from one measurement to the next.
"""

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


class Batcher:
    """The sizes of one `map`'s pieces.

    Not thread-safe: the engine's lock covers it.
    """

    def __init__(self, workers: int, seconds: float | None = None) -> None:
        """Args: the most workers there may be, and what an item took in an earlier map, if any."""
        self._workers = workers
        self.seconds = seconds  # for an item, by what was measured last
        self._wanted = 1.0 if seconds is None else max(1.0, PIECE / seconds)

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
        self._wanted = max(1.0, min(PIECE / self.seconds, self._wanted * _GROWTH))

    def is_enough(self, pieces: int, items: int) -> bool:
        """Whether so many pieces, with so many items, are enough to wait in the task queue."""
        if pieces < self._workers:
            return False
        return self.seconds is None or items * self.seconds >= AHEAD * self._workers

    @property
    def is_learning(self) -> bool:
        """Whether nothing has been measured yet, or pieces still grow."""
        return self.seconds is None or self._wanted < min(PIECE / self.seconds, 1e6) / 2


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
