"""`interpool map`, as it is typed: what it reads and writes, how it ends, and how it goes on."""

import csv
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import typed

JOBS = """
import os

def same(record):
    return record

def shout(text):
    return text.upper()

def kind(record):
    return f"{type(record).__name__} {record!r}"

def number(text):
    return int(text)

def doubled(row):
    return {"name": row["name"], "twice": 2 * int(row["n"])}

def ragged(row):
    return {"a": row[0]} if len(row) == 1 else {"b": row[1], "a": row[0]}

def first_cells(row):
    return row[:2], None

def thing(text):
    return {1} if text == "2" else float("nan") if text == "3" else text

def loud(text):
    print("said", text, flush=True)
    os.write(1, b"past Python\\n")
    return text

def pair(left, right):
    return left

def exits(text):
    raise SystemExit(text)

def handled(text):
    import faulthandler
    return faulthandler.is_enabled() and text

def dies(text):
    if text == "2":
        os._exit(3)
    return text

def spins(text):
    while text == "2":
        pass
    return text

def third_time_lucky(path):
    with open(path, "a+") as file:
        file.write("x")
        file.flush()
        file.seek(0)
        if len(file.read()) < 3:
            raise ConnectionError(path)
    return path

def turns_slow(text):
    if int(text) > 3000:
        for _ in range(100_000):
            pass
    return text

def arrives(text):
    os.write(int(os.environ["ARRIVALS"]), b".")
    for _ in range(300):
        pass
    if text == "1000" and "FAILS" in os.environ:
        raise ValueError(text)
    return text * 2

def stays(text):
    os.write(int(os.environ["ARRIVALS"]), b".")
    while True:
        pass

not_a_function = 5
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)


def command_of(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "interpool", "map", "--workers", "2", *arguments]


def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    return typed.run("map", "--workers", "2", *arguments, stdin=stdin)


def written(*arguments: str, stdin: bytes = b"") -> str:
    """What a run writes in which nothing fails and nothing is said."""
    code, out, err = run(*arguments, stdin=stdin)
    assert (code, err) == (0, "")
    return out.decode()


# --- What is read --------------------------------------------------------------------------------


def test_lines_come_in_order_whatever_they_are() -> None:
    lines = [b"one", b"", b"caf\xe9", "三".encode(), b" four ", b"no end"]
    code, out, err = run("jobs:same", stdin=b"\n".join(lines))
    assert (code, err) == (0, "")
    assert out == b"\n".join(lines) + b"\n"


def test_the_end_of_a_line_may_be_that_of_windows() -> None:
    assert written("jobs:kind", stdin=b"a\r\nb\n") == "str 'a'\nstr 'b'\n"


def test_many_lines_from_a_pipe_and_a_file() -> None:
    lines = "".join(f"{n}\n" for n in range(100_000))
    Path("numbers").write_text(lines)
    assert written("builtins:str", "-", stdin=lines.encode()) == lines
    lengths = written("builtins:len", "numbers", "--chunksize", "5000").split()
    assert lengths == [str(len(line)) for line in lines.split()]


def test_nothing_in_is_nothing_out() -> None:
    assert written("jobs:same") == ""


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "UTF_32", "shift_jis", "latin-1"])
def test_another_encoding(encoding: str) -> None:
    text = "é\nb\n" if encoding == "latin-1" else "表\nb\n"
    options = ["--encoding", encoding, "--chunksize", "1"]
    code, out, _ = run("jobs:shout", *options, stdin=text.encode(encoding))
    assert (code, out) == (0, text.upper().encode(encoding))  # one mark, if it has any
    as_table = ["--input", "csv", "--format", "csv", *options]
    _, out, _ = run("jobs:doubled", *as_table, stdin=f"name,n\n{text[0]},1\nb,2\n".encode(encoding))
    assert out == f"name,twice\n{text[0]},2\nb,4\n".encode(encoding)


def test_json_lines() -> None:
    found = written("jobs:same", "--input", "json", "--format", "json", stdin=b'{"a":\t1}\n\n[2]\n')
    assert found == '{"a": 1}\n[2]\n'


def test_null_separated_records() -> None:
    assert written("jobs:kind", "--input", "null", stdin=b"a\nb\0c") == "str 'a\\nb'\nstr 'c'\n"


def test_csv_with_and_without_a_header() -> None:
    table = b'name,n\n"a ""b""\nc",1\n\nd,2\n'
    found = written("jobs:doubled", "--input", "csv", "--format", "csv", stdin=table)
    assert list(csv.reader(io.StringIO(found))) == [
        ["name", "twice"],
        ['a "b"\nc', "2"],
        ["d", "4"],
    ]
    plain = written(
        "jobs:first_cells", "--input", "csv", "--no-header", "--format", "json", stdin=table
    )
    assert plain.splitlines()[0] == '[["name", "n"], null]'


def test_files_by_path_and_by_content() -> None:
    for name, content in [("a.txt", b"A"), ("b.txt", b"\xff"), ("c.bin", b"C")]:
        Path(name).write_bytes(content)
    as_files = ["--input", "files", "jobs:kind"]
    assert written(*as_files, "*.txt") == "str 'a.txt'\nstr 'b.txt'\n"
    assert written(*as_files, "*.txt", "--read", "text") == "str 'A'\nstr '\\udcff'\n"
    assert written(*as_files, "--read", "bytes", stdin=b"c.bin\n") == "bytes b'C'\n"
    code, _, err = run(*as_files, "--read", "text", stdin=b"missing\n")
    assert code == 1
    assert "No such file or directory: 'missing'" in err


def test_several_files_and_patterns_one_after_the_other() -> None:
    Path("deep/er").mkdir(parents=True)
    for name in ("deep/1.log", "deep/er/2.log", "last"):
        Path(name).write_text(name)
    assert written("jobs:same", "deep/**/*.log", "-", "last", stdin=b"stdin") == (
        "deep/1.log\ndeep/er/2.log\nstdin\nlast\n"
    )


# --- What is written -----------------------------------------------------------------------------


def test_results_as_they_come_are_all_there() -> None:
    numbers = [*map(str, range(5000))]
    found = written("jobs:number", "--unordered", stdin="\n".join(numbers).encode())
    assert sorted(found.split(), key=int) == numbers


def test_none_is_an_empty_line_and_bytes_are_what_they_are() -> None:
    Path("data").write_bytes(b"\xff\0")
    found = run("jobs:same", "data", "--input", "files", "--read", "bytes")
    assert found == (0, b"\xff\0\n", "")
    assert written("builtins:print", stdin=b"") == ""


def test_what_is_no_json_fails_by_itself() -> None:
    code, out, err = run(
        "jobs:thing", "--format", "json", "--on-error", "skip", stdin=b"1\n2\n3\n4"
    )
    assert (code, out) == (1, b'"1"\n"4"\n')
    assert err == (
        "interpool: 2 of 4 records failed; the first, record 2: "
        "TypeError: Object of type set is not JSON serializable\n"
    )


def test_a_row_of_other_columns_fails_by_itself() -> None:
    options = ["--input", "csv", "--no-header", "--format", "csv", "--errors", "failed"]
    code, out, _ = run("jobs:ragged", *options, stdin=b"1\n2,x\n3\n")
    assert (code, out) == (1, b"a\n1\n3\n")
    failed = json.loads(Path("failed").read_text())
    assert failed["position"] == 2
    assert "the output has no column 'b'" in failed["error"]


def test_what_a_function_prints_does_not_get_between() -> None:
    code, out, err = run("jobs:loud", stdin=b"a\nb\n")
    assert (code, out) == (0, b"a\nb\n")
    assert sorted(err.splitlines()) == ["past Python", "past Python", "said a", "said b"]


@pytest.mark.parametrize("lane", ["interpreter", "process", "thread"])
def test_every_lane(lane: str) -> None:
    assert written("jobs:shout", "--lane", lane, "--preload", "json", stdin=b"a\nb") == "A\nB\n"


def test_records_that_turn_slow_are_handed_back() -> None:
    numbers = "".join(f"{n}\n" for n in range(3100))
    options = ["--chunksize", "3100"]
    found = written("jobs:turns_slow", *options, "--unordered", stdin=numbers.encode())
    assert sorted(map(int, found.split())) == [*range(3100)]


def test_progress_is_shown_when_asked_for_with_rate_estimate_and_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    Path("numbers").write_text("1\ntwo\n3\nfour\n")
    code, out, err = run("jobs:number", "numbers", "--progress", "--on-error", "skip")
    assert (code, out) == (1, b"1\n3\n")
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", err)
    # At last, the time that it took, and that which is left.
    assert re.search(r"4 done, 2 failed .*100% [\d,]+/s \d:\d\d:\d\d left 0:00:00", shown), shown


# --- Failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_a_failure_ends_it_and_says_where(order: list[str]) -> None:
    Path("numbers").write_text("1\n2\nthree\n4\n")
    code, out, err = run("jobs:number", "numbers", *order, "--chunksize", "4")
    assert (code, out) == (1, b"1\n2\n")
    assert err == (
        "Error: numbers, 3: ValueError: invalid literal for int() with base 10: 'three'. "
        "--debug shows where; --on-error skip goes on.\n"
    )
    _, _, err = run("jobs:number", "numbers", *order, "--debug")
    assert 'jobs.py", line 14, in number' in err


def test_failures_are_reported_with_all_that_is_known() -> None:
    Path("a").write_text("1\nx\n")
    Path("b").write_text("y\n2\n")
    code, out, err = run("jobs:number", "a", "b", "--errors", "failed")
    assert (code, out) == (1, b"1\n2\n")
    assert err.startswith("interpool: 2 of 4 records failed; the first, a, 2: ValueError")
    first, second = map(json.loads, Path("failed").read_text().splitlines())
    assert (first["position"], first["file"], first["record"], first["input"]) == (2, "a", 2, "x")
    assert (second["position"], second["file"], second["record"]) == (3, "b", 1)
    assert second["error"] == "ValueError: invalid literal for int() with base 10: 'y'"
    assert "jobs.py" in second["traceback"]


def test_a_function_that_exits_or_takes_its_worker_along_fails_alone() -> None:
    skip = ["--on-error", "skip"]
    code, out, err = run("jobs:exits", *skip, stdin=b"0\n1\n")
    assert (code, out) == (1, b"")
    assert "SystemExit: 0" in err
    code, out, err = run(
        "jobs:dies", *skip, "--lane", "process", "--chunksize", "1", stdin=b"1\n2\n3"
    )
    assert (code, out) == (1, b"1\n3\n")
    assert "exited with 3" in err


def test_workers_that_cannot_be_made_ready_end_it() -> None:
    Path("fails.py").write_text("raise RuntimeError('not today')\n")
    code, out, err = run("jobs:same", "--preload", "fails", "--on-error", "skip", stdin=b"1\n2\n")
    assert (code, out) == (1, b"")
    assert err.splitlines()[-1].startswith(
        "Error: No worker can be made ready: A module of preload"
    )


def test_input_that_cannot_be_read_on_ends_it_behind_what_was() -> None:
    Path("rows").write_bytes(b"a\n1\n" + b"x" * 200_000)  # a cell longer than `csv` takes
    code, out, err = run("jobs:same", "rows", "--input", "csv", "--no-header", "--format", "csv")
    assert (code, out) == (1, b"a\n1\n")
    assert err == "Error: rows cannot be read: field larger than field limit (131072).\n"


def test_a_record_may_take_so_long() -> None:
    options = ["--timeout", "0.2", "--on-error", "skip"]
    code, out, err = run("jobs:spins", *options, stdin=b"1\n2\n3")
    assert (code, out) == (1, b"1\n3\n")
    assert err == (
        "interpool: 1 of 3 records failed; the first, record 2: "
        "interpool.TaskTimeout: jobs:spins ran for longer than its timeout of 0.2 s\n"
    )


def test_a_record_is_tried_again() -> None:
    assert written("jobs:third_time_lucky", "--retries", "2", stdin=b"runs\n") == "runs\n"
    assert Path("runs").read_text() == "xxx"
    code, _, err = run("jobs:third_time_lucky", "--retries", "1", stdin=b"others\n")
    assert code == 1
    assert err.startswith("Error: record 1: ConnectionError: others. --debug")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jobs:shuot"], "The module 'jobs' has no 'shuot'. Did you mean 'shout'?"),
        (["jbos:shout"], "There is no module 'jbos'. Did you mean 'jobs'?"),
        (["jobs:not_a_function"], "'jobs:not_a_function' is no function, but of type int"),
        (
            ["jobs:pair"],
            (
                "jobs:pair cannot be called with one argument, the record: missing a required "
                "argument: 'right'. Its signature is (left, right)"
            ),
        ),
        (["jobs:same", "jbos.py"], "There is no file 'jbos.py'. Did you mean 'jobs.py'?"),
        (["jobs:same", "*.log"], "There is no file that '*.log' is a pattern of"),
        (["jobs:same", "."], "'.' is a folder. './*' is what is in it"),
        (["jobs:same", "-", "-"], "Standard input (-) can be read once"),
        (["jobs:same", "--preload", "jbos"], "There is no module 'jbos'. Did you mean 'jobs'?"),
        (["jobs:same", "--no-header"], "--no-header is for --input csv"),
        (["jobs:same", "--encoding", "utf-88"], "There is no encoding 'utf-88'"),
        (
            ["jobs:same", "jobs.py", "--output", "jobs.py"],
            "--output jobs.py is used for something else, too",
        ),
        (
            ["jobs:same", "--resume", "j", "--output", "o"],
            "--resume needs files: standard input cannot be read a second time",
        ),
        (["jobs:same", "--output", "no/o"], "no/o cannot be written: No such file or directory."),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: list[str], message: str) -> None:
    assert run(*arguments) == (2, b"", f"Error: {message}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_what_cannot_be_written_is_said_in_a_line() -> None:
    Path("a").write_text("1\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command_of("jobs:same", "a"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: standard output cannot be written: No space left on device.\n"


# --- Streams and signals -------------------------------------------------------------------------


@contextmanager
def started(
    *arguments: str, fails: bool = False, stdin: int | None = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start it; yield it with the descriptor that the function's arrivals are read from."""
    arrivals, told = os.pipe()
    environment = os.environ | {"ARRIVALS": str(told)} | ({"FAILS": "1"} if fails else {})
    with subprocess.Popen(
        command_of(*arguments),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[told],
        env=environment,
    ) as process:
        os.close(told)
        try:
            yield process, arrivals
        finally:
            os.close(arrivals)
            process.kill()


def wait_for(arrivals: int, count: int) -> None:
    """Wait until so many records have been begun, or all are done."""
    while count > 0 and (found := os.read(arrivals, count)):
        count -= len(found)


def drain(arrivals: int) -> None:
    while os.read(arrivals, 1 << 16):
        pass


def test_an_endless_input_in_little_memory_until_its_reader_goes() -> None:
    with (
        Path("/dev/zero").open("rb") as zeros,
        started("jobs:kind", "--input", "null", stdin=zeros.fileno()) as (process, _),
    ):
        assert process.stdout is not None
        for _ in range(8):
            assert len(process.stdout.read(1 << 20)) == 1 << 20
        used = psutil.Process(process.pid).memory_info().rss
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert used < 300 << 20  # what it has read by then would take more


def test_a_result_does_not_wait_for_more_input() -> None:
    with started("jobs:same", stdin=subprocess.PIPE) as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_while_the_function_runs(number: int, code: int) -> None:
    Path("a").write_text("1\n2\n3\n")
    with started("jobs:stays", "a") as (process, arrivals):
        wait_for(arrivals, 2)
        process.send_signal(number)
        assert process.wait() == code
        assert process.stderr is not None
        said = process.stderr.read().lstrip(b"\n")
        assert said == (b"interpool: interrupted\n" if code == 130 else b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits_for_input(number: int) -> None:
    with started("jobs:arrives", stdin=subprocess.PIPE) as (process, arrivals):
        assert process.stdin is not None
        process.stdin.write(b"x\n")
        process.stdin.flush()
        wait_for(arrivals, 1)
        process.send_signal(number)
        assert process.wait() in {130, 143}


# --- Going on ------------------------------------------------------------------------------------

RECORDS = 3000
RESUMED = ("jobs:arrives", "numbers", "--output", "out", "--resume", "journal")


@pytest.fixture
def numbers() -> list[str]:
    texts = [str(n) for n in range(RECORDS)]
    Path("numbers").write_text("".join(f"{text}\n" for text in texts))
    return [text * 2 for text in texts]


def finish(*options: str, fails: bool = False) -> int:
    with Path(os.devnull).open("wb") as nowhere, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARRIVALS", str(nowhere.fileno()))
        if fails:
            patch.setenv("FAILS", "1")
        return run(*RESUMED, *options)[0]


def results(options: tuple[str, ...]) -> list[str]:
    found = Path("out").read_text().splitlines()
    return sorted(found, key=lambda it: int(it[: len(it) // 2])) if options else found


@pytest.mark.parametrize("options", [(), ("--unordered",)])
def test_a_run_killed_again_and_again_writes_each_result_once(
    numbers: list[str], options: tuple[str, ...]
) -> None:
    chance = random.Random(7)
    failing = ("--errors", "failed")
    for _ in range(3):
        with started(*RESUMED, *options, *failing, fails=True) as (process, arrivals):
            wait_for(arrivals, chance.randrange(1, RECORDS // 2))
            process.kill()
            process.wait()
    assert finish(*options, *failing, fails=True) == 1
    numbers.remove("1000" * 2)
    assert results(options) == numbers
    assert len(Path("failed").read_text().splitlines()) == 1


def test_ctrl_c_leaves_whole_files_to_go_on_with(numbers: list[str]) -> None:
    with started(*RESUMED) as (process, arrivals):
        wait_for(arrivals, 800)
        process.send_signal(signal.SIGINT)
        drain(arrivals)
        assert process.wait() == 130
    before = Path("out").read_text()
    assert before == "".join(f"{text}\n" for text in numbers[: before.count("\n")])
    assert finish() == 0
    assert results(()) == numbers
    # And once more: nothing is left to be done.
    assert finish() == 0
    assert results(()) == numbers


def test_a_record_that_ended_it_is_tried_again(numbers: list[str]) -> None:
    assert finish(fails=True) == 1
    assert results(()) == numbers[:1000]
    assert finish() == 0
    assert results(()) == numbers


def test_what_was_written_and_not_noted_is_written_again(numbers: list[str]) -> None:
    assert finish() == 0
    lines = Path("journal").read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    # As if it had been killed behind a write, and within the next line of the journal.
    Path("journal").write_bytes(b"".join(lines[:half]) + lines[half][:5])
    assert finish("--workers", "1") == 0
    assert results(()) == numbers


def test_after_a_reboot_only_what_was_forced_to_the_disk_counts(numbers: list[str]) -> None:
    assert finish() == 0
    head, *lines = Path("journal").read_text().splitlines()
    before = json.dumps(json.loads(head) | {"boot": "another"})
    noted = [line for line in lines if line.startswith("[")]
    journal = [before, *noted[:2], '"on disk"', *noted[2:]]
    Path("journal").write_text("\n".join(journal) + "\n")
    # What the disk has not got: there are zeros.
    length = json.loads(noted[1])[2]
    out = Path("out").read_bytes()
    Path("out").write_bytes(out[:length] + bytes(len(out) - length))
    assert finish() == 0
    assert results(()) == numbers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("function", "another function (jobs:arrives has changed)"),
        ("input", "another input (numbers has changed)"),
        ("format", "another --format (text, now json)"),
        ("output", "out has 0 bytes, and the journal says"),
        ("journal", "journal is no journal of this version of interpool map"),
    ],
)
def test_another_run_s_journal_is_refused(numbers: list[str], change: str, message: str) -> None:
    assert finish() == 0
    match change:
        case "function":
            Path("jobs.py").write_text(JOBS + "\n")
        case "input":
            Path("numbers").write_text("1\n")
        case "output":
            Path("out").write_text("")
        case "journal":
            Path("journal").write_text("something else\n")
    code, _, err = run(*RESUMED, *(["--format", "json"] if change == "format" else []))
    assert code == 2
    assert err.startswith("Error: ")
    assert message in err


def test_a_journal_whose_first_line_was_cut_short_is_begun_anew(numbers: list[str]) -> None:
    Path("journal").write_text('{"interpool map": 1, "bo')
    assert finish() == 0
    assert results(()) == numbers


def test_a_file_that_is_no_journal_is_left_alone(numbers: list[str]) -> None:
    Path("journal").write_text("my notes")
    assert run(*RESUMED)[::2] == (
        2,
        "Error: journal is no journal of this version of interpool map.\n",
    )
    assert Path("journal").read_text() == "my notes"
    assert not Path("out").exists()


def test_two_runs_do_not_share_a_journal() -> None:
    Path("numbers").write_text("1\n")
    options = ("jobs:stays", *RESUMED[1:])
    with started(*options) as (_, arrivals):
        wait_for(arrivals, 1)
        code, _, err = run(*options)
    assert (code, err) == (2, "Error: journal is in use by another run.\n")


def test_the_columns_of_a_table_are_written_once() -> None:
    Path("table").write_text("name,n\na,1\nb,x\nc,3\n")
    options = ["jobs:doubled", "table", "--input", "csv", "--format", "csv"]
    resumed = [*options, "--output", "out", "--resume", "journal"]
    assert run(*resumed)[0] == 1
    assert Path("out").read_text() == "name,twice\na,2\n"
    assert run(*resumed)[0] == 1
    assert Path("out").read_text() == "name,twice\na,2\n"


# --- What workers did ----------------------------------------------------------------------------


def test_a_trace_of_a_run(tmp_path: Path) -> None:
    lines = "".join(f"{n}\n" for n in range(1_000))
    assert written("jobs:same", "--trace", "run.json", stdin=lines.encode()) == lines
    trace = json.loads(Path("run.json").read_text())
    assert trace["otherData"]["command"] == "interpool map jobs:same"
    runs = [it["args"] for it in trace["traceEvents"] if it.get("cat") == "run"]
    assert {(it["function"], it["outcome"]) for it in runs} == {("jobs:same", "done")}
    assert sum(it.get("items", 1) for it in runs) == 1_000
    code, _, err = run("jobs:same", "--trace", str(tmp_path / "none" / "run.json"), stdin=b"1\n")
    assert code == 2
    assert err == f"Error: {tmp_path}/none/run.json cannot be written: No such file or directory.\n"
    Path("lines").write_text("1\n")
    code, _, err = run("jobs:same", "lines", "--trace", "lines")
    assert code == 2
    assert "--trace lines is used for something else, too" in err


def test_a_page_of_a_run() -> None:
    Path("numbers").write_text("".join(f"{n}\n" for n in range(200)))
    written("jobs:same", "numbers", "--report", "run.html")
    assert "interpool map jobs:same" in Path("run.html").read_text()
    assert not Path("run.json").exists()
    # A batch says which of its records have failed, in whatever lane.
    Path("mixed").write_text("1\n2\nx\n4\ny\n")
    for lane in ("interpreter", "thread"):
        options = ("--chunksize", "3", "--on-error", "skip", "--lane", lane, "--trace", "t.json")
        assert run("jobs:number", "mixed", *options, "--report", "skipped.html")[0] == 1
        assert "2 of 5 items did not succeed" in Path("skipped.html").read_text()
        events = json.loads(Path("t.json").read_text())["traceEvents"]
        told = [it["args"] for it in events if it.get("cat") == "run"]
        assert sorted((it["arguments"], it["outcome"], it["failed"]) for it in told) == [
            ("'x'", "failed", 1),
            ("'y'", "failed", 1),
        ]
    # Of a run that a failure ends, and of one that has nothing to do.
    Path("mixed").write_text("1\nx\n3\n")
    code, _, err = run("jobs:number", "mixed", "--report", "failed.html", "--trace", "t.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "<h2>What workers did</h2>" in Path("failed.html").read_text()
    assert json.loads(Path("t.json").read_text())["otherData"]["format"] == 1
    Path("nothing").write_text("")
    written("jobs:same", "nothing", "--report", "nothing.html")
    assert "No task has run" in Path("nothing.html").read_text()


def test_a_page_that_cannot_be_written_is_refused_before_the_run() -> None:
    Path("numbers").write_text("1\n")
    for place, why in (("none/run.html", "is in no folder that there is"), (".", "is a folder")):
        code, out, err = run("jobs:same", "numbers", "--report", place)
        assert (code, out) == (2, b"")
        assert f"--report {place} {why}" in err
    code, _, err = run("jobs:same", "numbers", "--report", "numbers")
    assert code == 2
    assert "--report numbers is used for something else, too" in err
    # Of what has not begun there is no page, and its own error is what is said.
    code, _, err = run("jobs:same", "numbers", "--report", "run.html", "--trace", "none/t.json")
    assert (code, Path("run.html").exists()) == (2, False)
    assert err == "Error: none/t.json cannot be written: No such file or directory.\n"


def test_a_device_may_be_read_and_written_more_than_once() -> None:
    null = os.devnull
    assert run("jobs:same", null) == (0, b"", "")
    assert run("jobs:same", null, "--output", null, "--errors", null) == (0, b"", "")


@pytest.mark.filterwarnings("always::interpool.FallbackWarning")
def test_a_fallback_is_said_in_this_command_s_words() -> None:
    code, out, err = run("jobs:handled", "--workers", "1", stdin=b"1\n2\n")
    assert (code, out) == (0, b"False\nFalse\n")
    assert err.startswith("interpool: jobs:handled runs in a worker process, for the extension")
    assert err.endswith("is done again. --lane process says that it is meant\n")
