"""evsim.learning.training: epochs, resuming, calibration, and the tricks of the published runs."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from evsim.errors import SilentLayerError
from evsim.io.runs import load_run, save_run
from evsim.learning import (
    HM2BP,
    SGD,
    Adam,
    CountLoss,
    Dense,
    Sequential,
    Trainer,
    TrainingOptions,
    calibrate,
)
from evsim.learning.training.trainer import _boost, _regulariser_gradient
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.versions import package_versions

NEURON = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
OPTIONS = TrainingOptions(duration=50.0, max_rate=200.0, epochs=3, batch_size=16, rate=0.02, seed=3)
LOSS = CountLoss(desired=8.0, undesired=1.0, margin=1.0)
CLOCKS = ("seconds", "samples_per_second")


class Recorder(Sequential):
    """A model that keeps the spikes of every forward pass."""

    def forward(self, inputs, t_stop, threads=1):
        spikes = super().forward(inputs, t_stop, threads)
        self.__dict__.setdefault("seen", []).append(spikes)
        return spikes


def digits(n=60, n_test=20):
    data = load_digits()
    x, y = data.data / 16.0, data.target
    return x[:n], y[:n], x[n : n + n_test], y[n : n + n_test]


def make_trainer(optimiser=None, kind=Sequential, **changes):
    model = kind(Dense(64, 20, NEURON.with_(v_th=0.7)), Dense(20, 10, NEURON.with_(v_th=0.4)))
    model.init(seed=1)
    options = dataclasses.replace(OPTIONS, **changes)
    return Trainer(model, HM2BP(), LOSS, Adam() if optimiser is None else optimiser, options)


def run(trainer, n_epochs=None):
    """Train for some epochs, or to the end; rows without what depends on the clock."""
    epochs = trainer.epochs(*digits())
    rows = list(epochs) if n_epochs is None else [next(epochs) for _ in range(n_epochs)]
    return [without_clocks(row) for row in rows]


def without_clocks(row):
    return {key: value for key, value in row.items() if key not in CLOCKS}


def same_bits(a, b):
    return len(a) == len(b) and all(x.tobytes() == y.tobytes() for x, y in zip(a, b))


# ------------------------------------------------------------------------------------------------- training


def test_training_lowers_the_loss_and_tells_what_it_did():
    trainer = make_trainer(epochs=8, rate=0.05)
    done = []
    rows = list(trainer.epochs(*digits(), progress=lambda *args: done.append(args)))
    assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]
    assert rows[-1]["train_accuracy"] > 0.4
    assert [row["epoch"] for row in rows] == list(range(1, 9)) and trainer.history == rows
    assert done == [(16, 60), (32, 60), (48, 60), (60, 60)] * 8
    first = rows[0]
    assert first["input_spikes"] > 0 and first["spikes"] > 0
    assert first["synaptic_events"] > 20 * first["input_spikes"]


@pytest.mark.parametrize(
    "make, changes",
    [
        (Adam, {"validation": 10}),
        (Adam, {"boosting": 5.0, "regularise": (0.1, 0.5, 2.0), "schedule": "sqrt"}),
        (lambda: SGD(0.9, 1e-3), {"frozen_noise": True, "rate": 1e-3}),
    ],
)
def test_a_run_resumed_from_its_file_is_the_same_run(tmp_path, make, changes):
    whole = make_trainer(make(), **changes)
    rows = run(whole)

    stopped = make_trainer(make(), **changes)
    run(stopped, 1)
    extra = {"parameters": dataclasses.asdict(stopped.options), "versions": package_versions()}
    save_run(tmp_path / "run.h5", stopped.state() | extra)

    resumed = make_trainer(make(), **changes)
    resumed.model.init(seed=99)
    resumed.load(load_run(tmp_path / "run.h5"))
    assert resumed.epoch == 1
    assert run(resumed) == rows[1:]
    assert same_bits(resumed.model.weights, whole.model.weights)
    assert same_bits(resumed.best_parameters, whole.best_parameters)
    assert (resumed.best_epoch, resumed.best_accuracy) == (whole.best_epoch, whole.best_accuracy)
    assert [without_clocks(row) for row in resumed.history] == rows
    assert (resumed.boost is None) == (whole.boost is None)
    assert whole.boost is None or same_bits([resumed.boost], [whole.boost])


def test_a_state_stays_as_it_is_while_training_goes_on():
    trainer = make_trainer(boosting=5.0)
    run(trainer, 1)
    state = trainer.state()
    whole = run(trainer)
    resumed = make_trainer(boosting=5.0)
    resumed.load(state)
    assert run(resumed) == whole and len(state["history"]) == 1
    assert same_bits(resumed.model.weights, trainer.model.weights)


def test_a_resumed_run_keeps_calibrated_thresholds():
    trainer = make_trainer()
    chosen = calibrate(trainer.model, digits()[0], trainer.options, [5.0, 3.0])
    resumed = make_trainer()
    resumed.load(trainer.state())
    assert [layer.neuron.v_th for layer in resumed.model.layers] == chosen


def test_threads_change_no_bit_of_a_run():
    one, two = make_trainer(validation=10), make_trainer(validation=10, threads=2)
    assert run(one) == run(two)
    assert same_bits(one.model.weights, two.model.weights)


def test_the_seed_changes_the_run():
    one, two = make_trainer(epochs=1), make_trainer(epochs=1, seed=4)
    assert run(one) != run(two)


@pytest.mark.parametrize("encoder", ["regular", "latency"])
def test_other_encoders_train_too(encoder):
    trainer = make_trainer(encoder=encoder, epochs=1)
    for layer in trainer.model.layers:
        layer.neuron = layer.neuron.with_(v_th=0.2)
    assert run(trainer)[0]["spikes"] > 0


# ------------------------------------------------------------------------------- what a run is made of


def test_the_gradient_is_that_of_the_mean_loss():
    x, y, *_ = digits(7)
    trainer = make_trainer()
    trainer.rule = HM2BP(fake_target_train=False)
    inputs = trainer.options.encode(x, np.arange(7), 1)
    mean, spikes, loss = trainer.gradients(inputs, y)
    assert [s.size for s in spikes] == [64, 20, 10] and loss.shape == (7,)
    parts = [trainer.gradients(SpikeBatch.from_trains([inputs.sample(k)]), y[k : k + 1])[0] for k in range(7)]
    for k in range(2):
        expected = sum(p[k] for p in parts) / 7
        np.testing.assert_allclose(mean[k], expected, rtol=1e-9, atol=1e-13)
    tripled, _, _ = trainer.gradients(inputs, y, np.full(7, 3.0))
    np.testing.assert_allclose(tripled[0], 3.0 * mean[0], rtol=1e-9, atol=1e-13)


def test_validation_samples_are_set_aside_by_the_seed():
    train, held = make_trainer(validation=13).split(60)
    assert held.size == 13 and sorted([*train, *held]) == list(range(60))
    again = make_trainer(validation=13).split(60)
    assert np.array_equal(train, again[0]) and np.array_equal(held, again[1])
    assert not np.array_equal(held, make_trainer(validation=13, seed=4).split(60)[1])
    assert make_trainer().split(60)[1].size == 0


def test_validation_samples_are_never_trained_on():
    trainer = make_trainer(validation=20, epochs=1)
    _, held = trainer.split(60)
    x, y, *test = digits()
    changed = x.copy()
    changed[held] = 1.0
    other = make_trainer(validation=20, epochs=1)
    (row,), (changed_row,) = (list(t.epochs(v, y, *test)) for t, v in ((trainer, x), (other, changed)))
    assert same_bits(trainer.model.weights, other.model.weights)
    assert row["validation_accuracy"] != changed_row["validation_accuracy"]


@pytest.mark.parametrize("held", [60, 61])
def test_a_validation_set_that_leaves_nothing_is_refused(held):
    with pytest.raises(ValueError, match="must leave training samples"):
        make_trainer(validation=held).split(60)


def test_the_best_epoch_is_kept_the_earlier_one_in_a_tie():
    trainer = make_trainer(validation=20)
    weights = [[w.copy() for w in trainer.model.weights] for _ in trainer.epochs(*digits())]
    accuracy = [row["validation_accuracy"] for row in trainer.history]
    best = int(np.argmax(accuracy))
    assert trainer.best_epoch == best + 1 and trainer.best_accuracy == accuracy[best]
    assert same_bits(trainer.best_parameters, weights[best])


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_noise_gives_the_same_spikes_in_each_epoch(frozen):
    trainer = make_trainer(kind=Recorder, frozen_noise=frozen, batch_size=60, epochs=2)
    run(trainer)
    first, second = (spikes[0] for spikes in trainer.model.seen if len(spikes[0]) == 60)
    assert np.array_equal(first.times, second.times) == frozen
    assert not np.array_equal(first.sample(0).times, first.sample(1).times)


def test_boosting_raises_the_weights_of_misclassified_samples_only():
    trainer = make_trainer(kind=Recorder, boosting=2.0, batch_size=60, validation=10, epochs=2)
    train, held = trainer.split(60)
    x, y, *test = digits()
    expected, old = np.ones(60), np.ones(60)
    for _ in trainer.epochs(x, y, *test):
        outputs = next(s[-1] for s in reversed(trainer.model.seen) if len(s[0]) == 50)
        missed = train[trainer.loss.predict(outputs) != y[train]]
        assert 0 < missed.size < 50
        for k in missed:
            of_class = train[y[train] == y[k]]
            error_rate = old[np.intersect1d(of_class, missed)].sum() / old[of_class].sum()
            expected[k] *= np.exp(error_rate / 2.0)
        np.testing.assert_allclose(trainer.boost, expected, rtol=1e-14)
        hit = np.setdiff1d(np.arange(60), missed)
        assert np.array_equal(trainer.boost[hit], old[hit]) and np.all(trainer.boost[missed] > old[missed])
        old = trainer.boost.copy()
    assert np.all(trainer.boost[held] == 1.0)


def test_boosting_counts_the_weighted_error_rate_of_a_class():
    weights, y = np.array([1.0, 3.0, 1.0, 1.0, 9.0]), np.array([0, 0, 1, 1, 0])
    _boost(weights, y, np.array([0, 1, 2, 3]), np.array([1, 2]), 20.0)
    np.testing.assert_allclose(
        weights, [1.0, 3.0 * np.exp(0.75 / 20), np.exp(0.5 / 20), 1.0, 9.0], rtol=1e-14
    )


def test_the_regulariser_is_the_gradient_of_its_potential():
    strength, beta, limit = 10.0, 0.7, 3.0
    w = np.random.default_rng(1).normal(0.0, 2.0, (5, 3))

    def potential(w):
        # Per neuron with n inputs: lambda limit n/2 exp(beta (mean (w/limit)^2 - 1)).
        mean_square = np.mean((w / limit) ** 2, axis=0)
        return np.sum(strength * limit * len(w) / 2 * np.exp(beta * (mean_square - 1.0)))

    gradient = _regulariser_gradient(w, strength, beta, limit)
    for j, i in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[j, i] = 1e-5
        slope = (potential(w + step) - potential(w - step)) / 2e-5
        assert gradient[j, i] == pytest.approx(slope, rel=1e-7)


def test_the_regulariser_keeps_weights_small():
    norms = []
    for regularise in (None, (2.0, 0.5, 0.5)):
        trainer = make_trainer(regularise=regularise)
        run(trainer)
        norms.append(np.linalg.norm(trainer.model.weights[0]))
    assert norms[1] < 0.95 * norms[0]


def test_schedules_are_their_formulas():
    def at(schedule, epoch, progress):
        return dataclasses.replace(OPTIONS, schedule=schedule, rate=0.6, epochs=4).rate_at(epoch, progress)

    assert at("constant", 1, 0.0) == at("constant", 4, 0.9) == 0.6
    assert at("sqrt", 1, 0.5) == 0.6 and at("sqrt", 4, 0.0) == 0.3
    assert at("cosine", 1, 0.0) == 0.6
    assert at("cosine", 3, 0.0) == pytest.approx(0.3)
    assert at("cosine", 2, 0.5) == pytest.approx(0.3 * (1 + np.cos(np.pi * 0.375)))
    assert at("cosine", 4, 1.0) == pytest.approx(0.0, abs=1e-16) and at("cosine", 9, 0.0) == at(
        "cosine", 5, 0.0
    )


def test_a_duplicated_sample_does_not_change_the_mean_gradient():
    x, y, *_ = digits(4)
    trainer = make_trainer()
    trainer.rule = HM2BP(fake_target_train=False)
    inputs = trainer.options.encode(x, np.arange(4), 1)
    doubled = SpikeBatch.from_trains([*inputs, *inputs])
    (once, _, _), (twice, _, _) = trainer.gradients(inputs, y), trainer.gradients(doubled, np.tile(y, 2))
    for a, b in zip(once, twice):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_the_train_of_a_silent_target_has_the_wanted_count_for_any_batch_size():
    trainer = make_trainer()
    trainer.model = Sequential(Dense(2, 3, NEURON.with_(v_th=0.3)))
    trainer.model.set_parameters([np.array([[-1.0, 2.0, 1.0], [-1.0, 2.0, 1.0]])])
    inputs = SpikeBatch.from_trains([SpikeTrains(np.arange(1.0, 40.0, 2.0), np.arange(20) % 2, 2)])
    doubled = SpikeBatch.from_trains([*inputs, *inputs])
    labels = np.zeros(2, np.int64)
    (once, spikes, _), (twice, _, _) = (
        trainer.gradients(inputs, labels[:1]),
        trainer.gradients(doubled, labels),
    )
    assert spikes[-1].counts()[0, 0] == 0
    np.testing.assert_allclose(once[0], twice[0], rtol=1e-9, atol=1e-13)


# ---------------------------------------------------------------------------------------------- calibration


def test_calibrate_reaches_the_wanted_mean_counts():
    trainer, (x, *_) = make_trainer(), digits()
    chosen = calibrate(trainer.model, x, trainer.options, [6.0, 3.0], samples=30)
    assert [layer.neuron.v_th for layer in trainer.model.layers] == chosen
    spikes = trainer.model.forward(trainer.options.encode(x[30:], np.arange(30), 5), 50.0)
    means = [s.counts().mean() for s in spikes[1:]]
    assert means == pytest.approx([6.0, 3.0], rel=0.2)


def test_calibrate_measures_thresholds_from_rest():
    trainer, (x, *_) = make_trainer(), digits()
    plain = calibrate(trainer.model, x, trainer.options, [6.0, 3.0])
    for layer in trainer.model.layers:
        layer.neuron = NEURON.with_(v_th=5.0, v_rest=-2.0, v_reset=-2.0)
    shifted = calibrate(trainer.model, x, trainer.options, [6.0, 3.0])
    np.testing.assert_allclose(np.array(shifted) + 2.0, plain, rtol=1e-9)


def test_calibrate_says_which_layer_cannot_spike_so_often():
    # With 1 ms of refractoriness, no more than 50 spikes fit into 50 ms.
    trainer, (x, *_) = make_trainer(), digits()
    with pytest.raises(SilentLayerError, match="layer 1: no threshold makes its neurons spike 200"):
        calibrate(trainer.model, x, trainer.options, [6.0, 200.0], samples=3)


def test_calibrate_on_silent_input_says_so():
    trainer = make_trainer()
    with pytest.raises(SilentLayerError, match=r"layer 0: .*\(0\.0 input spikes per sample"):
        calibrate(trainer.model, np.zeros((5, 64)), trainer.options, [6.0, 3.0])


@pytest.mark.parametrize("targets", [[1.0], [1.0, 2.0, 3.0], [1.0, 0.0], [-1.0, 1.0]])
def test_calibrate_wants_one_positive_count_per_layer(targets):
    trainer = make_trainer()
    with pytest.raises(ValueError, match="one count > 0 for each of 2 layers"):
        calibrate(trainer.model, digits()[0], trainer.options, targets)


# ----------------------------------------------------------------------------------------------- complaints


@pytest.mark.parametrize("silent", [0, 1])
def test_an_epoch_without_a_spike_names_the_layer(silent):
    trainer = make_trainer(rate=1e-9)
    layer = trainer.model.layers[silent]
    layer.neuron = layer.neuron.with_(v_th=1e6)
    with pytest.raises(SilentLayerError, match=f"layer {silent} .*emitted no spike"):
        run(trainer)
    assert trainer.epoch == 0 and trainer.history == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation": -1}, "validation must be >= 0"),
        ({"encoder": "morse"}, "encoder must be"),
        ({"schedule": "linear"}, "schedule must be"),
        ({"duration": 0.0}, "duration must be > 0"),
        ({"rate": -1.0}, "rate must be > 0"),
        ({"rate": np.nan}, "rate must be finite"),
        ({"max_rate": 0.0}, "max_rate must be > 0"),
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"threads": 0}, "threads must be >= 1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


def test_labels_beyond_the_output_layer_are_refused():
    x, y, *test = digits()
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\.\. 9"):
        next(make_trainer().epochs(x, y + 1, *test))
