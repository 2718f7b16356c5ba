"""What the programs whose figures make one table have in common, once they know what to measure."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import _options
from _options import Options
from interpool._bench.machine import machine_from_json, this_machine
from interpool._bench.words import format_ratio, machine_line, rounds_line

RATIOS: Final = "Ratios are of medians, interpool's figure divided by the other one."


def finish(
    options: Options,
    name: str,
    schema: int,
    measure: Callable[[], dict[str, Any]],
    text: Callable[[dict[str, Any]], str],
) -> int:
    """Measure, or read what was measured; write `name` as JSON and Markdown.

    Args:
        options: what was asked for.
        name: of the files.
        schema: of the figures; those of another one are refused.
        measure: makes them. The schema, the machine and the number of rounds are added.
        text: the figures as Markdown.

    Returns:
        0: the program's exit code.
    """
    figures = options.file(f"{name}.json")
    if options.is_rendering:
        data = _options.read_json(figures)
        if data.get("schema") != schema:
            sys.exit(f"{figures}: its schema is {data.get('schema')}, not {schema}: measure anew")
    else:
        # Before anything has run here, for that is part of it.
        machine = asdict(this_machine()) | {"load_after": None}
        data = {"schema": schema, "machine": machine, "rounds": options.rounds, **measure()}
        _options.write_json(figures, data)
    _options.write_markdown(options.file(f"{name}.md"), text(data))
    return 0


def ratio(ours: Sequence[float], peers: Sequence[float]) -> str:
    """Our median to that of another one, as a cell."""
    below = statistics.median(peers)
    return format_ratio(statistics.median(ours) / below) if below else "-"


def measured(data: dict[str, Any]) -> str:
    """Of how many rounds the medians are, and of what machine: what stands below the table."""
    machine, _ = machine_from_json(data["machine"])
    return f"{rounds_line(data['rounds']).capitalize()}. Measured: {machine_line(machine)}."
