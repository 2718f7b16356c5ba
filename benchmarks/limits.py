"""How fast could it be? What the machine, the kernel and CPython take, whatever pool uses them.

Interpreters alone and side by side, futures with nothing between them, a wake-up through a pipe,
what a task costs to be packed and queued, a copy of much memory. Written as a table (limits.md) and
with every sample (limits.json). Run it:

    python benchmarks/limits.py
    python benchmarks/limits.py --quick
"""

import _interpqueues
import _interpreters
import gc
import marshal
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Final

import _markdown
import _options
import _table
from interpool._bench.words import format_figure

SCHEMA: Final = 1
TOGETHER: Final = 4
FUTURES: Final = 10_000
TRIPS: Final = 2_000
ITEMS: Final = 10_000
COPIED: Final = 50_000_000
# What is sent for a task of a number each way, about: its number, and its arguments.
ITEM: Final = (123_456, (7,), ("key", 7))

# In an interpreter of its own: answers each byte with a byte until the pipe is closed.
_ECHO: Final = """
from os import read, write
while read({there}, 1):
    write({back}, b".")
"""
# Queues of CPython: without a bound, and an item goes with the interpreter that put it.
_REMOVE: Final = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """One of them.

    Attributes:
        name: what is measured.
        unit: of its figures.
        samples: one a round.
    """

    name: str
    unit: str
    samples: list[float]

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.samples)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options.parse(
        __doc__ or "",
        arguments,
        rounds=15,
        quick_rounds=3,
        duration="ten seconds, with --quick three",
        draws=False,
    )

    def measured() -> dict[str, Any]:
        return {"limits": [asdict(limit) for limit in measure(options.rounds, options.scaled)]}

    return _table.finish(options, "limits", SCHEMA, measured, text)


def text(data: dict[str, Any]) -> str:
    """The figures as Markdown."""
    limits = [Limit(**limit) for limit in data["limits"]]
    rows = [[limit.name, f"{format_figure(limit.median)} {limit.unit}"] for limit in limits]
    return f"{_markdown.table(['what', 'takes'], rows)}\n\n{_table.measured(data)}"


def measure(rounds: int, scaled: Callable[[int], int]) -> list[Limit]:
    """Measure each of them in each round, so that what the machine does beside falls on all."""
    futures, trips, items, nbytes = map(scaled, (FUTURES, TRIPS, ITEMS, COPIED))
    many = f"{futures:,} futures"
    probes: list[tuple[str, str, Callable[[], float]]] = [
        ("an interpreter, created", "ms", lambda: _created(1)),
        ("an interpreter, created and destroyed", "ms", lambda: _whole(1)),
        (f"{TOGETHER} of them at once, from as many threads", "ms", lambda: _whole(TOGETHER)),
        (f"{many}, made, resolved and asked by one thread", "ms", lambda: _futures(futures)),
        (f"{many}, resolved by another thread", "ms", lambda: _resolved(futures)),
        ("a wake-up through a pipe, between two interpreters", "us", lambda: _wake_up(trips)),
        ("marshal, there and back, a task", "us", lambda: _marshalled(items)),
        (
            "a queue of CPython, put and get, a task's bytes",
            "us",
            lambda: _queued(items, b"." * 40),
        ),
        ("the same, a number", "us", lambda: _queued(items, 1)),
        (f"{nbytes / 1e6:g} MB, copied into fresh memory", "ms", lambda: _copied(nbytes)),
    ]
    limits = [Limit(name, unit, []) for name, unit, _ in probes]
    for number in range(rounds):
        _options.tell(f"round {number + 1} of {rounds}")
        for limit, (_, unit, probe) in zip(limits, probes, strict=True):
            gc.collect()  # what one leaves behind is not the next one's
            limit.samples.append(probe() * (1e3 if unit == "ms" else 1e6))
    return limits


def _created(count: int) -> float:
    begin = time.perf_counter()
    interpreters = [_interpreters.create("isolated") for _ in range(count)]
    seconds = time.perf_counter() - begin
    for interpreter in interpreters:
        _interpreters.destroy(interpreter)
    return seconds


def _whole(count: int) -> float:
    """Seconds until as many threads have each created and destroyed an interpreter."""

    def live() -> None:
        _interpreters.destroy(_interpreters.create("isolated"))

    threads = [threading.Thread(target=live) for _ in range(count)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begin


def _futures(count: int) -> float:
    begin = time.perf_counter()
    futures: list[Future[int]] = [Future() for _ in range(count)]
    for number, future in enumerate(futures):
        future.set_running_or_notify_cancel()
        future.set_result(number)
    results = [future.result() for future in futures]
    seconds = time.perf_counter() - begin
    assert results == list(range(count))  # noqa: S101 - a benchmark of nonsense ends
    return seconds


def _resolved(count: int) -> float:
    """The same, but a thread resolves them as they are made, as every pool's must."""
    futures: list[Future[int]] = []
    made = threading.Semaphore(0)

    def resolve() -> None:
        for number in range(count):
            made.acquire()
            futures[number].set_running_or_notify_cancel()
            futures[number].set_result(number)

    thread = threading.Thread(target=resolve)
    thread.start()
    begin = time.perf_counter()
    for _ in range(count):
        futures.append(Future())
        made.release()
    for future in futures:
        future.result()
    seconds = time.perf_counter() - begin
    thread.join()
    return seconds


def _wake_up(trips: int) -> float:
    """Half of a byte's way to another interpreter's thread, which sleeps until then, and back."""
    theirs, there = os.pipe()
    back, ours = os.pipe()
    interpreter = _interpreters.create("isolated")
    program = _ECHO.format(there=theirs, back=ours)
    thread = threading.Thread(target=_interpreters.exec, args=(interpreter, program))
    thread.start()
    for _ in range(10):  # until it is there, and warm
        os.write(there, b".")
        os.read(back, 1)
    times = []
    for _ in range(trips):
        begin = time.perf_counter()
        os.write(there, b".")
        os.read(back, 1)
        times.append(time.perf_counter() - begin)
    os.close(there)
    thread.join()
    _interpreters.destroy(interpreter)
    for descriptor in (theirs, back, ours):
        os.close(descriptor)
    return statistics.median(times) / 2


def _marshalled(count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        marshal.loads(marshal.dumps(ITEM))
    return (time.perf_counter() - begin) / count


def _queued(count: int, item: object) -> float:
    """Both ends in one interpreter; of two, the one that put an object has to let go of it too."""
    queue = _interpqueues.create(0, _REMOVE, -1)  # type: ignore[arg-type]  # -1: the default
    begin = time.perf_counter()
    for _ in range(count):
        _interpqueues.put(queue, item, _REMOVE)  # type: ignore[call-arg]  # typeshed is at 3.13
        _interpqueues.get(queue)
    seconds = time.perf_counter() - begin
    _interpqueues.destroy(queue)
    return seconds / count


def _copied(nbytes: int) -> float:
    source = bytearray(nbytes)
    begin = time.perf_counter()
    copy = bytes(source)
    seconds = time.perf_counter() - begin
    del copy
    return seconds


if __name__ == "__main__":
    sys.exit(main())
