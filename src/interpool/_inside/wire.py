"""Messages between a worker process and main about what is shared (`relay`).

A message is a head, small and plain, and a body, plain too, in which lists of bytes may be large:
those travel in memory that both ends share, whose descriptor goes along. A descriptor of its own
may go along instead; it is the last of the body then.
"""

import errno
import marshal
import os
import socket
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Final

    from interpool._inside import sharing
else:
    import _interpool_values as values

    sharing = values.module_inside("sharing")

sys.modules["_interpool_wire"] = sys.modules["interpool._inside.wire"]
__name__ = "_interpool_wire"

type Message = tuple[tuple[Any, ...], list[Any]]
"""A head and a body."""

type Key = tuple[str, str, sharing.Identity]
"""Module and class of what is shared, and which one it is; of bare memory, both are empty."""

type Memory = tuple[int, int, sharing.Identity]
"""Of memory: the process, the descriptor's number there, and which memory it is."""

# What a process says, behind the number that it begins a connection with (`who`). Main answers all
# but the last two.
CALL, HOLD, MAKE, GIVE, MEMORY, MAKE_MEMORY, GIVE_MEMORY, CLOSE = range(8)
CANCEL, ACKNOWLEDGE, DROP = range(8, 11)
# What main answers.
DONE, FAILED, CANCELLED = range(3)

# Bytes from which on a list of bytes travels in shared memory: about what a socket takes at once.
SHARED: Final = 1 << 17
_READ: Final = 1 << 16
_LENGTH: Final = 4
# What comes is not for programs that this process starts.
FLAGS: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def pack(head: tuple[Any, ...], body: tuple[Any, ...] = (), fd: int = -1) -> tuple[bytes, int]:
    """Return what goes into the stream, and the descriptor that goes along, -1 for none.

    Args:
        head: of the message: small.
        body: of the message, too. Lists of bytes in it go in shared memory if they are large; then
            the descriptor is the caller's to close.
        fd: the descriptor that goes along, if there are no such lists.

    Raises:
        OSError: if the system has no memory to share, or no descriptor of it.
    """
    places: list[tuple[int, list[int]]] = []
    large: list[bytes] = []
    for place, value in enumerate(body):
        if type(value) is list and set(map(type, value)) == {bytes}:
            sizes = [*map(len, value)]
            if sum(sizes) >= SHARED:
                places.append((place, sizes))
                large += value
    has_own = fd != -1
    if large:
        fd = _share(large)
        body = tuple(None if place in dict(places) else it for place, it in enumerate(body))
    data = marshal.dumps((head, body, places, has_own))
    return len(data).to_bytes(_LENGTH, "little") + data, fd


def _share(parts: Sequence[bytes]) -> int:
    """Write parts into memory of their own; return its descriptor."""
    memory = sharing.create_memory(0)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(memory, view) :]
    except BaseException:
        os.close(memory)
        raise
    return memory


def _read(memory: int, places: Sequence[tuple[int, list[int]]]) -> Iterator[tuple[int, Any]]:
    start = 0
    for place, sizes in places:
        parts = []
        for size in sizes:
            part = os.pread(memory, size, start)
            while len(part) < size:  # more than the system reads at once, which is 2 GiB
                part += os.pread(memory, size - len(part), start + len(part))
            parts.append(part)
            start += size
        yield place, parts


class Wire:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._data = bytearray()
        self._descriptors: list[int] = []

    @property
    def has_more(self) -> bool:
        """Whether something has come, or a part of it, behind what was received last."""
        return bool(self._data)

    def send(self, *head: Any) -> None:
        """Send a small message.

        Raises:
            OSError: if nobody reads.
        """
        self.socket.sendall(pack(head)[0])

    def send_packed(self, data: bytes, fd: int) -> None:
        """Send what was packed.

        Raises:
            OSError: if nobody reads.
        """
        if fd == -1:
            self.socket.sendall(data)
        else:
            sent = socket.send_fds(self.socket, [data], [fd])
            self.socket.sendall(data[sent:])

    def receive(self) -> Message | None:
        """Wait for the next message; return its head and its body, None if there will be none.

        Raises:
            OSError: as `next` does.
        """
        while (found := self.next()) is None:
            if not self.fill():
                return None
        return found

    def fill(self) -> bool:
        """Wait for more of what is sent; return whether there is."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, _READ, 1, FLAGS)
        except ConnectionResetError:
            return False
        self._descriptors += descriptors
        self._data += data
        return bool(data)

    def next(self) -> Message | None:
        """Return the next message, if all of it has come. Its descriptor is the last in its body.

        Raises:
            OSError: if what came beside it cannot be had: no descriptor is free for it, or no
                memory. The message is lost, and the next one can be received.
        """
        data = self._data
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
        if len(data) < _LENGTH or len(data) < end:
            return None
        head, body, places, has_own = marshal.loads(data[_LENGTH:end])
        del data[:end]
        found = [*body]
        if not places and not has_own:
            return head, found
        if not self._descriptors:  # the system has let it drop
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        fd = self._descriptors.pop(0)
        if has_own:
            found.append(fd)
            return head, found
        try:
            for place, parts in _read(fd, places):
                found[place] = parts
        finally:
            os.close(fd)
        return head, found

    def close(self) -> None:
        """Close it, with what has come and was not received."""
        self.socket.close()
        while self._descriptors:
            os.close(self._descriptors.pop())
