"""What a task is asked for in a message, and what came of it, in plain data.

Every function here answers, whatever the task does: returns, raises, exits, returns something that
cannot be sent.
"""

import marshal
import sys
import time

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from interpool._inside import channels, gate, tracing, values
else:
    import _interpool_channels as channels
    import _interpool_gate as gate
    import _interpool_values as values

sys.modules["_interpool_outcomes"] = sys.modules["interpool._inside.outcomes"]
__name__ = "_interpool_outcomes"

# A message is a pair. Its parts, for marshal to carry: key and form of the function's definition, a
# kind and its payload, and, unless all are empty, `apart`, a context and a budget. And what is
# large and travels beside them, uncopied until it arrives: arguments, whose places `apart` names
# (an index or a keyword each), and the pieces of the payload, if that is None.
#
# What a message asks for. PLAIN: the payload is the arguments, PICKLED: the pieces of their pickle.
# EACH: of several calls, of which none is begun any more when the budget is spent, in nanoseconds
# (0: there is none). PACKED: pairs of a context and a pickle, or of None and the arguments; the
# context is SAME if it is the last pair's.
CALL_PLAIN, CALL_PICKLED, EACH_PLAIN, EACH_PICKLED, EACH_PACKED = range(5)
SAME = 0

APART_TYPES = frozenset({bytes, str})

type Message = tuple[tuple[Any, ...], Sequence[Any]]

# What keeps an exception from being sent as itself: whether it was pickled and did not load, and
# path, type, what it is in words, reason and way out, as `_anatomy` and `_salvage` find them.
type Refusal = tuple[bool, tuple[str, ...]]

# An exception in plain data: the pickle of the exception by itself, or why there is none; the
# qualified name of its class, that class's module, its text; its notes, cause, context, whether the
# context is suppressed, and its members if it is a group. Of those, one that is there already is
# its number, counted as they are met: an exception, its members, its cause, its context.
type Packed = tuple[
    tuple[Any, ...] | Refusal | None,
    str,
    str,
    str,
    tuple[str, ...],
    Packed | int | None,
    Packed | int | None,
    bool,
    tuple[Packed | int | None, ...] | None,
]

# `(stage, exception, traceback text, culprit)`, as `_failures.Failure` takes it up. The culprit is
# what `_anatomy` found out about a result that cannot be sent, or `_salvage` about what did not
# load.
# Last, if it is because an extension refuses interpreters: that extension's name, and those of the
# modules that import each other until they come to it.
type Description = tuple[str, Packed, str, tuple[str, ...] | None, tuple[str, ...] | None]


# --- What went wrong -----------------------------------------------------------------------------


def describe(
    error: BaseException, stage: str, culprit: tuple[str, ...] | None = None
) -> Description:
    """Say in plain data what can be said of an exception.

    Its pickle is there only if it loads again here as the same type.
    """
    refused = None
    try:
        refused = _refused(error)
        import traceback

        _drop_own_frames(error)
        # As `_interpreters.capture_exception` has it, which breaks the process down (3.14, a
        # segmentation fault) if the exception's `__getattribute__` raises.
        told = traceback.TracebackException.from_exception(error, lookup_lines=False)
        text = "".join(told.format()).removesuffix("\n")
    except BaseException:  # its __str__ raised, or there was no memory for the text
        text = ""
    try:
        packed = _pack(error, seen={})
    except BaseException:  # out of memory, or those that it refers to are too many, one by another
        packed = _bare(error)
    return stage, packed, text or f"{packed[1]}: {packed[3]}", culprit, refused


# What CPython says of an extension that has not declared otherwise, and PyO3 of older ones.
_REFUSALS = (" does not support loading in subinterpreters", " do not yet support subinterpreters")


def _refused(error: BaseException) -> tuple[str, ...] | None:
    """Say which extension refuses interpreters, if that is why, and how it was reached."""
    seen: set[int] = set()
    due: list[tuple[BaseException, list[str]]] = [(error, [])]
    while due:
        found, before = due.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        chain = [*before]
        frames = found.__traceback__
        while frames is not None:
            frame = frames.tb_frame
            name = frame.f_globals.get("__name__")
            if frame.f_code.co_name == "<module>" and isinstance(name, str) and name not in chain:
                chain.append(name)
            frames = frames.tb_next
        if isinstance(found, ImportError) and any(it in str(found) for it in _REFUSALS):
            return _extension_in(str(found)) or found.name or "an extension", *chain
        members = found.exceptions if isinstance(found, BaseExceptionGroup) else ()
        others = (*members, found.__context__, found.__cause__)  # the last is looked at first
        due += [(other, chain) for other in others if other is not None]
    return None


def _extension_in(text: str) -> str:
    before = text.partition(_REFUSALS[0])[0].split()
    return before[-1] if len(before) > 1 and before[-2] == "module" else ""


def _drop_own_frames(error: BaseException) -> None:
    """Cut this package's frames off the outer end of a traceback: a user looks for his own."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OWN:
        frames = frames.tb_next
    BaseException.with_traceback(error, frames)  # its class may refuse to have attributes set


_OWN = frozenset(
    {"_interpool_outcomes", "_interpool_values", "_interpool_loop", "_interpool_coroutines"}
)


def _bare(error: BaseException) -> Packed:
    """Pack an exception without those that it refers to."""
    is_group = issubclass(type(error), BaseExceptionGroup)
    pickled = None if is_group else _pickled(error, is_group=False)
    return pickled, *_names_of(type(error)), _text(error), (), None, None, False, None


def _text(obj: object) -> str:
    """The text of an object whose class may not like to be asked: a str that marshal takes."""
    try:
        return str.__str__(str(obj))
    except BaseException as hostile:
        return f"<its text cannot be made: {type(hostile).__name__}>"


def _names_of(kind: type) -> tuple[str, str]:
    """Qualified name and module of a class, whatever its metaclass has to say about them."""
    name, module = _qualname_of(kind), _module_of(kind)
    return str.__str__(name), str.__str__(module) if isinstance(module, str) else "builtins"


_qualname_of: Any = vars(type)["__qualname__"].__get__
_module_of: Any = vars(type)["__module__"].__get__


def _pack(error: BaseException, *, seen: dict[int, int]) -> Packed:
    seen[id(error)] = len(seen)
    group = error if isinstance(error, BaseExceptionGroup) else None

    def pack(other: BaseException | None) -> Packed | int | None:
        if other is None:
            return None
        number = seen.get(id(other))
        return _pack(other, seen=seen) if number is None else number

    # In this order: what is packed later refers by its number to what was before.
    members = None if group is None else tuple(map(pack, group.exceptions))
    cause, context = pack(error.__cause__), pack(error.__context__)
    notes = getattr(error, "__notes__", ())
    return (
        _pickled(error, is_group=group is not None),
        *_names_of(type(error)),
        _text(error if group is None else group.message),
        tuple(map(_text, notes)) if isinstance(notes, (list, tuple)) else (),
        cause,
        context,
        error.__suppress_context__,
        members,
    )


def _pickled(error: BaseException, *, is_group: bool) -> tuple[Any, ...] | Refusal | None:
    """Pickle an exception, or the class and attributes of a group; or say why that is of no use."""
    value = (type(error), vars(error)) if is_group else error
    payload: tuple[Any, ...] = ()
    try:
        payload = encode(value)
        loaded = _load(payload)
        kind = loaded[0] if is_group else type(loaded)
    except BaseException as own:  # the description stands in for what cannot be pickled
        return _refusal_of(value, own, payload)
    if kind is not type(error):
        return _refusal_of(value, TypeError(f"it is loaded as {_qualname_of(kind)}"), payload)
    return payload


def _refusal_of(value: object, error: BaseException, payload: tuple[Any, ...]) -> Refusal | None:
    """Say what keeps an exception from being sent: what pickling it raised, or loading it."""
    try:
        from interpool import _anatomy, _salvage

        if payload:
            path, *rest = _salvage.culprit_of(error, payload[0], payload[1:])
        else:
            path, *rest = _anatomy.find_culprit(error, value, "", homeward=True)
        if type(value) is tuple:  # class and attributes of a group
            path = path.removeprefix("[0]").removeprefix("[1]")
        return bool(payload), (path, *rest)
    except BaseException:  # this package cannot be imported here, or the object's own code raises
        return None


# --- Values --------------------------------------------------------------------------------------


def _load(payload: tuple[Any, ...]) -> Any:
    context, *segments = payload
    return values.load(context, segments)


def encode(value: object) -> tuple[Any, ...]:
    """Pickle a value for the interpreter that sent the task: the context, then the pieces.

    What has no name there, or no way of its own to be pickled, takes the whole codec, which costs a
    worker an import of this package when first met (50 ms).
    """
    try:
        return values.NO_CONTEXT, *values.pickle(value)
    except Exception as error:
        try:
            from interpool._pickling import parcel
        except Exception:  # this package cannot be imported here
            raise error from None
    context, segments, _ = parcel(value, homeward=True)
    return context, *segments


def encode_value(value: Any) -> tuple[int, Any]:
    """Return `(kind, payload)` of a task's value."""
    if type(value) in values.PLAIN_TYPES:
        return channels.VALUE_PLAIN, value
    return channels.VALUE_PICKLED, encode(value)


def encode_values(found: list[Any]) -> tuple[int, Any]:
    """Return `(kind, payload)` of a chunk's values."""
    if values.PLAIN_TYPES.issuperset(map(type, found)):
        return channels.VALUE_PLAIN, found
    return channels.VALUE_PICKLED, encode(found)


def _refusal(error: BaseException, value: object) -> tuple[int, Any]:
    """The outcome of a task whose result cannot be sent, with the path to what is to blame."""
    culprit = None
    try:
        from interpool._anatomy import find_culprit

        culprit = find_culprit(error, value, "the result", homeward=True)
    except BaseException:  # the error itself says enough
        culprit = None
    return channels.FAILED, describe(error, "result", culprit)


def _unloaded(
    error: BaseException, stage: str, context: Any, segments: Sequence[bytes], places: str
) -> Description:
    """Describe what a pickle raised that does not load, with what is to blame.

    Args:
        error: what it raised.
        stage: what it is of.
        context: what came along.
        segments: the pieces of the pickle.
        places: what in `_salvage` names the parts of what it makes.
    """
    culprit = None
    try:
        from interpool import _salvage

        culprit = _salvage.find(context, segments, getattr(_salvage, places))
        if stage == "argument" and culprit is not None and culprit[0].startswith(","):
            culprit = f"the arguments{culprit[0]}", *culprit[1:]
    except BaseException:  # this package cannot be imported here, or the object's own code raises
        culprit = None
    return describe(error, stage, culprit)


def _undefined(error: BaseException, form: bytes) -> Description:
    """Describe what the definition of a function raised."""
    try:
        kind, context, *segments = marshal.loads(form)
    except BaseException:
        kind = None
    if kind == values.BY_PICKLE:
        return _unloaded(error, "function", context, segments, "whole")
    return describe(error, "function")


# --- Tasks ---------------------------------------------------------------------------------------

_now = time.perf_counter_ns
clock = time.monotonic_ns
_NEVER = 1 << 63
_Coroutine: Any = None


def _finish(coroutine: Any) -> Any:
    """Return what a coroutine returns when `asyncio` runs it."""
    return values.module_inside("coroutines").run(coroutine)


async def _no_task() -> None: ...


_coroutine = _no_task()
_Coroutine = type(_coroutine)
_coroutine.close()
del _coroutine

# Called when all is loaded, and the function about to be called; returns what takes down how that
# goes, if anything does.
type Begin = Callable[[int], tracing.Recorder | None]


def call(
    task: int,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    begin: Begin | None = None,
) -> tuple[int, Any]:
    """Run one task; return `(kind, payload)` of its outcome, whatever it does."""
    trace = None if begin is None else begin(task)
    failure = value = None
    try:
        try:
            gate.open_gate(task)
            value = function(*args, **kwargs)
            if type(value) is _Coroutine:
                value = _finish(value)
        except gate.Interrupted:
            raise
        except BaseException as error:
            failure = error
        if gate.close_gate(task):
            gate.tidy()
    except gate.Interrupted:  # once at the most, and never behind `close_gate`
        del failure
        gate.tidy()
        gate.end_struck(task)
        if trace is not None:
            trace.end(function, args, kwargs, None, is_shown=True)
        return channels.STRUCK, gate.struck_at
    if trace is not None:
        trace.end(function, args, kwargs, value, is_shown=failure is not None)
    if failure is not None:
        try:
            return channels.FAILED, describe(failure, "run")
        finally:
            del failure
    try:
        return encode_value(value)
    except BaseException as error:
        return _refusal(error, value)


def call_each(
    task: int,
    function: Callable[..., Any],
    items: Iterable[Any],
    budget: int,
    begin: Begin | None = None,
    load: Callable[[Any], tuple[Any, ...]] | None = None,
) -> tuple[int, Any]:
    """Run some calls; return the outcome of each. One that fails does not stop the others.

    A strike stops all of them, and nothing is said of those that were done.

    The payload is `(kind, values, failures, done, nanoseconds)`: `failures` maps an item's index to
    its description, and `values` holds None in its place; `done` is how many were begun before the
    budget was spent, and `nanoseconds` what they took.
    """
    found: list[Any] = []
    failures: dict[int, Description] = {}
    trace = None if begin is None else begin(task)
    if trace is not None:
        items, load = trace.each(function, items, load)
    since = _now()
    try:
        gate.open_gate(task)
        _run_each(
            task, function, items, since + budget if budget else _NEVER, load, found, failures
        )
        is_struck = gate.close_gate(task)
    except gate.Interrupted:
        gate.end_struck(task)
        is_struck = True
    if trace is not None:
        trace.end_each()
    if is_struck:
        gate.tidy()
        return channels.STRUCK, gate.struck_at
    measured = len(found), _now() - since
    del items
    try:
        kind, payload = encode_values(found)
    except BaseException:
        # One of them cannot be sent; which one shows when each is tried alone.
        for index, value in enumerate(found):
            try:
                encode_value(value)
            except BaseException as error:
                failures[index] = _refusal(error, value)[1]
                found[index] = None
        try:
            kind, payload = encode_values(found)
        except BaseException as error:  # each goes alone, all together do not: too large, say
            return channels.FAILED, describe(error, "result")
    return channels.EACH, (kind, payload, failures, *measured)


def _run_each(
    task: int,
    function: Callable[..., Any],
    items: Iterable[Any],
    end: int,
    load: Callable[[Any], tuple[Any, ...]] | None,
    found: list[Any],
    failures: dict[int, Description],
) -> None:
    """Run calls until the end, which is a time, or until the task is struck."""
    armed = gate.armed
    stage = "run"
    for args in items:
        try:
            if load is not None:
                stage = "argument"
                args = load(args)  # noqa: PLW2901 - the same, loaded
                stage = "run"
            value = function(*args)
            if type(value) is _Coroutine:
                value = _finish(value)
        except gate.Interrupted:
            raise
        except BaseException as error:
            # As in `call`, no strike lands in what describes it. That imports and pickles: CPython
            # has been seen to crash here, in a `_pickle` whose state was empty.
            shielded = gate.shield()
            try:
                failures[len(found)] = (
                    describe(error, stage) if stage == "run" else _unloaded_item(error, args)
                )
            finally:
                gate.lift(shielded)
            stage = "run"
            value = None
        found.append(value)
        if _now() > end or task not in armed:
            return


def _unloaded_item(error: BaseException, packed: tuple[Any, Any]) -> Description:
    context, data = packed
    context = context or values.NO_CONTEXT
    return _unloaded(error, "argument", context, [data], "arguments")


def _arguments(packed: tuple[Any, Any]) -> tuple[Any, ...]:
    context, data = packed
    if context is None:
        return data  # type: ignore[no-any-return]
    args: tuple[Any, ...]
    args, _ = values.load(context or values.NO_CONTEXT, [data])
    return args


def outcome_of(
    task: int,
    parts: Sequence[Any],
    large: list[Any],
    begin: Begin | None = None,
) -> tuple[int, Any]:
    """Do what a task's message asks; return `(kind, payload)` of the answer.

    Args:
        task: its number.
        parts: of the message.
        large: of the message.
        begin: see `Begin`; called with the number.
    """
    stage = "function"
    try:
        key, form, kind, payload, *more = parts
        function = values.function_for(key, form)
        stage = "argument"
        apart, context, budget = more or ((), values.NO_CONTEXT, 0)
        if kind in {CALL_PICKLED, EACH_PICKLED}:
            if payload is None:
                payload = large[len(apart) :]
                del large[len(apart) :]
            payload = values.load(context, payload)
    except BaseException as error:
        if stage == "function":
            return channels.FAILED, _undefined(error, form)
        places = "arguments_of_each" if kind == EACH_PICKLED else "arguments"
        return channels.FAILED, _unloaded(error, stage, context, payload, places)
    if kind == EACH_PACKED:
        return call_each(task, function, payload, budget, begin, _arguments)
    if kind in {EACH_PLAIN, EACH_PICKLED}:
        return call_each(task, function, payload, budget, begin)
    args, kwargs = payload
    if large:
        args = list(args)
        for place, value in zip(apart, large, strict=True):
            (kwargs if isinstance(place, str) else args)[place] = value
        del large, value
    return call(task, function, args, kwargs, begin)


def prepare(
    preload: tuple[str, ...],
    initializer: Message | None,
    note: Callable[[str], None] | None = None,
) -> Description | None:
    """Import the preloaded modules and run the initializer; return what failed, if anything.

    Args:
        preload: the modules.
        initializer: what it asks for.
        note: told, when it is done, what is done.
    """
    for name in preload:
        try:
            __import__(name)
        except BaseException as error:
            return describe(error, "preload")
    if preload and note is not None:
        note("preload")
    if initializer is not None:
        parts, large = initializer
        kind, payload = outcome_of(0, parts, list(large))
        if note is not None:
            note("initializer")
        if kind == channels.STRUCK:
            return describe(gate.Interrupted(), "initializer")
        if (
            kind == channels.FAILED and payload[0] != "result"
        ):  # what an initializer returns is nobody's
            return ("initializer", *payload[1:])
    return None
