"""`interpool recommend`, as it is typed."""

import json
from pathlib import Path

import pytest

import typed

MODULE = """
import time

def compute(n):
    return sum(i * i for i in range(n))

def join(a, b):
    return a + b["end"]

def shout(text):
    print("so loud")
    return text.upper()

def fail(n):
    raise LookupError(f"nothing at {n}")

def leave(n):
    raise SystemExit

def hang(n):
    while True:
        pass

LIMIT = 3
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(MODULE)
    (tmp_path / "numbers.jsonl").write_text("1000\n\n2000\n")
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    (tmp_path / "empty.txt").write_text("")
    monkeypatch.chdir(tmp_path)


def recommend(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    code, out, err = typed.run(
        "recommend", "--budget", "2", *arguments, stdin=(stdin or "").encode()
    )
    return code, out.decode(), err


def test_every_way_is_shown_with_reasons() -> None:
    code, out, err = recommend("jobs:compute", "--args", "2000", "--args", "3000")
    assert (code, err) == (0, "")
    assert out.startswith("Run compute ")
    for name in ("a plain loop", "ThreadPoolExecutor", 'InterpreterPoolExecutor, lane="process"'):
        assert f"\n{name}:\n" in out
        assert f"\n{name} " in out
    assert "1,000 items" in out
    assert "thread-safe is for you to know" in out
    assert all(line == line.rstrip() for line in out.splitlines() if line.startswith("  "))


def test_figures_as_json() -> None:
    code, out, err = recommend(
        "jobs:compute", "--sample", "numbers.jsonl", "--items", "50000", "--workers", "1", "--json"
    )
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["target"], told["items"]) == ("jobs:compute", 50_000)
    assert (told["measurements"]["sample"], told["measurements"]["cores"]) == (2, 1)
    assert told["measurements"]["module"] == "jobs"
    assert len(told["options"]) == 4


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["jobs:join", "--star", "--args", '["a", {"end": "b"}]'], None),
        (["jobs:shout", "--text", "--sample", "words.txt"], None),
        (["jobs:shout", "--text", "--star", "--sample", "-"], "one\n"),
    ],
)
def test_samples_of_other_kinds(arguments: list[str], stdin: str | None) -> None:
    code, out, err = recommend(*arguments, stdin=stdin)
    assert (code, err) == (0, "")
    assert out.startswith("Run ")
    assert "so loud" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["jobs:compute"],
            (
                "Items of the work are needed, --args JSON or --sample FILE: what a function takes "
                "depends on what it is given"
            ),
        ),
        (["jobs:compote", "--args", "1"], "'jobs' has no 'compote'. Did you mean 'compute'?"),
        (["jbos:compute", "--args", "1"], "There is no module 'jbos'. Did you mean 'jobs'?"),
        (["jobs:LIMIT", "--args", "1"], "'jobs:LIMIT' is no function, but of type int"),
        (["jobs:compute", "--args", "1,"], "--args 1, is not JSON: Extra data: line 1 column 2"),
        (
            ["jobs:shout", "--sample", "words.txt"],
            (
                "line 1 of words.txt is not JSON: Expecting value: line 1 column 1 (char 0). "
                "--text takes lines as they are"
            ),
        ),
        (
            ["jobs:compute", "--sample", "empty.txt"],
            "empty.txt has no lines: a sample has one item at least",
        ),
        (
            ["jobs:join", "--star", "--args", "1"],
            "--args 1 is no list of arguments, as --star has it",
        ),
        (
            ["jobs:join", "--args", "1"],
            (
                "jobs:join cannot be called with one argument, item 1 of the sample: missing a "
                "required argument: 'b'. Its signature is (a, b). With --star an item is a list of "
                "arguments"
            ),
        ),
        (["jobs:shout", "--text", "--args", "1"], "--text says what the lines of --sample FILE"),
        (["jobs:compute", "--sample", "numbers.json"], "'numbers.json': No such file"),
        (["jobs:compute", "--args", "1", "--items", "0"], "0 is not in the range"),
    ],
)
def test_what_is_not_understood_is_said_and_nothing_run(arguments: list[str], message: str) -> None:
    code, out, err = recommend(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "jobs:fail",
            (
                "Error: LookupError: nothing at 1. Raised by fail for item 1 of the sample. "
                "--debug shows where.\n"
            ),
        ),
        (
            "jobs:leave",
            "Error: SystemExit. Raised by leave for item 1 of the sample. --debug shows where.\n",
        ),
        (
            "jobs:hang",
            (
                "Error: TaskTimeout: hang did not come to an end for the first item of its sample "
                "within 1 s, half of the budget. Take smaller items, or a larger budget. "
                "--debug shows where.\n"
            ),
        ),
    ],
)
def test_a_function_that_fails_ends_with_1(target: str, message: str) -> None:
    assert recommend(target, "--args", "1") == (1, "", message)


def test_debug_shows_where_it_fails() -> None:
    code, _, err = recommend("jobs:fail", "--args", "1", "--debug")
    assert code == 1
    assert 'jobs.py", line 15, in fail' in err


def test_help_names_examples_and_the_exit_code() -> None:
    code, out, _ = recommend("--help")
    assert code == 0
    assert "interpool recommend mypackage.jobs:score --args 1000" in out
    assert "Exits with 1 if the function fails" in out
