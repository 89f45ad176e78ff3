"""evsim.learning.losses: values and derivatives against formulas written anew, with loops, integrals and 50 digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim.learning.layers.readout import Voltages
from evsim.learning.losses import SmoothCountLoss, TargetTimes, TargetTrains, TTFSLoss, VanRossum, VoltageCrossEntropy
from evsim.learning.losses.checks import first_spikes
from evsim.spikes import SpikeBatch, SpikeTrains

N_OUT = 3


@st.composite
def batches(draw):
    """Samples of up to 9 spikes, ties between and within neurons, silent neurons and samples among them."""
    spike = st.tuples(st.integers(0, 240).map(lambda k: k / 8), st.integers(0, N_OUT - 1))
    trains = []
    for _ in range(3):
        spikes = draw(st.lists(spike, max_size=9))
        trains.append(SpikeTrains([t for t, _ in spikes], np.array([n for _, n in spikes], np.int64), N_OUT))
    return SpikeBatch.from_trains(trains)


labels = st.lists(st.integers(0, N_OUT - 1), min_size=3, max_size=3).map(np.array)


def train(*lists):
    """One sample from a list of times for each neuron."""
    neurons = np.repeat(np.arange(len(lists)), [len(x) for x in lists])
    return SpikeTrains(np.concatenate([np.array(x, float) for x in lists]), neurons, len(lists))


def spikes_of(*samples):
    return SpikeBatch.from_trains([train(*s) for s in samples])


def voltages(values):
    zero = np.zeros_like(values)
    return Voltages(values, zero, zero.astype(np.int64), zero)


@given(batches())
def test_first_spikes_are_those_of_a_plain_search(batch):
    index, times = first_spikes(batch)
    for k, n in itertools.product(range(3), range(N_OUT)):
        mine = [s for s in range(batch.offsets[k], batch.offsets[k + 1]) if batch.neurons[s] == n]
        assert index[k, n] == (mine[0] if mine else -1)
        assert times[k, n] == (batch.times[mine[0]] if mine else math.inf)


def ttfs_with_50_digits(times, label, loss):
    """The published formula and its derivative by each first spike; ``times`` maps neuron to time."""
    tau0, tau1, alpha = (mpmath.mpf(x) for x in (loss.tau0, loss.tau1, loss.alpha))
    t = {n: mpmath.mpf(x) for n, x in times.items()}
    e = {n: mpmath.exp(-x / tau0) for n, x in t.items()}
    late = mpmath.exp(t[label] / tau1)
    total = mpmath.fsum(e.values())
    slope = {n: -e[n] / total / tau0 for n in t}
    slope[label] += 1 / tau0 + alpha / tau1 * late
    return -mpmath.log(e[label] / total) + alpha * (late - 1), slope


@pytest.mark.parametrize("loss", [TTFSLoss(), TTFSLoss(2.0, 10.0, 1e-2), TTFSLoss(0.01, 6.4), TTFSLoss(missing=35.0)])
@given(batch=batches(), labels=labels)
def test_ttfs_is_the_published_formula_with_50_digits(loss, batch, labels):
    value, slope = loss(batch, labels)
    index, first = first_spikes(batch)
    wanted = np.zeros(batch.times.size)
    with mpmath.workdps(50):
        for k, label in enumerate(labels):
            times = {n: first[k, n] for n in range(N_OUT) if index[k, n] >= 0}
            if loss.missing is not None:
                times = {n: times.get(n, loss.missing) for n in range(N_OUT)}
            if label not in times:
                assert value[k] == loss.silent_loss
                continue
            v, d = ttfs_with_50_digits(times, label, loss)
            assert value[k] == pytest.approx(float(v), rel=1e-13, abs=1e-14)
            for n in d:
                if index[k, n] >= 0:
                    wanted[index[k, n]] = float(d[n])
    assert slope == pytest.approx(wanted, rel=1e-12, abs=1e-14 / loss.tau0)


def test_ttfs_of_tied_first_spikes_is_the_logarithm_of_their_number_and_pulls_alike():
    value, slope = TTFSLoss(alpha=0.0)(spikes_of([[4.0], [4.0], [4.0]]), np.array([1]))
    assert value == pytest.approx([math.log(3)], rel=1e-15)
    assert slope == pytest.approx(np.array([-1, 2, -1]) / 3 / 0.5, rel=1e-14)


def test_a_missing_right_neuron_pushes_the_others_back_only_if_it_is_given_a_time():
    batch = spikes_of([[2.0], [], [3.0]])
    assert np.all(TTFSLoss()(batch, np.array([1]))[1] == 0.0)
    assert np.all(TTFSLoss(missing=30.0)(batch, np.array([1]))[1] < 0.0)


def test_ttfs_says_when_its_exponential_overflows_and_needs_none_without_alpha():
    batch = spikes_of([[1.0], [5000.0], []])
    with pytest.raises(ValueError, match="tau1 nearer to the duration"):
        TTFSLoss()(batch, np.array([1]))
    value, slope = TTFSLoss(alpha=0.0)(batch, np.array([1]))
    assert value == pytest.approx([4999.0 / 0.5]) and slope == pytest.approx([-2.0, 2.0])


@given(batch=batches(), labels=labels, shift=st.floats(-5.0, 5.0))
def test_a_shift_of_all_first_spikes_changes_nothing_where_only_differences_matter(batch, labels, shift):
    loss = TargetTimes(correct=8.0, wrong=12.0, shift_invariant=True)
    moved = SpikeBatch(batch.times + shift, batch.neurons, batch.offsets, batch.size)
    value, slope = loss(batch, labels)
    again, slope_again = loss(moved, labels)
    assert again == pytest.approx(value, rel=1e-12, abs=1e-11) and slope_again == pytest.approx(slope, abs=1e-12)
    for k in range(3):
        assert slope[batch.offsets[k] : batch.offsets[k + 1]].sum() == pytest.approx(0.0, abs=1e-12)


def test_target_times_are_half_the_squares_and_silent_neurons_add_nothing_or_their_time():
    batch, right = spikes_of([[7.0, 8.0], [], [15.0]]), np.array([0])
    value, slope = TargetTimes(8.0, 12.0)(batch, right)
    assert value.tolist() == [0.5 * (1 + 9)] and slope.tolist() == [-1.0, 0.0, 3.0]
    value, slope = TargetTimes(8.0, 12.0, missing=20.0)(batch, right)
    assert value.tolist() == [0.5 * (1 + 9 + 64)] and slope.tolist() == [-1.0, 0.0, 3.0]


def filtered_distance(a, b, tau):
    """(1/tau) int (f - g)^2 dt of trains filtered with exp(-t/tau): exactly, from event to event."""
    total, x, last = 0.0, 0.0, 0.0
    for t, step in sorted([(t, 1.0) for t in a] + [(t, -1.0) for t in b]):
        total += x**2 * 0.5 * -math.expm1(-2.0 * (t - last) / tau)
        x = x * math.exp(-(t - last) / tau) + step
        last = t
    return total + 0.5 * x**2


TARGETS = [
    ([1.0, 9.3, 9.4, 20.0], [4.0], []),
    ([], [0.25, 11.125, 12.0], [3.0]),
    ([], [], []),
]


@given(batch=batches(), labels=labels, tau=st.sampled_from([0.3, 5.0, 80.0]))
def test_van_rossum_is_the_integral_over_filtered_trains(batch, labels, tau):
    value, _ = VanRossum(spikes_of(*TARGETS), tau)(batch, labels)
    for k, label in enumerate(labels):
        wanted = sum(filtered_distance(batch.sample(k).of(n), TARGETS[label][n], tau) for n in range(N_OUT))
        assert value[k] == pytest.approx(wanted, rel=1e-12, abs=1e-12) and value[k] >= 0.0


@given(batch=batches(), labels=labels, tau=st.sampled_from([0.3, 5.0, 80.0]))
def test_the_van_rossum_derivative_is_the_sum_over_pairs_with_none_from_coinciding_ones(batch, labels, tau):
    _, slope = VanRossum(spikes_of(*TARGETS), tau)(batch, labels)
    for k, label in enumerate(labels):
        for s in range(batch.offsets[k], batch.offsets[k + 1]):
            t, n = batch.times[s], batch.neurons[s]

            def pull(others, t=t):
                return math.fsum(np.sign(t - o) * math.exp(-abs(t - o) / tau) for o in others)

            wanted = -(pull(batch.sample(k).of(n)) - pull(TARGETS[label][n])) / tau
            assert slope[s] == pytest.approx(wanted, rel=1e-12, abs=1e-13 / tau)


def test_a_long_train_is_at_no_negative_distance_from_itself():
    rng = np.random.default_rng(1)
    trains = [SpikeTrains(np.sort(rng.uniform(0, 1000, 500)), rng.integers(0, 3, 500), 3) for _ in range(10)]
    batch = SpikeBatch.from_trains(trains)
    value, _ = VanRossum(batch, 3.0)(batch, np.arange(10))
    assert np.all(value >= 0.0) and value == pytest.approx(np.zeros(10), abs=1e-11)
    assert VanRossum(batch, 3.0).predict(batch).tolist() == list(range(10))


@given(batch=batches(), labels=labels)
def test_target_trains_pair_the_kth_spike_with_the_kth_target(batch, labels):
    value, slope = TargetTrains(spikes_of(*TARGETS), penalty=3.0)(batch, labels)
    for k, label in enumerate(labels):
        wanted = 0.0
        for n in range(N_OUT):
            mine = [s for s in range(batch.offsets[k], batch.offsets[k + 1]) if batch.neurons[s] == n]
            goals = TARGETS[label][n]
            wanted += 3.0 * abs(len(mine) - len(goals))
            for s, goal in itertools.zip_longest(mine, goals):
                if s is not None:
                    assert slope[s] == (0.0 if goal is None else batch.times[s] - goal)
                if s is not None and goal is not None:
                    wanted += 0.5 * (batch.times[s] - goal) ** 2
        assert value[k] == pytest.approx(wanted, rel=1e-13)


def test_target_trains_choose_the_nearest():
    batch = spikes_of(([1.1, 9.0, 9.5, 19.0], [4.2], []), ([], [0.3, 11.0, 12.5], [2.0]), ([], [], []))
    assert TargetTrains(spikes_of(*TARGETS), penalty=5.0).predict(batch).tolist() == [0, 1, 2]
    assert VanRossum(spikes_of(*TARGETS), 2.0).predict(batch).tolist() == [0, 1, 2]


def test_a_spike_at_the_end_counts_half_and_early_ones_whole():
    loss = SmoothCountLoss(end=50.0, desired=2.0, undesired=0.0, width=1.0)
    value, slope = loss(spikes_of(([1.0, 2.0], [50.0], [])), np.array([0]))
    assert value == pytest.approx([0.5 * 0.5**2], rel=1e-12)
    assert slope == pytest.approx([0.0, 0.0, 0.5 * -0.25], abs=1e-12)
    assert loss.predict(spikes_of(([], [1.0, 2.0], [3.0, 4.0]))).tolist() == [1]


@given(st.lists(st.lists(st.floats(-30.0, 30.0), min_size=N_OUT, max_size=N_OUT), min_size=3, max_size=3), labels)
def test_the_voltage_cross_entropy_and_its_derivative_with_50_digits(rows, labels):
    scale = 1.5
    value, slope = VoltageCrossEntropy(scale)(voltages(np.array(rows)), labels)
    with mpmath.workdps(50):
        for k, label in enumerate(labels):
            e = [mpmath.exp(mpmath.mpf(scale) * mpmath.mpf(v)) for v in rows[k]]
            total = mpmath.fsum(e)
            assert value[k] == pytest.approx(float(mpmath.log(total / e[label])), rel=1e-13, abs=1e-14)
            wanted = [float(scale * (e[n] / total - (n == label))) for n in range(N_OUT)]
            assert slope[k] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_voltages_of_any_size_have_a_finite_loss_and_ties_go_to_the_smallest_index():
    loss, v = VoltageCrossEntropy(), voltages(np.array([[1e5, -1e5, 0.0], [2.0, 2.0, 2.0]]))
    value, slope = loss(v, np.array([1, 2]))
    assert value == pytest.approx([2e5, math.log(3)]) and np.all(np.isfinite(slope))
    assert loss.predict(v).tolist() == [0, 0]
