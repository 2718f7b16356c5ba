"""What `doctor` has found to refuse is known to pools: from the first task on, while it holds."""

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import extensions
from interpool import (
    FallbackWarning,
    IncompatibleExtensionError,
    InterpreterPoolExecutor,
    _refusals,
    _routing,
    doctor,
)
from interpool._refusals import Refusal
from support import PATIENCE, add, run_program

needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    _routing.forget(has_read=False)
    yield
    _routing.forget()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a distribution in it, as installers leave it, whose extension refuses."""
    extensions.build(tmp_path)
    info = tmp_path / "refuser-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Refuser\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("refuser\next_refuses\n")
    (info / "RECORD").write_text(
        "refuser.py,,\next_refuses.so,,\nrefuser-1.0.dist-info/METADATA,,\n"
        "refuser-1.0.dist-info/RECORD,,\n"
    )
    (tmp_path / "refuser.py").write_text("import ext_refuses\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def use() -> int:
    import os

    import refuser  # type: ignore[import-not-found]  # noqa: F401

    return os.getpid()


def runs_at_once_in_a_process() -> bool:
    """Whether the task of a new pool does; else it is refused first."""
    _routing.forget(has_read=False)
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(use).result(PATIENCE) != os.getpid()
        return not pool.statistics().tasks.diverted


def test_what_was_found_is_known(installed: Path) -> None:
    assert doctor("refuser")["refuser"].extension == "ext_refuses"
    assert runs_at_once_in_a_process()
    assert _routing.refusing == {"refuser": "ext_refuses"}


def test_what_is_known_is_an_error_if_one_wants_it(installed: Path) -> None:
    doctor("refuser")
    with InterpreterPoolExecutor(1, fallback="error") as pool:
        with pytest.raises(IncompatibleExtensionError):
            pool.submit(use).result(PATIENCE)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3


def _upgrade(folder: Path) -> None:
    (folder / "refuser-1.0.dist-info").rename(folder / "refuser-1.1.dist-info")


def _install_what_was_missing(folder: Path) -> None:
    (folder / "something_wanted.py").touch()


def _shadow(folder: Path) -> None:
    (folder / "first").mkdir()
    (folder / "refuser.py").rename(folder / "first" / "refuser.py")
    sys.path.insert(0, str(folder / "first"))


@pytest.mark.parametrize("change", [_upgrade, _install_what_was_missing, _shadow])
def test_what_does_not_hold_any_more_is_not_known(
    change: Callable[[Path], None], installed: Path
) -> None:
    source = (
        "try:\n    import something_wanted\nexcept ImportError:\n    pass\nimport ext_refuses\n"
    )
    (installed / "refuser.py").write_text(source)
    doctor("refuser")
    assert runs_at_once_in_a_process()
    change(installed)
    sys.path_importer_cache.clear()
    with pytest.warns(FallbackWarning):
        assert not runs_at_once_in_a_process()


def test_what_loads_now_is_written_over(installed: Path, own_cache: Path) -> None:
    doctor("refuser")
    path = own_cache / "interpool" / _refusals.file_name()
    assert path.read_text().startswith("ext_refuses\trefuser ext_refuses\t")
    (installed / "refuser.py").write_text("")
    _upgrade(installed)
    record = installed / "refuser-1.1.dist-info" / "METADATA"
    record.write_text(record.read_text().replace("1.0", "1.1"))
    sys.path_importer_cache.clear()
    assert doctor("refuser").all_load
    _routing.forget(has_read=False)
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(use).result(PATIENCE) == os.getpid()


def test_nothing_is_read_before_there_is_a_task_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = _refusals.read

    def count() -> dict[str, list[Refusal]]:
        reads.append(1)
        return read()

    monkeypatch.setattr(_refusals, "read", count)
    with InterpreterPoolExecutor(1) as pool:
        pool.prewarm()
        pool.options(lane="interpreter").submit(add, 1, 2).result(PATIENCE)
        assert not reads
        assert [pool.submit(add, n, 0).result(PATIENCE) for n in range(3)] == [0, 1, 2]
        assert list(pool.map(abs, range(3))) == [0, 1, 2]
    assert len(reads) == 1


def test_whether_it_holds_is_asked_once(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor("refuser")
    asked: list[Refusal] = []
    holds = Refusal.holds

    def ask(refusal: Refusal) -> bool:
        asked.append(refusal)
        return holds(refusal)

    monkeypatch.setattr(Refusal, "holds", ask)
    _upgrade(installed)
    sys.path_importer_cache.clear()
    with InterpreterPoolExecutor(1) as pool:
        for _ in range(3):
            assert pool.submit(lambda: pow(2, 3)).result(PATIENCE) == 8
        assert not asked  # of what nobody names
        futures = [pool.submit(use) for _ in range(3)]
        with pytest.warns(FallbackWarning):
            [future.result(PATIENCE) for future in futures]
    assert len(asked) == 1


@needs_numpy
def test_a_program_of_its_own_knows_it_and_loads_nothing_for_that(own_cache: Path) -> None:
    assert doctor("numpy")["numpy"].verdict == "refuses"
    done = run_program(
        "import sys\n"
        "from interpool import InterpreterPoolExecutor\n"
        "def average(values):\n"
        "    import numpy\n"
        "    return float(numpy.mean(values))\n"
        "with InterpreterPoolExecutor() as pool:\n"
        "    print(pool.submit(average, [10, 20, 15]).result())\n"
        "    print(pool.statistics().tasks.diverted, dict(pool.statistics().lanes))\n"
        "outside = {'interpool._doctor', 'json', 'hashlib', 'importlib.metadata', 'numpy'}\n"
        "print(sorted(outside & {*sys.modules}))\n"
    )
    lanes = {"interpreter": 0, "process": 1, "thread": 0}
    assert (done.stdout, done.stderr) == (f"15.0\n0 {lanes}\n[]\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "\t\t\t",
        "one",
        "one\ttwo",
        "a b\tc\t\t",
        "ext_refuses\trefuser\todd\t",
        "\0",
        b"\xff\xfe",
    ],
)
def test_a_file_that_makes_no_sense_is_as_good_as_none(text: Any, own_cache: Path) -> None:
    path = own_cache / "interpool" / _refusals.file_name()
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert _refusals.read() == {}
    path.unlink()
    path.mkdir()
    assert _refusals.read() == {}


def test_lines_come_back_as_they_were() -> None:
    refusal = Refusal("a._c", ("a", "a.b"), (("a", "A-1.dist-info"), ("b", "b-2")), ("c", "d"))
    line = refusal.as_line()
    assert line is not None
    assert Refusal.from_line(line) == refusal
    assert refusal.names == ["a", "a.b", "a._c"]
    assert Refusal("a b", ("a",), ()).as_line() is None
    assert Refusal("_c", ("json", "__main__"), (), ()).names == ["_c"]


def test_there_may_be_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert _refusals.folder() is None
    assert _refusals.read() == {}
    assert doctor("json").all_load


def test_modules_are_found_as_an_import_finds_them(tmp_path: Path) -> None:
    def fail(_: str) -> Any:
        raise RuntimeError

    assert Refusal("x", (), (("sys", "nothing"),)).holds() is False
    assert Refusal("x", (), (), ("sys",)).holds() is False
    assert Refusal("x", (), (("no_such_module", "nothing"),)).holds() is False
    hooks = sys.path_hooks[:]
    sys.path_hooks.insert(0, fail)
    sys.path.insert(0, str(tmp_path / "hooked"))
    try:
        assert Refusal("x", (), (), ("no_such_module",)).holds()
    finally:
        sys.path_hooks[:] = hooks
        sys.path.pop(0)
