"""What `command_line.py` runs in processes of its own: the same work, each in its way.

python _command_line_jobs.py lines FILE...   # by xargs: FILE... are lines
python _command_line_jobs.py pool FUNCTION FILE
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def length(text: str) -> int:
    return len(text)


def digits(text: str) -> int:
    """Some 20 us of Python: a checksum, as parsers have it."""
    total = 0
    for n in range(50):
        for character in text:
            total = (total * 31 + ord(character) + n) % 1_000_003
    return total


def main(arguments: list[str]) -> None:
    match arguments:
        case ["lines", name, *lines]:
            function = globals()[name]
            sys.stdout.write("".join(f"{function(line)}\n" for line in lines))
        case ["pool", name, path]:
            function = globals()[name]
            with Path(path).open(encoding="utf-8") as file, ProcessPoolExecutor(2) as pool:
                texts = (line.removesuffix("\n") for line in file)
                for result in pool.map(function, texts, chunksize=1000):
                    sys.stdout.write(f"{result}\n")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
