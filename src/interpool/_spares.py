"""Fresh interpreters, made ready in the background for the next pool of the process.

Making an interpreter is most of what a pool's start takes. A program that opens a second pool will
open a third, so from the second one on a pool that ends leaves as many fresh interpreters as it had
workers, and no more than there are cores. They are made anew, never used before: what a task
leaves in an interpreter (modules, patches, hooks of C code) can't be told from outside, let alone
undone, so no pool ever sees another one's.

* A spare is in one place: being made, ready, or given away; whoever takes one that is being made
  waits for it, for making another one beside it would take as long.
* A program with one pool pays nothing. What is left when the interpreter exits, or `clear` is
  called, is ended.
"""

import _interpreters
import contextlib
import threading
from typing import TYPE_CHECKING, Final

from interpool import _cpu

if TYPE_CHECKING:
    from collections.abc import Callable

# A program that has opened so many pools is taken for one that opens more.
_HABIT: Final = 2


class Spares:
    """The spare interpreters of this interpreter's pools."""

    def __init__(self, create: Callable[[], int]) -> None:
        """Args: what makes an interpreter."""
        self._create = create
        self._changed = threading.Condition()
        self._ready: list[int] = []
        self._makers: list[threading.Thread] = []  # each makes one, side by side
        self._waiting = 0  # threads that wait for those
        self._pools = 0
        self._is_closed = False
        self._is_paused = False

    def note_pool(self) -> None:
        """A pool has been opened."""
        self._pools += 1

    def take(self) -> int | None:
        """Give a spare away, waiting for it if it is being made; None if there is none."""
        with self._changed:
            while not self._ready:
                if len(self._makers) <= self._waiting:
                    return None
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            return self._ready.pop()

    def close(self) -> None:
        """Make no more: the interpreter exits."""
        self._is_closed = True

    def pause(self) -> None:
        """End all, and make no more until `resume`: CPython's forked child breaks down with any."""
        self._is_paused = True
        self.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._is_paused = False

    def renew(self, number: int) -> None:
        """Have so many made, of a pool that ends, if more pools are to be expected."""
        with self._changed:
            if self._pools < _HABIT or self._is_closed or self._is_paused:
                return
            wanted = min(number, _cpu.available_cores())
            while len(self._ready) + len(self._makers) < wanted:
                maker = threading.Thread(target=self._make, name="interpool_spares")
                try:
                    maker.start()
                except RuntimeError:  # the system gives no thread, or the interpreter is exiting
                    return
                self._makers.append(maker)

    def clear(self) -> None:
        """End what is ready, and what is being made when it is."""
        with self._changed:
            makers = self._makers[:]
        for maker in makers:
            maker.join()
        with self._changed:
            ready, self._ready = self._ready, []
        for interpreter in ready:
            _interpreters.destroy(interpreter)

    def disown(self) -> None:
        """Forget all of it: in a forked child neither they nor their makers exist."""
        self._changed = threading.Condition()  # whoever held it is not here
        self._ready, self._makers, self._waiting = [], [], 0
        self._is_paused = False

    def _make(self) -> None:
        made: list[int] = []
        try:
            with contextlib.suppress(Exception):  # whoever needs one makes it, and meets the same
                made.append(self._create())
        finally:
            with self._changed:
                self._ready += made
                self._makers.remove(threading.current_thread())
                self._changed.notify_all()


def create() -> int:
    """Make an interpreter."""
    return _interpreters.create("isolated", reqrefs=False)


SPARES: Final = Spares(lambda: create())  # noqa: PLW0108 - looked up when it is called
