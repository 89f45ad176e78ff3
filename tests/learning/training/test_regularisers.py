"""Regularisers for silent and busy neurons, spike dropout, recurrent training, and the encoders they need."""

import numpy as np
import pytest

from evsim import LIF, SpikeBatch, SpikeTrains, encode
from evsim.learning import (
    Adam,
    CountRegularisation,
    Dense,
    EventProp,
    GradientClipping,
    Readout,
    Recurrent,
    Sequential,
    SilentVoltage,
    Trainer,
    TrainingOptions,
    TTFSLoss,
    VoltageCrossEntropy,
    WeightBumping,
    WeightClipping,
)
from evsim.learning.training.regularisers import drop_spikes

T_STOP = 40.0


def silent_model():
    model = Sequential(Dense(4, 6, LIF()), Dense(6, 2, LIF()))
    model.init(seed=1, scale=[0.05, 0.05], mean=[0.3, 0.3])
    return model


def batch(n=5, size=4, seed=0):
    return encode.linear(np.random.default_rng(seed).random((n, size)), 1.0, 20.0)


def state(model, x):
    spikes = model.forward(x, T_STOP)
    return spikes, [np.zeros_like(a) for _, a in model.parameters()]


def test_bumping_raises_the_first_silent_layer_and_doubles():
    model = silent_model()
    spikes, gradients = state(model, batch())
    regulariser = WeightBumping(amount=0.01, rate=0.1)
    regulariser(model, spikes, gradients, T_STOP)
    assert gradients[0] == pytest.approx(np.full((4, 6), -0.1)) and not gradients[1].any()
    regulariser(model, spikes, gradients, T_STOP)
    assert gradients[0] == pytest.approx(np.full((4, 6), -0.2))


def test_bumping_leaves_a_network_that_spikes_alone():
    model = silent_model()
    for layer in model.layers:
        layer.weight[...] = 5.0
    spikes, gradients = state(model, batch())
    gradients[0][...] = 3.0
    WeightBumping()(model, spikes, gradients, T_STOP)
    assert np.all(gradients[0] == 3.0)


def test_count_regularisation_pulls_silent_up_and_busy_down():
    model = silent_model()
    spikes, gradients = state(model, batch())
    CountRegularisation(strength=1.0, lower=0.5)(model, spikes, gradients, T_STOP)
    assert gradients[0] == pytest.approx(np.full((4, 6), -0.5)) and not gradients[1].any()
    model.layers[0].weight[...] = 20.0
    spikes, gradients = state(model, batch())
    CountRegularisation(strength=1.0, upper=1.0)(model, spikes, gradients, T_STOP)
    assert np.all(gradients[0] > 0.0)


def test_the_voltage_term_of_silent_neurons_is_the_derivative_of_their_highest_potential():
    model, x, h = silent_model(), batch(), 1e-6
    spikes, gradients = state(model, x)
    SilentVoltage(strength=1.0)(model, spikes, gradients, T_STOP)
    twin = Readout(4, 6, LIF())

    def loss(weight):
        twin.weight = weight
        return -twin.forward(x, T_STOP).values.sum() / len(x)

    w = model.layers[0].weight
    for k in ((0, 0), (3, 5)):
        up, down = w.copy(), w.copy()
        up[k] += h
        down[k] -= h
        assert gradients[0][k] == pytest.approx((loss(up) - loss(down)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(
    "regulariser", [WeightBumping(amount=0.05, rate=0.02), CountRegularisation(1.0, 0.5), SilentVoltage(1.0)]
)
def test_a_silent_network_wakes_up(regulariser):
    model = silent_model()
    loss, x, y = VoltageCrossEntropy(), batch(20), np.arange(20) % 2
    model.layers[1] = Readout(6, 2, LIF())
    options = TrainingOptions(duration=T_STOP)
    trainer = Trainer(model, EventProp(), loss, Adam(), options, [regulariser])
    for _ in range(120):
        gradients, spikes, _ = trainer.gradients(x, y)
        regulariser(model, spikes, gradients, T_STOP)
        trainer.optimiser.step([a for _, a in model.parameters()], gradients, 0.02)
    assert model.forward(x, T_STOP)[1].times.size > 0


def test_dropout_depends_on_the_sample_not_on_its_place():
    x = SpikeBatch.from_trains([SpikeTrains(np.arange(1.0, 200.0), np.zeros(199, int), 1) for _ in range(6)])
    keys = np.array([7, 3, 9, 1, 4, 2])
    whole = drop_spikes(x, 0.3, 1, 2, keys)
    part = drop_spikes(x.take([2, 4]), 0.3, 1, 2, keys[[2, 4]])
    assert np.array_equal(part.times, whole.take([2, 4]).times)
    assert whole.times.size / x.times.size == pytest.approx(0.7, abs=0.05)
    assert not np.array_equal(drop_spikes(x, 0.3, 1, 3, keys).times, whole.times)


@pytest.mark.parametrize("kind", ["recurrent", "delays"])
def test_training_lowers_the_loss(kind):
    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    hidden = (
        Recurrent(5, 20, neuron, recurrent_scale=0.5)
        if kind == "recurrent"
        else Dense(5, 20, neuron, trainable_delays="synapse", max_delay=8.0)
    )
    model = Sequential(hidden, Dense(20, 2, neuron))
    model.init(seed=9, scale=[0.5, 0.3], mean=[2.0, 0.8])
    rng = np.random.default_rng(1)
    x = rng.random((60, 4))
    y = (x[:, 0] > x[:, 1]).astype(int)
    options = TrainingOptions(
        duration=60.0, encoder="linear", window=(0.0, 20.0), bias_spike=0.0, epochs=8, batch_size=20, rate=2e-2, seed=2
    )
    rows = list(Trainer(model, EventProp(), TTFSLoss(), Adam(), options).epochs(x, y, x, y))
    assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]


def test_linear_and_latency_codes_and_a_bias_spike():
    x = np.array([[0.0, 0.25, 1.0]])
    assert encode.linear(x[0], 2.0, 10.0).times.tolist() == [2.0, 4.0, 10.0]
    assert encode.latency(x[0], 10.0, early=2.0).times.tolist() == [2.0, 8.0]
    with_bias = encode.with_spike(encode.linear(x, 2.0, 10.0), 3.0)
    assert with_bias.size == 4 and with_bias.times.tolist() == [2.0, 3.0, 4.0, 10.0]
    assert with_bias.neurons.tolist() == [0, 3, 1, 2]
    with pytest.raises(ValueError, match="early < late"):
        encode.linear(x, 5.0, 5.0)


def test_gradient_norm_scales_all_gradients_together_and_only_down():
    gradients = [np.full((2, 3), 2.0), np.full(4, -1.0)]
    before = [g.copy() for g in gradients]
    norm = np.sqrt(6 * 4.0 + 4.0)
    GradientClipping(100.0)(None, [], gradients, 1.0)
    assert all(np.array_equal(a, b) for a, b in zip(gradients, before))
    GradientClipping(0.5)(None, [], gradients, 1.0)
    for a, b in zip(gradients, before):
        np.testing.assert_allclose(a, b * 0.5 / norm, rtol=1e-12)
    zeros = [np.zeros(3)]
    GradientClipping(0.5)(None, [], zeros, 1.0)
    assert not zeros[0].any()
    for kind in (GradientClipping, WeightClipping):
        with pytest.raises(ValueError, match="limit"):
            kind(0.0)


def test_weight_limit_holds_after_every_step():
    model = Sequential(Dense(4, 6, LIF(v_th=0.3)), Dense(6, 2, LIF(v_th=0.3)))
    options = TrainingOptions(duration=30.0, encoder="latency", epochs=2, batch_size=4, rate=0.3, schedule="constant")
    x, y = np.random.default_rng(0).random((8, 4)), np.arange(8) % 2
    largest = []
    for regularisers in ([], [WeightClipping(2.0)]):
        model.init(0, scale=0.5, mean=1.5)
        trainer = Trainer(model, EventProp(), TTFSLoss(missing=30.0), Adam(), options, regularisers)
        list(trainer.epochs(x, y, x, y))
        largest.append(max(np.abs(w).max() for w in model.weights))
    assert largest[0] > 2.0 and largest[1] <= 2.0
