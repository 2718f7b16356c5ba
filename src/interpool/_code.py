"""What is in a code object: the names that it uses, and what it is in bytes.

Each is found out once for each code object.
"""

import __future__

import dis
import marshal
import re
import types
from collections.abc import Iterator
from typing import Any, Final

from interpool._references import Kept


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


_GLOBAL_INSTRUCTIONS: Final = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
)


def _global_names(code: types.CodeType) -> Iterator[str]:
    # Not co_names, which holds attributes too: an unrelated global of an attribute's name would go
    # along, or be what refuses the task.
    level: list[Any] = [0, 0]  # of an import: pushed before what is imported from there
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_INSTRUCTIONS:
            yield instruction.argval
        elif instruction.opname == "IMPORT_NAME" and level[0]:
            yield "__package__"  # which a relative import is relative to
        elif instruction.opname == "IMPORT_NAME" and instruction.argval == "__main__":
            yield from code.co_names  # some of which it takes from there
        if instruction.opname != "EXTENDED_ARG":
            level = [level[1], instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and constant.co_name != "__annotate__":
            yield from _global_names(constant)


def _names_in_text(code: types.CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in_text(constant)
        elif isinstance(constant, str):
            yield from re.findall(r"\w+", constant)


_HAS_DOCSTRING: Final = 0x4000000  # CO_HAS_DOCSTRING
_FUTURE_ANNOTATIONS: Final = __future__.annotations.compiler_flag
_NONE: Final[frozenset[str]] = frozenset()


# The global names that it uses, those of the code inside it included.
global_names_of: Final = Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_global_names(code))
).of
# The names in the annotations inside a code object, where they are text.
names_in_text_of: Final = Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_names_in_text(code)) if code.co_flags & _FUTURE_ANNOTATIONS else _NONE
).of
# All names in it, attributes included, and in the code inside it.
all_names_of: Final = Kept[types.CodeType, frozenset[str]](lambda code: frozenset(_names(code))).of
bytes_of: Final = Kept[types.CodeType, bytes](marshal.dumps).of


def docstring_of(code: types.CodeType) -> Any:
    """The docstring in it, if it has one."""
    return code.co_consts[0] if code.co_flags & _HAS_DOCSTRING else None
