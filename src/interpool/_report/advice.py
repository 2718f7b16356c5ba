"""What stands out in a run, and what to do about it: one rule a function; pure.

What to do is said in Python, or, of a run of `interpool map`, in that command's options.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from interpool._recommend import words
from interpool._report.data import LOST, RETRIED, Advice, Figures

# Shares of the workers' time from which on something is worth a word: arbitrary, but for what is
# said of start-up and transfer, which a pool that is used well spends next to nothing on.
_IDLE: Final = 0.15
_START: Final = 0.2
_TRANSFER: Final = 0.15
_IMPORT: Final = 0.05
_TAIL: Final = 0.08
# What workers import for themselves, whatever tasks do; and what is nobody's to preload, being part
# of a module that is.
_MACHINERY: Final = ("interpool", "_", "traceback")
_RETRIED: Final = 0.02
_FINE: Final = 0.85  # of running: nothing to win
# How much longer than the median the last task is to be called an outlier.
_OUTLIER: Final = 3.0
# A caller that encodes for such a share of the time is what workers wait for.
_ENCODING: Final = 0.6
# A task below so many seconds, submitted by itself, costs more to send than to run.
_TINY: Final = 0.0005
_MANY: Final = 200  # tasks from which on that matters


def advice(of: Figures) -> list[Advice]:
    """Return all that stands out, what matters most first; that nothing does, if nothing does."""
    found = sorted((it for rule in _RULES for it in rule(of)), key=lambda it: -it.weight)
    return found if found and of.share("run") < _FINE else [*found, *_fine(of)]


def _idle(of: Figures) -> Iterator[Advice]:
    """Workers wait for tasks, between tasks: who gives them is behind."""
    idle = sum(it.idle_between for it in of.workers)
    share = _share(max(0.0, idle - of.idle_while_waiting), of)
    if share < _IDLE:
        return
    title = f"Workers idle {words.share(share)} of the time while nothing waited"
    if of.caller_seconds >= _ENCODING * of.wall:
        yield Advice(
            "encoding",
            share,
            f"{title}: sending is the bottleneck",
            f"The thread that submits spent {words.seconds(of.caller_seconds)} of "
            f"{words.seconds(of.wall)} on encoding arguments. Send less: a path or a key instead "
            "of the object, `shared=` for what every task needs, `SharedArray` for numbers.",
        )
        return
    yield Advice(
        "input",
        share,
        f"{title}: the input is the bottleneck",
        _either(
            of,
            "Tasks come more slowly than they are done: from the iterator that the map takes its "
            "items of, from the code that submits, or because results are taken slowly and the map "
            "goes no further ahead. Make that faster (read in larger blocks, move parsing and "
            "writing into the tasks), or use fewer workers: more of them change nothing.",
            "Records come more slowly than they are done, or results are taken more slowly: from "
            "or to a pipe, from or to a disk. Rows of CSV are parsed by one thread, JSON lines in "
            "the workers. More workers change nothing.",
        ),
    )


def _startup(of: Figures) -> Iterator[Advice]:
    starting = of.seconds["start"] + sum(
        it.seconds for it in of.imports if it.is_at_start and it.workers
    )
    share = _share(starting, of)
    if share < _START or not of.workers:
        return
    each = starting / len(of.workers)
    yield Advice(
        "start-up",
        share,
        f"Start-up is {words.share(share)} of this run",
        f"{words.count(len(of.workers), 'worker')} took {words.seconds(each)} each to be ready, "
        f"for {words.seconds(of.seconds['run'])} of work. "
        + _either(
            of,
            "Use one pool for the whole program, call `prewarm()` while there is something else to "
            "do, or take fewer workers.",
            "Give one run more to do (several FILEs, a pattern), or take fewer `--workers`.",
        ),
    )


def _imports(of: Figures) -> Iterator[Advice]:
    late = [it for it in of.imports if not it.is_at_start and not it.module.startswith(_MACHINERY)]
    share = _share(sum(it.seconds for it in late), of)
    if not late or share < _IMPORT:
        return
    worst = late[0]
    each = words.seconds(worst.seconds / worst.workers)
    others = f", and {words.count(len(late) - 1, 'other module')}" if len(late) > 1 else ""
    names = [it.module for it in late[:3]]
    yield Advice(
        "imports",
        share,
        f"Import of {worst.module}: {each} in each of "
        f"{words.count(worst.workers, 'worker')}{others}",
        f"Workers import what their tasks need when they first need it: {words.share(share)} of "
        "their time here. "
        + _either(
            of,
            f"With `preload={names}` they do it before their first task, beside the rest of the "
            "program if `prewarm()` is called early; a pool that lives longer does it once.",
            f"With `{' '.join(f'--preload {it}' for it in names)}` they do it before their first "
            "record, outside of its `--timeout`; a longer run has less of it.",
        ),
    )


def _transfer(of: Figures) -> Iterator[Advice]:
    share = of.share("transfer")
    if share < _TRANSFER:
        return
    moved = sum(it.nbytes for it in of.transfers)
    most = max(of.transfers, key=lambda it: it.seconds).name
    size = f" ({words.size(moved)} in all)" if moved else ""
    where = {
        "arguments": "Most of it is loading arguments",
        "result": "Most of it is sending results back",
    }.get(most, "Most of it is encoding arguments")
    yield Advice(
        "transfer",
        share,
        f"Transfer is {words.share(share)} of the workers' time{size}",
        f"{where}. "
        + _either(
            of,
            "Send less: a path or a key instead of the object; `shared=` for what every task "
            "needs; `SharedArray` or `SharedBuffer` for numbers and bytes, which are not copied at "
            "all; return what is asked for and nothing else.",
            "Return what is asked for and nothing else; with `--input files`, workers read the "
            "files themselves.",
        ),
    )


def _tail(of: Figures) -> Iterator[Advice]:
    last = of.last
    if last is None or (share := _share(last.idle, of)) < _TAIL:
        return
    slow = last.slow
    times = slow.seconds / of.median if of.median > 0 and slow.items == 1 else 0.0
    argument = _short(slow.arguments)
    if argument and not argument.startswith("("):
        argument = f"({argument})"
    if times >= _OUTLIER:
        title = (
            f"One {of.unit} took {times:,.0f}\N{MULTIPLICATION SIGN} the median at the end: "
            "the tail"
        )
        words_ = (
            f"{slow.function}{argument} ran for {words.seconds(slow.seconds)} while other workers "
            f"had nothing left: {words.share(share)} of their time. "
            + _either(
                of,
                "Submit what takes long first, or split it.",
                "Have records that take long come first, or split them.",
            )
        )
    else:
        title = (
            f"The end is uneven: {words.share(share)} of the workers' time went to waiting for it"
        )
        words_ = (
            f"{slow.function}{argument} ended last. More, smaller tasks even it out: "
            + _either(of, "`chunksize=None` sizes a map's pieces", "no `--chunksize` sizes batches")
            + " by measurement; fewer workers idle less."
        )
    yield Advice("tail", share, title, words_)


def _fallback(of: Figures) -> Iterator[Advice]:
    for lane in of.lanes:
        if lane.lane == "process" and lane.why and "was asked for" not in lane.why:
            share = _share(lane.seconds, of)
            yield Advice(
                "fallback",
                # It costs no time by itself: told, but below what does.
                min(share, _TRANSFER - 0.01),
                f"{words.count(lane.runs, 'task')} fell back to processes: {lane.why}",
                f"{_names(lane.functions)} ran for {words.seconds(lane.seconds)} in worker "
                "processes, which take longer to start and need more memory. `interpool doctor` "
                "says which modules refuse to load in an interpreter; "
                f"`{_either(of, "lane='process'", '--lane process')}` sends them there at once.",
            )


def _tiny(of: Figures) -> Iterator[Advice]:
    for function in of.functions:
        is_map = function.items > function.runs
        if not is_map and function.runs >= _MANY and function.median < _TINY:
            yield Advice(
                "tiny",
                max(0.1, of.share("idle") / 2 + of.share("other") / 2),
                f"{function.name}: {function.runs:,} tasks of {words.seconds(function.median)}",
                "To send one takes longer than to run it. "
                + _either(
                    of,
                    "`map()` sends as many together as are worth it, and takes them one by one if "
                    "`chunksize=1` asks for that.",
                    "Without `--timeout` and `--retries`, for which each record travels by itself, "
                    "as many travel together as are worth it.",
                ),
            )


def _failures(of: Figures) -> Iterator[Advice]:
    if not of.lost:
        return
    lost = [it for it in of.failures if it.outcome in LOST]
    kinds = Counter(it.error.partition(":")[0] for it in lost if it.error)
    told = [
        f"{count:,} {said[count > 1]}"
        for name, said in _OUTCOMES.items()
        if (count := of.outcomes[name])
    ]
    how = f"Of the runs, {', '.join(told)}. " if told else ""
    if kinds:
        how += f"The most frequent error: {kinds.most_common(1)[0][0]}. "
    yield Advice(
        "failures",
        0.5,
        f"{of.lost:,} of {words.count(of.items, of.unit)} did not succeed",
        f"{how}They are listed below, with what they were called with.",
    )


_OUTCOMES: Final = {  # of one run, of more
    "failed": ("failed", "failed"),
    "timeout": ("ran into its time limit", "ran into their time limit"),
    "interrupted": ("was interrupted", "were interrupted"),
}


def _retries(of: Figures) -> Iterator[Advice]:
    again = of.outcomes[RETRIED]
    share = _share(of.repeated, of)
    if again and share >= _RETRIED:
        yield Advice(
            "retries",
            share,
            f"{words.count(again, 'run')} had to be repeated: {words.share(share)} of the time",
            f"{words.seconds(of.repeated)} of work came to nothing, and was done again from its "
            "beginning. What made it fail is listed below.",
        )


def _accidents(of: Figures) -> Iterator[Advice]:
    tracks = (*of.trace.callers, *of.trace.workers)
    happened = Counter(it.name for track in tracks for it in track.instants)
    if abandoned := happened["worker abandoned"]:
        yield Advice(
            "abandoned",
            0.4,
            f"{words.count(abandoned, 'worker')} did not stop and had to be given up",
            "A call stuck in C cannot be interrupted in an interpreter: its worker goes on "
            "beside its successor. In the process lane it would have been killed: "
            f"`{_either(of, "options(lane='process')", '--lane process')}`.",
        )
    if died := happened["worker died"]:
        yield Advice(
            "died",
            0.6,
            f"{died:,} worker process{'es' * (died > 1)} died",
            "Of a crash in C code, or because memory ran out and the system ended it. "
            + _either(
                of,
                "Fewer workers need less memory; `max_tasks_per_worker=` lets go of what tasks "
                "leave behind.",
                "Fewer `--workers` need less memory.",
            ),
        )


def _cores(of: Figures) -> Iterator[Advice]:
    cores, workers = of.trace.info.get("cores"), of.trace.info.get("workers")
    if not isinstance(cores, int) or not isinstance(workers, int) or of.share("run") < _FINE / 2:
        return
    if workers > cores:
        yield Advice(
            "cores",
            0.12,
            f"{workers} workers share {words.count(cores, 'core')}",
            "What computes runs no faster than there are cores: each worker more costs its start "
            "and its memory. More of them help only where tasks wait for something.",
        )
    elif workers < cores and of.most_waiting > workers and len(of.workers) >= workers:
        yield Advice(
            "cores",
            0.12,
            f"{words.count(workers, 'worker')} on {cores} cores, and up to {of.most_waiting:,} "
            "tasks waited",
            "If nothing else needs the cores, "
            f"`{_either(of, 'max_workers=', '--workers ')}{cores}` gets it done sooner.",
        )


def _fine(of: Figures) -> Iterator[Advice]:
    share = of.share("run")
    if share >= _FINE:
        title = f"Workers ran tasks for {words.share(share)} of their time"
        yield Advice("fine", 0.0, title, "There is little to win but in the tasks themselves.")
    elif of.runs:
        title = f"Nothing stands out: workers ran tasks for {words.share(share)} of their time"
        yield Advice("fine", 0.0, title, "Where the rest went is told below.")
    else:
        yield Advice(
            "fine", 0.0, "No task has run", "Workers may have been started, and were given nothing."
        )


_RULES: Final[tuple[Callable[[Figures], Iterator[Advice]], ...]] = (
    _idle,
    _startup,
    _imports,
    _transfer,
    _tail,
    _fallback,
    _tiny,
    _failures,
    _retries,
    _accidents,
    _cores,
)


def _either(of: Figures, in_python: str, on_the_command_line: str) -> str:
    """Whichever the run was begun by."""
    is_map = str(of.trace.info.get("command", "")).startswith("interpool map ")
    return on_the_command_line if is_map else in_python


def _share(seconds: float, of: Figures) -> float:
    return seconds / of.worker_seconds if of.worker_seconds else 0.0


def _names(functions: set[str]) -> str:
    first = sorted(functions)[:3]
    more = len(functions) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what a sentence takes
