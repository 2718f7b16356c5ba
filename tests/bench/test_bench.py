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
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from interpool._bench import machine, plot, runner, table
from interpool._bench.cases import CASES, EXECUTORS, OURS, PEERS, plan
from interpool._bench.report import Report, ratio

NAMES = [case.name for case in CASES]
PNG = b"\x89PNG\r\n\x1a\n"


def filled(**options: Any) -> Report:
    """A report of all cases, each executor twice as slow as the one before, ours the last: 8 ms."""
    report = Report.empty(plan(**options), machine.this_machine())
    for case in report.plan.cases:
        for index, executor in enumerate(EXECUTORS):
            cell = report.cells[case.name, executor.name]
            cell.seconds += [0.001 * 2**index, 9.0, 0.0]
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
    medians = [report.median_ms(case, executor.name) for executor in EXECUTORS]
    assert medians == pytest.approx([1.0, 2.0, 4.0, 8.0])
    assert report.ratios(case) == pytest.approx(dict(zip(PEERS, [8.0, 4.0, 2.0], strict=True)))


def test_a_failed_measurement_has_neither_median_nor_ratio() -> None:
    report = filled()
    case = report.plan.cases[0]
    report.cells[case.name, "process"].error = "it broke"
    assert report.median_ms(case, "process") is None
    assert report.ratios(case)["process"] is None
    assert report.failures() == [(case.name, "process", "it broke")]


def test_json_has_every_row_executor_and_sample() -> None:
    written = json.loads(json.dumps(filled(quick=True).as_json()))
    assert written["quick"] is True
    assert [row["name"] for row in written["cases"]] == NAMES
    for row in written["cases"]:
        assert list(row["executors"]) == [executor.name for executor in EXECUTORS]
        assert row["executors"][OURS]["samples_ms"] == pytest.approx([8.0, 9_000.0, 0.0])
        assert row["ratios"] == pytest.approx({"thread": 8.0, "process": 4.0, "interpreter": 2.0})


@pytest.mark.parametrize(
    ("ms", "text"), [(3368.4, "3,368"), (62.34, "62.3"), (7.036, "7.04"), (0.0472, "0.047")]
)
def test_times_are_shown_with_the_digits_that_count(ms: float, text: str) -> None:
    assert table.format_ms(ms) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(41.3, "41"), (3.25, "3.2"), (1.04, "1.04"), (0.28, "0.28"), (0.0114, "0.011")],
)
def test_ratios_are_shown_with_the_digits_that_count(value: float, text: str) -> None:
    assert table.format_ratio(value) == text


# --- the plan -------------------------------------------------------------------------------------


def test_a_plan_keeps_the_order_of_the_table_and_the_chosen_cases() -> None:
    assert [case.name for case in plan().cases] == NAMES
    assert [case.name for case in plan(only=("flood", "cpu")).cases] == ["cpu", "flood"]


def test_quick_is_less_of_everything() -> None:
    full, quick = plan(), plan(quick=True)
    assert quick.rounds < full.rounds
    assert plan(quick=True, rounds=9).rounds == 9
    for small, large in zip(quick.cases, full.cases, strict=True):
        assert small.sizes <= large.sizes


def test_every_executor_measures_every_case_in_every_round_and_goes_first_in_turn() -> None:
    made = plan(rounds=5)
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
    report = filled()
    report.cells["flood", "process"].error = "it broke"
    path = tmp_path / f"figures{suffix}"
    plot.save(report, path)
    data = path.read_bytes()
    if suffix == ".png":
        assert data.startswith(PNG)
    else:
        assert is_svg(data)


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
        "print(json.dumps({'args': sys.argv[1:], 'unset': sys.dont_write_bytecode}))",
    )
    source = str(Path(runner.__file__).parents[2])
    assert found == {"args": ["thread", "cpu", "2", "8", "5000000", source], "unset": False}


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
        return {"seconds": 1.0, "import_seconds": 2.0, "gil": False}

    monkeypatch.setattr(runner, "measure", measure)
    report = runner.run(plan(only=("cpu", "flood"), rounds=3))
    assert report.failures() == [("cpu", "process", "it broke"), ("flood", "process", "it broke")]
    assert Counter(made)["cpu", "process"] == 1
    assert Counter(made)["cpu", OURS] == 3
    assert report.cells["flood", OURS].seconds == [1.0, 1.0, 1.0]
    assert report.import_ms() == {"thread": 2e3, "interpreter": 2e3, "interpool": 2e3}
    assert report.machine.gil is False


# --- all of it ------------------------------------------------------------------------------------


def test_a_tiny_run_fills_every_cell(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.svg"
    command = [sys.executable, "-m", "interpool", "bench", "--quick", "--rounds", "1"]
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
            assert [cell["median_ms"]] == cell["samples_ms"]
        assert all(value > 0 for value in row["ratios"].values())
    assert is_svg(picture.read_bytes())
