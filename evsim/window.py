"""The window driver on a declared network: what it can run, its state, and buffers around the kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from evsim._kernels import window_arrays as layout
from evsim._kernels.window_driver import run_windows
from evsim.bundles import check_size, pack
from evsim.choice import cell_length
from evsim.drive import N_STREAMS, drive_blocks, exposed, exposed_trains
from evsim.errors import ZeroDelayError
from evsim.network import Network
from evsim.plan import network_arrays
from evsim.state_check import checked_cells, number
from evsim.types import Floats, spike_order
from evsim.window_state import checked_window, packed_calendar, unpacked_calendar

_MOST_CELLS = 64
"""Of a window, where no delay bounds it."""

_MANY = 100_000
"""Delivered spikes that are worth dropping."""


class WindowEngine:
    """A network being simulated; ``advance`` carries it on and returns what it emitted."""

    def __init__(self, network: Network, seed: int, threads: int) -> None:
        self.network, self._hidden = exposed(network, lambda drive: drive.varies)
        self._seed = seed
        check_size(self.network, threads)
        offset, neurons = network_arrays(self.network)
        self.offset = offset
        self.n_inputs = sum(self.network.inputs.values())
        packed = pack(self.network, offset, neurons, seed, threads)
        self.table, self.n_synapses, self.synapse_bytes = packed.table, packed.n_synapses, packed.nbytes()
        if packed.min_delay == 0.0:
            raise ZeroDelayError(
                "driver 'window' cannot run this network: a synapse between neurons has no delay. Use driver='queue'."
            )
        self.c = cell_length(network, packed.min_delay)
        self.cells_a_window = int(min(packed.min_delay / self.c, _MOST_CELLS))
        # The quotient may have been rounded up; a window must not be longer than the smallest delay.
        self.cells_a_window -= self.cells_a_window * self.c > packed.min_delay
        # More threads than blocks would only wait.
        self.threads = min(threads, packed.blocks.first.size)
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        n = neurons.theta.size
        self._neurons = layout.Neurons(
            neurons.theta, neurons.u_reset, neurons.t_ref, neurons.u_init.copy(), np.zeros(n), np.zeros(n),
            np.zeros(n), np.zeros(n),
        )  # fmt: skip
        self._drives, drive_start = self._make_drives(packed.blocks)
        self._blocks = packed.blocks._replace(drive_start=drive_start)
        self._bundles = packed.bundles
        n_blocks = packed.blocks.first.size
        self._spikes = layout.Spikes(
            np.empty(0), np.empty(0, np.int64), np.empty(1024), np.empty(1024, np.int32), np.empty(1024)
        )
        room = 64 + int(packed.blocks.width.max()) // 4
        self._found = layout.Found(
            np.empty((n_blocks, room)), np.empty((n_blocks, room), np.int32), np.empty((n_blocks, room)),
            np.zeros(n_blocks, np.int64),
        )  # fmt: skip
        self._calendar = self._make_calendar(n_blocks, packed.max_delay)
        self._control = np.zeros(layout.N_CONTROL, np.int64)
        self._drawn_cells = 0
        self._returned = 0.0

    @property
    def events(self) -> int:
        """Synaptic events delivered so far, those of drives among them."""
        return int(self._blocks.events.sum())

    @property
    def grazing(self) -> int:
        """Peaks met within 1e-12 of threshold."""
        return int(self._blocks.grazing.sum())

    def advance(self, t_stop: float, times: Floats, sources: np.ndarray) -> tuple[Floats, np.ndarray, Floats]:
        """Carry on to t_stop (ms); times, sources : further input spikes, ordered by time.

        Returns times, neurons (counted over all populations) and currents of all spikes before t_stop that no
        earlier call has returned, ordered by (time, neuron).
        """
        last = int(t_stop / self.c)
        while last * self.c > t_stop:
            last -= 1
        whole = last * self.c == t_stop
        self._feed(times, sources, last if whole else last + 1)
        self._run(last)
        if whole:
            emitted = self._emitted(t_stop)
        else:
            # The cell in which t_stop lies is run on a copy: it will be run again, whole, with later inputs.
            before = self._mutable(copy=True)
            try:
                self._run(last + 1)
                emitted = self._emitted(t_stop)
            finally:
                self._restore(before)
        self._returned = t_stop
        self._forget()
        return emitted

    def weights(self) -> dict[int, Floats]:
        """Weights that have changed, by projection: none, this driver has no plasticity."""
        return {}

    def state(self) -> dict[str, Any]:
        """Arrays and numbers from which ``set_state`` goes on, bit for bit; the synapses are not among them."""
        n = int(self._control[layout.N_SPIKES])
        spikes, parts = self._spikes, self._mutable(copy=False)
        parts = [[a.copy() for a in part] for part in parts[:3]]
        return {
            "returned": self._returned,
            "drawn_cells": self._drawn_cells,
            "spikes": [spikes.input_times, spikes.input_sources, *(a[:n].copy() for a in spikes[2:])],
            "mutable": [*parts, list(unpacked_calendar(packed_calendar(self._calendar)))],
        }

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms; the network, seed and versions must be the same.

        Raises ValueError : see ``checked_window``.
        """
        state = checked_window(
            state, self.state(), self._bundles, self._blocks, self._calendar, self.n_inputs, self.c, time
        )
        drawn = checked_cells(state["drawn_cells"], "engine/drawn_cells", time, self.c, bool(self._hidden))
        self._returned = min(number(state["returned"], "engine/returned", 0.0), time)
        self._drawn_cells = drawn
        self._spikes = layout.Spikes(*state["spikes"])
        self._restore(state["mutable"])

    def _feed(self, times: Floats, sources: np.ndarray, cells: int) -> None:
        """Add input spikes to those on their way, and what drives of varying rate emit before the cell ``cells``."""
        some = range(self._drawn_cells, max(cells, self._drawn_cells))
        if not times.size and not (self._hidden and len(some)):
            return
        trains = exposed_trains(self.network, self._hidden, self._seed, self.c, some)
        self._drawn_cells = some.stop
        old = self._spikes
        t = np.concatenate([old.input_times, times, *(x.times for x in trains.values())])
        s = np.concatenate([old.input_sources, sources, *(x.neurons + self.offset[k] for k, x in trains.items())])
        order = spike_order(t, s)
        self._spikes = old._replace(input_times=t[order], input_sources=s[order].astype(np.int64))

    def _emitted(self, t_stop: float) -> tuple[Floats, np.ndarray, Floats]:
        """Spikes before t_stop that were not returned before."""
        spikes = self._spikes
        known = spikes.times[: int(self._control[layout.N_SPIKES])]
        new = slice(*np.searchsorted(known, [self._returned, t_stop]))
        return known[new].copy(), spikes.sources[new] - np.int32(self.n_inputs), spikes.currents[new].copy()

    def _run(self, last_cell: int) -> None:
        """Run whole cells up to ``last_cell``."""
        control = self._control
        room = 256 + int(self._blocks.width.max())

        def thread(k: int) -> None:
            run_windows(
                self._neurons, self._blocks, self._bundles, self.table, self._drives, self._spikes, self._found,
                self._calendar, control, self.c, self.cells_a_window, last_cell, self.n_inputs, k, self.threads, room,
            )  # fmt: skip

        while control[layout.CELL] < last_cell:
            control[layout.STATUS] = control[layout.REPORT] = layout.RUNNING
            if self._pool is None:
                thread(0)
            else:
                tasks = [self._pool.submit(thread, k) for k in range(self.threads)]
                try:
                    for task in tasks:
                        task.result()
                finally:
                    # Whoever interrupts the wait must not find the state still changing.
                    wait(tasks)
            self._enlarge(int(control[layout.STATUS]))

    def _enlarge(self, status: int) -> None:
        if status == layout.FULL_SPIKES:
            s = self._spikes
            more = max(s.times.size, int(self._found.n.sum()))
            self._spikes = layout.Spikes(
                *s[:2], *(np.concatenate([a, np.empty(more, a.dtype)]) for a in (s.times, s.sources, s.currents))
            )
        elif status == layout.FULL_FOUND:
            f = self._found
            t, i, c = (np.concatenate([a, np.empty_like(a)], axis=1) for a in (f.times, f.neurons, f.currents))
            self._found = layout.Found(t, i, c, f.n)
        elif status == layout.FULL_CALENDAR:
            k = self._calendar
            n_blocks, n_chunks = k.following.shape
            new = np.arange(2 * n_chunks - 1, n_chunks - 1, -1, dtype=np.int32)
            free = np.concatenate([k.free, np.empty_like(k.free)], axis=1)
            for b in range(n_blocks):
                free[b, k.n_free[b] : k.n_free[b] + n_chunks] = new
            self._calendar = k._replace(
                following=np.concatenate([k.following, np.empty_like(k.following)], axis=1),
                free=free,
                n_free=k.n_free + n_chunks,
                times=np.concatenate([k.times, np.empty_like(k.times)], axis=1),
                weights=np.concatenate([k.weights, np.empty_like(k.weights)], axis=1),
                targets=np.concatenate([k.targets, np.empty_like(k.targets)], axis=1),
            )

    def _mutable(self, copy: bool) -> list[Any]:
        """What a run changes in place, but for the list of spikes, which only grows."""
        parts = [
            list(self._neurons[3:]),
            [self._blocks.cell, self._blocks.events, self._blocks.grazing],
            [self._bundles.cursor, self._control],
            list(self._calendar),
        ]
        return [[a.copy() for a in part] for part in parts] if copy else parts

    def _restore(self, parts: list[Any]) -> None:
        neurons, blocks, (cursor, control), calendar = parts
        self._neurons = layout.Neurons(*self._neurons[:3], *(a.copy() for a in neurons))
        cell, events, grazing = (a.copy() for a in blocks)
        self._blocks = self._blocks._replace(cell=cell, events=events, grazing=grazing)
        self._bundles = self._bundles._replace(cursor=cursor.copy())
        self._control = control.copy()
        self._calendar = layout.Calendar(*(a.copy() for a in calendar))
        self._found.n[:] = 0

    def _forget(self) -> None:
        """Drop spikes that all bundles have delivered."""
        bundles, spikes = self._bundles, self._spikes
        given = bundles.source_first < self.n_inputs
        n_inputs = int(bundles.cursor[given].min()) if np.any(given) else spikes.input_times.size
        n = int(self._control[layout.N_SPIKES])
        n_spikes = int(bundles.cursor[~given].min()) if np.any(~given) else n
        if n_inputs + n_spikes < _MANY:
            return
        rest = (a[n_spikes:n] for a in (spikes.times, spikes.sources, spikes.currents))
        room = max(1024, (n - n_spikes) // 2)
        self._spikes = layout.Spikes(
            spikes.input_times[n_inputs:], spikes.input_sources[n_inputs:],
            *(np.concatenate([a, np.empty(room, a.dtype)]) for a in rest),
        )  # fmt: skip
        self._control[layout.N_SPIKES] -= n_spikes
        bundles.cursor[given] -= n_inputs
        bundles.cursor[~given] -= n_spikes

    def _make_drives(self, blocks: layout.Blocks) -> tuple[layout.Drives, np.ndarray]:
        """The drives of constant rate, by block; and where each block's begin."""
        population_of = np.searchsorted(
            [self.offset[name] - self.n_inputs for name in self.network.populations], blocks.first, side="right"
        ) - 1  # fmt: skip
        names = list(self.network.populations)
        rows: list[tuple[Any, ...]] = []
        tables: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0, np.int64))]
        for k, drive in enumerate(self.network.drives):
            if drive.varies:
                continue
            begin = self.offset[drive.target] - self.n_inputs
            mine = np.flatnonzero(population_of == names.index(drive.target))
            for part in drive_blocks(drive, k, self.network.size_of(drive.target), self._seed, self.c):
                b = mine[np.searchsorted(blocks.first[mine], begin + part.first, side="right") - 1]
                at = sum(t.size for t, _ in tables) if part.threshold.size else -1
                tables.append((part.threshold, part.alias))
                local = begin + part.first - blocks.first[b]
                rows.append((int(b), local, part.width, part.mean, drive.weight, part.streams, at))
        rows.sort(key=lambda row: row[0])
        columns = list(zip(*rows)) if rows else [()] * 7
        drives = layout.Drives(
            np.array(columns[1], np.int64), np.array(columns[2], np.int64), np.array(columns[3], np.float64),
            np.array(columns[4], np.float64), np.array(columns[5], np.uint64).reshape(len(rows), N_STREAMS),
            np.array(columns[6], np.int64), *(np.concatenate(t) for t in zip(*tables)),
        )  # fmt: skip
        return drives, np.searchsorted(np.array(columns[0], np.int64), np.arange(blocks.first.size + 1))

    def _make_calendar(self, n_blocks: int, max_delay: float) -> layout.Calendar:
        """Empty; of no size where no synapse has a delay of its own."""
        used = max_delay > 0.0
        n = n_blocks if used else 0
        n_cells = int(np.ceil(max_delay / self.c)) + 3
        n_chunks = 2 * n_cells
        shape = (n, n_chunks, layout.CHUNK)
        return layout.Calendar(
            np.full((n, n_cells), layout.NO_CHUNK, np.int32), np.full((n, n_cells), layout.NO_CHUNK, np.int32),
            np.zeros((n, n_cells), np.int32), np.empty((n, n_chunks), np.int32),
            np.tile(np.arange(n_chunks - 1, -1, -1, dtype=np.int32), (n, 1)), np.full(n, n_chunks, np.int64),
            np.empty(shape), np.empty(shape), np.empty(shape, np.uint16),
        )  # fmt: skip
