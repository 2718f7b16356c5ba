"""What chaos looks at beside its pools' futures: what is reported, and what is left."""

import _interpreters
import collections
import contextlib
import gc
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from chaos_world import World
from interpool._spares import SPARES


class ChaosError(Exception):
    """Something that must not be."""


# --- What is reported ----------------------------------------------------------------------------


@dataclass
class Noise:
    """What is reported while chaos goes on, and what of that nobody should see."""

    may_break: bool = False  # the pool of now
    wrong: list[str] = field(default_factory=list)
    heard: collections.Counter[str] = field(default_factory=collections.Counter)

    def note(self, kind: str, text: str, *, is_expected: bool) -> None:
        """Take note of a report."""
        self.heard[kind] += 1
        if not is_expected:
            self.wrong.append(f"{kind}: {text}")

    def check(self) -> None:
        """Raise what was reported and should not have been."""
        if self.wrong:
            raise ChaosError("\n".join(self.wrong[:5]))


class _Handler(logging.Handler):
    def __init__(self, noise: Noise) -> None:
        super().__init__()
        self._noise = noise

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        is_of_broken = record.levelno == logging.CRITICAL and self._noise.may_break
        is_expected = record.name == "chaos" or is_of_broken
        self._noise.note(f"log of {record.name}", text, is_expected=is_expected)


class _Sink:
    """A stream for what workers print."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...


@contextlib.contextmanager
def listening(noise: Noise) -> Iterator[None]:
    """Take note of all that is reported, in whatever way."""

    def show_warning(message: Any, category: Any, *_: object, **__: object) -> None:
        is_expected = category is RuntimeWarning and "abandoned" in str(message)
        noise.note("warning", str(message), is_expected=is_expected)

    def hook(unraised: Any) -> None:
        noise.note("unraised", repr(unraised), is_expected=False)

    handler = _Handler(noise)
    before = sys.unraisablehook, threading.excepthook, sys.stdout, sys.stderr
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show_warning
        sys.unraisablehook = threading.excepthook = hook
        sys.stdout = sys.stderr = _Sink()
        try:
            yield
        finally:
            sys.unraisablehook, threading.excepthook, sys.stdout, sys.stderr = before
            logging.getLogger().removeHandler(handler)


# --- What is left --------------------------------------------------------------------------------


@dataclass
class Remains:
    """What a process has that a pool might leave behind."""

    threads: set[threading.Thread]
    interpreters: set[int]
    descriptors: set[tuple[str, str]]

    @classmethod
    def now(cls) -> Self:
        """Take stock."""
        return cls(
            set(threading.enumerate()),
            {entry[0] for entry in _interpreters.list_all()},
            set(_descriptors()),
        )

    def check(self, worlds: list[World], patience: float) -> None:
        """Wait for what is on its way out, clear up after some pools, and compare.

        Raises:
            ChaosError: if there is more than before.
        """
        gc.collect()
        end = time.monotonic() + patience
        for thread in set(threading.enumerate()) - self.threads - {threading.current_thread()}:
            thread.join(max(end - time.monotonic(), 0))
        SPARES.clear()
        while worlds:  # now that no task can be at their pipes
            worlds.pop().close()
        now = self.now()
        for name, more in (
            ("threads", now.threads - self.threads),
            ("interpreters", now.interpreters - self.interpreters),
            ("descriptors", now.descriptors - self.descriptors),
        ):
            if more:
                raise ChaosError(f"{name} are left: {more}")


def _descriptors() -> Iterator[tuple[str, str]]:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of this very listing
            yield link.name, str(link.readlink())
