"""The end of a process in which a worker runs that was given up.

CPython ends every interpreter before the process: it would wait for the thread of that worker for
ever, or break down (3.14 and 3.15). So such a process is left by `os._exit`, behind everything else
that is to happen at its end, and with the exit status that it would have had. Of that status C code
alone knows; but whoever sees which exception leaves the outermost frame of the main thread knows it
as well. That costs each Python frame that an exception leaves some 0.1 us, so it begins only when
something may be given up: with the first task that has a timeout or is interrupted.
"""

import _interpreters
import atexit
import contextlib
import os
import signal
import sys
import threading
from types import CodeType
from typing import Final

_TOOL: Final = "interpool"
# Identifiers of `sys.monitoring`, those first that are nobody's by convention.
_TOOLS: Final = (3, 4, 5, 2, 1, 0)
_IS_MAIN: Final = _interpreters.get_current()[0] == _interpreters.get_main()[0]


class _Watch:
    """Who watches the outermost frame, and what has left it."""

    is_on = False
    error: BaseException | type[BaseException] | None = None


def watch() -> None:
    """Take note of how the program ends from now on. May be called again.

    Thread-safety: may be called from any thread.
    """
    if _Watch.is_on or not _IS_MAIN:
        return
    _Watch.is_on = True
    monitoring = sys.monitoring
    for tool in _TOOLS:
        with contextlib.suppress(ValueError):  # somebody has it
            monitoring.use_tool_id(tool, _TOOL)
            monitoring.register_callback(tool, monitoring.events.PY_UNWIND, _note)
            monitoring.set_events(tool, monitoring.events.PY_UNWIND)
            return


def _note(_code: CodeType, _offset: int, error: BaseException) -> None:
    if threading.get_ident() != threading.main_thread().ident:
        return
    if sys._getframe(1).f_back is None:
        # An exit is kept for its code, of others nothing but the kind: they hold their frames.
        _Watch.error = error.with_traceback(None) if type(error) is SystemExit else type(error)


def leave_at_once() -> None:
    """Have this process left without its interpreters being ended, when all else is done."""
    if _IS_MAIN:
        atexit.register(_leave)  # the last to be registered is the first to be called


def _leave() -> None:
    atexit.unregister(_leave)
    atexit._run_exitfuncs()  # the others: each once, for none has been called yet
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or nobody reads it; or there is none
            stream.flush()
    status = _status()
    if status is None:
        # As CPython does, for a shell is to see that Ctrl-C ended it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        status = 128 + signal.SIGINT
    os._exit(status)


def _status() -> int | None:
    """The exit status; None if it is to be that of SIGINT."""
    error = _Watch.error
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            return 0
        return code & 0xFF if isinstance(code, int) else 1
    if hasattr(sys, "ps1"):  # a prompt outlives the exceptions that it shows
        return 0
    kind = error if isinstance(error, type) else type(getattr(sys, "last_exc", None))
    if kind is type(None):
        return 0
    return None if issubclass(kind, KeyboardInterrupt) else 1
