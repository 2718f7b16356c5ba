"""How fast is interpool beside the standard library's pools, and loky's if it is installed?

Every row of `interpool bench --full`, as a Markdown table (benchmarks.md), a picture
(benchmarks.svg) and with every sample (benchmarks.json). Run it:

    python benchmarks/compare.py
    python benchmarks/compare.py --quick
    python benchmarks/compare.py --render
"""

import sys
from collections.abc import Sequence

import _markdown
import _options
from interpool._bench import plot, progress, runner
from interpool._bench.cases import FULL_ROUNDS, QUICK_ROUNDS, plan
from interpool._bench.report import Report, ReportError


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a measurement failed."""
    options = _options.parse(
        __doc__ or "",
        arguments,
        rounds=FULL_ROUNDS,
        quick_rounds=QUICK_ROUNDS,
        duration="nine minutes, with --quick one",
    )
    figures = options.file("benchmarks.json")
    if options.is_rendering:
        try:
            report = Report.from_json(_options.read_json(figures))
        except ReportError as error:
            sys.exit(f"{figures}: {error}")
    else:
        chosen = plan(
            rounds=options.rounds,
            quick=options.is_quick,
            full=True,
            scale=options.scale,
            executors=_options.executors(),
        )
        with progress.shown(chosen.measurements, tenths=True) as show:
            report = runner.run(chosen, lambda step: show(step.number - 1, str(step)))
        _options.write_json(figures, report.as_json())
    _options.write_markdown(options.file("benchmarks.md"), _markdown.report_text(report))
    plot.save(report, options.file("benchmarks.svg"))
    _options.tell(f"written: benchmarks.md, .svg and .json in {options.out}")
    return 1 if report.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
