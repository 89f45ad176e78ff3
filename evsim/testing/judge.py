"""An independent judge of spikes: each neuron of a population, given its input, with 31 digits (double-double).

It shares no code and no method with the engines. A crossing is searched by bisection with bounds: over an interval the
potential lies below its chord plus M w^2/8, where M bounds the second derivative, and it is monotone where its slope
exceeds M w. So every crossing is found and every interval without one is proven to have none, or the trace comes
within GRAZING of the threshold.

The spikes are judged one after the other, each given those before it: after a spike the neuron is reset at the
time that the engine gave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim.neurons.lif import LIF
from evsim.testing.compiled import compiled
from evsim.testing.double_double import add, divide, exponential, growth, multiply, negative, subtract
from evsim.types import Floats

GRAZING = 2e-12
"""Relative to the size of the terms: nearer to the threshold a peak is not judged."""

_EPS = 2.0**-52
_SAME = 1e-7
"""Relative to time and tau_m: a spike further from the true crossing is another one."""

_STRETCH = 300.0
"""Longest step, in shortest time constants, over which a fading current keeps all its digits."""

_LEAST = 1e-300
"""Smallest slope that has all its digits."""

_STACK = 200
FIELDS = ("spikes", "missed", "invented", "grazing", "beyond", "worst")


@dataclass(frozen=True, eq=False)
class Verdict:
    """One value per neuron: spikes judged, missed and invented ones, whether it came too near to grazing and was judged
    up to there only, spikes beyond the bound, and the worst error in units of eps condition."""

    spikes: np.ndarray
    missed: np.ndarray
    invented: np.ndarray
    grazing: np.ndarray
    beyond: np.ndarray
    worst: Floats


@compiled
def _response(t, tau_m, tau_s):  # type: ignore[no-untyped-def]
    """Potential t ms after a unit jump of the current."""
    apart = subtract(tau_m, tau_s)
    if abs(apart[0]) > 0.01 * tau_m[0]:
        leak = exponential(negative(divide(t, tau_m)))
        decay = exponential(negative(divide(t, tau_s)))
        return multiply(divide(tau_s, apart), subtract(leak, decay))
    y = divide(multiply(t, apart), multiply(tau_m, tau_s))
    # exp(-t/tau_m) - exp(-t/tau_s) = exp(-t/tau_s) (exp(y) - 1); of two exponentials the slower one stays in front.
    if y[0] >= 0.0:
        front, y = exponential(negative(divide(t, tau_m))), negative(y)
    else:
        front = exponential(negative(divide(t, tau_s)))
    return multiply(multiply(divide(t, tau_m), front), growth(y))


@compiled
def _state_at(t, u, i, j, tau_m, tau_i, tau_j, n):  # type: ignore[no-untyped-def]
    """(u, i, j) t ms later."""
    x = multiply(u, exponential(negative(divide(t, tau_m))))
    a = b = (0.0, 0.0)
    if n > 0 and i[0] != 0.0:
        x = add(x, multiply(i, _response(t, tau_m, tau_i)))
        a = multiply(i, exponential(negative(divide(t, tau_i))))
    if n > 1 and j[0] != 0.0:
        x = add(x, multiply(j, _response(t, tau_m, tau_j)))
        b = multiply(j, exponential(negative(divide(t, tau_j))))
    return x, a, b


@compiled
def _rate(x, a, b, tau_m):  # type: ignore[no-untyped-def]
    """du/dt."""
    return ((a[0] + b[0]) - x[0]) / tau_m[0]


@compiled
def _bend(x, a, b, tau_m, tau_i, tau_j):  # type: ignore[no-untyped-def]
    """Bound of |u''| from this state on."""
    currents = abs(a[0]) + abs(b[0])
    return (abs(a[0]) / tau_i[0] + abs(b[0]) / tau_j[0] + (2.0 * currents + abs(x[0])) / tau_m[0]) / tau_m[0] * 1.000001


@compiled
def _root(low, high, u, i, j, theta, tau_m, tau_i, tau_j, n):  # type: ignore[no-untyped-def]
    """The crossing in [low, high], where u rises throughout: Newton's method kept in the bracket."""
    t = 0.5 * (low + high), 0.0
    for _ in range(300):
        x, a, b = _state_at(t, u, i, j, tau_m, tau_i, tau_j, n)
        f = subtract(x, theta)
        if f[0] < 0.0:
            low = max(low, t[0])
        else:
            high = min(high, t[0])
        slope = ((a[0] + b[0]) - x[0]) / tau_m[0]
        new = subtract(t, divide(f, (slope, 0.0))) if slope > 0.0 else (-1.0, 0.0)
        if not low <= new[0] <= high:
            new = 0.5 * (low + high), 0.0
        if abs(new[0] - t[0] + (new[1] - t[1])) <= 1e-22 * abs(new[0]):
            return new
        t = new
    return t


@compiled
def _first_crossing(h, u, i, j, theta, tau_m, tau_i, tau_j, n, starts, ends):  # type: ignore[no-untyped-def]
    """First crossing in (0, h] from u < theta: (1, t), (0, 0) for none, (-1, t) where that cannot be decided."""
    top = 1
    starts[0], ends[0] = 0.0, h
    while top > 0:
        top -= 1
        a, b = starts[top], ends[top]
        w = b - a
        x, p, q = _state_at((a, 0.0), u, i, j, tau_m, tau_i, tau_j, n)
        below = subtract(x, theta)[0]
        size = abs(theta[0]) + abs(x[0]) + abs(p[0]) + abs(q[0])
        slope = _rate(x, p, q, tau_m)
        bend = _bend(x, p, q, tau_m, tau_i, tau_j)
        # From a on u stays below the parabola through its state.
        highest = below + (slope * w if slope > 0.0 else 0.0) + 0.5 * bend * w * w
        if highest < -GRAZING * size:
            continue
        if slope + bend * w < 0.0 and below < -GRAZING * size:
            continue
        y, _, _ = _state_at((b, 0.0), u, i, j, tau_m, tau_i, tau_j, n)
        end = subtract(y, theta)[0]
        if max(below, end) + bend * w * w / 8.0 < -GRAZING * size:
            continue
        if slope - bend * w > 0.0:
            if end < -GRAZING * size:
                continue
            if end > 0.0:
                return 1, _root(a, b, u, i, j, theta, tau_m, tau_i, tau_j, n)
            return -1, (b, 0.0)
        if w <= 1e-13 * tau_m[0] or top + 2 > starts.size:
            return -1, (a, 0.0)
        middle = a + 0.5 * w
        starts[top], ends[top] = middle, b
        starts[top + 1], ends[top + 1] = a, middle
        top += 2
    return 0, (0.0, 0.0)


@compiled
def _first_crossing_of_zero(h, u, i, j, theta, tau_m, tau_i, tau_j, n, starts, ends):  # type: ignore[no-untyped-def]
    """``_first_crossing`` for a threshold of 0, which a trace may reach long after it has faded below all numbers.

    Stretch by stretch, each with its state times a power of two: that changes no digit and no sign.
    """
    shortest = tau_m[0]
    if n > 0:
        shortest = min(shortest, tau_i[0])
    if n > 1:
        shortest = min(shortest, tau_j[0])
    t = (0.0, 0.0)
    while True:
        largest = max(abs(u[0]), max(abs(i[0]), abs(j[0])))
        if largest == 0.0 or (u[0] <= 0.0 and i[0] <= 0.0 and j[0] <= 0.0):
            return 0, (0.0, 0.0)
        _, exponent = math.frexp(largest)
        u, i, j = _scaled(u, -exponent), _scaled(i, -exponent), _scaled(j, -exponent)
        left = subtract((h, 0.0), t)[0]
        stretch = min(_STRETCH * shortest, left)
        status, x = _first_crossing(stretch, u, i, j, theta, tau_m, tau_i, tau_j, n, starts, ends)
        if status != 0:
            return status, add(t, x)
        if stretch == left:
            return 0, (0.0, 0.0)
        u, i, j = _state_at((stretch, 0.0), u, i, j, tau_m, tau_i, tau_j, n)
        t = add(t, (stretch, 0.0))


@compiled
def _scaled(a, exponent):  # type: ignore[no-untyped-def]
    """a times a power of two."""
    return math.ldexp(a[0], exponent), math.ldexp(a[1], exponent)


@compiled
def _sizes_at(t, u, i, j, tau_m, tau_i, tau_j, n):  # type: ignore[no-untyped-def]
    """Sizes of the terms of a state, t ms later."""
    x = u * math.exp(-t / tau_m[0])
    a = b = 0.0
    if n > 0:
        x += i * _response((t, 0.0), tau_m, tau_i)[0]
        a = i * math.exp(-t / tau_i[0])
    if n > 1:
        x += j * _response((t, 0.0), tau_m, tau_j)[0]
        b = j * math.exp(-t / tau_j[0])
    return x, a, b


@compiled
def judge_neuron(  # type: ignore[no-untyped-def]
    times, weights, found, theta, u_reset, u, t_ref, tau_m, tau_i, tau_j, n, keep, t_stop, bound, starts, ends
):
    """Judge one neuron; arguments in double-double but for times, weights, found, t_ref and t_stop.

    Returns (spikes, missed, invented, grazing, beyond, worst)
    """
    spikes = missed = invented = beyond = 0
    worst = 0.0
    i = j = (0.0, 0.0)
    kept = (0.0, 0.0)
    size_i = size_j = size_kept = 0.0
    size_u = abs(u[0])
    now = release = 0.0
    held = False
    nxt = 0
    k = 0
    fresh = True  # u has jumped at now and is to be tested
    while now < t_stop:
        end = min(times[k], t_stop) if k < times.size else t_stop
        guess = found[nxt] if nxt < found.size else math.inf
        size = max(abs(theta[0]), size_u)
        if held:
            to = min(release, end)
            if guess < to:
                return spikes, missed, invented + 1, 0, beyond, worst
            t = subtract((to, 0.0), (now, 0.0))
            _, i, j = _state_at(t, (0.0, 0.0), i, j, tau_m, tau_i, tau_j, n)
            _, size_i, size_j = _sizes_at(t[0], 0.0, size_i, size_j, tau_m, tau_i, tau_j, n)
            kept = multiply(kept, exponential(negative(divide(t, tau_m))))
            size_kept *= math.exp(-t[0] / tau_m[0])
            now = to
            if to == release and to < t_stop:
                held = False
                u = add(u_reset, kept)
                size_u = abs(u_reset[0]) + size_kept
                kept, size_kept = (0.0, 0.0), 0.0
                fresh = True
                continue
        else:
            gap = subtract(u, theta)[0]
            status = 0
            t = (0.0, 0.0)
            if gap >= 0.0 or (fresh and abs(gap) <= GRAZING * size):
                if abs(gap) <= GRAZING * size and gap != 0.0:
                    return spikes, missed, invented, 1, beyond, worst
                status = 1
            else:
                h = subtract((end, 0.0), (now, 0.0))[0]
                above = max(u[0], 0.0) + max(i[0], 0.0) + max(j[0], 0.0)
                if n == 0:
                    above = max(u[0], 0.0)
                if theta[0] == 0.0:
                    status, t = _first_crossing_of_zero(h, u, i, j, theta, tau_m, tau_i, tau_j, n, starts, ends)
                elif theta[0] < 0.0 or above >= theta[0] * (1.0 - 1e-9):
                    rise = max(u[0], 0.0) + (max(i[0], 0.0) + max(j[0], 0.0)) * h / tau_m[0]
                    if theta[0] < 0.0 or rise >= theta[0] * (1.0 - 1e-9):
                        status, t = _first_crossing(h, u, i, j, theta, tau_m, tau_i, tau_j, n, starts, ends)
            fresh = False
            if status < 0:
                return spikes, missed, invented, 1, beyond, worst
            if status == 1:
                true = add((now, 0.0), t)
                near = _SAME * (true[0] + tau_m[0])
                x, a, b = _state_at(t, u, i, j, tau_m, tau_i, tau_j, n)
                slope = _rate(x, a, b, tau_m)
                size_x, _, _ = _sizes_at(t[0], size_u, size_i, size_j, tau_m, tau_i, tau_j, n)
                if t[0] > 0.0:
                    if slope < _LEAST:
                        return spikes, missed, invented, 1, beyond, worst
                    top = slope * (slope / (2.0 * _bend(x, a, b, tau_m, tau_i, tau_j)))
                    if top <= GRAZING * max(abs(theta[0]), size_x):
                        return spikes, missed, invented, 1, beyond, worst
                    condition = (size_x + abs(theta[0])) / slope + true[0]
                else:
                    condition = true[0]
                if true[0] >= t_stop - 16.0 * _EPS * condition:
                    return spikes, missed, invented, 0, beyond, worst
                if guess < true[0] - near:
                    return spikes, missed, invented + 1, 0, beyond, worst
                if guess > true[0] + near:
                    return spikes, missed + 1, invented, 0, beyond, worst
                margin = 16.0 * _EPS * condition
                if n == 0 and guess != true[0] and k < times.size and abs(times[k] - true[0]) <= margin:
                    # Whether the kick comes before the spike is within the error of the spike.
                    return spikes, missed, invented, 1, beyond, worst
                error = abs(subtract((guess, 0.0), true)[0])
                units = error / (_EPS * condition) if error > 0.0 else 0.0
                worst = max(worst, units)
                beyond += 1 if units > bound else 0
                spikes += 1
                nxt += 1
                # The currents to the spike, or back to it: the next arrival may lie between it and the true crossing.
                to = max(guess, now)
                while k < times.size and times[k] < to:
                    step = subtract((times[k], 0.0), (now, 0.0))
                    _, i, j = _state_at(step, (0.0, 0.0), i, j, tau_m, tau_i, tau_j, n)
                    _, size_i, size_j = _sizes_at(step[0], 0.0, size_i, size_j, tau_m, tau_i, tau_j, n)
                    now = times[k]
                    if n == 1 or (n == 2 and weights[k] > 0.0):
                        i = add(i, (weights[k], 0.0))
                        size_i += abs(weights[k])
                    elif n == 2:
                        j = add(j, (weights[k], 0.0))
                        size_j += abs(weights[k])
                    k += 1
                step = subtract((to, 0.0), (now, 0.0))
                _, i, j = _state_at(step, (0.0, 0.0), i, j, tau_m, tau_i, tau_j, n)
                _, size_i, size_j = _sizes_at(step[0], 0.0, size_i, size_j, tau_m, tau_i, tau_j, n)
                now = to
                release = guess + t_ref
                held = release > now
                u, size_u = u_reset, abs(u_reset[0])
                kept, size_kept = (0.0, 0.0), 0.0
                fresh = True
                continue
            near = _SAME * (end + tau_m[0])
            if guess < end - near:
                return spikes, missed, invented + 1, 0, beyond, worst
            t = subtract((end, 0.0), (now, 0.0))
            size_u, size_i, size_j = _sizes_at(t[0], size_u, size_i, size_j, tau_m, tau_i, tau_j, n)
            from_below = u[0] < 0.0
            u, i, j = _state_at(t, u, i, j, tau_m, tau_i, tau_j, n)
            if from_below and theta[0] == 0.0 and u[0] > -_LEAST:
                u = -_LEAST, 0.0  # no crossing was found, so it is below 0, however far it and the currents have faded
            now = end
            if abs(subtract(u, theta)[0]) <= GRAZING * max(abs(theta[0]), size_u):
                return spikes, missed, invented, 1, beyond, worst
        if now >= t_stop:
            break
        while k < times.size and times[k] == now:
            w = weights[k]
            k += 1
            if w == 0.0:
                continue
            if n == 0:
                if not held:
                    u = add(u, (w, 0.0))
                    size_u += abs(w)
                    fresh = True
                elif keep:
                    kept = add(kept, (w, 0.0))
                    size_kept += abs(w)
            elif n == 1 or w > 0.0:
                i = add(i, (w, 0.0))
                size_i += abs(w)
            else:
                j = add(j, (w, 0.0))
                size_j += abs(w)
    return spikes, missed, invented + (1 if nxt < found.size else 0), 0, beyond, worst


@compiled
def _judge(  # type: ignore[no-untyped-def]
    times, weights, found, offsets, v, t_ref, tau_m, tau_i, tau_j, n, keep, t_stop, bound, out
):
    starts, ends = np.empty(_STACK), np.empty(_STACK)
    for k in range(t_ref.size):
        rest = add((v[2, k], 0.0), (v[3, k], 0.0))
        theta = subtract((v[0, k], 0.0), rest)
        reset = subtract((v[1, k], 0.0), rest)
        start = subtract((v[4, k], 0.0), rest)
        out[0, k], out[1, k], out[2, k], out[3, k], out[4, k], out[5, k] = judge_neuron(
            times, weights[:, k], found[offsets[k] : offsets[k + 1]], theta, reset, start, t_ref[k],
            (tau_m, 0.0), (tau_i, 0.0), (tau_j, 0.0), n, keep, t_stop, bound, starts, ends,
        )  # fmt: skip


def judge(lif: LIF, times: Floats, weights: Floats, spikes: Any, t_stop: float, bound: float = 4.0) -> Verdict:
    """Judge the spikes of a population whose neurons share their time constants and the times of their input.

    times : (m,) ms, ascending; weights : (m, n), what arrives at each neuron then, 0 for nothing
    spikes : SpikeTrains of size n; bound : errors beyond it are counted, in units of eps condition
    """
    n = weights.shape[1]
    order = np.lexsort((spikes.times, spikes.neurons))
    offsets = np.searchsorted(spikes.neurons[order], np.arange(n + 1))
    given = (lif.v_th, lif.v_reset, lif.v_rest, lif.bias, lif.v_rest if lif.v_init is None else lif.v_init)
    v = np.array([np.broadcast_to(np.asarray(x, dtype=np.float64), (n,)) for x in given])
    taus = [float(np.asarray(tau).flat[0]) for tau in lif.receptor_taus()]
    t_ref = np.broadcast_to(np.asarray(lif.t_ref, dtype=np.float64), (n,)).copy()
    out = np.zeros((6, n))
    _judge(
        times, np.ascontiguousarray(weights), spikes.times[order], offsets, v, t_ref,
        float(np.asarray(lif.tau_m).flat[0]), taus[0] if taus else 1.0, taus[1] if len(taus) > 1 else 1.0, len(taus),
        bool(lif.keep_refractory_input), float(t_stop), bound, out,
    )  # fmt: skip
    counts = out[:5].astype(np.int64)
    return Verdict(counts[0], counts[1], counts[2], counts[3], counts[4], out[5])
