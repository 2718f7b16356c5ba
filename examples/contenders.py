"""The executors that the benchmarks and the demo compare, and how: side by side, in turns."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

OURS = "interpool"


def contenders() -> dict[str, Callable[[int], Executor]]:
    """Every executor by its name, as a function that makes one with so many workers.

    Imported here and not above: a process pool's workers run the program's file again with all that
    it imports, and what the others need should not count against them.
    """
    from concurrent import futures

    from interpool import InterpreterPoolExecutor

    return {
        "threads": futures.ThreadPoolExecutor,
        "processes": futures.ProcessPoolExecutor,
        "standard library's interpreters": futures.InterpreterPoolExecutor,
        OURS: InterpreterPoolExecutor,
    }


def in_turns(names: list[str], rounds: int) -> list[str]:
    """Every name once a round, each round beginning with another, so that none is always first."""
    turns = []
    for number in range(rounds):
        start = number % len(names)
        turns += names[start:] + names[:start]
    return turns


def compare[T](work: Callable[[Executor], T], *, workers: int, rounds: int) -> None:
    """Give the same work to a new pool of each kind, in turns, and print the median times.

    A time is all that a user waits for: making the pool, the work, shutting it down.

    Raises:
        RuntimeError: if they do not all find the same.
    """
    makers = contenders()
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    expected: T | None = None
    for name in in_turns(list(makers), rounds):
        start = time.perf_counter()
        with makers[name](workers) as pool:
            found = work(pool)
        seconds[name].append(time.perf_counter() - start)
        expected = found if expected is None else expected
        if found != expected:
            message = f"{name}: not the result of the others"
            raise RuntimeError(message)
    _print_table({name: statistics.median(times) for name, times in seconds.items()})


def _print_table(medians: Mapping[str, float]) -> None:
    for name, median in medians.items():
        ratio = "" if name == OURS else f"   {median / medians[OURS]:6.2f} x {OURS}"
        print(f"{name:32} {median * 1000:9.1f} ms{ratio}")


def options(description: str | None, **numbers: int) -> argparse.Namespace:
    """Read whole numbers from the command line, each with its default."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in numbers.items():
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}"
        )
    return parser.parse_args()
