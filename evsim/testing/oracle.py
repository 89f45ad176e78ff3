"""The oracle: LIF neurons replayed with 50 digits (mpmath), float64 inputs taken as exact numbers.

Spikes are decided in multiple precision only; float64 merely supplies the first guess of a root. Each spike
comes with the amplification factor of its rounding errors and with its distance from grazing.
Units: times in ms, potentials in the unit of the threshold. u = v - (v_rest + bias), theta likewise.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mpmath import mp, mpf

from evsim.neurons.lif import LIF
from evsim.testing.closed_form import DIGITS, NEVER, Flow, Trace, flow, later, search


@dataclass(frozen=True)
class Spike:
    """A spike of the oracle.

    time : mpf, ms
    condition : ms; a careful float64 engine errs by at most 4 eps condition
    margin : relative distance from grazing (see `Replay`) since the previous spike
    """

    time: mpf
    condition: float
    margin: float


class Replay(list):
    """Spikes in order of time, and the smallest margin met anywhere in the trial.

    The margin is min |u - theta| / max(|theta|, sum of the absolute terms of u) over all peaks of u and all
    instants of events; for delta synapses also the relative distance of kicks from ends of refractoriness.
    The condition is the largest of a network's spikes, ms.
    """

    def __init__(self, spikes: Sequence[Any], margin: float, condition: float = 0.0) -> None:
        super().__init__(spikes)
        self.margin = margin
        self.condition = condition


# --------------------------------------------------------------------------------------------- one neuron


@dataclass(frozen=True)
class Parameters:
    """What an `LIF` of scalars says, as multiple precision numbers, so that they can be moved by less than a float64.

    tau_syn : one per receptor; exact : later times are sums of exact numbers, not rounded to float64
    """

    tau_m: mpf
    tau_syn: tuple[mpf, ...]
    v_th: mpf
    v_reset: mpf
    v_rest: mpf
    bias: mpf
    v_init: mpf
    t_ref: mpf
    keep_refractory_input: bool
    exact: bool = False

    @classmethod
    def of(cls, lif: LIF | Parameters, exact: bool = False) -> Parameters:
        """The parameters of one neuron."""
        if isinstance(lif, Parameters):
            return lif
        names = ("tau_m", "v_th", "v_reset", "v_rest", "bias", "t_ref")
        v_init = lif.v_rest if lif.v_init is None else lif.v_init
        return cls(
            tau_syn=tuple(mpf(float(tau)) for tau in lif.receptor_taus()),
            v_init=mpf(float(v_init)),
            keep_refractory_input=bool(lif.keep_refractory_input),
            exact=exact,
            **{name: mpf(float(getattr(lif, name))) for name in names},
        )


class OracleNeuron:
    """State of one neuron at its last event, together with the sizes of the terms it is made of."""

    def __init__(self, lif: LIF | Parameters) -> None:
        p = Parameters.of(lif)
        self.tau_m = p.tau_m
        self.taus = list(p.tau_syn)
        self.t_ref = p.t_ref
        self.exact = p.exact
        self.keeps_kicks = p.keep_refractory_input
        rest = p.v_rest + p.bias
        self.theta = p.v_th - rest
        self.u_reset = p.v_reset - rest
        self.u = p.v_init - rest
        self.t = mpf(0)
        self.release = mpf(0)
        self.kept = mpf(0)
        self.currents = [mpf(0)] * len(self.taus)
        self.size_u = abs(float(self.u))
        self.size_kept = 0.0
        self.size_currents = [0.0] * len(self.taus)
        self.drive = mpf(0)  # u_reset minus the current at release: moves u when the release moves
        self.has_fired = False
        self.condition = 0.0
        self.margin = math.inf
        self._prediction: tuple[mpf, list[tuple[mpf, mpf]], Trace] | None = None

    def advance(self, t: mpf) -> None:
        """Move the state to time t, through the release if it lies in between."""
        if self.t < self.release:
            self._advance_held(min(t, self.release))
        if t == self.t:
            return
        known = self._prediction
        trace = known[2] if known is not None and known[0] == self.t else self.trace()
        f = trace.flow(t - self.t)
        driven = sum(float(p) * size for p, size in zip(f.psps, self.size_currents))
        self.size_u = float(f.leak) * self.size_u + driven
        self.u = f.potential(self.u, self.currents)
        self._decay_currents(f)
        self.t = t

    def _advance_held(self, t: mpf) -> None:
        f = flow(t - self.t, self.tau_m, self.taus)
        self._decay_currents(f)
        self.kept *= f.leak
        self.size_kept *= float(f.leak)
        self.t = t
        if t == self.release:
            self._let_go()

    def _let_go(self) -> None:
        self.u = self.u_reset + self.kept
        self.size_u = abs(float(self.u_reset)) + self.size_kept
        if self.size_kept:
            self.margin = min(self.margin, self._relative_gap(self.u - self.theta, self.size_u))
        self.kept, self.size_kept = mpf(0), 0.0
        self.drive = self.u_reset - sum(self.currents, mpf(0))

    def _decay_currents(self, f: Flow) -> None:
        self.currents = [i * d for i, d in zip(self.currents, f.decays)]
        self.size_currents = [size * float(d) for size, d in zip(self.size_currents, f.decays)]

    def receive(self, t: mpf, weights: Sequence[float]) -> None:
        """Apply all inputs that arrive at t."""
        self._judge_quiet_stretch(t)
        self.advance(t)
        for w in weights:
            if self.taus:
                k = 1 if len(self.taus) == 2 and w < 0.0 else 0
                self.currents[k] += mpf(w)
                self.size_currents[k] += abs(float(w))
            elif t >= self.release:
                self.u += mpf(w)
                self.size_u += abs(float(w))
            elif self.keeps_kicks:
                self.kept += mpf(w)
                self.size_kept += abs(float(w))
        if not self.taus:
            self._judge_kick(t)
        self._prediction = None

    def _relative_gap(self, gap: mpf, size_u: float) -> float:
        scale = max(abs(float(self.theta)), size_u)
        return abs(float(gap)) / scale if scale > 0.0 else math.inf

    def _judge_kick(self, t: mpf) -> None:
        """Margin of the jump itself and of its order with the end of refractoriness."""
        if t >= self.release:
            self.margin = min(self.margin, self._relative_gap(self.u - self.theta, self.size_u))
        if self.has_fired and t != self.release:
            self.margin = min(self.margin, float(abs(t - self.release) / t))

    def _judge_quiet_stretch(self, t: mpf) -> None:
        """Margin of the peaks of u before t, and of u(t), seen from the last event."""
        if self._prediction is None:
            return
        start, peaks, trace = self._prediction
        if t <= start:
            return
        sizes = [abs(float(i)) for i in trace.currents]
        gaps = [(s, gap) for s, gap in peaks if start + s <= t]
        gaps.append((t - start, trace.gap(t - start)[0]))
        for s, gap in gaps:
            size = float(trace.flow(s).potential(abs(float(trace.u)), sizes))
            self.margin = min(self.margin, self._relative_gap(gap, size))

    def trace(self) -> Trace:
        """The potential from the present state on."""
        return Trace(self.u, self.currents, self.taus, self.theta, self.tau_m)

    def next_spike(self, horizon: mpf) -> mpf:
        """Time of the next spike if no input comes before it and it is not after the horizon, or inf."""
        neuron = self
        if self.t < self.release:
            if horizon < self.release:
                self._prediction = None
                return NEVER
            neuron = copy.copy(self)
            neuron._advance_held(self.release)
        trace = neuron.trace()
        s, peaks = search(trace, horizon - neuron.t)
        self._prediction = (neuron.t, peaks, trace)
        return neuron.t + s

    def fire(self, t: mpf, horizon: mpf) -> Spike:
        """Reset at t. The horizon (next input or end) tells how far the trace would have gone on."""
        self._judge_quiet_stretch(horizon)
        at_once = t == max(self.t, self.release)
        on_release = at_once and self.has_fired and t == self.release
        self.advance(t)
        if on_release:
            self.condition += float(t)
        elif at_once:
            self.condition = float(t)
        else:
            self.condition = self._condition_of_crossing(t)
        spike = Spike(t, self.condition, self.margin)
        self.margin = math.inf
        self.has_fired = True
        self.kept, self.size_kept = mpf(0), 0.0
        self.release = later(t, self.t_ref, self.exact)
        if self.release == t:
            self._let_go()
        self._prediction = None
        return spike

    def _condition_of_crossing(self, t: mpf) -> float:
        """(sum of absolute terms of u - theta) / |u'| + t + |dt / dt_previous| condition_previous, ms.

        Moving the release by x moves u(t) by x exp(-(t - release) / tau_m) (u_reset - i(release)) / tau_m,
        hence t by that over -u'(t).
        """
        climb = float(abs(sum(self.currents, mpf(0)) - self.theta)) / float(self.tau_m)
        if climb == 0.0:
            return math.inf
        condition = (self.size_u + abs(float(self.theta))) / climb + float(t)
        if self.has_fired:
            leak = math.exp(float(-(t - self.release) / self.tau_m))
            shift = abs(float(self.drive)) * leak / float(self.tau_m) / climb
            condition += shift * self.condition
        return condition


def replay_neuron(lif: LIF, arrivals: Sequence[tuple[float, float]], t_stop: float) -> Replay:
    """All spikes of one neuron in [0, t_stop).

    Parameters
    ----------
    lif : scalar parameters
    arrivals : (arrival time in ms, weight), any order; equal times are applied together
    t_stop : ms

    Returns
    -------
    Replay of `Spike`
    """
    batches: dict[float, list[float]] = {}
    for t, w in sorted(arrivals, key=lambda arrival: arrival[0]):
        if t < t_stop:
            batches.setdefault(t, []).append(w)
    with mp.workdps(DIGITS):
        neuron = OracleNeuron(lif)
        spikes: list[Spike] = []
        end = mpf(t_stop)
        for horizon, weights in [*((mpf(t), ws) for t, ws in batches.items()), (end, [])]:
            while (t := neuron.next_spike(horizon)) <= horizon and t < end:
                spikes.append(neuron.fire(t, horizon))
            neuron.receive(horizon, weights)
        return Replay(spikes, min([neuron.margin, *(s.margin for s in spikes)]))


# --------------------------------------------------------------------------------------------- the network


def zero_delay_depth(neurons: Sequence[Any], synapses: Sequence[Any], n_inputs: int) -> list[int]:
    """Length of the longest chain of zero-delay synapses onto delta neurons that ends at each neuron."""
    sources: dict[int, set[int]] = {}
    for source, target, _, delay in synapses:
        if delay == 0.0 and source >= n_inputs and not Parameters.of(neurons[target]).tau_syn:
            sources.setdefault(target, set()).add(source - n_inputs)

    def depth(k: int, path: frozenset[int]) -> int:
        if k in path:
            raise ValueError("zero-delay delta synapses form a cycle.")
        return max((1 + depth(s, path | {k}) for s in sources.get(k, ())), default=0)

    return [depth(k, frozenset()) for k in range(len(neurons))]


def replay_network(
    neurons: Sequence[LIF | Parameters],
    synapses: Sequence[tuple[int, int, Any, Any]],
    input_spikes: Sequence[tuple[Any, int]],
    n_inputs: int,
    t_stop: float,
) -> Replay:
    """All spikes of a small network in [0, t_stop), with the arguments of the slow twin.

    Returns
    -------
    Replay of (time as mpf in ms, neuron), sorted; its margin covers all neurons and, for neurons with delta
    synapses, the relative distances in time between neighbouring arrivals that differ.
    """
    with mp.workdps(DIGITS):
        return _replay_network(neurons, synapses, input_spikes, n_inputs, mpf(t_stop))


def _replay_network(
    neurons: Sequence[Any], synapses: Sequence[Any], input_spikes: Sequence[Any], n_inputs: int, end: mpf
) -> Replay:
    cells = [OracleNeuron(lif) for lif in neurons]
    depth = zero_delay_depth(neurons, synapses, n_inputs)
    arrivals: list[tuple[mpf, int, int, float]] = []  # (time, depth of target, target, weight)
    predicted = [cell.next_spike(end) for cell in cells]
    last_arrival: list[mpf] = [mpf(-1)] * len(cells)
    spikes: list[tuple[mpf, int]] = []
    margin, condition = math.inf, 0.0

    def deliver(t: mpf, source: int) -> None:
        for pre, target, weight, delay in synapses:
            if pre == source and (arrival := later(t, delay, cells[target].exact)) < end:
                heapq.heappush(arrivals, (arrival, depth[target], target, weight))

    for t, source in input_spikes:
        deliver(mpf(t), source)
    while True:
        k = min(range(len(cells)), key=lambda k: (predicted[k], depth[k], k))
        fires_at = predicted[k]
        if arrivals and arrivals[0][:2] < (fires_at, depth[k]):
            t, _, k, weight = heapq.heappop(arrivals)
            weights = [weight]
            while arrivals and arrivals[0][0] == t and arrivals[0][2] == k:
                weights.append(heapq.heappop(arrivals)[3])
            cells[k].receive(t, weights)
            if not cells[k].taus and t > 0:
                margin = min(margin, float((t - last_arrival[k]) / t))
            last_arrival[k] = t
        elif fires_at < end:
            next_input = min((a[0] for a in arrivals if a[2] == k), default=end)
            spike = cells[k].fire(fires_at, next_input)
            margin, condition = min(margin, spike.margin), max(condition, spike.condition)
            spikes.append((fires_at, k))
            deliver(fires_at, n_inputs + k)
        else:
            break
        predicted[k] = cells[k].next_spike(end)
    for cell in cells:
        cell.receive(end, [])
    return Replay(sorted(spikes), min([margin, *(cell.margin for cell in cells)]), condition)
