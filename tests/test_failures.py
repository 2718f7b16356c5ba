"""Whatever goes wrong in a task ends that task's future, says what it was, and leaves the pool.

Stages: the function, an argument, the call, the result, the exception.
Ways: it raises, it exits, it cannot be pickled, it pickles and fails to load.
"""

import pickle
import threading
from collections.abc import Iterator
from concurrent.interpreters import ExecutionFailed, NotShareableError
from typing import Any

import pytest

import hostile
from interpool import BrokenInterpreterPool, InterpreterPoolExecutor, RemoteError, TransferError
from support import Gate, identity


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


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_argument_that_exits_when_pickled_does_so_here(
    pool: InterpreterPoolExecutor, error: BaseException
) -> None:
    # It runs in the caller's thread, and an exit there is the caller's to decide about.
    with pytest.raises(type(error)):
        pool.submit(identity, hostile.RaisesWhenPickled(error))


# --- Arriving ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_argument_that_fails_to_load_says_so(
    pool: InterpreterPoolExecutor, error: BaseException
) -> None:
    culprit = hostile.RaisesWhenLoaded(error)
    with pytest.raises(TransferError, match="Cannot rebuild the arguments of identity") as raised:
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
    with pytest.raises(TransferError, match="came back: ValueError: loaded"):
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
    with pytest.raises(RemoteError, match="HoldsLock"):
        pool.submit(hostile.raise_holds_lock).result()


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
