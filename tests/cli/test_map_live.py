"""`interpool map --live`, on a terminal that is looked at."""

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pyte
import pytest
from rich.console import Console

import typed
from interpool import Statistics
from interpool._cli import map_live, map_progress
from interpool._statistics import Tasks, Times, Workers

JOBS = """
def stays(text):
    if text == "bad":
        raise ValueError("no good")
    if text == "stay":
        print("here it stays", flush=True)
        while True:
            pass
    return text
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


class Terminal:
    """A terminal that a program draws on."""

    def __init__(self, columns: int) -> None:
        self.leader, self.follower = pty.openpty()
        self.raw = b""
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """Change its width; what is shown from now on is looked at by itself."""
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def show_until(self, is_there: Callable[[str], bool]) -> None:
        """Read what is drawn, until that is on the screen; or to the end, if it never is."""
        while not is_there("\n".join(self.lines)):
            try:
                data = os.read(self.leader, 1 << 16)
            except OSError:  # nobody has it open any more
                return
            self.raw += data
            self._stream.feed(data)


@contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    made = Terminal(columns)
    try:
        yield made
    finally:
        os.close(made.leader)


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_is_drawn_through_resizing_and_taken_back_when_it_is_interrupted() -> None:
    Path("records").write_text("one\nbad\ntwo\nstay\n")
    options = ["--workers", "1", "--live", "--on-error", "skip", "--output", "out"]
    command = [sys.executable, "-m", "interpool", "map", "jobs:stays", "records", *options]
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    with (
        terminal(100) as shown,
        started(
            [*command, "--chunksize", "1"],
            env=environment | {"TERM": "xterm"},
            stdout=subprocess.DEVNULL,
            stderr=shown.follower,
        ) as process,
    ):
        # All of one drawing: what is read at a time may end within one.
        begin = "here it stays\njobs:stays "
        there = ("3 done", "a second", "1 busy", "first failure")
        shown.show_until(lambda text: text.startswith(begin) and all(it in text for it in there))
        lines = shown.lines
        assert lines[0] == "here it stays"
        assert lines[1].startswith("jobs:stays ")
        assert lines[3].startswith("records  3 done  1 failed  ")
        assert lines[4].startswith("workers  1 busy  0 idle  ")
        assert lines[5] == "lanes    interpreter 3"
        assert lines[6].startswith("queue    0 batches waiting  1 running  ")
        assert " in memory  " in lines[7]
        assert lines[8:] == ["first failure: records, 2: ValueError: no good"]

        shown.resize(50)
        shown.show_until(lambda text: "first failure" in text)
        assert [line for line in shown.lines if line.startswith("jobs:stays")] == shown.lines[:1]
        assert max(map(len, shown.lines)) <= 50

        process.send_signal(signal.SIGINT)
        os.close(shown.follower)
        shown.show_until(lambda _: False)
        assert process.wait() == 130
    assert shown.lines == ["interpool: interrupted"]
    assert shown.raw.rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")  # the cursor is there
    assert Path("out").read_text() == "one\ntwo\n"


def test_without_a_terminal_nothing_is_drawn_and_that_is_said() -> None:
    done = typed.run("map", "jobs:stays", "--live", "--workers", "1", stdin=b"1\n")
    reason = "standard error is no terminal"
    assert done == (0, b"1\n", f"interpool: nothing is drawn for --live, for {reason}\n")


@pytest.mark.parametrize(
    ("terminals", "term", "asked", "output", "expected"),
    [
        ("err", "xterm", {}, None, "bar"),
        ("err out", "xterm", {}, None, "nothing"),
        ("err out", "xterm", {}, "file", "bar"),
        ("out", "xterm", {}, "file", "nothing"),
        ("", "xterm", {"is_shown": True}, None, "bar"),
        ("err", "xterm", {"is_shown": False}, None, "nothing"),
        ("err", "xterm", {"is_live": True}, None, "live"),
        ("err out", "xterm", {"is_live": True}, "file", "live"),
        ("err out", "xterm", {"is_live": True}, None, "nothing"),
        ("err", "dumb", {"is_live": True}, None, "nothing"),
    ],
)
def test_what_is_drawn_is_out_of_the_results_way(
    monkeypatch: pytest.MonkeyPatch,
    terminals: str,
    term: str,
    asked: Mapping[str, bool],
    output: str | None,
    expected: str,
) -> None:
    streams = {
        f"std{name}": SimpleNamespace(isatty=lambda name=name: name in terminals.split())
        for name in ("err", "out")
    }
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(map_progress, "sys", SimpleNamespace(**streams))
    shown = map_progress.display(asked.get("is_shown"), asked.get("is_live", False), output)
    assert shown == expected


def statistics(busy: int) -> Statistics:
    none = Times.of(0, [])
    return Statistics(
        Workers(2 - busy, busy, 0, 0, 1, 3, 0, 1, processes=1),
        Tasks(1234, busy, 3, 8, 1, 0, 0, 0, 0, 0),
        MappingProxyType({"interpreter": 1300, "process": 4, "thread": 0}),
        none,
        Times.of(1, [12_300_000]),
        none,
        2_000_000,
        30,
        None,
    )


def test_rates_and_times_are_of_what_was_seen() -> None:
    view = map_live.View("jobs:stays", 4000, is_of_files=False)
    out = io.StringIO()
    console = Console(file=out, width=72)
    for second, busy in enumerate([0, 1, 2, 2]):
        view.tell(10_000 + 500 * second, 0, 1000 * second, "")
        drawn = view.drawn(statistics(busy), 100.0 + second, 72)
    console.print(drawn)
    first, _, *others = [line.rstrip() for line in out.getvalue().splitlines()]
    assert first.split() == ["jobs:stays", "75%", "0:00:03", "0:00:01", "left"]
    assert others == [
        "records  11,500 done  0 failed  500 a second  ███",
        "workers  2 busy  0 idle  62% at work  abandoned 1  processes 1",
        "lanes    interpreter 1,300  process 4",
        "queue    1,234 batches waiting  2 running  12.3 ms each  delayed 3",
        "bytes    2.0 MB sent  30 bytes received",
    ]
