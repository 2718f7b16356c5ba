"""What the demo shows: the hardest modules, and who measured them how fast."""

import os
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from .analysis import Module, Unreadable
from .race import OURS, SERIAL, Run, chunk_size, number_of_runs
from .sources import module_name

_WIDTH = 80  # columns, all tables together with their margins
_BAR_WIDTH = 28  # columns: what the other columns of its table leave
_QUIET = 0.5  # load average, in cores, that hardly disturbs the times; arbitrary
_NAMES_SHOWN = 5
_UNREADABLE_SHOWN = 10


class Report:
    """Everything the demo prints."""

    def __init__(self, folder: Path, svg: str | None = None) -> None:
        self._folder = folder
        self._svg = svg
        self._console = Console(highlight=False, record=svg is not None)

    def begin(self, files: int, nbytes: int) -> None:
        """Say what is going to be measured."""
        self._console.print(
            f"\n[bold]Python source, measured five ways[/]\n"
            f"{files} files, {nbytes / 1e6:.1f} MB, in [cyan]{escape(str(self._folder))}[/]\n"
        )
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if load > _QUIET:
            self._console.print(
                f"[yellow]This machine is busy, or was just now (load average {load:.1f}): "
                "the times may be off.[/]\n",
                width=_WIDTH,
            )

    def track(self, runs: Iterable[Run], rounds: int) -> Iterator[Run]:
        """Pass the runs on, with a bar in terminals; no thread draws it, which would slow them."""
        with Progress(
            TextColumn("running"),
            BarColumn(),
            MofNCompleteColumn(),
            console=Console(),  # not the one that a picture is made of
            auto_refresh=False,
            transient=True,
            disable=not self._console.is_terminal,
        ) as progress:
            yield from progress.track(runs, total=number_of_runs(rounds))

    def show_modules(self, results: Sequence[Module | Unreadable], top: int) -> None:
        """Print the hardest modules, the sums of all, and the names used most."""
        modules = [result for result in results if isinstance(result, Module)]
        table = _table()
        # Names are cut where the terminal is narrow, numbers never.
        table.add_column("hardest modules", style="cyan", overflow="ellipsis")
        for heading in ("lines", "funcs", "classes", "depth", "paths"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("max", justify="right", no_wrap=True)
        table.add_column("hardest function", overflow="ellipsis")
        for module in sorted(modules, key=lambda module: -module.complexity)[:top]:
            table.add_row(
                escape(module_name(Path(module.path), self._folder)),
                *map("{:,}".format, (module.lines, module.functions, module.classes)),
                str(module.nesting),
                f"[bold]{module.complexity:,}[/]",
                str(module.hardest_complexity or ""),
                escape(module.hardest),
            )
        self._console.print(table)
        self._note("paths: McCabe's cyclomatic complexity; depth: blocks within blocks\n")
        self._show_sums(modules)
        self._show_unreadable([result for result in results if isinstance(result, Unreadable)])

    def _show_sums(self, modules: Sequence[Module]) -> None:
        sums = {
            "modules": len(modules),
            "lines": sum(module.lines for module in modules),
            "functions": sum(module.functions for module in modules),
            "classes": sum(module.classes for module in modules),
        }
        names: Counter[str] = Counter()
        for module in modules:
            names.update(module.names)
        common = names.most_common(_NAMES_SHOWN)
        self._pairs("in all", list(sums.items()))
        self._pairs("most used names", common)

    def _pairs(self, heading: str, pairs: Sequence[tuple[str, int]]) -> None:
        shown = ", ".join(f"{number:,} [cyan]{escape(what)}[/]" for what, number in pairs)
        self._console.print(f"[bold]{heading}[/]  {shown}", width=_WIDTH)

    def _show_unreadable(self, files: Sequence[Unreadable]) -> None:
        if not files:
            self._console.print("[bold]not parsed[/]  none")
            return
        self._console.print(f"[bold]not parsed[/]  [yellow]{len(files)}[/]")
        for file in files[:_UNREADABLE_SHOWN]:
            name = Path(file.path).relative_to(self._folder)
            self._console.print(f"  {escape(str(name))}: {escape(file.reason)}")

    def show_times(
        self, seconds: Mapping[str, Sequence[float]], *, files: int, workers: int
    ) -> None:
        """Print everyone's time, with bars for the speed-ups, and what all this ran on."""
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        fastest = min(medians.values())
        count = len(seconds[SERIAL])
        rounds = "one round" if count == 1 else f"medians of {count} rounds, in turns"
        table = _table()
        table.add_column("the same work by", no_wrap=True)
        table.add_column("seconds", justify="right")
        table.add_column("speed-up", justify="right")
        table.add_column("", width=_BAR_WIDTH)
        for name, median in medians.items():
            style = {OURS: "bold green", SERIAL: "dim"}.get(name, "cyan")
            bar = ProgressBar(
                total=medians[SERIAL] / fastest,
                completed=medians[SERIAL] / median,
                width=_BAR_WIDTH,
                style="black",
                complete_style=style,
                finished_style=style,
            )
            speedup = f"{medians[SERIAL] / median:.2f} x"
            table.add_row(name, f"{median:.2f}", speedup, bar, style=style)
        self._console.print()
        self._console.print(table)
        self._note(
            f"{workers} workers each; {rounds}; starting and ending the pool is part of the time. "
            f"chunksize={chunk_size(files, workers)} for processes and interpool, which send so "
            "many files at a time; the others ignore it."
        )
        self._note(_machine())

    def show_equality(
        self, files: int, seconds: Mapping[str, Sequence[float]], differing: Collection[str]
    ) -> None:
        """Say whether everyone found the same."""
        runs = sum(map(len, seconds.values()))
        if differing:
            names = ", ".join(sorted(set(differing)))
            self._console.print(f"\n[bold red]Results differ[/] from the serial run's: {names}\n")
        else:
            self._console.print(
                f"\n[bold green]All results equal[/]: {files} files in each of {runs} runs\n"
            )

    def end(self) -> None:
        """Save the picture, if one was asked for."""
        if self._svg is not None:
            self._console.save_svg(self._svg, title="make demo")

    def _note(self, text: str) -> None:
        self._console.print(text, style="dim", width=_WIDTH)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))


def _machine() -> str:
    """Python, its GIL, and the machine."""
    gil = "with its GIL" if sys._is_gil_enabled() else "without a GIL"
    return (
        f"{platform.python_implementation()} {platform.python_version()} {gil}, "
        f"{os.process_cpu_count()} of {os.cpu_count()} cores of {_processor()}, "
        f"{platform.system()}"
    )


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
