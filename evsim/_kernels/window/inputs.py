"""Inputs of a block within one cell: summed for all neurons, then listed again for the few that may spike.

Sums need no order, so arrivals are taken bundle by bundle, then from the calendar, then from the drives. Listing
takes the same way, so that equal times come in the same order.
"""

import math

import numpy as np

from ..jit import leaf
from ..random.drive import drive_cell
from .arrays import CHUNK, NO_CHUNK
from .calendar import add_chunk, list_calendar
from .factors import add_current, add_kick, factors_of
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
    n_arrivals = 0
    while cursor < n:
        t = times[cursor] + delay
        if t >= t1:
            break
        s = sources[cursor] - first
        if s >= 0 and s < size:
            if n_arrivals == when.size:
                return -1, cursor
            when[n_arrivals] = t - t0
            who[n_arrivals] = s
            n_arrivals += 1
        cursor += 1
    return n_arrivals, cursor


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
def add_bundle(
    who, begin, end, n, starts, row, targets, at, weights, weight_at, weight,
    exc, psp_exc, inh, psp_inh, up, down, base, n_receptors,
):  # fmt: skip
    """Deliver spikes ``begin`` ... ``end - 1`` of n of one bundle; returns the number of synapses."""
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
                row_weights = weights[weight_at + a : weight_at + z]
                for s, m in enumerate(targets[at + a : at + z]):
                    add_kick(m, row_weights[s], exc[k], up, down)
            elif weight > 0.0:
                x = weight * exc[k]
                for m in targets[at + a : at + z]:
                    up[m] += x
            else:
                x = weight * exc[k]
                for m in targets[at + a : at + z]:
                    down[m] += x
        elif not one:
            row_weights = weights[weight_at + a : weight_at + z]
            for s, m in enumerate(targets[at + a : at + z]):
                add_current(m, row_weights[s], exc[k], psp_exc[k], inh[k], psp_inh[k], up, down, base)
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
def add_events(targets, n, weight, exc, psp_exc, inh, psp_inh, up, down, base, n_receptors):
    """Deliver n single arrivals of one weight."""
    if n_receptors == 0:
        side = up if weight > 0.0 else down
        for k in range(n):
            side[targets[k]] += weight * exc[k]
    elif weight > 0.0:
        for k in range(n):
            m = targets[k]
            up[m] += weight * exc[k]
            base[m] += weight * psp_exc[k]
    else:
        for k in range(n):
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
        n_events = drive_cell(
            drives.streams[d], cell, drives.mean[d], drives.first[d], drives.width[d],
            drives.threshold[a:z], drives.alias[a:z], when[n:], targets[n:], t0, t1,
        )  # fmt: skip
        counts[d - first] = n_events
        n += n_events
        if n > when.size:
            return n
    return n


@leaf
def list_bundle(
    who, when, n, starts, row, targets, at, weights, weight_at, weight, mark, slots, times, values, listed
):
    """Append the arrivals of marked neurons; returns the new length, beyond the lists' size if they are full."""
    one = not math.isnan(weight)
    for k in range(n):
        a = np.int64(starts[row + who[k]])
        z = np.int64(starts[row + who[k] + 1])
        for s, m in enumerate(targets[at + a : at + z]):
            slot = mark[m]
            if slot >= 0:
                if listed < slots.size:
                    slots[listed] = slot
                    times[listed] = when[k]
                    values[listed] = weight if one else weights[weight_at + a + s]
                listed += 1
    return listed


@leaf
def list_events(targets, when, n, weight, mark, slots, times, values, listed):
    """As ``list_bundle``, single arrivals of one weight."""
    for k in range(n):
        slot = mark[targets[k]]
        if slot >= 0:
            if listed < slots.size:
                slots[listed] = slot
                times[listed] = when[k]
                values[listed] = weight
            listed += 1
    return listed


@leaf
def complete_part(b, in_parts, neurons, blocks, scratch):
    """Parts of the sums of block b go to the totals; in_parts : some did before."""
    first = blocks.first[b]
    width = blocks.width[b]
    if not in_parts:
        start_totals(scratch, neurons.rest_exc[first : first + width], neurons.rest_inh[first : first + width], width)
    move_part(scratch, width, blocks.n_receptors[b])


@leaf
def add_inputs(
    b, cell, slot, n_inputs, n_known, c, neurons, blocks, bundles, table, drives, spikes, calendar, scratch, arrivals
):
    """Add all inputs of block b in a cell to ``scratch.up``, ``scratch.down`` and ``scratch.base``.

    Returns (how many there were, whether there are totals of complete parts); -1 : ``arrivals`` has too little room.
    slot : of the cell in the calendar, -1 for none
    """
    t0 = cell * c
    t1 = (cell + 1) * c
    tau_m, tau_exc, tau_inh = blocks.tau_m[b], blocks.tau_exc[b], blocks.tau_inh[b]
    n_receptors = blocks.n_receptors[b]
    width = blocks.width[b]
    when, exc, psp_exc = arrivals.when, arrivals.exc, arrivals.psp_exc
    # With one current both signs share their factors.
    inh = exc if n_receptors < 2 else arrivals.inh
    psp_inh = psp_exc if n_receptors < 2 else arrivals.psp_inh
    up, down, base = scratch.up, scratch.down, scratch.base
    total = 0
    terms = 0.0
    in_parts = False
    first = blocks.bundle_start[b]
    for j in range(first, blocks.bundle_start[b + 1]):
        if math.isnan(bundles.delay[j]):
            continue
        n, cursor = bundle_arrivals(j, bundles, spikes, n_known, n_inputs, t0, t1, when, arrivals.who)
        if n < 0:
            return -1, False
        scratch.cursors[j - first] = cursor
        if n == 0:
            continue
        factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, c)
        row, size = bundles.row[j], bundles.source_size[j]
        synapses = np.int64(table.starts[row + size]) - np.int64(table.starts[row])
        a_spike = max(synapses / (size * width), LEAST)
        begin = 0
        while begin < n:
            if terms + a_spike > PART and terms > 0.0:
                complete_part(b, in_parts, neurons, blocks, scratch)
                in_parts = True
                terms = 0.0
            end = min(n, begin + max(int((PART - terms) / a_spike), 1))
            total += add_bundle(
                arrivals.who, begin, end, n, table.starts, row, table.targets, bundles.target_at[j],
                table.weights, bundles.weight_at[j], bundles.weight[j],
                exc, psp_exc, inh, psp_inh, up, down, base, n_receptors,
            )  # fmt: skip
            terms += (end - begin) * a_spike
            begin = end
    if slot >= 0:
        chunk = calendar.head[b, slot]
        while chunk != NO_CHUNK:
            n = calendar.filled[b, slot] if chunk == calendar.tail[b, slot] else CHUNK
            if terms + CHUNK / width > PART and terms > 0.0:
                complete_part(b, in_parts, neurons, blocks, scratch)
                in_parts = True
                terms = 0.0
            add_chunk(
                b, chunk, n, calendar, exc, psp_exc, inh, psp_inh, when, up, down, base,
                t0, tau_m, tau_exc, tau_inh, n_receptors, c,
            )  # fmt: skip
            terms += n / width
            total += n
            chunk = calendar.following[b, chunk]
    first = blocks.drive_start[b]
    last = blocks.drive_start[b + 1]
    when, targets = arrivals.drive_when, arrivals.drive_targets
    n = draw_drives(first, last, drives, cell, when, targets, scratch.drive_counts, t0, t1)
    if n > when.size:
        return -1, False
    if n > 0:
        factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, c)
    a = 0
    for d in range(first, last):
        z = a + scratch.drive_counts[d - first]
        while a < z:
            if terms + 1.0 / width > PART:
                complete_part(b, in_parts, neurons, blocks, scratch)
                in_parts = True
                terms = 0.0
            y = min(z, a + max(int((PART - terms) * width), 1))
            add_events(
                targets[a:y], y - a, drives.weight[d],
                exc[a:y], psp_exc[a:y], inh[a:y], psp_inh[a:y], up, down, base, n_receptors,
            )  # fmt: skip
            terms += (y - a) / width
            a = y
    return total + n, in_parts


@leaf
def list_inputs(
    b, cell, slot, n_inputs, n_known, c, blocks, bundles, table, drives, spikes, calendar, scratch, arrivals
):
    """List the inputs of the marked neurons after ``add_inputs``: slots, times, values of ``arrivals``.

    Returns how many there are; more than fit: the lists are full.
    """
    t0 = cell * c
    t1 = (cell + 1) * c
    mark, slots, times, values = scratch.mark, arrivals.slots, arrivals.times, arrivals.values
    listed = 0
    for j in range(blocks.bundle_start[b], blocks.bundle_start[b + 1]):
        if math.isnan(bundles.delay[j]):
            continue
        n, _ = bundle_arrivals(j, bundles, spikes, n_known, n_inputs, t0, t1, arrivals.when, arrivals.who)
        listed = list_bundle(
            arrivals.who, arrivals.when, n, table.starts, bundles.row[j], table.targets, bundles.target_at[j],
            table.weights, bundles.weight_at[j], bundles.weight[j], mark, slots, times, values, listed,
        )  # fmt: skip
    if slot >= 0:
        listed = list_calendar(b, slot, calendar, mark, slots, times, values, listed, t0)
    first = blocks.drive_start[b]
    a = 0
    for d in range(first, blocks.drive_start[b + 1]):
        z = a + scratch.drive_counts[d - first]
        listed = list_events(
            arrivals.drive_targets[a:z], arrivals.drive_when[a:z], z - a, drives.weight[d],
            mark, slots, times, values, listed,
        )  # fmt: skip
        a = z
    return listed
