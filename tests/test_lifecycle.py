"""From start to end: programs of every kind, exits with work pending, forks, workers that fail.

Every program here is run as a user would run it; what it prints and its exit code are looked at.
"""

import _interpreters
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interpool import BrokenInterpreterPool, InterpreterPoolExecutor
from support import PATIENCE, Gate, arrive_and_pass, identity, pass_through, run_program

SCRIPT = """
import math
from dataclasses import replace
from interpool import InterpreterPoolExecutor

print("the script runs")
OFFSET = 10

def helper(n):
    return math.floor(n) + OFFSET

def task(n):
    return helper(n + 0.5)

pool = InterpreterPoolExecutor(2)
print(list(pool.map(task, range(3))), pool.submit(lambda: OFFSET).result())
pool.shutdown()
"""
PRINTED = "the script runs\n[10, 11, 12] 10\n"


def test_a_script_that_is_not_guarded_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    done = run_program(script)
    assert (done.stdout, done.stderr, done.returncode) == (PRINTED, "", 0)


def test_a_program_of_dash_c() -> None:
    done = run_program(SCRIPT)
    assert (done.stdout, done.stderr, done.returncode) == (PRINTED, "", 0)


def test_a_program_of_standard_input() -> None:
    done = run_program(Path("-"), stdin=SCRIPT)
    assert (done.stdout, done.stderr, done.returncode) == (PRINTED, "", 0)


def test_the_prompt() -> None:
    lines = [
        "from interpool import InterpreterPoolExecutor",
        "pool = InterpreterPoolExecutor(1)",
        "def double(n): return n * 2",
        "",
        "print('double', pool.submit(double, 4).result())",
        "print('lambda', pool.submit(lambda n: double(n) + 1, 4).result())",
    ]
    done = run_program(Path("-i"), stdin="\n".join(lines) + "\n", PYTHON_BASIC_REPL="1")
    assert "double 8\n" in done.stdout
    assert "lambda 9\n" in done.stdout
    assert "Error" not in done.stderr
    assert done.returncode == 0


def test_a_module_run_with_dash_m_that_has_a_sibling(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sibling.py").write_text("def double(n):\n    return 2 * n\n")
    (package / "__main__.py").write_text(
        "from interpool import InterpreterPoolExecutor\n"
        "from package.sibling import double\n"
        "def task(n):\n    return double(n) + 1\n"
        "with InterpreterPoolExecutor(1) as pool:\n"
        "    print(pool.submit(double, 2).result(), pool.submit(task, 2).result())\n"
    )
    done = run_program(Path("-m"), "package", PYTHONPATH=str(tmp_path))
    assert (done.stdout, done.stderr, done.returncode) == ("4 5\n", "", 0)


def test_a_module_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(n):\n    return 2 * n\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import beside\nfrom interpool import InterpreterPoolExecutor\n"
        "with InterpreterPoolExecutor(1) as pool:\n"
        "    print(pool.submit(beside.double, 2).result())\n"
    )
    done = run_program(script)
    assert (done.stdout, done.stderr, done.returncode) == ("4\n", "", 0)


EXITS = {
    "the pool is forgotten": "",
    "the pool is deleted": "del pool",
    "shutdown does not wait": "pool.shutdown(wait=False)",
    "the program exits": "import sys; sys.exit(0)",
    "in a thread that ends": "import threading; threading.Thread(target=lambda: pool).start()",
}


@pytest.mark.parametrize("ending", EXITS.values(), ids=EXITS)
def test_work_that_is_pending_at_exit_is_done(ending: str) -> None:
    done = run_program(f"""
import os
from interpool import InterpreterPoolExecutor
def task(n):
    import os, time
    time.sleep(0.002)
    os.write(1, b"%d\\n" % n)
pool = InterpreterPoolExecutor(2)
for n in range(60):
    pool.submit(task, n)
{ending}
""")
    assert sorted(map(int, done.stdout.split())) == list(range(60))
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_program_ends_with_its_own_error_and_exit_code() -> None:
    done = run_program("""
import sys
from interpool import InterpreterPoolExecutor
pool = InterpreterPoolExecutor(1)
pool.submit(abs, -1).result()
sys.exit(7)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 7)


NESTED = """
import os, sys, warnings
from interpool import InterpreterPoolExecutor

def nest(depth, fd):
    import os
    from interpool import InterpreterPoolExecutor
    with InterpreterPoolExecutor(1) as own:
        if depth:
            own.submit(nest, depth - 1, fd).result()
        else:
            arrivals, entry = os.pipe()
            stuck = own.submit(stay, entry, fd)
            os.read(arrivals, 1)
            stuck.interrupt(grace=0)
            stuck.exception()

def stay(entry, fd):
    import functools, operator, os
    steps = functools.partial(os.write, entry, b"."), functools.partial(os.read, fd, 1)
    list(map(operator.call, steps))

never, release = os.pipe()
pool = InterpreterPoolExecutor(1)
"""
WAITED_FOR = "pool.submit(nest, {}, never).result()\n"


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("pool.shutdown()", 0),
        ("sys.exit(7)", 7),
        ("raise LookupError", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
    ],
)
def test_a_program_ends_whose_workers_own_pools_have_left_workers_behind(
    depth: int, ending: str, code: int
) -> None:
    done = run_program(NESTED + WAITED_FOR.format(depth) + ending)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize(("ending", "code"), [("", 0), ("raise LookupError", 1)])
def test_a_program_ends_though_its_workers_make_pools_later(ending: str, code: int) -> None:
    done = run_program(f"{NESTED}pool.submit(nest, 1, never)\n{ending}")
    assert done.returncode == code, done.stderr
    assert "so it was abandoned" in done.stderr


def test_an_exit_status_that_nobody_knows_is_waited_for() -> None:
    done = run_program(f"""{NESTED}
from interpool import _exit
def shown(message, *_):
    if "the program ends when" in str(message):
        print("it waits")
        os.write(release, b".")

warnings.showwarning = shown
entered, enter = os.pipe()

def nest_later(entered, fd):
    import os
    os.read(entered, 1)
    nest(0, fd)

pool.submit(nest_later, entered, never)
note_exit = _exit.note_exit
_exit.note_exit = lambda: (note_exit(), os.write(enter, b"."))
sys.exit(7)
""")
    assert (done.stdout, done.returncode) == ("it waits\n", 7), done.stderr


def test_ctrl_c_again_while_the_exit_waits_ends_the_program() -> None:
    done = run_program("""
import os
from interpool import InterpreterPoolExecutor
from interpool._engine import Engine
def stuck(entry, fd):
    import os
    os.write(entry, b".")
    os.read(fd, 1)
def interrupted(engine):
    raise KeyboardInterrupt
Engine.join = interrupted
pool = InterpreterPoolExecutor(1)
arrivals, entry = os.pipe()
never, _ = os.pipe()
pool.submit(stuck, entry, never)
os.read(arrivals, 1)
print("the end is near")
""")
    # Not by way of CPython's end of interpreters, which would wait for that task.
    assert done.stdout == "the end is near\n"
    assert "subinterpreters" not in done.stderr
    assert done.stderr.rstrip(": \n").endswith("KeyboardInterrupt")  # 3.15 has no colon
    assert done.returncode == -signal.SIGINT


def test_nothing_is_taken_when_the_interpreter_exits() -> None:
    done = run_program("""
import atexit
@atexit.register
def last():
    try:
        pool.submit(abs, -1)
    except RuntimeError as error:
        print(error)
from interpool import InterpreterPoolExecutor
pool = InterpreterPoolExecutor(1)
pool.submit(abs, -1).result()
""")
    assert done.stdout == "cannot schedule new futures after interpreter shutdown\n"
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_thread_that_outlives_main_may_use_its_pool_until_then() -> None:
    done = run_program("""
import threading
from interpool import InterpreterPoolExecutor
started = threading.Event()
def work():
    with InterpreterPoolExecutor(1) as pool:
        started.set()
        try:
            print(pool.submit(abs, -1).result())
        except RuntimeError as error:
            print("refused:", error)
threading.Thread(target=work).start()
started.wait()
""")
    # As with the pools of concurrent.futures, it depends on who is first; it never hangs.
    assert done.stdout in {
        "1\n",
        "refused: cannot schedule new futures after interpreter shutdown\n",
    }
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_that_the_pool_is_not_its_own() -> None:
    # Forked before the worker's interpreter exists: CPython's own child crashes where one does,
    # whichever pool it belongs to (PyOS_AfterFork_Child, on 3.14.8 and 3.15.0).
    done = run_program("""
import os, threading, warnings, _interpreters
from interpool import InterpreterPoolExecutor
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
may_create, create = threading.Event(), _interpreters.create
_interpreters.create = lambda *args, **kwargs: (may_create.wait(), create(*args, **kwargs))[1]
pool = InterpreterPoolExecutor(1)
future = pool.submit(abs, -3)
pid = os.fork()
may_create.set()
if pid == 0:
    try:
        pool.submit(abs, -1)
    except RuntimeError as error:
        print(error, flush=True)
    pool.shutdown()
    with InterpreterPoolExecutor(1) as own:
        print("own", own.submit(abs, -2).result(), flush=True)
    os._exit(0)
print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("parent", future.result())
""")
    assert done.stdout.splitlines() == [
        "cannot schedule new futures: this pool belongs to the parent process",
        "own 2",
        "child 0",
        "parent 3",
    ]
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_pool_that_is_held_by_a_cycle_goes_with_it() -> None:
    done = run_program("""
import gc, threading
from interpool import InterpreterPoolExecutor
class Service:
    def __init__(self):
        self.pool = InterpreterPoolExecutor(1)
        self.me = self
Service().pool.submit(abs, -1).result()
gc.collect()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(30)
print(threading.active_count())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


# --- Workers that fail to start ----------------------------------------------------------------


type Create = Callable[..., int]


def test_interpreters_that_cannot_be_created_break_the_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise MemoryError("no room for an interpreter")

    monkeypatch.setattr(_interpreters, "create", fail)
    with InterpreterPoolExecutor(2) as pool:
        future = pool.submit(identity, 1)
        with pytest.raises(BrokenInterpreterPool, match="could not be started: MemoryError: no"):
            future.result(PATIENCE)
        with pytest.raises(BrokenInterpreterPool, match="no room for an interpreter"):
            pool.submit(identity, 2)


def test_a_pool_goes_on_with_the_workers_it_got(
    monkeypatch: pytest.MonkeyPatch, gate: Gate, arrivals: Gate
) -> None:
    create = _interpreters.create
    made = threading.Semaphore(1)

    def only_one(*args: Any, **kwargs: Any) -> int:
        if not made.acquire(blocking=False):
            raise MemoryError("no room for a second one")
        return create(*args, **kwargs)

    monkeypatch.setattr(_interpreters, "create", only_one)
    with InterpreterPoolExecutor(2) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(4)]
        gate.open(4)
        assert [future.result(PATIENCE) for future in futures] == list(range(4))


def test_threads_that_cannot_be_started_break_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if "_collector" in thread.name:
            start(thread)
        else:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(identity, 1)
        with pytest.raises(BrokenInterpreterPool, match="can't start new thread"):
            future.result(PATIENCE)


def test_a_collector_that_cannot_be_started_leaves_a_pool_that_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with InterpreterPoolExecutor(1) as pool:
        monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(identity, 1)
        monkeypatch.setattr(threading.Thread, "start", start)
        assert pool.submit(identity, 2).result(PATIENCE) == 2


# --- Ends at odd moments -----------------------------------------------------------------------


def test_shutdown_while_workers_start(gate: Gate) -> None:
    for _ in range(10):
        pool = InterpreterPoolExecutor(4)
        futures = [pool.submit(identity, n) for n in range(8)]
        pool.shutdown(wait=False)
        assert [future.result(PATIENCE) for future in futures] == list(range(8))
        pool.shutdown()


def test_cancelling_while_workers_start() -> None:
    for _ in range(10):
        pool = InterpreterPoolExecutor(4)
        futures = [pool.submit(identity, n) for n in range(8)]
        pool.shutdown(cancel_futures=True)
        assert all(future.done() for future in futures)
        assert all(f.cancelled() or f.result() == n for n, f in enumerate(futures))


def test_shutdown_from_several_threads(gate: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    future = pool.submit(pass_through, gate.exit, "done")
    threads = [threading.Thread(target=pool.shutdown) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert future.result() == "done"


def test_sixty_four_workers_come_work_and_go(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(64) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(64)]
        arrivals.wait(64)
        gate.open(64)
        assert [future.result() for future in futures] == list(range(64))


def test_more_workers_than_fit_into_the_queue_at_once(gate: Gate, arrivals: Gate) -> None:
    # 140 tasks that all wait for each other: the room of the queue, 128, must not bound them.
    with InterpreterPoolExecutor(140) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(140)]
        arrivals.wait(140)
        gate.open(140)
        assert [future.result() for future in futures] == list(range(140))


def test_python_of_this_test_is_what_programs_run() -> None:
    assert run_program("import sys; print(sys.executable)").stdout.strip() == sys.executable


FORK = """
import os, threading, warnings
from interpool import InterpreterPoolExecutor
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
pool = InterpreterPoolExecutor(2)
lane = pool.options(lane="process")
print(list(pool.map(abs, range(-3, 0))), lane.submit(abs, -4).result(), flush=True)

def work(n):
    return sum(range(n))

futures = [pool.submit(work, 20_000) for _ in range(300)]  # some run, some wait
pid = os.fork()
if pid == 0:
    try:
        pool.submit(abs, -1)
    except RuntimeError as error:
        print(error, flush=True)
    with InterpreterPoolExecutor(1) as own:
        print(own.submit(abs, -5).result(), flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print({future.result() for future in futures})
print(pool.submit(abs, -6).result(), lane.submit(abs, -7).result())
pool.shutdown()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_program_may_fork_while_its_pool_works() -> None:
    done = run_program(FORK)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[3, 2, 1] 4",
        "cannot schedule new futures: this pool belongs to the parent process",
        "5",
        "7",
        "{199990000}",
        "6 7",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_program_whose_pools_are_closed_may_fork() -> None:
    # CPython's child breaks down while any interpreter is alive: the spares must be gone by then.
    done = run_program("""
import os, subprocess
from interpool import InterpreterPoolExecutor
from interpool._spares import SPARES
for _ in range(3):
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(abs, -1).result()
for maker in SPARES._makers[:]:
    maker.join()
assert SPARES._ready
pid = os.fork()
if pid == 0:
    with InterpreterPoolExecutor(1) as pool:
        os._exit(pool.submit(abs, -7).result())
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(abs, -2).result())
""")
    assert (done.stdout, done.stderr, done.returncode) == ("7\n2\n", "", 0)


def test_descriptors_that_cannot_be_had_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe = os.pipe
    made: list[tuple[int, int]] = []

    def one_only() -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.append(pipe())
        return made[0]

    with InterpreterPoolExecutor(1) as pool:
        monkeypatch.setattr(os, "pipe", one_only)
        with pytest.raises(OSError, match="Too many open files"):
            pool.submit(identity, 1)
        monkeypatch.undo()
        assert pool.submit(identity, 2).result(PATIENCE) == 2
