"""What a layer of shared delays took in a sample: its arrivals by source, its weights by source, its potentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.learning._kernels.arrays import MembraneState, Train
from evsim.learning._kernels.traces import LEFT, RIGHT, potentials
from evsim.learning.layers.dense import Recurrent
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class LayerEvents:
    """A layer's recorded batch with its recurrent arrivals beside those of its inputs.

    arrivals : sorted; ``neurons`` are sources: inputs first, then the layer's own neurons if it is Recurrent
    outputs : the layer's spikes
    weight : (n_sources, n_out)
    tau_s : ms, of the synaptic current; 0: delta synapses
    """

    arrivals: SpikeBatch
    outputs: SpikeBatch
    weight: Floats
    neurons: NeuronArrays
    tau_m: float
    tau_s: float

    def window(self, sample: int, start: float, end: float) -> tuple[Floats, np.ndarray, Floats, np.ndarray]:
        """Times and sources of arrivals, times and neurons of spikes, from ``start`` to before ``end`` (ms)."""
        window: list[Any] = []
        for batch in (self.arrivals, self.outputs):
            a, b = batch.offsets[sample], batch.offsets[sample + 1]
            a, b = a + np.searchsorted(batch.times[a:b], [start, end])
            window += [batch.times[a:b], batch.neurons[a:b]]
        return window[0], window[1], window[2], window[3]

    def releases(self, times: Floats, neurons: np.ndarray) -> Floats:
        """Ends of the refractory times of some spikes, ms; none where t_ref is 0."""
        t_ref = self.neurons.t_ref[neurons]
        return times[t_ref > 0] + t_ref[t_ref > 0]


@dataclass(eq=False)
class Membrane:
    """State of a layer's membranes at ``now`` (ms): u and current in threshold units, release in ms, all (n,)."""

    now: float
    u: Floats
    current: Floats
    release: Floats

    @classmethod
    def at_rest(cls, p: NeuronArrays) -> Membrane:
        """At 0 ms."""
        n = p.theta.size
        return cls(0.0, p.u_init.copy(), np.zeros(n), np.zeros(n))

    def follow(
        self, layer: LayerEvents, query: Floats, arrivals: Floats, sources: np.ndarray, spikes: Floats,
        fired: np.ndarray,
    ) -> Floats:  # fmt: skip
        """Potentials above v_rest + bias at sorted instants >= now, (n_query, n); goes on to the last of them.

        They are taken after the arrivals of an instant and before its resets.
        """
        out = np.empty((query.size, self.u.size))
        if query.size:
            state = MembraneState(self.u, self.current, self.release)
            potentials(
                query, Train(arrivals, sources), Train(spikes, fired), layer.neurons, layer.weight, state, self.now, out
            )
            self.now = float(query[-1])
        return out


def layer_events(layer: Any, inputs: SpikeBatch, outputs: SpikeBatch) -> LayerEvents:
    """What a layer gets and gives; its neurons get their input at the same instants."""
    taus = layer.neuron.receptor_taus()
    p = neuron_arrays(layer.neuron, layer.n_out)
    arrivals, _ = layer.delays.arrivals(inputs)
    if isinstance(layer, Recurrent):
        feedback, _ = layer.recurrent_delays.arrivals(outputs)
        arrivals = _joined(arrivals, feedback)
    tau_s = float(np.ravel(taus[0])[0]) if taus else 0.0
    return LayerEvents(arrivals, outputs, source_weights(layer), p, float(p.tau_m[0]), tau_s)


def source_weights(layer: Any) -> Floats:
    """Weights of a layer by source, (n_sources, n_out): those of its inputs, then of its own neurons."""
    if isinstance(layer, Recurrent):
        return np.concatenate([layer.weight, layer.recurrent_weight])
    return np.ascontiguousarray(layer.weight)


def _joined(first: SpikeBatch, second: SpikeBatch) -> SpikeBatch:
    """Both batches as one; the neurons of the second are numbered after those of the first."""
    times = np.concatenate([first.times, second.times])
    neurons = np.concatenate([first.neurons, second.neurons + first.size])
    samples = np.concatenate([first.samples(), second.samples()])
    order = np.lexsort((neurons, times, samples))
    return SpikeBatch.owning(times[order], neurons[order], first.offsets + second.offsets, first.size + second.size)


@dataclass(frozen=True, eq=False)
class Pieces:
    """A stretch of time cut at every event, and the instants at which it is looked at.

    edges : (p + 1,) ms; instants : (3 p,), of each piece its beginning and two Gauss nodes
    """

    edges: Floats
    instants: Floats


def pieces(start: float, end: float, cuts: list[Floats], step: float) -> Pieces:
    """Cut [start, end) at all the times given, and further so that no piece is longer than ``step`` (ms)."""
    times = np.concatenate([[start, end], *cuts])
    edges = np.unique(times[(times >= start) & (times <= end)])
    length = np.diff(edges)
    parts = np.maximum(np.ceil(length / step), 1.0).astype(np.int64) if np.isfinite(step) else np.ones(length.size, int)
    if parts.size and parts.max() > 1:
        first = np.repeat(np.cumsum(parts) - parts, parts)
        share = (np.arange(parts.sum()) - first) / np.repeat(parts, parts)
        edges = np.append(np.repeat(edges[:-1], parts) + share * np.repeat(length, parts), end)
    length = np.diff(edges)
    instants = edges[:-1, None] + length[:, None] * np.array([0.0, LEFT, RIGHT])
    return Pieces(edges, np.ascontiguousarray(instants.ravel()))
