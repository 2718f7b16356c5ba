"""The thread that reads results and ends futures, and the threads that run users' callbacks.

It guarantees:

* Results are read and futures ended by one thread, in the order in which their frames were sent. A
  batch costs one system call and one taking of the engine's lock, however many results it holds.
* That thread runs no callback of a user's: a callback may wait for another future of this pool,
  which only this thread can end. Callbacks run in threads of their own, as many as there may be
  workers, the callbacks of one future one after the other: just what they would meet in the
  threads of a `ThreadPoolExecutor`.

* Should it fail, the pool is broken, with the reason, and every future ended.

It ends when the engine has finished: closed, with no task and no worker left.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from interpool import _codec, _remote
from interpool._failures import Failure

if TYPE_CHECKING:
    from interpool._engine import Engine, Outcome
    from interpool._future import Future
    from interpool._transport import Transport

type Callback = Callable[["Future[Any]"], object]

_LOGGER: Final = logging.getLogger("concurrent.futures")  # where that package logs the same


class Collector:
    """The result side of one engine."""

    def __init__(self, engine: Engine, transport: Transport, name: str) -> None:
        self._engine = engine
        self._transport = transport
        self._name = name
        self._thread = threading.Thread(target=self._run, name=f"{name}_collector")
        self._due: list[Callback] = []  # callbacks met while a future is being ended
        self._callers: ThreadPoolExecutor | None = None
        self._calling: set[int] = set()  # identifiers of the threads that run callbacks now

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        self._thread.start()

    def join(self) -> None:
        """Wait until the engine has finished and every callback has returned.

        From a callback, wait for the engine only: the callback itself is one of those.
        """
        if threading.current_thread() is self._thread:
            return  # a finalizer that ran here; there is nobody else to wait for
        self._thread.join()
        if self._callers is not None and threading.get_ident() not in self._calling:
            self._callers.shutdown()

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended: now, unless this is the reading thread."""
        if threading.current_thread() is self._thread:
            self._due.append(callback)
        else:
            callback(future)

    def _run(self) -> None:
        try:
            self._collect()
        except BaseException as error:
            # Ours or the system's fault. No future may be left waiting for this thread; its pool
            # is told, and given one more chance to see its workers off.
            self._end_all(self._engine.collapse(error))
            self._collect()
        finally:
            if self._callers is not None:
                self._callers.shutdown(wait=False)

    def _collect(self) -> None:
        while not self._engine.finish():
            self._end_all(self._engine.absorb(self._transport.read()))

    def _end_all(self, outcomes: list[Outcome]) -> None:
        outcomes.reverse()
        while outcomes:
            # Popped, so that a future and its result live no longer than their user holds them.
            self._end(outcomes.pop())

    def _end(self, outcome: Outcome) -> None:
        """End a future with what its frame says."""
        future = outcome.future
        try:
            value = _value(outcome.kind, outcome.payload)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)
        if self._due:
            due, self._due = self._due, []
            if self._callers is None:
                self._callers = ThreadPoolExecutor(
                    self._engine.max_workers, f"{self._name}_callbacks"
                )
            self._callers.submit(self._call, future, due)

    def _call(self, future: Future[Any], callbacks: list[Callback]) -> None:
        self._calling.add(threading.get_ident())
        try:
            for callback in callbacks:
                try:
                    callback(future)
                except Exception:  # as `concurrent.futures` treats it
                    _LOGGER.exception("exception calling callback for %r", future)
        finally:
            self._calling.discard(threading.get_ident())


def _value(kind: int, payload: Any) -> Any:
    """Return the value of a frame, or raise its exception."""
    match kind:
        case _remote.VALUE_PLAIN:
            return payload
        case _remote.VALUE_PICKLED:
            return _codec.load_result(payload)
        case _remote.EACH:
            return _codec.load_chunk(*payload)
        case _remote.FAILED:
            raise Failure.from_frame(payload).as_exception()
        case _:
            raise payload.as_exception()
