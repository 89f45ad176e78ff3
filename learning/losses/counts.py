"""Losses of spike counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning.fields import check_fields
from evsim.learning.losses.checks import check_labels
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def _wanted(desired: float, undesired: float, shape: tuple[int, int], labels: np.ndarray) -> Floats:
    wanted = np.full(shape, undesired)
    wanted[np.arange(shape[0]), labels] = desired
    return wanted


@dataclass(frozen=True)
class CountLoss:
    """Half the squared distance of spike counts from desired counts (HM2-BP, eq. of E).

    desired, undesired : counts wanted of the labelled output neuron and of the others
    margin : dead zone; an output neuron whose count is off by at most this much has error 0
    """

    desired: float = 35.0
    undesired: float = 5.0
    margin: float = 5.0
    signal: ClassVar[str] = "counts"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and dE/d count, shape (n, n_out).

        Raises ValueError : a label that is no output neuron, or no integer.
        """
        labels = check_labels(labels, len(outputs), outputs.size)
        counts = outputs.counts().astype(np.float64)
        error = counts - _wanted(self.desired, self.undesired, counts.shape, labels)
        error[np.abs(error) <= self.margin] = 0.0
        return 0.5 * np.sum(error**2, axis=1), error

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The output neuron with most spikes, ties to the smallest index; (n,)."""
        return np.argmax(outputs.counts(), axis=1)


@dataclass(frozen=True)
class SmoothCountLoss:
    """``CountLoss`` that spike times can follow: each spike counts sigmoid((end - t)/width) towards its neuron's count.

    A count has no derivative by spike times; here a spike that moves past ``end`` fades out over some ``width``.

    desired, undesired : as in CountLoss; end, width : ms
    """

    end: float
    desired: float = 5.0
    undesired: float = 1.0
    width: float = 5.0
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.width > 0:
            raise InputError(f"width must be > 0 ms; got {self.width}.")

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,)."""
        labels = check_labels(labels, len(outputs), outputs.size)
        share = 1.0 / (1.0 + np.exp(-np.clip((self.end - outputs.times) / self.width, -500.0, 500.0)))
        place = outputs.places()
        shape = len(outputs), outputs.size
        counts = np.bincount(place, weights=share, minlength=shape[0] * shape[1])
        error = counts.reshape(shape) - _wanted(self.desired, self.undesired, shape, labels)
        slope = -share * (1.0 - share) / self.width
        return 0.5 * np.sum(error**2, axis=1), error.ravel()[place] * slope

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The output neuron with most spikes, ties to the smallest index; (n,)."""
        return np.argmax(outputs.counts(), axis=1)
