"""evsim.learning.fixed_order: how the samples of a batch are added, whoever has the sums of some of them."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.learning import HM2BP, Dense, EventProp, Readout, rules
from evsim.learning.fixed_order import (
    LEAST,
    added,
    borders,
    halves,
    largest_parts,
    merges,
    rows_times,
    stretches,
    summed,
    total,
)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 15, 16, 20, 50, 64, 101, 256])
def test_halves_cover_a_batch_and_are_those_of_a_batch_of_their_own(n):
    cuts = borders(n)
    assert cuts[0] == 0 and cuts[-1] == n and [p[0] for p in stretches((0, n))] == cuts[:-1].tolist()
    assert n < 2 * LEAST or ((np.diff(cuts) >= LEAST).all() and (np.diff(cuts) < 2 * LEAST).all())
    for part in halves((0, n)) or ():
        shifted = [(a - part[0], b - part[0]) for a, b in stretches(part)]
        assert tuple(shifted) == stretches((0, part[1] - part[0]))


@pytest.mark.parametrize("n", [20, 50, 256])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7, 64])
def test_the_largest_parts_of_all_ranks_are_enough_for_the_sum(n, ranks):
    cuts = stretches((0, n))
    runs = [cuts[len(cuts) * r // ranks : len(cuts) * (r + 1) // ranks] for r in range(ranks)]
    parts = [p for run in runs if run for p in largest_parts((0, n), (run[0][0], run[-1][1]))]
    assert [p[0] for p in parts] == [0, *(p[1] for p in parts[:-1])] and parts[-1][1] == n
    numbers = np.random.default_rng(n).random(n)

    def alone(part):
        return sum(numbers[part[0] : part[1]]) if halves(part) is None else None

    known = {p: summed(p, alone, float.__add__) for p in parts}
    assert summed((0, n), known.get, float.__add__) == summed((0, n), alone, float.__add__)
    # Of a power of two ranks, each has one half of a half ...
    if ranks in (1, 2, 4):
        assert len(parts) == ranks


def test_sums_are_added_in_place():
    a, b = {"w": np.ones(2)}, {"w": np.ones(2)}
    assert added(a, b) is a and a["w"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("n", [5, 20, 50, 101])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_total_is_the_sum_of_halves_for_any_number_of_threads(n, threads):
    numbers = np.random.default_rng(n).random(n)
    found = total(n, lambda a, b: {"sum": np.array([sum(numbers[a:b])])}, threads)["sum"][0]
    two = halves((0, n))
    wanted = sum(numbers) if two is None else sum(total(b - a, _shifted(numbers, a))["sum"][0] for a, b in two)
    assert found == wanted


def _shifted(numbers, by):
    return lambda a, b: {"sum": np.array([sum(numbers[by + a : by + b])])}


@pytest.mark.parametrize("n", [3, 8, 20, 50, 101])
def test_merges_are_the_same_order_told_one_after_the_other(n):
    numbers = np.random.default_rng(n).random(n)
    sums = []
    for a, b, times in zip(borders(n)[:-1], borders(n)[1:], merges(n)):
        sums.append(sum(numbers[a:b]))
        for _ in range(times):
            last = sums.pop()
            sums[-1] += last
    assert sums == [total(n, lambda a, b: {"": np.array([sum(numbers[a:b])])})[""][0]]


def test_a_row_times_a_matrix_does_not_depend_on_the_other_rows():
    rng = np.random.default_rng(0)
    a, b = rng.random((37, 301)), rng.random((301, 13))
    whole = rows_times(a, b)
    np.testing.assert_allclose(whole, a @ b, rtol=1e-13)
    for rows in (slice(0, 1), slice(3, 10), slice(5, 37)):
        assert np.array_equal(rows_times(a[rows], b), whole[rows])


def batch(n, size, seed=0):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, 30.0, 60), rng.integers(0, size, 60), size) for _ in range(n)]
    )


@pytest.mark.parametrize("rule, layer, threads", [
    (HM2BP(), Dense(20, 70, LIF(tau_m=20.0, tau_syn=5.0)), 2),
    (EventProp(), Dense(20, 70, LIF(tau_m=20.0, tau_syn=5.0)), 2),
    (EventProp(), Readout(20, 70, LIF(tau_m=20.0, tau_syn=5.0), "integral"), 1),
])  # fmt: skip
def test_the_gradients_of_a_batch_are_those_of_its_halves_added(rule, layer, threads):
    layer.init(np.random.default_rng(1), 0.2, 0.3)
    n = 37
    inputs = batch(n, 20)
    outputs = layer.forward(inputs, 40.0)
    signal = np.random.default_rng(2).normal(size=(n, 70))

    def gradient(a, b, threads=1):
        some = np.arange(a, b)
        given, out = inputs.take(some), layer.forward(inputs.take(some), 40.0)
        error = signal[a:b]
        if isinstance(rule, EventProp) and isinstance(layer, Dense):
            error = error.ravel()[out.places()]
        return rule.backward(layer, given, out, error, 40.0, threads=threads)[0]["weight"]

    assert len(outputs) == n and rule.splits == "halves"
    (a, b), (c, d) = halves((0, n))
    assert np.array_equal(gradient(0, n, threads), gradient(a, b) + gradient(c, d))
    assert not np.array_equal(gradient(0, n), gradient(0, 5) + gradient(5, n))


def test_every_rule_says_how_its_sums_are_made():
    made = [rules.EventProp(), rules.HM2BP(), rules.STRSBP(), rules.TSSLBP(), rules.STLLR(), rules.RateBased()]
    assert {rule.splits for rule in made} == {"halves"} and LEAST == 4
