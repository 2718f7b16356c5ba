"""Events and barriers between interpreters.

A barrier is in one of five states, four of them those of `threading`; in the fifth, `ACTING`, the
action runs without the lock, for it is a user's. Whoever was rung finds the state that was the
reason for it, for no next round begins before the last of them has left (`DRAINING`, `RESETTING`):
who comes early waits at the entry.
"""

import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self

    from interpool._inside import gate, handles, locks, sharing, values
else:
    import _interpool_gate as gate
    import _interpool_values as values

    sharing = values.module_inside("sharing")
    handles = values.module_inside("handles")
    locks = values.module_inside("locks")

sys.modules["_interpool_events"] = sys.modules["interpool._inside.events"]
__name__ = "_interpool_events"

# The number of an event.
IS_SET = 0

# Numbers of a barrier: how many parties it takes, how many are in it, its state; who acts.
PARTIES, COUNT, STATE, ACTOR = range(4)
FILLING, ACTING, DRAINING, RESETTING, BROKEN = range(5)
# Lines. Those of events are in the first.
WAITERS, ENTRY = range(2)

# What `Round.arrive` returns beside the place of who came: to it falls the action; it was broken.
ACT, FAILED = -1, -2


class Flag(sharing.Primitive):
    """An event."""

    REMOTE = frozenset({"is_set", "set", "clear", "wait"})  # what worker processes may call

    def _name(self) -> str:
        return "this Event"

    def is_set(self) -> bool:
        """Whether it is set."""
        return bool(self.words[IS_SET])

    def set(self) -> None:
        """Set it, and let all who wait go on."""
        with self:
            self.words[IS_SET] = 1
            self.serve(WAITERS, self.waiting(WAITERS))

    def clear(self) -> None:
        """Set it no more."""
        with self:
            self.words[IS_SET] = 0

    def wait(self, wait: float | None) -> bool:
        """Wait until it is set; return whether it was, in so many seconds (None: any number)."""
        deadline = sharing.deadline_of(wait)
        with self:
            if self.words[IS_SET]:
                return True
            if wait == 0:
                return False
            is_served, error = self.wait_in(WAITERS, deadline)
            if error is not None:
                raise error
        return is_served


class Round(sharing.Primitive):
    """A barrier, but for its action."""

    # What worker processes may call, and what undoes it (`relay`).
    REMOTE = frozenset({"arrive", "finish", "reset", "abort", "counts", "release_all"})
    UNDO: ClassVar[dict[str, Callable[..., object]]] = {
        "arrive": lambda core, _, place: place == ACT and core.finish(False)  # noqa: FBT003
    }

    def __init__(self, parties: int) -> None:
        """Make one for so many.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        super().__init__()
        self.words[PARTIES] = parties

    def _name(self) -> str:
        return "this Barrier"

    # --- what others call ------------------------------------------------------------------------

    def arrive(self, wait: float | None, acts: bool, who: int) -> int:
        """Wait for the other parties; return the place in which this one came, or `FAILED`.

        Args:
            wait: seconds to wait at the most; None: as long as it takes.
            acts: whether there is something to do when all are there. To the last one `ACT` is
                returned then, and it calls `finish` afterwards, whatever becomes of it.
            who: the number of the thread that this is.
        """
        deadline = sharing.deadline_of(wait)
        place = FAILED
        try:
            with self:
                place = self._arrive(deadline, acts, who)
        except BaseException:
            if place == ACT:
                self.finish(is_done=False)
            raise
        return place

    @gate.completed
    def finish(self, is_done: bool) -> bool:
        """The action is done, or was not to be done; return whether the others go on."""
        with self:
            if self.words[STATE] == ACTING:
                if is_done:
                    self._open()
                else:
                    self._break()
            return self._leave()

    def release_all(self, who: int) -> None:
        """A thread of a worker process has ended: if it was to act, it will not do so any more."""
        if self.words[STATE] == ACTING and self.words[ACTOR] == who:
            self.finish(is_done=False)

    def reset(self) -> None:
        """Let those who wait fail, and begin anew."""
        words = self.words
        with self:
            if not words[COUNT]:
                words[STATE] = FILLING
                self._serve_all(ENTRY)
            elif words[STATE] != DRAINING:
                words[STATE] = RESETTING
                self._serve_all(WAITERS)

    def abort(self) -> None:
        """Let those who wait fail, and all who come."""
        with self:
            self._break()

    def counts(self) -> tuple[int, int, bool]:
        """How many parties it takes, how many wait for the others, and whether it is broken."""
        parties, count, state = self.words[: STATE + 1].tolist()
        return parties, count if state in {FILLING, ACTING} else 0, state == BROKEN

    # --- the lock is held ------------------------------------------------------------------------

    def _arrive(self, deadline: float | None, acts: bool, who: int) -> int:
        words = self.words
        while words[STATE] in {ACTING, DRAINING, RESETTING}:
            try:
                self._wait(ENTRY, deadline)
            except BaseException:
                self._break()
                raise
        if words[STATE] == BROKEN:
            return FAILED
        place: int = words[COUNT]
        words[COUNT] += 1
        if words[COUNT] < words[PARTIES]:
            try:
                self._wait(WAITERS, deadline)
            finally:
                is_over = self._leave()
            return place if is_over else FAILED
        if acts:
            words[STATE], words[ACTOR] = ACTING, who
            return ACT
        self._open()
        self._leave()
        return place

    def _wait(self, line: int, deadline: float | None) -> None:
        """Wait in a line. The others would wait for ever for one that does so no more."""
        is_served = False
        try:
            is_served, error = self.wait_in(line, deadline)
            if error is not None:
                raise error
        finally:
            if not is_served:
                self._break()

    def _open(self) -> None:
        self.words[STATE] = DRAINING
        self._serve_all(WAITERS)

    def _break(self) -> None:
        self.words[STATE] = BROKEN
        self._serve_all(WAITERS)
        self._serve_all(ENTRY)

    def _leave(self) -> bool:
        """One is in it no more; return whether it leaves because all were there."""
        words = self.words
        is_over: bool = words[STATE] == DRAINING
        words[COUNT] -= 1
        if not words[COUNT] and words[STATE] in {DRAINING, RESETTING}:
            words[STATE] = FILLING
            self._serve_all(ENTRY)
        return is_over

    def _serve_all(self, line: int) -> None:
        self.serve(line, self.waiting(line))


# --- What users see ------------------------------------------------------------------------------


class Event(handles.Handle):
    """Something that has happened or not, between all workers of a pool and its owner.

    The interface is that of `threading.Event`. Handed to a task as an argument, or as a global that
    it uses: it is the same event everywhere. Whoever waits is woken, without polling.

    All methods may be called from any thread of any worker. A task that is interrupted while it
    waits is interrupted at once. Keep the event where it was made for as long as others need it.
    """

    __slots__ = ()

    _kind = Flag

    def __init__(self) -> None:
        """Make one that is not set.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        self._core = handles.make(Flag)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._core.is_set()  # type: ignore[no-any-return]

    def set(self) -> None:
        """Set it: whoever waits goes on, and nobody waits until `clear`."""
        self._core.set()

    def clear(self) -> None:
        """Set it no more: whoever comes waits."""
        self._core.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it was, in time.

        Args:
            timeout: seconds to wait at the most; None: as long as it takes.
        """
        return self._core.wait(locks.seconds(timeout))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Say what it is and whether it is set."""
        return f"<interpool.Event, {'set' if self.is_set() else 'unset'}>"


class Barrier(handles.Handle):
    """A place at which so many wait for each other, in whichever workers of a pool.

    The interface is that of `threading.Barrier`. Handed to a task as an argument, or as a global
    that it uses: it is the same barrier everywhere. The action goes along, as a function does that
    a task is handed: where it runs, in the worker of whoever came last, it is a copy.

    All methods may be called from any thread of any worker. A task that is interrupted while it
    waits here **breaks** the barrier, unless all were there by then: the others, which would wait
    for it for ever, get `threading.BrokenBarrierError`. Keep the barrier where it was made for as
    long as others need it.
    """

    __slots__ = ("_action", "_timeout")

    _kind = Round

    def __init__(
        self,
        parties: int,
        action: "Callable[[], object] | None" = None,
        timeout: float | None = None,
    ) -> None:
        """Make one.

        Args:
            parties: how many wait for each other.
            action: what the last one calls before any goes on.
            timeout: seconds that `wait` waits at the most if it is not told; None: as long as it
                takes.

        Raises:
            ValueError: if `parties` is less than 1, or more than can wait.
            OSError: if the system has no memory or no descriptors for it.
        """
        if parties < 1:
            message = "parties must be >= 1"
            raise ValueError(message)
        if parties > sharing.LINE:
            message = f"parties must be <= {sharing.LINE}"
            raise ValueError(message)
        self._core = handles.make(Round, parties)
        self._action = action
        self._timeout = locks.seconds(timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all are there; return a number from 0 to `parties` - 1, each to one of them.

        Args:
            timeout: seconds to wait at the most, None for those that the barrier was made with. If
                that is not enough, the barrier is broken.

        Raises:
            threading.BrokenBarrierError: if it is broken or reset, before or while it waits.
            BaseException: what the action raises; that breaks the barrier.
        """
        wait = self._timeout if timeout is None else locks.seconds(timeout)
        place = self._core.arrive(wait, self._action is not None, handles.who())
        if place == ACT:
            # No call before the `try`: no strike may land in between.
            is_done = False
            try:
                self._action()  # type: ignore[misc]
                is_done = True
            finally:
                is_over = self._core.finish(is_done)
            place = self.parties - 1 if is_over else FAILED
        if place < 0:
            from threading import BrokenBarrierError

            raise BrokenBarrierError
        return place  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Let those who wait fail with `threading.BrokenBarrierError`, and begin anew."""
        self._core.reset()

    def abort(self) -> None:
        """Break it: those who wait, and all who come, fail until `reset`."""
        self._core.abort()

    @property
    def parties(self) -> int:
        """How many wait for each other."""
        return self._core.counts()[0]  # type: ignore[no-any-return]

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        return self._core.counts()[1]  # type: ignore[no-any-return]

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._core.counts()[2]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Say what it is and how many have come."""
        parties, count, is_broken = self._core.counts()
        come = "broken" if is_broken else f"waiters={count}/{parties}"
        return f"<interpool.Barrier, {come}>"

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        core, action, timeout = state
        made = super()._of_state(core)
        made._action, made._timeout = action, timeout
        return made


def _reduce_barrier(barrier: Barrier, is_kept: bool) -> Any:
    state = barrier._core.state(is_kept=is_kept), barrier._action, barrier._timeout
    return values.make_handle, ("events", "Barrier", state)


Event.__module__ = Barrier.__module__ = "interpool"
handles.register(Event, "events")
values.HANDLES[Barrier] = _reduce_barrier
