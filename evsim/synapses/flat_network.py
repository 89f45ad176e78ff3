"""From a declared network to the flat arrays that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim.checks import MOST
from evsim.description.network import NetworkDescription
from evsim.description.plasticity import STDP
from evsim.description.projections import expected_synapses, shared_bytes
from evsim.errors import NetworkError
from evsim.memory import NEURON_BYTES, check_memory
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.synapses.sampling import Synapses, sample_synapses
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class FlatNetwork:
    """A whole network in flat arrays. Sources are numbered inputs first, then neurons.

    Source s owns the groups ``group_start[s]:group_start[s + 1]`` (one per distinct delay and level of its
    targets, ascending), group g the synapses ``synapse_start[g]:synapse_start[g + 1]``.
    """

    source_offset: dict[str, int]
    n_inputs: int
    neurons: NeuronArrays
    level: np.ndarray
    group_start: np.ndarray
    group_delay: Floats
    group_level: np.ndarray
    synapse_start: np.ndarray
    source: np.ndarray
    target: np.ndarray
    weight: Floats
    delay: Floats
    order: np.ndarray
    projection_start: np.ndarray
    plastic: dict[int, STDP]


_BYTES = 160
"""Bytes that a synapse takes at most while a network is flattened."""


def network_arrays(network: NetworkDescription) -> tuple[dict[str, int], NeuronArrays]:
    """First source number of each input and population (inputs first), and the parameters of all neurons.

    Raises NetworkError : there is no population, or there are more inputs and neurons than 32 bits can number.
    """
    total = sum(network.inputs.values()) + sum(p.size for p in network.populations.values())
    if total > MOST:
        raise NetworkError(f"a network has at most {MOST} inputs and neurons; this one has {total}.")
    offset: dict[str, int] = {}
    n_sources = 0
    for name, size in network.inputs.items():
        offset[name] = n_sources
        n_sources += size
    parts = []
    for name, population in network.populations.items():
        offset[name] = n_sources
        n_sources += population.size
        parts.append(neuron_arrays(population.neuron, population.size))
    if not parts:
        raise NetworkError("the network has no population to simulate; add one with add_population.")
    columns = (np.concatenate([getattr(p, f) for p in parts]) for f in NeuronArrays._fields)
    return offset, NeuronArrays(*columns)


def flatten(network: NetworkDescription, seed: int) -> FlatNetwork:
    """Flatten a network; random rules draw from streams keyed by (seed, number of the projection).

    Raises NetworkError : a cycle of delta synapses without delay.
    """
    total = need = 0.0
    for p in network.projections:
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        total += expected_synapses(p, n_pre, n_post)
        need += shared_bytes(p, n_pre, n_post)
    need += 24.0 * sum(network.inputs.values())
    need += _BYTES * total + NEURON_BYTES * sum(p.size for p in network.populations.values())
    check_memory(need, f"the queue engine with {total:.3g} synapses")
    offset, neurons = network_arrays(network)
    n_inputs = sum(network.inputs.values())
    n_sources = n_inputs + neurons.theta.size
    lists: list[Synapses] = []
    for k, p in enumerate(network.projections):
        s = sample_synapses(p, k, network.size_of(p.source), network.size_of(p.target), seed)
        lists.append(
            Synapses(s.pre + offset[p.source], s.post + (offset[p.target] - n_inputs), s.weight, s.delay)
        )

    def joined(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype), *(getattr(s, name) for s in lists)]).astype(dtype)

    source, target = joined("pre", np.int64), joined("post", np.int64)
    weight, delay = joined("weight", np.float64), joined("delay", np.float64)
    level = _levels(source - n_inputs, target, delay, neurons.n_receptors)
    order = np.lexsort((target, level[target], delay, source))
    source, target, weight, delay = source[order], target[order], weight[order], delay[order]
    new = np.ones(source.size, bool)
    lv = level[target]
    new[1:] = (np.diff(source) != 0) | (np.diff(delay) != 0) | (np.diff(lv) != 0)
    first = np.flatnonzero(new)
    return FlatNetwork(
        source_offset=offset,
        n_inputs=n_inputs,
        neurons=neurons,
        level=level,
        group_start=np.searchsorted(source[first], np.arange(n_sources + 1)),
        group_delay=delay[first],
        group_level=lv[first],
        synapse_start=np.append(first, source.size),
        source=source,
        target=target.astype(np.int32),
        weight=weight,
        delay=delay,
        order=order,
        projection_start=np.append(0, np.cumsum([s.pre.size for s in lists])).astype(np.int64),
        plastic={k: p.plasticity for k, p in enumerate(network.projections) if p.plasticity is not None},
    )


def _levels(pre: np.ndarray, post: np.ndarray, delay: Floats, n_receptors: np.ndarray) -> np.ndarray:
    """Depth of each neuron below zero-delay delta synapses (Kahn's algorithm)."""
    n = n_receptors.size
    level = np.zeros(n, np.int64)
    instant = (pre >= 0) & (delay == 0.0) & (n_receptors[post] == 0)
    pre, post = pre[instant], post[instant]
    if pre.size == 0:
        return level
    order = np.argsort(pre, kind="stable")
    pre, post = pre[order], post[order]
    start = np.searchsorted(pre, np.arange(n + 1))
    waiting = np.bincount(post, minlength=n)
    ready = list(np.flatnonzero(waiting == 0))
    done = 0
    while ready:
        k = ready.pop()
        done += 1
        for j in post[start[k] : start[k + 1]]:
            level[j] = max(level[j], level[k] + 1)
            waiting[j] -= 1
            if waiting[j] == 0:
                ready.append(j)
    if done < n:
        stuck = int(np.flatnonzero(waiting > 0)[0])
        raise NetworkError(
            f"a cycle of delta synapses without delay runs through neuron {stuck} (counted over all "
            "populations): its spikes would cause each other at the same instant. Give one of the "
            "projections of the cycle a delay > 0."
        )
    return level
