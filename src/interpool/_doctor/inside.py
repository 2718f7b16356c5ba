"""Run in the interpreter that is examined: imports a module, and tells what happens.

`child` reads this file and runs its text there. It imports only what a bare interpreter has, so
that the module pays for all that it needs by itself. What it tells is a line each, the `ascii` of a
tuple, written at once: after a crash or a hang, what has been told is what there is.

    ("+", name)                   the module of this name begins to load
    ("-",)                        the one that began last has loaded, or failed
    ("?", name)                   there is no module of this name
    ("refused", extension)        the extension does not load in interpreters; the module goes on
    ("loaded", seconds)
    ("raised", seconds, type, message, missing, chain, extension)

`missing` is the name of the module that was not found, if that was it. `chain` has the names of the
modules that were being loaded where it was raised, each by the one before it. `extension` is the
one that refused, if that is the reason.
"""

import _frozen_importlib as bootstrap
import _imp
import _thread
import os
import sys
import time

# As type checkers know it; `typing` and `collections.abc` would be imported for the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeIs

# CPython's; PyO3's below 0.28 where it comes first, in three versions; Cython's.
REFUSALS = (
    "does not support loading in subinterpreters",
    "do not yet support subinterpreters",
    "may only be initialized once per interpreter process",
    "can only be loaded into one interpreter per process",
)
# Characters of a message that are passed on: it goes into a row of a table.
MOST = 2000
# Exceptions that are remembered: a chain of causes is rarely longer. Arbitrary.
FEW = 16


def probe(name: str, path: list[str], fd: int) -> None:
    """Import a module and tell what happens.

    Args:
        name: the module's.
        path: what `sys.path` is to be.
        fd: where it is told.
    """
    sys.path[:] = path
    sys.argv[:] = [""]  # and not the probe's own
    watch = Watch(fd)
    watch.begin()
    clock = time.perf_counter
    start = clock()
    try:
        __import__(name)
    except BaseException as error:  # SystemExit too: a module may raise anything
        watch.tell("raised", clock() - start, *watch.described(error))
    else:
        watch.tell("loaded", clock() - start)


class Watch:
    """Watches what is loaded by the thread that made it.

    The import system's own functions are wrapped, since tracebacks do not tell enough: a refusal
    may be caught, and extension modules that import others have no frames.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._write = os.write  # as it was before anything was imported
        self._thread = _thread.get_ident()
        self._loading: list[str] = []
        self._refusals: list[tuple[BaseException, str, list[str]]] = []
        # The exceptions that came out of an import, and what was being loaded there: the last few.
        self._surfaced: list[tuple[BaseException, list[str]]] = []

    def tell(self, *words: Any) -> None:
        try:  # noqa: SIM105 - contextlib is not imported here
            self._write(self._fd, ascii(words).encode() + b"\n")
        except OSError:  # a module that closes every descriptor that it does not know
            pass

    def begin(self) -> None:
        """Wrap the functions, where this Python has them."""
        for owner, name, wrapped in (
            (bootstrap, "_load_unlocked", self._loads),
            (bootstrap, "_find_spec", self._finds),
            (_imp, "create_dynamic", self._makes),
            (_imp, "exec_dynamic", self._makes),
            (_imp, "create_builtin", self._makes),
            (_imp, "exec_builtin", self._makes),
        ):
            if (call := getattr(owner, name, None)) is not None:
                setattr(owner, name, wrapped(call))

    def _loads(self, load: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def loads(spec: Any) -> Any:
            if _thread.get_ident() != self._thread:
                return load(spec)
            self._loading.append(spec.name)
            self.tell("+", spec.name)
            try:
                return load(spec)
            except BaseException as error:
                if all(error is not known for known, _ in self._surfaced):
                    self._surfaced = [*self._surfaced[1 - FEW :], (error, [*self._loading])]
                raise
            finally:
                self._loading.pop()
                self.tell("-")

        return loads

    def _finds(self, find: Callable[..., Any]) -> Callable[..., Any]:
        def finds(name: str, *args: Any, **kwargs: Any) -> Any:
            spec = find(name, *args, **kwargs)
            if spec is None:
                self.tell("?", name)
            return spec

        return finds

    def _makes(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def makes(subject: Any, *args: Any) -> Any:  # a spec, or a module
            try:
                return make(subject, *args)
            except ImportError as error:
                if is_refusal(error):
                    name = getattr(subject, "name", None) or subject.__name__
                    if all(error is not known for known, _, _ in self._refusals):
                        self._refusals.append((error, name, [*self._loading]))
                        self.tell("refused", name)
                raise

        return makes

    def described(self, error: BaseException) -> tuple[Any, ...]:
        """Return what `raised` tells of an exception."""
        missing = ""
        if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str):
            missing = error.name
        chain = self._chain_of(error)
        extension = ""
        if (found := self._refusal_behind(error)) is not None:
            # The words of the extension's own error, not of what was made of it.
            error, extension, chain = found
        return type(error).__qualname__, text_of(error), missing, chain, extension

    def _refusal_behind(self, error: BaseException) -> tuple[BaseException, str, list[str]] | None:
        behind = [*causes(error)]
        for known in self._refusals:
            if any(known[0] is cause for cause in behind):
                return known
        for cause in reversed(behind):
            if not is_refusal(cause):
                continue
            # Not CPython's own: raised anew, or in Python, or by an importer of another kind.
            chain = self._chain_of(cause)
            text = text_of(cause)
            is_named = text.startswith("module ") and REFUSALS[0] in text
            name = text.split()[1] if is_named else (chain or ["unknown"])[-1]
            return cause, name, chain
        return None

    def _chain_of(self, error: BaseException) -> list[str]:
        return next((chain for known, chain in self._surfaced if known is error), [])


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it, `from None` or not, each once."""
    waiting, seen = [error], set()
    while waiting:
        it = waiting.pop(0)
        if id(it) not in seen:
            seen.add(id(it))
            yield it
            more = getattr(it, "exceptions", ()) if isinstance(it, BaseExceptionGroup) else ()
            waiting += [e for e in (it.__cause__, it.__context__, *more) if e is not None]


def is_refusal(error: BaseException) -> TypeIs[ImportError]:
    """Whether it says that an extension does not load in interpreters."""
    return isinstance(error, ImportError) and any(words in text_of(error) for words in REFUSALS)


def text_of(error: BaseException) -> str:
    """Return an exception's message."""
    try:
        return str(error)[:MOST]
    except BaseException:  # its own __str__ raised
        return ""
