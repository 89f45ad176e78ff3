"""Convolutions beside a dense layer in one run: ns per synaptic event forward, and ms of their gradients.

15C5 - sum pool - 40C5 on MNIST digits, weights U(-0.4, 0.6) and U(-0.45, 0.55), and a Dense layer 784-800 on the same
input, all calibrated to the same count of spikes. Two codes: Poisson, 400 ms, tau 64 / 8, 3.1 spikes a neuron; latency,
a spike of each bright pixel within 20 ms of 40, tau 20 / 5, one spike a neuron. "Quiet" is a threshold that is not
reached. CPU time of one thread, the least of several rounds, layers in turn.

EVSIM_DATA=... python benchmarks/speed/convolution.py
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, arguments, write_csv
from evsim import LIF
from evsim.io.datasets import load_dataset
from evsim.learning import HM2BP, Conv2d, Dense, EventProp, Sequential, SumPool2d, TrainingOptions, calibrate
from evsim.learning.training.encoders import Latency, Poisson

COLUMNS = (
    "code", "layer", "synaptic events", "spikes", "forward, ms", "ns per event", "quiet, ns per event", "EventProp, ms",
    "weights alone, ms", "HM2-BP, ms",
)  # fmt: skip


def events_of(layer: Any, inputs: Any) -> float:
    """Pairs of an input spike and a neuron that gets it, a sample."""
    if isinstance(layer, Dense):
        return inputs.times.size / len(inputs) * layer.n_out
    seen = Conv2d(layer.in_shape, 1, layer.kernel, layer.neuron, stride=layer.stride, padding=layer.padding)
    seen.weight = np.ones(seen.weight.shape)
    by_input = (seen.unrolled().weight != 0).sum(axis=1)
    return float(by_input[inputs.neurons].sum()) * layer.c_out / len(inputs)


def cpu_ms(work: dict[str, Callable[[], Any]], samples: int, rounds: int) -> dict[str, float]:
    """CPU milliseconds a sample of each, the least of some rounds, in turn."""
    best = dict.fromkeys(work, np.inf)
    for _ in range(rounds):
        for name, do in work.items():
            began = time.thread_time()
            do()
            best[name] = min(best[name], 1e3 * (time.thread_time() - began) / samples)
    return best


def measure(code: str, images: np.ndarray, rounds: int) -> list[list[str]]:
    """Lines of one code."""
    poisson = code == "poisson"
    neuron = LIF(tau_m=64.0, tau_syn=8.0, t_ref=2.0) if poisson else LIF(tau_m=20.0, tau_syn=5.0)
    t_stop, count = (400.0, 3.1) if poisson else (40.0, 1.0)
    encoder = Poisson(1000.0 / 5.5) if poisson else Latency((0.0, 20.0))
    options = TrainingOptions(duration=t_stop, encoder=encoder)
    conv1, conv2 = Conv2d((1, 28, 28), 15, 5, neuron), Conv2d((15, 12, 12), 40, 5, neuron)
    model, dense = Sequential(conv1, SumPool2d((15, 24, 24), 2), conv2), Sequential(Dense(784, 800, neuron))
    model.init(seed=1, scale=[0.5, 1.0, 0.5], mean=None)
    for layer, shift in ((conv1, 0.1), (conv2, 0.05)):
        layer.weight = layer.weight + shift
    dense.init(seed=2, scale=0.5)
    dense.layers[0].weight = dense.layers[0].weight + 0.1
    calibrate(model, images, options, [count, 1.0, count], samples=5)
    calibrate(dense, images, options, [count], samples=5)
    inputs = encode_all(options, images)
    spikes = model.forward(inputs, t_stop)
    layers = {"conv1": (conv1, spikes[0]), "conv2": (conv2, spikes[2]), "dense": (dense.layers[0], inputs)}
    work: dict[str, Callable[[], Any]] = {}
    for name, (layer, given) in layers.items():
        out = layer.forward(given, t_stop)
        quiet = type(layer)(layer.in_shape, layer.c_out, layer.kernel, layer.neuron.with_(v_th=1e6)) if isinstance(
            layer, Conv2d) else Dense(layer.n_in, layer.n_out, layer.neuron.with_(v_th=1e6))  # fmt: skip
        quiet.weight = layer.weight
        times, counts = np.ones(out.times.size), np.ones((len(out), layer.n_out))
        work |= {
            f"{name} forward": lambda layer=layer, given=given: layer.forward(given, t_stop),
            f"{name} quiet": lambda quiet=quiet, given=given: quiet.forward(given, t_stop),
            f"{name} eventprop": lambda layer=layer, given=given, out=out, times=times: EventProp().backward(
                layer, given, out, times, t_stop),
            f"{name} weights": lambda layer=layer, given=given, out=out, times=times: EventProp().backward(
                layer, given, out, times, t_stop, wants_signal=False),
            f"{name} hm2bp": lambda layer=layer, given=given, out=out, counts=counts: HM2BP().backward(
                layer, given, out, counts, t_stop),
        }  # fmt: skip
    best = cpu_ms(work, len(images), rounds)
    lines = []
    for name, (layer, given) in layers.items():
        events = events_of(layer, given)
        ms = [best[f"{name} {what}"] for what in ("forward", "quiet", "eventprop", "weights", "hm2bp")]
        lines.append([
            code, name, f"{events:.3g}", f"{layer.forward(given, t_stop).times.size / len(images):.0f}", f"{ms[0]:.2f}",
            f"{1e6 * ms[0] / events:.2f}", f"{1e6 * ms[1] / events:.2f}", *(f"{x:.2f}" for x in ms[2:]),
        ])  # fmt: skip
        print(*lines[-1], flush=True)
    return lines


def encode_all(options: TrainingOptions, images: np.ndarray) -> Any:
    """The images as the layers get them."""
    return options.encode(images, np.arange(len(images)), 1)


def main() -> None:
    """Measure both codes and write the table."""
    parser = arguments(__doc__)
    parser.add_argument("--digits", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "convolution_speed.csv")
    args = parser.parse_args()
    images = load_dataset("mnist", os.environ["EVSIM_DATA"]).x_test[: args.digits]
    lines = [line for code in ("poisson", "latency") for line in measure(code, images, args.rounds)]
    write_csv(args.out, COLUMNS, lines)


if __name__ == "__main__":
    main()
