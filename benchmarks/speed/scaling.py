"""How the cost of a recurrent network grows: synaptic events/s and memory for 1,000 to 100,000 neurons of the same
indegree (400 excitatory, 100 inhibitory inputs, Poisson drive), for 1 thread and more.

    python benchmarks/speed/scaling.py [--threads 2] [--out FILE.json]

Every size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import arguments
from evsim import LIF, FixedIndegree, Network, Simulation
from evsim.memory import peak_memory_mb

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
WARMUP, T_STOP = 20.0, 200.0
WEIGHT = 0.25  # mV, delta synapses


def network(n: int) -> Network:
    """Brunel's network with n neurons, 500 inputs each."""
    net = Network()
    neuron = LIF(tau_m=20.0, tau_syn=None, v_th=20.0, t_ref=2.0)
    net.add_population("exc", size=n * 4 // 5, neuron=neuron)
    net.add_population("inh", size=n // 5, neuron=neuron)
    for target in ("exc", "inh"):
        net.connect("exc", target, weight=WEIGHT, delay=1.5, rule=FixedIndegree(min(400, n * 4 // 5)))
        net.connect("inh", target, weight=-5.0 * WEIGHT, delay=1.5, rule=FixedIndegree(min(100, n // 5)))
        net.add_poisson(target, rate=8_000.0, weight=WEIGHT)
    return net


def measure(n: int, threads: int) -> dict[str, float]:
    """One size: seconds, events, bytes."""
    Simulation(network(100), driver="window", threads=threads).advance(5.0)
    begin = time.perf_counter()
    simulation = Simulation(network(n), seed=1, threads=threads, driver="window")
    built = time.perf_counter() - begin
    simulation.advance(WARMUP)
    begin = time.perf_counter()
    rec = simulation.advance(T_STOP)
    seconds = time.perf_counter() - begin
    spikes = len(rec["exc"]) + len(rec["inh"])
    return {
        "neurons": n,
        "threads": threads,
        "synapses": simulation.engine.n_synapses,
        "bytes_per_synapse": simulation.engine.synapse_bytes / simulation.engine.n_synapses,
        "build_seconds": built,
        "seconds": seconds,
        "synaptic_events": rec.synaptic_events,
        "rate_hz": spikes / n / T_STOP * 1000.0,
        "peak_memory_mb": peak_memory_mb(),
    }


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        print(json.dumps(measure(options.size, options.threads)))
        return
    from rich.console import Console
    from rich.table import Table

    from evsim.experiment.bench import machine

    table = Table("neurons", "threads", "M synapses", "M events/s", "ns x thread", "Hz", "build s", "B/syn", "MB")
    rows = []
    for n in SIZES:
        for threads in sorted({1, options.threads}):
            command = [sys.executable, __file__, "--size", str(n), "--threads", str(threads)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            row = json.loads(result.stdout.splitlines()[-1])
            rows.append(row)
            per_second = row["synaptic_events"] / row["seconds"]
            table.add_row(
                f"{n:,}", str(threads), f"{row['synapses'] / 1e6:.1f}", f"{per_second / 1e6:.0f}",
                f"{threads / per_second * 1e9:.2f}", f"{row['rate_hz']:.1f}", f"{row['build_seconds']:.2f}",
                f"{row['bytes_per_synapse']:.2f}", f"{row['peak_memory_mb']:.0f}",
            )  # fmt: skip
    console = Console()
    about = machine()
    console.print(", ".join(f"{k} {v}" for k, v in about.items()))
    console.print(table)
    if options.out:
        options.out.write_text(json.dumps({"machine": about, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
