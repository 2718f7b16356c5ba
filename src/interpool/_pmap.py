"""`pmap`: a pool for one `map`, in one line."""

from collections.abc import Callable, Iterable
from typing import Any

from interpool import _progress
from interpool._executor import InterpreterPoolExecutor
from interpool._options import Progress


def pmap[T](
    fn: Callable[..., T],
    *iterables: Iterable[Any],
    max_workers: int | None = None,
    progress: Progress | None = None,
    chunksize: int | None = None,
    **options: Any,
) -> list[T]:
    """Return `[fn(*args) for args in zip(*iterables)]`, from a pool that is made for it.

    Args:
        fn: what to call, as `InterpreterPoolExecutor.map` takes it.
        *iterables: where the arguments come from; the shortest ends it.
        max_workers: the most workers; None: the cores that this process may use.
        progress: as `map` takes it. None: a bar, if tqdm or rich is installed.
        chunksize: as `map` takes it.
        **options: others of `InterpreterPoolExecutor`: `timeout` is that of one item.

    Raises:
        Exception: what the first item raises whose task fails; the others are stopped.

    .. versionadded:: 0.1
    """
    if progress is None:
        progress = _progress.is_available()
    with InterpreterPoolExecutor(max_workers, **options) as pool:
        try:
            return list(pool.map(fn, *iterables, chunksize=chunksize, progress=progress))
        except BaseException:
            pool.terminate_workers()  # what still runs would be for nobody
            raise
