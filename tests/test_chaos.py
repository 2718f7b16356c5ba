"""Chaos for a bounded time, as a program: nothing is left in this process if it breaks down."""

import random
import sys
from pathlib import Path

import pytest

import pools
from support import PATIENCE, run_program

SECONDS = "7"  # each; `make chaos` runs for as long as one likes


@pytest.mark.stress
@pytest.mark.parametrize("seed", [1, 2, None], ids=["seed 1", "seed 2", "random seed"])
def test_chaos(seed: int | None) -> None:
    seed = random.randrange(1_000_000) if seed is None else seed
    print(f"seed {seed}", file=sys.stderr)
    program = Path(__file__).with_name("chaos.py")
    # What is waited for twice, in a row, is still within the time that the program has.
    done = run_program(
        program, "--seed", str(seed), "--seconds", SECONDS, "--patience", str(PATIENCE // 3)
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-10_000:]
    assert "all is well" in done.stdout


@pytest.mark.stress
def test_pools_leave_no_more_than_bare_interpreters_do() -> None:
    """None leaves an interpreter's memory (2.4 MB); beside that, the moods of allocators are small.

    What pools have beside interpreters, threads above all, leaves memory that is used again: in a
    few pools it shows, in a thousand it is less than 1 KB each (`tests/pools.py`).
    """
    bare = pools.measure("bare interpreter", 60, PATIENCE)
    assert pools.measure("pool", 60, PATIENCE) < bare + 100
    assert pools.measure("busy pool", 20, PATIENCE) < bare + 100
