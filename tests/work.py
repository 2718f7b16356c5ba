"""Work to measure, in a module that imports little: a worker imports it, too."""

import time


def compute(n: int) -> int:
    total = 0
    for i in range(n):
        total += i * i
    return total


def wait(_: object) -> None:
    time.sleep(0.02)


async def wait_in_a_loop(_: object) -> None:
    import asyncio

    await asyncio.sleep(0.02)
