"""Arrays of weights and delays: value i belongs to synapse i in the order of the rule, for any number of targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy import stats

import evsim
from evsim import (
    LIF,
    STDP,
    AllToAll,
    Bernoulli,
    FixedIndegree,
    FixedOutdegree,
    FixedTotalNumber,
    Network,
    NetworkError,
    OneToOne,
    SpikeTrains,
)
from evsim.description.projections import STRIDE
from evsim.synapses.sampling import Synapses, sample_synapses, sample_synapses_onto

SIZES = [3, STRIDE, STRIDE + 1, 2 * STRIDE + 100]
DRIVERS = ["queue", "window", "sweep"]
DELTA = LIF(tau_syn=None, v_th=1.0)


def network(n_pre: int, n_post: int, **connection: Any) -> Network:
    net = Network()
    net.add_input("in", n_pre)
    net.add_population("out", n_post, DELTA)
    net.connect("in", "out", **connection)
    return net


def synapses(net: Network, seed: int = 1) -> Synapses:
    p = net.projections[0]
    return sample_synapses(p, 0, net.size_of(p.source), net.size_of(p.target), seed)


def one_spike_each(n: int, gap: float = 100.0) -> SpikeTrains:
    """Source k spikes at k gap: every spike of the targets tells which source caused it."""
    return SpikeTrains(gap * np.arange(n), np.arange(n), n)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("n_post", SIZES)
def test_all_to_all_takes_weights_by_source_then_target(n_post, driver) -> None:
    fires = np.random.default_rng(n_post).random((3, n_post)) < 0.5
    net = network(3, n_post, weight=np.where(fires, 2.0, 0.0).ravel(), rule=AllToAll())
    out = net.simulate(301.0, {"in": one_spike_each(3)}, driver=driver)["out"]
    seen = np.zeros_like(fires)
    seen[(out.times / 100.0).astype(int), out.neurons] = True
    assert np.array_equal(seen, fires)


@pytest.mark.parametrize("driver", DRIVERS[:2])
@pytest.mark.parametrize("n_post", SIZES)
def test_all_to_all_takes_delays_by_source_then_target(n_post, driver) -> None:
    delay = np.arange(2.0 * n_post) / (4.0 * n_post) + 0.25
    net = network(2, n_post, weight=2.0, delay=delay, rule=AllToAll())
    rec = net.simulate(201.0, {"in": one_spike_each(2)}, driver=driver)
    for source in range(2):
        mine = (rec["out"].times / 100.0).astype(int) == source
        times = np.empty(n_post)
        times[rec["out"].neurons[mine]] = rec["out"].times[mine]
        assert np.allclose(times, 100.0 * source + delay[source * n_post : (source + 1) * n_post], rtol=0, atol=1e-12)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("n_post", SIZES)
def test_fixed_outdegree_takes_weights_by_source(n_post, driver) -> None:
    """Only source 1 is strong: every target that fires does so at its spike, and is one of its targets."""
    net = network(3, n_post, weight=np.repeat([0.0, 2.0, 0.0], 40), rule=FixedOutdegree(40))
    rec = net.simulate(301.0, {"in": one_spike_each(3)}, driver=driver, seed=1)
    s = synapses(net)
    assert np.all(rec["out"].times == 100.0)
    assert np.array_equal(np.sort(rec["out"].neurons), np.unique(s.post[s.pre == 1]))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("n_post", SIZES)
def test_fixed_indegree_takes_weights_by_target(n_post, driver) -> None:
    strong = np.arange(n_post) % 2 == 0
    net = network(3, n_post, weight=np.repeat(np.where(strong, 2.0, 0.0), 2), rule=FixedIndegree(2))
    rec = net.simulate(301.0, {"in": one_spike_each(3)}, driver=driver)
    assert np.array_equal(np.unique(rec["out"].neurons), np.flatnonzero(strong))


@pytest.mark.parametrize("n_post", SIZES)
def test_one_to_one_takes_weights_by_neuron(n_post) -> None:
    s = synapses(network(n_post, n_post, weight=np.arange(1.0 * n_post), rule=OneToOne()))
    assert np.array_equal(s.weight, s.post) and np.array_equal(s.pre, s.post)


@pytest.mark.parametrize("rule", [FixedTotalNumber(4000), FixedTotalNumber(4000, multapses=False)], ids=str)
@pytest.mark.parametrize("n_post", SIZES[1:])
def test_a_fixed_total_number_is_listed_by_target_then_source(n_post, rule) -> None:
    s = synapses(network(30, n_post, weight=np.arange(4000.0), rule=rule))
    assert np.all(np.diff(s.post * 30 + s.pre) >= 0) and np.array_equal(s.weight, np.arange(4000.0))


@pytest.mark.parametrize("n_post", SIZES)
def test_bernoulli_is_listed_by_target_then_source(n_post) -> None:
    n = synapses(network(30, n_post, weight=1.0, rule=Bernoulli(0.3))).pre.size
    s = synapses(network(30, n_post, weight=np.arange(1.0 * n), rule=Bernoulli(0.3)))
    assert np.all(np.diff(s.post * 30 + s.pre) > 0) and np.array_equal(s.weight, np.arange(1.0 * n))


@pytest.mark.parametrize("n_post", SIZES)
def test_fixed_degrees_are_listed_by_the_neuron_that_has_them(n_post) -> None:
    s = synapses(network(30, n_post, weight=1.0, rule=FixedIndegree(7)))
    assert np.array_equal(s.post, np.repeat(np.arange(n_post), 7))
    s = synapses(network(30, n_post, weight=1.0, rule=FixedOutdegree(7)))
    assert np.array_equal(s.pre, np.repeat(np.arange(30), 7)) and np.all(np.diff(s.pre * n_post + s.post) >= 0)


RULES = [
    AllToAll(), AllToAll(autapses=False), FixedIndegree(3), FixedOutdegree(5), FixedTotalNumber(700), Bernoulli(0.01),
    FixedIndegree(3, multapses=False), FixedOutdegree(5, multapses=False, autapses=False),
    FixedTotalNumber(700, multapses=False, autapses=False),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_engines_voltages_weights_and_lists_have_the_same_synapses(rule) -> None:
    """Own weights and delays in three blocks: the list, each neuron's part, both engines, and STDP's weights."""
    n = 2 * STRIDE + 60
    rng = np.random.default_rng(3)

    def build(**more: Any) -> Network:
        net = Network()
        net.add_population("a", n, LIF(tau_m=10.0, tau_syn=2.0, bias=0.9, t_ref=1.0, v_init=v_init))
        net.connect("a", "a", weight=weight, delay=delay, rule=rule, **more)
        return net

    v_init = rng.uniform(0.0, 1.1, n)
    weight = delay = 1.0
    count = synapses(build()).pre.size
    weight, delay = rng.uniform(0.0, 10.0 * n / count, count), rng.uniform(0.5, 3.0, count)
    net = build()
    s = synapses(net)
    assert np.array_equal(s.weight, weight) and np.array_equal(s.delay, delay)
    for neuron in (0, STRIDE - 1, STRIDE, n - 1):
        mine = s.post == neuron
        part = sample_synapses_onto(net.projections[0], 0, n, n, 1, neuron)
        assert np.array_equal(part.weight, weight[mine]) and np.array_equal(part.delay, delay[mine])
    t_stop = 6.0
    queue, window = (net.simulate(t_stop, seed=1, driver=d) for d in DRIVERS[:2])
    assert np.array_equal(queue["a"].neurons, window["a"].neurons) and queue["a"].times[-1] > 0.0
    assert np.allclose(queue["a"].times, window["a"].times, rtol=0, atol=1e-11)
    assert np.array_equal(queue.synapses(0).weight, weight) and np.array_equal(window.synapses(0).delay, delay)
    for k in np.random.default_rng(1).choice(np.flatnonzero(queue["a"].times > 0.0), 5):
        spike, neuron = queue["a"].times[k], int(queue["a"].neurons[k])
        before = queue.voltage("a", neuron, [np.nextafter(spike, 0.0)])
        assert before == pytest.approx(1.0, abs=1e-9)
    plastic = build(plasticity=STDP(a_plus=0.0, a_minus=0.0)).simulate(t_stop, seed=1)
    assert np.array_equal(plastic.weights[0], weight)
    assert np.array_equal(plastic["a"].times, queue["a"].times)


@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize("rule", [AllToAll(), OneToOne(), FixedIndegree(2), FixedOutdegree(2), FixedTotalNumber(5)])
def test_a_number_of_values_that_no_draw_can_have_is_refused_at_once(rule, name) -> None:
    values = {"weight": 0.1, "delay": 1.0} | {name: np.ones(7)}
    with pytest.raises(NetworkError, match=rf"connect\('in', 'out'\): {name} has 7 values, but the rule made \d+ "):
        network(3, 3, rule=rule, **values)


# ------------------------------------------------------------------------------------------- sparse matrices


def test_sparse_delays_may_be_stored_in_any_order() -> None:
    rng = np.random.default_rng(0)
    dense_w, dense_d = rng.uniform(0.1, 1.0, (40, 600)), rng.uniform(0.5, 3.0, (40, 600))
    pre, post = np.nonzero(rng.random((40, 600)) < 0.1)
    forms = {}
    there = np.arange(pre.size)
    for name, order in (("rows", there), ("back", there[::-1]), ("any", rng.permutation(there))):
        i, j = pre[order], post[order]
        forms[name] = [scipy.sparse.coo_array((m[i, j], (i, j)), shape=(40, 600)) for m in (dense_w, dense_d)]
    forms["csr"], forms["csc"] = [[m.asformat(f) for m in forms["rows"]] for f in ("csr", "csc")]
    unsorted = [m.copy() for m in forms["csr"]]
    for m in unsorted:
        for r in range(40):
            a, z = m.indptr[r], m.indptr[r + 1]
            m.indices[a:z], m.data[a:z] = m.indices[a:z][::-1].copy(), m.data[a:z][::-1].copy()
        m.has_sorted_indices = False
    forms["unsorted"] = unsorted
    for one in forms:
        for other in forms:
            s = synapses(network(40, 600, weight=forms[one][0], delay=forms[other][1]))
            assert np.array_equal(s.weight, dense_w[s.pre, s.post]) and np.array_equal(s.delay, dense_d[s.pre, s.post])
            assert s.pre.size == pre.size


def test_sparse_entries_of_one_pair_belong_together_as_stored() -> None:
    pre, post = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 0])
    weight = scipy.sparse.coo_array(([1.0, 2.0, 3.0, 4.0], (pre, post)), shape=(2, 2))
    order = np.array([2, 0, 3, 1])
    delay = scipy.sparse.coo_array((np.array([10.0, 20.0, 30.0, 40.0])[order], (pre[order], post[order])), shape=(2, 2))
    s = synapses(network(2, 2, weight=weight, delay=delay))
    assert np.array_equal(s.delay, 10.0 * s.weight) and s.pre.size == 4


def test_sparse_entries_that_hold_zero_are_synapses() -> None:
    weight = scipy.sparse.coo_array(([0.0, 0.5], ([0, 1], [1, 0])), shape=(2, 2))
    delay = scipy.sparse.coo_array(([0.0, 2.0], ([0, 1], [1, 0])), shape=(2, 2))
    s = synapses(network(2, 2, weight=weight, delay=delay))
    assert s.weight.tolist() == [0.5, 0.0] and s.delay.tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    "delay, words",
    [
        (scipy.sparse.csr_array(np.array([[1.0, 0.0], [0.0, 0.0]])), "got 2 and 1. A sparse matrix made of a"),
        (scipy.sparse.coo_array(([1.0, 1.0], ([0, 1], [0, 1])), shape=(2, 2)), "got 2 and 2, of other pairs"),
        (scipy.sparse.coo_array(([1.0, 1.0], ([0, 0], [0, 0])), shape=(2, 2)), "got 2 and 2, of other pairs"),
    ],
)
def test_sparse_delays_of_other_pairs_are_refused_at_once(delay, words) -> None:
    weight = scipy.sparse.coo_array(([1.0, 1.0], ([0, 1], [0, 0])), shape=(2, 2))
    with pytest.raises(NetworkError, match=words):
        network(2, 2, weight=weight, delay=delay)


def test_a_sparse_matrix_with_entries_outside_of_its_shape_is_refused() -> None:
    weight = scipy.sparse.coo_matrix(np.eye(3))
    weight.col[1] = 7
    with pytest.raises(NetworkError, match="entries outside of its shape"):
        network(3, 3, weight=weight)


# ------------------------------------------------------------------------------------- values that are refused


@pytest.mark.parametrize(
    "rule, words",
    [
        ("fixed_indegree", r"connect\('in', 'out'\): rule must be a rule, such as evsim.FixedIndegree\(10\).*'fixed_"),
        (FixedIndegree, "rule must be a rule"),
        (3, "rule must be a rule"),
    ],
)
def test_what_is_no_rule_is_refused_in_a_sentence(rule, words) -> None:
    with pytest.raises(NetworkError, match=words):
        network(3, 3, weight=1.0, rule=rule)


@pytest.mark.parametrize("name", ["weight", "delay"])
@pytest.mark.parametrize("value", ["0.1", None, 1.0 + 2.0j, [[1.0], [2.0, 3.0]], {}, "fast", np.array(["1"])])
def test_values_that_are_no_numbers_are_refused_in_a_sentence(name, value) -> None:
    with pytest.raises(NetworkError, match=rf"connect\('in', 'out'\): {name} must be a number, or hold numbers; got"):
        network(3, 3, **({"weight": 0.1} | {name: value}))


@pytest.mark.parametrize("value", ["stdp", STDP, 0.1])
def test_what_is_no_plasticity_is_refused_in_a_sentence(value) -> None:
    with pytest.raises(NetworkError, match=r"plasticity must be evsim.STDP\(...\) or None; got"):
        network(3, 3, weight=0.1, plasticity=value)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"delay": lambda rng, n: np.full(n, -1.0)}, "drawn delays must be >= 0 ms; got -1"),
        ({"delay": lambda rng, n: np.full(n, -1e-60)}, "drawn delays must be >= 0 ms; got -1e-60"),
        ({"delay": lambda rng, n: np.full(n, np.nan)}, "drawn delay must be finite"),
        ({"delay": lambda rng, n: np.full(n, np.inf)}, "drawn delay must be finite"),
        ({"weight": lambda rng, n: np.full(n, np.nan)}, "drawn weight must be finite"),
        ({"weight": lambda rng, n: np.full(n, 1e39)}, "drawn weight must be finite"),
        ({"weight": lambda rng, n: np.full(n, "a")}, "weight was asked for 9 numbers; it gave"),
        ({"weight": lambda rng, n: np.full(n, 1j)}, "weight was asked for 9 numbers; it gave complex"),
        ({"weight": lambda rng, n: 1.0}, r"weight was asked for 9 values, shape \(9,\); it gave shape \(\)"),
        ({"weight": stats.norm(np.nan)}, "drawn weight must be finite"),
        ({"delay": stats.norm(0.0, 1.0)}, "drawn delays must be >= 0 ms"),
    ],
)
@pytest.mark.parametrize("driver", DRIVERS[:2])
def test_drawn_values_that_no_synapse_can_have_name_their_projection(driver, values, words) -> None:
    net = network(3, 3, **({"weight": 0.1, "delay": 1.0} | values))
    with pytest.raises(NetworkError, match=rf"connect\('in', 'out'\): .*{words}|connect\('in', 'out'\): {words}"):
        net.simulate(1.0, {"in": one_spike_each(3)}, driver=driver)


@pytest.mark.parametrize(
    "weight",
    [
        lambda rng, n: rng.normal(0.2, 1.0, n),
        stats.norm(0.2, 1.0),
        lambda rng, n: np.full(n, 0.4 + 1e-9),
        lambda rng, n: np.full(n, -1e-9),
    ],
    ids=["function", "frozen", "a little above", "a little below"],
)
def test_drawn_weights_outside_the_bounds_of_their_plasticity_are_refused(weight) -> None:
    net = network(300, 2, weight=weight, plasticity=STDP(w_min=0.0, w_max=0.4))
    with pytest.raises(NetworkError, match=r"connect\('in', 'out'\): weights must start within .* \[0.0, 0.4\]"):
        net.simulate(1.0, {"in": one_spike_each(300)})


@pytest.mark.parametrize("low, high", [(0.1, 0.4), (-0.4, -0.1), (-0.7, 1e300), (-np.inf, np.inf)])
def test_weights_drawn_at_a_bound_stay_within_it(low, high) -> None:
    """0.4 in float32 is above 0.4; the drawn value that is kept is not."""
    ends = [v if abs(v) < 1.0 else 0.3 for v in (low, high)]
    net = network(300, 2, weight=lambda rng, n: rng.choice(ends, n), plasticity=STDP(w_min=low, w_max=high))
    weights = net.simulate(1.0, {"in": SpikeTrains([], np.empty(0, int), 300)}).weights[0]
    assert np.all((weights >= low) & (weights <= high)) and np.allclose(np.unique(weights), np.sort(ends), rtol=1e-7)


# ------------------------------------------------------------------------------------------------ delay zero


@pytest.mark.parametrize(
    "delay", [0.0, -0.0, np.zeros((2, 2)), lambda rng, n: np.zeros(n)], ids=["zero", "minus zero", "array", "function"]
)
def test_a_drive_onto_populations_without_delay_runs(delay) -> None:
    """Delay 0 between neurons leaves the drive as it is without the projection."""

    def build(connected: bool) -> evsim.Recording:
        net = Network()
        for name in ("a", "b"):
            net.add_population(name, 2, LIF(t_ref=2.0))
        if connected:
            net.connect("a", "b", weight=30.0, delay=delay)
        net.add_poisson("a", rate=1000.0, weight=3.0)
        return net.simulate(100.0, driver="queue", seed=1)

    with_b, alone = build(True), build(False)
    assert len(with_b["b"]) > 0 and with_b.cell > 0.0
    assert np.array_equal(with_b["a"].times, alone["a"].times)
