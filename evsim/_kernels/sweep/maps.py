"""Layer sweep of maps: neurons in channels on a grid of pixels, each of which looks at a window of the map below.

All neurons of a pixel (and of a group of channels) get the same events at the same instants, so each pixel is the
sweep of one dense layer: the blocks, weights and neurons of ``sweep_layer`` are the same for all of them, only the
events are a pixel's own. They stand in lists, in the order of the layer's input.
"""

from typing import NamedTuple

import numpy as np

from ..jit import kernel, leaf
from ..samples import enlarged, ordered
from ..spikes import spike_arrays
from .arrays import (
    DONE,
    ENDLESS,
    FULL,
    GROUP,
    N_FACTORS,
    N_PROGRESS,
    N_SPIKES,
    NEXT_BLOCK,
    UNLIMITED,
    Events,
    block_arrays,
)
from .groups import group_factors
from .layer import sweep_layer


class MapShape(NamedTuple):
    """Two maps and the windows between them.

    groups : parts of the channels, which see nothing of each other; c_in, c_out : channels of a group
    h_in, w_in, h_out, w_out : pixels; kernel, stride, padding : side of the window, its steps, and how far it reaches
    over the border. Input (c, y, x) is seen by the pixel (oy, ox) through (dy, dx) = (y + padding - stride oy, ...),
    where 0 <= dy, dx < kernel.

    Neurons are numbered (channel height + y) width + x.
    """

    groups: int
    c_in: int
    c_out: int
    h_in: int
    w_in: int
    h_out: int
    w_out: int
    kernel: int
    stride: int
    padding: int


class Lists(NamedTuple):
    """Events of each pixel. starts : (groups h_out w_out + 1,); events, rows : which events of the input they are, and
    their rows of the weights, (starts[-1],)."""

    starts: np.ndarray
    events: np.ndarray
    rows: np.ndarray


@leaf
def _seen_from(place, n, shape):
    """First output of one axis that sees a place, and one after the last, among n."""
    place += shape.padding
    first = (place - shape.kernel + shape.stride) // shape.stride
    return max(first, 0), min(place // shape.stride + 1, n)


@leaf
def count_lists(neurons, shape, starts):
    """How long the list of each pixel is, as borders; neurons : (n,), of the events."""
    starts[:] = 0
    pixels = shape.h_in * shape.w_in
    for e in range(neurons.size):
        channel, pixel = neurons[e] // pixels, neurons[e] % pixels
        first_y, last_y = _seen_from(pixel // shape.w_in, shape.h_out, shape)
        first_x, last_x = _seen_from(pixel % shape.w_in, shape.w_out, shape)
        group = channel // shape.c_in
        for oy in range(first_y, last_y):
            row = (group * shape.h_out + oy) * shape.w_out + 1
            for ox in range(first_x, last_x):
                starts[row + ox] += 1
    for k in range(1, starts.size):
        starts[k] += starts[k - 1]


@leaf
def fill_lists(neurons, shape, lists, slots):
    """The lists themselves, in the order of the events; slots : (pixels,), scratch."""
    for site in range(slots.size):
        slots[site] = lists.starts[site]
    pixels = shape.h_in * shape.w_in
    for e in range(neurons.size):
        channel, pixel = neurons[e] // pixels, neurons[e] % pixels
        y, x = pixel // shape.w_in, pixel % shape.w_in
        first_y, last_y = _seen_from(y, shape.h_out, shape)
        first_x, last_x = _seen_from(x, shape.w_out, shape)
        group, source = channel // shape.c_in, channel % shape.c_in
        for oy in range(first_y, last_y):
            dy = y + shape.padding - oy * shape.stride
            for ox in range(first_x, last_x):
                dx = x + shape.padding - ox * shape.stride
                site = (group * shape.h_out + oy) * shape.w_out + ox
                slot = slots[site]
                slots[site] = slot + 1
                lists.events[slot] = e
                lists.rows[slot] = (dy * shape.kernel + dx) * shape.c_in + source


@leaf
def _events_of(site, times, lists, t_stop, padding_row, padded, rows):
    """Events of one pixel, padded to a multiple of GROUP as ``samples.arrivals`` does; returns that multiple."""
    first = lists.starts[site]
    n = lists.starts[site + 1] - first
    for k in range(n):
        padded[k] = times[lists.events[first + k]]
        rows[k] = lists.rows[first + k]
    m = (n // GROUP + 1) * GROUP
    padded[n:m] = t_stop
    rows[n:m] = padding_row
    return m


@leaf
def _number(spikes, first, last, site, shape):
    """From channels to neurons, of the spikes of a pixel."""
    pixels = shape.h_out * shape.w_out
    pixel = site % pixels
    for k in range(first, last):
        spikes.neurons[k] = spikes.neurons[k] * pixels + pixel


@kernel
def _sweep_pixels(times, lists, layer, shape, spikes, tally, t_stop):
    """All pixels of one sample; returns (DONE or ENDLESS, spikes so far, their arrays, which may be larger ones)."""
    longest = 0
    for site in range(lists.starts.size - 1):
        longest = max(longest, lists.starts[site + 1] - lists.starts[site])
    padded, rows = np.empty(longest + GROUP), np.empty(longest + GROUP, np.int32)
    factors = np.empty((longest + GROUP, N_FACTORS))
    block = block_arrays(layer.weights.shape[2])
    swept = np.zeros(N_PROGRESS, np.int64)
    # At rest below a threshold above rest, a neuron without input never spikes.
    quiet = not np.any((layer.neurons.theta <= 0.0) | (layer.neurons.u_init >= layer.neurons.theta))
    of_group = layer.weights.shape[0] // shape.groups
    for site in range(lists.starts.size - 1):
        if quiet and lists.starts[site] == lists.starts[site + 1]:
            continue
        m = _events_of(site, times, lists, t_stop, layer.weights.shape[1] - 1, padded, rows)
        events = Events(padded[:m], rows[:m], factors[:m])
        group_factors(events.times, events.factors, layer.neurons)
        first_block = site // (shape.h_out * shape.w_out) * of_group
        swept[NEXT_BLOCK] = first_block
        before = swept[N_SPIKES]
        status = FULL
        while status == FULL:
            status = sweep_layer(layer, events, block, spikes, swept, tally, t_stop, first_block + of_group, UNLIMITED)
            if status == FULL:
                spikes = enlarged(spikes, swept[N_SPIKES])
        if status == ENDLESS:
            _number(spikes, spikes.times.size - 1, spikes.times.size, site, shape)
            return ENDLESS, swept[N_SPIKES], spikes
        _number(spikes, before, swept[N_SPIKES], site, shape)
    return DONE, swept[N_SPIKES], spikes


@kernel
def sweep_map_samples(inputs, offsets, layer, shape, out, done, tally, t_stop, last):
    """As ``sweep_samples``, of a map: samples ``progress[0]`` ... ``last - 1``.

    layer : Layer whose blocks are those of each group of channels, one group after the other; shape : MapShape
    """
    counts, progress = done
    starts = np.empty(shape.groups * shape.h_out * shape.w_out + 1, np.int64)
    slots = np.empty(starts.size - 1, np.int64)
    spikes = spike_arrays(1024 + 2 * slots.size)
    for k in range(progress[0], last):
        first = offsets[k]
        end = first
        while end < offsets[k + 1] and inputs.times[end] < t_stop:
            end += 1
        neurons = inputs.sources[first:end]
        count_lists(neurons, shape, starts)
        lists = Lists(starts, np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32))
        fill_lists(neurons, shape, lists, slots)
        grazing = tally[0]
        status, n, spikes = _sweep_pixels(inputs.times[first:end], lists, layer, shape, spikes, tally, t_stop)
        if status == ENDLESS:
            out.times[0] = spikes.times[spikes.times.size - 1]
            out.neurons[0] = spikes.neurons[spikes.times.size - 1]
            return ENDLESS
        counts[k] = n
        if progress[1] + n > out.times.size:
            tally[0] = grazing
            return FULL
        ordered(spikes, n, t_stop, out, progress[1])
        progress[0] = k + 1
        progress[1] += n
    return DONE
