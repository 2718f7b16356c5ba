"""`interpool map`: a function of the user's over the records of files."""

import codecs
import difflib
import glob
import inspect
import os
import sys
from collections.abc import Callable
from concurrent.futures.interpreter import BrokenInterpreterPool
from pathlib import Path
from typing import Any, Final, Never

import click

from interpool._cli.map_progress import showing
from interpool._cli.report_option import reporting
from interpool._cli.targets import found
from interpool._mapping.job import Ended, Job, NotBegunError, perform
from interpool._mapping.journal import JournalError
from interpool._mapping.reading import STDIN, InputError
from interpool._mapping.writing import OutputError

# What a shell shows of a program whose reader has gone: 128 and SIGPIPE.
_READER_GONE: Final = 141
_LANES: Final = ("auto", "interpreter", "process", "thread")


@click.command(
    name="map",
    epilog="""\b
Examples:
  interpool map mypackage.text:clean access.log > clean.log
  seq 10 | interpool map math:sqrt --input json
  interpool map jobs:score --input csv --format csv 'data/*.csv' --output scores.csv
  interpool map jobs:resize --input files '**/*.png' --errors failed.jsonl
  interpool map jobs:fetch urls.txt --output pages.jsonl --format json \\
      --timeout 30 --retries 2 --errors failed.jsonl --resume fetch.journal

\b
Exit codes:
  0    done
  1    records have failed, or the input or the output has
  2    not begun: the command was not understood
  130  interrupted (Ctrl-C)
  141  whoever read the output has gone, as `head` does
  143  ended (SIGTERM)""",
)
@click.argument("target", metavar="MODULE:FUNCTION")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--input",
    "kind",
    type=click.Choice(["lines", "json", "csv", "null", "files"]),
    default="lines",
    show_default=True,
    help="What a record is: a line, a line of JSON, a row, what ends with a NUL, or a file's path.",
)
@click.option("--no-header", is_flag=True, help="The first row of a CSV file is a record, too.")
@click.option(
    "--read",
    type=click.Choice(["text", "bytes"]),
    help="With --input files: what is in the file, not its path.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of input, text and CSV.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="How results are written, one a line.",
)
@click.option("--output", metavar="FILE", help="Where they go.  [default: standard output]")
@click.option("--unordered", is_flag=True, help="Results as they come, not in order.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip", "report"]),
    help="When a record fails.  [default: stop; with --errors: report]",
)
@click.option("--errors", metavar="FILE", help="Where failures are reported, as JSON lines.")
@click.option("--resume", metavar="FILE", help="A journal: an ended run goes on where it was.")
@click.option("--workers", type=click.IntRange(min=1), help="[default: cores]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long a record may take.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How often a record that fails is tried again.",
)
@click.option("--lane", type=click.Choice(_LANES), default="auto", show_default=True)
@click.option("--preload", multiple=True, metavar="MODULE", help="Import it when a worker starts.")
@click.option(
    "--chunksize",
    type=click.IntRange(min=1),
    help="Records sent together.  [default: by what they take]",
)
@click.option("--trace", metavar="FILE", help="Where what workers did goes, for ui.perfetto.dev.")
@click.option("--report", metavar="FILE", help="Where a page that shows it goes.")
@click.option("--progress/--no-progress", "is_shown", default=None, help="[default: on a terminal]")
@click.option("--debug", is_flag=True, help="Show the traceback of what fails.")
def command(*, target: str, debug: bool, is_shown: bool | None, **options: Any) -> int:
    """Call a function with each record of some files, and write what it returns.

    FILE may be a pattern, quoted or not, or `-` for standard input, which is read if there is none.
    The function is called with one argument: a text; with json, any value; with csv, a dictionary,
    or a list with --no-header. The module is imported; the current folder is searched first.

    What the function prints goes to standard error. Memory stays the same however much there is to
    read. A run with --resume can be ended at any moment and repeated: it goes on where it was, and
    writes nothing twice.
    """
    options["sources"] = _sources(options.pop("files"), options["kind"])
    options["on_error"] = options["on_error"] or ("report" if options["errors"] else "stop")
    _check(options)
    fn = _function(target, is_debugged=debug)
    is_shown = sys.stderr.isatty() if is_shown is None else is_shown
    try:
        with reporting(options.pop("report"), options, is_debugged=debug):
            job = Job(target=target, fn=fn, **options)
            ended = perform(job, lambda job: showing(job, is_shown))
    except BrokenPipeError:
        return _READER_GONE
    except (NotBegunError, JournalError) as error:
        raise _NotBegun(f"{error}.") from None
    except BrokenInterpreterPool as error:
        message = f"No worker can be made ready: {error}"
        raise click.ClickException(message) from None
    except (InputError, OutputError) as error:
        message = f"{error}."
        raise click.ClickException(message) from None
    return _judged(ended, is_debugged=debug)


class _NotBegun(click.ClickException):
    exit_code = 2


def _judged(ended: Ended, *, is_debugged: bool) -> int:
    """Say what has failed, and return the exit code."""
    if ended.stopped_at is not None:
        if is_debugged:
            click.echo(ended.stopped_at.traceback, err=True, nl=False)
        hint = "" if is_debugged else " --debug shows where; --on-error skip goes on."
        message = f"{ended.first_failure.rstrip('.')}.{hint}"
        raise click.ClickException(message)
    if ended.failed:
        first = f"; the first, {ended.first_failure}" if ended.first_failure else ""
        records = "record" if ended.done == 1 else "records"
        click.echo(
            f"interpool: {ended.failed:,} of {ended.done:,} {records} failed{first}", err=True
        )
        return 1
    return 0


# --- What was asked for --------------------------------------------------------------------------


def _refuse(message: str) -> Never:
    raise click.UsageError(message)


def _check(options: dict[str, Any]) -> None:
    """Refuse options that do not go together."""
    is_report = options["on_error"] == "report"
    refusals = {
        "--no-header is for --input csv": options["no_header"] and options["kind"] != "csv",
        "--read is for --input files": options["read"] and options["kind"] != "files",
        "--on-error report needs --errors FILE, where failures go": is_report
        and not options["errors"],
        "--errors FILE is for --on-error report": options["errors"] and not is_report,
        "--resume needs --output FILE: what was written to a pipe cannot be gone on with": options[
            "resume"
        ]
        and not options["output"],
        "--resume needs files: standard input cannot be read a second time": options["resume"]
        and STDIN in options["sources"],
    }
    for message, is_so in refusals.items():
        if is_so:
            _refuse(message)
    try:
        codecs.lookup(options["encoding"])
    except LookupError:
        _refuse(f"There is no encoding {options['encoding']!r}")
    _check_files(options)


def _check_files(options: dict[str, Any]) -> None:
    """Refuse to write into what is to be read, or twice into one file."""
    there = [Path(it) for it in options["sources"] if it != STDIN]
    for name in ("output", "errors", "resume", "trace", "report"):
        path = Path(options[name] or os.devnull)
        if any(path.absolute() == other.absolute() for other in there):
            _refuse(f"--{name} {path} is used for something else, too")
        if path.is_file() and any(path.samefile(it) for it in there if it.exists()):
            _refuse(f"--{name} {path} is used for something else, too")
        if options[name]:
            there.append(path)


def _sources(files: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Return the files that are meant, those of a pattern by name."""
    sources: list[str] = []
    for name in files or (STDIN,):
        if name == STDIN or Path(name).is_file():
            sources.append(name)
        elif Path(name).is_dir():
            _refuse(f"{name!r} is a folder. '{name.rstrip('/')}/*' is what is in it")
        elif Path(name).exists():  # a pipe, or a device
            sources.append(name)
        elif glob.has_magic(name):
            matching = [it for it in _matching(name) if Path(it).is_file()]
            if not matching:
                _refuse(f"There is no file that {name!r} is a pattern of")
            sources += sorted(matching)
        else:
            _refuse(f"There is no file {name!r}.{_suggestion(name)}")
    if sources.count(STDIN) > 1:
        _refuse("Standard input (-) can be read once")
    if kind == "files" and STDIN in sources and len(sources) > 1:
        _refuse("With --input files, paths come from standard input (-) or from the command line")
    return tuple(sources)


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path's drops a leading `./`


def _suggestion(name: str) -> str:
    try:
        folder = os.listdir(Path(name).parent)  # noqa: PTH208 - names are what is compared
    except OSError:
        return ""
    close = difflib.get_close_matches(Path(name).name, folder, n=1)
    return f" Did you mean {str(Path(name).with_name(close[0]))!r}?" if close else ""


def _function(target: str, *, is_debugged: bool) -> Callable[[Any], Any]:
    fn: Callable[[Any], Any] = found(target, is_debugged=is_debugged)
    if not callable(fn):
        _refuse(f"{target!r} is no function, but of type {type(fn).__qualname__}")
    try:
        signature = inspect.signature(fn)
    except ValueError, TypeError:  # of some that are written in C, nobody knows
        return fn
    try:
        signature.bind(object())
    except TypeError as error:
        _refuse(
            f"{target} cannot be called with one argument, the record: {error}. "
            f"Its signature is {signature}"
        )
    return fn
