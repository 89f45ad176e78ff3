"""Layers: weights and the neurons they drive."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evsim.errors import NetworkError
from evsim.network import Network
from evsim.sweep import SweepLayer, pack_layer, sweepable
from evsim.types import LIF, Floats


@dataclass(eq=False)
class Dense:
    """All inputs to all neurons of the layer.

    Parameters
    ----------
    n_in, n_out : sizes
    neuron : LIF; all neurons of a layer share tau_m and tau_syn
    delay : ms, >= 0, of all synapses
    lateral_inhibition : weight w0 >= 0; every spike of the layer arrives at all its other neurons with
        weight -w0 (HM2-BP's output layer: w0 = 1 in the unit of its synaptic state). Not trained.
    lateral_delay : ms, > 0, of that inhibition
    weight : (n_in, n_out) float64, set by ``init``
    """

    n_in: int
    n_out: int
    neuron: LIF
    delay: float = 0.0
    lateral_inhibition: float = 0.0
    lateral_delay: float = 1.0
    weight: Floats = field(init=False)

    def __post_init__(self) -> None:
        if self.n_in < 1 or self.n_out < 1:
            raise ValueError(f"Dense needs sizes >= 1; got {self.n_in} -> {self.n_out}.")
        if not (np.isfinite(self.delay) and self.delay >= 0):
            raise ValueError(f"delay must be finite and >= 0 ms; got {self.delay}.")
        if self.lateral_inhibition < 0 or (self.lateral_inhibition > 0 and not self.lateral_delay > 0):
            raise ValueError(
                "lateral_inhibition must be >= 0 and its delay > 0 ms; got "
                f"{self.lateral_inhibition} and {self.lateral_delay}."
            )
        if not sweepable(self.neuron):
            raise NetworkError("the neurons of a Dense layer must share tau_m and tau_syn; got arrays.")
        self.weight = np.zeros((self.n_in, self.n_out))

    def init(self, rng: np.random.Generator, scale: float = 1.0) -> None:
        """Draw the weights from U(-scale, scale), as the published runs of HM2-BP do."""
        self.weight = rng.uniform(-scale, scale, (self.n_in, self.n_out))

    @property
    def theta(self) -> Floats:
        """Threshold above v_rest + bias, (n_out,)."""
        n = self.neuron
        return np.broadcast_to(np.asarray(n.v_th) - np.asarray(n.v_rest) - np.asarray(n.bias), self.n_out) + 0.0

    def packed(self) -> SweepLayer:
        """The layer in the form of the sweep kernel, with the weights of now."""
        return pack_layer(self.weight, self.neuron)

    def network(self) -> Network:
        """The layer as a network ("in" to "out"), lateral inhibition included."""
        net = Network()
        net.add_input("in", self.n_in)
        net.add_population("out", self.n_out, self.neuron)
        net.connect("in", "out", weight=self.weight, delay=self.delay)
        if self.lateral_inhibition > 0:
            lateral = -self.lateral_inhibition * (1.0 - np.eye(self.n_out))
            net.connect("out", "out", weight=lateral, delay=self.lateral_delay)
        return net
