"""One function for many items: results come in the order of the items, whoever is done first.

Run it:

    python examples/map_in_order.py
"""

from interpool import InterpreterPoolExecutor


def collatz_steps(number: int) -> int:
    """How often to halve a number, or triple it and add one if it is odd, until it is 1."""
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def main() -> None:
    numbers = [27, 1, 97, 8, 871]
    with InterpreterPoolExecutor(max_workers=3) as pool:
        for number, steps in zip(numbers, pool.map(collatz_steps, numbers), strict=True):
            print(f"{number:4} reaches 1 in {steps} steps")


if __name__ == "__main__":
    main()
