"""Values as constant input: every input feeds a steady stream of current through its synapses, without a spike.

An input of value x is the limit of ever more, ever smaller spikes, x per ms in all (x may be negative). Its synapse
of weight w then carries i(t) = w x tau_s (1 - exp(-t/tau_s)), t > 0. A neuron of the layer, with J = tau_s sum w x, has

    u(t) = J (1 - exp(-t/tau_m)) - J P(t)                                from rest, before its first spike,

P the response to a unit jump of current. That is a third basis function, the constant, beside the two exponentials; it
is also what a bias of J and a jump of -J at t = 0 do, which is how the exact engine runs it. (TSSL-BP's images: a
pixel is fed to the PSC filter in every step.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evsim.engine.sweep.layers import pack_layer, run_layer_batch
from evsim.errors import GradientError, InputError, NetworkError
from evsim.learning.fixed_order import rows_times
from evsim.learning.layers.delays import Delays
from evsim.learning.layers.dense import Dense, Layer
from evsim.neurons.lif import LIF, one_tau_each
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class AnalogBatch(SpikeBatch):
    """Samples of constant input: a SpikeBatch without spikes, and ``values``, (n_samples, size), per ms."""

    values: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def of(cls, values: ArrayLike) -> AnalogBatch:
        """values : (n_samples, size), spikes per ms. Raises ValueError : another shape, or values not finite."""
        v = np.ascontiguousarray(values, dtype=np.float64)
        if v.ndim != 2 or not np.all(np.isfinite(v)):
            raise InputError(f"values must be finite, of shape (samples, inputs); got shape {v.shape}.")
        return cls(np.empty(0), np.empty(0, np.int32), np.zeros(len(v) + 1, np.int64), v.shape[1], None, v)

    def take(self, samples: ArrayLike) -> AnalogBatch:
        """Some of the samples; see ``SpikeBatch.take``."""
        super().take(samples)  # its checks
        return AnalogBatch.of(self.values[np.asarray(samples, dtype=np.int64)])


@dataclass(eq=False, repr=False)
class Analog(Layer):
    """A first layer, fed with an AnalogBatch; all inputs to all neurons, no delays.

    n_in, n_out : sizes; neuron : LIF with one exponential current, all of the same time constants
    weight : (n_in, n_out) float64, set by ``init``

    TSSLBP trains it; its ``inter="true", intra="exact"`` is the exact gradient.
    """

    n_in: int
    n_out: int
    neuron: LIF
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)
    delay: Any = field(init=False, default=0.0)
    trainable_delays: str | None = field(init=False, default=None)
    max_delay: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.make_synapses()
        if len(self.neuron.receptor_taus()) != 1 or not one_tau_each(self.neuron):
            raise NetworkError("an Analog layer needs one tau_syn, and the same tau_m and tau_syn for all neurons.")

    @property
    def tau_s(self) -> float:
        """ms"""
        return float(np.ravel(self.neuron.tau_syn)[0])

    @property
    def shares_events(self) -> bool:
        """Never: there are no spikes that arrive."""
        return False

    def plan(self) -> Any:
        """Raises GradientError : constant input is no network of synapses, so only rules that know it can train it."""
        raise GradientError("an Analog layer has no spikes at its input; train it with TSSLBP, or encode the values.")

    def final_currents(self, inputs: SpikeBatch) -> Floats:
        """J of every neuron in every sample, (n_samples, n_out). Raises ValueError : inputs that are spikes."""
        if not isinstance(inputs, AnalogBatch):
            raise InputError("an Analog layer takes an AnalogBatch; encode spikes for Dense layers.")
        if inputs.values.shape != (len(inputs), self.n_in):
            raise InputError(
                f"{self.describe()} takes values of shape (samples, {self.n_in}); got {inputs.values.shape}."
            )
        return rows_times(self.tau_s * inputs.values, self.weight)

    def twin(self, final: Floats) -> tuple[Dense, SpikeBatch]:
        """One sample as a Dense layer with one input, and that input's spike; final : its J, (n_out,).

        Its potentials above rest are J lower than the layer's, and so are its currents.
        """
        twin = Dense(1, self.n_out, self.neuron.with_(bias=np.asarray(self.neuron.bias) + final))
        twin.weight = -final[None, :]
        return twin, SpikeBatch.owning(np.zeros(1), np.zeros(1, np.int32), np.array([0, 1]), 1)

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
        """Exact spikes of each sample, by the sweep. Raises ValueError : as ``Dense.forward``."""
        self.check_forward(inputs, t_stop, threads)
        parts = []
        for final in self.final_currents(inputs):
            twin, jump = self.twin(final)
            out = run_layer_batch(pack_layer(twin.weight, twin.neuron), jump, t_stop, 0.0, threads)
            currents = out.currents + final[out.neurons] if out.currents is not None else None
            parts.append(SpikeBatch.owning(out.times, out.neurons, out.offsets, out.size, currents))
        return joined(parts, self.n_out)


def joined(parts: Sequence[SpikeBatch], size: int) -> SpikeBatch:
    """Batches one after the other, with their currents if all have them."""
    offsets = np.concatenate([[0], *(p.offsets[1:] - p.offsets[:-1] for p in parts)]).cumsum()
    empty = SpikeBatch.owning(np.empty(0), np.empty(0, np.int32), np.zeros(1, np.int64), size, np.empty(0))
    every = [empty, *parts]
    currents = [p.currents for p in every if p.currents is not None]
    return SpikeBatch.owning(
        np.concatenate([p.times for p in every]), np.concatenate([p.neurons for p in every]), offsets, size,
        np.concatenate(currents) if len(currents) == len(every) else None,
    )  # fmt: skip
