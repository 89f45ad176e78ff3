"""OTTT's rule at exact times is the limit of the published recursion; the variant of updates at once, of its own."""

import numpy as np
import pytest

from evsim.learning import Dense, MomentaryCrossEntropy, Readout, Sequential, backward, ottt
from evsim.learning.rules.traces.signals import Separable
from evsim.neurons.lif import LIF
from evsim.simulate import simulate
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.published.grid import distance, on_grid, order
from helpers.published.ottt import MEAN_SQUARE, error, held, run

T, H, TAU_M, LABEL = 60.0, 4.0, 6.0, 2
STEPS = (0.4, 0.2, 0.1, 0.05)


def network(tau_syn, seed=5):
    rng = np.random.default_rng(seed)
    neuron = LIF(tau_m=TAU_M, tau_syn=tau_syn)
    model = Sequential(Dense(8, 9, neuron), Dense(9, 7, neuron))
    for layer in model.layers:
        layer.weight = (1.2 if tau_syn else 0.5) * rng.uniform(-0.3, 1.0, (layer.n_in, layer.n_out))
    times = 0.4 * np.sort(rng.choice(np.arange(1, 145), 90, replace=False))
    inputs = SpikeBatch.from_trains([SpikeTrains(times, rng.integers(0, 8, 90), 8)])
    return model, inputs, rng.normal(0.0, 1.0, (7, 3))


def errors_of(spikes, readout):
    """Of the readout at each step of the program, (T/H, classes)."""
    counts = np.zeros((round(T / H), 7))
    np.add.at(counts, ((spikes.times // H).astype(int), spikes.neurons), 1.0)
    return np.array([error(c @ readout, LABEL, len(counts)) for c in counts])


def published(model, spikes, readout, dt):
    """Gradients of both hidden layers. Delta synapses, or, as input, the currents that the arrivals make."""
    steps, lam = round(T / dt), np.exp(-dt / TAU_M)
    got, potentials, weights = [], [], []
    for layer, before, after in zip(model.layers, spikes, spikes[1:]):
        x, area = on_grid(before.sample(0), dt, steps, down=True), 1.0
        rec = simulate(layer.network(), T, {"in": before.sample(0)})
        u = np.stack([rec.voltage("out", n, dt * np.arange(steps)) for n in range(layer.n_out)], axis=1)
        fired = on_grid(after.sample(0), dt, steps, down=True)
        if layer.neuron.tau_syn is None:
            kept = np.concatenate([np.zeros((1, layer.n_out)), u[:-1]])
            u = np.where(fired > 0, lam * kept + x @ layer.weight, u)
        else:
            u[fired > 0] = 1.0
            area, fade = layer.neuron.tau_syn / TAU_M, np.exp(-dt / layer.neuron.tau_syn)
            for t in range(1, steps):
                x[t] += fade * x[t - 1]
            x *= 1.0 - lam
        got.append(x)
        potentials.append(u)
        weights.append(area * layer.weight)
    top = np.repeat(errors_of(spikes[-1], readout), round(H / dt), axis=0)
    return held(got, potentials, [weights[1], readout], top, lam, dt, H)


def learned(model, spikes, readout):
    """The same by the rule, which counts chances per ms: a factor 1/H for each layer passed."""
    top = errors_of(spikes[-1], readout)
    rule = ottt(d_ref=H, step=0.05)
    credit = Separable((top @ readout.T)[None], H * np.arange(len(top)), np.ones_like, T, top[None])
    last, credit = rule.backward(model.layers[1], spikes[1], spikes[2], credit, T)
    first, _ = rule.backward(model.layers[0], spikes[0], spikes[1], credit, T)
    return [first["weight"] * H, last["weight"]]


def learned_from_the_loss(model, spikes, readout):
    """The same from the loss at every moment of a readout without memory, as a user has it."""
    top = Readout(7, 3, LIF(tau_m=TAU_M, tau_syn=3.0), "count", every=H)
    top.weight = readout
    outputs = [*spikes, top.forward(spikes[-1], T)]
    _, signal = MomentaryCrossEntropy(squared=MEAN_SQUARE)(outputs[-1], np.array([LABEL]))
    found, _ = backward(Sequential(*model.layers, top), ottt(d_ref=H, step=0.05), outputs, signal, T)
    return [found[0]["weight"] * H, found[1]["weight"]]


@pytest.mark.parametrize("tau_syn", [None, 3.0])
def test_the_loss_at_every_moment_starts_from_the_programs_errors(tau_syn):
    model, inputs, readout = network(tau_syn)
    spikes = model.forward(inputs, T)
    for a, b in zip(learned_from_the_loss(model, spikes, readout), learned(model, spikes, readout)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("tau_syn", [None, 3.0])
def test_the_published_recursion_converges_to_the_rule_at_first_order(tau_syn):
    model, inputs, readout = network(tau_syn)
    spikes = model.forward(inputs, T)
    assert all((s.counts() > 1).sum() > 4 for s in spikes)
    exact = learned_from_the_loss(model, spikes, readout)
    rows = [[distance(f, e) for f, e in zip(published(model, spikes, readout, dt), exact)] for dt in STEPS]
    for errors in np.transpose(rows):
        assert errors[-1] < 0.025 and 0.85 < order(STEPS, errors) < 1.2, errors


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_updates_at_once_add_up_to_the_sum_as_they_become_small(reset):
    rng = np.random.default_rng(1)
    inputs = rng.integers(0, 2, (12, 8)).astype(float)
    weights = [rng.uniform(-0.3, 0.6, (8, 9)), rng.uniform(-0.3, 0.9, (9, 7)), rng.normal(0.0, 1.0, (7, 3))]
    whole = run(inputs, weights, LABEL, 0.5, None, reset)
    rates = (4e-3, 2e-3, 1e-3)
    rows = [[distance(f, w) for f, w in zip(run(inputs, weights, LABEL, 0.5, rate, reset), whole)] for rate in rates]
    for errors in np.transpose(rows):
        assert errors[0] > 1e-4 and 0.9 < order(rates, errors) < 1.1, errors
    first = (run(inputs[:1], weights, LABEL, 0.5, rate, reset) for rate in (0.1, None))
    for a, b in zip(*first):
        np.testing.assert_array_equal(a, b)
