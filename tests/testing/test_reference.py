"""The instruments themselves: the slow twin against the 50-digit oracle, and both against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from evsim.neurons.lif import LIF
from evsim.testing.closed_form import oracle_crossing
from evsim.testing.oracle import Replay, replay_network, replay_neuron
from evsim.testing.strategies import NetworkDescription, lif_parameters, ratios, small_networks, spike_trains
from helpers.examples import examples
from helpers.reference import first_crossing, simulate_twin

EPS = 2.0**-52
GRAZING = 1e-9
CLOSE = 1e-11  # ms

quick = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
brief = settings(quick, max_examples=examples(12))


def twin_neuron(lif: LIF, arrivals: list[tuple[float, float]], t_stop: float) -> list[float]:
    """Spike times of the twin for one neuron with the given (arrival time, weight)."""
    synapses = [(k, 0, w, 0.0) for k, (_, w) in enumerate(arrivals)]
    spikes = [(t, k) for k, (t, _) in enumerate(arrivals)]
    return [t for t, _ in simulate_twin([lif], synapses, spikes, len(arrivals), t_stop)]


def assert_same_spikes(found: list[tuple[float, int]], truth: Replay, neurons: int) -> None:
    """Same spikes of every neuron, and the same order unless two times agree to CLOSE."""
    for k in range(neurons):
        mine, exact = [t for t, n in found if n == k], [float(t) for t, n in truth if n == k]
        assert len(mine) == len(exact)
        np.testing.assert_allclose(mine, exact, rtol=0.0, atol=CLOSE)
    times = [float(t) for t, _ in truth]
    if all(b - a > CLOSE for a, b in pairwise(times)):
        assert [n for _, n in found] == [n for _, n in truth]


# ------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("weight", [4.1, 5.0, 30.0])
def test_one_input_with_ratio_two_has_the_closed_form(weight: float) -> None:
    """u = w (x - x^2) with x = exp(-t / tau_m), so u = 1 at x = (1 + sqrt(1 - 4 / w)) / 2."""
    lif = LIF(tau_m=20.0, tau_syn=10.0, t_ref=1000.0)
    with mp.workdps(50):
        exact = 3 + -20 * mp.log((1 + mp.sqrt(1 - mpf(4) / mpf(weight))) / 2)
    record = replay_neuron(lif, [(3.0, weight)], 100.0)
    assert [abs(spike.time - exact) < mpf(10) ** -38 for spike in record] == [True]
    (t,) = twin_neuron(lif, [(3.0, weight)], 100.0)
    assert abs(mpf(t) - exact) <= 4 * EPS * record[0].condition


def test_one_input_below_the_critical_weight_never_fires() -> None:
    lif = LIF(tau_m=20.0, tau_syn=10.0)
    assert twin_neuron(lif, [(3.0, 4.0 - 1e-9)], 100.0) == []
    assert replay_neuron(lif, [(3.0, 4.0 - 1e-9)], 100.0) == []


def test_equal_time_constants_give_the_lambert_w_crossing() -> None:
    with mp.workdps(50):
        exact = -10 * mp.lambertw(-mpf(1) / 5)
        assert abs(oracle_crossing(0.0, [5.0], [10.0], 1.0, 10.0, 50.0) - exact) < mpf(10) ** -38
    assert first_crossing(0.0, [5.0], [10.0], 1.0, 10.0, 50.0) == pytest.approx(float(exact), rel=4 * EPS)


def test_bias_alone_fires_at_the_logarithm() -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, bias=2.0, t_ref=1.0)
    period = 10.0 * math.log(2.0)
    np.testing.assert_allclose(
        twin_neuron(lif, [], 30.0), [period, 2 * period + 1.0, 3 * period + 2.0], rtol=4 * EPS
    )


def test_condition_follows_the_formula_for_free_running_neuron() -> None:
    """Terms |u_reset| E + |theta| = 2 |theta|, slope |theta| / tau_m; the last error is carried over."""
    lif = LIF(tau_m=10.0, tau_syn=None, bias=2.0)
    first, second = replay_neuron(lif, [], 15.0)
    assert first.condition == pytest.approx(20.0 + float(first.time))
    assert second.condition == pytest.approx(20.0 + float(second.time) + first.condition)


# ---------------------------------------------------------------------------------------------- semantics


def test_kicks_at_one_instant_are_summed_before_the_threshold_test() -> None:
    lif = LIF(tau_syn=None)
    assert twin_neuron(lif, [(1.0, 2.0), (1.0, -1.5)], 5.0) == []
    assert twin_neuron(lif, [(1.0, -1.5), (1.0, 2.5)], 5.0) == [1.0]


def test_kick_at_the_end_of_refractoriness_counts_and_earlier_ones_are_lost() -> None:
    lif = LIF(tau_m=10.0, tau_syn=None, t_ref=2.0)
    assert twin_neuron(lif, [(1.0, 1.5), (2.0, 1.5), (3.0, 1.5)], 9.0) == [1.0, 3.0]
    kept = lif.with_(keep_refractory_input=True)
    assert twin_neuron(kept, [(1.0, 1.5), (2.0, 1.5)], 9.0) == [1.0, 3.0]
    assert [float(s.time) for s in replay_neuron(kept, [(1.0, 1.5), (2.0, 1.5)], 9.0)] == [1.0, 3.0]


def test_initial_potential_above_threshold_fires_at_zero() -> None:
    lif = LIF(v_init=1.0)
    assert twin_neuron(lif, [], 5.0) == [0.0]
    assert [float(s.time) for s in replay_neuron(lif, [], 5.0)] == [0.0]


def test_arrivals_and_spikes_at_the_end_are_left_out() -> None:
    lif = LIF(tau_syn=None)
    assert twin_neuron(lif, [(5.0, 2.0)], 5.0) == []
    assert [float(s.time) for s in replay_neuron(lif, [(5.0, 2.0)], 5.0)] == []


def test_zero_delay_chain_sums_all_inputs_of_an_instant() -> None:
    """Input 0 excites neuron 1, which inhibits neuron 0 at once, so that neuron 0 stays silent."""
    cell = LIF(tau_syn=None)
    synapses = [(0, 0, 1.5, 0.0), (0, 1, 1.5, 0.0), (2, 0, -1.0, 0.0)]
    assert simulate_twin([cell, cell], synapses, [(1.0, 0)], 1, 5.0) == [(1.0, 1)]
    truth = replay_network([cell, cell], synapses, [(1.0, 0)], 1, 5.0)
    assert [(float(t), k) for t, k in truth] == [(1.0, 1)]


@pytest.mark.parametrize("engine", [simulate_twin, replay_network])
def test_zero_delay_cycle_of_delta_synapses_is_refused(engine) -> None:
    cell = LIF(tau_syn=None)
    with pytest.raises(ValueError, match="cycle"):
        engine([cell, cell], [(0, 1, 1.0, 0.0), (1, 0, 1.0, 0.0)], [], 0, 5.0)


# ---------------------------------------------------------------------------------------- twin and oracle


@quick
@given(data=st.data())
def test_twin_finds_the_oracles_crossing(data) -> None:
    receptors = data.draw(st.sampled_from([1, 2]))
    tau_m = data.draw(st.floats(1.0, 50.0))
    taus = [tau_m / data.draw(ratios()) for _ in range(receptors)]
    u0 = data.draw(st.floats(-3.0, 0.99))
    currents = [data.draw(st.floats(-10.0, 20.0)) for _ in range(receptors)]
    theta = data.draw(st.sampled_from([1.0, -0.5]) | st.floats(0.01, 2.0))
    nudged = oracle_crossing(u0, currents, taus, theta * (1 - math.copysign(GRAZING, theta)), tau_m, 100.0)
    exact = oracle_crossing(u0, currents, taus, theta, tau_m, 100.0)
    found = first_crossing(u0, currents, taus, theta, tau_m, 100.0)
    assume(abs(nudged - exact) < 1e-4 or nudged == exact)  # else it grazes
    assert (found < math.inf) == (exact < mp.inf)
    if found < math.inf:
        assert abs(mpf(found) - exact) <= 1e-15 * (1.0 + abs(nudged - exact) / GRAZING) * 100.0


@quick
@given(data=st.data())
def test_no_sample_before_the_oracles_crossing_is_above_threshold(data) -> None:
    tau_m = data.draw(st.floats(1.0, 50.0))
    taus = [tau_m / data.draw(ratios()), tau_m / data.draw(st.sampled_from([0.3, 3.0, 7.0]))]
    currents = [data.draw(st.floats(-10.0, 20.0)) for _ in taus]
    theta = data.draw(st.floats(-1.0, 1.0))
    crossing = float(oracle_crossing(-1.5, currents, taus, theta, tau_m, 60.0))
    s = np.linspace(0.0, 60.0, 4001)
    u = -1.5 * np.exp(-s / tau_m)
    for i, tau in zip(currents, taus):
        x = s * abs(tau_m - tau) / (tau_m * tau)
        phi = np.divide(-np.expm1(-x), x, out=np.ones_like(x), where=x > 0)
        u += i * s / tau_m * np.exp(-s / max(tau_m, tau)) * phi
    assert np.all(u[s < crossing] < theta + 1e-12)
    if crossing < 60.0:
        assert np.interp(crossing, s, u) == pytest.approx(theta, abs=0.05 * (1.0 + np.abs(currents).sum()))


@quick
@given(data=st.data())
def test_twin_meets_the_contract_on_one_neuron(data) -> None:
    """No spike missed or invented; |t - t_true| <= 4 eps condition."""
    lif = data.draw(lif_parameters())
    trains = data.draw(spike_trains(1, 40.0))
    arrivals = [(float(t), data.draw(st.floats(-2.0, 4.0))) for t in trains.times]
    truth = replay_neuron(lif, arrivals, 50.0)
    assume(truth.margin > GRAZING)
    found = twin_neuron(lif, arrivals, 50.0)
    assert len(found) == len(truth)
    for t, spike in zip(found, truth):
        assert abs(mpf(t) - spike.time) <= 4 * EPS * spike.condition


def check_network(description: NetworkDescription) -> None:
    truth = replay_network(*description.arguments())
    assume(truth.margin > GRAZING)
    assert_same_spikes(simulate_twin(*description.arguments()), truth, len(description.neurons))


@pytest.mark.parametrize("receptors", [0, 1, 2])
@brief
@given(data=st.data())
def test_twin_and_oracle_agree_on_recurrent_networks(data, receptors: int) -> None:
    check_network(data.draw(small_networks(recurrent=True, delays="any", receptors=receptors, t_stop=20.0)))


@brief
@given(small_networks(recurrent=False, delays="zero", t_stop=20.0))
def test_twin_and_oracle_agree_on_feedforward_networks_without_delay(description) -> None:
    check_network(description)


@brief
@given(small_networks(receptors=1, max_population=2, t_stop=15.0))
def test_one_neuron_replay_and_network_replay_are_one_oracle(description) -> None:
    """A neuron fed by inputs only gives the same spikes in both."""
    arrivals = [
        (t + delay, w) for t, k in description.input_spikes for s, n, w, delay in description.synapses
        if s == k and n == 0
    ]  # fmt: skip
    feed = [s for s in description.synapses if s[0] < description.n_inputs and s[1] == 0]
    alone = replay_network(description.neurons[:1], feed, *description.arguments()[2:])
    single = replay_neuron(description.neurons[0], arrivals, description.t_stop)
    assert len(alone) == len(single)
    assert all(abs(t - spike.time) < mpf(10) ** -30 for (t, _), spike in zip(alone, single))
