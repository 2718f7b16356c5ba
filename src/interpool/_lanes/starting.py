"""How a worker process is started: its program, and what each side has of the other."""

import contextlib
import marshal
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from interpool import _inside
from interpool._inside import process
from interpool._worker import later_inside, modules_inside

# Runs in a new process; what follows is in its arguments.
_BOOT: Final = """\
import marshal, os, sys
sys.path[:] = filter(None, sys.path)  # "", by which what lies about here would be found first
sock, results, board, relay, size = map(int, sys.argv[1:])
data = b""
while len(data) < size:
    data += os.read(sock, size - len(data)) or sys.exit()
modules, later = marshal.loads(data)
for name, file, code in marshal.loads(modules):
    module = type(sys)(name)
    module.__file__ = file
    del module.__spec__, module.__loader__
    sys.modules[name] = module
    exec(marshal.loads(code), module.__dict__)
sys.modules["_interpool_values"].later = later
run, arguments = module.run, (sock, results, board, relay)
del marshal, os, sys, sock, results, board, relay, size, data, modules, later, name, file, code
del module
run(*arguments)
"""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that has been started, and what is open of it here.

    Attributes:
        popen: the process.
        sock: by which tasks go there.
        switchboard: by which it asks for connections (`lines`).
        frames: the pipe by which it answers.
        board: what both know of each other at any time.
    """

    popen: subprocess.Popen[bytes]
    sock: socket.socket
    switchboard: socket.socket
    frames: int
    board: process.Board


def modules() -> bytes:
    """What is to be sent to a process first, as it is."""
    return marshal.dumps((modules_inside(_inside.PROCESS_MODULES), later_inside()))


def start(size: int) -> Started:
    """Start a process, which waits for `modules`, of that size.

    Raises:
        OSError: if the system gives none, or no descriptors. Nothing is left open then.
    """
    # What goes to the process is closed here as soon as it has it, or cannot be started; what is
    # kept, if it cannot.
    with contextlib.ExitStack() as passed, contextlib.ExitStack() as kept:
        ours, theirs = socket.socketpair()
        kept.enter_context(ours)
        passed.enter_context(theirs)
        switchboard, calls = socket.socketpair()
        kept.enter_context(switchboard)
        passed.enter_context(calls)
        frames, results = os.pipe()
        kept.callback(os.close, frames)
        passed.callback(os.close, results)
        memory = process.new_board()
        passed.callback(os.close, memory)
        board = process.board_of(memory)
        inherited = theirs.fileno(), results, memory, calls.fileno()
        arguments = [sys.executable, *_flags(), "-c", _BOOT]
        arguments += map(str, (*inherited, size))
        started = subprocess.Popen(  # noqa: S603 - this Python, and our own program
            arguments,
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            # Ctrl-C is the main process's to understand: see `ProcessHost.strike`.
            start_new_session=True,
        )
        kept.pop_all()
    return Started(started, ours, switchboard, frames, board)


def _flags() -> list[str]:
    found: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return found
