"""Trained parameters of a layer's neurons, in coordinates in which every value is allowed.

    tau_m = exp(log_tau_m),   tau_syn = exp(log_tau_syn),   v_th = v_reset + exp(log_gap),   bias = bias

Time constants are shared by a layer (its neurons share the factors of their events), thresholds and biases are each
neuron's own. What an optimiser does to the coordinates can make no parameter invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.learning.layers.parameter import Kind, Parameter
from evsim.neurons.lif import LIF
from evsim.types import Floats

COORDINATES = {"v_th": "log_gap", "tau_m": "log_tau_m", "tau_syn": "log_tau_syn", "bias": "bias"}
"""Name of each parameter that can be trained, and of its coordinate among ``Layer.parameters``."""


class NeuronParameters:
    """Coordinates of the trained parameters of n neurons; no arrays where nothing is trained.

    trained : names among ``COORDINATES``

    Raises ValueError : unknown names, tau_syn of delta synapses.
    """

    def __init__(self, neuron: LIF, trained: tuple[str, ...], n: int) -> None:
        unknown = [name for name in trained if name not in COORDINATES]
        if unknown or len(set(trained)) < len(trained):
            raise InputError(f"trainable are some of {', '.join(COORDINATES)}, each once; got {', '.join(trained)}.")
        if "tau_syn" in trained and not neuron.receptor_taus():
            raise InputError("delta synapses have no tau_syn to train; give the neuron a tau_syn.")
        self.trained, self.n = trained, n
        self.arrays: dict[str, Floats] = {}
        self.take(neuron)

    def take(self, neuron: LIF) -> None:
        """Coordinates of these parameters: where training starts from, or goes on from."""
        made = {
            "v_th": lambda: np.log(np.asarray(neuron.v_th) - neuron.v_reset) + np.zeros(self.n),
            "tau_m": lambda: np.log(np.ravel(neuron.tau_m)[:1]),
            "tau_syn": lambda: np.log([np.ravel(tau)[0] for tau in neuron.receptor_taus()]),
            "bias": lambda: np.asarray(neuron.bias) + np.zeros(self.n),
        }
        for name in self.trained:
            values = made[name]()
            if name in self.arrays:
                self.arrays[name][...] = values
            else:
                self.arrays[name] = values

    def neuron(self, base: LIF) -> LIF:
        """``base`` with the trained parameters of now."""
        made = {
            "v_th": lambda a: base.v_reset + np.exp(a),
            "tau_m": lambda a: float(np.exp(a[0])),
            "tau_syn": lambda a: float(np.exp(a[0])) if a.size == 1 else tuple(map(float, np.exp(a))),
            "bias": lambda a: a,
        }
        return base.with_(**{name: made[name](array) for name, array in self.arrays.items()}) if self.arrays else base

    def trained_arrays(self) -> list[Parameter]:
        """The coordinates."""
        return [Parameter(COORDINATES[name], Kind.NEURON, array) for name, array in self.arrays.items()]

    def parameters(self) -> dict[str, Floats]:
        """The coordinates by name."""
        return {p.name: p.array for p in self.trained_arrays()}

    def pull_back(self, gradients: dict[str, Any]) -> dict[str, Floats]:
        """dL/d coordinate from dL/d parameter of each neuron, (n,) each, of two tau_syn (2, n)."""
        out: dict[str, Floats] = {}
        for name, array in self.arrays.items():
            g = gradients[name]
            if name in ("tau_m", "tau_syn"):
                g = np.exp(array) * np.reshape(g, (array.size, self.n)).sum(axis=1)
            elif name == "v_th":
                g = np.exp(array) * g
            out[COORDINATES[name]] = np.asarray(g, dtype=np.float64)
        return out
