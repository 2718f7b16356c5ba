"""The backend `"interpool"` of joblib: what joblib's own tests ask of one, and what is ours."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import itertools
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import interpool
from interpool import (
    FallbackWarning,
    IncompatibleExtensionError,
    InterpreterPoolExecutor,
    TransferError,
    _routing,
)
from joblib_tasks import nested, nested_twice, spin
from shapes import fail_at_seven, in_every_way
from support import Gate, add, divide, identity, interpreter, pass_through, run_program

joblib = pytest.importorskip("joblib")
delayed, Parallel, parallel_config = joblib.delayed, joblib.Parallel, joblib.parallel_config

backends = interpool.joblib  # asked for as an attribute: what imports it


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Have joblib know the backend, and no test what another has learnt of extensions."""
    backends.register()
    yield
    _routing.forget()


@pytest.fixture
def workers() -> Iterator[Any]:
    """Two workers, for all calls of a test."""
    with parallel_config(backend="interpool", n_jobs=2) as config:
        backend = config["backend"]
        yield backend
    if backend._pool is not None:  # pytest holds the backend for longer than the test takes
        backend._pool.shutdown()


# --- What comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("return_as", ["list", "generator"])
@pytest.mark.parametrize("pre_dispatch", ["all", "2 * n_jobs", 1])
@pytest.mark.parametrize("batch_size", ["auto", 1, 7])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_results_are_in_order(
    workers: object, count: int, batch_size: int | str, pre_dispatch: int | str, return_as: str
) -> None:
    parallel = Parallel(batch_size=batch_size, pre_dispatch=pre_dispatch, return_as=return_as)
    assert list(parallel(delayed(add)(n, b=1) for n in range(count))) == [*range(1, count + 1)]


def test_unordered_results_are_all_there(workers: object) -> None:
    parallel = Parallel(return_as="generator_unordered")
    assert sorted(parallel(delayed(identity)(n) for n in range(100))) == [*range(100)]


def test_calls_of_one_batch_may_differ(workers: object) -> None:
    offset = 10
    calls = [
        delayed(add)(1, 2),
        delayed(add)(1, b=3),
        delayed(lambda n: n + offset)(5),
        delayed(in_every_way)([1], key="k"),
        delayed("a{}".format)("b"),
    ]
    found = Parallel(batch_size=5)(calls)
    assert found == [3, 4, 15, ([1], {"key": ["k"]}), "ab"]


def test_calls_are_in_other_interpreters(workers: object) -> None:
    found = Parallel(batch_size=1)(delayed(interpreter)() for _ in range(10))
    assert 0 not in found


def test_the_first_result_can_be_taken_while_others_are_made(workers: object, gate: Gate) -> None:
    first = os.open(os.devnull, os.O_RDONLY)
    try:
        parallel = Parallel(batch_size=1, return_as="generator")
        results = parallel(delayed(pass_through)(fd, fd) for fd in (first, gate.exit))
        assert next(results) == first
        gate.open()
        assert list(results) == [gate.exit]
    finally:
        os.close(first)


def test_unordered_the_fastest_is_first(workers: object, gate: Gate) -> None:
    first = os.open(os.devnull, os.O_RDONLY)
    try:
        parallel = Parallel(batch_size=1, return_as="generator_unordered")
        results = parallel(delayed(pass_through)(fd, fd) for fd in (gate.exit, first))
        assert next(results) == first
        gate.open()
        assert list(results) == [gate.exit]
    finally:
        os.close(first)


def test_items_are_taken_as_there_is_room(workers: object, gate: Gate) -> None:
    taken = itertools.count()
    calls = (delayed(pass_through)(gate.exit, next(taken)) for _ in range(50))
    results = Parallel(batch_size=1, pre_dispatch=2, return_as="generator")(calls)
    assert next(taken) == 2  # the two that were dispatched, and this one
    gate.open(50)
    assert list(results) == [0, 1, *range(3, 51)]


# --- What fails ----------------------------------------------------------------------------------


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 4])
def test_an_exception_in_the_middle_comes_as_itself(
    workers: object, batch_size: int | str, return_as: str
) -> None:
    parallel = Parallel(batch_size=batch_size, return_as=return_as)
    with pytest.raises(ValueError, match=r"^seven$") as caught:
        list(parallel(delayed(fail_at_seven)(n) for n in range(50)))
    assert "fail_at_seven" in str(caught.value.__cause__)  # where it was, in the worker
    # Nothing of that call is taken for a result of the next one.
    assert sorted(parallel(delayed(identity)(n) for n in range(5))) == [*range(5)]


def test_an_error_ends_what_would_have_no_end(workers: object) -> None:
    with pytest.raises(ZeroDivisionError):
        Parallel(batch_size=1)(delayed(divide)(1, n - 9) for n in itertools.count())


@pytest.mark.parametrize("at", [0, 1, 30])
def test_an_iterator_that_fails_fails_the_call(workers: object, at: int) -> None:
    def calls() -> Iterator[object]:
        for n in range(at):
            yield delayed(identity)(n)
        message = "of the iterator"
        raise LookupError(message)

    with pytest.raises(LookupError, match="of the iterator"):
        Parallel()(calls())
    assert Parallel()(delayed(identity)(n) for n in range(3)) == [0, 1, 2]


@pytest.mark.parametrize("at", [0, 30])
def test_what_cannot_be_sent_is_named(workers: object, at: int) -> None:
    items: list[object] = [*range(at), threading.Lock()]
    with pytest.raises(TransferError, match="argument 1 of identity"):
        Parallel(batch_size=1)(delayed(identity)(item) for item in items)
    assert Parallel()(delayed(identity)(n) for n in range(3)) == [0, 1, 2]


def test_what_cannot_be_sent_back_is_named(workers: object) -> None:
    with pytest.raises(TransferError, match="result"):
        Parallel()([delayed(iter)([1]), delayed(threading.Lock)()])


def test_a_pool_that_is_shut_down_keeps_nobody_waiting() -> None:
    pool = InterpreterPoolExecutor(2)
    pool.shutdown()
    with (
        parallel_config(backend="interpool", pool=pool),
        pytest.raises(RuntimeError, match="after shutdown"),
    ):
        Parallel()(delayed(identity)(n) for n in range(50))


def test_a_timeout_stops_what_takes_too_long(workers: Any, arrivals: Gate) -> None:
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.1)(delayed(spin)(arrivals.entry) for _ in range(2))
    assert Parallel()(delayed(identity)(n) for n in range(3)) == [0, 1, 2]


def test_ctrl_c_stops_what_runs(workers: object, arrivals: Gate) -> None:
    def interrupt() -> None:
        arrivals.wait(2)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        Parallel()(delayed(spin)(arrivals.entry) for _ in range(5))
    interrupter.join()
    assert Parallel()(delayed(identity)(n) for n in range(3)) == [0, 1, 2]


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_a_generator_that_is_dropped_stops_what_runs(
    workers: object, arrivals: Gate, return_as: str
) -> None:
    parallel = Parallel(return_as=return_as)
    results = parallel(delayed(spin)(arrivals.entry) for _ in range(5))
    arrivals.wait(2)
    with pytest.warns(UserWarning, match="have been cancelled"):
        del results
    assert sorted(parallel(delayed(identity)(n) for n in range(3))) == [0, 1, 2]


def test_a_generator_that_is_dropped_leaves_others_alone(
    workers: object, arrivals: Gate, gate: Gate
) -> None:
    others = Parallel(batch_size=1, return_as="generator")(
        delayed(pass_through)(gate.exit, n) for n in range(2)
    )
    dropped = Parallel(return_as="generator")(delayed(spin)(arrivals.entry) for _ in range(2))
    with pytest.warns(UserWarning, match="have been cancelled"):
        del dropped
    gate.open(2)
    assert list(others) == [0, 1]


# --- How many ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"), [(None, 6), (-1, 6), (-2, 5), (-6, 1), (-99, 1), (1, 1), (3, 3), (20, 20)]
)
def test_how_many_workers_that_makes(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, found: int
) -> None:
    monkeypatch.setattr(backends, "available_cores", lambda: 6)  # of the control group, too
    assert backends.InterpoolBackend().effective_n_jobs(asked) == found
    with parallel_config(backend="interpool", n_jobs=asked):
        assert joblib.effective_n_jobs(asked) == found


def test_no_workers_make_no_sense() -> None:
    with (
        parallel_config(backend="interpool", n_jobs=0),
        pytest.raises(ValueError, match="n_jobs == 0"),
    ):
        Parallel()([delayed(abs)(1)])


def test_one_job_is_done_here() -> None:
    assert Parallel(n_jobs=1, backend="interpool")([delayed(interpreter)()]) == [0]


def test_a_backend_that_is_chosen_takes_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "available_cores", lambda: 2)
    with parallel_config(backend="interpool"):
        assert 0 not in Parallel()(delayed(interpreter)() for _ in range(4))


# --- How long workers stay -----------------------------------------------------------------------


def test_workers_stay_from_call_to_call(workers: Any) -> None:
    Parallel()(delayed(identity)(n) for n in range(4))
    pool = workers._pool
    assert pool is not None
    Parallel()(delayed(identity)(n) for n in range(4))
    assert workers._pool is pool
    Parallel(n_jobs=3)(delayed(identity)(n) for n in range(4))
    assert workers._pool is not pool


def test_workers_stay_while_a_parallel_is_entered() -> None:
    with Parallel(n_jobs=2, backend="interpool") as parallel:
        parallel(delayed(identity)(n) for n in range(4))
        pool = parallel._backend._pool
        with pytest.raises(ZeroDivisionError):
            parallel([delayed(divide)(1, 0)])
        parallel(delayed(identity)(n) for n in range(4))
        assert parallel._backend._pool is pool
    assert parallel._backend._pool is None


def test_workers_end_with_a_call_by_itself() -> None:
    parallel = Parallel(n_jobs=2, backend="interpool")
    assert parallel(delayed(identity)(n) for n in range(4)) == [0, 1, 2, 3]
    assert parallel._backend._pool is None
    assert parallel(delayed(identity)(n) for n in range(4)) == [0, 1, 2, 3]


def test_a_pool_of_ones_own_stays() -> None:
    with InterpreterPoolExecutor(2) as pool:
        for _ in range(2):
            with parallel_config(backend="interpool", pool=pool):
                assert joblib.effective_n_jobs(-1) == 2
                Parallel()(delayed(identity)(n) for n in range(4))
        assert pool.submit(abs, -1).result() == 1
        assert pool.statistics().tasks.done > 1


def test_options_are_the_pools() -> None:
    with (
        parallel_config(backend="interpool", n_jobs=2, fallback="error"),
        pytest.raises(IncompatibleExtensionError, match="faulthandler"),
    ):
        Parallel()(delayed(nested)(3) for _ in range(2))
    with pytest.raises(TypeError, match="no_such_option"):
        Parallel(n_jobs=2, backend="interpool", no_such_option=1)([delayed(abs)(1)])
    with InterpreterPoolExecutor(2) as pool:
        with pytest.raises(ValueError, match="retries: of a pool of your own"):
            parallel_config(backend="interpool", pool=pool, retries=1)
        with (
            parallel_config(backend="interpool", pool=pool),
            pytest.raises(ValueError, match="retries: of a pool of your own"),
        ):
            Parallel(retries=1)([delayed(abs)(1)])


def test_inner_threads_cannot_be_limited() -> None:
    with pytest.raises(AssertionError, match="inner_max_num_threads"):
        parallel_config(backend="interpool", inner_max_num_threads=2)
    with pytest.raises(ValueError, match="inner_max_num_threads"):
        backends.InterpoolBackend(inner_max_num_threads=2)


# --- A `Parallel` in a `Parallel` ----------------------------------------------------------------


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_a_nested_parallel_has_threads_in_a_process(workers: Any, batch_size: int | str) -> None:
    with pytest.warns(FallbackWarning, match="nested runs in a worker process.*faulthandler"):
        found = Parallel(batch_size=batch_size)(delayed(nested)(3) for _ in range(4))
    for process, backend, level, results in found:
        assert process != os.getpid()
        assert (backend, level, results) == ("ThreadingBackend", 1, [0, 1, 2])
    # The next ones go there at once, and no other function does.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Parallel(batch_size=batch_size)(delayed(nested)(3) for _ in range(4))
        Parallel(batch_size=batch_size)(delayed(identity)(3) for _ in range(4))
    pool = workers._pool
    assert pool is not None
    assert pool.statistics().lanes["interpreter"] > 0


@pytest.mark.filterwarnings("ignore::interpool.FallbackWarning")
def test_a_parallel_nested_twice_is_sequential(workers: object) -> None:
    [[first, _], _] = Parallel()(delayed(nested_twice)(2) for _ in range(2))
    assert first[1:] == ("SequentialBackend", 2, [0, 1])


# --- The module ----------------------------------------------------------------------------------


def test_without_joblib_the_extra_is_named() -> None:
    done = run_program(
        "import sys, interpool\n"
        "sys.modules['joblib'] = None\n"
        "try:\n"
        "    interpool.joblib\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error, error.name)\n"
    )
    needed = "interpool.joblib needs joblib: pip install 'interpool[joblib]' joblib\n"
    assert (done.stdout, done.stderr) == (needed, "")


def test_an_error_within_joblib_is_not_taken_for_its_absence() -> None:
    done = run_program(
        "import sys\n"
        "sys.modules['joblib.parallel'] = None\n"
        "try:\n"
        "    import interpool.joblib\n"
        "except ImportError as error:\n"
        "    print(error.name)\n"
    )
    assert (done.stdout, done.stderr) == ("joblib.parallel\n", "")


def test_it_may_be_the_default() -> None:
    done = run_program(
        "import joblib, interpool.joblib\n"
        "interpool.joblib.register(make_default=True)\n"
        "print(type(joblib.Parallel()._backend).__name__)\n"
        "where = lambda: __import__('_interpreters').get_current()[0]\n"
        "print(0 in joblib.Parallel(n_jobs=2)(joblib.delayed(where)() for _ in range(9)))\n"
    )
    assert (done.stdout, done.stderr) == ("InterpoolBackend\nFalse\n", "")


def test_types_are_what_joblib_expects() -> None:
    backend: Any = backends.InterpoolBackend(nesting_level=0)
    assert backend.supports_return_generator
    assert backend.supports_timeout
    nested_backend, n_jobs = backend.get_nested_backend()
    assert (type(nested_backend).__name__, n_jobs) == ("ThreadingBackend", None)
