"""evsim.learning.terms.count_slopes: every closed form against S-PSPs, quadrature, random trains or differences."""

import numpy as np
import pytest
from scipy.integrate import quad

from evsim.learning import s_psp
from evsim.learning.rules.counts.slopes import (
    elasticity,
    interval_means,
    poisson_mean,
    published_slope,
    regular_mean,
    uniform_mean,
)
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

T, TAU = 400.0, 64.0


def train(times):
    return SpikeTrains(np.asarray(times), np.zeros(len(times), np.int32), 1)


def random_train(rng, n, t_ref):
    """n spikes uniform in [0, T] that keep t_ref apart."""
    return np.sort(rng.uniform(0.0, T - (n - 1) * t_ref, n)) + t_ref * np.arange(n)


def test_what_a_source_of_even_density_adds_in_an_interval_is_tau_s_times_the_gain():
    # A spike at 200 resets; the sources' spikes fill [0, 260] densely, so that the current is at its mean.
    neuron, step = LIF(tau_m=20.0, tau_syn=5.0, t_ref=3.0), 0.01
    dense = train(np.arange(step / 2, 260.0, step))
    for interval in (4.0, 12.0, 55.0):
        e = [step * s_psp(dense, train(t), neuron, 300.0)[0, 0] for t in ([200.0], [200.0, 200.0 + interval])]
        assert e[1] - e[0] == pytest.approx(5.0 * -np.expm1(-(interval - 3.0) / 20.0), rel=1e-6)


@pytest.mark.parametrize("t_ref", [0.0, 2.0])
@pytest.mark.parametrize("mean", [regular_mean, poisson_mean])
def test_slopes_are_the_derivatives_of_the_means(mean, t_ref):
    o = np.array([0.7, 1.0, 3.0, 20.0, 90.0, 150.0])
    h = 1e-5 * o
    slope = (mean(o + h, T, TAU, t_ref)[0] - mean(o - h, T, TAU, t_ref)[0]) / (2 * h)
    np.testing.assert_allclose(mean(o, T, TAU, t_ref)[1], slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_the_mean_of_a_poisson_train_is_the_integral_over_its_intervals(t_ref):
    for o in (2.0, 20.0, 90.0):
        free = T / o - t_ref
        gain = quad(lambda d, free=free: -np.expm1(-d / TAU) * np.exp(-d / free) / free, 0.0, 60.0 * free)[0]
        assert poisson_mean(o, T, TAU, t_ref)[0] == pytest.approx(o * gain, rel=1e-8)
    rho = 20.0 * TAU / T
    mean, slope = poisson_mean(20.0, T, TAU)
    assert mean == pytest.approx(20.0 / (1 + rho)) and slope == pytest.approx(1 / (1 + rho) ** 2)


@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_the_mean_of_random_trains_is_what_random_trains_give(t_ref):
    rng = np.random.default_rng(5)
    for n in (1, 4, 30):
        draws = np.array([random_train(rng, n, t_ref) for _ in range(4000)])
        gaps = np.diff(draws, axis=1, prepend=0.0) - t_ref * (np.arange(n) > 0)
        got = -np.expm1(-gaps / TAU).sum(axis=1)
        error = abs(uniform_mean(n, T, TAU, t_ref) - got.mean())
        assert error < 4.0 * got.std() / np.sqrt(4000)
        z = (T - (n - 1) * t_ref) / TAU
        beta = quad(lambda u, n=n, z=z: -np.expm1(-z * u) * n * (1 - u) ** (n - 1), 0.0, 1.0)[0]
        assert uniform_mean(n, T, TAU, t_ref) == pytest.approx(n * beta, rel=1e-10)


def test_s_psps_of_random_trains_have_the_mean_of_the_closed_form():
    rng = np.random.default_rng(6)
    neuron, found = LIF(tau_m=TAU, tau_syn=8.0, t_ref=2.0), []
    for _ in range(300):
        # Sources that also spiked before the neuron's start, so that their current is at its mean from there on.
        pre = SpikeTrains(rng.uniform(0.0, T, 2000), rng.integers(0, 100, 2000), 100)
        found.append(s_psp(pre, train(random_train(rng, 15, 2.0)), neuron, T)[0].mean())
    expected = 20.0 * (8.0 / T) * uniform_mean(15, T, TAU, 2.0)
    # The first 8 ms, in which the current builds up, cost about 2 % here.
    assert 0.0 < 1.0 - np.mean(found) / expected < 0.04


def test_a_regular_train_has_the_same_mean_by_its_intervals():
    n = 8
    spikes = SpikeBatch.from_trains([train(T / n * np.arange(1, n + 1))])
    mean, slope = (v[0, 0] for v in interval_means(spikes, TAU))
    expected = regular_mean(n, T, TAU)
    assert mean == pytest.approx(expected[0], rel=1e-12) and slope == pytest.approx(expected[1], rel=1e-12)


def test_recorded_intervals_scale_with_the_count():
    rng = np.random.default_rng(7)
    times = random_train(rng, 12, 3.0)
    spikes = SpikeBatch.from_trains([train(times)])
    x = np.diff(times, prepend=0.0)
    dead = 3.0 * (np.arange(12) > 0)

    def mean(o):
        return o * np.mean(-np.expm1(-(x * 12 / o - dead) / TAU))

    found = interval_means(spikes, TAU, 3.0)
    assert found[0][0, 0] == pytest.approx(mean(12.0), rel=1e-12)
    assert found[1][0, 0] == pytest.approx((mean(12.001) - mean(11.999)) / 0.002, rel=1e-6)
    assert elasticity("intervals", spikes, T, TAU, 3.0)[0, 0] == pytest.approx(
        12.0 * found[1][0, 0] / found[0][0, 0], rel=1e-12
    )


def test_the_published_polynomial_follows_the_means_and_overshoots_at_its_end():
    n = np.arange(3.0, 45.0)
    slope = (uniform_mean(n + 0.01, T, TAU, 2.0) - uniform_mean(n - 0.01, T, TAU, 2.0)) / 0.02
    np.testing.assert_allclose(published_slope(n, T, TAU, 2.0), slope, atol=0.09)
    assert published_slope(80.0, T, TAU, 2.0) == published_slope(50.0, T, TAU, 2.0)
    assert published_slope(np.arange(1, 51), T, TAU, 2.0).min() < 0.0


def test_few_counts_that_fit_give_a_polynomial_of_low_degree():
    # Three spikes fit between the refractory periods.
    for o in (1.0, 2.0, 3.0):
        assert np.isfinite(published_slope(o, 10.0, TAU, 3.0))
    assert published_slope(1.0, 10.0, TAU, 9.0) == 0.0


@pytest.mark.parametrize("form", ["regular", "poisson", "intervals"])
def test_elasticities_are_below_1_and_0_for_the_silent(form):
    rng = np.random.default_rng(8)
    trains = [SpikeTrains(rng.uniform(0.0, T, 60), rng.integers(0, 5, 60), 6) for _ in range(4)]
    found = elasticity(form, SpikeBatch.from_trains(trains), T, TAU, 0.0)
    assert np.all(found[:, :5] < 1.0) and np.all(found[:, :5] > 0.0) and not found[:, 5].any()


@pytest.mark.parametrize("form", ["regular", "poisson", "intervals"])
def test_a_saturated_neuron_gives_numbers(form):
    spikes = SpikeBatch.from_trains([train(2.0 * np.arange(1, 200))])
    assert np.all(np.isfinite(elasticity(form, spikes, T, TAU, 2.0)))
