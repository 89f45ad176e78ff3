"""Peak memory and time of one gradient against the duration of a sample, rule by rule (docs/s_tllr.md).

One sample of 50 inputs at 20 Hz, a network 50-100-10. Streams get input by windows; the others need the recorded
spikes. Memory is resident memory, so that what a kernel allocates for itself counts as well: each rule and duration has
a process of its own, which loads the kernels with a sample of 20 ms and gives freed memory back to the system; the
figure is by how much the next gradient raises the peak, the median of several. Linux with glibc. Time is CPU time of
forward and backward, the lowest of three.

python benchmarks/memory_and_time.py
python benchmarks/memory_and_time.py --no-times --csv docs/results/memory.csv      # on a machine with other work
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import psutil
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
from evsim.memory import peak_memory_mb, reset_peak_memory

N_IN, N_HIDDEN, N_OUT, RATE, WINDOW = 50, 100, 10, 0.02, 10.0
NEURON = LIF(tau_m=20.0, tau_syn=5.0)
LOSS = VoltageCrossEntropy(0.01)
LABEL = np.array([3])
LOADING, REPEATS = 20.0, 3


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


def raised(gradient: Callable[[float], None], duration: float) -> float:
    """kB by which a gradient raises the peak of this process, which is to do nothing else."""
    gradient(LOADING)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset_peak_memory()
    before = psutil.Process().memory_info().rss / 1000.0
    gradient(duration)
    return max(peak_memory_mb() * 2**20 / 1000.0 - before, 0.0)


def memory(name: str, duration: float) -> list[float]:
    """kB, of several processes. glibc gives freed memory back at once there, and has one pool for all threads."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", name, "--durations", str(duration)]
    found = []
    for _ in range(REPEATS):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(float(done.stdout.split()[-1]))
    return found


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
    parser.add_argument("--durations", type=float, nargs="+", default=[100, 400, 1600, 6400, 25600])
    parser.add_argument("--rules", nargs="*", default=list(RULES))
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--csv", type=Path, default=None, help="memory, a line a rule, duration and process")
    parser.add_argument("--figure", type=Path, default=Path("docs/memory_and_time.png"))
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(raised(RULES[args.child], args.durations[0]))
        return
    print(machine(), flush=True)
    lines: list[list[str]] = []
    panels = 1 if args.no_times else 2
    fig, axes = plt.subplots(1, panels, figsize=(3.0 + 3.0 * panels, 3.0), layout="constrained", squeeze=False)
    print("durations (ms):", ", ".join(f"{d:.0f}" for d in args.durations))
    for name in args.rules:
        RULES[name](LOADING)
        found = [memory(name, d) for d in args.durations]
        lines += [[name, f"{d:g}", f"{kb:.0f}"] for d, several in zip(args.durations, found) for kb in several]
        middle = [statistics.median(several) for several in found]
        shown = f"{name}: kB " + ", ".join(f"{m:.0f} ({min(k):.0f} to {max(k):.0f})" for m, k in zip(middle, found))
        axes[0, 0].loglog(args.durations, middle, "o-", ms=3, label=name)
        if not args.no_times:
            cpu = [1000.0 * seconds(RULES[name], d) for d in args.durations]
            shown += "; ms " + ", ".join(f"{c:.2f}" for c in cpu)
            axes[0, 1].loglog(args.durations, cpu, "o-", ms=3, label=name)
            axes[0, 1].set_ylabel("CPU time of a gradient (ms)")
        print(shown, flush=True)
    axes[0, 0].set_ylabel("peak memory (kB)")
    for ax in axes[0]:
        ax.set_xlabel("duration of the sample (ms)")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    fig.savefig(args.figure, dpi=110)
    if args.csv is not None:
        with args.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["rule", "duration (ms)", "memory (kB)"], *lines])


if __name__ == "__main__":
    main()
