"""What queues between interpreters are made of: rings of bytes in shared memory.

A ring is behind the numbers of a `sharing.Primitive`. It guarantees, beside what holds of every
primitive:

* **An item is taken once**, in the order in which items were put. A `get` that is interrupted while
  it waits leaves it in its place at the front; one that is interrupted later puts it back there.
* **Memory follows what waits.** The ring grows by doubling, and is small again when it is empty.
  Nothing is left to pending calls (cp#118302), whatever the rates of both sides.
* **Fair.** What is put goes to whoever has waited longest; a place that becomes free, too.

An item is a length of 8 bytes, and bytes of which nothing is known here (`queues`).
"""

import mmap
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, ClassVar

    from interpool._inside import channels, sharing
else:
    import _interpool_channels as channels
    import _interpool_values as values

    sharing = values.module_inside("sharing")

sys.modules["_interpool_rings"] = sys.modules["interpool._inside.rings"]
__name__ = "_interpool_rings"

# The numbers of a queue: the most items it may hold, 0 for any number; those that it holds, of
# which some are for getters that have been rung; places that are for putters that have been rung;
# where the first item begins, how many bytes all take, and how many there is room for; whether it
# is shut down.
MAXSIZE, COUNT, GRANTED, RESERVED, HEAD, USED, CAPACITY, IS_SHUT = range(8)
# Lines.
GETTERS, PUTTERS = range(2)

# Bytes of a ring that is empty; twice as many to be small again. What fits saves growing; some
# thousand small items do. Pages that are not written to take no memory.
SMALL = 1 << 16
_LENGTH = 8


class Ring(sharing.Primitive):
    """A queue of bytes, without regard of what they mean."""

    # What worker processes may call, and what undoes it (`relay`).
    REMOTE = frozenset({"put", "get", "unget", "counts", "shut"})
    UNDO: ClassVar[dict[str, Callable[..., object]]] = {
        "get": lambda core, _, found: found and core.unget(found)
    }

    def __init__(self, maxsize: int) -> None:
        """Make one of so many items at the most; 0: of any number.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
        """
        super().__init__(SMALL)
        self.words[MAXSIZE] = maxsize
        self.words[CAPACITY] = SMALL

    def _name(self) -> str:
        return "this Queue"

    # --- what others call ------------------------------------------------------------------------

    def put(self, items: Sequence[bytes], wait: float | None) -> int:
        """Put items, in their order; return how many were, -1 if none was for it is shut down.

        Args:
            items: the items.
            wait: seconds to wait for room, for each that has to; None: as long as it takes.
        """
        words = self.words
        done, count = 0, len(items)
        deadline = sharing.deadline_of(wait)
        is_served = False
        with self:
            while True:
                if words[IS_SHUT]:
                    return done or -1
                room = self._room_for(count - done, is_served=is_served)
                if room:
                    done += self._append(items[done : done + room])
                if done == count or wait == 0:
                    return done
                is_served, error = self.wait_in(PUTTERS, deadline)
                if error is not None:
                    if is_served and not words[IS_SHUT]:
                        words[RESERVED] -= 1
                        self._offer_room()
                    raise error
                if not is_served:
                    return done

    def get(self, most: int, wait: float | None) -> list[bytes] | None:
        """Take so many items at the most, at least one; none if time is up; None if it is shut."""
        deadline = sharing.deadline_of(wait)
        found: list[bytes] | None = []
        if wait != 0 and not self.words[COUNT]:
            # Who is about to put may be waiting for this core: a question and its answer then take
            # a third less, for nobody has to be woken.
            channels.give_way()
        try:
            with self:
                found = self._get(most, wait, deadline)
        except BaseException:  # of a strike or a signal, as soon as the lock was free
            if found:
                self.unget(found)
            raise
        return found

    def _get(self, most: int, wait: float | None, deadline: float | None) -> list[bytes] | None:
        words = self.words
        is_served = False
        while True:
            if words[IS_SHUT]:
                return self._take(most) or None
            if is_served:
                words[GRANTED] -= 1
            free = words[COUNT] - words[GRANTED]
            if free > 0:
                found = self._take(min(most, free))
                self._offer_room()
                return found
            if wait == 0:
                return []
            is_served, error = self.wait_in(GETTERS, deadline)
            if error is not None:
                if is_served and not words[IS_SHUT]:
                    words[GRANTED] -= 1
                    self._offer_items()
                raise error
            if not is_served:
                return []

    def unget(self, items: Sequence[bytes]) -> None:
        """Put items back to where they were taken from."""
        with self:
            self._prepend(items)
            self._offer_items()

    def counts(self) -> tuple[int, int, bool]:
        """How many items there are, how many there may be, and whether it is shut down."""
        words = self.words
        return words[COUNT], words[MAXSIZE], bool(words[IS_SHUT])

    def shut(self, is_immediate: bool) -> None:
        """Take no more items; drop those that are there, if that is wanted."""
        words = self.words
        with self:
            words[IS_SHUT] = 1
            words[GRANTED] = words[RESERVED] = 0
            if is_immediate:
                words[COUNT] = words[USED] = 0
                self._shrink()
            self.serve(GETTERS, self.waiting(GETTERS))
            self.serve(PUTTERS, self.waiting(PUTTERS))

    # --- the lock is held ------------------------------------------------------------------------

    def _offer_items(self) -> None:
        """Give items that nobody has been rung for to those that wait."""
        words = self.words
        if not words[IS_SHUT]:
            words[GRANTED] += self.serve(GETTERS, words[COUNT] - words[GRANTED])

    def _offer_room(self) -> None:
        """Give places that nobody has been rung for to those that wait."""
        words = self.words
        if words[MAXSIZE] and not words[IS_SHUT]:
            free = words[MAXSIZE] - words[COUNT] - words[RESERVED]
            words[RESERVED] += self.serve(PUTTERS, max(free, 0))

    def _room_for(self, wanted: int, *, is_served: bool) -> int:
        """How many of so many items may be put now, by one who was given a place, or was not."""
        words = self.words
        if is_served:
            words[RESERVED] -= 1
        if not words[MAXSIZE]:
            return wanted
        free = words[MAXSIZE] - words[COUNT] - words[RESERVED]
        return max(min(wanted, free), 1 if is_served else 0)

    def _append(self, items: Sequence[bytes]) -> int:
        """Put items behind the others; return how many."""
        words = self.words
        data = _framed(items)
        try:
            ring = self._ring(len(data))
        except BaseException:  # no memory for so much
            self._offer_room()  # to somebody else, who has less
            raise
        capacity = words[CAPACITY]
        _write(ring, (words[HEAD] + words[USED]) % capacity, capacity, data)
        words[USED] += len(data)
        words[COUNT] += len(items)
        self._offer_items()
        return len(items)

    def _prepend(self, items: Sequence[bytes]) -> None:
        words = self.words
        data = _framed(items)
        ring = self._ring(len(data))
        capacity = words[CAPACITY]
        head = (words[HEAD] - len(data)) % capacity
        _write(ring, head, capacity, data)
        words[HEAD] = head
        words[USED] += len(data)
        words[COUNT] += len(items)

    def _take(self, most: int) -> list[bytes]:
        words = self.words
        ring = self._ring(0)
        head, capacity = words[HEAD], words[CAPACITY]
        found = []
        taken = 0
        for _ in range(min(most, words[COUNT])):
            size = int.from_bytes(_read(ring, head, capacity, _LENGTH), "little")
            head = (head + _LENGTH) % capacity
            found.append(_read(ring, head, capacity, size))
            head = (head + size) % capacity
            taken += _LENGTH + size
        words[HEAD] = head
        words[USED] -= taken
        words[COUNT] -= len(found)
        if not words[COUNT]:
            self._shrink()
        return found

    _mapped: Any = None
    _mapped_size = 0

    def _ring(self, more: int) -> Any:
        """The ring, with room for so many more bytes."""
        words = self.words
        capacity = words[CAPACITY]
        needed = words[USED] + more
        if needed > capacity:
            self._grow(capacity, needed)
            capacity = words[CAPACITY]
        if self._mapped_size != capacity:
            self._mapped = mmap.mmap(self._memory, capacity, offset=sharing.HEADER, trackfd=False)
            self._mapped_size = capacity
        return self._mapped

    def _grow(self, capacity: int, needed: int) -> None:
        words = self.words
        wanted = capacity
        while wanted < needed:
            wanted *= 2
        # Memory is taken now, or refused now: a page that could not be had when it is written to
        # would be the end of the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._memory, sharing.HEADER + capacity, wanted - capacity)
        else:
            os.ftruncate(self._memory, sharing.HEADER + wanted)
        ring = mmap.mmap(self._memory, wanted, offset=sharing.HEADER, trackfd=False)
        wrapped = words[HEAD] + words[USED] - capacity
        if wrapped > 0:
            ring[capacity : capacity + wrapped] = ring[:wrapped]
        words[CAPACITY] = wanted
        self._mapped, self._mapped_size = ring, wanted

    def _shrink(self) -> None:
        words = self.words
        words[HEAD] = 0
        if words[CAPACITY] > 2 * SMALL:
            words[CAPACITY] = SMALL
            self._mapped, self._mapped_size = None, 0
            os.ftruncate(self._memory, sharing.HEADER + SMALL)


def _framed(items: Sequence[bytes]) -> bytes:
    parts = []
    for item in items:
        parts.append(len(item).to_bytes(_LENGTH, "little"))
        parts.append(item)
    return b"".join(parts)


def _write(ring: Any, start: int, capacity: int, data: bytes) -> None:
    end = start + len(data)
    if end <= capacity:
        ring[start:end] = data
    else:
        first = capacity - start
        ring[start:capacity] = data[:first]
        ring[: end - capacity] = data[first:]


def _read(ring: Any, start: int, capacity: int, size: int) -> bytes:
    end = start + size
    if end <= capacity:
        return ring[start:end]  # type: ignore[no-any-return]
    return ring[start:capacity] + ring[: end - capacity]  # type: ignore[no-any-return]
