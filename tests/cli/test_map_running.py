"""Batches of `interpool map`, in whatever order they come back."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from interpool._mapping.inside import Outcome, Work
from interpool._mapping.journal import State
from interpool._mapping.places import Place
from interpool._mapping.reading import Block
from interpool._mapping.running import Run

RECORDS = 4


class Pool:
    """A pool that hands back of the first batch all but one record, and leaves all others open."""

    def __init__(self) -> None:
        self.open: list[tuple[Future[Outcome], bytes]] = []
        self.is_begun = False

    def submit(self, _work: Work, payload: bytes) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        if self.is_begun:
            self.open.append((future, payload))
        else:
            self.is_begun = True
            first, rest = payload[:2], payload[2:]
            future.set_result(Outcome(1, first, [], 1, rest, is_stopped=False))
        return future

    def answer_from_behind(self) -> None:
        while self.open:
            future, payload = self.open.pop()
            future.set_result(Outcome(1, payload, [], 1, None, is_stopped=False))


def test_parts_of_a_batch_may_come_back_from_behind() -> None:
    work = Work(
        str,
        name="str",
        kind="lines",
        read=None,
        encoding="utf-8",
        result_encoding="utf-8",
        form="text",
        stops=False,
        raises=False,
        reroutes=False,
        budget=0.1,
    )
    block = Block("-", 0, b"0\n1\n2\n3\n", RECORDS, 8)

    def blocks() -> Iterator[Block]:
        yield block

    pool = Pool()
    calls: Any = pool
    run = Run(
        Place(calls, lambda: 2, batch=0.01, budget=0.1, stop=lambda: None),
        work,
        chunksize=None,
        is_ordered=False,
        state=State(),
    )
    run._size = RECORDS  # as measured before
    outcomes = []
    for _, position, outcome in run.outcomes(blocks()):
        outcomes.append((position, outcome.output))
        pool.answer_from_behind()
    assert sorted(outcomes) == [(n, b"%d\n" % n) for n in range(RECORDS)]
