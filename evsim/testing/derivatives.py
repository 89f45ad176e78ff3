"""Derivatives of spike times, by differences of the 50-digit replay: the ruler for every gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from mpmath import mp, mpf
from numpy.typing import ArrayLike

from evsim import streams
from evsim.testing.closed_form import DIGITS
from evsim.testing.follow import Base, MpSynapse, base_of, follow
from evsim.testing.follow import SpikesChanged as SpikesChanged
from evsim.testing.oracle import Parameters
from evsim.testing.strategies import NetworkDescription
from evsim.types import Floats

Direction = dict[str, Floats]
"""How much each parameter is moved, by kind: "weight" and "delay" (n_synapses,), "input" (n_input_spikes,), the others
(n_neurons,). Kinds left out are not moved."""

NEURON_KINDS = ("tau_m", "tau_exc", "tau_inh", "v_th", "v_reset", "v_rest", "bias", "v_init", "t_ref")
"""Parameters of each neuron; tau_exc is the only receptor's where there is one. v_init counts even where it is None."""
KINDS = ("weight", "delay", "input", *NEURON_KINDS)
STEP = mpf(10) ** -16
"""Step of differences, in the parameter's unit. With 50 digits their error is about STEP^2 relative (one-sided: STEP),
and that of rounding 1e-26 absolute: a derivative of 1e-30 may come out as 0."""


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
    rng = streams.rng("direction", seed)
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

    Central differences with 50 digits. Times are added exactly here, arrivals of inputs too. One parameter by itself:
    ``unit_direction``. Delays, refractory periods and input times of 0 can be moved to one side only, and weights of 0
    onto two receptors, which count as excitatory, too. Where a direction moves one of these, the derivative is that
    side's.

    Raises
    ------
    SpikesChanged : spikes appear, vanish or change places within the step: grazing, or a tie that the direction breaks
    ValueError : an unknown kind, another number of parameters, or parameters at 0 that are moved to both sides
    """
    base, n = base_of(description), sizes(description)
    for kind, moves in direction.items():
        if kind not in KINDS:
            raise ValueError(f"there is no parameter {kind!r}; there are {', '.join(KINDS)}.")
        if np.shape(moves) != (n[kind],):
            raise ValueError(f"{kind} has {n[kind]} values, but the direction has shape {np.shape(moves)}.")
    return [(float(t), n) for t, n in base.spikes], _slopes(base, direction)


def jacobian(
    description: NetworkDescription, parameters: Iterable[str] | Mapping[str, Sequence[int]] = KINDS
) -> dict[str, Floats]:
    """Derivative of every spike time by every parameter alone: by kind, (n_parameters, n_spikes).

    parameters : kinds, or by kind the indices wanted. Results are kept, so that a second loss costs nothing.

    Raises SpikesChanged : see ``spike_time_derivatives``.
    """
    base, n = base_of(description), sizes(description)
    if isinstance(parameters, Mapping):
        wanted = {kind: list(indices) for kind, indices in parameters.items()}
    else:
        wanted = {kind: list(range(n[kind])) for kind in parameters}
    return {
        kind: np.array([_row(base, kind, int(k)) for k in indices]).reshape(len(indices), len(base.spikes))
        for kind, indices in wanted.items()
    }


def gradient(
    description: NetworkDescription,
    dloss: Mapping[tuple[int, int], float] | ArrayLike,
    parameters: Iterable[str] | Mapping[str, Sequence[int]] = KINDS,
) -> dict[str, Floats]:
    """dL/dp = sum_k dL/dt_k dt_k/dp of a loss of the spike times, by kind of parameter.

    dloss : dL/dt of each spike: (n_spikes,) in the order of the replay, by (time, neuron); or {(neuron, k): value} for
        the k-th spike of a neuron (from 0), 0 for those left out
    parameters : kinds, or by kind the indices wanted

    Raises
    ------
    SpikesChanged : see ``spike_time_derivatives``
    ValueError : dloss names a spike that does not exist, or has another length
    """
    spikes = base_of(description).spikes
    if isinstance(dloss, Mapping):
        number: dict[tuple[int, int], int] = {}
        for place, (_, n) in enumerate(spikes):
            number[n, sum(m == n for _, m in spikes[:place])] = place
        if missing := set(dloss) - set(number):
            raise ValueError(f"there is no spike (neuron, number) {min(missing)}; there are {len(spikes)} spikes.")
        pull = np.zeros(len(spikes))
        for key, value in dloss.items():
            pull[number[key]] = value
    else:
        pull = np.asarray(dloss, dtype=np.float64)
        if pull.shape != (len(spikes),):
            raise ValueError(f"there are {len(spikes)} spikes, but dloss has shape {pull.shape}.")
    return {kind: rows @ pull for kind, rows in jacobian(description, parameters).items()}


@lru_cache(maxsize=4096)
def _row(base: Base, kind: str, index: int) -> Floats:
    n = {"weight": len(base.synapses), "delay": len(base.synapses), "input": len(base.inputs)}
    move = np.zeros(n.get(kind, len(base.neurons)))
    move[index] = 1.0
    row = _slopes(base, {kind: move})
    row.flags.writeable = False
    return row


def _slopes(base: Base, direction: Direction) -> Floats:
    with mp.workdps(DIGITS):
        sides = _sides(base, direction)
        unmoved = [t for t, _ in base.spikes]
        times = {side: follow(base, *_moved(base, direction, side * STEP)) for side in sides}
        ahead, behind = times.get(1, unmoved), times.get(-1, unmoved)
        return np.array([float((a - b) / (len(sides) * STEP)) for a, b in zip(ahead, behind)])


def _sides(base: Base, direction: Direction) -> tuple[int, ...]:
    """To which sides the step can go: (1, -1), or one of them where a parameter is at its edge."""
    two = [len(base.neurons[post].tau_syn) == 2 for _, post, _, _ in base.synapses]
    edges = {
        "weight": [w if both else mpf(1) for (_, _, w, _), both in zip(base.synapses, two)],
        "delay": [delay for _, _, _, delay in base.synapses],
        "input": [t for t, _ in base.inputs],
        "t_ref": [p.t_ref for p in base.neurons],
    }
    sides = set()
    for kind in edges.keys() & direction.keys():
        for value, move in zip(edges[kind], direction[kind]):
            if move != 0.0 and abs(value) <= STEP * abs(mpf(float(move))):
                sides.add(1 if (move > 0.0) == (value >= 0) else -1)
    if len(sides) == 2:
        raise ValueError("parameters at 0 are moved to both sides; give their moves one sign, or leave them out.")
    return tuple(sides) or (1, -1)


def _moved(
    base: Base, direction: Direction, step: mpf
) -> tuple[list[Parameters], list[MpSynapse], list[tuple[mpf, int]]]:
    def move(kind: str, k: int) -> mpf:
        return step * mpf(float(direction[kind][k])) if kind in direction else mpf(0)

    neurons = []
    for k, p in enumerate(base.neurons):
        named = {kind: getattr(p, kind) + move(kind, k) for kind in NEURON_KINDS if kind not in ("tau_exc", "tau_inh")}
        taus = tuple(tau + move(kind, k) for tau, kind in zip(p.tau_syn, ("tau_exc", "tau_inh")))
        neurons.append(replace(p, tau_syn=taus, **named))
    synapses = [
        (source, target, weight + move("weight", k), delay + move("delay", k))
        for k, (source, target, weight, delay) in enumerate(base.synapses)
    ]
    return neurons, synapses, [(t + move("input", k), source) for k, (t, source) in enumerate(base.inputs)]
