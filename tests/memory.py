"""How much memory this process holds."""

import ctypes
from pathlib import Path
from typing import Final

# glibc's mallopt(3), malloc.h: from how much on what is free at the end of an arena is given back.
_TRIM_THRESHOLD: Final = -1
_AT_ONCE: Final = 128 * 1024  # what it begins with


def keep_little() -> None:
    """Have malloc keep little of what threads free, for measuring: before there are any.

    By itself glibc's keeps, at the end of each of its arenas (eight a core), up to twice as much as
    the largest piece that was ever freed, and `malloc_trim` looks there in the first arena only: 16
    threads that hold 4 MB each leave 60 MB when one piece of 3 MB was freed before, and 2 MB with
    this. Large pieces have mappings of their own then, always: who reads one that is freed is
    found out at once.
    """
    if (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        set_option(_TRIM_THRESHOLD, _AT_ONCE)


def resident_mib() -> float:
    """Memory that this process holds now, without most of what malloc keeps for later."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
