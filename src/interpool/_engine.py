"""The state of one pool and every decision about it.

        submit            feed                  take                 call
  user -------> backlog -------> task queue  -------> worker's loop ------> function
          map                      |    ^                  |
                            recall |    | ring             | frame: outcome, or word of the worker
                                   v    |                  v
  user <------- Future, Lot <--- collector  <------- results pipe (bulk queue)
        outcome

What it guarantees:

* A task is in one place (`_dispatch`), so a future ends once, with one outcome.
* While a task waits and a worker is free, the task travels.
* There are never more workers than unfinished tasks asked for, nor more than `max_workers`
  (`_staff`).
* When the last worker of a closed pool is gone, the pool is done: whoever joins it goes on. Workers
  that were given up (`_stopper`) are not waited for; while there are any, the channels that they
  use stay open and the collector listens. When none is left, it closes the channels and ends.

Locks: `lock` (this pool's state; reentrant, because a garbage collection inside it may finalize an
iterator that cancels a future of this very pool), then nothing. No user code runs under it but
finalizers, which come when they like; each step leaves a state that they may meet. In the main
thread SIGINT is `Deferred` meanwhile, and so are strikes in a task that uses a pool of its own.
"""

import concurrent.futures
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from interpool import _environment, _exit, _lanes, _lifetime
from interpool._batching import NEAR, Paces
from interpool._callbacks import Callback
from interpool._codec import Request
from interpool._collector import Collector
from interpool._dispatch import Dispatch
from interpool._failures import Failure
from interpool._fallback import Fallback
from interpool._future import Future
from interpool._hearing import Hearing, Outcomes
from interpool._idling import Idling
from interpool._inside import channels
from interpool._inside.outcomes import describe
from interpool._interrupts import Deferred, Latch
from interpool._lanes.base import Host, Lane
from interpool._reports import Notice, report
from interpool._retrying import Retrying
from interpool._spares import SPARES
from interpool._staff import Staff
from interpool._stopper import Stopper
from interpool._stops import GRACE, SHORT_GRACE, Reason, Stop
from interpool._task import Outcome, Stage, Task, Work
from interpool._terms import PLAIN, Terms
from interpool._timekeeper import Timekeeper
from interpool._transport import Frame, Transport, item_of
from interpool._worker import Settings, Worker

if TYPE_CHECKING:
    from interpool._inside.outcomes import Message
    from interpool._lots import Bell, Lot
    from interpool._trace.recording import Recording
    from interpool._transport import Item

_NO_MESSAGE: Final = (), ()  # of a task that is not sent
_UNENDED: Final = frozenset({Stage.DELAYED, Stage.WAITING, Stage.SENT})


class Engine:
    """One pool: what `InterpreterPoolExecutor` is a handle of. It outlives that handle.

    Attributes:
        timing: what the pieces of a map are to be worth.
        trace: what takes down what is done, while anything does.
    """

    timing = NEAR
    trace: Recording | None = None

    def __init__(
        self,
        max_workers: int,
        settings: Settings,
        idling: tuple[float, int] | None = None,
        *,
        falls_back: bool = True,
    ) -> None:
        """Make one.

        Args:
            max_workers: how many workers there may be, and how many processes.
            settings: what each begins with.
            idling: seconds after which an idle worker goes, and how many stay; None: all do.
            falls_back: whether a task that an extension keeps from running in an interpreter is run
                in a process.
        """
        self.lock = threading.RLock()
        self._settings = settings
        self._task_numbers = itertools.count(1)
        self.staff = Staff(max_workers, settings)
        self.tasks = Dispatch(self.report)
        self._reports: deque[Frame] = deque()  # frames from this side, for the collector
        self._unsettled: deque[Task | Bell] = deque()  # withdrawn, and their futures not told
        self.transport: Transport | None = None
        self._collector: Collector | None = None
        self.paces = Paces()
        self.timekeeper = Timekeeper(settings.name_prefix, self.lock)
        self.stopper = Stopper(self)
        self.idling = Idling(self, *idling or (None, 0))
        self._hearing = Hearing(self)
        self.done = Latch()  # closed, and nobody left but those that were given up
        self.refusal: str | None = None  # why no task is taken any more
        self.broken: Failure | None = None
        self.is_terminated = self.is_quiet = False
        self.fallback = Fallback(self, is_on=falls_back)
        self.retrying = Retrying(self)
        self._is_paused = False  # for a fork: see `pause`
        self._is_at_rest = threading.Event()
        self._moved = 0, 0  # bytes sent and received, once the channels are closed

    # --- asked by the executor and its futures ---------------------------------------------------

    def check_open(self) -> None:
        """Raise what `submit` raises if the pool takes no more tasks."""
        if self.broken is not None:
            raise self.broken.as_broken_pool()
        if self.refusal is not None:
            raise RuntimeError(self.refusal)

    def submit(
        self,
        request: Request,
        name: str,
        terms: Terms = PLAIN,
        *,
        lane: str | None = None,
        kind: type[Future[Any]] = Future,
    ) -> Future[Any]:
        """Take a task.

        Args:
            request: its message.
            name: its function's.
            terms: its terms.
            lane: which one it is for, if not for the interpreters.
            kind: of what class its future is to be.

        Raises:
            BrokenInterpreterPool: if a worker could not start.
            RuntimeError: after `close`, at the interpreter's exit, or if the system gives no thread
                that this takes.
        """
        task = next(self._task_numbers)
        message, keeps = request
        # Not `Future[Any](...)`, which takes twice as long.
        future: Future[Any] = kind(self, name, task, b"", keeps)
        if terms is PLAIN:
            future._item = item_of(task, self.environment(), message)
        else:
            future._item = self.prepare(future, task, terms, message, self.environment())
        with Deferred(), self.lock:
            self.check_open()
            transport = self.make_ready(terms)
            if lane is not None:
                self.lane(lane).add(future)
            else:
                self.tasks.add(future, transport)
            hiring = self._is_short() or self._lacks_hosts()
        if hiring:
            self.hire()
        return future

    def environment(self) -> bytes | None:
        """Return what workers are to take over, as it is now; None: what they began with."""
        environment = _environment.snapshot()
        return None if environment is self._settings.environment else environment

    def submit_work(self, work: Work, name: str, terms: Terms) -> Future[Any]:
        """Take a task for a thread of this interpreter.

        Raises:
            BrokenInterpreterPool, RuntimeError: as `submit` does.
        """
        future: Future[Any] = Future(self, name, next(self._task_numbers))
        future._work = work
        future._terms = terms
        if self.trace is not None:
            future._submitted = self.trace.clock()
        if terms.retry is not None:
            future._message = _NO_MESSAGE
            if self.trace is not None:
                self.trace.hold(future._task)
        with Deferred(), self.lock:
            self.check_open()
            self.make_ready(terms)
            self.lane("thread").add(future)
            hiring = self._lacks_hosts()
        if hiring:
            self.hire()
        return future

    def prepare(
        self,
        task: Task,
        number: int,
        terms: Terms,
        message: Message,
        environment: bytes | None,
    ) -> Item:
        """Give a task its terms, and return its item."""
        task._terms = terms
        if terms.timeout is not None:
            _exit.watch()
        if terms.retry is not None:
            task._message = message
            task._environment = environment
            if self.trace is not None:
                self.trace.hold(number)
        return item_of(number, environment, message, is_watched=terms.timeout is not None)

    def make_ready(self, terms: Terms) -> Transport:
        """Open the channels, and have all there that tasks of such terms need. The lock is held.

        Raises:
            RuntimeError, OSError: if the system does not give it.
        """
        transport = self.transport or self._open()
        if terms.timeout is not None:
            self.timekeeper.start()  # a limit that nobody measures would be none
        return transport

    def new_number(self) -> int:
        """Return the number of a new task."""
        return next(self._task_numbers)

    def send_lot(self, lot: Lot) -> None:
        """Take what was added to a lot, behind `make_ready`. The lock is held."""
        self.tasks.add_lot(lot)

    def refuse(self, error: BaseException) -> Future[Any]:
        """Return a future that has ended with `error`: its task could not be encoded."""
        future = Future[Any](self, "")
        future._stage = Stage.ANSWERED
        future.set_exception(error)
        with Deferred(), self.lock:
            self.tasks.tally.failed += 1
        return future

    def withdraw(self, tasks: Iterable[Task]) -> list[Task]:
        """Take back those of some tasks that no worker has taken, and return them.

        A task is returned to the one caller that withdrew it, who settles it.
        """
        with Deferred(), self.lock:
            withdrawn = self.tasks.withdraw(tasks)
            for task in withdrawn:
                if task._message is not None:  # it may have waited to be tried again
                    self.timekeeper.drop((self, task._task))
            if withdrawn:
                self.look_whether_all_is_sent()
        return withdrawn

    def listen_to(self, future: Future[Any]) -> None:
        """Somebody waits for a future, or wants to be called back. The lock is held."""
        if future._stage in _UNENDED:
            future._is_heard = True
            self.listen()

    def listen(self) -> None:
        """Have results read without delay until `listen_no_more`. The lock is held."""
        self.tasks.heard += 1
        if self._collector is not None:
            self._collector.call()

    def listen_no_more(self) -> None:
        """Take back one `listen`. The lock is held."""
        self.tasks.heard -= 1

    def wait_for(
        self, is_done: Callable[[], bool], timeout: float | None, own: Task | None = None
    ) -> None:
        """Read results in the calling thread until `is_done()`, unless another one reads."""
        if (collector := self._collector) is not None:
            collector.read_until(is_done, timeout, own)

    @property
    def is_locked_here(self) -> bool:
        """Whether the calling thread holds the lock: it is a finalizer that runs in between."""
        owned: bool = self.lock._is_owned()  # type: ignore[attr-defined]
        return owned

    def settle_later(self, task: Task | Bell) -> None:
        """Leave it to the collector to settle a task that was withdrawn under the lock.

        Who waits for the lock meanwhile may hold what settling needs, the future's own.
        """
        self._unsettled.append(task)
        if self.transport is not None:
            self._wake(self.transport)

    def settle(self) -> None:
        """Settle what was left: called under no lock."""
        while self._unsettled:
            self._unsettled.popleft().settle_withdrawn()

    def _settle_all(self, withdrawn: Iterable[Task]) -> None:
        left = deque(withdrawn)
        try:
            while left:
                left.popleft().settle_withdrawn()
        finally:
            for (
                task
            ) in left:  # a callback has raised SystemExit, say, and is none of their business
                self.settle_later(task)

    def is_urgent(self) -> bool:
        """Whether results should be read as soon as they are there."""
        return bool(
            self.tasks.is_urgent
            or self._reports
            or self._unsettled
            or self.staff.is_starting
            or self.staff.put_off is not None
            or self.refusal is not None
        )

    def hire_now(self) -> None:
        """Start the workers whose start was put off, if they are still needed."""
        self.staff.put_off = None
        self.hire()

    @property
    def is_read_here(self) -> bool:
        """Whether it is the calling thread that reads results."""
        return self._collector is not None and self._collector.is_read_here

    def nudge(self) -> None:
        """Have a thread that reads see that a future has ended without a result."""
        if (collector := self._collector) is not None and collector.is_read_elsewhere:
            with Deferred(), self.lock:
                if self.transport is not None:
                    self.transport.wake()

    def is_running(self, future: Future[Any]) -> bool:
        """Whether a worker has taken the task, and its outcome is not here yet."""
        with Deferred(), self.lock:
            return future._stage is Stage.SENT and self.tasks.is_taken(future)

    def interrupt(self, task: Task, grace: float) -> bool:
        """Stop a task, or keep it from beginning; return whether it ends with that."""
        with Deferred():
            with self.lock:
                is_withdrawn = bool(self.withdraw([task]))
                if is_withdrawn:
                    task._stop = Stop(Reason.INTERRUPT, has_begun=bool(task._failures))
                    self.tasks.tally.interrupted += task._count
                    self.tasks.tally.cancelled -= task._count
                elif self.tasks.is_undecided(task):
                    task._stop = Stop(Reason.INTERRUPT)  # its run has failed; no other will come
                elif task._stage is not Stage.SENT:
                    return False
                else:
                    self.stopper.stop(task, Stop(Reason.INTERRUPT, grace))
            if is_withdrawn:
                if self.is_locked_here:
                    self.settle_later(task)
                else:
                    task.settle_withdrawn()
        return True

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended, where it may block."""
        if (collector := self._collector) is not None:
            collector.call_back(future, callback)
        else:
            Deferred.let_users_code_through(callback, future)

    def close(self, *, refusal: str, cancel: bool = False) -> None:
        """Take no more tasks; workers leave when all is done. Never waits.

        Args:
            refusal: what `submit` says from now on.
            cancel: cancel every task that no worker has taken.
        """
        with Deferred():
            withdrawn: list[Task] = []
            with self.lock:
                self._note_shutdown()
                self.refusal = self.refusal or refusal
                if cancel:
                    withdrawn = self.tasks.withdraw_all(concurrent.futures.CancelledError)
                self.staff.wanted = 0
                if self.transport is not None:
                    self._dismiss(self.transport)
                    self._wake(self.transport)
            self._settle_all(withdrawn)
            self._end_unused_trace()

    def _note_shutdown(self) -> None:
        if self.trace is not None and self.refusal is None:
            self.trace.mark("shutdown", None, {})

    def _end_unused_trace(self) -> None:
        """End the trace of a closed pool that nobody has used, or which has ended."""
        if self.trace is not None and self._collector is None:
            self._end_trace()

    def _end_trace(self) -> None:
        if (trace := self.trace) is not None:
            trace.close(is_over=True)
            if trace.writer is not None and (error := trace.writer.error) is not None:
                report(logging.ERROR, "a trace could not be written", error=error)

    def terminate(
        self, refusal: str, grace: float = SHORT_GRACE, *, is_quiet: bool = False
    ) -> None:
        """Take no more tasks, cancel those that wait, and stop those that run. Never waits.

        Args:
            refusal: what `submit` says from now on.
            grace: seconds that those that run have to stop.
            is_quiet: whether nobody is warned of workers that are given up: after Ctrl-C the user
                sees one traceback and nothing else.
        """
        with Deferred():
            with self.lock:
                self._note_shutdown()
                self.is_quiet = self.is_quiet or is_quiet
                self.refusal = self.refusal or refusal
                self.is_terminated = True
                withdrawn = self.tasks.withdraw_all(concurrent.futures.CancelledError)
                self.staff.wanted = 0
                if self.transport is not None:
                    self.stopper.stop_all(grace)
                    self._dismiss(self.transport)
                    self._wake(self.transport)
            self._settle_all(withdrawn)
            self._end_unused_trace()

    def pause(self) -> None:
        """Have all workers go when they have done what they do, and start none until `resume`."""
        with Deferred(), self.lock:
            self._is_paused = True
            transport = self.transport
            if transport is None or self.staff.is_empty:
                self._is_at_rest.set()
                return
            self.staff.dismiss_standby()
            for worker in self.staff.workers.values():
                worker.board[channels.LEAVE] = 1
                transport.put_stop()  # for one that sleeps
            transport.ring()
            self._wake(transport)

    def wait_for_pause(self, deadline: float) -> bool:
        """Wait until no worker is left but those that were given up; return whether that is so.

        Args:
            deadline: when to give up, as `time.monotonic` has it.
        """
        collector = self._collector
        if collector is not None and collector.is_read_here:
            return False  # it is this thread that would have to see them off
        return self._is_at_rest.wait(max(deadline - time.monotonic(), 0))

    def resume(self) -> None:
        """Go on after `pause`."""
        with Deferred(), self.lock:
            self._is_paused = False
            self._is_at_rest.clear()
            if self.transport is not None:
                self.tasks.drop_stops()
                self._wake(self.transport)
        self.hire()

    def prewarm(self, workers: int) -> None:
        """Have so many workers started, whatever there is to do."""
        with Deferred(), self.lock:
            self.check_open()
            if self.transport is None:
                self._open()
            if self.tasks.instead is None:
                self.staff.wanted = max(self.staff.wanted, workers)
        self.hire()

    def join(self) -> None:
        """Wait until a closed pool is gone: tasks, workers, threads, descriptors.

        Called from a callback of one of its own futures it waits for the workers only, since the
        callback's thread is itself one of those to be waited for.
        """
        collector = self._collector
        if collector is not None:
            collector.join()

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes that were sent to workers, and received from them."""
        transport = self.transport
        return self._moved if transport is None else (transport.sent, transport.received)

    @property
    def initializer_name(self) -> str:
        """The name of its initializer's function, if it has one."""
        return self._settings.initializer_name

    @property
    def name(self) -> str:
        """What the names of its threads begin with."""
        return self._settings.name_prefix

    def wake(self) -> None:
        """Have whoever reads, or should, look at what has changed. The lock is held."""
        if self.transport is not None:
            self._wake(self.transport)

    def disown(self, refusal: str) -> None:
        """Become a closed pool in a forked child, where no thread or interpreter of it is."""
        self.lock = threading.RLock()  # whoever held it is not here
        self.refusal = refusal
        self.broken = None
        if self.transport is not None:
            self.transport.disown()
        self.transport = self._collector = None
        self.staff.disown()
        self.tasks.disown()
        self.timekeeper = Timekeeper(self._settings.name_prefix, self.lock)
        self.stopper = Stopper(self)
        self.done.set()
        self._is_paused = False
        self._reports.clear()
        if self.trace is not None:
            self.trace.disown()
            self.trace = None

    # --- told by the collector -------------------------------------------------------------------

    def absorb(self, frames: Iterable[Frame], outcomes: Outcomes) -> None:
        """Account for what was read and feed the workers; add the futures that are to end."""
        tasks, answered, plain = self.tasks, Stage.ANSWERED, channels.VALUE_PLAIN
        with self.lock:
            transport = self.transport
            assert transport is not None  # noqa: S101 - the frames come from it
            if self.stopper.stopping or self.stopper.unfound or tasks.is_special:
                plain = -1
            ended = 0
            for subject, kind, payload in frames:
                if kind == plain and (task := tasks.in_flight.pop(subject, None)):
                    # What most frames are; `_account` does the same with more calls.
                    ended += 1
                    task._item = None
                    if task._is_heard:
                        tasks.leave(task, answered)
                    else:
                        task._stage = answered
                    # What was printed before it is passed on first.
                    if outcomes or not task.end_unheard(payload):
                        outcomes.append(Outcome(task, kind, payload))
                else:
                    self._hearing.act_on(subject, kind, payload, outcomes)
            tasks.tally.done += ended
            task = payload = None
            is_hiring = self._settle(outcomes)
        while is_hiring:
            self.hire()
            with self.lock:  # again, for a start may have failed
                is_hiring = self._settle(outcomes)
        if self.refusal is None and not self.staff.gone:
            return
        with self.lock:
            if self.refusal is not None and self.transport is not None:
                self._dismiss(transport)
            gone = self.staff.take_gone()
        for worker in gone:
            worker.join()

    def _settle(self, outcomes: Outcomes) -> bool:
        """Act on what was reported on this side, and feed; return whether workers are wanted."""
        while self._reports:
            self._hearing.act_on(*self._reports.popleft(), outcomes)
        if self._is_paused:
            if self.staff.is_empty:
                self._is_at_rest.set()
        elif self.staff.fill():
            self.idling.note_begun()
        self.tasks.feed()
        if self.trace is not None:
            self.trace.tick()
        return self._is_short() or self._lacks_successor() or self._lacks_hosts()

    def report(self, subject: int, kind: int, payload: Any = None) -> None:
        """Tell the collector of something that happened in this process, as a frame would."""
        self._reports.append((subject, kind, payload))
        with Deferred(), self.lock:
            if self.transport is not None:
                self._wake(self.transport)

    def warn(self, message: str) -> None:
        """Have the collector warn of something that the user may want to mend."""
        if not self.is_quiet:
            self.report(0, channels.TOLD, Notice(message, RuntimeWarning))

    def collapse(self, error: BaseException, outcomes: Outcomes) -> None:
        """Break the pool because the collector failed; add every future, to be ended."""
        failure = Failure.from_frame(describe(error, "collector"))
        with self.lock:
            self._hearing.lose_all(failure, outcomes)
            # A worker may wait for something that was lost with what was read.
            self.stopper.give_up_rest(GRACE)
            if self.transport is not None:
                self._dismiss(self.transport)

    def finish(self) -> bool:
        """End what is to end by now; return whether nothing is left, and the channels are closed.

        Not closed while there are workers that were given up: they may come back and use them.
        """
        with self.lock:
            if self.refusal is None or not self.staff.is_empty or not self.tasks.is_empty:
                return False
            if self._reports:
                return False  # with which a wake-up has come, or is about to
            if not all(lane.is_empty for lane in self.tasks.lanes.values()):
                return False
            is_last = not self.staff.abandoned
            if is_last:
                # Forgotten first: a finalizer that comes in between must not use what is closed.
                transport, self.transport, self.tasks.transport = self.transport, None, None
                if transport is not None:
                    self._moved = transport.sent, transport.received
                    transport.close()
            self.timekeeper.close()
        self.timekeeper.join()
        if not self.done.is_set():
            SPARES.renew(min(self.staff.hired, self.staff.most))
        _lifetime.forget(self, leaves_some=not is_last)
        self._end_trace()
        self.done.set()
        return is_last

    # --- under the lock --------------------------------------------------------------------------

    def _wake(self, transport: Transport) -> None:
        """Have whoever reads, or should, look at what has changed."""
        transport.wake()
        if self._collector is not None:
            self._collector.call()

    def look_whether_all_is_sent(self) -> None:
        """Let the workers of a closed pool go, if the last that might be sent again will not be.

        To be called where a task that might have been leaves: its last frame has been read by then,
        and where all workers sleep there comes no other one.
        """
        if self.refusal is not None and self.transport is not None and self.tasks.is_all_sent:
            self._dismiss(self.transport)
            self._wake(self.transport)

    def _open(self) -> Transport:
        """Open the channels with the first task: a pool that is never used costs nothing."""
        _lifetime.remember(self)
        transport: Transport | None = None
        try:
            transport = Transport()
            collector = Collector(self, transport, self._settings.name_prefix)
            collector.start()
        except BaseException:  # the system gives no descriptors, or no thread
            if transport is not None:
                transport.close()
            _lifetime.forget(self)
            raise
        SPARES.note_pool()
        self.transport, self.tasks.transport = transport, transport
        self._collector = collector
        self.fallback.foresee(self._settings.preload)
        return transport

    def _is_short(self) -> bool:
        """Whether one more worker is to be started, and may be."""
        if self.broken is not None or self._is_paused or not self.staff.may_grow:
            return False
        if self.tasks.instead is not None:
            return False
        return self.staff.is_short(*self.tasks.counts())

    def _lacks_hosts(self) -> bool:
        """Whether there are to be more processes, or threads."""
        lanes = self.tasks.lanes
        return self.broken is None and any(lane.is_short for lane in lanes.values())

    def lane(self, name: str) -> Lane:
        """Return a lane, made when the first task comes that needs it. The lock is held."""
        if (lane := self.tasks.lanes.get(name)) is None:
            lane = self.tasks.lanes[name] = _lanes.make(name, self, self._settings)
        return lane

    def _lacks_successor(self) -> bool:
        """Whether a worker is to be started that will take another one's place."""
        if not self.staff.lacks_successor or self.broken is not None or self.is_terminated:
            return False
        if self._is_paused or self.tasks.instead is not None:
            return False
        return self.refusal is None or self.tasks.is_any_untaken

    def hire(self) -> None:
        """Start workers for the tasks there are: outside the lock, for a start waits for it."""
        newcomers: list[Worker | Host] = []
        with Deferred():
            with self.lock:
                if self._lacks_hosts():
                    for lane in self.tasks.lanes.values():
                        newcomers += lane.hire()
                while self.transport is not None:
                    is_short = self._is_short()
                    if not is_short and not self._lacks_successor():
                        break
                    if is_short and self.staff.standby:
                        self.staff.admit_one()
                        self.idling.note_begun()
                        continue
                    newcomers.append(self._hire_one(self.transport, is_successor=not is_short))
            while newcomers:
                worker = newcomers.pop()
                try:
                    worker.start()
                except RuntimeError as error:  # the system gives no more threads
                    self._report_unstarted(worker, error)
                except BaseException as error:  # whoever raises here, those will not start
                    for lost in newcomers if worker.is_started else (worker, *newcomers):
                        self._report_unstarted(lost, error)
                    raise

    def _hire_one(self, transport: Transport, *, is_successor: bool) -> Worker:
        worker = self.staff.hire(transport.worker_ends, self.report, is_successor=is_successor)
        if self.trace is not None:
            self.trace.watch(worker)
        return worker

    def _report_unstarted(self, worker: Worker | Host, error: BaseException) -> None:
        if isinstance(worker, Host):
            worker.give_up(error)
            return
        self.report(worker.number, channels.UNSTARTED, describe(error, "start"))
        self.report(worker.number, channels.GONE)

    def _dismiss(self, transport: Transport) -> None:
        """See to it that there is a stop for each worker behind the last task.

        To be called whenever there may be one worker more, or one stop less: what is put is counted
        until whoever took it has left, be it one that was given up.
        """
        if not self.tasks.is_all_sent:
            return
        for lane in self.tasks.lanes.values():
            if not lane.waiting:
                lane.dismiss()
        if not self.tasks.is_any_untaken:
            self.staff.dismiss_standby()
        while transport.stops < len(self.staff.workers):
            transport.put_stop()
        transport.ring()
