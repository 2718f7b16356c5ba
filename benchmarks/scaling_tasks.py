"""What do more tasks cost? From 10 to 1,000,000 tiny ones, in a pool whose workers are there.

Two answers: `map` with its default arguments, and a `submit` for each (to 100,000: a million
futures at once are some GB, whatever makes them). A peer goes as far as it gets within half a
minute. Written as tables (scaling_tasks.md), a picture (scaling_tasks.svg) and with every sample
(scaling_tasks.json). Run it:

    python benchmarks/scaling_tasks.py
    python benchmarks/scaling_tasks.py --quick
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import _finish
import _options
import _sweep
from _charts import Panel
from _sweep import Probe, Sweep
from interpool._bench.cases import CASES

MAPPED: Final = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
SUBMITTED: Final = MAPPED[:-1]
WORKERS: Final = 4
# Seconds that one measurement may take.
BOUND, QUICK_BOUND = 30.0, 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a measurement failed."""
    options = _options.parse(
        __doc__ or "", arguments, rounds=3, duration="six minutes, with --quick one"
    )
    end = -1 if options.is_quick else None
    counts = {
        "plain": [options.scaled(number) for number in MAPPED[:end]],
        "flood": [options.scaled(number) for number in SUBMITTED[:end]],
    }
    bound = QUICK_BOUND if options.is_quick else BOUND

    def measure() -> Sweep:
        return _sweep.run(
            _probes(counts),
            options.rounds,
            is_quick=options.is_quick,
            sizes={"workers": WORKERS},
            bound=bound,
            grows=True,
        )

    return _finish.finish(options, "scaling_tasks", measure, _panels, _words)


def _probes(counts: dict[str, list[int]]) -> list[Probe]:
    cases = {case.name: case for case in CASES}
    executors = _options.executors()
    return [
        Probe(
            name,
            executor.name,
            number,
            replace(cases[name], sizes=(number, 0)),
            executor,
            WORKERS,
        )
        for name, numbers in counts.items()
        for number in dict.fromkeys(numbers)
        for executor in executors
    ]


def _panels(_sweep: Sweep) -> list[Panel]:
    titles = {"plain": "map, default arguments", "flood": "a submit for each, then all results"}
    return [
        Panel(name, title, unit="ms", x_label="tiny tasks", is_log=True)
        for name, title in titles.items()
    ]


def _words(sweep: Sweep) -> tuple[str, str]:
    return "More tasks", f"{sweep.sizes['workers']} workers, warm; less is better"


if __name__ == "__main__":
    sys.exit(main())
