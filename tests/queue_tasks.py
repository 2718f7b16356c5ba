"""Tasks that talk by queues, in a module that loads in an interpreter."""

from interpool import Queue


def echo(requests: Queue, answers: Queue) -> None:
    for item in requests:
        answers.put(item)
    answers.shutdown()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def produce_until_struck(it: Queue, reports: Queue, first: int) -> None:
    sent = first
    try:
        while True:
            it.put(sent)
            sent += 1
    finally:
        reports.put(("sent", first, sent))


def consume_until_struck(it: Queue, reports: Queue, most: int) -> None:
    found: list[int] = []
    try:
        while True:
            if most > 1:
                found += it.get_many(most)
            else:
                found.append(it.get())
    finally:
        reports.put(("found", found, None))
