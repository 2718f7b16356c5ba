"""A cluster of processes on the loopback: what it runs, what it survives, and how it ends."""

import _interpreters
import asyncio
import concurrent.futures
import contextlib
import operator
import os
import re
import signal
import socket
import subprocess
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.interpreters import ExecutionFailed
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any

import pytest

import interpool
from interpool import Queue, Retry, TaskInterrupted, TaskTimeout, TransferError, _lifetime
from interpool._terms import PLAIN
from support import PATIENCE, run_program

distributed = pytest.importorskip("distributed")

from cluster_tasks import (  # noqa: E402 - not without what takes them
    Point,
    TwoPartError,
    crash,
    jobs,
    place,
    signal_and_spin,
    signal_and_wait,
    third_time,
    work,
)
from cluster_world import Nursery, World, world  # noqa: E402 - not without what it starts
from interpool._cli import app  # noqa: E402 - nor this
from interpool.cluster import (  # noqa: E402 - nor this
    ClusterError,
    ClusterExecutor,
    WorkersDied,
    _orders,
    _site,
)
from interpool.cluster._engine import ClusterEngine  # noqa: E402 - nor this
from interpool.cluster._link import Link  # noqa: E402


def wait_for_workers(executor: ClusterExecutor, number: int) -> None:
    """Wait until Dask has so many workers, and the executor knows of them."""
    link: Link = executor._engine.link

    async def wait() -> None:
        client: Any = link._client
        await client.wait_for_workers(number, timeout=PATIENCE)
        await link._count()

    asyncio.run_coroutine_threadsafe(wait(), link._loop).result(PATIENCE)


def on_workers(executor: ClusterExecutor, ask: Callable[[], list[str]]) -> list[str]:
    """Call something in the process of every Dask worker; return all that they say."""
    link: Link = executor._engine.link

    async def gather() -> list[str]:
        client: Any = link._client
        answers = await client.run(ask)
        return [it for answer in answers.values() for it in answer]

    return asyncio.run_coroutine_threadsafe(gather(), link._loop).result(PATIENCE)


@pytest.fixture
def executor(cluster: World) -> Iterator[ClusterExecutor]:
    with ClusterExecutor(cluster.address) as made:
        wait_for_workers(made, 2)
        yield made


class Pipes:
    """Two named pipes: tasks say by one that they have begun, and wait at the other."""

    def __init__(self, folder: Path) -> None:
        self.entry, self.exit = str(folder / "entry"), str(folder / "exit")
        os.mkfifo(self.entry)
        os.mkfifo(self.exit)

    def wait(self) -> None:
        with open(self.entry) as told:  # noqa: PTH123 - it waits for who writes
            assert told.read()

    def open(self) -> None:
        with open(self.exit, "w"):  # noqa: PTH123 - it waits for who reads
            pass


@pytest.fixture
def pipes(tmp_path: Path) -> Pipes:
    return Pipes(tmp_path)


# --- What it runs --------------------------------------------------------------------------------


def test_a_task_runs_in_an_interpreter_of_another_process(executor: ClusterExecutor) -> None:
    pid, interpreter = executor.submit(place).result(PATIENCE)
    assert pid != os.getpid()
    assert interpreter != _interpreters.get_main()[0]


def test_closures_and_own_classes_travel(executor: ClusterExecutor) -> None:
    factor = 7

    class Local(Point):
        pass

    found = executor.submit(lambda it: Local(it.x * factor), Local(3)).result(PATIENCE)
    assert type(found) is Local
    assert found.x == 21


def test_keyword_arguments_and_large_ones_travel(executor: ClusterExecutor) -> None:
    data = bytes(200_000)

    def measure(a: bytes, *, b: memoryview) -> tuple[int, bytes]:
        return len(a), bytes(b)

    found = executor.submit(measure, data, b=memoryview(data)).result(PATIENCE)
    assert found == (200_000, data)


def test_an_exception_comes_back_as_itself(executor: ClusterExecutor) -> None:
    def fail() -> None:
        raise TwoPartError(1, 2)

    error = executor.submit(fail).exception(PATIENCE)
    assert type(error) is TwoPartError
    assert error.parts == (1, 2)
    assert isinstance(error.__cause__, ExecutionFailed)
    assert "raise TwoPartError(1, 2)" in str(error.__cause__)


def test_what_cannot_be_sent_is_named(executor: ClusterExecutor) -> None:
    with Path(__file__).open() as file:
        error = executor.submit(len, [file]).exception(PATIENCE)
    assert isinstance(error, TransferError)
    assert error.path == "argument 1[0] of len"
    with pytest.raises(TransferError):
        list(executor.map(len, [[1], [(n for n in [1])]]))


def test_what_only_one_machine_shares_is_refused(executor: ClusterExecutor) -> None:
    error = executor.submit(operator.truth, Queue()).exception(PATIENCE)
    assert isinstance(error, TransferError)
    assert "of this machine" in str(error)
    with pytest.raises(TransferError):
        list(executor.map(operator.truth, [Queue()]))


def test_a_result_that_cannot_be_sent_is_named(executor: ClusterExecutor) -> None:
    error = executor.submit(lambda: {"lock": __import__("threading").Lock()}).exception(PATIENCE)
    assert isinstance(error, TransferError)
    assert error.stage == "result"


def test_a_task_that_interpreters_refuse_runs_in_a_process(executor: ClusterExecutor) -> None:
    def resident() -> int:
        import psutil

        return int(psutil.Process().memory_info().rss)

    assert executor.submit(resident).result(PATIENCE) > 0
    assert all(it > 0 for it in executor.map(lambda _: resident(), range(3)))


# --- map -----------------------------------------------------------------------------------------


def test_map_gives_results_in_order_and_map_unordered_all(executor: ClusterExecutor) -> None:
    assert list(executor.map(pow, range(20_000), [2] * 20_000)) == [n * n for n in range(20_000)]
    found = executor.map_unordered(str, range(500), chunksize=7)
    assert sorted(map(int, found)) == list(range(500))


def test_items_travel_together_and_chunksize_is_obeyed(executor: ClusterExecutor) -> None:
    engine = executor._engine
    before = engine.new_number()
    assert sum(executor.map(abs, range(10_000))) == sum(range(10_000))
    middle = engine.new_number()
    assert middle - before < 200
    assert sum(executor.map(abs, range(100), chunksize=10)) == sum(range(100))
    assert engine.new_number() - middle == 1 + 10


def test_buffersize_bounds_what_is_taken(executor: ClusterExecutor) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for n in count():
            taken += 1
            yield n

    results = executor.map(abs, source(), buffersize=50)
    assert list(islice(results, 100)) == list(range(100))
    assert taken <= 151
    results.close()  # type: ignore[attr-defined]  # it is a generator


def test_an_exception_ends_a_map_in_its_turn(executor: ClusterExecutor) -> None:
    results = executor.map(lambda n: 10 // (5 - n), range(10), chunksize=2)
    assert list(islice(results, 5)) == [2, 2, 3, 5, 10]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_map_times_out(executor: ClusterExecutor, pipes: Pipes) -> None:
    results = executor.map(signal_and_wait, [pipes.entry], [pipes.exit], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    pipes.wait()
    pipes.open()


def test_a_map_shows_how_far_it_is(executor: ClusterExecutor) -> None:
    told: list[tuple[int, int | None]] = []
    assert list(executor.map(abs, range(5), progress=lambda *it: told.append(it))) == [*range(5)]
    assert told[-1] == (5, 5)


def test_a_lane_is_one_of_the_workers(executor: ClusterExecutor) -> None:
    in_process = executor.options(lane="process").submit(place).result(PATIENCE)
    assert in_process[0] != executor.submit(place).result(PATIENCE)[0]
    with pytest.raises(ValueError, match="a cluster's are elsewhere"):
        executor.options(lane="thread")


# --- Stopping, limits, retries -------------------------------------------------------------------


def test_a_running_task_is_interrupted(executor: ClusterExecutor, pipes: Pipes) -> None:
    future = executor.submit(signal_and_spin, pipes.entry)
    pipes.wait()
    assert future.running()
    assert not future.cancel()
    assert future.interrupt()
    error = future.exception(PATIENCE)
    assert isinstance(error, TaskInterrupted)
    assert "in signal_and_spin" in error.stack


def test_a_task_that_waits_is_cancelled(executor: ClusterExecutor, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    busy = [Pipes(tmp_path / name) for name in "ab"]
    running = [executor.submit(signal_and_wait, it.entry, it.exit) for it in busy]
    for it in busy:
        it.wait()
    waiting = [executor.submit(abs, n) for n in range(60)]  # in the cluster, and more than it takes
    assert waiting[0].cancel()
    assert waiting[-1].cancel()
    assert waiting[1].interrupt()
    for it in busy:
        it.open()
    assert [it.result(PATIENCE) for it in waiting[2:-1]] == list(range(2, 59))
    assert isinstance(waiting[1].exception(PATIENCE), TaskInterrupted)
    assert waiting[0].cancelled()
    assert waiting[-1].cancelled()
    assert [it.result(PATIENCE) for it in running] == [None, None]


def test_what_runs_of_a_map_that_was_left_is_the_executors_until_it_ends(
    executor: ClusterExecutor, cluster: World, pipes: Pipes, tmp_path: Path
) -> None:
    first = str(tmp_path / "first")
    items = [1, 0, *range(2, 60)]
    results: Any = executor.map(work, items, repeat(pipes.entry), repeat(first), chunksize=1)
    assert next(results) == 1
    pipes.wait()  # the second runs, and never ends
    results.close()
    running = on_workers(executor, jobs)
    executor.terminate_workers()
    executor.shutdown()
    assert running
    with ClusterExecutor(cluster.address) as other:
        assert on_workers(other, jobs) == []


def test_a_task_that_takes_too_long_is_stopped(executor: ClusterExecutor) -> None:
    def spin() -> None:
        while True:
            pass

    error = executor.options(timeout=0.05).submit(spin).exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    assert error.limit == 0.05


def test_a_task_that_fails_is_tried_again(executor: ClusterExecutor, tmp_path: Path) -> None:
    view = executor.options(retries=Retry(2, OSError, delay=0.01))
    assert view.submit(third_time, str(tmp_path / "runs")).result(PATIENCE) == 3
    assert list(view.map(third_time, [str(tmp_path / "others")])) == [3]
    error = executor.options(retries=Retry(1, delay=0)).submit(operator.truediv, 1, 0).exception()
    assert isinstance(error, ZeroDivisionError)
    assert "Run 1 failed" in error.__notes__[0]


# --- Its life ------------------------------------------------------------------------------------


def test_shutdown_waits_and_then_refuses(cluster: World) -> None:
    executor = ClusterExecutor(cluster.address)
    future = executor.submit(abs, -1)
    executor.shutdown()
    assert future.result(0) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    executor.shutdown()


def test_shutdown_cancels_what_was_not_sent(cluster: World, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    busy = [Pipes(tmp_path / name) for name in "ab"]
    executor = ClusterExecutor(cluster.address)
    wait_for_workers(executor, 2)
    running = [executor.submit(signal_and_wait, it.entry, it.exit) for it in busy]
    for it in busy:
        it.wait()
    waiting = [executor.submit(abs, n) for n in range(100)]
    executor.shutdown(wait=False, cancel_futures=True)
    for it in busy:
        it.open()
    executor.shutdown()
    assert [it.result(0) for it in running] == [None, None]
    assert waiting[0].result(0) == 0
    assert waiting[-1].cancelled()
    assert all(it.done() for it in waiting)


def test_callbacks_may_wait_for_others(executor: ClusterExecutor) -> None:
    heard: concurrent.futures.Future[int] = concurrent.futures.Future()

    def chain(future: concurrent.futures.Future[int]) -> None:
        heard.set_result(executor.submit(abs, -future.result()).result(PATIENCE))

    executor.submit(abs, -5).add_done_callback(chain)
    assert heard.result(PATIENCE) == 5


def test_an_existing_client_will_do_and_programs_do_not_mix_up_their_functions(
    cluster: World,
) -> None:
    # Keys of definitions are numbers that each program gives from 1. A client's own threads stay
    # behind in whoever makes one: that is another program here.
    program = (
        "import sys\nfrom contextlib import nullcontext\nfrom distributed import Client\n"
        "from interpool.cluster import ClusterExecutor\n"
        "with {}(sys.argv[1]) as client:\n"
        "    with ClusterExecutor(client) as it:\n"
        "        print(*it.map({}, range(3)))\n"
        "    print(getattr(client, 'status', ''))\n"
    )
    variants = ("nullcontext", "lambda n: n + 1"), ("Client", "lambda n: n * 100")
    said = [run_program(program.format(*it), cluster.address) for it in variants]
    assert [it.stderr for it in said] == ["", ""]
    assert [it.stdout for it in said] == ["1 2 3\n\n", "0 100 200\nrunning\n"]


def test_a_local_cluster_comes_and_goes_with_the_executor(tmp_path: Path) -> None:
    # A script that has no guard, and a module beside it.
    (tmp_path / "beside.py").write_text("def double(n):\n    return 2 * n\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from beside import double\n"
        "from interpool.cluster import ClusterExecutor\n"
        "class Own:\n    pass\n"
        "print('once', flush=True)\n"
        "it = ClusterExecutor()\n"
        "print(*it.map(double, range(4)), type(it.submit(lambda: Own()).result()) is Own)\n"
        "it.submit(print, 'said', file=None).result()\n"
        "it.submit(lambda: print('told', file=sys.stderr)).result()\n"
        "it.submit(double, 1)  # and the program ends\n"
    )
    done = run_program(script)
    assert (sorted(done.stdout.splitlines()), done.returncode) == (
        ["0 2 4 6 True", "once", "said"],
        0,
    )
    assert done.stderr == "told\n"


def test_what_is_no_scheduler_is_said() -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        for address, said in (
            ("tcp://127.0.0.1:1", r"at tcp://127\.0\.0\.1:1: Timed out"),
            ("nowhere", "at nowhere: missing port"),
            ("http://127.0.0.1:1", "unknown address scheme"),
            ("tls://127.0.0.1:1", "TLS configuration"),
        ):
            with pytest.raises(ClusterError, match=said):
                ClusterExecutor(address)
    with pytest.raises(TypeError, match="not 5"):
        ClusterExecutor(5)  # type: ignore[arg-type]  # that is what is tested


def test_ctrl_c_and_the_exit_of_the_program_end_connecting() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def strike() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    def exit_() -> None:
        engines: set[Any] = {*_lifetime._engines}
        (engine,) = (it for it in engines if isinstance(it, ClusterEngine))
        engine.close(refusal=_lifetime.AFTER_EXIT)
        engine.join()

    for act, error in ((strike, KeyboardInterrupt), (exit_, ClusterError)):
        ended = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            answering = threading.Thread(target=_answer_nothing, args=(listening, act, ended))
            answering.start()
            with pytest.raises(error):
                ClusterExecutor(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
            ended.set()
            answering.join()


def _answer_nothing(
    listening: socket.socket, act: Callable[[], None], ended: threading.Event
) -> None:
    connection, _ = listening.accept()
    with connection:
        act()
        ended.wait(PATIENCE)


def test_a_part_with_another_version_is_named(
    cluster: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interpool.cluster import _wire

    monkeypatch.setattr(_wire, "TAG", "Python 3.99, interpool 9")
    with pytest.raises(ClusterError, match="The Dask scheduler has Python 3") as caught:
        ClusterExecutor(cluster.address)
    assert interpool.__version__ in str(caught.value)


def test_a_worker_that_comes_later_with_another_version_is_named(
    executor: ClusterExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interpool.cluster import _wire

    monkeypatch.setattr(_wire, "TAG", "Python 3.99, interpool 9")
    error = executor.submit(abs, 1).exception(PATIENCE)
    assert isinstance(error, ClusterError)
    assert re.match(r"The Dask worker tcp://127\.0\.0\.1:\d+ has Python 3\.", str(error))
    monkeypatch.undo()
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_part_without_interpool_is_named(cluster: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from interpool.cluster import _connect

    monkeypatch.setattr(_connect, "_PROBE", _connect._PROBE.replace("'interpool'", "'interpol'"))
    with pytest.raises(ClusterError, match=r"scheduler has no interpool.*pip install"):
        ClusterExecutor(cluster.address)


def test_without_distributed_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['distributed'] = None\n"
        "import interpool\n"
        "try:\n    interpool.cluster.ClusterExecutor()\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = run_program(program)
    assert "pip install 'interpool[cluster]'" in done.stdout
    assert done.stderr == ""


# --- What it survives ----------------------------------------------------------------------------


def test_a_worker_that_is_killed_loses_no_task(tmp_path: Path, nursery: Nursery) -> None:
    (tmp_path / "pipes").mkdir()
    pipes = Pipes(tmp_path / "pipes")
    with world(nursery) as made, ClusterExecutor(made.address) as executor:
        wait_for_workers(executor, 2)

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            first = str(tmp_path / "first")
            futures = [executor.submit(work, n, pipes.entry, first) for n in range(100)]
            results = executor.map(lambda n: work(n + 1, "", ""), range(2_000))
            with open(pipes.entry) as told:  # noqa: PTH123 - it waits for who writes
                victim = int(told.read())
            os.kill(victim, signal.SIGKILL)
            assert [it.result(PATIENCE) for it in futures] == list(range(100))
            assert list(results) == list(range(1, 2_001))
        (warning,) = [it for it in said if "is gone" in str(it.message)]
        assert "The Dask worker tcp://127.0.0.1:" in str(warning.message)
        assert "work" in str(warning.message)


def test_a_task_that_kills_its_workers_is_named(nursery: Nursery) -> None:
    with World(nursery) as made, ClusterExecutor(made.address) as executor:
        for _ in range(4):  # as many as Dask allows, and one more
            made.add_worker()
        wait_for_workers(executor, 4)

        with pytest.warns(RuntimeWarning, match="is gone"):
            error = executor.submit(crash).exception(PATIENCE)
        assert isinstance(error, WorkersDied)
        assert error.function.endswith("crash")
        assert len(error.workers) == 4
        assert error.workers[0] in str(error)


def test_a_task_that_is_to_stop_ends_whatever_its_worker_does(
    nursery: Nursery, pipes: Pipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(nursery, 0) as made, ClusterExecutor(made.address) as executor:
        # There is none. That it is asked for, no worker that comes later can know.
        interrupted, cancelled, waiting = (executor.submit(place) for _ in range(3))
        assert interrupted.interrupt()
        error = interrupted.exception(PATIENCE)
        assert isinstance(error, TaskInterrupted)
        assert str(error) == "place was interrupted before it began"
        assert cancelled.cancel()
        worker = made.add_worker()
        assert waiting.result(PATIENCE)[0] == worker.pid

        # It hangs: nobody knows what it has begun.
        os.kill(worker.pid, signal.SIGSTOP)
        monkeypatch.setattr(_orders, "PATIENCE", 0.1)
        kept, lost = executor.submit(abs, -1), executor.submit(abs, -2)
        assert not kept.cancel()
        assert lost.interrupt(grace=0)
        error = lost.exception(PATIENCE)
        assert isinstance(error, TaskInterrupted)
        assert "in a Dask worker that does not answer" in str(error)
        monkeypatch.undo()
        os.kill(worker.pid, signal.SIGCONT)
        assert kept.result(PATIENCE) == 1

        # It dies before it has heard of it: the task is not done again.
        future = executor.submit(signal_and_spin, pipes.entry)
        pipes.wait()
        os.kill(worker.pid, signal.SIGSTOP)
        assert future.interrupt()
        os.kill(worker.pid, signal.SIGKILL)
        assert isinstance(future.exception(PATIENCE), TaskInterrupted)

        # Nor does an end of it all wait for workers.
        left = executor.submit(abs, -1)
        executor.terminate_workers()
        executor.shutdown()
        assert isinstance(left.exception(0), TaskInterrupted)


def test_what_is_sent_while_the_loop_sends_is_sent(executor: ClusterExecutor) -> None:
    link: Link = executor._engine.link
    sent = threading.Event()

    class Outbox(deque[Any]):
        """The second is added when the loop has just sent the first, and looks no more."""

        def append(self, it: Any) -> None:
            if len(self) == 1:
                let_go.set()
                link._loop.call_soon_threadsafe(sent.set)
                assert sent.wait(PATIENCE)
            super().append(it)

    let_go = threading.Event()
    link._loop.call_soon_threadsafe(let_go.wait)
    link._outbox = Outbox()
    futures = [executor.submit(abs, -n) for n in range(3)]
    assert [it.result(PATIENCE) for it in futures] == [0, 1, 2]


def test_withdrawals_and_what_takes_them_back_come_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_site._Here, "site", _site.Site(1))
    assert _site.withdraw(["job"], 1) == [True]
    with pytest.raises(distributed.Reschedule):
        asyncio.run(_site._site().run("job", "abs", PLAIN, (((), ()), ())))
    _site.admit(["job"], 1)
    assert _site._site().withdrawn.get("job") is None
    _site.admit(["job"], 3)
    assert _site.withdraw(["job"], 2) == [True]  # it is late
    assert _site._site().withdrawn.get("job") is None
    assert _site.withdraw(["job"], 4) == [True]
    assert _site._site().withdrawn.get("job") == 4
    _site.admit(["job"], 3)
    assert _site._site().withdrawn.get("job") == 4


def test_all_ends_when_the_scheduler_goes(tmp_path: Path, nursery: Nursery) -> None:
    pipes = Pipes(tmp_path)
    with world(nursery, 1) as made:
        executor = ClusterExecutor(made.address)
        wait_for_workers(executor, 1)
        running = executor.submit(signal_and_wait, pipes.entry, pipes.exit)
        pipes.wait()
        waiting = [executor.submit(abs, n) for n in range(100)]
        results = executor.map(abs, range(100))
        idle = ClusterExecutor(made.address)
        made.scheduler.kill()
        futures: list[Any] = [running, *waiting]
        for future in futures:
            error = future.exception(PATIENCE)
            assert isinstance(error, ClusterError)
            assert "scheduler is gone" in str(error)
        with pytest.raises(ClusterError):
            next(results)
        idle._engine.done.wait(PATIENCE)
        for it in (executor, idle):
            with pytest.raises(ClusterError):
                it.submit(abs, 1)
            it.shutdown()


# --- TLS -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Take back what the command line does to SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_a_cluster_with_tls(
    tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", key),
            *("-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    files = "--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key
    security = distributed.Security(
        tls_ca_file=certificate,
        tls_client_cert=certificate,
        tls_client_key=key,
        require_encryption=True,
    )
    with World(nursery, *files, protocol="tls") as made:
        made.add_worker()
        with ClusterExecutor(made.address, security=security) as executor:
            wait_for_workers(executor, 1)
            assert list(executor.map(abs, range(-3, 0))) == [3, 2, 1]
        monkeypatch.chdir(tmp_path)
        Path("in").write_text("4\n9\n")
        options = "--input", "json", "--output", "out", "--cluster", made.address
        with _signals():
            assert app.run(["map", "math:sqrt", "in", *options, *files]) == 0
        assert Path("out").read_text() == "2.0\n3.0\n"
