"""Threads of this package: named, and no reason for the interpreter to wait at its exit.

Every pool is closed and waited for when the interpreter exits (`_lifetime`). What is left after
that has been given up: a worker whose task does not stop, and what listens to it. A thread that is
no daemon would hold up the exit for it.
"""

import _interpreters
import threading
from collections.abc import Callable
from typing import Final

# An isolated interpreter, where a pool may live too, has no daemon threads.
_HAS_DAEMONS: Final = _interpreters.get_current()[0] == _interpreters.get_main()[0]


def make(target: Callable[[], object], name: str) -> threading.Thread:
    """Return a thread that has not been started."""
    return threading.Thread(target=target, name=name, daemon=_HAS_DAEMONS)
