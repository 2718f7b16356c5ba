"""The demo's input: the source of the running Python's own standard library."""

import sysconfig
from pathlib import Path

# Other people's code, the library's own tests (on some machines only), and byte code.
_SKIPPED = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "idle_test",
        "lib2to3",
        "site-packages",
        "test",
        "tests",
    }
)


def library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(folder: Path) -> list[Path]:
    """Every module's file below a folder.

    The largest come first: when only small ones are left, no worker waits long for another.
    """
    files = [
        path
        for path in folder.rglob("*.py")
        if _SKIPPED.isdisjoint(path.relative_to(folder).parts) and path.is_file()
    ]
    return sorted(files, key=lambda path: (-path.stat().st_size, path))


def module_name(path: Path, folder: Path) -> str:
    """A file's name as an import would say it."""
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
