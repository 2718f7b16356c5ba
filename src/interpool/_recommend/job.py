"""What is measured, and how much time is left for it."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final, Self

type Item = tuple[Any, ...]
"""The arguments of one call."""


@dataclass(frozen=True, slots=True)
class Job:
    """A function, and the arguments of some calls."""

    fn: Callable[..., Any]
    name: str
    items: tuple[Item, ...]
    is_coroutine: bool

    @classmethod
    def of(cls, fn: Callable[..., Any], items: tuple[Item, ...]) -> Self:
        """Make one."""
        name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
        return cls(fn, name, items, inspect.iscoroutinefunction(fn))

    def call(self, item: Item) -> Any:
        """Call the function in this thread, as a worker would."""
        if self.is_coroutine:
            return asyncio.run(self.fn(*item))
        return self.fn(*item)

    def some(self, count: int) -> Iterator[Item]:
        """Yield that many items, from the first one on, and again when there are no more."""
        return islice(cycle(self.items), count)

    @property
    def is_mappable(self) -> bool:
        """Whether `map` can take them: items with as many arguments each, one at least."""
        counts = {*map(len, self.items)}
        return len(counts) == 1 and 0 not in counts


# Seconds of a pass over short items, unless the budget is small: arbitrary. So many passes are
# made, of which the best counts, for others are at work, too; and so many calls at the most.
ENOUGH: Final = 0.15
PASSES: Final = 3
MOST_CALLS: Final = 20_000
# Of the budget, what one step of six may take: the others, and what comes between, need theirs.
_SHARE: Final = 0.15
_PASS: Final = 0.02


class Budget:
    """Seconds that a measurement may take."""

    def __init__(self, total: float) -> None:
        self.total = total
        self._end = time.perf_counter() + total

    @property
    def share(self) -> float:
        """What one step may take."""
        return self.total * _SHARE

    @property
    def span(self) -> float:
        """What a pass over short items takes."""
        return min(self.total * _PASS, ENOUGH)

    @property
    def left(self) -> float:
        """What is left of it, at least a moment."""
        return max(self._end - time.perf_counter(), 0.001)
