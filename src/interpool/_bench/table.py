"""A report as a table for the terminal."""

import re
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interpool._bench.cases import EXECUTORS, OURS, PEERS
from interpool._bench.report import TIE

if TYPE_CHECKING:
    from interpool._bench.report import Report

_HEADS: Final = {
    "thread": "Thread\nPool",
    "process": "Process\nPool",
    "interpreter": "Interp.\nPool",
    "interpool": "interpool\n",
}
MIN_WIDTH: Final = 72
# From this width on the columns stand further apart.
_ROOMY: Final = 100
# A load above this part of the cores, before the first measurement, is somebody else's.
_BUSY: Final = 0.25
# Half of the samples further from their median than this part of it: the machine was not quiet.
_WIDE: Final = 0.15


def render(report: Report, width: int) -> RenderableType:
    """The whole answer: the machine, the table, how to read it, and what to beware of.

    Args:
        report: the figures.
        width: columns to fill; not below `MIN_WIDTH`, where rich would leave out columns.
    """
    return Group(
        Text(),
        *_machine(report),
        Text(),
        _table(report, is_wide=width >= _ROOMY),
        *_reading(report),
        *_warnings(report),
    )


def format_ms(ms: float) -> str:
    """Milliseconds with three digits that count, as far as that is sensible."""
    digits = 0 if ms >= 100 else 1 if ms >= 10 else 2 if ms >= 1 else 3  # noqa: PLR2004 - powers of ten
    return f"{ms:,.{digits}f}"


def format_ratio(ratio: float) -> str:
    """A ratio with two digits that count."""
    if ratio >= 10:  # noqa: PLR2004 - two digits
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"  # noqa: PLR2004 - the same


def _machine(report: Report) -> list[Text]:
    machine = report.machine
    compiler = re.sub(r"\s+", " ", machine.build)
    gil = "GIL on" if machine.gil else "GIL off"
    lines = {
        "machine": f"{machine.cpu}, {machine.cores} usable core{'s' * (machine.cores != 1)}",
        "system": machine.system,
        "load": f"{_load(machine.load_before)}; at the end {_load(report.load_after)}",
        "python": f"{machine.python} ({compiler}), {gil}, processes by {machine.start_method}",
        "interpool": machine.interpool,
    }
    return [Text.assemble((f"{name:<10}", "dim"), value) for name, value in lines.items()]


def _load(load: tuple[float, ...] | None) -> str:
    return "unknown" if load is None else " ".join(f"{value:.2f}" for value in load)


def _table(report: Report, *, is_wide: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1 if is_wide else 0)
    )
    table.add_column("median times\nin ms", min_width=16)
    for executor in EXECUTORS:
        style = "bold" if executor.name == OURS else ""
        head = Text(_HEADS[executor.name], style=style)
        table.add_column(head, justify="right", style=style, no_wrap=True)
    for peer in PEERS:
        head = Text(f"÷\n{_HEADS[peer].partition('\n')[0]}")
        table.add_column(head, justify="right", no_wrap=True)
    for case in report.plan.cases:
        name = Text.assemble((case.name, "bold"), (f"  {case.temperature}", "dim"))
        name.append(f"\n{case.title(report.plan.workers)}", style="dim")
        times = [_time(report, case.name, executor.name) for executor in EXECUTORS]
        ratios = [_ratio(value) for value in report.ratios(case).values()]
        table.add_row(name, *times, *ratios)
    return table


def _time(report: Report, case: str, executor: str) -> Text:
    cell = report.cells[case, executor]
    if cell.error is not None:
        return Text("failed", style="bold red")
    return Text("-") if cell.median_ms is None else Text(format_ms(cell.median_ms))


def _ratio(value: float | None) -> Text:
    if value is None:
        return Text("-")
    style = "green" if value < 1 - TIE else "red" if value > 1 + TIE else ""
    return Text(format_ratio(value), style=style)


def _reading(report: Report) -> list[Text]:
    """How to read the table."""
    plan = report.plan
    imports = ", ".join(f"{name} {ms:.0f}" for name, ms in report.import_ms().items())
    lines = [
        Text.assemble(
            "÷: interpool's time divided by that pool's. ",
            ("Below 1 interpool is faster", "green"),
            ", ",
            ("above 1 slower", "red"),
            f"; within {TIE:.0%} of 1 it is a tie.",
        ),
        Text(
            "cold: from the constructor to the end of shutdown(). warm: all workers have run tasks "
            "before; payload to context are for one task."
        ),
        Text(
            f"{plan.workers} workers; medians of {plan.rounds} rounds; each measurement in a fresh "
            f"process, {report.elapsed:.0f} s in all. "
            f"Importing the class, part of none of these times: {imports} ms."
        ),
    ]
    for line in lines:
        line.stylize_before("dim")
    return [Text(), *lines]


def _warnings(report: Report) -> list[Text]:
    """What makes these figures worth less, and what is missing."""
    found = []
    if report.plan.is_quick:
        found.append(
            "Quick run: fewer rounds and smaller sizes. Leave out --quick for figures to quote."
        )
    load = report.machine.load_before
    if load is not None and load[0] > _BUSY * report.machine.cores:
        found.append(
            f"Something else was running (load average {load[0]:.2f} at the start): "
            "do not trust small differences."
        )
    wide = {case for (case, _), cell in report.cells.items() if cell.spread > _WIDE}
    if wide:
        names = ", ".join(case.name for case in report.plan.cases if case.name in wide)
        found.append(
            f"Half of the samples are more than {_WIDE:.0%} off their median in {names}: "
            "--json has them all."
        )
    lines = [Text(f"! {line}", style="yellow") for line in found]
    lines += [
        Text(f"! {case}, {executor}: {reason}", style="bold red")
        for case, executor, reason in report.failures()
    ]
    return [Text(), *lines] if lines else []
