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
* There are never more workers than unfinished tasks asked for, nor more than `max_workers`. (A task
  withdrawn from the middle of a long backlog counts until its turn comes.)
* When the last worker of a closed pool is gone, the collector closes the channels and ends.

Locks: `_lock` (this pool's state; reentrant, because a garbage collection inside it may finalize an
iterator that cancels a future of this very pool), then nothing. No user code runs under it but
finalizers, which come when they like; each step leaves a state that they may meet. In the main
thread SIGINT is `Deferred` meanwhile.
"""

import concurrent.futures
import itertools
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from interpool import _environment, _lifetime
from interpool._callbacks import Callback
from interpool._codec import Request
from interpool._collector import Collector
from interpool._failures import LOST, Failure
from interpool._future import Future, Stage
from interpool._inside import channels
from interpool._inside.outcomes import Message, describe
from interpool._interrupts import Deferred
from interpool._output import Output
from interpool._reports import Notice
from interpool._transport import Frame, Transport
from interpool._worker import Settings, Worker


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
        self._reports: deque[Frame] = deque()  # frames from this side, for the collector
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

    def submit(self, request: Request, name: str) -> Future[Any]:
        """Take a task; `name` is its function's.

        Raises:
            BrokenInterpreterPool: if a worker could not start.
            RuntimeError: after `close`, or at the interpreter's exit.
        """
        environment: bytes | None = _environment.snapshot()
        if environment is self._settings.environment:
            environment = None  # which every worker has
        future = Future[Any](self, (environment, *request.message), name, request.keeps)
        with Deferred(), self._lock:
            self.check_open()
            transport = self._transport or self._open()
            self._backlog.append(future)
            self._feed(transport)
            hiring = self._is_short()
        if hiring:
            self._hire()
        return future

    def refuse(self, error: BaseException) -> Future[Any]:
        """Return a future that has ended with `error`: its task could not be encoded."""
        future = Future[Any](self, None, "")
        future._stage = Stage.ANSWERED
        future.set_exception(error)
        return future

    def withdraw(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Take back those of some tasks that no worker has taken, and return their futures.

        A future is returned to the one caller that withdrew it, who settles it.
        """
        withdrawn: list[Future[Any]] = []
        waiting = Stage.WAITING
        with self._lock:
            queued = set()
            for future in futures:
                if future._stage is waiting:
                    # Passed over when it comes up in the backlog.
                    future._stage = Stage.WITHDRAWN
                    withdrawn.append(future)
                elif future._stage is Stage.SENT and not self._is_taken(future):
                    queued.add(future)
            if queued:
                withdrawn += self._recall(queued)
            for future in withdrawn:
                future._message = None
        return withdrawn

    def is_running(self, future: Future[Any]) -> bool:
        """Whether a worker has taken the task, and its outcome is not here yet."""
        with Deferred(), self._lock:
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
        with Deferred():
            withdrawn: list[Future[Any]] = []
            with self._lock:
                self._refusal = self._refusal or refusal
                if cancel:
                    withdrawn = self._withdraw_all()
                if self._transport is not None:
                    self._dismiss(self._transport)
                    self._transport.wake()
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
        if self._transport is not None:
            self._transport.disown()
        self._transport = self._collector = None
        self._workers.clear()
        self._gone.clear()
        self._reports.clear()
        self._backlog.clear()
        self._in_flight.clear()

    # --- told by the collector -------------------------------------------------------------------

    def absorb(self, frames: Iterable[Frame], outcomes: deque[Outcome | Output | Notice]) -> None:
        """Account for what was read and feed the workers; add the futures that are to end."""
        with self._lock:
            transport = self._transport
            assert transport is not None  # noqa: S101 - the frames come from it
            for subject, kind, payload in frames:
                self._account(subject, kind, payload, outcomes)
        while True:
            with self._lock:
                while self._reports:
                    self._account(*self._reports.popleft(), outcomes)
                self._feed(transport)
            self._hire()
            if not self._reports:  # else a start has failed
                break
        with self._lock:
            if self._refusal is not None:
                self._dismiss(transport)
            gone, self._gone = self._gone, []
        for worker in gone:
            worker.join()

    def report(self, subject: int, kind: int, payload: Any = None) -> None:
        """Tell the collector of something that happened in this process, as a frame would."""
        self._reports.append((subject, kind, payload))
        with self._lock:
            if self._transport is not None:
                self._transport.wake()

    def collapse(self, error: BaseException, outcomes: deque[Outcome | Output | Notice]) -> None:
        """Break the pool because the collector failed; add every future, to be ended."""
        failure = Failure.from_frame(describe(error, "collector"))
        with self._lock:
            self._break(failure, outcomes)
            for task in list(self._in_flight):
                self._answer(task, channels.DIED, failure, outcomes)
            if self._transport is not None:
                self._dismiss(self._transport)

    def finish(self) -> bool:
        """Close the channels if all is done; return whether it is."""
        with self._lock:
            if self._refusal is None or self._workers or self._backlog or self._in_flight:
                return False
            # Forgotten first: a finalizer that comes in between must not use what is being closed.
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.close()
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
        except RuntimeError:  # the system gives no thread
            transport.close()
            _lifetime.forget(self)
            raise
        self._transport, self._collector = transport, collector
        return transport

    def _feed(self, transport: Transport) -> None:
        """Send tasks from the backlog while there is room, and wake workers for them."""
        backlog = self._backlog
        waiting, sent = Stage.WAITING, Stage.SENT
        any_sent = False
        while backlog:
            future = backlog[0]
            if future._stage is waiting and not self._has_room(transport):
                break
            if future._stage is waiting:
                # Claimed. Nothing is called since the line before, so no finalizer can have come
                # in between and withdrawn it.
                future._stage = sent
                message, future._message = future._message, None
                self._send(transport, future, message or ())
                any_sent = True
            if backlog and backlog[0] is future:  # a finalizer may have fed in between
                backlog.popleft()
        if any_sent:
            transport.ring()

    def _has_room(self, transport: Transport) -> bool:
        """Whether one more task may be sent; if not, see to it that somebody says when."""
        if transport.has_room(len(self._in_flight), len(self._workers)):
            return True
        # Ask first, look again afterwards: the worker that takes the last item either sees the
        # request, or has made the room that is seen here.
        transport.ask_for_more()
        return transport.has_room(len(self._in_flight), len(self._workers))

    def _send(self, transport: Transport, future: Future[Any], message: Message) -> None:
        """Put a task that is marked as sent into the queue."""
        task = next(self._task_numbers)
        try:
            self._in_flight[task] = future
            future._position = transport.put(task, message)
        except BaseException as error:
            # Too deep a recursion, no memory: nobody knows whether it was put. It must not run
            # twice, nor leave a future waiting.
            self._in_flight[task] = future
            self.report(task, channels.FAILED, describe(error, "sending"))
            raise

    def _is_short(self) -> bool:
        """Whether there are fewer workers than unfinished tasks, and may be more."""
        unfinished = len(self._backlog) + len(self._in_flight)
        return len(self._workers) < min(self.max_workers, unfinished) and self._broken is None

    def _hire(self) -> None:
        """Start workers for the tasks there are: outside the lock, for a start waits for it."""
        newcomers: list[Worker] = []
        with Deferred():
            with self._lock:
                while self._transport is not None and self._is_short():
                    number = next(self._worker_numbers)
                    ends = self._transport.worker_ends
                    worker = Worker(number, self._settings, ends, self.report)
                    self._workers[worker.number] = worker
                    newcomers.append(worker)
            for worker in newcomers:
                try:
                    worker.start()
                except RuntimeError as error:  # the system gives no more threads
                    failure = describe(error, "start")
                    self.report(worker.number, channels.UNSTARTED, failure)
                    self.report(worker.number, channels.GONE)

    def _dismiss(self, transport: Transport) -> None:
        """Put a stop for each worker behind the last task."""
        if self._backlog:
            return
        for worker in self._workers.values():
            if not worker.dismissed:
                worker.dismissed = True
                transport.put_stop()
        transport.ring()

    def _is_taken(self, future: Future[Any]) -> bool:
        return self._transport is not None and self._transport.is_taken(future._position)

    def _recall(self, wanted: set[Future[Any]] | None) -> list[Future[Any]]:
        """Take those tasks out of the queue, or all; leave the others in their order."""
        transport = self._transport
        if transport is None:
            return []
        found = []
        tasks, stops = transport.recall()
        for task, message in tasks:
            future = self._in_flight.pop(task, None)
            if future is None:
                continue  # its sending failed half-way, and its future has been ended
            if wanted is None or future in wanted:
                future._stage = Stage.WITHDRAWN
                found.append(future)
            else:
                self._send(transport, future, message)
        for _ in range(stops):
            transport.put_stop()
        transport.ring()
        return found

    def _withdraw_all(self) -> list[Future[Any]]:
        """Withdraw every task that no worker has taken."""
        withdrawn = self._recall(None)
        waiting = Stage.WAITING
        for future in self._backlog:
            if future._stage is waiting:
                future._stage = Stage.WITHDRAWN
                withdrawn.append(future)
        self._backlog.clear()
        for future in withdrawn:
            future._message = None
        return withdrawn

    def _account(
        self, subject: int, kind: int, payload: Any, outcomes: deque[Outcome | Output | Notice]
    ) -> None:
        """Act on a frame: the outcome of a task, or word of a worker."""
        if kind <= channels.EACH:
            self._answer(subject, kind, payload, outcomes)
            return
        match kind:
            case channels.UNSTARTED:
                self._hear_unstarted(Failure.from_frame(payload), outcomes)
            case channels.DIED:
                task, description = payload
                self._answer(task, channels.DIED, Failure.from_frame(description), outcomes)
            case channels.LEFT:
                self._workers[subject].release()
            case channels.SAID:
                outcomes.append(Output(subject, payload))
            case channels.GONE:
                outcomes.append(Output(subject, None))
                self._gone.append(self._workers.pop(subject))
                if not self._workers:
                    self._strand(outcomes)
            case channels.HUNGRY | channels.WAKE:
                pass  # what they ask for is done after every batch
            case _:
                message = f"unknown frame {kind} of {subject}"
                raise AssertionError(message)

    def _hear_unstarted(self, failure: Failure, outcomes: deque[Outcome | Output | Notice]) -> None:
        """A worker did not start: go on with fewer if it lacked means, else the pool is broken."""
        others = len(self._workers) - 1
        if failure.stage == "start" and others:
            outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
            self.max_workers = others
        else:
            self._break(failure, outcomes)

    def _break(self, failure: Failure, outcomes: deque[Outcome | Output | Notice]) -> None:
        """Take no more tasks, and end those that no worker has taken; the others go on."""
        if self._broken is not None:
            return
        outcomes.append(Notice(f"{failure.headline()}\n{failure.text}"))
        self._broken = failure
        self._refusal = failure.headline()
        for future in self._withdraw_all():
            future._stage = Stage.ANSWERED
            outcomes.append(Outcome(future, channels.UNSTARTED, failure))

    def _answer(
        self, task: int | None, kind: int, payload: Any, outcomes: deque[Outcome | Output | Notice]
    ) -> None:
        """Move a task that was sent to where its future is ended, unless that has been done."""
        future = self._in_flight.pop(task, None) if task is not None else None
        if future is not None:
            future._stage = Stage.ANSWERED
            outcomes.append(Outcome(future, kind, payload))

    def _strand(self, outcomes: deque[Outcome | Output | Notice]) -> None:
        """End the tasks that were taken by workers that are all gone without an answer."""
        for task, future in list(self._in_flight.items()):
            if self._is_taken(future):
                self._answer(task, channels.DIED, self._broken or LOST, outcomes)
