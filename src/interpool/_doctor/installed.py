"""What is installed: import names, and the distributions that they are of."""

import importlib.metadata
import platform
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final, NamedTuple

# Modules of the standard library that do more than they are asked for when they are imported: one
# opens a browser, the others print.
_JOKES: Final = frozenset({"antigravity", "this", "__hello__", "__phello__"})
PYTHON: Final = "Python"


class Owner(NamedTuple):
    """A distribution, and its version."""

    distribution: str
    version: str


class Installed:
    """What is installed now: made once for several questions."""

    def __init__(self) -> None:
        self._distributions = {
            # Without the broken ones, which have no name.
            name: tuple(dict.fromkeys(filter(None, names)))
            for name, names in importlib.metadata.packages_distributions().items()
        }

    def modules(self) -> list[str]:
        """Return the import names of all distributions, sorted; of namespaces, what is in them."""
        found: set[str] = set()
        for name, distributions in self._distributions.items():
            if not _is_public(name) or (spec := _spec_of(name)) is None:
                continue
            if spec.origin is not None:
                found.add(name)
            else:
                for distribution in distributions:
                    found.update(_within(name, _files_of(distribution)))
        return sorted(found, key=str.lower)

    def owner_of(self, module: str) -> Owner | None:
        """Return whose a module is.

        Returns:
            A distribution, or Python; None if it is nobody's, if several share it, or if the one
            that it is of is edited in place, so that its version says nothing.
        """
        top = module.partition(".")[0]
        if top in sys.builtin_module_names:
            return Owner(PYTHON, platform.python_version())
        spec = _spec_of(top)
        if spec is None:
            return None
        if _is_of_python(spec):
            return Owner(PYTHON, platform.python_version())
        names = self._distributions.get(top, ())
        if len(names) > 1:
            names = tuple(name for name in names if _holds(_files_of(name), module))
        if len(names) != 1:
            return None
        return _owner(names[0], spec)

    def modules_of(self, distribution: str) -> list[str]:
        """Return the import names of a distribution; none if it is not installed."""
        wanted = _normal(distribution)
        return sorted(
            name
            for name, names in self._distributions.items()
            if _is_public(name) and wanted in map(_normal, names)
        )


def standard_library() -> list[str]:
    """Return the public modules of the standard library that are there, sorted."""
    names = (name for name in sys.stdlib_module_names if name not in _JOKES)
    return sorted(
        name
        for name in names
        if _is_public(name) and (name in sys.builtin_module_names or _spec_of(name) is not None)
    )


def marker_of(distribution: str) -> str:
    """The name of the folder of a distribution's metadata, if the version is in it; "" if not."""
    version = importlib.metadata.distribution(distribution).version
    for parts in _files_of(distribution):
        if parts[0].endswith((".dist-info", ".egg-info")) and f"-{version}" in parts[0]:
            return parts[0]
    return ""


def is_absent(module: str) -> bool:
    """Whether there is no module of this name. Of what is in a package, it says that there is."""
    top, dot, _ = module.partition(".")
    return not dot and top not in sys.builtin_module_names and _spec_of(top) is None


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _spec_of(top: str) -> ModuleSpec | None:
    """Find a module without importing anything, and without asking what others have installed."""
    try:
        return PathFinder.find_spec(top)
    except Exception:  # a finder of somebody else's, for a folder of sys.path
        return None


def _owner(name: str, spec: ModuleSpec) -> Owner | None:
    distribution = importlib.metadata.distribution(name)
    origin = getattr(distribution, "origin", None)  # PEP 610
    if getattr(origin, "dir_info", None) is not None:
        return None
    if not _lies_in(spec, [Path(str(distribution.locate_file("")))]):
        return None  # another file of that name comes first on sys.path
    return Owner(name, distribution.version)


def _lies_in(spec: ModuleSpec, folders: Iterable[Path]) -> bool:
    if spec.origin in {"built-in", "frozen"}:
        return True
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return bool(places) and all(
        any(Path(place).is_relative_to(folder) for folder in folders) for place in places
    )


def _is_of_python(spec: ModuleSpec) -> bool:
    """Whether it is of the standard library: by its place, for some of it has no fixed name."""
    inner = {"site-packages", "dist-packages"}
    return _lies_in(spec, _library_folders()) and not inner & {*Path(str(spec.origin)).parts}


@cache
def _library_folders() -> tuple[Path, ...]:
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    folders = [Path(path) for path in paths if path]
    return *folders, *(folder.resolve() for folder in folders)


@cache
def _files_of(distribution: str) -> tuple[tuple[str, ...], ...]:
    files = importlib.metadata.distribution(distribution).files or ()
    return tuple(file.parts for file in files)


def _within(namespace: str, files: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the packages and modules right below a namespace."""
    for parts in files:
        if len(parts) < 2 or parts[0] != namespace:  # noqa: PLR2004 - folder and file
            continue
        name = parts[1].partition(".")[0]
        is_module = len(parts) == 2 and parts[1].endswith(".py")  # noqa: PLR2004 - the same
        if (is_module or parts[2:] == ("__init__.py",)) and _is_public(name):
            yield f"{namespace}.{name}"


def _holds(files: Iterable[tuple[str, ...]], module: str) -> bool:
    names = tuple(module.split("."))
    depth = len(names)
    return any(
        parts[:depth] == names
        or (parts[: depth - 1] == names[:-1] and parts[depth - 1 :][:1] == (f"{names[-1]}.py",))
        for parts in files
    )


def _normal(name: str) -> str:
    """A distribution's name as registries compare it (PEP 503)."""
    return name.lower().replace("_", "-").replace(".", "-")
