"""Peak memory and time of one gradient against the duration of a sample, rule by rule (docs/s_tllr.md).

One sample of 50 inputs at 20 Hz, a network 50-100-10, durations from 50 ms on. Streams get input by windows;
the others need the recorded spikes. Memory is what Python and numpy hold at most (tracemalloc), without weights, code
and what a kernel allocates for itself; time is CPU time of forward and backward, the lowest of three.

python benchmarks/memory_and_time.py
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from evsim import LIF, SpikeBatch, SpikeTrains
from evsim.cli_bench import machine
from evsim.learning import (
    STLLR,
    TSSLBP,
    Dense,
    EventProp,
    RateBased,
    Readout,
    Sequential,
    StreamingSTLLR,
    VoltageCrossEntropy,
    ottt,
)
from evsim.learning.baselines import GridModel, SurrogateBPTT
from evsim.learning.protocols import Rule, backward
from evsim.neurons import neuron_arrays

N_IN, N_HIDDEN, N_OUT, RATE, WINDOW = 50, 100, 10, 0.02, 10.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
LOSS = VoltageCrossEntropy(0.01)
LABEL = np.array([3])


def network() -> Sequential:
    """The network, the same for every rule."""
    model = Sequential(Dense(N_IN, N_HIDDEN, NEURON), Readout(N_HIDDEN, N_OUT, NEURON, feature="integral"))
    model.init(1, scale=[0.3, 0.3], mean=[0.3, 0.1])
    return model


def window(k: int) -> SpikeTrains:
    """Input from k to k + 1 windows."""
    rng = np.random.default_rng([7, k])
    n = round(N_IN * RATE * WINDOW)
    return SpikeTrains(WINDOW * (k + rng.uniform(0.0, 1.0, n)), rng.integers(0, N_IN, n), N_IN)


def whole(duration: float) -> SpikeBatch:
    """All of the input."""
    parts = [window(k) for k in range(round(duration / WINDOW))]
    times, neurons = (np.concatenate([getattr(p, name) for p in parts]) for name in ("times", "neurons"))
    return SpikeBatch.from_trains([SpikeTrains(times, neurons, N_IN)])


def streamed(rule: STLLR) -> Callable[[float], None]:
    """A gradient window by window."""
    model = network()

    def gradient(duration: float) -> None:
        stream = StreamingSTLLR(model, rule, duration)
        for k in range(round(duration / WINDOW)):
            stream.advance(window(k), WINDOW * (k + 1))
        stream.finish(LOSS, int(LABEL[0]))

    return gradient


def recorded(rule: Rule) -> Callable[[float], None]:
    """A gradient from the recorded spikes of the whole sample."""
    model = network()

    def gradient(duration: float) -> None:
        spikes = model.forward(whole(duration), duration)
        _, signal = LOSS(spikes[-1], LABEL)
        backward(model, rule, spikes, signal, duration)

    return gradient


def on_a_grid(dt: float) -> Callable[[float], None]:
    """Surrogate BPTT."""
    model = GridModel(network(), SurrogateBPTT(dt=dt))

    def gradient(duration: float) -> None:
        model.gradients(LOSS, whole(duration), LABEL, duration)

    return gradient


RULES: dict[str, Callable[[float], None]] = {
    "S-TLLR, stream": streamed(STLLR(a_post=-1.0)),
    "OTTT, stream": streamed(ottt()),
    "S-TLLR, recorded": recorded(STLLR(a_post=-1.0)),
    "EventProp": recorded(EventProp()),
    "rate-based": recorded(RateBased()),
    "TSSL-BP": recorded(TSSLBP()),
    "surrogate BPTT, 1 ms": on_a_grid(1.0),
}


def peak(gradient: Callable[[float], None], duration: float) -> float:
    """kB."""
    tracemalloc.start()
    gradient(duration)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1000.0


def seconds(gradient: Callable[[float], None], duration: float) -> float:
    """CPU time."""
    found = []
    for _ in range(3):
        began = time.process_time()
        gradient(duration)
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    """Print both tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--durations", type=float, nargs="+", default=[50, 100, 200, 400, 800, 1600])
    parser.add_argument("--figure", type=Path, default=Path("docs/memory_and_time.png"))
    args = parser.parse_args()
    print(machine(), flush=True)
    # CPython keeps up to 2000 freed tuples of each size: let it take them before we look.
    for _ in range(3000):
        neuron_arrays(NEURON, N_HIDDEN)
    fig, axes = plt.subplots(1, 2, figsize=(9.0, 3.0), layout="constrained")
    print("durations (ms):", ", ".join(f"{d:.0f}" for d in args.durations))
    for name, gradient in RULES.items():
        gradient(args.durations[0])
        memory = [peak(gradient, d) for d in args.durations]
        cpu = [1000.0 * seconds(gradient, d) for d in args.durations]
        shown = ", ".join(f"{m:.0f}" for m in memory), ", ".join(f"{c:.2f}" for c in cpu)
        print(f"{name}: kB {shown[0]}; ms {shown[1]}", flush=True)
        axes[0].loglog(args.durations, memory, "o-", ms=3, label=name)
        axes[1].loglog(args.durations, cpu, "o-", ms=3, label=name)
    axes[0].set_ylabel("peak memory (kB)")
    axes[1].set_ylabel("CPU time of a gradient (ms)")
    for ax in axes:
        ax.set_xlabel("duration of the sample (ms)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    fig.savefig(args.figure, dpi=110)


if __name__ == "__main__":
    main()
