"""The command line: `interpool`, or `python -m interpool`.

Without the `cli` extra it knows its version and says what to install.

Exit codes: 0, done; 1, done, but something that was asked for failed; 2, not begun: the command was
not understood, or an extra is missing; 130, interrupted by Ctrl-C; 141, whoever read the output of
`map` has gone; 143, ended by SIGTERM.
"""

import platform
import sys
from importlib.util import find_spec

import interpool


def version() -> str:
    """Return what `interpool --version` says."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"interpool {interpool.__version__} ({python})"


def main() -> None:
    """Run the command line with this process's arguments, and exit."""
    # Asked beforehand: a ModuleNotFoundError later on may be that of a user's own module.
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing and sys.argv[1:] == ["--version"]:
        print(version())
        return
    if missing:
        needed = " and ".join(missing)
        print(
            f"interpool: the command line needs {needed}: pip install 'interpool[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from interpool._cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
