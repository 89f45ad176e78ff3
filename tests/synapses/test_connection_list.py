"""connect(pre=, post=): each pair a synapse, in the given order, checked, in every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import evsim
from evsim import LIF, STDP, FixedIndegree, Network, NetworkError, SpikeTrains
from evsim.description.projections import STRIDE

N_PRE, N_POST = 40, 2 * STRIDE + 77


def pairs(n: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs, a hundred of them several times."""
    rng = np.random.default_rng(seed)
    pre, post = rng.integers(0, N_PRE, n), rng.integers(0, N_POST, n)
    pre[-100:], post[-100:] = pre[:100], post[:100]
    return pre, post


def network(neuron: LIF | None = None, **connection: Any) -> Network:
    net = Network()
    net.add_input("in", N_PRE)
    net.add_population("out", N_POST, neuron or LIF(tau_m=10.0, tau_syn=2.0, t_ref=1.0))
    net.connect("in", "out", **connection)
    return net


def spikes(n: int = 400) -> dict[str, SpikeTrains]:
    rng = np.random.default_rng(5)
    return {"in": SpikeTrains(rng.uniform(0.0, 40.0, n), rng.integers(0, N_PRE, n), N_PRE)}


@pytest.mark.parametrize("driver", ["queue", "window"])
def test_synapses_are_the_list_with_its_order_and_its_repeats(driver) -> None:
    pre, post = pairs()
    weight, delay = np.arange(6000) * 1e-4, 0.5 + np.arange(6000)[::-1] * 1e-3
    s = network(pre=pre, post=post, weight=weight, delay=delay).simulate(1.0, spikes(), driver=driver).synapses(0)
    for found, given in ((s.pre, pre), (s.post, post), (s.weight, weight), (s.delay, delay)):
        assert np.array_equal(found, given)


@pytest.mark.parametrize("values", [{"weight": 0.4, "delay": 1.5}, {"weight": 0.4}, "own"])
def test_all_engines_give_the_spikes_of_the_same_synapses_in_a_sparse_matrix(values) -> None:
    import scipy.sparse

    pre, post = pairs()
    rng = np.random.default_rng(1)
    if values == "own":
        values = {"weight": rng.uniform(0.1, 0.7, 6000), "delay": rng.uniform(0.0, 3.0, 6000)}
    drivers = ["queue", "window"] + ["sweep"] * (np.ndim(values.get("delay", 0.0)) == 0)
    full = {k: np.broadcast_to(v, (6000,)) for k, v in ({"delay": 0.0} | values).items()}
    sparse = {k: scipy.sparse.coo_array((v, (pre, post)), shape=(N_PRE, N_POST)) for k, v in full.items()}
    right = network(**sparse).simulate(50.0, spikes(), driver="queue")["out"]
    assert len(right) > 100
    for driver in drivers:
        rec = network(pre=pre, post=post, **values).simulate(50.0, spikes(), driver=driver)
        assert np.array_equal(rec["out"].neurons, right.neurons)
        assert np.allclose(rec["out"].times, right.times, rtol=0, atol=1e-11)
    spike = 50
    before = rec.voltage("out", int(right.neurons[spike]), [np.nextafter(rec["out"].times[spike], 0.0)])
    assert before == pytest.approx(1.0, abs=1e-9)


def test_repeated_pairs_add_up_and_each_has_its_own_delay() -> None:
    net = Network()
    net.add_input("in", 1)
    net.add_population("out", 2, LIF(tau_syn=None, v_th=1.0))
    net.connect("in", "out", pre=[0, 0, 0], post=[1, 1, 0], weight=[0.6, 0.6, 2.0], delay=[1.0, 1.0, 3.0])
    for driver in ("queue", "window"):
        out = net.simulate(10.0, {"in": SpikeTrains([1.0], [0], 1)}, driver=driver)["out"]
        assert out.times.tolist() == [2.0, 4.0] and out.neurons.tolist() == [1, 0]


@pytest.mark.parametrize("tau_syn", [5.0, (5.0, 8.0), (5.0, 5.0), None], ids=str)
def test_parallel_synapses_of_both_signs_act_one_by_one_in_every_engine(tau_syn) -> None:
    """With a receptor for each sign they do not cancel."""
    rng = np.random.default_rng(2)
    pre, post = np.repeat(np.arange(N_PRE), 20), np.tile(np.arange(20), N_PRE)
    pre, post = np.tile(pre, 2), np.tile(post, 2)
    weight = np.concatenate([rng.uniform(0.5, 1.0, pre.size // 2), -rng.uniform(0.3, 0.6, pre.size // 2)])
    net = Network()
    net.add_input("in", N_PRE)
    net.add_population("out", 20, LIF(tau_m=10.0, tau_syn=tau_syn, v_th=0.6))
    net.connect("in", "out", pre=pre, post=post, weight=weight, delay=1.0)
    queue, window, sweep = (net.simulate(60.0, spikes(), driver=d)["out"] for d in ("queue", "window", "sweep"))
    assert len(queue) > 100
    for other in (window, sweep):
        assert np.array_equal(other.neurons, queue.neurons)
        assert np.allclose(other.times, queue.times, rtol=0, atol=1e-11)


def test_lists_may_have_drawn_values() -> None:
    pre, post = pairs()
    net = network(pre=pre, post=post, weight=stats.norm(1.0, 0.1), delay=lambda rng, n: rng.uniform(1.0, 2.0, n))
    s = net.simulate(1.0, spikes(), seed=3).synapses(0)
    assert np.array_equal(s.pre, pre) and stats.kstest(s.weight, stats.norm(1.0, 0.1).cdf).pvalue > 1e-4
    assert stats.kstest(s.delay, stats.uniform(1.0, 1.0).cdf).pvalue > 1e-4


def test_weights_of_plastic_lists_come_in_their_order() -> None:
    """Additive STDP without bounds, single spikes: each synapse changes by its own delay."""
    rule = STDP(a_plus=0.5, a_minus=0.0, w_min=-np.inf)
    net = Network()
    net.add_input("in", 3)
    net.add_population("out", 600, LIF(tau_syn=None, v_init=np.where(np.arange(600) > 500, 2.0, 0.0)))
    net.add_input("late", 1)
    pre, post = np.array([2, 0, 1, 0, 2]), np.array([599, 10, 550, 10, 3])
    weight = np.array([0.1, 0.2, 0.3, 0.4, 0.05])
    k = net.connect("in", "out", pre=pre, post=post, weight=weight, delay=[1.0, 2.0, 3.0, 4.0, 5.0], plasticity=rule)
    net.connect("late", "out", weight=2.0, delay=0.0)
    inputs = {"in": SpikeTrains([1.0, 1.0, 1.0], [0, 1, 2], 3), "late": SpikeTrains([9.0], [0], 1)}
    rec = net.simulate(20.0, inputs)
    pairing = 0.5 * np.exp(-(9.0 - 1.0 - np.array([1.0, 2.0, 3.0, 4.0, 5.0])) / rule.tau_plus)
    assert np.allclose(rec.weights[k], weight + pairing, rtol=1e-12)
    assert np.array_equal(rec.synapses(k).weight, rec.weights[k])


def test_an_empty_list_and_integers_of_any_kind_are_taken() -> None:
    assert network(pre=[], post=[], weight=1.0).simulate(1.0, spikes()).synapses(0).pre.size == 0
    for kind in (np.int8, np.uint16, np.uint64):
        net = network(pre=np.array([1, 2], kind), post=np.array([3, 4], kind), weight=0.1)
        assert net.simulate(1.0, spikes()).synapses(0).post.tolist() == [3, 4]


def test_a_list_is_copied() -> None:
    pre, post = np.array([0, 1]), np.array([0, 1])
    net = network(pre=pre, post=post, weight=0.1)
    pre[:] = post[:] = 39
    assert net.simulate(1.0, spikes()).synapses(0).pre.tolist() == [0, 1]


def test_a_state_belongs_to_its_list() -> None:
    pre, post = pairs()
    other = pre.copy()
    other[3000] = (other[3000] + 1) % N_PRE
    state = evsim.Simulation(network(pre=pre, post=post, weight=0.1)).state()
    evsim.Simulation(network(pre=pre, post=post, weight=0.1), state=state)
    with pytest.raises(ValueError, match="its network is declared differently"):
        evsim.Simulation(network(pre=other, post=post, weight=0.1), state=state)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"pre": [0]}, "pre and post belong together; got only pre"),
        ({"post": [0]}, "pre and post belong together; got only post"),
        ({"pre": [0], "post": [0], "rule": FixedIndegree(1)}, "give a rule, or pre and post, not both"),
        ({"pre": [0, 1], "post": [0]}, "pre and post must be equally long.* got 2 and 1"),
        ({"pre": [0.0], "post": [0]}, r"pre must be a list of integers.* got shape \(1,\) of float64"),
        ({"pre": [True], "post": [0]}, "pre must be a list of integers.* of bool"),
        ({"pre": 0, "post": [0]}, r"pre must be a list of integers.* got shape \(\)"),
        ({"pre": [[0]], "post": [0]}, "pre must be a list of integers"),
        ({"pre": ["a"], "post": [0]}, "pre must be a list of integers"),
        ({"pre": [[0], [1, 2]], "post": [0]}, "pre must be a list of integers"),
        ({"pre": [0, -1], "post": [0, 0]}, r"pre\[1\] is -1, but the population has 0 ... 39"),
        ({"pre": [0, 40], "post": [0, 0]}, r"pre\[1\] is 40, but the population has 0 ... 39"),
        ({"pre": [0], "post": [2**32]}, r"post\[0\] is 4294967296, but the population has"),
        ({"pre": [0], "post": [2**63]}, "post holds 9223372036854775808, which is no number of a neuron"),
        ({"pre": [0], "post": [2**70]}, "post must be a list of integers"),
        ({"pre": [0, 1], "post": [0, 1], "weight": [1.0]}, "weight has 1 values, but the rule made 2 synapses"),
        ({"pre": [0, 1], "post": [0, 1], "delay": [1.0] * 3}, "delay has 3 values, but the rule made 2 synapses"),
        ({"pre": [0], "post": [0], "delay": [-1.0]}, "delay must be >= 0 ms; got -1"),
        ({"pre": [0], "post": [0], "weight": [np.nan]}, "weight must be finite"),
        ({"pre": [0], "post": [0], "weight": np.ones((N_PRE, N_POST))}, "one number per synapse; got shape"),
        ({"pre": [0], "post": [0], "weight": 2.0, "plasticity": STDP(w_max=1.0)}, r"within the bounds \[0.0, 1.0\]"),
    ],
)
def test_an_impossible_list_is_refused_in_a_sentence(given, words) -> None:
    with pytest.raises(NetworkError, match=rf"connect\('in', 'out'\): .*{words}|connect\('in', 'out'\): {words}"):
        network(**({"weight": 0.1} | given))
