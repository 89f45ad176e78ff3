"""Peak memory and time of one gradient against the duration of a sample, rule by rule (docs/rules/s_tllr.md).

One sample of 50 inputs at 20 Hz, a network 50-100-10. Streams get input by windows; the others need the recorded
spikes. Memory is resident memory, so that what a kernel allocates for itself counts as well: the kernels of a rule are
loaded with a sample of 20 ms; then each duration has a process of its own, forked from there, which gives freed memory
back to the system; the figure is by how much its gradient raises its peak, the mean of several. Linux with glibc. Time
is CPU time of forward and backward, the lowest of three.

python benchmarks/speed/memory_and_time.py
python benchmarks/speed/memory_and_time.py --no-times --csv docs/results/memory.csv  # on a machine with other work
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine, write_csv
from drawing import plt, save
from evsim import LIF, SpikeBatch, SpikeTrains
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
GIVE_BACK = (-1, 0), (-8, 1)
"""Of glibc's mallopt: freed memory goes back at once, and all threads share one pool."""
NO_HUGE_PAGES = 41
"""Of Linux' prctl. With pages of 2 MB every touch of a heap with holes counts as 2 MB."""


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
    """kB by which a gradient raises the peak of this process. What a fork leaves to be mapped again does not count."""
    gradient(LOADING)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset_peak_memory()
    before = psutil.Process().memory_info().rss / 1000.0
    gradient(duration)
    return max(peak_memory_mb() * 2**20 / 1000.0 - before, 0.0)


def memory(gradient: Callable[[float], None], duration: float) -> list[float]:
    """kB, in several processes."""
    context = multiprocessing.get_context("fork")  # the kernels are loaded
    found: Any = context.SimpleQueue()
    for _ in range(REPEATS):
        gradient(LOADING)
        child = context.Process(target=lambda: found.put(raised(gradient, duration)))
        child.start()
        child.join()
    return [found.get() for _ in range(REPEATS)]


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
    parser = arguments(__doc__)
    parser.add_argument("--durations", type=float, nargs="+", default=[100.0, 400.0, 1600.0, 6400.0, 25600.0])
    parser.add_argument("--rules", nargs="*", default=list(RULES))
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--csv", type=Path, default=None, help="memory in kB, a line a rule and run")
    parser.add_argument("--figure", type=Path, default=FIGURES / "memory_and_time.png")
    args = parser.parse_args()
    print(machine(), flush=True)
    for parameter, value in GIVE_BACK:
        ctypes.CDLL(None).mallopt(parameter, value)
    ctypes.CDLL(None).prctl(NO_HUGE_PAGES, 1, 0, 0, 0)
    lines: list[list[str]] = []
    panels = 1 if args.no_times else 2
    fig, axes = plt.subplots(1, panels, figsize=(3.0 + 3.0 * panels, 3.0), layout="constrained", squeeze=False)
    print("durations (ms):", ", ".join(f"{d:.0f}" for d in args.durations))
    for name in args.rules:
        found = [memory(RULES[name], d) for d in args.durations]
        lines += [[name, str(run), *(f"{kb:.0f}" for kb in several)] for run, several in enumerate(zip(*found), 1)]
        middle = [statistics.fmean(several) for several in found]
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
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    save(fig, args.figure, dpi=110)
    if args.csv is not None:
        write_csv(args.csv, ["rule", "run", *(f"{d:g} ms" for d in args.durations)], lines)


if __name__ == "__main__":
    main()
