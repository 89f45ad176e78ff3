"""The saved state of the window engine: what is in use, and checked on its way back.

A calendar is taken apart into its arrivals, list by list, and put together again: for a state with no more chunks than
are in use, the rest of them zeros, and for an engine with room. So a state holds no memory that was never written, and
equal states are equal bytes, whichever chunks an engine has happened to use.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evsim._kernels.window import arrays as layout
from evsim._kernels.window.arrays import CHUNK, NO_CHUNK, Blocks, Calendar, SynapseGroups
from evsim.engine.state_check import array, like, refuse, roomy, sequence, sorted_times, spikes, table
from evsim.engine.window.partition import Part

_CALENDAR = "engine/mutable/3"

_WITHOUT_RESTS = 5
"""Arrays of neurons in older states, which carried no rests of the currents."""


def packed_calendar(calendar: Calendar) -> list[np.ndarray]:
    """Arrivals in each list, (n_blocks, n_cells) int64; then times (ms), weights and targets of all, list by list.

    Raises ValueError : lists that no engine makes.
    """
    n_blocks, n_cells = calendar.head.shape
    n_chunks = calendar.following.shape[1]
    block, slot = np.nonzero(calendar.head != NO_CHUNK)
    chunk, last = calendar.head[block, slot].astype(np.int64), calendar.tail[block, slot].astype(np.int64)
    rows: list[tuple[np.ndarray, ...]] = [(np.empty(0, np.int64),) * 5]
    used = step = 0
    # One turn takes the next chunk of every list that has one.
    while chunk.size:
        used += chunk.size
        if chunk.min() < 0 or chunk.max() >= n_chunks or used > n_blocks * n_chunks:
            refuse(_CALENDAR, "has lists without an end")
        at_end = chunk == last
        filled = np.where(at_end, calendar.filled[block, slot], CHUNK)
        if filled.min() < 0 or filled.max() > CHUNK:
            refuse(_CALENDAR, f"has {filled.min()} ... {filled.max()} arrivals in a chunk of {CHUNK}")
        rows.append((block * n_cells + slot, np.full(chunk.size, step), block, chunk, filled))
        block, slot, chunk, last = (a[~at_end] for a in (block, slot, chunk, last))
        chunk = calendar.following[block, chunk].astype(np.int64)
        step += 1
    lists, steps, block, chunk, filled = (np.concatenate(column) for column in zip(*rows))
    order = np.lexsort((steps, lists))
    block, chunk = block[order], chunk[order]
    inside = np.arange(CHUNK) < filled[order][:, None]
    counts = np.bincount(lists, weights=filled, minlength=n_blocks * n_cells).astype(np.int64)
    values = (a[block, chunk][inside] for a in (calendar.times, calendar.weights, calendar.targets))
    return [counts.reshape(n_blocks, n_cells), *values]


def unpacked_calendar(packed: list[np.ndarray], room: int = 0) -> Calendar:
    """The calendar that ``packed_calendar`` took apart, with ``room`` free chunks at least."""
    counts, *values = packed
    n_blocks, n_cells = counts.shape
    chunks = -(-counts // CHUNK)
    need = chunks.sum(axis=1)
    n_chunks = int(need.max(initial=0)) + room
    first = np.cumsum(chunks, axis=1) - chunks
    used = counts > 0
    head = np.where(used, first, NO_CHUNK).astype(np.int32)
    tail = np.where(used, first + chunks - 1, NO_CHUNK).astype(np.int32)
    filled = np.where(used, counts - (chunks - 1) * CHUNK, 0).astype(np.int32)
    following = np.tile(np.arange(1, n_chunks + 1, dtype=np.int32), (n_blocks, 1))
    free = np.zeros((n_blocks, n_chunks), np.int32)
    for b in range(n_blocks):
        following[b, tail[b][used[b]]] = NO_CHUNK
        following[b, need[b] :] = NO_CHUNK
        free[b, : n_chunks - need[b]] = np.arange(n_chunks - 1, need[b] - 1, -1)
    # Where each arrival goes: its list's first chunk, and its place in the list.
    n = counts.ravel()
    place = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    block = np.repeat(np.repeat(np.arange(n_blocks), n_cells), n)
    chunk = np.repeat(first.ravel(), n) + place // CHUNK
    arrays = []
    for a in values:
        whole = np.zeros((n_blocks, n_chunks, CHUNK), a.dtype)
        whole[block, chunk, place % CHUNK] = a
        arrays.append(whole)
    return Calendar(head, tail, filled, following, free, n_chunks - need, *arrays)


def own_part(saved: Any, part: Part) -> dict[str, Any]:
    """Of a state of all ranks what concerns this one: its blocks and bundles; neurons and spikes are left whole.

    Raises ValueError : other numbers of blocks or bundles than this network has.
    """
    saved = table(saved, "engine", "mutable")
    neurons, counted, rest, calendar = sequence(saved["mutable"], "engine/mutable", 4)
    cursor, control = sequence(rest, "engine/mutable/2", 2)

    def own(a: Any, where: str, cuts: np.ndarray, mine: slice, *, or_none: bool = False) -> Any:
        rows = a.shape[0] if isinstance(a, np.ndarray) and a.ndim else -1
        if rows != cuts[-1] and not (or_none and rows == 0):
            refuse(where, f"must have {cuts[-1]} entries")
        return a[mine]

    blocks = part.block_cuts, part.blocks
    counted = [own(a, f"engine/mutable/1/{k}", *blocks) for k, a in enumerate(sequence(counted, "engine/mutable/1", 3))]
    cursor = own(cursor, "engine/mutable/2/0", part.bundle_cuts, part.bundles)
    calendar = [own(a, f"{_CALENDAR}/{k}", *blocks, or_none=True) for k, a in enumerate(sequence(calendar, _CALENDAR))]
    return {**saved, "mutable": [neurons, counted, [cursor, control], calendar]}


def checked_window(
    saved: Any, fresh: dict[str, Any], bundles: SynapseGroups, blocks: Blocks, empty: Calendar, n_inputs: int, c: float,
    time: float,
) -> dict[str, Any]:  # fmt: skip
    """A saved state as ``WindowEngine.set_state`` takes it, its calendar unpacked and its counters anew.

    fresh : the state of a new engine; empty : its calendar; c : length of a cell, ms; time : reached, ms. Older states
    hold all chunks, used or not, and no rests of the currents; they are taken likewise.

    Raises ValueError : a state that no run of this network has at this time.
    """
    saved = table(saved, "engine", *fresh)
    given, counted, (cursor, control), calendar = (
        sequence(part, f"engine/mutable/{k}", size)
        for k, (part, size) in enumerate(zip(sequence(saved["mutable"], "engine/mutable", 4), (None, 3, 2, None)))
    )
    models = fresh["mutable"][0]
    n = models[0].size
    if not _WITHOUT_RESTS <= len(given) <= len(models):
        refuse("engine/mutable/0", f"must have {len(models)} entries; it has {len(given)}")
    given = [*given, *models[len(given) :]]
    neurons = [like(a, f"engine/mutable/0/{k}", m) for k, (a, m) in enumerate(zip(given, models))]
    cell, events, grazing = (
        like(a, f"engine/mutable/1/{k}", blocks.cell, low=0) for k, a in enumerate(counted)
    )
    control = like(control, "engine/mutable/2/1", fresh["mutable"][2][1])
    reached = int(time / c)
    reached -= reached * c > time
    if control[layout.CELL] != reached or np.any(cell != reached):
        refuse("engine/mutable/1/0", f"does not stand at {time} ms")
    parts = sequence(saved["spikes"], "engine/spikes", 5)
    fed = spikes(parts[:2], "engine/spikes", (np.float64, np.int64), n_inputs)
    emitted = spikes(parts[2:], "engine/spikes", (np.float64, np.int32, np.float64), n_inputs + n)
    sorted_times(fed[0], "engine/spikes/0")
    sorted_times(emitted[0], "engine/spikes/2")
    n_spikes = emitted[0].size
    if control[layout.N_SPIKES] != n_spikes or np.any(emitted[1] < n_inputs):
        refuse("engine/spikes", "does not hold the spikes of the network's neurons")
    cursor = like(cursor, "engine/mutable/2/0", bundles.cursor, low=0)
    if np.any(cursor > np.where(bundles.source_first < n_inputs, fed[0].size, n_spikes)):
        refuse("engine/mutable/2/0", "lies beyond the spikes")
    counters = np.zeros_like(control)
    counters[layout.CELL], counters[layout.N_SPIKES] = reached, n_spikes
    whole = unpacked_calendar(_checked_calendar(calendar, empty, blocks, reached, c), empty.following.shape[1])
    return {
        **saved,
        "spikes": [*fed, *(roomy(a) for a in emitted)],
        "mutable": [neurons, [cell, events, grazing], [cursor, counters], list(whole)],
    }


def _checked_calendar(saved: list[Any], empty: Calendar, blocks: Blocks, now: int, c: float) -> list[np.ndarray]:
    counts, times, weights, targets = packed_calendar(_of_right_shape(saved, empty))
    array(times, f"{_CALENDAR} (times)", np.float64)
    array(weights, f"{_CALENDAR} (weights)", np.float64)
    n_blocks, n_cells = counts.shape
    block = np.repeat(np.arange(n_blocks), counts.sum(axis=1))
    if np.any(targets >= blocks.width[block]):
        refuse(f"{_CALENDAR} (targets)", "names neurons beyond a block")
    cell = now + (np.arange(n_cells) - now) % n_cells
    of = np.repeat(np.tile(cell, n_blocks), counts.ravel())
    if np.any((times < of * c) | (times >= (of + 1) * c)):
        refuse(f"{_CALENDAR} (times)", "names arrivals in cells of other times")
    return [counts, times, weights, targets]


def _of_right_shape(saved: list[Any], empty: Calendar) -> Calendar:
    sequence(saved, _CALENDAR, len(empty))
    following = saved[Calendar._fields.index("following")]
    n_chunks = following.shape[1] if isinstance(following, np.ndarray) and following.ndim == 2 else -1
    shapes = [m.shape if m.ndim < 2 or k < 3 else (m.shape[0], n_chunks, *m.shape[2:]) for k, m in enumerate(empty)]
    for name, a, model, shape in zip(Calendar._fields, saved, empty, shapes):
        if not isinstance(a, np.ndarray) or a.dtype != model.dtype or a.shape != shape:
            refuse(f"{_CALENDAR} ({name})", f"must be an array of {model.dtype} of the shape {shape}")
    return Calendar(*saved)
