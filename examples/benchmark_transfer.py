"""Transfer: many tasks with next to nothing to do, so that the way to the worker is what counts.

With `--chunksize`, processes and interpool send that many items at a time; threads and the standard
library's interpreters ignore it.

Run it:

    python examples/benchmark_transfer.py
    python examples/benchmark_transfer.py --chunksize 250
"""

from concurrent.futures import Executor

from contenders import compare, options


def negate(number: int) -> int:
    return -number


def main() -> None:
    given = options(__doc__, tasks=10_000, workers=4, chunksize=1, rounds=3)

    def work(pool: Executor) -> list[int]:
        return list(pool.map(negate, range(given.tasks), chunksize=given.chunksize))

    print(f"{given.tasks:,} tiny tasks, {given.workers} workers, chunksize={given.chunksize}")
    compare(work, workers=given.workers, rounds=given.rounds)


if __name__ == "__main__":
    main()
