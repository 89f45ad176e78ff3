"""EventProp on any network: the adjoint, event by event backwards, from recorded spikes.

The events of ``event_order`` are visited from the last to the first. Sums run in that order: the result is the same, to
the bit, however samples are put on threads.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.lif import decay

from .adjoint import adjoint_k, weighted_convolution
from .event_order import ARRIVAL, RELEASE, Spikes, currents_at_events, lay_out

OK, TIED_KICKS = 0, 1

# Rows of the adjoint state of a neuron.
AT, LAM_V, LAM_EXC, LAM_INH, NN, M_EXC, M_INH, B_EXC, B_INH, HELD_N, HELD_V, HELD_UNTIL, N_ROWS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
)  # fmt: skip

# Rows of the gradient of a neuron's parameters.
D_THETA, D_RESET, D_INIT, D_TAU_M, D_TAU_EXC, D_TAU_INH, D_T_REF, N_PARAMETERS = 0, 1, 2, 3, 4, 5, 6, 7


class Gradient(NamedTuple):
    """dL/dt of each spike, written; weight, delay : (n_synapses,); neuron : (N_PARAMETERS, n), added to."""

    time: np.ndarray
    weight: np.ndarray
    delay: np.ndarray
    neuron: np.ndarray


class _Adjoint(NamedTuple):
    """State of the way back. state : (N_ROWS, n); held : (n,), is the neuron refractory.

    Of delta neurons, (n,): pending : the spike at whose instant the way back is, -1 at none; kicks : arrivals at that
    instant so far. Only once all of them are passed is it known whether one made the neuron fire.
    """

    state: np.ndarray
    held: np.ndarray
    pending: np.ndarray
    kicks: np.ndarray


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


@stage
def _cross(n, k, current, neurons, adjoint, gradient, min_slope):
    """lam_V just before spike k of neuron n, which crossed the threshold on its own."""
    lam = gradient.time[k] / max(current - neurons.theta[n], min_slope)
    adjoint.state[LAM_V, n] = lam
    gradient.neuron[D_THETA, n] += neurons.tau_m[n] * lam


@stage
def _settle(n, neurons, adjoint, gradient, min_slope):
    """The waiting spike of a delta neuron, once all events of its instant are seen: no kick means it crossed."""
    if adjoint.kicks[n] == 0:
        _cross(n, adjoint.pending[n], 0.0, neurons, adjoint, gradient, min_slope)
    adjoint.pending[n] = -1
    adjoint.kicks[n] = 0


@stage
def _kick_held(s, n, k, t, w, neurons, adjoint, gradient, with_taus):
    """A kick while its neuron is held, by spike k through synapse s: what is kept of it at the release counts."""
    state = adjoint.state
    tau_m = neurons.tau_m[n]
    x = state[HELD_UNTIL, n] - t
    effect = -state[HELD_V, n] * decay(x, tau_m)
    gradient.weight[s] += tau_m * effect
    gradient.time[k] += w * effect
    gradient.delay[s] += w * effect
    if with_taus:
        gradient.neuron[D_TAU_M, n] += w * effect * x / tau_m
        gradient.neuron[D_TAU_M, n] -= w * decay(x, tau_m) * state[HELD_N, n] / tau_m


@stage
def _kick(s, n, k, t, w, neurons, adjoint, gradient, with_taus):
    """A kick of the potential at t, by spike k through synapse s; returns OK or TIED_KICKS."""
    if adjoint.pending[n] >= 0:
        # It made the neuron fire, whose spike moves with it.
        adjoint.kicks[n] += 1
        gradient.time[k] += gradient.time[adjoint.pending[n]]
        gradient.delay[s] += gradient.time[adjoint.pending[n]]
        return OK if adjoint.kicks[n] == 1 else TIED_KICKS
    if adjoint.held[n]:
        if neurons.keep_input[n]:
            _kick_held(s, n, k, t, w, neurons, adjoint, gradient, with_taus)
        return OK
    _go_back(adjoint.state, n, t, neurons.tau_m[n], neurons.tau_exc[n], neurons.tau_inh[n], 0, with_taus)
    lam_v = adjoint.state[LAM_V, n]
    gradient.weight[s] -= neurons.tau_m[n] * lam_v
    gradient.time[k] -= w * lam_v
    gradient.delay[s] -= w * lam_v
    gradient.neuron[D_TAU_M, n] -= w * adjoint.state[NN, n] / neurons.tau_m[n]
    return OK


@stage
def _start_current(s, n, k, t, w, neurons, adjoint, gradient, with_taus):
    """A spike's current starts at t, by spike k through synapse s."""
    state = adjoint.state
    receptors = neurons.declared[n]
    _go_back(state, n, t, neurons.tau_m[n], neurons.tau_exc[n], neurons.tau_inh[n], receptors, with_taus)
    r = 1 if receptors == 2 and w < 0.0 else 0
    tau = neurons.tau_inh[n] if r == 1 else neurons.tau_exc[n]
    lam_i = state[LAM_EXC + r, n]
    effect = w * (state[LAM_V, n] - lam_i)
    gradient.weight[s] -= tau * lam_i
    gradient.time[k] += effect
    gradient.delay[s] += effect
    if with_taus:
        tau_m = neurons.tau_m[n]
        gradient.neuron[D_TAU_EXC + r, n] -= w * state[M_EXC + r, n] / tau
        gradient.neuron[D_TAU_M, n] += w / tau_m * (tau * lam_i - state[B_EXC + r, n] / tau_m)


@stage
def _release(n, k, t, current, neurons, adjoint, gradient):
    """Back through the release of neuron n after its spike k: nothing before it reaches the potential after it."""
    state = adjoint.state
    tau_m, u_reset = neurons.tau_m[n], neurons.u_reset[n]
    lam = state[LAM_V, n]
    if adjoint.pending[n] >= 0:
        # Kept kicks made it fire at its release: that spike moves with the release.
        effect = gradient.time[adjoint.pending[n]]
        adjoint.pending[n] = -1
        adjoint.kicks[n] = 0
        lam = 0.0
        state[NN, n] = 0.0
    else:
        effect = lam * (current - u_reset)
    gradient.time[k] += effect
    gradient.neuron[D_T_REF, n] += effect
    gradient.neuron[D_RESET, n] -= tau_m * lam
    gradient.neuron[D_TAU_M, n] -= u_reset * state[NN, n] / tau_m
    state[HELD_V, n] = lam
    state[HELD_UNTIL, n] = t
    state[HELD_N, n] = state[NN, n]
    state[LAM_V, n] = state[NN, n] = 0.0
    adjoint.held[n] = True


@stage
def _fire(n, k, t, current, neurons, adjoint, gradient, min_slope):
    """Back through spike k of neuron n at t."""
    adjoint.held[n] = False
    if neurons.declared[n] == 0:
        adjoint.pending[n] = k
        adjoint.kicks[n] = 0
    elif not (t == 0.0 and neurons.u_init[n] >= neurons.theta[n]):
        # A neuron that starts above its threshold fires at 0, whatever its input.
        _cross(n, k, current, neurons, adjoint, gradient, min_slope)


@leaf
def _back_through(
    events, spikes, currents, network, adjoint, gradient, trouble, n_inputs, min_slope, with_taus
):  # fmt: skip
    """All events of a sample, from the last to the first; returns OK or TIED_KICKS."""
    neurons, synapses = network.neurons, network.synapses
    for e in range(events.when.size - 1, -1, -1):
        t = events.when[e]
        k = events.spike[e]
        if events.kind[e] == ARRIVAL:
            g = events.group[e]
            for s in range(synapses.start[g], synapses.start[g + 1]):
                n = synapses.target[s]
                w = synapses.weight[s]
                if neurons.declared[n] > 0:
                    _start_current(s, n, k, t, w, neurons, adjoint, gradient, with_taus)
                    continue
                if adjoint.pending[n] >= 0 and spikes.times[adjoint.pending[n]] != t:
                    _settle(n, neurons, adjoint, gradient, min_slope)
                if _kick(s, n, k, t, w, neurons, adjoint, gradient, with_taus) != OK:
                    trouble[0], trouble[1] = t, n
                    return TIED_KICKS
            continue
        n = spikes.sources[k] - n_inputs
        receptors = neurons.declared[n]
        if receptors == 0 and adjoint.pending[n] >= 0 and spikes.times[adjoint.pending[n]] != t:
            _settle(n, neurons, adjoint, gradient, min_slope)
        _go_back(adjoint.state, n, t, neurons.tau_m[n], neurons.tau_exc[n], neurons.tau_inh[n], receptors, with_taus)
        if events.kind[e] == RELEASE:
            _release(n, k, t, currents.at_release[k], neurons, adjoint, gradient)
        else:
            _fire(n, k, t, currents.at_spike[k], neurons, adjoint, gradient, min_slope)
    return OK


@leaf
def _back_to_start(spikes, neurons, adjoint, gradient, min_slope, with_taus):
    """From the first event of each neuron to 0 ms: what the initial potential does."""
    for n in range(neurons.theta.size):
        k = adjoint.pending[n]
        if k >= 0:
            if spikes.times[k] == 0.0 and neurons.u_init[n] >= neurons.theta[n]:
                continue
            _settle(n, neurons, adjoint, gradient, min_slope)
        _go_back(
            adjoint.state, n, 0.0, neurons.tau_m[n], neurons.tau_exc[n], neurons.tau_inh[n], neurons.declared[n],
            with_taus,
        )  # fmt: skip
        gradient.neuron[D_INIT, n] -= neurons.tau_m[n] * adjoint.state[LAM_V, n]
        gradient.neuron[D_TAU_M, n] -= neurons.u_init[n] * adjoint.state[NN, n] / neurons.tau_m[n]


@kernel
def adjoint_events(spikes, network, gradient, trouble, n_inputs, t_stop, min_slope, with_taus):
    """Gradients of one sample; of each spike ``gradient.time`` is what the loss has of it at the beginning, and the
    total derivative at the end. The rest as in ``adjoint_samples``; returns OK or TIED_KICKS."""
    events = lay_out(spikes, network, n_inputs, t_stop)
    currents = currents_at_events(events, spikes, network, n_inputs)
    n = network.level.size
    adjoint = _Adjoint(np.zeros((N_ROWS, n)), np.zeros(n, np.bool_), np.full(n, -1), np.zeros(n, np.int64))
    adjoint.state[AT, :] = t_stop
    status = _back_through(
        events, spikes, currents, network, adjoint, gradient, trouble, n_inputs, min_slope, with_taus
    )
    if status == OK:
        _back_to_start(spikes, network.neurons, adjoint, gradient, min_slope, with_taus)
    return status


@kernel
def adjoint_samples(
    arrivals, spikes, signal, network, gradient, trouble, first, last, t_stop, min_slope, with_taus
):  # fmt: skip
    """Gradients of samples ``first`` ... ``last - 1``, one after the other; returns OK or TIED_KICKS.

    arrivals, spikes : Batch of the inputs' spikes as they are sent, and of all neurons'; network : Network
    signal : dL/dt of each neuron's spike, from the loss; gradient : Gradient, times of the inputs' spikes
    trouble : (2,) written if TIED_KICKS is returned: time, neuron
    min_slope : least tau_m dv/dt at threshold that is divided by; with_taus : by time constants too
    """
    n_inputs = network.synapses.group_start.size - 1 - network.level.size
    for sample in range(first, last):
        a, b = arrivals.offsets[sample], arrivals.offsets[sample + 1]
        c, d = spikes.offsets[sample], spikes.offsets[sample + 1]
        n = b - a
        times = np.concatenate((arrivals.times[a:b], spikes.times[c:d]))
        sources = np.empty(times.size, np.int64)
        sources[:n] = arrivals.neurons[a:b]
        sources[n:] = spikes.neurons[c:d]
        sources[n:] += n_inputs
        by_time = np.zeros(times.size)
        by_time[n:] = signal[c:d]
        status = adjoint_events(
            Spikes(times, sources), network, Gradient(by_time, gradient.weight, gradient.delay, gradient.neuron),
            trouble, n_inputs, t_stop, min_slope, with_taus,
        )  # fmt: skip
        if status != OK:
            return status
        gradient.time[a:b] = by_time[:n]
    return OK
