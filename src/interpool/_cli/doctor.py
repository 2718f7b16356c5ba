"""`interpool doctor`: which modules load in an interpreter, as a table."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from interpool._cli import completion, names
from interpool._cli.command import Command, NotBegun, suggestion
from interpool._cli.output import writing
from interpool._doctor.examination import LIMIT, OnBegin, OnFinding, examine
from interpool._doctor.report import Diagnosis, Finding

_STYLES: Final = {
    "loads": "green",
    "refuses": "yellow",
    "fails": "red",
    "crashes": "bold red",
    "hangs": "bold red",
    "not installed": "dim",
}
_MIB: Final = 2**20
# Columns where the output is no terminal, and no COLUMNS says otherwise.
_WIDTH_OF_FILES: Final = 120


@click.command(
    cls=Command,
    name="doctor",
    epilog="""\b
Examples:
  interpool doctor numpy lxml.etree mypackage.jobs
  interpool doctor --all
  interpool doctor --all --stdlib --json > modules.json
  interpool doctor --require mypackage --require yaml

Exits with 1 if what is required does not load in an interpreter.""",
)
@click.argument("modules", metavar="[MODULE]...", nargs=-1, shell_complete=completion.modules)
@click.option("--all", "is_all", is_flag=True, help="Everything that is installed.")
@click.option("--stdlib", is_flag=True, help="The standard library's modules.")
@click.option(
    "--require",
    "required",
    multiple=True,
    shell_complete=completion.modules,
    metavar="MODULE",
    help="Exit with 1 if this one does not load in an interpreter; may be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="How long one module may take.",
)
@click.option("--no-cache", is_flag=True, help="Examine anew what was examined before.")
@click.option("--json", "is_json", is_flag=True, help="Write the findings as JSON.")
def command(
    *,
    modules: tuple[str, ...],
    is_all: bool,
    stdlib: bool,
    required: tuple[str, ...],
    timeout: float,
    no_cache: bool,
    is_json: bool,
) -> int:
    """Find out which modules load in an interpreter, where tasks run.

    Each module is imported in a process of its own, so a crash or a hang is a row of the table. The
    current folder is searched first. What refuses is an extension, its own or one that it imports:
    the table shows how it was reached. Tasks that need such a module run in the process lane.

    What is found of installed packages is kept for as long as they stay what they are, in the
    user's cache folder.
    """
    if not (modules or is_all or stdlib or required):
        raise click.UsageError("Name a module, like json, or ask for --all.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        with _progress() as (begin, show):
            diagnosis = examine(
                [*modules, *required],
                is_all=is_all,
                stdlib=stdlib,
                limit=timeout,
                is_cached=not no_cache,
                on_begin=begin,
                on_finding=show,
            )
    except ValueError as error:
        raise NotBegun(f"{error}.") from error
    with writing():
        if is_json:
            click.echo(json.dumps(diagnosis.as_dict(), indent=2))
        else:
            console = Console(highlight=False)
            if not console.is_terminal and "COLUMNS" not in os.environ:
                console.width = _WIDTH_OF_FILES
            console.print(_rendered(diagnosis, set(required)))
    return 0 if all(diagnosis[name].loads for name in required) else 1


@contextmanager
def _progress() -> Iterator[tuple[OnBegin, OnFinding]]:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty():
        yield (lambda _: None), (lambda _: None)
        return
    with Progress(
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)
        yield (
            lambda total: progress.update(task, total=total),
            lambda it: progress.update(task, advance=1, description=it.module),
        )


# --- Showing -------------------------------------------------------------------------------------


def _rendered(diagnosis: Diagnosis, required: set[str]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("module", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("lane", no_wrap=True)
    table.add_column("cost, or why", overflow="fold", ratio=1)
    for finding in diagnosis:
        table.add_row(
            Text(finding.module, style="bold" if finding.module in required else ""),
            Text(finding.verdict, style=_STYLES[finding.verdict]),
            Text(finding.lane or "none"),
            Text(_cost(finding) if finding.loads else _why(finding)),
        )
    return Group(table, *_notes(diagnosis, required))


def _cost(finding: Finding) -> str:
    words = "" if finding.seconds is None else f"{finding.seconds:6.3f} s"
    if finding.nbytes is not None:
        words += f"{finding.nbytes / _MIB:8.1f} MiB"
    if finding.without:
        words += f"  without {', '.join(finding.without)}"
    return words


def _why(finding: Finding) -> str:
    chain = " → ".join(_shortened(finding.chain))
    if finding.verdict == "refuses":
        return chain or finding.extension
    if finding.verdict == "not installed":
        return f"{finding.reason}.{_meant(finding.module)}"
    return f"{chain}: {finding.reason}" if chain else finding.reason


def _meant(name: str) -> str:
    """Return what was probably meant, be it that a module's attribute was named."""
    package, _, _ = name.rpartition(".")
    if package and not names.is_package(package):
        return ""
    return suggestion(name, names.modules_near(name))


def _shortened(chain: tuple[str, ...]) -> list[str]:
    """Return the packages that import each other, and the last module in full; not the first.

    The whole chain is in the JSON: of most, nearly all is a package's own business.
    """
    if len(chain) <= 1:
        return []
    tops = [name.partition(".")[0] for name in chain]
    *before, last = dict.fromkeys(tops)
    if before:
        return [*before[1:], last, *([] if chain[-1] == last else [chain[-1]])]
    return [chain[-1]]


def _notes(diagnosis: Diagnosis, required: set[str]) -> Iterator[RenderableType]:
    counts = Counter(finding.verdict for finding in diagnosis)
    yield Text(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    if cached := sum(finding.is_cached for finding in diagnosis):
        yield Text(f"{cached} of them found in an earlier run: --no-cache examines anew")
    lanes = {finding.lane for finding in diagnosis}
    if "process" in lanes:
        yield Text(_OF_PROCESSES)
    if any(finding.loads_in_process is False for finding in diagnosis):
        yield Text(_OF_NONE)
    if missed := sorted(name for name in required if not diagnosis[name].loads):
        yield Text(f"required, and does not load: {', '.join(missed)}", style="bold red")


_OF_PROCESSES: Final = "lane process: tasks that import it run in a process, not in an interpreter"
_OF_NONE: Final = "lane none: it does not load in a process of its own either; mend that first"
