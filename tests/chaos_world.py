"""One of chaos's pools: what was asked of it, what was done to it, and how each future may end."""

import collections
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from interpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    TaskInterrupted,
    TaskTimeout,
    TransferError,
)

type Ending = Callable[[InterpreterPoolExecutor], None]


@dataclass(frozen=True)
class Plan:
    """A call, and what may become of it if nobody meddles."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    value: Any = None  # that it returns
    raises: type[BaseException] | None = None  # that it may raise, or
    must_raise: bool = False


@dataclass(eq=False)
class Job:
    """A future, and what was done to it."""

    name: str
    future: Future[Any]
    plan: Plan
    is_timed: bool = False
    is_interrupted: bool = False  # somebody was told so
    is_cancelled: bool = False
    callbacks: int = 0
    called: list[None] = field(default_factory=list)

    def interrupt(self, grace: float) -> None:
        future: Any = self.future
        if future.interrupt(grace=grace):
            self.is_interrupted = True

    def cancel(self) -> None:
        if self.future.cancel():
            self.is_cancelled = True


class World:
    """One pool, its jobs, and what was done to all of them."""

    def __init__(
        self, pool: InterpreterPoolExecutor, *, many: int, is_timed: bool, may_break: bool
    ) -> None:
        self.pool: InterpreterPoolExecutor | None = pool
        self.many = many  # tasks that it does in no time
        self.is_timed = is_timed  # the pool's tasks have a timeout
        self.may_break = may_break
        self.is_ending = self.is_cancelling = self.is_terminating = False
        self.jobs: list[Job] = []
        self.problems: list[str] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()
        # Tasks block at `exit` until it is opened: then all pass.
        self.exit, self._entry = os.pipe()
        self._is_open = False

    def open(self) -> None:
        with self.lock:
            if not self._is_open:
                self._is_open = True
                os.close(self._entry)

    def close(self) -> None:
        """No task may be left."""
        self.open()
        os.close(self.exit)

    def verdict(self, job: Job) -> tuple[str, str | None]:
        """Return how a job has ended, in a word, and what is wrong with that."""
        future = job.future
        if future.cancelled():
            is_allowed = job.is_cancelled or self.is_cancelling or self.is_terminating
            return "cancelled", None if is_allowed else "cancelled by nobody"
        error = future.exception(0)
        end = "returned" if error is None else type(error).__name__
        wrong = self._wrong_with(job, error)
        if wrong is None and error is None and future.result() != job.plan.value:
            wrong = f"returned {future.result()!r:.100}, not {job.plan.value!r:.100}"
        return end, wrong

    def _wrong_with(self, job: Job, error: BaseException | None) -> str | None:
        is_interrupted, is_allowed = job.is_interrupted, False
        match error:
            case _ if job.is_cancelled:
                pass
            case TaskTimeout():
                is_allowed = job.is_timed and not is_interrupted
            case TaskInterrupted():
                is_allowed = is_interrupted or self.is_terminating
            case _ if is_interrupted:
                pass
            case BrokenInterpreterPool():
                is_allowed = self.may_break
            case None:
                is_allowed = not job.plan.must_raise
            case TransferError():
                is_allowed = job.plan.raises is TransferError
            case _ if job.plan.raises is not None and isinstance(error, job.plan.raises):
                is_allowed = error.args == (job.plan.value,)  # else it is another one's
        if is_allowed:
            return None
        done = f"cancelled: {job.is_cancelled}, interrupted: {is_interrupted}"
        return f"ended with {error!r}, caused by {error and error.__cause__!r}; {done}"


def draw_ending(draw: random.Random, world: World) -> tuple[str, Ending]:
    """Return an end of a pool and its name; the world knows of it before it comes."""
    kind = draw.choice(("wait", "leave", "cancel", "cancel", "terminate", "terminate"))
    waits = draw.random() < 0.7

    def end(pool: InterpreterPoolExecutor) -> None:
        world.is_ending = True
        match kind:
            case "wait":
                pool.shutdown(wait=True)
            case "leave":
                pool.shutdown(wait=False)
            case "cancel":
                world.is_cancelling = True
                pool.shutdown(wait=waits, cancel_futures=True)
            case "terminate":
                world.is_terminating = True
                pool.terminate_workers()
                if waits:
                    pool.shutdown(wait=True)

    return kind, end
