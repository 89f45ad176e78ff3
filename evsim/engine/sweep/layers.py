"""Feed-forward layers for the layer sweep: packed weights, one sample or a batch on threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.samples import arrivals, sweep_samples
from evsim._kernels.sorting import sort_spikes
from evsim._kernels.spikes import Inputs, Spikes, spike_arrays
from evsim._kernels.sweep.arrays import (
    DONE,
    ENDLESS,
    FULL,
    GROUP,
    N_FACTORS,
    N_PROGRESS,
    N_SPIKES,
    NEXT_BLOCK,
    Events,
    Layer,
    block_arrays,
)
from evsim._kernels.sweep.groups import group_factors
from evsim._kernels.sweep.layer import sweep_layer
from evsim.engine.runaway import Populations
from evsim.errors import RunawayError
from evsim.neurons.arrays import NeuronArrays, neuron_arrays
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.threads import check_halt, over_parts, over_stretches
from evsim.types import Floats, Ints

_MAX_WIDTH = 400

_BUDGET = 2**24
"""Pairs of an event and a neuron in one call of a kernel. Between two calls a run can be interrupted."""


def pack_layer(weight: Floats, neuron: LIF, width: int | None = None) -> Layer:
    """Bring a (pre, post) weight matrix and its neurons into blocks.

    width : neurons per block; changes the speed, never the result
    """
    return pack_weights(weight, neuron_arrays(neuron, weight.shape[1]), width)


def pack_weights(weight: Floats, arrays: NeuronArrays, width: int | None = None) -> Layer:
    """As ``pack_layer``; arrays : of the neurons."""
    n_pre, size = weight.shape
    if width is None:
        n_blocks = -(-size // _MAX_WIDTH)
        width = -(-size // (8 * n_blocks)) * 8
    n_blocks = -(-size // width)
    # Whatever fills the last block is never looked at; its time constants must be such.
    filling = (0, n_blocks * width - size)
    neurons = NeuronArrays(*(np.pad(a, filling, mode="edge" if size else "constant") for a in arrays))
    packed = np.zeros((n_blocks, n_pre + 1, width))
    for b in range(n_blocks):
        part = weight[:, b * width : (b + 1) * width]
        packed[b, :n_pre, : part.shape[1]] = part
    return Layer(packed, neurons, size)


@dataclass(frozen=True, eq=False)
class LayerSpikes:
    """Spikes of one layer in one sample, ordered by (time, neuron); ``grazing`` counts such peaks."""

    times: Floats
    neurons: Ints
    currents: Floats
    grazing: int


def run_layer(
    layer: Layer, times: Floats, sources: Ints, t_stop: float, threads: int = 1, name: str = "the layer"
) -> LayerSpikes:
    """Sweep one sample. times (n,) sorted arrivals within [0, t_stop), sources (n,) rows of the weights.

    name : of the neurons, for errors. Raises RunawayError : neurons that spike without bound.
    """
    events = _events(layer, times, sources, 0.0, t_stop)
    n_blocks = layer.weights.shape[0]
    cuts = np.linspace(0, n_blocks, min(threads, n_blocks) + 1).astype(int)
    parts = over_parts(
        lambda first, last: _run_blocks(layer, events, t_stop, first, last, name), cuts.tolist(), threads
    )
    return LayerSpikes(*_sorted(parts, t_stop), grazing=sum(p[3] for p in parts))


def _events(layer: Layer, times: Floats, sources: Ints, delay: float, t_stop: float) -> Events:
    """The input of one sample."""
    padded, rows = np.empty(times.size + GROUP), np.empty(times.size + GROUP, np.int32)
    n = arrivals(times, sources, delay, t_stop, layer.weights.shape[1] - 1, padded, rows)
    events = Events(padded[:n], rows[:n], np.empty((n, N_FACTORS)))
    group_factors(events.times, events.factors, layer.neurons)
    return events


def _sorted(parts: Sequence[tuple[Any, ...]], t_stop: float) -> tuple[Floats, Ints, Floats]:
    """Spikes of all blocks, ordered by (time, neuron)."""
    t, i, c = (np.concatenate([p[k] for p in parts]) if len(parts) > 1 else parts[0][k] for k in range(3))
    out = np.empty(t.size), np.empty(t.size, np.int32), np.empty(t.size)
    sort_spikes(t, i, c, 0.0, t_stop, *out)
    return out


def run_layer_batch(
    layer: Layer, batch: SpikeBatch, t_stop: float, delay: float = 0.0, threads: int = 1
) -> SpikeBatch:
    """Sweep every sample of a batch through one layer; stretches of samples run on threads.

    The result is the same, to the bit, for any number of threads and any way to put samples into batches.
    """
    inputs = Inputs(batch.times, batch.neurons)

    def sweep(out: Spikes, done: Any, tally: Ints, last: int) -> int:
        return int(sweep_samples(inputs, batch.offsets, layer, out, done, tally, delay, t_stop, last))

    def long_sample(k: int) -> tuple[Floats, Ints, Floats]:
        part = slice(batch.offsets[k], batch.offsets[k + 1])
        events = _events(layer, batch.times[part], batch.neurons[part], delay, t_stop)
        return _sorted([_run_blocks(layer, events, t_stop, 0, layer.weights.shape[0], "the layer")], t_stop)

    work = (batch.offsets[1:] - batch.offsets[:-1]) * layer.size
    return sweep_batch(sweep, work, layer.size, layer.neurons.tau_m, threads, long_sample)


def sweep_batch(
    sweep: Callable[[Spikes, Any, Ints, int], int],
    work: Ints,
    size: int,
    tau_m: Floats,
    threads: int,
    long_sample: Callable[[int], tuple[Floats, Ints, Floats]] | None = None,
) -> SpikeBatch:
    """Samples by a kernel such as ``sweep_samples``, stretches of them on threads.

    sweep(out, (counts, progress), tally, last) : the kernel; work : (n_samples,), about so many pairs of an event and a
    neuron; size : neurons; tau_m : theirs
    long_sample : spikes of a sample of more than ``_BUDGET`` pairs, in pieces that can be interrupted; None: in one
    """
    counts = np.zeros(work.size, np.int64)

    def samples(first: int, last: int) -> tuple[Floats, Ints, Floats]:
        out: Spikes = spike_arrays(1024 + 16 * size * (last - first))
        progress = np.array([first, 0])
        while True:
            status = sweep(out, (counts, progress), np.zeros(1, np.int64), last)
            if status == DONE:
                break
            if status == ENDLESS:
                raise _endless(out.times[0], out.neurons[0], "the layer")
            while out.times.size < progress[1] + counts[progress[0]]:
                out = _doubled(out, tau_m[:size])
            check_halt()
        return out.times[: progress[1]], out.neurons[: progress[1]], out.currents[: progress[1]]

    def stretch(first: int, last: int) -> list[tuple[Floats, Ints, Floats]]:
        pieces = []
        while first < last:
            check_halt()
            if long_sample is not None and work[first] > _BUDGET:
                end = first + 1
                pieces.append(long_sample(first))
                counts[first] = pieces[-1][0].size
            else:
                # As many as fit into the budget, and one at least.
                end = first + max(1, int(np.searchsorted(np.cumsum(work[first:last]), _BUDGET, side="right")))
                pieces.append(samples(first, end))
            first = end
        return pieces

    parts = [part for pieces in over_stretches(stretch, work.size, threads) for part in pieces]
    return SpikeBatch.owning(
        np.concatenate([np.empty(0), *(p[0] for p in parts)]),
        np.concatenate([np.empty(0, np.int32), *(p[1] for p in parts)]),
        np.append(0, np.cumsum(counts)),
        size,
        np.concatenate([np.empty(0), *(p[2] for p in parts)]),
    )


def _run_blocks(
    layer: Layer, events: Events, t_stop: float, first: int, last: int, name: str
) -> tuple[Floats, Ints, Floats, int]:
    out: Spikes = spike_arrays(1024 + 16 * layer.size)
    progress = np.zeros(N_PROGRESS, np.int64)
    progress[NEXT_BLOCK] = first
    tally = np.zeros(1, np.int64)
    block = block_arrays(layer.weights.shape[2])
    status = FULL
    while status != DONE:
        status = sweep_layer(layer, events, block, out, progress, tally, t_stop, last, _BUDGET)
        if status == ENDLESS:
            raise _endless(out.times[-1], out.neurons[-1], name)
        if status == FULL:
            out = _doubled(out, layer.neurons.tau_m[: layer.size])
        check_halt()
    n = progress[N_SPIKES]
    return out.times[:n], out.neurons[:n], out.currents[:n], int(tally[0])


def _endless(time: float, neuron: int, name: str) -> RunawayError:
    return RunawayError(
        f"neuron {neuron} of {name} spikes without end at about {time:.6g} ms: after a spike its input brings it "
        "back to threshold at once, and no refractory period holds it. Give t_ref > 0, or smaller weights."
    )


def _doubled(out: Spikes, tau_m: Floats) -> Spikes:
    neurons = Populations({"the layer": 0}, 0, tau_m)
    return Spikes(*neurons.grown(tuple(out), f"{out.times.size:,} spikes", float(out.times.max())))
