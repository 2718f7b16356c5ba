"""What can be sent to a worker, and what not.

What cannot be sent ends its future with a `TransferError` that names it.

Run it:

    python examples/what_can_be_sent.py
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

from interpool import InterpreterPoolExecutor, TransferError

RATE = 3


def add(left: int, right: int) -> int:
    return left + right


def add_twice(left: int, right: int) -> int:
    return add(add(left, right), right)


def scale(number: int) -> int:
    return number * RATE


def first_line(file: TextIO) -> str:
    return file.readline()


def countdown(start: int) -> Iterator[int]:
    return (number for number in range(start, 0, -1))


def open_here() -> TextIO:
    return Path(__file__).open(encoding="utf-8")


def main() -> None:
    with InterpreterPoolExecutor(max_workers=1) as pool:

        def show(what: str, fn: Callable[..., object], *args: Any) -> None:
            try:
                print(f"sent     {what}: {pool.submit(fn, *args).result()}")
            except TransferError as error:
                print(f"refused  {what}: {error}")

        def multiply(left: int, right: int) -> int:
            return left * right

        offset = 10
        calls = 0

        def add_offset(number: int) -> int:
            return number + offset

        def count_call() -> int:
            nonlocal calls
            calls += 1
            return calls

        show("a function of this file", add, 3, 5)
        show("one that calls another", add_twice, 3, 5)
        show("one that uses a global", scale, 5)
        show("a function of a module", math.gcd, 12, 18)
        show("a method of an object", Fraction(22, 7).limit_denominator, 3)
        show("a local function", multiply, 3, 5)
        show("a lambda", lambda number: number**2, 5)
        show("a closure", add_offset, 5)

        # The worker gets a copy, made at submit: what it changes there stays there.
        show("a closure that counts", count_call)
        print(f"         and its variable here: {calls}")

        with open_here() as file:
            show("an open file as an argument", first_line, file)
            show("what is in it", str.strip, file.readline(), '".\n')
        show("an open file as a result", open_here)
        show("a generator as a result", countdown, 3)
        show("its items", lambda start: list(range(start, 0, -1)), 3)


if __name__ == "__main__":
    main()
