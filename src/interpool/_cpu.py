"""How many cores this process may use."""

import os
from math import ceil
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def available_cores() -> int:
    """Return the number of cores this process may use, at least 1.

    The smaller of what the scheduler allows (`os.process_cpu_count`: affinity, `-X cpu_count`) and
    what the control group's quota pays for, rounded up: a container limited to half a core still
    runs one worker.
    """
    cores = os.process_cpu_count() or 1
    quota = cgroup_quota()
    return cores if quota is None else max(1, min(cores, ceil(quota)))


def cgroup_quota(v2: Path = _CGROUP_V2, v1: Path = _CGROUP_V1) -> float | None:
    """Return the control group's quota in cores, or None where there is none.

    Args:
        v2: the file `cpu.max` of a version 2 group: quota and period in us, or `max`.
        v1: the folder of a version 1 group, with `cpu.cfs_quota_us` (-1: none) and its period.
    """
    try:
        if v2.exists():
            quota, period = v2.read_text().split()
        else:
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        if quota == "max" or int(quota) <= 0 or int(period) <= 0:
            return None
        return int(quota) / int(period)
    except OSError, ValueError:  # no such group, or a format that this code does not know
        return None
