"""STDP at exact times, against the sum over pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evsim
from evsim import LIF, STDP, FixedIndegree, Network, NetworkError, SpikeTrains
from helpers.examples import examples

DELTA = LIF(tau_m=10.0, tau_syn=None, v_th=1.0, t_ref=1.0)


def pair_sum(arrivals: np.ndarray, spikes: np.ndarray, rule: STDP) -> float:
    """Sum over all pairs; a spike at the instant of an arrival comes after it."""
    change = 0.0
    for t_pre in arrivals:
        for t_post in spikes:
            if t_post >= t_pre:
                change += rule.a_plus * np.exp(-(t_post - t_pre) / rule.tau_plus)
            else:
                change -= rule.a_minus * np.exp(-(t_pre - t_post) / rule.tau_minus)
    return change


def plastic_network(rule: STDP, delays: np.ndarray, neuron: LIF) -> tuple[Network, int]:
    """Plastic synapses of no strength to speak of from "in"; "drive" makes the neurons fire."""
    net = Network()
    net.add_input("in", size=delays.shape[0])
    net.add_input("drive", size=1)
    net.add_population("out", size=delays.shape[1], neuron=neuron)
    number = net.connect("in", "out", weight=1e-9, delay=delays, plasticity=rule)
    net.connect("drive", "out", weight=8.0)
    return net, number


@settings(deadline=None, max_examples=examples(40))
@given(
    seed=st.integers(0, 10**6),
    rule=st.builds(
        STDP, a_plus=st.floats(0.0, 1e-9), a_minus=st.floats(0.0, 1e-9), tau_plus=st.floats(1.0, 50.0),
        tau_minus=st.floats(1.0, 50.0), w_min=st.just(-np.inf),
    ),
    tau_syn=st.sampled_from([None, 5.0]),
)  # fmt: skip
def test_weights_change_by_the_sum_over_pairs(seed, rule, tau_syn) -> None:
    rng = np.random.default_rng(seed)
    delays = rng.uniform(0.0, 5.0, (3, 2))
    net, number = plastic_network(rule, delays, DELTA.with_(tau_syn=tau_syn, v_th=rng.uniform(0.5, 1.5, 2)))
    x = SpikeTrains(rng.uniform(0.0, 90.0, 20), rng.integers(0, 3, 20), size=3)
    drive = SpikeTrains(rng.uniform(0.0, 90.0, 6), np.zeros(6, np.int64), size=1)
    rec = net.simulate(100.0, {"in": x, "drive": drive})
    assert len(rec["out"]) > 0
    s = rec.synapses(number)
    for pre, post, weight, delay in zip(s.pre, s.post, s.weight, s.delay):
        expected = 1e-9 + pair_sum(x.of(pre) + delay, rec["out"].of(post), rule)
        assert weight == pytest.approx(expected, rel=1e-12, abs=1e-21)


def test_a_spike_caused_by_an_arrival_comes_after_it_and_strengthens_it_in_full() -> None:
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=1, neuron=DELTA)
    number = net.connect("in", "out", weight=1.5, delay=0.7, plasticity=STDP(a_plus=0.25))
    rec = net.simulate(10.0, {"in": SpikeTrains([1.0], [0], size=1)})
    assert rec["out"].times.tolist() == [1.7]
    assert rec.weights[number].tolist() == [1.75]


def test_an_arrival_changes_the_weight_and_is_delivered_with_it() -> None:
    rule = STDP(a_plus=0.0, a_minus=0.5, tau_minus=1e9)
    net = Network()
    net.add_input("in", size=1)
    net.add_population("out", size=1, neuron=DELTA)
    net.connect("in", "out", weight=1.2, plasticity=rule)
    rec = net.simulate(10.0, {"in": SpikeTrains([1.0, 5.0], [0, 0], size=1)})
    assert rec["out"].times.tolist() == [1.0]  # the second arrives with 0.7


def test_weights_stay_within_their_bounds() -> None:
    rule = STDP(a_plus=0.004, a_minus=0.005, w_min=0.01, w_max=0.03)
    net = Network()
    net.add_population("out", size=80, neuron=DELTA)
    number = net.connect("out", "out", weight=0.02, delay=1.5, rule=FixedIndegree(20), plasticity=rule)
    net.add_poisson("out", rate=300.0, weight=0.5)
    rec = net.simulate(300.0, seed=3)
    weights = rec.weights[number]
    assert rec.driver == "queue"
    assert weights.min() == 0.01 and weights.max() == 0.03
    assert np.unique(weights).size > 100


def test_a_plastic_run_in_chunks_saved_and_resumed_is_the_same_to_the_bit() -> None:
    def network() -> Network:
        net = Network()
        net.add_population("out", size=40, neuron=DELTA)
        net.connect("out", "out", weight=0.2, delay=1.5, rule=FixedIndegree(20), plasticity=STDP(w_max=1.0))
        net.add_poisson("out", rate=400.0, weight=0.5)
        return net

    whole = network().simulate(100.0, seed=3)
    first = evsim.Simulation(network(), seed=3)
    a = first.advance_to(33.3)
    b = evsim.Simulation(network(), seed=3, state=first.state()).advance_to(100.0)
    joined = evsim.join([a, b])
    assert np.array_equal(joined["out"].times, whole["out"].times)
    assert np.array_equal(joined.weights[0], whole.weights[0])


@pytest.mark.parametrize(
    "values, message",
    [
        ({"tau_plus": 0.0}, "tau_plus must be > 0 ms; got 0.0"),
        ({"a_minus": np.nan}, "a_minus must be a finite number"),
        ({"w_min": 2.0, "w_max": 1.0}, "w_min must be below w_max"),
        ({"a_plus": "0.1"}, "a_plus must be a number; got '0.1'"),
        ({"w_max": None}, "w_max must be a number; got None"),
        ({"tau_plus": [20.0]}, r"tau_plus must be a number; got \[20.0\]"),
    ],
)
def test_bad_parameters_are_refused(values, message) -> None:
    with pytest.raises(NetworkError, match=message):
        STDP(**values)


def test_weights_outside_the_bounds_are_refused_and_other_drivers_say_why_they_cannot() -> None:
    net = Network()
    net.add_population("out", size=2, neuron=DELTA)
    with pytest.raises(NetworkError, match=r"within the bounds \[0.0, 1.0\].*got 1.5"):
        net.connect("out", "out", weight=1.5, delay=1.0, plasticity=STDP(w_max=1.0))
    net.connect("out", "out", weight=0.5, delay=1.0, plasticity=STDP(w_max=1.0))
    for driver in ("window", "sweep"):
        with pytest.raises(NetworkError, match="is plastic"):
            net.simulate(1.0, driver=driver)
    with pytest.raises(ValueError, match="weights changed during the run"):
        net.simulate(1.0).voltage("out", 0, [0.5])
