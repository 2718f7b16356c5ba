"""Which executor suits a function: measured, for some that compute, wait, refuse, hang."""

import ctypes  # noqa: F401 - here, for the first import leaves a descriptor of libffi's open
import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import interpool
from interpool import IncompatibleExtensionError, ProcessDied, TaskTimeout, TransferError
from interpool._recommend import Recommendation, job, lanes, recommend
from support import PATIENCE, run_program
from work import compute, wait, wait_in_a_loop

BUDGET = 30.0


@pytest.fixture(autouse=True)
def passes_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "ENOUGH", 0.02)


def told(answer: Recommendation, about: str) -> str:
    return " ".join(it.text for it in answer.advice if it.about == about)


def measure(fn: Callable[..., Any], sample: Any, **options: Any) -> Recommendation:
    # The clock runs on when a machine is busy: what is measured must not depend on that.
    return recommend(fn, sample, **{"budget": BUDGET, "max_workers": 2} | options)


def test_a_function_that_computes_is_seen_to() -> None:
    answer = measure(compute, [3000, 5000])
    figures = answer.measurements
    assert figures.serial.cpu > 0.5
    assert (figures.sample, figures.cores) == (2, 2)
    assert figures.bytes_there
    for it in figures.lanes:
        assert it.refusal is None
        assert it.count > 0
        assert it.seconds > 0
    assert answer.option("thread").place == "thread"
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_a_function_that_waits_is_seen_to() -> None:
    answer = measure(wait, range(3))
    assert answer.measurements.serial.cpu < 0.5
    assert answer.best.place == "thread"
    assert answer.best.workers > 2
    assert told(answer, "waiting")


def test_a_coroutine_function() -> None:
    answer = measure(wait_in_a_loop, range(3))
    assert answer.measurements.is_coroutine
    assert "gather()" in told(answer, "waiting")


def test_several_arguments_and_none() -> None:
    answer = measure(range, [(2,), (2, 3)], star=True)
    assert (answer.measurements.function, answer.measurements.sample) == ("range", 2)
    assert all(it.refusal is None for it in measure(dict, [()], star=True).measurements.lanes)


def test_an_extension_that_refuses_is_named() -> None:
    def use(n: int) -> int:
        import _curses  # noqa: F401

        return compute(n)

    answer = measure(use, [2000])
    refusal = answer.measurements.lanes[1].refusal
    assert refusal is not None
    assert (refusal.cause, refusal.culprit) == ("extension", "_curses")
    assert answer.measurements.module == ""


def test_what_cannot_be_sent_runs_in_threads() -> None:
    lock = threading.Lock()

    def use(n: int) -> int:
        with lock:
            return compute(n)

    answer = measure(use, [2000])
    causes = [it.refusal and it.refusal.cause for it in answer.measurements.lanes]
    assert causes == [None, "transfer", "transfer"]
    assert "pass an interpool.Lock" in told(answer, "refused")


def test_a_function_that_remembers_is_found_out() -> None:
    answer = measure(functools.cache(compute), range(2000, 2010))
    assert answer.measurements.serial.is_memo
    assert answer.measurements.lanes[0].refusal is not None
    memory: dict[int, int] = {}

    def use(n: int) -> int:
        if n not in memory:
            memory[n] = compute(n)
        return memory[n]

    assert measure(use, range(30_000, 30_005)).measurements.serial.is_memo


def test_large_results_are_seen() -> None:
    answer = measure(bytes, [500_000])
    assert answer.measurements.bytes_back is not None
    assert answer.measurements.bytes_back > 500_000
    assert told(answer, "transfer")


def test_a_function_that_hangs_ends_the_measurement() -> None:
    def hang(_: int) -> None:
        while True:
            pass

    with pytest.raises(TaskTimeout, match=r"hang did not come to an end .* within 0\.5 s") as found:
        measure(hang, [1], budget=1.0)
    assert found.value.limit == 0.5


def test_one_that_hangs_and_cannot_be_sent_is_left_behind() -> None:
    # In a program of its own: the thread does not end.
    done = run_program(
        "import threading, interpool\n"
        "lock = threading.Lock()\n"
        "def hang(n):\n"
        "    with lock: threading.Event().wait()\n"
        "try:\n"
        "    interpool.recommend(hang, [1], budget=1)\n"
        "except interpool.TaskTimeout as error:\n"
        "    print(error)\n"
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "in a thread that cannot be stopped" in done.stdout


def test_one_that_crashes_is_run_nowhere_else() -> None:
    def crash(_: int) -> None:
        import os

        os._exit(3)

    with pytest.raises(ProcessDied) as found:
        measure(crash, [1])
    assert found.value.exitcode == 3
    assert found.value.__notes__ == ["It was not run anywhere else."]


@pytest.mark.parametrize("sample", [["x"], [1, "x"]])
def test_what_the_function_raises_is_raised(sample: list[Any]) -> None:
    with pytest.raises(TypeError) as found:
        measure(compute, sample)
    assert found.value.__notes__ == [f"Raised by compute for item {len(sample)} of the sample."]


def test_a_failure_in_workers_alone_is_a_reason() -> None:
    here = threading.get_native_id()

    def use(n: int) -> int:
        import os
        import sys

        if f"{os.getpid()}" not in n_of_main:  # elsewhere
            raise LookupError(f"not in {sys.platform}")
        return here + n

    import os

    n_of_main = [f"{os.getpid()}"]
    answer = measure(use, [1])
    refusal = answer.measurements.lanes[2].refusal
    assert refusal is not None
    assert refusal.text.startswith("it raises LookupError in processes, and not in this thread")


def test_a_result_that_cannot_come_back_is_a_reason() -> None:
    def use(n: int) -> Any:
        return (it for it in range(n))

    answer = measure(use, [3])
    causes = [it.refusal and it.refusal.cause for it in answer.measurements.lanes]
    assert causes == [None, "transfer", "transfer"]
    assert answer.measurements.bytes_back is None
    assert told(answer, "refused").startswith("Cannot send the result of ")


def test_a_failure_in_threads_alone_is_a_reason() -> None:
    def use(n: int) -> int:
        import threading

        if threading.current_thread().name.startswith("interpool-recommend_"):
            raise LookupError("of this thread")
        return n

    refusal = measure(use, [1]).measurements.lanes[0].refusal
    assert refusal is not None
    text = "it raises LookupError in threads, and not in this thread: of this thread"
    assert (refusal.cause, refusal.text) == ("failure", text)


@pytest.mark.parametrize(
    ("error", "cause", "text"),
    [
        (TaskTimeout("x", limit=2.0), "failure", "an item did not end in places within 2.0 s"),
        (TimeoutError(), "time", "no time was left of the budget of 9.0 s"),
        (KeyError(), "failure", "it raises KeyError in places, and not in this thread"),
        (
            IncompatibleExtensionError("x", extension="a._b", chain=("a", "a.c")),
            "extension",
            "the extension module a._b refuses to load in an interpreter (reached by a -> a.c)",
        ),
        (TransferError("No. Do so", path="it", hint="Do so"), "transfer", "No"),
        (TransferError("No", path="it"), "transfer", "No"),
    ],
)
def test_why_there_are_no_figures(error: Exception, cause: str, text: str) -> None:
    refusal = lanes.refusal_of(error, "places", job.Budget(9.0))
    assert refusal.cause == cause
    assert refusal.text.startswith(text)
    assert refusal.is_final == (cause != "time")


def test_a_function_that_takes_long_is_run_seldom() -> None:
    def take_long(_: int) -> None:
        import time

        end = time.perf_counter() + 0.6
        while time.perf_counter() < end:
            pass

    began = time.perf_counter()
    answer = measure(take_long, range(100), budget=2.0)
    assert time.perf_counter() - began < PATIENCE
    assert any(it.refusal and it.refusal.cause == "time" for it in answer.measurements.lanes)
    assert answer.best.place != "serial"


@pytest.mark.parametrize(
    ("fn", "sample", "options", "kind"),
    [
        (3, [1], {}, TypeError),
        (compute, [], {}, ValueError),
        (compute, [1], {"items": 0}, ValueError),
        (compute, [1], {"items": 1.5}, TypeError),
        (compute, [1], {"max_workers": 0}, ValueError),
        (compute, [1], {"budget": -1}, ValueError),
        (compute, [1], {"budget": None}, ValueError),
    ],
)
def test_what_makes_no_sense_is_refused(
    fn: Any, sample: list[int], options: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        recommend(fn, sample, **options)


def test_it_is_imported_when_it_is_asked_for() -> None:
    done = run_program(
        "import sys, interpool\n"
        "print('interpool._recommend' in sys.modules, 'recommend' in dir(interpool))\n"
        "interpool.recommend\n"
        "print('interpool._recommend' in sys.modules)\n"
    )
    assert (done.stdout, done.stderr) == ("False True\nTrue\n", "")
    with pytest.raises(AttributeError, match="no attribute 'recomend'"):
        interpool.recomend  # noqa: B018
