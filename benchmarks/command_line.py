"""How fast is `interpool map`? A function over the lines of a file, beside what one would write.

`interpool map` with two workers; `xargs -n 10000 -P 2` with a Python script that takes lines as
arguments, whose output comes in whatever order; and a script with a `ProcessPoolExecutor(2)` and
`chunksize=1000`. Of two functions: one that costs nothing, so that all is transport, and one of
some 20 us. Each is a fresh process, start-up included. Written as a table (command_line.md) and
with every sample (command_line.json). Run it:

    python benchmarks/command_line.py
    python benchmarks/command_line.py --quick
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import _command_line_jobs as jobs
import _markdown
import _options
import _table
from interpool._bench.words import format_figure

SCHEMA: Final = 1
LINES: Final = 1_000_000
# Of the function that computes.
FEWER: Final = 100_000
WORKERS: Final = 2
WAYS: Final = ("interpool map", "xargs -P 2", "ProcessPoolExecutor")


@dataclass(slots=True)
class Row:
    """What is measured: its name, and seconds by way."""

    name: str
    samples: dict[str, list[float]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options.parse(
        __doc__ or "",
        arguments,
        rounds=5,
        quick_rounds=1,
        duration="two minutes, with --quick half a minute",
        draws=False,
    )

    def measured() -> dict[str, Any]:
        return {"rows": [asdict(row) for row in measure(options.rounds, options.scaled)]}

    return _table.finish(options, "command_line", SCHEMA, measured, text)


def measure(rounds: int, scaled: Callable[[int], int]) -> list[Row]:
    """Measure each way in each round, so that what the machine does beside falls on all."""
    cases = [
        ("length", scaled(LINES), "a function that costs nothing"),
        ("digits", scaled(FEWER), "a function of some 20 us"),
    ]
    rows = [Row(f"{lines:,} lines, {words}") for _, lines, words in cases]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, function) for function, _, _ in cases]
        for file, (_, lines, _) in zip(files, cases, strict=True):
            file.write_text("".join(f"{n}\n" for n in range(lines)), encoding="utf-8")
        for way in WAYS:  # nobody's first start, which compiles modules
            timed(way, cases[1][0], files[1], cases[1][1])
        for number in range(rounds):
            _options.tell(f"round {number + 1} of {rounds}")
            for (function, lines, _), file, row in zip(cases, files, rows, strict=True):
                for way in WAYS:
                    seconds = timed(way, function, file, lines)
                    row.samples.setdefault(way, []).append(seconds)
    return rows


def timed(way: str, function: str, file: Path, lines: int) -> float:
    """How long it takes, in seconds; what comes out is counted."""
    script = Path(jobs.__file__)
    map_ = [sys.executable, "-m", "interpool", "map", "--workers", str(WORKERS)]
    command = {
        "interpool map": [*map_, f"{script.stem}:{function}", str(file)],
        "xargs -P 2": [
            *("xargs", "-a", str(file), "-n", "10000", "-P", str(WORKERS)),
            *(sys.executable, str(script), "lines", function),
        ],
        "ProcessPoolExecutor": [sys.executable, str(script), "pool", function, str(file)],
    }[way]
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        subprocess.run(command, stdout=out, check=True, cwd=script.parent, env=_environment())  # noqa: S603
        seconds = time.perf_counter() - began
        out.seek(0)
        if (count := sum(1 for _ in out)) != lines:
            message = f"{way} wrote {count} results of {lines}"
            raise RuntimeError(message)
    return seconds


def _environment() -> dict[str, str]:
    # Some machines set this; then every start compiles the package anew.
    return {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def text(data: dict[str, Any]) -> str:
    """The figures as Markdown."""
    heads = ["seconds, start-up included", *(f"`{way}`" for way in WAYS)]
    table = [
        [row["name"], *(format_figure(statistics.median(row["samples"][way])) for way in WAYS)]
        for row in data["rows"]
    ]
    return f"{_markdown.table(heads, table)}\n\n{_table.measured(data)}"


if __name__ == "__main__":
    sys.exit(main())
