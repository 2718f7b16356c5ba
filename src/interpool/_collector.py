"""The thread that reads results and ends futures.

It guarantees:

* Results are read and futures ended by one thread, in the order in which their frames were sent. A
  batch costs one system call and one taking of the engine's lock, however many results it holds.
* That thread runs no callback of a user's (`_callbacks`), and waits for nothing but frames.
* Should it fail, the pool is broken, with the reason, and every future ended.

It ends when the engine has finished: closed, with no task and no worker left.
"""

import contextlib
import logging
import threading
from collections import deque
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any

from interpool import _codec
from interpool._callbacks import Callback, Callbacks
from interpool._failures import Failure
from interpool._inside import channels
from interpool._output import Console, Output
from interpool._reports import Notice, report

if TYPE_CHECKING:
    from concurrent.futures import Future

    from interpool._engine import Engine, Outcome
    from interpool._transport import Transport


class Collector:
    """The result side of one engine."""

    def __init__(self, engine: Engine, transport: Transport, name: str) -> None:
        self._engine = engine
        self._transport = transport
        self._thread = threading.Thread(target=self._run, name=f"{name}_collector")
        # Of what was read, not ended yet.
        self._outcomes: deque[Outcome | Output | Notice] = deque()
        self._console = Console()
        self._callbacks = Callbacks(engine.max_workers, name)

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
            return  # a finalizer that runs here; there is nobody else to wait for
        self._thread.join()
        if not self._callbacks.is_calling():
            self._callbacks.shutdown(wait=True)

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended: now, unless this is the reading thread."""
        if threading.current_thread() is self._thread:
            self._callbacks.add(future, callback)
        else:
            callback(future)

    def _run(self) -> None:
        try:
            self._collect()
        except BaseException as error:
            # Ours or the system's fault. No future may be left waiting for this thread; its pool
            # is told, and given one more chance to see its workers off.
            self._engine.collapse(error, self._outcomes)
            self._end_all()
            self._collect()
        finally:
            self._callbacks.shutdown(wait=False)

    def _collect(self) -> None:
        while not self._engine.finish():
            self._callbacks.hand_over()  # those of futures that a finalizer here has cancelled
            self._engine.absorb(self._transport.read(), self._outcomes)
            self._end_all()

    def _end_all(self) -> None:
        while self._outcomes:
            # Popped, so that a future and its result live no longer than their user holds them.
            if isinstance(outcome := self._outcomes.popleft(), Output):
                self._console.pass_on(outcome)
            elif isinstance(outcome, Notice):
                report(logging.CRITICAL, "%s", outcome.text)
            else:
                _end(outcome)
            del outcome
            self._callbacks.hand_over()


def _end(outcome: Outcome) -> None:
    """End a future with what its frame says."""
    future = outcome.future
    with contextlib.suppress(InvalidStateError):  # its user has set its result
        try:
            value = _value(outcome.kind, outcome.payload, future._name)
        except BaseException as error:
            BaseException.with_traceback(error, None)  # not by way of this module
            future.set_exception(error)
        else:
            future.set_result(value)
        finally:
            future._keeps = ()


def _value(kind: int, payload: Any, name: str) -> Any:
    """Return the value of a frame, or raise its exception; `name` is the function's."""
    match kind:
        case channels.VALUE_PLAIN:
            return payload
        case channels.VALUE_PICKLED:
            return _codec.load_result(payload, name)
        case channels.EACH:
            return _codec.load_chunk(payload, name)
        case channels.FAILED:
            raise Failure.from_frame(payload).as_exception(name)
        case _:
            raise payload.as_exception(name)
