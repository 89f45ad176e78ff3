"""Feed-forward layers for the layer sweep: packed weights, one sample or a batch on threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.batch_driver import N_FACTORS, arrivals, sweep_samples
from evsim._kernels.sorting import sort_spikes
from evsim._kernels.sweep_driver import SWEEP_DONE, SWEEP_ENDLESS, sweep_layer
from evsim._kernels.sweep_groups import GROUP, group_factors
from evsim.errors import RunawayError
from evsim.neurons import neuron_arrays
from evsim.runaway import Populations
from evsim.threads import check_halt, over_stretches, workers
from evsim.types import LIF, Floats, Ints, SpikeBatch

_MAX_WIDTH = 400


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
    padded, rows = np.empty(times.size + GROUP), np.empty(times.size + GROUP, np.int32)
    n = arrivals(times, sources, 0.0, t_stop, layer.n_pre, padded, rows)
    padded, rows = padded[:n], rows[:n]
    factors = np.empty((n, N_FACTORS))
    tau_m, tau_exc, tau_inh, _, n_receptors, _ = layer.scalars
    group_factors(padded, factors, tau_m, tau_exc, tau_inh, n_receptors)
    n_blocks = layer.weights.shape[0]
    cuts = np.linspace(0, n_blocks, min(threads, n_blocks) + 1).astype(int)
    with workers(threads) as pool:
        parts = list(
            pool(lambda k: _run_blocks(layer, padded, rows, factors, t_stop, int(cuts[k]), int(cuts[k + 1]), name),
                 range(cuts.size - 1))
        )  # fmt: skip
    t, i, c = (np.concatenate([p[k] for p in parts]) if len(parts) > 1 else parts[0][k] for k in range(3))
    out = np.empty(t.size), np.empty(t.size, np.int32), np.empty(t.size)
    sort_spikes(t, i, c, 0.0, t_stop, *out)
    return LayerSpikes(*out, grazing=sum(p[3] for p in parts))


def run_layer_batch(
    layer: SweepLayer, batch: SpikeBatch, t_stop: float, delay: float = 0.0, threads: int = 1
) -> SpikeBatch:
    """Sweep every sample of a batch through one layer; stretches of samples run on threads.

    The result is the same, to the bit, for any number of threads and any way to put samples into batches.
    """
    counts = np.zeros(len(batch), np.int64)

    def stretch(first: int, last: int) -> tuple[Floats, Ints, Floats]:
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
            out = _doubled(out, layer)
            check_halt()
        return out[0][: progress[1]], out[1][: progress[1]], out[2][: progress[1]]

    parts = over_stretches(stretch, len(batch), threads)
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
    progress = np.array([first, 0])
    tally = np.zeros(1, np.int64)
    while progress[0] < last:
        # Block by block: between two calls it can be interrupted.
        status = sweep_layer(
            times, rows, factors, layer.weights, layer.theta, layer.u_reset, layer.t_ref, layer.u_init,
            *out, progress, tally, t_stop, *layer.scalars, layer.size, progress[0] + 1,
        )  # fmt: skip
        if status == SWEEP_ENDLESS:
            raise _endless(out[0][-1], out[1][-1], name)
        if status != SWEEP_DONE:
            out = _doubled(out, layer)
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
