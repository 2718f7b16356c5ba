"""What `explain` says of objects, and that `submit` agrees."""

import array
import contextlib
import enum
import functools
import json
import math
import mmap
import socket
import string
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hostile
from interpool import Explanation, InterpreterPoolExecutor, TransferError, explain
from interpool._codec import Call
from interpool._pickling import parcel
from support import run_program


def walk(explanation: Explanation) -> Iterator[Explanation]:
    yield explanation
    for part in explanation.parts:
        yield from walk(part)


def names(explanation: Explanation) -> dict[str, str]:
    return {part.name: part.how for part in explanation.parts}


TABLE = {n: str(n) * 20 for n in range(100)}
FACTOR = 2


def make_task(extra: Any) -> Any:
    def task(n: int, scale: float = 1.0) -> Any:
        return helper(n), extra, scale, math.pi

    def helper(n: int) -> Any:
        return n and task(n - 1)

    return task


# --- How ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "reference"),
    [
        (len, "builtins:len"),
        (string.capwords, "string:capwords"),
        (int, "builtins:int"),
        (math, "math"),
    ],
)
def test_what_a_worker_can_import_goes_by_reference(obj: Any, reference: str) -> None:
    explained = explain(obj)
    assert (explained.how, explained.reference) == ("by reference", reference)
    assert explained.is_sendable


@pytest.mark.parametrize("obj", [1, "text", [1, 2], {"a": (1, {2})}, None, hostile.Colour.RED])
def test_plain_objects_go_by_value(obj: Any) -> None:
    explained = explain(obj)
    assert explained.how == "by value"
    assert explained.nbytes
    assert explained.parts == ()


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        lambda n: "x" * n,
        lambda n: array.array("b", bytes(n)),
        lambda n: mmap.mmap(-1, n),
    ],
)
def test_large_buffers_go_out_of_band(make: Any) -> None:
    buffer = make(1_000_000)
    explained = explain(buffer)
    assert explained.how == "out of band"
    assert explained.nbytes is not None
    assert 1_000_000 <= explained.nbytes < 1_001_000
    held = explain({"small": 1, "buffer": buffer})
    assert (held.how, names(held), held.omitted) == ("by value", {"['buffer']": "out of band"}, 1)
    assert explain(make(1_000)).how == "by value"
    if isinstance(buffer, mmap.mmap):
        buffer.close()


BIG = bytearray(1_000_000)


def test_what_a_function_brings_along_goes_in_one_piece() -> None:
    def of_global() -> int:
        return len(BIG)

    big = BIG

    def of_closure() -> int:
        return len(big)

    class Own:
        table = BIG

    assert names(explain(of_global)) == {"global 'BIG'": "by value"}
    assert names(explain([of_global]).parts[0]) == {"global 'BIG'": "by value"}
    assert names(explain(of_closure)) == {"closure variable 'big'": "by value"}
    assert names(explain(functools.partial(len, BIG))) == {".args[0]": "by value"}
    assert explain({"class": Own, "big": BIG}).parts[1].how == "out of band"
    # As an argument, a function is pickled with its closure, beside which the buffer travels.
    assert names(explain([of_closure]).parts[0]) == {"closure variable 'big'": "out of band"}
    _, segments, _ = parcel([of_closure])
    assert len(segments) == 2
    assert len(parcel([of_global])[1]) == 1


@pytest.mark.parametrize("make", [bytes, lambda n: "x" * n])
def test_text_and_bytes_that_are_arguments_themselves_go_apart(make: Any) -> None:
    assert explain(make(100_000)).how == "out of band"
    assert explain(make(10_000)).how == "by value"
    assert explain([make(100_000)]).parts[0].how == "by value"
    assert explain(bytearray(100_000)).how == "by value"


@pytest.mark.parametrize(
    "make",
    [
        lambda: [[n, n] for n in range(20_000)],
        lambda: {n: (n,) for n in range(20_000)},
        lambda: [float(n) for n in range(40_000)],
        lambda: [[n] * 300 for n in range(2_000)],
    ],
)
def test_what_holds_many_is_not_pickled_once_for_each(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = []

    def counted(obj: Any) -> Any:
        parcels.append(obj)
        return parcel(obj)

    monkeypatch.setattr("interpool._pickling.parcel", counted)
    obj = make()
    explained = explain(obj)
    assert explained.omitted == len(obj)
    assert len(parcels) <= 1_001


def test_what_is_large_among_many_is_told_of() -> None:
    obj: Any = [[n] for n in range(2_000)]
    obj[1_000] = list(range(2_000))
    obj[1_999] = ["x" * 2_000]
    assert names(explain(obj)) == {"[1000]": "by value", "[1999]": "by value"}
    obj[500] = threading.Lock()
    told = names(explain(obj))
    assert told == {"[500]": "refused", "[1000]": "by value", "[1999]": "by value"}


def test_a_function_tells_what_it_drags_along() -> None:
    explained = explain(make_task(b"x" * 2_000))
    assert explained.name == "make_task.<locals>.task"
    assert names(explained) == {
        "closure variable 'extra'": "by value",
        "closure variable 'helper'": "by value",
        "global 'math'": "by reference",
    }
    helper = explained.parts[1]
    assert names(helper) == {"closure variable 'task'": "shown above"}
    assert explained.parts[0].nbytes is not None
    assert explained.nbytes is not None
    assert 2_000 < explained.parts[0].nbytes < explained.nbytes


def test_a_class_by_value_is_told_of_with_its_bases() -> None:
    class Base: ...

    class Job(Base):
        def run(self) -> int:
            return FACTOR

    explained = explain(Job())
    (kind,) = explained.parts
    assert (kind.how, kind.name) == ("by value", f"class {Job.__qualname__!r}")
    assert names(kind) == {"base 'Base'": "by value"}


def test_only_so_many_parts_are_told_of() -> None:
    explained = explain([bytearray(2_000) for _ in range(200)])
    assert (len(explained.parts), explained.omitted) == (50, 150)
    nested: Any = []
    for _ in range(40):
        nested = [nested, "x" * 2_000]
    assert max(it.path.count("[0]") for it in walk(explain(nested))) < 20


def test_what_contains_itself_is_told_of_once() -> None:
    loop: list[Any] = ["x" * 2_000]
    loop.append(loop)
    explained = explain(loop)
    assert explained.is_sendable
    assert len(list(walk(explained))) <= 3


# --- Refused -------------------------------------------------------------------------------------


class Sink:
    def __init__(self, handle: Any) -> None:
        self.name = "sink"
        self.handle = handle


def test_what_is_refused_names_the_culprit() -> None:
    with open("/dev/null") as file:  # noqa: PTH123 - any open file
        explained = explain({"sinks": [1, Sink(file)], "rest": 1})
    assert not explained.is_sendable
    (culprit,) = explained.culprits()
    assert culprit.path == "['sinks'][1].handle"
    assert culprit.type_name == "_io.TextIOWrapper"
    assert culprit.reason.startswith("it is an open file: TypeError: ")
    assert culprit.hint == "Open it inside the task, or pass the path"
    assert [it.how for it in walk(explained)].count("refused") == 4
    text = str(explained)
    assert text.startswith("object: dict, refused\n├── ['sinks']: list, refused\n")
    assert "handle: _io.TextIOWrapper, refused: it is an open file" in text


def test_it_is_told_as_json() -> None:
    explained = explain([threading.Lock(), 1])
    told = json.loads(json.dumps(explained.as_dict()))
    assert told["how"] == "refused"
    assert told["parts"][0]["path"] == "[0]"
    assert "parts" not in told["parts"][0]
    assert told["omitted"] == 1


class Unfriendly:
    def __getattr__(self, name: str) -> Any:
        raise OSError(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise ValueError("no text")


class Agreeable:
    def __getattr__(self, name: str) -> Any:
        return self


@pytest.mark.parametrize(
    "make",
    [
        hostile.RaisesWhenPickled,
        hostile.Recurses,
        Unfriendly,
        lambda: [Unfriendly(), {"a": Unfriendly()}],
        lambda: (n for n in "abc"),
        lambda: functools.partial(print, threading.Lock()),
        lambda: make_task(threading.Lock()),
        sys._getframe,
        lambda: type("Own", (), {"lock": threading.Lock()}),
    ],
)
def test_explain_names_what_submit_names(make: Any) -> None:
    obj = make()
    explained = explain(obj)
    assert not explained.is_sendable
    assert str(explained)
    (culprit, *_) = explained.culprits()
    with InterpreterPoolExecutor(1) as pool, pytest.raises(TransferError) as raised:
        pool.submit(len, obj).result()
    assert raised.value.path == f"argument 1{culprit.path} of len"
    assert raised.value.type_name == culprit.type_name


def test_an_object_that_has_every_attribute_is_explained() -> None:
    assert explain(Agreeable()).how in {"by value", "refused"}


def test_a_socket_is_refused() -> None:
    with contextlib.closing(socket.socket()) as made:
        (culprit,) = explain({"connection": made}).culprits()
    assert "a socket" in culprit.reason


# --- Agreement -----------------------------------------------------------------------------------

OBJECTS = st.recursive(
    st.one_of(
        st.none(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.sampled_from([len, int, math, string.capwords, hostile.Colour.RED, enum.Enum]),
        st.builds(threading.Lock),
        st.builds(lambda: make_task(1)),
        st.builds(lambda: make_task(threading.Lock())),
        st.builds(lambda: Sink(1)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(Sink, inner),
        st.builds(make_task, inner),
        st.builds(lambda it: functools.partial(print, it), inner),
    ),
    max_leaves=8,
)


@given(OBJECTS)
def test_explain_agrees_with_the_pickler(obj: Any) -> None:
    explained = explain(obj)
    try:
        parcel(obj)
        expected = True
    except Exception:
        expected = False
    assert explained.is_sendable == expected
    assert bool(list(explained.culprits())) != expected
    if callable(obj) and not isinstance(obj, type):
        try:
            Call.of(obj)
        except TransferError:
            assert not expected
        else:
            assert expected


def test_functions_of_a_script_go_by_value() -> None:
    done = run_program("""
import interpool
TABLE = list(range(1000))
def task(n): return TABLE[n]
print(interpool.explain(task))
""")
    assert done.stderr == ""
    first, second, _ = done.stdout.splitlines()
    assert first.startswith("task: function, by value, ")
    assert second.startswith("└── global 'TABLE': list, by value, ")


def test_what_travels_in_a_way_of_its_own_is_not_to_blame() -> None:
    lock = threading.Lock()

    @functools.singledispatch
    def sized(it: object) -> object:
        return lock, it

    @sized.register
    def _(it: int) -> int:
        return it

    # Its cache is a WeakKeyDictionary, whose own parts are weak references and a lock's like.
    (culprit,) = explain(sized).culprits()
    assert culprit.type_name == "_thread.lock"
    assert culprit.path.endswith("'registry'[<class 'object'>], closure variable 'lock'")
