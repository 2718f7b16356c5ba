"""Processes that probe modules: each is bounded in time, and none is left behind.

One thread waits for one process, and another one reads what that prints: waiting for a pipe and a
process at once is what systems differ in. A third one ends it when its time is up.
"""

import ast
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Any, Final, Literal, cast

from interpool import _threads

_CHILD: Final = Path(__file__).with_name("child.py")
# Bytes of a process's output that are kept, its end: a fatal error says its last words there. The
# number is arbitrary, and that of bytes read at once is a pipe's room on Linux.
_NOISE: Final = 4000
_AT_ONCE: Final = 65_536
# Seconds that its output is waited for, once a process and its group are gone. Only a process that
# has left the group can keep the pipe open: its reader is given up then. Arbitrary.
_GRACE: Final = 1.0
# With these, the probe itself would hang (cp#146089), or wait for somebody to type.
_UNWANTED: Final = frozenset({"PYTHONTRACEMALLOC", "PYTHONINSPECT"})
# A group of its own, so that all that a module starts can be ended, and Ctrl-C reaches this process
# only. Windows has no such groups; there the process alone is ended.
_OWN_GROUP: Final[dict[str, Any]] = {"process_group": 0} if os.name == "posix" else {}

type Where = Literal["interpreter", "main"]
"""In which interpreter of the process."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a process told, and how it ended.

    Attributes:
        told: see `inside` and `child`.
        code: its exit code; below 0, the signal's number.
        is_late: whether it was ended since its time was up.
        noise: the end of what it printed.
    """

    told: tuple[tuple[Any, ...], ...]
    code: int
    is_late: bool
    noise: str


class ClosedError(Exception):
    """No more processes are wanted."""


class Prober:
    """Runs processes that probe, from any number of threads, until it is closed.

    Args:
        limit: seconds that one may take.
    """

    def __init__(self, limit: float) -> None:
        if not sys.executable:
            raise RuntimeError(
                "sys.executable is empty, so no process of this Python can be started to probe "
                "modules; a program that embeds Python can set it."
            )
        self._limit = limit
        self._lock = Lock()
        self._running: set[_Process] = set()
        self._is_closed = False
        # Whatever else there is in it, the import system passes over.
        self._path = [it for it in cast("list[object]", sys.path) if isinstance(it, str)]

    def probe(self, module: str, where: Where) -> Outcome:
        """Import a module in a fresh process.

        Raises:
            ClosedError: if this was closed, before or meanwhile.
            OSError: if no process can be started.
        """
        # abspath: 3.14 warns in every interpreter when its own path has a `..` in it.
        # -P: the folder of the program is this package's, whose modules nobody is to import.
        program = [os.path.abspath(sys.executable), "-P", str(_CHILD)]  # noqa: PTH100 - resolving links would leave the environment
        command = [*program, where, module, str(self._limit), *self._path]
        with self._lock:
            if self._is_closed:
                raise ClosedError
            process = _Process(command)
            self._running.add(process)
        try:
            outcome = process.outcome(self._limit)
        finally:
            with self._lock:
                self._running.discard(process)
                is_closed = self._is_closed
        if is_closed:
            raise ClosedError
        return outcome

    def close(self) -> None:
        """End all processes; `probe` raises in whichever thread it runs."""
        with self._lock:
            self._is_closed = True
            running = [*self._running]
        for process in running:
            process.end()


class _Process:
    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in _UNWANTED},
            **_OWN_GROUP,
        )
        self._lock = Lock()
        self._is_reaped = False
        self._is_late = False

    def outcome(self, limit: float) -> Outcome:
        """Wait until it has ended, `limit` seconds at most."""
        process = self._process
        assert process.stdout is not None  # noqa: S101 - it is a pipe, as above
        assert process.stderr is not None  # noqa: S101 - the same
        timer = Timer(limit, self._time_is_up)
        noise = bytearray()
        reader = _threads.make(partial(_read_all, process.stderr, noise), "interpool-doctor-output")
        try:
            timer.start()
            reader.start()
            told = tuple(_told(process.stdout))
            self._wait()
        finally:
            timer.cancel()
            self._reap()
            timer.join()
        reader.join(_GRACE)
        process.stdout.close()
        text = noise.decode(errors="replace")
        return Outcome(told, process.returncode, self._is_late, text)

    def end(self) -> None:
        """End it and all that it started, unless it has ended."""
        with self._lock:
            # Once it is waited for, its number may be another's.
            if self._is_reaped:
                return
            if os.name == "posix":
                # macOS says of a group that has ended that it is not permitted.
                with contextlib.suppress(PermissionError, ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _time_is_up(self) -> None:
        self._is_late = True
        self.end()

    def _wait(self) -> None:
        """Wait for its end, and leave its number to it."""
        if os.name == "posix" and hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()

    def _reap(self) -> None:
        self.end()  # what it has started may be running still
        with self._lock:
            self._process.wait()
            self._is_reaped = True


def _read_all(pipe: IO[bytes], kept: bytearray) -> None:
    """Read what is printed, however much, and keep its end."""
    with pipe:
        while some := os.read(pipe.fileno(), _AT_ONCE):
            kept += some
            del kept[:-_NOISE]


def _told(lines: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
    for line in lines:
        try:
            words = ast.literal_eval(line.decode("ascii").strip())
        except ValueError, SyntaxError:  # cut off by its end
            continue
        if isinstance(words, tuple) and words:
            yield words
