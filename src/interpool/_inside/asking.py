"""How a thread of a worker process has something done by main: one at a time, as a whole.

A thread is shielded (`gate`) while it asks, and signals wait but while it does. So a strike lands
nowhere then: it has what is asked for cancelled (`cancel`), and the task is interrupted when main
has said that it is.
"""

import _thread
import itertools
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from interpool._inside import gate, lines, wire
else:
    import _interpool_gate as gate
    import _interpool_values as values

    lines = values.module_inside("lines")
    wire = values.module_inside("wire")

sys.modules["_interpool_asking"] = sys.modules["interpool._inside.asking"]
__name__ = "_interpool_asking"


# --- Threads of this process ---------------------------------------------------------------------


class _Thread:
    """What a thread has of its own.

    Attributes:
        who: by which what is shared knows it: a number that nobody else in any process has, nor any
            thread of main, whose numbers are addresses.
        free: its connections, of which it needs a second one only if it asks for something in the
            midst of asking, in a signal's handler.
        busy: those in use.
    """

    def __init__(self) -> None:
        self.who = 1 << 62 | os.getpid() << 20 | next(_numbers)
        self.free: list[lines.Line] = []
        self.busy: list[lines.Line] = []


_numbers = itertools.count(1)
_local = _thread._local()


def _count_fork() -> None:
    global _local  # noqa: PLW0603 - the state of this module
    _local = _thread._local()  # with the last ones, its copies of the connections are closed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _this_thread() -> _Thread:
    found: _Thread | None = getattr(_local, "thread", None)
    if found is None:
        found = _local.thread = _Thread()
    return found


def who() -> int:
    """The number of the calling thread, and no other thread's of any process.

    When the thread ends, or its process, main releases what it holds by that number.
    """
    return _this_thread().who


def cancel() -> None:
    """Have what this thread waits for cancelled, for its task was struck: in a signal's handler."""
    for line in _this_thread().busy:
        line.cancel()


# --- Asking --------------------------------------------------------------------------------------


def ask(
    head: tuple[Any, ...],
    body: tuple[Any, ...],
    then: Callable[[list[Any]], Any] | None = None,
    undo: Callable[[Any], object] | None = None,
    *,
    is_undoable: bool = False,
) -> Any:
    """Have main do something; return what came of it.

    Args:
        head: what is asked for.
        body: the arguments.
        then: what is made of the answer's body, before anything can come in between.
        undo: undoes it.
        is_undoable: whether main does, too, until it is acknowledged.
    """
    lines.switchboard()
    thread = _this_thread()
    task = gate.shield()
    result = None
    try:
        blocked = lines.block_signals(lines.SIGNALS)
        try:
            found = _done_by(
                thread,
                head,
                body,
                blocked,
                may_cancel=task is not None,
                is_undoable=is_undoable,
            )
            if found is not None:
                result = found[0] if then is None else then(found)
        except BaseException:
            lines.unblock_signals(blocked)
            raise
    except BaseException:
        gate.lift(task)
        raise
    try:
        lines.unblock_signals(blocked)
        gate.lift(task)
    except BaseException:  # it came behind the acknowledgement, or had it cancelled
        if found is not None and undo is not None:
            undo(result)
        raise
    # Nothing is called from here to where the caller has the result in a variable: so nothing is
    # raised there by a signal either.
    return result


def _done_by(
    thread: _Thread,
    head: tuple[Any, ...],
    body: tuple[Any, ...],
    blocked: frozenset[int],
    *,
    may_cancel: bool,
    is_undoable: bool,
) -> list[Any] | None:
    """Have something done; return the body of the answer, None if it was cancelled."""
    data, fd = wire.pack(head, body)
    try:
        line = thread.free.pop() if thread.free else lines.Line(thread.who)
        line.blocked = blocked
        thread.busy.append(line)
        try:
            (kind, *rest), found = line.ask(
                data, fd, may_cancel=may_cancel, is_undoable=is_undoable
            )
        except BaseException:
            line.close()
            raise
        finally:
            thread.busy.remove(line)
    except BrokenPipeError:
        raise lines.hung_up() from None
    finally:
        if fd != -1:
            os.close(fd)
    thread.free.append(line)
    if kind == lines.RAISED:
        raise found[0]
    if kind == wire.FAILED:
        raise _error_of(*rest)
    return found if kind == wire.DONE else None


def _error_of(module: str, name: str, args: tuple[Any, ...] | None, text: str) -> BaseException:
    """Make the exception that main has described."""
    kind: Any = getattr(sys.modules.get(module), name, None)
    if args is not None and isinstance(kind, type) and issubclass(kind, Exception):
        return kind(*args)
    return RuntimeError(f"{name}: {text}")


def send_drops() -> None:
    """Tell main what this process has let go of: it may be long before it asks for something."""
    if lines.dropped:
        thread = _this_thread()
        try:
            if not thread.free:
                thread.free.append(lines.Line(thread.who))
            thread.free[-1].drop()
        except OSError:  # main has no descriptors, say: it lets go when this process has ended
            thread.free.clear()
