"""Coroutines, run as `asyncio.run` does it, and to their end wherever a strike lands.

It may land between two lines of the event loop. The task whose step was just taken from those that
are due, or just to be added, is never stepped again then: it waits for nothing and nobody calls it.
`asyncio.Runner`, which cancels what is left and waits until that has ended, would wait for ever.
"""

import asyncio
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

    from interpool._inside import gate
else:
    import _interpool_gate as gate

sys.modules["_interpool_coroutines"] = sys.modules["interpool._inside.coroutines"]
__name__ = "_interpool_coroutines"


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in an event loop of its own; return what it returns."""
    with asyncio.Runner() as runner:
        try:
            return runner.run(coroutine)
        except gate.Interrupted:
            _take_up_lost(runner.get_loop())
            raise


def _take_up_lost(loop: asyncio.AbstractEventLoop) -> None:
    """End the tasks that are never stepped again, and have others finish their coroutines.

    Those are cancelled with all that is left, so that `finally` blocks run, and may wait.
    """
    for task in list(_lost(loop)):
        coroutine: Any = task.get_coro()
        # As the future that it is, for whoever waits for it: as a task it would wait for a step.
        asyncio.Future.cancel(task)
        loop.create_task(coroutine, name=task.get_name(), context=task.get_context())


def _lost(loop: Any) -> Iterator[asyncio.Task[Any]]:
    """The tasks that wait for nothing, and are not among what is due."""
    ready = getattr(loop, "_ready", None)
    if ready is None:  # a loop that is not asyncio's own
        return
    # A copy: who has struck wakes the loop meanwhile, by adding something (`gate.strike`).
    due = {id(getattr(handle._callback, "__self__", None)) for handle in ready.copy()}
    for task in asyncio.all_tasks(loop):
        waits_for = getattr(task, "_fut_waiter", None)
        if id(task) not in due and (waits_for is None or waits_for.done()):
            yield task
