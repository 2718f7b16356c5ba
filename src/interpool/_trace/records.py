"""What a recording is made of: tuples, the first of each what it is."""

import enum
from typing import Any

type Place = tuple[int, int]
"""A worker: its number, as the engine has it, and the identifier of its process, or 0."""

type Record = tuple[Any, ...]


class Kind(enum.IntEnum):
    """What a record is of, and what follows in it."""

    WORK = 0  # place, records of `_inside.tracing`
    ENCODED = enum.auto()  # thread, began, ended, name, bytes, items
    MARK = enum.auto()  # when, name, place or None, details
    COUNT = enum.auto()  # when, tasks waiting, running
    MEMORY = enum.auto()  # when, MiB
    WHY = enum.auto()  # task, why it is not in an interpreter
    HELD = enum.auto()  # task, which run it is; until its outcome is known
    OUTCOME = enum.auto()  # task, outcome, error, name
    REFUSED = enum.auto()  # task, when, error, name: its run in an interpreter; a process runs it
    CUT = enum.auto()  # place, task, began, ended, name, outcome, error
    ASLEEP = enum.auto()  # place, since when: that worker has nothing to do as it begins
    END = enum.auto()  # when, [(place, since when it has nothing to do)]
