"""A network's synapses as the window engine reads them: compact, cut by blocks of target neurons.

A *bundle* holds the synapses of one projection onto one block, in the order of their sources; where a projection
has a few distinct delays, one bundle for each. A synapse takes 2 bytes for its target within the block, and 4 for
each of weight and delay that is its own and exact in float32 (8 where it is not).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.window.arrays import N_FLOW, Blocks, SynapseGroups, Table
from evsim._kernels.window.packing import order_by_source
from evsim.description.network import NetworkDescription
from evsim.description.projections import STRIDE, Projection, expected_synapses, is_distribution, shared_bytes
from evsim.engine.window.partition import Part, cuts_of_ranks, work_of_blocks
from evsim.memory import NEURON_BYTES, check_memory
from evsim.neurons.arrays import NeuronArrays
from evsim.ranks.alone import ALONE
from evsim.ranks.protocol import Communicator
from evsim.synapses.sampling import SynapseSampler
from evsim.threads import workers

FEW_DELAYS = 8
"""Up to so many distinct delays of a projection get bundles of their own."""

_LONG_SLICE = 48
"""Targets within a block that a source should have on average, so that its synapses are worth a visit."""

_WIDEST = 8192


@dataclass(frozen=True, eq=False)
class PackedSynapses:
    """blocks, bundles, table : see ``window_arrays``, of this rank's part of the network; delays in ms, of all ranks:
    the smallest that a neuron's spikes have (inf for none), the largest of those in the calendar (0 for none).

    by_calendar : has a projection delays that differ by synapse? n_synapses : of all ranks
    """

    blocks: Blocks
    bundles: SynapseGroups
    table: Table
    part: Part
    min_delay: float
    max_delay: float
    by_calendar: bool
    n_synapses: int

    def nbytes(self) -> int:
        """Bytes of the synapses."""
        return int(sum(a.nbytes for a in self.table) + sum(a.nbytes for a in self.bundles))


def block_width(network: NetworkDescription, name: str) -> int:
    """Neurons in a block of a population, a multiple of STRIDE: wide enough for long slices, else small."""
    n_post = network.size_of(name)
    width = STRIDE
    most = 0.0
    for p in network.projections:
        if p.target == name:
            n_pre = network.size_of(p.source)
            n = expected_synapses(p, n_pre, n_post)
            if n > most:
                most = n
                width = int(np.ceil(_LONG_SLICE * n_pre * n_post / n / STRIDE)) * STRIDE
    return min(max(width, STRIDE), _WIDEST, -(-n_post // STRIDE) * STRIDE)


_BLOCK_BYTES = 40
"""Of a synapse while its block is packed."""


@dataclass(frozen=True, eq=False)
class _Layout:
    """How each projection is stored. value : dtype of weights and delays that are stored by synapse

    own_weight : has each synapse a weight of its own; delays : the distinct delays, empty if each has its own
    """

    value: type
    own_weight: list[bool]
    delays: list[np.ndarray]


def _layout(network: NetworkDescription) -> _Layout:
    delays = [_distinct_delays(p) for p in network.projections]
    own_weight = [is_distribution(p.weight) or _is_array(p.weight) for p in network.projections]
    stored = [p.weight for p, own in zip(network.projections, own_weight) if own]
    stored += [p.delay for p, few in zip(network.projections, delays) if few.size == 0]
    return _Layout(np.float32 if all(map(_fits_float32, stored)) else np.float64, own_weight, delays)


def check_size(network: NetworkDescription, threads: int, ranks: int = 1) -> None:
    """Raise NetworkError if the window engine would need more memory than is free; nothing is drawn or laid out.

    ranks : that hold about equal parts of the synapses
    """
    share = 1.0 / ranks
    layout = _layout(network)
    item = np.dtype(layout.value).itemsize
    total = need = largest = 0.0
    for p, own, delays in zip(network.projections, layout.own_weight, layout.delays):
        n_pre, n_post = network.size_of(p.source), network.size_of(p.target)
        n = expected_synapses(p, n_pre, n_post)
        width = block_width(network, p.target)
        total += n
        need += n * (2 + item * (own + (delays.size == 0))) * share + shared_bytes(p, n_pre, n_post)
        need += 4.0 * (n_pre + 1) * max(delays.size, 1) * -(-n_post // width) * share
        largest = max(largest, n * min(width / n_post, 1.0))
    need += largest * _BLOCK_BYTES * threads + NEURON_BYTES * sum(p.size for p in network.populations.values())
    check_memory(need, f"a network of {total:.3g} synapses")


def pack(
    network: NetworkDescription, offset: dict[str, int], neurons: NeuronArrays, seed: int, threads: int,
    comm: Communicator = ALONE,
) -> PackedSynapses:  # fmt: skip
    """Draw and pack the synapses of this rank's blocks. offset : first source number of each input and population,
    inputs first.

    Time constants that differ within a population are not checked here, nor is the memory: see ``check_size``.
    """
    n_inputs = sum(network.inputs.values())
    layout = _layout(network)
    own_weight, groups, value = layout.own_weight, layout.delays, layout.value
    first_block, every_block = _cut_blocks(network, offset, n_inputs, neurons)
    cuts = _owned(network, first_block, offset, n_inputs, every_block, comm)
    own_first, own_last = cuts[comm.rank : comm.rank + 2].tolist()
    blocks = Blocks(*(a[own_first:own_last] for a in every_block))
    n_blocks = blocks.first.size

    jobs = []
    target_at = weight_at = delay_at = row = 0
    for k, p in enumerate(network.projections):
        n_pre = network.size_of(p.source)
        drawing = SynapseSampler(p, k, n_pre, network.size_of(p.target), seed)
        a, n = first_block[p.target]
        for b in range(max(a, own_first) - own_first, min(a + n, own_last) - own_first):
            stretch = blocks.first[b] - (offset[p.target] - n_inputs)
            parts = range(stretch // STRIDE, -(-(stretch + blocks.width[b]) // STRIDE))
            size = sum(drawing.size(q) for q in parts)
            jobs.append((drawing, b, parts, groups[k], target_at, weight_at, delay_at, row, size, own_weight[k]))
            target_at += size
            weight_at += size if own_weight[k] else 0
            delay_at += size if len(groups[k]) == 0 else 0
            row += (n_pre + 1) * (len(groups[k]) or 1)
    table = Table(
        np.empty(row, np.uint32), np.empty(target_at, np.uint16), np.empty(weight_at, value), np.empty(delay_at, value)
    )

    def work(job: Any) -> list[tuple[Any, ...]]:
        return _pack_block(table, offset, *job)

    with workers(threads) as pool:
        made = [bundle for bundles in pool(work, jobs) for bundle in bundles]
    made.sort(key=lambda m: m[0])
    block_of = np.array([m[0] for m in made], dtype=np.int64)
    blocks = blocks._replace(bundle_start=np.searchsorted(block_of, np.arange(n_blocks + 1)))
    types = (np.int64, np.int64, np.float64, np.float64, np.int64, np.int64, np.int64, np.int64)
    columns = [np.array([m[1 + i] for m in made], dtype=t) for i, t in enumerate(types)]
    columns.append(np.zeros(len(made), np.int64))
    recurrent = [m for m in made if m[1] >= n_inputs]
    each = comm.objects((
        min((m[9] for m in recurrent), default=np.inf),
        max((m[10] for m in made if np.isnan(m[3])), default=0.0),
        any(np.isnan(m[3]) for m in made),
        target_at,
        len(made),
    ))  # fmt: skip
    shortest, longest, by_calendar, n_synapses, n_bundles = zip(*each)
    neuron_cuts = np.append(every_block.first, neurons.theta.size)[cuts]
    return PackedSynapses(
        blocks,
        SynapseGroups(*columns),
        table,
        Part(cuts, neuron_cuts, np.append(0, np.cumsum(n_bundles)), comm.rank),
        min(shortest),
        max(longest),
        any(by_calendar),
        sum(n_synapses),
    )


def _owned(
    network: NetworkDescription, first_block: dict[str, tuple[int, int]], offset: dict[str, int], n_inputs: int,
    blocks: Blocks, comm: Communicator,
) -> np.ndarray:  # fmt: skip
    """Cuts between the blocks of the ranks."""
    population = np.repeat(np.arange(len(first_block)), [n for _, n in first_block.values()])
    begins = np.array([offset[name] - n_inputs for name in first_block])
    work = work_of_blocks(network, population, blocks.first - begins[population], blocks.width)
    return cuts_of_ranks(work, comm.size)


def _cut_blocks(
    network: NetworkDescription, offset: dict[str, int], n_inputs: int, neurons: NeuronArrays
) -> tuple[dict[str, tuple[int, int]], Blocks]:
    firsts: list[int] = []
    widths: list[int] = []
    first_block = {}
    for name, population in network.populations.items():
        width = block_width(network, name)
        begin = offset[name] - n_inputs
        starts = list(range(0, population.size, width))
        first_block[name] = len(firsts), len(starts)
        firsts += [begin + s for s in starts]
        widths += [min(width, population.size - s) for s in starts]
    first = np.array(firsts, dtype=np.int64)
    n = first.size
    keep = neurons.keep_input & (neurons.n_receptors == 0)
    return first_block, Blocks(
        first, np.array(widths, dtype=np.int64), neurons.tau_m[first], neurons.tau_exc[first], neurons.tau_inh[first],
        neurons.peak[first], neurons.n_receptors[first], keep[first], np.zeros(n, np.int64),
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64),
        np.zeros((n, N_FLOW)),
    )  # fmt: skip


def _pack_block(
    table: Table, offset: dict[str, int], drawing: SynapseSampler, block: int, parts: range, delays: np.ndarray,
    target_at: int, weight_at: int, delay_at: int, row: int, size: int, own_weight: bool,
) -> list[tuple[Any, ...]]:  # fmt: skip
    """Fill the table; the bundle's columns, then its smallest and largest delay and number of synapses."""
    p = drawing.projection
    pre, post = np.empty(size, np.int32), np.empty(size, np.uint16)
    weight = np.empty(size if own_weight else 0, table.weights.dtype)
    delay = np.empty(size if delays.size != 1 else 0, np.float64)
    n = 0
    for q in parts:
        pre_q, post_q, weight_q, delay_q = drawing.block(q)
        z = n + pre_q.size
        pre[n:z], post[n:z] = pre_q, post_q + (q - parts[0]) * STRIDE
        if own_weight:
            weight[n:z] = weight_q
        if delays.size != 1:
            delay[n:z] = delay_q
        n = z
    bundles = []
    n_rows = drawing.n_pre + 1
    for g in range(max(delays.size, 1)):
        of_delay = np.flatnonzero(delay == delays[g]) if delays.size > 1 else slice(None)
        source = pre[of_delay]
        n = source.size
        order = np.empty(n, np.int32)
        order_by_source(source, table.starts[row : row + n_rows], order)
        table.targets[target_at : target_at + n] = post[of_delay][order]
        if own_weight:
            table.weights[weight_at : weight_at + n] = weight[of_delay][order]
        shortest = longest = float(delays[g]) if delays.size else 0.0
        if delays.size == 0:
            table.delays[delay_at : delay_at + n] = delay[order]
            shortest, longest = float(delay.min(initial=np.inf)), float(delay.max(initial=0.0))
        elif n == 0 and np.ndim(p.delay) > 0:
            shortest = np.inf
        bundles.append((
            block, offset[p.source], drawing.n_pre, float(delays[g]) if delays.size else np.nan,
            np.nan if own_weight else float(p.weight), row, target_at, weight_at, delay_at, shortest, longest, n,
        ))  # fmt: skip
        target_at += n
        weight_at += n if own_weight else 0
        delay_at += n if delays.size == 0 else 0
        row += n_rows
    return bundles


def _distinct_delays(p: Projection) -> np.ndarray:
    """The delays of a projection if they are few, ms ascending; empty if each synapse has its own."""
    if is_distribution(p.delay):
        return np.empty(0)
    given = p.delay.tocoo().data if hasattr(p.delay, "tocoo") else p.delay
    delays = np.unique(np.asarray(given, dtype=np.float64))
    return delays if 1 <= delays.size <= FEW_DELAYS else np.empty(0)


def _is_array(given: Any) -> bool:
    return hasattr(given, "tocoo") or np.ndim(given) > 0


def _fits_float32(given: Any) -> bool:
    if is_distribution(given):
        return True
    values = np.asarray(given.tocoo().data if hasattr(given, "tocoo") else given, dtype=np.float64)
    with np.errstate(over="ignore"):
        return values.ndim == 0 or bool(np.all(values.astype(np.float32) == values))
