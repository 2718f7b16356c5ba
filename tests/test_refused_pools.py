"""Pools whose workers cannot be made ready, for their initializer or `preload` is refused."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interpool import (
    BrokenInterpreterPool,
    FallbackWarning,
    Future,
    IncompatibleExtensionError,
    InterpreterPoolExecutor,
    _routing,
)
from support import PATIENCE, Gate, add, identity, interpreter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over")


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    _routing.forget()
    yield
    _routing.forget()


def need_curses() -> None:
    """Load an extension of the standard library that refuses interpreters."""
    import _curses
    import builtins

    builtins.loaded = _curses.__name__  # type: ignore[attr-defined]


def need_curses_behind(entry: int, fd: int) -> None:
    """The same, at a gate, of which processes have no descriptors."""
    import os

    try:
        os.write(entry, b".")
        os.read(fd, 1)
    except OSError:
        pass
    import _curses  # noqa: F401


def need_curses_unless_first(flag: str) -> None:
    from pathlib import Path

    try:
        Path(flag).mkdir()
    except FileExistsError:
        import _curses  # noqa: F401


def process_of(_: object = None) -> int:
    import os

    return os.getpid()


def loaded(_: object = None) -> tuple[str, int]:
    import builtins
    import os

    return builtins.loaded, os.getpid()  # type: ignore[attr-defined]


def results_of(futures: Iterable[Future[Any]]) -> list[Any]:
    """Wait for results, of which the first comes with a warning."""
    with pytest.warns(FallbackWarning) as caught:
        found = [future.result(PATIENCE) for future in futures]
    assert len(caught) == 1
    return found


def test_its_tasks_run_in_processes_that_are_made_ready() -> None:
    with InterpreterPoolExecutor(2, initializer=need_curses) as pool:
        pool.prewarm()
        found = {
            *results_of(pool.submit(loaded) for _ in range(300)),
            *pool.map(loaded, range(300)),
        }
        assert {name for name, _ in found} == {"_curses"}
        assert os.getpid() not in {it for _, it in found}
        statistics = pool.statistics()
        assert dict(statistics.lanes) == {"interpreter": 0, "process": 600, "thread": 0}
        assert (statistics.tasks.done, statistics.tasks.failed) == (600, 0)
        pool.prewarm()
        assert pool.statistics().workers.started <= 2  # nobody tries again


def test_the_warning_names_who_needs_what() -> None:
    with InterpreterPoolExecutor(1, "some", initializer=need_curses) as pool:
        future = pool.submit(add, 1, 2)
        what = "All tasks of some run .* the initializer need_curses needs .* module _curses"
        with pytest.warns(FallbackWarning, match=what):
            future.result(PATIENCE)


def test_preload() -> None:
    pytest.importorskip("numpy")
    with InterpreterPoolExecutor(1, preload=["colorsys", "numpy"]) as pool:
        future = pool.submit(lambda: "numpy" in sys.modules)
        with pytest.warns(FallbackWarning, match=r"preload= needs .* \(reached by numpy -> "):
            assert future.result(PATIENCE)
        assert _routing.refusing["numpy"] == "numpy._core._multiarray_umath"


def test_what_is_known_of_preload_is_not_tried() -> None:
    _routing.learn(("known_to._c", "known_to"), None)
    here = os.getpid()
    with InterpreterPoolExecutor(1, preload=["known_to.refuse"]) as pool:
        pool.prewarm()
        captive = pool.options(lane="interpreter").submit(interpreter)
        with pytest.raises(
            BrokenInterpreterPool, match=r"preload= needs .* known_to\._c"
        ) as caught:
            captive.result(PATIENCE)
        assert isinstance(caught.value.__cause__, IncompatibleExtensionError)
        with pytest.raises(BrokenInterpreterPool, match="No module named 'known_to'"):
            pool.submit(add, 1, 2).result(PATIENCE)  # in a process, which has tried
        assert pool.statistics().workers.started == 0
    with InterpreterPoolExecutor(1, preload=["colorsys"]) as pool:
        assert pool.submit(process_of).result(PATIENCE) == here
    with InterpreterPoolExecutor(1, fallback="error", preload=["known_to"]) as pool:
        with pytest.raises(BrokenInterpreterPool, match="No module named 'known_to'"):
            pool.submit(add, 1, 2).result(PATIENCE)
        assert pool.statistics().workers.started == 1


def test_what_waits_for_a_worker_waits_for_a_process(arrivals: Gate, gate: Gate) -> None:
    here = os.getpid()
    ends = arrivals.entry, gate.exit
    with InterpreterPoolExecutor(1, initializer=need_curses_behind, initargs=ends) as pool:
        futures = [pool.submit(identity, n) for n in range(600)]  # more than the queue takes
        tried = pool.options(retries=1, timeout=PATIENCE).submit(process_of)
        results = pool.map(identity, range(1_000))
        unwanted = pool.submit(identity, 1)
        captive = pool.options(lane="interpreter").submit(interpreter)
        captives = pool.options(lane="interpreter").map(identity, range(10))
        arrivals.wait()
        assert unwanted.cancel()
        gate.open()
        assert results_of(futures) == [*range(600)]
        assert [*results] == [*range(1_000)]
        assert tried.result(PATIENCE) != here
        for error in (captive.exception(PATIENCE), error_of(captives)):
            assert isinstance(error, BrokenInterpreterPool)
            assert isinstance(error.__cause__, IncompatibleExtensionError)
        with pytest.raises(BrokenInterpreterPool):
            pool.options(lane="interpreter").submit(interpreter).result(PATIENCE)
        tasks = pool.statistics().tasks
        assert (tasks.waiting, tasks.running, tasks.done, tasks.failed) == (0, 0, 1_601, 2)


def error_of(results: Iterator[Any]) -> BaseException | None:
    try:
        next(results)
    except BaseException as error:
        return error
    return None


def test_a_later_worker(tmp_path: Path) -> None:
    with InterpreterPoolExecutor(
        1,
        initializer=need_curses_unless_first,
        initargs=(str(tmp_path / "flag"),),
        max_tasks_per_worker=1,
    ) as pool:
        first, *others = results_of([pool.submit(process_of) for _ in range(5)])
        assert first == os.getpid()
        assert os.getpid() not in others


def test_a_retry_that_is_due_when_no_worker_is_left(tmp_path: Path) -> None:
    here = os.getpid()

    def fail_here() -> int:
        import os

        if os.getpid() == here:
            raise LookupError
        return 1

    with InterpreterPoolExecutor(
        1,
        initializer=need_curses_unless_first,
        initargs=(str(tmp_path / "flag"),),
        max_tasks_per_worker=1,
    ) as pool:
        assert results_of([pool.options(retries=1).submit(fail_here)]) == [1]


@pytest.mark.parametrize("options", [{"preload": ["_curses"]}, {"initializer": need_curses}])
def test_an_error_if_one_wants_it(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with InterpreterPoolExecutor(1, fallback="error", **options) as pool:
        with pytest.raises(BrokenInterpreterPool, match="extension module _curses") as caught:
            pool.submit(add, 1, 2).result(PATIENCE)
        cause = caught.value.__cause__
        assert isinstance(cause, IncompatibleExtensionError)
        assert cause.extension == "_curses"
        assert 'fallback="process"' in str(cause)
        assert isinstance(cause.__cause__, ImportError)
        with pytest.raises(BrokenInterpreterPool, match="_curses"):
            pool.submit(add, 1, 2)
        assert pool.statistics().workers.processes == 0
    assert "No worker can be started" in caplog.text


def test_one_that_fails_in_a_process_too_breaks_the_pool() -> None:
    here = os.getpid()

    def begin() -> None:
        import os

        if os.getpid() != here:
            raise LookupError("not there")
        import _curses  # noqa: F401

    with InterpreterPoolExecutor(2, initializer=begin) as pool:
        futures = [pool.submit(add, 1, 2) for _ in range(20)]
        with pytest.warns(FallbackWarning):
            errors = [future.exception(PATIENCE) for future in futures]
        assert {type(error) for error in errors} == {BrokenInterpreterPool}
        assert all("not there" in str(error) for error in errors)


def test_one_that_is_shut_down_meanwhile(arrivals: Gate, gate: Gate) -> None:
    ends = arrivals.entry, gate.exit
    pool = InterpreterPoolExecutor(1, initializer=need_curses_behind, initargs=ends)
    futures = [pool.submit(identity, n) for n in range(20)]
    arrivals.wait()
    pool.shutdown(wait=False)
    gate.open()
    assert results_of(futures) == [*range(20)]
    pool.shutdown()


def test_one_that_is_ended_meanwhile(arrivals: Gate, gate: Gate) -> None:
    ends = arrivals.entry, gate.exit
    pool = InterpreterPoolExecutor(1, initializer=need_curses_behind, initargs=ends)
    futures = [pool.submit(identity, n) for n in range(20)]
    arrivals.wait()
    pool.terminate_workers()
    gate.open()
    pool.shutdown()
    assert all(future.cancelled() for future in futures)
