"""Facts on counts and S-PSPs that docs/open_questions.md states: s = 1, and Gamma as the total effect of a closure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from evsim.learning import HM2BP, Dense, s_psp
from evsim.learning.rules.counts.slopes import regular_mean
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.examples import examples

T = 120.0


def a_layer_and_its_spikes(seed, t_ref, synchronous):
    rng = np.random.default_rng(seed)
    neuron = LIF(tau_m=rng.uniform(8.0, 60.0), tau_syn=rng.uniform(1.0, 7.0), t_ref=t_ref, v_th=rng.uniform(0.1, 0.6))
    layer = Dense(15, 12, neuron, delay=float(rng.uniform(0.0, 3.0)))
    layer.weight = rng.normal(0.3, 0.6, (15, 12))
    if synchronous:
        times, neurons = np.repeat(np.arange(4.0, T, 9.0), 15), np.tile(np.arange(15), 13)
    else:
        times, neurons = rng.uniform(0.0, T, 200), rng.integers(0, 15, 200)
    inputs = SpikeTrains(times, neurons, 15)
    (outputs,) = layer.forward(SpikeBatch.from_trains([inputs]), T)
    return layer, inputs, outputs


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10**6), t_ref=st.sampled_from([0.0, 0.5, 4.0]), synchronous=st.booleans())
def test_s_is_1_for_every_spiking_neuron_whatever_the_input(seed, t_ref, synchronous):
    layer, inputs, outputs = a_layer_and_its_spikes(seed, t_ref, synchronous)
    o = outputs.counts()
    e = s_psp(inputs, outputs, layer.neuron, T, float(layer.delays.value()))
    # Relative to the terms that cancel in the sum: inhibition and excitation may be much larger than their difference.
    terms = np.einsum("ij,ji->i", np.abs(e), np.abs(layer.weight)) / layer.theta
    s = np.einsum("ij,ji->i", e, layer.weight) / layer.theta
    assert np.all(np.abs(s - o) <= 1e-12 * np.maximum(terms, 1.0))


def test_with_lateral_inhibition_the_feed_forward_part_of_s_is_above_1():
    layer, inputs, _ = a_layer_and_its_spikes(3, 1.0, False)
    layer.lateral_inhibition = 0.1
    (outputs,) = layer.forward(SpikeBatch.from_trains([inputs]), T)
    fires = outputs.counts() > 0
    e = s_psp(inputs, outputs, layer.neuron, T, float(layer.delays.value()))
    s = np.einsum("ij,ji->i", e, layer.weight)[fires] / (layer.theta[fires] * outputs.counts()[fires])
    assert fires.sum() > 4 and np.all(s > 1.0 - 1e-12) and s.max() > 1.05


@pytest.mark.parametrize("t_ref", [0.0, 2.0])
def test_gamma_is_the_total_effect_of_the_closure_that_saturates(t_ref):
    # Mean-field model: nu o = g m(o), with g = sum_j w_j o_j tau_s/T. A weight changes g by o_j tau_s/T per unit.
    tau_m, tau_s, nu, per_weight = 20.0, 5.0, 0.5, 7.0 * 5.0 / T
    layer = Dense(1, 1, LIF(tau_m=tau_m, tau_syn=tau_s, t_ref=t_ref, v_th=nu))

    def count(g):
        return brentq(lambda o: nu * o - g * regular_mean(o, T, tau_m, t_ref)[0], 1e-3, 55.0, xtol=1e-14, rtol=1e-14)

    for g in (0.8, 1.5, 4.0):
        o = count(g)
        h = 1e-5 * g
        true = (count(g + h) - count(g - h)) / (2 * h) * per_weight
        e = per_weight * regular_mean(o, T, tau_m, t_ref)[0]
        gamma = HM2BP(micro="meanfield", max_gamma=np.inf)._gamma(layer, np.array([[o]]), T)[0, 0]
        np.testing.assert_allclose(gamma * e / nu, true, rtol=1e-7)
