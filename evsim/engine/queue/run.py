"""The queue engine on a flat network: state and buffers around the kernel."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np

from evsim._kernels.queue import arrays as layout
from evsim._kernels.queue.events import run_queue, start_queue
from evsim._kernels.queue.stdp import Plastic
from evsim._kernels.samples import SAMPLES_FULL, queue_samples
from evsim._kernels.spikes import Inputs, Spikes
from evsim.description.network import NetworkDescription
from evsim.engine.cells import cell_length, smallest_delay
from evsim.engine.feed import Feed
from evsim.engine.queue.state import checked_queue
from evsim.engine.runaway import Populations
from evsim.engine.state_check import checked_cells, integer, sequence, table
from evsim.spikes import SpikeBatch, spike_order
from evsim.synapses.drives import drives_as_inputs, trains_of_drives
from evsim.synapses.flat_network import FlatNetwork, flatten
from evsim.threads import check_halt, over_stretches
from evsim.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class FlatRun:
    """Spikes of all neurons of a flat network, ordered by (time, neuron); events delivered; grazing peaks."""

    times: Floats
    neurons: Ints
    currents: Floats
    events: int
    grazing: int


class _Live(NamedTuple):
    """What the kernel changes in place.

    Whatever belongs together is replaced by one assignment, and everything else happens in a kernel: so an interrupt
    between any two steps of Python leaves a state to go on from.

    All but the mark as ``run_queue`` takes it; inputs : those on their way; mark : which cells of drives and which feed
    are among them
    """

    counters: np.ndarray
    state: layout.State
    deliveries: layout.Deliveries
    inputs: Inputs
    spikes: Spikes
    mark: tuple[int, int]


def _no_spikes(room: int = 4096) -> Spikes:
    return Spikes(np.empty(room), np.empty(room, np.int32), np.empty(room))


def _no_deliveries(room: int) -> layout.Deliveries:
    return layout.Deliveries(np.empty(room), np.empty(room), *(np.empty(room, np.int64) for _ in range(3)))


def _initial(n: int, u_init: Floats) -> layout.State:
    return layout.State(
        u_init.copy(), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n),
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, layout.N_RESTS)),
        np.full((n, layout.N_ANCHOR), layout.OUTDATED),
    )  # fmt: skip


def _scratch(n: int) -> layout.Scratch:
    return layout.Scratch(np.zeros(n, np.int64), np.zeros(n, np.int8))


def _synapses(flat: FlatNetwork, weight: Floats) -> layout.Synapses:
    return layout.Synapses(
        flat.group_start, flat.group_delay, flat.group_level, flat.synapse_start, flat.target, weight
    )


class QueueRun:
    """A flat network being simulated; ``run_to`` carries it on."""

    def __init__(self, flat: FlatNetwork) -> None:
        self.flat = flat
        self._populations = Populations(flat.source_offset, flat.n_inputs, flat.neurons.tau_m)
        n = flat.neurons.theta.size
        self._plastic = plastic_arrays(flat)
        self.weight = flat.weight.copy() if flat.plastic else flat.weight
        self._scratch = _scratch(n)
        state = _initial(n, flat.neurons.u_init)
        counters = np.zeros(layout.N_COUNTERS, np.int64)
        counters[layout.N_HEAP] = start_queue(flat.neurons, flat.level, state)
        nothing = Inputs(np.empty(0), np.empty(0, np.int64))
        self._live = _Live(counters, state, _no_deliveries(1024), nothing, _no_spikes(), (0, 0))

    @property
    def mark(self) -> tuple[int, int]:
        """What ``feed`` was last given."""
        return self._live.mark

    @property
    def events(self) -> int:
        """Synaptic events so far."""
        return int(self._live.counters[layout.N_EVENTS])

    @property
    def grazing(self) -> int:
        """Peaks met within 1e-12 of threshold."""
        return int(self._live.counters[layout.N_GRAZING])

    def feed(self, times: Floats, sources: np.ndarray, mark: tuple[int, int]) -> None:
        """Add external spikes to those on their way: times (n,) ms, sources (n,) int64."""
        live = self._live
        done = live.counters[layout.NEXT_INPUT]
        t, s = (np.concatenate([old[done:], new]) for old, new in zip(live.inputs, (times, sources)))
        order = spike_order(t, s)
        counters = live.counters.copy()
        counters[layout.NEXT_INPUT] = 0
        inputs = Inputs(t[order], s[order].astype(np.int64))
        self._live = live._replace(counters=counters, inputs=inputs, mark=mark)

    def forget(self, before: float) -> None:
        """Drop the spikes before a time, ms."""
        live = self._live
        n = int(live.counters[layout.N_SPIKES])
        done = int(np.searchsorted(live.spikes.times[:n], before))
        if done:
            counters = live.counters.copy()
            counters[layout.N_SPIKES] = n - done
            spikes = Spikes(*(np.concatenate([a[done:n], room]) for a, room in zip(live.spikes, _no_spikes())))
            self._live = live._replace(counters=counters, spikes=spikes)

    def run_to(self, t_stop: float) -> None:
        """Carry on to t_stop (ms); interrupted, it can be called again."""
        flat = self.flat
        while True:
            live = self._live
            status = run_queue(
                flat.neurons, flat.level, _synapses(flat, self.weight), self._plastic, live.inputs, live.state,
                live.deliveries, self._scratch, live.spikes, live.counters, float(t_stop), flat.n_inputs,
            )  # fmt: skip
            if status == layout.DONE:
                return
            if status == layout.STUCK:
                first = int(live.state.heap[0])
                raise self._populations.stuck(first, float(live.state.key[first]))
            self._enlarge(live, status)

    def _enlarge(self, live: _Live, status: int) -> None:
        n = live.counters[layout.N_SPIKES]
        last = float(live.spikes.times[n - 1]) if n else 0.0
        if status == layout.FULL_QUEUE:
            more = self._populations.grown(live.deliveries, f"{live.deliveries.times.size:,} spikes on their way", last)
            self._live = live._replace(deliveries=layout.Deliveries(*more))
        elif status == layout.FULL_SPIKES:
            self._populations.check(live.spikes.times[:n], live.spikes.neurons[:n])
            more = self._populations.grown(live.spikes, f"{n:,} spikes", last)
            self._live = live._replace(spikes=Spikes(*more))

    def spikes(self, since: float, until: float) -> tuple[Floats, np.ndarray, Floats]:
        """Times, neurons and currents of the spikes in [since, until), ordered by (time, neuron)."""
        live = self._live
        times = live.spikes.times[: live.counters[layout.N_SPIKES]]
        since_then = slice(*np.searchsorted(times, [since, until]))
        t, i, c = (a[since_then] for a in live.spikes)
        order = spike_order(t, i)
        return t[order], i[order], c[order]

    def state(self) -> dict[str, Any]:
        """Arrays from which ``set_state`` goes on, bit for bit; spikes are not among them."""
        live = self._live
        counters = live.counters.copy()
        counters[layout.N_SPIKES] = 0
        n_queue = counters[layout.N_QUEUE]
        return {
            "state": counters,
            "neurons": [a.copy() for a in live.state],
            "pending": [a[:n_queue].copy() for a in live.deliveries],
            "inputs": [a.copy() for a in live.inputs],
            "weight": self.weight.copy() if self.flat.plastic else np.empty(0),
            "traces": [a.copy() for a in self._plastic[4:]],
        }

    def set_state(self, state: dict[str, Any], time: float, mark: tuple[int, int] = (0, 0)) -> None:
        """Continue from what ``state`` gave at ``time`` ms. Raises ValueError : see ``checked_queue``."""
        state = checked_queue(state, self.state(), self.flat, time)
        if self.flat.plastic:
            self.weight = state["weight"].copy()
            self._plastic = Plastic(*self._plastic[:4], *(a.copy() for a in state["traces"]))
        self._live = _Live(
            state["state"].copy(), layout.State(*(a.copy() for a in state["neurons"])),
            layout.Deliveries(*(a.copy() for a in state["pending"])),
            Inputs(*(a.copy() for a in state["inputs"])), _no_spikes(), mark,
        )  # fmt: skip

    def weights(self) -> dict[int, Floats]:
        """Present weights of the plastic projections, by their number, in the order of ``sample_synapses``."""
        if not self.flat.plastic:
            return {}
        given = np.empty_like(self.weight)
        given[self.flat.order] = self.weight
        return {k: given[self.flat.projection_start[k] : self.flat.projection_start[k + 1]] for k in self.flat.plastic}


def plastic_arrays(flat: FlatNetwork) -> Plastic:
    """Rules and resting traces; all empty where nothing is plastic."""
    rules = list(flat.plastic.values())
    n, n_neurons = (flat.target.size, flat.neurons.theta.size) if rules else (0, 0)
    of_given = np.full(n, -1, np.int64)
    for r, k in enumerate(flat.plastic):
        of_given[flat.projection_start[k] : flat.projection_start[k + 1]] = r
    rule = of_given[flat.order] if rules else of_given
    plastic_synapses = np.flatnonzero(rule >= 0)
    incoming = plastic_synapses[np.argsort(flat.target[plastic_synapses], kind="stable")]
    start = np.searchsorted(flat.target[incoming], np.arange(n_neurons + 1))
    return Plastic(
        rule, np.array([astuple(r) for r in rules], dtype=np.float64).reshape(len(rules), 6), start, incoming,
        np.zeros(n), np.zeros(n), np.zeros((len(rules), n_neurons)), np.zeros((len(rules), n_neurons)),
    )  # fmt: skip


_EVENTS_A_STEP = 500_000
"""Events of drives that are drawn, and kept, at a time."""


class QueueEngine:
    """The queue on a declared network; Poisson drives become inputs."""

    name = "queue"

    def __init__(self, network: NetworkDescription, seed: int) -> None:
        self.network, self._hidden = drives_as_inputs(network, lambda drive: True)
        self._seed = seed
        self._run = QueueRun(flatten(self.network, seed))
        self.offset = self._run.flat.source_offset
        self.n_inputs = self._run.flat.n_inputs
        self.c = cell_length(network, smallest_delay(network, seed)) if network.drives else 1.0
        self.pause = self.c
        drawn = self.c * sum(float(d.highest(network.size_of(d.target)).sum()) for d in network.drives) / 1000.0
        self._cells_a_step = max(1, int(_EVENTS_A_STEP / drawn)) if drawn > 0.0 else 2**62
        self.n_synapses = self._run.flat.target.size

    @property
    def events(self) -> int:
        """Synaptic events delivered so far, those of drives among them."""
        return self._run.events

    @property
    def grazing(self) -> int:
        """Peaks met within 1e-12 of threshold."""
        return self._run.grazing

    def run_to(self, stop: float, feed: Feed, returned: float) -> None:
        """As ``WindowEngine.run_to``."""
        run = self._run
        run.forget(returned)
        last = int(np.ceil(stop / self.c)) + 1
        while True:
            drawn, fed = run.mark
            reach = min(max(drawn, last), drawn + self._cells_a_step)
            if reach > drawn or fed != feed.number:
                trains = trains_of_drives(self.network, self._hidden, self._seed, self.c, range(drawn, reach))
                new = feed.times, feed.sources
                if fed == feed.number:
                    new = np.empty(0), np.empty(0, np.int64)
                run.feed(
                    np.concatenate([new[0], *(x.times for x in trains.values())]),
                    np.concatenate([new[1], *(x.neurons + self.offset[k] for k, x in trains.items())]).astype(np.int64),
                    (reach, feed.number),
                )
            run.run_to(stop if reach >= last else min(stop, reach * self.c))
            if reach >= last:
                return

    def spikes(self, since: float, until: float) -> tuple[Floats, np.ndarray, Floats]:
        """As ``WindowEngine.spikes``."""
        return self._run.spikes(since, until)

    def weights(self) -> dict[int, Floats]:
        """Present weights of the plastic projections, by their number."""
        return self._run.weights()

    def state(self) -> dict[str, Any]:
        """Arrays and numbers to continue from."""
        return {"queue": self._run.state(), "drawn_cells": self._run.mark[0],
                "tally": [self.events, self.grazing]}  # fmt: skip

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms. Raises ValueError : no state of this network."""
        table(state, "engine", "queue", "drawn_cells", "tally")
        for k, value in enumerate(sequence(state["tally"], "engine/tally", 2)):
            integer(value, f"engine/tally/{k}")
        drawn = checked_cells(state["drawn_cells"], "engine/drawn_cells", time, self.c, bool(self._hidden))
        self._run.set_state(state["queue"], time, (drawn, 0))


def run_flat(flat: FlatNetwork, times: Floats, sources: np.ndarray, t_stop: float) -> FlatRun:
    """The queue engine on flat arrays from 0 ms: times (n,) sorted external spikes, sources (n,) int64."""
    run = QueueRun(flat)
    run.feed(times, sources, (0, 1))
    run.run_to(t_stop)
    return FlatRun(*run.spikes(0.0, t_stop), run.events, run.grazing)


def run_flat_batch(flat: FlatNetwork, batch: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
    """Every sample of a batch of input spikes through a planned network, from its initial state, by the queue.

    Stretches of samples run on threads; the result does not depend on them, nor on how samples are batched.
    Spikes of all neurons of the flat.

    Raises RunawayError : neurons that spike without bound.
    """
    n = flat.neurons.theta.size
    counts = np.zeros(len(batch), np.int64)
    sources = batch.neurons.astype(np.int64)
    plastic = plastic_arrays(flat)
    populations = Populations(flat.source_offset, flat.n_inputs, flat.neurons.tau_m)

    def stretch(first: int, last: int) -> list[np.ndarray]:
        out, sample_spikes, deliveries = _no_spikes(), _no_spikes(256), _no_deliveries(256)
        state, scratch = _initial(n, flat.neurons.u_init), _scratch(n)
        counters = np.zeros(layout.N_COUNTERS, np.int64)
        progress = np.array([first, 0, 0])
        while True:
            status = queue_samples(
                Inputs(batch.times, sources), batch.offsets, flat.neurons, flat.level,
                _synapses(flat, flat.weight), plastic, (state, deliveries, scratch, sample_spikes, counters), out,
                (counts, progress), float(t_stop), flat.n_inputs, last,
            )  # fmt: skip
            k = counters[layout.N_SPIKES]
            if status == layout.DONE:
                return [a[: progress[1]] for a in out]
            if status == layout.STUCK:
                raise populations.stuck(int(state.heap[0]), float(state.key[state.heap[0]]))
            if status == layout.FULL_QUEUE:
                more = populations.grown(
                    deliveries, f"{deliveries.times.size:,} spikes on their way", float(deliveries.times[0])
                )
                deliveries = layout.Deliveries(*more)
            elif status == layout.FULL_SPIKES:
                populations.check(sample_spikes.times[:k], sample_spikes.neurons[:k])
                reached = float(sample_spikes.times[k - 1])
                sample_spikes = Spikes(*populations.grown(sample_spikes, f"{k:,} spikes of a sample", reached))
            elif status == SAMPLES_FULL:
                out = Spikes(*populations.grown(out, f"{progress[1]:,} spikes of a batch", t_stop))
            check_halt()

    parts = over_stretches(stretch, len(batch), threads)
    nothing = np.empty(0), np.empty(0, np.int32), np.empty(0)
    t, i, c = (np.concatenate([empty, *(part[k] for part in parts)]) for k, empty in enumerate(nothing))
    return SpikeBatch.owning(t, i, np.append(0, np.cumsum(counts)), n, c)
