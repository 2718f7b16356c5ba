"""The event loop that a coroutine runs in: how it waits, and how other threads reach it.

asyncio (and uvloop, which is one of its loops) and trio, each by its own means: anyio, which runs
on either, has no way to reach a loop from a thread without waiting for it, and the thread that
reads results must not wait. Where anyio is in use its shield is, too: its scopes cancel a task
again and again until it is done, and one that waits for a worker to stop would do nothing else.

It guarantees that what arrives together from other threads wakes the loop once, and that a loop
that is gone by then is no error: nobody waits in it.
"""

import asyncio
import contextlib
import contextvars
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import trio

type Action = Callable[[], object]

# Arrivals that a loop deals with in one turn. Each wakes a task that may well send the next one,
# some 50 us; with 64 the loop's pauses were twice as long, and nothing was done sooner
# (benchmarks/loop_pauses.py).
_TOGETHER: Final = 16

_known = threading.local()  # the `Loop` that was last used in each thread, as long as there is one


class Loop(ABC):
    """An event loop.

    Attributes:
        cancelled: what a task meets that is cancelled.
    """

    cancelled: type[BaseException]

    def __init__(self, native: Any) -> None:
        self.native = native
        self._arrived: deque[Action] = deque()
        self._tokens = [None]  # taken by whoever wakes the loop, put back when it is awake

    def post(self, action: Action) -> None:
        """Have something called in the loop, from any thread. Never waits."""
        self._arrived.append(action)
        try:
            self._tokens.pop()
        except IndexError:
            return  # it is about to look
        try:
            self.soon(self._deliver)
        except RuntimeError:  # it is closed
            self._arrived.clear()

    def _deliver(self) -> None:
        self._tokens.append(None)
        # Not all, and not what comes meanwhile, for others want the loop, too.
        for _ in range(min(len(self._arrived), _TOGETHER)):
            self._arrived.popleft()()
        if self._arrived:
            self.post(_nothing)

    @abstractmethod
    def soon(self, action: Action) -> None:
        """Have something called in the loop's next turn, from any thread.

        Raises:
            RuntimeError: if it is closed.
        """

    @abstractmethod
    def waiter(self) -> Waiter:
        """Make something to wait for."""

    @abstractmethod
    async def pause(self) -> None:
        """Let others have their turn."""

    @abstractmethod
    def start(self, work: Coroutine[Any, Any, None]) -> Action:
        """Run a coroutine beside; return what cancels it, to be called in the loop."""


class Waiter(ABC):
    """Something that happens once, and that one coroutine waits for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.is_set = False

    def ring(self, *_: object) -> None:
        """Say, in any thread, that it has happened."""
        self._loop.post(self.set)

    @abstractmethod
    def set(self) -> None:
        """Say so in the loop."""

    @abstractmethod
    async def wait(self) -> None:
        """Wait for it."""

    @abstractmethod
    async def wait_out(self) -> BaseException | None:
        """Wait for it, whoever cancels meanwhile.

        Returns:
            The cancellation that has come, which whoever waited has to raise when it is done; None
            if there was none, or if the loop raises it again by itself.
        """


def _nothing() -> None:
    pass


def current() -> Loop:
    """Return the loop that runs in this thread.

    Raises:
        RuntimeError: if there is none.
    """
    in_trio = getattr(sys.modules.get("trio.lowlevel"), "in_trio_task", None)
    if in_trio is not None and in_trio():
        import trio

        return _loop_of(trio.lowlevel.current_trio_token(), _TrioLoop)
    return _loop_of(asyncio.get_running_loop(), _AsyncioLoop)


def _loop_of(native: object, kind: type[Loop]) -> Loop:
    known: weakref.ref[Loop] | None = getattr(_known, "loop", None)
    loop = None if known is None else known()
    if loop is None or loop.native is not native:
        loop = kind(native)
        _known.loop = weakref.ref(loop)
    return loop


# --- asyncio --------------------------------------------------------------------------------------


class _AsyncioLoop(Loop):
    cancelled = asyncio.CancelledError
    native: asyncio.AbstractEventLoop

    def soon(self, action: Action) -> None:
        self.native.call_soon_threadsafe(action)

    def waiter(self) -> Waiter:
        return _AsyncioWaiter(self)

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def start(self, work: Coroutine[Any, Any, None]) -> Action:
        return self.native.create_task(work).cancel


class _AsyncioWaiter(Waiter):
    _future: asyncio.Future[None] | None = None

    def set(self) -> None:
        self.is_set = True
        if (future := self._future) is not None and not future.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks collected
                future.set_result(None)

    async def wait(self) -> None:
        if self.is_set:
            return
        self._future = self._loop.native.create_future()
        try:
            await self._future
        finally:
            self._future = None

    async def wait_out(self) -> BaseException | None:
        cancellation: BaseException | None = None
        with _anyio_shield():
            while not self.is_set:
                try:
                    await self.wait()
                except asyncio.CancelledError as error:
                    cancellation = error.with_traceback(None)  # it would have this frame
        return cancellation


def _anyio_shield() -> contextlib.AbstractContextManager[object]:
    scope = getattr(sys.modules.get("anyio"), "CancelScope", None)
    if scope is None:
        return contextlib.nullcontext()
    shield: contextlib.AbstractContextManager[object] = scope(shield=True)
    return shield


# --- trio -----------------------------------------------------------------------------------------


class _TrioLoop(Loop):
    native: trio.lowlevel.TrioToken

    def __init__(self, native: Any) -> None:
        import trio

        super().__init__(native)
        self.cancelled = trio.Cancelled
        self.trio: Final = trio

    def soon(self, action: Action) -> None:
        self.native.run_sync_soon(action)

    def waiter(self) -> Waiter:
        return _TrioWaiter(self)

    async def pause(self) -> None:
        await self.trio.lowlevel.checkpoint()

    def start(self, work: Coroutine[Any, Any, None]) -> Action:
        scope = self.trio.CancelScope()

        async def run() -> None:
            with scope:
                await work

        # By itself it would have the system's context, and not the caller's, as asyncio's tasks do.
        self.trio.lowlevel.spawn_system_task(run, context=contextvars.copy_context())
        return scope.cancel


class _TrioWaiter(Waiter):
    _loop: _TrioLoop

    def __init__(self, loop: _TrioLoop) -> None:
        super().__init__(loop)
        self._event = loop.trio.Event()

    def set(self) -> None:
        self.is_set = True
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def wait_out(self) -> BaseException | None:
        with self._loop.trio.CancelScope(shield=True):
            await self._event.wait()
        return None
