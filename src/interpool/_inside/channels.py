"""A worker's ends of the channels: what frames and queue items are, and how they are moved.

Of the queues only ids are known here, of the pipes only descriptors; `Transport` owns both.
"""

import _interpqueues
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any

sys.modules["_interpool_channels"] = sys.modules["interpool._inside.channels"]
__name__ = "_interpool_channels"

# What a frame says of a task: its value, its failure, the outcomes of a chunk, that it was struck
# (`gate`) and has stopped; and what main says itself of one whose process has ended.
VALUE_PLAIN, VALUE_PICKLED, FAILED, EACH, STRUCK, LOST = range(6)
# What a frame says of a worker, its number standing where a task's would: its loop has begun, it
# cannot start, its loop died, its loop ended, its interpreter is gone; tasks may be sent, the state
# has changed; a piece of what is printed or logged there; it waits until what it has put into its
# bulk queue is taken, for a byte in the descriptor that is the payload; a task that is watched
# begins, and when; a task was struck, and where it was; soon it will have done all it is to do;
# an outcome, whose kind is the payload, comes in shared memory (`process`); a task has made a pool
# there; the interpreter does not end, for that pool has given up a worker (`_exit`); its board
# names a task now, as it was asked to say (`HEED`). And what main says itself: the interpreter of a
# worker that has left does not end yet, for threads go on there; what users are to be told. And
# what a worker has taken down of what it does (`tracing`), or None, if it will take down nothing
# more.
BEGUN, UNSTARTED, DIED, LEFT, GONE, HUNGRY, WAKE, SAID, FULL, TAKEN, HIT = range(6, 17)
RETIRING, SHARED, NESTS, HELD, NAMED, HELD_UP, TOLD, TRACED = range(17, 25)

# A worker's board: numbers of 8 bytes in memory of main's, which one of the two sides writes and
# the other looks at when it likes. The task that it runs, or did last, 0 when it sleeps, or
# `PREPARING`; since when it sleeps (`time.monotonic_ns`); how many it has done; whether it is to
# leave, which main writes; how many run times, and how many times of waiting, were measured:
# nanoseconds, the last of which follow in two rings; when its loop is over, how many threads go on
# there that tasks have started, for which the end of its interpreter waits; what it is to do as
# soon as its board names the task that it has taken, which main writes: the sum of `SAY`, to say
# so, and of `TRACE` times the number of a trace, to take down what it does; whether it has left
# because it took a `STOP`; while it takes down, since when the task runs, or, before its first,
# when it began to start, which main writes.
TASK, SLEEPS_SINCE, DONE, LEAVE, RUNS, WAITS, THREADS, HEED, STOPPED, BEGAN = range(10)
SAY, TRACE = 1, 2
# In place of the time at which a task was submitted, if that is not known, but it is traced.
UNTIMED = 1
RING = 128
PREPARING = -1  # it imports what is to be there, or runs its initializer
FIRST_RUN = BEGAN + 1
FIRST_WAIT = FIRST_RUN + RING
BOARD = FIRST_WAIT + RING

# In the task queue: leave the loop. An int, which needs no release in the interpreter it came from.
STOP = 0
# How an item of an interpreter that is gone is treated in a queue: removed (`UNBOUND_REMOVE`).
REMOVE = 1
# The kernel writes this much to a pipe in one piece (POSIX PIPE_BUF is at least 512, Linux 4096).
ATOMIC_WRITE = 512 if sys.platform != "linux" else 4096
HEADER = 4  # bytes of a frame's length; of length 0, it is in the bulk queue whose id follows
QUEUE_ID = 8  # bytes of such an id

# Items of a bulk queue that may wait to be taken. What is taken is released by pending calls in the
# interpreter that put it, which has room for 300 (cp#118302): far enough below that others find
# room beside them.
BULK_ROOM = 128
# Tasks waiting, below which a worker asks for more if there are more: as many as it takes to keep
# the others busy until main comes by, which may be 5 ms later if it computes (the switch interval).
LOW = 64

# From this size on (bytes or characters) what is large travels by itself: marshal copies it at
# 2 GB/s, which for this much takes some 15 us, more than one more item in the queue costs.
APART = 1 << 15


class QueueEmpty(_interpqueues.QueueError):  # the name that _interpqueues knows it by
    """No item is waiting."""


class QueueFull(_interpqueues.QueueError):  # the name that _interpqueues knows it by
    """The queue holds as many items as it may: never here, ours are unbounded."""


class _Queue:
    """Stands for `concurrent.interpreters.Queue` until the task imports that."""


def register_queue_errors() -> None:
    """Let an empty queue raise `QueueEmpty` instead of importing `concurrent.interpreters` (9 ms).

    A task that imports `concurrent.interpreters` registers that module's classes in their place, so
    `take` goes by the name that both share.
    """
    _interpqueues._register_heap_types(_Queue, QueueEmpty, QueueFull)  # type: ignore[attr-defined]


def create_queue() -> int:
    """Create an unbounded queue and return its id."""
    return _interpqueues.create(0, REMOVE, -1)  # type: ignore[arg-type]  # -1: the default


def destroy_queue(queue: int) -> None:
    """Destroy a queue; what is in it is let go of."""
    _interpqueues.destroy(queue)


def put(queue: int, item: object) -> None:
    """Put an item into a queue; it is removed should this interpreter go before it is taken."""
    _interpqueues.put(queue, item, REMOVE)  # type: ignore[call-arg]  # typeshed is at 3.13


def _get(queue: int) -> tuple[Any, ...] | None:
    """Take the next item of a queue, with the word on one whose interpreter is gone; or None."""
    if not _interpqueues.get_count(queue):
        return None
    return _get_at_once(queue)


def _get_at_once(queue: int) -> tuple[Any, ...] | None:
    """As `_get`, without a look before: for workers, where finding none is cheap (see above)."""
    try:
        return _interpqueues.get(queue)
    except Exception as error:
        if type(error).__name__ != "QueueEmpty":
            raise
        return None


def take(queue: int) -> Any:
    """Take the next item of a queue, or None where there is none (no item of ours is None)."""
    found = _get(queue)
    return None if found is None else found[0]


def take_next(queue: int) -> Any:
    """As `take`, in a worker: a look less, and 2 us more where there is none."""
    found = _get_at_once(queue)
    return None if found is None else found[0]


# A token outlives the interpreter that put it (`UNBOUND`): it may be about another one.
REPLACE = 3


def put_token(queue: int) -> None:
    """Put a token into a queue of tokens."""
    _interpqueues.put(queue, 0, REPLACE)  # type: ignore[call-arg]  # typeshed is at 3.13


def take_token(queue: int) -> bool:
    """Take a token from a queue of tokens, if there is one."""
    return _get(queue) is not None


# The queues of a pool: the tasks; a token for each ring that nobody has answered; and a token if
# main wants to be told when it may send more.
type Queues = tuple[int, int, int]


def ring(rings: int, bell: int) -> None:
    """See to it that a worker looks at the tasks, after one has been put or left there.

    A ring that nobody has answered will do: whoever hears it looks afterwards, and rings again if
    more wait. So a sender pays for one ring at the most, however many tasks it puts, and for none
    while all are busy; the last ring then lies in the bell until somebody is about to sleep.
    """
    if not _interpqueues.get_count(rings):
        try:
            put_token(rings)
        finally:  # whatever a signal's handler raises in between: a token alone would silence all
            os.write(bell, b".")


def hear(rings: int, bell: int) -> None:
    """Sleep until somebody rings, or has rung. The caller looks at the tasks next."""
    os.read(bell, 1)
    take_token(rings)


# Let whoever waits for this core go first; return at once if nobody does. Windows has no such call.
give_way = getattr(os, "sched_yield", lambda: None)


def with_length(frame: bytes) -> bytes:
    """Put a frame's length before it, as `Transport.read` wants it."""
    return len(frame).to_bytes(HEADER, "little") + frame


def write(fd: int, data: bytes) -> None:
    """Write to the pipe in one piece, waiting for room where there is none."""
    while True:
        try:
            os.write(fd, data)
        except BlockingIOError:
            import select

            room = select.poll()
            room.register(fd, select.POLLOUT)
            room.poll()
        else:
            return
