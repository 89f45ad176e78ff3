"""Grazing spikes and unusual ratios of time constants: is every spike found, where is it, and is its derivative right?

    python benchmarks/accuracy/grazing.py

One neuron, one input, a weight that brings the peak of the potential ``margin`` (relative) above threshold. Each spike
and its derivative by the weight is compared with a replay with 50 digits. A derivative near grazing is large (one over
the square root of the margin), and float64 can place the spike only to about sqrt(eps); the condition bounds both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from evsim import LIF, Network, SpikeTrains
from evsim.learning import network_gradient
from evsim.testing.closed_form import DIGITS, Trace, oracle_crossing

MARGINS = (1e-2, 1e-4, 1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)
RATIOS = (0.1, 0.5, 1.0, 1.0 + 1e-9, 2.0, 4.0, 20.0)


def peak(tau_m: float, tau_s: float) -> mpf:
    """Largest potential of a unit input, with 50 digits."""
    r = mpf(tau_m) / mpf(tau_s)
    return mp.exp(-1) if r == 1 else r ** (-r / (r - 1))


def main() -> None:
    """A line per ratio."""
    arguments(__doc__).parse_args()
    print(machine())
    print(f"margins {', '.join(f'{m:.0e}' for m in MARGINS)}")
    for ratio in RATIOS:
        tau_m, tau_s = 20.0, 20.0 / ratio
        found, time_error, slope_error, largest = 0, 0.0, 0.0, 0.0
        wanted = 0
        with mp.workdps(DIGITS):
            for margin in MARGINS:
                w = float((1 + mpf(margin)) / peak(tau_m, tau_s))
                true = oracle_crossing(0.0, [w], [tau_s], 1.0, tau_m, 1e4)
                wanted += true != mpf("inf")
                net = Network()
                net.add_input("in", 1)
                net.add_population("out", 1, LIF(tau_m=tau_m, tau_syn=tau_s))
                net.connect("in", "out", weight=w)
                rec = net.simulate(1e4, inputs={"in": SpikeTrains([0.0], [0], 1)})
                if len(rec["out"]) == 0 or true == mpf("inf"):
                    continue
                found += 1
                signal = np.zeros(len(rec["out"]))
                signal[0] = 1.0
                slope = network_gradient(rec, {"out": signal}).weight[0][0]
                trace = Trace(mpf(0), [mpf(w)], [mpf(tau_s)], mpf(1), mpf(tau_m))
                f = trace.flow(true)
                climb = trace.gap(true)[1]
                exact = -f.psps[0] / climb
                condition = 2 / climb + true
                error = abs(mpf(rec["out"].times[0]) - true)
                time_error = max(time_error, float(error / (mpf(2) ** -52 * condition)))
                slope_error = max(slope_error, float(abs((mpf(slope) - exact) / exact)))
                largest = max(largest, abs(slope))
        print(
            f"tau_m/tau_syn {ratio:<12.10g} spikes {found} of {wanted}; time error {time_error:.2f} eps x condition; "
            f"largest derivative {largest:.2e} ms, finite, worst relative error {slope_error:.1e}"
        )


if __name__ == "__main__":
    main()
