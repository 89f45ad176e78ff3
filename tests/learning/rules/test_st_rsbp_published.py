"""ST-RSBP's rule at exact times is the limit of the published recursion, its fallbacks for the silent included."""

from dataclasses import replace

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.learning import STRSBP, CountLoss, Dense, Recurrent, Sequential
from evsim.learning.protocols import backward
from evsim.learning.rules.counts.slopes import uniform_mean
from helpers.published.grid import distance, on_grid, order
from helpers.published.st_rsbp import Times, feed_forward, lateral_factor, recurrent, table

T, TAU_M, TAU_S, T_REF, DELAY = 160.0, 32.0, 8.0, 1.2, 2.0
UNIT = TAU_S / TAU_M
"""Potentials, thresholds and S-PSPs of ours over the program's."""
STEPS = (0.4, 0.2, 0.1, 0.05)
PUBLISHED = STRSBP(
    slopes="published", table=100, credit="published", lateral="two-hops", silent_psp=0.0, least_diagonal=1e-4
)


def network(seed=3):
    """Three layers as in the published networks; in each some neurons stay silent, and so does an input."""
    rng = np.random.default_rng(seed)

    def neuron(threshold):
        return LIF(tau_m=TAU_M, tau_syn=TAU_S, t_ref=T_REF, v_th=threshold * UNIT)

    layers = [
        Dense(9, 8, neuron(4.0), delay=DELAY),
        Recurrent(8, 7, neuron(2.0), delay=DELAY, recurrent_delay=DELAY),
        Dense(7, 4, neuron(1.0), delay=DELAY, lateral_inhibition=0.15, lateral_delay=DELAY),
    ]
    model = Sequential(*layers)
    for layer in layers:
        layer.weight = rng.uniform(-0.3, 1.2, (layer.n_in, layer.n_out))
        layer.weight[:, 1] = -0.5
    layers[1].recurrent_weight = rng.uniform(-0.5, 0.5, (7, 7))
    layers[1].recurrent_weight[:, 1] = -0.5
    # A neuron onto itself is a synapse for the table and for its weight, but not for the solve.
    train = SpikeTrains(rng.uniform(0.0, T, 90), rng.integers(0, 8, 90), 9)
    return model, SpikeBatch.from_trains([train])


def published(model, spikes, error, label, dt):
    """dE/dw of each layer (n_in, n_out), the recurrent weights of the second last."""
    t = Times(TAU_M, TAU_S, T_REF, DELAY, T, dt)
    s = [on_grid(batch.sample(0), dt, round(T / dt)) for batch in spikes]
    # The authors' potential is 1/UNIT times ours, and so is the mean of e.
    powers = table(t, lambda counts: TAU_M * uniform_mean(counts, T, TAU_M, T_REF))
    first, middle, last = (layer.weight.T for layer in model.layers)
    nu = [layer.neuron.v_th / UNIT for layer in model.layers]
    factor = lateral_factor(s[3], label, model.layers[2].lateral_inhibition, nu[2], t)
    by_last, error = feed_forward(last, s[2], s[3], error, nu[2], powers, t, factor)
    by_middle, by_inner, error = recurrent(
        middle, model.layers[1].recurrent_weight.T, s[1], s[2], error, nu[1], powers, t
    )
    by_first, below = feed_forward(first, s[0], s[1], error, nu[0], powers, t)
    return [by_first.T, by_middle.T, by_last.T, by_inner.T, below]


def learned(model, spikes, rule, label, loss):
    _, signal = loss(spikes[-1], np.array([label]))
    found, below = backward(model, rule, spikes, signal, T, wants_signal=True)
    return signal[0], [*(g["weight"] for g in found), found[1]["recurrent_weight"], below[0]]


@pytest.fixture(scope="module")
def case():
    """model, spikes, label, loss, and the recursion's gradients at each step."""
    model, inputs = network()
    spikes = model.forward(inputs, T)
    assert all((s.counts() == 0).any() and (s.counts() > 2).sum() >= 3 for s in spikes)
    label, loss = int(np.argmax(spikes[-1].counts())), CountLoss(25.0, 2.0, 0.0)
    error, _ = learned(model, spikes, PUBLISHED, label, loss)
    return model, spikes, label, loss, [published(model, spikes, error, label, dt) for dt in STEPS]


def test_the_published_recursion_converges_to_the_rule_at_first_order(case):
    model, spikes, label, loss, found = case
    _, exact = learned(model, spikes, PUBLISHED, label, loss)
    for errors in zip(*([distance(f, e) for f, e in zip(row, exact)] for row in found)):
        assert errors[-1] < 7e-3 and 0.85 < order(STEPS, errors) < 1.2, errors


@pytest.mark.parametrize(
    "other",
    [{"credit": "adjoint"}, {"lateral": "system"}, {"silent_ratio": 0.0}, {"silent_psp": 1.0}, {"table": 50},
     {"slopes": "regular"}],
    ids=str,
)  # fmt: skip
def test_every_branch_of_it_is_seen(case, other):
    """Another choice is several times farther away than the finest grid."""
    model, spikes, label, loss, found = case
    _, exact = learned(model, spikes, replace(PUBLISHED, **other), label, loss)
    assert max(distance(f, e) for f, e in zip(found[-1], exact)) > 0.03
