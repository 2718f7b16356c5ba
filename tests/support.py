"""What tests share: a gate that works across interpreters, tasks, and scripts run as programs."""

import os
import select
import subprocess
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Self

# Seconds that a test waits for what must come: long enough for a loaded machine, since waiting for
# it means that the test has failed.
PATIENCE = 60


class Gate:
    """A pipe: `wait` hears what tasks write to `entry`; `open` lets them read from `exit`."""

    def __init__(self) -> None:
        self.exit, self.entry = os.pipe()

    def open(self, passers: int = 1) -> None:
        """Let that many pass."""
        os.write(self.entry, bytes(passers))

    def wait(self, arrivals: int = 1) -> None:
        """Wait for that many arrivals."""
        for _ in range(arrivals):
            ready, _, _ = select.select([self.exit], [], [], PATIENCE)
            assert ready, "nobody arrived"
            os.read(self.exit, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.exit)
        os.close(self.entry)


def have_all_work(pool: Executor, workers: int) -> None:
    """Return when so many workers have each done something: none is on its way any more.

    What tests find open is to be what they have left, and not what a worker opens as it starts.
    """
    with Gate() as arrivals, Gate() as gate:
        tasks = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(workers)]
        arrivals.wait(workers)
        gate.open(workers)
        for task in tasks:
            task.result(PATIENCE)


class Fifo:
    """A named pipe by which a task in a process says that it runs."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path)
        self.path = path

    def wait(self) -> None:
        with open(self.path, "rb") as pipe:  # noqa: PTH123
            assert pipe.read(1) == b"."

    def open(self) -> None:
        with open(self.path, "wb") as pipe:  # noqa: PTH123
            pipe.write(b".")


# --- Tasks: no globals and no defaults, so that the standard library's pool takes them too ------


def add(a: Any, b: Any) -> Any:
    return a + b


def identity(value: Any) -> Any:
    return value


def pass_through(fd: int, value: Any) -> Any:
    import os

    os.read(fd, 1)
    return value


def arrive_and_pass(entry: int, fd: int, value: Any) -> Any:
    import os

    os.write(entry, b".")
    os.read(fd, 1)
    return value


def divide(a: Any, b: Any) -> Any:
    return a / b


def interpreter() -> int:
    import _interpreters

    return int(_interpreters.get_current()[0])


def exit_with(code: Any) -> None:
    import sys

    sys.exit(code)


def set_first(it: Any, value: Any) -> Any:
    it[0] = value
    return it[0]


def run_program(
    source: str | Path, *args: str, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of this Python: a file, or source text by way of `-c`."""
    command = [str(source)] if isinstance(source, Path) else ["-c", source]
    return subprocess.run(
        [sys.executable, *command, *args],
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
