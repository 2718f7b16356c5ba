"""`interpool`: the group of all commands, and how a process that runs one ends."""

import importlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType, MappingProxyType
from typing import Final, override

import click

from interpool.__main__ import version
from interpool._cli import completion
from interpool._cli.command import in_a_line, suggestion

# Exit codes, documented in `interpool --help` and in `interpool.__main__`.
_INTERRUPTED: Final = 130
_TERMINATED: Final = 143

_COMMANDS: Final = MappingProxyType(
    {
        "bench": "interpool._cli.bench",
        "doctor": "interpool._cli.doctor",
        "explain": "interpool._cli.explain",
        "map": "interpool._cli.map",
        "recommend": "interpool._cli.recommend",
        "report": "interpool._cli.report",
    }
)


class _Commands(click.Group):
    """Loads a command's module when it is asked for: no command pays for another's imports."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)  # noqa: S101 - what every command's module has
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            message = f"There is no command {name!r}.{suggestion(name, _COMMANDS)}"
            raise click.UsageError(message, ctx)
        return super().resolve_command(ctx, args)


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  interpool bench --quick
  interpool doctor --all
  interpool explain mymodule:train
  interpool map mymodule:clean access.log > clean.log
  interpool recommend mymodule:train --args 1000
  interpool report run.json
  interpool map --help

\b
Exit codes:
  0    done
  1    done, but something that was asked for failed
  2    not begun: the command was not understood, or an extra is missing
  130  interrupted (Ctrl-C)
  141  whoever read the output of `map` has gone
  143  ended (SIGTERM)""",
)
@click.version_option(message=version())
def _group() -> None:
    """CPU-bound Python on every core of one process."""


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: what stands behind `interpool`.

    Returns:
        The exit code.
    """
    # As an exception, so that a command ends what it has started.
    signal.signal(signal.SIGTERM, _exit_on_signal)
    completion.register()
    try:
        code = _group.main(args=list(arguments), prog_name="interpool", standalone_mode=False)
    except click.Abort, KeyboardInterrupt:
        print("interpool: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except click.UsageError as error:
        if in_a_line(error):
            click.echo(f"Error: {error.format_message()}", err=True)
        else:
            error.show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


def _exit_on_signal(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)
