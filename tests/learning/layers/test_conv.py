"""evsim.learning.layers.conv and pool: convolutions and pools are the Dense layers that they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import LIF
from evsim.engine.sweep.maps import strip_of
from evsim.errors import InputError, NetworkError, RunawayError
from evsim.learning import AvgPool2d, Conv2d, Dense, Sequential, SpikingPool2d, SumPool2d
from evsim.spikes import SpikeBatch, SpikeTrains
from helpers.examples import examples
from helpers.maps import T_STOP, by_neuron, map_layers, some_spikes

NEURON = LIF(tau_m=20.0, tau_syn=5.0, v_th=0.5, t_ref=1.0)


def check_equal_to_dense(layer, inputs):
    """The spikes, and how many they are."""
    spikes, dense = layer.forward(inputs, T_STOP), layer.unrolled().forward(inputs, T_STOP)
    assert np.array_equal(spikes.offsets, dense.offsets)
    a, b = by_neuron(spikes), by_neuron(dense)
    assert np.array_equal(spikes.neurons[a], dense.neurons[b])
    # Spikes near grazing move by more than rounding moves the potential.
    np.testing.assert_allclose(spikes.times[a], dense.times[b], rtol=0.0, atol=2e-11)
    np.testing.assert_allclose(spikes.currents[a], dense.currents[b], rtol=1e-10, atol=1e-10)
    for train in spikes:
        order = np.lexsort((train.neurons, train.times))
        assert np.array_equal(order, np.arange(order.size))
    return spikes


@settings(max_examples=examples(20))
@given(map_layers(), st.integers(0, 2**31), st.sampled_from([None, 1.0]))
def test_a_map_spikes_as_the_unrolled_dense_layer(layer, seed, grid):
    check_equal_to_dense(layer, some_spikes(layer.n_in, seed, grid=grid))


@pytest.mark.parametrize("changed", [{"bias": 0.7}, {"v_init": 0.6}, {"v_init": -0.3, "bias": -0.1}])
def test_pixels_without_input_spike_where_their_neurons_do_so_by_themselves(changed):
    layer = Conv2d((1, 6, 6), 3, 2, NEURON.with_(**changed), padding=1)
    layer.init(np.random.default_rng(1), 0.5)
    spikes = check_equal_to_dense(layer, some_spikes(36, 2, samples=3, most=10))
    assert (spikes.times.size > 100) == ("v_init" not in changed or changed["v_init"] > 0)


def test_channels_may_have_delays_of_their_own():
    layer = Conv2d((3, 4, 5), 4, 2, NEURON, delay=np.array([0.0, 2.0, 0.5]))
    layer.init(np.random.default_rng(3), 0.5, 0.4)
    assert check_equal_to_dense(layer, some_spikes(60, 4)).times.size > 100


@pytest.mark.parametrize(("width", "strip"), [(3, 1), (4, 2), (5, 3), (6, 4), (7, 1), (14, 4)])
def test_strips_divide_the_rows(width, strip):
    layer = Conv2d((2, 4, width), 3, 3, NEURON)
    layer.init(np.random.default_rng(16), 0.4, 0.3)
    assert strip_of(layer.map_shape) == strip
    assert check_equal_to_dense(layer, some_spikes(layer.n_in, 17, most=300)).times.size > 30


def test_a_layer_as_wide_as_several_blocks_of_the_sweep():
    layer = Conv2d((2, 3, 3), 900, 2, NEURON.with_(v_th=0.9))
    layer.init(np.random.default_rng(5), 0.5, 0.3)
    assert check_equal_to_dense(layer, some_spikes(18, 6)).times.size > 1000


def test_neither_threads_nor_batches_change_a_bit():
    layer = Conv2d((2, 7, 6), 5, 3, NEURON, padding=1)
    layer.init(np.random.default_rng(7), 0.4, 0.3)
    inputs = some_spikes(layer.n_in, 8, samples=7, most=300)
    whole = layer.forward(inputs, T_STOP)
    assert whole.times.size > 300
    assert layer.forward(inputs, T_STOP, threads=3) == whole
    for some in ([4], [6, 0, 3]):
        assert layer.forward(inputs.take(some), T_STOP) == whole.take(some)


def test_a_shifted_image_gives_a_shifted_map():
    """By rounding: pixels of a strip share a list, in which the events of the others have weight 0."""
    layer = Conv2d((1, 9, 9), 3, 3, NEURON, stride=2)
    layer.init(np.random.default_rng(9), 0.5, 0.4)
    train = some_spikes(25, 10, samples=1, most=200).sample(0)
    y, x = np.divmod(train.neurons, 5)

    def shifted(dy, dx):
        moved = SpikeTrains(train.times, (y + dy) * 9 + x + dx, 81)
        out = layer.forward(SpikeBatch.from_trains([moved]), T_STOP).sample(0)
        channel, pixel = np.divmod(out.neurons, 16)
        spikes = zip(channel, pixel // 4 - dy // 2, pixel % 4 - dx // 2, out.times)
        # The window of 3 reaches into rows that the 5 x 5 image leaves empty: where both maps are whole.
        return np.array(sorted(s for s in spikes if 0 <= s[1] <= 1 and 0 <= s[2] <= 1))

    inner = shifted(0, 0)
    assert len(inner) > 20
    for moved in (shifted(4, 4), shifted(0, 2)):
        np.testing.assert_allclose(moved, inner, rtol=0.0, atol=2e-11)


def test_many_neurons_that_run_away_are_refused_by_number():
    layer = Conv2d((1, 3, 3), 2, 1, NEURON.with_(t_ref=0.0, v_reset=0.0))
    layer.weight = np.array([0.0, 1e16]).reshape(1, 1, 1, 2)
    at_pixel_4 = SpikeBatch.from_trains([SpikeTrains([1.0], [4], 9)])
    with pytest.raises(RunawayError, match="neuron 13 "):
        layer.forward(at_pixel_4, T_STOP)


def test_a_sum_pool_relabels_and_keeps_every_spike():
    pool = SumPool2d((2, 4, 6), 2)
    inputs = some_spikes(pool.n_in, 11)
    out = pool.forward(inputs, T_STOP)
    assert np.array_equal(out.times, inputs.times)
    counts = inputs.counts().reshape(-1, 2, 2, 2, 3, 2).sum(axis=(3, 5))
    assert np.array_equal(out.counts(), counts.reshape(len(inputs), -1))


def test_a_cut_border_leaves_its_spikes_out_and_gets_no_signal():
    pool = SumPool2d((1, 5, 4), 2)
    inputs = some_spikes(20, 12)
    out = pool.forward(inputs, T_STOP)
    kept = inputs.neurons < 16
    assert out.size == 4 and np.array_equal(out.times, inputs.times[kept])
    assert np.array_equal(np.diff(out.offsets), [np.sum(s.neurons < 16) for s in inputs])
    signal = np.random.default_rng(13).normal(size=out.times.size)
    below = pool.signal_below(signal, inputs)
    assert np.array_equal(below[kept], signal) and not below[~kept].any()
    by_count = pool.signal_below(np.arange(1.0, 5.0)[None], inputs.take([0]))
    assert by_count.reshape(5, 4).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4], [0, 0, 0, 0]]


def test_a_sum_pool_and_a_convolution_are_one_with_the_kernel_spread():
    pool, conv = SumPool2d((2, 6, 8), 2), Conv2d((2, 3, 4), 5, 2, NEURON)
    conv.init(np.random.default_rng(14), 0.4, 0.2)
    spread = Conv2d((2, 6, 8), 5, 4, NEURON, stride=2)
    spread.weight = np.repeat(np.repeat(conv.weight, 2, axis=0), 2, axis=1)
    inputs = some_spikes(pool.n_in, 15)
    out, same = Sequential(pool, conv).forward(inputs, T_STOP)[-1], spread.forward(inputs, T_STOP)
    assert out.times.size > 100
    assert out == same


def test_the_layer_above_an_average_pool_begins_with_smaller_weights():
    model = Sequential(AvgPool2d((1, 4, 4), 2), Dense(4, 3, NEURON))
    sums = Sequential(SumPool2d((1, 4, 4), 2), Dense(4, 3, NEURON))
    model.init(seed=1, scale=0.8, mean=0.2)
    sums.init(seed=1, scale=0.8, mean=0.2)
    np.testing.assert_allclose(model.layers[1].weight, sums.layers[1].weight / 4.0, rtol=1e-15)


def test_spiking_pools_cover_the_border_with_cut_windows():
    pool = SpikingPool2d((1, 5, 3), 2, NEURON)
    assert pool.out_shape == (1, 3, 2) and pool.parameters() == {}
    assert pool.unrolled().weight.sum(axis=0).tolist() == [4, 2, 4, 2, 2, 1]


def test_what_layers_say_of_themselves():
    layer = Conv2d((2, 6, 5), 4, 3, NEURON, padding=1)
    assert layer.describe() == "Conv2d(2x6x5 -> 4x6x5)"
    assert repr(layer) == f"Conv2d((2, 6, 5), 4, 3, {NEURON!r}, padding=1)"
    assert layer.parameters()["weight"].shape == (3, 3, 2, 4)
    assert SumPool2d((2, 6, 4), 2).describe() == "SumPool2d(2x6x4 -> 2x3x2)"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Conv2d((1, 4), 2, 3, NEURON), "must be .channels, height, width."),
        (lambda: Conv2d((1, 4, 4), 2, 5, NEURON), "larger than maps of 4 x 4"),
        (lambda: Conv2d((3, 4, 4), 4, 3, NEURON, groups=2), "2 groups do not divide 3 channels"),
        (lambda: Conv2d((1, 4, 4), 2, 3, NEURON, stride=0), "stride and groups must be >= 1"),
        (lambda: Conv2d((1, 4, 4), 2, 3, NEURON, delay=np.zeros((16, 8))), "one delay, or one per input"),
        (lambda: Conv2d((1, 4, 4), 2, 3, NEURON, trainable=("tau_m",)), "trains v_th and bias"),
        (lambda: Conv2d((1, 4, 4), 2, 3, NEURON.with_(v_th=np.ones(8))), "one value for each of 2 channels"),
        (lambda: SumPool2d((1, 4, 1), 2), "do not fit into maps of 4 x 1"),
        (lambda: SpikingPool2d((1, 4, 4), 0, NEURON), "k must be >= 1"),
    ],
)
def test_layers_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_a_convolution_needs_one_current():
    with pytest.raises(NetworkError, match="one exponential synaptic current"):
        Conv2d((1, 4, 4), 2, 3, NEURON.with_(tau_syn=None))
    layer = Conv2d((1, 4, 4), 2, 3, NEURON)
    layer.weight = np.zeros((2, 3, 3))
    with pytest.raises(InputError, match=r"must have shape \(3, 3, 1, 2\)"):
        layer.forward(some_spikes(16, 1), T_STOP)
