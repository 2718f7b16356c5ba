"""What threads do at random with one of chaos's pools.

Every decision is drawn from a generator of its own step, so a seed makes the same decisions again
whatever came of those before; what comes of them is up to the threads.
"""

import collections
import functools
import gc
import itertools
import random
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Final

import chaos_tasks as tasks
from chaos_world import Job, Plan, World, draw_ending
from interpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    Lock,
    Queue,
    Retry,
    TaskInterrupted,
    TaskTimeout,
    TransferError,
)
from interpool._inside import rings


@functools.cache
def large(n: int) -> bytes:
    """Some 100 KB that nobody else has."""
    return random.Random(n).randbytes(100_000 + n * 10_000)


# All pools' tasks talk by these.
_QUEUE, _LOCK = Queue(), Lock()


def check_shared() -> Iterator[str]:
    """Say what is wrong with what tasks shared, now that none is left."""
    if not _LOCK.acquire(timeout=10):
        yield "a lock is still held"
        return
    core: Any = _QUEUE._core
    with core:
        words, lines = core.words, [core.waiting(line) for line in range(2)]
        if lines != [0, 0] or words[rings.GRANTED] or words[rings.RESERVED]:
            yield f"somebody waits in a queue, or is waited for: {lines}"
    while not _QUEUE.empty():  # of tasks that were stopped between the two
        _QUEUE.get()
    _LOCK.release()


def _grow(n: int) -> Plan:
    data = large(n % 10) if n % 2 else large(n % 10).hex()
    return Plan(tasks.grow, (data,), tasks.grow(data))


# What is submitted: how often, and the plan, by a number, seconds, and where a task may block.
_TASKS: Final[dict[str, tuple[int, Callable[[int, float, int], Plan]]]] = {
    "echo": (20, lambda n, _, __: Plan(tasks.echo, (n,), ("echo", n))),
    "fail": (8, lambda n, _, __: Plan(tasks.fail, (n,), n, ValueError, must_raise=True)),
    "fail sometimes": (6, lambda n, _, __: Plan(tasks.fail_sometimes, (n,), n, ValueError)),
    "leave": (2, lambda n, _, __: Plan(tasks.leave, (n,), n, SystemExit, must_raise=True)),
    "spin": (10, lambda n, seconds, _: Plan(tasks.spin, (n, seconds), n)),
    "spin on": (6, lambda _, __, ___: Plan(tasks.spin_on, (), must_raise=True)),
    "nap": (8, lambda n, seconds, _: Plan(tasks.nap, (n, seconds), n)),
    "block": (5, lambda n, _, fd: Plan(tasks.block, (n, fd), n)),
    "swallow": (6, lambda n, seconds, fd: Plan(tasks.swallow, (n, seconds * 5, fd), n)),
    "clean up": (5, lambda n, seconds, _: Plan(tasks.clean_up, (n, seconds), n)),
    "say": (5, lambda n, _, __: Plan(tasks.say, (n,), n)),
    "log": (2, lambda n, _, __: Plan(tasks.log, (n,), n)),
    "grow": (6, lambda n, _, __: _grow(n)),
    "wrap": (
        4,
        lambda n, _, __: Plan(tasks.wrap, (large(n % 10), n), tasks.wrap(large(n % 10), n)),
    ),
    "by value": (5, lambda n, _, __: Plan(lambda: n + 1, (), n + 1)),
    "return a lock": (
        2,
        lambda n, _, __: Plan(tasks.return_a_lock, (n,), n, TransferError, must_raise=True),
    ),
    "send a lock": (
        2,
        lambda n, _, __: Plan(tasks.echo, (threading.Lock(),), n, TransferError, must_raise=True),
    ),
    "await nothing": (1, lambda n, _, __: Plan(tasks.await_nothing, (n,), n)),
    "share": (6, lambda n, _, __: Plan(tasks.share, (n, _QUEUE, _LOCK), n)),
    "nest": (1, lambda n, _, __: Plan(tasks.nest, (n,), n)),
}


class User:
    """One thread's use of a pool."""

    def __init__(self, world: World, seed: str, steps: int) -> None:
        self.world = world
        self.counts: collections.Counter[str] = collections.Counter()
        self._seed = seed
        self._steps = steps
        self._jobs: list[Job] = []
        self._maps: list[Iterator[Any]] = []  # begun, and left

    # How often each is done.
    _WEIGHTS: Final = {
        "submit": 40,
        "submit many": 4,
        "map": 10,
        "cancel": 8,
        "interrupt": 12,
        "wait": 8,
        "call back": 10,
        "ask for statistics": 3,
        "ask for its repr": 2,
        "prewarm": 2,
        "collect garbage": 1,
    }

    def run(self) -> None:
        acts: dict[str, Callable[[InterpreterPoolExecutor, random.Random], object]] = {
            "submit": self._submit,
            "submit many": self._submit_many,
            "map": self._map,
            "cancel": lambda _, draw: self._draw_job(draw, Job.cancel),
            "interrupt": self._interrupt,
            "wait": self._wait,
            "call back": self._call_back,
            "ask for statistics": lambda pool, _: pool.statistics(),
            "ask for its repr": lambda pool, _: repr(pool),
            "prewarm": lambda pool, draw: pool.prewarm(draw.choice((None, 1, 2))),
            "collect garbage": lambda _, __: gc.collect(),
        }
        try:
            for step in range(self._steps):
                draw = random.Random(f"{self._seed}/{step}")
                if (pool := self.world.pool) is None:
                    break
                kind = _choose(draw, self._WEIGHTS)
                self.counts[kind] += 1
                try:
                    acts[kind](pool, draw)
                except RuntimeError as error:
                    self._refused(error)
                del pool
        except BaseException:
            self.world.problems.append(f"a user met\n{traceback.format_exc()}")
        with self.world.lock:
            self.world.counts += self.counts

    def _refused(self, error: RuntimeError) -> None:
        if isinstance(error, BrokenInterpreterPool):
            kind, is_allowed = "found it broken", self.world.may_break
        else:
            kind = "refused"
            is_allowed = self.world.is_ending and "after shutdown" in str(error)
        self.counts[kind] += 1
        if not is_allowed:
            raise error

    # --- futures ---------------------------------------------------------------------------------

    def _add(self, job: Job) -> None:
        job.is_timed = job.is_timed or self.world.is_timed
        self._jobs.append(job)
        self.world.jobs.append(job)

    def _submit(self, pool: InterpreterPoolExecutor, draw: random.Random) -> None:
        name = _choose(draw, {name: weight for name, (weight, _) in _TASKS.items()})
        number, seconds = draw.randrange(1_000_000), draw.expovariate(1 / 0.01)
        plan = _TASKS[name][1](number, seconds, self.world.exit)
        options: dict[str, Any] = {}
        if draw.random() < 0.15 or (name == "spin on" and draw.random() < 0.5):
            options["timeout"] = draw.choice((0.001, 0.01, 0.05, 0.2))
        if draw.random() < 0.15:
            options["retries"] = draw_retry(draw)
        view = pool.options(**options) if options else pool
        job = Job(name, view.submit(plan.function, *plan.args), plan, is_timed="timeout" in options)
        if job.future.done() and not job.future.cancelled():  # refused here and now, perhaps
            forget_frames(job.future.exception(0))
        grace = draw.choice((0.0, 0.001, 0.01, 0.1, 1.0))
        is_stopped = draw.random() < 0.1
        self._add(job)
        if is_stopped or (name == "spin on" and not job.is_timed):  # nothing else would end it
            job.interrupt(grace)

    def _submit_many(self, pool: InterpreterPoolExecutor, draw: random.Random) -> None:
        for n in range(draw.randrange(min(self.world.many, 400))):
            self._add(Job("echo", pool.submit(tasks.echo, n), Plan(tasks.echo, (n,), ("echo", n))))

    def _draw_job(self, draw: random.Random, act: Callable[[Job], None]) -> None:
        """Do something to a job that may not have ended: one of the last."""
        if self._jobs:
            back = min(int(draw.expovariate(0.3)), len(self._jobs) - 1)
            act(self._jobs[~back])

    def _interrupt(self, _: InterpreterPoolExecutor, draw: random.Random) -> None:
        grace = draw.choice((0.0, 0.0, 0.001, 0.05, 1.0))
        self._draw_job(draw, lambda job: job.interrupt(grace))

    def _wait(self, _: InterpreterPoolExecutor, draw: random.Random) -> None:
        seconds = draw.choice((0, 0.001, 0.02))
        self._draw_job(draw, lambda job: wait_for(job.future, seconds))
        self._draw_job(draw, lambda job: [job.future.running(), job.future.done()].clear())

    def _call_back(self, pool: InterpreterPoolExecutor, draw: random.Random) -> None:
        callback = functools.partial(self._add_callback, pool, draw)
        self._draw_job(draw, callback)

    def _add_callback(self, pool: InterpreterPoolExecutor, draw: random.Random, job: Job) -> None:
        world, other = self.world, draw.choice(self._jobs)
        ref = weakref.ref(pool)  # a pool may be dropped while its callbacks wait
        kind = draw.choice(("nothing", "interrupt", "cancel", "submit", "wait", "end"))
        if kind == "end" and draw.random() < 0.8:  # or pools would not last
            kind = "nothing"
        _, end = draw_ending(draw, world)
        acts: dict[str, Callable[[InterpreterPoolExecutor], object]] = {
            "interrupt": lambda _: other.interrupt(0),
            "cancel": lambda _: other.cancel(),
            "wait": lambda _: wait_for(other.future, 0.01),
            "submit": self._submit_from_callback,
            "end": end,
        }

        def call(_: Future[Any]) -> None:
            try:
                if (pool := ref()) is not None and kind in acts:
                    acts[kind](pool)
            except BaseException:
                world.problems.append(f"a callback met\n{traceback.format_exc()}")
            finally:
                job.called.append(None)

        job.callbacks += 1
        job.future.add_done_callback(call)

    def _submit_from_callback(self, pool: InterpreterPoolExecutor) -> None:
        try:
            future = pool.submit(tasks.echo, 1)
        except RuntimeError as error:
            self._refused(error)
        else:
            job = Job("echo", future, Plan(tasks.echo, (1,), ("echo", 1)))
            job.is_timed = self.world.is_timed
            self.world.jobs.append(job)

    # --- maps ------------------------------------------------------------------------------------

    def _map(self, pool: InterpreterPoolExecutor, draw: random.Random) -> None:
        number = min(draw.choice((1, 10, 100, 1_000)), self.world.many)
        function = draw.choice((tasks.echo, tasks.echo, tasks.fail_sometimes, tasks.grow))
        source: list[Any] = [*range(number)]
        if function is tasks.grow:
            source = [large(n % 10) for n in range(min(number, 20))]
        is_ordered = draw.random() < 0.5
        options = {
            "chunksize": draw.choice((None, None, 1, 7, 100)),
            "buffersize": draw.choice((None, None, 1, 5, 50)),
            "timeout": draw.choice((None, None, None, 0.01, 0.2)),
        }
        taken = draw.choice((None, None, 0, 1, 5))
        leave = draw.choice((lambda it: it.close(), lambda _: None, self._maps.append))
        view: Any = pool
        is_timed = self.world.is_timed
        if draw.random() < 0.1:
            view = pool.options(timeout=0.1, retries=draw_retry(draw))
            is_timed = True
        may_raise: list[type[Exception]] = []
        if is_timed:
            may_raise.append(TaskTimeout)
        if options["timeout"] is not None:
            may_raise.append(TimeoutError)
        if function is tasks.fail_sometimes:
            may_raise.append(ValueError)
        make = view.map if is_ordered else view.map_unordered
        try:
            results = make(function, iter(source), **options)
            found = list(itertools.islice(results, taken))
        except tuple(may_raise):
            return
        except TaskInterrupted, CancelledError:
            if self.world.is_terminating or self.world.is_cancelling:
                return
            raise
        expected = source if function is tasks.fail_sometimes else [*map(function, source)]
        self._check_map(found, expected, is_whole=taken is None, is_ordered=is_ordered)
        leave(results)

    def _check_map(
        self, found: list[Any], expected: list[Any], *, is_whole: bool, is_ordered: bool
    ) -> None:
        if is_ordered:
            is_right = found == expected[: len(found)]
        else:
            is_right = not collections.Counter(found) - collections.Counter(expected)
        if not is_right or (is_whole and len(found) != len(expected)):
            said = f"{len(found)} of {len(expected)} results, ordered: {is_ordered}"
            self.world.problems.append(f"a map gave wrong results: {said}")


def wait_for(future: Future[Any], seconds: float) -> None:
    """Wait for the end of a future, whatever it is."""
    try:
        future.result(seconds)
    except BaseException as error:
        forget_frames(error)


def forget_frames(error: BaseException | None) -> None:
    """Let go of frames that would keep alive whatever they know, a pool that was dropped as well.

    A future keeps its exception, and that the frames of who raised it, asked for it, or, if it
    could not be sent, submitted it; and those their callers'.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def draw_retry(draw: random.Random) -> int | Retry:
    """Return terms of trying again."""
    times = draw.randrange(1, 4)
    on = draw.choice((Exception, ValueError, (TaskTimeout, ValueError)))
    delay = draw.choice((0.0, 0.001, 0.02))
    return draw.choice((times, Retry(times, on=on, delay=delay, longest=0.05)))


def _choose(draw: random.Random, weights: dict[str, int]) -> str:
    return draw.choices([*weights], [*weights.values()])[0]
