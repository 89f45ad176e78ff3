"""What the kernels of the sweep read and write, grouped by what it belongs to."""

from typing import NamedTuple

import numpy as np

from ..jit import kernel
from ..neurons.model import NeuronArrays

GROUP = 8
"""Events advanced in one pass; the unrolled loops of ``groups`` are written for this number."""

N_FACTORS = 11
"""Columns of the factors of an event; see ``group_factors``."""


class Events(NamedTuple):
    """Input of a layer: arrivals, ms, sorted, padded to a multiple of GROUP by events of weight 0 at t_stop (at least
    one); their rows of the weights; their ``group_factors``."""

    times: np.ndarray
    rows: np.ndarray
    factors: np.ndarray


class Layer(NamedTuple):
    """A layer in blocks of neurons, which all share their time constants.

    weights : (n_blocks, pre + 1, width), the last row 0, for padding events
    neurons : (n_blocks width,) each; size : neurons without those that fill the last block
    """

    weights: np.ndarray
    neurons: NeuronArrays
    size: int


class States(NamedTuple):
    """States of a block at one instant, (width,) each, and what rounding them has lost."""

    u: np.ndarray
    rest: np.ndarray
    exc: np.ndarray
    rest_exc: np.ndarray
    inh: np.ndarray
    rest_inh: np.ndarray


class Block(NamedTuple):
    """The block that is being swept.

    now, new : before and after a group of events; they change places with each group
    top : bounds of u within a group; release : ends of refractoriness, ms; kept, kept_rest : input that refractory
    neurons keep; clamped : neurons held beyond the group; flagged : those to integrate event by event
    """

    now: States
    new: States
    top: np.ndarray
    release: np.ndarray
    kept: np.ndarray
    kept_rest: np.ndarray
    clamped: np.ndarray
    flagged: np.ndarray


# Progress of a layer, kept up to date so that a caller may enlarge the output, or look for an interrupt, and call
# again: next block, and spikes of those before it; of that block: events done, spikes so far, clamped neurons, and how
# many grazing peaks there were before it.
NEXT_BLOCK, N_SPIKES, N_EVENTS, N_FOUND, N_CLAMPED, GRAZING_BEFORE, N_PROGRESS = 0, 1, 2, 3, 4, 5, 6

FULL, DONE, ENDLESS, PAUSED = 0, 1, 2, 3
"""What the sweep returns. FULL : the spikes do not fit. ENDLESS : a neuron spikes for ever, at one instant or nearly
so. PAUSED : the budget is spent; call again to continue."""

UNLIMITED = 2**62
"""A budget that no sweep spends."""


@kernel
def _states(width):
    return States(
        np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
    )  # fmt: skip


@kernel
def block_arrays(width):
    """A Block of any content."""
    return Block(
        _states(width), _states(width), np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width),
        np.zeros(width + 1, np.int64), np.zeros(width + 1, np.int64),
    )  # fmt: skip
