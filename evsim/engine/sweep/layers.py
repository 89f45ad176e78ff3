"""Feed-forward layers for the layer sweep: packed weights, one sample or a batch on threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.samples import N_FACTORS, arrivals, sweep_samples
from evsim._kernels.sorting import sort_spikes
from evsim._kernels.sweep.groups import GROUP, group_factors
from evsim._kernels.sweep.layer import N_MARKS, N_PROGRESS, N_STATE, SWEEP_DONE, SWEEP_ENDLESS, SWEEP_FULL, sweep_layer
from evsim.engine.runaway import Populations
from evsim.errors import RunawayError
from evsim.neurons.arrays import neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.threads import check_halt, over_parts, over_stretches
from evsim.types import Floats, Ints

_MAX_WIDTH = 400

_BUDGET = 2**24
"""Pairs of an event and a neuron in one call of a kernel. Between two calls a run can be interrupted."""


@dataclass(frozen=True, eq=False)
class SweepLayer:
    """A layer as the sweep kernel reads it; arrays are cut into blocks of ``width`` neurons.

    weights : (n_blocks, pre + 1, width), the last row 0 for padding events
    theta, u_reset, t_ref, u_init : (n_blocks, width)
    """

    size: int
    n_pre: int
    weights: Floats
    theta: Floats
    u_reset: Floats
    t_ref: Floats
    u_init: Floats
    scalars: tuple[Any, ...]
    """tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input"""


def sweepable(neuron: LIF) -> bool:
    """The sweep shares its factors among all neurons of a layer: they must have equal time constants."""
    return all(np.unique(np.asarray(tau)).size == 1 for tau in (neuron.tau_m, *neuron.receptor_taus()))


def pack_layer(weight: Floats, neuron: LIF, width: int | None = None) -> SweepLayer:
    """Bring a (pre, post) weight matrix and its neurons into block form.

    width : neurons per block; changes the speed, never the result
    """
    n_pre, size = weight.shape
    if width is None:
        n_blocks = -(-size // _MAX_WIDTH)
        width = -(-size // (8 * n_blocks)) * 8
    n_blocks = -(-size // width)
    p = neuron_arrays(neuron, size)

    def blocks(values: Floats, fill: float) -> Floats:
        out = np.full(n_blocks * width, fill)
        out[:size] = values
        return out.reshape(n_blocks, width)

    packed = np.zeros((n_blocks, n_pre + 1, width))
    for b in range(n_blocks):
        part = weight[:, b * width : (b + 1) * width]
        packed[b, :n_pre, : part.shape[1]] = part
    return SweepLayer(
        size,
        n_pre,
        packed,
        blocks(p.theta, np.inf),
        blocks(p.u_reset, 0.0),
        blocks(p.t_ref, 0.0),
        blocks(p.u_init, 0.0),
        (
            float(p.tau_m[0]),
            float(p.tau_exc[0]),
            float(p.tau_inh[0]),
            float(p.peak[0]),
            int(p.n_receptors[0]),
            bool(p.keep_input[0]),
        ),
    )


@dataclass(frozen=True, eq=False)
class LayerSpikes:
    """Spikes of one layer in one sample, ordered by (time, neuron); ``grazing`` counts such peaks."""

    times: Floats
    neurons: Ints
    currents: Floats
    grazing: int


def run_layer(
    layer: SweepLayer, times: Floats, sources: Ints, t_stop: float, threads: int = 1, name: str = "the layer"
) -> LayerSpikes:
    """Sweep one sample. times (n,) sorted arrivals within [0, t_stop), sources (n,) rows of the weights.

    name : of the neurons, for errors. Raises RunawayError : neurons that spike without bound.
    """
    events = _events(layer, times, sources, 0.0, t_stop)
    n_blocks = layer.weights.shape[0]
    cuts = np.linspace(0, n_blocks, min(threads, n_blocks) + 1).astype(int)
    parts = over_parts(
        lambda first, last: _run_blocks(layer, *events, t_stop, first, last, name), cuts.tolist(), threads
    )
    return LayerSpikes(*_sorted(parts, t_stop), grazing=sum(p[3] for p in parts))


def _events(
    layer: SweepLayer, times: Floats, sources: Ints, delay: float, t_stop: float
) -> tuple[Floats, Ints, Floats]:
    """Padded arrival times, rows of the weights, and factors of the events of one sample."""
    padded, rows = np.empty(times.size + GROUP), np.empty(times.size + GROUP, np.int32)
    n = arrivals(times, sources, delay, t_stop, layer.n_pre, padded, rows)
    padded, rows = padded[:n], rows[:n]
    factors = np.empty((n, N_FACTORS))
    tau_m, tau_exc, tau_inh, _, n_receptors, _ = layer.scalars
    group_factors(padded, factors, tau_m, tau_exc, tau_inh, n_receptors)
    return padded, rows, factors


def _sorted(parts: Sequence[tuple[Any, ...]], t_stop: float) -> tuple[Floats, Ints, Floats]:
    """Spikes of all blocks, ordered by (time, neuron)."""
    t, i, c = (np.concatenate([p[k] for p in parts]) if len(parts) > 1 else parts[0][k] for k in range(3))
    out = np.empty(t.size), np.empty(t.size, np.int32), np.empty(t.size)
    sort_spikes(t, i, c, 0.0, t_stop, *out)
    return out


def run_layer_batch(
    layer: SweepLayer, batch: SpikeBatch, t_stop: float, delay: float = 0.0, threads: int = 1
) -> SpikeBatch:
    """Sweep every sample of a batch through one layer; stretches of samples run on threads.

    The result is the same, to the bit, for any number of threads and any way to put samples into batches.
    """
    counts = np.zeros(len(batch), np.int64)
    work = (batch.offsets[1:] - batch.offsets[:-1]) * layer.size

    def samples(first: int, last: int) -> tuple[Floats, Ints, Floats]:
        capacity = 1024 + 16 * layer.size * (last - first)
        out: tuple[Floats, Ints, Floats] = np.empty(capacity), np.empty(capacity, np.int32), np.empty(capacity)
        progress = np.array([first, 0])
        while True:
            status = sweep_samples(
                batch.times, batch.neurons, batch.offsets,
                layer.weights, layer.theta, layer.u_reset, layer.t_ref, layer.u_init,
                *out, counts, progress, np.zeros(1, np.int64), delay, t_stop, *layer.scalars, layer.size, last,
            )  # fmt: skip
            if status == SWEEP_DONE:
                break
            if status == SWEEP_ENDLESS:
                raise _endless(out[0][0], out[1][0], "the layer")
            need = progress[1] + counts[progress[0]]
            while out[0].size < need:
                out = _doubled(out, layer)
            check_halt()
        return out[0][: progress[1]], out[1][: progress[1]], out[2][: progress[1]]

    def long_sample(k: int) -> tuple[Floats, Ints, Floats]:
        part = slice(batch.offsets[k], batch.offsets[k + 1])
        events = _events(layer, batch.times[part], batch.neurons[part], delay, t_stop)
        out = _sorted([_run_blocks(layer, *events, t_stop, 0, layer.weights.shape[0], "the layer")], t_stop)
        counts[k] = out[0].size
        return out

    def stretch(first: int, last: int) -> list[tuple[Floats, Ints, Floats]]:
        found = []
        while first < last:
            check_halt()
            if work[first] > _BUDGET:
                end = first + 1
                found.append(long_sample(first))
            else:
                # As many as fit into the budget, at least this one, which does.
                end = first + int(np.searchsorted(np.cumsum(work[first:last]), _BUDGET, side="right"))
                found.append(samples(first, end))
            first = end
        return found

    parts = [part for found in over_stretches(stretch, len(batch), threads) for part in found]
    return SpikeBatch.owning(
        np.concatenate([np.empty(0), *(p[0] for p in parts)]),
        np.concatenate([np.empty(0, np.int32), *(p[1] for p in parts)]),
        np.append(0, np.cumsum(counts)),
        layer.size,
        np.concatenate([np.empty(0), *(p[2] for p in parts)]),
    )


def _run_blocks(
    layer: SweepLayer, times: Floats, rows: Ints, factors: Floats, t_stop: float, first: int, last: int, name: str
) -> tuple[Floats, Ints, Floats, int]:
    capacity = 1024 + 16 * layer.size
    out: tuple[Floats, Ints, Floats] = np.empty(capacity), np.empty(capacity, np.int32), np.empty(capacity)
    progress = np.zeros(N_PROGRESS, np.int64)
    progress[0] = first
    tally = np.zeros(1, np.int64)
    width = layer.weights.shape[2]
    state, marks = np.zeros((N_STATE, width)), np.zeros((N_MARKS, width + 1), np.int64)
    status = SWEEP_FULL
    while status != SWEEP_DONE:
        status = sweep_layer(
            times, rows, factors, layer.weights, layer.theta, layer.u_reset, layer.t_ref, layer.u_init,
            state, marks, *out, progress, tally, t_stop, *layer.scalars, layer.size, last, _BUDGET,
        )  # fmt: skip
        if status == SWEEP_ENDLESS:
            raise _endless(out[0][-1], out[1][-1], name)
        if status == SWEEP_FULL:
            out = _doubled(out, layer)
        check_halt()
    n = progress[1]
    return out[0][:n], out[1][:n], out[2][:n], int(tally[0])


def _endless(time: float, neuron: int, name: str) -> RunawayError:
    return RunawayError(
        f"neuron {neuron} of {name} spikes without end at about {time:.6g} ms: after a spike its input brings it "
        "back to threshold at once, and no refractory period holds it. Give t_ref > 0, or smaller weights."
    )


def _doubled(out: tuple[Floats, Ints, Floats], layer: SweepLayer) -> tuple[Floats, Ints, Floats]:
    neurons = Populations({"the layer": 0}, 0, np.full(layer.size, layer.scalars[0]))
    times, who, currents = neurons.grown(out, f"{out[0].size:,} spikes", float(out[0].max()))
    return times, who, currents
