"""`map` and `map_unordered`: the standard library's semantics, over lots.

Items are taken from the iterables and encoded here, in the thread that maps, so whatever they or
their pickling raise is raised in its own place.
"""

import itertools
import queue
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from interpool._lots import Lot
from interpool._terms import PLAIN, Terms

if TYPE_CHECKING:
    from interpool._codec import Call
    from interpool._engine import Engine

# Items encoded and added together: as many as are worth one taking of the engine's lock, and few
# enough that workers start on the first ones meanwhile. Arbitrary.
_TOGETHER: Final = 512


def check_sizes(chunksize: int | None, buffersize: int | None) -> None:
    """Refuse sizes that make no sense, in the words of `concurrent.futures`.

    Raises:
        TypeError, ValueError: for a size that is no number, or below 1.
    """
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    if chunksize is not None and not isinstance(chunksize, int):
        raise TypeError("chunksize must be an integer or None")
    if chunksize is not None and chunksize < 1:
        raise ValueError("chunksize must be >= 1.")


class _Source:
    """Where the items of a map come from, on their way into its lot.

    What was taken is held back until it makes up a chunk: one of the user's size, or else one worth
    sending, and then half a worker's share of the buffer at the most: so there is always something
    on its way for each.
    """

    def __init__(
        self,
        lot: Lot,
        items: Iterator[tuple[Any, ...]],
        chunksize: int | None,
        buffersize: int | None,
    ) -> None:
        self._lot = lot
        self._items = items
        self._chunksize = chunksize
        workers = lot.engine.staff.most
        self._largest = _TOGETHER if buffersize is None else max(1, buffersize // (2 * workers))
        self._held: list[tuple[Any, ...]] = []
        self.is_exhausted = False

    def pull(self, most: int | None) -> None:
        """Take that many items, or all."""
        held = self._held
        while most is None or most > 0:
            wanted = self._chunksize or _TOGETHER
            taken = list(
                itertools.islice(self._items, wanted if most is None else min(wanted, most))
            )
            if not taken:
                self.is_exhausted = self._lot.is_complete = True
                self._add_held()
                return
            held += taken
            most = None if most is None else most - len(taken)
            if self._chunksize is not None:
                self._add_chunks(self._chunksize)
            elif len(held) >= min(self._lot.worth_sending, self._largest):
                self._add_held()

    def flush(self) -> None:
        """Add what is held back, unless the user has said how much goes together."""
        if self._chunksize is None:
            self._add_held()

    def _add_chunks(self, size: int) -> None:
        held = self._held
        while len(held) >= size:
            self._encode_and_add(held[:size])
            del held[:size]

    def _add_held(self) -> None:
        if self._held:
            held = self._held[:]
            self._held.clear()
            self._encode_and_add(held)

    def _encode_and_add(self, items: list[tuple[Any, ...]]) -> None:
        call, trace = self._lot.call, self._lot.engine.trace
        began = 0 if trace is None else trace.clock()
        units = call.units(items) if self._chunksize is None else [call.chunk(items)]
        if trace is not None:
            trace.note_encoded(began, call.name, None, len(items))
        self._lot.add(units)


def map_items(
    engine: Engine,
    owner: weakref.ref[Any],
    call: Call,
    items: Iterator[tuple[Any, ...]],
    *,
    timeout: float | None,
    chunksize: int | None,
    buffersize: int | None,
    is_ordered: bool,
    terms: Terms = PLAIN,
    lane: str | None = None,
) -> Iterator[Any]:
    """Submit all items, or as many as the buffer holds, and return the iterator of results.

    The iterator refers to the executor weakly, so that an executor that nobody holds is collected
    though an iterator of its is still about; what it has submitted then comes, and no more.
    """
    deadline = None if timeout is None else timeout + time.monotonic()
    if terms.is_single:
        chunksize = 1  # a limit is an item's own, and so is what becomes of it
    elif chunksize is not None and buffersize is not None:
        chunksize = min(chunksize, buffersize)
    lot = Lot(engine, call, is_ordered=is_ordered, terms=terms)
    if lane is not None:
        with engine.lock:
            lot.lane = engine.lane(lane)
    source = _Source(lot, items, chunksize, buffersize)
    source.pull(buffersize)
    source.flush()  # the first ones, however few

    def refill() -> None:
        if not source.is_exhausted and owner() is not None:
            source.pull(1)

    return _results(lot, deadline, None if source.is_exhausted else refill)


def map_calls(
    submit: Callable[..., Future[Any]],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None,
    buffersize: int | None,
    is_ordered: bool,
) -> Iterator[Any]:
    """Submit each item by itself, or as many as the buffer holds; return the iterator of results.

    For what is not sent: there is nothing to be gained by sending it together.
    """
    deadline = None if timeout is None else timeout + time.monotonic()
    items = zip(*iterables, strict=False)
    futures = deque(submit(*args) for args in itertools.islice(items, buffersize))
    return _results_of(submit, items, futures, deadline, is_ordered=is_ordered)


def _results_of(
    submit: Callable[..., Future[Any]],
    items: Iterator[tuple[Any, ...]],
    futures: deque[Future[Any]],
    deadline: float | None,
    *,
    is_ordered: bool,
) -> Iterator[Any]:
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    if not is_ordered:
        for future in futures:
            future.add_done_callback(ended.put)
    try:
        while futures:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if is_ordered:
                future = futures[0]
                future.exception(left)
                futures.popleft()
            else:
                try:
                    future = ended.get(timeout=left)
                except queue.Empty:
                    raise TimeoutError from None
                futures.remove(future)
            for args in itertools.islice(items, 1):
                futures.append(submit(*args))
                if not is_ordered:
                    futures[-1].add_done_callback(ended.put)
            # No reference to a result is kept here while its user has it.
            found, future = [future.result()], None  # type: ignore[assignment]
            yield found.pop()
    finally:
        for future in futures:
            future.cancel()


def _results(lot: Lot, deadline: float | None, refill: Callable[[], None] | None) -> Iterator[Any]:
    """Yield what arrives, with a refill for each; cancel what is left when nobody asks any more."""
    try:
        while True:
            if refill is not None:
                refill()
            if (chunk := lot.take(deadline)) is None:
                return
            # No reference to a result is kept here while its user has it.
            yield from chunk.give(refill)
    finally:
        lot.cancel()
