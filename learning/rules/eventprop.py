"""EventProp: the true gradient of spike times (Wunderlich and Pehle 2021), for every parameter.

The adjoint of a layer is carried backwards through its recorded spikes; see docs/rules/eventprop.md for the equations
with refractoriness, delays, delta synapses and the neuron's parameters.
"""

from __future__ import annotations

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
from evsim.learning.fixed_order import added, borders
from evsim.learning.layers.dense import Dense, Recurrent
from evsim.learning.layers.moments import by_arrival, shares_of, weight_gradient
from evsim.learning.layers.readout import Readout, Voltages, arrival_factors, by_sample, weight_of_time
from evsim.learning.needs import Needs
from evsim.learning.validation import checked_arguments
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.synapses.flat_network import FlatNetwork
from evsim.threads import workers
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
    needs: ClassVar[Needs] = Needs(moments=("integral", "potential"))
    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.min_slope > 0:
            raise InputError(f"min_slope must be > 0, or a grazing spike has no finite gradient; got {self.min_slope}.")

    def clips(self, layer: Any, outputs: SpikeBatch) -> bool:
        """Is a spike of the layer so flat that ``min_slope`` changes its derivative? Then it is not exact."""
        if outputs.currents is None or not outputs.times.size:
            return False
        p = neuron_arrays(layer.neuron, layer.n_out)
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


def least_slope(p: NeuronArrays, min_slope: float) -> float:
    """``EventProp.min_slope`` in the unit of the threshold."""
    return min_slope * max(float(np.max(np.abs(p.theta))), 1e-300)


def conditioning(layer: Any, outputs: SpikeBatch) -> Floats:
    """How far each spike is from grazing: |theta|/(tau_m dv/dt) at its threshold crossing, (n_spikes,).

    layer : Dense or Recurrent

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
    gradient, d_arrival, (by_theta, by_reset, by_init, _) = _shared(
        layer.weight, p, arrivals, outputs, signal, t_stop, least_slope(p, rule.min_slope), True,
        wants_signal or by_delay, threads,
    )  # fmt: skip
    gradients: dict[str, Floats] = {"weight": gradient}
    if "v_th" in layer.trainable:
        gradients["v_th"] = by_theta
    if "bias" in layer.trainable:
        gradients["bias"] = -(by_theta + by_reset + by_init)
    if by_delay:
        gradients["delay"] = by_input(arrivals, d_arrival, layer.n_in)
    return gradients, _put_back(d_arrival, order)


def _shared(
    weight: Floats, p: NeuronArrays, arrivals: SpikeBatch, outputs: Any, signal: Floats, t_stop: float,
    min_slope: float, spiking: bool, wants_signal: bool, threads: int,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Weight gradient, dL/d arrival, and (4, n_out) by theta, u_reset, u_init, t_ref: neurons that share events."""
    cuts = borders(len(arrivals))
    by_weight = np.zeros((cuts.size - 1, *weight.shape))
    by_neuron = np.zeros((cuts.size - 1, 4, weight.shape[1]))
    d_arrival = np.zeros(arrivals.times.size)
    spikes = LayerSpikes(outputs.times, outputs.neurons, outputs.offsets, outputs.currents, signal)

    def one(k: int) -> None:
        adjoint_layer(
            Batch.of(arrivals), spikes, p, weight, LayerGradient(d_arrival, by_weight[k], *by_neuron[k]),
            cuts[k], cuts[k + 1], t_stop, min_slope, spiking, wants_signal,
        )  # fmt: skip

    with workers(threads) as pool:
        list(pool(one, range(cuts.size - 1)))
    return added(by_weight), d_arrival, added(by_neuron)


def by_input(arrivals: SpikeBatch, d_arrival: Floats, n_in: int) -> Floats:
    """dL/d arrival summed over each input's spikes, (n_in,): the gradient of a delay that all its synapses share."""
    return np.bincount(arrivals.neurons, weights=d_arrival, minlength=n_in).astype(np.float64)


def _put_back(d_arrival: Floats, order: np.ndarray | None) -> Floats:
    if order is None:
        return d_arrival
    out = np.empty_like(d_arrival)
    out[order] = d_arrival
    return out


def _any_layer(
    layer: Dense, inputs: SpikeBatch, outputs: SpikeBatch, signal: Floats, t_stop: float, rule: EventProp, threads: int
) -> tuple[dict[str, Floats], Floats]:
    plan = layer.plan()
    g = plan_gradient(plan, inputs, outputs, signal, t_stop, rule, threads)
    from_inputs = plan.source < layer.n_in
    gradients: dict[str, Floats] = {}
    for name, synapses, n_pre in (("", from_inputs, layer.n_in), ("recurrent_", ~from_inputs, layer.n_out)):
        if name and not isinstance(layer, Recurrent):
            continue
        place = (plan.source[synapses] - (layer.n_in if name else 0)) * layer.n_out + plan.target[synapses]
        for key, values in (("weight", g.weight), ("delay", g.delay)):
            flat = np.bincount(place, weights=values[synapses], minlength=n_pre * layer.n_out)
            gradients[name + key] = flat.reshape(n_pre, layer.n_out).astype(np.float64)
    if rule.neuron_parameters:
        gradients |= neuron_gradients(layer.neuron, g.neuron)
    return gradients, g.inputs


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
    if plan.plastic:
        raise GradientError("weights that change by STDP have no gradient here; connect without plasticity.")
    cuts = borders(len(inputs))
    n = cuts.size - 1
    weight, delay = np.zeros((n, plan.weight.size)), np.zeros((n, plan.weight.size))
    neuron = np.zeros((n, events.N_PARAMETERS, plan.level.size))
    d_input = np.zeros(inputs.times.size)
    trouble = np.zeros((n, 2))
    synapses = Synapses(
        plan.group_start, plan.group_delay, plan.group_level, plan.synapse_start, plan.target, plan.weight
    )
    network = Network(plan.neurons, plan.level, synapses)

    def one(k: int) -> int:
        return int(
            events.adjoint_samples(
                Batch.of(inputs), Batch.of(outputs), signal, network,
                events.Gradient(d_input, weight[k], delay[k], neuron[k]), trouble[k], cuts[k], cuts[k + 1],
                float(t_stop), least_slope(plan.neurons, rule.min_slope), rule.neuron_parameters,
            )
        )  # fmt: skip

    with workers(threads) as pool:
        status = list(pool(one, range(n)))
    for k in np.flatnonzero(status):
        raise GradientError(
            f"neuron {int(trouble[k, 1])} fired at {trouble[k, 0]} ms, when several kicks arrived at once: its spike "
            "time follows the last one needed and has no derivative. Give delta synapses delays that differ, or use "
            "exponential ones."
        )
    return PlanGradient(added(weight), added(delay), d_input, added(neuron))


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
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, order = layer.delays.arrivals(inputs)
    shift = signal.sum(axis=0)
    taus = [np.zeros(layer.n_out), np.zeros(layer.n_out)]
    if layer.feature == "integral":
        factors = arrival_factors(layer, arrivals, t_stop, rule.neuron_parameters)
        gradient = by_sample(arrivals, factors[:, 0]).T @ signal
        push = signal @ layer.weight.T
        d_arrival = factors[:, 1] * push.ravel()[arrivals.places()]
        a = 1.0 / p.tau_m + layer.rate
        unit = weight_of_time(a, t_stop)
        d_init = shift * unit
        if rule.neuron_parameters:
            shares = (by_sample(arrivals, factors[:, k]) for k in (2, 3))
            taus = [np.einsum("so,si,io->o", signal, share, layer.weight) for share in shares]
            by_a = (t_stop * np.exp(-a * t_stop) - unit) / a
            taus[0] = taus[0] - shift * p.u_init * by_a / p.tau_m**2
        shift = shift * weight_of_time(layer.rate, t_stop)
    else:
        peaks, d_peak = peaks_of(outputs, signal)
        gradient, d_arrival, by_neuron = _shared(
            layer.weight, p, arrivals, peaks, d_peak, t_stop, 0.0, False, True, threads
        )
        corners = outputs.corner >= 0
        np.add.at(d_arrival, outputs.corner[corners], (signal * outputs.slope)[corners])
        d_init = by_neuron[2]
        if rule.neuron_parameters:
            highest_by_taus(Batch.of(arrivals), p, layer.weight, outputs.times, signal, *taus)
    gradients = {"weight": gradient}
    if layer.delays.trained:
        gradients["delay"] = by_input(arrivals, d_arrival, layer.n_in)
    if rule.neuron_parameters:
        at_rest = d_init if layer.neuron.v_init is None else 0.0
        gradients |= {
            "tau_m": taus[0], "tau_syn": taus[1], "bias": shift - d_init, "v_rest": shift - d_init + at_rest,
            "v_init": d_init,
        }  # fmt: skip
    return gradients, _put_back(d_arrival, order)


def _moments(
    layer: Readout, inputs: SpikeBatch, signal: Floats, t_stop: float, threads: int
) -> tuple[dict[str, Floats], Floats]:
    arrivals, order = layer.delays.arrivals(inputs)
    gradients = {"weight": weight_gradient(shares_of(layer, arrivals, t_stop, threads), signal)}
    d_arrival = by_arrival(layer, arrivals, signal, t_stop, threads)
    if layer.delays.trained:
        gradients["delay"] = by_input(arrivals, d_arrival, layer.n_in)
    return gradients, _put_back(d_arrival, order)


def peaks_of(outputs: Voltages, signal: Floats) -> tuple[SpikeBatch, Floats]:
    """The maxima as events of the readout's neurons, and dL/dv at each."""
    n, n_out = signal.shape
    order = np.argsort(outputs.times, axis=1, kind="stable")
    times = np.take_along_axis(outputs.times, order, axis=1).ravel()
    neurons, offsets = order.ravel().astype(np.int32), np.arange(n + 1) * n_out
    batch = SpikeBatch.owning(times, neurons, offsets, n_out, np.zeros(n * n_out))
    return batch, np.take_along_axis(signal, order, axis=1).ravel()
