"""The parts of the page that are text and tables; each is there without its program, too."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from interpool._recommend import words
from interpool._report.data import BAD, SHARES, Advice, Failure, Figures, Slow
from interpool._report.markup import Markup, html
from interpool._report.timeline import TRACKS

NOTHING: Final = Markup("")
_KINDS: Final[Mapping[str, str]] = {
    "start": "start-up",
    "import": "import",
    "transfer": "transfer",
    "run": "run",
    "idle": "idle",
    "other": "not told",
}
_TRANSFERS: Final[Mapping[str, str]] = {
    "encode": "encoding arguments, in the caller",
    "arguments": "loading arguments, in a worker",
    "result": "encoding results, in a worker",
    "results": "loading results, in the caller",
}
_ROWS: Final = 12  # of a table, until the rest is asked for
_WORKERS: Final = 64  # told one by one
_HAPPENED: Final = 50  # the same


def title(of: Figures) -> str:
    """What has run, in a few words."""
    command = of.trace.info.get("command")
    return command if isinstance(command, str) and command else "A run of interpool"


def header(of: Figures) -> Markup:
    """What has run, when, and on what."""
    info = of.trace.info
    parts = [_date(info.get("began")), f"interpool {info['interpool']}"]
    if "python" in info:
        parts.append(f"Python {info['python']}")
    if isinstance(workers := info.get("workers"), int):
        cores = info.get("cores")
        on = f" on {words.count(cores, 'core')}" if isinstance(cores, int) else ""
        parts.append(f"up to {words.count(workers, 'worker')}{on}")
    line = " · ".join(filter(None, parts))
    cut = NOTHING
    if of.trace.is_cut:
        cut = html(
            t'<p class="bad-word">The trace ends in the middle, as that of a run that was killed '
            t"does. "
            t"This is what there is of it.</p>"
        )
    return html(t'<header><h1>{title(of)}</h1><p class="pale">{line}</p>{cut}</header>')


def tiles(of: Figures) -> Markup:
    """The figures that come first."""
    unit = of.unit
    average = of.seconds["run"] / of.wall if of.wall else 0.0
    told = [
        ("the whole run", _time(of.wall), ""),
        (unit if of.items == 1 else f"{unit}s", f"{of.items:,}", ""),
        ("did not succeed", f"{of.lost:,}", "bad" if of.lost else ""),
        (f"{unit} in the median", _time(of.median), ""),
        ("of the workers' time in tasks", _share(of.share("run")), ""),
        ("workers in tasks, on average", f"{average:.1f}", ""),
    ]
    if of.trace.waits:
        waits = sorted(of.trace.waits)
        told.append(("waited in the median", _time(waits[len(waits) // 2] / 1e6), ""))
    if of.trace.memory:
        most = max(mebibytes for _, mebibytes in of.trace.memory)
        told.append(("of memory at most", f"{most:,.0f} MiB", ""))
    tiles = [
        html(t'<div class="{kind}"><dt>{name}</dt><dd>{figure}</dd></div>')
        for name, figure, kind in told
    ]
    return html(
        t'<section class="figures" aria-label="Figures"><dl class="tiles">{tiles}</dl></section>'
    )


def advice(found: Sequence[Advice]) -> Markup:
    """What stands out, and what to do."""
    points = [
        html(
            t'<li class="{it.rule}"><h3>{_micro(it.title)}</h3>'
            t"<p>{_with_code(_micro(it.words))}</p></li>"
        )
        for it in found
    ]
    return html(
        t'<section id="advice"><h2>What stands out</h2><ol class="advice">{points}</ol></section>'
    )


def timeline(of: Figures, resolution: float) -> Markup:
    """What the page's program draws on, and its legend."""
    kinds = [
        html(t'<li><span class="swatch {kind}"></span>{name}</li>')
        for kind, name in (
            ("run", "run"),
            ("failed", "run that did not succeed"),
            ("transfer", "transfer"),
            ("import", "import"),
            ("start", "start-up"),
            ("idle", "idle"),
            *([("waiting", "tasks waiting")] if of.most_waiting else []),
        )
    ]
    thinned = NOTHING
    if resolution:
        thinned = html(
            t'<p class="hint" id="thinned">This run has {of.trace.events:,} events. Of what took '
            t"less than {_time(resolution / 1e6)}, neighbours are drawn as one; the figures on "
            t"this page are those of all.</p>"
        )
    if len(of.workers) > TRACKS:
        drawn = f"The first {TRACKS:,} of {len(of.workers):,} workers are drawn."
        thinned = html(t'{thinned}<p class="hint">{drawn}</p>')
    running = of.seconds["run"] / of.wall if of.wall else 0.0
    busy = f"How busy workers were: on average {running:.1f} of {len(of.workers)} ran tasks"
    tracks = (
        f"Timeline of {words.count(len(of.workers), 'worker')}. Arrow keys go through its spans"
    )
    return html(t"""<section id="timeline">
<div class="bar-line"><h2>What workers did</h2>
<div class="tools"><output id="window"></output>
<button type="button" id="zoom-out" aria-label="Zoom out">&minus;</button>
<button type="button" id="zoom-in" aria-label="Zoom in">+</button>
<button type="button" id="zoom-all">All</button></div></div>
<div id="drawing">
<canvas id="overview" height="96" role="img" aria-label="{busy}"></canvas>
<canvas id="axis" height="22" aria-hidden="true"></canvas>
<div class="tracks"><canvas id="tracks" height="60" tabindex="0" role="application"
 aria-label="{tracks}" aria-describedby="keys"></canvas></div>
<p id="said" class="unseen" aria-live="polite"></p>
</div>
<noscript><p>The timeline needs JavaScript; all else is here without it.</p></noscript>
<ul class="legend hint">{kinds}</ul>
<p class="hint" id="keys">Zoom: wheel, a part drawn up with the pointer, <kbd>+</kbd>
<kbd>&minus;</kbd> <kbd>0</kbd>. Move: <kbd>Shift</kbd> with wheel, pointer or arrows, or drag in
the overview. Spans: <kbd>←</kbd> <kbd>→</kbd>, workers: <kbd>↑</kbd> <kbd>↓</kbd>,
<kbd>Enter</kbd> zooms into one.</p>
{thinned}
</section>""")


def shares(of: Figures) -> Markup:
    """Where the time went, in all and for each worker."""
    kinds = [kind for kind in SHARES if of.seconds[kind] > 0]
    total = [
        html(
            t'<li><span class="swatch {kind}"></span>{_KINDS[kind]} '
            t"<b>{_share(of.share(kind))}</b> "
            t'<span class="pale">{_time(of.seconds[kind])}</span></li>'
        )
        for kind in kinds
    ]
    heads = [html(t'<th class="n" scope="col">{_KINDS[kind]}</th>') for kind in kinds]
    rows = []
    for worker in of.workers[:_WORKERS]:
        life = worker.lifetime or 1.0
        cells = [html(t'<td class="n">{_share(worker.seconds[it] / life)}</td>') for it in kinds]
        process = f", process {worker.track.pid}" if worker.track.pid is not None else ""
        rows.append(
            html(
                t'<tr><th scope="row">{worker.track.name}<span class="pale">{process}</span></th>'
                t'<td class="bars">{_bar(worker.seconds)}</td>{cells}'
                t'<td class="n">{_time(worker.lifetime)}</td></tr>'
            )
        )
    if not rows:
        return NOTHING
    left = len(of.workers) - len(rows)
    more = html(t'<p class="hint">and {words.count(left, "worker")} more</p>') if left else NOTHING
    return html(t"""<section id="shares"><h2>Where the time went</h2>
{_bar(of.seconds, "bar whole")}<ul class="legend">{total}</ul>
<details{_open(len(rows))}><summary>Each worker</summary>
<div class="scroll"><table><thead><tr><th scope="col">worker</th>
<th scope="col"><span class="unseen">shares</span></th>{heads}
<th class="n" scope="col">lived</th></tr>
</thead><tbody>{rows}</tbody></table></div>{more}</details></section>""")


def slowest(of: Figures) -> Markup:
    """The tasks that took longest, with their arguments."""
    if not of.slowest:
        return NOTHING
    rows = [_slow_row(it, of.median) for it in of.slowest]
    head = ("*took", "*to the median", "function", "arguments", "worker", "")
    return _section("slowest", f"Slowest {of.unit}s", _table(head, rows))


def _slow_row(it: Slow, median: float) -> Markup:
    ratio = it.seconds / it.items / median if median > 0 else 0.0
    digits = 0 if ratio >= 100 else 1  # noqa: PLR2004 - three digits are enough
    times = f"{ratio:,.{digits}f}\N{MULTIPLICATION SIGN}" if ratio else ""
    outcome = html(t' <span class="bad-word">{it.outcome}</span>') if it.outcome in BAD else NOTHING
    together = f"{it.items:,} items, sent together. " if it.items > 1 else ""
    return html(
        t'<tr><td class="n">{_time(it.seconds)}</td><td class="n">{times}</td>'
        t'<td class="data name">{it.function}{outcome}</td>'
        t'<td class="data">{together}{it.arguments}</td>'
        t"<td>{it.worker}</td><td>{_show(it.worker, it.start)}</td></tr>"
    )


def failures(of: Figures) -> Markup:
    """What did not succeed, and with which arguments."""
    if not of.failures:
        return NOTHING
    rows = [_failure_row(it) for it in of.failures]
    total = sum(of.outcomes[name] for name in BAD)
    note = f"The first {len(rows)} of {total:,}." if total > len(rows) else ""
    head = ("outcome", "error", "function", "arguments", "*ran", "*at", "worker", "")
    return _section("failures", "What did not succeed", _table(head, rows, note))


def _failure_row(it: Failure) -> Markup:
    attempt = f" (attempt {it.attempt})" if it.attempt > 1 else ""
    return html(
        t'<tr><td><span class="bad-word">{it.outcome}</span>{attempt}</td>'
        t'<td class="data">{it.error}</td><td class="data name">{it.function}</td>'
        t'<td class="data">{it.arguments}</td><td class="n">{_time(it.seconds)}</td>'
        t'<td class="n">{_time(it.start)}</td><td>{it.worker}</td>'
        t"<td>{_show(it.worker, it.start)}</td></tr>"
    )


def functions(of: Figures) -> Markup:
    """What ran, and how long all together."""
    rows = [
        html(
            t'<tr><td class="data name">{it.name}</td><td class="n">{it.items:,}</td>'
            t'<td class="n">{it.failed:,}</td><td class="n">{_time(it.seconds)}</td>'
            t'<td class="n">{_time(it.median)}</td><td class="n">{_time(it.longest)}</td></tr>'
        )
        for it in of.functions
    ]
    head = ("function", "*items", "*failed", "*in all", "*median", "*longest")
    return _section("functions", "Functions", _table(head, rows)) if rows else NOTHING


def lanes(of: Figures) -> Markup:
    """Where tasks ran, and why there."""
    rows = [
        html(
            t'<tr><td>{it.lane}</td><td class="n">{it.runs:,}</td>'
            t'<td class="n">{_time(it.seconds)}</td>'
            t"<td>{it.why or ('the default' if it.lane == 'interpreter' else '')}</td>"
            t'<td class="data">{_some(it.functions)}</td></tr>'
        )
        for it in of.lanes
    ]
    head = ("lane", "*runs", "*in all", "why", "functions")
    return _section("lanes", "Lanes, and why", _table(head, rows)) if rows else NOTHING


def imports(of: Figures) -> Markup:
    """Which modules workers imported, and what that took."""
    rows = [
        html(
            t'<tr><td class="data">{it.module}</td><td class="n">{it.workers}</td>'
            t'<td class="n">{_time(it.seconds / it.workers)}</td>'
            t'<td class="n">{_time(it.seconds)}</td>'
            t"<td>{'at the start' if it.is_at_start else 'in a task'}</td></tr>"
        )
        for it in of.imports
    ]
    note = "What a module imports in turn is part of it; what took less than 1 ms is not told."
    head = ("module", "*workers", "*in each", "*in all", "when")
    return _section("imports", "Imports", _table(head, rows, note)) if rows else NOTHING


def transfers(of: Figures) -> Markup:
    """What was sent, there and back."""
    rows = [
        html(
            t'<tr><td>{_TRANSFERS.get(it.name, it.name)}</td><td class="n">{it.calls:,}</td>'
            t'<td class="n">{words.size(it.nbytes) if it.nbytes else ""}</td>'
            t'<td class="n">{_time(it.seconds)}</td></tr>'
        )
        for it in of.transfers
    ]
    head = ("what", "*times", "*size", "*in all")
    return _section("transfers", "Transfer", _table(head, rows)) if rows else NOTHING


def happened(of: Figures) -> Markup:
    """Workers that died or were given up, and the like."""
    found = [
        (it, track) for track in (*of.trace.callers, *of.trace.workers) for it in track.instants
    ]
    found.sort(key=lambda it: it[0].time)
    rows = [
        html(
            t'<tr><td class="n">{_time(it.time / 1e6)}</td><td>{it.name}</td><td>{track.name}</td>'
            t'<td class="data">{_told(it.args)}</td></tr>'
        )
        for it, track in found[:_HAPPENED]
    ]
    note = f"The first {_HAPPENED} of {len(found):,}." if len(found) > _HAPPENED else ""
    head = ("*at", "what", "where", "")
    return _section("happened", "What else happened", _table(head, rows, note)) if rows else NOTHING


def footer(of: Figures) -> Markup:
    """What it was made of."""
    events, name = words.count(of.trace.events, "event"), Path(of.trace.name).name
    return html(
        t"<footer><p>Made of {events} of {name}, which Perfetto opens, too. Times are those of the "
        t"clock, not of the processor: what else the machine did is in them.</p></footer>"
    )


# --- Pieces --------------------------------------------------------------------------------------


def _section(name: str, head: str, content: Markup) -> Markup:
    return html(t'<section id="{name}"><h2>{head}</h2>{content}</section>')


def _table(head: Sequence[str], rows: Sequence[Markup], note: str = "") -> Markup:
    """A table; a star before a column's name: it has numbers. Rows beyond some are folded."""
    heads = [
        html(t'<th class="n" scope="col">{it[1:]}</th>')
        if it.startswith("*")
        else html(t'<th scope="col">{it}</th>')
        for it in head
    ]
    caption = html(t"<caption>{note}</caption>") if note else NOTHING
    top = html(t"<thead><tr>{heads}</tr></thead>")
    first, rest = rows[:_ROWS], rows[_ROWS:]
    table = html(t'<div class="scroll"><table>{caption}{top}<tbody>{first}</tbody></table></div>')
    if not rest:
        return table
    return html(
        t"{table}<details><summary>{len(rest):,} more</summary>"
        t'<div class="scroll"><table>{top}<tbody>{rest}</tbody></table></div></details>'
    )


def _bar(seconds: Mapping[str, float], kind: str = "bar") -> Markup:
    total = sum(seconds.values()) or 1.0
    parts = []
    at = 0.0
    for name in SHARES:
        wide = 100 * seconds[name] / total
        if wide > 0:
            parts.append(
                html(
                    t'<rect class="{name}" x="{at:.3f}" width="{wide:.3f}" height="1">'
                    t"<title>{_KINDS[name]}: {_share(wide / 100)}, {_time(seconds[name])}</title>"
                    t"</rect>"
                )
            )
        at += wide
    label = ", ".join(
        f"{_KINDS[it]} {_share(seconds[it] / total)}" for it in SHARES if seconds[it] > 0
    )
    return html(
        t'<svg class="{kind}" viewBox="0 0 100 1" preserveAspectRatio="none" role="img" '
        t'aria-label="{label}">{parts}</svg>'
    )


def _show(worker: str, start: float) -> Markup:
    return html(
        t'<button type="button" data-worker="{worker}" data-start="{start * 1e6:.1f}" '
        t'aria-label="Show in the timeline">show</button>'
    )


def _with_code(text: str) -> list[Markup]:
    """Text in which code stands between backticks."""
    parts = enumerate(text.split("`"))
    return [html(t"<code>{it}</code>") if i % 2 else html(t"{it}") for i, it in parts]


def _open(rows: int) -> Markup:
    return Markup(" open") if rows <= _ROWS else NOTHING


def _told(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in args.items())


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")  # noqa: PLR2004


def _time(seconds: float) -> str:
    return _micro(words.seconds(seconds))


def _micro(text: str) -> str:
    """Microseconds as they are written where there is more than ASCII."""
    return re.sub(r"(?<=\d) us\b", " µs", text)


def _share(value: float) -> str:
    """A share; what is there is never nothing."""
    return "<1%" if 0 < value < 0.005 else words.share(value)  # noqa: PLR2004 - what rounds to 0


def _date(began: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(began)):%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
