"""Layer sweep of maps: neurons in channels on a grid of pixels, each of which looks at a window of the map below.

All neurons of a pixel (and of a group of channels) get the same events at the same instants, so each pixel is the
sweep of one dense layer: the blocks, weights and neurons of ``sweep_layer`` are the same for all of them, only the
events are a pixel's own. They stand in lists, in the order of the layer's input.

Neighbours in a row see nearly the same events, so a strip of them shares a list: that is the convolution with a wider
window, longer steps, and the neurons of all its pixels as channels, some of whose weights are 0. Fewer factors are made
so, and shorter groups of events bound what happens within them more tightly.
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
from .layer import sweep_layer
from .tabled import decay_table, tabled_factors

N_SIGHT = 7
"""Columns of what an input neuron is seen by; see ``find_sight``."""


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
    """Events of each strip. starts : (strips + 1,); events, rows : which events of the input they are, and
    their rows of the weights, (starts[-1],)."""

    starts: np.ndarray
    events: np.ndarray
    rows: np.ndarray


@leaf
def _seen_from(place, window, step, n):
    """First of n outputs of one axis that sees a place (from the padded border on), and one after the last."""
    return max((place - window + step) // step, 0), min(place // step + 1, n)


@leaf
def find_sight(shape, strip, sight):
    """What each input neuron is seen by; sight : (n_in, N_SIGHT), written.

    0, 1 : first row of strips, and one after the last; 2, 3 : the same within a row; 4, 5 : where it stands in the
    window of the first of them; 6 : its channel within its group
    """
    window, step = shape.kernel + (strip - 1) * shape.stride, strip * shape.stride
    for n in range(sight.shape[0]):
        channel, pixel = n // (shape.h_in * shape.w_in), n % (shape.h_in * shape.w_in)
        y, x = pixel // shape.w_in + shape.padding, pixel % shape.w_in + shape.padding
        first_y, last_y = _seen_from(y, shape.kernel, shape.stride, shape.h_out)
        first_x, last_x = _seen_from(x, window, step, shape.w_out // strip)
        above = channel // shape.c_in * shape.h_out
        sight[n, 0], sight[n, 1], sight[n, 2], sight[n, 3] = above + first_y, above + last_y, first_x, last_x
        sight[n, 4], sight[n, 5] = y - first_y * shape.stride, x - first_x * step
        sight[n, 6] = channel % shape.c_in


@leaf
def count_lists(neurons, sight, n_strips, starts):
    """How long the list of each strip is, as borders; neurons : (n,), of the events; n_strips : in a row."""
    starts[:] = 0
    for e in range(neurons.size):
        seen = sight[neurons[e]]
        for row in range(seen[0], seen[1]):
            for k in range(row * n_strips + seen[2] + 1, row * n_strips + seen[3] + 1):
                starts[k] += 1
    for k in range(1, starts.size):
        starts[k] += starts[k - 1]


@leaf
def fill_lists(neurons, sight, shape, strip, lists, slots):
    """The lists themselves, in the order of the events; slots : (strips,), scratch."""
    window, step, n_strips = shape.kernel + (strip - 1) * shape.stride, strip * shape.stride, shape.w_out // strip
    for k in range(slots.size):
        slots[k] = lists.starts[k]
    for e in range(neurons.size):
        seen = sight[neurons[e]]
        line = (seen[4] * window + seen[5]) * shape.c_in + seen[6]
        for row in range(seen[0], seen[1]):
            of_weights = line
            for k in range(row * n_strips + seen[2], row * n_strips + seen[3]):
                slot = slots[k]
                slots[k] = slot + 1
                lists.events[slot] = e
                lists.rows[slot] = of_weights
                of_weights -= step * shape.c_in
            line -= shape.stride * window * shape.c_in


@leaf
def _events_of(site, times, lists, t_stop, padding_row, padded, rows):
    """Events of one strip, padded to a multiple of GROUP as ``samples.arrivals`` does; returns that multiple."""
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
def _number(spikes, first, last, site, shape, strip):
    """From the neurons of a strip, (pixel, channel), to those of the map."""
    pixels, channels = shape.h_out * shape.w_out, shape.groups * shape.c_out
    pixel = site * strip % pixels
    for k in range(first, last):
        channel, at = spikes.neurons[k], pixel
        while channel >= channels:
            channel -= channels
            at += 1
        spikes.neurons[k] = channel * pixels + at


@kernel
def _sweep_strips(times, lists, layer, shape, strip, table, spikes, tally, t_stop):
    """All strips of one sample; returns (DONE or ENDLESS, spikes so far, their arrays, which may be larger ones)."""
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
        tabled_factors(events.times, events.factors, layer.neurons, table)
        first_block = site * strip // (shape.h_out * shape.w_out) * of_group
        swept[NEXT_BLOCK] = first_block
        before = swept[N_SPIKES]
        status = FULL
        while status == FULL:
            status = sweep_layer(layer, events, block, spikes, swept, tally, t_stop, first_block + of_group, UNLIMITED)
            if status == FULL:
                spikes = enlarged(spikes, swept[N_SPIKES])
        if status == ENDLESS:
            _number(spikes, spikes.times.size - 1, spikes.times.size, site, shape, strip)
            return ENDLESS, swept[N_SPIKES], spikes
        _number(spikes, before, swept[N_SPIKES], site, shape, strip)
    return DONE, swept[N_SPIKES], spikes


@kernel
def sweep_map_samples(inputs, offsets, layer, shape, strip, out, done, tally, t_stop, last):
    """As ``sweep_samples``, of a map: samples ``progress[0]`` ... ``last - 1``.

    layer : Layer of the neurons of a strip, (pixel, channel); or with several groups of channels, and strips of one
    pixel, the blocks of one group after the other; shape : MapShape; strip : pixels in a strip, which divide a row
    """
    counts, progress = done
    starts = np.empty(shape.groups * shape.h_out * (shape.w_out // strip) + 1, np.int64)
    slots = np.empty(starts.size - 1, np.int64)
    sight = np.empty((shape.groups * shape.c_in * shape.h_in * shape.w_in, N_SIGHT), np.int64)
    find_sight(shape, strip, sight)
    spikes, table = spike_arrays(1024 + 2 * slots.size), decay_table()
    for k in range(progress[0], last):
        first = offsets[k]
        end = first
        while end < offsets[k + 1] and inputs.times[end] < t_stop:
            end += 1
        neurons = inputs.sources[first:end]
        count_lists(neurons, sight, shape.w_out // strip, starts)
        lists = Lists(starts, np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32))
        fill_lists(neurons, sight, shape, strip, lists, slots)
        grazing = tally[0]
        status, n, spikes = _sweep_strips(
            inputs.times[first:end], lists, layer, shape, strip, table, spikes, tally, t_stop
        )  # fmt: skip
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
