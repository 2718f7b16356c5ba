"""What a pool shares with its workers, from outside: encoded once, its buffers in kernel memory.

Large buffers lie behind each other in memory of their own, which every worker maps when it first
asks for an object with any; everything else goes with the worker's settings. See `_inside.shared`.
"""

import mmap
import os
import pickle
from collections.abc import Mapping
from typing import Any, Final

from interpool._inside import descriptors, values
from interpool._inside.shared import Form, Given
from interpool._pickling import Encoder, Keeps

# Where buffers begin: what vector units and numpy like.
_ALIGNMENT: Final = 64


class Shared:
    """The objects, ready for workers.

    Attributes:
        objects: the objects themselves, for threads of this interpreter.
        given: what a worker is told of them.
    """

    def __init__(self, objects: Mapping[str, Any]) -> None:
        """Encode objects.

        Raises:
            TransferError: if one cannot be sent.
            OSError: if the system has no memory for them.
            TypeError: if it is no mapping of names.
        """
        self._fd = -1
        self.objects = _checked(objects)
        self._keeps: Keeps = ()
        forms: dict[str, Form] = {}
        buffers: list[memoryview] = []
        size = 0
        for name, obj in self.objects.items():
            context, segments, keeps = _encode(name, obj)
            self._keeps += keeps
            places = []
            for buffer in segments[1:]:
                view = memoryview(buffer)
                places.append((size, size + view.nbytes))
                size += -(-view.nbytes // _ALIGNMENT) * _ALIGNMENT
                buffers.append(view)
            forms[name] = context, bytes(segments[0]), places
        self._fd = descriptors.create_memory(max(size, 1))
        _fill(self._fd, size, buffers)
        memory = os.getpid(), self._fd, descriptors.identity_of(self._fd)
        self.given: Given = memory, size, forms

    def __del__(self) -> None:
        """Close the memory: who has mapped it keeps it."""
        if self._fd != -1:
            os.close(self._fd)


def _checked(objects: Any) -> dict[str, Any]:
    if not isinstance(objects, Mapping):
        message = f"shared is to be a mapping of names to objects, not {type(objects).__name__}"
        raise TypeError(message)
    found = dict(objects)
    for name in found:
        if not isinstance(name, str):
            message = f"shared is to have names, strings, for keys, not {name!r}"
            raise TypeError(message)
    return found


class _Pieces(values.Segments):
    """The file of a pickle whose buffers lie in memory that may only be looked at."""

    # What is bytes has to be bytes again, and no view.
    BUFFERS = values.buffers_as(b"cbuiltins\nbytes\n", b"\x85R")

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Have a buffer go beside the stream, uncopied (PEP 574)."""
        self._buffers.append(buffer.raw())
        return False


def _encode(name: str, obj: Any) -> tuple[values.Context, list[Any], Keeps]:
    encoder = Encoder()
    try:
        segments = encoder.segments(obj, _Pieces())
        return encoder.context(), segments, tuple(encoder.held.values())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        from interpool import _anatomy

        raise _anatomy.refusal(error, obj, f"shared[{name!r}]", "argument") from error


def _fill(fd: int, size: int, buffers: list[memoryview]) -> None:
    if not size:
        return
    start = 0
    with mmap.mmap(fd, size) as memory:
        for view in buffers:
            memory[start : start + view.nbytes] = view.cast("B") if view.nbytes else b""
            start += -(-view.nbytes // _ALIGNMENT) * _ALIGNMENT
