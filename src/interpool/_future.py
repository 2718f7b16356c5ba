"""The future of a task, with the answers that only the engine knows."""

import concurrent.futures
import enum
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from interpool._interrupts import Deferred

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.outcomes import Message
    from interpool._pickling import Keeps


class Stage(enum.Enum):
    """Where a task is. It only moves down this list; the engine's lock covers the moves."""

    WAITING = enum.auto()  # in the backlog, its message still here
    SENT = enum.auto()  # in the task queue, or taken by a worker
    ANSWERED = enum.auto()  # its outcome is here and being set
    WITHDRAWN = enum.auto()  # cancelled before any worker took it


class Future[T](concurrent.futures.Future[T]):
    """A `concurrent.futures.Future` whose task is, or will be, in a worker's interpreter.

    It behaves as a `ThreadPoolExecutor`'s: `cancel()` succeeds exactly until a worker takes the
    task, and `running()` is true exactly while a worker has it.

    Thread-safety: every method may be called from any thread.

    .. versionadded:: 0.1
    """

    def __init__(
        self, engine: Engine, message: Message | None, name: str, keeps: Keeps = ()
    ) -> None:
        super().__init__()
        self._name = name  # the function's, for errors
        self._engine = engine
        self._stage = Stage.WAITING
        self._message = message  # dropped when it is sent
        self._keeps = keeps  # until it has ended: its result may be of a class that nobody holds
        self._position = 0  # in the task queue, once sent

    def cancel(self) -> bool:
        """Cancel the task if no worker has taken it; return whether it is cancelled."""
        # An interrupt on the way into the future's own lock would leave it locked for ever, and
        # the collector waiting for it.
        with Deferred():
            cancel_all([self])
            # False unless it was withdrawn, now or before: a task that is sent stays pending.
            return self.cancelled() or (self._stage is Stage.WITHDRAWN and super().cancel())

    def settle_withdrawn(self) -> None:
        """Tell waiters and callbacks of a task that the engine has withdrawn."""
        super().cancel()
        self._keeps = ()
        # No worker will ever come by to do this, as one does in ThreadPoolExecutor.
        self.set_running_or_notify_cancel()

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
        super().add_done_callback(lambda future: engine.call_back(future, fn))


def cancel_all(futures: Iterable[Future[Any]]) -> None:
    """Cancel those of one pool's tasks that no worker has taken, at the cost of one."""
    # An interrupt between withdrawing and settling would leave a future that never ends.
    with Deferred():
        futures = [future for future in futures if not future.done()]
        if futures:
            for future in futures[0]._engine.withdraw(futures):
                future.settle_withdrawn()
