"""How a callable is described to a worker.

By reference where a worker can import it, by value otherwise:

* a function, builtin or class that its module holds under its own name, in a module that the import
  system finds again: module and name;
* a function without closure that uses no globals but builtins: its code object, which needs nothing
  in the worker that a bare interpreter lacks;
* a function that uses globals or cells: pickled, with those it uses as they are at that submit,
  transitively; so a script is never run a second time;
* any other callable: pickled.

Functions of one module share one globals dict in a worker, as they do here: what an initializer
assigns there, later tasks see. A global is sent as bytes; the worker sets it only if they are not
those that it was sent last, so main's changes arrive and the worker's own are kept.

A definition goes with every message that needs it, and the worker keeps what it built under the
definition's key, so nothing has to be remembered of what a worker knows.
"""

import dis
import functools
import itertools
import marshal
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from interpool import _remote

type Definition = tuple[int, bytes]
"""A key (0: not to be kept) and the marshalled form that `_remote.build` reads."""

type Packed = tuple[tuple[int, str, dict[str, bytes]], ...]
"""Namespaces: token, module name, and each global's pickle."""

type Parcel = tuple[bytes, Packed]
"""A pickle, and the namespaces of the functions in it."""

# Keys in use at a time. Losing one costs a worker one more building. The number is arbitrary.
_KEYS_KEPT: Final = 1024
_REFERABLE: Final = (types.FunctionType, types.BuiltinFunctionType, type)

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


# --- By reference --------------------------------------------------------------------------------


def is_importable(name: str) -> bool:
    """Whether a worker can import the loaded module of that name.

    A module that was made by hand, or by a loader that workers do not have, is in `sys.modules` and
    nowhere else. `__main__` is never imported: its code is sent, not run again.
    """
    if name == _remote.__name__:
        return True  # every worker has it from its first moment
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is None or name in {"__main__", "__mp_main__"}:
        return False
    return _is_found(name, spec.origin, tuple(map(str, sys.path)))


@functools.lru_cache(maxsize=4096)
def _is_found(name: str, origin: str | None, _path: tuple[str, ...]) -> bool:
    """Whether the finders find a module anew, in the same place. `_path` is there for the cache."""
    if origin in {"built-in", "frozen"}:
        return True
    parent, _, _ = name.rpartition(".")
    search = None
    if parent:
        package = sys.modules.get(parent)
        search = getattr(package, "__path__", None)
        if search is None or not is_importable(parent):
            return False
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        found = find_spec(name, search) if find_spec is not None else None
        if found is not None:
            return bool(found.origin == origin)
    return False


def is_referable(obj: Any) -> bool:
    """Whether `module.qualname` gives this very object here and, so far as one can see, there."""
    name, qualname = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if not isinstance(name, str) or not isinstance(qualname, str):
        return False
    found: Any = sys.modules.get(name)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    return found is obj and is_importable(name)


# --- By value ------------------------------------------------------------------------------------


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


_GLOBAL_INSTRUCTIONS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL"})


def _global_names(code: types.CodeType) -> Iterator[str]:
    # Not co_names, which holds attributes too: an unrelated global of an attribute's name would go
    # along, or be what refuses the task.
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_INSTRUCTIONS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


class _Kept[K, V]:
    """What was found out about objects, by identity, for as long as each lives.

    By identity, since code objects compare by value, which is slow and takes `1` for `True`.
    """

    def __init__(self, find_out: Callable[[K], V]) -> None:
        self._find_out = find_out
        self._known: dict[int, tuple[weakref.ref[K], V]] = {}

    def of(self, key: K) -> V:
        """What is known of the object."""
        identity = id(key)
        entry = self._known.get(identity)
        if entry is None or entry[0]() is not key:
            forget = weakref.ref(key, lambda _: self._known.pop(identity, None))
            entry = self._known[identity] = (forget, self._find_out(key))
        return entry[1]


# The global names that a code object uses, those of the code inside it included.
global_names_of: Final = _Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_global_names(code))
).of

_ATTRIBUTES: Final = (
    "__defaults__",
    "__kwdefaults__",
    "__qualname__",
    "__module__",
    "__doc__",
)


def _attributes_of(function: types.FunctionType) -> dict[str, Any]:
    """What a function has beside code, globals and cells."""
    return {name: getattr(function, name) for name in _ATTRIBUTES} | vars(function)


def _is_plain(value: Any) -> bool:
    return type(value) in _remote.PLAIN_TYPES


def _is_self_contained(function: types.FunctionType) -> bool:
    """Whether code and plain defaults are all there is to a function."""
    return (
        function.__closure__ is None
        and not function.__dict__
        and function.__globals__.keys().isdisjoint(global_names_of(function.__code__))
        and all(map(_is_plain, function.__defaults__ or ()))
        and all(map(_is_plain, (function.__kwdefaults__ or {}).values()))
    )


def _code_form(function: types.FunctionType) -> bytes:
    """The form of a self-contained function, which needs no pickle in the worker."""
    parts = function.__code__, function.__module__, function.__name__, _attributes_of(function)
    return marshal.dumps((_remote.BY_CODE, *parts))


class Namespaces:
    """The globals that the functions of one pickle use, by the namespace they belong to.

    A namespace is named by a token: positive for a module's, which a worker keeps; negative for a
    globals dict of no module, which is made anew with every definition.
    """

    def __init__(self) -> None:
        self._tokens: dict[int, int] = {}  # by the identity of a globals dict
        self._found: dict[int, tuple[str, dict[str, Any], dict[str, bytes]]] = {}
        self._pending: list[tuple[int, str]] = []
        self._names: set[str] = set()  # all that the functions mention, attributes included

    def reduce(self, function: types.FunctionType) -> tuple[Any, ...]:
        """How a function is pickled by value; note the globals that it uses."""
        token = self._token_of(function)
        _, namespace, values = self._found[token]
        for name in global_names_of(function.__code__):
            if name in namespace and name not in values:
                values[name] = b""
                self._pending.append((token, name))
        self._names.update(_names(function.__code__))
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append((True, cell.cell_contents))
            except ValueError:  # empty: a variable that is not bound yet
                cells.append((False, None))
        made_of = (marshal.dumps(function.__code__), token, function.__name__, len(cells))
        state = (_attributes_of(function), cells)
        return _remote.make_function, made_of, state, None, None, _remote.fill_function

    def pack(self, pickled: Callable[[Any], bytes]) -> Packed:
        """Pickle the globals that were noted, and those that they use in turn."""
        modules = []
        while self._pending:
            token, name = self._pending.pop()
            _, namespace, values = self._found[token]
            value = namespace.get(name)
            if type(value) is types.ModuleType:
                modules.append((values, name, value))
            else:
                values[name] = pickled(value)
        for values, name, module in modules:
            values[name] = pickled(ModuleReference(module, self._names))
        return tuple((token, name, values) for token, (name, _, values) in self._found.items())

    def _token_of(self, function: types.FunctionType) -> int:
        namespace = function.__globals__
        token = self._tokens.get(id(namespace))
        if token is None:
            name = function.__module__ or "__main__"
            module = sys.modules.get(name)
            if module is not None and vars(module) is namespace:
                token = _module_tokens.of(module)
            else:
                token = -1 - len(self._tokens)
            self._tokens[id(namespace)] = token
            self._found[token] = name, namespace, {}
        return token


_module_tokens: Final = _Kept[types.ModuleType, int](lambda _: next(_numbers))


class ModuleReference:
    """A module by name, with those of its loaded submodules that are mentioned part by part.

    `import a.b` binds `a`, and a function that says `a.b.c` needs `a.b` imported too.
    """

    def __init__(self, module: types.ModuleType, names: Collection[str] = ()) -> None:
        prefix = module.__name__ + "."
        self.names = [module.__name__] + [
            name
            for name in list(sys.modules)
            if name.startswith(prefix) and not set(name[len(prefix) :].split(".")).difference(names)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        for name in self.names:
            if not is_importable(name):
                message = f"a worker cannot import the module {name!r}"
                raise pickle.PicklingError(message)
        return _remote.import_module, tuple(self.names)


def define(callable_: Callable[..., Any], parcel: Callable[[Any], Parcel]) -> Definition:
    """Describe a callable to workers.

    Args:
        callable_: what is to be called there.
        parcel: the codec's pickler, for what needs it.

    Raises:
        Exception: whatever `parcel` raises.
    """
    if type(callable_) in _REFERABLE and is_referable(callable_):
        form = marshal.dumps(
            (
                _remote.BY_REFERENCE,
                callable_.__module__,
                callable_.__qualname__,
            )
        )
        return key_of(form), form
    if isinstance(callable_, types.FunctionType):
        if _is_self_contained(callable_):
            form = _code_form(callable_)
        else:
            form = marshal.dumps((_remote.BY_PICKLE, *parcel(callable_)))
        return key_of(form), form
    # An object with state: built anew for every task, as every argument is.
    return 0, marshal.dumps((_remote.BY_PICKLE, *parcel(callable_)))
