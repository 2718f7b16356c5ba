"""What all commands have in common: `--debug`, and errors that are a line and say what is meant."""

import difflib
import traceback
from collections.abc import Iterable
from typing import Any, Final, override

import click

_DEBUG: Final = "interpool.debug"


class Command(click.Command):
    """A command with `--debug`, by which a failure's own traceback is shown above its line.

    It is that of an error's cause: whatever turns an exception into a line raises it `from` that.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        option = click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="Show the traceback of what fails.",
        )
        self.params.append(option)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            if ctx.meta.get(_DEBUG) and error.__cause__ is not None:
                click.echo("".join(traceback.format_exception(error.__cause__)), err=True, nl=False)
            raise


def _remember(ctx: click.Context, _option: click.Parameter, value: object) -> None:
    ctx.meta[_DEBUG] = value


def is_debugged() -> bool:
    """Whether the command that runs was given `--debug`."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(_DEBUG))


def hint() -> str:
    """Return how to learn more of a failure, to be put behind a sentence."""
    return "" if is_debugged() else " --debug shows where."


class NotBegun(click.ClickException):
    """What was asked for cannot be, which has nothing to do with how a command is used."""

    exit_code = 2


class Choice(click.Choice[str]):
    """A choice that knows what was probably meant."""

    @override
    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        said = super().get_invalid_choice_message(value, ctx)
        return f"{said}{suggestion(str(value), self.choices)}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return what a name was probably meant to be, to be put behind a sentence; or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def in_a_line(error: click.UsageError) -> bool:
    """Whether a command's synopsis would not help: it was understood, but for a value."""
    return isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
