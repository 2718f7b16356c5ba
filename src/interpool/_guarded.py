"""Locks of futures that no interrupt leaves locked.

`concurrent.futures` ends a future under a condition of its own, and tells those who wait for many
by an event and a lock. An interrupt (SIGINT in the main thread, a strike in a task's) that comes
between the taking of such a lock and the `with` block would leave it locked for ever, and the
thread that ends futures waiting for it: no other future of the pool would end any more.

So our futures have conditions on locks during whose holding interrupts wait (`Deferred`), and what
waits for several futures is given such locks when it is installed. Only the sleep of a wait, when
nothing is held, is open to interrupts.

A thread's interrupts are put off when it takes its first such lock, and let through when it gives
back the last: `concurrent.futures.wait` holds those of all its futures at once, and gives them back
in the order in which it has taken them.
"""

import threading
from typing import Any, Final

from interpool._interrupts import Deferred

_get_ident = threading.get_ident


class _Hold:
    """What puts off a thread's interrupts, for so many locks that it holds."""

    __slots__ = ("deferred", "locks")

    def __init__(self) -> None:
        self.deferred = Deferred()
        self.locks = 0


# By thread: each changes its own entry only.
_holds: Final[dict[int, _Hold]] = {}


def _put_off() -> None:
    thread = _get_ident()
    hold = _holds.get(thread)
    if hold is None:
        hold = _Hold()
        hold.deferred.__enter__()
        _holds[thread] = hold
    hold.locks += 1


def _let_through() -> None:
    thread = _get_ident()
    hold = _holds[thread]
    hold.locks -= 1
    if not hold.locks:
        del _holds[thread]
        hold.deferred.__exit__()


class GuardedLock:
    """A `threading.RLock` during whose holding interrupts wait; for a `threading.Condition`."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; as in `threading`."""
        _put_off()
        is_taken: bool = False
        try:
            is_taken = self._lock.acquire(blocking, timeout)
        finally:  # a handler of another signal may raise
            if not is_taken:
                _let_through()
        return is_taken

    def release(self) -> None:
        """Give it back; what was put off is raised in here."""
        if not self._lock._is_owned():
            return  # the interrupt that ended a wait has come before the lock was taken again
        self._lock.release()
        _let_through()

    def locked(self) -> bool:
        """Whether a thread has it."""
        return bool(self._lock.locked())

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What a condition asks of its lock.

    def _is_owned(self) -> bool:
        return bool(self._lock._is_owned())

    def _release_save(self) -> Any:
        """Give it back as often as it was taken, for a wait."""
        state = self._lock._release_save()
        _let_through()
        return state

    def _acquire_restore(self, state: Any) -> None:
        _put_off()
        try:
            self._lock._acquire_restore(state)
        except BaseException:  # as in `acquire`
            _let_through()
            raise


def guarded_condition() -> threading.Condition:
    """Make a condition on such a lock."""
    lock: Any = GuardedLock()
    return threading.Condition(lock)


class GuardedEvent:
    """A `threading.Event` on such a lock."""

    def __init__(self) -> None:
        self._is_set = False
        self._changed = guarded_condition()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Let all go on that wait."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let whoever waits from now on wait."""
        with self._changed:
            self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for so many seconds or for ever; return whether it is."""
        with self._changed:
            return self._is_set or self._changed.wait(timeout)


class GuardedWaiters(list[Any]):
    """Those who wait for a future and for others: `wait` and `as_completed` install them here.

    They do that while they hold the conditions of all of them, so nobody has used what is replaced.
    """

    __slots__ = ()

    def append(self, waiter: Any) -> None:
        """Install one, and guard what it waits by."""
        if type(getattr(waiter, "event", None)) is threading.Event:
            waiter.event = GuardedEvent()
            if hasattr(waiter, "lock"):
                waiter.lock = GuardedLock()
        super().append(waiter)
