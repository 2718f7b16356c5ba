"""The pickler: what pickle knows by itself, and functions, classes and buffers by value.

One `Encoder` serves one parcel. It pickles objects, notes which namespaces the functions in them
use and which classes the instances in them are of, and at last pickles those too: each global by
itself, so that a worker can tell which have changed, and each class in two parts, what it is made
of and what it is filled with. `_inside.values` reads what is made here.
"""

import __future__

import builtins
import copyreg
import dataclasses
import dis
import enum
import io
import itertools
import marshal
import pickle
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import ref

from interpool import _classes, _fingerprint, _reducers
from interpool._inside import values
from interpool._references import (
    Kept,
    is_being_imported,
    is_found,
    is_importable,
    is_of_stdlib,
    is_referable,
    names_of,
)

type Keeps = tuple[object, ...]
"""Classes and modules that went by a token: to live until what may name them has come back."""

type Parcel = tuple[values.Context, list[bytes], Keeps]
"""A context; a pickle: its stream, then its large buffers; and what has to be kept for it."""

type Memo = dict[int, tuple[int, Any]]
"""What a pickler has met, by identity."""

type Reduced = Any
"""What `reducer_override` returns: a tuple of `object.__reduce__`'s kind, or NotImplemented."""


# --- Code ----------------------------------------------------------------------------------------


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


_GLOBAL_INSTRUCTIONS: Final = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
)


def _global_names(code: types.CodeType) -> Iterator[str]:
    # Not co_names, which holds attributes too: an unrelated global of an attribute's name would go
    # along, or be what refuses the task.
    level: list[Any] = [0, 0]  # of an import: pushed before what is imported from there
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_INSTRUCTIONS:
            yield instruction.argval
        elif instruction.opname == "IMPORT_NAME" and level[0]:
            yield "__package__"  # which a relative import is relative to
        elif instruction.opname == "IMPORT_NAME" and instruction.argval == "__main__":
            yield from code.co_names  # some of which it takes from there
        if instruction.opname != "EXTENDED_ARG":
            level = [level[1], instruction.argval]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and constant.co_name != "__annotate__":
            yield from _global_names(constant)


def _names_in_text(code: types.CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in_text(constant)
        elif isinstance(constant, str):
            yield from re.findall(r"\w+", constant)


_FUTURE_ANNOTATIONS: Final = __future__.annotations.compiler_flag
_NONE: Final[frozenset[str]] = frozenset()


# The global names that a code object uses, those of the code inside it included.
global_names_of: Final = Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_global_names(code))
).of
# The names in the annotations inside a code object, where they are text.
_names_in_text_of: Final = Kept[types.CodeType, frozenset[str]](
    lambda code: frozenset(_names_in_text(code)) if code.co_flags & _FUTURE_ANNOTATIONS else _NONE
).of
_all_names_of: Final = Kept[types.CodeType, frozenset[str]](lambda code: frozenset(_names(code))).of
code_bytes_of: Final = Kept[types.CodeType, bytes](marshal.dumps).of


def _docstring_of(code: types.CodeType) -> Any:
    return code.co_consts[0] if code.co_flags & _HAS_DOCSTRING else None


_IMMUTABLE: Final = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: made by C code
_HAS_DOCSTRING: Final = 0x4000000  # CO_HAS_DOCSTRING
_BUILTINS: Final = frozenset(vars(builtins))
# What `dataclasses` looks for by its name in a class's module, where annotations are text.
_MARKERS: Final = (
    *(typing, typing.ClassVar),
    *(dataclasses, dataclasses.InitVar, dataclasses.KW_ONLY),
)


# --- Encoding ------------------------------------------------------------------------------------


class _Space:
    """The globals of one namespace that were noted."""

    def __init__(self, name: str, namespace: dict[str, Any]) -> None:
        self.name = name
        self.namespace = namespace
        self.values: dict[str, values.Sent] = {}
        self.soft: dict[str, bytes] = {}


class Encoder:
    """Pickles the objects of one parcel and collects their context.

    Args:
        homeward: whether it goes back to the interpreter whose task this is; what was received from
            there goes by its token.
        is_kept: whether what is to be kept is, until the parcel has been loaded.
    """

    def __init__(self, *, homeward: bool = False, is_kept: bool = True) -> None:
        self.homeward = homeward
        self.is_kept = is_kept and not homeward
        self.classes: dict[int, tuple[int, bytes, bytes]] = {}
        # What has a token of this interpreter, held: what comes back names it by that.
        self.held: dict[int, object] = {}
        self._spaces: dict[int, _Space] = {}
        self._tokens: dict[int, int | str] = {}  # by the identity of a globals dict
        self._pending: list[tuple[_Space, str]] = []
        self._pending_soft: list[tuple[_Space, str]] = []
        self._uses: list[_Use] = []  # of the class whose pickles are being made
        self._mentioned: set[str] = set()  # all names in the functions' code, attributes included
        self._received = values.received_globals() if homeward else {}

    def keep(self, handle: Any) -> bool:
        """Have what is shared kept until it is loaded; return whether anybody will."""
        if self.is_kept:
            # What it is a handle of: it may be closed before. Tokens are positive.
            core = handle._core
            self.held[-id(core)] = core
        return self.is_kept

    def segments(self, obj: object, pieces: values.Segments | None = None) -> list[bytes]:
        """Pickle an object: the stream, then the large buffers.

        Args:
            obj: the object.
            pieces: what it is written to; one with a method `take` takes all buffers of objects
                that give them away.
        """
        segments = pieces or values.Segments()
        _Pickler(segments, self, obj, take=getattr(pieces, "take", None)).dump(obj)
        return segments.joined()

    def pickle(self, obj: object, *, cls: type | None = None, is_soft: bool = False) -> bytes:
        """Pickle an object, in one piece.

        Args:
            obj: the object.
            cls: the class whose body it is, if it is one.
            is_soft: refuse what would drag along more by value.
        """
        return self._pickle(obj, cls=cls, is_soft=is_soft)[0]

    def _pickle(self, obj: object, **options: Any) -> tuple[bytes, Memo]:
        file = io.BytesIO()
        pickler = _Pickler(file, self, obj, **options)
        pickler.dump(obj)
        return file.getvalue(), pickler.memo.copy()

    def pickle_softly(self, obj: object) -> bytes:
        """Pickle what nobody may ever need; nothing at all, if that would drag more along."""
        try:
            return self.pickle(obj, is_soft=True)
        except KeyboardInterrupt:
            raise
        except BaseException:  # whatever it is that keeps it from being pickled
            return b""

    def context(self) -> values.Context:
        """Pickle the globals that were noted, and those that they use in turn."""
        modules = []
        units = []
        while self._pending:
            space, name = self._pending.pop()
            value = space.namespace.get(name)
            if type(value) is types.ModuleType:
                modules.append((space, name, value))
            elif type(value) in values.PLAIN_TYPES:
                space.values[name] = pickle.dumps(value, 5)
            else:
                space.values[name], memo = self._pickle(value)
                units.append((space, name, memo))
        for group in _groups(units) if len(units) > 1 else ():
            # What they share, a list or a closure's variable, must be one there too.
            joint = self.pickle(tuple(space.namespace[name] for space, name, _ in group))
            for index, (space, name, _) in enumerate(group):
                space.values[name] = index, joint
        for space, name, module in modules:
            space.values[name] = self.pickle(_Mentioned(module, self._mentioned))
        for space, name in self._pending_soft:
            if name in space.values or name in space.soft:
                continue
            # Without it the name is unknown there, which annotations may be (PEP 649).
            if soft := self.pickle_softly(space.namespace[name]):
                space.soft[name] = soft
        return (
            tuple((token, it.name, it.values, it.soft) for token, it in self._spaces.items()),
            tuple(self.classes.values()),
        )

    # --- asked by the reducers -------------------------------------------------------------------

    def token_of(self, namespace: dict[str, Any]) -> int | str:
        """Return what a function's globals go by; a name for those of an importable module."""
        token = self._tokens.get(id(namespace))
        if token is None:
            token = self._tokens[id(namespace)] = self._new_token(namespace)
        return token

    def _new_token(self, namespace: dict[str, Any]) -> int | str:
        name = str(namespace.get("__name__", "__main__"))
        if (received := self._received.get(id(namespace))) is not None:
            return received
        module = sys.modules.get(name)
        is_module = module is not None and vars(module) is namespace
        if is_module and (is_of_stdlib(name) or (self.homeward and is_importable(name))):
            return name
        token = values.token_for(module) if is_module else -1 - len(self._tokens)
        if is_module:
            self.held[token] = module
        self._spaces[token] = _Space(name, namespace)
        return token

    def place_of(self, obj: object) -> tuple[int, str] | None:
        """Return namespace and name of an object that is compared by identity, if it is a global.

        It is noted, so that function and argument find the same one.
        """
        mains = [vars(sys.modules["__main__"])] if "__main__" in sys.modules else []
        for namespace in (*(space.namespace for space in list(self._spaces.values())), *mains):
            for name, value in list(namespace.items()):
                if value is obj and isinstance(token := self.token_of(namespace), int):
                    self._note(token, name)
                    return token, name
        return None

    def sent_as(self, obj: object) -> tuple[int, str] | None:
        """Return namespace and name of an object that is among the globals sent."""
        for token, space in self._spaces.items():
            for name in space.values:
                if space.namespace.get(name) is obj:
                    return token, name
        return None

    def note(self, function: types.FunctionType) -> int | str:
        """Note the globals that a function uses, to be sent along; return what they go by."""
        code = function.__code__
        token = self.token_of(function.__globals__)
        self._uses.append((ref(function), Encoder.note))
        self._mentioned |= _all_names_of(code)
        if isinstance(token, int):
            for name in global_names_of(code):
                self._note(token, name)
            for name in _names_in_text_of(code):
                if any(function.__globals__.get(name) is marker for marker in _MARKERS):
                    self._note(token, name)
        return token

    def _note(self, token: int, name: str) -> None:
        space = self._spaces.get(token)
        if space is None or name in space.values:
            return
        if name in space.namespace:
            self._pending.append((space, name))
        elif name in _BUILTINS:
            return
        space.values[name] = values.ABSENT

    def note_softly(self, annotate: types.FunctionType) -> int | str:
        """Note what annotations mention, to be sent if that drags nothing along."""
        code = annotate.__code__
        token = self.token_of(annotate.__globals__)
        self._uses.append((ref(annotate), Encoder.note_softly))
        if isinstance(token, int) and (space := self._spaces.get(token)) is not None:
            self._pending_soft += [
                (space, name) for name in global_names_of(code) if name in space.namespace
            ]
        return token

    def add_class(self, cls: type) -> int:
        """Note a class that goes by value, and return its token."""
        token = values.token_for(cls)
        self._uses.append((ref(cls), Encoder.add_class))
        if token not in self.held:
            self.held[token] = cls
            self._note_in_main(cls)
            skeleton, body = self._class_pickles(cls, token)
            # After those that it rests on: they are made and filled in this order.
            self.classes[token] = token, skeleton, body
        return token

    def _note_in_main(self, cls: type) -> None:
        """Note a class of the script as a global, for what a task may pickle by its name."""
        main = None if self.homeward else sys.modules.get("__main__")
        if cls.__module__ == "__main__" and main is not None:
            name = cls.__qualname__
            if vars(main).get(name) is cls and isinstance(token := self.token_of(vars(main)), int):
                self._note(token, name)

    def _class_pickles(self, cls: type, token: int) -> tuple[bytes, bytes]:
        """Pickle skeleton and body of a class, or note what they use, if they are the same."""
        fingerprint = None if self.homeward else _fingerprint.fingerprint_of(cls)
        known = _known_classes.get(token)
        if known is not None and fingerprint and _fingerprint.is_same(known.mark, fingerprint):
            for use, note in known.uses:
                note(self, use())
            return known.pickles
        outer, self._uses = self._uses, []
        skeleton = self.pickle(_classes.skeleton_of(cls))
        makings, self._uses = self._uses, []
        body = self.pickle(_classes.contents_of(cls), cls=cls)
        fillings, self._uses = self._uses, outer
        uses = makings + fillings
        # Globals that go by a token of this parcel are new there each time, and what is the same
        # bytes as before would keep the old ones.
        if self._any_of_no_module(makings):
            skeleton += _mark()
        if self._any_of_no_module(fillings):
            body += _mark()
        elif fingerprint and not self._any_of_no_module(makings):
            gone = ref(cls, lambda _: _known_classes.pop(token, None))
            _known_classes[token] = _KnownClass(gone, fingerprint, (skeleton, body), uses)
        return skeleton, body

    def _any_of_no_module(self, uses: Iterable[_Use]) -> bool:
        """Whether a function is among them whose globals go by a token of this parcel alone."""
        functions = (it for use, _ in uses if isinstance(it := use(), types.FunctionType))
        tokens = (self.token_of(it.__globals__) for it in functions)
        return any(isinstance(token, int) and token < 0 for token in tokens)


type _Use = tuple[ref[Any], Callable[[Encoder, Any], object]]
"""What a class uses, and the method that notes it."""


@dataclass(frozen=True, slots=True)
class _KnownClass:
    """A class as it was sent last."""

    gone: ref[type]
    mark: _fingerprint.Fingerprint
    pickles: tuple[bytes, bytes]
    uses: list[_Use]


_known_classes: Final[dict[int, _KnownClass]] = {}  # by token
_marks: Final = itertools.count()


def _mark() -> bytes:
    """What follows the end of a pickle is not read, and makes it another one."""
    return next(_marks).to_bytes(8)


def _groups(units: Sequence[tuple[_Space, str, Memo]]) -> Iterable[list[Any]]:
    """Find the globals that share what may change, by what their picklers have met."""
    seen: set[int] = set()
    met_again: set[int] = set()
    for _, _, memo in units:
        met_again |= seen & memo.keys()
        seen |= memo.keys()
    group_of: dict[int, list[Any]] = {}
    for unit in units:
        memo = unit[2]
        group = [unit]
        for identity in met_again & memo.keys():
            if not _is_one_anyway(memo[identity][1]):
                other = group_of.setdefault(identity, group)
                if other is not group:
                    other += group
                    for it, kept in group_of.items():
                        if kept is group:
                            group_of[it] = other
                    group = other
    return {id(group): group for group in group_of.values() if len(group) > 1}.values()


def _is_one_anyway(obj: Any) -> bool:
    """Whether it makes no difference if an object is sent in two pickles."""
    if isinstance(obj, types.FunctionType):
        return is_referable(obj)
    return isinstance(obj, _ONE_ANYWAY)


# Immutable (what a tuple holds is met by itself), or found again by name or token.
_ONE_ANYWAY: Final = (
    *(str, bytes, tuple, frozenset, type, enum.Enum),
    *(types.BuiltinFunctionType, types.ModuleType, types.CodeType),
)


class _Mentioned:
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


class _Pickler(pickle.Pickler):
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
                ("__doc__", function.__doc__, _docstring_of(code)),
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
        made_of = (code_bytes_of(code), token, function.__name__, function.__closure__)
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
        made_of = (code_bytes_of(code), token, annotate.__name__, annotate.__closure__)
        state: tuple[dict[str, Any], Any] = ({}, contents)
        return values.make_annotate, made_of, state, None, None, values.fill_function

    def _is_light(self, value: Any) -> bool:
        if isinstance(value, type):
            return is_referable(value) or values.token_of(value) in self.encoder.held
        return type(value) in values.PLAIN_TYPES or type(value) in _reducers.TYPE_PARAMETERS

    # --- the rest --------------------------------------------------------------------------------

    def _reduce_module(self, module: types.ModuleType) -> Reduced:
        return reduce_module(module, self.encoder._mentioned)

    def _reduce_mentioned(self, mentioned: _Mentioned) -> Reduced:
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


def _alone(reduce: _reducers.Reducer) -> Callable[[_Pickler, Any], Reduced]:
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
_REDUCERS: Final[dict[type, Callable[[_Pickler, Any], Reduced]]] = {
    types.FunctionType: _Pickler._reduce_function,
    types.ModuleType: _Pickler._reduce_module,
    types.CellType: _Pickler._reduce_cell,
    _Mentioned: _Pickler._reduce_mentioned,
    _reducers.Annotate: _Pickler._reduce_annotate,
    _reducers.CACHED: _Pickler._reduce_cached,
    dataclasses.Field: _Pickler._reduce_field,
    object: _Pickler._reduce_object,
    **{kind: _alone(reduce) for kind, reduce in _reducers.REDUCERS.items()},
    memoryview: _Pickler._reduce_view,
}


class _Global:
    """Stands for an object that is sent as a global."""

    def __init__(self, token: int, name: str) -> None:
        self._place = token, name

    def __reduce__(self) -> Reduced:
        return values.global_of, self._place


def parcel(obj: object, *, homeward: bool = False, is_kept: bool = True) -> Parcel:
    """Pickle an object with its context.

    Args:
        obj: the object.
        homeward: see `Encoder`.
        is_kept: see `Encoder`.

    Raises:
        Exception: whatever pickling it raises.
    """
    encoder = Encoder(homeward=homeward, is_kept=is_kept)
    segments = encoder.segments(obj)
    context = encoder.context()
    if type(obj) in _FUNCTIONS and (place := encoder.sent_as(obj)) is not None:
        segments = [pickle.dumps(_Global(*place), 5)]  # it calls itself, and must be itself
    return context, segments, tuple(encoder.held.values())


_FUNCTIONS: Final = frozenset({types.FunctionType, _reducers.CACHED})
