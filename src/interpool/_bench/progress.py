"""What is being measured, on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

type Show = Callable[[int, str], None]
"""Told how many measurements are done, and what is measured now."""


@contextmanager
def shown(total: int, *, tenths: bool = False) -> Iterator[Show]:
    """Show on a terminal what is being measured.

    Args:
        total: how many measurements there are.
        tenths: elsewhere, a line for every tenth of them; without it, nothing.
    """
    if not sys.stderr.isatty():
        yield _lines(total) if tenths else _nothing
        return
    with Progress(
        TextColumn("{task.description:<46}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda done, text: progress.update(task, completed=done, description=text)


def _nothing(_done: int, _text: str) -> None: ...


def _lines(total: int) -> Show:
    told = -1

    def show(done: int, text: str) -> None:
        nonlocal told
        if (tenth := 10 * done // max(total, 1)) != told:
            told = tenth
            print(f"{done:>5} of {total}: {text}", file=sys.stderr, flush=True)

    return show
