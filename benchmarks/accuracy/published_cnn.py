"""The convolutional network that the authors of HM2-BP published, simulated in exact time: accuracy and spikes.

Its weights (15C5-P2-40C5-P2-300-10, 99.49 % of the 10,000 MNIST test digits on a grid of 1 ms; public repository
jinyyy666/mm-bp-snn, Result/checkPoint_cnn_best.txt) as EVSIM_DATA/hm2bp-published/cnn_best_weights.txt.gz. Nothing is
trained. Poisson input in continuous time, pixel/(5.5 x 255) spikes per ms; tau_m 64, tau_syn 8, t_ref 2, delay 1 ms;
thresholds of the program divided by tau_m/tau_syn = 8.

python benchmarks/accuracy/published_cnn.py --digits 1000 10000
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, arguments, write_csv
from evsim import LIF, encode
from evsim.io.datasets import load_dataset
from evsim.learning import Conv2d, Dense, Sequential, SpikingPool2d

NAMES = ("conv1", "pool1", "conv2", "pool2", "hidden", "output")
COLUMNS = (
    "duration, ms", "digits", "correct", "accuracy, %", "input", *NAMES, *(f"{name}, CPU ms" for name in NAMES),
    "CPU ms a digit",
)  # fmt: skip
PART = 50
"""Digits simulated at once."""


def published_network(data: Path, delay: float = 1.0) -> Sequential:
    """The network with its weights, from a folder of data."""
    with gzip.open(data / "hm2bp-published" / "cnn_best_weights.txt.gz", "rt") as file:
        numbers = iter(np.array(file.read().split(), dtype=np.float64))

    def take(*shape: int) -> np.ndarray:
        return np.fromiter(numbers, np.float64, int(np.prod(shape))).reshape(shape)

    def neuron(threshold: float) -> LIF:
        return LIF(tau_m=64.0, tau_syn=8.0, v_th=threshold / 8.0, t_ref=2.0)

    model = Sequential(
        Conv2d((1, 28, 28), 15, 5, neuron(5.0), delay=delay),
        SpikingPool2d((15, 24, 24), 2, neuron(2.0), delay=delay),
        Conv2d((15, 12, 12), 40, 5, neuron(12.0), delay=delay),
        SpikingPool2d((40, 8, 8), 2, neuron(4.0), delay=delay),
        Dense(640, 300, neuron(10.0), delay=delay),
        Dense(300, 10, neuron(10.0), delay=delay, lateral_inhibition=1.0, lateral_delay=max(delay, 1.0)),
    )
    for k in (0, 2):
        kernel, _, c_in, c_out = model.layers[k].weight.shape
        model.layers[k].weight = take(c_out, c_in, kernel, kernel).transpose(2, 3, 1, 0)
        take(c_out)  # biases, all of them 0
    model.layers[4].weight = take(300, 640).T
    take(300)
    model.layers[5].weight = take(10, 300).T
    return model


def published_input(images: np.ndarray, keys: np.ndarray, duration: float) -> object:
    """Poisson trains of images in [0, 1], by their numbers in the data set."""
    return encode.poisson(images * (1000.0 / 5.5), duration, seed=1, keys=keys)


def main() -> None:
    """Simulate the first digits of the test set and write a line of figures."""
    parser = arguments(__doc__)
    parser.add_argument("--digits", type=int, nargs="+", default=[1000], help="a line for the first so many, each")
    parser.add_argument("--duration", type=float, default=400.0, help="ms")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "published_cnn.csv")
    args = parser.parse_args()
    data = Path(os.environ["EVSIM_DATA"])
    model, mnist = published_network(data), load_dataset("mnist", data)
    correct, spikes, cpu = 0, np.zeros(1 + len(NAMES)), np.zeros(len(NAMES))
    borders = sorted({*range(0, max(args.digits), PART), *args.digits})
    lines = []
    for first, n in pairwise(borders):
        keys = np.arange(first, n)
        batch = published_input(mnist.x_test[keys], keys, args.duration)
        spikes[0] += batch.times.size
        for k, layer in enumerate(model.layers):
            began = time.process_time()
            batch = layer.forward(batch, args.duration, args.threads)
            cpu[k] += time.process_time() - began
            spikes[k + 1] += batch.times.size
        correct += int(np.sum(batch.counts().argmax(axis=1) == mnist.y_test[keys]))
        print(f"{correct} of {n}, {1e3 * cpu.sum() / n:.1f} ms of CPU a digit", flush=True)
        if n in args.digits:
            lines.append([
                f"{args.duration:g}", n, correct, f"{100.0 * correct / n:.2f}", *(f"{s / n:.1f}" for s in spikes),
                *(f"{1e3 * c / n:.2f}" for c in cpu), f"{1e3 * cpu.sum() / n:.1f}",
            ])  # fmt: skip
            write_csv(args.out, COLUMNS, lines)


if __name__ == "__main__":
    main()
