"""What do more workers cost, and what are they worth? From 1 to 64 of them.

Four answers: start of all and end; a fixed amount of computing, shared by all; `map` of 10,000 tiny
tasks, warm; memory a worker. Written as tables (scaling_workers.md), a
picture (scaling_workers.svg) and with every sample (scaling_workers.json). Run it:

    python benchmarks/scaling_workers.py
    python benchmarks/scaling_workers.py --quick
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import _finish
import _options
import _sweep
from _charts import Panel
from _sweep import Probe, Sweep
from interpool._bench.cases import CASES, Case
from interpool._cpu import available_cores

WORKERS: Final = (1, 2, 4, 8, 16, 64)
QUICK_WORKERS: Final = (1, 4, 16)
# As many loops as there are workers at most: nobody is without. Together they take about a second
# of one core here.
LOOPS, ITERATIONS = 64, 200_000
TASKS: Final = 10_000
# Seconds. 64 processes are started twice within it, on machines ten times as slow as these.
BOUND: Final = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a measurement failed."""
    options = _options.parse(
        __doc__ or "", arguments, rounds=3, duration="eight minutes, with --quick one"
    )
    less = 5 if options.is_quick else 1
    sizes = {
        "cores": available_cores(),
        "loops": LOOPS,
        "iterations": options.scaled(ITERATIONS // less),
        "tasks": options.scaled(TASKS // less),
    }

    def measure() -> Sweep:
        workers = QUICK_WORKERS if options.is_quick else WORKERS
        return _sweep.run(
            _probes(sizes, workers),
            options.rounds,
            is_quick=options.is_quick,
            sizes=sizes,
            bound=BOUND,
        )

    return _finish.finish(options, "scaling_workers", measure, _panels, _words)


def _probes(sizes: dict[str, int], workers: Sequence[int]) -> list[Probe]:
    cases = {case.name: case for case in CASES}
    measured = [
        Case("all_up", "cold", "", (0, 0), (0, 0)),
        replace(cases["cpu"], sizes=(sizes["loops"], sizes["iterations"])),
        replace(cases["plain"], sizes=(sizes["tasks"], 0)),
        cases["memory"],
    ]
    executors = _options.executors()
    return [
        Probe(case.name, executor.name, number, _sized(case, number), executor, number)
        for case in measured
        if case.needs is None or Path(case.needs).exists()
        for number in workers
        for executor in executors
    ]


def _sized(case: Case, workers: int) -> Case:
    """With tasks that last until all workers are up: they take some 10 ms each here."""
    if case.name != "all_up":
        return case
    return replace(case, sizes=(0, max(500, workers * 60)))


def _panels(sweep: Sweep) -> list[Panel]:
    sizes = sweep.sizes
    titles = {
        "all_up": "Start until every worker has a task, and end",
        "cpu": f"{sizes['loops']} loops of {sizes['iterations']:,} iterations, cold",
        "plain": f"map of {sizes['tasks']:,} tiny tasks, warm",
        "memory": "Memory a worker (PSS)",
    }
    return [
        Panel(
            name,
            title,
            unit="MiB" if name == "memory" else "ms",
            x_label="workers",
            is_log=name in {"all_up", "plain"},
            x_log=True,
        )
        for name, title in titles.items()
        if sweep.lines(name)
    ]


def _words(sweep: Sweep) -> tuple[str, str]:
    return "More workers", f"on {sweep.sizes['cores']} cores; less is better in all of them"


if __name__ == "__main__":
    sys.exit(main())
