"""Pools put to everything at once, at random, from several threads: `make chaos SECONDS=600`.

One pool after another is made with random settings, used by random users (`chaos_users`), and ended
in a random way. It is proved of each that

* every future has ended within `--patience` seconds, in a way that was open to it: with its own
  value, or with what somebody did to it; every callback was called, once;
* once tasks that block were released, the threads, interpreters and descriptors that were there
  before are all there are (of every few pools, so that they meet spare interpreters, too);
* nothing was reported but what was bound to be;
* memory has grown by no more than `MOODS` and `GROWTH` for each pool.

What was drawn from a seed is drawn again with the same seed; how threads meet is not. A failure
names the seed and the pool: `--seed S --first N` goes straight there.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import faulthandler
import gc
import itertools
import os
import random
import sys
import threading
import time
from typing import Any, Final

import chaos_tasks as tasks
from chaos_checks import ChaosError, Noise, Remains, listening
from chaos_users import User, check_shared, draw_retry
from chaos_world import Ending, World, draw_ending
from interpool import InterpreterPoolExecutor, _accounts
from interpool._inside import channels
from memory import keep_little, resident_mib

# MB by which the process may grow: what the largest pools have needed once stays within reach (in
# the main interpreter's own arenas, above all, and lines of files that tracebacks have shown), and
# so much for each pool, with its four interpreters on average; some have a hundred. Measured: 3 MB
# in 880 pools, up to 9 MB in 190 of other seeds, 11 MB in 630 with a debug build. An interpreter of
# which one object is left keeps all its memory, 2 MB: ten of them show, and in 500 pools so do
# those of every thirtieth. See `keep_little` for what else would grow: by 60 MB in 300 pools.
MOODS: Final = 20.0
GROWTH: Final = 0.01
# Pools that come first and are not counted: imports, arenas, threads' stacks.
_WARM_UP: Final = 10

type Counts = collections.Counter[str]


# --- One pool ------------------------------------------------------------------------------------


def draw_settings(draw: random.Random) -> tuple[dict[str, Any], bool]:
    """Return the settings of a pool, and whether it may break."""
    settings: dict[str, Any] = {"max_workers": draw.randrange(1, 5)}
    may_break = False
    match draw.randrange(10):
        case 0:
            settings |= {"initializer": tasks.begin_or_fail, "initargs": (draw.choice((0.2, 1)),)}
            may_break = True
        case 1:
            settings |= {"initializer": tasks.begin_slowly, "initargs": (draw.random() * 0.03,)}
        case 2:
            settings |= {"initializer": tasks.begin_in_c, "initargs": (draw.random() * 0.03,)}
    if draw.random() < 0.1:
        settings["preload"] = ["json"]
        if draw.random() < 0.3:
            settings["preload"] = ["json", "no_such_module"]
            may_break = True
    if draw.random() < 0.4:
        settings["max_tasks_per_worker"] = draw.randrange(1, 21)
    if draw.random() < 0.3:
        settings["idle_timeout"] = draw.choice((0.001, 0.01, 0.05))
        settings["min_workers"] = draw.randrange(2)
    if draw.random() < 0.15:
        settings["timeout"] = draw.choice((0.01, 0.1, 0.5))
    if draw.random() < 0.15:
        settings["retries"] = draw_retry(draw)
    return settings, may_break


class Round:
    """One pool, from its making to its end."""

    def __init__(self, seed: int, number: int, patience: float, noise: Noise) -> None:
        self.name = f"seed {seed}, pool {number}"
        self.counts: Counts = collections.Counter()
        self._seed = f"{seed}/{number}"
        self._draw = random.Random(self._seed)
        self._patience = patience
        self._settings, noise.may_break = draw_settings(self._draw)
        self._how = "not yet"
        pool = InterpreterPoolExecutor(**self._settings)
        self._engine = pool._engine  # which does not keep the pool alive
        self.world = World(
            pool,
            # A map of many is nothing for workers that do one task each.
            many=self._settings.get("max_tasks_per_worker", 1_000) * 4,
            is_timed="timeout" in self._settings,
            may_break=noise.may_break,
        )

    def describe(self) -> str:
        """Say what there is of the pool, for whoever looks for a fault."""
        engine = self._engine
        everybody = engine.staff.everybody()
        boards = {it.name: it.board[: channels.FIRST_RUN].tolist() for it in everybody}
        transport = engine.transport
        stops = None if transport is None else (transport.stops, transport.waiting())
        in_flight = [*engine.tasks.in_flight.items()][:10]
        staff, dispatch = vars(engine.staff).copy(), vars(engine.tasks).copy()
        for lengthy in (staff.pop("_settings"), dispatch.pop("in_flight")):
            del lengthy
        return (
            f"settings {self._settings}, ended: {self._how}\n"
            f"{_accounts.description(engine, engine.name)}, refusal {engine.refusal!r}\n"
            f"boards {boards}, stops and items in the queue {stops}, in flight {in_flight}\n"
            f"{staff}\n{dispatch}"
        )

    def run(self) -> None:
        """Use the pool and end it; then see how everything ended.

        Raises:
            ChaosError: if anything ended in a way that it must not, or not at all.
        """
        draw, world = self._draw, self.world
        # In the main interpreter threads change places, and garbage is collected, anywhere.
        sys.setswitchinterval(draw.choice((1e-6, 1e-4, 0.005, 0.005)))
        gc.set_threshold(draw.choice((20, 2_000, 2_000)))
        steps = draw.choice((2, 10, 40, 40))
        users = [
            User(world, f"{self._seed}/{user}", draw.randrange(steps) + 1)
            for user in range(draw.randrange(1, 5))
        ]
        threads = [threading.Thread(target=user.run, name="chaos_user") for user in users]
        opener = threading.Timer(draw.choice((0.0, 0.05, 0.4)), world.open)
        for thread in (*threads, opener):
            thread.start()
        if draw.random() < 0.6:
            self._join(threads)
        elif draw.random() < 0.7:  # in the midst of it
            threading.Event().wait(draw.expovariate(1 / 0.05))
        self._join([*threads, opener, *self._end(draw)])
        world.pool = None
        self._settle()
        self._judge()

    def _end(self, draw: random.Random) -> list[threading.Thread]:
        """End the pool, or let it go; return the threads that do so."""
        world = self.world
        how = draw.choice(("once", "once", "with", "thread", "several", "callback", "drop"))
        name, end = draw_ending(draw, world)
        others = [draw_ending(draw, world)[1] for _ in range(3)]
        self._how = f"{how} {name}" if how in {"once", "thread", "callback"} else how
        self.counts[f"end: {self._how}"] += 1
        pool, world.pool = world.pool, None if how == "drop" else world.pool
        assert pool is not None
        ends: list[Ending] = []
        match how:
            case "once":
                end(pool)
            case "with":
                world.is_ending = True
                with pool:
                    pass
            case "thread":
                ends = [end]
            case "several":
                ends = others
            case "callback":
                with contextlib.suppress(RuntimeError):  # somebody was faster
                    pool.submit(tasks.echo, 0).add_done_callback(lambda _: end(pool))
                world.is_ending = True
                ends = [lambda pool: pool.shutdown(wait=False)]
        if how == "with" or self._how == "once wait":
            late = [job.name for job in world.jobs if not job.future.done()]
            if late:
                raise ChaosError(f"shutdown has returned before these had ended: {late}")
        threads = [threading.Thread(target=it, args=(pool,), name="chaos_ender") for it in ends]
        for thread in threads:
            thread.start()
        return threads

    def _settle(self) -> None:
        """Wait until all has ended."""
        world = self.world
        gc.collect()  # the pool may have been dropped, in a cycle
        end = time.monotonic() + self._patience
        waited = -1
        while waited != len(world.jobs):  # callbacks submit more
            waited = len(world.jobs)
            futures = [job.future for job in world.jobs]
            late = concurrent.futures.wait(futures, max(end - time.monotonic(), 0)).not_done
            if late:
                names = [job.name for job in world.jobs if job.future in late]
                raise ChaosError(f"these have not ended: {names}")
        # The pool's threads, and with them its callbacks.
        prefix = self._engine._settings.name_prefix
        self._join([it for it in threading.enumerate() if it.name.startswith(f"{prefix}_")])

    def _judge(self) -> None:
        world = self.world
        for job in world.jobs:
            how, wrong = world.verdict(job)
            self.counts[f"task: {how}"] += 1
            if wrong:
                world.problems.append(f"{job.name}: {wrong}")
            if (calls := len(job.called)) != job.callbacks:
                world.problems.append(f"{job.name}: {calls} of {job.callbacks} callbacks called")
        self.counts += world.counts
        self.counts["workers"] += self._engine.staff.hired
        world.problems += check_shared()
        if world.problems:
            raise ChaosError("\n".join(world.problems[:10]))

    def _join(self, threads: list[threading.Thread]) -> None:
        end = time.monotonic() + self._patience
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0))
            if thread.is_alive():
                raise ChaosError(f"{thread.name} has not ended")


# --- All of them ---------------------------------------------------------------------------------


class Chaos:
    """Pool after pool."""

    def __init__(self, seed: int, patience: float) -> None:
        self.seed = seed
        self.noise = Noise()
        self.counts: Counts = collections.Counter()
        self.pools = 0
        self.growth: float | None = None  # MB, since the first pools
        self._patience = patience
        self._before = Remains.now()
        self._worlds: list[World] = []  # whose pipes are open
        self._size: tuple[float, int] | None = None  # of how many MB we were, after which pool
        self._round: Round | None = None

    def run_pool(self, number: int) -> None:
        """Run a pool; then, now and then, see what is left.

        Raises:
            ChaosError: if something is wrong.
        """
        self._round = None  # what it refers to may go
        self._round = round_ = Round(self.seed, number, self._patience, self.noise)
        # Should the main thread itself wait for what does not come.
        watchdog = threading.Timer(3 * self._patience, self.give_up, ("it does not end",))
        watchdog.start()
        try:
            round_.run()
            self._worlds.append(round_.world)
            self.pools += 1
            self.counts += round_.counts
        finally:
            watchdog.cancel()
            watchdog.join()
        if random.Random(f"{self.seed}/{number}/check").random() < 0.4:
            self.check_remains()
        self.noise.check()

    def check_remains(self) -> None:
        """See what is left of the last pools."""
        self._before.check(self._worlds, self._patience)
        if self._size is None and self.pools >= _WARM_UP:
            self._size = resident_mib(), self.pools

    def check_memory(self) -> None:
        """See by how much the process has grown."""
        self.check_remains()
        if self._size is None:
            return
        size, pools = self._size
        self.growth = resident_mib() - size
        if self.growth > MOODS + GROWTH * (self.pools - pools):
            raise ChaosError(f"{self.pools - pools} pools have left {self.growth:.1f} MB")

    def give_up(self, text: str) -> None:
        """Say all that is known and leave: there may be threads that never end."""
        name, found = "", ""
        if self._round is not None:
            name, found = self._round.name, self._round.describe()
        faulthandler.dump_traceback(file=2)
        os.write(2, f"{name}: {text}\n{found}\n".encode())
        os._exit(1)


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long; default: 60")
    parser.add_argument("--seed", type=int, help="of all decisions; default: a random one")
    parser.add_argument("--first", type=int, default=0, help="number of the first pool; default: 0")
    parser.add_argument("--last", type=int, help="number of the last one; default: none")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait; default: 60")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    out = sys.stdout
    print(f"seed {seed}, Python {sys.version}", flush=True)
    faulthandler.enable()
    keep_little()
    chaos = Chaos(seed, args.patience)
    begin = shown = time.monotonic()
    with listening(chaos.noise):
        try:
            for number in itertools.count(args.first):
                now = time.monotonic()
                if now - begin > args.seconds or (args.last is not None and number > args.last):
                    break
                chaos.run_pool(number)
                if now - shown > 10:
                    shown = now
                    print(f"{now - begin:5.0f} s: {chaos.pools} pools", file=out, flush=True)
            chaos.check_memory()
        except ChaosError as error:
            chaos.give_up(str(error))
    for name, count in sorted({**chaos.counts, **chaos.noise.heard}.items()):
        print(f"{count:9} {name}")
    if chaos.growth is not None:
        print(f"memory has grown by {chaos.growth:.1f} MB since the first {_WARM_UP} pools")
    print(f"all is well with {chaos.pools} pools in {time.monotonic() - begin:.0f} s, seed {seed}")


if __name__ == "__main__":
    main()
