"""HM2-BP gradients of one layer, a block of neurons over all samples of a batch in fixed order.

The order is that of ``learning.fixed_order``; the sums of its halves stay in the cache.
"""

from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage

from .spsp import Rows, spsp_rows


class CountErrors(NamedTuple):
    """dL/da of each neuron and the factor of the total effect (Gamma, or 1), (samples, n_post); spike counts of sources
    and neurons, (samples, n_pre) and (samples, n_post)."""

    delta: np.ndarray
    macro: np.ndarray
    pre_counts: np.ndarray
    post_counts: np.ndarray


class Order(NamedTuple):
    """How samples are added: borders of the stretches, (stretches + 1,), and after each how often the last two sums are
    added into one; sums : most of them at once."""

    borders: np.ndarray
    merges: np.ndarray
    sums: int


class Settings(NamedTuple):
    """How the rule counts.

    micro_paper : the paper's factor of the reset; pass_micro : is it passed to the inputs as well; from_all : do silent
    neurons sum over all sources, not only those that spike; wants_signal : is the signal wanted
    silent_psp, silent_micro, silent_ratio : S-PSP, its share in the factor, and e/o, of a silent neuron (of a silent
    source, the last)
    """

    micro_paper: bool
    pass_micro: bool
    from_all: bool
    wants_signal: bool
    silent_psp: float
    silent_micro: float
    silent_ratio: float


@stage
def _micro(count, row, active, weights, theta, settings):
    """The paper's factor 1 + sum_j w_ij e_ij/(o_i theta) of a neuron; row : its S-PSPs, of the active sources."""
    s = 0.0
    if count > 0:
        for j in range(active.size):
            s += weights[active[j]] * row[j]
        s /= count
    elif settings.from_all:
        for source in range(weights.size):
            s += weights[source] * settings.silent_micro
    else:
        for j in range(active.size):
            s += weights[active[j]] * settings.silent_micro
    return 1.0 + s / theta


@stage
def _add_to_signal(count, back, row, active, weights, pre_counts, signal, settings):
    """Add a neuron's part to dL/do of the sources, (n_pre,)."""
    for j in range(active.size):
        source = active[j]
        ratio = row[j] / pre_counts[source] if count > 0 else settings.silent_ratio
        signal[source] += back * weights[source] * ratio
    if settings.silent_ratio != 0.0:
        for source in range(weights.size):
            if pre_counts[source] == 0:
                signal[source] += back * weights[source] * settings.silent_ratio


@leaf
def _add_sample(k, first, last, active, rows, errors, weight_t, theta, gradient, signal, settings):
    """Sample k of neurons ``first`` ... ``last - 1``, whose rows ``gradient`` has; active : its sources that spike."""
    for i in range(first, last):
        d = errors.delta[k, i]
        if d == 0.0:
            continue
        row = rows.spsp[i - first]
        to = gradient[i - first]
        count = errors.post_counts[k, i]
        micro = 1.0
        if settings.micro_paper:
            micro = _micro(count, row, active, weight_t[i], theta[i], settings)
        factor = d * errors.macro[k, i] * micro
        back = factor if settings.pass_micro else d * errors.macro[k, i]
        if count > 0:
            for j in range(active.size):
                to[active[j]] += factor * row[j]
        else:
            for j in range(active.size):
                to[active[j]] += factor * settings.silent_psp
        if settings.wants_signal:
            _add_to_signal(count, back, row, active, weight_t[i], errors.pre_counts[k], signal[k], settings)


@leaf
def _merge(sums, top, times):
    """Add the last two of ``top`` sums into one, so many times; returns how many sums are left."""
    for _ in range(times):
        top -= 1
        for i in range(sums.shape[1]):
            for j in range(sums.shape[2]):
                sums[top - 1, i, j] += sums[top, i, j]
    return top


@kernel
def layer_block(prepared, errors, order, weight_t, theta, settings, block_index, gradient, signal):
    """Weight gradients of neurons ``block_index * block`` ... and their part of the signal to the inputs.

    prepared : PreparedBatch; errors : CountErrors; order : Order; weight_t : (n_post, n_pre); theta : (n_post,)
    gradient : (n_post, n_pre), written
    signal : (samples, n_pre), this block's share of dL/do_pre, if it is wanted; added to
    """
    n_pre = weight_t.shape[1]
    first = block_index * prepared.block
    last = min(first + prepared.block, theta.size)
    rows = Rows(np.empty(n_pre), np.empty(n_pre), np.empty((prepared.block, n_pre)))
    sums = np.empty((order.sums, last - first, n_pre))
    top = 0
    for stretch in range(order.merges.size):
        sums[top] = 0.0
        for k in range(order.borders[stretch], order.borders[stretch + 1]):
            if not np.any(errors.delta[k, first:last] != 0.0):
                continue
            active = prepared.active[prepared.active_offsets[k] : prepared.active_offsets[k + 1]]
            spsp_rows(k, block_index, prepared, active.size, rows)
            _add_sample(k, first, last, active, rows, errors, weight_t, theta, sums[top], signal, settings)
        top = _merge(sums, top + 1, order.merges[stretch])
    gradient[first:last] = sums[0]
