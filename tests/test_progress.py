"""How far a `map` is: what is shown, when, and that nothing is left of it."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import inspect
import io
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import interpool
from interpool import InterpreterPoolExecutor, _progress
from shapes import Holder, fail_at_seven
from support import Gate, add, have_all_work, identity, pass_through, run_program

both = pytest.mark.parametrize("name", ["map", "map_unordered"])


class Screen(io.StringIO):
    """What is written to a terminal; it says when a text has been."""

    def __init__(self) -> None:
        super().__init__()
        self._awaited = ""
        self._is_there = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._awaited and self._awaited in self.getvalue():
            self._is_there.set()
        return written

    def wait_for(self, text: str) -> None:
        """Wait until that text has been written."""
        self._awaited = text
        self.write("")
        assert self._is_there.wait(60), self.getvalue()


@pytest.fixture(params=["tqdm", "rich"])
def screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal, for each that may draw there."""
    pytest.importorskip(request.param)

    def find(name: str) -> object:
        return object() if name == request.param else None

    monkeypatch.setattr(_progress, "find_spec", find)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    shown = Screen()
    # Not in `sys` itself, where pytest puts its own when the test begins.
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stderr=shown, modules={}))
    return shown


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        have_all_work(made, 2)
        yield made


# --- Bars ----------------------------------------------------------------------------------------


@both
def test_a_bar_says_how_far_it_is(pool: InterpreterPoolExecutor, screen: Screen, name: str) -> None:
    results = getattr(pool, name)(add, range(1_000), itertools.repeat(1), progress=True)
    assert sorted(results) == [*range(1, 1_001)]
    assert "add" in screen.getvalue()
    assert "0/1000" in screen.getvalue()
    assert "1000/1000" in screen.getvalue()
    assert "failed" not in screen.getvalue()


@both
def test_a_bar_of_a_view_with_a_description(
    pool: InterpreterPoolExecutor, screen: Screen, name: str
) -> None:
    view = pool.options(retries=1)
    assert sorted(getattr(view, name)(identity, [1, 2], progress="counting")) == [1, 2]
    assert "counting" in screen.getvalue()


def test_a_bar_of_the_thread_lane(screen: Screen) -> None:
    with InterpreterPoolExecutor(2) as pool:
        view = pool.options(lane="thread")
        assert list(view.map(identity, [1, 2], progress=True)) == [1, 2]
    assert "2/2" in screen.getvalue()


def test_a_bar_without_a_total(pool: InterpreterPoolExecutor, screen: Screen) -> None:
    assert list(pool.map(identity, iter(range(5)), progress=True)) == [*range(5)]
    assert "5" in screen.getvalue()


def test_a_bar_is_right_while_the_next_result_is_waited_for(
    pool: InterpreterPoolExecutor, screen: Screen, gate: Gate
) -> None:
    ready = os.open(os.devnull, os.O_RDONLY)
    try:
        fds = [*[ready] * 5, gate.exit]

        def open_gate() -> None:
            screen.wait_for("5/6")
            gate.open()

        opener = threading.Thread(target=open_gate)
        opener.start()
        assert len(list(pool.map(pass_through, fds, fds, chunksize=1, progress=True))) == 6
        opener.join()
    finally:
        os.close(ready)


@both
def test_a_failure_is_shown(pool: InterpreterPoolExecutor, screen: Screen, name: str) -> None:
    with pytest.raises(ValueError, match="seven"):
        list(getattr(pool, name)(fail_at_seven, range(40), progress=True))
    assert "1 failed" in screen.getvalue()


# Threads and all else that must not be left are looked for by what every test is held to.
def test_a_bar_ends_with_the_loop(pool: InterpreterPoolExecutor, screen: Screen) -> None:
    for result in pool.map(identity, range(40), progress=True):
        if result == 3:
            break
    assert "4/40" in screen.getvalue()
    assert "failed" not in screen.getvalue()


def test_closing_cancels_what_is_left(
    pool: InterpreterPoolExecutor, screen: Screen, gate: Gate
) -> None:
    before = pool.statistics().tasks.cancelled
    results = pool.map_unordered(
        pass_through, [gate.exit] * 50, range(50), chunksize=1, progress=True, buffersize=40
    )
    gate.open(1)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    gate.open(49)
    assert pool.statistics().tasks.cancelled > before


def test_ctrl_c_ends_a_bar(screen: Screen, gate: Gate) -> None:
    def interrupt() -> None:
        screen.wait_for("0/4")
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt), InterpreterPoolExecutor(2) as pool:
        list(pool.map(pass_through, [gate.exit] * 4, range(4), progress=True))
    interrupter.join()
    gate.open(4)
    assert "failed" not in screen.getvalue()


def test_a_bar_that_is_never_begun_draws_nothing(
    pool: InterpreterPoolExecutor, screen: Screen
) -> None:
    pool.map(identity, range(40), progress=True)
    assert screen.getvalue() == ""


def test_results_are_not_kept(pool: InterpreterPoolExecutor, screen: Screen) -> None:
    results = pool.map(Holder, [1, 2], progress=True)
    assert sys.getrefcount(next(results)) == 1
    results.close()  # type: ignore[attr-defined]  # as above


# --- No bar --------------------------------------------------------------------------------------


@both
def test_nothing_is_written_where_there_is_no_terminal(
    pool: InterpreterPoolExecutor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stderr in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stderr)
        assert sorted(getattr(pool, name)(identity, range(40), progress=True)) == [*range(40)]
        assert stderr is None or stderr.getvalue() == ""


def test_a_notebook_has_bars(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = type("Shell", (), {"config": {"IPKernelApp": {}}})
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": shell}))
    drawn: list[tuple[int, int]] = []

    class Bar:
        def __init__(self, description: str, total: int | None) -> None:
            assert (description, total) == ("identity", 3)

        def show(self, done: int, failed: int) -> None:
            drawn.append((done, failed))

        def close(self) -> None:
            drawn.append((-1, -1))

    monkeypatch.setattr(_progress, "open_bar", Bar)
    assert list(pool.map(identity, range(3), progress=True)) == [0, 1, 2]
    assert drawn[0] == (0, 0)
    assert drawn[-2:] == [(3, 0), (-1, -1)]


def test_a_callable_is_told(pool: InterpreterPoolExecutor) -> None:
    told: list[tuple[int, int | None]] = []

    def tell(done: int, total: int | None) -> None:
        told.append((done, total))

    assert list(pool.map(identity, range(30), progress=tell)) == [*range(30)]
    assert told[0] == (1, 30)
    assert told[-1] == (30, 30)
    with pytest.raises(ValueError, match="seven"):
        list(pool.map(fail_at_seven, iter(range(40)), progress=tell))
    assert told.pop() == (7, None)


def test_an_error_of_the_callable_ends_the_map(pool: InterpreterPoolExecutor) -> None:
    def tell(done: int, total: int | None) -> None:
        raise LookupError(done)

    with pytest.raises(LookupError):
        list(pool.map(identity, range(30), progress=tell))


@pytest.mark.parametrize("wrong", [3, 1.5, [], b"bytes"])
def test_what_is_no_progress_is_refused(pool: InterpreterPoolExecutor, wrong: Any) -> None:
    with pytest.raises(TypeError, match="progress must be"):
        pool.map(identity, [], progress=wrong)


def test_without_tqdm_and_rich_the_extra_is_named(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'interpool\[progress\]'"):
        pool.map(identity, [1], progress=True)
    assert list(pool.map(identity, [1], progress=lambda _done, _total: None)) == [1]
    assert interpool.pmap(identity, [1, 2], max_workers=1) == [1, 2]  # which asks for none then


def test_it_costs_nothing_where_it_is_not_asked_for() -> None:
    done = run_program(
        "import sys, interpool\n"
        "with interpool.InterpreterPoolExecutor(1) as pool:\n"
        "    list(pool.map(abs, [1]))\n"
        "print({'interpool._progress', 'tqdm', 'rich'} & set(sys.modules))\n"
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_signatures_can_be_evaluated() -> None:
    methods: list[Callable[..., Any]] = [
        InterpreterPoolExecutor.map,
        InterpreterPoolExecutor.map_unordered,
        interpool.Options.map,
        interpool.Options.map_unordered,
        interpool.pmap,
    ]
    for method in methods:
        assert "progress" in inspect.signature(method).parameters


# --- pmap ----------------------------------------------------------------------------------------


def test_pmap_returns_a_list(screen: Screen) -> None:
    assert interpool.pmap(add, range(50), range(50), max_workers=2) == [*range(0, 100, 2)]
    assert "50/50" in screen.getvalue()


def test_pmap_takes_what_a_pool_takes() -> None:
    assert interpool.pmap(
        add, [1, 2], [3, 4], max_workers=1, chunksize=1, progress=False, retries=1, timeout=60
    ) == [4, 6]
    with pytest.raises(TypeError, match="no_such_option"):
        interpool.pmap(add, [], [], no_such_option=1)


def test_pmap_stops_what_runs_when_an_item_fails(gate: Gate, arrivals: Gate) -> None:
    def work(n: int, entry: int, fd: int) -> None:
        import os

        if n:
            os.read(fd, 1)  # that the other one has begun
            raise ValueError(n)
        os.write(entry, b".")
        while True:
            pass

    with pytest.raises(ValueError, match="1"):
        interpool.pmap(work, [1, 0], [gate.entry] * 2, [gate.exit] * 2, max_workers=2, chunksize=1)
