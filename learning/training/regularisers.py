"""Regularisers: for what a gradient of spike times cannot see, as silent neurons, runaway activity, single spikes.

Each is an entry of ``Trainer(regularisers=[...])`` and changes the gradients of a batch after the rule made them.
Grazing spikes have theirs in the rule (``EventProp.min_slope``) and its report (``evsim.learning.conditioning``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from evsim import streams
from evsim.errors import InputError
from evsim.learning._kernels.dropout import kept_spikes
from evsim.learning.fields import check_fields
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Dense
from evsim.learning.layers.parameter import Kind
from evsim.learning.layers.pool import SumPool2d
from evsim.learning.layers.readout import Readout
from evsim.learning.model import Sequential
from evsim.learning.rules.eventprop import EventProp
from evsim.spikes import SpikeBatch
from evsim.types import Floats


class Regulariser(Protocol):
    """Called after each batch, before the optimiser.

    Where it has a true ``wakes_silent``, it can make silent neurons fire, and a silent layer is no error. Where it has
    a false ``looks_at_spikes``, it is given none: over ranks, those of a batch are then not sent about.
    """

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """Change ``gradients`` (by ``model.parameters()``, of the mean loss) in place."""
        ...


@runtime_checkable
class AfterStep(Protocol):
    """A regulariser that has something to do after the optimiser's step, too."""

    def after_step(self, model: Sequential) -> None:
        """Change the model's parameters in place."""
        ...


def drop_spikes(spikes: SpikeBatch, share: float, seed: int, epoch: int, keys: np.ndarray) -> SpikeBatch:
    """Leave out each spike with probability ``share``; the choice depends on (seed, epoch, key of the sample) alone."""
    words = streams.kernel_keys("dropout", seed, epoch, keys)
    keep = np.empty(spikes.times.size, np.bool_)
    kept_spikes(spikes.offsets, words, share, keep)
    offsets = np.append(0, np.cumsum(keep))[spikes.offsets]
    return SpikeBatch.owning(spikes.times[keep], spikes.neurons[keep], offsets, spikes.size)


def _weights(model: Sequential, gradients: list[Floats], owner: str) -> list[Floats]:
    """The gradients that belong to each layer's ``weight``. Raises ValueError : layers of maps; owner : for that."""
    for k, layer in enumerate(model.layers):
        if isinstance(layer, MapLayer | SumPool2d):
            raise InputError(
                f"{owner} is for layers with a weight for each pair of neurons; layer {k} is {layer.describe()}. Leave "
                "it out."
            )
    return [g for (name, _), g in zip(model.parameters(), gradients) if name == "weight"]


@dataclass
class WeightBumping:
    """Raise the weights of silent neurons instead of following the gradient (Goeltz et al. 2021).

    Where more than ``allowed`` of a hidden layer's (neuron, sample) pairs, or any of a spiking output layer's, are
    without a spike, the first such layer's silent pairs raise their neurons' weights by ``amount`` times the share of
    samples in which they were silent; the amount doubles with each further batch in which this happens. ``rate`` is
    the step size that the optimiser will apply: the bump is handed to it as a gradient of -amount/rate, so with Adam
    it is a direction rather than a size.
    """

    allowed: float = 0.3
    amount: float = 5e-4
    rate: float = 1.0
    wakes_silent: ClassVar[bool] = True
    _streak: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if not (0.0 <= self.allowed <= 1.0 and self.amount > 0 and self.rate > 0):
            raise InputError(
                f"allowed must lie in [0, 1], amount and rate must be > 0; got {self.allowed}, {self.amount} and "
                f"{self.rate}."
            )

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """As ``Regulariser``."""
        last = len(model.layers) - 1
        weights = _weights(model, gradients, type(self).__name__)
        for k, (layer, out) in enumerate(zip(model.layers, spikes[1:])):
            if isinstance(layer, Readout):
                continue
            silent = out.counts() == 0
            if silent.mean() > (self.allowed if k < last else 0.0):
                for g in gradients:
                    g[...] = 0.0
                bump = self.amount * 2.0**self._streak / self.rate
                weights[k][...] = -bump * silent.mean(axis=0)
                self._streak += 1
                return
        self._streak = 0


@dataclass(frozen=True)
class CountRegularisation:
    """Pull the mean count of every hidden neuron into [lower, upper].

    Adds strength * (mean count - nearest bound) * (mean count of the source) to the weight gradient of a neuron
    outside: descent on half the squared excess, with the count taken to grow with each input spike.
    """

    strength: float = 1e-2
    lower: float = 0.1
    upper: float = 5.0
    wakes_silent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.strength > 0 and 0.0 <= self.lower <= self.upper):
            raise InputError(
                f"strength must be > 0 and 0 <= lower <= upper; got {self.strength}, {self.lower} and {self.upper}."
            )

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """As ``Regulariser``."""
        for g, (before, after) in zip(_weights(model, gradients, type(self).__name__)[:-1], pairwise(spikes)):
            mean = after.counts().mean(axis=0)
            excess = np.where(mean < self.lower, mean - self.lower, np.maximum(mean - self.upper, 0.0))
            g += self.strength * np.outer(before.counts().mean(axis=0), excess)


@dataclass(frozen=True)
class SilentVoltage:
    """A voltage term for silent hidden neurons: strength * (v_th - highest potential) of each, added to the loss.

    Its gradient by the neuron's own weights is exact (that of a Readout); it is not passed on to the layers below.
    Dense layers with one exponential current.
    """

    strength: float = 1e-2
    wakes_silent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.strength > 0:
            raise InputError(f"strength must be > 0; got {self.strength}.")

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """As ``Regulariser``."""
        weights = _weights(model, gradients, type(self).__name__)
        for layer, g, (before, after) in zip(model.layers[:-1], weights, pairwise(spikes)):
            silent = after.counts() == 0
            if not silent.any():
                continue
            if type(layer) is not Dense or not layer.shares_events:
                raise InputError("SilentVoltage is for Dense layers without lateral inhibition or delays by synapse.")
            twin = Readout(layer.n_in, layer.n_out, layer.neuron, delay=layer.delays.value())
            twin.weight = layer.weight
            by_voltage, _ = EventProp().backward(
                twin, before, twin.forward(before, t_stop), -self.strength / len(before) * silent, t_stop
            )
            g += by_voltage["weight"]


@dataclass(frozen=True)
class GradientClipping:
    """Scale all gradients of a batch down together where their joint Euclidean norm passes ``limit``."""

    limit: float = 1.0
    looks_at_spikes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.limit > 0:
            raise InputError(f"limit must be > 0; got {self.limit}.")

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """As ``Regulariser``."""
        norm = float(np.sqrt(sum(np.vdot(g, g) for g in gradients)))
        if norm > self.limit:
            for g in gradients:
                g *= self.limit / norm


@dataclass(frozen=True)
class WeightClipping:
    """After each step, put weights beyond +-limit back to it (TSSL-BP's code: 4)."""

    limit: float = 4.0
    looks_at_spikes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.limit > 0:
            raise InputError(f"limit must be > 0; got {self.limit}.")

    def __call__(self, model: Sequential, spikes: list[Any], gradients: list[Floats], t_stop: float) -> None:
        """As ``Regulariser``: nothing before the step."""

    def after_step(self, model: Sequential) -> None:
        """As ``AfterStep``."""
        for parameter in model.trained_arrays():
            if parameter.kind is Kind.WEIGHT:
                np.clip(parameter.array, -self.limit, self.limit, out=parameter.array)
