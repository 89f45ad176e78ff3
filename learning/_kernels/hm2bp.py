"""HM2-BP gradients of one layer, a block of neurons over all samples of a batch in fixed order."""

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
    """Sample k of neurons ``first`` ... ``last - 1``; active : its sources that spike."""
    for i in range(first, last):
        d = errors.delta[k, i]
        if d == 0.0:
            continue
        row = rows.spsp[i - first]
        count = errors.post_counts[k, i]
        micro = 1.0
        if settings.micro_paper:
            micro = _micro(count, row, active, weight_t[i], theta[i], settings)
        factor = d * errors.macro[k, i] * micro
        back = factor if settings.pass_micro else d * errors.macro[k, i]
        if count > 0:
            for j in range(active.size):
                gradient[i, active[j]] += factor * row[j]
        else:
            for j in range(active.size):
                gradient[i, active[j]] += factor * settings.silent_psp
        if settings.wants_signal:
            _add_to_signal(count, back, row, active, weight_t[i], errors.pre_counts[k], signal[k], settings)


@kernel
def layer_block(prepared, errors, weight_t, theta, settings, block_index, gradient, signal):
    """Weight gradients of neurons ``block_index * block`` ... and their part of the signal to the inputs.

    prepared : PreparedBatch; errors : CountErrors; weight_t, gradient : (n_post, n_pre); theta : (n_post,)
    signal : (samples, n_pre), this block's share of dL/do_pre, if it is wanted; this and ``gradient`` are added to
    """
    n_pre = weight_t.shape[1]
    first = block_index * prepared.block
    last = min(first + prepared.block, theta.size)
    rows = Rows(np.empty(n_pre), np.empty(n_pre), np.empty((prepared.block, n_pre)))
    for k in range(errors.delta.shape[0]):
        if not np.any(errors.delta[k, first:last] != 0.0):
            continue
        active = prepared.active[prepared.active_offsets[k] : prepared.active_offsets[k + 1]]
        spsp_rows(k, block_index, prepared, active.size, rows)
        _add_sample(k, first, last, active, rows, errors, weight_t, theta, gradient, signal, settings)
