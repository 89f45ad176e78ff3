"""Rate-based backpropagation as published (Yu et al., NeurIPS 2024): recursions of paper and program on a grid.

A step of the program lasts ``h`` and is cut into h/dt parts; dt = h is the program itself. The secondary activation is
a chance per step of the program, so a part has dt/h of it. Arrays are (steps, n), weights (n_in, n_out); thresholds 1.
"""

from __future__ import annotations

import numpy as np

from evsim.types import Floats

SLOPE = 4.0


def activation(u: Floats) -> Floats:
    """Sigmoid of slope 4, differentiated: 1 at the threshold, integral 1."""
    s = 1.0 / (1.0 + np.exp(-SLOPE * (u - 1.0)))
    return SLOPE * s * (1.0 - s)


def forward(drive: Floats, leak: float, reset: str) -> tuple[Floats, Floats]:
    """Potentials before the reset and spikes, from what a layer gets at each step."""
    u, spikes = np.empty(drive.shape), np.empty(drive.shape)
    kept = np.zeros(drive.shape[1])
    for t, x in enumerate(drive):
        u[t] = leak * kept + x
        spikes[t] = u[t] >= 1.0
        kept = u[t] - spikes[t] if reset == "soft" else u[t] * (1.0 - spikes[t])
    return u, spikes


def slope(u: Floats, spikes: Floats, leak: float, reset: str, detached: bool, dt: float, h: float) -> Floats:
    """J, (n,): the running mean of psi f, with f the response of the potential to a constant offset of its input.

    Silent neurons have no branch of their own: their psi is not 0.
    """
    f, mean = np.ones(u.shape[1]), np.zeros(u.shape[1])
    for t, (v, s) in enumerate(zip(u, spikes)):
        psi = activation(v) * dt / h
        mean = (t * mean + psi * f) / (t + 1)
        lost = np.zeros(f.shape)
        if reset == "hard":
            lost = s + (0.0 if detached else v * psi)
        elif not detached:
            lost = psi
        f = 1.0 + leak * (1.0 - lost) * f
    return mean


def backward(
    rates: list[Floats], slopes: list[Floats], weights: list[Floats], by_rate: Floats
) -> tuple[list[Floats], Floats]:
    """One pass through mean rates: g_c = J g_r, dL/dW = g_c r^T, g_r = W^T g_c.

    rates : of the input and of every layer, a mean over steps; by_rate : dL/d rate of the last one
    Returns dL/dW of every layer and dL/d rate of the input.
    """
    found: list[Floats] = []
    for r, j, w in zip(rates[-2::-1], slopes[::-1], weights[::-1]):
        by_drive = j * by_rate
        found.insert(0, np.outer(r, by_drive))
        by_rate = w @ by_drive
    return found, by_rate


def of_mean_logits(rate: Floats, readout: Floats, label: int, divided_by: float = 1.0) -> tuple[Floats, Floats]:
    """Cross-entropy of the mean over steps of a linear readout: dL/d rate, and dL/d readout, (n, classes).

    divided_by : the program divides its loss by the number of steps, for the gradient only
    """
    logits = rate @ readout
    error = np.exp(logits - logits.max())
    error /= error.sum()
    error[label] -= 1.0
    return readout @ error / divided_by, np.outer(rate, error) / divided_by
