"""Tasks that an extension keeps from running in an interpreter: they run in a process instead.

So do all tasks of a pool whose workers cannot be made ready because its initializer, or a module of
`preload`, needs such an extension: the worker processes prepare themselves in the same way.
"""

from typing import TYPE_CHECKING

from interpool import _routing
from interpool._failures import Failure
from interpool._transport import function_of

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._inside.outcomes import Description


class Fallback:
    """What sends the refused tasks of one engine to processes. The engine's lock covers it.

    Attributes:
        is_on: whether they are sent there, and do not end with the refusal.
    """

    def __init__(self, engine: Engine, *, is_on: bool) -> None:
        self.is_on = is_on
        self._engine = engine
        self._said: set[tuple[str, str]] = set()  # functions and extensions

    def foresee(self, preload: tuple[str, ...]) -> None:
        """Send all tasks to processes if a module to be preloaded is known to be refused.

        Not so of what an initializer imports: that may do without.
        """
        if not preload or not self.is_on or (extension := _routing.extension_of(preload)) is None:
            return
        engine = self._engine
        engine.tasks.send_elsewhere(engine.lane("process"), Failure.of_known(extension))

    def takes_all(self, worker: int, failure: Failure) -> bool:
        """Whether all tasks may run in processes, for a worker could not be made ready."""
        is_interpreter = worker >= 0  # hosts of processes count downwards
        is_wanted = self.is_on and self._engine.broken is None
        return failure.refused is not None and is_interpreter and is_wanted

    def divert_all(self, failure: Failure) -> str | None:
        """Send all tasks to processes, and learn from what has refused what prepares workers.

        Args:
            failure: what says so.

        Returns:
            What to warn of, if that has not been said.
        """
        engine = self._engine
        if engine.tasks.instead is not None:
            return None  # of a worker that was started beside that one
        assert failure.refused is not None  # noqa: S101 - that is what it says
        _routing.learn(failure.refused, None)
        engine.staff.wanted = 0
        engine.tasks.send_elsewhere(engine.lane("process"), failure)
        return (
            f"All tasks of {engine.name} run in worker processes, for "
            f"{failure.need(engine.initializer_name)}. "
            'fallback="error" makes this an error, lane="process" says that it is meant'
        )

    def takes(self, number: int) -> bool:
        """Whether a task that was refused may run in a process."""
        engine = self._engine
        task = engine.tasks.in_flight.get(number)
        if task is None or not self.is_on or engine.broken is not None:
            return False  # of a broken pool, nobody would be hired for it
        return task._stop is None and task._terms.lane == "auto"

    def divert(self, number: int, failure: Description) -> str | None:
        """Send a task to a process, and learn from what has refused it.

        Args:
            number: the task's.
            failure: what says so.

        Returns:
            What to warn of, if that has not been said.
        """
        engine = self._engine
        task = engine.tasks.in_flight[number]
        stage, *_, refused = failure
        assert refused is not None  # noqa: S101 - that is what it says
        # Of an argument of such a class, the function knows nothing.
        is_its_own = stage != "argument" and task._item is not None
        key = function_of(task._item or b"") or task._name
        _routing.learn(refused, key if is_its_own else None)
        engine.tasks.divert(number, engine.lane("process"))
        engine.tasks.tally.diverted += task._count
        extension = refused[0]
        if (task._name, extension) in self._said:
            return None
        self._said.add((task._name, extension))
        return (
            f"{task._name} runs in a worker process, for the extension module {extension} does not "
            "support loading in subinterpreters. What it did before that is done again. "
            'fallback="error" makes this an error, lane="process" says that it is meant'
        )
