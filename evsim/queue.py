"""The queue engine on a planned network: state and buffers around the kernel."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from evsim._kernels import queue_driver
from evsim._kernels.batch_driver import queue_samples
from evsim._kernels.stdp import Plastic
from evsim.choice import cell_length, smallest_delay
from evsim.drive import exposed, exposed_trains
from evsim.network import Network
from evsim.plan import Plan, make_plan
from evsim.queue_state import checked_queue
from evsim.state_check import checked_cells, integer, sequence, table
from evsim.threads import over_stretches
from evsim.types import Floats, Ints, SpikeBatch, spike_order


@dataclass(frozen=True, eq=False)
class PlanRun:
    """Spikes of all neurons of a plan, ordered by (time, neuron); events delivered; grazing peaks."""

    times: Floats
    neurons: Ints
    currents: Floats
    events: int
    grazing: int


class QueueRun:
    """A plan being simulated; ``advance`` carries it on."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        p = plan.neurons
        n = p.theta.size
        whole = [np.zeros(n, np.int64) for _ in range(3)]
        self._state = np.zeros(queue_driver.N_STATE, np.int64)
        self._neurons: list[np.ndarray] = [
            p.u_init.copy(), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.bool_),
            np.zeros(n), *whole[:2],
        ]  # fmt: skip
        self._plastic = plastic_arrays(plan)
        self.weight = plan.weight.copy() if plan.plastic else plan.weight
        self._touched = whole[2], np.zeros(n, np.int8)
        self._pending: list[np.ndarray] = [
            np.empty(1024), np.empty(1024), *(np.empty(1024, np.int64) for _ in range(3))
        ]
        self._inputs: tuple[Floats, np.ndarray] = (np.empty(0), np.empty(0, np.int64))
        u, i_exc, _, _, bound, solved, key, heap, position = self._neurons
        self._state[queue_driver.N_HEAP] = queue_driver.start_queue(
            u, i_exc, p.theta, p.tau_m, p.peak, p.n_receptors, plan.level, bound, solved, key, heap, position
        )

    def advance(self, t_stop: float, times: Floats, sources: np.ndarray) -> PlanRun:
        """Carry on to t_stop (ms). times (n,) sorted further external spikes, sources (n,) int64.

        Returns what was emitted since the last call, and all events and grazing peaks so far.
        """
        plan, p, state = self.plan, self.plan.neurons, self._state
        done = state[queue_driver.NEXT_INPUT]
        t, s = (np.concatenate([old[done:], new]) for old, new in zip(self._inputs, (times, sources)))
        order = spike_order(t, s)
        self._inputs = t[order], s[order].astype(np.int64)
        state[queue_driver.NEXT_INPUT] = state[queue_driver.N_SPIKES] = 0
        out: list[np.ndarray] = [np.empty(4096), np.empty(4096, np.int32), np.empty(4096)]
        while True:
            status = queue_driver.run_queue(
                p.theta, p.u_reset, p.t_ref, p.tau_m, p.tau_exc, p.tau_inh, p.peak, p.n_receptors, p.keep_input,
                plan.level, plan.group_start, plan.group_delay, plan.group_level, plan.synapse_start,
                plan.target, self.weight, self._plastic, *self._inputs, *self._neurons, *self._pending,
                *self._touched, *out, state, float(t_stop), plan.n_inputs,
            )  # fmt: skip
            if status == queue_driver.DONE:
                break
            self._pending, out = _enlarged(self._pending), _enlarged(out)
        t, i, c = (a[: state[queue_driver.N_SPIKES]] for a in out)
        order = spike_order(t, i)
        events, grazing = state[queue_driver.N_EVENTS], state[queue_driver.N_GRAZING]
        return PlanRun(t[order], i[order], c[order], int(events), int(grazing))

    def state(self) -> dict[str, Any]:
        """Arrays from which ``set_state`` goes on, bit for bit; spikes are not among them."""
        state = self._state.copy()
        state[queue_driver.N_SPIKES] = 0
        return {
            "state": state,
            "neurons": [a.copy() for a in self._neurons],
            "pending": [a[: state[queue_driver.N_QUEUE]].copy() for a in self._pending],
            "inputs": [a.copy() for a in self._inputs],
            "weight": self.weight.copy() if self.plan.plastic else np.empty(0),
            "traces": [a.copy() for a in self._plastic[4:]],
        }

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms. Raises ValueError : see ``checked_queue``."""
        state = checked_queue(state, self.state(), self.plan, time)
        self._state = state["state"].copy()
        self._neurons = [a.copy() for a in state["neurons"]]
        self._pending = [a.copy() for a in state["pending"]]
        t, s = (a.copy() for a in state["inputs"])
        self._inputs = t, s
        if self.plan.plastic:
            self.weight = state["weight"].copy()
            self._plastic = Plastic(*self._plastic[:4], *(a.copy() for a in state["traces"]))

    def weights(self) -> dict[int, Floats]:
        """Present weights of the plastic projections, by their number, in the order of ``synapses_of``."""
        if not self.plan.plastic:
            return {}
        given = np.empty_like(self.weight)
        given[self.plan.order] = self.weight
        return {k: given[self.plan.projection_start[k] : self.plan.projection_start[k + 1]] for k in self.plan.plastic}


def plastic_arrays(plan: Plan) -> Plastic:
    """Rules and resting traces of a plan; all empty where nothing is plastic."""
    rules = list(plan.plastic.values())
    n, n_neurons = (plan.target.size, plan.neurons.theta.size) if rules else (0, 0)
    of_given = np.full(n, -1, np.int64)
    for r, k in enumerate(plan.plastic):
        of_given[plan.projection_start[k] : plan.projection_start[k + 1]] = r
    rule = of_given[plan.order] if rules else of_given
    mine = np.flatnonzero(rule >= 0)
    incoming = mine[np.argsort(plan.target[mine], kind="stable")]
    start = np.searchsorted(plan.target[incoming], np.arange(n_neurons + 1))
    return Plastic(
        rule, np.array([astuple(r) for r in rules], dtype=np.float64).reshape(len(rules), 6), start, incoming,
        np.zeros(n), np.zeros(n), np.zeros((len(rules), n_neurons)), np.zeros((len(rules), n_neurons)),
    )  # fmt: skip


class QueueEngine:
    """The queue on a declared network; Poisson drives become inputs."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network, self._hidden = exposed(network, lambda drive: True)
        self._seed = seed
        self._run = QueueRun(make_plan(self.network, seed))
        self.offset = self._run.plan.source_offset
        self.n_inputs = self._run.plan.n_inputs
        self.c = cell_length(network, smallest_delay(network, seed)) if network.drives else 1.0
        self.cells_a_window = 1
        self._drawn_cells = 0
        self.events = self.grazing = 0
        self.n_synapses = self._run.plan.target.size

    def advance(self, t_stop: float, times: Floats, sources: np.ndarray) -> tuple[Floats, np.ndarray, Floats]:
        """As ``WindowEngine.advance``."""
        cells = range(self._drawn_cells, max(self._drawn_cells, int(np.ceil(t_stop / self.c)) + 1))
        self._drawn_cells = cells.stop
        trains = exposed_trains(self.network, self._hidden, self._seed, self.c, cells)
        t = np.concatenate([times, *(x.times for x in trains.values())])
        s = np.concatenate([sources, *(x.neurons + self.offset[k] for k, x in trains.items())]).astype(np.int64)
        run = self._run.advance(t_stop, t, s)
        self.events, self.grazing = run.events, run.grazing
        return run.times, run.neurons, run.currents

    def weights(self) -> dict[int, Floats]:
        """Present weights of the plastic projections, by their number."""
        return self._run.weights()

    def state(self) -> dict[str, Any]:
        """Arrays and numbers to continue from."""
        return {"queue": self._run.state(), "drawn_cells": self._drawn_cells,
                "tally": [self.events, self.grazing]}  # fmt: skip

    def set_state(self, state: dict[str, Any], time: float) -> None:
        """Continue from what ``state`` gave at ``time`` ms. Raises ValueError : no state of this network."""
        table(state, "engine", "queue", "drawn_cells", "tally")
        tally = [integer(v, f"engine/tally/{k}") for k, v in enumerate(sequence(state["tally"], "engine/tally", 2))]
        drawn = checked_cells(state["drawn_cells"], "engine/drawn_cells", time, self.c, bool(self._hidden))
        self._run.set_state(state["queue"], time)
        self._drawn_cells = drawn
        self.events, self.grazing = tally


def run_plan(plan: Plan, times: Floats, sources: np.ndarray, t_stop: float) -> PlanRun:
    """The queue engine on flat arrays from 0 ms: times (n,) sorted external spikes, sources (n,) int64."""
    return QueueRun(plan).advance(t_stop, times, sources)


def run_plan_batch(plan: Plan, batch: SpikeBatch, t_stop: float, threads: int = 1) -> SpikeBatch:
    """Every sample of a batch of input spikes through a planned network, from its initial state, by the queue.

    Stretches of samples run on threads; the result does not depend on them, nor on how samples are batched.
    Spikes of all neurons of the plan.
    """
    p = plan.neurons
    counts = np.zeros(len(batch), np.int64)
    sources = batch.neurons.astype(np.int64)
    plastic = plastic_arrays(plan)

    def stretch(first: int, last: int) -> list[np.ndarray]:
        out: list[np.ndarray] = [np.empty(4096), np.empty(4096, np.int32), np.empty(4096)]
        progress = np.array([first, 0])
        while not queue_samples(
            batch.times, sources, batch.offsets,
            p.theta, p.u_reset, p.t_ref, p.tau_m, p.tau_exc, p.tau_inh, p.peak, p.n_receptors, p.keep_input, p.u_init,
            plan.level, plan.group_start, plan.group_delay, plan.group_level, plan.synapse_start,
            plan.target, plan.weight, plastic,
            *out, counts, progress, np.zeros(2, np.int64), float(t_stop), plan.n_inputs, last,
        ):  # fmt: skip
            out = _enlarged(out)
        return [a[: progress[1]] for a in out]

    parts = over_stretches(stretch, len(batch), threads)
    nothing = np.empty(0), np.empty(0, np.int32), np.empty(0)
    t, i, c = (np.concatenate([empty, *(part[k] for part in parts)]) for k, empty in enumerate(nothing))
    return SpikeBatch(t, i, np.append(0, np.cumsum(counts)), p.theta.size, c)


def _enlarged(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate([a, np.empty_like(a)]) for a in arrays]
