"""What the peers of the training comparison share: workloads, data, the clock and the JSON line; numpy alone is needed.

    yin-yang   5-120-3, batch 150: four values as spikes in 0-30 ms and a bias spike at 0 ms
    mnist      784-350-10, batch 20: pixel p > 1 as a spike at (1 - p / 255) 20 ms; `--hidden 800` for the larger one

Neurons have tau_m 20 ms, tau_s 5 ms, threshold 1, and every peer learns with Adam. The clock covers forward pass, loss,
backward pass and update of a batch; reading and encoding inputs is outside. One batch before is not counted.
`samples_per_second` is that of all measured batches, `best_samples_per_second` that of the fastest. `peak_memory_mb` is
the high-water mark of the process after them. With `--epochs` training goes on over `--train-samples` samples
afterwards, the learning rate x 0.95 an epoch, and `accuracy` is that on the test samples.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import resource
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

SHAPES = {"yin-yang": (5, 120, 3), "mnist": (784, 350, 10)}
BATCHES = {"yin-yang": 150, "mnist": 20}  # samples in one
DURATIONS = {"yin-yang": 60.0, "mnist": 40.0}  # ms
FIRST = {"yin-yang": (1.5, 0.78), "mnist": (0.078, 0.045)}  # mean and sd of the first weights, for 200 and 350 hidden
READOUT = (0.2, 0.37)  # of the weights to a readout of the maximal voltage
TAU_M, TAU_S = 20.0, 5.0  # ms
RATE, DECAY = 5e-3, 0.95


class Peer(Protocol):
    """A simulator with a network and its optimiser."""

    def encode(self, times: np.ndarray, labels: np.ndarray) -> Any:
        """A batch in the peer's own form, from `load`'s."""

    def step(self, batch: Any) -> None:
        """Forward, backward and update."""

    def accuracy(self, batch: Any) -> float: ...

    def decay(self, factor: float) -> None:
        """Multiply the learning rate."""

    def activity(self) -> dict[str, float]:
        """Spikes of a sample in the last step, by layer."""


def idx(folder: Path, name: str, header: int, count: int) -> np.ndarray:
    """The first `count` bytes behind the header of an idx file, packed or not."""
    packed = folder / f"{name}.gz"
    with gzip.open(packed) if packed.exists() else open(folder / name, "rb") as file:
        file.read(header)
        return np.frombuffer(file.read(count), np.uint8)


def load(work: str, folder: Path, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Spike times (n, n_in) in ms, inf where there is none, and labels (n,) of "train" or "test"; n <= count."""
    if work == "yin-yang":
        x = np.load(folder / f"{part}_samples.npy")[:count]
        times = np.hstack([30.0 * x, np.zeros((len(x), 1))])
        return times, np.load(folder / f"{part}_labels.npy")[:count]
    name = "train" if part == "train" else "t10k"
    pixels = idx(folder, f"{name}-images-idx3-ubyte", 16, 784 * count).reshape(-1, 784)
    labels = idx(folder, f"{name}-labels-idx1-ubyte", 8, count).astype(np.int64)
    return np.where(pixels > 1, (1.0 - pixels / 255.0) * 20.0, np.inf), labels


def options(description: str) -> argparse.ArgumentParser:
    """What all these peers take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=list(SHAPES), default="yin-yang")
    parser.add_argument("--data", type=Path, required=True, help="folder of the npy arrays or idx files")
    parser.add_argument("--hidden", type=int, help="default: the workload's")
    parser.add_argument("--batch", type=int, help="samples in a batch; default: the workload's")
    parser.add_argument("--batches", type=int, default=20, help="measured batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=0, help="train on for the accuracy")
    parser.add_argument("--train-samples", type=int, default=5000, help="in an epoch")
    parser.add_argument("--test-samples", type=int, default=1000)
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the defaults of the workload filled in."""
    a = parser.parse_args()
    a.hidden = a.hidden or SHAPES[a.work][1]
    a.batch = a.batch or BATCHES[a.work]
    return a


def grid_arguments(description: str, steps: int) -> argparse.Namespace:
    """The arguments of a peer that has a grid."""
    parser = options(description)
    parser.add_argument("--steps", type=int, default=steps, help="in 60 ms (yin-yang) or 40 ms (mnist)")
    return parse(parser)


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def accuracy_after_training(a: argparse.Namespace, peer: Peer) -> float:
    times, labels = load(a.work, a.data, "train", a.train_samples)
    rng = np.random.default_rng(a.seed)
    for _ in range(a.epochs):
        order = rng.permutation(len(times))
        for first in range(0, len(order) - a.batch + 1, a.batch):
            rows = order[first : first + a.batch]
            peer.step(peer.encode(times[rows], labels[rows]))
        peer.decay(DECAY)
    times, labels = load(a.work, a.data, "test", a.test_samples)
    parts = [slice(k, k + a.batch) for k in range(0, len(times), a.batch)]
    return float(sum(peer.accuracy(peer.encode(times[p], labels[p])) * len(labels[p]) for p in parts) / len(labels))


def report(name: str, a: argparse.Namespace, seconds: Sequence[float], packages: Sequence[str], **more: Any) -> None:
    """The JSON line; `seconds` of each measured batch."""
    result = {
        "simulator": name,
        "work": a.work,
        "network": [SHAPES[a.work][0], a.hidden, SHAPES[a.work][2]],
        "batch": a.batch,
        "batches": len(seconds),
        "threads": a.threads,
        "seed": a.seed,
        "samples_per_second": round(a.batch * len(seconds) / sum(seconds), 2),
        "best_samples_per_second": round(a.batch / min(seconds), 2),
        **more,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
    }
    print(json.dumps(result))


def run(name: str, a: argparse.Namespace, peer: Peer, packages: Sequence[str], **more: Any) -> None:
    """Measure, train on if asked, and print."""
    times, labels = load(a.work, a.data, "train", a.batch * (a.batches + 1))
    seconds = []
    for k in range(a.batches + 1):
        rows = np.arange(k * a.batch, (k + 1) * a.batch) % len(times)
        batch = peer.encode(times[rows], labels[rows])
        begin = time.perf_counter()
        peer.step(batch)
        seconds.append(time.perf_counter() - begin)
    more |= {"peak_memory_mb": round(peak_memory_mb(), 1), **peer.activity()}
    if a.epochs:
        more |= {"epochs": a.epochs, "accuracy": round(accuracy_after_training(a, peer), 4)}
    report(name, a, seconds[1:], packages, **more)
