"""What the package offers, and what it does not drag along."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import interpool
from support import run_program


def test_all_is_what_there_is() -> None:
    public = {name for name in dir(interpool) if not name.startswith("_")} | {"__version__"}
    public -= interpool._INTEGRATIONS  # there only where they have been imported
    assert set(interpool.__all__) == public
    for name in interpool.__all__:
        assert getattr(interpool, name) is not None


def test_the_engine_imports_neither_command_line_nor_benchmark_nor_extras() -> None:
    done = run_program(
        "import sys, interpool\n"
        "with interpool.InterpreterPoolExecutor(1) as pool:\n"
        "    pool.submit(abs, 1).result()\n"
        "outside = {'interpool._cli', 'interpool._bench', 'interpool._recommend'}\n"
        "outside |= {'interpool._doctor', 'json', 'hashlib', 'importlib.metadata'}\n"
        "outside |= {'click', 'rich', 'matplotlib', 'interpool.cluster', 'distributed', 'dask'}\n"
        "outside |= {'interpool.aio', 'asyncio'}\n"
        "outside |= {'interpool._report'}\n"
        "outside |= {'joblib', 'dask', 'tqdm'}\n"
        "print(sorted(outside & set(sys.modules)))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def _public_callables() -> Iterator[tuple[str, Any]]:
    """Functions, classes and their methods, by what they are called."""
    modules = interpool, *map(importlib.import_module, ("interpool.aio", *_integrations()))
    for module in modules:
        for name in module.__all__:
            found = getattr(module, name)
            if not callable(found):
                continue
            yield f"{module.__name__}.{name}", found
            if inspect.isclass(found):
                for own in filter(_is_public, dir(found)):
                    if inspect.isroutine(method := getattr(found, own)):
                        yield f"{module.__name__}.{name}.{own}", method


def _integrations() -> list[str]:
    return [f"interpool.{name}" for name in sorted(interpool._INTEGRATIONS)]


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and not hasattr(type, name))


def test_every_public_callable_has_a_signature_that_can_be_asked_for() -> None:
    # Editors, `help()` and frameworks ask; annotations are evaluated then (PEP 649).
    seen, failing = 0, {}
    for name, found in _public_callables():
        seen += 1
        try:
            inspect.signature(found)
        except ValueError:  # of some in C, nobody knows
            continue
        except Exception as error:
            failing[name] = error
    assert not failing
    assert seen > 200
