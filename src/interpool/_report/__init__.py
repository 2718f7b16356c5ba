"""The report: one page of HTML out of a trace, with nothing to fetch; imported when asked for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interpool._report.advice import advice
from interpool._report.figures import figures
from interpool._report.page import page
from interpool._report.reading import read
from interpool._report.trace import TraceError, from_events
from interpool._trace import Trace

__all__ = ["report"]


def report(
    trace: Trace | str | os.PathLike[str] | Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Write a page that shows a trace: what workers did when, where the time went, what to change.

    The page is one file, with nothing to fetch: the timeline of all workers, how busy they were,
    the slowest tasks and the failures with their arguments, lanes, imports, transfers, and advice
    in words. It stays below some 2 MB: of a long run, what is too short to be told apart is drawn
    together, and the page says so.

    Args:
        trace: what `InterpreterPoolExecutor.trace` has returned, the file that it has written, or
            what that holds: a mapping with `traceEvents` and `otherData`. One that is recorded at
            this moment is taken as it is by now.
        path: where the page is written, whatever was there.

    Raises:
        OSError: if the trace cannot be read, or the page not be written.
        ValueError: if it is no trace of interpool's; it says what is wrong, and where.

    Thread-safe.

    .. versionadded:: 0.1.0
    """
    if isinstance(trace, Trace):
        trace = trace.data if trace.path is None else trace.path
    if isinstance(trace, Mapping):
        if not isinstance(trace.get("traceEvents"), list):
            raise TraceError("The trace has no list traceEvents")
        found = from_events("The trace", trace["traceEvents"], trace.get("otherData", {}))
    else:
        found = read(Path(trace))
    of = figures(found)
    # Lone surrogates, as in names of files, are no text.
    Path(path).write_bytes(page(of, advice(of)).encode(errors="replace"))
