"""Messages between a worker process and main about what is shared (`relay`).

A message is a head, small and plain, and a body, plain too, in which lists of bytes may be large:
those travel in memory that both ends share, whose descriptor goes along. A descriptor of its own
may go along instead; it is the last of the body then.
"""

import marshal
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any

    from interpool._inside import descriptors, framing
else:
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")
    framing = values.module_inside("framing")

sys.modules["_interpool_wire"] = sys.modules["interpool._inside.wire"]
__name__ = "_interpool_wire"

type Message = tuple[tuple[Any, ...], list[Any]]
"""A head and a body."""

type Key = tuple[str, str, descriptors.Identity]
"""Module and class of what is shared, and which one it is; of bare memory, both are empty."""

type Memory = tuple[int, int, descriptors.Identity]
"""Of memory: the process, the descriptor's number there, and which memory it is."""

# What a process says, behind the number that it begins a connection with (`who`). Main answers all
# but the last two.
CALL, HOLD, MAKE, GIVE, MEMORY, MAKE_MEMORY, GIVE_MEMORY, CLOSE = range(8)
CANCEL, ACKNOWLEDGE, DROP = range(8, 11)
# What main answers.
DONE, FAILED, CANCELLED = range(3)


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
            if sum(sizes) >= framing.SHARED:
                places.append((place, sizes))
                large += value
    has_own = fd != -1
    if large:
        fd = descriptors.share(large)
        body = tuple(None if place in dict(places) else it for place, it in enumerate(body))
    data = marshal.dumps((head, body, places, has_own))
    return framing.framed(data), fd


class Wire(framing.Stream):
    """One end of a connection."""

    def send(self, *head: Any) -> None:
        """Send a small message.

        Raises:
            OSError: if nobody reads.
        """
        framing.send(self.socket, *pack(head))

    def send_packed(self, data: bytes, fd: int) -> None:
        """Send what was packed.

        Raises:
            OSError: if nobody reads.
        """
        framing.send(self.socket, data, fd)

    def receive(self) -> Message | None:
        """Wait for the next message; return its head and its body, None if there will be none.

        Raises:
            OSError: as `next` does.
        """
        while (found := self.next()) is None:
            if not self.fill():
                return None
        return found

    def next(self) -> Message | None:
        """Return the next message, if all of it has come. Its descriptor is the last in its body.

        Raises:
            OSError: if what came beside it cannot be had: no descriptor is free for it, or no
                memory. The message is lost, and the next one can be received.
        """
        frame = self.frame()
        if frame is None:
            return None
        head, body, places, has_own = marshal.loads(frame)
        found = [*body]
        if not places and not has_own:
            return head, found
        fd = self.descriptor()
        if has_own:
            found.append(fd)
            return head, found
        try:
            start = 0
            for place, sizes in places:
                found[place] = descriptors.read(fd, sizes, start)
                start += sum(sizes)
        finally:
            os.close(fd)
        return head, found

    def close(self) -> None:
        """Close it, with what has come and was not received."""
        self.socket.close()
        self.drop()
