"""Test accuracy of ``evsim demo`` over seeds: mean and standard deviation of the last epoch.

python benchmarks/accuracy/digits_seeds.py --seeds 5
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from evsim.cli.train import train_run
from evsim.experiment.config import RunConfig
from evsim.experiment.presets import preset


def main() -> None:
    """Train with seeds 1 ... N and print a line for each, then the mean and sd."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(machine())
    accuracies = []
    for seed in range(1, args.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            train_run(
                RunConfig(**{**preset("digits"), "seed": seed, "threads": args.threads}), Path(folder), False
            )
            accuracies.append(json.loads((Path(folder) / "summary.json").read_text())["test_accuracy"])
    percent = 100.0 * np.array(accuracies)
    print("seeds 1 ...", args.seeds, "test accuracy (%):", np.round(percent, 2).tolist())
    print(f"mean {percent.mean():.2f} +- {percent.std(ddof=1):.2f} % (sd over {args.seeds} seeds)")


if __name__ == "__main__":
    main()
