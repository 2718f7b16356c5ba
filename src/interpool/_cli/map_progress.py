"""How far a run of `interpool map` is, on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from interpool._mapping.job import Job
from interpool._mapping.reading import total_size


@contextmanager
def showing(job: Job, is_shown: bool) -> Iterator[Callable[[int, int, int], None]]:
    """Yield what is told of the progress: records done, failed, and bytes read.

    It is told first of what there is at the beginning, of an earlier run.
    """
    if not is_shown:
        yield lambda _done, _failed, _nbytes: None
        return
    # Imported here: it takes as long as the whole start of a run that shows nothing.
    from rich import progress as bars
    from rich.console import Console

    # Of paths, each is a record; else how far it is goes by what was read, which is a bit ahead.
    is_of_files = job.kind == "files"
    total = len(job.sources) if is_of_files else total_size(job.sources)
    with bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(show_speed=False),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True, force_terminal=True),  # it was asked for, or is one
        transient=True,
    ) as progress:
        task = progress.add_task("reading", total=total)
        begin = time.monotonic()
        before: int | None = None  # what an earlier run has done

        def show(done: int, failed: int, nbytes: int) -> None:
            nonlocal before
            before = done if before is None else before
            words = words_of(done, failed, before, time.monotonic() - begin)
            completed = done if is_of_files else nbytes
            progress.update(task, completed=completed, description=words)

        yield show


def words_of(done: int, failed: int, before: int, seconds: float) -> str:
    """Say how many records are done and have failed, and how many this run has done a second."""
    words = f"{done:,} done"
    if done > before and seconds > 0:
        words += f", {(done - before) / seconds:,.0f}/s"
    return words + (f", {failed:,} failed" if failed else "")
