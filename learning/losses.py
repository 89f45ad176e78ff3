"""Losses: from the output spikes and labels to a value and its derivative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim.types import Floats, SpikeBatch


@dataclass(frozen=True)
class CountLoss:
    """Half the squared distance of spike counts from desired counts (HM2-BP, eq. of E).

    desired, undesired : counts wanted of the labelled output neuron and of the others
    margin : dead zone; an output neuron whose count is off by at most this much has error 0
    """

    desired: float = 35.0
    undesired: float = 5.0
    margin: float = 5.0

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and dE/d count, shape (n, n_out).

        Raises ValueError : a label that is no output neuron.
        """
        counts = outputs.counts().astype(np.float64)
        if labels.shape != (len(outputs),):
            raise ValueError(f"labels must have shape ({len(outputs)},); got {labels.shape}.")
        if labels.size and (labels.min() < 0 or labels.max() >= outputs.size):
            raise ValueError(
                f"labels must lie in 0 ... {outputs.size - 1}; got {labels.min()} ... {labels.max()}. "
                "Give the last layer one neuron per class."
            )
        wanted = np.full(counts.shape, self.undesired)
        wanted[np.arange(len(outputs)), labels] = self.desired
        error = counts - wanted
        error[np.abs(error) <= self.margin] = 0.0
        return 0.5 * np.sum(error**2, axis=1), error


def predict(outputs: SpikeBatch) -> np.ndarray:
    """Class of each sample: the output neuron with most spikes, ties to the smallest index; (n,)."""
    return np.argmax(outputs.counts(), axis=1)
