"""Memory: how much a network needs, asked before it is taken."""

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
