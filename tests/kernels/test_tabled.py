"""evsim._kernels.sweep.tabled: exponentials by table have the digits of the C library's."""

import numpy as np
import pytest

from evsim import LIF
from evsim._kernels.sweep.arrays import GROUP, N_FACTORS
from evsim._kernels.sweep.groups import group_factors
from evsim._kernels.sweep.tabled import decay_table, left, lost, tabled_factors
from evsim.neurons.arrays import neuron_arrays

EPS = np.finfo(float).eps


def test_a_table_and_a_series_give_exponentials():
    table, rng = decay_table(), np.random.default_rng(1)
    mpmath = pytest.importorskip("mpmath")
    xs = [*rng.uniform(0.0, 1.0, 300), *10.0 ** rng.uniform(-20, 0, 200), *(np.arange(64) / 64.0), 0.5 - 1e-16, 1.0]
    for x in xs:
        right = mpmath.expm1(-mpmath.mpf(float(x)))
        assert abs(lost(float(x), table) - right) <= 2.0 * EPS * abs(right)
    for x in [*rng.uniform(0.0, 60.0, 300), 39.999999999999, 40.0, 700.0, 0.0]:
        right = mpmath.exp(-mpmath.mpf(float(x)))
        assert abs(left(float(x), table) - right) <= 2.0 * EPS * abs(right)


@pytest.mark.parametrize("taus", [(20.0, 5.0), (5.0, 20.0), (10.0, 10.0), (10.0, 9.999999), (64.0, 8.0)])
@pytest.mark.parametrize("mean_interval", [0.01, 1.0, 30.0])
def test_factors_by_table_are_the_factors_of_events(taus, mean_interval):
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(mean_interval, 8 * GROUP))
    times[3] = times[4]
    neurons = neuron_arrays(LIF(tau_m=taus[0], tau_syn=taus[1]), 3)
    right, found = np.empty((2, times.size, N_FACTORS))
    group_factors(times, right, neurons)
    tabled_factors(times, found, neurons, decay_table())
    # The columns of a second current are not looked at.
    right, found = right[:, [0, 1, 2, 5, 6, 7, 8]], found[:, [0, 1, 2, 5, 6, 7, 8]]
    # After x time constants a last digit of x is x eps of what is left.
    faded = (right > 0.0) & (right < 1e-3)
    assert np.all(np.abs(found - right) <= np.where(faded, 1000.0, 12.0) * EPS * abs(right))
