"""tools/browser, run in a checkout of its own: no network, and no browser but stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASICS = """
awk bash cat chmod cp cut dirname env find flock grep head ln mkdir mktemp mv readlink rm rmdir
sed sort tail timeout tr
"""
SHOWS_A_PAGE = 'echo "<html><head><title>bbb</title></head></html>"'
# What the package would hold, written where it is to be unpacked.
UNPACK = """
folder=$3/usr/lib/chromium
case $2 in
*headless*) ;;
*) exit 0 ;;
esac
mkdir -p "$folder" "$3/usr/lib/x86_64-linux-gnu"
: >"$3/usr/lib/x86_64-linux-gnu/libfound.so.1"
printf '%s\\n' '#!/usr/bin/env bash' 'echo "<title>bbb</title>"' >"$folder/chromium-headless-shell"
chmod +x "$folder/chromium-headless-shell"
"""
FETCH = """
echo "$*" >>"$LOG"
for argument; do
    case $argument in
    Dir::Cache=*) cache=${argument#*=} ;;
    install) : >"$cache/archives/chromium-headless-shell.deb" ;;
    download) : >fonts-dejavu-core.deb ;;
    esac
done
"""


class Checkout:
    """A directory with the tools in it, and what they may find on PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root / "a checkout"
        self.path = root / "path"
        self.log = root / "log"
        (self.root / "tools").mkdir(parents=True)
        for name in ("bootstrap", "browser"):
            shutil.copy(ROOT / "tools" / name, self.root / "tools")
        self.path.mkdir()
        for name in BASICS.split():
            if found := shutil.which(name):
                (self.path / name).symlink_to(found)

    def command(self, name: str, text: str) -> Path:
        file = self.path / name
        file.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        file.chmod(0o755)
        return file

    def run(self, *arguments: str, skip: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "tools" / "browser", *arguments],
            env={
                "PATH": str(self.path),
                "HOME": str(self.root),
                "LOG": str(self.log),
                "INTERPOOL_BOOTSTRAP_SKIP": skip,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_browser_on_path_is_taken(checkout: Checkout) -> None:
    checkout.command("chromium", "exit 1")  # one that is there, and does not run
    chrome = checkout.command("google-chrome", SHOWS_A_PAGE)
    done = checkout.run()
    assert (done.stdout, done.stderr, done.returncode) == (f"{chrome}\n", "", 0)


def test_nothing_is_brought_where_it_is_only_asked_for(checkout: Checkout) -> None:
    checkout.command("apt-get", FETCH)
    checkout.command("dpkg-deb", UNPACK)
    done = checkout.run("--here")
    assert (done.stdout, done.returncode) == ("", 1)
    assert not checkout.log.exists()


def test_what_was_tried_is_told(checkout: Checkout) -> None:
    done = checkout.run()
    assert (done.stdout, done.returncode) == ("", 1)
    assert "  path: none of chromium" in done.stderr
    assert "  debian: this machine has no apt-get" in done.stderr
    assert "path: skipped" in checkout.run(skip="path,debian").stderr
    assert checkout.run("--somewhere").returncode == 2


@pytest.mark.skipif(not os.access("/var/lib/dpkg/status", os.R_OK), reason="not a Debian machine")
def test_one_is_brought_from_debian_and_found_again_where_it_is_moved_to(
    checkout: Checkout,
) -> None:
    checkout.command("apt-get", FETCH)
    checkout.command("dpkg-deb", UNPACK)
    done = checkout.run()
    program = checkout.root / ".python/browser/chromium"
    assert (done.stdout, done.returncode) == (f"{program}\n", 0), done.stderr
    # All that apt writes goes into the checkout, and the machine's list of packages is left alone.
    for line in checkout.log.read_text().splitlines():
        assert f"Dir::State={checkout.root}/.python/tmp." in line
        assert f"Dir::State::status={checkout.root}/.python/tmp." in line
    assert "/usr/lib/x86_64-linux-gnu" in program.read_text()
    assert list((checkout.root / ".python").glob("tmp.*")) == []
    moved = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.root = moved
    done = checkout.run("--here")
    assert (done.stdout, done.returncode) == (f"{moved}/.python/browser/chromium\n", 0)
