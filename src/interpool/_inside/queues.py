"""Queues between interpreters.

A queue is a ring of bytes in shared memory, behind the numbers of a `sharing.Primitive`. It
guarantees, beside what holds of every primitive:

* **An item is taken once**, in the order in which items were put. A `get` that is interrupted,
  while it waits or while it loads the item, leaves it in its place at the front.
* **Memory follows what waits.** The ring grows by doubling, and is small again when it is empty.
  Nothing is left to pending calls (cp#118302), whatever the rates of both sides.
* **Fair.** What is put goes to whoever has waited longest; a place that becomes free, too.

An item is a length of 8 bytes and what `encode` makes: marshal of a plain value, a pickle, or
marshal of a context and the pieces of a pickle.
"""

import marshal
import mmap
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, ClassVar, Self

    from interpool._inside import channels, sharing, values
else:
    import _interpool_channels as channels
    import _interpool_values as values

    sharing = values.module_inside("sharing")

sys.modules["_interpool_queues"] = sys.modules["interpool._inside.queues"]
__name__ = "_interpool_queues"

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


class Core(sharing.Primitive):
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


# --- Items in bytes ------------------------------------------------------------------------------

_PICKLE = 0x80  # what a pickle begins with, and marshal never does

_pickler: Any = None


class _Beyond(Exception):  # noqa: N818 - it is no error
    """There is more in an item than what a pickle has opcodes for."""


def _make_pickler() -> Any:
    global _pickler  # noqa: PLW0603 - a class made when first needed, for it needs `_pickle`
    import _pickle

    class Pickler(_pickle.Pickler):
        def reducer_override(self, _: Any) -> Any:
            raise _Beyond

    _pickler = Pickler
    return Pickler


class _Written:
    """A file for a pickle of one piece or more."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)


def encode(obj: Any) -> bytes:
    """Encode an item, so that every interpreter of the process can load it.

    Raises:
        TransferError: if it cannot be sent.
    """
    if type(obj) in values.PLAIN_TYPES:
        return marshal.dumps(obj)
    written = _Written()
    try:
        (_pickler or _make_pickler())(written, 5).dump(obj)
        return b"".join(written.pieces)
    except _Beyond:
        pass
    from interpool import _pickling

    try:
        context, segments, _ = _pickling.parcel(obj, is_kept=False)
        return marshal.dumps((context, segments))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from interpool import _anatomy

        raise _anatomy.refusal(error, obj, "the item", "argument", of=" of a Queue") from error


def decode(data: bytes) -> Any:
    """Load an item.

    Raises:
        TransferError: if it does not load here.
    """
    found: Any = values.NO_CONTEXT, [data]
    if data[0] != _PICKLE:
        found = marshal.loads(data)
        if type(found) is not tuple:
            return found
    try:
        return values.unpickle(data) if data[0] == _PICKLE else values.load(*found)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from interpool import _salvage
        from interpool._errors import TransferError

        context, segments = found
        path, *rest = _salvage.culprit_of(error, context, segments, _salvage.whole)
        raise TransferError.of_loading("item", f"the item{path} of a Queue", *rest) from error


# --- What users see ------------------------------------------------------------------------------


class Queue:
    """A queue between all workers of a pool, in interpreters and in processes, and its owner.

    First in, first out; whoever waits longest is served first. Handed to a task as an argument, or
    as a global that it uses, and everything else that goes to a task or comes back: it is the same
    queue everywhere. An item is copied; anything can be one that can be a task's argument.

    Like `queue.Queue` where that and `concurrent.interpreters.Queue` agree, and unlike the latter
    it waits without polling (cp#143017), for any time, and can be shut down.

    All methods may be called from any thread of any worker. A task that is interrupted while it
    waits here is interrupted at once; no item gets lost by that, nor does any other waiter have to
    wait for it. Ctrl-C ends a wait of the main thread.

    Memory for what waits is the kernel's; the last one that has the queue frees it. Keep it where
    it was made for as long as others need it, or in a task that is not done.
    """

    __slots__ = ("__weakref__", "_core")

    def __init__(self, maxsize: int = 0) -> None:
        """Make a queue.

        Args:
            maxsize: how many items it may hold, beyond which `put` waits; 0 or less: any number.

        Raises:
            OSError: if the system has no memory or no descriptors for it.
            TypeError: if `maxsize` is no integer.
        """
        size = maxsize.__index__() if hasattr(maxsize, "__index__") else None
        if size is None:
            message = f"maxsize is to be an integer, not {type(maxsize).__name__}"
            raise TypeError(message)
        self._core: Any = sharing.make(Core, max(size, 0))

    # --- putting ---------------------------------------------------------------------------------

    def put(self, obj: object, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, waiting for room if the queue is full.

        Args:
            obj: the item. What it is now goes: what is changed later does not.
            block: whether to wait.
            timeout: seconds to wait at the most; None: as long as it takes.

        Raises:
            TransferError: if the item cannot be sent.
            queue.Full: if there was no room in time.
            queue.ShutDown: if the queue is shut down, before or while it waits.
            ValueError: if the timeout is negative.
        """
        done = self._core.put([encode(obj)], _wait_of(block, timeout))
        if done < 1:
            raise _shut_down() if done else _full()

    def put_nowait(self, obj: object) -> None:
        """Put an item if there is room now.

        Raises:
            TransferError: if the item cannot be sent.
            queue.Full: if there is none.
            queue.ShutDown: if the queue is shut down.
        """
        self.put(obj, block=False)

    def put_many(self, objs: "Iterable[object]", timeout: float | None = None) -> None:
        """Put items in their order: as many at once as there is room for.

        Much faster than one by one. Others may put theirs in between where it has to wait for room.

        Args:
            objs: the items; all are encoded before the first is put.
            timeout: seconds to wait for room at the most; None: as long as it takes.

        Raises:
            TransferError: if an item cannot be sent; then none is put.
            queue.Full: if there was no room for all in time; `args[0]` says how many were put.
            queue.ShutDown: if the queue is shut down, before or while it waits; `args[0]` says how
                many were put.
            ValueError: if the timeout is negative.
        """
        items = [encode(obj) for obj in objs]
        if not items:
            return
        done = self._core.put(items, _wait_of(block=True, timeout=timeout))
        if done < len(items):
            is_shut = self._core.counts()[2]
            raise _shut_down(max(done, 0)) if is_shut else _full(done)

    # --- getting ---------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> "Any":
        """Take the first item, waiting for one if there is none.

        Args:
            block: whether to wait.
            timeout: seconds to wait at the most; None: as long as it takes.

        Raises:
            queue.Empty: if there was none in time.
            queue.ShutDown: if the queue is shut down and empty, before or while it waits.
            TransferError: if the item cannot be loaded here. It is lost.
            ValueError: if the timeout is negative.
        """
        found: list[bytes] | None = []
        try:
            found = self._core.get(1, _wait_of(block, timeout))
            if found:
                return decode(found[0])
        except BaseException as error:
            if found and not _is_of_loading(error):
                self._core.unget(found)
            raise
        raise _shut_down() if found is None else _empty()

    def get_nowait(self) -> "Any":
        """Take the first item if there is one now.

        Raises:
            queue.Empty: if there is none.
            queue.ShutDown: if there is none and the queue is shut down.
            TransferError: if the item cannot be loaded here. It is lost.
        """
        return self.get(block=False)

    def get_many(self, most: int, timeout: float | None = None) -> "list[Any]":
        """Take the items that there are, up to a number; wait for the first one if there is none.

        Args:
            most: how many to take at the most, at least 1.
            timeout: seconds to wait for the first one; None: as long as it takes.

        Raises:
            queue.Empty: if there was none in time.
            queue.ShutDown: if the queue is shut down and empty, before or while it waits.
            TransferError: if an item cannot be loaded here. It is lost; the others are put back.
            ValueError: if `most` is less than 1, or the timeout negative.
        """
        if most < 1:
            message = f"most is to be at least 1, not {most!r}"
            raise ValueError(message)
        found: list[bytes] | None = []
        loaded: list[Any] = []
        try:
            found = self._core.get(most, _wait_of(block=True, timeout=timeout))
            for item in found or ():
                loaded.append(decode(item))  # noqa: PERF401 - how many there are is asked below
        except BaseException as error:
            if found:
                if _is_of_loading(error):
                    del found[len(loaded)]
                self._core.unget(found)
            raise
        if not found:
            raise _shut_down() if found is None else _empty()
        return loaded

    def __iter__(self) -> "Iterator[Any]":
        """Take item after item, waiting for each, until the queue is shut down and empty."""
        return self

    def __next__(self) -> "Any":
        """Take the first item, waiting for one."""
        try:
            return self.get()
        except Exception as error:
            if type(error).__name__ == "ShutDown":
                raise StopIteration from None
            raise

    # --- looking ---------------------------------------------------------------------------------

    @property
    def maxsize(self) -> int:
        """How many items it may hold; 0: any number."""
        size: int = self._core.counts()[1]
        return size

    @property
    def is_shutdown(self) -> bool:
        """Whether it is shut down."""
        is_shut: bool = self._core.counts()[2]
        return is_shut

    def qsize(self) -> int:
        """How many items there are now: others may put and take meanwhile."""
        count: int = self._core.counts()[0]
        return count

    def empty(self) -> bool:
        """Whether there is none now."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether there is no room now."""
        count, most, _ = self._core.counts()
        return bool(0 < most <= count)

    # --- ending ----------------------------------------------------------------------------------

    def shutdown(self, immediate: bool = False) -> None:
        """Take no more items: `put` raises from now on, `get` when the queue is empty.

        Whoever waits is woken. May be called again.

        Args:
            immediate: drop the items that are there.
        """
        self._core.shut(bool(immediate))

    def __eq__(self, other: object) -> bool:
        """Whether it is the same queue."""
        if not isinstance(other, Queue):
            return NotImplemented
        mine, theirs = self._core.identity, other._core.identity
        return bool(mine == theirs)

    def __hash__(self) -> int:
        """Of the queue, in whichever interpreter."""
        return hash(self._core.identity)

    def __repr__(self) -> str:
        """Say what it is and what is in it."""
        count, most, is_shut = self._core.counts()
        bound = f", maxsize={most}" if most else ""
        return (
            f"<interpool.Queue of {count} item{'s'[: count != 1]}{bound}{', shut down' * is_shut}>"
        )

    def __reduce__(self) -> Any:
        """Refuse: where nobody knows the process, its descriptors mean nothing."""
        raise sharing.unpicklable(self)

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        made = cls.__new__(cls)
        made._core = sharing.of_state(Core, state, cls.__name__)
        return made


Queue.__module__ = "interpool"
sharing.register(Queue, "queues")


def _wait_of(block: bool, timeout: float | None) -> float | None:
    """Seconds to wait; None for as long as it takes."""
    if not block:
        return 0.0
    if timeout is not None and not timeout >= 0:
        message = f"'timeout' must be a non-negative number, not {timeout!r}"
        raise ValueError(message)
    return timeout


def _is_of_loading(error: BaseException) -> bool:
    """Whether an item could not be loaded. If not, something came in between, and it can be yet."""
    return type(error).__name__ == "TransferError"


def _empty() -> Exception:
    import _queue

    # Whoever catches the class of `concurrent.interpreters` has imported it; it is an Empty, too.
    return getattr(_theirs(), "QueueEmpty", _queue.Empty)()


def _full(*args: object) -> Exception:
    import queue

    return getattr(_theirs(), "QueueFull", queue.Full)(*args)


def _theirs() -> Any:
    return sys.modules.get("concurrent.interpreters._queues")


def _shut_down(*args: object) -> Exception:
    import queue

    return queue.ShutDown(*args)
