"""`interpool bench`: this pool beside the standard library's three."""

import json
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from interpool._bench import plot, progress, runner, table
from interpool._bench.cases import CASES, FULL_ROUNDS, QUICK_ROUNDS, plan
from interpool._bench.report import Report
from interpool._cli.command import Choice, Command
from interpool._cli.output import writing

# What a table needs that is not folded: for files and pipes, which have no width of their own.
_WIDTH_OF_FILES = 120


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  interpool bench --quick
  interpool bench --json figures.json --plot figures.svg
  interpool bench --full
  interpool bench --only transfer --only flood --rounds 15

Exits with 1 if a measurement failed; the others are shown all the same.""",
)
@click.option("--quick", is_flag=True, help="Fewer rounds, smaller sizes: a minute.")
@click.option(
    "--full",
    is_flag=True,
    help="More rows (a busy main thread, a slow task among tiny ones, memory), and what interpool "
    "aims at below its ratios: nine minutes.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help=f"How many samples each median is of ({FULL_ROUNDS}; quick: {QUICK_ROUNDS}).",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=4, show_default=True, help="A pool's."
)
@click.option(
    "--only",
    multiple=True,
    type=Choice([case.name for case in CASES]),
    metavar="CASE",
    help=f"Only this case; may be repeated. {', '.join(case.name for case in CASES)}.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write all figures, every sample too. `-`: to stdout, and the table to stderr.",
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw the figures, as SVG or PNG by the file's suffix. Needs matplotlib.",
)
@click.option("--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, hidden=True)
def command(
    *,
    quick: bool,
    full: bool,
    rounds: int | None,
    workers: int,
    only: tuple[str, ...],
    json_path: Path | None,
    plot_path: Path | None,
    scale: float,
) -> int:
    """Compare this pool with the standard library's three.

    ThreadPoolExecutor, ProcessPoolExecutor, InterpreterPoolExecutor and interpool do the same work
    in one run, by turns. Every measurement is made in a fresh process, where no executor finds
    anything ready that another one has left. It takes about five minutes on two cores.
    """
    _check_files(json_path, plot_path)
    chosen = plan(only=only, workers=workers, rounds=rounds, quick=quick, full=full, scale=scale)
    with progress.shown(chosen.measurements) as show:
        report = runner.run(chosen, lambda step: show(step.number - 1, str(step)))
    if json_path is not None:
        _write_json(report, json_path)
    is_piped = str(json_path) == "-"
    console = Console(stderr=is_piped)
    width = max(console.width, table.MIN_WIDTH) if console.is_terminal else _WIDTH_OF_FILES
    console.width = width
    with writing():
        console.print(table.render(report, width))
    if plot_path is not None:
        plot.save(report, plot_path)
    return 1 if report.failures() else 0


def _check_files(json_path: Path | None, plot_path: Path | None) -> None:
    """Refuse, before minutes are spent, what could not be written after them."""
    if plot_path is not None:
        try:
            plot.check(plot_path)
        except plot.PlotError as error:
            raise click.BadParameter(str(error), param_hint="'--plot'") from error
    for option, path in (("--json", json_path), ("--plot", plot_path)):
        if path is None or str(path) == "-":
            continue
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            message = f"{path} cannot be written: is its folder there, and yours?"
            raise click.BadParameter(message, param_hint=f"'{option}'")


def _write_json(report: Report, path: Path) -> None:
    text = json.dumps(report.as_json(), indent=2) + "\n"
    if str(path) == "-":
        with writing():
            sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
