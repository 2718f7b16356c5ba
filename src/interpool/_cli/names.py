"""Names of modules and of what is in them, found without importing anything.

So that a shell can ask for them at every stroke of the Tab key, whatever the modules do.
"""

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from pkgutil import iter_modules


def modules_near(name: str) -> list[str]:
    """Return all modules that stand where this one would, in the same package or in none."""
    package, _, _ = name.rpartition(".")
    if not package:
        return [*sys.stdlib_module_names, *(it.name for it in iter_modules(_path()))]
    spec = _spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return []
    places = list(spec.submodule_search_locations)
    return [f"{package}.{it.name}" for it in iter_modules(places)]


def is_package(name: str) -> bool:
    """Whether there are modules in it."""
    spec = _spec(name)
    return spec is not None and bool(spec.submodule_search_locations)


def defined_in(module: str, *, is_function: bool = True) -> list[str]:
    """Return what a module defines at its top, by its source; nothing if that is not to be had.

    Args:
        module: its name.
        is_function: functions and classes alone.
    """
    spec = _spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return []
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except OSError, SyntaxError, ValueError:  # nothing to be offered, whatever the reason
        return []
    return list(dict.fromkeys(_defined(tree, is_function=is_function)))


def _defined(tree: ast.Module, *, is_function: bool) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name):
                yield name
            case ast.Assign(targets=targets) if not is_function:
                yield from (it.id for it in targets if isinstance(it, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)) if not is_function:
                yield name


def _path() -> list[str]:
    return list(dict.fromkeys(["", *sys.path]))


def _spec(name: str) -> ModuleSpec | None:
    """Find a module as import does, but without importing the packages that it is in."""
    path, prefix, spec = _path(), "", None
    for part in name.split("."):
        if not part:
            return None
        spec = PathFinder.find_spec(f"{prefix}{part}", path)
        if spec is None:
            return None
        path, prefix = list(spec.submodule_search_locations or ()), f"{prefix}{part}."
    return spec
