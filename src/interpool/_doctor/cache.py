"""What was found before, kept on disk: it holds for the same files in the same build of Python.

A finding is kept with the versions of all distributions that had a part in it, and with the names
of the modules that were looked for in vain: it is used again only where all of them are as they
were. Findings that a busy machine or the surroundings may have caused (fails, crashes, hangs) are
not kept, nor is anything that a module without a distribution had a part in.

What refuses is written to a second file, in fewer words, for pools to know it at once
(`interpool._refusals`).

A file that cannot be read, written or understood is as good as none.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from interpool._doctor.installed import PYTHON, Installed, Owner, is_absent, marker_of
from interpool._doctor.report import Finding
from interpool._refusals import Refusal, build, file_name, folder, package_of

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
        markers: where the metadata of each of those distributions lies, "" for those of which that
            does not tell the version.
    """

    finding: dict[str, Any]
    versions: dict[str, str]
    modules: dict[str, str]
    absent: list[str]
    markers: dict[str, str]

    def as_refusal(self) -> Refusal | None:
        """What pools are to know of it; None if that is nothing."""
        match self.finding:
            case {
                "module": str(module),
                "verdict": "refuses",
                "extension": str(extension),
                "chain": [*chain],
                "distribution": str(own),
            }:
                # One of a distribution may be somebody else's now, and the named one is not to be.
                owners = [(package_of(module), self.markers.get(own, ""))] + [
                    (package_of(self.modules[name]), self.markers.get(name, ""))
                    for name in self.versions
                    if name != PYTHON and name in self.modules
                ]
                owners = [*dict.fromkeys(owners)]
                refusal = Refusal(extension, tuple(chain), tuple(owners), tuple(self.absent))
                is_telling = all(marker for _, marker in owners)
                return refusal if is_telling and refusal.names else None
        return None


class Cache:
    """The findings of one build of Python; to be used by one thread at a time."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed
        self._new: dict[str, Entry] = {}
        where = folder()
        name = f"doctor-{hashlib.sha256(build().encode()).hexdigest()[:16]}.json"
        self._path = None if where is None else Path(where, name)
        self._entries = _read(self._path)

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
        markers = {name: marker_of(name) for name in versions if name != PYTHON}
        self._new[_key(finding.module, owner)] = Entry(
            finding.as_dict(), versions, modules, gone, markers
        )

    def save(self) -> None:
        """Write what is new, all at once or not at all."""
        path = self._path
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
            _write_refusals(path.parent / file_name(), kept.values())


def _write_refusals(path: Path, entries: Iterable[Entry]) -> None:
    refusals = filter(None, (entry.as_refusal() for entry in entries))
    lines = [line for refusal in refusals if (line := refusal.as_line()) is not None]
    if lines or path.exists():
        _write(path, "\n".join(lines))


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
            "markers": dict(markers),
        } if verdict in _KEPT and _are_texts(
            *(*versions.values(), *modules.values(), *absent, *markers.values())
        ):
            return Entry(finding, versions, modules, absent, markers)
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
