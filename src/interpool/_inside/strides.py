"""Where the elements of an array lie: offsets, shapes and strides, all counted in elements.

A view is an offset, a shape and strides, as in numpy, into the flat memory of all elements. What is
here is arithmetic; nothing of it knows what memory that is.
"""

import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

sys.modules["_interpool_strides"] = sys.modules["interpool._inside.strides"]
__name__ = "_interpool_strides"

type Shape = tuple[int, ...]
type Place = tuple[int, Shape, Shape]
"""Offset, shape and strides of a view."""

# Dimensions that a memoryview can have (PyBUF_MAX_NDIM).
_MOST_DIMENSIONS = 64


def shape_of(wanted: Any) -> Shape:
    """Make a shape of a number or of several.

    Raises:
        TypeError: if it is neither.
        ValueError: if one is negative, or there are too many.
    """
    try:
        numbers = (wanted,) if hasattr(type(wanted), "__index__") else tuple(wanted)
        shape = tuple([number.__index__() for number in numbers])
    except TypeError, AttributeError:
        message = f"a shape is an integer or a tuple of integers, not {wanted!r}"
        raise TypeError(message) from None
    if any(length < 0 for length in shape):
        message = f"no dimension can be negative, as in {shape}"
        raise ValueError(message)
    if len(shape) > _MOST_DIMENSIONS:
        message = f"there can be {_MOST_DIMENSIONS} dimensions at the most, not {len(shape)}"
        raise ValueError(message)
    return shape


def size_of(shape: Shape) -> int:
    """How many elements there are."""
    size = 1
    for length in shape:
        size *= length
    return size


def strides_of(shape: Shape) -> Shape:
    """The strides of elements one behind the other, the last dimension's first."""
    strides = []
    step = 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """Whether the elements lie one behind the other, in their order."""
    if not size_of(shape):
        return True
    triples = zip(shape, strides, strides_of(shape), strict=True)
    return all(length == 1 or stride == usual for length, stride, usual in triples)


def index_of(index: Any, length: int, dimension: int) -> int:
    """The place of an element, counted from the first.

    Raises:
        TypeError: if that is no integer.
        IndexError: if there is no such element.
    """
    try:
        number: int = index.__index__()
    except AttributeError, TypeError:
        message = f"indices are integers, slices and an ellipsis, not {type(index).__name__}"
        raise TypeError(message) from None
    found = number + length if number < 0 else number
    if not 0 <= found < length:
        message = f"index {number} is out of bounds: dimension {dimension} has {length} elements"
        raise IndexError(message)
    return found


def resolve(key: Any, place: Place) -> tuple[Place, bool]:
    """Find what is indexed: a part of a view, and whether it is one element by itself.

    Raises:
        TypeError: if the key is none.
        IndexError: if there is no such element, or no such dimension.
    """
    offset, shape, strides = place
    keys = list(key) if type(key) is tuple else [key]
    dots = [number for number, each in enumerate(keys) if each is ...]
    given = len(keys) - len(dots)
    if len(dots) > 1:
        raise IndexError("there can be one ellipsis in an index")
    if given > len(shape):
        message = f"there are {len(shape)} dimensions, and {given} were indexed"
        raise IndexError(message)
    at = dots[0] if dots else len(keys)
    keys[at : at + 1] = [slice(None)] * (len(shape) - given)
    lengths: list[int] = []
    steps: list[int] = []
    for dimension, (each, length, stride) in enumerate(zip(keys, shape, strides, strict=True)):
        if type(each) is slice:
            start, stop, step = each.indices(length)
            count = len(range(start, stop, step))
            lengths.append(count)
            steps.append(stride * step)
            if count:
                offset += start * stride
        else:
            offset += index_of(each, length, dimension) * stride
    return (offset, tuple(lengths), tuple(steps)), not lengths and not dots


def cut(flat: memoryview, offset: int, count: int, stride: int) -> memoryview:
    """The elements of a row."""
    if not count:
        return flat[:0]
    stop = offset + count * stride
    return flat[offset : None if stop < 0 else stop : stride]


def rows(place: Place) -> Iterator[tuple[int, int, int]]:
    """Offset, length and stride of each row, in their order."""
    offset, shape, strides = place
    if not shape:
        yield offset, 1, 1
    elif len(shape) == 1:
        yield offset, shape[0], strides[0]
    else:
        for number in range(shape[0]):
            yield from rows((offset + number * strides[0], shape[1:], strides[1:]))


def spans(place: Place) -> Iterator[tuple[int, int, int]]:
    """The fewest rows that all elements are in, in their order."""
    offset, shape, strides = place
    size = size_of(shape)
    if size and is_contiguous(shape, strides):
        yield offset, size, 1
    elif size:
        yield from rows(place)


def nested(flat: memoryview, place: Place) -> Any:
    """The elements, as lists of lists; the element itself if there is no dimension."""
    offset, shape, strides = place
    if not shape:
        return flat[offset]
    if len(shape) == 1:
        return cut(flat, offset, shape[0], strides[0]).tolist()
    return [
        nested(flat, (offset + number * strides[0], shape[1:], strides[1:]))
        for number in range(shape[0])
    ]


def is_sequence(value: Any) -> bool:
    """Whether it has items: text has not."""
    return hasattr(type(value), "__len__") and not isinstance(value, (str, dict, set, frozenset))


def shape_of_nested(value: Any) -> Shape:
    """The shape of lists of lists, by the first of each."""
    shape = []
    while is_sequence(value):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def flatten(value: Any, shape: Shape) -> list[Any]:
    """The elements of lists of lists.

    Raises:
        ValueError: if they are not of that shape.
    """
    items = [value]
    for number, length in enumerate(shape):
        inner: list[Any] = []
        for each in items:
            if not is_sequence(each) or len(each) != length:
                raise _unlike(value, shape, number, each)
            inner += each
        items = inner
    for each in items:
        if is_sequence(each):
            raise _unlike(value, shape, len(shape), each)
    return items


def _unlike(value: Any, shape: Shape, number: int, found: Any) -> ValueError:
    wanted = f"{shape[number]} items" if number < len(shape) else "a number"
    given = f"{len(found)} items" if is_sequence(found) else f"{found!r}"
    message = (
        f"this {type(value).__name__} is not of the shape {shape}: where dimension {number} has "
        f"{wanted}, it has {given}"
    )
    return ValueError(message)
