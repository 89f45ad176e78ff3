"""The values that travel between the rooms: neuron parameters, spike trains, batches of them.

Units everywhere: times in ms (float64), potentials in the unit of the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LIF:
    """Leaky integrate-and-fire neuron with exponential or delta synapses.

        tau_m dv/dt = -(v - v_rest) + bias + sum_r i_r,     tau_r di_r/dt = -i_r

    A spike of weight w that arrives does ``i_r += w`` (delta synapse: ``v += w``). The neuron spikes at
    the first t with v(t) >= v_th; then v = v_reset, held for t_ref while the currents run on.

    Parameters
    ----------
    tau_m : float or (size,) array, ms, > 0
    tau_syn : float, or pair (excitatory, inhibitory), or None for delta synapses; ms, > 0.
        With a pair, weights >= 0 feed the excitatory current and weights < 0 the inhibitory one.
    v_th, v_reset, v_rest, bias : float or (size,) array; v_reset < v_th
    t_ref : float or (size,) array, ms, >= 0
    v_init : float, (size,) array or None (= v_rest). A neuron with v_init >= v_th fires at t = 0.
    keep_refractory_input : delta synapses only. False: kicks during refractoriness are lost. True: they
        decay with tau_m and are added to v_reset at release.

    Raises
    ------
    ValueError : a parameter is not finite or out of the range above.
    """

    tau_m: Any = 20.0
    tau_syn: Any = 5.0
    v_th: Any = 1.0
    v_reset: Any = 0.0
    v_rest: Any = 0.0
    t_ref: Any = 0.0
    bias: Any = 0.0
    v_init: Any = None
    keep_refractory_input: bool = False

    def __post_init__(self) -> None:
        for name in ("tau_m", "v_th", "v_reset", "v_rest", "t_ref", "bias"):
            _finite_parameter(name, getattr(self, name))
        if self.v_init is not None:
            _finite_parameter("v_init", self.v_init)
        _positive("tau_m", self.tau_m)
        for name, tau in zip(("tau_syn", "tau_syn (inhibitory)"), self.receptor_taus()):
            _finite_parameter(name, tau)
            _positive(name, tau)
        if np.any(np.asarray(self.t_ref) < 0):
            raise ValueError(f"t_ref must be >= 0 ms; got {self.t_ref!r}. Use 0 for no refractory period.")
        if np.any(np.asarray(self.v_reset) >= np.asarray(self.v_th)):
            raise ValueError(
                f"v_reset must be below v_th, or the neuron would fire without end; got v_reset = "
                f"{self.v_reset!r}, v_th = {self.v_th!r}."
            )

    def receptor_taus(self) -> tuple[Any, ...]:
        """Time constants of the synaptic currents: () for delta, one, or (excitatory, inhibitory)."""
        if self.tau_syn is None:
            return ()
        if isinstance(self.tau_syn, tuple):
            if len(self.tau_syn) != 2:
                raise ValueError(
                    f"tau_syn as a tuple must be (excitatory, inhibitory); got {len(self.tau_syn)} values."
                )
            return self.tau_syn
        return (self.tau_syn,)

    def with_(self, **changes: Any) -> LIF:
        """A copy with some parameters replaced."""
        return replace(self, **changes)

    def asdict(self) -> dict[str, Any]:
        """Parameters by name, for saving."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class SpikeTrains:
    """Spikes of ``size`` neurons, ordered by time on construction (ties keep their given order).

    Parameters
    ----------
    times : (n_spikes,) float64, ms, finite
    neurons : (n_spikes,) integer, 0 <= neuron < size
    size : number of neurons (the silent ones count)

    Raises
    ------
    ValueError : NaN or infinite times, indices out of range, shapes that differ.
    """

    times: Floats
    neurons: Ints
    size: int

    def __init__(self, times: ArrayLike, neurons: ArrayLike, size: int) -> None:
        t, n = _checked_spikes(times, neurons, size)
        if t.size and np.any(t[1:] < t[:-1]):
            order = np.argsort(t, kind="stable")
            t, n = t[order], n[order]
        object.__setattr__(self, "times", t)
        object.__setattr__(self, "neurons", n)
        object.__setattr__(self, "size", int(size))

    def __len__(self) -> int:
        return int(self.times.size)

    def counts(self) -> NDArray[np.int64]:
        """Spikes of each neuron, shape (size,)."""
        return np.bincount(self.neurons, minlength=self.size)

    def of(self, neuron: int) -> Floats:
        """Spike times of one neuron, ascending, ms."""
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
    size : number of neurons
    currents : (n_spikes,) float64 or None: total synaptic current at each spike (threshold units), which
        with v = v_th gives the slope there, (v_rest + bias - v_th + current) / tau_m
    """

    times: Floats
    neurons: Ints
    offsets: NDArray[np.int64]
    size: int
    currents: Floats | None = field(default=None)

    def __post_init__(self) -> None:
        offsets = np.ascontiguousarray(self.offsets, dtype=np.int64)
        if offsets.ndim != 1 or offsets.size < 1 or offsets[0] != 0 or np.any(np.diff(offsets) < 0):
            raise ValueError("offsets must start at 0 and never decrease, one more than there are samples.")
        t, n = _checked_spikes(self.times, self.neurons, self.size)
        if offsets[-1] != t.size:
            raise ValueError(f"offsets end at {offsets[-1]}, but there are {t.size} spikes.")
        falls = np.zeros(t.size + 1, np.bool_)
        falls[1:-1] = t[1:] < t[:-1]
        falls[offsets] = False
        if falls.any():
            raise ValueError(
                "times must not decrease within a sample; build each sample as SpikeTrains, which sorts."
            )
        object.__setattr__(self, "times", t)
        object.__setattr__(self, "neurons", n)
        object.__setattr__(self, "offsets", offsets)

    @classmethod
    def from_trains(cls, trains: Sequence[SpikeTrains]) -> SpikeBatch:
        """Join recordings of equal size into one batch."""
        if not trains:
            raise ValueError("a batch needs at least one recording; got none.")
        sizes = {t.size for t in trains}
        if len(sizes) > 1:
            raise ValueError(f"all recordings of a batch must have the same size; got sizes {sorted(sizes)}.")
        offsets = np.zeros(len(trains) + 1, np.int64)
        np.cumsum([len(t) for t in trains], out=offsets[1:])
        return cls(
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
        return SpikeTrains(self.times[a:b], self.neurons[a:b], self.size)

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
        return SpikeBatch(self.times[place], self.neurons[place], offsets, self.size, currents)

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


def _checked_spikes(times: ArrayLike, neurons: ArrayLike, size: int) -> tuple[Floats, Ints]:
    t = np.ascontiguousarray(times, dtype=np.float64)
    raw = np.asarray(neurons)
    if t.ndim != 1 or raw.ndim != 1 or t.shape != raw.shape:
        raise ValueError(
            f"times and neurons must be 1-D and equally long; got shapes {t.shape} and {raw.shape}."
        )
    if raw.size and not np.issubdtype(raw.dtype, np.integer):
        raise ValueError(f"neurons must be integers; got dtype {raw.dtype}.")
    if not isinstance(size, (int, np.integer)) or size < 0:
        raise ValueError(f"size must be an integer >= 0; got {size!r}.")
    if not np.all(np.isfinite(t)):
        k = int(np.flatnonzero(~np.isfinite(t))[0])
        raise ValueError(f"spike times must be finite; times[{k}] is {t[k]}. Remove or repair that entry.")
    if raw.size and (raw.min() < 0 or raw.max() >= size):
        bad = raw[(raw < 0) | (raw >= size)][0]
        raise ValueError(f"neuron index {bad} is out of range: size = {size} allows 0 ... {size - 1}.")
    return t, np.ascontiguousarray(raw, dtype=np.int32)


def _finite_parameter(name: str, value: Any) -> None:
    a = np.asarray(value, dtype=np.float64)
    if a.ndim > 1:
        raise ValueError(f"{name} must be a number or one number per neuron; got shape {a.shape}.")
    if not np.all(np.isfinite(a)):
        raise ValueError(f"{name} must be finite; got {value!r}.")


def _positive(name: str, value: Any) -> None:
    if np.any(np.asarray(value) <= 0):
        raise ValueError(f"{name} must be > 0 ms; got {value!r}.")
