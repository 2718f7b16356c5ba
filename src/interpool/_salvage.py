"""What failed to load in a pickle that arrived, found by loading all the rest of it.

A pickle says nothing of where it is in the object that it makes, and neither does the error that
stops it. So it is loaded once more, by the pickle module's own unpickler written in Python, with a
`Lost` in the place of whatever cannot be made; then that is looked for in what was made. It runs
what has failed once more, and is only done when it has.
"""

import copyreg
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from interpool import _anatomy, _hints
from interpool._inside import values

# Parts that are looked at before the search is given up: a second or so. The number is arbitrary.
_MOST_PARTS: Final = 500_000

type Found = tuple[str, str, str]
"""Path, type of the culprit if that is known, and what it is in words."""


class Lost:
    """Stands for an object that cannot be made."""

    __slots__ = ("made_by", "parts")

    def __init__(self, made_by: Any, parts: Iterable[Any] = ()) -> None:
        """Args: what was to make it, and of what."""
        self.made_by = made_by
        self.parts = list(parts)

    def __repr__(self) -> str:
        """What a path says where this is a key."""
        return "..."

    def kind(self) -> tuple[str, str]:
        """The qualified name of its class, if that is known, and else what it is in words."""
        if isinstance(self.made_by, str):
            return self.made_by, ""
        first = self.parts[0] if self.parts else None
        for it in (self.made_by, first if self.made_by in _TAKE_THE_CLASS else None):
            if isinstance(it, type):
                return _anatomy.name_of(it), ""
            if isinstance(it, Lost):
                return it.kind()
        if self.made_by is values.class_of:
            return "", "an object of a class of its own"
        if self.made_by is values.import_module:
            return "", f"the module {first!r}"
        module, name = (getattr(self.made_by, it, "") for it in ("__module__", "__qualname__"))
        return "", f"what {module}.{name} makes"


# Makers of objects whose first argument is the class.
_TAKE_THE_CLASS: Final = (
    copyreg.__newobj__,  # type: ignore[attr-defined]
    copyreg.__newobj_ex__,  # type: ignore[attr-defined]
    copyreg._reconstructor,  # type: ignore[attr-defined]
    values.make_by_base,
)


_Base: Any = vars(pickle)["_Unpickler"]


class _Unpickler(_Base):  # type: ignore[misc]  # typeshed does not show what it is made of
    """Loads what can be loaded."""

    dispatch: Final = dict(_Base.dispatch)

    def __init__(self, segments: Sequence[bytes]) -> None:
        stream, *buffers = segments
        super().__init__(io.BytesIO(stream), buffers=buffers)
        self.lost: list[Lost] = []

    def find_class(self, module: str, name: str) -> Any:
        """Find a class or function."""
        return self._made(super().find_class, (module, name), f"{module}.{name}")

    def _made(self, make: Callable[..., Any], args: Iterable[Any], made_by: Any) -> Any:
        try:
            return make(*args)
        except BaseException:  # whatever the object's own code raises, as it has before
            return self._lose(made_by, args)

    def _lose(self, made_by: Any, parts: Iterable[Any]) -> Lost:
        lost = Lost(made_by, parts)
        self.lost.append(lost)
        return lost

    def _reduce(self) -> None:
        args = self.stack.pop()
        make = self.stack.pop()
        self.append(self._made(lambda: make(*args), (), make))
        self._keep_parts(args)

    def _new(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        self.append(self._made(lambda: cls.__new__(cls, *args), (), cls))
        self._keep_parts((cls, *args))

    def _new_with(self) -> None:
        options = self.stack.pop()
        args = self.stack.pop()
        cls = self.stack.pop()
        self.append(self._made(lambda: cls.__new__(cls, *args, **options), (), cls))
        self._keep_parts((cls, *args, *options.values()))

    def _keep_parts(self, parts: Iterable[Any]) -> None:
        if isinstance(lost := self.stack[-1], Lost):
            lost.parts += parts

    def _build(self) -> None:
        state = self.stack[-1]
        it = self.stack[-2]
        if isinstance(it, Lost):
            it.parts.append(self.stack.pop())
            return
        try:
            self.load_build()
        except BaseException:
            self.stack[-1] = self._lose(type(it), (it, state))

    @staticmethod
    def _filling(load: Callable[[Any], None]) -> Callable[[Any], None]:
        """Guard what fills an object that lies on the stack under what it is filled with."""

        def fill(self: _Unpickler) -> None:
            try:
                load(self)
            except BaseException:
                it = self.stack[-1]
                if not isinstance(it, Lost):
                    self.stack[-1] = self._lose(type(it), (it,))

        return fill

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.NEWOBJ[0]] = _new
    dispatch[pickle.NEWOBJ_EX[0]] = _new_with
    dispatch[pickle.BUILD[0]] = _build
    for _opcode in (
        *(pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS),
    ):
        dispatch[_opcode[0]] = _filling(dispatch[_opcode[0]])


def _parts_of(obj: Any) -> Iterator[_anatomy.Part]:
    if isinstance(obj, Lost):
        return iter([("", part) for part in obj.parts])
    try:
        return iter(list(_anatomy.parts_of(obj)))
    except BaseException:  # an object that does not like to be looked at
        return iter(())


def _path_to(root: Any, wanted: Callable[[Any], bool]) -> str | None:
    """Find the first part that is wanted, in depth."""
    if wanted(root):
        return ""
    seen = {id(root)}
    held = [root]  # so that no identity is used again
    path: list[str] = []
    levels = [_parts_of(root)]
    while levels and len(held) < _MOST_PARTS:
        for suffix, part in levels[-1]:
            if type(part) in values.PLAIN_TYPES or id(part) in seen:
                continue
            if wanted(part):
                return "".join([*path, suffix])
            seen.add(id(part))
            held.append(part)
            path.append(suffix)
            levels.append(_parts_of(part))
            break
        else:
            levels.pop()
            if path:
                path.pop()
    return None


type _Places = Callable[[Any], Iterable[tuple[str, Any]]]


def find(context: values.Context, segments: Sequence[bytes], places: _Places) -> Found | None:
    """Find what failed to load; None if all of it loads now.

    Args:
        context: what came along.
        segments: the pieces of the pickle.
        places: takes what the pickle makes, and returns the names of its parts and the parts.
    """
    for pieces, named in (*_pieces_of(context), (segments, places)):
        unpickler = _Unpickler(pieces)
        made = unpickler.load()
        if unpickler.lost:
            return _named(unpickler.lost[0], list(named(made)))
    return None


def culprit_of(
    error: BaseException,
    context: values.Context,
    segments: Sequence[bytes],
    places: _Places | None = None,
) -> _anatomy.Culprit:
    """Say what failed to load, as far as that can be found out.

    Args:
        error: what loading it raised.
        context: what came along.
        segments: the pieces of the pickle.
        places: as `find` takes it; None for what is one object.
    """
    try:
        found = find(context, segments, places or whole)
    except BaseException:  # the objects' own code; and the error itself says enough
        found = None
    path, kind, what = found or ("", "", "")
    return path, kind, what, _anatomy.reason_of(error), _hints.of_error(error)[1]


def _named(lost: Lost, places: Sequence[tuple[str, Any]]) -> Found | None:
    # That one, or at least what it was to be a part of and could not be made without it.
    for wanted in (lambda it: it is lost, lambda it: isinstance(it, Lost)):
        for name, part in places:
            if (path := _path_to(part, wanted)) is not None:
                return name + _anatomy.shortened(path), *lost.kind()
    return None


def _pieces_of(context: values.Context) -> Iterator[tuple[Sequence[bytes], _Places]]:
    """The pickles of a context, which are loaded before the one that they came with."""
    namespaces, classes = context
    for _, skeleton, body in classes:
        name = _name_in(skeleton)
        yield [skeleton], _called(f", class {name!r}")
        yield [body], _attributes_of(f", class {name!r}")
    for _, _, sent, _ in namespaces:
        for key, data in sent.items():
            index, pickled = data if isinstance(data, tuple) else (None, data)
            if pickled != values.ABSENT:
                yield [pickled], _called(f", global {key!r}", index)


def _called(name: str, index: int | None = None) -> _Places:
    return lambda made: [(name, made if index is None else made[index])]


def _attributes_of(name: str) -> _Places:
    return lambda made: [(f"{name}.{key}", value) for key, value in made[0].items()]


def _name_in(skeleton: bytes) -> str:
    return str(_Unpickler([skeleton]).load()[1])


def arguments(made: Any) -> Iterator[tuple[str, Any]]:
    """The places in the arguments of a call."""
    args, kwargs = made
    yield from ((f"argument {place}", value) for place, value in enumerate(args, 1))
    yield from ((f"argument {name}", value) for name, value in kwargs.items())


def arguments_of_each(made: Any) -> Iterator[tuple[str, Any]]:
    """The places in the arguments of a chunk's calls."""
    for args in made:
        yield from arguments((args, {}))


def whole(made: Any) -> Iterator[tuple[str, Any]]:
    """The only place in what is one object."""
    yield "", made


def each(made: Any) -> Iterator[tuple[str, Any]]:
    """The places in the values of a chunk."""
    yield from (("", value) for value in made)
