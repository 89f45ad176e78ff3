"""What every engine asks of a neuron: flow, arrival, crossing, reset. A neuron model is this file and its formulas.

A state holds u and the currents, each with its rest, what rounding has lost of it (see ``carried``).
"""

from typing import NamedTuple

import numpy as np

from ..jit import formula, stage
from .carried import add, fade_carried, flow_potential, step
from .crossing import crossing, grazes
from .lif import decay


class NeuronArrays(NamedTuple):
    """Parameters of n neurons, one value each, potentials shifted by v_inf = v_rest + bias.

    n_receptors : currents that are simulated; declared : receptors of the LIF. Two that share a time constant are one
    current.
    """

    v_inf: np.ndarray
    theta: np.ndarray
    u_reset: np.ndarray
    u_init: np.ndarray
    t_ref: np.ndarray
    tau_m: np.ndarray
    tau_exc: np.ndarray
    tau_inh: np.ndarray
    peak: np.ndarray
    n_receptors: np.ndarray
    declared: np.ndarray
    keep_input: np.ndarray


class Neuron(NamedTuple):
    """Parameters of one neuron, as formulas take them."""

    theta: float
    u_reset: float
    t_ref: float
    tau_m: float
    tau_exc: float
    tau_inh: float
    peak: float
    n_receptors: int
    keep_input: bool


class NeuronState(NamedTuple):
    """One neuron at one instant. With one receptor, inh stays 0; without any, both currents do."""

    u: float
    rest_u: float
    exc: float
    rest_exc: float
    inh: float
    rest_inh: float


@stage
def neuron_at(n, neurons):
    """Neuron n of NeuronArrays."""
    return Neuron(
        neurons.theta[n], neurons.u_reset[n], neurons.t_ref[n], neurons.tau_m[n], neurons.tau_exc[n],
        neurons.tau_inh[n], neurons.peak[n], neurons.n_receptors[n], neurons.keep_input[n],
    )  # fmt: skip


@stage
def neuron_beside(n, neurons, p):
    """Neuron n of a block, whose neurons share with p all but thresholds, resets and refractory times: these alone are
    read."""
    return Neuron(
        neurons.theta[n], neurons.u_reset[n], neurons.t_ref[n], p.tau_m, p.tau_exc, p.tau_inh, p.peak, p.n_receptors,
        p.keep_input,
    )  # fmt: skip


@formula
def with_potential(u, rest_u, x):
    """The state with another potential."""
    return NeuronState(u, rest_u, x.exc, x.rest_exc, x.inh, x.rest_inh)


@formula
def with_currents(x, y):
    """The potential of x, the currents of y."""
    return NeuronState(x.u, x.rest_u, y.exc, y.rest_exc, y.inh, y.rest_inh)


@formula
def flow(t, x, p):
    """The whole state after t ms without input or spike."""
    return NeuronState(
        *step(t, x.u, x.rest_u, x.exc, x.rest_exc, x.inh, x.rest_inh, p.tau_m, p.tau_exc, p.tau_inh, p.n_receptors)
    )


@formula
def flow_of_potential(t, x, p):
    """u and its rest after t ms without input or spike."""
    return flow_potential(
        t, x.u, x.rest_u, x.exc + x.rest_exc, x.inh + x.rest_inh, p.tau_m, p.tau_exc, p.tau_inh, p.n_receptors
    )


@formula
def fade_currents(t, x, p):
    """The currents after t ms, the potential as it is."""
    exc, rest_exc = fade_carried(t, x.exc, x.rest_exc, p.tau_exc)
    inh, rest_inh = fade_carried(t, x.inh, x.rest_inh, p.tau_inh)
    return NeuronState(x.u, x.rest_u, exc, rest_exc, inh, rest_inh)


@formula
def arrive(w, ahead, x, p):
    """A spike of weight w arrives. ahead : ms from the arrival to the state, above 0 for a refractory neuron's, which
    is kept at its release; what will be left of the input then is added."""
    if p.n_receptors == 0:
        if ahead > 0.0:
            w = w * decay(ahead, p.tau_m) if p.keep_input else 0.0
        # u itself is the sum in the order of sources, as the threshold test wants it.
        u, rest_u = add(x.u, x.rest_u, w)
        return NeuronState(u, rest_u, x.exc, x.rest_exc, x.inh, x.rest_inh)
    if p.n_receptors == 1 or w > 0.0:
        exc, rest_exc = add(x.exc, x.rest_exc, w * decay(ahead, p.tau_exc) if ahead > 0.0 else w)
        return NeuronState(x.u, x.rest_u, exc, rest_exc, x.inh, x.rest_inh)
    inh, rest_inh = add(x.inh, x.rest_inh, w * decay(ahead, p.tau_inh) if ahead > 0.0 else w)
    return NeuronState(x.u, x.rest_u, x.exc, x.rest_exc, inh, rest_inh)


@formula
def time_to_spike(x, p, h):
    """Ms to the first crossing within the next h, inf for none (see ``crossing``)."""
    return crossing(
        x.u, x.exc + x.rest_exc, x.inh + x.rest_inh, p.theta, p.tau_m, p.tau_exc, p.tau_inh, p.peak, p.n_receptors, h
    )


@formula
def is_grazing(x, p, h):
    """Does a peak within the next h ms come too near to the threshold to be decided (see ``grazes``)?"""
    return grazes(
        x.u, x.exc + x.rest_exc, x.inh + x.rest_inh, p.theta, p.tau_m, p.tau_exc, p.tau_inh, p.n_receptors, h
    )


@formula
def is_stuck(waited, spike, u, p):
    """Would a spike leave everything, the clock included, as it was? Then it would repeat for ever.

    waited : ms from the state, with its potential u, to the spike
    """
    return waited == 0.0 and u == p.u_reset and spike + p.t_ref == spike


@formula
def reset(x, p):
    """The state after a spike; it is held until ``release``."""
    return NeuronState(p.u_reset, 0.0, x.exc, x.rest_exc, x.inh, x.rest_inh)


@formula
def release(spike, p):
    """End of refractoriness, ms."""
    return spike + p.t_ref
