"""The loop of a worker, in its interpreter.

It guarantees:

* Every message taken from the task queue is answered with one frame (`outcomes`).
* The loop sleeps in one place, a read of the doorbell, and no task waits meanwhile: whoever puts
  one rings afterwards, and whoever takes one and leaves others rings before it runs what it took.

It assumes that the descriptors and queues it is given stay open until its last frame, ``LEFT``, has
been read.
"""

import _interpqueues
import _thread
import marshal
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any

    from interpool._inside import channels, outcomes, surroundings
else:
    import _interpool_channels as channels
    import _interpool_outcomes as outcomes
    import _interpool_surroundings as surroundings

sys.modules["_interpool_loop"] = sys.modules["interpool._inside.loop"]
__name__ = "_interpool_loop"

# Parts of a pickled payload, its context included, that go in one: in more pieces they are large.
FEW = 2

type Ends = tuple[channels.Queues, tuple[int, int, int]]  # see `Transport.worker_ends`


class Loop:
    """One worker: takes messages from the shared queue and answers them until it takes `STOP`."""

    def __init__(
        self,
        number: int,
        bulk: int,
        queues: channels.Queues,
        descriptors: tuple[int, int, int],
    ) -> None:
        """Args: the worker's number, its bulk queue, and `Transport.worker_ends`."""
        self.number = number
        self.bulk = bulk
        self.tasks, self.rings, self.starved = queues
        self.bell, self.bell_in, self.results = descriptors
        self.ebb: tuple[int, int] | None = None  # a pipe, made when the bulk queue is first full
        self.current: int | None = None  # the task being run, for the frame DIED

    def send(self, subject: int, kind: int, payload: Any) -> None:
        """Send one frame: in the pipe if it goes there in one piece, else by the bulk queue."""
        if type(payload) in outcomes.APART_TYPES and len(payload) >= channels.APART:
            self.send_bulk((subject, kind, payload))
            return
        if kind == channels.VALUE_PICKLED and len(payload) > FEW:
            context, *segments = payload
            self.send_bulk((subject, kind, marshal.dumps(context), *segments))
            return
        frame = marshal.dumps((subject, kind, payload))
        if len(frame) + channels.HEADER <= channels.ATOMIC_WRITE:
            channels.write(self.results, channels.with_length(frame))
        else:
            self.send_bulk(frame)

    def send_bulk(self, frame: Any) -> None:
        """Send one frame by this worker's bulk queue, and the notice of it by the pipe.

        A queue of its own: with a common one another worker's notice would bring this frame, and
        this worker's notice the other's, which may be gone, and its frames with it.
        """
        if _interpqueues.get_count(self.bulk) >= channels.BULK_ROOM:
            # Main has taken all that was put before when it reads this.
            self.ebb = self.ebb or os.pipe()
            self.send(self.number, channels.FULL, self.ebb[1])
            os.read(self.ebb[0], 1)
        channels.put(self.bulk, frame)
        channels.write(
            self.results, bytes(channels.HEADER) + self.bulk.to_bytes(channels.QUEUE_ID, "little")
        )

    def next_message(self) -> Any:
        """Take the next item of the task queue, sleeping while there is none."""
        while (item := self.take_task()) is None:
            channels.hear(self.rings, self.bell)
        return item

    def take_task(self) -> Any:
        """Take an item of the task queue, or None.

        If it is not the last, have the next worker woken. If there are few left and main has more,
        tell it: it asks for that after filling the queue, so whoever takes the last of those items
        sees the request.
        """
        item = channels.take(self.tasks)
        if item is None:
            return None
        waiting = _interpqueues.get_count(self.tasks)
        if waiting:
            channels.ring(self.rings, self.bell_in)
        if waiting <= channels.LOW and channels.take_token(self.starved):
            self.send(self.number, channels.HUNGRY, None)
        return item

    def serve(self) -> None:
        """Answer messages until `STOP`."""
        while True:
            item = self.next_message()
            if item == channels.STOP:
                return
            head, *large = (item,) if type(item) is bytes else item
            self.current, environment, *parts = marshal.loads(head)
            del item, head  # no task's data outlives the task here
            surroundings.adopt(environment)
            kind, payload = outcomes.outcome_of(parts, large)
            del parts, large
            surroundings.flush()  # before the answer: it is read in that order
            try:
                self.send(self.current, kind, payload)
            except (ValueError, MemoryError) as error:  # more than marshal or memory takes
                self.send(self.current, channels.FAILED, outcomes.describe(error, "result"))
            del payload
            self.current = None

    def run(
        self,
        name: str,
        environment: bytes,
        preload: tuple[str, ...],
        initializer: outcomes.Message | None,
    ) -> None:
        """The thread of a worker, from its first import to its last frame."""
        # Made now and written bare: whatever a task has done to this module, its end is heard of.
        last = channels.with_length(marshal.dumps((self.number, channels.LEFT, None)))
        try:
            surroundings.begin(self.number, self.results, name, environment)
            self.send(self.number, channels.BEGUN, None)
            failure = prepare(preload, initializer)
            surroundings.flush()
            if failure is None:
                self.serve()
            else:
                self.send(self.number, channels.UNSTARTED, failure)
        except BaseException as error:
            self.send(
                self.number, channels.DIED, (self.current, outcomes.describe(error, "worker"))
            )
        finally:
            for fd in self.ebb or ():
                os.close(fd)
            channels.write(self.results, last)


def prepare(
    preload: tuple[str, ...], initializer: outcomes.Message | None
) -> outcomes.Description | None:
    """Import the preloaded modules and run the initializer; return what failed, if anything."""
    for name in preload:
        try:
            __import__(name)
        except BaseException as error:
            return outcomes.describe(error, "preload")
    if initializer is not None:
        parts, large = initializer
        kind, payload = outcomes.outcome_of(parts, list(large))
        if (
            kind == channels.FAILED and payload[0] != "result"
        ):  # what an initializer returns is nobody's
            return ("initializer", *payload[1:])
    return None


_handle = _thread._ThreadHandle()


def start(
    number: int,
    bulk: int,
    ends: Ends,
    name: str,
    environment: bytes,
    preload: tuple[str, ...],
    initializer: outcomes.Message | None,
) -> None:
    """Start the loop in a thread of this interpreter, so that the interpreter can be entered."""
    channels.register_queue_errors()
    loop = Loop(number, bulk, *ends)

    def run() -> None:
        _thread.set_name(name)
        loop.run(name, environment, preload, initializer)

    _thread.start_joinable_thread(run, handle=_handle, daemon=False)


def join() -> None:
    """Wait for the loop's thread to be gone. An interpreter may be ended only then."""
    _handle.join()
