"""What interpreters share beside tasks: memory, a lock on it, and lines to wait in.

Queues, locks and their like are a few numbers in shared memory, which whoever holds the lock may
change. It guarantees:

* **No lock is left held, and nothing half done.** Between `enter` and `leave` nothing of a user's
  runs, no strike lands (`gate.shield`) and no signal's handler (`interpool._interrupts`).
* **Nobody polls, and no wake-up is lost.** Who has to wait puts its bell at the end of a line, lets
  go of the lock and sleeps until the bell is rung. Who has something to give takes the first bell
  out of the line and rings it, both under the lock. So a thread knows when it holds the lock again
  whether it was given something: its bell has left the line, whatever woke it, be it a strike, its
  time limit or a ring that was meant for another wait.
* **Whoever waits longest is served first**, and what is given to it nobody else can take: that is
  noted under the same lock (`words`), and given on by who has no use for it any more.
* **Nothing dangles.** The memory is the kernel's (`memfd_create`), and each interpreter has its own
  descriptors and its own mapping of it; it goes with the last of them.

Worker processes have no part in this: the main process does it for them (`relay`).

It assumes that all descriptors are of one process, in which a number means the same everywhere.
"""

import _thread
import _weakref
import mmap
import os
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any, Self

    from interpool._inside import bells, descriptors, gate
else:
    import _interpool_gate as gate
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")
    bells = values.module_inside("bells")

sys.modules["_interpool_sharing"] = sys.modules["interpool._inside.sharing"]
__name__ = "_interpool_sharing"

# Bytes of a primitive's numbers and lines: whole pages, what follows can be mapped by itself.
HEADER = 1 << 14
_WORDS = HEADER // 8
# Numbers before the lines, and threads that fit into one of the two lines.
OWN_WORDS = 32
LINE = (_WORDS - OWN_WORDS) // 2


# --- What is shared ------------------------------------------------------------------------------

type State = tuple[int, int, int, int, descriptors.Identity, descriptors.Identity, bool]
"""Of a primitive on its way to another interpreter: the process; the descriptors of its memory and
of both ends of its lock; the identities of the first two; whether they are the receiver's to close.
"""

# Those of this interpreter, by the identity of their memory: one each, whatever comes in how often.
_known: dict[tuple[type, descriptors.Identity], _weakref.ref[Any]] = {}
# How many forks this process is away from the one that began.
_generation = 0


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - the state of this module
    _generation += 1
    _known.clear()
    bells.forget()
    gate.bells.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Primitive:
    """Numbers in memory that several interpreters see, a lock on them, and two lines to wait in.

    Attributes:
        words: the numbers, of 8 bytes each. Those of a subclass come first; then the lines, each
            with how many bells it has and the bells.
    """

    words: memoryview

    def __init__(self, nbytes: int = 0) -> None:
        """Make a new one, with so many more bytes behind its numbers.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        shielded = shield()  # nothing may come between a descriptor and who closes it
        try:
            lock = bells.Bell(1, is_semaphore=True)
            self._adopt(descriptors.create_memory(HEADER + nbytes), lock)
        finally:
            lift(shielded)

    def _adopt(self, memory: int, lock: bells.Bell) -> None:
        self._own = descriptors.Descriptor(memory)
        self._memory = memory
        self._lock = lock
        self._identity = descriptors.identity_of(memory)
        self._generation = _generation
        self.words = memoryview(mmap.mmap(memory, HEADER, trackfd=False)).cast("q")
        self._holder = 0  # the thread of this interpreter that holds the lock
        self._shielded: Any = None  # what it gives back when it lets go
        self._due: list[int] = []  # bells that it has to ring before
        key = type(self), self._identity

        def forget(reference: _weakref.ref[Any]) -> None:
            if _known.get(key) is reference:
                del _known[key]

        _known[key] = _weakref.ref(self, forget)

    # --- on the way ------------------------------------------------------------------------------

    def state(self, *, is_kept: bool) -> State:
        """What another interpreter needs to see the same.

        Args:
            is_kept: whether this one lives until that has arrived. Otherwise the state holds
                descriptors of its own, which are closed by who loads it.
        """
        memory, out, into = self._memory, self._lock.out, self._lock.into
        if not is_kept:
            memory, out, into = os.dup(memory), os.dup(out), os.dup(into)
        identities = self._identity, descriptors.identity_of(out)
        return os.getpid(), memory, out, into, *identities, not is_kept

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return this interpreter's own of what another one has sent.

        Raises:
            Gone: if nobody has it any more.
            OSError: if there are no more descriptors.
        """
        _, memory, out, into, identity, lock_identity, is_given = state
        shielded = shield()
        try:
            reference = _known.get((cls, identity))
            found = None if reference is None else reference()
            if found is not None:
                return found  # type: ignore[no-any-return]
            made = cls.__new__(cls)
            lock = bells.Bell.__new__(bells.Bell)
            lock.out = descriptors.duplicate(out, lock_identity)
            lock.into = lock.out if into == out else os.dup(into)
            lock.size = 8 if hasattr(os, "eventfd") else 1
            made._adopt(descriptors.duplicate(memory, identity), lock)
            return made
        finally:
            try:
                if is_given:
                    _close_given({memory: identity, out: lock_identity, into: lock_identity})
            finally:
                lift(shielded)

    @property
    def identity(self) -> descriptors.Identity:
        """By which the same is known everywhere."""
        return self._identity

    # --- the lock --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        thread = _thread.get_ident()
        if self._generation != _generation:
            message = f"{self._name()} belongs to the process that this one was forked from"
            raise RuntimeError(message)
        if self._holder == thread:  # a finalizer, a signal's handler
            message = f"{self._name()} is in use by this very thread"
            raise RuntimeError(message)
        shielded = shield()
        try:
            os.read(self._lock.out, self._lock.size)
        except BaseException:
            lift(shielded)
            raise
        self._holder = thread
        self._shielded = shielded
        return self

    def __exit__(self, *_: object) -> None:
        shielded = self._unlock()
        lift(shielded)

    def _unlock(self) -> Any:
        """Let go of the lock; return what is still shielded."""
        # Before the lock is free: until then none of them can leave, and close its bell.
        for bell in self._due:
            os.write(bell, gate.ONE)
        self._due.clear()
        shielded, self._shielded = self._shielded, None
        self._holder = 0
        os.write(self._lock.into, gate.ONE[: self._lock.size])
        return shielded

    def _sleep(self, bell: bells.Bell, deadline: float | None) -> bool:
        """Sleep without the lock; only meanwhile a strike or Ctrl-C may come."""
        shielded = self._unlock()
        is_rung: bool
        try:
            if _is_of_main_thread(shielded):
                is_rung = shielded.let_through(bell.sleep, deadline)
            else:
                task, shielded = shielded, None
                gate.lift(task)
                is_rung = bell.sleep(deadline)
                shielded = None if task is None else gate.shield()
        finally:
            # No strike any more: there is one at the most, and it has come or has to wait again.
            os.read(self._lock.out, self._lock.size)
            self._holder = _thread.get_ident()
            self._shielded = shielded
        return is_rung

    def _name(self) -> str:
        return f"this {type(self).__name__}"

    # --- lines: the lock is held -----------------------------------------------------------------

    def wait_in(self, line: int, deadline: float | None) -> tuple[bool, BaseException | None]:
        """Wait at the end of a line, without the lock, until one's bell is rung.

        Returns:
            Whether the bell was taken out of the line; and what ended the wait if not the bell or
            the deadline: to be raised, once what came with the bell is given on.

        Raises:
            OSError: if there is no descriptor for a bell.
            RuntimeError: if the line is full.
        """
        words, start = self.words, OWN_WORDS + line * LINE
        if words[start] == LINE - 1:
            message = f"{LINE - 1} threads wait for {self._name()}, and there is no room for more"
            raise RuntimeError(message)
        bell = bells.take()
        words[start] += 1
        words[start + words[start]] = bell.into
        error: BaseException | None = None
        is_rung = is_over = False
        while not is_over:
            try:
                is_rung = self._sleep(bell, deadline)
            except BaseException as raised:
                error = raised
            is_over = not is_rung or error is not None or not self._is_in(start, bell.into)
            # If not, the ring was for a wait that was over before it came, or a strike's.
            is_rung = is_rung and is_over
        is_served = not self._take_out(start, bell.into)
        if is_served and not is_rung:
            bell.silence()
        bells.give(bell)
        return is_served, error

    def _is_in(self, start: int, bell: int) -> bool:
        return bell in self.words[start + 1 : start + 1 + self.words[start]].tolist()

    def _take_out(self, start: int, bell: int) -> bool:
        words = self.words
        count = words[start]
        line = words[start + 1 : start + 1 + count].tolist()
        if bell not in line:
            return False
        place = start + 1 + line.index(bell)
        words[place : start + count] = words[place + 1 : start + 1 + count]
        words[start] = count - 1
        return True

    def waiting(self, line: int) -> int:
        """How many wait in a line."""
        found: int = self.words[OWN_WORDS + line * LINE]
        return found

    def serve(self, line: int, most: int) -> int:
        """Take so many bells out of a line, the first ones, to be rung; return how many it were."""
        words, start = self.words, OWN_WORDS + line * LINE
        count = words[start]
        served = min(count, most)
        if served:
            self._due += words[start + 1 : start + 1 + served].tolist()
            words[start + 1 : start + 1 + count - served] = words[
                start + 1 + served : start + 1 + count
            ]
            words[start] = count - served
        return served


def _close_given(given: dict[int, descriptors.Identity]) -> None:
    """Close what came with a state, but not what has taken its numbers: a state may load twice."""
    for fd, identity in given.items():
        try:
            is_it = descriptors.identity_of(fd) == identity
        except OSError:
            continue
        if is_it:
            os.close(fd)


def deadline_of(wait: float | None) -> float | None:
    """The time of `time.monotonic` that is so many seconds away."""
    return None if wait is None else time.monotonic() + wait


# --- What may not come in between ----------------------------------------------------------------


def shield() -> Any:
    task = gate.shield()
    if task is not None:
        return task
    if _thread.get_ident() != _MAIN:
        return None
    global _deferred  # noqa: PLW0603 - imported where it is needed: in the main interpreter
    if _deferred is object:
        from interpool._interrupts import DeferredAll

        _deferred = DeferredAll
    return _deferred().__enter__()


_MAIN = _thread._get_main_thread_ident()  # type: ignore[attr-defined]  # typeshed
_deferred: Any = object  # of which nothing that is shielded is, until it is known


def lift(shielded: Any) -> None:
    if _is_of_main_thread(shielded):
        shielded.__exit__()
    else:
        gate.lift(shielded)


def _is_of_main_thread(shielded: Any) -> bool:
    """Whether it is signals that have to wait, and not a strike: see `shield`."""
    return type(shielded) is _deferred
