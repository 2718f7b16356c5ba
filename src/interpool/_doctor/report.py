"""What the doctor finds: one finding a module, and all of them together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

type Verdict = Literal["loads", "refuses", "fails", "crashes", "hangs", "not installed"]
"""What came of importing a module in an isolated interpreter."""

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of importing one module in an isolated interpreter.

    Attributes:
        module: its name.
        verdict: `"loads"`; `"refuses"`: an extension module, its own or one that it imports, does
            not load in interpreters; `"fails"`: it raises, or ends the process; `"crashes"`;
            `"hangs"`: it took longer than it may; `"not installed"`.
        seconds: how long the import took, the interpreter's own start not counted; None if it did
            not end.
        nbytes: by how much the resident memory of a fresh process grew by it; None if it does not
            load, or if the system does not tell. Pages shared with other processes count, and what
            a second interpreter would need is less. Where the system tells only the peak (macOS),
            the growth of the peak.
        extension: which extension module refuses.
        chain: from this module to the one to blame, each imported by the one before it.
        reason: the error, the signal or the time that it took, in words.
        loads_in_process: whether it loads in the main interpreter of a fresh process; None if that
            was not tried, since the verdict says it all.
        without: extension modules that refuse, and that it does without.
        distribution: of which installed distribution it is; empty if of none.
        version: that distribution's.
        is_cached: whether it was found in an earlier run.

    .. versionadded:: 0.1
    """

    module: str
    verdict: Verdict
    seconds: float | None = None
    nbytes: int | None = None
    extension: str = ""
    chain: tuple[str, ...] = ()
    reason: str = ""
    loads_in_process: bool | None = None
    without: tuple[str, ...] = ()
    distribution: str = ""
    version: str = ""
    is_cached: bool = False

    @property
    def loads(self) -> bool:
        """Whether it loads in an interpreter."""
        return self.verdict == "loads"

    @property
    def lane(self) -> Literal["interpreter", "process", ""]:
        """Where tasks that import it can run; empty: nowhere."""
        if self.loads:
            return "interpreter"
        if self.verdict == "refuses" or self.loads_in_process:
            return "process"
        return ""

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        match self.verdict:
            case "loads":
                return "runs in the interpreter lane"
            case "not installed":
                return "install it, or mind its spelling"
            case _ if self.lane:
                return "runs in the process lane"
            case "hangs":
                return "takes too long in a process of its own, too: allow more time, or mend it"
            case _:
                return "does not load in a process of its own either: mend that first"

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain data, as JSON takes it; what is empty is left out."""
        plain = {it.name: getattr(self, it.name) for it in fields(self)}
        kept = {name: value for name, value in plain.items() if value not in {"", None, ()}}
        for name in ("chain", "without"):
            if name in kept:
                kept[name] = list(kept[name])
        return kept

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Finding:
        """Return what `as_dict` was made of.

        Raises:
            TypeError: if it is not of that form.
        """
        lists = {name: tuple(plain[name]) for name in ("chain", "without") if name in plain}
        return cls(**{**plain, **lists})

    def __str__(self) -> str:
        """Return it in a line."""
        words = f"{self.module}: {self.verdict}"
        if self.loads and self.seconds is not None:
            words += f", {self.seconds:.3f} s"
            if self.nbytes is not None:
                words += f", {self.nbytes / _MIB:.1f} MiB"
        if len(self.chain) > 1:
            words += f", {' -> '.join(self.chain)}"
        if self.reason:
            words += f": {self.reason}"
        return words


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of examining several modules.

    Attributes:
        findings: one a module, in the order in which they were named.
        python: the version and build of Python that they were examined with.

    .. versionadded:: 0.1
    """

    findings: tuple[Finding, ...]
    python: str

    def __iter__(self) -> Iterator[Finding]:
        """Yield the findings."""
        return iter(self.findings)

    def __getitem__(self, module: str) -> Finding:
        """Return the finding of a module.

        Raises:
            KeyError: if it was not examined.
        """
        for finding in self.findings:
            if finding.module == module:
                return finding
        raise KeyError(module)

    @property
    def all_load(self) -> bool:
        """Whether every module loads in an interpreter."""
        return all(finding.loads for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain data, as JSON takes it."""
        return {"python": self.python, "findings": [it.as_dict() for it in self.findings]}

    def __str__(self) -> str:
        """Return it in a line a module."""
        return "\n".join(map(str, self.findings))
