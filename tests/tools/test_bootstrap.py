"""tools/bootstrap, run in a checkout of its own: no network, no Python but this one.

The checkout has the real script, a PATH with the system's basic commands, and a stand-in for uv
that makes an environment out of the running Python.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINOR = f"3.{sys.version_info.minor}"
BASICS = """
awk bash cat chmod cp cut dirname env find flock grep head ln mkdir mktemp mv readlink rm rmdir
sed sha256sum shasum sleep sort tail timeout tr
"""

FAKE_UV = """\
#!{bash}
echo "$@" >>{log}
case $1 in
--version) echo "uv 99.0.0" ;;
venv)
    venv=${{!#}}
    mkdir -p "$venv/bin"
    printf '#!{bash}\\nexec {python} "$@"\\n' >"$venv/bin/python"
    chmod +x "$venv/bin/python"
    ;;
build)
    out=.
    while (($# > 1)); do
        [[ $1 != --out-dir ]] || out=$2
        shift
    done
    : >"$out/interpool-1-py3-none-any.whl"
    ;;
pip) [[ -z ${{FAKE_PIP:-}} ]] || eval "$FAKE_PIP" ;;
python) echo "error: no network in tests" >&2 && exit 1 ;;
esac
"""


class Checkout:
    """A directory with tools/bootstrap in it, and what it may find on PATH."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        self.uv_log = path / "uv.log"
        bash = shutil.which("bash")
        assert bash is not None
        (root / "tools").mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "bootstrap", root / "tools")
        (root / "pyproject.toml").write_text("[project]\n")
        (root / "constraints.txt").write_text("")
        path.mkdir()
        for name in BASICS.split():
            if found := shutil.which(name):
                (path / name).symlink_to(found)
        self.command(
            "uv",
            FAKE_UV.format(
                bash=bash,
                log=shlex.quote(str(self.uv_log)),
                # Quoted twice: it goes through the stand-in's own printf.
                python=shlex.quote(sys.executable).replace("'", "'\\''"),
            ),
        )

    def command(self, name: str, text: str) -> None:
        """Puts a command on PATH."""
        file = self.path / name
        file.write_text(text)
        file.chmod(0o755)

    def python(self, name: str = f"python{MINOR}") -> None:
        """Puts the running Python on PATH."""
        self.command(name, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": str(self.path),
            "HOME": str(self.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "INTERPOOL_BOOTSTRAP_SKIP": "uv,debian",
            **more,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "tools" / "bootstrap", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=self.environment(**environment),
        )

    def function(self, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a piece of bash that knows the script's functions."""
        return subprocess.run(
            ["bash", "-c", f"source {shlex.quote(str(self.root / 'tools/bootstrap'))}; {script}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def stamp(self) -> Path:
        return self.root / ".venv" / MINOR / ".interpool-stamp"

    def uv_calls(self, subcommand: str) -> int:
        lines = self.uv_log.read_text().splitlines()
        return sum(line.startswith(f"{subcommand} ") for line in lines)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a checkout", tmp_path / "path")


def test_help_names_the_sources(checkout: Checkout) -> None:
    done = checkout.run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: tools/bootstrap")
    for word in ("--python", "path", "uv", "debian", "INTERPOOL_BOOTSTRAP_SKIP"):
        assert word in done.stdout
    assert not (checkout.root / ".python").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pyhton", "3.14"], "unknown argument: --pyhton"),
        (["3.14"], "unknown argument: 3.14"),
        (["--python"], "not ''"),
        (["--python", "3.13"], "3.14 or newer"),
        (["--python", "4"], "not '4'"),
        (["--python=3.014"], "not '3.014'"),
        (["--python", "3.13-dbg"], "3.14 or newer"),
        (["--python", "3.14-debug"], "not '3.14-debug'"),
    ],
)
def test_a_wrong_argument_is_said_and_nothing_is_made(
    checkout: Checkout, arguments: list[str], said: str
) -> None:
    done = checkout.run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (checkout.root / ".python").exists()


def test_python_from_path_and_a_second_run_does_nothing(checkout: Checkout) -> None:
    checkout.python()
    first = checkout.run()
    assert first.returncode == 0, first.stderr
    assert "found on PATH" in first.stdout
    assert (checkout.root / ".venv" / "default").readlink() == Path(MINOR)

    stamp = checkout.stamp.stat()  # written once; read at every run, which its atime shows
    calls = checkout.uv_log.read_text()
    second = checkout.run()
    assert second.returncode == 0, second.stderr
    assert second.stdout == f"bootstrap: ready: .venv/{MINOR}, nothing to do\n"
    assert checkout.stamp.stat().st_mtime_ns == stamp.st_mtime_ns
    assert checkout.stamp.stat().st_ino == stamp.st_ino
    assert checkout.uv_log.read_text() == calls


def test_the_package_is_compiled_at_every_run(checkout: Checkout) -> None:
    """Also when the environment is whole, and where PYTHONDONTWRITEBYTECODE is set."""
    checkout.python()
    checkout.run()
    package = checkout.root / "src" / "interpool"
    package.mkdir(parents=True)
    (package / "new.py").write_text("x = 1\n")
    (package / "broken.py").write_text("x = (\n")
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    assert [file.name.split(".")[0] for file in (package / "__pycache__").iterdir()] == ["new"]


@pytest.mark.parametrize(
    "fake",
    [
        "#!/bin/sh\necho 'pyenv: command not found' >&2; exit 127\n",
        "#!/bin/sh\necho 3.7 final - /usr/bin/python3.7\n",
        "#!/nonexistent/python\n",
    ],
    ids=["failing", "old", "dangling"],
)
def test_a_python_on_path_that_does_not_serve_is_passed_over(checkout: Checkout, fake: str) -> None:
    checkout.command(f"python{MINOR}", fake)
    done = checkout.run("--python", MINOR)
    assert done.returncode == 1
    assert f"no Python {MINOR} could be had" in done.stderr

    checkout.python("python3")
    done = checkout.run("--python", MINOR)
    assert done.returncode == 0, done.stderr


def test_a_debug_build_is_never_taken_for_a_release_nor_the_other_way_round(
    checkout: Checkout,
) -> None:
    if hasattr(sys, "gettotalrefcount"):
        pytest.skip("this is a debug build")
    for name in ("python3", f"python{MINOR}", f"python{MINOR}-dbg"):
        checkout.python(name)
    done = checkout.run("--python", f"{MINOR}-dbg", INTERPOOL_BOOTSTRAP_SKIP="debian")
    assert done.returncode == 1
    assert f"no Python {MINOR}-dbg could be had" in done.stderr
    assert "uv: debug builds are not taken from there" in done.stderr

    release = shlex.quote(str(checkout.path / f"python{MINOR}"))
    debug = f'#!/bin/sh\n{release} "$@" | sed "s/^{MINOR} /{MINOR}-dbg /"\n'
    checkout.command(f"python{MINOR}-dbg", debug)  # what a probe of one would say
    done = checkout.function(
        f"PATH={shlex.quote(str(checkout.path))}; MINOR={MINOR}-dbg; "
        f"usable {shlex.quote(str(checkout.path / f'python{MINOR}-dbg'))}"
    )
    assert done.returncode == 0, done.stderr
    done = checkout.function(
        f'PATH={shlex.quote(str(checkout.path))}; python_from_path; printf "%s\\n" "$MINOR"'
    )
    assert done.stdout.splitlines()[-1] == MINOR


def test_what_was_tried_is_said(checkout: Checkout) -> None:
    done = checkout.run("--python", "3.99", INTERPOOL_BOOTSTRAP_SKIP="debian")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "bootstrap: no Python 3.99 could be had. What was tried:"
    assert lines[1].startswith("  path: ")
    assert lines[2] == "  uv: no network in tests"
    assert lines[3] == "  debian: skipped"
    assert "install Python 3.99" in lines[4]


def test_a_half_made_tree_is_not_taken_for_a_whole_one(checkout: Checkout) -> None:
    """Neither one without its mark, nor one that was made for another place."""
    tree = checkout.root / ".python" / f"debian-{MINOR}"
    (tree / "usr" / "bin").mkdir(parents=True)
    program = tree / "usr" / "bin" / f"python{MINOR}"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    program.chmod(0o755)
    for mark in (None, "1 /elsewhere/.python/debian", ""):
        if mark is not None:
            (tree / ".whole").write_text(mark)
        done = checkout.function(f"MINOR={MINOR}; tree_is_whole")
        assert done.returncode == 1, mark
    (tree / ".whole").write_text(f"1 {tree.resolve()}\n")
    assert checkout.function(f"MINOR={MINOR}; tree_is_whole").returncode == 0
    program.unlink()
    assert checkout.function(f"MINOR={MINOR}; tree_is_whole").returncode == 1


def test_an_environment_without_its_stamp_is_made_anew(checkout: Checkout) -> None:
    checkout.python()
    failed = checkout.run(FAKE_PIP="exit 1")
    assert failed.returncode == 1
    assert "could not be made" in failed.stderr
    assert not checkout.stamp.exists()
    left = checkout.stamp.parent / "left over"
    left.touch()
    assert checkout.run().returncode == 0
    assert checkout.stamp.exists()
    assert not left.exists()


def test_a_changed_constraint_brings_the_environment_up_to_date(checkout: Checkout) -> None:
    checkout.python()
    checkout.run()
    (checkout.root / "constraints.txt").write_text("rich==1\n")
    done = checkout.run()
    assert "updating" in done.stdout
    assert (checkout.uv_calls("venv"), checkout.uv_calls("pip")) == (1, 2)
    assert "nothing to do" in checkout.run().stdout


def test_a_wheel_has_an_environment_of_its_own_and_is_built_anew_after_a_change(
    checkout: Checkout,
) -> None:
    checkout.python()
    module = checkout.root / "src/interpool/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('__version__ = "1"\n')
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        (checkout.root / name).touch()
    for text in ("", "", "# changed\n"):
        module.write_text(module.read_text() + text)
        done = checkout.run("--wheel")
        assert (done.returncode, done.stderr) == (0, "")
    assert checkout.uv_calls("build") == 2
    installed = [line for line in checkout.uv_log.read_text().splitlines() if "pip" in line]
    assert all(line.endswith("/interpool-1-py3-none-any.whl") for line in installed)
    assert (checkout.root / ".venv/default-wheel").readlink() == Path(f"{MINOR}-wheel")
    assert not checkout.stamp.exists()


def test_what_a_killed_run_left_is_cleared_up(checkout: Checkout, tmp_path: Path) -> None:
    """Killed in the middle of making the environment; what it started lives a little longer."""
    checkout.python()
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    with subprocess.Popen(
        [checkout.root / "tools" / "bootstrap"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=checkout.environment(FAKE_PIP='echo >"$READY"; exec sleep 0.3', READY=str(ready)),
    ) as running:
        ready.read_text()
        running.kill()
    assert not checkout.stamp.exists()
    left = checkout.root / ".python" / "tmp.debian-3.14.abc" / "root"
    left.mkdir(parents=True)
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    assert checkout.stamp.exists()
    assert not list((checkout.root / ".python").glob("tmp.*"))


def test_debian_archives_are_read_from_the_machines_sources(
    checkout: Checkout, tmp_path: Path
) -> None:
    """Both formats; options, keys in the file, other vendors' archives and what is switched off."""
    parts = tmp_path / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (tmp_path / "apt" / "sources.list").write_text(
        "# deb http://commented.example/debian stable main\n"
        "deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://one.example/debian stable main\n"
        "deb http://security.example/debian-security stable-security main\n"
        "deb cdrom:[Debian]/ stable main\n"
        "deb-src http://source.example/debian stable main\n"
    )
    (parts / "vendor.list").write_text("deb http://vendor.example/apt stable main\n")
    (parts / "debian.sources").write_text(
        "Types: deb deb-src\nURIs: http://two.example/debian/\nSuites: stable stable-updates\n"
        "# a comment\nComponents: main contrib\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        "\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: x\nComponents: main\n"
    )
    done = checkout.function(f"debian_archives {shlex.quote(str(tmp_path / 'apt'))}")
    assert done.stdout.split("\n") == [
        "1\thttp://one.example/debian\t/k/a.gpg /k/b.gpg\t",
        "1\thttp://two.example/debian/\t\v -----BEGIN PGP PUBLIC KEY BLOCK-----\v .\v abc\t",
        "2\thttp://vendor.example/apt\t\t",
        "",
    ]


def test_no_file_names_a_registry() -> None:
    """The machine says where packages come from: pip's and apt's own settings."""
    hosts = [
        ".".join(words)
        for words in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("deb", "debian", "org"),
            ("registry", "npmjs"),
            ("snapshot", "debian"),
        ]
    ]
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    ).stdout
    named = [
        (name, host)
        for name in filter(None, listed.split("\0"))
        if (ROOT / name).is_file()
        for host in hosts
        if host.encode() in (ROOT / name).read_bytes()
    ]
    assert named == []
