"""`interpool report`: a page out of a trace."""

from pathlib import Path

import click

from interpool._cli.command import Command
from interpool._report import report


@click.command(
    cls=Command,
    name="report",
    short_help="Write a page that shows a run, out of its trace.",
    epilog="""\b
Examples:
  interpool report run.json
  interpool report run.json --output /tmp/run.html""",
)
@click.argument("trace", metavar="TRACE", type=click.Path())
@click.option("-o", "--output", metavar="FILE", help="[default: TRACE, with .html as its suffix]")
def command(*, trace: str, output: str | None) -> int:
    """Write a page that shows a run: what workers did when, where the time went, what to change.

    TRACE is a file that `pool.trace(...)` has written, or `interpool map` with --trace. The page is
    one file of HTML, with nothing to fetch.
    """
    page = Path(output) if output else Path(trace).with_suffix(".html")
    if page.absolute() == Path(trace).absolute():
        message = f"--output {page} is the trace itself"
        raise click.UsageError(message)
    write(trace, page)
    click.echo(str(page))
    return 0


def write(trace: str | Path, page: Path) -> None:
    """Write the page, or say in a line what is in the way.

    Raises:
        ClickException: if it cannot be written, or the trace is none.
    """
    try:
        report(trace, page)
    except OSError as error:
        name = error.filename if error.filename is not None else page
        message = f"{name}: {error.strerror or error}."
        raise click.ClickException(message) from error
    except ValueError as error:
        message = f"{error}."
        raise click.ClickException(message) from error
