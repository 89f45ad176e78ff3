"""One block of neurons through the cells of a window.

In each cell all inputs are summed first, without order (``window_inputs``). One pass over the neurons then flows
them to the cell's end and bounds how high each may have come: positive input alone, as early as possible. Only
those whose bound reaches the threshold, or that leave refractoriness, are walked through their arrivals in order.
What happens to a neuron depends on its own state and input alone, and a cell changes nothing before it is complete:
where a buffer is too small, the caller enlarges it and calls again.
"""

import math

from ..jit import leaf
from ..neurons.model import NeuronState, neuron_at, neuron_beside
from .arrays import (
    FULL_CALENDAR,
    FULL_EVENTS,
    FULL_FOUND,
    LOSS_EXC,
    LOSS_INH,
    LOSS_M,
    N_STATUS,
    PSP_EXC,
    PSP_INH,
    RUNNING,
    STUCK,
)
from .calendar import discard_calendar, enter_emitted
from .inputs import add_inputs, list_inputs
from .integrate import integrate_events, sort_by_slot
from .sums import start_sums, take_totals

_MARGIN = 1e-11
"""Relative room for the rounding of sums in the bounds."""

_STRETCH = 64
"""Bounds compared at a time: most stretches hold none that reaches the threshold."""


@leaf
def clamp_refractory(u_new, rest_new, top, u_reset, release, width, t0, t1, keep_input):
    """Refractory neurons: clamp those held beyond t1, integrate_events those released before."""
    for n in range(width):
        top[n] = -math.inf if release[n] >= t1 else (math.inf if release[n] > t0 else top[n])
    if keep_input:
        for n in range(width):
            u_new[n] = u_reset[n] + u_new[n] if release[n] == t1 else u_new[n]
    else:
        for n in range(width):
            u_new[n] = u_reset[n] if release[n] >= t1 else u_new[n]
        for n in range(width):
            rest_new[n] = 0.0 if release[n] >= t1 else rest_new[n]


@leaf
def choose(top, theta, width, chosen):
    """Neurons whose bound reaches the threshold, in order; returns how many."""
    n_chosen = 0
    for first in range(0, width, _STRETCH):
        last = min(first + _STRETCH, width)
        hits = 0
        for n in range(first, last):
            hits += top[n] >= theta[n]
        if hits > 0:
            for n in range(first, last):
                if top[n] >= theta[n]:
                    chosen[n_chosen] = n
                    n_chosen += 1
    return n_chosen


@leaf
def add_change(x, x_new, rest, width):
    """x_new, rest : x + x_new + rest as a number and what rounding it loses (Knuth's two-sum, twice).

    x_new holds a product, a multiple of its own last place; the rests are far finer, with what factors have lost among
    them, so they are added last.
    """
    for n in range(width):
        total = x[n] + x_new[n]
        part = total - x[n]
        small = rest[n] + ((x[n] - (total - part)) + (x_new[n] - part))
        x_new[n] = total + small
        part = x_new[n] - total
        rest[n] = (total - (x_new[n] - part)) + (small - part)


@leaf
def flow_kicked(u, u_new, top, up, down, change, width, flow):
    """Delta synapses: potentials at the cell's end, and bounds.

    up, down : the positive and negative kicks, each times exp(t/tau_m) of its time; change : what rounding u has lost,
    rewritten; flow : over a cell, (N_FLOW,)
    """
    # Loops of few arrays each: the compiler gives up on vectors where it must compare many addresses.
    loss, more_loss = flow[LOSS_M], flow[LOSS_M + 1]
    for n in range(width):
        v = u[n] + up[n]
        top[n] = (v if v > 0.0 else v + v * loss) + _MARGIN * (abs(u[n]) + up[n])
    for n in range(width):
        jumps = change[n] + (up[n] + down[n])
        u_new[n] = (u[n] + jumps) * loss
        change[n] = jumps + u[n] * more_loss
    add_change(u, u_new, change, width)


@leaf
def flow_driven(
    u, exc, inh, rest_exc, rest_inh, u_new, exc_new, inh_new, rest_exc_new, rest_inh_new,
    top, up, down, change, width, rise, flow, n_receptors,
):  # fmt: skip
    """Exponential synapses: states at the cell's end, and bounds.

    u + change, exc + up, inh + down (one receptor: exc + up + down) : the state at the start that would have led to the
    same end; change is rewritten; rise : length of the cell / tau_m; flow : over the cell, (N_FLOW,)
    """
    for n in range(width):
        high = (exc[n] if exc[n] > 0.0 else 0.0) + up[n]
        gain = high - u[n]
        top[n] = u[n] + (gain if gain > 0.0 else 0.0) * rise + _MARGIN * (abs(u[n]) + high)
    loss, more_loss = flow[LOSS_M], flow[LOSS_M + 1]
    psp_exc, more_psp_exc = flow[PSP_EXC], flow[PSP_EXC + 1]
    if n_receptors == 1:
        for n in range(width):
            u_new[n] = (u[n] + change[n]) * loss + (exc[n] + (up[n] + down[n])) * psp_exc
            change[n] = change[n] + (exc[n] * more_psp_exc + u[n] * more_loss)
        _fade_cell(exc, rest_exc, up, down, exc_new, rest_exc_new, width, flow[LOSS_EXC], flow[LOSS_EXC + 1])
    else:
        psp_inh, more_psp_inh = flow[PSP_INH], flow[PSP_INH + 1]
        for n in range(width):
            gain = (exc[n] + up[n]) * psp_exc + (inh[n] + down[n]) * psp_inh
            lost = exc[n] * more_psp_exc + (inh[n] * more_psp_inh + u[n] * more_loss)
            u_new[n] = (u[n] + change[n]) * loss + gain
            change[n] = change[n] + lost
        _fade_jumped(exc, rest_exc, up, exc_new, rest_exc_new, width, flow[LOSS_EXC], flow[LOSS_EXC + 1])
        _fade_jumped(inh, rest_inh, down, inh_new, rest_inh_new, width, flow[LOSS_INH], flow[LOSS_INH + 1])
    add_change(u, u_new, change, width)


@leaf
def _fade_cell(current, rest, up, down, new, rest_new, width, loss, more_loss):
    """A current over a cell in which it jumps by up + down, both carried back to its start."""
    for n in range(width):
        jumps = rest[n] + (up[n] + down[n])
        new[n] = (current[n] + jumps) * loss
        rest_new[n] = jumps + current[n] * more_loss
    add_change(current, new, rest_new, width)


@leaf
def _fade_jumped(current, rest, jump, new, rest_new, width, loss, more_loss):
    """``_fade_cell`` with one kind of jumps."""
    for n in range(width):
        jumps = rest[n] + jump[n]
        new[n] = (current[n] + jumps) * loss
        rest_new[n] = jumps + current[n] * more_loss
    add_change(current, new, rest_new, width)


@leaf
def integrate_chosen(b, t0, t1, n_chosen, n_inputs, neurons, blocks, window_spikes, scratch, arrivals):
    """Walk the chosen neurons; their new states go to ``scratch``, their releases to ``scratch.top``.

    Returns (spikes of the block in this window, beyond its room if that is full; grazing peaks, or -1 - k for a
    neuron k that would spike for ever at one instant).
    """
    first = blocks.first[b]
    shared = neuron_at(first, neurons.parameters)
    n_found = window_spikes.n[b]
    grazing = 0
    for q in range(n_chosen):
        n = scratch.chosen[q]
        k = first + n
        before = n_found
        p = neuron_beside(k, neurons.parameters, shared)
        x = NeuronState(
            neurons.u[k], neurons.rest[k], neurons.i_exc[k], neurons.rest_exc[k], neurons.i_inh[k], neurons.rest_inh[k]
        )
        its = (arrivals.sorted_times, arrivals.sorted_values, arrivals.borders[q], arrivals.borders[q + 1])
        room = (window_spikes.times[b], window_spikes.currents[b])
        x, scratch.top[n], n_found, touched = integrate_events(its, x, neurons.release[k], t0, t1, p, room, n_found)
        scratch.u_new[n], scratch.base[n] = x.u, x.rest_u
        scratch.exc_new[n], scratch.rest_exc[n] = x.exc, x.rest_exc
        scratch.inh_new[n], scratch.rest_inh[n] = x.inh, x.rest_inh
        if touched < 0:
            return n_found, -1 - k
        grazing += touched
        for s in range(before, min(n_found, window_spikes.neurons.shape[1])):
            window_spikes.neurons[b, s] = n_inputs + k
        if n_found > window_spikes.times.shape[1]:
            return n_found, grazing
    return n_found, grazing


@leaf
def commit(b, slot, n_chosen, neurons, blocks, bundles, calendar, scratch):
    """The cell is complete: take over what it has led to."""
    first = blocks.first[b]
    width = blocks.width[b]
    u = neurons.u[first : first + width]
    for n in range(width):
        u[n] = scratch.u_new[n]
    rest = neurons.rest[first : first + width]
    for n in range(width):
        rest[n] = scratch.base[n]
    if blocks.n_receptors[b] > 0:
        i_exc = neurons.i_exc[first : first + width]
        for n in range(width):
            i_exc[n] = scratch.exc_new[n]
        rest_exc = neurons.rest_exc[first : first + width]
        for n in range(width):
            rest_exc[n] = scratch.rest_exc[n]
    if blocks.n_receptors[b] > 1:
        i_inh = neurons.i_inh[first : first + width]
        for n in range(width):
            i_inh[n] = scratch.inh_new[n]
        rest_inh = neurons.rest_inh[first : first + width]
        for n in range(width):
            rest_inh[n] = scratch.rest_inh[n]
    for q in range(n_chosen):
        neurons.release[first + scratch.chosen[q]] = scratch.top[scratch.chosen[q]]
    begin = blocks.bundle_start[b]
    for j in range(begin, blocks.bundle_start[b + 1]):
        if not math.isnan(bundles.delay[j]):
            bundles.cursor[j] = scratch.cursors[j - begin]
    if slot >= 0:
        discard_calendar(b, slot, calendar)


@leaf
def run_block(
    b, to_cell, c, cells_a_window, n_inputs, n_known,
    neurons, blocks, bundles, table, drives, spikes, window_spikes, calendar, scratch, arrivals,
):  # fmt: skip
    """Carry block b through cells ``blocks.cell[b]`` ... ``to_cell - 1``; returns RUNNING or what is full.

    c : length of a cell, ms; n_known : number of known spikes; scratch, arrivals : the thread's own,
    ``scratch.mark`` all -1
    """
    first = blocks.first[b]
    width = blocks.width[b]
    end = first + width
    n_receptors = blocks.n_receptors[b]
    u_reset, theta = neurons.parameters.u_reset[first:end], neurons.parameters.theta[first:end]
    u, i_exc, i_inh = neurons.u[first:end], neurons.i_exc[first:end], neurons.i_inh[first:end]
    has_calendar = False
    for j in range(blocks.bundle_start[b], blocks.bundle_start[b + 1]):
        has_calendar = has_calendar or math.isnan(bundles.delay[j])
    while blocks.cell[b] < to_cell:
        cell = blocks.cell[b]
        t0 = cell * c
        t1 = (cell + 1) * c
        slot = -1
        if has_calendar:
            slot = cell % calendar.head.shape[1]
            if not enter_emitted(
                b, cell, n_inputs, n_known, c, cells_a_window, blocks, bundles, table, spikes, calendar
            ):
                return FULL_CALENDAR
        rest_exc, rest_inh = neurons.rest_exc[first:end], neurons.rest_inh[first:end]
        start_sums(scratch, neurons.rest[first:end], width)
        n_events, in_parts = add_inputs(
            b, cell, slot, n_inputs, n_known, c,
            neurons, blocks, bundles, table, drives, spikes, calendar, scratch, arrivals,
        )  # fmt: skip
        if n_events < 0:
            return FULL_EVENTS
        if in_parts:
            take_totals(scratch, width, n_receptors)
            rest_exc, rest_inh = scratch.rest_exc, scratch.rest_inh
        if n_receptors == 0:
            flow_kicked(u, scratch.u_new, scratch.top, scratch.up, scratch.down, scratch.base, width, blocks.flow[b])
        else:
            flow_driven(
                u, i_exc, i_inh, rest_exc, rest_inh,
                scratch.u_new, scratch.exc_new, scratch.inh_new, scratch.rest_exc, scratch.rest_inh,
                scratch.top, scratch.up, scratch.down, scratch.base,
                width, c / blocks.tau_m[b], blocks.flow[b], n_receptors,
            )  # fmt: skip
        clamp_refractory(
            scratch.u_new, scratch.base, scratch.top, u_reset, neurons.release[first:end], width, t0, t1,
            blocks.keep_input[b],
        )  # fmt: skip
        n_chosen = choose(scratch.top, theta, width, scratch.chosen)
        n_found, grazing = window_spikes.n[b], 0
        if n_chosen > 0:
            if n_chosen + 1 > arrivals.borders.size:
                return FULL_EVENTS
            for q in range(n_chosen):
                scratch.mark[scratch.chosen[q]] = q
            listed = list_inputs(
                b, cell, slot, n_inputs, n_known, c, blocks, bundles, table, drives, spikes, calendar, scratch, arrivals
            )
            for q in range(n_chosen):
                scratch.mark[scratch.chosen[q]] = -1
            if listed > arrivals.slots.size:
                return FULL_EVENTS
            sort_by_slot(
                arrivals.slots, arrivals.times, arrivals.values, listed, n_chosen,
                arrivals.borders, arrivals.sorted_times, arrivals.sorted_values,
            )  # fmt: skip
            n_found, grazing = integrate_chosen(
                b, t0, t1, n_chosen, n_inputs, neurons, blocks, window_spikes, scratch, arrivals
            )
            if grazing < 0:
                return STUCK + N_STATUS * (-1 - grazing)
            if n_found > window_spikes.times.shape[1]:
                return FULL_FOUND + N_STATUS * b
        commit(b, slot, n_chosen, neurons, blocks, bundles, calendar, scratch)
        window_spikes.n[b] = n_found
        blocks.events[b] += n_events
        blocks.grazing[b] += grazing
        blocks.cell[b] = cell + 1
    return RUNNING
