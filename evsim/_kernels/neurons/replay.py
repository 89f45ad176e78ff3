"""Membrane potential at any instants, from recorded spikes and the closed form."""

import math

from ..jit import kernel
from .carried import add, fade_carried, step
from .lif import decay, flow_u

_REACHED = 1e-12


@kernel
def voltage_at(
    query, arrivals, weights, spikes, out,
    u_init, u_reset, theta, t_ref, tau_m, tau_exc, tau_inh, n_receptors, keep_input,
):  # fmt: skip
    """u at the sorted instants ``query`` (left limits; theta at a spike), for one neuron.

    arrivals, weights : (n,) sorted inputs; spikes : (m,) sorted own spikes; out : (query.size,) written.
    """
    u = u_init
    i_exc = 0.0
    i_inh = 0.0
    rest_u = rest_exc = rest_inh = 0.0
    valid_at = 0.0
    next_arrival = 0
    next_spike = 0
    kicked = False
    for q in range(query.size):
        while True:
            t_arrival = arrivals[next_arrival] if next_arrival < arrivals.size else math.inf
            t_spike = spikes[next_spike] if next_spike < spikes.size else math.inf
            if min(t_arrival, t_spike) >= query[q]:
                break
            if n_receptors == 0 and t_spike == t_arrival and not kicked:
                # Kicks at the instant of a spike caused it, unless u reached theta without them.
                x = flow_u(t_spike - valid_at, u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors)
                kicked = theta - x > _REACHED * max(abs(theta), abs(u))
            if t_spike < t_arrival or (t_spike == t_arrival and not kicked):
                next_spike += 1
                kicked = False
                x = t_spike + t_ref - valid_at
                i_exc, rest_exc = fade_carried(x, i_exc, rest_exc, tau_exc)
                i_inh, rest_inh = fade_carried(x, i_inh, rest_inh, tau_inh)
                u, rest_u = u_reset, 0.0
                valid_at = t_spike + t_ref
                continue
            w = weights[next_arrival]
            next_arrival += 1
            x = t_arrival - valid_at
            if x > 0.0:
                u, rest_u, i_exc, rest_exc, i_inh, rest_inh = step(
                    x, u, rest_u, i_exc, rest_exc, i_inh, rest_inh, tau_m, tau_exc, tau_inh, n_receptors
                )
                valid_at = t_arrival
                x = 0.0
            if n_receptors == 0:
                if x == 0.0 or keep_input:
                    u, rest_u = add(u, rest_u, w * decay(-x, tau_m))
            elif n_receptors == 1 or w > 0.0:
                i_exc, rest_exc = add(i_exc, rest_exc, w * decay(-x, tau_exc))
            else:
                i_inh, rest_inh = add(i_inh, rest_inh, w * decay(-x, tau_inh))
        if t_spike == query[q]:
            out[q] = theta
        elif query[q] < valid_at:
            out[q] = u_reset
        else:
            out[q] = flow_u(
                query[q] - valid_at, u, i_exc, i_inh, tau_m, tau_exc, tau_inh, n_receptors
            )
