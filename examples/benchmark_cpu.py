"""CPU-bound work: a few long loops, which threads can only run one after the other.

Run it:

    python examples/benchmark_cpu.py
    python examples/benchmark_cpu.py --tasks 16 --iterations 1000000 --workers 8 --rounds 1
"""

from concurrent.futures import Executor

from contenders import compare, options


def spin(iterations: int) -> int:
    """A loop of pure Python: all it needs is a core and the GIL."""
    state = 1
    for _ in range(iterations):
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state


def main() -> None:
    given = options(__doc__, tasks=8, iterations=5_000_000, workers=4, rounds=3)

    def work(pool: Executor) -> list[int]:
        futures = [pool.submit(spin, given.iterations) for _ in range(given.tasks)]
        return [future.result() for future in futures]

    print(f"{given.tasks} loops of {given.iterations:,} iterations, {given.workers} workers")
    compare(work, workers=given.workers, rounds=given.rounds)


if __name__ == "__main__":
    main()
