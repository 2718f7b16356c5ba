"""How far a run of `interpool map` is, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from interpool._mapping.job import Job
from interpool._mapping.reading import total_size


@contextmanager
def showing(job: Job, is_shown: bool) -> Iterator[Callable[[int, int, int], None]]:
    """Yield what is told of the progress: records done, failed, and bytes read."""
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
        console=Console(stderr=True, force_terminal=True),  # it was asked for, or is one
        transient=True,
    ) as progress:
        task = progress.add_task("reading", total=total)

        def show(done: int, failed: int, nbytes: int) -> None:
            words = f"{done:,} done" + (f", {failed:,} failed" if failed else "")
            completed = done if is_of_files else nbytes
            progress.update(task, completed=completed, description=words)

        yield show
