"""The ruler for gradients: derivatives by 50-digit differences, against closed forms and a full replay."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from evsim import LIF
from evsim.testing import (
    KINDS,
    NetworkDescription,
    SpikesChanged,
    clear_of_grazing,
    gradient,
    jacobian,
    random_direction,
    replay_network,
    small_networks,
    spike_time_derivatives,
    unit_direction,
)
from evsim.testing.closed_form import DIGITS, flow
from evsim.testing.derivatives import STEP, _moved
from evsim.testing.follow import base_of
from helpers.examples import examples

# No shrinking: a failure is found within seconds, its smallest form after minutes.
quick = settings(deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
DELTA = LIF(tau_syn=None, tau_m=10.0)


def one(lif, arrivals, t_stop=50.0, delays=None):
    """One neuron, one input and one synapse per (time in ms, weight); the delays are 0 unless given."""
    delays = delays or [0.0] * len(arrivals)
    synapses = [(k, 0, w, delay) for k, ((_, w), delay) in enumerate(zip(arrivals, delays))]
    spikes = [(t, k) for k, (t, _) in enumerate(arrivals)]
    return NetworkDescription(max(1, len(arrivals)), [1], [lif], synapses, spikes, t_stop)


def only(description, kind, index=0):
    """Derivative of all spike times by one parameter."""
    return spike_time_derivatives(description, unit_direction(description, kind, index))[1]


def test_one_input_with_ratio_two_has_the_closed_form():
    """u = w (x - x^2), x = exp(-s / tau_m); u = 1 at x = (1 + q) / 2 with q = sqrt(1 - 4 / w)."""
    w, tau = 5.0, 20.0
    d = one(LIF(tau_m=tau, tau_syn=10.0, t_ref=1000.0), [(3.0, w)], delays=[1.0])
    q = math.sqrt(1.0 - 4.0 / w)
    by_weight = -tau * 2.0 / (w * w * q) / (1.0 + q)
    spikes, slopes = spike_time_derivatives(d, unit_direction(d, "weight", 0))
    assert spikes == [(pytest.approx(4.0 - tau * math.log((1.0 + q) / 2.0), rel=1e-15), 0)]
    np.testing.assert_allclose(slopes, [by_weight], rtol=1e-14)
    np.testing.assert_allclose(only(d, "delay"), [1.0], rtol=1e-14)
    np.testing.assert_allclose(only(d, "input"), [1.0], rtol=1e-14)
    # Both time constants twice as large: everything takes twice as long.
    both = {"tau_m": np.array([tau]), "tau_exc": np.array([10.0])}
    np.testing.assert_allclose(spike_time_derivatives(d, both)[1], [spikes[0][0] - 4.0], rtol=1e-14)


def test_a_neuron_driven_by_bias_has_the_closed_form_in_every_parameter():
    """t1 = tau ln((b - v0) / (b - 1)), t2 = t1 + t_ref + tau ln((b - v_reset) / (b - 1)), b = v_rest + bias."""
    tau, b, v0, v_reset, t_ref = 10.0, 2.0, 0.25, -0.5, 1.5
    d = one(LIF(tau_m=tau, tau_syn=5.0, v_rest=0.5, bias=1.5, v_init=v0, v_reset=v_reset, t_ref=t_ref), [], 25.0)
    first, second = math.log((b - v0) / (b - 1.0)), math.log((b - v_reset) / (b - 1.0))
    by_b = [tau / (b - v0) - tau / (b - 1.0), tau / (b - v_reset) - tau / (b - 1.0)]
    wanted = {
        "tau_m": [first, second],
        "v_th": [tau / (b - 1.0)] * 2,
        "v_init": [-tau / (b - v0), 0.0],
        "v_reset": [0.0, -tau / (b - v_reset)],
        "t_ref": [0.0, 1.0],
        "bias": by_b,
        "v_rest": by_b,
        "tau_exc": [0.0, 0.0],
        "tau_inh": [0.0, 0.0],
    }
    assert set(wanted) | {"weight", "delay", "input"} == set(KINDS)
    for kind, steps in wanted.items():
        np.testing.assert_allclose(only(d, kind), np.cumsum(steps), rtol=1e-14, atol=1e-20, err_msg=kind)


@pytest.mark.parametrize("receptors", [0, 1, 2])
@settings(quick, max_examples=examples(8))
@given(data=st.data(), seed=st.integers(0, 99))
def test_following_the_events_gives_the_differences_of_full_replays(receptors, data, seed):
    d = data.draw(small_networks(delays="any", receptors=receptors, t_stop=15.0, max_spikes=6))
    base = base_of(d)
    assume(base.spikes and base.margin > 1e-9)
    direction = random_direction(d, KINDS, seed)
    try:
        spikes, slopes = spike_time_derivatives(d, direction)
    except SpikesChanged:
        assume(False)
    with mp.workdps(DIGITS):
        ahead, behind = (
            replay_network(*_moved(base, direction, step), base.n_inputs, base.end) for step in (STEP, -STEP)
        )
        for k in range(len(d.neurons)):
            a, b = ([t for t, n in replay if n == k] for replay in (ahead, behind))
            mine = [slope for (_, n), slope in zip(spikes, slopes) if n == k]
            assert len(a) == len(b) == len(mine)
            full = [float((x - y) / (2 * STEP)) for x, y in zip(a, b)]
            np.testing.assert_allclose(mine, full, rtol=1e-14, atol=1e-18)


@settings(quick, max_examples=examples(10))
@given(description=small_networks(t_stop=20.0, max_spikes=6))
def test_delays_of_an_input_sum_to_the_shifts_of_its_spikes(description):
    """Both move all its arrivals by the same time."""
    d = description
    assume(clear_of_grazing(replay_network(*d.arguments())))
    try:
        rows = jacobian(d, ("delay", "input"))
    except SpikesChanged:
        assume(False)
    assume(rows["input"].size)
    for source in range(d.n_inputs):
        by_delay = rows["delay"][[k for k, s in enumerate(d.synapses) if s[0] == source]].sum(axis=0)
        by_input = rows["input"][[k for k, s in enumerate(d.input_spikes) if s[1] == source]].sum(axis=0)
        np.testing.assert_allclose(by_delay, by_input, rtol=1e-13, atol=1e-15)


def test_time_constants_a_step_apart_keep_their_digits():
    s, tau_m = mpf(7), mpf(20)
    with mp.workdps(DIGITS):
        tau = tau_m + STEP
        (found,) = flow(s, tau_m, [tau]).psps
    with mp.workdps(120):
        exact = tau / (tau_m - tau) * (mp.exp(-s / tau_m) - mp.exp(-s / tau))
        assert abs(found - exact) < mpf(10) ** -46


# ------------------------------------------------------------------------------------ spikes without a crossing


def test_a_spike_made_by_a_kick_moves_with_it_and_with_no_weight():
    d = one(DELTA, [(1.0, 0.6), (2.0, 0.9)], delays=[0.5, 0.5])
    np.testing.assert_array_equal([only(d, "input", 0), only(d, "input", 1)], [[0.0], [1.0]])
    np.testing.assert_array_equal([only(d, "weight", 0), only(d, "weight", 1), only(d, "v_th")], [[0.0]] * 3)


def test_a_spike_of_the_initial_potential_stays_at_zero():
    d = one(LIF(v_init=1.5, bias=2.0, t_ref=1.0), [], 20.0)
    for kind in ("v_init", "v_th", "tau_m"):
        assert only(d, kind)[0] == 0.0
    assert only(d, "t_ref")[1] == pytest.approx(1.0, rel=1e-14)


def test_an_initial_potential_at_the_threshold_has_no_derivative():
    d = one(LIF(v_init=1.0), [], 20.0)
    with pytest.raises(SpikesChanged, match="initial potential"):
        only(d, "v_init")


def test_a_spike_made_by_kept_kicks_moves_with_the_release():
    lif = DELTA.with_(t_ref=2.0, keep_refractory_input=True)
    d = one(lif, [(1.0, 1.5), (2.0, 1.5)], 9.0)
    assert [t for t, _ in spike_time_derivatives(d, {})[0]] == [1.0, 3.0]
    np.testing.assert_allclose(only(d, "t_ref"), [0.0, 1.0])
    np.testing.assert_allclose(only(d, "input", 0), [1.0, 1.0])
    np.testing.assert_array_equal(only(d, "input", 1), [0.0, 0.0])


def test_a_chain_of_kicks_without_delay_moves_as_one():
    synapses = [(0, 0, 1.5, 1.0), (1, 1, 1.5, 0.0), (2, 2, 1.5, 0.0)]
    d = NetworkDescription(1, [3], [DELTA] * 3, synapses, [(1.0, 0)], 9.0)
    np.testing.assert_array_equal(only(d, "input"), [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(only(d, "delay", 1), [0.0, 1.0, 1.0])


# --------------------------------------------------------------------------------------- where there is none


def test_kicks_of_one_instant_have_a_derivative_only_if_they_move_together():
    d = one(DELTA, [(1.0, 0.7), (1.0, 0.7)])
    with pytest.raises(SpikesChanged, match="several kicks"):
        only(d, "input")
    np.testing.assert_array_equal(spike_time_derivatives(d, {"input": np.ones(2)})[1], [1.0])
    np.testing.assert_array_equal(only(d, "weight"), [0.0])


def test_kicks_that_cancel_and_move_apart_may_fire_the_neuron():
    with pytest.raises(SpikesChanged, match="moved apart"):
        only(one(DELTA, [(1.0, 1.7), (1.0, -1.5)]), "input")


def test_an_arrival_at_the_end_of_refractoriness_has_no_derivative():
    d = one(LIF(t_ref=2.0, tau_m=10.0, v_init=1.5), [(2.0, 30.0)])
    assert len(base_of(d).spikes) > 1
    for kind in ("input", "t_ref"):
        with pytest.raises(SpikesChanged, match="refractoriness"):
            only(d, kind)


def test_an_arrival_at_the_spike_of_its_target_has_no_derivative():
    """Neuron 1 is a copy of neuron 0, which reaches it at the instant of its own spike."""
    lif = LIF(tau_syn=5.0, bias=1.5, t_ref=1.0)
    d = NetworkDescription(1, [2], [lif, lif], [(1, 1, 0.5, 0.0)], [], 25.0)
    with pytest.raises(SpikesChanged, match="nearly a tie"):
        only(d, "bias", 0)


def test_a_kick_at_the_end_of_the_trial_has_no_derivative():
    """It is left out, but a little earlier it would make a neuron fire. A current that begins then changes nothing."""
    arrivals = [(1.0, 1.5), (15.0, 1.5)]
    with pytest.raises(SpikesChanged, match="end of the trial"):
        only(one(DELTA, arrivals, 16.0, [0.0, 1.0]), "input", 1)
    np.testing.assert_array_equal(only(one(LIF(bias=2.0), arrivals, 16.0, [0.0, 1.0]), "input", 1), [0.0])


def test_arrivals_nearer_than_the_step_change_places():
    d = one(LIF(bias=2.0), [(1e-17, 1.0), (2e-17, 1.0)])
    with pytest.raises(SpikesChanged, match="change places"):
        only(d, "input", 0)


def test_grazing_is_refused():
    d = one(LIF(tau_m=20.0, tau_syn=10.0, t_ref=1000.0), [(3.0, 4.0 + 1e-13)])
    with pytest.raises(SpikesChanged, match="grazing"):
        only(d, "weight")
    assert not clear_of_grazing(replay_network(*d.arguments()))
    assert clear_of_grazing(replay_network(*one(LIF(tau_m=20.0, tau_syn=10.0), [(3.0, 9.0)]).arguments()))


# --------------------------------------------------------------------------------------- parameters at an edge


@pytest.mark.parametrize(("kind", "lif"), [("delay", LIF()), ("input", LIF()), ("t_ref", LIF(bias=2.0))])
def test_a_parameter_of_zero_is_moved_to_its_side(kind, lif):
    """Its derivative is the limit of those at values next to it."""
    d = one(lif, [(0.0, 9.0)], 20.0)
    near = {
        "delay": one(lif, [(0.0, 9.0)], 20.0, [1e-12]),
        "input": one(lif, [(1e-12, 9.0)], 20.0),
        "t_ref": one(lif.with_(t_ref=1e-12), [(0.0, 9.0)], 20.0),
    }[kind]
    assert np.any(only(d, kind) != 0.0)
    np.testing.assert_allclose(only(d, kind), only(near, kind), rtol=1e-9, atol=1e-20)


def test_a_weight_of_zero_onto_two_receptors_counts_as_excitatory():
    lif = LIF(tau_syn=(5.0, 9.0), bias=1.5)
    zero, above, below = (only(one(lif, [(1.0, w)], 30.0), "weight") for w in (0.0, 1e-12, -1e-12))
    np.testing.assert_allclose(zero, above, rtol=1e-9)
    assert abs(zero[0] - below[0]) > 0.1
    other_way = spike_time_derivatives(one(lif, [(1.0, 0.0)], 30.0), {"weight": np.array([-1.0])})[1]
    np.testing.assert_array_equal(other_way, -zero)


def test_zeros_moved_to_both_sides_are_refused():
    d = one(LIF(), [(1.0, 6.0), (2.0, 6.0)])
    with pytest.raises(ValueError, match="both sides"):
        spike_time_derivatives(d, {"delay": np.array([1.0, -1.0])})


def test_a_direction_of_another_shape_or_kind_is_refused():
    d = one(LIF(), [(1.0, 6.0)])
    with pytest.raises(ValueError, match="shape"):
        spike_time_derivatives(d, {"weight": np.ones(2)})
    with pytest.raises(ValueError, match="no parameter 'tau'"):
        spike_time_derivatives(d, {"tau": np.ones(1)})


# ----------------------------------------------------------------------------------------------- gradients


def test_gradient_is_the_pull_along_each_parameter():
    d = one(LIF(t_ref=1.0), [(1.0, 9.0), (4.0, 8.0)], delays=[0.5, 0.75])
    spikes = base_of(d).spikes
    assert len(spikes) >= 2
    pull = np.arange(1.0, len(spikes) + 1.0)
    by_array = gradient(d, pull)
    assert {kind: values.shape for kind, values in by_array.items()} == {
        kind: (2,) if kind in ("weight", "delay", "input") else (1,) for kind in KINDS
    }
    by_name = gradient(d, {(0, k): value for k, value in enumerate(pull)}, {"weight": [1], "v_th": [0]})
    np.testing.assert_array_equal(by_name["weight"], by_array["weight"][1:])
    np.testing.assert_array_equal(by_name["v_th"], by_array["v_th"])
    assert by_array["weight"][1] == only(d, "weight", 1) @ pull
    assert gradient(d, {(0, 1): 2.0}, ["bias"])["bias"] == pytest.approx(2.0 * only(d, "bias")[1])


def test_spikes_are_named_by_neuron_and_number():
    lifs = [LIF(bias=2.0, t_ref=1.0), LIF(bias=2.5, t_ref=1.0)]
    d = NetworkDescription(1, [2], lifs, [], [], 40.0)
    spikes = base_of(d).spikes
    third = [place for place, (_, n) in enumerate(spikes) if n == 1][2]
    assert third > 2
    named = gradient(d, {(1, 2): 1.0}, ["tau_m"])["tau_m"]
    np.testing.assert_array_equal(named, gradient(d, np.eye(len(spikes))[third], ["tau_m"])["tau_m"])
    assert named[0] == 0.0 and named[1] > 0.0


def test_gradient_refuses_spikes_that_do_not_exist():
    d = one(LIF(t_ref=100.0), [(1.0, 9.0)])
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        gradient(d, {(0, 1): 1.0})
    with pytest.raises(ValueError, match="shape"):
        gradient(d, [1.0, 2.0])


def test_gradient_of_a_silent_network_is_zero():
    assert gradient(one(LIF(), [(1.0, 0.1)]), []) == {kind: [0.0] for kind in KINDS}
