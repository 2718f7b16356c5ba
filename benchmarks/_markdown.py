"""Reports and sweeps as Markdown tables."""

from collections.abc import Sequence

from _charts import Panel, label
from _sweep import Sweep
from interpool._bench.cases import OURS
from interpool._bench.report import Aim, Report
from interpool._bench.words import format_figure, format_ratio, machine_line, rounds_line


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and the others figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report_text(report: Report) -> str:
    """Ratios, with what is aimed at, and the medians that they are of; then how to read them."""
    plan = report.plan
    heads = [
        "case",
        *(f"to {executor.label}" for executor in plan.peers),
        *(f"{executor.short.lower()}, ms" for executor in plan.executors),
    ]
    rows = []
    for case in plan.cases:
        ratios = report.ratios(case)
        figures = [_figure(report, case.name, executor.name) for executor in plan.executors]
        unit = "" if case.unit == "ms" else f", all in {case.unit}"
        name = f"`{case.name}`: {case.title(plan.workers)}, {case.temperature}{unit}"
        cells = [_ratio(ratio, report.aim(case, peer)) for peer, ratio in ratios.items()]
        rows.append([name, *cells, *figures])
    quick = " A quick run: no figures to quote." if plan.is_quick else ""
    reading = (
        f"Ratios are {OURS}'s figure divided by that pool's: below 1, {OURS} is better. At the "
        f"right {rounds_line(plan.rounds)}; {plan.workers} workers where the case does "
        f"not say otherwise; every measurement in a fresh process.{quick}"
    )
    below = [reading]
    if aims := report.aims():
        met = sum(aim.is_met for aim in aims)
        below.append(
            f"In brackets what is aimed at, `>` where it is missed: {met} of {len(aims)} are met."
        )
    below += [f"{case}, {executor}: {why}" for case, executor, why in report.failures()]
    below.append(f"Measured: {machine_line(report.machine)}.")
    return "\n\n".join([table(heads, rows), *below])


def _figure(report: Report, case: str, executor: str) -> str:
    cell = report.cells[case, executor]
    if cell.error is not None:
        return "failed"
    return "-" if cell.median is None else format_figure(cell.median)


def _ratio(ratio: float | None, aim: Aim | None) -> str:
    if ratio is None:
        return "-"
    if aim is None:
        return format_ratio(ratio)
    return f"{format_ratio(ratio)} ({'≤' if aim.is_met else '>'} {aim.target:.2f})"


def sweep_text(sweep: Sweep, panels: Sequence[Panel]) -> str:
    """A table for each panel, why lines end early, and the machine."""
    parts = []
    for panel in panels:
        lines = sweep.lines(panel.name)
        medians = {line: sweep.line(panel.name, line) for line in lines}
        names = [f"{OURS}, {label(line)}" if "/" in line else label(line) for line in lines]
        rows = [
            [
                f"{x:,}",
                *(format_figure(medians[line][x]) if x in medians[line] else "-" for line in lines),
            ]
            for x in sweep.xs(panel.name)
        ]
        parts += [f"{panel.title}, in {panel.unit}:", table([panel.x_label, *names], rows)]
    parts += [
        f"{panel}, {label(line)}: nothing from {stop.x:,} on: {stop.reason}"
        for (panel, line), stop in sweep.stops.items()
    ]
    quick = " A quick run: no figures to quote." if sweep.is_quick else ""
    rounds = f"{rounds_line(sweep.rounds).capitalize()}.{quick}"
    return "\n\n".join([*parts, rounds, f"Measured: {machine_line(sweep.machine)}."])
