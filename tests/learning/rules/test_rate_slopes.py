"""evsim.learning.terms.rate_slopes: rate curves against quadrature, finite differences and simulation."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx

from evsim.learning import Dense, RateBased
from evsim.learning.rules.rates.slopes import analytic_rate, diffusion_rate, interval_slope
from evsim.network import Network
from evsim.neurons.lif import LIF
from evsim.simulate import simulate
from evsim.spikes import SpikeBatch, SpikeTrains

TAU, THETA, RESET, T_REF = 20.0, 1.2, -0.3, 2.0


def test_the_rate_of_a_constant_drive_is_the_simulators():
    for bias in (1.3, 2.0, 6.0):
        net = Network()
        net.add_population("n", 1, LIF(tau_m=TAU, v_th=THETA, v_reset=RESET, t_ref=T_REF, bias=bias, v_init=RESET))
        times = simulate(net, 500.0)["n"].times
        rate, _ = analytic_rate(bias / TAU, TAU, THETA, RESET, T_REF)
        assert 1.0 / np.diff(times)[0] == pytest.approx(float(rate), rel=1e-12)


def test_the_slope_of_a_constant_drive_is_a_finite_difference():
    c, h = np.array([1.3, 2.0, 5.0]) / TAU, 1e-7
    _, slope = analytic_rate(c, TAU, THETA, RESET, T_REF)
    up, down = (analytic_rate(c + d, TAU, THETA, RESET, T_REF)[0] for d in (h, -h))
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-6)


def test_below_rheobase_there_is_neither_rate_nor_slope():
    rate, slope = analytic_rate([0.0, 0.5 * THETA / TAU, THETA / TAU], TAU, THETA)
    assert not rate.any() and not slope.any()
    # Far above it, a spike takes the drive theta.
    assert float(analytic_rate(1e4, TAU, THETA)[1]) == pytest.approx(1.0 / THETA, rel=1e-3)


def siegert(c, noise):
    s = np.sqrt(TAU * noise)
    # erfcx(-x) is e^(x^2) (1 + erf x) without its overflow.
    area, _ = quad(lambda x: erfcx(-x), (RESET - TAU * c) / s, (THETA - TAU * c) / s, epsrel=1e-12)
    return 1.0 / (T_REF + TAU * np.sqrt(np.pi) * area)


@pytest.mark.parametrize(
    "c, noise", [(0.02, 0.02), (0.05, 0.02), (0.06, 0.002), (0.1, 0.004), (0.04, 0.003), (0.0, 0.4), (0.2, 1e-4)]
)
def test_the_rate_of_noisy_drive_is_siegerts(c, noise):
    rate, slope = diffusion_rate(c, noise, TAU, THETA, RESET, T_REF)
    assert float(rate) == pytest.approx(siegert(c, noise), rel=1e-9)
    h = 1e-6
    assert float(slope) == pytest.approx((siegert(c + h, noise) - siegert(c - h, noise)) / (2 * h), rel=1e-5)


def test_little_noise_is_none_and_a_drive_far_below_is_silent():
    little = diffusion_rate(0.09, 1e-8, TAU, THETA, RESET, T_REF)
    np.testing.assert_array_equal(little, analytic_rate(0.09, TAU, THETA, RESET, T_REF))
    just = diffusion_rate(0.09, (0.0201 * (THETA - RESET)) ** 2 / TAU, TAU, THETA, RESET, T_REF)
    np.testing.assert_allclose(just, analytic_rate(0.09, TAU, THETA, RESET, T_REF), rtol=2e-2)
    assert not np.any(diffusion_rate(-1.0, 0.02, TAU, THETA, RESET, T_REF))
    # Just within reach, the numbers on the way pass the square root of the largest float.
    rate, slope = diffusion_rate(-0.66, 0.02, TAU, THETA, RESET, T_REF)
    assert 0.0 < rate < 1e-200 and 0.0 < slope < 1e-200


def test_noisy_rates_are_near_those_of_a_long_simulation():
    # 400 Poisson inputs at 25 Hz, kicks of 0.01: mean 2.0, s = sqrt(20 ms x 0.001/ms)
    n, rate, w, t = 400, 0.025, 0.006, 20_000.0
    rng = np.random.default_rng(0)
    count = rng.poisson(n * rate * t)
    inputs = SpikeBatch.from_trains([SpikeTrains(rng.uniform(0, t, count), np.zeros(count, int), 1)])
    layer = Dense(1, 1, LIF(tau_m=TAU, tau_syn=None, v_th=THETA, v_reset=RESET, t_ref=T_REF))
    layer.weight[:] = w
    found = layer.forward(inputs, t).times.size / t
    want, _ = diffusion_rate(n * rate * w, n * rate * w * w, TAU, THETA, RESET, T_REF)
    assert found == pytest.approx(float(want), rel=0.05)


def test_intervals_of_a_constant_drive_give_its_slope():
    c = 1.7 / TAU
    rate, slope = analytic_rate(c, TAU, THETA, 0.0, T_REF)
    interval = 1.0 / float(rate)
    # The first interval has no refractory period before it; counted so, the rate is exact over whole intervals.
    times = interval * np.arange(1, 8) - T_REF
    climb = np.full(7, TAU * c - THETA)
    got = interval_slope(np.zeros(7, int), times, climb, np.array([0, 7]), 7 * interval, TAU, np.array([T_REF]))
    assert float(got[0]) == pytest.approx(float(slope), rel=1e-12)


def test_the_interval_estimator_reads_the_simulators_spikes():
    layer = Dense(1, 3, LIF(tau_m=TAU, tau_syn=4.0, t_ref=1.0))
    layer.weight[:] = [[0.9, 2.0, 0.0]]
    inputs = SpikeBatch.from_trains([SpikeTrains(np.linspace(1.0, 90.0, 80), np.zeros(80, int), 1)])
    out = layer.forward(inputs, 100.0)
    got = RateBased(estimator="interval", least_climb=1e-9).rates(layer, inputs, out, 100.0).slope[0, 0]
    for n in range(3):
        mine = out.neurons == n
        times, currents = out.times[mine], out.currents[mine]
        since = np.append(times[:1], np.diff(times) - 1.0)
        shifts = TAU * (1.0 - np.exp(-since / TAU)) / ((currents - 1.0) / TAU)
        want = (times.size / 100.0) ** 2 * shifts.mean() if times.size else 0.0
        assert got[n] == pytest.approx(want, rel=1e-12)
