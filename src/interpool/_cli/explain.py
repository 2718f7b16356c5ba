"""`interpool explain`: what would happen to an object on its way to a worker, as a tree."""

import difflib
import importlib
import json
import sys
from importlib.util import find_spec
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text
from rich.tree import Tree

from interpool._cli.output import writing
from interpool._explain import Explanation, explain

_STYLES: Final = {
    "by reference": "green",
    "by value": "cyan",
    "out of band": "blue",
    "refused": "bold red",
    "shown above": "dim",
}
# Columns where the output is no terminal: nothing is cut off, for a path needs its end.
_WIDTH_OF_FILES: Final = 10_000


@click.command(
    name="explain",
    epilog="""\b
Examples:
  interpool explain statistics:mean
  interpool explain mypackage.jobs:Trainer.run
  interpool explain mypackage.jobs:TABLE --json
  interpool explain --script myscript:work

Exits with 1 if it cannot be sent.""",
)
@click.argument("target", metavar="MODULE:NAME")
@click.option(
    "--script", "is_script", is_flag=True, help="As if MODULE were the program that runs."
)
@click.option("--json", "is_json", is_flag=True, help="Write the tree as JSON.")
@click.option("--debug", is_flag=True, help="Show the traceback of what fails in MODULE.")
def command(*, target: str, is_script: bool, is_json: bool, debug: bool) -> int:
    """Say how an object would be sent to a worker, or why it would not.

    NAME is a function, a class or anything else that MODULE holds; a dot leads to an attribute.
    The module is imported; the current folder is searched first. The tree shows what goes along:
    globals, closure variables, and what is large or to blame among elements and attributes.

    What a worker can import goes by reference. The functions and classes of a program that is run,
    as a script or at the prompt, go by value: --script shows that.
    """
    explanation = explain(_found(target, is_script=is_script, is_debugged=debug))
    with writing():
        if is_json:
            click.echo(json.dumps({"target": target} | explanation.as_dict(), indent=2))
        else:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = _WIDTH_OF_FILES
            console.print(_tree(explanation, target))
    return 0 if explanation.is_sendable else 1


# --- Finding -------------------------------------------------------------------------------------


def _found(target: str, *, is_script: bool, is_debugged: bool) -> Any:
    module_name, colon, qualname = target.partition(":")
    if not (colon and module_name and qualname):
        message = f"{target!r} is not of the form MODULE:NAME, like statistics:mean"
        raise click.UsageError(message)
    if "" not in sys.path:
        sys.path.insert(0, "")
    found: Any = _imported(module_name, is_debugged=is_debugged)
    if is_script:
        found.__spec__ = None  # as for a script: nobody can import it by this name
    place = f"The module {module_name!r}"
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            message = f"{place} has no {name!r}.{_suggestion(name, _names_in(found))}"
            raise click.UsageError(message) from None
        except BaseException as error:  # of a property, or of a module's `__getattr__`
            if is_debugged or isinstance(error, KeyboardInterrupt):
                raise
            reason = _reason(error)
            message = f"{place} does not give {name!r}: {reason}. --debug shows where."
            raise click.UsageError(message) from None
        place = f"{name!r}"
    return found


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


# --- Showing -------------------------------------------------------------------------------------


def _tree(explanation: Explanation, name: str) -> Tree:
    tree = Tree(_line(explanation, name), guide_style="dim")
    for part in explanation.parts:
        tree.add(_tree(part, part.name))
    if explanation.omitted:
        tree.add(Text(f"{explanation.omitted:,} more", style="dim"))
    return tree


def _line(explanation: Explanation, name: str) -> Text:
    style = _STYLES[explanation.how]
    line = Text.assemble((name, "bold"), f"  {explanation.type_name}  ", (explanation.how, style))
    if explanation.reference:
        line.append(f" as {explanation.reference}")
    if explanation.nbytes is not None:
        line.append(f"  {decimal(explanation.nbytes)}", style="dim")
    if explanation.reason:
        line.append(f": {explanation.reason}")
    if explanation.hint:
        line.append(f". {explanation.hint}", style="italic")
    return line
