"""S-TLLR's rule at exact times is the limit of the published recursion, with a loss at every step."""

import numpy as np
import pytest

from evsim import streams
from evsim.learning import STLLR, Dense, MomentaryCrossEntropy, Readout, Recurrent, Sequential, backward
from evsim.learning.rules.traces.signals import Separable
from evsim.learning.surrogates import S1, S2, S3, S4, Surrogate
from evsim.neurons.lif import LIF
from evsim.simulate import simulate
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.published import s_tllr as paper
from helpers.published.grid import distance, on_grid, order

T, H, TAU_PRE, TAU_POST = 60.0, 4.0, 9.0, 5.0
STEPS = (0.4, 0.2, 0.1, 0.05)
DELAY, BACK, FIRST, LABEL = 0.8, 2.0, 4, 1
CURRENT, DELTA = LIF(tau_m=20.0, tau_syn=5.0), LIF(tau_m=20.0, tau_syn=None)
LOWER, LOWER_S3 = CURRENT.with_(v_th=0.8), Surrogate("sigmoid", 4.0 * 0.8)
"""The paper's threshold; ours are activations of u/theta - 1, the paper's of u - theta."""
SAME = {S1: paper.narrow, S2: paper.triangle, S3: paper.sigmoid, S4: paper.lorentzian, LOWER_S3: paper.sigmoid}


def network(kind, neuron, seed=2):
    """One recurrent or two dense layers; input spikes lie on all grids, no two at once."""
    rng = np.random.default_rng(seed)
    size = 1.3 if neuron.tau_syn else 0.35
    if kind == "recurrent":
        layers = [Recurrent(8, 7, neuron, delay=DELAY, recurrent_delay=BACK)]
        layers[0].recurrent_weight = size * rng.uniform(-0.5, 0.5, (7, 7))
    else:
        layers = [Dense(8, 9, neuron, delay=DELAY), Dense(9, 7, neuron, delay=DELAY)]
    for layer in layers:
        layer.weight = size * rng.uniform(-0.3, 1.0, (layer.n_in, layer.n_out))
    times = 0.4 * np.sort(rng.choice(np.arange(1, 145), 60, replace=False))
    inputs = SpikeBatch.from_trains([SpikeTrains(times, rng.integers(0, 8, 60), 8)])
    return Sequential(*layers), inputs, rng.normal(0.0, 1.0, (7, 3))


def learning_signal(spikes, readout):
    """Errors of each step of the program, from the spikes of the last layer in that step."""
    counts = np.zeros((round(T / H), 7))
    np.add.at(counts, ((spikes.times // H).astype(int), spikes.neurons), 1.0)
    return paper.errors(counts, readout, LABEL, FIRST, leak=0.9)


def on_one_grid(layer, before, after, dt, psi):
    """Arrivals, psi per step of the program and spikes of a layer, (steps, n) each.

    Delta synapses: the program's forward pass with its hard reset. Currents between layers are not the program's; there
    the potentials are those of the simulator.
    """
    steps, lag, theta = round(T / dt), round(DELAY / dt), layer.neuron.v_th
    arrivals, spikes = on_grid(before, dt, steps, down=True), on_grid(after, dt, steps, down=True)
    arrivals = np.concatenate([np.zeros((lag, before.size)), arrivals])[:steps]
    weight = layer.weight
    if isinstance(layer, Recurrent):
        own = np.concatenate([np.zeros((round(BACK / dt), after.size)), spikes])[:steps]
        arrivals = np.concatenate([arrivals, own], axis=1)
        weight = np.concatenate([weight, layer.recurrent_weight])
    if layer.neuron.tau_syn is None:
        u, fired = paper.forward(arrivals @ weight, np.exp(-dt / layer.neuron.tau_m), theta, "hard")
        np.testing.assert_array_equal(fired, spikes)
    else:
        rec = simulate(layer.network(), T, {"in": before})
        u = np.stack([rec.voltage("out", n, dt * np.arange(steps)) for n in range(layer.n_out)], axis=1)
        u[spikes > 0] = theta
    return arrivals, psi(u, theta), spikes


def published(model, spikes, readout, rule, dt, lag_one="paper"):
    """Gradients of all layers, recurrent weights below those of the inputs."""
    psi, error = SAME[rule.psi], learning_signal(spikes[-1], readout)
    delta = np.repeat(error @ readout.T, round(H / dt), axis=0)
    lag, out = round(DELAY / dt), []
    for k in range(len(model.layers) - 1, -1, -1):
        layer = model.layers[k]
        arrivals, chance, fired = on_one_grid(layer, spikes[k].sample(0), spikes[k + 1].sample(0), dt, psi)
        post = fired if rule.form == "spikes" else chance * dt / H
        lam = np.exp(-dt / TAU_PRE), np.exp(-dt / TAU_POST)
        out.insert(0, paper.gradient(arrivals, post, delta, *lam, rule.a_pre, rule.a_post, lag_one))
        if rule.feedback == "random":
            random = streams.rng("feedback", rule.feedback_seed, 0).uniform(-1, 1, (layer.n_in, 3)) / np.sqrt(3)
            delta = np.repeat(error, round(H / dt), axis=0) @ random.T
            continue
        area = layer.neuron.tau_syn / layer.neuron.tau_m if layer.neuron.tau_syn else 1.0
        delta = paper.signal_below(delta, chance, area * layer.weight)
        # A spike meets the layer above a delay later.
        delta = np.concatenate([delta[lag:], np.zeros((lag, delta.shape[1]))])
    return out


def learned(model, spikes, readout, rule):
    """The same by the rule. It counts chances per ms, so that each layer passed has left a factor 1/H."""
    error = learning_signal(spikes[-1], readout)
    windows, out = H * np.arange(len(error)), []
    credit = Separable((error @ readout.T)[None], windows, np.ones_like, T, error[None])
    for k in range(len(model.layers) - 1, -1, -1):
        found, credit = rule.backward(model.layers[k], spikes[k], spikes[k + 1], credit, T)
        parts = [found[name] for name in ("weight", "recurrent_weight") if name in found]
        passed = len(model.layers) - 1 - k if rule.feedback == "backprop" else 0
        out.insert(0, np.concatenate(parts) * H**passed)
    return out


def rule_of(**options):
    return STLLR(**{"tau_pre": TAU_PRE, "tau_post": TAU_POST, "psi": S3, "d_ref": H, "step": 0.05, **options})


def case(kind, neuron):
    model, inputs, readout = network(kind, neuron)
    spikes = model.forward(inputs, T)
    assert all((s.counts() > 1).sum() > 3 for s in spikes)
    return model, spikes, readout


@pytest.mark.parametrize("lag_one", ["paper", "program"])
@pytest.mark.parametrize(
    ("kind", "neuron", "options"),
    [
        ("dense", DELTA, {"a_post": -1.0}),
        ("dense", LOWER, {"a_post": 0.0, "psi": LOWER_S3}),
        ("dense", CURRENT, {"a_pre": 0.0, "a_post": 1.0, "psi": S2}),
        ("dense", CURRENT, {"a_post": -0.2, "feedback": "random"}),
        ("recurrent", CURRENT, {"a_post": 1.0, "psi": S4}),
        ("recurrent", DELTA, {"a_post": -0.5, "form": "spikes"}),
    ],
)
def test_the_published_recursion_converges_to_the_rule_at_first_order(kind, neuron, options, lag_one):
    model, spikes, readout = case(kind, neuron)
    rule = rule_of(**options)
    exact = learned(model, spikes, readout, rule)
    errors = [
        [distance(f, e) for f, e in zip(published(model, spikes, readout, rule, dt, lag_one), exact)] for dt in STEPS
    ]
    for which in np.transpose(errors):
        # With spikes for psi nothing is left to approximate.
        assert which[-1] < 1e-12 or (which[-1] < 0.025 and 0.85 < order(STEPS, which) < 1.3), which


@pytest.mark.parametrize("feedback", ["backprop", "random"])
def test_with_the_loss_at_every_moment_it_is_the_limit_for_all_layers_at_once(feedback):
    """VGG's readout, a linear layer on the spikes of the step; its weights learn without a trace."""
    model, spikes, readout = case("dense", CURRENT)
    rule = rule_of(a_post=-1.0, feedback=feedback)
    top = Readout(7, 3, CURRENT, "count", every=H, since=FIRST * H)
    top.weight = readout
    outputs = [*spikes, top.forward(spikes[-1], T)]
    loss = MomentaryCrossEntropy()
    _, signal = loss(outputs[-1], np.array([LABEL]))
    found, _ = backward(Sequential(*model.layers, top), rule, outputs, signal, T)
    counts = np.zeros((round(T / H), 7))
    np.add.at(counts, ((spikes[-1].times // H).astype(int), spikes[-1].neurons), 1.0)
    error = paper.errors(counts, readout, LABEL, FIRST)
    steps = len(counts) - FIRST  # ours is the mean, the program's the sum
    np.testing.assert_allclose(found[2]["weight"] * steps, counts.T @ error, atol=1e-13)
    got = [found[k]["weight"] * steps * (H if feedback == "backprop" else 1.0) ** (1 - k) for k in range(2)]
    errors = []
    for dt in STEPS:
        grid = on_grid_from(model, spikes, error @ readout.T, rule, dt)
        if feedback == "random":
            through = [streams.rng("feedback", 0, 1 - k).uniform(-1, 1, (n, 3)) for k, n in enumerate((9, 7))]
            grid = [
                on_grid_from(model, spikes, error @ b.T / np.sqrt(3), rule, dt, k)[0] for k, b in enumerate(through)
            ]
        errors.append([distance(f, e) for f, e in zip(grid, got)])
    for which in np.transpose(errors):
        assert which[-1] < 0.025 and 0.85 < order(STEPS, which) < 1.3, which


def on_grid_from(model, spikes, delta, rule, dt, only=None):
    """Gradients of the layers (or of one) from the learning signal of the last (or of that one), (steps, n)."""
    psi, delta = SAME[rule.psi], np.repeat(delta, round(H / dt), axis=0)
    lag, out = round(DELAY / dt), []
    lam = np.exp(-dt / TAU_PRE), np.exp(-dt / TAU_POST)
    for k in [1, 0] if only is None else [only]:
        layer = model.layers[k]
        arrivals, chance, _ = on_one_grid(layer, spikes[k].sample(0), spikes[k + 1].sample(0), dt, psi)
        out.insert(0, paper.gradient(arrivals, chance * dt / H, delta, *lam, rule.a_pre, rule.a_post))
        delta = paper.signal_below(delta, chance, layer.neuron.tau_syn / layer.neuron.tau_m * layer.weight)
        delta = np.concatenate([delta[lag:], np.zeros((lag, delta.shape[1]))])
    return out


def test_the_narrow_activation_needs_a_finer_grid():
    """S1, a hundredth of the threshold wide; a step of the grid crosses it at once."""
    model, spikes, readout = case("recurrent", CURRENT)
    rule = rule_of(a_post=1.0, psi=S1, step=0.01)
    exact = learned(model, spikes, readout, rule)[0]
    errors = [distance(published(model, spikes, readout, rule, dt)[0], exact) for dt in (0.1, 0.025)]
    assert errors[1] < 0.05 and errors[1] < 0.4 * errors[0]


def test_the_programs_non_causal_amplitude_is_the_papers_over_lambda():
    model, spikes, readout = case("dense", CURRENT)
    lam = np.exp(-H / 4 / TAU_POST)
    got = published(model, spikes, readout, rule_of(a_post=-1.0), H / 4, "program")
    want = published(model, spikes, readout, rule_of(a_post=-1.0 / lam), H / 4, "paper")
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())
