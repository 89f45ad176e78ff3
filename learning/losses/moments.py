"""A loss at every moment of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.moments import Moments
from evsim.learning.losses.checks import check_labels
from evsim.types import Floats


@dataclass(frozen=True)
class MomentaryCrossEntropy:
    """Mean over the moments of a Readout with ``every`` of (1 - squared) softmax cross-entropy + squared mean squared
    error (OTTT, Xiao et al. 2022, with 0.05; S-TLLR, Apolinario and Roy 2025, with 0).

    scale : > 0, factor on the values
    squared : share of the mean over the outputs of (value - wanted)^2; wanted is 1 for the labelled one, 0 for others
    """

    scale: float = 1.0
    squared: float = 0.0
    signal: ClassVar[str] = "moments"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.scale > 0:
            raise InputError(f"scale must be > 0; got {self.scale}.")
        if not 0.0 <= self.squared <= 1.0:
            raise InputError(f"squared must lie in [0, 1]; got {self.squared}.")

    def __call__(self, outputs: Moments, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and dL/d value, (n, moments, n_out)."""
        labels = check_labels(labels, len(outputs), outputs.size)
        v = outputs.values * self.scale
        wanted = np.zeros((len(outputs), 1, outputs.size))
        wanted[np.arange(len(labels)), 0, labels] = 1.0
        top = v.max(axis=2, keepdims=True)
        e = np.exp(v - top)
        total = e.sum(axis=2, keepdims=True)
        entropy = (np.log(total) + top - (v * wanted).sum(axis=2, keepdims=True))[:, :, 0]
        off = v - wanted
        value = (1.0 - self.squared) * entropy + self.squared * (off**2).mean(axis=2)
        slope = (1.0 - self.squared) * (e / total - wanted) + 2.0 * self.squared / outputs.size * off
        return value.mean(axis=1), slope * (self.scale / v.shape[1])

    def predict(self, outputs: Moments) -> np.ndarray:
        """The output neuron with the highest sum of values over the moments, ties to the smallest index; (n,)."""
        return np.argmax(outputs.values.sum(axis=1), axis=1)
