"""Memory: how much a network needs, asked before it is taken, and how much the process has had."""

import sys

import psutil

from evsim.errors import NetworkError

NEURON_BYTES = 250
"""Of a neuron's parameters and state, while they are laid out."""


def check_memory(need: float, what: str) -> None:
    """Raise NetworkError if ``need`` bytes are more than the machine has free."""
    free = psutil.virtual_memory().available
    if need > free:
        raise NetworkError(
            f"{what} would take about {need / 2**30:.3g} GiB, but {free / 2**30:.3g} GiB of memory are free. Use "
            "fewer synapses, one weight and delay per projection, or a larger machine."
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
