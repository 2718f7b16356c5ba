"""The page about packages: the list, and how findings are shown. Nothing is installed."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import compatibility
from compatibility import Result

PACKAGES = {
    "alpha": ["alpha"],
    "beta": ["beta.core", "beta.more"],
    "gamma": ["gamma"],
    "late": ["late"],
}


def finding(module: str, verdict: str, **more: Any) -> dict[str, Any]:
    return {"module": module, "verdict": verdict, "is_cached": False, **more}


def test_the_list_is_sorted_and_names_each_once() -> None:
    text = compatibility.LIST.read_text()
    names = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    assert names == sorted({*names})
    assert len(names) == 200
    for modules in compatibility.read_list(text).values():
        assert all(part.isidentifier() for name in modules for part in name.split("."))


def test_a_line_names_a_distribution_and_its_modules() -> None:
    text = "# words\nplain\nscikit-learn sklearn\ncffi cffi _cffi_backend\n"
    assert compatibility.read_list(text) == {
        "plain": ["plain"],
        "scikit-learn": ["sklearn"],
        "cffi": ["cffi", "_cffi_backend"],
    }


def test_a_page_has_counts_reasons_and_what_is_left() -> None:
    chain = ["beta.core", "beta.x", "alpha", "gamma", "gamma._c"]
    results = [
        Result("alpha", "1.0", "2026-01-02", [finding("alpha", "loads", without=["alpha._c"])]),
        Result(
            "beta",
            "2.0",
            "2026-01-05",
            [
                finding("beta.core", "refuses", extension="gamma._c", chain=chain),
                finding("beta.more", "fails", reason="OSError: a|b /home/me/lib/x.so <z>"),
            ],
        ),
        Result("gamma", "", "2026-01-03", []),
    ]
    page = compatibility.page({it.name: it for it in results}, PACKAGES)
    words = " ".join(page.split())
    assert "Examined: 3 of the 4 packages" in words
    assert "2026-01-02 to 2026-01-05, with CPython 3." in words
    assert "Of their modules: 1 loads, 1 refuses, 1 fails." in words
    assert "| alpha | 1.0 | `alpha` | loads | without `alpha._c` |\n" in page
    assert "| beta | 2.0 | `beta.core` | refuses | alpha → `gamma._c` |\n" in page
    assert "| beta | 2.0 | `beta.more` | fails | OSError: a\\|b …/x.so &lt;z> |\n" in page
    assert "limits of time and size: gamma." in words
    assert "Not examined yet: the other 1 on the list." in words


def test_a_page_of_nothing_says_so() -> None:
    page = compatibility.page({}, PACKAGES)
    assert "Of their modules: none yet." in " ".join(page.split())
    assert "| package |" not in page


def test_what_was_found_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "kept.json"
    results = {"alpha": Result("alpha", "1.0", "2026-01-02", [finding("alpha", "loads")])}
    compatibility._write(path, results)
    assert compatibility._read(path) == results
    assert asdict(results["alpha"])["version"] == "1.0"
    monkeypatch.setattr("sys.version", "another build")
    assert compatibility._read(path) == {}
    assert compatibility._read(tmp_path / "none") == {}


def test_a_program_is_bounded_and_hears_nothing() -> None:
    assert compatibility._run(["sh", "-c", "cat; echo done"]) == "done\n"
    assert compatibility._run(["sh", "-c", "exit 3"]) is None
    assert compatibility._run(["sh", "-c", "exec sleep 1000"], limit=0.01) is None
    blocks = compatibility._run(["sh", "-c", "ulimit -f"])
    assert blocks is not None
    assert int(blocks) == 2048 * compatibility.FILE_MIB


@pytest.mark.parametrize("place", ["://", "/home/", "/usr/", "/root/", tempfile.gettempdir()])
def test_the_page_that_is_there_is_free_of_this_machine(place: str) -> None:
    assert place not in compatibility.PAGE.read_text()
