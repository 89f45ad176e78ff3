"""S-PSP: the part of a neuron's membrane potential, at its own spikes, that is due to one synapse.

For a unit weight from j to i, with V_j(t) = sum_f P(t - t_f) the potential that j's spikes would make
without reset, and that_p the release from the reset before the p-th spike of i (start: V_j = 0):

    e_ij = sum_p [ V_j(t_p) - V_j(that_p) exp(-(t_p - that_p)/tau_m) ]

V_j of all sources is read from two traces per source (potential and current), kept at a common origin
in time: a spike changes two numbers of its own source, and reading at t costs two factors for all. The
origins lie a fixed STEP apart, so that the factors of a sample can be prepared once for all blocks.
"""

import math

import numpy as np

from evsim._kernels.jit import formula, kernel
from evsim._kernels.neurons.lif import decay, psp
from evsim._kernels.sorting import sort_spikes


@formula
def origin_step(tau_m, tau_s):
    """Distance of the origins (ms): near enough that no digits are lost in coming back to the origin."""
    step = 20.0 * min(tau_m, tau_s)
    spread = abs(tau_m - tau_s) / (tau_m * tau_s)
    if spread * step > 1.0:
        step = 1.0 / spread
    return step


@kernel
def active_sources(neurons, column, active):
    """Number the sources that spike: column (n_pre,) gets their place or -1, active the sources."""
    column[:] = -1
    count = 0
    for k in range(neurons.size):
        j = neurons[k]
        if column[j] < 0:
            column[j] = 0
            count += 1
    count = 0
    for j in range(column.size):
        if column[j] == 0:
            column[j] = count
            active[count] = j
            count += 1
    return count


@kernel
def source_factors(times, jump_u, jump_i, origin, tau_m, tau_s):
    """What a spike adds to its source's traces at the origin before it; origin (n,) its number."""
    step = origin_step(tau_m, tau_s)
    for k in range(times.size):
        origin[k] = int(times[k] / step)
        x = times[k] - origin[k] * step
        jump_u[k] = psp(-x, tau_m, tau_s)
        jump_i[k] = math.exp(x / tau_s)


@kernel
def queries(
    times, neurons, t_ref, size, t_stop, tau_m, tau_s, block,
    q_time, q_neuron, q_u, q_i, q_origin, block_start,
):  # fmt: skip
    """Where V_j is read: at every spike, and at every release that a further spike follows.

    times, neurons : (m,) spikes of the layer, sorted; t_ref : (size,). Written, sorted by block of
    ``block`` neurons, then time: q_time, q_neuron, the factors q_u, q_i of the two traces (sign and decay
    included), q_origin (all (2 m,)), and block_start. Returns nothing; block_start[-1] is their number.
    """
    m = times.size
    step = origin_step(tau_m, tau_s)
    following = np.full(size, -1.0)
    raw_time = np.empty(2 * m)
    raw_neuron = np.empty(2 * m, np.int32)
    raw_weight = np.empty(2 * m)
    n = 0
    for p in range(m - 1, -1, -1):
        i = neurons[p]
        raw_time[n] = times[p]
        raw_neuron[n] = i
        raw_weight[n] = 1.0
        n += 1
        if following[i] >= 0.0:
            release = times[p] + t_ref[i]
            raw_time[n] = release
            raw_neuron[n] = i
            raw_weight[n] = -decay(following[i] - release, tau_m)
            n += 1
        following[i] = times[p]
    by_time = np.empty(n)
    by_neuron = np.empty(n, np.int32)
    by_weight = np.empty(n)
    sort_spikes(raw_time[:n], raw_neuron[:n], raw_weight[:n], 0.0, t_stop, by_time, by_neuron, by_weight)
    block_start[:] = 0
    for k in range(n):
        block_start[by_neuron[k] // block + 1] += 1
    for b in range(1, block_start.size):
        block_start[b] += block_start[b - 1]
    slot = block_start.copy()
    for k in range(n):
        b = by_neuron[k] // block
        s = slot[b]
        slot[b] += 1
        q_time[s] = by_time[k]
        q_neuron[s] = by_neuron[k]
        q_origin[s] = int(by_time[k] / step)
        y = by_time[k] - q_origin[s] * step
        q_u[s] = by_weight[k] * decay(y, tau_m)
        q_i[s] = by_weight[k] * psp(y, tau_m, tau_s)


@kernel
def prepare_samples(
    pre_times, pre_neurons, pre_offsets, post_times, post_neurons, post_offsets, t_ref,
    columns, jump_u, jump_i, origin, active, n_active,
    q_time, q_neuron, q_u, q_i, q_origin, block_starts,
    t_stop, tau_m, tau_s, block, first, last,
):  # fmt: skip
    """``active_sources``, ``source_factors`` and ``queries`` of samples first ... last - 1."""
    column = np.empty(active.shape[1], np.int64)
    for k in range(first, last):
        pre = slice(pre_offsets[k], pre_offsets[k + 1])
        post = slice(post_offsets[k], post_offsets[k + 1])
        ask = slice(2 * post_offsets[k], 2 * post_offsets[k + 1])
        n_active[k] = active_sources(pre_neurons[pre], column, active[k])
        for e in range(pre_offsets[k], pre_offsets[k + 1]):
            columns[e] = column[pre_neurons[e]]
        source_factors(pre_times[pre], jump_u[pre], jump_i[pre], origin[pre], tau_m, tau_s)
        queries(
            post_times[post], post_neurons[post], t_ref, t_ref.size, t_stop, tau_m, tau_s, block,
            q_time[ask], q_neuron[ask], q_u[ask], q_i[ask], q_origin[ask], block_starts[k],
        )  # fmt: skip


@kernel
def spsp_rows(
    pre_times, pre_columns, jump_u, jump_i, pre_origin,
    q_time, q_neuron, q_u, q_i, q_origin, trace_u, trace_i, rows,
    first_neuron, n_active, tau_m, tau_s,
):  # fmt: skip
    """S-PSPs of a block of neurons in one sample: rows (block, n_pre), first n_active columns written.

    pre_* : arrivals in order, columns as numbered by ``active_sources``; q_* : this block's queries.
    """
    step = origin_step(tau_m, tau_s)
    back_m = decay(step, tau_m)
    back_s = decay(step, tau_s)
    back_p = psp(step, tau_m, tau_s)
    trace_u[:n_active] = 0.0
    trace_i[:n_active] = 0.0
    rows[:, :n_active] = 0.0
    at = 0
    e = 0
    for q in range(q_time.size):
        t = q_time[q]
        while True:
            more = e < pre_times.size and pre_times[e] < t
            goal = pre_origin[e] if more else q_origin[q]
            while at < goal:
                for j in range(n_active):
                    trace_u[j] = trace_u[j] * back_m + trace_i[j] * back_p
                    trace_i[j] *= back_s
                at += 1
            if not more:
                break
            j = pre_columns[e]
            trace_u[j] += jump_u[e]
            trace_i[j] += jump_i[e]
            e += 1
        row = rows[q_neuron[q] - first_neuron]
        a = q_u[q]
        b = q_i[q]
        for j in range(n_active):
            row[j] += a * trace_u[j] + b * trace_i[j]


@kernel
def spsp_block(
    pre_offsets, pre_times, pre_columns, jump_u, jump_i, pre_origin, active_offsets, active,
    query_offsets, block_starts, q_time, q_neuron, q_u, q_i, q_origin, e,
    block_index, block, tau_m, tau_s,
):  # fmt: skip
    """S-PSPs of neurons ``block_index * block`` ... in all samples, into e (samples, n_post, n_pre), which is 0."""
    n_post = e.shape[1]
    n_pre = e.shape[2]
    first = block_index * block
    last = min(first + block, n_post)
    trace_u = np.empty(n_pre)
    trace_i = np.empty(n_pre)
    rows = np.empty((block, n_pre))
    for k in range(e.shape[0]):
        a0 = active_offsets[k]
        n_active = active_offsets[k + 1] - a0
        pre = slice(pre_offsets[k], pre_offsets[k + 1])
        qa = query_offsets[k] + block_starts[k, block_index]
        qb = query_offsets[k] + block_starts[k, block_index + 1]
        if qa == qb:
            continue
        spsp_rows(
            pre_times[pre], pre_columns[pre], jump_u[pre], jump_i[pre], pre_origin[pre],
            q_time[qa:qb], q_neuron[qa:qb], q_u[qa:qb], q_i[qa:qb], q_origin[qa:qb],
            trace_u, trace_i, rows, first, n_active, tau_m, tau_s,
        )  # fmt: skip
        for i in range(first, last):
            for j in range(n_active):
                e[k, i, active[a0 + j]] = rows[i - first, j]
