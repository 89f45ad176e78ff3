"""Losses of a non-spiking readout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.layers.readout import Voltages
from evsim.learning.losses.checks import check_labels
from evsim.types import Floats


@dataclass(frozen=True)
class VoltageCrossEntropy:
    """Softmax cross-entropy of a Readout's values: maxima (Wunderlich and Pehle 2021) or integrals (Nowotny et al.).

    scale : > 0, factor on the values before the softmax
    """

    scale: float = 1.0
    signal: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.scale > 0:
            raise InputError(f"scale must be > 0; got {self.scale}.")

    def __call__(self, outputs: Voltages, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and dL/d value, (n, n_out)."""
        labels = check_labels(labels, len(outputs), outputs.size)
        v = outputs.values * self.scale
        v = v - v.max(axis=1, keepdims=True)
        e = np.exp(v)
        total = e.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        slope = e / total
        slope[rows, labels] -= 1.0
        return np.log(total[:, 0]) - v[rows, labels], slope * self.scale

    def predict(self, outputs: Voltages) -> np.ndarray:
        """The output neuron with the highest value, ties to the smallest index; (n,)."""
        return np.argmax(outputs.values, axis=1)
