"""How objects are pickled that pickle refuses, or pickles into something else.

Each reducer returns what `object.__reduce__` would. Those that need the encoder are in `_pickling`.
"""

import array
import contextlib
import copyreg
import dataclasses
import enum
import functools
import marshal
import mmap
import pickle
import struct
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any, Final

from interpool._inside import values

type Reducer = Callable[[Any], Any]

CACHED: Final = type(functools.cache(len))
TYPE_PARAMETERS: Final = (typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple)


class Annotate:
    """Stands for the function behind annotations (PEP 649) in a pickle."""

    def __init__(self, function: types.FunctionType) -> None:
        self.function = function


class Vars:
    """Stands for the `vars()` of a class in a pickle."""

    def __init__(self, cls: type) -> None:
        self.cls = cls


# --- Buffers -------------------------------------------------------------------------------------


def _array(it: array.array[Any]) -> Any:
    # Not its own reducer, whose other half looks at every element unless all is as it was here.
    return values.make_array, (it.typecode, it.tobytes())


def view(it: memoryview, given: pickle.PickleBuffer | None = None) -> Any:
    """Reduce a view to a copy of its bytes; or to a buffer that is given away, to be looked at."""
    form = _native_format(it.format, it.itemsize)
    if not form or it.ndim == 0 or (it.ndim > 1 and 0 in (it.shape or ())):
        message = f"a view of format {it.format!r} and shape {it.shape} cannot be made of bytes"
        raise pickle.PicklingError(message)
    if given is not None:
        return values.make_view, (given, form, it.shape, True)
    return values.make_view, (it.tobytes(), form, it.shape, it.readonly)


def _native_format(form: str, size: int) -> str:
    """Return the format of a view to which a view of bytes can be cast; empty if there is none.

    Those of `ctypes` name the order of bytes, which is this machine's own: `<i` is its `i`.
    """
    code: str = form.lstrip("@=<>!")
    order = form[: len(form) - len(code)]
    if order in _SWAPPED and size > 1:
        return ""
    for kind in ("bhilqn", "BHILQN", "efd", "c", "?", "P"):
        # The same code, where it means the same; for what is `l` elsewhere may be `i` here.
        candidates: list[str] = [code, *kind] if len(code) == 1 and code in kind else []
        for native in candidates:
            if struct.calcsize(native) == size:
                return native
    return ""


_SWAPPED: Final = (">", "!") if sys.byteorder == "little" else ("<",)


def _mmap(it: mmap.mmap) -> Any:
    with memoryview(it) as view:
        return values.make_mmap, (view.tobytes(), view.readonly, it.tell())


# --- Descriptors, methods, code ------------------------------------------------------------------


def descriptor(it: Any) -> Any:
    """Reduce a property, class method or static method, or an instance of a subclass of theirs."""
    base: type = property
    args: tuple[Any, ...]
    if isinstance(it, property):
        args = it.fget, it.fset, it.fdel, it.__doc__
    else:
        base = classmethod if isinstance(it, classmethod) else staticmethod
        args = (it.__func__,)
    if type(it) is base:
        return base, args
    return values.make_by_base, (type(it), base, args, args), getattr(it, "__dict__", None) or None


def _code(it: types.CodeType) -> Any:
    return marshal.loads, (marshal.dumps(it),)


def _mapping(it: types.MappingProxyType[Any, Any]) -> Any:
    return types.MappingProxyType, (dict(it),)


def _vars(it: Vars) -> Any:
    return vars, (it.cls,)


def _partial_method(it: functools.partialmethod[Any]) -> Any:
    return _new_with, (type(it), (it.func, *it.args), it.keywords)


def _context(it: Any) -> Any:
    """Reduce what a function of `contextlib.contextmanager` returns, if it is not entered yet."""
    if "func" not in vars(it):
        return NotImplemented
    return type(it), (it.func, it.args, it.kwds)


def member(it: enum.Enum) -> Any:
    """Reduce a member of an enumeration to its name: its value may be a function, another there."""
    cls = type(it)
    if cls.__reduce_ex__ is enum.Enum.__reduce_ex__ and cls._member_map_.get(it._name_) is it:
        return getattr, (cls, it._name_)
    return NotImplemented


def _traceback(it: types.TracebackType) -> Any:
    """Reduce a traceback to where its frames are: what is in their variables stays here.

    dask returns one with each exception (`dask.threaded`), to raise it with that again.
    """
    places = []
    entry: types.TracebackType | None = it
    while entry is not None:
        code = entry.tb_frame.f_code
        places.append((code.co_filename, code.co_name, entry.tb_lineno))
        entry = entry.tb_next
    return values.make_traceback, (tuple(places),)


# --- Weak collections: as they are now -----------------------------------------------------------


def _weak_mapping(it: Any) -> Any:
    return type(it), (dict(it),)


def _weak_set(it: weakref.WeakSet[Any]) -> Any:
    return type(it), (list(it),)


# --- Dataclasses ---------------------------------------------------------------------------------


def _marker(it: Any) -> Any:
    """Reduce one of the objects that the module compares by identity."""
    for name, value in vars(dataclasses).items():
        if value is it:
            return values.find, ("dataclasses", name)
    return NotImplemented


_MARKERS: Final = tuple(
    {
        type(value)
        for name, value in vars(dataclasses).items()
        if type(value).__module__ == "dataclasses" and not isinstance(value, type)
    }
)


def field_attributes(field: Any) -> dict[str, Any]:
    """Return what a dataclass's field has beside its type."""
    return {
        name: getattr(field, name)
        for name in dataclasses.Field.__slots__
        if name != "type" and hasattr(field, name)
    }


# --- Generics ------------------------------------------------------------------------------------


def _bound_of(it: Any, name: str) -> Any:
    """Evaluate what a type parameter says lazily; what cannot be is left out."""
    try:
        return getattr(it, name)
    except Exception:  # a name that is not defined (yet), as in any annotation
        return None


def _type_parameter(it: Any) -> Any:
    options: dict[str, Any] = {}
    if it.has_default():
        options["default"] = _bound_of(it, "__default__")
    if isinstance(it, typing.TypeVarTuple):
        return _new_with, (type(it), (it.__name__,), options)
    constraints: tuple[Any, ...] = ()
    options["bound"] = _bound_of(it, "__bound__")
    if it.__infer_variance__:
        options["infer_variance"] = True
    else:
        options |= {"covariant": it.__covariant__, "contravariant": it.__contravariant__}
    if isinstance(it, typing.TypeVar):
        constraints = _bound_of(it, "__constraints__") or ()
    return _new_with, (type(it), (it.__name__, *constraints), options)


def _alias(it: typing.TypeAliasType) -> Any:
    options = {"type_params": it.__type_params__}
    return _new_with, (typing.TypeAliasType, (it.__name__, it.__value__), options)


# Pickled as an opcode of its own: class, arguments and keyword arguments of `__new__`.
_new_with: Final[Any] = copyreg.__newobj_ex__  # type: ignore[attr-defined]

REDUCERS: Final[dict[type, Reducer]] = {
    array.array: _array,
    memoryview: view,
    mmap.mmap: _mmap,
    types.MethodType: values.reduce_method,
    types.CodeType: _code,
    types.TracebackType: _traceback,
    types.MappingProxyType: _mapping,
    Vars: _vars,
    functools.partialmethod: _partial_method,
    contextlib._GeneratorContextManager: _context,
    contextlib._AsyncGeneratorContextManager: _context,
    weakref.WeakKeyDictionary: _weak_mapping,
    weakref.WeakValueDictionary: _weak_mapping,
    weakref.WeakSet: _weak_set,
    typing.TypeAliasType: _alias,
    **dict.fromkeys((property, classmethod, staticmethod), descriptor),
    **dict.fromkeys(TYPE_PARAMETERS, _type_parameter),
    **dict.fromkeys(_MARKERS, _marker),
}
