"""Measures a plan: every sample in a process of its own, executors interleaved.

The order is round by round, case by case, executor by executor, the first executor another one in
each round: what the machine does beside falls on all of them alike. Before the first round every
executor starts once without being measured, which brings files into memory and byte code onto the
disk.

No process outlives the run: an interruption ends the one that measures, with all that it started.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from interpool._bench.cases import CASES, FACTORS, Case, Executor, Plan
from interpool._bench.machine import load_average, this_machine
from interpool._bench.report import Report

# Seconds until a measurement is taken for stuck. The longest, eight loops on one core, takes 4 s
# here; ten times that leaves room for small machines, and the rest for busy ones.
LIMIT: Final = 120.0

_HERE: Final = Path(__file__).resolve().parent
_CHILD: Final = _HERE / "child.py"
_SOURCE: Final = _HERE.parent.parent


type OnStep = Callable[[Step], None]


class MeasurementError(Exception):
    """A measurement did not end with a time. The message says why, in a line."""


class StuckError(MeasurementError):
    """It did not end within its time."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is measured next; `number` of `total` processes. Round 0 is the warm-up."""

    number: int
    total: int
    round: int
    case: Case
    executor: Executor

    def __str__(self) -> str:
        where = f"round {self.round}" if self.round else "warm-up"
        return f"{where} · {self.case.name} · {self.executor.label}"


def run(plan: Plan, on_step: OnStep = lambda _: None, *, limit: float = LIMIT) -> Report:
    """Measure everything that a plan asks for.

    What fails is noted in its cell, and not tried again; the rest goes on.

    Args:
        plan: what to measure.
        on_step: told before each measurement.
        limit: seconds until a measurement is taken for stuck.
    """
    begin = time.monotonic()
    report = Report.empty(plan, this_machine())
    for step in _steps(plan):
        on_step(step)
        cell = report.cells[step.case.name, step.executor.name] if step.round else None
        if cell is not None and cell.error is not None:
            continue
        try:
            result = measure(step.case, step.executor, plan.workers, limit=limit)
        except MeasurementError as error:
            if cell is not None:
                cell.error = str(error)
            continue
        # The process that measures knows: options may have switched the GIL on or off in this one.
        report.machine = replace(report.machine, gil=result["gil"])
        if cell is not None:
            cell.samples.append(result["value"])
            report.import_seconds[step.executor.name].append(result["import_seconds"])
    report.load_after = load_average()
    report.elapsed = time.monotonic() - begin
    return report


def _steps(plan: Plan) -> Iterator[Step]:
    total = plan.measurements
    start = next(case for case in CASES if case.name == "start")
    executors = plan.executors
    pairs = [(0, start, executor) for executor in executors]
    for number in range(1, plan.rounds + 1):
        order = in_turn(executors, number)
        pairs += [(number, case, executor) for case in plan.cases for executor in order]
    for number, (round_, case, executor) in enumerate(pairs, start=1):
        yield Step(number, total, round_, case, executor)


def in_turn[T](items: Sequence[T], number: int) -> list[T]:
    """The items in their order, beginning with another one for each number."""
    first = number % len(items)
    return [*items[first:], *items[:first]]


def measure(
    case: Case, executor: Executor, workers: int, *, limit: float = LIMIT, child: Path = _CHILD
) -> dict[str, Any]:
    """Measure once, in a fresh process.

    Args:
        case: what.
        executor: with which.
        workers: `max_workers`, if the case does not say otherwise.
        limit: seconds until it is taken for stuck and ended.
        child: the program that measures.

    Returns:
        The object that `child` prints, its `value` in the unit of the case.

    Raises:
        StuckError: if it does not end in time.
        MeasurementError: if it fails, or prints something else.
    """
    workers = case.workers or workers
    count, *sizes = case.sizes
    arguments = (executor.name, case.name, workers, _SOURCE, count or workers, *sizes)
    # abspath: 3.14 warns in every interpreter when its own path has a `..` in it.
    # -P: the folder of the program is this package's, whose modules nobody is to import by chance.
    command = [os.path.abspath(sys.executable), "-P", str(child), *map(str, arguments)]  # noqa: PTH100 - resolving links would leave the environment
    process = subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        text=True,
        errors="replace",
        **_OWN_GROUP,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        message = f"no result within {limit:g} s"
        raise StuckError(message) from None
    finally:
        _end(process)
    if process.returncode != 0:
        reason = (errors.strip().splitlines() or ["it said nothing"])[-1]
        message = f"the process that measured ended with {process.returncode}: {reason}"
        raise MeasurementError(message)
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        message = f"the process that measured printed no result, but {output[:80]!r}"
        raise MeasurementError(message) from None
    return result | {"value": result["value"] * FACTORS[case.unit]}


# A group of its own, so that all that a measurement starts can be ended, and Ctrl-C reaches this
# process only. Windows has no such groups; there the process alone is ended.
_OWN_GROUP: Final[dict[str, Any]] = {"process_group": 0} if os.name == "posix" else {}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that has not ended by itself, and all that it started."""
    # Once it is waited for, its number may be another's. What it leaves behind when it ends by
    # itself (the fork server) goes when it sees its pipes closed.
    if process.returncode is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _environment() -> dict[str, str]:
    """This process's, but for what would make every worker compile its modules anew."""
    return {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
