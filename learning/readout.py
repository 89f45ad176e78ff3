"""Readout: leaky integrators that do not spike; what they give is a number per neuron and sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.errors import NetworkError
from evsim.learning._kernels.readout import highest, integral_factors
from evsim.learning.delays import Delays
from evsim.neurons import neuron_arrays
from evsim.sweep import sweepable
from evsim.threads import over_stretches
from evsim.types import LIF, Floats, SpikeBatch


@dataclass(frozen=True, eq=False)
class Voltages:
    """What a Readout gives for a batch.

    values : (n, n_out), in the unit of the threshold (times ms for an integral)
    times : (n, n_out), ms; of a maximum the first instant that reaches it, of an integral t_stop
    corner : (n, n_out), index of the arrival at which a maximum stops rising; -1 for a smooth peak or an end
    slope : (n, n_out), dv/dt just before that corner
    """

    values: Floats
    times: Floats
    corner: np.ndarray
    slope: Floats

    def __len__(self) -> int:
        return int(self.values.shape[0])

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.values.shape[1])


@dataclass(eq=False)
class Readout:
    """All inputs to leaky integrators with one exponential current and no threshold.

    Parameters
    ----------
    n_in, n_out : sizes
    neuron : LIF; v_th, v_reset and t_ref mean nothing here
    feature : "max", the highest potential over [0, t_stop] (Wunderlich and Pehle 2021), or "integral",
        int_0^t_stop exp(-t/weighting) v(t) dt (Nowotny, Turner and Knight 2022)
    weighting : ms; None: a plain integral
    delay : ms, >= 0; a number or (n_in,)
    trainable_delays, max_delay : as in Dense, "input" only

    Raises NetworkError : delta synapses, two receptors, time constants that differ.
    """

    n_in: int
    n_out: int
    neuron: LIF
    feature: str = "max"
    weighting: float | None = None
    delay: Any = 0.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        if self.n_in < 1 or self.n_out < 1:
            raise ValueError(f"Readout needs sizes >= 1; got {self.n_in} -> {self.n_out}.")
        if self.feature not in ("max", "integral"):
            raise ValueError(f"feature must be max or integral; got {self.feature!r}.")
        if self.weighting is not None and not self.weighting > 0:
            raise ValueError(f"weighting must be > 0 ms, or None; got {self.weighting}.")
        if not sweepable(self.neuron) or len(self.neuron.receptor_taus()) != 1:
            raise NetworkError("a Readout needs one exponential synaptic current; all neurons share tau_m and tau_syn.")
        self.delays = Delays(self.delay, self.trainable_delays, self.max_delay, (self.n_in, self.n_out))
        if not self.delays.by_input:
            raise ValueError("a Readout takes one delay, or one per input; got one per synapse.")
        self.weight = np.zeros((self.n_in, self.n_out))

    def init(self, rng: np.random.Generator, scale: float = 1.0, mean: float | None = None) -> None:
        """Draw the weights from U(-scale, scale), or, with a mean, from N(mean, scale^2); and trained delays."""
        shape = (self.n_in, self.n_out)
        self.weight = rng.uniform(-scale, scale, shape) if mean is None else rng.normal(mean, scale, shape)
        self.delays.init(rng)

    def parameters(self) -> dict[str, Floats]:
        """The weight, and "delay_logit" if delays are trained."""
        return {"weight": self.weight, **self.delays.parameters("delay_logit")}

    def pull_back(self, gradients: dict[str, Floats]) -> dict[str, Floats]:
        """As ``Layer.pull_back``."""
        return {"weight": gradients["weight"], **self.delays.pull_back(gradients, "delay")}

    @property
    def rate(self) -> float:
        """1/weighting, per ms."""
        return 0.0 if self.weighting is None else 1.0 / self.weighting

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> Voltages:
        """The feature of every neuron in every sample."""
        arrivals, _ = self.delays.arrivals(inputs)
        p = neuron_arrays(self.neuron, self.n_out)
        shape = len(inputs), self.n_out
        corner, slope = np.full(shape, -1, np.int64), np.zeros(shape)
        if self.feature == "integral":
            share, start = integral_shares(self, arrivals, t_stop)
            values = share[0] @ self.weight + start + p.v_inf * _weight_of_time(self.rate, t_stop)
            return Voltages(values, np.full(shape, t_stop), corner, slope)
        values, times = np.empty(shape), np.empty(shape)

        def stretch(first: int, last: int) -> None:
            highest(
                arrivals.times, arrivals.neurons, arrivals.offsets, first, last, t_stop, self.weight,
                p.u_init, p.tau_m[0], p.tau_exc[0], values, times, corner, slope,
            )  # fmt: skip

        over_stretches(stretch, len(inputs), threads)
        return Voltages(values + p.v_inf, times, corner, slope)


def integral_shares(layer: Readout, arrivals: SpikeBatch, t_stop: float) -> tuple[Floats, Floats]:
    """What unit weights add to an integral and to its derivatives, and what the initial potential adds.

    Returns (3, n, n_in): the integral and its derivatives by tau_m and tau_syn, summed over each input's spikes; and
    (n_out,).
    """
    p = neuron_arrays(layer.neuron, layer.n_out)
    factors = arrival_factors(layer, arrivals, t_stop)
    n, n_in = len(arrivals), layer.n_in
    place = np.repeat(np.arange(n), np.diff(arrivals.offsets)) * n_in + arrivals.neurons
    sums = [np.bincount(place, weights=factors[:, c], minlength=n * n_in).reshape(n, n_in) for c in (0, 2, 3)]
    a = 1.0 / p.tau_m + layer.rate
    return np.stack(sums), p.u_init * -np.expm1(-a * t_stop) / a


def arrival_factors(layer: Readout, arrivals: SpikeBatch, t_stop: float) -> Floats:
    """``integral_factors`` of all arrivals, (n_spikes, 4)."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    factors = np.empty((arrivals.times.size, 4))
    integral_factors(arrivals.times, t_stop, p.tau_m[0], p.tau_exc[0], layer.rate, factors)
    return factors


def _weight_of_time(rate: float, t_stop: float) -> float:
    return t_stop if rate == 0.0 else float(-np.expm1(-rate * t_stop) / rate)
