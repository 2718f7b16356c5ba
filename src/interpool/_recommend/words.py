"""Figures in words: two digits that count, in units that people read."""

from typing import Final

_TIMES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_SIZES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MINUTES: Final = 120.0  # seconds from which on minutes are told
_HOURS: Final = 7200.0


def seconds(value: float) -> str:
    """A time: `3.1 us`, `120 ms`, `8.5 s`, `12 min`."""
    if value >= _HOURS:
        return f"{_digits(value / 3600)} h"
    if value >= _MINUTES:
        return f"{_digits(value / 60)} min"
    for unit, name in _TIMES:
        if value >= unit * 0.9995:
            return f"{_digits(value / unit)} {name}"
    return "0 s" if value <= 0 else f"{_digits(value * 1e9)} ns"


def size(nbytes: float) -> str:
    """A number of bytes: `12 MB`."""
    for unit, name in _SIZES:
        if nbytes >= unit:
            return f"{_digits(nbytes / unit)} {name}"
    return f"{nbytes:.0f} byte{'s' * (nbytes != 1)}"


def share(value: float) -> str:
    """A share: `95%`."""
    return f"{100 * min(max(value, 0.0), 1.0):.0f}%"


def compared(gain: float) -> str:
    """A speed beside that of one thread."""
    if gain < 0.95:  # noqa: PLR2004 - 1.0 by its digits
        return f"{_digits(1 / gain) if gain > 0 else 'infinitely many'} times as long as one thread"
    if gain < 1.05:  # noqa: PLR2004 - the same
        return "as fast as one thread"
    return f"{_digits(gain)} times as fast as one thread"


def count(number: int, one: str = "item") -> str:
    """A number of things: `1 item`, `12,000 items`."""
    return f"{number:,} {one}{'s' * (number != 1)}"


def some(number: int) -> str:
    """A number that is an estimate, with two digits that count: 417 is `420`."""
    digits = len(str(number)) - 2
    return f"{round(number, -digits) if digits > 0 else number:,}"


def _digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"  # noqa: PLR2004 - two digits
