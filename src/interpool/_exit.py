"""The end of a process in which a worker runs that was given up.

CPython ends every interpreter before the process: it would wait for the thread of that worker for
ever, or break down (3.14 and 3.15). So such a process is left by `os._exit`, behind everything else
that is to happen at its end, and with the exit status that it would have had. Of that status C code
alone knows; but whoever sees which exception leaves the outermost frame of the main thread knows it
as well. That costs each Python frame that an exception leaves some 0.1 us, so it begins only when
something may be given up: with the first task that has a timeout or is interrupted, or that makes a
pool in its worker.

A worker's interpreter, where such a pool lives, cannot be left: it ends no sooner than the threads
in it. So it tells main that it does not end, and is given up itself, as are all those around it,
however deep they are. What must hold:

* Main watches by the time such a pool gives anything up: it is told when the pool opens. Should the
  program have ended before that, by a SystemExit, nobody knows its status any more; then, and only
  then, it ends late instead of with a wrong one (`can_leave`).
* Whoever is told has not closed what it is told by: the pool around it keeps its channels open
  until the interpreter is gone.
"""

import _interpreters
import atexit
import contextlib
import opcode
import os
import signal
import sys
import threading
from types import CodeType, FrameType
from typing import Final

from interpool._inside import channels, loop

_TOOL: Final = "interpool"
# Identifiers of `sys.monitoring`, those first that are nobody's by convention.
_TOOLS: Final = (3, 4, 5, 2, 1, 0)
_RETURN: Final = opcode.opmap["RETURN_VALUE"]
_IS_MAIN: Final = _interpreters.get_current()[0] == _interpreters.get_main()[0]


class _Watch:
    """Who watches the outermost frame, and what has left it."""

    is_on = False
    is_late = False  # the outermost frame had been left before anybody watched
    outermost: FrameType | None = None
    error: BaseException | type[BaseException] | None = None


def watch() -> None:
    """Take note of how the program ends from now on. May be called again.

    Thread-safety: may be called from any thread.
    """
    if _Watch.is_on:
        return
    _Watch.is_on = True
    if not _IS_MAIN:
        loop.tell(channels.NESTS)
        return
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


def note_pool() -> None:
    """A pool opens in this interpreter."""
    if not _IS_MAIN:
        watch()
        return
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    _Watch.outermost = frame


def note_exit() -> None:
    """The program has ended: whoever begins to watch now sees nothing any more."""
    _Watch.is_late = not _Watch.is_on


def can_leave() -> bool:
    """Whether this interpreter can be left with what is in it, now or when the program ends."""
    if not _Watch.is_late or not _IS_MAIN:
        return True
    if hasattr(sys, "last_exc") or hasattr(sys, "ps1"):
        return True
    # No SystemExit, if the last that the outermost frame has done is that it returned.
    frame = _Watch.outermost
    return frame is not None and frame.f_code.co_code[frame.f_lasti] == _RETURN


def leave_at_once() -> None:
    """Have the process left without its interpreters being ended, when all else is done."""
    if _IS_MAIN:
        atexit.register(_leave)  # the last to be registered is the first to be called
    else:
        loop.tell(channels.HELD)


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
