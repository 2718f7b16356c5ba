"""A report as a table for the terminal."""

import re
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interpool._bench.cases import OURS, Case
from interpool._bench.report import TIE
from interpool._bench.words import format_figure, format_ratio, rounds_line

if TYPE_CHECKING:
    from interpool._bench.report import Report

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
    table.add_column("medians\nin ms", min_width=16)
    for executor in report.plan.executors:
        style = "bold" if executor.name == OURS else ""
        pool = "Pool" if executor.label.endswith("PoolExecutor") else ""
        head = Text(f"{executor.short}\n{pool}", style=style)
        table.add_column(head, justify="right", style=style, no_wrap=True)
    for peer in report.plan.peers:
        table.add_column(Text(f"÷\n{peer.short}"), justify="right", no_wrap=True)
    for case in report.plan.cases:
        unit = f"  {case.unit}" * (case.unit != "ms")
        name = Text.assemble((case.name, "bold"), (f"  {case.temperature}{unit}", "dim"))
        name.append(f"\n{case.title(report.plan.workers)}", style="dim")
        figures = [_figure(report, case.name, executor.name) for executor in report.plan.executors]
        ratios = [_ratio(report, case, peer.name) for peer in report.plan.peers]
        table.add_row(name, *figures, *ratios)
    return table


def _figure(report: Report, case: str, executor: str) -> Text:
    cell = report.cells[case, executor]
    if cell.error is not None:
        return Text("failed", style="bold red")
    return Text("-") if cell.median is None else Text(format_figure(cell.median))


def _ratio(report: Report, case: Case, peer: str) -> Text:
    """The ratio, and below it, where something is aimed at, what, and whether it is missed."""
    value = report.ratios(case)[peer]
    if value is None:
        return Text("-")
    style = "green" if value < 1 - TIE else "red" if value > 1 + TIE else ""
    text = Text(format_ratio(value), style=style)
    if (aim := report.aim(case, peer)) is not None:
        sign, style = ("≤", "dim") if aim.is_met else (">", "yellow")
        text.append(f"\n{sign}{aim.target:.2f}", style=style)
    return text


def _reading(report: Report) -> list[Text]:
    """How to read the table."""
    plan = report.plan
    imports = ", ".join(f"{name} {ms:.0f}" for name, ms in report.import_ms().items())
    lines = [
        Text.assemble(
            "÷: interpool's figure divided by that pool's. ",
            ("Below 1 interpool is better", "green"),
            ", ",
            ("above 1 worse", "red"),
            f"; within {TIE:.0%} of 1 it is a tie.",
        ),
        Text(
            "cold: from the constructor to the end of shutdown(). warm: all workers have run tasks "
            "before; payload to context are for one task."
        ),
        *_targets(report),
        Text(
            f"{plan.workers} workers; {rounds_line(plan.rounds)}; each measurement in a fresh "
            f"process, {report.elapsed:.0f} s in all. "
            f"Importing the class, part of none of these times: {imports} ms."
        ),
    ]
    for line in lines:
        line.stylize_before("dim")
    return [Text(), *lines]


def _targets(report: Report) -> list[Text]:
    """How many of the targets are met, if the table shows any."""
    aims = report.aims()
    if not aims:
        return []
    met = sum(aim.is_met for aim in aims)
    return [
        Text(
            "Below a ratio: what interpool aims at; > before it says that it is missed. "
            f"Met: {met} of {len(aims)}."
        )
    ]


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
