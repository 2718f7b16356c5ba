"""The state of one pool and every decision about it.

        submit            feed                  take                 call
  user -------> backlog -------> task queue  -------> worker's loop ------> function
                                   |    ^                  |
                            recall |    | ring             | frame: outcome, or word of the worker
                                   v    |                  v
  user <------- Future <------- collector  <------- results pipe (bulk queue)
        outcome

What it guarantees:

* A task is in one place: the backlog, the task queue, a worker, or answered; `Future._stage` says
  which, and moves only under the lock. So a future ends once, with one outcome.
* While a task waits and a worker is free, the task travels: whoever adds a task or frees room
  feeds the queue, and the worker that takes its last item while more wait says so.
* There are never more workers than unfinished tasks asked for, nor more than `max_workers`.
* When the last worker of a closed pool is gone, the collector closes the channels and ends.

Locks: `_lock` (this pool's state; reentrant, because a garbage collection inside it may finalize an
iterator that cancels a future of this very pool), then nothing. No user code runs under it, with
the exception of what a garbage collection runs; each step under it leaves the state whole.
"""

import concurrent.futures
import itertools
import logging
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from interpool import _lifetime, _remote
from interpool._callbacks import Callback
from interpool._collector import Collector
from interpool._failures import LOST, Failure
from interpool._future import Future, Stage
from interpool._transport import Frame, Transport
from interpool._worker import Settings, Worker

# The standard library's pools log a failed initializer here; whoever listens there hears of ours.
_LOGGER: Final = logging.getLogger("concurrent.futures")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A future that is to end, and how: `kind` and `payload` of its frame, or an error of ours."""

    future: Future[Any]
    kind: int
    payload: Any


class Engine:
    """One pool: what `InterpreterPoolExecutor` is a handle of. It outlives that handle."""

    def __init__(self, max_workers: int, settings: Settings) -> None:
        self.max_workers = max_workers
        self._settings = settings
        self._lock = threading.RLock()
        self._task_numbers = itertools.count(1)
        self._worker_numbers = itertools.count()
        self._backlog: deque[Future[Any]] = deque()
        self._in_flight: dict[int, Future[Any]] = {}
        self._workers: dict[int, Worker] = {}
        self._gone: list[Worker] = []  # to be joined, which is never done under the lock
        self._waiting = 0  # in the backlog and not withdrawn
        self._transport: Transport | None = None
        self._collector: Collector | None = None
        self._refusal: str | None = None  # why no task is taken any more
        self._broken: Failure | None = None

    # --- asked by the executor and its futures ---------------------------------------------------

    def check_open(self) -> None:
        """Raise what `submit` raises if the pool takes no more tasks."""
        if self._broken is not None:
            raise self._broken.as_broken_pool()
        if self._refusal is not None:
            raise RuntimeError(self._refusal)

    def submit(self, message: _remote.Message) -> Future[Any]:
        """Take a task.

        Raises:
            BrokenInterpreterPool: if a worker could not start.
            RuntimeError: after `close`, or at the interpreter's exit.
        """
        future = Future[Any](self, message)
        with self._lock:
            self.check_open()
            transport = self._transport or self._open()
            self._backlog.append(future)
            self._waiting += 1
            self._feed(transport)
            newcomers = self._recruit(transport)
        self._start(newcomers)
        return future

    def refuse(self, error: BaseException) -> Future[Any]:
        """Return a future that has ended with `error`: its task could not be encoded."""
        future = Future[Any](self, None)
        future._stage = Stage.ANSWERED
        future.set_exception(error)
        return future

    def withdraw(self, future: Future[Any]) -> bool:
        """Take a task back if no worker has taken it; true for the one caller that did."""
        with self._lock:
            if future._stage is Stage.WAITING:
                self._waiting -= 1  # its place in the backlog is passed over when it comes up
            elif (
                future._stage is not Stage.SENT
                or self._is_taken(future)
                or not self._recall(future)
            ):
                return False
            future._stage = Stage.WITHDRAWN
            future._message = None
            return True

    def is_running(self, future: Future[Any]) -> bool:
        """Whether a worker has taken the task, and its outcome is not here yet."""
        with self._lock:
            return future._stage is Stage.SENT and self._is_taken(future)

    def call_back(self, future: concurrent.futures.Future[Any], callback: Callback) -> None:
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
        withdrawn: list[Future[Any]] = []
        with self._lock:
            self._refusal = self._refusal or refusal
            if cancel:
                withdrawn = self._withdraw_all()
            if self._transport is not None:
                self._dismiss(self._transport)
                if not self._workers:
                    # No frame of theirs will wake the collector; nor do any fill the pipe, so this
                    # cannot block under the lock.
                    self._transport.post(0, _remote.WAKE)
        for future in withdrawn:
            future.settle_withdrawn()

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
        self._lock = threading.RLock()  # whoever held it is not here
        self._refusal = refusal
        self._broken = None
        self._transport = self._collector = None
        self._workers.clear()
        self._backlog.clear()
        self._in_flight.clear()
        self._waiting = 0

    # --- told by the collector -------------------------------------------------------------------

    def absorb(self, frames: Iterable[Frame]) -> list[Outcome]:
        """Account for what was read; feed the workers; return the futures that are to end."""
        outcomes: list[Outcome] = []
        with self._lock:
            transport = self._transport
            assert transport is not None  # noqa: S101 - the frames come from it
            for subject, kind, payload in frames:
                if kind <= _remote.EACH:
                    self._answer(subject, kind, payload, outcomes)
                else:
                    self._hear(subject, kind, payload, outcomes)
            self._feed(transport)
            newcomers = self._recruit(transport)
            if self._refusal is not None:
                self._dismiss(transport)
            gone, self._gone = self._gone, []
        for worker in gone:
            worker.join()
        self._start(newcomers)
        return outcomes

    def collapse(self, error: BaseException) -> list[Outcome]:
        """Break the pool because the collector failed; return every future, to be ended."""
        failure = Failure.from_frame(_remote.describe(error, "collector"))
        outcomes: list[Outcome] = []
        with self._lock:
            self._break(failure, outcomes)
            for task in list(self._in_flight):
                self._answer(task, _remote.DIED, failure, outcomes)
            if self._transport is not None:
                self._dismiss(self._transport)
        return outcomes

    def finish(self) -> bool:
        """Close the channels if all is done; return whether it is."""
        with self._lock:
            if self._refusal is None or self._workers or self._waiting or self._in_flight:
                return False
            if self._transport is not None:
                self._transport.close()
                self._transport = None
        _lifetime.forget(self)
        return True

    # --- under the lock --------------------------------------------------------------------------

    def _open(self) -> Transport:
        """Open the channels with the first task: a pool that is never used costs nothing."""
        _lifetime.remember(self)
        transport = Transport()
        collector = Collector(self, transport, self._settings.name_prefix)
        try:
            collector.start()
        except BaseException:
            transport.close()
            _lifetime.forget(self)
            raise
        self._transport, self._collector = transport, collector
        return transport

    def _feed(self, transport: Transport) -> None:
        """Send tasks from the backlog while there is room, and wake workers for them."""
        backlog = self._backlog
        sent = False
        while backlog:
            if not transport.has_room(len(self._in_flight), len(self._workers)):
                # Ask first, look again afterwards: the worker that takes the last item either
                # sees the request, or has made the room that is seen here.
                transport.ask_for_more()
                if not transport.has_room(len(self._in_flight), len(self._workers)):
                    break
            future = backlog.popleft()
            message, future._message = future._message, None
            if message is None:
                continue  # withdrawn
            self._waiting -= 1
            task = next(self._task_numbers)
            self._send(transport, task, future, message)
            sent = True
        if sent:
            transport.ring()

    def _send(
        self, transport: Transport, task: int, future: Future[Any], message: _remote.Message
    ) -> None:
        self._in_flight[task] = future
        future._stage = Stage.SENT
        future._position = transport.put(task, message)

    def _recruit(self, transport: Transport) -> list[Worker]:
        """Make workers while there are fewer than unfinished tasks, to be started outside."""
        newcomers = []
        wanted = min(self.max_workers, self._waiting + len(self._in_flight))
        while self._broken is None and len(self._workers) < wanted:
            worker = Worker(next(self._worker_numbers), self._settings, transport)
            self._workers[worker.number] = worker
            newcomers.append(worker)
        return newcomers

    def _start(self, newcomers: list[Worker]) -> None:
        """Start workers, outside the lock: a thread's start waits for the thread to run."""
        for worker in newcomers:
            try:
                worker.start()
            except RuntimeError as error:  # the system gives no more threads
                # The channels stay open while this worker is listed, until GONE has been read.
                failure = _remote.describe(error, "start")
                worker.transport.post(worker.number, _remote.UNSTARTED, failure)
                worker.transport.post(worker.number, _remote.GONE)

    def _dismiss(self, transport: Transport) -> None:
        """Put a stop for each worker behind the last task."""
        if self._waiting:
            return
        for worker in self._workers.values():
            if not worker.dismissed:
                worker.dismissed = True
                transport.put_stop()
        transport.ring()

    def _is_taken(self, future: Future[Any]) -> bool:
        return self._transport is not None and self._transport.is_taken(future._position)

    def _recall(self, wanted: Future[Any]) -> bool:
        """Take one task out of the queue, leaving the others in their order."""
        transport = self._transport
        if transport is None:
            return False
        found = False
        tasks, stops = transport.recall()
        for task, message in tasks:
            future = self._in_flight.pop(task)
            if future is wanted:
                found = True
            else:
                self._send(transport, task, future, message)
        for _ in range(stops):
            transport.put_stop()
        transport.ring()
        return found

    def _withdraw_all(self) -> list[Future[Any]]:
        """Withdraw every task that no worker has taken."""
        withdrawn: list[Future[Any]] = []
        if (transport := self._transport) is not None:
            tasks, stops = transport.recall()
            withdrawn += (self._in_flight.pop(task) for task, _ in tasks)
            for _ in range(stops):
                transport.put_stop()
            transport.ring()
        withdrawn += (future for future in self._backlog if future._message is not None)
        self._backlog.clear()
        self._waiting = 0
        for future in withdrawn:
            future._stage = Stage.WITHDRAWN
            future._message = None
        return withdrawn

    def _hear(self, subject: int, kind: int, payload: Any, outcomes: list[Outcome]) -> None:
        """Act on word of a worker."""
        match kind:
            case _remote.UNSTARTED:
                self._hear_unstarted(Failure.from_frame(payload), outcomes)
            case _remote.DIED:
                task, description = payload
                self._answer(task, _remote.DIED, Failure.from_frame(description), outcomes)
            case _remote.LEFT:
                self._workers[subject].release()
            case _remote.GONE:
                self._gone.append(self._workers.pop(subject))
                if not self._workers:
                    self._strand(outcomes)
            case _remote.HUNGRY | _remote.WAKE:
                pass  # what they ask for is done after every batch
            case _:
                message = f"unknown frame {kind} of {subject}"
                raise AssertionError(message)

    def _hear_unstarted(self, failure: Failure, outcomes: list[Outcome]) -> None:
        """A worker did not start: go on with fewer if it lacked means, else the pool is broken."""
        others = len(self._workers) - 1
        if failure.stage == "start" and others:
            _LOGGER.critical("%s\n%s", failure.headline(), failure.text)
            self.max_workers = others
        else:
            self._break(failure, outcomes)

    def _break(self, failure: Failure, outcomes: list[Outcome]) -> None:
        """Take no more tasks, and end those that no worker has taken; the others go on."""
        if self._broken is not None:
            return
        _LOGGER.critical("%s\n%s", failure.headline(), failure.text)
        self._broken = failure
        self._refusal = failure.headline()
        for future in self._withdraw_all():
            future._stage = Stage.ANSWERED
            outcomes.append(Outcome(future, _remote.UNSTARTED, failure))

    def _answer(self, task: int | None, kind: int, payload: Any, outcomes: list[Outcome]) -> None:
        """Move a task that was sent to where its future is ended, unless that has been done."""
        future = self._in_flight.pop(task, None) if task is not None else None
        if future is not None:
            future._stage = Stage.ANSWERED
            outcomes.append(Outcome(future, kind, payload))

    def _strand(self, outcomes: list[Outcome]) -> None:
        """End the tasks that were taken by workers that are all gone without an answer."""
        for task, future in list(self._in_flight.items()):
            if self._is_taken(future):
                self._answer(task, _remote.DIED, self._broken or LOST, outcomes)
