"""The clock of a pool: what it calls, in which order, and what it keeps."""

import functools
import logging
import threading
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from interpool import _timekeeper
from interpool._timekeeper import Timekeeper
from support import PATIENCE


@pytest.fixture
def lock() -> threading.RLock:
    return threading.RLock()


@pytest.fixture
def clock(lock: threading.RLock) -> Iterator[Timekeeper]:
    made = Timekeeper("test", lock)
    yield made
    made.close()
    made.join()


class Calls:
    """Actions that note their names, and a wait for so many of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._heard = threading.Semaphore(0)

    def action(self, name: str) -> None:
        self.names.append(name)
        self._heard.release()

    def wait(self, number: int) -> list[str]:
        for _ in range(number):
            assert self._heard.acquire(timeout=PATIENCE)
        return self.names


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_there_is_no_thread_before_it_is_set(clock: Timekeeper) -> None:
    before = threading.active_count()
    clock.drop("nothing")
    assert threading.active_count() == before
    clock.set("a", time.monotonic() + 60, lambda: None)
    assert [it.name for it in threading.enumerate() if it.name == "test_timekeeper"]


def test_actions_are_called_in_the_order_in_which_they_are_due(
    clock: Timekeeper, lock: threading.RLock, calls: Calls
) -> None:
    now = time.monotonic()
    with lock:  # all of them are set before the first is called
        for name, when in (("c", 3), ("a", 1), ("d", 4), ("b", 2)):
            clock.set(name, now + when / 1_000, functools.partial(calls.action, name))
    assert calls.wait(4) == ["a", "b", "c", "d"]


def test_what_is_due_at_once_is_called_in_the_order_of_setting(
    clock: Timekeeper, lock: threading.RLock, calls: Calls
) -> None:
    with lock:
        for name in "abcd":
            clock.set(name, 0, functools.partial(calls.action, name))
    assert calls.wait(4) == ["a", "b", "c", "d"]


def test_none_is_called_before_it_is_due(clock: Timekeeper, calls: Calls) -> None:
    when = time.monotonic() + 0.05
    clock.set("a", when, lambda: calls.action(str(time.monotonic() >= when)))
    assert calls.wait(1) == ["True"]


def test_one_that_is_due_earlier_than_all_wakes_the_clock(clock: Timekeeper, calls: Calls) -> None:
    clock.set("late", time.monotonic() + 3_600, lambda: calls.action("late"))
    clock.set("early", time.monotonic() + 0.01, lambda: calls.action("early"))
    assert calls.wait(1) == ["early"]


@pytest.mark.parametrize(("first", "second"), [(0.01, 0.03), (3_600, 0.01)])
def test_what_is_set_again_is_called_once_and_then(
    clock: Timekeeper, lock: threading.RLock, calls: Calls, first: float, second: float
) -> None:
    now = time.monotonic()
    with lock:
        clock.set("a", now + first, lambda: calls.action("first"))
        clock.set("a", now + second, lambda: calls.action("second"))
    assert calls.wait(1) == ["second"]
    clock.set("b", time.monotonic() + 0.02, lambda: calls.action("b"))
    assert calls.wait(1) == ["second", "b"]


def test_what_is_taken_back_is_not_called(
    clock: Timekeeper, lock: threading.RLock, calls: Calls
) -> None:
    with lock:
        clock.set("a", 0, lambda: calls.action("a"))
        clock.set("b", 0, lambda: calls.action("b"))
        clock.drop("a")
        clock.drop("unknown")
    assert calls.wait(1) == ["b"]
    assert not clock._due


def test_an_action_may_set_and_drop(clock: Timekeeper, calls: Calls) -> None:
    def again() -> None:
        calls.action("first")
        clock.drop("dropped")
        clock.set("a", 0, lambda: calls.action("second"))

    clock.set("dropped", time.monotonic() + 60, lambda: calls.action("dropped"))
    clock.set("a", 0, again)
    assert calls.wait(2) == ["first", "second"]


def test_no_action_is_called_under_the_lock(
    clock: Timekeeper, lock: threading.RLock, calls: Calls
) -> None:
    taken = []

    def action() -> None:
        def take() -> None:
            if lock.acquire(timeout=PATIENCE):
                taken.append(True)
                lock.release()

        other = threading.Thread(target=take)
        other.start()
        other.join()
        calls.action("a")

    clock.set("a", 0, action)
    calls.wait(1)
    assert taken == [True]


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(), KeyboardInterrupt()])
def test_what_an_action_raises_is_reported_and_the_clock_goes_on(
    clock: Timekeeper, calls: Calls, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    with caplog.at_level(logging.ERROR):
        clock.set("a", 0, fail)
        clock.set("b", time.monotonic() + 0.001, lambda: calls.action("b"))
        calls.wait(1)
    assert "the timekeeper of a pool failed" in caplog.text


@pytest.mark.parametrize("keys", ["same", "dropped", "called"])
def test_memory_is_that_of_what_is_due(clock: Timekeeper, calls: Calls, keys: str) -> None:
    later = time.monotonic() + 3_600
    clock.set("first", later, lambda: None)

    def hammer(times: int) -> None:
        for number in range(times):
            key = "same" if keys == "same" else number
            clock.set(key, 0 if keys == "called" else later + number, lambda: None)
            if keys == "dropped":
                clock.drop(key)
        if keys == "called":
            clock.set("last", time.monotonic(), lambda: calls.action("last"))
            calls.wait(1)

    hammer(1_000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        hammer(100_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(clock._due) <= 2
    assert len(clock._heap) <= 2 * len(clock._due) + _timekeeper._SLACK
    if keys != "called":  # a dictionary keeps the room that it had at its largest
        assert after - before < 100_000


def test_nothing_is_called_after_close(clock: Timekeeper, calls: Calls) -> None:
    clock.set("a", time.monotonic() + 3_600, lambda: calls.action("a"))
    clock.close()
    clock.set("b", 0, lambda: calls.action("b"))
    clock.close()
    clock.join()
    clock.join()
    assert not calls.names
    assert "test_timekeeper" not in [thread.name for thread in threading.enumerate()]


def test_it_may_be_closed_and_joined_from_an_action(clock: Timekeeper, calls: Calls) -> None:
    def end() -> None:
        clock.close()
        clock.join()
        calls.action("closed")

    clock.set("a", 0, end)
    assert calls.wait(1) == ["closed"]


def test_closing_waits_for_no_action(clock: Timekeeper, calls: Calls) -> None:
    goes_on = threading.Event()

    def stay() -> None:
        calls.action("begun")
        goes_on.wait(PATIENCE)

    clock.set("a", 0, stay)
    calls.wait(1)
    clock.close()
    goes_on.set()


def test_a_thread_that_cannot_be_had_is_asked_for_again(
    clock: Timekeeper, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match=r"no thread for the pool's clock.*can't start"):
            clock.set("a", 0, lambda: calls.action("a"))
        with pytest.raises(RuntimeError, match="can't start"):
            clock.start()
    clock.set("b", 0, lambda: calls.action("b"))
    assert calls.wait(1) == ["b"]  # and not what was refused


def test_what_is_set_when_it_has_started_needs_no_thread(
    clock: Timekeeper, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.start()
    monkeypatch.setattr(threading, "Thread", None)
    clock.start()
    clock.set("a", 0, lambda: calls.action("a"))
    assert calls.wait(1) == ["a"]


def test_one_that_is_closed_does_not_start(clock: Timekeeper) -> None:
    clock.close()
    clock.start()
    assert clock._thread is None


def test_a_finalizer_that_sets_it_while_it_starts_starts_no_second_one(
    clock: Timekeeper, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def set_first(thread: threading.Thread) -> None:
        if not started:
            started.append(thread)
            clock.set("a", 0, lambda: calls.action("a"))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", set_first)
    clock.set("b", 0, lambda: calls.action("b"))
    assert calls.wait(2) == ["a", "b"]
    assert [it for it in threading.enumerate() if it.name == "test_timekeeper"] == started


def test_what_a_finalizer_in_its_thread_sets_just_before_it_sleeps_is_not_missed(
    clock: Timekeeper, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection between the clock's last look at what is due and its sleep."""

    class Threading:
        """What the clock asks for how long it may sleep, with a finalizer that comes then."""

        def __getattr__(self, name: str) -> object:
            is_sleepy = name == "TIMEOUT_MAX" and not calls.names
            if is_sleepy and threading.current_thread().name == "test_timekeeper":
                calls.action("finalized")
                clock.set("early", 0, lambda: calls.action("early"))
            return getattr(threading, name)

    monkeypatch.setattr(_timekeeper, "threading", Threading())
    clock.set("late", time.monotonic() + 3_600, lambda: calls.action("late"))
    assert calls.wait(2) == ["finalized", "early"]


def test_a_finalizer_in_its_thread_meets_no_lock_but_the_owners(
    clock: Timekeeper, lock: threading.RLock, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection in the midst of the clock's own lines, while the lock's holder sets it."""
    reached, is_held = threading.Event(), threading.Event()

    class Time:
        """What the clock's thread asks for the time, with a finalizer that comes then."""

        def monotonic(self) -> float:
            if threading.current_thread().name == "test_timekeeper" and not reached.is_set():
                reached.set()
                is_held.wait(0.05)  # in vain, if the thread here holds what it is to hold
                assert lock.acquire(timeout=PATIENCE)
                lock.release()
            return time.monotonic()

    monkeypatch.setattr(_timekeeper, "time", Time())
    clock.set("a", 0, lambda: calls.action("a"))
    assert reached.wait(PATIENCE)
    with lock:
        is_held.set()
        clock.set("b", 0, lambda: calls.action("b"))
    assert calls.wait(2) == ["a", "b"]
