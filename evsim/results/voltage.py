"""Voltages of a recorded run: replay the input and the spikes of neurons through the closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.neurons.replay import voltage_at
from evsim.checks import real, whole_numbers
from evsim.description.network import NetworkDescription
from evsim.errors import InputError
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeTrains
from evsim.synapses.drives import drive_spikes
from evsim.synapses.sampling import sample_synapses_onto
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class Run:
    """What a voltage follows from: network, all spikes by input and population, seed, t_stop and cell of drives, ms."""

    network: NetworkDescription
    trains: Mapping[str, SpikeTrains]
    seed: int
    t_stop: float
    cell: float


def arrivals_of(run: Run, population: str, neurons: np.ndarray) -> Iterator[tuple[Floats, Floats]]:
    """All input of each of some neurons, (n,) ascending: arrival times (ms, ascending; ties in source order), weights.

    Connectivity and drives are sampled once for all of them.
    """
    net = run.network
    size = net.size_of(population)
    synapses = []
    for k, p in enumerate(net.projections):
        if p.target == population:
            s = sample_synapses_onto(p, k, net.size_of(p.source), size, run.seed, neurons)
            train = run.trains[p.source]
            by_source = np.argsort(train.neurons, kind="stable")
            start = np.searchsorted(train.neurons[by_source], np.arange(train.size + 1))
            order = np.lexsort((s.pre, s.post))
            synapses.append((s, order, s.post[order], train.times[by_source], start))
    drives = []
    for k, drive in enumerate(net.drives):
        if drive.target == population:
            cells = range(int(np.ceil(run.t_stop / run.cell)))
            t, j = drive_spikes(drive, k, size, run.seed, run.cell, cells, neurons)
            order = np.argsort(j, kind="stable")
            drives.append((t[order], j[order], drive.weight))
    for neuron in neurons:
        times, weights = [np.empty(0)], [np.empty(0)]
        for s, order, post, source_times, start in synapses:
            for syn in order[slice(*np.searchsorted(post, [neuron, neuron + 1]))]:
                j = s.pre[syn]
                t = source_times[start[j] : start[j + 1]] + s.delay[syn]
                times.append(t)
                weights.append(np.full(t.size, s.weight[syn]))
        for all_times, sources, weight in drives:
            t = all_times[slice(*np.searchsorted(sources, [neuron, neuron + 1]))]
            times.append(t)
            weights.append(np.full(t.size, weight))
        t, w = np.concatenate(times), np.concatenate(weights)
        order = np.argsort(t, kind="stable")
        yield t[order], w[order]


def voltage(run: Run, population: str, neuron: Any, times: Any) -> Floats:
    """See ``Recording.voltage``."""
    size = run.trains[population].size
    numbers = whole_numbers("neuron", neuron)
    if numbers.ndim > 1:
        raise InputError(f"neuron must be a number or a list of numbers; got shape {numbers.shape}.")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
        bad = numbers.ravel()[(numbers.ravel() < 0) | (numbers.ravel() >= size)][0]
        raise IndexError(f"neuron {bad} asked for, but {population!r} has 0 ... {size - 1}.")
    if any(p.plasticity is not None and p.target == population for p in run.network.projections):
        raise InputError(f"voltages of {population!r} cannot be replayed: its weights changed during the run.")
    instants = np.asarray(real("times", times, "ms"), dtype=np.float64)
    flat = np.ravel(instants)
    if flat.size and not (np.all(flat >= 0.0) and np.all(flat <= run.t_stop)):
        raise InputError(f"voltage times must lie within [0, {run.t_stop}] ms; got {flat.min()} ... {flat.max()}.")
    rows, place = np.unique(numbers.ravel().astype(np.int64), return_inverse=True)
    traces = _traces(run, population, rows, flat)
    return traces[place].reshape(numbers.shape + instants.shape)


def _traces(run: Run, population: str, neurons: np.ndarray, times: Floats) -> Floats:
    """Potentials of some neurons, (n,) ascending, at some instants: (n, n_times)."""
    train = run.trains[population]
    arrays = neuron_arrays(run.network.populations[population].neuron, train.size)
    order = np.argsort(times, kind="stable")
    in_order, out = times[order], np.empty(times.size)
    by_neuron = np.argsort(train.neurons, kind="stable")
    start = np.searchsorted(train.neurons[by_neuron], np.arange(train.size + 1))
    spikes = train.times[by_neuron]
    traces = np.empty((neurons.size, times.size))
    for row, (k, arrivals) in enumerate(zip(neurons, arrivals_of(run, population, neurons))):
        voltage_at(in_order, *arrivals, spikes[start[k] : start[k + 1]], k, arrays, out)
        traces[row, order] = out + arrays.v_inf[k]
    return traces
