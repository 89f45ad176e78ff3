"""From values to spikes: Poisson, latency and regular codes, and constant currents.

Encoders take values of one sample, shape (n,), and give SpikeTrains, or of several, shape (samples, n),
and give a SpikeBatch. Times in ms, rates in Hz; values with other units of time or rate are converted. What they give
owns its arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evsim import streams
from evsim.checks import number, numbers, whole, whole_numbers
from evsim.errors import InputError
from evsim.memory import check_memory
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.threads import over_stretches
from evsim.types import Floats, Ints

_MANY = 1e6
"""Spikes whose memory is asked for before it is taken."""


def poisson(
    rates: ArrayLike,
    duration: float,
    *,
    seed: int = 0,
    keys: ArrayLike | None = None,
    epoch: int = 0,
    threads: int = 1,
) -> Any:
    """Independent Poisson processes in continuous time on [0, duration).

    Parameters
    ----------
    rates : (n,) or (samples, n), Hz, >= 0
    keys : (samples,) integers naming the random stream of each sample (default 0, 1, 2, ...): the spikes
        of a sample depend on (seed, epoch, key) alone, never on its place in a batch or on threads

    Raises
    ------
    ValueError : values that are no numbers or out of range, keys that are no integers of 64 bits
    NetworkError : more spikes than the memory holds
    """
    from evsim._kernels.random.poisson import poisson_samples
    from evsim.memory import check_memory

    values, duration, single = _checked_rates(rates, duration)
    threads = whole("threads", threads, low=1)
    seed, epoch = _word("seed", seed), _word("epoch", epoch)
    names = np.arange(len(values)) if keys is None else whole_numbers("keys", keys)
    if names.dtype.kind == "u":
        # The key is a word of 64 bits: its sign is of no account, and large ones keep all their bits.
        names = names.astype(np.uint64).view(np.int64)
    if names.shape != (len(values),):
        raise InputError(f"keys must have one integer per sample, shape ({len(values)},); got {names.shape}.")
    per_ms = values / 1000.0
    spikes = float(per_ms.sum()) * duration
    if spikes > _MANY:
        check_memory(24.0 * spikes, f"{spikes:.3g} expected spikes")
    stream = streams.kernel_keys("spikes", seed, epoch, names)
    counts = np.zeros(len(values), np.int64)

    def stretch(first: int, last: int) -> tuple[Floats, Ints]:
        expected = float(per_ms[first:last].sum()) * duration
        capacity = int(expected + 10.0 * np.sqrt(expected) + 64)
        times, neurons = np.empty(capacity), np.empty(capacity, np.int32)
        progress = np.array([first, 0])
        while not poisson_samples(
            per_ms, stream, duration, times, neurons, counts, progress, last
        ):
            times = np.concatenate([times, np.empty_like(times)])
            neurons = np.concatenate([neurons, np.empty_like(neurons)])
        return times[: progress[1]], neurons[: progress[1]]

    parts = over_stretches(stretch, len(values), threads)
    offsets = np.append(0, np.cumsum(counts))
    times = np.concatenate([np.empty(0), *(p[0] for p in parts)])
    neurons = np.concatenate([np.empty(0, np.int32), *(p[1] for p in parts)])
    return _result(times, neurons, offsets, values.shape[1], single)


def latency(values: ArrayLike, duration: float, *, threshold: float = 0.0, early: float = 0.0) -> Any:
    """One spike per neuron, the earlier the larger: t = early + (1 - value) (duration - early).

    A value <= threshold gives none.

    values : (n,) or (samples, n) within [0, 1]
    """
    v, duration, single = _checked_values(values, duration)
    _in_unit_interval(v)
    threshold, early = number("threshold", threshold), _in_order(early, duration)
    sample, neuron = np.nonzero(v > threshold)
    return _sorted(early + (1.0 - v[sample, neuron]) * (duration - early), sample, neuron, v.shape, single)


def linear(values: ArrayLike, early: float, late: float) -> Any:
    """One spike per neuron, the later the larger: t = early + value (late - early).

    values : (n,) or (samples, n) within [0, 1]
    """
    v, late, single = _checked_values(values, late, "late")
    _in_unit_interval(v)
    early = _in_order(early, late)
    sample, neuron = np.indices(v.shape).reshape(2, -1)
    return _sorted(early + v.ravel() * (late - early), sample, neuron, v.shape, single)


def with_spike(spikes: SpikeBatch, time: float) -> SpikeBatch:
    """The same samples with one more neuron, the last, that spikes at ``time`` (ms) in each of them: a bias input."""
    time = number("time", time, unit="ms")
    sample = np.append(spikes.samples(), np.arange(len(spikes)))
    times = np.append(spikes.times, np.full(len(spikes), time))
    neurons = np.append(spikes.neurons, np.full(len(spikes), spikes.size))
    batch: SpikeBatch = _sorted(times, sample, neurons, (len(spikes), spikes.size + 1), False)  # type: ignore[assignment]
    return batch


def regular(rates: ArrayLike, duration: float, *, phase: float = 0.5) -> Any:
    """Equally spaced spikes: t_k = (k + phase) 1000/rate for all t_k < duration.

    rates : (n,) or (samples, n), Hz, >= 0; phase : in [0, 1], of the first interval
    """
    r, duration, single = _checked_rates(rates, duration)
    phase = number("phase", phase)
    if not 0.0 <= phase <= 1.0:
        raise InputError(f"phase must lie in [0, 1]; got {phase}.")
    counts = np.maximum(np.ceil(r * duration / 1000.0 - phase), 0).astype(np.int64)
    sample, neuron = (np.repeat(a.ravel(), counts.ravel()) for a in np.indices(r.shape))
    total = int(counts.sum())
    first = np.repeat(np.cumsum(counts.ravel()) - counts.ravel(), counts.ravel())
    times = (np.arange(total) - first + phase) * (1000.0 / r[sample, neuron])
    keep = times < duration
    return _sorted(times[keep], sample[keep], neuron[keep], r.shape, single)


def analog_current(values: ArrayLike, weight: ArrayLike) -> Floats:
    """Constant currents instead of spikes: bias = values @ weight, for ``LIF(bias=...)``.

    values : (n,) or (samples, n); weight : (n, post), threshold units. Returns (post,) or (samples, post).
    A neuron with a constant current fires at exact times too: the current shifts v_inf.
    """
    v, w = np.asarray(numbers("values", values)), np.asarray(numbers("weight", weight))
    if w.ndim != 2 or v.shape[-1:] != w.shape[:1]:
        raise InputError(f"weight must have shape (n, post) with n = {v.shape[-1:]}; got {w.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        currents: Floats = v @ w
    return np.array(numbers("values @ weight", currents))


def _checked_values(
    values: ArrayLike, duration: float, end: str = "duration", name: str = "values", unit: str | None = None
) -> tuple[Floats, float, bool]:
    """Values as (samples, n), the end of the interval in ms, and whether they are of one sample."""
    v = np.asarray(numbers(name, values, unit=unit))
    if v.ndim not in (1, 2):
        raise InputError(f"{name} must have shape (n,) or (samples, n); got {v.shape}.")
    return np.atleast_2d(v), number(end, duration, unit="ms", above=0.0), v.ndim == 1


def _checked_rates(rates: ArrayLike, duration: float) -> tuple[Floats, float, bool]:
    v, duration, single = _checked_values(rates, duration, name="rates", unit="Hz")
    if np.any(v < 0):
        raise InputError(f"rates must be >= 0 Hz; got {v.min()}.")
    # A spike takes some 60 bytes while it is made and ordered.
    expected = float(v.sum()) * duration / 1000.0
    what = f"{expected:.3g} spikes, as many as these rates give in {duration:g} ms,"
    check_memory(60.0 * expected, what, "lower rates")
    return v, duration, single


def _word(name: str, value: int) -> int:
    return whole(name, value, low=-(2**63), high=2**63 - 1)


def _in_order(early: float, late: float) -> float:
    early = number("early", early, unit="ms")
    if not 0.0 <= early < late:
        raise InputError(f"spikes must lie in a window 0 <= early < late; got {early} ... {late} ms.")
    return early


def unit_interval(values: ArrayLike) -> Floats:
    """Values for an encoder as (n,) or (samples, n) float64; ValueError : other shapes, NaN, or outside [0, 1]."""
    v, _, single = _checked_values(values, 1.0)
    _in_unit_interval(v)
    return np.array(v[0] if single else v)


def _in_unit_interval(v: Floats) -> None:
    if v.size and (v.min() < 0.0 or v.max() > 1.0):
        raise InputError(f"values must lie in [0, 1]; got {v.min()} ... {v.max()}. Scale them first.")


def _sorted(
    times: Floats, sample: np.ndarray, neuron: np.ndarray, shape: tuple[int, ...], single: bool
) -> SpikeTrains | SpikeBatch:
    order = np.lexsort((neuron, times, sample))
    offsets = np.searchsorted(sample[order], np.arange(shape[0] + 1))
    return _result(times[order], neuron[order], offsets, shape[1], single)


def _result(
    times: Floats, neurons: np.ndarray, offsets: ArrayLike, size: int, single: bool
) -> SpikeTrains | SpikeBatch:
    if single:
        return SpikeTrains(times, neurons, size)
    return SpikeBatch.owning(times, neurons, np.asarray(offsets, dtype=np.int64), size)
