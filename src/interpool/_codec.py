"""What crosses between interpreters, in both directions, as bytes.

A message is `marshal` of the function's definition and the arguments, either as they are, where
marshal carries each exactly, or as a pickle. marshal is part of every interpreter and faster than
pickle; a worker whose tasks never need a pickle never imports it. Large arguments travel beside it.

Errors are staged: each names the function or the argument that cannot be sent, and why.
"""

import io
import marshal
import pickle
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from interpool import _functions, _remote
from interpool._errors import TransferError
from interpool._failures import Failure

_is_plain_set: Final = _remote.PLAIN_TYPES.issuperset


class Pickler(pickle.Pickler):
    """Pickles functions by value where a worker cannot import them."""

    def __init__(self, file: io.BytesIO, namespaces: _functions.Namespaces) -> None:
        super().__init__(file, 5)
        self._namespaces = namespaces

    def reducer_override(self, obj: Any) -> Any:
        """Reduce functions and modules, refuse classes that no worker finds; leave the rest."""
        kind = type(obj)
        if kind is types.FunctionType and not _functions.is_referable(obj):
            return self._namespaces.reduce(obj)
        if kind is types.ModuleType:
            return _functions.ModuleReference(obj).__reduce__()
        # The types of None, ... and NotImplemented have no name in any module; pickle knows them.
        if kind is type and obj not in _NAMELESS and not _functions.is_referable(obj):
            message = (
                f"a worker cannot import the class {obj.__qualname__!r} from {obj.__module__!r}: "
                "define it in a module of its own"
            )
            raise pickle.PicklingError(message)
        return NotImplemented


_NAMELESS: Final = frozenset({types.NoneType, types.EllipsisType, types.NotImplementedType})


def parcel(obj: Any) -> _functions.Parcel:
    """Pickle an object for a worker, with the globals of the functions in it."""
    namespaces = _functions.Namespaces()

    def pickled(value: Any) -> bytes:
        file = io.BytesIO()
        Pickler(file, namespaces).dump(value)
        return file.getvalue()

    data = pickled(obj)
    return data, namespaces.pack(pickled)


class Call:
    """A function ready to be sent with any arguments: described once, for one `submit` or `map`."""

    __slots__ = ("definition", "name")

    def __init__(self, name: str, definition: _functions.Definition) -> None:
        self.name = name
        self.definition = definition

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Call:
        """Describe a function.

        Raises:
            TransferError: if it cannot be sent.
        """
        name = getattr(fn, "__qualname__", None) or f"{type(fn).__qualname__} object"
        try:
            return cls(name, _functions.define(fn, parcel))
        except Exception as error:
            message = f"The function {name} cannot be sent to a worker: {_reason(error)}"
            raise TransferError(message) from error

    def message(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _remote.Message:
        """The message that asks for `fn(*args, **kwargs)`.

        Raises:
            TransferError: if an argument cannot be sent.
        """
        kinds = {*map(type, args), *map(type, kwargs.values())} if kwargs else {*map(type, args)}
        apart: dict[int | str, Any] = {}
        if not kinds.isdisjoint(_remote.APART_TYPES):
            args, kwargs, apart = _set_apart(args, kwargs)
        if _is_plain_set(kinds) and _is_plain_set(map(type, kwargs)):
            return self._message(_remote.CALL_PLAIN, (args, kwargs), apart)
        try:
            payload, namespaces = parcel((args, kwargs))
        except Exception as error:
            raise self._explain(error, args, kwargs) from error
        return self._message(_remote.CALL_PICKLED, payload, apart, namespaces)

    def chunk_message(self, items: Sequence[tuple[Any, ...]]) -> _remote.Message:
        """The message that asks for `[fn(*args) for args in items]`.

        Raises:
            TransferError: if an argument cannot be sent.
        """
        if all(_is_plain_set(map(type, args)) for args in items):
            return self._message(_remote.EACH_PLAIN, list(items))
        try:
            payload, namespaces = parcel(list(items))
        except Exception as error:
            for args in items:  # the first item that fails alone is the culprit
                self.message(args, {})
            raise self._explain(error, (), {}) from error
        return self._message(_remote.EACH_PICKLED, payload, namespaces=namespaces)

    def _message(
        self,
        kind: int,
        payload: Any,
        apart: Mapping[int | str, Any] = MappingProxyType({}),
        namespaces: _functions.Packed = (),
    ) -> _remote.Message:
        large = list(apart.values())
        if type(payload) is bytes and len(payload) >= _remote.APART:
            large.append(payload)
            payload = None
        head = marshal.dumps((*self.definition, kind, payload, tuple(apart), namespaces))
        return head, *large

    def _explain(
        self, error: Exception, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> TransferError:
        """An error that names the first argument that cannot be sent by itself."""
        named: list[tuple[object, Any]] = [*enumerate(args, 1), *kwargs.items()]
        for name, value in named:
            try:
                parcel(value)
            except Exception as own:
                return TransferError(
                    f"Argument {name!r} of {self.name} ({type(value).__qualname__}) cannot be sent "
                    f"to a worker: {_reason(own)}"
                )
        return TransferError(f"The arguments of {self.name} cannot be sent: {_reason(error)}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _set_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[int | str, Any]]:
    """Take the large arguments out, None in their place, to travel beside the message."""
    named: Iterator[tuple[int | str, Any]] = chain(enumerate(args), kwargs.items())
    apart: dict[int | str, Any] = {
        place: value
        for place, value in named
        if type(value) in _remote.APART_TYPES and len(value) >= _remote.APART
    }
    if apart:
        args = tuple(None if place in apart else value for place, value in enumerate(args))
        kwargs = {name: None if name in apart else value for name, value in kwargs.items()}
    return args, kwargs, apart


# --- Coming back ---------------------------------------------------------------------------------


def load_result(data: bytes) -> Any:
    """Load a task's result.

    Raises:
        TransferError: if it does not load here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:
        message = f"The task's result came back and cannot be rebuilt here: {_reason(error)}"
        raise TransferError(message) from error


class Chunk:
    """The outcomes of a chunk's items, in order."""

    __slots__ = ("_failures", "_values")

    def __init__(self, values: list[Any], failures: Mapping[int, Any]) -> None:
        self._values = values
        self._failures = failures

    def __len__(self) -> int:
        return len(self._values)

    def take(self, index: int) -> Any:
        """The value of an item, given away: it is kept here no longer; or its exception raised."""
        if index in self._failures:
            raise Failure.from_frame(self._failures[index]).as_exception()
        value, self._values[index] = self._values[index], None
        return value


def load_chunk(kind: int, payload: Any, failures: Mapping[int, Any]) -> Chunk:
    """Load the outcomes of a chunk.

    Raises:
        TransferError: if they do not load here.
    """
    values = load_result(payload) if kind == _remote.VALUE_PICKLED else payload
    return Chunk(values, failures)
