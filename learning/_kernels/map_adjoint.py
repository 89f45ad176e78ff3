"""EventProp on a map, by traces: no list of a pixel's events is needed on the way back.

Going back, the adjoint lam_V of a neuron jumps at its own spikes alone: up to Lambda_p at a spike, down by Lambda_{p+1}
exp(-(t_{p+1} - that_p)/tau_m) at the release that_p of the spike before it. Each arrival sees the sum of what the later
jumps J_q of the neuron have become, so that with P the potential of a unit kick (docs/convolution.md)

    dL/dw   = -tau_m sum_q J_q sum_e P(t_q - t_e)
    dL/dt_e = sum over neurons of w (lam_V(t_e) - lam_I(t_e))

The first is a sum over potentials of the map below, read at the jumps; the second one over the adjoints of the map
itself, read at the arrivals. The equations of the jumps are those of ``adjoint_layer``.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf
from evsim._kernels.sorting import sort_spikes

from .map_traces import Kicks, Traces, add_potentials, flow_between, sum_windows


class MapWeights(NamedTuple):
    """The windows of the neurons on their inputs with their weights, (kinds, runs length); and those of the inputs on
    the neurons that see them."""

    windows: NamedTuple
    weights: np.ndarray
    back_windows: NamedTuple
    back_weights: np.ndarray


class MapGradient(NamedTuple):
    """dL/d arrival, (n_arrivals,), written if wanted; weights as ``MapWeights.weights``, and by channel theta, u_reset
    and u_init, (channels,), added to."""

    arrival: np.ndarray
    weights: np.ndarray
    theta: np.ndarray
    u_reset: np.ndarray
    u_init: np.ndarray


class _Following(NamedTuple):
    """The next spike of each neuron, going back, (n_out,): its number, -1 for none; of each spike its neuron's next,
    (n_spikes,)."""

    of_neuron: np.ndarray
    of_spike: np.ndarray


@leaf
def _find_following(spikes, s0, s1, following):
    following.of_neuron[:] = -1
    for s in range(s1 - 1, s0 - 1, -1):
        n = spikes.neurons[s]
        following.of_spike[s - s0] = following.of_neuron[n]
        following.of_neuron[n] = s


@kernel
def _currents_at_release(spikes, s0, s1, following, kicks, neurons, maps, traces, t_stop):
    """The current of each spike's neuron when it is released, where another spike follows, (n_spikes,)."""
    currents = np.zeros(s1 - s0)
    channel = maps.windows.kind
    times, numbers, of_spike = np.empty(s1 - s0), np.empty(s1 - s0, np.int32), np.empty(s1 - s0)
    n = 0
    for s in range(s0, s1):
        if following[s - s0] >= 0:
            times[n] = spikes.times[s] + neurons.t_ref[channel[spikes.neurons[s]]]
            numbers[n], of_spike[n] = spikes.neurons[s], s - s0
            n += 1
    reads = Kicks(np.empty(n), np.empty(n, np.int32), np.empty(n))
    sort_spikes(times[:n], numbers[:n], of_spike[:n], 0.0, t_stop, reads.times, reads.neurons, reads.sizes)
    values = np.empty(n)
    flow = flow_between(neurons.tau_m[0], neurons.tau_exc[0])
    sum_windows(kicks, reads, maps.weights, maps.windows, traces, flow, 0.0, 1.0, np.empty(maps.windows.length), values)
    for q in range(n):
        currents[int(reads.sizes[q])] = values[q]
    return currents


@leaf
def _find_jumps(spikes, s0, s1, following, at_release, neurons, channel, gradient, min_slope, lam, jumps):
    """Jumps of the adjoint, later spikes first; returns how many. lam : (n_spikes,), Lambda of each, scratch.

    at_release : current at the release of each spike that another follows
    """
    tau_m = neurons.tau_m[0]
    n_jumps = 0
    for s in range(s1 - 1, s0 - 1, -1):
        n, t = spikes.neurons[s], spikes.times[s]
        c = channel[n]
        after = delayed = 0.0
        release = t + neurons.t_ref[c]
        then = following.of_spike[s - s0]
        if then >= 0:
            after = lam[then - s0] * math.exp(-(spikes.times[then] - release) / tau_m)
            gradient.u_reset[c] -= tau_m * after
            delayed = after * (at_release[s - s0] - neurons.u_reset[c])
        lam[s - s0] = 0.0
        # A neuron that starts above its threshold fires at 0, whatever its input.
        if not (t == 0.0 and neurons.u_init[c] >= neurons.theta[c]):
            lam[s - s0] = (spikes.signal[s] + delayed) / max(spikes.currents[s] - neurons.theta[c], min_slope)
            gradient.theta[c] += tau_m * lam[s - s0]
        jump = lam[s - s0]
        if release == t:
            jump -= after
        elif after != 0.0:
            jumps.times[n_jumps], jumps.neurons[n_jumps], jumps.sizes[n_jumps] = release, n, -after
            n_jumps += 1
        if jump != 0.0:
            jumps.times[n_jumps], jumps.neurons[n_jumps], jumps.sizes[n_jumps] = t, n, jump
            n_jumps += 1
        if following.of_neuron[n] == s:
            gradient.u_init[c] -= tau_m * lam[s - s0] * math.exp(-t / tau_m)
    return n_jumps


@kernel
def _jumps(sample, spikes, kicks, neurons, maps, gradient, traces, t_stop, min_slope):
    """Jumps of a sample as Kicks, sorted by time."""
    s0, s1 = spikes.offsets[sample], spikes.offsets[sample + 1]
    following = _Following(np.empty(maps.windows.start.size, np.int64), np.empty(s1 - s0, np.int64))
    _find_following(spikes, s0, s1, following)
    at_release = spikes.currents[s0:s1]
    if np.any(neurons.t_ref > 0.0):
        at_release = _currents_at_release(
            spikes, s0, s1, following.of_spike, kicks, neurons, maps, traces, t_stop
        )  # fmt: skip
    room = 2 * (s1 - s0)
    found = Kicks(np.empty(room), np.empty(room, np.int32), np.empty(room))
    n = _find_jumps(
        spikes, s0, s1, following, at_release, neurons, maps.windows.kind, gradient, min_slope, np.empty(s1 - s0), found
    )
    jumps = Kicks(np.empty(n), np.empty(n, np.int32), np.empty(n))
    sort_spikes(
        found.times[:n], found.neurons[:n], found.sizes[:n], 0.0, t_stop, jumps.times, jumps.neurons, jumps.sizes
    )  # fmt: skip
    return jumps


@kernel
def _reversed(times, neurons, sizes):
    """The same backward in time, which is negated."""
    return Kicks(-times[::-1], neurons[::-1].copy(), sizes[::-1].copy())


@kernel
def adjoint_map(arrivals, spikes, neurons, maps, gradient, first, last, t_stop, min_slope, wants):
    """Gradients of samples ``first`` ... ``last - 1``, added up in their order.

    arrivals : Batch; spikes : LayerSpikes; neurons : NeuronArrays of the channels, of one tau_m and one tau_exc
    maps : MapWeights; gradient : MapGradient; wants : (by weights, by arrivals)
    """
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    below = Traces(np.empty(maps.windows.size), np.empty(maps.windows.size))
    above = Traces(np.empty(maps.back_windows.size), np.empty(maps.back_windows.size))
    for sample in range(first, last):
        a, end = arrivals.offsets[sample], arrivals.offsets[sample + 1]
        gradient.arrival[a:end] = 0.0
        while end > a and arrivals.times[end - 1] >= t_stop:
            end -= 1
        if spikes.offsets[sample] == spikes.offsets[sample + 1]:
            continue
        kicks = Kicks(arrivals.times[a:end], arrivals.neurons[a:end], np.ones(end - a))
        jumps = _jumps(sample, spikes, kicks, neurons, maps, gradient, below, t_stop, min_slope)
        if wants[0]:
            reads = Kicks(jumps.times, jumps.neurons, -tau_m * jumps.sizes)
            add_potentials(
                kicks, reads, maps.windows.kind, maps.windows, below, flow_between(tau_m, tau_s), gradient.weights
            )
        if wants[1]:
            values = np.empty(end - a)
            sum_windows(
                _reversed(jumps.times, jumps.neurons, jumps.sizes), _reversed(kicks.times, kicks.neurons, kicks.sizes),
                maps.back_weights, maps.back_windows, above, flow_between(tau_s, tau_m), -1.0, 1.0,
                np.empty(maps.back_windows.length), values,
            )  # fmt: skip
            gradient.arrival[a:end] = values[::-1]
