"""Arrays in shared memory: numbers of one type, in any number of dimensions."""

import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from typing import Any, Self

    from interpool._inside import buffers, formats, strides, values
else:
    import _interpool_values as values

    buffers = values.module_inside("buffers")
    formats = values.module_inside("formats")
    strides = values.module_inside("strides")

sys.modules["_interpool_arrays"] = sys.modules["interpool._inside.arrays"]
__name__ = "_interpool_arrays"


class SharedArray(buffers.Handle):
    """Numbers that all workers of a pool see, in interpreters and in processes, and their owner.

    Handed to a task as an argument, or as a global that it uses, and everything else that goes to a
    task or comes back, or through a Queue, it is the same memory everywhere: nothing is copied, so
    it takes the same time whatever its size.

    Indices and slices are as in numpy: `a[i, j]` is a number, `a[i]`, `a[1:, ::2]` and `a[..., 0]`
    are views of the same memory, which can be sent as well. What is written to a view is copied at
    once from a buffer or another array of the same type and shape; or it is a number, for each
    element, or lists of numbers.

    `memoryview(a)` sees the memory without this class in between, in every interpreter, and so does
    `a.numpy()`, where numpy loads: use them where many elements are computed one by one.

    Two arrays are equal if they are the same object. There is no lock. Who writes what another one
    reads tells it so, by a result or a Queue.

    The memory is the kernel's. It is freed when the last interpreter and process have let go of it,
    by `close`, by a `with`, or as any object that nobody has any more. A pool's worker lets go of
    an argument when its task is done, and of a global when another one takes its place.
    """

    __slots__ = ()

    def __init__(self, shape: int | tuple[int, ...], dtype: "Any" = "d") -> None:
        """Make one, filled with zeros.

        Args:
            shape: how many elements, in each dimension.
            dtype: their type: a name, as `"float64"`, `"int32"`, `"uint8"` or `"bool"`; a format of
                the struct module's, as `"d"`; `float`, `int` (64 bits) or `bool`; a type or dtype
                of numpy's.

        Raises:
            MemoryError: if there is no room for so many. Memory is taken when it is written to or
                read for the first time.
            OSError: if there are no more descriptors.
            TypeError: if the shape is none, or there are no elements of that type.
            ValueError: if a dimension is negative, or the type of another byte order.
        """
        code = formats.code_of(dtype)
        self._begin(code, strides.shape_of(shape))

    @classmethod
    def from_array(cls, source: "Any", dtype: "Any" = None) -> "Self":
        """Make one of what is in an array of another kind, which is copied once.

        Args:
            source: an array of numpy's, an `array.array`, a memoryview or any other buffer; an
                array like this one; or numbers in lists of lists.
            dtype: the type of the elements; None: that of the source, or, for lists, the first of
                bool, int64 and float64 that holds all of them. If it is another one than a buffer's
                own, its elements are converted one by one.

        Raises:
            MemoryError: if there is no room for so many.
            OSError: if there are no more descriptors.
            TypeError: if it is no array, or of what cannot be in one.
            ValueError: if the lists are not all of one length, or a number does not fit.
        """
        own = None if dtype is None else formats.code_of(dtype)
        if isinstance(source, buffers.Handle):
            return cls._filled(source, source._shape, source.format, own)
        try:
            view = memoryview(source)
        except TypeError:
            pass
        else:
            with view:
                found = formats.code_of_format(view.format)
                if found is None:
                    message = (
                        f"elements of the format {view.format!r} cannot be in an array: they are "
                        "numbers of this machine's byte order"
                    )
                    raise TypeError(message)
                return cls._filled(view, view.shape, found, own)
        if not strides.is_sequence(source):
            message = f"an array is made of a buffer or of lists, not of {type(source).__name__}"
            raise TypeError(message)
        shape = strides.shape_of_nested(source)
        items = strides.flatten(source, shape)
        made = cls(shape, own or formats.code_for(items))
        made[...] = source
        return made

    @classmethod
    def _filled(cls, source: Any, shape: Any, found: str, own: str | None) -> Self:
        made = cls(tuple(shape), own or found)
        is_same = formats.kind_of(made.format) == formats.kind_of(found)
        made[...] = source if is_same else source.tolist()
        return made

    # --- what it is ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """How many elements there are in each dimension."""
        return self._shape

    @property
    def dtype(self) -> str:
        """The name of the elements' type, as `"float64"`."""
        return formats.name_of(self.format)

    @property
    def ndim(self) -> int:
        """How many dimensions there are."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """How many elements there are."""
        return strides.size_of(self._shape)

    @property
    def itemsize(self) -> int:
        """Bytes that an element takes."""
        return formats.size_of(self.format)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from an element to the next one, in each dimension."""
        return tuple(step * self.itemsize for step in self._strides)

    def _measure(self) -> str:
        return f"{self.dtype}, shape {self._shape}"

    # --- elements --------------------------------------------------------------------------------

    def __getitem__(self, key: "Any") -> "Any":
        """As `Handle` has it; here for speed."""
        place = self._element_at(key)
        return super().__getitem__(key) if place is None else self._flat[place]

    def __setitem__(self, key: "Any", value: "Any") -> None:
        """As `Handle` has it; here for speed."""
        place = self._element_at(key)
        if place is None or self._flat.readonly:
            super().__setitem__(key, value)
        else:
            self._flat[place] = value

    def _element_at(self, key: Any) -> int | None:
        """Where the element of some integers is; None if it is not as simple as that."""
        shape = self._shape
        if type(key) is int and len(shape) == 1 and -shape[0] <= key < shape[0]:
            if self._lease.memory is None:
                return None
            return self._offset + (key if key >= 0 else key + shape[0]) * self._strides[0]
        if type(key) is not tuple or len(key) != len(shape) or self._lease.memory is None:
            return None
        place = self._offset
        for index, length, step in zip(key, shape, self._strides, strict=True):
            if type(index) is not int or not -length <= index < length:
                return None
            place += (index if index >= 0 else index + length) * step
        return place

    def copy(self) -> "Self":
        """Return a new array of the same elements, in memory of its own."""
        return self.from_array(self)

    # --- numpy -----------------------------------------------------------------------------------

    def numpy(self) -> "Any":
        """Return a `numpy.ndarray` on this memory: what is written to one is in the other.

        It keeps the memory, and this one from being closed, for as long as it lives.

        Raises:
            ImportError: if numpy does not load here: it is not installed, or this is a worker's
                interpreter, in which it refuses to. The task is run again in a process then, by
                itself, if the pool has `fallback="process"`.
            ValueError: if it is closed.
        """
        self._check_open()
        try:
            import numpy as np
        except ImportError as error:
            raise _no_numpy(error) from error
        if not self.size:
            return np.empty(self._shape, self.format)
        try:
            return np.asarray(memoryview(self))
        except BufferError:  # elements that no memoryview can be made of
            flat = self._flat
            whole = self._view((0, (len(flat),), (1,)), is_readonly=flat.readonly)
            base = np.asarray(memoryview(whole))
            offset = self._offset * self.itemsize
            # Not of the memoryview: of a buffer, unlike of an array, numpy keeps no hold.
            return np.ndarray(self._shape, base.dtype, base, offset, self.strides)

    def __array__(self, dtype: "Any" = None, copy: bool | None = None) -> "Any":
        """What `numpy.asarray` asks for where no memoryview can be made."""
        found = self.numpy()
        if dtype is not None and found.dtype != dtype:
            if copy is False:
                message = f"elements of {found.dtype} become {dtype} in a copy only"
                raise ValueError(message)
            return found.astype(dtype)
        return found.copy() if copy else found


def _no_numpy(error: ImportError) -> ImportError:
    if "subinterpreter" in str(error):
        message = (
            "numpy refuses to load in an interpreter. Run the task in a process, by "
            'pool.options(lane="process").submit(...), or use memoryview(array) here'
        )
    else:
        message = f"numpy does not load here: {error}. memoryview(array) needs none"
    return ImportError(message, name="numpy")


SharedArray.__module__ = "interpool"
buffers.register(SharedArray, "arrays")
