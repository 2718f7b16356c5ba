"""`interpool map`: a function of the user's over the records of files."""

import codecs
import glob
import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from concurrent.futures.interpreter import BrokenInterpreterPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Never, TextIO

import click

from interpool import FallbackWarning
from interpool._cli import completion
from interpool._cli.command import Choice, Command, NotBegun, is_debugged, suggestion
from interpool._cli.map_progress import display, showing
from interpool._cli.report_option import reporting
from interpool._cli.targets import check_call, check_module, function
from interpool._mapping.job import Ended, Job, NotBegunError, perform
from interpool._mapping.journal import JournalError
from interpool._mapping.reading import STDIN, InputError
from interpool._mapping.writing import OutputError

# What a shell shows of a program whose reader has gone: 128 and SIGPIPE.
_READER_GONE: Final = 141
_FILE: Final = click.Path(exists=True, dir_okay=False)
_LANES: Final = ("auto", "interpreter", "process", "thread")
_WRITTEN: Final = click.Path(readable=False)


@click.command(
    cls=Command,
    name="map",
    short_help="Call a function with each record of some files.",
    epilog="""\b
Examples:
  interpool map mypackage.text:clean access.log > clean.log
  seq 10 | interpool map math:sqrt --input json
  interpool map jobs:score --input csv --format csv 'data/*.csv' --output scores.csv
  interpool map jobs:resize --input files '**/*.png' --errors failed.jsonl
  interpool map jobs:score --input json events.jsonl --live > scores.txt
  interpool map jobs:fetch urls.txt --output pages.jsonl --format json \\
      --timeout 30 --retries 2 --errors failed.jsonl --resume fetch.journal
  interpool map mypackage.text:clean access.log --cluster tcp://scheduler:8786 > clean.log

\b
Exit codes:
  0    done
  1    records have failed, or the input, the output or the cluster has
  2    not begun: the command was not understood, or there is no such cluster
  130  interrupted (Ctrl-C)
  141  whoever read the output has gone, as `head` does
  143  ended (SIGTERM)""",
)
@click.argument("target", metavar="MODULE:FUNCTION", shell_complete=completion.functions)
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(readable=False))
@click.option(
    "--input",
    "kind",
    type=Choice(["lines", "json", "csv", "null", "files"]),
    default="lines",
    show_default=True,
    help="What a record is: a line, a line of JSON, a row, what ends with a NUL, or a file's path.",
)
@click.option("--no-header", is_flag=True, help="The first row of a CSV file is a record, too.")
@click.option(
    "--read",
    type=Choice(["text", "bytes"]),
    help="With --input files: what is in the file, not its path.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of input, text and CSV.")
@click.option(
    "--format",
    "form",
    type=Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="How results are written, one a line.",
)
@click.option(
    "--output", metavar="FILE", type=_WRITTEN, help="Where they go.  [default: standard output]"
)
@click.option("--unordered", is_flag=True, help="Results as they come, not in order.")
@click.option(
    "--on-error",
    type=Choice(["stop", "skip", "report"]),
    help="When a record fails.  [default: stop; with --errors: report]",
)
@click.option(
    "--errors", metavar="FILE", type=_WRITTEN, help="Where failures are reported, as JSON lines."
)
@click.option(
    "--resume", metavar="FILE", type=_WRITTEN, help="A journal: an ended run goes on where it was."
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="How many work at a time.  [default: cores]"
)
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
@click.option(
    "--lane",
    type=Choice(_LANES),
    default="auto",
    show_default=True,
    help="Where the function runs: auto is an interpreter, or a process if that refuses.",
)
@click.option(
    "--preload",
    multiple=True,
    metavar="MODULE",
    shell_complete=completion.modules,
    help="Import it when a worker starts.",
)
@click.option(
    "--chunksize",
    type=click.IntRange(min=1),
    help="Records sent together.  [default: by what they take]",
)
@click.option("--cluster", metavar="ADDRESS", help="Run it on the Dask cluster of this scheduler.")
@click.option("--tls-ca-file", type=_FILE, help="For --cluster tls://...: authorities, in PEM.")
@click.option("--tls-cert", type=_FILE, help="The same: this program's certificate.")
@click.option("--tls-key", type=_FILE, help="The same: its private key.")
@click.option(
    "--progress/--no-progress",
    "is_shown",
    default=None,
    help="How far it is, on standard error.  [default: on a terminal]",
)
@click.option(
    "--live",
    "is_live",
    is_flag=True,
    help="The same with workers, lanes, rates, queue and memory, as they are now.",
)
@click.option("--trace", metavar="FILE", help="Where what workers did goes, for ui.perfetto.dev.")
@click.option("--report", metavar="FILE", help="Where a page that shows it goes.")
def command(*, target: str, is_shown: bool | None, is_live: bool, **options: Any) -> int:
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
    _check(options, is_live=is_live)
    options["tls"] = _tls(options)
    fn = function(target)
    check_call(target, fn, [object()], "one argument, the record")
    for name in options["preload"]:
        check_module(name)
    shown = display(is_shown, is_live, options["output"])
    try:
        with reporting(options.pop("report"), options), _fallbacks_said():
            job = Job(target=target, fn=fn, **options)
            ended = perform(job, lambda job, place: showing(job, place, shown), _say)
    except BrokenPipeError:
        return _READER_GONE
    except (NotBegunError, JournalError) as error:
        raise NotBegun(f"{error}.") from error
    except BrokenInterpreterPool as error:
        message = f"No worker can be made ready: {error}"
        raise click.ClickException(message) from error
    except BrokenExecutor as error:
        hint = "the same command goes on" if options["resume"] else "with --resume it would go on"
        message = f"{str(error).rstrip('.')}. What has been written is whole; {hint}."
        raise click.ClickException(message) from error
    except (InputError, OutputError) as error:
        message = f"{error}."
        raise click.ClickException(message) from error
    return _judged(ended)


def _say(text: str) -> None:
    click.echo(f"interpool: {text}", err=True)


@contextmanager
def _fallbacks_said() -> Iterator[None]:
    """Say in a line, in this command's words, what a program would be warned of."""
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, FallbackWarning):
            said = str(message).partition(" fallback=")[0].replace("preload=", "--preload")
            _say(f"{said} --lane process says that it is meant")
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _judged(ended: Ended) -> int:
    """Say what has failed, and return the exit code."""
    if ended.stopped_at is not None:
        if is_debugged():
            click.echo(ended.stopped_at.traceback, err=True, nl=False)
        hint = "" if is_debugged() else " --debug shows where; --on-error skip goes on."
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
    raise NotBegun(message)


def _check(options: dict[str, Any], *, is_live: bool) -> None:
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
    refusals |= _not_on_a_cluster(options, is_live=is_live)
    for message, is_so in refusals.items():
        if is_so:
            _refuse(message)
    try:
        codecs.lookup(options["encoding"])
    except LookupError:
        _refuse(f"There is no encoding {options['encoding']!r}")
    _check_files(options)


def _not_on_a_cluster(options: dict[str, Any], *, is_live: bool) -> dict[str, Any]:
    """Return what does not go together with --cluster, or without it, and whether it is so."""
    cluster = options["cluster"] is not None
    return {
        "--cluster is the address of a scheduler, like tcp://scheduler:8786": options["cluster"]
        == "",
        "--cluster has as many workers as Dask was told; --workers is for this machine": cluster
        and options["workers"],
        "--live shows workers of this machine; a cluster has a dashboard of Dask's": cluster
        and is_live,
        "--trace and --report are of this machine; a cluster has a dashboard of Dask's": (
            cluster and (options["trace"] or options["report"])
        ),
        "--preload is for workers of this machine, and a cluster's are there already": cluster
        and options["preload"],
        "--lane thread is this program's own, and --cluster elsewhere": cluster
        and options["lane"] == "thread",
        "--tls-ca-file, --tls-cert and --tls-key are for --cluster": not cluster
        and any(options[name] for name in _TLS),
    }


# By what Dask's command line calls it: what its `Security` calls it.
_TLS: Final = {
    "tls_ca_file": "tls_ca_file",
    "tls_cert": "tls_client_cert",
    "tls_key": "tls_client_key",
}


def _tls(options: dict[str, Any]) -> dict[str, str]:
    """Take out what was given for encryption, under the names that Dask has for it."""
    given = {name: options.pop(option) for option, name in _TLS.items()}
    return {name: value for name, value in given.items() if value is not None}


def _check_files(options: dict[str, Any]) -> None:
    """Refuse to write into what is to be read, or twice into one file."""
    there = [Path(it) for it in options["sources"] if it != STDIN]
    for name in ("output", "errors", "resume", "trace", "report"):
        path = Path(options[name] or "")
        if not options[name] or path.is_char_device():  # several may go into /dev/null
            continue
        if any(path.absolute() == other.absolute() for other in there):
            _refuse(f"--{name} {path} is used for something else, too")
        if path.is_file() and any(path.samefile(it) for it in there if it.exists()):
            _refuse(f"--{name} {path} is used for something else, too")
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
            _refuse(f"There is no file {name!r}.{_file_near(name)}")
    if sources.count(STDIN) > 1:
        _refuse("Standard input (-) can be read once")
    if kind == "files" and STDIN in sources and len(sources) > 1:
        _refuse("With --input files, paths come from standard input (-) or from the command line")
    return tuple(sources)


def _matching(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path's drops a leading `./`


def _file_near(name: str) -> str:
    try:
        return suggestion(name, [str(path) for path in Path(name).parent.iterdir()])
    except OSError:
        return ""
