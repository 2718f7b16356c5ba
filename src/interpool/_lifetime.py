"""Which pools are open in this interpreter, and what becomes of them when it exits or forks."""

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from interpool import _exit
from interpool._spares import SPARES

if TYPE_CHECKING:
    from interpool._engine import Engine

AFTER_EXIT: Final = "cannot schedule new futures after interpreter shutdown"
_AFTER_FORK: Final = "cannot schedule new futures: this pool belongs to the parent process"

_lock = threading.Lock()
_engines: set[Engine] = set()
# Seconds for which a fork waits for running tasks. Beyond, the child breaks down.
_FORK_PATIENCE: Final = 5.0
_paused: list[Engine] = []
_left: set[Engine] = set()  # finished, but for workers that were given up
_exiting = False


def remember(engine: Engine) -> None:
    """List a pool that has opened its channels.

    Raises:
        RuntimeError: if the interpreter is exiting.
    """
    with _lock:
        if _exiting:
            raise RuntimeError(AFTER_EXIT)
        _engines.add(engine)
    _exit.note_pool()


def forget(engine: Engine, *, leaves_some: bool = False) -> None:
    """Take a pool that has finished off the list.

    Args:
        engine: the pool.
        leaves_some: whether there are workers of it that were given up and still run.
    """
    with _lock:
        _engines.discard(engine)
        (_left.add if leaves_some else _left.discard)(engine)


def _at_exit() -> None:
    """Let every pool finish what it was given, as the pools of `concurrent.futures` do."""
    global _exiting  # noqa: PLW0603 - the state of this module
    with _lock:
        _exiting = True
        _exit.note_exit()
        SPARES.close()
        engines = list(_engines)
    try:
        _see_off(engines, at_once=_is_interrupted())
    except KeyboardInterrupt:
        _see_off(engines, at_once=True)
        raise
    finally:
        # Another Ctrl-C ends the wait: CPython must not end interpreters then that are in use.
        if _left or not all(engine.done.is_set() for engine in engines):
            _exit.leave_at_once()
        SPARES.clear()


def _see_off(engines: list[Engine], *, at_once: bool) -> None:
    for engine in engines:
        if at_once:
            engine.terminate(AFTER_EXIT, is_quiet=True)
        else:
            engine.close(refusal=AFTER_EXIT)
    for engine in engines:
        engine.join()


def _is_interrupted() -> bool:
    """Whether it is Ctrl-C that ends this program: what runs is not waited for then.

    At a prompt the last traceback may be an old one.
    """
    error = getattr(sys, "last_exc", None)
    return isinstance(error, KeyboardInterrupt) and not hasattr(sys, "ps1")


def _before_fork() -> None:
    """End all interpreters: CPython's forked child breaks down with any (3.14 and 3.15).

    What tasks do is waited for, but not for ever.
    """
    SPARES.pause()
    with _lock:
        _paused[:] = _engines
    for engine in _paused:
        engine.pause()
    deadline = time.monotonic() + _FORK_PATIENCE
    for engine in _paused:
        engine.wait_for_pause(deadline)


def _after_fork_in_parent() -> None:
    SPARES.resume()
    for engine in _paused:
        engine.resume()
    _paused.clear()


def _after_fork_in_child() -> None:
    """Disown the parent's pools: their threads and interpreters do not exist in this process."""
    global _lock  # noqa: PLW0603 - the state of this module
    _lock = threading.Lock()
    for engine in _engines:
        engine.disown(_AFTER_FORK)
    _engines.clear()
    _paused.clear()
    _left.clear()
    SPARES.disown()


# Before non-daemon threads are joined, as `concurrent.futures.thread` does it and for its reason:
# an isolated interpreter, where a pool may live too, has no daemon threads. `atexit` would be late.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
