"""Functions, classes and other values, rebuilt from what another interpreter sent.

What is sent by value comes with a context: the globals that its functions use, by namespace, and
the definitions of its classes. Each goes by a token, a number that no two interpreters give. An
interpreter that gave a token knows the object itself by it: so a class that comes home is the class
that left. The others keep what they built under it, and change it only when other bytes come than
came last; so what a task assigns to a global or to a class attribute is there for the next one.

`interpool._pickling` makes what is read here.
"""

import _thread
import _weakref
import abc
import itertools
import marshal
import os
import sys

TYPE_CHECKING = False  # importing `typing` would cost each worker 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import FunctionType
    from typing import Any

sys.modules["_interpool_values"] = sys.modules["interpool._inside.values"]
__name__ = "_interpool_values"

type Sent = bytes | tuple[int, bytes]
"""The pickle of a global; or an index, and the pickle of all globals that share something.

Or `ABSENT`, for one that is used and not there.
"""
type Namespaces = tuple[tuple[int, str, dict[str, Sent], dict[str, bytes]], ...]
"""Token, module name, the pickle of each global, and of those that annotations alone mention."""
type Classes = tuple[tuple[int, bytes, bytes], ...]
"""Token, the pickle of what a class is made of, and of what it is then filled with."""
type Context = tuple[Namespaces, Classes]

NO_CONTEXT: Context = ((), ())
ABSENT = b""

# What a definition of a callable holds: a name to import, a code object, a pickle.
BY_REFERENCE, BY_CODE, BY_PICKLE = range(3)

# Types that marshal carries exactly. Only these: it turns a bytearray, an array or a memoryview
# into bytes, and refuses subclasses, so the exact type is looked at and never isinstance.
PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes})

# Buffers in a pickle from this size on travel by themselves, uncopied until they arrive. In bytes:
# more than one frame of the pickle protocol may have (64 KiB, and less than as much for what it
# began with), so that what is written in one piece of this size is a buffer, or holds an integer.
LARGE = 1 << 18

# Callables and classes kept, by key or token. A message carries the definitions that it needs, so
# dropping one costs no more than building it again. The numbers are arbitrary.
FUNCTIONS_KEPT = 128
CLASSES_KEPT = 512


# --- Tokens --------------------------------------------------------------------------------------

_numbers = itertools.count(int.from_bytes(os.urandom(5)) << 24 | 1)
_tokens: dict[int, tuple[_weakref.ref[Any], int]] = {}  # by the identity of the object
_objects: dict[int, _weakref.ref[Any]] = {}  # by token
_giving = _thread.RLock()  # two threads that send a class at once give it one token


def token_of(obj: object) -> int | None:
    """Return the token of a module or class, given here or elsewhere, if it has one."""
    entry = _tokens.get(id(obj))
    return entry[1] if entry is not None and entry[0]() is obj else None


def token_for(obj: object) -> int:
    """Return the token of a module or class, giving it one if it has none."""
    with _giving:
        return token_of(obj) or register(obj, next(_numbers))


def register(obj: object, token: int) -> int:
    """Know an object by a token, for as long as it lives."""
    identity = id(obj)

    def forget(reference: _weakref.ref[Any]) -> None:
        if _tokens.get(identity, (None,))[0] is reference:
            del _tokens[identity]
        if _objects.get(token) is reference:
            del _objects[token]

    reference = _weakref.ref(obj, forget)
    _tokens[identity] = reference, token
    _objects[token] = reference
    return token


def object_of(token: int) -> Any:
    """Return the object of a token, or None if it is not known here, or gone."""
    reference = _objects.get(token)
    return None if reference is None else reference()


# --- By reference --------------------------------------------------------------------------------


def import_module(name: str, *submodules: str) -> Any:
    """Import a module by its dotted name, and more of its package, and return it."""
    for wanted in (name, *submodules):
        try:
            __import__(wanted)
        except ModuleNotFoundError:
            # Another interpreter has found it: it may have been written a moment ago, into a folder
            # whose listing is remembered here.
            for finder in list(sys.path_importer_cache.values()):
                forget = getattr(finder, "invalidate_caches", None)
                if forget is not None:
                    forget()
            __import__(wanted)
    return sys.modules[name]


def find(module: str, qualname: str) -> Any:
    """Find the object of that qualified name in that module."""
    found = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


# --- Namespaces ----------------------------------------------------------------------------------


class Namespace:
    """The globals of functions whose module cannot be imported here."""

    def __init__(self, name: str) -> None:
        """Args: the module's name."""
        self.module = type(sys)(name)
        self.globals: dict[str, Any] = vars(self.module)
        self.globals["__builtins__"] = __builtins__
        # They are None, of which linecache warns since 3.15.
        del self.module.__spec__, self.module.__loader__
        self.sent: dict[str, Sent] = {}  # what was sent last, by name
        self.soft: dict[str, bytes] = {}  # what only annotations mention, to be loaded if asked for


class Lazily(dict):  # type: ignore[type-arg]  # which would be evaluated
    """The globals of an annotation: its namespace, then what was sent for annotations alone.

    Loaded when asked for: to run a function, no worker imports what only its annotations mention.
    """

    def __init__(self, space: Namespace) -> None:
        """Args: the namespace."""
        super().__init__(__name__=space.globals["__name__"], __builtins__=__builtins__)
        self._space = space

    def __missing__(self, name: str) -> Any:
        """Look a name up, or load it."""
        space = self._space
        return space.globals[name] if name in space.globals else unpickle(space.soft[name])


# Those of modules, kept; and those of globals dicts of no module, of the parcel being received.
_kept: dict[int, Namespace] = {}
_own: dict[int, Namespace] = {}
# Raised whenever a kept namespace changes by what was sent. A kept function that was built before
# may find other globals than those that its definition came with, so it is built again.
_version = 0


def received_globals() -> dict[int, int]:
    """Return the tokens of the namespaces kept here, by the identity of their globals."""
    return {id(space.globals): token for token, space in _kept.items()}


def place_of(obj: object) -> tuple[int, str] | None:
    """Return namespace and name of an object that is a global received from elsewhere."""
    for token, space in _kept.items():
        for name, value in space.globals.items():
            if value is obj:
                return token, name
    return None


def _globals_of(token: int | str) -> dict[str, Any]:
    """Return the globals of a namespace: of an importable module, if it is a name."""
    if isinstance(token, str):
        found: dict[str, Any] = vars(import_module(token))
        return found
    if token < 0:
        return _own[token].globals
    home = object_of(token)
    return _kept[token].globals if home is None else vars(home)


# --- Receiving -----------------------------------------------------------------------------------


def receive(context: Context) -> None:
    """Take in the context of a parcel, before its pickle is loaded.

    Only what has changed: what is sent once more is left as tasks here have made it.
    """
    namespaces, classes = context
    _own.clear()
    changed: list[tuple[Namespace, int, str, Sent]] = []
    same: list[tuple[Namespace, int, str, Sent]] = []
    for token, name, values, soft in namespaces:
        if token > 0 and object_of(token) is not None:
            continue  # the module itself is here
        spaces = _kept if token > 0 else _own
        space = spaces.get(token)
        if space is None:
            space = spaces[token] = Namespace(name)
            if name == "__main__" and token > 0:
                # What a task pickles by name is looked for there, and what it imports from there.
                sys.modules[name] = space.module
        space.soft.update(soft)
        for key, data in values.items():
            if data == ABSENT and key not in space.sent:
                continue  # it never was, or is the worker's own: an initializer made it
            it = space, token, key, data
            (same if space.sent.get(key) == data else changed).append(it)
    if same and (joints := {data[1] for *_, data in changed if type(data) is tuple}):
        # One of those that share something may have been sent alone in between.
        changed += [it for it in same if type(it[3]) is tuple and it[3][1] in joints]
    # Classes first, for globals may be instances of theirs; all are made before any is filled.
    if classes:
        _receive_classes(classes)
    if changed:
        _receive_globals(changed)


# What is being received and not loaded yet.
_due: dict[tuple[int, str], tuple[Namespace, Sent]] = {}
_joints: dict[bytes, tuple[Any, ...]] = {}  # loaded, for those that are still due


def _receive_globals(changed: Iterable[tuple[Namespace, int, str, Sent]]) -> None:
    global _version  # noqa: PLW0603 - the state of this module
    _due.clear()
    _joints.clear()
    for space, token, key, data in changed:
        _version += token > 0
        _due[token, key] = space, data
    while _due:
        _receive_global(*next(iter(_due)))
    _joints.clear()


def _receive_global(token: int, key: str) -> None:
    space, data = _due.pop((token, key))
    if data == ABSENT:
        space.globals.pop(key, None)
        del space.sent[key]
        return
    if isinstance(data, tuple):
        index, joint = data
        if joint not in _joints:
            _joints[joint] = unpickle(joint)
        space.globals[key] = _joints[joint][index]
    else:
        space.globals[key] = unpickle(data)
    space.sent[key] = data
    if key == "__package__":
        # What else may say what a relative import is relative to, and from 3.15 on alone does.
        space.globals["__spec__"] = Spec(space.globals[key])


class Spec:
    """As much of a module's spec as a relative import asks for."""

    def __init__(self, parent: str) -> None:
        """Args: the package's name."""
        self.parent = parent
        self.loader = self  # one that knows no source; None would be warned of, as above


def global_of(token: int, name: str) -> Any:
    """Return a global, for what is compared with it by identity."""
    if (token, name) in _due:
        _receive_global(token, name)
    return _globals_of(token)[name]


# --- Functions -----------------------------------------------------------------------------------

# What `types` calls FunctionType and CellType; its import costs a worker 1 ms.
_Function: Any = type(receive)
_Member: Any = type(_Function.__closure__)
_Cell: Any = type((lambda it: lambda: it)(0).__closure__[0])  # type: ignore[index]  # noqa: PLC3002

type FunctionState = tuple[dict[str, Any], list[tuple[int, Any]]]


def make_traceback(places: Sequence[tuple[str, str, int]]) -> Any:
    """Make a traceback that says what another one said: file, function and line of each frame.

    A frame is had by failing in it. What fails says of none of its instructions where it is
    (`InternalDocs/code_objects.md`: entries of kind 15, for eight units each), so that the line
    counts that the traceback says.
    """
    found = None
    for filename, name, line in reversed(places):
        code = compile("fail", filename, "exec")
        nowhere = b"\xff" * (len(code.co_code) // 16) + bytes([0xF8 | len(code.co_code) // 2 % 8])
        try:  # by a name that is not there
            exec(code.replace(co_name=name, co_linetable=nowhere), {"__builtins__": {}})  # noqa: S102
        except NameError as error:
            own: Any = error.__traceback__
        found = type(own)(found, own.tb_next.tb_frame, own.tb_next.tb_lasti, line)
    return found


def make_cell() -> Any:
    """Make an empty cell: whoever makes the function that it belongs to fills it."""
    return _Cell()


def make_function(
    code: bytes, token: int | str, name: str, closure: tuple[Any, ...] | None
) -> FunctionType:
    """Make a function of marshalled code, to be filled by `fill_function`."""
    function: FunctionType = _Function(marshal.loads(code), _globals_of(token), name, None, closure)
    return function


def make_annotate(
    code: bytes, token: int | str, name: str, closure: tuple[Any, ...] | None
) -> FunctionType:
    """Make the function that evaluates a function's or a class's annotations (PEP 649)."""
    spaces = _kept if isinstance(token, int) and token > 0 else _own
    space = spaces.get(token) if isinstance(token, int) else None
    names = _globals_of(token) if space is None else Lazily(space)
    function: FunctionType = _Function(marshal.loads(code), names, name, None, closure)
    return function


def fill_function(function: FunctionType, state: FunctionState) -> None:
    """Give a function of `make_function` what may refer back to it."""
    attributes, contents = state
    for index, value in contents:
        function.__closure__[index].cell_contents = value  # type: ignore[index]
    for name, value in attributes.items():
        setattr(function, name, value)


def make_cached(
    code: bytes,
    token: int | str,
    name: str,
    closure: tuple[Any, ...] | None,
    parameters: dict[str, Any],
) -> Any:
    """Make a function as `functools.cache` or `lru_cache` wraps it, with an empty cache."""
    return cached(make_function(code, token, name, closure), parameters)


def cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Wrap a function as `functools.cache` or `lru_cache` does, with an empty cache."""
    import functools

    return functools.lru_cache(**parameters)(function)


def fill_cached(cached: Any, state: tuple[FunctionState, dict[str, Any]]) -> None:
    """Fill what `make_cached` made."""
    function_state, attributes = state
    fill_function(cached.__wrapped__, function_state)
    for name, value in attributes.items():
        setattr(cached, name, value)


def build(definition: bytes) -> Any:
    """Build the callable that a definition describes."""
    form, *parts = marshal.loads(definition)
    if form == BY_REFERENCE:
        return find(*parts)
    if form == BY_CODE:
        code, module, name, attributes, annotations = parts
        names = Namespace(module).globals
        function = _Function(code, names, name)
        if annotations is not None:
            function.__annotate__ = _Function(annotations, names)
        for attribute, value in attributes.items():
            setattr(function, attribute, value)
        return function
    context, *segments = parts
    return load(context, segments)


_functions: dict[int, tuple[Any, int]] = {}  # with the version of the globals they were built in


def function_for(key: int, definition: bytes) -> Any:
    """Return the callable of a message: built now, or kept from before if `key` is not 0."""
    function, version = _functions.get(key, (None, 0))
    if function is None or version != _version:
        function = build(definition)
        if key:
            if len(_functions) >= FUNCTIONS_KEPT:
                del _functions[next(iter(_functions))]
            _functions[key] = function, _version
    return function


# --- Classes -------------------------------------------------------------------------------------

_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE

# What a kept class was made and filled with, and the names that this gave it, by token.
_definitions: dict[int, tuple[type, bytes, bytes, frozenset[str]]] = {}


# The skeletons of classes that are being received and not made yet, and those that were, held.
_unmade: dict[int, bytes] = {}
_made: list[type] = []


def class_of(token: int) -> type:
    """Return a class by its token."""
    found: type | None = _make_due(token) if token in _unmade else object_of(token)
    if found is None:
        raise LookupError("its class is gone from the interpreter that defined it")
    return found


def _receive_classes(classes: Classes) -> None:
    global _version  # noqa: PLW0603 - the state of this module
    _unmade.clear()
    _made.clear()
    changed = []
    for token, skeleton, body in classes:
        cls = object_of(token)
        _, old_skeleton, old_body, _ = _definitions.get(token, (cls, skeleton, b"", None))
        if cls is None or skeleton != old_skeleton:
            _unmade[token] = skeleton
        elif body == old_body:
            _definitions[token] = _definitions.pop(token)  # the last to be dropped
            continue
        changed.append((token, skeleton, body))
    while _unmade:
        _version += 1
        _make_due(next(iter(_unmade)))
    for token, skeleton, body in changed:
        cls = object_of(token)
        kept = _definitions.pop(token, None)
        attributes, extras = unpickle(body)
        gone = kept[3].difference(attributes) if kept is not None and kept[0] is cls else ()
        for name in gone:
            type.__delattr__(cls, name)
        fill_class(cls, attributes, extras)
        _definitions[token] = cls, skeleton, body, frozenset(attributes)
    # Never one of those that were received: what comes next refers to them.
    while len(_definitions) > max(CLASSES_KEPT, len(classes)):
        del _definitions[next(iter(_definitions))]
    _made.clear()


def _make_due(token: int) -> type:
    """Make a class that is due, and before it those that it rests on, in whatever order they came.

    A base may be sent after what it is a base of: it may know its subclasses.
    """
    cls = make_class(*unpickle(_unmade.pop(token)))
    register(cls, token)
    _made.append(cls)
    return cls


def make_class(
    metaclass: type,
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    members: dict[str, Any] | None,
    options: dict[str, Any],
) -> type:
    """Make a class with its slots, or an enumeration with its members, and little else.

    No code of a metaclass of the user's runs, nor that of an `__init_subclass__` that was sent:
    what they did is among the attributes that follow.
    """

    def make() -> type:
        if members is not None:
            return _make_enum(metaclass, name, bases, namespace, members, options)
        return type.__new__(metaclass, name, bases, namespace)

    hooked = [
        base
        for each in bases
        for base in each.__mro__
        if "__init_subclass__" in vars(base) and not base.__flags__ & _IMMUTABLE
    ]
    received = [base for base in hooked if token_of(base) is not None]
    try:
        cls = _without_hooks(received, make)
    except TypeError:  # a hook of an imported class wants arguments that nobody knows any more
        cls = _without_hooks(hooked, make)
    if members is None and issubclass(metaclass, abc.ABCMeta):
        import _abc  # type: ignore[import-not-found]

        _abc._abc_init(cls)
    return cls


def _without_hooks(bases: Iterable[type], make: Callable[[], type]) -> type:
    hooks = [(base, vars(base)["__init_subclass__"]) for base in {*bases}]
    for base, _ in hooks:
        type.__setattr__(base, "__init_subclass__", classmethod(lambda _cls, **_options: None))
    try:
        return make()
    finally:
        for base, hook in hooks:
            type.__setattr__(base, "__init_subclass__", hook)


def _make_enum(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    members: dict[str, Any],
    options: dict[str, Any],
) -> type:
    """Make an enumeration whose members are made of what they became, not of what they were.

    Its own `__new__` and `__init__` may take what nobody knows any more, so they stand aside.
    """
    body = metaclass.__prepare__(name, bases)
    for attribute, value in namespace.items():
        body[attribute] = value

    def new(cls: Any, *args: Any) -> Any:
        (data_type, *arguments), value = args if len(args) > 1 else args[0]  # one, for tuples
        member = data_type.__new__(cls, *arguments)
        member._value_ = value
        return member

    body["__new__"] = new
    body["__init__"] = lambda *_: None
    for member, (made_of, value) in members.items():
        body[member] = (made_of, value)
    enum = sys.modules["enum"].EnumType
    cls: type = enum.__new__(metaclass, name, bases, body, **options)
    for attribute in ("__init__", "__new_member__", "_new_member_"):
        if attribute in vars(cls):
            type.__delattr__(cls, attribute)
    return cls


def fill_class(cls: Any, attributes: dict[str, Any], extras: dict[str, Any]) -> None:
    """Give a class of `make_class` its attributes, and an enumeration's members theirs."""
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    for name, state in extras.get("members", {}).items():
        vars(cls._member_map_[name]).update(state)
    if "reduce" in extras:
        import copyreg

        copyreg.pickle(cls, extras["reduce"])
    if "annotate" in extras:
        cls.__annotate__ = extras["annotate"]
    if "registered" in extras:
        abc.update_abstractmethods(cls)
        for each in extras["registered"]:
            type(cls).register(cls, each)


# --- Exceptions ----------------------------------------------------------------------------------


def reduce_exception(error: BaseException) -> Any:
    """How an exception is pickled whose class has an `__init__` or `__new__` written in Python.

    Such a one may take other arguments than the `args` that it leaves.
    """
    cls = type(error)
    base: Any = next(each for each in cls.__mro__ if each.__flags__ & _IMMUTABLE)
    own = cls.__init__ is base.__init__ and cls.__new__ is base.__new__
    reduces = cls.__reduce__ is not base.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__
    if own or reduces:
        return NotImplemented
    _, args, *state = base.__reduce__(error)
    slots = {
        name: getattr(error, name)
        for each in cls.__mro__
        for name, value in vars(each).items()
        if type(value) is _Member and each is not base and hasattr(error, name)
        if not each.__flags__ & _IMMUTABLE
    }
    made_of = args
    if isinstance(error, BaseExceptionGroup):
        made_of = error.message, list(error.exceptions)  # `args` are what its own `__new__` took
    made = cls, base, made_of, args
    return make_by_base, made, (state, slots), None, None, fill_exception


def make_by_base(cls: Any, base: Any, made_of: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
    """Make an object by the built-in base of its class alone."""
    made = base.__new__(cls, *made_of)
    base.__init__(made, *args)
    return made


def fill_exception(error: Any, state: tuple[list[Any], dict[str, Any]]) -> None:
    """Give an exception of `make_by_base` its attributes."""
    states, slots = state
    for attributes in (*states, slots):
        for name, value in (attributes or {}).items():
            BaseException.__setattr__(error, name, value)  # its class may be frozen


# --- What answers to every name ------------------------------------------------------------------


def reduce_answering(obj: Any) -> Any:
    """How an object is pickled whose `__getattr__` may answer to any name, or recurse.

    Loading a pickle asks for `__setstate__` before there is anything to answer with, and gives the
    state to whatever it gets. So the state is set without asking.
    """
    cls: Any = type(obj)
    if (
        hasattr(cls, "__setstate__")
        or cls.__reduce__ is not object.__reduce__
        or cls.__reduce_ex__ is not object.__reduce_ex__
    ):
        return NotImplemented
    reduced = [*object.__reduce_ex__(obj, 5), None, None][:5]
    return NotImplemented if reduced[2] is None else (*reduced, fill_object)


def fill_object(obj: Any, state: Any) -> None:
    """Give an object of `reduce_answering` its attributes, as pickle would."""
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        vars(obj).update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


# --- Buffers, and what else pickle does not know -------------------------------------------------


def make_array(typecode: str, data: bytes) -> Any:
    """Make an `array.array`, without looking at the elements."""
    import array

    made = array.array(typecode)
    made.frombytes(data)
    return made


def make_view(data: bytes, form: str, shape: Sequence[int], is_readonly: bool) -> memoryview:
    """Make a view of bytes of its own: a `bytearray` if it may be written to."""
    view: Any = memoryview(data if is_readonly else bytearray(data))
    made: memoryview = view.cast(form) if len(shape) == 1 else view.cast(form, shape)
    return made


def make_mmap(data: bytes, is_readonly: bool, position: int) -> Any:
    """Make a map of memory of its own, of no file."""
    import mmap
    import tempfile

    if is_readonly:
        # Anonymous memory that cannot be written to could not be filled.
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            made = mmap.mmap(file.fileno(), len(data), access=mmap.ACCESS_READ)
    else:
        made = mmap.mmap(-1, len(data))
        made.write(data)
    made.seek(position)
    return made


def make_field(kind: bytes, text: str, attributes: dict[str, Any]) -> Any:
    """Make a dataclass's field, with its type where that loads here and as a text where not."""
    import dataclasses

    field: Any = dataclasses.Field.__new__(dataclasses.Field)
    for name, value in attributes.items():
        setattr(field, name, value)
    try:
        field.type = unpickle(kind)
    except Exception:  # the type is a remark to readers: a field works without
        field.type = text
    return field


def reduce_method(method: Any) -> Any:
    """How a bound method is pickled.

    By name, so that the other side takes its class's own; unless another one goes by that name, as
    for a private method, whose name here is not the mangled one.
    """
    name = getattr(method.__func__, "__name__", "")
    if getattr(method.__self__, name, None) == method:
        return getattr, (method.__self__, name)
    return bind, (method.__func__, method.__self__)


def bind(function: Any, it: Any) -> Any:
    """Make a bound method."""
    return _Method(function, it)


_Method: Any = type(Namespace("").__init__)  # type: ignore[misc]


# --- Handles of what is shared -----------------------------------------------------------------

# How a handle of something that interpreters share is reduced, by its class: with the handle, and
# whether that lives until what is made of it has arrived. In nobody else's pickles: to a process
# that is none of a pool's, its descriptors mean nothing.
HANDLES: dict[type, Callable[[Any, bool], Any]] = {}

# What the pool has shared with its workers, for the module `shared`.
given: Any = None

# The names, files and code of what a worker may come to need, as `_worker.later_inside` has it.
later = b""


def module_inside(name: str) -> Any:
    """Return a module of this folder, which is there from the first time that it is asked for."""
    dotted = "interpool._inside." + name
    if dotted not in sys.modules:
        for found, file, code in marshal.loads(later) if later else ():
            if found == dotted:
                module = type(sys)(dotted)
                module.__file__ = file
                del module.__spec__, module.__loader__  # as in `_worker`
                sys.modules[dotted] = module
                try:
                    exec(_code_of(dotted, file, code), module.__dict__)  # noqa: S102 - our own
                except BaseException:  # a task was struck: the next one begins anew
                    del sys.modules[dotted]
                    sys.modules.pop("_interpool_" + name, None)  # by which it is looked for
                    raise
        if not later:
            __import__(dotted)
    return sys.modules[dotted]


def make_handle(module: str, name: str, state: Any) -> Any:
    """Make a handle of what another interpreter has sent."""
    return getattr(module_inside(module), name)._of_state(state)


def _code_of(dotted: str, file: str, code: bytes) -> Any:
    """Return a module's code, from its file if it was not sent."""
    if code:
        return marshal.loads(code)
    from _frozen_importlib_external import SourceFileLoader

    return SourceFileLoader(dotted, file).get_code(dotted)


# --- Pickles -------------------------------------------------------------------------------------


def unpickle(data: bytes) -> Any:
    """Load a pickle, importing `_pickle` when first needed (3.5 ms)."""
    import _pickle

    return _pickle.loads(data)


def load(context: Context, segments: Sequence[bytes]) -> Any:
    """Take in a context and load the pickle that came with it; its buffers follow the stream."""
    if context != NO_CONTEXT:
        with _receiving:
            receive(context)
            return _unpickle_all(segments)
    return _unpickle_all(segments)


# What is received is noted in this module. Held until the pickle that it came with is loaded: of
# several pools, each has a thread that loads.
_receiving = _thread.RLock()


def _unpickle_all(segments: Sequence[bytes]) -> Any:
    if len(segments) == 1:
        return unpickle(segments[0])
    import _pickle

    stream, *buffers = segments
    return _pickle.loads(stream, buffers=buffers)


def text_of(data: Any) -> str:
    """Make the string that a pickle's buffer holds."""
    return str(data, "utf-8", "surrogatepass")


# Opcodes of what a pickle can hold that is large, the width of the size that follows in bytes, and
# the opcodes that load it from the next buffer.
_NEXT = b"\x97"


def buffers_as(before: bytes = b"", behind: bytes = b"") -> tuple[tuple[bytes, int, bytes], ...]:
    """Make that table; what is bytes takes the buffer itself, or what such opcodes make of it."""
    return tuple(
        (opcode, width, loads)
        for opcodes, loads in (
            ((b"B", b"\x8e"), before + _NEXT + behind),
            ((b"X", b"\x8d"), b"c_interpool_values\ntext_of\n" + _NEXT + b"\x85R"),
            ((b"\x96",), b"cbuiltins\nbytearray\n" + _NEXT + b"\x85R"),
        )
        for opcode, width in zip(opcodes[::-1], (8, 4), strict=False)
    )


class Segments:
    """The file that a pickle is written to: large buffers go beside the stream, uncopied.

    The C pickler hands over what is large by itself, after the opcode that says its size. That
    opcode is replaced by one that takes the next buffer, as protocol 5 has it for buffers that know
    of it (PEP 574), and those that make of it what was pickled.
    """

    BUFFERS = buffers_as()

    def __init__(self) -> None:
        self._stream: list[bytes] = []
        self._buffers: list[Any] = []

    def write(self, data: Any) -> int:
        """Take a piece. A buffer that may change is copied at once."""
        if (raw := getattr(data, "raw", None)) is not None:
            data = raw()  # the buffer of an extension's object, by way of PickleBuffer
        size = len(data)
        if size >= LARGE:
            # Or it is what the pickler has kept in its own buffer, of an integer above all.
            header = self._stream[-1] if self._stream else b""
            for opcode, width, loads in self.BUFFERS:
                start = len(header) - width - 1
                if (
                    start > 0
                    and header.startswith(opcode, start)
                    and int.from_bytes(header[start + 1 :], "little") == size
                ):
                    self._stream[-1] = header[:start] + loads
                    self._buffers.append(bytes(data))
                    return size
        self._stream.append(bytes(data))
        return size

    def joined(self) -> list[Any]:
        """Return the stream, then the buffers."""
        return [b"".join(self._stream), *self._buffers]


def pickle(value: object) -> list[bytes]:
    """Pickle what has a name where it goes: what was received from there goes by its token.

    Raises:
        Exception: whatever the pickle module raises, for what takes more than that.
    """
    segments = Segments()
    (_home_pickler or _make_home_pickler())(segments, 5).dump(value)
    return segments.joined()


def check_named_at_home(obj: Any) -> None:
    """Refuse a function or class of this `__main__`: by its name another may go where it is sent.

    Raises:
        LookupError: if it is one; it goes by value.
    """
    if obj.__module__ == "__main__":
        raise LookupError("it is of this interpreter's __main__")


_home_pickler: Any = None


def _make_home_pickler() -> Any:
    global _home_pickler  # noqa: PLW0603 - a class made when first needed, for it needs `_pickle`
    import _pickle

    class HomePickler(_pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:  # noqa: PLR0911 - a return for each kind
            if (handle := HANDLES.get(type(obj))) is not None:
                return handle(obj, False)  # noqa: FBT003 - see HANDLES
            if isinstance(obj, type):
                token = token_of(obj)
                if token is not None:
                    return class_of, (token,)
                check_named_at_home(obj)
            elif type(obj) is _Function:
                check_named_at_home(obj)
            elif isinstance(obj, BaseException):
                return reduce_exception(obj)
            elif type(obj) is object and (place := place_of(obj)) is not None:
                return global_of, place
            elif type(obj) is _Method:
                return reduce_method(obj)
            elif hasattr(type(obj), "__getattr__"):
                return reduce_answering(obj)
            return NotImplemented

    _home_pickler = HomePickler
    return HomePickler
