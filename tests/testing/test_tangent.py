"""The forward tangent against the 50-digit derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from evsim import LIF
from evsim.testing import (
    KINDS,
    NetworkDescription,
    SpikesChanged,
    clear_of_grazing,
    random_direction,
    replay_network,
    small_networks,
    spike_time_derivatives,
    tangent,
    unit_direction,
)
from helpers.engines import one_way_to_each_instant
from helpers.examples import examples
from helpers.reference import simulate_twin

# No shrinking: a failure is found within seconds, its smallest form after minutes.
quick = settings(deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
DELTA = LIF(tau_syn=None, tau_m=10.0)


def assert_agree(description, direction):
    wanted_spikes, wanted = spike_time_derivatives(description, direction)
    spikes = simulate_twin(*description.arguments())
    assert [n for _, n in spikes] == [n for _, n in wanted_spikes]
    found = tangent(description, spikes, direction)
    size = np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11 * size + 1e-25)  # 1e-25: see STEP


@pytest.mark.parametrize("receptors", [0, 1, 2])
@pytest.mark.parametrize("delays", ["positive", "any"])
@settings(quick, max_examples=examples(12))
@given(data=st.data(), seed=st.integers(0, 99))
def test_tangent_is_the_derivative(receptors, delays, data, seed):
    d = data.draw(small_networks(receptors=receptors, delays=delays, t_stop=20.0, max_spikes=8))
    replay = replay_network(*d.arguments())
    assume(len(replay) and clear_of_grazing(replay, 1e-5) and one_way_to_each_instant(d, replay))
    for kinds in (KINDS, (data.draw(st.sampled_from(KINDS)),)):
        try:
            assert_agree(d, random_direction(d, kinds, seed))
        except SpikesChanged:
            assume(False)


@settings(quick, max_examples=examples(12))
@given(description=small_networks(recurrent=False, delays="zero", t_stop=20.0), seed=st.integers(0, 99))
def test_tangent_is_the_derivative_in_layers_without_delay(description, seed):
    replay = replay_network(*description.arguments())
    assume(len(replay) and clear_of_grazing(replay, 1e-5))
    try:
        assert_agree(description, random_direction(description, KINDS, seed))
    except SpikesChanged:
        assume(False)


@settings(quick, max_examples=examples(8))
@given(description=small_networks(t_stop=15.0), start=st.floats(1.1, 3.0), seed=st.integers(0, 99))
def test_tangent_is_the_derivative_after_a_spike_at_zero(description, start, seed):
    first = description.neurons[0]
    neurons = [first.with_(v_init=first.v_rest + start * (first.v_th - first.v_rest)), *description.neurons[1:]]
    d = NetworkDescription(**vars(description) | {"neurons": neurons})
    replay = replay_network(*d.arguments())
    assume(clear_of_grazing(replay, 1e-5) and one_way_to_each_instant(d, replay))
    assert replay[0][0] == 0
    try:
        assert_agree(d, random_direction(d, KINDS, seed))
    except SpikesChanged:
        assume(False)


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_of_kept_kicks_and_delayed_releases(kind):
    lif = DELTA.with_(t_ref=2.0, keep_refractory_input=True, v_reset=-0.1)
    synapses = [(0, 0, 1.5, 0.25), (1, 0, 0.6, 0.5), (2, 1, 0.7, 0.6), (0, 1, 0.5, 0.35)]
    inputs = [(1.0, 0), (1.9, 0), (2.1, 1), (4.3, 0), (8.0, 1), (9.2, 0)]
    d = NetworkDescription(2, [2], [lif, lif.with_(bias=1.2, t_ref=2.5)], synapses, inputs, 30.0)
    assert len(replay_network(*d.arguments())) >= 5
    assert_agree(d, random_direction(d, (kind,), 3))


def test_a_chain_of_kicks_without_delay_moves_as_one():
    synapses = [(0, 0, 1.5, 1.0), (1, 1, 1.5, 0.0), (0, 2, 0.3, 1.0), (2, 2, 0.9, 0.0), (2, 3, 9.0, 0.0)]
    d = NetworkDescription(1, [3, 1], [DELTA] * 3 + [LIF()], synapses, [(1.0, 0)], 9.0)
    assert_agree(d, {"input": np.ones(1)})
    assert_agree(d, unit_direction(d, "weight", 2))


def test_kicks_of_one_instant_have_a_tangent_only_if_they_move_together():
    d = NetworkDescription(2, [1], [DELTA], [(0, 0, 0.7, 1.0), (1, 0, 0.7, 1.0)], [(1.0, 0), (1.0, 1)], 9.0)
    with pytest.raises(SpikesChanged, match="several kicks"):
        tangent(d, [(2.0, 0)], unit_direction(d, "input", 0))
    np.testing.assert_array_equal(tangent(d, [(2.0, 0)], {"input": np.ones(2)}), [1.0])
    np.testing.assert_array_equal(tangent(d, [(2.0, 0)], {"weight": np.ones(2)}), [0.0])


def test_two_ways_to_one_instant_are_seen():
    """An input makes a neuron fire, and its spike meets one of the input's own; by one way, or at other times, none."""

    def description(*delays):
        synapses = [(0, 0, 2.0, delays[0]), (1, 1, 2.0, delays[1]), (0, 1, 2.0, delays[2])]
        return NetworkDescription(1, [2], [DELTA, DELTA], synapses, [(0.7, 0)], 20.0)

    for delays, good in (((0.3, 0.1, 0.4), False), ((0.3, 0.1, 0.5), True)):
        d = description(*delays)
        assert one_way_to_each_instant(d, replay_network(*d.arguments())) == good
