"""evsim.learning.rules.rate_based against the rule written out: quadrature, an equation solver, sums."""

from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.integrate import solve_ivp

from evsim.cli.main import main
from evsim.errors import GradientError
from evsim.io.runs import load_run
from evsim.learning import CountLoss, Dense, EventProp, RateBased, Readout, Recurrent, Sequential, VoltageCrossEntropy
from evsim.learning.layers.readout import Voltages
from evsim.learning.protocols import backward
from evsim.learning.rules.rates.windows import later_windows, output_of_input, pull_back_windows, window_counts
from evsim.learning.surrogates import S1, S3, Surrogate
from evsim.neurons.lif import LIF
from evsim.simulate import simulate
from evsim.spikes import SpikeBatch, SpikeTrains

T = 60.0
TAU = 12.0
NEURONS = {
    "plain": LIF(tau_m=TAU, tau_syn=3.0),
    "slow-synapse": LIF(tau_m=TAU, tau_syn=30.0, v_reset=-0.4, t_ref=2.5, bias=0.1),
    "delta": LIF(tau_m=TAU, tau_syn=None, t_ref=1.5, v_init=0.3),
    "delta-keeps": LIF(tau_m=TAU, tau_syn=None, t_ref=3.0, keep_refractory_input=True),
}


def some_layer(neuron, seed=0, n_in=6, n_out=4, samples=3, spikes=40, kind=Dense, **options):
    """A layer, its input spikes and what it makes of them."""
    rng = np.random.default_rng(seed)
    layer = kind(n_in, n_out, neuron, **options)
    layer.init(rng, 0.5, 0.4)
    if not neuron.receptor_taus():
        layer.weight *= 0.6
    trains = [SpikeTrains(rng.uniform(0.0, T, spikes), rng.integers(0, n_in, spikes), n_in) for _ in range(samples)]
    inputs = SpikeBatch.from_trains(trains)
    return layer, inputs, layer.forward(inputs, T)


# ------------------------------------------------------------------------------------------------ the slow twin


def step_response(layer, x, filtered):
    """Potential x ms after a unit drive is switched on; 0 before."""
    x = np.maximum(x, 0.0)
    tau_m, tau_s = layer.neuron.tau_m, layer.neuron.tau_syn
    out = tau_m * -np.expm1(-x / tau_m)
    if filtered and tau_s is not None:
        out -= tau_m * tau_s / (tau_m - tau_s) * (np.exp(-x / tau_m) - np.exp(-x / tau_s))
    return out


def events(layer, inputs, spikes, windows):
    """All instants at which a neuron's trace has a kink."""
    t_ref = layer.neuron.t_ref
    some = [inputs.times, spikes, spikes + t_ref, T * np.arange(windows + 1) / windows]
    some = np.unique(np.concatenate(some))
    return some[some <= T]


def psi(rule, layer, u, neuron):
    theta = layer.theta[neuron]
    return rule.surrogate(u / theta) / (theta * rule.reference_step)


def slow_pull_back(rule, layer, inputs, outputs, by_count):
    """dL/d drive of each window: every pair of windows by quadrature, from potentials that the simulator replays."""
    x, w = np.polynomial.legendre.leggauss(24)
    windows, neuron = rule.windows, layer.neuron
    borders = T * np.arange(windows + 1) / windows
    out = np.zeros(by_count.shape)
    for k in range(len(inputs)):
        rec = simulate(layer.network(), T, {"in": inputs.sample(k)})
        for n in range(layer.n_out):
            spikes = outputs.sample(k).of(n)
            np.testing.assert_allclose(rec["out"].of(n), spikes, rtol=1e-12)
            for a, b in pairwise(events(layer, inputs.sample(k), spikes, windows)):
                t = a + 0.5 * (b - a) * (x + 1.0)
                last = np.searchsorted(spikes, t[0]) - 1
                release = spikes[last] + neuron.t_ref if last >= 0 else 0.0
                if release > t[0]:
                    continue
                u = rec.voltage("out", n, t) - neuron.v_rest - neuron.bias
                seen = psi(rule, layer, u, n) * 0.5 * (b - a) * w
                of = min(int(t[0] / T * windows), windows - 1)
                for source in range(of + 1):
                    start, end = borders[source], borders[source + 1]

                    def free(at, start=start, end=end):
                        one, two = (step_response(layer, at - s, rule.filtered) for s in (start, end))
                        return one - two

                    f = free(t)
                    if rule.reset == "hard" and last >= 0:
                        f = f - free(release) * np.exp(-(t - release) / neuron.tau_m)
                    out[k, source, n] += by_count[k, of, n] * float(seen @ f)
    return out


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("switches", [{}, {"windows": 3}, {"windows": 4, "filtered": False}])
def test_slopes_are_what_quadrature_finds(name, switches):
    layer, inputs, outputs = some_layer(NEURONS[name], seed=3)
    assert outputs.counts().max() > 2
    rule = RateBased(nodes=16, surrogate=Surrogate("sigmoid", 2.0), **switches)
    by_count = np.random.default_rng(5).normal(size=(len(inputs), rule.windows, layer.n_out))
    found = pull_back_windows(rule.rates(layer, inputs, outputs, T), by_count)
    np.testing.assert_allclose(found, slow_pull_back(rule, layer, inputs, outputs, by_count), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("windows", [1, 3])
def test_a_soft_reset_goes_on_through_spikes(windows):
    # Without refractory period: a held potential is not counted, as the twin has it.
    layer, inputs, outputs = some_layer(NEURONS["plain"], seed=4)
    rule = RateBased(nodes=16, surrogate=Surrogate("sigmoid", 2.0), reset="soft", windows=windows)
    by_count = np.random.default_rng(5).normal(size=(len(inputs), windows, layer.n_out))
    found = pull_back_windows(rule.rates(layer, inputs, outputs, T), by_count)
    np.testing.assert_allclose(found, slow_pull_back(rule, layer, inputs, outputs, by_count), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_reset_in_the_gradient_is_what_an_equation_solver_finds(reset):
    neuron = NEURONS["slow-synapse"].with_(t_ref=0.0)
    layer, inputs, outputs = some_layer(neuron, samples=1, n_out=2, spikes=25)
    rule = RateBased(nodes=8, surrogate=Surrogate("sigmoid", 2.0), reset=reset, detach_reset=False, windows=2)
    by_count = np.array([[[0.7, -0.2], [-0.4, 1.1]]])
    found = pull_back_windows(rule.rates(layer, inputs, outputs, T), by_count)
    rec = simulate(layer.network(), T, {"in": inputs.sample(0)})
    for n in range(layer.n_out):
        spikes = outputs.sample(0).of(n)
        theta, u_reset = layer.theta[n], neuron.v_reset - neuron.bias
        state = np.zeros(6)  # F of both windows, their synaptic currents, and the two sums
        for a, b in pairwise(events(layer, inputs.sample(0), spikes, 2)):
            if reset == "hard" and a in spikes:
                state[:2] = 0.0
            of = int(a >= T / 2)

            def change(t, y, of=of, n=n, theta=theta, u_reset=u_reset, a=a, b=b):
                u = rec.voltage("out", n, np.array([min(max(t, a + 1e-12), b - 1e-12)]))[0] - neuron.bias
                chance = psi(rule, layer, u, n)
                lost = 1.0 / neuron.tau_m + chance * (u - u_reset if reset == "hard" else theta)
                on = np.array([of == 0, of == 1])
                return np.concatenate([
                    y[2:4] - lost * y[:2], (on - y[2:4]) / neuron.tau_syn, by_count[0, of, n] * chance * y[:2]
                ])  # fmt: skip

            state = solve_ivp(change, (a, b), state, method="DOP853", rtol=1e-8, atol=1e-10).y[:, -1]
        np.testing.assert_allclose(found[0, :, n], state[4:], rtol=2e-6)


# -------------------------------------------------------------------------------------------- the paper's rule


def test_one_window_is_the_papers_chain_of_rates():
    neuron = NEURONS["plain"]
    model = Sequential(Dense(6, 5, neuron), Dense(5, 3, neuron))
    model.init(2, 0.5, 0.6)
    _, inputs, _ = some_layer(neuron)
    rule = RateBased()
    spikes = model.forward(inputs, T)
    _, signal = CountLoss(9.0, 1.0, 0.0)(spikes[-1], np.arange(3))
    gradients, below = backward(model, rule, spikes, signal, T, wants_signal=True)
    r = [s.counts() / T for s in spikes]
    j = [rule.rates(layer, spikes[k], spikes[k + 1], T).slope[:, 0] for k, layer in enumerate(model.layers)]
    area = neuron.tau_syn / neuron.tau_m
    g = signal * T  # by rates
    for k in (1, 0):
        g = g * j[k]
        np.testing.assert_allclose(gradients[k]["weight"], area * np.einsum("sj,si->ji", r[k], g), rtol=1e-12)
        g = g @ (area * model.layers[k].weight).T
    np.testing.assert_allclose(below, g / T, rtol=1e-12)


# --------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("switches", [{}, {"reset": "soft"}, {"filtered": False}, {"detach_reset": False}])
@pytest.mark.parametrize("name", ["slow-synapse", "delta"])
def test_windows_together_are_one_window(name, switches):
    # A drive that rises by the same in all windows, and a loss of the total count.
    layer, inputs, outputs = some_layer(NEURONS[name])
    one = RateBased(nodes=12, **switches).rates(layer, inputs, outputs, T)
    many = RateBased(nodes=12, windows=7, **switches).rates(layer, inputs, outputs, T)
    error = np.ones((len(inputs), 7, layer.n_out))
    total = pull_back_windows(many, error).sum(axis=1)
    np.testing.assert_allclose(total, one.slope[:, 0] * T, rtol=2e-7)
    np.testing.assert_allclose(many.rates.mean(axis=1), one.rates[:, 0], rtol=1e-12)


def surrogate_bptt(layers, rule, spikes, by_count, dt):
    """Weight gradients by surrogate backpropagation through time on a grid, hard reset detached, with recorded spikes.

    spikes : one SpikeTrains a layer, inputs first
    """
    steps = round(T / dt)
    on_grid = [np.zeros((steps, s.size)) for s in spikes]
    for grid, s in zip(on_grid, spikes):
        np.add.at(grid, (np.minimum((s.times / dt).astype(int), steps - 1), s.neurons), 1.0)
    by_spike = np.tile(by_count, (steps, 1))
    out = []
    for k in reversed(range(len(layers))):
        w, neuron = layers[k].weight, layers[k].neuron
        em, es = np.exp(-dt / neuron.tau_m), np.exp(-dt / neuron.tau_syn)
        p = neuron.tau_syn / (neuron.tau_m - neuron.tau_syn) * (em - es)
        rec = simulate(layers[k].network(), T, {"in": spikes[k]})
        at = (np.arange(steps) + 1.0) * dt
        u = np.stack([rec.voltage("out", n, at) for n in range(layers[k].n_out)], axis=1)
        chance = rule.surrogate(u) * dt / rule.reference_step
        a_u, a_i = np.zeros(w.shape[1]), np.zeros(w.shape[1])
        gradient, below = np.zeros(w.shape), np.empty(on_grid[k].shape)
        for t in range(steps - 1, -1, -1):
            a_u = by_spike[t] * chance[t] + a_u * (1.0 - on_grid[k + 1][t])
            a_u, a_i = a_u * em, a_i * es + a_u * p
            gradient += np.outer(on_grid[k][t], a_i)
            below[t] = w @ a_i
        out.insert(0, gradient)
        by_spike = below
    return out


def cosine(a, b):
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def test_more_windows_approach_surrogate_backpropagation_through_time():
    neuron = NEURONS["plain"]
    model = Sequential(Dense(12, 10, neuron), Dense(10, 8, neuron), Dense(8, 3, neuron))
    model.init(3, 0.7, 0.6)
    rng = np.random.default_rng(8)
    inputs = SpikeBatch.from_trains([SpikeTrains(rng.uniform(0.0, T, 120), rng.integers(0, 12, 120), 12)])
    spikes = model.forward(inputs, T)
    assert min(s.times.size for s in spikes) > 10
    signal = np.array([[0.8, -0.5, 0.3]])
    want = surrogate_bptt(model.layers, RateBased(), [s.sample(0) for s in spikes], signal[0], 0.01)
    agreement, distance = [], []
    for windows in (1, 4, 16, 64, 256):
        got = [g["weight"] for g in backward(model, RateBased(windows=windows), spikes, signal, T)[0]]
        agreement.append(cosine(got[0], want[0]))
        distance.append(max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(got, want)))
    assert all(b > a for a, b in pairwise(agreement))
    assert agreement[0] < 0.99 and agreement[-1] > 0.9999
    assert distance[-1] < 0.02


def test_delayed_spikes_are_shared_out_between_the_windows_they_arrive_in():
    by_arrival = np.random.default_rng(0).normal(size=(2, 4, 3))
    np.testing.assert_array_equal(later_windows(by_arrival, np.array(5.0), 5.0)[:, :3], by_arrival[:, 1:])
    assert not later_windows(by_arrival, np.array(5.0), 5.0)[:, 3].any()
    half = later_windows(by_arrival, np.array([0.0, 2.5, 99.0]), 5.0)
    np.testing.assert_array_equal(half[..., 0], by_arrival[..., 0])
    np.testing.assert_allclose(half[:, :3, 1], 0.5 * (by_arrival[:, :3, 1] + by_arrival[:, 1:, 1]))
    assert not half[..., 2].any()


def test_counts_by_window_leave_no_spike_out():
    spikes = SpikeBatch.from_trains([SpikeTrains([0.0, 1.0, 2.0, 2.999, 3.0], [0, 1, 0, 1, 0], 2)])
    np.testing.assert_array_equal(window_counts(spikes, 3.0, 3), [[[1, 0], [0, 1], [1, 1]]])


# ---------------------------------------------------------------------------------------------------------- readout


@pytest.mark.parametrize("feature, weighting", [("integral", None), ("integral", 15.0), ("max", None)])
def test_a_window_of_a_readout_is_the_mean_over_its_arrivals(feature, weighting):
    layer = Readout(1, 2, NEURONS["plain"], feature=feature, weighting=weighting)
    at = np.array([[40.0, 17.0]])
    outputs = Voltages(np.zeros((1, 2)), at, np.full((1, 2), -1), np.zeros((1, 2)))
    share = np.broadcast_to(output_of_input(layer, outputs, T, 3), (1, 3, 2))
    x, w = np.polynomial.legendre.leggauss(200)
    rate = 0.0 if weighting is None else 1.0 / weighting

    def potential(t):
        return np.where(t > 0, (np.exp(-t / 12.0) - np.exp(-t / 3.0)) * 3.0 / 9.0, 0.0)

    def added(s, n):
        if feature == "max":
            return potential(at[0, n] - s)
        t = s + 0.5 * (T - s) * (x + 1.0)
        return 0.5 * (T - s) * float(w @ (np.exp(-rate * t) * potential(t - s)))

    for window in range(3):
        for n in range(2):
            a, b = 20.0 * window, 20.0 * (window + 1)
            if feature == "max":
                b = max(min(b, at[0, n]), a)
            instants = a + 0.5 * (b - a) * (x + 1.0)
            want = 0.5 * (b - a) * sum(wk * added(s, n) for wk, s in zip(w, instants)) / 20.0
            assert share[0, window, n] == pytest.approx(want, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("windows", [1, 5])
def test_a_readouts_weights_have_their_exact_gradient(windows):
    _, inputs, _ = some_layer(NEURONS["plain"])
    layer = Readout(6, 3, NEURONS["plain"], feature="integral", delay=1.5)
    layer.init(np.random.default_rng(1), 0.5)
    outputs = layer.forward(inputs, T)
    _, signal = VoltageCrossEntropy(0.1)(outputs, np.arange(3))
    got, below = RateBased(windows=windows).backward(layer, inputs, outputs, signal, T, is_output=True)
    want, _ = EventProp().backward(layer, inputs, outputs, signal, T, is_output=True)
    np.testing.assert_allclose(got["weight"], want["weight"], rtol=1e-13)
    assert below.shape == ((3, 6) if windows == 1 else (3, 5, 6))


# -------------------------------------------------------------------------------------------------------- recurrent


def test_neumann_terms_approach_the_fixed_point_of_the_rates():
    layer, inputs, outputs = some_layer(
        NEURONS["plain"], kind=Recurrent, recurrent_scale=1.0, recurrent_delay=2.0, delay=1.0
    )
    signal = np.random.default_rng(2).normal(size=(3, 4))
    rule = RateBased(recurrent_terms=200)
    got, below = rule.backward(layer, inputs, outputs, signal, T)
    found = rule.rates(layer, inputs, outputs, T)
    area, arrive = 3.0 / 12.0, 1.0 - 2.0 / T
    for name, n_pre in (("weight", 6), ("recurrent_weight", 4)):
        assert got[name].shape == (n_pre, 4)
    want, want_below = np.zeros((10, 4)), np.zeros((3, 6))
    for k in range(3):
        j = found.slope[k, 0]
        loop = np.eye(4) - j[:, None] * (area * arrive * layer.recurrent_weight).T
        g = np.linalg.solve(loop.T, signal[k] * T) * j
        want += area * np.outer(found.source_rates[k, 0], g)
        want_below[k] = area * (1.0 - 1.0 / T) / T * layer.weight @ g
    np.testing.assert_allclose(np.concatenate([got["weight"], got["recurrent_weight"]]), want, rtol=1e-9)
    np.testing.assert_allclose(below, want_below, rtol=1e-9)
    free, _ = RateBased(recurrent_terms=0).backward(layer, inputs, outputs, signal, T)
    plain = found.weight_gradients(pull_back_windows(found, signal[:, None]))
    np.testing.assert_allclose(free["recurrent_weight"], plain["recurrent_weight"], rtol=1e-13)


@pytest.mark.parametrize("windows", [1, 3])
def test_a_recurrent_layer_without_recurrent_weights_is_a_dense_one(windows):
    layer, inputs, outputs = some_layer(NEURONS["plain"], kind=Recurrent)
    dense = Dense(6, 4, NEURONS["plain"])
    dense.weight = layer.weight
    # Its own spikes cut the pieces between events further.
    rule, signal = RateBased(windows=windows, nodes=16), np.ones((3, 4))
    got, below = rule.backward(layer, inputs, outputs, signal, T)
    want, want_below = rule.backward(dense, inputs, outputs, signal, T)
    np.testing.assert_allclose(got["weight"], want["weight"], rtol=1e-12)
    np.testing.assert_allclose(below, want_below, rtol=1e-12)


# ------------------------------------------------------------------------------------------------- switches and door


@pytest.mark.parametrize("estimator", ["surrogate", "analytic", "interval", "diffusion"])
def test_silence_gives_zeros_and_never_nan(estimator):
    layer = Dense(3, 2, NEURONS["plain"])
    nothing = SpikeBatch.from_trains([SpikeTrains([], [], 3)] * 2)
    rule = RateBased(estimator=estimator)
    got, below = rule.backward(layer, nothing, layer.forward(nothing, T), np.ones((2, 2)), T)
    assert not got["weight"].any() and not below.any()


def test_silent_neurons_learn_only_by_their_named_share():
    layer, inputs, _ = some_layer(NEURONS["plain"])
    layer.weight *= 0.2
    outputs = layer.forward(inputs, T)
    assert outputs.times.size == 0
    signal = np.ones((3, 4))
    off, _ = RateBased(estimator="interval").backward(layer, inputs, outputs, signal, T)
    assert not off["weight"].any()
    shared = RateBased(estimator="interval", silent_share=0.3)
    on, _ = shared.backward(layer, inputs, outputs, signal, T)
    full, _ = RateBased().backward(layer, inputs, outputs, signal, T)
    np.testing.assert_allclose(on["weight"], 0.3 * full["weight"], rtol=1e-12)
    assert shared.rates(layer, inputs, outputs, T).fallback.all()
    assert not RateBased(estimator="interval").rates(layer, inputs, outputs, T).fallback.any()


def test_divide_loss_scales_all_gradients_by_the_number_of_steps():
    neuron = NEURONS["plain"]
    model = Sequential(Dense(6, 5, neuron), Dense(5, 3, neuron))
    model.init(2, 0.5, 0.6)
    _, inputs, _ = some_layer(neuron)
    spikes = model.forward(inputs, T)
    signal = np.ones((3, 3))
    plain, _ = backward(model, RateBased(reference_step=5.0), spikes, signal, T)
    divided, _ = backward(model, RateBased(reference_step=5.0, divide_loss=True), spikes, signal, T)
    for a, b in zip(plain, divided):
        np.testing.assert_allclose(b["weight"], a["weight"] * 5.0 / T, rtol=1e-13)


def test_the_reference_step_scales_the_slope_and_none_matches_the_diffusion():
    layer, inputs, outputs = some_layer(NEURONS["plain"])
    one, two = (RateBased(reference_step=d).rates(layer, inputs, outputs, T).slope for d in (1.0, 4.0))
    np.testing.assert_allclose(one, 4.0 * two, rtol=1e-13)
    matched = RateBased(reference_step=None).rates(layer, inputs, outputs, T).slope
    diffusion = RateBased(estimator="diffusion").rates(layer, inputs, outputs, T).slope
    assert matched.mean() == pytest.approx(diffusion.mean(), rel=1e-12)
    np.testing.assert_allclose(matched / matched.mean(), one / one.mean(), rtol=1e-12)


def test_threads_and_batches_change_no_bit():
    layer, inputs, outputs = some_layer(NEURONS["plain"], samples=9)
    rule = RateBased(windows=2)
    one, three = (rule.rates(layer, inputs, outputs, T, threads).slope for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    alone = rule.rates(layer, inputs.take([5]), outputs.take([5]), T).slope
    np.testing.assert_array_equal(alone[0], one[5])


@pytest.mark.parametrize("surrogate, nodes, tolerance", [(S3, 4, 2e-4), (S1, 16, 2e-2)])
def test_a_few_nodes_are_enough(surrogate, nodes, tolerance):
    layer, inputs, outputs = some_layer(NEURONS["plain"])
    few, many = (RateBased(surrogate=surrogate, nodes=n).rates(layer, inputs, outputs, T).slope for n in (nodes, 64))
    np.testing.assert_allclose(few, many, rtol=tolerance)


@pytest.mark.parametrize(
    "bad",
    [
        {"estimator": "exact"}, {"reset": "none"}, {"reference_step": 0.0}, {"windows": 0}, {"silent_share": 1.5},
        {"windows": 2, "estimator": "analytic"}, {"windows": 2, "reference_step": None}, {"nodes": 1},
        {"divide_loss": True, "reference_step": None}, {"recurrent_terms": -1}, {"least_climb": 0.0},
    ],
)  # fmt: skip
def test_refuses_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad)) if len(bad) == 1 else "window|divide_loss"):
        RateBased(**bad)


@pytest.mark.parametrize(
    "neuron, options, rule, what",
    [
        ({}, {"delay": np.ones((6, 4))}, {}, "one per sending neuron"),
        ({}, {"lateral_inhibition": 1.0}, {}, "lateral"),
        ({}, {"trainable_delays": "input", "max_delay": 2.0}, {}, "delays"),
        ({"tau_syn": (2.0, 3.0)}, {}, {}, "tau_syn"),
        ({"tau_syn": None}, {}, {"estimator": "interval"}, "one exponential current"),
        ({"bias": 1.5}, {}, {}, "> 0"),
    ],
)
def test_refuses_layers(neuron, options, rule, what):
    layer, inputs, outputs = some_layer(LIF(**neuron), **options)
    with pytest.raises(GradientError, match=what):
        RateBased(**rule).backward(layer, inputs, outputs, np.ones((3, 4)), T)


# ------------------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("options", [[], ["--rule-option", "windows=4", "--rule-option", "surrogate=S2"]])
def test_it_trains_from_the_command_line(tmp_path, options):
    small = ["--train-size", "400", "--test-size", "40", "--hidden", "20", "--epochs", "4", "--threads", "1"]
    small += ["--batch-size", "10"]
    args = ["train", "--dataset", "digits", "--rule", "rate-based", *small, *options, "--out", str(tmp_path)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    history = load_run(tmp_path / "run.h5")["history"]
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
