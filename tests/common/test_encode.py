"""From values to spikes: statistics of the Poisson code, and closed forms of all the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import evsim
from evsim import LIF, Network, SpikeBatch, SpikeTrains
from evsim.encode import analog_current, latency, poisson, regular

# ---------------------------------------------------------------------------------------------- Poisson


def test_poisson_counts_have_the_mean_and_variance_of_their_rate() -> None:
    """4000 trials of 5 neurons over 200 ms; bounds of five standard errors."""
    rates = np.array([0.0, 5.0, 20.0, 50.0, 200.0])
    counts = poisson(np.tile(rates, (4000, 1)), 200.0, seed=1).counts()
    mean = rates * 0.2
    assert np.all(np.abs(counts.mean(axis=0) - mean) <= 5.0 * np.sqrt(mean / 4000))
    error_of_variance = np.sqrt((mean + 2.0 * mean**2) / 4000)
    assert np.all(np.abs(counts.var(axis=0, ddof=1) - mean) <= 5.0 * error_of_variance)


def test_poisson_counts_of_neurons_are_independent() -> None:
    counts = poisson(np.full((4000, 4), 40.0), 100.0, seed=2).counts()
    correlation = np.corrcoef(counts.T)[np.triu_indices(4, 1)]
    assert np.all(np.abs(correlation) < 5.0 / math.sqrt(4000))


def test_poisson_intervals_are_exponential() -> None:
    """Of one neuron among others of other rates."""
    trains = poisson([30.0, 100.0, 250.0], 60_000.0, seed=3)
    for k, rate in enumerate([30.0, 100.0, 250.0]):
        gaps = np.diff(trains.of(k))
        assert gaps.size > 1500
        assert stats.kstest(gaps, "expon", args=(0.0, 1000.0 / rate)).pvalue > 1e-3


def test_poisson_times_are_uniform_in_continuous_time() -> None:
    times = poisson(np.full((200, 5), 50.0), 100.0, seed=4).times
    assert stats.kstest(times / 100.0, "uniform").pvalue > 1e-3
    assert np.unique(times).size == times.size
    assert np.abs(stats.kstest(times * 10.0 % 1.0, "uniform").pvalue) > 1e-3  # no grid of 0.1 ms


def test_poisson_spikes_lie_within_the_duration_and_ascend() -> None:
    trains = poisson(np.full(10, 300.0), 37.5, seed=5)
    assert isinstance(trains, SpikeTrains)
    assert trains.times[0] >= 0.0 and trains.times[-1] < 37.5
    assert np.all(np.diff(trains.times) > 0.0)


def test_poisson_draws_neurons_in_proportion_to_their_rates() -> None:
    rates = np.array([1.0, 0.0, 7.0, 30.0, 2.0, 0.5, 60.0])
    counts = poisson(rates, 200_000.0, seed=6).counts()
    assert counts[1] == 0
    used = rates > 0
    assert stats.chisquare(counts[used], counts.sum() * rates[used] / rates.sum()).pvalue > 1e-3


def test_silent_rates_give_no_spikes() -> None:
    assert len(poisson(np.zeros(3), 100.0)) == 0
    assert len(poisson(np.zeros((4, 3)), 100.0)) == 4


def test_a_sample_has_the_same_spikes_whatever_its_batch() -> None:
    rates = np.random.default_rng(0).uniform(0.0, 100.0, (6, 20))
    whole = poisson(rates, 50.0, seed=7)
    order = np.array([5, 2, 0])
    part = poisson(rates[order], 50.0, seed=7, keys=order)
    for place, k in enumerate(order):
        assert part.sample(place).times.tobytes() == whole.sample(k).times.tobytes()
        assert part.sample(place).neurons.tobytes() == whole.sample(k).neurons.tobytes()
    # Brighter company makes the buffers larger, which must not matter either.
    brighter = poisson(np.vstack([rates[0], np.full(20, 5000.0)]), 50.0, seed=7)
    assert brighter.sample(0).times.tobytes() == whole.sample(0).times.tobytes()


def test_poisson_does_not_depend_on_threads() -> None:
    rates = np.random.default_rng(1).uniform(0.0, 100.0, (9, 20))
    one = poisson(rates, 50.0, seed=8)
    for threads in (2, 5):
        many = poisson(rates, 50.0, seed=8, threads=threads)
        assert many.times.tobytes() == one.times.tobytes()
        assert many.neurons.tobytes() == one.neurons.tobytes()


def test_seed_epoch_and_key_each_name_another_stream() -> None:
    def times(**names) -> bytes:
        return poisson(np.full((1, 5), 50.0), 100.0, **names).times.tobytes()

    streams = [
        times(),
        times(seed=1),
        times(epoch=1),
        times(keys=[1]),
        times(seed=1, epoch=1),
        times(seed=-1),
    ]
    assert len(set(streams)) == len(streams)
    assert times(seed=1) == times(seed=1, epoch=0, keys=[0])


def test_samples_of_neighbouring_keys_are_unrelated() -> None:
    counts = poisson(np.full((2000, 1), 100.0), 100.0, seed=9).counts()[:, 0]
    assert abs(np.corrcoef(counts[1:], counts[:-1])[0, 1]) < 5.0 / math.sqrt(2000)


# -------------------------------------------------------------------------------- latency, regular, analog


def test_latency_fires_once_the_earlier_the_larger() -> None:
    trains = latency([0.25, 1.0, 0.0, 0.5], 80.0)
    assert trains.times.tolist() == [0.0, 40.0, 60.0]
    assert trains.neurons.tolist() == [1, 3, 0]
    assert latency([0.25, 1.0, 0.0, 0.5], 80.0, threshold=0.25).neurons.tolist() == [1, 3]


def test_latency_of_a_batch_is_the_latency_of_its_samples() -> None:
    values = np.random.default_rng(3).uniform(0.0, 1.0, (5, 7))
    batch = latency(values, 20.0)
    assert isinstance(batch, SpikeBatch) and len(batch) == 5
    for k, sample in enumerate(batch):
        alone = latency(values[k], 20.0)
        assert np.array_equal(sample.times, alone.times)
        assert np.array_equal(sample.neurons, alone.neurons)
        assert np.allclose(np.sort((1.0 - values[k]) * 20.0), sample.times, rtol=1e-15)


def test_regular_fires_at_equal_intervals() -> None:
    trains = regular([100.0, 0.0, 40.0], 50.0)
    assert trains.of(0).tolist() == [5.0, 15.0, 25.0, 35.0, 45.0]
    assert trains.of(1).tolist() == []
    assert trains.of(2).tolist() == [12.5, 37.5]


@pytest.mark.parametrize(
    "phase, expected", [(0.0, [0.0, 10.0, 20.0]), (1.0, [10.0, 20.0]), (0.25, [2.5, 12.5, 22.5])]
)
def test_regular_starts_at_its_phase_and_ends_before_the_duration(phase, expected) -> None:
    assert regular([100.0], 30.0, phase=phase).times.tolist() == expected
    assert regular([[100.0], [100.0]], 30.0, phase=phase).sample(1).times.tolist() == expected


def test_analog_current_is_the_weighted_sum() -> None:
    weight = np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]])
    assert analog_current([2.0, 4.0], weight).tolist() == [4.0, 0.0, 12.0]
    assert analog_current([[2.0, 4.0], [1.0, 0.0]], weight).tolist() == [[4.0, 0.0, 12.0], [1.0, 2.0, 0.0]]


@pytest.mark.parametrize("driver", ["queue", "sweep"])
def test_neurons_under_analog_current_fire_at_the_closed_form_times(driver) -> None:
    """t_k = k tau_m log((b - v_reset) / (b - v_th)) + (k - 1) t_ref from v_rest = v_reset = 0."""
    bias = analog_current([1.0, 0.5], np.array([[1.0, 2.0, 0.5], [1.0, 0.25, 0.2]]))
    net = Network()
    net.add_population("out", size=3, neuron=LIF(tau_m=20.0, t_ref=2.0, bias=bias))
    rec = net.simulate(300.0, driver=driver)
    assert bias.tolist() == [1.5, 2.125, 0.6]
    for k in range(2):
        climb = 20.0 * math.log(bias[k] / (bias[k] - 1.0))
        n = int((300.0 + 2.0) / (climb + 2.0))
        expected = climb * np.arange(1, n + 1) + 2.0 * np.arange(n)
        np.testing.assert_allclose(rec["out"].of(k), expected, rtol=1e-14)
    assert rec["out"].of(2).size == 0


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("encode", [poisson, regular, latency])
@pytest.mark.parametrize("bad, message", [
    (math.nan, "must be finite; it holds NaN"),
    (math.inf, "must be finite"),
    (-0.5, "must (be >= 0|lie in)"),
])  # fmt: skip
def test_values_that_are_none_are_refused(encode, bad, message) -> None:
    with pytest.raises(ValueError, match=message):
        encode([0.5, bad], 10.0)


@pytest.mark.parametrize("encode", [poisson, regular, latency])
@pytest.mark.parametrize("duration", [0.0, -1.0, math.inf, math.nan])
def test_the_duration_must_be_finite_and_positive(encode, duration) -> None:
    with pytest.raises(ValueError, match="duration must be finite and > 0 ms; got"):
        encode([0.5], duration)


@pytest.mark.parametrize("encode", [poisson, regular, latency])
@pytest.mark.parametrize("values", [0.5, np.ones((2, 2, 2))])
def test_values_of_another_shape_are_refused(encode, values) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(n,\) or \(samples, n\); got"):
        encode(values, 10.0)


def test_latency_refuses_values_above_one() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; got .* Scale them first"):
        latency([0.5, 255.0], 10.0)


def test_regular_refuses_a_phase_outside_the_interval() -> None:
    with pytest.raises(ValueError, match=r"phase must lie in \[0, 1\]; got 1.5"):
        regular([10.0], 10.0, phase=1.5)


def test_poisson_refuses_keys_that_do_not_name_the_samples() -> None:
    with pytest.raises(ValueError, match=r"one integer per sample, shape \(2,\); got \(3,\)"):
        poisson(np.ones((2, 4)), 10.0, keys=[1, 2, 3])
    with pytest.raises(ValueError, match="threads must be >= 1"):
        poisson(np.ones((2, 4)), 10.0, threads=0)


def test_analog_current_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"weight must have shape \(n, post\)"):
        analog_current([1.0, 2.0], np.ones((3, 2)))
    with pytest.raises(ValueError, match="must be finite"):
        analog_current([1.0, math.nan], np.ones((2, 2)))


def test_encoders_are_reached_through_the_package() -> None:
    assert evsim.encode.poisson is poisson
