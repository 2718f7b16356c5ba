"""Three stages, each in a worker of its own, with short queues between them.

The first makes source text, the second parses it, the third counts what it finds. A queue holds
four items at the most, so a stage that is faster than the next one waits for it (back-pressure),
and memory stays what it is however long the stream. Each stage shuts its queue down when it is
done, which ends the next one.

Run it:

    python examples/pipeline.py
    python examples/pipeline.py --modules 500
"""

import argparse
import ast
from collections import Counter

from interpool import InterpreterPoolExecutor, Queue

ROOM = 4


def write(modules: int, sources: Queue) -> int:
    """Put the source of so many modules; return how often the queue was full before a put."""
    waits = 0
    for number in range(modules):
        functions = [
            f"def f{n}(a, b):\n    return [a + {n} * x for x in b if x % {number + 2}]\n"
            for n in range(40)
        ]
        waits += sources.full()
        sources.put("".join(functions))
    sources.shutdown()
    return waits


def parse(sources: Queue, names: Queue) -> int:
    """Put the kinds of the nodes of each source's tree; return how many sources there were."""
    done = 0
    for source in sources:
        names.put([type(node).__name__ for node in ast.walk(ast.parse(source))])
        done += 1
    names.shutdown()
    return done


def count(names: Queue) -> Counter[str]:
    """Count the kinds of nodes."""
    found: Counter[str] = Counter()
    for batch in names:
        found.update(batch)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Three stages with short queues between them.")
    parser.add_argument("--modules", type=int, default=100, metavar="N", help="how many (100)")
    modules = parser.parse_args().modules
    sources, names = Queue(ROOM), Queue(ROOM)
    with InterpreterPoolExecutor(max_workers=3) as pool:  # a worker for each stage: all at once
        writer = pool.submit(write, modules, sources)
        parser_ = pool.submit(parse, sources, names)
        counted = pool.submit(count, names).result()
        print(f"{parser_.result()} modules, {counted.total():,} nodes; the most frequent ones:")
        for name, times in counted.most_common(3):
            print(f"{times:>10,} {name}")
        if writer.result():
            print("the writer was held back by its full queue")


if __name__ == "__main__":
    main()
