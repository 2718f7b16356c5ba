"""What was found before, kept on disk: it holds for the same files in the same build of Python.

A finding is kept with the versions of all distributions that had a part in it, and with the names
of the modules that were looked for in vain: it is used again only where all of them are as they
were. Findings that a busy machine or the surroundings may have caused (fails, crashes, hangs) are
not kept, nor is anything that a module without a distribution had a part in.

A file that cannot be read, written or understood is as good as none.
"""

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from interpool._doctor.installed import Installed, Owner, is_absent
from interpool._doctor.report import Finding

# Raise it when what is probed, or how it is kept, changes.
_FORMAT: Final = 1
# Findings in the file, the newest: some megabyte. Arbitrary.
_MOST: Final = 5000
_KEPT: Final = frozenset({"loads", "refuses"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding, and what it holds for.

    Attributes:
        finding: as `Finding.as_dict` has it.
        versions: of the distributions that had a part in it.
        modules: one of each of them: a distribution is the same if this is still its.
        absent: top-level modules that were looked for and not found.
    """

    finding: dict[str, Any]
    versions: dict[str, str]
    modules: dict[str, str]
    absent: list[str]


def folder() -> Path:
    """Return the folder of the user's caches that is this package's."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        named = os.environ.get("XDG_CACHE_HOME", "")
        # The specification says that a relative one is to be ignored.
        base = named if named.startswith("/") else Path.home() / ".cache"
    return Path(base) / "interpool"


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


class Cache:
    """The findings of one build of Python; to be used by one thread at a time."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed
        self._new: dict[str, Entry] = {}
        with contextlib.suppress(RuntimeError):  # nobody knows where home is
            name = f"doctor-{hashlib.sha256(build().encode()).hexdigest()[:16]}.json"
            self._path: Path | None = folder() / name
        self._entries = _read(getattr(self, "_path", None))

    def get(self, module: str) -> Finding | None:
        """Return what was found, if it still holds."""
        owner = self._installed.owner_of(module)
        if owner is None or (entry := self._entries.get(_key(module, owner))) is None:
            return None
        for distribution, version in entry.versions.items():
            now = self._installed.owner_of(entry.modules.get(distribution, ""))
            if now != Owner(distribution, version):
                return None
        if not all(map(is_absent, entry.absent)):
            return None
        try:
            return replace(Finding.from_dict(entry.finding), is_cached=True)
        except TypeError:
            return None

    def put(self, finding: Finding, began: Iterable[str], absent: Iterable[str]) -> None:
        """Keep a finding, if it is worth it.

        Args:
            finding: what was found.
            began: the modules that began to load.
            absent: those that were looked for and not found.
        """
        owner = self._installed.owner_of(finding.module)
        if owner is None or finding.verdict not in _KEPT:
            return
        versions, modules = {}, {}
        for top in {name.partition(".")[0] for name in began}:
            # Of a namespace, several have parts: the one that was imported counts.
            names = [top, *(name for name in began if name.startswith(f"{top}."))]
            owners = {self._installed.owner_of(name): name for name in reversed(names)}
            owners.pop(None, None)
            if not owners:
                return  # the user's own, which may be another one tomorrow
            for one, name in owners.items():
                assert one is not None  # noqa: S101 - taken out above
                versions[one.distribution], modules[one.distribution] = one.version, name
        gone = sorted({name for name in absent if is_absent(name)})
        self._new[_key(finding.module, owner)] = Entry(finding.as_dict(), versions, modules, gone)

    def save(self) -> None:
        """Write what is new, all at once or not at all."""
        path = getattr(self, "_path", None)
        if not self._new or path is None:
            return
        # Read again: another process may have written meanwhile.
        entries = _read(path)
        for key, entry in self._new.items():
            entries.pop(key, None)
            entries[key] = entry  # at the end, where the newest are
        kept = dict([*entries.items()][-_MOST:])
        text = json.dumps({key: asdict(entry) for key, entry in kept.items()})
        with contextlib.suppress(OSError):
            _write(path, text)


def _key(module: str, owner: Owner) -> str:
    return f"{module} {owner.distribution} {owner.version}"


def _read(path: Path | None) -> dict[str, Entry]:
    try:
        plain = json.loads(path.read_bytes()) if path is not None else {}
    except OSError, ValueError, RecursionError:
        return {}
    if not isinstance(plain, dict):
        return {}
    return {key: entry for key, it in plain.items() if (entry := _entry(it)) is not None}


def _entry(plain: Any) -> Entry | None:
    match plain:
        case {
            "finding": {"module": str(), "verdict": str(verdict)} as finding,
            "versions": dict(versions),
            "modules": dict(modules),
            "absent": list(absent),
        } if verdict in _KEPT and _are_texts(*versions.values(), *modules.values(), *absent):
            return Entry(finding, versions, modules, absent)
    return None


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
