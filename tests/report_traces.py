"""Traces for tests of the report: built event by event, or as runs of some kind."""

import json
import random
from pathlib import Path
from typing import Any, Self

PID = 4711
MS = 1000.0  # microseconds


class Traced:
    """A trace in the making; times in microseconds."""

    def __init__(self, workers: int = 2, cores: int = 4, **info: Any) -> None:
        self.info = {
            "interpool": "0.1.0",
            "python": "3.14.8",
            "workers": workers,
            "cores": cores,
            "began": "2026-11-29T08:30:00+00:00",
            "format": 1,
        } | info
        self.events: list[dict[str, Any]] = []
        self.tracks = 0

    def event(self, ph: str, tid: int, ts: float, name: str, **more: Any) -> Self:
        self.events.append({"ph": ph, "pid": PID, "tid": tid, "ts": ts, "name": name} | more)
        return self

    def worker(self, name: str = "", lane: str = "interpreter", **args: Any) -> int:
        """Add a worker, and return its track."""
        self.tracks += 1
        args = {"name": name or f"worker {self.tracks}", "lane": lane} | args
        self.event("M", self.tracks, 0, "thread_name", args=args)
        self.event("M", self.tracks, 0, "thread_sort_index", args={"sort_index": self.tracks})
        return self.tracks

    def span(self, tid: int, cat: str, name: str, ts: float, dur: float, **args: Any) -> float:
        """Add a span, and return when it ends."""
        self.event("X", tid, ts, name, cat=cat, dur=dur, args=args)
        return ts + dur

    def run(self, tid: int, ts: float, dur: float, arguments: str = "", **args: Any) -> float:
        args = {"function": "jobs.work", "outcome": "done", "lane": "interpreter"} | args
        if arguments:
            args["arguments"] = arguments
        return self.span(tid, "run", args["function"].rpartition(".")[2], ts, dur, **args)

    def idle(self, tid: int, ts: float, dur: float, why: str = "no task") -> float:
        return self.span(tid, "idle", "idle", ts, dur, why=why)

    def instant(self, tid: int, ts: float, name: str, **args: Any) -> Self:
        return self.event("i", tid, ts, name, cat="event", s="t", args=args)

    def tasks(self, ts: float, waiting: int, running: int = 0) -> Self:
        return self.event("C", 0, ts, "tasks", args={"waiting": waiting, "running": running})

    def as_dict(self) -> dict[str, Any]:
        return {"displayTimeUnit": "ms", "otherData": self.info, "traceEvents": self.events}

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(self.as_dict()))
        return path


def ordinary(workers: int = 4, tasks: int = 60, **info: Any) -> Traced:
    """A run that has a bit of everything: start, import, transfer, idle stretches, a tail."""
    chance = random.Random(7)
    traced = Traced(workers, **({"command": "interpool map jobs:work items.jsonl"} | info))
    free = {}
    for _ in range(workers):
        tid = traced.worker()
        at = traced.span(tid, "start", "interpreter", tid * 2 * MS, 9 * MS)
        free[tid] = traced.idle(tid, at, 1 * MS)
        traced.event("C", 0, at, "memory", args={"rss_mib": 30 + 12 * tid})
    for task in range(tasks):
        tid = min(free, key=lambda it: free[it])
        at = free[tid]
        traced.event("b", 0, max(0.0, at - 5 * MS), "work", cat="wait", id=task)
        traced.event("e", 0, at, "work", cat="wait", id=task)
        at = traced.span(
            tid, "transfer", "arguments", at, chance.uniform(0.1, 2) * MS, nbytes=90_000
        )
        took = chance.lognormvariate(2.6, 0.5) * MS
        if task < workers:
            took += 30 * MS
            traced.span(tid, "import", "csv", at + 1 * MS, 26 * MS)
            traced.span(tid, "import", "re", at + 2 * MS, 11 * MS)
        if task == tasks - 1:
            took = 140 * MS
        at = traced.run(tid, at, took, f"({task}, 'item-{task:04}.json')", task=task)
        at = traced.span(tid, "transfer", "result", at, 0.3 * MS, nbytes=12_000)
        free[tid] = traced.idle(tid, at, chance.uniform(0.2, 3) * MS)
        traced.tasks(at, max(0, tasks - task - workers), workers)
    end = max(free.values())
    for tid, at in free.items():
        if at < end:
            traced.idle(tid, at, end - at)
    return traced


def failing() -> Traced:
    """A run in which much goes wrong, in two lanes."""
    traced = ordinary(3, 40, command="interpool map jobs:fetch urls.txt --retries 2")
    at = 420 * MS
    why = "numpy.linalg refuses to load in an interpreter"
    tid = traced.worker("worker process 4", "process", pid=5005)
    at = traced.span(tid, "start", "process", at, 60 * MS)
    outcomes = ("done", "failed", "done", "timeout", "interrupted", "retried")
    for task in range(18):
        outcome = outcomes[task % len(outcomes)]
        error = f"ValueError: row {task} has no price: ''" if outcome != "done" else None
        args = {"task": 100 + task, "outcome": outcome, "lane": "process", "why": why}
        if error:
            args |= {"error": error, "attempt": 1 + task % 2}
        at = traced.run(
            tid,
            at,
            (4 + task) * MS,
            f"('https://example.org/{task}',)",
            function="jobs.fetch",
            **args,
        )
        at = traced.span(tid, "transfer", "result", at, 1 * MS, nbytes=2_000)
    traced.instant(tid, at, "worker died", exitcode=-11, pid=5005)
    traced.instant(1, 200 * MS, "worker abandoned", task=17)
    traced.instant(0, 420 * MS, "fallback to process", why=why)
    return traced


def long(events: int = 1_000_000, workers: int = 8) -> Traced:
    """A run with about so many events: a run and two transfers for each task, and idling."""
    chance = random.Random(3)
    traced = Traced(workers, workers, command="python many.py")
    for _ in range(workers):
        tid = traced.worker()
        at = traced.span(tid, "start", "interpreter", 0, 8 * MS)
        for task in range(events // (4 * workers)):
            at = traced.span(tid, "transfer", "arguments", at, 12.5, nbytes=300)
            failed = {"outcome": "failed", "error": "KeyError: 7"} if task % 1000 == 7 else {}
            took = chance.expovariate(1 / 400) + (50 * MS if task % 3000 == 0 else 0)
            at = traced.run(tid, at, took, f"({task},)", task=task, **failed)
            at = traced.span(tid, "transfer", "result", at, 9.1, nbytes=120)
            at = traced.idle(tid, at, chance.expovariate(1 / 60))
    return traced
