"""The benchmark: arithmetic, order, what happens when a measurement fails, and one tiny whole run.

None of its figures is a test.
"""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from interpool._bench import machine, plot, runner, table, words
from interpool._bench.cases import CASES, EXECUTORS, LOKY, OURS, TARGETS, plan
from interpool._bench.report import Aim, Report, ReportError, ratio

NAMES = [case.name for case in CASES]
PEERS = [executor.name for executor in EXECUTORS if executor.name != OURS]
PNG = b"\x89PNG\r\n\x1a\n"


def filled(**options: Any) -> Report:
    """A report of all cases, each executor twice as slow as the one before, ours the last: 8 ms."""
    report = Report.empty(plan(**{"full": True} | options), machine.this_machine())
    for case in report.plan.cases:
        for index, executor in enumerate(EXECUTORS):
            cell = report.cells[case.name, executor.name]
            cell.samples += [2.0**index, 9_000.0, 0.0]
    return report


def is_svg(data: bytes) -> bool:
    return ET.fromstring(data).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file


def shown(report: Report, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table.render(report, width))
    return console.export_text()


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "peer", "expected"),
    [(2.0, 8.0, 0.25), (8.0, 2.0, 4.0), (None, 2.0, None), (2.0, None, None), (2.0, 0.0, None)],
)
def test_a_ratio_is_our_time_by_theirs(
    ours: float | None, peer: float | None, expected: float | None
) -> None:
    assert ratio(ours, peer) == expected


def test_a_report_makes_medians_and_ratios_of_its_samples() -> None:
    report = filled()
    case = report.plan.cases[0]
    medians = [report.median(case, executor.name) for executor in EXECUTORS]
    assert medians == pytest.approx([1.0, 2.0, 4.0, 8.0])
    assert report.ratios(case) == pytest.approx(dict(zip(PEERS, [8.0, 4.0, 2.0], strict=True)))


def test_a_failed_measurement_has_neither_median_nor_ratio() -> None:
    report = filled()
    case = report.plan.cases[0]
    report.cells[case.name, "process"].error = "it broke"
    assert report.median(case, "process") is None
    assert report.ratios(case)["process"] is None
    assert report.failures() == [(case.name, "process", "it broke")]


def test_json_has_every_row_executor_and_sample() -> None:
    written = json.loads(json.dumps(filled(quick=True).as_json()))
    assert written["quick"] is True
    assert [row["name"] for row in written["cases"]] == NAMES
    for row in written["cases"]:
        assert list(row["executors"]) == [executor.name for executor in EXECUTORS]
        assert row["executors"][OURS]["samples"] == [8.0, 9_000.0, 0.0]
        assert row["ratios"] == pytest.approx({"thread": 8.0, "process": 4.0, "interpreter": 2.0})
        assert row["targets"] == TARGETS.get(row["name"], {})
        assert row["unit"] == ("MiB" if row["name"] == "memory" else "ms")


@pytest.mark.parametrize("executors", [EXECUTORS, (*EXECUTORS, LOKY)])
def test_a_report_is_read_as_it_was_written(executors: Any) -> None:
    report = filled(executors=executors, quick=True)
    report.cells["flood", OURS].error = "it broke"
    report.import_seconds[OURS].append(0.5)
    written = json.dumps(report.as_json())
    read = Report.from_json(json.loads(written))
    assert read.plan == report.plan
    assert read.machine == report.machine
    assert json.dumps(read.as_json()) == written


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 1}, "its schema is 1, not 2"),
        ({"cases": [{"name": "gone"}]}, "no such case: gone"),
    ],
)
def test_what_another_version_wrote_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ReportError, match=reason):
        Report.from_json(filled().as_json() | change)


def test_targets_are_for_cases_and_peers_that_there_are() -> None:
    assert set(TARGETS) <= set(NAMES)
    for targets in TARGETS.values():
        assert set(targets) <= set(PEERS)


@pytest.mark.parametrize(
    ("measured", "target", "is_met"),
    [(0.98, 0.98, True), (0.984, 0.98, True), (0.986, 0.98, False), (0.0104, 0.01, True),
     (0.011, 0.01, False), (12.0, 1.0, False), (None, 1.0, False)],
)  # fmt: skip
def test_a_target_is_met_by_the_ratio_that_is_shown(
    measured: float | None, target: float, is_met: bool
) -> None:
    assert Aim("cpu", "process", target, measured).is_met is is_met


def test_only_a_full_run_of_full_size_is_held_to_targets() -> None:
    counted = sum(map(len, TARGETS.values()))
    assert len(filled().aims()) == counted
    assert filled(full=False).aims() == filled(quick=True).aims() == []


@pytest.mark.parametrize(
    ("ms", "text"), [(3368.4, "3,368"), (62.34, "62.3"), (7.036, "7.04"), (0.0472, "0.047")]
)
def test_times_are_shown_with_the_digits_that_count(ms: float, text: str) -> None:
    assert words.format_figure(ms) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(41.3, "41"), (3.25, "3.2"), (1.04, "1.04"), (0.28, "0.28"), (0.0114, "0.011")],
)
def test_ratios_are_shown_with_the_digits_that_count(value: float, text: str) -> None:
    assert words.format_ratio(value) == text


# --- the plan -------------------------------------------------------------------------------------


def test_a_plan_keeps_the_order_of_the_table_and_the_chosen_cases() -> None:
    assert [case.name for case in plan(full=True).cases] == NAMES
    assert [case for case in plan().cases if case.is_extra] == []
    assert [case.name for case in plan(only=("memory", "cpu")).cases] == ["cpu", "memory"]
    assert [case.name for case in plan(only=("flood", "cpu")).cases] == ["cpu", "flood"]


def test_a_case_is_left_out_where_what_it_needs_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert [case.name for case in plan(full=True).cases] == NAMES[:-1]


def test_quick_is_less_of_everything() -> None:
    full, quick = plan(), plan(quick=True)
    assert quick.rounds < full.rounds
    assert plan(quick=True, rounds=9).rounds == 9
    for small, large in zip(quick.cases, full.cases, strict=True):
        assert small.sizes <= large.sizes


def test_every_executor_measures_every_case_in_every_round_and_goes_first_in_turn() -> None:
    made = plan(rounds=5, full=True)
    steps = list(runner._steps(made))
    assert [step.number for step in steps] == list(range(1, made.measurements + 1))
    counts = Counter((step.round, step.case.name, step.executor.name) for step in steps)
    assert set(counts.values()) == {1}
    assert len(counts) == len(EXECUTORS) * (1 + 5 * len(CASES))
    firsts = [
        next(step for step in steps if step.round == number).executor for number in range(1, 6)
    ]
    assert all(one != other for one, other in pairwise(firsts))


def test_the_title_of_a_case_tells_its_sizes() -> None:
    titles = {case.name: case.title(4) for case in CASES}
    assert titles["cpu"] == "8 loops of 5M iterations"
    assert titles["chunked"] == "10,000 in chunks of 250"
    assert titles["start"] == "4 workers, a no-op each"
    assert titles["tail"] == "2 workers, 10,000 tasks, one of 1,000 ms"


# --- the machine ----------------------------------------------------------------------------------


def test_the_processor_is_named_as_the_system_names_it(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 3 GHz\n")
    assert machine.cpu_model(cpuinfo) == "Some CPU @ 3 GHz"


def test_a_processor_that_is_not_named_still_has_a_name(tmp_path: Path) -> None:
    assert machine.cpu_model(tmp_path / "none")


# --- table and picture ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [table.MIN_WIDTH, 80, 120])
def test_the_table_hides_no_column(width: int) -> None:
    lines = shown(filled(), width).splitlines()
    (row,) = [line for line in lines if line.startswith("flood ")]
    assert row.split() == ["flood", "warm", "1.00", "2.00", "4.00", "8.00", "8.0", "4.0", "2.0"]


def test_the_table_has_below_a_ratio_what_is_aimed_at() -> None:
    report = filled()
    report.cells["flood", OURS].samples[:] = [0.24]
    lines = shown(report, 120).splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("flood ")]
    assert lines[row].split()[-3:] == ["0.24", "0.12", "0.060"]
    assert lines[row + 1].split()[-3:] == ["≤1.00", "≤0.12", "≤0.10"]
    (missed,) = [number for number, line in enumerate(lines) if line.startswith("roundtrip ")]
    assert lines[missed + 1].split()[-3:] == [">1.20", ">0.35", ">0.60"]
    assert f"Met: 3 of {len(report.aims())}." in " ".join(lines)


def test_the_table_has_units_other_than_milliseconds_and_a_peer_more() -> None:
    report = filled(executors=(*EXECUTORS, LOKY))
    lines = shown(report, 120).splitlines()
    (row,) = [line for line in lines if line.startswith("memory ")]
    assert row.split() == [
        *("memory", "warm", "MiB", "1.00", "2.00", "4.00", "8.00", "-"),
        *("8.0", "4.0", "2.0", "-"),
    ]


def test_the_table_tells_what_failed_and_why() -> None:
    report = filled()
    report.cells["flood", "interpool"].error = "it broke"
    text = shown(report, 120)
    (row,) = [line for line in text.splitlines() if line.startswith("flood ")]
    assert row.split() == ["flood", "warm", "1.00", "2.00", "4.00", "failed", "-", "-", "-"]
    assert "! flood, interpool: it broke" in text


def test_the_table_says_that_a_run_was_quick_and_the_machine_busy() -> None:
    report = filled(quick=True)
    busy = {"load_before": (float(report.machine.cores), 0.0, 0.0)}
    report.machine = machine.Machine(**{
        name: getattr(report.machine, name) for name in machine.Machine.__slots__
    } | busy)  # fmt: skip
    text = shown(report, 120)
    assert "Quick run" in text
    assert "Something else was running" in text


@pytest.fixture(scope="module")
def _fonts_are_open(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Draw once before anybody counts descriptors: matplotlib keeps its fonts open."""
    plot.save(filled(), tmp_path_factory.mktemp("fonts") / "figures.png")


@pytest.mark.usefixtures("_fonts_are_open")
@pytest.mark.parametrize("suffix", plot.SUFFIXES)
def test_a_picture_is_what_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    report = filled(executors=(*EXECUTORS, LOKY))
    report.cells["flood", "process"].error = "it broke"
    path = tmp_path / f"figures{suffix}"
    plot.save(report, path)
    data = path.read_bytes()
    if suffix == ".png":
        assert data.startswith(PNG)
    else:
        assert is_svg(data)


@pytest.mark.usefixtures("_fonts_are_open")
def test_the_same_figures_make_the_same_picture(tmp_path: Path) -> None:
    report = filled()
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    plot.save(report, one)
    plot.save(Report.from_json(json.loads(json.dumps(report.as_json()))), other)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["figures.pdf", "figures"])
def test_a_picture_of_another_kind_is_refused(name: str) -> None:
    with pytest.raises(plot.PlotError, match=r"must end in \.svg or \.png"):
        plot.check(Path(name))


# --- one measurement ------------------------------------------------------------------------------

CPU, THREAD = CASES[0], EXECUTORS[0]


def measure_with(tmp_path: Path, program: str, limit: float = 60) -> dict[str, Any]:
    child = tmp_path / "child.py"
    child.write_text(program)
    return runner.measure(CPU, THREAD, 2, limit=limit, child=child)


def test_a_measurement_gets_its_sizes_and_an_environment_that_keeps_byte_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = measure_with(
        tmp_path,
        "import json, os, sys\n"
        "print(json.dumps({'args': sys.argv[1:], 'unset': sys.dont_write_bytecode, 'value': 2}))",
    )
    source = str(Path(runner.__file__).parents[2])
    args = ["thread", "cpu", "2", source, "8", "5000000"]
    assert found == {"args": args, "unset": False, "value": 2_000.0}


def test_a_case_may_ask_for_a_number_of_workers_of_its_own(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text("import json, sys; print(json.dumps({'value': 2, 'workers': sys.argv[3]}))")
    memory = replace(CASES[-1], workers=3)
    found = runner.measure(memory, THREAD, 2, child=child)
    assert found == {"value": 2.0, "workers": "3"}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('a result was wrong')", "ended with 1: a result was wrong"),
        ("import os; os._exit(3)", "ended with 3: it said nothing"),
        ("print('hello')", "printed no result, but 'hello"),
    ],
)
def test_a_measurement_that_fails_says_why(tmp_path: Path, program: str, reason: str) -> None:
    with pytest.raises(runner.MeasurementError, match=reason):
        measure_with(tmp_path, program)


class LifeLine:
    """A named pipe that programs hold open: it ends when none of them is left.

    The test holds it too until `wait_end`, so that nothing depends on who comes first.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._out = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._in = os.open(path, os.O_WRONLY)
        os.set_blocking(self._out, True)
        # It starts another one, each says so, and neither ends.
        self.program = (
            "import os, signal\n"
            f"line = os.open({str(path)!r}, os.O_WRONLY)\n"
            "os.fork()\n"
            "os.write(line, b'!')\n"
            "signal.pause()\n"
        )

    def wait_begun(self) -> None:
        """Until both programs are there."""
        assert os.read(self._out, 1) + os.read(self._out, 1) == b"!!"

    def wait_end(self) -> None:
        """Until no program is left."""
        os.close(self._in)
        while os.read(self._out, 10):
            pass
        os.close(self._out)


def test_a_measurement_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    line = LifeLine(tmp_path / "fifo")
    with pytest.raises(runner.MeasurementError, match="no result within 1 s"):
        measure_with(tmp_path, line.program, limit=1)
    line.wait_end()


def test_an_interrupted_measurement_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = LifeLine(tmp_path / "fifo")
    is_waiting = threading.Event()
    communicate = subprocess.Popen.communicate

    def tell(process: Any, *args: Any, **kwargs: Any) -> Any:
        is_waiting.set()
        return communicate(process, *args, **kwargs)

    monkeypatch.setattr(subprocess.Popen, "communicate", tell)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        line.wait_begun()
        is_waiting.wait()
        signal.pthread_kill(main, signal.SIGINT)

    # A daemon: if this test fails, the run goes on.
    other = threading.Thread(target=interrupt, daemon=True)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        measure_with(tmp_path, line.program)
    other.join()
    line.wait_end()


def test_what_fails_is_not_tried_again_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[str, str]] = []

    def measure(case: Any, executor: Any, _workers: int, **_: Any) -> dict[str, Any]:
        made.append((case.name, executor.name))
        if executor.name == "process":
            raise runner.MeasurementError("it broke")
        return {"value": 1.0, "import_seconds": 2.0, "gil": False}

    monkeypatch.setattr(runner, "measure", measure)
    report = runner.run(plan(only=("cpu", "flood"), rounds=3))
    assert report.failures() == [("cpu", "process", "it broke"), ("flood", "process", "it broke")]
    assert Counter(made)["cpu", "process"] == 1
    assert Counter(made)["cpu", OURS] == 3
    assert report.cells["flood", OURS].samples == [1.0, 1.0, 1.0]
    assert report.import_ms() == {"thread": 2e3, "interpreter": 2e3, "interpool": 2e3}
    assert report.machine.gil is False


# --- all of it ------------------------------------------------------------------------------------


def test_a_tiny_run_fills_every_cell(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.svg"
    command = [sys.executable, "-m", "interpool", "bench", "--quick", "--full", "--rounds", "1"]
    command += ["--workers", "2", "--scale", "0.002", "--json", str(figures)]
    found = subprocess.run(
        [*command, "--plot", str(picture)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "Quick run" in found.stdout
    for name in NAMES:
        assert f"\n{name} " in found.stdout
    report = json.loads(figures.read_text())
    assert [row["name"] for row in report["cases"]] == NAMES
    for row in report["cases"]:
        for cell in row["executors"].values():
            assert cell["error"] is None
            assert [cell["median"]] == cell["samples"]
        # What threads add to memory may be nothing.
        assert row["unit"] == "MiB" or all(value > 0 for value in row["ratios"].values())
    assert is_svg(picture.read_bytes())
