"""The same files for everyone: one core without a pool, then every executor, in turns."""

import gc
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contenders import OURS, contenders, in_turns

from .analysis import Module, Unreadable, measure

__all__ = ["OURS", "SERIAL", "Run", "chunk_size", "number_of_runs", "race"]

SERIAL = "serial, no pool"


class Run(NamedTuple):
    """One contender's way through all files."""

    name: str
    seconds: float  # from making the pool to having shut it down
    results: list[Module | Unreadable]


def chunk_size(files: int, workers: int) -> int:
    """Files to hand over at a time: enough to save ways, too few to keep anybody waiting."""
    return max(1, files // (32 * workers))


def number_of_runs(rounds: int) -> int:
    """How many runs a race of so many rounds has."""
    return rounds * (1 + len(contenders()))


def race(paths: Sequence[str], *, workers: int, rounds: int) -> Iterator[Run]:
    """Measure all files `rounds` times with every contender, and yield what came of each run.

    The first run is the serial one.
    """
    chunksize = chunk_size(len(paths), workers)
    makers = {SERIAL: None, **contenders()}
    for name in in_turns(list(makers), rounds):
        make = makers[name]
        # What this program holds already should not cost the serial run's garbage collector time.
        gc.collect()
        gc.freeze()
        start = time.perf_counter()
        if make is None:
            results = list(map(measure, paths))
        else:
            with make(workers) as pool:
                results = list(pool.map(measure, paths, chunksize=chunksize))
        yield Run(name, time.perf_counter() - start, results)
