"""Rate-based backpropagation beside other rules on digits: representations, robustness, accuracy against cost.

One encoder (regular trains up to 200 Hz for 50 ms), one network (64-100-10), one budget (8 epochs), several seeds.
1. linear CKA (Kornblith et al. 2019) of the hidden layer's rates on the test set, between rules and to a ReLU network
2. test accuracy when input spikes are jittered or left out, without retraining
3. test accuracy against CPU time of training and against operations of the backward pass
Figures: docs/figures/rate_cka.png, docs/figures/rate_robustness.png, docs/figures/rate_cost.png.

python benchmarks/questions/rate_rules.py --seeds 5
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import preset
from evsim.io.datasets import load_dataset
from evsim.learning import calibrate
from evsim.learning.training.regularisers import drop_spikes
from evsim.spikes import SpikeBatch, SpikeTrains
from evsim.types import Floats

T = 50.0
JITTER = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)
LOST = (0.0, 0.1, 0.2, 0.4, 0.6)
_COUNT = {
    "loss": "count", "loss_options": {"desired": 10.0, "undesired": 0.0, "margin": 0.0}, "weight_mean": (),
    "weight_scale": (), "hidden_count": 4.0, "output_count": 4.0, "epochs": 8,
}  # fmt: skip
RULES: dict[str, dict[str, Any]] = {
    "rate-based": {"rule": "rate-based"},
    "rate-based, interval": {"rule": "rate-based", "rule_options": {"estimator": "interval", "silent_share": 0.1}},
    "rate-based, K = 10": {"rule": "rate-based", "rule_options": {"windows": 10}},
    "EventProp": {"rule": "eventprop"},
    "HM2-BP": {"rule": "hm2bp", **_COUNT},
    "surrogate BPTT": {"rule": "surrogate-bptt"},
    "ANN": {"rule": "ann", "rate": 3e-3},
}


def jitter(spikes: SpikeBatch, sd: float, seed: int) -> SpikeBatch:
    """Each spike moved by N(0, sd^2), reflected into the sample."""
    rng = np.random.default_rng([seed, 7])
    out = []
    for s in spikes:
        t = np.abs(s.times + rng.normal(0.0, sd, s.times.size)) if sd else s.times
        t = np.where(t >= T, np.maximum(2.0 * T - t, 0.0), t)
        out.append(SpikeTrains(np.minimum(t, T - 1e-9), s.neurons, s.size))
    return SpikeBatch.from_trains(out)


def cka(a: Floats, b: Floats) -> float:
    """Linear centred kernel alignment of two (samples, features)."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float(np.sum((a.T @ b) ** 2) / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def one(name: str, seed: int) -> dict[str, Any]:
    """Train one rule with one seed; what the three figures need of it."""
    config = RunConfig(**{**preset("digits", "rate-based"), **RULES[name], "seed": seed, "threads": 1})
    data = load_dataset("digits", None, None, None)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate(model, data.x_train, config, [config.hidden_count, config.output_count])
    before = time.process_time()
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test[:1], data.y_test[:1]):
        pass
    seconds = (time.process_time() - before) / (config.epochs * len(data.y_train))
    if name == "ANN":
        spikes = model.forward(data.x_test, 0.0)
        accuracy = np.mean(np.argmax(spikes[-1].values, axis=1) == data.y_test)
        return {"hidden": spikes[1].values, "accuracy": 100.0 * accuracy, "seconds": seconds, "spikes": (0.0, 0.0)}
    rows = np.arange(len(data.y_test))
    inputs = config.encode(data.x_test, rows, -2)

    def test(given: SpikeBatch) -> float:
        spikes = trainer.model.forward(given, T)
        return 100.0 * float(np.mean(trainer.loss.predict(spikes[-1]) == data.y_test))

    spikes = model.forward(inputs, T)
    return {
        "hidden": spikes[1].counts().astype(float),
        "input": inputs.counts().astype(float),
        "accuracy": test(inputs),
        "seconds": seconds,
        "spikes": (inputs.times.size / len(rows), spikes[1].times.size / len(rows)),
        "jitter": [test(jitter(inputs, sd, seed)) for sd in JITTER],
        "lost": [test(drop_spikes(inputs, share, seed, 1, rows) if share else inputs) for share in LOST],
    }


def main() -> None:
    """Train what is not in --rows yet, print the tables and draw the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=Path, default=None, help="a pickle of what is done")
    parser.add_argument("--figures", type=Path, default=FIGURES)
    args = parser.parse_args()
    print(machine())
    done: dict[tuple[str, int], dict[str, Any]] = {}
    if args.rows is not None and args.rows.exists():
        done = pickle.loads(args.rows.read_bytes())
    for seed in range(1, args.seeds + 1):
        for name in RULES:
            if (name, seed) in done:
                continue
            row = done[name, seed] = one(name, seed)
            cost = f"{1e3 * row['seconds']:6.2f} ms of CPU a sample"
            print(f"seed {seed}  {name:22s} {row['accuracy']:6.2f} %  {cost}", flush=True)
            if args.rows is not None:
                args.rows.write_bytes(pickle.dumps(done))
    seeds = range(1, args.seeds + 1)
    print(f"{'':22s} accuracy (%)     ms CPU a sample   hidden spikes a sample   ({args.seeds} seeds)")
    for name in RULES:
        accuracy = [done[name, s]["accuracy"] for s in seeds]
        cost = [1e3 * done[name, s]["seconds"] for s in seeds]
        hidden = np.mean([done[name, s]["spikes"][1] for s in seeds])
        print(f"{name:22s} {np.mean(accuracy):6.2f} +- {np.std(accuracy, ddof=1):4.2f}  "
              f"{np.mean(cost):8.2f} +- {np.std(cost, ddof=1):4.2f}  {hidden:8.1f}")  # fmt: skip
    representations(done, args.seeds, args.figures / "rate_cka.png")
    robustness(done, args.seeds, args.figures / "rate_robustness.png")
    scatter(done, args.seeds, args.figures / "rate_cost.png")


def representations(done: dict[Any, Any], n: int, path: Path) -> None:
    """Mean CKA over pairs of seeds that differ; the diagonal tells how alike two runs of one rule are."""
    names = [*RULES, "input counts"]

    def hidden(name: str, seed: int) -> Floats:
        return done["rate-based", seed]["input"] if name == "input counts" else done[name, seed]["hidden"]

    table = np.empty((len(names), len(names)))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            pairs = [(s, t) for s in range(1, n + 1) for t in range(1, n + 1) if s != t]
            table[i, j] = np.mean([cka(hidden(a, s), hidden(b, t)) for s, t in pairs])
    print("linear CKA of hidden layers, mean over pairs of different seeds")
    for name, row in zip(names, table):
        print(f"{name:22s}", row.round(3))
    figure, axes = plt.subplots(figsize=(5.6, 4.8))
    image = axes.imshow(table, vmin=0.5, vmax=1.0, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    for i in range(len(names)):
        for j in range(len(names)):
            colour = "black" if table[i, j] > 0.8 else "white"
            axes.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="linear CKA of hidden rates")
    save(figure, path)


def robustness(done: dict[Any, Any], n: int, path: Path) -> None:
    """Accuracy against jitter and against the share of spikes left out."""
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.3), sharey=True)
    for ax, key, x, label in (
        (axes[0], "jitter", JITTER, "jitter of input spikes, sd (ms)"),
        (axes[1], "lost", LOST, "share of input spikes left out"),
    ):
        print(f"accuracy against {label}: {x}")
        for k, name in enumerate(r for r in RULES if r != "ANN"):
            values = np.array([done[name, s][key] for s in range(1, n + 1)])
            print(f"{name:22s}", values.mean(axis=0).round(1), "sd", values.std(axis=0, ddof=1).round(1))
            ax.errorbar(x, values.mean(axis=0), values.std(axis=0, ddof=1), marker="o", ms=3, label=name, color=f"C{k}")
        ax.set_xlabel(label)
    axes[0].set_ylabel("test accuracy (%)")
    axes[0].legend(fontsize=7)
    save(figure, path)


def scatter(done: dict[Any, Any], n: int, path: Path) -> None:
    """Accuracy against CPU time of training, all seeds."""
    figure, axes = plt.subplots(figsize=(5.2, 3.6))
    for k, name in enumerate(RULES):
        cost = [1e3 * done[name, s]["seconds"] for s in range(1, n + 1)]
        accuracy = [done[name, s]["accuracy"] for s in range(1, n + 1)]
        axes.plot(cost, accuracy, "o", ms=3, color=f"C{k}", alpha=0.5)
        axes.errorbar(np.mean(cost), np.mean(accuracy), np.std(accuracy, ddof=1), marker="s", color=f"C{k}", label=name)
    axes.set(xscale="log", xlabel="CPU time of training (ms a sample)", ylabel="test accuracy (%)")
    axes.legend(fontsize=7)
    save(figure, path)


if __name__ == "__main__":
    main()
