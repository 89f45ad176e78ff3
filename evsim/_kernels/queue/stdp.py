"""Pair-based STDP by one trace per plastic synapse and one per neuron and rule, each kept at its last event."""

import math
from typing import NamedTuple

import numpy as np

from ..jit import formula


class Plastic(NamedTuple):
    """Of all synapses: rule (-1 for none), trace and last arrival; of each rule and neuron: trace and last spike.

    parameters : (n_rules, 6) a_plus, a_minus, tau_plus, tau_minus, w_min, w_max; incoming : plastic synapses by
    target, neuron n owns ``incoming_start[n]:incoming_start[n + 1]``. All empty where nothing is plastic.
    """

    rule: np.ndarray
    parameters: np.ndarray
    incoming_start: np.ndarray
    incoming: np.ndarray
    pre_trace: np.ndarray
    pre_time: np.ndarray
    post_trace: np.ndarray
    post_time: np.ndarray


@formula
def _faded(trace, since, t, tau):
    if trace == 0.0:
        return 0.0
    return trace * math.exp(-(t - since) / tau)


@formula
def _kept(w, low, high):
    return min(max(w, low), high)


@formula
def depress(plastic, weight, s, n, t):
    """A presynaptic spike arrives at synapse s of neuron n at t."""
    r = plastic.rule[s]
    a_minus, tau_plus, tau_minus = plastic.parameters[r, 1], plastic.parameters[r, 2], plastic.parameters[r, 3]
    post = _faded(plastic.post_trace[r, n], plastic.post_time[r, n], t, tau_minus)
    weight[s] = _kept(weight[s] - a_minus * post, plastic.parameters[r, 4], plastic.parameters[r, 5])
    plastic.pre_trace[s] = _faded(plastic.pre_trace[s], plastic.pre_time[s], t, tau_plus) + 1.0
    plastic.pre_time[s] = t


@formula
def potentiate(plastic, weight, n, t):
    """Neuron n spikes at t."""
    for k in range(plastic.incoming_start[n], plastic.incoming_start[n + 1]):
        s = plastic.incoming[k]
        r = plastic.rule[s]
        pre = _faded(plastic.pre_trace[s], plastic.pre_time[s], t, plastic.parameters[r, 2])
        more = weight[s] + plastic.parameters[r, 0] * pre
        weight[s] = _kept(more, plastic.parameters[r, 4], plastic.parameters[r, 5])
    for r in range(plastic.parameters.shape[0]):
        tau_minus = plastic.parameters[r, 3]
        plastic.post_trace[r, n] = _faded(plastic.post_trace[r, n], plastic.post_time[r, n], t, tau_minus) + 1.0
        plastic.post_time[r, n] = t
