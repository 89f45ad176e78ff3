"""Derivatives of spike times, by differences of the 50-digit replay: the ruler for every gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from mpmath import mp, mpf

from evsim.testing.oracle import DIGITS, Parameters, replay_network
from evsim.testing.strategies import NetworkDescription
from evsim.types import Floats

Direction = dict[str, Floats]
"""How much each parameter is moved, by kind: "weight" and "delay" (n_synapses,), "input" (n_input_spikes,), the others
(n_neurons,). Kinds left out are not moved."""

NEURON_KINDS = ("tau_m", "tau_exc", "tau_inh", "v_th", "v_reset", "v_rest", "bias", "v_init", "t_ref")
KINDS = ("weight", "delay", "input", *NEURON_KINDS)
STEP = mpf(10) ** -16
"""Of the differences; with 50 digits their error is about STEP^2 relative, and rounding 1e-26."""


class SpikesChanged(Exception):
    """The step made spikes appear, vanish or change places: there is no derivative, or not within the step."""


def sizes(description: NetworkDescription) -> dict[str, int]:
    """Number of parameters of each kind."""
    n = len(description.neurons)
    counts = {"weight": len(description.synapses), "delay": len(description.synapses),
              "input": len(description.input_spikes)}  # fmt: skip
    return counts | {kind: n for kind in NEURON_KINDS}


def random_direction(description: NetworkDescription, kinds: tuple[str, ...], seed: int) -> Direction:
    """Normal numbers for all parameters of some kinds (those that exist)."""
    rng = np.random.default_rng(seed)
    return {kind: rng.normal(size=sizes(description)[kind]) for kind in kinds}


def unit_direction(description: NetworkDescription, kind: str, index: int) -> Direction:
    """One parameter alone."""
    d = np.zeros(sizes(description)[kind])
    d[index] = 1.0
    return {kind: d}


def spike_time_derivatives(
    description: NetworkDescription, direction: Direction
) -> tuple[list[tuple[float, int]], Floats]:
    """Spikes (time in ms, neuron) ordered by (time, neuron), and the derivative of each time along a direction.

    Central differences with 50 digits. Times are added exactly here, arrivals of inputs too.

    Raises SpikesChanged : the spikes around the point are not the same.
    """
    with mp.workdps(DIGITS):
        middle, ahead, behind = (_replay(description, direction, step) for step in (mpf(0), STEP, -STEP))
        order = [n for _, n in middle]
        if [n for _, n in ahead] != order or [n for _, n in behind] != order:
            raise SpikesChanged("the spikes change within the step: a grazing or tied case.")
        slopes = [float((a[0] - b[0]) / (2 * STEP)) for a, b in zip(ahead, behind)]
    return [(float(t), n) for t, n in middle], np.array(slopes)


def _replay(description: NetworkDescription, direction: Direction, step: mpf) -> list[tuple[mpf, int]]:
    def move(kind: str, k: int) -> mpf:
        return step * mpf(float(direction[kind][k])) if kind in direction else mpf(0)

    neurons = []
    for k, lif in enumerate(description.neurons):
        p = Parameters.of(lif, exact=True)
        named = {kind: getattr(p, kind) + move(kind, k) for kind in NEURON_KINDS if kind not in ("tau_exc", "tau_inh")}
        taus = tuple(tau + move(kind, k) for tau, kind in zip(p.tau_syn, ("tau_exc", "tau_inh")))
        neurons.append(replace(p, tau_syn=taus, **named))
    synapses = [
        (source, target, mpf(weight) + move("weight", k), mpf(delay) + move("delay", k))
        for k, (source, target, weight, delay) in enumerate(description.synapses)
    ]
    inputs = [(mpf(t) + move("input", k), source) for k, (t, source) in enumerate(description.input_spikes)]
    return list(replay_network(neurons, synapses, inputs, description.n_inputs, mpf(description.t_stop)))
