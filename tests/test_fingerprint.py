"""Whether a class has changed since it was last sent: what is noticed, and what is not kept."""

import abc
import dataclasses
import enum
import functools
import gc
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, _classes, _fingerprint
from interpool._fingerprint import fingerprint_of, is_same
from interpool._inside import values
from interpool._pickling import parcel


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(abs, 0).result()
        yield made


def make_class() -> Any:
    step = 1

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            return function(*args)

        return functools.wraps(function)(call)

    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 2

        kind = "point"
        limits = (1, ("a", 2))

        def move(self, by: int = 3, *, times: int = 4) -> int:
            return self.x + by * times + step

        @property
        def length(self) -> int:
            return self.x + self.y

        @functools.cached_property
        def area(self) -> int:
            return self.x * self.y

        @classmethod
        def make(cls) -> Point:
            return cls(1)

        @staticmethod
        def help() -> str:
            return "help"

        @decorate
        def wrapped(self) -> int:
            return self.x

        def change_step(self, value: int) -> None:
            nonlocal step
            step = value

    return Point


def replace_length(cls: Any) -> None:
    cls.length = property(lambda self: self.x)


CHANGES: list[Callable[[Any], Any]] = [
    lambda cls: setattr(cls, "kind", "other"),
    lambda cls: setattr(cls, "limits", (1, ("a", 3))),
    lambda cls: setattr(cls, "more", 1),
    lambda cls: delattr(cls, "kind"),
    lambda cls: setattr(cls, "move", lambda self: self),
    lambda cls: setattr(
        cls.move, "__code__", (lambda self: self.x).__code__.replace(co_freevars=("step",))
    ),
    lambda cls: setattr(cls.move, "__defaults__", (5,)),
    lambda cls: setattr(cls.move, "__kwdefaults__", {"times": 5}),
    lambda cls: setattr(cls.move, "unit", "m"),
    lambda cls: setattr(cls.move, "__doc__", "moves"),
    lambda cls: setattr(cls.wrapped.__wrapped__, "__defaults__", (1,)),
    lambda cls: setattr(cls.__dict__["make"].__func__, "unit", "m"),
    lambda cls: setattr(cls.__dict__["help"].__func__, "unit", "m"),
    lambda cls: cls(1).change_step(7),
    replace_length,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(change: Callable[[Any], Any]) -> None:
    cls = make_class()
    before = fingerprint_of(cls)
    again = fingerprint_of(cls)
    assert before is not None
    assert again is not None
    assert is_same(before, again)
    change(cls)
    after = fingerprint_of(cls)
    assert after is not None
    assert not is_same(before, after)


def test_where_values_end_makes_a_difference() -> None:
    one: Any = type("Same", (), {"a": (1, "b", 2), "c": 3})
    other: Any = type("Same", (), {"a": (1,), "b": 2, "c": 3})
    first, second = fingerprint_of(one), fingerprint_of(other)
    assert first is not None
    assert second is not None
    assert not is_same(first, second)


class Registered(abc.ABC):
    @abc.abstractmethod
    def run(self) -> None: ...


Registered.register(int)


@pytest.mark.parametrize(
    "cls",
    [
        type("HasList", (), {"items": [1]}),
        type("HasTable", (), {"table": {}}),
        type("HasObject", (), {"nothing": object()}),
        type("HasDefault", (), {"method": lambda self, items=[]: items}),
        Registered,
    ],
    ids=lambda cls: cls.__name__,
)
def test_what_may_change_inside_has_no_fingerprint(cls: type) -> None:
    assert fingerprint_of(cls) is None


def test_a_member_of_an_enumeration_that_changes_is_noticed() -> None:
    class Colour(enum.Enum):
        RED = 1
        BLUE = 2

    before = fingerprint_of(Colour)
    assert before is not None
    Colour.RED.note = "warm"  # type: ignore[attr-defined]
    after = fingerprint_of(Colour)
    assert after is not None
    assert not is_same(before, after)


def test_a_class_that_is_the_same_is_not_pickled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = make_class()
    first = parcel(cls(1))
    assert cls in first[2]
    monkeypatch.setattr(_classes, "contents_of", None)
    assert parcel(cls(1)) == first
    monkeypatch.undo()
    cls.kind = "other"
    assert parcel(cls(1)) != first


def test_a_class_that_is_remembered_is_let_go() -> None:
    cls = make_class()
    parcel(cls(1))
    gone = weakref.ref(cls)
    del cls
    gc.collect()
    assert gone() is None


def test_what_a_class_uses_goes_along_as_it_is_then(pool: InterpreterPoolExecutor) -> None:
    space: dict[str, Any] = {"__name__": "by_hand", "FACTOR": 2}
    source = """
class Base:
    def scaled(self): return 3 * FACTOR
class Scales(Base):
    def both(self): return self.scaled(), helper()
def helper(): return -FACTOR
"""
    exec(source, space)  # noqa: S102 - a module made by hand
    module = types.ModuleType("by_hand")
    vars(module).update(space)
    exec(source, vars(module))  # noqa: S102
    sys.modules["by_hand"] = module
    try:
        for factor in (2, 2, 5):
            module.FACTOR = factor  # type: ignore[attr-defined]
            expected = (3 * factor, -factor)
            assert pool.submit(lambda it: it.both(), module.Scales()).result() == expected
            assert pool.submit(lambda it: it.both(), space["Scales"]()).result() == (6, -2)
    finally:
        del sys.modules["by_hand"]


def test_a_class_that_another_thread_adds_to_meanwhile_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cls = make_class()
    marks_of, skeleton_of = _fingerprint._marks_of, _classes._extras_of
    numbers = itertools.count()

    def add() -> None:
        setattr(cls, f"added_{next(numbers)}", 1)

    def marks_and_add(value: Any) -> Iterator[object]:
        add()
        return marks_of(value)

    def extras_and_add(it: type) -> Iterator[tuple[str, Any]]:
        add()
        return skeleton_of(it)

    monkeypatch.setattr(_fingerprint, "_marks_of", marks_and_add)
    monkeypatch.setattr(_classes, "_extras_of", extras_and_add)
    parcel(cls(1))
    assert next(numbers) > 1


def test_two_threads_give_a_class_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    token_of = values.token_of

    def token_of_under_the_lock(obj: object) -> int | None:
        assert values._giving._is_owned()  # type: ignore[attr-defined]
        return token_of(obj)

    monkeypatch.setattr(values, "token_of", token_of_under_the_lock)
    cls = make_class()
    assert values.token_for(cls) == values.token_for(cls)
