"""Batches of records on their way to a pool and back.

A thread reads, cuts what it has read into batches and submits them; this one takes what comes back,
in order or as it comes, and has it written. A record is read while the results of those before it
are waited for, and no further than so many batches ahead: a reader of the output that is slow slows
the reading down, and memory is bounded whatever the input.

Batches take some ten milliseconds by what was measured last, a hundred on a cluster. A worker hands
back what it has not begun of one that takes far longer; that is cut up and submitted again.
"""

import queue
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, replace
from typing import Final

from interpool import ProcessDied, TaskTimeout
from interpool._mapping.inside import Failure, Outcome, Row, Work, cut, records_of
from interpool._mapping.journal import State
from interpool._mapping.places import Place
from interpool._mapping.reading import Block

# Batches on their way, for each worker: with results in order, what a slow one holds up.
_AHEAD: Final = 16
_GROWTH: Final = 8  # arbitrary: of a batch's size, from one measurement to the next
_MOST: Final = 1 << 20  # records in a batch; a block has fewer


@dataclass(slots=True)
class _Whole:
    """A block as it was sent first.

    Attributes:
        parts: how many there are of it on their way, since a worker may have handed some back. They
            come back in any order, and the last of them makes room for another block.
    """

    parts: int = 1


@dataclass(slots=True)
class _Batch:
    """A block on its way.

    Attributes:
        position: of its first record, in the whole of the input.
        whole: what it is a part of.
    """

    block: Block
    position: int
    future: Future[Outcome]
    whole: _Whole


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the input.

    Attributes:
        error: what has ended it, if not its end.
        submitted: how many blocks there were.
    """

    error: BaseException | None
    submitted: int


class Run:
    """One run of a function over blocks.

    Args:
        place: where it runs.
        work: the function, and how its records are read.
        chunksize: records in a batch; None: by what is measured. A batch of one is asked for where
            the pool limits tasks or runs them again, for then each is a record's.
        is_ordered: whether results come in order.
        state: what has been done before.
    """

    def __init__(
        self,
        place: Place,
        work: Work,
        *,
        chunksize: int | None,
        is_ordered: bool,
        state: State,
    ) -> None:
        self._place = place
        self._work = work
        self._workers = place.workers()  # for which there is room
        self._is_fixed = chunksize is not None
        self._size = chunksize or 1
        self._is_ordered = is_ordered
        self._state = state
        self._room = threading.Semaphore(_AHEAD * self._workers)
        # Held while a batch is submitted and while the run is ended, so none comes afterwards.
        self._submitting = threading.Lock()
        self._is_ended = False
        # What is to be taken next: batches as they were sent, or as they came back; then the end,
        # with what has ended it.
        self._next: queue.SimpleQueue[_Batch | _End] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None

    def outcomes(self, blocks: Iterator[Block]) -> Iterator[tuple[Block, int, Outcome]]:
        """Yield what becomes of the blocks' records, with a block and the position of its first.

        Raises:
            InputError: if the input cannot be read further, when all before has been yielded.
            BrokenExecutor: if no worker can be made ready, or the cluster is gone, or lacks
                something.
        """
        self._reader = threading.Thread(
            target=self._read, args=(blocks,), name="interpool-map-reader", daemon=True
        )
        self._reader.start()
        try:
            yield from self._taken()
        finally:
            self.end()

    def end(self) -> None:
        """Have nothing more submitted."""
        with self._submitting:
            self._is_ended = True
        self._room.release()  # the reader, if it waits there; it may also wait for input, for ever

    # --- The reader's thread -------------------------------------------------------------------

    def _read(self, blocks: Iterator[Block]) -> None:
        end: BaseException | None = None
        submitted = 0
        try:
            position = 0
            for block in blocks:
                for start, stop in self._state.left(position, block.count):
                    part = block.part(start, stop)
                    here = position + start
                    for piece in part.pieces(self._size_when_there_is_room):
                        if (batch := self._submit(piece, here, _Whole())) is None:
                            return
                        submitted += 1
                        self._expect(batch)
                        here += piece.count
                position += block.count
                if self._is_ended:
                    return
        except BaseException as error:  # raised where the results are taken
            end = error
        finally:
            self._next.put(_End(end, submitted))

    def _size_when_there_is_room(self) -> int:
        self._room.acquire()
        return self._size

    def _submit(self, block: Block, position: int, whole: _Whole) -> _Batch | None:
        with self._submitting:
            if self._is_ended:
                return None
            future = self._place.calls.submit(self._work, block.payload)
            return _Batch(block, position, future, whole)

    def _expect(self, batch: _Batch) -> None:
        if self._is_ordered:
            self._next.put(batch)
        else:
            batch.future.add_done_callback(lambda _: self._next.put(batch))

    # --- The thread that takes what comes back -------------------------------------------------

    def _taken(self) -> Iterator[tuple[Block, int, Outcome]]:
        first: deque[_Batch] = deque()  # what was handed back comes before what was sent later
        taken = 0
        end: _End | None = None
        while end is None or taken < end.submitted:
            it = first.popleft() if first else self._next.get()
            if isinstance(it, _End):
                end = it
                continue
            outcome = self._outcome(it)
            rests = self._submit_again(it, outcome)
            if self._is_ordered:
                first.extendleft(reversed(rests))
            else:
                for rest in rests:
                    self._expect(rest)
            yield it.block, it.position, outcome
            it.whole.parts -= 1
            if not it.whole.parts:
                taken += 1
                self._room.release(1 + self._room_for_newcomers())
        if end.error is not None:
            raise end.error

    def _room_for_newcomers(self) -> int:
        """How many batches more may be on their way, for workers that have come since."""
        more = max(0, self._place.workers() - self._workers)
        self._workers += more
        return _AHEAD * more

    def _outcome(self, batch: _Batch) -> Outcome:
        try:
            outcome = batch.future.result()
        except ProcessDied as error:  # of the batch as a whole
            return self._failed(batch.block, error)
        except BrokenExecutor:
            raise  # nothing that comes would be better off
        except Exception as error:  # of the batch as a whole, too: a limit
            self._place.check(error, self._work.__qualname__)
            return self._failed(batch.block, error)
        if not self._is_fixed and outcome.done:
            wanted = self._place.batch * outcome.done / max(outcome.seconds, 1e-6)
            self._size = max(1, min(int(wanted), self._size * _GROWTH, _MOST))
        return outcome

    def _submit_again(self, batch: _Batch, outcome: Outcome) -> list[_Batch]:
        """Submit what a worker has handed back, in parts that all workers can take up."""
        if outcome.rest is None:
            return []
        block, done = batch.block, outcome.done
        left = block.count - done
        size = max(self._size if not self._is_fixed else left, -(-left // (2 * self._workers)))
        parts = []
        for start in range(0, left, size):
            end = min(start + size, left)
            payload = cut(outcome.rest, start, end)
            part = replace(
                block, first=block.first + done + start, payload=payload, count=end - start
            )
            if (sent := self._submit(part, batch.position + done + start, batch.whole)) is not None:
                batch.whole.parts += 1
                parts.append(sent)
        return parts

    def _failed(self, block: Block, error: Exception) -> Outcome:
        said = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(error, TaskTimeout):
            # Where it was is for the traceback, and the class has a name that users know it by.
            said = f"interpool.TaskTimeout: {str(error).partition('. It was here:')[0]}"
        lines = "".join(traceback.format_exception(type(error), error, None))
        records = records_of(block.payload)
        nothing: bytes | list[Row] = [] if self._work.form == "csv" else b""
        if self._work.stops:
            return Outcome(
                0, nothing, [Failure(0, records[0], said, lines)], 0, None, is_stopped=True
            )
        failures = [Failure(at, record, said, lines) for at, record in enumerate(records)]
        return Outcome(block.count, nothing, failures, 0, None, is_stopped=False)
