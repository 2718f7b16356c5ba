"""What a class is made of and what it is filled with, when it is sent by value.

The skeleton is what has to be there when a class is made: metaclass, bases, slots, an enumeration's
members. The body is everything else, which may refer back to the class.
"""

import abc
import copyreg
import enum
import pickle
import types
from collections.abc import Iterator
from typing import Any, Final

from interpool._reducers import Annotate

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time
_IMMUTABLE: Final = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: made by C code

# What making a class makes, or `contents_of` treats by itself.
_MADE: Final = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__abstractmethods__",
        "_abc_impl",
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__slotnames__",  # by copyreg, when an instance is first pickled
    }
)
_MADE_BY_ENUM: Final = _MADE | {
    "_member_names_",
    "_member_map_",
    "_value2member_map_",
    "_hashable_values_",
    "_unhashable_values_",
    "_unhashable_values_map_",
    "_member_type_",
    "_boundary_",
    "_flag_mask_",
    "_singles_mask_",
    "_all_bits_",
    "_inverted_",
    "__new__",
}
_MADE_BY_MEMBER: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def is_made_here(cls: type) -> bool:
    """Whether a class was made by a class statement, or as one makes them, and not by C code."""
    return bool(cls.__flags__ & _HEAP_TYPE) and not cls.__flags__ & _IMMUTABLE


def check(cls: type) -> None:
    """Refuse a class that nobody can make anew.

    Raises:
        PicklingError: if it is one of C code's.
    """
    if not is_made_here(cls):
        message = (
            f"the class {cls.__qualname__!r} is made by C code, and a worker cannot import it from "
            f"{cls.__module__!r}: put what needs it into a module that workers can import"
        )
        raise pickle.PicklingError(message)


def skeleton_of(cls: type) -> tuple[Any, ...]:
    """The arguments of `values.make_class`."""
    own = vars(cls).copy()  # other threads may add to it
    copied = "__module__", "__orig_bases__"
    namespace: dict[str, Any] = {name: own[name] for name in copied if name in own}
    namespace["__qualname__"] = cls.__qualname__
    namespace["__doc__"] = own.get("__doc__")
    if "__slots__" in own:
        # By their descriptors: what was said may have been an iterator.
        namespace["__slots__"] = tuple(
            name
            for name, value in own.items()
            if type(value) is types.MemberDescriptorType or name in {"__dict__", "__weakref__"}
        )
    members = None
    options: dict[str, Any] = {}
    if isinstance(cls, enum.EnumType):
        members = {name: _made_of(cls, it) for name, it in cls._member_map_.items()}
        if issubclass(cls, enum.Flag):
            options["boundary"] = cls._boundary_  # type: ignore[attr-defined]
    return type(cls), cls.__name__, cls.__bases__, namespace, members, options


def _made_of(cls: Any, member: Any) -> tuple[tuple[Any, ...], Any]:
    """The data type of a member with its arguments, and the member's value."""
    data_type = cls._member_type_
    arguments: tuple[Any, ...] = ()
    if hasattr(data_type, "__getnewargs__"):
        arguments = data_type.__getnewargs__(member)
    elif data_type.__reduce__ is not object.__reduce__:
        arguments = data_type.__reduce__(member)[1]
    return (data_type, *arguments), member._value_


def contents_of(cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of `values.fill_class` beside the class."""
    own = vars(cls).copy()
    extras = dict(_extras_of(cls))
    is_enum = isinstance(cls, enum.EnumType)
    members = cls._member_map_ if is_enum else {}  # type: ignore[attr-defined]
    made = _MADE_BY_ENUM if is_enum else _MADE
    attributes = {
        name: value
        for name, value in own.items()
        if name not in made and name not in members
        if type(value) not in {types.MemberDescriptorType, types.GetSetDescriptorType}
    }
    notes = own.get("__annotations__")
    if type(notes) is dict and all(type(note) is str for note in notes.values()):
        attributes["__annotations__"] = notes  # of `from __future__ import annotations`
    return attributes, extras


def _extras_of(cls: type) -> Iterator[tuple[str, Any]]:
    if cls in copyreg.dispatch_table:
        yield "reduce", copyreg.dispatch_table[cls]
    annotate = vars(cls).get("__annotate_func__")
    if type(annotate) is types.FunctionType:
        yield "annotate", Annotate(annotate)
    if isinstance(cls, enum.EnumType):
        states = {
            name: {key: it for key, it in vars(member).copy().items() if key not in _MADE_BY_MEMBER}
            for name, member in cls._member_map_.items()
        }
        yield "members", {name: state for name, state in states.items() if state}
    elif isinstance(cls, abc.ABCMeta):
        import _abc  # type: ignore[import-not-found]

        registered = [reference() for reference in _abc._get_dump(cls)[0]]
        yield "registered", [it for it in registered if it is not None]
