"""The thread lane: for what waits, and for what extensions declare safe where there is no GIL.

A task's function is called in this interpreter, with its arguments as they are: nothing is copied,
and nothing need be sent. A coroutine function is run by `asyncio.run`. Tasks are struck through the
same gate as in a worker (`_inside.gate`); one that does not stop in time is left to its thread,
which is given up.
"""

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from interpool import _cpu, _threads
from interpool._inside import channels, gate, shared, values
from interpool._lanes.base import Host, Lane
from interpool._task import Raised, Task

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._worker import Settings

# Threads that wait for something else cost little: as many more than cores as in
# `concurrent.futures.ThreadPoolExecutor`, and at the most as many.
_MORE: Final = 4
_MOST: Final = 32

# Numbers of workers, as limits of tasks know them: below all those of processes.
_FIRST: Final = -1_000_000


class Threads(Lane):
    """The thread lane of one engine."""

    name = "thread"

    def __init__(self, engine: Engine, settings: Settings) -> None:
        most = max(engine.staff.most, min(_MOST, _cpu.available_cores() + _MORE))
        super().__init__(engine, most)
        self._settings = settings

    def make_host(self, number: int) -> ThreadHost:
        """Make a host of that number."""
        return ThreadHost(self, self._engine, self._settings, number)


class ThreadHost(Host):
    """A thread that calls the functions of tasks."""

    def __init__(self, lane: Threads, engine: Engine, settings: Settings, number: int) -> None:
        self._lane = lane
        self._engine = engine
        self._settings = settings
        self._number = _FIRST - number
        self._is_given_up = False
        self._began = 0  # when the task has begun, if that is traced
        self._thread = _threads.make(self._run, f"{settings.name_prefix}_thread_{number}")

    @property
    def is_started(self) -> bool:
        """Whether the thread has been started."""
        return self._thread.ident is not None

    @property
    def is_alive(self) -> bool:
        """Whether the thread has been started."""
        return self.is_started

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        self._thread.start()

    def disown(self) -> None:
        """Nothing is open."""

    @property
    def place(self) -> tuple[int, int]:
        """Its number as a worker, and 0: it has no process of its own."""
        return self._number, 0

    @property
    def began(self) -> int:
        """When the task has begun (`time.monotonic_ns`), if that is traced; else 0."""
        return self._began

    def heed_trace(self, number: int) -> None:
        """Nothing: it looks for each task."""

    def give_up(self, error: BaseException) -> None:
        """The thread could not be started: end what waits, if nobody else will serve it."""
        end = Raised(error)
        with self._engine.lock:
            self._lane.note_gone(self)
            lost = self._lane.waiting_for_nobody(end)
        for task in lost:
            self._engine.report(task, channels.LOST, end)

    def strike(self) -> None:
        """Interrupt the task. The engine's lock is held."""
        if self.task is not None:
            # In a thread of its own, for it waits for the GIL again and again.
            task, key = self.task, self._key(self.task)
            # If the system gives none: such a task is given up, when its time of grace is over.
            with contextlib.suppress(RuntimeError):
                _threads.make(lambda: self._strike(task, key), "interpool_strike").start()

    def kill(self) -> None:
        """Leave the task to this thread, and its place to another. The engine's lock is held."""
        if self.task is None or self._is_given_up:
            return
        task = self.task
        self._is_given_up = True
        self._lane.note_gone(self)
        if task._stop is not None:
            task._stop.abandoned = self._thread.name
        if self._began and (trace := self._engine.trace) is not None:
            trace.note_left_behind(self.place, task, self._began)
        self._engine.report(task._task, channels.STRUCK)

    def _key(self, task: Task) -> Any:
        # Of a pool in a worker: not the number of a task of that worker's own.
        return id(self), task._task

    def _strike(self, task: Task, key: Any) -> None:
        places = gate.strike(key)
        if places is not None:
            self._engine.report(self._number, channels.HIT, (key[1], places))
            return
        with self._engine.lock:
            is_over = self.task is not task
        if is_over:
            gate.forget(key)

    def _run(self) -> None:
        if self._settings.shared is not None:
            shared.of_thread.objects = self._settings.shared.objects
        while (task := self._lane.take(self)) is not None:
            trace = self._engine.trace
            taken = 0 if trace is None else trace.clock()
            kind, payload = self._outcome_of(task)
            work = None if trace is None else trace.call_of(task, taken, self._began, kind, payload)
            is_wanted = self._has_answered()
            # Of a strike that did not find it: if that comes later yet, it sees that this is over.
            # Else it would wait for a task of that number, of a host that is where this one was.
            gate.forget(self._key(task))
            if not is_wanted:
                return
            self._engine.report(task._task, kind, payload)
            if work is not None:
                self._engine.report(self._number, channels.TRACED, work)
            del task, payload, trace, work
        with self._engine.lock:
            self._lane.note_gone(self)
        self._engine.report(self._number, channels.WAKE)

    def _has_answered(self) -> bool:
        """The task has ended; return whether anybody still wants to know."""
        with self._engine.lock:
            self.task = None
            self._began = 0
            return not self._is_given_up

    def _outcome_of(self, task: Task) -> tuple[int, Any]:
        assert task._work is not None  # noqa: S101 - what comes here has some
        function, args, kwargs = task._work
        if task._terms.timeout is not None:
            with self._engine.lock:
                self._engine.stopper.note_taken(self._number, task._task, time.monotonic_ns())
        failure: BaseException | None = None
        value = None
        key = self._key(task)
        if (trace := self._engine.trace) is not None:
            self._began = trace.clock()
        try:
            try:
                gate.open_gate(key)
                value = function(*args, **kwargs)
                if type(value) is _Coroutine:
                    value = _finish(value)
            except gate.Interrupted:
                raise
            except BaseException as error:
                # Its traceback is the user's own from here on; without this package's frame.
                failure = BaseException.with_traceback(error, _behind_own(error))
            gate.close_gate(key)
        except gate.Interrupted:
            # Half of a package it may have imported is left: others may be importing it here.
            gate.end_struck(key)
            return channels.STRUCK, [*gate.struck_at]
        if failure is not None:
            try:
                return channels.LOST, Raised(failure)
            finally:
                # Its frames refer to this one, which must not refer to the future that holds it.
                del failure, task, function, args, kwargs
        return channels.VALUE_PLAIN, value


def _behind_own(error: BaseException) -> Any:
    frames = error.__traceback__
    return None if frames is None else frames.tb_next


async def _no_task() -> None: ...


_coroutine = _no_task()
_Coroutine: Final = type(_coroutine)
_coroutine.close()


def _finish(coroutine: Any) -> Any:
    return values.module_inside("coroutines").run(coroutine)
