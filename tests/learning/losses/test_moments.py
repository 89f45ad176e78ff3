"""A loss at every moment: values by quadrature, EventProp's gradient of it, and the rules that start from it."""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.cli.main import main
from evsim.errors import GradientError
from evsim.experiment.config import RunConfig, build
from evsim.experiment.presets import settings
from evsim.io.datasets import load_dataset
from evsim.learning import (
    STLLR,
    Dense,
    EventProp,
    MomentaryCrossEntropy,
    RateBased,
    Readout,
    Recurrent,
    Sequential,
    VoltageCrossEntropy,
    check_gradient,
    ottt,
)
from evsim.learning.layers.moments import Moments
from evsim.learning.protocols import backward
from evsim.learning.surrogates import S3
from evsim.learning.validation import loss_and_signal

T = 40.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.2, bias=0.1)
OUT = LIF(tau_m=12.0, tau_syn=4.0, v_rest=0.2, bias=0.1, v_init=0.5)
FEATURES = ("potential", "integral", "count")


def spikes(seed=0, n=6, size=30, samples=3):
    rng = np.random.default_rng(seed)
    return SpikeBatch.from_trains(
        [SpikeTrains(np.sort(rng.uniform(0.0, T - 1, size)), rng.integers(0, n, size), n) for _ in range(samples)]
    )


def network(readout=None, hidden=1, kind="dense", delay=0.4):
    layers = [Dense(6, 5, NEURON, delay=0.8)]
    if kind == "recurrent":
        layers = [Recurrent(6, 5, NEURON, delay=0.8, recurrent_delay=1.5, recurrent_scale=1.0)]
    layers += [Dense(5, 5, NEURON, delay=0.3) for _ in range(hidden - 1)]
    model = Sequential(*layers, Readout(5, 3, OUT, delay=delay, **(readout or {})))
    model.init(3, scale=[0.6] * hidden + [1.0], mean=[0.9] * hidden + [0.0])
    return model


def gradients(model, rule, loss, inputs, labels):
    out = model.forward(inputs, T)
    return backward(model, rule, out, loss_and_signal(loss, out[-1], labels)[1], T)[0], out


def potentials(layer, train, t):
    """v of the readout at instants t, (n, n_out), from the pair sum; v_inf and the initial value included."""
    tau_m, tau_s = layer.neuron.tau_m, layer.neuron.tau_syn
    rest = layer.neuron.v_rest + layer.neuron.bias
    v = rest + (layer.neuron.v_init - rest) * np.exp(-t / tau_m)[:, None] * np.ones(layer.n_out)
    for at, j in zip(train.times + layer.delays.value(), train.neurons):
        x = np.maximum(t - at, 0.0)
        v += (tau_s / (tau_m - tau_s) * (np.exp(-x / tau_m) - np.exp(-x / tau_s)))[:, None] * layer.weight[j]
    return v


def gauss(f, a, b, cuts, n=40):
    """int_a^b f by Gauss-Legendre between the cuts."""
    x, w = np.polynomial.legendre.leggauss(n)
    edges = np.unique([a, b, *[c for c in cuts if a < c < b]])
    return sum(
        0.5 * (q - p) * np.tensordot(w, f(0.5 * (p + q) + 0.5 * (q - p) * x), 1) for p, q in itertools.pairwise(edges)
    )


@pytest.mark.parametrize("since", [0.0, 7.3])
@pytest.mark.parametrize("weighting", [None, 15.0])
def test_values_are_those_of_pair_sums_and_quadrature(since, weighting):
    inputs = spikes(n=5)
    for feature in FEATURES:
        layer = Readout(5, 3, OUT, feature, weighting, delay=0.4, every=6.0, since=since)
        layer.init(np.random.default_rng(1))
        out = layer.forward(inputs, T)
        first = 6.0 if feature == "potential" and since == 0.0 else since
        starts = np.arange(first, T, 6.0)
        np.testing.assert_allclose(out.starts, starts, rtol=1e-15)
        assert out.values.shape == (3, starts.size, 3) and (len(out), out.size, out.end) == (3, 3, T)
        for sample in range(3):
            train = inputs.sample(sample)
            arrivals = train.times + 0.4
            for m, (a, b) in enumerate(zip(starts, [*starts[1:], T])):
                if feature == "potential":
                    want = potentials(layer, train, np.array([a]))[0]
                elif feature == "count":
                    mine = train.neurons[(arrivals >= a) & (arrivals < b)]
                    want = layer.weight[mine].sum(axis=0)
                else:
                    rate = 0.0 if weighting is None else 1.0 / weighting
                    want = gauss(
                        lambda t, rate=rate, train=train, layer=layer: np.exp(-rate * t)[:, None]
                        * potentials(layer, train, t), a, b, arrivals,
                    )  # fmt: skip
                np.testing.assert_allclose(out.values[sample, m], want, rtol=1e-12, atol=1e-12)


def test_windows_add_up_to_the_whole_and_one_window_is_the_whole():
    inputs = spikes()
    whole = Readout(6, 3, OUT, "integral", 15.0, delay=0.4)
    whole.init(np.random.default_rng(1))
    for every in (T, 3.0):
        parts = Readout(6, 3, OUT, "integral", 15.0, delay=0.4, every=every)
        parts.weight = whole.weight
        found = parts.forward(inputs, T)
        np.testing.assert_allclose(found.values.sum(axis=1), whole.forward(inputs, T).values, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"feedback": "random"}, {"supervise_from": 9.0}])
@pytest.mark.parametrize("hidden", [1, 2])
def test_one_window_has_the_gradients_of_the_whole_sample(hidden, options):
    rule = STLLR(a_post=-0.7, psi=S3, **options)
    labels, inputs = np.array([0, 2, 1]), spikes()
    want, _ = gradients(network({"feature": "integral"}, hidden), rule, VoltageCrossEntropy(0.1), inputs, labels)
    one = network({"feature": "integral", "every": T}, hidden)
    got, _ = gradients(one, rule, MomentaryCrossEntropy(0.1), inputs, labels)
    for a, b in zip(got, want):
        np.testing.assert_allclose(a["weight"], b["weight"], rtol=1e-12, atol=1e-12 * np.abs(b["weight"]).max())


@pytest.mark.parametrize("since", [0.0, 11.0])
@pytest.mark.parametrize("feature", ["potential", "integral"])
@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_eventprop_is_the_true_gradient(kind, feature, since):
    model = network({"feature": feature, "every": 2.7, "since": since, "weighting": 15.0}, 2, kind)
    loss = MomentaryCrossEntropy(2.0 if feature == "potential" else 0.7, 0.05)
    report = check_gradient(model, EventProp(), loss, spikes(), np.array([0, 2, 1]), T, differences=15, step=1e-5)
    assert report.ok and report.exact, report.verdict
    errors = [row.relative_error for row in report.rows if row.against == "FD float64"]
    assert max(errors) < 1e-6, errors


def test_eventprop_trains_delays_of_a_momentary_readout():
    model = Sequential(Readout(6, 3, OUT, "potential", trainable_delays="input", max_delay=2.0, every=2.7))
    model.init(3)
    loss = MomentaryCrossEntropy(2.0, 0.05)
    report = check_gradient(model, EventProp(), loss, spikes(), np.array([0, 2, 1]), T, differences=6, step=1e-5)
    assert report.ok and {row.parameter for row in report.rows} == {"weight", "delay"}, report.verdict


@pytest.mark.parametrize("feature", ["potential", "integral"])
def test_eventprop_agrees_with_fifty_digits(feature):
    """dL/dt of the input spikes of a readout, from 50 digits of the pair sums."""
    mp = pytest.importorskip("mpmath")
    inputs, labels = spikes(size=9, samples=1), np.array([1])
    layer = Readout(6, 3, OUT, feature, delay=0.4, every=6.0, since=3.0)
    layer.init(np.random.default_rng(1))
    loss = MomentaryCrossEntropy(1.5, 0.05)
    model = Sequential(layer)
    out = model.forward(inputs, T)
    signal = loss(out[-1], labels)[1]
    found, by_time = backward(model, EventProp(), out, signal, T, wants_signal=True)
    with mp.workdps(50):
        tm, ts = mp.mpf(12), mp.mpf(4)

        def share(t, a, b):
            x = max(mp.mpf(a) - t, mp.mpf(0))
            p = ts / (tm - ts) * (mp.exp(-x / tm) - mp.exp(-x / ts))
            if feature == "potential":
                return p

            def whole(x):
                return ts / (tm - ts) * (tm * (1 - mp.exp(-x / tm)) - ts * (1 - mp.exp(-x / ts)))

            return whole(max(mp.mpf(b) - t, mp.mpf(0))) - whole(x)

        train = inputs.sample(0)
        borders = [*out[-1].starts, T]
        pairs = list(itertools.pairwise(borders))
        step = mp.mpf(10) ** -20
        want_w = np.zeros((6, 3))
        for s, (time, j) in enumerate(zip(train.times, train.neurons)):
            t = mp.mpf(float(time)) + mp.mpf(layer.delays.value().item())
            slope = sum(
                (share(t + step, a, b) - share(t - step, a, b))
                / (2 * step)
                * mp.mpf(float(signal[0, m] @ layer.weight[j]))
                for m, (a, b) in enumerate(pairs)
            )
            np.testing.assert_allclose(by_time[s], float(slope), rtol=1e-9, atol=1e-14)
            for m, (a, b) in enumerate(pairs):
                want_w[j] += float(share(t, a, b)) * signal[0, m]
    np.testing.assert_allclose(found[0]["weight"], want_w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("squared", [0.0, 0.05, 1.0])
def test_the_loss_is_the_mean_of_the_moments_and_its_slope_its_derivative(squared):
    rng = np.random.default_rng(4)
    values, labels = rng.normal(0.0, 2.0, (2, 5, 3)), np.array([2, 0])
    loss = MomentaryCrossEntropy(1.3, squared)

    def at(values):
        return loss(Moments(values, np.arange(5.0), 5.0), labels)

    value, slope = at(values)
    for n in range(2):
        each = []
        for v in 1.3 * values[n]:
            wanted = np.eye(3)[labels[n]]
            each.append(
                (1 - squared) * -np.log(np.exp(v) / np.exp(v).sum()) @ wanted + squared * np.mean((v - wanted) ** 2)
            )
        assert value[n] == pytest.approx(np.mean(each), rel=1e-13)
    for place in np.ndindex(values.shape):
        move = np.zeros(values.shape)
        move[place] = 1e-6
        assert slope[place] == pytest.approx((at(values + move)[0].sum() - at(values - move)[0].sum()) / 2e-6, abs=1e-8)
    assert list(loss.predict(Moments(values, np.arange(5.0), 5.0))) == list(values.sum(axis=1).argmax(axis=1))
    assert np.isfinite(loss(Moments(1e5 * values, np.arange(5.0), 5.0), labels)[0]).all()


@pytest.mark.parametrize("rule", [ottt(), STLLR(a_post=-1.0), STLLR(form="spikes", a_post=0.5), EventProp()])
@pytest.mark.parametrize("feature", FEATURES)
def test_a_step_against_the_gradient_lowers_the_loss(rule, feature):
    if feature == "count" and isinstance(rule, EventProp):
        return
    model = network({"feature": feature, "every": 4.0}, delay=0.0)
    loss, inputs, labels = MomentaryCrossEntropy(0.3), spikes(samples=12), np.arange(12) % 3
    before = loss(model.forward(inputs, T)[-1], labels)[0].mean()
    found, _ = gradients(model, rule, loss, inputs, labels)
    for layer, g in zip(model.layers, found):
        layer.weight = layer.weight - 1e-3 * g["weight"] / np.linalg.norm(g["weight"])
    assert loss(model.forward(inputs, T)[-1], labels)[0].mean() < before


@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_depend_on_threads(threads):
    model = network({"feature": "integral", "every": 4.0})
    loss, inputs, labels = MomentaryCrossEntropy(0.3), spikes(samples=12), np.arange(12) % 3
    out = model.forward(inputs, T), model.forward(inputs, T, threads)
    np.testing.assert_array_equal(out[0][-1].values, out[1][-1].values)
    signal = loss(out[0][-1], labels)[1]
    for rule in (EventProp(), ottt()):
        one, many = (backward(model, rule, out[0], signal, T, n)[0] for n in (1, threads))
        for a, b in zip(one, many):
            np.testing.assert_array_equal(a["weight"], b["weight"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feature": "potential"}, "a Readout of feature potential needs every"),
        ({"feature": "count"}, "a Readout of feature count needs every"),
        ({"feature": "max", "every": 2.0}, r"moments \(every\) are had of potential, integral, count; got the feature"),
        ({"feature": "integral", "since": 2.0}, "since is where the first of many moments is, so it needs every"),
        ({"feature": "integral", "every": 0.0}, "every must be > 0 and since >= 0 ms; got 0.0 and 0.0"),
        ({"feature": "integral", "every": 1.0, "since": -1.0}, "every must be > 0 and since >= 0 ms"),
        ({"feature": "integral", "every": 1.0, "trainable": ("tau_m",)}, "trains weights and delays only"),
        ({"feature": "rate"}, "feature must be one of max, potential, integral, count; got 'rate'"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(options, words):
    with pytest.raises(ValueError, match=words):
        Readout(5, 3, OUT, **options)


def test_refusals_name_the_remedy():
    model, inputs, labels = network({"feature": "count", "every": 4.0}), spikes(), np.array([0, 1, 2])
    with pytest.raises(GradientError, match="give it the feature integral or potential"):
        gradients(model, EventProp(), MomentaryCrossEntropy(), inputs, labels)
    out = model.forward(inputs, T)
    signal = MomentaryCrossEntropy()(out[-1], labels)[1]
    with pytest.raises(GradientError, match=r"RateBased cannot train .*not for a Readout with every; leave every"):
        RateBased().backward(model.layers[-1], out[1], out[2], signal, T)
    with pytest.raises(GradientError, match=r"must have shape \(3, 10, 3\); got \(3, 3\)"):
        ottt().backward(model.layers[-1], out[1], out[2], signal[:, 0], T)
    with pytest.raises(ValueError, match=r"first moment at 50.0 ms, but the sample ends at 40.0 ms"):
        network({"feature": "count", "every": 4.0, "since": 50.0}).forward(inputs, T)


@pytest.mark.parametrize("rule", ["s-tllr", "ottt", "eventprop"])
@pytest.mark.parametrize("feature", FEATURES)
def test_evsim_train_has_the_losses(tmp_path, rule, feature):
    arguments = ["train", "--dataset", "digits", "--rule", rule, "--loss", f"momentary-{feature}", "--every", "6",
                 "--since", "11", "--hidden", "9", "--weight-mean", "0.3", "--weight-mean", "0",
                 "--weight-scale", "0.3", "--weight-scale", "0.3", "--epochs", "1", "--train-size", "12",
                 "--test-size", "4",
                 "--batch-size", "6", "--validation", "0", "--threads", "1", "--out", str(tmp_path / "r")]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    text = " ".join(result.output.split())
    if (rule, feature) == ("eventprop", "count"):
        assert result.exit_code == 1 and "cannot train by the loss momentary-count" in text
        return
    assert result.exit_code == 0, result.output
    options = json.loads((tmp_path / "r" / "summary.json").read_text())["options"]
    assert (options["every"], options["since"]) == (6.0, 11.0)


def test_the_windows_of_a_run_are_tenths_of_the_sample_unless_it_says_otherwise():
    data = load_dataset("digits", train_size=10, test_size=4)
    for given, every in (({}, 5.0), ({"every": 8.0}, 8.0)):
        config = RunConfig(**settings("digits", "ottt", {"loss": "momentary-count", **given}))
        assert build(config, data)[0].layers[-1].every == every
