"""Whatever goes wrong in a task ends that task's future, says what it was, and leaves the pool.

Stages: the function, an argument, the call, the result, the exception.
Ways: it raises, it exits, it cannot be pickled, it pickles and fails to load.
"""

import collections
import concurrent.futures
import ctypes
import dataclasses
import functools
import pickle
import queue
import re
import socket
import threading
import traceback
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.interpreters import ExecutionFailed, NotShareableError
from pathlib import Path
from typing import Any

import pytest

import hostile
from interpool import BrokenInterpreterPool, InterpreterPoolExecutor, RemoteError, TransferError
from interpool._codec import name_of
from support import PATIENCE, Gate, arrive_and_pass, divide, exit_with, identity, run_program


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(identity, 0).result()  # what each test is held to includes this worker
        yield made


@pytest.fixture(autouse=True)
def the_pool_still_works(pool: InterpreterPoolExecutor) -> Iterator[None]:
    yield
    assert pool.submit(identity, "alive").result() == "alive"


# --- Sending -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "culprit", [threading.Lock(), (n for n in range(3)), hostile.RaisesWhenPickled()], ids=repr
)
def test_an_argument_that_cannot_be_pickled_is_named(
    pool: InterpreterPoolExecutor, culprit: object
) -> None:
    future = pool.submit(identity, culprit)
    with pytest.raises(TransferError, match=r"argument 1 of identity") as raised:
        future.result()
    assert type(culprit).__qualname__ in str(raised.value)
    assert isinstance(raised.value, NotShareableError)
    assert raised.value.__cause__ is not None


def test_what_was_refused_and_can_be_sent_a_moment_later_says_why(
    pool: InterpreterPoolExecutor,
) -> None:
    class Fickle:
        times = 0

        def __reduce__(self) -> Any:
            Fickle.times += 1
            if Fickle.times == 1:
                raise ValueError("not now")
            return object, ()

    with pytest.raises(TransferError, match=r"the arguments of identity.*ValueError: not now"):
        pool.submit(identity, Fickle()).result()


def test_a_keyword_argument_that_cannot_be_pickled_is_named(pool: InterpreterPoolExecutor) -> None:
    def task(*, sink: Any) -> None: ...

    with pytest.raises(TransferError, match=r"argument sink of .*task"):
        pool.submit(task, sink=threading.Lock()).result()


def test_a_function_that_cannot_be_pickled_is_named(pool: InterpreterPoolExecutor) -> None:
    lock = threading.Lock()

    def task() -> object:
        return lock

    with pytest.raises(
        TransferError, match=r"the function .*task, closure variable 'lock' to a worker.*a lock"
    ):
        pool.submit(task).result()


def test_map_names_the_item(pool: InterpreterPoolExecutor) -> None:
    with pytest.raises(TransferError, match=r"argument 1 of identity"):
        list(pool.map(identity, [1, threading.Lock()], chunksize=2))
    results = pool.map(identity, [1, threading.Lock()])
    assert next(results) == 1


def test_an_interrupt_while_an_argument_is_pickled_is_the_users(
    pool: InterpreterPoolExecutor,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        pool.submit(identity, hostile.RaisesWhenPickled(KeyboardInterrupt()))


# --- Arriving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_argument_that_fails_to_load_says_so(
    pool: InterpreterPoolExecutor, error: BaseException
) -> None:
    culprit = hostile.RaisesWhenLoaded(error)
    with pytest.raises(TransferError, match="Cannot rebuild argument 1 of identity") as raised:
        pool.submit(identity, culprit).result()
    assert type(error).__name__ in str(raised.value)
    cause = raised.value.__cause__
    assert type(cause) is type(error)
    assert isinstance(cause.__cause__, ExecutionFailed)  # with the traceback in the worker


def test_a_callable_that_fails_to_load_says_so(pool: InterpreterPoolExecutor) -> None:
    with pytest.raises(
        TransferError, match=r"Cannot rebuild the function RaisesWhenLoaded.*ValueError: no"
    ):
        pool.submit(hostile.RaisesWhenLoaded(ValueError("no"))).result()


# --- The result --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["generator", "raises", "exits", "recurses"])
def test_a_result_that_cannot_be_sent_says_so(pool: InterpreterPoolExecutor, way: str) -> None:
    with pytest.raises(TransferError, match="Cannot send the result of bad_result back"):
        pool.submit(hostile.bad_result, way).result()


def test_a_result_that_fails_to_load_here_says_so(pool: InterpreterPoolExecutor) -> None:
    with pytest.raises(TransferError, match=r"_here, which came back.*ValueError: loaded"):
        pool.submit(hostile.RaisesWhenLoaded.only_here, "loaded").result()


def test_in_a_chunk_only_the_culprit_fails(pool: InterpreterPoolExecutor) -> None:
    results = pool.map(hostile.bad_result, ["fine", "fine", "generator", "fine"], chunksize=4)
    assert [next(results), next(results)] == ["fine", "fine"]
    with pytest.raises(TransferError, match="Cannot send the result of bad_result back"):
        next(results)


def test_in_a_chunk_an_exception_keeps_nothing_from_running(
    pool: InterpreterPoolExecutor, gate: Gate
) -> None:
    def write_or_fail(fd: int, fail: Any) -> str:
        import os

        os.write(fd, b".")
        if fail:
            raise ValueError("of item 1")
        return "written"

    results = pool.map(write_or_fail, [gate.entry] * 3, [False, True, False], chunksize=3)
    gate.wait(3)
    assert next(results) == "written"
    with pytest.raises(ValueError, match="of item 1"):
        next(results)


# --- The exception -----------------------------------------------------------------------------


def test_an_exception_whose_init_takes_other_arguments_comes_as_itself(
    pool: InterpreterPoolExecutor,
) -> None:
    with pytest.raises(hostile.NeedsTwo, match=r"^a and b$") as raised:
        pool.submit(hostile.raise_needs_two).result()
    assert "raise NeedsTwo" in str(raised.value.__cause__)


def test_an_exception_that_cannot_be_pickled_comes_as_remote_error(
    pool: InterpreterPoolExecutor,
) -> None:
    with pytest.raises(RemoteError, match="HoldsLock") as raised:
        pool.submit(hostile.raise_holds_lock).result()
    refusal = raised.value.refusal
    assert refusal is not None
    assert (refusal.stage, refusal.type_name) == ("exception", "_thread.lock")
    assert refusal.path == "the exception.args[0] of raise_holds_lock"
    assert "cannot pickle" in refusal.reason
    assert refusal.hint
    assert raised.value.__notes__ == [str(refusal)]
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (copy.refusal.path, copy.__notes__) == (refusal.path, [str(refusal)])


@pytest.mark.parametrize("way", ["there", "here"])
def test_an_exception_that_does_not_load_says_what_of_it(
    pool: InterpreterPoolExecutor, way: str
) -> None:
    def fail() -> None:
        import hostile

        raise ValueError([hostile.LoadsNowhere() if way == "there" else hostile.Fussy()])

    with pytest.raises(RemoteError, match="ValueError") as raised:
        pool.submit(fail).result()
    refusal = raised.value.refusal
    assert refusal is not None
    assert refusal.path == f"the exception.args[0][0] of {fail.__qualname__}"
    assert f"Cannot rebuild {refusal.path}, which came back. It is of type hostile." in str(refusal)
    assert type(raised.value.__cause__) is ExecutionFailed


def test_a_group_whose_attributes_cannot_be_sent_keeps_its_members(
    pool: InterpreterPoolExecutor,
) -> None:
    class Errors(ExceptionGroup[Exception]): ...

    def fail() -> None:
        import threading

        error = Errors("several", [KeyError(1), ValueError(2)])
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    error: Any = pool.submit(fail).exception()
    assert type(error) is ExceptionGroup
    assert list(map(type, error.exceptions)) == [KeyError, ValueError]
    (note,) = error.__notes__
    assert "the exception['lock'] of" in note
    assert "It is a lock" in note


def test_an_exception_that_is_referred_to_twice_comes_once(pool: InterpreterPoolExecutor) -> None:
    def fail() -> None:
        try:
            [].pop()
        except IndexError as error:
            raise ExceptionGroup("all", [error, ValueError("second")]) from error

    error: Any = pool.submit(fail).exception()
    assert list(map(type, error.exceptions)) == [IndexError, ValueError]
    assert error.__cause__ is error.__context__ is error.exceptions[0]


def test_an_exception_whose_text_cannot_be_made_still_ends_the_future(
    pool: InterpreterPoolExecutor,
) -> None:
    error = pool.submit(hostile.raise_no_text).exception()
    assert type(error).__name__ in {"NoText", "RemoteError"}


def test_an_exception_keeps_its_notes_and_attributes(pool: InterpreterPoolExecutor) -> None:
    def fail() -> None:
        error = ValueError("with notes")
        error.add_note("a note")
        error.code = 7  # type: ignore[attr-defined]
        raise error

    error: Any = pool.submit(fail).exception()
    assert error.__notes__ == ["a note"]
    assert error.code == 7


def test_causes_that_go_round_end(pool: InterpreterPoolExecutor) -> None:
    error = pool.submit(hostile.raise_looped).exception(PATIENCE)
    assert type(error) is hostile.Looped
    assert type(error.__cause__) is ExecutionFailed
    error = pool.submit(hostile.raise_looped, 2).exception(PATIENCE)
    assert type(error) is hostile.Looped
    cause = error.__cause__
    assert type(cause) is hostile.Looped
    assert type(cause.__cause__) is ExecutionFailed


def test_recursion_without_end_is_an_error_like_others(pool: InterpreterPoolExecutor) -> None:
    error = pool.submit(eval, "(lambda f: f(f))(lambda f: f(f))").exception()
    assert isinstance(error, RecursionError)


def test_every_error_pickles() -> None:
    for error in (TransferError("t"), RemoteError("m.T", "x"), BrokenInterpreterPool("b")):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.args, str(copy)) == (type(error), error.args, str(error))


# --- Large and odd -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 4_080, 4_090, 4_096, 4_100, 70_000, 3_000_000])
def test_results_of_every_size_arrive(pool: InterpreterPoolExecutor, size: int) -> None:
    # Around PIPE_BUF a result changes its way; above, its pickle does.
    assert pool.submit(bytes, size).result() == bytes(size)
    assert pool.submit(list, range(size // 10)).result() == list(range(size // 10))


@pytest.mark.parametrize("size", [32_767, 32_768, 2_000_000])
def test_large_arguments_arrive_in_their_places(pool: InterpreterPoolExecutor, size: int) -> None:
    def tell(*args: Any, **kwargs: Any) -> list[Any]:
        return [*((type(arg).__name__, len(arg)) for arg in args), sorted(kwargs), len(kwargs["b"])]

    text, data = "\N{SNOWMAN}" * size, bytes(size)
    expected = [("str", size), ("list", 2), ("bytes", size), ["a", "b"], size]
    assert pool.submit(tell, text, [1, 2], data, a=1, b=data).result() == expected
    assert pool.submit(tell, text, [data, 2], data, a={2}, b=text).result() == expected
    assert pool.submit(identity, text).result() == text
    assert list(pool.map(len, [data] * 3, chunksize=3)) == [size] * 3


@pytest.mark.parametrize(
    "value",
    [
        2**10_000,
        -0.0,
        float("inf"),
        3 + 4j,
        "\ud800",
        "\N{SNOWMAN}" * 5_000,
        [1, [2, (3, {4: {5}})]],
        bytearray(b"stays a bytearray"),
        memoryview(b"no"),
        ...,
        NotImplemented,
        int,
        ValueError("v"),
        range(3),
        slice(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_keep_their_type(pool: InterpreterPoolExecutor, value: Any) -> None:
    result = pool.submit(identity, value).result()
    assert type(result) is type(value)
    assert result == value or repr(result) == repr(value)


class Text(str):
    """A subclass of a type that marshal would take for the type itself."""

    __slots__ = ()


def test_subclasses_of_plain_types_are_not_flattened(pool: InterpreterPoolExecutor) -> None:
    true: Any = pool.submit(identity, True).result()  # noqa: FBT003
    assert true is True
    result = pool.submit(identity, hostile.Colour.RED).result()
    assert result is hostile.Colour.RED


def test_a_worker_that_breaks_down_ends_its_own_task_and_is_replaced() -> None:
    # It takes the worker's own module to break it; no task gets there by accident.
    def sabotage() -> None:
        import sys

        def fail(*_: object) -> None:
            raise OSError("sabotaged")

        sys.stderr = None
        sys.modules["_interpool_loop"].Loop.send = fail

    with InterpreterPoolExecutor(1) as broken:
        future = broken.submit(sabotage)
        others = [broken.submit(identity, n) for n in range(3)]
        with pytest.raises(BrokenInterpreterPool, match=r"broke down.*ended without an answer"):
            future.result(60)
        assert [other.result(60) for other in others] == [0, 1, 2]


# --- The matrix --------------------------------------------------------------------------------


def pickle_a_lock() -> None:
    import pickle
    import threading

    pickle.dumps(threading.Lock())


def import_what_fails() -> None:
    import no_such_module  # type: ignore[import-not-found]  # noqa: F401


def raise_hostile(way: str) -> None:
    raise hostile.Hostile(way)


def with_lock() -> Any:
    lock = threading.Lock()
    return lambda: lock


@dataclasses.dataclass
class Cell:
    """What is submitted, and the error that its future ends with."""

    task: tuple[Any, ...]
    error: type[BaseException]
    stage: str = ""
    message: str = ""
    cause: type[BaseException] = ExecutionFailed


REFUSED = hostile.RaisesWhenPickled
UNLOADED = hostile.RaisesWhenLoaded(ValueError("not here"))
MATRIX: dict[tuple[str, str], Cell] = {
    ("function", "raises"): Cell(
        (REFUSED(),),
        TransferError,
        "function",
        "Cannot send the function RaisesWhenPickled object to a worker.*will not be pickled",
        ValueError,
    ),
    ("function", "exits"): Cell(
        (REFUSED(SystemExit(3)),),
        TransferError,
        "function",
        "Cannot send the function RaisesWhenPickled object to a worker.*: SystemExit: 3",
        SystemExit,
    ),
    ("function", "unpicklable"): Cell(
        (with_lock(),),
        TransferError,
        "function",
        "the function with_lock.*, closure variable 'lock' to a worker. It is a lock",
        TypeError,
    ),
    ("function", "fails to load"): Cell(
        (UNLOADED,),
        TransferError,
        "function",
        "Cannot rebuild the function RaisesWhenLoaded object in a worker. .*: ValueError: not here",
        ValueError,
    ),
    ("argument", "raises"): Cell(
        (identity, [REFUSED()]),
        TransferError,
        "argument",
        r"Cannot send argument 1\[0\] of identity to a worker.*will not be pickled",
        ValueError,
    ),
    ("argument", "exits"): Cell(
        (identity, [REFUSED(SystemExit(3))]),
        TransferError,
        "argument",
        r"Cannot send argument 1\[0\] of identity to a worker.*: SystemExit: 3",
        SystemExit,
    ),
    ("argument", "unpicklable"): Cell(
        (identity, {"sink": threading.Lock()}),
        TransferError,
        "argument",
        r"Cannot send argument 1\['sink'\] of identity to a worker. It is a lock",
        TypeError,
    ),
    ("argument", "fails to load"): Cell(
        (identity, UNLOADED),
        TransferError,
        "argument",
        "Cannot rebuild argument 1 of identity in a worker. It is what .*: ValueError: not here",
        ValueError,
    ),
    ("call", "raises"): Cell((divide, 1, 0), ZeroDivisionError, message="division by zero"),
    ("call", "exits"): Cell((exit_with, 3), SystemExit, message="3"),
    ("call", "unpicklable"): Cell((pickle_a_lock,), TypeError, message="cannot pickle"),
    ("call", "fails to load"): Cell(
        (import_what_fails,), ModuleNotFoundError, message="No module named 'no_such_module'"
    ),
    ("result", "raises"): Cell(
        (hostile.bad_result, "raises"),
        TransferError,
        "result",
        "Cannot send the result of bad_result back from a worker.*will not be pickled",
        ValueError,
    ),
    ("result", "exits"): Cell(
        (hostile.bad_result, "exits"),
        TransferError,
        "result",
        "Cannot send the result of bad_result back from a worker. It is .*: SystemExit: 3",
        SystemExit,
    ),
    ("result", "unpicklable"): Cell(
        (hostile.bad_result, "generator"),
        TransferError,
        "result",
        "Cannot send the result of bad_result back from a worker. It is a generator",
        TypeError,
    ),
    ("result", "fails to load"): Cell(
        (hostile.RaisesWhenLoaded.only_here, "not here"),
        TransferError,
        "result",
        "Cannot rebuild the result of .*only_here, which came back. .*: ValueError: not here",
        ValueError,
    ),
    ("exception", "raises"): Cell((raise_hostile, "raises"), RemoteError, message="raises"),
    ("exception", "exits"): Cell((raise_hostile, "exits"), RemoteError, message="exits"),
    ("exception", "unpicklable"): Cell((raise_hostile, "holds"), RemoteError, message="holds"),
    ("exception", "fails to load"): Cell((raise_hostile, "only here"), RemoteError, message="only"),
}


def test_the_matrix_is_full() -> None:
    ways = ("raises", "exits", "unpicklable", "fails to load")
    stages = ("function", "argument", "call", "result", "exception")
    assert list(MATRIX) == [(stage, way) for stage in stages for way in ways]


@pytest.mark.parametrize("moment", ["before start", "running", "at shutdown"])
@pytest.mark.parametrize("place", MATRIX, ids=" ".join)
def test_whatever_goes_wrong_whenever_ends_its_own_future(
    place: tuple[str, str], moment: str, gate: Gate, arrivals: Gate
) -> None:
    cell = MATRIX[place]
    with InterpreterPoolExecutor(1) as pool:
        if moment != "before start":
            held = pool.submit(arrive_and_pass, arrivals.entry, gate.exit, "held")
            arrivals.wait()
        future = pool.submit(*cell.task)
        after = pool.submit(identity, "after")
        if moment == "at shutdown":
            pool.shutdown(wait=False)
        if moment != "before start":
            gate.open()
            assert held.result(PATIENCE) == "held"
        assert after.result(PATIENCE) == "after"
        if moment != "at shutdown":
            assert pool.submit(identity, "alive").result(PATIENCE) == "alive"
    error = future.exception(PATIENCE)
    assert type(error) is cell.error
    assert re.search(cell.message, str(error))
    assert getattr(error, "stage", "") == cell.stage
    assert type(error.__cause__) is cell.cause
    crossed = place[0] not in {"function", "argument"} or place[1] == "fails to load"
    if crossed and place != ("result", "fails to load"):
        # It went wrong in the worker: what it looked like there is printed here.
        text = "".join(traceback.format_exception(error))
        assert "Uncaught in the interpreter" in text


# --- Paths -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Sink:
    handle: Any


class Slotted:
    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def use(self) -> Any:
        return self.handle


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    handle: Any
    more: int = 0


class Keyed:
    """One lock is no other, but both may be keys."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def __repr__(self) -> str:
        return "Keyed()"


def in_namespace(lock: Any, source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "by_hand", "LOCK": lock}
    exec(source, namespace)  # noqa: S102 - a module made by hand
    return namespace["made"]


def closing_over(it: Any) -> Callable[[], Any]:
    return lambda: it


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "": lambda it: it,
    "['sinks'][0].handle": lambda it: {"sinks": [Sink(it)]},
    "[1]": lambda it: (0, it),
    "[0][1]": lambda it: collections.deque([[0, it]]),
    ", element.lock": lambda it: {Keyed(it)},
    ", key Keyed().lock": lambda it: {Keyed(it): 1},
    ".handle": Sink,
    ".handle.handle": lambda it: Sink(Slotted(it)),
    ".handle[3].handle": lambda it: Slotted([0, 1, 2, Sink(it)]),
    ".more.handle": lambda it: types.SimpleNamespace(few=1, more=Slotted(it)),
    "['new'].handle": lambda it: collections.defaultdict(int, new=Sink(it)),
    ".__self__[0]": lambda it: [it].append,
    ".default_factory, closure variable 'it'": lambda it: collections.defaultdict(lambda: it),
    "[1][0]": lambda it: types.MappingProxyType({1: [it]}),
    ", class 'Kind'.held": lambda it: type("Kind", (), {"held": it})(),
    ".args[1]": lambda it: ValueError("text", it),
    ".func, closure variable 'it'": lambda it: functools.partial(lambda: it),
    ".args[0]": lambda it: functools.partial(print, it),
    ".keywords['file']": lambda it: functools.partial(print, file=it),
}
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    ", closure variable 'it'": lambda it: closing_over(it),  # noqa: PLW0108 - typed by the others
    ", closure variable 'it'[0].handle": lambda it: closing_over([Sink(it)]),
    ", global 'LOCK'": lambda it: in_namespace(it, "def made(): return LOCK"),
    ", global 'helper', global 'LOCK'": lambda it: in_namespace(
        it, "def helper(): return LOCK\ndef made(): return helper()"
    ),
    ", default of 'b'": lambda it: in_namespace(it, "def made(a=1, b=LOCK): return b"),
    ", default of 'k'": lambda it: in_namespace(it, "def made(*, k=LOCK): return k"),
    ".mark": lambda it: in_namespace(it, "def made(): return made.mark\nmade.mark = LOCK"),
    ".__self__.handle": lambda it: Slotted(it).use,
    ".__self__.held": lambda it: in_namespace(
        it, "class C:\n def use(self): ...\nc = C(); c.held = LOCK; made = c.use"
    ),
    ", closure variable 'it'.held": lambda it: closing_over(type("Kind", (), {"held": it})),
    ".__wrapped__, closure variable 'it'": lambda it: functools.cache(lambda: it),
    ".args[0].handle": lambda it: functools.partial(print, Sink(it)),
    ".func, closure variable 'it'": lambda it: functools.partial(lambda: it),
    ".handle": lambda it: in_namespace(
        it, "class C:\n def __call__(self): ...\nmade = C(); made.handle = LOCK"
    ),
}


@pytest.mark.parametrize("path", ARGUMENTS)
def test_the_path_into_an_argument_is_exact(pool: InterpreterPoolExecutor, path: str) -> None:
    culprit = ARGUMENTS[path](threading.Lock())
    by_place = pool.submit(identity, culprit).exception()
    by_name = pool.submit(print, 1, sep=culprit).exception()
    assert isinstance(by_place, TransferError)
    assert isinstance(by_name, TransferError)
    assert by_place.path == f"argument 1{path} of identity"
    assert by_name.path == f"argument sep{path} of print"
    for error in (by_place, by_name):
        assert (error.stage, error.type_name) == ("argument", "_thread.lock")
        assert f"Cannot send {error.path} to a worker. It is a lock" in str(error)
        assert error.reason == "TypeError: cannot pickle '_thread.lock' object"
        assert "pass an interpool.Lock" in error.hint
        assert isinstance(error.__cause__, TypeError)


@pytest.mark.parametrize("path", ARGUMENTS)
@pytest.mark.parametrize("chunksize", [1, 2])
def test_the_path_to_what_does_not_load_is_exact(
    pool: InterpreterPoolExecutor, path: str, chunksize: int
) -> None:
    culprit = ARGUMENTS[path](hostile.Fussy())
    with pytest.raises(TransferError) as raised:
        list(pool.map(identity, [0, culprit], chunksize=chunksize))
    error = raised.value
    # Classes, too, are loaded by themselves.
    place = "the arguments" if path.startswith(", class") else "argument 1"
    assert error.path == f"{place}{path} of identity"
    assert (error.stage, error.type_name) == ("argument", "hostile.Fussy")
    assert error.reason == "ValueError: not in this interpreter"
    assert f"Cannot rebuild {error.path} in a worker. It is of type" in str(error)
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("path", ["", "[1]", "['sinks'][0].handle", ".args[1]", ".handle.handle"])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_the_path_to_what_does_not_load_of_a_result_is_exact(
    pool: InterpreterPoolExecutor, path: str, chunksize: int
) -> None:
    make = ARGUMENTS[path]

    def task(fails: int) -> Any:
        import hostile

        return make(hostile.Fussy()) if fails else [0]

    with pytest.raises(TransferError) as raised:
        list(pool.map(task, [0, 1], chunksize=chunksize))
    assert raised.value.path == f"the result{path} of {task.__qualname__}"
    assert (raised.value.stage, raised.value.type_name) == ("result", "hostile.Fussy")


@pytest.mark.parametrize("path", FUNCTIONS)
def test_the_path_to_what_does_not_load_of_a_function_is_exact(
    pool: InterpreterPoolExecutor, path: str
) -> None:
    function = FUNCTIONS[path](hostile.Fussy())
    error = pool.submit(function).exception()
    assert isinstance(error, TransferError)
    assert (error.stage, error.type_name) == ("function", "hostile.Fussy")
    name = name_of(function)
    # Globals and classes are loaded by themselves, whatever refers to them.
    for own in (", closure variable 'it'.held", ", global 'helper'"):
        path = path.removeprefix(own)
    assert error.path.startswith(f"the function {name}")
    assert error.path.endswith(path)


@pytest.mark.parametrize("path", FUNCTIONS)
def test_the_path_into_a_function_is_exact(pool: InterpreterPoolExecutor, path: str) -> None:
    function = FUNCTIONS[path](threading.Lock())
    error = pool.submit(function).exception()
    assert isinstance(error, TransferError)
    name = name_of(function)
    assert error.path == f"the function {name}{path}"
    assert (error.stage, error.type_name) == ("function", "_thread.lock")


@pytest.mark.parametrize("path", ["", "[1]", "['sinks'][0].handle", ".args[1]", ".handle.handle"])
def test_the_path_into_a_result_is_exact(pool: InterpreterPoolExecutor, path: str) -> None:
    make = ARGUMENTS[path]

    def task() -> Any:
        import _thread

        return make(_thread.allocate_lock())

    error = pool.submit(task).exception()
    assert isinstance(error, TransferError)
    assert error.path == f"the result{path} of {task.__qualname__}"
    assert (error.stage, error.type_name) == ("result", "_thread.lock")
    assert error.hint == "Return what the caller needs of it"


def test_a_class_whose_metaclass_is_of_c_code_is_named(pool: InterpreterPoolExecutor) -> None:
    class Size(ctypes.Structure):
        _fields_ = (("width", ctypes.c_int),)

    error = pool.submit(identity, [Size(1)]).exception()
    assert isinstance(error, TransferError)
    assert (
        error.path == f"argument 1[0], class 'Size', metaclass {type(Size).__name__!r} of identity"
    )
    assert "put what needs it into a module that workers can import" in error.reason


OPENED: dict[str, Callable[[], Any]] = {
    "an open file": Path(__file__).open,
    "a socket": socket.socket,
    "a lock": threading.RLock,
    "a generator": lambda: (n for n in range(3)),
    "a future": concurrent.futures.Future,
    "a thread": threading.Thread,
    "a queue of threads": queue.SimpleQueue,
    "a weak reference": lambda: weakref.ref(Sink),
    "a view of a dictionary": {1: 2}.values,
    "a module": lambda: types.ModuleType("by_hand"),
}


@pytest.mark.parametrize("what", OPENED)
def test_what_is_not_sent_is_called_by_its_name_with_a_way_out(
    pool: InterpreterPoolExecutor, what: str
) -> None:
    culprit = OPENED[what]()
    error = pool.submit(identity, [culprit]).exception()
    getattr(culprit, "close", lambda: None)()
    assert isinstance(error, TransferError)
    assert f"argument 1[0] of identity to a worker. It is {what} (" in str(error)
    assert str(error).endswith(error.hint)
    assert error.hint


def test_an_extension_that_is_not_for_subinterpreters_says_so_itself(
    pool: InterpreterPoolExecutor,
) -> None:
    def task() -> Any:
        import _testsinglephase  # type: ignore[import-not-found]

        return _testsinglephase

    error = pool.options(lane="interpreter").submit(task).exception()
    if isinstance(error, ModuleNotFoundError):
        pytest.skip("this Python comes without its test modules")
    assert isinstance(error, ImportError)
    assert "does not support loading in subinterpreters" in str(error)


# --- The article's table -----------------------------------------------------------------------

ARTICLE = """
from interpool import InterpreterPoolExecutor
from concurrent import interpreters

def add(a, b): return a + b

class Greeter:
    def __init__(self, name): self.name = name
    def greet(self): return "hello " + self.name
    @classmethod
    def called(cls, name): return cls(name)

def produce(queue):
    for i in range(3): queue.put(i * i)

def consume(queue):
    return [queue.get() for _ in range(3)]

def main():
    with InterpreterPoolExecutor(max_workers=1) as pool:
        print("basic types:", pool.submit(lambda *all: all, 1, "s", 1.5, b"b", True, (2,)).result())
        print("a function of the module:", pool.submit(add, 3, 5).result())
        print("a class of the module:", pool.submit(Greeter, "you").result().greet())
        def local_add(a, b): return a + b
        print("a local function:", pool.submit(local_add, 3, 5).result())
        offset = 10
        def add_with_offset(a, b): return a + b + offset
        print("a closure:", pool.submit(add_with_offset, 3, 5).result())
        offset = 20
        print("a closure, changed:", pool.submit(add_with_offset, 3, 5).result())
        print("a bound method:", pool.submit(Greeter("me").greet).result())
        print("a class method:", type(pool.submit(Greeter.called, "me").result()) is Greeter)
        with open(__file__) as file:
            print("a file:", pool.submit(len, file).exception())
        import socket
        with socket.socket() as made:
            print("a socket:", pool.submit(len, made).exception())
        queue = interpreters.create_queue()
        pool.submit(produce, queue)
        print("a queue:", pool.submit(consume, queue).result())

if __name__ == "__main__":
    main()
"""


def test_every_row_of_the_articles_table_is_answered(tmp_path: Path) -> None:
    """What can be sent: basic types, functions and classes of a module, local functions; queues.

    What cannot, by the standard library's pool: closures and bound methods, which ours takes; open
    files and sockets, for which ours says so.
    """
    script = tmp_path / "article.py"
    script.write_text(ARTICLE)
    done = run_program(script)
    assert done.stderr == ""
    *sent, file, made, through_queue = done.stdout.splitlines()
    assert sent == [
        "basic types: (1, 's', 1.5, b'b', True, (2,))",
        "a function of the module: 8",
        "a class of the module: hello you",
        "a local function: 8",
        "a closure: 18",
        "a closure, changed: 28",
        "a bound method: hello me",
        "a class method: True",
    ]
    assert through_queue == "a queue: [0, 1, 4]"
    cannot = "Cannot send argument 1 of len to a worker. It is"
    assert file.startswith(f"a file: {cannot} an open file (_io.TextIOWrapper): TypeError: ")
    assert file.endswith("Open it inside the task, or pass the path")
    assert made.startswith(f"a socket: {cannot} a socket (socket.socket): TypeError: ")
    assert made.endswith("Connect inside the task, or pass the address")


def test_a_traceback_that_is_returned_says_where_it_was(pool: InterpreterPoolExecutor) -> None:
    def fail() -> None:
        raise LookupError

    def caught() -> Any:
        try:
            fail()
        except LookupError as error:
            return error.__traceback__

    there = traceback.extract_tb(pool.submit(caught).result())
    assert [(it.name, it.line) for it in there] == [
        ("caught", "fail()"),
        ("fail", "raise LookupError"),
    ]
    assert {it.filename for it in there} == {__file__}
