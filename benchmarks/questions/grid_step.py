"""The time step of equal accuracy: surrogate-gradient BPTT on grids beside EventProp on exact times, on Yin-Yang.

    python benchmarks/questions/grid_step.py [--seeds 3] [--out docs/figures/grid_step.png]

The same network, encoder, loss, initial weights and epochs. The step size of Adam, and for the baseline the slope of
its surrogate, are chosen for each on the validation part, with a seed of its own. Speeds are of training alone, in one
process on one thread, taken in turns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from drawing import plt, save
from evsim import LIF
from evsim.io.datasets import load_dataset
from evsim.learning import (
    Adam,
    Dense,
    EventProp,
    Readout,
    Sequential,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
)
from evsim.learning.baselines import GridTrainer, SurrogateBPTT

STEPS = (0.5, 1.0, 2.0, 4.0, 8.0)
RATES = (1e-2, 2e-2, 5e-2)
SLOPES = (4.0, 10.0, 25.0)
DATA = load_dataset("yin-yang", train_size=2000)


def trainer(dt: float | None, seed: int, rate: float, slope: float, epochs: int) -> Trainer:
    """EventProp for dt None (which has no slope), else the baseline."""
    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    model = Sequential(Dense(5, 80, neuron), Readout(80, 3, neuron, feature="integral"))
    model.init(seed, scale=[1.2, 0.1], mean=[1.5, 0.0])
    options = TrainingOptions(
        duration=60.0, encoder="linear", window=(0.0, 30.0), bias_spike=0.0, epochs=epochs, batch_size=32, rate=rate,
        seed=seed,
    )  # fmt: skip
    kind, rule = (Trainer, EventProp(min_slope=0.1)) if dt is None else (GridTrainer, SurrogateBPTT(dt=dt, slope=slope))
    made: Trainer = kind(model, rule, VoltageCrossEntropy(0.1), Adam(), options)
    return made


def trained(trainers: list[Trainer]) -> list[list[dict[str, float]]]:
    """Rows of all, an epoch of each in turn."""
    d = DATA
    held = d.x_validation, d.y_validation
    runs = [t.epochs(d.x_train, d.y_train, d.x_test, d.y_test, validation=held) for t in trainers]  # type: ignore[arg-type]
    return [list(rows) for rows in zip(*zip(*runs))]


def chosen(dt: float | None, epochs: int) -> tuple[float, float]:
    """Step size and slope with the best validation accuracy after the last epoch, for a seed that is not used again."""
    pairs = [(rate, slope) for rate in RATES for slope in (SLOPES if dt is not None else SLOPES[:1])]
    found = trained([trainer(dt, 100, rate, slope, epochs) for rate, slope in pairs])
    return pairs[int(np.argmax([rows[-1]["validation_accuracy"] for rows in found]))]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, help="file of the figure")
    a = parser.parse_args()
    names: list[float | None] = [None, *STEPS]
    best = [chosen(dt, a.epochs) for dt in names]
    accuracy, speed = np.empty((a.seeds, len(names))), np.empty((a.seeds, len(names)))
    for s in range(a.seeds):
        rows = trained([trainer(dt, s + 1, *pair, a.epochs) for dt, pair in zip(names, best)])
        accuracy[s] = [100.0 * r[-1]["test_accuracy"] for r in rows]
        # The first epoch also loads kernels.
        speed[s] = [np.median([row["samples_per_second"] for row in r[1:]]) for r in rows]
    print(machine())
    print(f"Yin-Yang, 2000 training samples, {a.epochs} epochs, {a.seeds} seeds; test accuracy: mean and sd")
    for k, name in enumerate(names):
        label = "EventProp, exact" if name is None else f"dt = {name:g} ms, slope {best[k][1]:g}"
        ratio = np.median(speed[:, k] / speed[:, 0])
        print(f"{label:22} rate {best[k][0]:g}  {accuracy[:, k].mean():5.2f} +- {accuracy[:, k].std(ddof=1):.2f} %  "
              f"samples/s over EventProp's: {ratio:.2f}")  # fmt: skip
    print(_verdict(accuracy, speed))
    if a.out:
        save(picture(accuracy, speed), a.out)


def _verdict(accuracy: Any, speed: Any) -> str:
    """The coarsest step that is within one standard error of EventProp's accuracy, seed by seed."""
    apart = accuracy[:, 1:] - accuracy[:, :1]
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(apart))
    equal = np.flatnonzero(apart.mean(axis=0) >= -error)
    if equal.size == 0:
        return "no step is as accurate as EventProp within one standard error of the difference"
    k = int(equal[-1])
    ratio = np.median(speed[:, k + 1] / speed[:, 0])
    return f"coarsest step of equal accuracy: {STEPS[k]:g} ms, where it trains {ratio:.2f} times as fast as EventProp"


def picture(accuracy: Any, speed: Any) -> plt.Figure:
    """Accuracy and relative speed over the step."""
    fig = plt.figure(figsize=(8.0, 3.2), layout="constrained", dpi=110)
    left, right = fig.subplots(1, 2)
    mean, sd = accuracy.mean(axis=0), accuracy.std(axis=0, ddof=1)
    left.errorbar(STEPS, mean[1:], sd[1:], fmt="o-", ms=4, capsize=2, label="surrogate BPTT on a grid")
    left.axhline(mean[0], color="C1", label="EventProp, exact times")
    left.axhspan(mean[0] - sd[0], mean[0] + sd[0], color="C1", alpha=0.2, lw=0)
    left.set_ylabel("test accuracy (%)")
    left.legend(loc="lower left", fontsize=8)
    right.plot(STEPS, np.median(speed[:, 1:] / speed[:, :1], axis=0), "o-", ms=4)
    right.axhline(1.0, color="C1")
    right.set_yscale("log")
    right.set_ylabel("training speed over EventProp's")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks(STEPS, [f"{dt:g}" for dt in STEPS])
        ax.minorticks_off()
        ax.set_xlabel("time step (ms)")
    return fig


if __name__ == "__main__":
    main()
