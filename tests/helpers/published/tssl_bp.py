"""TSSL-BP as its authors publish it (Zhang and Li, NeurIPS 2020): the recursions of paper and program on a grid.

The program counts time in steps. Here a step of the program lasts ``h`` and is cut into h/dt parts; dt = h is the
program itself. Potentials and weights are the program's: du/dt = -u/tau_m + sum_j w_ij a_j, PSCs of integral 1.

Arrays are (samples, steps, n), weights (n_in, n_out), or (samples, n_in, n_out) if every sample has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evsim.types import Floats

THRESHOLD, WIDTH, MOST_GAIN, FARTHEST = 1.0, 0.2, 8.0, 8.0


@dataclass(frozen=True)
class Layer:
    """Forward pass: potential before the reset, its rise within the step, spikes, PSC."""

    u: Floats
    rise: Floats
    spikes: Floats
    psc: Floats


def filtered(spikes: Floats, tau_s: float, dt: float) -> Floats:
    """PSCs of spikes: a[t] = (1 - dt/tau_s) a[t-1] + s[t]/tau_s."""
    out, a = np.empty(spikes.shape), np.zeros(spikes[:, 0].shape)
    for t in range(spikes.shape[1]):
        a = (1.0 - dt / tau_s) * a + spikes[:, t] / tau_s
        out[:, t] = a
    return out


def forward(psc: Floats, weight: Floats, tau_m: float, tau_s: float, dt: float) -> Layer:
    """A layer from the PSCs of its inputs."""
    drive = psc @ weight * dt
    kept = np.zeros(drive[:, 0].shape)
    u, rise, spikes = (np.empty(drive.shape) for _ in range(3))
    for t in range(drive.shape[1]):
        rise[:, t] = drive[:, t] - dt / tau_m * kept
        u[:, t] = kept + rise[:, t]
        spikes[:, t] = u[:, t] > THRESHOLD
        kept = u[:, t] * (1.0 - spikes[:, t])
    return Layer(u, rise, spikes, filtered(spikes, tau_s, dt))


def surrogate(u: Floats) -> Floats:
    """sigma'(u) of the program, z within +-8."""
    z = np.clip((THRESHOLD - u) / WIDTH, -FARTHEST, FARTHEST)
    e = np.exp(z)
    return e / ((1.0 + e) ** 2 * WIDTH)


def backward(
    layer: Layer, by_psc: Floats, weight: Floats, tau_m: float, tau_s: float, dt: float, h: float, silent: bool = True
) -> tuple[Floats, Floats]:
    """From dE/da (an integrand: summed over steps times dt it is the error) to psi and dE/da of the inputs.

    silent : the branch of quiet neurons. Where a neuron's own PSC is below 1/(4 tau_s), psi is replaced by
    sigma'(u) C once in each step of the program. A spike that ends a quiet stretch keeps its own step.
    Returns psi, whose sum with the inputs' PSCs times dt is the gradient, and dE/da of the inputs.
    """
    parts = round(h / dt)
    quiet = layer.psc < 1.0 / (4.0 * tau_s)
    psi = np.zeros(layer.u.shape)
    c, carried = np.zeros(psi[:, 0].shape), np.zeros(psi[:, 0].shape)
    for t in range(psi.shape[1] - 1, -1, -1):
        spikes, u = layer.spikes[:, t] > 0, layer.u[:, t]
        c = (1.0 - dt / tau_s) * c + by_psc[:, t] * dt / tau_s  # sum over k >= t of eps[k - t] dE/da[k]
        # Between neurons: C/Du, and within: what the next spike hands back through the reset. Du is of a whole step.
        gain = np.clip(dt / np.where(spikes, layer.rise[:, t], 1.0), 0.0, MOST_GAIN * h)
        carried = np.where(spikes, gain * (c / h + carried * u / tau_m), (1.0 - dt / tau_m) * carried)
        psi[:, t] = carried
        if silent:
            looks = parts if t % parts == 0 else 0
            psi[:, t] = np.where(quiet[:, t], looks * surrogate(u) * c, carried)
            after_silence = spikes & (quiet[:, t - 1] if t > 0 else True)
            psi[:, t] *= np.where(after_silence, parts, 1)
    return psi, psi @ np.swapaxes(weight, -1, -2)


def gradients(
    pscs: Floats, weights: list[Floats], wanted: Floats, tau_m: float, tau_s: float, dt: float, h: float,
    silent: bool = True,
) -> list[Floats]:  # fmt: skip
    """dE/dw of every layer and sample for E = 1/2 int (a - a_wanted)^2 dt; pscs : of the input; wanted : spikes."""
    layers, inputs = [], [pscs]
    for weight in weights:
        layers.append(forward(inputs[-1], weight, tau_m, tau_s, dt))
        inputs.append(layers[-1].psc)
    by_psc = inputs[-1] - filtered(wanted, tau_s, dt)
    found: list[Floats] = []
    for layer, psc, weight in zip(layers[::-1], inputs[-2::-1], weights[::-1]):
        psi, by_psc = backward(layer, by_psc, weight, tau_m, tau_s, dt, h, silent)
        found.insert(0, np.swapaxes(psc, 1, 2) @ psi * dt)
    return found
