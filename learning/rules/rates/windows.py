"""Rates of windows, and how a layer's rates follow its drives: what rate-based backpropagation goes back through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evsim.errors import GradientError
from evsim.learning._kernels import rate_response as kernels
from evsim.learning._kernels.arrays import Batch, Surrogate
from evsim.learning._kernels.rate_pieces import Nodes
from evsim.learning._kernels.readout import integral_factors
from evsim.learning.fixed_order import total
from evsim.learning.layers.dense import Dense, Recurrent
from evsim.learning.layers.readout import Readout, Voltages
from evsim.learning.rules.rates.slopes import analytic_rate, diffusion_rate, interval_slope
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.threads import over_stretches
from evsim.types import Floats

ESTIMATORS = ("surrogate", "analytic", "interval", "diffusion")


@dataclass(frozen=True, eq=False)
class LayerRates:
    """Rates of a layer in K windows, and what they follow.

    rates : (samples, K, n_out), per ms
    drive : (samples, K, n_out), threshold units per ms, of the synapses (a bias is part of the threshold)
    slope : (samples, K, n_out), d rate/d drive of the same window, per threshold unit
    fallback : (samples, K, n_out), whether ``silent_share`` gave the slope
    between : (samples, n_out, K, N_RESPONSES) of ``_kernels.rate_response``, what leads from a window to later ones;
        None for one window
    source_rates : (samples, K, sources), per ms, as they arrive; a Recurrent layer's own neurons after its inputs
    unit : drive of one spike per ms through a weight of 1
    length : of a window, ms; left : share of a synaptic current that is left after a window
    """

    rates: Floats
    drive: Floats
    slope: Floats
    fallback: np.ndarray
    between: Floats | None
    source_rates: Floats
    unit: float
    length: float
    left: float
    n_in: int

    def weight_gradients(self, by_drive: Floats) -> dict[str, Floats]:
        """From dL/d drive, (samples, K, n_out), to gradients summed over samples and windows."""
        n_sources, n_out = self.source_rates.shape[2], by_drive.shape[2]

        def of_stretch(first: int, last: int) -> dict[str, Floats]:
            sources, errors = self.source_rates[first:last], by_drive[first:last]
            flat = sources.reshape(-1, n_sources).T @ errors.reshape(-1, n_out) * self.unit
            if n_sources == self.n_in:
                return {"weight": flat}
            return {"weight": flat[: self.n_in].copy(), "recurrent_weight": flat[self.n_in :].copy()}

        return total(len(by_drive), of_stretch)


def pull_back_windows(rates: LayerRates, by_count: Floats) -> Floats:
    """From dL/d count of each window to dL/d drive of each window, (samples, K, n_out); linear in K."""
    out = by_count * rates.slope * rates.length
    if rates.between is None:
        return out
    # What the state at a window's beginning (potential, synaptic current) does to the loss, from the last window on.
    by_u, by_i = np.zeros(out[:, 0].shape), np.zeros(out[:, 0].shape)
    for k in range(out.shape[1] - 1, -1, -1):
        response, error = rates.between[:, :, k], by_count[:, k]
        out[:, k] += response[..., kernels.LEFT] * by_u + (1.0 - rates.left) * by_i
        by_i = error * response[..., kernels.LATER_I] + response[..., kernels.KEPT_I] * by_u + rates.left * by_i
        by_u = error * response[..., kernels.LATER_U] + response[..., kernels.KEPT_U] * by_u
    return out


def later_windows(by_arrival: Floats, delay: Floats, length: float) -> Floats:
    """From dL/d count of arrivals in a window to dL/d count of the spikes sent, (samples, K, n).

    delay : () or (n,), ms. Spikes of a window arrive in two others, in the shares of a rate that is constant in it.
    """
    if not np.any(delay):
        return by_arrival
    n, windows, _ = by_arrival.shape
    whole = np.floor(delay / length).astype(np.int64)
    share = delay / length - whole
    padded = np.concatenate([by_arrival, np.zeros((n, 2, by_arrival.shape[2]))], axis=1)
    out = np.empty_like(by_arrival)
    columns = np.arange(by_arrival.shape[2])
    for k in range(windows):
        first = np.broadcast_to(np.minimum(k + whole, windows), columns.shape)
        out[:, k] = (1.0 - share) * padded[:, first, columns] + share * padded[:, first + 1, columns]
    return out


def recurrent_area(layer: Dense) -> Floats | None:
    """Drive of one spike per ms through each recurrent synapse, (n_out, n_out) [from, to]; None: not recurrent."""
    return layer.recurrent_weight * _unit(layer) if isinstance(layer, Recurrent) else None


def layer_rates(
    rule: Any, layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, t_stop: float, threads: int = 1
) -> LayerRates:
    """Rates, drives and slopes of a layer, by the settings of a RateBased rule."""
    windows, length = rule.windows, t_stop / rule.windows
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, weight = _arrivals(layer, inputs, outputs)
    unit = _unit(layer)
    source_rates = window_counts(arrivals, t_stop, windows) / length
    rates = window_counts(outputs, t_stop, windows) / length
    drive = source_rates @ (weight * unit)
    between, left = None, 0.0
    fallback = np.zeros(rates.shape, np.bool_)
    if rule.estimator == "surrogate" or rule.silent_share > 0:
        between = _responses(rule, layer, p, arrivals, weight, outputs, t_stop, threads)
        slope = np.moveaxis(between[..., kernels.JACOBIAN], 1, 2) / length
    if rule.estimator == "surrogate" and rule.reference_step is None:
        wanted = _diffusion(p, drive, source_rates, weight * unit)
        slope = slope * (wanted.mean() / max(slope.mean(), 1e-300))
    if rule.estimator != "surrogate":
        if rule.estimator == "analytic":
            _, estimate = analytic_rate(drive, float(p.tau_m[0]), p.theta, p.u_reset, p.t_ref)
        elif rule.estimator == "diffusion":
            estimate = _diffusion(p, drive, source_rates, weight * unit)
        else:
            estimate = _interval(rule, p, outputs, t_stop)
        if rule.silent_share > 0:
            fallback = estimate < rule.silent_share * slope
            estimate = np.where(fallback, rule.silent_share * slope, estimate)
        slope = estimate
    if rule.filtered and layer.neuron.receptor_taus():
        left = float(np.exp(-length / p.tau_exc[0]))
    elif windows > 1:
        left = 1.0
    return LayerRates(
        rates, drive, slope, fallback, between if windows > 1 else None, source_rates, unit, length, left, layer.n_in
    )


def window_counts(spikes: SpikeBatch, t_stop: float, windows: int) -> Floats:
    """Spikes of each sample, window and neuron before t_stop, (samples, K, size)."""
    borders = t_stop * np.arange(1, windows) / windows
    inside = spikes.times < t_stop
    window = np.searchsorted(borders, spikes.times[inside], side="right")
    place = (spikes.samples()[inside] * windows + window) * spikes.size + spikes.neurons[inside]
    shape = len(spikes), windows, spikes.size
    return np.bincount(place, minlength=shape[0] * shape[1] * shape[2]).reshape(shape).astype(np.float64)


def output_of_input(layer: Readout, outputs: Voltages, t_stop: float, windows: int) -> Floats:
    """Mean over each window's instants of what a spike arriving then adds to a value per unit weight.

    (samples or 1, K, n_out or 1): of an integral it is the same for all samples and neurons; of a maximum, the
    potential is asked for at that maximum's instant.
    """
    p = neuron_arrays(layer.neuron, layer.n_out)
    tau_m, tau_s = float(p.tau_m[0]), float(p.tau_exc[0])
    borders = t_stop * np.arange(windows + 1) / windows
    if layer.feature == "integral":
        pieces = int(np.ceil(t_stop / windows / min(tau_m, tau_s)))
        x, w = np.polynomial.legendre.leggauss(8)
        edges = np.linspace(borders[:-1], borders[1:], pieces + 1, axis=1)
        half = 0.5 * np.diff(edges, axis=1)
        at = (edges[:, :-1] + half)[..., None] + half[..., None] * x
        factors = np.empty((at.size, 2))
        integral_factors(at.ravel(), t_stop, tau_m, tau_s, layer.rate, factors)
        sums = np.einsum("kpn,kp,n->k", factors[:, 0].reshape(at.shape), half, w)
        return sums[None, :, None] * (windows / t_stop)
    since = outputs.times[:, None, :] - borders[:, None]
    area = np.empty((since.size, 2))
    integral_factors(-since.ravel(), 0.0, tau_m, tau_s, 0.0, area)
    return -np.diff(area[:, 0].reshape(since.shape), axis=1) * (windows / t_stop)


def _unit(layer: Dense) -> float:
    taus = layer.neuron.receptor_taus()
    return float(np.ravel(taus[0])[0] / np.ravel(layer.neuron.tau_m)[0]) if taus else 1.0


def _arrivals(layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch) -> tuple[SpikeBatch, Floats]:
    """All spikes that a layer gets and the weights of their sources, its own neurons after its inputs."""
    arrivals, _ = layer.delays.arrivals(inputs)
    if not isinstance(layer, Recurrent):
        return arrivals, layer.weight
    feedback, _ = layer.recurrent_delays.arrivals(outputs)
    times = np.concatenate([arrivals.times, feedback.times])
    neurons = np.concatenate([arrivals.neurons, feedback.neurons + np.int32(layer.n_in)])
    samples = np.concatenate([arrivals.samples(), feedback.samples()])
    order = np.lexsort((neurons, times, samples))
    offsets = arrivals.offsets + feedback.offsets
    both = SpikeBatch.owning(times[order], neurons[order], offsets, layer.n_in + layer.n_out)
    return both, np.concatenate([layer.weight, layer.recurrent_weight])


def _responses(
    rule: Any, layer: Dense, p: NeuronArrays, arrivals: SpikeBatch, weight: Floats, outputs: SpikeBatch, t_stop: float,
    threads: int,
) -> Floats:  # fmt: skip
    order, starts = _by_neuron(outputs)
    out = np.empty((len(arrivals), layer.n_out, rule.windows, kernels.N_RESPONSES))
    spikes = kernels.NeuronSpikes(outputs.times[order], starts)
    settings = kernels.Settings(
        _gauss(max(2, rule.nodes // 2)), _gauss(rule.nodes),
        Surrogate.of(rule.surrogate, rule.reference_step or 1.0), rule.filtered, rule.reset == "hard",
        not rule.detach_reset,
    )  # fmt: skip
    weight = np.ascontiguousarray(weight)

    def stretch(first: int, last: int) -> None:
        kernels.responses(
            Batch.of(arrivals), spikes, p, weight, settings, out, first, last, float(t_stop), rule.windows
        )

    over_stretches(stretch, len(arrivals), threads)
    return out


@cache
def _gauss(n: int) -> Nodes:
    """Nodes and weights on (0, 1), and (n, n) weights of the integrals from 0 to each node."""
    x, w = np.polynomial.legendre.leggauss(n)
    x, w = 0.5 * (x + 1.0), 0.5 * w
    # The interpolant as a sum of Legendre polynomials, each integrated by P_k' (2k + 1)-recurrence.
    powers = np.polynomial.legendre.legvander(2.0 * x - 1.0, n)
    values = np.polynomial.legendre.legvander(2.0 * x - 1.0, n - 1)
    coefficients = (2.0 * np.arange(n) + 1.0)[:, None] * (values * w[:, None]).T
    integrals = np.empty((n, n))
    integrals[:, 0] = x
    for k in range(1, n):
        integrals[:, k] = (powers[:, k + 1] - powers[:, k - 1]) / (2.0 * (2 * k + 1))
    return Nodes(x, w, np.ascontiguousarray(integrals @ coefficients))


def _by_neuron(spikes: SpikeBatch) -> tuple[np.ndarray, np.ndarray]:
    """Order of all spikes by (sample, neuron, time), and where each (sample, neuron) begins."""
    place = spikes.places()
    order = np.argsort(place, kind="stable")
    return order, np.searchsorted(place[order], np.arange(len(spikes) * spikes.size + 1))


def _diffusion(p: NeuronArrays, drive: Floats, source_rates: Floats, area: Floats) -> Floats:
    _, slope = diffusion_rate(drive, source_rates @ area**2, float(p.tau_m[0]), p.theta, p.u_reset, p.t_ref)
    return slope


def _interval(rule: Any, p: NeuronArrays, outputs: SpikeBatch, t_stop: float) -> Floats:
    if outputs.currents is None:
        raise GradientError("these spikes carry no currents, which give their slopes; take them from model.forward.")
    order, starts = _by_neuron(outputs)
    places = outputs.places()[order]
    neuron = places % outputs.size
    climb = np.maximum(outputs.currents[order] - p.theta[neuron], rule.least_climb * p.theta[neuron])
    t_ref = np.tile(p.t_ref, len(outputs))
    slope = interval_slope(places, outputs.times[order], climb, starts, t_stop, float(p.tau_m[0]), t_ref)
    return slope.reshape(len(outputs), 1, outputs.size)
