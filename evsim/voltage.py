"""Voltages of a recorded run: replay one neuron's input and spikes through the closed form."""

from __future__ import annotations

import numpy as np

from evsim._kernels.replay import voltage_at
from evsim.connect import synapses_onto
from evsim.drive import drive_spikes
from evsim.neurons import neuron_arrays
from evsim.recording import Recording
from evsim.types import Floats


def arrivals_of(rec: Recording, population: str, neuron: int) -> tuple[Floats, Floats]:
    """All input of one neuron: arrival times (ms, ascending; ties in source order) and weights."""
    net = rec.network
    size = net.size_of(population)
    times, weights = [np.empty(0)], [np.empty(0)]
    for k, p in enumerate(net.projections):
        if p.target != population:
            continue
        s = synapses_onto(p, k, net.size_of(p.source), size, rec.seed, neuron)
        train = rec.inputs[p.source] if p.source in rec.inputs else rec[p.source]
        by_source = np.argsort(train.neurons, kind="stable")
        start = np.searchsorted(train.neurons[by_source], np.arange(train.size + 1))
        for syn in np.argsort(s.pre, kind="stable"):
            j = s.pre[syn]
            t = train.times[by_source[start[j] : start[j + 1]]] + s.delay[syn]
            times.append(t)
            weights.append(np.full(t.size, s.weight[syn]))
    for k, drive in enumerate(net.drives):
        if drive.target == population:
            cells = range(int(np.ceil(rec.t_stop / rec.cell)))
            t, _ = drive_spikes(drive, k, size, rec.seed, rec.cell, cells, neuron)
            times.append(t)
            weights.append(np.full(t.size, drive.weight))
    t, w = np.concatenate(times), np.concatenate(weights)
    order = np.argsort(t, kind="stable")
    return t[order], w[order]


def voltage(rec: Recording, population: str, neuron: int, times: Floats) -> Floats:
    """See ``Recording.voltage``. Raises ValueError for times outside [0, t_stop], IndexError for neurons."""
    size = rec[population].size
    if not 0 <= neuron < size:
        raise IndexError(f"neuron {neuron} asked for, but {population!r} has 0 ... {size - 1}.")
    if rec.t_start > 0.0:
        raise ValueError(
            f"voltages are replayed from 0 ms, but this chunk begins at {rec.t_start} ms; join the chunks first "
            "(evsim.join)."
        )
    if not rec.complete:
        raise ValueError("voltages are replayed from all spikes, but not all were recorded; leave out record=.")
    if any(p.plasticity is not None and p.target == population for p in rec.network.projections):
        raise ValueError(f"voltages of {population!r} cannot be replayed: its weights changed during the run.")
    flat = np.ravel(times)
    if flat.size and not (np.all(flat >= 0.0) and np.all(flat <= rec.t_stop)):
        raise ValueError(f"voltage times must lie within [0, {rec.t_stop}] ms; got {flat.min()} ... {flat.max()}.")
    arrays = neuron_arrays(rec.network.populations[population].neuron, size)
    order = np.argsort(flat, kind="stable")
    out = np.empty(flat.size)
    k = neuron
    voltage_at(
        flat[order], *arrivals_of(rec, population, neuron), rec[population].of(neuron), out,
        arrays.u_init[k], arrays.u_reset[k], arrays.theta[k], arrays.t_ref[k],
        arrays.tau_m[k], arrays.tau_exc[k], arrays.tau_inh[k],
        int(arrays.n_receptors[k]), bool(arrays.keep_input[k]),
    )  # fmt: skip
    result = np.empty(flat.size)
    result[order] = out + arrays.v_inf[k]
    return result.reshape(np.shape(times))
