"""One recurrent network, one task in time, every rule: ST-RSBP, S-TLLR, EventProp and surrogate-gradient BPTT.

Digits row by row: the 8 columns of a scikit-learn digit are 8 inputs, and row k is shown in the k-th 10 ms as 0 to 3
regular spikes per pixel. 8 inputs, 64 recurrent neurons, an integral readout with softmax cross-entropy, the same
initial weights, batches and epochs for every rule. Each rule gets the same small search (step size x strength of the
initial recurrent weights) by validation accuracy with a seed of its own; then N seeds with what it found, the epoch
chosen by validation. Figure: docs/figures/recurrent_rules.png.

A line with "published" is the rule with the options of its publication, the others are evsim's.

python benchmarks/accuracy/recurrent_rules.py --seeds 5 --lines runs.json --csv docs/results/recurrent_rules.csv
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine, write_csv
from drawing import plt, save
from evsim.experiment.published import publication
from evsim.experiment.rules import make_rule
from evsim.io.datasets import load_dataset
from evsim.learning import (
    STLLR,
    STRSBP,
    Adam,
    Dense,
    EventProp,
    Readout,
    Recurrent,
    Sequential,
    Trainer,
    TrainingOptions,
    VoltageCrossEntropy,
)
from evsim.learning.baselines import GridTrainer, SurrogateBPTT
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

ROW, MOST = 10.0, 3


def published(rule: str) -> Any:
    """The rule with the options of its publication."""
    return make_rule(rule, publication(rule).options)


RULES: dict[str, tuple[Any, bool]] = {
    "ST-RSBP, published": (published("st-rsbp"), True),
    "ST-RSBP, regular slopes, solve": (STRSBP(), True),
    "ST-RSBP, regular slopes, 2 hops": (STRSBP(hops=2), True),
    "S-TLLR, published traces": (published("s-tllr"), True),
    "S-TLLR, a_post = 0": (STLLR(a_post=0.0), True),
    "EventProp": (EventProp(min_slope=0.1), True),
    "surrogate BPTT, 1 ms": (SurrogateBPTT(dt=1.0), True),
    "S-TLLR, a_post = 0, no recurrence": (STLLR(a_post=0.0), False),
    "ST-RSBP, regular slopes, no recurrence": (STRSBP(), False),
    "EventProp, no recurrence": (EventProp(min_slope=0.1), False),
}
RATES, STRENGTHS, SEARCH_SEED = (1e-2, 3e-2), (0.1, 0.5), 100


def by_rows(images: np.ndarray) -> SpikeBatch:
    """(n, 64) values in [0, 1] as spikes of 8 inputs over 8 rows."""
    trains = []
    for image in images:
        counts = np.rint(MOST * image.reshape(8, 8)).astype(int)
        rows, columns = np.nonzero(counts)
        times, inputs = [], []
        for row, column in zip(rows, columns):
            k = counts[row, column]
            times += list(ROW * (row + (np.arange(k) + 0.5) / k))
            inputs += [column] * k
        trains.append(SpikeTrains(np.array(times), np.array(inputs, np.int32), 8))
    return SpikeBatch.from_trains(trains)


class Task:
    """The data, read once."""

    def __init__(self, train_size: int, epochs: int) -> None:
        data = load_dataset("digits")
        self.x, self.y = by_rows(data.x_train[:train_size]), data.y_train[:train_size]
        self.x_test, self.y_test = by_rows(data.x_test), data.y_test
        self.epochs = epochs

    def run(self, name: str, rate: float, strength: float, seed: int) -> dict[str, Any]:
        """Train; the course of validation and test accuracy, and seconds of CPU."""
        rule, recurrent = RULES[name]
        neuron = LIF(tau_m=20.0, tau_syn=5.0, t_ref=1.0)
        hidden = Recurrent(8, 64, neuron, recurrent_scale=strength) if recurrent else Dense(8, 64, neuron)
        model = Sequential(hidden, Readout(64, 10, neuron, feature="integral"))
        model.init(seed, scale=[0.8, 0.3], mean=[0.4, 0.0])
        options = TrainingOptions(
            duration=8 * ROW, epochs=self.epochs, batch_size=20, rate=rate, validation=200, seed=seed, threads=1
        )
        kind = GridTrainer if isinstance(rule, SurrogateBPTT) else Trainer
        trainer = kind(model, rule, VoltageCrossEntropy(0.05), Adam(), options)
        began = time.process_time()
        for _ in trainer.epochs(self.x, self.y, self.x_test, self.y_test):
            pass
        history = trainer.history
        return {
            "validation": [row["validation_accuracy"] for row in history],
            "test": [row["test_accuracy"] for row in history],
            "chosen": trainer.best_epoch - 1, "seconds": time.process_time() - began,
        }  # fmt: skip

    def line(self) -> float:
        """Test accuracy of a linear classifier on the spike counts of the 8 inputs, which know no order."""
        model = LogisticRegression(max_iter=2000).fit(self.x.counts(), self.y)
        return float(model.score(self.x_test.counts(), self.y_test))


def main() -> None:
    """Search, train with the seeds, print the table and draw; --lines keeps results between calls."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--train-size", type=int, default=800, help="of which 200 are for validation")
    parser.add_argument("--rules", nargs="*", default=list(RULES))
    parser.add_argument("--lines", type=Path, default=None, help="results are added here, and taken from here if there")
    parser.add_argument("--csv", type=Path, default=None, help="a line a seed, for the page's table")
    parser.add_argument("--figure", type=Path, default=FIGURES / "recurrent_rules.png")
    args = parser.parse_args()
    print(machine())
    task = Task(args.train_size, args.epochs)
    done: dict[str, dict[str, Any]] = {}
    if args.lines is not None and args.lines.exists():
        done = json.loads(args.lines.read_text())

    def result(name: str, rate: float, strength: float, seed: int) -> dict[str, Any]:
        key = f"{name} | {rate} | {strength} | {seed}"
        if key not in done:
            done[key] = task.run(name, rate, strength, seed)
            best = done[key]["validation"][done[key]["chosen"]]
            print(f"{key}: validation {100 * best:.1f} %, {done[key]['seconds']:.0f} s of CPU", flush=True)
            if args.lines is not None:
                args.lines.write_text(json.dumps(done))
        return done[key]

    found: dict[str, list[dict[str, Any]]] = {}
    settings: dict[str, tuple[float, float]] = {}
    for name in args.rules:
        strengths = STRENGTHS if RULES[name][1] else STRENGTHS[:1]
        choices = [(r, s) for r in RATES for s in strengths]
        tried = [result(name, r, s, SEARCH_SEED) for r, s in choices]
        settings[name] = choices[int(np.argmax([max(t["validation"]) for t in tried]))]
    for seed in range(1, args.seeds + 1):
        for name in args.rules:
            found.setdefault(name, []).append(result(name, *settings[name], seed))
    print(f"{'rule':38s} {'rate':>6s} {'strength':>8s}   test accuracy, mean +- sd over {args.seeds} seeds (%)")
    for name, runs in found.items():
        at_chosen = 100 * np.array([r["test"][r["chosen"]] for r in runs])
        rate, strength = settings[name]
        print(f"{name:38s} {rate:6g} {strength:8g}   {at_chosen.mean():5.1f} +- {at_chosen.std(ddof=1):.1f}")
    print(f"linear classifier on the counts of the inputs: {100 * task.line():.1f}")
    draw(found, 100 * task.line(), args.figure)
    if args.csv is not None:
        write_table(found, settings, 100 * task.line(), args.csv)


def write_table(
    found: dict[str, list[dict[str, Any]]], settings: dict[str, tuple[float, float]], line: float, path: Path
) -> None:
    """Columns of the page's table."""
    rows: list[list[Any]] = []
    for name, runs in found.items():
        rate, strength = settings[name]
        shown = f"{rate:g}, {strength:g}" if RULES[name][1] else f"{rate:g}"
        for seed, run in enumerate(runs, 1):
            rows.append([name, shown, seed, f"{100 * run['test'][run['chosen']]:.4f}", run["chosen"] + 1])
    rows.append(["linear classifier on input counts", "", 1, f"{line:.4f}", ""])
    write_csv(path, ["rule", "step, strength found", "seed", "test accuracy (%)", "epoch"], rows)


def draw(found: dict[str, list[dict[str, Any]]], line: float, path: Path) -> None:
    """Left: test accuracy per epoch, mean of the seeds. Right: at the chosen epoch, mean, sd and every seed."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6))
    for k, (name, runs) in enumerate(found.items()):
        course = 100 * np.array([r["test"] for r in runs])
        style = ":" if "no rec" in name else "-"
        left.plot(np.arange(1, course.shape[1] + 1), course.mean(axis=0), style, color=f"C{k}")
        chosen = 100 * np.array([r["test"][r["chosen"]] for r in runs])
        right.errorbar(chosen.mean(), k, xerr=chosen.std(ddof=1), fmt="o", color=f"C{k}", capsize=3)
        right.plot(chosen, np.full(chosen.size, k + 0.22), ".", color=f"C{k}", markersize=4)
    for axes in (left.axhline, right.axvline):
        axes(line, color="0.6", linestyle="--")
    left.set(xlabel="epoch", ylabel="test accuracy (%)")
    right.set(xlabel="test accuracy (%), epoch by validation")
    right.set_yticks(range(len(found)), list(found))
    right.invert_yaxis()
    right.text(line + 0.5, len(found) - 0.55, "linear, counts", color="0.4", fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    main()
