"""Convolutions and pools beside the same neurons as a Dense layer: layers drawn at random, and what is compared."""

import numpy as np
from hypothesis import strategies as st

from evsim import LIF
from evsim.learning import Conv2d, SpikingPool2d
from evsim.spikes import SpikeBatch, SpikeTrains

RATIOS = [(20.0, 5.0), (10.0, 5.0), (8.0, 8.0), (8.0, 8.0001), (5.0, 12.0)]
T_STOP = 50.0


@st.composite
def map_layers(draw, trainable=()):
    """A Conv2d or SpikingPool2d with weights, of small random shape."""
    whole = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(whole(0, 2**31))
    groups = draw(st.sampled_from([1, 1, 2]))
    c_in, c_out = groups * whole(1, 3), groups * whole(1, 4)
    shape = c_in, whole(3, 7), whole(3, 7)
    tau_m, tau_s = draw(st.sampled_from(RATIOS))
    neuron = LIF(
        tau_m=tau_m, tau_syn=tau_s, v_th=rng.uniform(0.4, 0.7, c_out), t_ref=draw(st.sampled_from([0.0, 1.5])),
        v_reset=draw(st.sampled_from([0.0, -0.2])),
    )  # fmt: skip
    delay = draw(st.sampled_from([0.0, 0.7]))
    if draw(st.integers(0, 3)) == 0:
        own = neuron.with_(v_th=rng.uniform(0.4, 0.7, c_in))
        return SpikingPool2d(shape, whole(1, 3), own, delay=delay, trainable=trainable)
    kernel, stride, padding = whole(1, 3), whole(1, 3), whole(0, 2)
    layer = Conv2d(
        shape, c_out, kernel, neuron, stride=stride, padding=padding, groups=groups, delay=delay, trainable=trainable
    )
    layer.init(rng, 0.5, 0.25)
    return layer


def some_spikes(size, seed, samples=5, most=100, grid=None):
    """Spikes of random neurons; grid : ms, they are then at its multiples, many of them at once."""
    rng = np.random.default_rng(seed)
    trains = []
    for _ in range(samples):
        n = int(rng.integers(0, most))
        times = rng.uniform(0.0, T_STOP, n)
        times = times if grid is None else np.floor(times / grid) * grid
        trains.append(SpikeTrains(times, rng.integers(0, size, n), size))
    return SpikeBatch.from_trains(trains)


def by_neuron(spikes):
    """Indices that order spikes by (sample, neuron, time)."""
    return np.lexsort((spikes.times, spikes.neurons, spikes.samples()))


def folded(layer, gradient):
    """A gradient by the (n_in, n_out) weights of the unrolled layer as one by the kernel, place by place."""
    shape = layer.map_shape
    by_pixel = gradient.reshape(*layer.in_shape, *layer.out_shape)
    out = np.zeros(layer.weight.shape)
    for dy, dx, source, target in np.ndindex(*out.shape):
        channel = target // shape.c_out * shape.c_in + source
        for oy, ox in np.ndindex(*layer.out_shape[1:]):
            y, x = oy * shape.stride + dy - shape.padding, ox * shape.stride + dx - shape.padding
            if 0 <= y < shape.h_in and 0 <= x < shape.w_in:
                out[dy, dx, source, target] += by_pixel[channel, y, x, target, oy, ox]
    return out
