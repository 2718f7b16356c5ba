"""`map` over futures: the standard library's semantics, with chunks that are obeyed."""

import itertools
import time
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from interpool._errors import TransferError
from interpool._future import Future, cancel_all

if TYPE_CHECKING:
    from interpool._codec import Call, Chunk
    from interpool._engine import Engine


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


def map_ordered(
    engine: Engine,
    owner: weakref.ref[Any],
    call: Call,
    items: Iterator[tuple[Any, ...]],
    *,
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[Any]:
    """Submit all items, or as many as the buffer holds, and return the iterator of results.

    The iterator refers to the executor weakly, so that an executor that nobody holds is collected
    though an iterator of its is still about; what it has submitted then comes, and no more.
    """
    deadline = None if timeout is None else timeout + time.monotonic()
    size = chunksize if buffersize is None else min(chunksize, buffersize)
    chunks = (
        itertools.batched(items, size, strict=False) if size > 1 else ((item,) for item in items)
    )

    def submit(chunk: tuple[tuple[Any, ...], ...]) -> Future[Any]:
        try:
            message = call.message(chunk[0], {}) if size == 1 else call.chunk_message(chunk)
        except TransferError as error:
            return engine.refuse(error)  # it is raised when its turn comes
        return engine.submit(message, call.name)

    if buffersize is None:
        return _results(deque(map(submit, chunks)), size, deadline)
    ahead = buffersize // size
    futures = deque(map(submit, itertools.islice(chunks, ahead)))

    def refill() -> None:
        if owner() is not None and (chunk := next(chunks, None)):
            futures.append(submit(chunk))

    return _results(futures, size, deadline, refill)


def _results(
    futures: deque[Future[Any]], size: int, deadline: float | None, refill: Any = None
) -> Iterator[Any]:
    """Yield what the futures bring, in order; cancel what is left when nobody asks any more."""
    try:
        while futures:
            if refill is not None:
                refill()
            # No reference to a future or a result is kept here while its user has it.
            if size == 1:
                yield _result_or_cancel(futures.popleft(), deadline)
            else:
                chunk: Chunk = _result_or_cancel(futures.popleft(), deadline)
                for index in range(len(chunk)):
                    yield chunk.take(index)
    finally:
        cancel_all(futures)


def _result_or_cancel(future: Future[Any], deadline: float | None) -> Any:
    """The future's result, waited for until the deadline; cancelled if it does not come."""
    try:
        try:
            return future.result(None if deadline is None else deadline - time.monotonic())
        except BaseException:
            future.cancel()  # one that has ended stays as it is
            raise
    finally:
        del future  # an exception's traceback would hold it
