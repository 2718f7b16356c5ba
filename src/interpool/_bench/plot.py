"""A report as a picture: one line a case, one mark an executor, times on a logarithmic scale."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interpool._bench.cases import EXECUTORS, OURS, PEERS, Case
from interpool._bench.report import TIE
from interpool._bench.table import format_ms, format_ratio

if TYPE_CHECKING:
    from interpool._bench.report import Report

SUFFIXES: Final = (".svg", ".png")


class _Look(NamedTuple):
    marker: str
    colour: str
    size: float
    order: int


# After Okabe and Ito: colours that people with any kind of colour vision can tell apart; the shapes
# differ too, for print. Ours is the largest and lies beneath, so that it hides no other.
_LOOKS: Final = {
    "thread": _Look("s", "#E69F00", 46, 5),
    "process": _Look("^", "#56B4E9", 58, 5),
    "interpreter": _Look("D", "#CC79A7", 42, 5),
    "interpool": _Look("o", "#00593F", 150, 4),
}
_PEER_HEADS: Final = {"thread": "thread", "process": "process", "interpreter": "interp."}
_INK: Final = "#222222"
_PALE: Final = "#767676"
_GRID: Final = "#E4E4E4"

# Inches: the picture's width, and the heights of a row, and of what stands above and below them.
_WIDTH: Final = 10.5
_ROW, _ABOVE, _BELOW = 0.62, 1.35, 0.85
# Parts of the picture's width: its margin, and where the scale begins and ends.
_MARGIN, _LEFT, _RIGHT = 0.025, 0.315, 0.785
# Parts of the scale's width: where the first ratio stands, and how far the next.
_RATIOS_AT, _RATIOS_APART = 1.085, 0.135


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
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    cases = report.plan.cases
    height = _ABOVE + _ROW * len(cases) + _BELOW
    # A font that matplotlib brings along, and no random names: the same figures, the same file.
    with rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "interpool"}):
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        rows = _ROW * len(cases) / height
        axes = figure.add_axes((_LEFT, _BELOW / height, _RIGHT - _LEFT, rows))
        for row, case in enumerate(cases):
            _draw_name(axes, report, case, row)
            _draw_times(axes, report, case, row)
            _draw_ratios(axes, report, case, row)
        _draw_scale(axes, len(cases))
        _draw_heads(axes)
        _draw_texts(figure, report, height)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=160, metadata=metadata)


def _draw_name(axes: Any, report: Report, case: Case, row: int) -> None:
    place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
    title = f"{case.title(report.plan.workers)} · {case.temperature}"
    axes.text(-0.025, row - 0.13, case.name, fontsize=11, fontweight="bold", color=_INK, **place)
    axes.text(-0.025, row + 0.2, title, fontsize=8, color=_PALE, **place)


def _draw_times(axes: Any, report: Report, case: Case, row: int) -> None:
    """The medians as marks, every sample as a stroke, and our median in figures."""
    medians = {executor.name: report.median_ms(case, executor.name) for executor in EXECUTORS}
    there = [ms for ms in medians.values() if ms is not None]
    if there:
        band = [min(there), max(there)]
        axes.plot(band, [row, row], color=_GRID, linewidth=5, solid_capstyle="round", zorder=2)
    for executor in EXECUTORS:
        look = _LOOKS[executor.name]
        samples = [1_000 * s for s in report.cells[case.name, executor.name].seconds]
        stroke = {"marker": "|", "s": 60, "linewidths": 0.8, "alpha": 0.6, "zorder": 3}
        axes.scatter(samples, [row] * len(samples), color=look.colour, **stroke)
        if (ms := medians[executor.name]) is not None:
            mark = {"marker": look.marker, "s": look.size, "zorder": look.order}
            edge = {"edgecolors": "white", "linewidths": 0.9}
            axes.scatter([ms], [row], color=look.colour, label=executor.label, **mark, **edge)
    if (ours := medians[OURS]) is not None:
        axes.annotate(
            f"{format_ms(ours)} ms",
            (ours, row),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=_LOOKS[OURS].colour,
        )


def _draw_ratios(axes: Any, report: Report, case: Case, row: int) -> None:
    place = {"transform": axes.get_yaxis_transform(), "ha": "center", "va": "center"}
    for column, ratio in enumerate(report.ratios(case).values()):
        is_faster = ratio is not None and ratio < 1 - TIE
        axes.text(
            _RATIOS_AT + _RATIOS_APART * column,
            row,
            "-" if ratio is None else format_ratio(ratio),
            fontsize=10,
            fontweight="bold" if is_faster else "normal",
            color=_LOOKS[OURS].colour if is_faster else _INK,
            **place,
        )


def _draw_scale(axes: Any, rows: int) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_ylim(rows - 0.45, -0.55)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0, labelsize=9, labelcolor=_PALE)
    axes.set_xlabel("milliseconds, logarithmic: left is faster", fontsize=9, color=_PALE)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_heads(axes: Any) -> None:
    """The legend, and the heads of the ratios."""
    place = {"transform": axes.transAxes, "ha": "center", "fontsize": 8, "color": _PALE}
    for column, peer in enumerate(PEERS):
        x = _RATIOS_AT + _RATIOS_APART * column
        axes.text(x, 1.0, f"÷ {_PEER_HEADS[peer]}", va="bottom", **place)
    # An executor has a handle in each row; one of them will do.
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        axes.legend(
            handles.values(),
            handles.keys(),
            ncols=len(handles),
            loc="lower left",
            bbox_to_anchor=((_MARGIN - _LEFT) / (_RIGHT - _LEFT), 1.0),
            borderaxespad=0,
            frameon=False,
            fontsize=9,
            labelcolor=_INK,
            handletextpad=0.1,
            columnspacing=1.2,
        )


def _draw_texts(figure: Any, report: Report, height: float) -> None:
    machine, plan = report.machine, report.plan
    quick = ", quick run" if plan.is_quick else ""
    below = (
        f"{plan.workers} workers; medians of {plan.rounds} rounds{quick}, the strokes are single "
        "ones. At the right: interpool's time divided by each peer's, bold where it is faster."
    )
    where = (
        f"interpool {machine.interpool} · {machine.python}, GIL {'on' if machine.gil else 'off'} · "
        f"{machine.cpu}, {machine.cores} usable cores · {machine.system}"
    )
    pale = {"fontsize": 8.5, "color": _PALE, "va": "center"}
    figure.text(_MARGIN, 1 - 0.35 / height, "Four pools, the same work", fontsize=15,
                fontweight="bold", color=_INK, va="center")  # fmt: skip
    figure.text(_MARGIN, 1 - 0.66 / height, below, **pale)
    figure.text(_MARGIN, 0.2 / height, where, **pale)
