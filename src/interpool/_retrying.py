"""Running tasks again whose run has failed, after a pause."""

import functools
import time
import traceback
from typing import TYPE_CHECKING

from interpool._errors import TaskInterrupted
from interpool._future import Future
from interpool._stops import Reason
from interpool._terms import note_attempts
from interpool._transport import item_of

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._task import Task


class Retrying:
    """What decides, for the tasks of one engine, whether a failure is their end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def try_again(self, task: Task, error: BaseException) -> BaseException | None:
        """Have a task whose run has failed run again, if it may; else return what it ends with."""
        engine = self._engine
        retry = task._terms.retry
        failed = len(task._failures) + 1
        # Outside the lock: both ask the exception's class, which is the user's.
        is_wanted = retry is not None and task.is_wanted and retry.wants(error, failed)
        line = _line_of(error)
        with engine.lock:
            is_stopped = task._stop is not None and task._stop.reason is not Reason.TIMEOUT
            is_over = engine.is_terminated or engine.broken is not None
            may_be = retry is not None and is_wanted and not (is_stopped or is_over)
            if may_be and retry is not None and self._plan(task, retry.pause(failed), line):
                task._stop = None
                engine.tasks.decide(task, is_tried_again=True)
                if isinstance(task, Future) and "_condition" in vars(task):
                    engine.listen_to(task)
                return None
            engine.tasks.decide(task, is_tried_again=False)
            engine.look_whether_all_is_sent()
        if is_stopped and task._stop is not None and type(error) is not TaskInterrupted:
            # It was interrupted after that run.
            error, failure = task._stop.as_exception(task._name), error
            error.__cause__ = failure
        note_attempts(error, task._failures)
        return error

    def _plan(self, task: Task, pause: float, line: str) -> bool:
        """Have a task run again after a pause; return whether that can be. The lock is held."""
        failed = len(task._failures) + 1
        due = time.monotonic() + pause
        resend = functools.partial(self._resend, task)  # when the lock is free again
        try:
            self._engine.timekeeper.set((self._engine, task._task), due, resend)
        except RuntimeError as error:
            task._failures += (
                f"Run {failed} was the last: nobody can wait {pause:.3g} s for another: {error}",
            )
            return False
        task._failures += (f"Run {failed} failed ({line}); the next was due {pause:.3g} s later",)
        return True

    def _resend(self, task: Task) -> None:
        """Run a task again whose pause is over: called by the timekeeper."""
        engine = self._engine
        message = task._message
        if message is None:
            return
        number = engine.new_number()
        watched = task._terms.timeout is not None
        item = item_of(number, task._environment, message, is_watched=watched)
        if engine.trace is not None:
            engine.trace.hold(number, len(task._failures) + 1)
        with engine.lock:
            is_sent = engine.tasks.resend(task, number, item)
            if is_sent:
                engine.wake()
        if is_sent:
            engine.hire()


def _line_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # its own code
        return type(error).__qualname__
