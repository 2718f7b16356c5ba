"""Hostile objects, everywhere that an object may be: a future that ends, and a pool that works."""

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hostile_objects
from interpool import InterpreterPoolExecutor, RemoteError, TransferError, explain
from shapes import len_of_all
from support import PATIENCE, identity


def by_hand() -> Any:
    """The same module where no worker can import it, so that its classes go by value."""
    module = types.ModuleType("made_by_hand")
    source = Path(hostile_objects.__file__).read_text(encoding="utf-8")
    exec(source, vars(module))  # noqa: S102 - a module made by hand
    return module


MODULES = {"by reference": hostile_objects, "by value": by_hand()}
OBJECTS = sorted(hostile_objects.OBJECTS)
ERRORS = sorted(hostile_objects.ERRORS)
sent_how = pytest.mark.parametrize("how", MODULES)


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(identity, 0).result()
        yield made


@pytest.fixture(autouse=True)
def the_pool_still_works(pool: InterpreterPoolExecutor) -> Iterator[None]:
    workers = set(pool._engine.staff.workers)
    yield
    assert pool.submit(len_of_all, "alive").result(PATIENCE) == 1
    assert set(pool._engine.staff.workers) == workers  # none broke down


def ends(submit: Callable[[], Any]) -> BaseException | None:
    """Submit, and return how the future ended; an interrupt is for the caller."""
    try:
        future = submit()
    except KeyboardInterrupt:
        return None
    error: BaseException | None = future.exception(PATIENCE)
    return error


def is_said(error: BaseException | None) -> bool:
    """Whether nothing went wrong, or it says what."""
    return error is None or (isinstance(error, TransferError) and bool(error.stage and error.path))


@sent_how
@pytest.mark.parametrize("name", OBJECTS)
def test_as_an_argument(pool: InterpreterPoolExecutor, name: str, how: str) -> None:
    make = MODULES[how].OBJECTS[name]
    assert is_said(ends(lambda: pool.submit(len_of_all, make(), key=make())))
    assert is_said(ends(lambda: pool.submit(len_of_all, [{"in": (make(),)}])))
    it = make()
    assert is_said(ends(lambda: pool.submit(lambda: id(it))))
    assert is_said(mapped(pool, [1, it]))


def mapped(pool: InterpreterPoolExecutor, items: list[Any]) -> BaseException | None:
    try:
        assert list(pool.map(len_of_all, items, chunksize=2)) == [1, 1]
    except TransferError as error:
        return error
    except KeyboardInterrupt:
        return None
    return None


@pytest.mark.parametrize("name", OBJECTS)
def test_explain_says_what_would_become_of_it(name: str) -> None:
    try:
        explained = explain([hostile_objects.OBJECTS[name]()])
    except KeyboardInterrupt:
        return
    assert explained.is_sendable != bool(list(explained.culprits()))
    assert str(explained)


@sent_how
@pytest.mark.parametrize("name", OBJECTS)
def test_as_a_callable(pool: InterpreterPoolExecutor, name: str, how: str) -> None:
    it = MODULES[how].OBJECTS[name]()
    if callable(it):
        ends(lambda: pool.submit(it))
    else:
        with pytest.raises(TypeError, match=r"not callable|scripts not supported"):
            pool.submit(it)


@sent_how
@pytest.mark.parametrize("name", OBJECTS)
def test_as_a_result(pool: InterpreterPoolExecutor, name: str, how: str) -> None:
    make = MODULES[how].OBJECTS[name]
    make_global = MODULES[how].make
    for task in (make, lambda: [{"in": (make(),)}], lambda: make_global(name)):
        assert is_said(ends(lambda task=task: pool.submit(task)))  # type: ignore[misc]


@sent_how
@pytest.mark.parametrize("name", ERRORS)
def test_as_an_exception(pool: InterpreterPoolExecutor, name: str, how: str) -> None:
    task = MODULES[how].throw
    error = ends(lambda: pool.submit(task, name))
    assert error is not None
    kind = BaseException.__getattribute__(error, "__class__")
    assert kind.__name__ == MODULES[how].ERRORS[name].__name__ or kind is RemoteError
    chained = ends(lambda: pool.submit(MODULES[how].chain, name))
    assert type(chained) in {KeyError, RemoteError}
    grouped = ends(lambda: pool.submit(MODULES[how].group, name))
    assert isinstance(grouped, BaseExceptionGroup) or type(grouped) is RemoteError


@pytest.mark.stress
@pytest.mark.parametrize("depth", [50_000, 200_000])
def test_nesting_beyond_every_limit(pool: InterpreterPoolExecutor, depth: int) -> None:
    def nested(depth: int) -> Any:
        made: list[Any] = []
        for _ in range(depth):
            made = [made]
        return made

    assert is_said(ends(lambda: pool.submit(len_of_all, nested(depth))))
    assert is_said(ends(lambda: pool.submit(nested, depth)))


@pytest.mark.parametrize("length", [400, 1_500, 6_000])
@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_exceptions_that_refer_to_one_another_without_end(
    pool: InterpreterPoolExecutor, length: int, limit: int
) -> None:
    def task(length: int) -> None:
        import sys

        sys.setrecursionlimit(limit)
        error = ValueError("first")
        for _ in range(length):
            later = ValueError("later")
            later.__context__, error = error, later
        raise error

    error = ends(lambda: pool.submit(task, length))
    pool.submit(sys.setrecursionlimit, 1_000).result(PATIENCE)
    assert isinstance(error, (ValueError, RemoteError, TransferError))


@pytest.mark.parametrize("depth", [10, 300, 3_000])
def test_groups_in_groups(pool: InterpreterPoolExecutor, depth: int) -> None:
    def task(depth: int) -> None:
        error: Exception = ValueError("inmost")
        for _ in range(depth):
            error = ExceptionGroup("group", [error])
        raise error

    error = ends(lambda: pool.submit(task, depth))
    assert isinstance(error, ExceptionGroup) or type(error) is RemoteError


def loops(drawn: tuple[str, list[str]]) -> Any:
    """A container of hostile objects that holds itself."""
    how, names = drawn
    made: list[Any] = [MODULES[how].OBJECTS[name]() for name in names]
    made.append({"again": made, "twice": (made, made)})
    return made


@pytest.mark.stress
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    drawn=st.tuples(
        st.sampled_from(sorted(MODULES)), st.lists(st.sampled_from(OBJECTS), max_size=5)
    )
)
def test_any_of_them_together(pool: InterpreterPoolExecutor, drawn: tuple[str, list[str]]) -> None:
    it = loops(drawn)
    assert is_said(ends(lambda: pool.submit(len_of_all, it)))
    assert is_said(ends(lambda: pool.submit(lambda: len(it))))
    assert is_said(ends(lambda: pool.submit(lambda: it)))
    assert pool.submit(identity, "alive").result(PATIENCE) == "alive"
