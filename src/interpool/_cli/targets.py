"""`MODULE:NAME`, as commands take it: found, or refused in a line that says what is meant."""

import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from interpool._cli import names
from interpool._cli.command import NotBegun, hint, suggestion


def found(target: str, *, is_script: bool = False) -> Any:
    """Import what a command is asked about; the current folder is searched first.

    Args:
        target: `MODULE:NAME`; a dot in the name leads to an attribute.
        is_script: as if the module were the program that runs.

    Raises:
        NotBegun: if there is no such thing, with a name that is much like it if there is one.
    """
    module_name, colon, qualname = target.partition(":")
    if not (colon and module_name and qualname):
        message = f"{target!r} is not of the form MODULE:NAME.{_with_colon(target)}"
        raise NotBegun(message)
    if "" not in sys.path:
        sys.path.insert(0, "")
    it: Any = _imported(module_name)
    if is_script:
        it.__spec__ = None  # as for a script: nobody can import it by this name
    place = f"The module {module_name!r}"
    for name in qualname.split("."):
        try:
            it = getattr(it, name)
        except AttributeError as error:
            message = f"{place} has no {name!r}.{suggestion(name, _names_in(it))}"
            raise NotBegun(message) from error
        except BaseException as error:  # of a property, or of a module's `__getattr__`
            if isinstance(error, KeyboardInterrupt):
                raise
            message = f"{place} does not give {name!r}: {_reason(error)}.{hint()}"
            raise NotBegun(message) from error
        place = f"{name!r}"
    return it


def function(target: str) -> Callable[..., Any]:
    """Find what a command is to call.

    Raises:
        NotBegun: if there is no such function.
    """
    fn = found(target)
    if not callable(fn):
        message = f"{target!r} is no function, but of type {type(fn).__qualname__}"
        raise NotBegun(message)
    called: Callable[..., Any] = fn
    return called


def check_call(
    target: str, fn: Callable[..., Any], arguments: list[Any], what: str, way_out: str = ""
) -> None:
    """Refuse a function that does not take these arguments, as far as that can be known.

    Args:
        target: what it was called by.
        fn: the function.
        arguments: what it is to be called with.
        what: the same in words.
        way_out: a sentence that is put behind.

    Raises:
        NotBegun: with what it does take.
    """
    try:
        signature = inspect.signature(fn)
    except ValueError, TypeError:  # of some that are written in C, nobody knows
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        message = f"{target} cannot be called with {what}: {error}. "
        message += f"Its signature is {signature}{way_out}"
        raise NotBegun(message) from error


def check_module(name: str) -> None:
    """Refuse a name that no module has.

    Raises:
        NotBegun: with a name that is much like it, if there is one.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")
    if not _exists(name):
        message = f"There is no module {name!r}.{suggestion(name, names.modules_near(name))}"
        raise NotBegun(message)


def _imported(name: str) -> ModuleType:
    check_module(name)
    try:
        return importlib.import_module(name)
    except BaseException as error:  # a module may raise anything, or exit
        if isinstance(error, KeyboardInterrupt):
            raise
        message = f"The module {name!r} cannot be imported: {_reason(error)}.{hint()}"
        raise NotBegun(message) from error


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its package is not there
        return False
    except ImportError, ValueError:  # its package is there and fails: importing it says why
        return True


def _reason(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ raised
        return type(error).__name__


def _names_in(obj: object) -> list[str]:
    try:
        return list(filter(str.isidentifier, dir(obj)))
    except Exception:  # an object that does not like to be looked at
        return []


def _with_colon(target: str) -> str:
    """Return what was probably meant by a target without a colon, or an example."""
    target = target.removesuffix(":")
    module, dot, name = target.rpartition(".")
    if dot and name in names.defined_in(module):
        return f" Did you mean '{module}:{name}'?"
    if there := [it for it in names.defined_in(target) if not it.startswith("_")]:
        return f" Did you mean one of its functions, like '{target}:{there[0]}'?"
    return " Like statistics:mean"
