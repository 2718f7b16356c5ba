"""Where tasks run that do not run in the interpreters: worker processes, and threads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._lanes.base import Lane
    from interpool._worker import Settings


def make(name: str, engine: Engine, settings: Settings) -> Lane:
    """Make a lane of an engine, importing what it takes: most programs have none."""
    if name == "process":
        from interpool._lanes.processes import Processes

        return Processes(engine, settings)
    from interpool._lanes.threads import Threads

    return Threads(engine, settings)
