"""Output that cannot be written, on a full disk say: an error in one line."""

import contextlib
import os
import sys
from collections.abc import Iterator

import click


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Flush what is written to standard output inside, and say so if that fails.

    A reader that has gone, as `head` does, is none of our errors: click ends quietly then.

    Raises:
        ClickException: with 1 as exit code.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would fail once more, with a traceback, when Python exits.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        message = f"The output cannot be written: {error.strerror or error}"
        raise click.ClickException(message) from None
