"""The state of one cluster executor, and what it is asked and told.

        submit            feed          Dask's scheduler         coroutine
  user -------> backlog -------> link -----------------> worker ----------> interpreter pool
          map                      ^                        |
                                   |                        v
  user <------- Future, Lot <-- ending <---- link <----- outcome

It is what `interpool._engine` is to a pool, and offers what futures and lots ask of one: they, and
`map`, are the same. What it guarantees:

* A task is in one place (`_dispatch`), so a future ends once, with one outcome.
* Whatever becomes of the cluster, every task ends: the link tells the end of each, or its own.
* Tasks that are to stop end, `_orders.PATIENCE` after their grace at the latest.

Threads: the link's, which runs Dask's event loop; the one of `_ending`, which runs users' code;
users' own. Locks: `lock`, then the link's. No user code runs under them but finalizers, as in
`interpool._engine`.
"""

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from interpool import _lifetime
from interpool._batching import Paces, Timing
from interpool._callbacks import Callback
from interpool._codec import Request
from interpool._future import Future
from interpool._inside import channels
from interpool._interrupts import Deferred
from interpool._lots import Lot, Piece
from interpool._reports import warn
from interpool._stops import GRACE, Reason, Stop
from interpool._task import Stage, Task
from interpool._terms import PLAIN, Terms
from interpool._transport import item_of
from interpool.cluster._dispatch import Dispatch, Staff, refusal_of
from interpool.cluster._ending import Ending

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.outcomes import Message
    from interpool._transport import Item
    from interpool.cluster._link import Link

# What a piece of a map is worth: Dask takes some 2 ms for a task, of which the scheduler's 1 ms
# bounds all workers together. A worker hands back what it has not begun after four times that.
FAR: Final = Timing(piece=0.1, budget=0.4, ahead=0.0, is_joined=True)


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
        self.tasks = Dispatch(self)
        self.paces = Paces()
        self.refusal: str | None = None  # why no task is taken any more
        self.broken: Callable[[], BaseException] | None = None  # makes an error that says why
        self.done = threading.Event()
        self._numbers = itertools.count(1)
        self._is_finishing = False
        self._ending = Ending(self)
        _lifetime.remember(self._as_engine)
        try:
            self._ending.start()
            self.link = make_link(self)
            self.link.start()
        except BaseException:
            self._ending.close()
            _lifetime.forget(self._as_engine)
            self.done.set()
            raise

    # --- asked by the executor -------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise what `submit` raises if the executor takes no more tasks."""
        if self.broken is not None:
            raise self.broken()
        if self.refusal is not None:
            raise RuntimeError(self.refusal)

    def submit(
        self,
        request: Request,
        name: str,
        terms: Terms = PLAIN,
        *,
        lane: str | None = None,  # noqa: ARG002 - as a pool's engine has it: it is in the terms, too
    ) -> Future[Any]:
        """Take a task.

        Raises:
            ClusterError: if the cluster has gone.
            RuntimeError: after `close`.
        """
        message, keeps = request
        if (refusal := refusal_of(keeps, name)) is not None:
            return self.refuse(refusal)
        number = self.new_number()
        future: Future[Any] = Future(self._as_engine, name, number, b"", keeps)
        future._item = self.prepare(future, number, terms, message, None)
        with Deferred(), self.lock:
            self.check_open()
            self.tasks.add(future)
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
                withdrawn = self.tasks.withdraw_all() if cancel else []
                self.finish_if_idle()
            for future in withdrawn:
                future.settle_withdrawn()

    def terminate(self, refusal: str, grace: float = GRACE, *, is_quiet: bool = False) -> None:  # noqa: ARG002 - as a pool's engine has it
        """Take no more tasks, cancel those that wait, and stop those that run. Never waits."""
        self.close(refusal=refusal, cancel=True)
        with Deferred(), self.lock:
            for task in self.tasks.sent:
                self._stop(task, Stop(Reason.TERMINATE, grace))

    def join(self) -> None:
        """Wait until a closed executor is gone: tasks, threads, connections."""
        if self._ending.is_here:
            return  # a finalizer that runs there
        self.done.wait()
        self._ending.join()
        self.link.join()
        self._ending.join_callbacks()

    @property
    def may_use_threads(self) -> bool:
        """Never: a thread of this interpreter is none of the cluster's."""
        return False

    @property
    def falls_back(self) -> bool:
        """Not by what is known here: each worker knows what its interpreters refuse."""
        return False

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
        self.tasks.add_lot(lot)
        self.tasks.feed()

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

        Of tasks that are in the cluster, every worker is asked, which takes some milliseconds; of
        pieces of a map without waiting for that: nobody waits for their outcome.
        """
        withdrawn: list[Task] = []
        asked: list[Future[Any]] = []
        unwanted: list[int] = []
        with self.lock:
            for task in tasks:
                if self.tasks.take_back(task):
                    withdrawn.append(task)
                elif isinstance(task, Piece):
                    unwanted.append(task._task)
                elif task._stage is Stage.SENT and task._stop is None:
                    assert isinstance(task, Future)  # noqa: S101 - there is no third kind
                    asked.append(task)
        if unwanted:
            self.link.let_go(unwanted)
        if asked and not self.is_locked_here:
            numbers = self.link.withdraw([it._task for it in asked])
            with self.lock:
                for future in asked:
                    if future._task in numbers and self.tasks.take_out(future._task) is not None:
                        self.tasks.leave(future)
                        withdrawn.append(future)
        self._ending.do(self._ending.look_whether_idle)
        return withdrawn

    def settle_later(self, task: Task) -> None:
        """Leave it to the collector to settle a task that was withdrawn under the lock."""
        self._ending.do(task.settle_withdrawn)

    def interrupt(self, future: Future[Any], grace: float) -> bool:
        """Stop a task, or keep it from beginning; return whether its future ends with that."""
        with Deferred(), self.lock:
            is_withdrawn = self.tasks.take_back(future)
            if is_withdrawn:
                future._stop = Stop(Reason.INTERRUPT, has_begun=bool(future._failures))
            elif future._stage is not Stage.SENT:
                return False
            else:
                self._stop(future, Stop(Reason.INTERRUPT, grace))
            if is_withdrawn:
                self._ending.do(future.settle_withdrawn)
                self._ending.do(self._ending.look_whether_idle)
        return True

    def call_back(self, future: Future[Any], callback: Callback) -> None:
        """Run a callback of a future that has ended, where it may block."""
        self._ending.call_back(future, callback)

    # --- told by the link, in its thread ---------------------------------------------------------

    def hear(self, number: int, kind: int, payload: Any) -> None:
        """Take an outcome."""
        self._ending.do(self._ending.answer, number, kind, payload)

    def hear_error(self, number: int, make: Callable[[str], BaseException]) -> None:
        """Take the end of a task that has no outcome.

        Args:
            number: the task's.
            make: makes the error of the function's name.
        """
        self._ending.do(self._ending.answer_with_error, number, make)

    def hear_dropped(self, number: int) -> None:
        """Forget a piece that nobody waits for, and no worker has begun."""
        with self.lock:
            if self.tasks.take_out(number) is not None:
                self.tasks.feed()
                self.finish_if_idle()

    def hear_of_interpreters(self, number: int) -> None:
        """Take note of how many interpreters there are."""
        with self.lock:
            self.staff.there = number
            self.tasks.feed()

    def hear_lost_worker(self, address: str, numbers: list[int], *, is_told: bool) -> None:
        """Take note that a worker has gone: what it had is done again, but for what is to stop.

        Args:
            address: the worker's.
            numbers: of the tasks that it had.
            is_told: whether the user is told: if it did not go in an orderly way.
        """
        with self.lock:
            lost = [task for it in numbers if (task := self.tasks.get(it)) is not None]
            again = [task for task in lost if task._stop is None and task.is_wanted]
            if unwanted := [it._task for it in lost if it._stop is None and not it.is_wanted]:
                self.link.let_go(unwanted)
            for task in lost:
                if task._stop is not None:  # what ran has ended, and is not to run again
                    self.link.drop(task._task)
                    self.hear(task._task, channels.STRUCK, task._stop)
        if again and is_told:
            names = sorted({task._name for task in again})
            tasks = "1 task" if len(again) == 1 else f"{len(again)} tasks"
            text = (
                f"The Dask worker {address} is gone. {tasks} that it had ({', '.join(names)}) "
                "will be done again, from the start, by the others"
            )
            self._ending.do(warn, text, RuntimeWarning)

    def collapse(self, make: Callable[[], BaseException]) -> None:
        """Break, and end every task, for the cluster cannot be used any more."""
        self._ending.do(self._ending.end_all, make)

    # --- under the lock --------------------------------------------------------------------------

    def _stop(self, task: Task, stop: Stop) -> None:
        if task._stop is None:
            task._stop = stop
        self.link.strike(task._task, stop.grace)

    def finish_if_idle(self) -> None:
        """Finish, if no task is left and none will come."""
        if self.refusal is not None and self.tasks.is_empty:
            self.finish()

    def finish(self) -> None:
        """Let the threads go: nothing is left to do."""
        with self.lock:
            if self._is_finishing:
                return
            self._is_finishing = True
        self.link.close()
        self._ending.close()
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
        self.tasks.disown()
        self.done.set()

    @property
    def _as_engine(self) -> Engine:
        """This one: it offers all that futures, lots and `_lifetime` ask of a pool's engine."""
        return cast("Engine", self)
