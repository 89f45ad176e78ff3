"""The saved state of a trainer: nothing of another shape or kind reaches an optimiser or a kernel."""

import copy

import numpy as np
import pytest

import evsim
from evsim.learning import HM2BP, Adam, Dense, Sequential, Trainer, TrainingOptions
from evsim.learning.losses import CountLoss


def trainer(boosting=0.0):
    neuron = evsim.LIF(tau_m=20.0, tau_syn=5.0, v_th=0.3)
    model = Sequential(Dense(6, 4, neuron), Dense(4, 2, neuron))
    model.init(1)
    for layer in model.layers:
        layer.weight[...] = np.abs(layer.weight)
    options = TrainingOptions(epochs=2, batch_size=4, duration=20.0, validation=0, boosting=boosting)
    return Trainer(model, HM2BP(), CountLoss(), Adam(), options)


X = np.random.default_rng(0).random((8, 6))
Y = np.arange(8) % 2


@pytest.fixture(scope="module")
def state():
    one = trainer(boosting=20.0)
    next(one.epochs(X, Y, X, Y))
    return one.state()


def test_a_state_comes_back_whole(state):
    one = trainer(boosting=20.0)
    one.load(copy.deepcopy(state))
    again = one.state()
    assert again["epoch"] == 1 and again["history"] == state["history"] and again["best"]["epoch"] == 1
    pairs = [*zip(again["weights"], state["weights"]), *zip(again["optimiser"]["first"], state["optimiser"]["first"])]
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    assert again["boost"].tobytes() == state["boost"].tobytes()


WRONG = {
    "a weight of another shape": lambda s: s["weights"].__setitem__(0, s["weights"][0].T.copy()),
    "a weight of float32": lambda s: s["weights"].__setitem__(0, s["weights"][0].astype("f4")),
    "a weight that is infinite": lambda s: s["weights"][0].__setitem__((0, 0), np.inf),
    "a weight too few": lambda s: s["weights"].pop(),
    "weights as a number": lambda s: s.__setitem__("weights", 3),
    "best weights of another shape": lambda s: s["best"]["weights"].__setitem__(1, np.zeros(3)),
    "a best epoch to come": lambda s: s["best"].__setitem__("epoch", 9),
    "an epoch below 0": lambda s: s.__setitem__("epoch", -1),
    "an epoch without a row": lambda s: s.__setitem__("epoch", 2),
    "a row of text": lambda s: s["history"][0].__setitem__("train_loss", "x"),
    "thresholds of another size": lambda s: s["thresholds"].__setitem__(0, np.zeros(3)),
    "a threshold that is no number": lambda s: s["thresholds"].__setitem__(0, np.array(np.nan)),
    "a threshold below the reset": lambda s: s["thresholds"].__setitem__(0, np.array(-1.0)),
    "boosting weights below 0": lambda s: s["boost"].__setitem__(0, -1.0),
    "boosting weights as a table": lambda s: s.__setitem__("boost", np.ones((4, 2))),
    "no optimiser": lambda s: s.__delitem__("optimiser"),
    "an optimiser that is a list": lambda s: s.__setitem__("optimiser", [1]),
    "moments that are no numbers": lambda s: s["optimiser"]["first"][0].__setitem__((0, 0), np.nan),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_no_training_leaves_is_refused_and_nothing_taken_over(state, what):
    one, other = trainer(boosting=20.0), copy.deepcopy(state)
    before = [w.copy() for w in one.model.weights]
    WRONG[what](other)
    with pytest.raises(ValueError, match=r"."):
        one.load(other)
    assert one.epoch == 0 and one.history == [] and one.model.layers[0].neuron.v_th == 0.3
    assert all(np.array_equal(a, b) for a, b in zip(before, one.model.weights))


def test_boosting_weights_of_another_data_set_are_refused(state):
    one = trainer(boosting=20.0)
    one.load(copy.deepcopy(state))
    with pytest.raises(ValueError, match="8 samples; there are 7"):
        next(one.epochs(X[:7], Y[:7], X, Y))


def test_moments_of_another_shape_are_refused_by_the_step(state):
    one, other = trainer(), copy.deepcopy(state)
    for moments in ("first", "second"):
        other["optimiser"][moments][0] = np.zeros((2, 2))
    with pytest.raises(ValueError, match="moment"):
        one.load(other)
        next(one.epochs(X, Y, X, Y))
