"""Memory that all interpreters and worker processes see.

It guarantees:

* **One copy.** What is sent is the number of a descriptor and where the elements lie; each
  interpreter maps the memory for itself, once, whatever comes in how often.
* **Nothing dangles.** The memory is the kernel's (`memfd_create`) and goes with its last descriptor
  and mapping. A mapping goes with the last object of its interpreter that looks at it, be it a
  memoryview or an array of numpy's; that nothing does is what `close` asks for.
* **What is on its way arrives**, though the handle that was sent is closed meanwhile: what is kept
  for it is the mapping.

There is no lock: whoever writes what another one reads has to say so to it, by a result or a queue.
A forked child has what it inherited, the memory being the same one.

It assumes that memory can be had when it is touched for the first time: when it cannot, the kernel
kills the process, or one that it chooses (SIGBUS, the OOM killer).
"""

import _weakref
import mmap
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from interpool._inside import descriptors, sharing, values
else:
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")
    sharing = values.module_inside("sharing")

sys.modules["_interpool_memory"] = sys.modules["interpool._inside.memory"]
__name__ = "_interpool_memory"

# --- Memory --------------------------------------------------------------------------------------

type State = tuple[int, int, descriptors.Identity, bool, int, bool]
"""Of memory on its way to another interpreter: the process; its descriptor there; its identity;
whether that is the receiver's to close; its size in bytes; whether it may only be read there."""

# Those of this interpreter, by identity and whether they may only be read.
_known: dict[tuple[descriptors.Identity, bool], _weakref.ref[Memory]] = {}


class _Origin:
    """How the main process knows memory of this process, a worker of it.

    Attributes:
        state: process, descriptor and identity.
    """

    __slots__ = ("_drop", "state")

    def __init__(self, state: Any, drop: Callable[[Any], None] | None = None) -> None:
        """Args: the state; and what has main let go of it, if it holds it for this process."""
        self.state = state
        self._drop = drop

    def __del__(self) -> None:
        if self._drop is not None:
            self._drop(self.state)


class Memory:
    """Memory as one interpreter sees it: a descriptor of its own, and a mapping.

    Attributes:
        identity: by which the same is known everywhere.
        nbytes: its size; that of the mapping is 1 for none.
        is_readonly: whether it is mapped so that nobody can write to it.
    """

    __slots__ = ("__weakref__", "_origin", "_own", "identity", "is_readonly", "map", "nbytes")

    def __init__(
        self, fd: int, nbytes: int, *, is_readonly: bool = False, origin: _Origin | None = None
    ) -> None:
        """Map memory.

        Args:
            fd: a descriptor of it, which is closed by this one, or at once if that fails.
            nbytes: its size.
            is_readonly: see there.
            origin: in a worker process, how the main process knows it.

        Raises:
            MemoryError: if there is no room for it.
        """
        self._own = descriptors.Descriptor(fd)
        self.identity = descriptors.identity_of(fd)
        self._origin = origin
        self.nbytes = nbytes
        self.is_readonly = is_readonly
        options: dict[str, int] = {"prot": mmap.PROT_READ} if is_readonly else {}
        try:
            self.map = mmap.mmap(fd, max(nbytes, 1), trackfd=False, **options)
        except (OSError, OverflowError) as error:
            raise _no_room(nbytes, error) from error
        key = self.identity, is_readonly

        def forget(reference: _weakref.ref[Memory]) -> None:
            if _known.get(key) is reference:
                del _known[key]

        _known[key] = _weakref.ref(self, forget)

    @classmethod
    def create(cls, nbytes: int) -> Self:
        """Make new memory, filled with zeros.

        Raises:
            MemoryError: if there is no room for it.
            OSError: if there are no more descriptors.
        """
        if nbytes > sys.maxsize:
            raise _no_room(nbytes, "that is more than any process can address")
        shielded = sharing.shield()  # nothing may come between a descriptor and who closes it
        try:
            process = sys.modules.get("_interpool_process")
            if getattr(process, "switchboard", None) is not None:
                relay = values.module_inside("relay")
                fd, made = relay.make_memory(max(nbytes, 1))
                return cls(fd, nbytes, origin=_Origin(made, relay.drop_memory))
            return cls(_create(nbytes), nbytes)
        finally:
            sharing.lift(shielded)

    def state(self, *, is_kept: bool, is_readonly: bool) -> State:
        """What another interpreter needs to see the same.

        Args:
            is_kept: whether this one lives until that has arrived. Otherwise the state holds a
                descriptor of its own, which is closed by who loads it.
            is_readonly: whether that one may only read it.

        Raises:
            descriptors.Gone: in a worker process, if the main process has it no more.
            OSError: if there are no more descriptors.
        """
        rest = self.nbytes, is_readonly
        if self._origin is not None:
            known = self._origin.state
            if not is_kept:
                known = values.module_inside("relay").give_memory(known)
            return (*known, not is_kept, *rest)
        fd = self._own.fd if is_kept else os.dup(self._own.fd)
        return os.getpid(), fd, self.identity, not is_kept, *rest

    @classmethod
    def of_state(cls, state: State) -> Memory:
        """Return this interpreter's own of what another one has sent.

        Raises:
            descriptors.Gone: if nobody has it any more.
            MemoryError: if there is no room for it.
            OSError: if there are no more descriptors.
            RuntimeError: if it is of a process that this one knows nothing of.
        """
        pid, fd, identity, is_given, nbytes, is_readonly = state
        shielded = sharing.shield()
        try:
            if pid != os.getpid():
                reference = _known.get((identity, is_readonly))
                known = None if reference is None or is_given else reference()
                if known is not None:
                    return known
                relay = values.module_inside("relay")
                own = relay.memory_of(state[:3])
                if is_given:
                    relay.close([fd])
                return cls(own, nbytes, is_readonly=is_readonly, origin=_Origin(state[:3]))
            own = descriptors.duplicate(fd, identity)
            if is_given:  # and not if it was gone: that number is of something else
                os.close(fd)
            reference = _known.get((identity, is_readonly))
            known = None if reference is None else reference()
            if known is not None:
                os.close(own)
                return known
            return cls(own, nbytes, is_readonly=is_readonly)
        finally:
            sharing.lift(shielded)


def _create(nbytes: int) -> int:
    try:
        return descriptors.create_memory(max(nbytes, 1))
    except OSError as error:
        import errno

        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise
        raise _no_room(nbytes, error) from error


def _no_room(nbytes: int, why: object) -> MemoryError:
    return MemoryError(f"there is no room for {nbytes:,} bytes of shared memory: {why}")


class Lease:
    """What a handle and the views that were made of it have in common: open, or closed.

    Attributes:
        memory: what they look at; None when they are closed.
        flat: all of it, in elements.
        readonly: the same, not to be written to.
        looked_at: buffers that were given out and are in use, by identity.
    """

    __slots__ = ("_was_looked_at", "flat", "held", "looked_at", "memory", "readonly")

    def __init__(self, memory: Memory, code: str) -> None:
        """Args: the memory, and the format of its elements."""
        self.memory: Memory | None = memory
        self.flat = memoryview(memory.map)[: memory.nbytes].cast(code)  # type: ignore[call-overload]
        self.readonly = self.flat.toreadonly()
        self.looked_at: dict[int, memoryview] = {}
        self._was_looked_at = False
        self.held: Any = None

    def note(self, view: memoryview) -> None:
        """A buffer is given out."""
        self.looked_at[id(view)] = view
        self._was_looked_at = True

    def forget(self, view: memoryview) -> None:
        """A buffer is not in use any more."""
        self.looked_at.pop(id(view), None)

    def close(self, name: str) -> None:
        """Let go of the memory.

        Raises:
            BufferError: if it is looked at.
        """
        if self.looked_at:
            message = (
                f"this {name} cannot be closed while memoryviews or arrays of it are in use here, "
                f"{len(self.looked_at)} in number. Release or delete them first; or leave it to "
                "them, for the memory goes with the last one"
            )
            raise BufferError(message)
        # `numpy.ndarray(buffer=it)` gives its buffer back at once and goes on using it. It holds
        # the handle, and so this one.
        if self._was_looked_at and self.memory is not None and "numpy" in sys.modules:
            self.held = self.memory.map
        self.memory = None
        self.readonly.release()
        self.flat.release()
