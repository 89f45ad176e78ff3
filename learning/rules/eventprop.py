"""EventProp: the true gradient of spike times (Wunderlich and Pehle 2021), for every parameter.

The adjoint of a layer is carried backwards through its recorded spikes; see docs/rules/eventprop.md for the equations
with refractoriness, delays, delta synapses and the neuron's parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from evsim._kernels.queue.arrays import Synapses
from evsim.errors import GradientError, InputError
from evsim.learning._kernels import adjoint_events as events
from evsim.learning._kernels.adjoint_layer import LayerGradient, LayerSpikes, adjoint_layer
from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.event_order import Network
from evsim.learning._kernels.readout import highest_by_taus
from evsim.learning.fields import check_fields
from evsim.learning.fixed_order import rows_times, total
from evsim.learning.layers.conv import MapLayer
from evsim.learning.layers.dense import Dense, Recurrent
from evsim.learning.layers.moments import by_arrival, shares_of, weight_gradient
from evsim.learning.layers.readout import Readout, Voltages, arrival_factors, by_sample, weight_of_time
from evsim.learning.needs import Needs
from evsim.learning.rules.arrival_gradients import by_input, least_slope, put_back
from evsim.learning.rules.map_eventprop import map_gradient
from evsim.learning.validation import checked_arguments
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.synapses.flat_network import FlatNetwork
from evsim.types import Floats

_SHARED_FACTORS = {"v_th", "bias"}
"""Parameters whose derivatives need no derivative of the factors that a layer's neurons share."""


@dataclass(frozen=True)
class EventProp:
    """The true gradient of spike times (Wunderlich and Pehle 2021), for every parameter.

    neuron_parameters : also derivatives by tau_m, tau_syn, v_th, v_reset, v_rest, bias, v_init and t_ref; by what a
        layer trains (``Dense.trainable``) there are derivatives anyway
    min_slope : remedy for grazing spikes, whose derivatives grow without bound: tau_m dv/dt at the threshold is taken
        to be at least this times v_th - v_rest - bias (at least: in absolute value). Above it the gradient is exact.
    """

    neuron_parameters: bool = False
    min_slope: float = 1e-9
    signals: ClassVar[tuple[str, ...]] = ("times", "values", "moments")
    needs: ClassVar[Needs] = Needs(moments=("integral", "potential"), maps=True)
    exact: ClassVar[bool] = True
    splits: ClassVar[str] = "halves"

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.min_slope > 0:
            raise InputError(f"min_slope must be > 0, or a grazing spike has no finite gradient; got {self.min_slope}.")

    def clips(self, layer: Any, outputs: SpikeBatch) -> bool:
        """Is a spike of the layer so flat that ``min_slope`` changes its derivative? Then it is not exact."""
        if outputs.currents is None or not outputs.times.size:
            return False
        p = layer.neurons()
        climb = outputs.currents - p.theta[outputs.neurons]
        return bool(np.min(np.abs(climb)) < least_slope(p, self.min_slope))

    @checked_arguments("times")
    def backward(
        self,
        layer: Any,
        inputs: SpikeBatch,
        outputs: SpikeBatch | Voltages,
        signal: Floats,
        t_stop: float,
        *,
        is_output: bool = False,
        wants_signal: bool = True,
        threads: int = 1,
    ) -> tuple[dict[str, Floats], Floats]:
        """From dL/dt of a layer's spikes to its gradients and dL/dt of its input spikes.

        signal : (n_spikes,) of ``outputs``; of a Readout dL/d value, (samples, n_out) or (samples, moments, n_out)
        Returns {"weight": (n_in, n_out), "delay": (n_in, n_out) or (n_in,), per ms, "recurrent_weight": ..., and with
        ``neuron_parameters`` (n_out,) for each of them ((2, n_out) for two tau_syn)}, summed over the samples in a
        fixed order, and (n_input_spikes,). The same bits for any number of threads.

        Raises GradientError : delta neurons made to fire by several kicks of one instant; a Readout of counts, which do
        not follow spike times.
        """
        if isinstance(layer, MapLayer):
            return map_gradient(layer, inputs, outputs, signal, t_stop, self.min_slope, wants_signal, threads)  # type: ignore[arg-type]
        full = replace(self, neuron_parameters=True) if layer.trainable else self
        if isinstance(layer, Readout) and layer.every is not None:
            return _moments(layer, inputs, signal, t_stop, threads)
        if isinstance(layer, Readout):
            return _readout(layer, inputs, outputs, signal, t_stop, full, threads)  # type: ignore[arg-type]
        shared = layer.shares_events and len(layer.neuron.receptor_taus()) == 1
        if shared and outputs.currents is None:  # type: ignore[union-attr]
            raise GradientError("these spikes carry no currents; take them from model.forward.")
        if shared and not self.neuron_parameters and _SHARED_FACTORS.issuperset(layer.trainable):
            return _dense(layer, inputs, outputs, signal, t_stop, self, wants_signal, threads)  # type: ignore[arg-type]
        return _any_layer(layer, inputs, outputs, signal, t_stop, full, threads)  # type: ignore[arg-type]


def conditioning(layer: Any, outputs: SpikeBatch) -> Floats:
    """How far each spike is from grazing: |theta|/(tau_m dv/dt) at its threshold crossing, (n_spikes,).

    layer : one whose neurons spike

    A relative change of the input moves the spike by about this times tau_m. Large values are grazing spikes; the
    derivatives of their times are as large, and right only as far as the spikes persist.
    """
    if outputs.currents is None:
        raise ValueError("these spikes carry no currents; take them from model.forward.")
    theta = layer.theta[outputs.neurons]
    climb = outputs.currents - theta
    out = np.full(climb.shape, np.inf)
    np.divide(np.abs(theta), climb, out=out, where=climb > 0)
    return out


def _dense(
    layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, signal: Floats, t_stop: float, rule: EventProp,
    wants_signal: bool, threads: int,
) -> tuple[dict[str, Floats], Floats]:  # fmt: skip
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, order = layer.delays.arrivals(inputs)
    by_delay = layer.delays.trained is not None
    adjoint = _Shared(
        layer.weight, p, arrivals, outputs, signal, t_stop, least_slope(p, rule.min_slope), True,
        wants_signal or by_delay,
    )  # fmt: skip

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        gradient, (by_theta, by_reset, by_init, _) = adjoint.back(first, last)
        gradients: dict[str, Floats] = {"weight": gradient}
        if "v_th" in layer.trainable:
            gradients["v_th"] = by_theta
        if "bias" in layer.trainable:
            gradients["bias"] = -(by_theta + by_reset + by_init)
        if by_delay:
            gradients["delay"] = by_input(arrivals, adjoint.d_arrival, first, last)
        return gradients

    return total(len(inputs), of_stretch, threads), put_back(adjoint.d_arrival, order)


class _Shared:
    """The adjoint of neurons that share events. d_arrival : dL/d arrival, of the stretches that ``back`` was told"""

    def __init__(
        self, weight: Floats, p: NeuronArrays, arrivals: SpikeBatch, outputs: Any, signal: Floats, t_stop: float,
        min_slope: float, spiking: bool, wants_signal: bool,
    ) -> None:  # fmt: skip
        self.weight, self.p, self.arrivals = weight, p, Batch.of(arrivals)
        self.spikes = LayerSpikes(outputs.times, outputs.neurons, outputs.offsets, outputs.currents, signal)
        self.settings = (t_stop, min_slope, spiking, wants_signal)
        self.d_arrival = np.zeros(arrivals.times.size)

    def back(self, first: int, last: int) -> tuple[Floats, Floats]:
        """Weight gradient of some samples, and (4, n_out) by theta, u_reset, u_init, t_ref."""
        gradient, by_neuron = np.zeros(self.weight.shape), np.zeros((4, self.weight.shape[1]))
        adjoint_layer(
            self.arrivals, self.spikes, self.p, self.weight, LayerGradient(self.d_arrival, gradient, *by_neuron),
            first, last, *self.settings,
        )  # fmt: skip
        return gradient, by_neuron


def _any_layer(
    layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, signal: Floats, t_stop: float, rule: EventProp, threads: int
) -> tuple[dict[str, Floats], Floats]:
    plan = layer.plan()
    adjoint = _Planned(plan, inputs, outputs, signal, t_stop, rule)
    from_inputs = plan.source < layer.n_in

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        weight, delay, neuron = adjoint.back(first, last)
        gradients: dict[str, Floats] = {}
        for name, synapses, n_pre in (("", from_inputs, layer.n_in), ("recurrent_", ~from_inputs, layer.n_out)):
            if name and not isinstance(layer, Recurrent):
                continue
            place = (plan.source[synapses] - (layer.n_in if name else 0)) * layer.n_out + plan.target[synapses]
            for key, values in (("weight", weight), ("delay", delay)):
                flat = np.bincount(place, weights=values[synapses], minlength=n_pre * layer.n_out)
                gradients[name + key] = flat.reshape(n_pre, layer.n_out).astype(np.float64)
        return gradients | (neuron_gradients(layer.neuron, neuron) if rule.neuron_parameters else {})

    gradients = total(len(inputs), of_stretch, threads)
    return gradients, adjoint.d_input


@dataclass(frozen=True, eq=False)
class PlanGradient:
    """Gradients by the synapses of a plan, in its order; by the input spikes; by the neurons, (N_PARAMETERS, n)."""

    weight: Floats
    delay: Floats
    inputs: Floats
    neuron: Floats


def plan_gradient(
    plan: FlatNetwork,
    inputs: SpikeBatch,
    outputs: SpikeBatch,
    signal: Floats,
    t_stop: float,
    rule: EventProp,
    threads: int = 1,
) -> PlanGradient:
    """The adjoint of any planned network; inputs and outputs : spikes of all its inputs and all its neurons.

    Raises GradientError : delta neurons made to fire by several kicks of one instant, plastic synapses.
    """
    adjoint = _Planned(plan, inputs, outputs, signal, t_stop, rule)

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        return dict(zip(("weight", "delay", "neuron"), adjoint.back(first, last)))

    sums = total(len(inputs), of_stretch, threads)
    return PlanGradient(sums["weight"], sums["delay"], adjoint.d_input, sums["neuron"])


class _Planned:
    """The adjoint of a planned network. d_input : dL/d input spike, of the stretches that ``back`` was told

    Raises GradientError : plastic synapses.
    """

    def __init__(
        self, plan: FlatNetwork, inputs: SpikeBatch, outputs: SpikeBatch, signal: Floats, t_stop: float, rule: EventProp
    ) -> None:
        if plan.plastic:
            raise GradientError("weights that change by STDP have no gradient here; connect without plasticity.")
        synapses = Synapses(
            plan.group_start, plan.group_delay, plan.group_level, plan.synapse_start, plan.target, plan.weight
        )
        self.plan, self.network = plan, Network(plan.neurons, plan.level, synapses)
        self.spikes = Batch.of(inputs), Batch.of(outputs), signal
        self.settings = float(t_stop), least_slope(plan.neurons, rule.min_slope), rule.neuron_parameters
        self.d_input = np.zeros(inputs.times.size)

    def back(self, first: int, last: int) -> tuple[Floats, Floats, Floats]:
        """Derivatives by weights, delays and neurons of some samples. Raises GradientError : see ``plan_gradient``."""
        weight, delay = np.zeros(self.plan.weight.size), np.zeros(self.plan.weight.size)
        neuron, trouble = np.zeros((events.N_PARAMETERS, self.plan.level.size)), np.zeros(2)
        gradient = events.Gradient(self.d_input, weight, delay, neuron)
        if events.adjoint_samples(*self.spikes, self.network, gradient, trouble, first, last, *self.settings):
            raise GradientError(
                f"neuron {int(trouble[1])} fired at {trouble[0]} ms, when several kicks arrived at once: its spike "
                "time follows the last one needed and has no derivative. Give delta synapses delays that differ, or "
                "use exponential ones."
            )
        return weight, delay, neuron


def neuron_gradients(lif: LIF, d: Floats) -> dict[str, Floats]:
    """From derivatives by theta, u_reset, u_init, ... (rows of ``adjoint_events``) to those by LIF's parameters."""
    shift = -(d[events.D_THETA] + d[events.D_RESET] + d[events.D_INIT])
    taus = d[events.D_TAU_EXC : events.D_TAU_INH + 1][: len(lif.receptor_taus())]
    at_rest = d[events.D_INIT] if lif.v_init is None else 0.0
    out = {
        "tau_m": d[events.D_TAU_M],
        "v_th": d[events.D_THETA],
        "v_reset": d[events.D_RESET],
        "v_rest": shift + at_rest,
        "bias": shift,
        "v_init": d[events.D_INIT],
        "t_ref": d[events.D_T_REF],
    }
    if len(taus):
        out["tau_syn"] = taus[0] if len(taus) == 1 else taus
    return out


def _readout(
    layer: Readout, inputs: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float, rule: EventProp, threads: int
) -> tuple[dict[str, Floats], Floats]:
    arrivals, order = layer.delays.arrivals(inputs)
    of_stretch, d_arrival = (_integral if layer.feature == "integral" else _highest)(
        layer, arrivals, outputs, signal, t_stop, rule.neuron_parameters
    )

    def gradients_of(first: int, last: int) -> dict[str, Floats]:
        gradient, shift, d_init, *taus = of_stretch(first, last)
        gradients = {"weight": gradient}
        if layer.delays.trained:
            gradients["delay"] = by_input(arrivals, d_arrival, first, last)
        if rule.neuron_parameters:
            at_rest = d_init if layer.neuron.v_init is None else 0.0
            gradients |= {
                "tau_m": taus[0], "tau_syn": taus[1], "bias": shift - d_init, "v_rest": shift - d_init + at_rest,
                "v_init": d_init,
            }  # fmt: skip
        return gradients

    return total(len(inputs), gradients_of, threads), put_back(d_arrival, order)


_OfStretch = Callable[[int, int], tuple[Floats, ...]]
"""Of some samples, derivatives by the weights, by what shifts all potentials, by their start, by tau_m, by tau_syn."""


def _integral(
    layer: Readout, arrivals: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float, with_taus: bool
) -> tuple[_OfStretch, Floats]:
    """Derivatives of the integral of stretches; dL/d arrival."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    factors = arrival_factors(layer, arrivals, t_stop, with_taus)
    push = rows_times(signal, layer.weight.T)
    shares = [by_sample(arrivals, factors[:, k]) for k in ((0, 2, 3) if with_taus else (0,))]
    a = 1.0 / p.tau_m + layer.rate
    unit = weight_of_time(a, t_stop)

    def of_stretch(first: int, last: int) -> tuple[Floats, ...]:
        error, share, *by_taus = (array[first:last] for array in (signal, *shares))
        size = error.sum(axis=0)
        taus = [np.einsum("so,si,io->o", error, by_tau, layer.weight) for by_tau in by_taus]
        if with_taus:
            by_a = (t_stop * np.exp(-a * t_stop) - unit) / a
            taus[0] = taus[0] - size * p.u_init * by_a / p.tau_m**2
        return share.T @ error, size * weight_of_time(layer.rate, t_stop), size * unit, *taus

    return of_stretch, factors[:, 1] * push.ravel()[arrivals.places()]


def _highest(
    layer: Readout, arrivals: SpikeBatch, outputs: Voltages, signal: Floats, t_stop: float, with_taus: bool
) -> tuple[_OfStretch, Floats]:
    """Derivatives of the highest potential of stretches; dL/d arrival, of the stretches that were asked for."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    peaks, d_peak = peaks_of(outputs, signal)
    adjoint = _Shared(layer.weight, p, arrivals, peaks, d_peak, t_stop, 0.0, False, True)

    def of_stretch(first: int, last: int) -> tuple[Floats, ...]:
        gradient, by_neuron = adjoint.back(first, last)
        corner, error = outputs.corner[first:last], signal[first:last]
        there = corner >= 0
        np.add.at(adjoint.d_arrival, corner[there], (error * outputs.slope[first:last])[there])
        taus = np.zeros((2, layer.n_out))
        if with_taus:
            of_samples = Batch(arrivals.times, arrivals.neurons, arrivals.offsets[first : last + 1])
            highest_by_taus(of_samples, p, layer.weight, outputs.times[first:last], error, *taus)
        return gradient, error.sum(axis=0), by_neuron[2], *taus

    return of_stretch, adjoint.d_arrival


def _moments(
    layer: Readout, inputs: SpikeBatch, signal: Floats, t_stop: float, threads: int
) -> tuple[dict[str, Floats], Floats]:
    arrivals, order = layer.delays.arrivals(inputs)
    shares = shares_of(layer, arrivals, t_stop, threads)
    d_arrival = by_arrival(layer, arrivals, signal, t_stop, threads)

    def of_stretch(first: int, last: int) -> dict[str, Floats]:
        gradients = {"weight": weight_gradient(shares[first:last], signal[first:last])}
        if layer.delays.trained:
            gradients["delay"] = by_input(arrivals, d_arrival, first, last)
        return gradients

    return total(len(inputs), of_stretch, threads), put_back(d_arrival, order)


def peaks_of(outputs: Voltages, signal: Floats) -> tuple[SpikeBatch, Floats]:
    """The maxima as events of the readout's neurons, and dL/dv at each."""
    n, n_out = signal.shape
    order = np.argsort(outputs.times, axis=1, kind="stable")
    times = np.take_along_axis(outputs.times, order, axis=1).ravel()
    neurons, offsets = order.ravel().astype(np.int32), np.arange(n + 1) * n_out
    batch = SpikeBatch.owning(times, neurons, offsets, n_out, np.zeros(n * n_out))
    return batch, np.take_along_axis(signal, order, axis=1).ravel()
