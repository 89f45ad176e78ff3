"""The ANN and linear lines: gradients by differences, scikit-learn's optimum, the same trainer as all."""

import numpy as np
import pytest

from evsim import SpikeBatch, SpikeTrains
from evsim.learning import Adam, TrainingOptions
from evsim.learning.baselines.ann import ANN, ANNTrainer, Linear, Perceptron, count_scale


def options(**changes):
    return TrainingOptions(**{"duration": 10.0, "epochs": 3, "batch_size": 20, "rate": 1e-2, "seed": 1, **changes})


def points(n=120, size=5):
    rng = np.random.default_rng(3)
    x = rng.uniform(0.0, 1.0, (n, size))
    return x, np.argmax(x @ rng.normal(size=(size, 3)) + 0.8 * rng.normal(size=(n, 3)), axis=1)


def test_gradients_are_central_differences():
    x, y = points(30)
    model = Perceptron([5, 7, 6, 3])
    model.init(2)
    trainer = ANNTrainer(model, ANN(), Adam(), options())
    found, _, _ = trainer.gradients(x, y)
    rng = np.random.default_rng(0)
    for (_, array), g in zip(model.parameters(), found):
        for at in rng.permutation(array.size)[:5]:
            flat, values = array.reshape(-1), []
            before = flat[at]
            for change in (1e-6, -1e-6):
                flat[at] = before + change
                values.append(trainer.gradients(x, y)[2].mean())
            flat[at] = before
            assert g.reshape(-1)[at] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


def test_the_linear_line_reaches_the_optimum_that_scikit_learn_finds():
    from sklearn.linear_model import LogisticRegression

    x, y = points()
    model = Perceptron([5, 3])
    model.init(1)
    trainer = ANNTrainer(model, Linear(), Adam(), options(epochs=600, batch_size=120, rate=0.2))
    loss = list(trainer.epochs(x, y, x, y))[-1]["train_loss"]
    best = LogisticRegression(C=1e8, max_iter=5000).fit(x, y).predict_proba(x)
    assert loss == pytest.approx(-np.log(best[np.arange(len(y)), y]).mean(), rel=2e-3)


def test_it_learns_where_a_line_cannot_and_resumes_to_the_bit():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, (300, 2))
    y = ((x[:, 0] > 0.5) ^ (x[:, 1] > 0.5)).astype(int)

    def fresh(sizes=(2, 30, 2)):
        model = Perceptron(sizes)
        model.init(7)
        return ANNTrainer(model, ANN(), Adam(), options(epochs=60, rate=3e-2))

    whole = fresh()
    assert list(whole.epochs(x, y, x, y))[-1]["test_accuracy"] > 0.95
    assert list(fresh((2, 2)).epochs(x, y, x, y))[-1]["test_accuracy"] < 0.75
    cut, after = fresh(), fresh()
    next(cut.epochs(x, y, x, y))
    after.load(cut.state())
    list(after.epochs(x, y, x, y))
    for (_, a), (_, b) in zip(whole.model.parameters(), after.model.parameters()):
        assert np.array_equal(a, b)


def test_spikes_are_seen_as_scaled_counts_and_no_spike_is_counted_as_one_of_the_network():
    trains = [SpikeTrains([1.0, 2.0, 3.0], [0, 0, 1], 2), SpikeTrains([], [], 2)]
    x = SpikeBatch.from_trains(trains)
    model = Perceptron([2, 2])
    model.init(0)
    trainer = ANNTrainer(model, ANN(), Adam(), options(), count_scale(x))
    np.testing.assert_array_equal(trainer.inputs(x, np.array([0, 1]), 1), [[1.0, 0.5], [0.0, 0.0]])
    row = next(trainer.epochs(x, np.array([0, 1]), x, np.array([0, 1])))
    assert row["spikes"] == row["synaptic_events"] == row["input_spikes"] == 0


def test_spikes_are_moved_and_left_out_in_training_alone():
    x = SpikeBatch.from_trains([SpikeTrains(np.arange(200.0) / 20.0, np.arange(200) % 4, 4)])
    given = options(dropout=0.5, shift=1.0, grid=(2, 2, 1), bias_spike=1.0)
    trainer = ANNTrainer(Perceptron([4, 2]), ANN(), Adam(), given, 1.0)
    trained, tested = trainer.inputs(x, np.array([0]), 1), trainer.inputs(x, np.array([0]), -2)
    np.testing.assert_array_equal(tested, [[50.0] * 4])
    assert trained.shape == (1, 4)
    assert 0.0 < trained.sum() < 150.0
    assert not np.array_equal(trained, trainer.inputs(x, np.array([0]), 2))
