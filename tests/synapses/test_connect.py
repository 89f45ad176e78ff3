"""Connectivity: degrees exact where fixed, distributions right where random, values in place, packed without loss.

Random ones are tested with fixed seeds at p > 1e-4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy import stats

from evsim import AllToAll, Bernoulli, FixedIndegree, FixedOutdegree, FixedTotalNumber, Network, NetworkError, OneToOne
from evsim.description.connectivity import ConnectionRule
from evsim.description.projections import STRIDE, Projection, expected_synapses, is_distribution
from evsim.engine.window.packing import FEW_DELAYS, PackedSynapses, pack
from evsim.neurons.lif import LIF
from evsim.synapses.flat_network import network_arrays
from evsim.synapses.sampling import Synapses, SynapseSampler, sample_synapses, sample_synapses_onto
from helpers.goodness import fit

N_PRE, N_POST = 700, 1300
"""Three blocks of targets, the last one of 276."""

RULES = [AllToAll(), FixedIndegree(30), FixedOutdegree(40), FixedTotalNumber(25_000), Bernoulli(0.03)]
TINY = [AllToAll(), FixedIndegree(1), FixedOutdegree(1), FixedTotalNumber(1), Bernoulli(0.5), Bernoulli(1.0)]


def projection(rule: ConnectionRule | None, weight: Any = 1.0, delay: Any = 1.0) -> Projection:
    return Projection("pre", "post", weight, delay, rule)


def drawn(
    rule: ConnectionRule | None, n_pre: int = N_PRE, n_post: int = N_POST, seed: int = 1, **values: Any
) -> Synapses:
    return sample_synapses(projection(rule, **values), 0, n_pre, n_post, seed)


def same(a: Synapses, b: Synapses) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in Synapses.__dataclass_fields__)


def degrees(s: Synapses, n_pre: int = N_PRE, n_post: int = N_POST) -> tuple[np.ndarray, np.ndarray]:
    """Out-degree of every source, in-degree of every target."""
    return np.bincount(s.pre, minlength=n_pre), np.bincount(s.post, minlength=n_post)


# ------------------------------------------------------------------------------------------------ degrees


def test_all_to_all_holds_every_pair_once() -> None:
    s = drawn(AllToAll(), 40, N_POST)
    assert np.array_equal(np.sort(s.pre * N_POST + s.post), np.arange(40 * N_POST))


def test_one_to_one_is_the_diagonal() -> None:
    s = drawn(OneToOne(), N_POST, N_POST)
    assert np.array_equal(s.pre, np.arange(N_POST)) and np.array_equal(s.post, np.arange(N_POST))


@pytest.mark.parametrize("degree", [0, 1, 30, N_PRE])
def test_fixed_indegree_gives_every_target_that_many(degree) -> None:
    s = drawn(FixedIndegree(degree))
    out, into = degrees(s)
    assert np.all(into == degree) and out.size == N_PRE


@pytest.mark.parametrize("degree", [0, 1, 40, N_POST])
def test_fixed_outdegree_gives_every_source_that_many(degree) -> None:
    s = drawn(FixedOutdegree(degree))
    out, into = degrees(s)
    assert np.all(out == degree) and into.size == N_POST


@pytest.mark.parametrize("total", [0, 1, 25_000])
def test_fixed_total_number_gives_that_many(total) -> None:
    s = drawn(FixedTotalNumber(total))
    out, into = degrees(s)
    assert s.pre.size == total and (out.size, into.size) == (N_PRE, N_POST)


@pytest.mark.parametrize("n_post", [1, 2, STRIDE - 1, STRIDE, STRIDE + 1, 2 * STRIDE, 2 * STRIDE + 1])
@pytest.mark.parametrize("rule", TINY, ids=str)
def test_blocks_of_any_width_cover_all_targets_and_none_beyond(rule, n_post) -> None:
    for n_pre in (1, 3):
        s = drawn(rule, n_pre, n_post)
        assert np.all((s.pre >= 0) & (s.pre < n_pre) & (s.post >= 0) & (s.post < n_post))
        drawing = SynapseSampler(projection(rule), 0, n_pre, n_post, 1)
        assert sum(drawing.size(b) for b in range(drawing.n_blocks)) == s.pre.size
        if isinstance(rule, (AllToAll, FixedIndegree)) or rule == Bernoulli(1.0):
            assert np.array_equal(np.unique(s.post), np.arange(n_post))
        if not isinstance(rule, Bernoulli) or rule.p == 1.0:
            assert s.pre.size == expected_synapses(projection(rule), n_pre, n_post)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_expected_number_of_synapses_is_met(rule) -> None:
    n = drawn(rule).pre.size
    expected = expected_synapses(projection(rule), N_PRE, N_POST)
    spread = np.sqrt(expected * (1.0 - rule.p)) if isinstance(rule, Bernoulli) else 0.0
    assert abs(n - expected) <= 4.0 * spread


# ------------------------------------------------------------------------------------------- distributions


def test_fixed_indegree_draws_its_sources_uniformly() -> None:
    out, _ = degrees(drawn(FixedIndegree(30)))
    assert stats.chisquare(out).pvalue > 1e-4
    assert fit(out, stats.binom(30 * N_POST, 1 / N_PRE)) > 1e-4


def test_fixed_indegree_draws_with_replacement() -> None:
    """The share of pairs that occur twice or more is that of independent draws."""
    s = drawn(FixedIndegree(30), 100, 20_000)
    _, times = np.unique(s.post * 100 + s.pre, return_counts=True)
    law = stats.binom(30, 0.01)
    expected = 20_000 * 100 * law.pmf([1, 2, 3])
    assert np.all(np.abs(np.bincount(times)[1:4] - expected) < 5.0 * np.sqrt(expected))


def test_fixed_outdegree_has_binomial_indegrees() -> None:
    _, into = degrees(drawn(FixedOutdegree(40)))
    assert fit(into, stats.binom(40 * N_PRE, 1 / N_POST)) > 1e-4
    assert stats.chisquare(into).pvalue > 1e-4


@pytest.mark.parametrize("block", [0, 1, 2])
def test_fixed_outdegree_spreads_each_source_binomially_over_the_blocks(block) -> None:
    s = drawn(FixedOutdegree(40), n_pre=4000)
    inside = np.bincount(s.pre[s.post // STRIDE == block], minlength=4000)
    width = min(STRIDE, N_POST - block * STRIDE)
    assert fit(inside, stats.binom(40, width / N_POST)) > 1e-4


def test_fixed_total_number_has_binomial_degrees() -> None:
    out, into = degrees(drawn(FixedTotalNumber(25_000)))
    assert fit(out, stats.binom(25_000, 1 / N_PRE)) > 1e-4
    assert fit(into, stats.binom(25_000, 1 / N_POST)) > 1e-4
    assert stats.chisquare(out).pvalue > 1e-4 and stats.chisquare(into).pvalue > 1e-4


@pytest.mark.parametrize("p", [0.003, 0.03, 0.4, 0.97])
def test_bernoulli_degrees_are_binomial(p) -> None:
    out, into = degrees(drawn(Bernoulli(p)))
    assert fit(out, stats.binom(N_POST, p)) > 1e-4
    assert fit(into, stats.binom(N_PRE, p)) > 1e-4


@pytest.mark.parametrize("p", [1e-12, 0.003, 0.4, 0.97, 1.0])
def test_bernoulli_connects_no_pair_twice(p) -> None:
    s = drawn(Bernoulli(p))
    assert np.unique(s.pre * N_POST + s.post).size == s.pre.size


def test_bernoulli_with_probability_zero_connects_none_and_with_one_all() -> None:
    assert drawn(Bernoulli(0.0)).pre.size == 0
    s = drawn(Bernoulli(1.0))
    assert np.array_equal(np.sort(s.pre * N_POST + s.post), np.arange(N_PRE * N_POST))


def test_bernoulli_with_a_tiny_probability_stays_within_the_populations() -> None:
    for p in (1e-17, 1e-18, 1e-30):
        s = drawn(Bernoulli(p))
        assert np.all((s.post >= 0) & (s.post < N_POST))


def test_bernoulli_draws_each_pair_independently() -> None:
    """All 64 patterns of 2 x 3 pairs at p = 0.4, over 6000 seeds."""
    patterns = np.zeros(64)
    for seed in range(6000):
        s = drawn(Bernoulli(0.4), 2, 3, seed)
        patterns[int(np.sum(2 ** (s.pre * 3 + s.post)))] += 1
    ones = np.array([bin(k).count("1") for k in range(64)])
    assert stats.chisquare(patterns, 6000 * 0.4**ones * 0.6 ** (6 - ones)).pvalue > 1e-4


@pytest.mark.parametrize("rule", [FixedIndegree(30), FixedOutdegree(40), FixedTotalNumber(25_000)], ids=str)
def test_sources_and_targets_are_independent(rule) -> None:
    """Contingency of seven stretches of sources with thirteen of targets."""
    s = drawn(rule)
    table = np.zeros((7, 13))
    np.add.at(table, (s.pre // 100, s.post // 100), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("rule", [FixedIndegree(7), FixedTotalNumber(9000), Bernoulli(0.3)], ids=str)
def test_no_source_of_a_few_is_preferred(rule) -> None:
    out, _ = degrees(drawn(rule, 7), 7)
    assert stats.chisquare(out).pvalue > 1e-4


@pytest.mark.parametrize("n_post", [7, STRIDE + 7])
@pytest.mark.parametrize("rule", [FixedOutdegree(7), FixedTotalNumber(9000), Bernoulli(0.3)], ids=str)
def test_no_target_of_a_narrow_block_is_preferred(rule, n_post) -> None:
    s = drawn(rule, 5000, n_post)
    last = np.bincount(s.post, minlength=n_post)[-7:]
    mean = s.pre.size * 7 / n_post
    assert abs(last.sum() - mean) <= 4.0 * np.sqrt(mean)
    assert stats.chisquare(last).pvalue > 1e-4


# -------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_same_seed_gives_the_same_synapses(rule) -> None:
    values = {"weight": stats.norm(1.0, 0.1), "delay": stats.uniform(1.0, 2.0)}
    assert same(drawn(rule, **values), drawn(rule, **values))


@pytest.mark.parametrize("rule", RULES[1:], ids=str)
def test_another_seed_or_projection_gives_others(rule) -> None:
    p = projection(rule)
    first, seed, number = (sample_synapses(p, k, N_PRE, N_POST, s) for k, s in ((0, 1), (0, 2), (1, 1)))
    pairs = [set(zip(s.pre.tolist(), s.post.tolist())) for s in (first, seed, number)]
    chance = len(pairs[0]) / (N_PRE * N_POST)
    for other in pairs[1:]:
        assert len(pairs[0] & other) < 2.0 * chance * len(other)


@pytest.mark.parametrize("values", [{}, {"weight": stats.norm(1.0, 0.1), "delay": stats.uniform(1.0, 2.0)}])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_synapses_onto_a_neuron_are_its_part_of_all(rule, values) -> None:
    p = projection(rule, **values)
    whole = sample_synapses(p, 3, N_PRE, N_POST, 7)
    for neuron in (0, 1, STRIDE - 1, STRIDE, 777, 2 * STRIDE - 1, 2 * STRIDE, N_POST - 1):
        mine = whole.post == neuron
        part = Synapses(whole.pre[mine], whole.post[mine], whole.weight[mine], whole.delay[mine])
        assert same(sample_synapses_onto(p, 3, N_PRE, N_POST, 7, neuron), part)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_blocks_drawn_in_any_order_are_the_same(rule) -> None:
    p = projection(rule, stats.norm(1.0, 0.1), stats.uniform(1.0, 2.0))
    forth = [SynapseSampler(p, 0, N_PRE, N_POST, 5).block(b) for b in range(3)]
    drawing = SynapseSampler(p, 0, N_PRE, N_POST, 5)
    for b in (2, 0, 1, 1, 2):
        again = drawing.block(b)
        assert all(np.array_equal(x, y) for x, y in zip(forth[b], again))
        assert drawing.size(b) == again[0].size


def test_blocks_are_drawn_independently_of_each_other() -> None:
    """No block repeats another: a stream that forgot its block would."""
    for rule in RULES[1:]:
        drawing = SynapseSampler(projection(rule, stats.norm(1.0, 0.1)), 0, N_PRE, 2 * STRIDE, 1)
        (pre, post, weight, _), (other_pre, other_post, other_weight, _) = drawing.block(0), drawing.block(1)
        n = min(pre.size, other_pre.size)
        assert not (np.array_equal(pre[:n], other_pre[:n]) and np.array_equal(post[:n], other_post[:n]))
        assert np.mean(weight[:n] == other_weight[:n]) < 0.01


# ------------------------------------------------------------------------------------- weights and delays


def test_one_number_is_the_value_of_all() -> None:
    s = drawn(FixedIndegree(5), weight=0.1, delay=1.7)
    assert np.all(s.weight == 0.1) and np.all(s.delay == 1.7)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_one_number_per_synapse_keeps_its_order_across_blocks(rule) -> None:
    n = drawn(rule).pre.size
    s = drawn(rule, weight=np.arange(n) + 0.1, delay=np.arange(n)[::-1] * 0.5)
    assert np.array_equal(s.weight, np.arange(n) + 0.1)
    assert np.array_equal(s.delay, np.arange(n)[::-1] * 0.5)


def test_one_number_per_synapse_reaches_single_neurons() -> None:
    p = projection(FixedIndegree(4), weight=np.arange(4.0 * N_POST))
    for neuron in (0, STRIDE, N_POST - 1):
        assert np.array_equal(sample_synapses_onto(p, 0, N_PRE, N_POST, 1, neuron).weight, 4.0 * neuron + np.arange(4))


def test_a_matrix_gives_each_pair_its_value() -> None:
    rng = np.random.default_rng(0)
    weight, delay = rng.normal(size=(50, N_POST)), rng.uniform(size=(50, N_POST))
    s = drawn(None, 50, weight=weight, delay=delay)
    assert np.array_equal(np.sort(s.pre * N_POST + s.post), np.arange(50 * N_POST))
    assert np.array_equal(s.weight, weight[s.pre, s.post]) and np.array_equal(s.delay, delay[s.pre, s.post])


@pytest.mark.parametrize("form", ["coo", "csr", "csc"])
def test_sparse_entries_are_the_synapses_and_parallel_ones_stay_apart(form) -> None:
    rng = np.random.default_rng(1)
    n = 5000
    pre, post = rng.integers(0, 60, n), rng.integers(0, N_POST, n)
    pre[-100:], post[-100:] = pre[:100], post[:100]
    values = np.arange(1.0, n + 1.0)
    weight = scipy.sparse.coo_matrix((values, (pre, post)), shape=(60, N_POST))
    if form != "coo":
        # Conversion from coo sums parallel entries: build these by hand.
        major, minor = (pre, post) if form == "csr" else (post, pre)
        order = np.argsort(major, kind="stable")
        make, count = (scipy.sparse.csr_matrix, 60) if form == "csr" else (scipy.sparse.csc_matrix, N_POST)
        start = np.searchsorted(major[order], np.arange(count + 1))
        weight = make((values[order], minor[order], start), shape=(60, N_POST))
    delay = weight.copy()
    delay.data = 0.5 * delay.data
    s = drawn(None, 60, weight=weight, delay=delay)
    assert s.pre.size == n
    place = s.weight.astype(np.int64) - 1
    assert np.array_equal(np.sort(place), np.arange(n))
    assert np.array_equal(s.pre, pre[place]) and np.array_equal(s.post, post[place])
    assert np.array_equal(s.delay, 0.5 * s.weight)


def test_sparse_weights_may_have_drawn_delays() -> None:
    weight = scipy.sparse.random(60, N_POST, density=0.1, random_state=0)
    s = drawn(None, 60, weight=weight, delay=stats.uniform(1.0, 2.0))
    made = scipy.sparse.coo_matrix((s.weight, (s.pre, s.post)), shape=(60, N_POST))
    assert np.array_equal(made.toarray(), weight.toarray())
    assert stats.kstest(s.delay, stats.uniform(1.0, 2.0).cdf).pvalue > 1e-4


def test_a_sparse_delay_with_other_columns_is_refused() -> None:
    weight = scipy.sparse.coo_matrix(([1.0], ([0], [1])), shape=(2, 3))
    delay = scipy.sparse.coo_matrix(([1.5], ([0], [2])), shape=(2, 3))
    with pytest.raises(NetworkError, match="sparse weight and delay must have the same entries"):
        drawn(None, 2, 3, weight=weight, delay=delay)


LAWS = {
    "frozen": (stats.gamma(3.0, scale=0.5), stats.gamma(3.0, scale=0.5).cdf),
    "function": (lambda rng, n: rng.gamma(3.0, 0.5, n), stats.gamma(3.0, scale=0.5).cdf),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("rule", [None, FixedIndegree(10), Bernoulli(0.02)], ids=str)
def test_drawn_values_follow_their_law_and_are_exact_in_float32(rule, name) -> None:
    given, cdf = LAWS[name]
    s = drawn(rule, 20 if rule is None else N_PRE, weight=given, delay=given)
    for values in (s.weight, s.delay):
        assert values.dtype == np.float64 and np.array_equal(values, values.astype(np.float32))
        assert np.unique(values).size > 0.99 * values.size
        assert stats.kstest(values, cdf).pvalue > 1e-4
    assert abs(np.corrcoef(s.weight, s.delay)[0, 1]) < 4.0 / np.sqrt(s.weight.size)


def test_drawn_values_are_independent_of_the_pairs() -> None:
    s = drawn(FixedTotalNumber(25_000), weight=stats.norm())
    for place in (s.pre, s.post):
        assert abs(stats.spearmanr(s.weight, place).statistic) < 4.0 / np.sqrt(25_000)
    assert stats.f_oneway(*(s.weight[s.post // STRIDE == b] for b in range(3))).pvalue > 1e-4


def test_a_function_of_the_generator_needs_no_other_randomness() -> None:
    def given(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.choice([0.5, 1.5], size=n)

    np.random.seed(0)  # noqa: NPY002
    first = drawn(FixedIndegree(3), weight=given)
    np.random.seed(1)  # noqa: NPY002
    assert same(first, drawn(FixedIndegree(3), weight=given))


def test_degrees_may_be_small_numpy_integers() -> None:
    for rule in (FixedIndegree(np.int16(300)), FixedOutdegree(np.int16(300))):
        assert expected_synapses(projection(rule), N_PRE, N_POST) == 300 * (
            N_POST if isinstance(rule, FixedIndegree) else N_PRE
        )
        drawing = SynapseSampler(projection(rule), 0, N_PRE, N_POST, 1)
        assert [drawing.size(b) for b in range(3)] == [drawing.block(b)[0].size for b in range(3)]


# -------------------------------------------------------------------------------------------- packed tables


def packed(net: Network, threads: int = 1, seed: int = 1) -> PackedSynapses:
    return pack(net, *network_arrays(net), seed, threads)


def table_of(packed: PackedSynapses) -> np.ndarray:
    """All synapses of a packed network: source, target, weight, delay as rows, sorted."""
    blocks, bundles, table = packed.blocks, packed.bundles, packed.table
    rows = []
    for b in range(blocks.first.size):
        for k in range(blocks.bundle_start[b], blocks.bundle_start[b + 1]):
            row, size = bundles.row[k], bundles.source_size[k]
            starts = table.starts[row : row + size + 1].astype(np.int64)
            n = int(starts[-1])
            assert starts[0] == 0 and np.all(np.diff(starts) >= 0)
            source = bundles.source_first[k] + np.repeat(np.arange(size), np.diff(starts))
            target = table.targets[bundles.target_at[k] : bundles.target_at[k] + n].astype(np.int64)
            assert np.all(target < blocks.width[b])
            own = [(bundles.weight[k], table.weights, bundles.weight_at[k]),
                   (bundles.delay[k], table.delays, bundles.delay_at[k])]  # fmt: skip
            values = [np.full(n, v) if not np.isnan(v) else a[at : at + n] for v, a, at in own]
            rows.append(np.column_stack([source, blocks.first[b] + target, *values]))
    return ordered(np.concatenate(rows))


def table_drawn(net: Network, seed: int = 1) -> np.ndarray:
    """The same rows, from ``sample_synapses``."""
    offset, _ = network_arrays(net)
    n_inputs = sum(net.inputs.values())
    rows = []
    for k, p in enumerate(net.projections):
        s = sample_synapses(p, k, net.size_of(p.source), net.size_of(p.target), seed)
        pre, post = s.pre + offset[p.source], s.post + offset[p.target] - n_inputs
        rows.append(np.column_stack([pre, post, s.weight, s.delay]))
    return ordered(np.concatenate(rows))


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[::-1])]


def populations(n_exc: int = N_POST, n_inh: int = 40) -> Network:
    net = Network()
    net.add_input("in", size=30)
    net.add_population("exc", size=n_exc, neuron=LIF(tau_syn=None))
    net.add_population("inh", size=n_inh, neuron=LIF(tau_syn=(2.0, 5.0)))
    return net


def few_delays() -> Network:
    """One weight and one delay; three delays by synapse, by pair, and by entry."""
    net = populations()
    rng = np.random.default_rng(0)
    net.connect("in", "exc", weight=0.1, delay=0.3, rule=Bernoulli(0.3))
    net.connect("exc", "exc", weight=0.2, delay=rng.choice([0.1, 1.5, 3.0], 20 * N_POST), rule=FixedIndegree(20))
    net.connect("inh", "exc", weight=-0.3, delay=rng.choice([1.1, 2.2], (40, N_POST)))
    entries = (rng.integers(0, N_POST, 900), rng.integers(0, 40, 900))
    shape = (N_POST, 40)
    net.connect(
        "exc", "inh",
        weight=scipy.sparse.coo_matrix((rng.normal(size=900), entries), shape),
        delay=scipy.sparse.coo_matrix((rng.choice([0.5, 0.7], 900), entries), shape),
    )  # fmt: skip
    return net


def own_values(exact: bool) -> Network:
    """Weights and delays of every kind, float32 exact or not, and few delays beside them."""
    net = populations()
    rng = np.random.default_rng(1)

    def some(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64) if exact else values

    net.connect("in", "exc", weight=some(rng.normal(size=(30, N_POST))), delay=some(rng.uniform(size=(30, N_POST))))
    net.connect("exc", "exc", weight=stats.norm(0.1, 0.01), delay=stats.uniform(0.5, 2.0), rule=FixedOutdegree(15))
    net.connect("exc", "inh", weight=0.1, delay=some(rng.uniform(1.0, 2.0, 777)), rule=FixedTotalNumber(777))
    net.connect("inh", "exc", weight=stats.norm(-0.1, 0.01), delay=1.5, rule=Bernoulli(0.2))
    net.connect("inh", "inh", weight=some(rng.normal(size=40)), delay=rng.choice([0.5, 1.5], 40), rule=OneToOne())
    entries = (rng.integers(0, 30, 300), rng.integers(0, 40, 300))
    weight = scipy.sparse.coo_matrix((some(rng.normal(size=300)), entries), (30, 40))
    net.connect("in", "inh", weight=weight, delay=lambda rng, n: rng.uniform(1.0, 2.0, n))
    return net


def wide_blocks() -> Network:
    """So few synapses that a block takes several strides, and yet several blocks."""
    net = Network()
    net.add_population("exc", size=5000, neuron=LIF())
    net.add_population("inh", size=200, neuron=LIF())
    net.connect("inh", "exc", weight=stats.norm(), delay=stats.uniform(1.0, 1.0), rule=FixedIndegree(4))
    net.connect("inh", "exc", weight=1.0, delay=1.0, rule=Bernoulli(0.005))
    return net


def empty_ones() -> Network:
    """Projections without a synapse, and blocks and delays without one."""
    net = populations()
    net.connect("in", "exc", weight=0.5, delay=1.0)
    ends = ([5, 6, 7], [0, STRIDE, N_POST - 1])
    weight, delay = (scipy.sparse.coo_matrix((v, ends), (N_POST, N_POST)) for v in ([0.1, 0.2, 0.3], [2.5, 2.5, 3.5]))
    net.connect("exc", "exc", weight=weight, delay=delay)
    net.connect("in", "exc", weight=1.0, delay=1.0, rule=FixedTotalNumber(0))
    net.connect("exc", "exc", weight=stats.norm(), delay=stats.uniform(1.0, 1.0), rule=Bernoulli(0.0))
    net.connect("in", "exc", weight=stats.norm(), delay=stats.uniform(1.0, 1.0), rule=FixedTotalNumber(1))
    last = scipy.sparse.coo_matrix(([0.5], ([3], [N_POST - 1])), (N_POST, N_POST))
    net.connect("exc", "exc", weight=last, delay=2.0)
    return net


NETWORKS = {
    "few delays": few_delays,
    "own values, float32": lambda: own_values(True),
    "own values, float64": lambda: own_values(False),
    "wide blocks": wide_blocks,
    "empty": empty_ones,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_packed_network_holds_exactly_the_synapses_that_were_drawn(name) -> None:
    net = NETWORKS[name]()
    p = packed(net)
    expected = table_drawn(net)
    assert np.array_equal(table_of(p), expected)
    assert p.n_synapses == expected.shape[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_packed_network_knows_its_smallest_and_largest_delays(name) -> None:
    """The smallest between neurons; the largest where each synapse has its own."""
    net = NETWORKS[name]()
    smallest, largest = np.inf, 0.0
    for k, p in enumerate(net.projections):
        delay = sample_synapses(p, k, net.size_of(p.source), net.size_of(p.target), 1).delay
        if p.source in net.populations:
            smallest = min(smallest, delay.min(initial=np.inf))
        if is_distribution(p.delay) or np.unique(delay).size > FEW_DELAYS:
            largest = max(largest, delay.max(initial=0.0))
    found = packed(net)
    assert (found.min_delay, found.max_delay) == (smallest, largest)


def test_blocks_are_wide_where_synapses_are_few_and_cover_all_neurons() -> None:
    blocks = packed(wide_blocks()).blocks
    assert blocks.width[0] > STRIDE and blocks.first.size > 2
    assert np.array_equal(np.append(blocks.first, 5200)[1:], blocks.first + blocks.width)


def test_values_are_kept_in_4_bytes_only_where_none_is_lost() -> None:
    for exact, dtype in ((True, np.float32), (False, np.float64)):
        table = packed(own_values(exact)).table
        assert table.weights.dtype == dtype and table.delays.dtype == dtype


@pytest.mark.parametrize("name", NETWORKS)
def test_packing_does_not_depend_on_the_number_of_threads(name) -> None:
    net = NETWORKS[name]()
    first = packed(net)
    for threads in (2, 4, 8):
        again = packed(net, threads)
        for one, other in ((first.table, again.table), (first.bundles, again.bundles), (first.blocks, again.blocks)):
            assert all(a.tobytes() == b.tobytes() for a, b in zip(one, other))
        assert (first.min_delay, first.max_delay, first.n_synapses) == (
            again.min_delay, again.max_delay, again.n_synapses,
        )  # fmt: skip


LARGE = {
    "one weight and delay": ({"weight": 0.1, "delay": 1.5}, 12.0),
    "own weights and delays": ({"weight": stats.norm(0.1, 0.01), "delay": stats.uniform(0.5, 2.0)}, 16.0),
}


@pytest.mark.parametrize("rule", [FixedIndegree(300), FixedOutdegree(300), Bernoulli(0.075)], ids=str)
@pytest.mark.parametrize("name", LARGE)
def test_a_large_network_takes_few_bytes_a_synapse(name, rule) -> None:
    """1.2 million synapses: at most 12 bytes with one weight and delay, 16 where each has its own."""
    values, most = LARGE[name]
    net = Network()
    net.add_population("exc", size=4000, neuron=LIF(tau_syn=None))
    net.connect("exc", "exc", rule=rule, **values)
    p = packed(net, threads=2)
    assert p.n_synapses > 1e6
    assert p.nbytes() <= most * p.n_synapses


def test_delays_that_are_not_stored_by_synapse_do_not_widen_those_that_are() -> None:
    """0.1 and 0.3 ms are not float32 numbers, but as few distinct delays they stand in float64 beside the table."""
    net = Network()
    net.add_population("exc", size=1000, neuron=LIF())
    net.connect("exc", "exc", weight=stats.norm(), delay=stats.uniform(1.0, 1.0), rule=FixedIndegree(100))
    net.connect("exc", "exc", weight=0.1, delay=np.tile([0.1, 0.3], 500), rule=FixedIndegree(1))
    assert packed(net).table.weights.dtype == np.float32
