"""What `test_trace` has done in workers, which import this: little, and nothing of interpool's."""

import _frozen_importlib
import os
import signal
import sys
import time
from typing import Any


def fail_or_sleep(entry: int, number: int) -> None:
    if number < 2:
        raise ValueError(number)
    os.write(entry, b".")
    while True:
        time.sleep(0.01)


def raise_here(text: str) -> None:
    raise ValueError(text)


class Unloadable:
    def __reduce__(self) -> Any:
        return raise_here, ("not this one",)


def wait_and_import(entry: int, fd: int, module: str) -> str:
    os.write(entry, b".")
    os.read(fd, 1)
    return __import__(module).__name__


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hook() -> str:
    """Whose function CPython calls for what is not imported, and whether anything was traced."""
    found: Any = _frozen_importlib
    is_there = "interpool._inside.tracing" in sys.modules
    return f"{found._find_and_load.__module__} {is_there}"


def prepare() -> None:
    import calendar

    assert calendar.__name__
