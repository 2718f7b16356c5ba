"""What chaos has workers do. Each returns a value derived from its argument, if it returns.

Workers import this module by its name, so it imports nothing by itself.
"""

import time
from typing import Any


def echo(n: int) -> tuple[str, int]:
    return "echo", n


def fail(n: int) -> None:
    raise ValueError(n)


def fail_sometimes(n: int) -> int:
    import os

    if os.urandom(1)[0] < 128:
        raise ValueError(n)
    return n


def leave(n: int) -> None:
    import sys

    sys.exit(n)


def spin(n: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return n


def spin_on() -> None:
    while True:
        pass


def nap(n: int, seconds: float) -> int:
    time.sleep(seconds)
    return n


def share(n: int, queue: Any, lock: Any) -> int:
    """Put an item, and take one: there is always one for each that takes."""
    with lock:
        queue.put(n)
    lock.acquire()  # given back if this is interrupted, and that is what is tried
    queue.get()
    lock.release()
    return n


def block(n: int, fd: int) -> int:
    """Stay in C until the other end of a pipe is closed."""
    import os

    os.read(fd, 1)
    return n


def swallow(n: int, seconds: float, fd: int) -> int:
    """Keep one interrupt to itself, and then stay in C."""
    try:
        return spin(n, seconds)
    except KeyboardInterrupt:
        return block(n, fd)


def clean_up(n: int, seconds: float) -> int:
    try:
        return spin(n, seconds)
    finally:
        time.sleep(0.001)


def say(n: int) -> int:
    import sys

    print("chaos", n)
    print("chaos", n, file=sys.stderr, end="")
    return n


def log(n: int) -> int:
    import logging

    logging.getLogger("chaos").warning("chaos %d", n)
    return n


def grow(data: Any) -> Any:
    return data + data[:1]


def wrap(data: Any, n: int) -> dict[str, Any]:
    return {"data": [data, bytearray(data)], "n": n}


def return_a_lock(n: int) -> Any:
    import _thread

    return _thread.allocate_lock()


async def await_nothing(n: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    return n


def nest(n: int) -> int:
    from interpool import InterpreterPoolExecutor

    with InterpreterPoolExecutor(1) as pool:
        return pool.submit(int, n).result()


# --- Initializers --------------------------------------------------------------------------------


def begin_slowly(seconds: float) -> None:
    spin(0, seconds)


def begin_in_c(seconds: float) -> None:
    time.sleep(seconds)


def begin_or_fail(share: float) -> None:
    import os

    if os.urandom(1)[0] < 256 * share:
        raise LookupError("chaos")
