"""Can a rule learn target spike patterns? Three input patterns, each to be answered by trains of three output neurons
that have three spikes each in every class: the classes share all counts and differ in timing alone.

python benchmarks/questions/spike_patterns.py --seeds 5 --figure docs/figures/spike_patterns.png

Prints, for each rule over the seeds, on test samples: the van Rossum distance (10 ms) from the right targets, the
accuracy of taking the class of the nearest targets, and the share of output neurons with the right count. Settings were
chosen on validation samples of seed 0 (--select), which is not among the seeds reported.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from drawing import plt, save
from evsim import LIF
from evsim.io.datasets import Dataset, load_dataset
from evsim.learning import (
    HM2BP,
    TSSLBP,
    Adam,
    CountLoss,
    Dense,
    EventProp,
    GradientClipping,
    PSCDistance,
    Sequential,
    Trainer,
    TrainingOptions,
    VanRossum,
)
from evsim.spikes import SpikeBatch

TAU = 10.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
EXACT = {"inter": "true", "intra": "exact"}


def _pscs(data: Dataset) -> PSCDistance:
    return PSCDistance(data.targets, 20.0, data.duration, "nearest")


RULES = {
    "TSSL-BP, chain rule's inter term": lambda d: (TSSLBP(**EXACT), _pscs(d)),
    "TSSL-BP, silent steps": lambda d: (TSSLBP(silent="steps", reference_step=4.0), _pscs(d)),
    "EventProp, van Rossum": lambda d: (EventProp(), VanRossum(d.targets, 20.0)),
    "HM2-BP, counts": lambda d: (HM2BP(), CountLoss(3.0, 3.0, 0.0)),
}
STARTS = {"low": ([0.2, 0.03], [0.4, 0.15]), "high": ([0.3, 0.2], [0.5, 0.3])}
"""Mean and sd of the initial weights, by layer: "low" leaves output neurons silent."""

CHOSEN = {
    "TSSL-BP, chain rule's inter term": ("low", 1e-2),
    "TSSL-BP, silent steps": ("low", 1e-2),
    "EventProp, van Rossum": ("high", 2e-3),
    "HM2-BP, counts": ("low", 1e-2),
}


def patterns(seed: int) -> Dataset:
    """Three classes; the seed draws patterns and targets."""
    return load_dataset("spike-patterns", None, None, None, outputs=3, seed=seed)


def train(
    name: str, seed: int, start: str, rate: float, epochs: int, validation: int = 0
) -> tuple[Sequential, Dataset, list[Any]]:
    """A trained model, its data, and the log."""
    data = patterns(seed)
    rule, loss = RULES[name](data)
    model = Sequential(Dense(100, 100, NEURON), Dense(100, 3, NEURON))
    mean, scale = STARTS[start]
    model.init(seed, scale=scale, mean=mean)
    options = TrainingOptions(
        duration=data.duration, epochs=epochs, batch_size=10, rate=rate, seed=seed, validation=validation
    )
    trainer = Trainer(model, rule, loss, Adam(), options, [GradientClipping(0.1)])
    return model, data, list(trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test))


def scores(model: Sequential, data: Dataset, x: SpikeBatch, y: np.ndarray) -> tuple[float, float, float]:
    """Distance from the right targets, accuracy by the nearest, share of neurons with the right count."""
    loss = VanRossum(data.targets, TAU)
    outputs = model.forward(x, data.duration)[-1]
    wanted = data.targets.counts()[y]
    return (
        float(loss(outputs, y)[0].mean()), float(np.mean(loss.predict(outputs) == y)),
        float(np.mean(outputs.counts() == wanted)),
    )  # fmt: skip


def select(epochs: int) -> None:
    """Rates and initial weights by the distance on validation samples of seed 0."""
    for name, start, rate in product(RULES, STARTS, (2e-3, 5e-3, 1e-2)):
        model, data, _ = train(name, 0, start, rate, epochs, validation=60)
        held = np.sort(np.random.default_rng([0, 1]).permutation(len(data.y_train))[:60])
        found = scores(model, data, data.x_train.take(held), data.y_train[held])
        print(f"{name:34s} {start:4s} {rate:.0e}: distance {found[0]:.3f}, accuracy {100 * found[1]:.1f} %", flush=True)


def raster(models: dict[str, Sequential], data: Dataset, path: Path) -> None:
    """Outputs of the first ten test samples of each class, and the targets."""
    figure, axes = plt.subplots(1, len(models), figsize=(12, 3.2), sharey=True)
    for axis, (name, model) in zip(np.atleast_1d(axes), models.items()):
        for c in range(3):
            some = np.flatnonzero(data.y_test == c)[:10]
            outputs = model.forward(data.x_test.take(some), data.duration)[-1]
            row = c * 14 + outputs.samples()
            for n in range(3):
                mine = outputs.neurons == n
                axis.plot(outputs.times[mine], row[mine], "|", color=f"C{n}", ms=5)
                for t in data.targets.sample(c).of(n):
                    axis.vlines(t, c * 14 - 0.7, c * 14 + 9.7, color=f"C{n}", lw=3, alpha=0.25)
        axis.set(title=name, xlabel="ms", xlim=(0, data.duration), yticks=[4.5, 18.5, 32.5])
        axis.title.set_fontsize(9)
        axis.set_yticklabels([f"class {c}" for c in range(3)])
    save(figure, path, dpi=80)


def main() -> None:
    """As the module says."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--select", action="store_true")
    args = parser.parse_args()
    print(machine())
    if args.select:
        select(args.epochs)
        return
    first: dict[str, Sequential] = {}
    for name in RULES:
        rows = []
        for seed in range(1, args.seeds + 1):
            model, data, _ = train(name, seed, *CHOSEN[name], args.epochs)
            rows.append(scores(model, data, data.x_test, data.y_test))
            first.setdefault(name, model)
        mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1 if len(rows) > 1 else 0)
        figures = [f"{100 * m:5.1f} +- {100 * s:.1f} %" for m, s in zip(mean[1:], sd[1:])]
        print(f"{name:34s} distance {mean[0]:6.3f} +- {sd[0]:.3f}   nearest {figures[0]}   right counts {figures[1]}",
              flush=True)  # fmt: skip
    if args.figure:
        raster(first, patterns(1), args.figure)


if __name__ == "__main__":
    main()
