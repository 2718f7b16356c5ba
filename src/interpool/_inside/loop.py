"""The loop of a worker, in its interpreter.

It guarantees:

* Every message taken from the task queue is answered with one frame (`outcomes`).
* The loop sleeps in one place, a read of the doorbell, and never while the queue holds a task.
  Before it sleeps it announces itself in the sleepers queue and looks at the task queue again;
  whoever puts a task looks at the sleepers afterwards. One of the two sees the other.

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

type Ends = tuple[tuple[int, int, int], tuple[int, int]]  # see `Transport.worker_ends`


class Loop:
    """One worker: takes messages from the shared queue and answers them until it takes `STOP`."""

    def __init__(
        self,
        number: int,
        bulk: int,
        queues: tuple[int, int, int],
        descriptors: tuple[int, int],
    ) -> None:
        """Args: the worker's number, its bulk queue, and `Transport.worker_ends`."""
        self.number = number
        self.bulk = bulk
        self.tasks, self.sleepers, self.starved = queues
        self.bell, self.results = descriptors
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
        channels.put(self.bulk, frame)
        channels.write(
            self.results, bytes(channels.HEADER) + self.bulk.to_bytes(channels.QUEUE_ID, "little")
        )

    def next_message(self) -> Any:
        """Take the next item of the task queue, sleeping while there is none."""
        while True:
            item = self.take_task()
            if item is not None:
                return item
            channels.put_token(self.sleepers)
            item = self.take_task()
            if item is not None:
                # Take the announcement back. If main has taken it, its ring wakes somebody in vain.
                # Nobody waits for it here: another worker, about to sleep, may hear it first, and
                # this one would wait for ever with a task in its hands.
                channels.take_token(self.sleepers)
                return item
            os.read(self.bell, 1)

    def take_task(self) -> Any:
        """Take an item of the task queue, or None; tell main if it was the last and more wait.

        Main asks for that after filling the queue, so whoever takes the last of those items sees
        the request, though every other worker be asleep.
        """
        item = channels.take(self.tasks)
        if (
            item is not None
            and not _interpqueues.get_count(self.tasks)
            and channels.take_token(self.starved)
        ):
            self.send(self.number, channels.HUNGRY, None)
        return item

    def serve(self) -> None:
        """Answer messages until `STOP`."""
        while True:
            item = self.next_message()
            if item == channels.STOP:
                return
            self.current, environment, *message = item
            del item  # no task's data outlives the task here
            surroundings.adopt(environment)
            kind, payload = outcomes.outcome_of(message)
            del message
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
        kind, payload = outcomes.outcome_of(initializer)
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
