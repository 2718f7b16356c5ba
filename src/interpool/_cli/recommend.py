"""`interpool recommend`: which executor suits a function, measured, and what to change."""

import json
import os
import textwrap
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, Final, TextIO

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from interpool._cli import completion
from interpool._cli.command import Command, hint
from interpool._cli.output import writing
from interpool._cli.targets import check_call, function
from interpool._recommend import Option, Recommendation, recommend, words

# Columns where the output is no terminal.
_WIDTH_OF_FILES: Final = 120
# Below, a gain is none, whatever it is.
_LEAST_GAIN: Final = 0.01


@click.command(
    cls=Command,
    name="recommend",
    epilog="""\b
Examples:
  interpool recommend mypackage.jobs:score --args 1000 --args 2000
  interpool recommend mypackage.jobs:parse --sample paths.txt --text
  interpool recommend mypackage.jobs:join --star --args '["a", {"b": 1}]'
  interpool recommend mypackage.jobs:score --sample - --items 1000000 --json

Exits with 1 if the function fails on the sample, or does not come to an end.""",
)
@click.argument("target", metavar="MODULE:FUNCTION", shell_complete=completion.functions)
@click.option(
    "--sample",
    "sample_file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Items of the work, one a line, in JSON. `-`: from stdin.",
)
@click.option("--text", "is_text", is_flag=True, help="Lines of FILE are texts, as they are.")
@click.option(
    "--args",
    "arguments",
    multiple=True,
    metavar="JSON",
    help="An item of the work; may be repeated.",
)
@click.option("--star", is_flag=True, help="An item is a list of arguments, not one argument.")
@click.option(
    "--items", type=click.IntRange(min=1), help="How many items the work has.  [default: 1,000]"
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    default=8.0,
    show_default=True,
    metavar="SECONDS",
    help="What the measurement may take; an item, half of it.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="How many compute at a time.  [default: cores]"
)
@click.option("--json", "is_json", is_flag=True, help="Write all figures as JSON.")
def command(
    *,
    target: str,
    sample_file: TextIO | None,
    is_text: bool,
    arguments: tuple[str, ...],
    star: bool,
    items: int | None,
    budget: float,
    workers: int | None,
    is_json: bool,
) -> int:
    """Say which executor suits a function, measured on a sample.

    The function is run in one thread, in threads, in interpreters and in processes, many times over
    if it is short: not for functions that change something outside. What it prints is not shown.
    What comes out holds for this machine, as busy as it is.

    The module is imported; the current folder is searched first. Whether the function is
    thread-safe cannot be measured.
    """
    sample = [*_items(sample_file, arguments, is_text=is_text, is_star=star)]
    fn = function(target)
    _check_calls(target, fn, sample, is_star=star)
    errors = Console(stderr=True)
    is_shown = errors.is_terminal
    with errors.status(f"Measuring {target}, for {budget:g} s") if is_shown else nullcontext():
        answer = _measured(fn, sample, star=star, items=items, budget=budget, max_workers=workers)
    with writing():
        if is_json:
            click.echo(json.dumps({"target": target} | answer.as_dict(), indent=2))
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = _WIDTH_OF_FILES
            console.print(_rendered(answer, console.width))
    return 0


def _measured(fn: Any, sample: list[Any], **options: Any) -> Recommendation:
    try:
        # Thousands of times what it prints, between the lines of the answer, would be of no use.
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            return recommend(fn, sample, **options)
    except BaseException as error:  # a function may raise anything, or exit
        if isinstance(error, KeyboardInterrupt):
            raise
        said = str(error)
        notes = " ".join(getattr(error, "__notes__", ()))
        message = f"{type(error).__name__}{': ' if said else ''}{said}"
        if notes:
            message += f". {notes}"
        raise click.ClickException(f"{message.rstrip('.')}.{hint()}") from error


def _check_calls(target: str, fn: Any, sample: list[Any], *, is_star: bool) -> None:
    """Refuse a function that does not take what the sample has, before it is called."""
    for number, item in enumerate(sample, 1):
        arguments = item if is_star else [item]
        count = "one argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
        way_out = "" if is_star else ". With --star an item is a list of arguments"
        check_call(target, fn, arguments, f"{count}, item {number} of the sample", way_out)


# --- The sample ----------------------------------------------------------------------------------


def _items(
    file: TextIO | None, arguments: tuple[str, ...], *, is_text: bool, is_star: bool
) -> Iterator[Any]:
    """Yield what is given in options."""
    if is_text and file is None:
        raise click.UsageError("--text says what the lines of --sample FILE are")
    given = [(f"--args {text}", text) for text in arguments]
    if file is not None:
        lines = file.read().splitlines()
        if is_text:
            yield from ([line] if is_star else line for line in lines)
        else:
            numbered = enumerate(lines, 1)
            given += [(f"line {n} of {file.name}", line) for n, line in numbered if line.strip()]
        if not (lines or arguments):
            message = f"{file.name} has no lines: a sample has one item at least"
            raise click.UsageError(message)
    elif not arguments:
        raise click.UsageError(
            "Items of the work are needed, --args JSON or --sample FILE: "
            "what a function takes depends on what it is given"
        )
    for place, text in given:
        try:
            item = json.loads(text)
        except ValueError as error:
            message = f"{place} is not JSON: {error}"
            if file is not None and place.startswith("line"):
                message += ". --text takes lines as they are"
            raise click.UsageError(message) from None
        if is_star and not isinstance(item, list):
            message = f"{place} is no list of arguments, as --star has it, but {text.strip()}"
            raise click.UsageError(message)
        yield item


# --- Showing -------------------------------------------------------------------------------------


def _rendered(answer: Recommendation, width: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("executor", no_wrap=True)
    for name in ("workers", f"{answer.items:,} items", "gain", "pays from"):
        table.add_column(name, justify="right", no_wrap=True)
    for option in answer.options:
        table.add_row(*_cells(option), style="bold" if option is answer.best else None)
    parts: list[RenderableType] = [Text(answer.headline(), style="bold"), "", table, ""]
    for option in answer.options:
        parts.append(Text(f"{option.executor}:"))
        parts += [_indented(it, width) for it in option.reasons]
    if answer.advice:
        parts += ["", Text("What to change, and to know:")]
        parts += [_indented(it.text, width) for it in answer.advice]
    return Group(*parts)


def _indented(sentence: str, width: int) -> Text:
    """Return lines without what a padding of rich adds at their ends."""
    return Text(
        textwrap.fill(f"{sentence}.", width - 1, initial_indent="  ", subsequent_indent="  ")
    )


def _cells(option: Option) -> tuple[str, ...]:
    if not option.is_possible:
        return option.executor, "-", "-", "-", "-"
    gain = f"{option.gain:.1f}" if option.gain >= 1 else f"{option.gain:.2f}"
    gain = gain if option.gain >= _LEAST_GAIN else f"<{_LEAST_GAIN}"
    pays = "-" if option.break_even is None else words.some(option.break_even)
    return option.executor, str(option.workers), words.seconds(option.seconds), gain, pays
