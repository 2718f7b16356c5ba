"""`recommend`: which executor suits a function, measured; what to change so that it gains more.

`measure` runs the function in each lane, within a budget (`job`, `baseline`, `lanes`); `judge` is
the rules, which see nothing but the figures (`sizing`, `advice`); `data` is what both speak of.
"""

from collections.abc import Callable, Iterable, Sized
from itertools import islice
from typing import Any, Final

from interpool._options import _check_callable
from interpool._recommend.data import (
    Advice,
    Baseline,
    LaneFigures,
    Measurements,
    Option,
    Recommendation,
    Refusal,
)
from interpool._recommend.job import Job
from interpool._recommend.judge import judge
from interpool._recommend.measure import measure
from interpool._terms import checked_timeout

__all__ = [
    "Advice",
    "Baseline",
    "LaneFigures",
    "Measurements",
    "Option",
    "Recommendation",
    "Refusal",
    "recommend",
]

# Items that are taken of the sample, and what a job has if nothing is said: both are arbitrary.
_MOST_ITEMS: Final = 1000
_USUAL_ITEMS: Final = 1000


def recommend(
    fn: Callable[..., Any],
    sample: Iterable[Any],
    *,
    star: bool = False,
    items: int | None = None,
    budget: float = 8.0,
    max_workers: int | None = None,
) -> Recommendation:
    """Measure a function on a sample of its work, and say which executor suits it.

    It runs the items in one thread, in threads, in interpreters and in processes, many times over
    if they are short, so it is not for functions that change something outside. The first one runs
    in a process, which is killed if it hangs. Whether a function is thread-safe cannot be measured;
    nor is an extension module kept from crashing in an interpreter, and the program with it.

    Args:
        fn: the function; a coroutine function is run by `asyncio.run`, as workers do it.
        sample: some items of the work, each one argument; the first thousand are taken.
        star: whether each item is a tuple of arguments instead.
        items: how many items the work has; None: a thousand, or the sample's length if that is
            more.
        budget: seconds that it may take, more or less. A function that takes long is run for fewer
            items, and in fewer lanes; the others are estimated then.
        max_workers: how many workers compute at a time; None: as many as this process may use
            cores.

    Returns:
        All the ways to run it, the best first, each with its reasons; what to change; the figures.
        Print it, or see `Recommendation`.

    Raises:
        TypeError, ValueError: for an argument that makes no sense; an empty sample is one.
        TaskTimeout: if an item takes longer than half of the budget.
        ProcessDied: if the first item crashes its process.
        Exception: what the function raises; a note says for which item.

    Thread-safety: may be called from any thread; two at a time measure each other.

    .. versionadded:: 0.1
    """
    _check_callable(fn)
    if items is not None:
        _check_count(items, "items")
    if max_workers is not None:
        _check_count(max_workers, "max_workers")
    seconds = checked_timeout(budget, "budget")
    if seconds is None:
        message = f"budget must be a number of seconds, not {budget!r}"
        raise ValueError(message)
    taken = tuple(tuple(it) if star else (it,) for it in islice(sample, _MOST_ITEMS))
    if not taken:
        raise ValueError("sample must have one item at least")
    if items is None:
        items = max(len(sample) if isinstance(sample, Sized) else 0, _USUAL_ITEMS)
    return judge(measure(Job.of(fn, taken), seconds, max_workers), items)


def _check_count(number: object, name: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        message = f"{name} must be an integer or None, not {number!r}"
        raise TypeError(message)
    if number < 1:
        message = f"{name} must be greater than 0, not {number}"
        raise ValueError(message)
