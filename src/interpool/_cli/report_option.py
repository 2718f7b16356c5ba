"""`--report` of a command that runs a pool: it is traced, and a page is made of that in the end."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click


@contextmanager
def reporting(page: str | None, options: dict[str, Any]) -> Iterator[None]:
    """Have what runs inside traced, and write a page about it when that is over, however it ended.

    Args:
        page: where to; None: nothing is done.
        options: what runs is traced to `options["trace"]`, which is set if it is not.

    Raises:
        UsageError: if it is clear beforehand that the page cannot be written.
        ClickException: if it could not be written in the end.
    """
    if page is None:
        yield
        return
    if not Path(page).parent.is_dir() or Path(page).is_dir():
        why = "is a folder" if Path(page).is_dir() else "is in no folder that there is"
        message = f"--report {page} {why}"
        raise click.UsageError(message)
    # Imported here, as whoever wants no page does not wait for what makes one.
    from interpool._cli.report import write

    with ExitStack() as stack:
        if options["trace"] is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="interpool-"))
            options["trace"] = str(Path(folder) / "trace.json")
        trace = Path(options["trace"])
        try:
            yield
        except BaseException:
            # What ended the run is what is told of it; of what had not begun there is no page.
            if trace.is_file() and trace.stat().st_size:
                try:
                    write(trace, Path(page))
                except click.ClickException as error:
                    click.echo(f"interpool: there is no report: {error.message}", err=True)
            raise
        write(trace, Path(page))
