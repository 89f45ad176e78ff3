"""Accuracy of rate-based backpropagation against its number of windows K, on a task that is all in the order of spikes.

Temporal XOR: two cues, each of one of two populations, the same counts in every class. K = 1 is the published rule.
EventProp (the true gradient) and the surrogate-gradient baseline on a grid beside it.
Figure: docs/figures/rate_windows.png.

python benchmarks/questions/windows_of_rates.py --seeds 5
python benchmarks/questions/windows_of_rates.py --dataset randman --seeds 3 --figure randman.png
"""

from __future__ import annotations

import json
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

WINDOWS = (1, 2, 5, 10, 20, 50)


def accuracy(dataset: str, rule: str, options: dict[str, Any], seed: int, epochs: int | None) -> tuple[float, float]:
    """Test accuracy of the epoch best in training, and seconds of CPU time."""
    given = preset(dataset, "eventprop") | {"rule": rule, "rule_options": options, "seed": seed, "threads": 1}
    config = RunConfig(**given if epochs is None else given | {"epochs": epochs})
    data = load_dataset(config.dataset, None, None, None)
    if data.duration:
        config = RunConfig(**{**given, "duration": data.duration, **({} if epochs is None else {"epochs": epochs})})
    model, trainer = build(config, data)
    start(config, model)
    began = time.process_time()
    for _ in trainer.epochs(data.x_train, data.y_train, data.x_test, data.y_test):
        pass
    return trainer.history[trainer.best_epoch - 1]["test_accuracy"], time.process_time() - began


def main() -> None:
    """Train, print a table and draw the figure; --lines reads rows that an earlier call printed."""
    parser = arguments(__doc__)
    parser.add_argument("--dataset", default="temporal-xor")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--lines", type=Path, default=None, help="rows are added here, and taken from here if there")
    parser.add_argument("--figure", type=Path, default=FIGURES / "rate_windows.png")
    args = parser.parse_args()
    print(machine())
    runs: list[tuple[str, str, dict[str, Any]]] = [(f"K = {k}", "rate-based", {"windows": k}) for k in WINDOWS]
    runs += [("EventProp", "eventprop", {}), ("surrogate BPTT", "surrogate-bptt", {})]
    done: dict[str, list[float]] = {}
    if args.lines is not None and args.lines.exists():
        done = json.loads(args.lines.read_text())
    for seed in range(1, args.seeds + 1):
        for name, rule, options in runs:
            if len(done.setdefault(name, [])) >= seed:
                continue
            value, seconds = accuracy(args.dataset, rule, options, seed, args.epochs)
            done[name].append(100.0 * value)
            print(f"seed {seed}  {name:15s} {100 * value:6.2f} %  {seconds:6.1f} s of CPU", flush=True)
            if args.lines is not None:
                args.lines.write_text(json.dumps(done))
    print(f"{'':15s}   mean     sd   (%, {args.seeds} seeds, {args.dataset})")
    for name, values in done.items():
        print(f"{name:15s} {np.mean(values):6.2f} {np.std(values, ddof=1):6.2f}")
    draw(done, args.dataset, args.figure)


def draw(done: dict[str, list[float]], dataset: str, path: Path) -> None:
    """Accuracy against K with the standard deviation over seeds; the references as bands."""
    figure, axes = plt.subplots(figsize=(5.2, 3.4), dpi=110)
    means = [np.mean(done[f"K = {k}"]) for k in WINDOWS]
    spread = [np.std(done[f"K = {k}"], ddof=1) for k in WINDOWS]
    axes.errorbar(WINDOWS, means, spread, marker="o", color="C0", capsize=3, label="rate-based, K windows")
    for name, colour in (("EventProp", "C1"), ("surrogate BPTT", "C2")):
        values = done[name]
        axes.axhline(np.mean(values), color=colour, label=name)
        axes.axhspan(
            np.mean(values) - np.std(values, ddof=1), np.mean(values) + np.std(values, ddof=1), color=colour, alpha=0.2
        )
    axes.set(xscale="log", xlabel="windows K", ylabel="test accuracy (%)", title=dataset)
    axes.set_xticks(WINDOWS, [str(k) for k in WINDOWS])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    save(figure, path)


if __name__ == "__main__":
    main()
