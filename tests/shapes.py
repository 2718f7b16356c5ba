"""What tests send by reference, in a module that workers can import.

They cannot import the modules of tests that use Hypothesis, which has an extension that refuses to
load in an interpreter.
"""

import dataclasses
import enum
from typing import Any, NamedTuple


@dataclasses.dataclass
class Holder:
    first: Any
    second: Any = None


class Pair(NamedTuple):
    left: Any
    right: Any


class Shade(enum.Flag):
    LIGHT = 1
    DARK = 2


class Key: ...


class Text(str):
    __slots__ = ("note",)


class Items(list[Any]): ...


class Table(dict[Any, Any]):
    def __init__(self, required: int) -> None:
        super().__init__()
        self.required = required

    def __reduce__(self) -> Any:
        return Table, (self.required,), None, None, iter(self.items())


def in_every_way(it: Any, *, key: Any) -> Any:
    return it, {"key": [key]}


def len_of_all(*args: object, **kwargs: object) -> int:
    return len(args) + len(kwargs)


def fail_at_seven(n: int) -> int:
    if n == 7:
        message = "seven"
        raise ValueError(message)
    return n
