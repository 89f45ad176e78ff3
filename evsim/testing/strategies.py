"""Hypothesis strategies: neuron parameters, spike trains and small networks as plain descriptions.

Times in ms, potentials in the unit of the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import coo_matrix

from evsim.network import Network
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeTrains
from evsim.testing.oracle import Replay

RATIOS = (1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1.0 + 1e-8, 1.0 - 1e-8, 2.0, 0.5, 0.1, 4.0, 100.0)
"""tau_m / tau_syn worth trying by name: equal, nearly equal, 2:1, inverted, extreme."""


@dataclass(frozen=True)
class NetworkDescription:
    """A network in plain values; source ids: inputs first, then neurons.

    populations : sizes; the neurons lie in order, population after population
    neurons : one LIF of scalars per neuron; one kind of synapse per population
    synapses : (source id, target neuron, weight, delay in ms)
    input_spikes : (time in ms, source id), sorted by time
    """

    n_inputs: int
    populations: list[int]
    neurons: list[LIF]
    synapses: list[tuple[int, int, float, float]]
    input_spikes: list[tuple[float, int]]
    t_stop: float

    def network(self) -> tuple[Network, dict[str, SpikeTrains]]:
        """The network, with one projection per synapse, and its inputs: one input "in", populations "p0", "p1", ..."""
        net = Network()
        net.add_input("in", size=self.n_inputs)
        names: dict[int, tuple[str, int]] = {k: ("in", k) for k in range(self.n_inputs)}
        for p in range(len(self.populations)):
            members = self.population_range(p)
            net.add_population(f"p{p}", size=len(members), neuron=self.population_lif(p))
            names |= {self.n_inputs + k: (f"p{p}", k - members.start) for k in members}
        for source, target, weight, delay in self.synapses:
            (pre, j), (post, k) = names[source], names[self.n_inputs + target]
            shape = net.size_of(pre), net.size_of(post)
            # Sparse, so that an entry of 0 is a synapse too.
            net.connect(pre, post, weight=coo_matrix(([weight], ([j], [k])), shape=shape), delay=delay)
        return net, {"in": self.input_trains()}

    def arguments(self) -> tuple[Any, ...]:
        """What `simulate_twin` and `replay_network` take."""
        return self.neurons, self.synapses, self.input_spikes, self.n_inputs, self.t_stop

    def population_range(self, p: int) -> range:
        """Indices of the neurons of population p."""
        start = sum(self.populations[:p])
        return range(start, start + self.populations[p])

    def population_lif(self, p: int) -> LIF:
        """The parameters of population p as one LIF of arrays."""
        members = [self.neurons[k] for k in self.population_range(p)]
        names = ("tau_m", "v_th", "v_reset", "v_rest", "t_ref", "bias")
        stacked = {name: np.array([getattr(m, name) for m in members]) for name in names}
        taus = tuple(np.array(column) for column in zip(*(m.receptor_taus() for m in members)))
        tau_syn = {0: None, 1: taus[0] if taus else None, 2: taus}[len(taus)]
        v_init = np.array([m.v_rest if m.v_init is None else m.v_init for m in members])
        keep = members[0].keep_refractory_input
        return LIF(tau_syn=tau_syn, v_init=v_init, keep_refractory_input=keep, **stacked)

    def input_trains(self) -> SpikeTrains:
        """The input spikes as SpikeTrains of size n_inputs."""
        times = [t for t, _ in self.input_spikes]
        sources = np.array([source for _, source in self.input_spikes], dtype=np.int64)
        return SpikeTrains(times, sources, size=self.n_inputs)


def clear_of_grazing(replay: Replay, margin: float = 1e-9) -> bool:
    """Is every decision of a replay further than ``margin`` (relative) from going the other way?

    Peaks at the threshold, kicks near the end of refractoriness: there float64 may decide otherwise, and derivatives
    grow like 1/sqrt(margin). ``assume(clear_of_grazing(replay_network(*description.arguments())))``
    """
    return replay.margin > margin


def ratios() -> st.SearchStrategy[float]:
    """tau_m / tau_syn in 0.1 ... 100."""
    spread = st.floats(-1.0, 2.0).map(lambda x: 10.0**x)
    return st.one_of(st.sampled_from(RATIOS), spread)


@st.composite
def lif_parameters(draw: Any, receptors: int | None = None, keep_refractory_input: bool | None = None) -> LIF:
    """Scalar LIF parameters.

    receptors : 0 (delta), 1, 2, or None for any
    keep_refractory_input : delta only; None for any
    """
    if receptors is None:
        receptors = draw(st.sampled_from([0, 1, 2]))
    tau_m = draw(st.sampled_from([2.0, 10.0, 20.0]) | st.floats(2.0, 40.0))
    taus = tuple(tau_m / draw(ratios()) for _ in range(receptors))
    v_rest = draw(st.sampled_from([0.0, 0.0, -0.5, 0.25]))
    reach = draw(st.sampled_from([1.0]) | st.floats(0.5, 2.0))  # v_th - v_rest
    share = draw(st.one_of(st.just(0.0), st.floats(-1.0, 0.95), st.floats(1.05, 3.0)))  # bias / reach
    v_reset = v_rest + reach * draw(st.sampled_from([0.0, 0.5]) | st.floats(-1.0, 0.8))
    t_ref = draw(st.sampled_from([0.0, 1.0, 2.0]) | st.floats(0.1, 4.0))
    if receptors == 0 and keep_refractory_input is None:
        keep_refractory_input = draw(st.booleans())
    return LIF(
        tau_m=tau_m,
        tau_syn={0: None, 1: taus[0] if taus else None, 2: taus}[receptors],
        v_th=v_rest + reach,
        v_reset=v_reset,
        v_rest=v_rest,
        t_ref=t_ref,
        bias=share * reach,
        v_init=draw(st.none() | st.floats(-1.0, 0.9).map(lambda x: v_rest + x * reach)),
        keep_refractory_input=receptors == 0 and bool(keep_refractory_input),
    )


def instants(t_stop: float) -> st.SearchStrategy[float]:
    """Times in [0, t_stop), on a coarse grid (ties) or anywhere."""
    grid = st.integers(0, max(0, int(2 * t_stop) - 1)).map(lambda k: 0.5 * k)
    return st.one_of(grid, st.floats(0.0, t_stop, exclude_max=True))


@st.composite
def spike_trains(draw: Any, size: int, t_stop: float, max_spikes: int = 12) -> SpikeTrains:
    """Spikes of `size` neurons in [0, t_stop), ties included."""
    spikes = draw(st.lists(st.tuples(instants(t_stop), st.integers(0, size - 1)), max_size=max_spikes))
    times = [t for t, _ in spikes]
    return SpikeTrains(times, np.array([k for _, k in spikes], dtype=np.int64), size=size)


def peak_of_unit_psp(lif: LIF) -> float:
    """Largest potential that a spike of weight 1 evokes: r^(-r / (r - 1)), r = tau_m / tau_syn (delta: 1)."""
    if lif.tau_syn is None:
        return 1.0
    r = float(lif.tau_m) / float(lif.receptor_taus()[0])
    return float(np.exp(-1.0)) if abs(r - 1.0) < 1e-4 else r ** (-r / (r - 1.0))


def _delays(kind: str) -> st.SearchStrategy[float]:
    positive = st.sampled_from([0.5, 1.0, 1.5]) | st.floats(0.1, 5.0)
    return {"positive": positive, "zero": st.just(0.0), "any": st.just(0.0) | positive}[kind]


@st.composite
def small_networks(
    draw: Any,
    recurrent: bool = True,
    delays: str = "positive",
    receptors: int | None = None,
    max_population: int = 3,
    t_stop: float = 30.0,
    max_spikes: int = 10,
) -> NetworkDescription:
    """Networks of 1-2 populations of 1 ... max_population neurons with a few inputs.

    recurrent : synapses between any two neurons; else only inputs -> first population -> second. Recurrent
        synapses onto neurons without refractoriness are inhibitory, so that no activity runs away.
    delays : "positive", "zero" or "any". Backward synapses onto delta neurons always have a positive one, so
        that no zero-delay cycle of delta synapses arises.
    receptors : 0 (delta), 1, 2, or None for any kind in each population
    t_stop : ms
    """
    n_inputs = draw(st.integers(1, 3))
    populations = draw(st.lists(st.integers(1, max_population), min_size=1, max_size=2))
    neurons: list[LIF] = []
    for size in populations:
        kind = draw(st.sampled_from([0, 1, 2])) if receptors is None else receptors
        keep = kind == 0 and draw(st.booleans())
        neurons += [draw(lif_parameters(kind, keep_refractory_input=keep)) for _ in range(size)]
    first = populations[0]
    pairs = [(source, target) for source in range(n_inputs) for target in range(first)]
    if recurrent:
        pairs += [(n_inputs + pre, post) for pre in range(len(neurons)) for post in range(len(neurons))]
    else:
        pairs += [(n_inputs + pre, post) for pre in range(first) for post in range(first, len(neurons))]
    # Denormal weights are beyond the first guesses of the oracle.
    strengths = st.sampled_from([0.5, 1.0, -0.5]) | st.floats(-1.2, 1.6).map(lambda w: w if abs(w) > 1e-200 else 0.0)
    synapses = []
    for source, target in pairs:
        if source >= n_inputs and draw(st.integers(0, 3)) == 0:
            continue
        lif = neurons[target]
        backward = source - n_inputs >= target and lif.tau_syn is None
        weight = draw(strengths) * float(lif.v_th - lif.v_rest) / peak_of_unit_psp(lif)
        if recurrent and source >= n_inputs and lif.t_ref == 0.0:
            weight = -abs(weight)
        delay = draw(_delays("positive" if backward else delays))
        synapses.append((source, target, weight, delay))
    trains = draw(spike_trains(n_inputs, t_stop, max_spikes))
    spikes = [(float(t), int(k)) for t, k in zip(trains.times, trains.neurons)]
    return NetworkDescription(n_inputs, populations, neurons, synapses, spikes, t_stop)
