"""A sieve of Eratosthenes, in memory that all workers share.

One byte a number. The primes up to the square root are found here; each task then strikes out the
multiples of all of them in a stretch of its own, and says how many numbers are left there. All read
the list of small primes, which none can change, and none writes where another one does.

Run it:

    python examples/primes.py 50000000
"""

import argparse
import math
import time

from interpool import InterpreterPoolExecutor, SharedArray, SharedBuffer

# Numbers that a task sieves: what they take stays in a core's cache. Arbitrary.
STRETCH = 1 << 20


def small_primes(limit: int) -> list[int]:
    """All primes up to a limit."""
    left = bytearray([1]) * (limit + 1)
    left[:2] = bytes(min(2, limit + 1))
    for number in range(2, math.isqrt(limit) + 1):
        if left[number]:
            left[number * number :: number] = bytes(len(range(number * number, limit + 1, number)))
    return [number for number, is_left in enumerate(left) if is_left]


def sieve(composite: SharedBuffer, first: int, primes: SharedArray) -> int:
    """Strike out the multiples of primes in a stretch of numbers; return how many are left.

    Args:
        composite: the stretch: a view of a part of it all.
        first: the number that it begins with.
        primes: the primes up to the square root of the last number there is.
    """
    for prime in primes.tolist():
        start = max(prime * prime, -(-first // prime) * prime) - first
        if start < len(composite):
            composite[start::prime] = 1
    return composite.tobytes().count(0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count primes, and name the largest.")
    parser.add_argument("limit", type=int, nargs="?", default=20_000_000, help="the last number")
    parser.add_argument("--workers", type=int, help="interpreters; one a core if not given")
    options = parser.parse_args()
    limit = max(options.limit, 2)
    began = time.perf_counter()
    with InterpreterPoolExecutor(options.workers) as pool:
        composite = SharedBuffer(limit + 1)
        composite[:2] = 1
        primes = SharedArray.from_array(small_primes(math.isqrt(limit)), int).toreadonly()
        firsts = range(0, limit + 1, STRETCH)
        stretches = [composite[first : first + STRETCH] for first in firsts]
        count = sum(pool.map(sieve, stretches, firsts, [primes] * len(firsts)))
    taken = time.perf_counter() - began
    with memoryview(composite) as numbers:
        largest = next(number for number in range(limit, 1, -1) if not numbers[number])
    print(f"{count:,} primes up to {limit:,}, the largest {largest:,}, in {taken:.2f} s")


if __name__ == "__main__":
    main()
