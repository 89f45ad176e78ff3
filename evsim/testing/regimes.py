"""Adversarial populations for the engines, by name: each is one population under one set of input times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim._kernels.neurons.lif import psp_peak
from evsim.network import Network
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeTrains
from evsim.testing.judge import Verdict, judge
from evsim.types import Floats


@dataclass(frozen=True, eq=False)
class Case:
    """A population: neuron parameters, arrival times (m,) ascending, weights (m, n), duration in ms."""

    neuron: LIF
    times: Floats
    weights: Floats
    t_stop: float

    def spikes(self, driver: str, threads: int = 1) -> SpikeTrains:
        """What an engine gives."""
        m, n = self.weights.shape
        net = Network()
        net.add_input("in", m)
        net.add_population("out", n, self.neuron)
        net.connect("in", "out", weight=self.weights)
        inputs = SpikeTrains(self.times, np.arange(m), m)
        with np.errstate(all="ignore"):
            return net.simulate(self.t_stop, {"in": inputs}, driver=driver, threads=threads)["out"]

    def judged(self, driver: str, bound: float = 4.0) -> Verdict:
        """The verdict on an engine."""
        return judge(self.neuron, self.times, self.weights, self.spikes(driver), self.t_stop, bound)


Maker = Callable[[np.random.Generator, int], Case]
REGIMES: dict[str, Maker] = {}


def regime(maker: Maker) -> Maker:
    """Enter a maker of cases under its name."""
    REGIMES[maker.__name__.replace("_", " ")] = maker
    return maker


def _lif(rng: np.random.Generator, n: int, tau_m: float, tau_syn: Any, **more: Any) -> LIF:
    """n neurons with resets, refractory periods and thresholds of their own."""
    given: dict[str, Any] = dict(
        v_th=rng.choice([1.0, 0.7, 15.0], n), v_reset=-rng.choice([0.0, 0.3, 0.9], n),
        t_ref=rng.choice([0.0, 0.5, 2.0], n), bias=0.0,
    )  # fmt: skip
    return LIF(tau_m=tau_m, tau_syn=tau_syn, **{**given, **more})


def _weights(rng: np.random.Generator, lif: LIF, m: int, strength: float, inhibitory: float = 0.25) -> Floats:
    """(m, n) weights; a lone one of strength 1 reaches the threshold; half of them are absent."""
    taus = [float(np.asarray(t).flat[0]) for t in lif.receptor_taus()]
    peak = psp_peak(float(np.asarray(lif.tau_m).flat[0]), taus[0]) if taus else 1.0
    theta = np.broadcast_to(np.abs(np.asarray(lif.v_th) - np.asarray(lif.bias)) + 0.1, (np.size(lif.v_th),))
    w = strength * theta / peak * 2.0 ** rng.normal(size=(m, theta.size))
    w *= np.where(rng.random(w.shape) < inhibitory, -1.0, 1.0)
    return np.where(rng.random(w.shape) < 0.5, w, 0.0)


def _random(rng: np.random.Generator, n: int, tau_m: float, tau_syn: Any, m: int = 14, strength: float = 0.7,
            inhibitory: float = 0.25, t_last: float = 50.0, **more: Any) -> Case:  # fmt: skip
    lif = _lif(rng, n, tau_m, tau_syn, **more)
    return Case(lif, np.sort(rng.uniform(0.0, t_last, m)), _weights(rng, lif, m, strength, inhibitory), t_last + 20.0)


@regime
def any_ratio(rng: np.random.Generator, n: int) -> Case:
    """tau_m / tau_syn from 0.05 to 300."""
    return _random(rng, n, 10.0, 10.0 / 10.0 ** rng.uniform(-1.3, 2.5))


@regime
def equal_constants(rng: np.random.Generator, n: int) -> Case:
    """tau_m = tau_syn."""
    return _random(rng, n, 10.0, 10.0)


@regime
def nearly_equal_constants(rng: np.random.Generator, n: int) -> Case:
    """tau_m / tau_syn = 1 +- 1e-3 ... 1e-15."""
    return _random(rng, n, 10.0, 10.0 * (1.0 + rng.choice([-1.0, 1.0]) * 10.0 ** -rng.uniform(3.0, 15.0)))


@regime
def ratio_two(rng: np.random.Generator, n: int) -> Case:
    """The closed form."""
    return _random(rng, n, 10.0, 5.0, bias=rng.choice([0.0, 0.5, 1.2], n))


@regime
def slow_current(rng: np.random.Generator, n: int) -> Case:
    """tau_syn above tau_m."""
    return _random(rng, n, 5.0, 5.0 * 10.0 ** rng.uniform(0.1, 1.5))


@regime
def bias_of_either_sign(rng: np.random.Generator, n: int) -> Case:
    """Far below, just below, at and above the threshold."""
    v_th = np.ones(n)
    share = rng.choice([-2.0, 0.9, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 1.02, 3.0], n)
    return _random(rng, n, 10.0, 10.0 / 10.0 ** rng.uniform(-0.5, 1.5), v_th=v_th, bias=share, v_reset=-np.ones(n))


@regime
def two_receptors(rng: np.random.Generator, n: int) -> Case:
    """Any two time constants."""
    return _random(rng, n, 10.0, tuple(10.0 / 10.0 ** rng.uniform(-1.0, 1.5, 2)), m=20, inhibitory=0.4)


@regime
def two_receptors_with_bias(rng: np.random.Generator, n: int) -> Case:
    """The same, biased."""
    bias = rng.choice([-0.5, 0.3, 0.95, 1.3], n)
    return _random(rng, n, 10.0, tuple(10.0 / 10.0 ** rng.uniform(-1.0, 1.5, 2)), m=20, inhibitory=0.5,
                   v_th=np.ones(n), bias=bias)  # fmt: skip


@regime
def cancelling_receptors(rng: np.random.Generator, n: int) -> Case:
    """Excitation and inhibition of almost equal constants that almost cancel."""
    tau = 5.0 * (1.0 + 10.0 ** -rng.uniform(1.0, 6.0))
    case = _random(rng, n, 10.0, (5.0, tau), m=16, strength=3.0, inhibitory=0.0)
    w = case.weights
    w[1::2] = np.where(rng.random(w[1::2].shape) < 0.7, -w[::2] * rng.uniform(0.8, 1.1, w[::2].shape), w[1::2])
    return Case(case.neuron, np.repeat(case.times[::2], 2) + np.tile([0.0, 0.01], 8), w, case.t_stop)


@regime
def delta_synapses(rng: np.random.Generator, n: int) -> Case:
    """Kicks, kept while refractory or lost."""
    return _random(rng, n, 10.0, None, strength=0.5, keep_refractory_input=bool(rng.integers(2)))


@regime
def delta_synapses_with_bias(rng: np.random.Generator, n: int) -> Case:
    """The bias fires between kicks."""
    return _random(rng, n, 10.0, None, strength=0.3, inhibitory=0.5, v_th=np.ones(n),
                   bias=rng.choice([0.5, 1.001, 1.3, 4.0], n), keep_refractory_input=bool(rng.integers(2)))  # fmt: skip


@regime
def grazing_peaks(rng: np.random.Generator, n: int) -> Case:
    """One input whose peak passes the threshold, or misses it, by 1e-3 ... 1e-11 of it."""
    tau_m, tau_s = 10.0, 10.0 / 10.0 ** rng.uniform(-0.7, 1.5)
    margin = rng.choice([-1.0, 1.0], n) * 10.0 ** -rng.uniform(3.0, 11.0, n)
    theta = rng.choice([1.0, 0.3, 15.0], n)
    lif = LIF(tau_m=tau_m, tau_syn=tau_s, v_th=theta, v_reset=np.minimum(0.0, theta - 1.0))
    w = np.zeros((4, n))
    w[rng.integers(0, 4, n), np.arange(n)] = theta * (1.0 + margin) / psp_peak(tau_m, tau_s)
    return Case(lif, np.sort(rng.uniform(0.0, 30.0, 4)), w, 200.0)


@regime
def bursts(rng: np.random.Generator, n: int) -> Case:
    """Clusters of inputs within 1e-9 ... 1e-2 ms, then silence."""
    starts = np.sort(rng.uniform(0.0, 60.0, 4))
    times = np.sort((starts[:, None] + np.cumsum(10.0 ** -rng.uniform(2.0, 9.0, (4, 8)), axis=1)).ravel())
    lif = _lif(rng, n, 10.0, 10.0 / 10.0 ** rng.uniform(-0.5, 1.5))
    return Case(lif, times, _weights(rng, lif, 32, 0.3), 90.0)


@regime
def ties(rng: np.random.Generator, n: int) -> Case:
    """Many inputs at one instant."""
    times = np.sort(rng.choice(np.arange(0.0, 40.0, 4.0), 30))
    lif = _lif(rng, n, 10.0, rng.choice([3.0, 10.0]), t_ref=rng.choice([0.0, 4.0], n))
    return Case(lif, times, _weights(rng, lif, 30, 0.3, 0.4), 60.0)


@regime
def refractory_edges(rng: np.random.Generator, n: int) -> Case:
    """A strong input at once, and others just before, at and after the end of the refractory period."""
    lif = _lif(rng, n, 10.0, None, t_ref=np.full(n, 2.0), keep_refractory_input=bool(rng.integers(2)))
    times = np.array([1.0, 3.0 - 1e-9, 3.0, 3.0 + 1e-9, 3.5, 5.0, 5.5])
    w = _weights(rng, lif, 7, 0.8, 0.1)
    w[0] = 2.0 * np.asarray(lif.v_th)
    return Case(lif, times, w, 20.0)


@regime
def long_silence(rng: np.random.Generator, n: int) -> Case:
    """Gaps of many hundred time constants."""
    lif = _lif(rng, n, 2.0, 2.0 / 10.0 ** rng.uniform(-0.5, 1.0), bias=rng.choice([0.0, -0.4, 0.6], n))
    return Case(lif, np.cumsum(rng.choice([0.5, 3.0, 900.0, 2500.0], 12)), _weights(rng, lif, 12, 0.9), 25000.0)


@regime
def late_times(rng: np.random.Generator, n: int) -> Case:
    """Inputs from 1e4 to 1e6 ms on, currents of 0.02 ms and up."""
    t0 = 10.0 ** rng.uniform(4.0, 6.0)
    tau_s = 10.0 ** rng.uniform(-1.7, 1.0)
    lif = _lif(rng, n, 20.0, tau_s, v_th=np.ones(n), bias=rng.choice([0.0, 0.7, 0.99], n))
    return Case(lif, t0 + np.sort(rng.uniform(0.0, 60.0, 14)), _weights(rng, lif, 14, 1.0), t0 + 90.0)


@regime
def sharp_currents(rng: np.random.Generator, n: int) -> Case:
    """Strong currents far shorter than tau_m, with a bias above threshold."""
    bias = rng.choice([1.05, 1.1, 1.5], n)
    return _random(rng, n, 20.0, 10.0 ** rng.uniform(-2.0, -0.5), strength=3.0, v_th=np.ones(n), bias=bias)


@regime
def huge_weights(rng: np.random.Generator, n: int) -> Case:
    """Weights of 1e3 ... 1e8 thresholds, of both signs."""
    case = _random(rng, n, 10.0, 10.0 / 10.0 ** rng.uniform(-0.5, 1.5), inhibitory=0.5, t_ref=np.full(n, 1.0))
    return Case(case.neuron, case.times, case.weights * 10.0 ** rng.uniform(0.0, 8.0, n), case.t_stop)


@regime
def tiny_potentials(rng: np.random.Generator, n: int) -> Case:
    """All potentials times 2^-600 ... 2^479."""
    scale = 2.0 ** rng.integers(-600, 480)
    bias = rng.choice([0.0, 0.5, 1.2], n) * scale
    tau_s = float(rng.choice([10.0, 5.0, 2.0]))
    lif = LIF(tau_m=10.0, tau_syn=tau_s, v_th=np.full(n, scale), v_reset=np.full(n, -0.5 * scale), bias=bias)
    unit = LIF(tau_m=10.0, tau_syn=tau_s, v_th=np.ones(n), v_reset=np.full(n, -0.5))
    return Case(lif, np.sort(rng.uniform(0.0, 50.0, 14)), _weights(rng, unit, 14, 0.7) * scale, 70.0)


@regime
def threshold_at_rest(rng: np.random.Generator, n: int) -> Case:
    """v_inf is the threshold: a trace from below approaches it for ever."""
    case = _random(rng, n, 10.0, 10.0 / 10.0 ** rng.uniform(-0.5, 1.5), inhibitory=0.5, v_th=np.zeros(n),
                   v_reset=-np.ones(n), v_init=-np.ones(n), strength=3.0)  # fmt: skip
    return Case(case.neuron, np.append(case.times[:-1], 8_000.0), case.weights, 8_050.0)


@regime
def dense_regular(rng: np.random.Generator, n: int) -> Case:
    """Thousands of regular inputs within a time constant."""
    dx = float(rng.choice([0.02, 0.01, 0.005]))
    tau_s = float(rng.choice([5.0, 20.0, 10.0, 3.3]))
    m = int(60.0 / dx)
    lif = LIF(tau_m=10.0, tau_syn=tau_s, v_th=rng.uniform(0.5, 0.95, n), t_ref=rng.choice([0.0, 1.0], n))
    return Case(lif, dx * np.arange(float(m)), np.full((m, n), dx / tau_s), 60.0)


@regime
def dense_kicks(rng: np.random.Generator, n: int) -> Case:
    """The same, delta synapses."""
    dx = float(rng.choice([0.02, 0.01, 0.005]))
    m = int(40.0 / dx)
    lif = LIF(tau_m=10.0, tau_syn=None, v_th=rng.uniform(0.5, 0.95, n), t_ref=rng.choice([0.0, 1.0], n))
    return Case(lif, dx * np.arange(float(m)), np.full((m, n), dx / 10.0), 40.0)


@regime
def lasting_currents(rng: np.random.Generator, n: int) -> Case:
    """One weight of 1e6 ... 1e14 thresholds, then regular spikes of which each fades the current by the same factor."""
    tau_s = float(rng.choice([0.45, 0.74, 1.63, 1.73]))
    lif = LIF(tau_m=10.0, tau_syn=tau_s, v_th=np.ones(n), t_ref=np.full(n, 1.0))
    return Case(lif, np.array([1.0]), 10.0 ** rng.uniform(6.0, 14.0, (1, n)), 70.0)


DENSE = ("dense regular", "dense kicks")
"""Regimes whose neurons get thousands of inputs: a few neurons of them weigh as much as a hundred of the others."""
