"""Queues, doorbell, pipe: bounds, order, and the traps of FACTS as tests."""

import _interpqueues
import gc
import marshal
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpool import InterpreterPoolExecutor, _transport
from interpool._inside import channels, loop
from interpool._transport import Transport
from support import PATIENCE, Gate, arrive_and_pass, identity, pass_through


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


def resident_mib() -> float:
    """Memory that this process holds now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


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
        while pool.has_room(put, 1):
            pool.put(put, (b"",))
            put += 1
        return put

    others = [Transport() for _ in range(20)]
    try:
        for _ in range(100):
            transport.put(0, (b"",))
        assert fill(others[0]) == _transport._ROOM - 100
        # Each may always have one: tasks of one pool that never end must not halt the others.
        assert [fill(other) for other in others[1:]] == [1] * 19
        assert fill(transport) == 0
    finally:
        for other in others:
            other.close()


def test_in_flight_is_bounded_and_grows_with_the_workers(transport: Transport) -> None:
    assert transport.has_room(_transport._IN_FLIGHT - 1, 1)
    assert not transport.has_room(_transport._IN_FLIGHT, 1)
    assert transport.has_room(1_000, 1_000)


def test_recall_keeps_the_order_and_counts_stops(transport: Transport) -> None:
    for task in range(5):
        transport.put(task, (bytes([task]),))
    transport.put_stop()
    assert transport.recall() == ([(task, (bytes([task]),)) for task in range(5)], 1)
    assert transport.recall() == ([], 0)


def test_taken_is_told_from_the_position(transport: Transport) -> None:
    first, second = transport.put(1, (b"",)), transport.put(2, (b"",))
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
    first, second = (loop.Loop(n, bulk, *transport.worker_ends) for n, bulk in enumerate(queues))
    large = "x" * channels.APART
    channels.put(queues[0], (1, channels.VALUE_PLAIN, large))
    second.send(2, channels.VALUE_PLAIN, large)
    second.send(2, channels.LEFT, None)
    assert transport.read() == [(2, channels.VALUE_PLAIN, large), (2, channels.LEFT, None)]
    channels.destroy_queue(queues[1])
    first.send(3, channels.EACH, ["marshalled", large])
    assert transport.read() == [(1, channels.VALUE_PLAIN, large)]
    channels.destroy_queue(queues[0])


def test_a_ring_for_each_sleeper_and_none_without(transport: Transport) -> None:
    loops = [loop.Loop(n, 0, *transport.worker_ends) for n in range(2)]
    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda loop=loop: taken.append(loop.next_message()))
        for loop in loops
    ]
    for thread in threads:
        thread.start()
    transport.put(1, (b"a",))
    transport.ring()
    transport.put(2, (b"b",))
    transport.ring()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(taken) == [(1, b"a"), (2, b"b")]  # type: ignore[type-var]


def test_an_announcement_is_taken_back_when_a_task_comes_in_time(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The interleaving: the queue is empty, the worker announces itself, and a task is put before
    # it looks again; once with main not having seen the announcement, once with it having rung.
    worker = loop.Loop(0, 0, *transport.worker_ends)
    put_token = channels.put_token
    for rung in (False, True):

        def announce(queue: int, rung: bool = rung) -> None:
            put_token(queue)
            transport.put(7, (b"in time",))
            if rung:
                transport.ring()

        monkeypatch.setattr(channels, "put_token", announce)
        assert worker.next_message() == (7, b"in time")
        assert not _interpqueues.get_count(transport._sleepers)
    monkeypatch.setattr(channels, "put_token", put_token)
    transport.put(8, (b"next",))
    transport.ring()
    assert worker.next_message() == (8, b"next")


def test_a_ring_that_another_worker_hears_is_not_waited_for(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that has announced itself finds a task after all; main has rung for it meanwhile, and
    # another worker, about to sleep, hears that.
    worker = loop.Loop(0, 0, *transport.worker_ends)
    put_token = channels.put_token

    def announce(queue: int) -> None:
        put_token(queue)
        transport.put(7, (b"in time",))
        transport.ring()
        os.read(worker.bell, 1)

    monkeypatch.setattr(channels, "put_token", announce)
    taken: list[object] = []
    thread = threading.Thread(target=lambda: taken.append(worker.next_message()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert taken == [(7, b"in time")]


def test_a_worker_that_runs_dry_asks_for_more(gate: Gate, arrivals: Gate) -> None:
    # More workers than room: all that wait for room must come to run without any task's end.
    workers = 6
    full = Transport()
    try:
        for _ in range(_transport._ROOM):  # leaves room for one
            full.put(0, (b"",))
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
