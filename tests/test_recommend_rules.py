"""Which executor suits a function: the rules, on figures that are made up."""

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpool._recommend import (
    Baseline,
    LaneFigures,
    Measurements,
    Recommendation,
    Refusal,
    advice,
    sizing,
    words,
)
from interpool._recommend.data import Place, _plain
from interpool._recommend.judge import NOISE, break_even, judge
from interpool._statistics import Times

# --- Figures, made up: two cores, a function that computes for 10 ms ------------------------------


def baseline(seconds: float = 0.01, **changes: Any) -> Baseline:
    times = Times(100, seconds, seconds, seconds, seconds)
    return replace(Baseline(times, seconds, cpu=1.0), **changes)


def lane(place: Place, seconds: float, **changes: Any) -> LaneFigures:
    startup = {"thread": 0.0001, "interpreter": 0.02, "process": 0.1}[place]
    figures = LaneFigures(
        place, 2, startup, 0.0, 20e-6, 0.0, seconds, 100, 1.0 if place == "thread" else math.nan
    )
    return replace(figures, **changes)


def measured(
    serial: Baseline | None = None,
    *,
    thread: LaneFigures | None = None,
    interpreter: LaneFigures | None = None,
    process: LaneFigures | None = None,
    **changes: Any,
) -> Measurements:
    serial = serial or baseline()
    each = serial.seconds
    lanes = (
        thread or lane("thread", each),
        interpreter or lane("interpreter", each / 2),
        process or lane("process", each / 2),
    )
    figures = Measurements("work", "jobs", 2, 10, 50, 50, serial, lanes)
    return replace(figures, **changes)


def places(answer: Recommendation) -> list[str]:
    return [option.place for option in answer.options]


def told(answer: Recommendation, about: str) -> str:
    return " ".join(it.text for it in answer.advice if it.about == about)


def test_what_computes_goes_to_interpreters() -> None:
    answer = judge(measured(), 1000)
    assert places(answer) == ["interpreter", "process", "thread", "serial"] or places(answer) == [
        "interpreter",
        "process",
        "serial",
        "thread",
    ]
    best = answer.best
    assert (best.workers, best.break_even) == (2, 5)
    assert best.gain == pytest.approx(10 / 5.02)
    assert answer.headline() == (
        "Run work with InterpreterPoolExecutor, 2 workers: 2.0 times as fast as one thread for "
        "1,000 items"
    )
    assert told(answer, "start-up").endswith("20 ms, pays from some 5 items on")
    assert "one thread at a time does that" in answer.option("thread").reasons[1]


def test_what_is_as_fast_with_less_goes_first() -> None:
    assert judge(measured(thread=lane("thread", 0.0055, parallel=1.9)), 1000).best.place == "thread"
    slow = lane("interpreter", 0.006)
    assert judge(measured(interpreter=slow), 1000).best.place == "process"


def test_interpreters_that_were_crowded_out_keep_their_place() -> None:
    slow = lane("interpreter", 0.007)
    assert judge(measured(interpreter=slow), 1000).best.place == "process"
    crowded = measured(baseline(crowded=0.5), interpreter=slow)
    assert judge(crowded, 1000).best.place == "interpreter"


def test_threads_that_gain_from_a_crowd_alone_gain_nothing() -> None:
    crowded = measured(thread=lane("thread", 0.005, parallel=1.1))
    answer = judge(crowded, 1000)
    assert answer.best.place == "interpreter"
    assert answer.option("thread").break_even is None


def test_threads_that_let_go_of_the_gil_are_said_to_share_every_object() -> None:
    answer = judge(measured(thread=lane("thread", 0.005, parallel=2.0)), 1000)
    assert answer.best.place == "thread"
    assert "lets go of the GIL" in answer.best.reasons[1]
    assert "thread-safe" in answer.best.reasons[2]
    assert "thread-safe" in told(answer, "threads")


def test_what_waits_goes_to_threads_and_to_more_of_them_than_cores() -> None:
    waits = baseline(cpu=0.05)
    answer = judge(measured(waits, thread=lane("thread", 0.01 / 30, workers=32)), 1000)
    assert (answer.best.place, answer.best.workers) == ("thread", 32)
    assert told(answer, "waiting").startswith("It waits 95% of its time")
    assert "asyncio" in told(answer, "waiting")
    interpreters = answer.option("interpreter")
    assert interpreters.workers == 8
    assert "8 are expected to be 8.0 times as fast" in interpreters.reasons[0]
    assert not told(answer, "start-up")
    few = judge(measured(waits, thread=lane("thread", 0.01 / 30, workers=32)), 3)
    assert (few.best.place, few.best.workers) == ("thread", 3)


def test_a_coroutine_function_is_told_of_one_loop() -> None:
    answer = judge(measured(baseline(cpu=0.0), is_coroutine=True), 1000)
    assert "gather() in one event loop" in told(answer, "waiting")


def test_tiny_tasks_are_to_be_grouped() -> None:
    tiny = measured(
        baseline(3e-6),
        thread=lane("thread", 8e-6),
        interpreter=lane("interpreter", 1.6e-6),
        process=lane("process", 2e-6),
    )
    answer = judge(tiny, 1000)
    assert answer.best.place == "serial"
    assert answer.best.seconds == pytest.approx(0.003)
    assert "gains from some 14,000 items on" in answer.best.reasons[0]
    assert told(answer, "grouping") == (
        "Items take 3.0 us each: let map() group them, which makes it 1.6 us an item; one by one, "
        "submit() costs 20 us an item, more than it gains"
    )
    assert "keep one pool" in told(answer, "start-up")
    assert judge(tiny, 1_000_000).best.place == "interpreter"


def test_tasks_too_tiny_for_any_worker() -> None:
    answer = judge(
        measured(
            baseline(1e-7), interpreter=lane("interpreter", 1e-6), process=lane("process", 2e-6)
        ),
        1_000_000,
    )
    assert answer.best.place == "serial"
    assert "no executor is faster" in answer.best.reasons[0]
    assert "give a task many of them" in told(answer, "grouping")


@pytest.mark.parametrize(
    ("there", "back", "change"),
    [
        (50_000_000, 3000, "pass what it is made from (a path"),
        (20, 50_000_000, "return what the caller needs of it"),
        (50_000_000, 50_000_000, "pass and return paths"),
    ],
)
def test_transfer_that_takes_the_time_is_told(there: int, back: int, change: str) -> None:
    figures = measured(
        interpreter=lane("interpreter", 0.09, transfer=0.09),
        process=lane("process", 0.2, transfer=0.2),
        bytes_there=there,
        bytes_back=back,
    )
    answer = judge(figures, 1000)
    assert answer.best.place == "serial"
    text = told(answer, "transfer")
    assert text.startswith("90% of an item's time in a worker is transfer, 90 ms beside 10 ms")
    assert change in text


def test_an_extension_that_refuses_leads_to_processes() -> None:
    refusal = Refusal("extension", "the extension module fast._c refuses", "fast._c")
    refused = LaneFigures("interpreter", 2, 0.02, refusal=refusal)
    answer = judge(measured(interpreter=refused), 1000)
    assert answer.best.place == "process"
    assert places(answer)[-1] == "interpreter"
    assert not answer.option("interpreter").is_possible
    assert told(answer, "extension").startswith("fast._c refuses to load in an interpreter")


def test_what_cannot_be_sent_is_told_once_with_the_way_out() -> None:
    refusal = Refusal("transfer", "Cannot send argument 1 of work", "argument 1 of work", "Pass it")
    answer = judge(
        measured(
            thread=lane("thread", 0.011),
            interpreter=LaneFigures("interpreter", 2, refusal=refusal),
            process=LaneFigures("process", 2, refusal=refusal),
            bytes_there=None,
        ),
        1000,
    )
    assert places(answer) == ["serial", "thread", "interpreter", "process"]
    text = "Cannot send argument 1 of work. Pass it. `interpool explain` shows all of it"
    assert told(answer, "refused") == text
    assert answer.options[2].reasons == ("argument 1 of work cannot be sent",)
    assert "argument 1" in str(answer)


def test_what_was_not_measured_is_estimated_and_said() -> None:
    refusal = Refusal("time", "no time was left")
    late = lane("process", math.nan, refusal=refusal)
    answer = judge(measured(baseline(2.0), process=late, interpreter=lane("interpreter", 1.0)), 10)
    option = answer.option("process")
    assert option.seconds == pytest.approx(10.1)
    assert option.reasons[0].startswith("estimated, 2.0 times as fast as one thread: no time")
    assert "larger budget" in told(answer, "sample")


@pytest.mark.parametrize(
    ("figures", "about", "text"),
    [
        (measured(baseline(own_cores=3.9)), "cores", "keeps 3.9 cores busy by itself"),
        (measured(cores=1), "cores", "may use one core"),
        (measured(baseline(is_memo=True)), "memo", "from memory the second time"),
        (measured(baseline(crowded=0.4)), "crowd", "had the core for 40% of the time"),
        (
            measured(baseline(times=Times(99, 0.001, 0.05, 0.1, 0.2))),
            "sample",
            "half take 1.0 ms at the most, one in ten 50 ms or more",
        ),
        (
            measured(interpreter=lane("interpreter", 0.005, first_call=0.4)),
            "imports",
            'takes 400 ms longer than the next, for imports mostly: preload=["jobs"]',
        ),
    ],
)
def test_more_is_told(figures: Measurements, about: str, text: str) -> None:
    assert text in told(judge(figures, 1000), about)


def test_nothing_is_told_of_what_is_usual() -> None:
    assert [it.about for it in judge(measured(), 1000).advice] == ["start-up"]


# --- Rules that hold for any figures -------------------------------------------------------------

seconds = st.floats(1e-8, 100)
refusals = st.sampled_from(["extension", "transfer", "failure", "time", "memo"]).map(
    lambda cause: Refusal(cause, "for a reason", "culprit", "hint")  # type: ignore[arg-type]
)


@st.composite
def lanes(draw: st.DrawFn, place: Place) -> LaneFigures:
    figures = LaneFigures(
        place,
        draw(st.integers(1, 64)),
        startup=draw(seconds | st.just(0.0)),
        first_call=draw(seconds | st.just(0.0)),
        submit=draw(seconds),
        transfer=draw(seconds | st.just(0.0)),
        seconds=draw(seconds | st.just(0.0)),
        count=draw(st.integers(1, 1000)),
        parallel=draw(st.floats(0, 64) | st.just(math.nan)),
    )
    refusal = draw(st.none() | refusals)
    if refusal is None:
        return figures
    return LaneFigures(place, figures.workers, draw(seconds | st.just(math.nan)), refusal=refusal)


@st.composite
def any_measurements(draw: st.DrawFn) -> Measurements:
    times = Times.of(9, draw(st.lists(st.integers(1, 10**10), min_size=1)))
    serial = Baseline(
        times,
        draw(seconds),
        draw(st.floats(0, 1)),
        draw(st.floats(0, 99)),
        draw(st.floats(0, 1)),
        draw(st.booleans()),
    )
    size = st.none() | st.integers(0, 10**10)
    return Measurements(
        "work",
        draw(st.sampled_from(["", "jobs"])),
        draw(st.integers(1, 64)),
        draw(st.integers(1, 1000)),
        draw(size),
        draw(size),
        serial,
        (draw(lanes("thread")), draw(lanes("interpreter")), draw(lanes("process"))),
        draw(st.booleans()),
    )


@given(any_measurements(), st.integers(1, 10**9))
def test_every_way_is_ranked_with_reasons(figures: Measurements, items: int) -> None:
    answer = judge(figures, items)
    assert sorted(places(answer)) == ["interpreter", "process", "serial", "thread"]
    assert all(option.reasons and all(option.reasons) for option in answer.options)
    fastest = min(option.seconds for option in answer.options)
    assert answer.best.seconds <= fastest * (NOISE + figures.serial.crowded)
    possible = [option.is_possible for option in answer.options]
    assert possible == sorted(possible, reverse=True)
    assert judge(figures, items) == answer or "nan" in repr(answer)
    assert answer.headline() in str(answer)
    assert pickle.loads(pickle.dumps(answer)).headline() == answer.headline()
    assert _plain(answer.as_dict()) == answer.as_dict()


@given(seconds, seconds, st.floats(0, 100), st.floats(0, 100))
def test_from_where_it_pays_on_it_pays(
    serial: float, pace: float, fixed: float, more: float
) -> None:
    least = serial + more
    items = break_even(serial, pace, fixed, least)
    if items is None:
        assert pace * NOISE >= serial
        return
    for count in (items, items + 1, 2 * items):
        assert fixed + max(pace * count, least) <= serial * count * (1 + 1e-9)
    if items > 1:
        before = items - 1
        assert fixed + max(pace * before, least) >= serial * before * (1 - 1e-9)


@given(st.floats(0, 1), st.integers(1, 256))
def test_workers_are_as_many_as_there_is_use_for(cpu: float, cores: int) -> None:
    for place in ("thread", "interpreter", "process"):
        workers = sizing.workers_for(place, cpu, cores)
        assert cores <= workers <= max(32, 4 * cores)
        if cpu >= sizing.COMPUTES:
            assert workers == cores
    assert sizing.workers_for("serial", cpu, cores) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (4e-10, "0.4 ns"),
        (3.14e-6, "3.1 us"),
        (0.12, "120 ms"),
        (0.9999, "1.0 s"),
        (8.5, "8.5 s"),
        (720, "12 min"),
        (7200, "2.0 h"),
    ],
)
def test_times_in_words(value: float, text: str) -> None:
    assert words.seconds(value) == text


def test_numbers_in_words() -> None:
    assert [words.size(it) for it in (1, 999, 12_345, 5e6, 2e9)] == [
        "1 byte",
        "999 bytes",
        "12 kB",
        "5.0 MB",
        "2.0 GB",
    ]
    assert [words.some(it) for it in (7, 42, 417, 13_579)] == ["7", "42", "420", "14,000"]
    assert [words.count(it) for it in (1, 1200)] == ["1 item", "1,200 items"]
    assert words.compared(0.1) == "10 times as long as one thread"
    assert words.compared(1.02) == "as fast as one thread"
    assert words.compared(0) == "infinitely many times as long as one thread"
    assert advice.isolated(measured(interpreter=LaneFigures("interpreter", 2))) is not None
