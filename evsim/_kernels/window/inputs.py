"""Inputs of a block within one cell: summed for all neurons, then listed again for the few that may spike.

Sums need no order, so arrivals are taken bundle by bundle, then from the calendar, then from the drives. Listing
takes the same way, so that equal times come in the same order.
"""

import math

import numpy as np

from ..jit import leaf, stage
from ..random.drive import drive_cell
from .arrays import CHUNK, NO_CHUNK
from .calendar import add_chunk, list_calendar
from .factors import Factors, Response, add_current, add_kick, factors_of
from .prefetch import LINE, prefetch, prefetch_stretch
from .sums import LEAST, PART, move_part, start_totals

_AHEAD = 6
"""Spikes between asking for a slice of synapses and delivering it; where it lies is asked for earlier still."""


@leaf
def arrivals_of(times, sources, n, cursor, first, size, delay, t0, t1, when, who):
    """Spikes of sources ``first`` + (0 ... size - 1) that arrive in [t0, t1), from spike ``cursor`` on.

    when, who : written, times after t0 and sources after ``first``. Returns (how many, the new cursor); how
    many is -1 where they do not fit.
    """
    found = 0
    while cursor < n:
        t = times[cursor] + delay
        if t >= t1:
            break
        s = sources[cursor] - first
        if s >= 0 and s < size:
            if found == when.size:
                return -1, cursor
            when[found] = t - t0
            who[found] = s
            found += 1
        cursor += 1
    return found, cursor


@leaf
def bundle_arrivals(j, bundles, spikes, n_known, n_inputs, t0, t1, when, who):
    """``arrivals_of`` for bundle j, whose sources are inputs or neurons; n_known : spikes of neurons so far."""
    if bundles.source_first[j] < n_inputs:
        return arrivals_of(
            spikes.input_times, spikes.input_sources, spikes.input_times.size, bundles.cursor[j],
            bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
        )  # fmt: skip
    return arrivals_of(
        spikes.times, spikes.sources, n_known, bundles.cursor[j],
        bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
    )  # fmt: skip


@leaf
def add_bundle(j, who, begin, end, n, bundles, table, factors, sums, n_receptors):
    """Deliver spikes ``begin`` ... ``end - 1`` of n of bundle j; returns the number of synapses."""
    starts, targets, weights = table.starts, table.targets, table.weights
    row, at, weight_at, weight = bundles.row[j], bundles.target_at[j], bundles.weight_at[j], bundles.weight[j]
    exc, psp_exc, inh, psp_inh = factors
    up, down, base = sums
    events = 0
    one = not math.isnan(weight)
    weights_a_line = LINE // weights.itemsize
    if begin == 0:
        for k in range(min(n, 3 * _AHEAD)):
            prefetch(starts, row + who[k])
    for k in range(begin, end):
        if k + 3 * _AHEAD < n:
            prefetch(starts, row + who[k + 3 * _AHEAD])
        ahead = k + _AHEAD
        if ahead < n:
            a = np.int64(starts[row + who[ahead]])
            z = np.int64(starts[row + who[ahead] + 1])
            prefetch_stretch(targets, at + a, at + z, LINE // 2)
            if not one:
                prefetch_stretch(weights, weight_at + a, weight_at + z, weights_a_line)
        a = np.int64(starts[row + who[k]])
        z = np.int64(starts[row + who[k] + 1])
        events += z - a
        if n_receptors == 0:
            if not one:
                own = weights[weight_at + a : weight_at + z]
                for s, m in enumerate(targets[at + a : at + z]):
                    add_kick(m, own[s], exc[k], up, down)
            elif weight > 0.0:
                x = weight * exc[k]
                for m in targets[at + a : at + z]:
                    up[m] += x
            else:
                x = weight * exc[k]
                for m in targets[at + a : at + z]:
                    down[m] += x
        elif not one:
            own = weights[weight_at + a : weight_at + z]
            for s, m in enumerate(targets[at + a : at + z]):
                add_current(m, own[s], exc[k], psp_exc[k], inh[k], psp_inh[k], up, down, base)
        elif weight > 0.0:
            x = weight * exc[k]
            y = weight * psp_exc[k]
            for m in targets[at + a : at + z]:
                up[m] += x
                base[m] += y
        else:
            x = weight * inh[k]
            y = weight * psp_inh[k]
            for m in targets[at + a : at + z]:
                down[m] += x
                base[m] += y
    return events


@leaf
def add_events(targets, begin, end, weight, factors, sums, n_receptors):
    """Deliver the single arrivals ``begin`` ... ``end - 1`` of one weight."""
    exc, psp_exc, inh, psp_inh = factors
    up, down, base = sums
    if n_receptors == 0:
        side = up if weight > 0.0 else down
        for k in range(begin, end):
            side[targets[k]] += weight * exc[k]
    elif weight > 0.0:
        for k in range(begin, end):
            m = targets[k]
            up[m] += weight * exc[k]
            base[m] += weight * psp_exc[k]
    else:
        for k in range(begin, end):
            m = targets[k]
            down[m] += weight * inh[k]
            base[m] += weight * psp_inh[k]


@leaf
def draw_drives(first, last, drives, cell, when, targets, counts, t0, t1):
    """Draw the cell's events of drives ``first`` ... ``last - 1`` one after the other; counts : events of each.

    Returns how many there are; more than ``when.size``: they did not fit.
    """
    n = 0
    for d in range(first, last):
        a = drives.table_at[d]
        z = a + drives.width[d] if a >= 0 else 0
        a = max(a, 0)
        found = drive_cell(
            drives.streams[d], cell, drives.mean[d], drives.first[d], drives.width[d],
            drives.threshold[a:z], drives.alias[a:z], when[n:], targets[n:], t0, t1,
        )  # fmt: skip
        counts[d - first] = found
        n += found
        if n > when.size:
            return n
    return n


@leaf
def list_bundle(j, n, bundles, table, mark, arrivals, listed):
    """Append the n arrivals of bundle j at marked neurons; returns the new length, beyond the lists' size if they are
    full."""
    starts, targets, weights = table.starts, table.targets, table.weights
    row, at, weight_at, weight = bundles.row[j], bundles.target_at[j], bundles.weight_at[j], bundles.weight[j]
    slots, times, values = arrivals.slots, arrivals.times, arrivals.values
    one = not math.isnan(weight)
    for k in range(n):
        a = np.int64(starts[row + arrivals.who[k]])
        z = np.int64(starts[row + arrivals.who[k] + 1])
        for s, m in enumerate(targets[at + a : at + z]):
            slot = mark[m]
            if slot >= 0:
                if listed < slots.size:
                    slots[listed] = slot
                    times[listed] = arrivals.when[k]
                    values[listed] = weight if one else weights[weight_at + a + s]
                listed += 1
    return listed


@leaf
def list_events(begin, end, weight, mark, arrivals, listed):
    """As ``list_bundle``, the events ``begin`` ... ``end - 1`` of drives, of one weight."""
    targets, when = arrivals.drive_targets, arrivals.drive_when
    slots, times, values = arrivals.slots, arrivals.times, arrivals.values
    for k in range(begin, end):
        slot = mark[targets[k]]
        if slot >= 0:
            if listed < slots.size:
                slots[listed] = slot
                times[listed] = when[k]
                values[listed] = weight
            listed += 1
    return listed


@stage
def _part_for(more, terms, in_parts, b, neurons, blocks, own):
    """Is there room for ``more`` terms a neuron in this part of the sums? If not it goes to the totals.

    Returns (terms in the part, whether there are totals).
    """
    if terms + more <= PART or terms == 0.0:
        return terms, in_parts
    first = blocks.first[b]
    width = blocks.width[b]
    if not in_parts:
        start_totals(own, neurons.rest_exc[first : first + width], neurons.rest_inh[first : first + width], width)
    move_part(own, width, blocks.n_receptors[b])
    return 0.0, True


@stage
def _add_bundles(b, cell, n_known, neurons, connections, spikes, clock, own, arrivals, factors, response):
    """Inputs through synapses of one delay a bundle. Returns (how many, -1 for too little room; terms in the open part
    of the sums; whether there are totals)."""
    blocks, bundles, table = connections.blocks, connections.bundles, connections.table
    width = blocks.width[b]
    t0, t1 = cell * clock.c, (cell + 1) * clock.c
    total = 0
    terms, in_parts = 0.0, False
    first = blocks.bundle_start[b]
    for j in range(first, blocks.bundle_start[b + 1]):
        if math.isnan(bundles.delay[j]):
            continue
        n, cursor = bundle_arrivals(j, bundles, spikes, n_known, clock.n_inputs, t0, t1, arrivals.when, arrivals.who)
        if n < 0:
            return -1, terms, in_parts
        own.cursors[j - first] = cursor
        if n == 0:
            continue
        factors_of(arrivals.when, n, factors, response)
        row, size = bundles.row[j], bundles.source_size[j]
        synapses = np.int64(table.starts[row + size]) - np.int64(table.starts[row])
        a_spike = max(synapses / (size * width), LEAST)
        begin = 0
        while begin < n:
            terms, in_parts = _part_for(a_spike, terms, in_parts, b, neurons, blocks, own)
            end = min(n, begin + max(int((PART - terms) / a_spike), 1))
            total += add_bundle(
                j, arrivals.who, begin, end, n, bundles, table, factors, (own.up, own.down, own.base),
                response.n_receptors,
            )  # fmt: skip
            terms += (end - begin) * a_spike
            begin = end
    return total, terms, in_parts


@stage
def _add_calendar(b, slot, t0, terms, in_parts, neurons, blocks, calendar, own, arrivals, factors, response):
    """Inputs through synapses with delays of their own; returns as ``_add_bundles``."""
    total = 0
    chunk = calendar.head[b, slot]
    while chunk != NO_CHUNK:
        n = calendar.filled[b, slot] if chunk == calendar.tail[b, slot] else CHUNK
        terms, in_parts = _part_for(CHUNK / blocks.width[b], terms, in_parts, b, neurons, blocks, own)
        add_chunk(b, chunk, n, calendar, arrivals.when, factors, (own.up, own.down, own.base), t0, response)
        terms += n / blocks.width[b]
        total += n
        chunk = calendar.following[b, chunk]
    return total, terms, in_parts


@stage
def _add_drives(b, cell, terms, in_parts, neurons, connections, own, arrivals, factors, response):
    """Events of the Poisson inputs; returns as ``_add_bundles``."""
    blocks, drives = connections.blocks, connections.drives
    first = blocks.drive_start[b]
    last = blocks.drive_start[b + 1]
    when, targets = arrivals.drive_when, arrivals.drive_targets
    t0, t1 = cell * response.h, (cell + 1) * response.h
    n = draw_drives(first, last, drives, cell, when, targets, own.drive_counts, t0, t1)
    if n > when.size:
        return -1, terms, in_parts
    if n > 0:
        factors_of(when, n, factors, response)
    width = blocks.width[b]
    begin = 0
    for d in range(first, last):
        end = begin + own.drive_counts[d - first]
        while begin < end:
            terms, in_parts = _part_for(1.0 / width, terms, in_parts, b, neurons, blocks, own)
            until = min(end, begin + max(int((PART - terms) * width), 1))
            add_events(
                targets, begin, until, drives.weight[d], factors, (own.up, own.down, own.base), response.n_receptors
            )
            terms += (until - begin) / width
            begin = until
    return n, terms, in_parts


@leaf
def add_inputs(b, cell, slot, n_known, neurons, connections, spikes, calendar, clock, own, arrivals):
    """Add all inputs of block b in a cell to ``own.up``, ``own.down`` and ``own.base``.

    Returns (how many there were, whether there are totals of complete parts); -1 : ``arrivals`` has too little room.
    slot : of the cell in the calendar, -1 for none
    """
    blocks = connections.blocks
    t0 = cell * clock.c
    response = Response(blocks.tau_m[b], blocks.tau_exc[b], blocks.tau_inh[b], blocks.n_receptors[b], clock.c)
    # With one current both signs share their factors.
    two = response.n_receptors == 2
    factors = Factors(
        arrivals.exc, arrivals.psp_exc, arrivals.inh if two else arrivals.exc,
        arrivals.psp_inh if two else arrivals.psp_exc,
    )  # fmt: skip
    total, terms, in_parts = _add_bundles(
        b, cell, n_known, neurons, connections, spikes, clock, own, arrivals, factors, response
    )
    if total < 0:
        return -1, False
    if slot >= 0:
        n, terms, in_parts = _add_calendar(
            b, slot, t0, terms, in_parts, neurons, blocks, calendar, own, arrivals, factors, response
        )
        total += n
    n, terms, in_parts = _add_drives(
        b, cell, terms, in_parts, neurons, connections, own, arrivals, factors, response
    )
    return (-1 if n < 0 else total + n), in_parts


@leaf
def list_inputs(b, cell, slot, n_known, connections, spikes, calendar, clock, own, arrivals):
    """List the inputs of the marked neurons after ``add_inputs``: slots, times, values of ``arrivals``.

    Returns how many there are; more than fit: the lists are full.
    """
    blocks, bundles, drives = connections.blocks, connections.bundles, connections.drives
    t0 = cell * clock.c
    t1 = (cell + 1) * clock.c
    listed = 0
    for j in range(blocks.bundle_start[b], blocks.bundle_start[b + 1]):
        if math.isnan(bundles.delay[j]):
            continue
        n, _ = bundle_arrivals(j, bundles, spikes, n_known, clock.n_inputs, t0, t1, arrivals.when, arrivals.who)
        listed = list_bundle(j, n, bundles, connections.table, own.mark, arrivals, listed)
    if slot >= 0:
        listed = list_calendar(b, slot, calendar, own.mark, arrivals, listed, t0)
    first = blocks.drive_start[b]
    begin = 0
    for d in range(first, blocks.drive_start[b + 1]):
        end = begin + own.drive_counts[d - first]
        listed = list_events(begin, end, drives.weight[d], own.mark, arrivals, listed)
        begin = end
    return listed
