"""Frames in a socket, and the descriptors that come along: what `process` and `wire` are made of.

A frame is a length and so many bytes. What is large travels beside it, in memory that both ends
share (`descriptors.share`).
"""

import errno
import os
import socket
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

sys.modules["_interpool_framing"] = sys.modules["interpool._inside.framing"]
__name__ = "_interpool_framing"

# Bytes from which on parts of a message travel in shared memory: about what a socket takes at once.
SHARED: Final = 1 << 17
_READ: Final = 1 << 16
_LENGTH: Final = 4
# What comes is not for programs that this process starts.
FLAGS: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def framed(data: bytes) -> bytes:
    """Return a frame."""
    return len(data).to_bytes(_LENGTH, "little") + data


def send(sock: socket.socket, data: bytes, fd: int) -> None:
    """Send data, and the descriptor that goes along, -1 for none.

    Raises:
        OSError: if nobody reads.
    """
    if fd == -1:
        sock.sendall(data)
    else:
        sent = socket.send_fds(sock, [data], [fd])
        sock.sendall(data[sent:])


class Stream:
    """The reading end of a socket."""

    def __init__(self, sock: socket.socket, wait: Callable[[int], bool] | None = None) -> None:
        """Args: the socket, and what waits until it can be read, or says that it never will."""
        self.socket = sock
        self._wait = wait
        self._data = bytearray()
        self._descriptors: list[int] = []

    @property
    def has_more(self) -> bool:
        """Whether something has come that was not taken."""
        return bool(self._data)

    def fill(self) -> bool:
        """Wait for more of what is sent; return whether there is."""
        if self._wait is not None and not self._wait(self.socket.fileno()):
            return False
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, _READ, 1, FLAGS)
        except ConnectionResetError:
            return False
        self._descriptors += fds
        self._data += data
        return bool(data)

    def frame(self) -> bytearray | None:
        """Take the next frame, if all of it has come; return what is in it."""
        data = self._data
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
        if len(data) < _LENGTH or len(data) < end:
            return None
        found = data[_LENGTH:end]
        del data[:end]
        return found

    def take(self, size: int) -> bytes | None:
        """Wait for so many bytes and take them; None if there will not be as many."""
        while len(self._data) < size:
            if not self.fill():
                return None
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def descriptor(self) -> int:
        """Take the next descriptor, of what was taken last.

        Raises:
            OSError: if none was free for it.
        """
        if not self._descriptors:  # the system has let it drop
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._descriptors.pop(0)

    def drop(self) -> None:
        """Close the descriptors that have come and were not taken."""
        while self._descriptors:
            os.close(self._descriptors.pop())
