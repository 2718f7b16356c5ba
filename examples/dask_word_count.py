"""A bag of dask, on interpreters: which words are the most frequent in many text files?

It writes the files itself, into a temporary folder: the language reference that comes with Python,
as `help()` shows it, a file a topic.

Run it, where dask is installed:

    python examples/dask_word_count.py
"""

import argparse
import re
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import dask.bag

from interpool import InterpreterPoolExecutor


def write_texts(folder: Path, count: int) -> list[str]:
    """Write text files; return their paths."""
    paths = []
    for name, text in list(topics.items())[:count]:
        path = folder / f"{name}.txt"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    return paths


def words(line: str) -> list[str]:
    """The words of a line, as they are compared."""
    return re.findall(r"[a-z]+", line.casefold())


def main() -> None:
    parser = argparse.ArgumentParser(description="Count words.")
    parser.add_argument("texts", type=int, nargs="?", default=80, help="how many files to write")
    parser.add_argument("--workers", type=int, help="interpreters; one a core if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, InterpreterPoolExecutor(options.workers) as pool:
        paths = write_texts(Path(folder), options.texts)
        counts = dask.bag.read_text(paths).map(words).flatten().frequencies()
        most = counts.topk(5, key=lambda pair: pair[1])
        for word, count in most.compute(scheduler=pool):
            print(f"{count:7,} {word}")
        lanes = pool.statistics().lanes
    print(f"tasks in interpreters: {lanes['interpreter']}, in processes: {lanes['process']}")


if __name__ == "__main__":
    main()
