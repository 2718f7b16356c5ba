"""`explain`: what would happen to an object on its way to a worker, and what goes along with it."""

import array
import marshal
import mmap
import types
from collections import deque
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Literal

from interpool import _anatomy, _hints, _pickling
from interpool._inside import channels, outcomes, values
from interpool._references import is_importable, is_referable

type How = Literal["by reference", "by value", "out of band", "refused", "shown above"]
"""How an object would travel. Shown above: it is part of several, and goes once."""

# Parts of one object, and levels below the first, that are told of. Nobody reads more; both
# numbers are arbitrary.
_MOST_PARTS: Final = 50
_MOST_LEVELS: Final = 12
# What an element, an attribute or a default must take to be told of, in bytes: arbitrary. Globals
# and closure variables always are.
_WORTH_TELLING: Final = 1024
# Parts, or groups of them, that are pickled to find out which are large; each takes some 30 us.
# Where that does not do, what is large among the rest is not told of. The number is arbitrary.
_MOST_MEASURED: Final = 1000
# Parts that are pickled together first: mostly, all of them are small.
_GROUP: Final = 64
_FEW: Final = 4

_BUFFERS: Final = (bytes, bytearray, str, array.array, memoryview, mmap.mmap)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to an object, or to a part of one, on its way to a worker.

    Attributes:
        path: where it is, from the object that was explained: `['sinks'][0].handle`, say; empty for
            that object itself.
        name: what it is called there: the last part of the path; of the object itself, its name.
        type_name: the qualified name of its class, with its module.
        how: `"by reference"`: by a name, under which a worker finds it; `"by value"`: as a copy;
            `"out of band"`: as a copy that is not pickled, but travels beside the pickle;
            `"refused"`: not at all; `"shown above"`: it has been explained elsewhere in the tree.
        nbytes: how many bytes travel for it, for everything that it drags along included; None if
            it is refused or shown above.
        reference: `module:name`, if it goes by reference.
        reason: why it is refused; empty if one of its parts is to blame.
        hint: a way out, if it is refused and there is a usual one.
        parts: what goes along with it: globals, closure variables, bases; and of elements and
            attributes those that are large, functions or classes, or to blame. Of very many, not
            all are looked at.
        omitted: how many parts there are beside those.

    .. versionadded:: 0.1
    """

    path: str
    name: str
    type_name: str
    how: How
    nbytes: int | None = None
    reference: str = ""
    reason: str = ""
    hint: str = ""
    parts: tuple[Explanation, ...] = ()
    omitted: int = 0

    @property
    def is_sendable(self) -> bool:
        """Whether it can be sent."""
        return self.how != "refused"

    def culprits(self) -> Iterator[Explanation]:
        """Yield what is to blame, if it cannot be sent."""
        if self.how == "refused" and self.reason:
            yield self
        for part in self.parts:
            yield from part.culprits()

    def as_dict(self) -> dict[str, Any]:
        """Return it in plain data, as JSON takes it; what is empty is left out."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "parts"}
        kept = {name: value for name, value in plain.items() if value not in {"", None, 0}}
        return kept | ({"parts": [it.as_dict() for it in self.parts]} if self.parts else {})

    def headline(self) -> str:
        """Return it in a line, without its parts."""
        words = f"{self.name}: {self.type_name}, {self.how}"
        if self.reference:
            words += f" as {self.reference}"
        if self.nbytes is not None:
            words += f", {self.nbytes:,} bytes"
        if self.reason:
            words += f": {self.reason}"
        return f"{words}. {self.hint}" if self.hint else words

    def __str__(self) -> str:
        """The tree, in lines."""
        return "\n".join(self._lines("", ""))

    def _lines(self, first: str, others: str) -> Iterator[str]:
        yield first + self.headline()
        more = [f"({self.omitted:,} more)"] if self.omitted else []
        below: list[Explanation | str] = [*self.parts, *more]
        for number, part in enumerate(below, 1):
            is_last = number == len(below)
            branch, trunk = ("└── ", "    ") if is_last else ("├── ", "│   ")
            if isinstance(part, str):
                yield others + branch + part
            else:
                yield from part._lines(others + branch, others + trunk)


def explain(obj: object) -> Explanation:
    """Say what would happen to an object if it were sent to a worker now.

    No pool is needed, and nothing is run but what pickling the object runs. It pickles the object,
    what it holds, and what that holds in turn, so it takes some ten times as long as sending it; of
    a dictionary of many small items, of which each is named, some fifty times.

    Args:
        obj: anything: a function, an argument, a result. What can be called is taken for the
            function of a task, which goes in one piece.

    Returns:
        A tree: print it, or see `Explanation`. It agrees with `submit`: what is refused here raises
        `TransferError` there, with the same path; whether a worker can load what arrives, only a
        worker can tell.

    Thread-safety: may be called from any thread.

    .. versionadded:: 0.1
    """
    if callable(obj):
        beside: int | None = None
    else:
        beside = channels.APART if type(obj) in outcomes.APART_TYPES else values.LARGE
    return _Explainer().explain(obj, "", _name_of(obj), 0, beside)


def _name_of(obj: object) -> str:
    try:
        name: object = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object that does not like to be asked
        name = None
    return name if isinstance(name, str) else "object"


class _Explainer:
    """Explains one tree, each object in it once."""

    def __init__(self) -> None:
        # By identity, and held, so that none is used again.
        self._seen: dict[int, Any] = {}
        self._open: set[int] = set()  # those whose parts are being explained
        self._sizes: dict[int, tuple[Any, int]] = {}
        self._measured = 0

    def explain(
        self, obj: Any, path: str, name: str, level: int, beside: int | None
    ) -> Explanation:
        """Explain an object.

        Args:
            obj: the object.
            path: where it is.
            name: what it is called there.
            level: how many levels below the first.
            beside: from which size on it would travel beside the pickle, if it is a buffer; None
                where everything is in one piece, as what functions and classes bring along.
        """
        common: dict[str, Any] = {
            "path": _anatomy.shortened(path),
            "name": name,
            "type_name": _anatomy.type_name(obj),
        }
        if reference := _reference_to(obj):
            return Explanation(
                **common, how="by reference", nbytes=_size_of(obj), reference=reference
            )
        if id(obj) in self._seen:
            return Explanation(**common, how="shown above")
        if type(obj) not in values.PLAIN_TYPES:
            self._seen[id(obj)] = obj
        try:
            nbytes = self._size_of(obj)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._open.add(id(obj))
            try:
                return self._refused(obj, error, common, path, level, beside)
            finally:
                self._open.discard(id(obj))
        if issubclass(type(obj), _BUFFERS):
            is_beside = beside is not None and nbytes >= beside
            return Explanation(
                **common, how="out of band" if is_beside else "by value", nbytes=nbytes
            )
        told, omitted = self._parts(obj, path, level, beside, nbytes=nbytes)
        return Explanation(**common, how="by value", nbytes=nbytes, parts=told, omitted=omitted)

    def _size_of(self, obj: Any) -> int:
        _, nbytes = self._sizes.get(id(obj), (None, None))
        return _size_of(obj) if nbytes is None else nbytes

    def _parts(
        self,
        obj: Any,
        path: str,
        level: int,
        beside: int | None,
        *,
        nbytes: int = _WORTH_TELLING,
        culprit: int = 0,
    ) -> tuple[tuple[Explanation, ...], int]:
        """Explain what is worth telling of, the part with the culprit's identity above all."""
        if _holds_small_data(obj):
            return (), len(obj)
        parts = _parts_of(obj)
        is_deep = level >= _MOST_LEVELS
        worth = [not is_deep and _is_worth_telling(obj, *part) for part in parts]
        if nbytes >= _WORTH_TELLING:
            unknown = [number for number, is_worth in enumerate(worth) if is_worth is None]
            for number in islice(self._large_among(parts, unknown), _MOST_PARTS):
                worth[number] = True
        told: list[Explanation] = []
        omitted = 0
        for (suffix, part), is_worth in zip(parts, worth, strict=True):
            if id(part) == culprit or (is_worth and len(told) < _MOST_PARTS):
                told.append(self._part(obj, suffix, part, path, level, beside))
            elif not suffix.startswith(", key"):
                omitted += 1
        return tuple(told), omitted

    def _part(
        self, owner: Any, suffix: str, part: Any, path: str, level: int, beside: int | None
    ) -> Explanation:
        if suffix.startswith(", global") or isinstance(owner, type):
            beside = None
        elif beside is not None:
            beside = values.LARGE
        return self.explain(part, path + suffix, _name_in(suffix, part), level + 1, beside)

    def _large_among(
        self, parts: Sequence[_anatomy.Part], numbers: Sequence[int], group: int = _GROUP
    ) -> Iterator[int]:
        """Find the large parts among those of these numbers, in their order."""
        for start in range(0, len(numbers), group):
            some = numbers[start : start + group]
            if self._measured >= _MOST_MEASURED:
                return
            if group == 1:
                if self._is_large(parts[some[0]][1]):
                    yield some[0]
            elif len(some) <= _FEW:
                yield from self._large_among(parts, some, 1)
            elif self._is_large([parts[number][1] for number in some], is_group=True):
                yield from self._large_among(parts, some, group // _FEW)

    def _is_large(self, obj: Any, *, is_group: bool = False) -> bool:
        self._measured += 1
        try:
            nbytes = _size_of(obj)
        except KeyboardInterrupt:
            raise
        except BaseException:  # the culprit is told of anyway, and the others are not its
            return is_group
        if not is_group:
            self._sizes[id(obj)] = obj, nbytes
        return nbytes >= _WORTH_TELLING

    def _refused(
        self,
        obj: Any,
        error: BaseException,
        common: dict[str, Any],
        path: str,
        level: int,
        beside: int | None,
    ) -> Explanation:
        found = _anatomy.refused_part(obj, error, self._seen, _anatomy.failure_of)
        if found is None and _anatomy.refused_part(obj, error, self._open, _anatomy.failure_of):
            return Explanation(**common, how="refused")  # for what is shown above
        if found is None:
            what, hint = _hints.hint_for(obj) or _hints.of_error(error)
            reason = _anatomy.reason_of(error)
            if what:
                reason = f"it is {what}: {reason}"
            return Explanation(**common, how="refused", reason=reason, hint=hint)
        told, omitted = self._parts(obj, path, level, beside, culprit=id(found[1]))
        if not any(part.how == "refused" for part in told):
            # Made anew each time it is asked for, so it was not met again.
            told += (self._part(obj, *found, path, level, beside),)
        return Explanation(**common, how="refused", parts=told, omitted=omitted)


def _name_in(suffix: str, part: Any) -> str:
    """Return what a part is called in the object that it is a part of."""
    if issubclass(type(part), type) and suffix.startswith((".__reduce__", ", class ")):
        return f"class {_name_of(part)!r}"
    return suffix.removeprefix(", ") or "its contents"


def _parts_of(obj: Any) -> Sequence[_anatomy.Part]:
    try:
        return list(_anatomy.parts_of(obj))
    except KeyboardInterrupt:
        raise
    except BaseException:  # an object that does not like to be looked at
        return []


def _holds_small_data(obj: Any) -> bool:
    """Whether it is a collection of numbers and short texts, which may be many."""
    if type(obj) not in _COLLECTIONS:
        return False
    kinds = {*map(type, obj)}
    if type(obj) is dict:
        kinds |= {*map(type, obj.values())}
    if not values.PLAIN_TYPES.issuperset(kinds):
        return False
    if kinds.isdisjoint(outcomes.APART_TYPES):
        return True
    held = chain(obj, obj.values()) if type(obj) is dict else obj
    return not any(type(it) in outcomes.APART_TYPES and len(it) >= _WORTH_TELLING for it in held)


_COLLECTIONS: Final = frozenset({dict, list, tuple, set, frozenset, deque})


def _is_worth_telling(owner: Any, suffix: str, part: Any) -> bool | None:
    """Whether a part says more than that its owner has parts; None if it does where it is large."""
    if suffix.startswith((", global", ", closure", ", base")):
        return part is not object
    if issubclass(type(owner), type):
        return False  # a class's methods are what everybody expects
    if issubclass(type(part), (types.FunctionType, type)):
        return not is_referable(part)
    if type(part) in values.PLAIN_TYPES:
        return isinstance(part, Sized) and len(part) >= _WORTH_TELLING
    return None


_NAMED: Final = (type, types.FunctionType, types.BuiltinFunctionType)


def _reference_to(obj: Any) -> str:
    """Return under which name a worker finds an object; empty if it does not."""
    kind = type(obj)  # and not what its `__class__` says, which may be a lie, or raise
    if issubclass(kind, types.ModuleType):
        return obj.__name__ if is_importable(obj.__name__) else ""
    if issubclass(kind, _NAMED) and is_referable(obj):
        return f"{obj.__module__}:{obj.__qualname__}"
    return ""


def _size_of(obj: Any) -> int:
    """Return how many bytes travel for an object.

    Raises:
        Exception: whatever pickling it raises.
    """
    context, segments, _ = _pickling.parcel(obj)
    nbytes = sum(map(len, segments))
    return nbytes + (len(marshal.dumps(context)) if context != values.NO_CONTEXT else 0)
