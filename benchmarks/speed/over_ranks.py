"""What ranks cost: messages, bytes and time of an exchange, memory of each rank, and 2 ranks beside 2 threads.

Brunel's network on 1, 2 and 4 ranks of one thread, with its delay of 1.5 ms and with 0.1 ms: windows, messages and
bytes that a rank sends, microseconds of an exchange, and of a window in all. The time of an exchange holds the wait for
the slowest rank: the fastest of ``--repeats`` runs is shown. Beside it the same exchange of empty windows: what MPI and
Python take by themselves, from which a projection to more ranks is made: a latency for each doubling of the ranks, and
the time to copy their slots. On a machine of two cores four ranks take turns; their figures are printed, and say
little. Then Brunel's network on 2 ranks of 1 thread beside 1 rank of 2 threads, in turns. Last, the memory of each rank
of two fifths of the microcircuit: its synapses, and the peak while it is built, above what Python and the kernels take.

    python benchmarks/speed/over_ranks.py --scale 1
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, arguments, machine, write_csv
from evsim._kernels.window.arrays import WindowSpikes
from evsim.engine.simulation import Simulation
from evsim.engine.window.exchange import SLOT, Exchange
from evsim.memory import peak_memory_mb
from evsim.networks.literature import brunel, preset
from launched import on_ranks

DELAYS = (1.5, 0.1)
RANKS = (1, 2, 4)
COLUMNS = (
    "delay_ms", "ranks", "threads", "windows", "messages_a_window", "bytes_a_window", "exchange_us",
    "empty_exchange_us", "window_us", "seconds", "synapse_mb", "largest_synapse_mb", "peak_mb",
)  # fmt: skip
_EMPTY = 2000


def worker(delay: float, scale: float, t_stop: float, threads: int, over_mpi: bool) -> None:
    """On a rank: simulate once to load kernels, then measured."""
    from evsim.ranks.given import ranks_of
    from evsim.ranks.mpi import world

    comm = world() if over_mpi else ranks_of(None)
    Simulation(brunel(delay=delay, scale=0.02), driver="window", threads=threads, comm=comm).advance(3.0)
    simulation = Simulation(brunel(delay=delay, scale=scale), seed=1, driver="window", threads=threads, comm=comm)
    simulation.advance(20.0)
    engine: Any = simulation.engine
    exchange = engine.exchange
    before = (exchange.windows, exchange.messages, exchange.bytes, exchange.seconds) if exchange else (0, 0, 0, 0.0)
    comm.objects(None)
    began = time.perf_counter()
    simulation.advance(t_stop)
    seconds = time.perf_counter() - began
    after = (exchange.windows, exchange.messages, exchange.bytes, exchange.seconds) if exchange else (0, 0, 0, 0.0)
    windows, messages, sent, waited = (b - a for a, b in zip(before, after))
    held = comm.objects((engine.synapse_bytes / 1e6, peak_memory_mb()))
    windows = windows or round(t_stop / engine.pause)
    row = {
        "delay_ms": delay, "ranks": comm.size, "threads": threads, "windows": windows,
        "messages_a_window": messages / windows, "bytes_a_window": sent / windows,
        "exchange_us": 1e6 * waited / windows, "empty_exchange_us": _empty_exchange(comm) if exchange else 0.0,
        "window_us": 1e6 * seconds / windows, "seconds": seconds,
        "synapse_mb": sum(mb for mb, _ in held), "largest_synapse_mb": max(mb for mb, _ in held),
        "peak_mb": max(mb for _, mb in held),
    }  # fmt: skip
    if comm.rank == 0:
        print(json.dumps(row))


def memory_worker(over_mpi: bool) -> None:
    """On a rank: build the microcircuit, and print what all ranks hold and took."""
    from evsim.ranks.given import ranks_of
    from evsim.ranks.mpi import world

    comm = world() if over_mpi else ranks_of(None)
    Simulation(preset("microcircuit", 0.01, 1), driver="window", comm=comm).advance(1.0)
    before = peak_memory_mb()
    simulation = Simulation(preset("microcircuit", 0.4, 1), seed=1, driver="window", threads=1, comm=comm)
    engine: Any = simulation.engine
    held = comm.objects((engine.synapse_bytes / 1e6, peak_memory_mb() - before))
    if comm.rank == 0:
        print(json.dumps([
            {"ranks": comm.size, "rank": k, "synapses": engine.n_synapses, "synapse_mb": round(mb),
             "peak_mb": round(peak)}
            for k, (mb, peak) in enumerate(held)
        ]))  # fmt: skip


def _empty_exchange(comm: Any) -> float:
    """Microseconds of the exchange of a window without spikes, the middle of many."""
    exchange = Exchange(comm)
    none = WindowSpikes(np.empty((1, 1)), np.empty((1, 1), np.int32), np.empty((1, 1)), np.zeros(1, np.int64))
    seconds = []
    for _ in range(_EMPTY):
        began = time.perf_counter()
        exchange.spikes(none)
        seconds.append(time.perf_counter() - began)
    return 1e6 * float(np.median(seconds))


def measured(scale: float, t_stop: float, repeats: int, delay: float, ranks: int, threads: int) -> dict[str, Any]:
    """The fastest of some runs."""
    options = ["--worker", "--delay", delay, "--scale", scale, "--t-stop", t_stop, "--threads", threads]
    rows = [on_ranks(ranks, *options, *(["--over-mpi"] if ranks > 1 else [])) for _ in range(repeats)]
    return min(rows, key=lambda row: row["seconds"])


def projected(two: float, copied_gb_s: float, latency_us: float, ranks: int) -> float:
    """Microseconds of an exchange over nodes: what it takes here on two ranks, ``latency_us`` for each further
    doubling, and the slots of all ranks at ``copied_gb_s``."""
    slot = (SLOT + 1) * 24
    return two + latency_us * (np.log2(ranks) - 1.0) + (ranks - 2) * slot / (copied_gb_s * 1e3)


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--scale", type=float, default=0.4, help="of Brunel's network")
    parser.add_argument("--t-stop", type=float, default=300.0, help="ms")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency", type=float, default=3.0, help="us of a message between nodes, for the projection")
    parser.add_argument("--bandwidth", type=float, default=10.0, help="GB/s between nodes, for the projection")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--delay", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--over-mpi", action="store_true")
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    if args.memory:
        memory_worker(args.over_mpi)
        return
    if args.worker:
        worker(args.delay, args.scale, args.t_stop, args.threads, args.over_mpi)
        return
    print(machine())
    held = [row for n in RANKS for row in on_ranks(n, "--memory", *(["--over-mpi"] if n > 1 else []))]
    print(*held, sep="\n", flush=True)
    write_csv(RESULTS / "over_ranks_memory.csv", list(held[0]), held)
    rows = []
    for delay in DELAYS:
        t_stop = args.t_stop if delay > 1.0 else args.t_stop / 3.0
        for ranks in RANKS:
            rows.append(measured(args.scale, t_stop, args.repeats, delay, ranks, 1))
            print({k: round(v, 3) for k, v in rows[-1].items()}, flush=True)
    # In turns, so that what else the machine does meets both.
    pairs = [
        [measured(args.scale, args.t_stop, 1, 1.5, ranks, threads) for ranks, threads in ((2, 1), (1, 2))]
        for _ in range(args.repeats)
    ]
    ranks, threads = (min((pair[k] for pair in pairs), key=lambda row: row["seconds"]) for k in (0, 1))
    rows.append(threads)
    ratios = [a["seconds"] / b["seconds"] for a, b in pairs]
    print(f"2 ranks of 1 thread / 1 rank of 2 threads: {ranks['seconds'] / threads['seconds']:.3f} (pairs: {ratios})")
    write_csv(RESULTS / "over_ranks_cost.csv", COLUMNS, rows)
    two = next(row["empty_exchange_us"] for row in rows if row["ranks"] == 2)
    for n in (2, 4, 16, 64):
        us = projected(two, args.bandwidth, args.latency, n)
        print(f"projection to {n} ranks: {us:.0f} us an exchange, {us * 10.0 / 1e3:.3f} s a second of 0.1 ms windows")


if __name__ == "__main__":
    main()
