"""Gradients of convolutions and pools: those of the unrolled Dense layers, folded onto the kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import LIF
from evsim.errors import GradientError, InputError
from evsim.learning import (
    HM2BP,
    SGD,
    STLLR,
    AvgPool2d,
    Conv2d,
    CountLoss,
    CountRegularisation,
    Dense,
    EventProp,
    Sequential,
    SpikingPool2d,
    SumPool2d,
    Trainer,
    TrainingOptions,
    TTFSLoss,
    backward,
    check_gradient,
)
from helpers.examples import examples
from helpers.maps import T_STOP, folded, map_layers, some_spikes

NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_th=0.5)


def close(value, right, rel):
    np.testing.assert_allclose(value, right, rtol=0.0, atol=rel * max(np.abs(right).max(initial=0.0), 1e-300))


@settings(max_examples=examples(20))
@given(map_layers(trainable=("v_th", "bias")), st.integers(0, 2**31), st.sampled_from([None, 1.0]))
def test_eventprop_is_that_of_the_unrolled_layer(layer, seed, grid):
    """Away from grazing, where derivatives are as large as rounding errors are small."""
    inputs = some_spikes(layer.n_in, seed, grid=grid)
    spikes = layer.forward(inputs, T_STOP)
    dense = layer.unrolled()
    dense.trainable = layer.trainable
    signal = np.random.default_rng(seed).normal(size=spikes.times.size)
    rule = EventProp(min_slope=0.05)
    found, below = rule.backward(layer, inputs, spikes, signal, T_STOP)
    right, right_below = rule.backward(dense, inputs, spikes, signal, T_STOP)
    close(below, right_below, 1e-12)
    if "weight" in layer.weight_shapes():
        close(found["weight"], folded(layer, right["weight"]), 1e-12)
    for name in ("v_th", "bias"):
        close(found[name], right[name].reshape(layer.out_shape[0], -1).sum(axis=1), 1e-12)


@settings(max_examples=examples(20))
@given(
    map_layers(), st.integers(0, 2**31), st.sampled_from(["paper", "none", "meanfield"]),
    st.sampled_from(["active", "all"]), st.booleans(), st.sampled_from([None, 2.0]),
)  # fmt: skip
def test_hm2bp_is_that_of_the_unrolled_layer(layer, seed, micro, silent_sources, pass_factor, psp_delay):
    inputs = some_spikes(layer.n_in, seed)
    spikes = layer.forward(inputs, T_STOP)
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(len(inputs), layer.n_out)) * (rng.random((len(inputs), layer.n_out)) < 0.7)
    rule = HM2BP(micro=micro, silent_sources=silent_sources, pass_factor=pass_factor, psp_delay=psp_delay)
    found, below = rule.backward(layer, inputs, spikes, signal, T_STOP)
    right, right_below = rule.backward(layer.unrolled(), inputs, spikes, signal, T_STOP)
    close(below, right_below, 1e-12)
    if "weight" in layer.weight_shapes():
        close(found["weight"], folded(layer, right["weight"]), 1e-12)
    else:
        assert found == {}


def test_the_weighted_spsps_of_each_pixel_make_up_its_thresholds():
    """sum_j w_ij e_ij = nu o_i, so that the paper's factor is 2 wherever a neuron spikes."""
    layer = Conv2d((2, 6, 6), 4, 3, NEURON.with_(t_ref=1.0), padding=1)
    layer.init(np.random.default_rng(1), 0.4, 0.2)
    inputs = some_spikes(layer.n_in, 2, most=300)
    spikes = layer.forward(inputs, T_STOP)
    signal = np.where(spikes.counts() > 0, 1.0, 0.0)
    assert (signal.sum(axis=1) > 20).sum() >= 3
    twice, below = HM2BP().backward(layer, inputs, spikes, signal, T_STOP)
    once, same = HM2BP(micro="none").backward(layer, inputs, spikes, signal, T_STOP)
    close(twice["weight"], 2.0 * once["weight"], 1e-12)
    assert np.array_equal(below, same)


def small_net():
    """Two convolutions, both kinds of pools, a Dense layer; each has spikes."""
    model = Sequential(
        Conv2d((1, 8, 8), 3, 3, NEURON.with_(v_th=np.array([0.3, 0.35, 0.4])), padding=1, trainable=("v_th", "bias")),
        SpikingPool2d((3, 8, 8), 2, NEURON.with_(v_th=0.25, t_ref=0.5), delay=0.5),
        Conv2d((3, 4, 4), 4, 3, NEURON.with_(t_ref=1.0), padding=1, trainable_delays="input", max_delay=2.0),
        SumPool2d((4, 4, 4), 2),
        Dense(16, 3, NEURON.with_(v_th=0.6)),
    )
    model.init(seed=2, scale=0.3, mean=0.3)
    return model


def test_a_net_of_maps_has_the_gradient_of_finite_differences():
    model, inputs = small_net(), some_spikes(64, 3, samples=2, most=150)
    assert all(s.times.size > 10 for s in model.forward(inputs, T_STOP))
    report = check_gradient(
        model, EventProp(), TTFSLoss(), inputs, np.array([0, 2]), T_STOP, differences=6, replays=0
    )
    assert report.ok, str(report)
    assert {row.layer for row in report.rows} == {0, 2, 4}


def test_threads_change_no_bit_of_the_gradients():
    model, inputs = small_net(), some_spikes(64, 4, samples=9)
    spikes = model.forward(inputs, T_STOP)
    labels = np.arange(9) % 3
    for rule, loss in ((EventProp(), TTFSLoss()), (HM2BP(), CountLoss())):
        if isinstance(rule, HM2BP):
            model.layers[2] = Conv2d((3, 4, 4), 4, 3, NEURON.with_(t_ref=1.0), padding=1)
            model.layers[2].weight = small_net().layers[2].weight
            model.layers[0] = Conv2d((1, 8, 8), 3, 3, NEURON, padding=1)
            model.layers[0].weight = small_net().layers[0].weight
            spikes = model.forward(inputs, T_STOP)
        signal = loss(spikes[-1], labels)[1]
        alone, below = backward(model, rule, spikes, signal, T_STOP, wants_signal=True)
        several, same = backward(model, rule, spikes, signal, T_STOP, threads=3, wants_signal=True)
        assert np.array_equal(below, same) and below.any()
        for one, other in zip(alone, several):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_net_of_maps_learns_and_its_state_continues_it():
    """Thresholds by channel, dropout, an average pool."""

    def trainer():
        model = Sequential(
            Conv2d((1, 6, 6), 3, 3, NEURON.with_(v_th=np.array([0.3, 0.35, 0.4]))), AvgPool2d((3, 4, 4), 2),
            Dense(12, 2, NEURON),
        )  # fmt: skip
        model.init(seed=5, scale=0.5, mean=0.6)
        options = TrainingOptions(duration=T_STOP, epochs=2, batch_size=6, hidden_dropout=0.2, validation=0)
        return Trainer(model, EventProp(), TTFSLoss(), SGD(0.02), options)

    inputs, labels = some_spikes(36, 6, samples=12, most=80), np.arange(12) % 2
    whole, first = trainer(), trainer()
    rows = list(whole.epochs(inputs, labels, inputs, labels))
    next(first.epochs(inputs, labels, inputs, labels))
    second = trainer()
    second.load(first.state())
    assert [r["train_loss"] for r in second.epochs(inputs, labels, inputs, labels)] == [rows[1]["train_loss"]]
    assert all(np.array_equal(a, b) for a, b in zip(whole.model.weights, second.model.weights))
    assert not np.array_equal(whole.model.weights[0], trainer().model.weights[0])


def test_other_rules_and_regularisers_refuse_maps_with_a_sentence():
    model = small_net()
    with pytest.raises(GradientError, match=r"STLLR cannot train layer 0, Conv2d.*not for convolutions and pools yet"):
        Trainer(model, STLLR(), CountLoss(), SGD(), TrainingOptions(duration=T_STOP))
    with pytest.raises(GradientError, match="HM2BP cannot train layer 0"):
        Trainer(model, HM2BP(), CountLoss(), SGD(), TrainingOptions(duration=T_STOP))
    with pytest.raises(InputError, match="CountRegularisation is for layers with a weight for each pair"):
        CountRegularisation()(model, model.forward(some_spikes(64, 7), T_STOP), [], T_STOP)
