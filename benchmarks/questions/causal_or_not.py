"""S-TLLR with and without its non-causal term, paired seeds (docs/rules/s_tllr.md).

Four tasks: digits (rate code), randman and temporal XOR (spike times), and a part of N-MNIST (recorded events; with
``--data-dir`` only). For the loss of the whole sample and for one at every moment, and for each of the four surrogate
derivatives, test accuracy after the last epoch with a_post = -1, 0, +1; from the same start, with the same samples in
the same order, so that differences are taken seed by seed. All other settings are the same for all, and not tuned.

Every finished run is a line of ``--runs`` and is not done again; ``--results`` and ``--figure`` are made of the runs
that there are for all of a task's rows.

python benchmarks/questions/causal_or_not.py --seeds 10 --data-dir DIR
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, RESULTS, arguments, machine, write_csv
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import settings
from evsim.io.datasets import Dataset, load_dataset
from finished import FinishedRuns, interval

_SPIKES = {"tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0, "batch_size": 10, "weight_mean": (1.0, 0.0)}
TASKS: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (50,), "epochs": 4},
    "randman": {
        **_SPIKES, "hidden": (40,), "weight_scale": (2.0, 0.3), "rate": 2e-2, "epochs": 8,
        "data_options": {"classes": 5, "duration": 50.0, "samples_per_class": 200},
    },
    "temporal-xor": {
        **_SPIKES, "hidden": (30,), "weight_scale": (1.5, 0.5), "rate": 5e-2, "epochs": 16, "since": 30.0,
        "data_options": {"samples_per_case": 200},
    },
    "nmnist": {
        "hidden": (40,), "epochs": 4, "rate": 1e-2, "weight_scale": (0.05, 0.2), "shift": 0.0, "turn": 0.0, "zoom": 0.0,
        "dropout": 0.0,
    },
}  # fmt: skip
TRAIN_SIZES = {"digits": 480, "randman": 240, "temporal-xor": 192, "nmnist": 200}
TESTED = 300  # recordings of N-MNIST
NAMES = {
    "digits": "digits, 64-50-10", "randman": "randman, 20-40-5", "temporal-xor": "temporal XOR, 9-30-2",
    "nmnist": "N-MNIST, 2312-40-10",
}  # fmt: skip
SCALES = {"digits": 0.05, "randman": 0.05, "temporal-xor": 0.05, "nmnist": 0.06}
"""Of the loss; ten times as much at every moment, since the integral over a tenth of the sample is a tenth."""
LOSSES = {"at the end": "integral-voltage", "at every moment": "momentary-integral"}
PSI = ("S1", "S2", "S3", "S4")
SIGNS = (-1.0, 0.0, 1.0)
FEWER = 3
"""Seeds of N-MNIST."""
Key = tuple[str, str, str, int, float]
"""Task, loss, surrogate derivative, seed, a_post."""


def data_of(task: str, data_dir: str | None) -> Dataset:
    """Samples of a task. Of N-MNIST the training recordings that follow those trained on are the test part."""
    n = TRAIN_SIZES[task]
    if task != "nmnist":
        return load_dataset(task, None, n, None, **TASKS[task].get("data_options", {}))
    data = load_dataset(task, data_dir, n + TESTED, 10)
    x: Any = data.x_train
    first, rest = np.arange(n), np.arange(n, n + TESTED)
    return replace(data, x_train=x.take(first), y_train=data.y_train[:n], x_test=x.take(rest), y_test=data.y_train[n:])


def accuracy(key: Key, data: Dataset) -> tuple[float]:
    """Test accuracy after the last epoch, percent."""
    task, loss, psi, seed, a_post = key
    at_end = LOSSES[loss] == "integral-voltage"
    given = {
        **TASKS[task], "rule_options": {"psi": psi, "a_post": a_post}, "seed": seed, "threads": 1, "validation": 0,
        "loss": LOSSES[loss], "loss_options": {"scale": SCALES[task] * (1.0 if at_end else 10.0)},
    }  # fmt: skip
    if at_end:
        given.pop("since", None)
    config = RunConfig(**settings(task, "s-tllr", given))
    config = replace(config, duration=data.duration or config.duration, grid=data.grid)
    model, trainer = build(config, data)
    start(config, model)
    # One sample in the place of the test part, which is looked at once, after the last epoch.
    x: Any = data.x_test
    one = x[:1] if isinstance(x, np.ndarray) else x.take(np.arange(1))
    for _ in trainer.epochs(data.x_train, data.y_train, one, data.y_test[:1]):
        pass
    return (100.0 * trainer.evaluate(x, data.y_test).accuracy,)


Found = dict[tuple[str, str, str], np.ndarray]


def complete(runs: FinishedRuns) -> Found:
    """Accuracies, (seeds, signs), by task, loss and surrogate derivative: of seeds that all rows of the task have."""
    found: Found = {}
    for task in TASKS:
        own = {key[1:]: figures[0] for key, figures in runs.rows.items() if key[0] == task}
        rows = [
            [[own.get(runs.key((*names, seed, sign)), np.nan) for sign in SIGNS] for names in product(LOSSES, PSI)]
            for seed in sorted({int(key[2]) for key in own})
        ]
        values = np.array([row for row in rows if np.isfinite(row).all()])
        if len(values) > 1:
            found |= {(task, *names): values[:, k] for k, names in enumerate(product(LOSSES, PSI))}
    return found


def report(found: Found, path: Path) -> None:
    """The table's numbers, and the paired differences as a figure: a panel for each task."""
    tasks = list(dict.fromkeys(key[0] for key in found))
    fig, axes = plt.subplots(1, len(tasks), figsize=(2.9 * len(tasks) + 0.4, 3.6), layout="constrained", squeeze=False)
    for ax, task in zip(axes[0], tasks):
        for k, (loss, psi) in enumerate(product(LOSSES, PSI)):
            values = found[task, loss, psi]
            texts = [f"{v.mean():6.2f} +- {v.std(ddof=1):5.2f}" for v in values.T]
            for column, colour, side in ((0, "tab:blue", -0.16), (2, "tab:orange", 0.16)):
                mean, half = interval(values[:, column] - values[:, 1])
                texts.append(f"{mean:+6.2f} +- {half:5.2f}")
                label = f"a_post = {SIGNS[column]:+.0f}" if k == 0 else None
                y = k + 0.6 * (k >= len(PSI)) + side
                ax.errorbar(mean, y, xerr=half, fmt="o", ms=4, color=colour, label=label)
            print(f"{task:13} {loss:16} {psi} {len(values)} seeds:", ", ".join(texts))
        ax.axvline(0.0, color="black", lw=0.6)
        ax.set_ylim(2 * len(PSI) + 0.1, -0.6)
        ax.set_yticks([])
        ax.set_title(f"{NAMES[task]}\n{len(values)} seeds", fontsize=9)
        ax.set_xlabel("points of accuracy")
    places = [k + 0.6 * (k >= len(PSI)) for k in range(2 * len(PSI))]
    ends = {"at the end": "end", "at every moment": "moments"}
    axes[0, 0].set_yticks(places, [f"{psi}, {ends[loss]}" for loss, psi in product(LOSSES, PSI)])
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
    fig.suptitle("Test accuracy minus that with a_post = 0, seed by seed: mean and 95 % interval", fontsize=10)
    save(fig, path, dpi=110)


def main() -> None:
    """Run what ``--runs`` does not hold yet; write the results, print them and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--data-dir", help="folder with NMNIST/Train and NMNIST/Test; without it N-MNIST is left out")
    parser.add_argument("--runs", type=Path, default=Path("runs/causal_or_not.csv"), help="finished runs are added")
    parser.add_argument("--results", type=Path, default=RESULTS / "s_tllr_causal.csv")
    parser.add_argument("--figure", type=Path, default=FIGURES / "s_tllr_causal.png")
    parser.add_argument("--at", help="commit to name in the results, if the runs were made with another one")
    args = parser.parse_args()
    print(machine(), flush=True)
    runs = FinishedRuns(args.runs, ("task", "loss", "psi", "seed", "a_post"), ("accuracy",))
    data: dict[str, Dataset] = {}
    tasks = [task for task in args.tasks if task != "nmnist" or args.data_dir is not None]
    for seed in range(1, args.seeds + 1):
        for task, loss, psi, a_post in product(tasks, LOSSES, PSI, SIGNS):
            if task == "nmnist" and seed > FEWER:
                continue
            if task not in data:
                data[task] = data_of(task, args.data_dir)
            key = (task, loss, psi, seed, a_post)
            runs.of(key, partial(accuracy, key, data[task]))
    found = complete(runs)
    lines = [
        [NAMES[task], loss, psi, s + 1, *(f"{v:.4f}" for v in row)]
        for (task, loss, psi), values in found.items() for s, row in enumerate(values)
    ]  # fmt: skip
    write_csv(args.results, ("task", "loss", "psi", "seed", "-1", "0", "+1"), lines, args.at)
    report(found, args.figure)


if __name__ == "__main__":
    main()
