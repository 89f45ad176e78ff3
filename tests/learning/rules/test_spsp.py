"""evsim.learning.spsp: what one synapse contributed to the potential at a neuron's own spikes.

In evsim's normalisation, tau_m du/dt = -u + i and an arriving spike of weight 1 does i += 1. With s the time
since the release from the last reset (or since 0) and x the time since the arrival, the response is

    eps(s, x) = int_0^min(s, x) exp(-y/tau_m) exp(-(x - y)/tau_s) dy / tau_m = exp(-(x - m)/tau_s) P(m),

with m = min(s, x) and P the response without reset: what arrived before the release survives as current only.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from evsim.errors import NetworkError
from evsim.learning import Dense, s_psp
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.examples import examples
from helpers.reference import psp

RATIOS = (1.0, 1.0 + 1e-8, 2.0, 8.0, 0.5, 0.125)
"""tau_m / tau_syn: equal, nearly equal, moderate, the published one, and both inverted."""


# ------------------------------------------------------------------------------------------ slow references


def releases_and_spikes(spikes, t_ref):
    """(release before the spike, spike) for each spike of one neuron."""
    return list(zip([0.0, *(t + t_ref for t in spikes[:-1])], spikes))


def eps(s, x, tau_m, tau_s):
    """The pair kernel: response to a unit weight, s ms after release, x ms after the arrival."""
    m = min(s, x)
    return math.exp(-(x - m) / tau_s) * psp(m, tau_m, tau_s) if m > 0.0 else 0.0


def s_psp_by_pairs(inputs, outputs, neuron, delay=0.0):
    """The definition, written out: over neurons, sources, spikes of the one, and spikes of the other."""
    tau_m, tau_s = float(neuron.tau_m), float(neuron.tau_syn)
    t_ref = np.broadcast_to(neuron.t_ref, outputs.size)
    e = np.zeros((outputs.size, inputs.size))
    for i in range(outputs.size):
        for release, t in releases_and_spikes(outputs.of(i).tolist(), float(t_ref[i])):
            for a, j in zip((inputs.times + delay).tolist(), inputs.neurons):
                if a < t:
                    e[i, j] += eps(t - release, t - a, tau_m, tau_s)
    return e


def s_psp_by_traces(inputs, outputs, neuron, delay=0.0):
    """Two traces per pair; both jump by 1 at an arrival, and the release sets A_m := A_s."""
    tau_m, tau_s, t_ref = float(neuron.tau_m), float(neuron.tau_syn), float(neuron.t_ref)
    gain = tau_s / (tau_m - tau_s)
    e = np.zeros((outputs.size, inputs.size))
    for i in range(outputs.size):
        spikes = outputs.of(i).tolist()
        for j in range(inputs.size):
            # At one instant the spike is read first, as an arrival then has no effect yet.
            events = [(t, 0) for t in spikes] + [(t + t_ref, 1) for t in spikes]
            events += [(float(a) + delay, 2) for a in inputs.of(j)]
            a_m = a_s = now = 0.0
            for t, kind in sorted(events):
                a_m *= math.exp(-(t - now) / tau_m)
                a_s *= math.exp(-(t - now) / tau_s)
                now = t
                if kind == 0:
                    e[i, j] += gain * (a_m - a_s)
                elif kind == 1:
                    a_m = a_s
                else:
                    a_m, a_s = a_m + 1.0, a_s + 1.0
    return e


# ------------------------------------------------------------------------------------------------- the cases


def driven_layer(seed, ratio, t_ref, delay, t_stop=200.0, n_in=6, n_out=5):
    """A layer with random weights, its Poisson-like inputs, and the spikes it fires."""
    rng = np.random.default_rng(seed)
    neuron = LIF(tau_m=16.0, tau_syn=16.0 / ratio, t_ref=t_ref, v_th=rng.uniform(0.5, 2.0, n_out))
    layer = Dense(n_in, n_out, neuron, delay=delay)
    layer.weight = rng.uniform(-1.0, 2.0, (n_in, n_out)) * max(1.0, ratio)
    n = int(rng.integers(20, 150))
    inputs = SpikeTrains(rng.uniform(0.0, t_stop, n), rng.integers(0, n_in, n), n_in)
    outputs = layer.forward(SpikeBatch.from_trains([inputs]), t_stop).sample(0)
    return layer, inputs, outputs


def any_trains(seed, t_ref, t_stop=120.0, n_in=4, n_out=11):
    """Input and output trains that need not be a neuron's answer; the last of each stay silent.

    Eleven neurons fill five blocks of two and leave one over.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    inputs = SpikeTrains(rng.uniform(0.0, t_stop, n), rng.integers(0, n_in - 1, n), n_in)
    times, neurons = [], []
    for i in range(n_out - 1):
        spikes = np.cumsum(t_ref + rng.exponential(12.0, 30))
        spikes = spikes[spikes < t_stop]
        times.append(spikes)
        neurons.append(np.full(spikes.size, i))
    return inputs, SpikeTrains(np.concatenate(times), np.concatenate(neurons), n_out)


@given(
    seed=st.integers(0, 2**32 - 1),
    ratio=st.sampled_from(RATIOS),
    t_ref=st.sampled_from([0.0, 1.0, 2.5]),
    delay=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_weighted_s_psps_add_up_to_the_threshold_times_the_count(seed, ratio, t_ref, delay):
    layer, inputs, outputs = driven_layer(seed, ratio, t_ref, delay)
    assume(len(outputs) > 0)
    e = s_psp(inputs, outputs, layer.neuron, 200.0, delay)
    assert e.shape == (5, 6)
    np.testing.assert_allclose(
        np.sum(layer.weight.T * e, axis=1), layer.theta * outputs.counts(), rtol=1e-12, atol=0.0
    )


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_the_identity_is_not_an_empty_claim(ratio, t_ref):
    layer, inputs, outputs = driven_layer(3, ratio, t_ref, 0.5)
    assert len(outputs) > 10
    e = s_psp(inputs, outputs, layer.neuron, 200.0, 0.5)
    assert np.count_nonzero(e) > 20 and e.min() >= -1e-12
    without_delay = np.sum(layer.weight.T * s_psp(inputs, outputs, layer.neuron, 200.0), axis=1)
    assert not np.allclose(without_delay, layer.theta * outputs.counts(), rtol=1e-3)


@settings(max_examples=examples(30))
@given(
    seed=st.integers(0, 2**32 - 1),
    ratio=st.sampled_from(RATIOS),
    t_ref=st.sampled_from([0.0, 2.0]),
    delay=st.sampled_from([0.0, 1.5]),
)
def test_s_psp_is_the_double_sum_of_the_pair_kernel(seed, ratio, t_ref, delay):
    neuron = LIF(tau_m=16.0, tau_syn=16.0 / ratio, t_ref=t_ref)
    inputs, outputs = any_trains(seed, t_ref)
    e = s_psp(inputs, outputs, neuron, 120.0, delay)
    np.testing.assert_allclose(e, s_psp_by_pairs(inputs, outputs, neuron, delay), rtol=1e-12, atol=1e-13)
    assert not e[-1].any() and not e[:, -1].any()


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_s_psp_is_the_integral_of_the_current_since_the_release(ratio, t_ref):
    tau_m, tau_s = 16.0, 16.0 / ratio
    arrivals, spikes = [1.0, 4.5, 9.0, 9.5, 21.0, 33.0], [6.0, 8.5, 20.0, 31.0, 48.0]

    expected = 0.0
    for release, t in releases_and_spikes(spikes, t_ref):
        # The current jumps at the arrivals: integrate from one to the next.
        corners = sorted({release, t, *(a for a in arrivals if release < a < t)})
        for low, high in pairwise(corners):
            arrived = [a for a in arrivals if a <= low]

            def integrand(y, t=t, arrived=arrived):
                current = sum(math.exp(-(t - y - a) / tau_s) for a in arrived)
                return math.exp(-y / tau_m) * current / tau_m

            expected += quad(integrand, t - high, t - low, epsabs=1e-13, epsrel=1e-12)[0]
    neuron = LIF(tau_m=tau_m, tau_syn=tau_s, t_ref=t_ref)
    e = s_psp(SpikeTrains(arrivals, [0] * 6, 1), SpikeTrains(spikes, [0] * 5, 1), neuron, 50.0)
    assert e[0, 0] == pytest.approx(expected, rel=1e-10)


@settings(max_examples=examples(20))
@given(
    seed=st.integers(0, 2**32 - 1),
    ratio=st.sampled_from([2.0, 8.0, 0.5, 0.125]),
    t_ref=st.sampled_from([0.0, 2.0]),
    delay=st.sampled_from([0.0, 1.5]),
)
def test_s_psp_is_what_the_two_trace_recursion_gives(seed, ratio, t_ref, delay):
    neuron = LIF(tau_m=16.0, tau_syn=16.0 / ratio, t_ref=t_ref)
    inputs, outputs = any_trains(seed, t_ref)
    e = s_psp(inputs, outputs, neuron, 120.0, delay)
    np.testing.assert_allclose(e, s_psp_by_traces(inputs, outputs, neuron, delay), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-8, 2.0, 50.0, 0.5, 0.02])
def test_trials_longer_than_the_range_of_exp_lose_nothing(ratio):
    tau_m = max(1.0, ratio)
    neuron = LIF(tau_m=tau_m, tau_syn=tau_m / ratio, t_ref=1.0)
    t_stop = 2500.0 * min(tau_m, tau_m / ratio)
    rng = np.random.default_rng(5)
    inputs = SpikeTrains(np.append(rng.uniform(0.0, t_stop, 200), t_stop - 3.0), rng.integers(0, 3, 201), 3)
    spikes = np.append(np.arange(10.0, t_stop - 8.0, 7.0), t_stop - 0.5)
    outputs = SpikeTrains(spikes, np.zeros(spikes.size, np.int64), 1)
    e = s_psp(inputs, outputs, neuron, t_stop)
    assert np.all(np.isfinite(e)) and e.max() > 0.0
    np.testing.assert_allclose(e, s_psp_by_pairs(inputs, outputs, neuron), rtol=1e-11, atol=1e-13)


def test_an_arrival_at_the_instant_of_the_spike_contributes_nothing():
    neuron = LIF(tau_m=10.0, tau_syn=5.0)
    e = s_psp(SpikeTrains([4.0, 9.0], [0, 1], 2), SpikeTrains([4.0, 9.0], [0, 0], 1), neuron, 10.0)
    assert e[0, 0] == pytest.approx(psp(5.0, 10.0, 5.0), rel=1e-14)
    assert e[0, 1] == 0.0


@pytest.mark.parametrize("tau_syn", [None, (5.0, 10.0)])
def test_synapses_without_a_single_current_are_refused(tau_syn):
    trains = SpikeTrains([1.0], [0], 1)
    with pytest.raises(NetworkError, match="one exponential current"):
        s_psp(trains, trains, LIF(tau_syn=tau_syn), 10.0)
