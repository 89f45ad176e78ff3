"""The true gradient of any simulated network, from its recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evsim.errors import GradientError
from evsim.learning.rules.eventprop import EventProp, neuron_gradients, plan_gradient
from evsim.results.recording import Recording
from evsim.spikes import SpikeBatch
from evsim.synapses.flat_network import flatten
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class NetworkGradient:
    """Derivatives of a loss of the spike times of a network.

    weight, delay : by the number of the projection, (n_synapses,) in the order of ``Recording.synapses``; delay per ms
    inputs : by the name of an input, dL/dt of each of its spikes, in the order of the recording's
    neuron : by population, then by parameter of LIF, (size,) each; tau_syn (2, size) with two receptors
    """

    weight: dict[int, Floats]
    delay: dict[int, Floats]
    inputs: dict[str, Floats]
    neuron: dict[str, dict[str, Floats]]


def network_gradient(
    recording: Recording, signal: Mapping[str, ArrayLike], rule: EventProp | None = None
) -> NetworkGradient:
    """EventProp on a recorded network of any topology (Wunderlich and Pehle 2021), event by event backwards.

    signal : by population, dL/dt of each of its recorded spikes, (n_spikes,); populations left out count as 0
    rule : EventProp with a ``min_slope`` of its own

    Raises
    ------
    GradientError : a chunk that does not begin at 0, neurons that were not recorded, Poisson drive, plastic synapses,
        delta neurons made to fire by several kicks of one instant, a signal of another length
    """
    net = recording.network
    if recording.t_start != 0.0 or not recording.complete:
        raise GradientError("a gradient needs all spikes since 0 ms: join chunks first, and do not restrict record.")
    if net.drives:
        raise GradientError("the events of Poisson drive are not recorded; feed their spikes in as an input.")
    plan = flatten(net, recording.seed)
    unknown = set(signal) - set(recording)
    if unknown:
        raise GradientError(f"there is no population {', '.join(sorted(unknown))}; there are {', '.join(recording)}.")
    spikes, given = [], []
    for name in recording:
        d = np.asarray(signal.get(name, np.zeros(len(recording[name]))), dtype=np.float64)
        if d.shape != (len(recording[name]),):
            raise GradientError(f"{name!r} has {len(recording[name])} spikes, but its signal has shape {d.shape}.")
        if not np.isfinite(d).all():
            raise GradientError(f"the signal of {name!r} has a value that is not finite.")
        given.append(d)
        spikes.append((recording[name].times, recording[name].neurons + (plan.source_offset[name] - plan.n_inputs)))
    fed_names = [name for name in net.inputs if name in recording.inputs]
    fed = [(recording.inputs[k].times, recording.inputs[k].neurons + plan.source_offset[k]) for k in fed_names]
    inputs, order = _batch(fed, plan.n_inputs)
    outputs, out_order = _batch(spikes, plan.neurons.theta.size)
    rule = EventProp(True, (rule or EventProp()).min_slope)
    g = plan_gradient(plan, inputs, outputs, np.concatenate([np.empty(0), *given])[out_order], recording.t_stop, rule)
    weight, delay, by_spike = np.empty_like(g.weight), np.empty_like(g.delay), np.empty_like(g.inputs)
    weight[plan.order], delay[plan.order], by_spike[order] = g.weight, g.delay, g.inputs
    cuts = plan.projection_start
    ends = np.cumsum([0, *(t.size for t, _ in fed)])
    neuron = {}
    for name, population in net.populations.items():
        first = plan.source_offset[name] - plan.n_inputs
        neuron[name] = neuron_gradients(population.neuron, g.neuron[:, first : first + population.size])
    return NetworkGradient(
        {k: weight[cuts[k] : cuts[k + 1]] for k in range(len(net.projections))},
        {k: delay[cuts[k] : cuts[k + 1]] for k in range(len(net.projections))},
        {name: by_spike[ends[k] : ends[k + 1]] for k, name in enumerate(fed_names)},
        neuron,
    )


def _batch(parts: list[tuple[Floats, np.ndarray]], size: int) -> tuple[SpikeBatch, np.ndarray]:
    """All spikes as one sample, and the order in which they stand there."""
    times = np.concatenate([np.empty(0), *(t for t, _ in parts)])
    neurons = np.concatenate([np.empty(0, np.int64), *(n for _, n in parts)])
    order = np.argsort(times, kind="stable")
    return SpikeBatch.owning(times[order], neurons[order], np.array([0, times.size]), size), order
