"""Objects that raise, lie or recurse wherever Python asks them something; each by its name.

Workers import this module; the tests run its source a second time where workers cannot.
"""

from collections.abc import Callable
from typing import Any


class Raises:
    def __reduce__(self) -> Any:
        raise ValueError("will not be pickled")

    def __call__(self) -> None: ...


class Exits:
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class Interrupts:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise KeyboardInterrupt


class Recurses:
    def __reduce__(self) -> Any:
        return Recurses, (Recurses(),)


class ReducesToItself:
    def __reduce__(self) -> Any:
        return ReducesToItself, (self,)


class ReducesTo:
    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None: ...


class StateRaises:
    def __getstate__(self) -> Any:
        raise ValueError("no state")


class LoadRaises:
    def __setstate__(self, state: Any) -> None:
        raise ValueError("no state")

    def __getstate__(self) -> Any:
        return 1

    def __call__(self) -> None: ...


class LoadExits:
    def __setstate__(self, state: Any) -> None:
        raise SystemExit(3)

    def __getstate__(self) -> Any:
        return 1


class AnswersAll:
    """It says yes to everything that Python asks."""

    def __init__(self) -> None:
        self.kept = 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: None

    def __call__(self) -> Any:
        return self.kept


class AnswersItself:
    def __getattr__(self, name: str) -> Any:
        return self


class AsksItself:
    """Its `__getattr__` asks for what is not there before it is loaded."""

    def __init__(self) -> None:
        self.target = []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)


class AnswersNothing:
    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(name)


class AnswersWithErrors:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __call__(self) -> None: ...


class LiesAboutItsClass:
    @property
    def __class__(self) -> Any:
        return dict

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class HidesItsClass:
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class LiesAboutItsName:
    __module__ = "builtins"
    __qualname__ = "len"
    __name__ = "len"

    def __call__(self) -> str:
        return "liar"


class ComparesBadly:
    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparing")

    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __bool__(self) -> bool:
        raise ValueError("no truth")

    def __len__(self) -> int:
        raise ValueError("no length")

    def __repr__(self) -> str:
        raise ValueError("no text")


class RefusesAttributes:
    def __init__(self) -> None:
        object.__setattr__(self, "kept", 1)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError("no attributes")


class IsBackwards:
    """Its length and its items do not agree, and iterating it never ends."""

    def __len__(self) -> int:
        return -1  # noqa: PLE0303 - a lie

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> int:
        return 1


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        return cls


class OfMeta(metaclass=Meta): ...


class TextOfItsOwn(str):
    __slots__ = ()

    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 - a lie

    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __len__(self) -> int:
        return -5  # noqa: PLE0303 - a lie


def _knot() -> Any:
    made: list[Any] = []
    made.append(made)
    return {"list": made, "tuple": (made, made)}


OBJECTS: dict[str, Callable[[], Any]] = {
    "raises when pickled": Raises,
    "exits when pickled": Exits,
    "interrupts when pickled": Interrupts,
    "recurses when pickled": Recurses,
    "reduces to itself": ReducesToItself,
    "reduces to a number": lambda: ReducesTo(5),
    "reduces to nothing": lambda: ReducesTo(()),
    "reduces to None": lambda: ReducesTo(None),
    "reduces to a name that is not there": lambda: ReducesTo("no.such.name"),
    "reduces to another's name": lambda: ReducesTo("Raises"),
    "reduces to what is not callable": lambda: ReducesTo((5, ())),
    "reduces to wrong arguments": lambda: ReducesTo((int, ("x", "y", "z"))),
    "reduces to too much": lambda: ReducesTo((list, (), None, None, None, None, None)),
    "reduces to wrong items": lambda: ReducesTo((list, (), None, 5)),
    "reduces to an exit": lambda: ReducesTo((exit_now, ())),
    "has no state": StateRaises,
    "raises when loaded": LoadRaises,
    "exits when loaded": LoadExits,
    "answers all": AnswersAll,
    "answers itself": AnswersItself,
    "asks itself": AsksItself,
    "answers nothing": AnswersNothing,
    "answers with errors": AnswersWithErrors,
    "lies about its class": LiesAboutItsClass,
    "hides its class": HidesItsClass,
    "lies about its name": LiesAboutItsName,
    "compares badly": ComparesBadly,
    "refuses attributes": RefusesAttributes,
    "is backwards": IsBackwards,
    "has a class that answers all": OfMeta,
    "is a class that answers all": lambda: OfMeta,
    "is text of its own": lambda: TextOfItsOwn("text"),
    "is enormous": lambda: 1 << 3_000_000,
    "holds itself": _knot,
    "is a method of what is not there": lambda: [].append,
    "is code": lambda: exit_now.__code__,
}


def exit_now() -> None:
    raise SystemExit(3)


def make(name: str) -> Any:
    return OBJECTS[name]()


class ErrorRaises(Exception):  # noqa: N818 - they are named by what they do
    def __reduce__(self) -> Any:
        raise ValueError("will not be pickled")


class ErrorExits(Exception):  # noqa: N818
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class ErrorLies(Exception):  # noqa: N818
    def __reduce__(self) -> Any:
        return dict, ()


class ErrorRecurses(Exception):  # noqa: N818
    def __reduce__(self) -> Any:
        return ErrorRecurses, (self,)


class ErrorExitsWhenMade(Exception):  # noqa: N818
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if args == ("again",):
            raise SystemExit(3)

    def __reduce__(self) -> Any:
        return type(self), ("again",)


class ErrorWithoutText(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class ErrorOfOtherText(Exception):  # noqa: N818
    def __str__(self) -> str:
        return TextOfItsOwn("its text")


class ErrorOfNoModule(Exception):  # noqa: N818
    __module__ = None  # type: ignore[assignment]


class ErrorThatAnswersNothing(Exception):  # noqa: N818
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class ErrorThatAnswersAll(Exception):  # noqa: N818
    def __getattr__(self, name: str) -> Any:
        return self


class ErrorThatRefuses(Exception):  # noqa: N818
    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError("no attributes")

    def with_traceback(self, _: Any) -> Any:
        raise ValueError("no traceback")


class ErrorThatComparesBadly(Exception):  # noqa: N818
    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparing")

    def __hash__(self) -> int:
        raise ValueError("no hash")

    def __bool__(self) -> bool:
        return False


class ErrorWithNotes(Exception):  # noqa: N818
    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise ValueError("no notes")


class ErrorToExit(BaseException): ...


class ErrorOfMeta(Exception, metaclass=Meta): ...  # noqa: N818


ERRORS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def throw(name: str) -> None:
    raise ERRORS[name]("its text")


def chain(name: str) -> None:
    try:
        throw(name)
    except BaseException as error:
        raise KeyError(name) from error


def group(name: str) -> None:
    raise BaseExceptionGroup("all", [ERRORS[name]("its text"), KeyError(name)])
