"""Spare interpreters: when they are made, who gets them, and that nobody's traces are in them."""

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from interpool import InterpreterPoolExecutor, _cpu
from interpool._spares import SPARES, Spares
from support import PATIENCE, identity, interpreter, run_program


@pytest.fixture
def spares() -> Iterator[Callable[[Callable[[], int]], Spares]]:
    made: list[Spares] = []

    def make(create: Callable[[], int]) -> Spares:
        made.append(Spares(create))
        for _ in range(2):
            made[-1].note_pool()
        return made[-1]

    yield make
    for each in made:
        each._ready.clear()  # numbers of no interpreter
        each.close()
        each.clear()


def use_a_pool(workers: int = 1) -> int:
    with InterpreterPoolExecutor(workers) as pool:
        return pool.submit(interpreter).result(PATIENCE)


def wait_for_spares() -> None:
    for maker in SPARES._makers[:]:
        maker.join(PATIENCE)


def test_the_third_pool_finds_an_interpreter_that_the_second_left() -> None:
    use_a_pool()
    use_a_pool()
    wait_for_spares()
    [spare] = SPARES._ready
    assert use_a_pool() == spare


def test_a_program_with_one_pool_makes_none() -> None:
    done = run_program("""
from interpool import InterpreterPoolExecutor
from interpool._spares import SPARES
with InterpreterPoolExecutor(1) as pool:
    pool.submit(abs, -1).result()
print(len(SPARES._ready), len(SPARES._makers))
""")
    assert (done.stdout, done.stderr, done.returncode) == ("0 0\n", "", 0)


def test_a_program_ends_what_is_left() -> None:
    done = run_program("""
import sys
from interpool import InterpreterPoolExecutor
for _ in range(4):
    with InterpreterPoolExecutor(2) as pool:
        pool.submit(abs, -1).result()
sys.exit(3)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 3)


def test_no_pool_sees_what_another_one_left() -> None:
    def look_and_leave() -> list[str]:
        import builtins
        import os
        import sys

        names = ["left", "json"]
        found = [name for name in names if name in (*vars(builtins), *sys.modules)]
        if os.sep != "/":
            found.append("patched")
        import json

        vars(builtins)["left"] = json
        os.sep = ":"
        return found

    for _ in range(4):
        with InterpreterPoolExecutor(2) as pool:
            assert pool.submit(look_and_leave).result(PATIENCE) == []
        wait_for_spares()


def test_a_spare_takes_over_the_environment_as_it_is_when_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def variable() -> str | None:
        import os

        return os.environ.get("INTERPOOL_TEST")

    use_a_pool()
    use_a_pool()
    wait_for_spares()
    monkeypatch.setenv("INTERPOOL_TEST", "new")
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(variable).result(PATIENCE) == "new"
        assert os.environ["INTERPOOL_TEST"] == "new"


def test_no_more_are_made_than_there_are_cores(
    spares: Callable[[Callable[[], int]], Spares], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cpu, "available_cores", lambda: 2)
    made = spares(iter(range(100)).__next__)
    made.renew(64)
    made.renew(64)
    for maker in made._makers[:]:
        maker.join(PATIENCE)
    assert len(made._ready) == 2
    assert {made.take(), made.take()} == {0, 1}
    assert made.take() is None


def test_who_needs_one_that_is_being_made_waits_for_it(
    spares: Callable[[Callable[[], int]], Spares],
) -> None:
    may_make = threading.Event()
    made = spares(lambda: may_make.wait(PATIENCE) and 7)
    waits = threading.Event()

    class Telling(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.set()  # the lock is held until it does wait
            return super().wait(timeout)

    made._changed = Telling()
    made.renew(1)
    taken: list[int | None] = []
    first = threading.Thread(target=lambda: taken.append(made.take()))
    first.start()
    assert waits.wait(PATIENCE)
    assert made.take() is None  # that one is somebody's
    may_make.set()
    first.join(PATIENCE)
    assert taken == [7]


def test_one_that_cannot_be_made_keeps_nobody_waiting(
    spares: Callable[[Callable[[], int]], Spares],
) -> None:
    def fail() -> int:
        raise MemoryError("no room for an interpreter")

    made = spares(fail)
    made.renew(2)
    for maker in made._makers[:]:
        maker.join(PATIENCE)
    assert made.take() is None
    assert use_a_pool() > 0
    assert identity(made._waiting) == 0
