"""The van Rossum distance of sorted trains and its derivative by all spike times, linear in the number of spikes."""

import math

from evsim._kernels.jit import kernel, leaf


@leaf
def _add_pairs(times, others, tau, sign, slope):
    """Adds sign/tau sum_k sgn(t_i - o_k) exp(-|t_i - o_k|/tau) to slope[i]; returns sum_ik exp(-|t_i - o_k|/tau)."""
    total = 0.0
    before = 0.0
    last = 0.0
    k = 0
    for i in range(times.size):
        before *= math.exp((last - times[i]) / tau)
        last = times[i]
        while k < others.size and others[k] < times[i]:
            before += math.exp((others[k] - times[i]) / tau)
            k += 1
        total += before
        slope[i] += sign / tau * before
        same = k
        while same < others.size and others[same] == times[i]:
            total += 1.0
            same += 1
    after = 0.0
    k = others.size - 1
    for i in range(times.size - 1, -1, -1):
        after *= math.exp((times[i] - last) / tau)
        last = times[i]
        while k >= 0 and others[k] > times[i]:
            after += math.exp((times[i] - others[k]) / tau)
            k -= 1
        total += after
        slope[i] -= sign / tau * after
    return total


@leaf
def _self_sum(times, tau):
    total = 0.0
    before = 0.0
    for i in range(times.size):
        if i > 0:
            before = (before + 1.0) * math.exp((times[i - 1] - times[i]) / tau)
        total += 1.0 + 2.0 * before
    return total


@kernel
def van_rossum_samples(times, starts, targets, target_starts, labels, n_out, tau, loss, slope):
    """loss (samples,) added to, slope (n_spikes,) written; spikes ordered by (sample, neuron, time).

    starts, target_starts : where each (sample, neuron) begins. d(1/2 sum_ij)/dt_i = -(1/tau) sum_j sgn e.
    """
    slope[:] = 0.0
    for sample in range(labels.size):
        for n in range(n_out):
            a = sample * n_out + n
            b = labels[sample] * n_out + n
            train = times[starts[a] : starts[a + 1]]
            target = targets[target_starts[b] : target_starts[b + 1]]
            by_time = slope[starts[a] : starts[a + 1]]
            loss[sample] += 0.5 * _add_pairs(train, train, tau, -1.0, by_time)
            loss[sample] -= _add_pairs(train, target, tau, 1.0, by_time)
            loss[sample] += 0.5 * _self_sum(target, tau)
