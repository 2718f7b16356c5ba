"""What a pool shares with its workers: sent once, loaded by each worker that asks for it.

The pickles are small and came with the worker's settings; the buffers in them lie in memory that
all of them map, so that loading makes views of them and no copies.
"""

import _thread
import mmap
import os
import sys
from _collections_abc import Mapping  # there from the start

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from interpool._inside import descriptors, values
else:
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")

sys.modules["_interpool_shared"] = sys.modules["interpool._inside.shared"]
__name__ = "_interpool_shared"

type Form = tuple[values.Context, bytes, list[tuple[int, int]]]
"""Of one object: context and pickle, and where in the memory its buffers begin and end."""
type Given = tuple[tuple[int, int, descriptors.Identity], int, dict[str, Form]]
"""The memory: of which process, its descriptor and identity; its size; each object by its name."""


class Shared(Mapping):  # type: ignore[type-arg]  # which would be evaluated
    """The objects that the pool of this worker was given as `shared`, by their names.

    Each is loaded when a task first asks for it, and is then the same object for all tasks of that
    worker: what one changes in it is changed for those that follow in this worker, and for nobody
    else. Buffers in it cannot be written to.

    May be used from any thread.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}
        self._memory: memoryview | None = None
        self._loading = _thread.RLock()

    def __getitem__(self, name: str) -> Any:
        """Return the object of that name.

        Raises:
            KeyError: if the pool was given none of that name, or this is no worker.
            Exception: whatever loading it raises.
        """
        if name in self._loaded and not hasattr(of_thread, "objects"):
            return self._loaded[name]
        names = self._names()
        if name not in names:
            raise KeyError(_missing(name, list(names)))
        if names is not self._forms():
            return names[name]
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._names())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names())

    def __repr__(self) -> str:
        """The names."""
        return f"<interpool.shared: {', '.join(map(repr, self)) or 'nothing'}>"

    def __reduce__(self) -> str:
        """By its name: in another worker it is that worker's own."""
        return "shared"

    def _names(self) -> dict[str, Any]:
        own: dict[str, Any] | None = getattr(of_thread, "objects", None)
        return self._forms() if own is None else own

    def _forms(self) -> dict[str, Form]:
        found: dict[str, Form] = values.given[2] if values.given else {}
        return found

    def _load(self, name: str) -> Any:
        (process, fd, identity), nbytes, forms = values.given
        context, stream, places = forms[name]
        if places and self._memory is None:
            if process == os.getpid():
                own = descriptors.duplicate(fd, identity)
            else:
                own = values.module_inside("relay").memory_of((process, fd, identity))
            try:
                self._memory = memoryview(mmap.mmap(own, nbytes, prot=mmap.PROT_READ))
            finally:
                os.close(own)
        memory: Any = self._memory
        return values.load(context, [stream, *(memory[start:end] for start, end in places)])


def _missing(name: object, known: list[str]) -> str:
    if known:
        return f"{name!r} is not shared: the pool was given {', '.join(map(repr, known))}"
    return f"{name!r}: nothing is shared here. Make the pool with shared={{{name!r}: ...}}"


Shared.__module__ = "interpool"
# Of threads of the thread lane: the objects themselves, of their pool.
of_thread: Any = _thread._local()
shared = Shared()
