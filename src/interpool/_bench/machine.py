"""Where a benchmark ran: processor, cores, system, Python and how it was built."""

import multiprocessing
import os
import platform
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import interpool
from interpool._cpu import available_cores

_CPUINFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on, apart from the code.

    Attributes:
        cpu: the processor's name.
        cores: how many cores this process may use, affinity and control group respected.
        system: the operating system and its version.
        python: implementation and version.
        build: what is special about the build, and the compiler.
        gil: whether the GIL is on.
        start_method: how `ProcessPoolExecutor` starts its processes by default.
        interpool: this package's version.
        load_before: the load average at the start, or None where the system has none.
        date: the day of the run, in UTC.
    """

    cpu: str
    cores: int
    system: str
    python: str
    build: str
    gil: bool
    start_method: str
    interpool: str
    load_before: tuple[float, ...] | None
    date: str


def this_machine() -> Machine:
    """Look around."""
    return Machine(
        cpu=cpu_model(),
        cores=available_cores(),
        system=f"{_distribution()} ({platform.system()} {platform.release()} {platform.machine()})",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        build=_build(),
        gil=sys._is_gil_enabled(),
        # The first is the default, says the documentation; asking for the default would set it.
        start_method=multiprocessing.get_all_start_methods()[0],
        interpool=interpool.__version__,
        load_before=load_average(),
        date=datetime.now(UTC).date().isoformat(),
    )


def machine_from_json(data: dict[str, Any]) -> tuple[Machine, tuple[float, ...] | None]:
    """A machine as JSON has it, and the load average after the run, which is written with it."""
    loads = {name: data[name] and tuple(data[name]) for name in ("load_before", "load_after")}
    load_after = loads.pop("load_after")
    return Machine(**{k: v for k, v in (data | loads).items() if k != "load_after"}), load_after


def load_average() -> tuple[float, ...] | None:
    """How many processes wanted a core in the last 1, 5 and 15 minutes; None where unknown."""
    try:
        return tuple(round(load, 2) for load in os.getloadavg())
    except AttributeError, OSError:  # Windows has none
        return None


def cpu_model(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name, as its maker has it; the architecture's where that is not told."""
    try:
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return " ".join(value.split())
    except OSError:
        pass
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed command
        if found.stdout.strip():
            return found.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError, KeyError:  # not Linux, or one that does not say
        return platform.system()


def _build() -> str:
    """What changes the speed of this build."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    jit = getattr(sys, "_jit", None)
    found = {
        "free-threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "debug": hasattr(sys, "gettotalrefcount"),
        "PGO": "--enable-optimizations" in options,
        "LTO": "--with-lto" in options,
        "JIT on": jit is not None and jit.is_enabled(),
    }
    parts = [name for name, is_so in found.items() if is_so]
    return ", ".join([*parts, platform.python_compiler()])
