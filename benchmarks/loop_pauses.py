"""How long does a pool keep an event loop? A loop of asyncio, and tasks that come and go by it.

A heartbeat sleeps for 1 ms, again and again, while 10,000 tiny tasks run, 100 at a time, and some
beside them that take 10 MB and give it back. What it sleeps longer is a pause. First with no pool
at all; then with the standard library's pools and ours by `loop.run_in_executor`, and with
`interpool.aio`. Written as a table (loop_pauses.md), and with every sample (loop_pauses.json).

Run it:

    python benchmarks/loop_pauses.py
    python benchmarks/loop_pauses.py --quick
"""

import asyncio
import copy
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import (
    Executor,
    InterpreterPoolExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import _markdown
import _options
import _table
import interpool
from interpool._bench.words import format_figure
from interpool.aio import Pool

SCHEMA: Final = 1
WORKERS: Final = 2
TASKS: Final = 10_000
AT_A_TIME: Final = 100
LARGE: Final = 20
NBYTES: Final = 10_000_000
BEAT: Final = 0.001
# Seconds of heartbeat with nothing else: what the machine does by itself.
ALONE: Final = 2.0
OURS: Final = "`interpool.aio`, `run`"  # what ratios are of

type Call = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Line:
    """What was measured of one way.

    Attributes:
        name: of the way.
        longest: the longest pause of each round, in ms.
        late: the pause that one beat of a hundred is longer than, in ms.
        seconds: until all tasks were done.
    """

    name: str
    longest: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options.parse(
        __doc__ or "",
        arguments,
        rounds=5,
        duration="two minutes, with --quick twenty seconds",
        draws=False,
    )

    def measured() -> dict[str, Any]:
        tasks, large, nbytes = map(options.scaled, (TASKS, LARGE, NBYTES))
        lines = measure(options.rounds, tasks, large, nbytes)
        return {
            "sizes": {"tasks": tasks, "large": large, "nbytes": nbytes},
            "lines": [asdict(line) for line in lines],
        }

    return _table.finish(options, "loop_pauses", SCHEMA, measured, text)


def text(data: dict[str, Any]) -> str:
    """The figures as Markdown."""
    heads = ["while there run tasks by", "longest pause, ms", "1 % are longer than, ms", "s in all"]
    heads += ["`run` to it: longest", "s in all"]
    lines = [Line(**it) for it in data["lines"]]
    ours = next(line for line in lines if line.name == OURS)
    rows = []
    for line in lines:
        figures = (line.longest, line.late, line.seconds)
        shown = [format_figure(statistics.median(it)) for it in figures]
        if line is lines[0]:  # it has done nothing
            ratios = ["-", "-"]
        else:
            ratios = [_table.ratio(ours.longest, line.longest)]
            ratios.append(_table.ratio(ours.seconds, line.seconds))
        rows.append([line.name, *shown, *ratios])
    sizes = data["sizes"]
    below = (
        f"{sizes['tasks']:,} tiny tasks, {AT_A_TIME} at a time, and {sizes['large']} with "
        f"{sizes['nbytes'] / 1e6:g} MB there and back beside them; {WORKERS} workers. "
        f"{_table.RATIOS} {_table.measured(data)}"
    )
    return f"{_markdown.table(heads, rows)}\n\n{below}"


def measure(rounds: int, tasks: int, large: int, nbytes: int) -> list[Line]:
    """Measure each way in each round, so that what the machine does beside falls on all."""
    ways: list[tuple[str, Callable[[], AbstractContextManager[Executor]] | None]] = [
        ("threads", lambda: ThreadPoolExecutor(WORKERS)),
        ("processes", lambda: ProcessPoolExecutor(WORKERS)),
        ("the standard library's interpreters", lambda: InterpreterPoolExecutor(WORKERS)),
        ("interpool, by `run_in_executor`", lambda: interpool.InterpreterPoolExecutor(WORKERS)),
        (OURS, None),
    ]
    nothing = Line("nothing")
    lines = [Line(name) for name, _ in ways]
    stream = Line("`interpool.aio`, `map`")
    for number in range(rounds):
        _options.tell(f"round {number + 1} of {rounds}")
        note(nothing, asyncio.run(alone(ALONE * tasks / TASKS)))
        for line, (_, make) in zip(lines, ways, strict=True):
            gc.collect()  # what one leaves behind is not the next one's
            note(line, asyncio.run(flood(make, tasks, large, nbytes)))
        gc.collect()
        note(stream, asyncio.run(flood_map(tasks, large, nbytes)))
    return [nothing, *lines, stream]


def note(line: Line, found: tuple[list[float], float]) -> None:
    pauses, seconds = found
    line.longest.append(max(pauses) * 1e3)
    line.late.append(statistics.quantiles(pauses, n=100, method="inclusive")[-1] * 1e3)
    line.seconds.append(seconds)


@asynccontextmanager
async def heartbeat() -> AsyncIterator[list[float]]:
    """The pauses, in seconds, until it is left."""
    pauses: list[float] = []

    async def beat() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(BEAT)
            pauses.append(max(time.perf_counter() - begin - BEAT, 0.0))

    task = asyncio.create_task(beat())
    await asyncio.sleep(10 * BEAT)
    yield pauses
    await asyncio.sleep(10 * BEAT)  # what has been going on may have kept it until now
    task.cancel()


async def alone(seconds: float) -> tuple[list[float], float]:
    async with heartbeat() as pauses:
        await asyncio.sleep(seconds)
    return pauses, seconds


async def flood(
    make: Callable[[], AbstractContextManager[Executor]] | None,
    tasks: int,
    large: int,
    nbytes: int,
) -> tuple[list[float], float]:
    """Run all by calls of a pool: of that executor, or else of our own for loops."""
    if make is None:
        async with Pool(WORKERS) as pool:
            return await flood_calls(pool.run, tasks, large, nbytes)
    loop = asyncio.get_running_loop()
    with make() as executor:
        return await flood_calls(
            lambda fn, *args: loop.run_in_executor(executor, fn, *args), tasks, large, nbytes
        )


async def flood_calls(call: Call, tasks: int, large: int, nbytes: int) -> tuple[list[float], float]:
    numbers = iter(range(tasks))

    async def some() -> None:
        for number in numbers:
            await call(abs, number)

    await asyncio.gather(*(call(abs, number) for number in range(WORKERS * 2)))  # all have started
    async with heartbeat() as pauses:
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(some())
            group.create_task(move(call, large, nbytes))
        seconds = time.perf_counter() - begin
    return pauses, seconds


async def flood_map(tasks: int, large: int, nbytes: int) -> tuple[list[float], float]:
    async with Pool(WORKERS) as pool:
        await asyncio.gather(*(pool.run(abs, number) for number in range(WORKERS * 2)))
        async with heartbeat() as pauses:
            begin = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                group.create_task(take_all(pool, tasks))
                group.create_task(move(pool.run, large, nbytes))
            seconds = time.perf_counter() - begin
    return pauses, seconds


async def take_all(pool: Pool, tasks: int) -> None:
    async for _ in pool.map(abs, range(tasks)):
        pass


async def move(call: Call, count: int, nbytes: int) -> None:
    data = bytes(nbytes)
    for _ in range(count):
        found = await call(copy.copy, data)
        assert len(found) == nbytes  # noqa: S101 - a benchmark of nonsense ends
        del found


if __name__ == "__main__":
    sys.exit(main())
