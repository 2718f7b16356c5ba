"""Calls of a pool on given terms: what `submit` and `map` do, and views with terms of their own."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, final

from interpool import _map, _routing
from interpool._codec import Call, name_of
from interpool._errors import TransferError
from interpool._terms import (
    Lane,
    Retry,
    Terms,
    checked_lane,
    checked_retries,
    checked_timeout,
)

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._executor import InterpreterPoolExecutor
    from interpool._future import Future


type Tell = Callable[[int, int | None], object]
"""Told how many results were taken, and how many there will be, or None."""
type Progress = bool | str | Tell
"""Whether a `map` shows how far it is, with what before the bar; or who is told instead."""


@final
class Unchanged:
    """The type of `UNCHANGED`: None means something in an option."""

    def __repr__(self) -> str:
        """As signatures show it."""
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How the items of a map travel."""

    chunksize: int | None
    buffersize: int | None
    is_ordered: bool


class Options:
    """A view of a pool whose calls have their own terms: see `InterpreterPoolExecutor.options`.

    Thread-safety: every method may be called from any thread.

    .. versionadded:: 0.1
    """

    def __init__(self, pool: InterpreterPoolExecutor, terms: Terms) -> None:
        self._pool = pool
        self._terms = terms

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)`, as the pool's `submit` does."""
        return submit(self._pool._engine, self._terms, fn, args, kwargs)

    def map[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: Progress = False,
    ) -> Iterator[T]:
        """Return an iterator of results in order, as the pool's `map` does."""
        sizes = Sizes(chunksize, buffersize, is_ordered=True)
        return map_(self._pool, self._terms, fn, iterables, timeout, sizes, progress)

    def map_unordered[T](
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: Progress = False,
    ) -> Iterator[T]:
        """Return an iterator of results as they come, as the pool's `map_unordered` does."""
        sizes = Sizes(chunksize, buffersize, is_ordered=False)
        return map_(self._pool, self._terms, fn, iterables, timeout, sizes, progress)

    def options(
        self,
        *,
        timeout: float | Unchanged | None = UNCHANGED,
        retries: int | Retry | Unchanged = UNCHANGED,
        lane: Lane | Unchanged = UNCHANGED,
    ) -> Options:
        """Return a view that differs from this one, as the pool's `options` does."""
        terms = self._terms
        if not isinstance(timeout, Unchanged):
            terms = replace(terms, timeout=checked_timeout(timeout))
        if not isinstance(retries, Unchanged):
            terms = replace(terms, retry=checked_retries(retries))
        if not isinstance(lane, Unchanged):
            terms = replace(terms, lane=checked_lane(lane))
        return Options(self._pool, Terms.of(terms.timeout, terms.retry, terms.lane))

    def __repr__(self) -> str:
        """What differs from what is usual."""
        return f"<options of {self._pool!r}: {self._terms}>"


def submit(
    engine: Engine,
    terms: Terms,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Future[Any]:
    """Do what `submit` of a pool does."""
    _check_callable(fn)
    engine.check_open()
    if terms.lane == "thread" or (
        _routing.IS_FREE_THREADED and _routing.prefers_threads(engine, terms)
    ):
        return engine.submit_work((fn, args, kwargs), name_of(fn), terms)
    trace = engine.trace
    began = 0 if trace is None else trace.clock()
    try:
        call = Call.of(fn)
        message = call.message(args, kwargs)
    except TransferError as error:
        return engine.refuse(error)
    if trace is not None:
        trace.note_encoded(began, call.name, message)
    if _routing.is_ignorant and terms.lane == "auto":  # what most calls meet
        return engine.submit(message, call.name, terms)
    lane = _routing.lane_of(engine, terms, fn, call, args, kwargs)
    return engine.submit(message, call.name, terms, lane=lane)


def map_(
    pool: InterpreterPoolExecutor,
    terms: Terms,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    sizes: Sizes,
    progress: Progress = False,
) -> Iterator[Any]:
    """Do what `map` of a pool does."""
    if progress is not False:
        from interpool import _progress

        if (wanted := _progress.checked(progress)) is not False:
            total = _progress.total_of(iterables)  # as it is now
            results = map_(pool, terms, fn, iterables, timeout, sizes)
            return _progress.followed(results, wanted, fn, total)
    _map.check_sizes(sizes.chunksize, sizes.buffersize)
    _check_callable(fn)
    engine = pool._engine
    engine.check_open()
    if terms.lane == "thread" or (
        _routing.IS_FREE_THREADED and _routing.prefers_threads(engine, terms)
    ):
        return _map.map_calls(
            lambda *args: submit(engine, terms, fn, args, {}),
            iterables,
            timeout=timeout,
            buffersize=sizes.buffersize,
            is_ordered=sizes.is_ordered,
        )
    call = Call.of(fn)
    return _map.map_items(
        engine,
        weakref.ref(pool),
        call,
        zip(*iterables, strict=False),
        timeout=timeout,
        chunksize=sizes.chunksize,
        buffersize=sizes.buffersize,
        is_ordered=sizes.is_ordered,
        terms=terms,
        lane=_routing.lane_of(engine, terms, fn, call),
    )


def _check_callable(fn: object) -> None:
    if callable(fn):
        return
    if issubclass(type(fn), str):  # an object may lie about its `__class__`
        # The text is the standard library's, whose pool might take scripts one day.
        message = f"scripts not supported: pass a function, not the text {fn!r}"
        raise TypeError(message)
    message = f"{type(fn).__qualname__!r} object is not callable"
    raise TypeError(message)
