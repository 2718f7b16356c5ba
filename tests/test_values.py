"""Values arrive as they were: of the same type, equal, and one where they were one."""

import array
import collections
import ctypes
import datetime as dt
import decimal
import fractions
import functools
import mmap
import pathlib
import re
import string
import types
import uuid
import weakref
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import interpool
from interpool import InterpreterPoolExecutor
from interpool._inside import channels, values
from shapes import Holder, Items, Key, Pair, Shade, Table, Text, in_every_way
from support import identity

FRAME = 64 << 10  # bytes: what a frame of the pickle protocol holds at most


@pytest.fixture(scope="module")
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1) as made:
        made.submit(identity, 0).result()
        yield made


# --- Buffers -----------------------------------------------------------------------------------


def make_mmap(data: bytes) -> mmap.mmap:
    made = mmap.mmap(-1, len(data))
    made.write(data)
    made.seek(len(data) // 2)
    return made


BUFFERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "array": lambda data: array.array("b", data),
    "array of doubles": lambda data: array.array("d", range(len(data))),
    "view": memoryview,
    "view to write to": lambda data: memoryview(bytearray(data)),
    "view of every second": lambda data: memoryview(data + data)[::2],
    "view of doubles": lambda data: memoryview(array.array("d", range(len(data)))),
    "mmap": make_mmap,
}
EDGES = (1, FRAME, channels.APART, values.LARGE)
SIZES = (0, *sorted({edge + by for edge in EDGES for by in (-1, 0, 1)} - {0}))


def told(buffer: Any) -> tuple[Any, ...]:
    """What there is to be said of a buffer."""
    more: tuple[Any, ...] = ()
    if isinstance(buffer, memoryview):
        more = buffer.format, buffer.readonly, buffer.shape
    elif isinstance(buffer, array.array):
        more = buffer.typecode, buffer.itemsize
    elif isinstance(buffer, mmap.mmap):
        with memoryview(buffer) as view:
            more = buffer.tell(), view.readonly
    return type(buffer), *more, buffer[:] if isinstance(buffer, mmap.mmap) else bytes(buffer)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers_of_every_size_arrive(pool: InterpreterPoolExecutor, kind: str, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    if kind == "mmap" and not size:
        pytest.skip("there is no map of nothing")
    buffer = BUFFERS[kind](data)
    expected = told(buffer)
    first, rest = pool.submit(in_every_way, buffer, key=buffer).result()
    assert told(first) == told(rest["key"][0]) == expected
    assert told(pool.submit(identity, buffer).result()) == expected
    held: Any = pool.submit(lambda: Holder({"in": (buffer,)}, [buffer])).result()
    assert told(held.first["in"][0]) == told(held.second[0]) == expected
    assert held.second[0] is held.first["in"][0]
    for found in pool.map(identity, [buffer, buffer, None], chunksize=3):
        assert found is None or told(found) == expected


def test_a_map_of_memory_that_cannot_be_written_to(
    pool: InterpreterPoolExecutor, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "data").write_bytes(b"read only")
    with (
        (tmp_path / "data").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as made,
        pool.submit(identity, made).result() as copy,
    ):
        assert told(copy) == told(made)


def test_a_view_of_several_dimensions(pool: InterpreterPoolExecutor) -> None:
    view = memoryview(bytes(range(24))).cast("B", (2, 3, 4))
    copy = pool.submit(identity, view).result()
    assert told(copy) == told(view)
    assert copy.tolist() == view.tolist()


@pytest.mark.parametrize(
    "kind",
    [
        *(ctypes.c_byte, ctypes.c_ubyte, ctypes.c_char, ctypes.c_bool, ctypes.c_double),
        *(ctypes.c_short, ctypes.c_uint, ctypes.c_long, ctypes.c_longlong, ctypes.c_float),
        ctypes.c_uint8.__ctype_be__,
    ],
)
def test_a_view_of_an_array_of_ctypes(pool: InterpreterPoolExecutor, kind: Any) -> None:
    view = memoryview((kind * 3)(1, 0, 1))
    copy = pool.submit(identity, view).result()
    expected = view.format.lstrip("<>"), view.itemsize, False
    assert (copy.format, copy.itemsize, copy.readonly) == expected
    assert copy.tobytes() == view.tobytes()
    grid = memoryview((kind * 3 * 2)())
    assert pool.submit(identity, grid).result().shape == (2, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: memoryview(array.array("w", "ab")),
        lambda: memoryview((ctypes.c_uint32.__ctype_be__ * 3)()),
        lambda: memoryview((ctypes.c_wchar * 3)()),
        lambda: memoryview((ctypes.py_object * 3)()),
        lambda: memoryview(type("Own", (ctypes.Structure,), {"_fields_": []})()),
        lambda: memoryview(ctypes.c_int(1)),
    ],
)
def test_a_view_that_cannot_be_made_of_bytes_is_refused(
    pool: InterpreterPoolExecutor, make: Callable[[], memoryview]
) -> None:
    (culprit,) = interpool.explain({"view": make()}).culprits()
    assert culprit.path == "['view']"
    with pytest.raises(interpool.TransferError) as raised:
        pool.submit(identity, {"view": make()}).result()
    assert raised.value.path == "argument 1['view'] of identity"
    assert raised.value.hint == culprit.hint == "Pass what it is a view of, or its tobytes()"
    with pytest.raises(interpool.TransferError):
        pool.submit(make).result()


def test_what_a_worker_changes_is_a_copy(pool: InterpreterPoolExecutor) -> None:
    def change(buffer: Any) -> Any:
        buffer[0] = 1
        return buffer

    for original in (bytearray(9), array.array("i", [0]), memoryview(bytearray(9)), [0], {0: 0}):
        assert pool.submit(change, original).result()[0] == 1
        assert original[0] == 0


@pytest.mark.parametrize("size", [1, values.LARGE + 1])
@pytest.mark.parametrize("make", [bytearray, bytes, lambda size: "\N{SNOWMAN}" * size])
def test_what_is_one_object_in_a_parcel_stays_one(
    pool: InterpreterPoolExecutor, make: Callable[[int], Any], size: int
) -> None:
    def are_one(first: Any, second: Any, *, key: Any) -> bool:
        return first[0] is second.first is key["it"]

    it = make(size)
    assert pool.submit(are_one, [it], Holder(it), key={"it": it}).result()
    pair = pool.submit(identity, [it, it]).result()
    assert pair[0] is pair[1]


def test_what_refers_to_itself_does_so_there(pool: InterpreterPoolExecutor) -> None:
    items: list[Any] = []
    table: dict[str, Any] = {"items": items}
    queue = collections.deque([table], maxlen=3)
    holder = Holder(queue)
    items += [(items,), table, holder, lambda: items]
    copy = pool.submit(identity, items).result()
    assert copy[0][0] is copy
    assert copy[1]["items"] is copy
    assert copy[2].first[0] is copy[1]
    assert copy[2].first.maxlen == 3
    assert copy[3]() is copy
    assert pool.submit(lambda: items[0][0] is items and items[3]() is items).result()


# --- Values of the standard library --------------------------------------------------------------


STANDARD: list[Any] = [
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    dt.datetime(2020, 1, 2, 3, 4, 5, 6, dt.UTC),
    dt.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC"), fold=1),
    dt.timedelta(1, 2, 3),
    uuid.UUID(int=7),
    pathlib.PurePosixPath("/a/b"),
    pathlib.Path("relative"),
    collections.OrderedDict([(2, 1), (1, 2)]),
    collections.Counter("aab"),
    collections.ChainMap({1: 2}, {3: 4}),
    collections.deque([1, 2], maxlen=2),
    collections.UserDict(a=1),
    collections.defaultdict(list, {1: [2]}),
    types.MappingProxyType({1: 2}),
    types.SimpleNamespace(a=1, nested=types.SimpleNamespace(b=(2,))),
    range(3, 9, 2),
    slice(1, None, 3),
    re.compile(r"a+(?P<name>b)", re.IGNORECASE),
    list[dict[str, int]],
    int | None,
    Callable[[int], str],
    Shade.LIGHT | Shade.DARK,
    ~Shade.LIGHT,
    functools.partial(int, base=2),
    2**100_000,
    -(10**5_000),
]


@pytest.mark.parametrize("value", STANDARD, ids=lambda value: type(value).__name__)
def test_values_of_the_standard_library(pool: InterpreterPoolExecutor, value: Any) -> None:
    for copy in (pool.submit(identity, value).result(), pool.submit(lambda: value).result()):
        assert type(copy) is type(value)
        # What compares by identity says what it is.
        assert copy == value or repr(copy) == repr(value)


@pytest.mark.parametrize("by", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_are_as_large_as_buffers(
    pool: InterpreterPoolExecutor, sign: int, by: int
) -> None:
    value = sign << (8 * (values.LARGE + by))
    held: Any = [value, b"x" * values.LARGE, {value}, value - 1, b"x"]
    assert interpool.explain(value).how == interpool.explain(held).how == "by value"
    assert pool.submit(identity, value).result() == value
    assert pool.submit(identity, [value]).result() == [value]
    assert pool.submit(identity, held).result() == held
    assert pool.submit(lambda: (value, held)).result() == (value, held)
    assert list(pool.map(identity, [value, held], chunksize=2)) == [value, held]


def test_what_makes_missing_items_goes_along(pool: InterpreterPoolExecutor) -> None:
    table = pool.submit(identity, collections.defaultdict(lambda: [0], a=[1])).result()
    assert table["missing"] == [0]
    template = pool.submit(identity, string.Template("$x")).result()
    assert template.substitute(x=1) == "1"


def test_weak_collections_are_as_they_are_then(pool: InterpreterPoolExecutor) -> None:
    key = Key()
    collected: list[Any] = [
        weakref.WeakKeyDictionary({key: 1}),
        weakref.WeakValueDictionary({1: key}),
        weakref.WeakSet([key]),
    ]
    *copies, kept = pool.submit(identity, (*collected, key)).result()
    assert [type(copy) for copy in copies] == [type(it) for it in collected]
    assert copies[0][kept] == 1
    assert copies[1][1] is kept
    assert kept in copies[2]


def test_subclasses_of_builtins_keep_type_and_attributes(pool: InterpreterPoolExecutor) -> None:
    items, text, table = Items([1]), Text("t"), Table(3)
    items.note = text.note = "noted"  # type: ignore[attr-defined]
    table["key"] = items
    result: Any = pool.submit(identity, (text, table)).result()
    assert (type(result[0]), result[0], result[0].note) == (Text, "t", "noted")
    assert (type(result[1]), result[1], result[1].required) == (Table, {"key": [1]}, 3)
    assert (type(result[1]["key"]), result[1]["key"].note) == (Items, "noted")


@pytest.mark.parametrize("depth", [10, 500, 2_000, 10_000])
def test_what_is_nested_deeply(pool: InterpreterPoolExecutor, depth: int) -> None:
    def nested(depth: int) -> Any:
        made: list[Any] = []
        for _ in range(depth):
            made = [made]
        return made

    def depth_of(it: Any) -> int:
        depth = 0
        while it:
            it, depth = it[0], depth + 1
        return depth

    assert pool.submit(depth_of, nested(depth)).result() == depth
    assert depth_of(pool.submit(nested, depth).result()) == depth


# --- Any value -----------------------------------------------------------------------------------

FEW = 6

texts = st.text(st.characters(exclude_categories=())) | st.text("\ud800\N{SNOWMAN}a")
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**5_000), max_value=2**5_000)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | texts
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([..., NotImplemented, int, len, Shade.LIGHT, string, pathlib.Path("p")])
)
leaves = (
    hashable
    | st.binary().map(bytearray)
    | st.binary().map(lambda data: array.array("B", data))
    | st.binary().map(lambda data: memoryview(data))  # noqa: PLW0108 - mypy
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9))
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, max_size=FEW)
    return (
        some
        | some.map(tuple)
        | some.map(lambda items: collections.deque(items, maxlen=FEW))
        | some.map(Items)
        | st.sets(hashable, max_size=FEW)
        | st.frozensets(hashable, max_size=FEW)
        | st.dictionaries(hashable, inner, max_size=FEW)
        | st.dictionaries(hashable, inner, max_size=FEW).map(collections.OrderedDict)
        | st.dictionaries(st.text("ab"), inner, max_size=FEW).map(
            lambda table: collections.defaultdict(list, table)
        )
        | st.builds(Holder, inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(lambda a: types.SimpleNamespace(a=a), inner)
        | st.builds(lambda a: [a, a], inner)
    )


def types_in(value: Any) -> Any:
    """The types in a value, in its shape."""
    match value:
        case dict():
            inside = [(types_in(key), types_in(it)) for key, it in value.items()]
        case list() | tuple() | collections.deque():
            inside = [types_in(it) for it in value]
        case Holder() | types.SimpleNamespace():
            inside = [types_in(it) for it in vars(value).values()]
        case set() | frozenset():
            return type(value), sorted(str(types_in(it)) for it in value)
        case _:
            inside = []
    return type(value), inside


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(value=st.recursive(leaves, containers, max_leaves=20))
def test_any_value_comes_back_as_it_was(pool: InterpreterPoolExecutor, value: Any) -> None:
    by_argument = pool.submit(identity, value)
    by_closure = pool.submit(lambda: value)
    in_chunk = list(pool.map(identity, [value, value], chunksize=2))
    for copy in (by_argument.result(), by_closure.result(), *in_chunk):
        assert copy == value
        assert types_in(copy) == types_in(value)


# --- Any function --------------------------------------------------------------------------------

NAMES = ("a", "b", "c0", "c1", "k", "G0", "len(G1)", "len(rest)", "step")
COMBINED = (
    "({} + {})",
    "({} - {})",
    "max({}, {})",
    "({} if {} else 7)",
    "(lambda x, y={}: x * y % 97)({})",
    "sum(n * {} for n in range(3)) - {}",
    "[{}, {}][-1]",
    "len([w for w in (G0, c0) if (v := w) or {} or {}])",
    "helper({}) + helper({})",
    "Scale({}).by({})",
    "recursive(abs({}) % 4, {})",
)
expressions = st.recursive(
    st.sampled_from(NAMES) | st.integers(-9, 9).map("({})".format),
    lambda inner: st.builds(
        lambda form, one, other: form.format(one, other), st.sampled_from(COMBINED), inner, inner
    ),
    max_leaves=8,
)


def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


DECORATORS: list[Callable[[Any], Any]] = [
    identity,
    functools.partial,
    functools.cache,
    wrap,
]
PROGRAM = """
def helper(n):
    return n * 2 + G0

def recursive(n, m):
    return m if n == 0 else recursive(n - 1, m + n)

class Base:
    factor = 3
    def by(self, n): return self.n * n % 89
class Scale(Base):
    def __init__(self, n): self.n = n
    def by(self, n): return super().by(n) + self.factor

def make(c0, c1):
    step = {0}
    def inner(n, /, by={1}):
        nonlocal step
        step += 1
        return n + c0 + step
    def function(a, {2}b={1}, *rest, k={3}, **more):
        nonlocal step
        step = {1}
        nested = lambda n, m={3}: [n + m, step]
        return {4}, inner(b), nested(k), {5}, rest, sorted(more.items()), step
    return function
"""


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_function_does_there_what_it_does_here(
    pool: InterpreterPoolExecutor, data: st.DataObject
) -> None:
    numbers = st.integers(-5, 5)
    positional = data.draw(st.sampled_from(["", "/, "]))
    source = PROGRAM.format(
        data.draw(numbers),
        data.draw(numbers),
        positional,
        data.draw(numbers),
        data.draw(expressions),
        data.draw(expressions),
    )
    module = types.ModuleType(data.draw(st.sampled_from(["__main__", "unimportable"])))
    vars(module).update(G0=data.draw(numbers), G1=data.draw(st.text(max_size=3)))
    exec(source, vars(module))  # noqa: S102 - a module made by hand
    captured = data.draw(numbers), data.draw(numbers)
    args = data.draw(st.lists(numbers, min_size=1, max_size=5))
    keys = st.sampled_from(["k", "more", "self"] if len(args) > 1 else ["k", "b", "more", "self"])
    kwargs = data.draw(st.dictionaries(keys, numbers, max_size=3))
    decorate = data.draw(st.sampled_from(DECORATORS))

    def make() -> Any:
        return decorate(module.make(*captured))

    sent = make()
    futures = [pool.submit(sent, *args, **kwargs), pool.submit(lambda: sent(*args, **kwargs))]
    vars(module)["G0"] += 1
    changed = make()
    futures.append(pool.submit(changed, *args, **kwargs))
    found = [future.result() for future in futures]
    expected_then = make()(*args, **kwargs)
    vars(module)["G0"] -= 1
    expected = make()(*args, **kwargs)
    assert found == [expected, expected, expected_then]
