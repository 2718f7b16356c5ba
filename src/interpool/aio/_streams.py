"""`map` and `map_unordered` for event loops: results that an `async for` takes, and no faster.

Items of an iterable are taken in the loop, when results are taken, a few at a time, and encoded
there, or beside it if that may take long, by what they are and what those before have taken.
Those of an asynchronous one are taken by a task beside, since results must not wait for the next
item; it waits while there is no room. That task knows the stream, not the iterator that the user
holds, so the iterator can be dropped, which is what `break` does, and then stops the rest.
"""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Self

from interpool.aio import _loops
from interpool.aio._calls import Encoder
from interpool.aio._feeds import Feed, Item

# Seconds for which a stream may keep the loop without letting others have it.
_TURN: Final = 0.001


class Results[T]:
    """The results of `map` or `map_unordered`: an asynchronous iterator.

    To leave it early, by `break` or an exception, stops what runs and cancels the rest; `aclose`
    does so too, and waits until that is done. To be used in one event loop, by one task at a time.

    .. versionadded:: 0.1
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        """The iterator itself."""
        return self

    async def __anext__(self) -> T:
        """The next result, waiting for it.

        Raises:
            StopAsyncIteration: if there are no more.
            CancelledError: if the pool has ended. If the task that waits is cancelled, the rest is
                stopped first.
            BaseException: what an item's task, or an iterable, has raised.
        """
        found: T = await self._stream.following()
        return found

    async def aclose(self) -> None:
        """Stop what runs, cancel the rest, and return when that has stopped.

        Raises:
            RuntimeError: if another task waits for a result.
        """
        await self._stream.aclose()

    def __del__(self) -> None:
        self._stream.stop()


class Stream:
    """The state of one map."""

    def __init__(
        self, feed: Feed, iterables: tuple[Any, ...], grace: float, encoder: Encoder
    ) -> None:
        self._feed = feed
        self._grace = grace
        self._encoder = encoder
        self._loop: _loops.Loop | None = None  # when it is first asked for a result
        self._items: Iterator[Item] | None = None
        self._async_items: _Zipped | None = None
        if any(isinstance(it, AsyncIterable) for it in iterables):
            self._async_items = _Zipped(iterables)
        else:
            self._items = zip(*iterables, strict=False)
        self._is_exhausted = False
        self._failure: BaseException | None = None  # what taking items has raised
        self._outstanding = 0  # items that were taken, and whose results were not
        self._given: Iterator[Any] | None = None  # results that have arrived
        self._is_busy = self._is_over = False
        self._turn = 0.0  # since when it has the loop, as `time.monotonic` has it
        self._due: deque[list[Item]] = deque()  # what waits to be sent behind what is
        self._sending: _loops.Waiter | None = None  # while something is sent beside the loop
        self._waiting: _loops.Waiter | None = None  # what waits for results
        # Of the task that takes asynchronous items:
        self._cancel_pump: Callable[[], object] | None = None
        self._pump_end: _loops.Waiter | None = None
        self._for_room: _loops.Waiter | None = None  # what it waits for
        self._for_items: _loops.Waiter | None = None  # what waits for it
        self._is_flush_due = False

    async def following(self) -> Any:
        """Return the next result."""
        if self._is_busy:
            raise RuntimeError("another task is waiting for the next result of this map")
        if self._is_over:
            raise StopAsyncIteration
        loop = self._loop or self._begin()
        self._is_busy = True
        try:
            if time.monotonic() - self._turn > _TURN:
                await self._pause(loop)
            return await self._next(loop)
        except GeneratorExit:  # the loop is closed, or the coroutine dropped: nobody can wait
            self.stop()
            raise
        except BaseException as error:
            cancellation = await self._close(loop)
            if cancellation is None or isinstance(error, loop.cancelled):
                raise
            raise cancellation from None
        finally:
            self._is_busy = False

    async def aclose(self) -> None:
        """End it early."""
        if self._is_busy:
            raise RuntimeError("another task is waiting for the next result of this map")
        if self._loop is None:
            self.stop()
        elif (cancellation := await self._close(self._loop)) is not None:
            raise cancellation

    def stop(self) -> None:
        """Stop all without waiting: in any thread, and by a finalizer."""
        if self._is_over:
            return
        self._is_over = True
        self._feed.stop(self._grace)
        if self._loop is not None and self._cancel_pump is not None:
            self._loop.post(self._cancel_pump)

    def _begin(self) -> _loops.Loop:
        loop = self._loop = _loops.current()
        self._turn = time.monotonic()
        if self._async_items is not None:
            self._pump_end = loop.waiter()
            self._cancel_pump = loop.start(self._pump(loop, self._async_items, self._pump_end))
        return loop

    async def _next(self, loop: _loops.Loop) -> Any:
        while True:
            if self._given is not None:
                for value in self._given:
                    self._outstanding -= 1
                    return value
                self._given = None
            if self._items is not None:
                await self._take(loop, self._items)
            elif self._for_room is not None and self._room > 0:
                self._for_room.set()
            waiter = self._waiting = loop.waiter()
            is_there, self._given = self._feed.poll(waiter.ring)
            if not is_there or (self._given is None and self._sending is not None):
                await waiter.wait()
                self._turn = time.monotonic()
            elif self._given is None and not self._send(loop, is_flush=True):
                if self._is_exhausted:
                    if self._failure is None:
                        raise StopAsyncIteration
                    try:
                        raise self._failure
                    finally:
                        self._failure = None  # whose traceback refers to this
                self._for_items = loop.waiter()
                await self._for_items.wait()

    async def _close(self, loop: _loops.Loop) -> BaseException | None:
        """Stop, and wait for that; return the cancellation that has come meanwhile."""
        self.stop()
        cancellation = None
        waiter = loop.waiter()
        is_there, _ = self._feed.poll(waiter.ring)
        if not is_there:
            cancellation = await waiter.wait_out()
        for end in (self._pump_end, self._sending):
            if end is not None:
                cancellation = await end.wait_out() or cancellation
        return cancellation

    @property
    def _room(self) -> int:
        return self._feed.room - self._outstanding

    async def _pause(self, loop: _loops.Loop) -> None:
        await loop.pause()
        self._turn = time.monotonic()

    async def _take(self, loop: _loops.Loop, source: Iterator[Item]) -> None:
        """Take as many items as there is room for, but not one by one."""
        feed = self._feed
        while (
            not self._is_exhausted
            and self._sending is None
            and (room := self._room) >= min(feed.batch, feed.room)
        ):
            items: list[Item] = []
            try:
                # Those before one that raises are there.
                items.extend(itertools.islice(source, wanted := min(room, feed.batch)))
                self._is_exhausted = len(items) < wanted
            except Exception as error:
                self._failure, self._is_exhausted = error, True
            self._outstanding += len(items)
            feed.hold(items)
            if self._is_exhausted:
                feed.complete()
            self._send(loop, is_flush=self._is_exhausted)
            if time.monotonic() - self._turn > _TURN:
                await self._pause(loop)

    def _send(self, loop: _loops.Loop, *, is_flush: bool = False) -> bool:
        """Send what is due, and what may take long beside the loop; return if there was anything.

        What is due meanwhile waits, for items are sent in their order.

        Raises:
            BrokenInterpreterPool, RuntimeError: if the pool takes nothing any more.
        """
        self._due += self._feed.due(is_flush=is_flush)
        was_any = bool(self._due)
        while self._due and self._sending is None:
            items = self._due.popleft()
            if not self._feed.is_long(items):
                self._feed.send(items)
                continue
            encoding = self._encoder.beside(self._feed.send, items)
            self._sending = loop.waiter()
            encoding.add_done_callback(lambda it: loop.post(partial(self._sent, loop, it)))
        return was_any

    def _sent(self, loop: _loops.Loop, encoding: Future[None]) -> None:
        """Go on with what is due behind that."""
        ended, self._sending = self._sending, None
        try:
            encoding.result()
            if not self._is_over:
                self._send(loop)
        except Exception as error:
            self._fail(error)
        if ended is not None:
            ended.set()
        if self._waiting is not None:
            self._waiting.set()
        self._wake()

    def _fail(self, error: Exception) -> None:
        """End it when what was sent is taken: the pool takes nothing any more."""
        self._failure = error
        self._is_exhausted = True
        self._due.clear()
        if self._cancel_pump is not None:
            self._cancel_pump()

    # --- the task that takes asynchronous items --------------------------------------------------

    async def _pump(self, loop: _loops.Loop, source: _Zipped, end: _loops.Waiter) -> None:
        try:
            await self._take_all(loop, source)
            self._feed.complete()
            self._send(loop, is_flush=True)
        except BaseException as error:
            if not self._is_over:
                self._failure = self._failure or error
            if isinstance(error, loop.cancelled):
                raise
        finally:
            self._is_exhausted = True
            self._wake()
            end.set()

    async def _take_all(self, loop: _loops.Loop, source: _Zipped) -> None:
        try:
            while not self._is_over:
                while self._room <= 0:
                    self._for_room = loop.waiter()
                    await self._for_room.wait()
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    break
                self._outstanding += 1
                self._feed.hold([item])
                self._send(loop)
                if not self._is_flush_due:
                    # When the source has nothing more to give for now, what it has given goes.
                    self._is_flush_due = True
                    loop.soon(partial(self._flush, loop))
        finally:
            await source.aclose()

    def _flush(self, loop: _loops.Loop) -> None:
        self._is_flush_due = False
        if not self._is_over:
            try:
                self._send(loop, is_flush=True)
            except Exception as error:
                self._fail(error)
        self._wake()

    def _wake(self) -> None:
        if self._for_items is not None:
            self._for_items.set()


class _Zipped:
    """Items of iterables of both kinds, side by side; the shortest ends it.

    Asynchronous generators are closed at the end, for nobody else can: loops complain of those that
    are dropped half-way.
    """

    def __init__(self, iterables: tuple[Any, ...]) -> None:
        self._sources: list[AsyncIterator[Any] | Iterator[Any]] = [
            aiter(it) if isinstance(it, AsyncIterable) else iter(it) for it in iterables
        ]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        item = []
        for source in self._sources:
            if isinstance(source, AsyncIterator):
                item.append(await anext(source))
                continue
            try:
                item.append(next(source))
            except StopIteration:
                raise StopAsyncIteration from None
        return tuple(item)

    async def aclose(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for source in self._sources:
                if isinstance(source, AsyncGenerator):
                    stack.push_async_callback(source.aclose)
