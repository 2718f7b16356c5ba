"""Tasks of test_aio.py, in a module that costs a worker nothing to import."""


def spin(entry: int) -> None:
    import os

    os.write(entry, b".")
    while True:
        pass


def swallow(entry: int, fd: int) -> str:
    """Catch the first exception, whatever it is, and wait for a byte."""
    import os

    try:
        os.write(entry, b".")
        while True:
            pass
    except BaseException:
        os.write(entry, b".")
        os.read(fd, 1)
    return "went on"


def spin_unless_first(number: int, entry: int) -> int:
    if number:
        spin(entry)
    return number


def pass_list(_: object, fd: int) -> None:
    import select

    while not select.select([fd], [], [], 0.01)[0]:
        pass


def pass_if_first(number: int, fd: int) -> int:
    import os

    if not number:
        os.read(fd, 1)
    return number


def fail_or_spin(number: int, entry: int) -> None:
    if not number:
        raise ValueError("the first")
    spin(entry)
