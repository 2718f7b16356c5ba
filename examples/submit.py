"""One task, one future, one result.

Run it:

    python examples/submit.py
"""

from interpool import InterpreterPoolExecutor


def total(*numbers: int) -> int:
    return sum(numbers)


def main() -> None:
    with InterpreterPoolExecutor(max_workers=1) as pool:
        future = pool.submit(total, 2, 3, 4)  # returns at once; the worker adds up
        print(f"2 + 3 + 4 = {future.result()}")


if __name__ == "__main__":
    main()
