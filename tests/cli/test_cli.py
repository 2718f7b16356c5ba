"""The command line: what it says, and how it ends."""

import importlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import interpool
import typed


def run(*arguments: str) -> tuple[int, str, str]:
    code, out, err = typed.run(*arguments)
    return code, out.decode(), err


def run_without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where a package is not installed."""
    program = (
        f"import runpy, sys; sys.modules[{module!r}] = None; sys.argv[0] = 'interpool';"
        "runpy.run_module('interpool', run_name='__main__')"
    )
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_version_is_told_with_that_of_python() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith(f"interpool {interpool.__version__} (CPython 3.")


def test_help_has_commands_examples_and_exit_codes() -> None:
    _, text, _ = run("--help")
    assert "interpool bench --quick\n" in text
    assert "130  interrupted" in text
    assert "Compare this pool" in text


def test_help_of_a_command_has_examples_and_hides_what_is_for_tests() -> None:
    _, text, _ = run("bench", "--help")
    assert "interpool bench --json figures.json --plot figures.svg\n" in text
    assert "--scale" not in text


@pytest.mark.parametrize("module", ["click", "rich"])
def test_a_missing_extra_is_one_line_with_the_way_out(module: str) -> None:
    found = run_without(module, "bench")
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == (
        f"interpool: the command line needs {module}: pip install 'interpool[cli]'\n"
    )


def test_the_version_is_told_without_the_extra() -> None:
    found = run_without("click", "--version")
    assert (found.returncode, found.stdout) == run("--version")[:2]


def test_a_plot_without_matplotlib_is_refused_before_anything_is_measured() -> None:
    found = run_without("matplotlib", "bench", "--plot", "figures.svg")
    assert found.returncode == 2
    assert "pip install 'interpool[plot]'" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unheard-of"], "There is no command 'unheard-of'."),
        (["mpa"], "There is no command 'mpa'. Did you mean 'map'?"),
        (["map", "--inptu", "csv"], "Did you mean '--input'?"),
        (["map", "--input", "cvs", "json:loads"], "Did you mean 'csv'?"),
        (["bench", "--plot", "figures.pdf"], "must end in .svg or .png"),
        (["bench", "--plot", "no/such/folder/figures.svg"], "cannot be written"),
        (["bench", "--json", "no/such/folder/figures.json"], "cannot be written"),
        (["bench", "--only", "everything"], "'everything' is not one of 'cpu'"),
        (["bench", "--workers", "0"], "0 is not in the range"),
    ],
)
def test_what_is_not_understood_is_said_and_nothing_begun(
    arguments: list[str], message: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [["bench", "--plot", "figures.pdf"], ["doctor", "a b"], ["explain", "json:laods"]],
)
def test_debug_shows_where_an_error_is_from(arguments: list[str]) -> None:
    code, _, err = run(*arguments, "--debug")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):\n")
    line = run(*arguments)[2]
    assert line.startswith("Error: ")
    assert err.endswith(f"\n{line}")


@pytest.mark.parametrize("name", ["bench", "doctor", "explain", "map", "recommend"])
def test_the_page_of_the_command_line_has_every_option(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
    section = re.split(r"^## ", page.partition(f"\n## {name}\n")[2], flags=re.MULTILINE)[0]
    command = importlib.import_module(f"interpool._cli.{name}").command
    names = {it for option in command.params for it in option.opts + option.secondary_opts}
    hidden = {"--scale"}  # for tests
    wanted = {it for it in names - hidden if it.startswith("--")}
    table = re.findall(r"^\|.*?(?<!\\)\|", section, re.MULTILINE)  # the first cells of rows
    found = {it for cell in table for it in re.findall(r"`(--[\w-]+)", cell)}
    assert found == wanted
    for example in re.findall(r"^  (interpool .*)$", command.epilog, re.MULTILINE):
        assert example.startswith(f"interpool {name}")


# A benchmark whose first measurement never ends, and says when it has begun.
ENDLESS = """
from interpool._bench import runner
from interpool._cli.app import run

def measure(*_, **__):
    print("begun", flush=True)
    while True:  # not waiting: a signal that comes just before would not be seen
        pass

runner.measure = measure
raise SystemExit(run(["bench"]))
"""


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "interpool: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_a_signal_ends_a_command_in_one_line(number: int, code: int, message: str) -> None:
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, errors.lstrip("\n")) == (code, message)


def test_the_engine_loads_neither_command_line_nor_benchmark() -> None:
    program = "import interpool, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(found.stdout.split())
    assert not loaded & {"interpool._cli", "interpool._bench", "click", "rich", "matplotlib"}


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).parent / "interpool"
    if not script.exists():
        pytest.skip("the package is not installed here")
    found = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert found.stdout == run("--version")[1]
