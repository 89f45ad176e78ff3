"""multapses=False and autapses=False: what may not occur does not, and all else is equally likely.

Random ones are tested with fixed seeds at p > 1e-4.
"""

from __future__ import annotations

from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evsim import LIF, AllToAll, Bernoulli, FixedIndegree, FixedOutdegree, FixedTotalNumber, Network, NetworkError
from evsim.description.connectivity import ConnectionRule, distinct
from evsim.description.projections import STRIDE, Projection, expected_synapses
from evsim.synapses.sampling import Synapses, sample_synapses
from helpers.goodness import fit

N = 1300
"""Three blocks of targets, the last one of 276."""

DRAWING = [FixedIndegree, FixedOutdegree, FixedTotalNumber]


def within(rule: ConnectionRule, n: int = N, seed: int = 1) -> Synapses:
    """Synapses of a population onto itself."""
    return sample_synapses(Projection("a", "a", 1.0, 1.0, rule), 0, n, n, seed)


def between(rule: ConnectionRule, n_pre: int, n_post: int, seed: int = 1) -> Synapses:
    return sample_synapses(Projection("a", "b", 1.0, 1.0, rule), 0, n_pre, n_post, seed)


def pairs(s: Synapses, n_post: int) -> np.ndarray:
    return s.pre * n_post + s.post


# ---------------------------------------------------------------------------------------------- distinct numbers


@pytest.mark.parametrize("count, choices", [(1, 5), (2, 5), (3, 5), (2, 9), (2, 8), (5, 5)])
def test_all_subsets_are_equally_likely(count, choices) -> None:
    rows = 300 * comb(choices, count)
    drawn = distinct(np.full(rows, count), np.full(rows, choices), np.random.default_rng(1)).reshape(rows, count)
    number = {c: k for k, c in enumerate(combinations(range(choices), count))}
    found = np.bincount([number[tuple(sorted(row))] for row in drawn.tolist()], minlength=len(number))
    assert len(number) == 1 or stats.chisquare(found).pvalue > 1e-4


def test_rows_of_distinct_numbers_may_differ_in_length_and_choice() -> None:
    counts, choices = np.array([0, 3, 0, 1, 10, 2, 0]), np.array([0, 3, 5, 1, 100, 1000, 1])
    drawn = distinct(counts, choices, np.random.default_rng(2))
    for row, choice in zip(np.split(drawn, np.cumsum(counts)[:-1]), choices):
        assert np.unique(row).size == row.size and np.all((row >= 0) & (row < choice))


def test_the_first_of_a_row_prefers_no_number() -> None:
    """FixedIndegree gives values in the order of the draw: no place may belong to small numbers."""
    for count, choices in ((3, 20), (10, 20)):
        drawn = distinct(np.full(4000, count), np.full(4000, choices), np.random.default_rng(3)).reshape(4000, count)
        for place in (0, count - 1):
            assert stats.chisquare(np.bincount(drawn[:, place], minlength=choices)).pvalue > 1e-4


# ---------------------------------------------------------------------------------------------------- switches


@pytest.mark.parametrize("rule", [FixedIndegree(10), FixedOutdegree(10), FixedTotalNumber(50)], ids=str)
def test_degrees_above_the_population_are_drawn_with_multapses(rule) -> None:
    s = between(rule, 3, 5)
    assert s.pre.size == 50 if isinstance(rule, (FixedIndegree, FixedTotalNumber)) else 30
    assert np.unique(pairs(s, 5)).size < s.pre.size


def test_a_degree_above_the_population_runs() -> None:
    net = Network()
    net.add_population("a", 3, LIF())
    net.add_population("b", 5, LIF())
    k = net.connect("a", "b", weight=0.1, delay=1.0, rule=FixedIndegree(10))
    assert np.array_equal(np.bincount(net.simulate(1.0).synapses(k).post), np.full(5, 10))


@pytest.mark.parametrize("degree", [0, 1, 40, 700, N - 1])
@pytest.mark.parametrize("autapses", [True, False])
@pytest.mark.parametrize("multapses", [True, False])
def test_degrees_stay_exact_and_what_is_forbidden_does_not_occur(multapses, autapses, degree) -> None:
    switches = {"multapses": multapses, "autapses": autapses}
    into, out = within(FixedIndegree(degree, **switches)), within(FixedOutdegree(degree, **switches))
    total = within(FixedTotalNumber(degree * 31, **switches))
    assert np.all(np.bincount(into.post, minlength=N) == degree)
    assert np.all(np.bincount(out.pre, minlength=N) == degree)
    assert total.pre.size == degree * 31
    for s in (into, out, total):
        assert np.all((s.pre >= 0) & (s.pre < N) & (s.post >= 0) & (s.post < N))
        assert autapses or not np.any(s.pre == s.post)
        assert multapses or np.bincount(pairs(s, N)).max(initial=0) <= 1


@pytest.mark.parametrize("n", [2, 3, STRIDE, STRIDE + 1])
def test_all_pairs_but_autapses(n) -> None:
    every = np.array([p for p in product(range(n), range(n)) if p[0] != p[1]])
    full = {"multapses": False, "autapses": False}
    rules = [AllToAll(autapses=False), Bernoulli(1.0, autapses=False), FixedIndegree(n - 1, **full),
             FixedOutdegree(n - 1, **full), FixedTotalNumber(n * (n - 1), **full)]  # fmt: skip
    for rule in rules:
        s = within(rule, n)
        assert expected_synapses(Projection("a", "a", 1.0, 1.0, rule), n, n) == n * (n - 1)
        assert np.array_equal(np.sort(pairs(s, n)), np.sort(every @ [n, 1])), rule


def test_the_synapses_of_a_rule_without_switches_are_the_same_but_for_autapses() -> None:
    usual, without = within(Bernoulli(0.03)), within(Bernoulli(0.03, autapses=False))
    kept = usual.pre != usual.post
    assert np.any(~kept)
    assert np.array_equal(usual.pre[kept], without.pre) and np.array_equal(usual.post[kept], without.post)


@pytest.mark.parametrize("kind", DRAWING)
def test_autapses_are_a_matter_of_one_population(kind) -> None:
    a, b = between(kind(20), N, N), between(kind(20, autapses=False), N, N)
    assert np.array_equal(a.pre, b.pre) and np.array_equal(a.post, b.post)


# -------------------------------------------------------------------------------------------------- statistics


SMALL: list[tuple[Any, dict[str, Any]]] = [
    (kind, {"multapses": m, "autapses": a}) for kind in DRAWING for m, a in product((True, False), repeat=2)
]


@pytest.mark.parametrize("seeds", [1000, pytest.param(8000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind, switches", SMALL)
def test_every_allowed_set_of_synapses_is_equally_likely(kind, switches, seeds) -> None:
    """Two synapses of, onto, or among three neurons, over many seeds, against the list of all possibilities."""
    targets = [(i, j) for i, j in product(range(3), range(3)) if switches["autapses"] or i != j]
    if kind is FixedTotalNumber:
        draws = list(product(targets, repeat=2))
    else:
        end = 0 if kind is FixedOutdegree else 1
        draws = [(p, q) for p, q in product(targets, repeat=2) if p[end] == q[end] == 0]
    if not switches["multapses"]:
        draws = [(p, q) for p, q in draws if p != q]
    share: dict[tuple[Any, ...], float] = {}
    for draw in draws:
        share[tuple(sorted(draw))] = share.get(tuple(sorted(draw)), 0.0) + 1.0 / len(draws)
    found = dict.fromkeys(share, 0)
    for seed in range(seeds):
        s = within(kind(2, **switches), 3, seed)
        mine = slice(None) if kind is FixedTotalNumber else (s.pre if kind is FixedOutdegree else s.post) == 0
        found[tuple(sorted(zip(s.pre[mine].tolist(), s.post[mine].tolist())))] += 1
    expected = seeds * np.array(list(share.values()))
    assert len(share) == 1 or stats.chisquare(list(found.values()), expected).pvalue > 1e-4


@pytest.mark.parametrize("autapses", [True, False])
def test_outdegrees_without_multapses_have_hypergeometric_parts_in_blocks(autapses) -> None:
    s = within(FixedOutdegree(400, multapses=False, autapses=autapses))
    sources = np.arange(STRIDE, N)
    inside = np.bincount(s.pre[s.post < STRIDE], minlength=N)[sources]
    assert fit(inside, stats.hypergeom(N - (not autapses), STRIDE, 400)) > 1e-4
    own = np.bincount(s.pre[s.post < STRIDE], minlength=N)[:STRIDE]
    assert fit(own, stats.hypergeom(N - (not autapses), STRIDE - (not autapses), 400)) > 1e-4


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("kind, degree", [(FixedIndegree, 200), (FixedOutdegree, 200), (FixedTotalNumber, 200 * N)])
def test_no_neuron_is_preferred_where_autapses_are_left_out(kind, degree, multapses) -> None:
    s = within(kind(degree, multapses=multapses, autapses=False))
    for end in (s.pre, s.post):
        counts = np.bincount(end, minlength=N)
        # Without multapses degrees vary less than those of independent draws.
        assert np.all(counts == counts[0]) or stats.chisquare(counts).pvalue > 1e-4
    offsets = np.bincount((s.post - s.pre) % N, minlength=N)
    assert offsets[0] == 0 and stats.chisquare(offsets[1:]).pvalue > 1e-4


@pytest.mark.parametrize(
    "rule", [AllToAll(autapses=False), Bernoulli(0.3, autapses=False), FixedIndegree(3, autapses=False)]
)
def test_the_only_neuron_has_no_other(rule) -> None:
    net = Network()
    net.add_population("a", 1, LIF())
    if isinstance(rule, FixedIndegree):
        with pytest.raises(NetworkError, match=r"connect\('a', 'a'\): FixedIndegree.* has no source to draw from"):
            net.connect("a", "a", weight=0.1, delay=1.0, rule=rule)
    else:
        number = net.connect("a", "a", weight=0.1, delay=1.0, rule=rule)
        assert net.simulate(1.0).synapses(number).pre.size == 0


def test_rules_show_the_switches_that_are_off() -> None:
    assert repr(FixedIndegree(10)) == "FixedIndegree(indegree=10)"
    assert repr(Bernoulli(0.1, autapses=False)) == "Bernoulli(p=0.1, autapses=False)"
    assert repr(AllToAll()) == "AllToAll()"
