"""Rate and CV that mean-field theory predicts for the network of Brunel (2000), beside one simulated neuron.

The network of 10,000 excitatory and 2,500 inhibitory neurons (C_E = 1000, C_I = 250, J = 0.1 mV, g = 5, and an
external Poisson input of eta = 2 times the rate that would just reach threshold). In the asynchronous state all
neurons fire at the rate at which the noise of the network makes a neuron fire:

    rate = siegert(mu(rate), sigma(rate)),    mu = tau_m J (C_E (1 - gamma g) rate + external),
    sigma^2 = tau_m J^2 (C_E (1 + gamma g^2) rate + external),    gamma = C_I / C_E    (Brunel 2000, eq. 21)

Three steps away from the true network, each by its own number: the diffusion approximation (theory), Poisson
spikes of size J at the same rate in place of the white noise (one neuron, event by event, many copies), and the rate
at which that neuron reproduces itself. What then remains to a simulated network is that its neurons are not
independent Poisson processes.

    python benchmarks/accuracy/brunel_theory.py --seconds 1 --copies 2000 --seed 0
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from evsim.analysis import siegert_cv, siegert_rate


@dataclass(frozen=True)
class Brunel:
    """Parameters of the network; ms, mV."""

    c_e: int = 1000
    c_i: int = 250
    j: float = 0.1
    g: float = 5.0
    eta: float = 2.0
    tau_m: float = 20.0
    v_th: float = 20.0
    v_reset: float = 0.0
    t_ref: float = 2.0

    @property
    def external(self) -> float:
        """External spikes to a neuron, per ms."""
        return self.eta * self.v_th / (self.j * self.tau_m)

    def noise(self, rate: float) -> tuple[float, float]:
        """mu and sigma, mV, where every neuron fires at ``rate`` Hz."""
        nu = rate / 1000.0
        mu = self.tau_m * self.j * ((self.c_e - self.g * self.c_i) * nu + self.external)
        variance = self.tau_m * self.j**2 * ((self.c_e + self.g**2 * self.c_i) * nu + self.external)
        return mu, float(np.sqrt(variance))

    def response(self, rate: float) -> float:
        """Rate, Hz, of a neuron in a network that fires at ``rate`` Hz."""
        return siegert_rate(*self.noise(rate), self.tau_m, self.v_th, self.v_reset, self.t_ref)

    def cv(self, rate: float) -> float:
        """CV of the intervals of a neuron in a network that fires at ``rate`` Hz."""
        return siegert_cv(*self.noise(rate), self.tau_m, self.v_th, self.v_reset, self.t_ref)


def stationary_rate(net: Brunel, step: float = 1.0) -> float:
    """The rate, Hz, at which the network settles when it is silent at first.

    The lowest root of response(rate) = rate: below it the response is the higher one and the rate rises. Roots
    closer together than ``step`` Hz are not told apart.

    Raises
    ------
    ValueError : no such rate up to 1 / t_ref.
    """
    grid = np.arange(0.0, 1000.0 / net.t_ref + step, step)
    for low, high in pairwise(grid):
        if net.response(high) <= high:
            return float(brentq(lambda r: net.response(r) - r, low, high, xtol=1e-10))
    raise ValueError(f"the network reaches no stationary rate below {grid[-1]} Hz.")


def poisson_neuron(
    net: Brunel, rate: float, duration: float, copies: int, rng: np.random.Generator, warm_up: float = 200.0
) -> tuple[float, float, int]:
    """Rate (Hz), CV and number of intervals of a neuron driven by exact Poisson spikes, event by event.

    The neuron gets C_E + external spikes of J and C_I spikes of -g J; those in its refractory period are lost.
    ``copies`` independent neurons run for ``duration`` ms after ``warm_up`` ms, which must be many intervals long,
    as must be the duration.
    """
    nu = rate / 1000.0
    excitatory = net.c_e * nu + net.external
    total = excitatory + net.c_i * nu
    end = warm_up + duration
    v = rng.uniform(net.v_reset, net.v_th, copies)
    now = np.zeros(copies)
    last = np.full(copies, np.nan)
    spikes = 0
    intervals = []
    while now.min() < end:
        gap = rng.exponential(1.0 / total, copies)
        now += gap
        v *= np.exp(gap / -net.tau_m)
        v += np.where(rng.random(copies) * total < excitatory, net.j, -net.g * net.j)
        fired = np.flatnonzero((v >= net.v_th) & (now < end))
        if fired.size:
            counted = fired[now[fired] >= warm_up]
            spikes += counted.size
            intervals.append((now - last)[counted])
            last[fired] = now[fired]
            now[fired] += net.t_ref
            v[fired] = net.v_reset
    gaps = np.concatenate(intervals)
    gaps = gaps[~np.isnan(gaps)]
    return 1000.0 * spikes / (copies * duration), float(gaps.std() / gaps.mean()), gaps.size


def main() -> None:
    """Print theory and simulation."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of biological time for each copy of the neuron")
    parser.add_argument("--copies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    net = Brunel()
    rng = np.random.default_rng(args.seed)
    print(machine())

    theory = stationary_rate(net)
    mu, sigma = net.noise(theory)
    print(f"external input {net.external:.1f} /ms; at the solution mu = {mu:.3f} mV, sigma = {sigma:.3f} mV")
    print(f"diffusion theory:                      {theory:.3f} Hz, CV {net.cv(theory):.4f}")

    def simulated(rate: float) -> tuple[float, float]:
        begin = time.perf_counter()
        out, cv, n = poisson_neuron(net, rate, 1000.0 * args.seconds, args.copies, rng)
        error = cv / np.sqrt(n) * out
        print(
            f"neuron with Poisson input at {rate:.3f} Hz: {out:.3f} +- {error:.3f} Hz, CV {cv:.4f} +- "
            f"{cv / np.sqrt(2 * n):.4f} ({n} intervals, {time.perf_counter() - begin:.1f} s)"
        )
        return out, cv

    first, _ = simulated(theory)
    # Both responses fall nearly in parallel, so the theory's slope leads to where the simulated one meets the diagonal.
    slope = net.response(theory + 0.5) - net.response(theory - 0.5)
    own = theory + (first - theory) / (1.0 - slope)
    simulated(own)
    print(f"Poisson input at the rate of its own output: {own:.3f} Hz (mean-field without the diffusion approximation)")


if __name__ == "__main__":
    main()
