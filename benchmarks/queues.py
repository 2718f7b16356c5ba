"""How fast do workers talk? Queues between two workers, beside those of the standard library.

`interpool.Queue` and `concurrent.interpreters.Queue` between two interpreters of one pool, and
`multiprocessing.Queue` between two processes: a question and its answer, items one after the other,
in batches where there are any, and a `get` that waits in vain for half a second. Written as a table
(queues.md) and with every sample (queues.json). Run it:

    python benchmarks/queues.py
    python benchmarks/queues.py --quick
    python benchmarks/queues.py --flow 10000000   # nothing but memory, while so many items flow
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent import interpreters
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import _markdown
import _options
import _queue_ends as ends
import _table
from interpool import InterpreterPoolExecutor, Queue
from interpool._bench.words import format_figure

SCHEMA: Final = 1
# Questions of interpool and processes; of the standard library's, which polls every 10 ms, fewer.
TRIPS, SLOW_TRIPS = 5_000, 100
ITEMS, BATCH = 100_000, 500
# Items of the standard library's queue: what it leaks is bounded by this (cp#118302).
SLOW_ITEMS: Final = 20_000
IN_VAIN: Final = 0.5  # seconds
KINDS: Final = ("interpool", "concurrent.interpreters", "multiprocessing")


@dataclass(slots=True)
class Row:
    """What is measured: its name, the unit of its figures, and samples by kind of queue."""

    name: str
    unit: str
    samples: dict[str, list[float]] = field(default_factory=dict)


class Workers:
    """Two workers, and queues of one kind between them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._manager: Any = None
        if kind == "multiprocessing":
            context = multiprocessing.get_context("forkserver")
            # The queue of the manager-less kind can only be inherited: by the initializer.
            self._queues = [context.Queue() for _ in range(2)]
            self.pool: Any = ProcessPoolExecutor(2, context, _inherit, (self._queues,))
        else:
            self.pool = InterpreterPoolExecutor(2)
            make: Callable[[], Any] = Queue if kind == "interpool" else interpreters.create_queue
            self._queues = [make() for _ in range(2)]

    def submit(self, function: Callable[..., Any], numbers: Sequence[int], *args: Any) -> Any:
        """Have a worker call a function with some of the queues, by number."""
        if self.kind == "multiprocessing":
            return self.pool.submit(_call, function, numbers, args)
        return self.pool.submit(function, *(self._queues[n] for n in numbers), *args)

    def trip(self, count: int) -> float:
        """The median of so many questions, in microseconds."""
        answering = self.submit(ends.answer, (0, 1), count)
        times: list[float] = self.submit(ends.ask, (0, 1), count).result()
        answering.result()
        return statistics.median(times) * 1e6

    def flow(self, count: int, batch: int) -> float:
        """How many thousand items come in a second."""
        found: Future[float] = self.submit(ends.consume, (0,), count, batch)
        self.submit(ends.produce, (0,), count, batch).result()
        return found.result() / 1e3

    def wait_in_vain(self) -> float:
        """What a time limit of half a second is, in milliseconds."""
        found: Future[float] = self.submit(ends.wait_in_vain, (0,), IN_VAIN)
        return found.result() * 1e3

    def close(self) -> None:
        """End the workers."""
        self.pool.shutdown()


_inherited: list[Any] = []


def _inherit(queues: list[Any]) -> None:
    _inherited[:] = queues


def _call(function: Callable[..., Any], numbers: Sequence[int], args: Sequence[Any]) -> Any:
    return function(*(_inherited[n] for n in numbers), *args)


def main(arguments: Sequence[str] | None = None) -> int:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--flow", type=int, metavar="ITEMS")
    flow, others = own.parse_known_args(arguments)
    if flow.flow:
        return watch_memory(flow.flow)
    options = _options.parse(
        __doc__ or "",
        others,
        rounds=7,
        quick_rounds=2,
        duration="a minute, with --quick half a minute",
        draws=False,
    )

    def measured() -> dict[str, Any]:
        return {"rows": [asdict(row) for row in measure(options.rounds, options.scaled)]}

    return _table.finish(options, "queues", SCHEMA, measured, text)


def measure(rounds: int, scaled: Callable[[int], int]) -> list[Row]:
    """Measure each kind in each round, so that what the machine does beside falls on all."""
    trip = Row("a question and its answer", "us")
    single = Row("items one by one", "thousand/s")
    many = Row(f"items in batches of {BATCH}", "thousand/s")
    vain = Row(f"a `get` that waits {IN_VAIN:g} s in vain", "ms")
    for number in range(rounds):
        _options.tell(f"round {number + 1} of {rounds}")
        for kind in KINDS:
            is_slow = kind == "concurrent.interpreters"
            workers = Workers(kind)
            try:
                trips = scaled(SLOW_TRIPS if is_slow else TRIPS)
                items = scaled(SLOW_ITEMS if is_slow else ITEMS)
                trip.samples.setdefault(kind, []).append(workers.trip(trips))
                single.samples.setdefault(kind, []).append(workers.flow(items, 1))
                if kind == "interpool":
                    batches = max(items // BATCH, 2) * BATCH
                    many.samples.setdefault(kind, []).append(workers.flow(batches, BATCH))
                vain.samples.setdefault(kind, []).append(workers.wait_in_vain())
            finally:
                workers.close()
    return [trip, single, many, vain]


def text(data: dict[str, Any]) -> str:
    """The figures as Markdown."""
    heads = ["between two workers", *(f"`{kind}`" for kind in KINDS)]
    table = []
    for row in data["rows"]:
        cells = [
            format_figure(statistics.median(found)) if (found := row["samples"].get(kind)) else "-"
            for kind in KINDS
        ]
        table.append([f"{row['name']}, {row['unit']}", *cells])
    return f"{_markdown.table(heads, table)}\n\n{_table.measured(data)}"


def watch_memory(items: int) -> int:
    """Let items flow, and say how much memory the process takes meanwhile."""
    steps = 10
    with InterpreterPoolExecutor(2) as pool:
        for step in range(steps + 1):
            count = max(items // steps // BATCH, 1) * BATCH
            it = Queue(10_000 if step % 2 else 0)
            found = pool.submit(ends.consume, it, count, BATCH)
            pool.submit(ends.produce, it, count, BATCH).result()
            found.result()
            with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file
                pages = int(file.read().split()[1])
            mib = pages * resource.getpagesize() / (1 << 20)
            print(f"{(step + 1) * count:>12,} items: {mib:7.1f} MiB resident", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
