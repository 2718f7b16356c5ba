"""`interpool explain`, as it is typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import typed

SCRIPT = """
import threading

LOCK = threading.Lock()
TABLE = {n: str(n) for n in range(500)}

def work(n):
    return TABLE[n]

def guarded(n):
    with LOCK:
        return work(n)
"""

LAZY = """
def __getattr__(name):
    if name == "heavy":
        raise ImportError("not here")
    if name == "ends":
        raise SystemExit(0)
    raise AttributeError(name)

class Failing(Exception):
    def __str__(self):
        raise ValueError

class Job:
    @property
    def run(self):
        raise OSError("not connected")
    @property
    def mute(self):
        raise Failing
    def __dir__(self):
        raise ValueError

job = Job()
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(SCRIPT)
    (tmp_path / "broken.py").write_text("import jobs\nraise RuntimeError('not today')\n")
    (tmp_path / "lazy.py").write_text(LAZY)
    monkeypatch.chdir(tmp_path)


def explain(*arguments: str) -> tuple[int, str, str]:
    code, out, err = typed.run("explain", *arguments)
    return code, out.decode(), err


def test_what_can_be_imported_is_said_to_go_by_reference() -> None:
    code, out, err = explain("jobs:work")
    assert (code, err) == (0, "")
    assert out.startswith("jobs:work  function  by reference as jobs:work  ")


def test_a_script_s_function_is_shown_as_a_tree() -> None:
    code, out, err = explain("--script", "jobs:work")
    assert (code, err) == (0, "")
    first, second, _ = out.splitlines()
    assert first.startswith("jobs:work  function  by value  ")
    assert second.startswith("└── global 'TABLE'  dict  by value  ")
    assert first.endswith("kB")


def test_what_is_refused_ends_with_1_and_names_the_culprit() -> None:
    code, out, err = explain("--script", "jobs:guarded")
    assert (code, err) == (1, "")
    assert "global 'LOCK'  _thread.lock  refused: it is a lock: " in out
    assert "pass an interpool.Lock" in out


def test_a_tree_as_json() -> None:
    code, out, _ = explain("jobs:LOCK", "--json")
    told = json.loads(out)
    assert (code, told["target"], told["how"]) == (1, "jobs:LOCK", "refused")


def test_an_attribute_is_found() -> None:
    code, out, _ = explain("statistics:NormalDist.pdf")
    assert code == 0
    assert "by reference as statistics:NormalDist.pdf" in out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "jobs",
            (
                "'jobs' is not of the form MODULE:NAME. "
                "Did you mean one of its functions, like 'jobs:work'?"
            ),
        ),
        ("jobs.work", "'jobs.work' is not of the form MODULE:NAME. Did you mean 'jobs:work'?"),
        (":work", "':work' is not of the form MODULE:NAME. Like statistics:mean"),
        ("jobs:wrok", "The module 'jobs' has no 'wrok'. Did you mean 'work'?"),
        ("jobs:work.speed_of_light", "'work' has no 'speed_of_light'."),
        ("jbos:work", "There is no module 'jbos'. Did you mean 'jobs'?"),
        ("jobs.more.deeply:work", "There is no module 'jobs.more.deeply'."),
        (
            "broken:work",
            "The module 'broken' cannot be imported: RuntimeError: not today. --debug shows where.",
        ),
        (
            "lazy:heavy",
            "The module 'lazy' does not give 'heavy': ImportError: not here. --debug shows where.",
        ),
        (
            "lazy:ends",
            "The module 'lazy' does not give 'ends': SystemExit: 0. --debug shows where.",
        ),
        ("lazy:job.run", "'job' does not give 'run': OSError: not connected. --debug shows where."),
        ("lazy:job.mute", "'job' does not give 'mute': Failing. --debug shows where."),
        ("lazy:job.other", "'job' has no 'other'."),
    ],
)
def test_what_is_wrong_is_said_in_a_line(target: str, message: str) -> None:
    assert explain(target) == (2, "", f"Error: {message}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_cannot_be_written_is_said_in_a_line(options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "interpool", "explain", "jobs:work", *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device\n"


def test_debug_shows_where_an_attribute_fails() -> None:
    code, _, err = explain("lazy:job.run", "--debug")
    assert code == 2
    assert 'lazy.py", line 16' in err
    assert err.endswith("Error: 'job' does not give 'run': OSError: not connected.\n")


def test_debug_shows_where_a_module_fails() -> None:
    code, _, err = explain("broken:work", "--debug")
    assert code == 2
    assert 'broken.py", line 2' in err
