"""Data sets that are formulas: no files, no global random state, the same samples for the same parameters.

Yin-Yang uses numpy's legacy generator, which is frozen, in the published order: it gives the published arrays bit for
bit. The others draw from ``numpy.random.default_rng(seed)`` (PCG64) in the order that each docstring states. Numpy does
not promise that stream for ever, but a test holds checksums of all of them. Sines may differ in their last bit
from one processor to another, so randman's times are the same to about 1e-12 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evsim import streams
from evsim.errors import InputError
from evsim.spikes import SpikeBatch
from evsim.types import Floats

_RADIUS, _DOT = 0.5, 0.1


@dataclass(frozen=True, eq=False)
class Spikes:
    """Labelled samples that are spikes.

    x : n samples; y : (n,) int64, their classes
    duration : of each sample, ms; all times lie in [0, duration]
    cases : samples 0 ... cases - 1 hold every case once, and so does each further round of ``cases`` samples
    targets : wanted output trains, one sample per class, or None
    """

    x: SpikeBatch
    y: NDArray[np.int64]
    duration: float
    cases: int
    targets: SpikeBatch | None = None


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
    *,
    classes: int = 10,
    units: int = 20,
    dimension: int = 1,
    alpha: float = 3.0,
    spikes_per_unit: int = 1,
    samples_per_class: int = 1000,
    duration: float = 100.0,
    jitter: float = 0.0,
    seed: int = 0,
) -> Spikes:
    """Spike times on random smooth manifolds (Zenke and Vogels 2021), in continuous time.

    Every unit spikes ``spikes_per_unit`` times in every sample, so that counts tell nothing. Each class, and each of a
    unit's spikes, has a manifold of its own: with x uniform in the ``dimension``-dimensional cube,

        y_j(x) = prod_a sum_i theta0_jai/(i + 1)^alpha sin(2 pi (i x_a theta1_jai + theta2_jai)),

    theta uniform in [0, 1), i = 1 ... ceil(1000^(1/alpha)) - 1 (at most 999), scaled to [0, 1] over the class's
    samples, times ``duration``. A larger alpha is smoother.

    jitter : ms, sd of normal noise on each time (reflected at 0 and ``duration``)

    Sample k is of class k modulo ``classes``. Draw order: for each class and spike theta0, theta1, theta2, each by
    unit, dimension and i from 0; then for each class x by sample; then, if there is any, the jitter by class, sample,
    spike and unit.
    """
    _whole(classes=classes, units=units, dimension=dimension, spikes_per_unit=spikes_per_unit)
    _whole(samples_per_class=samples_per_class)
    _positive(alpha=alpha, duration=duration)
    _not_negative(jitter=jitter)
    rng = streams.rng("data set", seed)
    terms = 1000 if alpha <= 1.0 else int(np.ceil(1e-3 ** (-1.0 / alpha)))
    thetas = rng.random((classes, spikes_per_unit, 3, units, dimension, terms))
    times = np.empty((classes, samples_per_class, spikes_per_unit, units))
    for c in range(classes):
        x = rng.random((samples_per_class, dimension))
        for s in range(spikes_per_unit):
            y = _manifold(x, thetas[c, s], alpha)
            low, high = y.min(axis=0), y.max(axis=0)
            times[c, :, s] = (y - low) / (high - low + 1e-7) * duration
    if jitter > 0.0:
        times = _reflected(times + rng.normal(0.0, jitter, times.shape), duration)
    times = times.swapaxes(0, 1)
    sample, unit = np.arange(classes * samples_per_class).reshape(samples_per_class, classes, 1, 1), np.arange(units)
    x_all = _batch(times, unit, sample, classes * samples_per_class, units)
    return Spikes(x_all, np.tile(np.arange(classes), samples_per_class), duration, classes)


def _manifold(x: Floats, theta: Floats, alpha: float) -> Floats:
    """Coordinates (samples, units) of the points x (samples, dimension); theta : (3, units, dimension, terms)."""
    size, frequency, phase = theta
    y = np.ones((len(x), len(size)))
    for a in range(x.shape[1]):
        factor = np.zeros_like(y)
        # Term 0 would be a constant; the authors leave it out unless asked for. One term after another: the sum's
        # order, and with it the last bits, do not hang on how numpy adds up.
        for i in range(1, size.shape[2]):
            angle = i * x[:, a, None] * frequency[:, a, i] + phase[:, a, i]
            factor += size[:, a, i] / (i + 1.0) ** alpha * np.sin(2.0 * np.pi * angle)
        y *= factor
    return y


def temporal_xor(
    *,
    samples_per_case: int = 250,
    copies: int = 4,
    window: float = 20.0,
    gap: float = 10.0,
    noise: float = 1.0,
    seed: int = 0,
) -> Spikes:
    """Two pulses, each early or late within its own window; the class is early(A) xor early(B).

    Units 0 ... copies - 1 carry pulse A, the next ``copies`` pulse B; the last one spikes at 0 as a reference. A's
    window is [0, window], B's [window + gap, 2 window + gap], which ends the sample; a pulse is early at a quarter of
    its window or late at three quarters. A must be remembered over the gap, and neither pulse alone tells anything.

    window, gap : ms
    noise : ms, sd of normal noise on each copy (reflected at the window's borders); the class is that of the choice
        without noise

    Sample k has A late if k modulo 4 is 2 or 3, and B late if it is 1 or 3. Draw order: the noise by sample, then unit.
    """
    _whole(samples_per_case=samples_per_case, copies=copies)
    _positive(window=window)
    _not_negative(gap=gap, noise=noise)
    rng = streams.rng("data set", seed)
    late = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (samples_per_case, 1))
    n = len(late)
    centre = np.repeat((0.25 + 0.5 * late) * window, copies, axis=1)
    pulses = _reflected(centre + rng.normal(0.0, noise, centre.shape), window)
    pulses[:, copies:] += window + gap
    times = np.hstack([pulses, np.zeros((n, 1))])
    x = _batch(times, np.arange(2 * copies + 1), np.arange(n)[:, None], n, 2 * copies + 1)
    return Spikes(x, (late[:, 0] ^ late[:, 1]).astype(np.int64), 2.0 * window + gap, cases=4)


def spike_patterns(
    *,
    classes: int = 3,
    inputs: int = 100,
    rate: float = 10.0,
    duration: float = 100.0,
    outputs: int = 1,
    target_spikes: int = 3,
    min_gap: float = 5.0,
    jitter: float = 1.0,
    samples_per_class: int = 100,
    seed: int = 0,
) -> Spikes:
    """Frozen Poisson patterns, each to be answered with an output train of its own.

    Every class is one realisation of ``inputs`` Poisson trains of ``rate`` Hz; a sample is that pattern with normal
    noise of sd ``jitter`` ms on each spike (reflected at 0 and ``duration``). The targets have ``target_spikes`` times
    per output neuron, uniform over the last three quarters of the sample among those at least ``min_gap`` ms apart. All
    classes have equally many of them, so that a loss of counts cannot tell them.

    Sample k is of class k modulo ``classes``. Draw order: for each class the counts by input, the times input after
    input, and the targets by output; then the jitter by sample and spike.
    """
    _whole(classes=classes, inputs=inputs, outputs=outputs, target_spikes=target_spikes)
    _whole(samples_per_class=samples_per_class)
    _positive(rate=rate, duration=duration)
    _not_negative(min_gap=min_gap, jitter=jitter)
    room = 0.75 * duration - min_gap * (target_spikes - 1)
    if room <= 0:
        raise InputError(
            f"{target_spikes} target spikes {min_gap} ms apart do not fit into {0.75 * duration} ms, the last three "
            "quarters of duration. Ask for fewer, or a smaller min_gap."
        )
    rng = streams.rng("data set", seed)
    times, neurons, wanted = [], [], []
    for _ in range(classes):
        neurons.append(np.repeat(np.arange(inputs), rng.poisson(rate * duration / 1000.0, inputs)))
        times.append(rng.uniform(0.0, duration, neurons[-1].size))
        # Sorted uniform times in what the gaps leave, pushed apart by the gaps, are uniform among those allowed.
        free = np.sort(rng.uniform(0.0, room, (outputs, target_spikes)), axis=1)
        wanted.append(0.25 * duration + free + min_gap * np.arange(target_spikes))
    pattern, n = np.concatenate(times), classes * samples_per_class
    moved = _reflected(pattern + rng.normal(0.0, jitter, (samples_per_class, pattern.size)), duration)
    sample = np.repeat(np.arange(classes), [len(t) for t in times]) + classes * np.arange(samples_per_class)[:, None]
    x = _batch(moved, np.concatenate(neurons), sample, n, inputs)
    targets = _batch(wanted, np.arange(outputs)[:, None], np.arange(classes)[:, None, None], classes, outputs)
    return Spikes(x, np.tile(np.arange(classes), samples_per_class), duration, classes, targets)


def _reflected(times: Floats, end: float) -> Floats:
    """Times that left [0, end], mirrored back at its borders; cutting them off there would make them simultaneous."""
    turned = np.mod(times, 2.0 * end)
    return np.where(turned <= end, turned, 2.0 * end - turned)


def _batch(times: ArrayLike, neurons: ArrayLike, sample: ArrayLike, n: int, size: int) -> SpikeBatch:
    """Spikes in any order, n samples; the arrays are broadcast against each other."""
    t, i, k = (a.ravel() for a in np.broadcast_arrays(times, neurons, sample))
    order = np.lexsort((i, t, k))
    return SpikeBatch.owning(t[order], i[order], np.searchsorted(k[order], np.arange(n + 1)), size)


def _whole(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(f"{name} must be an integer of at least 1; got {value!r}.")


def _positive(**values: Any) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} must be finite and > 0; got {value!r}.")


def _not_negative(**values: Any) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be finite and >= 0; got {value!r}.")
