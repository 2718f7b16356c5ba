"""A map on a Dask cluster: which of many numbers takes the most steps.

Run it, on a cluster that is made of this machine's cores, or on the one of a scheduler:

    pip install 'interpool[cluster]'
    python examples/cluster_collatz.py
    python examples/cluster_collatz.py tcp://scheduler:8786
"""

import sys

from interpool.cluster import ClusterExecutor


def collatz_steps(number: int) -> int:
    """How often to halve a number, or triple it and add one if it is odd, until it is 1."""
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def main() -> None:
    scheduler = sys.argv[1] if len(sys.argv) > 1 else None
    numbers = range(1, 20_000)
    with ClusterExecutor(scheduler) as cluster:
        # As many travel together as a tenth of a second is worth; nobody has to say how many.
        steps = list(cluster.map(collatz_steps, numbers))
    longest = max(steps)
    print(f"of the numbers below 20000, {numbers[steps.index(longest)]} takes {longest} steps")


if __name__ == "__main__":
    main()
