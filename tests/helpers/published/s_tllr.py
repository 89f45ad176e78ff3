"""S-TLLR as published (Apolinario and Roy, TMLR 2025): recursions of paper and program on a grid.

A step of the program lasts ``h`` and is cut into h/dt parts; dt = h is the program itself. The secondary activation
is a chance per step of the program, so a part has dt/h of it; learning signals are held over a step. Arrays are
(steps, n).

Where paper and program differ, what is taken here:
    D1  non-causal trace: ``lag_one`` is "paper" (a spike one step after counts lambda_post) or "program" (1)
    D2  thresholds (0.6 in the program, 0.8 in the paper) and leaks (SHD: sigmoid(5) = 0.9933, paper 0.99) are the
        caller's, as potentials are given; the activation is of u - threshold, not of u/threshold - 1
    D3  T_l is the first step with a learning signal; the program's flag counts the steps that have one
    D4  no biases (the program's have the gradient psi delta, without a trace)
    D5  pooling: none here
    D6  weights are updated once a sample, with the sum of all steps
    D7  costs in the paper's tables are no part of the rule
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evsim.types import Floats


def narrow(u: Floats, threshold: float) -> Floats:
    """S1 = 1/(100 |u - th| + 1)^2."""
    return 1.0 / (100.0 * np.abs(u - threshold) + 1.0) ** 2


def triangle(u: Floats, threshold: float) -> Floats:
    """S2 = 0.3 max(1 - |u - th|, 0)."""
    return 0.3 * np.maximum(1.0 - np.abs(u - threshold), 0.0)


def sigmoid(u: Floats, threshold: float) -> Floats:
    """S3 as in the program, of slope 4: 4 s (1 - s), s = sigmoid(4 (u - th))."""
    s = 1.0 / (1.0 + np.exp(-4.0 * (u - threshold)))
    return 4.0 * s * (1.0 - s)


def lorentzian(u: Floats, threshold: float) -> Floats:
    """S4 = 1/(1 + (10 (u - th))^2)."""
    return 1.0 / (1.0 + (10.0 * (u - threshold)) ** 2)


Activation = Callable[[Floats, float], Floats]


def forward(drive: Floats, leak: float, threshold: float, reset: str = "soft") -> tuple[Floats, Floats]:
    """Potentials before the reset and spikes; "hard" is the program's other reset."""
    u, spikes, kept = np.empty(drive.shape), np.empty(drive.shape), np.zeros(drive.shape[1])
    for t, x in enumerate(drive):
        u[t] = leak * kept + x
        spikes[t] = u[t] >= threshold
        kept = u[t] - threshold * spikes[t] if reset == "soft" else u[t] * (1.0 - spikes[t])
    return u, spikes


def errors(counts: Floats, readout: Floats, label: int, first: int, leak: float = 0.0) -> Floats:
    """Softmax minus one-hot of each step's readout o[t] = leak o[t-1] + W y[t], (steps, classes); 0 before ``first``.

    counts : (steps of the program, n); leak 0: a linear layer on the step's spikes (VGG); 0.9933: the accumulator (SHD)
    """
    out, o = np.zeros((len(counts), readout.shape[1])), np.zeros(readout.shape[1])
    for t, y in enumerate(counts):
        o = leak * o + y @ readout
        if t >= first:
            out[t] = np.exp(o - o.max()) / np.exp(o - o.max()).sum()
            out[t, label] -= 1.0
    return out


def gradient(
    arrivals: Floats, post: Floats, delta: Floats, lam_pre: float, lam_post: float, a_pre: float, a_post: float,
    lag_one: str = "paper",
) -> Floats:  # fmt: skip
    """sum_t delta_i[t] e_ij[t], (n_in, n_out).

    post : of the neurons, psi or, in a variant of the program, their spikes
    arrivals : of the inputs, in recurrent layers followed by the neurons' own spikes of the step before
    """
    before, after = np.zeros(arrivals.shape[1]), np.zeros(post.shape[1])
    out = np.zeros((before.size, after.size))
    for x, p, d in zip(arrivals, post, delta):
        before = lam_pre * before + x
        # The trace of what came before this step, so that pre and post of one step are causal.
        out += a_pre * np.outer(before, d * p) + a_post * np.outer(x, d * after)
        after = lam_post * (after + p) if lag_one == "paper" else lam_post * after + p
    return out


def signal_below(delta: Floats, psi: Floats, weight: Floats) -> Floats:
    """delta of the inputs, through the activations of the same step; psi per step of the program."""
    return (delta * psi) @ weight.T
