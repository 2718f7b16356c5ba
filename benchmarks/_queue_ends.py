"""What both ends of a queue do in `queues`: a module that every kind of worker can import."""

import queue
import time
from collections.abc import Callable
from typing import Any


def answer(requests: Any, answers: Any, count: int) -> None:
    """Give back what comes, so many times."""
    for _ in range(count):
        answers.put(requests.get())


def ask(requests: Any, answers: Any, count: int) -> list[float]:
    """Return the seconds that each of so many questions took until its answer was there."""
    times = []
    for number in range(count):
        begin = time.perf_counter()
        requests.put(number)
        answers.get()
        times.append(time.perf_counter() - begin)
    return times


def produce(it: Any, count: int, batch: int) -> None:
    """Put numbers, in batches if that is more than 1."""
    if batch == 1:
        for number in range(count):
            it.put(number)
    else:
        for first in range(0, count, batch):
            it.put_many(range(first, first + batch))


def consume(it: Any, count: int, batch: int) -> float:
    """Take them; return how many came in a second, from the first one on."""
    take: Callable[[], int] = (lambda: len(it.get_many(batch))) if batch > 1 else lambda: _one(it)
    taken = take()
    begin = time.perf_counter()
    first = taken
    while taken < count:
        taken += take()
    return (count - first) / (time.perf_counter() - begin)


def _one(it: Any) -> int:
    it.get()
    return 1


def wait_in_vain(it: Any, seconds: float) -> float:
    """Return how many seconds a `get` with a time limit takes that nothing comes for."""
    begin = time.perf_counter()
    try:
        it.get(timeout=seconds)
    except queue.Empty:
        return time.perf_counter() - begin
    raise AssertionError
