"""What the programs that measure a sweep have in common, once they know what to measure."""

import sys
from collections.abc import Callable, Sequence

import _charts
import _markdown
import _options
from _charts import Panel
from _options import Options
from _sweep import Sweep


def finish(
    options: Options,
    name: str,
    measure: Callable[[], Sweep],
    panels: Callable[[Sweep], Sequence[Panel]],
    words: Callable[[Sweep], tuple[str, str]],
) -> int:
    """Measure, or read what was measured; write `name` as JSON, Markdown and SVG.

    Args:
        options: what was asked for.
        name: of the files.
        measure: makes the sweep.
        panels: the charts of it.
        words: title and subtitle of the picture.

    Returns:
        1 if a measurement failed, and not for its time.
    """
    figures = options.file(f"{name}.json")
    if options.is_rendering:
        try:
            sweep = Sweep.from_json(_options.read_json(figures))
        except ValueError as error:
            sys.exit(f"{figures}: {error}")
    else:
        sweep = measure()
        _options.write_json(figures, sweep.as_json())
    _options.write_markdown(options.file(f"{name}.md"), _markdown.sweep_text(sweep, panels(sweep)))
    title, subtitle = words(sweep)
    _charts.draw(sweep, panels(sweep), title, subtitle, options.file(f"{name}.svg"))
    _options.tell(f"written: {name}.md, .svg and .json in {options.out}")
    return 1 if any(stop.is_failure for stop in sweep.stops.values()) else 0
