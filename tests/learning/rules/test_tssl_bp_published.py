"""TSSL-BP's rule at exact times is the limit of the published recursion, its branch of silent neurons included."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.learning import TSSLBP, Dense, PSCDistance, Sequential, desired_trains
from evsim.learning.protocols import backward
from helpers.published.grid import on_grid, order
from helpers.published.tssl_bp import filtered, gradients

T, TAU_M, TAU_S, H = 60.0, 20.0, 5.0, 2.0
UNIT = TAU_S / TAU_M
"""Weights of the program over ours."""
STEPS = (0.1, 0.05, 0.025, 0.0125)
TARGETS = desired_trains(3, T, 6.0)


def case(seed, mean, apart):
    """A network and input spikes that lie on all grids; if ``apart``, none of them on a step of the program."""
    rng = np.random.default_rng(seed)
    at = np.sort(np.rint(rng.uniform(0.0, 45.0, 60) / 0.1)).astype(int)
    times = 0.1 * (at + (apart & (at % round(H / 0.1) == 0)))
    inputs = SpikeBatch.from_trains([SpikeTrains(times, rng.integers(0, 10, 60), 10)])
    model = Sequential(*(Dense(a, b, LIF(tau_m=TAU_M, tau_syn=TAU_S)) for a, b in ((10, 12), (12, 3))))
    for k, layer in enumerate(model.layers):
        layer.init(np.random.default_rng([seed, k]), 0.3, mean)
    return model, inputs


def published(cases, dt, silent, h=H):
    """Gradients of our weights, one list a case."""
    steps = round(T / dt)
    spikes = np.stack([on_grid(inputs.sample(0), dt, steps) for _, inputs in cases])
    wanted = on_grid(TARGETS.sample(0), dt, steps)[None]
    weights = [UNIT * np.stack(w) for w in zip(*(model.weights for model, _ in cases))]
    found = gradients(filtered(spikes, TAU_S, dt), weights, wanted, TAU_M, TAU_S, dt, h, silent)
    return [[UNIT * g for g in of_case] for of_case in zip(*found)]


def learned(model, inputs, rule):
    spikes = model.forward(inputs, T)
    _, pull = PSCDistance(TARGETS, TAU_S, T)(spikes[-1], np.zeros(1, int))
    return spikes, [g["weight"] for g in backward(model, rule, spikes, pull, T)[0]]


@pytest.mark.parametrize("silent, mean", [("none", 0.6), ("replace", 0.4)])
def test_the_published_recursion_converges_to_the_rule_at_first_order(silent, mean):
    # Where an arrival falls between a spike and the step that sees it, the step takes the wrong slope: an error that
    # does not shrink with dt but becomes rarer. Hence medians over the neurons.
    cases = [case(seed, mean, silent != "none") for seed in range(1, 9)]
    rule = TSSLBP(silent=silent, reference_step=H)
    exact = [learned(*c, rule) for c in cases]
    assert sum(np.count_nonzero(spikes[1].counts() == 0) for spikes, _ in exact) > 3 or silent == "none"
    errors = [[], []]
    for dt in STEPS:
        for found, (_, want) in zip(published(cases, dt, silent != "none"), exact):
            for k in (0, 1):
                errors[k].append(np.linalg.norm(found[k] - want[k], axis=0) / np.linalg.norm(want[k], axis=0))
    for layer in errors:
        middle = np.median(np.reshape(layer, (len(STEPS), -1)), axis=1)
        assert middle[-1] < 6e-3 and 0.8 < order(STEPS, middle) < 1.25, middle
