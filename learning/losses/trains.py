"""Losses of whole spike trains against target trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.van_rossum import van_rossum_samples
from evsim.learning.fields import check_fields
from evsim.learning.losses.checks import check_labels
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def by_neuron(spikes: SpikeBatch) -> tuple[np.ndarray, np.ndarray]:
    """Order of all spikes by (sample, neuron, time), and where each (sample, neuron) begins."""
    place = spikes.places()
    order = np.argsort(place, kind="stable")
    return order, np.searchsorted(place[order], np.arange(len(spikes) * spikes.size + 1))


def check_against(outputs: SpikeBatch, labels: np.ndarray, targets: SpikeBatch) -> np.ndarray:
    """Labels as (samples,) int64. Raises ValueError : labels or sizes that do not fit the targets."""
    if outputs.size != targets.size:
        raise InputError(f"the targets have {targets.size} neurons, the outputs {outputs.size}.")
    return check_labels(labels, len(outputs), len(targets))


def _nearest(loss: VanRossum | TargetTrains, outputs: SpikeBatch) -> np.ndarray:
    n = len(outputs)
    distance = [loss(outputs, np.full(n, c))[0] for c in range(len(loss.targets))]
    return np.argmin(distance, axis=0)


@dataclass(frozen=True, eq=False)
class VanRossum:
    """The van Rossum distance from target trains, in closed form, summed over the output neurons.

        D^2 = 1/2 sum_ij e^(-|t_i - t_j|/tau) + 1/2 sum_kl e^(-|s_k - s_l|/tau) - sum_ik e^(-|t_i - s_k|/tau)

    which is (1/tau) times the squared difference of the trains filtered with exp(-t/tau). One spike against none: 1/2.
    A spike at the very time of a target has a kink there; its derivative is taken as 0 from that pair.

    targets : one sample per class, the trains wanted of the output neurons
    tau : ms
    """

    targets: SpikeBatch
    tau: float = 10.0
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.tau > 0:
            raise InputError(f"tau must be > 0 ms; got {self.tau}.")

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,)."""
        labels = check_against(outputs, labels, self.targets)
        order, starts = by_neuron(outputs)
        theirs, target_starts = by_neuron(self.targets)
        loss, slope = np.zeros(len(outputs)), np.empty(outputs.times.size)
        van_rossum_samples(
            outputs.times[order], starts, self.targets.times[theirs], target_starts,
            labels, outputs.size, self.tau, loss, slope,
        )  # fmt: skip
        gradient = np.empty_like(slope)
        gradient[order] = slope
        # A squared distance, but sums that cancel to within rounding.
        return np.maximum(loss, 0.0), gradient

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The class whose target trains are nearest, ties to the smallest; (n,)."""
        return _nearest(self, outputs)


@dataclass(frozen=True, eq=False)
class TargetTrains:
    """Half the squared distance of the k-th spike of each output neuron from its k-th target.

    A surplus or missing spike adds ``penalty`` to the value; it has no derivative.

    targets : one sample per class; penalty : ms^2
    """

    targets: SpikeBatch
    penalty: float = 0.0
    signal: ClassVar[str] = "times"

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, outputs: SpikeBatch, labels: np.ndarray) -> tuple[Floats, Floats]:
        """Value of each sample (n,), and its derivative by each output spike time, (n_spikes,)."""
        labels = check_against(outputs, labels, self.targets)
        order, starts = by_neuron(outputs)
        theirs, target_starts = by_neuron(self.targets)
        neuron = np.tile(np.arange(outputs.size), len(outputs))
        cell = np.repeat(labels, outputs.size) * outputs.size + neuron
        wanted, there = np.diff(target_starts)[cell], np.diff(starts)
        place = np.repeat(np.arange(there.size), there)
        rank = np.arange(place.size) - starts[:-1][place]
        paired = rank < wanted[place]
        error = np.zeros(place.size)
        goal = self.targets.times[theirs][(target_starts[:-1][cell[place]] + rank)[paired]]
        error[paired] = outputs.times[order][paired] - goal
        loss = 0.5 * np.bincount(place // outputs.size, weights=error**2, minlength=len(outputs)).astype(np.float64)
        loss += self.penalty * np.abs(wanted - there).reshape(-1, outputs.size).sum(axis=1)
        gradient = np.empty_like(error)
        gradient[order] = error
        return loss, gradient

    def predict(self, outputs: SpikeBatch) -> np.ndarray:
        """The class whose target trains are nearest, ties to the smallest; (n,)."""
        return _nearest(self, outputs)
