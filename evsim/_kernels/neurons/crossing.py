"""First threshold crossing of a LIF trace: exhaustive, for every ratio of time constants.

All functions answer "when, within the next h ms, does u first reach theta?" with a time in [0, h], or
``inf`` for never. h may be ``inf``. Sources: shape facts (at most one extremum with one synaptic time
constant; concavity while rising) as in Brette 2007 and Krishnan et al. 2018; Newton from the left.

The closed form, the one-sided Newton/Halley iteration and the Rolle chain all measure from the given
state, where the distance ``delta = theta - u`` is known without cancellation.
"""

import math

from ..jit import formula
from .lif import decay, flow_u, psp

GRAZING = 1e-12
CLEAR = 1e-9
"""Far enough from theta (relative) that rounding cannot matter."""

_EPS = 2.220446049250313e-16
_MAX_ITERATIONS = 200
_TINY, _HUGE = 1e-100, 1e100
"""Potentials that can be squared without leaving the range of float64, and whose products keep their digits."""

_MAX_NEWTON = 2000
"""A step from the left is at most tau_m long, and a potential of any size has faded after 750 of them."""

_REMNANT = 1e-280
"""Of a current; with less left of it, current and potential are too near to 0 to be compared."""

_FADED = 300.0
"""Time constants after which a trace has come to rest; much later its terms are denormal or 0."""


@formula
def rise_above(t, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
    """u(t) - theta without cancellation; delta = theta - u at t = 0."""
    if t < 0.5 * tau_m:
        f = u * math.expm1(-t / tau_m)
    else:
        f = u * math.exp(-t / tau_m)
        delta = theta
    if i_exc != 0.0:
        f += i_exc * psp(t, tau_m, tau_exc)
    if i_inh != 0.0:
        f += i_inh * psp(t, tau_m, tau_inh)
    return f - delta


@formula
def gap_and_current(t, u, i, delta, theta, tau_m, tau_s):
    """u(t) - theta without cancellation, and the current at t, one synaptic time constant.

    The same as ``rise_above`` and ``decay``, with exponentials shared: exp(-t/tau_s) = exp(-t/tau_m) exp(-d t).
    """
    if t < 0.5 * tau_m:
        rest = math.expm1(-t / tau_m)
        leak = 1.0 + rest
        f = u * rest - delta
    else:
        leak = math.exp(-t / tau_m)
        f = u * leak - theta
    if tau_m < tau_s:
        return f + i * psp(t, tau_m, tau_s), i * decay(t, tau_s)
    x = (tau_m - tau_s) / (tau_m * tau_s) * t
    if x == 0.0:
        return f + i * (t / tau_m * leak), i * leak
    lost = math.expm1(-x)
    return f - i * (t / tau_m * leak * (lost / x)), i * (leak * (1.0 + lost))


@formula
def crossing_double(u, i, theta, tau_m):
    """Closed form for tau_m = 2 tau_s: the crossing solves a quadratic in exp(t/tau_m)."""
    delta = theta - u
    g = (i - theta) - delta
    largest = max(abs(g), max(abs(theta), abs(delta)))
    if not _TINY < largest < _HUGE:
        # The discriminant squares potentials. A power of two changes no digit.
        _, exponent = math.frexp(largest)
        delta = math.ldexp(delta, -exponent)
        g = math.ldexp(g, -exponent)
        theta = math.ldexp(theta, -exponent)
    if theta == 0.0:
        if g > 0.0:
            return tau_m * math.log1p(delta / g)
        return math.inf
    root = g * g - 4.0 * theta * delta
    if theta > 0.0:
        if g <= 0.0 or root < 0.0:
            return math.inf
        return tau_m * math.log1p(2.0 * delta / (g + math.sqrt(root)))
    root = math.sqrt(root)
    if g >= 0.0:
        return tau_m * math.log1p(2.0 * delta / (g + root))
    return tau_m * math.log1p((g - root) / (2.0 * theta))


@formula
def crossing_zero(u, i, tau_m, tau_s):
    """Closed form for theta = 0, any ratio: exp(t/tau_m) u(t) = u + i (1 - exp(-d t)) / (d tau_m).

    d = 1/tau_s - 1/tau_m. Needed because Newton creeps along a trace that approaches 0 from below for ever.
    """
    if i <= 0.0:
        return math.inf
    d = (tau_m - tau_s) / (tau_m * tau_s)
    z = -u / i * tau_m
    x = d * z
    if x >= 1.0:
        return math.inf
    return z if x == 0.0 else -math.log1p(-x) / d


@formula
def crossing_newton(u, i, theta, tau_m, tau_s, h):
    """Any ratio: Newton (Halley near the root) from the left, where the trace is concave.

    Every iterate is a lower bound of the crossing, so two tests replace all existence conditions:
    beyond h there is none before h; and where I(t) <= theta below threshold the peak is past or too low.
    Only theta < 0 with inhibition may start convex; then the start is the inflection point.
    """
    delta = theta - u
    slope = (i - u) / tau_m
    t = 0.0
    f = -delta
    current = i
    if theta < 0.0 and i < 0.0 and i / tau_s + slope < 0.0:
        z = (i / tau_s + slope) * tau_s * tau_s / i
        d = (tau_m - tau_s) / (tau_m * tau_s)
        x = d * z
        if x < 1.0:
            t = z if x == 0.0 else -math.log1p(-x) / d
            if t >= h:
                if rise_above(h, u, i, 0.0, delta, theta, tau_m, tau_s, tau_s) < 0.0:
                    return math.inf
                t = h
            f, current = gap_and_current(t, u, i, delta, theta, tau_m, tau_s)
            slope = (current - theta - f) / tau_m
    for _ in range(_MAX_NEWTON):
        if theta >= 0.0 and current <= theta and f < 0.0:
            return math.inf
        if not slope > 0.0:
            return t if f >= 0.0 else math.inf
        step = -f / slope
        if f < 0.0 and t + step > h:
            # Newton's step is a lower bound.
            return math.inf
        curvature = -(current / tau_s + slope) / tau_m
        bend = 0.5 * curvature / slope * step
        halley = f < 0.0 and abs(bend) < 0.3
        if halley:
            step = step / (1.0 + bend)
        t_next = t + step
        if t_next <= 0.0:
            return 0.0
        if f < 0.0 and t_next > h:
            # Halley's step may pass the root by a hair; the end of the interval decides.
            if rise_above(h, u, i, 0.0, delta, theta, tau_m, tau_s, tau_s) < 0.0:
                return math.inf
            t_next = h
        rho = abs(0.5 * curvature / slope * step)
        size = abs(step)
        if halley:
            done = rho * rho * size <= 0.1 * _EPS * t_next and size <= 1e-6 * t_next
        else:
            done = rho * size <= 0.25 * _EPS * t_next and size <= 1e-8 * t_next
        if done or t_next == t:
            return t_next
        t = t_next
        f, current = gap_and_current(t, u, i, delta, theta, tau_m, tau_s)
        slope = (current - theta - f) / tau_m
    return t


@formula
def peak_height(u, i, tau_m, tau_s):
    """Height of the maximum ahead where i > max(u, 0), one synaptic time constant; 0 if u rises to 0 for ever.

    There u' = 0, so the potential equals the current: i (1 - y)^(tau_m/(tau_m - tau_s)).
    """
    y = (1.0 - u / i) * ((tau_m - tau_s) / tau_m)
    if y >= 1.0:
        return 0.0
    if y == 0.0:
        return i * math.exp(u / i - 1.0)
    return i * math.exp(math.log1p(-y) * (tau_m / (tau_m - tau_s)))


@formula
def may_reach(u, i, u_end, i_end, theta, tau_m, tau_s, peak):
    """Can a trace come near theta > 0 within an interval? One synaptic time constant, cheapest test first.

    u, i : at the interval's start, u < theta; u_end, i_end : without a spike at its end. False: clearly no crossing
    and no grazing peak, so that neither is looked for.
    """
    clear = theta * (1.0 - CLEAR)
    if i < clear or max(u, 0.0) + i * peak < clear:
        return False
    if i_end > max(u_end, _REMNANT * i) and max(u, u_end) < clear:
        # Still rising at the end: no peak before it.
        return False
    return max(u, u_end) >= clear or peak_height(u, i, tau_m, tau_s) >= clear


@formula
def crossing_one(u, i, theta, tau_m, tau_s, peak, h):
    """First crossing with one synaptic time constant. ``peak`` = psp_peak(tau_m, tau_s)."""
    if u >= theta:
        return 0.0
    if theta >= 0.0:
        if i <= theta:
            return math.inf
        # A margin of GRAZING leaves the undecidable cases to the solver.
        if theta > 0.0:
            if max(u, 0.0) + i * peak < theta * (1.0 - GRAZING):
                return math.inf
            if peak_height(u, i, tau_m, tau_s) < theta * (1.0 - CLEAR):
                return math.inf
    return crossing_ahead(u, i, theta, tau_m, tau_s, h)


@formula
def crossing_ahead(u, i, theta, tau_m, tau_s, h):
    """``crossing_one`` of a state below theta, without the tests that tell cheaply that there is none."""
    if theta == 0.0:
        t = crossing_zero(u, i, tau_m, tau_s)
        return t if t <= h else math.inf
    if tau_m == 2.0 * tau_s:
        t = crossing_double(u, i, theta, tau_m)
        return t if t <= h else math.inf
    return crossing_newton(u, i, theta, tau_m, tau_s, h)


@formula
def crossing_delta(u, theta, tau_m, h):
    """Delta synapses: between inputs only theta < 0 (bias above threshold) can fire."""
    if u >= theta:
        return 0.0
    if theta >= 0.0:
        return math.inf
    t = tau_m * math.log1p((theta - u) / (-theta))
    return t if t <= h else math.inf


@formula
def _slope(t, u, i_exc, i_inh, tau_m, tau_exc, tau_inh):
    v = flow_u(t, u, i_exc, i_inh, tau_m, tau_exc, tau_inh, 2)
    return (i_exc * decay(t, tau_exc) + i_inh * decay(t, tau_inh) - v) / tau_m


@formula
def _extremum(a, b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh):
    """The maximum in [a, b], where u' falls through 0 once. False position (Illinois), bisection every third step.

    To 1e-10 of its time: a potential is flat there, so its height is exact.
    """
    f_a = _slope(a, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    f_b = _slope(b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    last = a
    for k in range(_MAX_ITERATIONS):
        m = 0.5 * (a + b) if k % 3 == 2 else (a * f_b - b * f_a) / (f_b - f_a)
        if not a < m < b:
            m = 0.5 * (a + b)
        if b - a <= 1e-10 * b:
            return m
        f = _slope(m, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
        if f > 0.0:
            f_b = f_b * 0.5 if a == last else f_b
            a = m
            f_a = f
        else:
            f_a = f_a * 0.5 if b == last else f_a
            b = m
            f_b = f
        last = m
    return 0.5 * (a + b)


@formula
def _root_in(a, b, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
    """The crossing in [a, b], where u rises from below theta at a to theta or more at b.

    Newton, kept inside the bracket by bisection.
    """
    t = a
    f = rise_above(t, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    for _ in range(_MAX_ITERATIONS):
        slope = (i_exc * decay(t, tau_exc) + i_inh * decay(t, tau_inh) - theta - f) / tau_m
        t_next = t - f / slope if slope > 0.0 else -1.0
        if not (a <= t_next <= b):
            t_next = 0.5 * (a + b)
        if abs(t_next - t) <= 0.5 * _EPS * t_next or b - a <= _EPS * b:
            return t_next
        t = t_next
        f = rise_above(t, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
        if f < 0.0:
            a = t
        elif f > 0.0:
            b = t
        else:
            return t
    return t


@formula
def _reached(t, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
    """Is u(t) >= theta? With theta = 0 a potential that has faded to exactly 0 has not reached it."""
    f = rise_above(t, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    return f > 0.0 or (f == 0.0 and theta != 0.0)


@formula
def _piece(a, b, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
    """First crossing in [a, b], where u(a) < theta and exp(t/tau_m) u'(t) is monotone.

    So u has at most one extremum inside. If u(b) >= theta there is one crossing; if not, only a maximum
    can reach theta, and only where u rises at a and falls at b.
    """
    if _reached(b, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
        return _root_in(a, b, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    if not _slope(a, u, i_exc, i_inh, tau_m, tau_exc, tau_inh) > 0.0:
        return math.inf
    if _slope(b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh) > 0.0:
        return math.inf
    m = _extremum(a, b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    if _reached(m, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh):
        return _root_in(a, m, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    return math.inf


@formula
def crossing_two(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, peak, h):
    """First crossing with separate excitatory and inhibitory time constants: the Rolle chain.

    (exp(t/tau_m) u')' has one zero in closed form; it splits [0, h] into pieces with at most one
    extremum each, and those into monotone pieces with at most one crossing each.
    """
    if u >= theta:
        return 0.0
    if i_inh == 0.0 or tau_exc == tau_inh:
        return crossing_one(u, i_exc + i_inh, theta, tau_m, tau_exc, peak, h)
    if theta >= 0.0:
        if i_exc <= theta:
            return math.inf
        # Excitation alone lies above the trace; and at an upward crossing it must exceed theta.
        if theta > 0.0:
            if max(u, 0.0) + i_exc * peak < theta * (1.0 - GRAZING):
                return math.inf
            h = min(h, tau_exc * math.log(i_exc / theta) * (1.0 + 1e-9) + 1e-300)
    h = min(h, _FADED * max(tau_m, max(tau_exc, tau_inh)))
    delta = theta - u
    split = math.inf
    if i_exc > 0.0:
        rate = 1.0 / tau_exc - 1.0 / tau_inh
        split = math.log(-i_exc * tau_inh / (i_inh * tau_exc)) / rate
    if not 0.0 < split < h:
        return _piece(0.0, h, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    t = _piece(0.0, split, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    if t == math.inf:
        t = _piece(split, h, u, i_exc, i_inh, delta, theta, tau_m, tau_exc, tau_inh)
    return t


@formula
def crossing(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, peak, n_receptors, h):
    """First crossing of any neuron kind: n_receptors 0 (delta), 1, or 2."""
    if n_receptors == 0:
        return crossing_delta(u, theta, tau_m, h)
    if n_receptors == 1:
        return crossing_one(u, i_exc, theta, tau_m, tau_exc, peak, h)
    return crossing_two(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, peak, h)


@formula
def _falling_peak(a, b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh):
    """The maximum in (a, b), where exp(t/tau_m) u' is monotone; inf if there is none."""
    rising_a = _slope(a, u, i_exc, i_inh, tau_m, tau_exc, tau_inh) > 0.0
    rising_b = _slope(b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh) > 0.0
    if rising_a and not rising_b:
        return _extremum(a, b, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    return math.inf


@formula
def peak_time(u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors, h):
    """Time of the trace's first maximum after the given state; inf if it has none. Two receptors: within h ms."""
    if n_receptors == 0:
        return math.inf
    if n_receptors == 1 or i_inh == 0.0 or tau_exc == tau_inh:
        i = i_exc + i_inh if n_receptors == 2 else i_exc
        if i <= 0.0 or i <= u:
            return math.inf
        d = (tau_m - tau_exc) / (tau_m * tau_exc)
        x = d * tau_exc * (1.0 - u / i)
        if x >= 1.0:
            return math.inf
        return tau_exc * (1.0 - u / i) if x == 0.0 else -math.log1p(-x) / d
    if i_exc <= 0.0:
        return math.inf
    end = min(h, _FADED * max(tau_m, max(tau_exc, tau_inh)))
    split = math.log(-i_exc * tau_inh / (i_inh * tau_exc)) / (1.0 / tau_exc - 1.0 / tau_inh)
    if not 0.0 < split < end:
        return _falling_peak(0.0, end, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    t = _falling_peak(0.0, split, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    if t == math.inf:
        t = _falling_peak(split, end, u, i_exc, i_inh, tau_m, tau_exc, tau_inh)
    return t


@formula
def grazes(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, n_receptors, h):
    """Does a peak within the next h ms come within GRAZING (relative to the terms of u) of theta?

    There float64 cannot decide whether the neuron fires; the engines count such cases.
    """
    if n_receptors == 1 and i_exc * (1.0 - h / tau_exc) > u + max(i_exc - u, 0.0) * (h / tau_m):
        # Still rising at h: I(h) is at least the left side, u(h) at most the right.
        return False
    if n_receptors == 1 and i_exc > max(u, 0.0):
        height = peak_height(u, i_exc, tau_m, tau_exc)
        if abs(height - theta) > CLEAR * max(abs(theta), max(abs(u), height)):
            return False
    t = peak_time(u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors, h)
    if t == math.inf or t > h:
        return False
    excess = rise_above(t, u, i_exc, i_inh, theta - u, theta, tau_m, tau_exc, tau_inh)
    return abs(excess) <= GRAZING * max(abs(theta), max(abs(u), abs(theta + excess)))
