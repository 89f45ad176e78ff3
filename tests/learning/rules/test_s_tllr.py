"""evsim.learning.rules.s_tllr: against sums over pairs of spikes, and quadrature."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from evsim import LIF, SpikeBatch, SpikeTrains, streams
from evsim.cli.train import RunConfig, train_run
from evsim.errors import GradientError
from evsim.experiment.presets import settings
from evsim.io.runs import load_run
from evsim.learning import STLLR, CountLoss, Dense, Readout, Recurrent, Sequential, VoltageCrossEntropy, ottt
from evsim.learning.protocols import backward
from evsim.learning.rules.s_tllr import Traces
from evsim.learning.rules.traces.events import Membrane, layer_events
from evsim.learning.rules.traces.signals import Separable
from evsim.learning.surrogates import S1, S2, S3, S4

NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.2, bias=0.1, v_init=0.05)
DELTA = LIF(tau_m=20.0, tau_syn=None, v_init=0.0)
T = 40.0


def some_input(n=3, size=6, spikes=25, seed=0):
    rng = np.random.default_rng(seed)
    trains = [SpikeTrains(rng.uniform(0.0, 35.0, spikes), rng.integers(0, size, spikes), size) for _ in range(n)]
    return SpikeBatch.from_trains(trains)


def network(kind="dense", neuron=NEURON, hidden=1, delay=0.0):
    first = (
        Recurrent(6, 5, neuron, delay=delay, recurrent_delay=1.5, recurrent_scale=1.0)
        if kind == "recurrent"
        else Dense(6, 5, neuron, delay=delay)
    )
    more = [Dense(5, 5, neuron, delay=delay) for _ in range(hidden - 1)]
    readout = Readout(5, 3, LIF(tau_m=20.0, tau_syn=5.0), feature="integral", delay=delay)
    model = Sequential(first, *more, readout)
    kicks = 0.3 if neuron.tau_syn is None else 1.0
    model.init(3, scale=[0.6 * kicks] * hidden + [1.0], mean=[0.9 * kicks] * hidden + [0.0])
    return model


def learned(model, rule, inputs, t_stop=T, threads=1):
    spikes = model.forward(inputs, t_stop)
    _, signal = VoltageCrossEntropy(0.02)(spikes[-1], np.arange(len(inputs)) % 3)
    gradients, _ = backward(model, rule, spikes, signal, t_stop, threads)
    return gradients, spikes, signal


# --------------------------------------------------------------------------------------------- slow references


def response(t, tau_m, tau_s):
    """Potential t ms after a unit spike, from rest."""
    if tau_s is None:
        return np.where(t >= 0, np.exp(-np.maximum(t, 0) / tau_m), 0.0)
    t = np.maximum(t, 0.0)
    return tau_s / (tau_m - tau_s) * (np.exp(-t / tau_m) - np.exp(-t / tau_s))


def arrivals_of(layer, inputs, outputs):
    """Times and sources of a sample's arrivals, and the weights by source."""
    times, sources, weight = inputs.times + float(layer.delays.value()), inputs.neurons, layer.weight
    if isinstance(layer, Recurrent):
        times = np.append(times, outputs.times + float(layer.recurrent_delays.value()))
        sources = np.append(sources, outputs.neurons + layer.n_in)
        weight = np.concatenate([weight, layer.recurrent_weight])
    return times, sources, weight


def potential(layer, inputs, outputs, neuron, t):
    """u of one neuron at one instant (before its reset, if it spikes then), summed over all arrivals."""
    lif = layer.neuron
    times, sources, weight = arrivals_of(layer, inputs, outputs)
    w = weight[sources, neuron]
    fired = outputs.of(neuron)
    fired = fired[fired < t]
    rest = lif.v_rest + lif.bias
    if fired.size == 0:
        return (lif.v_init - rest) * np.exp(-t / lif.tau_m) + np.sum(
            w * np.where(times <= t, response(t - times, lif.tau_m, lif.tau_syn), 0.0)
        )
    release = fired[-1] + lif.t_ref
    if t <= release:
        return lif.v_reset - rest
    before = response(release - times, lif.tau_m, lif.tau_syn)
    if lif.tau_syn is None:
        before = np.where(times <= release, before, 0.0)
    left = np.exp(-(t - release) / lif.tau_m)
    now = np.where(times <= t, response(t - times, lif.tau_m, lif.tau_syn), 0.0) - left * before
    return (lif.v_reset - rest) * left + np.sum(w * now)


def pair_sum(rule, layer, inputs, outputs, delta, tau_pre):
    """sum over all pairs of spikes of the STDP kernel times the learning signal at the later one."""
    times, sources, weight = arrivals_of(layer, inputs, outputs)
    out = np.zeros(weight.shape)
    for t, j in zip(times, sources):
        for s, i in zip(outputs.times, outputs.neurons):
            if t <= s:
                out[j, i] += rule.a_pre * np.exp(-(s - t) / tau_pre) * delta(i, s)
            elif t < T:
                out[j, i] += rule.a_post * np.exp(-(t - s) / rule.tau_post) * delta(i, t)
    return out


def readout_delta(model, signal):
    """What a spike of a neuron below the readout at t does to the loss, by quadrature over its PSP."""
    readout = model.layers[-1]

    def delta(i, t):
        left = max(T - t - float(readout.delays.value()), 0.0)
        area = quad(lambda x: float(response(x, 20.0, 5.0)), 0.0, left, epsabs=1e-14, epsrel=1e-13)[0]
        return float(readout.weight[i] @ signal) * area

    return delta


def cut(times, step):
    """Stretches between the times in parts no longer than ``step``."""
    return np.unique(np.concatenate([np.linspace(a, b, 1 + int(np.ceil((b - a) / step))) for a, b in pairwise(times)]))


def parts(gradient):
    return np.concatenate([g for g in (gradient["weight"], gradient.get("recurrent_weight")) if g is not None])


# ----------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
@pytest.mark.parametrize("a_post", [0.0, 1.0, -0.7])
def test_with_spikes_for_psi_it_is_stdp_summed_over_pairs(kind, a_post):
    model, inputs = network(kind, delay=0.7), some_input()
    rule = STLLR(tau_pre=9.0, tau_post=4.0, a_pre=0.8, a_post=a_post, form="spikes")
    gradients, spikes, signal = learned(model, rule, inputs)
    assert spikes[1].times.size > 20
    expected = sum(
        pair_sum(rule, model.layers[0], inputs.sample(k), spikes[1].sample(k), readout_delta(model, signal[k]), 9.0)
        for k in range(len(inputs))
    )
    np.testing.assert_allclose(parts(gradients[0]), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_traces_keep_their_digits_over_a_thousand_time_constants():
    rng = np.random.default_rng(1)
    duration = 2000.0
    layer = Dense(3, 2, NEURON)
    inputs = SpikeBatch.from_trains([SpikeTrains(rng.uniform(0, duration, 400), rng.integers(0, 3, 400), 3)])
    outputs = SpikeBatch.from_trains([SpikeTrains(rng.uniform(0, duration, 300), rng.integers(0, 2, 300), 2)])
    signal = np.array([[1.3, -0.4]])
    rule = STLLR(tau_pre=2.0, tau_post=1.5, a_post=-0.5, form="spikes")
    gradient, _ = rule.backward(layer, inputs, outputs, signal, duration, wants_signal=False)
    expected = np.zeros((3, 2))
    for t, j in zip(inputs.times, inputs.neurons):
        for i in range(2):
            lag = outputs.sample(0).of(i) - t
            causal, after = lag[lag >= 0], lag[lag < 0]
            expected[j, i] += signal[0, i] * (np.exp(-causal / 2.0).sum() - 0.5 * np.exp(after / 1.5).sum())
    np.testing.assert_allclose(gradient["weight"], expected, rtol=1e-12)


def test_equal_times_are_causal_and_only_causal():
    layer = Dense(1, 1, NEURON)
    one = SpikeBatch.from_trains([SpikeTrains([5.0], [0], 1)])
    rule = STLLR(tau_pre=9.0, tau_post=4.0, a_post=-3.0, form="spikes")
    gradient, _ = rule.backward(layer, one, one, np.ones((1, 1)), T, wants_signal=False)
    assert gradient["weight"] == 1.0


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
@pytest.mark.parametrize("neuron", [NEURON, NEURON.with_(t_ref=2.3), DELTA, DELTA.with_(t_ref=2.3)])
def test_potentials_at_any_instants_are_sums_over_all_arrivals(kind, neuron):
    layer, inputs = network(kind, neuron).layers[0], some_input(n=1)
    outputs = layer.forward(inputs, T)
    assert np.all(outputs.counts() > 0)
    x, y = inputs.sample(0), outputs.sample(0)
    times = np.sort(np.concatenate([np.linspace(0.0, T, 97), x.times[::2], y.times[::3]]))
    events = layer_events(layer, inputs, outputs)
    found = Membrane.at_rest(events.neurons).follow(events, times, *events.window(0, 0.0, T))
    expected = [[potential(layer, x, y, i, t) for i in range(5)] for t in times]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("psi", [S2, S3])
@pytest.mark.parametrize("neuron", [NEURON.with_(t_ref=1.3), DELTA])
def test_both_terms_equal_nested_quadrature(psi, neuron):
    model, inputs = network(neuron=neuron), some_input(n=1)
    rule = STLLR(tau_pre=9.0, tau_post=4.0, a_pre=0.8, a_post=-0.6, psi=psi, d_ref=2.0, step=0.05)
    gradients, spikes, signal = learned(model, rule, inputs)
    layer, x, y = model.layers[0], inputs.sample(0), spikes[1].sample(0)
    i, sources = 2, [0, 3]
    assert y.of(i).size > 0
    delta = readout_delta(model, signal[0])
    level = layer.neuron.v_th - layer.neuron.v_rest - layer.neuron.bias

    def psi_at(t):
        return float(psi(potential(layer, x, y, i, t) / level)) / 2.0

    events = np.unique(np.concatenate([[0.0, T], x.times, y.of(i), y.of(i) + layer.neuron.t_ref]))
    events = events[events <= T]
    fine = cut(events, 0.1)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    middle, half = (fine[1:] + fine[:-1]) / 2, np.diff(fine) / 2
    at = (middle[:, None] + half[:, None] * nodes).ravel()
    share = (half[:, None] * weights).ravel()
    values = np.array([psi_at(t) for t in at])
    deltas = np.interp(at, np.linspace(0, T, 801), [delta(i, t) for t in np.linspace(0, T, 801)])
    for j in sources:
        expected = 0.0
        for t in x.of(j):
            on = at >= t
            expected += 0.8 * np.sum((share * deltas * values * np.exp(-(at - t) / 9.0))[on])
            on = at < t
            expected += -0.6 * delta(i, t) * np.sum((share * values * np.exp(-(t - at) / 4.0))[on])
        assert gradients[0]["weight"][j, i] == pytest.approx(expected, rel=2e-5)


def test_the_quadrature_is_of_fourth_order():
    model, inputs = network(), some_input()
    found = [
        learned(model, STLLR(psi=S3, a_post=-1.0, step=h), inputs)[0][0]["weight"] for h in (4.0, 2.0, 1.0, 0.01)
    ]
    errors = [np.abs(f - found[-1]).max() / np.abs(found[-1]).max() for f in found[:-1]]
    assert errors[-1] < 1e-4 and errors[1] < errors[0]
    one = [learned(model, STLLR(psi=S3, a_post=-1.0, step=h), inputs)[0][0]["weight"] for h in (0.2, 0.1, 0.01)]
    first, second = (np.abs(f - one[-1]).max() for f in one[:-1])
    assert first / second > 13.0


# -------------------------------------------------------------------------------------------------------- OTTT


@pytest.mark.parametrize("neuron", [NEURON, DELTA])
def test_ottt_is_the_neurons_own_response_times_psi_times_the_learning_signal(neuron):
    """A twin of a few lines, on the same nodes: no traces, the sum over all arrivals at each of them."""
    model, inputs = network(neuron=neuron), some_input(n=1)
    gradients, spikes, signal = learned(model, ottt(), inputs)
    layer, x, y = model.layers[0], inputs.sample(0), spikes[1].sample(0)
    level = layer.neuron.v_th - layer.neuron.bias
    edges = np.unique(np.concatenate([[0.0, T], x.times, y.times]))
    edges = cut(edges, 1.0)
    delta, expected = readout_delta(model, signal[0]), np.zeros((6, 5))
    for a, b in pairwise(edges):
        for share in (0.5 - 0.5 / np.sqrt(3), 0.5 + 0.5 / np.sqrt(3)):
            t = a + share * (b - a)
            psp = np.bincount(x.neurons, np.where(x.times <= t, response(t - x.times, 20.0, neuron.tau_syn), 0.0), 6)
            for i in range(5):
                slope = float(S3(potential(layer, x, y, i, t) / level))
                expected[:, i] += 0.5 * (b - a) * delta(i, t) * slope * psp
    np.testing.assert_allclose(gradients[0]["weight"], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_ottt_is_s_tllr_without_its_second_term_whose_trace_has_tau_m():
    model, inputs = network(neuron=DELTA), some_input()
    mine = learned(model, ottt(), inputs)[0]
    general = learned(model, STLLR(tau_pre=20.0, a_pre=1.0, a_post=0.0, psi=S3), inputs)[0]
    for a, b in zip(mine, general):
        np.testing.assert_allclose(a["weight"], b["weight"], rtol=0, atol=1e-12 * np.abs(b["weight"]).max())


def test_without_psi_of_a_hidden_layer_the_readouts_gradient_is_the_true_one():
    from evsim.learning import EventProp

    model, inputs = network("recurrent"), some_input()
    mine, spikes, signal = learned(model, STLLR(), inputs)
    true, _ = backward(model, EventProp(), spikes, signal, T)
    np.testing.assert_array_equal(mine[-1]["weight"], true[-1]["weight"])


# ------------------------------------------------------------------------------------------------------- parts


@given(st.integers(0, 1000), st.sampled_from(["integral", "spikes"]), st.sampled_from(["exponential", "psp"]))
def test_a_sample_learned_in_stretches_is_learned_whole(seed, form, trace):
    rng = np.random.default_rng(seed)
    layer = network("recurrent", NEURON.with_(t_ref=0.7)).layers[0]
    inputs = some_input(n=1, seed=seed)
    events = layer_events(layer, inputs, layer.forward(inputs, T))
    credit = Separable(rng.normal(size=(1, 2, 5)), np.array([3.0, 20.0]), np.cos, T, np.zeros((1, 2, 5)))
    rule = STLLR(a_post=-0.8, form=form, trace=trace, psi=S3, step=0.1)
    whole, pieced = np.zeros((11, 5)), np.zeros((11, 5))
    Traces(rule, events).advance(0, 0.0, T, credit, whole)
    traces, cuts = Traces(rule, events), np.sort(np.append(rng.uniform(0, T, 5), [0.0, T]))
    for a, b in pairwise(cuts):
        traces.advance(0, a, b, credit, pieced)
    np.testing.assert_allclose(pieced, whole, rtol=0, atol=(1e-12 if form == "spikes" else 1e-6) * np.abs(whole).max())


def test_no_learning_signal_before_supervise_from():
    model, inputs = network(), some_input()
    early = learned(model, STLLR(a_post=1.0, form="spikes"), inputs)[0][0]["weight"]
    late = learned(model, STLLR(a_post=1.0, form="spikes", supervise_from=25.0), inputs)[0][0]["weight"]
    none = learned(model, STLLR(a_post=1.0, form="spikes", supervise_from=T), inputs)[0][0]["weight"]
    assert 0.0 < np.abs(late).max() < np.abs(early).max() and not none.any()


def test_random_feedback_takes_the_last_errors_through_fixed_weights_to_every_layer():
    model, inputs = network(hidden=2), some_input()
    rule = STLLR(feedback="random", form="spikes", feedback_seed=7)
    gradients, spikes, signal = learned(model, rule, inputs)
    for k, depth in ((1, 0), (0, 1)):
        feedback = streams.rng("feedback", 7, depth).uniform(-1 / np.sqrt(3), 1 / np.sqrt(3), (5, 3))
        plain = network(hidden=2)
        plain.layers[-1].weight = feedback
        expected = sum(
            pair_sum(rule, model.layers[k], x, y, readout_delta(plain, signal[n]), 20.0)
            for n, (x, y) in enumerate(zip(spikes[k], spikes[k + 1]))
        )
        np.testing.assert_allclose(gradients[k]["weight"], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_count_losses_give_a_constant_learning_signal():
    model = Sequential(Dense(6, 5, NEURON), Dense(5, 3, NEURON))
    model.init(3, scale=[0.6, 0.6], mean=[0.9, 0.9])
    inputs = some_input()
    spikes = model.forward(inputs, T)
    _, signal = CountLoss()(spikes[-1], np.array([0, 1, 2]))
    rule = STLLR(form="spikes", a_post=0.5)
    gradients, _ = backward(model, rule, spikes, signal, T)
    expected = sum(
        pair_sum(rule, model.layers[1], spikes[1].sample(n), spikes[2].sample(n), lambda i, t, n=n: signal[n, i], 20.0)
        for n in range(3)
    )
    np.testing.assert_allclose(gradients[1]["weight"], expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("rule", [STLLR(a_post=-1.0, psi=S1), STLLR(psi=S4, feedback="random"), ottt()])
def test_the_same_bits_for_any_number_of_threads(rule):
    model, inputs = network(hidden=2), some_input(n=20)
    one, three = (learned(model, rule, inputs, threads=k)[0] for k in (1, 3))
    for a, b in zip(one, three):
        np.testing.assert_array_equal(a["weight"], b["weight"])


@pytest.mark.parametrize("rule", [STLLR(a_post=-1.0), STLLR(form="spikes"), ottt()])
def test_no_spikes_give_zeros(rule):
    model = network("recurrent")
    silent = SpikeBatch(np.empty(0), np.empty(0, np.int32), np.zeros(3, np.int64), 6)
    gradients = learned(model, rule, silent)[0]
    assert not any(g.any() for found in gradients for g in found.values())


@pytest.mark.parametrize(
    "options, word",
    [({"form": "both"}, "form"), ({"feedback": "sign"}, "feedback"), ({"tau_pre": 0.0}, "tau_pre"),
     ({"tau_post": -1.0}, "tau_post"), ({"d_ref": 0.0}, "d_ref"), ({"step": 0.0}, "step"), ({"trace": "x"}, "trace"),
     ({"a_post": np.nan}, "a_post"), ({"trace": "psp", "tau_pre": 3.0}, "leave tau_pre out")],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        STLLR(**options)


def test_layers_that_it_is_not_made_for_are_refused():
    inputs = some_input()
    readout = Readout(5, 3, NEURON, feature="integral")
    highest = Readout(5, 3, NEURON, feature="max")
    for first, last, words in (
        (Dense(6, 5, NEURON, delay=np.ones((6, 5))), readout, "one per sending neuron"),
        (Dense(6, 5, NEURON, lateral_inhibition=0.1), readout, "lateral"),
        (Dense(6, 5, NEURON, trainable_delays="input", max_delay=3.0), readout, "no gradient by delays"),
        (Dense(6, 5, NEURON.with_(tau_syn=(5.0, 8.0))), readout, "one exponential current"),
        (Dense(6, 5, NEURON), highest, 'feature = "integral"'),
        (Dense(6, 5, NEURON), Readout(5, 3, NEURON, feature="integral", delay=np.arange(5.0)), "delays are all equal"),
    ):
        model = Sequential(first, last)
        model.init(0)
        with pytest.raises(GradientError, match=words):
            learned(model, STLLR(), inputs)


@pytest.mark.parametrize("name, options", [("s-tllr", {"a_post": -0.5, "psi": "S3"}), ("ottt", {})])
def test_it_trains_from_the_command_lines_settings(name, options, tmp_path):
    small = {"rule_options": options, "train_size": 60, "test_size": 20, "epochs": 2, "hidden": (15,)}
    train_run(RunConfig(**settings("digits", name, small)), tmp_path, False)
    state = load_run(tmp_path / "run.h5")
    assert state["parameters"]["rule"] == name and state["rule"]["psi"]["shape"] == "sigmoid"
    history = state["history"]
    assert history[1]["train_loss"] < history[0]["train_loss"]
