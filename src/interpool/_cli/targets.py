"""`MODULE:NAME`, as commands take it: found, or refused in a line that says what is meant."""

import difflib
import importlib
import sys
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import click


def found(target: str, *, is_script: bool = False, is_debugged: bool = False) -> Any:
    """Import what a command is asked about; the current folder is searched first.

    Args:
        target: `MODULE:NAME`; a dot in the name leads to an attribute.
        is_script: as if the module were the program that runs.
        is_debugged: let an exception of the module's own pass, traceback and all.

    Raises:
        UsageError: if there is no such thing, with a name that is much like it if there is one.
    """
    module_name, colon, qualname = target.partition(":")
    if not (colon and module_name and qualname):
        message = f"{target!r} is not of the form MODULE:NAME, like statistics:mean"
        raise click.UsageError(message)
    if "" not in sys.path:
        sys.path.insert(0, "")
    it: Any = _imported(module_name, is_debugged=is_debugged)
    if is_script:
        it.__spec__ = None  # as for a script: nobody can import it by this name
    place = f"The module {module_name!r}"
    for name in qualname.split("."):
        try:
            it = getattr(it, name)
        except AttributeError:
            message = f"{place} has no {name!r}.{_suggestion(name, _names_in(it))}"
            raise click.UsageError(message) from None
        except BaseException as error:  # of a property, or of a module's `__getattr__`
            if is_debugged or isinstance(error, KeyboardInterrupt):
                raise
            reason = _reason(error)
            message = f"{place} does not give {name!r}: {reason}. --debug shows where."
            raise click.UsageError(message) from None
        place = f"{name!r}"
    return it


def _imported(name: str, *, is_debugged: bool) -> ModuleType:
    if not _exists(name):
        known = [*sys.stdlib_module_names, *(module.name for module in iter_modules())]
        message = f"There is no module {name!r}.{_suggestion(name, known)}"
        raise click.UsageError(message)
    try:
        return importlib.import_module(name)
    except BaseException as error:  # a module may raise anything, or exit
        if is_debugged or isinstance(error, KeyboardInterrupt):
            raise
        reason = _reason(error)
        message = f"The module {name!r} cannot be imported: {reason}. --debug shows where."
        raise click.UsageError(message) from None


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


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
