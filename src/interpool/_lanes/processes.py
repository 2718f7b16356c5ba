"""The process lane: worker processes, for what cannot load in an interpreter.

Beside what holds of every lane (`base`):

* A process does one task at a time. One that ends takes its own task with it and no other; the
  next task gets another process. A task that it had not begun goes to that one.
* A process ends when its socket is closed, or is killed. Threads that tasks have left there, and
  which are no daemons, are waited for, as Python does and every pool of the standard library; after
  a while, that is said. Whoever does not want to wait ends the pool at once.
* What is struck and does not stop in time is killed: here nothing has to be given up.

Each process has a host, which starts it, hands it tasks and hears its frames, which it reports to
the engine.

It is not `concurrent.futures.ProcessPoolExecutor`: that runs a program's main module anew in each
process, and is broken as a whole by one that dies, of which it does not tell the status.
"""

import contextlib
import logging
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from interpool import _hints, _inside, _threads
from interpool._errors import ProcessDied, TransferError
from interpool._failures import Failure
from interpool._inside import channels, process
from interpool._lanes.base import Host, Lane
from interpool._output import Output
from interpool._reports import report
from interpool._task import Raised, Task
from interpool._worker import Settings, modules_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interpool._engine import Engine
    from interpool._inside.surroundings import Said
    from interpool._lanes.relay import Relay

# Runs in a new process; what follows is in its arguments.
_BOOT: Final = """\
import marshal, os, sys
sys.path[:] = filter(None, sys.path)  # "", by which what lies about here would be found first
sock, results, board, relay, size = map(int, sys.argv[1:])
data = b""
while len(data) < size:
    data += os.read(sock, size - len(data)) or sys.exit()
modules, later = marshal.loads(data)
for name, file, code in marshal.loads(modules):
    module = type(sys)(name)
    module.__file__ = file
    del module.__spec__, module.__loader__
    sys.modules[name] = module
    exec(marshal.loads(code), module.__dict__)
sys.modules["_interpool_values"].later = later
run, arguments = module.run, (sock, results, board, relay)
del marshal, os, sys, sock, results, board, relay, size, data, modules, later, name, file, code
del module
run(*arguments)
"""
# Seconds that a process has to end when its socket is closed, before it is killed; unless it waits
# for threads.
_PATIENCE: Final = 5.0
# Seconds after which it is said that it does. Arbitrary: time for those that are about to end.
_SILENCE: Final = 1.0
# Times that a task is handed to a process that ends before it begins it.
_TRIES: Final = 3
_READ: Final = 1 << 16
# Pieces of a process's output, of 4 KB each, that may wait here to be passed on: else what it
# prints would pile up where nobody reads as fast. A pipe bounds that of workers. Arbitrary.
_UNSAID: Final = 256

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


class Processes(Lane):
    """The process lane of one engine.

    Attributes:
        started: how many processes there have been.
    """

    name = "process"

    def __init__(self, engine: Engine, settings: Settings) -> None:
        super().__init__(engine, engine.staff.most)
        self._settings = settings
        self.started = 0

    def make_host(self, number: int) -> ProcessHost:
        """Make a host of that number."""
        return ProcessHost(self, self._engine, self._settings, number)


class ProcessHost(Host):
    """A process from outside: the thread that owns it."""

    def __init__(self, lane: Processes, engine: Engine, settings: Settings, number: int) -> None:
        self._lane = lane
        self._engine = engine
        self._settings = settings
        self._number = -number  # workers of the other lane count upwards
        self._name = f"{settings.name_prefix}_process_{number}"
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._receiver: process.Receiver | None = None
        self._switchboard: socket.socket | None = None  # until somebody calls
        self._relay: Relay | None = None  # from then on
        self._results = -1
        self._ended = -1  # of a process: what becomes readable when it has ended
        self._unread = bytearray()
        self._unsaid = threading.Semaphore(_UNSAID)
        self._is_complete = False  # the process: started, and all there that it takes
        self._is_ready = False  # the process: it can be struck
        self._board: process.Board | None = None
        self._last = 0  # the task that the last process has begun last
        self._last_began = 0  # when, if that is traced
        self._traced: list[Any] = []  # what it has taken down of a task that is not answered
        self._is_struck = False  # the task, as soon as there is a process that can be
        self._is_killed = False  # as soon as there is a process
        self._state = threading.Lock()  # of the process: nobody signals one that has been reaped
        self._thread = _threads.make(self._run, self._name, "_host")

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def place(self) -> tuple[int, int]:
        """Its number as a worker, and the identifier of its process, or 0."""
        started = self._process
        return self._number, 0 if started is None else started.pid

    @property
    def began(self) -> int:
        """When the task has begun (`time.monotonic_ns`), if that is traced; else 0."""
        board, task = self._board, self.task
        if board is None or task is None or board[process.HAS_BEGUN] != task._task:
            return 0
        return board[process.BEGAN]

    def heed_trace(self, number: int) -> None:
        """Take down what is done for a trace; for 0, nothing more. The engine's lock is held."""
        if (board := self._board) is not None:
            board[process.TRACE] = number

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
        end = Death(0, 0, f"{error}")
        with self._engine.lock:
            self._lane.note_gone(self)
            lost = self._lane.waiting_for_nobody(end)
        for task in lost:
            self._engine.report(task, channels.LOST, end)

    def strike(self) -> None:
        """Interrupt the task, or keep it from beginning. The engine's lock is held."""
        self._is_struck = True
        self._note_struck()
        if self._is_ready:
            self._signal(signal.SIGINT)

    def _note_struck(self) -> None:
        if self._is_struck and self._board is not None and self.task is not None:
            self._board[process.IS_STRUCK] = self.task._task

    def kill(self) -> None:
        """End the process, or the one that is being started."""
        self._is_killed = True
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
        except _NoMeans as error:  # the others go on
            message = "A worker process could not be started, so there will be fewer: %s"
            report(logging.CRITICAL, message, error.__cause__)
        except BaseException as error:  # ours, or the system's: no future waits for this thread
            report(logging.CRITICAL, "the host of a worker process failed", error=error)
            if self.task is not None:
                number = self.task._task
                self._engine.report(number, channels.LOST, Death(0, 0, f"{error!r}"))
        finally:
            self._end(waits_for_threads=True)
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
            try:
                if self._try(task, parts):
                    return
            except _Unstarted:
                return
            except BrokenPipeError, ConnectionResetError:  # it has ended
                pass
            except OSError as error:
                is_new = not self._is_complete
                self._end()
                if is_new and self._lane.give_back(self, task):
                    raise _NoMeans from error
                death = Death(0, 0, f"{error.strerror or error}")
                break
            pid, status = self._end()
            death = Death(pid, status)
            if (trace := self._engine.trace) is not None:
                for payload in self._traced:
                    trace.note_work(self._number, payload)
                self._traced.clear()
                trace.note_death((self._number, pid), task, self._last_began, death)
            if self._last == task._task or task._stop is not None:
                break
        self._done()
        self._engine.report(task._task, channels.LOST, death)

    def _try(self, task: Task, parts: Sequence[Any] | None) -> bool:
        """Have a task done by this process; return whether it is answered."""
        if self._process is None:
            self._begin()
        if self._socket is None or parts is None:
            return False
        if (packed := self._packed(task, parts)) is None:
            return True
        with self._engine.lock:
            self._note_struck()  # if it was before there was a board
        process.send_packed(self._socket, *packed)
        return self._hear(task)

    def _packed(self, task: Task, parts: Sequence[Any]) -> tuple[bytes, int] | None:
        """Pack a task, or end it if there are no means for that: the process has no part in it."""
        try:
            return process.pack(parts)
        except (OSError, MemoryError) as error:
            self._fail(task, error, "argument", f"the arguments of {task._name} to")
            return None

    def _fail(self, task: Task, error: Exception, stage: str, what: str) -> None:
        """End a task of which something could not be sent, or read."""
        self._done()
        reason = f"{type(error).__name__}: {error}"
        _, hint = _hints.of_error(error)
        message = f"Cannot send {what} a worker process: {reason}"
        failure = TransferError(
            f"{message}. {hint}" if hint else message, stage=stage, reason=reason, hint=hint
        )
        failure.__cause__ = error
        self._engine.report(task._task, channels.LOST, Raised(failure))

    def _hear(self, task: Task) -> bool:
        """Report frames until a task is answered; return whether it was."""
        while (frame := self._frame()) is not None:
            subject, kind, payload = frame
            if kind == channels.SHARED:
                try:
                    kind, payload = payload[0], self._shared(*payload)
                except ConnectionError:
                    raise
                except (OSError, MemoryError) as error:  # the process is as it should be
                    self._fail(task, error, "result", f"the result of {task._name} back from")
                    return True
            if subject == task._task and kind <= channels.STRUCK:
                self._done()
                self._engine.report(subject, kind, payload)
                self._report_traced()
                return True
            if kind == channels.BEGUN:
                self._note_ready()
            elif kind == channels.UNSTARTED:
                self._done()
                self._engine.report(self._number, kind, payload)
                self._engine.report(task._task, channels.LOST, Failure.from_frame(payload))
                self._end()  # last, for a thread may hold it up
                raise _Unstarted
            self._pass_on(subject, kind, payload)
        return False

    def _pass_on(self, subject: int, kind: int, payload: Any) -> None:
        if kind == channels.SAID:
            self._say(payload)
        elif kind == channels.TRACED:
            self._traced.append(payload)
        elif kind != channels.BEGUN:
            self._engine.report(subject, kind, payload)

    def _report_traced(self) -> None:
        """Report what was taken down: behind the answer, as what interpreters take down is."""
        for payload in self._traced:
            self._engine.report(self._number, channels.TRACED, payload)
        self._traced.clear()

    def _note_ready(self) -> None:
        """The process understands signals from here on, and may have begun its task."""
        with self._engine.lock:
            self._is_ready = True
            if self._is_struck:
                self._signal(signal.SIGINT)

    def _done(self) -> None:
        """The task is answered, or about to be."""
        with self._engine.lock:
            self.task = None
            self._is_struck = self._is_killed = False

    def _hear_out(self, until: float | None) -> list[str]:
        """Pass on what a process says on its way out: threads that tasks have left, `atexit`.

        Args:
            until: when to give up, as `time.monotonic` has it; None: when it has ended.

        Returns:
            Names of the threads that it says it waits for.
        """
        threads: list[str] = []
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):  # half a frame
            while (frame := self._frame(until)) is not None:
                if frame[1] == channels.SAID:
                    self._say(frame[2])
                elif frame[1] == channels.LEFT:
                    threads = frame[2]
        return threads

    def _hear_out_threads(self, ended: subprocess.Popen[bytes], begin: float) -> None:
        """The same, for as long as it waits for threads."""
        if not (threads := self._hear_out(begin + _SILENCE)) or not self._goes_on(ended):
            return
        self._engine.warn(
            f"The worker process {ended.pid} ({self._name}) does not end yet, for threads go on "
            f"there that tasks have started: {', '.join(threads)}. They are waited for, as at the "
            "end of any program; terminate_workers() ends the process at once"
        )
        self._hear_out(None)
        ended.wait()

    def _goes_on(self, ended: subprocess.Popen[bytes]) -> bool:
        with self._state:
            return ended.poll() is None

    def _say(self, said: Said) -> None:
        """Report a piece of output, when there is room for one."""
        self._unsaid.acquire(timeout=_PATIENCE)
        output = Output(self._number, said, self._unsaid.release)
        self._engine.report(self._number, channels.SAID, output)

    def _frame(self, until: float | None = None) -> tuple[int, int, Any] | None:
        data = self._unread
        while True:
            size = int.from_bytes(data[: channels.HEADER], "little")
            end = channels.HEADER + size
            if len(data) >= channels.HEADER and len(data) >= end:
                frame: tuple[int, int, Any] = marshal.loads(data[channels.HEADER : end])
                del data[:end]
                return frame
            new = os.read(self._results, _READ) if self._wait_for(self._results, until) else b""
            if not new:
                return None
            data += new

    def _wait_for(self, fd: int, until: float | None = None) -> bool:
        """Wait for the process to say something; return whether it has, in time, or has ended.

        The end of the pipe, or of the socket, does not tell: a child of the process may have it
        open.
        """
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if self._ended != -1:
            poll.register(self._ended, select.POLLIN)
        called = -1 if self._switchboard is None else self._switchboard.fileno()
        if called != -1:
            poll.register(called, select.POLLIN)
        left = None if until is None else max(until - time.monotonic(), 0) * 1000
        ready = {found for found, _ in poll.poll(left)}
        if called in ready:
            self._answer()
            return fd in ready or self._wait_for(fd, until)
        return fd in ready

    def _answer(self) -> None:
        """Have the process served that wants to use what interpreters share, or has ended."""
        sock, self._switchboard = self._switchboard, None
        if sock is not None and sock.recv(1, socket.MSG_PEEK):
            from interpool._lanes.relay import Relay  # most programs share nothing

            self._relay = Relay(sock, self._name)
            self._relay.start()
        elif sock is not None:
            sock.close()

    def _shared(self, kind: int, is_apart: bool) -> Any:
        """Receive the payload of a frame of that kind, which says whether it comes as it is."""
        parts = None if self._receiver is None else self._receiver.receive()
        if parts is None:
            raise ConnectionResetError  # it ended meanwhile
        first, *segments = parts
        if is_apart:
            return first
        found = marshal.loads(first)  # type: ignore[arg-type]  # bytes
        return (found, *segments) if kind == channels.VALUE_PICKLED else found

    def _begin(self) -> None:
        """Start the process.

        Raises:
            OSError: if the system gives none, or no descriptors.
        """
        settings = self._settings
        names = _inside.PROCESS_MODULES, _inside.LATER
        modules = marshal.dumps(tuple(map(modules_inside, names)))
        ours, theirs = socket.socketpair()
        self._switchboard, calls = socket.socketpair()
        self._results, results = os.pipe()
        memory = -1
        try:
            memory = process.new_board()
            self._board = process.board_of(memory)
            if (trace := self._engine.trace) is not None:  # which begins the other way round
                self._board[process.BEGAN] = trace.clock()
                self._board[process.TRACE] = trace.number
            inherited = theirs.fileno(), results, memory, calls.fileno()
            arguments = [sys.executable, *_flags(), "-c", _BOOT]
            arguments += map(str, (*inherited, len(modules)))
            started = subprocess.Popen(  # noqa: S603 - this Python, and our own program
                arguments,
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                # Ctrl-C is the main process's to understand: see `strike`.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            self._switchboard.close()
            os.close(self._results)
            raise
        finally:
            theirs.close()
            calls.close()
            os.close(results)
            if memory != -1:
                os.close(memory)
        with self._state:
            self._process = started
        if self._is_killed:  # set before whoever kills looks whether there is a process
            self._signal(signal.SIGKILL)
        self._socket = ours
        self._receiver = process.Receiver(ours, self._wait_for)
        if hasattr(os, "pidfd_open"):
            self._ended = os.pidfd_open(started.pid)
        self._unread.clear()
        # What the last one has not said to its end is of no use, and this one counts anew.
        self._engine.report(self._number, channels.SAID)
        self._lane.started += 1
        ours.sendall(modules)
        first: Any = (
            *(os.getpid(), self._number, (self._name, _threads.shortened(self._name))),
            *(settings.environment, settings.preload),
            settings.initializer and settings.initializer[0],
            settings.shared and settings.shared.given,
        )
        process.send_parts(ours, [marshal.dumps(first)])
        self._is_complete = True

    def _end(self, *, waits_for_threads: bool = False) -> tuple[int, int]:
        """Let the process end, or kill it; return its identifier and its status.

        Args:
            waits_for_threads: whether there is time for threads that tasks have left.
        """
        self._is_complete = False
        if self._process is None:
            return 0, 0
        ended = self._process
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended
                self._socket.shutdown(socket.SHUT_RDWR)  # whoever else has it open: a forked child
            self._socket.close()
        begin = time.monotonic()
        if waits_for_threads:
            self._hear_out_threads(ended, begin)
        self._hear_out(begin + _PATIENCE)
        try:
            ended.wait(max(begin + _PATIENCE - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            ended.kill()
        with self._state:
            status = ended.wait()
            self._process = None
        if self._relay is not None:
            self._relay.end()  # before anybody hears that its task is lost
        with self._engine.lock:
            self._is_ready = False
            if self._board is not None:
                self._last = self._board[process.HAS_BEGUN]
                self._last_began = self._board[process.BEGAN]
            self.disown()
        self._receiver = None
        return ended.pid, status

    def disown(self) -> None:
        """Close what is open of the process."""
        # Forgotten first: a fork may come in between.
        descriptors = self._results, self._ended
        self._results = self._ended = -1
        self._board = None
        for descriptor in descriptors:
            if descriptor != -1:
                os.close(descriptor)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._switchboard is not None:
            self._switchboard.close()
            self._switchboard = None
        if self._relay is not None:
            self._relay.disown()
            self._relay = None


class _NoMeans(Exception):  # noqa: N818 - it is no error, but what `__cause__` says
    """The system has given no process."""


class _Unstarted(Exception):  # noqa: N818 - it is no error
    """The process's initializer has failed, which has been reported."""


def _flags() -> list[str]:
    found: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return found
