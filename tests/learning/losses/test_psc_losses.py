"""Losses of postsynaptic currents: closed forms against quadrature, derivatives against differences."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from evsim import SpikeBatch, SpikeTrains
from evsim.learning import PSCCount, PSCDistance, VanRossum, desired_trains
from helpers.examples import examples

T, TAU = 40.0, 7.0


def batch(seed=0, n=3, size=2, spikes=7):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, T, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    )


def psc(times, t):
    x = t - np.asarray(times)
    return float(np.sum(np.exp(-x[x >= 0.0] / TAU) / TAU))


def integral(f, *trains):
    """int_0^T f(t, *trains) dt, cut at the spikes of the trains."""
    cuts = np.unique(np.concatenate([[0.0, T], *trains]))
    return sum(quad(f, a, b, trains, epsabs=1e-13, epsrel=1e-12)[0] for a, b in pairwise(cuts))


def slow_distance(train, target):
    total = 0.0
    for n in range(train.size):
        mine, theirs = train.of(n), target.of(n)
        total += integral(lambda t, a, b: 0.5 * (psc(a, t) - psc(b, t)) ** 2, mine, theirs)
    return total


def test_distance_is_the_integral_of_the_squared_difference_of_pscs():
    outputs, targets = batch(), batch(1)
    labels = np.array([2, 0, 1])
    value, _ = PSCDistance(targets, TAU, T)(outputs, labels)
    wanted = [slow_distance(o, targets.sample(c)) for o, c in zip(outputs, labels)]
    np.testing.assert_allclose(value, wanted, rtol=1e-10)


def test_c_is_the_integral_of_a_psc_times_the_error():
    outputs, targets, labels = batch(), batch(1), np.array([1, 1, 2])
    _, pull = PSCDistance(targets, TAU, T)(outputs, labels)
    asked = batch(5, spikes=3)
    found = pull.at(asked)
    for k in range(3):
        for place in range(asked.offsets[k], asked.offsets[k + 1]):
            t0, n = asked.times[place], asked.neurons[place]
            mine, theirs = outputs.sample(k).of(n), targets.sample(labels[k]).of(n)
            wanted = integral(lambda t, a, b, c: psc(c, t) * (psc(a, t) - psc(b, t)), mine, theirs, np.array([t0]))
            assert found[place] == pytest.approx(wanted, rel=1e-10, abs=1e-13)
    np.testing.assert_array_equal(pull.at(outputs), pull.by_psc)


@pytest.mark.parametrize("make", [lambda: PSCDistance(batch(1), TAU, T), lambda: PSCCount(TAU, T, 4.0, 1.0)])
def test_slopes_are_differences_of_the_value(make):
    loss, outputs, labels, h = make(), batch(), np.array([0, 1, 1]), 1e-5
    value, pull = loss(outputs, labels)
    assert np.count_nonzero(pull.by_time) > 8 and np.all(value >= 0.0)
    assert np.array_equal(loss.by_times()(outputs, labels)[1], pull.by_time)
    for k in range(outputs.times.size):
        ends = []
        for change in (h, -h):
            times = outputs.times.copy()
            times[k] += change
            ends.append(loss(SpikeBatch(times, outputs.neurons, outputs.offsets, outputs.size), labels)[0].sum())
        assert pull.by_time[k] == pytest.approx((ends[0] - ends[1]) / (2.0 * h), rel=1e-6, abs=1e-9)


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 1000), spikes=st.integers(0, 9), size=st.integers(1, 3))
def test_far_from_the_end_it_is_the_van_rossum_distance_over_2_tau(seed, spikes, size):
    outputs, targets, labels = batch(seed, 3, size, spikes), batch(seed + 1, 2, size, 4), np.array([0, 1, 1])
    value, pull = PSCDistance(targets, TAU, T + 40.0 * TAU)(outputs, labels)
    same, slope = VanRossum(targets, TAU)(outputs, labels)
    np.testing.assert_allclose(value, same / (2.0 * TAU), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(pull.by_time, slope / (2.0 * TAU), rtol=1e-12, atol=1e-13)


def test_trains_on_their_targets_have_no_loss_and_no_pull():
    targets = batch(3)
    value, pull = PSCDistance(targets, TAU, T)(targets, np.arange(3))
    np.testing.assert_allclose(value, 0.0, atol=1e-16)
    np.testing.assert_allclose(pull.by_psc, 0.0, atol=1e-15)
    np.testing.assert_allclose(pull.by_time, 0.0, atol=1e-15)


def test_silent_outputs_have_a_value_and_a_c_that_asks_for_spikes():
    silent = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(3, np.int64), 2)
    value, pull = PSCDistance(desired_trains(2, T, 4.0), TAU, T)(silent, np.array([0, 1]))
    assert np.all(value > 0.0) and pull.by_psc.size == pull.by_time.size == 0
    asked = SpikeBatch(np.array([5.0, 5.0, 5.0, 5.0]), np.array([0, 1, 0, 1]), np.array([0, 2, 4]), 2)
    c = pull.at(asked)
    assert c[0] < 0.0 and c[1] == 0.0 and c[2] == 0.0 and c[3] < 0.0


def test_count_loss_is_one_sided_and_of_areas():
    outputs = batch(2, spikes=12)
    loss = PSCCount(TAU, T, desired=4.0, undesired=3.0)
    value, pull = loss(outputs, np.array([0, 1, 0]))
    for k, label in enumerate([0, 1, 0]):
        areas = [integral(lambda t, a: psc(a, t), outputs.sample(k).of(n)) for n in range(2)]
        error = [min(a - 4.0, 0.0) if n == label else max(a - 3.0, 0.0) for n, a in enumerate(areas)]
        assert value[k] == pytest.approx(0.5 * np.square(error).sum(), rel=1e-10)
        part = slice(outputs.offsets[k], outputs.offsets[k + 1])
        t, n = outputs.times[part], outputs.neurons[part]
        np.testing.assert_allclose(pull.by_psc[part], np.array(error)[n] * (1.0 - np.exp((t - T) / TAU)), rtol=1e-9)
        assert loss.predict(outputs)[k] == np.argmax(areas)


def test_predictions_are_by_area_or_by_the_nearest_target():
    targets = desired_trains(3, T, 4.0)
    assert PSCDistance(targets, TAU, T, "nearest").predict(targets).tolist() == [0, 1, 2]
    assert PSCDistance(targets, TAU, T).predict(targets).tolist() == [0, 1, 2]
    busy = SpikeBatch(np.array([1.0, 2.0, 3.0, 12.0]), np.array([1, 1, 1, 0]), np.array([0, 4]), 2)
    one = SpikeBatch(np.array([12.0, 25.0]), np.array([0, 1]), np.array([0, 1, 2]), 2)
    assert PSCDistance(one, TAU, T).predict(busy).tolist() == [1]
    assert PSCDistance(one, TAU, T, "nearest").predict(busy).tolist() == [0]


def test_desired_trains_are_the_authors_patterns():
    few = desired_trains(2, 5.0, 1.0)
    assert few.sample(1).of(1).tolist() == [1.0, 2.0, 3.0, 4.0] and few.sample(1).of(0).size == 0
    many = desired_trains(2, 40.0, 4.0)
    assert many.sample(0).of(0).tolist() == [4.0, 12.0, 20.0, 28.0, 36.0]
    own = desired_trains(1, 10.0, 2.0, (1, 0, 0), offset=0.5)
    assert own.times.tolist() == [0.5, 6.5]


@pytest.mark.parametrize("make", [
    lambda: PSCDistance(batch(), 0.0, T), lambda: PSCDistance(batch(), TAU, -1.0),
    lambda: PSCDistance(batch(), TAU, T, "best"), lambda: PSCCount(TAU, np.inf), lambda: PSCCount(TAU, T, np.nan),
    lambda: desired_trains(0, T, 1.0), lambda: desired_trains(2, T, 0.0),
    lambda: PSCDistance(batch(), TAU, T)(batch(size=3), np.zeros(3, int)),
    lambda: PSCCount(TAU, T)(batch(), np.array([0, 1, 2])),
])  # fmt: skip
def test_what_cannot_be_is_refused(make):
    with pytest.raises(ValueError):
        make()
