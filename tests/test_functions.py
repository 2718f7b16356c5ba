"""Functions by reference and by value, as they are at that submit."""

import functools
import gc
import math
import os
import string
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, TransferError, _functions
from interpool._codec import Call
from interpool._inside import values
from interpool._pickling import parcel
from support import add, run_program


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(abs, 0).result()
        yield made


def form_of(function: Callable[..., Any]) -> int:
    """Which of the forms a function is sent in."""
    import marshal

    return int(marshal.loads(Call.of(function).definition[1])[0])


# --- Which way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [len, math.sqrt, string.capwords, int, functools.reduce])
def test_what_a_worker_can_import_goes_by_reference(function: Callable[..., Any]) -> None:
    assert form_of(function) == values.BY_REFERENCE


def test_a_function_that_needs_nothing_goes_as_code() -> None:
    def local(a: int, b: int = 2, *, c: str = "c") -> list[object]:
        return [a, b, c, len(c)]

    assert form_of(local) == values.BY_CODE
    assert form_of(lambda: sorted([1])) == values.BY_CODE


def test_a_function_with_globals_or_cells_goes_as_a_pickle() -> None:
    cell = 1
    assert form_of(lambda: math.pi) == values.BY_PICKLE
    assert form_of(lambda: cell) == values.BY_PICKLE


def test_equal_functions_share_a_key_and_different_ones_do_not() -> None:
    def make(default: int) -> Callable[..., Any]:
        return lambda x=default: x

    assert Call.of(make(1)).definition == Call.of(make(1)).definition
    assert Call.of(make(1)).definition[0] != Call.of(make(2)).definition[0]
    assert Call.of(functools.partial(add, 1)).definition[0] == 0  # built anew for every task


def test_keys_are_forgotten_but_never_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_functions, "_KEYS_KEPT", 2)
    keys = [_functions.key_of(bytes([n])) for n in (0, 1, 2, 0)]
    assert len(set(keys)) == 4
    assert _functions.key_of(bytes([0])) == keys[3]


# --- By value ----------------------------------------------------------------------------------


def test_local_functions_and_lambdas(pool: InterpreterPoolExecutor) -> None:
    def local(a: int, b: int = 2, *, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert pool.submit(local, 1).result() == (1, 2, 3)
    assert pool.submit(local, 1, c=5).result() == (1, 2, 5)
    assert pool.submit(lambda x: x * 2, "ab").result() == "abab"


@pytest.fixture
def unimportable() -> types.ModuleType:
    """A module that no worker can import: made by hand, as `__main__` is."""
    module = types.ModuleType("unimportable")
    source = """
import math
FACTOR = 3
def helper(n): return n * FACTOR
def recursive(n): return 1 if n < 2 else n * recursive(n - 1)
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
def mixed(n): return math.floor(n) + helper(1)
class Local: pass
"""
    exec(source, vars(module))  # noqa: S102 - a module made by hand
    return module


def test_functions_of_a_module_that_workers_cannot_import(
    pool: InterpreterPoolExecutor, unimportable: Any
) -> None:
    assert form_of(unimportable.helper) == values.BY_PICKLE
    assert pool.submit(unimportable.helper, 5).result() == 15
    assert pool.submit(unimportable.recursive, 5).result() == 120
    assert pool.submit(unimportable.even, 10).result() is True
    assert pool.submit(unimportable.mixed, 2.5).result() == 5


def test_globals_are_as_they_are_at_that_submit(
    pool: InterpreterPoolExecutor, unimportable: Any
) -> None:
    assert pool.submit(unimportable.helper, 1).result() == 3
    unimportable.FACTOR = 4
    assert pool.submit(unimportable.helper, 1).result() == 4


def test_a_global_that_appears_later_is_seen(pool: InterpreterPoolExecutor) -> None:
    namespace: dict[str, Any] = {"__name__": "made_up"}
    exec("def read(): return late", namespace)  # noqa: S102 - a module made by hand
    assert isinstance(pool.submit(namespace["read"]).exception(), NameError)
    namespace["late"] = "now"
    assert pool.submit(namespace["read"]).result() == "now"


def test_cells_are_as_they_are_at_that_submit(pool: InterpreterPoolExecutor) -> None:
    value = 1

    def read() -> int:
        return value

    first = pool.submit(read)
    value = 2
    assert (first.result(), pool.submit(read).result()) == (1, 2)


def test_a_closure_may_refer_to_itself(pool: InterpreterPoolExecutor) -> None:
    def count(n: int) -> int:
        return 0 if n == 0 else 1 + count(n - 1)

    assert pool.submit(count, 9).result() == 9


def test_an_empty_cell_stays_empty(pool: InterpreterPoolExecutor) -> None:
    def read() -> object:
        return unbound

    future = pool.submit(read)
    assert isinstance(future.exception(), NameError)
    unbound = 1


def test_functions_sent_together_share_their_globals(pool: InterpreterPoolExecutor) -> None:
    namespace: dict[str, Any] = {"__name__": "made_up", "count": 0}
    source = """
def step():
    global count
    count += 1
def run():
    step(); step()
    return count
"""
    exec(source, namespace)  # noqa: S102 - a module made by hand
    assert pool.submit(namespace["run"]).result() == 2
    assert namespace["count"] == 0


def test_a_function_keeps_its_name_and_attributes(pool: InterpreterPoolExecutor) -> None:
    def named() -> None:
        """Says what it is."""

    named.mark = "marked"  # type: ignore[attr-defined]

    def describe(function: Any) -> tuple[str, ...]:
        return function.__qualname__, function.__doc__, function.mark, function.__module__

    assert pool.submit(describe, named).result() == (
        named.__qualname__,
        "Says what it is.",
        "marked",
        __name__,
    )


def test_a_decorated_function(pool: InterpreterPoolExecutor) -> None:
    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args) * 2

        return wrapper

    @twice
    def decorated(n: int) -> int:
        return n + 1

    assert pool.submit(decorated, 1).result() == 4


def test_callables_that_pickle_as_objects(pool: InterpreterPoolExecutor) -> None:
    assert pool.submit(functools.partial(add, 1), 2).result() == 3
    assert pool.submit("a-b".split, "-").result() == ["a", "b"]
    assert pool.submit(math.pow, 2, 3).result() == 8


def test_a_module_as_an_argument_goes_by_reference(pool: InterpreterPoolExecutor) -> None:
    assert pool.submit(lambda module: module.sqrt(9), math).result() == 3


def test_a_module_that_workers_cannot_import_is_named(pool: InterpreterPoolExecutor) -> None:
    with pytest.raises(TransferError, match="cannot import the module 'by_hand'"):
        pool.submit(print, types.ModuleType("by_hand")).result()


# --- By reference ------------------------------------------------------------------------------


def test_a_function_replaced_in_its_module_goes_by_value(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = string.capwords
    monkeypatch.setattr(string, "capwords", lambda text: text)
    assert form_of(original) != values.BY_REFERENCE
    assert pool.submit(original, "one two").result() == "One Two"


def test_main_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    exec("def f(): return 1", vars(main))  # noqa: S102 - a module made by hand
    main.__spec__ = sys.modules["string"].__spec__
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert form_of(main.f) == values.BY_CODE


def test_a_module_in_a_folder_of_sys_path_is_imported(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_script.py").write_text("def double(n):\n    return n * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import beside_the_script  # type: ignore[import-not-found]

    assert form_of(beside_the_script.double) == values.BY_REFERENCE
    with InterpreterPoolExecutor(1) as fresh:
        assert fresh.submit(beside_the_script.double, 4).result() == 8


def test_a_function_that_is_gone_in_the_worker_says_so(pool: InterpreterPoolExecutor) -> None:
    import marshal

    form = marshal.dumps((values.BY_REFERENCE, "string", "no_such_function"))
    call = Call("no_such_function", (0, form))
    future = pool._engine.submit(call.message((), {}), call.name)
    with pytest.raises(
        TransferError,
        match="Cannot rebuild the function no_such_function in a worker: AttributeError",
    ):
        future.result()


def test_pickles_name_what_runs_inside_by_its_flat_name() -> None:
    # A dotted name would make every worker import the whole package (50 ms).
    _, (data,), _ = parcel(lambda: math.pi)
    assert b"_interpool_values" in data
    assert b"interpool._inside" not in data


# --- Globals in a worker -----------------------------------------------------------------------

SCRIPT = """
import threading
import xml.dom.minidom
from interpool import InterpreterPoolExecutor

model, cache, FACTOR, lock = None, {}, 3, threading.Lock()

def initialize(value):
    global model
    model = value
    cache["by initializer"] = value

def use(x): return model, x, dict(cache)
def put(key): cache[key] = 1
def helper(): return FACTOR
def scale(x): return helper() * x
def only_an_attribute(x): return x.lock if hasattr(x, "lock") else "no lock"
def parse(text): return xml.dom.minidom.parseString(text).documentElement.tagName

with InterpreterPoolExecutor(1, initializer=initialize, initargs=("loaded",)) as pool:
    print(pool.submit(use, 1).result())
    pool.submit(put, "by task").result()
    print(pool.submit(use, 2).result())
    cache = {"new": "in main"}
    print(pool.submit(use, 3).result())
    for FACTOR in (3, 4, 3, 3):
        print(pool.submit(scale, 2).result(), end=" ")
    def helper(): return 100
    print(pool.submit(scale, 2).result())
    print(pool.submit(only_an_attribute, 1).result(), pool.submit(parse, "<a/>").result())
"""


def test_functions_of_a_script_share_its_globals_in_a_worker() -> None:
    done = run_program(SCRIPT)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "('loaded', 1, {'by initializer': 'loaded'})",
        "('loaded', 2, {'by initializer': 'loaded', 'by task': 1})",
        "('loaded', 3, {'new': 'in main'})",
        "6 8 6 6 200",
        "no lock a",
    ]


def test_namespaces_of_the_same_name_are_not_mixed_up(pool: InterpreterPoolExecutor) -> None:
    spaces: list[dict[str, Any]] = [{"__name__": "same", "X": n} for n in range(2)]
    for space in spaces:
        exec("def read(): return X", space)  # noqa: S102 - a module made by hand
    for _ in range(2):
        assert [pool.submit(space["read"]).result() for space in spaces] == [0, 1]


def test_functions_as_arguments_bring_their_globals(
    pool: InterpreterPoolExecutor, unimportable: Any
) -> None:
    def apply(function: Callable[[int], int], n: int) -> int:
        return function(n)

    assert pool.submit(apply, unimportable.helper, 2).result() == 6
    unimportable.FACTOR = 5
    assert pool.submit(apply, unimportable.helper, 2).result() == 10
    assert list(pool.map(apply, [unimportable.even] * 2, [2, 3], chunksize=2)) == [True, False]


SHARING = """
from interpool import InterpreterPoolExecutor

def counter():
    count = 0
    def increase():
        nonlocal count
        count += 1
    def read():
        return count
    return increase, read

increase, read = counter()
log = []
by_name = {"log": log, "increase": increase}

def count():
    increase()
    by_name["increase"]()
    return read()

def only_read():
    return read()

def write():
    by_name["log"].append(read())
    return log

with InterpreterPoolExecutor(1) as pool:
    print([pool.submit(task).result() for task in (count, count, only_read, count, write, write)])
    log.append("here")
    increase()
    print(pool.submit(write).result(), pool.submit(count).result())
"""


def test_globals_that_share_a_list_or_a_closure_share_it_in_a_worker() -> None:
    done = run_program(SHARING)
    assert done.stderr == ""
    # Together with others than last time they are sent anew, as they are here.
    assert done.stdout.splitlines() == ["[2, 4, 0, 2, [0], [0, 0]]", "['here', 1] 3"]


def test_a_variable_that_a_closure_binds_anew_is_as_it_is_here_for_each_task(
    pool: InterpreterPoolExecutor,
) -> None:
    def counter() -> tuple[Callable[[], int], Callable[[], int], Callable[[], int]]:
        count = 0

        def increase() -> int:
            nonlocal count
            count += 1
            return count

        def call_it() -> int:
            return increase()

        def nested() -> int:
            def inner() -> int:
                nonlocal count
                count += 1
                return count

            return inner()

        return increase, call_it, nested

    for function in counter():
        assert [pool.submit(function).result() for _ in range(3)] == [1, 1, 1]
    increase, *functions = counter()
    increase()
    assert [pool.submit(function).result() for function in functions * 2] == [2] * 4


RECURSIVE = """
import functools
import gc
from interpool import InterpreterPoolExecutor

def again(n):
    again.calls += 1
    return again(n - 1) if n else (again.calls, me() is again)

def me():
    return again

again.calls = 0

@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(again, 3).result())
    print(pool.submit(fib, 80).result(), pool.submit(lambda: fib.cache_info().currsize).result())
"""


def test_a_function_that_calls_itself_is_itself_in_a_worker() -> None:
    done = run_program(RECURSIVE)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(4, True)", "23416728348467685 81"]


@pytest.mark.parametrize("value", [type(None), type(...), int | None, list[int], int])
def test_types_as_arguments(pool: InterpreterPoolExecutor, value: Any) -> None:
    assert pool.submit(lambda x: [x], value).result() == [value]


WHILE_IMPORTED = """
from interpool import InterpreterPoolExecutor
print("begins", __name__)
class C: ...
def make(): return C()
with InterpreterPoolExecutor(1) as pool:
    print(type(pool.submit(make).result(60)) is C, type(pool.submit(C).result(60)) is C)
    import package
    print(pool.submit(lambda: package.name).exception(60))
"""


def test_a_module_that_uses_a_pool_while_it_is_imported_is_not_imported_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("import package.within\nname = 1\n")
    (tmp_path / "package" / "within.py").write_text(WHILE_IMPORTED)
    done = run_program(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import package; print(package.name)"
    )
    assert done.stderr == ""
    first, classes, refusal, last = done.stdout.splitlines()
    assert (first, classes, last) == ("begins package.within", "True True", "1")
    assert "'package', which is still being imported here" in refusal


PACKAGE = """
from interpool import InterpreterPoolExecutor
FACTOR = 2
def plain():
    from . import helper
    return helper.VALUE
def deeper():
    def inner():
        from .helper import VALUE
        return VALUE * FACTOR
    return inner()
def of_spec_alone():
    global __package__
    del __package__
    from . import helper
    return helper.VALUE
if __name__ == "__main__":
    with InterpreterPoolExecutor(1) as pool:
        print([pool.submit(it).result(60) for it in (plain, deeper, of_spec_alone)])
"""


def test_relative_imports_in_functions_of_a_package_that_is_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(PACKAGE)
    (tmp_path / "package" / "helper.py").write_text("VALUE = 4\n")
    done = run_program(
        Path("-m"),
        "package",
        PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    )
    assert (done.stderr, done.stdout) == ("", "[4, 8, 4]\n")


def test_an_import_from_anywhere_else_leaves_a_function_to_its_code() -> None:
    def fetch() -> object:
        from os import path

        return path

    assert form_of(fetch) == values.BY_CODE


def test_a_module_in_a_working_directory_that_was_left_goes_by_value(tmp_path: Path) -> None:
    (tmp_path / "beside_me.py").write_text("FACTOR = 2\ndef double(n): return n * FACTOR\n")
    source = f"""
import os
from interpool import InterpreterPoolExecutor
os.chdir({str(tmp_path)!r})
import beside_me
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(beside_me.double, 1).result(60))
with InterpreterPoolExecutor(1) as pool:
    os.chdir("/")
    print(pool.submit(beside_me.double, 2).result(60))
"""
    done = run_program(source)
    assert (done.stderr, done.stdout) == ("", "2\n4\n")


MAIN = """
import pickle
from dataclasses import dataclass
from interpool import InterpreterPoolExecutor

@dataclass
class Point:
    x: int
def helper(): return RATE
RATE = 2
def copied(point): return pickle.loads(pickle.dumps(point)), type(point) is Point
def dumped(point): return pickle.dumps(point)
def of_main():
    import __main__
    return __main__.RATE + __main__.helper() + __main__.helper()
def made():
    global Point, helper
    class Point:
        x = "of the task"
    def helper(): return Point
    return Point(), helper
if __name__ == "__main__":
    with InterpreterPoolExecutor(1) as pool:
        print(pool.submit(copied, Point(1)).result(60))
        print(pool.submit(lambda it: pickle.loads(pickle.dumps(it)), Point(2)).result(60))
        print(pickle.loads(pool.submit(dumped, Point(3)).result(60)) == Point(3))
        print(pool.submit(of_main).result(60))
        RATE = 3
        print(pool.submit(of_main).result(60))
        point, function = pool.submit(made).result(60)
        print(point.x, type(point) is Point, function is helper)
        print(type(pool.submit(Point, 4).result(60)) is Point)
"""


FUTURE = """
from __future__ import annotations
import dataclasses, typing
from dataclasses import dataclass, KW_ONLY
from typing import ClassVar
from interpool import InterpreterPoolExecutor
def fields():
    @dataclass
    class D:
        count: ClassVar[int] = 0
        total: typing.ClassVar[int] = 0
        given: dataclasses.InitVar[int] = 0
        x: int = 1
        _: KW_ONLY
        y: int = 2
    return [(it.name, it.kw_only) for it in dataclasses.fields(D)]
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(fields).result(60) == fields() == [("x", False), ("y", True)])
"""


def test_a_dataclass_made_in_a_task_knows_annotations_that_are_text() -> None:
    done = run_program(FUTURE)
    assert (done.stderr, done.stdout) == ("", "True\n")


def test_main_of_a_worker_holds_what_was_sent_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(MAIN)
    done = run_program(script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "(Point(x=1), True)",
        "Point(x=2)",
        "True",
        "6",
        "9",
        "of the task False False",
        "True",
    ]


# --- What is known of a function from an earlier submit -------------------------------------------


CHANGES: dict[str, Callable[[Any], object]] = {
    "code": lambda f: setattr(f, "__code__", (lambda n: n + 100).__code__),
    "defaults": lambda f: setattr(f, "__defaults__", (7,)),
    "keyword defaults": lambda f: setattr(f, "__kwdefaults__", {"n": 7}),
    "qualified name": lambda f: setattr(f, "__qualname__", "other"),
    "docstring": lambda f: setattr(f, "__doc__", "other"),
    "attribute": lambda f: setattr(f, "extra", 1),
    "annotations": lambda f: setattr(f, "__annotations__", {"n": "float"}),
    "a builtin's name": lambda f: f.__globals__.update(len=lambda _: 50),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_function_that_changed_since_the_last_submit_is_seen_as_it_is(
    pool: InterpreterPoolExecutor, change: Callable[[Any], object]
) -> None:
    def told(function: Any, n: int) -> tuple[Any, ...]:
        attributes = function.__qualname__, function.__doc__, function.__defaults__
        return *attributes, vars(function), dict(function.__annotations__), function(n)

    namespace: dict[str, Any] = {"__name__": "made_by_hand"}
    source = "def function(n: int = 1) -> int:\n    'text'\n    return n + len('abc')"
    exec(source, namespace)  # noqa: S102 - a namespace made by hand
    function = namespace["function"]
    for _ in range(2):
        assert pool.submit(function, 2).result() == 5
    change(function)
    assert pool.submit(function, 2).result() == function(2)
    assert pool.submit(told, function, 2).result() == told(function, 2)


def test_what_is_known_of_a_function_keeps_neither_it_nor_its_globals(
    pool: InterpreterPoolExecutor,
) -> None:
    class Marker: ...

    namespace: dict[str, Any] = {"__name__": "made_by_hand", "marker": Marker()}
    exec("def function(n: int) -> int:\n    return n", namespace)  # noqa: S102 - the same
    assert pool.submit(namespace["function"], 2).result() == 2
    gone = weakref.ref(namespace["marker"])
    namespace = {}
    gc.collect()
    assert gone() is None
