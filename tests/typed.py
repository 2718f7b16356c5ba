"""The command line, run in the test's own process, for a tenth of what a process of its own takes.

What a process is the point of, signals and its end, say, is not for this.
"""

import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from interpool._cli.app import run as run_command

ROOT = Path(__file__).resolve().parents[1]


class Done(NamedTuple):
    code: int
    out: bytes
    err: str


def run(*arguments: str, stdin: bytes = b"") -> Done:
    """Run a command as if it were typed: what it writes to descriptors counts, too."""
    with _forgetting_modules(), ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        with _connected(files):
            code = run_command(arguments)
        for file in files:
            file.seek(0)
        return Done(code, files[1].read(), files[2].read().decode())


@contextmanager
def _connected(files: Sequence[BinaryIO]) -> Iterator[None]:
    """Have the three standard streams, and their descriptors, be these files."""
    kept = [os.dup(number) for number in range(3)]
    streams = sys.stdin, sys.stdout, sys.stderr
    handler = signal.getsignal(signal.SIGTERM)
    try:
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        with (
            open(0, closefd=False) as sys.stdin,
            open(1, "w", closefd=False) as sys.stdout,
            open(2, "w", closefd=False, buffering=1) as sys.stderr,
        ):
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        signal.signal(signal.SIGTERM, handler)
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _forgetting_modules() -> Iterator[None]:
    """Have modules of the current folder be imported anew, and `sys.path` be as before."""
    path, before = [*sys.path], {*sys.modules}
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = path
        here = Path.cwd()
        for name in {*sys.modules} - before:
            place = Path(getattr(sys.modules[name], "__file__", None) or os.devnull)
            if here in place.parents and "site-packages" not in place.parts and here != ROOT:
                del sys.modules[name]
