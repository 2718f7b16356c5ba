"""One call, awaited: sent to a worker without keeping the loop, and stopped with whoever waits.

Encoding is done in the loop's thread, for that is what takes least, unless it may take long: then
in a thread beside. That does not make it free, for a single call of C code, a copy of a `bytearray`
or the pickling of a list, keeps the GIL and so the loop; but whatever runs Python code in between
lets the loop have it. `bytes` and `str` are not copied here at all.
"""

import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import Future as BaseFuture
from concurrent.futures import ThreadPoolExecutor
from mmap import mmap
from typing import TYPE_CHECKING, Any, Final

from interpool import _threads
from interpool._codec import name_of
from interpool.aio import _loops

if TYPE_CHECKING:
    from interpool._future import Future
    from interpool._options import Options

# Seconds of encoding that a loop may be kept for: no more than a turn of its own may take.
LONG: Final = 0.001
# Bytes and items of an argument from which on encoding it may take as long (2 GB/s; some 50 ns for
# an item).
_LARGE: Final = 1_000_000
_MANY: Final = 10_000
_MOST_KNOWN: Final = 1_000  # functions remembered; arbitrary

_COPIED: Final = (bytearray, memoryview, array, mmap)
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)


class Encoder:
    """Decides where the arguments of a pool's calls are encoded, and has a thread for it.

    Thread-safety: every method may be called from any thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None  # made when first needed
        self._slow: dict[str, None] = {}  # functions whose arguments took long the last time

    def is_long(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        """Whether to encode a call beside the loop."""
        if self._slow and name_of(fn) in self._slow:
            return True
        return any(map(is_large, args)) or (bool(kwargs) and any(map(is_large, kwargs.values())))

    def encode(
        self,
        options: Options,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future[Any]:
        """Submit a call in this thread, and learn what it takes."""
        begin = time.thread_time()
        future = options.submit(fn, *args, **kwargs)
        if time.thread_time() - begin > LONG:
            if len(self._slow) >= _MOST_KNOWN:
                self._slow.clear()  # they are learnt again
            self._slow[name_of(fn)] = None
        elif self._slow:
            self._slow.pop(name_of(fn), None)
        return future

    def encode_beside(
        self,
        options: Options,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> BaseFuture[Future[Any]]:
        """Submit a call in another thread."""
        return self.beside(self.encode, options, fn, args, kwargs)

    def beside[**P, T](
        self, action: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> BaseFuture[T]:
        """Have something done in the thread for encoding, one thing after the other."""
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, f"{self._name}_encoder", _threads.tell_name)
            return self._thread.submit(action, *args, **kwargs)

    def close(self) -> None:
        """Let the thread go when it is done."""
        with self._lock:
            if self._thread is not None:
                self._thread.shutdown(wait=False)
                self._thread = None


def is_large(it: object) -> bool:
    """Whether encoding an argument may take long, by what it is."""
    if isinstance(it, _COPIED):
        try:
            return memoryview(it).nbytes >= _LARGE
        except ValueError:  # it is closed, or released: encoding it will say so
            return False
    return isinstance(it, _CONTAINERS) and len(it) >= _MANY


async def call(
    options: Options,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    grace: float,
    encoder: Encoder,
) -> Any:
    """Run a call in a worker, and return its result."""
    loop = _loops.current()
    if encoder.is_long(fn, args, kwargs):
        future = await _encoded_beside(
            loop, encoder.encode_beside(options, fn, args, kwargs), grace
        )
    else:
        future = encoder.encode(options, fn, args, kwargs)
    del args, kwargs  # which may be large, and are on their way
    waiter = loop.waiter()
    _tell(future, waiter)
    try:
        await waiter.wait()
    except GeneratorExit:  # the loop is closed, or the coroutine dropped: nobody can wait
        future.interrupt(grace=grace)
        raise
    except BaseException:
        future.interrupt(grace=grace)
        await waiter.wait_out()
        raise
    try:
        return future.result()
    finally:
        # As futures do it: the exception's traceback has this frame.
        del future


async def _encoded_beside(
    loop: _loops.Loop, encoding: BaseFuture[Future[Any]], grace: float
) -> Future[Any]:
    waiter = loop.waiter()
    encoding.add_done_callback(waiter.ring)
    try:
        await waiter.wait()
    except GeneratorExit:
        if not encoding.cancel():
            encoding.add_done_callback(lambda done: _interrupt(done, grace))
        raise
    except BaseException:
        encoding.cancel()
        await waiter.wait_out()
        if (future := _interrupt(encoding, grace)) is not None:
            stopped = loop.waiter()
            _tell(future, stopped)
            await stopped.wait_out()
        raise
    return encoding.result()


def _interrupt(encoding: BaseFuture[Future[Any]], grace: float) -> Future[Any] | None:
    if encoding.cancelled() or encoding.exception() is not None:
        return None
    future = encoding.result()
    future.interrupt(grace=grace)
    return future


def _tell(future: Future[Any], waiter: _loops.Waiter) -> None:
    # Not the future's own method: its callbacks may block, and so have threads; this one does not.
    BaseFuture.add_done_callback(future, waiter.ring)
