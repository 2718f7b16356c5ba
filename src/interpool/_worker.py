"""One worker from outside: the thread that owns its interpreter, from creation to end.

The interpreter runs its loop in a thread of its own (`loop.Loop`), so that it stays enterable
from outside; an interpreter whose `__main__` is running refuses a second `exec`. The host thread
creates it, starts that loop, enters it again when it is given an order (to strike a task, say), and
ends it when the loop's last frame has been read. The order matters: an interpreter may end only
when its thread is gone, and its thread only when its last result has been copied.

A host that enters waits for the interpreter's GIL, which a call in C may hold for as long as it
likes. Nobody waits for a host with an order, therefore, but whoever joins it.
"""

import _interpreters
import contextlib
import functools
import importlib.machinery
import logging
import marshal
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from interpool import _inside, _threads
from interpool._inside import channels, loop, outcomes
from interpool._reports import report
from interpool._spares import SPARES, create

if TYPE_CHECKING:
    from interpool._codec import Request
    from interpool._shared import Shared

type Report = Callable[[int, int, Any], None]

# Runs in a new interpreter's __main__, which it leaves as it was.
_BOOT: Final = """\
import marshal, sys
for name, file, code in marshal.loads(modules):
    module = type(sys)(name)
    module.__file__ = file
    del module.__spec__, module.__loader__  # None, of which linecache warns since 3.15
    sys.modules[name] = module
    exec(marshal.loads(code), module.__dict__)
sys.modules["_interpool_values"].later = later
settings = marshal.loads(settings)
if is_spare:  # what the environment was when it was made is not what it is now
    sys.modules["os"].reload_environ()
del marshal, sys, modules, later, name, file, code, is_spare
try:
    module.start(board, *settings)
finally:
    del module, settings, board
"""
_ORDER: Final = """__import__("sys").modules["_interpool_loop"].{}"""


@functools.cache
def modules_inside(names: tuple[str, ...] = _inside.MODULES) -> bytes:
    """The names, files and marshalled code of what runs inside, from byte code where that is."""
    found = []
    for name in names:
        dotted = f"{_inside.__name__}.{name}"
        # Found anew, for in a worker, where a pool may live too, the loaded module has no spec.
        spec = importlib.machinery.PathFinder.find_spec(dotted, _inside.__path__)
        loader: Any = (
            spec and spec.loader
        )  # of source files or of a zip archive: both give the code
        code = marshal.dumps(loader.get_code(dotted))
        found.append((dotted, str(spec and spec.origin), code))
    return marshal.dumps(found)


@contextlib.contextmanager
def _bulk_queue() -> Iterator[int]:
    queue = channels.create_queue()
    try:
        yield queue
    finally:
        channels.destroy_queue(queue)


@contextlib.contextmanager
def _interpreter() -> Iterator[tuple[int, bool]]:
    """An interpreter, and whether it was made for nobody in particular, some time ago."""
    spare = SPARES.take()
    interpreter = create() if spare is None else spare
    try:
        yield interpreter, spare is not None
    finally:
        _interpreters.destroy(interpreter)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every worker of a pool starts with."""

    name_prefix: str
    environment: bytes  # `_environment.snapshot`, as it was when the pool was made
    preload: tuple[str, ...]
    initializer: Request | None  # encoded when the pool was made
    most_tasks: int | None = None  # that a worker may do
    initializer_name: str = ""  # its function's
    shared: Shared | None = None


class Worker:
    """A worker: its number, its board, its interpreter and the host thread that owns it.

    Attributes:
        number: its number.
        board: what it does: see `channels.TASK` and those that follow.
        ready_after: seconds from the start of the host thread until the loop was started.
    """

    def __init__(
        self,
        number: int,
        settings: Settings,
        ends: loop.Ends,
        report: Report,
        *,
        is_admitted: bool = True,
    ) -> None:
        """Make one.

        Args:
            number: its number.
            settings: the pool's.
            ends: `Transport.worker_ends`.
            report: where to report what becomes of it.
            is_admitted: whether it takes tasks at once, and not after `admit`.
        """
        self.number = number
        self.ready_after: float | None = None
        self.board = memoryview(bytearray(8 * channels.BOARD)).cast("q")
        self._settings = settings
        self._ends = ends
        self._report = report
        self._is_admitted = is_admitted
        self._orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = _threads.make(self._host, f"{settings.name_prefix}_{number}", "_host")

    def start(self) -> None:
        """Start the host thread, which makes the interpreter.

        Raises:
            RuntimeError: if the system gives no thread.
        """
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether its thread has been started."""
        return self._thread.ident is not None

    @property
    def name(self) -> str:
        """The name of its threads."""
        return self._thread.name

    def admit(self) -> None:
        """Let it take tasks, if it was started ahead of its time."""
        self._orders.put("admit()")

    def strike(self, task: int) -> None:
        """Have a task interrupted, should this be the worker that runs it, or is about to."""
        self._orders.put(f"strike({task})")

    def end_trace(self, number: int) -> None:
        """Have it hand over what it has taken down for a trace, and take down nothing more."""
        self._orders.put(f"end_trace({number})")

    def forget(self, task: int) -> None:
        """Take back a strike: the task has ended.

        A worker that takes no other task need not: and if it is because of this one that it was
        given up, and still loads the arguments, it would begin it, for nobody and perhaps for ever.
        """
        if not self.board[channels.LEAVE]:
            self._orders.put(f"forget({task})")

    def release(self) -> None:
        """Let the host end the interpreter: its loop's last frame has been read."""
        self._orders.put(None)

    def join(self) -> None:
        """Wait until the host thread is gone, if ever it was."""
        if self.is_started:
            self._thread.join()

    def _host(self) -> None:
        """Create, obey, end. Whatever happens, `GONE` is the last that is heard of it."""
        try:
            begin = time.monotonic()
            if self.board[channels.HEED]:
                self.board[channels.BEGAN] = time.monotonic_ns()
            with _bulk_queue() as bulk, _interpreter() as (interpreter, is_spare):
                self._boot(interpreter, bulk, is_spare=is_spare)
                self.ready_after = time.monotonic() - begin
                while (order := self._orders.get()) is not None:
                    _enter(interpreter, order)
                _enter(interpreter, "join()")
                if self.board[channels.THREADS]:
                    self._report(self.number, channels.HELD_UP, None)
        except BaseException as error:
            self._report(self.number, channels.UNSTARTED, outcomes.describe(error, "start"))
        finally:
            self._report(self.number, channels.GONE, None)

    def _boot(self, interpreter: int, bulk: int, *, is_spare: bool) -> None:
        settings = self._settings
        arguments: Any = (  # of `loop.start`, behind the board
            *(self.number, bulk, self._ends, settings.most_tasks, self._is_admitted),
            (self.name, _threads.shortened(self.name)),
            *(settings.environment, settings.preload),
            settings.initializer and settings.initializer[0],
            settings.shared and settings.shared.given,
        )
        boot = {
            "modules": modules_inside(),
            "later": modules_inside(_inside.LATER),
            "settings": marshal.dumps(arguments),
            "is_spare": is_spare,
            "board": self.board,
        }
        failure = _interpreters.exec(interpreter, _BOOT, boot)
        if failure is not None:
            message = f"the worker's own code failed: {failure.formatted}\n{failure.errdisplay}"
            raise RuntimeError(message)


def _enter(interpreter: int, order: str) -> None:
    """Call a function of the loop's module in another thread than the loop's."""
    failure = _interpreters.exec(interpreter, _ORDER.format(order))
    if failure is not None:  # no ctypes, no memory; a task that is to stop is then given up
        report(logging.ERROR, "%s failed in a worker: %s", order, failure.errdisplay)
