"""Does the reference step of rate-based backpropagation matter? Digits with steps of 1, 10 and 100 ms, Adam and SGD.

It multiplies all slopes, so it scales the gradient of each layer and turns none. Adam takes the scale out. SGD does
not: one step size for all. Figure: docs/figures/rate_reference_step.png.

python benchmarks/questions/reference_step.py --seeds 3
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import preset
from evsim.io.datasets import load_dataset

STEPS = (1.0, 10.0, 100.0)
OPTIMISERS = {"adam": 1e-2, "sgd": 0.1}


def accuracy(step: float, optimiser: str, seed: int) -> float:
    """Test accuracy after the last epoch, %."""
    given = {"rule_options": {"reference_step": step}, "optimiser": optimiser, "rate": OPTIMISERS[optimiser]}
    config = RunConfig(**{**preset("digits", "rate-based"), **given, "seed": seed, "threads": 1})
    data = load_dataset("digits", None, None, None)
    model, trainer = build(config, data)
    start(config, model)
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        pass
    return 100.0 * trainer.history[-1]["test_accuracy"]


def main() -> None:
    """Print a table and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path, default=FIGURES / "rate_reference_step.png")
    args = parser.parse_args()
    print(machine())
    figure, axes = plt.subplots(figsize=(4.8, 3.2))
    for optimiser in OPTIMISERS:
        values = np.array([[accuracy(d, optimiser, s) for s in range(1, args.seeds + 1)] for d in STEPS])
        for step, row in zip(STEPS, values):
            print(f"{optimiser:5s} {step:6.0f} ms  {row.mean():6.2f} +- {row.std(ddof=1):5.2f} %", flush=True)
        axes.errorbar(STEPS, values.mean(axis=1), values.std(axis=1, ddof=1), marker="o", capsize=3, label=optimiser)
    axes.set(xscale="log", xlabel="reference step (ms)", ylabel="test accuracy (%)")
    axes.legend()
    save(figure, args.figure)


if __name__ == "__main__":
    main()
