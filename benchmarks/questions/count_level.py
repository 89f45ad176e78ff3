"""Counts and S-PSPs: does o = a/nu hold, on exact times and on a grid? What is HM2-BP's micro factor?

One layer under Poisson or perfectly synchronous input. The grid neuron solves its linear equations exactly from step
to step and looks at its threshold once a step ("Euler": the published code's update). a is the sum of the potentials
read when a spike is seen, which is what S-PSPs sum to; a/nu - o is the overshoot that the reset deletes.
Open questions A1 and A10 (docs/open_questions.md); figure: docs/figures/count_level.png.

python benchmarks/questions/count_level.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.learning import HM2BP, Dense, s_psp
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.types import Floats

T, TAU_M, TAU_S, N_IN, N_OUT, V_TH = 400.0, 64.0, 8.0, 60, 200, 0.5
STEPS = (1.0, 0.5, 0.1)


def make_input(kind: str, rng: np.random.Generator) -> SpikeTrains:
    """About 20 spikes for each of 60 inputs: at random instants, or all inputs at once every 20 ms."""
    if kind == "Poisson":
        n = rng.poisson(20 * N_IN)
        return SpikeTrains(rng.uniform(0.0, T, n), rng.integers(0, N_IN, n), N_IN)
    instants = np.arange(5.25, T, 20.0)
    return SpikeTrains(np.repeat(instants, N_IN), np.tile(np.arange(N_IN), instants.size), N_IN)


def make_layer(t_ref: float, rng: np.random.Generator) -> Dense:
    """Weights of both signs, counts between 0 and about 50."""
    layer = Dense(N_IN, N_OUT, LIF(tau_m=TAU_M, tau_syn=TAU_S, t_ref=t_ref, v_th=V_TH))
    layer.weight = rng.normal(0.1, 0.25, (N_IN, N_OUT))
    return layer


def grid_neurons(layer: Dense, inputs: SpikeTrains, dt: float, euler: bool = False) -> tuple[np.ndarray, Floats]:
    """Counts and a/nu of the layer on a grid; input spikes act at the end of their step."""
    decay_m, decay_s = (1 - dt / TAU_M, 1 - dt / TAU_S) if euler else (np.exp(-dt / TAU_M), np.exp(-dt / TAU_S))
    gain = dt / TAU_M if euler else TAU_S / (TAU_M - TAU_S) * (decay_m - decay_s)
    steps = int(round(T / dt))
    arriving = np.zeros((steps + 1, N_IN))
    np.add.at(arriving, (np.ceil(inputs.times / dt - 1e-9).astype(int), inputs.neurons), 1.0)
    kicks = arriving @ layer.weight
    held = int(round(float(layer.neuron.t_ref) / dt))
    v, current, free_at = np.zeros(N_OUT), np.zeros(N_OUT), np.zeros(N_OUT, int)
    counts, seen = np.zeros(N_OUT, int), np.zeros(N_OUT)
    for k in range(1, steps + 1):
        if euler:
            current = decay_s * current + kicks[k]
            v = decay_m * v + gain * current
        else:
            v, current = decay_m * v + gain * current, decay_s * current + kicks[k]
        v[k <= free_at] = 0.0
        spikes = v >= V_TH
        counts += spikes
        seen[spikes] += v[spikes] / V_TH
        v[spikes] = 0.0
        free_at[spikes] = k + held
    return counts, seen


def losses_of_charge(layer: Dense, inputs: SpikeTrains, outputs: SpikeTrains) -> tuple[Floats, Floats]:
    """v(T)/nu of each neuron, and the charge of excitation that flows in while it is clamped as a share of all of it.

    Charge is int max(w, 0) current dt: a net charge can be about 0, and a share of it means nothing.
    """
    excitation = np.maximum(layer.weight, 0.0)
    total = (excitation * inputs.counts()[:, None]).sum(axis=0) * TAU_S
    lost, residual = np.zeros(N_OUT), np.zeros(N_OUT)
    t_ref = float(layer.neuron.t_ref)
    w = layer.weight[inputs.neurons]

    def charge_until(t: float, i: int) -> float:
        past = inputs.times < t
        return float(excitation[inputs.neurons[past], i] @ -np.expm1(-(t - inputs.times[past]) / TAU_S)) * TAU_S

    for i in range(N_OUT):
        spikes = outputs.of(i)
        if t_ref > 0.0:
            lost[i] = sum(charge_until(min(t + t_ref, T), i) - charge_until(t, i) for t in spikes) / total[i]
        release = min(spikes[-1] + t_ref, T) if spikes.size else 0.0
        x = T - inputs.times
        m = np.minimum(T - release, x)
        unit = TAU_S / (TAU_M - TAU_S) * (np.exp(-m / TAU_M) - np.exp(-m / TAU_S))
        residual[i] = w[:, i] @ (np.exp(-(x - m) / TAU_S) * unit) / V_TH
    return residual, lost


def micro_factors(layer: Dense, inputs: SpikeTrains, outputs: SpikeTrains) -> tuple[Floats, Floats]:
    """s and Gamma of the neurons that spike, feed-forward synapses only."""
    counts = outputs.counts()
    e = s_psp(inputs, outputs, layer.neuron, T)
    fires = counts > 0
    s = np.einsum("ij,ji->i", e, layer.weight)[fires] / (V_TH * counts[fires])
    return s, HM2BP(micro="meanfield", max_gamma=np.inf)._gamma(layer, counts[None], T)[0][fires]


def main() -> None:
    """Print the tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", type=Path, default=FIGURES / "count_level.png")
    args = parser.parse_args()
    print(machine(), f"seed {args.seed}")
    print(f"{'input':12s} t_ref  {'method':12s} mean o   a/nu - o: mean       largest    o - o_exact: mean    sd")
    bars: dict[tuple[str, float], list[float]] = {}
    notes, factors = [], {}
    for kind in ("Poisson", "synchronous"):
        for t_ref in (0.0, 2.0):
            rng = np.random.default_rng([args.seed, 1])
            inputs, layer = make_input(kind, rng), make_layer(t_ref, rng)
            (outputs,) = layer.forward(SpikeBatch.from_trains([inputs]), T)
            exact = outputs.counts()
            over = np.einsum("ij,ji->i", s_psp(inputs, outputs, layer.neuron, T), layer.weight) / V_TH - exact
            rows = [("exact", exact, over)]
            for name, dt, euler in [*((f"dt = {dt}", dt, False) for dt in STEPS), ("Euler, dt = 1", 1.0, True)]:
                counts, seen = grid_neurons(layer, inputs, dt, euler)
                rows.append((name, counts, seen - counts))
            for name, counts, over in rows:
                off = counts - exact
                print(
                    f"{kind:12s} {t_ref:4.0f}   {name:14s} {counts.mean():6.2f} {np.abs(over).mean():14.2e} "
                    f"{np.abs(over).max():14.2e} {off.mean():14.3f} {off.std():9.3f}"
                )
                bars.setdefault((kind, t_ref), []).append(max(float(np.abs(over).max()), 1e-16))
            residual, lost = losses_of_charge(layer, inputs, outputs)
            notes.append(
                f"{kind:12s} t_ref {t_ref:.0f}: v(T)/nu mean {residual.mean():.2f}, largest {residual.max():.2f}; "
                f"charge while clamped: mean {100 * lost.mean():.1f} %, largest {100 * lost.max():.1f} %"
            )
            factors[kind, t_ref] = micro_factors(layer, inputs, outputs)
            layer.lateral_inhibition = 0.01
            (inhibited,) = layer.forward(SpikeBatch.from_trains([inputs]), T)
            factors[kind + ", inhibited", t_ref] = micro_factors(layer, inputs, inhibited)
    print("\n".join(["", *notes, "", "micro factor of the neurons that spike"]))
    for (kind, t_ref), (s, gamma) in factors.items():
        with np.errstate(divide="ignore"):
            implicit = np.abs(1.0 / (1.0 - s))
        print(
            f"{kind:24s} t_ref {t_ref:.0f}: largest |s - 1| {np.abs(s - 1).max():.1e}, median |1/(1 - s)| "
            f"{np.median(implicit):.1e}, Gamma {gamma.min():.2f} / {np.median(gamma):.2f} / {gamma.max():.2f} "
            "(least / median / largest)"
        )
    draw(bars, args.figure)


def draw(bars: dict[tuple[str, float], list[float]], path: Path) -> None:
    """Largest |a/nu - o| by method."""
    figure, axes = plt.subplots(figsize=(6.0, 3.2), dpi=110)
    names = ["exact", *(f"grid {dt} ms" for dt in STEPS), "Euler 1 ms"]
    for k, ((kind, t_ref), values) in enumerate(bars.items()):
        axes.bar(np.arange(len(names)) + 0.2 * (k - 1.5), values, 0.2, label=f"{kind}, t_ref {t_ref:.0f} ms")
    axes.set(yscale="log", ylabel="largest |a/nu - o|", ylim=(1e-16, 1e6))
    axes.set_xticks(np.arange(len(names)), names)
    axes.legend(fontsize=8, ncol=2)
    save(figure, path)


if __name__ == "__main__":
    main()
