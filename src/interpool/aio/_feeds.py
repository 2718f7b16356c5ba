"""What a stream's items go into, and their results come from: a lot, or futures of the threads."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as BaseFuture
from typing import TYPE_CHECKING, Any, Final

from interpool import _map, _routing
from interpool._codec import Call
from interpool._lots import Bell, Lot
from interpool._options import Options, Sizes, _check_callable, submit

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


class Feed(ABC):
    """Where items go.

    Attributes:
        batch: how many items should be taken together.
        room: how many may be on their way, or wait to be taken.
    """

    batch: int
    room: int

    @abstractmethod
    def add(self, items: list[Item]) -> None:
        """Take items, to be sent when they are worth it.

        Raises:
            BrokenInterpreterPool, RuntimeError: if the pool takes nothing any more.
        """

    @abstractmethod
    def flush(self) -> bool:
        """Send what is held back, unless the user has said how much goes together.

        Returns:
            Whether there was anything.
        """

    @abstractmethod
    def complete(self) -> None:
        """Send all that is held back: no more will come."""

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

    @property
    def room(self) -> int:  # type: ignore[override]  # it goes by what was measured
        if self._buffersize is not None:
            return self._buffersize
        return min(_AHEAD * self._workers * (self._chunksize or self._lot.worth_sending), _MOST)

    @property
    def batch(self) -> int:  # type: ignore[override]
        if self._chunksize is not None:
            return min(self._chunksize, _TOGETHER)
        # Half a worker's share of the room, so that something is on its way for each.
        return max(1, min(self._lot.worth_sending, self.room // (2 * self._workers), _TOGETHER))

    def add(self, items: list[Item]) -> None:
        held = self._held
        held += items
        if (size := self._chunksize) is None:
            if len(held) >= self.batch:
                self._send(held)
            return
        while len(held) >= size:
            chunk = held[:size]
            del held[:size]
            self._lot.add([self._lot.call.chunk(chunk)])

    def flush(self) -> bool:
        if self._chunksize is not None or not self._held:
            return False
        self._send(self._held)
        return True

    def complete(self) -> None:
        self._lot.is_complete = True
        if self._held:
            self._send(self._held)

    def _send(self, held: list[Item]) -> None:
        items = held[:]
        held.clear()
        call = self._lot.call
        self._lot.add(call.units(items) if self._chunksize is None else [call.chunk(items)])

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
        self._futures: deque[Future[Any]] = deque()
        self._is_stopped = False
        engine = options._pool._engine
        with engine.lock:
            self.room = sizes.buffersize or 2 * engine.lane("thread")._most

    def add(self, items: list[Item]) -> None:
        for args in [] if self._is_stopped else items:
            options = self._options
            engine = options._pool._engine
            self._futures.append(submit(engine, options._terms, self._fn, args, {}))

    def flush(self) -> bool:
        return False

    def complete(self) -> None:
        pass

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
