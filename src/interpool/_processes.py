"""The process lane: worker processes, for what cannot load in an interpreter.

What it guarantees:

* A task is in one place: among those that wait, or with one process; `Task._stage` and the engine's
  dispatch know it as sent, so that whatever holds of tasks in interpreters (retries, limits,
  interrupts, shutdown) holds here.
* A process does one task at a time. One that ends takes its own task with it and no other; the
  next task gets another process. A task that it had not begun goes to that one.
* Nothing starts before there is a task, and nobody is left when the pool is done: a process ends
  when its socket is closed, or is killed.
* What is struck and does not stop in time is killed: here nothing has to be given up.

Each process has a host, a thread that starts it, hands it tasks and hears its frames, which it
reports to the engine. The engine's lock covers what all hosts share. They sleep in reads and in
their queue of tokens: one for each task that came, of which a host makes what it can.

It is not `concurrent.futures.ProcessPoolExecutor`: that runs a program's main module anew in each
process, and is broken as a whole by one that dies, of which it does not tell the status.
"""

import logging
import marshal
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from interpool import _inside, _threads
from interpool._errors import ProcessDied
from interpool._failures import Failure
from interpool._inside import channels, process
from interpool._reports import report
from interpool._task import Stage, Task
from interpool._worker import Settings, modules_inside

if TYPE_CHECKING:
    from interpool._engine import Engine
    from interpool._lots import Lot

# Runs in a new process; what follows is in its arguments.
_BOOT: Final = """\
import marshal, os, sys
sock, results, size = map(int, sys.argv[1:])
data = b""
while len(data) < size:
    data += os.read(sock, size - len(data)) or sys.exit()
for name, file, code in marshal.loads(data):
    module = type(sys)(name)
    module.__file__ = file
    del module.__spec__, module.__loader__
    sys.modules[name] = module
    exec(marshal.loads(code), module.__dict__)
run, arguments = module.run, (sock, results)
del marshal, os, sys, sock, results, size, data, name, file, code, module
run(*arguments)
"""
# Seconds that a process has to end by itself, when its socket is closed, before it is killed.
_PATIENCE: Final = 5.0
# Times that a task is handed to a process that ends before it begins it.
_TRIES: Final = 3
_READ: Final = 1 << 16

IS_AVAILABLE: Final = hasattr(socket, "send_fds")


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


class Processes:
    """The process lane of one engine."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._waiting: deque[Task] = deque()
        self._lots: list[Lot] = []
        self._tokens: queue.SimpleQueue[object] = queue.SimpleQueue()  # None: leave
        self._hosts: set[Host] = set()
        self._numbers = 0
        self.started = 0  # processes
        self.died = 0

    # --- under the engine's lock -----------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, and nothing waits."""
        return not (self._hosts or self._waiting or self._lots)

    @property
    def has_work(self) -> bool:
        """Whether tasks wait or run."""
        return bool(self._waiting or self._lots or self.running)

    @property
    def running(self) -> int:
        """How many tasks processes have."""
        return sum(1 for host in self._hosts if host.task is not None)

    @property
    def waiting(self) -> int:
        """How many tasks no process has."""
        return len(self._waiting) + sum(lot.unsent for lot in self._lots)

    @property
    def alive(self) -> int:
        """How many processes there are."""
        return sum(1 for host in self._hosts if host.pid is not None)

    def add(self, task: Task) -> None:
        """Take a task, whose item it has; the caller starts the hosts that are wanted (`hire`)."""
        task._lane = self
        task._stage = Stage.SENT
        self._engine.tasks.elsewhere[task._task] = task
        self._waiting.append(task)
        self._tokens.put(task)

    def add_lot(self, lot: Lot) -> None:
        """Take a map whose items are to run here."""
        lot.is_in_backlog = True
        if lot not in self._lots:
            self._lots.append(lot)
        self.feed()

    def feed(self) -> None:
        """Make pieces of the maps, as many as keep the processes busy."""
        most = self._engine.staff.most
        while self._lots and len(self._waiting) <= most:
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
        """Whether a process has a task."""
        return task not in self._waiting

    def withdraw(self, task: Task) -> bool:
        """Take back a task that no process has; return whether that was so."""
        try:
            self._waiting.remove(task)
        except ValueError:
            return False
        self._engine.tasks.elsewhere.pop(task._task, None)
        return True

    def withdraw_all(self) -> tuple[list[Task], list[Lot]]:
        """Take back all that no process has."""
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
        return len(self._hosts) < self._engine.staff.most and idle < len(self._waiting)

    def hire(self) -> list[Host]:
        """Add the hosts that are wanted for what waits: the caller starts them outside the lock."""
        hired = []
        while self.is_short:
            self._numbers += 1
            host = Host(self, self._engine, self._settings, self._numbers)
            self._hosts.add(host)
            hired.append(host)
        return hired

    def dismiss(self) -> None:
        """Let the hosts go when they have done what waits. No task will come after that."""
        for host in self._hosts:
            if not host.is_dismissed:
                host.is_dismissed = True
                self._tokens.put(None)

    def strike(self, task: int) -> None:
        """Interrupt a task that a process has."""
        if (host := self._host_of(task)) is not None:
            host.strike()

    def kill(self, task: int) -> None:
        """End the process of a task that does not stop."""
        if (host := self._host_of(task)) is not None:
            host.kill()

    def kill_all(self) -> None:
        """End those that are not idle."""
        for host in self._hosts:
            host.kill()

    def note_gone(self, host: Host) -> None:
        """A host's thread is about to end."""
        self._hosts.discard(host)

    def waiting_for_nobody(self) -> list[int]:
        """Give away the tasks that wait if there is no host to serve them."""
        if self._hosts:
            return []
        lost = [task._task for task in self._waiting]
        self._waiting.clear()
        return lost

    def disown(self) -> None:
        """Forget all of them: in a forked child they are somebody else's."""
        self._waiting.clear()
        self._lots.clear()
        self._hosts.clear()

    def _host_of(self, task: int) -> Host | None:
        for host in self._hosts:
            if host.task is not None and host.task._task == task:
                return host
        return None

    # --- asked by the hosts ----------------------------------------------------------------------

    def take(self, host: Host) -> Task | None:
        """Give a host the next task, waiting for one; None if it is to leave."""
        while self._tokens.get() is not None:
            with self._engine.lock:
                if self._waiting:
                    host.task = self._waiting.popleft()
                    host.tries = 0
                    self.feed()
                    return host.task
            # It was withdrawn: its token was of no use.
        return None


class Host:
    """A process from outside: the thread that owns it."""

    def __init__(self, lane: Processes, engine: Engine, settings: Settings, number: int) -> None:
        self.task: Task | None = None
        self.tries = 0
        self.is_dismissed = False
        self._lane = lane
        self._engine = engine
        self._settings = settings
        self._number = -number  # workers of the other lane count upwards
        self._name = f"{settings.name_prefix}_process_{number}"
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._receiver: process.Receiver | None = None
        self._results = -1
        # Of a process: what becomes readable when it has ended, and what waits for that.
        self._ended: tuple[int, select.poll] | None = None
        self._unread = bytearray()
        self._has_begun = False  # the task, as far as we have heard
        self._is_struck = False  # as soon as it has
        self._state = threading.Lock()  # of the process: nobody signals one that has been reaped
        self._thread = _threads.make(self._run, self._name)

    @property
    def pid(self) -> int | None:
        """The process's identifier, while there is one."""
        found = self._process
        return None if found is None else found.pid

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether the thread has been started."""
        return self._thread.ident is not None

    def give_up(self, error: BaseException) -> None:
        """The thread could not be started: end what waits, if nobody else will serve it."""
        with self._engine.lock:
            self._lane.note_gone(self)
            lost = self._lane.waiting_for_nobody()
        for task in lost:
            self._engine.report(task, channels.LOST, Death(0, 0, f"{error}"))

    def strike(self) -> None:
        """Interrupt the task, when it has begun. The engine's lock is held."""
        self._is_struck = True
        if self._has_begun:
            self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._state:
            if self._process is not None:
                self._process.send_signal(number)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (task := self._lane.take(self)) is not None:
                self._serve(task)
                del task
        except BaseException as error:  # ours, or the system's: no future waits for this thread
            report(logging.CRITICAL, "the host of a worker process failed", error=error)
            if self.task is not None:
                number = self.task._task
                self._engine.report(number, channels.LOST, Death(0, 0, f"{error!r}"))
        finally:
            self._end()
            with self._engine.lock:
                self.task = None
                self._lane.note_gone(self)
            self._engine.report(self._number, channels.WAKE)

    def _serve(self, task: Task) -> None:
        """Have a task done, by this process or another one."""
        item = task._item
        parts = (item,) if isinstance(item, bytes) else item
        death: Death | None = None
        for _ in range(_TRIES):
            self._has_begun = False
            try:
                if self._process is None:
                    self._begin()
                if self._socket is not None and parts is not None:
                    process.send_parts(self._socket, parts)
                    if self._hear(task):
                        return
            except _Unstarted:
                return
            except BrokenPipeError, ConnectionResetError:  # it has ended
                pass
            except OSError as error:
                self._end()
                death = Death(0, 0, f"{error.strerror or error}")
                break
            pid, status = self._end()
            death = Death(pid, status)
            self._lane.died += 1
            if self._has_begun or task._stop is not None:
                break
        self._done()
        self._engine.report(task._task, channels.LOST, death)

    def _hear(self, task: Task) -> bool:
        """Report frames until a task is answered; return whether it was."""
        while (frame := self._frame()) is not None:
            subject, kind, payload = frame
            if kind == channels.SHARED:
                kind, payload = payload, self._shared(payload)
            if subject == task._task and kind <= channels.STRUCK:
                self._done()
                self._engine.report(subject, kind, payload)
                return True
            if kind == channels.TAKEN:
                with self._engine.lock:
                    self._has_begun = True
                    is_struck = self._is_struck
                if is_struck:
                    self._signal(signal.SIGINT)
            elif kind == channels.UNSTARTED:
                self._end()
                self._done()
                self._engine.report(self._number, kind, payload)
                self._engine.report(task._task, channels.LOST, Failure.from_frame(payload))
                raise _Unstarted
            if kind != channels.BEGUN:
                self._engine.report(subject, kind, payload)
        return False

    def _done(self) -> None:
        """The task is answered, or about to be."""
        with self._engine.lock:
            self.task = None
            self._has_begun = self._is_struck = False

    def _frame(self) -> tuple[int, int, Any] | None:
        data = self._unread
        while True:
            size = int.from_bytes(data[: channels.HEADER], "little")
            end = channels.HEADER + size
            if len(data) >= channels.HEADER and len(data) >= end:
                frame: tuple[int, int, Any] = marshal.loads(data[channels.HEADER : end])
                del data[:end]
                return frame
            new = os.read(self._results, _READ) if self._is_heard() else b""
            if not new:
                return None
            data += new

    def _is_heard(self) -> bool:
        """Wait for the process to say something; return whether it has, and has not ended.

        The end of the pipe does not tell: a child of the process may have it open.
        """
        if self._ended is None:
            return True
        ready = [fd for fd, _ in self._ended[1].poll()]
        return self._results in ready

    def _shared(self, kind: int) -> Any:
        parts = None if self._receiver is None else self._receiver.receive()
        if parts is None:
            raise ConnectionResetError  # it ended meanwhile
        first, *segments = parts
        found = marshal.loads(first)  # type: ignore[arg-type]  # bytes
        return (found, *segments) if kind == channels.VALUE_PICKLED else found

    def _begin(self) -> None:
        """Start the process.

        Raises:
            OSError: if the system gives none, or no descriptors.
        """
        settings = self._settings
        modules = modules_inside(_inside.PROCESS_MODULES)
        ours, theirs = socket.socketpair()
        self._results, results = os.pipe()
        try:
            arguments = [sys.executable, *_flags(), "-c", _BOOT]
            arguments += [str(theirs.fileno()), str(results), str(len(modules))]
            started = subprocess.Popen(  # noqa: S603 - this Python, and our own program
                arguments,
                pass_fds=(theirs.fileno(), results),
                stdin=subprocess.DEVNULL,
                # Ctrl-C is the main process's to understand: see `strike`.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(self._results)
            raise
        finally:
            theirs.close()
            os.close(results)
        with self._state:
            self._process = started
        self._socket, self._receiver = ours, process.Receiver(ours)
        if hasattr(os, "pidfd_open"):
            ended, poll = os.pidfd_open(started.pid), select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(self._results, select.POLLIN)
            self._ended = ended, poll
        self._unread.clear()
        self._lane.started += 1
        ours.sendall(modules)
        first: Any = (
            *(self._number, self._name, settings.environment, settings.preload),
            settings.initializer and settings.initializer[0],
        )
        process.send_parts(ours, [marshal.dumps(first)])

    def _end(self) -> tuple[int, int]:
        """Let the process end, or kill it; return its identifier and its status."""
        if self._process is None:
            return 0, 0
        ended = self._process
        if self._socket is not None:
            self._socket.close()
        try:
            ended.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            ended.kill()
        with self._state:
            status = ended.wait()
            self._process = None
        os.close(self._results)
        if self._ended is not None:
            os.close(self._ended[0])
        self._socket = self._receiver = self._ended = None
        return ended.pid, status


class _Unstarted(Exception):  # noqa: N818 - it is no error
    """The process's initializer has failed, which has been reported."""


def _flags() -> list[str]:
    found: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return found
