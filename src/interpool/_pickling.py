"""Parcels: what pickle knows by itself, and functions, classes and buffers by value.

One `Encoder` serves one parcel. It pickles objects, notes which namespaces the functions in them
use and which classes the instances in them are of, and at last pickles those too: each global by
itself, so that a worker can tell which have changed, and each class in two parts, what it is made
of and what it is filled with. `_inside.values` reads what is made here.
"""

import builtins
import dataclasses
import enum
import io
import itertools
import pickle
import sys
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import ref

from interpool import _classes, _code, _fingerprint, _reducers
from interpool._inside import values
from interpool._pickler import Mentioned, Pickler
from interpool._references import is_importable, is_of_stdlib, is_referable

type Keeps = tuple[object, ...]
"""Classes and modules that went by a token: to live until what may name them has come back."""

type Parcel = tuple[values.Context, list[bytes], Keeps]
"""A context; a pickle: its stream, then its large buffers; and what has to be kept for it."""

type Memo = dict[int, tuple[int, Any]]
"""What a pickler has met, by identity."""

_BUILTINS: Final = frozenset(vars(builtins))
# What `dataclasses` looks for by its name in a class's module, where annotations are text.
_MARKERS: Final = (
    *(typing, typing.ClassVar),
    *(dataclasses, dataclasses.InitVar, dataclasses.KW_ONLY),
)


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
        self.mentioned: set[str] = set()  # all names in the functions' code, attributes included
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
        Pickler(segments, self, obj, take=getattr(pieces, "take", None)).dump(obj)
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
        pickler = Pickler(file, self, obj, **options)
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
            space.values[name] = self.pickle(Mentioned(module, self.mentioned))
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
        self.mentioned |= _code.all_names_of(code)
        if isinstance(token, int):
            for name in _code.global_names_of(code):
                self._note(token, name)
            for name in _code.names_in_text_of(code):
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
                (space, name) for name in _code.global_names_of(code) if name in space.namespace
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


class _Global:
    """Stands for an object that is sent as a global."""

    def __init__(self, token: int, name: str) -> None:
        self._place = token, name

    def __reduce__(self) -> Any:
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
