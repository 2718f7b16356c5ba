"""What all workers are told of tasks: to stop one, or not to begin some.

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
        self._link._start(self._stop(number, grace))
        self._link._loop.call_later(grace + PATIENCE, self._abandon, number, grace)

    async def _stop(self, number: int, grace: float) -> None:
        """Stop a task where it runs; if that is nowhere, have it never run."""
        link = self._link
        job = link._job(number)
        answers = await self._on_workers(_site.strike, job, grace)
        future = link._futures.get(number)
        if answers is None or any(it is not False for it in answers.values()) or future is None:
            return
        link._forget(number)
        await link._cancel(future)
        # By then, a worker that has come since may have begun it; from now on none can.
        await self._on_workers(_site.strike, job, grace)
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
