"""A time grid: spikes on it, what a step does to a neuron, and readouts of spikes that stand on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.neurons.lif import psp
from evsim.learning._kernels.grid import GridState, StepFactors, collect, deliver, run_steps
from evsim.learning.layers.dense import Recurrent
from evsim.learning.layers.readout import Readout, Voltages, arrival_factors, by_sample
from evsim.neurons.arrays import neuron_arrays
from evsim.spikes import SpikeBatch
from evsim.types import Floats


@dataclass(frozen=True)
class Grid:
    """Grid points n dt, n = 0 ... steps - 1, that cover [0, t_stop) ms, for some samples."""

    dt: float
    steps: int
    samples: int
    t_stop: float

    def rows(self, spikes: SpikeBatch, delay: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all spikes that arrive before the end: step times samples plus sample, and the neuron."""
        step = np.rint((spikes.times + float(delay)) / self.dt).astype(np.int64)
        there = step < self.steps
        return (step * self.samples + spikes.samples())[there], spikes.neurons[there]

    def earlier(self, by_arrival: Floats, delay: Any) -> Floats:
        """From dL/d arrival to dL/d spike, which was so much before."""
        d = round(float(delay) / self.dt)
        return by_arrival if d == 0 else np.concatenate([by_arrival[d:], np.zeros_like(by_arrival[:d])])

    def spikes(self, fired: Floats, n: int) -> SpikeBatch:
        """(steps, samples n) as spikes at grid times."""
        sample, step, neuron = np.nonzero(fired.reshape(self.steps, self.samples, n).transpose(1, 0, 2))
        offsets = np.searchsorted(sample, np.arange(self.samples + 1))
        return SpikeBatch.owning(np.asarray(step * self.dt, np.float64), neuron.astype(np.int32), offsets, n)

    def delay(self, layer: Recurrent) -> int:
        """Steps from a spike to its arrival in the same layer, >= 1."""
        return max(1, round(float(layer.recurrent_delays.value()) / self.dt))

    def stretches(self, layer: Any) -> list[tuple[int, int, int | None]]:
        """(first, last, first step of the spikes that arrive then): as many steps as recurrent spikes are under way."""
        if not isinstance(layer, Recurrent):
            return [(0, self.steps, None)]
        d = self.delay(layer)
        return [(a, min(a + d, self.steps), a - d if a else None) for a in range(0, self.steps, d)]


def step_factors(layer: Any, dt: float) -> StepFactors:
    """Factors of one time step of dt ms."""
    p = neuron_arrays(layer.neuron, layer.n_out)
    tau_m, tau_s = float(p.tau_m[0]), float(p.tau_exc[0])
    return StepFactors(float(np.exp(-dt / tau_m)), float(np.exp(-dt / tau_s)), psp(dt, tau_m, tau_s))


def through(a: Floats, b: Floats) -> Floats:
    """(steps, samples n) by (n, m): (steps, samples m)."""
    return (a.reshape(-1, b.shape[0]) @ b).reshape(len(a), -1)


def forward_readout(grid: Grid, layer: Readout, inputs: SpikeBatch) -> tuple[Voltages, Any]:
    """Integrals are exact for arrivals on the grid; the highest potential is that of the grid points."""
    rows, neurons = grid.rows(inputs, layer.delays.value())
    step, sample = np.divmod(rows, grid.samples)
    order = np.argsort(sample, kind="stable")
    offsets = np.searchsorted(sample[order], np.arange(grid.samples + 1))
    arrivals = SpikeBatch.owning(step[order] * grid.dt, neurons[order], offsets, layer.n_in)
    if layer.feature == "integral":
        plain = Readout(layer.n_in, layer.n_out, layer.neuron, "integral", layer.weighting)
        plain.weight = layer.weight
        return plain.forward(arrivals, grid.t_stop), arrivals
    n = layer.n_out
    p, factors = neuron_arrays(layer.neuron, n), step_factors(layer, grid.dt)
    drive = np.zeros((grid.steps, grid.samples * n))
    deliver(layer.weight, rows, neurons, drive.reshape(-1, n))
    u = np.tile(p.u_init / factors.leak, grid.samples)
    state = GridState(u, np.zeros(drive.shape[1]), np.zeros(drive.shape[1], np.int64))
    trace = np.empty_like(drive)
    run_steps(drive, np.full(n, np.inf), p.u_reset, state, np.zeros_like(drive), trace, factors, 0, 0, grid.steps)
    by_neuron = trace.reshape(grid.steps, grid.samples, n)
    top = np.argmax(by_neuron, axis=0)
    values = np.take_along_axis(by_neuron, top[None], axis=0)[0] + p.v_inf
    shape = values.shape
    return Voltages(values, top * grid.dt, np.full(shape, -1), np.zeros(shape)), top


def backward_readout(
    grid: Grid, layer: Any, inputs: SpikeBatch, record: Any, signal: Floats, wanted: bool
) -> tuple[dict[str, Floats], Floats]:
    gradients = {"weight": np.zeros_like(layer.weight)}
    times = np.asarray(np.arange(grid.steps) * grid.dt, np.float64)
    if layer.feature == "integral":
        steps = SpikeBatch.owning(times, np.zeros(grid.steps, np.int32), np.array([0, grid.steps]), 1)
        gain = arrival_factors(layer, steps, grid.t_stop, False)[:, 0]
        gradients["weight"] = by_sample(record, gain[np.rint(record.times / grid.dt).astype(np.int64)]).T @ signal
        by_arrival = gain[:, None] * (signal @ layer.weight.T).reshape(1, -1)
        return gradients, grid.earlier(by_arrival, layer.delays.value()) if wanted else np.zeros(0)
    p = neuron_arrays(layer.neuron, layer.n_out)
    response = np.array([psp(t, float(p.tau_m[0]), float(p.tau_exc[0])) for t in times])
    ahead = record[None] - np.arange(grid.steps)[:, None, None]
    by_drive = np.where(ahead >= 0, response[np.maximum(ahead, 0)], 0.0) * signal
    by_drive = by_drive.reshape(grid.steps, -1)
    rows, neurons = grid.rows(inputs, layer.delays.value())
    collect(by_drive.reshape(-1, layer.n_out), rows, neurons, gradients["weight"])
    return gradients, grid.earlier(through(by_drive, layer.weight.T), layer.delays.value()) if wanted else np.zeros(0)
