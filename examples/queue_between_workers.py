"""Two workers talk to each other through a queue that both were given as an argument.

What one puts, the other takes; the main interpreter never sees it.

Run it:

    python examples/queue_between_workers.py
"""

from concurrent import interpreters

from interpool import InterpreterPoolExecutor, Queue


def produce(queue: Queue, count: int) -> int:
    """Put the first triangular numbers, then shut the queue down. Return where this ran."""
    number = 0
    for step in range(1, count + 1):
        number += step
        queue.put(number)
    queue.shutdown()
    return interpreters.get_current().id


def consume(queue: Queue) -> tuple[int, list[object]]:
    """Take what comes until the queue is shut down. Return where this ran, and what came."""
    numbers = list(queue)
    return interpreters.get_current().id, numbers


def main() -> None:
    queue = Queue()
    with InterpreterPoolExecutor(max_workers=2) as pool:  # two: a consumer alone would wait forever
        consumer = pool.submit(consume, queue)
        producer = pool.submit(produce, queue, 6)
        there = producer.result()
        here, numbers = consumer.result()
    print(f"produced in interpreter {there}, consumed in interpreter {here}: {numbers}")


if __name__ == "__main__":
    main()
