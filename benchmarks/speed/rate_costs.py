"""What rate-based backpropagation costs, by duration and by number of spikes, forward and backward apart.

1. operations and stored numbers of a sample, from the counters of a run
2. CPU time of a sample. By duration: the same spikes within the first 50 ms, then silence. By spikes: 100 ms, more and
   more input spikes through weights that shrink in turn.
Network 64-100-100-10, an integral readout, batches of 8; best of repeats, ratios are what counts. Figure:
docs/figures/rate_costs.png.

python benchmarks/speed/rate_costs.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FIGURES, arguments, machine
from drawing import plt, save
from evsim.learning import Adam, Dense, EventProp, RateBased, Readout, Sequential, TrainingOptions, VoltageCrossEntropy
from evsim.learning.baselines.grid import GridTrainer, SurrogateBPTT
from evsim.learning.protocols import backward
from evsim.neurons.lif import LIF
from evsim.spikes import SpikeBatch, SpikeTrains

SIZES = (64, 100, 100, 10)
SAMPLES = 8
DURATIONS = (50.0, 100.0, 200.0, 400.0, 800.0)
SPIKES = (125, 250, 500, 1000, 2000)
RULES: dict[str, Any] = {
    "surrogate": RateBased(),
    "surrogate, K = 10": RateBased(windows=10),
    "interval": RateBased(estimator="interval"),
    "diffusion": RateBased(estimator="diffusion"),
    "EventProp": EventProp(),
}


def case(duration: float, within: float, n_spikes: int, strength: float) -> tuple[Sequential, SpikeBatch]:
    """A network and a batch of n_spikes input spikes each, all before ``within`` ms."""
    rng = np.random.default_rng(0)
    neuron = LIF(tau_m=20.0, tau_syn=5.0)
    *hidden, last = [(a, b) for a, b in pairwise(SIZES)]
    model = Sequential(*(Dense(a, b, neuron) for a, b in hidden), Readout(*last, neuron, feature="integral"))
    model.init(1, scale=[0.4 * strength, 0.3, 0.2], mean=[0.15 * strength, 0.04, 0.0])
    trains = [
        SpikeTrains(rng.uniform(0.0, within, n_spikes), rng.integers(0, SIZES[0], n_spikes), SIZES[0])
        for _ in range(SAMPLES)
    ]
    return model, SpikeBatch.from_trains(trains)


def best(work: Callable[[], Any], repeats: int = 5) -> float:
    """Least CPU time of a sample, ms."""
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1e3 * min(times) / SAMPLES


def measure(model: Sequential, inputs: SpikeBatch, duration: float) -> dict[str, float]:
    """CPU times (ms a sample) and counts of one case."""
    spikes = model.forward(inputs, duration)
    loss = VoltageCrossEntropy(4.0 / duration)
    labels = np.arange(SAMPLES) % SIZES[-1]
    _, signal = loss(spikes[-1], labels)
    out = {f"spikes {k}": s.times.size / SAMPLES for k, s in enumerate(spikes[:-1])}
    out["forward"] = best(lambda: model.forward(inputs, duration))
    for name, rule in RULES.items():
        out[name] = best(lambda rule=rule: backward(model, rule, spikes, signal, duration))  # type: ignore[misc]
        if isinstance(rule, RateBased):
            slopes = [
                best(lambda rule=rule, k=k: rule.rates(model.layers[k], spikes[k], spikes[k + 1], duration))  # type: ignore[misc]
                for k in range(len(model.layers) - 1)
            ]
            out[f"{name}: slopes"] = sum(slopes)
    options = TrainingOptions(duration=duration, batch_size=SAMPLES)
    grid = GridTrainer(model, SurrogateBPTT(), loss, Adam(), options)
    out["surrogate BPTT, forward + backward"] = best(lambda: grid.gradients(inputs, labels), 3)
    return out


def table(rows: dict[Any, dict[str, float]], label: str) -> None:
    """All figures of all cases, a column each."""
    print(f"\n{label:38s}" + "".join(f"{key:10g}" for key in rows))
    for name in next(iter(rows.values())):
        print(f"{name:38s}" + "".join(f"{row[name]:10.3f}" for row in rows.values()))


def counters(rows: dict[float, dict[str, float]], dt: float = 1.0) -> None:
    """Operations and stored floats of a sample; dt : ms, of the grid."""
    pairs = sum(a * b for a, b in pairwise(SIZES))
    hidden = sum(SIZES[1:-1])
    print(f"\n{'operations of a sample, thousands':38s}" + "".join(f"{d:10g}" for d in rows))
    events = [sum(r[f"spikes {k}"] * SIZES[k + 1] for k in range(len(SIZES) - 1)) for r in rows.values()]
    stored = [sum(r[f"spikes {k}"] for k in range(len(SIZES) - 1)) for r in rows.values()]
    lines = {
        "forward, events (spike x target)": events,
        "forward, grid: T/dt sum N N": [d / dt * pairs for d in rows],
        "backward, rate-based: 2 sum N N": [2 * pairs for _ in rows],
        "backward, EventProp: 2 x events": [2 * e for e in events],
        "backward, BPTT: 2 T/dt sum N N": [2 * d / dt * pairs for d in rows],
        "online rules (OTTT): T/dt x 2 sum N N": [2 * d / dt * pairs for d in rows],
        "stored, rate-based: n and J": [2 * hidden for _ in rows],
        "stored, recorded spikes": [3 * s for s in stored],
        "stored, BPTT: 3 T/dt sum N": [3 * d / dt * hidden for d in rows],
    }
    for name, values in lines.items():
        print(f"{name:38s}" + "".join(f"{1e-3 * v:10.2f}" for v in values))


def main() -> None:
    """Print the tables and draw the figure."""
    parser = arguments(__doc__)
    parser.add_argument("--figure", type=Path, default=FIGURES / "rate_costs.png")
    args = parser.parse_args()
    print(machine())
    by_duration = {d: measure(*case(d, 50.0, 250, 1.0), d) for d in DURATIONS}
    table(by_duration, "ms of CPU a sample; duration (ms)")
    counters(by_duration)
    by_spikes = {n: measure(*case(100.0, 100.0, n, 250 / n), 100.0) for n in SPIKES}
    table(by_spikes, "ms of CPU a sample; input spikes")
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.5), sharey=True)
    for ax, rows, label in (
        (axes[0], by_duration, "duration (ms), the same spikes"),
        (axes[1], by_spikes, "input spikes a sample, 100 ms"),
    ):
        x = list(rows)
        ax.plot(x, [r["forward"] for r in rows.values()], "k--", label="forward, events")
        for k, name in enumerate(RULES):
            ax.plot(x, [r[name] for r in rows.values()], marker="o", ms=3, color=f"C{k}", label=f"backward, {name}")
        sweep = [r["surrogate"] - r["surrogate: slopes"] for r in rows.values()]
        ax.plot(x, sweep, ":", color="C0", label="backward, sweep through rates alone")
        grid = [r["surrogate BPTT, forward + backward"] for r in rows.values()]
        ax.plot(x, grid, marker="s", ms=3, color="0.5", label="surrogate BPTT, both (dt 1 ms)")
        ax.set(xscale="log", yscale="log", xlabel=label)
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.minorticks_off()
    axes[0].set_ylabel("CPU time of a sample (ms)")
    axes[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, args.figure)


if __name__ == "__main__":
    main()
