"""S-PSP: the part of a neuron's membrane potential, at its own spikes, that is due to one synapse.

For a unit weight from j to i, with V_j(t) = sum_f P(t - t_f) the potential that j's spikes would make
without reset, and that_p the release from the reset before the p-th spike of i (start: V_j = 0):

    e_ij = sum_p [ V_j(t_p) - V_j(that_p) exp(-(t_p - that_p)/tau_m) ]

V_j of all sources is read from two traces per source (potential and current), kept at a common origin
in time: a spike changes two numbers of its own source, and reading at t costs two factors for all. The
origins lie a fixed STEP apart, so that the factors of a sample can be prepared once for all blocks.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import formula, kernel, leaf, stage
from evsim._kernels.neurons.lif import decay, psp
from evsim._kernels.sorting import sort_spikes


class Arrivals(NamedTuple):
    """Arrivals, sample after sample as in ``Batch``. columns : number of the source among those of the sample that
    spike; jump_u, jump_i : what the spike adds to its source's traces at the origin before it; origin : its number."""

    offsets: np.ndarray
    times: np.ndarray
    columns: np.ndarray
    jump_u: np.ndarray
    jump_i: np.ndarray
    origin: np.ndarray


class Queries(NamedTuple):
    """Where V_j is read: at every spike, and at every release that a further spike follows.

    Sample k's begin at ``offsets[k]``, there block b's at ``block_starts[k, b]``, each block's sorted by time. u, i :
    factors of the two traces, sign and decay included; origin : number of the origin before
    """

    offsets: np.ndarray
    block_starts: np.ndarray
    time: np.ndarray
    neuron: np.ndarray
    u: np.ndarray
    i: np.ndarray
    origin: np.ndarray


class PreparedBatch(NamedTuple):
    """Pre- and postsynaptic spikes of a layer as traces and queries.

    active_offsets, active : sources that spike, sample after sample; block : neurons that share a block
    """

    arrivals: Arrivals
    queries: Queries
    active_offsets: np.ndarray
    active: np.ndarray
    tau_m: float
    tau_s: float
    block: int

    @property
    def n_blocks(self) -> int:
        """Blocks of neurons."""
        return self.queries.block_starts.shape[1] - 1


class Rows(NamedTuple):
    """Room for the traces of the active sources, (n_pre,), and S-PSPs of a block's neurons, (block, n_pre)."""

    trace_u: np.ndarray
    trace_i: np.ndarray
    spsp: np.ndarray


@formula
def origin_step(tau_m, tau_s):
    """Distance of the origins (ms): near enough that no digits are lost in coming back to the origin."""
    step = 20.0 * min(tau_m, tau_s)
    spread = abs(tau_m - tau_s) / (tau_m * tau_s)
    if spread * step > 1.0:
        step = 1.0 / spread
    return step


@leaf
def _number_sources(neurons, first, last, column, active):
    """Number the sources of spikes ``first`` ... ``last - 1``: column (n_pre,) gets their place or -1, active the
    sources; returns how many."""
    column[:] = -1
    for k in range(first, last):
        column[neurons[k]] = 0
    count = 0
    for j in range(column.size):
        if column[j] == 0:
            column[j] = count
            active[count] = j
            count += 1
    return count


@leaf
def _fill_jumps(arrivals, first, last, tau_m, tau_s):
    """What spikes ``first`` ... ``last - 1`` add to their sources' traces."""
    step = origin_step(tau_m, tau_s)
    for k in range(first, last):
        origin = int(arrivals.times[k] / step)
        x = arrivals.times[k] - origin * step
        arrivals.origin[k] = origin
        arrivals.jump_u[k] = psp(-x, tau_m, tau_s)
        arrivals.jump_i[k] = math.exp(x / tau_s)


@leaf
def find_queries(spikes, first, last, t_ref, tau_m, following, times, neurons, weights):
    """Queries of spikes ``first`` ... ``last - 1``, later spikes first; returns their number.

    following : (n,), scratch; written: times, neurons, weights, the trace's share at the time of the spike
    """
    following[:] = -1.0
    n = 0
    for p in range(last - 1, first - 1, -1):
        i = spikes.neurons[p]
        t = spikes.times[p]
        times[n], neurons[n], weights[n] = t, i, 1.0
        n += 1
        if following[i] >= 0.0:
            # The reset takes away what the trace is at the release, of which this is left at the next spike.
            release = t + t_ref[i]
            times[n], neurons[n], weights[n] = release, i, -decay(following[i] - release, tau_m)
            n += 1
        following[i] = t
    return n


@leaf
def _by_block(queries, base, starts, slot, times, neurons, weights, tau_m, tau_s, block):
    """Write sorted queries, from number ``base`` on, by block; starts : (n_blocks + 1,), written; slot : scratch."""
    step = origin_step(tau_m, tau_s)
    starts[:] = 0
    for k in range(times.size):
        starts[neurons[k] // block + 1] += 1
    for b in range(1, starts.size):
        starts[b] += starts[b - 1]
    for b in range(starts.size):
        slot[b] = starts[b]
    for k in range(times.size):
        b = neurons[k] // block
        s = base + slot[b]
        slot[b] += 1
        origin = int(times[k] / step)
        y = times[k] - origin * step
        queries.time[s] = times[k]
        queries.neuron[s] = neurons[k]
        queries.origin[s] = origin
        queries.u[s] = weights[k] * decay(y, tau_m)
        queries.i[s] = weights[k] * psp(y, tau_m, tau_s)


@kernel
def prepare_samples(inputs, spikes, t_ref, arrivals, queries, active, n_active, t_stop, taus, block, first, last):
    """Write the arrivals and queries of samples ``first`` ... ``last - 1``, and their active sources.

    inputs : Batch of the arrivals, whose times and offsets ``arrivals`` has; spikes : Batch of the layer; t_ref : (n,)
    active, n_active : (samples, n_pre), (samples,), written; taus : tau_m, tau_s
    """
    tau_m, tau_s = taus
    column = np.empty(active.shape[1], np.int64)
    following = np.empty(t_ref.size)
    slot = np.empty(queries.block_starts.shape[1], np.int64)
    for k in range(first, last):
        a, b = inputs.offsets[k], inputs.offsets[k + 1]
        n_active[k] = _number_sources(inputs.neurons, a, b, column, active[k])
        for e in range(a, b):
            arrivals.columns[e] = column[inputs.neurons[e]]
        _fill_jumps(arrivals, a, b, tau_m, tau_s)
        a, b = spikes.offsets[k], spikes.offsets[k + 1]
        room = 2 * (b - a)
        times, neurons, weights = np.empty(room), np.empty(room, np.int32), np.empty(room)
        n = find_queries(spikes, a, b, t_ref, tau_m, following, times, neurons, weights)
        by_time, by_neuron, by_weight = np.empty(n), np.empty(n, np.int32), np.empty(n)
        sort_spikes(times[:n], neurons[:n], weights[:n], 0.0, t_stop, by_time, by_neuron, by_weight)
        _by_block(
            queries, queries.offsets[k], queries.block_starts[k], slot, by_time, by_neuron, by_weight, tau_m, tau_s,
            block,
        )  # fmt: skip


@stage
def _read(rows, row, factor_u, factor_i, n_active):
    """Add what the traces are to a neuron's S-PSPs."""
    for j in range(n_active):
        row[j] += factor_u * rows.trace_u[j] + factor_i * rows.trace_i[j]


@leaf
def spsp_rows(sample, block_index, prepared, n_active, rows):
    """S-PSPs of a block of neurons in one sample: rows.spsp, of which the first n_active columns are written."""
    arrivals, queries = prepared.arrivals, prepared.queries
    tau_m, tau_s = prepared.tau_m, prepared.tau_s
    step = origin_step(tau_m, tau_s)
    back_m = decay(step, tau_m)
    back_s = decay(step, tau_s)
    back_p = psp(step, tau_m, tau_s)
    trace_u, trace_i = rows.trace_u, rows.trace_i
    trace_u[:n_active] = 0.0
    trace_i[:n_active] = 0.0
    rows.spsp[:, :n_active] = 0.0
    at = 0
    e, last = arrivals.offsets[sample], arrivals.offsets[sample + 1]
    base = queries.offsets[sample]
    for q in range(
        base + queries.block_starts[sample, block_index], base + queries.block_starts[sample, block_index + 1]
    ):
        t = queries.time[q]
        while True:
            more = e < last and arrivals.times[e] < t
            goal = arrivals.origin[e] if more else queries.origin[q]
            while at < goal:
                for j in range(n_active):
                    trace_u[j] = trace_u[j] * back_m + trace_i[j] * back_p
                    trace_i[j] *= back_s
                at += 1
            if not more:
                break
            j = arrivals.columns[e]
            trace_u[j] += arrivals.jump_u[e]
            trace_i[j] += arrivals.jump_i[e]
            e += 1
        _read(rows, rows.spsp[queries.neuron[q] - block_index * prepared.block], queries.u[q], queries.i[q], n_active)


@leaf
def _put_rows(sample, block_index, prepared, n_active, rows, e):
    """Rows of a sample's block to their neurons and sources; e : (n_post, n_pre)."""
    first = block_index * prepared.block
    last = min(first + prepared.block, e.shape[0])
    a0 = prepared.active_offsets[sample]
    for i in range(first, last):
        for j in range(n_active):
            e[i, prepared.active[a0 + j]] = rows.spsp[i - first, j]


@kernel
def spsp_block(prepared, block_index, e):
    """S-PSPs of neurons ``block_index * block`` ... in all samples, into e (samples, n_post, n_pre), which is 0."""
    n_pre = e.shape[2]
    rows = Rows(np.empty(n_pre), np.empty(n_pre), np.empty((prepared.block, n_pre)))
    starts = prepared.queries.block_starts
    for k in range(e.shape[0]):
        n_active = prepared.active_offsets[k + 1] - prepared.active_offsets[k]
        if starts[k, block_index] < starts[k, block_index + 1]:
            spsp_rows(k, block_index, prepared, n_active, rows)
            _put_rows(k, block_index, prepared, n_active, rows, e[k])
