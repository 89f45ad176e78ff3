"""Traces of maps: two numbers for each neuron of a map, and their sums over the window that another neuron looks at.

A kick of size J that neuron j gets at t_j leaves, x ms later, a current J exp(-x/tau_i) and, with the potential that
the current drives, J psp(x, tau_u, tau_i). Both are kept at an origin in time that all neurons share; origins lie a
fixed step apart, as those of ``spsp``. Forward in time kicks are arrivals at the map below, and windows are those of
its convolution. Backward in time (times are negated) kicks are the jumps of an adjoint, tau_u and tau_i change places,
and windows are the pixels that see an input.

Maps are stored channel last and with a border, so that a window is a few runs of consecutive numbers; what lies in the
border gets no kick and stays 0.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim._kernels.jit import leaf
from evsim._kernels.neurons.lif import decay, psp

from .spsp import origin_step


class Windows(NamedTuple):
    """Where the neurons of one map look at another.

    start : (n,), of each neuron's window in the stored map; kind : (n,), which row of the weights it looks with
    runs, length, stride : of a window: so many runs of so many numbers, that begin so far from each other
    place : (m,), of each neuron of the other map; size : numbers in the stored map
    """

    start: np.ndarray
    kind: np.ndarray
    runs: int
    length: int
    stride: int
    place: np.ndarray
    size: int


class Kicks(NamedTuple):
    """Sorted by time, (n,) each: the neurons that get them, and their sizes."""

    times: np.ndarray
    neurons: np.ndarray
    sizes: np.ndarray


class Traces(NamedTuple):
    """Potential and current of each neuron of a stored map at the common origin, (size,)."""

    u: np.ndarray
    i: np.ndarray


class Flow(NamedTuple):
    """From one origin to the next: a step of so many ms, and what is left of u, of i, and comes to u of i."""

    tau_u: float
    tau_i: float
    step: float
    u: float
    i: float
    u_of_i: float


@leaf
def flow_between(tau_u, tau_i):
    """The Flow of these time constants."""
    step = origin_step(tau_u, tau_i)
    return Flow(tau_u, tau_i, step, decay(step, tau_u), decay(step, tau_i), psp(step, tau_u, tau_i))


@leaf
def first_origin(kicks, flow):
    """Number of the origin before the first kick; 0 of none."""
    return int(math.floor(kicks.times[0] / flow.step)) if kicks.times.size else 0


@leaf
def advance(kicks, e, at, t, place, traces, flow):
    """Put the kicks before t, from number e on, into the traces, and these to the last origin before t.

    Returns the number of the next kick and that of the origin.
    """
    while True:
        more = e < kicks.times.size and kicks.times[e] < t
        time = kicks.times[e] if more else t
        goal = int(math.floor(time / flow.step))
        while at < goal:
            for j in range(traces.u.size):
                traces.u[j] = traces.u[j] * flow.u + traces.i[j] * flow.u_of_i
                traces.i[j] *= flow.i
            at += 1
        if not more:
            return e, at
        x = time - at * flow.step
        j = place[kicks.neurons[e]]
        traces.u[j] += kicks.sizes[e] * psp(-x, flow.tau_u, flow.tau_i)
        traces.i[j] += kicks.sizes[e] * math.exp(x / flow.tau_i)
        e += 1


@leaf
def _add_window(factor_u, factor_i, traces, start, windows, row):
    u, i = traces
    for r in range(windows.runs):
        a = start + r * windows.stride
        b = r * windows.length
        for j in range(windows.length):
            row[b + j] += factor_u * u[a + j] + factor_i * i[a + j]


@leaf
def add_potentials(kicks, reads, row_of, windows, traces, flow, rows):
    """Add to a row, for each read, its size times the potentials of the neuron's window.

    kicks : of the map that is looked at; reads : Kicks of the neurons that look; row_of : (n,), their rows
    traces : scratch; rows : (m, runs length), added to
    """
    traces.u[:] = 0.0
    traces.i[:] = 0.0
    e, at = 0, first_origin(kicks, flow)
    for q in range(reads.times.size):
        t, n = reads.times[q], reads.neurons[q]
        e, at = advance(kicks, e, at, t, windows.place, traces, flow)
        if e == 0:
            continue
        y = t - at * flow.step
        size = reads.sizes[q]
        _add_window(
            size * decay(y, flow.tau_u), size * psp(y, flow.tau_u, flow.tau_i), traces, windows.start[n], windows,
            rows[row_of[n]],
        )  # fmt: skip


@leaf
def _sum_window(of_u, of_i, traces, start, windows, weights, parts):
    """Sum of weight times (of_u u + of_i i) in a fixed order; parts : (length,), scratch.

    Sums over runs for each place of a run first: these are independent of each other, so that they are vectorised.
    """
    u, i = traces
    length = windows.length
    for j in range(length):
        parts[j] = 0.0
    for r in range(windows.runs):
        at = start + r * windows.stride
        w = r * length
        for j in range(length):
            parts[j] += weights[w + j] * (of_u * u[at + j] + of_i * i[at + j])
    whole = length // 4 * 4
    a = b = c = d = 0.0
    for j in range(0, whole, 4):
        a += parts[j]
        b += parts[j + 1]
        c += parts[j + 2]
        d += parts[j + 3]
    for j in range(whole, length):
        a += parts[j]
    return (a + b) + (c + d)


@leaf
def sum_windows(kicks, reads, weights, windows, traces, flow, by_u, by_i, parts, values):
    """Weighted sums over the window of each read: of by_u times the potentials plus by_i times the currents.

    kicks, reads, windows, traces : as ``add_potentials``; weights : (kinds, runs length); parts : (length,), scratch;
    values : (n_reads,), written
    """
    traces.u[:] = 0.0
    traces.i[:] = 0.0
    e, at = 0, first_origin(kicks, flow)
    for q in range(reads.times.size):
        t, n = reads.times[q], reads.neurons[q]
        e, at = advance(kicks, e, at, t, windows.place, traces, flow)
        if e == 0:
            values[q] = 0.0
            continue
        y = t - at * flow.step
        of_u = by_u * decay(y, flow.tau_u)
        of_i = by_u * psp(y, flow.tau_u, flow.tau_i) + by_i * decay(y, flow.tau_i)
        values[q] = _sum_window(of_u, of_i, traces, windows.start[n], windows, weights[windows.kind[n]], parts)
