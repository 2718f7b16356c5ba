"""Tasks that use locks, in a module that imports little: a worker imports it, too."""

import contextlib
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from interpool import Event, Lock, RLock, Semaphore


def tell_when_waiting(entry: int, call: Callable[..., Any], *args: Any) -> Any:
    """Call what waits in a line, and write a byte whenever it is in it and about to sleep."""
    import os
    import sys

    bell = sys.modules["_interpool_bells"].Bell
    sleep = bell.sleep

    def telling(self: Any, deadline: float | None) -> Any:
        os.write(entry, b".")
        return sleep(self, deadline)

    bell.sleep = telling
    try:
        return call(*args)
    finally:
        bell.sleep = sleep


def hold(lock: Any, entry: int, fd: int) -> None:
    """Acquire, with nothing that would release it, tell, and wait for a byte."""
    import os

    lock.acquire()
    os.write(entry, b".")
    os.read(fd, 1)


def hold_and_spin(lock: Any, entry: int) -> None:
    import os

    lock.acquire()
    os.write(entry, b".")
    while True:
        pass


def hold_catch_and_go_on(lock: Any, entry: int) -> str:
    with contextlib.suppress(KeyboardInterrupt):
        hold_and_spin(lock, entry)
    return "caught"


def acquire_in_turn(lock: Any, order: Any, name: int) -> None:
    lock.acquire()
    order.put(name)
    lock.release()


def acquire(lock: Any) -> bool:
    return bool(lock.acquire())


def release(lock: Any) -> None:
    lock.release()


def use(lock: Any, entry: int) -> None:
    """Hold it by `with`, for ever."""
    import os

    with lock:
        os.write(entry, b".")
        while True:
            pass


def count(lock: Any, memory: int, rounds: int) -> None:
    """Add to a number in shared memory, in steps that others could come between."""
    with numbers_in(memory) as numbers:
        for _ in range(rounds):
            with lock:
                before = numbers[0]
                for _ in range(20):
                    pass
                numbers[0] = before + 1


@contextlib.contextmanager
def numbers_in(memory: int) -> Iterator[Any]:
    """The numbers in memory that several interpreters see, by its descriptor."""
    import mmap

    with (
        mmap.mmap(memory, mmap.PAGESIZE) as mapped,
        memoryview(mapped) as view,
        view.cast("q") as numbers,
    ):
        yield numbers


def leave_to_a_thread(lock: Any, entry: int, fd: int) -> None:
    """Have a thread hold a lock that is still there when its worker is to end."""
    import threading

    thread = threading.Thread(target=hold, args=(lock, entry, fd))
    thread.start()


def acquire_and_be_struck_in_release(lock: Any, entry: int, is_exit: bool) -> None:
    """Have a strike land where the function begins that releases the lock, before it does."""
    import os
    import sys

    def wait_to_be_struck(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_name == name and code.co_filename.endswith("locks.py"):
            os.write(entry, b".")
            while True:
                pass

    name = "__exit__" if is_exit else "release"
    # Whatever comes from here is this package's own: it looks no further than its own frames.
    trace: Any = FunctionType(
        wait_to_be_struck.__code__,
        {"__name__": "_interpool_test", "__builtins__": __builtins__},
        None,
        None,
        wait_to_be_struck.__closure__,
    )
    sys.settrace(trace)
    try:
        with lock:
            pass
    finally:
        sys.settrace(None)


# What `use_at_random` notes: how many are inside, by lock, and how often it was more than one.
BY_LOCK, BY_RLOCK, CROWDED = range(3)


def use_at_random(
    lock: Lock, rlock: RLock, units: Semaphore, memory: int, stop: Event, seed: int
) -> None:
    """Acquire and release, in all ways, until it is to stop."""
    import random

    chance = random.Random(seed)
    with numbers_in(memory) as numbers:

        def be_inside(which: int) -> None:
            try:
                numbers[which] += 1
                numbers[CROWDED] += numbers[which] != 1
            finally:
                numbers[which] = 0

        while not stop.is_set():
            match chance.randrange(5):
                case 0:
                    with lock:
                        be_inside(BY_LOCK)
                case 1:
                    if lock.acquire(timeout=chance.random() / 1000):
                        be_inside(BY_LOCK)
                        lock.release()
                case 2:
                    with rlock, rlock:
                        be_inside(BY_RLOCK)
                case 3:
                    rlock.acquire()
                    be_inside(BY_RLOCK)
                    rlock.release()
                case _:
                    units.acquire()
                    units.release()
