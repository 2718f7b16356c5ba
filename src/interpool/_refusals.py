"""Modules that `doctor` has found to refuse interpreters, kept on disk for the pools to come.

One small file for each build of Python, a finding a line, beside what `doctor` keeps for itself: it
writes (`_doctor.cache`), the router reads, once a process and without importing anything for it. A
finding holds where the distributions that had a part in it are installed in the same versions, and
what was looked for in vain is not there.

A file that cannot be read or understood is as good as none, and so is a line of it.
"""

import binascii
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Final, Self

# Raise it when what is probed, or how it is kept, changes.
_FORMAT: Final = 2
# What a program's own modules are called that no import finds.
_NOBODY: Final = frozenset({"__main__", "__mp_main__"})
_FIELDS: Final = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """A module that is refused, and what that holds for.

    Attributes:
        extension: the one that refuses.
        chain: the modules by whose imports it was reached.
        owners: of each distribution that had a part, a top-level module and the name of what lies
            beside that: the folder of its metadata, which says the version.
        absent: top-level modules that were looked for and not found.
    """

    extension: str
    chain: tuple[str, ...]
    owners: tuple[tuple[str, str], ...]
    absent: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The modules that are known to be refused by that: see `names_of`."""
        return names_of(self.extension, self.chain)

    def holds(self) -> bool:
        """Whether what it holds for is still so."""
        are_same = all(_lies_beside(module, marker) for module, marker in self.owners)
        return are_same and not any(map(_places_of, self.absent))

    def as_line(self) -> str | None:
        """The line of a file; None if it cannot be told apart from others there."""
        owners = [part for owner in self.owners for part in owner]
        fields = [[self.extension], self.chain, owners, self.absent]
        if any(len(text.split()) != 1 for field in fields for text in field):
            return None
        return "\t".join(map(" ".join, fields))

    @classmethod
    def from_line(cls, line: str) -> Self | None:
        """Read a line; None if it makes no sense."""
        fields = [field.split(" ") if field else [] for field in line.split("\t")]
        if len(fields) != _FIELDS or len(fields[0]) != 1 or len(fields[2]) % 2:
            return None
        [extension], chain, owners, absent = fields
        pairs = zip(owners[::2], owners[1::2], strict=True)
        return cls(extension, tuple(chain), tuple(pairs), tuple(absent))


def names_of(extension: str, chain: Iterable[str]) -> list[str]:
    """Name the modules that are refused because of an extension, as far as one refusal says.

    Not what is the standard library's, or the program's: what of those is refused, something else
    may do without.
    """
    names = *chain, extension, package_of(extension)
    return [
        name
        for name in dict.fromkeys(names)
        if package_of(name) not in _NOBODY and package_of(name) not in sys.stdlib_module_names
    ]


def package_of(module: str) -> str:
    """The top-level package that a module is in, or the module."""
    return module.partition(".")[0]


def folder() -> str | None:
    """Return the folder of the user's caches that is this package's; None if nobody knows it."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or _at_home("AppData", "Local")
    elif sys.platform == "darwin":
        base = _at_home("Library", "Caches")
    else:
        named = os.environ.get("XDG_CACHE_HOME", "")
        # The specification says that a relative one is to be ignored.
        base = named if named.startswith("/") else _at_home(".cache")
    return os.path.join(base, "interpool") if base else None  # noqa: PTH118 - as below


def _at_home(*parts: str) -> str:
    # Not by `pathlib`, which raises if nobody knows.
    home = os.path.expanduser("~")  # noqa: PTH111
    return "" if home.startswith("~") else os.path.join(home, *parts)  # noqa: PTH118


def build() -> str:
    """Return what this build of Python is told from others by."""
    parts = (
        str(_FORMAT),
        sys.version,
        sys.implementation.cache_tag,
        getattr(sys, "abiflags", ""),
        sysconfig.get_platform(),
    )
    return "\n".join(map(str, parts))


def file_name() -> str:
    """The name of the file, for this build."""
    # Not by `hashlib`, which takes 3 ms to import.
    return f"refusing-{binascii.crc32(build().encode()):08x}.txt"


def read() -> dict[str, list[Refusal]]:
    """Return what is kept for this build, by the names of the modules that are refused."""
    found: dict[str, list[Refusal]] = {}
    if (where := folder()) is None:
        return found
    try:
        with open(os.path.join(where, file_name()), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            lines = file.read().split("\n")
    except OSError, ValueError:
        return found
    for refusal in filter(None, map(Refusal.from_line, lines)):
        for name in refusal.names:
            found.setdefault(name, []).append(refusal)
    return found


def _lies_beside(module: str, marker: str) -> bool:
    """Whether that is beside what is found as a top-level module."""
    return any(
        os.path.exists(os.path.join(os.path.dirname(place), marker))  # noqa: PTH110, PTH118, PTH120
        for place in _places_of(module)
    )


def _places_of(module: str) -> list[str]:
    """Find a top-level module: its folders, if it is a package, or its file; none if it is none."""
    if module in sys.builtin_module_names:
        return ["built-in"]
    try:
        spec = PathFinder.find_spec(module)
    except Exception:  # a finder of somebody else's, for a folder of sys.path
        spec = None
    if spec is None:
        return []
    return [*(spec.submodule_search_locations or ())] or [str(spec.origin)]
