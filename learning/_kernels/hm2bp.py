"""HM2-BP gradients of one layer, a block of neurons over all samples of a batch in fixed order."""

import numpy as np

from evsim._kernels.jit import kernel

from .spsp import spsp_rows


@kernel
def layer_block(
    pre_offsets, pre_times, pre_columns, jump_u, jump_i, pre_origin, active_offsets, active, pre_counts,
    query_offsets, block_starts, q_time, q_neuron, q_u, q_i, q_origin, post_counts,
    delta, macro, weight_t, gradient, signal,
    block_index, block, n_post, theta, tau_m, tau_s, micro_paper, pass_micro,
    silent_psp, silent_micro, silent_ratio, silent_from_all, wants_signal,
):  # fmt: skip
    """Weight gradients of neurons ``block_index * block`` ... and their part of the signal to the inputs.

    Flat per-sample arrays with offsets as made by ``spsp``; delta, macro : (samples, n_post), dL/da and
    the factor of the total effect (Gamma, or 1); weight_t, gradient : (n_post, n_pre); signal :
    (samples, n_pre), this block's share of dL/do_pre, if ``wants_signal``; both added to.
    """
    n_samples = delta.shape[0]
    n_pre = weight_t.shape[1]
    first = block_index * block
    last = min(first + block, n_post)
    trace_u = np.empty(n_pre)
    trace_i = np.empty(n_pre)
    rows = np.empty((block, n_pre))
    for k in range(n_samples):
        wanted = False
        for i in range(first, last):
            wanted = wanted or delta[k, i] != 0.0
        if not wanted:
            continue
        a0 = active_offsets[k]
        n_active = active_offsets[k + 1] - a0
        pre = slice(pre_offsets[k], pre_offsets[k + 1])
        qa = query_offsets[k] + block_starts[k, block_index]
        qb = query_offsets[k] + block_starts[k, block_index + 1]
        spsp_rows(
            pre_times[pre], pre_columns[pre], jump_u[pre], jump_i[pre], pre_origin[pre],
            q_time[qa:qb], q_neuron[qa:qb], q_u[qa:qb], q_i[qa:qb], q_origin[qa:qb],
            trace_u, trace_i, rows, first, n_active, tau_m, tau_s,
        )  # fmt: skip
        for i in range(first, last):
            d = delta[k, i]
            if d == 0.0:
                continue
            row = rows[i - first]
            count = post_counts[k, i]
            micro = 1.0
            if micro_paper:
                s = 0.0
                if count > 0:
                    for j in range(n_active):
                        s += weight_t[i, active[a0 + j]] * row[j]
                    s /= count
                elif silent_from_all:
                    for source in range(n_pre):
                        s += weight_t[i, source] * silent_micro
                else:
                    for j in range(n_active):
                        s += weight_t[i, active[a0 + j]] * silent_micro
                micro += s / theta[i]
            factor = d * macro[k, i] * micro
            back = factor if pass_micro else d * macro[k, i]
            if count > 0:
                for j in range(n_active):
                    gradient[i, active[a0 + j]] += factor * row[j]
            else:
                for j in range(n_active):
                    gradient[i, active[a0 + j]] += factor * silent_psp
            if not wants_signal:
                continue
            for j in range(n_active):
                source = active[a0 + j]
                ratio = row[j] / pre_counts[k, source] if count > 0 else silent_ratio
                signal[k, source] += back * weight_t[i, source] * ratio
            if silent_ratio != 0.0:
                for source in range(n_pre):
                    if pre_counts[k, source] == 0:
                        signal[k, source] += back * weight_t[i, source] * silent_ratio
