"""Potentials between two events with 50 digits (mpmath), and their first crossing of a threshold.

Spikes are decided in multiple precision only; float64 merely supplies the first guess of a root. Units: times in ms,
potentials in the unit of the threshold; u = v - (v_rest + bias), theta likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mpmath import mp, mpf
from scipy.optimize import brentq

DIGITS = 50
NEVER = mpf("inf")
_ROOT_TOLERANCE = mpf(10) ** -42
_PEAK_TOLERANCE = mpf(10) ** -22  # enters the peak's height squared


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


def search(trace: Trace, h: mpf) -> tuple[mpf, list[tuple[mpf, mpf]]]:
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
        return search(trace, mpf(h))[0]


def later(t: mpf, duration: Any, exact: bool = False) -> mpf:
    """t + duration; added in float64 when t is a float64, as instants given by inputs are, unless ``exact``."""
    if not exact and mpf(float(t)) == t:
        return mpf(float(t) + float(duration))
    return t + mpf(duration)
