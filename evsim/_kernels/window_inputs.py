"""Inputs of a block within one cell: summed for all neurons, then listed again for the few that may spike.

Sums need no order, so arrivals are taken bundle by bundle. The same loops are written twice, once to add and once
to list: what they share is which arrivals belong to the cell.
"""

import math

import numpy as np

from .drive import drive_cell
from .jit import formula, leaf
from .prefetch import LINE, prefetch, prefetch_stretch
from .series import current_factors, kick_factors
from .window_arrays import CHUNK, NO_CHUNK

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


@formula
def _add_kick(n, w, e, up, down):
    if w > 0.0:
        up[n] += w * e
    else:
        down[n] += w * e


@formula
def _add_current(n, w, exc, psp_exc, inh, psp_inh, up, down, base):
    if w > 0.0:
        up[n] += w * exc
        base[n] += w * psp_exc
    else:
        down[n] += w * inh
        base[n] += w * psp_inh


@leaf
def add_bundle(
    who, n, starts, row, targets, at, weights, weight_at, weight,
    exc, psp_exc, inh, psp_inh, up, down, base, n_receptors,
):  # fmt: skip
    """Deliver n spikes of one bundle; returns the number of synapses."""
    events = 0
    one = not math.isnan(weight)
    weights_a_line = LINE // weights.itemsize
    for k in range(min(n, 3 * _AHEAD)):
        prefetch(starts, row + who[k])
    for k in range(n):
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
                    _add_kick(m, own[s], exc[k], up, down)
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
                _add_current(m, own[s], exc[k], psp_exc[k], inh[k], psp_inh[k], up, down, base)
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
def factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, h):
    """Factors of n arrivals for each receptor (one receptor: both signs share them)."""
    if n_receptors == 0:
        kick_factors(when, n, exc, tau_m, h)
        return
    current_factors(when, n, exc, psp_exc, tau_m, tau_exc, h)
    if n_receptors == 2:
        current_factors(when, n, inh, psp_inh, tau_m, tau_inh, h)


@leaf
def add_calendar(b, slot, calendar, exc, psp_exc, inh, psp_inh, when, up, down, base,
                 t0, tau_m, tau_exc, tau_inh, n_receptors, h):  # fmt: skip
    """Deliver the cell's arrivals from the calendar; returns how many."""
    events = 0
    chunk = calendar.head[b, slot]
    while chunk != NO_CHUNK:
        n = calendar.filled[b, slot] if chunk == calendar.tail[b, slot] else CHUNK
        times = calendar.times[b, chunk]
        weights = calendar.weights[b, chunk]
        targets = calendar.targets[b, chunk]
        for k in range(n):
            when[k] = times[k] - t0
        factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, h)
        if n_receptors == 0:
            for k in range(n):
                _add_kick(targets[k], weights[k], exc[k], up, down)
        else:
            for k in range(n):
                _add_current(targets[k], weights[k], exc[k], psp_exc[k], inh[k], psp_inh[k], up, down, base)
        events += n
        chunk = calendar.following[b, chunk]
    return events


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
def announce(bundle, bundles, table, times, sources, n, until):
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
def fill_calendar(b, bundle, bundles, table, calendar, times, sources, n, until, c):
    """Enter the arrivals of all spikes before ``until``; returns False if the chunks do not suffice."""
    n_cells = calendar.head.shape[1]
    first = bundles.source_first[bundle]
    size = bundles.source_size[bundle]
    weight = bundles.weight[bundle]
    one = not math.isnan(weight)
    row = bundles.row[bundle]
    target_at = bundles.target_at[bundle]
    weight_at = bundles.weight_at[bundle]
    delay_at = bundles.delay_at[bundle]
    k = bundles.cursor[bundle]
    while k < n and times[k] < until:
        s = sources[k] - first
        if s >= 0 and s < size:
            a = np.int64(table.starts[row + s])
            z = np.int64(table.starts[row + s + 1])
            if calendar.n_free[b] < min(z - a, n_cells) + (z - a) // CHUNK + 1:
                bundles.cursor[bundle] = k
                return False
            for j in range(a, z):
                t = times[k] + np.float64(table.delays[delay_at + j])
                cell = int(t / c)
                if cell * c > t:
                    cell -= 1
                elif (cell + 1) * c <= t:
                    cell += 1
                slot = cell % n_cells
                chunk = calendar.tail[b, slot]
                if chunk == NO_CHUNK or calendar.filled[b, slot] == CHUNK:
                    calendar.n_free[b] -= 1
                    new = calendar.free[b, calendar.n_free[b]]
                    calendar.following[b, new] = NO_CHUNK
                    if chunk == NO_CHUNK:
                        calendar.head[b, slot] = new
                    else:
                        calendar.following[b, chunk] = new
                    calendar.tail[b, slot] = new
                    calendar.filled[b, slot] = 0
                    chunk = new
                place = calendar.filled[b, slot]
                calendar.times[b, chunk, place] = t
                calendar.weights[b, chunk, place] = weight if one else np.float64(table.weights[weight_at + j])
                calendar.targets[b, chunk, place] = table.targets[target_at + j]
                calendar.filled[b, slot] = place + 1
        k += 1
    bundles.cursor[bundle] = k
    return True


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
def list_calendar(b, slot, calendar, mark, slots, times, values, listed, t0):
    """As ``list_bundle``, the cell's arrivals in the calendar."""
    chunk = calendar.head[b, slot]
    while chunk != NO_CHUNK:
        n = calendar.filled[b, slot] if chunk == calendar.tail[b, slot] else CHUNK
        for k in range(n):
            mine = mark[calendar.targets[b, chunk, k]]
            if mine >= 0:
                if listed < slots.size:
                    slots[listed] = mine
                    times[listed] = calendar.times[b, chunk, k] - t0
                    values[listed] = calendar.weights[b, chunk, k]
                listed += 1
        chunk = calendar.following[b, chunk]
    return listed


@leaf
def sort_by_slot(slots, times, values, listed, n_slots, start, sorted_times, sorted_values):
    """Group the listed arrivals by slot, each group ordered by time, equal times in their given order.

    start : (n_slots + 1,) written, the borders of the groups
    """
    for k in range(n_slots + 1):
        start[k] = 0
    for k in range(listed):
        start[slots[k] + 1] += 1
    for k in range(n_slots):
        start[k + 1] += start[k]
    for k in range(listed - 1, -1, -1):
        start[slots[k] + 1] -= 1
        at = start[slots[k] + 1]
        sorted_times[at] = times[k]
        sorted_values[at] = values[k]
    # start[j + 1] is now the beginning of group j; its end is the beginning of the next.
    for j in range(n_slots):
        start[j] = start[j + 1]
    start[n_slots] = listed
    for j in range(n_slots):
        for k in range(start[j] + 1, start[j + 1]):
            t = sorted_times[k]
            w = sorted_values[k]
            q = k
            while q > start[j] and sorted_times[q - 1] > t:
                sorted_times[q] = sorted_times[q - 1]
                sorted_values[q] = sorted_values[q - 1]
                q -= 1
            sorted_times[q] = t
            sorted_values[q] = w
