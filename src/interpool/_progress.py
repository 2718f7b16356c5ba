"""How far a `map` is, shown on stderr while its results are taken.

A result costs one addition: what is shown is brought up to date by a thread of its own, ten times a
second, so that it is right, too, while the next result keeps everybody waiting. That thread ends
with the bar, and the bar with the iterator: at its end, at an error, when it is closed or dropped.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Final, Protocol

from interpool import _threads
from interpool._codec import name_of
from interpool._interrupts import Deferred
from interpool._options import Progress, Tell

# Seconds between two looks at how far it is: as often as tqdm and rich draw by themselves.
_INTERVAL: Final = 0.1


class Bar(Protocol):
    """Something on the screen."""

    def show(self, done: int, failed: int) -> None:
        """Draw it anew."""

    def close(self) -> None:
        """Leave it as it is, and begin a new line."""


def checked(progress: object) -> Progress:
    """Refuse what cannot be meant, and a bar for which nothing is installed.

    Raises:
        TypeError: for what is no bool, text or callable.
        ModuleNotFoundError: where there is neither tqdm nor rich.
    """
    if progress is None or progress is False:
        return False
    if not isinstance(progress, (bool, str)):
        if not callable(progress):
            message = f"progress must be True, a description or a callable, not {progress!r}"
            raise TypeError(message)
    elif not is_available():
        # Said everywhere, and not only on the terminal where it would be missed.
        raise ModuleNotFoundError(
            "progress needs tqdm or rich: pip install 'interpool[progress]'", name="tqdm"
        )
    return progress


def is_available() -> bool:
    """Whether there is anything to draw a bar with."""
    return find_spec("tqdm") is not None or find_spec("rich") is not None


def total_of(iterables: Iterable[Iterable[Any]]) -> int | None:
    """Return how many items there will be, by the shortest that says so; None if none does."""
    lengths = [len(it) for it in iterables if hasattr(type(it), "__len__")]  # type: ignore[arg-type]
    return min(lengths, default=None)


def followed(
    results: Iterator[Any],
    progress: Progress,
    fn: Callable[..., Any],
    total: int | None,
) -> Iterator[Any]:
    """Yield the results, and show how far that is.

    Args:
        results: a generator, which is closed with this one.
        progress: what `checked` has let through, and not False.
        fn: the function, whose name is shown unless `progress` is a description.
        total: how many results there will be, if that is known.
    """
    if not isinstance(progress, (bool, str)):
        return _told(results, progress, total)
    if not (sys.stderr is not None and sys.stderr.isatty()) and not _is_notebook():
        return results
    return _shown(results, name_of(fn) if progress is True else str(progress), total)


def _told(results: Iterator[Any], tell: Tell, total: int | None) -> Iterator[Any]:
    """Call it in the thread that takes the results, which it may then do what it likes with."""
    done, due = 0, 0.0
    try:
        for result in _given(results):
            done += 1
            if (now := time.monotonic()) >= due:
                due = now + _INTERVAL
                tell(done, total)
            yield result.pop()
    finally:
        tell(done, total)


def _shown(results: Iterator[Any], description: str, total: int | None) -> Iterator[Any]:
    shown = _Shown()
    try:
        shown.open(description, total)
        for result in _given(results):
            shown.done += 1
            yield result.pop()
    except Exception:
        shown.failed += 1
        raise
    finally:
        shown.close()


def _given(results: Iterator[Any]) -> Iterator[list[Any]]:
    """Give results in lists, out of which they are taken: none is kept while its user has it."""
    try:
        for result in results:
            found = [result]
            del result
            yield found
    finally:
        getattr(results, "close", int)()


class _Shown:
    """A bar and what it is to show, drawn by a thread until it is closed."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self._bar: Bar | None = None
        self._is_over = threading.Event()
        self._thread = _threads.make(self._draw, "interpool_progress")

    def open(self, description: str, total: int | None) -> None:
        """Begin. Whatever interrupts this, `close` ends what there is by then."""
        self._bar = open_bar(description, total)
        self._bar.show(0, 0)
        # Ctrl-C would leave a thread that is neither started nor not. Without one, if the system
        # gives none, it is drawn at the end.
        with contextlib.suppress(RuntimeError), Deferred():
            self._thread.start()

    def _draw(self) -> None:
        while not self._is_over.wait(_INTERVAL):
            if self._bar is not None:
                self._bar.show(self.done, self.failed)

    def close(self) -> None:
        """Draw it for the last time, and leave it there."""
        self._is_over.set()
        if self._bar is None:
            return
        try:
            if self._thread.ident is not None:
                self._thread.join()
            self._bar.show(self.done, self.failed)
        finally:
            self._bar.close()


# --- What draws ----------------------------------------------------------------------------------


def open_bar(description: str, total: int | None) -> Bar:
    """Return a bar of tqdm, or else of rich.

    Args:
        description: what stands before it.
        total: how many results there will be; None if that is not known.
    """
    if find_spec("tqdm") is not None:
        return _Tqdm(description, total)
    return _Rich(description, total)


def _is_notebook() -> bool:
    """Whether a notebook shows what is printed: there, stderr is no terminal. As tqdm asks it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class _Tqdm:
    """A bar of tqdm."""

    def __init__(self, description: str, total: int | None) -> None:
        from tqdm.auto import tqdm

        # A kind of its own. tqdm's monitor would be a second thread that draws, and would stay; and
        # its lock is one of multiprocessing, for which a process is started. One that is there is
        # taken, so that bars of the program's own are not written over.
        lock = getattr(tqdm, "_lock", None) or threading.RLock()
        kind = type("Bar", (tqdm,), {"monitor_interval": 0, "_lock": lock})
        self._bar: Any = kind(desc=description, total=total, file=sys.stderr, dynamic_ncols=True)

    def show(self, done: int, failed: int) -> None:
        self._bar.n = done
        if failed:
            self._bar.set_postfix_str(f"{failed} failed", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _Rich:
    """A bar of rich."""

    def __init__(self, description: str, total: int | None) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("[red]{task.fields[failed]}"),
            console=Console(file=sys.stderr),
            auto_refresh=False,
        )
        self._task = self._bar.add_task(description, total=total, rate="", failed="")
        self._began = time.monotonic()
        self._bar.start()

    def show(self, done: int, failed: int) -> None:
        taken = time.monotonic() - self._began
        self._bar.update(
            self._task,
            completed=done,
            rate=f"{done / taken:.1f}/s" if done and taken else "",
            failed=f"{failed} failed" if failed else "",
            refresh=True,
        )

    def close(self) -> None:
        self._bar.stop()
