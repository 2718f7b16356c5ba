"""From what a process told, and how it ended, to a finding."""

import signal
from dataclasses import dataclass
from typing import Any, Final

from interpool._doctor.probing import Outcome
from interpool._doctor.report import Finding

# Windows' exit codes of programs that crash are NTSTATUS errors, the lowest of which this is.
_NTSTATUS_ERROR: Final = 0xC000_0000


@dataclass(slots=True)
class Story:
    """What a process told, put together.

    Attributes:
        loading: the modules that were being loaded at the end, each by the one before it.
        began: all that began to load.
        absent: all that were looked for and not found.
        refused: the extensions that refused.
        result: `loaded` or `raised`, with all that it tells; empty if it did not come to that.
        nbytes: by how much the process grew.
        has_ended: whether all went well to its end.
    """

    loading: list[str]
    began: set[str]
    absent: set[str]
    refused: list[str]
    result: tuple[Any, ...] = ()
    nbytes: int | None = None
    has_ended: bool = False

    @classmethod
    def of(cls, outcome: Outcome) -> Story:
        """Put together what a process told."""
        story = cls([], set(), set(), [])
        for words in outcome.told:
            match words:
                case ("+", str(name)):
                    story.loading.append(name)
                    story.began.add(name)
                case ("-",):
                    del story.loading[-1:]
                case ("?", str(name)):
                    story.absent.add(name)
                case ("refused", str(name)):
                    story.refused.append(name)
                case ("loaded", float()) | ("raised", float(), str(), str(), str(), list(), str()):
                    story.result = words
                case ("memory", int(nbytes)):
                    story.nbytes = nbytes
                case ("ended",):
                    story.has_ended = True
        return story


def finding_of(module: str, outcome: Outcome, story: Story, limit: float) -> Finding:
    """Say what came of importing a module.

    Args:
        module: its name.
        outcome: how its process ended.
        story: what that told.
        limit: seconds that it was allowed.
    """
    if story.has_ended and story.result:
        return _of_result(module, story)
    # It loaded, or raised, and then did not end: a pool whose worker imports it would not either.
    late = ", when its interpreter was to end" if story.result else ""
    chain = _chain(module, story.loading)
    if outcome.is_late:
        reason = f"not done after {limit:g} s{late}"
        return Finding(module, "hangs", chain=chain, reason=reason)
    if outcome.code < 0 or outcome.code >= _NTSTATUS_ERROR:
        reason = f"{_signal_name(outcome.code)}{late}"
        if last := _last_words(outcome.noise):
            reason += f": {last}"
        return Finding(module, "crashes", chain=chain, reason=reason)
    reason = f"it ended the process with status {outcome.code}{late}"
    if outcome.code and (last := _last_words(outcome.noise)):
        reason += f": {last}"
    return Finding(module, "fails", chain=chain, reason=reason)


def _of_result(module: str, story: Story) -> Finding:
    if story.result[0] == "loaded":
        seconds, without = story.result[1], tuple(dict.fromkeys(story.refused))
        return Finding(module, "loads", seconds=seconds, nbytes=story.nbytes, without=without)
    _, seconds, kind, message, missing, chain, extension = story.result
    message = " ".join(message.split())  # in one line: it is one of a table
    reason = f"{kind}: {message}" if message else kind
    if extension:
        others = tuple(name for name in dict.fromkeys(story.refused) if name != extension)
        return Finding(
            module,
            "refuses",
            seconds=seconds,
            extension=extension,
            chain=_chain(module, chain, extension),
            reason=reason,
            without=others,
        )
    if missing and module not in story.began and f"{module}.".startswith(f"{missing}."):
        return Finding(module, "not installed", reason=message)
    return Finding(
        module,
        "fails",
        seconds=seconds,
        chain=_chain(module, chain),
        reason=reason,
        without=tuple(dict.fromkeys(story.refused)),
    )


def _chain(module: str, loading: list[str], last: str = "") -> tuple[str, ...]:
    """Return it from the module itself on, its own packages before it left out."""
    names = loading[loading.index(module) :] if module in loading else [module, *loading]
    if last and names[-1] != last:
        names = [*names, last]
    return tuple(names)


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}" if code < 0 else f"exit code {code:#x}"


def _last_words(noise: str) -> str:
    """Return the line that says most: a fatal error's, else the last one."""
    lines = [line.strip() for line in noise.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1][:200]
