"""A recurrent network of everything that the window engine knows, and what of two runs must have the same bits."""

from __future__ import annotations

import numpy as np

import evsim
from evsim import LIF, FixedIndegree, Network, SpikeTrains


def busy(kind: str, tau_syn, seed: int = 0) -> tuple[Network, SpikeTrains]:
    """Several blocks of neurons with drive, input, autapses and multapses; kind of delay: one, few, own."""
    rng = np.random.default_rng(seed)
    unit = 1.0 if tau_syn is None else 5.0
    net = Network()
    net.add_input("in", size=20)
    neuron = LIF(tau_m=10.0, tau_syn=tau_syn, v_th=rng.uniform(0.9, 1.1, 700), t_ref=rng.uniform(0.5, 3.0, 700),
                 bias=rng.uniform(-0.2, 1.02, 700), v_init=rng.uniform(-1.0, 0.9, 700))  # fmt: skip
    net.add_population("a", size=700, neuron=neuron)
    net.add_population("b", size=90, neuron=LIF(tau_m=20.0, tau_syn=tau_syn, t_ref=1.0))
    delays = {
        "one": lambda n: 1.5,
        "few": lambda n: rng.choice([0.5, 1.25, 3.0], n),
        "own": lambda n: rng.uniform(0.3, 6.0, n),
    }[kind]
    for pre, post, weight, rule in (
        ("a", "a", 0.02, FixedIndegree(60)), ("a", "b", 0.05, FixedIndegree(30)), ("b", "a", -0.05, FixedIndegree(20)),
        ("b", "b", -0.1, FixedIndegree(5)), ("in", "a", 0.3, FixedIndegree(2)),
    ):  # fmt: skip
        n = rule.indegree * net.size_of(post)
        own = weight * unit if kind == "one" else weight * unit * rng.uniform(0.5, 1.5, n)
        net.connect(pre, post, weight=own, delay=delays(n), rule=rule)
    net.add_poisson("a", rate=300.0, weight=0.1 * unit)
    net.add_poisson("b", rate=rng.uniform(0.0, 900.0, 90), weight=0.1 * unit)
    net.add_poisson("b", rate=lambda t: 300.0 + 300.0 * np.sin(t / 10.0), rate_max=600.0, weight=0.1 * unit)
    return net, evsim.encode.poisson(np.full(20, 50.0), 60.0, seed=seed)


def all_spikes(rec) -> tuple[np.ndarray, ...]:
    return tuple(x for name in rec for x in (rec[name].times, rec[name].neurons, rec.currents[name]))


def assert_bits(a, b) -> None:
    for x, y in zip(all_spikes(a), all_spikes(b)):
        assert np.array_equal(x, y)
