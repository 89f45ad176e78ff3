"""evsim.learning.mean_gradient: gradients of mean losses that are known in closed form, and honest error bars."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from evsim import LIF, encode
from evsim.learning import Dense, EventProp, Readout, Sequential, VoltageCrossEntropy
from evsim.learning.checks.mean_gradient import (
    GradientBlocks,
    by_rule,
    compare_means,
    expected_gradient,
    inner,
    mean_gradient,
    smoothed_gradient,
)
from evsim.spikes import SpikeBatch

T, TAU = 30.0, 20.0
WEIGHTS = np.array([[0.7], [0.8]])


@dataclass(frozen=True)
class Count:
    """The number of spikes: its mean has a gradient, its pathwise derivative is 0."""

    signal: ClassVar[str] = "times"

    def __call__(self, outputs, labels):
        return outputs.counts().sum(axis=1).astype(float), np.zeros(outputs.times.size)

    def predict(self, outputs):
        return np.zeros(len(outputs), int)


def coincidence():
    """A delta neuron with two inputs, each one spike uniform in [0, T]: it fires if they come close enough."""
    model = Sequential(Dense(2, 1, LIF(tau_m=TAU, tau_syn=None)))
    model.layers[0].weight = WEIGHTS.copy()

    def draw(numbers):
        times = np.random.default_rng(3).uniform(0.0, T, (int(numbers[-1]) + 1, 2))[numbers]
        order = np.argsort(times, axis=1)
        flat = np.take_along_axis(times, order, axis=1).ravel()
        batch = SpikeBatch(flat, order.ravel().astype(np.int32), 2 * np.arange(numbers.size + 1), 2)
        return batch, np.zeros(numbers.size, int)

    return model, draw


def true_gradient():
    """P(fire) = mean over both orders of 1 - (1 - d/T)^2, d = tau ln(w_first/(1 - w_second))."""
    (a, b) = WEIGHTS[:, 0]
    by_d = [2.0 / T * (1.0 - TAU * np.log(first / (1.0 - second)) / T) / 2.0 for first, second in ((a, b), (b, a))]
    return np.array([by_d[0] * TAU / a + by_d[1] * TAU / (1 - a), by_d[0] * TAU / (1 - b) + by_d[1] * TAU / b])


def small_network(seed=1):
    lif = LIF(tau_m=20.0, tau_syn=5.0)
    model = Sequential(Dense(4, 5, lif), Readout(5, 3, lif, feature="integral"))
    model.init(seed, scale=[0.8, 0.5], mean=[0.7, 0.0])
    rates = np.linspace(30.0, 120.0, 4)

    def draw(numbers):
        spikes = encode.poisson(np.tile(rates, (numbers.size, 1)), 50.0, seed=seed, keys=numbers)
        return spikes, np.zeros(numbers.size, int)

    return model, draw, VoltageCrossEntropy(scale=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["differences", "smoothed"])
def test_the_gradient_of_a_spike_probability_is_found(estimator):
    model, draw = coincidence()
    if estimator == "differences":
        found = mean_gradient(model, Count(), draw, T, step=0.02, precision=0.04, draws_a_block=200)
    else:
        rule = by_rule(model, EventProp(), Count(), T)
        found = smoothed_gradient(
            model, rule, Count(), draw, T, step=0.03, precision=0.05, most_draws=102_400, draws_a_direction=200, seed=3,
            directions_a_block=4,
        )  # fmt: skip
    error = np.sqrt(found.blocks[0].var(axis=0, ddof=1) / len(found.blocks[0]))
    true = true_gradient()
    assert np.all(error < 0.1 * true)
    assert np.all(np.abs(found.mean()[0] - true) < 4.0 * error + 0.01 * true)
    assert np.array_equal(model.layers[0].weight, WEIGHTS)


def test_the_pathwise_derivative_of_a_spike_probability_is_0():
    model, draw = coincidence()
    found = expected_gradient(model, by_rule(model, EventProp(), Count(), T), draw, draws=200)
    assert not found.mean()[0].any()


@pytest.mark.slow
def test_both_estimators_agree_on_a_network_and_eventprop_falls_short():
    model, draw, loss = small_network()
    reference = mean_gradient(model, loss, draw, 50.0, precision=0.07, most_draws=1600)
    rule = by_rule(model, EventProp(), loss, 50.0)
    smoothed = smoothed_gradient(
        model, rule, loss, draw, 50.0, precision=0.1, most_draws=51_200, draws_a_direction=50, directions_a_block=8
    )
    other = compare_means(smoothed, reference)[0]
    assert abs(other.cosine - 1.0) < 4.0 * other.cosine_error + 0.01
    assert abs(other.norm_ratio - 1.0) < 4.0 * other.norm_ratio_error + 0.02
    mine = compare_means(expected_gradient(model, rule, draw, draws=reference.draws), reference)
    assert [row.layer for row in mine] == [0, 1, -1]
    assert mine[0].norm_ratio < 1.0 - 4.0 * mine[0].norm_ratio_error
    # The readout does not spike: its pathwise gradient is the gradient of the mean.
    assert mine[1].cosine == pytest.approx(1.0, abs=1e-4)
    assert mine[1].norm_ratio == pytest.approx(1.0, abs=1e-3)


def noisy(truth, rng, blocks=40, noise=3.0):
    return GradientBlocks([(0, "weight")], [truth + noise * rng.standard_normal((blocks, truth.size))], blocks)


def test_noise_is_taken_out_of_norms_and_cosines():
    rng = np.random.default_rng(5)
    truth = rng.standard_normal(100)
    off, covered, naive = [], 0, []
    for _ in range(200):
        a, b = noisy(truth, rng), noisy(2.0 * truth, rng)
        row = compare_means(a, b)[0]
        off.append(row.cosine - 1.0)
        covered += abs(row.norm_ratio - 0.5) < 2.0 * row.norm_ratio_error
        x, y = a.mean()[0], b.mean()[0]
        naive.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    assert abs(np.mean(off)) < 0.01
    assert np.mean(naive) < 0.95
    assert 0.88 < covered / 200 <= 1.0


def test_inner_leaves_pairs_of_one_block_out():
    rng = np.random.default_rng(6)
    a, b = rng.standard_normal((2, 7, 4))
    pairs = [a[i] @ b[j] for i in range(7) for j in range(7) if i != j]
    assert inner(a, b) == pytest.approx(np.mean(pairs))


def test_the_jackknife_is_the_estimate_without_each_block():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 9, 30)) + 1.0
    row = compare_means(*(GradientBlocks([(0, "weight")], [x], 9) for x in (a, b)))[0]
    ratios = []
    for k in range(9):
        x, y = np.delete(a, k, axis=0), np.delete(b, k, axis=0)
        ratios.append((inner(x, y) / np.sqrt(inner(x, x) * inner(y, y)), np.sqrt(inner(x, x) / inner(y, y))))
    error = np.sqrt(8 / 9 * np.sum((np.array(ratios) - np.mean(ratios, axis=0)) ** 2, axis=0))
    assert (row.cosine_error, row.norm_ratio_error) == pytest.approx(tuple(error))


def test_it_stops_at_the_precision_asked_for_or_at_the_most_draws():
    model, draw = coincidence()
    coarse = mean_gradient(model, Count(), draw, T, step=0.1, precision=0.2)
    assert coarse.noise() <= 0.2
    cut = mean_gradient(model, Count(), draw, T, step=0.1, precision=1e-6, most_draws=500)
    assert cut.draws == 400 and cut.noise() > 1e-6


def test_parameters_come_back_to_the_bit_after_an_error():
    model, draw, loss = small_network()
    before = [w.copy() for w in model.weights]

    class Broken:
        calls = 0

        def __call__(self, outputs, labels):
            Broken.calls += 1
            if Broken.calls == 3:
                raise KeyboardInterrupt
            return loss(outputs, labels)

    with pytest.raises(KeyboardInterrupt):
        mean_gradient(model, Broken(), draw, 50.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights))


@pytest.mark.parametrize("wrong", [{"step": 0.0}, {"precision": np.nan}, {"most_draws": 100}])
def test_settings_that_cannot_be(wrong):
    model, draw = coincidence()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        mean_gradient(model, Count(), draw, T, **wrong)


def test_an_array_of_zeros_has_no_scale():
    model, draw = coincidence()
    model.layers[0].weight[:] = 0.0
    with pytest.raises(ValueError, match="weight of layer 0 is 0"):
        mean_gradient(model, Count(), draw, T)


def test_gradients_of_different_models_are_not_compared():
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="different models"):
        compare_means(noisy(np.ones(3), rng), noisy(np.ones(4), rng))
