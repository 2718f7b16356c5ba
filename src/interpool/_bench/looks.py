"""What all pictures share: colours, marks, and how the same figures become the same file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple


class Look(NamedTuple):
    """How an executor is drawn: its mark, colour and size, and what lies above what."""

    marker: str
    colour: str
    size: float
    order: int


# After Okabe and Ito: colours that people with any kind of colour vision can tell apart; the shapes
# differ too, for print. Ours is the largest and lies beneath, so that it hides no other.
LOOKS: Final[Mapping[str, Look]] = {
    "thread": Look("s", "#E69F00", 46, 5),
    "process": Look("^", "#56B4E9", 58, 5),
    "interpreter": Look("D", "#CC79A7", 42, 5),
    "loky": Look("v", "#D55E00", 58, 5),
    "interpool": Look("o", "#00593F", 150, 4),
}
# Letters need more contrast on white than marks do: the same hues, darker (4.5 to 1 and more).
LETTERS: Final[Mapping[str, str]] = {
    "thread": "#8F6200",
    "process": "#1F74A8",
    "interpreter": "#A34F7E",
    "loky": "#B04D00",
    "interpool": "#00593F",
}
INK: Final = "#222222"
PALE: Final = "#767676"
GRID: Final = "#E4E4E4"


@contextmanager
def settings() -> Iterator[None]:
    """Draw with a font that matplotlib brings along, and no random names in an SVG."""
    from matplotlib import rc_context

    with rc_context({"font.family": "DejaVu Sans", "svg.hashsalt": "interpool"}):
        yield


def write(figure: Any, path: Path) -> None:
    """Write a figure: the same figures, the same file."""
    metadata = {"Date": None, "Creator": None} if path.suffix.lower() == ".svg" else None
    figure.savefig(path, dpi=160, metadata=metadata)
