"""What workers take over from this interpreter, as it is now.

Asked for with every task, so what has not changed since is not looked at closely: the levels of
loggers not at all until one is set, which empties the root logger's cache.
"""

import logging
import marshal
import re
import sys
import warnings
from typing import Any, Final

from interpool._inside import surroundings

# In the root logger's cache, which `setLevel` and `disable` of any logger empty.
_MARK: Final = "interpool"


class _Snapshot:
    """The environment as it was last, in the forms in which it is compared."""

    def __init__(self) -> None:
        self.key: tuple[Any, ...] = ()
        self.data = b""


_last = _Snapshot()


def snapshot() -> bytes:
    """Return the environment, marshalled: the same object as last time if it is the same.

    Thread-safety: may be called from any thread.
    """
    key = (
        sys.path,
        getattr(sys, "argv", None) or (),  # an embedding program may have none
        # Of this context, where filters are of contexts (`-X context_aware_warnings`).
        warnings._get_filters(),  # type: ignore[attr-defined]
        logging._warnings_showwarning is None,  # type: ignore[attr-defined]
        len(logging._handlerList),  # type: ignore[attr-defined]  # one is made to be added
        _MARK in logging.root._cache,  # type: ignore[attr-defined]
    )
    last = _last
    return last.data if key == last.key else _take(key)


def _take(key: tuple[Any, ...]) -> bytes:
    global _last  # noqa: PLW0603 - replaced whole, so that no thread sees half of it
    # Marked before it is read: what is set meanwhile takes the mark away again.
    logging.root._cache[_MARK] = True  # type: ignore[attr-defined]
    path, argv, filters, is_uncaptured, handlers, _ = key
    # Copies, to be compared with what those lists hold later.
    path, argv, filters = list(path), list(argv), list(filters)
    environment: surroundings.Environment = (
        # Only what the import system looks at, and each exactly of the type that marshal takes.
        [str.__str__(entry) for entry in path if isinstance(entry, str)],
        [str.__str__(it) if isinstance(it, str) else repr(it) for it in argv],
        [_plain_filter(*it) for it in filters],
        _levels(is_captured=not is_uncaptured),
    )
    new = _Snapshot()
    # An empty `argv` stands as the tuple that `snapshot` puts in its place.
    new.key = (path, argv or (), filters, is_uncaptured, handlers, True)
    new.data = marshal.dumps(environment)
    if new.data == _last.data:
        new.data = _last.data
    _last = new
    return new.data


def _levels(*, is_captured: bool) -> surroundings.Levels:
    loggers = logging.root.manager.loggerDict
    levels = {
        str.__str__(name): int(logger.level)
        for name, logger in list(loggers.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    levels[""] = int(logging.root.level)
    handlers = {
        str.__str__(logger.name): tuple(map(surroundings.mark_of, logger.handlers))
        for logger in (logging.root, *list(loggers.values()))
        if isinstance(logger, logging.Logger) and logger.handlers
    }
    return int(logging.root.manager.disable), levels, is_captured, handlers


def _plain_filter(
    action: str, message: Any, category: type, module: Any, line: int
) -> surroundings.Filter:
    return (
        action,
        _plain_pattern(message),
        (category.__module__, category.__qualname__),
        _plain_pattern(module),
        line,
    )


def _plain_pattern(pattern: Any) -> str | tuple[str, int] | None:
    if isinstance(pattern, re.Pattern):
        return pattern.pattern, pattern.flags
    return pattern if pattern is None else str(pattern)
