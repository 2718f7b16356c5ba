"""What all workers are told of tasks: to stop them, or not to begin them.

Of many at a time, for each order is a message to every worker, and the end of an executor one about
all that it has in the cluster.

Called in the loop's thread, like all of `_link` that is not asked by the engine.
"""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from interpool._inside import channels
from interpool._stops import Reason, Stop
from interpool.cluster import _site

if TYPE_CHECKING:
    import distributed

    from interpool.cluster._link import Link

# Seconds that a cluster's workers have to say whether a task has begun, of which somebody wants to
# know that it has not, and to end one that is to stop, beyond its grace. Arbitrary: one that does
# not answer for so long is in trouble.
PATIENCE: Final = 10.0


class Orders:
    """What gives them, for the tasks of one link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._attempts = itertools.count()  # to withdraw tasks
        self._to_stop: dict[float, list[int]] = {}  # of those that are about to be told, by grace

    async def withdraw(self, numbers: list[int]) -> list[int]:
        """Take back those of some tasks that no worker has begun; return which those are."""
        link = self._link
        asked = {it: future for it in numbers if (future := link._pending(it)) is not None}
        if not asked:
            return []
        jobs, attempt = [link._job(it) for it in asked], next(self._attempts)
        answers = await self._on_workers(_site.withdraw, jobs, attempt)
        withdrawn, begun = [], []
        for place, (number, future) in enumerate(asked.items()):
            if (
                answers is None  # one of them may have begun it
                or not all(isinstance(it, list) and it[place] for it in answers.values())
                or link._pending(number) is not future
            ):
                begun.append(jobs[place])
                continue
            # Workers that are given it nevertheless send it back until this has reached the
            # scheduler.
            link._forget(number)
            link._start(link._cancel(future))
            withdrawn.append(number)
        if begun:
            link._start(self._on_workers(_site.admit, begun, attempt))
        return withdrawn

    async def let_go(self, numbers: list[int]) -> None:
        """Do so for pieces that nobody waits for; one that has begun ends in its time."""
        for number in await self.withdraw(numbers):
            self._link._engine.hear_dropped(number)

    def strike(self, number: int, grace: float) -> None:
        """Stop a task, wherever it is, and see to it that it ends."""
        if not self._to_stop:
            self._link._start(self._stop_all())
        self._to_stop.setdefault(grace, []).append(number)
        self._link._loop.call_later(grace + PATIENCE, self._abandon, number, grace)

    async def _stop_all(self) -> None:
        due, self._to_stop = self._to_stop, {}
        for grace, numbers in due.items():
            self._link._start(self._stop(numbers, grace))

    async def _stop(self, numbers: list[int], grace: float) -> None:
        """Stop tasks where they run; those that run nowhere never will."""
        link = self._link
        jobs = [link._job(it) for it in numbers]
        if (answers := await self._on_workers(_site.strike, jobs, grace)) is None:
            return
        idle: dict[int, distributed.Future[bytes]] = {}
        for place, number in enumerate(numbers):
            future = link._futures.get(number)
            said = [it[place] if isinstance(it, list) else it for it in answers.values()]
            if future is not None and all(it is False for it in said):
                link._forget(number)
                idle[number] = future
        if not idle:
            return
        await asyncio.gather(*map(link._cancel, idle.values()))
        # By then, a worker that has come since may have begun one; from now on none can.
        await self._on_workers(_site.strike, [link._job(it) for it in idle], grace)
        for number in idle:
            link._engine.hear(number, channels.STRUCK, Stop(Reason.INTERRUPT, has_begun=False))

    def _abandon(self, number: int, grace: float) -> None:
        """End a task that was to stop, unless it has ended by now."""
        link = self._link
        if (future := link._futures.get(number)) is not None:
            link._forget(number)
            link._start(link._cancel(future))
        where = "(in a Dask worker that does not answer)"
        link._engine.hear(number, channels.STRUCK, Stop(Reason.INTERRUPT, grace, abandoned=where))

    async def _on_workers(self, act: Callable[..., Any], *args: Any) -> dict[str, Any] | None:
        """Call something in every worker; return what each said, or None if one says nothing."""
        client = self._link._client
        if client is None or self._link._is_gone:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                answers: dict[str, Any] = await client.run(act, *args, on_error="return")
        except OSError, CancelledError:  # one hangs, or the scheduler is gone, which ends all
            return None
        return answers
