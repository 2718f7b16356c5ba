"""Every program of examples/, run as its reader would run it, and what it prints."""

import contextlib
import http.client
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CONTENDERS = ("threads", "processes", "standard library's interpreters", "interpool")


def run(folder: Path, program: str, *arguments: str) -> list[str]:
    """Run a program from another folder; nothing but results is printed. Return its lines."""
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / program), *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout.splitlines()


def test_submit_prints_the_sum(tmp_path: Path) -> None:
    assert run(tmp_path, "submit.py") == ["2 + 3 + 4 = 9"]


def test_a_pipeline_of_three_stages(tmp_path: Path) -> None:
    first, *counts, last = run(tmp_path, "pipeline.py", "--modules", "30")
    assert first == "30 modules, 30,030 nodes; the most frequent ones:"
    assert counts == ["     6,000 Name", "     4,800 Load", "     3,600 BinOp"]
    assert last == "the writer was held back by its full queue"


@pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not installed")
def test_numpy_runs_in_a_process(tmp_path: Path) -> None:
    assert run(tmp_path, "numpy_in_a_worker.py") == [
        "15.0",
        "in interpreters: 0, in processes: 1",
    ]


@pytest.mark.skipif(find_spec("joblib") is None, reason="joblib is not installed")
def test_joblib_searches_a_grid(tmp_path: Path) -> None:
    assert run(tmp_path, "joblib_grid_search.py", "100") == [
        " 3 neighbours, power 0: 70.0% right",
        " 3 neighbours, power 1: 70.0% right",
        " 9 neighbours, power 0: 70.0% right",
    ]


@pytest.mark.skipif(find_spec("dask") is None, reason="dask is not installed")
def test_dask_counts_words(tmp_path: Path) -> None:
    *counts, lanes = run(tmp_path, "dask_word_count.py", "10")
    assert re.fullmatch(r" +\d+ the", counts[0])
    assert len(counts) == 5
    assert re.fullmatch(r"tasks in interpreters: \d+, in processes: 0", lanes)


def test_map_keeps_the_order_of_its_items(tmp_path: Path) -> None:
    assert run(tmp_path, "map_in_order.py") == [
        "  27 reaches 1 in 111 steps",
        "   1 reaches 1 in 0 steps",
        "  97 reaches 1 in 118 steps",
        "   8 reaches 1 in 3 steps",
        " 871 reaches 1 in 178 steps",
    ]


@pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")
def test_cluster_finds_the_longest_way(tmp_path: Path) -> None:
    assert run(tmp_path, "cluster_collatz.py") == [
        "of the numbers below 20000, 17647 takes 278 steps"
    ]


def test_queue_connects_two_interpreters(tmp_path: Path) -> None:
    [line] = run(tmp_path, "queue_between_workers.py")
    found = re.fullmatch(
        r"produced in interpreter (\d+), consumed in interpreter (\d+): (.*)", line
    )
    assert found is not None
    producer, consumer, numbers = found.groups()
    assert len({"0", producer, consumer}) == 3  # two workers, neither of them the main interpreter
    assert numbers == "[1, 3, 6, 10, 15, 21]"


def test_mandelbrot_is_drawn(tmp_path: Path) -> None:
    [line] = run(tmp_path, "mandelbrot.py", "--width", "60", "--workers", "2", "picture.png")
    assert re.fullmatch(r"60 x 40 pixels in \d+\.\d s: picture\.png", line)
    data = (tmp_path / "picture.png").read_bytes()
    signature, data = data[:8], data[8:]
    assert signature == b"\x89PNG\r\n\x1a\n"
    chunks = {}
    while data:
        size = struct.unpack(">I", data[:4])[0]
        kind, body, check = data[4:8], data[8 : 8 + size], data[8 + size : 12 + size]
        assert struct.unpack(">I", check)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        data = data[12 + size :]
    assert [*chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (60, 40, 8, 2, 0, 0, 0)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert len(rows) == 40 * (1 + 60 * 3)
    pixels = b"".join(rows[start + 1 : start + 181] for start in range(0, len(rows), 181))
    colours = {pixels[at : at + 3] for at in range(0, len(pixels), 3)}
    assert len(colours) > 500  # every row has been drawn, and nothing is a plain of one colour
    assert all(any(pixels[at : at + 180]) for at in range(0, len(pixels), 180))


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ("2", "1 primes up to 2, the largest 2,"),
        ("100", "25 primes up to 100, the largest 97,"),
        ("3000000", "216,816 primes up to 3,000,000, the largest 2,999,999,"),
    ],
)
def test_primes_are_counted(tmp_path: Path, limit: str, found: str) -> None:
    [line] = run(tmp_path, "primes.py", limit, "--workers", "2")
    assert re.fullmatch(rf"{re.escape(found)} in \d+\.\d\d s", line)


def test_what_can_be_sent_is_and_the_rest_is_named(tmp_path: Path) -> None:
    lines = run(tmp_path, "what_can_be_sent.py")
    assert [line for line in lines if not line.startswith("refused")] == [
        "sent     a function of this file: 8",
        "sent     one that calls another: 13",
        "sent     one that uses a global: 15",
        "sent     a function of a module: 6",
        "sent     a method of an object: 3",
        "sent     a local function: 15",
        "sent     a lambda: 25",
        "sent     a closure: 15",
        "sent     a closure that counts: 1",
        "         and its variable here: 0",
        "sent     what is in it: What can be sent to a worker, and what not",
        "sent     its items: [3, 2, 1]",
    ]
    argument, file, generator = (line for line in lines if line.startswith("refused"))
    assert argument.startswith(
        "refused  an open file as an argument: Cannot send argument 1 of first_line to a worker"
    )
    assert "TextIOWrapper" in argument
    assert file.startswith("refused  an open file as a result: Cannot send the result of ")
    assert "TextIOWrapper" in file
    assert generator.startswith("refused  a generator as a result: Cannot send the result of ")
    assert "generator" in generator


@pytest.mark.parametrize(
    ("program", "sizes"),
    [
        ("benchmark_cpu.py", ("--tasks", "2", "--iterations", "1000")),
        ("benchmark_startup.py", ()),
        ("benchmark_transfer.py", ("--tasks", "100", "--chunksize", "10")),
    ],
)
def test_benchmarks_compare_everyone(tmp_path: Path, program: str, sizes: tuple[str, ...]) -> None:
    _, *rows = run(tmp_path, program, "--workers", "2", "--rounds", "1", *sizes)
    patterns = [rf"{name} +\d+\.\d ms( +\d+\.\d\d x interpool)?" for name in CONTENDERS]
    assert len(rows) == len(patterns)
    for row, pattern in zip(rows, patterns, strict=True):
        assert re.fullmatch(pattern, row)


def test_demo_measures_the_library_and_all_agree(tmp_path: Path) -> None:
    arguments = ("--limit", "20", "--rounds", "1", "--top", "3", "--workers", "2")
    lines = run(tmp_path, "demo.py", *arguments)
    assert max(map(len, lines)) <= 80
    assert any(re.match(r"20 files, \d\.\d MB, in\b", line) for line in lines)
    # The largest module of pure Python has been the hardest for years.
    row = r"_pydecimal +\d,\d{3} +\d+ +\d+ +\d+ +1,\d{3} +\d+ +Decimal\.\S+ *"
    assert any(re.fullmatch(row, line) for line in lines)
    assert any(re.match(r"most used names  \d,\d{3} self, ", line) for line in lines)
    assert "not parsed  none" in lines
    for name in ("serial, no pool", *CONTENDERS):
        row = rf"{name} +\d+\.\d\d +\d+\.\d\d x  ━.*"
        assert sum(re.fullmatch(row, line) is not None for line in lines) == 1
    assert "All results equal: 20 files in each of 5 runs" in lines


def test_demo_names_what_it_cannot_parse(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("def one():\n    return '\\d'\n")
    (tmp_path / "broken.py").write_text("def broken(:\n")
    (tmp_path / "bytes.py").write_bytes(b"name = '\xff'\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "skipped.py").touch()
    lines = run(tmp_path, "demo.py", "--folder", str(tmp_path), "--rounds", "1")
    text = "\n".join(lines)
    assert "not parsed  2" in lines
    assert "  broken.py: SyntaxError: " in text
    assert "  bytes.py: SyntaxError: " in text
    assert "skipped" not in text
    assert "in all  1 modules, 2 lines, 1 functions, 0 classes" in lines
    assert "All results equal: 3 files in each of 5 runs" in lines


def test_demo_draws_its_picture(tmp_path: Path) -> None:
    (tmp_path / "module.py").touch()
    run(tmp_path, "demo.py", "--folder", ".", "--rounds", "1", "--svg", "demo.svg")
    assert "<svg" in (tmp_path / "demo.svg").read_text("utf-8")


def test_demo_says_when_there_is_nothing_to_measure(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), "--folder", str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == f"No Python files in {tmp_path}\n"


LIAR = """\
import sys
from concurrent.futures import ThreadPoolExecutor

import contenders


class Liar(ThreadPoolExecutor):
    def map(self, *args, **kwargs):
        return list(super().map(*args, **kwargs))[1:]


contenders.contenders = lambda: {"threads": ThreadPoolExecutor, "liar": Liar}
import demo

sys.exit(demo.main())
"""


def test_demo_fails_when_somebody_finds_something_else() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", LIAR, "--limit", "2", "--rounds", "1"],
        cwd=EXAMPLES,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "Results differ from the serial run's: liar\n" in finished.stdout


MEASURED = """\
class Outer:
    async def branches(self, a, b):
        if a and b or a:
            pass
        elif b:
            return [x for x in a if x]
        else:
            for x in a:
                while x:
                    x = b if a else x
        try:
            match a:
                case 1:
                    pass
                case _:
                    pass
        except (TypeError, ValueError):
            pass

    def outer(self):
        def inner():
            return lambda: 1 if self else 2
        return inner
if MEASURED:
    pass
"""


def test_measures_are_right(tmp_path: Path) -> None:
    source = tmp_path / "measured.py"
    source.write_text(MEASURED)
    program = "import sys; from stdlib_census.analysis import measure; print(*measure(sys.argv[1]))"
    finished = subprocess.run(
        [sys.executable, "-c", program, str(source)],
        cwd=EXAMPLES,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    lines, functions, classes, nesting, paths = 25, 3, 1, 5, 13 + 1 + 2
    # 13: itself, if, and, or, elif, comprehension and its if, for, while, if-else, 2 cases, except
    hardest = "Outer.branches 13"
    expected = f"{source} {lines} {functions} {classes} {nesting} {paths} {hardest} "
    assert finished.stdout.startswith(expected)
    assert "'a': 6" in finished.stdout


@pytest.fixture
def service() -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """The web service as a program on a free port, and where it is."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "web_service.py")],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            host, port = heard(process).removeprefix("http://").split(":")
            yield process, host, int(port)
        finally:
            process.terminate()
            process.wait(60)


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    assert ready, "it says nothing"
    return process.stdout.readline().rstrip()


def asked(host: str, port: int, path: str) -> str:
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def test_the_web_service_stops_the_task_of_a_client_that_goes_away(
    service: tuple[subprocess.Popen[str], str, int],
) -> None:
    process, host, port = service
    assert json.loads(asked(host, port, "/primes?below=100")) == {"below": 100, "primes": 25}
    assert heard(process) == "counting primes below 100"
    with socket.create_connection((host, port)) as client:
        client.sendall(b"GET /primes?below=1000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert heard(process) == "counting primes below 1,000,000,000"
        assert asked(host, port, "/light") == "here"
    assert heard(process) == "the client went away: interrupted"
    tasks = json.loads(asked(host, port, "/tasks"))
    assert (tasks["done"], tasks["interrupted"], tasks["running"]) == (1, 1, 0)
