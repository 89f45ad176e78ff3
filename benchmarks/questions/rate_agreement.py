"""How far rate-based gradients point where the true gradient points: by duration, by estimator, by reference step.

Networks 30-40-40-5 with random weights, Poisson input of fixed rates, an integral readout. The true gradient is
EventProp's of the same spikes; beside it the gradient of windows of 2.5 ms, near to surrogate backpropagation through
time. Cosines of the gradients of a batch, median over draws with quartiles; figure: docs/figures/rate_agreement.png.

python benchmarks/questions/rate_agreement.py --draws 20
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim import encode
from evsim.learning import Dense, EventProp, RateBased, Readout, Sequential, VoltageCrossEntropy
from evsim.learning.protocols import backward
from evsim.neurons.lif import LIF
from evsim.types import Floats

DURATIONS = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)
STEPS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
RULES: dict[str, dict[str, Any]] = {
    "surrogate, hard": {},
    "surrogate, soft": {"reset": "soft"},
    "analytic": {"estimator": "analytic"},
    "interval": {"estimator": "interval"},
    "diffusion": {"estimator": "diffusion"},
}
SAMPLES, RATE = 32, 40.0


def cosine(a: Floats, b: Floats) -> float:
    """Of two arrays as vectors; 0 if one of them is 0."""
    norms = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / norms if norms > 0 else 0.0


def draw_batch(seed: int, duration: float) -> tuple[Sequential, list[Any], Floats]:
    """A random network, the spikes of a batch, and the derivative of its loss by the readout's values."""
    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    model = Sequential(Dense(30, 40, neuron), Dense(40, 40, neuron), Readout(40, 5, neuron, feature="integral"))
    model.init(seed, scale=[0.4, 0.6, 0.3], mean=[0.12, 0.36, 0.0])
    rng = np.random.default_rng([seed, 1])
    rates = RATE * rng.uniform(0.0, 2.0, (SAMPLES, 30))
    inputs = encode.poisson(rates, duration, seed=seed)
    spikes = model.forward(inputs, duration)
    _, signal = VoltageCrossEntropy(4.0 / duration)(spikes[-1], rng.integers(0, 5, SAMPLES))
    return model, spikes, signal


def agreements(draws: int) -> dict[tuple[str, float], Floats]:
    """Cosines (draws, layers) of the two hidden layers to the true gradient and to many windows', by rule, duration."""
    out: dict[tuple[str, float], Any] = {}
    for duration in DURATIONS:
        spikes_seen = []
        for seed in range(draws):
            model, spikes, signal = draw_batch(seed, duration)
            spikes_seen.append([s.times.size / SAMPLES / s.size / duration * 1e3 for s in spikes[:-1]])
            true, _ = backward(model, EventProp(), spikes, signal, duration)
            many, _ = backward(model, RateBased(windows=int(duration / 2.5)), spikes, signal, duration)
            found = {name: backward(model, RateBased(**kw), spikes, signal, duration)[0] for name, kw in RULES.items()}
            found["many windows"] = many
            for name, gradients in found.items():
                pair = [
                    [cosine(g["weight"], w["weight"]) for g, w in zip(gradients[:2], want[:2])] for want in (true, many)
                ]
                out.setdefault((name, duration), []).append(pair)
        print(f"{duration:5.0f} ms: rates {np.mean(spikes_seen, axis=0).round(1)} Hz", flush=True)
    return {key: np.array(values) for key, values in out.items()}


def steps(draws: int, duration: float = 100.0) -> tuple[Floats, Floats]:
    """By reference step: cosine of each hidden layer to the true gradient, and ratio of norms, (steps, draws, 2)."""
    cosines, ratios = np.empty((len(STEPS), draws, 2)), np.empty((len(STEPS), draws, 2))
    for seed in range(draws):
        model, spikes, signal = draw_batch(seed, duration)
        true, _ = backward(model, EventProp(), spikes, signal, duration)
        for k, step in enumerate(STEPS):
            got, _ = backward(model, RateBased(reference_step=step), spikes, signal, duration)
            for layer in range(2):
                g, w = got[layer]["weight"], true[layer]["weight"]
                cosines[k, seed, layer] = cosine(g, w)
                ratios[k, seed, layer] = np.linalg.norm(g) / np.linalg.norm(w)
    return cosines, ratios


def main() -> None:
    """Print both tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--figure", type=Path, default=FIGURES / "rate_agreement.png")
    args = parser.parse_args()
    print(machine())
    found = agreements(args.draws)
    names = [*RULES, "many windows"]
    for against, title in ((0, "the true gradient"), (1, "many windows (surrogate BPTT)")):
        for layer in range(2):
            print(f"median cosine to {title}, hidden layer {layer + 1}; columns: ms")
            print(f"{'':18s}" + "".join(f"{d:8.0f}" for d in DURATIONS))
            for name in names:
                row = [np.median(found[name, d][:, against, layer]) for d in DURATIONS]
                print(f"{name:18s}" + "".join(f"{v:8.3f}" for v in row))
    cosines, ratios = steps(args.draws)
    print("reference step (ms), median cosine and norm ratio to the true gradient of hidden layers 1 and 2")
    for k, step in enumerate(STEPS):
        print(f"{step:6.0f} ", np.median(cosines[k], axis=0).round(3), np.median(ratios[k], axis=0).round(3))
    figure, axes = plt.subplots(2, 2, figsize=(8.4, 5.8), dpi=75, sharex=True)
    for against in range(2):
        for layer in range(2):
            ax = axes[against, layer]
            for k, name in enumerate(names):
                if against == 1 and name == "many windows":
                    continue
                low, middle, high = np.array(
                    [np.percentile(found[name, d][:, against, layer], (25, 50, 75)) for d in DURATIONS]
                ).T
                ax.plot(DURATIONS, middle, marker="o", ms=3, color=f"C{k}", label=name)
                ax.fill_between(DURATIONS, low, high, color=f"C{k}", alpha=0.12)
            ax.set(xscale="log", title=f"hidden layer {layer + 1}")
            ax.set_xticks(DURATIONS, [f"{d:.0f}" for d in DURATIONS])
            ax.minorticks_off()
            ax.axhline(0.0, color="0.7", lw=0.8)
    axes[0, 0].set_ylabel("cosine to the true gradient")
    axes[1, 0].set_ylabel("cosine to surrogate BPTT")
    for ax in axes[1]:
        ax.set_xlabel("duration (ms)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower center", ncols=6, fontsize=7)
    save(figure, args.figure, rect=(0.0, 0.04, 1.0, 1.0))


if __name__ == "__main__":
    main()
