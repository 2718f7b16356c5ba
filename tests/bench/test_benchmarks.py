"""The programs of benchmarks/: what they measure, when they stop, what they write.

Measurements are made up but for one run each of `tail`, `limits`,
`loop_pauses` and `web`. No figure is a test.
"""

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import _charts
import _markdown
import _options
import _sweep
import command_line
import compare
import limits
import queues
import scaling_tasks
import scaling_workers
import tail
from _charts import Panel
from _sweep import Probe, Stop, Sweep
from interpool._bench import machine, runner
from interpool._bench.cases import CASES, EXECUTORS, LOKY, OURS, TARGETS, Executor, plan
from interpool._bench.report import Report
from support import run_program

PROGRAMS = {"compare": compare, "scaling_workers": scaling_workers, "scaling_tasks": scaling_tasks}
FLOOD = next(case for case in CASES if case.name == "flood")
THREAD, PROCESS = EXECUTORS[:2]


def probes(*xs: int, executors: tuple[Executor, ...] = EXECUTORS) -> list[Probe]:
    return [
        Probe("flood", executor.name, x, FLOOD, executor, 2) for x in xs for executor in executors
    ]


def swept(points: dict[str, dict[int, float]]) -> Sweep:
    sweep = Sweep(machine.this_machine(), 1, is_quick=False, sizes={"workers": 2})
    for line, medians in points.items():
        sweep.samples |= {("flood", line, x): [median] for x, median in medians.items()}
    return sweep


type Measured = list[tuple[str, str, int]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Every measurement takes 1 ms for each of its tasks, or 5 MiB, and is noted."""
    made: Measured = []

    def measure(case: Any, executor: Any, workers: int, **_: Any) -> dict[str, Any]:
        made.append((case.name, executor.name, workers))
        return {"value": float(case.sizes[0] or 5), "import_seconds": 0.01, "gil": True}

    monkeypatch.setattr(runner, "measure", measure)
    return made


# --- what is measured -----------------------------------------------------------------------------


def test_a_sweep_measures_every_probe_in_every_round_after_a_start_of_each_executor(
    measured: Measured,
) -> None:
    sweep = _sweep.run(probes(1, 2), 3, is_quick=False, sizes={}, bound=1)
    assert [name for name, _, _ in measured[:4]] == ["start"] * 4
    assert Counter(executor for name, executor, _ in measured[4:] if name == "flood") == {
        executor.name: 2 * 3 for executor in EXECUTORS
    }
    assert {len(samples) for samples in sweep.samples.values()} == {3}


def test_another_executor_is_first_in_each_round(measured: Measured) -> None:
    _sweep.run(probes(1), 4, is_quick=False, sizes={}, bound=1)
    assert len({executor for _, executor, _ in measured[4::4]}) == 4


def test_a_line_ends_before_the_point_that_would_take_longer_than_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    def measure(case: Any, executor: Any, _workers: int, **_: Any) -> dict[str, Any]:
        asked.append((executor.name, case.sizes[0]))
        each = 100 if executor == PROCESS else 1
        return {"value": float(each * case.sizes[0])}

    monkeypatch.setattr(runner, "measure", measure)
    sizes = {"plain": [], "flood": [10, 100, 1_000]}
    made = scaling_tasks._probes(sizes)
    sweep = _sweep.run(made, 2, is_quick=False, sizes={}, bound=20, grows=True)
    assert sweep.stops == {
        ("flood", "process"): Stop(
            1_000, "it would take 100 s, more than the 20 s allowed", is_failure=False
        )
    }
    assert ("process", 1_000) not in asked
    assert list(sweep.line("flood", "process")) == [10, 100]
    assert list(sweep.line("flood", "thread")) == [10, 100, 1_000]


@pytest.mark.parametrize(
    ("error", "grows", "is_failure"),
    [
        (runner.MeasurementError("it broke"), True, True),
        (runner.StuckError("no result within 1 s"), True, False),
        (runner.StuckError("no result within 1 s"), False, True),
    ],
)
def test_what_fails_is_not_tried_again_nor_what_is_beyond_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, grows: bool, is_failure: bool
) -> None:
    asked: list[int] = []

    def measure(case: Any, _executor: Any, workers: int, **_: Any) -> dict[str, Any]:
        if case == FLOOD:
            asked.append(workers)
            if workers == 2:
                raise error
        return {"value": 1.0}

    monkeypatch.setattr(runner, "measure", measure)
    made = [Probe("flood", "thread", workers, FLOOD, THREAD, workers) for workers in (1, 2, 3)]
    sweep = _sweep.run(made, 2, is_quick=False, sizes={}, bound=1, grows=grows)
    assert asked == [1, 2, 1]
    assert sweep.stops["flood", "thread"] == Stop(2, str(error), is_failure)
    assert sweep.line("flood", "thread") == {1: 1.0}


def test_the_slow_task_is_at_every_tenth_with_and_without_chunk_sizes() -> None:
    made = tail._probes({"tasks": 100, "slow_ms": 10}, tail.POSITIONS)
    assert len(made) == 11 * (len(_options.executors()) + 3)
    sizes = {probe.case.sizes for probe in made if probe.line == f"{OURS}/25"}
    assert sizes == {(100, 10, percent, 25) for percent in range(0, 101, 10)}


def test_workers_are_swept_with_as_many_loops_for_all() -> None:
    made = scaling_workers._probes({"loops": 64, "iterations": 10, "tasks": 20}, (1, 64))
    assert {probe.workers for probe in made} == {1, 64}
    assert {probe.case.sizes for probe in made if probe.panel == "cpu"} == {(64, 10)}
    assert {probe.case.sizes for probe in made if probe.panel == "all_up"} == {(0, 500), (0, 3_840)}


# --- tables and pictures --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.1, 0.9], [0.1, 0.9]),
        ([0.5, 0.5], [0.5, 0.6]),
        ([1.0, 0.99], [1.0, 0.9]),
        ([0.0, 0.05, 0.5], [0.0, 0.1, 0.5]),
    ],
)
def test_names_that_would_touch_are_moved_apart(places: list[float], expected: list[float]) -> None:
    assert _charts.spread(places, 0.1) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_names_keep_their_order_and_their_distance(places: list[float]) -> None:
    moved = _charts.spread(places, 0.05)
    order = sorted(range(len(places)), key=places.__getitem__)
    apart = [moved[high] - moved[low] for low, high in pairwise(order)]
    assert all(gap >= 0.05 or math.isclose(gap, 0.05) for gap in apart)
    assert all(place <= 1 or math.isclose(place, 1) for place in moved)


@pytest.mark.parametrize(
    ("x", "text"), [(1, "1"), (64, "64"), (1_000, "1k"), (100_000, "100k"), (1_000_000, "1M")]
)
def test_counts_are_short_on_a_scale(x: int, text: str) -> None:
    assert _charts.short(x) == text


def test_a_table_of_ratios_has_targets_and_the_machine() -> None:
    report = Report.empty(plan(full=True, executors=(*EXECUTORS, LOKY)), machine.this_machine())
    for (_, executor), cell in report.cells.items():
        cell.samples.append(1.0 if executor == OURS else 2.0)
    report.cells["flood", "loky"].error = "it broke"
    text = _markdown.report_text(report)
    rows = {line.partition("`: ")[0][3:]: line for line in text.splitlines() if "`: " in line}
    assert list(rows) == [case.name for case in report.plan.cases]
    assert "| 0.50 (≤ 1.00) | 0.50 (> 0.12) | 0.50 (> 0.10) | - |" in rows["flood"]
    assert rows["flood"].endswith("| 2.00 | 2.00 | 2.00 | 1.00 | failed |")
    assert "| 0.50 | 0.50 | 0.50 | 0.50 |" in rows["echo"]
    assert "all in MiB" in rows["memory"]
    met = sum(target >= 0.5 for targets in TARGETS.values() for target in targets.values())
    assert f"{met} of {len(report.aims())} are met" in text
    assert "flood, loky: it broke" in text
    assert report.machine.cpu in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_a_table_of_a_sweep_says_where_lines_end() -> None:
    sweep = swept({"thread": {10: 1.0, 100: 20.0}, "interpool/25": {10: 0.5}})
    sweep.samples["flood", "interpool/25", 100] = []
    sweep.stops["flood", "interpool/25"] = Stop(100, "it broke", is_failure=True)
    text = _markdown.sweep_text(sweep, [Panel("flood", "Many", "ms", "tasks")])
    assert "| tasks | threads | interpool, chunksize=25 |" in text
    assert "| 10 | 1.00 | 0.500 |" in text
    assert "| 100 | 20.0 | - |" in text
    assert "flood, chunksize=25: nothing from 100 on: it broke" in text


def test_a_sweep_is_read_as_it_was_written() -> None:
    sweep = swept({"thread": {10: 1.0}})
    sweep.stops["flood", "thread"] = Stop(100, "it broke", is_failure=True)
    assert Sweep.from_json(json.loads(json.dumps(sweep.as_json()))) == sweep


def test_a_sweep_that_another_version_wrote_is_refused() -> None:
    with pytest.raises(ValueError, match="its schema is 0, not 1"):
        Sweep.from_json({"schema": 0})


# --- the programs ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _fonts_are_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Draw once before anybody counts descriptors: matplotlib keeps its fonts open."""
    path = tmp_path_factory.mktemp("fonts") / "figures.png"
    panel = Panel("flood", "Many", "ms", "tasks")
    _charts.draw(swept({"thread": {10: 1.0}}), [panel], "Title", "subtitle", path)


@pytest.mark.usefixtures("_fonts_are_open")
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_a_program_writes_its_files_and_renders_them_again_without_measuring(
    name: str,
    quick: list[str],
    tmp_path: Path,
    measured: Measured,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run: Callable[[list[str]], int] = PROGRAMS[name].main
    stem = "benchmarks" if name == "compare" else name
    files = [tmp_path / f"{stem}.{suffix}" for suffix in ("json", "md", "svg")]
    arguments = [*quick, "--out", str(tmp_path)]
    assert run([*arguments, "--rounds", "2"]) == 0
    assert measured
    measured.clear()
    said = capsys.readouterr()
    assert said.out.startswith("| case |" if name == "compare" else ("Start until", "map,"))
    assert "written: " in said.err
    before = [file.read_bytes() for file in files]
    assert before[1].decode().endswith(said.out)
    assert ET.fromstring(before[2]).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    assert run([*arguments, "--render"]) == 0
    assert not measured
    assert [file.read_bytes() for file in files] == before


def test_a_tiny_run_of_the_slow_task_among_others(tmp_path: Path) -> None:
    program = str(Path(tail.__file__))
    arguments = ["--quick", "--scale", "0.01", "--out", str(tmp_path)]
    found = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("map of 20 tasks, one of them 10 ms long, in ms:\n")
    sweep = Sweep.from_json(json.loads((tmp_path / "tail.json").read_text()))
    assert not sweep.stops
    assert all(len(samples) == 1 for samples in sweep.samples.values())


def test_a_tiny_run_of_the_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "1", "--scale", "0.001", "--out", str(tmp_path)]
    assert limits.main(arguments) == 0
    out = capsys.readouterr().out
    assert "| an interpreter, created and destroyed |" in out
    data = json.loads((tmp_path / "limits.json").read_text())
    assert all(limit["samples"][0] > 0 for limit in data["limits"])
    assert limits.main([*arguments, "--render"]) == 0
    assert capsys.readouterr().out == out


def test_a_tiny_run_of_the_queues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "1", "--scale", "0.001", "--out", str(tmp_path)]
    found = subprocess.run(
        [sys.executable, str(Path(queues.__file__)), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "| a question and its answer, us |" in found.stdout
    data = json.loads((tmp_path / "queues.json").read_text())
    kinds = set(queues.KINDS)
    assert [set(row["samples"]) for row in data["rows"]] == [kinds, kinds, {"interpool"}, kinds]
    assert queues.main([*arguments, "--render"]) == 0
    assert capsys.readouterr().out == found.stdout
    assert queues.main(["--flow", "20000"]) == 0
    assert "MiB resident" in capsys.readouterr().out


def test_a_tiny_run_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "1", "--scale", "0.0001", "--out", str(tmp_path)]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert "| 100 lines, a function that costs nothing |" in out
    data = json.loads((tmp_path / "command_line.json").read_text())
    assert [set(row["samples"]) for row in data["rows"]] == [set(command_line.WAYS)] * 2
    assert command_line.main([*arguments, "--render"]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("name", "row"),
    [("loop_pauses", "| `interpool.aio`, `map` |"), ("web", "| `interpool.aio` |")],
)
def test_a_tiny_run_of_what_serves_event_loops(name: str, row: str, tmp_path: Path) -> None:
    program = Path(_options.__file__).with_name(f"{name}.py")
    arguments = ["--rounds", "1", "--scale", "0.01", "--out", str(tmp_path)]
    # In processes of their own: what serves multiprocessing stays until its program ends.
    done = run_program(program, *arguments)
    assert done.returncode == 0, done.stderr
    assert row in done.stdout
    assert run_program(program, *arguments, "--render").stdout == done.stdout


def test_quick_figures_do_not_take_the_place_of_others() -> None:
    def out(*arguments: str) -> Path:
        return _options.parse("", arguments, rounds=3, duration="a minute").out

    assert out() == _options.FIGURES
    assert out("--quick") == _options.QUICK_FIGURES
    assert out("--quick", "--out", "here") == Path("here")


@pytest.mark.parametrize("name", ["benchmarks.json", "scaling_tasks.json"])
def test_nothing_can_be_rendered_that_was_not_measured(name: str, tmp_path: Path) -> None:
    program = compare if name == "benchmarks.json" else scaling_tasks
    with pytest.raises(SystemExit, match=f"{name} is not there: measure first"):
        program.main(["--render", "--out", str(tmp_path)])


def test_help_says_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tail.main(["--help"])
    out = capsys.readouterr().out
    assert "On two cores it takes about eight minutes" in out
    assert "--scale" not in out


def test_rounds_below_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tail.main(["--rounds", "0"])
    assert "0 is below 1" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert _options.executors() == EXECUTORS
    assert "loky is left out" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert _options.executors() == (*EXECUTORS, LOKY)
