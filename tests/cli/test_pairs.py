"""Every rule with every loss and every data set either trains or is refused in one sentence that names the remedy."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from evsim.cli.main import main
from evsim.errors import SilentLayerError
from evsim.experiment.config import RunConfig, build, calibrate_start, start
from evsim.experiment.losses import LOSSES
from evsim.experiment.pairs import fits, rules_and_layers, rules_and_losses
from evsim.experiment.presets import settings
from evsim.experiment.rules import RULES
from evsim.experiment.used_options import DATA, check_used
from evsim.io.datasets import Dataset, load_dataset
from evsim.io.events import EVENT_SETS
from evsim.spikes import SpikeBatch

NEEDED = {"psc-count": {"tau": 10.0}, "psc-trains": {"tau": 10.0}, "target-times": {"correct": 10.0, "wrong": 20.0}}
"""Options of losses that have no default."""
FORMULA = {"yin-yang", "digits", "randman", "temporal-xor", "spike-patterns"}
N, FEW = 12, 4
LEAST, MOST = 0.1, 30.0
"""Spikes per hidden neuron and sample with which a run may start."""


def images(name):
    """Digits of 8 x 8 pixels drawn on 28 x 28, in the place of files."""
    small = load_dataset("digits", None, N, FEW)
    x = np.pad(np.kron(small.x_train.reshape(N, 8, 8), np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))).reshape(N, 784)
    y = small.y_train
    return Dataset(name, x.astype(np.float32), y, x[:FEW].astype(np.float32), y[:FEW], 10, grid=(28, 28, 1))


def recordings(name, events=4000):
    """As many events as N-MNIST has, on a quarter of the inputs, all over the set's duration, in the place of files."""
    kind, rng = EVENT_SETS[name], np.random.default_rng(2)
    width, height, polarities = (min(size, 34) if kind.sensor[1] > 1 else size for size in kind.sensor)
    inputs = width * height * polarities

    def batch(n):
        times = np.concatenate([np.sort(rng.uniform(0.0, kind.duration, events)) for _ in range(n)])
        active = [rng.permutation(inputs)[: inputs // 4] for _ in range(n)]
        neurons = np.concatenate([rng.choice(places, events) for places in active]).astype(np.int32)
        return SpikeBatch(times, neurons, np.arange(n + 1) * events, inputs)

    y = np.arange(N) % kind.classes
    held = (batch(FEW), y[:FEW]) if "validation" in kind.parts else (None, None)
    return Dataset(name, batch(N), y, batch(FEW), y[:FEW], kind.classes, *held, duration=kind.duration,
                   grid=(width, height, polarities))  # fmt: skip


def tiny(name):
    """A few samples of a data set, or of its kind."""
    if name in FORMULA:
        return load_dataset(name, None, N, FEW)
    return recordings(name) if name in EVENT_SETS else images(name)


def options_of(rule, loss):
    return {} if rule in ("ann", "linear") else {"loss": loss, "loss_options": NEEDED.get(loss, {})}


def trained(data, rule, loss, hidden=None):
    """Two batches; returns the weights before and after.

    hidden : neurons of a small hidden layer, of which the start is calibrated; None: those of the preset
    """
    usual = settings(data.name, rule, {**options_of(rule, loss), "batch_size": N // 2, "epochs": 1})
    if hidden is not None:
        usual |= {"hidden": (hidden,), "weight_mean": (), "weight_scale": (), "thresholds": ()}
    config = RunConfig(**{**usual, "validation": 0})
    config = replace(config, duration=data.duration or min(config.duration, 100.0), grid=data.grid)
    check_used(config, [])
    model, trainer = build(config, data)
    if start(config, model):
        calibrate_start(config, model, trainer, data)
    check_start(config, trainer, data)
    before = [w.copy() for _, w in model.parameters()]
    held = None if data.x_validation is None else (data.x_validation, data.y_validation)
    rows = list(trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test, None, held))
    # The largest that is no explosion is the squared error of spike times, ms^2, summed over the outputs.
    assert len(rows) == 1 and 0.0 <= rows[0]["train_loss"] < max(1e4, data.n_classes * config.duration**2)
    return before, [w for _, w in model.parameters()]


def check_start(config, trainer, data):
    """Hidden layers spike, neither never nor without measure; the loss is finite, and every weight matrix has a
    gradient."""
    few = np.arange(N // 2)
    gradients, spikes, loss = trainer.gradients(trainer.inputs(data.x_train, few, 1), data.y_train[few])
    counts = [float(s.counts().mean()) for s in spikes[1:-1] if isinstance(s, SpikeBatch)]
    assert all(LEAST <= count <= MOST for count in counts), counts
    assert np.isfinite(loss).all()
    for (name, _), g in zip(trainer.model.parameters(), gradients):
        assert np.isfinite(g).all() and (g.any() or not name.endswith("weight")), name


def possible(rule, loss, data):
    if rule in ("ann", "linear"):
        return loss == RULES[rule].loss
    wants_targets = "targets" in LOSSES[loss].given
    return fits(RULES[rule].make(), LOSSES[loss]) and (data.targets is not None or not wants_targets)


def trains_or_is_refused(data, rule, loss, hidden=None):
    if possible(rule, loss, data):
        before, after = trained(data, rule, loss, hidden)
        assert all(np.isfinite(w).all() for w in after)
        assert any(not np.array_equal(a, b) for a, b in zip(before, after))
        # The first layer learns too, so the signal gets there.
        assert not np.array_equal(before[0], after[0])
        return
    with pytest.raises(ValueError) as error:
        config = RunConfig(**settings(data.name, rule, {"loss": loss, "loss_options": NEEDED.get(loss, {})}))
        check_used(config, ["loss"])
        build(replace(config, duration=data.duration or config.duration), data)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert any(remedy in sentence for remedy in ("give it one of the losses", "take the data set", "Leave out"))


@pytest.fixture(scope="module")
def data():
    return {name: tiny(name) for name in ("digits", "spike-patterns", "nmnist")}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_trains_by_a_loss_or_is_refused(data, rule, loss):
    """Values, or spikes with target trains where the loss needs them; a small network whose start is calibrated."""
    trains_or_is_refused(data["spike-patterns" if "targets" in LOSSES[loss].given else "digits"], rule, loss, 8)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_trains_on_events_by_its_own_loss(data, rule):
    trains_or_is_refused(data["nmnist"], rule, RULES[rule].loss, 8)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", DATA)
def test_a_rule_trains_on_a_data_set_at_its_preset(name, rule):
    data = tiny(name)
    for loss in LOSSES:
        trains_or_is_refused(data, rule, loss)


def test_a_silent_last_layer_is_an_error_where_the_loss_reads_its_spike_times():
    data = tiny("digits")
    config = RunConfig(**settings("digits", "tssl-bp", {
        "loss": "ttfs", "hidden": (8,), "weight_scale": (0.2, 0.001), "batch_size": 6, "epochs": 1,
    }))  # fmt: skip
    model, trainer = build(replace(config, validation=0), data)
    start(config, model)
    with pytest.raises(SilentLayerError, match="layer 1"):
        list(trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test))


def test_weights_of_a_preset_are_left_out_where_the_loss_reads_another_kind_of_output():
    own = settings("digits", "eventprop", {})
    assert settings("digits", "eventprop", {"loss": "max-voltage"})["weight_scale"] == own["weight_scale"]
    assert "weight_scale" not in settings("digits", "eventprop", {"loss": "ttfs"})
    given = settings("digits", "eventprop", {"loss": "ttfs", "weight_scale": (0.1, 0.2)})
    assert given["weight_scale"] == (0.1, 0.2)


def test_defaults_of_losses_go_with_the_duration():
    spikes = SpikeBatch(np.array([30.0, 40.0]), np.array([0, 1], np.int32), np.array([0, 2]), 2)
    later = SpikeBatch(spikes.times * 10.0, spikes.neurons, spikes.offsets, 2)
    values = [LOSSES["ttfs"].make(duration=d)(s, np.array([1]))[0] for d, s in ((60.0, spikes), (600.0, later))]
    np.testing.assert_allclose(*values)
    assert LOSSES["ttfs"].make(duration=40.0).tau1 == 6.4
    assert LOSSES["integral-voltage"].make(span=20.0).scale == 0.05


def test_the_tables_that_evsim_rules_prints(tmp_path):
    text = CliRunner().invoke(main, ["rules"]).output
    for first, *rows in (rules_and_losses(), rules_and_layers()):
        assert len(rows) == len(RULES) - 2
        for name, *marks in rows:
            line = next(line for line in text.splitlines() if line.startswith(f"{name} ") and "  x" in line)
            assert line.split()[0] == name and len(marks) == len(first) - 1
    arguments = ["train", "--dataset", "digits", "--rule", "hm2bp", "--loss", "max-voltage", "--out", str(tmp_path)]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1 and "one of the losses count, integral-voltage" in refused.output


@pytest.mark.parametrize(("rule", "loss"), [
    ("eventprop", "ttfs"), ("eventprop", "target-times"), ("eventprop", "smooth-count"), ("eventprop", "psc"),
    ("eventprop", "van-rossum"), ("tssl-bp", "psc"), ("tssl-bp", "psc-count"), ("tssl-bp", "psc-trains"),
    ("tssl-bp", "ttfs"), ("hm2bp", "count"), ("ottt", "momentary-count"), ("rate-based", "max-voltage"),
    ("surrogate-bptt", "integral-voltage"), ("ann", None),
])  # fmt: skip
def test_boosting_trains_by_a_loss_of_any_kind(data, rule, loss):
    """Misclassified samples count more from the second epoch on, and a run resumed there is the same run."""
    part = data["spike-patterns" if loss in ("van-rossum", "psc-trains") else "digits"]

    def made(boosting, until=2, state=None):
        own = {**options_of(rule, loss), "batch_size": N // 2, "epochs": 2, "schedule": "constant", "hidden": (8,)}
        usual = settings(part.name, rule, own) | {"weight_mean": (), "weight_scale": (), "thresholds": ()}
        config = RunConfig(**{**usual, "validation": 0, "boosting": boosting})
        config = replace(config, duration=part.duration or min(config.duration, 100.0), grid=part.grid)
        check_used(config, ["boosting"])
        model, trainer = build(config, part)
        if state is not None:
            trainer.load(state)
        elif start(config, model):
            calibrate_start(config, model, trainer, part)
        for row in trainer.epochs(part.x_train, part.y_train, part.x_test, part.y_test):
            if row["epoch"] == until:
                break
        return trainer

    first, without = made(0.2, until=1), made(0.0)
    missed = first.boost > 1.0
    assert missed.any() and (first.boost >= 1.0).all()
    whole, resumed = made(0.2), made(0.2, state=first.state())
    for name, a, b, c in zip(*zip(*whole.model.parameters()), resumed.model.parameters(), without.model.parameters()):
        np.testing.assert_array_equal(a, b[1])
        assert np.isfinite(a).all() and (not np.array_equal(a, c[1]) or not name.endswith("weight"))
