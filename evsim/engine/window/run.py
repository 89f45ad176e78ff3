"""The window engine on a declared network: what it can run, its state, and buffers around the kernel."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from evsim._kernels.window import arrays as layout
from evsim._kernels.window.windows import append, meet, room_for, run_windows, scratch_arrays
from evsim.description.network import NetworkDescription
from evsim.engine.cells import cell_length
from evsim.engine.feed import Feed
from evsim.engine.runaway import Populations
from evsim.engine.state_check import checked_cells
from evsim.engine.window.cell_factors import cell_factors
from evsim.engine.window.exchange import Exchange
from evsim.engine.window.packing import check_size, pack
from evsim.engine.window.state import checked_window, own_part, packed_calendar, unpacked_calendar
from evsim.engine.window.team import Team
from evsim.errors import NetworkError, ZeroDelayError
from evsim.memory import check_memory
from evsim.ranks.alone import ALONE
from evsim.ranks.protocol import Communicator
from evsim.spikes import spike_order
from evsim.synapses.drives import N_STREAMS, drive_blocks, drives_as_inputs, trains_of_drives
from evsim.synapses.flat_network import network_arrays
from evsim.types import Floats

_MOST_CELLS = 64
"""Of a window, where no delay bounds it."""

_MANY = 100_000
"""Delivered spikes that are worth dropping."""

_SHORT, _LONG = 0.1, 0.3
"""Seconds that a stay in the kernel should take: a run can only be interrupted between two."""


class _Live(NamedTuple):
    """What the kernel changes in place, as it takes it. mark : cells of drives drawn so far, and the last feed.

    Whatever belongs together is replaced by one assignment, and everything else happens in a kernel: so an interrupt
    between any two steps of Python leaves a state to go on from.
    """

    neurons: layout.Neurons
    blocks: layout.Blocks
    bundles: layout.SynapseGroups
    spikes: layout.Spikes
    window_spikes: layout.WindowSpikes
    calendar: layout.Calendar
    control: np.ndarray
    mark: tuple[int, int]

    def mutable(self) -> list[list[np.ndarray]]:
        """Copies of what changes, but for the list of spikes, which only grows."""
        parts = [
            list(self.neurons[1:]),
            [self.blocks.cell, self.blocks.events, self.blocks.grazing],
            [self.bundles.cursor, self.control],
            list(self.calendar),
        ]
        return [[a.copy() for a in part] for part in parts]

    def replaced(self, parts: list[list[np.ndarray]]) -> _Live:
        """With what ``mutable`` gave."""
        neurons, (cell, events, grazing), (cursor, control), calendar = parts
        return self._replace(
            neurons=layout.Neurons(self.neurons.parameters, *neurons),
            blocks=self.blocks._replace(cell=cell, events=events, grazing=grazing),
            bundles=self.bundles._replace(cursor=cursor),
            window_spikes=self.window_spikes._replace(n=np.zeros_like(self.window_spikes.n)),
            calendar=layout.Calendar(*calendar),
            control=control,
        )


class WindowEngine:
    """A network being simulated; ``run_to`` carries it on, ``spikes`` tells what it emitted.

    events, grazing : synaptic events delivered by the end of ``run_to``, those of drives among them, and peaks within
    1e-12 of threshold; of all ranks
    comm : ranks that share the work: each owns a stretch of blocks with their synapses, and all know all spikes. They
    make the same calls in the same order; what interrupts one of them ends them all.
    """

    name = "window"

    def __init__(self, network: NetworkDescription, seed: int, threads: int, comm: Communicator = ALONE) -> None:
        self.network, self._hidden = drives_as_inputs(network, lambda drive: drive.varies)
        self._seed = seed
        check_size(self.network, threads, comm.size)
        offset, neurons = network_arrays(self.network)
        self.offset = offset
        self.n_inputs = sum(self.network.inputs.values())
        self._populations = Populations(offset, self.n_inputs, neurons.tau_m)
        self._comm = comm
        packed = pack(self.network, offset, neurons, seed, threads, comm)
        self._part = packed.part
        self.exchange = Exchange(comm) if comm.size > 1 else None
        self.table, self.n_synapses, self.synapse_bytes = packed.table, packed.n_synapses, packed.nbytes()
        if packed.min_delay == 0.0:
            raise ZeroDelayError(
                "driver 'window' cannot run this network: a synapse between neurons has no delay. Use driver='queue'."
            )
        self.c = cell_length(network, packed.min_delay)
        self.cells_a_window = int(min(packed.min_delay / self.c, _MOST_CELLS))
        # The quotient may have been rounded up; a window must not be longer than the smallest delay.
        self.cells_a_window -= self.cells_a_window * self.c > packed.min_delay
        self.pause = self.c * self.cells_a_window
        # More threads than blocks would only wait.
        self.threads = max(1, min(threads, packed.blocks.first.size))
        self._team = Team(self.threads)
        n = neurons.theta.size
        self._drives, drive_start = self._make_drives(packed.blocks)
        n_blocks = packed.blocks.first.size
        room = 64 + int(packed.blocks.width.max(initial=0)) // 4
        self._live = _Live(
            layout.Neurons(
                neurons, neurons.u_init.copy(), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n),
                np.zeros(n),
            ),
            packed.blocks._replace(drive_start=drive_start, flow=cell_factors(self.c, packed.blocks)),
            packed.bundles,
            layout.Spikes(np.empty(0), np.empty(0, np.int64), np.empty(1024), np.empty(1024, np.int32), np.empty(1024)),
            layout.WindowSpikes(
                np.empty((n_blocks, room)), np.empty((n_blocks, room), np.int32), np.empty((n_blocks, room)),
                np.zeros(n_blocks, np.int64),
            ),
            self._make_calendar(n_blocks, packed.max_delay, packed.by_calendar),
            np.zeros(layout.N_CONTROL, np.int64),
            (0, 0),
        )  # fmt: skip
        self._windows_a_call = 4
        self._waiting: Floats | None = None
        self._space: list[tuple[layout.Scratch, layout.Arrivals]] = []
        self.events = self.grazing = 0

    @property
    def idle_ranks(self) -> int:
        """Ranks that own no block of neurons: there are fewer blocks."""
        return int(np.count_nonzero(np.diff(self._part.block_cuts) == 0))

    def run_to(self, stop: float, feed: Feed, returned: float) -> None:
        """Carry on to ``stop`` ms; interrupted, by any exception, it can be called again and goes on.

        feed : further input spikes, taken once; returned : spikes before this time are not asked for again
        """
        self._team.settle()
        self._forget(returned)
        last, whole = self._whole_cells(stop)
        self._feed(feed, last if whole else last + 1)
        self._run(self._live, last, own=True)
        self._count()

    def spikes(self, since: float, until: float) -> tuple[Floats, np.ndarray, Floats]:
        """Times, neurons (counted over all populations) and currents of the spikes in [since, until).

        Ordered by (time, neuron). until : where the last ``run_to`` stopped
        """
        last, whole = self._whole_cells(until)
        live = self._live
        if not whole:
            # The cell in which the end lies is run on a copy: it will be run again, whole, with later inputs.
            live = self._run(live.replaced(live.mutable()), last + 1, own=False)
        known = live.spikes.times[: int(live.control[layout.N_SPIKES])]
        new = slice(*np.searchsorted(known, [since, until]))
        return known[new].copy(), live.spikes.sources[new] - np.int32(self.n_inputs), live.spikes.currents[new].copy()

    def weights(self) -> dict[int, Floats]:
        """Weights that have changed, by projection: none, this driver has no plasticity."""
        return {}

    def state(self) -> dict[str, Any]:
        """Arrays and numbers from which ``set_state`` goes on, bit for bit; the synapses are not among them.

        The same on any number of ranks, and on each of them.
        """
        live = self._live
        n = int(live.control[layout.N_SPIKES])
        spikes = live.spikes
        neurons, of_blocks, (cursor, _), _ = live.mutable()
        # Of the numbers that threads share only these belong to the network.
        counters = np.zeros_like(live.control)
        counters[[layout.CELL, layout.N_SPIKES]] = live.control[[layout.CELL, layout.N_SPIKES]]
        calendar = [self._whole(a) for a in packed_calendar(live.calendar)]
        own = self._part.neurons
        return {
            "drawn_cells": live.mark[0],
            "spikes": [spikes.input_times, spikes.input_sources, *(a[:n].copy() for a in spikes[2:])],
            "mutable": [
                [self._whole(a[own]) for a in neurons],
                [self._whole(a) for a in of_blocks],
                [self._whole(cursor), counters],
                list(unpacked_calendar(calendar)),
            ],
        }

    def _whole(self, mine: np.ndarray) -> np.ndarray:
        """What all ranks have, which is in the order of their blocks."""
        return np.concatenate(self._comm.unequal(mine))

    def _count(self) -> None:
        counts = self._comm.objects((int(self._live.blocks.events.sum()), int(self._live.blocks.grazing.sum())))
        self.events, self.grazing = (sum(of_ranks) for of_ranks in zip(*counts))

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms, on any number of ranks; the network, seed and versions must
        be the same.

        Raises ValueError : see ``checked_window``.
        """
        live = self._live
        state = checked_window(
            own_part(state, self._part), self.state(), live.bundles, live.blocks, live.calendar, self.n_inputs, self.c,
            time,
        )
        drawn = checked_cells(state["drawn_cells"], "engine/drawn_cells", time, self.c, bool(self._hidden))
        self._live = live.replaced(state["mutable"])._replace(spikes=layout.Spikes(*state["spikes"]), mark=(drawn, 0))
        self._count()

    def _whole_cells(self, stop: float) -> tuple[int, bool]:
        """Cells that end by ``stop`` ms, and whether the last of them ends there."""
        last = int(stop / self.c)
        while last * self.c > stop:
            last -= 1
        return last, last * self.c == stop

    def _feed(self, feed: Feed, cells: int) -> None:
        """Add input spikes to those on their way, and what drives of varying rate emit before the cell ``cells``."""
        live = self._live
        drawn, fed = live.mark
        cells_drawn = range(drawn, max(cells, drawn))
        new = [(feed.times, feed.sources)] if fed != feed.number else []
        if self._hidden and cells_drawn:
            trains = trains_of_drives(self.network, self._hidden, self._seed, self.c, cells_drawn)
            new += [(x.times, x.neurons + self.offset[k]) for k, x in trains.items()]
        if sum(t.size for t, _ in new):
            t = np.concatenate([live.spikes.input_times, *(t for t, _ in new)])
            s = np.concatenate([live.spikes.input_sources, *(s for _, s in new)])
            order = spike_order(t, s)
            spikes = live.spikes._replace(input_times=t[order], input_sources=s[order].astype(np.int64))
            live = live._replace(spikes=spikes)
        self._live = live._replace(mark=(cells_drawn.stop, feed.number))

    def _run(self, live: _Live, last_cell: int, own: bool) -> _Live:
        """Run whole cells up to ``last_cell``; own : ``live`` is this engine's, no copy. Returns it, enlarged."""
        while live.control[layout.CELL] < last_cell:
            first = int(live.control[layout.CELL])
            until = min(last_cell, first + self._windows_a_call * self.cells_a_window)
            began = time.perf_counter()

            spaces = self._spaces(live)

            def thread(k: int, team: np.ndarray, live: _Live = live, until: int = until, spaces: Any = spaces) -> None:
                while run_windows(
                    live.neurons, live.blocks, live.bundles, self.table, self._drives, live.spikes, live.window_spikes,
                    live.calendar, live.control, team, *spaces[k], self.c, self.cells_a_window, until, self.n_inputs,
                    k, self.threads, k == 0 and self.exchange is not None,
                ):  # fmt: skip
                    self._end_window(live, until)
                    if not meet(team, self.threads):
                        return

            live.control[[layout.NEXT_BLOCK, layout.REPORT, layout.STATUS]] = 0, layout.RUNNING, layout.RUNNING
            try:
                self._team.run(thread)
            except MemoryError as error:
                raise NetworkError(
                    f"there is no memory left for the spikes that arrive or are emitted within {self.c:g} ms at about "
                    f"{first * self.c:.6g} ms: use fewer input spikes at a time, or fewer threads."
                ) from error
            seconds = time.perf_counter() - began
            if seconds > _LONG:
                self._windows_a_call = max(1, self._windows_a_call // 2)
            elif seconds < _SHORT and until < last_cell:
                self._windows_a_call *= 2
            live = self._enlarged(live, int(live.control[layout.STATUS]))
            while self._waiting is not None and not self._append(live, until):
                live = self._enlarged(live, layout.FULL_SPIKES)
            if own:
                self._live = live
        return live

    def _spaces(self, live: _Live) -> list[tuple[layout.Scratch, layout.Arrivals]]:
        """What each thread writes into, kept between stays in the kernel, enlarged where a cell needs it."""
        room = max(256 + int(live.blocks.width.max(initial=0)), int(live.control[layout.ROOM]))
        if not self._space or self._space[0][1].when.size < room:
            self._space = [(scratch_arrays(live.blocks), room_for(room)) for _ in range(self.threads)]
        return self._space

    def _end_window(self, live: _Live, until: int) -> None:
        """Exchange the spikes of a window; where the list has no room for them, stop as the kernel would."""
        assert self.exchange is not None
        self._waiting = self.exchange.spikes(live.window_spikes)
        if not self._append(live, until):
            live.control[layout.STATUS] = layout.FULL_SPIKES

    def _append(self, live: _Live, until: int) -> bool:
        """Append the exchanged spikes and go to the next window; False if there is no room for them."""
        cell = int(live.control[layout.CELL])
        to_cell = min(cell + self.cells_a_window, until)
        if not append(self._waiting, live.spikes, live.control, cell * self.c, to_cell * self.c):
            return False
        self._waiting = None
        live.control[layout.CELL] = to_cell
        return True

    def _enlarged(self, live: _Live, status: int) -> _Live:
        t = float(live.control[layout.CELL]) * self.c
        status, which = status % layout.N_STATUS, status // layout.N_STATUS
        if status == layout.STUCK:
            b = int(np.searchsorted(live.blocks.first, which, side="right")) - 1
            raise self._populations.stuck(which, float(live.blocks.cell[b] + 1) * self.c)
        if status == layout.FULL_SPIKES:
            s = live.spikes
            n = int(live.control[layout.N_SPIKES])
            self._populations.check(s.times[:n], s.sources[:n] - np.int32(self.n_inputs))
            more = self._populations.grown(s[2:], f"{s.times.size:,} spikes", t)
            return live._replace(spikes=layout.Spikes(*s[:2], *more))
        if status == layout.FULL_FOUND:
            f = live.window_spikes
            self._populations.check(f.times[which], f.neurons[which] - np.int32(self.n_inputs))
            times, neurons, currents = self._populations.grown(
                f[:3], f"{f.times.size:,} spikes of one window", t, axis=1
            )
            return live._replace(window_spikes=layout.WindowSpikes(times, neurons, currents, f.n))
        if status == layout.FULL_CALENDAR:
            k = live.calendar
            n_blocks, n_chunks = k.following.shape
            following, free, times, weights, targets = self._populations.grown(
                [k.following, k.free, k.times, k.weights, k.targets], f"{k.times.size:,} arrivals", t, axis=1
            )
            new = np.arange(following.shape[1] - 1, n_chunks - 1, -1, dtype=np.int32)
            for b in range(n_blocks):
                free[b, k.n_free[b] : k.n_free[b] + new.size] = new
            calendar = layout.Calendar(
                k.head, k.tail, k.filled, following, free, k.n_free + new.size, times, weights, targets
            )
            return live._replace(calendar=calendar)
        return live

    def _forget(self, returned: float) -> None:
        """Drop spikes that all bundles have delivered and that lie before ``returned`` ms."""
        live = self._live
        bundles, spikes = live.bundles, live.spikes
        given = bundles.source_first < self.n_inputs
        n_inputs = int(bundles.cursor[given].min()) if np.any(given) else spikes.input_times.size
        n = int(live.control[layout.N_SPIKES])
        n_spikes = int(bundles.cursor[~given].min()) if np.any(~given) else n
        n_inputs, n_spikes = map(min, zip(*self._comm.objects((n_inputs, n_spikes))))
        n_spikes = min(n_spikes, int(np.searchsorted(spikes.times[:n], returned)))
        if n_inputs + n_spikes < _MANY:
            return
        rest = (a[n_spikes:n] for a in (spikes.times, spikes.sources, spikes.currents))
        room = max(1024, (n - n_spikes) // 2)
        control, cursor = live.control.copy(), bundles.cursor.copy()
        control[layout.N_SPIKES] -= n_spikes
        cursor[given] -= n_inputs
        cursor[~given] -= n_spikes
        self._live = live._replace(
            spikes=layout.Spikes(
                spikes.input_times[n_inputs:].copy(), spikes.input_sources[n_inputs:].copy(),
                *(np.concatenate([a, np.empty(room, a.dtype)]) for a in rest),
            ),
            bundles=bundles._replace(cursor=cursor),
            control=control,
        )  # fmt: skip

    def _make_drives(self, blocks: layout.Blocks) -> tuple[layout.Drives, np.ndarray]:
        """The drives of constant rate, by block; and where each block's begin."""
        own = self._part.neurons
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
            its_blocks = np.flatnonzero(population_of == names.index(drive.target))
            for part in drive_blocks(drive, k, self.network.size_of(drive.target), self._seed, self.c):
                if not own.start <= begin + part.first < own.stop:
                    continue
                b = its_blocks[np.searchsorted(blocks.first[its_blocks], begin + part.first, side="right") - 1]
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

    def _make_calendar(self, n_blocks: int, max_delay: float, used: bool) -> layout.Calendar:
        """Empty; of no size where no projection has delays that differ by synapse (used)."""
        n = n_blocks if used else 0
        n_cells = int(np.ceil(max_delay / self.c)) + 3
        n_chunks = 2 * n_cells
        check_memory(n * n_chunks * layout.CHUNK * 18.0, f"delays of up to {max_delay:g} ms in cells of {self.c:g} ms")
        shape = (n, n_chunks, layout.CHUNK)
        return layout.Calendar(
            np.full((n, n_cells), layout.NO_CHUNK, np.int32), np.full((n, n_cells), layout.NO_CHUNK, np.int32),
            np.zeros((n, n_cells), np.int32), np.empty((n, n_chunks), np.int32),
            np.tile(np.arange(n_chunks - 1, -1, -1, dtype=np.int32), (n, 1)), np.full(n, n_chunks, np.int64),
            np.empty(shape), np.empty(shape), np.empty(shape, np.uint16),
        )  # fmt: skip
