"""What can be held, between interpreters: units of a semaphore, and locks that have an owner.

It guarantees, beside what holds of every primitive:

* **Fair.** A unit that is given back while others wait goes to whoever has waited longest, and is
  taken by nobody in between.
* **A unit is given back** by a task that was interrupted, when it ends, and by an interpreter that
  goes away. What has been acquired and is not yet known to the caller, too.

By whom a unit is held is noted in a table in shared memory, for others may release it: a ticket,
which only the interpreter that drew it can tell the holder of, and how many units. A release is of
the releaser's own units first, and otherwise of the oldest ticket's. Of a semaphore no more units
are somebody's than it was made with: what comes on top of them is signals, which are nobody's.

`who` is a positive number, of a thread that lives; `task` is the one that it runs, or `OUTSIDE`.
"""

import _interpreters
import atexit
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import ClassVar

    from interpool._inside import bells, gate, sharing, values
else:
    import _interpool_gate as gate
    import _interpool_values as values

    sharing = values.module_inside("sharing")

sys.modules["_interpool_holding"] = sys.modules["interpool._inside.holding"]
__name__ = "_interpool_holding"

# For who holds something outside any task: in a worker, which goes away some time; in the program's
# own interpreter, which lasts, and gives back nothing.
OUTSIDE, LASTING = -1, -2

# The only line that is used. What the other one takes is the table's.
WAITERS = 0

# Numbers of a semaphore: its kind; units that are free, that have been promised to waiters which
# were rung, that are in the table, and that there were in the beginning; entries of the table, and
# the last ticket that was drawn.
KIND, FREE, PROMISED, HELD, TOTAL, HOLDERS, TICKET = range(7)
LOCK, SEMAPHORE, BOUNDED = range(3)
# The table: tickets and their units. Whoever comes when it is full holds units as nobody's.
_TABLE = sharing.OWN_WORDS + sharing.LINE
_MOST_HOLDERS = sharing.LINE // 2

# Numbers of an RLock: its owner, 0 if it is free; how often that has acquired it.
OWNER, DEPTH = range(2)
_PROMISED = -1  # no thread, but a waiter that has been rung


# --- What is held in this interpreter ------------------------------------------------------------

# Kept alive, for else nobody could give it back.
_held: set[Held] = set()
# How many there may be before those are looked for that others have released: arbitrary.
_FEW = 16
_many = _FEW


class Held(sharing.Primitive):
    """What can be held, and is given back by who goes away."""

    # What worker processes may call, and what undoes it (`relay`).
    REMOTE = frozenset({"acquire", "release", "give_back", "counts", "release_all"})
    UNDO: ClassVar[dict[str, Callable[..., object]]] = {
        "acquire": lambda core, args, has_it: has_it and core.release(1, *args[1:])
    }

    def acquire(self, wait: float | None, who: int, task: Hashable) -> bool:
        """Take it, waiting for it if need be; return whether it was to be had in time.

        Args:
            wait: seconds to wait at the most; None: as long as it takes.
            who: the number of the thread that is to hold it.
            task: which that thread runs.
        """
        if len(_held) >= _many:
            _forget_released()
        deadline = sharing.deadline_of(wait)
        has_it = False
        # What is acquired and then not returned nobody would release. Behind the `with` is nothing
        # by which CPython would look for a strike or a signal: neither a call nor a loop.
        try:
            with self:
                has_it = self._take_free(who)
                if not has_it and wait != 0:
                    has_it = self._wait(deadline)
                if has_it:
                    self._note(who, task)
        except BaseException:
            if has_it:
                self.release(1, who, task)
            raise
        return has_it

    def release(self, count: int, who: int, task: Hashable) -> bool:
        """Give it back, to the first who waits; return False if it is not to be given back."""
        raise NotImplementedError

    def give_back(self, who: int | None, task: Hashable) -> None:
        """Give back what is held from this interpreter: see the function of that name."""
        raise NotImplementedError

    def release_all(self, who: int) -> None:
        """A thread of a worker process has ended: give back what it holds."""
        self.give_back(who, None)

    def _wait(self, deadline: float | None) -> bool:
        has_it, error = self.wait_in(WAITERS, deadline)
        if has_it:
            self._take_promised()
        if error is not None:
            if has_it:
                self._give(1)
            raise error
        return has_it

    def _take_free(self, who: int) -> bool:
        raise NotImplementedError

    def _take_promised(self) -> None:
        raise NotImplementedError

    def _give(self, count: int) -> None:
        raise NotImplementedError

    def _note(self, who: int, task: Hashable) -> None:
        raise NotImplementedError

    def _keep(self) -> None:
        """It is to be given back, by whoever has acquired it or in his place."""
        _held.add(self)


def give_back(who: int | None = None, task: Hashable = None) -> None:
    """Give back what was acquired in this interpreter and has not been released.

    Args:
        who: by that thread; None: by any.
        task: while it ran that task; None: whenever it was.
    """
    for core in [*_held]:
        core.give_back(who, task)


def _forget_released() -> None:
    """Let go of what others have released."""
    global _many  # noqa: PLW0603 - the state of this module
    for core in [*_held]:
        core.give_back(0, None)
    _many = max(_FEW, 2 * len(_held))


def _is_worker() -> bool:
    return bool(_interpreters.get_current()[0] != _interpreters.get_main()[0])


# Which of them it is here. A worker process ends, though it is no interpreter beside others.
outside = OUTSIDE if values.later or _is_worker() else LASTING


def _end_struck(thread: int, task: Hashable) -> None:
    """A task has ended that was struck."""
    give_back(thread, task)
    relay = sys.modules.get("_interpool_relay")
    if relay is not None:
        relay.give_back(task)


gate.endings.append(_end_struck)
if _is_worker():
    # Not at the end of its loop: threads that tasks have started go on, and what they hold is
    # theirs until they end. The interpreter waits for them before it comes to this.
    atexit.register(give_back)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)


# --- Cores ---------------------------------------------------------------------------------------


class Units(Held):
    """A semaphore, or a lock, which is one of one unit."""

    _tickets: dict[tuple[int, Hashable], int]  # of holders in this interpreter

    def __init__(self, kind: int, count: int) -> None:
        """Make one of so many units, all of them free.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        super().__init__()
        self.words[KIND] = kind
        self.words[FREE] = self.words[TOTAL] = count

    def _adopt(self, memory: int, lock: bells.Bell) -> None:
        super()._adopt(memory, lock)
        self._tickets = {}

    def _name(self) -> str:
        return f"this {('Lock', 'Semaphore', 'BoundedSemaphore')[self.words[KIND]]}"

    # --- what others call ------------------------------------------------------------------------

    @gate.completed
    def release(self, count: int, who: int, task: Hashable) -> bool:
        """Give back units, to those who wait longest.

        Returns:
            False if it is a lock or a bounded semaphore, and would have more than in the beginning.
        """
        words = self.words
        with self:
            # What is promised nobody holds yet, so nobody can release it.
            is_full = words[FREE] + words[PROMISED] + count > words[TOTAL]
            if is_full and words[KIND] != SEMAPHORE:
                return False
            left = count
            while left and words[HELD]:
                left -= self._strike_off(self._place_for(who, task), left)
            self._give(count)
        return True

    def counts(self) -> tuple[int, int]:
        """How many units are free, and how many there were in the beginning."""
        return self.words[FREE], self.words[TOTAL]

    def give_back(self, who: int | None, task: Hashable) -> None:
        """Give back the units of holders in this interpreter."""
        words = self.words
        with self:
            for key, ticket in [*self._tickets.items()]:
                place = self._place_of(ticket)
                if place is None:  # another one has released them
                    self._forget(ticket)
                elif who in {None, key[0]} and task in {None, key[1]}:
                    self._give(self._strike_off(place, words[place + 1]))

    # --- the lock is held ------------------------------------------------------------------------

    def _take_free(self, _: int) -> bool:
        is_free: bool = self.words[FREE] > 0
        if is_free:
            self.words[FREE] -= 1
        return is_free

    def _take_promised(self) -> None:
        self.words[PROMISED] -= 1

    def _give(self, count: int) -> None:
        words = self.words
        served = self.serve(WAITERS, count)
        words[PROMISED] += served
        words[FREE] += count - served

    def _note(self, who: int, task: Hashable) -> None:
        """Note who holds the unit that was just taken."""
        words = self.words
        if words[FREE] + words[PROMISED] + words[HELD] >= words[TOTAL]:
            return  # it is a signal
        place = self._place_of(self._tickets.get((who, task)))
        if place is None:
            if words[HOLDERS] == _MOST_HOLDERS:
                return
            place = _TABLE + 2 * words[HOLDERS]
            words[HOLDERS] += 1
            words[TICKET] += 1
            words[place] = self._tickets[who, task] = words[TICKET]
            words[place + 1] = 0
        words[place + 1] += 1
        words[HELD] += 1
        if task != LASTING:
            self._keep()

    def _place_of(self, ticket: int | None) -> int | None:
        """Where a ticket is in the table, if it is."""
        tickets = self.words[_TABLE : _TABLE + 2 * self.words[HOLDERS]].tolist()[::2]
        return _TABLE + 2 * tickets.index(ticket) if ticket in tickets else None

    def _place_for(self, who: int, task: Hashable) -> int:
        """Of whose units those are that somebody releases."""
        others = [key for key in self._tickets if key[0] == who]
        for key in ((who, task), *others):
            place = self._place_of(self._tickets.get(key))
            if place is not None:
                return place
        return _TABLE

    def _strike_off(self, place: int, count: int) -> int:
        """Take units off an entry of the table, so many at the most; return how many."""
        words = self.words
        taken: int = min(count, words[place + 1])
        words[place + 1] -= taken
        words[HELD] -= taken
        if not words[place + 1]:
            ticket = words[place]
            end = _TABLE + 2 * words[HOLDERS]
            words[place : end - 2] = words[place + 2 : end]
            words[HOLDERS] -= 1
            self._forget(ticket)
        return taken

    def _forget(self, ticket: int) -> None:
        for key, its in [*self._tickets.items()]:
            if its == ticket:
                del self._tickets[key]
        if not self._tickets:
            _held.discard(self)


class Owned(Held):
    """A lock that its owner may acquire again."""

    # Of each time that its owner has acquired it, which task did; empty if that is elsewhere.
    _tasks: list[Hashable]

    def _adopt(self, memory: int, lock: bells.Bell) -> None:
        super()._adopt(memory, lock)
        self._tasks = []

    def _name(self) -> str:
        return "this RLock"

    # --- what others call ------------------------------------------------------------------------

    @gate.completed
    def release(self, count: int, who: int, task: Hashable) -> bool:  # noqa: ARG002 - as of units
        """Give it back once; return False if it is not `who` that holds it."""
        with self:
            if not self._is_of(who):
                return False
            self._drop(self._tasks[:-1])
        return True

    def counts(self) -> tuple[int, int]:
        """How often it was acquired, and by whom: 0 if by nobody, less if it has been promised."""
        return self.words[DEPTH], self.words[OWNER]

    def give_back(self, who: int | None, task: Hashable) -> None:
        """Give back what its owner has acquired, if that is in this interpreter."""
        with self:
            if self._tasks and who in {None, self.words[OWNER]}:
                self._drop([its for its in self._tasks if task not in {None, its}])

    # --- the lock is held ------------------------------------------------------------------------

    def _is_of(self, who: int) -> bool:
        # Once a thread has ended, one of another interpreter may have its number.
        return bool(self._tasks) and self.words[OWNER] == who

    def _take_free(self, who: int) -> bool:
        return not self.words[OWNER] or self._is_of(who)

    def _take_promised(self) -> None:
        pass  # it stays promised until it is given or noted

    def _give(self, _: int) -> None:
        self.words[OWNER] = _PROMISED if self.serve(WAITERS, 1) else 0
        self.words[DEPTH] = 0
        _held.discard(self)

    def _note(self, who: int, task: Hashable) -> None:
        self.words[OWNER] = who
        self.words[DEPTH] += 1
        self._tasks.append(task)
        if task != LASTING:
            self._keep()

    def _drop(self, tasks: list[Hashable]) -> None:
        """Hold it only as often as these tasks have acquired it."""
        self._tasks = tasks
        self.words[DEPTH] = len(tasks)
        if not tasks:
            self._give(1)
