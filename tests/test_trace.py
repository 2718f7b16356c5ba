"""What a trace says of a pool, whatever happens to it meanwhile; and that it leaves nothing."""

import _frozen_importlib
import errno
import itertools
import json
import marshal
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import interpool
import strikes
from interpool import InterpreterPoolExecutor, ProcessDied, TaskInterrupted, TaskTimeout
from interpool._inside import channels, outcomes, tracing
from interpool._inside import gate as gates
from interpool._trace import composing
from interpool._trace.records import Kind
from strikes import Caller
from support import PATIENCE, Gate, add, arrive_and_pass, divide, identity, run_program
from trace_tasks import Unloadable, die, fail_or_sleep, hook, prepare, wait_and_import

type Events = list[dict[str, Any]]

# What floats of microseconds may be off by.
NOTHING = 0.002


def runs_of(events: Events) -> Events:
    return [it for it in events if it.get("cat") == "run"]


def named(events: Events, name: str) -> Events:
    return [it for it in events if it["name"] == name]


def tracks_of(events: Events) -> dict[int, dict[str, Any]]:
    return {it["tid"]: it["args"] for it in events if it["name"] == "thread_name"}


def check(events: Events) -> Events:
    """Hold events to what a trace guarantees; return them."""
    tracks = tracks_of(events)
    assert {it["tid"] for it in events} <= set(tracks)
    assert all(it["ts"] >= 0 and it.get("dur", 0) >= 0 for it in events if it["ph"] != "M")
    for tid in tracks:
        pieces = [it for it in events if it["ph"] == "X" and it["tid"] == tid]
        imports = [it for it in pieces if it["cat"] == "import"]
        others = sorted(
            (it for it in pieces if it["cat"] != "import"), key=lambda it: (it["ts"], it["dur"])
        )
        for one, two in itertools.pairwise(others):
            assert one["ts"] + one["dur"] <= two["ts"] + NOTHING, (one, two)
        for it in imports:
            assert any(
                other["cat"] in {"start", "transfer", "run"}
                and other["ts"] - NOTHING <= it["ts"]
                and it["ts"] + it["dur"] <= other["ts"] + other["dur"] + NOTHING
                for other in others
            ), it
    begins = Counter(it["id"] for it in events if it["ph"] == "b")
    assert begins == Counter(it["id"] for it in events if it["ph"] == "e")
    told = {it["args"]["task"] for it in named(events, "arguments")}
    for run in runs_of(events):
        assert run["args"]["lane"] == tracks[run["tid"]]["lane"]
        if run["args"]["task"] in told:  # else its worker has not come to say what it did
            ends = [it for it in events if it["ph"] == "e" and it["id"] == run["args"]["task"]]
            assert any(abs(it["ts"] - run["ts"]) <= NOTHING for it in ends), run
    return events


def test_what_tasks_do_is_in_a_file_that_parses(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("something else " * 10_000)
    with InterpreterPoolExecutor(2) as pool:
        with pool.trace(path) as trace:
            futures = [pool.submit(add, n, 1) for n in range(50)]
            assert [it.result() for it in futures] == [n + 1 for n in range(50)]
            assert sum(pool.map(identity, range(3_000))) == sum(range(3_000))
            assert list(pool.map(len, [[1], [2, 3]] * 4, chunksize=4)) == [1, 2] * 4
        after = pool.submit(add, 1, 1)
        assert after.result() == 2
    data = json.loads(path.read_text())
    assert data == trace.data
    assert data["displayTimeUnit"] == "ms"
    about = data["otherData"]
    assert (about["interpool"], about["workers"], about["format"]) == (interpool.__version__, 2, 1)
    events = check(data["traceEvents"])
    adds = named(runs_of(events), "add")
    assert sorted(it["args"]["task"] for it in adds) == list(range(1, 51))
    assert all(it["args"]["function"] == "support.add" for it in adds)
    assert all(it["args"]["outcome"] == "done" for it in adds)
    assert sum(it["args"]["items"] for it in named(runs_of(events), "identity")) == 3_000
    assert sorted(it["args"]["items"] for it in named(runs_of(events), "len")) == [4, 4]
    assert len([it for it in events if it["ph"] == "b" and it["name"] == "add"]) == 50
    encoded = named(events, "encode")
    for name, count in (("add", 50), ("identity", 3_000), ("len", 8)):
        items = [it["args"].get("items", 1) for it in encoded if it["args"]["function"] == name]
        assert sum(items) == count
    assert named(events, "tasks")
    assert all(it["args"]["rss_mib"] > 1 for it in named(events, "memory"))
    assert {it["lane"] for it in tracks_of(events).values() if "lane" in it} == {"interpreter"}


def test_how_runs_ended(arrivals: Gate) -> None:
    """Failed, run again, stopped, out of time; and one that could not be loaded."""
    with InterpreterPoolExecutor(2, fallback="error") as pool, pool.trace() as trace:
        with pytest.raises(ZeroDivisionError):
            pool.submit(divide, 1, 0).result()
        with pytest.raises(ValueError, match="1"):
            pool.options(retries=1).submit(fail_or_sleep, arrivals.entry, 1).result()
        assert pool.options(retries=1).submit(add, 1, 1).result() == 2
        stopped = pool.submit(fail_or_sleep, arrivals.entry, 2)
        arrivals.wait()
        assert stopped.interrupt()
        with pytest.raises(TaskInterrupted):
            stopped.result()
        with pytest.raises(TaskTimeout):
            pool.options(timeout=0.05).submit(fail_or_sleep, arrivals.entry, 3).result()
        with pytest.raises(ZeroDivisionError):
            list(pool.map(divide, [1, 1], [1, 0], chunksize=2))
        with pytest.raises(interpool.TransferError):
            pool.submit(identity, Unloadable()).result()
    events = check(trace.events)
    found = [
        (it["name"], it["args"]["outcome"], it["args"]["attempt"], it["args"].get("error"))
        for it in sorted(runs_of(events), key=lambda it: int(it["args"]["task"]))
    ]
    assert found == [
        ("divide", "failed", 1, "ZeroDivisionError: division by zero"),
        ("fail_or_sleep", "retried", 1, "ValueError: 1"),
        ("fail_or_sleep", "failed", 2, "ValueError: 1"),
        ("add", "done", 1, None),
        ("fail_or_sleep", "interrupted", 1, None),
        ("fail_or_sleep", "timeout", 1, None),
        ("divide", "failed", 1, "ZeroDivisionError: division by zero"),
    ]
    pieces = [it["args"] for it in runs_of(events) if "items" in it["args"]]
    assert [(it["items"], it["failed"]) for it in pieces] == [(2, 1)]
    assert runs_of(events)[0]["args"]["arguments"] == "1, 0"
    (unloaded,) = named(events, "task failed")
    assert unloaded["args"]["stage"] == "argument"


def test_lanes_and_why_and_a_process_that_is_killed() -> None:
    with InterpreterPoolExecutor(1) as pool, pool.trace() as trace:
        assert pool.options(lane="process").submit(add, 1, 2).result() == 3
        with pytest.raises(ProcessDied):
            pool.options(lane="process").submit(die).result()
        assert pool.options(lane="process").submit(add, 2, 2).result() == 4
        assert pool.options(lane="thread").submit(add, 3, 2).result() == 5
        with pytest.raises(ZeroDivisionError):
            pool.options(lane="thread").submit(divide, 3, 0).result()
    events = check(trace.events)
    lanes = [(it["name"], it["args"]["lane"], it["args"]["outcome"]) for it in runs_of(events)]
    assert Counter(lanes) == {
        ("add", "process", "done"): 2,
        ("die", "process", "failed"): 1,
        ("add", "thread", "done"): 1,
        ("divide", "thread", "failed"): 1,
    }
    assert {it["args"]["why"] for it in runs_of(events)} == {
        'lane="process" was asked for',
        'lane="thread" was asked for',
    }
    processes = [it for it in tracks_of(events).values() if it.get("lane") == "process"]
    assert [it["name"] for it in processes] == ["worker process 1"] * 2
    assert len({it["pid"] for it in processes} - {os.getpid()}) == 2
    (died,) = named(events, "worker died")
    assert "SIGKILL" in died["args"]["error"]
    assert [it["cat"] for it in named(events, "process")] == ["start"] * 2


def test_starts_and_imports_and_nothing_that_stays(gate: Gate, arrivals: Gate) -> None:
    """Of a pool that is not traced, no worker has any of it; of one that was, none any more."""
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(hook).result() == "_frozen_importlib False"
        slow = pool.submit(wait_and_import, arrivals.entry, gate.exit, "xmlrpc.client")
        arrivals.wait()
        with pool.trace() as trace:  # in the midst of a task, which is not in it
            gate.open()
            assert slow.result() == "xmlrpc"
            assert pool.submit(hook).result() == "_interpool_tracing True"
            name = pool.submit(wait_and_import, arrivals.entry, gate.exit, "unittest.mock")
            gate.open()
            assert name.result() == "unittest"
        assert pool.submit(hook).result() == "_frozen_importlib True"
        (worker,) = pool._engine.staff.workers.values()
        assert worker.board[channels.HEED] == worker.board[channels.BEGAN] == 0
    events = check(trace.events)
    assert [it["name"] for it in runs_of(events)] == ["hook", "wait_and_import"]
    assert "unittest.mock" in [it["name"] for it in events if it.get("cat") == "import"]
    pool = InterpreterPoolExecutor(1, initializer=prepare, preload=("statistics",))
    with pool, pool.trace() as trace:
        assert pool.submit(add, 1, 1).result() == 2
    starts = [it["name"] for it in check(trace.events) if it.get("cat") == "start"]
    assert starts == ["interpreter", "preload", "initializer"]


class Announced:
    """A lock that says when a thread comes to it."""

    def __init__(self) -> None:
        self.arrivals = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.arrivals.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_two_threads_that_send_do_so_in_the_order_in_which_it_was_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: list[Any] = []
    sending, go_on = threading.Event(), threading.Event()

    def write(_fd: int, frame: bytes) -> None:
        sending.set()
        go_on.wait(PATIENCE)
        frames.append(marshal.loads(frame[channels.HEADER :])[2])

    monkeypatch.setattr(channels, "write", write)
    recorder = tracing.Recorder(1, 0, -1, [0], 0)
    lock: Any = Announced()
    recorder._sending = lock
    recorder.note_prepared("first")
    ending = Caller(recorder.flush)  # as whoever ends the trace
    assert sending.wait(PATIENCE)
    assert lock.arrivals.acquire()
    recorder.note_prepared("second")
    answering = Caller(recorder.tell_closed)
    assert lock.arrivals.acquire(timeout=PATIENCE)
    go_on.set()
    ending.result()
    answering.result()
    told = [[it[1] for it in batch] if batch else batch for _, _, batch in frames]
    assert told == [["first"], ["second"], None]


def test_what_is_not_a_task_is_idle() -> None:
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(add, 1, 1).result() == 2
        with pool.trace() as trace:
            assert pool.submit(add, 1, 1).result() == 2
            assert pool.submit(add, 1, 1).result() == 2
    events = check(trace.events)
    found = [it for it in events if it["ph"] == "X" and it["tid"] != 0]
    pieces = sorted(found, key=lambda it: int(it["ts"] * 1000))
    # It may not have gone to sleep when the trace begins, or ends; or only after some work.
    names = [it["name"] for it in pieces if it["name"] != "idle"]
    assert names == ["arguments", "add", "result"] * 2
    if pieces[-1]["name"] == "idle":
        pieces.pop()
    for one, two in itertools.pairwise(pieces):
        assert two["ts"] - (one["ts"] + one["dur"]) < 1 + NOTHING
    assert all(it["args"]["why"] == "no task" for it in named(events, "idle"))


def test_a_trace_that_ends_while_tasks_run(gate: Gate, arrivals: Gate) -> None:
    with InterpreterPoolExecutor(2) as pool:
        with pool.trace() as trace:
            assert pool.submit(add, 1, 1).result() == 2
            future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
            thread = pool.options(lane="thread").submit(
                arrive_and_pass, arrivals.entry, gate.exit, 2
            )
            arrivals.wait(2)
        events = check(trace.events)
        with pool.trace() as second:
            gate.open(2)
            assert (future.result(), thread.result()) == (1, 2)
        assert runs_of(check(second.events)) == []  # they had begun before it
    running = {
        it["args"]["lane"]
        for it in runs_of(events)
        if (it["name"], it["args"]["outcome"]) == ("arrive_and_pass", "running")
    }
    assert running == {"interpreter", "thread"}
    assert len(named(runs_of(events), "add")) == 1


@pytest.mark.parametrize("is_terminated", [False, True])
def test_a_pool_that_ends_while_it_is_traced(
    is_terminated: bool, tmp_path: Path, gate: Gate, arrivals: Gate
) -> None:
    pool = InterpreterPoolExecutor(1)
    trace = pool.trace(tmp_path / "run.json")
    future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    if is_terminated:
        pool.terminate_workers()
    else:
        gate.open()
    pool.shutdown()
    assert isinstance(future.exception(), TaskInterrupted if is_terminated else type(None))
    gate.open()  # for one that was given up
    (run,) = runs_of(check(trace.events))
    assert run["args"]["outcome"] == ("interrupted" if is_terminated else "done")
    assert named(trace.events, "shutdown")
    trace.close()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.trace(tmp_path / "run.json")
    assert trace.events  # and the file is as it was


def test_one_trace_at_a_time_and_a_pool_that_is_never_used(tmp_path: Path) -> None:
    with InterpreterPoolExecutor(1) as pool:
        with pytest.raises(FileNotFoundError):
            pool.trace(tmp_path / "no folder" / "run.json")
        with pytest.raises(IsADirectoryError):
            pool.trace(tmp_path)
        with pytest.raises(OSError, match="Invalid argument"):
            pool.trace("/dev/full")
        trace = pool.trace()
        with pytest.raises(RuntimeError, match="is being traced"):
            pool.trace(tmp_path / "other.json")
        assert not (tmp_path / "other.json").exists()
        trace.close()
        trace.close()
        assert repr(trace) == "<Trace in memory>"
        last = pool.trace(tmp_path / "run.json")
        assert "run.json" in repr(last)
    assert [it["name"] for it in last.events][-1:] == ["shutdown"]
    assert last.path == tmp_path / "run.json"


def test_many_threads_begin_and_end_traces() -> None:
    """One of them at a time has one, and each that is had is whole."""
    begun: list[interpool.Trace] = []
    barrier = threading.Barrier(4)

    def use(pool: InterpreterPoolExecutor) -> None:
        barrier.wait(PATIENCE)
        for _ in range(5):
            try:
                trace = pool.trace()
            except RuntimeError:
                pool.submit(add, 1, 1).result()
                continue
            pool.submit(add, 1, 1).result()
            closers = [threading.Thread(target=trace.close) for _ in range(2)]
            for it in closers:
                it.start()
            for it in closers:
                it.join(PATIENCE)
            begun.append(trace)

    with InterpreterPoolExecutor(2) as pool:
        users = [threading.Thread(target=use, args=(pool,)) for _ in range(4)]
        for it in users:
            it.start()
        for it in users:
            it.join(PATIENCE)
    assert begun
    for trace in begun:
        assert named(runs_of(check(trace.events)), "add")


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with InterpreterPoolExecutor(1) as pool:
        trace = pool.trace(tmp_path / "run.json")
        assert pool.submit(add, 1, 1).result() == 2

        def write(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(OSError, match="No space left"):
                trace.close()
        assert pool.submit(add, 1, 1).result() == 2
    assert json.loads((tmp_path / "run.json").read_text())["traceEvents"] == []


def test_a_program_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from interpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(1) as pool:
    trace = pool.trace(sys.argv[1])
    pool.submit(abs, -1).result()
    while not [it for it in trace.events if it.get("cat") == "run"]:  # as far as it is written
        pool.submit(abs, -1).result()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "run.json"
    assert run_program(program, str(path)).returncode == -signal.SIGKILL
    assert named(json.loads(path.read_text())["traceEvents"], "abs")


def test_a_forked_child_leaves_the_file_alone(tmp_path: Path) -> None:
    program = """
import os, sys
from interpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(1) as pool, pool.trace(sys.argv[1]) as trace:
    pool.submit(abs, -1).result()
    if (child := os.fork()) == 0:
        trace.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    pool.submit(abs, -1).result()
assert len([it for it in trace.events if it.get("cat") == "run"]) == 2
"""
    done = run_program(program, str(tmp_path / "run.json"), PYTHONWARNINGS="ignore")
    assert (done.stderr, done.returncode) == ("", 0)


def test_workers_that_are_recycled() -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=2) as pool:
        trace = pool.trace()  # until the pool has ended, and so the second one has left
        for n in range(4):
            assert pool.submit(add, n, 0).result() == n
    events = check(trace.events)
    assert len(named(events, "worker recycled")) == 2
    tracks = Counter(it["tid"] for it in runs_of(events))
    assert sorted(tracks.values()) == [2, 2]


def test_of_the_other_executors() -> None:
    import asyncio

    from interpool import aio
    from interpool.cluster import ClusterExecutor

    async def run() -> Events:
        async with aio.Pool(1) as pool:
            with pool.trace() as trace:
                assert await pool.run(add, 1, 1) == 2
            return trace.events

    assert len(runs_of(check(asyncio.run(run())))) == 1
    with pytest.raises(NotImplementedError, match="clocks of their own"):
        ClusterExecutor.trace(object.__new__(ClusterExecutor))


# --- The parts -----------------------------------------------------------------------------------


def task_record(task: int, times: Iterable[int], **extra: Any) -> tuple[Any, ...]:
    kind = channels.VALUE_PLAIN
    return (tracing.TASK, task, 7, *times, 0, 0, kind, 1, {"name": ("m", "f")} | extra)


def composed(*records: tuple[Any, ...]) -> Events:
    lines = composing.Composer(1, 0).compose(records)
    found: Events = json.loads(f"[{','.join(lines)}]")
    return found


def test_what_is_plain_is_written_in_the_same_words() -> None:
    """As most records are, and as those that take the long way, for they come with a detail."""
    times = [tuple(1_000_123 * n + k * 10_007 for k in range(5)) for n in range(1, 5)]
    place = (0, 0)
    slow = [task_record(n, it) for n, it in enumerate(times)]
    fast = [slow[0], *((*it[:-1], None) for it in slow[1:])]
    fast, slow = ([(*it[:8], 70, *it[9:]) for it in records] for records in (fast, slow))
    found, expected = (composed((Kind.WORK, place, it)) for it in (fast, slow))
    for events in (found, expected):
        events.sort(key=lambda it: json.dumps(it, sort_keys=True))
    assert found == expected
    assert len(runs_of(composed((Kind.WORK, place, fast)))) == 4


def test_what_comes_late_overlaps_with_nothing() -> None:
    """A run that was cut, for its worker was given up, which then says what it did."""
    first, second = (10_000, 20_000, 30_000, 40_000, 50_000), (51_000, 60_000, 70_000, 80_000)
    place = (0, 0)
    events = composed(
        (Kind.ASLEEP, place, 5_000),
        (Kind.WORK, place, [task_record(1, first)]),
        (Kind.CUT, place, 2, 70_000, 95_000, "f", "running", ""),
        (Kind.WORK, place, [task_record(2, (52_000, *second))]),
        (Kind.END, 90_000, [(place, 0)]),
    )
    pieces = [(it["cat"], it["ts"], it["dur"]) for it in events if it["ph"] == "X"]
    assert pieces == [
        ("idle", 5, 15),
        ("transfer", 20, 10),
        ("run", 30, 10),
        ("transfer", 40, 10),
        ("idle", 50, 20),
        ("run", 70, 25),
    ]


def test_no_track_is_the_pools_in_perfetto() -> None:
    """It takes the track 0 for that of the thread whose number is the process's."""
    mine, other = (composed((Kind.ASLEEP, (n, 0), 0)) for n in range(2))
    assert {it["tid"] for it in (*mine, *other)} == {0, 2}  # the process is 1 here


def test_a_run_waits_for_what_becomes_of_it() -> None:
    times = 10_000, 20_000, 30_000, 40_000, 50_000
    held = (Kind.HELD, 1, 3), (Kind.WORK, (0, 0), [task_record(1, times)])
    assert runs_of(composed(*held)) == []
    told = (Kind.OUTCOME, 1, "retried", "E: no", "f")
    (run,) = runs_of(composed(*held, told))
    assert (run["args"]["outcome"], run["args"]["attempt"]) == ("retried", 3)
    assert run["args"]["error"] == "E: no"
    (run,) = runs_of(composed(*held, (Kind.END, 60_000, [])))  # it is not known in time
    assert (run["args"]["outcome"], run["args"]["attempt"]) == ("done", 3)


@pytest.mark.parametrize("is_in_order", [True, False])
def test_a_run_that_is_refused_comes_again_in_a_process(*, is_in_order: bool) -> None:
    """Whichever says first what it did: workers do when they have nothing else to do."""
    times = [tuple(n + k * 10_000 for k in range(1, 6)) for n in (0, 100_000)]
    told = [((0, 0), [task_record(1, times[0])]), ((-1, 77), [task_record(1, times[1])])]
    events = composed(
        (Kind.REFUSED, 1, 50_000, "e does not support loading", "f"),
        (Kind.WHY, 1, "e does not load"),
        *((Kind.WORK, *it) for it in (told if is_in_order else reversed(told))),
    )
    first, second = (it["args"] for it in sorted(runs_of(events), key=lambda it: it["ts"]))
    assert (first["lane"], first["outcome"], first["attempt"]) == ("interpreter", "retried", 1)
    assert (second["lane"], second["outcome"], second["attempt"]) == ("process", "done", 2)
    assert ("why" in first, second["why"]) == (False, "e does not load")
    waits = sorted((it["ts"], it["ph"]) for it in events if it.get("cat") == "wait")
    assert waits == [(10, "b"), (30, "e"), (50, "b"), (130, "e")]


class Hostile:
    def __repr__(self) -> str:
        raise AssertionError("nobody asks")

    __qualname__ = "not a name"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((1, "two", b"3", None), "1, 'two', b'3', None"),
        (([1, 2], (3,), {"a": {4}}), "[1, 2], (3,), {'a': {4}}"),
        (([[[[1]]]],), "[[[[…]]]]"),
        ((list(range(10)),), "[0, 1, 2, 3, 4, 5, …]"),
        ((10**1000,), "<int, 3322 bits>"),
        ((Hostile(), Path("a")), "<not a name>, PosixPath('a')"),
        (("x" * 1_000,), "'" + "x" * 98 + "…"),
    ],
)
def test_arguments_in_words(args: tuple[Any, ...], expected: str) -> None:
    assert tracing.shown(args, {}) == expected


def test_names_are_asked_of_nobody() -> None:
    import functools

    assert tracing.name_of(add) == ("support", "add")
    assert tracing.name_of(functools.partial(functools.partial(add, 1), 2)) == (
        "support",
        "partial(add)",
    )
    assert tracing.name_of([].append)[1] == "list.append"
    assert tracing.name_of(Hostile().__repr__)[1] == "Hostile.__repr__"
    assert tracing.name_of(Hostile()) == (__name__, "not a name object")
    named_by_itself = Gate.__new__(Gate)
    vars(named_by_itself)["__qualname__"] = "jobs:score"
    assert tracing.name_of(named_by_itself) == ("", "jobs:score")
    assert tracing.name_of(int) == ("builtins", "int")


OURS = frozenset({tracing.__file__})


def test_wherever_a_strike_lands_among_items(tmp_path: Path) -> None:
    """The iterator that times items is left by a strike like any other; the next task is well."""
    reader, writer = os.pipe()
    board = memoryview(bytearray(8 * channels.BOARD)).cast("q")
    recorder = tracing.Recorder(1, 0, writer, board, channels.BEGAN)

    def attempt(strike: strikes.StrikeAt) -> bool:
        recorder.take(strikes.TASK, 1, 0, b"", ())

        def run() -> list[Any]:
            recorder.begin(tracing.clock())
            items, load = recorder.each(identity, [(n,) for n in range(3)], loaded)
            assert load is not None
            return [load(it) for it in items]

        outcome, is_struck = strike.run(run)
        recorder.end_each()
        recorder.answer(channels.STRUCK, None)
        assert isinstance(outcome, gates.Interrupted) if is_struck else len(outcome) == 3
        return is_struck

    def loaded(args: Any) -> tuple[Any, ...]:
        return args  # type: ignore[no-any-return]

    try:
        assert strikes.run_with_strikes(OURS, attempt) > 5
        recorder.take(9, 1, 0, b"", ())
        kind, payload = outcomes.call(9, add, (1, 1), {}, lambda _: recorder.begin(tracing.clock()))
        recorder.answer(kind, payload)
        recorder.close()
        assert (kind, payload) == (channels.VALUE_PLAIN, 2)
        assert os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        os.close(writer)


def test_wherever_a_strike_lands_in_an_import() -> None:
    """Imports work afterwards, and are what they were when the trace has ended."""
    found: Any = _frozen_importlib
    before = found._find_and_load
    reader, writer = os.pipe()
    board = memoryview(bytearray(8 * channels.BOARD)).cast("q")
    recorder = tracing.Recorder(1, 0, writer, board, channels.BEGAN)
    recorder.watch()
    name = "this_module_is_not_there"
    try:

        def attempt(strike: strikes.StrikeAt) -> bool:
            def run() -> Any:
                with pytest.raises(ModuleNotFoundError):
                    __import__(name)

            outcome, is_struck = strike.run(run)
            assert isinstance(outcome, gates.Interrupted) == is_struck
            gates.release_imports()
            return is_struck

        assert strikes.run_with_strikes(OURS, attempt) > 0
        with pytest.raises(ModuleNotFoundError) as caught:
            __import__(name)
        assert len(caught.traceback) == 1  # no frame of ours, and none of importlib's
    finally:
        recorder.close()
        os.close(reader)
        os.close(writer)
    assert found._find_and_load is before
