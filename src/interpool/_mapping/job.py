"""One run of `interpool map`, from what was asked for to what came of it."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interpool._mapping.inside import Failure, Work
from interpool._mapping.journal import Journal, State
from interpool._mapping.places import Place, Unreachable, here, on_cluster
from interpool._mapping.reading import STDIN, Reader
from interpool._mapping.running import Run
from interpool._mapping.writing import Appended, Output, OutputError, without_mark

type Show = Callable[[int, int, int, str], None]
"""Told of records done, failed, and bytes read; and the first failure, in a line."""


class NotBegunError(Exception):
    """Why a run has not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was asked for: the options of the command line, by what they are called here."""

    target: str
    fn: Callable[[Any], Any]
    sources: tuple[str, ...]
    kind: str
    no_header: bool
    read: str | None
    encoding: str
    form: str
    output: str | None
    unordered: bool
    on_error: str
    errors: str | None
    resume: str | None
    workers: int | None
    timeout: float | None
    retries: int
    lane: Literal["auto", "interpreter", "process", "thread"]
    preload: tuple[str, ...]
    chunksize: int | None
    cluster: str | None
    tls: dict[str, str]
    trace: str | None = None

    @property
    def reader(self) -> Reader:
        """What reads the records."""
        return Reader(self.kind, self.encoding, has_header=not self.no_header)

    @property
    def terms(self) -> dict[str, Any]:
        """What batches are submitted with."""
        return {"timeout": self.timeout, "retries": self.retries, "lane": self.lane}

    def work(self, budget: float) -> Work:
        """What workers do, which hand back after so many seconds what they have not begun."""
        return Work(
            self.fn,
            name=self.target,
            kind=self.kind,
            read=self.read,
            encoding=self.encoding if self.kind == "files" else self.reader.sent_encoding,
            result_encoding=without_mark(self.encoding),
            form=self.form,
            stops=self.on_error == "stop",
            raises=self.retries > 0,
            reroutes=self.lane == "auto",
            budget=budget,
        )

    def subject(self) -> dict[str, Any]:
        """What makes it the same job: see `Journal`. How it is run may change, what is done not."""
        return {
            "function": [[self.target, _digest_of(self.target, self.fn)]],
            "input": [[source, *_version_of(source)] for source in self.sources],
            "--input": self.kind,
            "--no-header": self.no_header,
            "--read": self.read or "no",
            "--encoding": self.encoding,
            "--format": self.form,
            "--output": str(Path(self.output or "").absolute()),
            "--unordered": self.unordered,
            "--on-error": self.on_error,
            "--errors": str(Path(self.errors).absolute()) if self.errors else "no",
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a run.

    Attributes:
        done, failed: how many records, those of earlier runs included.
        first_failure: of this run, in a line.
        stopped_at: the failure that has ended it.
    """

    done: int
    failed: int
    first_failure: str
    stopped_at: Failure | None


def perform(
    job: Job,
    showing: Callable[[Job, Place], AbstractContextManager[Show]],
    say: Callable[[str], None],
) -> Ended:
    """Do it.

    Args:
        job: what was asked for.
        showing: shows how far it is.
        say: told what the user may want to know.

    Raises:
        NotBegunError, JournalError: if it has not begun.
        InputError, OutputError: if it could not be finished.
        BrokenExecutor: if no worker can be made ready, or the cluster is gone, or lacks something.
        BrokenPipeError: if nobody reads the output any more.
    """
    with ExitStack() as stack:
        # A cluster first: if it is out of reach, no file is touched.
        place = None if job.cluster is None else _entered(stack, on_cluster(job, say))
        state, output = _opened(job, stack)
        if job.output is None:
            stack.enter_context(_prints_to_stderr())
        place = place or _entered(stack, here(job))
        run = Run(
            place,
            job.work(place.budget),
            # What the pool limits, or runs again, is to be one record.
            chunksize=1 if job.timeout is not None or job.retries else job.chunksize,
            is_ordered=not job.unordered,
            state=state,
        )
        is_finished = False
        try:
            with showing(job, place) as show:
                show(output.done, output.failed, 0, "")
                for block, position, outcome in run.outcomes(job.reader.blocks(job.sources)):
                    output.write(block, position, outcome, is_told=job.on_error != "stop")
                    show(output.done, output.failed, block.nbytes, output.first_failure)
                    if outcome.is_stopped:
                        return Ended(
                            output.done, output.failed, output.first_failure, outcome.failures[-1]
                        )
            is_finished = True
        finally:
            run.end()
            if not is_finished:
                place.stop()
    return Ended(output.done, output.failed, output.first_failure, None)


def _entered(stack: ExitStack, place: AbstractContextManager[Place]) -> Place:
    try:
        return stack.enter_context(place)
    except Unreachable as error:
        raise NotBegunError(str(error)) from None


def _opened(job: Job, stack: ExitStack) -> tuple[State, Output]:
    """Open all files, for as long as the stack is not left."""
    try:
        journal = Journal(Path(job.resume), job.subject()) if job.resume else None
        if journal is not None:
            stack.callback(journal.close)
        state = State() if journal is None else journal.state
        results = Appended(Path(job.output) if job.output else None, state.nbytes)
        stack.callback(results.close)
        errors = Appended(Path(job.errors), state.error_nbytes) if job.errors else None
        if errors is not None:
            stack.callback(errors.close)
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise NotBegunError(message) from None
    except OutputError as error:
        raise NotBegunError(str(error)) from None
    output = Output(
        results, errors, journal, result_encoding=job.encoding, is_marked=job.form != "json"
    )
    return state, stack.enter_context(output)


@contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """Keep whatever is printed, in a worker or by code in C, from getting between the results.

    Results go to a descriptor of their own by then.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _digest_of(target: str, fn: Callable[[Any], Any]) -> str:
    """What the function's modules are made of; of what those import, nothing."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (target.partition(":")[0], getattr(fn, "__module__", None)):
        path = getattr(sys.modules.get(name or ""), "__file__", None)
        digest.update(sys.version.encode() if path is None else Path(path).read_bytes())
    return digest.hexdigest()


def _version_of(source: str) -> tuple[int, int]:
    if source == STDIN:
        return 0, 0
    found = Path(source).stat()
    return found.st_size, found.st_mtime_ns
