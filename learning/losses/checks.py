"""Checks and views that losses share."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.spikes import SpikeBatch
from evsim.types import Floats


def check_labels(labels: Any, samples: int, classes: int | None) -> np.ndarray:
    """Labels as (samples,) int64; classes : how many there are, None if anything goes.

    Raises ValueError : not one label per sample, labels that are no integers, or one that is no class.
    """
    checked = np.asarray(labels)
    if checked.shape != (samples,):
        raise InputError(f"labels must have shape ({samples},); got {checked.shape}.")
    if checked.size and checked.dtype.kind not in "iu":
        raise InputError(f"labels must be integers; got {checked.dtype}.")
    if checked.size and classes is not None and (checked.min() < 0 or checked.max() >= classes):
        raise InputError(
            f"labels must lie in 0 ... {classes - 1}; got {checked.min()} ... {checked.max()}. "
            "Give the last layer one neuron per class."
        )
    return checked.astype(np.int64, copy=False)


def first_spikes(spikes: SpikeBatch) -> tuple[np.ndarray, Floats]:
    """Index of each neuron's first spike in each sample (-1: none) and its time (inf: none), (samples, size)."""
    place = spikes.places()
    # Sorted by neuron without changing the order in time. (Writing all spikes, last to first, would rest on the order
    # in which numpy assigns to repeated indices, which it does not promise.)
    order = np.argsort(place, kind="stable")
    place = place[order]
    is_first = np.empty(place.size, np.bool_)
    is_first[:1] = True
    np.not_equal(place[1:], place[:-1], out=is_first[1:])
    index = np.full(len(spikes) * spikes.size, -1)
    index[place[is_first]] = order[is_first]
    times = np.append(spikes.times, np.inf)[index]
    shape = len(spikes), spikes.size
    return index.reshape(shape), times.reshape(shape)


def at_spikes(values: Floats, index: np.ndarray, n: int) -> Floats:
    """(n,) with ``values`` at the indices that are not -1, 0 elsewhere."""
    out = np.zeros(n)
    exists = index >= 0
    out[index[exists]] = values[exists]
    return out
