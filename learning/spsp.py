"""S-PSPs from recordings: the arrays that the rules' kernels read, prepared once per batch."""

from __future__ import annotations

import numpy as np

from evsim.errors import NetworkError
from evsim.learning._kernels.arrays import Batch
from evsim.learning._kernels.spsp import Arrivals, PreparedBatch, Queries, prepare_samples, spsp_block
from evsim.learning.fields import check_numbers
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.threads import over_stretches, workers
from evsim.types import Floats


def prepare(
    inputs: SpikeBatch, outputs: SpikeBatch, neuron: LIF, delay: float, t_stop: float, threads: int = 1
) -> PreparedBatch:
    """Prepare a layer's batch. Raises NetworkError for delta or two-receptor synapses, which have no
    single PSC kernel; ValueError for batches of different samples."""
    if len(inputs) != len(outputs):
        raise ValueError(f"inputs and outputs must be the same samples; got {len(inputs)} and {len(outputs)}.")
    check_numbers({"delay": delay, "t_stop": t_stop})
    taus = neuron.receptor_taus()
    if len(taus) != 1:
        raise NetworkError(
            "S-PSPs are defined for synapses with one exponential current; this layer has "
            f"tau_syn = {neuron.tau_syn!r}. Give one tau_syn."
        )
    tau_m, tau_s = float(np.ravel(neuron.tau_m)[0]), float(np.ravel(taus[0])[0])
    n, n_pre, n_post = len(inputs), inputs.size, outputs.size
    block = max(1, min(64, -(-n_post // 8)))
    n_blocks = -(-n_post // block)
    m, q = inputs.times.size, 2 * outputs.times.size
    arrivals = Arrivals(
        inputs.offsets, inputs.times + delay, np.empty(m, np.int64), np.empty(m), np.empty(m), np.empty(m, np.int64)
    )
    queries = Queries(
        2 * outputs.offsets, np.zeros((n, n_blocks + 1), np.int64), np.empty(q), np.empty(q, np.int64), np.empty(q),
        np.empty(q), np.empty(q, np.int64),
    )  # fmt: skip
    active, n_active = np.empty((n, n_pre), np.int64), np.empty(n, np.int64)
    t_ref = np.ascontiguousarray(np.broadcast_to(np.asarray(neuron.t_ref, dtype=np.float64), n_post))

    def stretch(first: int, last: int) -> None:
        prepare_samples(
            Batch.of(inputs), Batch.of(outputs), t_ref, arrivals, queries, active, n_active, t_stop, (tau_m, tau_s),
            block, first, last,
        )  # fmt: skip

    over_stretches(stretch, n, threads)
    of_samples = np.concatenate([active[k, : n_active[k]] for k in range(n)])
    return PreparedBatch(arrivals, queries, np.append(0, np.cumsum(n_active)), of_samples, tau_m, tau_s, block)


def s_psp(
    inputs: SpikeTrains, outputs: SpikeTrains, neuron: LIF, t_stop: float, delay: float = 0.0
) -> Floats:
    """S-PSPs e[i, j] of one recording, shape (n_post, n_pre), threshold units per unit weight.

    e[i, j] is the sum, over the spikes of i, of what spikes of j contributed to v_i since the reset
    before (HM2-BP, definition of the S-PSP, here on exact times). For neurons without bias, v_reset =
    v_rest, driven by ``inputs`` alone: sum_j w_ij e_ij = (v_th - v_rest) o_i exactly.
    """
    one = SpikeBatch.from_trains
    result: Floats = s_psp_batch(one([inputs]), one([outputs]), neuron, t_stop, delay)[0]
    return result


def s_psp_batch(
    inputs: SpikeBatch, outputs: SpikeBatch, neuron: LIF, t_stop: float, delay: float = 0.0, threads: int = 1
) -> Floats:
    """``s_psp`` of every sample, (samples, n_post, n_pre)."""
    p = prepare(inputs, outputs, neuron, delay, t_stop, threads)
    result = np.zeros((len(inputs), outputs.size, inputs.size))

    def one(b: int) -> None:
        spsp_block(p, b, result)

    with workers(threads) as pool:
        list(pool(one, range(p.n_blocks)))
    return result
