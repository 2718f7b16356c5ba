"""The future of a task, with the answers that only the engine knows.

A `concurrent.futures.Future` has a condition and two lists, which cost more than all the rest of a
task's way through this process (0.7 us of making them, and the garbage collector's care), and which
nobody needs who asks for a result that is there. So they are made when first asked for, under the
engine's lock; under that lock the engine ends the futures that have none without further ado.
"""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from typing import TYPE_CHECKING, Any, Final

from interpool._guarded import GuardedWaiters, guarded_condition
from interpool._inside.channels import STRUCK
from interpool._interrupts import Deferred
from interpool._stops import GRACE, Reason, Stop
from interpool._task import Stage, Task
from interpool._terms import checked_seconds, note_attempts

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._pickling import Keeps
    from interpool._transport import Item

# What the base class's constructor makes of each future's own. A test compares.
_MADE_LATE: Final = frozenset({"_condition", "_waiters", "_done_callbacks"})
_CANCELLED: Final = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED})
_DONE: Final = _CANCELLED | {FINISHED}


class Future[T](Task, concurrent.futures.Future[T]):
    """A `concurrent.futures.Future` whose task is, or will be, in a worker's interpreter.

    It behaves as a `ThreadPoolExecutor`'s: `cancel()` succeeds exactly until a worker takes the
    task, and `running()` is true exactly while a worker has it.

    Thread-safety: every method may be called from any thread.

    .. versionadded:: 0.1
    """

    # Until it ends. What each has of its own is made late.
    _state = PENDING
    _result = None
    _exception = None
    _is_asked = False  # whether what is made late has been asked for
    _keeps: Keeps = ()  # until it has ended: its result may be of a class that nobody holds

    def __init__(
        self, engine: "Engine", name: str, task: int = 0, item: "Item" = b"", keeps: "Keeps" = ()
    ) -> None:
        # Not the base class's: see above.
        self._name = name  # the function's, for errors
        self._engine = engine
        self._task = task
        self._item = item
        if keeps:
            self._keeps = keeps

    def __getattr__(self, name: str) -> Any:
        """Make what the base class asks for."""
        if name not in _MADE_LATE:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message)
        own = self.__dict__
        with Deferred(), self._engine.lock:
            if "_condition" not in own:
                self._is_asked = True
                own["_waiters"] = GuardedWaiters()
                own["_done_callbacks"] = []
                own["_condition"] = guarded_condition()
                self._engine.listen_to(self)
        return own[name]

    def end_unheard(self, result: Any) -> bool:
        """End with a result if nobody has asked for it yet; return whether nobody had.

        The engine's lock is held: who asks meanwhile waits for it, and then finds the result.
        """
        # Asking for `__dict__` would make one, which is 10,000 more objects for 10,000 futures.
        if self._is_asked or self._state is not PENDING:
            return False
        self._result = result
        self._state = FINISHED
        if self._keeps:
            self._keeps = ()
        return True

    def done(self) -> bool:
        """Return whether the task has ended or was cancelled."""
        return self._state in _DONE

    def cancelled(self) -> bool:
        """Return whether the task was cancelled."""
        return self._state in _CANCELLED

    def result(self, timeout: float | None = None) -> T:
        """Return what the task returned, waiting for it; as in `concurrent.futures`.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            TimeoutError: if it has not ended by then.
            CancelledError: if it was cancelled.
            Exception: what the task raised, with the traceback in the worker as its cause.
        """
        if self._state is FINISHED and self._exception is None:
            found: Any = self._result
            return found  # type: ignore[no-any-return]
        try:
            return super().result(self._time_left_after_reading(timeout))
        finally:
            # As the base class does: the exception's traceback has this frame, and the future it.
            self = None  # type: ignore[assignment]  # noqa: PLW0642

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, or None, waiting for its end; as in `concurrent.futures`.

        Args:
            timeout: seconds to wait; None waits for ever.

        Raises:
            TimeoutError: if it has not ended by then.
            CancelledError: if it was cancelled.
        """
        return super().exception(self._time_left_after_reading(timeout))

    def _time_left_after_reading(self, timeout: float | None) -> float | None:
        """Wait by reading results in this thread, if it may; return the time that is left."""
        if self.done():
            return timeout
        begin = time.monotonic()
        self._engine.wait_for(self.done, timeout, self)
        return None if timeout is None else max(timeout - (time.monotonic() - begin), 0)

    def set_result(self, result: T) -> None:
        """End the future; as in `concurrent.futures`, for executors and tests."""
        super().set_result(result)
        self._engine.nudge()

    def set_exception(self, exception: BaseException | None) -> None:
        """End the future; as in `concurrent.futures`, for executors and tests."""
        super().set_exception(exception)
        self._engine.nudge()

    def cancel(self) -> bool:
        """Cancel the task if no worker has taken it; return whether it is cancelled."""
        # An interrupt on the way into the future's own lock would leave it locked for ever, and
        # the collector waiting for it.
        with Deferred():
            engine = self._engine
            is_locked = engine.is_locked_here
            for task in [] if self.done() else engine.withdraw([self]):
                if is_locked:
                    engine.settle_later(task)
                else:
                    task.settle_withdrawn()
            # False unless it was withdrawn, now or before: a task that is sent stays pending.
            return self.cancelled() or (
                self._stage is Stage.WITHDRAWN
                and self._stop is None
                and (is_locked or super().cancel())
            )

    def settle_withdrawn(self) -> None:
        """Tell waiters and callbacks of a task that the engine has withdrawn."""
        self._keeps = ()
        if self._stop is not None:  # interrupted before it began
            error = self._stop.as_exception(self._name)
            note_attempts(error, self._failures)
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled, too
                self.set_exception(error)
            return
        try:
            super().cancel()
        finally:  # whatever a callback raises
            # No worker will ever come by to do this, as one does in ThreadPoolExecutor.
            self.set_running_or_notify_cancel()
            self._engine.nudge()

    def interrupt(self, *, grace: float = GRACE) -> bool:
        """Stop the task, or keep it from beginning; the future then raises `TaskInterrupted`.

        Python code is stopped within some 20 ms by a KeyboardInterrupt, which is raised in the task
        wherever it is, so that its `finally` and `with` blocks run; the worker then serves the next
        task. A call that stays in C code is not reached, and a task may catch the exception: after
        the time of grace its worker is abandoned (a RuntimeWarning names it), that is, replaced,
        and left to end when the task returns. The future has ended by then in any case. Of a task
        that may be tried again (`retries`), this is the end.

        Returns at once.

        Args:
            grace: seconds that the task has to stop.

        Returns:
            Whether the future ends with `TaskInterrupted`: false if the task had ended or was
            cancelled.

        Raises:
            TypeError, ValueError: for a grace that is no number, or negative.

        Thread-safety: may be called from any thread, and from a callback.

        .. versionadded:: 0.1
        """
        seconds = checked_seconds(grace, "grace")
        return not self.done() and self._engine.interrupt(self, seconds)

    def running(self) -> bool:
        """Return whether a worker is running the task now."""
        return not self.done() and self._engine.is_running(self)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], Any]) -> None:
        """Call `fn(future)` when the task ends, or now if it has; as in `concurrent.futures`.

        Callbacks are called in the order in which they were added, in a thread in which they may
        block: a callback that waits for other futures of the pool does not keep them from ending.
        """
        # Not self: a future that referred to itself by its callbacks would wait for a collection.
        engine = self._engine
        with Deferred():  # as in `cancel`
            super().add_done_callback(lambda future: engine.call_back(future, fn))  # type: ignore[arg-type]  # it is one of ours


class Relayed(Future[tuple[int, Any]]):
    """The future of a task that another process has encoded, and that is to load its outcome.

    Its result is that outcome as its frame has it, a kind and a payload: nothing of it is loaded
    here. Whoever submits one tells by `tell` whom to call with it, in the thread that reads.
    """

    _tell: Callable[[int, Any], None] | None = None

    def tell(self, hearer: Callable[[int, Any], None]) -> None:
        """Have somebody called with the outcome: once, and now if it is there.

        Args:
            hearer: what is called. It must neither block nor raise.
        """
        with Deferred(), self._engine.lock:
            self._tell = hearer
            self._engine.listen_to(self)
            is_late = self.done()
        if is_late:
            hearer(*self.result())

    def end_unheard(self, result: Any) -> bool:  # noqa: ARG002 - `Task` has it
        """Not this way: whoever is to be told waits for nothing."""
        return False

    def relay(self, kind: int, payload: Any) -> None:
        """End with the outcome."""
        with Deferred(), self._engine.lock:
            hearer, self._tell = self._tell, None
            self.set_result((kind, payload))
        if hearer is not None:
            hearer(kind, payload)

    def settle_withdrawn(self) -> None:
        """End a task that no worker has taken as one that was stopped."""
        self.relay(STRUCK, self._stop or Stop(Reason.TERMINATE, has_begun=False))
