"""The 50-digit replay of a network whose parameters were moved by next to nothing, along the events it had before.

The unmoved network is replayed in full (`oracle.py`). A moved one then has the same events at other times: each
crossing is found by Newton's method from where it was, several times faster than by a new search. That the events are
the same is checked: a margin too small for the step, arrivals, spikes and releases of a neuron that change places, and
kicks that cross the end of the trial, raise `SpikesChanged`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mpmath import mp, mpf

from evsim.neurons.lif import LIF
from evsim.testing.closed_form import DIGITS
from evsim.testing.oracle import OracleNeuron, Parameters, replay_network, zero_delay_depth
from evsim.testing.strategies import NetworkDescription

MpSynapse = tuple[int, int, mpf, mpf]
SAME = mpf(10) ** -32  # ms: instants nearer than this are one; steps are 1e-16, rounding is 1e-40
LEAST_MARGIN = 1e-12  # below it a step of 1e-16 may make or unmake a spike
_ARRIVAL, _CROSSING, _KICKED = 1, 0, 2  # order within an instant


class SpikesChanged(ArithmeticError):
    """The step made spikes appear, vanish or change places: there is no derivative, or not within the step."""


@dataclass(frozen=True)
class Base:
    """A network in exact numbers, and its spikes (time in ms, neuron), ordered by (time, neuron)."""

    neurons: tuple[Parameters, ...]
    synapses: tuple[MpSynapse, ...]
    inputs: tuple[tuple[mpf, int], ...]
    n_inputs: int
    end: mpf
    depth: tuple[int, ...]
    spikes: tuple[tuple[mpf, int], ...]
    margin: float


def base_of(description: NetworkDescription) -> Base:
    """The replay of a description, all additions of times exact; the latest ones are kept."""
    d = description
    return _base(tuple(d.neurons), tuple(d.synapses), tuple(d.input_spikes), d.n_inputs, d.t_stop)


@lru_cache(maxsize=32)
def _base(
    lifs: tuple[LIF, ...], links: tuple[tuple[int, int, float, float], ...], fed: tuple[tuple[float, int], ...],
    n_inputs: int, t_stop: float,
) -> Base:  # fmt: skip
    neurons = tuple(Parameters.of(lif, exact=True) for lif in lifs)
    synapses = tuple((pre, post, mpf(w), mpf(delay)) for pre, post, w, delay in links)
    inputs = tuple((mpf(t), source) for t, source in fed)
    replay = replay_network(neurons, synapses, inputs, n_inputs, mpf(t_stop))
    depth = tuple(zero_delay_depth(neurons, synapses, n_inputs))
    return Base(neurons, synapses, inputs, n_inputs, mpf(t_stop), depth, tuple(replay), replay.margin)


def follow(
    base: Base, neurons: Sequence[Parameters], synapses: Sequence[MpSynapse], inputs: Sequence[tuple[mpf, int]]
) -> list[mpf]:
    """Times (ms) of the spikes of ``base``, in its order, with these parameters in place of its own.

    Raises SpikesChanged : the events of a neuron change places, or a spike might appear or vanish.
    """
    if base.margin < LEAST_MARGIN:
        raise SpikesChanged(f"a decision is within {base.margin:.1e} of going the other way: grazing, or nearly a tie.")
    with mp.workdps(DIGITS):
        return _Follower(base, neurons, synapses, inputs).times()


class _Follower:
    """Events in the order of their old times ("was"); the cells hold the moved states."""

    def __init__(
        self, base: Base, neurons: Sequence[Parameters], synapses: Sequence[MpSynapse],
        inputs: Sequence[tuple[mpf, int]],
    ) -> None:  # fmt: skip
        self.base, self.synapses = base, synapses
        self.cells = [OracleNeuron(p) for p in neurons]
        self.release_was = [mpf(0)] * len(neurons)
        self.kicks: dict[int, tuple[mpf, list[mpf]]] = {}  # of a neuron: instant as it was, moved instants
        self.expected = set(base.spikes)
        self.moved = [mpf(0)] * len(base.spikes)
        self.queue: list[tuple[mpf, int, int, int, int, mpf, mpf]] = []
        for k, (was, n) in enumerate(base.spikes):
            phase = _CROSSING if self.cells[n].taus else _KICKED
            heapq.heappush(self.queue, (was, base.depth[n], phase, n, k, mpf(0), mpf(0)))
        for (was, source), (t, _) in zip(base.inputs, inputs):
            self._emit(source, was, t)

    def times(self) -> list[mpf]:
        while self.queue:
            was, depth, phase, n, k, t, w = heapq.heappop(self.queue)
            if phase == _ARRIVAL:
                batch = [(t, w)]
                while self.queue and self.queue[0][:4] == (was, depth, _ARRIVAL, n):
                    batch.append(heapq.heappop(self.queue)[5:])
                self._receive(n, was, sorted(batch))
            else:
                self._fire(n, was, k)
        return self.moved

    def _emit(self, source: int, was: mpf, t: mpf) -> None:
        for k, ((pre, post, _, delay_was), (_, _, w, delay)) in enumerate(zip(self.base.synapses, self.synapses)):
            if pre != source:
                continue
            arrival_was, arrival, end = was + delay_was, t + delay, self.base.end
            if (arrival_was < end) != (arrival < end) and not self.cells[post].taus:
                raise SpikesChanged("a kick moves across the end of the trial.")
            if arrival_was < end:
                entry = (arrival_was, self.base.depth[post], _ARRIVAL, post, k, arrival, w)
                heapq.heappush(self.queue, entry)

    def _receive(self, n: int, was: mpf, batch: list[tuple[mpf, mpf]]) -> None:
        """Arrivals of one old instant, at their moved instants."""
        cell = self.cells[n]
        groups: list[tuple[mpf, list[mpf]]] = []
        for t, w in batch:
            if groups and t - groups[-1][0] <= SAME:
                groups[-1][1].append(w)
            else:
                groups.append((t, [w]))
        for t, weights in groups:
            if cell.has_fired and _side(t - cell.release) != _side(was - self.release_was[n]):
                raise SpikesChanged("an arrival and an end of refractoriness change places.")
            self._in_order(cell, t)
            cell.receive(max(t, cell.t, cell.release) if _side(t - cell.release) == 0 else max(t, cell.t), weights)
            if not cell.taus and cell.t >= cell.release and cell.u >= cell.theta and (was, n) not in self.expected:
                raise SpikesChanged("kicks of one instant, moved apart, make a neuron fire.")
        self.kicks[n] = (was, [t for t, _ in groups])

    def _fire(self, n: int, was: mpf, k: int) -> None:
        cell = self.cells[n]
        kicked_at, instants = self.kicks.get(n, (mpf(-1), []))
        if not cell.taus and kicked_at == was:
            if len(instants) > 1:
                raise SpikesChanged("several kicks of one instant make a neuron fire, and they move apart.")
            t = instants[0]
        elif cell.has_fired and was == self.release_was[n]:
            t = cell.release
        elif was == 0:
            if cell.u < cell.theta:
                raise SpikesChanged("an initial potential at the threshold moves below it.")
            t = mpf(0)
        else:
            t = _crossing(cell, was)
        self._in_order(cell, t)
        t = max(t, cell.t)
        cell.fire(t, t)
        self.moved[k] = t
        self.release_was[n] = was + self.base.neurons[n].t_ref
        self._emit(self.base.n_inputs + n, was, t)

    @staticmethod
    def _in_order(cell: OracleNeuron, t: mpf) -> None:
        if t < cell.t - SAME:
            raise SpikesChanged("a spike and an arrival of one neuron change places.")


def _side(difference: mpf) -> int:
    return 0 if abs(difference) <= SAME else (1 if difference > 0 else -1)


def _crossing(cell: OracleNeuron, was: mpf) -> mpf:
    """Time at which the moved potential reaches the threshold, near the old time."""
    if cell.t < cell.release:
        cell.advance(cell.release)
    trace = cell.trace()
    s = was - cell.t
    for _ in range(8):
        gap, slope = trace.gap(s)
        if slope <= 0:
            break
        change = gap / slope
        s -= change
        if abs(change) < mpf(10) ** -26:  # quadratic: what is left is far below 1e-45
            return cell.t + s
    raise SpikesChanged("a crossing is lost: the potential grazes the threshold there.")
