"""S-PSPs by spike counts: closures of e(o_i, o_j) against measured ones. What is the product alphahat o_i o_j worth?

Source trains are Poisson. The neuron's train is regular, Poisson (both independent of the sources), or driven: spikes
that a neuron makes of 60 such sources. With c = o_j tau_s/T the closures are

    product      alphahat o_i o_j with the one constant that fits best (HM2-BP)
    regular      c o_i (1 - exp(-y)), y = (T/o_i - t_ref)/tau_m               (docs/rules/hm2bp.md, equation 9)
    poisson      c o_i/(1 + tau_m/(T/o_i - t_ref))
    polynomial   degree 4 in o_i through the means of random trains (ST-RSBP)

Open question A2 (docs/open_questions.md); figure: docs/figures/count_closures.png.

python benchmarks/questions/count_closures.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.learning import Dense, s_psp
from evsim.learning.rules.counts.slopes import poisson_mean, regular_mean, uniform_mean
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.types import Floats

T, TAU_M, TAU_S, T_REF, N_IN, V_TH = 400.0, 64.0, 8.0, 2.0, 60, 0.5
NEURON = LIF(tau_m=TAU_M, tau_syn=TAU_S, t_ref=T_REF, v_th=V_TH)
COUNTS = np.arange(3, 41)
KINDS = ("regular", "Poisson", "driven")


def sources(rng: np.random.Generator) -> SpikeTrains:
    """One Poisson sample: 60 sources whose mean counts are spread evenly over 3 ... 40."""
    n = rng.poisson(np.linspace(3.0, 40.0, N_IN))
    return SpikeTrains(rng.uniform(0.0, T, n.sum()), np.repeat(np.arange(N_IN), n), N_IN)


def regular(o: int, rng: np.random.Generator) -> Floats:
    """Equal intervals, at a random phase."""
    return (np.arange(o) + rng.uniform()) * (T / o)


def poisson(o: int, rng: np.random.Generator) -> Floats:
    """o uniform instants that keep t_ref apart."""
    return np.sort(rng.uniform(0.0, T - (o - 1) * T_REF, o)) + np.arange(o) * T_REF


def sample(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Floats]:
    """Counts o_i and o_j and S-PSPs e_ij of all pairs of one draw."""
    inputs = sources(rng)
    if kind == "driven":
        layer = Dense(N_IN, 76, NEURON)
        layer.weight = rng.normal(rng.uniform(0.02, 0.22, 76), 0.15, (N_IN, 76))
        (outputs,) = layer.forward(SpikeBatch.from_trains([inputs]), T)
    else:
        make = regular if kind == "regular" else poisson
        trains = [make(int(o), rng) for o in COUNTS]
        outputs = SpikeTrains(np.concatenate(trains), np.repeat(np.arange(COUNTS.size), COUNTS), COUNTS.size)
    e = s_psp(inputs, outputs, NEURON, T)
    o_i, o_j = np.meshgrid(outputs.counts(), inputs.counts(), indexing="ij")
    kept = (o_i >= COUNTS[0]) & (o_i <= COUNTS[-1]) & (o_j > 0)
    return o_i[kept], o_j[kept], e[kept]


def means() -> dict[str, Floats]:
    """m(o) of each closure but the product, e = c m, over COUNTS."""
    table = np.arange(1, 51)
    fit = np.polynomial.Polynomial.fit(table, uniform_mean(table, T, TAU_M, T_REF), 4)
    return {
        "regular": regular_mean(COUNTS, T, TAU_M, T_REF)[0],
        "poisson": poisson_mean(COUNTS, T, TAU_M, T_REF)[0],
        "polynomial": fit(COUNTS),
    }


def per_count(o_i: np.ndarray, values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the values at each count of COUNTS."""
    mean, sd = np.full(COUNTS.size, np.nan), np.full(COUNTS.size, np.nan)
    for k, o in enumerate(COUNTS):
        here = values[o_i == o]
        if here.size > 100:
            mean[k], sd[k] = here.mean(), here.std()
    return mean, sd


def elasticity(m: Floats) -> Floats:
    """d log m/d log o over COUNTS by a straight line through 7 neighbours; nan near the ends."""
    out = np.full(COUNTS.size, np.nan)
    for k in range(3, COUNTS.size - 3):
        part = slice(k - 3, k + 4)
        if np.all(np.isfinite(m[part])):
            out[k] = np.polyfit(np.log(COUNTS[part]), np.log(np.maximum(m[part], 1e-9)), 1)[0]
    return out


def main() -> None:
    """Print the tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", type=Path, default=FIGURES / "count_closures.png")
    args = parser.parse_args()
    print(machine(), f"seed {args.seed}, {args.draws} draws")
    closures = means()
    measured: dict[str, tuple[Floats, Floats]] = {}
    print(f"{'trains':10s} {'pairs':>8s}  error of e in %: {'product':>9s} " + " ".join(f"{c:>10s}" for c in closures))
    slopes = []
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng([args.seed, number])
        o_i, o_j, e = (np.concatenate(p) for p in zip(*(sample(kind, rng) for _ in range(args.draws))))
        scaled = e * T / (o_j * TAU_S)  # m(o_i), for every source alike
        mean, sd = measured[kind] = per_count(o_i, scaled)
        known = np.isfinite(mean)
        # The one constant that fits best: of all its errors relative to the mean at each count, the least squares.
        ratio = COUNTS[known] / mean[known]
        alpha = ratio.sum() / (ratio @ ratio)
        guesses = {"product": alpha * COUNTS, **closures}
        errors = [np.sqrt(np.mean((g[known] / mean[known] - 1.0) ** 2)) for g in guesses.values()]
        print(f"{kind:10s} {e.size:8d}  {'':16s} " + " ".join(f"{100 * v:10.1f}" for v in errors))
        alphahat = e / (o_i * o_j)
        at_20 = alphahat[(np.abs(o_i - 20) <= 1) & (np.abs(o_j - 20) <= 1)]
        true = elasticity(mean)
        inner = np.isfinite(true)
        off = [np.mean(np.abs(elasticity(g)[inner] - true[inner])) for g in guesses.values()]
        slopes.append(
            f"{kind:10s} true from {np.nanmax(true):.2f} to {np.nanmin(true):.2f}; off by "
            + ", ".join(f"{name} {v:.2f}" for name, v in zip(guesses, off))
            + f"; CV of alphahat: {alphahat.std() / alphahat.mean():.2f} over all counts, "
            f"{at_20.std() / at_20.mean():.2f} at counts of 19 to 21; sd of e at a given o_i: "
            f"{100 * np.nanmean(sd / mean):.0f} %"
        )
    print("\nelasticity d log e/d log o_i (product: 1 by construction)")
    print("\n".join(slopes))
    draw(measured, closures, args.figure)


def draw(measured: dict[str, tuple[Floats, Floats]], closures: dict[str, Floats], path: Path) -> None:
    """Measured e per source spike against the neuron's count, in units of tau_s/T, with the closures."""
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.0), sharey=True)
    for ax, (kind, (mean, sd)) in zip(axes, measured.items()):
        ax.fill_between(COUNTS, mean - sd, mean + sd, color="0.88", label="measured, +- sd of pairs")
        ax.plot(COUNTS, mean, "k", lw=2.5, label="measured, mean")
        known = np.isfinite(mean)
        ratio = COUNTS[known] / mean[known]
        ax.plot(COUNTS, COUNTS * (ratio.sum() / (ratio @ ratio)), label="product")
        for name, m in closures.items():
            ax.plot(COUNTS, m, label=name, lw=1.2)
        ax.set(title=f"{kind} trains", xlabel="count of the neuron, $o_i$", ylim=(0, 8))
    axes[0].set_ylabel("$e_{ij}\\,T/(o_j \\tau_s)$")
    axes[2].legend(fontsize=7, loc="lower right")
    save(figure, path)


if __name__ == "__main__":
    main()
