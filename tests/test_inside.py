"""What runs in a worker: how little it imports, what it keeps, how it answers."""

import _interpreters
import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, _inside
from interpool._inside import gate, loop, values
from support import PATIENCE, identity


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        yield made


OWN_NAMES = ("_interpool_", "interpool._inside.")


def bare_modules() -> set[str]:
    import _interpreters
    import os

    out, into = os.pipe()
    interpreter = _interpreters.create("isolated")
    _interpreters.exec(
        interpreter, f"import sys, os; os.write({into}, ' '.join(sys.modules).encode())"
    )
    _interpreters.destroy(interpreter)
    found = os.read(out, 65536).decode()
    os.close(out)
    os.close(into)
    return set(found.split())


def test_a_worker_imports_next_to_nothing(pool: InterpreterPoolExecutor) -> None:
    def loaded() -> str:
        import sys

        return " ".join(sys.modules)

    added = set(pool.submit(loaded).result().split()) - bare_modules()
    ours = {f"{prefix}{name}" for name in _inside.MODULES for prefix in OWN_NAMES}
    # `_interpreters` comes with the memory of a board (0.5 ms).
    assert added == ours | {"_interpqueues", "_interpreters", "itertools"}


def test_a_pickle_costs_a_worker_no_import_of_the_package(pool: InterpreterPoolExecutor) -> None:
    def loaded_with(items: list[int]) -> list[str]:
        import sys

        return [*map(str, items), *sys.modules]

    loaded = pool.submit(loaded_with, [1]).result()
    assert "_pickle" in loaded
    assert "pickle" not in loaded
    assert "interpool" not in loaded
    assert "typing" not in loaded


def test_a_worker_may_import_the_package(pool: InterpreterPoolExecutor) -> None:
    def same() -> bool:
        import sys

        from interpool._inside import values

        return values is sys.modules["_interpool_values"]

    assert pool.submit(same).result()


def test_a_task_that_imports_concurrent_interpreters_changes_nothing(
    pool: InterpreterPoolExecutor,
) -> None:
    def use_a_queue() -> str:
        from concurrent import interpreters

        queue = interpreters.create_queue()
        try:
            queue.get_nowait()
        except interpreters.QueueEmpty as error:
            return type(error).__module__
        return "no error"

    assert pool.submit(use_a_queue).result() == "concurrent.interpreters._queues"
    assert [pool.submit(identity, n).result() for n in range(100)] == list(range(100))


def test_main_of_a_worker_is_left_as_it_was(pool: InterpreterPoolExecutor) -> None:
    def names() -> list[str]:
        import __main__

        return sorted(name for name in vars(__main__) if not name.startswith("__"))

    assert pool.submit(names).result() == []


def test_functions_are_built_once_and_dropped_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import marshal

    monkeypatch.setattr(values, "_functions", {})
    definition = marshal.dumps((values.BY_CODE, (lambda: 1).__code__, "m", "f", {}, None))
    first = values.function_for(1, definition)
    assert values.function_for(1, definition) is first
    assert values.function_for(0, definition) is not first
    for key in range(2, 2 + values.FUNCTIONS_KEPT):
        values.function_for(key, definition)
    assert len(values._functions) == values.FUNCTIONS_KEPT
    assert 1 not in values._functions


def test_a_task_leaves_nothing_of_itself_behind(pool: InterpreterPoolExecutor) -> None:
    def count_of(size: int) -> int:
        import gc

        gc.collect()
        return sum(len(o) for o in gc.get_objects() if isinstance(o, list) and len(o) == size)

    size = 123_457
    assert len(pool.submit(identity, [0] * size).result()) == size
    assert pool.submit(count_of, size).result() == 0


def test_a_strike_waits_until_the_worker_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # It imports ctypes, and that threading, which setting up would meet half imported: the worker
    # broke down, and its pool with it.
    done: list[str] = []
    monkeypatch.setattr(gate, "strike", lambda _: done.append("struck"))
    loop.settled.acquire()
    host = threading.Thread(target=loop.strike, args=(7,))
    host.start()
    done.append("set up")
    loop.settled.release()
    host.join(PATIENCE)
    assert done == ["set up", "struck"]


def test_a_worker_that_starts_may_be_struck(monkeypatch: pytest.MonkeyPatch) -> None:
    create = _interpreters.create
    for _ in range(10):
        is_struck = threading.Event()

        def create_when_struck(
            *args: Any, ready: threading.Event = is_struck, **kwargs: Any
        ) -> int:
            assert ready.wait(PATIENCE)
            return create(*args, **kwargs)

        monkeypatch.setattr(_interpreters, "create", create_when_struck)
        with InterpreterPoolExecutor(1) as pool:
            future = pool.submit(identity, 5)
            for worker in pool._engine.staff.workers.values():
                worker.strike(0)
            is_struck.set()
            assert future.result(PATIENCE) == 5
