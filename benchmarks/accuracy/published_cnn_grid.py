"""The published convolutional network on a time grid, by its authors' order of operations, at several steps.

Beside `published_cnn.py`, which has it in exact time. In every step, as in the program of HM2-BP: potentials and
synaptic states decay by the factors 1 - h/tau_m and 1 - h/tau_s, synaptic states take what was emitted 1 ms before,
potentials take synaptic state times h/tau_s, neurons within 2 ms of a spike are held at 0, and those above their
threshold spike and are reset. Input is a Bernoulli number in each step and pixel. At a step of 1 ms that is the
published scheme; smaller steps of the same scheme lead to continuous time.

python benchmarks/accuracy/published_cnn_grid.py --steps 1 0.5 --digits 1000
"""

from __future__ import annotations

import os
import sys
from collections import deque
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from published_cnn import NAMES, published_network

from common import RESULTS, arguments, write_csv
from evsim.io.datasets import load_dataset

TAU_M, TAU_S, T_REF, DELAY, DURATION = 64.0, 8.0, 2.0, 1.0, 400.0
COLUMNS = ("step_ms", "digits", "correct", "accuracy", "input_spikes", *(f"{name}_spikes" for name in NAMES))
PART = 100
"""Digits simulated at once."""


def windows(maps: np.ndarray, k: int) -> np.ndarray:
    """Patches of (n, c, h, w) maps: (n, h - k + 1, w - k + 1, k, k, c)."""
    return np.lib.stride_tricks.sliding_window_view(maps, (k, k), axis=(2, 3)).transpose(0, 2, 3, 4, 5, 1)


def convolved(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(n, c, h, w) maps by a kernel [dy, dx, from, to]."""
    k, _, _, c_out = kernel.shape
    patches = windows(maps, k)
    out = patches.reshape(-1, k * k * maps.shape[1]) @ kernel.reshape(-1, c_out)
    return out.reshape(*patches.shape[:3], c_out).transpose(0, 3, 1, 2)


def pooled(maps: np.ndarray) -> np.ndarray:
    """Sums over windows of 2 x 2."""
    n, c, h, w = maps.shape
    return maps.reshape(n, c, h // 2, 2, w // 2, 2).sum(axis=(3, 5))


class Population:
    """Neurons on the grid. threshold : as in the program, tau_m/tau_s times that of evsim"""

    def __init__(self, shape: tuple[int, ...], threshold: float, h: float) -> None:
        self.v, self.p, self.held = (np.zeros(shape, np.float32) for _ in range(3))
        self.threshold, self.h, self.count = threshold, h, 0.0

    def step(self, arriving: np.ndarray) -> np.ndarray:
        """The neurons that spike in this step, 0 or 1."""
        h = self.h
        self.v -= self.v * np.float32(h / TAU_M)
        self.p -= self.p * np.float32(h / TAU_S)
        self.p += arriving
        self.v += self.p * np.float32(h / TAU_S)
        held = self.held > 0.5
        self.v[held] = 0.0
        self.held[held] -= 1.0
        spikes = self.v > self.threshold - 1e-6
        self.v[spikes] = 0.0
        self.held[spikes] = round(T_REF / h)
        self.count += float(spikes.sum())
        return spikes.astype(np.float32)


def counts(images: np.ndarray, h: float, rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """Output counts of some images, (n, 10), and the spikes of the input and every layer."""
    n, steps, late = len(images), round(DURATION / h), round(DELAY / h)
    layers = published_network(Path(os.environ["EVSIM_DATA"])).layers
    conv1, conv2, hidden, output = (layers[k].weight.astype(np.float32) for k in (0, 2, 4, 5))
    shapes = [(n, 15, 24, 24), (n, 15, 12, 12), (n, 40, 8, 8), (n, 40, 4, 4), (n, 300), (n, 10)]
    populations = [Population(s, nu, h) for s, nu in zip(shapes, (5.0, 2.0, 12.0, 4.0, 10.0, 10.0))]
    share = (images.reshape(n, 1, 28, 28) / 5.5 * h).astype(np.float32)
    emitted = [deque([np.zeros(s, np.float32)] * late) for s in [(n, 1, 28, 28), *shapes]]
    lateral = np.eye(10, dtype=np.float32) - 1.0
    total, given = np.zeros((n, 10)), 0.0
    for _ in range(steps):
        now = [queue.popleft() for queue in emitted]
        arriving = [
            convolved(now[0], conv1), pooled(now[1]), convolved(now[2], conv2), pooled(now[3]),
            now[4].reshape(n, -1) @ hidden, now[5] @ output + now[6] @ lateral,
        ]  # fmt: skip
        drawn = (rng.random(share.shape, np.float32) < share).astype(np.float32)
        given += float(drawn.sum())
        spikes = [drawn, *(population.step(x) for population, x in zip(populations, arriving))]
        for queue, some in zip(emitted, spikes):
            queue.append(some)
        total += spikes[-1]
    return total, [given, *(population.count for population in populations)]


def main() -> None:
    """A line for each step."""
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=float, nargs="+", default=[1.0, 0.5, 0.1], help="ms")
    parser.add_argument("--digits", type=int, default=1000, help="the first so many of the test set")
    parser.add_argument("--out", type=Path, default=RESULTS / "published_cnn_grid.csv")
    args = parser.parse_args()
    mnist = load_dataset("mnist", os.environ["EVSIM_DATA"])
    lines = []
    for h in args.steps:
        correct, spikes = 0, np.zeros(1 + len(NAMES))
        for first in range(0, args.digits, PART):
            some = slice(first, min(first + PART, args.digits))
            out, of_layers = counts(mnist.x_test[some], h, np.random.default_rng([1, first]))
            correct += int(np.sum(out.argmax(axis=1) == mnist.y_test[some]))
            spikes += of_layers
            print(h, some.stop, correct, flush=True)
        accuracy = f"{100.0 * correct / args.digits:.2f}"
        lines.append([f"{h:g}", args.digits, correct, accuracy, *(f"{s / args.digits:.1f}" for s in spikes)])
        write_csv(args.out, COLUMNS, lines)


if __name__ == "__main__":
    main()
