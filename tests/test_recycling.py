"""Workers that make room for others: after so many tasks, or when they have had nothing to do."""

import _interpreters
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from interpool import BrokenInterpreterPool, InterpreterPoolExecutor, _spares, _worker
from interpool._inside import channels
from support import PATIENCE, Gate, add, arrive_and_pass, identity, interpreter, pass_through

type Pool = InterpreterPoolExecutor


def until(is_so: Callable[[], object]) -> None:
    """Wait for what only figures tell."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def interpreters() -> set[int]:
    return {entry[0] for entry in _interpreters.list_all()}


def interpreter_of_item(_: int) -> int:
    import _interpreters

    return int(_interpreters.get_current()[0])


def say(entry: int) -> None:
    import os

    os.write(entry, b"i")


# --- after so many tasks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "most", "tasks"), [(1, 1, 6), (1, 3, 20), (2, 1, 9), (3, 4, 90)]
)
def test_no_worker_does_more_than_it_may(workers: int, most: int, tasks: int) -> None:
    with InterpreterPoolExecutor(workers, max_tasks_per_worker=most) as pool:
        futures = [pool.submit(interpreter) for _ in range(tasks)]
        done = Counter(future.result(PATIENCE) for future in futures)
        assert max(done.values()) <= most
        # Not one more than it takes, beside those that have not done all they may.
        assert -(-tasks // most) <= len(done) <= -(-tasks // most) + workers


def test_of_one_worker_each_does_just_as_many_as_it_may() -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=4) as pool:
        done = [pool.submit(interpreter).result(PATIENCE) for _ in range(12)]
    assert [done[0]] * 4 + [done[4]] * 4 + [done[8]] * 4 == done
    assert len(set(done)) == 3
    assert pool.statistics().workers.recycled == 3


def test_tasks_that_fail_count() -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=2) as pool:
        found = []
        for _ in range(3):
            assert isinstance(pool.submit(int, "x").exception(PATIENCE), ValueError)
            found.append(pool.submit(interpreter).result(PATIENCE))
        assert len(set(found)) == 3


def test_of_a_map_each_item_counts_and_a_piece_is_finished() -> None:
    with InterpreterPoolExecutor(2, max_tasks_per_worker=10) as pool:
        done = Counter(pool.map(interpreter_of_item, range(100), chunksize=4))
        assert sum(done.values()) == 100
        assert max(done.values()) <= 12  # three pieces: the third is begun after 8
        done = Counter(pool.map(interpreter_of_item, range(100)))
        assert sum(done.values()) == 100
        assert len(done) > 1


def test_a_worker_that_stands_by_runs_nothing(arrivals: Gate, gate: Gate) -> None:
    """Though there is a task for it, and nothing else to wait for than the one that is full."""
    with InterpreterPoolExecutor(1, max_tasks_per_worker=1) as pool:
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        second = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 2)
        arrivals.wait()
        until(lambda: pool.statistics().workers.standby == 1)
        standing_by = [*pool._engine.staff.standby.values()]
        until(lambda: not pool._engine.staff.starting)
        assert first.running()
        assert not second.running()
        assert pool.statistics().workers.busy == 1
        gate.open()
        arrivals.wait()
        assert first.result(PATIENCE) == 1
        assert [*pool._engine.staff.workers.values()] == standing_by
        gate.open()
        assert second.result(PATIENCE) == 2


def test_its_initializer_has_run_when_the_other_one_goes(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(
        1, initializer=say, initargs=(arrivals.entry,), max_tasks_per_worker=1
    ) as pool:
        future = pool.submit(pass_through, gate.exit, 1)
        arrivals.wait(2)  # the first worker's, and its successor's while the task runs
        assert not future.done()
        gate.open()
        assert future.result(PATIENCE) == 1


def test_one_task_at_a_time_takes_one_worker_at_a_time() -> None:
    """Below `max_workers`, too, one that stands by waits for its place."""
    with InterpreterPoolExecutor(8, max_tasks_per_worker=5) as pool:
        for number in range(25):
            assert pool.submit(identity, number).result(PATIENCE) == number
            workers = pool.statistics().workers
            # Of those the last may be about to leave.
            assert workers.idle + workers.busy + workers.standby + workers.starting <= 3
        assert pool.statistics().workers.started <= 7


def test_a_standby_takes_a_place_that_is_wanted(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(2, max_tasks_per_worker=1) as pool:
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        until(lambda: pool.statistics().workers.standby == 1)
        second = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 2)
        arrivals.wait()  # beside the first one
        gate.open(2)
        assert [first.result(PATIENCE), second.result(PATIENCE)] == [1, 2]


def test_recycled_interpreters_are_gone() -> None:
    before = interpreters()
    with InterpreterPoolExecutor(1, max_tasks_per_worker=1) as pool:
        done = {pool.submit(interpreter).result(PATIENCE) for _ in range(10)}
        assert len(done) == 10
        until(lambda: len(interpreters() & done) == 0)
        assert len(interpreters() - before) <= 3
        until(lambda: not pool._engine.staff.leaving)


def test_a_closed_pool_recycles_on(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(1, max_tasks_per_worker=10)
    first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
    arrivals.wait()
    futures = [pool.submit(interpreter) for _ in range(300)]  # more than the queue takes
    pool.shutdown(wait=False)
    gate.open()
    pool.shutdown()
    assert first.result(0) == 1
    done = Counter(future.result(0) for future in futures)
    assert max(done.values()) <= 10
    # None was started for nothing but the last ones, whose successors were let go.
    assert pool.statistics().workers.started <= 33


def test_a_closed_pool_has_successors_stand_by(arrivals: Gate, gate: Gate) -> None:
    pool = InterpreterPoolExecutor(1, max_tasks_per_worker=2)
    futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(4)]
    arrivals.wait()
    pool.shutdown(wait=False)
    gate.open()
    arrivals.wait()  # the first worker's last task
    until(lambda: pool.statistics().workers.standby == 1)
    gate.open(3)
    pool.shutdown()
    assert [future.result(0) for future in futures] == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["shutdown", "cancel", "terminate"])
def test_those_that_stand_by_go_with_the_pool(arrivals: Gate, gate: Gate, how: str) -> None:
    pool = InterpreterPoolExecutor(2, max_tasks_per_worker=1)
    futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(5)]
    arrivals.wait(2)
    until(lambda: pool.statistics().workers.standby == 2)
    if how == "terminate":
        pool.terminate_workers()
    else:
        pool.shutdown(wait=False, cancel_futures=how == "cancel")
    gate.open(5)
    pool.shutdown()
    assert all(future.done() for future in futures)
    workers = pool.statistics().workers
    assert workers.standby == workers.idle == workers.busy == 0


def test_an_initializer_of_one_that_stands_by_is_terminated(arrivals: Gate, gate: Gate) -> None:
    def initialize(entry: int, fd: int) -> None:
        import os

        os.write(entry, b"i")
        os.read(fd, 1)

    with InterpreterPoolExecutor(
        1, initializer=initialize, initargs=(arrivals.entry, gate.exit), max_tasks_per_worker=1
    ) as pool:
        gate.open()
        future = pool.submit(interpreter)
        arrivals.wait()
        assert future.result(PATIENCE)
        arrivals.wait()  # another one's initializer, which stays in C
        pool.terminate_workers()
        with pytest.warns(RuntimeWarning, match="initializer of the worker"):
            pool.shutdown()
        assert pool.statistics().workers.abandoned == 1
        gate.open()
    # The test's end sees to it that the one that was given up has gone.


# --- replacements that fail ----------------------------------------------------------------------


def fail_for_an_x(fd: int) -> None:
    import os

    if os.read(fd, 1) == b"x":
        raise LookupError("no more licences")


def test_an_initializer_that_fails_in_a_replacement_breaks_the_pool(
    arrivals: Gate, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    refused = pytest.raises(BrokenInterpreterPool, match="no more licences")
    with (
        Gate() as licences,
        InterpreterPoolExecutor(
            1, initializer=fail_for_an_x, initargs=(licences.exit,), max_tasks_per_worker=1
        ) as pool,
    ):
        licences.open()
        first = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "first")
        arrivals.wait()
        waiting = [pool.submit(add, n, 1) for n in range(200)]
        items = pool.map(identity, range(5))
        os.write(licences.entry, b"x")
        for future in waiting:
            with refused:
                future.result(PATIENCE)
        with refused:
            next(items)
        with refused:
            pool.submit(add, 1, 2)
        assert "broken" in repr(pool)
        gate.open()
        assert first.result(PATIENCE) == "first"  # what runs goes on
    assert "no more licences" in caplog.text


class Refusal:
    """Interpreters that cannot be had, for so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = self.asked = 0
        self._create = _spares.create
        monkeypatch.setattr(_worker, "create", self.create)
        monkeypatch.setattr(_spares.SPARES, "take", lambda: None)

    def create(self) -> int:
        if self.times:
            self.times -= 1
            self.asked += 1
            raise MemoryError("no memory for an interpreter")
        return self._create()


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Refusal:
    return Refusal(monkeypatch)


def test_a_successor_is_asked_for_once(
    refusal: Refusal, arrivals: Gate, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=2) as pool:
        futures = [pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(3)]
        arrivals.wait()
        refusal.times = 1_000_000
        gate.open()
        arrivals.wait()  # its last one: the successor is asked for
        until(lambda: refusal.asked)
        until(lambda: not pool.statistics().workers.standby)
        for _ in range(20):  # whatever is heard meanwhile
            pool._engine.report(0, channels.WAKE)
        assert pool.statistics().workers.started == 2
        refusal.times = 0
        gate.open(2)
        assert [future.result(PATIENCE) for future in futures] == [0, 1, 2]
        assert refusal.asked == 1
        assert pool._engine.staff.most == 1
    assert caplog.text.count("no memory for an interpreter") >= 1


def test_with_none_left_and_none_to_be_had_the_pool_is_broken_and_says_why(
    refusal: Refusal, arrivals: Gate, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=1) as pool:
        gate.open()
        future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        assert future.result(PATIENCE) == 1
        refusal.times = 1_000_000
        futures = [pool.submit(add, 1, 2) for _ in range(3)]  # a successor may have been there
        with pytest.raises(BrokenInterpreterPool, match="no memory for an interpreter"):
            futures[2].result(PATIENCE)


# --- nothing to do -------------------------------------------------------------------------------


@pytest.mark.parametrize(("least", "left"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_idle_workers_go_but_for_some(least: int, left: int) -> None:
    with InterpreterPoolExecutor(3, idle_timeout=0.02, min_workers=least) as pool:
        pool.prewarm()
        until(lambda: len(pool._engine.staff.everybody()) == left)
        # And come again.
        assert pool.submit(add, 1, 2).result(PATIENCE) == 3
        assert [*pool.map(identity, range(20))] == [*range(20)]
        until(lambda: len(pool._engine.staff.everybody()) == max(left, least and 1))


def test_one_that_works_stays(arrivals: Gate, gate: Gate) -> None:
    with InterpreterPoolExecutor(2, idle_timeout=0.02, min_workers=0) as pool:
        future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        pool.submit(add, 1, 2).result(PATIENCE)
        until(lambda: len(pool._engine.staff.everybody()) == 1)
        assert future.running()
        gate.open()
        assert future.result(PATIENCE) == 1
        until(lambda: not pool._engine.staff.everybody())


def test_without_a_limit_they_stay() -> None:
    with InterpreterPoolExecutor(2) as pool:
        pool.prewarm()
        until(lambda: pool.statistics().workers.idle == 2)
        assert pool._engine.timekeeper._thread is None


def test_interpreters_of_idle_workers_are_gone() -> None:
    before = interpreters()
    with InterpreterPoolExecutor(2, idle_timeout=0.01, min_workers=0) as pool:
        done = {pool.submit(interpreter).result(PATIENCE) for _ in range(3)}
        until(lambda: not interpreters() & done)
        assert not interpreters() - before


def test_one_that_stood_by_goes_when_idle() -> None:
    """It has begun long before it was let in, and nobody else begins afterwards."""
    with InterpreterPoolExecutor(
        1, max_tasks_per_worker=1, idle_timeout=0.02, min_workers=0
    ) as pool:
        for number in range(3):
            assert pool.submit(identity, number).result(PATIENCE) == number
            until(lambda: not pool._engine.staff.everybody())


def test_those_that_begin_do_not_keep_the_idle_ones() -> None:
    """A look at the idle ones is not put off by each that begins."""
    with InterpreterPoolExecutor(3, idle_timeout=LONG_ENOUGH, min_workers=1) as pool:
        pool.prewarm(2)
        until(lambda: pool.statistics().workers.idle == 2)
        heap = pool._engine.timekeeper._heap
        (first,) = [when for when, *_ in heap]
        pool.prewarm(3)
        until(lambda: pool.statistics().workers.idle == 3)
        assert min(when for when, *_ in heap) == first


LONG_ENOUGH = 600.0  # seconds: nobody goes meanwhile


def test_submits_beside_workers_that_go_are_all_done() -> None:
    """A task may come when a worker has just been told to go."""
    with InterpreterPoolExecutor(2, idle_timeout=0.001, min_workers=0) as pool:
        for number in range(100):
            assert pool.submit(identity, number).result(PATIENCE) == number
            threading.Event().wait(0.0005 * (number % 5))


# --- stops, which are nobody's in particular ------------------------------------------------------


def hold_at(name: str, entry: int, fd: int) -> None:
    """Have this worker wait when it next calls a function of `channels`, before that begins."""
    import os
    import sys

    channels = sys.modules["_interpool_channels"]
    call = getattr(channels, name)

    def hold(*args: Any) -> Any:
        setattr(channels, name, call)
        os.write(entry, b".")
        os.read(fd, 1)
        return call(*args)

    setattr(channels, name, hold)


def given_up_when_it_had_looked(pool: Pool, arrivals: Gate, fd: int) -> _worker.Worker:
    """Return a worker that was given up behind its last look whether it is to leave."""
    engine = pool._engine
    assert pool.submit(hold_at, "give_way", arrivals.entry, fd).result(PATIENCE) is None
    arrivals.wait()
    (worker,) = engine.staff.workers.values()
    with engine.lock:
        assert engine.staff.abandon(worker)
    return worker


def test_one_that_was_given_up_takes_the_stop_of_another_one(arrivals: Gate, gate: Gate) -> None:
    with Gate() as held:
        pool = InterpreterPoolExecutor(1)
        lost = given_up_when_it_had_looked(pool, arrivals, held.exit)
        future = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, 1)
        arrivals.wait()
        pool.shutdown(wait=False)  # one stop, for the one worker that is left
        held.open()
        lost.join()
        gate.open()
        assert future.result(PATIENCE) == 1
        assert pool._engine.done.wait(PATIENCE)
        pool.shutdown()


def test_it_takes_the_stop_of_one_that_is_idle(arrivals: Gate, gate: Gate) -> None:
    with (
        Gate() as held,
        InterpreterPoolExecutor(1, idle_timeout=0.01, min_workers=0) as pool,
    ):
        lost = given_up_when_it_had_looked(pool, arrivals, held.exit)
        pool.submit(hold_at, "hear", arrivals.entry, gate.exit).result(PATIENCE)
        arrivals.wait()
        transport = pool._engine.transport
        assert transport is not None
        until(lambda: transport.stops)
        held.open()
        lost.join()
        gate.open()
        until(lambda: not pool._engine.staff.everybody())


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("max_tasks_per_worker", 0, ValueError),
        ("max_tasks_per_worker", -1, ValueError),
        ("max_tasks_per_worker", 1.5, TypeError),
        ("max_tasks_per_worker", "3", TypeError),
        ("idle_timeout", 0, ValueError),
        ("idle_timeout", -1, ValueError),
        ("idle_timeout", "1", TypeError),
    ],
)
def test_what_makes_no_sense_is_refused(option: str, value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=option):
        InterpreterPoolExecutor(1, **{option: value})


@pytest.mark.parametrize("least", [-1, 1.5, "1"])
def test_so_is_a_least_number_that_is_none(least: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="min_workers"):
        InterpreterPoolExecutor(1, idle_timeout=1, min_workers=least)


@pytest.mark.stress
def test_recycling_under_load_from_several_threads() -> None:
    with InterpreterPoolExecutor(
        3, max_tasks_per_worker=7, idle_timeout=0.005, min_workers=0
    ) as pool:

        def use(thread: int) -> None:
            for number in range(60):
                if number % 10 == thread:
                    assert [*pool.map(identity, range(30))] == [*range(30)]
                else:
                    assert pool.submit(add, thread, number).result(PATIENCE) == thread + number

        threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tasks = pool.statistics().tasks
        assert (tasks.done, tasks.failed) == (4 * (54 + 6 * 30), 0)
