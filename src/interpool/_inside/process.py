"""The loop of a worker process, and what both of its ends agree on.

A process is given what an interpreter is given, in the same modules: it runs one task at a time,
says the same frames in the pipe, prints by it, and has the same gate. What is different is how a
task gets there and how it is struck:

* A task comes by a socket of its own: what is small in the stream, what is large in memory that
  both share, whose descriptor comes along. Large outcomes go the same way back.
* It is struck by SIGINT. The handler runs in the task's own thread, so the gate needs no more than
  to be looked at.
* What the two have to know of each other at any time is on a board in shared memory: which task
  begins, for main to look at when the process has died, and which is to stop, for a signal that
  comes before the task. Nobody is woken for that.

It ends when its socket is closed, and the threads have ended that tasks have left and which are no
daemons, as any Python program. With main, whatever became of that, it ends at once, be it in the
midst of a task: on Linux, elsewhere when the task has ended.
"""

import _thread
import errno
import marshal
import mmap
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from interpool._inside import channels, gate, outcomes, surroundings, tracing, values
else:
    import _interpool_channels as channels
    import _interpool_gate as gate
    import _interpool_outcomes as outcomes
    import _interpool_surroundings as surroundings
    import _interpool_values as values

sys.modules["_interpool_process"] = sys.modules["interpool._inside.process"]
__name__ = "_interpool_process"

# Bytes from which on parts of a message travel in shared memory: about what a socket takes at once.
SHARED = 1 << 17
_READ = 1 << 16
_LENGTH = 4
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

# In a worker process: the descriptor of the socket by which it asks for connections (`relay`).
switchboard: int | None = None

type Part = bytes | str
type Board = memoryview[int]

# On a board: the number of the task that has begun last, and of the one that is to stop; of the
# trace for which it takes down what it does, 0 for none; and, while it does, since when the task
# runs, or, before the first, when it began to start.
HAS_BEGUN, IS_STRUCK, TRACE, BEGAN = range(4)


# --- Messages of several parts: the first in the stream, all of them in shared memory if large ---


def send_parts(sock: socket.socket, parts: Sequence[Part]) -> None:
    """Send the parts of a message.

    Raises:
        OSError: if nobody reads, or the system has no memory to share.
    """
    send_packed(sock, *pack(parts))


def pack(parts: Sequence[Part]) -> tuple[bytes, int]:
    """Return what goes into the stream, and the descriptor that goes along, -1 for none.

    Raises:
        OSError: if the system has no memory to share, or no descriptor of it.
    """
    raw = [it.encode("utf-8", "surrogatepass") if isinstance(it, str) else it for it in parts]
    texts = [isinstance(it, str) for it in parts]
    sizes = [len(it) for it in raw]
    is_shared = sum(sizes) >= SHARED
    header = marshal.dumps((sizes, texts, is_shared))
    frame = len(header).to_bytes(_LENGTH, "little") + header
    if is_shared:
        return frame, _share(raw)
    return b"".join((frame, *raw)), -1


def send_packed(sock: socket.socket, data: bytes, memory: int) -> None:
    """Send what was packed."""
    if memory == -1:
        sock.sendall(data)
        return
    try:
        sent = socket.send_fds(sock, [data], [memory])
        sock.sendall(data[sent:])
    finally:
        os.close(memory)


class Receiver:
    """The reading end of a socket by which messages come."""

    def __init__(self, sock: socket.socket, wait: Callable[[int], bool] | None = None) -> None:
        """Args: the socket, and what waits until it can be read, or says that it never will."""
        self._socket = sock
        self._wait = wait
        self._data = bytearray()
        self._descriptors: list[int] = []

    def receive(self) -> list[Part] | None:
        """Wait for the next message and return its parts; None if there will be none.

        Raises:
            OSError: if what came in shared memory cannot be read: no descriptor is free for it, or
                no memory. The next message can be.
        """
        start = self._take(_LENGTH)
        if start is None:
            return None
        header = self._take(int.from_bytes(start, "little"))
        if header is None:
            return None
        sizes, texts, is_shared = marshal.loads(header)
        if is_shared:
            if not self._descriptors:  # the system has let it drop
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            raw = _read(self._descriptors.pop(0), sizes)
        else:
            found = [self._take(size) for size in sizes]
            raw = [it for it in found if it is not None]
            if len(raw) < len(sizes):
                return None
        return [
            it.decode("utf-8", "surrogatepass") if is_text else it
            for it, is_text in zip(raw, texts, strict=True)
        ]

    def _take(self, size: int) -> bytes | None:
        while len(self._data) < size:
            if self._wait is not None and not self._wait(self._socket.fileno()):
                return None
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _READ, 1)
            except ConnectionResetError:
                return None
            self._descriptors += descriptors
            if not data:
                return None
            self._data += data
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken


def _share(parts: Sequence[bytes]) -> int:
    """Write parts into memory of their own; return its descriptor."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("interpool", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(memory, view) :]
    except BaseException:
        os.close(memory)
        raise
    return memory


def _read(memory: int, sizes: Sequence[int]) -> list[bytes]:
    """Read parts out of shared memory, and close it.

    Not by mapping it, which costs a fault for each page on top of the copy: a fifth of the time.
    """
    parts = []
    start = 0
    try:
        for size in sizes:
            part = os.pread(memory, size, start)
            while len(part) < size:  # more than the system reads at once, which is 2 GiB
                part += os.pread(memory, size - len(part), start + len(part))
            parts.append(part)
            start += size
    finally:
        os.close(memory)
    return parts


# --- The board -----------------------------------------------------------------------------------


def new_board() -> int:
    """Make a board, and return its descriptor.

    Raises:
        OSError: if the system has no memory to share, or no descriptor of it.
    """
    return _share([bytes(8 * (BEGAN + 1))])


def board_of(memory: int) -> Board:
    """Return a board for its descriptor, which is not needed for it any more."""
    return memoryview(mmap.mmap(memory, 0, trackfd=False)).cast("q")


# --- The loop ------------------------------------------------------------------------------------


class Process:
    """A worker process from inside."""

    def __init__(self, number: int, sock: socket.socket, results: int, board: Board) -> None:
        """Args: the worker's number, where tasks come from, the pipe for frames, and the board."""
        self.number = number
        self.board = board
        self.is_watched = False  # whether main is to be told when the task begins
        self.results = results
        self.socket = sock
        self.receiver = Receiver(sock)
        self.current: int | None = None
        self.trace: tracing.Recorder | None = None

    def send(self, subject: int, kind: int, payload: Any) -> None:
        """Send a frame: by the pipe if it goes there in one piece, else in shared memory."""
        frame = None
        if not _is_large(kind, payload):
            frame = marshal.dumps((subject, kind, payload))
        if frame is not None and len(frame) + channels.HEADER <= channels.ATOMIC_WRITE:
            channels.write(self.results, channels.with_length(frame))
            return
        is_apart = type(payload) in outcomes.APART_TYPES
        if kind == channels.VALUE_PICKLED:
            context, *segments = payload
            parts = [marshal.dumps(context), *segments]
        else:
            parts = [payload if is_apart else marshal.dumps(payload)]
        notice = marshal.dumps((subject, channels.SHARED, (kind, is_apart)))
        # Nothing fails any more when the notice has gone, for main waits for what it announces; and
        # that goes behind it, for main reads the socket when it has come.
        packed = pack(parts)
        channels.write(self.results, channels.with_length(notice))
        send_packed(self.socket, *packed)

    def listen(self) -> None:
        """Be struck by SIGINT, whatever the initializer or the last task has done with it."""
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if signal.getsignal(signal.SIGINT) != self.strike:
            signal.signal(signal.SIGINT, self.strike)

    def strike(self, _signal: int, frame: Any) -> None:
        """Interrupt the current task, or keep it from beginning. The handler of SIGINT."""
        task = self.current
        if task is None:
            return
        if gate.armed.pop(task, None) is None:
            gate.condemn(task)
            if (relay := sys.modules.get("_interpool_relay")) is not None:
                relay.cancel()  # what it waits for, if that is why it was not found
            return
        gate.note_place(frame)
        del gate.struck_at[-1:]  # the program that started this loop
        gate.catch_lost(task, self.strike_again)
        raise gate.Struck

    def strike_again(self) -> Iterator[Any]:
        """For `gate.catch_lost`."""
        assert self.current is not None  # noqa: S101 - that task has lost its strike
        gate.armed[self.current] = _thread.get_ident()
        return map(_thread.interrupt_main, (signal.SIGINT,))

    def note_begin(self, task: int) -> tracing.Recorder | None:
        """Note that a task begins, and tell main if it wants to know."""
        self.board[HAS_BEGUN] = task
        if self.is_watched:
            self.send(self.number, channels.TAKEN, (task, outcomes.clock()))
        return None if self.trace is None else self.trace.begin(outcomes.clock())

    def heed(self) -> tracing.Recorder | None:
        """Begin or end to take down what it does, as the board has it."""
        number, trace = self.board[TRACE], self.trace
        if trace is not None and trace.number != number:
            self.trace = None
            trace.close()
        if number and self.trace is None:
            trace = values.module_inside("tracing").Recorder(
                number, self.number, self.results, self.board, BEGAN
            )
            trace.process = os.getpid()
            trace.watch()
            self.trace = trace
        return self.trace

    def serve(self) -> None:
        """Answer messages until there are none."""
        while (parts := self.receiver.receive()) is not None:
            head, *large = parts
            received = outcomes.clock()
            task, measured, environment, *asked = marshal.loads(head)  # type: ignore[arg-type]
            self.is_watched = measured < 0
            if (trace := self.heed()) is not None:
                trace.woken = received
                trace.take(task, measured, asked[0], head, large)
            self.listen()  # before there is a task: a strike that was meant for the last one lands
            self.current = task
            # Main writes, and sends the signal afterwards: if that came before the line above, what
            # was written is here by now.
            if self.board[IS_STRUCK] == task:
                gate.condemn(task)
            del parts, head
            surroundings.adopt(environment)
            kind, payload = outcomes.outcome_of(task, asked, large, self.note_begin)
            self.current = None
            gate.forget(task)
            del asked, large
            if (relay := sys.modules.get("_interpool_relay")) is not None:
                relay.send_drops()
            surroundings.flush()
            if trace is not None:  # before the answer, behind which nobody listens
                trace.answer(kind, payload)
                trace.flush()
            try:
                self.send(task, kind, payload)
            except (ValueError, MemoryError, OSError) as error:  # too many descriptors open, say
                self.send(task, channels.FAILED, outcomes.describe(error, "result"))
            del payload


def _threads_left() -> list[str]:
    """Names of the threads that Python waits for before a process ends."""
    if (threading := sys.modules.get("threading")) is None:
        return []
    main = threading.main_thread()
    return [f"{it.name}" for it in threading.enumerate() if it is not main and not it.daemon]


def _is_large(kind: int, payload: Any) -> bool:
    """Whether a payload is not worth marshalling to see how large it is."""
    if kind == channels.VALUE_PICKLED:
        return sum(map(len, payload[1:])) > channels.ATOMIC_WRITE
    return type(payload) in outcomes.APART_TYPES and len(payload) > channels.ATOMIC_WRITE


def _end_with(main: int) -> None:
    """Have this process killed when the thread ends that has started it."""
    if sys.platform != "linux":
        return
    try:
        import ctypes
    except ImportError:
        return
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != main:  # it has ended before
        sys.exit()


def run(fd: int, results: int, memory: int, relay: int) -> None:
    """Be a worker process, from its first message, which says how, to its last.

    Args:
        fd: of the socket.
        results: of the pipe.
        memory: of the board.
        relay: of the switchboard.
    """
    global switchboard  # noqa: PLW0603 - there is one a process
    switchboard = relay
    board = board_of(memory)
    os.close(memory)
    with socket.socket(fileno=fd) as sock:  # closed, lest it be warned of when warnings are shown
        _run(sock, results, board)


def _run(sock: socket.socket, results: int, board: Board) -> None:
    fd = sock.fileno()
    os.set_inheritable(fd, False)  # noqa: FBT003 - it is the worker's, not of what tasks start
    os.set_inheritable(results, False)  # noqa: FBT003 - the same
    if switchboard is not None:
        os.set_inheritable(switchboard, False)  # noqa: FBT003 - the same
    receiver = Receiver(sock)
    if (first := receiver.receive()) is None:
        return
    main, number, names, environment, preload, initializer, given = marshal.loads(first[0])  # type: ignore[arg-type]
    values.given = given
    _end_with(main)
    process = Process(number, sock, results, board)
    process.receiver = receiver
    signal.signal(signal.SIGINT, process.strike)
    _thread.set_name(names[1])
    surroundings.begin(number, results, names, environment)
    process.current = 0
    trace, note = process.heed(), None
    if trace is not None:
        trace.begin_worker(board[BEGAN], "process")
        note = trace.note_prepared
    failure = outcomes.prepare(preload, initializer, note)
    process.current = None
    surroundings.flush()
    if failure is None:
        process.send(number, channels.BEGUN, None)
        process.serve()
        process.send(number, channels.LEFT, _threads_left())
    else:
        process.send(number, channels.UNSTARTED, failure)
