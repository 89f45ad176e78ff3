"""Losses of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.errors import GradientError
from evsim.types import Floats, SpikeBatch, SpikeTrains


@dataclass(frozen=True, eq=False)
class CustomLoss:
    """A function of the output spikes of one sample and its label.

    function : (SpikeTrains, label) -> value, or -> (value, derivative by each spike time (n_spikes,))
    chooses : (SpikeTrains) -> class, for accuracies; None: the neuron with most spikes
    step : ms. A function that gives a value only is differentiated by central differences, each spike moved by
        +-step with its neighbours where they are: two evaluations per spike, an error of about step^2 times its third
        derivative plus 1e-16/step, and right only if the function is smooth over that step.
    """

    function: Callable[[SpikeTrains, int], Any]
    chooses: Callable[[SpikeTrains], int] | None = None
    step: float = 1e-5
    signal: ClassVar[str] = "times"

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,).

        Raises GradientError : a value or derivative that is not finite or has another shape.
        """
        if np.shape(labels) != (len(outputs),):
            raise ValueError(f"labels must have shape ({len(outputs)},); got {np.shape(labels)}.")
        values, slopes = np.empty(len(outputs)), np.empty(outputs.times.size)
        for k, label in enumerate(labels):
            part = slice(outputs.offsets[k], outputs.offsets[k + 1])
            values[k], slopes[part] = self._one(outputs.sample(k), int(label))
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))):
            raise GradientError("the loss function gave a value or derivative that is not finite.")
        return values, slopes

    def _one(self, train: SpikeTrains, label: int) -> tuple[float, Floats]:
        found = self.function(train, label)
        if isinstance(found, tuple):
            value, slope = found
            slope = np.asarray(slope, dtype=np.float64)
            if slope.shape != train.times.shape:
                raise GradientError(
                    f"the loss function must give one derivative per spike, {train.times.shape}; got {slope.shape}."
                )
            return float(value), slope
        slope = np.empty(len(train))
        for s in range(len(train)):
            moved = []
            for change in (self.step, -self.step):
                times = train.times.copy()
                times[s] += change
                moved.append(float(self.function(SpikeTrains(times, train.neurons, train.size), label)))
            slope[s] = (moved[0] - moved[1]) / (2.0 * self.step)
        return float(found), slope

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """As ``chooses`` says; (n,)."""
        if self.chooses is None:
            return np.argmax(outputs.counts(), axis=1)
        return np.array([self.chooses(train) for train in outputs])
