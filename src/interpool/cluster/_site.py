"""A Dask worker's side: one interpreter pool in its process, and the tasks that it is given.

Every function here that Dask calls runs on the worker's event loop and does not block it. A task is
a coroutine: it takes one of the worker's threads' places (`nthreads`), so as many run at a time as
the pool has interpreters, and none of those threads.

It guarantees:

* A process has one pool, however many Dask workers are in it; the last one takes it along.
* A task that is to be stopped is stopped, whether it has begun here or comes later (`strike`); one
  that is withdrawn here does not begin (`withdraw`).
* A pool that ends with its worker ends no task: Dask runs them elsewhere.
"""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from distributed import Reschedule, Worker, WorkerPlugin, get_worker
from distributed.worker import WORKER_ANY_RUNNING

from interpool import InterpreterPoolExecutor, _routing
from interpool._cpu import available_cores
from interpool._functions import key_of
from interpool._future import Relayed
from interpool._inside.channels import STRUCK
from interpool._stops import Reason, Stop
from interpool._terms import Terms
from interpool.cluster import _wire
from interpool.cluster._errors import ClusterError

if TYPE_CHECKING:
    from interpool._codec import Request

# Jobs that are remembered to have begun, or to be struck. Older ones have ended long ago.
_REMEMBERED: Final = 10_000


class _Recent[V]:
    """What was said of jobs lately."""

    def __init__(self) -> None:
        self._said: OrderedDict[str, V] = OrderedDict()

    def add(self, job: str, value: V) -> None:
        self._said[job] = value
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)

    def get(self, job: str) -> V | None:
        return self._said.get(job)

    def discard(self, job: str) -> None:
        self._said.pop(job, None)


class Site:
    """The pool of this process, and what is known of the jobs that it was given."""

    def __init__(self, interpreters: int) -> None:
        self.workers = 0  # Dask's, in this process
        self.pool = InterpreterPoolExecutor(interpreters, "interpool-cluster")
        self.running: dict[str, Relayed] = {}
        self.begun = _Recent[bool]()
        self.struck = _Recent[float]()
        self.withdrawn = _Recent[int]()  # by which attempt
        self.admitted = _Recent[int]()  # behind which attempt: they may come in any order
        self.is_closing = False

    async def run(self, job: str, name: str, terms: Terms, request: Request) -> bytes:
        """Do a job; return its outcome, as `_wire` packs it."""
        if self.struck.get(job) is not None:
            return _wire.pack_outcome(STRUCK, Stop(Reason.INTERRUPT, has_begun=False), name)
        if self.withdrawn.get(job) is not None:
            raise Reschedule  # until whoever withdraws it has told the scheduler, or admits it
        self.begun.add(job, value=True)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[int, Any]] = loop.create_future()

        def hear(kind: int, payload: Any) -> None:
            loop.call_soon_threadsafe(_end, ended, kind, payload)

        key = request[0][0][0]
        lane = terms.lane
        if lane == "auto" and _routing.is_needy(key, name):
            lane = "process"
        future = self.pool._engine.submit(
            request, name, terms, lane="process" if lane == "process" else None, kind=Relayed
        )
        assert isinstance(future, Relayed)  # noqa: S101 - that is its kind
        self.running[job] = future
        try:
            future.tell(hear)
            kind, payload = await ended
        except asyncio.CancelledError:  # of the worker, which is closing
            future.interrupt()
            raise
        finally:
            self.running.pop(job, None)
        if self.is_closing and kind == STRUCK:
            raise asyncio.CancelledError
        return _wire.pack_outcome(kind, payload, name)

    async def close(self) -> None:
        """Stop what runs, and let the pool go."""
        self.is_closing = True
        self.pool.terminate_workers()
        await asyncio.to_thread(self.pool.shutdown)


def _end(ended: asyncio.Future[tuple[int, Any]], kind: int, payload: Any) -> None:
    if not ended.done():
        ended.set_result((kind, payload))


class _Here:
    """What there is in this process."""

    site: Site | None = None


class PoolPlugin(WorkerPlugin):
    """Installs the pool in a Dask worker's process."""

    # Registered again by every executor: what is there is kept.
    idempotent = True
    name = f"interpool ({_wire.TAG})"

    def setup(self, worker: Worker) -> None:
        """Make the pool ready, unless the process has one."""
        if _Here.site is None:
            _Here.site = Site(interpreters_of(worker))
            _Here.site.pool.prewarm()
        _Here.site.workers += 1

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - it is of the process
        """Let the pool go with the last worker of the process."""
        site = _Here.site
        if site is None:
            return
        site.workers -= 1
        if not site.workers:
            _Here.site = None
            await site.close()


def interpreters_of(worker: Worker) -> int:
    """How many interpreters suit a worker: a core each, of those that it may use."""
    return max(1, min(available_cores(), worker.state.nthreads))


def _site() -> Site:
    """Return the process's.

    Raises:
        Reschedule: if this worker is closing: another one is to do it.
        ClusterError: if there is none for another reason.
    """
    if _Here.site is None:
        worker = get_worker()
        if worker.status not in WORKER_ANY_RUNNING:
            raise Reschedule
        raise ClusterError(f"The Dask worker {worker.address} has lost interpool's plugin")
    return _Here.site


async def run(tag: str, job: str, name: str, terms: tuple[Any, ...], *item: Any) -> bytes:
    """Do a job: the task that Dask is given.

    Args:
        tag: `_wire.TAG` of whoever gives it.
        job: what it is called everywhere.
        name: the function's.
        terms: its time limit, and its lane.
        *item: the pieces of its item.

    Raises:
        ClusterError: if this process cannot read it.
    """
    if tag != _wire.TAG:
        raise ClusterError(
            _wire.mismatch(f"The Dask worker {get_worker().address}", _wire.TAG, tag)
        )
    parts, large = _wire.unpack_message(item[0], item[1:])
    key, form, *rest = parts
    # A key is of the process that gives it: this one has its own.
    key = key_of(form) if key else 0
    timeout, lane = terms
    request = ((key, form, *rest), large), ()
    return await _site().run(job, name, Terms.of(timeout, None, lane), request)


def strike(jobs: list[str], grace: float) -> list[bool]:
    """Stop jobs that run here, or will; return of each whether it has begun here."""
    if (site := _Here.site) is None:
        return [False] * len(jobs)
    for job in jobs:
        site.struck.add(job, grace)
        if (future := site.running.get(job)) is not None:
            future.interrupt(grace=grace)
    return [site.begun.get(job) is not None for job in jobs]


def withdraw(jobs: list[str], attempt: int) -> list[bool]:
    """Have jobs not begin here; return of each whether it has not."""
    if (site := _Here.site) is None:
        return [True] * len(jobs)
    for job in jobs:
        if site.begun.get(job):
            continue
        if (admitted := site.admitted.get(job)) is None or admitted < attempt:
            site.withdrawn.add(job, attempt)
    return [not site.begun.get(job) for job in jobs]


def admit(jobs: list[str], attempt: int) -> None:
    """Take back `withdraw`: a job has begun elsewhere, and may have to be done again here."""
    if (site := _Here.site) is None:
        return
    for job in jobs:
        site.admitted.add(job, attempt)
        if (withdrawn := site.withdrawn.get(job)) is not None and withdrawn <= attempt:
            site.withdrawn.discard(job)
