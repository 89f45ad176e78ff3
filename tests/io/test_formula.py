"""evsim.io.formula: against the published files, against slow twins, and against checksums of their own."""

import hashlib
import io
from collections import Counter
from math import ceil, pi, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.io import formula
from evsim.io.formula import randman, spike_patterns, temporal_xor, yin_yang

PUBLISHED = {  # (size, seed): sha256 of the published samples.npy and labels.npy
    (5000, 42): (
        "88ce43d8e7620b4dcd0712a582882325e609183eb71f2368cce8e87930e122d5",
        "d38863599b41c3d67d5e606b21c3ea10f7956758471e946adcb120c4e5ae31c9",
    ),
    (1000, 41): (
        "88f7e23daf578da390fe3ca10370d38fdb6060a08249ecb1be832e3e6cce75d3",
        "abd956deb8e62f528a271d323c7498e6d331cd261f143b539b1219d274936008",
    ),
    (1000, 40): (
        "1559e64b45a5e28df8a9d1158d891383d5745b0af2edbbca31ca4e2faeb95b4c",
        "b4337aa983ea3928d1d8ee78268e8e266ede6ca3a401ade7b02eb47c9d90be93",
    ),
}


def rows(spikes):
    """Each sample as {unit: its times}."""
    return [{n: s.times[s.neurons == n].tolist() for n in range(s.size)} for s in spikes.x]


def checksums(batch):
    """Two sums that a change of any time, neuron or order would alter."""
    return [
        float(batch.times @ (batch.neurons + 1.0)),
        float(batch.times @ (np.arange(batch.times.size) % 101)),
    ]


# --- Yin-Yang ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PUBLISHED)
def test_yin_yang_saved_gives_the_published_files_byte_for_byte(part):
    digests = []
    for array in yin_yang(*part):
        file = io.BytesIO()
        np.save(file, array)
        digests.append(hashlib.sha256(file.getvalue()).hexdigest())
    assert tuple(digests) == PUBLISHED[part]


def test_yin_yang_halves_change_places_under_point_reflection_and_have_their_areas():
    side = (np.arange(400) + 0.5) / 400
    found = Counter()
    for x in side:
        for y in side[(side - 0.5) ** 2 <= 0.25 - (x - 0.5) ** 2]:
            kind = formula._yin_yang_class(x, y)
            found[kind] += 1
            assert formula._yin_yang_class(1.0 - x, 1.0 - y) == (2 if kind == 2 else 1 - kind)
    # Two dots of a fifth of the radius: 8 % of the disc.
    assert found[2] / found.total() == pytest.approx(0.08, abs=1e-3)
    assert found[0] == found[1]


def test_yin_yang_leaves_the_global_generator_alone():
    before = np.random.get_state()  # noqa: NPY002
    yin_yang(20, 1)
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# --- randman ----------------------------------------------------------------------------------------------


def randman_slowly(classes, units, dimension, alpha, spikes, samples, duration, jitter, seed):
    """The docstring's formula and draw order, number by number; times[class][sample][spike][unit]."""
    draw = np.random.default_rng(seed)
    terms = min(ceil(1000 ** (1 / alpha)), 1000)
    theta = {}
    for c in range(classes):
        for s in range(spikes):
            for kind in range(3):
                for j in range(units):
                    for a in range(dimension):
                        for i in range(terms):
                            theta[c, s, kind, j, a, i] = draw.random()

    def coordinate(c, s, j, x):
        product = 1.0
        for a in range(dimension):
            total = 0.0
            for i in range(1, terms):
                size, frequency, phase = (theta[c, s, kind, j, a, i] for kind in range(3))
                total += size / (i + 1) ** alpha * sin(2 * pi * (i * x[a] * frequency + phase))
            product *= total
        return product

    times = np.empty((classes, samples, spikes, units))
    for c in range(classes):
        x = [[draw.random() for _ in range(dimension)] for _ in range(samples)]
        for s in range(spikes):
            for j in range(units):
                y = [coordinate(c, s, j, point) for point in x]
                times[c, :, s, j] = [(v - min(y)) / (max(y) - min(y) + 1e-7) * duration for v in y]
    if jitter:
        for place in np.ndindex(times.shape):
            t = times[place] + draw.normal(0.0, jitter)
            t = -t if t < 0 else t
            times[place] = 2 * duration - t if t > duration else t
    return times


@pytest.mark.parametrize("jitter", [0.0, 2.0])
@pytest.mark.parametrize(("dimension", "alpha", "spikes"), [(1, 3.0, 1), (2, 2.0, 2), (3, 1.5, 1)])
def test_randman_is_its_formula(dimension, alpha, spikes, jitter):
    made = randman(
        classes=2, units=3, dimension=dimension, alpha=alpha, spikes_per_unit=spikes, samples_per_class=4,
        duration=50.0, jitter=jitter, seed=5,
    )  # fmt: skip
    expected = randman_slowly(2, 3, dimension, alpha, spikes, 4, 50.0, jitter, 5)
    for k, sample in enumerate(rows(made)):
        for unit in range(3):
            wanted = np.sort(expected[k % 2, k // 2, :, unit])
            np.testing.assert_allclose(sample[unit], wanted, rtol=0, atol=1e-10)
    assert made.y.tolist() == [0, 1] * 4


@pytest.mark.parametrize("spikes", [1, 3])
def test_randman_counts_tell_nothing_and_every_unit_fills_the_sample(spikes):
    made = randman(classes=3, units=5, spikes_per_unit=spikes, samples_per_class=30, duration=80.0)
    assert np.all(made.x.counts() == spikes)
    if spikes == 1:
        for c in range(3):
            times = np.array([list(sample.values()) for sample in rows(made)])[made.y == c, :, 0]
            assert np.all(times.min(axis=0) == 0.0)
            assert np.all(np.abs(times.max(axis=0) - 80.0) < 1e-3)


def test_randman_samples_lie_on_curves_that_alpha_smooths():
    """With one dimension the nearest other sample is near; the rougher the curve, the farther."""
    distance = []
    for alpha in (3.0, 1.0):
        made = randman(classes=1, units=10, alpha=alpha, samples_per_class=200)
        points = made.x.times[np.lexsort((made.x.neurons, np.repeat(np.arange(200), 10)))].reshape(200, 10)
        apart = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(200, np.inf))
        distance.append(np.median(apart.min(axis=1)))
    assert distance[0] < 0.2 * distance[1]


# --- temporal XOR -----------------------------------------------------------------------------------------


def test_xor_without_noise_is_told_by_both_pulses_and_by_no_single_one():
    made = temporal_xor(samples_per_case=3, copies=2, window=16.0, gap=7.0, noise=0.0)
    assert made.duration == 39.0
    table = Counter()
    for sample, label in zip(rows(made), made.y):
        assert sample[0] == sample[1] and sample[2] == sample[3] and sample[4] == [0.0]
        table[sample[0][0], sample[2][0], int(label)] += 1
    early, late = 4.0, 12.0
    assert table == {
        (early, early + 23.0, 0): 3,
        (early, late + 23.0, 1): 3,
        (late, early + 23.0, 1): 3,
        (late, late + 23.0, 0): 3,
    }


def test_xor_noise_is_normal_and_stays_within_its_window():
    made = temporal_xor(samples_per_case=2000, copies=1, noise=1.5, seed=3)
    quiet = temporal_xor(samples_per_case=2000, copies=1, noise=0.0)
    noise = np.array([[s[u][0] - q[u][0] for u in (0, 1)] for s, q in zip(rows(made), rows(quiet))])
    assert abs(noise.mean()) < 4 * 1.5 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(1.5, rel=4 / np.sqrt(2 * noise.size))
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / np.sqrt(len(noise))
    wild = temporal_xor(copies=1, window=20.0, gap=10.0, noise=30.0)
    for sample in rows(wild):
        assert 0.0 <= sample[0][0] <= 20.0 and 30.0 <= sample[1][0] <= 50.0


# --- spike patterns ---------------------------------------------------------------------------------------


def test_patterns_without_jitter_are_frozen_and_their_counts_are_poisson():
    made = spike_patterns(classes=4, inputs=500, rate=20.0, duration=200.0, jitter=0.0, samples_per_class=2)
    for c in range(4):
        assert np.array_equal(made.x.sample(c).times, made.x.sample(c + 4).times)
        assert np.array_equal(made.x.sample(c).neurons, made.x.sample(c + 4).neurons)
    counts = made.x.counts()[:4].ravel()  # mean and variance 20 Hz x 0.2 s = 4
    assert counts.mean() == pytest.approx(4.0, abs=4 * np.sqrt(4.0 / counts.size))
    assert counts.var() == pytest.approx(4.0, rel=0.15)
    assert not np.array_equal(made.x.sample(0).times, made.x.sample(1).times)


def test_pattern_jitter_moves_every_spike_a_little_and_loses_none():
    frozen, moved = (spike_patterns(jitter=j, samples_per_class=5, rate=5.0, seed=2) for j in (0.0, 0.2))
    assert np.array_equal(frozen.x.counts(), moved.x.counts())
    shift = np.concatenate(
        [np.subtract(m[n], f[n]) for m, f in zip(rows(moved), rows(frozen)) for n in range(100) if len(f[n]) == 1]
    )
    assert shift.std() == pytest.approx(0.2, rel=4 / np.sqrt(2 * shift.size))
    assert len(set(shift)) == shift.size


def test_targets_are_one_train_per_class_and_output_with_their_gaps():
    made = spike_patterns(classes=50, outputs=2, target_spikes=4, min_gap=8.0, duration=120.0, samples_per_class=2)
    assert (len(made.targets), made.targets.size) == (50, 2)
    assert np.all(made.targets.counts() == 4)
    times = np.array([[target.of(n) for n in (0, 1)] for target in made.targets])
    assert times.min() >= 30.0 and times.max() <= 120.0
    assert np.diff(times, axis=2).min() >= 8.0
    # Uniform among the trains allowed: the k-th of 4 ordered times fills (k + 1)/5 of the 66 ms that the gaps leave.
    expected = 30.0 + 66.0 * np.arange(1, 5) / 5 + 8.0 * np.arange(4)
    assert np.all(np.abs(times.mean(axis=(0, 1)) - expected) < 4 * 66.0 * 0.2 / np.sqrt(100))


# --- all of them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "size", "weighted", "ordered"),
    [
        (randman, 200_000, 102957711.01787734, 490601527.95041823),
        (temporal_xor, 9_000, 1140131.1696831058, 9987608.387723308),
        (spike_patterns, 32_900, 85326673.16013202, 84613893.71009073),
    ],
)
def test_the_default_samples_never_change(make, size, weighted, ordered):
    """Made here with numpy 2.4; if this fails, numpy's stream or our formula has changed, and results with it."""
    made = make()
    assert made.x.times.size == size
    assert checksums(made.x) == pytest.approx([weighted, ordered], rel=1e-11)


def test_the_default_targets_never_change():
    targets = spike_patterns().targets
    assert checksums(targets) == pytest.approx([454.7833583541653, 1976.1601346485668], rel=1e-11)


@pytest.mark.parametrize("make", [randman, temporal_xor, spike_patterns])
def test_every_round_of_samples_holds_every_case_once(make):
    made = make()
    labels = made.y.reshape(-1, made.cases)
    assert np.all(labels == labels[0])
    assert len(set(np.bincount(labels[0]))) == 1
    assert made.y.dtype == np.int64
    assert 0.0 <= made.x.times.min() and made.x.times.max() <= made.duration


@pytest.mark.parametrize("make", [randman, temporal_xor, spike_patterns])
def test_the_seed_decides(make):
    first, again, other = make(seed=4), make(seed=4), make(seed=5)
    assert np.array_equal(first.x.times, again.x.times)
    assert not np.array_equal(first.x.times[:20], other.x.times[:20])


@given(st.floats(-1e3, 1e3), st.floats(0.1, 100.0))
def test_reflected_times_lie_inside_and_inner_times_stay(t, end):
    (turned,) = formula._reflected(np.array([t]), end)
    assert 0.0 <= turned <= end
    if 0.0 <= t <= end:
        assert turned == t
    elif -end <= t < 0.0:
        assert turned == pytest.approx(-t, abs=1e-12)
    elif end < t <= 2 * end:
        assert turned == pytest.approx(2 * end - t, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (randman, {"classes": 0}, "classes must be an integer of at least 1; got 0"),
        (randman, {"units": 2.5}, "units must be an integer"),
        (randman, {"alpha": 0.0}, "alpha must be finite and > 0"),
        (randman, {"jitter": -1.0}, "jitter must be finite and >= 0"),
        (temporal_xor, {"window": float("nan")}, "window must be finite and > 0"),
        (temporal_xor, {"gap": -1.0}, "gap must be finite and >= 0"),
        (spike_patterns, {"rate": float("inf")}, "rate must be finite and > 0"),
        (spike_patterns, {"target_spikes": 20}, "20 target spikes 5.0 ms apart do not fit into 75.0 ms"),
    ],
)
def test_parameters_out_of_range_are_named(make, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(**wrong)
