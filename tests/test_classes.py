"""Classes by value: those of `__main__`, of a function, and of modules that workers cannot import.

One program defines and tries them all, as a person's script would; each check is a test here.
"""

import copyreg
import dataclasses
import gc
import json
import os
import re
import subprocess
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from interpool import InterpreterPoolExecutor
from interpool._inside import values
from support import PATIENCE, Gate, identity, pass_through, run_program

PROGRAM = """
import abc, asyncio, collections, contextlib, dataclasses, datetime, enum, functools, json
import operator, os.path as path, sys, traceback, typing, weakref
from concurrent import futures
from string import *
from typing import NamedTuple, NewType, Protocol, TypedDict
from interpool import InterpreterPoolExecutor

CHECKS = []
check = CHECKS.append
pool = InterpreterPoolExecutor(1)

def run(function, /, *args, **kwargs):
    return pool.submit(function, *args, **kwargs).result(60)

def error_of(function, /, *args):
    return pool.submit(function, *args).exception(60)

def back(value):
    return run(lambda it: it, value)


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
    parent: "Point | None" = None
    def moved(self, by): return Point(self.x + by, self.y, self)

class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
    def label(self): return self.name.lower()

@check
def what_comes_home_is_of_the_class_that_left():
    assert type(back(Point(1))) is Point and back(Point(1)) == Point(1)
    moved = run(Point(1).moved, 2)
    assert type(moved) is type(moved.parent) is Point and moved.x == 3
    assert back(Point) is Point and back(Colour) is Colour
    assert back(Colour.RED) is Colour.RED and run(Colour.BLUE.label) == "blue"
    assert run(lambda: Colour("b")) is Colour.BLUE
    assert all(type(it) is Point for it in pool.map(Point, range(4), chunksize=2))

@dataclasses.dataclass(slots=True, kw_only=True, order=True, frozen=True)
class Strict:
    a: int
    b: list = dataclasses.field(default_factory=lambda: [1])
    c: typing.ClassVar[int] = 7
    d: str = dataclasses.field(default="x", metadata={"unit": "m"})

@dataclasses.dataclass
class Late:
    x: int
    factor: dataclasses.InitVar[int] = 3
    product: int = dataclasses.field(init=False)
    def __post_init__(self, factor): self.product = self.x * factor

@check
def dataclasses_of_every_kind():
    assert run(lambda: Strict(a=1)) == Strict(a=1)
    assert run(lambda it: dataclasses.asdict(it), Strict(a=1)) == {"a": 1, "b": [1], "d": "x"}
    assert run(lambda it: dataclasses.replace(it, a=2), Strict(a=1)) == Strict(a=2)
    assert run(lambda: dataclasses.fields(Strict)[2].metadata["unit"]) == "m"
    assert run(lambda it, other: it < other and it.c == 7, Strict(a=1), Strict(a=2))
    frozen = error_of(lambda it: setattr(it, "a", 2), Strict(a=1))
    assert isinstance(frozen, dataclasses.FrozenInstanceError)
    assert run(lambda: Late(2, 5).product) == 10
    made = dataclasses.make_dataclass("Made", ["a", ("b", int, 3)])
    assert back(made(1)) == made(1)

class Row(NamedTuple):
    x: int
    y: int = 5
    def total(self): return self.x + self.y

@check
def named_tuples():
    assert run(Row(1).total) == 6 and type(run(lambda: Row(3))) is Row
    assert run(lambda row: row._replace(x=9), Row(1)) == Row(9)
    local = collections.namedtuple("local", "a b", defaults=[1])
    assert back(local(3)) == local(3) and type(back(local(3))) is local

class Outer:
    class Flags(enum.Flag):
        R = enum.auto(); W = enum.auto(); RW = R | W
    class Level(enum.IntEnum):
        LOW = 1; HIGH = 2; BOTTOM = 1
    class Word(enum.StrEnum):
        HELLO = enum.auto()
    class Pair(enum.Enum):
        A = (1, "x"); B = (2, "y")
        def __init__(self, number, text): self.number, self.text = number, text
        @classmethod
        def _missing_(cls, value): return cls.A
    class Operation(enum.Enum):
        ADD = enum.member(lambda a, b: a + b)
        SUB = enum.member(operator.sub)
        def __call__(self, *args): return self.value(*args)
    class Day(datetime.date, enum.Enum):
        FIRST = 2020, 1, 2
    class Bits(enum.IntFlag):
        X = 1; Y = 4

@check
def enumerations_of_every_kind():
    assert run(lambda: Outer.Flags.R | Outer.Flags.W) is Outer.Flags.RW
    assert back(~Outer.Flags.R) is Outer.Flags.W and back(Outer.Bits(5)) is Outer.Bits(5)
    assert run(lambda it: it is Outer.Level.LOW, Outer.Level.BOTTOM)
    assert run(lambda: max(Outer.Level)) is Outer.Level.HIGH
    assert back(Outer.Word.HELLO) is Outer.Word.HELLO
    assert run(lambda: Outer.Pair.B.text) == "y" and run(lambda: Outer.Pair("?")) is Outer.Pair.A
    assert run(Outer.Operation.ADD, 1, 2) == 3 and run(lambda: Outer.Operation.SUB(3, 1)) == 2
    assert back(Outer.Operation.ADD) is Outer.Operation.ADD
    assert back(Outer.Day.FIRST) is Outer.Day.FIRST
    functional = enum.Enum("functional", "A B")
    assert back(functional.A) is functional.A and run(lambda: functional.B) is functional.B

@check
def super_and_class_cells_of_local_classes():
    class A:
        items = [1]
        def f(self): return 1
        def __secret(self): return 7
        def secret(self): return self.__secret
    class B(A):
        def f(self): return super().f() + 1
        def upper(self): return super().f
        @classmethod
        def c(cls): return __class__ is B and cls
        @staticmethod
        def s(x): return x
        def grow(self): B.items.append(2); return len(self.items)
    class C(B):
        def f(self): return super().f() * 10
    assert run(C().f) == run(lambda: C().f()) == 20
    assert run(C.c) is C and run(B.s, 1) == run(B().s, 1) == 1
    assert run(B().upper()) == 1 and run(A().secret()) == 7
    assert run(lambda: A().secret())() == 7
    assert run(B().grow) == 2 and A.items == [1]

@check
def local_classes_that_refer_to_one_another():
    class A:
        def make(self): return B()
    class B:
        def make(self): return A()
    assert type(run(A().make)) is B and type(run(lambda: B().make().make())) is B

class Registry:
    known = []
    def __init_subclass__(cls, /, tag, **options):
        super().__init_subclass__(**options)
        Registry.known.append(cls)
        cls.tag = tag

class Plugin(Registry, tag=1): ...
class Other(Registry, tag=2): ...
Registry.all = (Plugin, Other)

@check
def a_base_that_knows_its_subclasses():
    assert run(lambda: (Plugin.tag, Registry.known[0] is Plugin)) == (1, True)
    assert run(lambda: [it.tag for it in Registry.known]) == [1, 2]
    assert run(lambda it: type(it).all[1] is Other, Plugin())
    assert type(back(Registry())).known == [Plugin, Other]

class Meta(type):
    def __new__(meta, name, bases, namespace, tag=None):
        cls = super().__new__(meta, name, bases, namespace)
        cls.tag = tag
        return cls
    def __init__(cls, *args, **options): ...
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.made = True
        return made
    @property
    def shout(cls): return cls.tag.upper()

class OfMeta(metaclass=Meta, tag="t"): ...

class Single:
    it = None
    def __new__(cls):
        if cls.it is None:
            cls.it = super().__new__(cls)
        return cls.it

@check
def metaclasses_and_singletons():
    assert run(lambda: (OfMeta().made, OfMeta.tag, OfMeta.shout)) == (True, "t", "T")
    single = Single()
    assert run(lambda it: it is Single(), single) and back(single) is single

class Named:
    def __reduce__(self): return "NAMED"
NAMED = Named()
NOTHING = object()
UserId = NewType("UserId", int)

@check
def what_is_compared_by_identity():
    assert run(lambda it: it is NAMED, NAMED) and back(NAMED) is NAMED
    assert run(lambda it: it is NOTHING, NOTHING) and back(NOTHING) is NOTHING
    assert run(lambda: UserId(3)) == run(UserId, 3) == 3 and back(UserId) is UserId
    local = NewType("local", int)
    assert run(lambda: local(3)) == 3

class Slotted:
    __slots__ = ("a", "b", "__weakref__")
    def __init__(self): self.a = 1

class HalfSlotted:
    __slots__ = ("a", "__dict__")

@check
def slots():
    def look(it): return it.a, hasattr(it, "b"), hasattr(it, "__dict__"), weakref.ref(it)() is it
    assert run(look, Slotted()) == (1, False, False, True)
    half = HalfSlotted()
    half.a, half.more = 1, 2
    assert (back(half).a, back(half).more) == (1, 2)

class Noting:
    def __set_name__(self, owner, name): self.name = "_" + name
    def __get__(self, it, owner): return self if it is None else getattr(it, self.name, "unset")
    def __set__(self, it, value): setattr(it, self.name, value)

class own_property(property):
    def __init__(self, function):
        super().__init__(function)
        self.unit = "m"

class Described:
    noted = Noting()
    def __init__(self): self.calls = 0
    @functools.cached_property
    def cached(self): self.calls += 1; return self.calls
    @property
    def plain(self):
        "says what it is"
        return self.calls
    @plain.setter
    def plain(self, value): self.calls = value
    @own_property
    def own(self): return 1
    def f(self, a, b): return a, b
    g = functools.partialmethod(f, 1)
    @functools.singledispatchmethod
    def kind(self, it): return "any"
    @kind.register
    def _(self, it: int): return "int"
    @functools.lru_cache
    def kept(self): return 3

@check
def descriptors_of_every_kind():
    def use(it):
        it.plain = 5
        it.noted = "n"
        return it.cached, it.cached, it.plain, it.noted, it.own, it.g(2), it.kind(1), it.kept()
    assert run(use, Described()) == (6, 6, 6, "n", 1, (1, 2), "int", 3)
    assert run(lambda: (vars(Described)["own"].unit, Described.plain.__doc__)) == (
        "m", "says what it is")
    assert run(Described().g, 2) == (1, 2) and run(Described().kind, "x") == "any"

class Length(Protocol):
    def length(self) -> int: ...
@typing.runtime_checkable
class CanQuack(Protocol):
    def quack(self): ...
class Duck(Length):
    def length(self): return 3
    def quack(self): ...
class Options(TypedDict, total=False):
    a: int
class Base(abc.ABC):
    @abc.abstractmethod
    def f(self): ...
class Concrete(Base):
    def f(self): return 1
Base.register(int)

@check
def protocols_typed_dicts_and_abstract_classes():
    assert run(Duck().length) == 3
    assert run(lambda it: (isinstance(it, CanQuack), isinstance(3, CanQuack)), Duck()) == (
        True, False)
    assert run(lambda: Options(a=1)) == {"a": 1} and back(Options) is Options
    assert run(Concrete().f) == 1 and run(lambda: isinstance(3, Base))
    assert "abstract" in str(error_of(lambda: Base()))

class Box[T]:
    def __init__(self, value: T): self.value = value
    def get[K: int](self, key: K) -> T: return self.value
type Pairs[T] = list[tuple[T, T]]
class OldBox(typing.Generic[typing.TypeVar("V")]): ...
class Indexed:
    def __class_getitem__(cls, key): return cls, key

@check
def generics():
    assert run(Box[int](3).get, 1) == 3 and type(back(Box(1))) is Box
    assert back(Box[int]) == Box[int] and back(OldBox[int]) == OldBox[int]
    assert run(lambda: (Pairs.__name__, Pairs[int].__args__)) == ("Pairs", (int,))
    assert run(lambda: Indexed[3]) == (Indexed, 3)

class KeywordError(Exception):
    def __init__(self, *, code, text="t"):
        super().__init__(text)
        self.code = code
class OwnGroup(ExceptionGroup):
    def __new__(cls, text, errors, extra):
        made = super().__new__(cls, text, errors)
        made.extra = extra
        return made
    def derive(self, errors): return OwnGroup(self.message, errors, self.extra)
@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int
class Falsy(Exception):
    def __bool__(self): return False
class PathError(OSError):
    def __init__(self, path, *, extra):
        super().__init__(2, "gone", path)
        self.extra = extra

def throw(error): raise error
def throw_new(make): raise make()

@check
def exceptions_of_main_come_as_themselves():
    for error in (error_of(throw, KeywordError(code=4)), back(KeywordError(code=4))):
        assert (type(error), error.code, str(error)) == (KeywordError, 4, "t")
    for error in (
        error_of(throw_new, lambda: OwnGroup("g", [ValueError(1), KeyError(2)], 7)),
        back(OwnGroup("g", [ValueError(1), KeyError(2)], 7)),
    ):
        assert (type(error), error.extra) == (OwnGroup, 7)
        matched, _ = error.split(ValueError)
        assert (type(matched), matched.extra, len(matched.exceptions)) == (OwnGroup, 7, 1)
    assert error_of(throw_new, lambda: FrozenError(3)) == FrozenError(3)
    assert type(error_of(throw, Falsy())) is Falsy
    error = error_of(throw_new, lambda: PathError("/x", extra=1))
    assert (type(error), error.errno, error.filename, error.extra) == (PathError, 2, "/x", 1)
    def chained():
        try:
            throw(Falsy())
        except Falsy as inner:
            raise KeywordError(code=1) from inner
    assert type(error_of(chained).__cause__) is Falsy

class AnswersAll:
    def __init__(self): self.kept = 1
    def __getattr__(self, name): return lambda *args, **kwargs: None
class Proxy:
    def __init__(self, target): self.target = target
    def __getattr__(self, name): return getattr(self.target, name)

@check
def objects_that_answer_to_every_name():
    assert back(AnswersAll()).kept == 1 and run(lambda it: it.kept, AnswersAll()) == 1
    assert run(lambda it: it.index(1), Proxy([1])) == 0 and back(Proxy([1])).target == [1]

def replaced(cls):
    class Wrapped(cls):
        def f(self): return "w" + super().f()
    Wrapped.__name__ = Wrapped.__qualname__ = cls.__name__
    return Wrapped
@replaced
class Decorated:
    def f(self): return "d"

@check
def a_class_that_its_decorator_replaced():
    assert run(Decorated().f) == "wd" and type(run(lambda: Decorated())) is Decorated

@check
def a_class_that_changes_between_two_submits():
    class A:
        value = 1
        def f(self): return self.value
    it = A()
    assert run(it.f) == 1
    A.value = 2
    assert run(it.f) == 2
    A.f = lambda self: "new"
    assert run(it.f) == "new"
    del A.value
    assert not run(lambda: hasattr(A, "value"))

@check
def two_classes_of_one_name():
    global Point
    before, old = Point, Point(1)
    @dataclasses.dataclass
    class Point:
        x: int
    Point.__qualname__ = "Point"
    assert type(back(old)) is before and type(back(Point(1))) is Point
    Point = before

@check
def classes_that_a_worker_defines():
    def make():
        class Made:
            def hello(self): return "hello"
        return Made()
    made = run(make)
    assert made.hello() == "hello" and type(back(made)) is type(made)
    def throw_local():
        class Local(Exception):
            def __init__(self, *, a): self.a = a
        raise Local(a=3)
    assert error_of(throw_local).a == 3
    def member():
        class Kind(enum.Enum):
            A = 1
        return Kind.A
    found = run(member)
    assert type(found).A is found

class Calls:
    def __call__(self, *args, **kwargs): return args, kwargs
class CallsLater:
    async def __call__(self, it): await asyncio.sleep(0); return it
    async def method(self): return await later(1)
async def later(n): return n + 1
@contextlib.contextmanager
def managed(n): yield n + 1
@functools.singledispatch
def dispatched(it): return "any"
@dispatched.register
def _(it: int): return "int"
@dispatched.register(Point)
def _(it): return "point"

@check
def callables_of_every_kind():
    assert run(Calls(), 1, a=2) == ((1,), {"a": 2})
    assert run(later, 1) == 2 and run(CallsLater(), 5) == 5 and run(CallsLater().method) == 2
    kinds = [run(dispatched, it) for it in (1, True, Point(1), "x")]
    assert kinds == ["int", "int", "point", "any"]
    @managed(1)
    def inside(): return 5
    def use():
        with managed(1) as it: return it
    assert run(use) == 2 and run(inside) == 5
    assert run(functools.lru_cache(len), "ab") == 2
    assert run(functools.partial(functools.partial(lambda *all: all, 1), 2), 3) == (1, 2, 3)
    assert run(lambda self, fn, **rest: (self, fn, rest), 1, fn=2, args=3) == (1, 2, {"args": 3})

first, second = 1, 2
def both(): return first, second
def set_up():
    global connection
    connection = ["made there"]
def connected(): return connection, second

@check
def globals_that_come_and_go():
    global first, connection
    assert run(both) == (1, 2)
    first = 3
    assert run(both) == (3, 2)
    del first
    assert isinstance(error_of(both), NameError)
    first = 1
    assert run(both) == (1, 2)
    run(set_up)
    assert run(connected) == (["made there"], 2)
    connection = "from here"
    assert run(connected) == ("from here", 2)
    del connection
    assert isinstance(error_of(connected), NameError)

def imports(it):
    if it:
        import json as j
        return j.dumps(it)
    from math import sqrt
    return sqrt(4)

@check
def imports_of_every_kind():
    import email.mime.text
    assert run(imports, 1) == "1" and run(imports, 0) == 2
    assert run(lambda: capwords(ascii_lowercase[:3])) == "Abc"
    assert run(lambda: path.join("a", "b")) == "a/b"
    assert run(lambda: email.mime.text.MIMEText("x").get_payload()) == "x"

outcomes = {}
for each in CHECKS:
    try:
        each()
    except BaseException:
        outcomes[each.__name__] = traceback.format_exc()
    else:
        outcomes[each.__name__] = ""
pool.shutdown()
json.dump(outcomes, sys.stdout)
"""
CHECKS = re.findall(r"@check\ndef (\w+)", PROGRAM)


def outcomes_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.stderr == ""
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    script = tmp_path_factory.mktemp("scripts") / "program.py"
    script.write_text(PROGRAM)
    return outcomes_of(run_program(script))


@pytest.mark.parametrize("check", CHECKS)
def test_of_a_script(outcomes: dict[str, str], check: str) -> None:
    assert outcomes[check] == ""


@pytest.mark.parametrize("seed", range(3))
def test_in_whatever_order_names_are_met(seed: int) -> None:
    found = outcomes_of(run_program(PROGRAM, PYTHONHASHSEED=str(seed)))
    assert found == dict.fromkeys(CHECKS, "")


BESIDE = """
import sys
sys.path.insert(0, {folder!r})
from interpool import InterpreterPoolExecutor
import beside
from package.inside import Shape

if __name__ == "__main__":
    with InterpreterPoolExecutor(1) as pool:
        print(pool.submit(beside.double, 4).result())
        print(type(pool.submit(Shape, 3).result()) is Shape)
        print(pool.submit(lambda: Shape(2).area() + beside.double(1)).result())
"""


def test_modules_that_only_the_script_finds(tmp_path: Path) -> None:
    script, folder = tmp_path / "scripts" / "run.py", tmp_path / "elsewhere"
    (folder / "package").mkdir(parents=True)
    script.parent.mkdir()
    (folder / "package" / "inside.py").write_text(
        "from . import helper\n"
        "class Shape:\n"
        "    def __init__(self, n): self.n = n\n"
        "    def area(self): return helper.square(self.n)\n"
    )
    (folder / "package" / "helper.py").write_text("def square(n): return n * n\n")
    (script.parent / "beside.py").write_text("def double(n): return 2 * n\n")
    script.write_text(BESIDE.format(folder=str(folder)))
    done = run_program(script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["8", "True", "6"]


def test_a_class_that_nobody_holds_is_there_when_its_instances_come_home(
    arrivals: Gate, gate: Gate
) -> None:
    def make(number: int) -> Any:
        @dataclasses.dataclass
        class Row:
            n: int

        class BadError(Exception): ...

        def task(entry: int, fd: int) -> Any:
            os.write(entry, b".")
            os.read(fd, 1)
            if number < 0:
                raise BadError(number)
            return Row(number)

        return task, Row(number)

    ends = arrivals.entry, gate.exit
    with InterpreterPoolExecutor(1) as pool:
        good, bad = pool.submit(make(1)[0], *ends), pool.submit(make(-2)[0], *ends)
        waits = [pool.submit(pass_through, gate.exit, make(n)[1]) for n in range(9)]
        mapped = pool.map(make(4)[0], *([end] * 3 for end in ends))
        chunks = pool.map(make(-5)[0], *([end] * 3 for end in ends), chunksize=3)
        gc.collect()
        gate.open(2 + 9 + 3 + 3)
        assert repr(good.result(PATIENCE)).endswith("Row(n=1)")
        assert type(bad.exception(PATIENCE)).__name__ == "BadError"
        assert [wait.result(PATIENCE).n for wait in waits] == list(range(9))
        assert [row.n for row in mapped] == [4, 4, 4]
        with pytest.raises(Exception, match="-5") as raised:
            next(chunks)
        assert raised.type.__name__ == "BadError"


@pytest.mark.parametrize("way", ["answered", "cancelled"])
def test_a_class_is_kept_no_longer_than_its_task(way: str, gate: Gate) -> None:
    class Row: ...

    gone = weakref.ref(Row)
    with InterpreterPoolExecutor(1) as pool:
        if way == "cancelled":
            pool.submit(pass_through, gate.exit, 0)
        future = pool.submit(isinstance, Row(), Row)
        del Row
        if way == "cancelled":
            assert future.cancel()
            gate.open()
        else:
            assert future.result(PATIENCE)
        # The pool's thread may have a last word to say after a future's end.
        pool.shutdown()
        gc.collect()
        assert gone() is None


def test_what_copyreg_knows_of_a_class_goes_with_it() -> None:
    class Guarded:
        def __init__(self, value: int) -> None:
            self.value = value
            self.lock = threading.Lock()

    def doubled(it: Guarded) -> Guarded:
        return Guarded(2 * it.value)

    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(issubclass, Guarded, Guarded).result()
        copyreg.pickle(Guarded, lambda it: (Guarded, (it.value,)))
        try:
            result = pool.submit(doubled, Guarded(2)).result()
        finally:
            del copyreg.dispatch_table[Guarded]
    assert (type(result), result.value) == (Guarded, 4)


def test_more_classes_than_are_kept_go_in_one_parcel() -> None:
    class Collecting:
        """What is loaded first, and drops the classes that nobody holds."""

        def __reduce__(self) -> Any:
            return gc.collect, ()

    def total(_: object, classes: list[Any]) -> int:
        return sum(it().number for it in classes)

    def instances(classes: list[Any]) -> list[Any]:
        return [it() for it in classes]

    with InterpreterPoolExecutor(1) as pool:
        for count in (20, values.CLASSES_KEPT + 20, values.CLASSES_KEPT + 50, 10):
            classes = [type(f"C{n}", (), {"number": n}) for n in range(count)]
            for _ in range(2):
                assert pool.submit(total, Collecting(), classes).result() == sum(range(count))
            assert list(map(type, pool.submit(instances, classes).result())) == classes


OF_NO_MODULE = """
import enum
RATE = 1
class Base:
    def of_base(self): return RATE
class Rated(Base):
    def rate(self): return RATE + self.of_base()
class Way(enum.Enum):
    ONE = enum.member(lambda: RATE)
def use(): return Rated().rate(), RATE, Way.ONE.value()
"""


def test_methods_of_classes_of_no_module_see_globals_as_they_are() -> None:
    def rates(*rated: Any) -> list[int]:
        return [it.rate() for it in rated]

    spaces: list[dict[str, Any]] = [{"__name__": "cell"}, {"__name__": "cell"}]
    with InterpreterPoolExecutor(1) as pool:
        for rate in (1, 2, 3):
            for number, space in enumerate(spaces):
                exec(OF_NO_MODULE, space) if rate == 1 else None  # noqa: S102 - as doctest does
                space["RATE"] = rate + 10 * number
            one, other = (space["Rated"]() for space in spaces)
            assert pool.submit(spaces[0]["use"]).result() == (2 * rate, rate, rate)
            assert pool.submit(one.rate).result() == 2 * rate
            assert pool.submit(rates, one, other).result() == [2 * rate, 2 * rate + 20]
            assert pool.submit(rates, other, one).result() == [2 * rate + 20, 2 * rate]
            assert type(pool.submit(identity, one).result()) is type(one)
