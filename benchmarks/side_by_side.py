"""evsim beside snnTorch (grid of 400 steps) on 784-800-10, in turn, in one run.

python benchmarks/side_by_side.py --peer-python PYTHON_THAT_HAS_SNNTORCH

Both see inputs of about 7,450 spikes a sample over 400 ms, batch 20. The peer runs in its own interpreter
(snntorch_forward.py); the two take turns, so that a slow spell of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from evsim.cli_bench import bench_network, machine

HERE = Path(__file__).resolve().parent


def peer(python: str, threads: int, extra: list[str]) -> dict[str, float]:
    """One run of the peer's script; its last line is JSON."""
    command = [python, str(HERE / "snntorch_forward.py"), "--threads", str(threads), *extra]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return result


def main() -> None:
    """Alternate the two and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-args", nargs="*", default=[])
    args = parser.parse_args()
    print(machine())
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(bench_network(1, args.threads))
        theirs.append(peer(args.peer_python, args.threads, args.peer_args))
        print("evsim", ours[-1])
        print("snnTorch", theirs[-1])
    for key in ("forward_samples_per_second", "training_samples_per_second"):
        a, b = (float(np.median([r[key] for r in rows])) for rows in (ours, theirs))
        print(f"{key}: evsim {a:.0f}, snnTorch {b:.1f}, ratio {a / b:.1f}")


if __name__ == "__main__":
    main()
