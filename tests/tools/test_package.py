"""What is published: an sdist with nothing but the package, and the wheel that comes of it."""

import json
import tarfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import hatchling.build
import pytest
from packaging.requirements import Requirement

import interpool

ROOT = Path(__file__).resolve().parents[2]
NAME = f"interpool-{interpool.__version__}"
FILES = {".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO", "pyproject.toml"}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Path]:
    """What makes an sdist or a wheel of a source tree, as installers ask for it."""

    def built(root: Path, kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            make: Callable[[str], str] = getattr(hatchling.build, f"build_{kind}")
            return folder / make(str(folder))

    return built


@pytest.fixture(scope="module")
def sdist(
    build: Callable[[Path, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[str], Path]:
    """What is in an sdist, and where it was unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build(ROOT, "sdist")) as archive:
        names = set(archive.getnames())
        archive.extractall(folder, filter="data")
    return names, folder / NAME


@pytest.fixture(scope="module")
def wheel(build: Callable[[Path, str], Path]) -> dict[str, bytes]:
    """What is in a wheel, by name."""
    return contents(build(ROOT, "wheel"))


def contents(wheel: Path) -> dict[str, bytes]:
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def modules() -> set[str]:
    """The files of the package, by their paths from `src`."""
    source = ROOT / "src"
    paths = (path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(source).as_posix() for path in paths}


def test_an_sdist_has_the_package_and_what_it_is_told_by(sdist: tuple[set[str], Path]) -> None:
    wanted = {f"src/{name}" for name in modules()} | FILES
    assert sdist[0] == {f"{NAME}/{name}" for name in wanted}


def test_a_wheel_has_the_package_and_nothing_else(wheel: dict[str, bytes]) -> None:
    described = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert set(wheel) == modules() | {f"{NAME}.dist-info/{name}" for name in described}
    assert "interpool/py.typed" in wheel
    assert b"interpool = interpool.__main__:main" in wheel[f"{NAME}.dist-info/entry_points.txt"]


def test_an_sdist_gives_the_same_wheel(
    sdist: tuple[set[str], Path],
    wheel: dict[str, bytes],
    build: Callable[[Path, str], Path],
) -> None:
    assert contents(build(sdist[1], "wheel")) == wheel


def test_what_is_installed_is_what_is_tested() -> None:
    found = distribution("interpool")
    assert found.version == interpool.__version__
    assert interpool.__file__ is not None
    home = Path(interpool.__file__).resolve()
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        assert home == ROOT / "src/interpool/__init__.py"
    else:  # a wheel: `make test WHEEL=1`
        assert home == Path(str(found.locate_file("interpool/__init__.py"))).resolve()
        assert ROOT / "src" not in home.parents


def test_one_extra_brings_all_others() -> None:
    found = distribution("interpool")
    extras = set(found.metadata.get_all("Provides-Extra") or [])
    assert {"all", "cli", "cluster", "joblib", "plot", "report"} <= extras
    needed = [Requirement(text) for text in found.requires or []]

    def brought(extra: str) -> set[str]:
        return {
            it.name
            for it in needed
            if it.marker is not None and it.marker.evaluate({"extra": extra})
        }

    assert brought("all") == set().union(*(brought(it) for it in extras - {"all"}))
    assert all(it.marker is not None for it in needed)  # the core itself needs nothing
