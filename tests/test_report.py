"""The report without its page: what is read, what it amounts to, what is advised and written."""

import base64
import html
import json
import re
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest

import interpool
from interpool._cli.report import command as report_command
from interpool._report import reading
from interpool._report.advice import advice
from interpool._report.data import Figures
from interpool._report.figures import figures, pieces
from interpool._report.reading import read
from interpool._report.timeline import payload, thinned, utilisation
from interpool._report.trace import Span, Trace, TraceError, from_events
from report_traces import MS, Traced, failing, long, ordinary
from support import run_program

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


def trace_of(traced: Traced) -> Trace:
    return from_events("run.json", traced.events, traced.info)


def figures_of(traced: Traced) -> Figures:
    return figures(trace_of(traced))


def rules(traced: Traced) -> dict[str, str]:
    return {it.rule: f"{it.title}. {it.words}" for it in advice(figures_of(traced))}


# --- Reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_file_is_read_whatever_its_blocks(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK", block)
    traced = ordinary(2, 8)
    path = tmp_path / "run.json"
    document = {"answer": 1234567, "none": None} | traced.as_dict() | {"more": [1.5]}
    path.write_text(json.dumps(document, indent=1))
    trace = read(path)
    assert (trace.events, trace.is_cut) == (len(traced.events), False)
    assert trace.info == traced.info
    direct = trace_of(traced)
    assert [it.spans for it in trace.workers] == [it.spans for it in direct.workers]
    assert (trace.waits, trace.waiting, trace.memory) == (
        direct.waits,
        direct.waiting,
        direct.memory,
    )


def test_a_file_that_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    text = json.dumps(ordinary(2, 8).as_dict())
    # After a whole event, in a text, and behind the end of what an event holds.
    for end in (text.rindex("}, {") + 1, text.rindex('"idle"') + 4, text.rindex("}}") + 1):
        path.write_text(text[:end])
        trace = read(path)
        assert trace.is_cut
        assert 0 < trace.events < len(json.loads(text)["traceEvents"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("[]", "does not begin with {"),
        ("{}", "has no traceEvents"),
        ('{"traceEvents": 3}', r"there is '3' where '\[' should be"),
        ('{"traceEvents": [] "a": 1}', "there is '\"' where ','"),
        ('{"traceEvents": [\n{"a": 1},\n{a}]}', r"property name.*\(line 3\)"),
        ('{"traceEvents": [3]}', "Event 1 of .* is 3, not an object"),
        ('{"traceEvents": []}', "otherData does not say which interpool"),
        ('{"traceEvents": [' + "[" * 500_000, "nested too deeply"),
        ('{"otherData": {"interpool": "9", "format": 2}, "traceEvents": []}', "of format 2"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_place(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(TraceError, match=message):
        read(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(TraceError, match="not text in UTF-8"):
        read(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ts": "soon"}, "has 'soon' as ts, not a number from 0 on"),
        ({"ts": float("nan")}, "has nan as ts"),
        ({"ts": True}, "has True as ts"),
        ({"dur": -1}, "has -1 as dur"),
        ({"ts": 1e300}, r"has 1e\+300 as ts"),
        ({"dur": None}, "has nothing as dur"),
        ({"name": 7}, "has 7 as name, not a text"),
        ({"tid": "1"}, "has '1' as tid"),
        ({"args": []}, r"has \[\] as args"),
        ({"ph": "b", "cat": "wait", "id": None}, "has nothing as id"),
        ({"ph": "C", "name": "tasks"}, "has nothing as waiting"),
        ({"ph": "M", "name": "thread_name"}, "has nothing as name"),
    ],
)
def test_an_event_that_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    event = {"ph": "X", "cat": "run", "name": "f", "tid": 1, "ts": 0, "dur": 1, "args": {}}
    with pytest.raises(TraceError, match=f"^Event 2 of the trace {message}"):
        from_events("the trace", [event, event | change], Traced().info)


def test_events_of_other_kinds_are_passed_over() -> None:
    traced = ordinary(1, 3)
    known = figures_of(traced)
    traced.event("X", 1, 0, "new", cat="of a later version", dur=1e9)
    traced.event("s", 1, 0, "a flow", cat="flow", id=1)
    traced.event("C", 0, 0, "another counter", args={"a": 1})
    assert figures_of(traced).seconds == known.seconds


# --- Figures -------------------------------------------------------------------------------------


def test_each_moment_of_a_worker_is_told_once() -> None:
    traced = Traced(1)
    tid = traced.worker()
    traced.span(tid, "start", "interpreter", 0, 100)
    traced.span(tid, "import", "preloaded", 50, 50)
    traced.run(tid, 100, 400)
    traced.span(tid, "import", "outer", 150, 200)
    traced.span(tid, "import", "inner", 160, 100)
    traced.span(tid, "transfer", "result", 500, 40, nbytes=8)
    traced.idle(tid, 600, 100)
    found = figures_of(traced)
    assert [(it.kind, it.start, it.end) for it in pieces(found.workers[0].track.spans)] == [
        ("start", 0, 50),
        ("import", 50, 100),
        ("run", 100, 150),
        ("import", 150, 350),
        ("run", 350, 500),
        ("transfer", 500, 540),
        ("idle", 600, 700),
    ]
    seconds = {kind: round(it * 1e6) for kind, it in found.seconds.items()}
    assert seconds == {
        "start": 50,
        "import": 250,
        "transfer": 40,
        "run": 200,
        "idle": 100,
        "other": 60,
    }
    assert sum(found.share(kind) for kind in seconds) == pytest.approx(1)
    modules = [(it.module, it.workers, it.is_at_start) for it in found.imports]
    assert modules == [("outer", 1, False), ("preloaded", 1, True)]


def test_pieces_of_a_map_count_their_items() -> None:
    traced = Traced(1)
    tid = traced.worker()
    at = traced.run(tid, 0, 10 * MS, items=10, slowest={"arguments": "(7,)", "ms": 5.5})
    at = traced.run(tid, at, 3 * MS, items=3, outcome="failed", failed=2, error="KeyError: 1")
    at = traced.run(tid, at, 90 * MS, "(1,)", outcome="retried", error="OSError: ")
    found = figures_of(traced)
    assert (found.items, found.runs, found.lost) == (13, 3, 2)
    assert found.median == pytest.approx(0.001)
    assert found.repeated == pytest.approx(0.09)
    slow = found.slowest[1]
    assert (slow.seconds, slow.arguments, slow.items) == (0.0055, "(7,)", 1)
    assert [it.error for it in found.failures] == ["KeyError: 1", "OSError: "]
    function = found.functions[0]
    assert (function.runs, function.items, function.failed) == (3, 13, 2)


def test_a_task_that_could_not_be_loaded_is_a_failure() -> None:
    traced = Traced(1)
    traced.idle(tid := traced.worker(), 0, 10)
    traced.instant(tid, 5, "task failed", task=1, function="f", error="TransferError: no", stage="")
    found = figures_of(traced)
    assert found.lost == 1
    assert [(it.function, it.error) for it in found.failures] == [("f", "TransferError: no")]


def test_threads_that_submit_are_no_workers() -> None:
    traced = ordinary(2, 6)
    traced.span(0, "transfer", "encode", 0, 100, nbytes=5, items=7)
    traced.event("M", 9, 0, "thread_name", args={"name": "caller 2"})
    traced.span(9, "transfer", "encode", 0, 300)
    found = figures_of(traced)
    assert [it.track.name for it in found.workers] == ["worker 1", "worker 2"]
    assert found.caller_seconds == pytest.approx(400e-6)
    assert {it.name: it.calls for it in found.transfers}["encode"] == 8


def test_utilisation_adds_up() -> None:
    trace = trace_of(ordinary(3, 30))
    wall = figures(trace).wall * 1e6
    for buckets in (1, 7, 480):
        busy = utilisation(trace.workers, wall, buckets)
        for kind, counts in busy.items():
            seconds = sum(counts) * wall / buckets / 1e6
            assert seconds == pytest.approx(figures(trace).seconds[kind], rel=0.01, abs=1e-4)


# --- Advice --------------------------------------------------------------------------------------


def starved(*, waiting: int = 0, encoding: float = 0) -> Traced:
    """Workers that idle for half of the time, between tasks."""
    traced = Traced(2)
    for _ in range(2):
        at, tid = 0.0, traced.worker()
        for _ in range(10):
            at = traced.idle(tid, traced.run(tid, at, 10 * MS), 10 * MS)
        traced.run(tid, at, 10 * MS)
    traced.tasks(0, waiting).tasks(200 * MS, waiting)
    if encoding:
        traced.span(0, "transfer", "encode", 0, encoding * 210 * MS)
    return traced


def starting() -> Traced:
    traced = Traced(2)
    for _ in range(2):
        tid = traced.worker()
        traced.run(tid, traced.span(tid, "start", "interpreter", 0, 60 * MS), 40 * MS)
    return traced


def importing() -> Traced:
    traced = Traced(2)
    for _ in range(2):
        tid = traced.worker()
        traced.run(tid, 0, 3000 * MS)
        traced.span(tid, "import", "pandas", 10 * MS, 1200 * MS)
    return traced


def sending(name: str) -> Traced:
    traced = Traced(1)
    tid = traced.worker()
    at = traced.span(tid, "transfer", name, 0, 35 * MS, nbytes=5_000_000)
    traced.run(tid, at, 65 * MS)
    return traced


def tailed(last: float) -> Traced:
    traced = Traced(2)
    first, second = traced.worker(), traced.worker()
    ends = [0.0, 0.0]
    for number, tid in enumerate((first, second)):
        for _ in range(5):
            ends[number] = traced.run(tid, ends[number], 10 * MS)
    end = traced.run(first, ends[0], last * MS, "('big.csv',)")
    traced.idle(second, ends[1], end - ends[1])
    return traced


def tiny() -> Traced:
    traced = Traced(1)
    at, tid = 0.0, traced.worker()
    for _ in range(300):
        at = traced.idle(tid, traced.run(tid, at, 20), 60)
    return traced


def crowded(workers: int, cores: int, waiting: int = 0) -> Traced:
    traced = Traced(workers, cores)
    for _ in range(workers):
        traced.run(traced.worker(), 0, 100 * MS)
    return traced.tasks(0, waiting)


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (starved, "input", "Workers idle 48% of the time while nothing waited: the input is the"),
        (lambda: starved(encoding=0.9), "encoding", "spent 189 ms of 210 ms on encoding"),
        (starting, "start-up", "Start-up is 60% of this run. 2 workers took 60 ms each"),
        (importing, "imports", "Import of pandas: 1.2 s in each of 2 workers"),
        (importing, "imports", "`preload=['pandas']`"),
        (lambda: sending("result"), "transfer", "is 35% of the workers' time (5.0 MB in all)"),
        (lambda: sending("arguments"), "transfer", "Most of it is loading arguments"),
        (
            lambda: tailed(120),
            "tail",
            "One task took 12\N{MULTIPLICATION SIGN} the median at the end: the tail",
        ),
        (lambda: tailed(120), "tail", "jobs.work('big.csv',) ran for 120 ms"),
        (lambda: tailed(20), "tail", "The end is uneven: 14% of the workers' time"),
        (tiny, "tiny", "300 tasks of 20 us. To send one takes longer than to run it"),
        (lambda: crowded(8, 2), "cores", "8 workers share 2 cores"),
        (lambda: crowded(2, 8, 50), "cores", "2 workers on 8 cores, and up to 50 tasks waited"),
        (lambda: crowded(2, 2), "fine", "Workers ran tasks for 100% of their time"),
        (failing, "fallback", "fell back to processes: numpy.linalg refuses to load"),
        (failing, "failures", "9 of 55 items did not succeed"),
        (failing, "failures", "3 failed, 3 ran into their time limit, 3 were interrupted"),
        (failing, "failures", "The most frequent error: ValueError"),
        (failing, "retries", "3 runs had to be repeated"),
        (failing, "died", "1 worker process died"),
        (failing, "abandoned", "1 worker did not stop"),
    ],
)
def test_what_stands_out_is_said_with_figures(
    make: Callable[[], Traced], rule: str, words: str
) -> None:
    said = rules(make())
    assert rule in said, said
    assert words in said[rule]


def test_what_to_do_is_said_in_the_words_of_what_has_run() -> None:
    traced = importing()
    traced.info["command"] = "interpool map jobs:work items.jsonl"
    assert (
        "With `--preload pandas` they do it before their first record" in rules(traced)["imports"]
    )
    traced = starved()
    traced.info["command"] = "interpool map jobs:work items.jsonl"
    assert "Records come more slowly than they are done" in rules(traced)["input"]


def test_many_runs_that_were_repeated_do_not_hide_what_failed_in_the_end() -> None:
    traced = Traced(1)
    tid, at = traced.worker(), 0.0
    for _ in range(150):
        at = traced.run(tid, at, 1 * MS, outcome="retried", error="OSError: busy")
    traced.run(tid, at, 1 * MS, outcome="failed", error="KeyError: 1")
    found = figures_of(traced).failures
    assert (len(found), found[-1].error) == (100, "KeyError: 1")
    assert "1 failed. The most frequent error: KeyError" in rules(traced)["failures"]


def test_what_was_interrupted_has_no_error() -> None:
    traced = Traced(1)
    traced.run(traced.worker(), 0, 1 * MS, outcome="interrupted")
    assert "Of the runs, 1 was interrupted. They are" in rules(traced)["failures"]


def test_nothing_is_said_of_what_is_not_there() -> None:
    assert set(rules(crowded(2, 2))) == {"fine"}
    # Idle, but with tasks that waited: the input is not to blame.
    assert "input" not in rules(starved(waiting=9))
    # What ended within the last task's time, but took no time from the others.
    assert "tail" not in rules(tailed(1))
    assert "imports" not in rules(starting())


def test_what_matters_most_is_said_first() -> None:
    weights = [it.weight for it in advice(figures_of(failing()))]
    assert weights == sorted(weights, reverse=True)


def test_a_pool_that_ran_nothing_is_no_error() -> None:
    traced = Traced(1)
    traced.span(traced.worker(), "start", "interpreter", 0, 10 * MS)
    assert {"start-up", "cores"} >= set(rules(traced)) - {"fine"}
    assert figures_of(traced).last is None


# --- What is drawn -------------------------------------------------------------------------------


def test_nothing_is_thinned_where_there_is_room() -> None:
    trace = trace_of(ordinary())
    resolution, drawn = thinned(trace.workers, 1e6, 10_000)
    assert resolution == 0
    assert [len(it) for it in drawn] == [len(it.spans) for it in trace.workers]


@pytest.mark.parametrize("limit", [40, 400, 4_000])
def test_too_many_spans_become_fewer_and_keep_their_time(limit: int) -> None:
    traced = long(20_000, 4)
    trace = trace_of(traced)
    resolution, drawn = thinned(trace.workers, figures(trace).wall * 1e6, limit)
    assert resolution > 0
    assert sum(map(len, drawn)) <= limit
    for track, spans in zip(trace.workers, drawn, strict=True):
        for kind in ("run", "transfer", "idle"):
            kinds = {"run", "failed"} if kind == "run" else {kind}
            before = sum(it.duration for it in track.spans if it.kind == kind)
            after = sum(it.duration for it in spans if it.kind in kinds)
            assert after == pytest.approx(before)
        count = sum(it.merged or 1 for it in spans)
        assert count == len(track.spans)
        assert all(a.start + a.duration <= b.start + 1e-3 for a, b in pairwise(spans))


def test_what_took_no_time_is_thinned_too() -> None:
    traced = Traced(1)
    tid = traced.worker()
    for _ in range(100):
        traced.run(tid, 0, 0)
    _, drawn = thinned(trace_of(traced).workers, 0, 10)
    assert [it.merged for it in drawn[0]] == [100]
    # More tracks than there may be spans: merged as far as can be.
    _, drawn = thinned(trace_of(ordinary(20, 40)).workers, 1e6, 10)
    assert max(map(len, drawn)) < 6


def test_what_is_drawn_is_what_there_was() -> None:
    trace = trace_of(failing())
    given = payload(trace, figures(trace).wall * 1e6)
    for track, packed in zip(trace.workers, given["tracks"], strict=True):
        start = 0
        for span, difference, duration, name, detail in zip(
            track.spans,
            packed["start"],
            packed["duration"],
            packed["name_of"],
            packed["detail"],
            strict=True,
        ):
            start += difference
            assert start / 10 == pytest.approx(span.start, abs=0.06)
            assert duration / 10 == pytest.approx(span.duration, abs=0.06)
            assert given["names"][name] == span.name
            assert (given["details"][detail] if detail >= 0 else {}) == span.args
    assert max(given["waiting"]) == max(waiting for _, waiting in trace.waiting)
    assert {it["name"] for it in given["instants"]} >= {"worker died", "fallback to process"}


# --- The page ------------------------------------------------------------------------------------


def test_what_tasks_are_given_is_text_and_no_markup(tmp_path: Path) -> None:
    traced = Traced(1, command=HOSTILE)
    tid = traced.worker(HOSTILE, "process", pid=1)
    traced.span(tid, "import", HOSTILE, 0, 5 * MS)
    traced.span(tid, "transfer", HOSTILE, 5 * MS, 5 * MS)
    args = {"function": HOSTILE, "error": HOSTILE, "outcome": "failed", "why": HOSTILE}
    traced.run(tid, 10 * MS, 50 * MS, HOSTILE, lane=HOSTILE, **args)
    traced.run(tid, 60 * MS, 50 * MS, "\ud800", lane="process", why=HOSTILE)
    traced.instant(tid, 90 * MS, HOSTILE, **{HOSTILE: HOSTILE})
    page = tmp_path / "run.html"
    interpool.report(traced.as_dict(), page)
    text = page.read_text()
    assert "<img" not in text
    assert text.count("</script>") == 2  # of the data, and of the program
    assert text.count(html.escape(HOSTILE)) > 8
    found = re.search(r'id="data">([^<]*)</script>', text)
    assert found is not None
    assert HOSTILE in json.loads(zlib.decompress(base64.b64decode(found[1])))["names"]


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    interpool.report(ordinary().as_dict(), page)
    text = page.read_text()
    assert re.findall(r"https?:", text) == []
    assert re.findall(r'(?:src|href)="(?!data:,)', text) == []
    assert "default-src 'none'" in html.unescape(text)
    assert len(text) < 100_000


def test_a_number_that_is_none_is_shown_as_it_is(tmp_path: Path) -> None:
    traced = Traced(1)
    traced.run(traced.worker(), 0, 5, task=float("nan"))
    interpool.report(traced.write(tmp_path / "run.json"), tmp_path / "run.html")
    with pytest.raises(ValueError, match="not JSON compliant"):
        interpool.report(traced.as_dict(), tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()


def test_more_workers_than_can_be_drawn_are_told(tmp_path: Path) -> None:
    traced = Traced(1)
    for _ in range(1_001):
        traced.run(traced.worker(), 0, 5)
    interpool.report(traced.as_dict(), tmp_path / "run.html")
    assert "The first 1,000 of 1,001 workers are drawn." in (tmp_path / "run.html").read_text()


def test_python_takes_files_and_what_they_hold(tmp_path: Path) -> None:
    traced = ordinary(2, 5)
    interpool.report(traced.write(tmp_path / "run.json"), tmp_path / "file.html")
    interpool.report(traced.as_dict(), tmp_path / "held.html")
    interpool.report(str(tmp_path / "run.json"), str(tmp_path / "named.html"))
    assert (tmp_path / "named.html").read_bytes() == (tmp_path / "file.html").read_bytes()
    file, held = ((tmp_path / name).read_text() for name in ("file.html", "held.html"))
    assert file.replace("run.json", "The trace") == held
    with pytest.raises(ValueError, match="no list traceEvents"):
        interpool.report({"otherData": {}}, tmp_path / "none.html")
    with pytest.raises(FileNotFoundError):
        interpool.report(tmp_path / "none.json", tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_a_pool_is_reported_while_it_works_and_afterwards(tmp_path: Path) -> None:
    pages = [tmp_path / f"{number}.html" for number in range(3)]
    with interpool.InterpreterPoolExecutor(1) as pool:
        with pool.trace() as trace:
            pool.submit(divmod, 7, 0).exception()
            interpool.report(trace, pages[0])
            pool.submit(divmod, 7, 2).result()
        interpool.report(trace, pages[1])
        with pool.trace(tmp_path / "run.json") as trace:
            pool.submit(int, "seven").exception()
        interpool.report(trace, pages[2])
    assert all(it.read_text().startswith("<!doctype html>") for it in pages)
    assert "1 of 2 tasks did not succeed" in (text := pages[1].read_text())
    assert "ZeroDivisionError" in text
    assert "ValueError: invalid literal" in pages[2].read_text()


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    trace = ordinary(1, 4).write(tmp_path / "run.json")
    source = "import runpy; runpy.run_module('interpool', run_name='__main__', alter_sys=True)"
    done = run_program(source, "report", str(trace))
    assert (done.stdout, done.stderr, done.returncode) == (f"{tmp_path / 'run.html'}\n", "", 0)
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    other = tmp_path / "other.html"
    assert report_command.main([str(trace), "-o", str(other)], standalone_mode=False) == 0
    assert other.read_text() == (tmp_path / "run.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rin.json"], 1, "rin.json: No such file or directory."),
        (["no.json"], 1, "no.json is no trace: it does not begin with { (line 1)."),
        (["run.json", "-o", "run.json"], 2, "--output run.json is the trace itself"),
        (["run.json", "-o", "no/a.html"], 1, "no/a.html: No such file or directory."),
    ],
)
def test_the_command_says_what_is_in_the_way(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ordinary(1, 2).write(Path("run.json"))
    Path("no.json").write_text("<html>")
    with pytest.raises(click.ClickException) as caught:
        report_command.main(arguments, standalone_mode=False)
    assert (caught.value.exit_code, caught.value.message) == (code, message)


def test_a_span_ends_after_its_duration() -> None:
    assert Span(1, 2, "run", "f", {}).end == 3
