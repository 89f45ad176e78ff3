"""Readout: leaky integrators that do not spike; what they give is a number per neuron and sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evsim.errors import InputError, NetworkError
from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.readout import Peaks, highest, integral_factors
from evsim.learning.fixed_order import rows_times
from evsim.learning.layers.delays import Delays
from evsim.learning.layers.dense import Layer
from evsim.learning.layers.moments import MOMENTARY, moments
from evsim.neurons.arrays import neuron_arrays
from evsim.neurons.lif import LIF, one_tau_each
from evsim.spikes import SpikeBatch
from evsim.threads import over_stretches
from evsim.types import Floats


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


@dataclass(eq=False, repr=False)
class Readout(Layer):
    """All inputs to leaky integrators with one exponential current and no threshold.

    Parameters
    ----------
    n_in, n_out : sizes
    neuron : LIF; v_th, v_reset and t_ref mean nothing here
    feature : "max", the highest potential over [0, t_stop] (Wunderlich and Pehle 2021), or "integral",
        int_0^t_stop exp(-t/weighting) v(t) dt (Nowotny, Turner and Knight 2022); with ``every`` also "potential" and
        "count"
    weighting : ms; None: a plain integral
    every : ms; the sample is cut into windows of this length, and each has a value of its own (``Moments``): the
        potential where it begins, the integral over it, or the count of arrivals in it, times their weights: a readout
        without memory. None: one value for the sample
    since : ms, of the first window; a potential that would be taken at 0 is left out
    delay : ms, >= 0; a number or (n_in,)
    trainable_delays, max_delay : as in Dense, "input" only
    trainable : as in Dense, without "v_th"

    With ``every``, weights and delays are all that can be trained.

    Raises NetworkError : delta synapses, two receptors, time constants that differ. ValueError : a feature that there
    is not, with or without ``every``
    """

    n_in: int
    n_out: int
    neuron: LIF
    feature: str = "max"
    weighting: float | None = None
    delay: Any = 0.0
    trainable_delays: str | None = None
    max_delay: float = 0.0
    trainable: tuple[str, ...] = ()
    every: float | None = None
    since: float = 0.0
    weight: Floats = field(init=False)
    delays: Delays = field(init=False)

    def __post_init__(self) -> None:
        self.make_synapses()
        if self.feature not in ("max", *MOMENTARY):
            raise InputError(f"feature must be one of max, {', '.join(MOMENTARY)}; got {self.feature!r}.")
        self._check_moments()
        if self.weighting is not None and not self.weighting > 0:
            raise InputError(f"weighting must be > 0 ms, or None; got {self.weighting}.")
        if not one_tau_each(self.neuron) or len(self.neuron.receptor_taus()) != 1:
            raise NetworkError("a Readout needs one exponential synaptic current; all neurons share tau_m and tau_syn.")
        if "v_th" in self.trainable:
            raise InputError("a Readout has no threshold to train; leave v_th out of trainable.")
        if not self.delays.by_input:
            raise InputError("a Readout takes one delay, or one per input; got one per synapse.")

    @property
    def rate(self) -> float:
        """1/weighting, per ms."""
        return 0.0 if self.weighting is None else 1.0 / self.weighting

    def _check_moments(self) -> None:
        if self.every is None:
            if self.feature in ("potential", "count"):
                raise InputError(f"a Readout of feature {self.feature} needs every, ms: the distance of its moments.")
            if self.since:
                raise InputError(f"since is where the first of many moments is, so it needs every; got {self.since}.")
            return
        if self.feature == "max":
            raise InputError(f"moments (every) are had of {', '.join(MOMENTARY)}; got the feature max.")
        if not self.every > 0 or not self.since >= 0:
            raise InputError(f"every must be > 0 and since >= 0 ms; got {self.every} and {self.since}.")
        if self.trainable:
            raise InputError("a Readout with every trains weights and delays only; leave trainable out.")

    def forward(self, inputs: SpikeBatch, t_stop: float, threads: int = 1) -> Any:
        """The feature of every neuron in every sample: Voltages, or Moments with ``every``.

        Raises ValueError : as ``Dense.forward``; no moment before t_stop
        """
        self.check_forward(inputs, t_stop, threads)
        if self.every is not None:
            return moments(self, inputs, t_stop, threads)
        arrivals, _ = self.delays.arrivals(inputs)
        p = neuron_arrays(self.neuron, self.n_out)
        shape = len(inputs), self.n_out
        corner, slope = np.full(shape, -1, np.int64), np.zeros(shape)
        if self.feature == "integral":
            share = by_sample(arrivals, arrival_factors(self, arrivals, t_stop, False)[:, 0])
            start = p.u_init * weight_of_time(1.0 / p.tau_m + self.rate, t_stop)
            values = rows_times(share, self.weight) + start + p.v_inf * weight_of_time(self.rate, t_stop)
            return Voltages(values, np.full(shape, t_stop), corner, slope)
        values, times = np.empty(shape), np.empty(shape)

        def stretch(first: int, last: int) -> None:
            highest(
                Batch.of(arrivals), p, self.weight, Peaks(values, times, corner, slope), first, last, float(t_stop)
            )

        over_stretches(stretch, len(inputs), threads)
        return Voltages(values + p.v_inf, times, corner, slope)


def arrival_factors(layer: Readout, arrivals: SpikeBatch, t_stop: float, with_taus: bool) -> Floats:
    """``integral_factors`` of all arrivals, (n_spikes, 4), or (n_spikes, 2) without those of the time constants."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    factors = np.empty((arrivals.times.size, 4 if with_taus else 2))
    integral_factors(arrivals.times, t_stop, p.tau_m[0], p.tau_exc[0], layer.rate, factors)
    return factors


def by_sample(arrivals: SpikeBatch, values: Floats) -> Floats:
    """Values of the arrivals, (n_spikes,), summed over each input's spikes: (n, n_in)."""
    shape = len(arrivals), arrivals.size
    sums = np.bincount(arrivals.places(), weights=values, minlength=shape[0] * shape[1])
    return sums.astype(np.float64).reshape(shape)


def weight_of_time(rate: Any, t_stop: float) -> Any:
    """int_0^t_stop exp(-rate t) dt; rate >= 0, per ms, a number or (n,)."""
    return t_stop if np.ndim(rate) == 0 and rate == 0.0 else -np.expm1(-rate * t_stop) / rate
