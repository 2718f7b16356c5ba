"""A trace, as the report sees it: its tracks with their spans, read from events and checked.

What a pool writes are Chrome's trace events (docs/report.md says which). Events of kinds that are
not known here are passed over, for a later interpool may write more of them; what is known and
wrong is refused, with its place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

# The one version of the format that there is.
FORMAT: Final = 1
POOL: Final = 0  # the pool's own track
_MOST: Final = 1e15  # microseconds, or whatever is counted: thirty years
# What a worker does with its time, in the order in which it is shown.
KINDS: Final = ("start", "import", "transfer", "run", "idle")


class TraceError(ValueError):
    """What is wrong with a trace, and where."""


class Span(NamedTuple):
    """A stretch of time on a track, in microseconds since the trace began."""

    start: float
    duration: float
    kind: str
    name: str
    args: Mapping[str, Any]

    @property
    def end(self) -> float:
        """When it was over."""
        return self.start + self.duration


class Instant(NamedTuple):
    """What has happened at one moment."""

    time: float
    name: str
    args: Mapping[str, Any]


@dataclass(slots=True)
class Track:
    """What one worker did, or a thread that submits; spans by their start, outer ones first."""

    number: int
    name: str = ""
    lane: str = ""
    pid: int | None = None
    order: float = 0
    is_worker: bool = True
    spans: list[Span] = field(default_factory=list)
    instants: list[Instant] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """One run of a pool.

    Attributes:
        name: what it was read from, for errors.
        info: what the trace says of itself: `otherData`.
        tracks: the workers' by their number.
        pool: the pool's own.
        waits: how long each task waited, in microseconds.
        waiting: how many tasks waited, at which times.
        memory: MiB, at which times.
        events: how many events there were.
        is_cut: the file ends in the middle, as that of a run that was killed does.
    """

    name: str
    info: dict[str, Any] = field(default_factory=dict)
    tracks: dict[int, Track] = field(default_factory=dict)
    pool: Track = field(default_factory=lambda: Track(POOL, "pool"))
    waits: list[float] = field(default_factory=list)
    waiting: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    events: int = 0
    is_cut: bool = False

    @property
    def workers(self) -> list[Track]:
        """The tracks of workers that did anything, in the order in which they are shown."""
        there = [it for it in self.tracks.values() if it.is_worker and (it.spans or it.instants)]
        return sorted(there, key=lambda it: (it.lane, _number_in(it.name), it.order, it.number))

    @property
    def callers(self) -> list[Track]:
        """The pool's own track, which has the first thread that submits, and other threads'."""
        return [self.pool, *(it for it in self.tracks.values() if not it.is_worker)]


def from_events(name: str, events: Iterable[Any], info: Mapping[str, Any]) -> Trace:
    """Make a trace out of its events.

    Args:
        name: what it was read from, for errors.
        events: `traceEvents`, which may be taken from a file as they are asked for.
        info: `otherData`, looked at when all events have been taken.

    Raises:
        TraceError: if it is none, or not one of interpool's.
    """
    trace = Trace(name)
    reading = _Reading(trace)
    for event in events:
        trace.events += 1
        reading.take(event)
    _check_info(name, info)
    trace.info = dict(info)
    for track in (trace.pool, *trace.tracks.values()):
        track.spans.sort(key=lambda it: (it.start, -it.duration))
        track.instants.sort(key=lambda it: it.time)
        track.name = track.name or f"worker {track.number}"
    trace.waiting.sort()
    trace.memory.sort()
    return trace


def _check_info(name: str, info: object) -> None:
    if not isinstance(info, Mapping) or "interpool" not in info or "format" not in info:
        raise TraceError(
            f"{name} is a trace, but none of interpool's: otherData does not say which interpool "
            "and which format it is of"
        )
    if info["format"] != FORMAT:
        raise TraceError(
            f"{name} is of format {info['format']!r}, written by interpool {info['interpool']}; "
            f"this interpool reads format {FORMAT}"
        )


class _Reading:
    """Events on their way into a trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._begun: dict[Any, float] = {}  # waits that have not ended, by their task

    def take(self, event: Any) -> None:
        if not isinstance(event, Mapping):
            raise self._wrong(f"is {_shown(event)}, not an object")
        match event.get("ph"):
            case "X":
                self._span(event)
            case "b" | "e" if event.get("cat") == "wait":
                self._wait(event)
            case "C":
                self._counter(event)
            case "i" | "I":
                instant = Instant(
                    self._number(event, "ts"), self._text(event, "name"), self._args(event)
                )
                self._track(event).instants.append(instant)
            case "M":
                self._metadata(event)
            case _:
                pass  # of a kind that is not ours

    def _span(self, event: Mapping[str, Any]) -> None:
        kind = self._text(event, "cat")
        if kind not in KINDS:
            return
        start, duration = self._number(event, "ts"), self._number(event, "dur")
        span = Span(start, duration, kind, self._text(event, "name"), self._args(event))
        self._track(event).spans.append(span)

    def _wait(self, event: Mapping[str, Any]) -> None:
        time, task = self._number(event, "ts"), event.get("id")
        if not isinstance(task, int | str):
            raise self._wrong(f"has {_shown(task)} as id, not a task's number")
        if event["ph"] == "b":
            self._begun[task] = time
        elif (begun := self._begun.pop(task, None)) is not None:
            self._trace.waits.append(max(0.0, time - begun))

    def _counter(self, event: Mapping[str, Any]) -> None:
        args = self._args(event)
        match event.get("name"):
            case "tasks":
                self._trace.waiting.append(
                    (self._number(event, "ts"), self._number(args, "waiting"))
                )
            case "memory":
                self._trace.memory.append(
                    (self._number(event, "ts"), self._number(args, "rss_mib"))
                )
            case _:
                pass  # of a kind that is not ours

    def _metadata(self, event: Mapping[str, Any]) -> None:
        args = self._args(event)
        if event.get("name") == "thread_name":
            track = self._track(event)
            track.name = self._text(args, "name")
            track.lane = str(args.get("lane", ""))
            track.is_worker = "lane" in args
            pid = args.get("pid")
            track.pid = pid if isinstance(pid, int) else None
        elif event.get("name") == "thread_sort_index":
            self._track(event).order = self._number(args, "sort_index")

    def _track(self, event: Mapping[str, Any]) -> Track:
        number = event.get("tid")
        if type(number) is not int:
            raise self._wrong(f"has {_shown(number)} as tid, not a track's number")
        if number == POOL:
            return self._trace.pool
        track = self._trace.tracks.get(number)
        if track is None:
            track = self._trace.tracks[number] = Track(number, order=number)
        return track

    def _number(self, of: Mapping[str, Any], name: str) -> float:
        value: Any = of.get(name)
        if type(value) not in {int, float} or not 0 <= value < _MOST:  # which nan is not, either
            raise self._wrong(f"has {_shown(value)} as {name}, not a number from 0 on")
        return float(value)

    def _text(self, of: Mapping[str, Any], name: str) -> str:
        value = of.get(name)
        if not isinstance(value, str):
            raise self._wrong(f"has {_shown(value)} as {name}, not a text")
        return value

    def _args(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        args = event.get("args", {})
        if not isinstance(args, Mapping):
            raise self._wrong(f"has {_shown(args)} as args, not an object")
        return args

    def _wrong(self, what: str) -> TraceError:
        return TraceError(f"Event {self._trace.events:,} of {self._trace.name} {what}")


def _number_in(name: str) -> int:
    """The number that a worker's name ends in: its track's is by who said something first."""
    last = name.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - what a line takes
