"""Start-up: how long until every worker of a new pool has done its first, empty task.

Run it:

    python examples/benchmark_startup.py
    python examples/benchmark_startup.py --workers 8 --rounds 10
"""

from concurrent.futures import Executor

from contenders import compare, options


def nothing(number: int) -> int:
    return number


def main() -> None:
    given = options(__doc__, workers=4, rounds=5)

    def work(pool: Executor) -> list[int]:
        # A pool starts its workers when there are tasks for them: as many tasks as workers.
        futures = [pool.submit(nothing, number) for number in range(given.workers)]
        return [future.result() for future in futures]

    print(f"a new pool, {given.workers} workers, one empty task for each")
    compare(work, workers=given.workers, rounds=given.rounds)


if __name__ == "__main__":
    main()
