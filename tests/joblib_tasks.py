"""What tests send by way of joblib, in a module that workers can import: it imports no joblib."""

import os
from typing import Any


def spin(entry: int) -> None:
    os.write(entry, b".")
    while True:
        pass


def nested(n: int) -> tuple[int, str, int, list[int]]:
    import joblib

    parallel = joblib.Parallel(n_jobs=2)
    results = parallel(joblib.delayed(abs)(-it) for it in range(n))
    backend: Any = parallel._backend
    return os.getpid(), type(backend).__name__, backend.nesting_level, results


def nested_twice(n: int) -> list[tuple[int, str, int, list[int]]]:
    import joblib

    found: list[Any] = joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(n) for _ in range(2))
    return found
