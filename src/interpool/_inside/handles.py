"""What users have of what interpreters share: handles, which are equal wherever they are.

Behind a handle is a core: a primitive in this process (`sharing`), or what stands for the main
process's in a worker process (`relay`). It has the same methods, and the same `identity`.
"""

import _thread
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any, Self

    from interpool._inside import descriptors, sharing, values
else:
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")
    sharing = values.module_inside("sharing")

sys.modules["_interpool_handles"] = sys.modules["interpool._inside.handles"]
__name__ = "_interpool_handles"


class Handle:
    """What is common to all that users see: equality, and that it is sent by pools only."""

    __slots__ = ("__weakref__", "_core")

    _kind: type[sharing.Primitive]  # of the core
    _core: Any

    def __eq__(self, other: object) -> bool:
        """Whether it is the same one."""
        if not isinstance(other, Handle):
            return NotImplemented
        mine: descriptors.Identity = self._core.identity
        theirs: descriptors.Identity = other._core.identity
        return mine == theirs

    def __hash__(self) -> int:
        """Of the one, in whichever interpreter."""
        return hash(self._core.identity)

    def __reduce__(self) -> Any:
        """Refuse: where nobody knows the process, its descriptors mean nothing."""
        raise unpicklable(self)

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        made = cls.__new__(cls)
        made._core = core_of(cls._kind, state, cls.__name__)
        return made


def register(kind: type[Handle], module: str) -> None:
    """Have handles of a class sent by the codec."""

    def reduce(handle: Handle, is_kept: bool) -> Any:
        state = handle._core.state(is_kept=is_kept)
        return values.make_handle, (module, kind.__name__, state)

    values.HANDLES[kind] = reduce


# --- Cores ---------------------------------------------------------------------------------------


def make(core: type[sharing.Primitive], *args: Any) -> Any:
    """Make something new to share: here, or in the main process if this is a worker of it."""
    process = sys.modules.get("_interpool_process")
    if process is None or process.switchboard is None:
        return core(*args)
    return values.module_inside("relay").make(core, *args)


def who() -> int:
    """The number of this thread: no other one has it, in whatever interpreter or process."""
    process = sys.modules.get("_interpool_process")
    if process is None or process.switchboard is None:
        return _thread.get_ident()
    found: int = values.module_inside("asking").who()
    return found


def core_of(core: type[sharing.Primitive], state: sharing.State, name: str) -> Any:
    """Return what was sent: this interpreter's own, or what stands for the main process's.

    Raises:
        ReferenceError: if nobody has it any more.
        RuntimeError: if it is of a process that this one knows nothing of.
        OSError: if there are no more descriptors.
    """
    if state[0] != os.getpid():
        return values.module_inside("relay").of_state(core, state, name)
    try:
        return core.of_state(state)
    except descriptors.Gone:
        raise gone(name) from None


def gone(name: str) -> ReferenceError:
    """The error for what nobody has any more."""
    message = (
        f"the {name} that was sent here is gone: whoever made it let go of it before it "
        "arrived. Keep it where it was made until the task is done"
    )
    return ReferenceError(message)


def unpicklable(handle: object) -> TypeError:
    """The error for whoever pickles a handle by other means than a pool's."""
    message = (
        f"a {type(handle).__name__} goes to the workers of a pool, as an argument or a global of a "
        "task, and cannot be pickled otherwise"
    )
    return TypeError(message)
