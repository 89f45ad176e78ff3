"""evsim.analysis against processes whose statistics are known, and against quadrature with 30 digits."""

import importlib.util
import subprocess
import sys
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc, roots_legendre

from evsim import SpikeTrains
from evsim.analysis import (
    active,
    correlation,
    cv_isi,
    mean_correlation,
    population_rate,
    rates,
    siegert_cv,
    siegert_rate,
)
from evsim.testing.strategies import spike_trains
from helpers.paths import BENCHMARKS

pytestmark = pytest.mark.filterwarnings("error")

BRUNEL = {"tau_m": 20.0, "v_th": 20.0, "v_reset": 0.0, "t_ref": 2.0}


def trains_of(*trains, size=None):
    """SpikeTrains from one list of times for each neuron."""
    neurons = np.repeat(np.arange(len(trains)), [len(t) for t in trains])
    return SpikeTrains(np.concatenate([np.asarray(t, float) for t in trains]), neurons, size or len(trains))


def renewal(rng, n_neurons, n_intervals, shape):
    """Independent gamma processes with mean interval 1 ms, and a t_stop that cuts none of their spikes."""
    times = rng.gamma(shape, 1.0 / shape, (n_neurons, n_intervals + 1)).cumsum(axis=1)
    return trains_of(*times), times.max() + 1.0


# --- rates ------------------------------------------------------------------------------------------------


def test_rates_count_the_half_open_interval():
    spikes = trains_of([10.0, 20.0, 30.0], [29.9], size=3)
    assert rates(spikes, t_stop=30.0, t_start=10.0).tolist() == [100.0, 50.0, 0.0]


@given(
    spikes=spike_trains(size=3, t_stop=30.0),
    bin_width=st.sampled_from([0.1, 0.3, 1.0, 7.0, 100.0]) | st.floats(0.05, 50.0),
    t_start=st.floats(0.0, 20.0),
    length=st.floats(0.5, 15.0),
)
def test_population_rate_leaves_no_spike_out(spikes, bin_width, t_start, length):
    t_stop = t_start + length
    edges, rate = population_rate(spikes, t_stop, bin_width, t_start)
    inside = np.sum((spikes.times >= t_start) & (spikes.times < t_stop))
    assert (edges[0], edges[-1]) == (t_start, t_stop)
    assert np.all(np.diff(edges) > 0.0) and np.all(np.diff(edges) <= bin_width * (1.0 + 1e-6))
    assert np.sum(rate * np.diff(edges)) * spikes.size / 1000.0 == pytest.approx(inside)


def test_population_rate_puts_a_spike_at_an_edge_into_the_bin_it_opens():
    edges, rate = population_rate(trains_of([0.0, 1.0, 1.5], []), t_stop=2.5)
    assert edges.tolist() == [0.0, 1.0, 2.0, 2.5]
    assert rate.tolist() == [500.0, 1000.0, 0.0]


@pytest.mark.parametrize(("t_stop", "bin_width", "n_bins"), [(1000.0, 0.1, 10_000), (0.3, 0.1, 3), (0.7, 0.1, 7)])
def test_a_whole_number_of_bins_has_no_sliver_at_its_end(t_stop, bin_width, n_bins):
    edges, _ = population_rate(trains_of([0.05]), t_stop, bin_width)
    assert edges.size == n_bins + 1


# --- intervals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.0])
def test_gamma_processes_have_cv_one_over_root_of_the_shape(shape):
    spikes, t_stop = renewal(np.random.default_rng(1), n_neurons=100, n_intervals=2000, shape=shape)
    cv = cv_isi(spikes, t_stop)
    error = cv.std() / np.sqrt(cv.size)
    # Of the order of 1 / n_intervals: the bias of a ratio of estimates.
    assert abs(cv.mean() - shape**-0.5) < 4.0 * error + 1.0 / 2000


def test_a_clock_has_cv_0():
    spikes = trains_of(np.arange(0.1, 100.0, 2.7), 5.0 * np.arange(10))
    assert np.all(cv_isi(spikes, t_stop=100.0) < 1e-13)


def test_cv_of_three_spikes_by_hand_and_nan_where_there_are_fewer():
    spikes = trains_of([1.0, 2.0, 5.0], [1.0, 2.0], [], [0.0, 1.0, 2.0, 5.0, 50.0])
    cv = cv_isi(spikes, t_stop=50.0, t_start=1.0, min_spikes=3)
    assert cv == pytest.approx([0.5, np.nan, np.nan, 0.5], nan_ok=True)


# --- correlation ------------------------------------------------------------------------------------------


def test_identical_trains_have_correlation_1_and_a_silent_one_none():
    times = np.random.default_rng(2).uniform(0.0, 1000.0, 50)
    matrix = correlation(trains_of(times, times, []), 1000.0, neurons=[0, 1, 2])
    assert matrix[:2, :2] == pytest.approx(np.ones((2, 2)))
    assert np.all(np.isnan(matrix[2])) and np.all(np.isnan(matrix[:, 2]))


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("bin_width", [0.5, 20.0])
def test_poisson_trains_that_share_a_fraction_of_their_spikes_correlate_by_it(shared, bin_width):
    rng = np.random.default_rng(3)
    t_stop, count, n = 20_000.0, 1000, 12
    common = rng.uniform(0.0, t_stop, round(shared * count))
    own = rng.uniform(0.0, t_stop, (n, count - common.size))
    spikes = trains_of(*(np.concatenate([common, o]) for o in own))
    # The error of one pair is about 1 / sqrt(bins); all pairs have the common spikes, so their mean may have it too.
    assert abs(mean_correlation(spikes, t_stop, bin_width=bin_width) - shared) < 4.0 / np.sqrt(t_stop / bin_width)


def test_correlation_is_that_of_the_counts_in_whole_bins_of_the_interval():
    rng = np.random.default_rng(4)
    times = np.append(rng.uniform(0.0, 120.0, 600), 109.0)
    spikes = SpikeTrains(times, np.append(rng.integers(0, 5, 600), 4), 5)
    edges = 10.0 + 3.0 * np.arange(34)  # up to 109: the last 2 ms of [10, 111) make no bin
    chosen = [4, 0, 3]
    expected = np.corrcoef([np.histogram(spikes.of(k)[spikes.of(k) < edges[-1]], edges)[0] for k in chosen])
    assert correlation(spikes, 111.0, 10.0, 3.0, chosen) == pytest.approx(expected)


def test_spikes_at_the_edges_of_bins_are_counted_in_the_bin_they_open():
    spikes = trains_of([0.0, 0.25, 0.75], [0.05, 0.3, 0.8], [0.2, 0.45, 0.7])
    matrix = correlation(spikes, t_stop=1.0, bin_width=0.25)
    assert matrix[0, 1] == pytest.approx(1.0)
    assert matrix[0, 2] == pytest.approx(-1.0 / 3.0)


def test_a_bin_is_not_lost_to_the_rounding_of_its_number():
    spikes = trains_of([0.05, 0.65], [0.02, 0.68])  # 0.7 / 0.1 is 6.999...
    assert correlation(spikes, t_stop=0.7, bin_width=0.1)[0, 1] == pytest.approx(1.0)
    lone = trains_of([0.05, 0.65], [0.02])
    assert correlation(lone, t_stop=0.7, bin_width=0.1)[0, 1] < 0.9


def test_without_a_list_a_sample_of_the_neurons_that_fired_is_compared():
    spikes = SpikeTrains(np.arange(500) + 0.5, 2 * np.arange(500), 1000)
    assert active(spikes, 500.0).tolist() == list(range(0, 1000, 2))
    sample = active(spikes, 500.0, at_most=200)
    assert sample.size == np.unique(sample).size == 200
    assert (sample[0], sample[-1]) == (0, 998)
    assert set(np.diff(sample)) == {4, 6}
    assert correlation(spikes, 500.0).shape == (200, 200)
    assert correlation(spikes, 500.0, neurons=[4]) == pytest.approx(np.ones((1, 1)))


# --- bad input --------------------------------------------------------------------------------------------

SOME = trains_of([1.0, 2.0, 3.0], [1.5])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: rates(SOME, 0.0), ValueError, r"t_start < t_stop .*\[0.0, 0.0\)"),
        (lambda: rates(SOME, np.inf), ValueError, "finite"),
        (lambda: population_rate(SOME, 10.0, 0.0), ValueError, "bin_width must be finite and > 0 ms; got 0.0"),
        (lambda: population_rate(SpikeTrains([], [], 0), 10.0), ValueError, "size = 0"),
        (lambda: cv_isi(SOME, 10.0, min_spikes=2), ValueError, "at least 3.*got 2"),
        (lambda: active(SOME, 10.0, at_most=0), ValueError, "at least 1.*got 0"),
        (lambda: correlation(SOME, 10.0, bin_width=6.0), ValueError, "two bins.*make 1"),
        (lambda: correlation(SOME, 10.0, neurons=[0, 2]), IndexError, "neuron 2 asked for, but there are 2"),
        (lambda: correlation(SOME, 10.0, neurons=[0.5]), ValueError, "neurons must be a list"),
        (lambda: correlation(SOME, 30.0, 20.0), ValueError, r"none fired in \[20.0, 30.0\)"),
        (lambda: mean_correlation(SOME, 10.0, neurons=[0]), ValueError, "two neurons that fired"),
        (lambda: siegert_rate(15.0, -1.0, **BRUNEL), ValueError, "sigma must be >= 0 mV; got -1.0"),
        (lambda: siegert_rate(np.nan, 1.0, **BRUNEL), ValueError, "mu must be finite"),
        (lambda: siegert_rate(15.0, 1.0, **BRUNEL | {"v_reset": 20.0}), ValueError, "v_reset must be below"),
        (lambda: siegert_rate(15.0, 1.0, **BRUNEL | {"t_ref": -1.0}), ValueError, "t_ref must be >= 0 ms"),
        (lambda: siegert_cv(15.0, 0.0, **BRUNEL), ValueError, "never reaches"),
    ],
)
def test_errors_name_what_came(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("duration", [100.0, 3000.0])  # elephant takes another path where few bins are empty
def test_cv_and_correlation_are_those_of_elephant(duration):
    statistics = pytest.importorskip("elephant.statistics")
    conversion = pytest.importorskip("elephant.conversion")
    pearson = pytest.importorskip("elephant.spike_train_correlation").correlation_coefficient
    import neo
    import quantities as pq

    rng = np.random.default_rng(6)
    spikes = SpikeTrains(rng.uniform(0.0, duration, 4000), rng.integers(0, 8, 4000), 8)
    trains = [neo.SpikeTrain(spikes.of(k), units=pq.ms, t_stop=duration) for k in range(8)]
    expected = [statistics.cv(np.diff(spikes.of(k))) for k in range(8)]
    assert cv_isi(spikes, duration) == pytest.approx(expected, rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # elephant's own use of quantities and scipy
        expected = pearson(conversion.BinnedSpikeTrain(trains, bin_size=1.0 * pq.ms, tolerance=None))
    assert correlation(spikes, duration, bin_width=1.0) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_cv_and_correlation_need_no_extra():
    code = "import sys, numpy as np\nfor m in ('elephant', 'neo', 'quantities'): sys.modules[m] = None\n"
    code += "from evsim import SpikeTrains; from evsim.analysis import correlation, cv_isi\n"
    code += "x = SpikeTrains([1., 2., 4., 1., 2., 4.], [0, 0, 0, 1, 1, 1], 2)\n"
    code += "print(cv_isi(x, 5., min_spikes=3).tolist(), correlation(x, 5., bin_width=1.).tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == f"{[1.0 / 3.0] * 2} {[[1.0, 1.0], [1.0, 1.0]]}"


# --- Siegert ----------------------------------------------------------------------------------------------

NOISY = [(24.0, 7.1), (12.0, 8.0), (10.0, 2.0), (19.9, 0.5), (20.0, 1e-3), (60.0, 0.7), (-30.0, 40.0), (5.0, 300.0)]


@pytest.mark.parametrize(("mu", "sigma"), NOISY)
def test_siegert_rate_is_the_integral_with_30_digits(mu, sigma):
    with mpmath.workdps(30):
        low, high = ((mpmath.mpf(v) - mpmath.mpf(mu)) / mpmath.mpf(sigma) for v in (0.0, 20.0))
        inner = [x for x in (-1000, -100, -10, -3, 0, 3) if low < x < high]
        integral = mpmath.quad(lambda u: mpmath.exp(u * u) * mpmath.erfc(-u), [low, *inner, high])
        expected = float(1000 / (2 + 20 * mpmath.sqrt(mpmath.pi) * integral))
    assert siegert_rate(mu, sigma, **BRUNEL) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("mu", "sigma"), [(24.0, 7.1), (12.0, 8.0), (15.0, 2.0), (60.0, 4.0), (5.0, 300.0)])
def test_siegert_cv_is_the_double_integral(mu, sigma):
    low, high = (0.0 - mu) / sigma, (20.0 - mu) / sigma
    nodes, weights = roots_legendre(300)
    x = low + (nodes + 1.0) * (high - low) / 2.0
    bottom = np.minimum(x, 0.0) - 8.0  # from here on e^{u^2} (1 + erf u)^2, about e^{-u^2} / (pi u^2), is nothing
    u = bottom[:, None] + (nodes + 1.0) * (x - bottom)[:, None] / 2.0
    inner = (np.exp(0.5 * (u**2 + x[:, None] ** 2)) * erfc(-u)) ** 2 @ weights * (x - bottom) / 2.0
    spread = inner @ weights * (high - low) / 2.0
    rate = siegert_rate(mu, sigma, **BRUNEL) / 1000.0
    expected = np.sqrt(2.0 * np.pi * spread) * rate * 20.0
    assert siegert_cv(mu, sigma, **BRUNEL) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("mu", [20.5, 30.0, 400.0])
def test_little_noise_gives_the_neuron_of_constant_input(mu):
    passage = 20.0 * np.log(mu / (mu - 20.0))
    clock = 1000.0 / (2.0 + passage)
    assert siegert_rate(mu, 0.0, **BRUNEL) == pytest.approx(clock, rel=1e-15)
    assert siegert_cv(mu, 0.0, **BRUNEL) == 0.0
    # First order in sigma: the variance of the passage is int sigma^2 tau_m^2 / (mu - v)^3 dv.
    sigma = 1e-3 * (mu - 20.0)
    variance = 0.5 * (sigma * 20.0) ** 2 * ((mu - 20.0) ** -2 - mu**-2)
    assert siegert_rate(mu, sigma, **BRUNEL) == pytest.approx(clock, rel=1e-5)
    assert siegert_cv(mu, sigma, **BRUNEL) == pytest.approx(np.sqrt(variance) * clock / 1000.0, rel=1e-4)


def test_rare_spikes_are_a_poisson_process_and_rarer_ones_than_float64_knows_are_none():
    assert siegert_rate(0.0, 4.0, **BRUNEL) < 1e-6
    assert siegert_cv(0.0, 4.0, **BRUNEL) == pytest.approx(1.0, abs=1e-6)
    assert siegert_rate(-100.0, 1.0, **BRUNEL) == 0.0
    assert siegert_rate(20.0, 0.0, **BRUNEL) == 0.0
    assert siegert_cv(-100.0, 1.0, **BRUNEL) == 1.0


@given(mu=st.floats(-20.0, 60.0), sigma=st.floats(2.0, 30.0), scale=st.floats(0.1, 10.0), shift=st.floats(-70.0, 10.0))
def test_the_unit_and_the_zero_of_the_potential_are_free(mu, sigma, scale, shift):
    here = siegert_rate(mu, sigma, **BRUNEL)
    moved = BRUNEL | {"v_th": shift + scale * 20.0, "v_reset": shift}
    assert siegert_rate(shift + scale * mu, scale * sigma, **moved) == pytest.approx(here, rel=1e-8)


# --- benchmarks/accuracy/brunel_theory.py --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theory():
    path = BENCHMARKS / "accuracy" / "brunel_theory.py"
    spec = importlib.util.spec_from_file_location("brunel_theory", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["brunel_theory"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["brunel_theory"]


def test_the_mean_field_rate_reproduces_itself_and_is_stable(theory):
    net = theory.Brunel()
    rate = theory.stationary_rate(net)
    assert net.external == pytest.approx(20.0)
    assert net.response(rate) == pytest.approx(rate, abs=1e-8)
    assert net.response(rate + 0.1) - net.response(rate - 0.1) < 0.2
    assert all(net.response(r) > r for r in np.linspace(0.0, rate, 12)[:-1])


def test_a_neuron_with_poisson_input_fires_as_the_theory_says(theory):
    """Simulated event by event; the diffusion approximation itself is off by some 0.5 % at J = 0.1 mV."""
    net = theory.Brunel()
    rate = theory.stationary_rate(net)
    out, cv, n = theory.poisson_neuron(net, rate, 600.0, 500, np.random.default_rng(5), warm_up=150.0)
    assert abs(out / rate - 1.0) < 0.005 + 4.0 * cv / np.sqrt(n)
    assert abs(cv / net.cv(rate) - 1.0) < 0.01 + 4.0 / np.sqrt(2.0 * n)
