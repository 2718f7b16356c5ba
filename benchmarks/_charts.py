"""Draws sweeps: a panel a question, a line an executor, its name at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _sweep import Sweep
from interpool._bench import looks
from interpool._bench.looks import GRID, INK, LETTERS, LOOKS, PALE
from interpool._bench.words import format_figure, machine_line, rounds_line

# What lines are called at their ends and in tables; ours with a chunk size is `interpool/25`.
_NAMES: Final = {
    "thread": "threads",
    "process": "processes",
    "interpreter": "interpreters",
    "interpool": "interpool",
    "loky": "loky",
}
# Ours with a chunk size: lines that differ in their dashes, for there is one colour for them.
_DASHES: Final = ((5, 1.5), (2.5, 1.5), (1, 1.5))
_OURS_CHUNKED: Final = "#3E8E75"

# Inches: the picture's width; of each row of panels, its height with all that belongs to it.
_WIDTH: Final = 10.5
_PANEL, _ABOVE, _BELOW = 3.1, 0.85, 0.4
_ROW: Final = _PANEL + 1.05
# Parts of the picture's width: where a panel begins in its share of a row, and what its lines'
# names need beside it.
_MARGIN, _AXIS, _ENDS = 0.025, 0.065, 0.145
# Parts of a panel's height: how near two names may come.
_GAP: Final = 0.066
# A logarithmic scale over less than this has more figures than the powers of ten.
_DECADES: Final = 100.0


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of a picture.

    Attributes:
        name: the sweep's name for it.
        title: what it shows.
        unit: of its figures.
        x_label: what grows.
        is_log: whether both axes are logarithmic; if not, they are linear and begin at 0.
        x_log: the same for the lower axis, if it differs: a power of two is one step.
        floor: a line that nothing can be below, and what it is, or None.
    """

    name: str
    title: str
    unit: str
    x_label: str
    is_log: bool = False
    x_log: bool = False
    floor: tuple[float, str] | None = None


def label(line: str) -> str:
    """What a line is called."""
    executor, _, chunksize = line.partition("/")
    return f"chunksize={chunksize}" if chunksize else _NAMES[executor]


def spread(places: Sequence[float], gap: float, top: float = 1.0) -> list[float]:
    """Move places apart until none is nearer to the next than `gap`; the order stays.

    Nobody is moved above `top`, unless there is no room for all of them below it.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [places[index] for index in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    ceiling = max(top, gap * (len(moved) - 1))
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    found = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        found[index] = place
    return found


def draw(sweep: Sweep, panels: Sequence[Panel], title: str, subtitle: str, path: Path) -> None:
    """Draw a sweep and write it as the file's suffix says."""
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    height = _ABOVE + _ROW * rows + _BELOW
    with looks.settings():
        figure = Figure(figsize=(_WIDTH, height), facecolor="white")
        for number, panel in enumerate(panels):
            row, column = divmod(number, columns)
            share = (1 - 2 * _MARGIN) / columns
            left = _MARGIN + share * column + _AXIS
            bottom = (_BELOW + _ROW * (rows - row) - _PANEL - 0.5) / height
            axes = figure.add_axes((left, bottom, share - _AXIS - _ENDS, _PANEL / height))
            _draw_panel(axes, sweep, panel)
        quick = "quick run, " if sweep.is_quick else ""
        pale: dict[str, Any] = {"fontsize": 8.5, "color": PALE, "va": "center"}
        bold: dict[str, Any] = {"fontsize": 15, "fontweight": "bold", "color": INK, "va": "center"}
        figure.text(_MARGIN, 1 - 0.35 / height, title, **bold)
        figure.text(
            _MARGIN, 1 - 0.66 / height, f"{subtitle}; {quick}{rounds_line(sweep.rounds)}.", **pale
        )
        figure.text(_MARGIN, 0.2 / height, machine_line(sweep.machine), **pale)
        looks.write(figure, path)


def _draw_panel(axes: Any, sweep: Sweep, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator

    lines = {line: sweep.line(panel.name, line) for line in sweep.lines(panel.name)}
    lines = {line: points for line, points in lines.items() if points}
    _draw_axes(axes, panel, sweep.xs(panel.name))
    chunked = [line for line in lines if "/" in line]
    for line, points in lines.items():
        look = LOOKS[line.partition("/")[0]]
        is_ours = line == "interpool"
        style: dict[str, Any] = {"color": look.colour, "linewidth": 2.6 if is_ours else 1.6}
        if line in chunked:
            dashes = _DASHES[chunked.index(line) % len(_DASHES)]
            style = {"color": _OURS_CHUNKED, "linewidth": 1.6, "dashes": dashes, "marker": ""}
        else:
            style |= {"marker": look.marker, "markersize": look.size**0.5 * 0.62}
            style |= {"markeredgecolor": "white", "markeredgewidth": 0.7}
        # Not clipped, for a mark at 0 would be half of one.
        figures = list(points.values())
        axes.plot(list(points), figures, zorder=look.order, clip_on=False, **style)
    if panel.floor is not None:
        axes.axhline(panel.floor[0], color=PALE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    if panel.is_log:
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high / low > _DECADES else (1, 2, 5)))
    else:
        axes.set_ylim(bottom=0)
    _draw_ends(axes, panel, lines)


def _draw_axes(axes: Any, panel: Panel, xs: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if panel.is_log:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    elif panel.x_log:
        axes.set_xscale("log", base=2)
    axes.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", color=INK, pad=10)
    axes.set_xlabel(panel.x_label, fontsize=9, color=PALE)
    axes.set_ylabel(panel.unit, fontsize=9, color=PALE, rotation=0, ha="right", va="bottom")
    axes.yaxis.set_label_coords(-0.03, 1.045)  # beside the title, out of the figures' way
    axes.xaxis.set_major_locator(FixedLocator(list(xs)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=PALE)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(GRID)


def short(x: float) -> str:
    """1000000 as 1M, 10000 as 10k."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if x >= size and x % size == 0:
            return f"{x / size:g}{letter}"
    return f"{x:g}"


def _draw_ends(axes: Any, panel: Panel, lines: dict[str, dict[int, float]]) -> None:
    """The names beside the panel, each with the last figure of its line, and a way from there."""
    from matplotlib.transforms import blended_transform_factory

    last = max((x for points in lines.values() for x in points), default=0)
    height = _place(axes)
    ends: list[tuple[str, str, int, float]] = []
    for line, points in lines.items():
        x = max(points)
        colour = LETTERS[line.partition("/")[0]]
        words = f"{label(line)}  {format_figure(points[x])}"
        ends.append((words if x == last else f"{words} at {short(x)}", colour, x, points[x]))
    if panel.floor is not None:
        ends.append((panel.floor[1], PALE, last, panel.floor[0]))
    places = spread([height(y) for *_, y in ends], _GAP)
    beside = blended_transform_factory(axes.transAxes, axes.transAxes)
    for (words, colour, x, y), place in zip(ends, places, strict=True):
        is_ours = words.startswith("interpool")
        axes.annotate(
            words,
            xy=(x, y),
            xytext=(1.06, place),
            textcoords=beside,
            va="center",
            fontsize=8.5,
            fontweight="bold" if is_ours else "normal",
            color=colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "alpha": 0.55,
                "shrinkA": 2,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _place(axes: Any) -> Callable[[float], float]:
    """What a figure's place is in its panel: 0 at the bottom, 1 at the top."""
    back = axes.transAxes.inverted()

    def place(y: float) -> float:
        x = axes.get_xlim()[1]
        return float(back.transform(axes.transData.transform((x, y)))[1])

    return place
