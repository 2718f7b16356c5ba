"""Handles on elements in shared memory, and the plainest of them: bytes.

A handle is a lease of memory and where its elements lie there (`strides`). A view of it has the
same lease: it is closed with it. One that another interpreter has sent has a lease of its own.
"""

import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from interpool._inside import descriptors, formats, handles, memory, strides, values
else:
    import _interpool_values as values

    descriptors = values.module_inside("descriptors")
    formats = values.module_inside("formats")
    handles = values.module_inside("handles")
    memory = values.module_inside("memory")
    strides = values.module_inside("strides")

sys.modules["_interpool_buffers"] = sys.modules["interpool._inside.buffers"]
__name__ = "_interpool_buffers"

# Bytes of the pieces in which one value is written again and again: what stays in a core's cache.
_PIECE = 1 << 18


class Handle:
    """Elements in shared memory, at some offset, in some shape and with some strides.

    Attributes:
        format: of the elements, as `memoryview.format`.
    """

    __slots__ = ("__weakref__", "_flat", "_lease", "_offset", "_shape", "_strides", "format")

    format: str
    _flat: memoryview
    _lease: memory.Lease
    _offset: int
    _shape: strides.Shape
    _strides: strides.Shape

    def _begin(self, code: str, shape: strides.Shape) -> None:
        size = strides.size_of(shape)
        made = memory.Memory.create(size * formats.size_of(code))
        lease = memory.Lease(made, code)
        self._adopt(lease, (0, shape, strides.strides_of(shape)), is_readonly=False)

    def _adopt(self, lease: memory.Lease, place: strides.Place, *, is_readonly: bool) -> None:
        self._lease = lease
        self._flat = lease.readonly if is_readonly else lease.flat
        self.format = self._flat.format
        self._offset, self._shape, self._strides = place

    def _view(self, place: strides.Place, *, is_readonly: bool) -> Self:
        made = type(self).__new__(type(self))
        made._adopt(self._lease, place, is_readonly=is_readonly)
        return made

    # --- what it is ------------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return strides.size_of(self._shape) * formats.size_of(self.format)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._lease.memory is None

    @property
    def readonly(self) -> bool:
        """Whether nothing can be written by way of this one."""
        self._check_open()
        return self._flat.readonly

    def __len__(self) -> int:
        """Elements of the first dimension."""
        if not self._shape:
            message = f"this {type(self).__name__} has no dimension, and so no length"
            raise TypeError(message)
        return self._shape[0]

    def __repr__(self) -> str:
        """Say what it is, and not what is in it."""
        remark = ", closed" if self.closed else ", read-only" if self.readonly else ""
        return f"<interpool.{type(self).__name__} of {self._measure()}{remark}>"

    def _measure(self) -> str:
        return f"{self.nbytes} bytes"

    def _place(self) -> strides.Place:
        return self._offset, self._shape, self._strides

    def _check_open(self) -> memory.Memory:
        if (found := self._lease.memory) is None:
            message = f"this {type(self).__name__} is closed"
            raise ValueError(message)
        return found

    # --- reading ---------------------------------------------------------------------------------

    def __getitem__(self, key: "Any") -> "Any":
        """Return an element; a view of the same memory for slices, and for fewer indices.

        Raises:
            IndexError: if there is no such element.
            TypeError: if that is no index.
            ValueError: if it is closed.
        """
        self._check_open()
        place, is_item = strides.resolve(key, self._place())
        if is_item:
            return self._flat[place[0]]
        return self._view(place, is_readonly=self._flat.readonly)

    def __iter__(self) -> "Iterator[Any]":
        """Give what is at 0, at 1, and so on."""
        return (self[number] for number in range(len(self)))

    def tolist(self) -> "Any":
        """Return the elements, as lists of lists."""
        self._check_open()
        return strides.nested(self._flat, self._place())

    def tobytes(self) -> bytes:
        """Return the bytes of the elements, in the order of their indices."""
        self._check_open()
        spans = strides.spans(self._place())
        return b"".join([strides.cut(self._flat, *span).tobytes() for span in spans])

    def toreadonly(self) -> "Self":
        """Return a view that cannot be written to: not here, nor where it is sent."""
        self._check_open()
        return self._view(self._place(), is_readonly=True)

    # --- writing ---------------------------------------------------------------------------------

    def __setitem__(self, key: "Any", value: "Any") -> None:
        """Write one element or several.

        Args:
            key: an index, slices, or both.
            value: a number, which is written into each; a buffer of the same type and shape, which
                is copied; or lists of lists of numbers in that shape.

        Raises:
            IndexError: if there is no such element.
            TypeError: if that is no index, the value is none, or this one is read-only.
            ValueError: if it is closed, or the value is of another type or shape, or a number does
                not fit. Nothing is written then.
        """
        self._check_open()
        place, is_item = strides.resolve(key, self._place())
        if self._flat.readonly:
            message = f"this {type(self).__name__} is read-only"
            raise TypeError(message)
        if is_item:
            self._flat[place[0]] = value
        elif not hasattr(type(value), "__len__"):
            self._write_each(place, value)
        else:
            self._write(place, value)

    def fill(self, value: "Any") -> None:
        """Write a number into each element."""
        self[...] = value

    def _write_each(self, place: strides.Place, value: Any) -> None:
        flat = self._flat
        most = _PIECE // flat.itemsize
        piece = formats.packed([value], self.format) * min(strides.size_of(place[1]), most)
        many = formats.cast(piece, self.format)
        for start, count, step in strides.spans(place):
            for done in range(0, count, most):
                length = min(count - done, most)
                strides.cut(flat, start + done * step, length, step)[:] = many[:length]

    def _write(self, place: strides.Place, value: Any) -> None:
        spans = list(strides.spans(place))
        # Uncopied if that goes in one piece, which is right if they overlap, too.
        source = self._source(value, place[1], is_copied=len(spans) > 1)
        done = 0
        for start, count, step in spans:
            strides.cut(self._flat, start, count, step)[:] = source[done : done + count]
            done += count

    def _source(self, value: Any, shape: strides.Shape, *, is_copied: bool) -> memoryview:
        """The elements of a value that is to be of some shape, one behind the other."""
        if isinstance(value, Handle):
            self._check_alike(value.format, value._shape, shape)
            if is_copied or not value._is_contiguous() or self._overlaps_unseen(value):
                data: Any = value.tobytes()
            else:
                size = strides.size_of(value._shape)
                data = strides.cut(value._flat, value._offset, size, 1)
        else:
            try:
                view = memoryview(value)
            except TypeError:
                return formats.cast(
                    formats.packed(strides.flatten(value, shape), self.format), self.format
                )
            self._check_alike(view.format, tuple(view.shape or ()), shape)
            data = view.tobytes() if is_copied or not view.c_contiguous else view
        return formats.cast(data, self.format) if strides.size_of(shape) else self._flat[:0]

    def _overlaps_unseen(self, other: Handle) -> bool:
        """Whether it may be the same memory at another address, to be read only."""
        mine, its = self._check_open(), other._check_open()
        return mine is not its and mine.identity == its.identity

    def _check_alike(self, form: str, found: tuple[int, ...], shape: strides.Shape) -> None:
        """Check what is to be copied: elements of the same type, in the same shape."""
        if formats.kind_of(form) != formats.kind_of(self.format):
            message = (
                f"elements of the format {form!r} are not copied into those of {self.format!r}. "
                "They are converted where they come in a list"
            )
            raise ValueError(message)
        if found != shape:
            message = f"what is of the shape {found} does not fit into {shape}"
            raise ValueError(message)

    # --- as a buffer -----------------------------------------------------------------------------

    def _is_contiguous(self) -> bool:
        return strides.is_contiguous(self._shape, self._strides)

    def __buffer__(self, flags: int) -> memoryview:
        """What `memoryview` and others that take buffers see: the memory itself.

        Raises:
            BufferError: if the elements lie so that no memoryview can be made of them.
            ValueError: if it is closed.
        """
        self._check_open()
        found = self._seen()
        self._lease.note(found)
        return found

    def __release_buffer__(self, view: memoryview) -> None:
        """Note that a buffer is not in use any more."""
        self._lease.forget(view)
        view.release()

    def _seen(self) -> memoryview:
        flat, (offset, shape, steps) = self._flat, self._place()
        if len(shape) == 1:
            return strides.cut(flat, offset, shape[0], steps[0])
        name = type(self).__name__
        if not strides.size_of(shape):
            message = f"no memoryview has dimensions and no elements, as this {name} has"
            raise BufferError(message)
        if self._is_contiguous():
            return formats.cast(
                strides.cut(flat, offset, strides.size_of(shape), 1), self.format, shape
            )
        # Whole rows, some of which may be left out, are a slice of what is contiguous.
        row = strides.size_of(shape[1:])
        if strides.is_contiguous(shape[1:], steps[1:]) and steps[0] % row == 0:
            step = steps[0] // row
            count = abs(step) * (shape[0] - 1) + 1
            first = offset if step > 0 else offset + (shape[0] - 1) * steps[0]
            whole = strides.cut(flat, first, count * row, 1)
            return formats.cast(whole, self.format, (count, *shape[1:]))[::step]
        message = (
            f"a memoryview of many dimensions has whole rows, and this {name} has parts of them. "
            "Take it row by row, or its copy(), or, where numpy loads, numpy()"
        )
        raise BufferError(message)

    # --- ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the memory, here: of this one, what it is a view of, and its other views.

        What other interpreters have is theirs, and so is what came here by another way. What is on
        its way arrives. May be called again.

        Raises:
            BufferError: if a memoryview, an array of numpy's or another buffer is in use that was
                made of it here.
        """
        if not self.closed:
            self._lease.close(type(self).__name__)

    def __enter__(self) -> "Self":
        """Return itself."""
        self._check_open()
        return self

    def __exit__(self, *raised: object) -> None:
        """Close it; not if an exception is under way whose traceback may be what uses it."""
        if raised[0] is None or not self._lease.looked_at:
            self.close()

    # --- on the way ------------------------------------------------------------------------------

    @property
    def _core(self) -> memory.Memory:
        """What has to be kept until a handle has arrived: it may be closed before."""
        return self._check_open()

    def _state(self, *, is_kept: bool) -> Any:
        is_readonly = self._flat.readonly
        try:
            state = self._check_open().state(is_kept=is_kept, is_readonly=is_readonly)
        except descriptors.Gone:
            raise handles.gone(type(self).__name__) from None
        return state, self.format, self._place(), is_readonly

    @classmethod
    def _of_state(cls, arrived: Any) -> Self:
        state, code, place, is_readonly = arrived
        try:
            found = memory.Memory.of_state(state)
        except descriptors.Gone:
            raise handles.gone(cls.__name__) from None
        made = cls.__new__(cls)
        made._adopt(memory.Lease(found, code), place, is_readonly=is_readonly)
        return made

    def __reduce__(self) -> Any:
        """Refuse: where nobody knows the process, its descriptors mean nothing."""
        raise handles.unpicklable(self)


def register(kind: type, module: str) -> None:
    """Have handles of a class sent by the codec."""

    def reduce(handle: Any, is_kept: bool) -> Any:
        return values.make_handle, (module, kind.__name__, handle._state(is_kept=is_kept))

    values.HANDLES[kind] = reduce


# --- What users see ------------------------------------------------------------------------------


class SharedBuffer(Handle):
    """Bytes that all workers of a pool see, in interpreters and in processes, and their owner.

    Handed to a task as an argument, or as a global that it uses, and everything else that goes to a
    task or comes back, or through a Queue, it is the same memory everywhere: nothing is copied, so
    it takes the same time whatever its size. `memoryview` and all that takes buffers see the bytes.

    A slice is a view, which is a SharedBuffer and can be sent as well; `bytes` copies.

    There is no lock. Who writes what another one reads tells it so, by a result or a Queue.

    The memory is the kernel's. It is freed when the last interpreter and process have let go of it,
    by `close`, by a `with`, or as any object that nobody has any more. A pool's worker lets go of
    an argument when its task is done, and of a global when another one takes its place.
    """

    __slots__ = ()

    def __init__(self, nbytes: int) -> None:
        """Make one, filled with zeros.

        Args:
            nbytes: how many bytes. Memory is taken when it is first written to or read.

        Raises:
            MemoryError: if there is no room for so many.
            OSError: if there are no more descriptors.
            TypeError: if that is no integer.
            ValueError: if it is negative.
        """
        if not hasattr(type(nbytes), "__index__"):
            message = f"nbytes is to be an integer, not {type(nbytes).__name__}"
            raise TypeError(message)
        if nbytes < 0:
            message = f"nbytes cannot be negative, as {nbytes} is"
            raise ValueError(message)
        self._begin("B", (nbytes.__index__(),))

    def _source(self, value: Any, shape: strides.Shape, *, is_copied: bool) -> memoryview:
        """As `Handle` has it; and the bytes of whatever has some."""
        if isinstance(value, Handle):
            if value.format != "B":
                value = value.tobytes()
        else:
            try:
                view = memoryview(value)
            except TypeError:
                pass
            else:
                plain = view.c_contiguous and view.nbytes
                value = view.cast("B") if plain else view.tobytes()
        return super()._source(value, shape, is_copied=is_copied)


SharedBuffer.__module__ = "interpool"
register(SharedBuffer, "buffers")
