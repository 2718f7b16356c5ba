"""Memory that all workers see: what is in it, who has it, and when it goes."""

import _interpreters
import array
import copy
import gc
import itertools
import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpool import InterpreterPoolExecutor, Queue, SharedArray, SharedBuffer, TransferError
from interpool._inside import arrays, bells, buffers, descriptors, formats, memory, strides, values
from support import Gate, set_first

np = pytest.importorskip("numpy")

needs_relay = pytest.mark.skipif(
    not Path(values.__file__).with_name("relay.py").exists(),
    reason="worker processes have no relay to the main process yet",
)


def mappings() -> int:
    """How many mappings of shared memory there are in this process."""
    return Path("/proc/self/maps").read_text().count("memfd:interpool")


def memory_descriptors() -> int:
    """How many descriptors of shared memory there are in this process."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            count += "memfd:interpool" in str(link.readlink())
        except OSError:  # the descriptor of this very listing
            continue
    return count


@pytest.fixture(autouse=True)
def memory_is_back() -> Iterator[None]:
    before = mappings(), memory_descriptors(), len(memory._known)
    yield
    gc.collect()
    bells.forget()  # of queues
    assert (mappings(), memory_descriptors(), len(memory._known)) == before


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1, fallback="error") as made:
        yield made


# --- What there is in it -------------------------------------------------------------------------


def test_an_array_says_what_it_is() -> None:
    made = SharedArray((3, 4), "float64")
    assert (made.shape, made.dtype, made.ndim, made.size) == ((3, 4), "float64", 2, 12)
    assert (made.itemsize, made.nbytes, made.strides, len(made)) == (8, 96, (32, 8), 3)
    assert (made.readonly, made.closed, made.format) == (False, False, "d")
    assert made.tolist() == [[0.0] * 4] * 3
    assert repr(made) == "<interpool.SharedArray of float64, shape (3, 4)>"
    assert repr(made.toreadonly()) == "<interpool.SharedArray of float64, shape (3, 4), read-only>"
    made.close()
    assert repr(made) == "<interpool.SharedArray of float64, shape (3, 4), closed>"


def test_a_buffer_says_what_it_is() -> None:
    made = SharedBuffer(5)
    assert (len(made), made.nbytes, made.readonly, made.closed) == (5, 5, False, False)
    assert bytes(made) == made.tobytes() == bytes(5)
    assert repr(made) == "<interpool.SharedBuffer of 5 bytes>"


@pytest.mark.parametrize(
    ("dtype", "code", "name"),
    [
        *((code, code, None) for code in "?bBhHiIlLqQnNefd"),
        (float, "d", "float64"),
        (int, "q", "int64"),
        (bool, "?", "bool"),
        ("float32", "f", "float32"),
        ("float16", "e", "float16"),
        ("uint8", "B", "uint8"),
        ("int16", "h", "int16"),
        ("f8", "d", "float64"),
        ("=u2", "H", "uint16"),
        ("<i4" if sys.byteorder == "little" else ">i4", "i", "int32"),
        ("=l", "i", "int32"),  # of 4 bytes, where an order is given
        (np.float32, "f", "float32"),
        (np.bool, "?", "bool"),
        (np.dtype("int64"), "q", "int64"),
        (np.dtype("u1"), "B", "uint8"),
        (np.dtype("?"), "?", "bool"),
    ],
)
def test_types_of_elements(dtype: Any, code: str, name: str | None) -> None:
    made = SharedArray(2, dtype)
    assert made.format == code
    assert made.dtype == (name or str(np.dtype(code)))
    assert made.itemsize == np.dtype(code).itemsize
    assert made.numpy().dtype == np.dtype(code)
    made[1] = 1
    assert made.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["F", complex, "complex128", np.dtype("M8[s]"), "", "x", 3, None])
def test_types_that_no_element_has(dtype: Any) -> None:
    with pytest.raises(TypeError, match="those of an array are bool, int8, uint8, int16"):
        SharedArray(2, dtype)


@pytest.mark.parametrize("dtype", [np.dtype(">f8"), ">i4", "!d"])
def test_elements_of_another_byte_order(dtype: Any) -> None:
    if sys.byteorder == "little":
        with pytest.raises(ValueError, match="this machine's byte order"):
            SharedArray(2, dtype)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (-1, ValueError, "no dimension can be negative"),
        ((2, -1), ValueError, "no dimension can be negative"),
        ("ab", TypeError, "a shape is an integer or a tuple"),
        (1.5, TypeError, "a shape is an integer or a tuple"),
        (None, TypeError, "a shape is an integer or a tuple"),
        ((1,) * 65, ValueError, "64 dimensions at the most"),
        (1 << 70, MemoryError, "more than any process can address"),
        ((1 << 40, 1 << 40), MemoryError, "more than any process can address"),
        (1 << 57, MemoryError, "no room for 1,152,921,504,606,846,976 bytes"),
    ],
)
def test_shapes_that_no_array_has(shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SharedArray(shape, "d")


@pytest.mark.parametrize(
    ("nbytes", "error"),
    [(-1, ValueError), (1.5, TypeError), ("3", TypeError), (1 << 62, MemoryError)],
)
def test_sizes_that_no_buffer_has(nbytes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        SharedBuffer(nbytes)


@pytest.mark.parametrize("shape", [0, (0, 3), (3, 0), (2, 0, 4)])
def test_no_elements(shape: Any) -> None:
    made = SharedArray(shape, "i")
    assert (made.size, made.nbytes) == (0, 0)
    assert made.tolist() == np.zeros(shape).tolist()
    assert made.tobytes() == b""
    assert made.numpy().shape == made.shape
    made[...] = 5
    made[...] = np.zeros(shape, "i")
    assert made.copy().shape == made.shape
    if made.ndim == 1:
        assert memoryview(made).shape == (0,)
    else:
        with pytest.raises(BufferError, match="no memoryview has dimensions and no elements"):
            memoryview(made)
    assert bytes(SharedBuffer(0)) == b""


def test_one_element_without_a_dimension() -> None:
    made = SharedArray((), "i")
    made[()] = 5
    assert (made[()], made.tolist(), made[...].tolist(), made.shape) == (5, 5, 5, ())
    assert memoryview(made).tolist() == made.numpy().tolist() == 5
    with pytest.raises(TypeError, match="has no dimension"):
        len(made)


# --- Against numpy -------------------------------------------------------------------------------

shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
bounds = st.none() | st.integers(-6, 6)
indices = (
    st.integers(-5, 5)
    | st.just(...)
    | st.builds(slice, bounds, bounds, st.none() | st.integers(-3, 3).filter(bool))
)
keys = indices | st.lists(indices, max_size=4).map(tuple)


def pair(shape: tuple[int, ...], code: str = "i") -> tuple[SharedArray, Any]:
    model = np.arange(int(np.prod(shape)), dtype=code).reshape(shape)
    return SharedArray.from_array(model), model


def taken(source: Any, key: Any) -> Any:
    try:
        return source[key]
    except IndexError as error:
        return type(error)


@given(shapes, keys, keys)
def test_what_is_indexed_is_what_numpy_has(shape: tuple[int, ...], first: Any, then: Any) -> None:
    it, model = pair(shape)
    for key in (first, then):
        it, model = taken(it, key), taken(model, key)
        if not isinstance(it, SharedArray):
            assert it == model
            return
        assert it.shape == model.shape
        assert it.tolist() == model.tolist()
        assert it.tobytes() == model.tobytes()
        assert it.numpy().tolist() == np.asarray(it).tolist() == model.tolist()
        assert it.copy().tolist() == model.tolist()
        assert not it.size or np.shares_memory(np.asarray(it), it.numpy())
        try:
            seen = memoryview(it)
        except BufferError:
            assert it.ndim > 1
        else:
            assert (seen.shape, seen.tolist()) == (model.shape, model.tolist())
            assert min(it.shape, default=2) < 2 or seen.strides == it.strides


@given(shapes, keys, keys, st.sampled_from(["number", "array", "numpy", "list", "part"]))
def test_what_is_written_is_what_numpy_writes(
    shape: tuple[int, ...], first: Any, then: Any, kind: str
) -> None:
    whole, whole_model = pair(shape)
    it, model = taken(whole, first), taken(whole_model, first)
    target = taken(model, then) if isinstance(it, SharedArray) else IndexError
    if target is IndexError:
        return
    shape = np.shape(target)
    data = 100 + np.arange(int(np.prod(shape)), dtype="i").reshape(shape)
    match kind:
        case "number":
            it[then] = model[then] = 77
        case "array" if shape:
            it[then] = SharedArray.from_array(data)
            model[then] = data
        case "numpy" if shape:
            it[then] = np.asfortranarray(data)
            model[then] = data
        case "list" if shape:
            it[then] = data.tolist()
            model[then] = data
        case "part" if shape == it.shape:
            it[then] = it[tuple([slice(None, None, -1)] * len(shape))]
            model[then] = np.flip(model).copy()
    assert whole.tolist() == whole_model.tolist()


def test_the_same_memory_overlaps_as_if_it_were_copied_first() -> None:
    it, model = pair((6, 6))
    for here, there in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None, -1),), (slice(1, None),)),
        ((slice(1, None), slice(1, None)), (slice(None, -1), slice(None, -1))),
        ((slice(None), slice(None, None, 2)), (slice(None), slice(1, None, 2))),
    ):
        it[here] = it[there]
        model[here] = model[there].copy()
        assert it.tolist() == model.tolist()
    twin = arrays.SharedArray._of_state(it.toreadonly()._state(is_kept=True))
    assert twin._core is not it._core
    it[1:] = twin[:-1]
    model[1:] = model[:-1].copy()
    assert it.tolist() == twin.tolist() == model.tolist()


def test_large_arrays_are_filled_piece_by_piece() -> None:
    size = 3 * buffers._PIECE // 8 + 5
    made = SharedArray(2 * size, "d")
    made[1::2] = 1.5
    seen = made.numpy()
    assert (seen[::2] == 0).all()
    assert (seen[1::2] == 1.5).all()
    made.fill(2)
    assert (seen == 2).all()


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (3, IndexError, "index 3 is out of bounds: dimension 0 has 3 elements"),
        ((0, -5), IndexError, "index -5 is out of bounds: dimension 1 has 4 elements"),
        ((0, 0, 0), IndexError, "there are 2 dimensions, and 3 were indexed"),
        ((..., ...), IndexError, "one ellipsis"),
        ("a", TypeError, "not str"),
        (None, TypeError, "not NoneType"),
        (1.0, TypeError, "not float"),
        ((0, [1]), TypeError, "not list"),
        (slice(None, None, 0), ValueError, "slice step cannot be zero"),
    ],
)
def test_keys_that_are_none(key: Any, error: type[Exception], message: str) -> None:
    made = SharedArray((3, 4), "d")
    with pytest.raises(error, match=message):
        made[key]
    with pytest.raises(error, match=message):
        made[key] = 1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([1, 2], ValueError, r"not of the shape \(3,\): where dimension 0 has 3 items, it has 2"),
        ([1, 2, [3]], ValueError, "has a number, it has 1 items"),
        ([1, 2, "3"], TypeError, "invalid type"),
        ([1, 2, 300], ValueError, "invalid value"),
        ([1, 2, 0.5], TypeError, "invalid type"),
        (300, ValueError, "invalid value"),
        (0.5, TypeError, "invalid type"),
        (None, TypeError, "invalid type"),
        ("abc", ValueError, "has 3 items, it has 'abc'"),
        ({1, 2, 3}, ValueError, "it has"),
        (array.array("d", [1, 2, 3]), ValueError, "'d' are not copied into those of 'B'"),
        (b"ab", ValueError, r"the shape \(2,\) does not fit into \(3,\)"),
        (np.zeros((3, 1), "B"), ValueError, r"the shape \(3, 1\) does not fit into \(3,\)"),
    ],
)
def test_values_that_cannot_be_written(value: Any, error: type[Exception], message: str) -> None:
    made = SharedArray(3, "B")
    made[:] = b"xyz"
    with pytest.raises(error, match=message):
        made[:] = value
    assert made.tobytes() == b"xyz"


def test_a_long_of_another_name_is_the_same() -> None:
    made = SharedArray(2, "q")
    made[:] = np.array([1, 2], "l")
    made[:1] = array.array("l", [5])
    assert made.tolist() == [5, 2]


def test_a_buffer_takes_the_bytes_of_anything() -> None:
    made = SharedBuffer(16)
    made[:2] = b"ab"
    made[2:4] = [1, 2]
    made[-1] = 255
    assert bytes(made) == b"ab\x01\x02" + bytes(11) + b"\xff"
    for source in (
        array.array("d", [1, 2]),
        np.array([[1.0], [2.0]]),
        SharedArray.from_array([1.0, 2.0]),
        np.array([1.0, 0, 2.0])[::2],
    ):
        made.fill(0)
        made[:] = source
        assert made.tobytes() == np.array([1.0, 2.0]).tobytes()
    made[::2] = bytes(range(8))
    assert made[::4].tolist() == [0, 2, 4, 6]
    assert [*made[2:5:2]] == [1, 2]
    made[:4] = made[2:6]
    assert made[0] == 1
    with pytest.raises(ValueError, match="does not fit"):
        made[:3] = b"ab"
    with pytest.raises(IndexError):
        made[16]


# --- Made of others ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "dtype", "expected"),
    [
        ([1, 2], None, ("int64", [1, 2])),
        ([1, 2.5], None, ("float64", [1.0, 2.5])),
        ([True, False], None, ("bool", [True, False])),
        ([True, 2], None, ("int64", [1, 2])),
        ([], None, ("float64", [])),
        (((1, 2), [3, 4]), "float32", ("float32", [[1, 2], [3, 4]])),
        (range(3), "b", ("int8", [0, 1, 2])),
        (array.array("h", [1, -2]), None, ("int16", [1, -2])),
        (b"ab", None, ("uint8", [97, 98])),
        (memoryview(bytes(6)).cast("B", (2, 3)), None, ("uint8", [[0] * 3] * 2)),
        (array.array("i", [1, 2]), "d", ("float64", [1.0, 2.0])),
        (np.arange(6.0).reshape(2, 3).T, None, ("float64", [[0, 3], [1, 4], [2, 5]])),
        (np.arange(3), "float32", ("float32", [0, 1, 2])),
        ([np.float64(1), np.float64(2)], None, ("float64", [1, 2])),
    ],
)
def test_arrays_made_of_others(source: Any, dtype: Any, expected: tuple[str, Any]) -> None:
    made = SharedArray.from_array(source, dtype)
    assert (made.dtype, made.tolist()) == expected


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (5, TypeError),
        ("abc", TypeError),
        (["a"], TypeError),
        ([1, None], TypeError),
        ([[1, 2], [3]], ValueError),
        ([1 << 70], ValueError),
        (np.array([1j]), TypeError),
        (np.array([1.0], ">f8"), TypeError),
        (iter([1]), TypeError),
    ],
)
def test_what_no_array_is_made_of(source: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        SharedArray.from_array(source)


def test_copies_have_memory_of_their_own() -> None:
    first = SharedArray.from_array([[1, 2], [3, 4]])
    second = first[:, 1].copy()
    first.fill(0)
    assert second.tolist() == [2, 4]
    assert [it.tolist() for it in first] == [[0, 0], [0, 0]]


# --- Seen by others ------------------------------------------------------------------------------


def test_numpy_sees_the_memory_itself() -> None:
    made = SharedArray((2, 3), "d")
    for seen in (made.numpy(), np.asarray(made), np.asarray(made[:, 1:]), made[::-1, ::2].numpy()):
        seen[...] += 1
    assert made.tolist() == [[3, 3, 4], [3, 3, 4]]
    assert np.asarray(made, dtype="f").dtype == np.float32
    assert np.array(made[:, 1:], copy=True).tolist() == [[3, 4], [3, 4]]
    with pytest.raises(ValueError, match="copy"):
        np.asarray(made[:, 1:], dtype="f", copy=False)
    assert not made.toreadonly().numpy().flags.writeable
    assert not made.toreadonly()[:, 1:].numpy().flags.writeable


def test_memory_outlives_its_handle_where_it_is_looked_at() -> None:
    for look in (
        memoryview,
        SharedArray.numpy,
        lambda it: it[::2].numpy(),
        lambda it: np.ndarray(4, "d", it),
    ):
        seen = look(SharedArray.from_array([1.0, 2.0, 3.0, 4.0]))
        gc.collect()
        assert seen[0] == 1
        seen[0] = 2
        assert mappings() >= 1
        del seen
        gc.collect()
        assert mappings() == 0


def test_numpy_that_gives_its_buffer_back_can_go_on() -> None:
    made = SharedArray(4, "d")
    seen = np.ndarray(4, "d", made)  # which holds no buffer, but the array itself
    made.close()
    seen[:] = 5
    assert seen.sum() == 20


def test_memoryviews_have_format_and_shape() -> None:
    made = SharedArray((3, 4), "h")
    with memoryview(made) as seen:
        assert (seen.format, seen.shape, seen.readonly) == ("h", (3, 4), False)
        seen[1, 2] = 7
    assert made[1, 2] == 7
    with memoryview(made[::2, :]) as seen:
        assert (seen.shape, seen.strides) == ((2, 4), (16, 2))
    with memoryview(made[:, 1]) as seen:
        assert (seen.shape, seen.strides) == ((3,), (8,))
    with memoryview(made.toreadonly()) as seen:
        assert seen.readonly
    with pytest.raises(BufferError, match=r"Take it row by row, or its copy\(\), or"):
        memoryview(made[:, 1:])
    array.array("h", [9]).tobytes()
    with pytest.raises(BufferError):
        os.readv(0, [made.toreadonly()])


# --- Read-only -----------------------------------------------------------------------------------


def test_what_is_read_only_stays_so() -> None:
    made = SharedArray((2, 2), "d")
    view = made.toreadonly()
    made[0, 0] = 5
    assert view[0, 0] == 5
    for it, key in (
        (view, (0, 0)),
        (view, ...),
        (view[0], 0),
        (view[0], slice(1)),
        (view[0, ...], 1),
    ):
        assert it.readonly
        with pytest.raises(TypeError, match="this SharedArray is read-only"):
            it[key] = 1
    with pytest.raises(TypeError, match="read-only"):
        view.fill(1)
    assert not view.copy().readonly
    assert made.tolist() == [[5, 0], [0, 0]]


# --- Closing -------------------------------------------------------------------------------------


def test_closing_gives_the_memory_back() -> None:
    made = SharedBuffer(1 << 20)
    view = made[10:]
    assert (mappings(), memory_descriptors()) == (1, 1)
    made.close()
    made.close()
    assert (mappings(), memory_descriptors()) == (0, 0)
    for it in (made, view):
        assert it.closed
        for use in (
            lambda it: it[0],
            lambda it: it[:],
            lambda it: it.__setitem__(0, 1),
            lambda it: it.fill(1),
            lambda it: it.tobytes(),
            lambda it: it.tolist(),
            lambda it: it.toreadonly(),
            lambda it: it.readonly,
            list,
            lambda it: it.__enter__(),
            memoryview,
        ):
            with pytest.raises(ValueError, match="this SharedBuffer is closed"):
                use(it)
    array_ = SharedArray(3, "i")
    array_.close()
    for use in (
        lambda it: it[0],
        lambda it: it.__setitem__(0, 1),
        SharedArray.numpy,
        SharedArray.copy,
        SharedArray.from_array,
    ):
        with pytest.raises(ValueError, match="this SharedArray is closed"):
            use(array_)


@pytest.mark.parametrize("look", [memoryview, np.asarray, lambda it: memoryview(it[1:])[:1]])
def test_closing_is_refused_while_it_is_looked_at(look: Any) -> None:
    made = SharedArray(3, "d")
    view = made[1:]
    seen = look(made)
    for it in (made, view):
        with pytest.raises(BufferError, match=r"1 in number\. Release or delete them first"):
            it.close()
    assert not made.closed
    seen[0] = 5
    del seen
    view.close()
    assert made.closed


def test_with_closes() -> None:
    with SharedArray(3, "d") as made:
        made[0] = 1
    assert made.closed
    with pytest.raises(BufferError), SharedArray(3, "d") as made:
        seen = memoryview(made)
    seen.release()
    made.close()


def test_with_says_what_was_raised_and_not_that_its_traceback_looks_at_it() -> None:
    def work() -> None:
        with SharedArray(3, "d") as made:
            seen = memoryview(made)
            seen[10] = 1

    with pytest.raises(IndexError) as raised:
        work()
    assert raised.value.__context__ is None


def test_handles_are_not_pickled_elsewhere() -> None:
    with SharedArray(3, "d") as made, SharedBuffer(3) as other:
        for it in (made, other):
            with pytest.raises(TypeError, match=r"as an argument or a global of a task"):
                pickle.dumps(it)
        with pytest.raises(TypeError, match="cannot be pickled"):
            copy.copy(made)


# --- Sent ----------------------------------------------------------------------------------------


def test_a_worker_writes_what_is_read_here(pool: InterpreterPoolExecutor) -> None:
    made = SharedArray(3, "d")
    assert pool.submit(set_first, made, 5).result() == 5
    assert made[0] == 5
    buffer = SharedBuffer(3)
    assert pool.submit(set_first, buffer, 5).result() == 5
    assert bytes(buffer) == b"\x05\0\0"


def test_a_global_goes_along(pool: InterpreterPoolExecutor) -> None:
    made = SharedArray(3, "d")

    def write(index: int) -> None:
        made[index] = index

    list(pool.map(write, range(3)))
    assert made.tolist() == [0, 1, 2]


def test_a_view_is_the_same_view_there(pool: InterpreterPoolExecutor) -> None:
    def describe(it: Any) -> Any:
        it[...] = 7
        return it.shape, it.strides, it.dtype, it.readonly, it[:, 0].tolist()

    made = SharedArray((4, 6), "i")
    view = made[::-2, 1::2][:, ::-1]
    assert pool.submit(describe, view).result() == ((2, 3), view.strides, "int32", False, [7, 7])
    model = np.zeros((4, 6), "i")
    model[::-2, 1::2] = 7
    assert made.tolist() == model.tolist()


def test_what_comes_back_is_the_same_memory(pool: InterpreterPoolExecutor) -> None:
    made = SharedArray((3, 4), "i")
    there: SharedArray = pool.submit(lambda it: it[1, 1:], made).result()
    there[0] = 5
    assert made[1, 1] == 5
    assert there._core is made._core
    assert mappings() == 1
    made.close()  # the other one is open
    assert (mappings(), there.tolist()) == (1, [5, 0, 0])
    there.close()
    assert mappings() == 0


def test_a_worker_makes_one(pool: InterpreterPoolExecutor) -> None:
    def make() -> Any:
        from interpool import SharedArray

        return SharedArray.from_array([[1, 2], [3, 4]])[:, 1]

    made: SharedArray = pool.submit(make).result()
    assert made.tolist() == [2, 4]
    assert pool.submit(set_first, made, 9).result() == 9
    assert made.tolist() == [9, 4]


def test_read_only_is_read_only_there_and_when_it_is_sent_on(
    pool: InterpreterPoolExecutor,
) -> None:
    def attempt(it: Any) -> Any:
        try:
            it[0] = 1
        except TypeError as error:
            return it, it.readonly, str(error), memoryview(it).readonly
        return None

    made = SharedArray(3, "d")
    back, *found = pool.submit(attempt, made.toreadonly()).result()
    assert found == [True, "this SharedArray is read-only", True]
    made[1] = 6
    assert (back.readonly, back.tolist()) == (True, [0, 6, 0])
    [line] = [
        line
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "memfd:interpool" in line and " r--s " in line
    ]
    assert line  # the kernel holds it, too


def test_items_of_a_queue_carry_memory(pool: InterpreterPoolExecutor) -> None:
    def serve(todo: Any, done: Any) -> None:
        for it in todo:
            it[...] = 3
            done.put(it)

    todo, done = Queue(), Queue()
    served = pool.submit(serve, todo, done)
    for _ in range(3):
        made = SharedArray((2, 2), "b")
        todo.put(made[1])
        assert done.get().tolist() == [3, 3]
        assert made.tolist() == [[0, 0], [3, 3]]
    todo.shutdown()
    served.result()


def test_maps_take_views(pool: InterpreterPoolExecutor) -> None:
    def negate(row: Any) -> int:
        row[:] = [-value for value in row]
        return len(row)

    made = SharedArray.from_array([[n, n + 1] for n in range(50)])
    assert list(pool.map(negate, made)) == [2] * 50
    assert made.tolist() == [[-n, -n - 1] for n in range(50)]


def test_what_is_on_its_way_arrives_though_it_is_closed_here(
    pool: InterpreterPoolExecutor, gate: Gate
) -> None:
    made = SharedArray(3, "i")
    made[0] = 4
    held = pool.submit(os.read, gate.exit, 1)
    waiting = pool.submit(lambda it: it.tolist(), made)
    made.close()
    gate.open()
    held.result()
    assert waiting.result() == [4, 0, 0]
    with pytest.raises(TransferError, match="this SharedArray is closed"):
        pool.submit(len, made).result()


def test_a_worker_that_looks_at_it_goes_on_when_it_is_closed_here(
    pool: InterpreterPoolExecutor, gate: Gate, arrivals: Gate
) -> None:
    def look(it: Any, entry: int, leave: int) -> Any:
        import os

        view = memoryview(it)
        view[0] = 8
        os.write(entry, b".")
        os.read(leave, 1)
        view[1] = view[0] + 1
        return view.tolist()

    made = SharedArray(3, "i")
    looking = pool.submit(look, made, arrivals.entry, gate.exit)
    arrivals.wait()
    made.close()
    assert made.closed
    gate.open()
    assert looking.result() == [8, 9, 0]


def test_closing_there_is_nothing_to_others(pool: InterpreterPoolExecutor) -> None:
    def close(it: Any) -> str:
        seen = memoryview(it)
        try:
            it.close()
        except BufferError as error:
            text = str(error)
        seen.release()
        it.close()
        return text

    made = SharedArray(3, "i")
    assert "cannot be closed" in pool.submit(close, made).result()
    assert pool.submit(set_first, made, 2).result() == 2
    assert made.tolist() == [2, 0, 0]


def test_workers_come_and_go(gate: Gate) -> None:
    made = SharedArray(8, "q")

    def add(it: Any, index: int) -> int:
        import _interpreters

        it[index] = index
        return int(_interpreters.get_current()[0])

    with InterpreterPoolExecutor(1, max_tasks_per_worker=2) as pool:
        workers = set(pool.map(add, itertools.repeat(made), range(8), chunksize=1))
    assert len(workers) == 4
    assert made.tolist() == list(range(8))
    assert (mappings(), memory_descriptors()) == (1, 1)


def test_an_argument_is_let_go_of_when_its_task_is_done(pool: InterpreterPoolExecutor) -> None:
    made = SharedArray(8, "q")
    assert pool.submit(set_first, made, 2).result() == 2
    made.close()
    pool.submit(len, ()).result()  # which comes behind it
    assert (mappings(), memory_descriptors()) == (0, 0)


def test_an_interpreter_has_one_mapping_for_all(pool: InterpreterPoolExecutor) -> None:
    def count(*parts: Any) -> int:
        with Path("/proc/self/maps").open() as maps:
            return maps.read().count("memfd:interpool")

    made = SharedArray((4, 4), "q")
    assert pool.submit(count, made, *made, made[:, 1], made[0, :]).result() == 2


def test_a_worker_that_sent_it_may_be_gone(gate: Gate) -> None:
    def make() -> Any:
        from interpool import SharedBuffer

        made = SharedBuffer(3)
        made[:] = b"abc"
        return made

    with InterpreterPoolExecutor(1, max_tasks_per_worker=1) as pool:
        futures = [pool.submit(make) for _ in range(3)]
    assert [bytes(future.result()) for future in futures] == [b"abc"] * 3


def test_what_nobody_has_any_more_is_said() -> None:
    made = SharedArray(3, "i")
    state = made._state(is_kept=True)
    made.close()
    with pytest.raises(ReferenceError, match="the SharedArray that was sent here is gone"):
        SharedArray._of_state(state)
    with SharedArray(3, "i") as made:
        state = made._state(is_kept=False)
        assert SharedArray._of_state(state).tolist() == [0] * 3
        with pytest.raises(ReferenceError):  # it was given once
            SharedArray._of_state(state)
        assert memory_descriptors() == 1


def test_numpy_in_an_interpreter_says_the_way_out(pool: InterpreterPoolExecutor) -> None:
    def attempt(it: Any) -> str:
        try:
            it.numpy()
        except ImportError as error:
            return str(error)
        return ""

    made = SharedArray(3, "i")
    found = pool.submit(attempt, made).result()
    assert "refuses to load in an interpreter" in found
    assert 'lane="process"' in found
    assert "memoryview(array)" in found


def test_numpy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with SharedArray(3, "i") as made, pytest.raises(ImportError, match=r"memoryview\(array\)"):
        made.numpy()


def test_a_worker_imports_neither_typing_nor_the_package(pool: InterpreterPoolExecutor) -> None:
    def loaded(it: Any) -> list[str]:
        import sys

        it[0] = 1
        it[:] = it[::-1]
        it[1:] = [1] * (len(it) - 1)
        return [*sys.modules]

    made = SharedArray(3, "i")
    found = pool.submit(loaded, made).result()
    assert not {"typing", "numpy", "struct", "interpool", "tempfile"} & {*found}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_what_it_inherits() -> None:
    made = SharedArray(3, "i")
    _interpreters.list_all()  # no worker is at work: a fork would have to wait for it
    child = os.fork()
    if not child:
        try:
            made[1] = 5
            again = SharedArray._of_state(made._state(is_kept=True))
            again[2] = 6
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert made.tolist() == [0, 5, 6]


def test_no_descriptors_are_lost_when_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(12, "Cannot allocate memory")

    with SharedArray(3, "i") as made:
        state = made._state(is_kept=True)
        monkeypatch.setattr(memory, "mmap", types.SimpleNamespace(mmap=refuse, PROT_READ=1))
        with pytest.raises(MemoryError, match="no room for 8 bytes"):
            SharedBuffer(8)
        again = SharedArray._of_state(state)  # is mapped already
        assert again._core is made._core
        read_only = made.toreadonly()._state(is_kept=True)
        with pytest.raises(MemoryError):
            SharedArray._of_state(read_only)
        gc.collect()
        assert memory_descriptors() == 1
        del again


# --- Worker processes ----------------------------------------------------------------------------


class FakeRelay(types.ModuleType):
    """What a worker process asks the main process by, which is this one."""

    def __init__(self) -> None:
        super().__init__("relay")
        self.held: list[int] = []

    def memory_of(self, state: Any) -> int:
        return descriptors.duplicate(*state[1:])

    def make_memory(self, nbytes: int) -> Any:
        self.held.append(fd := descriptors.create_memory(nbytes))
        return os.dup(fd), (4242, fd, descriptors.identity_of(fd))

    def give_memory(self, state: Any) -> Any:
        return state[0], descriptors.duplicate(*state[1:]), state[2]

    def drop_memory(self, state: Any) -> None:
        self.held.remove(state[1])
        os.close(state[1])

    def close(self, given: list[int]) -> None:
        for fd in given:
            os.close(fd)


def test_a_process_asks_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = FakeRelay()
    monkeypatch.setitem(sys.modules, "interpool._inside.relay", relay)
    process = types.SimpleNamespace(switchboard=object())
    monkeypatch.setitem(sys.modules, "_interpool_process", process)
    made = SharedArray(3, "i")
    made[0] = 3
    kept = made._state(is_kept=True)
    assert kept[0][:2] == (4242, relay.held[0])
    again = SharedArray._of_state(kept)
    assert again._core is made._core
    again.close()
    given = made._state(is_kept=False)
    twice = made._state(is_kept=False)
    made.close()
    gc.collect()
    assert not relay.held
    again = SharedArray._of_state(given)
    assert again.tolist() == [3, 0, 0]
    with pytest.raises(ReferenceError, match="is gone"):  # nobody holds it in main
        again._state(is_kept=False)
    with pytest.raises(ReferenceError, match="is gone"):
        SharedArray._of_state(given)
    SharedArray._of_state(twice).close()


@needs_relay
def test_a_process_sees_the_same() -> None:
    def work(it: Any) -> Any:
        it.numpy()[1:] = 5
        it[0] = 1
        return it[1:]

    made = SharedArray((3, 2), "d")
    with InterpreterPoolExecutor(1) as pool:
        back = pool.options(lane="process").submit(work, made[:, 1]).result()
    assert made.tolist() == [[0, 1], [0, 5], [0, 5]]
    back[0] = 9
    assert made[1, 1] == 9


@needs_relay
def test_a_process_makes_one() -> None:
    def make() -> Any:
        from interpool import SharedArray

        return SharedArray.from_array([1, 2, 3])

    with InterpreterPoolExecutor(1) as pool:
        made = pool.options(lane="process").submit(make).result()
        assert made.tolist() == [1, 2, 3]
        assert pool.submit(set_first, made, 7).result() == 7
    assert made[0] == 7


@needs_relay
@pytest.mark.filterwarnings("ignore::interpool.FallbackWarning")
def test_a_task_that_wants_numpy_runs_in_a_process() -> None:
    def total(it: Any) -> float:
        return float(it.numpy().sum())

    made = SharedArray.from_array([1.0, 2.0])
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(total, made).result() == 3.0


@needs_relay
def test_read_only_is_read_only_in_a_process() -> None:
    def attempt(it: Any) -> tuple[bool, bool]:
        return it.readonly, bool(it.numpy().flags.writeable)

    made = SharedArray(3, "d")
    with InterpreterPoolExecutor(1) as pool:
        lane = pool.options(lane="process")
        assert lane.submit(attempt, made.toreadonly()).result() == (True, False)


# --- Arithmetic ----------------------------------------------------------------------------------


@given(shapes, keys)
@settings(max_examples=50)
def test_rows_are_all_elements_in_their_order(shape: tuple[int, ...], key: Any) -> None:
    flat = memoryview(array.array("i", range(64)))
    try:
        place, is_item = strides.resolve(key, (0, shape, strides.strides_of(shape)))
    except IndexError:
        return
    if is_item:
        return
    rows = [strides.cut(flat, *row).tolist() for row in strides.rows(place)]
    spans = [strides.cut(flat, *span).tolist() for span in strides.spans(place)]
    assert [*itertools.chain(*rows)] == [*itertools.chain(*spans)]
    assert len(spans) <= len(rows)


def test_formats_of_buffers() -> None:
    assert formats.kind_of("d") == formats.kind_of("<d" if sys.byteorder == "little" else ">d")
    assert formats.kind_of("=l") == ("i", 4)
    assert formats.kind_of("<n") is None
    assert formats.kind_of("Zd") is None
    assert formats.kind_of("") is None
    assert formats.kind_of("<B") == formats.kind_of(">B") == ("u", 1)
