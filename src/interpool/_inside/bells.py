"""What a thread sleeps by until another one wakes it, in whatever interpreter.

A strike wakes it, too (`gate.bells`), and so does the end of whom it waits for (`alarms`).
"""

import _thread
import os
import select
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable

    from interpool._inside import gate
else:
    import _interpool_gate as gate

sys.modules["_interpool_bells"] = sys.modules["interpool._inside.bells"]
__name__ = "_interpool_bells"

# Milliseconds that a wait lasts at the most, before it looks at the clock again: poll(2) takes an
# int of them.
_LONGEST = 1 << 30

_now = time.monotonic


class Cancelled(BaseException):
    """Raised in a thread that waits for another process, which has changed its mind or is gone."""


# Of threads that wait for another process: the descriptor of it that ends their waiting.
alarms: dict[int, int] = {}


class Bell:
    """What one thread sleeps by, and another one wakes it with."""

    def __init__(self, value: int = 0, *, is_semaphore: bool = False) -> None:
        """Make one.

        Args:
            value: how often it has been rung already, 0 or 1.
            is_semaphore: whether one reading takes one ring only.
        """
        if hasattr(os, "eventfd"):
            flags = os.EFD_CLOEXEC | (os.EFD_SEMAPHORE if is_semaphore else 0)
            self.out = self.into = os.eventfd(value, flags)
            self.size = 8
        else:
            self.out, self.into = os.pipe()
            self.size = 1 if is_semaphore else 512
            if value:
                os.write(self.into, b".")
        self._poll = select.poll()
        self._poll.register(self.out, select.POLLIN)

    def sleep(self, deadline: float | None) -> bool:
        """Wait for a ring until a time of `time.monotonic`; return whether there was one.

        Raises:
            Cancelled: if it was for another process, and that wants it no more.
        """
        thread = _thread.get_ident()
        gate.bells[thread] = self.into
        try:
            # A strike that came before that line has not rung. It lands behind this call.
            alarm = alarms.get(thread)
            if deadline is None and alarm is None:
                os.read(self.out, self.size)
                return True
            return self._poll_until(deadline, alarm)
        finally:
            gate.bells.pop(thread, None)

    def _poll_until(self, deadline: float | None, alarm: int | None) -> bool:
        poll = self._poll
        if alarm is not None:
            poll = select.poll()
            poll.register(self.out, select.POLLIN)
            poll.register(alarm, select.POLLIN)
        while True:
            left = _LONGEST if deadline is None else min((deadline - _now()) * 1000, _LONGEST)
            ready = {fd for fd, _ in poll.poll(max(left, 0))}
            if self.out in ready:
                os.read(self.out, self.size)
                return True
            if ready:
                raise Cancelled
            if deadline is not None and _now() >= deadline:
                return False

    def silence(self) -> None:
        """Take a ring if there is one: it may have been read when a strike came."""
        if self._poll.poll(0):
            os.read(self.out, self.size)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close it: nobody has it in a line."""
        for fd in {vars(self).get("out", -1), vars(self).get("into", -1)}:
            if fd != -1:
                close(fd)


# Bells of this interpreter that nobody waits for, a few. A wait takes one and gives it back, for
# several waits of one thread may be under way: a signal's handler may wait, too.
_bells: list[Bell] = []
_KEPT = 8  # arbitrary: a new one costs 2 us
# At the end of an interpreter CPython clears the modules that are left, which closes the bells of
# this one. Without this line it would not be among them, but its functions would be there all the
# same, and with them the bells: what is called after a fork leads to them (`sharing`).
_itself = sys.modules["interpool._inside.bells"]


def take() -> Bell:
    """Return a bell for a wait.

    Raises:
        OSError: if there is no descriptor for one.
    """
    return _bells.pop() if _bells else Bell()


def give(bell: Bell) -> None:
    """Have a bell back, for the next wait."""
    # Those of tasks stay: a strike may yet ring, or land in the finalizer, and get lost.
    if gate.is_in_task() or len(_bells) < _KEPT:
        _bells.append(bell)


def forget() -> None:
    """Close the bells that nobody waits for."""
    _bells.clear()
