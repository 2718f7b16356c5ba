"""Queues, doorbell, pipe: bounds, order, and the traps of FACTS as tests."""

import _interpqueues
import functools
import gc
import marshal
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, _transport
from interpool._inside import channels, loop
from interpool._task import Stage
from interpool._transport import Transport
from memory import resident_mib
from support import PATIENCE, Gate, arrive_and_pass, identity, pass_through


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@functools.cache  # for each tells when it was made
def item(task: int) -> _transport.Item:
    return _transport.item_of(task, None, ((0, b"", 0, ()), ()))


def make_loop(transport: Transport, number: int = 0, bulk: int = 0) -> loop.Loop:
    board = memoryview(bytearray(8 * channels.BOARD)).cast("q")
    return loop.Loop(board, number, bulk, transport.worker_ends)


def queues() -> set[int]:
    return {entry[0] for entry in _interpqueues.list_all()}


def test_a_closed_pool_leaves_no_queue() -> None:
    before = queues()
    with InterpreterPoolExecutor(2) as pool:
        pool.submit(identity, 1).result()
        assert len(queues() - before) == 4  # three of the pool, one of its worker
    assert queues() == before


def test_what_waits_in_all_queues_of_the_interpreter_is_bounded(transport: Transport) -> None:
    def fill(pool: Transport) -> int:
        put = 0
        while pool.has_room():
            pool.put(item(put))
            put += 1
        return put

    others = [Transport() for _ in range(20)]
    try:
        for _ in range(100):
            transport.put(item(0))
        assert fill(others[0]) == _transport._ROOM - 100
        # Each may always have one: tasks of one pool that never end must not halt the others.
        assert [fill(other) for other in others[1:]] == [1] * 19
        assert fill(transport) == 0
    finally:
        for other in others:
            other.close()


def test_a_worker_waits_while_what_it_has_sent_is_not_taken(transport: Transport) -> None:
    # What main takes is released by pending calls in the worker's interpreter, which has room for
    # 300 of them: a worker that sends on while main reads nothing would leak.
    bulk = channels.create_queue()
    worker = make_loop(transport, 0, bulk)
    large = "x" * channels.APART
    count = 2 * channels.BULK_ROOM + 1

    def send() -> None:
        for task in range(count):
            worker.send(task, channels.VALUE_PLAIN, large)
        worker.send(count, channels.LEFT, None)

    sender = threading.Thread(target=send)
    sender.start()
    subjects: list[int] = []
    while count not in subjects:
        assert _interpqueues.get_count(bulk) <= channels.BULK_ROOM
        for subject, kind, payload in transport.read():
            if kind == channels.FULL:
                transport.make_room(payload)
            else:
                subjects.append(subject)
    sender.join(PATIENCE)
    assert subjects == list(range(count + 1))
    for fd in worker.ebb or ():
        os.close(fd)
    channels.destroy_queue(bulk)


def test_recall_keeps_the_order_and_counts_stops(transport: Transport) -> None:
    for task in range(5):
        transport.put(item(task))
    large = (item(5), b"x" * channels.APART)
    transport.put(large)
    transport.put_stop()
    expected = [(task, item(task)) for task in range(5)]
    assert transport.recall() == ([*expected, (5, large)], 1)
    assert transport.recall() == ([], 0)


def test_taken_is_told_from_the_position(transport: Transport) -> None:
    first, second = transport.put(item(1)), transport.put(item(2))
    assert not transport.is_taken(first)
    channels.take(transport._tasks)
    assert transport.is_taken(first)
    assert not transport.is_taken(second)


def test_frames_are_put_together_again(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever a read cuts in two: here every read brings one byte more than the last one.
    for subject in range(20):
        frame = marshal.dumps((subject, channels.VALUE_PLAIN, "x" * subject))
        channels.write(transport._results_in, channels.with_length(frame))
    frames: list[_transport.Frame] = []
    size = 0
    while len(frames) < 20:
        size += 1
        monkeypatch.setattr(_transport, "_READ_SIZE", size)
        frames += transport.read()
    assert frames == [(subject, channels.VALUE_PLAIN, "x" * subject) for subject in range(20)]


def test_a_notice_brings_its_own_workers_frame(transport: Transport) -> None:
    # One worker has put its frame and not yet written its notice when another one's notice comes:
    # with a common queue that notice would bring the first one's frame, and the second one's would
    # be lost with its interpreter.
    queues = [channels.create_queue() for _ in range(2)]
    first, second = (make_loop(transport, n, bulk) for n, bulk in enumerate(queues))
    large = "x" * channels.APART
    channels.put(queues[0], (1, channels.VALUE_PLAIN, large))
    second.send(2, channels.VALUE_PLAIN, large)
    second.send(2, channels.LEFT, None)
    assert transport.read() == [(2, channels.VALUE_PLAIN, large), (2, channels.LEFT, None)]
    channels.destroy_queue(queues[1])
    first.send(3, channels.EACH, ["marshalled", large])
    assert transport.read() == [(1, channels.VALUE_PLAIN, large)]
    channels.destroy_queue(queues[0])


def test_one_ring_wakes_all_that_are_needed(transport: Transport) -> None:
    # Main rings once; whoever takes a task and leaves one rings for the next.
    loops = [make_loop(transport, n) for n in range(3)]
    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda loop=loop: taken.append(loop.next_message()))
        for loop in loops
    ]
    for thread in threads:
        thread.start()
    for task in range(3):
        transport.put(item(task))
    transport.ring()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(taken) == [item(task) for task in range(3)]  # type: ignore[type-var]


@pytest.mark.parametrize("moment", ["before it sleeps", "before it looks"])
def test_no_ring_is_lost_however_the_two_sides_interleave(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    # A task is put between a worker's look at the queue and its sleep; or between its hearing a
    # ring and its answering it, when main holds the ring for unanswered and rings no more.
    worker = make_loop(transport)
    hear, take_token = channels.hear, channels.take_token

    def put_late(*args: int) -> Any:
        transport.put(item(7))
        transport.ring()
        return (hear if moment == "before it sleeps" else take_token)(*args)

    if moment == "before it looks":
        transport.ring()
        monkeypatch.setattr(channels, "take_token", put_late)
    else:
        monkeypatch.setattr(channels, "hear", put_late)
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(worker.next_message()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert taken == [item(7)]


def test_where_nobody_sleeps_nobody_rings(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.write

    def count(fd: int, data: bytes) -> int:
        written.append(fd)
        return write(fd, data)

    monkeypatch.setattr(os, "write", count)
    for task in range(50):
        transport.put(item(task))
        transport.ring()
    assert len(written) == 1  # it lies in the bell until somebody is about to sleep


def test_a_ring_that_a_worker_took_with_it_is_not_waited_for(transport: Transport) -> None:
    transport.ring()
    os.read(transport.worker_ends[1][0], 1)  # heard, not answered, and the worker is gone
    transport.put(item(1))
    transport.ring_again()
    assert make_loop(transport).next_message() == item(1)
    assert os.read(transport.worker_ends[1][0], 1)


def test_a_worker_that_runs_dry_asks_for_more(gate: Gate, arrivals: Gate) -> None:
    # More workers than room: all that wait for room must come to run without any task's end.
    workers = 6
    full = Transport()
    try:
        for _ in range(_transport._ROOM):  # leaves room for one
            full.put(item(0))
        with InterpreterPoolExecutor(workers) as pool:
            futures = [
                pool.submit(arrive_and_pass, arrivals.entry, gate.exit, n) for n in range(workers)
            ]
            arrivals.wait(workers)
            gate.open(workers)
            assert [future.result() for future in futures] == list(range(workers))
    finally:
        full.close()


def test_nothing_leaks_while_the_sender_sleeps(gate: Gate) -> None:
    # The trap of cp#118302: 200 MB submitted to a busy pool by a thread that then runs no bytecode.
    def length(data: bytes) -> int:
        return len(data)

    def flood() -> float:
        futures = [pool.submit(length, bytes(10_000)) for _ in range(20_000)]
        gate.open(2)
        futures[-1].result()  # sleeps in a lock
        assert sum(future.result() for future in futures) == 200_000_000
        del futures
        gc.collect()
        return resident_mib()

    with InterpreterPoolExecutor(2) as pool:
        sizes = []
        for _ in range(5):
            for _ in range(2):
                pool.submit(pass_through, gate.exit, None)  # both workers are busy meanwhile
            sizes.append(flood())
        # One leak of what overflows the list of pending calls is 200 MB a round.
        assert max(sizes[1:]) - sizes[0] < 30, sizes


def test_results_do_not_leak_while_the_worker_sleeps(gate: Gate) -> None:
    # The same trap the other way: results too large for the pipe, read while their worker sleeps.
    def make(size: int) -> bytes:
        return bytes(size)

    with InterpreterPoolExecutor(1) as pool:
        sizes = []
        for _ in range(5):
            futures = [pool.submit(make, 20_000) for _ in range(5_000)]
            sleeping = pool.submit(pass_through, gate.exit, None)
            assert sum(len(future.result()) for future in futures) == 100_000_000
            del futures
            gc.collect()
            sizes.append(resident_mib())
            gate.open()
            sleeping.result()
        assert max(sizes[1:]) - sizes[0] < 30, sizes


def test_a_pool_that_closes_beside_another_one_does_it_no_harm(transport: Transport) -> None:
    other = Transport()
    transport.put(item(1))
    queues, _ = other.worker_ends
    for queue in queues:
        channels.destroy_queue(queue)  # by another thread, since it was listed
    assert transport.has_room()
    other.disown()


def test_a_withdrawn_task_makes_room_that_is_used(gate: Gate, arrivals: Gate) -> None:
    # What waits in the backlog for room goes when what was queued is withdrawn, though no worker
    # has taken anything that it could speak of.
    full = Transport()
    try:
        with InterpreterPoolExecutor(1) as pool:
            pool.submit(arrive_and_pass, arrivals.entry, gate.exit, None)
            arrivals.wait()
            for _ in range(_transport._ROOM):
                full.put(item(0))
            queued, waiting = pool.submit(identity, 1), pool.submit(identity, 2)
            stages = [waiting._stage]
            assert queued.cancel()
            stages.append(waiting._stage)
            assert stages == [Stage.WAITING, Stage.SENT]
            gate.open()
            assert waiting.result(PATIENCE) == 2
    finally:
        full.close()
