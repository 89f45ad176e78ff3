"""Derivatives of spike times, by differences of the 50-digit replay: the ruler for every gradient."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Normal numbers for all parameters of some kinds.

    Delays, refractory periods and input times that are 0 stay there, and so do weights near 0 onto two receptors: they
    cannot be moved to both sides.
    """
    rng = np.random.default_rng(seed)
    direction = {kind: rng.normal(size=sizes(description)[kind]) for kind in kinds}
    two = [len(lif.receptor_taus()) == 2 for lif in description.neurons]
    at_the_edge = {
        "weight": [two[post] and abs(w) < 1e-9 for _, post, w, _ in description.synapses],
        "delay": [delay == 0.0 for _, _, _, delay in description.synapses],
        "input": [t < 1e-9 for t, _ in description.input_spikes],
        "t_ref": [lif.t_ref == 0.0 for lif in description.neurons],
    }
    for kind, edge in at_the_edge.items():
        if kind in direction:
            direction[kind][np.array(edge, bool)] = 0.0
    return direction


def unit_direction(description: NetworkDescription, kind: str, index: int) -> Direction:
    """One parameter alone."""
    d = np.zeros(sizes(description)[kind])
    d[index] = 1.0
    return {kind: d}


def untied(description: NetworkDescription, spikes: Sequence[tuple[float, int]]) -> bool:
    """Does no arrival fall on the target's own spike or on the end of its refractoriness?

    There derivatives differ from side to side. A kick that makes a delta neuron fire is no such tie.
    spikes : (time, neuron) of all neurons
    """
    d = description
    emitted = [*d.input_spikes, *((t, d.n_inputs + n) for t, n in spikes)]
    edges = {(n, t + d.neurons[n].t_ref) for t, n in spikes if d.neurons[n].t_ref > 0.0}
    edges |= {(n, t) for t, n in spikes if d.neurons[n].receptor_taus()}
    arrivals = {(post, t + delay) for t, source in emitted for pre, post, _, delay in d.synapses if pre == source}
    return not edges & arrivals


def spike_time_derivatives(
    description: NetworkDescription, direction: Direction
) -> tuple[list[tuple[float, int]], Floats]:
    """Spikes (time in ms, neuron) ordered by (time, neuron), and the derivative of each time along a direction.

    Central differences with 50 digits. Times are added exactly here, arrivals of inputs too.

    Raises SpikesChanged : the spikes around the point are not the same. ValueError : a delay, refractory period or input
    time of 0 is to be moved.
    """
    for kind, values in (
        ("delay", [s[3] for s in description.synapses]),
        ("input", [t for t, _ in description.input_spikes]),
        ("t_ref", [lif.t_ref for lif in description.neurons]),
    ):
        if kind in direction and np.any((np.array(values) == 0.0) & (direction[kind] != 0.0)):
            raise ValueError(f"a {kind} of 0 cannot be moved to both sides; leave it out of the direction.")
    with mp.workdps(DIGITS):
        ahead, behind = (_replay(description, direction, step) for step in (STEP, -STEP))
        if [n for _, n in ahead] != [n for _, n in behind]:
            raise SpikesChanged("the spikes change within the step: a grazing or tied case.")
        spikes = [(float((a[0] + b[0]) / 2), a[1]) for a, b in zip(ahead, behind)]
        return spikes, np.array([float((a[0] - b[0]) / (2 * STEP)) for a, b in zip(ahead, behind)])


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
