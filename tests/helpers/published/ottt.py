"""OTTT as published (Xiao et al., NeurIPS 2022): recursions of paper and program on a grid.

A step of the program lasts ``h`` and may be cut into h/dt parts; dt = h is the program itself. Potentials
u[t] = lam (u[t-1] - s[t-1]) + W x[t], thresholds 1, traces a[t] = lam a[t-1] + x[t] of what a layer gets, learning
signals at each step, and nothing else that reaches back in time. Arrays are (steps, n), weights (n_in, n_out).

The readout is linear, its weights use the trace of the spikes. (The program's first convolution has no trace and its
biases have none either; both are left out here.)
"""

from __future__ import annotations

import numpy as np

from evsim.types import Floats

MEAN_SQUARE = 0.05
"""Share of the squared error in the loss; the rest is cross-entropy."""


def activation(u: Floats) -> Floats:
    """Sigmoid of slope 4, differentiated."""
    s = 1.0 / (1.0 + np.exp(-4.0 * (u - 1.0)))
    return 4.0 * s * (1.0 - s)


def error(logits: Floats, label: int, steps: int) -> Floats:
    """dL[t]/d logits of the loss of one step, which is divided by the number of steps."""
    soft = np.exp(logits - logits.max())
    soft /= soft.sum()
    wanted = np.eye(logits.size)[label]
    return ((1.0 - MEAN_SQUARE) * (soft - wanted) + MEAN_SQUARE * 2.0 * (logits - wanted) / logits.size) / steps


def one_step(traces: list[Floats], psi: list[Floats], weights: list[Floats], top: Floats) -> list[Floats]:
    """dL/dW of all layers at one step: g a^T, g of a hidden layer = (W g above) psi. top : g of the last one."""
    found, g = [np.outer(traces[-1], top)], top
    for k in range(len(psi) - 1, -1, -1):
        g = (weights[k + 1] @ g) * psi[k]
        found.insert(0, np.outer(traces[k], g))
    return found


def run(
    inputs: Floats, weights: list[Floats], label: int, lam: float, rate: float | None = None, reset: str = "soft"
) -> list[Floats]:
    """A sample of the program, hidden layers and readout. rate None: OTTT_A, the sum of all steps' gradients. Else
    OTTT_O: plain gradient steps of that size at once, and what they add up to, over -rate."""
    now = [w.copy() for w in weights]
    total = [np.zeros_like(w) for w in weights]
    u, spikes = ([np.zeros(w.shape[1]) for w in weights[:-1]] for _ in range(2))
    traces = [np.zeros(len(w)) for w in weights]
    for x in inputs:
        for k in range(len(u)):
            traces[k] = lam * traces[k] + x
            kept = u[k] - spikes[k] if reset == "soft" else u[k] * (1.0 - spikes[k])
            u[k] = lam * kept + x @ now[k]
            x = spikes[k] = (u[k] >= 1.0).astype(float)
        traces[-1] = lam * traces[-1] + x
        found = one_step(traces, [activation(v) for v in u], now, error(x @ now[-1], label, len(inputs)))
        for t, w, g in zip(total, now, found):
            t += g
            if rate is not None:
                w -= rate * g
    return total


def held(
    inputs: list[Floats], potentials: list[Floats], weights: list[Floats], top: Floats, lam: float, dt: float, h: float
) -> list[Floats]:
    """OTTT_A of the hidden layers, on parts of steps.

    inputs, potentials : of each hidden layer; weights : of the layers above each; top : errors at the readout, held
    over the program's steps
    """
    total: list[Floats] = []
    traces = [np.zeros(x.shape[1]) for x in inputs]
    for t, g in enumerate(top):
        traces = [lam * a + x[t] for a, x in zip(traces, inputs)]
        psi = [activation(u[t]) for u in potentials]
        # The readout's own gradient is of no interest here.
        found = one_step([*traces, np.zeros(len(weights[-1]))], psi, [np.empty(0), *weights], g)[:-1]
        total = [a + b * dt / h for a, b in zip(total, found)] if total else [b * dt / h for b in found]
    return total
