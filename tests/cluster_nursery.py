"""A process that has imported Dask, and forks those of clusters: each would take a second for that.

A line of JSON asks for one thing, and a line answers: what program is to be started, with which
arguments, and its identifier; or which one is to be ended, and that it is gone. When nobody asks
any more, all are ended.
"""

import importlib
import json
import os
import signal
import sys

PROGRAMS = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker")


started: set[int] = set()


def start(name: str, arguments: list[str]) -> int:
    """Fork a process that runs a program."""
    if pid := os.fork():
        started.add(pid)
        return pid
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        sys.argv = [name, *arguments]
        sys.modules[name].main()
    finally:
        os._exit(1)  # nothing of this program's own is its business


def end(pid: int) -> int:
    """End a process that was started, and return when it is gone."""
    os.kill(pid, signal.SIGKILL)  # it waits for us, even if it has ended
    os.waitpid(pid, 0)
    started.discard(pid)
    return pid


def main() -> None:
    for name in PROGRAMS:
        importlib.import_module(name)
    importlib.import_module("interpool.cluster._site")  # what a worker's plugin takes
    for line in sys.stdin:
        act, *what = json.loads(line)
        print(start(*what) if act == "start" else end(*what), flush=True)
    for pid in [*started]:
        end(pid)


if __name__ == "__main__":
    main()
