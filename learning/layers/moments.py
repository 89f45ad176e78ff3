"""A Readout's values at many moments of a sample: what a loss at every moment, and its learning signal, start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.errors import InputError
from evsim.learning._kernels.arrays import Batch, Train
from evsim.learning._kernels.moments import (
    COUNT,
    INTEGRAL,
    POTENTIAL,
    Feature,
    UnitTraces,
    carry,
    moment_pushes,
    moment_shares,
    responses,
)
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.threads import over_stretches
from evsim.types import Floats

_KINDS = {"potential": POTENTIAL, "integral": INTEGRAL, "count": COUNT}
MOMENTARY = tuple(_KINDS)
"""Features of a Readout that can be had at many moments."""


@dataclass(frozen=True, eq=False)
class Moments:
    """What a Readout with ``every`` gives for a batch.

    values : (n, moments, n_out); a potential in the unit of the threshold, an integral of it (times ms), or a sum of
        weights
    starts : (moments,), ms; where each window begins; potentials are taken there
    end : ms, of the last window
    """

    values: Floats
    starts: Floats
    end: float

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.values.shape[2])


def starts_of(layer: Any, t_stop: float) -> Floats:
    """(moments,), ms; where the windows of a Readout with ``every`` begin. The last one ends at t_stop.

    Raises ValueError : there is none.
    """
    # The potential at 0 is that of a readout which nothing has reached.
    first = layer.every if layer.feature == "potential" and layer.since == 0.0 else layer.since
    n = int(np.ceil((t_stop - first) / layer.every * (1.0 - 1e-12)))
    if n < 1:
        raise InputError(
            f"{layer.describe()} has its first moment at {first} ms, but the sample ends at {t_stop} ms: lower since "
            "or every."
        )
    starts: Floats = first + layer.every * np.arange(n)
    return starts


def _feature(layer: Any) -> Feature:
    p = neuron_arrays(layer.neuron, layer.n_out)
    return Feature(_KINDS[layer.feature], float(p.tau_m[0]), float(p.tau_exc[0]), float(layer.rate))


def shares_of(layer: Any, arrivals: SpikeBatch, t_stop: float, threads: int = 1) -> Floats:
    """What unit weights add to the values, (samples, moments, n_in)."""
    feature = _feature(layer)
    borders = np.append(starts_of(layer, t_stop), t_stop)
    shares = np.zeros((len(arrivals), borders.size - 1, arrivals.size))

    def stretch(first: int, last: int) -> None:
        moment_shares(Batch.of(arrivals), borders, feature, shares, first, last)

    over_stretches(stretch, len(arrivals), threads)
    return shares


def without_spikes(layer: Any, starts: Floats, t_stop: float) -> Floats:
    """The values of neurons that no spike reaches, (moments, n_out)."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    t = starts[:, None]
    if layer.feature == "count":
        return np.zeros((starts.size, layer.n_out))
    if layer.feature == "potential":
        out: Floats = p.u_init * np.exp(-t / p.tau_m) + p.v_inf
        return out
    length = np.append(starts[1:], t_stop)[:, None] - t
    values = np.zeros((starts.size, layer.n_out))
    for size, a in ((p.u_init, 1.0 / p.tau_m + layer.rate), (p.v_inf, np.full(layer.n_out, layer.rate))):
        unit = -np.expm1(-a * length) / np.where(a == 0.0, 1.0, a)
        values += size * np.exp(-a * t) * np.where(a == 0.0, length, unit)
    return values


def moments(layer: Any, inputs: SpikeBatch, t_stop: float, threads: int) -> Moments:
    """What a Readout with ``every`` gives."""
    arrivals, _ = layer.delays.arrivals(inputs)
    starts = starts_of(layer, t_stop)
    shares = shares_of(layer, arrivals, t_stop, threads)
    return Moments(shares @ layer.weight + without_spikes(layer, starts, t_stop), starts, t_stop)


def weight_gradient(shares: Floats, signal: Floats) -> Floats:
    """dL/d weight of the Readout, (n_in, n_out), from shares and dL/d values, (samples, moments, ...)."""
    out: Floats = shares.reshape(-1, shares.shape[2]).T @ signal.reshape(-1, signal.shape[2])
    return out


def by_arrival(layer: Any, arrivals: SpikeBatch, signal: Floats, t_stop: float, threads: int) -> Floats:
    """dL/d arrival, (n_arrivals,), of potentials and integrals; signal : dL/d values."""
    feature = _feature(layer)
    borders = np.append(starts_of(layer, t_stop), t_stop)
    push = np.ascontiguousarray(signal @ layer.weight.T)  # sample by sample: each is a matrix of its own
    out = np.zeros(arrivals.times.size)

    def stretch(first: int, last: int) -> None:
        moment_pushes(Batch.of(arrivals), borders, feature, push, out, first, last)

    over_stretches(stretch, len(arrivals), threads)
    return out


def windows_before(layer: Any, delay: float, t_stop: float) -> tuple[Floats, Callable[[Floats], Floats]]:
    """The windows as seen from the layer below, (moments,) ms, and what a spike that leaves it at times (q,) is worth:
    to the value of its own window, per unit weight.

    A potential counts the kick that has the area of the PSP, tau_syn/tau_m, an integral what is left of it in the
    window, a count 1.
    """
    windows = starts_of(layer, t_stop) - delay
    p = neuron_arrays(layer.neuron, layer.n_out)
    ends = np.append(windows[1:], t_stop - delay)
    kick = {"potential": float(p.tau_exc[0] / p.tau_m[0]), "count": 1.0}.get(layer.feature)

    def profile(times: Floats) -> Floats:
        if kick is not None:
            return np.full(times.size, kick)
        out = np.empty(times.size)
        row = np.maximum(np.searchsorted(windows, times, side="right") - 1, 0)
        responses(times + delay, ends[row] - times, p.tau_m[0], p.tau_exc[0], layer.rate, out)
        return out

    return windows, profile


class MomentsOfStream:
    """The windows of a Readout with ``every`` in a sample that comes piece by piece, in the time of the layer below.

    borders : (moments + 1,), ms, beginnings of the windows and the end of the last
    share : (n_in,), of unit weights, in the value of the window that is open
    """

    def __init__(self, layer: Any, delay: float, t_stop: float) -> None:
        self.layer, self.delay = layer, delay
        self.starts = starts_of(layer, t_stop)
        self.borders = np.append(self.starts, t_stop) - delay
        self.without = without_spikes(layer, self.starts, t_stop)
        self.values = np.empty((self.starts.size, layer.n_out))
        self.u, self.current, self.share = (np.zeros(layer.n_in) for _ in range(3))
        self.passed = 0

    def next_border(self, end: float) -> float:
        """The next border, ms, or ``end`` if there is none before."""
        return min(end, float(self.borders[self.passed])) if self.passed < self.borders.size else end

    def advance(self, times: Floats, neurons: np.ndarray, start: float, end: float) -> None:
        """Spikes of the layer below from ``start`` to before ``end`` (ms), no border in between."""
        begin = start + self.delay if start > 0.0 else 0.0
        carry(
            Train(times + self.delay, neurons), 0, times.size, begin, end + self.delay, _feature(self.layer),
            UnitTraces(self.u, self.current), self.share,
        )  # fmt: skip

    def close(self) -> tuple[int, Floats]:
        """At a border: the window that ends, -1 before the first, and its share; the next one begins."""
        ended, share = self.passed - 1, self.share
        if ended >= 0:
            self.values[ended] = share @ self.layer.weight + self.without[ended]
        self.passed += 1
        self.share = self.u.copy() if self.layer.feature == "potential" else np.zeros(self.u.size)
        return ended, share
