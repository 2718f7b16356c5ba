"""Queues between interpreters, as users see them: their cores are in `rings`.

An item is what `encode` makes: marshal of a plain value, a pickle, or marshal of a context and the
pieces of a pickle. A `get` that is interrupted while it loads one puts it back where it was.
"""

import marshal
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from interpool._inside import handles, rings, values
else:
    import _interpool_values as values

    handles = values.module_inside("handles")
    rings = values.module_inside("rings")

sys.modules["_interpool_queues"] = sys.modules["interpool._inside.queues"]
__name__ = "_interpool_queues"


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


class Queue(handles.Handle):
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

    __slots__ = ()

    _kind = rings.Ring

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
        self._core = handles.make(rings.Ring, max(size, 0))

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

    def __repr__(self) -> str:
        """Say what it is and what is in it."""
        count, most, is_shut = self._core.counts()
        bound = f", maxsize={most}" if most else ""
        return (
            f"<interpool.Queue of {count} item{'s'[: count != 1]}{bound}{', shut down' * is_shut}>"
        )


Queue.__module__ = "interpool"
handles.register(Queue, "queues")


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
