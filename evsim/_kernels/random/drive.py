"""Poisson drive in continuous time: every neuron of a block has an independent process of its own.

A pooled process whose events pick their neuron at random is the same thing. Within a cell [t0, t1) the number of
events is Poisson distributed and their times are independent and uniform; all of it is a hash of (stream, cell,
number of the event), so any cell can be drawn by itself, at any time, by any thread.
"""

import math

import numpy as np

from ..jit import formula, leaf
from .poisson import mix64

_STEP = np.uint64(0x9E3779B97F4A7C15)
_ROOM = np.uint64(24)
"""Bits for the number of an event within its cell: 16 million events a block and cell."""

_LOW = np.uint64(0xFFFFFFFF)
_12, _32 = np.uint64(12), np.uint64(32)
_UNIT = 1.0 / 4503599627370496.0

MOST = 2**23
"""More events than this in one cell of a block do not fit the counter."""


@formula
def _hash(stream, counter):
    return mix64(stream + counter * _STEP)


@formula
def unit(stream, counter):
    """A number in (0, 1) from the hash of a counter."""
    return (np.float64(_hash(stream, counter) >> _12) + 0.5) * _UNIT


@leaf
def poisson_count(mean, stream, first):
    """A Poisson number: inversion below 10, above it the transformed rejection PTRS (Hormann 1993).

    Draws from the counters ``first``, ``first + 1``, ... of ``stream``.
    """
    draw = first
    one = np.uint64(1)
    if mean <= 0.0:
        return 0
    if mean < 10.0:
        left = unit(stream, draw)
        k = 0
        p = math.exp(-mean)
        while left > p and k < 1000:
            left -= p
            k += 1
            p *= mean / k
        return k
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = unit(stream, draw) - 0.5
        v = unit(stream, draw + one)
        draw += one + one
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return int(k)
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= (
            k * math.log(mean) - mean - math.lgamma(k + 1.0)
        ):
            return int(k)


@leaf
def drive_cell(streams, cell, mean, first, width, threshold, alias, times, targets, t0, t1):
    """Events of a block in the cell [t0, t1): unordered times after t0, and neurons ``first`` + (0 ... width - 1).

    streams : (3,) uint64, of counts, times, targets; cell : number of the cell; mean : expected number
    threshold, alias : Vose's table where rates differ, empty where they do not
    times, targets : written. Returns how many there are; where they do not fit nothing is written.
    """
    base = np.uint64(cell) << _ROOM
    n = poisson_count(mean, streams[0], base)
    if n > times.size:
        return n
    h = t1 - t0
    # The last number below h that a clock at t1 can tell from it.
    latest = h - np.spacing(t1)
    for k in range(n):
        x = t0 + h * (np.float64(_hash(streams[1], base + np.uint64(k)) >> _12) * _UNIT)
        times[k] = min(x - t0, latest)
    wide = np.uint64(width)
    if threshold.size == 0:
        for k in range(n // 2):
            z = _hash(streams[2], base + np.uint64(k))
            targets[2 * k] = first + np.int64((z >> _32) * wide >> _32)
            targets[2 * k + 1] = first + np.int64((z & _LOW) * wide >> _32)
        if n % 2 == 1:
            z = _hash(streams[2], base + np.uint64(n // 2))
            targets[n - 1] = first + np.int64((z >> _32) * wide >> _32)
    else:
        for k in range(n):
            z = _hash(streams[2], base + np.uint64(k))
            j = np.int64((z >> _32) * wide >> _32)
            if np.float64(z & _LOW) * (1.0 / 4294967296.0) >= threshold[j]:
                j = alias[j]
            targets[k] = first + j
    return n


@leaf
def thin(stream, cell, share, accepted):
    """accepted[k] : event k of a cell stays, with probability share[k]."""
    base = np.uint64(cell) << _ROOM
    for k in range(share.size):
        accepted[k] = unit(stream, base + np.uint64(k)) < share[k]
