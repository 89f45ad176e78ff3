"""evsim beside snnTorch (grid of 400 steps) on 784-800-10, in turn, in one run.

python benchmarks/peers/side_by_side.py --peer-python PYTHON_THAT_HAS_SNNTORCH

Both see inputs of about 7,450 spikes a sample over 400 ms, batch 20. evsim's figures include drawing the
Poisson spikes, the peer's do not; of the peer's two ways to form the input products the faster one counts.
The peer runs in its own interpreter (snntorch_forward.py); the two take turns, so that a slow spell of the
machine hits both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments, machine
from evsim.experiment.bench import bench_network

HERE = Path(__file__).resolve().parent


def peer(python: str, threads: int, extra: list[str]) -> dict[str, dict[str, float]]:
    """One run of the peer's script; its last line is JSON."""
    command = [python, str(HERE / "snntorch_forward.py"), "--threads", str(threads), *extra]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, dict[str, float]] = json.loads(out.strip().splitlines()[-1])
    return result


def main() -> None:
    """Alternate the two and print medians and the ratio."""
    parser = arguments(__doc__)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(machine())
    ours: list[dict[str, float]] = []
    theirs: dict[str, list[dict[str, dict[str, float]]]] = {"step": [], "once": []}
    for _ in range(args.rounds):
        ours.append(bench_network(1, args.threads))
        print("evsim", ours[-1], flush=True)
        for products, runs in theirs.items():
            runs.append(peer(args.peer_python, args.threads, ["--products", products]))
            print("snnTorch", runs[-1], flush=True)
    for work, key in (("forward", "forward_samples_per_second"), ("train", "training_samples_per_second")):
        best = max((r[work]["best_samples_per_second"], p) for p, runs in theirs.items() for r in runs)
        mine = [r[key] for r in ours]
        print(
            f"{work}: evsim {min(mine):.0f} ... {max(mine):.0f} samples/s, snnTorch at best {best[0]:.1f} "
            f"(products: {best[1]}), ratio {float(np.median(mine)) / best[0]:.1f}"
        )


if __name__ == "__main__":
    main()
