"""What the package offers, and what it does not drag along."""

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
