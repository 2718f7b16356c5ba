"""`shared=`: objects sent once, and what a worker finds as `interpool.shared`."""

import array
import gc
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import interpool
from interpool import InterpreterPoolExecutor, TransferError
from support import PATIENCE, identity


class Table:
    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows


def mapped() -> int:
    """How many pieces of memory of ours this process maps or has open."""
    open_ = sum("memfd:interpool" in str(link.readlink()) for link in _descriptors())
    return open_ + Path("/proc/self/maps").read_text().count("memfd:interpool")


def _descriptors() -> list[Path]:
    return [link for link in Path("/proc/self/fd").iterdir() if link.exists()]


def test_every_worker_finds_it_and_keeps_it() -> None:
    def look(name: str) -> tuple[int, bool]:
        import interpool

        table = interpool.shared["table"]
        return table.rows[name], table is interpool.shared["table"]

    offset = 10
    objects = {"table": Table({"a": 1, "b": 2}), "add": lambda n: n + offset}
    with InterpreterPoolExecutor(2, shared=objects) as pool:
        assert list(pool.map(look, ["a", "b"] * 5)) == [(1, True), (2, True)] * 5
        assert pool.submit(lambda: interpool.shared["add"](1)).result(PATIENCE) == 11
        assert pool.submit(lambda: sorted(interpool.shared)).result(PATIENCE) == ["add", "table"]
        assert pool.submit(lambda: len(interpool.shared)).result(PATIENCE) == 2
        assert "table" in pool.submit(lambda: repr(interpool.shared)).result(PATIENCE)


def test_it_is_as_it_was_when_the_pool_was_made() -> None:
    numbers = [1, 2]
    with InterpreterPoolExecutor(1, shared={"numbers": numbers}) as pool:
        numbers.append(3)
        assert pool.submit(lambda: interpool.shared["numbers"]).result(PATIENCE) == [1, 2]


def test_types_are_kept_and_buffers_are_views_of_one_memory() -> None:
    def kinds() -> list[Any]:
        found = interpool.shared
        view = found["view"]
        return [
            [type(found[name]).__name__ for name in ("bytes", "bytearray", "text", "array")],
            (found["bytes"], found["text"][:2], found["array"][-1], len(found["bytearray"])),
            (view.format, view.shape, view.readonly, view[3, 1], type(view.obj).__name__),
        ]

    numbers = array.array("d", range(100_000))
    objects = {
        "bytes": b"x" * 300_000,
        "bytearray": bytearray(300_000),
        "text": "äö" * 150_000,
        "array": numbers,
        "view": memoryview(numbers).cast("B").cast("d", (50_000, 2)),
    }
    with InterpreterPoolExecutor(1, shared=objects) as pool:
        types, values, view = pool.submit(kinds).result(PATIENCE)
    assert types == ["bytes", "bytearray", "str", "array"]
    assert values == (b"x" * 300_000, "äö", 99_999.0, 300_000)
    assert view[:4] == ("d", (50_000, 2), True, 7.0)


def test_it_can_be_imported_by_its_name() -> None:
    from interpool import shared

    with InterpreterPoolExecutor(1, shared={"x": 1}) as pool:
        assert pool.submit(lambda: shared["x"]).result(PATIENCE) == 1
    assert list(shared) == []


def test_threads_find_the_objects_themselves() -> None:
    objects = {"it": object()}
    with InterpreterPoolExecutor(1, shared={"it": [objects]}) as pool:
        task = pool.options(lane="thread").submit(lambda: interpool.shared["it"][0])
        assert task.result(PATIENCE) is objects
    with InterpreterPoolExecutor(1, shared={}) as pool:
        task = pool.options(lane="thread").submit(lambda: len(interpool.shared))
        assert task.result(PATIENCE) == 0


def test_what_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"nothing is shared here. Make the pool with shared="):
        interpool.shared["x"]
    with InterpreterPoolExecutor(1, shared={"a": 1, "b": 2}) as pool:
        with pytest.raises(KeyError, match="'x' is not shared: the pool was given 'a', 'b'"):
            pool.submit(lambda: interpool.shared["x"]).result(PATIENCE)
        assert pool.submit(lambda: interpool.shared.get("x", 5)).result(PATIENCE) == 5


def test_what_cannot_be_shared_is_refused_at_once() -> None:
    with pytest.raises(TransferError, match=r"Cannot send shared\['table'\]\['lock'\]"):
        InterpreterPoolExecutor(1, shared={"ok": 1, "table": {"lock": threading.Lock()}})
    with pytest.raises(TypeError, match="a mapping of names to objects, not list"):
        InterpreterPoolExecutor(1, shared=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names, strings, for keys, not 3"):
        InterpreterPoolExecutor(1, shared={3: 1})  # type: ignore[dict-item]


def test_a_replaced_worker_has_it_too() -> None:
    def size() -> int:
        found: int = interpool.shared["view"].nbytes
        return found

    objects = {"view": memoryview(bytes(1 << 20))}
    with InterpreterPoolExecutor(1, max_tasks_per_worker=2, shared=objects) as pool:
        assert [pool.submit(size).result(PATIENCE) for _ in range(6)] == [1 << 20] * 6


def test_its_memory_goes_with_the_pool() -> None:
    before = mapped()
    objects = {"view": memoryview(bytes(1 << 20))}
    pool = InterpreterPoolExecutor(2, shared=objects)
    assert list(pool.map(lambda _: interpool.shared["view"].nbytes, range(4))) == [1 << 20] * 4
    assert mapped() > before
    pool.shutdown()
    del pool
    gc.collect()
    assert mapped() == before


def test_a_pool_without_any_costs_no_memory() -> None:
    before = mapped()
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(identity, 1).result(PATIENCE) == 1
        assert mapped() == before


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over")
def test_processes_find_it_too() -> None:
    def look() -> tuple[int, bool, int]:
        view = interpool.shared["view"]
        return view.nbytes, view.readonly, interpool.shared["table"]["a"]

    objects = {"view": memoryview(bytes(1 << 20)), "table": {"a": 1}}
    with InterpreterPoolExecutor(1, shared=objects) as pool:
        lane = pool.options(lane="process")
        assert lane.submit(look).result(PATIENCE) == (1 << 20, True, 1)
        assert lane.submit(lambda: sorted(interpool.shared)).result(PATIENCE) == ["table", "view"]
