"""`interpool map --cluster`: the same runs, on a Dask cluster, and what becomes of them with it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed")

import dask

from cluster_world import Nursery, World, world
from interpool._cli import app
from interpool._cli import map as map_command

NUMBERS = [str(n) for n in range(3_000)]


@pytest.fixture(autouse=True)
def _as_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave this process as it is: the command runs in it, for Dask is slow to import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def run(*arguments: str) -> int:
    return app.run(["map", *arguments])


def write(*records: str) -> None:
    Path("in.txt").write_text("".join(f"{it}\n" for it in records))


class Pipes:
    """What `cluster_tasks.hold` is told, and a thread that does something when it holds."""

    def __init__(self) -> None:
        self.entry, self.exit = Path("entry").absolute(), Path("exit").absolute()
        os.mkfifo(self.entry)
        os.mkfifo(self.exit)
        self.record = f"{self.entry} {self.exit}"

    def then(self, act: object, *args: object) -> threading.Thread:
        def wait() -> None:
            assert self.entry.read_text()
            act(*args)  # type: ignore[operator]

        thread = threading.Thread(target=wait)
        thread.start()
        return thread


def test_results_come_in_order_and_failures_are_reported(
    cluster: World, capfd: pytest.CaptureFixture[str]
) -> None:
    write("bad", *NUMBERS, "worse")
    options = "--format", "json", "--output", "out", "--errors", "failed"
    assert run("builtins:int", "in.txt", *options, "--cluster", cluster.address) == 1
    assert Path("out").read_text().split() == NUMBERS
    first, second = map(json.loads, Path("failed").read_text().splitlines())
    assert (first["position"], second["position"]) == (1, len(NUMBERS) + 2)
    assert "ValueError" in second["error"]
    assert "2 of 3,002 records failed" in capfd.readouterr().err


def test_limits_and_retries_are_a_records_own(cluster: World) -> None:
    write("3", "4", "x", "5")
    options = "--timeout", "60", "--retries", "1", "--on-error", "skip", "--unordered"
    code = run("builtins:int", "in.txt", *options, "--output", "out", "--cluster", cluster.address)
    assert code == 1
    assert sorted(Path("out").read_text().split()) == ["3", "4", "5"]


def test_a_run_outlives_its_scheduler(
    nursery: Nursery,
    cluster: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pipes = Pipes()
    records = [*NUMBERS, pipes.record, *NUMBERS]
    write(*records)
    options = "--output", "out", "--resume", "journal"
    said = []
    with world(nursery, 0) as made:

        def say(text: str) -> None:
            said.append(text)
            made.add_worker()

        monkeypatch.setattr(map_command, "_say", say)
        killer = pipes.then(made.scheduler.kill)
        code = run("cluster_tasks:hold", "in.txt", *options, "--cluster", made.address)
        killer.join()
    assert said == [f"{made.address} has no Dask worker yet; waiting for one"]
    assert code == 1
    error = capfd.readouterr().err
    assert error.startswith(
        "Error: The Dask cluster cannot be used any more: the scheduler is gone"
    )
    assert error.endswith("What has been written is whole; the same command goes on.\n")
    written = Path("out").read_text().splitlines()
    assert written == records[: len(written)]

    pipes.exit.unlink()  # it is not held up again
    assert run("cluster_tasks:hold", "in.txt", *options, "--cluster", cluster.address) == 0
    assert Path("out").read_text().splitlines() == records


def test_ctrl_c_ends_what_runs_and_leaves_the_cluster(cluster: World) -> None:
    pipes = Pipes()
    write("1", pipes.record)
    options = "--output", "out", "--chunksize", "1", "--cluster", cluster.address
    main = threading.main_thread().ident
    striker = pipes.then(signal.pthread_kill, main, signal.SIGINT)
    assert run("cluster_tasks:hold", "in.txt", *options) == 130
    striker.join()
    assert Path("out").read_text() in {"", "1\n"}
    write("2")
    assert run("cluster_tasks:hold", "in.txt", *options) == 0


def test_a_module_that_workers_lack_is_named(
    cluster: World, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("only_here.py").write_text("def same(record):\n    return record\n")
    write("1", "2")
    options = "--on-error", "skip", "--output", "out", "--resume", "journal"
    assert run("only_here:same", "in.txt", *options, "--cluster", cluster.address) == 1
    error = capfd.readouterr().err
    assert "Workers must have the function's module" in error
    assert "No module named 'only_here'" in error
    # None of the records counts as failed: they are done when the workers have it.
    assert run("only_here:same", "in.txt", *options, "--workers", "1") == 0
    assert Path("out").read_text() == "1\n2\n"


def test_a_wrong_address_is_said_and_nothing_touched(capfd: pytest.CaptureFixture[str]) -> None:
    write("1")
    Path("out").write_text("kept")
    options = "--output", "out", "--cluster"
    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        assert run("builtins:int", "in.txt", *options, "tcp://127.0.0.1:1") == 2
    assert run("builtins:int", "in.txt", *options, "nowhere") == 2
    refused, no_port = capfd.readouterr().err.splitlines()
    assert refused.startswith("Error: Cannot connect to the Dask scheduler at tcp://127.0.0.1:1: ")
    assert no_port.startswith("Error: Cannot connect to the Dask scheduler at nowhere: ")
    assert Path("out").read_text() == "kept"


def test_without_distributed_the_extra_is_named() -> None:
    program = (
        "import runpy, sys; sys.modules['distributed'] = None; sys.argv[0] = 'interpool';"
        "runpy.run_module('interpool', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, "map", "math:sqrt", "--cluster", "tcp://127.0.0.1:1"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'interpool[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cluster", "tcp://there:1", "--workers", "2"), "--workers is for this machine"),
        (("--cluster", "tcp://there:1", "--preload", "json"), "--preload is for workers of this"),
        (("--cluster", "tcp://there:1", "--lane", "thread"), "--lane thread is this program's own"),
        (("--cluster", ""), "--cluster is the address of a scheduler"),
        (("--tls-cert", "in.txt"), "are for --cluster"),
    ],
)
def test_options_that_do_not_go_together(
    options: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write("1")
    assert run("builtins:int", "in.txt", *options) == 2
    assert said in capfd.readouterr().err
