"""S-TLLR with and without its non-causal term, same secondary activation, paired seeds (docs/rules/s_tllr.md).

Two tasks: digits (rate code, feed-forward) and a small randman (spike times, recurrent). For each secondary activation,
test accuracy with a_post = -1, 0, +1, and the difference to a_post = 0 seed by seed, with its 95 % interval (Student).

python benchmarks/questions/causal_or_not.py --seeds 5 --psi S2 S3 --lines causal.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import settings
from evsim.io.datasets import load_dataset

_RANDMAN = {
    "loss": "integral-voltage", "loss_options": {"scale": 0.05}, "tau_m": 20.0, "tau_syn": 5.0, "t_ref": 0.0,
    "hidden": (60,), "recurrent_scale": 0.5, "weight_mean": (1.0, 0.0), "weight_scale": (2.0, 0.3), "batch_size": 20,
    "rate": 1e-2, "epochs": 6, "duration": 100.0, "validation": 0,
    "data_options": {"samples_per_class": 100},
}  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {"digits": {"epochs": 5, "validation": 0}, "randman": _RANDMAN}
SIGNS = (-1.0, 0.0, 1.0)


def accuracy(task: str, psi: str, a_post: float, seed: int) -> float:
    """Test accuracy after the last epoch, percent."""
    given = {**TASKS[task], "rule_options": {"psi": psi, "a_post": a_post}, "seed": seed, "threads": 1}
    config = RunConfig(**settings(task, "s-tllr", given))
    data = load_dataset(config.dataset, None, None, None, **config.data_options)
    model, trainer = build(config, data)
    start(config, model)
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        pass
    return 100.0 * float(trainer.history[-1]["test_accuracy"])


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Mean, and half of the 95 % interval of the mean."""
    n = differences.size
    return float(differences.mean()), float(student.ppf(0.975, n - 1) * differences.std(ddof=1) / np.sqrt(n))


def report(found: dict[tuple[str, str, float], list[float]], figure: Path) -> None:
    """The table, and paired differences as a figure."""
    groups = sorted({key[:2] for key in found})
    print("task, psi: accuracy (%) for a_post = -1, 0, +1; paired differences to 0 with 95 % interval")
    fig, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    for k, group in enumerate(groups):
        rows = {sign: np.array(found[(*group, sign)]) for sign in SIGNS}
        shown = ", ".join(f"{r.mean():.2f} +- {r.std(ddof=1):.2f}" for r in rows.values())
        texts = []
        for sign, colour, side in ((-1.0, "tab:blue", -0.12), (1.0, "tab:orange", 0.12)):
            mean, half = interval(rows[sign] - rows[0.0])
            texts.append(f"{mean:+.2f} +- {half:.2f}")
            label = f"a_post = {sign:+.0f}" if k == 0 else None
            axes.errorbar(k + side, mean, half, fmt="o", color=colour, label=label)
            axes.plot(np.full(len(rows[sign]), k + side), rows[sign] - rows[0.0], ".", color=colour, alpha=0.3)
        print(f"{group[0]}, {group[1]}: {shown}; {', '.join(texts)}")
    axes.axhline(0.0, color="black", lw=0.6)
    axes.set_xticks(range(len(groups)), [f"{task}\n{psi}" for task, psi in groups])
    axes.set_ylabel("difference to a_post = 0\n(points of accuracy)")
    axes.legend()
    save(fig, figure, dpi=110)


def main() -> None:
    """Run what ``--lines`` does not hold yet; print the table and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--psi", nargs="+", default=["S2", "S3"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--lines", type=Path, default=Path("causal.jsonl"), help="runs are added here")
    parser.add_argument("--figure", type=Path, default=FIGURES / "s_tllr_causal.png")
    args = parser.parse_args()
    print(machine(), flush=True)
    lines = args.lines.read_text().splitlines() if args.lines.exists() else []
    done = {tuple(row[:4]): row[4] for row in map(json.loads, lines)}
    found: dict[tuple[str, str, float], list[float]] = {}
    for psi in args.psi:
        for task in args.tasks:
            for seed in range(1, args.seeds + 1):
                for a_post in SIGNS:
                    key = (task, psi, a_post, seed)
                    if key not in done:
                        done[key] = accuracy(*key)
                        with args.lines.open("a") as file:
                            file.write(json.dumps([*key, done[key]]) + "\n")
                    found.setdefault(key[:3], []).append(done[key])
    report(found, args.figure)


if __name__ == "__main__":
    main()
