"""Neurons that a bound cannot rule out: their arrivals in order, and each neuron through its cell event by event."""

import math

from ..jit import formula, leaf, stage
from ..neurons.carried import add, fade_carried
from ..neurons.lif import rise_bound
from ..neurons.model import (
    arrive,
    fade_currents,
    flow,
    is_grazing,
    is_stuck,
    release,
    reset,
    time_to_spike,
    with_currents,
    with_potential,
)

_EPS = 2.220446049250313e-16


@stage
def _hold(t, until, x, since, at, p):
    """A refractory neuron from t to ``until``: kept input fades like a potential without current, else u stays at the
    reset. Currents are those of the latest arrival, the state ``at`` of ``since``."""
    y = fade_currents(until - since, at, p)
    if not p.keep_input:
        return with_potential(p.u_reset, 0.0, y)
    u, rest_u = fade_carried(until - t, x.u, x.rest_u, p.tau_m)
    return with_potential(u, rest_u, y)


@stage
def _integrate_interval(t, t_next, x, since, at, held_to, t0, t1, p, spikes, n_out):
    """From the state x at t to the next arrival, with all spikes between; times in ms after t0.

    Returns (state, end of refractoriness, number of spikes, grazing peaks, whether it goes on: not where a crossing
    rounds to t1, where there is no room for the spike, and, with -1 peaks, where the neuron is stuck).
    """
    # A spike and an arrival are at one instant if a clock that shows the time cannot tell them apart.
    tick = _EPS * t1
    times, currents = spikes
    grazing = 0
    while True:
        free = held_to - t0
        if free > t:
            if free > t_next:
                return _hold(t, t_next, x, since, at, p), held_to, n_out, grazing, True
            x = _hold(t, free, x, since, at, p)
            if p.keep_input:
                u, rest_u = add(p.u_reset, x.rest_u, x.u)
                x = with_potential(u, rest_u, x)
            t = free
        h = t_next - t
        wait = math.inf
        if rise_bound(x.u, max(x.exc + x.rest_exc, 0.0), h / p.tau_m) >= p.theta:
            wait = time_to_spike(x, p, h + tick)
            grazing += is_grazing(x, p, h)
        spike = t0 + (t + wait)
        if spike > t0 + t_next:
            return flow(h, x, p), held_to, n_out, grazing, True
        if spike >= t1:
            y = fade_currents(t_next - since, at, p)
            return with_potential(p.theta, 0.0, y), held_to, n_out, grazing, False
        if is_stuck(spike - t0 - t, spike, x.u, p):
            return x, held_to, n_out, -1, False
        x = reset(with_currents(x, fade_currents(spike - t0 - since, at, p)), p)
        if n_out < times.size:
            times[n_out] = spike
            currents[n_out] = x.exc + x.inh
        n_out += 1
        if n_out > times.size:
            return x, held_to, n_out, grazing, False
        t = spike - t0
        held_to = release(spike, p)
        if held_to - t0 > t and p.keep_input:
            x = with_potential(0.0, 0.0, x)


@formula
def integrate_events(arrivals, x, held_to, t0, t1, p, spikes, n_out):
    """Carry a neuron from t0 to t1 through its arrivals.

    arrivals : (times, weights, first, last), of which ``first`` ... ``last - 1`` are its own; times in ms after t0,
    sorted; x : its state at t0, of a refractory neuron with kept input u is what will be added to the reset potential
    held_to : end of refractoriness, ms
    spikes : (times, currents), appended from ``n_out`` on; with the first beyond their room it ends
    Returns (state at t1, end of refractoriness, number of spikes, grazing peaks). -1 peaks: the neuron would spike for
    ever at one instant.

    A crossing that rounds to t1 belongs to the next cell: u is set to theta, which fires there at once.

    Currents are taken in one step from the latest arrival (``at``): own spikes change none, and steps of regular
    spikes would repeat the same rounding error.
    """
    times, weights, k, last = arrivals
    t = since = 0.0
    at = x
    grazing = 0
    while True:
        t_next = times[k] if k < last else t1 - t0
        x, held_to, n_out, peaks, goes_on = _integrate_interval(
            t, t_next, x, since, at, held_to, t0, t1, p, spikes, n_out
        )
        grazing = grazing + peaks if peaks >= 0 else -1
        if k == last or not goes_on:
            return x, held_to, n_out, grazing
        t = t_next
        held = held_to - t0 > t
        while k < last and times[k] == t_next:
            if p.n_receptors > 0 or p.keep_input or not held:
                x = arrive(weights[k], 0.0, x, p)
            k += 1
        since = t
        at = x


@leaf
def sort_by_slot(slots, times, values, listed, n_slots, start, sorted_times, sorted_values):
    """Group the listed arrivals by slot, each group ordered by time, equal times in their given order.

    start : (n_slots + 1,) written, the borders of the groups
    """
    for k in range(n_slots + 1):
        start[k] = 0
    for k in range(listed):
        start[slots[k] + 1] += 1
    for k in range(n_slots):
        start[k + 1] += start[k]
    for k in range(listed - 1, -1, -1):
        start[slots[k] + 1] -= 1
        at = start[slots[k] + 1]
        sorted_times[at] = times[k]
        sorted_values[at] = values[k]
    # start[j + 1] is now the beginning of group j; its end is the beginning of the next.
    for j in range(n_slots):
        start[j] = start[j + 1]
    start[n_slots] = listed
    for j in range(n_slots):
        for k in range(start[j] + 1, start[j + 1]):
            t = sorted_times[k]
            w = sorted_values[k]
            q = k
            while q > start[j] and sorted_times[q - 1] > t:
                sorted_times[q] = sorted_times[q - 1]
                sorted_values[q] = sorted_values[q - 1]
                q -= 1
            sorted_times[q] = t
            sorted_values[q] = w
