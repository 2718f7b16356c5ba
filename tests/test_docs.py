"""Every snippet is run, and prints what the comment beside it says; every link leads somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import run_program

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


def snippets() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, code in enumerate(
            re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
        ):
            yield f"{page.relative_to(ROOT)}[{number}]", code


SNIPPETS = dict(snippets())
# What two languages have in common is run once.
ONCE = {code: name for name, code in reversed(SNIPPETS.items())}.values()


@pytest.mark.parametrize("name", ONCE)
def test_a_snippet_prints_what_it_says(name: str, tmp_path: Path) -> None:
    code = SNIPPETS[name]
    if "import pytest" in code:  # a test module
        module = tmp_path / "test_snippet.py"
        module.write_text(code)
        done = run_program(f"import pytest; raise SystemExit(pytest.main([{str(module)!r}]))")
        assert (done.stderr, done.returncode) == ("", 0), done.stdout
        return
    expected = re.findall(r"^ *print\(.*\) +# (.*)$", code, re.MULTILINE)
    program = tmp_path / "snippet.py"  # a file, which processes import
    program.write_text(code)
    done = run_program(program)
    assert (done.stderr, done.returncode) == ("", 0)
    printed = done.stdout.splitlines()
    assert len(printed) == len(expected)
    for line, comment in zip(printed, expected, strict=True):
        # An ellipsis ends what is quoted.
        assert line.startswith(comment.removesuffix("...")) if "..." in comment else line == comment


def test_there_are_snippets() -> None:
    assert {name.partition("[")[0] for name in SNIPPETS} >= {"README.md", "README.ja.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_map_of_the_house_names_every_module() -> None:
    named = set(
        re.findall(r"^    (_\w+\.py)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    )
    there = {path.name for path in (ROOT / "src/interpool").glob("_*.py")}
    assert named | {"__init__.py", "__main__.py"} == there | {"__init__.py", "__main__.py"}


def exported(module: str) -> Iterator[str]:
    """What a module says that it exports: read, for the integrations import what they integrate."""
    source = (ROOT / "src" / module).read_text()
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                yield from ast.literal_eval(value)


@pytest.mark.parametrize("module", ["", "aio/", "cluster/", "joblib.py"])
def test_the_reference_has_every_name(module: str) -> None:
    pages = [page.read_text() for page in ROOT.glob("docs/reference/*.md")]
    there = {
        name
        for text in pages
        for name in re.findall(r"(?:^::: |\{ #)(interpool\.[\w.]+)", text, re.MULTILINE)
    }
    prefix = f"interpool.{re.split(r'\W', module)[0]}".rstrip(".")
    path = module if module.endswith(".py") else f"{module}__init__.py"
    names = {f"{prefix}.{name}" for name in exported(f"interpool/{path}")}
    assert names
    assert names <= there
