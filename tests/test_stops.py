"""Tasks that are stopped: by `interrupt`, by their timeout, with their pool; and what cannot be."""

import _ctypes
import _thread
import asyncio
import collections
import concurrent.futures
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import marshal
import os
import pickle
import random
import select
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from interpool import (
    InterpreterPoolExecutor,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    _threads,
    _timekeeper,
    _worker,
)
from interpool._inside import channels, coroutines, outcomes, values
from interpool._inside import gate as gates
from interpool._stops import Reason, Stop
from support import PATIENCE, Fifo, Gate, add, arrive_and_pass, divide, identity, pass_through

PROMPT = 0.05  # seconds within which a busy loop stops on a machine that does nothing else


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


@pytest.fixture
def fifo(tmp_path: Path) -> Fifo:
    return Fifo(str(tmp_path / "fifo"))


def spin(entry: int) -> None:
    import os

    os.write(entry, b".")
    while True:
        pass


def spin_and_clean_up(entry: int, exit_: int) -> None:
    import os

    try:
        os.write(entry, b".")
        while True:
            pass
    finally:
        os.write(exit_, b".")


def write(_: object, entry: int) -> None:
    import os

    os.write(entry, b".")


def swallow(entry: int, fd: int) -> str:
    """Catch the first exception, whatever it is, and wait for a byte."""
    import os

    try:
        os.write(entry, b".")
        while True:
            pass
    except BaseException:
        os.write(entry, b".")
        os.read(fd, 1)
    return "went on"


def stay_in_c(entry: int, fd: int, value: Any) -> Any:
    import functools
    import operator
    import os

    # One call in C, with no bytecode in which an interrupt could come between its two steps.
    steps: tuple[Any, ...] = (
        functools.partial(os.write, entry, b"."),
        functools.partial(os.read, fd, 1),
    )
    list(map(operator.call, steps))
    return value


def fail_when_stopped(entry: int) -> None:
    import os

    try:
        os.write(entry, b".")
        while True:
            pass
    except BaseException:
        raise LookupError("in the midst of it") from None


async def spin_in_a_loop(entry: int) -> None:
    import asyncio
    import os

    os.write(entry, b".")
    while True:  # noqa: ASYNC110 - it is to be busy
        await asyncio.sleep(0)


# --- interrupt -----------------------------------------------------------------------------------


def test_a_busy_task_is_interrupted_and_its_worker_serves_the_next(arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(spin, arrivals.entry)
        arrivals.wait()
        assert future.interrupt()
        with pytest.raises(TaskInterrupted, match=r"spin was interrupted\. It was here:") as caught:
            future.result(PATIENCE)
        assert caught.value.function == "spin"
        assert "in spin" in caught.value.stack
        assert not caught.value.abandoned
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        workers = pool.statistics().workers
    assert (workers.started, workers.given_up) == (1, 0)


def test_finally_runs_in_the_interrupted_task(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    future = pool.submit(spin_and_clean_up, arrivals.entry, gate.entry)
    arrivals.wait()
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result(PATIENCE)
    gate.wait()


def test_a_coroutine_is_interrupted_in_its_event_loop(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    future = pool.submit(spin_in_a_loop, arrivals.entry)
    arrivals.wait()
    assert future.interrupt()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert pool.statistics().workers.given_up == 0


async def wait_in_a_loop(entry: int, exit_: int) -> None:
    import asyncio
    import os

    try:
        os.write(entry, b".")
        await asyncio.Event().wait()
    finally:
        os.write(exit_, b".")


def test_a_coroutine_that_waits_is_woken_for_it(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    future = pool.submit(wait_in_a_loop, arrivals.entry, gate.entry)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    gate.wait()  # its `finally` has run
    assert pool.statistics().workers.given_up == 0


def coroutine_struck_in_call_soon(ended: list[str]) -> Any:
    """Its own next step is just to be added to what is due."""

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()

        def call_soon(*_: object, **__: object) -> None:
            del loop.call_soon
            raise gates.Interrupted

        loop.call_soon = call_soon
        try:
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            ended.append("main")

    return run()


def coroutine_struck_in_a_child(ended: list[str]) -> Any:
    """The same in a task that another one waits for."""

    async def run() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(coroutine_struck_in_call_soon(ended))
        finally:
            await asyncio.sleep(0)
            ended.append("parent")

    return run()


def coroutine_struck_before_its_step(ended: list[str]) -> Any:
    """Its next step was just taken from what is due."""

    class Ready(collections.deque[Any]):
        def popleft(self) -> None:
            loop: Any = asyncio.get_running_loop()
            loop._ready = collections.deque(self)
            loop._ready.popleft()
            raise gates.Interrupted

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()
        loop._ready = Ready(loop._ready)
        try:
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            ended.append("main")

    return run()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (coroutine_struck_in_call_soon, ["main"]),
        (coroutine_struck_in_a_child, ["main", "parent"]),
        (coroutine_struck_before_its_step, ["main"]),
    ],
)
def test_what_a_strike_in_asyncio_itself_leaves_is_ended(make: Any, expected: list[str]) -> None:
    ended: list[str] = []
    with pytest.raises(gates.Interrupted):
        coroutines.run(make(ended))
    assert ended == expected


def spin_in_a_finalizer(path: str) -> None:
    import weakref

    class Inner:
        def __del__(self) -> None:
            with open(path, "wb") as pipe:  # noqa: PTH123
                pipe.write(b".")
            while True:
                pass

    class Outer:
        def __init__(self) -> None:
            self.inner = [Inner()]

        def let_go(self, _: object) -> None:
            self.inner.clear()
            while True:
                pass

    outer, it = Outer(), {Inner}
    ref = weakref.ref(it, outer.let_go)
    del it
    while ref() is None:
        pass


def unraisable_hook_is_pythons_own() -> bool:
    import sys

    return sys.unraisablehook is sys.__unraisablehook__


@pytest.mark.parametrize("lane", ["interpreter", "process"])
def test_a_strike_that_lands_in_a_finalizer_comes_again(
    fifo: Fifo, lane: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        view = pool.options(lane=lane)
        future = view.submit(spin_in_a_finalizer, fifo.path)
        fifo.wait()
        assert future.interrupt(grace=PATIENCE)
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert view.submit(unraisable_hook_is_pythons_own).result()
        assert pool.statistics().workers.given_up == 0
    assert "Interrupted" not in capfd.readouterr().err


def hook_and_spin(path: str, exit_: int) -> None:
    import os
    import sys

    class Failing:
        def __del__(self) -> None:
            raise ValueError

    sys.unraisablehook = lambda found: os.write(exit_, found.exc_type.__name__.encode()) and None
    try:
        spin_in_a_finalizer(path)
    finally:
        Failing()


def test_other_errors_in_finalizers_go_to_the_hook_that_was_there(
    pool: InterpreterPoolExecutor, fifo: Fifo, gate: Gate
) -> None:
    future = pool.submit(hook_and_spin, fifo.path, gate.entry)
    fifo.wait()
    assert future.interrupt(grace=PATIENCE)
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert os.read(gate.exit, 100) == b"ValueError"


def import_it(path: str, entry: str) -> tuple[int, int, bool]:
    """Import a package, whose second module waits as long as `sys.entry` is there."""
    import sys

    made_by_hand = type(sys)("of_nothing.by_hand")
    sys.modules["of_nothing.by_hand"] = made_by_hand
    sys.path[:0] = [path]
    sys.entry = entry  # type: ignore[attr-defined]
    import halting  # type: ignore[import-not-found]

    by_hand = sys.modules["of_nothing.by_hand"]
    return halting.first.VALUE, halting.second.VALUE, by_hand is made_by_hand


@pytest.mark.parametrize("lane", ["interpreter", "process"])
@pytest.mark.parametrize("is_caught", [False, True])
def test_a_package_is_imported_anew_after_a_strike_in_its_import(
    fifo: Fifo, tmp_path: Path, lane: Any, *, is_caught: bool
) -> None:
    folder = tmp_path / "halting"
    folder.mkdir()
    Path(folder, "__init__.py").write_text(
        "from .first import *\nfrom .second import *\nALL = first.VALUE, second.VALUE\n"
    )
    Path(folder, "first.py").write_text("VALUE = 1\n")
    Path(folder, "second.py").write_text(
        "import sys\nVALUE = 2\n"
        "if sys.entry:\n"
        "    with open(sys.entry, 'wb') as pipe:\n        pipe.write(b'.')\n"
        "    while True: pass\n"
    )
    task = import_and_catch if is_caught else import_it
    with InterpreterPoolExecutor(1) as pool:
        view = pool.options(lane=lane)
        future = view.submit(task, str(tmp_path), fifo.path)
        fifo.wait()
        assert future.interrupt(grace=PATIENCE)
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert view.submit(import_it, str(tmp_path), "").result() == (1, 2, True)
        assert view.submit(by_hand_is_there).result()


def by_hand_is_there() -> bool:
    import sys

    return "of_nothing.by_hand" in sys.modules


def import_and_catch(path: str, entry: str) -> str:
    try:
        import_it(path, entry)
    except KeyboardInterrupt:
        return "caught"
    return "imported"


def test_a_module_of_ours_that_was_not_executed_to_its_end_is_executed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = "import sys; sys.modules['_interpool_nothing'] = sys; raise LookupError"
    code = marshal.dumps(compile(source, "nothing.py", "exec"))
    monkeypatch.setattr(
        values, "later", marshal.dumps([("interpool._inside.nothing", "nothing.py", code)])
    )
    for _ in range(2):
        with pytest.raises(LookupError):
            values.module_inside("nothing")
        assert "_interpool_nothing" not in sys.modules


def test_a_task_that_has_not_begun_never_does(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        waiting = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 2)
        called = threading.Event()
        waiting.add_done_callback(lambda _: called.set())
        assert waiting.interrupt()
        with pytest.raises(TaskInterrupted, match="before it began"):
            waiting.result(PATIENCE)
        assert not waiting.cancelled()
        assert not waiting.cancel()
        assert called.wait(PATIENCE)
        gate.open()
        assert first.result(PATIENCE) == 1


def test_a_task_that_has_ended_is_not_interrupted(pool: InterpreterPoolExecutor) -> None:
    future = pool.submit(add, 1, 2)
    assert future.result(PATIENCE) == 3
    assert not future.interrupt()
    failed = pool.submit(divide, 1, 0)
    assert isinstance(failed.exception(PATIENCE), ZeroDivisionError)
    assert not failed.interrupt()
    assert future.result() == 3


def test_a_cancelled_task_is_not_interrupted(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        waiting = pool.submit(add, 1, 2)
        assert waiting.cancel()
        assert not waiting.interrupt()
        assert waiting.cancelled()
        gate.open()


def test_a_task_that_raises_while_it_stops_names_both(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    future = pool.submit(fail_when_stopped, arrivals.entry)
    arrivals.wait()
    assert future.interrupt()
    with pytest.raises(TaskInterrupted) as caught:
        future.result(PATIENCE)
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_task_that_returns_all_the_same_is_interrupted(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    future = pool.submit(swallow, arrivals.entry, gate.exit)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)
    arrivals.wait()  # it has caught the exception
    gate.open()
    with pytest.raises(TaskInterrupted):
        future.result(PATIENCE)
    assert pool.statistics().workers.given_up == 0


def test_twice_is_once(pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate) -> None:
    future = pool.submit(swallow, arrivals.entry, gate.exit)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)  # still the same end
    gate.open()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)


@pytest.mark.parametrize("lane", ["interpreter", "process", "thread"])
def test_an_interrupt_between_two_runs_is_the_end(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch, lane: Any
) -> None:
    engine = pool._engine
    try_again = engine.retrying.try_again
    stopped: list[bool] = []

    def interrupt_first(task: Any, error: BaseException) -> BaseException | None:
        stopped.append(task.interrupt())
        return try_again(task, error)

    monkeypatch.setattr(engine.retrying, "try_again", interrupt_first)
    view = pool.options(retries=Retry(3, delay=0), lane=lane)
    error = view.submit(divide, 1, 0).exception(PATIENCE)
    assert isinstance(error, TaskInterrupted)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert stopped == [True]


def test_an_interrupt_of_a_task_that_is_being_timed_out_is_the_end(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    patient = pool.options(timeout=0.05, retries=Retry(1, on=TaskTimeout, delay=0))
    future = patient.submit(swallow, arrivals.entry, gate.exit)
    arrivals.wait(2)  # the second one when it has caught what the timeout raised
    assert future.interrupt(grace=PATIENCE)
    gate.open()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert pool.statistics().tasks.retried == 0


def test_less_grace_later_never_means_more_time(
    pool: InterpreterPoolExecutor, arrivals: Gate, gate: Gate
) -> None:
    future = pool.submit(swallow, arrivals.entry, gate.exit)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)
    arrivals.wait()
    due = future._stop.due if future._stop else 0.0
    assert future.interrupt(grace=PATIENCE - 1e-9)  # from now on: later than that
    assert future._stop is not None
    assert (future._stop.grace, future._stop.due) == (PATIENCE, due)
    gate.open()
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)


def test_a_grace_that_makes_no_sense_is_refused(pool: InterpreterPoolExecutor) -> None:
    future = pool.submit(add, 1, 2)
    with pytest.raises(ValueError, match="grace must not be negative"):
        future.interrupt(grace=-1)
    with pytest.raises(TypeError, match="grace must be a number"):
        future.interrupt(grace="long")  # type: ignore[arg-type]


def test_a_callback_may_interrupt_another_task(
    pool: InterpreterPoolExecutor, arrivals: Gate
) -> None:
    running = pool.submit(spin, arrivals.entry)
    arrivals.wait()
    pool.submit(add, 1, 2).add_done_callback(lambda _: running.interrupt())
    assert isinstance(running.exception(PATIENCE), TaskInterrupted)


def test_ten_thousand_random_interrupts_hit_nobody_else() -> None:
    """Whoever was interrupted ends so; whoever was not has its own result; no worker is lost."""

    def spin_for(number: int, loops: int) -> int:
        for _ in range(loops):
            pass
        return number

    draw = random.Random(4)
    with InterpreterPoolExecutor(2) as pool:
        pending: list[tuple[int, concurrent.futures.Future[int], bool]] = []
        interrupts = 0
        number = 0
        while interrupts < 10_000:
            number += 1
            future = pool.submit(spin_for, number, draw.randrange(3_000))
            for _ in range(draw.randrange(600)):
                pass
            is_stopped = draw.random() < 0.8 and future.interrupt(grace=PATIENCE)
            interrupts += is_stopped
            pending.append((number, future, is_stopped))
            while len(pending) > 50:
                check(*pending.pop(0))
        for each in pending:
            check(*each)
        statistics = pool.statistics()
    assert statistics.workers.given_up == 0
    assert statistics.tasks.interrupted == interrupts


def check(number: int, future: concurrent.futures.Future[int], is_stopped: bool) -> None:
    if is_stopped:
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    else:
        assert future.result(PATIENCE) == number


# --- the gate: which interleaving there is -------------------------------------------------------


class Victim:
    """A thread that runs a task behind the gate, in this interpreter."""

    def __init__(self, task: int, body: Callable[[], object]) -> None:
        self.raised: list[type[BaseException]] = []
        self._task = task
        self._body = body
        self.begun, self.after = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            gates.open_gate(self._task)
            self.begun.set()
            self._body()
            gates.close_gate(self._task)
        except gates.Interrupted as error:
            self.raised.append(type(error))
        self.after.wait(PATIENCE)
        for _ in range(1_000):  # where a late one would land
            pass


def test_no_strike_lands_where_an_items_failure_is_described() -> None:
    strikes = []

    class StrikesError(Exception):
        def __str__(self) -> str:
            strikes.append(gates.strike(24))
            return "struck"

    def fail() -> None:
        raise StrikesError

    kind, _ = outcomes.call_each(24, fail, [(), ()], 0)
    assert kind == channels.STRUCK  # as soon as that is over
    assert set(strikes) == {None}
    assert not gates.armed


def test_a_strike_before_the_gate_opens_keeps_the_task_from_beginning() -> None:
    assert gates.strike(11) is None
    with pytest.raises(gates.Interrupted):
        gates.open_gate(11)
    gates.forget(11)
    gates.open_gate(11)
    gates.close_gate(11)


def test_a_task_that_was_kept_from_beginning_was_nowhere() -> None:
    victim = Victim(17, lambda: [None for _ in iter(int, 1)])
    assert victim.begun.wait(PATIENCE)
    assert gates.strike(17)
    victim.after.set()
    victim.thread.join(PATIENCE)
    assert gates.struck_at
    gates.strike(18)
    with pytest.raises(gates.Interrupted):
        gates.open_gate(18)
    assert gates.struck_at == []  # and not where the other one was
    assert 18 not in gates._condemned


def test_a_strike_behind_the_gate_lands_nowhere() -> None:
    gates.open_gate(12)
    gates.close_gate(12)
    assert gates.strike(12) is None
    for _ in range(1_000):
        pass
    gates.forget(12)


def test_a_strike_at_another_task_passes_by() -> None:
    release = _thread.allocate_lock()
    release.acquire()
    victim = Victim(13, release.acquire)
    assert victim.begun.wait(PATIENCE)
    assert gates.strike(14) is None
    release.release()
    victim.after.set()
    victim.thread.join(PATIENCE)
    assert victim.raised == []
    gates.forget(14)


def test_a_strike_lands_when_a_call_in_c_returns() -> None:
    release = _thread.allocate_lock()
    release.acquire()
    victim = Victim(15, release.acquire)
    assert victim.begun.wait(PATIENCE)
    assert gates.strike(15) is not None
    assert gates.strike(15) is None  # it can be struck once
    gates.forget(15)
    release.release()
    victim.after.set()
    victim.thread.join(PATIENCE)
    assert victim.raised == [gates.Struck]


@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_strike_wakes_who_waits_for_a_condition(timeout: float | None) -> None:
    condition = threading.Condition()

    def wait() -> None:
        with condition:
            condition.wait(timeout)

    victim = Victim(19, wait)
    assert victim.begun.wait(PATIENCE)
    while not condition._waiters:  # type: ignore[attr-defined]
        pass
    assert gates.strike(19)
    victim.after.set()
    victim.thread.join(PATIENCE)
    assert victim.raised == [gates.Struck]
    assert not condition._waiters  # type: ignore[attr-defined]


def test_a_strike_wakes_nobody_who_waits_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception has landed by the time of the waking, and what it left by waits itself."""
    hit, cleaned = threading.Event(), threading.Event()
    ended: list[bool] = []

    def wait() -> None:
        try:
            threading.Event().wait()
        finally:
            hit.set()
            ended.append(cleaned.wait(PATIENCE))

    wake = gates._wake

    def wake_late(thread: int, frame: Any) -> None:
        wake(thread, frame)
        assert hit.wait(PATIENCE)
        wake(thread, frame)
        cleaned.set()

    monkeypatch.setattr(gates, "_wake", wake_late)
    victim = Victim(20, wait)
    assert victim.begun.wait(PATIENCE)
    assert gates.strike(20)
    victim.after.set()
    victim.thread.join(PATIENCE)
    assert victim.raised == [gates.Struck]
    assert ended == [True]


@pytest.mark.parametrize("is_by_ctypes", [False, True])  # as on Windows
def test_whoever_closes_the_gate_takes_back_what_has_not_landed(*, is_by_ctypes: bool) -> None:
    """The exception is set and taken back in calls of C, between which nothing can be raised."""
    set_exception, nothing = (
        gates._found_by_ctypes() if is_by_ctypes else gates._found_by(_ctypes.dlsym)
    )
    this = threading.get_ident()
    assert [*map(set_exception, (this, this), (gates.Interrupted, nothing), strict=True)] == [1, 1]
    for _ in range(1_000):
        pass


def test_a_strike_may_land_where_the_import_lock_was_just_taken(arrivals: Gate) -> None:
    # As it does at random in the context manager by which `import` takes that lock. Whoever enters
    # an interpreter from outside, to strike a task or to end it, takes it, too.
    def stop_with_it(entry: int) -> None:
        import _imp
        import os

        try:
            os.write(entry, b".")
            while True:
                pass
        except BaseException:
            _imp.acquire_lock()
            raise

    with InterpreterPoolExecutor(1) as single:
        for function in (stop_with_it, spin):
            future = single.submit(function, arrivals.entry)
            arrivals.wait()
            assert future.interrupt(grace=PATIENCE)
            assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert single.statistics().workers.started == 1


# --- what does not stop --------------------------------------------------------------------------


def wait_for_hit(future: Any) -> None:
    """Wait until it is known where a task was when it was struck."""
    while not future._stop.places:
        pass


def test_a_task_in_c_is_left_behind_and_its_worker_replaced(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        stuck = pool.submit(stay_in_c, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        following = pool.submit(add, 1, 2)
        assert stuck.interrupt(grace=PATIENCE)
        wait_for_hit(stuck)
        assert stuck.interrupt(grace=0.01)
        with pytest.raises(TaskInterrupted, match=r"did not stop within 0\.01 s") as caught:
            stuck.result(PATIENCE)
        assert caught.value.abandoned.startswith("InterpreterPoolExecutor-")
        assert "in stay_in_c" in caught.value.stack
        assert following.result(PATIENCE) == 3
        workers = pool.statistics().workers
        assert (workers.abandoned, workers.given_up, workers.started) == (1, 1, 2)
        assert "1 abandoned" in repr(pool)
        gate.open()  # it comes back, and goes
    assert [str(it.message) for it in recwarn if "was abandoned" in str(it.message)]


def test_shutdown_does_not_wait_for_what_was_left_behind(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(1)
    stuck = pool.submit(stay_in_c, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    with warnings.catch_warnings(record=True):
        stuck.interrupt(grace=0)
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        pool.shutdown()
    assert pool.statistics().workers.abandoned == 1
    gate.open()  # what is left ends by itself, and the test's end sees to it that nothing is left


def test_an_abandoned_worker_takes_no_task_when_it_comes_back(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool, warnings.catch_warnings(record=True):
        stuck = pool.submit(stay_in_c, arrivals.entry, gate.exit, "late")
        arrivals.wait()
        stuck.interrupt(grace=0)
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        gate.open()
        assert [pool.submit(identity, n).result(PATIENCE) for n in range(20)] == [*range(20)]
        assert isinstance(stuck.exception(), TaskInterrupted)


class Waits:
    """What waits for a byte where it is loaded."""

    def __init__(self, entry: int, fd: int) -> None:
        self.ends = entry, fd

    def __reduce__(self) -> Any:
        return arrive_and_pass, (*self.ends, None)


def test_an_abandoned_worker_does_not_begin_what_it_was_abandoned_for(
    monkeypatch: pytest.MonkeyPatch, arrivals: Gate, gate: Gate
) -> None:
    enter = _worker._enter
    last, obeyed = "forget(-1)", threading.Event()

    def enter_and_say(interpreter: int, order: str) -> None:
        enter(interpreter, order)
        if order == last:
            obeyed.set()

    monkeypatch.setattr(_worker, "_enter", enter_and_say)
    with InterpreterPoolExecutor(1) as pool, warnings.catch_warnings(record=True):
        late = pool.submit(write, Waits(arrivals.entry, gate.exit), arrivals.entry)
        arrivals.wait()  # it loads its argument
        (worker,) = pool._engine.staff.workers.values()
        assert late.interrupt(grace=0)
        assert isinstance(late.exception(PATIENCE), TaskInterrupted)
        worker._orders.put(last)  # behind all that it is told of its task
        assert obeyed.wait(PATIENCE)
        gate.open()
        worker.join()
    assert select.select([arrivals.exit], [], [], 0)[0] == []


def test_a_worker_that_has_just_come_back_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, arrivals: Gate, gate: Gate
) -> None:
    # It would sleep for ever: who is given up is sent no stop, and woken by nobody.
    with InterpreterPoolExecutor(1) as pool:
        late = pool.submit(swallow, arrivals.entry, gate.exit)
        arrivals.wait()
        assert late.interrupt(grace=PATIENCE)
        arrivals.wait()
        staff = pool._engine.staff
        find = staff.of_task

        def find_as_it_ends(task: int) -> Any:
            worker = find(task)
            assert worker is not None
            gate.open()
            while worker.board[channels.TASK]:
                pass  # until it sleeps; its answer is not read, for the lock is held
            return worker

        monkeypatch.setattr(staff, "of_task", find_as_it_ends)
        pool._engine.stopper._give_up(late._task)
        monkeypatch.undo()
        assert isinstance(late.exception(PATIENCE), TaskInterrupted)
        workers = pool.statistics().workers
        assert (workers.given_up, workers.idle) == (0, 1)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3


def hold_the_next(entry: int, fd: int, *, is_struck: bool) -> None:
    """Have this worker take its next task and wait for a byte before its board names that.

    Args:
        entry: where it says that it waits.
        fd: where it waits.
        is_struck: whether strikes do what they are for, and say so; or nothing.
    """
    import os
    import sys

    loop: Any = sys.modules["_interpool_loop"]
    real = loop.marshal

    class Held:
        dumps = real.dumps

        @staticmethod
        def loads(data: bytes) -> Any:
            loop.marshal = real
            os.write(entry, b".")
            os.read(fd, 1)
            return real.loads(data)

    loop.marshal = Held
    gate: Any = sys.modules["_interpool_gate"]
    strike = gate.strike

    def strike_or_not(task: int) -> Any:
        if is_struck:
            places = strike(task)
            os.write(entry, b".")
            return places
        return None

    gate.strike = strike_or_not


class Clock:
    """Which settings of a pool's clock there are, by the last word of their keys."""

    def __init__(self, pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[Any] = []
        keeper = pool._engine.timekeeper
        self._set = keeper.set
        monkeypatch.setattr(keeper, "set", self._note)

    def _note(self, key: Any, when: float, action: Callable[[], None]) -> None:
        self.keys.append(key[1] if isinstance(key, tuple) else "rest")
        self._set(key, when, action)


def test_a_task_that_no_board_names_in_time_is_found_when_one_does(
    monkeypatch: pytest.MonkeyPatch, arrivals: Gate, gate: Gate
) -> None:
    with InterpreterPoolExecutor(2) as pool, warnings.catch_warnings(record=True):
        pool.submit(hold_the_next, arrivals.entry, gate.exit, is_struck=False).result(PATIENCE)
        stuck = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 0)
        arrivals.wait()  # it is taken, and nobody knows by whom
        clock = Clock(pool, monkeypatch)
        assert stuck.interrupt(grace=0)
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        assert clock.keys == [stuck._task]  # and is not set again: it is heard of
        gate.open()
        arrivals.wait()  # it has begun; no strike has found it
        others = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(2)]
        arrivals.wait(2)  # both at once: there is another worker
        gate.open(3)
        assert [other.result(PATIENCE) for other in others] == [0, 1]
        assert pool.statistics().workers.given_up == 1
        assert clock.keys == [stuck._task, "unfound"]
        assert not pool._engine.stopper.unfound
        assert not any(it.board[channels.HEED] for it in pool._engine.staff.everybody())


def test_one_that_never_begins_costs_no_worker(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(hold_the_next, arrivals.entry, gate.exit, is_struck=True).result(PATIENCE)
        late = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 0)
        arrivals.wait()
        assert late.interrupt(grace=0)
        assert isinstance(late.exception(PATIENCE), TaskInterrupted)
        arrivals.wait()  # the strike has found nothing, and left word
        gate.open()
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        workers = pool.statistics().workers
        assert (workers.started, workers.given_up) == (1, 0)
        assert not pool._engine.stopper.unfound
        assert not any(it.board[channels.HEED] for it in pool._engine.staff.everybody())


def test_what_no_board_names_when_all_time_is_up_is_found_too(
    monkeypatch: pytest.MonkeyPatch, arrivals: Gate, gate: Gate
) -> None:
    pool = InterpreterPoolExecutor(1)
    with warnings.catch_warnings(record=True):
        pool.submit(hold_the_next, arrivals.entry, gate.exit, is_struck=False).result(PATIENCE)
        # It sleeps, as far as its board says.
        board = pool._engine.staff.workers[0].board
        stuck = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 0)
        arrivals.wait()
        board[channels.TASK] = 0
        clock = Clock(pool, monkeypatch)
        pool.terminate_workers()
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        gate.open()
        arrivals.wait()
        pool.shutdown()
    assert pool.statistics().workers.abandoned == 1
    assert clock.keys == [stuck._task, "rest", "unfound"]
    gate.open()


def test_a_task_may_be_taken_by_a_worker_that_has_just_been_given_up(
    arrivals: Gate, gate: Gate
) -> None:
    with InterpreterPoolExecutor(1) as pool, warnings.catch_warnings(record=True):
        stuck = pool.submit(spin, arrivals.entry)
        arrivals.wait()
        engine = pool._engine
        with engine.lock:  # as if for an earlier one, before it saw that
            assert engine.staff.abandon(engine.staff.workers[0])
        assert stuck.interrupt(grace=PATIENCE)
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        assert pool.statistics().workers.given_up == 1


def test_a_run_that_was_not_found_says_nothing_of_the_next(arrivals: Gate, gate: Gate) -> None:
    again = Retry(1, on=TaskTimeout, delay=0)
    with InterpreterPoolExecutor(1) as pool, warnings.catch_warnings(record=True):
        pool.submit(hold_the_next, arrivals.entry, gate.exit, is_struck=False).result(PATIENCE)
        future = pool.options(retries=again).submit(arrive_and_pass, arrivals.entry, gate.exit, 7)
        arrivals.wait()
        engine = pool._engine
        with engine.lock:
            engine.stopper.stop(future, Stop(Reason.TIMEOUT, grace=0, limit=1))
        while not pool.statistics().tasks.retried:
            pass
        gate.open()
        arrivals.wait(2)  # the first run, whose worker is given up for it; and the second
        assert future._stop is None
        gate.open(2)
        assert future.result(PATIENCE) == 7


def leave_stuck(depth: int, arrivals: int, entry: int, fd: int) -> None:
    """Give up a worker of this worker's own pool, or of a pool in the worker of that."""
    import os

    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        if depth > 1:
            own.submit(leave_stuck, depth - 1, arrivals, entry, fd).result()
            return
        stuck = own.submit(stay_in_c, entry, fd, 1)
        os.read(arrivals, 1)
        stuck.interrupt(grace=0)
        stuck.exception()


@pytest.mark.parametrize("depth", [1, 2])
def test_shutdown_does_not_wait_for_what_a_workers_own_pool_left_behind(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder, depth: int
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(leave_stuck, depth, arrivals.exit, arrivals.entry, gate.exit).result(PATIENCE)
    workers = pool.statistics().workers
    assert (workers.abandoned, workers.given_up) == (1, 1)
    assert [it for it in recwarn if "a task has made a pool there" in str(it.message)]
    gate.open()  # all of it comes back, and goes: the test's end sees to it that nothing is left


@pytest.mark.parametrize(
    "options", [{"max_tasks_per_worker": 1}, {"idle_timeout": 0.001, "min_workers": 0}], ids=str
)
def test_a_worker_that_leaves_is_given_up_if_its_own_pool_has_left_one_behind(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder, options: Any
) -> None:
    with InterpreterPoolExecutor(1, **options) as pool:
        pool.submit(leave_stuck, 1, arrivals.exit, arrivals.entry, gate.exit).result(PATIENCE)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    assert pool.statistics().workers.given_up == 1
    gate.open()


def test_terminate_gives_up_a_worker_whose_own_pool_has_left_one_behind_once(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder
) -> None:
    pool = InterpreterPoolExecutor(1)
    pool.submit(leave_stuck, 1, arrivals.exit, arrivals.entry, gate.exit).result(PATIENCE)
    pool.terminate_workers()
    pool.shutdown()
    assert pool.statistics().workers.given_up == 1
    gate.open()


# --- timeouts ------------------------------------------------------------------------------------


def test_a_task_that_runs_for_too_long_is_stopped(arrivals: Gate) -> None:
    with InterpreterPoolExecutor(1, timeout=0.05) as pool:
        future = pool.submit(spin, arrivals.entry)
        with pytest.raises(TaskTimeout, match=r"its timeout of 0\.05 s") as e:
            future.result(PATIENCE)
        assert (e.value.limit, e.value.function) == (0.05, "spin")
        assert "in spin" in e.value.stack
        assert isinstance(e.value, TimeoutError)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        tasks = pool.statistics().tasks
    assert (tasks.timed_out, tasks.done, tasks.interrupted) == (1, 1, 0)


def test_an_interrupt_after_the_time_is_up_is_the_end(arrivals: Gate, gate: Gate) -> None:
    retries = Retry(1, on=TaskTimeout, delay=0)
    with InterpreterPoolExecutor(1, timeout=0.05, retries=retries) as pool:
        future = pool.submit(swallow, arrivals.entry, gate.exit)
        arrivals.wait(2)  # it has begun, and has caught the exception
        assert future.interrupt(grace=PATIENCE)
        gate.open()
        with pytest.raises(TaskInterrupted):
            future.result(PATIENCE)
        assert pool.statistics().tasks.retried == 0


def test_waiting_does_not_count(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(1) as pool:
        running = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        waiting = pool.options(timeout=0.05).submit(add, 1, 2)
        with pytest.raises(TimeoutError):
            running.result(0.2)  # four times as long as the other may run
        gate.open()
        assert waiting.result(PATIENCE) == 3


def test_a_map_has_a_limit_for_each_item(arrivals: Gate) -> None:
    def spin_if(n: int) -> int:
        while n == 3:
            pass
        return n

    with InterpreterPoolExecutor(2, timeout=0.1) as pool:
        results = pool.map(spin_if, range(6), chunksize=6)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(TaskTimeout):
            next(results)
        assert sorted(pool.map_unordered(spin_if, (1, 2))) == [1, 2]


def test_options_are_of_their_calls(pool: InterpreterPoolExecutor, arrivals: Gate) -> None:
    view = pool.options(timeout=0.05)
    limited = view.submit(spin, arrivals.entry)
    unlimited = view.options(timeout=None).submit(spin, arrivals.entry)
    assert isinstance(limited.exception(PATIENCE), TaskTimeout)
    assert unlimited.running()
    unlimited.interrupt()
    assert list(view.map(add, range(3), range(3))) == [0, 2, 4]
    assert sorted(view.map_unordered(identity, range(3))) == [0, 1, 2]
    assert "timeout=0.05" in repr(view)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"timeout": 0}, ValueError, "timeout must be greater than 0"),
        ({"timeout": -1.5}, ValueError, "timeout must be greater than 0"),
        ({"timeout": float("nan")}, ValueError, "timeout must be greater than 0"),
        ({"timeout": "1"}, TypeError, "timeout must be a number"),
        ({"retries": -1}, ValueError, "retries must not be negative"),
        ({"retries": 1.5}, TypeError, "retries must be an integer or a Retry"),
        ({"lane": "fast"}, ValueError, "lane must be one of"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    pool: InterpreterPoolExecutor, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        pool.options(**options)


@pytest.mark.parametrize("kind", [TaskTimeout, TaskInterrupted])
def test_the_errors_pickle(kind: type[TaskInterrupted]) -> None:
    error = kind("a message", function="f", stack="s", abandoned="w")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, "a message", vars(error))


@pytest.mark.parametrize("runs", [1, 2])
def test_a_closed_pool_ends_with_the_last_run_of_a_task(
    arrivals: Gate, gate: Gate, runs: int
) -> None:
    # That it is the last one is decided when its frame has been read, and no other one comes.
    def fail_at(entry: int, fd: int) -> None:
        import os

        os.write(entry, b".")
        os.read(fd, 1)
        raise ValueError

    pool = InterpreterPoolExecutor(1, retries=Retry(runs, on=ValueError, delay=0))
    future = pool.submit(fail_at, arrivals.entry, gate.exit)
    for _ in range(runs):
        arrivals.wait()
        gate.open()
    arrivals.wait()
    pool.shutdown(wait=False)
    gate.open()
    assert isinstance(future.exception(PATIENCE), ValueError)
    pool.shutdown()


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_a_closed_pool_ends_when_the_task_that_waits_for_its_next_run_is_withdrawn(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delayed = threading.Event()

    def pause(_retry: Retry, _failed: int) -> float:
        delayed.set()
        return PATIENCE

    monkeypatch.setattr(Retry, "pause", pause)
    pool = InterpreterPoolExecutor(1, retries=1)
    future = pool.submit(divide, 1, 0)
    assert delayed.wait(PATIENCE)
    pool.shutdown(wait=False)
    assert getattr(future, how)()
    pool.shutdown()


# --- all at once ---------------------------------------------------------------------------------


def test_terminate_stops_what_runs_and_cancels_what_waits(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    futures = [pool.submit(spin, arrivals.entry) for _ in range(5)]
    arrivals.wait(2)
    pool.terminate_workers()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(add, 1, 2)
    ended = [_end_of(future) for future in futures]
    assert sorted(ended) == ["CancelledError"] * 3 + ["TaskInterrupted"] * 2
    pool.terminate_workers()
    pool.shutdown()


def _end_of(future: concurrent.futures.Future[Any]) -> str:
    try:
        return type(future.exception(PATIENCE)).__name__
    except CancelledError as error:
        return type(error).__name__


def test_terminate_ends_a_map(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    results = pool.map(spin, [arrivals.entry] * 100)
    arrivals.wait(2)
    pool.terminate_workers()
    with pytest.raises((TaskInterrupted, CancelledError)):
        next(results)
    pool.shutdown()


def test_terminate_in_an_initializer(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(1, initializer=spin, initargs=(arrivals.entry,))
    future = pool.submit(add, 1, 2)
    arrivals.wait()
    pool.terminate_workers()
    assert future.cancelled()
    pool.shutdown()


def test_terminate_an_initializer_that_stays_in_c(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(
        1, initializer=stay_in_c, initargs=(arrivals.entry, gate.exit, 1)
    )
    future = pool.submit(add, 1, 2)
    arrivals.wait()
    with warnings.catch_warnings(record=True):
        pool.terminate_workers()
        assert future.cancelled()
        pool.shutdown()
    gate.open()


def test_terminate_a_worker_in_which_a_thread_goes_on(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder
) -> None:
    def leave_a_thread(entry: int, fd: int) -> None:
        import os
        import threading

        def wait() -> None:
            os.write(entry, b".")
            os.read(fd, 1)

        threading.Thread(target=wait).start()

    pool = InterpreterPoolExecutor(1)
    pool.submit(leave_a_thread, arrivals.entry, gate.exit).result(PATIENCE)
    arrivals.wait()
    pool.terminate_workers()
    pool.shutdown()
    assert pool.statistics().workers.abandoned == 1
    assert [it for it in recwarn if "threads go on there" in str(it.message)]
    gate.open()


def test_threads_that_go_on_are_heard_of_when_the_time_is_up(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave_a_thread(entry: int, fd: int) -> None:
        import os
        import threading

        def wait() -> None:
            os.write(entry, b".")
            os.read(fd, 1)

        threading.Thread(target=wait).start()

    pool = InterpreterPoolExecutor(1)
    pool.submit(leave_a_thread, arrivals.entry, gate.exit).result(PATIENCE)
    arrivals.wait()
    engine = pool._engine
    until_asleep(pool)
    clock = Clock(pool, monkeypatch)
    with engine.lock:  # the worker sleeps, and leaves later
        engine.stopper._end_rest()
    assert not engine.staff.abandoned
    pool.shutdown()
    assert pool.statistics().workers.abandoned == 1
    assert [it for it in recwarn if "threads go on there" in str(it.message)]
    assert clock.keys == ["leaving"]
    gate.open()


def until_asleep(pool: InterpreterPoolExecutor) -> None:
    while not pool.statistics().workers.idle:
        pass


# --- no thread for the clock ---------------------------------------------------------------------


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The system gives no thread for the clock, until this is called."""

    def refuse(*_: object) -> Any:
        class Refused:
            def start(self) -> None:
                raise RuntimeError("can't start new thread")

        return Refused()

    monkeypatch.setattr(_timekeeper, "_threads", SimpleNamespace(make=refuse))
    return lambda: monkeypatch.setattr(_timekeeper, "_threads", _threads)


@pytest.mark.usefixtures("no_clock")
def test_without_a_clock_an_interrupted_task_ends_at_once(
    arrivals: Gate, gate: Gate, recwarn: pytest.WarningsRecorder
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        stuck = pool.submit(stay_in_c, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        assert stuck.interrupt(grace=PATIENCE)
        with pytest.raises(TaskInterrupted, match="was given no time to stop") as caught:
            stuck.result(PATIENCE)
        assert caught.value.abandoned
        assert stuck.interrupt() is False
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        assert pool.statistics().workers.given_up == 1
        gate.open()
    assert [str(it.message) for it in recwarn if "was given no time" in str(it.message)]


@pytest.mark.usefixtures("no_clock")
@pytest.mark.parametrize("lane", ["process", "thread"])
def test_without_a_clock_an_interrupt_ends_a_task_in_each_lane(
    arrivals: Gate, gate: Gate, lane: Any
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        function = arrive_and_pass if lane == "thread" else spin_here
        args = (arrivals.entry, gate.exit, 1) if lane == "thread" else ()
        stuck = pool.options(lane=lane).submit(function, *args)
        if lane == "thread":
            arrivals.wait()
        else:
            while not stuck.running():
                pass
        assert stuck.interrupt(grace=PATIENCE)
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        gate.open()


def spin_here() -> None:
    while True:
        pass


@pytest.mark.usefixtures("no_clock")
def test_without_a_clock_a_task_that_nobody_has_named_is_found_and_given_up(
    arrivals: Gate, gate: Gate
) -> None:
    with InterpreterPoolExecutor(1) as pool, warnings.catch_warnings(record=True):
        pool.submit(hold_the_next, arrivals.entry, gate.exit, is_struck=False).result(PATIENCE)
        stuck = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 0)
        arrivals.wait()
        assert stuck.interrupt()
        assert isinstance(stuck.exception(PATIENCE), TaskInterrupted)
        gate.open()
        arrivals.wait()
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        assert pool.statistics().workers.given_up == 1
        gate.open()


@pytest.mark.usefixtures("no_clock")
def test_without_a_clock_terminate_waits_for_nobody(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    futures = [pool.submit(stay_in_c, arrivals.entry, gate.exit, n) for n in range(2)]
    arrivals.wait(2)
    with warnings.catch_warnings(record=True):
        pool.terminate_workers()
        assert [_end_of(future) for future in futures] == ["TaskInterrupted"] * 2
        pool.shutdown()
    assert pool.statistics().workers.abandoned == 2
    gate.open(2)


@pytest.mark.parametrize("lane", ["interpreter", "process", "thread"])
def test_without_a_clock_nothing_is_taken_that_is_to_be_limited(
    no_clock: Callable[[], None], lane: Any
) -> None:
    with InterpreterPoolExecutor(1) as pool:
        limited = pool.options(timeout=PATIENCE, lane=lane)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no thread for the pool's clock"):
                limited.submit(abs, -1)
            with pytest.raises(RuntimeError, match="no thread for the pool's clock"):
                limited.map(abs, [-1, -2])
        assert pool.submit(abs, -3).result(PATIENCE) == 3
        no_clock()
        assert limited.submit(abs, -4).result(PATIENCE) == 4
        assert [*limited.map(abs, [-1, -2])] == [1, 2]


@pytest.mark.usefixtures("no_clock")
@pytest.mark.parametrize("lane", ["interpreter", "process", "thread"])
def test_without_a_clock_a_task_that_fails_is_not_tried_again(lane: Any) -> None:
    with InterpreterPoolExecutor(1) as pool:
        error = pool.options(retries=3, lane=lane).submit(divide, 1, 0).exception(PATIENCE)
        assert isinstance(error, ZeroDivisionError)
        assert "Run 1 was the last" in error.__notes__[-1]
        assert "can't start new thread" in error.__notes__[-1]
        tasks = pool.statistics().tasks
        assert (tasks.failed, tasks.retried) == (1, 0)


def test_without_a_clock_idle_workers_stay(
    no_clock: Callable[[], None], recwarn: pytest.WarningsRecorder
) -> None:
    with InterpreterPoolExecutor(2, idle_timeout=0.01, min_workers=0) as pool:
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        until_asleep(pool)
        no_clock()
        pool.prewarm()  # another one begins, and there is a clock again
        while pool._engine.staff.everybody():
            pass
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
    assert [it for it in recwarn if "stay for longer than their idle_timeout" in str(it.message)]


def test_ctrl_c_warns_of_nothing(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(1)
    with pytest.raises(KeyboardInterrupt), pool:  # noqa: PT012 - it is raised in the block
        stuck = pool.submit(swallow, arrivals.entry, gate.exit)
        arrivals.wait()
        raise KeyboardInterrupt
    assert isinstance(stuck.exception(), TaskInterrupted)
    assert pool.statistics().workers.abandoned == 1
    gate.open()


def test_terminate_a_pool_that_starts() -> None:
    for _ in range(5):
        pool = InterpreterPoolExecutor(2)
        future = pool.submit(add, 1, 2)
        pool.terminate_workers()
        pool.shutdown()
        assert future.cancelled() or future.done()


def test_terminate_from_a_callback(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    running = pool.submit(spin, arrivals.entry)
    arrivals.wait()
    pool.submit(add, 1, 2).add_done_callback(lambda _: pool.terminate_workers())
    assert isinstance(running.exception(PATIENCE), TaskInterrupted)
    pool.shutdown()


def test_terminate_from_several_threads(arrivals: Gate) -> None:
    pool = InterpreterPoolExecutor(2)
    running = pool.submit(spin, arrivals.entry)
    arrivals.wait()
    threads = [threading.Thread(target=pool.terminate_workers) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert isinstance(running.exception(PATIENCE), TaskInterrupted)
    pool.shutdown()


def test_a_terminated_pool_that_was_never_used() -> None:
    pool = InterpreterPoolExecutor(2)
    pool.terminate_workers()
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(add, 1, 2)


def test_interrupts_and_results_of_many_threads(pool: InterpreterPoolExecutor) -> None:
    ended: list[str] = []

    def use() -> None:
        for n in range(50):
            future = pool.submit(pass_soon, n)
            if n % 2:
                future.interrupt(grace=PATIENCE)
            ended.append(_end_of(future))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(ended) == 200
    assert set(ended) <= {"NoneType", "TaskInterrupted"}
    assert ended.count("NoneType") >= 100


def pass_soon(n: int) -> int:
    return sum(range(n))


def test_a_task_of_its_own_pool_stops_with_it(arrivals: Gate) -> None:
    def inner(entry: int) -> list[int]:
        from interpool import InterpreterPoolExecutor

        with InterpreterPoolExecutor(1) as nested:
            found = [nested.submit(int, "7").result()]
            import os

            os.write(entry, b".")
            while True:
                found += [nested.submit(int, "7").result()]

    with InterpreterPoolExecutor(1) as pool:
        future = pool.submit(inner, arrivals.entry)
        arrivals.wait()
        assert future.interrupt(grace=PATIENCE)
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3


def wait_for_result(entry: int) -> None:
    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        own.submit(spin, entry).result()


def wait_for_the_end_of_the_pool(entry: int) -> None:
    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        own.submit(spin, entry)


def wait_for_a_map(entry: int) -> None:
    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        list(own.map(spin, [entry]))


def wait_for_one_of_them(entry: int) -> None:
    import concurrent.futures

    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        concurrent.futures.wait([own.submit(spin, entry)])


def wait_in_a_map_beside_a_reader(entry: int) -> None:
    import threading

    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(2) as own:
        reader = threading.Thread(target=own.submit(spin, entry).exception)
        reader.start()
        while own._engine._collector is None or own._engine._collector._reader is None:
            pass
        list(own.map(spin, [entry]))


def wait_two_deep(entry: int) -> None:
    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as own:
        own.submit(wait_for_result, entry).result()


def wait_for_an_item(entry: int) -> None:
    import os
    import queue

    os.write(entry, b".")
    queue.Queue[None]().get()


@pytest.mark.parametrize(
    "function",
    [
        wait_for_result,
        wait_for_the_end_of_the_pool,
        wait_for_a_map,
        wait_for_one_of_them,
        wait_in_a_map_beside_a_reader,
        wait_two_deep,
        wait_for_an_item,
    ],
)
def test_a_task_that_waits_is_woken_for_it(
    pool: InterpreterPoolExecutor, arrivals: Gate, function: Callable[[int], None]
) -> None:
    future = pool.submit(function, arrivals.entry)
    arrivals.wait()
    assert future.interrupt(grace=PATIENCE)
    assert isinstance(future.exception(PATIENCE), TaskInterrupted)
    assert pool.statistics().workers.given_up == 0


def test_what_a_task_passes_is_served_after_an_interrupt(
    pool: InterpreterPoolExecutor, gate: Gate
) -> None:
    waiting = pool.submit(pass_through, gate.exit, 5)
    gate.open()
    assert waiting.result(PATIENCE) == 5
