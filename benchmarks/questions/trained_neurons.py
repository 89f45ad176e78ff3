"""Do trained thresholds, time constants and biases help? EventProp on Yin-Yang and randman (docs/rules/eventprop.md).

Weights alone, each parameter of the neurons beside the weights, and all of them. Step sizes are chosen by validation
accuracy with a seed that is not used again: three for the weights, then, with that one, two for the parameters of each
variant. Then every variant is trained from the same start with the same samples in the same order, seed by seed; its
figure is the test accuracy of the epoch with the best validation accuracy.

Every finished run is a line of ``--runs`` and is not done again; ``--results`` is made of these lines.

python benchmarks/questions/trained_neurons.py --seeds 5
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, arguments, machine, write_csv
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import settings
from evsim.io.datasets import Dataset, load_dataset
from finished import FinishedRuns, interval

PARAMETERS = ("v_th", "tau_m", "tau_syn", "bias")
VARIANTS: dict[str, tuple[str, ...]] = {"none": (), **{p: (p,) for p in PARAMETERS}, "all": PARAMETERS}
TASKS: dict[str, dict[str, Any]] = {
    "yin-yang": {"train_size": 2000, "hidden": (120,), "epochs": 12},
    "randman": {"data_options": {"samples_per_class": 100}, "hidden": (100,), "epochs": 15, "validation": 150},
}
SIZES = {"yin-yang": "Yin-Yang, 5-120-3", "randman": "randman, 20-100-10"}
RATES = {"yin-yang": (5e-3, 1e-2, 2e-2), "randman": (5e-3, 1e-2, 2e-2)}
NEURON_RATES = (2e-3, 1e-2)
CHOICE = 100
"""Seed of the runs by which step sizes are chosen."""
NAMES = ("task", "trained", "rate", "neuron_rate", "seed")
FIGURES_OF_A_RUN = ("epoch", "validation", "test")


def data_of(task: str) -> Dataset:
    """Samples of a task."""
    given = TASKS[task]
    return load_dataset(task, None, given.get("train_size"), None, **given.get("data_options", {}))


def trained(task: str, data: Dataset, variant: str, rate: float, neuron_rate: float, seed: int) -> tuple[float, ...]:
    """One run: the epoch chosen by validation accuracy, that accuracy, and the test accuracy there, percent."""
    given = {
        **TASKS[task], "trainable": VARIANTS[variant], "rate": rate, "neuron_rate": neuron_rate, "seed": seed,
        "threads": 1,
    }  # fmt: skip
    config = RunConfig(**settings(task, "eventprop", given))
    config = replace(config, duration=data.duration or config.duration)
    model, trainer = build(config, data)
    start(config, model)
    held = None if data.x_validation is None else (data.x_validation, data.y_validation)
    # One sample in the place of the test part, which is looked at once, with the epoch that was chosen.
    one = data.x_test[:1] if isinstance(data.x_test, np.ndarray) else data.x_test.take(np.arange(1))
    for _ in trainer.epochs(data.x_train, data.y_train, one, data.y_test[:1], validation=held):  # type: ignore[arg-type]
        pass
    model.set_parameters(trainer.best_parameters)
    test = trainer.evaluate(data.x_test, data.y_test).accuracy
    return trainer.best_epoch, 100.0 * trainer.best_accuracy, 100.0 * test


class Study:
    """The runs of one task."""

    def __init__(self, task: str, runs: FinishedRuns) -> None:
        self.task, self.runs, self.data = task, runs, data_of(task)

    def run(self, variant: str, rate: float, neuron_rate: float, seed: int) -> dict[str, float]:
        """Figures of a run, by name."""
        names = (self.task, variant, rate, neuron_rate, seed)
        figures = self.runs.of(names, partial(trained, self.task, self.data, variant, rate, neuron_rate, seed))
        return dict(zip(FIGURES_OF_A_RUN, figures))

    def chosen(self) -> dict[str, tuple[float, float]]:
        """Step size of the weights and of the neurons' parameters for each variant, by validation accuracy."""
        none = {rate: self.run("none", rate, 0.0, CHOICE)["validation"] for rate in RATES[self.task]}
        rate = max(none, key=none.__getitem__)
        found = {"none": (rate, 0.0)}
        for variant in VARIANTS:
            if variant != "none":
                tried = {r: self.run(variant, rate, r, CHOICE)["validation"] for r in NEURON_RATES}
                found[variant] = (rate, max(tried, key=tried.__getitem__))
        return found

    def tests(self, seeds: int) -> np.ndarray:
        """Test accuracies, (seeds, variants)."""
        pairs = self.chosen()
        print(self.task, {v: f"{a:g}, {b:g}" for v, (a, b) in pairs.items()}, flush=True)
        rows = [[self.run(v, *pairs[v], s)["test"] for v in VARIANTS] for s in range(1, seeds + 1)]
        return np.array(rows)


def main() -> None:
    """Do what ``--runs`` does not hold yet, then write the results."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/trained_neurons.csv"), help="finished runs are added")
    parser.add_argument("--results", type=Path, default=RESULTS / "trained_neurons.csv")
    parser.add_argument("--at", help="commit to name in the results, if the runs were made with another one")
    args = parser.parse_args()
    print(machine(), flush=True)
    runs, lines = FinishedRuns(args.runs, NAMES, FIGURES_OF_A_RUN), []
    for task in TASKS:
        tests = Study(task, runs).tests(args.seeds)
        lines += [[SIZES[task], s + 1, *(f"{v:.4f}" for v in row)] for s, row in enumerate(tests)]
        for v, values in zip(VARIANTS, tests.T):
            mean, half = interval(values - tests[:, 0])
            print(f"  {v:8} {values.mean():6.2f} +- {values.std(ddof=1):.2f}   over none {mean:+.2f} +- {half:.2f}")
    write_csv(args.results, ("task", "seed", *VARIANTS), lines, args.at)


if __name__ == "__main__":
    main()
