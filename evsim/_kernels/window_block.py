"""One block of neurons through the cells of a window.

In each cell all inputs are summed first, without order (``window_inputs``). One pass over the neurons then flows
them to the cell's end and bounds how high each may have come: positive input alone, as early as possible. Only
those whose bound reaches the threshold, or that leave refractoriness, are walked through their arrivals in order.
What happens to a neuron depends on its own state and input alone, and a cell changes nothing before it is complete:
where a buffer is too small, the caller enlarges it and calls again.
"""

import math

from .jit import leaf
from .lif import psp
from .walk import walk
from .window_arrays import FULL_CALENDAR, FULL_EVENTS, FULL_FOUND, RUNNING
from .window_inputs import (
    add_bundle,
    add_calendar,
    add_events,
    announce,
    arrivals_of,
    discard_calendar,
    draw_drives,
    factors_of,
    fill_calendar,
    list_bundle,
    list_calendar,
    list_events,
    sort_by_slot,
)

_MARGIN = 1e-11
"""Relative room for the rounding of sums in the bounds."""

_STRETCH = 64
"""Bounds compared at a time: most stretches hold none that reaches the threshold."""


@leaf
def hold(u_new, top, u_reset, release, width, t0, t1, keep_input):
    """Refractory neurons: clamp those held beyond t1, walk those released before."""
    for n in range(width):
        top[n] = -math.inf if release[n] >= t1 else (math.inf if release[n] > t0 else top[n])
    if keep_input:
        for n in range(width):
            u_new[n] = u_reset[n] + u_new[n] if release[n] == t1 else u_new[n]
    else:
        for n in range(width):
            u_new[n] = u_reset[n] if release[n] >= t1 else u_new[n]


@leaf
def choose(top, theta, width, chosen):
    """Neurons whose bound reaches the threshold, in order; returns how many."""
    found = 0
    for first in range(0, width, _STRETCH):
        last = min(first + _STRETCH, width)
        hits = 0
        for n in range(first, last):
            hits += top[n] >= theta[n]
        if hits > 0:
            for n in range(first, last):
                if top[n] >= theta[n]:
                    chosen[found] = n
                    found += 1
    return found


@leaf
def flow_kicked(u_new, top, up, down, width, h, tau_m):
    """Delta synapses: potentials h ms later, and bounds.

    up : u at the start plus all positive kicks, each times exp(t/tau_m) of its time; down : the negative kicks
    """
    # Loops of few arrays each: the compiler gives up on vectors where it must compare many addresses.
    loss = math.expm1(-h / tau_m)
    for n in range(width):
        v = up[n] + down[n]
        u_new[n] = v + v * loss
    for n in range(width):
        top[n] = (up[n] if up[n] > 0.0 else up[n] + up[n] * loss) + _MARGIN * abs(up[n])


@leaf
def flow_driven(
    u, u_new, exc_new, inh_new, top, up, down, base, width, h, tau_m, tau_exc, tau_inh, n_receptors
):
    """Exponential synapses: states h ms later, and bounds.

    base, up, down : the state at the start (u, positive and negative current) that would have led to the same end
    """
    rise = h / tau_m
    for n in range(width):
        gain = up[n] - u[n]
        top[n] = u[n] + (gain if gain > 0.0 else 0.0) * rise + _MARGIN * (abs(u[n]) + up[n])
    # The same factor cell after cell: rounded itself it would add up, its distance from 1 does not.
    loss = math.expm1(-h / tau_m)
    loss_exc = math.expm1(-h / tau_exc)
    psp_exc = psp(h, tau_m, tau_exc)
    if n_receptors == 1:
        for n in range(width):
            a = up[n] + down[n]
            exc_new[n] = a + a * loss_exc
        for n in range(width):
            u_new[n] = base[n] + (base[n] * loss + (up[n] + down[n]) * psp_exc)
    else:
        loss_inh = math.expm1(-h / tau_inh)
        psp_inh = psp(h, tau_m, tau_inh)
        for n in range(width):
            exc_new[n] = up[n] + up[n] * loss_exc
        for n in range(width):
            inh_new[n] = down[n] + down[n] * loss_inh
        for n in range(width):
            u_new[n] = base[n] + (base[n] * loss + up[n] * psp_exc + down[n] * psp_inh)


@leaf
def run_block(
    b, to_cell, c, cells_a_window, n_inputs, n_known,
    neurons, blocks, bundles, table, drives, spikes, found, calendar,
    scratch, events, lists, wide, mark, chosen, drive_counts, cursors,
):  # fmt: skip
    """Carry block b through cells ``blocks.cell[b]`` ... ``to_cell - 1``; returns RUNNING or what is full.

    c : length of a cell, ms; n_known : number of known spikes; scratch : (7, width) float64; events : (6, n)
    float64 and wide : (4, n) int64, for the arrivals of a cell; lists : (4, m) float64 for those of walked neurons;
    mark : (width,) all -1, chosen : (width,), drive_counts and cursors : one for each drive and bundle of a block
    """
    first = blocks.first[b]
    width = blocks.width[b]
    end = first + width
    u = neurons.u[first:end]
    i_exc = neurons.i_exc[first:end]
    i_inh = neurons.i_inh[first:end]
    release = neurons.release[first:end]
    theta = neurons.theta[first:end]
    u_reset = neurons.u_reset[first:end]
    t_ref = neurons.t_ref[first:end]
    tau_m = blocks.tau_m[b]
    tau_exc = blocks.tau_exc[b]
    tau_inh = blocks.tau_inh[b]
    peak = blocks.peak[b]
    n_receptors = blocks.n_receptors[b]
    keep_input = blocks.keep_input[b]
    up, down, base = scratch[0][:width], scratch[1][:width], scratch[2][:width]
    u_new, exc_new, inh_new = scratch[3][:width], scratch[4][:width], scratch[5][:width]
    top = scratch[6][:width]
    when, exc, psp_exc = events[0], events[1], events[2]
    inh = exc if n_receptors < 2 else events[3]
    psp_inh = psp_exc if n_receptors < 2 else events[4]
    drive_when = events[5]
    drive_targets = wide[0]
    who = wide[1]
    slots = wide[2]
    first_bundle = blocks.bundle_start[b]
    some_bundles = range(first_bundle, blocks.bundle_start[b + 1])
    first_drive = blocks.drive_start[b]
    last_drive = blocks.drive_start[b + 1]

    n_given = spikes.input_times.size
    has_calendar = False
    for j in some_bundles:
        has_calendar = has_calendar or math.isnan(bundles.delay[j])
    slot = 0
    while blocks.cell[b] < to_cell:
        cell = blocks.cell[b]
        t0 = cell * c
        t1 = (cell + 1) * c
        if has_calendar:
            slot = cell % calendar.head.shape[1]
            # Emission by emission cell, so that the order of sums does not depend on where a run was cut.
            emitted = (cell + 1 - cells_a_window) * c
            for j in some_bundles:
                if math.isnan(bundles.delay[j]):
                    if bundles.source_first[j] < n_inputs:
                        announce(j, bundles, table, spikes.input_times, spikes.input_sources, n_given, t1)
                    else:
                        announce(j, bundles, table, spikes.times, spikes.sources, n_known, emitted)
            for j in some_bundles:
                if math.isnan(bundles.delay[j]):
                    if bundles.source_first[j] < n_inputs:
                        fits = fill_calendar(
                            b, j, bundles, table, calendar, spikes.input_times, spikes.input_sources, n_given, t1, c
                        )
                    else:
                        fits = fill_calendar(
                            b, j, bundles, table, calendar, spikes.times, spikes.sources, n_known, emitted, c
                        )
                    if not fits:
                        return FULL_CALENDAR
        n_events = 0
        for n in range(width):
            down[n] = 0.0
        if n_receptors == 0:
            for n in range(width):
                up[n] = u[n]
        else:
            for n in range(width):
                base[n] = u[n]
            for n in range(width):
                up[n] = max(i_exc[n], 0.0)
            for n in range(width):
                down[n] = min(i_exc[n], 0.0) + i_inh[n]
        for j in some_bundles:
            if math.isnan(bundles.delay[j]):
                continue
            if bundles.source_first[j] < n_inputs:
                n, cursor = arrivals_of(
                    spikes.input_times, spikes.input_sources, n_given, bundles.cursor[j],
                    bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
                )  # fmt: skip
            else:
                n, cursor = arrivals_of(
                    spikes.times, spikes.sources, n_known, bundles.cursor[j],
                    bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
                )  # fmt: skip
            if n < 0:
                return FULL_EVENTS
            cursors[j - first_bundle] = cursor
            if n > 0:
                factors_of(when, n, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, c)
                n_events += add_bundle(
                    who, n, table.starts, bundles.row[j], table.targets, bundles.target_at[j],
                    table.weights, bundles.weight_at[j], bundles.weight[j],
                    exc, psp_exc, inh, psp_inh, up, down, base, n_receptors,
                )  # fmt: skip
        if has_calendar:
            n_events += add_calendar(
                b, slot, calendar, exc, psp_exc, inh, psp_inh, when, up, down, base,
                t0, tau_m, tau_exc, tau_inh, n_receptors, c,
            )  # fmt: skip
        n_drive = draw_drives(first_drive, last_drive, drives, cell, drive_when, drive_targets, drive_counts, t0, t1)
        if n_drive > drive_when.size:
            return FULL_EVENTS
        if n_drive > 0:
            factors_of(drive_when, n_drive, exc, psp_exc, inh, psp_inh, tau_m, tau_exc, tau_inh, n_receptors, c)
            a = 0
            for d in range(first_drive, last_drive):
                z = a + drive_counts[d - first_drive]
                add_events(
                    drive_targets[a:z], z - a, drives.weight[d],
                    exc[a:z], psp_exc[a:z], inh[a:z], psp_inh[a:z], up, down, base, n_receptors,
                )  # fmt: skip
                a = z
            n_events += n_drive
        if n_receptors == 0:
            flow_kicked(u_new, top, up, down, width, c, tau_m)
        else:
            flow_driven(
                u, u_new, exc_new, inh_new, top, up, down, base, width, c, tau_m, tau_exc, tau_inh, n_receptors
            )
        hold(u_new, top, u_reset, release, width, t0, t1, keep_input)
        n_chosen = choose(top, theta, width, chosen)
        n_found = found.n[b]
        grazing = 0
        if n_chosen > 0:
            for q in range(n_chosen):
                mark[chosen[q]] = q
            listed = 0
            for j in some_bundles:
                if math.isnan(bundles.delay[j]):
                    continue
                if bundles.source_first[j] < n_inputs:
                    n, _ = arrivals_of(
                        spikes.input_times, spikes.input_sources, n_given, bundles.cursor[j],
                        bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
                    )  # fmt: skip
                else:
                    n, _ = arrivals_of(
                        spikes.times, spikes.sources, n_known, bundles.cursor[j],
                        bundles.source_first[j], bundles.source_size[j], bundles.delay[j], t0, t1, when, who,
                    )  # fmt: skip
                listed = list_bundle(
                    who, when, n, table.starts, bundles.row[j], table.targets, bundles.target_at[j],
                    table.weights, bundles.weight_at[j], bundles.weight[j], mark, slots, lists[0], lists[1], listed,
                )  # fmt: skip
            if has_calendar:
                listed = list_calendar(b, slot, calendar, mark, slots, lists[0], lists[1], listed, t0)
            a = 0
            for d in range(first_drive, last_drive):
                z = a + drive_counts[d - first_drive]
                listed = list_events(
                    drive_targets[a:z], drive_when[a:z], z - a, drives.weight[d], mark, slots,
                    lists[0], lists[1], listed,
                )  # fmt: skip
                a = z
            for q in range(n_chosen):
                mark[chosen[q]] = -1
            if listed > slots.size:
                return FULL_EVENTS
            borders = wide[3]
            if n_chosen + 1 > borders.size:
                return FULL_EVENTS
            sort_by_slot(slots, lists[0], lists[1], listed, n_chosen, borders, lists[2], lists[3])
            for q in range(n_chosen):
                n = chosen[q]
                before = n_found
                u_new[n], exc_new[n], inh_new[n], free, n_found, touched = walk(
                    lists[2], lists[3], borders[q], borders[q + 1], u[n], i_exc[n], i_inh[n], release[n], t0, t1,
                    theta[n], u_reset[n], t_ref[n], tau_m, tau_exc, tau_inh, peak, n_receptors, keep_input,
                    found.times[b], found.currents[b], n_found,
                )  # fmt: skip
                grazing += touched
                if n_found > found.times.shape[1]:
                    return FULL_FOUND
                for k in range(before, n_found):
                    found.neurons[b, k] = n_inputs + first + n
                # Committed below; a full buffer in a later neuron must find the old value.
                top[n] = free
        for q in range(n_chosen):
            release[chosen[q]] = top[chosen[q]]
        for n in range(width):
            u[n] = u_new[n]
        if n_receptors > 0:
            for n in range(width):
                i_exc[n] = exc_new[n]
        if n_receptors > 1:
            for n in range(width):
                i_inh[n] = inh_new[n]
        for j in some_bundles:
            if not math.isnan(bundles.delay[j]):
                bundles.cursor[j] = cursors[j - first_bundle]
        if has_calendar:
            discard_calendar(b, slot, calendar)
        found.n[b] = n_found
        blocks.events[b] += n_events
        blocks.grazing[b] += grazing
        blocks.cell[b] = cell + 1
    return RUNNING
