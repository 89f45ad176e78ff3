"""The forward tangent: how every spike moves when parameters move, event by event forwards, in plain Python.

It shares no code with the adjoint: <adjoint gradient, direction> must equal <dL/dt, tangent> to rounding.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evsim.neurons.lif import LIF
from evsim.testing.derivatives import NEURON_KINDS, Direction
from evsim.testing.follow import SpikesChanged
from evsim.testing.oracle import zero_delay_depth
from evsim.testing.strategies import NetworkDescription
from evsim.types import Floats


@dataclass
class _Neuron:
    """State of a neuron at time t and its tangent; u is the potential above v_rest + bias."""

    lif: LIF
    moves: dict[str, float]
    t: float = 0.0
    u: float = 0.0
    du: float = 0.0
    i: list[float] = field(default_factory=list)
    di: list[float] = field(default_factory=list)
    release: float = 0.0
    d_release: float = 0.0
    held: bool = False
    kept: float = 0.0
    d_kept: float = 0.0

    def __post_init__(self) -> None:
        p, m = self.lif, self.moves
        self.v_inf, d_inf = p.v_rest + p.bias, m["v_rest"] + m["bias"]
        self.theta, self.d_theta = p.v_th - self.v_inf, m["v_th"] - d_inf
        self.reset, self.d_reset = p.v_reset - self.v_inf, m["v_reset"] - d_inf
        self.u = (p.v_rest if p.v_init is None else p.v_init) - self.v_inf
        self.du = m["v_init"] - d_inf
        self.taus, self.d_taus = list(p.receptor_taus()), [m["tau_exc"], m["tau_inh"]]
        self.i, self.di = [0.0] * len(self.taus), [0.0] * len(self.taus)

    def slope(self) -> float:
        return (sum(self.i) - self.u) / self.lif.tau_m

    def advance(self, t: float) -> None:
        """To time t, through the release."""
        if self.held and self.release <= t:
            self._currents(self.release - self.t)
            self.t, self.held = self.release, False
            self.u, self.du = self.reset + self.kept, self.d_reset + self.d_kept
            # A release that comes later lets go of a potential that would have moved on in the meantime.
            self.du += self.d_release * (-self.slope() - self.kept / self.lif.tau_m)
            self.kept = self.d_kept = 0.0
        if not self.held:
            self._potential(t - self.t)
        self._currents(t - self.t)
        self.t = t

    def _potential(self, s: float) -> None:
        tau = self.lif.tau_m
        leak = math.exp(-s / tau)
        u, du = self.u * leak, self.du * leak + self.u * leak * s / tau**2 * self.moves["tau_m"]
        for i, di, tau_s, d_tau in zip(self.i, self.di, self.taus, self.d_taus):
            p, by_m, by_s = _response(s, tau, tau_s)
            u += i * p
            du += di * p + i * (by_m * self.moves["tau_m"] + by_s * d_tau)
        self.u, self.du = u, du

    def _currents(self, s: float) -> None:
        for r, (tau, d_tau) in enumerate(zip(self.taus, self.d_taus)):
            decay = math.exp(-s / tau)
            self.di[r] = self.di[r] * decay + self.i[r] * decay * s / tau**2 * d_tau
            self.i[r] *= decay

    def receive(self, w: float, dw: float, dt: float) -> None:
        """A spike of weight w arrives now; its weight moves by dw and its arrival by dt."""
        if not self.taus:
            tau = self.lif.tau_m
            if not self.held:
                self.u, self.du = self.u + w, self.du + dw + w / tau * dt
            elif self.lif.keep_refractory_input:
                x = self.release - self.t
                e = math.exp(-x / tau)
                self.kept += w * e
                self.d_kept += e * (dw + w * dt / tau + w * x / tau**2 * self.moves["tau_m"])
            return
        r = 1 if len(self.taus) == 2 and w < 0.0 else 0
        self.i[r] += w
        self.di[r] += dw + w / self.taus[r] * dt
        if not self.held:
            self.du -= w / self.lif.tau_m * dt

    def fire(self, t: float, dt: float) -> None:
        self.release, self.d_release = t + self.lif.t_ref, dt + self.moves["t_ref"]
        self.held = True
        self.kept = self.d_kept = 0.0


def _response(s: float, tau_m: float, tau_s: float) -> tuple[float, float, float]:
    """P(s) and its derivatives by tau_m and tau_s; Gauss-Legendre quadrature, so that no ratio is special.

    P(s) = (1/tau_m) int_0^s exp(-y/tau_m) exp(-(s - y)/tau_s) dy.
    """
    panels = max(1, math.ceil(2.0 * s / min(tau_m, tau_s)))
    edges = np.linspace(0.0, s, min(panels, 400) + 1)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    y = (middle[:, None] + half[:, None] * _NODES).ravel()
    w = (half[:, None] * _WEIGHTS).ravel() * np.exp(-y / tau_m - (s - y) / tau_s) / tau_m
    p = float(w.sum())
    return p, float((w * y).sum()) / tau_m**2 - p / tau_m, float((w * (s - y)).sum()) / tau_s**2


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


def tangent(description: NetworkDescription, spikes: Sequence[tuple[float, int]], direction: Direction) -> Floats:
    """Derivative of each spike's time (ms) along a direction, (n_spikes,).

    spikes : (time, neuron) of all neurons, ordered by (time, neuron), as recorded

    The implicit function theorem at each crossing; a spike made by a delta kick moves with that kick, one made by kept
    kicks with its release, one of an initial potential above the threshold not at all. Ties of an arrival with a
    crossing or a release of its target are taken in the order of the simulator.

    Raises SpikesChanged : kicks of one instant that move apart make a neuron fire.
    """
    return _Sweep(description, spikes, direction).run()


_CROSSING, _ARRIVAL, _KICKED = 0, 1, 2  # order within an instant


class _Sweep:
    """The events in order; those of one instant by the level of their neuron, as delays of 0 demand."""

    def __init__(
        self, description: NetworkDescription, spikes: Sequence[tuple[float, int]], direction: Direction
    ) -> None:
        d = self.description = description
        self.direction = direction
        moves = [{kind: self.of(kind, k) for kind in NEURON_KINDS} for k in range(len(d.neurons))]
        self.cells = [_Neuron(lif, by_kind) for lif, by_kind in zip(d.neurons, moves)]
        self.levels = zero_delay_depth(d.neurons, d.synapses, d.n_inputs)
        self.moved = np.zeros(len(spikes))
        self.kicks: dict[int, tuple[float, list[float]]] = {}  # of a neuron: last instant, how its kicks move
        self.queue: list[tuple[float, int, int, int, int, float]] = []
        for k, (t, n) in enumerate(spikes):
            phase = _CROSSING if d.neurons[n].receptor_taus() else _KICKED
            heapq.heappush(self.queue, (t, self.levels[n], phase, n, k, 0.0))
        for k, (t, source) in enumerate(d.input_spikes):
            self.emit(source, t, self.of("input", k))

    def of(self, kind: str, k: int) -> float:
        """The move of one parameter."""
        return float(self.direction[kind][k]) if kind in self.direction else 0.0

    def emit(self, source: int, t: float, dt: float) -> None:
        for s, (pre, post, _, delay) in enumerate(self.description.synapses):
            if pre == source and t + delay < self.description.t_stop:
                arrival = (t + delay, self.levels[post], _ARRIVAL, post, s, dt + self.of("delay", s))
                heapq.heappush(self.queue, arrival)

    def run(self) -> Floats:
        while self.queue:
            t, _, phase, n, k, dt = heapq.heappop(self.queue)
            if phase == _ARRIVAL:
                self.cells[n].advance(t)
                self.cells[n].receive(self.description.synapses[k][2], self.of("weight", k), dt)
                last, moves = self.kicks.get(n, (t, []))
                self.kicks[n] = (t, [*moves, dt] if last == t else [dt])
            else:
                self.moved[k] = self.fire(n, t)
                self.emit(self.description.n_inputs + n, t, float(self.moved[k]))
        return self.moved

    def fire(self, n: int, t: float) -> float:
        """Reset neuron n; how its spike moves."""
        cell = self.cells[n]
        last_kick, moves = self.kicks.get(n, (-1.0, []))
        on_release, d_release = cell.held and cell.release == t, cell.d_release
        cell.advance(t)
        if not cell.taus and last_kick == t:
            dt = moves[0]
            if max(moves) - min(moves) > 1e-9 * max(map(abs, moves)):
                raise SpikesChanged("several kicks of one instant make a neuron fire, and they move apart.")
        elif not cell.taus and on_release:
            dt = d_release
        elif t == 0.0:
            dt = 0.0
        else:
            dt = (cell.d_theta - cell.du) / ((sum(cell.i) - cell.theta) / cell.lif.tau_m)
        cell.fire(t, dt)
        return dt
