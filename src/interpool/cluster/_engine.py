"""The state of one cluster executor, and every decision about it.

        submit            feed          Dask's scheduler         coroutine
  user -------> backlog -------> link -----------------> worker ----------> interpreter pool
          map                      ^                        |
                                   |                        v
  user <------- Future, Lot <-- collector <-- link <---- outcome

It is what `interpool._engine` is to a pool, and offers what futures and lots ask of one: they, and
`map`, are the same. What it guarantees:

* A task is in one place: the backlog, the cluster, or between two of its runs. `Task._stage` says
  which.
* What is in the cluster is bounded, whatever is submitted: by `PLACES` tasks for each interpreter,
  and by `WEIGHT` bytes once there are two for each, one that it runs and one that waits for it. Of
  the pieces of a map, whose size is chosen, there are those two.
* Whatever becomes of the cluster, every task ends: the link tells the end of each, or its own.

Threads: the link's, which runs Dask's event loop; the collector, which ends futures, and so runs
users' code (it loads results); users' own. Locks: `lock`, then nothing. No user code runs under it
but finalizers, as in `interpool._engine`.
"""

import concurrent.futures
import functools
import itertools
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from interpool import _lifetime, _threads
from interpool._batching import Paces, Timing
from interpool._callbacks import Callback, Callbacks
from interpool._codec import Request
from interpool._collector import _end, _error_of
from interpool._errors import TransferError
from interpool._future import Future
from interpool._inside import channels
from interpool._interrupts import Deferred
from interpool._lots import Lot, Piece
from interpool._reports import warn
from interpool._statistics import Tally
from interpool._stops import GRACE, Reason, Stop
from interpool._task import Outcome, Raised, Stage, Task
from interpool._terms import PLAIN, Terms, note_attempts
from interpool._transport import _bytes_of, item_of

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.outcomes import Message
    from interpool._transport import Item
    from interpool.cluster._link import Link

# What a piece of a map is worth: Dask takes some 2 ms for a task, of which the scheduler's 1 ms
# bounds all workers together. A worker hands back what it has not begun after four times that.
FAR: Final = Timing(piece=0.1, budget=0.4, ahead=0.0, is_joined=True)
# Tasks in the cluster for each interpreter. An answer takes some 15 ms, and the one that follows it
# as long: so many hide that for tasks of a few milliseconds, and are all that Dask's scheduler does
# of tiny ones meanwhile.
PLACES: Final = 16
# Of them, those that are there whatever they weigh: one that runs, and one that waits for it.
_BUSY: Final = 2
# Bytes of tasks in the cluster behind which there are no more than those. All travel by way of the
# scheduler, which keeps them. Arbitrary.
WEIGHT: Final = 1 << 26
# Threads that run users' callbacks: as many as a pool of one machine has. Arbitrary.
_CALLERS: Final = 8


@dataclass
class Staff:
    """The interpreters that there are in the cluster.

    Attributes:
        most: how many, as far as is known; 1 if there is none yet.
    """

    most: int = 1


@dataclass
class Tasks:
    """What lots know of an engine's tasks."""

    tally: Tally = field(default_factory=Tally)


class ClusterEngine:
    """One cluster executor: what `ClusterExecutor` is a handle of. It outlives that handle."""

    timing = FAR
    trace: Final = None  # what each machine's clock says is its own

    def __init__(self, name: str, make_link: Callable[[ClusterEngine], Link]) -> None:
        """Connect to a cluster.

        Args:
            name: what the names of threads begin with.
            make_link: makes the way to Dask.

        Raises:
            ClusterError: if there is no cluster, or it does not fit.
        """
        self.name = name
        self.lock = threading.RLock()
        self.staff = Staff()
        self.tasks = Tasks()
        self.paces = Paces()
        self.refusal: str | None = None  # why no task is taken any more
        self.broken: Callable[[], BaseException] | None = None  # makes an error that says why
        self.done = threading.Event()
        self._numbers = itertools.count(1)
        self._backlog: deque[Task | Lot] = deque()
        self._in_cluster: dict[int, Task] = {}
        self._weights: dict[int, int] = {}  # of those, in bytes
        self._weight = 0
        self._delayed: dict[int, Task] = {}  # to be tried again
        self._is_finishing = False
        self._callbacks = Callbacks(_CALLERS, name)
        self._due: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._collector = _threads.make(self._collect, f"{name}_collector")
        _lifetime.remember(cast("Engine", self))
        try:
            self.link = make_link(self)
            self.link.start()
            self._collector.start()
        except BaseException:
            _lifetime.forget(cast("Engine", self))
            self.done.set()
            raise

    # --- asked by the executor -------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise what `submit` raises if the executor takes no more tasks."""
        if self.broken is not None:
            raise self.broken()
        if self.refusal is not None:
            raise RuntimeError(self.refusal)

    def submit(self, request: Request, name: str, terms: Terms) -> Future[Any]:
        """Take a task.

        Raises:
            ClusterError: if the cluster has gone.
            RuntimeError: after `close`.
        """
        message, keeps = request
        if (refusal := _refusal_of(keeps, name)) is not None:
            return self.refuse(refusal)
        number = self.new_number()
        future: Future[Any] = Future(self._as_engine, name, number, b"", keeps)
        future._item = self.prepare(future, number, terms, message, None)
        with Deferred(), self.lock:
            self.check_open()
            self._backlog.append(future)
            self._feed()
        return future

    def refuse(self, error: BaseException) -> Future[Any]:
        """Return a future that has ended with `error`: its task could not be encoded."""
        future = Future[Any](self._as_engine, "")
        future._stage = Stage.ANSWERED
        future.set_exception(error)
        return future

    def close(self, *, refusal: str, cancel: bool = False) -> None:
        """Take no more tasks; go when all is done. Never waits.

        Args:
            refusal: what `submit` says from now on.
            cancel: cancel every task that is not in the cluster.
        """
        with Deferred():
            with self.lock:
                self.refusal = self.refusal or refusal
                withdrawn = self._withdraw_all() if cancel else []
                self._finish_if_idle()
            for future in withdrawn:
                future.settle_withdrawn()

    def terminate(self, refusal: str, grace: float = GRACE, *, is_quiet: bool = False) -> None:  # noqa: ARG002 - as a pool's engine has it
        """Take no more tasks, cancel those that wait, and stop those that run. Never waits."""
        self.close(refusal=refusal, cancel=True)
        with Deferred(), self.lock:
            for task in list(self._in_cluster.values()):
                self._stop(task, Stop(Reason.TERMINATE, grace))

    def join(self) -> None:
        """Wait until a closed executor is gone: tasks, threads, connections."""
        if threading.get_ident() == self._collector.ident:
            return  # a finalizer that runs there
        self.done.wait()
        self._collector.join()
        self.link.join()
        if not self._callbacks.is_calling():
            self._callbacks.shutdown(wait=True)

    # --- asked by futures and lots ---------------------------------------------------------------

    def environment(self) -> None:
        """Nothing: workers are other machines, with their own."""

    def new_number(self) -> int:
        """Return the number of a new task."""
        return next(self._numbers)

    def prepare(
        self,
        task: Task,
        number: int,
        terms: Terms,
        message: Message,
        environment: bytes | None,
    ) -> Item:
        """Give a task its terms, and return its item."""
        if terms is not PLAIN:
            task._terms = terms
        return item_of(number, environment, message)

    def make_ready(self, terms: Terms) -> None:
        """Nothing: all is there, or `check_open` says so."""

    def hire(self) -> None:
        """Nothing: Dask's workers are somebody else's."""

    def send_lot(self, lot: Lot) -> None:
        """Take what was added to a lot. The lock is held."""
        if lot.unsent and not lot.is_in_backlog:
            lot.is_in_backlog = True
            self._backlog.append(lot)
        self._feed()

    def listen(self) -> None:
        """Nothing: what arrives is heard at once."""

    def listen_no_more(self) -> None:
        """Nothing, as `listen`."""

    def listen_to(self, future: Future[Any]) -> None:
        """Nothing, as `listen`."""

    def nudge(self) -> None:
        """Nothing: who waits for a future waits for that one."""

    def wait_for(
        self, is_done: Callable[[], bool], timeout: float | None, own: Task | None = None
    ) -> None:
        """Return at once: results are read by the collector alone."""

    @property
    def is_locked_here(self) -> bool:
        """Whether the calling thread holds the lock: it is a finalizer that runs in between."""
        owned: bool = self.lock._is_owned()  # type: ignore[attr-defined]
        return owned

    def is_running(self, future: Future[Any]) -> bool:
        """Whether the task is in the cluster, and its outcome is not here yet."""
        with Deferred(), self.lock:
            return future._stage is Stage.SENT

    def withdraw(self, tasks: Iterable[Task]) -> list[Task]:
        """Take back those of some tasks that no worker has begun, and return them.

        Of a task that is in the cluster, every worker is asked, which takes some milliseconds;
        pieces of a map are let go without asking: nobody waits for their outcome.
        """
        withdrawn: list[Task] = []
        asked: list[Future[Any]] = []
        with self.lock:
            for task in tasks:
                if self._take_back(task):
                    withdrawn.append(task)
                elif isinstance(task, Piece):
                    self.link.drop(task._task)
                elif task._stage is Stage.SENT and task._stop is None:
                    assert isinstance(task, Future)  # noqa: S101 - there is no third kind
                    asked.append(task)
        if not self.is_locked_here:
            for future in asked:
                if self.link.withdraw(future._task):
                    with self.lock:
                        if self._take_out(future._task) is not None:
                            self._leave(future)
                            withdrawn.append(future)
                            self._feed()
        self._due.put(self._look_whether_idle)  # not before what was withdrawn here is settled
        return withdrawn

    def settle_later(self, task: Task) -> None:
        """Leave it to the collector to settle a task that was withdrawn under the lock."""
        self._due.put(task.settle_withdrawn)

    def interrupt(self, future: Future[Any], grace: float) -> bool:
        """Stop a task, or keep it from beginning; return whether its future ends with that."""
        with Deferred(), self.lock:
            is_withdrawn = self._take_back(future)
            if is_withdrawn:
                future._stop = Stop(Reason.INTERRUPT, has_begun=bool(future._failures))
            elif future._stage is not Stage.SENT:
                return False
            else:
                self._stop(future, Stop(Reason.INTERRUPT, grace))
            if is_withdrawn:
                self._due.put(future.settle_withdrawn)
                self._due.put(self._look_whether_idle)
        return True

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended, where it may block."""
        if threading.get_ident() == self._collector.ident:
            self._callbacks.add(future, callback)
        else:
            Deferred.let_users_code_through(callback, future)

    # --- told by the link, in its thread ---------------------------------------------------------

    def hear(self, number: int, kind: int, payload: Any) -> None:
        """Take an outcome."""
        self._due.put(functools.partial(self._answer, number, kind, payload))

    def hear_error(self, number: int, make: Callable[[str], BaseException]) -> None:
        """Take the end of a task that has no outcome.

        Args:
            number: the task's.
            make: makes the error of the function's name.
        """
        self._due.put(functools.partial(self._answer_with_error, number, make))

    def hear_dropped(self, number: int) -> None:
        """Forget a piece, if nobody waits for its outcome."""
        with self.lock:
            task = self._in_cluster.get(number)
            if isinstance(task, Piece) and task.lot.is_cancelled:
                self._take_out(number)
                self._feed()
                self._finish_if_idle()

    def hear_of_interpreters(self, number: int) -> None:
        """Take note of how many interpreters there are."""
        with self.lock:
            self.staff.most = max(1, number)
            self._feed()

    def hear_lost_worker(self, address: str, numbers: list[int]) -> None:
        """Say that a worker has gone, and which tasks are done again."""
        with self.lock:
            lost = [task for it in numbers if (task := self._in_cluster.get(it)) is not None]
            stopped = [task for task in lost if task._stop is not None]
            for task in stopped:  # what ran has ended, and is not to run again
                self.link.drop(task._task)
                self._due.put(
                    functools.partial(self._answer, task._task, channels.STRUCK, task._stop)
                )
        count = len(lost) - len(stopped)
        if count:
            names = sorted({task._name for task in lost})
            tasks = "1 task" if count == 1 else f"{count} tasks"
            text = (
                f"The Dask worker {address} is gone. {tasks} that it had ({', '.join(names)}) "
                "will be done again, from the start, by the others"
            )
            self._due.put(functools.partial(warn, text, RuntimeWarning))

    def collapse(self, make: Callable[[], BaseException]) -> None:
        """Break, and end every task, for the cluster cannot be used any more."""
        self._due.put(functools.partial(self._break, make))

    # --- the collector ---------------------------------------------------------------------------

    def _collect(self) -> None:
        while (act := self._due.get()) is not None:
            try:
                act()
            except BaseException as error:  # ours: no future may be left waiting for this thread
                text = "".join(traceback.format_exception(error))
                self._break(functools.partial(concurrent.futures.BrokenExecutor, text))
            act = None
            self._callbacks.hand_over()

    def _answer(self, number: int, kind: int, payload: Any) -> None:
        with self.lock:
            task = self._in_cluster.get(number)
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

    def _answer_with_error(self, number: int, make: Callable[[str], BaseException]) -> None:
        with self.lock:
            task = self._in_cluster.get(number)
        if task is not None:
            self._answer(number, channels.DIED, Raised(make(task._name)))

    def _end(self, outcome: Outcome) -> None:
        task = outcome.task
        with self.lock:
            if self._take_out(task._task) is None:
                return  # withdrawn meanwhile
            task._stage = Stage.ANSWERED
            task._item = None
            if isinstance(task, Piece):
                lot = task.lot
                lot.account(task, outcome.kind, outcome.payload)
                if lot.unsent and not lot.is_in_backlog:
                    lot.is_in_backlog = True
                    self._backlog.appendleft(lot)  # what was handed back
            self._feed()
        _end(outcome)
        with self.lock:
            self._finish_if_idle()

    def _tries_again(self, task: Task, error: BaseException) -> bool:
        """Have a task whose run has failed run again, if it may."""
        retry = task._terms.retry
        failed = len(task._failures) + 1
        # Outside the lock: it asks the exception's class, which is the user's.
        if retry is None or not task.is_wanted or not retry.wants(error, failed):
            return False
        line = _line_of(error)
        pause = retry.pause(failed)
        with self.lock:
            is_stopped = task._stop is not None and task._stop.reason is not Reason.TIMEOUT
            if is_stopped or self.broken is not None:
                return False
            if self._take_out(task._task) is None:
                return True  # withdrawn meanwhile, and settled by whoever did it
            task._failures += (
                f"Run {failed} failed ({line}); the next was due {pause:.3g} s later",
            )
            task._stop = None
            task._stage = Stage.DELAYED
            task._task = self.new_number()  # whoever has failed may yet answer for the old one
            self._delayed[task._task] = task
            self.link.call_later(pause, functools.partial(self._resend, task))
            self._feed()
        return True

    def _resend(self, task: Task) -> None:
        with self.lock:
            if self._delayed.pop(task._task, None) is not None:
                task._stage = Stage.WAITING
                self._backlog.append(task)
                self._feed()

    def _break(self, make: Callable[[], BaseException]) -> None:
        with self.lock:
            if self.broken is not None:
                return
            self.broken = make
            left: list[Task] = [*self._in_cluster.values(), *self._delayed.values()]
            lots = {task.lot for task in left if isinstance(task, Piece)}
            for it in self._backlog:
                if isinstance(it, Lot):
                    lots.add(it)
                elif it._stage is Stage.WAITING:
                    left.append(it)
            for number in list(self._in_cluster):
                self._take_out(number)
            self._delayed.clear()
            self._backlog.clear()
            for lot in lots:
                lot.is_in_backlog = False
                lot.end(make)
            for task in left:
                task._stage = Stage.ANSWERED
                task._item = None
        for task in left:
            _end(Outcome(task, channels.DIED, Raised(make())))
        self._finish()

    # --- under the lock --------------------------------------------------------------------------

    def _feed(self) -> None:
        """Send tasks while there is room. A finalizer may come in between, and feed or withdraw."""
        backlog = self._backlog
        while backlog and self._has_room():
            first = backlog[0]
            if isinstance(first, Lot):
                piece = first.next_piece(max(0, len(self._in_cluster) - self.staff.most))
                if piece is not None:
                    self._send(piece)
                elif first.unsent:
                    break  # enough of it is there
                if not first.unsent:
                    first.is_in_backlog = False
                    if backlog and backlog[0] is first:
                        backlog.popleft()
                continue
            backlog.popleft()
            if first._stage is Stage.WAITING:
                self._send(first)

    def _has_room(self) -> bool:
        number, most = len(self._in_cluster), self.staff.most
        return number < _BUSY * most or (number < PLACES * most and self._weight < WEIGHT)

    def _take_out(self, number: int) -> Task | None:
        """Take a task out of the cluster: whatever comes of it there is not heard any more."""
        self._weight -= self._weights.pop(number, 0)
        return self._in_cluster.pop(number, None)

    def _send(self, task: Task) -> None:
        task._stage = Stage.SENT
        self._in_cluster[task._task] = task
        weight = self._weights[task._task] = _bytes_of(task._item or b"")
        self._weight += weight
        if isinstance(task, Piece) and (refusal := _refusal_of(task.keeps, task._name)):
            self.hear_error(task._task, lambda _: refusal)
            return
        self.link.send(task)

    def _take_back(self, task: Task) -> bool:
        """Take back a task that is not in the cluster; return whether it was not."""
        if task._stage not in {Stage.WAITING, Stage.DELAYED}:
            return False
        self._delayed.pop(task._task, None)
        self._leave(task)
        return True

    def _leave(self, task: Task) -> None:
        task._stage = Stage.WITHDRAWN
        task._item = None
        self.tasks.tally.cancelled += task._count

    def _withdraw_all(self) -> list[Task]:
        """Withdraw all that is not in the cluster."""
        waiting = [*self._backlog, *self._delayed.values()]
        self._backlog.clear()
        withdrawn: list[Task] = []
        lots = {task.lot for task in self._in_cluster.values() if isinstance(task, Piece)}
        for it in waiting:
            if isinstance(it, Lot):
                lots.add(it)
            elif self._take_back(it):
                withdrawn.append(it)
        for lot in lots:
            lot.is_in_backlog = False
            lot.end(concurrent.futures.CancelledError)
        return withdrawn

    def _stop(self, task: Task, stop: Stop) -> None:
        if task._stop is None:
            task._stop = stop
        self.link.strike(task._task, stop.grace)

    def _look_whether_idle(self) -> None:
        with self.lock:
            self._feed()
            self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        if self.refusal is None or self._in_cluster or self._delayed:
            return
        if not any(isinstance(it, Lot) or it._stage is Stage.WAITING for it in self._backlog):
            self._finish()

    def _finish(self) -> None:
        """Let the threads go: nothing is left to do."""
        with self.lock:
            if self._is_finishing:
                return
            self._is_finishing = True
        self.link.close()
        self._due.put(None)
        self.done.set()
        _lifetime.forget(self._as_engine)

    # --- at a fork and at the exit, as `_lifetime` asks pools -------------------------------------

    def pause(self) -> None:
        """Nothing: no interpreter is here that a fork would harm."""

    def wait_for_pause(self, deadline: float) -> bool:  # noqa: ARG002 - as a pool's engine has it
        """Nothing, as `pause`."""
        return True

    def resume(self) -> None:
        """Nothing, as `pause`."""

    def disown(self, refusal: str) -> None:
        """Become a closed executor in a forked child, where none of its threads is."""
        self.lock = threading.RLock()  # whoever held it is not here
        self.refusal = refusal
        self._is_finishing = True
        self._backlog.clear()
        self._in_cluster.clear()
        self._delayed.clear()
        self.done.set()

    @property
    def _as_engine(self) -> Engine:
        """This one: it offers all that futures, lots and `_lifetime` ask of a pool's engine."""
        return cast("Engine", self)


def _refusal_of(keeps: Iterable[object], name: str) -> TransferError | None:
    """Refuse what only this machine's interpreters can share, by what is kept for a message."""
    for it in keeps:
        if not isinstance(it, (type, ModuleType)):
            reason = (
                "it is a handle of memory of this machine (of a Queue, a SharedBuffer, a "
                "SharedArray), and a cluster's workers may be on another one"
            )
            return TransferError.of(
                "argument", f"an argument of {name}", "", "shared", reason, "Send what is in it"
            )
    return None


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


def _line_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # its own code
        return type(error).__qualname__
