"""Ending the tasks of a cluster executor, or running them again: in a thread of its own.

It loads results and tells futures, and so runs users' code, which may take its time and raise
anything: nothing of that holds up the thread of Dask's event loop, or the engine's lock. Users'
callbacks, which may wait for other tasks, have threads of their own.
"""

import concurrent.futures
import functools
import queue
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from interpool import _threads
from interpool._callbacks import Callback, Callbacks
from interpool._collector import _end, _error_of
from interpool._inside import channels
from interpool._interrupts import Deferred
from interpool._lots import Piece
from interpool._retrying import line_of, said_of_run
from interpool._stops import Reason, Stop
from interpool._task import Outcome, Raised, Stage, Task
from interpool._terms import note_attempts

if TYPE_CHECKING:
    from interpool._future import Future
    from interpool.cluster._engine import ClusterEngine

# Threads that run users' callbacks: as many as a pool of one machine has. Arbitrary.
_CALLERS: Final = 8


class Ending:
    """What ends the tasks of one engine."""

    def __init__(self, engine: ClusterEngine) -> None:
        self._engine = engine
        self._callbacks = Callbacks(_CALLERS, engine.name)
        self._due: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = _threads.make(self._run, f"{engine.name}_collector")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Have the thread go, when it has done what is due."""
        self._due.put(None)

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the one that ends tasks."""
        return threading.get_ident() == self._thread.ident

    def join(self) -> None:
        """Wait until it is gone."""
        self._thread.join()

    def join_callbacks(self) -> None:
        """Wait until users' callbacks have returned, unless this is called by one of them."""
        if not self._callbacks.is_calling():
            self._callbacks.shutdown(wait=True)

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended, where it may block."""
        if self.is_here:
            self._callbacks.add(future, callback)
        else:
            Deferred.let_users_code_through(callback, future)

    # --- left to the thread, by others -----------------------------------------------------------

    def do(self, act: Callable[..., None], *args: Any) -> None:
        """Have something done there."""
        self._due.put(functools.partial(act, *args))

    def _run(self) -> None:
        while (act := self._due.get()) is not None:
            try:
                act()
            except BaseException as error:  # ours: no future may be left waiting for this thread
                text = "".join(traceback.format_exception(error))
                self.end_all(functools.partial(concurrent.futures.BrokenExecutor, text))
            act = None
            self._callbacks.hand_over()

    # --- in the thread ---------------------------------------------------------------------------

    def answer(self, number: int, kind: int, payload: Any) -> None:
        """End a task with an outcome, unless it is tried again."""
        engine = self._engine
        with engine.lock:
            task = engine.tasks.get(number)
        if task is None:
            return
        if task._stop is not None or kind == channels.STRUCK:
            kind, payload = channels.STRUCK, _stop_of(task, kind, payload)
        outcome = Outcome(task, kind, payload)
        if task._terms.retry is not None and (error := _error_of(outcome)) is not None:
            if self._tries_again(task, error):
                return
            note_attempts(error, task._failures)
            outcome = Outcome(task, channels.DIED, Raised(error))
        self._end(outcome)

    def answer_with_error(self, number: int, make: Callable[[str], BaseException]) -> None:
        """End a task with an error, made of its function's name, unless it is tried again."""
        engine = self._engine
        with engine.lock:
            task = engine.tasks.get(number)
        if task is not None:
            self.answer(number, channels.DIED, Raised(make(task._name)))

    def end_all(self, make: Callable[[], BaseException]) -> None:
        """Break the executor, and end all tasks with an error."""
        engine = self._engine
        with engine.lock:
            if engine.broken is not None:
                return
            engine.broken = make
            left = engine.tasks.take_all(make)
        for task in left:
            _end(Outcome(task, channels.DIED, Raised(make())))
        engine.finish()

    def look_whether_idle(self) -> None:
        """Go on, or finish, after something was withdrawn: not before it is settled."""
        engine = self._engine
        with engine.lock:
            engine.tasks.feed()
            engine.finish_if_idle()

    def _end(self, outcome: Outcome) -> None:
        engine, task = self._engine, outcome.task
        with engine.lock:
            if engine.tasks.take_out(task._task) is None:
                return  # withdrawn meanwhile
            task._stage = Stage.ANSWERED
            task._item = None
            if isinstance(task, Piece):
                task.lot.account(task, outcome.kind, outcome.payload)
                engine.tasks.add_lot(task.lot, is_next=True)  # what was handed back
            engine.tasks.feed()
        _end(outcome)
        with engine.lock:
            engine.finish_if_idle()

    def _tries_again(self, task: Task, error: BaseException) -> bool:
        """Have a task whose run has failed run again, if it may."""
        engine = self._engine
        retry = task._terms.retry
        failed = len(task._failures) + 1
        # Outside the lock: it asks the exception's class, which is the user's.
        if retry is None or not task.is_wanted or not retry.wants(error, failed):
            return False
        line = line_of(error)
        pause = retry.pause(failed)
        with engine.lock:
            is_stopped = task._stop is not None and task._stop.reason is not Reason.TIMEOUT
            if is_stopped or engine.broken is not None:
                return False
            if engine.tasks.take_out(task._task) is None:
                return True  # withdrawn meanwhile, and settled by whoever did it
            task._failures += (said_of_run(failed, line, pause),)
            engine.tasks.delay(task)
            engine.link.call_later(pause, functools.partial(self._resume, task))
            engine.tasks.feed()
        return True

    def _resume(self, task: Task) -> None:
        with self._engine.lock:
            self._engine.tasks.resume(task)


def _stop_of(task: Task, kind: int, payload: Any) -> Stop:
    """The end of a task that was to stop, or says that it was, by what its worker answered."""
    if kind == channels.STRUCK and isinstance(payload, Stop):
        if task._stop is not None:
            payload.reason = task._stop.reason
        task._stop = task._stop or payload
        return payload
    stop = task._stop
    assert stop is not None  # noqa: S101 - else nobody asks
    return stop
