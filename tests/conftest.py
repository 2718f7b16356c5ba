"""What every test is held to: threads, interpreters, descriptors, processes are as before."""

import _interpreters
import gc
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis.strategies import none

from interpool._inside import values
from interpool._spares import SPARES
from support import Gate

if TYPE_CHECKING:
    from cluster_world import Nursery, World


def _interpreter_ids() -> set[int]:
    return {entry[0] for entry in _interpreters.list_all()}


def _descriptors() -> dict[str, str]:
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        try:
            found[link.name] = str(link.readlink())
        except OSError:  # the descriptor of this very listing
            continue
    return {fd: target for fd, target in found.items() if not target.startswith("/proc/")}


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where the processes of Dask clusters come from."""
    from cluster_world import Nursery

    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def cluster(nursery: Nursery) -> Iterator[World]:
    """A cluster of two workers, which no test ends."""
    from distributed.utils import _offload_executor

    from cluster_world import world

    # The thread in which Dask makes and reads large pickles stays for ever: before any test is held
    # to what was there.
    _offload_executor.submit(int).result()
    with world(nursery) as made:
        yield made


def _children_but_of(others: set[int]) -> set[int]:
    """Processes below this one; what others start, a cluster's workers, say, is theirs."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # one of theirs has ended meanwhile
            if child.ppid() not in others:
                found.add(child.pid)
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Compare what there is of each kind before and after the test."""
    threads = set(threading.enumerate())
    interpreters = _interpreter_ids()
    descriptors = _descriptors()
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)  # pools that nobody holds end by themselves: this is where they may
    SPARES.clear()  # and leave interpreters for the next one
    values.module_inside("bells").forget()
    assert set(threading.enumerate()) - threads == set()
    assert _interpreter_ids() - interpreters == set()
    assert {fd: to for fd, to in _descriptors().items() if fd not in descriptors} == {}
    assert _children_but_of(children) - children == set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that tasks wait at, in any interpreter, until the test opens it."""
    with Gate() as made:
        yield made


@pytest.fixture
def arrivals() -> Iterator[Gate]:
    """A second gate, through which tasks tell the test that they have begun."""
    with Gate() as made:
        yield made


def pytest_configure(config: pytest.Config) -> None:
    """Have pools know nothing of what `doctor` has found for the user, and add nothing to that."""
    folder = tempfile.TemporaryDirectory(prefix="interpool-tests-")
    os.environ["XDG_CACHE_HOME"] = folder.name
    config.add_cleanup(folder.cleanup)


def pytest_collection_finish() -> None:
    """Have the collections that tests ask for pass over what was there before the first of them."""
    # Hypothesis, at its first run, looks for who refers to its random numbers, and would not find
    # those that are frozen.
    given(none())(lambda _: None)()
    gc.collect()
    gc.freeze()
