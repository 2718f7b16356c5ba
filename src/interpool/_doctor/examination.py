"""`doctor`: examines modules, a few at a time."""

import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from interpool._doctor.report import Diagnosis, Finding

if TYPE_CHECKING:
    from interpool._doctor.installed import Installed
    from interpool._doctor.probing import Prober
    from interpool._doctor.verdicts import Story

# Seconds that a module may take. The largest take some ten, on a cold disk; the rest is for busy
# machines.
LIMIT: Final = 60.0
# The most that it may be given, for timers take no more than some: eleven days. Arbitrary.
_LONGEST: Final = 1e6

type OnFinding = Callable[[Finding], None]
"""Told of each finding as it comes."""

type OnBegin = Callable[[int], None]
"""Told how many findings will come."""


def doctor(
    modules: str | Iterable[str] | None = None,
    *,
    stdlib: bool = False,
    timeout: float = LIMIT,
    max_workers: int | None = None,
    cache: bool = True,
) -> Diagnosis:
    """Find out which modules load in an isolated interpreter, where tasks run.

    Each is imported in a process of its own, with `sys.path` as it is here, so neither a crash nor
    a hang does any harm, and nothing is imported here. What a module does when it is imported, it
    does. What fails in an interpreter is tried in the main interpreter of another process as well.

    What is found of installed distributions is kept in the user's cache folder, and is used again
    as long as their versions and this build of Python are the same.

    Args:
        modules: a module's name, or several; None: all top-level modules of all installed
            distributions, and what is in namespace packages.
        stdlib: the standard library's public modules, too.
        timeout: seconds that one module may take.
        max_workers: how many are examined at once; as many as there are cores, if None. What runs
            beside them makes them slower.
        cache: whether to use what was found before, and to keep what is found.

    Returns:
        A finding a module, each module once, in the order in which they were named; what is
        installed, and the standard library, sorted.

    Raises:
        ValueError: if a name is not of the form of a module's, or a number is not above 0.
        RuntimeError: if there is no Python that could be started (`sys.executable` is empty).
        OSError: if no process can be started.

    Thread-safety: may be called from any thread. Interrupting it, by Ctrl-C, ends the processes.

    .. versionadded:: 0.1
    """
    return examine(
        [modules] if isinstance(modules, str) else modules or (),
        is_all=modules is None,
        stdlib=stdlib,
        limit=timeout,
        max_workers=max_workers,
        is_cached=cache,
    )


def examine(
    modules: Iterable[str],
    *,
    is_all: bool = False,
    stdlib: bool = False,
    limit: float = LIMIT,
    max_workers: int | None = None,
    is_cached: bool = True,
    on_begin: OnBegin = lambda _: None,
    on_finding: OnFinding = lambda _: None,
) -> Diagnosis:
    """Do what `doctor` does, and tell of it meanwhile.

    Args:
        modules: names.
        is_all: whether all that is installed is examined after them.
        stdlib: the same of the standard library.
        limit: seconds that one may take.
        max_workers: as there.
        is_cached: whether there is a cache.
        on_begin: told how many modules there are.
        on_finding: told of each finding, in whichever order.
    """
    # Not until it is used: the engine's users pay for none of this.
    from interpool._cpu import available_cores
    from interpool._doctor.cache import Cache
    from interpool._doctor.installed import Installed, standard_library
    from interpool._doctor.probing import Prober

    if not 0 < limit <= _LONGEST:
        raise ValueError(
            f"timeout must be above 0 seconds, and {_LONGEST:g} at most, not {limit!r}"
        )
    if max_workers is not None and max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, not {max_workers!r}")
    installed = Installed()
    names = [_checked(name) for name in modules]
    names += installed.modules() if is_all else []
    names += standard_library() if stdlib else []
    names = [*dict.fromkeys(names)]
    on_begin(len(names))
    kept = Cache(installed) if is_cached else None
    findings: dict[str, Finding] = {}
    for name in names if kept is not None else ():
        if kept is not None and (finding := kept.get(name)) is not None:
            findings[name] = finding
            on_finding(finding)
    waiting = [name for name in names if name not in findings]

    def take(finding: Finding, story: Story) -> None:
        findings[finding.module] = finding
        if kept is not None:
            kept.put(finding, story.began, story.absent)
        on_finding(finding)

    try:
        _run_all(
            _Examiner(Prober(limit), installed, limit),
            waiting,
            min(max_workers or available_cores(), len(waiting)),
            take,
        )
    finally:
        if kept is not None:
            kept.save()  # what was found before an interrupt, too
    return Diagnosis(tuple(findings[name] for name in names), sys.version)


def _checked(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a module's name is a str, not {type(name).__name__}: {name!r}")
    # Hyphens are in the names of distributions, which people will try: they get a row.
    if not name or not all(part.replace("-", "_").isidentifier() for part in name.split(".")):
        raise ValueError(f"{name!r} is not the name of a module, like json or xml.etree")
    return name


class _Examiner:
    """Examines one module after the other, from any number of threads."""

    def __init__(self, prober: Prober, installed: Installed, limit: float) -> None:
        self._prober = prober
        self._installed = installed
        self._limit = limit

    def close(self) -> None:
        """End the processes."""
        self._prober.close()

    def examine(self, module: str) -> tuple[Finding, Story]:
        """Examine one, and tell what its import did."""
        from interpool._doctor.verdicts import Story, finding_of

        outcome = self._prober.probe(module, "interpreter")
        story = Story.of(outcome)
        finding = finding_of(module, outcome, story, self._limit)
        if finding.verdict in {"fails", "crashes", "hangs"}:
            finding = self._tried_in_main(finding)
        return self._introduced(finding), story

    def _tried_in_main(self, finding: Finding) -> Finding:
        from interpool._doctor.verdicts import Story

        story = Story.of(self._prober.probe(finding.module, "main"))
        loads = story.has_ended and story.result[:1] == ("loaded",)
        if finding.verdict == "fails" and finding.without and loads:
            # It caught the refusal, and then missed the extension after all.
            culprit = finding.without[-1]
            finding = replace(finding, verdict="refuses", extension=culprit)
        return replace(finding, loads_in_process=loads)

    def _introduced(self, finding: Finding) -> Finding:
        """Say of which distribution it is; of what is no module, which it has, if it is one."""
        module = finding.module
        if finding.verdict == "not installed":
            if names := self._installed.modules_of(module):
                reason = f"{module} is a distribution; its modules: {', '.join(names)}"
                return replace(finding, reason=reason)
            return finding
        owner = self._installed.owner_of(module)
        if owner is None:
            return finding
        return replace(finding, distribution=owner.distribution, version=owner.version)


def _run_all(
    examiner: _Examiner,
    modules: Iterable[str],
    workers: int,
    take: Callable[[Finding, Story], None],
) -> None:
    """Examine modules in several threads, and take each finding in this one.

    However it ends, no thread and no process is left.
    """
    import queue

    from interpool import _threads
    from interpool._interrupts import Deferred

    waiting = deque(modules)
    count = len(waiting)
    done: queue.SimpleQueue[tuple[Finding, Story] | Exception] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                module = waiting.popleft()
            except IndexError:
                return
            try:
                done.put(examiner.examine(module))
            except Exception as error:  # no process could be started, or none is wanted any more
                done.put(error)
                return

    threads = [_threads.make(work, f"interpool-doctor-{number}") for number in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(count):
            found = done.get()
            if isinstance(found, Exception):
                raise found
            take(*found)
    finally:
        with Deferred():  # a second Ctrl-C must not keep the first one from ending them
            waiting.clear()
            examiner.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
