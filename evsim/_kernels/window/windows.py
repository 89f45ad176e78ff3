"""The window engine: recurrent networks whose smallest delay D is not zero.

Every spike that arrives in [t, t + D) was emitted before t. So all blocks of neurons run through a window of at
most D on their own; then their spikes are merged, ordered by (time, neuron), and the next window begins. Threads
take blocks as they come: what a block computes does not depend on who runs it, or when.
"""

import numpy as np

from ..jit import kernel
from ..sorting import sort_spikes
from .arrays import (
    CELL,
    FULL_EVENTS,
    FULL_SPIKES,
    N_SPIKES,
    NEXT_BLOCK,
    REPORT,
    ROOM,
    RUNNING,
    STATUS,
    Arrivals,
    Scratch,
)
from .atomic import barrier, fetch_add, load
from .block import run_block


@kernel
def take_window(window_spikes, rows):
    """The spikes of the window, block by block: time, source, current. Returns how many; rows beyond ``rows``, (n, 3),
    are left out."""
    k = 0
    for b in range(window_spikes.n.size):
        for q in range(window_spikes.n[b]):
            if k < rows.shape[0]:
                rows[k, 0] = window_spikes.times[b, q]
                rows[k, 1] = window_spikes.neurons[b, q]
                rows[k, 2] = window_spikes.currents[b, q]
            k += 1
    return k


@kernel
def append(rows, spikes, control, t0, t1):
    """Append the spikes of a window [t0, t1), (n, 3) in any order, to the ordered list; False if they do not fit."""
    n, total = control[N_SPIKES], rows.shape[0]
    if n + total > spikes.times.size:
        return False
    sort_spikes(
        rows[:, 0].copy(), rows[:, 1].astype(np.int32), rows[:, 2].copy(), t0, t1,
        spikes.times[n : n + total], spikes.sources[n : n + total], spikes.currents[n : n + total],
    )  # fmt: skip
    control[N_SPIKES] = n + total
    return True


@kernel
def merge(window_spikes, spikes, control, t0, t1):
    """Append the window's spikes to the ordered list; returns False if they do not fit."""
    total = 0
    for b in range(window_spikes.n.size):
        total += window_spikes.n[b]
    rows = np.empty((total, 3))
    take_window(window_spikes, rows)
    if not append(rows, spikes, control, t0, t1):
        return False
    # Nothing has changed before all memory was there.
    window_spikes.n[:] = 0
    return True


@kernel
def meet(team, n_threads):
    """The barrier at which the others wait while thread 0 is outside; False if one of them never comes."""
    return barrier(team, n_threads)


@kernel
def scratch_arrays(blocks):
    """For the widest block, and the one with most bundles and drives."""
    width = n_drives = n_bundles = 0
    for b in range(blocks.width.size):
        width = max(width, blocks.width[b])
        n_drives = max(n_drives, blocks.drive_start[b + 1] - blocks.drive_start[b])
        n_bundles = max(n_bundles, blocks.bundle_start[b + 1] - blocks.bundle_start[b])
    return Scratch(
        np.empty(width), np.empty(width), np.empty(width), np.empty(width), np.empty(width), np.empty(width),
        np.empty(width), np.full(width, -1, np.int32), np.empty(width, np.int32),
        np.empty(n_bundles, np.int64), np.empty(n_drives, np.int64), np.empty(width), np.empty(width),
        np.empty(width), np.empty(width), np.empty(width), np.empty(width),
    )  # fmt: skip


@kernel
def room_for(n):
    """Arrays for n arrivals in a cell."""
    return Arrivals(
        np.empty(n), np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n), np.empty(n),
        np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n),
        np.empty(n), np.empty(n), np.empty(n, np.int64),
    )  # fmt: skip


@kernel
def run_windows(
    neurons, blocks, bundles, table, drives, spikes, window_spikes, calendar, control, team, scratch, arrivals,
    c, cells_a_window, last_cell, n_inputs, thread, n_threads, over_ranks,
):  # fmt: skip
    """One thread's part of the windows up to ``last_cell``; all ``n_threads`` threads run it at the same time.

    over_ranks : thread 0 returns True at the end of each window, its spikes not merged, and the others wait (``meet``)

    control : (N_CONTROL,) int64, shared; its STATUS says afterwards why the threads stopped
    team : (N_TEAM,) int64, shared; where it is abandoned, windows are left half done, each of their cells whole
    scratch, arrivals : of this thread; where there is not enough room, ROOM says how much it takes
    thread : 0 ... n_threads - 1; c : length of a cell, ms
    """
    # STATUS, CELL, N_SPIKES and NEXT_BLOCK change between the two barriers only, by thread 0: all threads
    # take the same turns.
    while load(control, STATUS) == RUNNING and load(control, CELL) < last_cell:
        to_cell = min(load(control, CELL) + cells_a_window, last_cell)
        n_known = load(control, N_SPIKES)
        b = fetch_add(control, NEXT_BLOCK, 1)
        while b < blocks.width.size:
            status = run_block(
                b, to_cell, c, cells_a_window, n_inputs, n_known,
                neurons, blocks, bundles, table, drives, spikes, window_spikes, calendar, scratch, arrivals,
            )  # fmt: skip
            if status == FULL_EVENTS:
                arrivals = room_for(2 * arrivals.when.size)
                control[ROOM] = max(load(control, ROOM), arrivals.when.size)
                continue
            if status != RUNNING:
                control[REPORT] = status
            b = fetch_add(control, NEXT_BLOCK, 1)
        if not barrier(team, n_threads):
            return False
        if thread == 0:
            control[NEXT_BLOCK] = 0
            if load(control, REPORT) != RUNNING:
                control[STATUS] = load(control, REPORT)
            elif over_ranks:
                return True
            elif not merge(window_spikes, spikes, control, control[CELL] * c, to_cell * c):
                control[STATUS] = FULL_SPIKES
            else:
                control[CELL] = to_cell
        if not barrier(team, n_threads):
            return False
    return False
