"""What every program here understands on its command line, whom it compares, and its files."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from interpool._bench import plot
from interpool._bench.cases import EXECUTORS, LOKY, Executor

_ROOT: Final = Path(__file__).resolve().parents[1]
FIGURES: Final = _ROOT / "docs" / "figures"
# Ignored by git: what a quick run finds does not take the place of figures to quote.
QUICK_FIGURES: Final = _ROOT / "build" / "figures"


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Attributes:
        rounds: how many samples each median is of.
        is_quick: smaller sizes and fewer rounds.
        is_rendering: whether figures are read instead of measured.
        out: the folder of the files.
        scale: what sizes are multiplied with, for tests; 1 leaves them.
    """

    rounds: int
    is_quick: bool
    is_rendering: bool
    out: Path
    scale: float

    def file(self, name: str) -> Path:
        """A file's path; its folder is made if it is not there."""
        self.out.mkdir(parents=True, exist_ok=True)
        return self.out / name

    def scaled(self, size: int) -> int:
        """A size as it is for this run, at least ten."""
        return max(10, int(size * self.scale))


def parse(
    description: str,
    arguments: Sequence[str] | None,
    *,
    rounds: int,
    quick_rounds: int = 1,
    duration: str,
    draws: bool = True,
) -> Options:
    """Read the command line.

    Args:
        description: the program's docstring.
        arguments: what is read; None: the process's own.
        rounds: how many there are if nothing else is asked for.
        quick_rounds: the same, with `--quick`.
        duration: how long it takes on two cores, and how long with `--quick`, in words.
        draws: whether the program makes a picture, which can be drawn anew.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"On two cores it takes about {duration}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument(
        "--rounds",
        type=_positive,
        metavar="N",
        help=f"samples of each median ({rounds}; quick: {quick_rounds})",
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="measure nothing: read the JSON of an earlier run and write tables and pictures anew",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the files go (docs/figures; quick: build/figures)",
    )
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if draws:
        try:
            plot.check(Path("figures.svg"))
        except plot.PlotError as error:
            parser.error(str(error))
    return Options(
        rounds=given.rounds or (quick_rounds if given.quick else rounds),
        is_quick=given.quick,
        is_rendering=given.render,
        out=given.out or (QUICK_FIGURES if given.quick else FIGURES),
        scale=given.scale,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        message = f"{number} is below 1"
        raise argparse.ArgumentTypeError(message)
    return number


def executors() -> tuple[Executor, ...]:
    """The standard library's, ours, and loky (joblib's processes) if it is installed."""
    if importlib.util.find_spec("loky") is not None:
        return (*EXECUTORS, LOKY)
    tell("loky is left out: it is not installed (pip install --group bench-peers)")
    return EXECUTORS


def read_json(path: Path) -> dict[str, Any]:
    """Read the figures of an earlier run; without them, end the program."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        sys.exit(f"{path} is not there: measure first, without --render")
    return found


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write figures so that the same ones make the same file."""
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def write_markdown(path: Path, text: str) -> None:
    """Write a table that is to be read beside others, and print it."""
    path.write_text(f"<!-- Written by `make bench`. -->\n\n{text}\n", encoding="utf-8")
    print(text)


def tell(text: str) -> None:
    """Say something that is not the result."""
    print(text, file=sys.stderr, flush=True)
