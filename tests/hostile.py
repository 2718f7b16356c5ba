"""Objects that do what objects should not, in a module that workers can import."""

import enum
import threading
from typing import Any


class Colour(enum.Enum):
    RED = 1


class RaisesWhenPickled:
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or ValueError("will not be pickled")

    def __call__(self) -> None: ...

    def __reduce__(self) -> Any:
        raise self.error


def _raise(error: BaseException) -> Any:
    raise error


def _raise_in_main(text: str) -> Any:
    import _interpreters

    if _interpreters.get_current() == _interpreters.get_main():
        raise ValueError(text)
    return text


class RaisesWhenLoaded:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self) -> None: ...

    def __reduce__(self) -> Any:
        return _raise, (self.error,)

    @classmethod
    def only_here(cls, text: str) -> Any:
        return _RaisesInMain(text)


class _RaisesInMain:
    def __init__(self, text: str) -> None:
        self.text = text

    def __reduce__(self) -> Any:
        return _raise_in_main, (self.text,)


class Recurses:
    def __reduce__(self) -> Any:
        return Recurses._make, (Recurses(),)

    @staticmethod
    def _make(inner: object) -> object:
        return inner


def bad_result(way: str) -> Any:
    match way:
        case "generator":
            return (n for n in range(3))
        case "raises":
            return RaisesWhenPickled()
        case "exits":
            return RaisesWhenPickled(SystemExit(3))
        case "recurses":
            return Recurses()
        case _:
            return way


class NeedsTwo(Exception):  # noqa: N818
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def raise_needs_two() -> None:
    raise NeedsTwo("a", "b")


class HoldsLock(Exception):  # noqa: N818
    def __init__(self) -> None:
        super().__init__(threading.Lock())


def raise_holds_lock() -> None:
    raise HoldsLock


class NoText(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


def raise_no_text() -> None:
    raise NoText


class Hostile(Exception):  # noqa: N818
    """An exception that cannot be sent, in one way or another."""

    def __init__(self, way: str) -> None:
        super().__init__(way)
        self.way = way
        self.held = threading.Lock() if way == "holds" else None

    def __reduce__(self) -> Any:
        match self.way:
            case "raises":
                raise ValueError("will not be pickled")
            case "exits":
                raise SystemExit(3)
            case "only here":
                return _raise_in_main, (self.way,)
            case _:
                return super().__reduce__()


def _looped(length: int) -> Looped:
    error = first = Looped(length)
    for _ in range(length - 1):
        error.__cause__ = Looped(length)
        error = error.__cause__
    error.__cause__ = first
    return first


class Looped(Exception):  # noqa: N818
    """An exception that is loaded as one whose causes go round."""

    def __reduce__(self) -> Any:
        return _looped, self.args


def raise_looped(length: int = 1) -> None:
    raise Looped(length)


class Fussy:
    """Is pickled here and in workers, and loaded only where it was made."""

    def __init__(self) -> None:
        import _interpreters

        self.home = _interpreters.get_current()[0]

    def __call__(self) -> None: ...

    def __setstate__(self, state: dict[str, Any]) -> None:
        import _interpreters

        if _interpreters.get_current()[0] != state["home"]:
            raise ValueError("not in this interpreter")
        vars(self).update(state)


class LoadsNowhere:
    """Is pickled everywhere and loaded nowhere."""

    def __setstate__(self, state: object) -> None:
        raise ValueError("never again")

    def __getstate__(self) -> object:
        return {"some": "state"}
