"""The items of one `map` on their way: units that wait, pieces that travel, outcomes that arrived.

What it guarantees:

* Every item is in one place: among the units, in a piece that is sent, or arrived; so each is run
  once and yielded once. A worker that hands back part of a piece has not begun it.
* The items of a piece follow one another, so the arrivals, taken by their first index, make up the
  order.
* Nothing is kept longer than needed: units until they are sent (or handed back), outcomes until
  they are taken.

The engine's lock covers all of it. Users' code runs outside: items are encoded before they are
added, and results are loaded by the thread that takes them.
"""

import contextlib
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

from interpool import _codec
from interpool._batching import Batcher
from interpool._failures import Failure
from interpool._inside import channels
from interpool._interrupts import Deferred
from interpool._task import Task
from interpool._terms import PLAIN, Terms
from interpool._transport import item_of

if TYPE_CHECKING:
    from interpool._codec import Block, Call, Prepared, Unit
    from interpool._engine import Engine
    from interpool._lanes.base import Lane
    from interpool._pickling import Keeps


class Piece(Task):
    """Some items in a row, in one item of the task queue."""

    def __init__(self, lot: Lot, start: int, unit: Block | Prepared) -> None:
        self.lot = lot
        self.start = start
        self._count = unit.count
        self.block = unit if isinstance(unit, _codec.Block) else None  # some may be handed back
        self.is_divisible = self.block is not None and self._count > 1
        self._name = lot.call.name
        if isinstance(unit, _codec.Block):
            budget = int(lot.engine.timing.budget * 1e9)
            message, self.keeps = lot.call.block_request(unit, budget)
        else:
            message, self.keeps = unit.request
        engine = lot.engine
        self._task = engine.new_number()
        if lot.terms is PLAIN:
            self._item = item_of(self._task, lot.environment, message)
        else:
            self._item = engine.prepare(self, self._task, lot.terms, message, lot.environment)

    @property
    def is_wanted(self) -> bool:
        """Whether the map is still being taken from."""
        return not self.lot.is_cancelled

    def end_unheard(self, result: Any) -> bool:  # noqa: ARG002 - `Task` has it
        """Not this way: its result is one of several kinds."""
        return False

    def settle_withdrawn(self) -> None:
        """Nobody waits for a piece by itself."""


@dataclass(slots=True)
class Arrival:
    """The outcomes of some items in a row, as their frame brought them."""

    start: int
    count: int
    kind: int
    payload: Any
    keeps: Keeps = ()  # until it is loaded

    def load(self, name: str) -> _codec.Chunk:
        """Make the values of it; `name` is the function's.

        Raises:
            BaseException: what has happened to all of them.
        """
        match self.kind:
            case channels.EACH:
                return _codec.load_chunk(self.payload, name)
            case channels.VALUE_PLAIN:
                return _codec.Chunk([self.payload], {}, name)
            case channels.VALUE_PICKLED:
                return _codec.Chunk([_codec.load_result(self.payload, name)], {}, name)
            case channels.FAILED:
                raise Failure.from_frame(self.payload).as_exception(name)
            case _:
                raise self.payload.as_exception(name)


class Waiter(Protocol):
    """Whoever waits for an arrival."""

    def release(self) -> None:
        """Let it go on. The engine's lock is held."""


class Bell:
    """A waiter that no thread sleeps for: something is called, under no lock."""

    def __init__(self, engine: Engine, ring: Callable[[], object]) -> None:
        self._engine = engine
        self._ring = ring

    def release(self) -> None:
        """Have it called by whoever settles next."""
        self._engine.settle_later(self)

    def settle_withdrawn(self) -> None:
        """Call it."""
        self._ring()


class Lot:
    """The items of one `map`, in the engine's backlog until all are sent.

    Attributes:
        call: the function.
        unsent: how many items wait to be sent.
        terms: those of each task.
        is_complete: whether no more will be added.
        is_in_backlog: whether it waits somewhere for its items to be sent.
        lane: where they go, if not to the interpreters.
        is_cancelled: whether nobody will take anything any more.
    """

    def __init__(
        self, engine: Engine, call: Call, *, is_ordered: bool, terms: Terms = PLAIN
    ) -> None:
        self.engine = engine
        self.terms = terms
        self.call = call
        self.environment = engine.environment()
        self.unsent = 0
        self.is_complete = False
        self.is_in_backlog = False
        self.lane: Lane | None = None
        self._is_ordered = is_ordered
        seconds = engine.paces.get(call.definition[0])
        self._batcher = Batcher(engine.staff.most, seconds, engine.timing)
        self._units: deque[Unit] = deque()
        self._next = 0  # the index of the first item there
        self._returned: list[tuple[int, Block]] = []  # what was handed back, by index
        self._sent: dict[int, Piece] = {}  # by the first index
        self._items_sent = 0
        self._arrived: dict[int, Arrival] = {}  # in the order in which they came
        self._position = 0  # of the item that is taken next, if they are taken in order
        self.is_cancelled = False
        self._ending: Callable[[], BaseException] | None = None  # for items that never come
        self._is_short = False  # whether there are such items
        self._waiter: Waiter | None = None  # a lock, if a thread waits for an arrival

    # --- asked by the thread that maps -----------------------------------------------------------

    @property
    def worth_sending(self) -> int:
        """How many items make up a piece that is worth sending."""
        return self._batcher.wanted

    def add(self, units: Sequence[Unit]) -> None:
        """Add encoded items, to be sent when there is room; none if it has been cancelled.

        Raises:
            BrokenInterpreterPool, RuntimeError: if the pool takes nothing any more, or the system
                gives no thread that this takes.
        """
        with Deferred(), self.engine.lock:
            if self.is_cancelled:
                return
            self.engine.check_open()
            self.engine.make_ready(self.terms)
            self._units += units
            self.unsent += sum(unit.count for unit in units)
            self.engine.send_lot(self)
        self.engine.hire()

    def take(self, deadline: float | None) -> _codec.Chunk | None:
        """Return the next outcomes, waiting for them; None if there are no more.

        Args:
            deadline: when to give up, as `time.monotonic` has it; None: never.

        Raises:
            TimeoutError: if the time is up.
            CancelledError: if they were cancelled by the pool's end.
            BaseException: what has happened to all of them.
        """
        while True:
            with Deferred(), self.engine.lock:
                # Only under the lock is it sure: items move from one place to the next meanwhile.
                if self._is_there():
                    arrival = self._pop()
                    break
            self._wait(deadline)
        return None if arrival is None else arrival.load(self.call.name)

    def take_nowait(self, bell: Bell) -> tuple[bool, _codec.Chunk | None]:
        """Do what `take` does if it need not wait; else have a bell rung when it is worth asking.

        Of a cancelled lot there is nothing to be had, and that as soon as nothing of it runs.

        Returns:
            Whether it need not wait, and the outcomes; None if all that was added has been taken.

        Raises:
            CancelledError, BaseException: as `take` does.
        """
        with Deferred(), self.engine.lock:
            self.forget_bell()
            if not self._is_there():
                self._waiter = bell
                self.engine.listen()
                return False, None
            arrival = self._pop()
        return True, None if arrival is None else arrival.load(self.call.name)

    def forget_bell(self) -> None:
        """Ring nothing any more."""
        with Deferred(), self.engine.lock:
            if self._waiter is not None:
                self._waiter = None
                self.engine.listen_no_more()

    def stop(self, grace: float) -> None:
        """Cancel, and interrupt what workers have taken, which has so many seconds to stop."""
        self.cancel()
        with Deferred(), self.engine.lock:
            running = [*self._sent.values()]
        for piece in running:
            self.engine.interrupt(piece, grace)

    def cancel(self) -> None:
        """Withdraw what no worker has taken; forget what has come and what will."""
        with Deferred(), self.engine.lock:
            self.is_cancelled = True
            # Others in their place, for this may be a finalizer in the midst of using those.
            self._units, self._returned, self._arrived = deque(), [], {}
            self.engine.tasks.tally.cancelled += self.unsent
            self.unsent = 0
            self.engine.withdraw([*self._sent.values()])

    def _first_arrived(self) -> int:
        return self._position if self._is_ordered else next(iter(self._arrived), -1)

    def _pop(self) -> Arrival | None:
        """Take what has arrived; None if there is nothing more."""
        arrival = self._arrived.pop(self._first_arrived(), None)
        if arrival is not None:
            self._position = arrival.start + arrival.count
        elif self._is_short and self._ending is not None:
            raise self._ending()
        return arrival

    def _is_there(self) -> bool:
        """Whether `take` need not wait."""
        if self.is_cancelled:
            return not self._sent
        if self._first_arrived() in self._arrived:
            return True
        if self._position in self._sent if self._is_ordered else self._sent:
            return False
        return not self.unsent

    def _wait(self, deadline: float | None) -> None:
        engine = self.engine
        engine.wait_for(self._is_there, _left(deadline))
        waiter = threading.Lock()
        waiter.acquire()
        try:
            with Deferred(), engine.lock:
                if self._is_there():
                    return
                self._waiter = waiter
                engine.listen()
            left = _left(deadline)
            if not waiter.acquire(timeout=-1 if left is None else left):
                raise TimeoutError
        finally:
            with Deferred(), engine.lock:
                if self._waiter is waiter:
                    self._waiter = None
                    engine.listen_no_more()

    # --- asked by the engine, under its lock ------------------------------------------------------

    @property
    def is_urgent(self) -> bool:
        """Whether workers may run dry before anybody comes by who sends more."""
        return self._batcher.is_learning

    def next_piece(self, waiting: int) -> Piece | None:
        """Make the piece that is to be sent next; None if there is none, or not now.

        Args:
            waiting: how many tasks wait in the task queue.
        """
        self._pass_over_refused()
        if not self.unsent or self._is_waiting_enough(waiting):
            return None
        taken = self._take_unit()
        piece = None if taken is None else Piece(self, *taken)
        if piece is None or self.is_cancelled:  # by a finalizer, meanwhile
            return None
        self.unsent -= piece._count
        self._items_sent += piece._count
        self._sent[piece.start] = piece
        return piece

    def _pass_over_refused(self) -> None:
        units = self._units
        while units and isinstance(refused := units[0], _codec.Refused):
            arrival = Arrival(self._next, refused.count, channels.DIED, refused)
            if self.is_cancelled:
                return
            units.popleft()
            self._arrived[self._next] = arrival
            self._next += refused.count
            self.unsent -= refused.count
            self.engine.tasks.tally.failed += refused.count
            self._wake()

    def account(self, piece: Piece, kind: int, payload: Any) -> None:
        """Take note of an answer: how long it took, and what was handed back."""
        if kind != channels.EACH:
            return
        *_, done, nanoseconds = payload
        if done:
            self._batcher.learn(done, nanoseconds / 1e9)
            self.engine.paces.note(self.call.definition[0], self._batcher.seconds or 0.0)
        if done < piece._count and (self._ending is not None or self.is_cancelled):
            self._is_short = True
            self.engine.tasks.tally.cancelled += piece._count - done
        elif piece.block is not None and done < piece._count:
            insort(self._returned, (piece.start + done, piece.block.part(done)), key=_START)
            if not self.is_cancelled:  # meanwhile, by a finalizer
                self.unsent += piece._count - done
        self._items_sent -= piece._count - done
        piece._count = done
        piece.block = None

    def deliver(self, piece: Piece, kind: int, payload: Any) -> None:
        """Keep the outcomes of a piece for the thread that takes them, and wake it if it waits."""
        if self._sent.pop(piece.start, None) is not None:
            self._items_sent -= piece._count
        if not self.is_cancelled and piece._count:
            arrival = Arrival(piece.start, piece._count, kind, payload, piece.keeps)
            self._arrived[piece.start] = arrival
        self._wake()

    def withdraw(self, piece: Piece) -> None:
        """Put up with a piece that was withdrawn: the lot is cancelled, or will be ended."""
        del self._sent[piece.start]
        self._items_sent -= piece._count
        self._is_short = True

    def end(self, ending: Callable[[], BaseException]) -> None:
        """Send no more: whoever takes what was not sent, or was withdrawn, meets this error."""
        self._ending = ending
        self._is_short = self._is_short or self.unsent > 0
        self._units, self._returned = deque(), []
        self.engine.tasks.tally.cancelled += self.unsent
        self.unsent = 0
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and self._is_there():
            with contextlib.suppress(RuntimeError):  # an interrupt has woken it (`_inside.gate`)
                self._waiter.release()
            self._waiter = None
            self.engine.listen_no_more()

    def _is_waiting_enough(self, waiting: int) -> bool:
        pieces = len(self._sent)
        if not pieces or (self._units and isinstance(self._units[0], _codec.Prepared)):
            return False  # of what is not to be sized, all goes that there is room for
        return self._batcher.is_enough(waiting, self._items_sent * waiting // pieces)

    def _take_unit(self) -> tuple[int, Block | Prepared] | None:
        """Take what is to travel next, and the index of its first item."""
        # A finalizer that cancels puts others in the place of these.
        start, units, returned = self._next, self._units, self._returned
        size = self._batcher.size(self.unsent, is_all=self.is_complete)
        if returned:
            start, block = returned[0]
            if block.count > size:
                returned[0] = start + size, block.part(size)
                return start, block.part(0, size)
            return returned.pop(0)
        if not units:
            return None
        unit = units.popleft()
        assert not isinstance(unit, _codec.Refused)  # noqa: S101 - those are passed over
        if self.engine.timing.is_joined and isinstance(unit, _codec.Block):
            unit = _joined(unit, units, size)
        if isinstance(unit, _codec.Block) and unit.count > size:
            units.appendleft(unit.part(size))
            unit = unit.part(0, size)
        self._next += unit.count
        return start, unit


_START: Final = itemgetter(0)
# Bytes of items behind which no more are joined to a piece: what a piece weighs is to be small
# beside what a worker keeps. Arbitrary.
_WEIGHT: Final = 1 << 20


def _joined(block: Block, units: deque[Unit], size: int) -> Block:
    """Take blocks that follow one another, and are of one kind, until they make up a piece."""
    items = list(block.items)
    weight = 0 if block.is_plain else _codec.weight_of(items)
    while len(items) < size and weight < _WEIGHT and units:
        following = units[0]
        if not isinstance(following, _codec.Block) or following.is_plain != block.is_plain:
            break
        units.popleft()
        items += following.items
        weight += 0 if block.is_plain else _codec.weight_of(following.items)
    return _codec.Block(items, block.is_plain)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0)
