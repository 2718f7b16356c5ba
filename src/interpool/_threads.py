"""Threads of this package: named, and no reason for the interpreter to wait at its exit.

Every pool is closed and waited for when the interpreter exits (`_lifetime`). What is left after
that has been given up: a worker whose task does not stop, and what listens to it. A thread that is
no daemon would hold up the exit for it.

The system shows a thread's name as well (top -H, gdb, perf), and Linux keeps 15 bytes of it, which
of most names are those that all threads of all pools have in common. So it is told a shorter one,
with the end of the name, which says whose it is: `Interprete-0_12`, `Int-0_collector`.
"""

import _interpreters
import contextlib
import re
import sys
import threading
from collections.abc import Callable
from typing import Final

# An isolated interpreter, where a pool may live too, has no daemon threads.
_HAS_DAEMONS: Final = _interpreters.get_current()[0] == _interpreters.get_main()[0]
# Bytes of a name that the system keeps (prctl(2), pthread_setname_np(3)).
_KEPT: Final = 15 if sys.platform in {"linux", "android"} else 63
_END: Final = re.compile(r"(?:[-_][0-9]+)*(?:_[^_]*)?(?:_[0-9]+)?$")


def make(target: Callable[[], object], name: str, role: str = "") -> threading.Thread:
    """Return a thread that has not been started.

    Args:
        target: what it calls.
        name: its name.
        role: what the system is told besides, behind the name.
    """

    def run() -> None:
        tell_name(name + role)
        target()

    return threading.Thread(target=run, name=name, daemon=_HAS_DAEMONS)


def tell_name(name: str | None = None) -> None:
    """Tell the system the calling thread's name (without one, what `threading` says), shortened."""
    with contextlib.suppress(ImportError, OSError):  # where threads have no names
        from _thread import set_name

        set_name(shortened(name or threading.current_thread().name))


def shortened(name: str) -> str:
    """Shorten a name in its middle to what the system keeps."""
    if len(encoded := name.encode(errors="replace")) <= _KEPT:
        return name
    found = _END.search(name)
    end = (found.group() if found else "").encode(errors="replace")[:_KEPT]
    return (encoded[: _KEPT - len(end)] + end).decode(errors="ignore")
