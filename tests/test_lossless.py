"""The engines before an independent judge with 31 digits, in adversarial regimes: no spike missed, none invented,
none further off than 4 eps times its condition."""

import mpmath
import numpy as np
import pytest

from evsim import LIF, Network, SpikeTrains
from evsim.testing.closed_form import oracle_crossing
from evsim.testing.judge import judge
from evsim.testing.regimes import DENSE, REGIMES

DRIVERS = ("queue", "sweep", "window")
EPS = 2.0**-52


def check(driver, name, seed, size):
    """Judge one case of a regime; returns how many neurons were judged, and how many of them came near to grazing."""
    n = max(3, size // 20) if name in DENSE else size
    case = REGIMES[name](np.random.default_rng([seed, list(REGIMES).index(name)]), n)
    verdict = case.judged(driver)
    told = f"{name}, seed {seed}, {driver}: neurons {{}}"
    assert not verdict.missed.any(), told.format(np.flatnonzero(verdict.missed)) + " miss a spike"
    assert not verdict.invented.any(), told.format(np.flatnonzero(verdict.invented)) + " invent a spike"
    assert not verdict.beyond.any(), told.format(np.flatnonzero(verdict.beyond)) + f" err by {verdict.worst.max():.1f}"
    return size, int(verdict.grazing.sum())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", REGIMES)
def test_the_judge_finds_every_spike_of_every_engine(driver, name):
    judged, grazing = check(driver, name, 0, 40)
    # A trace that has all but faded to a threshold of 0 is as near to grazing as numbers can tell.
    assert grazing <= (0.6 if name == "threshold at rest" else 0.2) * judged


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_hundred_thousand_neurons(driver):
    size = 250
    rounds = 100_000 // (size * len(REGIMES)) + 1
    for name in REGIMES:
        for seed in range(1, rounds + 1):
            check(driver, name, seed, size)


@pytest.mark.parametrize("dx", [0.05, 0.01, 0.001, 0.00025])
@pytest.mark.parametrize("driver", DRIVERS)
def test_dense_regular_input_errs_no_more_than_sparse(driver, dx):
    """20 to 4,000 inputs a ms: the first spike against the sum over all inputs in 40 digits."""
    tau_m, tau_s = 5.0, 1.25
    times = np.arange(round(25.0 / dx)) * dx
    weight = 1.05 * dx / tau_s
    net = Network()
    net.add_input("in", 1)
    net.add_population("out", 1, LIF(tau_m=tau_m, tau_syn=tau_s))
    net.connect("in", "out", weight=weight)
    inputs = SpikeTrains(times, np.zeros(times.size, int), 1)
    found = net.simulate(25.0, {"in": inputs}, driver=driver)["out"].times[0]
    with mpmath.workdps(40):
        last = mpmath.mpf(float(times[times < found][-1]))
        ages = [last - mpmath.mpf(float(t)) for t in times[times <= float(last)]]
        leak, decay = (sum(mpmath.exp(-a / tau) for a in ages) for tau in (tau_m, tau_s))
        x = mpmath.mpf(float(found)) - last
        gain = mpmath.mpf(weight) * tau_s / (tau_m - tau_s)
        current = weight * decay * mpmath.exp(-x / tau_s)
        u = gain * (leak * mpmath.exp(-x / tau_m) - decay * mpmath.exp(-x / tau_s))
        slope = (current - u) / tau_m
        assert abs(u - 1) / slope <= 4.0 * EPS * (2 / slope + found)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 1.0 + 1e-9, 2.0, 30.0])
def test_the_judge_agrees_with_fifty_digits(ratio):
    """One strong input: the true time is accepted; eight units beside it, one spike less or more is not."""
    neuron = LIF(tau_m=10.0, tau_syn=10.0 / ratio, v_reset=-50.0, t_ref=5.0)
    true = 3.0 + oracle_crossing(0.0, [40.0], [10.0 / ratio], 1.0, 10.0, 100.0)
    weights = np.array([[40.0]])

    def verdict(times, t_stop=8.0):
        spikes = SpikeTrains(np.array(times), np.zeros(len(times), int), 1)
        return judge(neuron, np.array([3.0]), weights, spikes, t_stop)

    good = verdict([float(true)])
    assert (good.spikes[0], good.missed[0], good.invented[0], good.beyond[0]) == (1, 0, 0, 0)
    assert good.worst[0] <= 0.5
    assert verdict([float(true) + 100.0 * EPS * float(true)]).beyond[0] == 1
    assert verdict([]).missed[0] == 1
    assert verdict([float(true), float(true) + 1.0]).invented[0] == 1
    assert verdict([float(true) - 0.01]).invented[0] == 1
