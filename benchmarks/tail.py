"""How long does a slow task hold up the others? One among 10,000 tiny ones, at every tenth.

The slow one sleeps for a second; 2 workers; `map` with its default arguments, and ours with chunks
of explicit sizes too. The best that can be is that second. Written as a table (tail.md), a picture
(tail.svg) and with every sample (tail.json). Run it:

    python benchmarks/tail.py
    python benchmarks/tail.py --quick
"""

import sys
from collections.abc import Sequence
from typing import Final

import _finish
import _options
import _sweep
from _charts import Panel
from _sweep import Probe, Sweep
from interpool._bench.cases import OURS, Case, Sizes

# Percent of the tasks that are before the slow one.
POSITIONS: Final = tuple(range(0, 101, 10))
QUICK_POSITIONS: Final = (0, 50, 100)
# What ours is given besides nothing: each by itself, and the sizes that people choose.
CHUNKSIZES: Final = (1, 25, 250)
WORKERS: Final = 2
TASKS, SLOW_MS = 10_000, 1_000
# Seconds; no position takes more than five here.
BOUND: Final = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a measurement failed."""
    options = _options.parse(
        __doc__ or "", arguments, rounds=3, duration="eight minutes, with --quick half a minute"
    )
    less = 5 if options.is_quick else 1
    sizes = {
        "workers": WORKERS,
        "tasks": options.scaled(TASKS // less),
        "slow_ms": options.scaled(SLOW_MS // less),
    }

    def measure() -> Sweep:
        positions = QUICK_POSITIONS if options.is_quick else POSITIONS
        return _sweep.run(
            _probes(sizes, positions),
            options.rounds,
            is_quick=options.is_quick,
            sizes=sizes,
            bound=BOUND,
        )

    return _finish.finish(options, "tail", measure, _panels, _words)


def _probes(sizes: dict[str, int], positions: Sequence[int]) -> list[Probe]:
    executors = _options.executors()
    (ours,) = [executor for executor in executors if executor.name == OURS]
    lines = [(executor.name, executor, 0) for executor in executors]
    lines += [(f"{OURS}/{size}", ours, size) for size in CHUNKSIZES]
    slow = {
        (percent, size): _case((sizes["tasks"], sizes["slow_ms"], percent, size))
        for percent in positions
        for *_, size in lines
    }
    return [
        Probe("tail", line, percent, slow[percent, size], executor, WORKERS)
        for percent in positions
        for line, executor, size in lines
    ]


def _case(sizes: Sizes) -> Case:
    """`child` has this function; the rows of `interpool bench` have the worst of three of them."""
    return Case("late", "warm", "", sizes, sizes)


def _panels(sweep: Sweep) -> list[Panel]:
    sizes = sweep.sizes
    return [
        Panel(
            "tail",
            f"map of {sizes['tasks']:,} tasks, one of them {sizes['slow_ms']:,} ms long",
            unit="ms",
            x_label="where the slow task is: percent of the others before it",
            floor=(float(sizes["slow_ms"]), "the slow task alone"),
        )
    ]


def _words(sweep: Sweep) -> tuple[str, str]:
    return "A slow task among tiny ones", f"{sweep.sizes['workers']} workers, warm; less is better"


if __name__ == "__main__":
    sys.exit(main())
