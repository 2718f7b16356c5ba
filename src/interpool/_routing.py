"""Which lane a task takes: an interpreter, unless it is known that it would be refused there.

Known is what tasks have met: an extension that refuses, the modules by whose imports it was
reached, and the functions that needed it; and what `doctor` has found of this version in this build
of Python (`_refusals`). A function goes to a process at once if it was among those, if it or its
module imports such a module, or one of its package, or if an argument is of a class of one.
Whatever is not known is tried in an interpreter. Where nothing is known, it costs nothing here, but
for the first task of a process: a file that is not there. Else a function is looked at once.

What is known is the process's: pools learn from each other. It is not written down for the next
program, which would then be silent about what this one warns of.

Thread-safety: every function may be called from any thread.
"""

import dis
import itertools
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from interpool import _refusals
from interpool._references import Kept

if TYPE_CHECKING:
    from interpool._codec import Call
    from interpool._engine import Engine
    from interpool._terms import Terms

# By the name of a module: the extension by which it, or what it imports, was refused. What is in a
# package of that name is refused as well; the package that a refused module is in need not be.
refusing: dict[str, str] = {}
# What `doctor` has found, by the same names, as long as nobody has asked whether it still holds.
_found: dict[str, list[_refusals.Refusal]] = {}
# Functions that were refused, whatever their code says: by the key of their definition, or by name
# if they have none, being made anew for each call.
_needy: set[int | str] = set()
# Functions that need nothing that is known, by their keys. Another one whenever more is known, so
# that whoever looked before that says it of the last one.
_fine: set[int] = set()
# Whether nothing is known, and what is kept on disk has been read.
is_ignorant = False
_has_read = False
IS_FREE_THREADED: Final = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# What a program's own modules are called that no import finds.
_NOBODY: Final = frozenset({"__main__", "__mp_main__"})
# Functions that are looked at beside the one that is called, by way of its globals.
_MOST: Final = 200
# Functions that are remembered: behind so many, they are looked at anew.
_MOST_KNOWN: Final = 10_000


def learn(refused: tuple[str, ...], function: int | str | None) -> None:
    """Take note of a refusal that a function has met.

    Args:
        refused: the extension, and the modules by whose imports it was reached.
        function: the key of the function's definition, or its name if that is none; None if it was
            not the function that needed the extension.
    """
    global _fine, is_ignorant  # noqa: PLW0603 - the process's, and looked at for each task
    extension, *chain = refused
    refusing.update(dict.fromkeys(_refusals.names_of(extension, chain), extension))
    if function is not None:
        if len(_needy) >= _MOST_KNOWN:
            _needy.clear()  # they are refused once more
        _needy.add(function)
    _fine = set()
    is_ignorant = False


def _look_up() -> None:
    """Read what `doctor` has found."""
    global _has_read, is_ignorant  # noqa: PLW0603 - as in `learn`
    if not _has_read:
        _found.update(_refusals.read())
        _has_read = True
    is_ignorant = not _found
    if refusing or _needy:  # by another thread, perhaps since the line before
        is_ignorant = False


def prefers_threads(engine: Engine, terms: Terms) -> bool:
    """Whether a task is best called in a thread: on a free-threaded build, and no lane is named.

    Unless an extension was loaded that has not declared that it can do without the GIL, for then
    there is one again (PEP 703). Without, threads are as good as interpreters, and cost less.
    Nor in a pool with an initializer: what that leaves is in its workers, and in no thread.
    """
    is_free = terms.lane == "auto" and not sys._is_gil_enabled()
    return is_free and engine.may_use_threads


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
    if terms.lane == "interpreter" or not engine.falls_back:
        return None
    if not _has_read:
        _look_up()
    if is_ignorant:
        return None
    return "process" if is_refused(fn, call, (*args, *kwargs.values())) else None


def is_refused(fn: Callable[..., Any], call: Call, args: Iterable[Any]) -> bool:
    """Whether it is known that a call would be refused in an interpreter."""
    key, fine = call.definition[0], _fine
    if key not in fine:
        if (key or call.name) in _needy or any(map(_refuses, _modules_of(fn))):
            return True
        if key:  # else there is none: it is made anew for each call
            if len(fine) >= _MOST_KNOWN:
                fine.clear()
            fine.add(key)
    return any(_refuses(_attribute(type(it), "__module__")) for it in args)


def forget(*, has_read: bool = True) -> None:
    """Know nothing any more, nor what is on disk unless that is to be read: for tests."""
    global _fine, _has_read, is_ignorant  # noqa: PLW0603 - as in `learn`
    for known in (refusing, _found, _needy):
        known.clear()
    _fine = set()
    _has_read = is_ignorant = has_read


def is_needy(key: int, name: str) -> bool:
    """Whether a function was refused, by the key of its definition, or by name if that is 0."""
    return (key or name) in _needy


def extension_of(modules: Iterable[str]) -> str | None:
    """Return the extension for which one of some modules is known to be refused; None if none."""
    if not _has_read:
        _look_up()
    return next(filter(None, map(_refused_for, modules)), None)


def _refuses(module: object) -> bool:
    """Whether a module, or a package that it is in, is known to be refused."""
    return isinstance(module, str) and _refused_for(module) is not None


def _refused_for(name: str) -> str | None:
    while name:
        if name in refusing or (name in _found and _still_refuses(name)):
            return refusing[name]
        name = name.rpartition(".")[0]
    return None


def _still_refuses(module: str) -> bool:
    """Whether what was found of a module still holds: asked once."""
    for refusal in _found.get(module, ()):
        if refusal.holds():
            refusing[module] = refusal.extension
            break
    _found.pop(module, None)  # not before the other one knows it: nobody is to find it in neither
    return module in refusing


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
            yield from itertools.chain.from_iterable(
                map(_origins_of, list(_vars(sys.modules.get(module)).values()))
            )
    package = function.__globals__.get("__package__") or ""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [it for it in code.co_consts if isinstance(it, types.CodeType)]
        for name in _imports_of(code):
            yield name
            yield f"{package}.{name}"  # if it is a relative one
        space = function.__globals__
        due += [space[name] for name in code.co_names if name in space]
    for cell in function.__closure__ or ():
        try:
            due.append(cell.cell_contents)
        except ValueError:  # empty
            continue


def _origins_of(it: Any) -> Iterator[str]:
    """Names of the modules by whose import a module may have come by something that it holds."""
    kind = type(it)  # an object may lie about its `__class__`, or run code to tell it
    if issubclass(kind, types.ModuleType):
        yield _vars(it).get("__name__", "")
        return
    for holder in (it, kind) if issubclass(kind, _NAMED) else (kind,):
        if isinstance(module := _attribute(holder, "__module__"), str):
            yield module


# What says itself where it is from.
_NAMED: Final = (types.FunctionType, types.BuiltinFunctionType, type)


def _imported_names(code: types.CodeType) -> Iterator[str]:
    module = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = instruction.argval
            yield module
        elif instruction.opname == "IMPORT_FROM":  # a module, perhaps
            yield f"{module}.{instruction.argval}".lstrip(".")


_imports_of: Final = Kept[types.CodeType, tuple[str, ...]](
    lambda code: tuple(dict.fromkeys(filter(None, _imported_names(code))))
).of
