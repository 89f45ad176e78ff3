"""What the kernels of the queue read and write: flat arrays, grouped by what they belong to."""

from typing import NamedTuple

import numpy as np


class Synapses(NamedTuple):
    """Source s (inputs first, then neurons) owns the groups ``group_start[s]:group_start[s + 1]``, sorted by (delay,
    level), and group g the synapses ``start[g]:start[g + 1]``: their target neurons and weights."""

    group_start: np.ndarray
    group_delay: np.ndarray
    group_level: np.ndarray
    start: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class State(NamedTuple):
    """One value per neuron, valid at ``valid_at``; a refractory neuron's is kept at its release.

    bound : of its next spike, ms, from below; solved : it is the spike itself
    key, heap, position : the heap of neurons
    rest : (n, N_RESTS) what rounding u, i_exc and i_inh has lost; anchor : (n, N_ANCHOR)
    """

    u: np.ndarray
    i_exc: np.ndarray
    i_inh: np.ndarray
    valid_at: np.ndarray
    bound: np.ndarray
    solved: np.ndarray
    key: np.ndarray
    heap: np.ndarray
    position: np.ndarray
    rest: np.ndarray
    anchor: np.ndarray


class Deliveries(NamedTuple):
    """The heap of deliveries: when, of which spike, at which level, of which source, to which of its groups."""

    times: np.ndarray
    spike: np.ndarray
    level: np.ndarray
    source: np.ndarray
    group: np.ndarray


class Scratch(NamedTuple):
    """Targets of an instant; stamp : all 0 between two instants."""

    touched: np.ndarray
    stamp: np.ndarray


# Columns of the rests: what rounding u, i_exc and i_inh has lost.
POTENTIAL, EXC, INH, N_RESTS = 0, 1, 2, 3

# Columns of the anchors: the currents, with their rests, at the latest arrival, and since when (ms; OUTDATED: another
# arrival has come since). A neuron's own spikes change no current: after each it is taken from there in one step, since
# steps of regular spikes would repeat the same rounding error.
SINCE, EXC_AT, EXC_REST, INH_AT, INH_REST, N_ANCHOR = 0, 1, 2, 3, 4, 5
OUTDATED = -1.0

# Counters that survive between calls, so that a full buffer can be enlarged and the run resumed.
N_HEAP, N_QUEUE, NEXT_INPUT, N_SPIKES, N_EVENTS, N_GRAZING, N_COUNTERS = 0, 1, 2, 3, 4, 5, 6

DONE, FULL_QUEUE, FULL_SPIKES, PAUSED, STUCK = 0, 1, 2, 3, 4
"""Why a run stops. FULL_QUEUE, FULL_SPIKES : a buffer must be enlarged; PAUSED : the budget of one call is spent; in
all three cases call again. STUCK : the first neuron of the heap would spike for ever at one instant of the clock."""
