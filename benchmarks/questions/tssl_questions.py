"""TSSL-BP's open questions on the 8x8 digits: which terms of the chain rule it keeps, whether it wakes silent neurons,
what each path is worth, and how its gradient agrees with the true one while it learns.

python benchmarks/questions/tssl_questions.py WHAT

    terms      D1: cosine with the exact gradient for every choice of terms
    wake       D3: neurons recovered from silence
    ablation   D4: TSSL only, surrogate only, both, exact; D9: agreement along the way
    losses     D5: the loss's time constant, and counts
    figure     docs/figures/tssl_bp.png from what wake and ablation left in --folder

Latency code (0 to 20 ms), 64-100-10, 40 ms. Step sizes are chosen on 360 validation samples with seed 0; figures are
test accuracies of the last epoch over seeds 1 ... N.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim import LIF
from evsim.errors import SilentLayerError
from evsim.io.datasets import load_dataset
from evsim.learning import (
    TSSLBP,
    Adam,
    Dense,
    GradientClipping,
    PSCCount,
    PSCDistance,
    Sequential,
    Trainer,
    TrainingOptions,
    tssl_report,
)
from evsim.learning.losses import psc_classes
from evsim.learning.rules.tssl.report import EXACT

T, STEP = 40.0, 4.0
NEURON = LIF(tau_m=20.0, tau_syn=10.0)
LOSS = psc_classes(10, T, tau=20.0, step=STEP)
BOTH = TSSLBP(silent="steps", reference_step=STEP)
RULES = {
    "TSSL only": replace(BOTH, silent="none"),
    "surrogate only": replace(BOTH, silent="only"),
    "both (silent steps)": BOTH,
    "both, one virtual spike a gap": replace(BOTH, silent="virtual"),
    "exact": EXACT,
}
STARTS = {"outputs fire": (0.2, 0.05), "outputs nearly silent": (0.2, 0.02)}
RATES = (5e-3, 2e-2)


class Persistent(TSSLBP):
    """Goes on where a layer is silent, so that its neurons can be counted."""

    @property
    def wakes_silent(self) -> bool:
        """Or so it says."""
        return True


def network(seed: int, mean: Any, scale: Any = (0.2, 0.1)) -> Sequential:
    """64-100-10."""
    model = Sequential(Dense(64, 100, NEURON), Dense(100, 10, NEURON))
    model.init(seed, scale=list(scale), mean=list(mean))
    return model


def trainer_of(model: Sequential, rule: TSSLBP, seed: int, epochs: int, rate: float, loss: Any = LOSS) -> Trainer:
    """Adam, cosine schedule, gradient norm 0.03."""
    options = TrainingOptions(
        duration=T, encoder="latency", window=(0.0, 20.0), epochs=epochs, batch_size=32, rate=rate, validation=360,
        seed=seed,
    )  # fmt: skip
    return Trainer(model, rule, loss, Adam(), options, [GradientClipping(0.03)])


def probe(trainer: Trainer, n: int = 200) -> tuple[Any, np.ndarray]:
    """The first training samples, encoded, and their labels."""
    data = load_dataset("digits")
    return trainer.options.encode(data.x_train, np.arange(n), -1), data.y_train[:n]


def train(trainer: Trainer, each: Any = None) -> list[dict[str, float]]:
    """The log; ``each`` is called before training and after each epoch. An empty log: a layer fell silent."""
    data, rows = load_dataset("digits"), []
    if each is not None:
        each()
    try:
        for row in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
            rows.append(row)
            if each is not None:
                each()
    except SilentLayerError:
        return []
    return rows


def figures_of(values: list[float]) -> str:
    """mean +- sd, in per cent."""
    a = 100.0 * np.array(values)
    return f"{a.mean():5.2f} +- {a.std(ddof=1) if a.size > 1 else 0.0:4.2f}"


def terms(args: argparse.Namespace) -> None:
    """D1, on one network before, during and after training."""
    variants = {
        "C, reset's share": replace(BOTH, silent="none"),
        "  and surrogate path": BOTH,
        "C alone": replace(BOTH, silent="none", intra="none"),
        "C, exact from next spike": replace(BOTH, silent="none", intra="exact"),
        "-dC/dt, reset's share": replace(BOTH, silent="none", inter="true"),
        "-dC/dt alone": replace(BOTH, silent="none", inter="true", intra="none"),
        "-dC/dt, exact from next spike": replace(EXACT, max_gain=8.0, reference_step=STEP),
        "the same without the bound": EXACT,
    }
    rows: dict[str, list[list[float]]] = {name: [] for name in variants}
    detail: dict[int, list[Any]] = {}
    for seed in range(1, args.seeds + 1):
        trainer = trainer_of(network(seed, STARTS["outputs fire"]), BOTH, seed, args.epochs, 2e-2)
        inputs, labels = probe(trainer)
        found: dict[str, list[list[float]]] = {name: [] for name in variants}

        def look(trainer: Trainer = trainer, found: Any = found, inputs: Any = inputs, labels: Any = labels) -> None:
            if trainer.epoch in (0, args.epochs // 2, args.epochs):
                for name, rule in variants.items():
                    report = tssl_report(trainer.model, rule, LOSS, inputs, labels, T)
                    found[name].append([x for row in report for x in (row.cosine, row.signs)])
                report = tssl_report(trainer.model, BOTH, LOSS, inputs, labels, T)
                detail.setdefault(trainer.epoch, []).append([list(row.asdict().values())[1:] for row in report])

        train(trainer, look)
        for name in variants:
            rows[name].append(found[name])  # type: ignore[arg-type]
    print(f"cosine with the exact gradient by layer 0, 1, before, in the middle of and after {args.epochs} epochs")
    for name in variants:
        mean = np.mean(rows[name], axis=0)
        print(f"{name:32s}" + "  |".join(f"  {m[0]:+.3f} {m[2]:+.3f}" for m in mean))
    print("silent steps, by layer: spikes, silent, shares inter, intra, surrogate, clipped, signs, cosine, scale")
    for epoch, values in detail.items():
        for layer, row in enumerate(np.mean(values, axis=0)):
            print(f"epoch {epoch:2d} layer {layer}  " + "  ".join(f"{x:.3f}" for x in row))


def wake(args: argparse.Namespace) -> None:
    """D3: all neurons silent at the start, and half of the hidden ones inhibited while the rest fires."""
    out: dict[str, Any] = {}
    for start, silent in product(("all silent", "half inhibited"), ("none", "virtual", "steps", "only")):
        rule, curves, ends = Persistent(silent=silent, reference_step=STEP), [], []
        for seed in range(1, args.seeds + 1):
            model = network(seed, (0.01, 0.01), (0.005, 0.005)) if start == "all silent" else network(seed, (0.2, 0.05))
            if start != "all silent":
                model.weights[0][:, :50] = -np.abs(model.weights[0][:, :50])
            trainer = trainer_of(model, rule, seed, args.epochs, 2e-2)
            inputs, _ = probe(trainer)
            curve: list[list[int]] = []

            def look(model: Sequential = model, inputs: Any = inputs, curve: Any = curve) -> None:
                hidden, outputs = (s.counts().any(axis=0) for s in model.forward(inputs, T)[1:])
                curve.append([int(hidden[:50].sum()), int(hidden[50:].sum()), int(outputs.sum())])

            rows = train(trainer, look)
            curves.append(curve)
            ends.append(rows[-1]["test_accuracy"])
        mean = np.mean(curves, axis=0)
        out[f"{start}, {silent}"] = mean.tolist()
        print(
            f"{start:15s} {silent:8s} firing at the start {mean[0, 0]:4.1f} + {mean[0, 1]:4.1f} hidden, "
            f"{mean[0, 2]:4.1f} output; after {args.epochs} epochs {mean[-1, 0]:4.1f} + {mean[-1, 1]:4.1f}, "
            f"{mean[-1, 2]:4.1f}; test {figures_of(ends)} %", flush=True
        )  # fmt: skip
    (args.folder / "wake.json").write_text(json.dumps(out))


def ablation(args: argparse.Namespace) -> None:
    """D4 and D9."""
    agreement: dict[str, list[list[list[float]]]] = {}
    chosen: dict[str, float] = {}
    for start, (name, rule) in product(STARTS, RULES.items()):
        if name not in chosen:  # by the start in which all can learn
            tried = [train(trainer_of(network(0, STARTS[start]), rule, 0, args.epochs, rate)) for rate in RATES]
            chosen[name] = RATES[int(np.argmax([rows[-1]["validation_accuracy"] if rows else 0.0 for rows in tried]))]
        rate = chosen[name]
        ends, fell = [], 0
        for seed in range(1, args.seeds + 1):
            trainer = trainer_of(network(seed, STARTS[start]), rule, seed, args.epochs, rate)
            inputs, labels = probe(trainer)
            path: list[list[float]] = []

            def look(
                trainer: Trainer = trainer, rule: TSSLBP = rule, inputs: Any = inputs, labels: Any = labels,
                path: Any = path,
            ) -> None:  # fmt: skip
                report = tssl_report(trainer.model, rule, LOSS, inputs, labels, T)
                path.append([x for row in report for x in (row.cosine, row.signs, row.surrogate)])

            watched = name in ("both (silent steps)", "surrogate only") and start == "outputs fire"
            rows = train(trainer, look if watched else None)
            fell += not rows
            ends.append(rows[-1]["test_accuracy"] if rows else 0.1)
            if rows and path:
                agreement.setdefault(f"{start}: {name}", []).append(path)
        note = f"  ({fell} fell silent)" if fell else ""
        print(f"{start:22s} {name:30s} rate {rate:.0e} test {figures_of(ends)} %{note}", flush=True)
    (args.folder / "agreement.json").write_text(json.dumps(agreement))
    for name, paths in agreement.items():
        mean = np.mean(paths, axis=0)
        for epoch in (0, 1, args.epochs // 2, args.epochs):
            m = mean[epoch]
            print(
                f"{name:45s} epoch {epoch:2d}: cosine {m[0]:+.2f} {m[3]:+.2f}, signs {m[1]:.2f} {m[4]:.2f}, surrogate "
                f"share {m[2]:.2f} {m[5]:.2f} (layers 0, 1)"
            )


def losses(args: argparse.Namespace) -> None:
    """D5."""
    taus = (5.0, 10.0, 20.0, 40.0)
    kinds: dict[str, Any] = {f"van Rossum, {tau:.0f} ms": psc_classes(10, T, tau, STEP) for tau in taus}
    one = psc_classes(10, T, 20.0, STEP, (0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    kinds |= {"van Rossum, 20 ms, one spike": one, "counts of PSCs": PSCCount(20.0, T, 2.0, 0.0)}
    for name, loss in kinds.items():
        ends = []
        for seed in range(1, args.seeds + 1):
            assert isinstance(loss, (PSCCount, PSCDistance))
            rows = train(trainer_of(network(seed, (0.2, 0.02)), BOTH, seed, args.epochs, 2e-2, loss))
            ends.append(rows[-1]["test_accuracy"])
        print(f"{name:30s} test {figures_of(ends)} %", flush=True)


def figure(args: argparse.Namespace) -> None:
    """What ``ablation`` and ``wake`` left; a file that is missing leaves its panel out."""
    woken = args.folder / "wake.json"
    shown, axes = plt.subplots(1, 2 + woken.exists(), figsize=(8 + 5.5 * woken.exists(), 3.4))
    agreement = json.loads((args.folder / "agreement.json").read_text())
    for k, (name, paths) in enumerate(agreement.items()):
        mean = np.mean(paths, axis=0)
        for layer, line in ((0, "-"), (1, "--")):
            axes[0].plot(mean[:, 3 * layer], line, color=f"C{k}", label=f"{name.split(': ')[1]}, layer {layer}")
            axes[1].plot(mean[:, 3 * layer + 1], line, color=f"C{k}")
    axes[0].axhline(0.0, color="0.8")
    axes[0].set(xlabel="epoch", ylabel="cosine", title="D9: cosine with the exact gradient", ylim=(-0.2, 1.05))
    axes[0].legend(fontsize=7)
    axes[1].axhline(0.5, color="0.8")
    axes[1].set(xlabel="epoch", ylabel="share", title="D9: equal signs, inter-neuron term", ylim=(0.4, 1.02))
    if woken.exists():
        for name, curve in json.loads(woken.read_text()).items():
            start, silent = name.split(", ")
            hidden = np.array(curve)[:, 0] + (np.array(curve)[:, 1] if start == "all silent" else 0)
            colour = f"C{['none', 'virtual', 'steps', 'only'].index(silent)}"
            axes[2].plot(hidden, "-" if start == "all silent" else "--", color=colour, label=f"{silent} ({start})")
        axes[2].set(xlabel="epoch", ylabel="hidden neurons that fire", title="D3: of 100 silent, or of 50 inhibited")
        axes[2].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    save(shown, FIGURES / "tssl_bp.png", dpi=80)


def main() -> None:
    """As the module says."""
    parser = arguments(__doc__)
    parser.add_argument("what", choices=["terms", "wake", "ablation", "losses", "figure"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path("tssl-questions"))
    args = parser.parse_args()
    args.folder.mkdir(exist_ok=True)
    print(machine())
    {"terms": terms, "wake": wake, "ablation": ablation, "losses": losses, "figure": figure}[args.what](args)


if __name__ == "__main__":
    main()
