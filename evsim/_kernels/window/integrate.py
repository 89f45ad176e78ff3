"""Neurons that a bound cannot rule out: their arrivals in order, and each neuron through its cell event by event."""

import math

from ..jit import formula, leaf
from ..neurons.carried import add, fade_carried, step
from ..neurons.crossing import crossing, grazes
from ..neurons.lif import rise_bound

_EPS = 2.220446049250313e-16


@formula
def integrate_events(
    times, weights, first, last, u, rest_u, i_exc, rest_exc, i_inh, rest_inh, release, t0, t1,
    theta, u_reset, t_ref, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input,
    out_times, out_currents, n_out,
):  # fmt: skip
    """Carry a neuron from t0 to t1 through its arrivals ``first`` ... ``last - 1``.

    times : ms after t0, sorted; u, i_exc, i_inh and their rests : the state at t0, of a refractory neuron with kept
    input u is what will be added to the reset potential; release : end of refractoriness, ms
    out_times, out_currents : spikes are appended; with the first beyond their size the integrate_events ends
    Returns (u, rest_u, i_exc, rest_exc, i_inh, rest_inh, release, n_out, grazing peaks). -1 peaks: the neuron would
    spike for ever at one instant.

    A crossing that rounds to t1 belongs to the next cell: u is set to theta, which fires there at once.

    Currents are taken in one step from the latest arrival (``at``, exc_at, inh_at): own spikes change none, and
    steps of regular spikes would repeat the same rounding error.
    """
    h = t1 - t0
    # A spike and an arrival are at one instant if a clock that shows the time cannot tell them apart.
    tick = _EPS * t1
    t = 0.0
    free = release - t0
    held = free > 0.0
    grazing = 0
    k = first
    at = 0.0
    exc_at, exc_rest_at = i_exc, rest_exc
    inh_at, inh_rest_at = i_inh, rest_inh
    while True:
        t_next = times[k] if k < last else h
        while True:
            if held:
                # Kept input fades like a potential without current; without kept input u stays at the reset.
                if free > t_next:
                    i_exc, rest_exc = fade_carried(t_next - at, exc_at, exc_rest_at, tau_exc)
                    i_inh, rest_inh = fade_carried(t_next - at, inh_at, inh_rest_at, tau_inh)
                    if keep_input:
                        u, rest_u = fade_carried(t_next - t, u, rest_u, tau_m)
                    else:
                        u, rest_u = u_reset, 0.0
                    break
                i_exc, rest_exc = fade_carried(free - at, exc_at, exc_rest_at, tau_exc)
                i_inh, rest_inh = fade_carried(free - at, inh_at, inh_rest_at, tau_inh)
                if keep_input:
                    u, rest_u = fade_carried(free - t, u, rest_u, tau_m)
                    u, rest_u = add(u_reset, rest_u, u)
                else:
                    u, rest_u = u_reset, 0.0
                t = free
                held = False
            x = t_next - t
            wait = math.inf
            exc = i_exc + rest_exc
            if rise_bound(u, max(exc, 0.0), x / tau_m) >= theta:
                inh = i_inh + rest_inh
                wait = crossing(u, exc, inh, theta, tau_m, tau_exc, tau_inh, peak, n_receptors, x + tick)
                if grazes(u, exc, inh, theta, tau_m, tau_exc, tau_inh, n_receptors, x):
                    grazing += 1
            spike = t0 + (t + wait)
            if spike > t0 + t_next:
                u, rest_u, i_exc, rest_exc, i_inh, rest_inh = step(
                    x, u, rest_u, i_exc, rest_exc, i_inh, rest_inh, tau_m, tau_exc, tau_inh, n_receptors
                )
                break
            if spike >= t1:
                i_exc, rest_exc = fade_carried(t_next - at, exc_at, exc_rest_at, tau_exc)
                i_inh, rest_inh = fade_carried(t_next - at, inh_at, inh_rest_at, tau_inh)
                return theta, 0.0, i_exc, rest_exc, i_inh, rest_inh, release, n_out, grazing
            x = spike - t0 - t
            if x == 0.0 and u == u_reset and spike + t_ref == spike:
                # The spike would leave everything as it was.
                return u, rest_u, i_exc, rest_exc, i_inh, rest_inh, release, n_out, -1
            x = spike - t0 - at
            i_exc, rest_exc = fade_carried(x, exc_at, exc_rest_at, tau_exc)
            i_inh, rest_inh = fade_carried(x, inh_at, inh_rest_at, tau_inh)
            if n_out < out_times.size:
                out_times[n_out] = spike
                out_currents[n_out] = i_exc + i_inh
            n_out += 1
            if n_out > out_times.size:
                return u, rest_u, i_exc, rest_exc, i_inh, rest_inh, release, n_out, grazing
            t = spike - t0
            release = spike + t_ref
            free = release - t0
            held = free > t
            u = 0.0 if held and keep_input else u_reset
            rest_u = 0.0
        t = t_next
        if k == last:
            return u, rest_u, i_exc, rest_exc, i_inh, rest_inh, release, n_out, grazing
        while k < last and times[k] == t_next:
            w = weights[k]
            k += 1
            if n_receptors == 0:
                if keep_input or not held:
                    # u itself is the sum in the order of sources, as the threshold test wants it.
                    u, rest_u = add(u, rest_u, w)
            elif n_receptors == 1 or w > 0.0:
                i_exc, rest_exc = add(i_exc, rest_exc, w)
            else:
                i_inh, rest_inh = add(i_inh, rest_inh, w)
        at = t
        exc_at, exc_rest_at = i_exc, rest_exc
        inh_at, inh_rest_at = i_inh, rest_inh


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
