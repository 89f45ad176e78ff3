"""Memory: how much a network needs, asked before it is taken, and how much the process has had."""

import sys
from pathlib import Path

import psutil

from evsim.errors import NetworkError

NEURON_BYTES = 250
"""Bytes that the parameters and state of a neuron take while they are laid out."""

_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> float:
    """Bytes that this process can still take: of the machine, of its container, and of its own limit (ulimit -v)."""
    return min(float(psutil.virtual_memory().available), _free_in_container(), _free_of_limit())


def _free_in_container() -> float:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return float("inf")
        used = int((_CGROUP / "memory.current").read_text())
        # Pages of files that the kernel drops when memory is asked for.
        cached = next(
            int(line.split()[1])
            for line in (_CGROUP / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        )
        return float(int(limit) - used + cached)
    except (OSError, ValueError, StopIteration):
        return float("inf")


def _free_of_limit() -> float:
    try:
        import resource
    except ImportError:
        return float("inf")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    return float(limit - psutil.Process().memory_info().vms)


def check_memory(
    need: float, what: str, cure: str = "fewer synapses, one weight and delay per projection"
) -> None:
    """Raise NetworkError if ``need`` bytes are more than this process can still take."""
    free = free_memory()
    if need > free:
        raise NetworkError(
            f"{what} would take about {need / 2**30:.3g} GiB, but {max(free, 0.0) / 2**30:.3g} GiB of memory are free. "
            f"Use {cure}, or a larger machine."
        )


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MB; 0 where the system does not tell."""
    # Where there is /proc: rusage also knows what the process that started this one had.
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows, where psutil knows the peak; elsewhere it has what is in use now
        try:
            memory = psutil.Process().memory_info()
        except (OSError, psutil.Error):
            return 0.0
        return float(getattr(memory, "peak_wset", memory.rss)) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def reset_peak_memory() -> None:
    """Let ``peak_memory_mb`` start anew from what the process has now; where the system cannot (not Linux), nothing."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
