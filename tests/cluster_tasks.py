"""What tests of a cluster send by reference: nothing here needs what interpreters refuse."""

import os


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class TwoPartError(Exception):
    def __init__(self, a: object, b: object) -> None:
        super().__init__(f"{a} and {b}")
        self.parts = a, b


def place() -> tuple[int, int]:
    import _interpreters

    return os.getpid(), _interpreters.get_current()[0]


def signal_and_wait(entry: str, leave: str) -> None:
    """Say that it has begun, and wait for leave, by named pipes, which other processes open."""
    with open(entry, "w") as told:  # noqa: PTH123 - pathlib is 10 ms more
        told.write(str(os.getpid()))
    with open(leave) as left:  # noqa: PTH123 - the same
        left.read()


def signal_and_spin(entry: str) -> None:
    """Say that it has begun, and never end."""
    with open(entry, "w") as told:  # noqa: PTH123 - pathlib is 10 ms more
        told.write(str(os.getpid()))
    while True:
        pass


def work(n: int, entry: str, first: str) -> int:
    """Compute a little; the first that is asked to, says where it is and never ends."""
    sum(range(20_000))
    if n == 0 and not os.path.exists(first):  # noqa: PTH110 - pathlib is 10 ms more
        os.close(os.open(first, os.O_CREAT))
        signal_and_spin(entry)
    return n


def third_time(file: str) -> int:
    """Fail twice: how often it has run is in a file."""
    with open(file, "a+") as log:  # noqa: PTH123 - pathlib is 10 ms more
        log.write(".")
        log.seek(0)
        runs = len(log.read())
    if runs < 3:
        raise OSError(runs)
    return runs


def jobs() -> list[str]:
    """What this Dask worker's process does now, in its main interpreter's words."""
    from interpool.cluster import _site

    return [] if _site._Here.site is None else [*_site._Here.site.running]


def crash() -> None:
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def hold(record: str) -> str:
    """Of a record that names two pipes, say by one that it has come, and wait at the other."""
    if record.startswith("/"):
        entry, leave = record.split()
        if os.path.exists(leave):  # noqa: PTH110 - pathlib is 10 ms more
            signal_and_wait(entry, leave)
    return record
