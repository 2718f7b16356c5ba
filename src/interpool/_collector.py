"""Reading results and ending futures: in the thread that waits for one, or else in a thread for it.

It guarantees:

* Results are read, and futures ended, by one thread at a time, the one that holds `_reading`, in
  the order in which their frames were sent. A batch costs one system call and one taking of the
  engine's lock, however many results it holds.
* A thread that waits for a result reads it itself, unless somebody else is reading: a wake-up and a
  hand-over of the GIL less on the way of every single task (`read_until`). Not the main thread,
  where signals have handlers: they may raise there, or wait for other results in their turn.
* While anything is urgent (`Engine.is_urgent`: somebody listens to a future, tasks wait for room,
  workers start, the pool closes), the collector's own thread reads, or waits for the reading thread
  to be done. Whoever makes something urgent calls it afterwards (`call`).
* While nothing is, it rests for `PAUSE` after each batch, so that threads that submit much and wait
  for nothing yet do not share the GIL with it for every result; then it reads on. It sleeps in a
  read, not by the clock, as long as nothing comes.
* It runs no callback of a user's (`_callbacks`), and nothing but it writes to users' streams: those
  may block. Ending a future may load a pickle, which is a user's code.
* Should reading fail, the pool is broken, with the reason, and every future ended.

It ends when the engine has finished: closed, with no task and no worker left.

Locks: `_reading`, then the engine's.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any, Final

from interpool import _codec, _threads
from interpool._callbacks import Callback, Callbacks
from interpool._failures import Failure
from interpool._future import Future, Relayed
from interpool._inside import channels
from interpool._interrupts import Deferred, may_be_called_back
from interpool._lots import Piece
from interpool._output import Console, Output
from interpool._reports import Notice, report, warn
from interpool._task import Outcome, Raised, Task

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._transport import Transport

# Seconds for which results may lie that nobody waits for: the time after which a thread that
# computes is asked to let go of the GIL, so nobody would read them sooner anyway.
PAUSE: Final = 0.005
# Seconds that one wait of the system may last: a number of milliseconds that a C int holds.
_LONGEST: Final = 1e6


class Collector:
    """The result side of one engine."""

    def __init__(self, engine: Engine, transport: Transport, name: str) -> None:
        self._engine = engine
        self._transport = transport
        self._thread = _threads.make(self._run, f"{name}_collector")
        # Of what was read, not ended yet.
        self.outcomes: deque[Outcome | Output | Notice] = deque()
        self._console = Console()
        self._callbacks = Callbacks(engine.staff.most, name)
        self._reading = threading.Lock()
        self._reader: int | None = None  # the thread that holds it
        self._reads = 0  # batches read by threads that wait for a result
        self._called = threading.Lock()  # released by `call`, by whoever takes the one token
        self._called.acquire()
        self._tokens = [None]

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
        if threading.get_ident() == self._reader:
            return  # a finalizer that runs here; there is nobody else to wait for
        self._engine.done.wait()
        if not self._engine.staff.abandoned:
            self._thread.join()
        if not self._callbacks.is_calling():
            self._callbacks.shutdown(wait=True)

    def call(self) -> None:
        """Have the thread read, or be there when the reading thread is done."""
        with contextlib.suppress(IndexError):  # it has been called
            # A lock that was handed to the thread that waits for it must not be released by another
            # caller before that thread has run: CPython's debug build asserts that.
            self._tokens.pop()
            self._called.release()

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended: now, unless this is the reading thread."""
        if threading.get_ident() == self._reader:
            self._callbacks.add(future, callback)
        else:
            Deferred.let_users_code_through(callback, future)

    def wake_reader(self) -> None:
        """Wake a thread that waits for a result of its own: there is an exception for it."""
        self._engine.nudge()

    @property
    def is_read_here(self) -> bool:
        """Whether it is the calling thread that reads."""
        return self._reader == threading.get_ident()

    @property
    def is_read_elsewhere(self) -> bool:
        """Whether a thread reads that waits for a result of its own."""
        return self._reader not in {None, self._thread.ident, threading.get_ident()}

    def read_until(
        self, is_done: Callable[[], bool], timeout: float | None, own: Task | None
    ) -> None:
        """Read in the calling thread until its wish is fulfilled or the time is up.

        Returns at once if somebody else is reading, and early if there is something to do that is
        the collector's thread's: then the caller waits in another way.

        Args:
            is_done: what the caller waits for.
            timeout: seconds; None waits for ever. With one that makes no sense it does not wait.
            own: the task whose end that is, if it is one's.
        """
        if timeout is not None and not 0 <= timeout <= _LONGEST:
            return
        if self._reader is not None or may_be_called_back() or not self._transport.can_wait:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        left = timeout
        # A signal may end the wait, and nothing else in here.
        with Deferred() as interrupts:
            if not self._reading.acquire(blocking=False):
                return
            try:
                if self._engine.transport is None:
                    # It has finished, and its descriptors may be others' by now. What was withdrawn
                    # at its end may yet have to be told so, by the thread that did it.
                    return
                self._reader = threading.get_ident()
                while not self.outcomes and not is_done():
                    if interrupts.let_through(self._wait, left):
                        self._take(own)
                    elif left is not None and left <= 0:
                        return
                    if deadline is not None:
                        left = max(deadline - time.monotonic(), 0)
            finally:
                self._reads += 1
                self._reader = None
                self._reading.release()
                if self.outcomes or self._engine.is_urgent():
                    self.call()

    def _wait(self, timeout: float | None) -> bool:
        """Wait for frames, and meanwhile start the workers that have been put off."""
        if (put_off := self._engine.staff.put_off) is not None:
            begin = time.monotonic()
            left = put_off - begin if self._transport.can_wait else 0
            if left > 0 and (timeout is None or left < timeout) and self._transport.wait(left):
                return True
            now = time.monotonic()
            if now >= put_off or left == 0:
                self._engine.hire_now()
            if timeout is not None:
                timeout = max(timeout - (now - begin), 0)
        return self._transport.wait(timeout)

    def _take(self, own: Task | None) -> None:
        """Read a batch and end what takes no user's code, or is the caller's own."""
        outcomes = self.outcomes
        try:
            self._engine.absorb(self._transport.read(), outcomes)
            self._engine.settle()
            while outcomes and isinstance(outcome := outcomes[0], Outcome):
                is_plain = outcome.kind == channels.VALUE_PLAIN or (
                    isinstance(outcome.task, Piece) and outcome.task._message is None
                )
                if not is_plain and outcome.task is not own:
                    break
                self._end(outcome)
                outcomes.popleft()
                del outcome
            self._callbacks.hand_over()
        except BaseException as error:  # as in `_run`
            self._collapse(error)
            if not isinstance(error, Exception):
                raise

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._collect()
        except BaseException as error:
            # Ours or the system's fault. No future may be left waiting for this thread; its pool
            # is told, and given one more chance to see its workers off.
            with self._reading:
                self._reader = threading.get_ident()
                self._collapse(error)
                self._end_all()
            self._collect()
        finally:
            self._callbacks.shutdown(wait=False)

    def _collapse(self, error: BaseException) -> None:
        self._engine.collapse(error, self.outcomes)

    def _collect(self) -> None:
        while True:
            with self._reading:
                self._reader = threading.get_ident()
                try:
                    self._end_all()
                    self._engine.settle()
                    self._callbacks.hand_over()  # of what a finalizer here has cancelled
                    if self._engine.finish():
                        return
                    self._wait(None)
                    self._engine.absorb(self._transport.read(), self.outcomes)
                    self._end_all()
                finally:
                    self._reader = None
            self._rest()

    def _rest(self) -> None:
        """Leave the reading to others while nothing is urgent, and somebody does or none waits."""
        while not self.outcomes and not self._engine.is_urgent():
            reads = self._reads
            if self._called.acquire(timeout=PAUSE):
                self._tokens.append(None)
            elif reads == self._reads:
                return

    def _end_all(self) -> None:
        while self.outcomes:
            # Popped, so that a future and its result live no longer than their user holds them.
            if isinstance(outcome := self.outcomes.popleft(), Output):
                self._console.pass_on(outcome)
            elif isinstance(outcome, Notice) and outcome.category is not None:
                warn(outcome.text, outcome.category)
            elif isinstance(outcome, Notice):
                report(logging.CRITICAL, "%s", outcome.text)
            else:
                self._end(outcome)
            del outcome
            self._callbacks.hand_over()

    def _end(self, outcome: Outcome) -> None:
        """End a task with what its frame says, unless it is tried again."""
        task = outcome.task
        if task._message is not None:
            error, number, trace = _error_of(outcome), task._task, self._engine.trace
            if error is not None:
                if (final := self._engine.retrying.try_again(task, error)) is None:
                    if trace is not None:
                        trace.note_retried(number, task._name, error)
                    return
                if trace is not None:
                    trace.note_tried(number, outcome, error)
                outcome = Outcome(task, channels.DIED, Raised(final))
            elif trace is not None:
                trace.note_tried(number, outcome, None)
        _end(outcome)


def _error_of(outcome: Outcome) -> BaseException | None:
    """Return the exception that a task is to end with, or None if there is a value to load."""
    name = outcome.task._name
    match outcome.kind:
        case channels.VALUE_PLAIN | channels.VALUE_PICKLED:
            return None
        case channels.FAILED:
            return Failure.from_frame(outcome.payload).as_exception(name)
        case _:
            error: BaseException = outcome.payload.as_exception(name)
            return error


def _end(outcome: Outcome) -> None:
    """End a task with what its frame says."""
    future = outcome.task
    if isinstance(future, Piece):
        with Deferred(), future.lot.engine.lock:
            future.lot.deliver(future, outcome.kind, outcome.payload)
        return
    if isinstance(future, Relayed):
        future.relay(outcome.kind, outcome.payload)
        return
    assert isinstance(future, Future)  # noqa: S101 - there is no other kind
    with contextlib.suppress(InvalidStateError):  # its user has set its result
        try:
            if (error := _error_of(outcome)) is not None:
                future.set_exception(error)
            elif outcome.kind == channels.VALUE_PLAIN:
                future.set_result(outcome.payload)
            else:
                future.set_result(_codec.load_result(outcome.payload, future._name))
        except InvalidStateError:
            raise
        except BaseException as failure:  # of loading a result
            BaseException.with_traceback(failure, None)  # not by way of this module
            future.set_exception(failure)
        finally:
            future._keeps = ()
