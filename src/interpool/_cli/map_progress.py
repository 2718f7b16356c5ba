"""How far a run of `interpool map` is, on a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import click

from interpool._mapping.job import Job, Show
from interpool._mapping.places import Place
from interpool._mapping.reading import total_size

type Display = Literal["nothing", "bar", "live"]


def display(is_shown: bool | None, is_live: bool, output: str | None) -> Display:
    """Decide what is shown, and say so if that is not what was asked for.

    Args:
        is_shown: whether a bar was asked for, if anything was said of it.
        is_live: whether the live view was.
        output: where results go; None: to standard output.
    """
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    # Results would run through it, and it over them.
    is_in_the_way = output is None and sys.stdout.isatty()
    if is_live:
        if is_terminal and not is_in_the_way:
            return "live"
        reason = (
            "results would be written over it: --output FILE, or a pipe, takes them elsewhere"
            if is_terminal
            else "standard error is no terminal"
        )
        click.echo(f"interpool: nothing is drawn for --live, for {reason}", err=True)
        return "nothing"
    if is_shown is None:
        is_shown = is_terminal and not is_in_the_way
    return "bar" if is_shown else "nothing"


def showing(job: Job, place: Place, shown: Display) -> AbstractContextManager[Show]:
    """Show how far it is; what is entered is told of it."""
    if shown == "nothing":
        return _nothing()
    # Of paths, each is a record; else how far it is goes by what was read, which is a bit ahead.
    is_of_files = job.kind == "files"
    total = len(job.sources) if is_of_files else total_size(job.sources)
    if shown == "bar" or place.statistics is None:
        return _bar(total, is_of_files=is_of_files)
    # Imported here: it takes as long as the whole start of a run that shows nothing.
    from interpool._cli.map_live import drawing

    return drawing(job.target, place.statistics, total, is_of_files=is_of_files)


@contextmanager
def _nothing() -> Iterator[Show]:
    yield lambda _done, _failed, _nbytes, _first_failure: None


@contextmanager
def _bar(total: int | None, *, is_of_files: bool) -> Iterator[Show]:
    from rich import progress as bars
    from rich.console import Console

    with bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(show_speed=False),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True, force_terminal=True),  # it was asked for, or is one
        transient=True,
    ) as progress:
        task = progress.add_task("reading", total=total, rate="")
        began: float | None = None
        before = 0  # in runs that this one goes on with

        def show(done: int, failed: int, nbytes: int, _first_failure: str) -> None:
            nonlocal began, before
            now = progress.get_time()
            if began is None:
                began, before = now, done
            progress.update(
                task,
                completed=done if is_of_files else nbytes,
                description=f"{done:,} done" + (f", {failed:,} failed" if failed else ""),
                rate=f"{(done - before) / (now - began):,.0f}/s" if now > began else "",
            )

        yield show
