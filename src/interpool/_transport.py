"""What lies between the main interpreter and its workers: queues, a doorbell, a pipe for results.

It guarantees:

* **A task is taken once.** Every worker takes from one queue, so no task waits behind a slow one
  while another worker idles; what is still in the queue can be taken back.
* **No wake-up is lost and few are wasted.** Main puts a task first and rings afterwards, unless a
  ring is still unanswered; a worker that hears one answers it first and looks for a task
  afterwards, and rings itself if it leaves others (`channels.ring`). Where nobody sleeps there is
  no system call: the last ring lies in the bell.
* **It is known how many stops may yet be met.** `stops` are those in the queue, and those that a
  worker has taken whose last frame has not been read. A stop is nobody's in particular: a worker
  that was given up may take it, too. So who wants all workers to leave sees to it, whenever one has
  left, that there are as many as workers (`Engine._dismiss`): none of them lacks one then for ever.
* **Nothing leaks** (cp#118302). What `_interpqueues` carries by reference is released by a pending
  call in the interpreter that put it; the list of those holds 300, and what does not fit leaks.
  From main, only what waits in a task queue can pile up there: whenever main puts, it is running
  bytecode and so has run, or is about to run, all calls pending for what was taken before. Hence
  `_ROOM` bounds what waits in all queues of this interpreter together (each may have one). From a
  worker, only results too large for the pipe go by reference, and it waits while `BULK_ROOM` of
  them are not yet taken.
* **Nothing dangles** (cp#146428). A result is copied before the interpreter that made it may end:
  by the kernel, or by `get` in the bulk queue, which removes what a gone interpreter left.

The owner's lock covers everything but `read`, which has one caller at a time. Descriptors are
closed only when no worker is left that could use them.
"""

import _interpqueues
import contextlib
import marshal
import math
import os
import select
import threading
import time
from typing import Any, Final

from interpool._inside import channels, loop, outcomes

type Item = bytes | tuple[Any, ...]
"""What marshal made of a task's number, its environment and its message; with what is large."""
type Frame = tuple[int, int, Any]
"""`(subject, kind, payload)`: of a task or a worker, as `channels` lists the kinds."""

# Items waiting in the task queues of all pools of this interpreter together: far enough below 300
# that other users of pending calls (signals, queues of the user's own) find room beside them.
_ROOM: Final = 128
_READ_SIZE: Final = 1 << 16  # bytes; a pipe's capacity on Linux, so one read takes all there is

_open: set[Transport] = set()


class Transport:
    """The channels of one pool."""

    def __init__(self) -> None:
        # Descriptors first: of those there may be none left.
        self._bell_out, self._bell_in = os.pipe()
        try:
            self._results_out, self._results_in = os.pipe()
        except OSError:
            os.close(self._bell_out)
            os.close(self._bell_in)
            raise
        self._tasks = channels.create_queue()
        self._rings = channels.create_queue()
        self._starved = channels.create_queue()
        os.set_blocking(self._results_in, False)  # for `wake`; whoever else writes waits for room
        # Windows has none: there nobody waits with a time limit, and the collector alone reads.
        self._results = select.poll() if hasattr(select, "poll") else None
        if self._results is not None:
            self._results.register(self._results_out, select.POLLIN)
        self._unread = b""
        self._puts = 0
        self.stops = 0
        self.sent = self.received = 0  # bytes, of tasks and of their outcomes
        self._sure_until = 0  # `_puts` up to which there is room if no other pool is open
        _open.add(self)

    @property
    def worker_ends(self) -> loop.Ends:
        """What a worker needs: the ids of the queues, and its descriptors."""
        queues = self._tasks, self._rings, self._starved
        return queues, (self._bell_out, self._bell_in, self._results_in)

    # --- to the workers --------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many tasks no worker has taken yet."""
        return _interpqueues.get_count(self._tasks)

    def has_room(self) -> bool:
        """Whether one more task may be put."""
        is_alone = len(_open) == 1
        if is_alone and self._puts < self._sure_until:
            return True  # workers only make more room than there was when it was counted
        waiting = _interpqueues.get_count(self._tasks)
        if is_alone:
            self._sure_until = self._puts + _ROOM - waiting
        elif waiting:
            waiting = sum(_waiting_in(pool) for pool in list(_open))
        # A pool may always have one, or one pool's long tasks would halt others.
        return waiting < _ROOM

    def put(self, item: Item) -> int:
        """Put a task into the queue; return its position, for `is_taken`."""
        channels.put(self._tasks, item)
        self.sent += _bytes_of(item)
        self._puts += 1
        return self._puts

    def put_stop(self) -> None:
        """Tell one worker, whichever takes it, to leave its loop when all before it is taken."""
        channels.put(self._tasks, channels.STOP)
        self._puts += 1
        self.stops += 1

    def note_stopped(self) -> None:
        """A worker has left that had taken a stop."""
        self.stops -= 1

    def ask_for_more(self) -> None:
        """Let the worker that leaves no more than `LOW` items waiting send `HUNGRY`."""
        if not _interpqueues.get_count(self._starved):
            channels.put_token(self._starved)

    def ring(self) -> None:
        """See to it that a worker looks at what was put: it wakes the next one if more wait."""
        channels.ring(self._rings, self._bell_in)

    def ring_again(self) -> None:
        """Ring whether or not a ring was answered: a worker is gone, perhaps before it looked."""
        while channels.take_token(self._rings):
            pass
        self.ring()

    def is_taken(self, position: int) -> bool:
        """Whether a worker has taken the item of that position; the queue keeps their order."""
        return position <= self._puts - _interpqueues.get_count(self._tasks)

    def recall(self) -> tuple[list[tuple[int, Item]], int]:
        """Take back all that no worker has taken yet: the tasks in their order, and how many stops.

        The caller puts back what it wants kept, stops last, and rings: workers may have gone to
        sleep meanwhile.
        """
        tasks = []
        stops = 0
        while (item := channels.take(self._tasks)) is not None:
            if item == channels.STOP:
                stops += 1
                self.stops -= 1
            else:
                tasks.append((_task_of(item), item))
                self.sent -= _bytes_of(item)
        return tasks, stops

    # --- from the workers ------------------------------------------------------------------------

    @property
    def can_wait(self) -> bool:
        """Whether `wait` waits."""
        return self._results is not None

    def wait(self, timeout: float | None) -> bool:
        """Wait for frames, for so many seconds or for ever; return whether there are any.

        Where the system has no means for that, return at once as if there were: `read` waits.
        """
        if self._results is None:
            return True
        return bool(self._results.poll(None if timeout is None else timeout * 1_000))

    def read(self) -> list[Frame]:
        """Wait for frames and return all there are, in the order in which they were sent."""
        new = os.read(self._results_out, _READ_SIZE)
        self.received += len(new)
        data = self._unread + new
        frames = []
        start, header = 0, channels.HEADER
        while (body := start + header) <= len(data):
            size = int.from_bytes(data[start:body], "little")
            end = body + (size or channels.QUEUE_ID)
            if end > len(data):
                break
            if size:
                frames.append(marshal.loads(data[body:end]))
            else:
                # Put before its notice was written, so it is there: marshalled, or in its parts.
                item = _interpqueues.get(int.from_bytes(data[body:end], "little"))[0]
                self.received += _bytes_of(item)
                frames.append(_joined(item) if type(item) is tuple else marshal.loads(item))
            start = end
        self._unread = data[start:]
        return frames

    def make_room(self, fd: int) -> None:
        """Let a worker go on that waited for its bulk queue to be read."""
        os.write(fd, b".")

    def wake(self) -> None:
        """Wake the reader. Never waits: a full pipe keeps it awake anyway."""
        frame = marshal.dumps((0, channels.WAKE, None))
        with contextlib.suppress(BlockingIOError):
            os.write(self._results_in, channels.with_length(frame))

    def disown(self) -> None:
        """Close this process's descriptors: in a forked child, where the queues are nobody's."""
        _open.discard(self)
        for fd in (self._bell_out, self._bell_in, self._results_out, self._results_in):
            os.close(fd)

    def close(self) -> None:
        """Give everything back. No worker may be left, and no other call may come after."""
        self.disown()
        for queue in self.worker_ends[0]:
            channels.destroy_queue(queue)


def _waiting_in(pool: Transport) -> int:
    try:
        return _interpqueues.get_count(pool._tasks)
    except Exception:  # closed by another thread since it was listed
        return 0


# Of the tasks behind so many, one in so many is timed; all of them while any pool is traced.
_FIRST: Final = 1_024
_EVERY: Final = 8
_first = float(_FIRST)
_traced = 0  # pools
_tracing = threading.Lock()


def time_all(*, is_on: bool) -> None:
    """Have every task timed from now on, for there is one trace more; or one less."""
    global _first, _traced  # noqa: PLW0603 - looked at for each task
    with _tracing:
        _traced += 1 if is_on else -1
        _first = math.inf if _traced else float(_FIRST)


def item_of(
    task: int, environment: bytes | None, message: outcomes.Message, *, is_watched: bool = False
) -> Item:
    """Make the item of a task.

    Args:
        task: its number.
        environment: what the worker is to take over first; None: what it began with.
        message: what the task asks for.
        is_watched: whether the worker is to say when it begins.
    """
    parts, large = message
    measured = 0
    if is_watched:
        measured = -time.monotonic_ns()
    elif task < _first or not task % _EVERY:
        measured = time.monotonic_ns()
    head = marshal.dumps((task, measured, environment, *parts))
    return (head, *large) if large else head


def _bytes_of(item: Item) -> int:
    return len(item) if type(item) is bytes else sum(map(_size, item))


def _size(part: object) -> int:
    if isinstance(part, memoryview):
        return part.nbytes
    return len(part) if isinstance(part, (bytes, str)) else 0


def _task_of(item: Item) -> int:
    number: int = marshal.loads(item if isinstance(item, bytes) else item[0])[0]
    return number


def function_of(item: Item) -> int:
    """The key of the definition of an item's function."""
    key: int = marshal.loads(item if isinstance(item, bytes) else item[0])[3]
    return key


def _joined(item: tuple[Any, ...]) -> Frame:
    """Make a frame of an item whose payload's pieces travelled by themselves."""
    subject, kind, payload, *pieces = item
    return (
        (subject, kind, (marshal.loads(payload), *pieces)) if pieces else (subject, kind, payload)
    )
