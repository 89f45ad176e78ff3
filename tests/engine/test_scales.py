"""Potentials of any size, thresholds at the edge of a bias, and the clock by which each engine steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import LIF, Network, SpikeTrains
from helpers.examples import examples

EPS = 2.0**-52
DRIVERS = ("queue", "sweep", "window")


def spikes(driver, neuron, weights, times, t_stop, size=1):
    """Spikes of ``size`` neurons that share one input train; weights : one per input spike, or (inputs, size)."""
    net = Network()
    net.add_input("in", len(times))
    net.add_population("a", size, neuron)
    net.connect("in", "a", weight=np.broadcast_to(np.reshape(weights, (len(times), -1)), (len(times), size)))
    inputs = SpikeTrains(np.asarray(times, dtype=float), np.arange(len(times)), len(times))
    return net.simulate(t_stop, {"in": inputs}, driver=driver)["a"]


@pytest.mark.parametrize("t0", [20.0, 20001.3])
@pytest.mark.parametrize("driver", DRIVERS)
def test_each_step_begins_where_the_clock_stands(driver, t0):
    """A strong short current fires the neuron at once; what is left of it moves the next spike.

    Faded by a crossing that has more digits than the spike time, it was wrong by ulp(t)/tau_syn.
    """
    tau_m, tau_syn, bias = 20.0, 0.02, 1.1
    weights = np.linspace(1.2, 1.9, 5) * tau_m / tau_syn
    all_found = spikes(driver, LIF(tau_m=tau_m, tau_syn=tau_syn, bias=bias), [weights], [t0], t0 + 60.0, 5)
    for k, weight in enumerate(weights):
        found = all_found.of(k)[all_found.of(k) >= t0]
        # After the reset at the first spike: u = -bias, and what is left of the current.
        first, second = found[0], found[1]
        left = weight * np.exp(-np.longdouble(first - t0) / tau_syn)
        x = np.longdouble(second) - np.longdouble(first)
        rates = -x / np.longdouble(tau_m), -x / np.longdouble(tau_syn)
        gain = np.longdouble(tau_syn) / (np.longdouble(tau_m) - np.longdouble(tau_syn))
        current = left * np.exp(rates[1])
        terms = -np.longdouble(bias) * np.exp(rates[0]), gain * left * np.exp(rates[0]), -gain * current
        theta = np.longdouble(1.0) - np.longdouble(bias)
        slope = (current - theta) / tau_m
        error = abs((sum(terms) - theta) / slope)
        condition = (sum(abs(x) for x in terms) + abs(theta)) / slope + second
        assert error <= 4.0 * EPS * condition


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("ratio", [4.0, 2.0, 1.0, 0.5, None])
@given(exponent=st.integers(-560, 480), seed=st.integers(0, 2**31))
@settings(max_examples=examples(25), deadline=None)
def test_all_potentials_times_a_power_of_two_change_no_bit(driver, ratio, exponent, seed):
    rng = np.random.default_rng(seed)
    tau_syn = None if ratio is None else 10.0 / ratio
    strength = 0.6 if ratio is None else 6.0
    weights = strength * rng.normal(0.5, 1.0, 12)
    times = np.sort(rng.uniform(0.0, 40.0, 12))
    bias, reset, start = rng.choice([0.0, 0.4, 1.3]), rng.uniform(-1.0, 0.5), rng.uniform(-0.5, 0.9)

    def scaled(k):
        neuron = LIF(
            tau_m=10.0, tau_syn=tau_syn, v_th=k, v_reset=reset * k, v_init=start * k, bias=bias * k, t_ref=1.0
        )
        return spikes(driver, neuron, weights * k, times, 60.0).times

    assert np.array_equal(scaled(1.0), scaled(2.0**exponent))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tau_syn", [None, 10.0, 5.0, 2.5])
@pytest.mark.parametrize("over", [1e-20, 1e-100, 1e-200])
def test_a_bias_barely_above_threshold_fires_at_the_logarithm(driver, tau_syn, over):
    """From v_reset = -1 towards ``over``, threshold 0: tau_m log(1 + 1/over) is hundreds of time constants."""
    neuron = LIF(tau_m=10.0, tau_syn=tau_syn, v_th=0.0, v_reset=-1.0, v_init=-1.0, bias=over)
    period = 10.0 * np.log1p(1.0 / over)
    found = spikes(driver, neuron, [0.0], [1.0], 2.5 * period)
    assert found.times == pytest.approx([period, 2.0 * period], rel=1e-14)
