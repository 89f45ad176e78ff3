"""evsim.learning.online: weight updates within a sample, in training."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from evsim import LIF
from evsim.cli.main import main
from evsim.errors import GradientError
from evsim.io import runs
from evsim.learning import (
    SGD,
    STLLR,
    Adam,
    CountRegularisation,
    Dense,
    EventProp,
    GradientClipping,
    MomentaryCrossEntropy,
    OnlineTrainer,
    Readout,
    Recurrent,
    Sequential,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
    ottt,
)
from evsim.learning.training.optimisers import Optimiser

T = 40.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
LOSS = MomentaryCrossEntropy(0.5, 0.05)
RULES = [STLLR(step=0.05), STLLR(step=0.05, feedback="random"), ottt(step=0.05)]


def network(feature="count", every=8.0, since=0.0, delay=0.0, kind=Dense, hidden=1):
    scale = {"recurrent_scale": 0.5} if kind is Recurrent else {}
    layers = [kind(8 if k == 0 else 9, 9, NEURON, delay=0.6, **scale) for k in range(hidden)]
    model = Sequential(*layers, Readout(9, 3, NEURON, feature, every=every, since=since, delay=delay))
    model.init(1, scale=[*[0.4] * hidden, 0.5], mean=[*[0.7] * hidden, 0.0])
    return model


def trainer(rule, kind=OnlineTrainer, model=None, optimiser=None, regularisers=(), **changes):
    options = {"duration": T, "encoder": "regular", "max_rate": 200.0, "epochs": 3, "batch_size": 5, "rate": 1e-2,
               "schedule": "constant", **changes}  # fmt: skip
    return kind(model or network(), rule, LOSS, optimiser or Adam(), TrainingOptions(**options), regularisers)


def data(n=20):
    return np.random.default_rng(3).random((n, 8)), np.arange(n) % 3


def rows_of(trained, until=None, n=20):
    x, y = data(n)
    rows = []
    for row in trained.epochs(x, y, x, y):
        rows.append({k: v for k, v in row.items() if not k.startswith(("seconds", "samples_per"))})
        if until is not None and len(rows) == until:
            break
    return rows


class Counting(Optimiser):
    """Plain steps, whose gradients are kept."""

    def __init__(self):
        self.seen = []

    def step(self, parameters, gradients, rates, threads=1, decay=None):
        self.seen.append([g.copy() for g in gradients])
        for p, g, rate in zip(parameters, gradients, rates):
            p -= rate * g

    def state(self):
        return {}


@pytest.mark.parametrize("rule", RULES)
def test_one_window_is_the_update_after_the_sample(rule):
    for model in (lambda: network(every=T), lambda: network("integral", every=T, delay=0.4)):
        within, after = trainer(rule, model=model()), trainer(rule, Trainer, model())
        rows = rows_of(within, 1), rows_of(after, 1)
        assert rows[0][0]["spikes"] == rows[1][0]["spikes"] > 100
        assert rows[0][0]["synaptic_events"] == rows[1][0]["synaptic_events"]
        assert rows[0][0]["train_loss"] == pytest.approx(rows[1][0]["train_loss"], rel=1e-6)
        for a, b in zip(within.model.weights, after.model.weights):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Dense, Recurrent])
@pytest.mark.parametrize("feature, delay, since", [
    ("count", 0.0, 0.0), ("count", 1.3, 11.0), ("potential", 0.7, 0.0), ("integral", 9.0, 3.0),
])  # fmt: skip
def test_updates_add_up_to_the_gradient_of_the_sample_where_they_are_small(kind, feature, delay, since):
    """As the rate goes to 0, their sum is what the same batch gives at once; a step for each window, no more."""
    x, y = data(5)
    of_one = {}
    for rate in (1e-9, 1e-1):
        model = network(feature, since=since, delay=delay, kind=kind)
        within = trainer(ottt(step=0.02), model=model, optimiser=Counting(), rate=rate, epochs=1)
        rows_of(within, n=5)
        of_one[rate] = [sum(parts) for parts in zip(*within.optimiser.seen)]
        ended = [t for t in np.append(np.arange(since + 8.0, T, 8.0), T) if t - delay > 0.0]
        if feature != "potential":
            assert len(within.optimiser.seen) == len(ended)
    model = network(feature, since=since, delay=delay, kind=kind)
    after = trainer(ottt(step=0.02), Trainer, model)
    wanted, _, _ = after.gradients(after.inputs(x, np.arange(5), 1), y)
    for k, (a, b) in enumerate(zip(of_one[1e-9], wanted)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
        # Large ones change what comes after within the sample.
        assert np.abs(of_one[1e-1][k] - b).max() > 1e-3 * np.abs(b).max()


def test_samples_of_a_batch_are_weighed_as_after_the_sample():
    x, y = data(5)
    boost = np.array([1.0, 3.0, 0.0, 2.0, 0.5])
    within = trainer(ottt(step=0.02), optimiser=Counting())
    inputs = within.inputs(x, np.arange(5), 1)
    wanted, _, _ = trainer(ottt(step=0.02), Trainer).gradients(inputs, y, boost)
    within.boost = boost
    within._learn(x, y, np.arange(5), 1e-9, 1)
    for a, b in zip((sum(parts) for parts in zip(*within.optimiser.seen)), wanted):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("rule, hidden", [(STLLR(), 1), (ottt(), 1), (STLLR(feedback="random"), 2)])
def test_training_within_samples_resumes_bit_for_bit_with_any_number_of_threads(rule, hidden):
    make = {"boosting": 3.0, "regularise": (0.01, 0.5, 2.0), "regularisers": [GradientClipping(0.5)]}
    whole = trainer(rule, model=network(hidden=hidden), **make)
    rows = rows_of(whole)
    first = trainer(rule, model=network(hidden=hidden), **make)
    rows_of(first, 1)
    resumed = trainer(rule, model=network(hidden=hidden), threads=2, **make)
    resumed.load(first.state())
    assert rows_of(resumed) == rows[1:]
    for a, b in zip(whole.model.weights, resumed.model.weights):
        np.testing.assert_array_equal(a, b)
    after = trainer(rule, Trainer, network(hidden=hidden), **make)
    assert rows_of(after)[-1]["train_loss"] != rows[-1]["train_loss"]


def test_it_learns():
    within = trainer(ottt(), epochs=12, optimiser=SGD(0.9), rate=3e-2)
    rows = rows_of(within)
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    assert all(np.isfinite(w).all() for w in within.model.weights)


@pytest.mark.parametrize(("change", "words"), [
    ({"rule": EventProp()}, "by STLLR and ottt, which learn forward in time; EventProp goes back from its end"),
    ({"loss": VoltageCrossEntropy()}, "need a loss at every moment; VoltageCrossEntropy is known at its end"),
    ({"options": TrainingOptions(hidden_dropout=0.2)}, "do not go with hidden_dropout; set it to 0"),
    ({"regularisers": [CountRegularisation()]}, "CountRegularisation looks at the spikes of whole samples; leave it"),
    ({"model": network(hidden=2)}, "one spiking layer, or any number with feedback random"),
])  # fmt: skip
def test_what_does_not_go_within_a_sample_is_refused_in_one_sentence(change, words):
    usual = {"model": network(), "rule": ottt(), "loss": LOSS, "optimiser": Adam(), "options": TrainingOptions()}
    with pytest.raises(GradientError, match=words) as error:
        OnlineTrainer(**{**usual, **change})
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------- the command line

TRAIN = ["train", "--dataset", "digits", "--train-size", "40", "--test-size", "10", "--threads", "1", "--hidden", "12",
         "--epochs", "2", "--batch-size", "10", "--loss", "momentary-count"]  # fmt: skip


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(a) for a in args])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("rule", ["ottt", "s-tllr"])
def test_a_run_of_the_command_line_within_samples_resumes_bit_for_bit(tmp_path, rule):
    base = [*TRAIN, "--rule", rule, "--updates", "within", "--schedule", "constant"]
    run(*base, "--out", tmp_path / "whole")
    run(*base, "--epochs", 1, "--out", tmp_path / "part")
    state = runs.load_run(tmp_path / "part" / "run.h5")
    assert state["parameters"]["updates"] == "within"
    runs.save_run(tmp_path / "part" / "run.h5", {**state, "parameters": {**state["parameters"], "epochs": 2}})
    assert "resuming after epoch 1" in run(*base, "--resume", "--out", tmp_path / "part")
    run(*TRAIN, "--rule", rule, "--schedule", "constant", "--out", tmp_path / "after")
    whole, part, after = (runs.load_run(tmp_path / name / "run.h5")["weights"] for name in ("whole", "part", "after"))
    for a, b, c in zip(whole, part, after):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["options"]["updates"] == "within"
    assert "last epoch" in run("evaluate", tmp_path / "whole")


@pytest.mark.parametrize(("arguments", "words"), [
    (["--rule", "eventprop", "--loss", "max-voltage"], "--updates is not used by this run: it needs --rule s-tllr or"),
    (["--rule", "ottt", "--loss", "integral-voltage"], "--updates is not used by this run: it needs a loss at every"),
    (["--rule", "ottt", "--hidden-dropout", "0.1"], "--hidden-dropout is not used by this run: it needs --updates"),
    (["--rule", "ottt", "--bump", "0.1"], "--bump is not used by this run: it needs --updates after"),
    (["--rule", "ottt", "--hidden", "12", "--weight-mean", "1", "--weight-mean", "1", "--weight-mean", "1",
      "--weight-scale", "1", "--weight-scale", "1", "--weight-scale", "1"], "one spiking layer, or any number with"),
])  # fmt: skip
def test_the_command_line_names_what_does_not_go_within_a_sample(tmp_path, arguments, words):
    assert words in run(*TRAIN, "--updates", "within", "--out", tmp_path / "out", *arguments, code=1)


def test_published_ottt_has_both_ways(tmp_path):
    assert "unless --updates within is given (OTTT_O)" in run("rules")
    run(*TRAIN, "--rule", "ottt", "--preset", "published", "--updates", "within", "--out", tmp_path / "out")
