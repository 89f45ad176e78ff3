"""Spike trains, and batches of them: the values that travel between the rooms.

Times in ms (float64).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evsim.checks import MOST, frozen, numbers, real, whole, whole_numbers
from evsim.errors import InputError
from evsim.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spikes of ``size`` neurons, ordered by time on construction (ties keep their given order).

    Parameters
    ----------
    times : (n_spikes,) float64, ms, finite; times with a unit are converted to ms
    neurons : (n_spikes,) integer, 0 <= neuron < size
    size : number of neurons (the silent ones count), below 2^31

    The arrays are copied and read-only. Two are equal (``==``) if size, times and neurons are.

    Raises
    ------
    ValueError : NaN or infinite times, indices out of range, shapes that differ.
    """

    times: Floats
    neurons: Ints
    size: int

    def __init__(self, times: ArrayLike, neurons: ArrayLike, size: int) -> None:
        t, n, size = _checked_spikes(times, neurons, size)
        if t.size and np.any(t[1:] < t[:-1]):
            order = np.argsort(t, kind="stable")
            t, n = t[order], n[order]
        self._keep(t, n, size)

    @classmethod
    def owning(cls, times: Floats, neurons: Ints, size: int) -> SpikeTrains:
        """Ordered spikes of arrays that nobody else will change: float64 and int32, neither checked nor copied."""
        trains = object.__new__(cls)
        trains._keep(times, neurons, size)
        return trains

    def _keep(self, times: Floats, neurons: Ints, size: int) -> None:
        object.__setattr__(self, "times", frozen(times))
        object.__setattr__(self, "neurons", frozen(neurons))
        object.__setattr__(self, "size", size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpikeTrains):
            return NotImplemented
        return (
            self.size == other.size
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.neurons, other.neurons)
        )

    def __hash__(self) -> int:
        return hash((self.size, self.times.size, *self.times[:1].tolist(), *self.times[-1:].tolist()))

    def __repr__(self) -> str:
        return f"SpikeTrains({_said_spikes(self.times)} of {self.size:,} neurons)"

    def __len__(self) -> int:
        return int(self.times.size)

    def counts(self) -> NDArray[np.int64]:
        """Spikes of each neuron, shape (size,)."""
        return np.bincount(self.neurons, minlength=self.size)

    def of(self, neuron: int) -> Floats:
        """Spike times of one neuron, ascending, ms."""
        neuron = whole("neuron", neuron)
        if not 0 <= neuron < self.size:
            raise IndexError(f"neuron {neuron} asked for, but there are {self.size} (0 ... {self.size - 1}).")
        return self.times[self.neurons == neuron]


@dataclass(frozen=True, eq=False)
class SpikeBatch:
    """Recordings of the same neurons in many samples, in flat arrays.

    Sample k owns the slice ``offsets[k]:offsets[k + 1]``.

    times : (n_spikes,) float64, ms, non-decreasing within a sample
    neurons : (n_spikes,) int32
    offsets : (n_samples + 1,) int64
    size : number of neurons, below 2^31
    currents : (n_spikes,) float64 or None: total synaptic current at each spike (threshold units), which
        with v = v_th gives the slope there, (v_rest + bias - v_th + current) / tau_m

    Given arrays are copied. Two are equal (``==``) if all their values are.

    Raises ValueError : as ``SpikeTrains``; offsets that are none, times that decrease within a sample.
    """

    times: Floats
    neurons: Ints
    offsets: NDArray[np.int64]
    size: int
    currents: Floats | None = field(default=None)

    def __post_init__(self) -> None:
        self._keep(copy=True)

    @classmethod
    def owning(
        cls, times: Floats, neurons: Ints, offsets: NDArray[np.int64], size: int, currents: Floats | None = None
    ) -> SpikeBatch:
        """As the constructor, of arrays that nobody else will change: they are checked, but not copied."""
        batch = object.__new__(cls)
        for name, value in zip(cls.__dataclass_fields__, (times, neurons, offsets, size, currents)):
            object.__setattr__(batch, name, value)
        batch._keep(copy=False)
        return batch

    def _keep(self, copy: bool) -> None:
        offsets = np.asarray(whole_numbers("offsets", self.offsets))
        wrong = offsets.ndim != 1 or offsets.size < 1 or offsets[0] != 0 or np.any(offsets[1:] < offsets[:-1])
        if wrong or offsets[-1] >= 2**63:
            raise ValueError("offsets must start at 0 and never decrease, one more than there are samples.")
        offsets = _as(np.int64, offsets, copy)
        t, n, size = _checked_spikes(self.times, self.neurons, self.size, copy)
        if offsets[-1] != t.size:
            raise ValueError(f"offsets end at {offsets[-1]}, but there are {t.size} spikes.")
        falls = np.zeros(t.size + 1, np.bool_)
        falls[1:-1] = t[1:] < t[:-1]
        falls[offsets] = False
        if falls.any():
            raise ValueError(
                "times must not decrease within a sample; build each sample as SpikeTrains, which sorts."
            )
        currents = self.currents
        if currents is not None:
            currents = np.array(numbers("currents", currents)) if copy else currents
            if currents.shape != t.shape:
                raise ValueError(f"currents must have one value per spike, shape {t.shape}; got {currents.shape}.")
        for name, value in zip(self.__dataclass_fields__, (t, n, offsets, size, currents)):
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpikeBatch):
            return NotImplemented
        same = self.size == other.size and (self.currents is None) == (other.currents is None)
        names = ("offsets", "times", "neurons", "currents")
        return same and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)

    def __hash__(self) -> int:
        return hash((self.size, len(self), self.times.size))

    def __repr__(self) -> str:
        return f"SpikeBatch({len(self):,} samples, {_said_spikes(self.times)} of {self.size:,} neurons)"

    @classmethod
    def from_trains(cls, trains: Sequence[SpikeTrains]) -> SpikeBatch:
        """Join recordings of equal size into one batch."""
        if not trains:
            raise InputError("a batch needs at least one recording; got none.")
        sizes = {t.size for t in trains}
        if len(sizes) > 1:
            raise InputError(f"all recordings of a batch must have the same size; got sizes {sorted(sizes)}.")
        offsets = np.zeros(len(trains) + 1, np.int64)
        np.cumsum([len(t) for t in trains], out=offsets[1:])
        return cls.owning(
            np.concatenate([t.times for t in trains]),
            np.concatenate([t.neurons for t in trains]),
            offsets,
            trains[0].size,
        )

    def __len__(self) -> int:
        return int(self.offsets.size - 1)

    def __iter__(self) -> Iterator[SpikeTrains]:
        return (self.sample(k) for k in range(len(self)))

    def sample(self, k: int) -> SpikeTrains:
        """The recording of sample k."""
        a, b = self.offsets[k], self.offsets[k + 1]
        return SpikeTrains.owning(self.times[a:b], self.neurons[a:b], self.size)

    def samples(self) -> NDArray[np.int64]:
        """Sample of each spike, (n_spikes,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def places(self) -> NDArray[np.int64]:
        """Sample times size plus neuron, of each spike, (n_spikes,): where it stands in a flat (n_samples, size)."""
        return self.samples() * self.size + self.neurons

    def take(self, samples: ArrayLike) -> SpikeBatch:
        """Some of the samples, in the given order, with their currents.

        samples : (k,) integers 0 ... len(self) - 1, in any order, repeated or not. Raises IndexError : anything else.
        """
        rows = np.asarray(samples)
        if rows.size and rows.dtype.kind not in "iu":
            raise IndexError(f"samples must be integers; got {rows.dtype}. For a mask, give np.flatnonzero(mask).")
        if rows.ndim != 1 or (rows.size and (rows.min() < 0 or rows.max() >= len(self))):
            raise IndexError(f"samples must be 1-D indices 0 ... {len(self) - 1}; got {samples!r}.")
        rows = rows.astype(np.int64)
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.append(0, np.cumsum(lengths))
        place = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        currents = None if self.currents is None else self.currents[place]
        return SpikeBatch.owning(self.times[place], self.neurons[place], offsets, self.size, currents)

    def counts(self) -> NDArray[np.int64]:
        """Spikes of each neuron in each sample, shape (n_samples, size)."""
        flat = np.bincount(self.places(), minlength=len(self) * self.size)
        return flat.reshape(len(self), self.size)


def spike_order(times: Floats, neurons: NDArray[Any]) -> NDArray[np.int64]:
    """Indices that order spikes by (time, neuron); near to linear in time where they come in a few ordered runs."""
    order = np.argsort(times, kind="stable")
    t, n = times[order], neurons[order]
    if np.any((t[1:] == t[:-1]) & (n[1:] < n[:-1])):
        return np.lexsort((neurons, times))
    return order


def _checked_spikes(
    times: ArrayLike, neurons: ArrayLike, size: int, copy: bool = True
) -> tuple[Floats, Ints, int]:
    if size is None or isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
        raise InputError(f"size must be an integer >= 0; got {size!r}.")
    if size > MOST:
        raise InputError(
            f"size must be at most 2^31 - 1 = {MOST}, as numbers of neurons have 32 bits; got {size}. Number the "
            "neurons that spike from 0: np.unique(ids, return_inverse=True)."
        )
    t = _times(times, copy)
    raw = whole_numbers("neurons", neurons)
    if t.ndim != 1 or raw.ndim != 1 or t.shape != raw.shape:
        raise InputError(
            f"times and neurons must be 1-D and equally long; got shapes {t.shape} and {raw.shape}."
        )
    if raw.size and (raw.min() < 0 or raw.max() >= size):
        bad = raw[(raw < 0) | (raw >= size)][0]
        raise InputError(f"neuron index {bad} is out of range: size = {size} allows 0 ... {size - 1}.")
    return t, _as(np.int32, raw, copy), int(size)


def _times(times: ArrayLike, copy: bool) -> Floats:
    if copy:
        t = np.asarray(real("times", times, "ms"))
    else:
        t = np.asarray(times)
    t = _as(np.float64, t, copy)
    if not np.all(np.isfinite(t)):
        k = int(np.flatnonzero(~np.isfinite(t))[0])
        raise InputError(f"spike times must be finite; times[{k}] is {t.flat[k]}. Remove or repair that entry.")
    return t


def _as(dtype: Any, values: NDArray[Any], copy: bool) -> NDArray[Any]:
    return np.array(values, dtype=dtype, order="C", copy=True if copy else None)


def _said_spikes(times: Floats) -> str:
    if times.size == 0:
        return "no spikes"
    return f"{times.size:,} spike{'s' * (times.size != 1)} from {times.min():g} to {times.max():g} ms"
