"""What cannot be sent, in words, and what to do instead."""

import concurrent.futures
import errno
import io
import queue
import sys
import threading
import types
import weakref
from typing import Any, Final

type Hint = tuple[str, str]
"""What it is, and the way out."""

_TOO_MANY_OPEN: Final = frozenset({errno.EMFILE, errno.ENFILE})
_MAKE_IT_THERE: Final = "Make it inside the task"
_LOCK: Final = (
    "a lock",
    "Each worker has memory of its own: pass an interpool.Lock, or make the lock inside the task",
)

# Of the classes that an object is an instance of, the first counts.
_HINTS: Final[tuple[tuple[Any, Hint], ...]] = (
    (io.IOBase, ("an open file", "Open it inside the task, or pass the path")),
    ((type(threading.Lock()), type(threading.RLock()), threading.Condition), _LOCK),
    (
        (threading.Semaphore, threading.Event, threading.Barrier),
        (
            "a means of synchronisation between threads",
            "Pass interpool's of that name, or make it inside the task",
        ),
    ),
    (threading.local, ("thread-local data", "Pass the value of this thread")),
    (threading.Thread, ("a thread", "Start it inside the task")),
    (
        (queue.Queue, queue.SimpleQueue),
        ("a queue of threads", "Pass an interpool.Queue"),
    ),
    (types.GeneratorType, ("a generator", "Pass list(...) of it, or make it inside the task")),
    (
        (type({}.keys()), type({}.values()), type({}.items())),
        ("a view of a dictionary", "Pass list(...) of it"),
    ),
    (types.CoroutineType, ("a coroutine", "Pass the coroutine function: a worker runs it")),
    (types.AsyncGeneratorType, ("an asynchronous generator", _MAKE_IT_THERE)),
    (concurrent.futures.Executor, ("an executor", _MAKE_IT_THERE)),
    (concurrent.futures.Future, ("a future", "Wait for it here, and pass its result")),
    (
        (weakref.ref, weakref.ProxyType, weakref.CallableProxyType),
        ("a weak reference", "Pass what it refers to"),
    ),
    (
        memoryview,
        ("a view that cannot be made anew", "Pass what it is a view of, or its tobytes()"),
    ),
    ((types.FrameType, types.TracebackType), ("a frame of this thread", "Pass its text")),
    (
        types.ModuleType,
        (
            "a module",
            "Name what is used: from module import name; or put it into a folder of sys.path",
        ),
    ),
)

# The same for what is not imported here unless somebody has: module, class.
_LATE_HINTS: Final[dict[tuple[str, str], Hint]] = {
    ("socket", "socket"): ("a socket", "Connect inside the task, or pass the address"),
    ("contextvars", "Context"): (
        "a context, as asyncio.to_thread sends the caller's",
        "Call loop.run_in_executor(pool, ...) instead, and pass values of variables as arguments",
    ),
    ("contextvars", "ContextVar"): ("a context variable", "Pass its value"),
    ("contextvars", "Token"): ("a token of a context variable", "Pass the variable's value"),
    ("asyncio", "Future"): ("a future of asyncio", "Await it here, and pass its result"),
    ("sqlite3", "Connection"): ("a connection to a database", "Connect inside the task"),
    ("sqlite3", "Cursor"): ("a cursor of a database", "Connect inside the task"),
    ("subprocess", "Popen"): ("a child process", "Start it inside the task"),
    ("multiprocessing.process", "BaseProcess"): ("a process", "Start it inside the task"),
    ("ssl", "SSLContext"): ("a TLS context", _MAKE_IT_THERE),
    ("selectors", "BaseSelector"): ("a selector", _MAKE_IT_THERE),
}


def hint_for(obj: object) -> Hint | None:
    """Return what an object is that cannot be sent, and the way out, if it is of a known kind."""
    kind = type(obj)  # and not what its `__class__` says, which may be a lie, or raise
    for classes, hint in _HINTS:
        if issubclass(kind, classes):
            return hint
    for (module, name), hint in _LATE_HINTS.items():
        late = getattr(sys.modules.get(module), name, None)
        if late is not None and issubclass(kind, late):
            return hint
    return None


def of_error(error: BaseException) -> Hint:
    """Return the way out for an object of no known kind, by what pickling it raised."""
    if isinstance(error, RecursionError):
        return (
            "nested more deeply than the pickle module follows",
            "Flatten it, or raise sys.setrecursionlimit",
        )
    if isinstance(error, MemoryError):
        return "too large", "Pass it in parts, or by way of a file"
    if isinstance(error, OSError) and error.errno in _TOO_MANY_OPEN:
        return "", "Close files or sockets that are not needed, or raise the limit (ulimit -n)"
    if isinstance(error, ModuleNotFoundError):
        return "", "A worker searches the folders of sys.path: is it in one, and what it needs?"
    if isinstance(error, ImportError) and "loading in subinterpreters" in str(error):
        return "", 'Let it run in a process: lane="process"'
    return "", ""
