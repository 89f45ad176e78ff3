"""EventProp on any network: the adjoint, event by event backwards, from recorded spikes.

Events are the network's spikes, the ends of refractoriness and the arrivals; they are laid out in the order in which
the queue takes them and visited from the last to the first. Sums run in that order: the result is the same, to the bit,
however samples are put on threads.
"""

import math

import numpy as np

from evsim._kernels.jit import kernel, leaf
from evsim._kernels.neurons.lif import decay

from .adjoint import adjoint_k, weighted_convolution

OK, TIED_KICKS = 0, 1

SPIKE, RELEASE, ARRIVAL, KICKED = 0, 1, 2, 3

# Rows of the adjoint state of a neuron.
AT, LAM_V, LAM_EXC, LAM_INH, NN, M_EXC, M_INH, B_EXC, B_INH, HELD_N, HELD_V, HELD_UNTIL, N_ROWS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
)  # fmt: skip

# Rows of the gradient of a neuron's parameters.
D_THETA, D_RESET, D_INIT, D_TAU_M, D_TAU_EXC, D_TAU_INH, D_T_REF, N_PARAMETERS = 0, 1, 2, 3, 4, 5, 6, 7


@leaf
def _go_back(state, n, t, tau_m, tau_exc, tau_inh, n_receptors, with_taus):
    """Carry the adjoint of neuron n back to time t."""
    s = state[AT, n] - t
    state[AT, n] = t
    if s <= 0.0:
        return
    lam = state[LAM_V, n]
    em = math.exp(-s / tau_m)
    for r in range(n_receptors):
        tau = tau_inh if r == 1 else tau_exc
        es = math.exp(-s / tau)
        k = adjoint_k(s, tau_m, tau) if lam != 0.0 or with_taus else 0.0
        i = state[LAM_EXC + r, n]
        if with_taus:
            state[B_EXC + r, n] = (
                state[B_EXC + r, n] * es + state[NN, n] * tau * k + lam * weighted_convolution(s, tau_m, tau)
            )
            state[M_EXC + r, n] = (
                state[M_EXC + r, n] * es + i * s * es + lam * weighted_convolution(s, tau, tau_m) / tau
            )
        state[LAM_EXC + r, n] = i * es + lam * k
    if with_taus:
        state[NN, n] = (state[NN, n] + s * lam) * em
    state[LAM_V, n] = lam * em


@kernel
def lay_out(
    times, sources, n_inputs, level, n_receptors, t_ref, group_start, group_delay, group_level, n_levels, t_stop
):
    """Events of one sample in the order of the queue: (when, kind, spike, group), one array each.

    times, sources : (n_spikes,) of inputs and neurons together. A spike of a neuron with delta synapses comes after
    the arrivals of its instant, which are what made it fire.
    """
    n = 0
    for k in range(times.size):
        n += 2 + group_start[sources[k] + 1] - group_start[sources[k]]
    when = np.empty(n)
    kind = np.empty(n, np.int8)
    spike = np.empty(n, np.int64)
    group = np.empty(n, np.int64)
    n = 0
    for lv in range(n_levels):
        for step in (SPIKE, RELEASE, ARRIVAL, KICKED):
            for k in range(times.size):
                source = sources[k]
                neuron = source - n_inputs
                if step == ARRIVAL:
                    for g in range(group_start[source], group_start[source + 1]):
                        t = times[k] + group_delay[g]
                        if group_level[g] == lv and t < t_stop:
                            when[n], kind[n], spike[n], group[n] = t, step, k, g
                            n += 1
                elif neuron >= 0 and level[neuron] == lv:
                    delta = n_receptors[neuron] == 0
                    if step == RELEASE:
                        t = times[k] + t_ref[neuron]
                        # A delta neuron without refractoriness is released after the kicks that made it fire.
                        if t < t_stop and not (delta and t == times[k]):
                            when[n], kind[n], spike[n], group[n] = t, step, k, -1
                            n += 1
                    elif (step == KICKED) == delta:
                        when[n], kind[n], spike[n], group[n] = times[k], step, k, -1
                        n += 1
                        if delta and times[k] + t_ref[neuron] == times[k]:
                            when[n], kind[n], spike[n], group[n] = times[k], RELEASE, k, -1
                            n += 1
    order = np.argsort(when[:n], kind="mergesort")
    return when[order], kind[order], spike[order], group[order]


@kernel
def currents_at_release(
    when, kind, spike, group, sources, n_inputs, synapse_start, target, weight, tau_exc, tau_inh, n_receptors,
    at_spike, at_release,
):  # fmt: skip
    """Total synaptic current at each neuron's spike and at the release after it, forward through the events."""
    n_neurons = tau_exc.size
    at = np.zeros(n_neurons)
    exc = np.zeros(n_neurons)
    inh = np.zeros(n_neurons)
    for e in range(when.size):
        t = when[e]
        if kind[e] == ARRIVAL:
            for s in range(synapse_start[group[e]], synapse_start[group[e] + 1]):
                n = target[s]
                if n_receptors[n] == 0:
                    continue
                exc[n] *= decay(t - at[n], tau_exc[n])
                inh[n] *= decay(t - at[n], tau_inh[n])
                at[n] = t
                if n_receptors[n] == 1 or weight[s] > 0.0:
                    exc[n] += weight[s]
                else:
                    inh[n] += weight[s]
        else:
            n = sources[spike[e]] - n_inputs
            total = exc[n] * decay(t - at[n], tau_exc[n]) + inh[n] * decay(t - at[n], tau_inh[n])
            if kind[e] == RELEASE:
                at_release[spike[e]] = total
            else:
                at_spike[spike[e]] = total


@kernel
def adjoint_events(
    times, sources, signal, n_inputs, t_stop,
    theta, u_reset, u_init, t_ref, tau_m, tau_exc, tau_inh, n_receptors, keep_input, level, n_levels,
    group_start, group_delay, group_level, synapse_start, target, weight, min_slope, with_taus,
    d_time, d_weight, d_delay, d_neuron, trouble,
):  # fmt: skip
    """Gradients of one sample, added to d_weight, d_delay (n_synapses,), d_neuron (N_PARAMETERS, n_neurons).

    times, sources : (n_spikes,) spikes of inputs and neurons, inputs first or mixed, in any order within an instant
    signal : (n_spikes,) dL/dt of each spike from the loss; d_time : (n_spikes,) written, the total derivative
    min_slope : least tau_m dv/dt at threshold that is divided by; with_taus : time constants too
    trouble : (2,) written if TIED_KICKS is returned: time, neuron
    """
    when, kind, spike, group = lay_out(
        times, sources, n_inputs, level, n_receptors, t_ref, group_start, group_delay, group_level, n_levels, t_stop
    )
    at_spike = np.zeros(times.size)
    at_release = np.zeros(times.size)
    currents_at_release(
        when, kind, spike, group, sources, n_inputs, synapse_start, target, weight, tau_exc, tau_inh, n_receptors,
        at_spike, at_release,
    )  # fmt: skip
    n_neurons = theta.size
    state = np.zeros((N_ROWS, n_neurons))
    state[AT, :] = t_stop
    held = np.zeros(n_neurons, np.bool_)
    pending = np.full(n_neurons, -1)
    kicks = np.zeros(n_neurons, np.int64)
    d_time[:] = signal
    for e in range(when.size - 1, -1, -1):
        t = when[e]
        k = spike[e]
        if kind[e] == ARRIVAL:
            for s in range(synapse_start[group[e]], synapse_start[group[e] + 1]):
                n = target[s]
                w = weight[s]
                if n_receptors[n] == 0:
                    _settle(n, t, pending, kicks, state, times, d_time, theta, tau_m, d_neuron, min_slope)
                    if pending[n] >= 0:
                        kicks[n] += 1
                        if kicks[n] > 1:
                            trouble[0], trouble[1] = t, n
                            return TIED_KICKS
                        d_time[k] += d_time[pending[n]]
                        d_delay[s] += d_time[pending[n]]
                        continue
                    if held[n]:
                        if keep_input[n]:
                            x = state[HELD_UNTIL, n] - t
                            effect = -state[HELD_V, n] * decay(x, tau_m[n])
                            d_weight[s] += tau_m[n] * effect
                            d_time[k] += w * effect
                            d_delay[s] += w * effect
                            if with_taus:
                                d_neuron[D_TAU_M, n] += w * effect * x / tau_m[n]
                                d_neuron[D_TAU_M, n] -= w * decay(x, tau_m[n]) * state[HELD_N, n] / tau_m[n]
                        continue
                    _go_back(state, n, t, tau_m[n], tau_exc[n], tau_inh[n], 0, with_taus)
                    d_weight[s] -= tau_m[n] * state[LAM_V, n]
                    d_time[k] -= w * state[LAM_V, n]
                    d_delay[s] -= w * state[LAM_V, n]
                    d_neuron[D_TAU_M, n] -= w * state[NN, n] / tau_m[n]
                    continue
                _go_back(state, n, t, tau_m[n], tau_exc[n], tau_inh[n], n_receptors[n], with_taus)
                r = 1 if n_receptors[n] == 2 and w < 0.0 else 0
                tau = tau_inh[n] if r == 1 else tau_exc[n]
                lam_i = state[LAM_EXC + r, n]
                effect = w * (state[LAM_V, n] - lam_i)
                d_weight[s] -= tau * lam_i
                d_time[k] += effect
                d_delay[s] += effect
                if with_taus:
                    d_neuron[D_TAU_EXC + r, n] -= w * state[M_EXC + r, n] / tau
                    d_neuron[D_TAU_M, n] += w / tau_m[n] * (tau * lam_i - state[B_EXC + r, n] / tau_m[n])
            continue
        n = sources[k] - n_inputs
        if n_receptors[n] == 0:
            _settle(n, t, pending, kicks, state, times, d_time, theta, tau_m, d_neuron, min_slope)
        _go_back(state, n, t, tau_m[n], tau_exc[n], tau_inh[n], n_receptors[n], with_taus)
        if kind[e] == RELEASE:
            lam = state[LAM_V, n]
            if pending[n] >= 0:
                # Kept kicks made it fire at its release: that spike moves with the release.
                effect = d_time[pending[n]]
                pending[n] = -1
                kicks[n] = 0
                lam = 0.0
                state[NN, n] = 0.0
            else:
                effect = lam * (at_release[k] - u_reset[n])
            d_time[k] += effect
            d_neuron[D_T_REF, n] += effect
            d_neuron[D_RESET, n] -= tau_m[n] * lam
            d_neuron[D_TAU_M, n] -= u_reset[n] * state[NN, n] / tau_m[n]
            state[HELD_V, n] = lam
            state[HELD_UNTIL, n] = t
            state[HELD_N, n] = state[NN, n]
            state[LAM_V, n] = state[NN, n] = 0.0
            held[n] = True
            continue
        held[n] = False
        if n_receptors[n] == 0:
            pending[n] = k
            kicks[n] = 0
        elif not (t == 0.0 and u_init[n] >= theta[n]):
            _cross(n, k, at_spike[k], state, d_time, theta, tau_m, d_neuron, min_slope)
    for n in range(n_neurons):
        if pending[n] >= 0:
            if times[pending[n]] == 0.0 and u_init[n] >= theta[n]:
                continue
            _settle(n, -1.0, pending, kicks, state, times, d_time, theta, tau_m, d_neuron, min_slope)
        _go_back(state, n, 0.0, tau_m[n], tau_exc[n], tau_inh[n], n_receptors[n], with_taus)
        d_neuron[D_INIT, n] -= tau_m[n] * state[LAM_V, n]
        d_neuron[D_TAU_M, n] -= u_init[n] * state[NN, n] / tau_m[n]
    return OK


@leaf
def _cross(n, k, current, state, d_time, theta, tau_m, d_neuron, min_slope):
    """lam_V just before spike k of neuron n, which crossed the threshold on its own."""
    lam = d_time[k] / max(current - theta[n], min_slope)
    state[LAM_V, n] = lam
    d_neuron[D_THETA, n] += tau_m[n] * lam


@leaf
def _settle(n, t, pending, kicks, state, times, d_time, theta, tau_m, d_neuron, min_slope):
    """A waiting spike of a delta neuron, once all events of its instant are seen: no kick means it crossed."""
    k = pending[n]
    if k < 0 or times[k] == t:
        return
    if kicks[n] == 0:
        _cross(n, k, 0.0, state, d_time, theta, tau_m, d_neuron, min_slope)
    pending[n] = -1
    kicks[n] = 0


@kernel
def adjoint_samples(
    in_times, in_neurons, in_offsets, out_times, out_neurons, out_offsets, signal, first, last, t_stop,
    theta, u_reset, u_init, t_ref, tau_m, tau_exc, tau_inh, n_receptors, keep_input, level, n_levels,
    group_start, group_delay, group_level, synapse_start, target, weight, min_slope, with_taus,
    d_input, d_weight, d_delay, d_neuron, trouble,
):  # fmt: skip
    """``adjoint_events`` for samples ``first`` ... ``last - 1`` of a layer, one after the other.

    n_inputs = the size of the layer's input; signal : of the output spikes; d_input : of the input spikes, written
    """
    n_inputs = group_start.size - 1 - theta.size
    for k in range(first, last):
        a, b = in_offsets[k], in_offsets[k + 1]
        c, d = out_offsets[k], out_offsets[k + 1]
        n = b - a
        times = np.concatenate((in_times[a:b], out_times[c:d]))
        sources = np.empty(times.size, np.int64)
        sources[:n] = in_neurons[a:b]
        sources[n:] = out_neurons[c:d]
        sources[n:] += n_inputs
        mine = np.zeros(times.size)
        mine[n:] = signal[c:d]
        d_time = np.empty(times.size)
        status = adjoint_events(
            times, sources, mine, n_inputs, t_stop,
            theta, u_reset, u_init, t_ref, tau_m, tau_exc, tau_inh, n_receptors, keep_input, level, n_levels,
            group_start, group_delay, group_level, synapse_start, target, weight, min_slope, with_taus,
            d_time, d_weight, d_delay, d_neuron, trouble,
        )  # fmt: skip
        if status != OK:
            return status
        d_input[a:b] = d_time[:n]
    return OK
