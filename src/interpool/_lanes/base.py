"""What the lanes have in common that are not the interpreters: tasks that wait, hosts that do them.

A lane's hosts are threads, each of which does one task at a time, in its own way. It guarantees:

* A task is in one place: among those that wait, or with one host; `Task._stage` and the engine's
  dispatch know it as sent, so that whatever holds of tasks in interpreters (retries, limits,
  interrupts, shutdown) holds here.
* Nothing starts before there is a task, and nobody is left when the pool is done.
* No host polls. Each sleeps in a queue of tokens: one for each task that came, of which a host
  makes what it can; a task may have been withdrawn meanwhile.

The engine's lock covers what the hosts share.
"""

import functools
import queue
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final

from interpool._task import Stage, Task

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._lanes.processes import Death
    from interpool._lots import Lot
    from interpool._task import Raised


class Host(ABC):
    """A thread that does tasks of a lane.

    Attributes:
        task: the one that it does.
        is_dismissed: whether it leaves.
    """

    task: Task | None = None
    is_dismissed = False

    @property
    @abstractmethod
    def is_started(self) -> bool:
        """Whether the thread has been started."""

    @property
    @abstractmethod
    def is_alive(self) -> bool:
        """Whether what does the tasks is there."""

    @abstractmethod
    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: if the system gives no thread.
        """

    @abstractmethod
    def disown(self) -> None:
        """Close what is open: in a forked child it is somebody else's."""

    @abstractmethod
    def give_up(self, error: BaseException) -> None:
        """The thread could not be started: end what waits, if nobody else will serve it."""

    @property
    @abstractmethod
    def place(self) -> tuple[int, int]:
        """Its number as a worker, and the identifier of its process, or 0."""

    @property
    @abstractmethod
    def began(self) -> int:
        """When the task has begun (`time.monotonic_ns`), if that is traced; else 0."""

    @abstractmethod
    def heed_trace(self, number: int) -> None:
        """Take down what is done for a trace; for 0, nothing more. The engine's lock is held."""

    @abstractmethod
    def strike(self) -> None:
        """Interrupt the task. The engine's lock is held."""

    @abstractmethod
    def kill(self) -> None:
        """Put up with a task that does not stop. The engine's lock is held."""


class Lane(ABC):
    """A lane of one engine. All methods but `take` are called under the engine's lock."""

    name: str

    def __init__(self, engine: Engine, most: int) -> None:
        """Args: the engine, and how many hosts there may be."""
        self._engine = engine
        self._most = most
        self._waiting: deque[Task] = deque()
        self._lots: list[Lot] = []
        self._tokens: Final[queue.SimpleQueue[object]] = queue.SimpleQueue()  # None: leave
        self._dismissals = 0  # tokens of those that are to leave, not taken
        self._hosts: set[Host] = set()
        self._numbers = 0

    @abstractmethod
    def make_host(self, number: int) -> Host:
        """Make a host of that number."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, and nothing waits."""
        return not (self._hosts or self._waiting or self._lots)

    @property
    def hosts(self) -> list[Host]:
        """All that there are."""
        return [*self._hosts]

    @property
    def running(self) -> int:
        """How many tasks the hosts have."""
        return sum(1 for host in self._hosts if host.task is not None)

    @property
    def waiting(self) -> int:
        """How many tasks no host has."""
        return len(self._waiting) + sum(lot.unsent for lot in self._lots)

    @property
    def alive(self) -> int:
        """How many hosts can do tasks at once."""
        return sum(1 for host in self._hosts if host.is_alive)

    def add(self, task: Task) -> None:
        """Take a task, whose item it has; the caller starts the hosts that are wanted (`hire`)."""
        task._lane = self
        task._stage = Stage.SENT
        self._engine.tasks.note_elsewhere(task)
        if self._engine.trace is not None:
            self._engine.trace.note_lane(task, self)
        self._waiting.append(task)
        self._tokens.put(task)

    def add_lot(self, lot: Lot) -> None:
        """Take a map whose items are to run here."""
        lot.is_in_backlog = True
        if lot not in self._lots:
            self._lots.append(lot)
        self.feed()

    def feed(self) -> None:
        """Make pieces of the maps, as many as keep the hosts busy."""
        while self._lots and len(self._waiting) <= self._most:
            lot = self._lots[0]
            piece = self._engine.tasks.note_piece(lot.next_piece(len(self._waiting)))
            if piece is not None:
                self.add(piece)
            elif lot.unsent:
                return  # enough of it waits
            if not lot.unsent:
                lot.is_in_backlog = False
                self._lots.remove(lot)

    def is_taken(self, task: Task) -> bool:
        """Whether a host has a task."""
        return task not in self._waiting

    def withdraw(self, task: Task) -> bool:
        """Take back a task that no host has; return whether that was so."""
        try:
            self._waiting.remove(task)
        except ValueError:
            return False
        self._engine.tasks.elsewhere.pop(task._task, None)
        return True

    def withdraw_all(self) -> tuple[list[Task], list[Lot]]:
        """Take back all that no host has."""
        waiting, lots = [*self._waiting], self._lots[:]
        self._waiting.clear()
        self._lots.clear()
        for lot in lots:
            lot.is_in_backlog = False
        for task in waiting:
            self._engine.tasks.elsewhere.pop(task._task, None)
        return waiting, lots

    @property
    def is_short(self) -> bool:
        """Whether there are to be more hosts for what waits."""
        idle = len(self._hosts) - self.running
        return len(self._hosts) < self._most and idle < len(self._waiting)

    def hire(self) -> list[Host]:
        """Add the hosts that are wanted for what waits: the caller starts them outside the lock."""
        hired = []
        while self.is_short:
            self._numbers += 1
            host = self.make_host(self._numbers)
            self._hosts.add(host)
            hired.append(host)
        return hired

    def dismiss(self) -> None:
        """Let the hosts go when they have done what waits. No task will come after that."""
        # Not one for each: whoever was hired meanwhile may have taken another one's.
        staying = sum(1 for host in self._hosts if not host.is_dismissed)
        while self._dismissals < staying:
            self._dismissals += 1
            self._tokens.put(None)

    def strike(self, task: int) -> None:
        """Interrupt a task that a host has."""
        if (host := self._host_of(task)) is not None:
            host.strike()

    def kill(self, task: int) -> None:
        """Put up with a task that does not stop."""
        if (host := self._host_of(task)) is not None:
            host.kill()

    def kill_all(self) -> None:
        """Put up with all that do not stop."""
        for host in self._hosts:
            host.kill()  # without a task, too: its process may wait for a thread that one has left

    def note_gone(self, host: Host) -> None:
        """A host's thread is about to end."""
        self._hosts.discard(host)

    def waiting_for_nobody(self, end: Death | Raised) -> list[int]:
        """Give away the tasks that wait if there is no host to serve them, and end the maps."""
        if self._hosts:
            return []
        lost = [task._task for task in self._waiting]
        lots = self._lots[:]
        self._waiting.clear()
        self._lots.clear()
        for lot in lots:
            lot.is_in_backlog = False
            lot.end(functools.partial(end.as_exception, lot.call.name))
        return lost

    def disown(self) -> None:
        """Forget all of it: in a forked child it is somebody else's."""
        for host in self._hosts:
            host.disown()
        self._waiting.clear()
        self._lots.clear()
        self._hosts.clear()

    def give_back(self, host: Host, task: Task) -> bool:
        """Have others do a task that a host has no means for; return whether there are some.

        There will be no more hosts than those from now on. The host is to leave.
        """
        with self._engine.lock:
            self._hosts.discard(host)
            if not self._hosts or task._stop is not None:
                self._hosts.add(host)
                return False
            self._most = len(self._hosts)
            host.task = None
            self._waiting.appendleft(task)
            self._tokens.put(task)
            return True

    def _host_of(self, task: int) -> Host | None:
        for host in self._hosts:
            if host.task is not None and host.task._task == task:
                return host
        return None

    # --- asked by the hosts ----------------------------------------------------------------------

    def take(self, host: Host) -> Task | None:
        """Give a host the next task, waiting for one; None if it is to leave."""
        while True:
            token = self._tokens.get()
            with self._engine.lock:
                if token is None:
                    self._dismissals -= 1
                    host.is_dismissed = True
                    return None
                if self._waiting:
                    host.task = self._waiting.popleft()
                    self.feed()
                    return host.task
            # It was withdrawn: its token was of no use.
