"""One neuron through one cell, event by event: where a bound cannot rule out a spike."""

import math

from .crossing import crossing, grazes
from .jit import formula
from .lif import decay, fade, flow_u, rise_bound


@formula
def walk(
    times, weights, first, last, u, i_exc, i_inh, release, t0, t1,
    theta, u_reset, t_ref, tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input,
    out_times, out_currents, n_out,
):  # fmt: skip
    """Carry a neuron from t0 to t1 through its arrivals ``first`` ... ``last - 1``.

    times : ms after t0, sorted; u, i_exc, i_inh : the state at t0, of a refractory neuron with kept input u is
    what will be added to the reset potential; release : end of refractoriness, ms
    out_times, out_currents : spikes are appended; beyond their size they are only counted
    Returns (u, i_exc, i_inh, release, n_out, grazing peaks).

    A crossing that rounds to t1 belongs to the next cell: u is set to theta, which fires there at once.
    """
    h = t1 - t0
    t = 0.0
    free = release - t0
    held = free > 0.0
    grazing = 0
    k = first
    while True:
        t_next = times[k] if k < last else h
        while True:
            if held:
                if free > t_next:
                    x = t_next - t
                    i_exc = fade(x, i_exc, tau_exc)
                    i_inh = fade(x, i_inh, tau_inh)
                    u = u * decay(x, tau_m) if keep_input else u_reset
                    break
                x = free - t
                i_exc = fade(x, i_exc, tau_exc)
                i_inh = fade(x, i_inh, tau_inh)
                u = u_reset + u * decay(x, tau_m) if keep_input else u_reset
                t = free
                held = False
            x = t_next - t
            wait = math.inf
            if rise_bound(u, max(i_exc, 0.0), x / tau_m) >= theta:
                wait = crossing(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, peak, n_receptors, x)
                if grazes(u, i_exc, i_inh, theta, tau_m, tau_exc, tau_inh, n_receptors, x):
                    grazing += 1
            if wait == math.inf:
                u = flow_u(x, u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors)
                i_exc = fade(x, i_exc, tau_exc)
                i_inh = fade(x, i_inh, tau_inh)
                break
            spike = t0 + min(t + wait, t_next)
            if spike >= t1:
                return theta, fade(x, i_exc, tau_exc), fade(x, i_inh, tau_inh), release, n_out, grazing
            x = spike - t0 - t
            i_exc = fade(x, i_exc, tau_exc)
            i_inh = fade(x, i_inh, tau_inh)
            if n_out < out_times.size:
                out_times[n_out] = spike
                out_currents[n_out] = i_exc + i_inh
            n_out += 1
            t = spike - t0
            release = spike + t_ref
            free = release - t0
            held = free > t
            u = 0.0 if held and keep_input else u_reset
        t = t_next
        if k == last:
            return u, i_exc, i_inh, release, n_out, grazing
        while k < last and times[k] == t_next:
            w = weights[k]
            k += 1
            if n_receptors == 0:
                if keep_input or not held:
                    u += w
            elif n_receptors == 1 or w > 0.0:
                i_exc += w
            else:
                i_inh += w
