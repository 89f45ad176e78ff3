"""N-MNIST with few recordings: several rules over seeds, linear classifiers beside them, raw or binned times.

python benchmarks/accuracy/nmnist_seeds.py --data-dir DIR --seeds 5          # the rules, at their presets
python benchmarks/accuracy/nmnist_seeds.py --data-dir DIR --seeds 5 --views  # raw and binned times, one rule
python benchmarks/accuracy/nmnist_seeds.py --data-dir DIR --folds            # tested on fifths of the training set
python benchmarks/accuracy/nmnist_seeds.py --data-dir DIR --figure docs/figures/nmnist.png

DIR holds NMNIST/Train and NMNIST/Test. Every finished run is a line of ``--log``, with the class that it gave each test
recording, and is not done again. Accuracy is that of the last epoch; no test recording chooses anything. With
``--folds`` each fifth of the training recordings is tested by a network trained on the other four.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from drawing import plt, save
from evsim.experiment.config import RunConfig, build, start
from evsim.experiment.presets import settings
from evsim.io.datasets import Dataset, load_dataset
from evsim.learning import calibrate

RULES = ("hm2bp", "s-tllr", "eventprop", "ann", "linear")
VIEWS: dict[str, dict[str, Any]] = {
    "raw": {},
    "0.6 ms bins": {"bin": 0.6, "refractory": 0.3},
    "5 ms bins": {"bin": 5.0, "refractory": 2.5},
    "75 ms frames of counts": {"bin": 75.0},
    "75 ms frames of ones": {"bin": 75.0, "refractory": 37.5},
}
FOLDS = 5


def parts(data: Dataset, fold: int | None) -> Dataset:
    """The data themselves, or with a fifth of the training recordings in the place of the test recordings."""
    if fold is None:
        return data
    order = np.random.default_rng(0).permutation(len(data.y_train))
    held, rest = np.sort(order[fold::FOLDS]), np.sort(np.delete(order, np.s_[fold::FOLDS]))
    x: Any = data.x_train
    y = data.y_train
    return replace(data, x_train=x.take(rest), y_train=y[rest], x_test=x.take(held), y_test=y[held])


def trained(data: Dataset, rule: str, seed: int, threads: int, epochs: int | None) -> dict[str, Any]:
    """Train at the preset; what came out."""
    given: dict[str, Any] = {"seed": seed, "threads": threads, "validation": 0}
    if epochs is not None:
        given["epochs"] = epochs
    if rule == "s-tllr":  # OTTT's case, as the table has it
        given["rule_options"] = {"a_post": 0.0}
    config = RunConfig(**settings("nmnist", rule, given))
    config = replace(config, duration=data.duration or config.duration, grid=data.grid)
    model, trainer = build(config, data)
    if start(config, model):
        calibrate(model, data.x_train, config, [config.hidden_count] * len(config.hidden) + [config.output_count])
    began = time.perf_counter()
    for row in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        print(f"    epoch {row['epoch']}: training {row['train_accuracy']:.3f}", end="\r", flush=True)
    guesses: list[int] = []
    for a in range(0, len(data.y_test), 100):
        inputs = trainer.inputs(data.x_test, np.arange(a, min(a + 100, len(data.y_test))), -2)
        guesses += trainer.loss.predict(trainer.model.forward(inputs, config.duration, threads)[-1]).tolist()
    return {
        "guesses": guesses, "train_accuracy": row["train_accuracy"], "seconds": time.perf_counter() - began,
        "epochs": config.epochs, "hidden_spikes": row["spikes"] / len(data.y_train),
    }  # fmt: skip


def classified(data: Dataset, log: bool) -> dict[str, Any]:
    """Logistic regression on event counts, its strength chosen by five-fold cross-validation on the training part."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    x, x_test = (np.asarray(b.counts(), np.float64) for b in (data.x_train, data.x_test))  # type: ignore[union-attr]
    function = FunctionTransformer(np.log1p if log else None)
    model = make_pipeline(function, LogisticRegressionCV(Cs=np.logspace(-4, 0, 5), cv=5, max_iter=300, random_state=0))
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, data.y_train)
    return {
        "guesses": model.predict(x_test).tolist(), "train_accuracy": model.score(x, data.y_train),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip


def jobs(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What is to be run, each by its names in the log."""
    if args.views:
        return [
            {"model": args.views, "view": view, "seed": s, "fold": None}
            for s in range(1, args.seeds + 1) for view in VIEWS
        ]  # fmt: skip
    turns = [(s, None) for s in range(1, args.seeds + 1)] if not args.folds else [(1, f) for f in range(FOLDS)]
    found = [{"model": r, "view": "raw", "seed": s, "fold": f} for s, f in turns for r in args.rules]
    fixed = turns if args.folds else turns[:1]
    return found + [
        {"model": m, "view": "raw", "seed": s, "fold": f} for s, f in fixed for m in ("counts", "log counts")
    ]


def accuracies(rows: list[dict[str, Any]]) -> np.ndarray:
    """Of each run, %."""
    return np.array([100.0 * np.mean(np.equal(r["guesses"], r["labels"])) for r in rows])


def table(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float, int, float]]:
    """Print mean and sd over runs, and the error that so few test recordings leave; the same numbers by name."""
    print(f"{'':40} runs  mean     sd   binomial  training     s")
    out = {}
    for key in dict.fromkeys((r["model"], r["view"], r["fold"] is not None) for r in rows):
        mine = [r for r in rows if (r["model"], r["view"], r["fold"] is not None) == key]
        a = accuracies(mine)
        folds = key[2]
        # Folds test other recordings each; seeds test the same ones again.
        n = sum(len(r["labels"]) for r in mine) if folds else len(mine[0]["labels"])
        share = a.mean() / 100.0
        error = 100.0 * np.sqrt(share * (1.0 - share) / n)
        sd = a.std(ddof=1) if len(a) > 1 else 0.0
        name = key[0] + ("" if key[1] == "raw" else f", {key[1]}") + (", fifths" if folds else "")
        out[name] = (float(a.mean()), float(sd), len(a), float(error))
        train = 100.0 * np.mean([r["train_accuracy"] for r in mine])
        seconds = np.mean([r["seconds"] for r in mine])
        print(f"{name:40} {len(a):4d} {a.mean():6.2f} {sd:6.2f} {error:9.2f} {train:9.1f} {seconds:5.0f}")
    return out


def figure(results: dict[str, tuple[float, float, int, float]], path: Path) -> None:
    """Points with the sd over runs (thick) and one binomial standard error (thin)."""
    names = list(results)
    fig, ax = plt.subplots(figsize=(7.0, 0.6 + 0.3 * len(names)), constrained_layout=True)
    for k, name in enumerate(names):
        mean, sd, _, error = results[name]
        colour = "0.45" if name.split(",")[0] in ("counts", "log counts", "linear", "ann") else "C0"
        ax.errorbar(mean, k, xerr=error, fmt="none", ecolor="0.75", elinewidth=1.0, capsize=3)
        ax.errorbar(mean, k, xerr=sd, fmt="o", color=colour, elinewidth=3.0)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("test accuracy (%): mean, sd over runs (thick), binomial standard error (thin)")
    ax.grid(axis="x", alpha=0.3)
    save(fig, path, dpi=110)


def main() -> None:
    """Do what is not in the log yet, then print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rules", nargs="*", default=list(RULES))
    parser.add_argument("--views", nargs="?", const="hm2bp", help="compare raw and binned times with this rule")
    parser.add_argument("--folds", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("runs/nmnist.jsonl"))
    parser.add_argument("--figure", type=Path, help="draw what the log holds; nothing is run")
    args = parser.parse_args()
    print(machine())
    args.log.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in args.log.read_text().splitlines()] if args.log.exists() else []
    if args.figure is not None:
        figure(table(rows), args.figure)
        return
    done = [{k: r[k] for k in ("model", "view", "seed", "fold")} for r in rows]
    loaded: dict[str, Dataset] = {}
    for job in jobs(args):
        if job in done:
            continue
        if job["view"] not in loaded:
            loaded[job["view"]] = load_dataset("nmnist", args.data_dir, **VIEWS[job["view"]])
        data = parts(loaded[job["view"]], job["fold"])
        if job["model"] in ("counts", "log counts"):
            result = classified(data, job["model"] == "log counts")
        else:
            result = trained(data, job["model"], job["seed"], args.threads, args.epochs)
        row = {**job, **result, "labels": data.y_test.tolist()}
        rows.append(row)
        print(job, f"{accuracies([row])[0]:.2f} %", flush=True)
        with args.log.open("a") as log:
            log.write(json.dumps(row) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
