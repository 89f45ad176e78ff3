"""Losses of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.errors import GradientError, InputError
from evsim.learning.fields import check_fields
from evsim.learning.losses.checks import check_labels
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class CustomLoss:
    """A function of the output spikes of one sample and its label.

    function : (SpikeTrains, label) -> value, or -> (value, derivative by each spike time (n_spikes,))
    chooses : (SpikeTrains) -> class, for accuracies; None: the neuron with most spikes
    step : ms. A function that gives a value only is differentiated by central differences, each spike moved by
        +-step with its neighbours where they are: two evaluations per spike, an error of about step^2 times its third
        derivative plus 1e-16/step times its value, and right only if the function is smooth over that step. A spike
        within step of 0 is moved to a negative time.
    """

    function: Callable[[SpikeTrains, int], Any]
    chooses: Callable[[SpikeTrains], int] | None = None
    step: float = 1e-5
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.step > 0:
            raise InputError(f"step must be > 0 ms; got {self.step}.")

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,).

        Raises GradientError : a value or derivative that is not finite or has another shape.
        """
        labels = check_labels(labels, len(outputs), None)
        values, slopes = np.empty(len(outputs)), np.empty(outputs.times.size)
        for k, label in enumerate(labels):
            part = slice(outputs.offsets[k], outputs.offsets[k + 1])
            values[k], slopes[part] = self._one(outputs.sample(k), int(label))
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))):
            raise GradientError("the loss function gave a value or derivative that is not finite.")
        return values, slopes

    def _one(self, train: SpikeTrains, label: int) -> tuple[float, Floats]:
        result = self.function(train, label)
        if isinstance(result, tuple):
            if len(result) != 2:
                raise GradientError(f"the loss function must give a value or (value, derivative); got {len(result)}.")
            value, slope = _number(result[0]), np.asarray(result[1], dtype=np.float64)
            if slope.shape != train.times.shape:
                raise GradientError(
                    f"the loss function must give one derivative per spike, {train.times.shape}; got {slope.shape}."
                )
            return value, slope
        value, slope = _number(result), np.empty(len(train))
        for s in range(len(train)):
            moved, at = [], []
            for change in (self.step, -self.step):
                times = train.times.copy()
                times[s] += change
                at.append(times[s])
                moved.append(_number(self.function(SpikeTrains(times, train.neurons, train.size), label)))
            slope[s] = (moved[0] - moved[1]) / (at[0] - at[1])  # not 2 step: t + step is rounded
        return value, slope

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """As ``chooses`` says; (n,)."""
        if self.chooses is None:
            return np.argmax(outputs.counts(), axis=1)
        return np.array([self.chooses(train) for train in outputs], dtype=np.int64)


def _number(value: Any) -> float:
    """Raises GradientError : not one number."""
    try:
        if np.ndim(value) == 0:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise GradientError(f"the loss function must give one number per sample; got {value!r}.")
