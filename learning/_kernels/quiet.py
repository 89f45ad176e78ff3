"""Potentials along recorded spikes, and instants at which a neuron that is quiet could be made to spike (TSSL-BP).

A neuron is quiet while its own PSC is below ``quiet`` jumps; a quiet stretch ends with its next spike or t_stop.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import kernel, leaf, stage
from evsim._kernels.neurons.crossing import peak_time
from evsim._kernels.neurons.lif import decay, psp

# Rows of a neuron's state while its potential is replayed; NEXT: number of its next step.
AT, U, CURRENT, RELEASE, QUIET_FROM, TRACE, SPIKED, TOP, TOP_AT, MIDDLE, MIDDLE_U, NEXT, N_ROWS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
)  # fmt: skip


class QuietPoints(NamedTuple):
    """Instants in quiet stretches: sample k's are written from number ``room[k]`` on, ``number[k]`` of them, with the
    neuron and its potential there."""

    room: np.ndarray
    number: np.ndarray
    times: np.ndarray
    neurons: np.ndarray
    u: np.ndarray


class _Replay(NamedTuple):
    """State of the replay. state : (N_ROWS, n); rising : (n,), did the potential rise at the end of the last stretch;
    waiting : (n,), the spike whose release is still to come, -1 without; at_release : (n_spikes,), written"""

    state: np.ndarray
    rising: np.ndarray
    waiting: np.ndarray
    at_release: np.ndarray


@stage
def _add_point(sample, t, n, u, points):
    k = points.room[sample] + points.number[sample]
    points.times[k] = t
    points.neurons[k] = n
    points.u[k] = u
    points.number[sample] += 1


@leaf
def _try_top(state, n, t, u):
    """A local maximum at t; the earliest of equal ones is kept."""
    if t > state[QUIET_FROM, n] and u > state[TOP, n]:
        state[TOP, n] = u
        state[TOP_AT, n] = t


@stage
def _take_top(sample, n, state, points):
    """The stretch's highest maximum, if it had one; and forget it."""
    if state[TOP, n] > -math.inf:
        _add_point(sample, state[TOP_AT, n], n, state[TOP, n], points)
    state[TOP, n] = -math.inf


@stage
def _note_release(n, t, tau_s, replay):
    """The current at a release that lies before t."""
    k = replay.waiting[n]
    if k >= 0 and replay.state[RELEASE, n] <= t:
        x = replay.state[RELEASE, n] - replay.state[AT, n]
        replay.at_release[k] = replay.state[CURRENT, n] * decay(x, tau_s)
        replay.waiting[n] = -1


@stage
def _look_at_steps(sample, n, start, t, u, i, tau_m, tau_s, step, state, points):
    """u at every quiet step from ``start`` to before t; u, i : at ``start``."""
    while state[NEXT, n] * step < t:
        y = state[NEXT, n] * step - start
        if y >= 0.0 and start + y > state[QUIET_FROM, n]:
            _add_point(sample, state[NEXT, n] * step, n, u * decay(y, tau_m) + i * psp(y, tau_m, tau_s), points)
        state[NEXT, n] += 1.0


@stage
def _look_for_top(n, start, x, u, i, u1, i1, tau_m, tau_s, state):
    """A maximum within x ms of ``start``, from u, i to u1, i1; and u in the middle of the stretch, if it lies there."""
    y = state[MIDDLE, n] - start
    if 0.0 <= y < x:
        state[MIDDLE_U, n] = u * decay(y, tau_m) + i * psp(y, tau_m, tau_s)
    if i > u and i1 < u1:
        # Where u' = 0 the potential equals the current.
        y = min(peak_time(u, i, 0.0, tau_m, tau_s, tau_s, 1, x), x)
        _try_top(state, n, start + y, i * decay(y, tau_s))


@stage
def _advance(sample, n, t, neurons, replay, points, step):
    """Carry neuron n on to t, without input. Notes the local maxima of u before t, and u in the stretch's middle; or,
    with step > 0, u at every quiet step before t."""
    tau_m, tau_s = neurons.tau_m[0], neurons.tau_exc[0]
    state = replay.state
    _note_release(n, t, tau_s, replay)
    if step == 0.0 and replay.rising[n] and state[CURRENT, n] <= state[U, n]:
        _try_top(state, n, state[AT, n], state[U, n])
    replay.rising[n] = False
    start = state[AT, n]
    if state[RELEASE, n] > start:
        start = min(state[RELEASE, n], t)
        state[CURRENT, n] *= decay(start - state[AT, n], tau_s)
        state[U, n] = neurons.u_reset[n]
    x = t - start
    state[AT, n] = t
    if x > 0.0:
        u, i = state[U, n], state[CURRENT, n]
        i1 = i * decay(x, tau_s)
        u1 = u * decay(x, tau_m) + i * psp(x, tau_m, tau_s)
        if step > 0.0:
            _look_at_steps(sample, n, start, t, u, i, tau_m, tau_s, step, state, points)
        else:
            _look_for_top(n, start, x, u, i, u1, i1, tau_m, tau_s, state)
        state[U, n] = u1
        state[CURRENT, n] = i1
        replay.rising[n] = i1 > u1


@stage
def _fire(n, t, s, neurons, replay, quiet, t_stop):
    """Spike s of neuron n at t, up to which it is replayed: a reset, and a stretch in which it is not quiet."""
    tau_s = neurons.tau_exc[0]
    state = replay.state
    replay.rising[n] = False
    trace = state[TRACE, n] * decay(t - state[SPIKED, n], tau_s) + 1.0
    released = t + neurons.t_ref[n]
    state[TRACE, n] = trace
    state[SPIKED, n] = t
    state[QUIET_FROM, n] = released
    if trace > quiet:
        state[QUIET_FROM, n] = max(t + tau_s * math.log(trace / quiet), released)
    state[MIDDLE, n] = 0.5 * (state[QUIET_FROM, n] + t_stop)
    state[RELEASE, n] = released
    state[U, n] = neurons.u_reset[n]
    replay.waiting[n] = s
    if neurons.t_ref[n] == 0.0:
        replay.at_release[s] = state[CURRENT, n]
        replay.waiting[n] = -1


@leaf
def _replay_sample(sample, arrivals, spikes, neurons, weight, replay, points, quiet, step, t_stop):
    """All events of a sample in order, arrivals after spikes of the same instant."""
    state = replay.state
    n_out = neurons.theta.size
    a, a1 = arrivals.offsets[sample], arrivals.offsets[sample + 1]
    s, s1 = spikes.offsets[sample], spikes.offsets[sample + 1]
    points.number[sample] = 0
    while True:
        t_in = arrivals.times[a] if a < a1 else math.inf
        t_out = spikes.times[s] if s < s1 else math.inf
        t = min(t_in, t_out)
        if not t < t_stop:
            break
        if t_out <= t_in:
            n = spikes.neurons[s]
            _advance(sample, n, t, neurons, replay, points, step)
            _take_top(sample, n, state, points)
            _fire(n, t, s, neurons, replay, quiet, t_stop)
            s += 1
            continue
        for n in range(n_out):
            if state[AT, n] < t:
                _advance(sample, n, t, neurons, replay, points, step)
        while a < a1 and arrivals.times[a] == t:
            row = weight[arrivals.neurons[a]]
            for n in range(n_out):
                state[CURRENT, n] += row[n]
            a += 1
    for n in range(n_out):
        _advance(sample, n, t_stop, neurons, replay, points, step)
        if step == 0.0 and state[TOP, n] == -math.inf and state[QUIET_FROM, n] < t_stop:
            # Neurons whose potential never rises are not forgotten.
            _try_top(state, n, state[MIDDLE, n], state[MIDDLE_U, n])
        _take_top(sample, n, state, points)


@kernel
def replay_samples(
    arrivals, spikes, neurons, weight, at_release, points, first, last, t_stop, quiet, step
):  # fmt: skip
    """Potentials of samples ``first`` ... ``last - 1`` once more, along the recorded spikes.

    arrivals, spikes : Batch; weight : (n_in, n_out)
    at_release : (n_spikes,) current at the release after each spike (0 if there is none), written
    points : QuietPoints, written. With step = 0 the highest local maximum of u of every quiet stretch, or, where it has
    none and lasts to t_stop, its middle: at most one for each spike and one for each neuron. With step > 0, every
    multiple of it that lies in a quiet stretch
    """
    n_out = neurons.theta.size
    replay = _Replay(np.empty((N_ROWS, n_out)), np.empty(n_out, np.bool_), np.empty(n_out, np.int64), at_release)
    for sample in range(first, last):
        replay.state[:] = 0.0
        replay.state[U] = neurons.u_init
        replay.state[TOP] = -math.inf
        replay.state[MIDDLE] = 0.5 * t_stop
        replay.state[NEXT] = 1.0
        replay.rising[:] = False
        replay.waiting[:] = -1
        _replay_sample(sample, arrivals, spikes, neurons, weight, replay, points, quiet, step, t_stop)
