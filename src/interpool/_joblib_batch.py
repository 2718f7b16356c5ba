"""What a worker runs of a `joblib.Parallel`: some of its calls, one after the other.

joblib's own `BatchedCalls` cannot be sent to an interpreter: its module imports joblib, and joblib
imports `faulthandler`, which refuses to load there. This module imports nothing of the kind.
"""

import _interpreters

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

type Shape = tuple[int, int, tuple[str, ...]]
"""Of a call: the place of its function, how many positional arguments it has, and the names of its
keyword arguments, which come behind those."""


class Batch:
    """Some calls without their arguments, which are given when it is called.

    They travel apart from it as arguments of the task: so each is looked at for where it can be
    loaded, and an error names it.

    Attributes:
        func: the first function: the one by which the task finds its lane.
    """

    def __init__(
        self, functions: Sequence[Callable[..., Any]], shapes: Sequence[Shape], level: int
    ) -> None:
        """Args: the functions; the calls; and how deeply a `Parallel` inside them is nested."""
        self.func = functions[0]
        # What errors, warnings and the router call this by.
        name = getattr(self.func, "__qualname__", None)
        self.__qualname__ = name if isinstance(name, str) else type(self.func).__qualname__
        self._functions = functions
        self._shapes = shapes
        self._level = level

    @classmethod
    def of(
        cls, items: Iterable[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]], level: int
    ) -> tuple[Batch, list[Any]]:
        """Make one of the calls of a `BatchedCalls`; return the arguments of all, too."""
        places: dict[int, int] = {}
        functions: list[Callable[..., Any]] = []
        shapes: list[Shape] = []
        arguments: list[Any] = []
        for function, args, kwargs in items:
            if (place := places.setdefault(id(function), len(functions))) == len(functions):
                functions.append(function)
            shapes.append((place, len(args), tuple(kwargs)))
            arguments += args
            arguments += kwargs.values()
        return cls(functions, shapes, level), arguments

    def __call__(self, *arguments: Any) -> list[Any]:
        """Make the calls, and return what they return."""
        if _interpreters.get_current()[0] != _interpreters.get_main()[0]:
            # No joblib loads here, so no `Parallel` runs inside.
            return self._call_all(arguments)
        # In a worker process, or in a thread on a free-threaded build. A call may import joblib.
        import joblib

        backend = "threading" if self._level <= 1 else "sequential"
        with joblib.parallel_config(backend=backend, nesting_level=self._level, n_jobs=None):
            return self._call_all(arguments)

    def _call_all(self, arguments: tuple[Any, ...]) -> list[Any]:
        found: list[Any] = []
        start = 0
        for place, count, names in self._shapes:
            middle = start + count
            end = middle + len(names)
            named = dict(zip(names, arguments[middle:end], strict=True))
            found.append(self._functions[place](*arguments[start:middle], **named))
            start = end
        return found
