"""A Dask cluster for tests: a scheduler and workers, each a process, on the loopback over TCP."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil

TESTS = Path(__file__).parent


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


class Nursery:
    """Where the processes of all clusters come from: see `cluster_nursery`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "cluster_nursery.py")],
            env=os.environ
            | {
                "PYTHONPATH": str(TESTS),
                "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
                "DASK_DISTRIBUTED__WORKER__LIFETIME__RESTART": "false",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *what: object) -> int:
        """Have it start or end a process; return whose identifier it says."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class Process:
    """One that the nursery has started."""

    def __init__(self, nursery: Nursery, program: str, *arguments: str) -> None:
        self._nursery = nursery
        self.pid = nursery.ask("start", f"distributed.cli.{program}", arguments)

    def kill(self) -> None:
        """End it, as a crash would."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """End it with all its children, and wait until it is gone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._nursery.ask("end", self.pid)


class World:
    """The processes of one cluster. Ended with it, and with all their children."""

    def __init__(self, nursery: Nursery, *tls: str, protocol: str = "tcp") -> None:
        self._nursery = nursery
        self._tls = tls
        self._protocol = protocol
        self.address = f"{protocol}://127.0.0.1:{free_port()}"
        self.processes: list[Process] = []
        self.scheduler = self._start(
            "dask_scheduler",
            *("--host", f"{protocol}://127.0.0.1", "--port", self.address.rpartition(":")[2]),
            *("--dashboard-address", "127.0.0.1:0"),
        )

    def add_worker(self, *options: str, threads: int = 1) -> Process:
        """Start a worker without a nanny: what ends it ends it for good."""
        return self._start(
            *("dask_worker", self.address, "--nthreads", str(threads), "--no-dashboard"),
            *("--host", f"{self._protocol}://127.0.0.1", *(options or ("--no-nanny",))),
        )

    def _start(self, program: str, *arguments: str) -> Process:
        process = Process(self._nursery, program, *arguments, *self._tls)
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.end()


@contextlib.contextmanager
def world(nursery: Nursery, workers: int = 2) -> Iterator[World]:
    """A cluster of so many workers, of one interpreter each, which are there or come soon."""
    with World(nursery) as made:
        for _ in range(workers):
            made.add_worker()
        yield made
