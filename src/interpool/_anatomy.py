"""What an object is made of, as the pickler sees it, and which part of it cannot be sent.

Looking at an object may run its own code, which may raise anything, SystemExit included: that is a
reason like others. A KeyboardInterrupt is taken for the user's.
"""

import collections
import copyreg
import functools
import reprlib
import types
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from interpool import _classes, _code, _hints, _pickling, _reducers
from interpool._errors import TransferError
from interpool._inside import values
from interpool._references import is_referable

type Part = tuple[str, Any]
"""What is to be added to the path, and the part."""

type Culprit = tuple[str, str, str, str, str]
"""Path, type, what it is in words, reason, way out: what `TransferError.of` takes."""

_NAMES: Final = reprlib.Repr(maxstring=40, maxother=40, maxlong=20)
# A path longer than this is shortened in the middle: nobody reads on. In characters.
_LONGEST_PATH: Final = 200


def parts_of(obj: Any) -> Iterator[Part]:  # noqa: C901 - one case for each kind of object
    """Yield what an object would drag along if it were sent, where that has a name."""
    match obj:
        case dict():
            for key, value in obj.items():
                yield f"[{_NAMES.repr(key)}]", value
            for key in obj:
                yield f", key {_NAMES.repr(key)}", key
        case list() | tuple() | collections.deque():
            yield from ((f"[{index}]", value) for index, value in enumerate(obj))
        case set() | frozenset():
            yield from ((", element", value) for value in obj)
        case types.FunctionType():
            yield from _parts_of_function(obj)
        case types.MethodType():
            yield ".__self__", obj.__self__
            yield ".__func__", obj.__func__
        case functools.partial():
            yield ".func", obj.func
            yield from ((f".args[{index}]", value) for index, value in enumerate(obj.args))
            yield from ((f".keywords[{name!r}]", it) for name, it in obj.keywords.items())
        case property():
            yield from ((f".{name}", getattr(obj, name)) for name in ("fget", "fset", "fdel"))
        case classmethod() | staticmethod():
            yield ".__func__", obj.__func__
        case type():
            yield from _parts_of_class(obj)
    if type(obj) not in _COMPLETE:
        yield from _parts_of_instance(obj)


_COMPLETE: Final = frozenset(
    {dict, list, tuple, set, frozenset, collections.deque, types.FunctionType, types.MethodType}
    | {property, classmethod, staticmethod, functools.partial, type, types.ModuleType}
    | values.PLAIN_TYPES
)


def _parts_of_function(function: types.FunctionType) -> Iterator[Part]:
    if is_referable(function):
        return
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            contents = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        yield f", closure variable {name!r}", contents
    for name in sorted(_code.global_names_of(code)):
        if name in function.__globals__:
            yield f", global {name!r}", function.__globals__[name]
    defaults = function.__defaults__ or ()
    first = code.co_argcount - len(defaults)
    names = code.co_varnames[first : code.co_argcount]
    for name, value in (
        *zip(names, defaults, strict=False),
        *(function.__kwdefaults__ or {}).items(),
    ):
        yield f", default of {name!r}", value
    yield from ((f".{name}", value) for name, value in vars(function).copy().items())


def _parts_of_class(cls: type) -> Iterator[Part]:
    if is_referable(cls) or not _classes.is_made_here(cls):
        return
    if type(cls) is not type:
        yield f", metaclass {type(cls).__name__!r}", type(cls)
    yield from ((f", base {base.__name__!r}", base) for base in cls.__bases__)
    own = vars(cls).copy()
    yield from ((f".{name}", value) for name, value in own.items() if name not in _OF_CLASSES)


_OF_CLASSES: Final = frozenset({"__dict__", "__weakref__", "_abc_impl", "__annotate_func__"})


def _parts_of_instance(obj: Any) -> Iterator[Part]:
    """The parts that an object's reducer names, its own or the one that it is pickled by."""
    if isinstance(obj, type):
        return
    if isinstance(obj, BaseException):
        yield from ((f".args[{index}]", value) for index, value in enumerate(obj.args))
    wrapped = getattr(obj, "__wrapped__", None)
    if callable(wrapped):
        yield ".__wrapped__", wrapped
    kind = type(obj)
    reduce = _reducers.REDUCERS.get(kind) or copyreg.dispatch_table.get(kind)
    try:
        reduced = obj.__reduce_ex__(5) if reduce is None else reduce(obj)
    except KeyboardInterrupt:
        raise
    except BaseException:  # then the object itself is to blame
        return
    if isinstance(reduced, tuple):
        yield from _parts_of_reduced(kind, reduced)


def _parts_of_reduced(kind: type, reduced: tuple[Any, ...]) -> Iterator[Part]:
    filled: list[Any] = [*reduced, None, None, None]
    make, args, state, items, pairs = filled[:5]
    states: tuple[Any, ...] = state if isinstance(state, tuple) else (state,)
    for each in states:
        if isinstance(each, dict):
            yield from ((f".{name}", value) for name, value in each.items())
        elif each is not None:
            yield ".__getstate__()", each
    yield from ((f"[{index}]", value) for index, value in enumerate(items or ()))
    yield from ((f"[{_NAMES.repr(key)}]", value) for key, value in pairs or ())
    for index, value in enumerate((make, *(args or ()))):
        if value is kind:
            yield f", class {kind.__name__!r}", value
        elif index == 1 and kind in _FIRST_ARGUMENTS:
            yield _FIRST_ARGUMENTS[kind], value
        else:
            yield f".__reduce__()[1][{index - 1}]" if index else ".__reduce__()[0]", value


# What is there to be read where an object has what its class is called with.
_FIRST_ARGUMENTS: Final[dict[type, str]] = {
    collections.defaultdict: ".default_factory",
    types.BuiltinFunctionType: ".__self__",
    **dict.fromkeys(
        (
            *(types.MappingProxyType, weakref.WeakKeyDictionary),
            *(weakref.WeakValueDictionary, weakref.WeakSet),
        ),
        "",
    ),
}


# --- The culprit ---------------------------------------------------------------------------------


def failure_of(obj: Any, *, homeward: bool = False) -> BaseException | None:
    """What keeps an object from being sent, if anything does."""
    try:
        _pickling.parcel(obj, homeward=homeward)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def _first_that_fails(parts: Sequence[Part], test: Callable[[Any], Any]) -> Part | None:
    """Find the first part that cannot be sent, halving what may be many."""
    while len(parts) > 1:
        half = parts[: len(parts) // 2]
        parts = half if test([value for _, value in half]) else parts[len(parts) // 2 :]
    return parts[0] if parts and test(parts[0][1]) else None


def find_culprit(
    error: BaseException, obj: Any, place: str, *, of: str = "", homeward: bool = False
) -> Culprit:
    """Find the innermost part of an object that cannot be sent.

    Args:
        error: what sending it raised: the reason, if every part can be sent now and by itself.
        obj: an object that cannot be sent.
        place: what it is called, such as `argument 2`.
        of: what stands behind the path, such as ` of train`.
        homeward: whether it is a result.
    """

    def test(value: Any) -> BaseException | None:
        return failure_of(value, homeward=homeward)

    error = test(obj) or error
    path = ""
    seen = {id(obj)}
    while (found := refused_part(obj, error, seen, test)) is not None:
        suffix, obj = found
        path += suffix
        seen.add(id(obj))
        error = test(obj) or error
    what, hint = _hints.hint_for(obj) or _hints.of_error(error)
    return f"{place}{shortened(path)}{of}", type_name(obj), what, reason_of(error), hint


def refused_part(
    obj: Any, error: BaseException, seen: Collection[int], test: Callable[[Any], Any]
) -> Part | None:
    """Find the first part that keeps an object from being sent; None if it is the object itself.

    Args:
        obj: the object.
        error: what pickling it raised.
        seen: the identities of parts that are not to be looked at again.
        test: what returns anything true for what cannot be sent.
    """
    if isinstance(error, RecursionError) or _hints.hint_for(obj) is not None:
        return None
    try:
        parts = [part for part in parts_of(obj) if id(part[1]) not in seen]
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object that does not like to be looked at
        return None
    return _first_that_fails(parts, test)


def shortened(path: str) -> str:
    """Leave out the middle of a path that nobody would read."""
    if len(path) <= _LONGEST_PATH:
        return path
    return f"{path[: _LONGEST_PATH // 2]} ... {path[-_LONGEST_PATH // 2 :]}"


def refusal(
    error: BaseException, obj: Any, place: str, stage: str, *, of: str = ""
) -> TransferError:
    """Make the error that names which part of an object cannot be sent.

    Args:
        error: what pickling the object raised.
        obj: the object.
        place: what it is called, such as `argument 2`.
        stage: `TransferError.stage`.
        of: what stands behind the path, such as ` of train`.
    """
    try:
        culprit = find_culprit(error, obj, place, of=of)
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object that does not like to be looked at
        culprit = f"{place}{of}", type_name(obj), "", reason_of(error), ""
    return TransferError.of(stage, *culprit)


def type_name(obj: object) -> str:
    """Return the qualified name of an object's class, with its module."""
    return name_of(type(obj))


def name_of(kind: type) -> str:
    """Return the qualified name of a class, with its module."""
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def reason_of(error: BaseException) -> str:
    """Return an exception in one line."""
    try:
        return f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException:  # its __str__ raised
        return type(error).__name__
