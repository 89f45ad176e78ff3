"""evsim.learning.model and layers: forward passes and what they refuse."""

import numpy as np
import pytest

from evsim.errors import NetworkError
from evsim.learning import SGD, Adam, Dense, Readout, Recurrent, Sequential
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.reference import simulate_twin

NEURON = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.5, v_th=0.25)
T_STOP = 60.0


def make_inputs(n_samples=5, size=8, seed=2):
    rng = np.random.default_rng(seed)
    counts = rng.integers(20, 60, n_samples)
    return SpikeBatch.from_trains(
        [SpikeTrains(rng.uniform(0.0, T_STOP, n), rng.integers(0, size, n), size) for n in counts]
    )


def make_model(lateral=0.0):
    model = Sequential(
        Dense(8, 12, NEURON, delay=0.5), Dense(12, 4, NEURON, lateral_inhibition=lateral, lateral_delay=0.8)
    )
    model.init(seed=4, scale=2.0)
    return model


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("times", "neurons", "currents", "offsets")
    )


@pytest.mark.parametrize("lateral", [0.0, 0.3])
def test_threads_change_no_bit_of_the_spikes(lateral):
    model, inputs = make_model(lateral), make_inputs()
    alone = model.forward(inputs, T_STOP)
    assert min(s.times.size for s in alone) > 20
    for threads in (2, 3):
        assert all(same(a, b) for a, b in zip(alone[1:], model.forward(inputs, T_STOP, threads)[1:]))


@pytest.mark.parametrize("lateral", [0.0, 0.3])
def test_spikes_do_not_depend_on_how_samples_are_put_into_batches(lateral):
    model, inputs = make_model(lateral), make_inputs()
    whole = model.forward(inputs, T_STOP)
    for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
        spikes = model.forward(SpikeBatch.from_trains(list(inputs)[part]), T_STOP)
        for a, b in zip(whole[1:], spikes[1:]):
            first, last = a.offsets[part.start], a.offsets[part.stop]
            assert np.array_equal(a.times[first:last], b.times)
            assert np.array_equal(a.neurons[first:last], b.neurons)
            assert np.array_equal(a.currents[first:last], b.currents)


@pytest.mark.parametrize("lateral", [0.0, 0.4])
def test_a_layer_spikes_as_the_slow_twin_says(lateral):
    layer = Dense(8, 6, NEURON, delay=0.7, lateral_inhibition=lateral, lateral_delay=1.1)
    layer.init(np.random.default_rng(3), scale=2.0)
    inputs = make_inputs(3)
    got = layer.forward(inputs, T_STOP)
    synapses = [(j, i, layer.weight[j, i], 0.7) for j in range(8) for i in range(6)]
    if lateral:
        synapses += [(8 + j, i, -lateral, 1.1) for j in range(6) for i in range(6) if i != j]
    for k, train in enumerate(inputs):
        spikes = [(float(t), int(j)) for t, j in zip(train.times, train.neurons)]
        expected = simulate_twin([NEURON] * 6, synapses, spikes, 8, T_STOP)
        sample = got.sample(k)
        assert len(expected) > 5 and sample.neurons.tolist() == [i for _, i in expected]
        np.testing.assert_allclose(sample.times, [t for t, _ in expected], rtol=0.0, atol=1e-9)


def test_lateral_inhibition_silences_competitors():
    layer, inputs = Dense(8, 6, NEURON), make_inputs()
    layer.init(np.random.default_rng(3), scale=2.0)
    free = layer.forward(inputs, T_STOP).times.size
    layer.lateral_inhibition = 1.0
    assert 0 < layer.forward(inputs, T_STOP).times.size < 0.8 * free


def test_weights_are_drawn_by_seed_and_layer_within_the_scale():
    a, b = make_model(), make_model()
    assert all(np.array_equal(x, y) for x, y in zip(a.weights, b.weights))
    b.init(seed=5)
    assert not np.array_equal(a.weights[0], b.weights[0])
    b.init(seed=4, scale=0.02)
    np.testing.assert_allclose(b.weights[1], 0.01 * a.weights[1], rtol=1e-12)
    assert 1.5 < np.abs(a.weights[0]).max() <= 2.0


def test_set_parameters_copies():
    model = make_model()
    weights = [w + 1.0 for w in model.weights]
    model.set_parameters(weights)
    weights[0][0, 0] = 99.0
    assert model.weights[0][0, 0] != 99.0
    assert np.array_equal(model.weights[1], weights[1])


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="layer 0 gives 3 outputs, but layer 1 takes 4"):
        Sequential(Dense(2, 3, NEURON), Dense(4, 1, NEURON))
    with pytest.raises(ValueError, match="at least one layer"):
        Sequential()


def test_weights_that_do_not_fit_are_refused():
    model = make_model()
    with pytest.raises(ValueError, match="2 trained arrays; got 1"):
        model.set_parameters(model.weights[:1])
    with pytest.raises(ValueError, match=r"array 1 \(weight\) of the model has shape \(12, 4\); got \(4, 12\)"):
        model.set_parameters([model.weights[0], model.weights[1].T])


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="takes 8 inputs; the spikes have 9"):
        make_model().forward(make_inputs(size=9), T_STOP)
    early = SpikeBatch.from_trains([SpikeTrains([-1.0], [0], 8)])
    with pytest.raises(ValueError, match="shift them to times >= 0"):
        make_model().forward(early, T_STOP)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_out": 0}, "sizes >= 1"),
        ({"delay": -1.0}, "delay must be finite and >= 0"),
        ({"delay": np.nan}, "delay must be finite and >= 0"),
        ({"lateral_inhibition": -1.0}, "lateral_inhibition must be >= 0"),
        ({"lateral_inhibition": 1.0, "lateral_delay": 0.0}, "its delay > 0"),
    ],
)
def test_impossible_layers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Dense(**({"n_in": 2, "n_out": 3, "neuron": NEURON} | options))


def test_neurons_with_unequal_time_constants_are_refused():
    with pytest.raises(NetworkError, match="share tau_m and tau_syn"):
        Dense(2, 3, LIF(tau_m=np.array([10.0, 20.0, 30.0])))


def test_models_and_optimisers_are_shown_on_one_line_without_their_weights():
    first = Dense(900, 800, LIF(), delay=np.ones(900), trainable=("v_th",))
    model = Sequential(first, Recurrent(800, 5, LIF(), 2.0), Readout(5, 2, LIF()))
    assert "\n" not in repr(model) and len(repr(model)) < 900
    assert repr(model).startswith("Sequential(Dense(900, 800, LIF(tau_m=20.0, ")
    assert "delay=<(900,)>, " in repr(first) and repr(first).endswith("trainable=('v_th',))")
    assert repr(model.layers[2]) == f"Readout(5, 2, {LIF()!r})"
    assert repr(Adam(weight_decay=0.1)) == "Adam(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.1)"
    assert repr(SGD()) == "SGD(momentum=0.0, weight_decay=0.0)"
