"""Locks and semaphores between interpreters, as users see them: their cores are in `holding`.

A lock is a semaphore of one unit, and an `RLock` is a lock whose owner may acquire it again.
"""

import _thread
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Hashable

    from interpool._inside import gate, handles, holding, values
else:
    import _interpool_gate as gate
    import _interpool_values as values

    handles = values.module_inside("handles")
    holding = values.module_inside("holding")

sys.modules["_interpool_locks"] = sys.modules["interpool._inside.locks"]
__name__ = "_interpool_locks"


class Lock(handles.Handle):
    """A lock between all workers of a pool, in interpreters and in processes, and its owner.

    The interface is that of `threading.Lock`, and what holds of that holds here: whoever has it may
    release it, in any thread of any worker. Handed to a task as an argument, or as a global that it
    uses: it is the same lock everywhere. Who waits longest gets it first, without polling.

    All methods may be called from any thread. A task that is interrupted while it waits is
    interrupted at once, and leaves nothing behind. A lock that such a task has acquired and not
    released, and one held in an interpreter or a process that goes away, is **released**: the next
    one gets it, and what it protects may be half done. Use `with`, and put right what must be put
    right in an `except` or `finally`. A worker that is stuck in C keeps the lock until it returns.

    Keep it where it was made for as long as others need it.
    """

    __slots__ = ()

    _kind = holding.Units

    def __init__(self) -> None:
        """Make one that nobody holds.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        self._core = handles.make(holding.Units, holding.LOCK, 1)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock; return whether it was to be had in time.

        Args:
            blocking: whether to wait for it.
            timeout: seconds to wait at the most; -1: as long as it takes.

        Raises:
            ValueError: if the timeout is negative, or given though it is not to wait.
            OverflowError: if the timeout is longer than `threading.TIMEOUT_MAX`.
        """
        who, task = _me()
        return self._core.acquire(_lock_wait(blocking, timeout), who, task)  # type: ignore[no-any-return]

    @gate.completed
    def release(self) -> None:
        """Release the lock, whoever has acquired it; whoever waits longest has it then.

        Raises:
            RuntimeError: if nobody holds it.
        """
        who, task = _me()
        if not self._core.release(1, who, task):
            message = "release unlocked lock"
            raise RuntimeError(message)

    def locked(self) -> bool:
        """Whether somebody holds it now."""
        return not self._core.counts()[0]

    def __enter__(self) -> bool:
        """Acquire it."""
        who, task = _me()
        return self._core.acquire(None, who, task)  # type: ignore[no-any-return]

    @gate.completed
    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()

    def __repr__(self) -> str:
        """Say what it is and whether it is held."""
        return f"<interpool.Lock, {'locked' if self.locked() else 'unlocked'}>"


class RLock(handles.Handle):
    """A lock that its owner may acquire again, between all workers of a pool and its owner.

    The interface is that of `threading.RLock`. Its owner is a thread; nobody else can release it.
    It is free when it has been released as often as it was acquired. All else is as with `Lock`.
    """

    __slots__ = ()

    _kind = holding.Owned

    def __init__(self) -> None:
        """Make one that nobody holds.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        self._core = handles.make(holding.Owned)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock, once more if this thread holds it; return whether it was to be had.

        Args:
            blocking: whether to wait for it.
            timeout: seconds to wait at the most; -1: as long as it takes.

        Raises:
            ValueError: if the timeout is negative, or given though it is not to wait.
            OverflowError: if the timeout is longer than `threading.TIMEOUT_MAX`.
        """
        who, task = _me()
        return self._core.acquire(_lock_wait(blocking, timeout), who, task)  # type: ignore[no-any-return]

    @gate.completed
    def release(self) -> None:
        """Release the lock once.

        Raises:
            RuntimeError: if it is not this thread that holds it.
        """
        who, task = _me()
        if not self._core.release(1, who, task):
            message = "cannot release un-acquired lock"
            raise RuntimeError(message)

    def locked(self) -> bool:
        """Whether somebody holds it now."""
        return bool(self._core.counts()[1])

    def __enter__(self) -> bool:
        """Acquire it."""
        who, task = _me()
        return self._core.acquire(None, who, task)  # type: ignore[no-any-return]

    @gate.completed
    def __exit__(self, *_: object) -> None:
        """Release it once."""
        self.release()

    def __repr__(self) -> str:
        """Say what it is and whether it is held."""
        depth, owner = self._core.counts()
        held = f"locked {depth} deep by thread {owner}" if depth else "locked" * bool(owner)
        return f"<interpool.RLock, {held or 'unlocked'}>"


class Semaphore(handles.Handle):
    """A number of units to be acquired, between all workers of a pool and its owner.

    The interface is that of `threading.Semaphore`, whoever has waited longest being served first.
    All methods may be called from any thread of any worker.

    What a task has acquired and not released is given back if it is interrupted, or if its worker
    goes away, as with `Lock`. Anybody may release: one's own units first; who has none releases
    those of whoever has held his longest. Only as many units as it was made with are somebody's in
    this sense: a `Semaphore(0)` counts signals, and those are nobody's.
    """

    __slots__ = ()

    _kind = holding.Units
    _units = holding.SEMAPHORE

    def __init__(self, value: int = 1) -> None:
        """Make one.

        Args:
            value: how many units there are.

        Raises:
            ValueError: if that is less than 0.
            OSError: if the system has no memory or no descriptors for it.
        """
        if value < 0:
            message = "semaphore initial value must be >= 0"
            raise ValueError(message)
        self._core = handles.make(holding.Units, self._units, value)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Acquire a unit; return whether there was one in time.

        Args:
            blocking: whether to wait for one.
            timeout: seconds to wait at the most; None: as long as it takes.

        Raises:
            ValueError: if there is a timeout though it is not to wait.
        """
        if not blocking and timeout is not None:
            message = "can't specify timeout for non-blocking acquire"
            raise ValueError(message)
        who, task = _me()
        return self._core.acquire(seconds(timeout) if blocking else 0.0, who, task)  # type: ignore[no-any-return]

    @gate.completed
    def release(self, n: int = 1) -> None:
        """Release units; those who wait longest have them then.

        Args:
            n: how many.

        Raises:
            ValueError: if that is less than 1; or, if it is a `BoundedSemaphore`, if there were
                more of them then than it was made with.
        """
        if n < 1:
            message = "n must be one or more"
            raise ValueError(message)
        who, task = _me()
        if not self._core.release(n, who, task):
            message = "Semaphore released too many times"
            raise ValueError(message)

    def __enter__(self) -> bool:
        """Acquire a unit."""
        who, task = _me()
        return self._core.acquire(None, who, task)  # type: ignore[no-any-return]

    @gate.completed
    def __exit__(self, *_: object) -> None:
        """Release a unit."""
        self.release()

    def __repr__(self) -> str:
        """Say what it is and how many units are free."""
        free, total = self._core.counts()
        of = f"/{total}" if self._units == holding.BOUNDED else ""
        return f"<interpool.{type(self).__name__}, value={free}{of}>"


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more units than it was made with, as in `threading`."""

    __slots__ = ()

    _units = holding.BOUNDED


for _class in Lock, RLock, Semaphore, BoundedSemaphore:
    _class.__module__ = "interpool"
    handles.register(_class, "locks")


def _me() -> tuple[int, Hashable]:
    """The number of this thread, and the task that it runs."""
    thread = _thread.get_ident()
    return handles.who(), gate.running.get(thread, holding.outside)


def seconds(timeout: float | None) -> float | None:
    """Seconds to wait: none rather than less; None for as long as it takes.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is none of those that can be compared.
    """
    if timeout is None:
        return None
    if not hasattr(timeout, "__float__") and not hasattr(timeout, "__index__"):
        message = f"'timeout' must be a number of seconds, not {type(timeout).__name__}"
        raise TypeError(message)
    found = float(timeout)
    if found != found:  # noqa: PLR0124 - not a number
        message = "Invalid value NaN (not a number)"
        raise ValueError(message)
    return max(found, 0.0)


def _lock_wait(blocking: bool, timeout: float) -> float | None:
    """Seconds to wait, of the arguments of a lock's."""
    if timeout == -1:
        return None if blocking else 0.0
    found = seconds(timeout)
    if found is None:
        message = "'timeout' must be a number of seconds, not NoneType"
        raise TypeError(message)
    if not blocking:
        message = "can't specify a timeout for a non-blocking call"
        raise ValueError(message)
    if timeout < 0:
        message = "timeout value must be a non-negative number"
        raise ValueError(message)
    if found > _thread.TIMEOUT_MAX:
        message = "timeout value is too large"
        raise OverflowError(message)
    return found
