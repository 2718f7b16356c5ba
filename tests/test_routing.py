"""Which lane a task takes: what is refused goes to a process, and is known from then on."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import functools
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib.util import LazyLoader, find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
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
from support import PATIENCE, Gate, add, identity, interpreter, run_program

# Not imported at the head: a worker that imports this module would be refused for that alone.
pytestmark = pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not installed")

# Of the standard library, it refuses interpreters.
REFUSES = "_curses"


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    _routing.forget()
    yield
    _routing.forget()


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(2) as made:
        yield made


def mean(values: list[float]) -> float:
    import numpy as np

    return float(np.mean(values))


def process_of(*_: Any) -> int:
    import os

    return os.getpid()


def test_the_article_s_example_gives_its_answer(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning, match=r"mean runs in a worker process.*numpy\._core"):
        assert pool.submit(mean, [10, 20, 15]).result(PATIENCE) == 15.0
    statistics = pool.statistics()
    assert (statistics.tasks.diverted, statistics.tasks.done, statistics.tasks.failed) == (1, 1, 0)


def test_it_is_said_once_and_known_from_then_on(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning) as caught:
        pool.submit(mean, [1, 2]).result(PATIENCE)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [pool.submit(mean, [n]).result(PATIENCE) for n in range(5)] == [*range(5)]
        assert list(pool.map(mean, [[n] for n in range(50)])) == [*range(50)]
    assert pool.statistics().tasks.diverted == 1
    assert _routing.refusing["numpy"] == "numpy._core._multiarray_umath"


def test_other_functions_of_that_package_go_there_at_once(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning):
        pool.submit(mean, [1, 2]).result(PATIENCE)

    import numpy as np

    def total(values: list[int]) -> int:
        return int(np.sum(values))  # of its closure

    assert pool.submit(total, [1, 2]).result(PATIENCE) == 3
    array = np.arange(5)
    assert pool.submit(len, array).result(PATIENCE) == 5  # an argument
    assert pool.submit(array.sum).result(PATIENCE) == 10  # a bound method
    assert pool.statistics().tasks.diverted == 1


def test_others_stay_in_interpreters(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning):
        pool.submit(mean, [1, 2]).result(PATIENCE)
    assert pool.submit(interpreter).result(PATIENCE) != 0
    assert dict(pool.statistics().lanes) == {"interpreter": 1, "process": 1, "thread": 0}


def test_an_argument_that_cannot_be_loaded_there_is_loaded_in_a_process(
    pool: InterpreterPoolExecutor,
) -> None:
    import numpy as np

    array = np.arange(100_000.0)
    with pytest.warns(FallbackWarning):
        found = pool.submit(identity, array).result(PATIENCE)
    assert (found == array).all()
    found[0] = 1  # its own
    assert pool.submit(identity, 3).result(PATIENCE) == 3
    assert dict(pool.statistics().lanes) == {"interpreter": 1, "process": 1, "thread": 0}


def test_a_map_that_is_refused_is_run_in_processes(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning):
        assert list(pool.map(mean, [[n, n + 2] for n in range(500)])) == [*range(1, 501)]
    with pytest.warns(FallbackWarning):
        assert sorted(pool.map_unordered(refuse_odd, range(40))) == [*range(40)]


def refuse_odd(n: int) -> int:
    if n % 2:
        import _curses  # noqa: F401
    return n


def test_an_error_if_one_wants_it() -> None:
    with InterpreterPoolExecutor(1, fallback="error") as pool:
        with pytest.raises(IncompatibleExtensionError) as caught:
            pool.submit(mean, [1, 2]).result(PATIENCE)
        error = caught.value
        assert error.extension == error.name == "numpy._core._multiarray_umath"
        assert error.chain[0] == "numpy"
        assert "reached by numpy -> " in str(error)
        assert 'lane="process"' in str(error)
        assert isinstance(error.__cause__, ImportError)
        with pytest.raises(IncompatibleExtensionError):
            list(pool.map(mean, [[1], [2]]))
        assert pool.statistics().workers.processes == 0


def test_an_error_in_the_interpreters_lane(pool: InterpreterPoolExecutor) -> None:
    with pytest.raises(IncompatibleExtensionError):
        pool.options(lane="interpreter").submit(mean, [1, 2]).result(PATIENCE)


def test_an_import_error_of_another_kind_is_the_task_s(pool: InterpreterPoolExecutor) -> None:
    def missing() -> None:
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        pool.submit(missing).result(PATIENCE)
    assert not _routing.refusing


def test_a_module_that_imports_it_is_known_by_its_imports(
    pool: InterpreterPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app_of_a_user.py").write_text(
        f"import {REFUSES}\ndef work(n):\n    return n + 1\ndef other(n):\n    return n + 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import app_of_a_user  # type: ignore[import-not-found]

    with pytest.warns(FallbackWarning, match="work runs in a worker process"):
        assert pool.submit(app_of_a_user.work, 1).result(PATIENCE) == 2
    assert pool.submit(app_of_a_user.other, 1).result(PATIENCE) == 3
    assert pool.statistics().tasks.diverted == 1
    sys.modules.pop("app_of_a_user")


def test_a_module_that_imports_a_part_of_it_is_known_by_that(
    pool: InterpreterPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "another_app_of_a_user.py").write_text(
        "from numpy import mean\nfrom numpy import pi\ndef work(n):\n    return n + 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import another_app_of_a_user  # type: ignore[import-not-found]

    _routing.learn(("numpy._core", "numpy"), None)
    assert pool.submit(another_app_of_a_user.work, 1).result(PATIENCE) == 2
    assert dict(pool.statistics().lanes) == {"interpreter": 0, "process": 1, "thread": 0}
    sys.modules.pop("another_app_of_a_user")


def test_callables_that_are_made_anew_are_told_apart(pool: InterpreterPoolExecutor) -> None:
    def load(name: str) -> int:
        import importlib
        import os

        importlib.import_module(name)
        return os.getpid()

    class Holder:
        def __init__(self) -> None:
            self.state = [1]

        def work(self) -> int:
            import os

            return os.getpid()

    future = pool.submit(functools.partial(load), REFUSES)
    with pytest.warns(FallbackWarning, match=r"partial\(.*load\) runs in a worker process"):
        assert future.result(PATIENCE) != os.getpid()
    assert pool.submit(functools.partial(load), REFUSES).result(PATIENCE) != os.getpid()
    assert pool.statistics().tasks.diverted == 1  # and is not tried again
    assert pool.submit(functools.partial(process_of)).result(PATIENCE) == os.getpid()
    assert pool.submit(Holder().work).result(PATIENCE) == os.getpid()


def test_from_a_program() -> None:
    done = run_program(
        "import numpy as np\n"
        "from interpool import InterpreterPoolExecutor\n"
        "def average(values):\n"
        "    return float(np.mean(values))\n"
        "with InterpreterPoolExecutor() as pool:\n"
        "    print(pool.submit(average, [10, 20, 15]).result())\n"
    )
    assert (done.stdout, done.returncode) == ("15.0\n", 0)
    assert done.stderr.count("FallbackWarning") == 1


def test_many_threads_learn_at_once(pool: InterpreterPoolExecutor) -> None:
    found: list[float] = []

    def use() -> None:
        found.extend(pool.submit(mean, [n]).result(PATIENCE) for n in range(20))

    with warnings.catch_warnings(record=True):
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert sorted(found) == sorted([*range(20)] * 4)


def test_a_task_with_a_limit_is_diverted_with_it(pool: InterpreterPoolExecutor) -> None:
    with pytest.warns(FallbackWarning):
        assert pool.options(timeout=PATIENCE, retries=1).submit(mean, [4]).result(PATIENCE) == 4.0
    assert pool.statistics().tasks.retried == 0


def test_a_worker_that_leaves_takes_no_task_along_that_was_diverted() -> None:
    with InterpreterPoolExecutor(1, max_tasks_per_worker=1) as pool, pytest.warns(FallbackWarning):
        assert pool.submit(mean, [4]).result(PATIENCE) == 4.0


def read_one(path: str) -> bytes:
    with open(path, "rb") as pipe:  # noqa: PTH123 - as a task would
        return pipe.read(1)


def test_the_time_of_a_diverted_task_begins_in_the_process(tmp_path: Path) -> None:
    way_out = tmp_path / "fifo"
    os.mkfifo(way_out)
    is_over = threading.Event()  # the time that it had in the interpreter
    with InterpreterPoolExecutor(1) as pool:
        stopper = pool._engine.stopper
        expire = stopper._expire

        def expire_and_tell(number: int, task: int) -> None:
            expire(number, task)
            is_over.set()

        stopper._expire = expire_and_tell  # type: ignore[method-assign]
        busy = pool.options(lane="process").submit(read_one, str(way_out))
        future = pool.options(timeout=3).submit(mean, [4])
        with pytest.warns(FallbackWarning):
            assert is_over.wait(PATIENCE)
        way_out.write_bytes(b".")
        assert busy.result(PATIENCE) == b"."
        assert future.result(PATIENCE) == 4.0


def _diverted(pool: InterpreterPoolExecutor) -> Future[float]:
    future = pool.options(retries=1).submit(mean, [4])
    while not pool.statistics().tasks.diverted:
        pool.submit(add, 1, 2).result(PATIENCE)  # behind it
    return future


def test_a_diverted_task_that_is_withdrawn_holds_up_nothing(tmp_path: Path) -> None:
    way_out = tmp_path / "fifo"
    os.mkfifo(way_out)
    with InterpreterPoolExecutor(1) as pool:
        busy = pool.options(lane="process").submit(read_one, str(way_out))
        with pytest.warns(FallbackWarning):
            future = _diverted(pool)
        assert future.cancel()
        way_out.write_bytes(b".")
        busy.result(PATIENCE)


def test_a_pool_that_broke_meanwhile_diverts_nothing(
    arrivals: Gate, gate: Gate, tmp_path: Path
) -> None:
    def first_only(flag: str) -> None:
        from pathlib import Path

        Path(flag).mkdir()

    def mean_of_one(entry: int, fd: int) -> float:
        import os

        os.write(entry, b".")
        os.read(fd, 1)
        import numpy as np

        return float(np.mean([1]))

    flag = str(tmp_path / "flag")
    with InterpreterPoolExecutor(2, initializer=first_only, initargs=(flag,)) as pool:
        future = pool.submit(mean_of_one, arrivals.entry, gate.exit)
        arrivals.wait()
        with pytest.raises(BrokenInterpreterPool):
            pool.submit(add, 1, 2).result(PATIENCE)
        gate.open()
        with pytest.raises(IncompatibleExtensionError):
            future.result(PATIENCE)


def test_a_refusal_in_a_group_of_exceptions(pool: InterpreterPoolExecutor) -> None:
    async def in_a_group(values: list[float]) -> float:
        import asyncio

        async def mean_of_them() -> float:
            import numpy as np

            return float(np.mean(values))

        async with asyncio.TaskGroup() as group:
            task = group.create_task(mean_of_them())
        return task.result()

    future: Any = pool.submit(in_a_group, [1, 3])
    with pytest.warns(FallbackWarning):
        assert future.result(PATIENCE) == 2.0


def test_a_refusal_beside_an_exception_s_cause(pool: InterpreterPoolExecutor) -> None:
    def told_otherwise(values: list[float]) -> float:
        try:
            import numpy as np
        except ImportError:
            raise RuntimeError("numpy is needed") from ValueError("it says")
        return float(np.mean(values))

    future = pool.submit(told_otherwise, [1, 3])
    with pytest.warns(FallbackWarning):
        assert future.result(PATIENCE) == 2.0


# --- An extension of our own ---------------------------------------------------------------------

# What Python.h declares, as far as it takes: the headers are not everywhere.
SOURCE = """
typedef struct { long references; void *type; } Object;
static struct {
    Object head; void *init; long index; void *copy;
    const char *name; const char *doc; long size; void *rest[5];
} definition = {{1, 0}, 0, 0, 0, "NAME", 0, -1, {0}};
extern Object *PyModule_Create2(void *, int);
Object *PyInit_NAME(void) { return PyModule_Create2(&definition, 1013); }
"""


def build(folder: Path, name: str) -> None:
    """Build an extension module that has not declared that it supports interpreters."""
    source = folder / f"{name}.c"
    source.write_text(SOURCE.replace("NAME", name))
    try:
        subprocess.run(
            ["cc", "-shared", "-fPIC", str(source), "-o", str(folder / f"{name}.so")], check=True
        )
    except FileNotFoundError:
        pytest.skip("there is no compiler")


def test_an_extension_that_was_built_just_now(
    pool: InterpreterPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, "refusing_extension")
    monkeypatch.syspath_prepend(tmp_path)

    def load() -> str:
        import refusing_extension  # type: ignore[import-not-found]

        return str(refusing_extension.__name__)

    with pytest.warns(FallbackWarning, match="refusing_extension"):
        assert pool.submit(load).result(PATIENCE) == "refusing_extension"


# --- What is looked at ---------------------------------------------------------------------------


def test_the_rest_of_a_package_stays_in_interpreters(
    pool: InterpreterPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_application"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "figures.py").write_text("import numpy\ndef mean(it): return float(numpy.mean(it))")
    (package / "tasks.py").write_text("""
import os
def process(): return os.getpid()
def mean(it):
    from .figures import mean
    return mean(it)
def mean_again(it):
    from .figures import mean
    return mean(it)
""")
    monkeypatch.syspath_prepend(tmp_path)
    from some_application import tasks  # type: ignore[import-not-found]

    future = pool.submit(tasks.mean, [1, 3])
    with pytest.warns(FallbackWarning):
        assert future.result(PATIENCE) == 2.0
    assert pool.submit(tasks.process).result(PATIENCE) == os.getpid()
    assert pool.submit(tasks.mean_again, [1, 3]).result(PATIENCE) == 2.0
    assert pool.statistics().tasks.diverted == 1


@pytest.mark.parametrize("module", [None, 3, ModuleType("strange")])
def test_whatever_is_among_the_modules(
    pool: InterpreterPoolExecutor, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def task() -> int:
        return 1

    task.__module__ = "strange"
    nameless = ModuleType("nameless")
    del nameless.__name__
    if isinstance(module, ModuleType):
        vars(module)["nameless"] = nameless
    monkeypatch.setitem(sys.modules, "strange", module)
    _routing.learn(("refuses",), 1)
    assert pool.submit(task).result(PATIENCE) == 1


def test_no_module_is_loaded_by_being_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = find_spec("this")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = LazyLoader(spec.loader)
    lazy = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "this", lazy)
    spec.loader.exec_module(lazy)
    is_lazy = type(lazy)
    holder = ModuleType("holder")
    vars(holder)["lazy"] = lazy
    monkeypatch.setitem(sys.modules, "holder", holder)

    def task() -> Any:
        return lazy

    task.__module__ = "holder"
    assert "this" in _routing._modules_of(task)
    assert type(lazy) is is_lazy


def test_what_a_function_needs_is_seen_in_its_code() -> None:
    import functools

    package = ModuleType("strange")
    value = type("Value", (), {"__module__": "strange.inner", "method": identity})
    _routing.refusing["strange"] = "strange._c"

    class Call:
        name = "f"

        def __init__(self, key: int) -> None:
            self.definition = key, b""

    def by_import() -> None:
        import strange.inner  # type: ignore[import-not-found]  # noqa: F401

    def by_closure() -> Any:
        return package

    def by_nested() -> Any:
        def inner() -> Any:
            return package

        return inner

    for key, fn in enumerate(  # of the first, which has none, it is not remembered
        [by_import, by_closure, by_nested, value, functools.partial(by_closure), value().method]
    ):
        assert _routing.is_refused(fn, Call(key), ()), fn  # type: ignore[arg-type]

    def by_attribute(it: Any) -> Any:
        return it.strange  # which is no import

    assert not _routing.is_refused(by_attribute, Call(99), ())  # type: ignore[arg-type]
    assert not _routing.is_refused(add, Call(100), ())  # type: ignore[arg-type]
    assert _routing.is_refused(add, Call(100), (value(),))  # type: ignore[arg-type]
