"""HM2-BP's gradients against finite differences of the count loss, averaged over Poisson inputs.

A count is an integer, but its mean over random inputs is a smooth function of the weights. Small networks with three
hidden layers; every weight is moved up and down by a fixed amount on the same input spikes (common random numbers), and
the loss 1/2 sum (o - y)^2 is averaged over the draws. Beside it the gradients of HM2-BP, averaged over the same draws,
with all rules for silent neurons off. Two halves of the draws give two independent finite differences a and b. The
squared norm of the true gradient is estimated by a.b, which noise does not raise, and so cosines are not lowered by it.

The second table does the same for the sum of the last layer's counts, a loss without a target.
Open questions A4 and A11 (docs/open_questions.md); figure: docs/figures/count_gradients.png.

python benchmarks/questions/count_gradients.py
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.encode import poisson
from evsim.learning import HM2BP, STRSBP, Dense, Sequential, TrainingOptions, calibrate
from evsim.learning.protocols import backward
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch
from evsim.types import Floats

T, SIZES, STEP = 100.0, (10, 10, 10, 10, 5), 0.04
WANTED = np.array([8.0, 1.0, 1.0, 1.0, 1.0])
OFF: dict[str, Any] = {"silent_psp": 0.0, "silent_ratio": 0.0, "fake_target_train": False}
QUIET: dict[str, Any] = {**OFF, "silent_micro": 0.0}
RULES = {
    "paper": HM2BP(**QUIET),
    "none": HM2BP(micro="none", **QUIET),
    "paper, factor passed": HM2BP(pass_factor=True, **QUIET),
    "meanfield": HM2BP(micro="meanfield", **QUIET),
    "ST-RSBP, own intervals": STRSBP(slopes="intervals", **OFF),
}


def make_model(seed: int, t_ref: float = 1.0) -> Sequential:
    """Thresholds calibrated to about 5 spikes per neuron in 100 ms, 4 in the last layer."""
    neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=t_ref)
    model = Sequential(*(Dense(a, b, neuron) for a, b in pairwise(SIZES)))
    model.init(seed, scale=0.7, mean=0.2)
    options = TrainingOptions(duration=T, max_rate=80.0, seed=seed)
    calibrate(model, np.ones((40, SIZES[0])), options, [5.0, 5.0, 5.0, 4.0], 40)
    return model


def inputs_of(seed: int, draws: int) -> SpikeBatch:
    """Fixed rates between 20 and 140 Hz, fresh Poisson spikes in every draw."""
    rates = np.random.default_rng([seed, 5]).uniform(20.0, 140.0, SIZES[0])
    batch: SpikeBatch = poisson(np.tile(rates, (draws, 1)), T, seed=seed)
    return batch


def loss_of(counts: Floats, summed: bool) -> tuple[Floats, Floats]:
    """Loss of each draw, and dL/d count."""
    if summed:
        return counts.sum(axis=1), np.ones(counts.shape)
    return 0.5 * ((counts - WANTED) ** 2).sum(axis=1), counts - WANTED


def finite_differences(model: Sequential, spikes: list[SpikeBatch]) -> dict[bool, list[Floats]]:
    """Central differences of each half's mean loss by every weight, for both losses: per layer (2, n_in, n_out)."""
    found: dict[bool, list[Floats]] = {False: [], True: []}
    for k, layer in enumerate(model.layers):
        both = {summed: np.zeros((2, layer.n_in, layer.n_out)) for summed in found}
        for j in range(layer.n_in):
            for i in range(layer.n_out):
                kept = layer.weight[j, i]
                counts = []
                for sign in (1.0, -1.0):
                    layer.weight[j, i] = kept + sign * STEP
                    now = spikes[k]
                    for above in model.layers[k:]:
                        now = above.forward(now, T)
                    counts.append(now.counts().astype(float))
                layer.weight[j, i] = kept
                for summed in found:
                    slope = (loss_of(counts[0], summed)[0] - loss_of(counts[1], summed)[0]) / (2 * STEP)
                    both[summed][:, j, i] = slope[0::2].mean(), slope[1::2].mean()
        for summed in found:
            found[summed].append(both[summed])
    return found


def cosine(a: Floats, b: Floats) -> float:
    """Of two arrays taken as vectors."""
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def compare(model: Sequential, spikes: list[SpikeBatch], numbers: list[Floats], summed: bool) -> dict[str, Floats]:
    """By rule and for the noise: (layers, 3) of cosine, sign agreement and scale ratio."""
    draws = len(spikes[0])
    rows: dict[str, list[list[float]]] = {name: [] for name in ("halves", *RULES)}
    for a, b in numbers:
        clear = np.abs(a + b) > 2 * np.abs(a - b)
        rows["halves"].append([cosine(a, b), float(np.mean((a * b > 0)[clear])), float(np.mean(clear))])
    signal = loss_of(spikes[-1].counts().astype(float), summed)[1]
    for name, rule in RULES.items():
        gradients, _ = backward(model, rule, spikes, signal, T)
        for both, gradient in zip(numbers, gradients):
            mean, g = both.mean(axis=0), gradient["weight"] / draws
            true, norm = np.sqrt(np.sum(both[0] * both[1])), np.linalg.norm(g)
            clear = np.abs(both.sum(axis=0)) > 2 * np.abs(both[0] - both[1])
            agree = float(np.mean((mean * g > 0)[clear]))
            rows[name].append([float(np.sum(mean * g) / (true * norm)), agree, float(norm / true)])
    return {name: np.array(v) for name, v in rows.items()}


def main() -> None:
    """Print the tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, default=FIGURES / "count_gradients.png")
    args = parser.parse_args()
    print(machine(), f"seeds 1 ... {args.seeds}, {args.draws} draws")
    began = time.process_time()
    runs: dict[bool, list[dict[str, Floats]]] = {False: [], True: []}
    for seed in range(1, args.seeds + 1):
        model = make_model(seed)
        spikes = model.forward(inputs_of(seed, args.draws), T)
        print("mean counts of the layers:", ", ".join(f"{s.counts().mean():.1f}" for s in spikes[1:]))
        for summed, numbers in finite_differences(model, spikes).items():
            runs[summed].append(compare(model, spikes, numbers, summed))
    tables = {summed: {name: np.array([r[name] for r in found]) for name in found[0]} for summed, found in runs.items()}
    for summed, table in tables.items():
        print("\nloss: " + ("sum of the last layer's counts" if summed else "1/2 sum (o - y)^2"))
        print(f"{'':24s} {'layer 1 (lowest)':>19s} {'layer 2':>19s} {'layer 3':>19s} {'layer 4 (output)':>19s}")
        for name, values in table.items():
            mean = values.mean(axis=0)
            print(f"{name:24s} " + " ".join(f"{c:7.3f}{s:6.2f}{r:6.2f}" for c, s, r in mean))
    print("cosine (noise-free), share of equal signs where the true sign is clear, norm relative to the true one;")
    print("halves: cosine of the two halves, their equal signs, share of weights with a clear sign")
    print(f"{time.process_time() - began:.0f} s of CPU")
    draw(tables, args.figure)


def draw(tables: dict[bool, dict[str, Floats]], path: Path) -> None:
    """Cosine and scale ratio by layer, mean and range over networks, for both losses."""
    figure, axes = plt.subplots(2, 2, figsize=(7.6, 5.0), sharex=True)
    at = np.arange(1, len(SIZES))
    for row, (summed, table) in enumerate(tables.items()):
        for column, (what, k) in enumerate((("cosine", 0), ("norm relative to the true one", 2))):
            ax = axes[row, column]
            for n, (name, values) in enumerate(table.items()):
                if name == "halves" and k == 2:
                    continue
                mean, low, high = (f(values[:, :, k], axis=0) for f in (np.mean, np.min, np.max))
                style = {"color": "0.6", "ls": "--"} if name == "halves" else {"color": f"C{n}"}
                ax.errorbar(at + 0.04 * (n - 2), mean, [mean - low, high - mean], marker="o", ms=3, label=name, **style)
            ax.set(ylabel=what, xticks=at, title="sum of counts" if summed else "distance from wanted counts")
            if k == 2:
                ax.set_yscale("log")
                ax.axhline(1.0, color="k", lw=0.6)
    for ax in axes[1]:
        ax.set_xlabel("layer (4: output)")
    axes[0, 0].legend(fontsize=7)
    save(figure, path)


if __name__ == "__main__":
    main()
