"""Checks and views that losses share."""

from __future__ import annotations

import numpy as np

from evsim.types import Floats, SpikeBatch


def check_labels(labels: np.ndarray, samples: int, classes: int) -> None:
    """Raises ValueError : not one label per sample, or one that is no class."""
    if labels.shape != (samples,):
        raise ValueError(f"labels must have shape ({samples},); got {labels.shape}.")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels must lie in 0 ... {classes - 1}; got {labels.min()} ... {labels.max()}. "
            "Give the last layer one neuron per class."
        )


def sample_of(spikes: SpikeBatch) -> np.ndarray:
    """Sample of each spike, (n_spikes,)."""
    return np.repeat(np.arange(len(spikes)), np.diff(spikes.offsets))


def first_spikes(spikes: SpikeBatch) -> tuple[np.ndarray, Floats]:
    """Index of each neuron's first spike in each sample (-1: none) and its time (inf: none), (samples, size)."""
    place = sample_of(spikes) * spikes.size + spikes.neurons
    index = np.full(len(spikes) * spikes.size, -1)
    index[place[::-1]] = np.arange(place.size)[::-1]
    times = np.append(spikes.times, np.inf)[index]
    shape = len(spikes), spikes.size
    return index.reshape(shape), times.reshape(shape)


def at_spikes(values: Floats, index: np.ndarray, n: int) -> Floats:
    """(n,) with ``values`` at the indices that are not -1, 0 elsewhere."""
    out = np.zeros(n)
    found = index >= 0
    out[index[found]] = values[found]
    return out
