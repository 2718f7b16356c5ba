"""How a callable is described to a worker.

By reference where a worker can import it, by value otherwise:

* a function, builtin or class that its module holds under its own name, in a module that the import
  system finds again: module and name;
* a function without closure that uses no globals but builtins: its code object, which needs nothing
  in the worker that a bare interpreter lacks;
* a function that uses globals or cells: pickled (`_pickling`), with those it uses as they are at
  that submit, transitively; so a script is never run a second time;
* any other callable: pickled.

A definition goes with every message that needs it, and the worker keeps what it built under the
definition's key, so nothing has to be remembered of what a worker knows.
"""

import builtins
import dis
import functools
import itertools
import marshal
import operator
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final

from interpool._code import global_names_of
from interpool._inside import values
from interpool._pickling import Keeps, parcel
from interpool._references import Kept, is_referable

type Definition = tuple[int, bytes]
"""A key (0: not to be kept) and the marshalled form that `values.build` reads."""

# Keys in use at a time. Losing one costs a worker one more building. The number is arbitrary.
_KEYS_KEPT: Final = 1024
_REFERABLE: Final = (types.FunctionType, types.BuiltinFunctionType, type)
_CACHED: Final = type(functools.cache(len))
_BUILTINS: Final = frozenset(vars(builtins))

_numbers = itertools.count(1)
_keys: dict[bytes, int] = {}


def key_of(form: bytes) -> int:
    """The key of a form: the same for the same bytes, never the same for others."""
    key = _keys.get(form)
    if key is None:
        if len(_keys) >= _KEYS_KEPT:
            _keys.clear()
        key = _keys[form] = next(_numbers)
    return key


def _is_plain(value: Any) -> bool:
    return type(value) in values.PLAIN_TYPES


def _is_self_contained(function: types.FunctionType) -> bool:
    """Whether code and plain defaults are all there is to a function."""
    return (
        function.__closure__ is None
        and not function.__dict__
        and not function.__type_params__
        and _has_plain_annotations(function)
        and _uses_builtins_alone(function)
        and all(map(_is_plain, function.__defaults__ or ()))
        and all(map(_is_plain, (function.__kwdefaults__ or {}).values()))
    )


def _uses_builtins_alone(function: types.FunctionType) -> bool:
    """Whether a function uses no globals: neither those that there are nor any that it may make."""
    names = global_names_of(function.__code__)
    return names <= _BUILTINS and function.__globals__.keys().isdisjoint(names)


def _has_plain_annotations(function: types.FunctionType) -> bool:
    """Whether a function has no annotations, or those that its builtins and constants make."""
    annotate: Any = function.__annotate__
    if annotate is None:
        return not function.__annotations__
    return (
        type(annotate) is types.FunctionType
        and annotate.__closure__ is None
        and function.__globals__.keys().isdisjoint(global_names_of(annotate.__code__))
    )


_ATTRIBUTES: Final = ("__defaults__", "__kwdefaults__", "__qualname__", "__doc__")


def _code_form(function: types.FunctionType) -> bytes:
    """The form of a self-contained function, which needs no pickle in the worker."""
    attributes = {name: getattr(function, name) for name in _ATTRIBUTES}
    annotate: Any = function.__annotate__
    annotations = annotate and annotate.__code__
    parts = function.__code__, function.__module__, function.__name__, attributes, annotations
    return marshal.dumps((values.BY_CODE, *parts))


class _Known:
    """The definition of a function that needs its code alone, and what it was made of."""

    __slots__ = ("_annotate", "_function", "_marks", "_names", "call", "definition", "name")

    def __init__(self, function: types.FunctionType, definition: Definition) -> None:
        identity = id(function)
        self._function = weakref.ref(function, lambda _: _known.pop(identity, None))
        self._marks = _marks_of(function)
        annotate: Any = function.__annotate__
        # Not held: it holds its globals, and those may hold the function.
        self._annotate = None if annotate is None else weakref.ref(annotate)
        self._names = global_names_of(function.__code__)
        self.definition = definition
        self.name = function.__qualname__
        self.call: Any = None  # what `_codec` makes of it

    def is_of(self, function: types.FunctionType) -> bool:
        """Whether it is this function's, and nothing has changed that it was made of."""
        annotate = function.__annotate__
        code, defaults, kwdefaults, qualname, name, module, doc, type_params = self._marks
        return (
            self._function() is function
            # One by one: this is done for every task, and so takes two thirds of a loop's time.
            and function.__code__ is code
            and function.__defaults__ is defaults
            and function.__kwdefaults__ is kwdefaults
            and function.__qualname__ is qualname
            and function.__name__ is name
            and function.__module__ is module
            and function.__doc__ is doc
            and function.__type_params__ is type_params
            and not function.__dict__
            and (None if self._annotate is None else self._annotate()) is annotate
            and (annotate is not None or not function.__annotations__)
            and (not self._names or function.__globals__.keys().isdisjoint(self._names))
        )


# Compared by identity: each is immutable, or its change another object.
_marks_of: Final[Callable[[types.FunctionType], tuple[Any, ...]]] = operator.attrgetter(
    *("__code__", "__defaults__", "__kwdefaults__", "__qualname__", "__name__", "__module__"),
    *("__doc__", "__type_params__"),
)
_known: Final[dict[int, _Known]] = {}  # by the function's identity


def known(callable_: Any) -> _Known | None:
    """What is known of a callable, if it is as it was when it was last described."""
    found = _known.get(id(callable_))
    return found if found is not None and found.is_of(callable_) else None


def define(callable_: Callable[..., Any]) -> tuple[Definition, Keeps]:
    """Describe a callable to workers; return what has to be kept for it, too.

    Raises:
        Exception: whatever pickling it raises.
    """
    if type(callable_) in _REFERABLE and is_referable(callable_):
        form = marshal.dumps((values.BY_REFERENCE, callable_.__module__, callable_.__qualname__))
        return (key_of(form), form), ()
    if type(callable_) is types.FunctionType and _is_self_contained(callable_):
        form = _code_form(callable_)
        definition = key_of(form), form
        if callable_.__kwdefaults__ is None:  # which may change inside
            _known[id(callable_)] = _Known(callable_, definition)
        return definition, ()
    context, segments, keeps = parcel(callable_)
    form = marshal.dumps((values.BY_PICKLE, context, *segments))
    # An object with state is built anew for every task, as every argument is.
    keeps_state = not isinstance(callable_, (types.FunctionType, _CACHED, type))
    return (0 if keeps_state or _rebinds(callable_, set()) else key_of(form), form), keeps


def _rebound_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"STORE_DEREF", "DELETE_DEREF"}:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from rebound_names_of(constant)


# The variables of functions around it that a code object binds anew (`nonlocal`).
rebound_names_of: Final = Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_rebound_names(code)).intersection(code.co_freevars)
).of


def _rebinds(function: Any, seen: set[int]) -> bool:
    """Whether a function, or one in its closure, leaves other values in closures than it found.

    The next task is to find them as they are here.
    """
    if type(function) is not types.FunctionType or id(function) in seen:
        return False
    seen.add(id(function))
    if rebound_names_of(function.__code__):
        return True
    for cell in function.__closure__ or ():
        try:
            if _rebinds(cell.cell_contents, seen):
                return True
        except ValueError:  # not bound yet
            continue
    return False
