"""The pickler: how functions, classes and what pickle refuses are reduced, for an encoder.

What it makes is read by `_inside.values`.
"""

import copyreg
import dataclasses
import enum
import pickle
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from interpool import _classes, _code, _reducers
from interpool._inside import values
from interpool._references import (
    is_being_imported,
    is_found,
    is_importable,
    is_referable,
    names_of,
)

if TYPE_CHECKING:
    from interpool._pickling import Encoder

type Reduced = Any
"""What `reducer_override` returns: a tuple of `object.__reduce__`'s kind, or NotImplemented."""

_IMMUTABLE: Final = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: made by C code


class Mentioned:
    """A module that is a global, with the submodules that the functions mention."""

    def __init__(self, module: types.ModuleType, names: set[str]) -> None:
        self.module = module
        self.names = names


def reduce_module(module: types.ModuleType, mentioned: Iterable[str] = ()) -> Reduced:
    """How a module is pickled: by name.

    Raises:
        PicklingError: if a worker cannot import it.
    """
    names = names_of(module, frozenset(mentioned))
    for name in names:
        if not is_importable(name):
            message = f"a worker cannot import the module {name!r}"
            if is_being_imported(name):
                message += ", which is still being imported here and would begin anew"
            raise pickle.PicklingError(message)
    return values.import_module, tuple(names)


class Pickler(pickle.Pickler):
    """Pickles by value what goes by value, for an encoder."""

    def __init__(
        self,
        file: Any,
        encoder: Encoder,
        root: object,
        *,
        cls: type | None = None,
        is_soft: bool = False,
        take: Callable[[pickle.PickleBuffer], bool] | None = None,
    ) -> None:
        super().__init__(file, 5, buffer_callback=take)
        self.gives_buffers = take is not None
        self.encoder = encoder
        self._root = root
        self._class = cls
        self._is_soft = is_soft
        self._filled: set[int] = set()  # cells whose contents are in this pickle

    def reducer_override(self, obj: Any) -> Reduced:
        """Reduce what goes by value; leave the rest to the object itself."""
        reduce = _REDUCERS.get(type(obj))
        if reduce is not None:
            return reduce(self, obj)
        if isinstance(obj, type):
            return self._reduce_class(obj)
        if isinstance(obj, BaseException):
            return values.reduce_exception(obj)
        if isinstance(obj, (property, classmethod, staticmethod)):
            return _reducers.descriptor(obj)
        if isinstance(obj, enum.Enum):
            return _reducers.member(obj)
        return self._reduce_instance(obj)

    # --- classes ---------------------------------------------------------------------------------

    def _reduce_class(self, cls: type) -> Reduced:
        if cls in _NAMELESS or is_referable(cls):
            return NotImplemented
        if cls in _TYPES:
            return values.find, ("types", _TYPES[cls])
        encoder = self.encoder
        if encoder.homeward and (known := values.token_of(cls)) is not None:
            return values.class_of, (known,)
        if self._is_soft and values.token_of(cls) not in encoder.held:
            message = f"{cls.__qualname__!r} would have to be sent by value"
            raise pickle.PicklingError(message)
        _classes.check(cls)
        return values.class_of, (encoder.add_class(cls),)

    # --- functions -------------------------------------------------------------------------------

    def _reduce_function(self, function: types.FunctionType) -> Reduced:
        if function in _OF_CODEC or is_referable(function):
            return NotImplemented
        if self._is_soft:
            raise pickle.PicklingError("functions of annotations are not sent")
        made_of, state = self._parts_of(function)
        return values.make_function, made_of, state, None, None, values.fill_function

    def _reduce_cached(self, cached: Any) -> Reduced:
        """How what `functools.cache` wraps is pickled: with its function, without its cache."""
        if is_referable(cached):
            return NotImplemented
        function = cached.__wrapped__
        attributes = vars(cached).copy()
        for own in ("__wrapped__", "cache_parameters"):
            attributes.pop(own, None)
        if type(function) is not types.FunctionType:
            return values.cached, (function, cached.cache_parameters()), attributes or None
        made_of, state = self._parts_of(function)
        made_of = (*made_of, cached.cache_parameters())
        return values.make_cached, made_of, (state, attributes), None, None, values.fill_cached

    def _parts_of(self, function: types.FunctionType) -> tuple[tuple[Any, ...], Any]:
        code = function.__code__
        token = self.encoder.note(function)
        attributes: dict[str, Any] = {
            name: value
            for name, value, default in (
                ("__defaults__", function.__defaults__, None),
                ("__kwdefaults__", function.__kwdefaults__, None),
                ("__qualname__", function.__qualname__, code.co_qualname),
                ("__module__", function.__module__, function.__globals__.get("__name__")),
                ("__doc__", function.__doc__, _code.docstring_of(code)),
                ("__type_params__", function.__type_params__, ()),
            )
            if value != default
        }
        attributes |= vars(function).copy()
        annotate: Any = function.__annotate__
        if type(annotate) is types.FunctionType:
            attributes["__annotate__"] = _reducers.Annotate(annotate)
        elif function.__annotations__ and all(
            type(note) is str for note in function.__annotations__.values()
        ):
            attributes["__annotations__"] = function.__annotations__
        contents = list(self._contents_of(function))
        # A function made in a worker by `values.build` has its code's name, not the marshalled one.
        made_of = (_code.bytes_of(code), token, function.__name__, function.__closure__)
        return made_of, (attributes, contents)

    def _contents_of(self, function: types.FunctionType) -> Iterator[tuple[int, Any]]:
        """The contents of a function's cells, but for those that this pickle fills elsewhere."""
        for index, cell in enumerate(function.__closure__ or ()):
            if id(cell) in self._filled:
                continue
            try:
                contents = cell.cell_contents
            except ValueError:  # a variable that is not bound yet
                continue
            self._filled.add(id(cell))
            yield index, contents

    def _reduce_annotate(self, wrapped: _reducers.Annotate) -> Reduced:
        """How the function behind annotations is pickled: dragging nothing along."""
        annotate = wrapped.function
        code = annotate.__code__
        token = self.encoder.note_softly(annotate)
        contents = []
        for index, cell in enumerate(annotate.__closure__ or ()):
            name = code.co_freevars[index]
            if name == "__classdict__":
                if self._class is not None:
                    contents.append((index, _reducers.Vars(self._class)))
            elif id(cell) not in self._filled:
                try:
                    value = cell.cell_contents
                except ValueError:
                    continue
                if self._is_light(value):
                    self._filled.add(id(cell))
                    contents.append((index, value))
        made_of = (_code.bytes_of(code), token, annotate.__name__, annotate.__closure__)
        state: tuple[dict[str, Any], Any] = ({}, contents)
        return values.make_annotate, made_of, state, None, None, values.fill_function

    def _is_light(self, value: Any) -> bool:
        if isinstance(value, type):
            return is_referable(value) or values.token_of(value) in self.encoder.held
        return type(value) in values.PLAIN_TYPES or type(value) in _reducers.TYPE_PARAMETERS

    # --- the rest --------------------------------------------------------------------------------

    def _reduce_module(self, module: types.ModuleType) -> Reduced:
        return reduce_module(module, self.encoder.mentioned)

    def _reduce_mentioned(self, mentioned: Mentioned) -> Reduced:
        return reduce_module(mentioned.module, mentioned.names)

    def _reduce_instance(self, obj: Any) -> Reduced:
        if (handle := values.HANDLES.get(type(obj))) is not None:
            return handle(obj, self.encoder.keep(obj))
        cls: Any = type(obj)
        if cls.__flags__ & _IMMUTABLE or cls in copyreg.dispatch_table:
            return NotImplemented
        if hasattr(cls, "__getattr__"):
            return values.reduce_answering(obj)
        if cls.__reduce__ is object.__reduce__ and cls.__reduce_ex__ is object.__reduce_ex__:
            return NotImplemented
        reduced = obj.__reduce_ex__(5)
        return self._reduce_named(obj, reduced) if isinstance(reduced, str) else reduced

    def _reduce_named(self, obj: Any, name: str) -> Reduced:
        """How what calls itself a global is pickled, a `typing.NewType` or a singleton."""
        module = getattr(obj, "__module__", None)
        if module is None or is_found(obj, module, name):
            return name
        place = self._reduce_object(obj)
        if place is NotImplemented:
            return copyreg.__newobj__, (type(obj),), obj.__getstate__()  # type: ignore[attr-defined]
        return place

    def _reduce_object(self, obj: object) -> Reduced:
        """How what is there to be compared by identity is pickled, as an `object()` is."""
        place = values.place_of(obj) if self.encoder.homeward else None
        if place is None and obj is not self._root:
            place = self.encoder.place_of(obj)
        return NotImplemented if place is None else (values.global_of, place)

    def _reduce_field(self, field: dataclasses.Field[Any]) -> Reduced:
        kind = self.encoder.pickle_softly(field.type)
        text = getattr(field.type, "__qualname__", None) or str(field.type)
        return values.make_field, (kind, text, _reducers.field_attributes(field))

    def _reduce_view(self, view: memoryview) -> Reduced:
        if not self.gives_buffers or not view.c_contiguous:
            return _reducers.view(view)
        return _reducers.view(view, pickle.PickleBuffer(view))

    def _reduce_cell(self, _cell: types.CellType) -> Reduced:
        # Empty: the first function that has it brings the contents.
        return values.make_cell, ()


def _alone(reduce: _reducers.Reducer) -> Callable[[Pickler, Any], Reduced]:
    return lambda _, obj: reduce(obj)


# Every pickle of a function or class names some of these.
_OF_CODEC: Final = frozenset(it for it in vars(values).values() if type(it) is types.FunctionType)
# The types of None, ... and NotImplemented have no name in any module; pickle knows them.
_NAMELESS: Final = frozenset({types.NoneType, types.EllipsisType, types.NotImplementedType})
# Those of the interpreter itself, which name `builtins` as their module and are not there.
_TYPES: Final = {
    value: name
    for name, value in vars(types).items()
    if isinstance(value, type) and value not in _NAMELESS and not is_referable(value)
}
_REDUCERS: Final[dict[type, Callable[[Pickler, Any], Reduced]]] = {
    types.FunctionType: Pickler._reduce_function,
    types.ModuleType: Pickler._reduce_module,
    types.CellType: Pickler._reduce_cell,
    Mentioned: Pickler._reduce_mentioned,
    _reducers.Annotate: Pickler._reduce_annotate,
    _reducers.CACHED: Pickler._reduce_cached,
    dataclasses.Field: Pickler._reduce_field,
    object: Pickler._reduce_object,
    **{kind: _alone(reduce) for kind, reduce in _reducers.REDUCERS.items()},
    memoryview: Pickler._reduce_view,
}
