"""Networks of the literature, declared: what ``evsim simulate NAME`` runs.

``scale`` multiplies the numbers of neurons and of inputs per neuron. A network of another scale has other
statistics: its neurons share more of their input, and where the weights stay, the feedback is weaker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from evsim import streams
from evsim.description.connectivity import Bernoulli, FixedIndegree, FixedTotalNumber
from evsim.description.distributions import normal
from evsim.errors import NetworkError
from evsim.network import Network
from evsim.neurons.lif import LIF

MICROCIRCUIT_RATES = {
    "L23E": 0.903, "L23I": 2.965, "L4E": 4.414, "L4I": 5.876, "L5E": 7.569, "L5I": 8.633, "L6E": 1.105, "L6I": 7.829
}  # fmt: skip
"""Mean rates of the full microcircuit with Poisson input, Hz, to compare with: one run of NEST, ``full_mean_rates``
of its example Potjans_2014 (github.com/INM-6/microcircuit-PD14-model, commit ed99e49). Other published runs of the
same network (0.943, 3.026, 4.368, 5.882, 7.733, 8.664, 1.096, 7.851 before that commit; 0.90, 2.80, 4.39, 5.70,
6.80, 8.22, 1.14, 7.60 in NetPyNE, Romaro et al. 2021, table A.1) tell how much they vary, L5E most."""

_SIZES = {
    "L23E": 20683, "L23I": 5834, "L4E": 21915, "L4I": 5479, "L5E": 4850, "L5I": 1065, "L6E": 14395, "L6I": 2948
}  # fmt: skip
# Rows: targets, columns: sources, in the order of _SIZES.
_PROBABILITIES = np.array([
    [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
    [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
    [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
    [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
    [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
    [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
    [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
    [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
])  # fmt: skip
_EXTERNAL = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
_EXTERNAL_HZ = 8.0
_V_MEAN = (-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43)
_V_SD = (5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48)



def brunel(*, g: float = 5.0, eta: float = 2.0, delay: float = 1.5, j: float = 0.1, scale: float = 1.0) -> Network:
    """Sparsely connected excitatory and inhibitory neurons with delta synapses: Brunel (2000), model A.

    J. Comput. Neurosci. 8, 183-208. 10,000 + 2,500 neurons, 1,000 + 250 inputs each, and a Poisson process of
    eta nu_th C_E onto each neuron, where nu_th = v_th / (j C_E tau_m) would just hold it at threshold: 20 kHz by
    default. Refractory for 2 ms, threshold 20 mV, tau_m 20 ms; reset to 0 mV as in NEST's example, not to the
    paper's 10 mV, and so with lower rates than there.

    g : strength of inhibition, weight -g j; eta : strength of the drive
    delay : ms; j : mV, of excitatory synapses and the drive
    """
    return _brunel(None, j, g, eta, j, delay, scale)


def brunel_exp(
    *, g: float = 5.0, eta: float = 2.0, delay: float = 1.5, j: float = 0.1, scale: float = 1.0
) -> Network:
    """``brunel`` with exponential synaptic currents of 2 ms whose potentials have the same integral."""
    return _brunel(2.0, j * 20.0 / 2.0, g, eta, j, delay, scale)


def cuba(*, delay: float = 0.1, scale: float = 1.0, seed: int = 0) -> Network:
    """Neurons that rest above threshold, with two synaptic currents: Vogels and Abbott (2005), J. Neurosci. 25.

    Benchmark 2 of Brette et al. (2007), J. Comput. Neurosci. 23, 349-398: 3,200 + 800 neurons, any two connected
    with probability 0.02; weights 1.62 and -9 mV, currents of 5 and 10 ms, threshold -50 mV, rest -49 mV, reset
    -60 mV, 5 ms refractory. Initial potentials are uniform between reset and threshold.

    delay : ms (the benchmark has none); seed : of the initial potentials
    """
    neuron = LIF(tau_m=20.0, tau_syn=(5.0, 10.0), v_rest=-49.0, v_th=-50.0, v_reset=-60.0, t_ref=5.0)
    sizes = {"exc": _scaled(3200, scale), "inh": _scaled(800, scale)}
    net = Network()
    for k, (name, size) in enumerate(sizes.items()):
        v = streams.rng("potentials", seed, k).uniform(-60.0, -50.0, size)
        net.add_population(name, size, neuron.with_(v_init=v))
    for source, weight in (("exc", 1.62), ("inh", -9.0)):
        for target in sizes:
            net.connect(source, target, weight=weight, delay=delay, rule=Bernoulli(0.02))
    return net


def microcircuit(scale: float = 1.0, *, seed: int = 0) -> Network:
    """The cell-type specific cortical microcircuit of Potjans and Diesmann (2014), with Poisson input.

    Cerebral Cortex 24, 785-806, table "Parameter specification": 77,169 neurons in 8 populations and 299 million
    synapses. A projection has K = log(1 - p) / log(1 - 1/(N_pre N_post)) of them, sources and targets drawn
    independently.
    Weights are normal with a relative sd of 0.1, of unchanged sign; the mean potential has its peak at 0.15 mV
    (a current of 87.8 pA), at twice that from L4E to L23E, at -4 times that for inhibition. Delays are normal,
    1.5 +- 0.75 and 0.75 +- 0.375 ms, and at least 0.1 ms; what falls outside is drawn again, as in NEST's
    implementation. Initial potentials are normal with the means and sd of Rhodes et al. (2020), Phil. Trans. R.
    Soc. A 378, below threshold. Potentials in mV. Rates to compare with: ``MICROCIRCUIT_RATES``.

    scale : other than 1, weights are divided by its square root and a bias replaces the mean input that is
        missing (van Albada, Helias and Diesmann 2015, PLoS Comput. Biol. 11), so that mean and variance of the
        input stay; correlations do not
    seed : of the initial potentials
    """
    neuron = LIF(tau_m=10.0, tau_syn=0.5, v_th=-50.0, v_reset=-65.0, v_rest=-65.0, t_ref=2.0)
    full = np.array(list(_SIZES.values()))
    pairs = np.outer(full, full).astype(np.float64)
    synapses = np.log1p(-_PROBABILITIES) / np.log1p(-1.0 / pairs)
    psc = 0.15 / _psp_peak(neuron.tau_m, neuron.tau_syn)
    weights = np.tile(np.where(np.arange(8) % 2 == 0, psc, -4.0 * psc), (8, 1))
    weights[0, 2] *= 2.0
    mean_input = (weights * synapses / full[:, None]) @ np.array(list(MICROCIRCUIT_RATES.values()))
    mean_input += psc * _EXTERNAL * _EXTERNAL_HZ
    bias = (1.0 - np.sqrt(scale)) * neuron.tau_syn / 1000.0 * mean_input

    net = Network()
    for k, (name, size) in enumerate(_SIZES.items()):
        below = normal(_V_MEAN[k], _V_SD[k], high=float(np.nextafter(neuron.v_th, -np.inf)))
        n = _scaled(size, scale)
        v = below(streams.rng("potentials", seed, k), n)
        net.add_population(name, n, neuron.with_(bias=float(bias[k]), v_init=v))
    shrink = 1.0 / np.sqrt(scale)
    for i, target in enumerate(_SIZES):
        for k, source in enumerate(_SIZES):
            number = round(synapses[i, k] * scale * scale)
            if number == 0:
                continue
            mean, excites = weights[i, k] * shrink, k % 2 == 0
            weight = normal(mean, 0.1 * abs(mean), *((0.0, np.inf) if excites else (-np.inf, 0.0)))
            delay = normal(1.5, 0.75, low=0.1) if excites else normal(0.75, 0.375, low=0.1)
            net.connect(source, target, weight=weight, delay=delay, rule=FixedTotalNumber(number))
        net.add_poisson(target, rate=float(_EXTERNAL[i]) * scale * _EXTERNAL_HZ, weight=psc * shrink)
    return net


PRESETS: dict[str, tuple[Callable[..., Network], float]] = {
    "brunel": (brunel, 1000.0),
    "brunel-exp": (brunel_exp, 1000.0),
    "cuba": (cuba, 1000.0),
    "microcircuit": (microcircuit, 1000.0),
}
"""Name -> (function, default time to simulate, ms)."""


def preset(name: str, scale: float = 1.0, seed: int = 0) -> Network:
    """A network of ``PRESETS`` by its name. Raises NetworkError : unknown name, or a scale that is not > 0."""
    if name not in PRESETS:
        raise NetworkError(f"no preset is named {name!r}; there are {', '.join(PRESETS)}.")
    function = PRESETS[name][0]
    seeded = {"seed": seed} if "seed" in inspect.signature(function).parameters else {}
    return function(scale=scale, **seeded)


def _brunel(
    tau_syn: float | None, weight: float, g: float, eta: float, j: float, delay: float, scale: float
) -> Network:
    neuron = LIF(tau_m=20.0, tau_syn=tau_syn, v_th=20.0, v_reset=0.0, t_ref=2.0)
    net = Network()
    net.add_population("exc", _scaled(10_000, scale), neuron)
    net.add_population("inh", _scaled(2_500, scale), neuron)
    for source, inputs, w in (("exc", 1000, weight), ("inh", 250, -g * weight)):
        for target in ("exc", "inh"):
            net.connect(source, target, weight=w, delay=delay, rule=FixedIndegree(_scaled(inputs, scale)))
    for target in ("exc", "inh"):
        # eta nu_th C_E: the number of inputs cancels
        net.add_poisson(target, rate=1000.0 * eta * neuron.v_th / (j * neuron.tau_m), weight=weight)
    return net


def _scaled(number: int, scale: float) -> int:
    if not (np.isfinite(scale) and scale > 0.0):
        raise NetworkError(f"scale must be finite and > 0; got {scale}.")
    return max(1, round(number * scale))


def _psp_peak(tau_m: float, tau_syn: float) -> float:
    """Peak of the potential that a current of amplitude 1 (mV) causes, mV: Hanuschkin et al. (2010), eq. 5."""
    t = np.log(tau_m / tau_syn) / (1.0 / tau_syn - 1.0 / tau_m)
    return float(tau_syn / (tau_m - tau_syn) * (np.exp(-t / tau_m) - np.exp(-t / tau_syn)))
