"""What the page draws: spans, merged where there are too many, and counts over time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from interpool._report.data import BAD
from interpool._report.figures import pieces
from interpool._report.trace import KINDS, Span, Trace, Track

# How a run is drawn that has failed: a kind of its own.
FAILED: Final = "failed"
DRAWN: Final = (*KINDS, FAILED)
# Bounds of what a page holds, however long the run was. Spans take some 8 bytes each once they are
# compressed, details some 30: a page stays below 2 MB.
_SPANS: Final = 150_000
TRACKS: Final = 1_000  # as tall as a browser's canvas may be, on a screen of twice the sharpness
_DETAIL_CHARACTERS: Final = 3_000_000
_INSTANTS: Final = 2_000
_BUCKETS: Final = 480  # of the utilisation over time: about two pixels each
_TENTHS: Final = 10  # of a microsecond: what times are given in


class Drawn(NamedTuple):
    """A span as it is drawn; `merged` tells how many it stands for, 0 for itself."""

    start: float
    duration: float
    kind: str
    span: Span | None
    merged: int


def payload(trace: Trace, wall: float) -> dict[str, Any]:
    """Make what the page's program is given.

    Args:
        trace: what was read.
        wall: how long it took, in microseconds.
    """
    tracks = trace.workers[:TRACKS]
    resolution, drawn = thinned(tracks, wall, _SPANS)
    names = _Numbers()
    details = _details([it for spans in drawn for it in spans])
    return {
        "wall": wall,
        "kinds": DRAWN,
        "resolution": resolution,
        "names": names.all,
        "details": details.all,
        "tracks": [
            _packed(track, spans, names, details)
            for track, spans in zip(tracks, drawn, strict=True)
        ],
        "instants": _instants(trace, tracks),
        "busy": utilisation(tracks, wall),
        "waiting": _highest(trace.waiting, wall),
        "memory": _highest(trace.memory, wall),
    }


# --- Spans ---------------------------------------------------------------------------------------


def thinned(tracks: Sequence[Track], wall: float, limit: int) -> tuple[float, list[list[Drawn]]]:
    """Merge what is shortest until there are few enough spans.

    Returns:
        Below which duration, in microseconds, spans were merged, and all tracks' spans.
    """
    resolution = 0.0
    drawn = [[_drawn(it) for it in track.spans] for track in tracks]
    while sum(map(len, drawn)) > limit and resolution <= wall:
        # At first what would do if all were merged into equal parts: it is never far off.
        resolution = resolution * 2 or len(tracks) * wall / limit or 1.0
        drawn = [list(_merged(track.spans, resolution)) for track in tracks]
    return resolution, drawn


def _drawn(span: Span) -> Drawn:
    return Drawn(span.start, span.duration, _kind(span), span, 0)


def _kind(span: Span) -> str:
    return FAILED if span.kind == "run" and span.args.get("outcome") in BAD else span.kind


def _merged(spans: Sequence[Span], resolution: float) -> Iterator[Drawn]:
    together: list[Span] = []
    for span in spans:
        is_short = span.duration < resolution
        if is_short and span.kind == "import":
            continue  # drawn over what it is part of, where there is room
        if together and not (is_short and span.start - together[0].start < resolution):
            yield from _as_one(together)
            together = []
        if is_short:
            together.append(span)
        else:
            yield _drawn(span)
    yield from _as_one(together)


def _as_one(spans: Sequence[Span]) -> Iterator[Drawn]:
    """Yield one span a kind, as long as all of that kind together, one after the other."""
    if len(spans) == 1:
        yield _drawn(spans[0])
        return
    totals: dict[str, tuple[float, int]] = {}
    for span in spans:
        seconds, count = totals.get(_kind(span), (0.0, 0))
        totals[_kind(span)] = seconds + span.duration, count + 1
    at = spans[0].start if spans else 0.0
    for kind, (duration, count) in totals.items():
        yield Drawn(at, duration, kind, None, count)
        at += duration


class _Numbers:
    """Values, each once, by the number of its place."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[str, int] = {}

    def of(self, value: Any) -> int:
        key = value if isinstance(value, str) else _compact(value)
        number = self._numbers.setdefault(key, len(self.all))
        if number == len(self.all):
            self.all.append(value)
        return number


class _Details(_Numbers):
    """What is told of spans, as far as there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.by_span: dict[int, int] = {}


def _details(drawn: Sequence[Drawn]) -> _Details:
    """Keep what is told of spans; of all too many, of those that failed or took long."""
    details = _Details()
    spans = [it.span for it in drawn if it.span is not None and it.span.args]
    left = _DETAIL_CHARACTERS
    for span in sorted(spans, key=lambda it: (it.args.get("outcome") not in BAD, -it.duration)):
        before = len(details.all)
        number = details.of(dict(span.args))
        if len(details.all) > before:
            left -= len(_compact(details.all[-1]))
        details.by_span[id(span)] = number
        if left < 0:
            break
    return details


def _packed(
    track: Track, drawn: Sequence[Drawn], names: _Numbers, details: _Details
) -> dict[str, Any]:
    starts = [round(it.start * _TENTHS) for it in drawn]
    return {
        "name": track.name,
        "lane": track.lane,
        "pid": track.pid,
        # Differences are small numbers, and compress well.
        "start": [now - before for before, now in zip([0, *starts], starts, strict=False)],
        "duration": [round(it.duration * _TENTHS) for it in drawn],
        "kind": [DRAWN.index(it.kind) for it in drawn],
        "name_of": [-1 if it.span is None else names.of(it.span.name) for it in drawn],
        "detail": [-1 if it.span is None else details.by_span.get(id(it.span), -1) for it in drawn],
        "merged": [it.merged for it in drawn],
    }


def _instants(trace: Trace, tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """What happened at one moment, on the track of that number; -1 for the pool's."""
    found: list[dict[str, Any]] = [
        {"track": row, "time": it.time, "name": it.name, "args": it.args}
        for row, track in ((-1, trace.pool), *enumerate(tracks))
        for it in track.instants
    ]
    return sorted(found, key=lambda it: it["time"])[:_INSTANTS]


# --- Over time -----------------------------------------------------------------------------------


def utilisation(
    tracks: Sequence[Track], wall: float, buckets: int = _BUCKETS
) -> dict[str, list[float]]:
    """Tell how many workers did what, on average, in each of so many parts of the time."""
    busy = {kind: [0.0] * buckets for kind in KINDS}
    if wall <= 0:
        return busy
    width = wall / buckets
    for piece in (it for track in tracks for it in pieces(track.spans)):
        counts = busy[piece.kind]
        at, end = piece.start, min(piece.end, wall)
        bucket = int(at / width)
        while at < end and bucket < buckets:
            until = min(end, (bucket + 1) * width)
            counts[bucket] += (until - at) / width
            at = until
            bucket += 1
    return {kind: [round(it, 3) for it in counts] for kind, counts in busy.items()}


def _highest(
    counts: Sequence[tuple[float, float]], wall: float, buckets: int = _BUCKETS
) -> list[float]:
    """Return the highest value in each part of the time: the last one, where nothing changed."""
    if not counts or wall <= 0:
        return []
    highest = [0.0] * buckets
    changes = iter((*counts, (float("inf"), 0.0)))
    time, value = next(changes)
    now = 0.0
    for bucket in range(buckets):
        highest[bucket] = now
        while time < (bucket + 1) * wall / buckets or (bucket == buckets - 1 and time <= wall):
            now = value
            highest[bucket] = max(highest[bucket], now)
            time, value = next(changes)
    return highest


def _compact(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
