"""The rate-based rule at exact times is the limit of the published recursion."""

import numpy as np
import pytest

from evsim.learning import Dense, RateBased, Sequential, protocols
from evsim.neurons.lif import LIF
from evsim.simulate import simulate
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.published.grid import distance, on_grid, order
from helpers.published.rate_based import backward, forward, of_mean_logits, slope

T, TAU_M, TAU_S, H = 60.0, 12.0, 4.0, 5.0
STEPS = (0.4, 0.2, 0.1, 0.05, 0.025)
LABEL = 1


def network(tau_syn, seed=2):
    """Two spiking layers, with a silent neuron in each, a linear readout, and input spikes that lie on all grids."""
    rng = np.random.default_rng(seed)
    model = Sequential(*(Dense(a, b, LIF(tau_m=TAU_M, tau_syn=tau_syn)) for a, b in ((8, 9), (9, 7))))
    for layer in model.layers:
        layer.weight = rng.uniform(-0.3, 1.0, (layer.n_in, layer.n_out)) * (1.4 if tau_syn else 0.35)
        layer.weight[:, 0] = -0.2
    # No two at once, which delta synapses would merge.
    times = 0.4 * np.sort(rng.choice(np.arange(1, 145), 60, replace=False))
    inputs = SpikeBatch.from_trains([SpikeTrains(times, rng.integers(0, 8, 60), 8)])
    return model, inputs, rng.normal(0.0, 1.0, (7, 3))


def published(model, around, readout, dt, reset, detached, divide):
    """dL/dw of both layers and of the readout, dL/d count of the input, and the counts of the last layer.

    With delta synapses the program's own forward pass. Currents between layers are not the program's; there potentials
    and spikes are those of ``around``, at the grid's points.
    """
    steps, leak = round(T / dt), np.exp(-dt / TAU_M)
    spikes, rates, slopes, weights = on_grid(around[0].sample(0), dt, steps), [], [], []
    area = 1.0 if model.layers[0].neuron.tau_syn is None else TAU_S / TAU_M
    for layer, before, after in zip(model.layers, around, around[1:]):
        rates.append(spikes.mean(axis=0))
        weights.append(area * layer.weight)
        if layer.neuron.tau_syn is None:
            u, spikes = forward(spikes @ layer.weight, leak, reset)
        else:
            rec = simulate(layer.network(), T, {"in": before.sample(0)})
            u = np.stack([rec.voltage("out", n, dt * np.arange(steps)) for n in range(layer.n_out)], axis=1)
            spikes = on_grid(after.sample(0), dt, steps)
            u[spikes > 0] = 1.0
        slopes.append(slope(u, spikes, leak, reset, detached, dt, H))
    rates.append(spikes.mean(axis=0))
    per_step = H / dt
    by_rate, by_readout = of_mean_logits(rates[-1] * per_step, readout, LABEL, T / H if divide else 1.0)
    found, below = backward(rates, slopes, weights, by_rate * per_step)
    return [*(area * g for g in found), by_readout, below * dt / T], spikes.sum(axis=0)


def learned(model, inputs, readout, rule):
    spikes = model.forward(inputs, T)
    counts = spikes[-1].counts()[0]
    by_rate, by_readout = of_mean_logits(counts * H / T, readout, LABEL)
    found, below = protocols.backward(model, rule, spikes, by_rate[None] * H / T, T, wants_signal=True)
    share = H / T if rule.divide_loss else 1.0
    return [*(g["weight"] for g in found), by_readout * share, below[0]], spikes


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize(
    ("tau_syn", "reset", "divide"), [(TAU_S, "soft", False), (TAU_S, "soft", True), (None, "hard", False)]
)
def test_the_published_recursion_converges_to_the_rule_at_first_order(tau_syn, reset, detached, divide):
    # Where potentials meet the threshold, a soft reset is one to 0. With delta synapses they jump over it, and
    # the hard reset of the program is taken.
    model, inputs, readout = network(tau_syn)
    rule = RateBased(
        reset=reset, detach_reset=detached, filtered=False, divide_loss=divide, reference_step=H, nodes=12
    )
    exact, spikes = learned(model, inputs, readout, rule)
    assert all((s.counts() == 0).any() and (s.counts() > 2).sum() > 3 for s in spikes[1:])
    errors = []
    for dt in STEPS:
        found, counts = published(model, spikes, readout, dt, reset, detached, divide)
        np.testing.assert_array_equal(counts, spikes[-1].counts()[0])
        errors.append([distance(f, e) for f, e in zip(found, exact)])
    for which in np.transpose(errors):
        if which.max() > 1e-12:  # by the readout's weights only counts matter
            assert which[-1] < 0.02 and 0.9 < order(STEPS, which) < 1.15, which
