"""Workers that have had nothing to do for long: how many go, and when that is looked at again."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interpool._engine import Engine


class Idling:
    """What lets idle workers of one engine go."""

    def __init__(self, engine: Engine, timeout: float | None, least: int) -> None:
        """Make one.

        Args:
            engine: the engine.
            timeout: seconds without a task, after which a worker goes; None: never.
            least: how many stay.
        """
        self._engine = engine
        self._timeout = timeout
        self._least = least
        self._is_set = False  # whether there will be a look

    def note_begun(self) -> None:
        """There is one worker more. The lock is held."""
        self.look_again()

    def look_again(self) -> None:
        """Look when one may have been idle for long enough: the stop for it is gone, say."""
        if self._timeout is not None and not self._is_set:
            self._look_at(time.monotonic() + self._timeout)

    def _look_at(self, when: float) -> None:
        try:
            self._engine.timekeeper.set(self, when, self._let_go)
        except RuntimeError as error:  # tried again when the next one begins; until then they stay
            self._engine.warn(f"Idle workers stay for longer than their idle_timeout: {error}")
        else:
            self._is_set = True

    def _let_go(self) -> None:
        """Put a stop for each worker that is to go, which whoever sleeps longest will take."""
        engine, timeout = self._engine, self._timeout
        with engine.lock:
            self._is_set = False
            transport = engine.transport
            if timeout is None or transport is None or engine.refusal is not None:
                return
            staff = engine.staff
            now = time.monotonic()
            since = sorted(it / 1e9 for it in staff.idle_since())
            spare = max(len(staff.workers) - self._least - transport.stops, 0)
            due = sum(1 for it in since if now - it >= timeout)
            if transport.waiting():
                due = 0  # somebody is about to take that
            elif going := min(due, spare):
                staff.wanted = 0  # they were asked for, and have not been needed
                for _ in range(going):
                    transport.put_stop()
                transport.ring()
            if spare > due:
                # The next to have been idle for long enough; or, if all work, one that stops now.
                self._look_at(max([*since, now][due], now - timeout + _SOON) + timeout)


_SOON = 0.001  # seconds: behind now, whatever a clock's reading is rounded to
