"""Losses of first spike times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import GradientError, InputError
from evsim.learning.fields import check_fields
from evsim.learning.losses.checks import at_spikes, check_labels, first_spikes
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_MOST = 700.0
"""exp of this is still finite, with room for the factors."""


def earliest(outputs: SpikeBatch) -> np.ndarray:
    """The output neuron that spikes first, -1 where none does; (n,)."""
    _, times = first_spikes(outputs)
    guess = np.argmin(times, axis=1)
    guess[np.isinf(times.min(axis=1))] = -1
    return guess


@dataclass(frozen=True)
class TTFSLoss:
    """Time-to-first-spike cross-entropy (Wunderlich and Pehle 2021, eq. of their Yin-Yang runs).

        L = -log(exp(-t_c/tau0) / sum_j exp(-t_j/tau0)) + alpha (exp(t_c/tau1) - 1)

    t_j is the first spike of output neuron j, c the label. The second term pulls the right one forward.

    tau0, tau1 : ms; alpha : weight of the second term
    missing : ms, the first spike that a silent neuron is taken to have, which has no derivative; None: its term is left
        out of the sum, and a sample whose right neuron is silent has the loss ``silent_loss`` and no gradient
    """

    tau0: float = 0.5
    tau1: float = 6.4
    alpha: float = 3e-3
    missing: float | None = None
    silent_loss: float = 5.0
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)
        if not (self.tau0 > 0 and self.tau1 > 0):
            raise InputError(f"tau0 and tau1 must be > 0 ms; got {self.tau0} and {self.tau1}.")

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,).

        Raises GradientError : exp(t_c/tau1) beyond float64; ValueError : a label that is no output neuron.
        """
        labels = check_labels(labels, len(outputs), outputs.size)
        index, times = first_spikes(outputs)
        if self.missing is not None:
            times = np.where(index < 0, self.missing, times)
        rows = np.arange(len(labels))
        of_label = times[rows, labels]
        there = np.isfinite(of_label)
        of_label = np.where(there, of_label, 0.0)
        # Differences to the label's time: no sum over- or underflows to 0.
        ahead = np.where(there[:, None], (of_label[:, None] - times) / self.tau0, -np.inf)
        ahead[~there, labels[~there]] = 0.0  # all weight on the silent neuron: none of the others has a derivative
        top = ahead.max(axis=1)
        weights = np.exp(ahead - top[:, None])
        total = weights.sum(axis=1)
        # Without alpha there is no second term, however late the spikes.
        late = self._late(of_label) if self.alpha else np.ones_like(of_label)
        loss = top + np.log(total) + self.alpha * (late - 1.0)
        slope = -weights / total[:, None] / self.tau0
        slope[rows, labels] += 1.0 / self.tau0 + self.alpha / self.tau1 * late
        return np.where(there, loss, self.silent_loss), at_spikes(slope, index, outputs.times.size)

    def _late(self, times: Floats) -> Floats:
        """exp(t/tau1)."""
        last = times.max(initial=0.0)
        if last > _MOST * self.tau1:
            raise GradientError(
                f"a labelled neuron first spikes at {last} ms, where exp(t/tau1) with tau1 = {self.tau1} ms passes the "
                "range of float64. Give a tau1 nearer to the duration, or alpha = 0."
            )
        return np.exp(times / self.tau1)

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The output neuron that spikes first; -1, which no label equals, where none spikes; (n,)."""
        return earliest(outputs)


@dataclass(frozen=True)
class TargetTimes:
    """Half the squared distance of first spikes from target times (as in the jaxsnn and DelGrad examples).

    correct, wrong : ms, for the labelled output neuron and the others
    shift_invariant : only differences matter: each sample's mean deviation is taken off
    missing : ms, the first spike that a silent neuron is taken to have, which has no derivative; None: it counts as 0
    """

    correct: float
    wrong: float
    shift_invariant: bool = False
    missing: float | None = None
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,)."""
        labels = check_labels(labels, len(outputs), outputs.size)
        index, times = first_spikes(outputs)
        if self.missing is not None:
            times = np.where(index < 0, self.missing, times)
        wanted = np.full(times.shape, self.wrong)
        wanted[np.arange(len(labels)), labels] = self.correct
        there = np.isfinite(times)
        error = np.where(there, times, wanted) - wanted
        if self.shift_invariant:
            mean = error.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
            error = np.where(there, error - mean[:, None], 0.0)
        return 0.5 * np.sum(error**2, axis=1), at_spikes(error, index, outputs.times.size)

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The output neuron that spikes first; -1 where none spikes; (n,)."""
        return earliest(outputs)
