"""What the window engine's kernels read and write: flat arrays, grouped by what they belong to."""

from typing import NamedTuple

import numpy as np

from ..neurons.model import NeuronArrays


class Neurons(NamedTuple):
    """One value per neuron; blocks are stretches of them. u, i_exc, i_inh are kept at the start of a cell.

    release : end of refractoriness, ms
    rest, rest_exc, rest_inh : what rounding u, i_exc and i_inh has lost, carried to the next cell: small cells are many
    """

    parameters: NeuronArrays
    u: np.ndarray
    rest: np.ndarray
    i_exc: np.ndarray
    i_inh: np.ndarray
    release: np.ndarray
    rest_exc: np.ndarray
    rest_inh: np.ndarray


class Blocks(NamedTuple):
    """One value per block: neurons ``first`` ... ``first + width - 1``, which share all time constants.

    flow : (n_blocks, N_FLOW) the flow over a cell: LOSS_M, LOSS_EXC, LOSS_INH (what decays lose) and PSP_EXC, PSP_INH,
    each followed by what rounding it has lost
    """

    first: np.ndarray
    width: np.ndarray
    tau_m: np.ndarray
    tau_exc: np.ndarray
    tau_inh: np.ndarray
    peak: np.ndarray
    n_receptors: np.ndarray
    keep_input: np.ndarray
    bundle_start: np.ndarray
    drive_start: np.ndarray
    cell: np.ndarray
    events: np.ndarray
    grazing: np.ndarray
    flow: np.ndarray


class SynapseGroups(NamedTuple):
    """One value per bundle: the synapses from a stretch of sources to one block.

    delay : ms, NaN where each synapse has its own; weight : NaN where each synapse has its own
    row : source s of the stretch owns the synapses ``starts[row + s]:starts[row + s + 1]`` after ``target_at``
    (``weight_at``, ``delay_at``); cursor : the first spike that has not been delivered
    """

    source_first: np.ndarray
    source_size: np.ndarray
    delay: np.ndarray
    weight: np.ndarray
    row: np.ndarray
    target_at: np.ndarray
    weight_at: np.ndarray
    delay_at: np.ndarray
    cursor: np.ndarray


class Table(NamedTuple):
    """The synapses. targets : uint16, counted from the block's first neuron."""

    starts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    delays: np.ndarray


class Drives(NamedTuple):
    """One value per Poisson drive of a stretch of a block's neurons; streams : (n, 3) uint64.

    table_at : where the alias table of unequal rates begins; -1 for equal rates
    """

    first: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    weight: np.ndarray
    streams: np.ndarray
    table_at: np.ndarray
    threshold: np.ndarray
    alias: np.ndarray


class Spikes(NamedTuple):
    """Spikes ordered by time: those fed in, and those found so far. Sources: inputs first, then neurons."""

    input_times: np.ndarray
    input_sources: np.ndarray
    times: np.ndarray
    sources: np.ndarray
    currents: np.ndarray


class WindowSpikes(NamedTuple):
    """Spikes of the present window, by block: (n_blocks, capacity); n : how many."""

    times: np.ndarray
    neurons: np.ndarray
    currents: np.ndarray
    n: np.ndarray


class Calendar(NamedTuple):
    """Arrivals of synapses with delays of their own, by block and cell: lists of chunks, one ring of lists a block.

    head, tail : (n_blocks, n_cells) chunk numbers; filled : (n_blocks, n_cells) arrivals in the last chunk;
    following : (n_blocks, n_chunks) the next chunk; free, n_free : stack of unused chunks;
    times, weights, targets : (n_blocks, n_chunks, CHUNK)
    """

    head: np.ndarray
    tail: np.ndarray
    filled: np.ndarray
    following: np.ndarray
    free: np.ndarray
    n_free: np.ndarray
    times: np.ndarray
    weights: np.ndarray
    targets: np.ndarray


class Scratch(NamedTuple):
    """A thread's own arrays, (width,) each, rewritten for every block and cell.

    up, down, base : sums of inputs, base then what rounding has lost; u_new, exc_new, inh_new, rest_exc, rest_inh :
    states at the cell's end; total_up ... lost_base : totals of complete parts of the sums
    top : bounds, then releases; mark : number of a chosen neuron, -1 for the others; chosen : those to walk;
    cursors, drive_counts : of the block's bundles and drives
    """

    up: np.ndarray
    down: np.ndarray
    base: np.ndarray
    u_new: np.ndarray
    exc_new: np.ndarray
    inh_new: np.ndarray
    top: np.ndarray
    mark: np.ndarray
    chosen: np.ndarray
    cursors: np.ndarray
    drive_counts: np.ndarray
    rest_exc: np.ndarray
    rest_inh: np.ndarray
    total_up: np.ndarray
    total_down: np.ndarray
    total_base: np.ndarray
    lost_base: np.ndarray


class Arrivals(NamedTuple):
    """A thread's own arrays, one place for every arrival of a cell; enlarged where they do not suffice.

    when, who : of a bundle; drive_when, drive_targets : of the drives; exc ... psp_inh : factors; slots, times,
    values, then sorted_times, sorted_values within borders : of the chosen neurons
    """

    when: np.ndarray
    who: np.ndarray
    exc: np.ndarray
    psp_exc: np.ndarray
    inh: np.ndarray
    psp_inh: np.ndarray
    drive_when: np.ndarray
    drive_targets: np.ndarray
    slots: np.ndarray
    times: np.ndarray
    values: np.ndarray
    sorted_times: np.ndarray
    sorted_values: np.ndarray
    borders: np.ndarray


LOSS_M, LOSS_EXC, PSP_EXC, LOSS_INH, PSP_INH, N_FLOW = 0, 2, 4, 6, 8, 10
"""Columns of the flow over a cell."""

CHUNK = 64
NO_CHUNK = -1

# Places in the control array; those that threads watch stand on cache lines of their own.
NEXT_BLOCK, REPORT, STATUS, CELL, N_SPIKES, ROOM, N_CONTROL = 0, 48, 64, 65, 66, 67, 80
"""ROOM : arrivals that there should be room for in a cell, by what there have been so far."""

RUNNING, FULL_FOUND, FULL_SPIKES, FULL_CALENDAR, FULL_EVENTS, STUCK, N_STATUS = 0, 1, 2, 3, 4, 5, 8
"""Why a block stops. FULL_FOUND + N_STATUS b : the room of block b; STUCK + N_STATUS k : neuron k would spike for ever
at one instant of the clock."""
