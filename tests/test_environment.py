"""What workers take over, and where what they print, log and warn of arrives."""

import contextlib
import enum
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor, _environment
from interpool._inside import surroundings
from support import Gate, run_program


@pytest.fixture
def pool() -> Iterator[InterpreterPoolExecutor]:
    with InterpreterPoolExecutor(1, thread_name_prefix="own") as made:
        yield made


# --- Printing ------------------------------------------------------------------------------------


def say(*words: Any, **options: Any) -> None:
    print(*words, **options)


def test_what_a_task_prints_is_there_when_its_future_ends(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    def both(n: int) -> None:
        import sys

        print("out", n)
        print("err", n, file=sys.stderr)

    for n in range(20):
        pool.submit(both, n).result()
        assert capsys.readouterr() == (f"out {n}\n", f"err {n}\n")


def test_redirected_output_is_honoured(pool: InterpreterPoolExecutor) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as first:
        pool.submit(say, "first").result()
    with contextlib.redirect_stdout(io.StringIO()) as second:
        pool.submit(say, "second").result()
    assert (first.getvalue(), second.getvalue()) == ("first\n", "second\n")


def test_a_task_may_redirect_its_own_output(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    def captured() -> str:
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("hidden")
        return own.getvalue()

    assert pool.submit(captured).result() == "hidden\n"
    assert capsys.readouterr().out == ""


def test_lines_of_workers_and_threads_stay_whole_and_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def talk(name: str, size: int) -> None:
        import threading

        def print_lines(who: str) -> None:
            for n in range(40):
                print(who, n, end=" ")
                print(who[-1] * size)

        threads = [threading.Thread(target=print_lines, args=(name + it,)) for it in "xyz"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with InterpreterPoolExecutor(2) as pool:
        for future in [pool.submit(talk, name, 9_000) for name in "ab"]:
            future.result()
    seen: dict[str, list[int]] = {}
    for line in capsys.readouterr().out.splitlines():
        who, number, filling = line.split(" ")
        assert filling == who[-1] * 9_000
        seen.setdefault(who, []).append(int(number))
    assert seen == {name + it: list(range(40)) for name in "ab" for it in "xyz"}


def test_a_line_without_an_end_is_passed_on_when_its_task_ends(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.submit(say, "no", "end", end="").result()
    assert capsys.readouterr().out == "no end"
    pool.submit(say, "next").result()
    assert capsys.readouterr().out == "next\n"


def test_a_thread_s_line_without_an_end_is_passed_on_when_the_thread_has_ended(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    def in_thread() -> None:
        import threading

        thread = threading.Thread(target=print, args=("from", "a thread"), kwargs={"end": ""})
        thread.start()
        thread.join()

    pool.submit(in_thread).result()
    assert capsys.readouterr().out == "from a thread"


def test_a_line_without_an_end_is_passed_on_when_it_is_flushed(
    pool: InterpreterPoolExecutor, gate: Gate, arrivals: Gate
) -> None:
    class Heard(io.StringIO):
        def write(self, text: str) -> int:
            written = super().write(text)
            os.write(arrivals.entry, b".")
            return written

    def progress(fd: int) -> None:
        import os

        print("half", end="", flush=True)
        os.read(fd, 1)
        print(" whole")

    with contextlib.redirect_stdout(Heard()) as heard:
        future = pool.submit(progress, gate.exit)
        arrivals.wait()
        assert heard.getvalue() == "half"
        gate.open()
        future.result()
    assert heard.getvalue() == "half whole\n"


class Heard(surroundings.Voice):
    """A voice that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def say(self, _kind: int, data: bytes) -> None:
        self.said.append(data)


def test_what_a_finalizer_prints_or_logs_does_not_tear_what_it_comes_into(
    pool: InterpreterPoolExecutor,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def talk(size: int) -> None:
        import logging
        import os

        system: Any = os
        plain = os.write

        def write(fd: int, data: bytes) -> int:
            # As a finalizer would, between any two pieces.
            system.write = plain
            print("finalizer")
            logging.getLogger("finalizer").error("f" * size)
            system.write = write
            return plain(fd, data)

        system.write = write
        try:
            print("y" * size)
            logging.getLogger("work").error("z" * size)
        finally:
            system.write = plain

    size = 20_000
    pool.submit(talk, size).result()
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("y" * size) == 1
    assert {*lines} == {"y" * size, "finalizer"}
    records = [(record.name, record.getMessage()) for record in caplog.records]
    assert records.count(("work", "z" * size)) == 1
    assert {*records} == {("work", "z" * size), ("finalizer", "f" * size)}


def test_what_is_printed_in_little_pieces_is_neither_copied_nor_searched_again() -> None:
    class Rest(bytearray):
        def rfind(self, *_: Any) -> int:
            raise AssertionError

        rpartition = __bytes__ = rfind  # type: ignore[assignment]

    voice = Heard()
    lines = surroundings.Lines(voice, surroundings.STDOUT)
    rest = lines.rests[threading.get_ident()] = Rest()
    for _ in range(100):
        lines.write(b"0123456789")
    assert lines.rests[threading.get_ident()] is rest
    lines.write(b"\n\nmore")
    assert voice.said == [b"0123456789" * 100 + b"\n\n"]
    lines.flush()
    assert voice.said[1:] == [b"more"]


def test_a_line_that_is_longer_than_any_is_passed_on_in_parts() -> None:
    voice = Heard()
    lines = surroundings.Lines(voice, surroundings.STDOUT)
    for _ in range(65):
        lines.write(bytes(1 << 18))
    assert list(map(len, voice.said)) == [1 << 24]


@pytest.mark.parametrize("text", ["", "\n", "a\r\nb\n", "ü€😀" * 3_000, "x" * 5_000_000, "\udc80"])
def test_text_arrives_as_it_is(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    pool.submit(say, text, end="").result()
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert capsys.readouterr().out == expected


def write_bytes(*pieces: bytes) -> None:
    import sys

    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()


def test_bytes_are_printed_by_way_of_the_buffer(
    pool: InterpreterPoolExecutor, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for pieces in ([b"bytes \xff\n"], [bytes(range(256))], [b"\xff\xf0", b"\x90", b"\x9f\n"]):
        print("before", end=" ")
        pool.submit(write_bytes, *pieces).result()
        assert capsysbinary.readouterr().out == b"before " + b"".join(pieces)


def test_bytes_are_escaped_where_there_is_no_buffer(pool: InterpreterPoolExecutor) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        pool.submit(write_bytes, b"bytes \xff\n").result()
    assert stream.getvalue() == "bytes \\xff\n"


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_character_that_is_flushed_half_is_whole_when_it_arrives(
    pool: InterpreterPoolExecutor, character: str
) -> None:
    data = f"a{character}".encode()
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        for cut in range(1, len(data)):
            pool.submit(write_bytes, data[:cut], data[cut:]).result()
            pool.submit(write_bytes, *(data[n : n + 1] for n in range(len(data)))).result()
        assert stream.getvalue() == f"a{character}" * 2 * (len(data) - 1)
        pool.submit(write_bytes, data[:2]).result()  # its task ends: there will be no more
    assert stream.getvalue().endswith(f"a\\x{data[1]:x}")


def test_what_main_s_stream_makes_of_surrogates_is_made_of_them(
    pool: InterpreterPoolExecutor,
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape")
    with contextlib.redirect_stdout(stream):
        pool.submit(say, "file \udcff").result()
        stream.flush()
    assert stream.buffer.getvalue() == b"file \xff\n"


def test_a_stream_needs_no_flush(
    pool: InterpreterPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    class Writer:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

    writer: Any = Writer()
    with contextlib.redirect_stdout(writer):
        pool.submit(say, "no end", end="").result()
        pool.submit(write_bytes, b"\xff").result()
    assert writer.text == "no end\\xff"
    assert not caplog.records


def test_a_worker_s_stream_is_no_terminal(pool: InterpreterPoolExecutor) -> None:
    def ask() -> tuple[bool, str]:
        import sys

        return sys.stdout.isatty(), sys.stdout.encoding

    assert pool.submit(ask).result() == (False, "utf-8")


def wrap_twice() -> None:
    import io
    import sys

    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    print("wrapped é")
    sys.stdout = io.TextIOWrapper(sys.stdout.detach())
    print("wrapped again")


def use_codecs() -> None:
    import codecs
    import sys

    out: Any = sys.__stdout__
    sys.stdout = codecs.getwriter("utf-8")(out.buffer)
    print("wrapped é")
    print("wrapped again", end="\n")


def reconfigure() -> None:
    import sys

    sys.stdout.reconfigure(write_through=False)  # type: ignore[union-attr]
    print("wrapped é")
    print("wrapped again", end="\n")


def put_back() -> None:
    import io
    import sys

    sys.stdout = io.StringIO()
    print("hidden")
    sys.stdout = sys.__stdout__
    print("wrapped é")
    print("wrapped again")


def close() -> None:
    import sys

    print("wrapped é")
    sys.stdout.close()
    print("wrapped again")


@pytest.mark.parametrize("change", [wrap_twice, use_codecs, reconfigure, put_back, close])
def test_a_task_may_put_another_stream_around_the_buffer(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str], change: Callable[[], None]
) -> None:
    for _ in range(2):
        pool.submit(change).result()
        assert capsys.readouterr() == ("wrapped é\nwrapped again\n", "")
        pool.submit(say, "after", end="").result()
        assert capsys.readouterr() == ("after", "")


def test_a_task_that_leaves_no_stream_or_one_that_fails_hurts_nothing(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(kind: str) -> str:
        import sys

        class Hostile:
            def flush(self) -> None:
                raise SystemExit

        before = type(sys.stdout).__name__
        sys.stdout = Hostile() if kind == "hostile" else None
        if kind == "gone":
            del sys.stdout
        return before

    found = [pool.submit(leave, kind).result() for kind in ("hostile", "none", "gone")]
    assert found == ["TextIOWrapper", "Hostile", "NoneType"]
    assert capsys.readouterr() == ("", "")


def test_an_initializer_may_print(capsys: pytest.CaptureFixture[str]) -> None:
    with InterpreterPoolExecutor(1, initializer=say, initargs=("set", "up")) as pool:
        pool.submit(abs, 1).result()
        assert capsys.readouterr().out == "set up\n"


def test_a_thread_that_outlives_its_task_is_heard(
    gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave_behind(fd: int) -> None:
        import os
        import threading

        threading.Thread(target=lambda: (os.read(fd, 1), print("late"))).start()

    with InterpreterPoolExecutor(1) as pool:
        pool.submit(leave_behind, gate.exit).result()
        assert capsys.readouterr().out == ""
        pool.shutdown(wait=False)
        gate.open()
    assert capsys.readouterr().out == "late\n"


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(f"cannot write {text!r}")


def test_a_stream_that_fails_is_reported_once_and_hurts_no_task(
    pool: InterpreterPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.redirect_stdout(Broken()):
        for _ in range(3):
            assert pool.submit(say, "lost").result() is None
    (record,) = caplog.records
    assert record.name == "concurrent.futures"
    assert record.getMessage() == "standard output of a worker cannot be passed on"
    assert "cannot write 'lost\\n'" in caplog.text


def test_a_program_without_standard_output_loses_what_is_printed(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert pool.submit(say, "lost").result() is None
    assert not caplog.records


def test_what_a_stream_cannot_encode_is_escaped(pool: InterpreterPoolExecutor) -> None:
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "ascii")) as stream:
        pool.submit(say, "grün").result()
        stream.flush()
    assert stream.buffer.getvalue() == b"gr\\xfcn\n"


PROGRAM = """
from interpool import InterpreterPoolExecutor
pool = InterpreterPoolExecutor(2)
for n in range(20):
    pool.submit(print, "line", n)
"""


def test_a_program_that_ends_at_once_prints_everything() -> None:
    done = run_program(PROGRAM)
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == sorted(f"line {n}" for n in range(20))


# --- Logging -------------------------------------------------------------------------------------


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("test_environment")
    yield made
    made.setLevel(logging.NOTSET)
    made.handlers.clear()
    logging.disable(logging.NOTSET)


def log_all(text: str) -> list[str]:
    import logging

    logger = logging.getLogger("test_environment")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "%s %d", text, level)
    return [
        name for name in ("DEBUG", "INFO", "ERROR") if logger.isEnabledFor(getattr(logging, name))
    ]


def test_records_reach_the_handlers_here_at_the_level_of_each_submit(
    pool: InterpreterPoolExecutor, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    assert pool.submit(log_all, "a").result() == ["ERROR"]
    assert [record.getMessage() for record in caplog.records] == ["a 30", "a 40"]
    caplog.clear()
    logger.setLevel(logging.DEBUG)
    assert pool.submit(log_all, "b").result() == ["DEBUG", "INFO", "ERROR"]
    assert len(caplog.records) == 4
    caplog.clear()
    logging.disable(logging.INFO)
    assert pool.submit(log_all, "c").result() == ["ERROR"]
    logging.disable(logging.NOTSET)
    logger.setLevel(logging.NOTSET)
    logger.propagate = False
    try:
        pool.submit(log_all, "d").result()
    finally:
        logger.propagate = True
    assert [record.getMessage() for record in caplog.records] == ["c 30", "c 40"]


def test_a_record_tells_where_it_comes_from(
    pool: InterpreterPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        import logging

        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logging.getLogger("deep.down").exception("failed %s", {1}, extra={"job": 7, "of": {2}})

    pool.submit(fail).result()
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "deep.down",
        "ERROR",
        "failed {1}",
    )
    assert (record.funcName, record.filename) == ("fail", Path(__file__).name)
    assert (record.threadName, record.job, record.of) == ("own_0", 7, "{2}")  # type: ignore[attr-defined]
    assert "ZeroDivisionError: division by zero" in caplog.text


def test_a_level_has_the_name_that_main_gives_it(
    pool: InterpreterPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    def log(level: int, name: str) -> None:
        import logging

        if name:
            logging.addLevelName(level, name)
        logging.getLogger("any").log(level, "text")

    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr(logging, "_levelToName", dict(logging._levelToName))
        patched.setattr(logging, "_nameToLevel", dict(logging._nameToLevel))
        logging.addLevelName(35, "LOUD")
        for level, name in ((35, ""), (36, "LOUDER"), (37, "")):
            pool.submit(log, level, name).result()
    assert [it.levelname for it in caplog.records] == ["LOUD", "LOUDER", "Level 37"]


def test_a_handler_that_fails_is_reported_and_hurts_no_task(
    pool: InterpreterPoolExecutor, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    class Hostile(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(record.getMessage())

    logger.addHandler(Hostile())
    assert pool.submit(log_all, "a").result() == ["ERROR"]
    reports = [it.getMessage() for it in caplog.records if it.name == "concurrent.futures"]
    assert reports == ["a log record of a worker cannot be passed on"]


HOSTILE = """
import logging, sys, threading
from interpool import BrokenInterpreterPool, InterpreterPoolExecutor
class Hostile(logging.Handler):
    def emit(self, record):
        raise {raised}("hostile")
logging.getLogger().addHandler(Hostile())
pool = InterpreterPoolExecutor(1)
def log():
    import logging
    logging.warning("lost")
    return "done"
def fail():
    raise ValueError("fails")
"""


@pytest.mark.parametrize("raised", ["OSError", "SystemExit", "KeyboardInterrupt"])
def test_a_handler_that_fails_for_reports_too_hurts_nothing(raised: str) -> None:
    done = run_program(
        HOSTILE.format(raised=raised)
        + """
print(pool.submit(log).result(), pool.submit(log).result())
called = threading.Event()
entered, left = threading.Event(), threading.Event()
first = pool.submit(abs, -1)
first.add_done_callback(lambda _: (entered.set(), left.wait()))
entered.wait()
future = pool.submit(abs, -1)
future.add_done_callback(lambda _: 1 / 0)
future.add_done_callback(lambda _: called.set())
left.set()
print(future.result(), called.wait())
broken = InterpreterPoolExecutor(1, initializer=fail)
for _ in range(2):
    try:
        broken.submit(abs, -1).result()
    except BrokenInterpreterPool as error:
        print(type(error).__name__)
broken.shutdown()
pool.shutdown()
print("down")
"""
    )
    broken = "BrokenInterpreterPool"
    assert done.stdout.split() == ["done", "done", "1", "True", broken, broken, "down"]
    assert done.returncode == 0
    reports = [line for line in done.stderr.splitlines() if line.startswith("interpool: ")]
    assert len(reports) == 3
    assert reports[0] == "interpool: a log record of a worker cannot be passed on"
    assert reports[1].startswith("interpool: exception calling callback for <Future at ")
    assert "fails" in reports[2]


def test_closed_standard_streams_hurt_nothing() -> None:
    done = run_program("""
import os, sys
from interpool import InterpreterPoolExecutor
sys.stdout.close()
sys.stderr.close()
def talk():
    import logging, sys
    print("lost"); print("lost", file=sys.stderr); logging.error("lost")
with InterpreterPoolExecutor(1) as pool:
    for _ in range(3):
        pool.submit(talk).result()
os.write(1, b"done")
""")
    assert (done.stdout, done.stderr, done.returncode) == ("done", "", 0)


def test_a_handler_may_use_the_pool_that_breaks() -> None:
    done = run_program("""
import logging, threading
from interpool import BrokenInterpreterPool, InterpreterPoolExecutor
class Submits(logging.Handler):
    def emit(self, record):
        def submit():
            try:
                pool.submit(abs, -1)
            except BrokenInterpreterPool:
                print("refused")
        thread = threading.Thread(target=submit)
        thread.start()
        thread.join()
logging.getLogger().addHandler(Submits())
def fail():
    raise ValueError
with InterpreterPoolExecutor(1, initializer=fail) as pool:
    print(type(pool.submit(abs, -1).exception()).__name__)
""")
    assert done.stdout.split() == ["refused", "BrokenInterpreterPool"]
    assert (done.stderr, done.returncode) == ("", 0)


JOBS = """
import logging
log = logging.getLogger("jobs")
handler = {handler}
handler.setFormatter(logging.Formatter("own: %(message)s"))
log.addHandler(handler)
log.setLevel("INFO")
log.propagate = {propagate}
def work(n):
    log.info("work %d", n)
    return n
"""
JOBS_PROGRAM = """
import jobs, logging
from interpool import InterpreterPoolExecutor
{config}
with InterpreterPoolExecutor(1) as pool:
    print(jobs.work(1), pool.submit(jobs.work, 2).result())
    {later}
    print(jobs.work(3), pool.submit(jobs.work, 4).result())
"""
OWN, ROOT = "own: work {}", "root: work {}"
CONFIG = "logging.basicConfig(format='root: %(message)s', level='INFO')"
NEW_FORM = "jobs.handler.setFormatter(logging.Formatter('new: %(message)s'))"


@pytest.mark.parametrize(
    ("propagate", "config", "later", "forms"),
    [
        (True, "", "", [[OWN], [OWN]]),
        (False, "", "", [[OWN], [OWN]]),
        (True, CONFIG, "", [[OWN, ROOT], [OWN, ROOT]]),
        (False, CONFIG, "", [[OWN], [OWN]]),
        (True, "", NEW_FORM, [[OWN], ["new: work {}"]]),
    ],
)
@pytest.mark.parametrize("handler", ["StreamHandler()", "FileHandler('log')"])
def test_a_handler_that_a_module_adds_in_both_says_once_what_it_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    handler: str,
    propagate: bool,
    config: str,
    later: str,
    forms: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.py").write_text(
        JOBS.format(handler=f"logging.{handler}", propagate=propagate)
    )
    done = run_program(JOBS_PROGRAM.format(config=config, later=later))
    assert done.stdout == "1 2\n3 4\n"
    log = tmp_path / "log"
    lines = done.stderr.splitlines() + (log.read_text().splitlines() if log.exists() else [])
    expected = [form.format(n) for n in range(1, 5) for form in forms[n > 2]]
    assert sorted(lines) == sorted(expected)


def test_a_handler_that_was_made_before_it_was_added_says_once_what_it_says(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str], logger: logging.Logger
) -> None:
    def attach_and_log() -> None:
        import logging

        logger = logging.getLogger("test_environment")
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())
        logger.warning("once")

    pool.submit(attach_and_log).result()
    assert capsys.readouterr().err == "once\n"
    handler = logging.StreamHandler()
    pool.submit(abs, 1).result()
    logger.addHandler(handler)  # of which nobody is told
    pool.submit(attach_and_log).result()
    assert capsys.readouterr().err == "once\n"


def test_a_handler_that_only_the_worker_has_works(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, logger: logging.Logger
) -> None:
    def attach() -> None:
        import logging
        import sys

        logging.getLogger("test_environment").addHandler(logging.StreamHandler(sys.stdout))

    logger.addHandler(logging.NullHandler())
    with InterpreterPoolExecutor(1, initializer=attach) as pool:
        pool.submit(log_all, "a").result()
    assert capsys.readouterr().out == "a 30\na 40\n"
    assert [record.getMessage() for record in caplog.records] == ["a 30", "a 40"]


def test_what_cannot_be_formatted_is_told_as_logging_tells_it(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    def log_badly() -> None:
        import logging

        logging.error("%d", "no number")  # noqa: LOG015

    pool.submit(log_badly).result()
    assert "--- Logging error ---" in capsys.readouterr().err


def test_an_unconfigured_program_prints_warnings_and_errors() -> None:
    done = run_program("""
from interpool import InterpreterPoolExecutor
def log():
    import logging
    logging.info("quiet"); logging.getLogger("a").warning("loud")
with InterpreterPoolExecutor(1) as pool:
    pool.submit(log).result()
""")
    assert (done.stdout, done.stderr) == ("", "loud\n")


# --- Warnings ------------------------------------------------------------------------------------


class OwnWarning(UserWarning):
    """A category that a worker knows by value only."""


def warn(category: type[Warning], text: str) -> str:
    import warnings

    try:
        warnings.warn(text, category, stacklevel=1)
    except Warning as error:
        return f"raised {error}"
    return "passed"


def test_warning_filters_are_those_of_each_submit(
    pool: InterpreterPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.submit(warn, UserWarning, "one").result() == "raised one"
        warnings.filterwarnings("ignore", message="tw.")
        assert pool.submit(warn, UserWarning, "two").result() == "passed"
        assert pool.submit(warn, UserWarning, "one").result() == "raised one"
        warnings.filterwarnings("ignore", category=OwnWarning)
        assert pool.submit(warn, OwnWarning, "own").result() == "passed"
        assert pool.submit(warn, UserWarning, "one").result() == "raised one"
        assert capsys.readouterr().err == ""
        warnings.simplefilter("always")
        assert pool.submit(warn, UserWarning, "shown").result() == "passed"
        assert "UserWarning: shown" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("-Wdefault",), ("-Xdev",), ("-Walways::UserWarning",)])
def test_filters_of_the_command_line_are_those_of_a_moment_too(options: tuple[str, ...]) -> None:
    done = run_program(
        Path(options[0]),
        "-c",
        """
import warnings
from interpool import InterpreterPoolExecutor
def filters():
    import warnings
    return len(warnings.filters)
def warn():
    import warnings
    warnings.warn("raised")
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(filters).result() == len(warnings.filters))
warnings.simplefilter("error")
with InterpreterPoolExecutor(1) as pool:
    print(repr(pool.submit(warn).exception()))
    warnings.simplefilter("ignore")
    print(pool.submit(warn).exception())
""",
    )
    assert done.stdout.splitlines() == ["True", "UserWarning('raised')", "None"]
    assert done.stderr == ""


def test_warnings_are_logged_where_they_are_logged_here(
    pool: InterpreterPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    logging.captureWarnings(capture=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            pool.submit(warn, UserWarning, "logged").result()
    finally:
        logging.captureWarnings(capture=False)
    (record,) = caplog.records
    assert record.name == "py.warnings"
    assert "UserWarning: logged" in record.getMessage()


# --- Paths, arguments, names ---------------------------------------------------------------------


def settings() -> tuple[list[str], list[str]]:
    import sys

    return list(sys.path), list(sys.argv)


def test_path_and_arguments_are_those_of_each_submit(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.submit(settings).result() == (sys.path, sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path, "/later"])
    monkeypatch.setattr(sys, "argv", ["other", "arguments"])
    future = pool.submit(settings)
    expected = sys.path, sys.argv
    monkeypatch.undo()
    assert future.result() == expected
    assert pool.submit(settings).result() == (sys.path, sys.argv)


def test_what_is_odd_in_path_arguments_and_levels_is_taken_over_as_what_it_means(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch, logger: logging.Logger
) -> None:
    class Text(str):
        __slots__ = ()

    class Level(enum.IntEnum):
        LOUD = 35

    monkeypatch.setattr(sys, "path", [*sys.path, Text("/text"), Path("/path"), b"/bytes"])
    monkeypatch.setattr(sys, "argv", [Text("program"), 1])
    logger.setLevel(Level.LOUD)
    path, argv = pool.submit(settings).result()
    assert path == [*sys.path[:-3], "/text"]  # what is no text, imports pass over
    assert argv == ["program", "1"]
    assert pool.submit(log_all, "a").result() == ["ERROR"]


@pytest.mark.parametrize("argv", [None, (), ("program", "a")])
def test_arguments_may_be_no_list(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch, argv: Any
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert pool.submit(settings).result()[1] == list(argv or ())


def test_what_a_task_changes_stays_until_it_is_changed_here(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extend() -> None:
        import sys

        sys.path.append("/mine")

    pool.submit(extend).result()
    assert pool.submit(settings).result() == ([*sys.path, "/mine"], sys.argv)
    monkeypatch.setattr(sys, "argv", ["other"])
    assert pool.submit(settings).result() == ([*sys.path, "/mine"], ["other"])
    monkeypatch.syspath_prepend("/ours")
    assert pool.submit(settings).result() == (sys.path, ["other"])


def test_a_module_found_by_a_later_path_is_found_by_workers_too(
    pool: InterpreterPoolExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool.submit(abs, 1).result()
    (tmp_path / "found_later.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import found_later  # type: ignore[import-not-found]

    try:
        assert pool.submit(found_later.answer).result() == 42
    finally:
        del sys.modules["found_later"]


@pytest.mark.parametrize("preload", [(), ("threading",)])
def test_a_worker_s_thread_has_its_name(preload: tuple[str, ...]) -> None:
    def name() -> str:
        import threading

        return threading.current_thread().name

    with InterpreterPoolExecutor(1, thread_name_prefix="mill", preload=preload) as pool:
        assert pool.submit(name).result() == "mill_0"


def test_the_working_directory_is_searched_as_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside.py").write_text("def where():\n    return __name__\n")
    monkeypatch.chdir(tmp_path)
    done = run_program("""
import beside
from interpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(1) as pool:
    print(pool.submit(beside.where).result())
""")
    assert (done.stdout, done.stderr) == ("beside\n", "")


# --- What it costs -------------------------------------------------------------------------------


def test_an_unchanged_environment_is_the_same_object() -> None:
    assert _environment.snapshot() is _environment.snapshot()
    before = _environment.snapshot()
    with warnings.catch_warnings():
        warnings.simplefilter("error", OwnWarning)
        assert _environment.snapshot() != before
    assert _environment.snapshot() == before


def test_modules_that_are_waited_for_load_as_they_always_do(pool: InterpreterPoolExecutor) -> None:
    def look() -> list[str]:
        import sys

        finders = len(sys.meta_path)
        import logging
        import threading

        loaders = [type(it.__spec__.loader).__name__ for it in (logging, threading)]  # type: ignore[union-attr]
        return [*loaders, type(logging.__loader__).__name__, str(finders - len(sys.meta_path))]

    assert pool.submit(look).result() == ["SourceFileLoader"] * 3 + ["1"]
