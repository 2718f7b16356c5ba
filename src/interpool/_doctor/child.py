"""The program of a process that probes one module; started by its path, it imports no interpool.

    python child.py WHERE NAME SECONDS [FOLDER ...]

WHERE is `interpreter` or `main`; the folders are to be `sys.path`. It tells on its standard output
what `inside` says, and then

    ("memory", nbytes)            by how much the process has grown
    ("ended",)                    the interpreter was destroyed, and nothing happened

What the module prints goes to standard error, whichever of the two it prints to.
"""

import os
import sys
from pathlib import Path

# Seconds after which this process ends by itself, beyond those that whoever started it waits: for
# when that one has been killed. Arbitrary.
_GRACE = 10


def _main() -> None:
    where, name, seconds, *path = sys.argv[1:]
    # Not inheritable: what the module starts does not keep the pipe open.
    told = os.dup(1)
    os.dup2(2, 1)
    _bound(float(seconds))
    source = Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
    call = f"probe({name!r}, {path!r}, {told})"
    if where == "main":
        text = compile(f"{source}\n{call}", "<probe>", "exec")
        exec(text, {"__name__": "probe"})  # noqa: S102 - our own
    else:
        _in_interpreter(source, call, told)
    os.write(told, b"('ended',)\n")
    os._exit(0)  # what happens at the end of the main interpreter is not asked


def _in_interpreter(source: str, call: str, told: int) -> None:
    import _interpreters

    interpreter = _interpreters.create("isolated", reqrefs=False)
    failure = _interpreters.exec(interpreter, source)
    before = _resident()
    failure = failure or _interpreters.exec(interpreter, call)
    after = _resident()
    if failure is not None:
        sys.exit(f"the probe itself failed: {failure.formatted}")
    if before is not None and after is not None:
        os.write(told, f"('memory', {max(after - before, 0)})\n".encode())
    _interpreters.destroy(interpreter)


def _bound(seconds: float) -> None:
    """See to it that nothing stays behind: no core file, and no process for ever."""
    try:
        import resource
        import signal
    except ImportError:  # Windows has no such module
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)


def _resident() -> int | None:
    """Return the process's resident memory, or its peak where that is all there is, in bytes."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


_main()
