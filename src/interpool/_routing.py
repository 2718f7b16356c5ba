"""Which lane a task takes: an interpreter, unless it is known that it would be refused there.

Known is what tasks have met: an extension that refuses, the modules by whose imports it was
reached, and the functions that needed it. A function goes to a process at once if it was among
those, if it or its module imports such a module, or one of its package, or if an argument is of a
class of one. Whatever is not known is tried in an interpreter; it costs nothing here until the
first refusal.

What is known is the process's: pools learn from each other.

Thread-safety: every function may be called from any thread.
"""

import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from interpool._codec import Call
    from interpool._engine import Engine
    from interpool._terms import Terms

# By the name of a module: the extension by which it, or what it imports, was refused. What is in a
# package of that name is refused as well; the package that a refused module is in need not be.
refusing: dict[str, str] = {}
# By the key of a function's definition: whether it needs one of so many packages. Empty until the
# first refusal.
looked_at: dict[int, tuple[int, bool]] = {}
IS_FREE_THREADED: Final = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
_NONE: Final = -1  # the key of no function
# What a program's own modules are called that no import finds.
_NOBODY: Final = frozenset({"__main__", "__mp_main__"})
# Functions that are looked at beside the one that is called, by way of its globals.
_MOST: Final = 200
# Functions that are remembered: behind so many, they are looked at anew.
_MOST_KNOWN: Final = 10_000


def learn(refused: tuple[str, ...], function: int | None) -> None:
    """Take note of a refusal that a function has met.

    Args:
        refused: the extension, and the modules by whose imports it was reached.
        function: the key of the function's definition; None if it was not the function that needed
            the extension.
    """
    extension, *chain = refused
    for module in (*chain, extension, _package(extension)):
        package = _package(module)
        if package not in _NOBODY and package not in sys.stdlib_module_names:
            refusing[module] = extension
    looked_at[_NONE if function is None else function] = sys.maxsize, True


def prefers_threads(terms: Terms) -> bool:
    """Whether a task is best called in a thread: on a free-threaded build, and no lane is named.

    Unless an extension was loaded that has not declared that it can do without the GIL, for then
    there is one again (PEP 703). Without, threads are as good as interpreters, and cost less.
    """
    return terms.lane == "auto" and not sys._is_gil_enabled()


def lane_of(
    engine: Engine,
    terms: Terms,
    fn: Callable[..., Any],
    call: Call,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
) -> str | None:
    """Return the lane of a call that is sent; None for an interpreter."""
    if terms.lane == "process":
        return terms.lane
    if terms.lane == "interpreter" or not engine.fallback.is_on or not looked_at:
        return None
    return "process" if is_refused(fn, call, (*args, *kwargs.values())) else None


def is_refused(fn: Callable[..., Any], call: Call, args: Iterable[Any]) -> bool:
    """Whether it is known that a call would be refused in an interpreter."""
    key = call.definition[0]
    if len(looked_at) > _MOST_KNOWN:  # functions that are made anew for each call, say
        looked_at.clear()
        looked_at[_NONE] = 0, False  # it is not empty, for packages are known
    version, found = looked_at.get(key, (-1, False))
    if version < len(refusing):
        found = any(map(_refuses, _modules_of(fn)))
        looked_at[key] = len(refusing), found
    return found or any(_refuses(_attribute(type(it), "__module__")) for it in args)


def forget() -> None:
    """Know nothing any more: for tests."""
    refusing.clear()
    looked_at.clear()


def _package(module: str) -> str:
    return module.partition(".")[0]


def _refuses(module: object) -> bool:
    """Whether a module, or a package that it is in, is known to be refused."""
    name = module if isinstance(module, str) else ""
    while name:
        if name in refusing:
            return True
        name = name.rpartition(".")[0]
    return False


def _vars(module: object) -> dict[str, Any]:
    """What is in a module: without asking it, which might have it loaded (`LazyLoader`)."""
    try:
        found: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:  # there may be anything in `sys.modules`
        return {}
    return found


def _modules_of(fn: Any) -> Iterator[str]:
    """Names of the modules that running a function takes, as far as its code says."""
    due = [fn]
    seen: set[int] = set()
    while due and len(seen) < _MOST:
        it = due.pop()
        if id(it) in seen:
            continue
        seen.add(id(it))
        if isinstance(it, types.FunctionType):
            yield from _modules_of_function(it, due)
        elif isinstance(it, types.ModuleType):
            yield _vars(it).get("__name__", "")
        elif isinstance(it, types.MethodType):
            due += [it.__func__, type(it.__self__)]
        else:
            # A partial, a functor, a class, a function in C.
            due += [part for name in _PARTS if (part := _attribute(it, name)) is not None]
            for holder in (it, type(it)):
                module = _attribute(holder, "__module__")
                if isinstance(module, str):
                    yield module


_PARTS: Final = ("func", "__wrapped__", "__self__")


def _attribute(it: Any, name: str) -> Any:
    try:
        return getattr(it, name, None)
    except Exception:  # an object that does not like to be looked at
        return None


def _modules_of_function(function: types.FunctionType, due: list[Any]) -> Iterator[str]:
    module = function.__module__
    if isinstance(module, str):
        yield module
        if module not in _NOBODY:  # it is imported there, with what it imports
            for it in list(_vars(sys.modules.get(module)).values()):
                if isinstance(it, types.ModuleType):
                    yield _vars(it).get("__name__", "")
    package = function.__globals__.get("__package__") or ""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [it for it in code.co_consts if isinstance(it, types.CodeType)]
        for name in code.co_names:
            yield name  # of an import in its body, perhaps
            yield f"{package}.{name}"  # of a relative one
            if name in function.__globals__:
                due.append(function.__globals__[name])
    for cell in function.__closure__ or ():
        try:
            due.append(cell.cell_contents)
        except ValueError:  # empty
            continue
