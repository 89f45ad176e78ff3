"""The oracle: LIF neurons replayed with 50 digits (mpmath), float64 inputs taken as exact numbers.

Spikes are decided in multiple precision only; float64 merely supplies the first guess of a root. Each spike
comes with the amplification factor of its rounding errors and with its distance from grazing.
Units: times in ms, potentials in the unit of the threshold. u = v - (v_rest + bias), theta likewise.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mpmath import mp, mpf
from scipy.optimize import brentq

from evsim.types import LIF

DIGITS = 50
NEVER = mpf("inf")
_ROOT_TOLERANCE = mpf(10) ** -42
_PEAK_TOLERANCE = mpf(10) ** -22  # enters the peak's height squared


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


# ------------------------------------------------------------------------------------------- closed forms


@dataclass(frozen=True)
class Flow:
    """Factors that carry a state over s ms: u -> u leak + sum_r i_r psp_r, i_r -> i_r decay_r."""

    s: mpf
    leak: mpf
    decays: list[mpf]
    psps: list[mpf]

    def potential(self, u: Any, currents: Sequence[Any]) -> Any:
        """u after the flow."""
        return u * self.leak + sum(i * p for i, p in zip(currents, self.psps))

    def current(self, currents: Sequence[Any]) -> Any:
        """Total current after the flow."""
        return sum((i * d for i, d in zip(currents, self.decays)), mpf(0))


def flow(s: mpf, tau_m: mpf, taus: Sequence[mpf]) -> Flow:
    """Factors over s ms, with P(s) = tau / (tau_m - tau) (exp(-s / tau_m) - exp(-s / tau))."""
    leak = mp.exp(-s / tau_m)
    decays = [mp.exp(-s / tau) for tau in taus]
    psps = [_psp(s, tau_m, tau, leak, decay) for tau, decay in zip(taus, decays)]
    return Flow(s, leak, decays, psps)


def _psp(s: mpf, tau_m: mpf, tau: mpf, leak: mpf, decay: mpf) -> mpf:
    """P(s); where the constants differ by 1e-16 only, a difference of exponentials would lose as many digits."""
    apart = tau_m - tau
    if abs(apart) > tau_m / 1000:
        return tau / apart * (leak - decay)
    x = s * apart / (tau_m * tau)
    return s / tau_m * decay * (mp.expm1(x) / x if x else 1)


@dataclass
class Trace:
    """The potential after one event, as a function of the time s since then (ms)."""

    u: mpf
    currents: list[mpf]
    taus: list[mpf]
    theta: mpf
    tau_m: mpf
    _last: Flow | None = field(default=None, repr=False)

    def flow(self, s: mpf) -> Flow:
        """Factors over s ms; the latest ones are kept, as they are asked for several times."""
        if self._last is None or self._last.s != s:
            self._last = flow(s, self.tau_m, self.taus)
        return self._last

    def slope(self, s: mpf) -> tuple[mpf, mpf]:
        """tau_m du/ds and its derivative."""
        f = self.flow(s)
        pull = f.current(self.currents) - f.potential(self.u, self.currents)
        currents_fall = sum((i * d / tau for i, d, tau in zip(self.currents, f.decays, self.taus)), mpf(0))
        return pull, -currents_fall - pull / self.tau_m

    def gap(self, s: mpf) -> tuple[mpf, mpf]:
        """u - theta and du/ds."""
        f = self.flow(s)
        u = f.potential(self.u, self.currents)
        return u - self.theta, (f.current(self.currents) - u) / self.tau_m

    def in_float64(self) -> Trace64:
        """The same trace for first guesses."""
        return Trace64(
            float(self.u), [float(i) for i in self.currents], [float(t) for t in self.taus],
            float(self.theta), float(self.tau_m),
        )  # fmt: skip


@dataclass(frozen=True)
class Trace64:
    """A float64 trace whose values are scaled by the slowest exponential, so that signs survive."""

    u: float
    currents: list[float]
    taus: list[float]
    theta: float
    tau_m: float

    def slope(self, s: float) -> float:
        """A positive multiple of du/ds."""
        potential, current = self._scaled(s)
        return current - potential

    def gap(self, s: float) -> float:
        """A positive multiple of u - theta."""
        slow = max(self.tau_m, *self.taus, 0.0)
        return self._scaled(s)[0] - self.theta * math.exp(min(s / slow, 700.0))

    def _scaled(self, s: float) -> tuple[float, float]:
        shift = 1.0 / max(self.tau_m, *self.taus, 0.0)
        potential, current = self.u * math.exp(-s * (1.0 / self.tau_m - shift)), 0.0
        for i, tau in zip(self.currents, self.taus):
            x = s * abs(self.tau_m - tau) / (self.tau_m * tau)
            phi = -math.expm1(-x) / x if x > 0.0 else 1.0
            potential += i * s / self.tau_m * math.exp(-s * (1.0 / max(self.tau_m, tau) - shift)) * phi
            current += i * math.exp(-s * (1.0 / tau - shift))
        return potential, current


def _bracketed_root(
    f: Callable[[mpf], tuple[mpf, mpf]], f64: Callable[[float], float], a: mpf, b: mpf, tolerance: mpf
) -> mpf:
    """Root of f (value and derivative) in [a, b], where f changes sign once; relative tolerance."""
    a_is_negative = f(a)[0] < 0
    try:
        x = mpf(brentq(f64, float(a), float(b), xtol=1e-300, rtol=1e-15))
    except ValueError:  # float64 sees no change of sign
        x = (a + b) / 2
    if not a < x < b:
        x = (a + b) / 2
    while True:
        value, derivative = f(x)
        if value == 0:
            return x
        if (value < 0) == a_is_negative:
            a = x
        else:
            b = x
        new = x - value / derivative if derivative else a
        if a < new < b:
            if abs(new - x) <= mp.sqrt(tolerance) * b:  # quadratic: the error of new is below tolerance
                return new
        elif b - a <= tolerance * b:
            return b
        else:
            new = (a + b) / 2
        x = new


def _slope_bends(currents: Sequence[mpf], taus: Sequence[mpf]) -> list[mpf]:
    """Zeros of d/ds [exp(s / tau_m) du/ds], that is of sum_r i_r / tau_r exp(-s / tau_r); ms."""
    if len(taus) < 2 or taus[0] == taus[1] or currents[0] * currents[1] >= 0:
        return []
    ratio = -(currents[0] * taus[1]) / (currents[1] * taus[0])
    return [mp.log(ratio) * taus[0] * taus[1] / (taus[1] - taus[0])]


def _search(trace: Trace, h: mpf) -> tuple[mpf, list[tuple[mpf, mpf]]]:
    """First crossing in [0, h] (or inf), and (s, u - theta) at the peaks met up to just behind it.

    Rolle chain: between zeros of (exp(s / tau_m) u')' the slope has at most one zero, between zeros of the
    slope u has at most one crossing.
    """
    if trace.u >= trace.theta:
        return mpf(0), []
    guess = trace.in_float64()
    peaks: list[tuple[mpf, mpf]] = []
    bends = [mpf(0), *(s for s in _slope_bends(trace.currents, trace.taus) if 0 < s < h), h]
    below = mpf(0)
    slope_a = trace.slope(below)[0]
    for a, b in pairwise(bends):
        slope_b = trace.slope(b)[0]
        turns = slope_a * slope_b < 0
        tops = [_bracketed_root(trace.slope, guess.slope, a, b, _PEAK_TOLERANCE)] if turns else []
        for s in (*tops, b):
            gap = trace.gap(s)[0]
            if s != b and slope_a > 0:
                peaks.append((s, gap))
            if gap >= 0:
                return _bracketed_root(trace.gap, guess.gap, below, s, _ROOT_TOLERANCE), peaks
            below = s
        slope_a = slope_b
    return NEVER, peaks


def oracle_crossing(
    u: float, currents: Sequence[float], taus: Sequence[float], theta: float, tau_m: float, h: float
) -> mpf:
    """First s in [0, h] with u(s) >= theta, or inf, for 0, 1 or 2 receptors; all arguments exact.

    u, theta : potential at s = 0 and threshold, from the resting value
    currents, taus : one current (unit of the potential) and one time constant (ms) per receptor
    tau_m, h : ms
    """
    with mp.workdps(DIGITS):
        trace = Trace(mpf(u), [mpf(i) for i in currents], [mpf(t) for t in taus], mpf(theta), mpf(tau_m))
        return _search(trace, mpf(h))[0]


def later(t: mpf, duration: Any, exact: bool = False) -> mpf:
    """t + duration; added in float64 when t is a float64, as instants given by inputs are, unless ``exact``."""
    if not exact and mpf(float(t)) == t:
        return mpf(float(t) + float(duration))
    return t + mpf(duration)


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
        s, peaks = _search(trace, horizon - neuron.t)
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
