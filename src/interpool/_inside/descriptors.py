"""Memory of the kernel's, and the descriptors of it."""

import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

sys.modules["_interpool_descriptors"] = sys.modules["interpool._inside.descriptors"]
__name__ = "_interpool_descriptors"

type Identity = tuple[int, int]
"""Device and inode of a piece of memory: no two have the same at the same time."""


def create_memory(nbytes: int = 0) -> int:
    """Make memory of the kernel's, filled with zeros; return its descriptor.

    Raises:
        OSError: if the system gives none.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("interpool", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, nbytes)
    except BaseException:
        os.close(fd)
        raise
    return fd


def share(parts: Sequence[bytes]) -> int:
    """Write parts into memory of their own; return its descriptor.

    Raises:
        OSError: if the system gives none.
    """
    memory = create_memory()
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(memory, view) :]
    except BaseException:
        os.close(memory)
        raise
    return memory


def read(memory: int, sizes: Sequence[int], start: int = 0) -> list[bytes]:
    """Read parts of these sizes out of memory, from a place on.

    Not by mapping it, which costs a fault for each page on top of the copy: a fifth of the time.
    """
    parts = []
    for size in sizes:
        part = os.pread(memory, size, start)
        while len(part) < size:  # more than the system reads at once, which is 2 GiB
            part += os.pread(memory, size - len(part), start + len(part))
        parts.append(part)
        start += size
    return parts


def identity_of(fd: int) -> Identity:
    """Tell memory from other memory, which may get the number of a descriptor when it is closed."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Descriptor:
    """A descriptor that is closed with whoever has it.

    Not by that one itself: a finalizer runs while weak references still lead to what it is of, and
    so may another thread.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        """Args: its number."""
        self.fd = fd

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close it."""
        close(self.fd)


class Gone(Exception):  # noqa: N818 - what it becomes is said by who knows what has gone
    """What a descriptor was of has been closed since."""


def duplicate(fd: int, identity: Identity) -> int:
    """Return a descriptor of one's own.

    Raises:
        Gone: if that number is of something else by now, or of nothing.
        OSError: if there are no more descriptors.
    """
    try:
        found = os.dup(fd)
    except OSError as error:
        import errno

        if error.errno != errno.EBADF:
            raise
        raise Gone from None
    if identity_of(found) != identity:
        os.close(found)
        raise Gone
    return found
