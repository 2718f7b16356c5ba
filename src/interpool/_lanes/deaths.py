"""Processes that have ended with a task, or could not be started for it."""

import signal
from dataclasses import dataclass

from interpool._errors import ProcessDied


@dataclass(frozen=True, slots=True)
class Death:
    """A process that has ended with a task."""

    pid: int
    status: int
    text: str = ""  # of what could not be started

    def as_exception(self, name: str) -> ProcessDied:
        """A new exception to end the task with; `name` is its function's."""
        number = -self.status if self.status < 0 else 0
        if self.text:
            message = f"No worker process could be started for {name}: {self.text}"
        elif number:
            message = (
                f"The worker process {self.pid} that ran {name} was killed by "
                f"{_signal_name(number)}"
            )
            if number == signal.SIGKILL:
                message += ", perhaps because the system was out of memory"
        else:
            message = f"The worker process {self.pid} that ran {name} exited with {self.status}"
        return ProcessDied(message, pid=self.pid, exitcode=self.status, signal=number or None)


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
