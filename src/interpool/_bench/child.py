"""One measurement, in a process of its own: the program that `runner` starts, by its path.

It stands alone, as a user's script does: its functions belong to `__main__`, and the rest is
guarded. What that means is each executor's own affair, and part of what is measured: the process
pool runs this file once more in its server (the default on Linux since 3.14) or in every worker
(spawn), the standard library's interpreters and interpool's get the functions' code objects. For
the sake of the process pool the file is short and imports nothing that has to be loaded. Were the
functions imported from `interpool`, every peer's workers would load that package first, and the
benchmark would measure that.

Arguments: executor, case, workers, the folder that holds `interpool`, and the sizes of the case.
Prints one line of JSON: `value` (seconds, but MiB of memory), `import_seconds` (importing the
executor's class, never part of a time) and `gil`. A wrong result ends it with an error.
"""

import operator
import sys
from time import perf_counter, sleep

TYPE_CHECKING = False  # importing `typing` would slow down every process that loads this file
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized
    from concurrent.futures import Executor
    from types import ModuleType
    from typing import Any

type Make = Callable[[], Executor]


def cpu_bound(n: int) -> int:
    """The last nine digits of a sum of squares, the slow way."""
    total = 0
    for i in range(n):
        total += i * i
        total %= 1_000_000_000
    return total


def same(x: int) -> int:
    """Nothing to do: what it takes is the pool's."""
    return x


def double(x: int) -> int:
    """Next to nothing to do."""
    return x * 2


def size_of(data: object) -> int:
    """Shows that the data has arrived.

    What it is called with is sized. `Sized` is not there at run time, and loky's pickler asks.
    """
    return len(data)  # type: ignore[arg-type]


def pause(seconds: float) -> float:
    """Take so long, without taking a core."""
    if seconds:
        sleep(seconds)
    return seconds


STEP = 1


def next_of(x: int) -> int:
    """Needs two globals of its script."""
    return double(x) - x + STEP


def cpu(make: Make, count: int, size: int) -> float:
    """From the constructor to the end of `shutdown`: `count` loops of `size` iterations."""
    begin = perf_counter()
    with make() as pool:
        results = [f.result() for f in [pool.submit(cpu_bound, size) for _ in range(count)]]
    seconds = perf_counter() - begin
    check(results == [(size - 1) * size * (2 * size - 1) // 6 % 1_000_000_000] * count)
    return seconds


def start(make: Make, count: int, _size: int) -> float:
    """From the constructor to the end of `shutdown`: `count` tasks, one for each worker."""
    begin = perf_counter()
    with make() as pool:
        results = [f.result() for f in [pool.submit(same, i) for i in range(count)]]
    seconds = perf_counter() - begin
    check(results == list(range(count)))
    return seconds


def restart(make: Make, count: int, size: int) -> float:
    """`start`, for the second pool of the process."""
    start(make, count, size)
    return start(make, count, size)


def all_up(make: Make, count: int, size: int) -> float:
    """`start`, with tasks of `size` ms, which are taken off: they keep every worker for itself.

    In `start`, whoever is up first does the others' no-ops, and of many workers some never start.
    """
    begin = perf_counter()
    with make() as pool:
        results = [f.result() for f in [pool.submit(pause, size / 1_000) for _ in range(count)]]
    seconds = perf_counter() - begin
    check(results == [size / 1_000] * count)
    return seconds - size / 1_000


def transfer(make: Make, count: int, _size: int) -> float:
    """From the constructor to the end of `shutdown`: `map` over `count` integers."""
    begin = perf_counter()
    with make() as pool:
        results = list(pool.map(double, range(count)))
    seconds = perf_counter() - begin
    check(results == list(range(0, 2 * count, 2)))
    return seconds


def plain(make: Make, count: int, _size: int) -> float:
    """`map` as it is by default, in a pool whose workers are there."""
    return mapped(make, count)


def chunked(make: Make, count: int, size: int) -> float:
    """`map` in chunks of `size`, in a pool whose workers are there."""
    return mapped(make, count, chunksize=size)


def mapped(make: Make, count: int, **options: int) -> float:
    """`map` over `count` integers, after a tenth of them."""
    with make() as pool:
        warm_up(pool)
        list(pool.map(double, range(count // 10), **options))
        begin = perf_counter()
        results = list(pool.map(double, range(count), **options))
        seconds = perf_counter() - begin
    check(results == list(range(0, 2 * count, 2)))
    return seconds


def payload(make: Make, count: int, size: int) -> float:
    """The median of `count` round trips with `size` bytes on the way there."""
    return there(make, [bytes([i % 256]) * size for i in range(count)])


def array(make: Make, count: int, size: int) -> float:
    """`payload`, for arrays of floating-point numbers of `size` bytes together."""
    from array import array

    return there(make, [array("d", [float(i)]) * (size // 8) for i in range(count)])


def there(make: Make, arguments: Sequence[Sized]) -> float:
    """The median of one trip for each argument, with nothing but its length on the way back."""
    with make() as pool:
        warm_up(pool)
        pool.submit(size_of, arguments[0]).result()
        return median_time(
            lambda i: check(pool.submit(size_of, arguments[i]).result() == len(arguments[i])),
            len(arguments),
        )


large = payload


def echo(make: Make, count: int, size: int) -> float:
    """The median of `count` round trips with `size` bytes both ways."""
    return trips(make, same, [bytes([i % 256]) * size for i in range(count)])


def roundtrip(make: Make, count: int, _size: int) -> float:
    """The median of `count` times one submit and its result."""
    return trips(make, same, range(count))


def reference(make: Make, count: int, _size: int) -> float:
    """`roundtrip`, for a function that every worker can import."""
    return trips(make, operator.index, range(count))


def context(make: Make, count: int, _size: int) -> float:
    """`roundtrip`, for a function that needs its script's globals."""
    return trips(make, next_of, range(count), range(1, count + 1))


def trips(
    make: Make,
    function: Callable[[Any], object],
    given: Sequence[object],
    expected: Sequence[object] | None = None,
) -> float:
    """The median of one submit and its result for each of `given`, checked against `expected`."""
    wanted = given if expected is None else expected
    with make() as pool:
        warm_up(pool)
        median_time(lambda i: pool.submit(function, given[i]).result(), len(given) // 10 or 1)
        return median_time(
            lambda i: check(pool.submit(function, given[i]).result() == wanted[i]), len(given)
        )


def flood(make: Make, count: int, _size: int) -> float:
    """`count` submits, then all results, in a pool whose workers are there."""
    with make() as pool:
        warm_up(pool)
        [f.result() for f in [pool.submit(double, i) for i in range(count // 10)]]
        begin = perf_counter()
        results = [f.result() for f in [pool.submit(double, i) for i in range(count)]]
        seconds = perf_counter() - begin
    check(results == list(range(0, 2 * count, 2)))
    return seconds


def busy(make: Make, count: int, size: int) -> float:
    """`count` tasks of `size` iterations, while the main thread computes until all are done."""
    with make() as pool:
        warm_up(pool)
        begin = perf_counter()
        futures = [pool.submit(cpu_bound, size) for _ in range(count)]
        unfinished = futures[:]
        while unfinished:
            cpu_bound(1_000)  # some 80 us: a look at a future is nothing beside it
            while unfinished and unfinished[-1].done():
                unfinished.pop()
        seconds = perf_counter() - begin
        check(len({f.result() for f in futures}) == 1)
    return seconds


def tail(make: Make, count: int, size: int) -> float:
    """The worst of three `late`: the slow task comes first, in the middle, last."""
    return max(late(make, count, size, percent, 0) for percent in (0, 50, 100))


def late(make: Make, count: int, size: int, percent: int, chunksize: int) -> float:
    """`map` over `count` tiny tasks, but the one at `percent` of them, which takes `size` ms.

    It sleeps: what is left of the time is the pool's, however many cores there are.
    """
    pauses = [0.0] * count
    pauses[(count - 1) * percent // 100] = size / 1_000
    options = {"chunksize": chunksize} if chunksize else {}
    with make() as pool:
        warm_up(pool)
        list(pool.map(pause, [0.0] * (count // 10), **options))
        begin = perf_counter()
        results = list(pool.map(pause, pauses, **options))
        seconds = perf_counter() - begin
    check(results == pauses)
    return seconds


def memory(make: Make, count: int, _size: int) -> float:
    """What each of `count` workers adds to the memory of this process and its children, in MiB.

    A page that processes share counts as its share in each (PSS), so the sum over all of them is
    what the machine gives. A process pool's server and tracker are there for the workers' sake.
    """
    import gc

    with make() as pool:
        gc.collect()
        before = held("self")
        warm_up(pool)
        results = [f.result() for f in [pool.submit(same, i) for i in range(count)]]
        gc.collect()
        after = held("self")
    check(results == list(range(count)))
    return (after - before) / count


def held(process: str) -> float:
    """PSS of a process and all below it, in MiB."""
    import os

    mib = 0.0
    with open(f"/proc/{process}/smaps_rollup") as file:  # noqa: PTH123 - pathlib would have to be loaded
        for line in file:
            if line.startswith("Pss:"):
                mib += int(line.split()[1]) / 1_024
    for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 - the same
        with open(f"/proc/{process}/task/{thread}/children") as file:  # noqa: PTH123 - the same
            mib += sum(held(child) for child in file.read().split())
    return mib


def warm_up(pool: Executor) -> None:
    """Start every worker, with tasks that last: an idle worker keeps the next from starting."""
    workers: int = pool._max_workers  # type: ignore[attr-defined]
    # Longer for many, who have to be there before the first is idle: some 12 ms each.
    seconds = max(0.05, workers / 80)
    for future in [pool.submit(sleep, seconds) for _ in range(2 * workers)]:
        future.result()


def median_time(action: Callable[[int], object], count: int) -> float:
    """The median of `count` calls, in seconds."""
    times = []
    for i in range(count):
        begin = perf_counter()
        action(i)
        times.append(perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def check(is_right: bool) -> None:
    """End the measurement if it measured nonsense."""
    if not is_right:
        sys.exit("a result was wrong")


def main(executor: str, case: str, workers: str, folder: str, *sizes: str) -> None:
    """Measure once and print the line."""
    begin = perf_counter()
    if executor == "interpool":
        if folder not in sys.path:
            sys.path.insert(0, folder)
        import interpool

        module: ModuleType = interpool
    elif executor == "loky":
        module = __import__("loky")
    else:
        from concurrent import futures

        module = futures
    names = {
        "thread": "ThreadPoolExecutor",
        "process": "ProcessPoolExecutor",
        "loky": "ProcessPoolExecutor",
    }
    pool_class = getattr(module, names.get(executor, "InterpreterPoolExecutor"))
    imported = perf_counter() - begin
    value = globals()[case](lambda: pool_class(max_workers=int(workers)), *map(int, sizes))
    print(f'{{"value": {value}, "import_seconds": {imported}, ', end="")
    print(f'"gil": {str(sys._is_gil_enabled()).lower()}}}')


if __name__ == "__main__":
    main(*sys.argv[1:])
