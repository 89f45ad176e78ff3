"""Data sets that are formulas: no files, the same numbers everywhere.

Yin-Yang uses numpy's legacy generator in the published order, so that it gives the published arrays bit for bit. The
others use ``numpy.random.Generator(PCG64)``, in the order that each docstring states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.types import SpikeBatch, SpikeTrains

Floats = NDArray[np.float64]
_RADIUS, _DOT = 0.5, 0.1


def yin_yang(size: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Points of the Yin-Yang set (Kriener, Goeltz and Petrovici 2022): (size, 4) of (x, y, 1 - x, 1 - y), and classes.

    Classes: 0 and 1 the two halves, 2 the dots. Draw order: for each sample its class, then points of the square until
    one lies in the disc and in that class. Seeds of the published arrays: 42 training, 41 validation, 40 test.
    """
    rng = np.random.RandomState(seed)
    samples, classes = np.empty((size, 4)), np.empty(size, np.int64)
    for k in range(size):
        goal = rng.randint(3)
        while True:
            x, y = rng.rand(2) * 2.0 * _RADIUS
            if np.sqrt((x - _RADIUS) ** 2 + (y - _RADIUS) ** 2) <= _RADIUS and _yin_yang_class(x, y) == goal:
                break
        samples[k] = x, y, 1.0 - x, 1.0 - y
        classes[k] = goal
    return samples, classes


def _yin_yang_class(x: float, y: float) -> int:
    right = np.sqrt((x - 1.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2)
    left = np.sqrt((x - 0.5 * _RADIUS) ** 2 + (y - _RADIUS) ** 2)
    if right < _DOT or left < _DOT:
        return 2
    yin = right <= _DOT or _DOT < left <= 0.5 * _RADIUS or (y > _RADIUS and right > 0.5 * _RADIUS)
    return int(yin)


def randman(
    classes: int = 10,
    units: int = 20,
    dimension: int = 1,
    alpha: float = 3.0,
    spikes_per_unit: int = 1,
    samples_per_class: int = 1000,
    duration: float = 100.0,
    jitter: float = 0.0,
    seed: int = 0,
) -> tuple[SpikeBatch, NDArray[np.int64]]:
    """Spike times on random smooth manifolds (Zenke and Vogels 2021), in continuous time.

    Every unit spikes ``spikes_per_unit`` times in every sample, so that counts tell nothing. Each class, and each of a
    unit's spikes, has a manifold of its own: with x uniform in the ``dimension``-dimensional cube,

        y_j(x) = prod_a sum_i theta0_jai/(i + 1)^alpha sin(2 pi (i x_a theta1_jai + theta2_jai)),    theta uniform,

    without the terms i = 0, scaled to [0, 1] over the class's samples, times ``duration``. A larger alpha is smoother.
    jitter : ms, sd of normal noise on every time (clipped into the sample). Samples are shuffled.
    Draw order: for each class and spike theta0, theta1, theta2; then for each class x; then the jitter; then the order.
    """
    rng = np.random.default_rng(seed)
    terms = min(int(np.ceil(1e-3 ** (-1.0 / alpha))), 1000)
    thetas = rng.random((classes, spikes_per_unit, 3, units, dimension, terms))
    thetas[:, :, 0, :, :, 0] = 0.0
    scale = 1.0 / np.arange(1, terms + 1) ** alpha
    times = np.empty((classes, samples_per_class, spikes_per_unit, units))
    for c in range(classes):
        x = rng.random((samples_per_class, dimension))
        for s in range(spikes_per_unit):
            size, frequency, phase = thetas[c, s]
            y = np.ones((samples_per_class, units))
            for a in range(dimension):
                angle = np.arange(terms) * x[:, a, None, None] * frequency[None, :, a] + phase[None, :, a]
                y *= np.einsum("ni,kni->kn", size[:, a] * scale, np.sin(2.0 * np.pi * angle))
            low, high = y.min(axis=0), y.max(axis=0)
            times[c, :, s] = (y - low) / (high - low + 1e-7) * duration
    if jitter > 0.0:
        times = np.clip(times + rng.normal(0.0, jitter, times.shape), 0.0, duration)
    labels = np.repeat(np.arange(classes), samples_per_class)
    order = rng.permutation(labels.size)
    flat = times.reshape(labels.size, spikes_per_unit * units)[order]
    unit = np.tile(np.arange(units), spikes_per_unit)
    return _batch([(t, unit) for t in flat], units), labels[order]


def temporal_xor(
    size: int = 1000,
    copies: int = 4,
    early: tuple[float, float] = (5.0, 15.0),
    gap: float = 30.0,
    noise: float = 1.0,
    seed: int = 0,
) -> tuple[SpikeBatch, NDArray[np.int64]]:
    """Two pulses, each early or late within its own window; the class is early(A) xor early(B).

    Units 0 ... copies - 1 carry pulse A, the next ``copies`` pulse B, the last one a spike at 0 as a reference. A pulse
    is early at ``early[0]`` or late at ``early[1]`` ms, B's window begins ``gap`` ms after A's, and each copy has normal
    noise of sd ``noise`` ms (times are kept >= 0). Classes are drawn evenly. What A was must be remembered for ``gap``.
    Draw order: for all samples both choices, then the noise.
    """
    rng = np.random.default_rng(seed)
    late = rng.integers(0, 2, (size, 2))
    centre = np.asarray(early)[late] + np.array([0.0, gap])
    times = np.maximum(np.repeat(centre, copies, axis=1) + rng.normal(0.0, noise, (size, 2 * copies)), 0.0)
    unit = np.arange(2 * copies + 1)
    return _batch([(np.append(t, 0.0), unit) for t in times], unit.size), late[:, 0] ^ late[:, 1]


def spike_patterns(
    classes: int = 3,
    inputs: int = 100,
    rate: float = 10.0,
    duration: float = 100.0,
    outputs: int = 1,
    target_spikes: int = 3,
    jitter: float = 1.0,
    samples_per_class: int = 100,
    seed: int = 0,
) -> tuple[SpikeBatch, NDArray[np.int64], SpikeBatch]:
    """Frozen Poisson patterns, each to be answered with an output train of its own: spikes, classes, target trains.

    Every class is one realisation of ``inputs`` Poisson trains of ``rate`` Hz; a sample is that pattern with normal
    noise of sd ``jitter`` ms on each spike (kept within the sample). The targets, one sample per class, have
    ``target_spikes`` times per output neuron, uniform over the last three quarters, at least 5 ms apart. All classes have
    the same number of target spikes: a loss of counts cannot tell them.
    Draw order: for each class counts, times and targets; then for each sample, class after class, the jitter.
    """
    rng = np.random.default_rng(seed)
    patterns, wanted = [], []
    for _ in range(classes):
        neurons = np.repeat(np.arange(inputs), rng.poisson(rate * duration / 1000.0, inputs))
        patterns.append((rng.uniform(0.0, duration, neurons.size), neurons))
        room = 0.75 * duration - 5.0 * (target_spikes - 1)
        if room <= 0:
            raise ValueError(f"{target_spikes} target spikes at least 5 ms apart do not fit into {0.75 * duration} ms.")
        free = np.sort(rng.uniform(0.0, room, (outputs, target_spikes)), axis=1)
        times = 0.25 * duration + free + 5.0 * np.arange(target_spikes)
        wanted.append((times.ravel(), np.repeat(np.arange(outputs), target_spikes)))
    labels = np.tile(np.arange(classes), samples_per_class)
    samples = []
    for c in labels:
        times, neurons = patterns[c]
        moved = times + rng.normal(0.0, jitter, times.size)
        samples.append((np.clip(moved, 0.0, np.nextafter(duration, 0.0)), neurons))
    return _batch(samples, inputs), labels, _batch(wanted, outputs)


def _batch(samples: list[tuple[Any, Any]], size: int) -> SpikeBatch:
    return SpikeBatch.from_trains([SpikeTrains(t, n, size) for t, n in samples])
