"""Chrome trace events out of what was recorded, as lines of JSON.

What it guarantees: on a worker's track nothing overlaps but imports, whatever order, and however
late, what the worker says comes in; each event lies within the trace. It keeps what it needs of
each worker, and of tasks whose outcome is not known, or which are run again: nothing of others.
"""

import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from interpool._inside import channels, tracing
from interpool._trace.records import Kind, Place, Record

# Nanoseconds between two events of a worker up to which nothing is said of what is in between: what
# it takes to take the next task.
_GAP: Final = 1_000

_VALUES: Final = frozenset({channels.VALUE_PLAIN, channels.VALUE_PICKLED})

# Numbers of hosts of threads, as `_lanes.threads` counts: from here on downwards.
THREADS: Final = -1_000_000


def lane_of(number: int) -> str:
    """The lane of a worker."""
    if number >= 0:
        return "interpreter"
    return "thread" if number <= THREADS else "process"


def name_of(number: int) -> str:
    """What the track of a worker is called."""
    match lane_of(number):
        case "interpreter":
            return f"worker {number + 1}"
        case "thread":
            return f"thread {THREADS - number}"
        case _:
            return f"worker process {-number}"


@dataclass(slots=True)
class _Track:
    tid: int
    lane: str
    end: int | None = None  # of its last event; None while nothing is known of it
    # Imports of which it is not known what they are part of: what that is comes behind them.
    imports: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Refused:
    """A task that an interpreter has refused, and a process runs: which has told of it first?"""

    when: int
    error: str
    name: str
    is_half_told: bool = False


class Composer:
    """Makes the events of one trace."""

    def __init__(self, pid: int, origin: int) -> None:
        """Args: of this process; when the trace begins."""
        self._pid = pid
        self._origin = origin
        self._tracks: dict[Place, _Track] = {}
        self._callers: dict[int, int] = {}  # tracks by threads
        self._tids = 0
        self._names: dict[int, tuple[str, str]] = {}  # by the key of the function
        self._known: dict[int, tuple[str, str, str]] = {}  # what is written of it, by the same
        self._why: dict[int, str] = {}
        self._outcomes: dict[int, tuple[str, str, str]] = {}
        self._held: dict[int, int] = {}
        self._kept: dict[int, tuple[_Track, Record]] = {}
        self._refused: dict[int, _Refused] = {}
        self._special: tuple[Container[int], ...]
        self._special = self._why, self._outcomes, self._held, self._refused
        self._lines: list[str] = []
        self._takes: dict[Kind, Callable[..., None]] = {
            Kind.WORK: self._work,
            Kind.ENCODED: self._encoded,
            Kind.MARK: self._mark,
            Kind.COUNT: self._count_tasks,
            Kind.MEMORY: self._count_memory,
            Kind.WHY: self._why.__setitem__,
            Kind.HELD: self._held.__setitem__,
            Kind.OUTCOME: self._outcome,
            Kind.REFUSED: self._refuse,
            Kind.CUT: self._cut,
            Kind.ASLEEP: self._note_asleep,
            Kind.END: self._end,
        }
        self._meta("process_name", 0, {"name": "interpool"})
        self._meta("thread_name", 0, {"name": "pool"})
        self._meta("thread_sort_index", 0, {"sort_index": 0})

    def compose(self, records: Iterable[Record]) -> list[str]:
        """Return the lines of what was recorded, in addition to those that were returned before."""
        for kind, *rest in records:
            self._takes[kind](*rest)
        lines, self._lines = self._lines, []
        return lines

    # --- Tasks -----------------------------------------------------------------------------------

    def _work(self, place: Place, batch: Iterable[Record]) -> None:
        track = self._track(place)
        for record in batch:
            if record[0] == tracing.TASK:
                if not self._plain_task(track, record):
                    self._task(track, record)
            elif record[0] == tracing.START:
                _, what, since, until = record
                self._piece(track, "start", what, since, until, "")
                self._imports(track, since, until)
            else:
                track.imports.append(record[1:])

    def _plain_task(self, track: _Track, record: Record) -> bool:
        """Write what most records are, as `_task` does in several times the time; or refuse."""
        _, task, key, submitted, taken, began, ended, sent, received, nbytes, kind, items, extra = (
            record
        )
        if (
            extra is not None
            or items != 1
            or kind not in _VALUES
            or not received
            or submitted < self._origin
        ):
            return False
        last, name = track.end, self._names.get(key)
        if name is None or last is None or not last <= taken <= began <= ended <= sent:
            return False
        if track.imports or any(task in it for it in self._special):
            return False
        start, (function, named, wait) = self._origin, self._texts(key, name)
        if taken - last > _GAP:
            self._idle(track, last, taken)
        b, e, r = (submitted - start) / 1000, (began - start) / 1000, (ended - start) / 1000
        where = f'"pid":{self._pid},"tid":{track.tid},"ts":'
        size = f'"nbytes":{nbytes},' if nbytes else ""
        # Several lines in one: whoever writes them puts a comma behind each.
        self._lines.append(
            f'{{"ph":"b","id":{task},{wait}{b}}},\n'
            f'{{"ph":"e","id":{task},{wait}{max(b, e)}}},\n'
            f'{{"ph":"X","cat":"transfer","name":"arguments",{where}{(taken - start) / 1000},'
            f'"dur":{(began - taken) / 1000},"args":{{"nbytes":{received},"task":{task}}}}},\n'
            f'{{"ph":"X","cat":"run",{named},{where}{e},"dur":{(ended - began) / 1000},'
            f'"args":{{"task":{task},{function},"lane":"{track.lane}","attempt":1,'
            f'"outcome":"done"}}}},\n'
            f'{{"ph":"X","cat":"transfer","name":"result",{where}{r},'
            f'"dur":{(sent - ended) / 1000},"args":{{{size}"task":{task}}}}}'
        )
        track.end = sent
        return True

    def _texts(self, key: int, name: tuple[str, str]) -> tuple[str, str, str]:
        """What is said of a function in each of its events."""
        if (found := self._known.get(key)) is None:
            module, own = name
            found = self._known[key] = (
                f'"function":{quoted(f"{module}.{own}" if module else own)}',
                f'"name":{quoted(own)}',
                f'"cat":"wait","name":{quoted(own)},"pid":{self._pid},"tid":0,"ts":',
            )
        return found

    def _imports(self, track: _Track, since: int, until: int) -> None:
        """Write the imports that are part of what was written, and forget the others."""
        imports, track.imports = track.imports, []
        for name, began, ended in imports:
            if since <= began and ended <= until:
                self._complete("import", name, track.tid, began, ended, "")

    def _outcome(self, task: int, outcome: str, error: str, name: str) -> None:
        self._outcomes[task] = outcome, error, name
        if (kept := self._kept.pop(task, None)) is not None:
            self._task(*kept)

    def _refuse(self, task: int, when: int, error: str, name: str) -> None:
        self._refused[task] = _Refused(when, error, name)

    def _task(self, track: _Track, record: Record, *, is_over: bool = False) -> None:
        _, task, key, submitted, taken, began, ended, sent, received, nbytes, kind, items, extra = (
            record
        )
        refused = self._refused.get(task)
        if refused is not None and track.lane == "interpreter":
            told: tuple[str, str, str] | None = ("retried", refused.error, refused.name)
        else:
            told = self._outcomes.pop(task, None)
            if told is None and task in self._held and not is_over:
                self._kept[task] = track, record
                return
        module, name = self._name(key, extra, told)
        attempt, since = self._held.get(task, 1), 0
        if refused is not None and track.lane != "interpreter":
            attempt, since = attempt + 1, refused.when
        if refused is None or refused.is_half_told:
            self._held.pop(task, None)
            self._refused.pop(task, None)
        else:
            refused.is_half_told = True
        outcome, error = _outcome_of(kind, extra)
        if told is not None:
            outcome, error = told[0], told[1] or error
        if submitted > channels.UNTIMED:
            self._wait(task, name, since or submitted, began or taken)
        args = f'"nbytes":{received},"task":{task}' if received else f'"task":{task}'
        self._piece(track, "transfer", "arguments", taken, began or ended, args)
        if began:
            function = f"{module}.{name}" if module else name
            details = {"items": items} if kind == channels.EACH or items != 1 else {}
            if extra is not None:
                _add_details(details, extra)
            self._run(track, name, began, ended, task, function, attempt, outcome, error, details)
        else:
            stage = (extra or {}).get("stage", "")
            details = {"task": task, "function": name, "error": error, "stage": stage}
            self._instant("task failed", ended, track.tid, details)
        args = f'"nbytes":{nbytes},"task":{task}' if nbytes else f'"task":{task}'
        self._piece(track, "transfer", "result", ended, sent, args)
        if track.imports:
            self._imports(track, taken, sent)

    def _run(
        self,
        track: _Track,
        name: str,
        began: int,
        ended: int,
        task: int,
        function: str,
        attempt: int,
        outcome: str,
        error: str,
        details: dict[str, Any],
    ) -> None:
        # It may be known before the run is over that an interpreter has refused.
        if track.lane != "interpreter" and (why := self._why.pop(task, None)) is not None:
            details["why"] = why
        if error:
            details["error"] = error
        args = (
            f'"task":{task},"function":{quoted(function)},"lane":"{track.lane}",'
            f'"attempt":{attempt},"outcome":"{outcome}"'
        )
        if details:
            args = f"{args},{_dumps(details)[1:-1]}"
        self._piece(track, "run", name, began, ended, args)

    def _name(
        self, key: int, extra: dict[str, Any] | None, told: tuple[str, str, str] | None
    ) -> tuple[str, str]:
        if extra is not None and (name := extra.get("name")) is not None:
            if key:
                self._names[key] = name
            return name[0], name[1]
        if (found := self._names.get(key)) is not None:
            return found
        return "", (told[2] if told is not None else "") or "?"

    def _cut(
        self,
        place: Place,
        task: int,
        began: int,
        ended: int,
        name: str,
        outcome: str,
        error: str,
    ) -> None:
        """A run of which its worker will say nothing."""
        track = self._track(place)
        if track.end is not None and began < track.end:
            return  # it has, meanwhile
        attempt = self._held.pop(task, 1)
        self._run(track, name, began, ended, task, name, attempt, outcome, error, {})
        self._imports(track, began, ended)

    def _note_asleep(self, place: Place, since: int) -> None:
        self._track(place).end = max(since, self._origin)

    def _end(self, when: int, asleep: Iterable[tuple[Place, int]]) -> None:
        kept, self._kept = self._kept, {}
        for track, record in kept.values():
            self._task(track, record, is_over=True)
        for place, since in asleep:
            track = self._track(place)
            begin = max(since, track.end or self._origin)
            if when - begin > _GAP:
                self._idle(track, begin, when)

    # --- Events ----------------------------------------------------------------------------------

    def _piece(self, track: _Track, cat: str, name: str, since: int, until: int, args: str) -> None:
        """Write what a worker did, behind what it did before; and that it did nothing between.

        Args:
            track: the worker's.
            cat: the category.
            name: the event's.
            since: when it began.
            until: when it ended.
            args: the details, as JSON without the braces.
        """
        last = self._origin if track.end is None else track.end
        if track.end is not None and since - last > _GAP:
            self._idle(track, last, since)
        since = max(since, last)
        if until < since or (until == since and cat != "run"):
            return
        self._complete(cat, name, track.tid, since, until, args)
        track.end = until

    def _idle(self, track: _Track, since: int, until: int) -> None:
        self._complete("idle", "idle", track.tid, since, until, '"why":"no task"')
        track.end = until

    def _complete(self, cat: str, name: str, tid: int, since: int, until: int, args: str) -> None:
        ts, dur = (since - self._origin) / 1000, (until - since) / 1000
        details = f',"args":{{{args}}}' if args else ""
        self._lines.append(
            f'{{"ph":"X","cat":"{cat}","name":{quoted(name)},"pid":{self._pid},"tid":{tid},'
            f'"ts":{ts},"dur":{dur}{details}}}'
        )

    def _wait(self, task: int, name: str, since: int, until: int) -> None:
        start = f'"cat":"wait","id":{task},"name":{quoted(name)},"pid":{self._pid},"tid":0,"ts":'
        begin, end = max(since - self._origin, 0) / 1000, max(until - self._origin, 0) / 1000
        self._lines.append(f'{{"ph":"b",{start}{begin}}}')
        self._lines.append(f'{{"ph":"e",{start}{max(begin, end)}}}')

    def _mark(self, when: int, name: str, place: Place | None, details: dict[str, Any]) -> None:
        self._instant(name, when, 0 if place is None else self._track(place).tid, details)

    def _instant(self, name: str, when: int, tid: int, args: dict[str, Any]) -> None:
        event = {"ph": "i", "s": "t", "cat": "event", "name": name, "pid": self._pid, "tid": tid}
        ts = max(when - self._origin, 0) / 1000
        self._lines.append(_dumps(event | {"ts": ts, "args": args}))

    def _count_tasks(self, when: int, waiting: int, running: int) -> None:
        self._count("tasks", when, {"waiting": waiting, "running": running})

    def _count_memory(self, when: int, mebibytes: float) -> None:
        self._count("memory", when, {"rss_mib": mebibytes})

    def _count(self, name: str, when: int, args: dict[str, Any]) -> None:
        event = {"ph": "C", "name": name, "pid": self._pid, "tid": 0}
        self._lines.append(_dumps(event | {"ts": (when - self._origin) / 1000, "args": args}))

    def _encoded(
        self, thread: int, began: int, ended: int, name: str, nbytes: int, items: int
    ) -> None:
        if (tid := self._callers.get(thread)) is None:
            tid = 0
            if self._callers:  # two threads may encode at the same time
                tid = self._new_tid()
                self._meta("thread_name", tid, {"name": f"caller {len(self._callers) + 1}"})
                self._meta("thread_sort_index", tid, {"sort_index": 0})
            self._callers[thread] = tid
        args = f'"function":{quoted(name)}'
        if nbytes:
            args += f',"nbytes":{nbytes}'
        if items != 1:
            args += f',"items":{items}'
        self._complete("transfer", "encode", tid, max(began, self._origin), ended, args)

    def _track(self, place: Place) -> _Track:
        if (track := self._tracks.get(place)) is not None:
            return track
        number, pid = place
        lane = lane_of(number)
        track = self._tracks[place] = _Track(self._new_tid(), lane)
        args = {"name": name_of(number), "lane": lane}
        self._meta("thread_name", track.tid, {**args, "pid": pid} if pid else args)
        self._meta("thread_sort_index", track.tid, {"sort_index": track.tid})
        return track

    def _new_tid(self) -> int:
        self._tids += 1
        if self._tids == self._pid:  # which Perfetto takes 0 for, and a container's program has 1
            self._tids += 1
        return self._tids

    def _meta(self, name: str, tid: int, args: dict[str, Any]) -> None:
        event = {"ph": "M", "name": name, "pid": self._pid, "tid": tid, "args": args}
        self._lines.append(_dumps(event))


_dumps: Final = json.JSONEncoder(separators=(",", ":")).encode


def _outcome_of(kind: int, extra: dict[str, Any] | None) -> tuple[str, str]:
    """What a worker says of a run: how it ended, and the error."""
    if extra is not None and (error := extra.get("error")):
        return "failed", error
    return ("interrupted" if kind == channels.STRUCK else "done"), ""


def _add_details(args: dict[str, Any], extra: dict[str, Any]) -> None:
    if (arguments := extra.get("arguments")) is not None:
        args["arguments"] = arguments
    if (failed := extra.get("failed")) is not None:
        args["failed"] = failed
    if (slowest := extra.get("slowest")) is not None and args.get("items", 1) > 1:
        took, arguments = slowest
        args["slowest"] = {"ms": took / 1e6} | ({"arguments": arguments} if arguments else {})
