"""A report as a picture: one line a case, one mark an executor, on a logarithmic scale."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interpool._bench import looks
from interpool._bench.cases import OURS, Case
from interpool._bench.looks import GRID, INK, LOOKS, PALE
from interpool._bench.report import TIE
from interpool._bench.words import format_figure, format_ratio, machine_line, rounds_line

if TYPE_CHECKING:
    from interpool._bench.report import Report

SUFFIXES: Final = (".svg", ".png")


# Inches: the picture's width, and the heights of a row, and of what stands above and below them.
_WIDTH: Final = 10.5
_ROW, _ABOVE, _BELOW = 0.62, 1.35, 0.85
# Parts of the picture's width: its margin, and where the scale begins and ends.
_MARGIN, _LEFT, _RIGHT = 0.025, 0.315, 0.785
# Parts of the picture's width too: where the first ratio stands, from the end of the scale, and how
# far the next. A peer more takes its room from the scale.
_RATIOS_AT, _RATIOS_APART = 0.04, 0.0635
_PEERS: Final = 3
_NUMBERS: Final = {4: "Four", 5: "Five"}


class PlotError(Exception):
    """A picture cannot be made. The message says what to do."""


def check(path: Path) -> None:
    """Find out, before anything is measured, whether a picture can be made.

    Raises:
        PlotError: for a suffix that is neither SVG nor PNG, or if matplotlib is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        message = f"{path.name!r} must end in {' or '.join(SUFFIXES)}"
        raise PlotError(message)
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError("a plot needs matplotlib: pip install 'interpool[plot]'")


def save(report: Report, path: Path) -> None:
    """Draw a report and write it as the file's suffix says.

    Raises:
        PlotError: as `check` does.
        OSError: if the file cannot be written.
    """
    check(path)
    from matplotlib.figure import Figure

    cases = report.plan.cases
    height = _ABOVE + _ROW * len(cases) + _BELOW
    right = _RIGHT - _RATIOS_APART * (len(report.plan.peers) - _PEERS)
    with looks.settings():
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        rows = _ROW * len(cases) / height
        axes = figure.add_axes((_LEFT, _BELOW / height, right - _LEFT, rows))
        places = [
            (_RATIOS_AT + _RATIOS_APART * column) / (right - _LEFT) + 1
            for column in range(len(report.plan.peers))
        ]
        for row, case in enumerate(cases):
            _draw_name(axes, report, case, row)
            _draw_figures(axes, report, case, row)
            _draw_ratios(axes, report, case, row, places)
        _draw_scale(axes, report)
        _draw_heads(axes, report, places, (_MARGIN - _LEFT) / (right - _LEFT))
        _draw_texts(figure, report, height)
        looks.write(figure, path)


def _draw_name(axes: Any, report: Report, case: Case, row: int) -> None:
    place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
    title = f"{case.title(report.plan.workers)} · {case.temperature}"
    axes.text(-0.025, row - 0.13, case.name, fontsize=11, fontweight="bold", color=INK, **place)
    axes.text(-0.025, row + 0.2, title, fontsize=8, color=PALE, **place)


def _draw_figures(axes: Any, report: Report, case: Case, row: int) -> None:
    """The medians as marks, every sample as a stroke, and our median in figures."""
    executors = report.plan.executors
    medians = {executor.name: report.median(case, executor.name) for executor in executors}
    # What is not above zero has no place on a logarithmic scale (memory of threads, nearly none).
    there = [median for median in medians.values() if median is not None and median > 0]
    if there:
        band = [min(there), max(there)]
        axes.plot(band, [row, row], color=GRID, linewidth=5, solid_capstyle="round", zorder=2)
    for executor in executors:
        look = LOOKS[executor.name]
        samples = [one for one in report.cells[case.name, executor.name].samples if one > 0]
        stroke = {"marker": "|", "s": 60, "linewidths": 0.8, "alpha": 0.6, "zorder": 3}
        axes.scatter(samples, [row] * len(samples), color=look.colour, **stroke)
        if (median := medians[executor.name]) is not None and median > 0:
            mark = {"marker": look.marker, "s": look.size, "zorder": look.order}
            edge = {"edgecolors": "white", "linewidths": 0.9}
            axes.scatter([median], [row], color=look.colour, label=executor.label, **mark, **edge)
    if (ours := medians[OURS]) is not None:
        axes.annotate(
            f"{format_figure(ours)} {case.unit}",
            (ours, row),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=LOOKS[OURS].colour,
        )


def _draw_ratios(axes: Any, report: Report, case: Case, row: int, places: list[float]) -> None:
    place = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
    for x, ratio in zip(places, report.ratios(case).values(), strict=True):
        is_better = ratio is not None and ratio < 1 - TIE
        axes.text(
            x,
            row,
            "-" if ratio is None else format_ratio(ratio),
            fontsize=10,
            fontweight="bold" if is_better else "normal",
            color=LOOKS[OURS].colour if is_better else INK,
            **place,
        )


def _draw_scale(axes: Any, report: Report) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    cases = report.plan.cases
    others = sorted({f" ({case.name}: {case.unit})" for case in cases if case.unit != "ms"})
    axes.set_xscale("log")
    axes.set_ylim(len(cases) - 0.45, -0.55)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0, labelsize=9, labelcolor=PALE)
    label = f"milliseconds{''.join(others)}, logarithmic: left is better"
    axes.set_xlabel(label, fontsize=9, color=PALE)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_heads(axes: Any, report: Report, places: list[float], left: float) -> None:
    """The legend, and the heads of the ratios."""
    place = {"transform": axes.transAxes, "ha": "center", "fontsize": 8, "color": PALE}
    for x, peer in zip(places, report.plan.peers, strict=True):
        axes.text(x, 1.0, f"÷ {peer.short.lower()}", va="bottom", **place)
    # An executor has a handle in each row; one of them will do.
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        axes.legend(
            handles.values(),
            handles.keys(),
            ncols=len(handles),
            loc="lower left",
            bbox_to_anchor=(left, 1.0),
            borderaxespad=0,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            handletextpad=0.1,
            columnspacing=1.2,
        )


def _draw_texts(figure: Any, report: Report, height: float) -> None:
    plan = report.plan
    quick = ", quick run" if plan.is_quick else ""
    below = (
        f"{plan.workers} workers; {rounds_line(plan.rounds)}{quick}, the strokes are single ones. "
        "At the right: interpool's figure divided by each peer's, bold where it is better."
    )
    pale = {"fontsize": 8.5, "color": PALE, "va": "center"}
    title = f"{_NUMBERS[len(plan.executors)]} pools, the same work"
    bold = {"fontsize": 15, "fontweight": "bold", "color": INK, "va": "center"}
    figure.text(_MARGIN, 1 - 0.35 / height, title, **bold)
    figure.text(_MARGIN, 1 - 0.66 / height, below, **pale)
    figure.text(_MARGIN, 0.2 / height, machine_line(report.machine), **pale)
