"""The sweep engine: a declared feed-forward network, layer by layer, in one piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim.description.network import NetworkDescription
from evsim.description.projections import single_delay
from evsim.engine.feed import Feed
from evsim.engine.select import LARGE, layer_order, sweep_bytes
from evsim.engine.sweep.layers import LayerSpikes, pack_layer, run_layer
from evsim.errors import NetworkError
from evsim.memory import check_memory
from evsim.synapses.flat_network import network_arrays
from evsim.synapses.sampling import dense_weights
from evsim.types import Floats, Ints


class SweepEngine:
    """An ``Engine`` that runs from 0 to one end: each layer needs its whole input."""

    name = "sweep"
    c = 0.0
    pause = np.inf

    def __init__(self, network: NetworkDescription, seed: int, threads: int) -> None:
        need = sweep_bytes(network)
        if need > LARGE:
            check_memory(need, "the sweep, which keeps whole matrices of weights,")
        self.network = network
        self.offset, _ = network_arrays(network)
        self.n_inputs = sum(network.inputs.values())
        self.n_synapses = 0
        self.events = self.grazing = 0
        self._seed, self._threads = seed, threads
        self._layers: dict[str, LayerSpikes] | None = None

    def run_to(self, stop: float, feed: Feed, returned: float) -> None:
        """From 0 ms, with these inputs. Called again it does nothing, for the same end alone."""
        if stop == 0.0 or self._layers is not None:
            return
        sources = {}
        for name, size in self.network.inputs.items():
            of_input = (feed.sources >= self.offset[name]) & (feed.sources < self.offset[name] + size)
            sources[name] = feed.times[of_input], feed.sources[of_input] - self.offset[name], size
        layers: dict[str, LayerSpikes] = {}
        events = synapses = grazing = 0
        for name in layer_order(self.network):
            weight, times, rows = self._input_of(name, sources, stop)
            size = self.network.populations[name].size
            layer = pack_layer(weight, self.network.populations[name].neuron)
            out = run_layer(layer, times, rows, stop, self._threads, repr(name))
            layers[name] = out
            sources[name] = out.times, out.neurons, size
            grazing += out.grazing
            events += times.size * size
            synapses += weight.size
        self.events, self.n_synapses, self.grazing, self._layers = events, synapses, grazing, layers

    def _input_of(
        self, name: str, sources: dict[str, tuple[Floats, Ints, int]], stop: float
    ) -> tuple[Floats, Floats, Ints]:
        """Weights of a layer, (rows, size), and its arrivals before ``stop``: times, ms, ordered, and rows."""
        population = self.network.populations[name]
        receptors = len(population.neuron.receptor_taus())
        weights, times, rows = [np.empty((0, population.size))], [np.empty(0)], [np.empty(0, np.int32)]
        n_rows = 0
        for k, p in enumerate(self.network.projections):
            if p.target != name:
                continue
            t, neurons, size = sources[p.source]
            for weight in dense_weights(p, k, size, population.size, self._seed, receptors):
                weights.append(weight)
                times.append(t + float(single_delay(p) or 0.0))
                rows.append((neurons + n_rows).astype(np.int32))
                n_rows += size
        t, r = np.concatenate(times), np.concatenate(rows)
        order = np.lexsort((r, t))
        order = order[t[order] < stop]
        return np.concatenate(weights), t[order], r[order]

    def spikes(self, since: float, until: float) -> tuple[Floats, np.ndarray, Floats]:
        """As ``Engine.spikes``."""
        assert self._layers is not None
        parts = []
        for name in self.network.populations:
            layer = self._layers[name]
            since_then = slice(*np.searchsorted(layer.times, [since, until]))
            neurons = layer.neurons[since_then] + np.int32(self.offset[name] - self.n_inputs)
            parts.append((layer.times[since_then], neurons, layer.currents[since_then]))
        times, neurons, currents = zip(*parts)
        return np.concatenate(times), np.concatenate(neurons), np.concatenate(currents)

    def weights(self) -> dict[int, Floats]:
        """None is plastic."""
        return {}

    def state(self) -> dict[str, Any]:
        """Raises NetworkError : there is nothing to continue from."""
        raise NetworkError("the sweep runs in one piece and cannot be continued. Use driver='queue' or 'window'.")

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Raises NetworkError : as ``state``."""
        self.state()
