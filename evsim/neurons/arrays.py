"""Parameters of a population as the flat arrays that the kernels read."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from evsim._kernels.neurons.lif import psp_peak
from evsim._kernels.neurons.model import NeuronArrays
from evsim.neurons.lif import LIF
from evsim.types import Floats

__all__ = ["NeuronArrays", "neuron_arrays"]


def neuron_arrays(neuron: LIF, size: int) -> NeuronArrays:
    """Parameters of one population as arrays of its size."""
    # Training asks for the same arrays in every batch. Neurons that differ are rare there, and would fill the cache.
    others = (v for k, v in neuron.asdict().items() if k != "tau_syn")
    if all(v is None or np.isscalar(v) for v in (*others, *neuron.receptor_taus())):
        return _of_equal_neurons(neuron, size)
    return _arrays(neuron, size)


@lru_cache(maxsize=64)
def _of_equal_neurons(neuron: LIF, size: int) -> NeuronArrays:
    arrays = _arrays(neuron, size)
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _arrays(neuron: LIF, size: int) -> NeuronArrays:

    def full(value: Any) -> Floats:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), (size,)))

    def above(value: Any) -> Floats:
        """value - v_rest - bias with one rounding: small differences of large potentials keep their digits."""
        first, lost = _sum(full(value), -full(neuron.v_rest))
        total, lost_too = _sum(first, -full(neuron.bias))
        return total + (lost + lost_too)

    taus = neuron.receptor_taus()
    v_inf = full(neuron.v_rest) + full(neuron.bias)
    tau_m = full(neuron.tau_m)
    tau_exc = full(taus[0] if taus else 1.0)
    one_current = len(taus) == 2 and np.array_equal(tau_exc, full(taus[1]))
    # One pair of time constants for all is the usual case, and sorting a million pairs takes long.
    equal = size > 0 and np.all(tau_m == tau_m[0]) and np.all(tau_exc == tau_exc[0])
    some = slice(1) if equal else slice(None)
    pairs, back = np.unique(np.stack([tau_m[some], tau_exc[some]]), axis=1, return_inverse=True)
    peaks = np.array([psp_peak(m, s) for m, s in pairs.T])
    return NeuronArrays(
        v_inf=v_inf,
        theta=above(neuron.v_th),
        u_reset=above(neuron.v_reset),
        u_init=above(neuron.v_rest if neuron.v_init is None else neuron.v_init),
        t_ref=full(neuron.t_ref),
        tau_m=tau_m,
        tau_exc=tau_exc,
        tau_inh=full(taus[1] if len(taus) == 2 else 1.0),
        peak=full(peaks[back.reshape(-1)]),
        n_receptors=np.full(size, 1 if one_current else len(taus), np.int64),
        declared=np.full(size, len(taus), np.int64),
        keep_input=np.full(size, neuron.keep_refractory_input),
    )


def _sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """a + b and its rounding error (Knuth's two-sum)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
