"""Whether a class is what it was when it was last sent, found out without pickling it.

A fingerprint is a flat tuple of marks. Two fingerprints are of the same state if their marks are
the same objects. What may be large or refer back to the class is marked by a weak reference, of
which an object has one for as long as that is held: so nothing is kept alive, and an object that
came to lie where another was does not pass for it. What has no such mark, a list say, has none
because it may change inside: a class that holds one has no fingerprint.
"""

import abc
import copyreg
import enum
import functools
import operator
import reprlib
import types
from collections.abc import Callable, Iterator
from typing import Any, Final
from weakref import ref

from interpool._inside import values

type Fingerprint = tuple[object, ...]


class _NoneFoundError(Exception):
    """Something may change unseen."""


# What a class's making leaves there for good.
_MADE_WITH_CLASS: Final = frozenset(
    {
        *("__dict__", "__weakref__", "__annotate_func__", "__annotations_cache__", "_abc_impl"),
        *("__dataclass_fields__", "__dataclass_params__", "__abstractmethods__", "__slots__"),
        "__slotnames__",
    }
)
_MADE_WITH_ENUM: Final = frozenset(
    {
        *("_member_names_", "_member_map_", "_value2member_map_", "_hashable_values_"),
        *("_unhashable_values_", "_unhashable_values_map_", "_new_member_", "__new_member__"),
        *("_use_args_", "_value_repr_", "_generate_next_value_", "__new__"),
    }
)
_DESCRIPTORS: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
# Wraps the `__repr__` of every dataclass, around a set of those being printed now.
_REPR_WRAPPER: Final = reprlib.recursive_repr()(repr).__code__
_UNBOUND: Final = object()


def fingerprint_of(cls: type) -> Fingerprint | None:
    """Return the fingerprint of a class, or None if it may change without leaving a mark."""
    try:
        return tuple(_marks_of_class(cls))
    except _NoneFoundError:
        return None


def is_same(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether two fingerprints are of the same state."""
    return len(one) == len(other) and all(map(operator.is_, one, other, strict=True))


def _marks_of_class(cls: Any) -> Iterator[object]:
    yield from (cls.__name__, cls.__qualname__, ref(type(cls)), *map(ref, cls.__bases__))
    yield from _marks_of(copyreg.dispatch_table.get(cls))
    made: frozenset[str] = _MADE_WITH_CLASS
    members: dict[str, Any] = {}
    if isinstance(cls, enum.EnumType):
        made |= _MADE_WITH_ENUM
        members = cls._member_map_
        for member in members.values():
            for name, value in vars(member).copy().items():
                yield name
                yield from _marks_of(value)
    elif isinstance(cls, abc.ABCMeta):
        import _abc  # type: ignore[import-not-found]

        if _abc._get_dump(cls)[0]:  # classes registered with it, of which there may be more soon
            raise _NoneFoundError
    for name, value in vars(cls).copy().items():  # other threads may add to it
        yield name
        if name not in made and name not in members and not isinstance(value, _DESCRIPTORS):
            yield from _marks_of(value)


def _marks_of(value: Any) -> Iterator[object]:
    """Yield the marks of a class's or function's attribute, or of what a closure holds."""
    kind = type(value)
    if kind in values.PLAIN_TYPES:
        yield value
    elif kind is types.FunctionType:
        yield from _marks_of_function(value)
    elif kind in _PARTS:
        parts = _PARTS[kind](value)
        yield from (kind, len(parts))
        for part in parts:
            yield from _marks_of(part)
    elif isinstance(value, (type, types.BuiltinFunctionType)):
        yield ref(value)
    elif kind.__module__ == "dataclasses":  # the docstring of 3.15's, before it is made
        yield kind
    else:
        raise _NoneFoundError


_PARTS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    tuple: lambda it: it,
    **dict.fromkeys((classmethod, staticmethod), lambda it: (it.__func__,)),
    **dict.fromkeys((property, enum.property), lambda it: (it.fget, it.fset, it.fdel, it.__doc__)),
    functools.cached_property: lambda it: (it.func, it.attrname, it.__doc__),
}


def _marks_of_function(function: types.FunctionType) -> Iterator[object]:
    code = function.__code__
    yield from (ref(function), ref(code), function.__name__, function.__qualname__)
    yield from (function.__module__, function.__doc__)
    annotate: Any = function.__annotate__
    yield annotate and ref(annotate)
    yield from _marks_of(function.__defaults__)
    for named in (dict(function.__kwdefaults__ or {}), vars(function).copy()):
        yield len(named)
        for name, part in named.items():
            yield name
            yield from _marks_of(part)
    for cell in function.__closure__ or ():
        try:
            contents = cell.cell_contents
        except ValueError:
            contents = _UNBOUND
        if contents is _UNBOUND:
            yield contents
        elif type(contents) is not set or code is not _REPR_WRAPPER:
            yield from _marks_of(contents)
