"""What becomes of a web service's light endpoint while a heavy one computes?

Starlette and uvicorn in a process of their own. Eight clients ask for `/heavy`, 20 ms of pure
Python or so, one time after the other, and one asks for `/light` every 5 ms: with nobody at
`/heavy`, and with its work in `run_in_threadpool`, in a ProcessPoolExecutor, and in
`interpool.aio`. The clients share the cores with the service. Written as a table (web.md), and with
every sample (web.json).

Run it:

    python benchmarks/web.py
    python benchmarks/web.py --quick
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import _markdown
import _options
import _table
from _web_service import WAYS, compute
from interpool._bench.words import format_figure

SCHEMA: Final = 1
WORKERS: Final = 2
CLIENTS: Final = 8
ITERATIONS: Final = 200_000
MILLISECONDS: Final = 5_000
PAUSE: Final = 0.005
# Seconds for the service to be there, or to answer.
BOUND: Final = 60.0
NAMES: Final = {
    "none": "nobody at the heavy one",
    "threadpool": "`run_in_threadpool`",
    "processes": "`ProcessPoolExecutor`",
    "interpool": "`interpool.aio`",
}
_SERVICE: Final = Path(__file__).with_name("_web_service.py")

type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Line:
    """What was measured of one way.

    Attributes:
        name: of the way.
        rate: heavy requests a second, of each round.
        median: of the light ones' times, in ms.
        late: what one light request of a hundred takes longer than, in ms.
    """

    name: str
    rate: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options.parse(
        __doc__ or "",
        arguments,
        rounds=7,
        duration="three minutes, with --quick half a minute",
        draws=False,
    )

    def measured() -> dict[str, Any]:
        iterations, milliseconds = map(options.scaled, (ITERATIONS, MILLISECONDS))
        lines = measure(options.rounds, iterations, milliseconds / 1e3)
        return {
            "iterations": iterations,
            "alone": alone(iterations),
            "lines": [asdict(line) for line in lines],
        }

    return _table.finish(options, "web", SCHEMA, measured, text)


def alone(iterations: int) -> float:
    """Milliseconds that one heavy request computes."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        compute(iterations)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


def text(data: dict[str, Any]) -> str:
    """The figures as Markdown."""
    heads = ["heavy work in", "heavy requests/s", "light: median, ms", "light: 99 %, ms"]
    heads += ["interpool to it: requests", "99 %"]
    lines = [Line(**it) for it in data["lines"]]
    ours = next(line for line in lines if line.name == "interpool")
    rows = []
    for line in lines:
        figures = (line.rate, line.median, line.late)
        shown = [format_figure(statistics.median(it)) for it in figures]
        shown += [_table.ratio(ours.rate, line.rate), _table.ratio(ours.late, line.late)]
        if line.name == "none":  # it has served nobody
            shown[0] = shown[3] = "-"
        rows.append([NAMES[line.name], *shown])
    below = (
        f"{CLIENTS} clients at the heavy endpoint, {format_figure(data['alone'])} ms of computing "
        f"a request; {WORKERS} workers. {_table.RATIOS} "
        f"{_table.measured(data)}"
    )
    return f"{_markdown.table(heads, rows)}\n\n{below}"


def measure(rounds: int, iterations: int, seconds: float) -> list[Line]:
    """Measure each way in each round, so that what the machine does beside falls on all."""
    lines = [Line(way) for way in WAYS]
    for number in range(rounds):
        _options.tell(f"round {number + 1} of {rounds}")
        for line in lines:
            with service(line.name, iterations) as port:
                asyncio.run(load(line, port, seconds))
    return lines


async def load(line: Line, port: int, seconds: float) -> None:
    async with asyncio.timeout(seconds + BOUND):
        heavies = 0
        times: list[float] = []
        end = time.perf_counter() + seconds

        async def ask_for_heavy() -> None:
            nonlocal heavies
            async with connected(port) as connection:
                while time.perf_counter() < end:
                    await ask(connection, "/heavy")
                    heavies += time.perf_counter() <= end

        async with asyncio.TaskGroup() as group, connected(port) as connection:
            for _ in range(0 if line.name == "none" else CLIENTS):
                group.create_task(ask_for_heavy())
            while (begin := time.perf_counter()) < end:
                await ask(connection, "/light")
                times.append(time.perf_counter() - begin)
                await asyncio.sleep(PAUSE)
    line.rate.append(heavies / seconds)
    line.median.append(statistics.median(times) * 1e3)
    late = sorted(times)[int(len(times) * 0.99)]
    line.late.append(late * 1e3)


@contextlib.contextmanager
def service(way: str, iterations: int) -> Iterator[int]:
    """The service in a process, and its port."""
    arguments = [str(_SERVICE), way, str(iterations), str(WORKERS)]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *arguments], stdin=pipe, stdout=pipe) as process:  # noqa: S603 - our own
        assert process.stdin is not None  # noqa: S101 - it has pipes
        assert process.stdout is not None  # noqa: S101 - the same
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(BOUND)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def ask(connection: Connection, path: str) -> bytes:
    """Ask, and return the answer's body."""
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status, _, fields = head.partition(b"\r\n")
    if b" 200 " not in status:
        message = f"{path}: {status.decode()}"
        raise RuntimeError(message)
    return await reader.readexactly(int(fields.partition(b"content-length: ")[2].split()[0]))


if __name__ == "__main__":
    sys.exit(main())
