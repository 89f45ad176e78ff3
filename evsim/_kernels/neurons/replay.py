"""Membrane potential at any instants, from recorded spikes and the closed form."""

import math

from ..jit import formula, kernel
from .lif import flow_u
from .model import NeuronState, arrive, fade_currents, flow, neuron_at, release, reset

_REACHED = 1e-12


@formula
def _potential(t, x, p):
    return flow_u(t, x.u, x.exc, x.inh, p.tau_m, p.tau_exc, p.tau_inh, p.n_receptors)


@kernel
def voltage_at(query, arrivals, weights, spikes, n, neurons, out):
    """u at the sorted instants ``query`` (left limits; theta at a spike), for neuron n of NeuronArrays.

    arrivals, weights : (k,) sorted inputs; spikes : (m,) sorted own spikes; out : (query.size,) written
    """
    p = neuron_at(n, neurons)
    x = NeuronState(neurons.u_init[n], 0.0, 0.0, 0.0, 0.0, 0.0)
    valid_at = 0.0
    next_arrival = 0
    next_spike = 0
    kicked = False
    for q in range(query.size):
        while True:
            t_arrival = arrivals[next_arrival] if next_arrival < arrivals.size else math.inf
            t_spike = spikes[next_spike] if next_spike < spikes.size else math.inf
            if min(t_arrival, t_spike) >= query[q]:
                break
            if p.n_receptors == 0 and t_spike == t_arrival and not kicked:
                # Kicks at the instant of a spike caused it, unless u reached theta without them.
                u = _potential(t_spike - valid_at, x, p)
                kicked = p.theta - u > _REACHED * max(abs(p.theta), abs(x.u))
            if t_spike < t_arrival or (t_spike == t_arrival and not kicked):
                next_spike += 1
                kicked = False
                x = reset(fade_currents(release(t_spike, p) - valid_at, x, p), p)
                valid_at = release(t_spike, p)
                continue
            ahead = valid_at - t_arrival
            if ahead < 0.0:
                x = flow(-ahead, x, p)
                valid_at = t_arrival
                ahead = 0.0
            x = arrive(weights[next_arrival], ahead, x, p)
            next_arrival += 1
        if t_spike == query[q]:
            out[q] = p.theta
        elif query[q] < valid_at:
            out[q] = p.u_reset
        else:
            out[q] = _potential(query[q] - valid_at, x, p)
