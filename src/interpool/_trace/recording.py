"""What an engine says to its trace while there is one, and the begin and the end of that."""

import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from interpool import _transport
from interpool._inside import channels, tracing
from interpool._interrupts import Deferred, Latch
from interpool._statistics import process_memory
from interpool._stops import Reason, Stop
from interpool._task import Raised
from interpool._trace.records import Kind, Place, Record

if TYPE_CHECKING:
    from interpool._codec import Request
    from interpool._engine import Engine
    from interpool._lanes.base import Host, Lane
    from interpool._lanes.deaths import Death
    from interpool._task import Outcome, Task
    from interpool._trace.writing import Writer
    from interpool._worker import Worker

# Records that wait at the most, of some 300 bytes each: beyond, the first are lost, which is said.
MOST: Final = 400_000
# Records behind which they are written out, and nanoseconds.
_MANY: Final = 20_000
_STALE: Final = 1_000_000_000
# Nanoseconds up to which encodings are summed up, as there may be one for each of many tasks.
_SHORT: Final = 50_000
# Nanoseconds between two counts of tasks, or sums of encodings; and two looks at the memory.
_COUNTED: Final = 10_000_000
_WEIGHED: Final = 250_000_000
# Seconds that workers have to hand over what they took down: it takes a millisecond, unless one is
# in C code that keeps its GIL, or the machine is very busy. Arbitrary.
_PATIENCE: Final = 2.0
_LONGEST: Final = 200  # characters of an error
_RUNNING: Final = "running"  # the outcome of what goes on when the trace ends

_numbers: Final = itertools.count(1)
_get_ident: Final = threading.get_ident


class Recording:
    """The trace of one engine, as that sees it.

    Attributes:
        number: by which workers know it.
        began: when, as `time.monotonic_ns` has it.
        clock: that.
    """

    clock = staticmethod(time.monotonic_ns)

    def __init__(self, engine: Engine) -> None:
        self.number = next(_numbers)
        self.began = self.clock()
        self.pending: deque[Record] = deque(maxlen=MOST)
        self.writer: Writer | None = None
        self._engine = engine
        self._add = self.pending.append
        # What threads have encoded, each time in less than `_SHORT`, since they began with that.
        self._encoded: dict[int, list[Any]] = {}
        self._counts = -1, -1
        self._counted = self._weighed = 0
        self._called = self.began
        self._awaited: set[int] = set()  # workers that have yet to hand over what they took down
        self._handed_over = Latch()
        self._is_ending = False
        self._ended = Latch()

    # --- Begin and end ---------------------------------------------------------------------------

    def attach(self) -> None:
        """Have all that the engine does from now on recorded.

        Raises:
            RuntimeError: if the pool is traced, or takes no tasks any more.
            BrokenInterpreterPool: if it is broken.
        """
        engine = self._engine
        with Deferred(), engine.lock:
            check(engine)
            engine.trace = self
            _transport.time_all(is_on=True)
            for worker in engine.staff.everybody():
                self.watch(worker)
                if _is_asleep(worker):
                    self._add((Kind.ASLEEP, (worker.number, 0), self.began))
            for host in _hosts(engine):
                host.heed_trace(self.number)
                if host.task is None and host.is_alive:
                    self._add((Kind.ASLEEP, host.place, self.began))

    def close(self, *, is_over: bool = False) -> None:
        """Record nothing any more, and have all written that was; wait for that. May be repeated.

        Args:
            is_over: whether the pool has ended, and no worker has anything to say.
        """
        engine = self._engine
        with Deferred(), engine.lock:
            is_first, self._is_ending = not self._is_ending, True
            if is_over:
                self._awaited.clear()
                self._handed_over.set()
            elif is_first:
                self._end_workers()
                engine.listen()
        if not is_first:
            if not engine.is_read_here:  # else it is this thread that would have to go on
                self._ended.wait()
            return
        try:
            if not is_over and not engine.is_read_here:
                self._handed_over.wait(_PATIENCE)
        finally:
            with Deferred(), engine.lock:
                if not is_over:
                    engine.listen_no_more()
                self._record_end()
                engine.trace = None
                _transport.time_all(is_on=False)
            try:
                if self.writer is not None:
                    self.writer.close()
            finally:
                self._ended.set()

    def _end_workers(self) -> None:
        """Have every worker hand over what it has taken down. The lock is held."""
        staff = self._engine.staff
        for worker in staff.everybody():
            worker.board[channels.HEED] &= channels.SAY
            if worker.number not in staff.leaving:  # those have
                worker.end_trace(self.number)
        self._awaited = {
            it.number
            for it in (*staff.workers.values(), *staff.standby.values())
            if not staff.is_new(it.number)
        }
        if not self._awaited:
            self._handed_over.set()
        for host in _hosts(self._engine):
            host.heed_trace(0)

    def _record_end(self) -> None:
        """Say what goes on as the trace ends. The lock is held."""
        for thread in [*self._encoded]:
            self._add_encoded(thread)
        staff, now = self._engine.staff, self.clock()
        asleep: list[tuple[Place, int]] = []
        for worker in (*staff.workers.values(), *staff.abandoned.values()):
            if _is_asleep(worker):
                asleep.append(((worker.number, 0), worker.board[channels.SLEEPS_SINCE]))
            else:
                self.note_running(worker, _RUNNING)
        for host in _hosts(self._engine):
            if (task := host.task) is None:
                if host.is_alive:
                    asleep.append((host.place, 0))
            elif began := host.began:
                self.note_cut(host.place, task._task, began, task._name, _RUNNING)
        if self.writer is not None and self.writer.is_incomplete:
            self.mark("events lost", None, {"why": "they came faster than they could be written"})
        self._add((Kind.END, now, asleep))

    def disown(self) -> None:
        """In a forked child it is somebody else's."""
        if self.writer is not None:
            self.writer.disown()
        self._is_ending = True
        self._ended.set()

    def watch(self, worker: Worker) -> None:
        """Have a worker take down what it does."""
        worker.board[channels.HEED] |= channels.TRACE * self.number

    def note_handed_over(self, worker: int) -> None:
        """A worker has handed over all that it has. The engine's lock is held."""
        if self._is_ending:
            self._awaited.discard(worker)
            if not self._awaited:
                self._handed_over.set()

    # --- What was done ---------------------------------------------------------------------------

    def note_work(self, worker: int, payload: Any) -> None:
        """A worker has said what it did."""
        number, process, batch = payload
        if number != self.number:
            return  # it is of one that has ended before
        if batch is None:
            self.note_handed_over(worker)
        else:
            self._add((Kind.WORK, (worker, process), batch))

    def note_encoded(self, began: int, name: str, request: Request | None, items: int = 1) -> None:
        """The calling thread has encoded a call, or items of a map."""
        now, thread, nbytes = self.clock(), _get_ident(), 0
        if request is not None and (large := request[0][1]):
            nbytes = sum(it.nbytes if type(it) is memoryview else len(it) for it in large)
        some = self._encoded.get(thread)
        if nbytes or now - began >= _SHORT:
            if some is not None:
                self._add_encoded(thread)
            self._add((Kind.ENCODED, thread, began, now, name, nbytes, items))
        elif some is None or some[0] is not name or began - some[1] >= _COUNTED:
            if some is not None:
                self._add_encoded(thread)
            self._encoded[thread] = [name, began, now - began, items]
        else:
            some[2] += now - began
            some[3] += items

    def _add_encoded(self, thread: int) -> None:
        """Add what a thread has encoded in short times, as one that took as long as they did."""
        if (some := self._encoded.pop(thread, None)) is not None:
            name, began, took, items = some
            self._add((Kind.ENCODED, thread, began, began + took, name, 0, items))

    def call_of(self, task: Task, taken: int, began: int, kind: int, payload: Any) -> Any:
        """What a thread did, as a worker would say it behind its answer."""
        ended = self.clock()
        if not began or task._work is None:
            return None
        function, args, kwargs = task._work
        extra: dict[str, Any] = {"name": tracing.name_of(function)}
        if isinstance(payload, Raised):
            extra["error"] = _text_of(payload.error)
        items = 1
        if (batch := tracing.told_by_batch(payload)) is not None:
            items = batch[0]
            extra |= batch[1]
        elif extra.get("error") or ended - began >= tracing.LONG:
            extra["arguments"] = tracing.shown(args, kwargs)
        times = task._submitted or channels.UNTIMED, taken, began, ended, ended
        return self.number, 0, [(tracing.TASK, task._task, 0, *times, 0, 0, kind, items, extra)]

    def tick(self) -> None:
        """Count tasks, and call the writer, if it is time. The engine's lock is held."""
        now = self.clock()
        if now - self._counted >= _COUNTED:
            self._counted = now
            tasks = self._engine.tasks
            waiting, running = tasks.census()
            for lane in tasks.lanes.values():
                waiting, running = waiting + lane.waiting, running + lane.running
            if (waiting, running) != self._counts:
                self._counts = waiting, running
                self._add((Kind.COUNT, now, waiting, running))
            if now - self._weighed >= _WEIGHED and (nbytes := process_memory()) is not None:
                self._weighed = now
                self._add((Kind.MEMORY, now, round(nbytes / (1 << 20), 1)))
        is_due = len(self.pending) >= _MANY or now - self._called >= _STALE
        if is_due and not self._is_ending and self.writer is not None:
            self._called = now
            self.writer.call()

    # --- What the engine knows -------------------------------------------------------------------

    def mark(self, name: str, place: Place | None, details: dict[str, Any]) -> None:
        """Something has happened."""
        self._add((Kind.MARK, self.clock(), name, place, details))

    def hold(self, task: int, attempt: int = 1) -> None:
        """What becomes of a run of a task will be known later than that it is over."""
        self._add((Kind.HELD, task, attempt))

    def note_lane(self, task: Task, lane: Lane) -> None:
        """A task goes to another lane than the interpreters."""
        if task._terms.lane == lane.name:
            why = f'lane="{lane.name}" was asked for'
        elif lane.name == "thread":
            why = "there is no GIL"
        elif self._engine.tasks.instead is lane:
            why = "the pool's workers could not be made ready in interpreters"
        else:
            why = "an extension module that it needs does not load in interpreters"
        self._add((Kind.WHY, task._task, why))

    def note_diverted(self, task: int, name: str, extension: str) -> None:
        """A run was refused, and another one comes in a process."""
        error = f"{extension} does not support loading in subinterpreters"
        self._add((Kind.REFUSED, task, self.clock(), error, name))
        details = {"task": task, "function": name, "extension": extension}
        self.mark("fallback to process", None, details)

    def note_answer(self, task: Task, end: Any) -> None:
        """A task has answered with something else than a value, or was to stop."""
        if task._message is None:
            outcome = _outcome_of(end) if isinstance(end, Stop) else "failed"
            self._add((Kind.OUTCOME, task._task, outcome, "", task._name))

    def note_tried(self, task: int, outcome: Outcome, error: BaseException | None) -> None:
        """A run of a task is over that may be tried again: whether it is, or was the last."""
        if error is None:
            end = "done"
        elif isinstance(outcome.payload, Stop):
            end = _outcome_of(outcome.payload)
        else:
            end = "failed"
        self._add((Kind.OUTCOME, task, end, _text_of(error), outcome.task._name))

    def note_retried(self, task: int, name: str, error: BaseException) -> None:
        """A run of a task has failed, and it will be run again."""
        self._add((Kind.OUTCOME, task, "retried", _text_of(error), name))

    def note_abandoned(self, worker: Worker, task: Task, stop: Stop) -> None:
        """A worker was given up with a task, which may have been found to be over before."""
        if began := worker.board[channels.BEGAN]:
            place, outcome = (worker.number, 0), _outcome_of(stop)
            self.note_cut(place, task._task, began, task._name, outcome)
        details = {"task": task._task, "function": task._name, "worker": worker.name}
        self.mark("worker abandoned", (worker.number, 0), details)

    def note_left_behind(self, place: Place, task: Task, began: int) -> None:
        """A thread was given up with a task."""
        outcome = "interrupted" if task._stop is None else _outcome_of(task._stop)
        self.note_cut(place, task._task, began, task._name, outcome)
        details = {"task": task._task, "function": task._name}
        self.mark("worker abandoned", place, details)

    def note_death(self, place: Place, task: Task, began: int, death: Death) -> None:
        """A worker process has ended with a task, or before it has begun that."""
        error = f"{death.as_exception(task._name)}"
        if began:
            self.note_cut(place, task._task, began, task._name, "failed", error)
        details = {"task": task._task, "function": task._name, "error": error}
        self.mark("worker died", place, details)

    def note_running(self, worker: Worker, outcome: str) -> None:
        """A worker will not say what it does now, or not in time."""
        number, began = worker.board[channels.TASK], worker.board[channels.BEGAN]
        if began and (task := self._engine.tasks.find(number)) is not None:
            self.note_cut((worker.number, 0), number, began, task._name, outcome)

    def note_cut(
        self, place: Place, task: int, began: int, name: str, outcome: str, error: str = ""
    ) -> None:
        """Nobody will say of a run what this does."""
        self._add((Kind.CUT, place, task, began, self.clock(), name, outcome, error))


def check(engine: Engine) -> None:
    """Raise what keeps a trace of an engine from beginning. The engine's lock is held."""
    engine.check_open()
    if engine.trace is not None:
        message = f"{engine.name} is being traced: close that trace before you begin another one"
        raise RuntimeError(message)


def _hosts(engine: Engine) -> list[Host]:
    return [host for lane in engine.tasks.lanes.values() for host in lane.hosts]


def _is_asleep(worker: Worker) -> bool:
    return not worker.board[channels.TASK] and bool(worker.board[channels.SLEEPS_SINCE])


def _outcome_of(stop: Stop) -> str:
    return "timeout" if stop.reason is Reason.TIMEOUT else "interrupted"


def _text_of(error: BaseException | None) -> str:
    if error is None:
        return ""
    try:
        text = f"{type(error).__qualname__}: {error}"
    except Exception:  # its own code
        text = type(error).__qualname__
    return tracing.shortened(text.partition("\n")[0], _LONGEST)
