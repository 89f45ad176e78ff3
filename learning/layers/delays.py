"""Delays of a layer's synapses: fixed, or trained and positive by construction."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.learning.layers.parameter import Kind, Parameter
from evsim.spikes import SpikeBatch
from evsim.types import Floats

KINDS = (None, "input", "synapse")
_SPREAD = 0.25


class Delays:
    """Delays (ms) of an (n_in, n_out) block of synapses.

    Trained delays are max_delay sigmoid(logit) (Goeltz et al. 2025, DelGrad): they stay within (0, max_delay), and
    their logits start as N(0, 0.25^2).

    fixed : number, (n_in,) or (n_in, n_out), >= 0; used where nothing is trained
    trained : None, "input" or "synapse"

    Raises ValueError : negative, infinite or NaN delays, a wrong shape, an unknown kind, no max_delay
    """

    def __init__(self, fixed: Any, trained: str | None, max_delay: float, shape: tuple[int, int]) -> None:
        self.fixed: Floats = np.asarray(fixed, dtype=np.float64)
        self.shape, self.trained, self.max_delay = shape, trained, float(max_delay)
        if self.fixed.shape not in ((), shape[:1], shape):
            raise InputError(f"delay must be a number or have shape {shape[:1]} or {shape}; got {self.fixed.shape}.")
        if not np.all(np.isfinite(self.fixed)) or np.any(self.fixed < 0):
            raise InputError(f"delay must be finite and >= 0 ms; got {fixed}.")
        if trained not in KINDS:
            raise InputError(f"trainable delays are None, 'input' or 'synapse'; got {trained!r}.")
        if trained is not None and not (np.isfinite(max_delay) and max_delay > 0):
            raise InputError(f"trainable delays need a max_delay > 0 ms; got {max_delay}.")
        self.logit: Floats = np.zeros(shape[:1] if trained == "input" else shape if trained else ())

    def init(self, rng: np.random.Generator) -> None:
        """Draw the logits of trained delays."""
        if self.trained:
            self.logit = rng.normal(0.0, _SPREAD, self.logit.shape)

    def value(self) -> Floats:
        """Delays of now, ms: (), (n_in,) or (n_in, n_out)."""
        if not self.trained:
            return self.fixed
        value: Floats = self.max_delay / (1.0 + np.exp(-self.logit))
        return value

    def matrix(self) -> Any:
        """As ``Network.connect`` takes them: a number, or (n_in, n_out)."""
        d = self.value()
        return float(d) if d.ndim == 0 else np.broadcast_to(d.reshape(self.shape[0], -1), self.shape)

    def gradient_shapes(self) -> list[tuple[int, ...]]:
        """Shapes that dL/d delay may have: by synapse, or by input where all synapses of an input share a delay."""
        return [self.shape] if self.trained == "synapse" else [self.shape, self.shape[:1]]

    def check(self, owner: str) -> None:
        """Raises ValueError : logits that are not finite or have another shape. owner : the layer, for messages"""
        wanted = self.shape[:1] if self.trained == "input" else self.shape if self.trained else ()
        if self.logit.shape != wanted or not np.isfinite(self.logit).all():
            raise InputError(
                f"delay logits of {owner} must be finite, of shape {wanted}; got shape {self.logit.shape}."
            )

    @property
    def by_input(self) -> bool:
        """Does each spike arrive at all targets at once?"""
        return (self.logit if self.trained else self.fixed).ndim < 2

    def arrivals(self, inputs: SpikeBatch) -> tuple[SpikeBatch, np.ndarray | None]:
        """Input spikes moved to their arrivals, and the order in which they stand there (None: the same)."""
        d = self.value()
        if d.ndim == 0:
            if d == 0.0:
                return inputs, None
            return SpikeBatch.owning(inputs.times + d, inputs.neurons, inputs.offsets, inputs.size), None
        times = inputs.times + d[inputs.neurons]
        order = np.lexsort((inputs.neurons, times, inputs.samples()))
        return SpikeBatch.owning(times[order], inputs.neurons[order], inputs.offsets, inputs.size), order

    def trained_arrays(self, name: str) -> list[Parameter]:
        """The logits under that name, if delays are trained."""
        return [Parameter(name, Kind.DELAY, self.logit)] if self.trained else []

    def pull_back(self, gradients: dict[str, Floats], name: str) -> dict[str, Floats]:
        """dL/d logit from ``gradients[name]``, dL/d delay of shape (n_in,) or (n_in, n_out), per ms."""
        if not self.trained:
            return {}
        by_delay = gradients[name]
        if by_delay.shape != self.logit.shape:
            by_delay = by_delay.sum(axis=1)
        d = self.value()
        return {f"{name}_logit": by_delay * d * (1.0 - d / self.max_delay)}
