"""What a stream's items go into, and their results come from: a lot, or futures of the threads."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as BaseFuture
from typing import TYPE_CHECKING, Any, Final

from interpool import _map, _routing
from interpool._codec import Call
from interpool._lots import Bell, Lot
from interpool._options import Options, Sizes, _check_callable, submit
from interpool.aio._calls import LONG, is_large

if TYPE_CHECKING:
    from interpool._future import Future

type Item = tuple[Any, ...]

# Pieces on their way for each worker, if the user does not say how much: one that runs, and some
# that wait while the loop has other things to do.
_AHEAD: Final = 4
# Items that are taken together at the most: encoding them takes a part of a millisecond, if they
# are small. Arbitrary.
_TOGETHER: Final = 128
# Items that are taken ahead at the most, if the user does not say how many. Arbitrary.
_MOST: Final = 10_000
# What most items are, and what never takes long to encode.
_SMALL: Final = frozenset({bool, bytes, complex, float, int, str, type(None)})


class Feed(ABC):
    """Where items go.

    Attributes:
        batch: how many items should be taken together.
        room: how many may be on their way, or wait to be taken.
    """

    batch: int
    room: int

    @abstractmethod
    def hold(self, items: list[Item]) -> None:
        """Take items, to be sent when they are worth it."""

    @abstractmethod
    def due(self, *, is_flush: bool = False) -> list[list[Item]]:
        """Give out what is to be sent now, one after the other.

        Args:
            is_flush: hold nothing back that makes up less than is worth it, unless the user has
                said how much goes together, and more will come.
        """

    @abstractmethod
    def complete(self) -> None:
        """Expect no more."""

    @abstractmethod
    def is_long(self, items: list[Item]) -> bool:
        """Whether sending these may take long, by what they are and what the last ones took."""

    @abstractmethod
    def send(self, items: list[Item]) -> None:
        """Send what was due: in any thread, but one after the other.

        Raises:
            BrokenInterpreterPool, RuntimeError: if the pool takes nothing any more.
        """

    @abstractmethod
    def poll(self, ring: Callable[[], object]) -> tuple[bool, Iterator[Any] | None]:
        """Return whether there are results, and these; None: of all that was sent they are taken.

        Of one that was stopped, there is nothing as soon as no task of it runs.

        Args:
            ring: what is called, in any thread, when it is worth asking again.

        Raises:
            BaseException: what has become of the next ones.
        """

    @abstractmethod
    def stop(self, grace: float) -> None:
        """Send no more, and stop what runs. May be called by a finalizer, in any thread."""


def feed_of(options: Options, fn: Callable[..., Any], sizes: Sizes) -> Feed:
    """Return what items for a function go into.

    Raises:
        TypeError, ValueError: for a size that makes no sense, or an `fn` that is not callable.
        TransferError: if the function cannot be sent.
        BrokenInterpreterPool, RuntimeError: if the pool takes nothing any more.
    """
    _map.check_sizes(sizes.chunksize, sizes.buffersize)
    _check_callable(fn)
    engine, terms = options._pool._engine, options._terms
    engine.check_open()
    if terms.lane == "thread" or (
        _routing.IS_FREE_THREADED and _routing.prefers_threads(engine, terms)
    ):
        return _Calls(options, fn, sizes)
    return _Lot(options, Call.of(fn), fn, sizes)


class _Lot(Feed):
    def __init__(self, options: Options, call: Call, fn: Callable[..., Any], sizes: Sizes) -> None:
        engine, terms = options._pool._engine, options._terms
        self._lot = Lot(engine, call, is_ordered=sizes.is_ordered, terms=terms)
        lane = _routing.lane_of(engine, terms, fn, call)
        if lane is not None:
            with engine.lock:
                self._lot.lane = engine.lane(lane)
        self._workers = engine.staff.most
        self._buffersize = sizes.buffersize
        chunksize = sizes.chunksize
        if terms.is_single:
            chunksize = 1  # a limit is an item's own, and so is what becomes of it
        elif chunksize is not None and self._buffersize is not None:
            chunksize = min(chunksize, self._buffersize)
        self._chunksize = chunksize
        self._held: list[Item] = []
        self._pace = 0.0  # seconds that encoding one of those took that were sent last

    @property
    def room(self) -> int:  # type: ignore[override]  # it goes by what was measured
        if self._buffersize is not None:
            return self._buffersize
        return min(_AHEAD * self._workers * (self._chunksize or self._lot.worth_sending), _MOST)

    @property
    def batch(self) -> int:  # type: ignore[override]
        if self._chunksize is not None:
            return min(self._chunksize, _TOGETHER)
        most = min(_TOGETHER, int(LONG / self._pace)) if self._pace else _TOGETHER
        # Half a worker's share of the room, so that something is on its way for each.
        return max(1, min(self._lot.worth_sending, self.room // (2 * self._workers), most))

    def hold(self, items: list[Item]) -> None:
        self._held += items

    def due(self, *, is_flush: bool = False) -> list[list[Item]]:
        held, size = self._held, self._chunksize or self.batch
        due = []
        is_divisible = self._chunksize is None
        if is_divisible and len(held) >= size:
            is_flush = True
        while len(held) >= size or (held and is_flush and (is_divisible or self._lot.is_complete)):
            due.append(held[:size])
            del held[:size]
        return due

    def complete(self) -> None:
        self._lot.is_complete = True

    def is_long(self, items: list[Item]) -> bool:
        return self._pace * len(items) > LONG or any(
            is_large(it) for args in items for it in args if type(it) not in _SMALL
        )

    def send(self, items: list[Item]) -> None:
        call = self._lot.call
        begin = time.thread_time()
        units = call.units(items) if self._chunksize is None else [call.chunk(items)]
        self._pace = (time.thread_time() - begin) / len(items)
        self._lot.add(units)

    def poll(self, ring: Callable[[], object]) -> tuple[bool, Iterator[Any] | None]:
        is_there, chunk = self._lot.take_nowait(Bell(self._lot.engine, ring))
        return is_there, None if chunk is None else chunk.give()

    def stop(self, grace: float) -> None:
        self._lot.forget_bell()
        self._lot.stop(grace)


class _Calls(Feed):
    """What is not sent: there is nothing to be gained by sending it together."""

    batch = 1

    def __init__(self, options: Options, fn: Callable[..., Any], sizes: Sizes) -> None:
        self._options = options
        self._fn = fn
        self._is_ordered = sizes.is_ordered
        self._held: list[Item] = []
        self._futures: deque[Future[Any]] = deque()
        self._is_stopped = False
        engine = options._pool._engine
        with engine.lock:
            self.room = sizes.buffersize or 2 * engine.lane("thread")._most

    def hold(self, items: list[Item]) -> None:
        self._held += items

    def due(self, *, is_flush: bool = False) -> list[list[Item]]:  # noqa: ARG002 - all are, always
        held, self._held = self._held, []
        return [held] if held else []

    def complete(self) -> None:
        """Nothing was held back."""

    def is_long(self, items: list[Item]) -> bool:  # noqa: ARG002 - whatever they are
        return False  # they are not encoded

    def send(self, items: list[Item]) -> None:
        for args in [] if self._is_stopped else items:
            options = self._options
            engine = options._pool._engine
            self._futures.append(submit(engine, options._terms, self._fn, args, {}))

    def poll(self, ring: Callable[[], object]) -> tuple[bool, Iterator[Any] | None]:
        futures = self._futures
        if self._is_stopped:
            while futures and futures[0].done():
                futures.popleft()
        if not futures:
            return True, None
        if not self._is_stopped:
            asked = [futures[0]] if self._is_ordered else futures
            if (found := next((it for it in asked if it.done()), None)) is not None:
                futures.remove(found)
                return True, _result(found)
        for future in [futures[0]] if self._is_ordered or self._is_stopped else [*futures]:
            # Not the future's own: that one's callbacks may block, and this does not.
            BaseFuture.add_done_callback(future, lambda _: ring())
        return False, None

    def stop(self, grace: float) -> None:
        self._is_stopped = True
        for future in [*self._futures]:
            future.interrupt(grace=grace)


def _result(future: Future[Any]) -> Iterator[Any]:
    # No reference to a result is kept here while its user has it.
    found, future = [future.result()], None  # type: ignore[assignment]
    yield found.pop()
