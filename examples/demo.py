"""Real work, five ways: the standard library's own source, parsed and measured on every core.

Every module of the running Python's standard library is measured serially, then by four executors.
All must find the same.

Run it:

    python examples/demo.py
    python examples/demo.py --limit 50 --rounds 1 --workers 4
    python examples/demo.py --folder path/to/your/own/code
"""

import argparse
import os
import sys
from pathlib import Path


def main() -> int:
    # Imported here: a process pool's workers run this file again, and what only the main program
    # needs should not count against them.
    from stdlib_census.race import race
    from stdlib_census.report import Report
    from stdlib_census.sources import library, source_files

    given = arguments()
    folder = given.folder or library()
    files = source_files(folder)[: given.limit]
    if not files:
        print(f"No Python files in {folder}", file=sys.stderr)
        return 2
    report = Report(folder, given.svg)
    # Everything is read once, so that the first run is not the one that waits for the disk.
    report.begin(len(files), sum(len(path.read_bytes()) for path in files))

    paths = [str(path) for path in files]
    seconds: dict[str, list[float]] = {}
    results = None
    differing = []
    for run in report.track(race(paths, workers=given.workers, rounds=given.rounds), given.rounds):
        seconds.setdefault(run.name, []).append(run.seconds)
        results = results or run.results  # the first run is the serial one
        if run.results != results:
            differing.append(run.name)

    report.show_modules(results or [], given.top)
    report.show_times(seconds, files=len(files), workers=given.workers)
    report.show_equality(len(files), seconds, differing)
    report.end()
    return 1 if differing else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the standard library's own source, serially and by four executors."
    )
    cores = max(2, os.process_cpu_count() or 1)
    for name, default, what in (
        ("workers", cores, "workers of every pool (default: the usable cores, at least 2)"),
        ("rounds", 3, "how often everyone runs; the times shown are medians (default: 3)"),
        ("top", 12, "how many of the hardest modules to show (default: 12)"),
        ("limit", None, "measure only the N largest files (default: all)"),
    ):
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=what)
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="measure the files there instead"
    )
    parser.add_argument("--svg", metavar="FILE", help="save what is shown as a picture, too")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
