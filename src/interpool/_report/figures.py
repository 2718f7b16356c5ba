"""What a trace amounts to, in figures: pure, of the trace alone."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from interpool._report.data import (
    BAD,
    LOST,
    OTHER,
    RETRIED,
    SHARES,
    Failure,
    Figures,
    Function,
    Import,
    Lane,
    Last,
    Slow,
    Transfer,
    Worker,
)
from interpool._report.trace import Instant, Span, Trace, Track

_SECOND: Final = 1e6  # microseconds
_SLOWEST: Final = 25  # tasks in the table
_FAILURES: Final = 100  # failures told one by one


class Piece(NamedTuple):
    """A stretch in which a worker did one thing, imports taken out of what they were part of."""

    kind: str
    start: float
    end: float
    span: Span


def figures(trace: Trace) -> Figures:
    """Work out all figures of a trace."""
    tracks = trace.workers
    everything = [*trace.callers, *tracks]
    ends = [span.end for track in everything for span in track.spans]
    ends += [it.time for track in everything for it in track.instants]
    wall = max(ends, default=0.0) / _SECOND
    workers = [_worker(track) for track in tracks]
    runs = [(track, span) for track in tracks for span in track.spans if span.kind == "run"]
    by_function, items, median = _functions(runs)
    return Figures(
        trace=trace,
        wall=wall,
        workers=workers,
        seconds={kind: sum(it.seconds[kind] for it in workers) for kind in SHARES},
        functions=by_function,
        slowest=_slowest(runs),
        failures=_failures(runs, tracks),
        outcomes=Counter(str(span.args.get("outcome", "done")) for _, span in runs),
        items=items,
        lost=sum(_lost(run) for _, run in runs) + len(_unloaded(tracks)),
        repeated=sum(run.duration for _, run in runs if run.args.get("outcome") == RETRIED)
        / _SECOND,
        median=median,
        lanes=_lanes(runs),
        imports=_imports(tracks),
        transfers=_transfers(everything),
        caller_seconds=sum(
            it.duration
            for track in trace.callers
            for it in track.spans
            if (it.kind, it.name) == ("transfer", "encode")
        )
        / _SECOND,
        last=_last(workers, runs),
        most_waiting=int(max((count for _, count in trace.waiting), default=0)),
        idle_while_waiting=_idle_while_waiting(trace, tracks),
    )


def pieces(spans: Sequence[Span]) -> Iterator[Piece]:
    """Cut a track's spans into what the worker did at each time, by the start of what holds it.

    Imports are part of what made them, and of other imports: the outermost ones are cut out.
    """
    imports = _outermost(it for it in spans if it.kind == "import")
    held = 0
    for span in spans:
        if span.kind == "import":
            continue
        at = span.start
        while held < len(imports) and imports[held].start < span.end:
            found = imports[held]
            if found.start > at:
                yield Piece(span.kind, at, found.start, span)
            yield Piece("import", found.start, found.end, found)
            at = max(at, found.end)
            held += 1
        if at < span.end:
            yield Piece(span.kind, at, span.end, span)
    for found in imports[held:]:
        yield Piece("import", found.start, found.end, found)


def _outermost(imports: Iterable[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in imports:
        # Clocks of one worker: what begins before the last one's end is within it.
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _worker(track: Track) -> Worker:
    seconds = dict.fromkeys(SHARES, 0.0)
    for it in pieces(track.spans):
        seconds[it.kind] += (it.end - it.start) / _SECOND
    lifetime = 0.0
    if track.spans:
        lifetime = (max(it.end for it in track.spans) - track.spans[0].start) / _SECOND
    told = sum(seconds.values())
    # Of differences between large numbers, what is below a microsecond is nothing.
    seconds[OTHER] = left if (left := lifetime - told) > 1 / _SECOND else 0.0
    worker = Worker(track, seconds, max(lifetime, told))
    runs = [it for it in track.spans if it.kind == "run"]
    for idle in (it for it in track.spans if it.kind == "idle"):
        took = idle.duration / _SECOND
        if not runs or idle.start < runs[0].start:
            worker.idle_before += took
        elif idle.start >= runs[-1].start:
            worker.idle_after += took
        else:
            worker.idle_between += took
    return worker


def _items(run: Span) -> int:
    items = run.args.get("items")
    return items if isinstance(items, int) and items > 0 else 1


def function_of(run: Span) -> str:
    """The name of what ran, with its module if that is known."""
    return str(run.args.get("function") or run.name)


def _functions(runs: Sequence[tuple[Track, Span]]) -> tuple[list[Function], int, float]:
    """All functions, the costliest first; how many items there were, and their median."""
    found: dict[str, Function] = {}
    times: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for _, run in runs:
        name = function_of(run)
        of = found.setdefault(name, Function(name))
        took, items = run.duration / _SECOND, _items(run)
        of.runs += 1
        of.items += 0 if run.args.get("outcome") == RETRIED else items
        of.failed += _lost(run)
        of.seconds += took
        of.longest = max(of.longest, took if items == 1 else _slowest_item(run, took))
        times[name].append((took / items, items))
    for name, of in found.items():
        of.median = _median(times[name])
    functions = sorted(found.values(), key=lambda it: -it.seconds)
    everything = [it for them in times.values() for it in them]
    return functions, sum(it.items for it in functions), _median(everything)


def _lost(run: Span) -> int:
    """How many items of a run have no result."""
    if run.args.get("outcome") not in LOST:
        return 0
    failed = run.args.get("failed")
    return failed if isinstance(failed, int) and failed > 0 else 1


def _unloaded(tracks: Iterable[Track]) -> list[tuple[Track, Instant]]:
    """Tasks that have failed before they could run."""
    return [(track, it) for track in tracks for it in track.instants if it.name == "task failed"]


def _slowest_item(run: Span, otherwise: float) -> float:
    slowest = run.args.get("slowest")
    took = slowest.get("ms") if isinstance(slowest, dict) else None
    return took / 1000 if isinstance(took, int | float) else otherwise / _items(run)


def _median(times: list[tuple[float, int]]) -> float:
    """The median of times that each stand for some items."""
    half = sum(items for _, items in times) / 2
    passed = 0
    for took, items in sorted(times):
        passed += items
        if passed >= half:
            return took
    return 0.0


def _slowest(runs: Sequence[tuple[Track, Span]]) -> list[Slow]:
    return heapq.nlargest(_SLOWEST, (_slow(track, run) for track, run in runs))


def _slow(track: Track, run: Span) -> Slow:
    took, items = run.duration / _SECOND, _items(run)
    arguments = run.args.get("arguments")
    slowest = run.args.get("slowest")
    if items > 1 and isinstance(slowest, dict):
        took, items = _slowest_item(run, took), 1
        arguments = slowest.get("arguments")
    return Slow(
        took,
        function_of(run),
        "" if arguments is None else str(arguments),
        track.name,
        run.start / _SECOND,
        str(run.args.get("outcome", "done")),
        items,
    )


def _failures(runs: Sequence[tuple[Track, Span]], tracks: Sequence[Track]) -> list[Failure]:
    """The first ones, by when they began; if they are too many, none that were run again."""
    bad = [(track, run) for track, run in runs if run.args.get("outcome") in BAD]
    first = heapq.nsmallest(
        _FAILURES, bad, key=lambda it: (it[1].args["outcome"] == RETRIED, it[1].start)
    )
    found = [
        Failure(
            str(run.args["outcome"]),
            str(run.args.get("error", "")),
            function_of(run),
            str(run.args.get("arguments", "")),
            track.name,
            run.start / _SECOND,
            run.duration / _SECOND,
            attempt if isinstance(attempt := run.args.get("attempt"), int) else 1,
        )
        for track, run in first
    ]
    found += [
        Failure(
            "failed",
            str(it.args.get("error", "")),
            str(it.args.get("function", "")),
            "",
            track.name,
            it.time / _SECOND,
            0.0,
            1,
        )
        for track, it in _unloaded(tracks)
    ]
    kept = heapq.nsmallest(_FAILURES, found, key=lambda it: (it.outcome == RETRIED, it.start))
    return sorted(kept, key=lambda it: it.start)


def _lanes(runs: Sequence[tuple[Track, Span]]) -> list[Lane]:
    found: dict[tuple[str, str], Lane] = {}
    for track, run in runs:
        key = str(run.args.get("lane") or track.lane or "interpreter"), str(run.args.get("why", ""))
        lane = found.setdefault(key, Lane(*key))
        lane.runs += 1
        lane.seconds += run.duration / _SECOND
        lane.functions.add(function_of(run))
    return sorted(found.values(), key=lambda it: -it.seconds)


def _imports(tracks: Sequence[Track]) -> list[Import]:
    """Modules that workers imported by themselves, rather than for another one."""
    found: dict[str, Import] = {}
    for track in tracks:
        starting = [it for it in track.spans if it.kind == "start"]
        ready = starting[-1].end if starting else 0.0
        names = set()
        for span in _outermost(it for it in track.spans if it.kind == "import"):
            it = found.setdefault(span.name, Import(span.name))
            it.workers += span.name not in names
            it.seconds += span.duration / _SECOND
            it.is_at_start = it.is_at_start or span.start < ready
            names.add(span.name)
    return sorted(found.values(), key=lambda it: -it.seconds)


def _transfers(tracks: Sequence[Track]) -> list[Transfer]:
    found: dict[str, Transfer] = {}
    for span in (it for track in tracks for it in track.spans if it.kind == "transfer"):
        it = found.setdefault(span.name, Transfer(span.name))
        it.calls += _items(span)  # of short ones, several are told as one
        nbytes = span.args.get("nbytes")
        it.nbytes += nbytes if isinstance(nbytes, int) else 0
        it.seconds += span.duration / _SECOND
    return sorted(found.values(), key=lambda it: -it.seconds)


def _last(workers: Sequence[Worker], runs: Sequence[tuple[Track, Span]]) -> Last | None:
    if not runs:
        return None
    track, run = max(runs, key=lambda it: it[1].end)
    # How long others idled from their own last task on, until this one ended.
    idle = 0.0
    for worker in (it for it in workers if it.idle_after and it.track is not track):
        last = max(it.start for it in worker.track.spans if it.kind == "run")
        for it in worker.track.spans:
            if it.kind == "idle" and it.start >= last:
                idle += max(0.0, min(it.end, run.end) - it.start)
    return Last(_slow(track, run), idle / _SECOND)


def _idle_while_waiting(trace: Trace, tracks: Sequence[Track]) -> float:
    """Seconds that workers idled while there were tasks for them all."""
    stretches = _waiting_for(trace.waiting, max(1, len(tracks)))
    idle = sorted((it.start, it.end) for track in tracks for it in track.spans if it.kind == "idle")
    found = 0.0
    at = 0
    for start, end in idle:
        while at < len(stretches) and stretches[at][1] <= start:
            at += 1
        here = at
        while here < len(stretches) and stretches[here][0] < end:
            found += min(end, stretches[here][1]) - max(start, stretches[here][0])
            here += 1
    return found / _SECOND


def _waiting_for(counts: Sequence[tuple[float, float]], workers: int) -> list[tuple[float, float]]:
    stretches: list[tuple[float, float]] = []
    since: float | None = None
    for time, waiting in counts:
        if waiting > workers and since is None:
            since = time
        elif waiting <= workers and since is not None:
            stretches.append((since, time))
            since = None
    if since is not None:
        stretches.append((since, float("inf")))
    return stretches
