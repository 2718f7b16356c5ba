"""What crosses between interpreters, in both directions, as bytes.

A message is `marshal` of the function's definition and the arguments, either as they are, where
marshal carries each exactly, or as a pickle. marshal is part of every interpreter and faster than
pickle; a worker whose tasks never need a pickle never imports it. Large arguments travel beside it.

Errors are staged: each names the function or the argument that cannot be sent, and why.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from interpool import _functions
from interpool._errors import TransferError
from interpool._failures import Failure
from interpool._inside import channels, outcomes, values
from interpool._pickling import Keeps, parcel

_is_plain_set: Final = values.PLAIN_TYPES.issuperset
# Those of them that are never large enough to travel by themselves (an int may be, and is not).
_SMALL_TYPES: Final = values.PLAIN_TYPES - outcomes.APART_TYPES


type Request = tuple[outcomes.Message, Keeps]
"""A message, and what must not go before its answer is loaded."""


@dataclass(frozen=True, slots=True)
class Packed:
    """An item whose arguments are a small pickle."""

    context: values.Context
    data: bytes
    keeps: Keeps


type Item = tuple[Any, ...] | Packed
"""An item of a `map`, encoded: its arguments as they are, if marshal carries each, or pickled."""


@dataclass(frozen=True, slots=True)
class Block:
    """Items that may travel together, or apart.

    Attributes:
        items: the items.
        is_plain: whether none is `Packed`.
    """

    items: Sequence[Item]
    is_plain: bool

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.items)

    @property
    def keeps(self) -> Keeps:
        """What must not go before their outcomes are loaded."""
        if self.is_plain:
            return ()
        kept = (it for item in self.items if isinstance(item, Packed) for it in item.keeps)
        return tuple({id(it): it for it in kept}.values())

    def part(self, start: int, end: int | None = None) -> Block:
        """Some of them."""
        return Block(self.items[start:end], self.is_plain)


def weight_of(items: Iterable[Item]) -> int:
    """How many bytes, about, the strings and pickles in some items are."""
    weight = 0
    for item in items:
        if isinstance(item, Packed):
            weight += len(item.data)
        else:
            weight += sum(len(it) for it in item if type(it) in outcomes.APART_TYPES)
    return weight


@dataclass(frozen=True, slots=True)
class Prepared:
    """Items that travel together and apart from others, in a message of their own."""

    count: int
    request: Request


@dataclass(frozen=True, slots=True)
class Refused:
    """Items that cannot be sent."""

    count: int
    error: TransferError

    def as_exception(self, _name: str) -> TransferError:
        """What to raise in their turn."""
        return self.error


type Unit = Block | Prepared | Refused


class Call:
    """A function ready to be sent with any arguments: described once, for one `submit` or `map`."""

    __slots__ = ("definition", "keeps", "name")

    def __init__(self, name: str, definition: _functions.Definition, keeps: Keeps = ()) -> None:
        self.name = name
        self.definition = definition
        self.keeps = keeps

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Call:
        """Describe a function.

        Raises:
            TransferError: if it cannot be sent.
        """
        if (known := _functions.known(fn)) is not None:
            if known.call is None:
                known.call = cls(known.name, known.definition)
            call: Call = known.call
            return call
        name = name_of(fn)
        try:
            return cls(name, *_functions.define(fn))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            from interpool import _anatomy

            raise _anatomy.refusal(error, fn, f"the function {name}", "function") from error

    def message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        """The message that asks for `fn(*args, **kwargs)`.

        Raises:
            TransferError: if an argument cannot be sent.
        """
        kinds = {*map(type, args)}
        if kwargs:
            kinds.update(map(type, kwargs.values()))
        if kinds <= _SMALL_TYPES and (not kwargs or _is_plain_set(map(type, kwargs))):
            key, form = self.definition
            return ((key, form, outcomes.CALL_PLAIN, (args, kwargs)), ()), self.keeps
        apart: dict[int | str, Any] = {}
        if not kinds.isdisjoint(outcomes.APART_TYPES):
            args, kwargs, apart = _set_apart(args, kwargs)
        if _is_plain_set(kinds) and _is_plain_set(map(type, kwargs)):
            return self._message(outcomes.CALL_PLAIN, (args, kwargs), apart)
        try:
            context, segments, keeps = parcel((args, kwargs))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._explain(error, args, kwargs) from error
        return self._message(outcomes.CALL_PICKLED, segments, apart, context, keeps)

    def chunk(self, items: Sequence[tuple[Any, ...]]) -> Unit:
        """The unit that asks for `[fn(*args) for args in items]`, whole."""
        try:
            return Prepared(len(items), self._chunk_request(items))
        except TransferError as error:
            return Refused(len(items), error)

    def _chunk_request(self, items: Sequence[tuple[Any, ...]]) -> Request:
        if len(items) == 1:
            return self.message(items[0], {})
        if _is_plain_set(map(type, chain.from_iterable(items))):
            return self._message(outcomes.EACH_PLAIN, list(items))
        try:
            context, segments, keeps = parcel(list(items))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            for args in items:  # the first item that fails alone is the culprit
                self.message(args, {})
            raise self._explain(error, (), {}) from error
        return self._message(outcomes.EACH_PICKLED, segments, context=context, keeps=keeps)

    def units(self, items: Sequence[tuple[Any, ...]]) -> Sequence[Unit]:
        """The units that ask for `fn(*args)` for each of the items, as few as can be."""
        kinds = {*map(type, chain.from_iterable(items))}
        if kinds <= _SMALL_TYPES:
            return [Block(items, is_plain=True)]
        found: list[Unit] = []
        together: list[Item] = []
        for args in items:
            encoded = self._item(args)
            if isinstance(encoded, (Prepared, Refused)):
                if together:
                    found.append(Block(together, is_plain=False))
                    together = []
                found.append(encoded)
            else:
                together.append(encoded)
        return [*found, Block(together, is_plain=False)] if together else found

    def _item(self, args: tuple[Any, ...]) -> Item | Prepared | Refused:
        kinds = {*map(type, args)}
        is_large = not kinds.isdisjoint(outcomes.APART_TYPES) and any(
            type(it) in outcomes.APART_TYPES and len(it) >= channels.APART for it in args
        )
        if is_large:
            return self._whole(args)
        if _is_plain_set(kinds):
            return args
        try:
            # As a call has them: what turns out to be large is not pickled a second time.
            context, segments, keeps = parcel((args, {}))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._refuse(error, args)
        if len(segments) == 1 and len(segments[0]) < channels.APART:
            return Packed(context, segments[0], keeps)
        message = self._message(outcomes.CALL_PICKLED, segments, context=context, keeps=keeps)
        return Prepared(1, message)

    def _whole(self, args: tuple[Any, ...]) -> Prepared | Refused:
        """An item with strings or bytes that travel beside it."""
        try:
            return Prepared(1, self.message(args, {}))
        except TransferError as error:
            return Refused(1, error)

    def block_request(self, block: Block, budget: int) -> Request:
        """The message that asks for the items of a block, or for some of them.

        Args:
            block: the items.
            budget: nanoseconds after which no more of them are begun.
        """
        if block.is_plain:
            parts = outcomes.EACH_PLAIN, block.items, (), values.NO_CONTEXT, budget
            return ((*self.definition, *parts), ()), self.keeps
        packed: list[tuple[Any, Any]] = []
        last = None
        for item in block.items:
            if isinstance(item, Packed):
                # Most items of a map bring the same classes.
                context = outcomes.SAME if item.context == last else item.context
                packed.append((context, item.data))
                last = item.context
            else:
                packed.append((None, item))
        parts = outcomes.EACH_PACKED, packed, (), values.NO_CONTEXT, budget
        return ((*self.definition, *parts), ()), self.keeps + block.keeps

    def _message(
        self,
        kind: int,
        payload: Any,
        apart: Mapping[int | str, Any] = MappingProxyType({}),
        context: values.Context = values.NO_CONTEXT,
        keeps: Keeps = (),
    ) -> Request:
        large = list(apart.values())
        if kind in _PICKLED and (len(payload) > 1 or len(payload[0]) >= channels.APART):
            large += payload
            payload = None
        message = (*self.definition, kind, payload, tuple(apart), context, 0), large
        return message, self.keeps + keeps

    def _refuse(self, error: BaseException, args: tuple[Any, ...]) -> Refused:
        refusal = self._explain(error, args, {})
        refusal.__cause__ = error
        return Refused(1, refusal)

    def _explain(
        self, error: BaseException, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> TransferError:
        """An error that names the first argument that cannot be sent by itself."""
        from interpool import _anatomy

        named: list[tuple[object, Any]] = [*enumerate(args, 1), *kwargs.items()]
        for name, value in named:
            try:
                parcel(value)
            except KeyboardInterrupt:
                raise
            except BaseException as own:
                place = f"argument {name}"
                return _anatomy.refusal(own, value, place, "argument", of=f" of {self.name}")
        of = f" of {self.name}"
        return _anatomy.refusal(error, (args, kwargs), "the arguments", "argument", of=of)


def name_of(fn: Callable[..., Any]) -> str:
    """Return by what name errors call a function."""
    if type(fn) is functools.partial:
        return f"partial({name_of(fn.func)})"
    try:
        name = getattr(fn, "__qualname__", None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object that does not like to be looked at
        name = None
    return name if isinstance(name, str) and name else f"{type(fn).__qualname__} object"


_PICKLED: Final = frozenset({outcomes.CALL_PICKLED, outcomes.EACH_PICKLED})


def _set_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[int | str, Any]]:
    """Take the large arguments out, None in their place, to travel beside the message."""
    named: Iterator[tuple[int | str, Any]] = chain(enumerate(args), kwargs.items())
    apart: dict[int | str, Any] = {
        place: value
        for place, value in named
        if type(value) in outcomes.APART_TYPES and len(value) >= channels.APART
    }
    if apart:
        args = tuple(None if place in apart else value for place, value in enumerate(args))
        kwargs = {name: None if name in apart else value for name, value in kwargs.items()}
    return args, kwargs, apart


# --- Coming back ---------------------------------------------------------------------------------


def load_result(payload: tuple[Any, ...], name: str, *, is_each: bool = False) -> Any:
    """Load the result of a function of that name: its context and the pieces of its pickle.

    Args:
        payload: as it came.
        name: the function's.
        is_each: whether it is a chunk's list of results.

    Raises:
        TransferError: if it does not load here.
    """
    context, *segments = payload
    try:
        return values.load(context, segments)
    except BaseException as error:  # SystemExit, too, is of some class's code and not this thread's
        raise _unloaded(error, context, segments, name, is_each=is_each) from error


def _unloaded(
    error: BaseException,
    context: values.Context,
    segments: Sequence[bytes],
    name: str,
    *,
    is_each: bool,
) -> TransferError:
    """The error that names what of a result did not load."""
    from interpool import _salvage

    places = _salvage.each if is_each else _salvage.whole
    path, *rest = _salvage.culprit_of(error, context, segments, places)
    return TransferError.of_loading("result", f"the result{path} of {name}", *rest)


class Chunk:
    """The outcomes of a chunk's items, in order, up to the first that failed."""

    __slots__ = ("_error", "_failed", "_values")

    def __init__(self, found: list[Any], failures: Mapping[int, Any], name: str) -> None:
        self._values = found
        # Loaded now, while its class is kept; whoever takes it asks for no more.
        self._failed = min(failures, default=None)
        self._error: BaseException | None = None
        if self._failed is not None:
            self._error = Failure.from_frame(failures[self._failed]).as_exception(name)

    def give(self, between: Callable[[], None] | None = None) -> Iterator[Any]:
        """Give the values away, kept here no longer; raise the exception of an item in its turn.

        Args:
            between: called between one value and the next.
        """
        found = self._values
        found.reverse()
        left = len(found) if self._failed is None else self._failed
        while left:
            left -= 1
            yield found.pop()
            if between is not None and found:
                between()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # whose traceback refers to this chunk


def load_chunk(outcome: tuple[int, Any, Mapping[int, Any], int, int], name: str) -> Chunk:
    """Load the outcomes of a chunk of calls of a function of that name.

    Raises:
        TransferError: if they do not load here.
    """
    kind, payload, failures, *_ = outcome
    found = payload
    if kind == channels.VALUE_PICKLED:
        found = load_result(payload, name, is_each=True)
    return Chunk(found, failures, name)
