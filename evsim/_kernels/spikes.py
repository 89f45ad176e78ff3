"""Spikes as the kernels of all engines read and write them."""

from typing import NamedTuple

import numpy as np

from .jit import kernel


class Inputs(NamedTuple):
    """External spikes, sorted by time, ms."""

    times: np.ndarray
    sources: np.ndarray


class Spikes(NamedTuple):
    """Spikes of neurons in the order in which they were found, and the currents at each."""

    times: np.ndarray
    neurons: np.ndarray
    currents: np.ndarray


@kernel
def spike_arrays(n):
    """Room for n spikes."""
    return Spikes(np.empty(n), np.empty(n, np.int32), np.empty(n))
