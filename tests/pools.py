"""How much of a pool stays in memory when it is gone, beside bare interpreters made and ended.

Each kind in a process of its own: 1,000 times a bare interpreter; a pool of one worker that does
one task; one whose tasks log, fail and time out, so that the worker has imported all that it ever
imports by itself. Run it by hand:

    python tests/pools.py --times 1000
"""

import _interpreters
import argparse
import ctypes
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import chaos_tasks as tasks
from interpool import InterpreterPoolExecutor
from interpool._spares import SPARES
from memory import resident_mib

# Of so many, one more comes first and is not counted: imports, arenas, threads' stacks.
_WARM_UP: Final = 3


def bare() -> None:
    """Make an interpreter, and end it."""
    _interpreters.destroy(_interpreters.create("isolated", reqrefs=False))


def pool() -> None:
    """Make a pool, have one task done, and close it."""
    with InterpreterPoolExecutor(1) as made:
        made.submit(tasks.echo, 1).result()


def busy_pool() -> None:
    """Make a pool, have a worker use all that it can, and close it."""
    with InterpreterPoolExecutor(1) as made:
        made.submit(tasks.log, 1).result()
        made.submit(tasks.fail, 1).exception()
        made.options(timeout=0.001).submit(tasks.spin_on).exception()


KINDS: Final[dict[str, Callable[[], None]]] = {
    "bare interpreter": bare,
    "pool": pool,
    "busy pool": busy_pool,
}


def left_of_each(kind: str, times: int) -> float:
    """Return the KB that one leaves, measured in this process."""
    make = KINDS[kind]
    ctypes.CDLL(None)  # what its first import opens stays open
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")

    def size() -> float:
        SPARES.clear()
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join()
        return resident_mib() * 1024

    for _ in range(times // _WARM_UP):
        make()
    before = size()
    for _ in range(times):
        make()
    return (size() - before) / times


def measure(kind: str, times: int, timeout: float | None = None) -> float:
    """Return the KB that one leaves, measured in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--kind", kind, "--times", str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr}")
    found: float = json.loads(done.stdout)
    return found


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=1_000, help="how many; default: 1000")
    parser.add_argument("--kind", choices=KINDS, help="only these, in this process")
    args = parser.parse_args()
    if args.kind:
        print(json.dumps(left_of_each(args.kind, args.times)))
        return
    for kind in KINDS:
        print(f"{kind:20} {measure(kind, args.times):8.1f} KB each", flush=True)


if __name__ == "__main__":
    main()
