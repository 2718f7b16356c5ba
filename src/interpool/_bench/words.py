"""Figures in words: the same in tables, pictures and Markdown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interpool._bench.machine import Machine


def format_figure(value: float) -> str:
    """A figure with three digits that count, as far as that is sensible."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3  # noqa: PLR2004 - powers of ten
    return f"{value:,.{digits}f}"


def format_ratio(ratio: float) -> str:
    """A ratio with two digits that count."""
    if ratio >= 10:  # noqa: PLR2004 - two digits
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"  # noqa: PLR2004 - the same


def rounds_line(rounds: int) -> str:
    """What a figure is of."""
    return f"medians of {rounds} rounds" if rounds > 1 else "single measurements"


def machine_line(machine: Machine) -> str:
    """What a figure depends on, apart from the code, in a line."""
    parts = (
        machine.date,
        f"interpool {machine.interpool}",
        f"{machine.python}, GIL {'on' if machine.gil else 'off'}",
        f"{machine.cpu}, {machine.cores} usable core{'s' * (machine.cores != 1)}",
        machine.system,
    )
    return " · ".join(parts)
