"""`interpool doctor`, as it is typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import interpool
import typed


@pytest.fixture(autouse=True)
def in_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs.py").write_text("import faulthandler\n")
    (tmp_path / "broken.py").write_text("import jobs\nraise RuntimeError('not today')\n")
    (tmp_path / "fails.py").write_text("raise RuntimeError('[red]not[/] today')\n")
    (tmp_path / "dies.py").write_text("import os; os.abort()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("COLUMNS", raising=False)


def doctor(*arguments: str, **environment: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        code, out, err = typed.run("doctor", *arguments)
    return code, out.decode(), err


def rows(out: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}


def test_a_table_of_what_was_asked() -> None:
    code, out, err = doctor("json", "jobs", "fails", "dies", "nothere")
    assert (code, err) == (0, "")
    found = rows(out)
    assert found["json"][:2] == ["loads", "interpreter"]
    assert found["json"][3] == "s"
    assert found["jobs"] == ["refuses", "process", "faulthandler"]
    assert found["fails"] == ["fails", "none", "RuntimeError:", "[red]not[/]", "today"]
    assert found["dies"] == ["crashes", "none", "SIGABRT"]
    assert found["nothere"] == ["not", "installed", "none", "No", "module", "named", "'nothere'."]
    assert "1 loads, 1 refuses, 1 fails, 1 crashes, 1 not installed\n" in out
    assert "\x1b" not in out


def test_what_is_required_decides_the_exit_code() -> None:
    code, out, _ = doctor("jobs", "--require", "json", "--require", "string")
    assert code == 0
    assert rows(out)["string"][0] == "loads"
    code, out, _ = doctor("json", "--require", "jobs", "--require", "string")
    assert code == 1
    assert out.splitlines()[-1] == "required, and does not load: jobs"


def test_findings_as_json() -> None:
    code, out, err = doctor("jobs", "json", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["python"] == sys.version
    first, second = told["findings"]
    assert first["chain"] == ["jobs", "faulthandler"]
    assert (second["verdict"], second["distribution"]) == ("loads", "Python")


def test_what_was_found_before_is_said() -> None:
    assert "earlier run" not in doctor("string")[1]
    assert "1 of them found in an earlier run: --no-cache" in doctor("string")[1]
    assert "earlier run" not in doctor("string", "--no-cache")[1]


def test_a_table_fits_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = interpool.doctor(["jobs", "fails", "dies", "json"])
    monkeypatch.setattr("interpool._cli.doctor.examine", lambda *_, **__: found)
    for width in (60, 80, 120):
        _, out, _ = doctor("jobs", "fails", "dies", "json", COLUMNS=str(width))
        table = out.splitlines()[:8]
        assert max(map(len, table)) <= width


def test_a_chain_is_shown_by_its_packages() -> None:
    from interpool._cli.doctor import _shortened

    assert _shortened(("a", "a.b", "c", "c.d", "c.e", "c.e.f")) == ["c", "c.e.f"]
    assert _shortened(("a", "b", "c")) == ["b", "c"]
    assert _shortened(("a", "a.b", "a._c")) == ["a._c"]
    assert _shortened(("a",)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Name a module, like json, or ask for --all."),
        (["a b"], "'a b' is not the name of a module, like json or xml.etree."),
        (["json", "--timeout", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_what_is_not_understood_is_said(arguments: list[str], message: str) -> None:
    code, out, err = doctor(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_help_has_examples_and_exit_codes() -> None:
    _, out, _ = doctor("--help")
    assert "interpool doctor --require mypackage" in out
    assert "Exits with 1 if what is required does not load" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_cannot_be_written_is_said_in_a_line(options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "interpool", "doctor", "json", *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device\n"
