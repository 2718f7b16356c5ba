"""A task that needs numpy, which refuses to load in an interpreter: it runs in a process.

Run it, where numpy is installed:

    python examples/numpy_in_a_worker.py
"""

import warnings

from interpool import FallbackWarning, InterpreterPoolExecutor

# Said once for each function; here it is known.
warnings.simplefilter("ignore", FallbackWarning)


def three_times(x: float) -> float:
    import numpy as np

    return float(np.sum(np.array([x, x, x])))


def main() -> None:
    with InterpreterPoolExecutor(max_workers=1) as pool:
        print(pool.submit(three_times, 5).result())
        lanes = pool.statistics().lanes
    print(f"in interpreters: {lanes['interpreter']}, in processes: {lanes['process']}")


if __name__ == "__main__":
    main()
