"""What a worker can find by itself: modules that it can import, and what they hold by name."""

import functools
import os
import sys
import types
import weakref
from collections.abc import Callable, Collection
from typing import Any, Final

from interpool._inside import MODULES

_FLAT_NAMES: Final = frozenset(f"_interpool_{name}" for name in MODULES)
_MAINS: Final = frozenset({"__main__", "__mp_main__"})


def is_importable(name: str) -> bool:
    """Whether a worker can import the loaded module of that name.

    A module that was made by hand, or by a loader that workers do not have, is in `sys.modules` and
    nowhere else. `__main__` is never imported: its code is sent, not run again. Nor is a module
    that is being imported: it uses a pool meanwhile, and would do so again in each worker, whose
    workers would; and what came back by its name would wait here for its import, which waits.
    """
    if name in _FLAT_NAMES:
        return True  # every worker has them from its first moment
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if spec is None or name in _MAINS or is_being_imported(name):
        return False
    path = tuple(map(str, sys.path))
    folder = _working_directory() if "" in path else ""
    return _is_found(name, spec.origin, path, folder)


def is_being_imported(name: str) -> bool:
    """Whether a module's code, or that of a package that it is in, is still running."""
    while name:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if getattr(spec, "_initializing", False) is True:
            return True
        name, _, _ = name.rpartition(".")
    return False


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - of each object that is sent
    except OSError:  # it has been removed
        return ""


@functools.lru_cache(maxsize=4096)
def _is_found(name: str, origin: str | None, _path: tuple[str, ...], _folder: str) -> bool:
    """Whether the finders find a module anew, in the same place.

    `_path` and the working directory, if it is searched, are there for the cache.
    """
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
    return isinstance(name, str) and isinstance(qualname, str) and is_found(obj, name, qualname)


def is_found(obj: Any, name: str, qualname: str) -> bool:
    """Whether that module holds this very object under that name, here and in a worker."""
    found: Any = sys.modules.get(name)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    return found is obj and is_importable(name)


def is_of_stdlib(name: str) -> bool:
    """Whether a module is the standard library's, and so in every worker as it is here."""
    return name.partition(".")[0] in sys.stdlib_module_names and is_importable(name)


def names_of(module: types.ModuleType, mentioned: Collection[str] = ()) -> list[str]:
    """Return a module's name, and those of its loaded submodules mentioned part by part.

    `import a.b` binds `a`, and a function that says `a.b.c` needs `a.b` imported too.
    """
    prefix = module.__name__ + "."
    return [module.__name__] + [
        name
        for name in list(sys.modules)
        if name.startswith(prefix) and not set(name[len(prefix) :].split(".")).difference(mentioned)
    ]


class Kept[K, V]:
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
