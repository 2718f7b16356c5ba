"""A Dask cluster for tests: a scheduler and workers, each a process, on the loopback over TCP."""

import contextlib
import os
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


class World:
    """The processes of one cluster. Ended with it, and with all their children."""

    def __init__(self, *tls: str, protocol: str = "tcp") -> None:
        self._tls = tls
        self._protocol = protocol
        self.address = f"{protocol}://127.0.0.1:{free_port()}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            "dask_scheduler",
            *("--host", f"{protocol}://127.0.0.1", "--port", self.address.rpartition(":")[2]),
            *("--dashboard-address", "127.0.0.1:0"),
        )

    def add_worker(self, *options: str, threads: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny: what ends it ends it for good."""
        return self._start(
            *("dask_worker", self.address, "--nthreads", str(threads), "--no-dashboard"),
            *("--host", f"{self._protocol}://127.0.0.1", *(options or ("--no-nanny",))),
        )

    def _start(self, module: str, *args: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *args, *self._tls],
            env=os.environ
            | {
                "PYTHONPATH": str(TESTS),
                "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "30s",
                "DASK_DISTRIBUTED__WORKER__LIFETIME__RESTART": "false",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()


@contextlib.contextmanager
def world(workers: int = 2) -> Iterator[World]:
    """A cluster of so many workers, of one interpreter each, which are there or come soon."""
    with World() as made:
        for _ in range(workers):
            made.add_worker()
        yield made
