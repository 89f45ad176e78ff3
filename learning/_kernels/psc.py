"""How the PSCs of one train match the error of another: the van Rossum loss on [0, T] and its derivatives."""

import math

import numpy as np

from evsim._kernels.jit import kernel, leaf


@leaf
def add_pairs(queries, times, tau, sign, value, slope):
    """Adds sign sum_k e_ik to value[i] and -sign/tau sum_k sgn(x_i - t_k) e_ik to slope[i], e = exp(-|x - t|/tau).

    queries, times : sorted. Two walks, each linear in their number; sgn(0) = 0.
    """
    before = 0.0
    last = 0.0
    k = 0
    for i in range(queries.size):
        x = queries[i]
        before *= math.exp((last - x) / tau)
        last = x
        while k < times.size and times[k] < x:
            before += math.exp((times[k] - x) / tau)
            k += 1
        value[i] += sign * before
        slope[i] -= sign / tau * before
        same = k
        while same < times.size and times[same] == x:
            value[i] += sign
            same += 1
    after = 0.0
    k = times.size - 1
    for i in range(queries.size - 1, -1, -1):
        x = queries[i]
        after *= math.exp((x - last) / tau)
        last = x
        while k >= 0 and times[k] > x:
            after += math.exp((x - times[k]) / tau)
            k -= 1
        value[i] += sign * after
        slope[i] += sign / tau * after


@leaf
def reached_end(times, tau, t_stop):
    """sum_k exp(-(T - t_k)/tau): what is left of a train's currents at T, in jumps."""
    total = 0.0
    for k in range(times.size):
        total += math.exp((times[k] - t_stop) / tau)
    return total


@leaf
def matches(queries, train, target, tau, t_stop, value, slope):
    """C(x) = sum_k q_k G(x, t_k) and dC/dx at the queries, written; q = 1 for train, -1 for target.

    G(x, y) = (exp(-|x - y|/tau) - exp(-(2 T - x - y)/tau))/(2 tau), the integral over [0, T] of two PSC kernels
    exp(-s/tau)/tau that start at x and y.
    """
    value[:] = 0.0
    slope[:] = 0.0
    add_pairs(queries, train, tau, 1.0, value, slope)
    add_pairs(queries, target, tau, -1.0, value, slope)
    left = reached_end(train, tau, t_stop) - reached_end(target, tau, t_stop)
    for i in range(queries.size):
        end = left * math.exp((queries[i] - t_stop) / tau)
        value[i] = (value[i] - end) / (2.0 * tau)
        slope[i] = (slope[i] - end / tau) / (2.0 * tau)


@kernel
def match_samples(
    queries, query_starts, times, starts, targets, target_starts, labels, n_out, tau, t_stop, value, slope
):
    """``matches`` for every (sample, neuron); all trains are ordered by (sample, neuron, time)."""
    for sample in range(labels.size):
        for n in range(n_out):
            a = sample * n_out + n
            b = labels[sample] * n_out + n
            ask = slice(query_starts[a], query_starts[a + 1])
            matches(
                queries[ask], times[starts[a] : starts[a + 1]], targets[target_starts[b] : target_starts[b + 1]],
                tau, t_stop, value[ask], slope[ask],
            )  # fmt: skip


@kernel
def distances(times, starts, targets, target_starts, labels, n_out, tau, t_stop, loss):
    """loss (samples,) added to: 1/2 sum_kl q_k q_l G(t_k, t_l) = 1/2 (sum of C at train - sum of C at target)."""
    room = max(times.size, targets.size)
    value = np.empty(room)
    slope = np.empty(room)
    for sample in range(labels.size):
        for n in range(n_out):
            a = sample * n_out + n
            b = labels[sample] * n_out + n
            train = times[starts[a] : starts[a + 1]]
            target = targets[target_starts[b] : target_starts[b + 1]]
            matches(train, train, target, tau, t_stop, value[: train.size], slope[: train.size])
            loss[sample] += 0.5 * np.sum(value[: train.size])
            matches(target, train, target, tau, t_stop, value[: target.size], slope[: target.size])
            loss[sample] -= 0.5 * np.sum(value[: target.size])
