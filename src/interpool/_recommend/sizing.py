"""How many workers suit a function that computes for a share of its time."""

from math import ceil
from typing import Final

from interpool._recommend.data import Place

# Workers for each core, for functions that wait. An interpreter takes some 3 MiB and a process 10,
# so there are fewer of them; 32 threads are what ThreadPoolExecutor stops at by itself.
_MOST_THREADS: Final = 32
_MOST_A_CORE: Final = {"interpreter": 4, "process": 2}
# A share of computing from which on a function is one that computes: what is missing is noise.
COMPUTES: Final = 0.8


def workers_for(place: Place, cpu: float, cores: int) -> int:
    """Return as many workers as keep the cores busy, within bounds.

    Args:
        place: where they are.
        cpu: the share of its time in which the function computes.
        cores: cores there are.
    """
    if place == "serial":
        return 1
    if cpu >= COMPUTES:
        return cores
    most = max(_MOST_THREADS, cores) if place == "thread" else cores * _MOST_A_CORE[place]
    return min(ceil(cores / max(cpu, cores / most)), most)
