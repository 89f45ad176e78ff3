"""Learning signals of layers, as functions of time: what a spike of a neuron at t does to the loss.

Errors of the last layer are coefficients times one function of time. A layer below gets them through weights (of the
layer above, or random ones), or, if spiking layers lie between, through their secondary activations at each instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from evsim import streams
from evsim.errors import GradientError
from evsim.learning.rules.traces.events import LayerEvents, Membrane
from evsim.learning.surrogates import Surrogate
from evsim.types import Floats


class LearningSignal(Protocol):
    """Learning signal of the n neurons of a layer in each sample."""

    def breaks(self, sample: int) -> Floats:
        """Times at which it jumps or bends, ms."""
        ...

    def at(self, sample: int, times: Floats) -> tuple[Floats, np.ndarray, Floats]:
        """coefficients (rows, n), row (q,) and phi (q,) at sorted times: the signal is phi coefficients[row]."""
        ...


@dataclass(frozen=True, eq=False)
class Separable:
    """phi(t) times the coefficients of the window that holds t; 0 before the first window, before ``begin`` and from
    ``end`` on.

    coefficients : (samples, windows, n)
    windows : (windows,) where each begins, ms
    profile : times (q,) -> phi (q,)
    end : ms
    top : the errors of the last layer that these came from, for ``LearningSignal`` by random feedback
    depth : spiking layers from here to the last layer
    begin : ms
    """

    coefficients: Floats
    windows: Floats
    profile: Callable[[Floats], Floats]
    end: float
    top: Floats
    depth: int = 0
    begin: float = 0.0

    def breaks(self, sample: int) -> Floats:
        """The beginnings of the windows, and beginning and end of the signal."""
        return np.append(self.windows, [self.begin, self.end])

    def at(self, sample: int, times: Floats) -> tuple[Floats, np.ndarray, Floats]:
        """As in ``LearningSignal``."""
        row = np.searchsorted(self.windows, times, side="right") - 1
        phi = np.where((row >= 0) & (times >= self.begin) & (times < self.end), self.profile(times), 0.0)
        return self.coefficients[sample], np.maximum(row, 0), phi

    def through(self, weight: Floats) -> Separable:
        """The same for neurons that reach these by ``weight``, (n_below, n)."""
        return replace(self, coefficients=self.coefficients @ weight.T)

    def random(self, n: int, seed: int, depth: int | None = None) -> Separable:
        """Direct feedback alignment (Nokland 2016): the last layer's errors through a fixed random matrix.

        Its entries are U(-b, b), b = 1/sqrt(n_top), drawn from (seed, depth); None: the depth of now.
        """
        bound = 1.0 / np.sqrt(self.top.shape[2])
        depth = self.depth if depth is None else depth
        rng = streams.rng("feedback", seed, depth)
        feedback = rng.uniform(-bound, bound, (n, self.top.shape[2]))
        return replace(self, coefficients=self.top @ feedback.T, depth=depth + 1)


@dataclass(frozen=True, eq=False)
class Through:
    """Signal of the inputs of a spiking layer: sum_k q_ki psi(u_k(t))/d_ref delta_k(t), t when their spike arrives.

    q = w tau_syn/tau_m, the kick of the potential that has the area of a synapse's PSP; with delta synapses q = w.

    layer : the layer above; upper : its learning signal; weight : (n_in, n_out); delay : ms, of its synapses
    """

    layer: LayerEvents
    upper: LearningSignal
    weight: Floats
    delay: float
    psi: Surrogate
    d_ref: float
    end: float

    def breaks(self, sample: int) -> Floats:
        """Arrivals, spikes and releases of the layer above, and what breaks its learning signal; seen from below."""
        arrivals, _, spikes, fired = self.layer.window(sample, 0.0, self.end)
        breaks = [arrivals, spikes, self.layer.releases(spikes, fired), self.upper.breaks(sample)]
        return np.concatenate(breaks) - self.delay

    def at(self, sample: int, times: Floats) -> tuple[Floats, np.ndarray, Floats]:
        """As in ``LearningSignal``; one row for each instant."""
        t = times + self.delay
        arrivals, sources, spikes, fired = self.layer.window(sample, 0.0, np.inf)
        u = Membrane.at_rest(self.layer.neurons).follow(self.layer, t, arrivals, sources, spikes, fired)
        coefficients, row, phi = self.upper.at(sample, t)
        delta = coefficients[row] * np.where(t < self.end, phi, 0.0)[:, None]
        slope = self.psi(u / self.layer.neurons.theta) / self.d_ref
        q = self.weight * (self.layer.tau_s / self.layer.tau_m if self.layer.tau_s else 1.0)
        return (delta * slope) @ q.T, np.arange(times.size), np.ones(times.size)


@dataclass(frozen=True, eq=False)
class Masked:
    """LearningSignal of a layer of which some neurons hand nothing on. keep : (samples, n) bool"""

    learning: LearningSignal
    keep: np.ndarray

    def breaks(self, sample: int) -> Floats:
        """As of all neurons."""
        return self.learning.breaks(sample)

    def at(self, sample: int, times: Floats) -> tuple[Floats, np.ndarray, Floats]:
        """As in ``LearningSignal``."""
        coefficients, row, phi = self.learning.at(sample, times)
        return coefficients * self.keep[sample], row, phi


def masked(learning: LearningSignal, keep: np.ndarray) -> LearningSignal:
    """The same, 0 for neurons that hand nothing on. keep : (samples, n) bool"""
    if isinstance(learning, Separable):
        return replace(learning, coefficients=learning.coefficients * keep[:, None, :])
    return Masked(learning, keep)


def check_learning_signal(learning: LearningSignal, samples: int, n: int) -> None:
    """Raises GradientError : a learning signal of other samples or neurons."""
    shape = (samples, n)
    covered = shape
    if isinstance(learning, Separable):
        covered = learning.coefficients.shape[0], learning.coefficients.shape[2]
    elif isinstance(learning, Through):
        covered = len(learning.layer.arrivals), learning.weight.shape[0]
    elif isinstance(learning, Masked):
        covered = learning.keep.shape
    if covered != shape:
        raise GradientError(f"the learning signal is of {covered} (samples, neurons), the layer's outputs of {shape}.")


def is_learning_signal(signal: Any) -> bool:
    """Did a layer above give it, rather than a loss?"""
    return isinstance(signal, Separable | Through | Masked)
