"""Thresholds, time constants and biases that are trained: gradients, positivity, saving, what refuses them."""

from itertools import product

import numpy as np
import pytest

from evsim.errors import GradientError
from evsim.learning import (
    HM2BP,
    SGD,
    Adam,
    CountLoss,
    Dense,
    EventProp,
    Readout,
    Recurrent,
    Sequential,
    TargetTimes,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
    check_gradient,
)
from evsim.learning.layers.neuron_parameters import NeuronParameters
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

T = 40.0
ALL = ("v_th", "tau_m", "tau_syn", "bias")
NEURONS = {
    "one current": LIF(tau_m=20.0, tau_syn=5.0, v_reset=-0.3, t_ref=1.0, bias=0.1),
    "two currents": LIF(tau_m=15.0, tau_syn=(4.0, 7.0)),
    "kept rest": LIF(tau_m=20.0, tau_syn=6.0, v_rest=-0.2, v_init=0.1),
}


def batch(n_in=5, samples=2, spikes=25, seed=3):
    rng = np.random.default_rng(seed)
    trains = [SpikeTrains(rng.uniform(0.0, T, spikes), rng.integers(0, n_in, spikes), n_in) for _ in range(samples)]
    return SpikeBatch.from_trains(trains)


def model_of(kind, neuron, trainable):
    extra = {"recurrent_delay": 2.0, "recurrent_scale": 0.4} if kind is Recurrent else {}
    last = LIF(tau_m=20.0, tau_syn=5.0)
    readable = tuple(name for name in trainable if name != "v_th")
    model = Sequential(
        kind(5, 4, neuron, trainable=trainable, **extra),
        Readout(4, 3, last, feature="integral", trainable=readable),
    )
    model.init(1, scale=0.6, mean=0.4)
    return model


@pytest.mark.parametrize(("kind", "name"), list(product((Dense, Recurrent), NEURONS)))
@pytest.mark.parametrize("trainable", [ALL, ("v_th", "bias"), ("tau_m",)])
def test_gradients_by_coordinates_are_differences(kind, name, trainable):
    model, inputs = model_of(kind, NEURONS[name], trainable), batch()
    report = check_gradient(
        model, EventProp(), VoltageCrossEntropy(scale=0.1), inputs, np.array([0, 2]), T, differences=40, replays=0
    )
    assert report.ok, report.verdict
    checked = {(row.layer, row.parameter) for row in report.rows if row.against == "FD float64"}
    wanted = {"v_th": "log_gap", "tau_m": "log_tau_m", "tau_syn": "log_tau_syn", "bias": "bias"}
    assert checked >= {(0, wanted[p]) for p in trainable} | {(1, wanted[p]) for p in trainable if p != "v_th"}
    assert any(np.abs(pair[1]).max() > 0 for (k, p), pair in report.pairs.items() if k == 0 and p != "weight")


def test_thresholds_and_biases_alone_take_the_fast_way_and_agree_with_the_other():
    inputs, found = batch(), []
    for rule in (EventProp(), EventProp(neuron_parameters=True)):
        model = model_of(Dense, NEURONS["one current"], ("v_th", "bias"))
        spikes = model.forward(inputs, T)
        layer, out = model.layers[0], spikes[1]
        signal = np.random.default_rng(0).normal(size=out.times.size)
        found.append(rule.backward(layer, inputs, out, signal, T)[0])
    assert "tau_m" not in found[0]
    for name in ("weight", "v_th", "bias"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_no_step_makes_a_parameter_invalid(neuron):
    own = NeuronParameters(neuron, ALL, 4)
    rng = np.random.default_rng(1)
    for size in (0.1, 1.0, 5.0):
        for array in own.parameters().values():
            array += size * rng.standard_normal(array.shape)
        made = own.neuron(neuron)
        assert np.all(np.asarray(made.v_th) > made.v_reset)
        assert made.tau_m > 0 and all(tau > 0 for tau in made.receptor_taus())


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_untouched_coordinates_are_the_parameters_given(neuron):
    made = NeuronParameters(neuron, ALL, 4).neuron(neuron)
    np.testing.assert_allclose(made.v_th, np.full(4, neuron.v_th), rtol=1e-15)
    np.testing.assert_allclose(made.bias, np.full(4, neuron.bias))
    np.testing.assert_allclose(np.ravel(made.tau_m), neuron.tau_m, rtol=1e-15)
    np.testing.assert_allclose(np.ravel(made.receptor_taus()), np.ravel(neuron.receptor_taus()), rtol=1e-15)


def trainer_of(model, **options):
    usual = {"duration": T, "encoder": "regular", "max_rate": 250.0, "epochs": 3, "batch_size": 4, "rate": 1e-2}
    loss = VoltageCrossEntropy(scale=0.1)
    return Trainer(model, EventProp(), loss, Adam(), TrainingOptions(**usual, **options))


def data():
    rng = np.random.default_rng(2)
    x = rng.uniform(0.2, 1.0, (12, 5))
    return x, (x[:, 0] > 0.6).astype(int)


def test_training_moves_them_and_a_resumed_run_is_the_same():
    x, y = data()
    whole = trainer_of(model_of(Dense, NEURONS["one current"], ALL))
    before = whole.model.layers[0].neuron
    list(whole.epochs(x, y, x, y))
    after = whole.model.layers[0].neuron
    assert after.tau_m != before.tau_m and after.tau_syn != before.tau_syn
    assert np.ptp(after.v_th) > 0 and np.ptp(after.bias) > 0
    first = trainer_of(model_of(Dense, NEURONS["one current"], ALL))
    run = first.epochs(x, y, x, y)
    next(run)
    second = trainer_of(model_of(Dense, NEURONS["one current"], ALL))
    second.load(first.state())
    list(second.epochs(x, y, x, y))
    for (name, a), (_, b) in zip(whole.model.parameters(), second.model.parameters()):
        assert np.array_equal(a, b), name
    assert whole.history[-1]["train_loss"] == second.history[-1]["train_loss"]


def test_their_step_size_is_their_own():
    x, y = data()
    trainer = trainer_of(model_of(Dense, NEURONS["one current"], ALL), neuron_rate=0.0)
    before = [(name, a.copy()) for name, a in trainer.model.parameters()]
    list(trainer.epochs(x, y, x, y))
    for (name, a), (_, b) in zip(before, trainer.model.parameters()):
        assert np.array_equal(a, b) == (not name.endswith("weight")), name


def test_setting_a_neuron_sets_the_coordinates():
    layer = Dense(3, 2, LIF(), trainable=("v_th",))
    layer.neuron = layer.neuron.with_(v_th=np.array([2.0, 3.0]))
    np.testing.assert_allclose(layer.parameters()["log_gap"], np.log([2.0, 3.0]))


def test_rules_without_such_a_gradient_say_so():
    model = Sequential(Dense(5, 3, LIF(tau_m=20.0, tau_syn=5.0), trainable=("v_th",)))
    model.init(1, scale=0.6, mean=0.5)
    options = TrainingOptions(duration=T, encoder="regular", max_rate=300.0)
    with pytest.raises(GradientError, match="no gradient 'v_th'"):
        Trainer(model, HM2BP(), CountLoss(), SGD(), options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(2, 2, LIF(), trainable=("threshold",)), "trainable are some of v_th"),
        (lambda: Dense(2, 2, LIF(), trainable=("v_th", "v_th")), "each once"),
        (lambda: Dense(2, 2, LIF(tau_syn=None), trainable=("tau_syn",)), "delta synapses have no tau_syn"),
        (lambda: Readout(2, 2, LIF(), trainable=("v_th",)), "no threshold to train"),
    ],
)
def test_what_cannot_be_trained_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_target_time_is_reached_by_the_threshold_alone():
    """One neuron, one input spike: the threshold that makes it spike at 6 ms is the potential there."""
    layer = Dense(1, 1, LIF(tau_m=20.0, tau_syn=5.0, v_th=0.5), trainable=("v_th",))
    layer.weight[:] = 10.0
    inputs = SpikeBatch.from_trains([SpikeTrains([0.0], [0], 1)])
    loss, adam = TargetTimes(correct=6.0, wrong=0.0), Adam()
    gap = layer.parameters()["log_gap"]
    for step in range(300):
        spikes = layer.forward(inputs, 15.0)
        gradients, _ = EventProp().backward(layer, inputs, spikes, loss(spikes, np.array([0]))[1], 15.0)
        adam.step([gap], [layer.pull_back(gradients)["log_gap"]], 0.05 * 0.98**step)
    true = 10.0 / 3.0 * (np.exp(-6.0 / 20.0) - np.exp(-6.0 / 5.0))
    assert float(layer.neuron.v_th[0]) == pytest.approx(true, rel=1e-3)
