"""TSSL-BP on recorded spikes: what each spike and each quiet maximum of the potential is blamed for, and the credit.

psi of an event is the derivative of the loss by the neuron's potential there, as the rule sees it. From there on all
is linear: with lam_V = -psi/tau_m at the event (a KICK: lam_I = -psi h/(tau_m tau_s), the current of one step h), 0
before the neuron's last release, and the adjoint flow of ``adjoint.py``,

    -tau_s lam_I (t) = sum over events of psi eps(t_event - release, t_event - t)            (the S-PSP summand)
    lam_V - lam_I    = its derivative by t
"""

import math

import numpy as np

from evsim._kernels.jit import kernel, leaf
from evsim._kernels.neurons.crossing import peak_time
from evsim._kernels.neurons.lif import decay, psp

from .adjoint import adjoint_k

TOP_OF_U, SPIKE, KICK = 0, 1, 2
"""Kinds of events."""

KEEP_NONE, KEEP_CODE, KEEP_EXACT = 0, 1, 2


@kernel
def blame_spikes(
    times, neurons, offsets, currents, at_release, pull, first, last,
    theta, u_reset, u_init, t_ref, tau_m, least_slope, sign, unit, intra, inter_part, intra_part, clipped,
):  # fmt: skip
    """psi of every spike of samples ``first`` ... ``last - 1``, written in two parts that add up.

    pull : C or dC/dt at each spike; psi = sign pull unit/u' + what the neuron's next spike hands back; clipped : where
    u' was below least_slope (n_out,), V per ms, and that was taken; at_release : current at the release after each
    """
    n_out = theta.size
    following = np.empty(n_out, np.int64)
    for sample in range(first, last):
        following[:] = -1
        for k in range(offsets[sample + 1] - 1, offsets[sample] - 1, -1):
            n = neurons[k]
            t = times[k]
            later = following[n]
            following[n] = k
            clipped[k] = False
            inter_part[k] = intra_part[k] = 0.0
            if t == 0.0 and u_init[n] >= theta[n]:
                continue
            slope = (currents[k] - theta[n]) / tau_m
            if not slope >= least_slope[n]:
                slope = least_slope[n]
                clipped[k] = True
            inter_part[k] = sign * pull[k] * unit / slope
            if later >= 0 and intra != KEEP_NONE:
                released = t + t_ref[n]
                lost = (theta[n] if intra == KEEP_CODE else at_release[k]) - u_reset[n]
                carried = (inter_part[later] + intra_part[later]) * decay(times[later] - released, tau_m)
                intra_part[k] = carried * lost / (tau_m * slope)


@kernel
def credit_samples(
    ask_times, ask_neurons, ask_offsets, times, neurons, offsets, psi, kinds, first, last, t_stop,
    t_ref, tau_m, tau_s, step, weight, by_weight, by_signal, d_weight, by_psc, by_time,
):  # fmt: skip
    """Back from the events of samples ``first`` ... ``last - 1`` to their arrivals.

    ask_* : arrivals, sorted within a sample; times, neurons, offsets : events likewise; kinds : of each; step : h
    weight, d_weight : (n_in, n_out), added to if ``by_weight``; by_psc, by_time : of each arrival, written if
    ``by_signal``: the derivatives by the size and by the time of the current that it starts
    """
    n_out = t_ref.size
    lam_v = np.empty(n_out)
    lam_i = np.empty(n_out)
    refractory = False
    for n in range(n_out):
        refractory = refractory or t_ref[n] > 0.0
    for sample in range(first, last):
        a0, a = ask_offsets[sample], ask_offsets[sample + 1] - 1
        s0, s = offsets[sample], offsets[sample + 1] - 1
        if by_signal:
            by_psc[a0 : a + 1] = 0.0
            by_time[a0 : a + 1] = 0.0
        lam_v[:] = 0.0
        lam_i[:] = 0.0
        releases = times[:0]
        order = np.empty(0, np.int64)
        if refractory:
            releases = times[s0 : s + 1] + t_ref[neurons[s0 : s + 1]]
            order = np.argsort(releases, kind="mergesort")
        r = order.size - 1
        now = t_stop
        while a >= a0 and ask_times[a] >= t_stop:
            a -= 1
        while r >= 0 and releases[order[r]] >= t_stop:
            r -= 1
        while a >= a0:
            t_in = ask_times[a]
            t_event = times[s] if s >= s0 else -math.inf
            t_release = releases[order[r]] if r >= 0 else -math.inf
            t = max(t_in, t_event, t_release)
            _carry(lam_v, lam_i, now - t, tau_m, tau_s)
            now = t
            if t_in == t:
                row = ask_neurons[a]
                if by_weight:
                    _add_to_row(lam_i, d_weight[row], tau_s)
                if by_signal:
                    whole, moved = _add_up(lam_v, lam_i, weight[row])
                    by_psc[a] = -tau_s * whole
                    by_time[a] = moved - whole
                a -= 1
            elif t_release == t:
                if kinds[s0 + order[r]] == SPIKE:
                    lam_v[neurons[s0 + order[r]]] = 0.0
                r -= 1
            else:
                n = neurons[s]
                if kinds[s] == KICK:
                    lam_i[n] -= psi[s] * step / (tau_m * tau_s)
                else:
                    if kinds[s] == SPIKE:
                        lam_v[n] = 0.0
                    lam_v[n] -= psi[s] / tau_m
                s -= 1


@leaf
def _carry(lam_v, lam_i, x, tau_m, tau_s):
    if x <= 0.0:
        return
    em = decay(x, tau_m)
    es = decay(x, tau_s)
    k = adjoint_k(x, tau_m, tau_s)
    for n in range(lam_v.size):
        lam_i[n] = lam_i[n] * es + lam_v[n] * k
        lam_v[n] *= em


@leaf
def _add_to_row(lam_i, row, tau_s):
    for n in range(lam_i.size):
        row[n] -= tau_s * lam_i[n]


@leaf
def _add_up(lam_v, lam_i, weights):
    """sum w lam_I and sum w lam_V."""
    whole = 0.0
    moved = 0.0
    for n in range(weights.size):
        whole += weights[n] * lam_i[n]
        moved += weights[n] * lam_v[n]
    return whole, moved


# Rows of a neuron's state while its potential is replayed; NEXT: number of its next step.
AT, U, CURRENT, RELEASE, QUIET_FROM, TRACE, SPIKED, TOP, TOP_AT, MIDDLE, MIDDLE_U, NEXT, N_ROWS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
)  # fmt: skip


@leaf
def _try_top(state, n, t, u):
    """A local maximum at t; the earliest of equal ones is kept."""
    if t > state[QUIET_FROM, n] and u > state[TOP, n]:
        state[TOP, n] = u
        state[TOP_AT, n] = t


@leaf
def _advance(state, n, t, u_reset, tau_m, tau_s, rising, step, place, found_times, found_neurons, found_u, n_found):
    """Carry neuron n on to t, without input. Notes the local maxima of u before t, and u in the stretch's middle; or,
    with step > 0, u at every quiet step before t."""
    if step == 0.0 and rising[n] and state[CURRENT, n] <= state[U, n]:
        _try_top(state, n, state[AT, n], state[U, n])
    rising[n] = False
    start = state[AT, n]
    if state[RELEASE, n] > start:
        start = min(state[RELEASE, n], t)
        state[CURRENT, n] *= decay(start - state[AT, n], tau_s)
        state[U, n] = u_reset
    x = t - start
    state[AT, n] = t
    if x <= 0.0:
        return
    u, i = state[U, n], state[CURRENT, n]
    i1 = i * decay(x, tau_s)
    u1 = u * decay(x, tau_m) + i * psp(x, tau_m, tau_s)
    if step > 0.0:
        while state[NEXT, n] * step < t:
            y = state[NEXT, n] * step - start
            if y >= 0.0 and start + y > state[QUIET_FROM, n]:
                k = place + n_found[0]
                found_times[k] = state[NEXT, n] * step
                found_neurons[k] = n
                found_u[k] = u * decay(y, tau_m) + i * psp(y, tau_m, tau_s)
                n_found[0] += 1
            state[NEXT, n] += 1.0
    else:
        y = state[MIDDLE, n] - start
        if 0.0 <= y < x:
            state[MIDDLE_U, n] = u * decay(y, tau_m) + i * psp(y, tau_m, tau_s)
        if i > u and i1 < u1:
            # Where u' = 0 the potential equals the current.
            y = min(peak_time(u, i, 0.0, tau_m, tau_s, tau_s, 1, x), x)
            _try_top(state, n, start + y, i * decay(y, tau_s))
    state[U, n] = u1
    state[CURRENT, n] = i1
    rising[n] = i1 > u1


@kernel
def replay_samples(
    in_times, in_neurons, in_offsets, times, neurons, offsets, first, last, t_stop,
    u_reset, u_init, t_ref, tau_m, tau_s, weight, quiet, step,
    at_release, room, found_times, found_neurons, found_u, n_found,
):  # fmt: skip
    """Potentials of samples ``first`` ... ``last - 1`` once more, along the recorded spikes.

    at_release : (n_spikes,) current at the release after each spike (0 if there is none), written
    found_*, n_found : sample k's begin at room[k]; their number. With step = 0 the highest local maximum of u of every
    quiet stretch, or, where it has none and lasts to t_stop, its middle: at most one for each spike and one for each
    neuron. With step > 0, every multiple of it that lies in a quiet stretch
    A stretch is quiet where the neuron's own PSC is below ``quiet`` jumps; it ends with the next spike or t_stop.
    """
    n_out = u_reset.size
    state = np.empty((N_ROWS, n_out))
    rising = np.empty(n_out, np.bool_)
    waiting = np.empty(n_out, np.int64)
    for sample in range(first, last):
        state[:] = 0.0
        state[U] = u_init
        state[TOP] = -math.inf
        state[MIDDLE] = 0.5 * t_stop
        state[NEXT] = 1.0
        rising[:] = False
        waiting[:] = -1
        a, a1 = in_offsets[sample], in_offsets[sample + 1]
        s, s1 = offsets[sample], offsets[sample + 1]
        base = room[sample]
        count = n_found[sample : sample + 1]
        count[0] = 0
        while True:
            t_in = in_times[a] if a < a1 else math.inf
            t_out = times[s] if s < s1 else math.inf
            t = min(t_in, t_out)
            if not t < t_stop:
                break
            if t_out <= t_in:
                n = neurons[s]
                _release(state, n, t, tau_s, waiting, at_release)
                _advance(
                    state, n, t, u_reset[n], tau_m, tau_s, rising, step, base, found_times, found_neurons, found_u,
                    count,
                )  # fmt: skip
                rising[n] = False
                _keep(state, n, base, found_times, found_neurons, found_u, count)
                trace = state[TRACE, n] * decay(t - state[SPIKED, n], tau_s) + 1.0
                state[TRACE, n] = trace
                state[SPIKED, n] = t
                state[QUIET_FROM, n] = t + t_ref[n]
                if trace > quiet:
                    state[QUIET_FROM, n] = max(t + tau_s * math.log(trace / quiet), t + t_ref[n])
                state[MIDDLE, n] = 0.5 * (state[QUIET_FROM, n] + t_stop)
                state[RELEASE, n] = t + t_ref[n]
                state[U, n] = u_reset[n]
                waiting[n] = s
                if t_ref[n] == 0.0:
                    at_release[s] = state[CURRENT, n]
                    waiting[n] = -1
                s += 1
                continue
            for n in range(n_out):
                if state[AT, n] < t:
                    _release(state, n, t, tau_s, waiting, at_release)
                    _advance(
                        state, n, t, u_reset[n], tau_m, tau_s, rising, step, base, found_times, found_neurons, found_u,
                        count,
                    )  # fmt: skip
            while a < a1 and in_times[a] == t:
                for n in range(n_out):
                    state[CURRENT, n] += weight[in_neurons[a], n]
                a += 1
        for n in range(n_out):
            _release(state, n, t_stop, tau_s, waiting, at_release)
            _advance(
                state, n, t_stop, u_reset[n], tau_m, tau_s, rising, step, base, found_times, found_neurons, found_u,
                count,
            )  # fmt: skip
            if step == 0.0 and state[TOP, n] == -math.inf and state[QUIET_FROM, n] < t_stop:
                _try_top(state, n, state[MIDDLE, n], state[MIDDLE_U, n])
            _keep(state, n, base, found_times, found_neurons, found_u, count)


@leaf
def _release(state, n, t, tau_s, waiting, at_release):
    """Note the current at a release that lies before t."""
    k = waiting[n]
    if k < 0 or state[RELEASE, n] > t:
        return
    at_release[k] = state[CURRENT, n] * decay(state[RELEASE, n] - state[AT, n], tau_s)
    waiting[n] = -1


@leaf
def _keep(state, n, base, found_times, found_neurons, found_u, n_found):
    """The stretch's highest maximum, if it had one; and forget it."""
    if state[TOP, n] > -math.inf:
        k = base + n_found[0]
        found_times[k] = state[TOP_AT, n]
        found_neurons[k] = n
        found_u[k] = state[TOP, n]
        n_found[0] += 1
    state[TOP, n] = -math.inf


@kernel
def credit_analog(times, neurons, offsets, psi, kinds, first, last, t_ref, tau_m, tau_s, step, d_final):
    """dL/dJ of samples ``first`` ... ``last - 1``, (samples, n_out), written: constant input that ends up as current J.

    Events as in ``credit_samples``. The potential at a spike or top has J (1 - exp(-x/tau_m)) - J exp(-r/tau_s) P(x)
    of it, x after the release r; a kick has the current of one step.
    """
    n_out = t_ref.size
    release = np.empty(n_out)
    for sample in range(first, last):
        release[:] = 0.0
        d_final[sample] = 0.0
        for k in range(offsets[sample], offsets[sample + 1]):
            n = neurons[k]
            if kinds[k] == KICK:
                d_final[sample, n] -= psi[k] * step / tau_m * math.expm1(-times[k] / tau_s)
                continue
            x = times[k] - release[n]
            share = -math.expm1(-x / tau_m) - decay(release[n], tau_s) * psp(x, tau_m, tau_s)
            d_final[sample, n] += psi[k] * share
            if kinds[k] == SPIKE:
                release[n] = times[k] + t_ref[n]
