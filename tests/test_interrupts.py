"""Interrupts that come while a pool does what must not be left half-way: a strike at each step.

The pool is one that a task has made in its worker, which a strike may hit wherever the task is.
What Ctrl-C meets is the same code.
"""

import contextlib
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

import interpool
from interpool import InterpreterPoolExecutor, _guarded
from interpool._inside import gate as gates
from interpool._spares import SPARES
from strikes import Caller, StrikeAt, run_with_strikes
from support import PATIENCE

_FOLDER = Path(interpool.__file__).parent
OURS = frozenset(
    {
        *map(str, _FOLDER.glob("*.py")),
        *(str(it.__file__) for it in (gates, threading, futures._base)),
    }
)

type Pool = InterpreterPoolExecutor


@pytest.fixture
def pool() -> Iterator[Pool]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(int).result(PATIENCE)
        yield made


@pytest.fixture(autouse=True)
def no_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no interpreters made beside those that are counted."""
    monkeypatch.setattr(SPARES, "renew", lambda _: None)


def end(pool: Pool) -> None:
    """See a pool off, in bounded time."""
    Caller(pool.shutdown).result()


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def threads() -> set[str]:
    return {it.name for it in threading.enumerate() if it.name.startswith("InterpreterPool")}


def test_a_pool_that_is_opened() -> None:
    before = descriptors()

    def attempt(strike: StrikeAt) -> bool:
        pool = InterpreterPoolExecutor(1)
        outcome, has_come = strike.run(lambda: pool.prewarm(1))
        assert outcome is None or type(outcome) is gates.Interrupted
        assert pool.submit(int, "7").result(PATIENCE) == 7
        end(pool)
        assert not threads()
        assert descriptors() == before
        return has_come

    assert run_with_strikes(OURS, attempt) > 20


def test_a_pool_that_is_shut_down() -> None:
    before = descriptors()

    def attempt(strike: StrikeAt) -> bool:
        pool = InterpreterPoolExecutor(1)
        pool._engine.prewarm(0)
        outcome, has_come = strike.run(pool.shutdown)
        assert outcome is None or type(outcome) is gates.Interrupted
        end(pool)
        assert not threads()
        assert descriptors() == before
        return has_come

    assert run_with_strikes(OURS, attempt) > 20


def take_one(pool: Pool) -> int:
    # Not left to a finalizer: what lands there is shown and dropped.
    found: Any = pool.map(int, "777", chunksize=1, buffersize=2)
    with contextlib.closing(found):
        return int(next(found))


USES: dict[str, Callable[[Pool], Any]] = {
    "result": lambda pool: pool.submit(int, "7").result(PATIENCE),
    "failure": lambda pool: pool.submit(int, "x").exception(PATIENCE),
    "map": lambda pool: list(pool.map(int, "777", chunksize=1)),
    "part of a map": take_one,
    "cancel": lambda pool: pool.submit(int).cancel(),
    "interrupt": lambda pool: pool.submit(int).interrupt(),
    "callback": lambda pool: pool.submit(int).add_done_callback(bool),
    "refusal": lambda pool: pool.submit(bool, threading.Lock()),
    "limit": lambda pool: pool.options(timeout=PATIENCE, retries=1).submit(int, "x"),
    "figures": lambda pool: (repr(pool), pool.statistics()),
    "wait": lambda pool: futures.wait([pool.submit(int), pool.submit(int)], PATIENCE),
    "as_completed": lambda pool: [
        it.result() for it in futures.as_completed([pool.submit(int), pool.submit(int)], PATIENCE)
    ],
}


@pytest.mark.parametrize("use", USES)
def test_a_pool_that_is_used(pool: Pool, use: str) -> None:
    def attempt(strike: StrikeAt) -> bool:
        _, has_come = strike.run(lambda: USES[use](pool))
        assert pool.submit(int, "7").result(PATIENCE) == 7
        return has_come

    assert run_with_strikes(OURS, attempt) > 20
    Caller(pool.shutdown).result()


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_a_result_that_another_thread_reads(
    pool: Pool, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool._engine, "wait_for", lambda *_: None)

    def attempt(strike: StrikeAt) -> bool:
        future = pool.submit(int, "7")
        _, has_come = strike.run(lambda: getattr(future, ask)(PATIENCE))
        assert Caller(future.result).result() == 7
        return has_come

    assert run_with_strikes(OURS, attempt) > 5


def test_a_signal_that_ends_the_wait_for_a_futures_lock_leaves_interrupts_on() -> None:
    class Struck:
        def acquire(self, *_: object) -> bool:
            raise TimeoutError

        def _acquire_restore(self, _: object) -> None:
            raise TimeoutError

    lock = _guarded.GuardedLock()
    lock._lock = Struck()
    handler = signal.getsignal(signal.SIGINT)
    for take in (lock.acquire, lambda: lock._acquire_restore(None)):
        with pytest.raises(TimeoutError):
            take()
        assert not _guarded._holds
        assert signal.getsignal(signal.SIGINT) is handler
