"""Of what type the elements of an array are: formats, the names that they go by, and what is equal.

A format is a character of the struct module's, in this machine's byte order and sizes: what a
memoryview can be cast to. Two are the same if their kind and their size are: a `long` is an int64.
"""

import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

sys.modules["_interpool_formats"] = sys.modules["interpool._inside.formats"]
__name__ = "_interpool_formats"

# By kind, as numpy has it: i and u for integers, f for floating point, b for what is true or false.
_CODES = {"b": "?", "i": "bhilqn", "u": "BHILQN", "f": "efd"}
_WORDS = {"b": "bool", "i": "int", "u": "uint", "f": "float"}
# Sizes where a byte order is given, in bytes; elsewhere they are the machine's.
_STANDARD = dict(zip("?bBhHiIlLqQefd", (1, 1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 2, 4, 8), strict=True))
_NATIVE = "<" if sys.byteorder == "little" else ">"


def size_of(code: str) -> int:
    """Bytes that an element takes."""
    return memoryview(bytes(16)).cast(code).itemsize  # type: ignore[call-overload,no-any-return]


_KINDS = {code: (kind, size_of(code)) for kind, codes in _CODES.items() for code in codes}
_NAMES = {
    code: _WORDS[kind] + ("" if kind == "b" else str(8 * size))
    for code, (kind, size) in _KINDS.items()
}
# What a name stands for; and numpy's short form of it, as `f8`. Of equal ones `q` for 8 bytes.
_BY_NAME = {_NAMES[code]: code for code in reversed("?bBhHiIqQlLnNefd")} | {
    f"{kind}{size}": code for code in reversed("?bBhHiIqQlLnNefd") for kind, size in (_KINDS[code],)
}
_BY_TYPE = {float: "d", int: "q", bool: "?"}


def name_of(code: str) -> str:
    """What people call it, as `float64`."""
    return _NAMES[code]


def kind_of(form: str) -> tuple[str, int] | None:
    """Kind and size of a buffer's format; None if it is none that an array can have."""
    order = form[0] if form[:1] in set("@=<>!") else "@"
    code = form.removeprefix(order)
    if code not in _KINDS:
        return None
    kind, size = _KINDS[code]
    if order == "@":
        return kind, size
    size = _STANDARD.get(code, 0)
    is_native = order in {"=", _NATIVE} or (order == "!" and _NATIVE == ">") or size == 1
    return (kind, size) if is_native and size else None


def code_of_format(form: str) -> str | None:
    """The format of an array that holds the same as a buffer of that one."""
    kind = kind_of(form)
    return None if kind is None else _BY_NAME[f"{kind[0]}{kind[1]}"]


def code_of(dtype: Any) -> str:
    """Find the format that a type stands for.

    Args:
        dtype: a format; a name, as `float64` or `f8`; `float`, `int` or `bool`; a type or dtype of
            numpy's.

    Raises:
        TypeError: if it is none that an array can have.
        ValueError: if it is one of another byte order.
    """
    if isinstance(dtype, type):
        found = _BY_TYPE.get(dtype) or _BY_NAME.get(dtype.__name__)
    elif isinstance(dtype, str):
        found = _code_of_text(dtype)
    else:
        found = _code_of_text(getattr(dtype, "str", None) or getattr(dtype, "char", ""))
    if found is None:
        names = ", ".join(dict.fromkeys(_NAMES[code] for code in "?bBhHiIqQefd"))
        message = f"no memoryview has elements of the type {dtype!r}: those of an array are {names}"
        raise TypeError(message)
    return found


def _code_of_text(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    if text in _KINDS:
        return text
    order = text[0] if text[:1] in set("@=<>!|") else "@"
    bare = text.removeprefix(order)
    found = _BY_NAME.get(bare)
    if found is None:
        kind = _KINDS.get(bare)
        if kind is not None and order not in {"@", "|"}:
            found = _BY_NAME.get(f"{kind[0]}{_STANDARD.get(bare)}")
        elif kind is not None:
            found = bare
    is_foreign = order in set("<>!") and order.replace("!", ">") != _NATIVE
    if found is not None and is_foreign and _KINDS[found][1] > 1:
        message = f"elements are of this machine's byte order, which {text!r} is not"
        raise ValueError(message)
    return found


def code_for(items: Iterable[Any]) -> str:
    """Choose a format that holds these: bool, int64 or float64.

    Raises:
        TypeError: if none does.
    """
    kinds = set(map(type, items))
    if kinds == {bool}:
        return "?"
    if all(hasattr(kind, "__index__") for kind in kinds) and kinds:
        return "q"
    if all(hasattr(kind, "__float__") or hasattr(kind, "__index__") for kind in kinds):
        return "d"
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    message = f"an array holds numbers, and here is what is none, among {names}"
    raise TypeError(message)


# --- Elements ------------------------------------------------------------------------------------


def cast(data: Any, code: str, shape: tuple[int, ...] | None = None) -> memoryview:
    """See bytes, or contiguous elements, as elements of another format."""
    raw: Any = memoryview(data).cast("B")
    found: memoryview = raw.cast(code) if shape is None else raw.cast(code, shape)
    return found


def packed(items: list[Any], code: str) -> bytes:
    """Make elements of numbers.

    Raises:
        TypeError: if one is none.
        ValueError: if one does not fit.
    """
    if len(items) > 1:  # what is wrong with one by itself is said below
        import array

        try:
            return array.array(code, items).tobytes()
        except TypeError, ValueError, OverflowError:
            pass  # or it has no such elements
    made = bytearray(len(items) * size_of(code))
    view = cast(made, code)
    for number, item in enumerate(items):
        view[number] = item
    return bytes(made)
