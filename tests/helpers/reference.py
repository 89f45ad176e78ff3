"""The slow twin: the event engine in plain Python, written to be read.

One heap, one small object per neuron, formulas from the `math` module only. The compiled engine must give
the same spikes in the same order. Units: times in ms, potentials in the unit of the threshold, float64.

Model:  tau_m dv/dt = -(v - v_rest) + bias + sum_r i_r,   tau_r di_r/dt = -i_r.  Below, u is the potential and
theta the threshold, both measured from the resting value v_rest + bias.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from evsim.neurons.lif import LIF

NEVER = math.inf
SPIKE, INPUT = 0, 1

Synapse = tuple[int, int, float, float]
"""(source id, target neuron, weight, delay in ms)."""


# ------------------------------------------------------------------------------------------- closed forms


def psp(s: float, tau_m: float, tau: float, shift: float = 0.0) -> float:
    """Potential at time s after a unit jump of the current, times exp(s * shift).

    P(s) = tau / (tau_m - tau) * (exp(-s / tau_m) - exp(-s / tau)), written with the slower exponential in
    front so that it holds for every ratio of the two, equal included.
    """
    x = s * abs(tau_m - tau) / (tau_m * tau)
    phi = -math.expm1(-x) / x if x > 0.0 else 1.0
    return s / tau_m * math.exp(-s * (1.0 / max(tau_m, tau) - shift)) * phi


def first_crossing(
    u0: float, currents: Sequence[float], taus: Sequence[float], theta: float, tau_m: float, h: float
) -> float:
    """First s in [0, h] with u(s) >= theta, or inf: split [0, h] until u is monotone on every piece.

    The slope of u has the sign of g(s) = exp(s / tau_m) (i - u), and g' = -exp(s / tau_m) sum_r i_r / tau_r.
    So the zeros of that sum (none for one receptor, at most one for two, in closed form) bound pieces with at
    most one extremum each, and the extrema bound pieces with at most one crossing each.
    """
    if u0 >= theta:
        return 0.0
    shift = 1.0 / max(tau_m, *taus) if taus else 1.0 / tau_m

    def scaled_potential(s: float) -> float:
        """u(s) exp(s * shift): no underflow, the sign is that of u."""
        u = u0 * math.exp(-s * (1.0 / tau_m - shift))
        return u + sum(i * psp(s, tau_m, tau, shift) for i, tau in zip(currents, taus))

    def slope(s: float) -> float:
        """A positive multiple of du/ds."""
        i_now = sum(i * math.exp(-s * (1.0 / tau - shift)) for i, tau in zip(currents, taus))
        return i_now - scaled_potential(s)

    def gap(s: float) -> float:
        """u(s) - theta (a positive multiple of it for theta = 0), without cancellation for small s."""
        if theta == 0.0:
            return scaled_potential(s)
        driven = sum(i * psp(s, tau_m, tau) for i, tau in zip(currents, taus))
        if s < 0.5 * tau_m:
            return u0 * math.expm1(-s / tau_m) + driven - (theta - u0)
        return u0 * math.exp(-s / tau_m) + driven - theta

    bends = [0.0, *(s for s in slope_bends(currents, taus) if 0.0 < s < h), h]
    edges = [0.0]
    for a, b in pairwise(bends):
        if (slope(a) > 0.0) != (slope(b) > 0.0):
            edges.append(sign_change(slope, a, b))
        edges.append(b)
    for a, b in pairwise(edges):
        if gap(a) < 0.0 <= gap(b):
            return sign_change(gap, a, b)
    return NEVER


def slope_bends(currents: Sequence[float], taus: Sequence[float]) -> list[float]:
    """Zeros of sum_r i_r / tau_r exp(-s / tau_r), ms."""
    if len(taus) < 2 or taus[0] == taus[1] or currents[0] * currents[1] >= 0.0:
        return []
    ratio = -(currents[0] * taus[1]) / (currents[1] * taus[0])
    return [math.log(ratio) * taus[0] * taus[1] / (taus[1] - taus[0])]


def sign_change(f: Callable[[float], float], a: float, b: float) -> float:
    """Bisection to the last bit: the right one of two neighbouring floats between which f changes sign."""
    starts_negative = f(a) < 0.0
    while a < (middle := 0.5 * (a + b)) < b:
        if (f(middle) < 0.0) == starts_negative:
            a = middle
        else:
            b = middle
    return b


# --------------------------------------------------------------------------------------------- one neuron


class Neuron:
    """State of one neuron at its last event; moved forward only when something happens to it."""

    def __init__(self, lif: LIF) -> None:
        self.tau_m = float(lif.tau_m)
        self.taus = [float(tau) for tau in lif.receptor_taus()]
        self.t_ref = float(lif.t_ref)
        self.keeps_kicks = bool(lif.keep_refractory_input)
        v_rest, bias = float(lif.v_rest), float(lif.bias)
        v_init = v_rest if lif.v_init is None else float(lif.v_init)
        self.theta = (float(lif.v_th) - v_rest) - bias
        self.u_reset = (float(lif.v_reset) - v_rest) - bias
        self.t = 0.0
        self.release = 0.0
        self.u = (v_init - v_rest) - bias
        self.kept = 0.0
        self.currents = [0.0] * len(self.taus)
        self.version = 0

    def advance(self, t: float) -> None:
        """Move the state to time t, through the release if it lies in between."""
        if self.t < self.release:
            stop = min(t, self.release)
            self.kept *= math.exp(-(stop - self.t) / self.tau_m)
            self._decay_currents(stop - self.t)
            self.t = stop
            if stop < self.release:
                return
            self.u, self.kept = self.u_reset + self.kept, 0.0
        s = t - self.t
        driven = sum(i * psp(s, self.tau_m, tau) for i, tau in zip(self.currents, self.taus))
        self.u = self.u * math.exp(-s / self.tau_m) + driven
        self._decay_currents(s)
        self.t = t

    def receive(self, t: float, weights: Sequence[float]) -> None:
        """Apply all inputs that arrive at t, in the given order."""
        self.advance(t)
        for w in weights:
            if self.taus:
                self.currents[1 if len(self.taus) == 2 and w < 0.0 else 0] += w
            elif t >= self.release:
                self.u += w
            elif self.keeps_kicks:
                self.kept += w

    def fire(self, t: float) -> None:
        """Reset at t and hold until t + t_ref. Nothing of the old potential is left."""
        self.advance(t)
        self.u, self.kept, self.release = self.u_reset, 0.0, t + self.t_ref

    def next_spike(self, t_stop: float) -> float:
        """Time of the next spike if no input comes before it, or inf if that is not before t_stop."""
        start = max(self.t, self.release)
        if start >= t_stop:
            return NEVER
        u, currents = self.u, self.currents
        if self.t < start:
            wait = start - self.t
            u = self.u_reset + self.kept * math.exp(-wait / self.tau_m)
            currents = [i * math.exp(-wait / tau) for i, tau in zip(currents, self.taus)]
        t = start + first_crossing(u, currents, self.taus, self.theta, self.tau_m, t_stop - start)
        return t if t < t_stop else NEVER

    def _decay_currents(self, s: float) -> None:
        self.currents = [i * math.exp(-s / tau) for i, tau in zip(self.currents, self.taus)]


# --------------------------------------------------------------------------------------------- the network


def zero_delay_levels(neurons: Sequence[LIF], synapses: Sequence[Synapse], n_inputs: int) -> list[int]:
    """Topological level of each neuron in the graph of zero-delay synapses onto delta neurons."""
    before: list[set[int]] = [set() for _ in neurons]
    for source, target, _, delay in synapses:
        if delay == 0.0 and source >= n_inputs and neurons[target].tau_syn is None:
            before[target].add(source - n_inputs)
    levels = [0] * len(neurons)
    for _ in range(len(neurons) + 1):
        new = [max((levels[s] + 1 for s in sources), default=0) for sources in before]
        if new == levels:
            return levels
        levels = new
    raise ValueError("zero-delay delta synapses form a cycle; give at least one of them a delay > 0 ms.")


def simulate_twin(
    neurons: Sequence[LIF],
    synapses: Sequence[Synapse],
    input_spikes: Sequence[tuple[float, int]],
    n_inputs: int,
    t_stop: float,
) -> list[tuple[float, int]]:
    """Simulate [0, t_stop) event by event.

    Parameters
    ----------
    neurons : one LIF of scalar parameters per neuron
    synapses : (source id, target neuron, weight, delay in ms); inputs have the source ids
        0 ... n_inputs - 1, neuron k has n_inputs + k
    input_spikes : (time in ms, source id), any order
    n_inputs : number of inputs
    t_stop : ms

    Returns
    -------
    list of (time in ms, neuron), sorted by time, then neuron
    """
    cells = [Neuron(lif) for lif in neurons]
    levels = zero_delay_levels(neurons, synapses, n_inputs)
    outgoing: list[list[tuple[int, float, float]]] = [[] for _ in range(n_inputs + len(cells))]
    for source, target, weight, delay in synapses:
        outgoing[source].append((target, weight, delay))
    # Entries: (time, level, kind, neuron, source or version, sequence, weight)
    queue: list[tuple[float, int, int, int, int, int, float]] = []
    sequence = 0

    def deliver(t: float, source: int) -> None:
        nonlocal sequence
        for target, weight, delay in outgoing[source]:
            if t + delay < t_stop:
                sequence += 1
                entry = (t + delay, levels[target], INPUT, target, source, sequence, weight)
                heapq.heappush(queue, entry)

    def predict(k: int) -> None:
        cells[k].version += 1
        t = cells[k].next_spike(t_stop)
        if t < NEVER:
            heapq.heappush(queue, (t, levels[k], SPIKE, k, cells[k].version, 0, 0.0))

    for t, source in sorted(input_spikes, key=lambda spike: spike[0]):
        deliver(t, source)
    for k in range(len(cells)):
        predict(k)
    spikes: list[tuple[float, int]] = []
    while queue:
        t, level, kind, k, version, _, weight = heapq.heappop(queue)
        if kind == SPIKE:
            if version != cells[k].version:
                continue
            spikes.append((t, k))
            cells[k].fire(t)
            deliver(t, n_inputs + k)
        else:
            weights = [weight]
            while queue and queue[0][:4] == (t, level, INPUT, k):
                weights.append(heapq.heappop(queue)[6])
            cells[k].receive(t, weights)
        predict(k)
    return sorted(spikes)
