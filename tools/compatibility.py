"""Which of the most downloaded packages load in an interpreter: writes docs/compatibility.md.

By hand, not in CI: it asks the registry for every package on the list that it has not examined, and
downloads it. Each is installed from wheels, with what it needs, into an environment that is thrown
away, and its modules are examined by `interpool.doctor` there. What was found is kept outside the
checkout as it goes, so that a run which is interrupted, or whose time is up, is taken up again.

Downloads are uv's, from where it is set up to download, and in its own cache.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from interpool._refusals import folder

ROOT: Final = Path(__file__).resolve().parents[1]
LIST: Final = ROOT / "tools" / "compatibility.txt"
PAGE: Final = ROOT / "docs" / "compatibility.md"

# Seconds for one package to be downloaded and installed, and for one of its modules: arbitrary.
INSTALL_SECONDS: Final = 120
IMPORT_SECONDS: Final = 60
# MiB that one file may have, downloaded or unpacked: wheels of several hundred are left out.
FILE_MIB: Final = 300
# Characters of an error that are shown.
MOST: Final = 120

_EXAMINE: Final = """
import importlib.metadata, json, sys
source, seconds, name, *modules = sys.argv[1:]
sys.path.append(source)
import interpool
diagnosis = interpool.doctor(modules, timeout=float(seconds), cache=False)
print(json.dumps(diagnosis.as_dict() | {"version": importlib.metadata.version(name)}))
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found of one package.

    Attributes:
        name: the distribution's.
        version: its version; empty if it could not be installed.
        date: on which day.
        findings: one a module, as `Finding.as_dict` has it.
    """

    name: str
    version: str
    date: str
    findings: list[dict[str, Any]]


def main() -> int:
    arguments = _arguments()
    packages = read_list(LIST.read_text())
    if unknown := {*arguments.only} - {*packages}:
        print(f"not on the list: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    kept = (
        Path(folder() or tempfile.gettempdir())
        / f"compatibility-{sysconfig.get_python_version()}.json"
    )
    results = _read(kept)
    if not arguments.render:
        _examine_all(packages, results, arguments, kept)
    PAGE.write_text(page(results, packages), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(results)} of {len(packages)} packages", file=sys.stderr)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this one")
    parser.add_argument("--again", action="store_true", help="what was examined before, too")
    parser.add_argument("--render", action="store_true", help="examine nothing: write the page")
    parser.add_argument("--minutes", type=float, default=90, help="begin none after that (90)")
    return parser.parse_args()


def read_list(text: str) -> dict[str, list[str]]:
    """Return the modules of each distribution on the list."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {name: modules or [name] for name, *modules in lines}


# --- Examining -----------------------------------------------------------------------------------


def _examine_all(
    packages: dict[str, list[str]],
    results: dict[str, Result],
    arguments: argparse.Namespace,
    kept: Path,
) -> None:
    uv = _uv()
    end = time.monotonic() + 60 * arguments.minutes
    wanted = arguments.only or [*packages]
    waiting = [name for name in wanted if arguments.again or name not in results]
    for number, name in enumerate(waiting, 1):
        if time.monotonic() > end:
            print(f"time is up: {len(waiting) - number + 1} are left", file=sys.stderr)
            return
        with tempfile.TemporaryDirectory(prefix="interpool-", ignore_cleanup_errors=True) as place:
            result = examine(uv, Path(place), name, packages[name])
        results[name] = result
        _write(kept, results)
        words = ", ".join(it["verdict"] for it in result.findings) or "not installed"
        print(f"{number:>4} of {len(waiting)}: {name} {result.version}: {words}", file=sys.stderr)


def _uv() -> str:
    own = ROOT / ".python" / "tools" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    if uv is None:
        sys.exit("uv is needed: tools/bootstrap brings it, or put it on PATH")
    return uv


def examine(uv: str, place: Path, name: str, modules: Sequence[str]) -> Result:
    """Install a package into a folder, and examine its modules there."""
    today = datetime.now(UTC).date().isoformat()
    python = place / "bin" / "python"
    made = _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)])
    install = [uv, "pip", "install", "--quiet", "--only-binary", ":all:"]
    if made is None or _run([*install, "--python", str(python), name]) is None:
        return Result(name, "", today, [])
    program = [str(python), "-c", _EXAMINE, str(ROOT / "src"), str(IMPORT_SECONDS), name, *modules]
    # Twice for each module that fails, and some for the rest.
    limit = 2 * IMPORT_SECONDS * len(modules) + INSTALL_SECONDS
    output = _run(program, limit=limit, cwd=place)
    if output is None:
        return Result(name, "", today, [])
    told = json.loads(output)
    return Result(name, told["version"], today, told["findings"])


def _run(
    command: Sequence[str], *, limit: float = INSTALL_SECONDS, cwd: Path | None = None
) -> str | None:
    """Return what a command prints; None if it fails, or is not done in time."""
    # In blocks of 512 bytes, as POSIX has it; sh, since nothing else sets it before uv begins.
    bounded = ["sh", "-c", f'ulimit -f {FILE_MIB * 2048}; exec "$@"', "sh", *command]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            bounded,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
            cwd=cwd,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(f"  {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}", file=sys.stderr)
        return None
    return done.stdout


# --- What was found before -----------------------------------------------------------------------


def _read(path: Path) -> dict[str, Result]:
    try:
        plain = json.loads(path.read_text())
    except OSError, ValueError:
        return {}
    if plain["python"] != sys.version:
        return {}  # of another build: begin anew
    return {name: Result(**it) for name, it in plain["results"].items()}


def _write(path: Path, results: dict[str, Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: asdict(result) for name, result in results.items()}
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps({"python": sys.version, "results": plain}, indent=1))
    beside.replace(path)


# --- The page ------------------------------------------------------------------------------------


def page(results: dict[str, Result], packages: dict[str, list[str]]) -> str:
    """Return the page, in Markdown."""
    known = [results[name] for name in sorted(packages) if name in results]
    examined = [result for result in known if result.findings]
    missing = [result.name for result in known if not result.findings]
    waiting = len(packages) - len(known)
    return "\n".join([*_head(known, packages), *_table(examined), *_rest(missing, waiting)]) + "\n"


def _head(known: Sequence[Result], packages: dict[str, list[str]]) -> Iterator[str]:
    dates = sorted({result.date for result in known})
    span = " to ".join(dict.fromkeys(dates[:1] + dates[-1:])) or "never"
    counts = Counter(it["verdict"] for result in known for it in result.findings)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    yield "# Which packages load in an interpreter"
    yield from _paragraph(
        f"Examined: {len(known)} of the {len(packages)} packages on "
        "[the list](../tools/compatibility.txt), the most downloaded of PyPI; "
        f"{span}, with "
        f"{platform.python_implementation()} {platform.python_version()} on {_platform()}, in the "
        f"newest versions that have wheels for it. Of their modules: {words or 'none yet'}."
    )
    yield from _paragraph(
        "Each was imported in an isolated interpreter, where the pool's tasks run, by "
        "[`interpool.doctor`](doctor.md), which tells the same of your own environment. A module "
        "that refuses has or imports an extension that does not declare itself fit for "
        "interpreters with a GIL of their own: tasks that need it belong in a process. That one "
        "loads says that it can be imported, and nothing of whether all of it works there."
    )
    yield from _paragraph(
        "Written by `make compatibility`, which goes on where it stopped: what has been examined "
        "is not downloaded again."
    )
    yield ""


def _paragraph(text: str) -> Iterator[str]:
    yield ""
    yield textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def _table(examined: Sequence[Result]) -> Iterator[str]:
    if not examined:
        return
    yield "| package | version | module | verdict | why |"
    yield "|---|---|---|---|---|"
    for result in examined:
        for it in result.findings:
            cells = (result.name, result.version, f"`{it['module']}`", it["verdict"], _why(it))
            yield f"| {' | '.join(cells)} |"


def _why(finding: dict[str, Any]) -> str:
    match finding:
        case {"verdict": "refuses", "extension": extension}:
            # By way of which other package, if of one.
            own, extern = finding["module"].partition(".")[0], extension.partition(".")[0]
            via = "" if own == extern else _via(finding, own, extern)
            return f"{via}`{extension}`"
        case {"verdict": "loads", "without": names}:
            return f"without {', '.join(f'`{name}`' for name in names)}"
        case {"verdict": "loads"}:
            return ""
    # Paths are of the machine on which it was examined.
    reason = re.sub(r"/\S+/", "…/", finding.get("reason", ""))
    reason = reason if len(reason) <= MOST else f"{reason[:MOST]}…"
    only = "; loads in a process" if finding.get("loads_in_process") else ""
    return reason.replace("|", "\\|").replace("<", "&lt;") + only


def _via(finding: dict[str, Any], own: str, last: str) -> str:
    tops = dict.fromkeys(name.partition(".")[0] for name in finding.get("chain", ()))
    return "".join(f"{top} → " for top in tops if top not in {own, last})


def _rest(missing: Sequence[str], waiting: int) -> Iterator[str]:
    if missing:
        yield from _paragraph(
            "Not to be installed from wheels within the limits of time and size: "
            f"{', '.join(missing)}."
        )
    if waiting:
        yield from _paragraph(f"Not examined yet: the other {waiting} on the list.")


if __name__ == "__main__":
    sys.exit(main())
