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
  (`_staff`). (A task withdrawn from the middle of a long backlog counts until its turn comes.)
* When the last worker of a closed pool is gone, the collector closes the channels and ends.

Locks: `lock` (this pool's state; reentrant, because a garbage collection inside it may finalize an
iterator that cancels a future of this very pool), then nothing. No user code runs under it but
finalizers, which come when they like; each step leaves a state that they may meet. In the main
thread SIGINT is `Deferred` meanwhile.
"""

import concurrent.futures
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from interpool import _environment, _lifetime
from interpool._batching import Paces
from interpool._callbacks import Callback
from interpool._codec import Request
from interpool._collector import Collector
from interpool._dispatch import Dispatch
from interpool._failures import LOST, Failure
from interpool._future import Future
from interpool._inside import channels
from interpool._inside.outcomes import describe
from interpool._interrupts import Deferred
from interpool._lots import Lot, Piece
from interpool._output import Output
from interpool._reports import Notice
from interpool._spares import SPARES
from interpool._staff import Staff
from interpool._task import Outcome, Stage, Task
from interpool._transport import Frame, Transport, item_of
from interpool._worker import Settings, Worker

_UNENDED: Final = frozenset({Stage.WAITING, Stage.SENT})


class Engine:
    """One pool: what `InterpreterPoolExecutor` is a handle of. It outlives that handle."""

    def __init__(self, max_workers: int, settings: Settings) -> None:
        self.lock = threading.RLock()
        self._settings = settings
        self._task_numbers = itertools.count(1)
        self.staff = Staff(max_workers, settings)
        self._tasks = Dispatch(self.report)
        self._reports: deque[Frame] = deque()  # frames from this side, for the collector
        self._unsettled: deque[Task] = deque()  # withdrawn, and their futures not told
        self._transport: Transport | None = None
        self._collector: Collector | None = None
        self.paces = Paces()
        self._refusal: str | None = None  # why no task is taken any more
        self._broken: Failure | None = None

    # --- asked by the executor and its futures ---------------------------------------------------

    def check_open(self) -> None:
        """Raise what `submit` raises if the pool takes no more tasks."""
        if self._broken is not None:
            raise self._broken.as_broken_pool()
        if self._refusal is not None:
            raise RuntimeError(self._refusal)

    def submit(self, request: Request, name: str) -> Future[Any]:
        """Take a task; `name` is its function's.

        Raises:
            BrokenInterpreterPool: if a worker could not start.
            RuntimeError: after `close`, or at the interpreter's exit.
        """
        task = next(self._task_numbers)
        item = item_of(task, self.environment(), request.message)
        future = Future[Any](self, name, task, item, request.keeps)
        with Deferred(), self.lock:
            self.check_open()
            transport = self._transport or self._open()
            self._tasks.add(future, transport)
            hiring = self._is_short()
        if hiring:
            self.hire()
        return future

    def environment(self) -> bytes | None:
        """Return what workers are to take over, as it is now; None: what they began with."""
        environment = _environment.snapshot()
        return None if environment is self._settings.environment else environment

    def new_number(self) -> int:
        """Return the number of a new task."""
        return next(self._task_numbers)

    def send_lot(self, lot: Lot) -> None:
        """Take what was added to a lot. The lock is held."""
        if self._transport is None:
            self._open()
        self._tasks.add_lot(lot)

    def refuse(self, error: BaseException) -> Future[Any]:
        """Return a future that has ended with `error`: its task could not be encoded."""
        future = Future[Any](self, "")
        future._stage = Stage.ANSWERED
        future.set_exception(error)
        return future

    def withdraw(self, tasks: Iterable[Task]) -> list[Task]:
        """Take back those of some tasks that no worker has taken, and return them.

        A task is returned to the one caller that withdrew it, who settles it.
        """
        with self.lock:
            return self._tasks.withdraw(tasks)

    def listen_to(self, future: Future[Any]) -> None:
        """Somebody waits for a future, or wants to be called back. The lock is held."""
        if future._stage in _UNENDED:
            future._is_heard = True
            self.listen()

    def listen(self) -> None:
        """Have results read without delay until `listen_no_more`. The lock is held."""
        self._tasks.heard += 1
        if self._collector is not None:
            self._collector.call()

    def listen_no_more(self) -> None:
        """Take back one `listen`. The lock is held."""
        self._tasks.heard -= 1

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

    def settle_later(self, task: Task) -> None:
        """Leave it to the collector to settle a task that was withdrawn under the lock.

        Who waits for the lock meanwhile may hold what settling needs, the future's own.
        """
        self._unsettled.append(task)
        if self._transport is not None:
            self._wake(self._transport)

    def settle(self) -> None:
        """Settle what was left: called under no lock."""
        while self._unsettled:
            self._unsettled.popleft().settle_withdrawn()

    def is_urgent(self) -> bool:
        """Whether results should be read as soon as they are there."""
        return bool(
            self._tasks.is_urgent
            or self._reports
            or self._unsettled
            or self.staff.is_starting
            or self.staff.put_off is not None
            or self._refusal is not None
        )

    def hire_now(self) -> None:
        """Start the workers whose start was put off, if they are still needed."""
        self.staff.put_off = None
        self.hire()

    def nudge(self) -> None:
        """Have a thread that reads see that a future has ended without a result."""
        if (collector := self._collector) is not None and collector.is_read_elsewhere:
            with self.lock:
                if self._transport is not None:
                    self._transport.wake()

    def is_running(self, future: Future[Any]) -> bool:
        """Whether a worker has taken the task, and its outcome is not here yet."""
        with Deferred(), self.lock:
            return future._stage is Stage.SENT and self._tasks.is_taken(future)

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended, where it may block."""
        if (collector := self._collector) is not None:
            collector.call_back(future, callback)
        else:
            callback(future)

    def close(self, *, refusal: str, cancel: bool = False) -> None:
        """Take no more tasks; workers leave when all is done. Never waits.

        Args:
            refusal: what `submit` says from now on.
            cancel: cancel every task that no worker has taken.
        """
        with Deferred():
            withdrawn: list[Task] = []
            with self.lock:
                self._refusal = self._refusal or refusal
                if cancel:
                    withdrawn = self._tasks.withdraw_all(concurrent.futures.CancelledError)
                self.staff.wanted = 0
                if self._transport is not None:
                    self._dismiss(self._transport)
                    self._wake(self._transport)
            for task in withdrawn:
                task.settle_withdrawn()

    def prewarm(self, workers: int) -> None:
        """Have so many workers started, whatever there is to do."""
        with Deferred(), self.lock:
            self.check_open()
            if self._transport is None:
                self._open()
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

    def disown(self, refusal: str) -> None:
        """Become a closed pool in a forked child, where no thread or interpreter of it is."""
        self.lock = threading.RLock()  # whoever held it is not here
        self._refusal = refusal
        self._broken = None
        if self._transport is not None:
            self._transport.disown()
        self._transport = self._collector = None
        self.staff.disown()
        self._tasks.disown()
        self._reports.clear()

    # --- told by the collector -------------------------------------------------------------------

    def absorb(self, frames: Iterable[Frame], outcomes: deque[Outcome | Output | Notice]) -> None:
        """Account for what was read and feed the workers; add the futures that are to end."""
        tasks, answered, plain = self._tasks, Stage.ANSWERED, channels.VALUE_PLAIN
        with self.lock:
            transport = self._transport
            assert transport is not None  # noqa: S101 - the frames come from it
            for subject, kind, payload in frames:
                if kind == plain and (task := tasks.in_flight.pop(subject, None)):
                    # What most frames are; `_account` does the same with more calls.
                    if task._is_heard:
                        tasks.leave(task, answered)
                    else:
                        task._stage = answered
                    # What was printed before it is passed on first.
                    if outcomes or not task.end_unheard(payload):
                        outcomes.append(Outcome(task, kind, payload))
                else:
                    self._account(subject, kind, payload, outcomes)
            task = payload = None
            is_hiring = self._settle(outcomes)
        while is_hiring:
            self.hire()
            with self.lock:  # again, for a start may have failed
                is_hiring = self._settle(outcomes)
        if self._refusal is None and not self.staff.gone:
            return
        with self.lock:
            if self._refusal is not None:
                self._dismiss(transport)
            gone = self.staff.take_gone()
        for worker in gone:
            worker.join()

    def _settle(self, outcomes: deque[Outcome | Output | Notice]) -> bool:
        """Act on what was reported on this side, and feed; return whether workers are wanted."""
        while self._reports:
            self._account(*self._reports.popleft(), outcomes)
        self._tasks.feed()
        return self._is_short()

    def report(self, subject: int, kind: int, payload: Any = None) -> None:
        """Tell the collector of something that happened in this process, as a frame would."""
        self._reports.append((subject, kind, payload))
        with self.lock:
            if self._transport is not None:
                self._wake(self._transport)

    def collapse(self, error: BaseException, outcomes: deque[Outcome | Output | Notice]) -> None:
        """Break the pool because the collector failed; add every future, to be ended."""
        failure = Failure.from_frame(describe(error, "collector"))
        with self.lock:
            self._break(failure, outcomes)
            for task in list(self._tasks.in_flight):
                self._answer(task, channels.DIED, failure, outcomes)
            if self._transport is not None:
                self._dismiss(self._transport)

    def finish(self) -> bool:
        """Close the channels if all is done; return whether it is."""
        with self.lock:
            if self._refusal is None or self.staff.workers or not self._tasks.is_empty:
                return False
            # Forgotten first: a finalizer that comes in between must not use what is being closed.
            transport, self._transport, self._tasks.transport = self._transport, None, None
            if transport is not None:
                transport.close()
        SPARES.renew(self.staff.hired)
        _lifetime.forget(self)
        return True

    # --- under the lock --------------------------------------------------------------------------

    def _wake(self, transport: Transport) -> None:
        """Have whoever reads, or should, look at what has changed."""
        transport.wake()
        if self._collector is not None:
            self._collector.call()

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
        self._transport, self._tasks.transport = transport, transport
        self._collector = collector
        return transport

    def _is_short(self) -> bool:
        """Whether one more worker is to be started, and may be."""
        if self._broken is not None or not self.staff.may_grow:
            return False
        return self.staff.is_short(*self._tasks.counts())

    def hire(self) -> None:
        """Start workers for the tasks there are: outside the lock, for a start waits for it."""
        newcomers: list[Worker] = []
        with Deferred():
            with self.lock:
                while self._transport is not None and self._is_short():
                    newcomers.append(self.staff.hire(self._transport.worker_ends, self.report))
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

    def _report_unstarted(self, worker: Worker, error: BaseException) -> None:
        self.report(worker.number, channels.UNSTARTED, describe(error, "start"))
        self.report(worker.number, channels.GONE)

    def _dismiss(self, transport: Transport) -> None:
        """Put a stop for each worker behind the last task."""
        if not self._tasks.is_all_sent:
            return
        for worker in self.staff.workers.values():
            if not worker.dismissed:
                worker.dismissed = True
                transport.put_stop()
        transport.ring()

    def _account(
        self, subject: int, kind: int, payload: Any, outcomes: deque[Outcome | Output | Notice]
    ) -> None:
        """Act on a frame: the outcome of a task, or word of a worker."""
        if kind <= channels.EACH:
            self._answer(subject, kind, payload, outcomes)
            return
        match kind:
            case channels.BEGUN:
                self.staff.note_begun(subject)
            case channels.UNSTARTED:
                self.staff.note_failed(subject)
                self._hear_unstarted(Failure.from_frame(payload), outcomes)
            case channels.DIED:
                task, description = payload
                self._hear_died(subject, task, Failure.from_frame(description), outcomes)
            case channels.LEFT:
                self.staff.workers[subject].release()
            case channels.SAID:
                outcomes.append(Output(subject, payload))
            case channels.GONE:
                self._hear_gone(subject, outcomes)
            case channels.FULL:
                self._transport.make_room(payload)  # type: ignore[union-attr]  # it brought this
            case channels.HUNGRY | channels.WAKE:
                pass  # what they ask for is done after every batch
            case _:
                message = f"unknown frame {kind} of {subject}"
                raise AssertionError(message)

    def _hear_died(
        self,
        number: int,
        task: int | None,
        failure: Failure,
        outcomes: deque[Outcome | Output | Notice],
    ) -> None:
        """A worker's loop broke down, perhaps with a task; the next would, if it never began."""
        self._answer(task, channels.DIED, failure, outcomes)
        if self.staff.is_new(number):
            self._break(failure, outcomes)

    def _hear_gone(self, number: int, outcomes: deque[Outcome | Output | Notice]) -> None:
        """A worker is no more: it says nothing, and answers no ring and no task."""
        outcomes.append(Output(number, None))
        self.staff.note_gone(number)
        if self._transport is not None:
            self._transport.ring_again()
        if not self.staff.workers:
            self._strand(outcomes)

    def _hear_unstarted(self, failure: Failure, outcomes: deque[Outcome | Output | Notice]) -> None:
        """A worker did not start: go on with fewer if it lacked means, else the pool is broken."""
        others = len(self.staff.workers) - 1
        if failure.stage == "start" and others:
            outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
            self.staff.most = others
        else:
            self._break(failure, outcomes)

    def _break(self, failure: Failure, outcomes: deque[Outcome | Output | Notice]) -> None:
        """Take no more tasks, and end those that no worker has taken; the others go on."""
        if self._broken is not None:
            return
        outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
        self._broken = failure
        self._refusal = failure.headline()
        self.staff.wanted = 0
        for task in self._tasks.withdraw_all(failure.as_broken_pool):
            if isinstance(task, Future):
                task._stage = Stage.ANSWERED
                outcomes.append(Outcome(task, channels.UNSTARTED, failure))

    def _answer(
        self,
        number: int | None,
        kind: int,
        payload: Any,
        outcomes: deque[Outcome | Output | Notice],
    ) -> None:
        """Move a task that was sent to where its future is ended, unless that has been done."""
        task = self._tasks.answer(number, kind, payload)
        if isinstance(task, Piece) and not outcomes:
            task.lot.deliver(task, kind, payload)
        elif task is not None:
            outcomes.append(Outcome(task, kind, payload))

    def _strand(self, outcomes: deque[Outcome | Output | Notice]) -> None:
        """End the tasks that were taken by workers that are all gone without an answer."""
        for number, task in list(self._tasks.in_flight.items()):
            if self._tasks.is_taken(task):
                self._answer(number, channels.DIED, self._broken or LOST, outcomes)
