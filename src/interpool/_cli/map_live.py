"""What `interpool map --live` draws: a run and its pool, as they are now.

A thread of rich's asks for it a few times a second. It reads numbers that are there anyway, so the
run costs the same whether somebody looks or not.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

from rich import filesize
from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from interpool import Statistics
from interpool._mapping.job import Show

# How often it is drawn, a second, and of how many drawings rates are the mean: some five seconds.
_PER_SECOND: Final = 4
_REMEMBERED: Final = 21
# Columns at most. What is drawn narrow is less often folded when a terminal is made narrower.
_WIDTH: Final = 72
_LABELS: Final = 7
_TREND: Final = "▁▂▃▄▅▆▇█"
_TREND_LENGTH: Final = 12


@contextmanager
def drawing(
    target: str, statistics: Callable[[], Statistics], total: int | None, *, is_of_files: bool
) -> Iterator[Show]:
    """Draw on standard error, and yield what is told of the progress.

    Args:
        target: what is called.
        statistics: returns those of the pool.
        total: how many files or bytes there are, if that is known.
        is_of_files: whether it is files.
    """
    console = Console(stderr=True)
    view = View(target, total, is_of_files=is_of_files)
    width = 0

    def draw() -> RenderableType:
        nonlocal width
        before, width = width, min(console.width, _WIDTH)
        if width < before:  # a terminal may have folded what is there: it cannot be taken back
            console.control(Control.clear(), Control.home())
        return view.drawn(statistics(), time.monotonic(), width)

    with Live(
        get_renderable=draw,
        console=console,
        refresh_per_second=_PER_SECOND,
        transient=True,
    ):
        yield view.tell


class View:
    """What has been told of a run, and how it looks."""

    def __init__(self, target: str, total: int | None, *, is_of_files: bool) -> None:
        self._target = target
        self._total = total
        self._is_of_files = is_of_files
        self._began: float | None = None
        self._told = 0, 0, 0, ""
        # When it was drawn, records by then, and the share of workers that were busy.
        self._seen: deque[tuple[float, int, float]] = deque(maxlen=_REMEMBERED)

    def tell(self, done: int, failed: int, nbytes: int, first_failure: str) -> None:
        """Take note of the progress. All at once, since another thread draws."""
        self._told = done, failed, nbytes, first_failure

    def drawn(self, now: Statistics, when: float, width: int) -> RenderableType:
        """Return what is to be on the screen.

        Args:
            now: the pool's statistics.
            when: the time, in seconds from whenever.
            width: columns.
        """
        done, failed, nbytes, first_failure = self._told
        if self._began is None:
            self._began = when
        workers = now.workers
        there = workers.busy + workers.idle
        if not self._seen or when > self._seen[-1][0]:
            self._seen.append((when, done, workers.busy / there if there else 0))
        completed = done if self._is_of_files else nbytes
        view = Table.grid()
        view.width = width
        view.add_column(no_wrap=True, overflow="ellipsis")
        view.add_row(self._headline(when - self._began, completed))
        view.add_row(ProgressBar(self._total or None, completed, pulse=not self._total))
        view.add_row(self._table(now, done, failed))
        if first_failure:
            view.add_row(Text(f"first failure: {' '.join(first_failure.split())}", style="red"))
        return view

    def _headline(self, elapsed: float, completed: int) -> RenderableType:
        line = Table.grid(expand=True)
        line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        line.add_column(justify="right", no_wrap=True)
        words = _clock(elapsed)
        if self._total and completed:
            left = elapsed * max(self._total - completed, 0) / completed
            words = f"{min(completed / self._total, 1):.0%}  {words}  {_clock(left)} left"
        line.add_row(Text(self._target, style="bold"), words)
        return line

    def _table(self, now: Statistics, done: int, failed: int) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", min_width=_LABELS, no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        rates = self._rates()
        records = Text(f"{done:,} done")
        records.append(f"  {failed:,} failed", style="red" if failed else "dim")
        if rates:
            records.append(f"  {self._rate():,.0f} a second  {_trend(rates)}")
        table.add_row("records", records)
        table.add_row("workers", self._workers(now))
        lanes = [f"{name} {count:,}" for name, count in now.lanes.items() if count]
        table.add_row("lanes", "  ".join(lanes) or "-")
        table.add_row("queue", self._queue(now))
        memory = "" if now.memory is None else f"{filesize.decimal(now.memory)} in memory  "
        table.add_row(
            "bytes",
            f"{memory}{filesize.decimal(now.bytes_sent)} sent  "
            f"{filesize.decimal(now.bytes_received)} received",
        )
        return table

    def _workers(self, now: Statistics) -> str:
        it = now.workers
        share = sum(busy for _, _, busy in self._seen) / len(self._seen)
        words = f"{it.busy} busy  {it.idle} idle  {share:.0%} at work"
        others = {
            "starting": it.starting,
            "abandoned": it.abandoned,
            "processes": it.processes,
            "threads": it.threads,
        }
        return words + "".join(f"  {name} {count}" for name, count in others.items() if count)

    def _queue(self, now: Statistics) -> str:
        # More than there are workers have been taken where answers have come that nobody has read.
        it = now.workers
        running = min(now.tasks.running, it.busy + it.idle + it.processes + it.threads)
        words = f"{now.tasks.waiting:,} batches waiting  {running:,} running"
        if now.run_times.count:
            words += f"  {now.run_times.median * 1000:,.1f} ms each"
        if now.tasks.delayed:
            words += f"  delayed {now.tasks.delayed:,}"
        return words

    def _rate(self) -> float:
        (first, before, _), (last, done, _) = self._seen[0], self._seen[-1]
        return (done - before) / (last - first)

    def _rates(self) -> list[float]:
        """Records a second between drawings."""
        return [
            (done - before) / (last - first)
            for (first, before, _), (last, done, _) in pairwise(self._seen)
        ]


def _trend(rates: list[float]) -> str:
    most = max(rates) or 1
    steps = (round(rate / most * (len(_TREND) - 1)) for rate in rates[-_TREND_LENGTH:])
    return "".join(_TREND[step] for step in steps)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
