"""What crosses between interpreters, in both directions, as bytes.

A message is `marshal` of the function's definition and the arguments, either as they are, where
marshal carries each exactly, or as a pickle. marshal is part of every interpreter and faster than
pickle; a worker whose tasks never need a pickle never imports it. Large arguments travel beside it.

Errors are staged: each names the function or the argument that cannot be sent, and why.
"""

import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from interpool import _functions
from interpool._errors import TransferError
from interpool._failures import Failure
from interpool._inside import channels, outcomes, values
from interpool._pickling import Keeps, parcel

_is_plain_set: Final = values.PLAIN_TYPES.issuperset


class Request(NamedTuple):
    """A message, and what must not go before its answer is loaded."""

    message: outcomes.Message
    keeps: Keeps


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
        name = _name_of(fn)
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
        kinds = {*map(type, args), *map(type, kwargs.values())} if kwargs else {*map(type, args)}
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

    def chunk_message(self, items: Sequence[tuple[Any, ...]]) -> Request:
        """The message that asks for `[fn(*args) for args in items]`.

        Raises:
            TransferError: if an argument cannot be sent.
        """
        if all(_is_plain_set(map(type, args)) for args in items):
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
        head = marshal.dumps((*self.definition, kind, payload, tuple(apart), context))
        return Request((head, *large), self.keeps + keeps)

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


def _name_of(fn: Callable[..., Any]) -> str:
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

    def __len__(self) -> int:
        return len(self._values)

    def take(self, index: int) -> Any:
        """The value of an item, given away: it is kept here no longer; or its exception raised."""
        if index == self._failed and self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # whose traceback refers to this chunk
        value, self._values[index] = self._values[index], None
        return value


def load_chunk(outcome: tuple[int, Any, Mapping[int, Any]], name: str) -> Chunk:
    """Load the outcomes of a chunk of calls of a function of that name.

    Raises:
        TransferError: if they do not load here.
    """
    kind, payload, failures = outcome
    found = payload
    if kind == channels.VALUE_PICKLED:
        found = load_result(payload, name, is_each=True)
    return Chunk(found, failures, name)
