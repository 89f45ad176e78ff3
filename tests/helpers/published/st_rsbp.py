"""ST-RSBP as its authors publish it (Zhang and Li, NeurIPS 2019): the recursions of paper and program on a grid.

The program counts time in steps of 1 ms; here a step lasts dt, delays and refractory periods keep their length.
Potentials, thresholds and S-PSPs are the program's: dv/dt = -v/tau_m + p/tau_s. Weights are (n_post, n_pre).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim.types import Floats

SILENT_RATIO, LEAST_DIAGONAL, LAST_COLUMN = 0.5, 1e-4, 50


@dataclass(frozen=True)
class Times:
    """ms; dt : a step; most : counts that the table holds"""

    tau_m: float
    tau_s: float
    t_ref: float
    delay: float
    t_stop: float
    dt: float
    most: int = 100


def effects(pre: Floats, post: Floats, t: Times) -> Floats:
    """e of all pairs, (n_post, n_pre), by simulating each pair; spikes (steps, n). 0 if either is silent."""
    lag, held = round(t.delay / t.dt), round(t.t_ref / t.dt)
    p, total = np.zeros(pre.shape[1]), np.zeros((post.shape[1], pre.shape[1]))
    q, rests = np.zeros(total.shape), np.zeros(post.shape[1], int)
    for step in range(len(post)):
        p = p - p * t.dt / t.tau_s + (pre[step - lag] if step >= lag else 0.0)
        q = q - q * t.dt / t.tau_m + p * t.dt / t.tau_s
        q[rests > 0] = 0.0
        rests = np.maximum(rests - 1, 0)
        fired = post[step] > 0
        total[fired] += q[fired]
        q[fired] = 0.0
        rests[fired] = held
    return total


def table(t: Times, mean_gain) -> Floats:
    """Powers of o_post, highest first, of the mean of e at each count of the source: rows 1 ... most.

    mean_gain : counts -> the mean over random trains of sum_f 1 - exp(-d_f/tau_m), which the authors estimate by
    simulating 1000 pairs of trains for each pair of counts
    """
    counts = np.arange(1, t.most + 1)
    return np.array([np.polyfit(counts, n / t.t_stop * mean_gain(counts), 4) for n in counts])


def slopes(powers: Floats, pre: Floats, post: Floats, recurrent: bool) -> Floats:
    """de/do_post of all pairs at their counts, (n_post, n_pre). The table is read from 1 on; a recurrent layer reads
    it to 50, and a feed-forward layer takes 0 for its silent neurons."""
    most = LAST_COLUMN if recurrent else len(powers)
    row = np.clip(pre, 1, most) - 1
    column = np.clip(post, 1, most) if recurrent else post
    found = np.array([[np.polyval(np.polyder(powers[r]), c) for r in row] for c in column])
    return found if recurrent else np.where(post[:, None] > 0, found, 0.0)


def ratios(e: Floats, pre: Floats, post: Floats) -> Floats:
    """e/o_pre, (n_post, n_pre), 0.5 where either is silent."""
    silent = (post == 0)[:, None] | (pre == 0)[None, :]
    return np.where(silent, SILENT_RATIO, e / np.maximum(pre, 1)[None, :])


def lateral_factor(outputs: Floats, target: int, strength: float, threshold: float, t: Times) -> Floats:
    """Two hops over the fixed inhibition of an output layer, (n,)."""
    counts = outputs.sum(axis=0)
    ratio = ratios(effects(outputs, outputs, t), counts, counts)
    slope = np.where((counts > 0) | (np.arange(counts.size) == target), 1.0 / threshold, 0.0)
    hop = ratio * slope[:, None] * (1.0 - np.eye(counts.size))
    return 1.0 / (1.0 - strength**2 * np.sum(hop.T * hop, axis=1))


def feed_forward(
    weight: Floats, pre: Floats, post: Floats, error: Floats, threshold: float, powers: Floats, t: Times,
    factor: Floats | float = 1.0,
) -> tuple[Floats, Floats]:  # fmt: skip
    """From dE/do of a layer to dE/dw (n_post, n_pre) and dE/do of its inputs.

    factor : of lateral inhibition; the error that is passed back lacks it
    """
    o_pre, o_post, e = pre.sum(axis=0).astype(int), post.sum(axis=0).astype(int), effects(pre, post, t)
    total = 1.0 - np.sum(weight * slopes(powers, o_pre, o_post, False), axis=1) / threshold
    delta = error / threshold
    return (delta * factor / total)[:, None] * e, (delta / total) @ (weight * ratios(e, o_pre, o_post))


def recurrent(
    weight: Floats, inner: Floats, pre: Floats, post: Floats, error: Floats, threshold: float, powers: Floats, t: Times
) -> tuple[Floats, Floats, Floats]:
    """From dE/do of a recurrent layer to dE/dw, dE/dr (n_post, n_post), and dE/do of its inputs.

    Weights get the effect on their own neuron alone; the layer below gets the solution of Omega X = Phi.
    """
    o_pre, o_post = pre.sum(axis=0).astype(int), post.sum(axis=0).astype(int)
    e, e_inner = effects(pre, post, t), effects(post, post, t)
    held_up = weight * slopes(powers, o_pre, o_post, True), inner * slopes(powers, o_post, o_post, True)
    total = 1.0 - sum(np.sum(h, axis=1) for h in held_up) / threshold
    total = np.where(np.abs(total) < LEAST_DIAGONAL, np.copysign(LEAST_DIAGONAL, total), total)
    omega = -inner * ratios(e_inner, o_post, o_post) / threshold
    omega[np.diag_indices(len(omega))] = total
    below = np.linalg.solve(omega, weight * ratios(e, o_pre, o_post))
    delta = error / threshold
    return (delta / total)[:, None] * e, (delta / total)[:, None] * e_inner, delta @ below
