"""The way to Dask: a thread with an event loop of its own, in which a client of Dask's lives.

It guarantees:

* For each task that it is given, the engine hears one end: an outcome, an error, or that the whole
  cluster is gone, which ends all. Of one that is to stop it hears in any case, soon: also if it
  waits for a worker that never comes, or its worker does not answer.
* Of a worker that goes, the engine hears, with the tasks that it had. Dask runs them again.
* When the loop is over, nothing is left of it: no thread, no connection, no process of a local
  cluster. But for daemon threads that Dask keeps for a process: one that reads large pickles, and
  where a scheduler was, of a local cluster, one that takes its profile.

Every method of the engine's that is called from here only puts something into a queue, or takes the
engine's lock for a moment, so the loop is never held up. The engine calls from any thread, with its
lock held or not; what it asks for is left to the loop, as long as that takes it (`_call`).
"""

import asyncio
import contextlib
import functools
import threading
import uuid
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from concurrent.futures import Future as Promise
from typing import TYPE_CHECKING, Any

import distributed
from distributed.comm.core import connect as connect_to

from interpool import _threads
from interpool.cluster import _connect, _ends, _site, _wire
from interpool.cluster._errors import ClusterError
from interpool.cluster._orders import Orders

if TYPE_CHECKING:
    from interpool._task import Task
    from interpool.cluster._engine import ClusterEngine


class Link:
    """The way to Dask of one engine."""

    def __init__(
        self,
        engine: ClusterEngine,
        target: _connect.Target,
        security: distributed.Security | None,
    ) -> None:
        """Make one that is not connected.

        Args:
            engine: whose it is.
            target: what to connect to.
            security: Dask's, for the connections.
        """
        self._engine = engine
        self._target = target
        self._security = security
        self._thread = _threads.make(self._run, f"{engine.name}_dask")
        self._ready: Promise[None] = Promise()
        self._loop: asyncio.AbstractEventLoop  # from `start` on
        self._over = asyncio.Event()
        self._lock = threading.RLock()  # a finalizer may come in between
        self._takes = False  # whether the loop will do what it is told
        self._client: distributed.Client | None = None
        self._name = uuid.uuid4().hex[:12]  # of this executor, in the names of its tasks
        self._outbox: deque[tuple[int, str, tuple[Any, ...], tuple[Any, ...]]] = deque()
        self._futures: dict[int, distributed.Future[bytes]] = {}  # Dask's, by number
        self._deaths: dict[int, list[str]] = {}  # workers that died with a task
        self._finished: dict[int, distributed.Future[bytes]] = {}  # whose results are to be fetched
        self._is_fetching = False
        self._is_sending = False  # whether what is in the outbox will be sent
        self._background: set[asyncio.Task[Any]] = set()
        self._is_gone = False
        self._main: asyncio.Task[None] | None = None
        self._orders = Orders(self)

    # --- asked by the engine, in any thread ------------------------------------------------------

    def start(self) -> None:
        """Connect.

        Raises:
            ClusterError: if there is no cluster, or it does not fit.
        """
        with self._lock:
            self._loop = asyncio.new_event_loop()
            self._takes = True
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no thread
            with self._lock:
                self._takes = False
            self._loop.close()
            raise
        try:
            self._ready.result()
        except BaseException:
            self.close()
            self._thread.join()
            raise

    def send(self, task: Task) -> None:
        """Have a task run in the cluster."""
        terms = task._terms.timeout, task._terms.lane
        assert task._item is not None  # noqa: S101 - it is kept until the task ends
        self._outbox.append((task._task, task._name, terms, _wire.pack_message(task._item)))
        # Asked behind that: the loop says no before it looks, and so sees this one, or is told.
        if not self._is_sending:
            self._is_sending = True
            self._call(self._send_all)

    def drop(self, number: int) -> None:
        """Let a task go that has ended, and is not to run again."""
        self._call(self._drop, number)

    def let_go(self, numbers: list[int]) -> None:
        """Have pieces of a map that nobody waits for not begin; the engine hears which."""
        self._call(self._let_go, numbers)

    def strike(self, number: int, grace: float) -> None:
        """Stop a task, wherever it is."""
        self._call(self._orders.strike, number, grace)

    def withdraw(self, numbers: list[int]) -> list[int]:
        """Take back those of some tasks that no worker has begun; return which. Waits for it."""
        if threading.get_ident() == self._thread.ident:
            return []
        with self._lock:
            if not self._takes:
                return []
            asked = asyncio.run_coroutine_threadsafe(self._orders.withdraw(numbers), self._loop)
        try:
            return asked.result()
        except CancelledError:  # it is over
            return []

    def call_later(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something called when some time has passed."""
        self._call(self._loop.call_later, seconds, act)

    def close(self) -> None:
        """Disconnect, or connect no further. Never waits."""
        with self._lock:
            if self._takes:
                self._loop.call_soon_threadsafe(self._leave)
            else:  # it has not begun, or is over
                self._over.set()

    def join(self) -> None:
        """Wait until all is closed."""
        if threading.get_ident() != self._thread.ident:
            self._thread.join()

    def _call(self, act: Callable[..., object], *args: Any) -> None:
        """Have the loop do something, unless it is over, and all tasks have ended."""
        with self._lock:
            if self._takes:
                self._loop.call_soon_threadsafe(act, *args)

    # --- the loop --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._ready.done():
            if isinstance(error, asyncio.CancelledError):
                error = ClusterError("The executor was closed before it was connected")
            self._ready.set_exception(error)
            return
        self._lose(f"the thread that speaks with it has failed: {error!r}")

    async def _serve(self) -> None:
        self._main = asyncio.current_task()
        try:
            if self._over.is_set():
                raise asyncio.CancelledError
            async with contextlib.AsyncExitStack() as stack:
                self._client = client = await _connect.connect(stack, self._target, self._security)
                client.subscribe_topic("all", self._hear_event)
                await self._count()
                self._ready.set_result(None)
                self._start(self._watch(client))
                try:
                    await self._over.wait()
                finally:
                    await self._take_no_more()
                    with contextlib.suppress(ValueError, OSError):  # it is closed
                        client.unsubscribe_topic("all")
        finally:
            await self._take_no_more()

    def _leave(self) -> None:
        self._over.set()
        if self._main is not None and not self._ready.done():
            self._main.cancel()

    async def _take_no_more(self) -> None:
        """End what was begun, that included which others have told the loop by now."""
        with self._lock:
            self._takes = False
        await asyncio.sleep(0)  # in which the loop does it
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._futures.clear()
        self._finished.clear()

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._end_background)

    def _end_background(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(f"what speaks with it has failed: {error!r}")

    def _job(self, number: int) -> str:
        return f"{self._name}:{number}"

    def _key(self, number: int) -> str:
        return f"interpool-{self._name}-{number}"

    def _send_all(self) -> None:
        client = self._client
        assert client is not None  # noqa: S101 - it is there before any task
        self._is_sending = False
        while self._outbox:
            number, name, terms, item = self._outbox.popleft()
            if self._is_gone:
                continue  # it has been ended with all others, or will be
            args = _wire.TAG, self._job(number), name, terms, *item
            try:
                future: Any = client.submit(_site.run, *args, key=self._key(number), pure=False)
            except Exception as error:
                self._engine.hear_error(number, functools.partial(_ends.unsent, error))
                continue
            self._futures[number] = future
            self._start(self._follow(number, future))

    async def _follow(self, number: int, future: distributed.Future[bytes]) -> None:
        """See a task to its end."""
        assert self._client is not None  # noqa: S101 - as in `_send_all`
        with self._client.as_current(), contextlib.suppress(CancelledError):  # its status says so
            await distributed.wait([future])
        if self._futures.get(number) is not future:
            return  # dropped, or withdrawn
        if future.status == "finished":
            self._finished[number] = future
            if not self._is_fetching:
                await self._fetch()
        elif future.status == "error":
            error = await future.exception()
            self._forget(number)
            self._engine.hear_error(
                number, functools.partial(_ends.error_of, error, self._deaths.pop(number, []))
            )
        else:
            self._lose("it has let go of a task: the scheduler is gone, or was restarted")

    async def _fetch(self) -> None:
        """Fetch the outcomes that are there, many at a time."""
        assert self._client is not None  # noqa: S101 - as in `_send_all`
        self._is_fetching = True
        try:
            while self._finished:
                batch, self._finished = self._finished, {}
                try:
                    found = await self._client.gather([*batch.values()])
                except CancelledError:
                    self._lose("the scheduler is gone, or was restarted")
                    return
                except Exception as error:
                    # One of them could not be had: ask for each by itself.
                    await self._fetch_singly(batch, error)
                    continue
                for number, outcome in zip(batch, found, strict=True):
                    self._hear(number, outcome)
        finally:
            self._is_fetching = False

    async def _fetch_singly(
        self, batch: dict[int, distributed.Future[bytes]], error: BaseException
    ) -> None:
        if len(batch) == 1:
            ((number, _),) = batch.items()
            self._forget(number)
            deaths = self._deaths.pop(number, [])
            self._engine.hear_error(number, functools.partial(_ends.error_of, error, deaths))
            return
        assert self._client is not None  # noqa: S101 - as in `_send_all`
        for number, future in batch.items():
            try:
                (outcome,) = await self._client.gather([future])
            except CancelledError:
                self._lose("the scheduler is gone, or was restarted")
                return
            except Exception as own:
                await self._fetch_singly({number: future}, own)
            else:
                self._hear(number, outcome)

    def _hear(self, number: int, outcome: bytes) -> None:
        if self._futures.get(number) is None:
            return
        self._forget(number)
        self._deaths.pop(number, None)
        self._engine.hear(number, *_wire.unpack_outcome(outcome))

    def _forget(self, number: int) -> None:
        self._futures.pop(number, None)

    def _pending(self, number: int) -> distributed.Future[bytes] | None:
        future = self._futures.get(number)
        return None if future is None or future.status != "pending" else future

    def _drop(self, number: int) -> None:
        # Nor is it in the outbox: that was emptied since it came there.
        if (future := self._futures.pop(number, None)) is not None:
            self._start(self._cancel(future))

    def _let_go(self, numbers: list[int]) -> None:
        self._start(self._orders.let_go(numbers))

    async def _cancel(self, future: distributed.Future[bytes]) -> None:
        with contextlib.suppress(
            OSError, CancelledError
        ):  # the cluster is gone, and so is the task
            await future.cancel()

    # --- what becomes of the cluster -------------------------------------------------------------

    def _hear_event(self, event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        if told.get("action") not in {"add-worker", "remove-worker"}:
            return
        self._start(self._count())
        if told["action"] == "add-worker":
            return
        keys = {*told["processing-tasks"], *told["lost-computed-tasks"]}
        numbers = [number for number in self._futures if self._key(number) in keys]
        address = told["worker"]
        if not told.get("expected"):
            for number in numbers:
                self._deaths.setdefault(number, []).append(address)
        is_told = not told.get("expected")
        self._engine.hear_lost_worker(address, numbers, is_told=is_told)

    async def _count(self) -> None:
        """See how many interpreters there are."""
        assert self._client is not None  # noqa: S101 - as in `_send_all`
        with contextlib.suppress(OSError, CancelledError):  # the scheduler is gone: `_watch` sees
            threads = await self._client.nthreads()
            self._engine.hear_of_interpreters(sum(threads.values()))

    async def _watch(self, client: distributed.Client) -> None:
        """See whether the scheduler goes away: a connection on which nothing is said ends then."""
        scheduler: Any = client.scheduler
        try:
            comm = await connect_to(scheduler.address, **client.connection_args)
            try:
                await comm.read()
            finally:
                comm.abort()
        except OSError as error:
            self._lose(f"the scheduler is gone ({error})")

    def _lose(self, why: str) -> None:
        """Tell the engine that the cluster is gone."""
        if self._is_gone or self._over.is_set():
            return
        self._is_gone = True
        text = f"The Dask cluster cannot be used any more: {why}. What ran there is lost"
        self._engine.collapse(functools.partial(ClusterError, text))
