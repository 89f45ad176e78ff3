"""The calendar: arrivals of synapses with delays of their own, one list for each coming cell of a block.

Lists are made of chunks from a stack of free ones, so that memory that is warm is used again.
"""

import math

import numpy as np

from ..jit import leaf
from .arrays import CHUNK, NO_CHUNK
from .factors import add_current, add_kick, factors_of
from .prefetch import LINE, prefetch_stretch


@leaf
def prefetch_calendar(bundle, bundles, table, times, sources, n, until):
    """Ask for the synapses that ``fill_calendar`` will read."""
    first = bundles.source_first[bundle]
    size = bundles.source_size[bundle]
    row = bundles.row[bundle]
    at = bundles.target_at[bundle]
    delay_at = bundles.delay_at[bundle]
    weight_at = bundles.weight_at[bundle]
    values_a_line = LINE // table.delays.itemsize
    k = bundles.cursor[bundle]
    while k < n and times[k] < until:
        s = sources[k] - first
        if s >= 0 and s < size:
            a = np.int64(table.starts[row + s])
            z = np.int64(table.starts[row + s + 1])
            prefetch_stretch(table.targets, at + a, at + z, LINE // 2)
            prefetch_stretch(table.delays, delay_at + a, delay_at + z, values_a_line)
            if math.isnan(bundles.weight[bundle]):
                prefetch_stretch(table.weights, weight_at + a, weight_at + z, values_a_line)
        k += 1


@leaf
def fill_calendar(b, now, bundle, bundles, table, calendar, times, sources, n, until, c):
    """Enter the arrivals of all spikes before ``until``; returns False if the chunks do not suffice.

    now : number of the present cell; no arrival lies before it, or a whole ring after it
    """
    n_cells = calendar.head.shape[1]
    now_slot = now % n_cells
    a_ms = 1.0 / c
    head, tail, filled, following = calendar.head[b], calendar.tail[b], calendar.filled[b], calendar.following[b]
    free = calendar.free[b]
    entered, weights, targets = calendar.times[b], calendar.weights[b], calendar.targets[b]
    first = bundles.source_first[bundle]
    size = bundles.source_size[bundle]
    weight = bundles.weight[bundle]
    one = not math.isnan(weight)
    row = bundles.row[bundle]
    target_at = bundles.target_at[bundle]
    weight_at = bundles.weight_at[bundle]
    delay_at = bundles.delay_at[bundle]
    n_free = calendar.n_free[b]
    k = bundles.cursor[bundle]
    fits = True
    while k < n and times[k] < until:
        s = sources[k] - first
        if s >= 0 and s < size:
            a = np.int64(table.starts[row + s])
            z = np.int64(table.starts[row + s + 1])
            if n_free < min(z - a, n_cells) + (z - a) // CHUNK + 1:
                fits = False
                break
            spike = times[k]
            for j in range(z - a):
                t = spike + np.float64(table.delays[delay_at + a + j])
                cell = int(t * a_ms)
                # The product may be rounded over a border.
                if cell * c > t:
                    cell -= 1
                elif (cell + 1) * c <= t:
                    cell += 1
                slot = now_slot + (cell - now)
                if slot >= n_cells:
                    slot -= n_cells
                chunk = tail[slot]
                place = filled[slot]
                if chunk == NO_CHUNK or place == CHUNK:
                    n_free -= 1
                    new = free[n_free]
                    following[new] = NO_CHUNK
                    if chunk == NO_CHUNK:
                        head[slot] = new
                    else:
                        following[chunk] = new
                    tail[slot] = new
                    place = 0
                    chunk = new
                entered[chunk, place] = t
                weights[chunk, place] = weight if one else np.float64(table.weights[weight_at + a + j])
                targets[chunk, place] = table.targets[target_at + a + j]
                filled[slot] = place + 1
        k += 1
    calendar.n_free[b] = n_free
    bundles.cursor[bundle] = k
    return fits


@leaf
def add_chunk(b, chunk, n, calendar, exc, psp_exc, inh, psp_inh, when, up, down, base,
              t0, tau_m, tau_exc, tau_inh, n_receptors, h):  # fmt: skip
    """Deliver the n arrivals of one chunk of the calendar."""
    times = calendar.times[b, chunk]
    weights = calendar.weights[b, chunk]
    targets = calendar.targets[b, chunk]
    for k in range(n):
        when[k] = times[k] - t0
    factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, h)
    if n_receptors == 0:
        for k in range(n):
            add_kick(targets[k], weights[k], exc[k], up, down)
    else:
        for k in range(n):
            add_current(targets[k], weights[k], exc[k], psp_exc[k], inh[k], psp_inh[k], up, down, base)


@leaf
def list_calendar(b, slot, calendar, mark, slots, times, values, listed, t0):
    """As ``list_bundle``, the cell's arrivals in the calendar."""
    chunk = calendar.head[b, slot]
    while chunk != NO_CHUNK:
        n = calendar.filled[b, slot] if chunk == calendar.tail[b, slot] else CHUNK
        entered, weights, targets = calendar.times[b, chunk], calendar.weights[b, chunk], calendar.targets[b, chunk]
        for k in range(n):
            place = mark[targets[k]]
            if place >= 0:
                if listed < slots.size:
                    slots[listed] = place
                    times[listed] = entered[k] - t0
                    values[listed] = weights[k]
                listed += 1
        chunk = calendar.following[b, chunk]
    return listed


@leaf
def discard_calendar(b, slot, calendar):
    """Give the chunks of a cell back."""
    chunk = calendar.head[b, slot]
    while chunk != NO_CHUNK:
        calendar.free[b, calendar.n_free[b]] = chunk
        calendar.n_free[b] += 1
        chunk = calendar.following[b, chunk]
    calendar.head[b, slot] = NO_CHUNK
    calendar.tail[b, slot] = NO_CHUNK


@leaf
def enter_emitted(b, cell, n_inputs, n_known, c, cells_a_window, blocks, bundles, table, spikes, calendar):
    """Enter what was emitted in the cell one window ago, and inputs of this cell; False if chunks are lacking.

    Cell by cell of emission, so that the order of sums does not depend on where a run was cut.
    """
    emitted = (cell + 1 - cells_a_window) * c
    fed_until = (cell + 1) * c
    n_fed = spikes.input_times.size
    bundles_of_block = range(blocks.bundle_start[b], blocks.bundle_start[b + 1])
    for j in bundles_of_block:
        if math.isnan(bundles.delay[j]):
            if bundles.source_first[j] < n_inputs:
                prefetch_calendar(j, bundles, table, spikes.input_times, spikes.input_sources, n_fed, fed_until)
            else:
                prefetch_calendar(j, bundles, table, spikes.times, spikes.sources, n_known, emitted)
    for j in bundles_of_block:
        if math.isnan(bundles.delay[j]):
            if bundles.source_first[j] < n_inputs:
                fits = fill_calendar(
                    b, cell, j, bundles, table, calendar, spikes.input_times, spikes.input_sources, n_fed, fed_until, c
                )
            else:
                fits = fill_calendar(
                    b, cell, j, bundles, table, calendar, spikes.times, spikes.sources, n_known, emitted, c
                )
            if not fits:
                return False
    return True
