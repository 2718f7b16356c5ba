"""What a shell offers at the Tab key."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from interpool._cli import completion, names

SCRIPT = Path(sys.executable).with_name("interpool")
ANYTHING: tuple[Any, Any] = (None, None)  # context and parameter, which are not looked at


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs_of_mine.py").write_text(
        "raise RuntimeError('is not imported for this')\n"
        "TABLE = _other = {}\nSIZE: int = 3\n"
        "def clean(line): ...\nasync def fetch(url): ...\nclass Cart: ...\ndef _hidden(): ...\n"
    )
    (tmp_path / "jobs_package").mkdir()
    (tmp_path / "jobs_package/__init__.py").write_text("def first(it): ...")
    (tmp_path / "jobs_package/more.py").write_text("def second(it): ...")
    (tmp_path / "jobs_package/_private.py").write_text("")
    (tmp_path / "jobs_broken.py").write_text("def first(it:")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("jobs_", ["jobs_broken:", "jobs_of_mine:", "jobs_package:"]),
        ("jobs_of", ["jobs_of_mine:clean", "jobs_of_mine:fetch", "jobs_of_mine:Cart"]),
        ("jobs_of_mine:c", ["jobs_of_mine:clean"]),
        ("jobs_of_mine:_", ["jobs_of_mine:_hidden"]),
        ("jobs_p", ["jobs_package:"]),
        ("jobs_package:", ["jobs_package:first"]),
        ("jobs_package.", ["jobs_package.more:second"]),
        ("jobs_package._", []),
        ("jobs_broken:", []),
        ("nothere.", []),
        ("math:", []),
        ("..", []),
    ],
)
def test_functions_are_offered_by_their_modules_sources(begun: str, offered: list[str]) -> None:
    assert completion.functions(*ANYTHING, begun) == offered


def test_objects_and_modules_are_offered() -> None:
    found = completion.objects(*ANYTHING, "jobs_of_mine:")
    assert found[:2] == ["jobs_of_mine:TABLE", "jobs_of_mine:SIZE"]
    assert completion.modules(*ANYTHING, "jobs_package.") == ["jobs_package.more"]
    assert "json" in completion.modules(*ANYTHING, "js")
    assert names.is_package("jobs_package")
    assert not names.is_package("jobs_of_mine")


# The function that bash would call, with what bash would have set; `compopt` is bash's to know.
BASH = """
eval "$(_INTERPOOL_COMPLETE=bash_source "$1")"
compopt() { printf 'compopt %s %s\\n' "$@"; }
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
while IFS= read -r COMP_LINE; do
    COMP_POINT=${#COMP_LINE}
    _interpool_completion "$1"
    echo "${COMPREPLY[*]}"
done
"""


def test_bash_takes_what_it_is_offered() -> None:
    lines = {
        "interpool ma": "map",
        "interpool map --lane ": "auto interpreter process thread",
        # It puts what it is given in place of what stands behind the last colon.
        "interpool map jobs_of_mine:": "clean fetch Cart",
        "interpool map jobs_p": "compopt -o nospace\njobs_package:",
        "interpool map jobs_of_mine:clean ./jo": "compopt -o default\n",
    }
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", SCRIPT],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "".join(f"{it}\n" for it in lines.values()))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_ask_in_their_own_way(shell: str) -> None:
    typed = "interpool map jobs_of_mine:c"
    word = {"zsh": "2", "fish": "jobs_of_mine:c"}[shell]
    environment = {
        "COMP_WORDS": typed,
        "COMP_CWORD": word,
        "_INTERPOOL_COMPLETE": f"{shell}_complete",
    }
    done = subprocess.run(
        [SCRIPT], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    answer = {"zsh": "plain\njobs_of_mine:clean\n_\n", "fish": "plain,jobs_of_mine:clean\n"}
    assert (done.stderr, done.stdout) == ("", answer[shell])
