"""Runs of generated networks, and when two engines must agree on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from evsim import GrazingWarning, Network, SpikeTrains
from evsim.testing.derivatives import untied
from evsim.testing.oracle import Replay, replay_network
from evsim.testing.strategies import NetworkDescription

CLOSE = 1e-11  # ms
NEAR = 1e-9


def run(net: Network, spikes: SpikeTrains, t_stop: float, driver: str = "queue", **options):
    """A run whose grazing peaks are nobody's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GrazingWarning)
        return net.simulate(t_stop, inputs={"in": spikes}, driver=driver, **options)


def spikes_of(description: NetworkDescription, driver: str) -> list[tuple[float, int]]:
    """(time, neuron) of all populations, sorted."""
    rec = run(description.network()[0], description.input_trains(), description.t_stop, driver)
    found = []
    for p in range(len(description.populations)):
        start = description.population_range(p).start
        train = rec[f"p{p}"]
        assert np.all(np.diff(train.times) >= 0.0)
        found += [(float(t), start + int(k)) for t, k in zip(train.times, train.neurons)]
    return sorted(found)


def assert_same(found: list[tuple[float, int]], expected: list, close: float = CLOSE) -> None:
    """Same spikes of every neuron to `close`, and the same order wherever the times tell it."""
    assert len(found) == len(expected)
    for k in {n for _, n in expected} | {n for _, n in found}:
        mine = [t for t, n in found if n == k]
        np.testing.assert_allclose(mine, [float(t) for t, n in expected if n == k], rtol=0.0, atol=close)
    times = [float(t) for t, _ in expected]
    if all(b - a > 2 * close for a, b in pairwise(times)):
        assert [n for _, n in found] == [n for _, n in expected]


def away_from_grazing(truth: Replay) -> bool:
    """Is the contract's bound for two engines, 4 eps condition each, below `CLOSE`?"""
    return truth.margin > NEAR and 8 * 2.0**-52 * truth.condition <= CLOSE


def one_way_to_each_instant(description: NetworkDescription, spikes: Iterable[tuple[float, int]]) -> bool:
    """Does no neuron get inputs at one instant by two ways of different sums, one over a spike and delay, as
    (t + 0.3) + 0.1 and t + 0.4? They are equal in exact numbers only: in float64 the last bit says which comes first.

    spikes : (time, neuron) of all neurons
    """
    d = description
    arrivals: list[list[tuple[float, tuple]]] = [[] for _ in d.neurons]
    emitted = [(t, source) for t, source in d.input_spikes] + [(float(t), d.n_inputs + n) for t, n in spikes]
    for t, source in emitted:
        for pre, post, _, delay in d.synapses:
            if pre == source:
                arrivals[post].append((t + delay, (t + delay,) if source < d.n_inputs else (source, t, delay)))
    return not any(b[0] - a[0] < NEAR and a[1] != b[1] for some in arrivals for a, b in pairwise(sorted(some)))


def decidable(description: NetworkDescription) -> bool:
    """Away from grazing, and without ties that the last bit of a spike before decides: arrivals at the end of a
    refractory time, or by two ways at one instant."""
    truth = replay_network(*description.arguments())
    spikes = [(float(t), n) for t, n in truth]
    return away_from_grazing(truth) and untied(description, spikes) and one_way_to_each_instant(description, spikes)
