"""The loop of a worker, in its interpreter.

It guarantees:

* Every message taken from the task queue is answered with one frame (`outcomes`).
* The loop sleeps in one place, a read of the doorbell, and no task waits meanwhile: whoever puts
  one rings afterwards, and whoever takes one and leaves others rings before it runs what it took.
* What it does is on its board (`channels.TASK` and those that follow), for main to look at. It
  names each task there before anything of that is loaded or run, and looks afterwards whether it is
  to say so; main asks first and looks at the board afterwards, so one sees the other.
* It leaves when it takes `STOP`, when it has done as many tasks as it may, or when its board says
  so; in the latter two cases it takes no task before. Its board says which (`channels.STOPPED`).

It assumes that the queues it is given stay until its last frame, ``LEFT``, has been read, and the
descriptors until its interpreter is gone: what is left there may have a word to say (`tell`).
"""

import _interpqueues
import _thread
import marshal
import os
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any

    from interpool._inside import channels, gate, outcomes, surroundings, tracing, values
else:
    import _interpool_channels as channels
    import _interpool_gate as gate
    import _interpool_outcomes as outcomes
    import _interpool_surroundings as surroundings
    import _interpool_values as values

sys.modules["_interpool_loop"] = sys.modules["interpool._inside.loop"]
__name__ = "_interpool_loop"

# Parts of a pickled payload, its context included, that go in one: in more pieces they are large.
FEW = 2

# Nanoseconds before its last task is done at which a worker says so: what it takes to have another
# one ready by then. To that it adds so many times what its own imports and initializer took: the
# other one's have to share the cores with tasks.
NOTICE = 25_000_000
SLOWER = 2

type Ends = tuple[channels.Queues, tuple[int, int, int]]  # see `Transport.worker_ends`
type Board = Any  # a memoryview of numbers of 8 bytes

_now = time.monotonic_ns


class Loop:
    """One worker: takes messages from the shared queue and answers them until it is to leave."""

    def __init__(
        self,
        board: Board,
        number: int,
        bulk: int,
        ends: Ends,
        most: int | None = None,
    ) -> None:
        """Make one.

        Args:
            board: the worker's.
            number: the worker's.
            bulk: its bulk queue.
            ends: see `Transport.worker_ends`.
            most: how many tasks it may do; None: any number.
        """
        self.board = board
        self.most = most
        self.notice = NOTICE
        self.number = number
        self.bulk = bulk
        (self.tasks, self.rings, self.starved), (self.bell, self.bell_in, self.results) = ends
        self.ebb: tuple[int, int] | None = None  # a pipe, made when the bulk queue is first full
        self.current: int | None = None  # the task being run, for the frame DIED
        # When it was submitted (`time.monotonic_ns`; negative if main is to be told when it
        # begins, 0 if nobody wants to know), and when it began.
        self.measured = self.began = 0
        self.trace: tracing.Recorder | None = None  # while it takes down what it does

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
        """Take the next item of the task queue, sleeping while there is none; None: leave.

        Before it sleeps, others that wait for this core go first, once: a wake-up costs both sides
        more than a short task, and where tasks come in a stream the next one is there by then.
        """
        item = self.take_task()
        if item is not None:
            return item
        while item is None:
            channels.give_way()
            if (item := self.take_task()) is not None:
                break
            if (trace := self.trace) is not None:  # once: another thread ends it
                trace.flush_stale()
            self.board[channels.SLEEPS_SINCE] = _now()
            self.board[channels.TASK] = 0
            # Given up since it last looked: nobody would wake it. Main does it the other way round,
            # so one sees the other (`Staff.abandon`).
            if self.board[channels.LEAVE]:
                return None
            channels.hear(self.rings, self.bell)
            item = self.take_task()
            # Who has answered a ring sees to the others that were put before it. What is put from
            # then on brings a ring of its own, so nobody else needs to look.
            if item is not None and _interpqueues.get_count(self.tasks):
                channels.ring(self.rings, self.bell_in)
        if (trace := self.trace) is not None:
            trace.woken = _now()
        return item

    def take_task(self) -> Any:
        """Take an item of the task queue, or None.

        If there are few left and main has more, tell it: it asks for that after filling the queue,
        so whoever takes the last of those items sees the request. All queues of the process share
        a lock that is what workers with short tasks wait for: this takes it as seldom as can be.
        """
        item = channels.take_next(self.tasks)
        if (
            item is not None
            and _interpqueues.get_count(self.starved)
            and _interpqueues.get_count(self.tasks) <= channels.LOW
            and channels.take_token(self.starved)
        ):
            self.send(self.number, channels.HUNGRY, None)
        return item

    def serve(self) -> None:
        """Answer messages until `STOP`, or until it is time to leave."""
        board, done, most = self.board, 0, self.most
        since = _now() if most else 0
        is_retiring = False
        while not board[channels.LEAVE] and (most is None or done < most):
            if most is not None and not is_retiring and self.is_near_end(done, most, since):
                is_retiring = True
                self.send(self.number, channels.RETIRING, None)
            item = self.next_message()
            if not item:
                # Whether it was its own or another one's, main sees to it that nobody lacks one.
                board[channels.STOPPED] = item is not None
                return
            head, *large = (item,) if type(item) is bytes else item
            task, measured, environment, *parts = marshal.loads(head)
            self.current = board[channels.TASK] = task
            trace = self.heed(task) if board[channels.HEED] else None
            if trace is not None:
                trace.take(task, measured, parts[0], head, large)
                measured = measured or channels.UNTIMED
            del item, head  # no task's data outlives the task here
            surroundings.adopt(environment)
            self.measured, self.began = measured, 0
            begin = self.note_begin if measured else None
            kind, payload = outcomes.outcome_of(task, parts, large, begin)
            del parts, large
            number = payload[3] if kind == channels.EACH else 1
            if self.began:
                spent = _now() - self.began
                self.note_time(channels.RUNS, channels.FIRST_RUN, spent // (number or 1))
            done += number
            surroundings.flush()  # before the answer: it is read in that order
            board[channels.DONE] = done
            if trace is not None:
                trace.is_answering = True
            try:
                self.send(task, kind, payload)
            except (ValueError, MemoryError) as error:  # more than marshal or memory takes
                self.send(task, channels.FAILED, outcomes.describe(error, "result"))
            if trace is not None:
                trace.answer(kind, payload)
            del payload
            self.current = None

    def is_near_end(self, done: int, most: int, since: int) -> bool:
        """Whether, as things go, the last task it may do is soon done."""
        left = most - done
        return left <= 1 or (done > 0 and (_now() - since) // done * left < self.notice)

    def heed(self, task: int) -> tracing.Recorder | None:
        """Do what the board asks for at the begin of a task; return what takes it down."""
        asked = self.board[channels.HEED]
        if asked & channels.SAY:
            self.send(self.number, channels.NAMED, task)
        number, trace = asked // channels.TRACE, self.trace
        if number and (trace is None or trace.number != number):
            if trace is not None:
                trace.close()
            trace = self.trace = values.module_inside("tracing").Recorder(
                number, self.number, self.results, self.board, channels.BEGAN
            )
            trace.watch()
        return trace if number else None

    def note_begin(self, task: int) -> tracing.Recorder | None:
        """Take down how long a task has waited, when all is loaded and its function is called."""
        self.began = now = _now()
        if self.measured < 0:
            self.send(self.number, channels.TAKEN, (task, now))
        if self.measured != channels.UNTIMED:
            self.note_time(channels.WAITS, channels.FIRST_WAIT, now - abs(self.measured))
        trace = self.trace
        return None if trace is None else trace.begin(now)

    def note_time(self, count: int, first: int, nanoseconds: int) -> None:
        """Write a time into one of the board's rings, which begins there, and count it."""
        board = self.board
        board[first + board[count] % channels.RING] = nanoseconds
        board[count] += 1

    def run(
        self,
        names: tuple[str, str],
        environment: bytes,
        preload: tuple[str, ...],
        initializer: outcomes.Message | None,
    ) -> None:
        """The thread of a worker, from its first import to its last frame."""
        # Made now and written bare: whatever a task has done to this module, its end is heard of.
        last = channels.with_length(marshal.dumps((self.number, channels.LEFT, None)))
        try:
            since = _now()
            try:
                surroundings.begin(self.number, self.results, names, environment)
            finally:
                settled.release()
            # First: who terminates a pool strikes the initializers of those that have not begun,
            # and of those that prepare; there must be nothing in between.
            self.board[channels.TASK] = channels.PREPARING
            self.send(self.number, channels.BEGUN, None)
            note = None
            if self.board[channels.HEED] and (trace := self.heed(channels.PREPARING)) is not None:
                trace.begin_worker(self.board[channels.BEGAN] or since, "interpreter")
                note = trace.note_prepared
            failure = outcomes.prepare(preload, initializer, note)
            self.board[channels.TASK] = 0
            surroundings.flush()
            self.notice += SLOWER * (_now() - since)
            if failure is None:
                admission.acquire()  # to a place that another worker may still hold
                self.serve()
            else:
                self.send(self.number, channels.UNSTARTED, failure)
        except BaseException as error:
            self.send(
                self.number, channels.DIED, (self.current, outcomes.describe(error, "worker"))
            )
        finally:
            try:
                if (trace := self.trace) is not None:
                    trace.close()
            finally:
                for fd in self.ebb or ():
                    os.close(fd)
                channels.write(self.results, last)


_handle = _thread._ThreadHandle()
_loop: Loop | None = None
admission = _thread.allocate_lock()
# Held while the loop's thread sets the worker up: it must not meet what a strike has half imported.
settled = _thread.allocate_lock()


def start(
    board: Board,
    number: int,
    bulk: int,
    ends: Ends,
    most: int | None,
    is_admitted: bool,
    names: tuple[str, str],
    environment: bytes,
    preload: tuple[str, ...],
    initializer: outcomes.Message | None,
    given: Any,
) -> None:
    """Start the loop in a thread of this interpreter, so that the interpreter can be entered."""
    global _loop  # noqa: PLW0603 - one interpreter, one loop
    channels.register_queue_errors()
    values.given = given
    loop = _loop = Loop(board, number, bulk, ends, most)
    settled.acquire()
    if not is_admitted:
        admission.acquire()

    def run() -> None:
        _thread.set_name(names[1])
        loop.run(names, environment, preload, initializer)

    _thread.start_joinable_thread(run, handle=_handle, daemon=False)


# --- Called in the host's thread, while the loop goes on -----------------------------------------


def admit() -> None:
    """Let a worker that was started ahead of its time take tasks."""
    admission.release()


def strike(task: int) -> None:
    """Interrupt a task if this worker runs it, and tell main where it was."""
    with settled:
        gate.catch_lost(task, gate.strike_here)
        places = gate.strike(task)
        if places is None:
            gate.catch_none()
    if places is None or _loop is None:
        return
    while len(frame := marshal.dumps((_loop.number, channels.HIT, (task, places)))) > _FRAME:
        del places[len(places) // 2 :]  # where it is tells more than where it came from
    channels.write(_loop.results, channels.with_length(frame))


_FRAME = channels.ATOMIC_WRITE - channels.HEADER


def forget(task: int) -> None:
    """A task that was not struck here has ended."""
    gate.forget(task)


def end_trace(number: int) -> None:
    """Take down nothing more for a trace, and say so, when all that was is sent."""
    loop = _loop
    if loop is None:
        return
    if (trace := loop.trace) is not None and trace.number == number:
        loop.trace = None
        trace.end_trace()
    else:
        frame = marshal.dumps((loop.number, channels.TRACED, (number, 0, None)))
        channels.write(loop.results, channels.with_length(frame))


def tell(kind: int) -> None:
    """Tell main of this interpreter, from any thread; where there is no loop, nobody."""
    if _loop is not None:
        frame = marshal.dumps((_loop.number, kind, None))
        channels.write(_loop.results, channels.with_length(frame))


def join() -> None:
    """Wait for the loop's thread to be gone. An interpreter may be ended only then."""
    _handle.join()
    if _loop is not None:
        _loop.board[channels.THREADS] = len(sys._current_frames()) - 1
